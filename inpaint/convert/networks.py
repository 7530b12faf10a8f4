"""Published networks to ours, each by its keys and shapes; those of ConvNeXt V2 also back.

Names are translated by the tables of `keys.toml`; exactly the expected tensors are accepted.

The published autoencoder of ConvNeXt V2 is sparse: linear layers and norms carry an extra word, biases of
convolutions an extra dimension, and a kernel of ``k x k`` is a list of ``k * k`` positions in which the row
runs fastest. Its classifiers are dense and become what timm calls them, since timm runs them here; timm's own
reading of them has no way back.
"""

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from inpaint.checkpoint import describe_misfit
from inpaint.errors import CheckpointError, few
from inpaint.layers.convnext import require_timm
from inpaint.layers.position import sinusoid_table
from inpaint.mask import MAX_DISTANCE
from inpaint.models.fcmae import FcmaePreset
from inpaint.models.generator import GeneratorPreset
from inpaint.models.inpainter import InpainterPreset
from inpaint.models.mae import MaePreset
from inpaint.models.presets import CONVNEXT_V2, INPAINTER_PRESETS, build_network
from inpaint.tokens import sincos_positions

State = Mapping[str, Tensor]
Names = Mapping[str, str]
Shapes = Mapping[str, tuple[int, ...]]
TABLES = tomllib.loads(Path(__file__).with_name("keys.toml").read_text(encoding="utf-8"))
# The number of heads cannot be read off a tensor's shape: it follows from the published widths.
HEADS = {768: 12, 1024: 16, 1280: 16}
DECODER_HEADS = {512: 16}


def convert_mae(state: State) -> tuple[MaePreset, dict[str, Tensor]]:
    """Convert a masked autoencoder of a published width, of MAE or MAE-FAR."""
    state = dict(state)
    width, _, patch_size, _ = shape_of(state, "patch_embed.proj.weight", 4, "MAE")
    decoder_width = shape_of(state, "decoder_embed.weight", 2, "MAE")[0]
    decoder_depth, class_token = count_modules(state, "decoder_blocks"), "cls_token" in state
    grid = math.isqrt(shape_of(state, "pos_embed", 3, "MAE")[1] - class_token)
    if width not in HEADS or decoder_width not in DECODER_HEADS:
        raise CheckpointError(
            f"got an MAE of width {width} with a decoder of width {decoder_width}, expected {sorted(HEADS)} "
            f"with {sorted(DECODER_HEADS)}: the number of heads is known only for the published sizes"
        )
    preset = MaePreset(
        image_size=grid * patch_size,
        patch_size=patch_size,
        width=width,
        depth=count_modules(state, "blocks"),
        heads=HEADS[width],
        decoder_width=decoder_width,
        decoder_depth=decoder_depth,
        decoder_heads=DECODER_HEADS[decoder_width],
        mlp_ratio=shape_of(state, "blocks.0.mlp.fc1.weight", 2, "MAE")[0] / width,
        feature_layer=decoder_depth,
        class_token=class_token,
        partial_patches="decoder_patch_embed.proj.weight" in state,
    )
    for key, columns in (("pos_embed", width), ("decoder_pos_embed", decoder_width)):
        table = sincos_positions(grid, grid, columns)
        _take_constant(state, key, torch.cat([torch.zeros(int(class_token), columns), table])[None])
    return preset, rename(state, read_names("mae"), shapes_of(preset), "MAE")


