"""Key tables of the published networks, and renaming that accepts exactly the tensors it expects."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from inpaint.errors import CheckpointError
from inpaint.layers.position import sinusoid_table
from inpaint.mask import MAX_DISTANCE
from inpaint.models.fcmae import FcmaePreset
from inpaint.models.generator import GeneratorPreset
from inpaint.models.inpainter import InpainterPreset
from inpaint.models.mae import MaePreset
from inpaint.models.presets import INPAINTER_PRESETS, build_network
from inpaint.tokens import sincos_positions

# The number of heads cannot be read off a tensor's shape: it follows from the published widths.
HEADS = {768: 12, 1024: 16, 1280: 16}
DECODER_HEADS = {512: 16}

TRANSFORMER = {
    "norm1": "norm_attention", "attn.qkv": "attention.qkv", "attn.proj": "attention.projection",
    "norm2": "norm_mlp", "mlp.fc1": "mlp.expand", "mlp.fc2": "mlp.contract",
}  # fmt: skip
MAE = {
    "patch_embed.proj": "embed", "norm": "encoder_norm", "decoder_embed": "to_decoder",
    "mask_token": "mask_token", "decoder_norm": "decoder_norm", "decoder_pred": "to_pixels",
    "cls_token": "class_token", "decoder_patch_embed.proj": "partial_embed", "alpha": "partial_blend",
}  # fmt: skip
FOURIER_CONVOLUTION = {
    "ffc.convl2l": "local_to_local",
    "ffc.convl2g": "local_to_global",
    "ffc.convg2l": "global_to_local",
    "ffc.convg2g.conv1.0": "global_to_global.squeeze",
    "ffc.convg2g.conv1.1": "global_to_global.norm",
    "ffc.convg2g.fu.conv_layer": "global_to_global.fourier.convolution",
    "ffc.convg2g.fu.bn": "global_to_global.fourier.norm",
    "ffc.convg2g.lfu.conv_layer": "global_to_global.local_fourier.convolution",
    "ffc.convg2g.lfu.bn": "global_to_global.local_fourier.norm",
    "ffc.convg2g.conv2": "global_to_global.widen",
    "bn_l": "norm_local",
    "bn_g": "norm_global",
}


def convert_mae(
    state: Mapping[str, Tensor], preset: MaePreset | None = None
) -> tuple[MaePreset, dict[str, Tensor]]:
    """Convert a masked autoencoder, of MAE or MAE-FAR.

    Args:
        state: official keys without a prefix, such as ``patch_embed.proj.weight``.
        preset: None reads it off the shapes, which works for the published widths.
    """
    state = dict(state)
    if preset is None:
        preset = _mae_preset_of(state)
    side = preset.image_size // preset.patch_size
    for key, width in (("pos_embed", preset.width), ("decoder_pos_embed", preset.decoder_width)):
        table = sincos_positions(side, side, width)
        if preset.class_token:
            table = torch.cat([torch.zeros(1, width), table])
        take_constant(state, key, table[None])
    names = dict(MAE)
    parts = (("blocks", "encoder", preset.depth), ("decoder_blocks", "decoder", preset.decoder_depth))
    for theirs, ours, depth in parts:
        for index in range(depth):
            names |= {f"{theirs}.{index}.{a}": f"{ours}.{index}.{b}" for a, b in TRANSFORMER.items()}
    return preset, rename(state, names, expected_of(preset), "MAE")


def convert_lama(state: Mapping[str, Tensor]) -> tuple[InpainterPreset, dict[str, Tensor]]:
    """Convert a LaMa or Big-LaMa generator; keys without ``generator.model.``, as ``1.bn_l.weight``."""
    layers = {int(key.split(".")[0]) for key in state if ".conv1.ffc." in key}  # the blocks
    downs, blocks = min(layers, default=5) - 2, len(layers)
    state = _fuse_last_down(state, f"{downs + 1}")
    generator = GeneratorPreset(
        width=shape_of(state, "1.ffc.convl2l.weight", 4, "LaMa")[0],
        blocks=blocks,
        local_fourier=any(".lfu." in key for key in state),
        downsamplings=downs,
    )
    preset = _named(InpainterPreset("lama-custom", generator))
    # Layers of an nn.Sequential: padding, first convolution, down-samplings, blocks, a concatenation, as many
    # times (convolution, norm, activation), padding, the last convolution.
    names = {"1.ffc.convl2l": "generator.stem", "1.bn_l": "generator.stem_norm"}
    for index in range(downs):
        convolution, norm = ("ffc.convl2l", "bn_l") if index < downs - 1 else ("whole", "whole_norm")
        names[f"{2 + index}.{convolution}"] = f"generator.downs.{index}"
        names[f"{2 + index}.{norm}"] = f"generator.down_norms.{index}"
    for index in range(blocks):
        first = f"{2 + downs + index}"
        names |= _fourier_block(f"{first}.conv1", f"{first}.conv2", f"generator.blocks.{index}")
    first_up = 3 + downs + blocks
    for index in range(downs):
        names[f"{first_up + 3 * index}"] = f"generator.ups.{index}"
        names[f"{first_up + 1 + 3 * index}"] = f"generator.up_norms.{index}"
    names[f"{first_up + 3 * downs + 1}"] = "generator.head"
    return preset, rename(state, names, expected_of(preset), "LaMa")


def convert_acr(state: Mapping[str, Tensor], mae: MaePreset) -> tuple[InpainterPreset, dict[str, Tensor]]:
    """Convert generator and adapter, keys ``G.*`` and ``GCs.*``, of a network whose prior is ``mae``.

    The prior's tensors are not part of the result; :func:`inpaint.convert.convert_state` adds them.
    """
    state = dict(state)
    width = shape_of(state, "G.conv1.weight", 4, "MAE-FAR")[0]
    blocks = len({match[1] for key in state if (match := re.match(r"G\.middle\.(\d+)\.", key))})
    generator = GeneratorPreset(
        width, blocks, padding="zeros", convolution_bias=True, positional_encoding=True, attention="prior"
    )
    preset = _named(InpainterPreset("acr-custom", generator, mae))
    take_constant(state, "GCs.rel_pos_emb.weight", sinusoid_table(MAX_DISTANCE + 1, width))
    names = {
        "G.conv1": "generator.stem",
        "G.bn1": "generator.stem_norm",
        "G.convt4": "generator.head",
        "GCs.direct_emb.weight": "generator.positions.direction_table",
        "GCs.alpha5": "generator.positions.distance_weight",
        "GCs.alpha6": "generator.positions.direction_weight",
        "GCs.alpha_att1": "generator.transfer_before.alpha",
        "GCs.alpha_att2": "generator.transfer_after.alpha",
    }
    for index in range(3):
        names[f"G.conv{index + 2}"] = f"generator.downs.{index}"
        names[f"G.bn{index + 2}"] = f"generator.down_norms.{index}"
        names[f"G.convt{index + 1}"] = f"generator.ups.{index}"
        names[f"G.bnt{index + 1}"] = f"generator.up_norms.{index}"
    for index in range(4):
        names[f"GCs.convt{index}.gate_conv"] = f"adapter.ups.{index}.convolution"
        names[f"GCs.bnt{index}"] = f"adapter.norms.{index}"
        names[f"GCs.alpha{index + 1}"] = f"adapter.alphas.{index}"
    for index in range(blocks):
        block = f"G.middle.{index}"
        names |= _fourier_block(f"{block}.ffc1", f"{block}.ffc2", f"generator.blocks.{index}")
    expected = {key: shape for key, shape in expected_of(preset).items() if not key.startswith("prior.")}
    return preset, rename(state, names, expected, "MAE-FAR")


def _mae_preset_of(state: Mapping[str, Tensor]) -> MaePreset:
    width, _, patch_size, _ = shape_of(state, "patch_embed.proj.weight", 4, "MAE")
    decoder_width = shape_of(state, "decoder_embed.weight", 2, "MAE")[0]
    tokens = shape_of(state, "pos_embed", 3, "MAE")[1] - ("cls_token" in state)
    depths = [
        len({match[1] for key in state if (match := re.match(rf"{name}\.(\d+)\.", key))})
        for name in ("blocks", "decoder_blocks")
    ]
    if width not in HEADS or decoder_width not in DECODER_HEADS:
        raise CheckpointError(
            f"got an MAE of width {width} with a decoder of width {decoder_width}, expected {sorted(HEADS)} "
            f"with {sorted(DECODER_HEADS)}: the number of heads is known only for the published sizes"
        )
    return MaePreset(
        image_size=math.isqrt(tokens) * patch_size,
        patch_size=patch_size,
        width=width,
        depth=depths[0],
        heads=HEADS[width],
        decoder_width=decoder_width,
        decoder_depth=depths[1],
        decoder_heads=DECODER_HEADS[decoder_width],
        mlp_ratio=shape_of(state, "blocks.0.mlp.fc1.weight", 2, "MAE")[0] / width,
        feature_layer=depths[1],
        class_token="cls_token" in state,
        partial_patches="decoder_patch_embed.proj.weight" in state,
    )


def _fuse_last_down(state: Mapping[str, Tensor], layer: str) -> dict[str, Tensor]:
    """Join LaMa's last down-sampling, which has local and global outputs, to the one convolution of ours."""
    fused = dict(state)
    for local, global_, whole in (("ffc.convl2l", "ffc.convl2g", "whole"), ("bn_l", "bn_g", "whole_norm")):
        for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            first, second = (f"{layer}.{part}.{leaf}" for part in (local, global_))
            if first in fused and second in fused:
                halves = fused.pop(first), fused.pop(second)
                fused[f"{layer}.{whole}.{leaf}"] = (
                    halves[0] if leaf == "num_batches_tracked" else torch.cat(halves)
                )
    return fused


