"""Reference cases of the discriminator, the losses, the schedule and the averaged weights.

A checker takes a case and gives our outputs under the case's own names. Cases are told apart by the inputs,
outputs and configuration they carry, never by their name, so cases with other weights or sizes work too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.features.perceptual import SceneFeatures
from inpaint.models.discriminator import PatchDiscriminator
from inpaint.train.losses import (
    discriminator_fake_loss,
    discriminator_real_loss,
    feature_matching_loss,
    generator_adversarial_loss,
    r1_of,
    weighted_l1,
)
from inpaint.train.optimise import Ema, schedule_factor
from tests.golden_cases.case import Case, Checker, gradient_norms

Outputs = dict[str, np.ndarray]


def find_checker(case: Case) -> Checker | None:
    """Choose the checker by what a case contains; None if the case belongs to another module."""
    inputs, outputs, config = set(case.inputs), set(case.outputs), case.config
    if {"fake_logits", "mask_u8"} <= inputs and "variants" in config:
        return check_logit_losses
    if {"fake0", "real0"} <= inputs and "nomask" in outputs:
        return check_feature_matching
    if {"real_u8", "fake_u8", "mask_u8"} <= inputs and {"d_total", "d_grad_norms"} <= outputs:
        return check_lama_discriminator if "loss" in config else check_acr_discriminator
    if {"a_u8", "b_u8"} <= inputs and "loss_maefar" in outputs:
        return check_scene_features
    if {"p", "p_ema"} <= inputs and "beta" in config:
        return check_ema
    if "milestone_steps" in config and "steps" in inputs:
        return check_milestones
    return None


def _array(value: Tensor) -> np.ndarray:
    return value.detach().double().numpy()


def _generator_loss(logits: Tensor, mask: Tensor, settings: dict[str, Any]) -> Tensor:
    scaled = _scaled(mask, logits, settings)
    weights = None
    if not settings.get("use_unmasked_for_gen", True):
        weights = scaled
    elif settings.get("mask_as_fake_target") and settings.get("extra_mask_weight_for_gen", 0) > 0:
        weights = 1 + settings["extra_mask_weight_for_gen"] * scaled
    return settings["weight"] * generator_adversarial_loss(logits, weights)


def _fake_loss(logits: Tensor, mask: Tensor, settings: dict[str, Any]) -> Tensor:
    hole = _scaled(mask, logits, settings)
    if settings.get("mask_as_fake_target", False):
        return discriminator_fake_loss(logits, hole) + discriminator_real_loss(logits, 1 - hole)
    return discriminator_fake_loss(logits, None if settings.get("use_unmasked_for_discr", True) else hole)


def _scaled(mask: Tensor, logits: Tensor, settings: dict[str, Any]) -> Tensor:
    """The mask at the logits' size; "maxpool" and "bilinear" are variants we do not train with."""
    how, size = settings.get("mask_scale_mode", "nearest"), list(logits.shape[2:])
    mask = mask.to(logits.dtype)
    return F.adaptive_max_pool2d(mask, size) if how == "maxpool" else F.interpolate(mask, size, mode=how)


def _masked_matching(fake: list[Tensor], real: list[Tensor], mask: Tensor) -> Tensor:
    """Feature matching whose errors count by how known their place is, a variant we do not train with."""
    roots = [
        (1 - F.interpolate(mask.to(f.dtype), f.shape[2:], mode="bilinear")).sqrt()  # squared by the loss
        for f in fake
    ]
    weighted = [[level * root for level, root in zip(levels, roots, strict=True)] for levels in (fake, real)]
    return feature_matching_loss(*weighted)


def check_logit_losses(case: Case) -> Outputs:
    """Adversarial losses and their gradients on given logits."""
    mask = case.mask()
    ours: Outputs = {
        "dreal": _array(discriminator_real_loss(torch.from_numpy(case.inputs["real_logits"]).double()))
    }
    for index, settings in enumerate(case.config["variants"]):
        for name, loss_of in (("gen", _generator_loss), ("dfake", _fake_loss)):
            logits = torch.from_numpy(case.inputs["fake_logits"]).double().requires_grad_(True)
            loss = loss_of(logits, mask, settings)
            ours[f"{name}_{index}"] = _array(loss)
            ours[f"{name}_grad_{index}"] = _array(torch.autograd.grad(loss, logits)[0])
    return ours