def convert_lama(state: State) -> tuple[InpainterPreset, dict[str, Tensor]]:
    """Convert a LaMa or Big-LaMa generator; keys without ``generator.model.``, as ``1.bn_l.weight``."""
    layers = {int(key.split(".")[0]) for key in state if ".conv1.ffc." in key}  # the blocks
    downs, blocks = min(layers, default=5) - 2, len(layers)
    generator = GeneratorPreset(
        width=shape_of(state, "1.ffc.convl2l.weight", 4, "LaMa")[0],
        blocks=blocks,
        local_fourier=any(".lfu." in key for key in state),
        downsamplings=downs,
    )
    preset = _name_preset(InpainterPreset("lama-custom", generator))
    # Layers of an nn.Sequential: padding, first convolution, down-samplings, blocks, a concatenation, as many
    # times (convolution, norm, activation), padding, the last convolution.
    names = {"1.ffc.convl2l": "generator.stem", "1.bn_l": "generator.stem_norm"}
    first_up = 3 + downs + blocks
    for index in range(downs):
        convolution, norm = ("ffc.convl2l", "bn_l") if index < downs - 1 else ("whole", "whole_norm")
        names[f"{2 + index}.{convolution}"] = f"generator.downs.{index}"
        names[f"{2 + index}.{norm}"] = f"generator.down_norms.{index}"
        names[f"{first_up + 3 * index}"] = f"generator.ups.{index}"
        names[f"{first_up + 1 + 3 * index}"] = f"generator.up_norms.{index}"
    for index in range(blocks):
        for theirs, ours in (("conv1", "first"), ("conv2", "second")):
            module = f"{2 + downs + index}.{theirs}"
            names |= nest_names(module, f"generator.blocks.{index}.{ours}", "fourier_convolution")
    names[f"{first_up + 3 * downs + 1}"] = "generator.head"
    return preset, rename(_fuse_last_down(state, f"{downs + 1}"), names, shapes_of(preset), "LaMa")


def convert_acr(
    generator: State, adapter: State, prior: MaePreset
) -> tuple[InpainterPreset, dict[str, Tensor]]:
    """Convert generator and adapter of MAE-FAR; the prior's tensors are not part of the result."""
    state = {f"G.{key}": tensor for key, tensor in generator.items()}
    state |= {f"GCs.{key}": tensor for key, tensor in adapter.items()}
    width, blocks = shape_of(state, "G.conv1.weight", 4, "MAE-FAR")[0], count_modules(state, "G.middle")
    numbers = GeneratorPreset(
        width, blocks, padding="zeros", convolution_bias=True, positional_encoding=True, attention="prior"
    )
    preset = _name_preset(InpainterPreset("acr-custom", numbers, prior))
    _take_constant(state, "GCs.rel_pos_emb.weight", sinusoid_table(MAX_DISTANCE + 1, width))
    shapes = {key: shape for key, shape in shapes_of(preset).items() if not key.startswith("prior.")}
    return preset, rename(state, read_names("acr"), shapes, "MAE-FAR")


def convert_fcmae(state: State, image_size: int = 224) -> tuple[FcmaePreset, dict[str, Tensor]]:
    """Convert the published autoencoder; no tensor tells the size of its images."""
    dense = dict(_densify(key, tensor) for key, tensor in state.items())
    depths = _count_stages(dense, "encoder.stages")
    firsts = (f"encoder.stages.{stage}.0.dwconv.weight" for stage in range(len(depths)))
    preset = FcmaePreset(
        depths,
        tuple(shape_of(dense, first, 4, "FCMAE")[0] for first in firsts),
        image_size=image_size,
        decoder_width=shape_of(dense, "proj.weight", 4, "FCMAE")[0],
        decoder_depth=count_modules(dense, "decoder"),
    )
    return preset, rename(dense, read_names("fcmae"), shapes_of(preset), "FCMAE")


def official_fcmae(preset: FcmaePreset, state: State) -> dict[str, Tensor]:
    """Give a state dict of ours the published names and shapes: what :func:`convert_fcmae` undoes."""
    variant = {"decoder": "convnext", "grn_aggregation": "l2", "grn_normalisation": "divisive"}
    if preset != replace(preset, grn=True, **variant) or len(preset.depths) != 4:
        raise CheckpointError(
            f"got {preset}; the published layout has four stages, GRN by L2 norms over their mean, and a "
            "decoder of ConvNeXt blocks"
        )
    return dict(_sparsify(key, tensor) for key, tensor in rename_back(state, "fcmae").items())


