"""A run's config: strict TOML in, frozen dataclasses out.

Every key is checked before anything is loaded: an unknown key, a wrong type or an impossible value is one
line that names the key, what was got, what was expected, and the file. Paths are relative to the config's
folder and may contain environment variables as `${DATA}`. A config that differs little from another in its
folder names that one as `base` and says only what differs.
"""

import dataclasses
import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from inpaint.data.config import Augment, DataConfig
from inpaint.errors import ConfigError
from inpaint.strict import at_least, between, describe_type, formerly, read_table

Kind = Literal["mae", "fcmae", "acr"]
Precision = Literal["auto", "float32", "bf16"]
ProjectedNetwork = Literal["mobilenet", "inception"]
PerceptualNetwork = Literal["squeezenet", "ade20k", "mae"]
WEIGHTS_FILES = {
    "squeezenet": "SqueezeNet 1.1 as .safetensors with torchvision's key names",
    "ade20k": "encoder_epoch_20.pth of ade20k-resnet50dilated-ppm_deepsup, published by the project "
    "CSAILVision/semantic-segmentation-pytorch",
    "mae": "a checkpoint of kind mae, or a whole inpainter with such a prior",
    "mobilenet": "MobileNetV2 as .safetensors with torchvision's key names",
    "inception": "pytorch-fid's Inception, at least up to its 768-channel block",
}


@dataclass(frozen=True, kw_only=True)
class RunConfig(DataConfig):
    """The keys of every training run, of any kind; those of the data come on top."""

    kind: Kind  # what is trained: "mae" or "fcmae", a prior, or "acr", an inpainter
    name: str  # of the run; its checkpoint is called `NAME.safetensors`
    preset: str  # architecture, see `inpaint.models.presets`
    # weights to start from: for a prior a checkpoint of the same preset, or an inpainter that contains one;
    # for an inpainter one whose generator has the same layers
    init_checkpoint: Path | None = None
    accumulate: int = at_least(1, default=1)  # micro-batches per step and process, to save memory
    learning_rate: float = at_least(1e-12)  # peak learning rate
    warmup_images: int = at_least(0, default=0)  # images of linear warm-up
    schedule: Literal["constant", "cosine", "milestones"] = "cosine"  # of the learning rate after the warm-up
    # images seen at which the learning rate is halved, for schedule = "milestones"
    milestones: tuple[int, ...] = ()
    # decay of the exponential moving average of the weights per step; 0 copies them
    ema_decay: float = between(0, 0.999999, default=0.998)
    sample_every_s: float = at_least(0, default=300.0)  # seconds between sample grids
    save_every_s: float = at_least(0, default=300.0)  # seconds between states
    log_every: int = at_least(1, default=20)  # steps between lines of `stats.jsonl`
    threads: int | None = at_least(1, default=None)  # CPU threads per process; torch's choice by default
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1", "mps"
    # of convolutions and matrix products; "auto" times both and takes the faster one. Losses, FFTs and R1 are
    # always computed in float32
    precision: Precision = "float32"
    # compile the networks with torch.compile: minutes at the start, faster steps afterwards
    compile: bool = False
    tensorboard: bool = False  # also write curves and sample grids for TensorBoard

    def _contradictions(self) -> Iterator[str]:
        milestones = list(self.milestones)
        if Path(self.name).name != self.name:
            yield f"name is {self.name!r}, expected the name of a file: no folder in it"
        if self.warmup_images > self.images:
            yield f"warmup_images is {self.warmup_images}, expected at most images ({self.images})"
        if milestones != sorted({max(milestone, 1) for milestone in milestones}):
            yield f"milestones is {milestones}, expected positive rising numbers"
        if (self.schedule == "milestones") != bool(milestones):
            yield (
                f"milestones is {milestones} with schedule {self.schedule!r}, "
                "expected milestones together with schedule = 'milestones' and only then"
            )
        yield from super()._contradictions()
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            yield f"device is {self.device!r}, expected auto, cpu, mps, cuda or cuda:N"


