"""ACR: adapter, attention transfer, masked positions and the whole network, against MAE-FAR's."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.layers.position import MaskedPositionalEncoding
from inpaint.layers.transfer import AttentionTransfer
from inpaint.mask import hole_fields
from inpaint.models.adapter import PriorAdapter
from inpaint.models.generator import FourierGenerator, GeneratorPreset
from inpaint.models.presets import INPAINTER_PRESETS, MAE_PRESETS
from tests.golden_cases.blocks import our_block_name
from tests.golden_cases.case import Case
from tests.golden_cases.lama import record_stages, subsample
from tests.golden_cases.mae import build as build_mae

_PATTERNS = [
    (r"G\.conv1\.", "generator.stem."),
    (r"G\.bn1\.", "generator.stem_norm."),
    (r"G\.convt4\.", "generator.head."),
    (r"GCs\.alpha5$", "generator.positions.distance_weight"),
    (r"GCs\.alpha6$", "generator.positions.direction_weight"),
    (r"GCs\.alpha_att1$", "generator.transfer_before.alpha"),
    (r"GCs\.alpha_att2$", "generator.transfer_after.alpha"),
    (r"GCs\.direct_emb\.weight$", "generator.positions.direction_table"),
]
_NUMBERED = [
    (r"G\.conv(\d)\.", "generator.downs.{}.", 2),
    (r"G\.bn(\d)\.", "generator.down_norms.{}.", 2),
    (r"G\.convt(\d)\.", "generator.ups.{}.", 1),
    (r"G\.bnt(\d)\.", "generator.up_norms.{}.", 1),
    (r"GCs\.alpha(\d)$", "adapter.alphas.{}", 1),
    (r"GCs\.convt(\d)\.gate_conv\.", "adapter.ups.{}.convolution.", 0),
    (r"GCs\.bnt(\d)\.", "adapter.norms.{}.", 0),
]


def our_name(key: str) -> str | None:
    """Our name of an official parameter; None for the fixed sinusoid table, which we compute."""
    if key == "GCs.rel_pos_emb.weight":
        return None
    if found := re.match(r"G\.middle\.(\d+)\.(.*)", key):
        return f"generator.blocks.{found[1]}.{our_block_name(found[2])}"
    for pattern, ours in _PATTERNS:
        if found := re.match(pattern, key):
            return ours + key[found.end() :]
    for pattern, ours, first in _NUMBERED:
        if found := re.match(pattern, key):
            return ours.format(int(found[1]) - first) + key[found.end() :]
    raise KeyError(key)


def build(case: Case) -> tuple[FourierGenerator, PriorAdapter]:
    """Generator and adapter with the case's weights, in float64."""
    weights = case.weights()
    preset = INPAINTER_PRESETS["acr-base"].generator
    modules = {
        "generator": FourierGenerator(GeneratorPreset(**vars(preset))),
        "adapter": PriorAdapter(MAE_PRESETS["mae-base"].decoder_width, preset.width),
    }
    states: dict[str, dict[str, Tensor]] = {"generator": {}, "adapter": {}}
    for key, value in weights.items():
        if name := our_name(key):
            part, rest = name.split(".", 1)
            states[part][rest] = value
    for part, module in modules.items():
        module.load_state_dict(states[part])
        module.double()
    return modules["generator"], modules["adapter"]  # type: ignore[return-value]


def _softmax(scores: np.ndarray) -> Tensor:
    exponent = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return torch.from_numpy((exponent / exponent.sum(axis=-1, keepdims=True)).astype(np.float32)).double()


def _prior(case: Case, batch: int) -> tuple[Tensor, Tensor | None]:
    """The prior's features and attention: from a MAE, or from the case's recipe."""
    if "mae_model" in case.config:
        weights = case.weights(case.config["mae_model"], case.config["mae_salt"])
        width, decoder_width = weights["norm.weight"].shape[0], weights["decoder_norm.weight"].shape[0]
        numbers = MAE_PRESETS["mae-base"]
        config = {
            "img_size": 256, "patch_size": 16, "embed_dim": width, "depth": numbers.depth,
            "num_heads": numbers.heads, "decoder_embed_dim": decoder_width,
            "decoder_depth": numbers.decoder_depth, "decoder_num_heads": numbers.decoder_heads,
            "mlp_ratio": 4,
        }  # fmt: skip
        suffix = "256" if "img256_u8" in case.inputs else ""
        image, mask = case.image(f"img{suffix}_u8"), case.mask(f"mask{suffix}_u8")
        with torch.no_grad():
            return build_mae(case, weights, config)(image, mask)
    features = case.random("/feat").standard_normal((batch, 512, 16, 16)).astype(np.float32)
    attention = None
    if case.config["use_attn"]:
        attention = _softmax(2 * case.random("/s").standard_normal((batch, 256, 256)))
    return torch.from_numpy(features).double(), attention


def check_network(case: Case) -> dict[str, Any]:
    """Adapter and generator together, with every stage."""
    config = case.config
    generator, adapter = build(case)
    image, mask = case.image(), case.mask()
    size = (image.shape[-2], image.shape[-1])
    features, attention = _prior(case, len(image))
    generator.train(config["train_mode"])
    adapter.train(config["train_mode"])

    recorded: dict[str, Tensor] = {}
    generator.stem_norm.register_forward_pre_hook(lambda _m, i: recorded.__setitem__("bn1_in", i[0]))
    stages = {
        "conv4_out": generator.downs[-1],
        "block0": generator.blocks[0],
        "middle": generator.blocks[-1],
        "logits": generator.head,
    }
    if attention is not None:
        stages |= {"group_attn": generator.transfer_before, "group_attn_2": generator.transfer_after}
    later = record_stages(generator, stages)
    prediction = generator(image, mask, adapter(features, size), attention)

    stride, corner = config["pixel_stride"], size[0] // 4
    composite = torch.where(mask > 0, prediction, image).permute(0, 2, 3, 1)
    results: dict[str, Any] = subsample(case, recorded | later) | {
        "y_sub": prediction[:, :, ::stride, ::stride],
        "y_crop": prediction[:, :, corner : corner + 48, corner : corner + 48],
        "y_rowmean": prediction.mean(dim=3),
        # The published script truncates; ours rounds when it writes files.
        "test_u8_sub": (composite[:, ::stride, ::stride] * 255).clamp(0, 255).floor(),
    }
    if config["train_mode"]:
        results |= _after_training_step(case, generator, adapter, prediction, image, mask)
    return results


