"""Named architectures, and building them.

Parameters in millions (``tests/test_presets.py`` counts them):

    preset              prior   adapter  generator
    acr-base            111.7   13.9     27.1       as published
    acr-small             6.5    1.4      2.7       same design, narrow; starts from the push-pull fill
    acr-small-convnext    5.0    1.4      2.7       acr-small with a convolutional prior, fcmae-small
    lama-small             -      -       2.7       the generator of acr-small alone: the worth of a prior
    lama                   -      -      27.0       no prior, LaMa-Fourier
    big-lama               -      -      51.0       no prior, 18 blocks
    *-tiny              for tests: thousands of parameters

    fcmae-convnextv2-*  the published pre-training of each ConvNeXt V2, patches of 32 pixels
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from torch import nn

from inpaint.errors import CheckpointError, ConfigError, WeightsError
from inpaint.layers.transfer import Alphas
from inpaint.models.adapter import PriorAdapter
from inpaint.models.fcmae import FcmaePreset, FullyConvolutionalAutoencoder
from inpaint.models.generator import Attention, FourierGenerator, GeneratorPreset
from inpaint.models.inpainter import Inpainter, InpainterPreset
from inpaint.models.mae import MaePreset, MaskedAutoencoder
from inpaint.models.patch_autoencoder import PatchAutoencoder

_ACR = {"padding": "zeros", "convolution_bias": True, "positions": True, "attention": "prior"}
_SMALL = GeneratorPreset(width=24, blocks=6, start="push_pull", **_ACR)

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
    # Four decoder blocks see across a hole of half the picture; the published one sees across 7 x 7 tokens.
    "fcmae-small": FcmaePreset(
        depths=(2, 2, 8), widths=(48, 96, 256), image_size=256, decoder_width=96, decoder_depth=4
    ),
    # Published patches, few channels: pre-trained on a processor core within an hour.
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
    """Build a masked autoencoder with random weights, from a name or from its numbers."""
    return MaskedAutoencoder(_look_up(preset, MAE_PRESETS) if isinstance(preset, str) else preset)


def build_fcmae(preset: str | FcmaePreset) -> FullyConvolutionalAutoencoder:
    """Build a fully convolutional masked autoencoder with random weights, from a name or from its numbers.

    Raises:
        InpaintError: timm is not installed.
    """
    return FullyConvolutionalAutoencoder(
        _look_up(preset, FCMAE_PRESETS) if isinstance(preset, str) else preset
    )


def build_inpainter(preset: str | InpainterPreset) -> Inpainter:
    """Build a whole network with random weights, from a name or from its numbers.

    Raises:
        WeightsError: if the name is unknown.
        InpaintError: the prior needs timm, which is not installed.
    """
    numbers: InpainterPreset = _look_up(preset, INPAINTER_PRESETS) if isinstance(preset, str) else preset
    if numbers.mae is None:
        return Inpainter(numbers, FourierGenerator(numbers.generator))
    prior = build_network(numbers.mae)
    assert isinstance(prior, PatchAutoencoder)
    return Inpainter(
        numbers,
        FourierGenerator(numbers.generator, prior.grid),
        prior,
        PriorAdapter(prior.feature_channels, numbers.generator.width, numbers.generator.alphas)
        if numbers.prior_features
        else None,
    )


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
    positions: bool | None = None,
    feature_layer: int | None = None,
    prior_features: bool | None = None,
) -> InpainterPreset:
    """A preset with some of its choices changed, as a row of an ablation has it; None keeps the preset's.

    Args:
        preset: a name, or the numbers.
        attention: see :class:`inpaint.models.generator.GeneratorPreset`, as ``alphas`` and ``positions``.
        alphas: of attention and adapter.
        positions: the masked positional encoding.
        feature_layer: see :class:`inpaint.models.mae.MaePreset`.
        prior_features: see :class:`inpaint.models.inpainter.InpainterPreset`.

    Raises:
        WeightsError: if the name is unknown.
        ConfigError: if the choices do not go together.
    """
    numbers: InpainterPreset = _look_up(preset, INPAINTER_PRESETS) if isinstance(preset, str) else preset
    changes = {"attention": attention, "alphas": alphas, "positions": positions}
    generator = replace(numbers.generator, **{key: new for key, new in changes.items() if new is not None})
    mae = numbers.mae
    if mae is None:
        wanted = {"prior_features": prior_features, "feature_layer": feature_layer}
        asked = [key for key, value in wanted.items() if value is not None]
        asked += ["attention = 'prior'"] * (attention == "prior")
        if asked:
            raise ConfigError(f"got {', '.join(asked)} for preset {numbers.name}, which has no prior")
        return replace(numbers, generator=generator)
    if feature_layer is not None:
        if isinstance(mae, FcmaePreset):
            raise ConfigError(
                f"got feature_layer {feature_layer} for preset {numbers.name}; a convolutional prior gives "
                "the features of its last decoder block"
            )
        if not 1 <= feature_layer <= mae.decoder_depth:
            raise ConfigError(
                f"got feature_layer {feature_layer}; preset {numbers.name} has decoder layers 1 to "
                f"{mae.decoder_depth}"
            )
        mae = replace(mae, feature_layer=feature_layer)
    features = numbers.prior_features if prior_features is None else prior_features
    if not features and generator.attention != "prior":
        raise ConfigError(
            f"got attention {generator.attention!r} and no prior features: nothing of the prior of preset "
            f"{numbers.name} would be used; expected a preset without a prior, such as lama-small"
        )
    return replace(numbers, generator=generator, mae=mae, prior_features=features)


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
        CheckpointError: if the description has an unknown kind, an unknown or missing key, or a wrong type.
        InpaintError: the network needs timm, which is not installed.
    """
    kinds = {"inpainter": InpainterPreset, "mae": MaePreset, "fcmae": FcmaePreset}
    kind = description.get("kind")
    if kind not in kinds or not isinstance(description.get("preset"), Mapping):
        raise CheckpointError(f"got a model of kind {kind!r}, expected one of {', '.join(sorted(kinds))}")
    return build_network(_read_preset(kinds[kind], description["preset"]))