@dataclass(frozen=True, kw_only=True)
class MaeRunConfig(RunConfig):
    """Pre-training of a prior, a masked autoencoder made of transformer blocks."""

    kind: Literal["mae", "fcmae"] = "mae"
    mask_ratio: float = between(0.05, 0.95, default=0.75)  # fraction of the tokens that is hidden
    mixed_masks: bool = True  # hide the tokens under image masks first; false hides random tokens only
    norm_pix: bool = False  # predict patches normalised by their own mean and variance
    # weight of a second loss: MobileNetV2's features of the tokens are predicted, too
    distillation: float = at_least(0, default=0.0)
    mobilenet_weights: Path | None = None  # MobileNetV2 with torchvision's key names, as .safetensors
    weight_decay: float = at_least(0, default=0.05)  # of AdamW, not applied to biases and norms
    betas: tuple[float, float] = between(0, 0.999999, default=(0.9, 0.95))  # of AdamW
    clip_gradient: float = at_least(1e-6, default=1.0)  # largest norm of a step's gradient

    def _contradictions(self) -> Iterator[str]:
        yield from super()._contradictions()
        if self.distillation and self.mobilenet_weights is None:
            yield _misses_file("distillation", self.distillation, "mobilenet_weights", "mobilenet")


@dataclass(frozen=True, kw_only=True)
class FcmaeRunConfig(MaeRunConfig):
    """Pre-training of a prior of convolutions, ConvNeXt V2's masked autoencoder: keys of `mae`, and these."""

    kind: Literal["mae", "fcmae"] = "fcmae"
    # fraction of the tokens that is hidden; less than for a transformer as a rule
    mask_ratio: float = between(0.05, 0.95, default=0.6)


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of an inpainter's losses; 0 leaves a loss out."""

    # of the patch discriminator; 0 leaves that discriminator out
    adversarial: float = at_least(0, default=10.0)
    # of the projected discriminator; 0 leaves that discriminator out
    projected: float = at_least(0, default=0.0)
    feature_matching: float = at_least(0, default=100.0)  # between the patch discriminator's activations
    perceptual: float = at_least(0, default=30.0)  # distance between features of `perceptual_network`
    # distance between Gram matrices, in the hole, of the first three of those features
    style: float = at_least(0, default=0.0)
    # distance between block outputs of MobileNetV2 (`mobilenet_weights`)
    mobilenet: float = at_least(0, default=0.0)
    # distance between the means of those outputs over positions
    mobilenet_means: float = at_least(0, default=0.0)
    # how much more the fill repeats itself, half a stride to two apart, than the photo does
    repetition: float = at_least(0, default=0.0)
    l1_known: float = at_least(0, default=10.0)  # absolute error of known pixels
    l1_hole: float = at_least(0, default=0.0)  # absolute error of hole pixels
    r1: float = at_least(0, default=0.001)  # gradient penalty of the patch discriminator


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Changes to an inpainter's preset, as in a row of an ablation; without a key the preset's choice."""

    # whose scores transfer features between tokens, before and after the residual blocks
    attention: Literal["prior", "contextual", "none"] | None = None
    # gates of everything that is injected into the generator: learned from zero, or fixed at one
    alphas: Literal["learned", "one"] | None = None
    # add the masked positional encoding
    positional_encoding: bool | None = formerly("positions", default=None)
    # standard deviation of noise in the hole at the generator's input, against textures that repeat; it
    # belongs to the network and is used after training, too
    hole_noise: float | None = between(0, 1, default=None)
    # decoder layer of the prior whose output serves as features
    feature_layer: int | None = at_least(1, default=None)
    prior_features: bool | None = None  # inject the prior's features; false uses its attention alone


@dataclass(frozen=True, kw_only=True)
class AcrRunConfig(RunConfig):
    """Training of an inpainter: adapter and generator against a discriminator, the prior frozen."""

    kind: Literal["acr"] = "acr"
    variant: Variant = field(default_factory=Variant)  # changes to the preset
    # the trained prior, of either kind
    prior_checkpoint: Path | None = field(default=None, metadata={"formerly": "mae_checkpoint"})
    prior: bool = True  # false trains the generator alone
    # channels of the patch discriminator's first convolution
    discriminator_width: int = at_least(1, default=64)
    # its peak; it follows the same schedule
    discriminator_learning_rate: float = at_least(1e-12, default=1e-4)
    # what discriminators and perceptual loss see: the raw "prediction" (as published) or the "composite" with
    # the known pixels
    discriminator_input: Literal["prediction", "composite"] = formerly("judged", default="prediction")
    # "non_saturating" as in LaMa, or "hinge" as in Projected GANs and GRIG
    adversarial_loss: Literal["non_saturating", "hinge"] = "non_saturating"
    # where the patch discriminator is trained and rewards the generator: "everywhere" (as published: known
    # patches are taught as real), in "holes" only, or in "hole_patches": trained everywhere, rewarding there
    # only (as in GRIG). Where most of an image is known, answering "real" everywhere is mostly right, and a
    # short run learns no more than that
    adversarial_at: Literal["everywhere", "holes", "hole_patches"] = "everywhere"
    betas: tuple[float, float] = between(0, 0.999999, default=(0.9, 0.999))  # of Adam, for all networks
    # learning-rate multiplier for the alphas. They start at zero, and what they gate learns next to nothing
    # before they have moved: short runs raise it
    alpha_lr_multiplier: float = at_least(1e-6, default=1.0, formerly="alpha_rate")
    weights: LossWeights = field(default_factory=LossWeights)  # of the losses
    # images seen after which `weights.l1_hole` no longer counts: absolute errors pull towards the mean of all
    # plausible fills, which is blurred
    l1_hole_until_images: int | None = at_least(0, default=None)
    # show discriminators augmented images (DiffAugment: colours, translation, cut-out), the same transform
    # for real image, fill and mask. For small data sets
    augment_discriminator: bool = False
    # frozen network whose features the projected discriminator sees: "mobilenet" (MobileNetV2) or "inception"
    # (the FID's; do not report FID of what it trained)
    projected_network: ProjectedNetwork = "mobilenet"
    projected_weights: Path | None = None  # that network's file
    # channels of the projected discriminator at its finest scale
    projected_width: int = at_least(1, default=64)
    r1_every: int = at_least(1, default=1)  # steps between R1 penalties; the weight is scaled up accordingly
    adversarial_after_images: int = at_least(0, default=0)  # images seen before the discriminators join
    # whose features the perceptual loss compares; "ade20k" is the published one
    perceptual_network: PerceptualNetwork = "squeezenet"
    # that network's file; "squeezenet" or "ade20k" fetches the published one
    perceptual_weights: Path | None = None
    mobilenet_weights: Path | None = None  # MobileNetV2 with torchvision's key names, as .safetensors
    channels_last: bool = False  # memory layout of convolutions

    def _contradictions(self) -> Iterator[str]:
        yield from super()._contradictions()
        weights = self.weights
        for loss, file, network in (
            ("perceptual", "perceptual_weights", self.perceptual_network),
            ("mobilenet", "mobilenet_weights", "mobilenet"),
            ("mobilenet_means", "mobilenet_weights", "mobilenet"),
            ("projected", "projected_weights", self.projected_network),
        ):
            weight = getattr(weights, loss)
            if weight > 0 and getattr(self, file) is None:
                yield _misses_file(f"weights.{loss}", weight, file, network)
        if weights.style > 0 and (not weights.perceptual or self.perceptual_network != "squeezenet"):
            yield "weights.style needs weights.perceptual and perceptual_network = 'squeezenet'"
        if self.prior_checkpoint is not None and not self.prior:
            yield "prior_checkpoint is given with prior = false, expected one or the other"


def _misses_file(key: str, weight: float, file: str, network: str) -> str:
    """The fault of a loss that is weighted without the file of the network it needs."""
    return (
        f"{key} is {weight} without {file}, expected {file} = 'FILE' ({WEIGHTS_FILES[network]}), "
        f"or {key} = 0 to train without"
    )


CONFIGS: dict[Kind, type[RunConfig]] = {"mae": MaeRunConfig, "fcmae": FcmaeRunConfig, "acr": AcrRunConfig}


def read_config(path: Path | str) -> RunConfig:
    """Read and check a TOML file: a config of the class that belongs to its kind, see `CONFIGS`.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or missing, or a value is impossible.
    """
    path = Path(path)
    return config_from_table(_read_file(path), folder=path.parent, source=str(path))


def config_from_table(table: dict[str, Any], *, folder: Path = Path(), source: str = "config") -> RunConfig:
    """Check a table that was read elsewhere; `folder` is what relative paths refer to.

    Raises:
        ConfigError: a key is unknown or missing, or a value is impossible.
    """
    try:
        if (kind := table.get("kind")) not in CONFIGS:
            kinds = " or ".join(f'"{name}"' for name in CONFIGS)
            if kind is not None:
                raise ConfigError(f"kind is {kind!r}, expected {kinds}")
            preset = str(table.get("preset", ""))
            likely = next((name for name in ("mae", "fcmae") if preset.startswith(f"{name}-")), "acr")
            raise ConfigError(f'kind is missing, expected {kinds}; add: kind = "{likely}"')
        return read_table(table, CONFIGS[kind], folder)
    except ConfigError as problem:
        raise ConfigError(f"{source}: {problem}") from None


def plain_config(config: RunConfig) -> dict[str, Any]:
    """Give a config as plain values, for states and logs: paths as text, tuples as lists."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


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
        whole[key] = theirs | value if isinstance(theirs, dict) and isinstance(value, dict) else value
    return whole