def _after_training_step(
    case: Case,
    generator: FourierGenerator,
    adapter: PriorAdapter,
    prediction: Tensor,
    image: Tensor,
    mask: Tensor,
) -> dict[str, Any]:
    """Running statistics after the forward, and gradient norms of the case's loss."""
    modules = {"generator": generator, "adapter": adapter}

    def locate(key: str) -> tuple[str, str]:
        name = our_name(key)
        assert name is not None
        part, rest = name.split(".", 1)
        return part, rest

    weight = torch.from_numpy(
        case.random("/gy").standard_normal(prediction.shape).astype(np.float32)
    ).double()
    (prediction * weight).mean().backward()
    norms = []
    for key in case.config["grad_keys"]:
        part, rest = locate(key)
        norms.append(float(modules[part].get_parameter(rest).grad.norm()))  # type: ignore[union-attr]
    results: dict[str, Any] = {"grad_norms": norms}
    for output in case.outputs:
        if output.startswith("after."):
            part, rest = locate(output.removeprefix("after."))
            results[output] = modules[part].get_buffer(rest)
    return results


@torch.no_grad()
def check_adapter(case: Case) -> dict[str, Any]:
    """The adapter's four levels and the two position embeddings."""
    config = case.config
    generator, adapter = build(case)
    generator.eval()
    adapter.eval()
    size = (16 * config["feat_size"], 16 * config["feat_size"])
    features = torch.from_numpy(
        case.random("/feat").standard_normal((config["batch"], 512, 16, 16)).astype(np.float32)
    ).double()
    levels = adapter(features, size)
    placed = adapter.place(features, size)
    assert generator.positions is not None
    distance, direction = generator.positions.embed(case.mask())
    channel, pixel = config["emb_channel_stride"], config["emb_pixel_stride"]
    results: dict[str, Any] = {
        "upsampled_sub": torch.cat([placed[:, :512:32], placed[:, 512:]], dim=1),
        "rel_pos_emb_sub": (generator.positions.distance_weight * distance)[:, ::channel, ::pixel, ::pixel],
        "direct_emb_sub": (generator.positions.direction_weight * direction)[:, ::channel, ::pixel, ::pixel],
    }
    strides = zip(config["prior_channel_stride"], config["prior_pixel_stride"], strict=True)
    for level, (values, (channel, pixel)) in enumerate(zip(levels, strides, strict=True)):
        results[f"prior{level}_sub"] = values[:, ::channel, ::pixel, ::pixel]
        results[f"prior{level}_chmean"] = values.mean(dim=(2, 3))
    return results


@torch.no_grad()
def check_transfer(case: Case) -> dict[str, Any]:
    """Attention transfer at one feature height."""
    features = torch.from_numpy(case.inputs["x"]).double()
    scores = 2 * case.random("/s").standard_normal((len(features), 256, 256))
    scores[:, :, case.random("/m").permutation(256)[:40]] = -np.inf
    transfer = AttentionTransfer().double()
    transfer.alpha.fill_(case.config["alpha"])
    output = transfer(features, _softmax(scores), (16, 16))
    return {"y": output, "y_minus_x": output - features}


def check_hole_fields(case: Case) -> dict[str, Any]:
    """Distances and directions of masks of several shapes, enlarged to the picture."""
    results: dict[str, Any] = {}
    for key, array in case.inputs.items():
        mask = (torch.from_numpy(array)[None, None] > 127).float()
        size = tuple(mask.shape[-2:])
        fields = hole_fields(mask, case.config["pos_size"])
        name = key.removeprefix("mask_")
        relative = F.interpolate(fields.distance.float(), size, mode="nearest") * mask
        direction = F.interpolate(fields.direction, size, mode="nearest") * mask
        bits = direction[0].permute(1, 2, 0).numpy().astype(np.uint8)
        results[f"rel_{name}"] = relative[0, 0]
        results[f"direct_{name}"] = np.packbits(bits)
        results[f"abs_{name}"] = _steps(mask, case.config["pos_size"])
    return results


def _steps(mask: Tensor, grid: int) -> Tensor:
    """The step in which each cell is reached: Chebyshev distance, which the codes saturate."""
    known = 1 - F.adaptive_max_pool2d(mask, grid)
    steps = torch.zeros_like(known)
    for step in range(1, grid):
        grown = F.max_pool2d(known, 3, stride=1, padding=1)
        steps += step * (grown - known)
        known = grown
    return steps[0, 0]


@torch.no_grad()
def check_position_tables(case: Case) -> dict[str, Any]:
    """The sinusoid table and the two look-ups."""
    inputs = {key: torch.from_numpy(array) for key, array in case.inputs.items()}
    encoding = MaskedPositionalEncoding(case.config["dim"]).double()
    return {
        "table": encoding.distance_table,
        "rel": encoding.distance_table[inputs["ids"]].permute(0, 3, 1, 2),
        "direct": (inputs["direct"].double() @ inputs["direct_weight"].double()).permute(0, 3, 1, 2),
    }