def _look_up(name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise WeightsError(f"unknown preset {name!r}, expected one of: {', '.join(table)}")
    return table[name]


def _read_preset(cls: type, values: Mapping[str, Any]) -> Any:
    """Build a preset dataclass from plain values, strictly.

    A key with a default may be missing: its default is what networks did before the key existed.
    """
    values = _rename_old(cls, values)
    hints = get_type_hints(cls)
    unknown = sorted(set(values) - {field.name for field in fields(cls)})
    missing = sorted({field.name for field in fields(cls) if field.default is MISSING} - set(values))
    if unknown or missing:
        raise CheckpointError(
            f"the preset in the file does not fit {cls.__name__}: unknown keys {unknown}, missing {missing}; "
            "it was written by another version"
        )
    return cls(**{name: _read_value(hints[name], name, value) for name, value in values.items()})


def _rename_old(cls: type, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read ``attention_transfer``, true or false, which older files have in place of ``attention``."""
    if cls is not GeneratorPreset or "attention" in values or "attention_transfer" not in values:
        return values
    kept = {key: value for key, value in values.items() if key != "attention_transfer"}
    return kept | {"attention": {True: "prior", False: "none"}.get(values["attention_transfer"])}


def _read_value(hint: Any, name: str, value: Any) -> Any:
    if get_origin(hint) is UnionType:
        if value is None:
            return None
        hint = _choose(name, value, [option for option in get_args(hint) if option is not type(None)])
    if is_dataclass(hint):
        return _read_preset(hint, value)  # type: ignore[arg-type]
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(_read_value(get_args(hint)[0], name, item) for item in value)
    allowed: Any = (float, int) if hint is float else hint
    literal = get_args(hint) if get_origin(hint) is Literal else ()
    fits = (
        value in literal
        if literal
        else isinstance(value, get_origin(allowed) or allowed) and (hint is bool) == isinstance(value, bool)
    )
    if not fits:
        raise CheckpointError(f"the preset in the file has {name} = {value!r}, expected {literal or hint}")
    return value


def _choose(name: str, value: Any, options: list[Any]) -> Any:
    """Tell by its keys which kind of preset a value is."""
    if len(options) == 1:
        return options[0]
    fitting = [
        option
        for option in options
        if isinstance(value, Mapping) and set(value) <= {f.name for f in fields(option)}
    ]
    if len(fitting) != 1:
        keys = sorted(value) if isinstance(value, Mapping) else value
        kinds = " or ".join(option.__name__ for option in options)
        raise CheckpointError(f"the preset in the file has {name} = {keys}, expected the keys of {kinds}")
    return fitting[0]
