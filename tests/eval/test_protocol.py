"""The fixed validation protocol: which picture meets which mask, and what a fill is allowed to see."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval.features import FeatureMeasures
from eval.protocol import (
    FLOORS,
    MASKS_FILE,
    MEASURES,
    ValidationSet,
    composite_8_bits,
    features_of_targets,
    read_validation_set,
    score,
)
from inpaint.errors import DataError
from inpaint.fill import mean_colour
from inpaint.metrics import psnr_db

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def validation(data: Path) -> ValidationSet:
    return read_validation_set(data)


@pytest.fixture(scope="module")
def networks(data: Path) -> FeatureMeasures:
    return FeatureMeasures.from_folder(data / "metrics")


def test_pictures_and_masks_meet_in_the_order_of_their_names(validation: ValidationSet, data: Path) -> None:
    assert validation.names == ("a", "b", "c")
    assert validation.images.shape == (3, 3, 256, 256) and validation.images.dtype == torch.uint8
    assert validation.masks.shape == (3, 1, 256, 256) and validation.masks.dtype == torch.bool
    assert validation.masks.flatten(1).sum(dim=1).tolist() == [50 * 140, 256 * 80, 56 * 56]
    untouched = np.array(Image.open(data / "val/images/c.png"))
    assert np.array_equal(validation.images[2].permute(1, 2, 0).numpy(), untouched)


def test_pictures_are_cropped_at_the_centre_and_resized(validation: ValidationSet, data: Path) -> None:
    wide = Image.open(data / "val/images/a.png").crop((22, 0, 278, 256))
    assert np.array_equal(validation.images[0].permute(1, 2, 0).numpy(), np.array(wide))
    tall = (
        Image.open(data / "val/images/b.webp")
        .crop((0, 44, 512, 556))
        .resize((256, 256), Image.Resampling.LANCZOS)
    )
    assert np.array_equal(validation.images[1].permute(1, 2, 0).numpy(), np.array(tall))


def test_a_limit_spreads_and_keeps_every_pictures_own_mask(validation: ValidationSet, data: Path) -> None:
    part = read_validation_set(data, limit=2)
    assert part.names == ("a", "b")
    assert torch.equal(part.masks, validation.masks[:2])
    assert read_validation_set(data, limit=99).names == validation.names


def test_the_digest_tells_tasks_apart(validation: ValidationSet, data: Path) -> None:
    assert read_validation_set(data).digest() == validation.digest()
    masks = validation.masks.clone()
    masks[0, 0, 0, 0] = True
    assert ValidationSet(validation.names, validation.images, masks).digest() != validation.digest()
    images = validation.images.clone()
    images[0, 0, 0, 0] ^= 1
    assert ValidationSet(validation.names, images, validation.masks).digest() != validation.digest()


def test_missing_or_broken_data_is_named(
    tmp_path: Path, data: Path, write_masks: Callable[..., None]
) -> None:
    with pytest.raises(DataError, match=r"no pictures in .*val/images"):
        read_validation_set(tmp_path)
    shutil.copytree(data / "val", tmp_path / "val")
    with pytest.raises(DataError, match=MASKS_FILE):
        read_validation_set(tmp_path)
    (tmp_path / "masks").mkdir()
    write_masks(tmp_path / "masks" / MASKS_FILE, {"1.png": np.ones((256, 256))})
    with pytest.raises(DataError, match=r"got 1 masks.*at least 3"):
        read_validation_set(tmp_path)
    write_masks(tmp_path / "masks" / MASKS_FILE, {f"{n}.png": np.ones((256, 255)) for n in range(3)})
    with pytest.raises(DataError, match="256 x 255"):
        read_validation_set(tmp_path)
    (tmp_path / "masks" / MASKS_FILE).write_text("no zip")
    with pytest.raises(DataError, match="cannot read masks"):
        read_validation_set(tmp_path)
    shutil.copy(data / "masks" / MASKS_FILE, tmp_path / "masks")
    (tmp_path / "val/images/b.webp").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"b\.webp"):
        read_validation_set(tmp_path)


def test_a_fill_never_sees_the_answer(validation: ValidationSet) -> None:
    image, mask = next(validation.batches(3))
    seen = []

    def spy(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return torch.full_like(image, 0.2501)

    composite = composite_8_bits(spy, image, mask)
    hole = (mask > 0.5).expand_as(image)
    assert (seen[0][hole] == 0.5).all()
    assert torch.equal(composite[~hole], image[~hole])
    assert (composite[hole] == 64 / 255).all()  # 63.78: rounded, not cut


def test_a_perfect_fill_and_a_bad_one(validation: ValidationSet, networks: FeatureMeasures) -> None:
    targets = features_of_targets(validation, networks, CPU)
    images = iter(validation.images.float() / 255)
    perfect = score(
        lambda image, mask: torch.stack([next(images) for _ in image]), validation, networks, targets, CPU
    )
    assert perfect.per_image["psnr"].isinf().all() and perfect.per_image["hole_psnr"].isinf().all()
    assert perfect.per_image["ssim"].tolist() == pytest.approx([1.0] * 3)
    assert perfect.per_image["sqd"].tolist() == [0.0] * 3
    assert perfect.fmd == pytest.approx(0, abs=1e-6)
    bad = score(lambda image, mask: torch.zeros_like(image), validation, networks, targets, CPU)
    assert bad.per_image["ssim"].max() < 0.99 and bad.per_image["sqd"].min() > 0 and bad.fmd > 0
    assert bad.seconds_per_image > 0


def test_scores_do_not_depend_on_the_batch_size(validation: ValidationSet, networks: FeatureMeasures) -> None:
    targets = features_of_targets(validation, networks, CPU)
    kept = {}
    for size in (1, 2):
        kept[size] = []
        scores = score(
            mean_colour, validation, networks, targets, CPU, lambda i, c, s=size: kept[s].append((i, c)), size
        )
        if size == 1:
            first = scores
    assert [index for index, _ in kept[2]] == [0, 2]
    assert torch.equal(*(torch.cat([composites for _, composites in kept[size]]) for size in (1, 2)))
    for measure in MEASURES:
        assert scores.mean(measure) == pytest.approx(first.mean(measure), rel=1e-4)


def test_floors_restore_smooth_pictures_better_than_one_colour(validation: ValidationSet) -> None:
    image, mask = next(validation.batches(3))
    psnr = {
        name: psnr_db(composite_8_bits(fill, image, mask), image).mean().item()
        for name, fill in FLOORS.items()
    }
    assert list(psnr) == ["mean colour", "push-pull pyramid", "OpenCV Telea", "OpenCV Navier-Stokes"]
    assert psnr["mean colour"] == min(psnr.values())


def test_the_mean_colour_floor_is_cut_to_8_bits() -> None:
    image = torch.tensor([10.0, 13.0, 0.0]).view(1, 1, 1, 3).repeat(1, 3, 1, 1) / 255
    mask = torch.tensor([0.0, 0.0, 1.0]).view(1, 1, 1, 3)
    composite = composite_8_bits(FLOORS["mean colour"], image, mask)
    assert (composite[..., 2] * 255).round().unique().tolist() == [11.0]  # of 11.5
    whole = torch.full((1, 3, 1, 3), 200 / 255)  # a mean that is whole is not cut below itself
    assert torch.equal(composite_8_bits(FLOORS["mean colour"], whole, mask), whole)
