"""Which files a scoring run is about: ground truth, masks and predictions, matched by stem.

A source is one folder (its subfolders are not searched), for masks also a zip. Everything that can be wrong
with names, formats and sizes is told before the first image is scored; only headers are read for that.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpaint.batch import READABLE_SUFFIXES
from inpaint.batch.plan import find_images, group_files, normal_stem
from inpaint.errors import DataError, few
from inpaint.images import hole_from_mask, plain_image, read_image, read_mask

Files = Sequence["ImageFile"]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image on disk, or in a zip that is kept open."""

    path: Path  # in a zip the archive's path and the member's
    stem: str  # an accent is one character, whatever the system makes of it
    stamp: str  # changes when the file does: name, size and time, or the checksum in a zip
    archive: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)
    member: str = ""

    def open(self) -> Image.Image:
        """Open it as Pillow does: header only, not turned upright; OSError if it is no image."""
        return Image.open(self.path if self.archive is None else io.BytesIO(self.archive.read(self.member)))

    def read(self) -> NDArray[np.uint8]:
        """Its upright pixels, ``(H, W, 3)`` RGB; ImageError if it cannot be read."""
        return np.array(read_image(self.path).convert("RGB"))

    def read_hole(self) -> NDArray[np.bool_]:
        """Its pixels as a mask, ``(H, W)``, True = hole; MaskError or DataError if it cannot be read."""
        if self.archive is None:
            return hole_from_mask(read_mask(self.path))
        try:
            with self.open() as image:
                return hole_from_mask(plain_image(image))
        except Exception as error:  # decoders raise nearly anything on damaged data
            raise DataError(f"{str(self.path)!r} cannot be read ({error}); make the zip again") from error


@dataclass(frozen=True, slots=True)
class Pair:
    """A ground truth image and its mask (white = hole); what is scored together has one shape ``(H, W)``."""

    stem: str
    image: ImageFile
    mask: ImageFile
    shape: tuple[int, int]


@dataclass(frozen=True)
class Task:
    """What every method is scored on."""

    images: Path  # folder of the ground truth
    masks: Path  # folder or zip
    size: int | None  # side of the square everything is brought to, or None for native sizes
    pairs: tuple[Pair, ...]  # equal shapes beside each other, by stem within
    chosen_from: int  # how many images the folder has
    cycled: bool  # masks belong to images by order, not by name
    missing: tuple[str, ...] = ()  # stems of images without a mask, left out

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits; another file, size or time anywhere gives others."""
        return _digest([str(self.size), *(f"{p.stem} {p.image.stamp} {p.mask.stamp}" for p in self.pairs)])

    @property
    def notes(self) -> dict[str, str]:
        """What a reader needs beside the two folders to find the same images and masks."""
        size = f"centre squares, {self.size} x {self.size}" if self.size else "at their own sizes"
        limited = len(self.pairs) + len(self.missing) < self.chosen_from
        spread = ", evenly spread over the sorted names" if limited else ""
        masks = "in order of their names, in turn" if self.cycled else "by the image's name"
        return {"images": f"{len(self.pairs)} of {self.chosen_from}{spread}; {size}", "masks": masks}

    def read(self, pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read an image ``(H, W, 3)`` RGB and its hole ``(H, W)``, True = hole, as they are scored.

        With a size they are cropped to the centre and resized. ImageError, MaskError or DataError if a file
        cannot be read, or their sizes differ.
        """
        image, hole = pair.image.read(), pair.mask.read_hole()
        if self.size is not None:
            image = _centre_square(image, self.size, Image.Resampling.LANCZOS)
            hole = _centre_square(hole, self.size, Image.Resampling.NEAREST)
        elif hole.shape != image.shape[:2]:
            raise _size_error(f"mask {pair.mask.path.name}", hole.shape, image.shape[:2])
        return image, hole


