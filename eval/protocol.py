"""The fixed validation protocol: which pictures, which masks, what is measured.

Pictures of ``DATA/val/images`` sorted by name, centre-cropped to a square, resized to 256 x 256 (Lanczos).
Picture i has mask i of ``DATA/masks/published-test-1000.zip`` sorted by name. A fill is rounded to 8 bits and
composited before anything is measured.
"""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval.features import FeatureMeasures
from inpaint import fill, metrics
from inpaint.errors import DataError, ImageError
from inpaint.image import read_image

SIZE = 256
BATCH_SIZE = 4  # larger ones cost a CPU a fifth of its time in fresh memory pages
MASKS_FILE = "published-test-1000.zip"
IMAGE_SUFFIXES = {".webp", ".png", ".jpg", ".jpeg"}

Fill = Callable[[Tensor, Tensor], Tensor]  # image (B, 3, H, W) in [0, 1], mask (B, 1, H, W) -> prediction


def _mean_colour_8_bits(image: Tensor, mask: Tensor) -> Tensor:
    """The protocol's published table cuts the mean colour to 8 bits instead of rounding it (0.008 dB)."""
    return (fill.mean_colour(image, mask) * 255 + 1e-4).floor() / 255


FLOORS: dict[str, Fill] = {
    "mean colour": _mean_colour_8_bits,
    "push-pull pyramid": fill.push_pull,
    "OpenCV Telea": fill.telea,
    "OpenCV Navier-Stokes": fill.navier_stokes,
}


@dataclass(frozen=True)
class Measure:
    """A column of the table."""

    key: str
    title: str
    digits: int
    higher_is_better: bool
    per_image: bool = True


MEASURES = (
    Measure("psnr", "PSNR", 3, True),
    Measure("hole_psnr", "hole PSNR", 3, True),
    Measure("ssim", "SSIM", 4, True),
    Measure("sqd", "sqd", 4, False),
    Measure("fmd", "fmd", 1, False, per_image=False),
)


