"""A run's configuration: strict TOML in, frozen dataclasses out.

Every key is checked before anything is loaded: an unknown key, a wrong type or an impossible value is one
line that names the key, what was got, what was expected, and the file. Paths are relative to the config's
folder and may contain environment variables as `${DATA}`. A config that differs little from another in its
folder names that one as `base` and says only what differs.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from inpaint.data.config import DataConfig, check_data_together
from inpaint.errors import ConfigError
from inpaint.strict import at_least, between, formerly, read_table

Schedule = Literal["constant", "cosine", "milestones"]
Precision = Literal["float32", "bf16"]
JudgedView = Literal["prediction", "composite"]
JudgedPlaces = Literal["everywhere", "holes"]
PerceptualNetwork = Literal["squeezenet", "ade20k", "mae"]
PERCEPTUAL_FILES: dict[PerceptualNetwork, str] = {
    "squeezenet": "SqueezeNet 1.1 as .safetensors with torchvision's key names",
    "ade20k": "encoder_epoch_20.pth of ade20k-resnet50dilated-ppm_deepsup, published by the project "
    "CSAILVision/semantic-segmentation-pytorch",
    "mae": "a checkpoint of inpaint train mae",
}


@dataclass(frozen=True, kw_only=True)
class RunConfig(DataConfig):
    """What every training run has, beside its pictures and holes.

    Attributes:
        name: of the run, for logs.
        preset: architecture, see `inpaint.models.presets`.
        accumulate: parts each process does a step's images in, one after the other, to save memory.
        learning_rate: at its highest.
        warmup_images: linear rise at the start.
        schedule: what follows the warm-up.
        milestones: images seen at which the rate is halved, for schedule "milestones".
        ema_decay: share of the averaged weights that stays per step; 0 copies.
        sample_every_s: seconds between sample sheets.
        save_every_s: seconds between states.
        log_every: steps between lines of `stats.jsonl`.
        threads: processor threads; None leaves torch's choice.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        precision: of the network's products; losses, FFT and R1 stay in float32.
        compile: compile the networks with torch.compile: some minutes at the start, then faster steps.
        tensorboard: also write curves and sample sheets for TensorBoard.
    """

    name: str
    preset: str
    accumulate: int = at_least(1, default=1)
    learning_rate: float = at_least(1e-12)
    warmup_images: int = at_least(0, default=0)
    schedule: Schedule = "cosine"
    milestones: tuple[int, ...] = ()
    ema_decay: float = between(0, 0.999999, default=0.998)
    sample_every_s: float = at_least(0, default=300.0)
    save_every_s: float = at_least(0, default=300.0)
    log_every: int = at_least(1, default=20)
    threads: int | None = at_least(1, default=None)
    device: str = "auto"
    precision: Precision = "float32"
    compile: bool = False
    tensorboard: bool = False


@dataclass(frozen=True, kw_only=True)
class MaeRunConfig(RunConfig):
    """Pre-training of a prior.

    Attributes:
        mask_ratio: share of tokens that are hidden.
        mixed_masks: hide the tokens under image masks first; False hides random tokens only.
        norm_pix: predict each patch normalised by its own mean and variance.
        weight_decay: of AdamW, not applied to biases and norms.
        betas: of AdamW.
        clip_gradient: largest norm of a step's gradient.
    """

    mask_ratio: float = between(0.05, 0.95, default=0.75)
    mixed_masks: bool = True
    norm_pix: bool = False
    weight_decay: float = at_least(0, default=0.05)
    betas: tuple[float, float] = between(0, 0.999999, default=(0.9, 0.95))
    clip_gradient: float = at_least(1e-6, default=1.0)


@dataclass(frozen=True, kw_only=True)
class FcmaeRunConfig(MaeRunConfig):
    """Pre-training of a convolutional prior: as that of a transformer, but that less is hidden as a rule.

    Attributes:
        mask_ratio: as there.
        sparse: compute nothing at hidden positions; the same results, sooner on a processor. The encoder is
            not compiled then.
    """

    mask_ratio: float = between(0.05, 0.95, default=0.6)
    sparse: bool = False


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Factors of the parts of the loss; 0 leaves a part out."""

    adversarial: float = at_least(0, default=10.0)
    feature_matching: float = at_least(0, default=100.0)
    perceptual: float = at_least(0, default=30.0)
    l1_known: float = at_least(0, default=10.0)
    l1_hole: float = at_least(0, default=0.0)
    r1: float = at_least(0, default=0.001)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What a run changes in its preset, as a row of an ablation does; None keeps the preset's choice.

    Attributes:
        attention: whose scores rebuild features before and after the residual blocks.
        alphas: factors of all that joins the generator: learned from zero, or fixed at one.
        positional_encoding: the masked positional encoding.
        feature_layer: decoder layer of the prior whose output are its features.
        prior_features: use the prior's features; False leaves its attention alone.
    """

    attention: Literal["prior", "contextual", "none"] | None = None
    alphas: Literal["learned", "one"] | None = None
    positional_encoding: bool | None = formerly("positions", default=None)
    feature_layer: int | None = at_least(1, default=None)
    prior_features: bool | None = None


@dataclass(frozen=True, kw_only=True)
class AcrRunConfig(RunConfig):
    """Training of adapter and generator against a discriminator, the prior frozen.

    Attributes:
        variant: what differs from the preset.
        mae_checkpoint: the trained prior, a masked autoencoder of either kind.
        init_checkpoint: a network to continue from, also another variant; see `inpaint.train.initialise`.
        prior: False trains the generator alone.
        discriminator_width: channels of its first convolution.
        discriminator_learning_rate: at its highest; follows the same schedule.
        judged: what discriminator and perceptual loss see: raw prediction (as published) or composite.
        adversarial_at: where discriminator and adversarial loss judge: "everywhere" (as published; known
            places are taught as real), or in "holes" alone. Where most of a picture is known, a discriminator
            is mostly right by calling all of it real, and a short run ends before it learns more.
        betas: of Adam, for both networks.
        alpha_rate: the alphas' learning rate by that of the rest. They are single numbers that start at zero,
            and what joins through them learns next to nothing before they have moved: a short run raises it.
        weights: factors of the losses.
        r1_every: steps between R1 penalties; the factor is multiplied to make up for the steps without.
        adversarial_after_images: images seen before the discriminator joins.
        perceptual_network: whose features the perceptual loss compares; "ade20k" is the published one.
        perceptual_weights: that network's file.
        channels_last: memory layout of convolutions.
    """

    variant: Variant = field(default_factory=Variant)
    mae_checkpoint: Path | None = None
    init_checkpoint: Path | None = None
    prior: bool = True
    discriminator_width: int = at_least(1, default=64)
    discriminator_learning_rate: float = at_least(1e-12, default=1e-4)
    judged: JudgedView = "prediction"
    adversarial_at: JudgedPlaces = "everywhere"
    betas: tuple[float, float] = between(0, 0.999999, default=(0.9, 0.999))
    alpha_rate: float = at_least(1e-6, default=1.0)
    weights: LossWeights = field(default_factory=LossWeights)
    r1_every: int = at_least(1, default=1)
    adversarial_after_images: int = at_least(0, default=0)
    perceptual_network: PerceptualNetwork = "squeezenet"
    perceptual_weights: Path | None = None
    channels_last: bool = False


AnyRunConfig = TypeVar("AnyRunConfig", bound=RunConfig)


def read_config(path: Path | str, kind: type[AnyRunConfig]) -> AnyRunConfig:
    """Read and check a TOML file.

    Args:
        path: the file.
        kind: `MaeRunConfig`, `FcmaeRunConfig` or `AcrRunConfig`.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or missing, or a value is impossible.
    """
    path = Path(path)
    return config_from_table(_read_file(path), kind, folder=path.parent, source=str(path))


def config_from_table(
    table: Mapping[str, Any], kind: type[AnyRunConfig], *, folder: Path = Path(), source: str = "config"
) -> AnyRunConfig:
    """Check a table that was read elsewhere; `folder` is what relative paths refer to.

    Raises:
        ConfigError: a key is unknown or missing, or a value is impossible.
    """
    try:
        config = read_table(table, kind, folder)
        _check_together(config)
    except ConfigError as problem:
        raise ConfigError(f"{source}: {problem}") from None
    return config


def change_config(config: AnyRunConfig, **changes: Any) -> AnyRunConfig:
    """Give a config with other values, checked together again.

    Raises:
        ConfigError: the values contradict each other.
    """
    changed = dataclasses.replace(config, **changes)
    _check_together(changed)
    return changed


def plain_config(config: RunConfig) -> dict[str, Any]:
    """Give a config as plain values (paths as text, tuples as lists), for states and logs."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    return plain(dataclasses.asdict(config))