def check_feature_matching(case: Case) -> Outputs:
    """Feature matching with and without a mask."""
    count = sum(name.startswith("fake") for name in case.inputs)
    fake, real = (
        [torch.from_numpy(case.inputs[f"{side}{i}"]).double() for i in range(count)]
        for side in ("fake", "real")
    )
    mask = case.mask()
    return {
        "nomask": _array(feature_matching_loss(fake, real)),
        "mask": _array(_masked_matching(fake, real, mask)),
    }


def _discriminator(case: Case, train_mode: bool) -> PatchDiscriminator:
    state = convert_discriminator_keys(case.weights())
    network = PatchDiscriminator(state["convs.0.weight"].shape[0])
    network.load_state_dict(state)
    return network.double().train(train_mode)


def _gradient_norms(network: PatchDiscriminator, official_names: list[str]) -> np.ndarray:
    layout = "lama" if official_names[0].startswith("model") else "mae-far"
    official = {official_discriminator_key(name, layout): p for name, p in network.named_parameters()}
    return gradient_norms(official, official_names)


def check_acr_discriminator(case: Case) -> Outputs:
    """Both halves of one training step of MAE-FAR, each on fresh weights."""
    settings = case.config
    real, fake = case.image("real_u8"), case.image("fake_u8")
    mask = case.mask()

    network = _discriminator(case, settings["train_mode"])
    real.requires_grad_(True)
    real_logits, real_features = network(real)
    fake_logits, _ = network(fake)
    d_real = discriminator_real_loss(real_logits)
    d_fake = _fake_loss(fake_logits, mask, settings)
    penalty = settings["gp_coef"] * r1_of(real_logits, real)
    total = d_real + d_fake + penalty
    total.backward()
    ours = {
        "real_logits": _array(real_logits),
        "fake_logits": _array(fake_logits),
        "d_real": _array(d_real),
        "d_fake": _array(d_fake),
        "gp": _array(penalty),
        "d_total": _array(total),
        "d_grad_norms": _gradient_norms(network, settings["d_grad_keys"]),
    }
    channel, pixel = settings["feat_channel_stride"], settings["feat_pixel_stride"]
    for level, features in enumerate(real_features, start=1):
        ours[f"real_feat{level}_sub"] = _array(features[:, ::channel, ::pixel, ::pixel])
    for key, value in network.state_dict().items():
        name = f"after.{official_discriminator_key(key, 'mae-far')}"
        if name in case.outputs:
            ours[name] = _array(value)

    network = _discriminator(case, settings["train_mode"])
    real = real.detach()
    fake.requires_grad_(True)
    fake_logits, fake_features = network(fake)
    _, real_features = network(real)
    g_adversarial = _generator_loss(fake_logits, mask, settings)
    g_matching = 100 * feature_matching_loss(fake_features, real_features)
    g_l1 = weighted_l1(fake, real, mask, known=10, hole=0)
    (g_adversarial + g_matching + g_l1).backward()
    assert fake.grad is not None
    stride = settings["fake_grad_stride"]
    return ours | {
        "g_adv": _array(g_adversarial),
        "g_fm": _array(g_matching),
        "g_l1": _array(g_l1),
        "fake_grad_sub": _array(fake.grad[..., ::stride, ::stride]),
        "fake_grad_norm": _array(fake.grad.norm()),
    }


def check_lama_discriminator(case: Case) -> Outputs:
    """Discriminator and generator losses of LaMa."""
    settings = case.config["loss"]
    real, fake = case.image("real_u8"), case.image("fake_u8")
    mask = case.mask()

    network = _discriminator(case, case.config["train_mode"])
    real.requires_grad_(True)
    real_logits, real_features = network(real)
    fake_logits, fake_features = network(fake)
    penalty = settings["gp_coef"] * r1_of(real_logits, real)
    total = discriminator_real_loss(real_logits) + penalty + _fake_loss(fake_logits, mask, settings)
    total.backward()
    squared = (fake - real).square() * (1 + 2 * mask)
    return {
        "real_pred": _array(real_logits),
        "fake_pred": _array(fake_logits),
        "d_total": _array(total),
        "d_gp": _array(penalty),
        "d_real_out": _array(real_logits.mean()),
        "d_fake_out": _array(fake_logits.mean()),
        "d_grad_norms": _gradient_norms(network, case.config["d_grad_keys"]),
        "g_total": _array(_generator_loss(fake_logits, mask, settings)),
        "fm": _array(feature_matching_loss(fake_features, real_features)),
        "fm_masked": _array(_masked_matching(fake_features, real_features, mask)),
        "l1_known10": _array(weighted_l1(fake, real, mask, known=10, hole=0)),
        "l2_k1_m3": _array(squared.mean()),
        "feat_last_sub": _array(real_features[-1][:, ::8]),
    }


