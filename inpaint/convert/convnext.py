"""Published ConvNeXt V2 weights to ours and back: the autoencoder of the pre-training, and classifiers.

Classifiers are dense and become what timm calls them, since timm runs them here. The published autoencoder
is sparse: linear layers and norms carry an extra word, biases of convolutions an extra dimension, and a
kernel of ``k x k`` is a list of ``k * k`` positions in which the row runs fastest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from inpaint.convert.networks import expected_of, rename, shape_of, translate
from inpaint.errors import CheckpointError
from inpaint.layers.convnext import require_timm
from inpaint.models.fcmae import FcmaePreset
from inpaint.models.presets import CONVNEXT_V2

BLOCK = {
    "dwconv": "conv_dw", "norm": "norm", "pwconv1": "mlp.fc1", "grn.gamma": "mlp.grn.weight",
    "grn.beta": "mlp.grn.bias", "pwconv2": "mlp.fc2",
}  # fmt: skip


def convert_fcmae(
    state: Mapping[str, Tensor], image_size: int = 224
) -> tuple[FcmaePreset, dict[str, Tensor]]:
    """Convert the published autoencoder; no tensor tells the size of its images."""
    dense = dict(_densify(key, tensor) for key, tensor in state.items())
    depths = _depths(key.removeprefix("encoder.") for key in dense)
    preset = FcmaePreset(
        depths,
        tuple(
            shape_of(dense, f"encoder.stages.{n}.0.dwconv.weight", 4, "FCMAE")[0] for n in range(len(depths))
        ),
        image_size=image_size,
        decoder_width=shape_of(dense, "proj.weight", 4, "FCMAE")[0],
        decoder_depth=len({key.split(".")[1] for key in dense if key.startswith("decoder.")}),
    )
    return preset, rename(dense, _fcmae_names(preset), expected_of(preset), "FCMAE")


def official_fcmae(preset: FcmaePreset, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a state dict of ours the published names and shapes: what :func:`convert_fcmae` undoes."""
    variant = {"decoder": "convnext", "grn_aggregation": "l2", "grn_normalisation": "divisive"}
    published = replace(preset, grn=True, **variant)
    if preset != published or len(preset.depths) != 4:
        raise CheckpointError(
            f"got {preset}; the published layout has four stages, GRN by L2 norms over their mean, and a "
            "decoder of ConvNeXt blocks"
        )
    official = _rename_back(state, _fcmae_names(preset))
    return dict(_sparsify(key, tensor) for key, tensor in official.items())


def convert_classifier(state: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Convert a published classifier: timm's name for it, without a tag, and the tensors of that network."""
    depths = _depths(state)
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
        network = require_timm().create_model(name, num_classes=classes)
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    names = classifier_names(depths)
    plain = {key: tensor.flatten() if ".grn." in key else tensor for key, tensor in state.items()}
    # timm writes the linear layers of its smaller networks as 1 x 1 convolutions.
    flat = {key: shape[:2] if ".mlp.fc" in key else shape for key, shape in expected.items()}
    renamed = rename(plain, names, flat, "ConvNeXt V2")
    return name, {key: tensor.reshape(expected[key]) for key, tensor in renamed.items()}


def official_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give timm's state dict of a classifier the published names: what :func:`convert_classifier` undoes."""
    depths = _depths(key.replace(".blocks.", ".") for key in state)
    official = _rename_back(state, classifier_names(depths))
    for key, tensor in official.items():
        if ".grn." in key:
            official[key] = tensor.view(1, 1, 1, -1)
        elif ".pwconv" in key and tensor.ndim == 4:
            official[key] = tensor.flatten(1)
    return official


def encoder_names(depths: tuple[int, ...]) -> dict[str, str]:
    """Published names of an encoder's modules to timm's."""
    names = {"downsample_layers.0.0": "stem.0", "downsample_layers.0.1": "stem.1"}
    for stage, depth in enumerate(depths):
        if stage > 0:
            names |= {
                f"downsample_layers.{stage}.{part}": f"stages.{stage}.downsample.{part}" for part in (0, 1)
            }
        for block in range(depth):
            names |= block_names(f"stages.{stage}.{block}.", f"stages.{stage}.blocks.{block}.")
    return names


def block_names(theirs: str, ours: str) -> dict[str, str]:
    """Published names of a block's modules to timm's, each behind its prefix."""
    return {theirs + key: ours + name for key, name in BLOCK.items()}


def classifier_names(depths: tuple[int, ...]) -> dict[str, str]:
    """Published names of a classifier's modules to timm's."""
    return encoder_names(depths) | {"norm": "head.norm", "head": "head.fc"}


def _fcmae_names(preset: FcmaePreset) -> dict[str, str]:
    names = {f"encoder.{a}": f"encoder.{b}" for a, b in encoder_names(preset.depths).items()}
    for block in range(preset.decoder_depth):
        names |= block_names(f"decoder.{block}.", f"decoder.{block}.")
    return names | {"proj": "to_decoder", "mask_token": "mask_token", "pred": "to_pixels"}


def _depths(keys: Iterable[str]) -> tuple[int, ...]:
    """Blocks of each stage, from keys that begin with ``stages.STAGE.BLOCK.``."""
    found = {match.groups() for key in keys if (match := re.match(r"stages\.(\d)\.(\d+)\.", key))}
    stages = [stage for stage, _ in found]
    return tuple(stages.count(stage) for stage in sorted(set(stages)))


def _rename_back(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    back = {ours: theirs for theirs, ours in names.items()}
    nameless = [key for key in state if not translate(key, back)]
    if nameless:
        raise CheckpointError(
            f"got {len(nameless)} tensors without a published name (first: {nameless[0]}), "
            "expected a ConvNeXt V2"
        )
    return {translate(key, back): tensor for key, tensor in state.items()}


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