def _fourier_block(first: str, second: str, ours: str) -> dict[str, str]:
    pairs = ((first, "first"), (second, "second"))
    return {f"{a}.{x}": f"{ours}.{b}.{y}" for a, b in pairs for x, y in FOURIER_CONVOLUTION.items()}


def _named(preset: InpainterPreset) -> InpainterPreset:
    """Give a preset the name under which the same numbers are known here."""
    same = (name for name, known in INPAINTER_PRESETS.items() if replace(preset, name=name) == known)
    return replace(preset, name=next(same, preset.name))


def expected_of(preset: InpainterPreset | MaePreset | FcmaePreset) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the network a preset stands for, without allocating it."""
    with torch.device("meta"):
        model = build_network(preset)
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def rename(
    state: Mapping[str, Tensor], names: Mapping[str, str], expected: Mapping[str, tuple[int, ...]], what: str
) -> dict[str, Tensor]:
    """Rename tensors to ours, floats as float32, and insist on exactly the expected keys and shapes.

    Args:
        state: official keys.
        names: official to our names, of modules (``conv1``) or of whole keys (``alpha1``).
        expected: our keys and their shapes.
        what: the network's name, for the message.

    Raises:
        CheckpointError: naming the first few keys, as the file has them, that are unknown, missing or unfit.
    """
    renamed: dict[str, Tensor] = {}
    unknown: list[str] = []
    for key, tensor in state.items():
        ours = translate(key, names)
        if ours in expected:
            renamed[ours] = tensor.float() if tensor.is_floating_point() else tensor
        else:
            unknown.append(key)
    back = {ours: theirs for theirs, ours in names.items()}
    missing = [translate(key, back) or key for key in expected if key not in renamed]
    unfit = [
        f"{translate(key, back)} {tuple(tensor.shape)} instead of {expected[key]}"
        for key, tensor in renamed.items()
        if tuple(tensor.shape) != expected[key]
    ]
    told = [
        f"{len(keys)} {problem}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}"
        for problem, keys in (("unknown", unknown), ("missing", missing), ("of another shape", unfit))
        if keys
    ]
    if told:
        raise CheckpointError(f"got weights that are not one whole {what} network; tensors {'; '.join(told)}")
    return renamed


def shape_of(state: Mapping[str, Tensor], key: str, dims: int, what: str) -> tuple[int, ...]:
    """The shape of a tensor that tells a network's size."""
    if key not in state:
        raise CheckpointError(
            f"got {what} weights without {key}; expected the whole network, not only an encoder or a part"
        )
    if state[key].ndim != dims:
        raise CheckpointError(f"got {key} of shape {tuple(state[key].shape)}, expected {dims} dimensions")
    return tuple(state[key].shape)


def take_constant(state: dict[str, Tensor], key: str, ours: Tensor) -> None:
    """Take a stored table, of any precision, out of ``state``; it must be the one our network computes."""
    stored = state.pop(key, None)
    if (
        stored is None
        or stored.shape != ours.shape
        or not torch.allclose(stored.float(), ours, rtol=0, atol=2e-3)
    ):
        raise CheckpointError(
            f"got {'no' if stored is None else 'another'} table {key}, expected the published fixed one"
        )


def translate(key: str, names: Mapping[str, str]) -> str:
    """A key's new name, or an empty string."""
    if key in names:
        return names[key]
    module, _, leaf = key.rpartition(".")
    return f"{names[module]}.{leaf}" if module in names else ""
