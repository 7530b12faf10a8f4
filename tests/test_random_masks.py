"""Random holes: seeded, never empty or full, distributed as published."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.masks import main as benchmark
from inpaint.errors import ConfigError, DataError, ShapeError
from inpaint.random_masks import (
    MASK_KINDS,
    ObjectShapes,
    default_limit,
    draw_candidates,
    drawing,
    make_masks,
    read_shapes,
)
from inpaint.random_masks.drawing import draw_objects, stamp


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hole_ratios(masks: torch.Tensor) -> torch.Tensor:
    return masks.double().flatten(1).mean(dim=1)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rows, columns = np.mgrid[:64, :64]
    disc = (rows - 20) ** 2 + (columns - 30) ** 2 < 15**2
    triangle = rows > columns
    return [disc, triangle]


@pytest.fixture(scope="module")
def shapes(pictures: list[np.ndarray]) -> ObjectShapes:
    return ObjectShapes.from_images(pictures)


@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("size", [(256, 256), (96, 160)])
def test_masks_are_seeded_binary_and_capped(kind: str, size: tuple[int, int], shapes: ObjectShapes) -> None:
    masks = make_masks(kind, 12, *size, seeded(3), shapes=shapes)
    assert masks.shape == (12, 1, *size) and masks.dtype == torch.float32
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    ratios = hole_ratios(masks)
    assert ratios.min() > 0 and ratios.max() <= default_limit(kind)
    assert torch.equal(masks, make_masks(kind, 12, *size, seeded(3), shapes=shapes))
    assert not torch.equal(masks, make_masks(kind, 12, *size, seeded(4), shapes=shapes))
    smaller = make_masks(kind, 40, *size, seeded(3), shapes=shapes, max_hole_ratio=0.2)
    assert 0 < hole_ratios(smaller).min() and hole_ratios(smaller).max() <= 0.2


def test_a_generator_is_advanced_and_nothing_else(shapes: ObjectShapes) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    generator = seeded(7)
    first = make_masks("mixed", 4, 48, 48, generator, shapes=shapes)
    state = generator.get_state()
    second = make_masks("mixed", 4, 48, 48, generator, shapes=shapes)
    assert not torch.equal(first, second)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(1)
    generator.set_state(state)
    assert torch.equal(second, make_masks("mixed", 4, 48, 48, generator, shapes=shapes))


@settings(max_examples=25)
@given(
    kind=st.sampled_from(MASK_KINDS),
    height=st.integers(1, 70),
    width=st.integers(2, 70),
    seed=st.integers(0, 10_000),
)
def test_every_mask_has_holes_and_known_pixels_at_any_size(
    kind: str, height: int, width: int, seed: int, shapes: ObjectShapes
) -> None:
    masks = make_masks(kind, 4, height, width, seeded(seed), shapes=shapes)
    assert masks.shape == (4, 1, height, width)
    counts = masks.sum(dim=(1, 2, 3))
    assert counts.min() >= 1
    assert counts.max() <= max(1, default_limit(kind) * height * width)


def test_no_masks_are_a_batch_too(shapes: ObjectShapes) -> None:
    assert make_masks("mixed", 0, 8, 9, seeded(), shapes=shapes).shape == (0, 1, 8, 9)


def test_objects_are_moved_scaled_and_flipped(pictures: list[np.ndarray]) -> None:
    triangle = ObjectShapes.from_images(pictures[1:])
    masks = make_masks("objects", 400, 64, 64, seeded(), shapes=triangle)
    ratios = hole_ratios(masks)
    assert ratios.min() < 0.06 and ratios.max() > 0.4
    heat = masks.mean(dim=(0, 1))
    # Flips in both directions and free positions: the average mask favours no side (8 standard errors).
    assert abs(heat[:32].mean() - heat[32:].mean()) < 0.05
    assert abs(heat[:, :32].mean() - heat[:, 32:].mean()) < 0.05


def test_an_object_is_its_shape_stretched(pictures: list[np.ndarray], shapes: ObjectShapes) -> None:
    canvas = np.zeros((2, 80, 120), np.uint8)
    stamp(canvas[0], shapes.bits[0].numpy(), 10, 20, 60, 90, 0, 0)
    stamp(canvas[1], shapes.bits[1].numpy(), -5, -8, 63, 63, 1, 0)
    disc, triangle = canvas.astype(bool)
    rows, columns = np.mgrid[:80, :120]
    # The 29 pixels of its box reach half a pixel less far than its radius of 15 does.
    ellipse = ((rows - 39.5) / 30) ** 2 + ((columns - 64.5) / 45) ** 2 <= (15 / 14.5) ** 2
    box = (abs(rows - 39.5) < 30) & (abs(columns - 64.5) < 45)
    assert (disc ^ (ellipse & box)).sum() < 0.02 * ellipse.sum()
    # Mirrored in y, and cut off at the top and the left.
    expected = np.zeros((80, 120), bool)
    expected[:58, :55] = pictures[1][1:, :63][::-1][5:, 8:]
    assert (triangle ^ expected).sum() < 0.06 * expected.sum()


def test_the_mixture_has_its_shares(monkeypatch: pytest.MonkeyPatch, shapes: ObjectShapes) -> None:
    # Both kinds of drawing leave one mark each, so that the marks tell how a mask was made.
    recipes = []

    def mark_lines(
        canvas: np.ndarray, masks: torch.Tensor, _: object, which: torch.Tensor, *__: object
    ) -> None:
        recipes.append(which)
        canvas[masks, 0, 0] = 1

    def mark_objects(canvas: np.ndarray, masks: torch.Tensor, *_: object) -> None:
        canvas[masks, 0, 1] = 1

    monkeypatch.setattr(drawing, "draw_lines", mark_lines)
    monkeypatch.setattr(drawing, "draw_objects", mark_objects)
    marks = make_masks("mixed", 4000, 1, 3, seeded(), shapes=shapes)[:, 0, 0].bool()
    irregular, object_shaped = marks[:, 0], marks[:, 1]
    share = {
        "irregular": (irregular & ~object_shaped).double().mean().item(),
        "object": (object_shaped & ~irregular).double().mean().item(),
        "both": (irregular & object_shaped).double().mean().item(),
    }
    assert share == pytest.approx({"irregular": 0.4, "object": 0.4, "both": 0.2}, abs=0.03)
    thirds = torch.cat(recipes).bincount(minlength=3) / len(torch.cat(recipes))
    assert thirds.tolist() == pytest.approx([1 / 3] * 3, abs=0.04)


@pytest.mark.parametrize("size", [(64, 100), (300, 40), (5, 3)])
def test_objects_are_painted_as_the_nearest_pixels_of_their_shapes(
    size: tuple[int, int], shapes: ObjectShapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = []
    monkeypatch.setattr(
        drawing, "stamp", lambda mask, *place: (placed.append((mask, place)), stamp(mask, *place))
    )
    canvas = np.zeros((12, *size), np.uint8)
    draw_objects(canvas, torch.arange(12), shapes, seeded(5))
    expected = np.zeros_like(canvas)
    for mask, (bits, top, left, height, width, flip_y, flip_x) in placed:
        number = next(n for n in range(12) if np.shares_memory(canvas[n], mask))
        square = np.unpackbits(bits, axis=1)
        for y in range(max(top, 0), min(top + height, size[0])):
            for x in range(max(left, 0), min(left + width, size[1])):
                row, column = int((y - top + 0.5) / height * 256), int((x - left + 0.5) / width * 256)
                row, column = (255 - row if flip_y else row), (255 - column if flip_x else column)
                expected[number, y, x] |= square[row, column]
    assert len(placed) > 12 and np.array_equal(canvas, expected)


def test_shapes_from_zip_and_folder_agree(
    tmp_path: Path, pictures: list[np.ndarray], shapes: ObjectShapes
) -> None:
    with zipfile.ZipFile(tmp_path / "shapes.zip", "w") as archive:
        for index, picture in enumerate(pictures):
            framed = np.pad(picture, 3).astype(np.uint8) * 255
            Image.fromarray(framed).convert("1").save(tmp_path / f"{index}.png")
            archive.write(tmp_path / f"{index}.png", f"inner/{index}.png")
        archive.writestr("README.txt", "not a picture")
    for read in (read_shapes(tmp_path / "shapes.zip"), read_shapes(str(tmp_path))):
        assert len(read) == 2
        assert torch.equal(read.bits, shapes.bits)  # the empty frame is cut off
        assert read.sizes.tolist() == shapes.sizes.tolist() == [[29, 29], [63, 63]]
        assert read.areas.tolist() == pytest.approx([0.83, 0.5], abs=0.02)


def test_bad_shapes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.zip"):
        read_shapes(tmp_path / "gone.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DataError, match=r"text\.zip.*expected a folder or a zip"):
        read_shapes(tmp_path / "text.zip")
    with pytest.raises(DataError, match="no object shape"):
        read_shapes(tmp_path)
    with pytest.raises(DataError, match="no object shape"):
        ObjectShapes.from_images([np.zeros((4, 4), np.uint8)])
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        read_shapes(tmp_path)


def test_bad_requests_are_named() -> None:
    with pytest.raises(ConfigError, match=r"'fat'.*thin"):
        make_masks("fat", 1, 8, 8, seeded())
    with pytest.raises(ConfigError, match="object shapes: name a folder or a zip"):
        make_masks("objects", 1, 8, 8, seeded())
    with pytest.raises(ShapeError, match="1 x 1"):
        make_masks("mixed", 1, 1, 1, seeded())


def test_the_benchmark_tells_its_rates() -> None:
    result = CliRunner().invoke(
        benchmark, ["--count", "2", "--size", "16", "--seconds", "0", "--kind", "thin"]
    )
    assert result.exit_code == 0, result.output
    assert re.match(r"thin 16 x 16, 2 at once: [\d,]+ masks/s$", result.output)


# 1,500 masks of the published generators: mean hole ratio, share above one half, mean of the others.
PUBLISHED = {
    ("thin", 256): (0.295, 0.03, 0.287),
    ("thin", 512): (0.294, 0.04, 0.287),
    ("medium", 256): (0.234, 0.005, 0.232),
    ("medium", 512): (0.300, 0.11, 0.269),
    ("thick", 256): (0.394, 0.34, 0.262),
    ("thick", 512): (0.459, 0.45, 0.264),
}


@pytest.mark.parametrize(("kind", "size"), PUBLISHED)
def test_coverage_is_the_published_one(kind: str, size: int) -> None:
    generator = seeded(1)
    batches = [draw_candidates(kind, 50, size, size, generator) for _ in range(30)]
    ratios = np.concatenate([batch.mean(axis=(1, 2)) for batch in batches])
    mean, above_half, mean_of_kept = PUBLISHED[kind, size]
    kept = ratios[ratios <= 0.5]
    assert ratios.mean().item() == pytest.approx(mean, abs=0.02)
    assert 1 - len(kept) / len(ratios) == pytest.approx(above_half, abs=0.03 if above_half > 0.3 else 0.02)
    assert kept.mean().item() == pytest.approx(mean_of_kept, abs=0.02)


def test_other_sizes_scale_the_numbers_of_256() -> None:
    large, small = (draw_candidates("medium", 800, s, s, seeded(2)).mean() for s in (256, 128))
    assert small == pytest.approx(large, abs=0.02)
