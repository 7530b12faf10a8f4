"""The part of a run's configuration that says which pictures and holes it learns from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from inpaint.errors import ConfigError
from inpaint.strict import at_least, between

Keep = Literal["memory", "disk"]
MaskKind = Literal["mixed", "train", "thin", "medium", "thick", "boxes", "objects"]
SIZE_STEP = 16  # pixels between sizes that cycle: one token of the prior


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How a photo becomes a training picture; all but `kind` come after, on the device; 0 leaves one out.

    Attributes:
        kind: "crop" cuts a random part and mirrors half of the time; "resize" squeezes the whole photo into
            the square and mirrors; "lama" distorts in worker processes as LaMa did, for keep = "disk".
        rotate: largest turn in degrees.
        zoom: largest change of scale: 0.25 gives factors from 1 / 1.25 to 1.25.
        perspective: how far inside the picture its new corners lie at most, as a part of the side.
        brightness: largest change of the factor 1.
        contrast: largest change of the factor 1.
        saturation: largest change of the factor 1.
        hue: largest turn of the colour circle, 0.5 being the opposite colour.
    """

    kind: Literal["crop", "resize", "lama"] = "crop"
    rotate: float = between(0, 180, default=0.0)
    zoom: float = between(0, 1, default=0.0)
    perspective: float = between(0, 0.4, default=0.0)
    brightness: float = between(0, 1, default=0.0)
    contrast: float = between(0, 1, default=0.0)
    saturation: float = between(0, 1, default=0.0)
    hue: float = between(0, 0.5, default=0.0)

    @property
    def moves(self) -> bool:
        """Does anything change its place on the device?"""
        return bool(self.rotate or self.zoom or self.perspective)

    @property
    def distorts(self) -> bool:
        """Is there anything to do on the device?"""
        return self.moves or bool(self.brightness or self.contrast or self.saturation or self.hue)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Photos, their crops, and the holes in them.

    Attributes:
        photos: folders, lists, tar shards or patterns; see `inpaint.data.sources.index_photos`.
        photo_limit: use only the first so many photos.
        keep: where photos stay during the run: "memory" decodes them once, as squares; "disk" reads and
            decodes them in worker processes again and again, for sets that do not fit.
        photo_size: for keep = "memory" the side of those squares, by default the largest crop or 256; for
            augment.kind = "lama" photos with a longer short side are shrunk to it.
        workers: processes that read photos for keep = "disk", per training process; 0 reads in between steps;
            by default one a processor core, at most 16.
        size: side of the training pictures, the largest one if they change.
        smallest_size: sides cycle from `size` down to this and up again, in steps of 16 pixels.
        size_rounds: such cycles in an epoch.
        early_size: side of the run's first pictures: small ones are fast, and teach shapes and colours.
        early_share: how large a part of the run's images these are.
        min_scale: smallest part of a photo's area in a crop; 1 takes whole photos.
        max_upscale: largest factor by which a crop is enlarged; smaller crops than that are not taken. What
            is enlarged is blurred, and teaches to fill holes with blur. A whole photo may always be enlarged.
        augment: how a photo becomes a training picture.
        masks: kind of the holes; see `inpaint.random_masks`.
        shapes: folder or zip of object shapes, for object-shaped holes.
        batch_size: images per step, over all processes.
        images: images to see in the whole run.
        seed: of everything random.
        out: folder for states, samples and the checkpoint.
    """

    photos: tuple[Path, ...]
    photo_limit: int | None = at_least(1, default=None)
    keep: Keep = "memory"
    photo_size: int | None = at_least(16, default=None)
    workers: int | None = at_least(0, default=None)
    size: int = at_least(16, default=256)
    smallest_size: int | None = at_least(16, default=None)
    size_rounds: int = at_least(1, default=64)
    early_size: int | None = at_least(16, default=None)
    early_share: float = between(0, 1, default=0.0)
    min_scale: float = between(0.01, 1, default=0.5)
    max_upscale: float | None = at_least(0.01, default=None)
    augment: Augment = field(default_factory=Augment)
    masks: MaskKind = "mixed"
    shapes: Path | None = None
    batch_size: int = at_least(1)
    images: int = at_least(1)
    seed: int = at_least(0, default=0)
    out: Path

    @property
    def kept_size(self) -> int:
        """Side of the squares that photos are kept as in memory."""
        return self.photo_size or max(self.size, 256)


def check_data_together(config: DataConfig) -> None:
    """Check what one value alone cannot show.

    Raises:
        ConfigError: keys that contradict each other.
    """
    if not config.photos:
        raise ConfigError("photos is empty, expected at least one folder, list or shard")
    kind = config.augment.kind
    if kind == "lama" and config.keep != "disk":
        raise ConfigError(
            "augment.kind is 'lama' with keep = 'memory', expected keep = 'disk': workers do it"
        )
    if kind == "lama" and config.augment.distorts:
        raise ConfigError("augment.kind is 'lama' together with other distortions, expected one or the other")
    if config.keep == "disk" and config.photo_size is not None and kind != "lama":
        raise ConfigError(
            f"photo_size is {config.photo_size} with keep = 'disk', expected none: "
            "crops are cut from the photo as it is"
        )
    if config.keep == "memory" and config.workers is not None:
        raise ConfigError(f"workers is {config.workers} with keep = 'memory', expected keep = 'disk'")
    if config.masks == "objects" and config.shapes is None:
        raise ConfigError("masks is 'objects' without shapes, expected shapes = 'FOLDER or ZIP'")
    if (config.early_size is None) != (config.early_share == 0):
        raise ConfigError(
            f"early_size is {config.early_size} with early_share = {config.early_share}, expected both or "
            "neither"
        )
    smallest = config.smallest_size
    if smallest is not None and (smallest >= config.size or (config.size - smallest) % SIZE_STEP):
        raise ConfigError(
            f"smallest_size is {smallest}, expected less than size ({config.size}) by a "
            f"multiple of {SIZE_STEP}"
        )
