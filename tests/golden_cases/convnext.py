"""ConvNeXt V2 and its masked autoencoder; names come from the conversion of published weights."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.convnext import ConvNeXt
from torch import Tensor

from inpaint.convert.networks import Names, convert_fcmae, official_fcmae, read_names, translate
from inpaint.features.frozen import IMAGENET_MEAN, IMAGENET_STD
from inpaint.layers.convnext import GlobalResponseNorm, build_block
from inpaint.models.fcmae import FullyConvolutionalAutoencoder
from inpaint.models.presets import build_fcmae
from inpaint.tokens import top_up
from inpaint.train.losses import masked_patch_mse
from tests.golden_cases.case import Case


def _dense(weights: dict[str, Tensor], names: Names) -> dict[str, Tensor]:
    """Official dense weights under our names; those of GRN as vectors."""
    return {translate(key, names): v.flatten() if "grn." in key else v for key, v in weights.items()}


def _input(case: Case, name: str) -> Tensor:
    return torch.from_numpy(case.inputs[name]).double()


def check_response_norm(case: Case) -> dict[str, Any]:
    """GRN and its gradients."""
    norm = GlobalResponseNorm(case.inputs["x"].shape[-1]).double()
    norm.load_state_dict({"weight": _input(case, "gamma").flatten(), "bias": _input(case, "beta").flatten()})
    features = _input(case, "x").requires_grad_()
    output = norm(features)
    (output * _input(case, "gy")).sum().backward()
    assert norm.weight.grad is not None and norm.bias.grad is not None
    return {
        "y": output,
        "dx": features.grad,
        "dgamma": norm.weight.grad.view(1, 1, 1, -1),
        "dbeta": norm.bias.grad.view(1, 1, 1, -1),
    }


@torch.no_grad()
def check_block(case: Case) -> dict[str, Any]:
    """One block, everything visible."""
    weights = case.weights()
    block = build_block(len(weights["dwconv.bias"]))
    block.load_state_dict(_dense(weights, read_names("convnext_block")))
    return {"y": block.double()(_input(case, "x"))}


@torch.no_grad()
def check_classifier(case: Case) -> dict[str, Any]:
    """The whole classifier, by timm with converted names: stages, pooled features, logits."""
    config = case.config
    network = ConvNeXt(
        depths=config["depths"], dims=config["dims"], num_classes=config["num_classes"], use_grn=True,
        ls_init_value=None,
    )  # fmt: skip
    network.load_state_dict(_dense(case.weights(), read_names("convnextv2")))
    network.double().eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    image = (case.image() - mean) / std
    last, stages = network.forward_intermediates(image)
    channels, pixels = config["stage_strides"]
    return {
        "logits": network.forward_head(last),
        "features": network.forward_head(last, pre_logits=True),
    } | {f"stage{level}_sub": stage[:, ::channels, ::pixels, ::pixels] for level, stage in enumerate(stages)}


class _BatchResponseNorm(GlobalResponseNorm):
    """The published pre-training takes GRN's norms over the visible positions of the whole batch."""

    def forward(self, features: Tensor, visible: Tensor | None = None) -> Tensor:
        assert visible is not None
        as_one = super().forward(features.flatten(0, 1)[None], visible.flatten(0, 1)[None])
        return as_one.unflatten(1, features.shape[:2])[0]


def _build(weights: dict[str, Tensor], image_size: int) -> FullyConvolutionalAutoencoder:
    preset, state = convert_fcmae(weights, image_size)
    model = build_fcmae(preset)
    model.load_state_dict(state)
    return model.double()


def check_pretraining(case: Case) -> dict[str, Any]:
    """A step of the pre-training, with statistics of the batch, as published, and of each image."""
    weights, config = case.weights(), case.config
    model = _build(weights, config["img_size"])
    normalised = model.normalise(case.image())
    noise = torch.from_numpy(case.inputs["noise"])
    hidden = top_up(torch.zeros_like(noise, dtype=torch.bool), config["mask_ratio"], noise)
    visible = ~hidden.unflatten(1, model.grid)[:, None]
    target = model.target_patches(normalised, per_patch=config["norm_pix_loss"])

    def run() -> tuple[Tensor, Tensor, Tensor]:
        prediction = model.predict_patches(normalised, hidden)
        loss = masked_patch_mse(prediction, target, hidden.double())
        return loss, prediction, model.encoder(normalised, visible)[-1]

    loss_alone, _, encoder_alone = run()
    everything = model.encoder(normalised[:1], torch.ones_like(visible[:1]))[-1]
    for module in model.encoder.modules():
        if isinstance(module, GlobalResponseNorm):
            module.__class__ = _BatchResponseNorm
    loss, prediction, encoder = run()
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    official = official_fcmae(model.preset, gradients)  # type: ignore[arg-type]
    picture = prediction.transpose(1, 2).unflatten(2, model.grid)
    return {
        "loss": loss,
        "mask": hidden,
        "pred_sub": picture[:, :: config["pred_channel_stride"]],
        "encoder": encoder,
        "loss_per_sample_grn": loss_alone,
        "encoder_per_sample_grn": encoder_alone,
        "encoder_nomask_first": everything,
        "grad_norms": torch.stack([official[key].norm() for key in config["grad_keys"]]),
    }