@dataclass(frozen=True)
class Predictions:
    """One method's image files by stem of the ground truth, stems without one, and how many are JPEG."""

    folder: Path
    files: dict[str, ImageFile]
    missing: tuple[str, ...]
    jpegs: int

    @property
    def fingerprint(self) -> str:
        """As of a task."""
        return _digest(f"{stem} {file.stamp}" for stem, file in self.files.items())

    def read(self, pair: Pair, shape: Sequence[int]) -> NDArray[np.uint8]:
        """The prediction for a pair, ``(H, W, 3)`` RGB; ImageError, DataError if broken or misshapen."""
        pixels = self.files[pair.stem].read()
        if pixels.shape[:2] != tuple(shape):
            raise _size_error(f"prediction {str(self.files[pair.stem].path)!r}", pixels.shape[:2], shape)
        return pixels


def find_task(
    images: Path,
    masks: Path,
    *,
    size: int | None = None,
    cycle_masks: bool = False,
    allow_missing: bool = False,
    limit: int | None = None,
) -> Task:
    """Find the ground truth images and the mask of each.

    Args:
        images: folder of ground truth images.
        masks: folder or zip of masks.
        size: crop to the centre square and resize (images Lanczos, masks nearest), as published.
        cycle_masks: image i of the sorted names gets mask i modulo their count, not that of its own stem.
        allow_missing: leave images without a mask out instead of refusing.
        limit: take only so many images, evenly spread over the sorted names; each keeps its own mask.

    Raises:
        DataError: naming the first few files in the way, and how many there are.
    """
    found = list_images(images, "ground truth")
    mask_files = list_images(masks, "masks", zips=True)
    numbers = spread_evenly(len(found), limit)
    chosen = [found[number] for number in numbers]
    missing: tuple[str, ...] = ()
    if cycle_masks:
        mask_of = {found[number].stem: mask_files[number % len(mask_files)] for number in numbers}
    else:
        hint = ", or pair them in order with --cycle-masks"
        mask_of, missing = _match(chosen, mask_files, "mask", masks, hint, allow_missing)
    chosen = [image for image in chosen if image.stem in mask_of]
    shapes, _ = _read_headers(chosen, "ground truth")
    mask_shapes, _ = _read_headers({mask.path: mask for mask in mask_of.values()}.values(), "masks")
    pairs = []
    for image in chosen:
        mask, shape = mask_of[image.stem], shapes[image.path]
        if size is not None:
            shape = (size, size)
        elif sorted(mask_shapes[mask.path]) != sorted(shape):  # EXIF may still turn one of them on its side
            raise _size_error(f"mask {mask.path.name}", mask_shapes[mask.path], shape)
        pairs.append(Pair(image.stem, image, mask, shape))
    pairs.sort(key=lambda pair: (pair.shape, pair.stem))
    return Task(images, masks, size, tuple(pairs), len(found), cycle_masks, missing)


def find_predictions(folder: Path, task: Task, *, allow_missing: bool = False) -> Predictions:
    """Find a method's predictions for the images of a task, by stem; DataError as :func:`find_task`."""
    if folder.is_dir() and folder.samefile(task.images):
        raise DataError(f"the predictions {str(folder)!r} are the ground truth itself; name their own folder")
    images, found = [pair.image for pair in task.pairs], list_images(folder, "predictions")
    files, missing = _match(images, found, "prediction", folder, "", allow_missing)
    shapes, jpegs = _read_headers(files.values(), "predictions")
    for pair in task.pairs:
        file = files.get(pair.stem)
        if file is not None and sorted(shapes[file.path]) != sorted(pair.shape):
            raise _size_error(f"prediction {str(file.path)!r}", shapes[file.path], pair.shape)
    return Predictions(folder, files, tuple(sorted(missing)), jpegs)


