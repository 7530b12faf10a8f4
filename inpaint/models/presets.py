"""Named architectures, and building them.

Parameters in millions (``tests/models/test_presets.py`` counts them):

    preset              prior   adapter  generator
    acr-base            111.7   13.9     27.1       as published
    acr-small             6.5    1.4      2.7       same design, narrow; starts from the push-pull fill
    acr-small-convnext    5.0    1.4      2.7       acr-small with a convolutional prior, fcmae-small
    lama-small             -      -       2.7       the generator of acr-small without a prior
    lama                   -      -      27.0       no prior, LaMa-Fourier
    big-lama               -      -      51.0       no prior, 18 blocks
    *-tiny              for tests: thousands of parameters

    fcmae-convnextv2-*  the published pre-training of each ConvNeXt V2, patches of 32 pixels
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from inpaint.errors import CheckpointError, ConfigError, WeightsError
from inpaint.layers.transfer import Alphas
from inpaint.models.adapter import PriorAdapter
from inpaint.models.fcmae import FcmaePreset, FullyConvolutionalAutoencoder
from inpaint.models.generator import Attention, FourierGenerator, GeneratorPreset
from inpaint.models.inpainter import Inpainter, InpainterPreset
from inpaint.models.mae import MaePreset, MaskedAutoencoder
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.strict import read_table

_ACR = {"padding": "zeros", "convolution_bias": True, "positional_encoding": True, "attention": "prior"}
_SMALL = GeneratorPreset(width=24, blocks=6, initial_fill="push_pull", **_ACR)

MAE_PRESETS: dict[str, MaePreset] = {
    "mae-base": MaePreset(),
    "mae-small": MaePreset(width=192, heads=6, decoder_width=96, decoder_heads=6),
    "mae-tiny": MaePreset(
        image_size=64, patch_size=4, width=16, depth=2, heads=2, decoder_width=16, decoder_depth=2,
        decoder_heads=2, feature_layer=2,
    ),
}  # fmt: skip

CONVNEXT_V2: dict[str, tuple[tuple[int, ...], int]] = {
    "atto": ((2, 2, 6, 2), 40),
    "femto": ((2, 2, 6, 2), 48),
    "pico": ((2, 2, 6, 2), 64),
    "nano": ((2, 2, 8, 2), 80),
    "tiny": ((3, 3, 9, 3), 96),
    "base": ((3, 3, 27, 3), 128),
    "large": ((3, 3, 27, 3), 192),
    "huge": ((3, 3, 27, 3), 352),
}
"""Published sizes (Woo et al. 2023, appendix A): blocks of each stage, channels of the first."""

FCMAE_PRESETS: dict[str, FcmaePreset] = {
    # Four decoder blocks see across a hole of half the image; the published one sees across 7 x 7 tokens.
    "fcmae-small": FcmaePreset(
        depths=(2, 2, 8), widths=(48, 96, 256), image_size=256, decoder_width=96, decoder_depth=4
    ),
    # Published patches, few channels: pre-trained on one CPU core within an hour.
    "fcmae-mini": FcmaePreset(
        depths=(2, 2, 4, 2), widths=(24, 48, 96, 192), image_size=128, decoder_width=128
    ),
    "fcmae-tiny": FcmaePreset(depths=(1, 1, 1), widths=(8, 8, 16), image_size=64, decoder_width=16),
    **{
        f"fcmae-convnextv2-{size}": FcmaePreset(depths, (width, 2 * width, 4 * width, 8 * width))
        for size, (depths, width) in CONVNEXT_V2.items()
    },
}
for _name in ("fcmae-small", "fcmae-mini"):
    FCMAE_PRESETS[f"{_name}-no-grn"] = replace(FCMAE_PRESETS[_name], grn=False)

INPAINTER_PRESETS: dict[str, InpainterPreset] = {
    "acr-base": InpainterPreset("acr-base", GeneratorPreset(**_ACR), MAE_PRESETS["mae-base"]),
    "acr-small": InpainterPreset("acr-small", _SMALL, MAE_PRESETS["mae-small"]),
    "acr-tiny": InpainterPreset(
        "acr-tiny", GeneratorPreset(width=4, blocks=1, **_ACR), MAE_PRESETS["mae-tiny"], working_size=64
    ),
    "acr-small-convnext": InpainterPreset("acr-small-convnext", _SMALL, FCMAE_PRESETS["fcmae-small"]),
    "acr-tiny-convnext": InpainterPreset(
        "acr-tiny-convnext", GeneratorPreset(width=4, blocks=1, **_ACR), FCMAE_PRESETS["fcmae-tiny"],
        working_size=64,
    ),
    "lama-small": InpainterPreset("lama-small", replace(_SMALL, attention="none")),
    "lama": InpainterPreset("lama", GeneratorPreset()),
    "big-lama": InpainterPreset("big-lama", GeneratorPreset(blocks=18)),
    "lama-tiny": InpainterPreset("lama-tiny", GeneratorPreset(width=4, blocks=1), working_size=64),
}  # fmt: skip


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


def vary_preset(
    preset: str | InpainterPreset,
    *,
    attention: Attention | None = None,
    alphas: Alphas | None = None,
    positional_encoding: bool | None = None,
    hole_noise: float | None = None,
    feature_layer: int | None = None,
    prior_features: bool | None = None,
) -> InpainterPreset:
    """A preset with some of its choices changed, as a row of an ablation has it; None keeps the preset's.

    Raises:
        WeightsError: the name is unknown.
        ConfigError: the choices do not go together.
    """
    numbers: InpainterPreset = _look_up(preset, INPAINTER_PRESETS)
    changes: dict[str, Any] = {"attention": attention, "alphas": alphas, "hole_noise": hole_noise}
    changes["positional_encoding"] = positional_encoding
    generator = replace(numbers.generator, **{key: new for key, new in changes.items() if new is not None})
    prior = numbers.prior
    if prior is None:
        wanted = {"prior_features": prior_features, "feature_layer": feature_layer}
        asked = [key for key, value in wanted.items() if value is not None]
        asked += ["attention = 'prior'"] * (attention == "prior")
        if asked:
            raise ConfigError(f"got {', '.join(asked)} for preset {numbers.name}, which has no prior")
        return replace(numbers, generator=generator)
    if feature_layer is not None:
        if isinstance(prior, FcmaePreset):
            raise ConfigError(
                f"got feature_layer {feature_layer} for preset {numbers.name}; a convolutional prior gives "
                "the features of its last decoder block"
            )
        if not 1 <= feature_layer <= prior.decoder_depth:
            raise ConfigError(
                f"got feature_layer {feature_layer}; preset {numbers.name} has decoder layers 1 to "
                f"{prior.decoder_depth}"
            )
        prior = replace(prior, feature_layer=feature_layer)
    features = numbers.prior_features if prior_features is None else prior_features
    if not features and generator.attention != "prior":
        raise ConfigError(
            f"got attention {generator.attention!r} and no prior features: nothing of the prior of preset "
            f"{numbers.name} would be used; expected a preset without a prior, such as lama-small"
        )
    return replace(numbers, generator=generator, prior=prior, prior_features=features)


def describe_preset(model: nn.Module) -> dict[str, Any]:
    """The preset of a model as plain values, for a file header."""
    kinds = {Inpainter: "inpainter", MaskedAutoencoder: "mae", FullyConvolutionalAutoencoder: "fcmae"}
    kind = kinds.get(type(model))
    if kind is None or not is_dataclass(model.preset) or isinstance(model.preset, type):
        raise CheckpointError(f"got a {type(model).__name__}, expected an Inpainter or a masked autoencoder")
    return {"kind": kind, "preset": asdict(model.preset)}


def build_described(description: Mapping[str, Any]) -> Inpainter | PatchAutoencoder:
    """Build what :func:`describe_preset` described, with random weights.

    Raises:
        CheckpointError: an unknown kind, an unknown or missing key, or a value of a wrong type.
        InpaintError: the network needs timm, which is not installed.
    """
    kinds = {"inpainter": InpainterPreset, "mae": MaePreset, "fcmae": FcmaePreset}
    kind = description.get("kind")
    if kind not in kinds or not isinstance(description.get("preset"), Mapping):
        raise CheckpointError(f"got a model of kind {kind!r}, expected one of {', '.join(sorted(kinds))}")
    # A key with a default may be missing: its default is what networks did before the key existed.
    try:
        return build_network(read_table(_rename_old(description["preset"]), kinds[kind], Path()))
    except ConfigError as error:
        raise CheckpointError(f"the preset in the file cannot be read: {error}") from None


def _look_up(preset: Any, table: Mapping[str, Any]) -> Any:
    """The preset of a name; anything else is a preset already."""
    if isinstance(preset, str) and preset not in table:
        raise WeightsError(f"unknown preset {preset!r}, expected one of: {', '.join(table)}")
    return table[preset] if isinstance(preset, str) else preset


def _rename_old(preset: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read ``attention_transfer``, true or false, which older files have in place of ``attention``."""
    generator = preset.get("generator")
    if not isinstance(generator, Mapping) or "attention" in generator:
        return preset
    kept = dict(generator)
    if (old := kept.pop("attention_transfer", None)) is not None:
        kept["attention"] = {True: "prior", False: "none"}.get(old)
    return {**preset, "generator": kept}