def _read_file(path: Path, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a file and put it over its base; `above` are the names of the files that stand on it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: cannot be read ({problem}); expected a TOML file") from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{path}: not valid TOML ({problem})") from None
    if "base" not in table:
        return table
    base, above = table.pop("base"), (*above, path.name)
    if not isinstance(base, str) or Path(base).name != base:
        raise ConfigError(f"{path}: base is {base!r}, expected the name of a config in the same folder")
    if base in above:
        raise ConfigError(f"{path}: base is {base!r}, which stands on {path.name} itself")
    whole = _read_file(path.with_name(base), above)
    for key, value in table.items():
        theirs = whole.get(key)
        if isinstance(theirs, dict) and isinstance(value, dict):
            value = theirs | value
        whole[key] = value
    return whole


def _check_together(config: RunConfig) -> None:
    """Check what one value alone cannot show."""
    if config.warmup_images > config.images:
        raise ConfigError(
            f"warmup_images is {config.warmup_images}, expected at most images ({config.images})"
        )
    rising = list(config.milestones) == sorted(set(config.milestones))
    if not rising or any(milestone < 1 for milestone in config.milestones):
        raise ConfigError(f"milestones is {list(config.milestones)}, expected positive rising numbers")
    if (config.schedule == "milestones") != bool(config.milestones):
        raise ConfigError(
            f"milestones is {list(config.milestones)} with schedule {config.schedule!r}, "
            "expected milestones together with schedule = 'milestones' and only then"
        )
    check_data_together(config)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", config.device):
        raise ConfigError(f"device is {config.device!r}, expected auto, cpu, mps, cuda or cuda:N")
    if isinstance(config, AcrRunConfig):
        if config.weights.perceptual > 0 and config.perceptual_weights is None:
            raise ConfigError(
                f"weights.perceptual is {config.weights.perceptual} without perceptual_weights, expected "
                f"perceptual_weights = 'FILE' ({PERCEPTUAL_FILES[config.perceptual_network]}), "
                "or weights.perceptual = 0 to train without"
            )
        if config.mae_checkpoint is not None and not config.prior:
            raise ConfigError("mae_checkpoint is given with prior = false, expected one or the other")