def convert_classifier(state: State) -> tuple[str, dict[str, Tensor]]:
    """Convert a published classifier: timm's name for it, without a tag, and the tensors of that network."""
    depths = _count_stages(state, "stages")
    width = shape_of(state, "downsample_layers.0.0.weight", 4, "ConvNeXt V2")[0]
    sizes = [size for size, numbers in CONVNEXT_V2.items() if numbers == (depths, width)]
    if not sizes:
        raise CheckpointError(
            f"got a ConvNeXt V2 of depths {depths} and width {width}, expected a published size: "
            f"{', '.join(CONVNEXT_V2)}"
        )
    name = f"convnextv2_{sizes[0]}"
    classes = shape_of(state, "head.weight", 2, "ConvNeXt V2")[0]
    with torch.device("meta"):
        expected = require_timm().create_model(name, num_classes=classes).state_dict()
    plain = {key: tensor.flatten() if ".grn." in key else tensor for key, tensor in state.items()}
    # timm writes the linear layers of its smaller networks as 1 x 1 convolutions.
    flat = {key: tuple(it.shape)[:2] if ".mlp.fc" in key else tuple(it.shape) for key, it in expected.items()}
    renamed = rename(plain, read_names("convnextv2"), flat, "ConvNeXt V2")
    return name, {key: tensor.reshape(expected[key].shape) for key, tensor in renamed.items()}


def official_classifier(state: State) -> dict[str, Tensor]:
    """Give timm's state dict of a classifier the published names: what :func:`convert_classifier` undoes."""
    official = rename_back(state, "convnextv2")
    for key, tensor in official.items():
        if ".grn." in key:
            official[key] = tensor.view(1, 1, 1, -1)
        elif ".pwconv" in key and tensor.ndim == 4:
            official[key] = tensor.flatten(1)
    return official


def read_names(table: str) -> Names:
    """Published names of modules or whole tensors to ours, by a table of ``keys.toml``; ``*`` is a number."""
    names: dict[str, str] = {}
    for theirs, ours in TABLES[table].items():
        names |= {theirs: ours} if isinstance(ours, str) else nest_names(theirs, *ours)
    return names


def nest_names(theirs: str, ours: str, table: str) -> Names:
    """The names of a table inside a module, given the module's published name and ours."""
    return {f"{theirs}.{inner}": f"{ours}.{name}" for inner, name in read_names(table).items()}


def translate(key: str, names: Names) -> str:
    """A tensor's name after the first of the names that fits; an empty string if none does."""
    for old, new in names.items():
        if match := _pattern(old).fullmatch(key):
            *numbers, leaf = match.groups(default="")
            return new.replace("*", "{}").format(*numbers) + leaf
    return ""


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*", r"(\d+)") + r"(\.\w+)?")


def rename(state: State, names: Names, shapes: Shapes, what: str) -> dict[str, Tensor]:
    """Rename tensors to ours, floats as float32, and insist on exactly the expected keys and shapes.

    Args:
        state: published keys.
        names: published to our names, see :func:`read_names`.
        shapes: our keys and their shapes.
        what: the network's name, for the message.

    Raises:
        CheckpointError: naming the first few keys, as the file has them, that are unknown, missing or unfit.
    """
    # With the mark, a name that only ours has does not pass for a published one.
    renamed = {translate(key, names) or f"?{key}": tensor for key, tensor in state.items()}
    back = {ours: theirs for theirs, ours in names.items()}
    if told := describe_misfit(renamed, shapes, lambda key: translate(key, back) or key.removeprefix("?")):
        raise CheckpointError(f"got weights that are not one whole {what} network; tensors {told}")
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in renamed.items()}


def rename_back(state: State, table: str) -> dict[str, Tensor]:
    """Give our tensors the published names of a table; an error if one has none."""
    names = {ours: theirs for theirs, ours in read_names(table).items()}
    if nameless := [key for key in state if not translate(key, names)]:
        raise CheckpointError(f"no published name is known for {few(nameless)}; expected a ConvNeXt V2")
    return {translate(key, names): tensor for key, tensor in state.items()}