_SECTIONS: dict[str, type[Any]] = {
    "Every run": RunConfig,
    "Data": DataConfig,
    "`[augment]`": Augment,
    '`kind = "mae"`': MaeRunConfig,
    '`kind = "fcmae"`': FcmaeRunConfig,
    '`kind = "acr"`': AcrRunConfig,
    "`[weights]`": LossWeights,
    "`[variant]`": Variant,
}


def config_reference() -> str:
    """All keys with type, default and meaning, as Markdown."""
    page = [Path(__file__).with_name("config_head.md").read_text(encoding="utf-8")]
    for title, kind in _SECTIONS.items():
        about = " ".join((inspect.getdoc(kind) or "").split())
        head = "| key | type | default | meaning |\n| --- | --- | --- | --- |"
        page += [f"## {title}", "", about, "", head, *_rows(kind), ""]
    return "\n".join(page)


def _rows(kind: type[Any]) -> Iterator[str]:
    """The keys that a class adds to those of its bases, or changes: those with a comment, their meaning."""
    hints, fields = get_type_hints(kind), {item.name: item for item in dataclasses.fields(kind)}
    commented = r"^((?:    # .*\n)*)    (\w+): [^#\n]*(?:  # (.*))?$"
    for above, name, beside in re.findall(commented, inspect.getsource(kind), flags=re.MULTILINE):
        meaning = " ".join(above.replace("    # ", "").split()) or beside
        if not meaning:
            continue
        item, default = fields[name], "required"
        if dataclasses.is_dataclass(hints[name]):
            default = "see below"
        elif item.default is not dataclasses.MISSING:  # TOML writes values as JSON does
            default = "-" if item.default in (None, ()) else f"`{json.dumps(item.default)}`"
        yield f"| `{name}` | {describe_type(hints[name], item.metadata)} | {default} | {meaning} |"