def check_ema(case: Case) -> Outputs:
    """One step of the averaged weights."""
    network = torch.nn.Module()
    network.weight = torch.nn.Parameter(torch.from_numpy(case.inputs["p_ema"]).double())
    ema = Ema(network, decay=case.config["beta"])
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(case.inputs["p"]))
    ema.update_parameters(network)
    return {"out": _array(ema.module.state_dict()["weight"])}


def check_milestones(case: Case) -> Outputs:
    """The learning rate's factor at the listed steps."""
    config = case.config
    factors = [
        schedule_factor(
            "milestones",
            int(step),
            0,
            milestones=config["milestone_steps"],
            gamma=config["gamma"],
            warmup=config["num_warmup_steps"],
        )
        for step in case.inputs["steps"]
    ]
    return {"mult": np.array(factors)}


def check_scene_features(case: Case) -> Outputs:
    """The perceptual loss on ADE20K features, in both of its published forms."""
    network = SceneFeatures()
    network.load_state_dict(case.weights())
    network.double()
    first, second = (
        (torch.from_numpy(case.inputs[name]).float() / 255).permute(2, 0, 1)[None].double()
        for name in ("a_u8", "b_u8")
    )
    prediction = first * 1.3 - 0.15  # leaves [0, 1], where the two forms differ
    stride = case.config["grad_stride"]
    ours: Outputs = {}
    for form, clamp in (("lama", False), ("maefar", True)):
        leaf = prediction.clone().requires_grad_(True)
        loss = case.config["weight"] * network.feature_distance(leaf, second, clamp=clamp).mean()
        loss.backward()
        assert leaf.grad is not None
        ours[f"loss_{form}"] = _array(loss)
        ours[f"grad_{form}_sub"] = _array(leaf.grad[..., ::stride, ::stride])
    channel, pixel = case.config["feat_strides"]
    for level, features in enumerate(network(second)):
        ours[f"feat{level}_sub"] = _array(features[:, ::channel, ::pixel, ::pixel])
    return ours


def convert_discriminator_keys(foreign: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published discriminator's state to ours; unknown keys are kept as they are.

    Known layouts: MAE-FAR's (`conv1.0.weight`, `bn2.weight`, ...) and LaMa's (`model0.0.weight`,
    `model1.1.running_mean`, ...).
    """
    return {_our_key(key): value for key, value in foreign.items()}


def official_discriminator_key(key: str, layout: str) -> str:
    """Give the published name of one of our keys.

    Args:
        key: for example `norms.1.weight`.
        layout: "mae-far" or "lama".
    """
    room, _, rest = key.partition(".")
    if room == "head":
        return f"conv6.{rest}" if layout == "mae-far" else f"model5.0.{rest}"
    level_text, _, rest = rest.partition(".")
    level = int(level_text)
    if layout == "lama":
        return f"model{level}.{0 if room == 'convs' else 1}.{rest}"
    if room == "norms":
        return f"bn{level + 1}.{rest}"
    return f"conv1.0.{rest}" if level == 0 else f"conv{level + 1}.{rest}"


def _our_key(key: str) -> str:
    parts = key.split(".")
    room, rest = parts[0], parts[-1]
    if room == "conv6" or (room, *parts[1:2]) == ("model5", "0"):
        return f"head.{rest}"
    if room.startswith("model") and len(parts) == 3:
        return f"{'convs' if parts[1] == '0' else 'norms'}.{room.removeprefix('model')}.{rest}"
    if room.startswith("conv") and room[4:].isdigit():
        return f"convs.{int(room[4:]) - 1}.{rest}"
    if room.startswith("bn") and room[2:].isdigit():
        return f"norms.{int(room[2:]) - 1}.{rest}"
    return key