def shapes_of(preset: InpainterPreset | MaePreset | FcmaePreset) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the network a preset stands for, without allocating it."""
    with torch.device("meta"):
        model = build_network(preset)
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def shape_of(state: State, key: str, dims: int, what: str) -> tuple[int, ...]:
    """The shape of a tensor that tells a network's size."""
    if key not in state:
        raise CheckpointError(f"got {what} weights without {key}; expected the whole network")
    if state[key].ndim != dims:
        raise CheckpointError(f"got {key} of shape {tuple(state[key].shape)}, expected {dims} dimensions")
    return tuple(state[key].shape)


def count_modules(keys: Iterable[str], prefix: str) -> int:
    """How many numbers stand behind a prefix in the keys, as in ``PREFIX.0.weight``."""
    return len({match[1] for key in keys if (match := re.match(rf"{re.escape(prefix)}\.(\d+)\.", key))})


def _take_constant(state: dict[str, Tensor], key: str, ours: Tensor) -> None:
    """Take a stored table, of any precision, out of ``state``; it must be the one our network computes."""
    stored = state.pop(key, torch.empty(0))
    if stored.shape != ours.shape or not torch.allclose(stored.float(), ours, rtol=0, atol=2e-3):
        got = "another" if stored.numel() else "no"
        raise CheckpointError(f"got {got} table {key}, expected the published fixed one")


def _fuse_last_down(state: State, layer: str) -> dict[str, Tensor]:
    """Join LaMa's last down-sampling, which has local and global outputs, to the one convolution of ours."""
    fused = dict(state)
    for local, global_, whole in (("ffc.convl2l", "ffc.convl2g", "whole"), ("bn_l", "bn_g", "whole_norm")):
        for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            first, second = (f"{layer}.{part}.{leaf}" for part in (local, global_))
            if first in fused and second in fused:
                halves = fused.pop(first), fused.pop(second)
                joined = halves[0] if leaf == "num_batches_tracked" else torch.cat(halves)
                fused[f"{layer}.{whole}.{leaf}"] = joined
    return fused


def _name_preset(preset: InpainterPreset) -> InpainterPreset:
    """Give a preset the name under which the same numbers are known here."""
    same = (name for name, known in INPAINTER_PRESETS.items() if replace(preset, name=name) == known)
    return replace(preset, name=next(same, preset.name))


def _count_stages(keys: Iterable[str], prefix: str) -> tuple[int, ...]:
    """Blocks of each stage, from keys that begin with ``PREFIX.STAGE.BLOCK.``."""
    return tuple(count_modules(keys, f"{prefix}.{stage}") for stage in range(count_modules(keys, prefix)))


def _densify(key: str, tensor: Tensor) -> tuple[str, Tensor]:
    """A tensor of the sparse layout as a dense network has it, GRN and biases as plain vectors."""
    key = key.replace(".ln.", ".").replace(".linear.", ".")
    if key.endswith(".kernel"):
        side = math.isqrt(len(tensor))
        kernel = tensor.unflatten(0, (side, side))  # column, row, [inputs,] outputs
        kernel = kernel[:, :, None] if kernel.ndim == 3 else kernel
        return key.removesuffix("kernel") + "weight", kernel.permute(3, 2, 1, 0).contiguous()
    return key, tensor.flatten() if ".grn." in key or key.endswith(".bias") else tensor


def _sparsify(key: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Undo :func:`_densify`; stem and decoder are dense in the published file, too."""
    module, _, leaf = key.rpartition(".")
    if not key.startswith("encoder."):
        return key, tensor.view(1, 1, 1, -1) if ".grn." in key else tensor
    if module.startswith("encoder.downsample_layers.0."):
        return key, tensor
    if tensor.ndim == 4:
        kernel = tensor.permute(3, 2, 1, 0).flatten(0, 1)
        return f"{module}.kernel", (kernel[:, 0] if module.endswith("dwconv") else kernel).contiguous()
    if ".pwconv" in module:
        return f"{module}.linear.{leaf}", tensor
    if module.endswith((".dwconv", ".grn", ".1")) and ".norm" not in module:
        return key, tensor[None]
    return f"{module}.ln.{leaf}", tensor
