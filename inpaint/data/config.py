"""The part of a run's config that says which images and masks it is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from inpaint.errors import ConfigError
from inpaint.strict import at_least, between

SIZE_STEP = 16  # pixels between sizes that cycle: one token of the prior


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How a training image is made from a photo; 0 leaves a distortion out.

    All but `kind` are applied to whole batches on the device.
    """

    # "crop" cuts a random part and flips half of the images left to right; "resize" squeezes the whole photo
    # into the square and flips; "lama" distorts in worker processes as LaMa did, for keep = "disk"
    kind: Literal["crop", "resize", "lama"] = "crop"
    rotate: float = between(0, 180, default=0.0)  # largest rotation in degrees
    # largest change of scale: 0.25 gives factors from 1 / 1.25 to 1.25
    zoom: float = between(0, 1, default=0.0)
    # largest displacement of the corners inwards, as a fraction of the side
    perspective: float = between(0, 0.4, default=0.0)
    brightness: float = between(0, 1, default=0.0)  # largest deviation of the factor from 1
    contrast: float = between(0, 1, default=0.0)  # largest deviation of the factor from 1
    saturation: float = between(0, 1, default=0.0)  # largest deviation of the factor from 1
    hue: float = between(0, 0.5, default=0.0)  # largest rotation of the hue, 0.5 being the opposite colour

    @property
    def distorts(self) -> bool:
        """Is there anything to do on the device?"""
        return self != Augment(kind=self.kind)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Photos, crops and masks of a run."""

    # folders, lists, tar shards or patterns; see `inpaint.data.sources.index_photos`
    photos: tuple[Path, ...]
    photo_limit: int | None = at_least(1, default=None)  # use only the first so many photos
    # "memory" decodes all photos once, as squares; "disk" reads and decodes them again and again in worker
    # processes, for data sets that do not fit
    keep: Literal["memory", "disk"] = "memory"
    # for keep = "memory" the side of those squares, by default the largest crop or 256; for augment.kind =
    # "lama" photos with a longer short side are shrunk to it
    photo_size: int | None = at_least(16, default=None)
    # for keep = "disk", processes that read photos, per training process; 0 reads in the training process; by
    # default one per CPU core, at most 16
    workers: int | None = at_least(0, default=None)
    # side of the training images; the largest one in multi-scale training
    size: int = at_least(16, default=256)
    # multi-scale training: the side falls from `size` to this and rises again, batch by batch, in steps of 16
    # pixels
    smallest_size: int | None = at_least(16, default=None)
    size_rounds: int = at_least(1, default=64)  # such cycles per epoch
    # side of the images at the start of the run: small ones are fast, and teach shapes and colours
    early_size: int | None = at_least(16, default=None)
    early_share: float = between(0, 1, default=0.0)  # fraction of the run's images that have `early_size`
    # smallest crop, as a fraction of the photo's area; 1 takes whole photos
    min_scale: float = between(0.01, 1, default=0.5)
    # largest factor by which a crop is enlarged; smaller crops are not taken. Enlarged images are blurred,
    # and teach the network to blur. A whole photo may always be enlarged
    max_upscale: float | None = at_least(0.01, default=None)
    augment: Augment = field(default_factory=Augment)  # how a training image is made from a photo
    # kind of the random masks; see `inpaint.random_masks`
    masks: Literal["mixed", "train", "thin", "medium", "thick", "boxes", "objects"] = "mixed"
    shapes: Path | None = None  # folder or zip of object shapes, for object-shaped masks
    batch_size: int = at_least(1)  # images per step, over all processes
    images: int = at_least(1)  # length of the run in images
    seed: int = at_least(0, default=0)  # of everything random
    out: Path  # folder for states, sample grids and the checkpoint

    @property
    def kept_size(self) -> int:
        """Side of the squares that photos are kept as in memory."""
        return self.photo_size or max(self.size, 256)

    def __post_init__(self) -> None:
        for fault in self._contradictions():
            raise ConfigError(fault)

    def _contradictions(self) -> Iterator[str]:
        """What one value alone cannot show, a line for each fault: such a config cannot be made."""
        kind, smallest = self.augment.kind, self.smallest_size
        if not self.photos:
            yield "photos is empty, expected at least one folder, list or shard"
        if kind == "lama" and self.keep != "disk":
            yield "augment.kind is 'lama' with keep = 'memory', expected keep = 'disk': workers do it"
        if kind == "lama" and self.augment.distorts:
            yield "augment.kind is 'lama' together with other distortions, expected one or the other"
        if self.keep == "disk" and self.photo_size is not None and kind != "lama":
            yield f"photo_size is {self.photo_size} with keep = 'disk', expected none: photos stay whole"
        if self.keep == "memory" and self.workers is not None:
            yield f"workers is {self.workers} with keep = 'memory', expected keep = 'disk'"
        if self.masks == "objects" and self.shapes is None:
            yield "masks is 'objects' without shapes, expected shapes = 'FOLDER or ZIP'"
        if (self.early_size is None) != (self.early_share == 0):
            yield f"early_size is {self.early_size}, early_share {self.early_share}, expected both or neither"
        if smallest is not None and (smallest >= self.size or (self.size - smallest) % SIZE_STEP):
            yield f"smallest_size is {smallest}, expected size ({self.size}) less a multiple of {SIZE_STEP}"
