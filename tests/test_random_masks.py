"""Random holes: seeded, never empty or full, distributed as published, and alike whoever paints them."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.masks import main as benchmark
from inpaint import random_masks
from inpaint.errors import ConfigError, DataError, ShapeError
from inpaint.random_masks import (
    LAMA_RECIPES,
    MASK_KINDS,
    ObjectShapes,
    draw_candidates,
    draw_parts,
    make_masks,
    painting,
    read_shapes,
)
from inpaint.random_masks.painting import count_holes, paint_in_tensors, paint_with_opencv
from inpaint.random_masks.primitives import Parts, draw_boxes, draw_lines, draw_objects, join_parts, no_parts
from inpaint.random_masks.recipes import TRAIN_BOXES, default_limit

CPU = torch.device("cpu")


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
    return ObjectShapes.from_pictures(pictures)


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


@settings(max_examples=25, deadline=None)
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
    triangle = ObjectShapes.from_pictures(pictures[1:])
    masks = make_masks("objects", 400, 64, 64, seeded(), shapes=triangle)
    ratios = hole_ratios(masks)
    assert ratios.min() < 0.06 and ratios.max() > 0.4
    heat = masks.mean(dim=(0, 1))
    # Flips in both directions and free positions: the average mask favours no side (8 standard errors).
    assert abs(heat[:32].mean() - heat[32:].mean()) < 0.05
    assert abs(heat[:, :32].mean() - heat[:, 32:].mean()) < 0.05


def test_an_object_is_its_shape_stretched(pictures: list[np.ndarray], shapes: ObjectShapes) -> None:
    table = torch.tensor([[0, 0, 0, 10, 20, 60, 90, 0, 0], [1, 0, 1, -5, -8, 63, 63, 1, 0]])
    disc, triangle = paint_with_opencv(no_parts()._replace(objects=table), 2, (80, 120), shapes).numpy()
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
    def mark(masks: torch.Tensor, column: int) -> Parts:
        boxes = torch.stack([masks, *(torch.full_like(masks, n) for n in (0, column, 1, column + 1))], dim=1)
        return no_parts()._replace(boxes=boxes)

    recipes = []

    def mark_lines(_recipes: object, which: torch.Tensor, masks: torch.Tensor, *_: object) -> Parts:
        recipes.append(which)
        return mark(masks, 0)

    monkeypatch.setattr(random_masks, "draw_lines", mark_lines)
    monkeypatch.setattr(random_masks, "draw_objects", lambda _shapes, masks, *_: mark(masks, 1))
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


def some_parts(count: int, size: tuple[int, int], shapes: ObjectShapes, seed: int) -> Parts:
    """Masks of everything at once: lines of all widths, boxes and objects."""
    generator, masks, scale = seeded(seed), torch.arange(count), min(size) / 256
    recipes = [LAMA_RECIPES[name].strokes for name in ("thin_256", "medium_256", "thick_256")]
    return join_parts(
        draw_lines(recipes, masks % 3, masks, size, generator, scale),
        draw_boxes(TRAIN_BOXES, masks[::4], size, generator, scale),
        draw_objects(shapes, masks[::3], size, generator),
    )


@pytest.mark.parametrize(("size", "edges"), [((256, 256), 0.006), ((64, 100), 0.02), ((300, 40), 0.02)])
def test_both_painters_paint_the_same(size: tuple[int, int], edges: float, shapes: ObjectShapes) -> None:
    parts = some_parts(48, size, shapes, seed=5)
    one = paint_with_opencv(parts, 48, size, shapes)
    other = paint_in_tensors(parts, 48, size, shapes, CPU)
    assert torch.equal(count_holes(one), one.flatten(1).sum(dim=1))
    # Lines differ by pixels of their edge, and as often to one side as to the other.
    differing = (one ^ other).flatten(1).double().mean(dim=1)
    assert differing.mean() < edges and differing.max() < 3 * edges
    assert abs(hole_ratios(one).mean() - hole_ratios(other).mean()) < 0.004
    exact = parts._replace(lines=no_parts().lines)
    assert torch.equal(
        paint_with_opencv(exact, 48, size, shapes), paint_in_tensors(exact, 48, size, shapes, CPU)
    )


@pytest.mark.parametrize("width", [1, 2, 5, 6, 9, 14, 33, 54, 104])
def test_a_line_in_tensors_is_as_wide_as_opencvs(width: int) -> None:
    random = np.random.default_rng(width)
    ends = random.integers(0, 257, (150, 4))
    ends[:30, 2] = ends[:30, 0]  # upright ones
    ends[30:60, 3] = ends[30:60, 1]  # level ones
    ends[60:70, 2:] = ends[60:70, :2]  # and points
    lines = torch.tensor([[number, *line, width] for number, line in enumerate(ends.tolist())])
    ours = paint_in_tensors(no_parts()._replace(lines=lines), 150, (256, 256), None, CPU).numpy()
    theirs = np.zeros((150, 256, 256), np.uint8)
    for canvas, (x1, y1, x2, y2) in zip(theirs, ends.tolist(), strict=True):
        cv2.line(canvas, (x1, y1), (x2, y2), 1, width)
    overlap = (ours & (theirs > 0)).sum() / (ours | (theirs > 0)).sum()
    assert overlap > (0.85 if width == 1 else 0.9 if width < 5 else 0.95)
    # Within a pixel: what one painted is near what the other painted.
    near = np.ones((3, 3), np.uint8)
    for one, other in ((ours.astype(np.uint8), theirs), (theirs, ours.astype(np.uint8))):
        outside = [(cv2.dilate(a, near) < b).sum() for a, b in zip(one, other, strict=True)]
        assert sum(outside) <= 0.001 * theirs.sum()


def test_painting_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch, shapes: ObjectShapes) -> None:
    parts = some_parts(7, (40, 30), shapes, seed=1)
    whole = paint_in_tensors(parts, 7, (40, 30), shapes, CPU)
    monkeypatch.setattr(painting, "_CHUNK_PIXELS", 3 * 40 * 30)
    assert torch.equal(painting.paint_in_chunks(parts, 7, (40, 30), shapes, CPU), whole)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_a_gpu_draws_the_same_masks(kind: str, shapes: ObjectShapes) -> None:
    # Uncapped: a mask at the very limit could be kept on one device and drawn again on the other.
    here = draw_candidates(kind, 64, 256, 256, seeded(), shapes=shapes)
    there = draw_candidates(kind, 64, 256, 256, seeded(), shapes=shapes.to("cuda"), device="cuda")
    assert there.device.type == "cuda"
    differing = (here ^ there.cpu()).flatten(1).double().mean(dim=1)
    assert differing.mean() < 0.012 and differing.max() < 0.03  # thin strokes are edge for the most part
    in_tensors = make_masks(kind, 64, 256, 256, seeded(), shapes=shapes.to("cuda"), device="cuda")
    assert in_tensors.device.type == "cuda" and in_tensors.dtype == torch.float32
    assert hole_ratios(in_tensors).max() <= default_limit(kind)


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
        ObjectShapes.from_pictures([np.zeros((4, 4), np.uint8)])
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
    assert re.match(
        r"thin 16 x 16, 2 at once, cpu: [\d,]+ masks/s\n  of which .* [\d,]+ masks/s$", result.output
    )


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
    ratios = torch.cat([count_holes(batch) for batch in batches]).double() / size**2
    mean, above_half, mean_of_kept = PUBLISHED[kind, size]
    kept = ratios[ratios <= 0.5]
    assert ratios.mean().item() == pytest.approx(mean, abs=0.02)
    assert 1 - len(kept) / len(ratios) == pytest.approx(above_half, abs=0.03 if above_half > 0.3 else 0.02)
    assert kept.mean().item() == pytest.approx(mean_of_kept, abs=0.02)


def test_other_sizes_scale_the_numbers_of_256() -> None:
    large, small = (hole_ratios(draw_candidates("medium", 800, s, s, seeded(2))) for s in (256, 128))
    assert small.mean().item() == pytest.approx(large.mean().item(), abs=0.02)


def test_both_painters_share_the_mixture_s_statistics(shapes: ObjectShapes) -> None:
    drawn = []
    parts = draw_parts("mixed", 600, (128, 128), seeded(3), shapes)
    drawn.append(hole_ratios(paint_with_opencv(parts, 600, (128, 128), shapes)))
    drawn.append(hole_ratios(paint_in_tensors(parts, 600, (128, 128), shapes, CPU)))
    assert drawn[0].mean().item() == pytest.approx(drawn[1].mean().item(), abs=0.005)
    assert drawn[0].std().item() == pytest.approx(drawn[1].std().item(), abs=0.005)