@dataclass(frozen=True)
class ValidationSet:
    """The pictures and masks of a run, in memory (200 kB each)."""

    names: tuple[str, ...]
    images: Tensor
    """``(N, 3, 256, 256)`` uint8."""
    masks: Tensor
    """``(N, 1, 256, 256)`` bool, True = hole."""

    def digest(self) -> str:
        """First 16 hex digits of a SHA-256 over all pixels and masks: equal digests, equal task."""
        content = hashlib.sha256(self.images.numpy().tobytes())
        content.update(np.packbits(self.masks.numpy()).tobytes())
        return content.hexdigest()[:16]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of up to ``size`` images (float in [0, 1]) and masks (float)."""
        for start in range(0, len(self.names), size):
            part = slice(start, start + size)
            yield self.images[part].float() / 255, self.masks[part].float()


@dataclass(frozen=True)
class Scores:
    """What one fill reached."""

    per_image: dict[str, Tensor]
    """``(N,)`` float64 of each per-image measure."""
    fmd: float
    """NaN where there are fewer than two images."""
    seconds_per_image: float
    """Time of the fill alone."""

    def mean(self, measure: Measure) -> float:
        """The table's entry: a mean over images, or the set's own number."""
        return self.per_image[measure.key].mean().item() if measure.per_image else self.fmd


def read_validation_set(data: Path, limit: int | None = None) -> ValidationSet:
    """Read the fixed validation set.

    Args:
        data: a folder with ``val/images`` and ``masks``.
        limit: take only so many pictures, evenly spread over the sorted names; each keeps its own mask.

    Raises:
        DataError: something is missing, unreadable or of the wrong size.
    """
    folder, archive = data / "val" / "images", data / "masks" / MASKS_FILE
    files = (
        [path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
        if folder.is_dir()
        else []
    )
    files.sort(key=lambda path: path.name)
    if not files:
        raise DataError(
            f"got no pictures in {folder}; expected the training data folder with val/images in it"
        )
    numbers = range(len(files))
    if limit is not None and limit < len(files):
        numbers = [index * len(files) // limit for index in range(limit)]
    masks = _read_masks(archive, numbers)
    images = torch.stack([_read_square(files[index]) for index in numbers])
    return ValidationSet(tuple(files[index].stem for index in numbers), images, masks)


@torch.inference_mode()
def composite_8_bits(predict: Fill, image: Tensor, mask: Tensor) -> Tensor:
    """Fill, round to 8 bits, and put the known pixels back.

    What lies under the hole is greyed before ``predict`` sees it: it is the answer.

    Args:
        predict: the fill or model under test.
        image: ``(B, 3, H, W)`` in [0, 1], whole 255ths.
        mask: ``(B, 1, H, W)``, 1 = hole.

    Returns:
        ``(B, 3, H, W)`` float in [0, 1], whole 255ths.
    """
    hole = mask > 0.5
    prediction = predict(torch.where(hole, 0.5, image), mask).float()
    rounded = (prediction.clamp(0, 1) * 255).round() / 255
    return torch.where(hole, rounded, image)


@torch.inference_mode()
def score(
    predict: Fill,
    validation: ValidationSet,
    networks: FeatureMeasures,
    target_features: Tensor,
    device: torch.device,
    keep: Callable[[int, Tensor], None] | None = None,
    batch_size: int = BATCH_SIZE,
) -> Scores:
    """Fill all pictures and measure them.

    Args:
        predict: the fill or model under test, on ``device``.
        validation: pictures and masks.
        networks: the feature networks, on ``device``.
        target_features: ``features_of_targets`` of the same pictures.
        device: where to compute.
        keep: called with the index of each batch's first picture and the composites, to save or show them.
        batch_size: pictures at once.

    Returns:
        One value per picture and measure; composites are dropped.
    """
    values: dict[str, list[Tensor]] = {measure.key: [] for measure in MEASURES if measure.per_image}
    features, seconds, seen = [], 0.0, 0
    for image, mask in validation.batches(batch_size):
        image, mask = image.to(device), mask.to(device)
        start = time.perf_counter()
        composite = composite_8_bits(predict, image, mask)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds += time.perf_counter() - start
        values["psnr"].append(metrics.psnr_db(composite, image))
        values["hole_psnr"].append(metrics.hole_psnr_db(composite, image, mask))
        values["ssim"].append(metrics.ssim(composite, image))
        values["sqd"].append(networks.squeezenet_distance(composite, image))
        features.append(networks.mobilenet_features(composite).cpu())
        if keep is not None:
            keep(seen, composite.cpu())
        seen += len(image)
    per_image = {key: torch.cat(parts).double().cpu() for key, parts in values.items()}
    fmd = metrics.frechet_distance(torch.cat(features), target_features).item() if seen > 1 else float("nan")
    return Scores(per_image, fmd, seconds / max(1, seen))


@torch.inference_mode()
def features_of_targets(
    validation: ValidationSet, networks: FeatureMeasures, device: torch.device, batch_size: int = BATCH_SIZE
) -> Tensor:
    """MobileNetV2 features of the original pictures, computed once for all rows.

    Returns:
        ``(N, 1280)`` float32 on the CPU.
    """
    batches = validation.batches(batch_size)
    return torch.cat([networks.mobilenet_features(image.to(device)).cpu() for image, _ in batches])


def _read_square(path: Path) -> Tensor:
    try:
        picture = read_image(path).convert("RGB")
    except ImageError as error:
        raise DataError(str(error)) from error
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side))
    if side != SIZE:
        picture = picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _read_masks(path: Path, numbers: range | list[int]) -> Tensor:
    masks = []
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.lower().endswith(".png"))
            if len(names) <= max(numbers):
                raise DataError(f"got {len(names)} masks in {path}; expected at least {max(numbers) + 1}")
            for index in numbers:
                with Image.open(io.BytesIO(archive.read(names[index]))) as picture:
                    if picture.size != (SIZE, SIZE):
                        width, height = picture.size
                        raise DataError(f"got mask {names[index]} of {height} x {width}; expected 256 x 256")
                    masks.append(np.array(picture.convert("L")) > 127)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read masks from {path} ({error}); expected a zip of PNGs") from error
    return torch.from_numpy(np.stack(masks))[:, None]