def list_images(source: Path, what: str, *, zips: bool = False) -> list[ImageFile]:
    """The image files of a folder or zip, sorted by name; DataError if there are none, or two of one stem."""
    if zips and source.is_file() and zipfile.is_zipfile(source):
        files = _files_of_zip(source)
    elif source.is_dir():
        files = []
        for path in find_images(source)[0]:
            status = path.stat()
            stamp = f"{path.name} {status.st_size} {status.st_mtime_ns}"
            files.append(ImageFile(path, normal_stem(path), stamp))
    else:
        got = f"got a file for the {what}" if source.exists() else f"no such folder for the {what}"
        raise DataError(f"{got}: {str(source)!r}; expected a folder{' or a zip' if zips else ''}")
    if not files:
        expected = " ".join(READABLE_SUFFIXES)
        raise DataError(f"no {what} in {str(source)!r}; expected {expected} (subfolders are not searched)")
    groups = group_files(files, lambda file: file.stem).values()
    if twins := [" and ".join(file.path.name for file in group) for group in groups if len(group) > 1]:
        raise DataError(f"names come twice in {str(source)!r}: {few(twins)}; keep one of each")
    return files


def spread_evenly(count: int, limit: int | None) -> list[int]:
    """Numbers of so many of ``count`` things, evenly spread; of all without a limit."""
    chosen = count if limit is None else min(limit, count)
    return [index * count // chosen for index in range(chosen)]


def _files_of_zip(path: Path) -> list[ImageFile]:
    archive = zipfile.ZipFile(path)
    files = []
    for member in sorted(archive.infolist(), key=lambda member: member.filename):
        name = Path(member.filename)
        hidden = name.name.startswith(".") or "__MACOSX" in name.parts
        if name.suffix.lower() in READABLE_SUFFIXES and not hidden:
            stamp = f"{member.filename} {member.CRC}"
            files.append(ImageFile(path / name, normal_stem(name), stamp, archive, member.filename))
    return files


def _read_headers(files: Iterable[ImageFile], what: str) -> tuple[dict[Path, tuple[int, int]], int]:
    """The (H, W) each header names, and how many files are JPEG."""
    shapes, jpegs, broken = {}, 0, []
    for file in files:
        try:
            with file.open() as image:
                shapes[file.path] = (image.height, image.width)
                jpegs += image.format in ("JPEG", "MPO")
        except Exception:  # decoders raise nearly anything on damaged data
            broken.append(file.path.name)
    if broken:
        raise DataError(f"{len(broken)} of the {what} cannot be read: {few(broken)}; get them again")
    return shapes, jpegs


def _match(
    images: Files, partners: Files, what: str, folder: Path, hint: str, allow_missing: bool
) -> tuple[dict[str, ImageFile], tuple[str, ...]]:
    """The partner of each image by stem, and the stems of images without one."""
    partner_of = {partner.stem: partner for partner in partners}
    missing = tuple(image.stem for image in images if image.stem not in partner_of)
    if len(missing) == len(images):
        got = few(file.stem for file in partners)
        raise DataError(
            f"no {what} in {str(folder)!r} is named like an image: got {got} for {few(missing)}; name them "
            f"alike{hint}"
        )
    if missing and not allow_missing:
        raise DataError(
            f"{len(missing)} of {len(images)} images have no {what} in {str(folder)!r}: {few(missing)}; "
            "add them, or leave these images out with --allow-missing"
        )
    return {image.stem: partner_of[image.stem] for image in images if image.stem in partner_of}, missing


def _centre_square(
    pixels: NDArray[np.uint8] | NDArray[np.bool_], size: int, method: Image.Resampling
) -> NDArray:
    image = Image.fromarray(pixels)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    return np.array(image if side == size else image.resize((size, size), method))


def _size_error(what: str, got: Sequence[int], expected: Sequence[int]) -> DataError:
    return DataError(
        f"got {what} of {got[0]} x {got[1]}; expected the ground truth's {expected[0]} x {expected[1]}: make "
        "it at that size, or bring images and masks to one with --size"
    )


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
