"""Named architectures, read from ``presets.toml``, and building them."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from inpaint.errors import CheckpointError, ConfigError, WeightsError
from inpaint.models.adapter import PriorAdapter
from inpaint.models.fcmae import FcmaePreset, FullyConvolutionalAutoencoder
from inpaint.models.generator import FourierGenerator
from inpaint.models.inpainter import Inpainter, InpainterPreset
from inpaint.models.mae import MaePreset, MaskedAutoencoder
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.strict import read_table

_TABLES = tomllib.loads(Path(__file__).with_name("presets.toml").read_text(encoding="utf-8"))


def _read_inpainter(name: str, table: dict[str, Any]) -> InpainterPreset:
    prior = table.pop("prior", None)
    preset = read_table({"name": name, **table}, InpainterPreset, Path())
    return preset if prior is None else replace(preset, prior=(MAE_PRESETS | FCMAE_PRESETS)[prior])


MAE_PRESETS: dict[str, MaePreset] = {
    name: read_table(table, MaePreset, Path()) for name, table in _TABLES["mae"].items()
}
FCMAE_PRESETS: dict[str, FcmaePreset] = {
    name: read_table(table, FcmaePreset, Path()) for name, table in _TABLES["fcmae"].items()
}
INPAINTER_PRESETS = {name: _read_inpainter(name, table) for name, table in _TABLES["inpainter"].items()}
CONVNEXT_V2 = {
    name.removeprefix("fcmae-convnextv2-"): (preset.depths, preset.widths[0])
    for name, preset in FCMAE_PRESETS.items()
    if "convnextv2" in name
}
"""Published sizes of ConvNeXt V2: blocks of each stage, channels of the first."""


def build_mae(preset: str | MaePreset) -> MaskedAutoencoder:
    """A masked autoencoder with random weights, from a name or from its numbers."""
    return MaskedAutoencoder(_look_up(preset, MAE_PRESETS))


def build_fcmae(preset: str | FcmaePreset) -> FullyConvolutionalAutoencoder:
    """Build a fully convolutional masked autoencoder with random weights, from a name or from its numbers."""
    return FullyConvolutionalAutoencoder(_look_up(preset, FCMAE_PRESETS))


def build_inpainter(preset: str | InpainterPreset) -> Inpainter:
    """Build a whole network with random weights, from a name or from its numbers.

    Raises:
        WeightsError: the name is unknown.
        ConfigError: a prior with another number of down-samplings than three.
    """
    numbers: InpainterPreset = _look_up(preset, INPAINTER_PRESETS)
    if numbers.prior is None:
        return Inpainter(numbers, FourierGenerator(numbers.generator))
    if (downs := numbers.generator.downsamplings) != 3:
        raise ConfigError(f"preset {numbers.name} has a prior and {downs} down-samplings, expected 3")
    prior = build_network(numbers.prior)
    assert isinstance(prior, PatchAutoencoder)
    generator, adapter = FourierGenerator(numbers.generator, prior.grid), None  # in the order of their seeds
    if numbers.prior_features:
        adapter = PriorAdapter(prior.feature_channels, numbers.generator.width, numbers.generator.alphas)
    return Inpainter(numbers, generator, prior, adapter)


def build_network(preset: InpainterPreset | MaePreset | FcmaePreset) -> Inpainter | PatchAutoencoder:
    """Build whatever a preset stands for, with random weights."""
    if isinstance(preset, InpainterPreset):
        return build_inpainter(preset)
    return build_mae(preset) if isinstance(preset, MaePreset) else build_fcmae(preset)


def vary_preset(preset: str | InpainterPreset, **choices: Any) -> InpainterPreset:
    """A preset with some of its choices changed, as a row of an ablation has it; None keeps the preset's.

    ``choices`` are fields of the generator, ``prior_features``, and ``feature_layer`` of the prior.

    Raises:
        WeightsError: the name is unknown.
        ConfigError: the choices do not go together.
    """
    numbers: InpainterPreset = _look_up(preset, INPAINTER_PRESETS)
    choices = {key: choice for key, choice in choices.items() if choice is not None}
    of_prior = [
        key
        for key, choice in choices.items()
        if key in ("prior_features", "feature_layer") or choice == "prior"
    ]
    if (prior := numbers.prior) is None and of_prior:
        raise ConfigError(f"got {', '.join(of_prior)} for preset {numbers.name}, which has no prior")
    features = choices.pop("prior_features", numbers.prior_features)
    if (layer := choices.pop("feature_layer", None)) is not None:
        if not isinstance(prior, MaePreset) or not 1 <= layer <= prior.decoder_depth:
            layers = f"1 to {prior.decoder_depth}" if isinstance(prior, MaePreset) else "none to choose from"
            raise ConfigError(f"got feature_layer {layer}; decoder layers of preset {numbers.name}: {layers}")
        prior = replace(prior, feature_layer=layer)
    generator = replace(numbers.generator, **choices)
    if not features and generator.attention != "prior":
        raise ConfigError(
            f"got attention {generator.attention!r} and no prior features: nothing of the prior of preset "
            f"{numbers.name} would be used; expected a preset without a prior, such as lama-small"
        )
    return replace(numbers, generator=generator, prior=prior, prior_features=features)


_KINDS: dict[str, tuple[type, type]] = {
    "inpainter": (Inpainter, InpainterPreset),
    "mae": (MaskedAutoencoder, MaePreset),
    "fcmae": (FullyConvolutionalAutoencoder, FcmaePreset),
}


def describe_preset(model: nn.Module) -> dict[str, Any]:
    """The preset of a model as plain values, for a file header."""
    preset: Any = getattr(model, "preset", None)
    for kind, (network, numbers) in _KINDS.items():
        if type(model) is network and isinstance(preset, numbers):
            return {"kind": kind, "preset": asdict(preset)}
    raise CheckpointError(f"got a {type(model).__name__}, expected an Inpainter or a masked autoencoder")


def build_described(description: Mapping[str, Any]) -> Inpainter | PatchAutoencoder:
    """Build what :func:`describe_preset` described, with random weights.

    Raises:
        CheckpointError: an unknown kind, an unknown or missing key, or a value of a wrong type.
        InpaintError: the network needs timm, which is not installed.
    """
    kind = description.get("kind")
    if kind not in _KINDS or not isinstance(description.get("preset"), Mapping):
        raise CheckpointError(f"got a model of kind {kind!r}, expected one of {', '.join(sorted(_KINDS))}")
    # A key with a default may be missing: its default is what networks did before the key existed.
    try:
        return build_network(read_table(description["preset"], _KINDS[kind][1], Path()))
    except ConfigError as error:
        raise CheckpointError(f"the preset in the file cannot be read: {error}") from None


def _look_up(preset: Any, table: Mapping[str, Any]) -> Any:
    """The preset of a name; anything else is a preset already."""
    if isinstance(preset, str) and preset not in table:
        raise WeightsError(f"unknown preset {preset!r}, expected one of: {', '.join(table)}")
    return table[preset] if isinstance(preset, str) else preset
