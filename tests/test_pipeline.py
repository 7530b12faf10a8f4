"""One photo end to end: what is kept, what is filled, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from inpaint.checkpoint import save_checkpoint
from inpaint.errors import CheckpointError, ImageError, InpaintError, MaskError, MaskWarning, collect_notes
from inpaint.fills.holes import find_hole
from inpaint.models.inpainter import Inpainter
from inpaint.models.presets import build_inpainter, build_mae
from inpaint.pipeline import InpaintPipeline

COLOUR = (0.2, 0.6, 0.4)  # 51, 153, 102 in 8 bits; luma 116.7


class Painter(nn.Module):
    """Stands in for a network: paints one colour, and remembers what it was shown."""

    prior = None

    def __init__(self, colour: tuple[float, float, float] = COLOUR, working_size: int = 64) -> None:
        super().__init__()
        self.preset = SimpleNamespace(name="painter", working_size=working_size)
        self.colour = torch.tensor(colour).view(1, 3, 1, 1)
        self.shown: list[tuple[Tensor, Tensor]] = []

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        self.shown.append((image, mask))
        return self.colour.expand_as(image)


class MeanPainter(Painter):
    """Paints the mean of the known pixels, as a real network would: from known pixels only."""

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        known = 1 - mask
        mean = (image * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
        return mean.expand_as(image)


@pytest.fixture(scope="module")
def tiny() -> InpaintPipeline:
    torch.manual_seed(0)
    return InpaintPipeline(build_inpainter("acr-tiny"), device="cpu")


def picture(mode: str, height: int, width: int, seed: int = 0) -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    return Image.fromarray(pixels[..., 0] if bands == 1 else pixels)


def mask_of(height: int, width: int, *holes: tuple[int, int, int, int]) -> Image.Image:
    mask = np.zeros((height, width), np.uint8)
    for top, left, bottom, right in holes:
        mask[top:bottom, left:right] = 255
    return Image.fromarray(mask)


def test_a_doubtful_mask_is_a_warning_a_note_or_an_error_with_the_callers_advice() -> None:
    pipeline = InpaintPipeline(Painter(), device="cpu")  # type: ignore[arg-type]
    image, mask = picture("RGB", 40, 50), mask_of(40, 50, (0, 0, 40, 45))
    with pytest.warns(MaskWarning, match="90% of the photo as hole.*; white must be the hole") as warned:
        pipeline(image, mask)
    assert warned[0].filename == __file__  # the line that called, not one of torch's or ours
    with collect_notes(notes := []):
        pipeline(image, mask, mask_advice="turn it round")
    assert len(notes) == 1 and notes[0].startswith("warning: ") and notes[0].endswith("; turn it round")
    with pytest.raises(MaskError, match="; turn it round"):
        pipeline(image, mask, strict=True, mask_advice="turn it round")


@pytest.mark.parametrize(
    ("mode", "filled"), [("RGB", (51, 153, 102)), ("RGBA", (51, 153, 102)), ("L", 117), ("LA", 117)]
)
def test_the_hole_is_filled_and_the_rest_is_bit_identical(mode: str, filled: object) -> None:
    image, mask = picture(mode, 90, 130), mask_of(90, 130, (20, 30, 40, 60), (0, 110, 15, 130))
    image.info["dpi"] = (72, 72)
    result = InpaintPipeline(Painter(working_size=130), device="cpu")(image, mask, harmonise=False)
    assert (result.mode, result.size, result.info) == (mode, image.size, image.info)
    before, after, hole = np.asarray(image), np.asarray(result), np.asarray(mask) > 0
    assert np.array_equal(before[~hole], after[~hole])
    if "A" in mode:
        assert np.array_equal(before[..., -1], after[..., -1])
        after = after[..., :-1]
    assert np.all(after[hole] == np.array(filled))


@settings(max_examples=40)
@given(
    st.sampled_from(["RGB", "RGBA", "L", "LA"]),
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(0, 2**32 - 1),
    st.integers(0, 9),
)
def test_known_pixels_are_bit_identical_at_any_size(
    mode: str, height: int, width: int, seed: int, grow: int
) -> None:
    generator = np.random.default_rng(seed)
    hole = generator.random((height, width)) < generator.choice([0.001, 0.2, 1.0])
    hole[generator.integers(height), generator.integers(width)] = True
    image, mask = picture(mode, height, width, seed), Image.fromarray(hole)
    result = InpaintPipeline(MeanPainter(), device="cpu")(image, mask, dilate=grow)
    assert (result.mode, result.size) == (mode, image.size)
    grown = find_hole(mask, grow)
    assert grown[hole].all()
    assert np.array_equal(np.asarray(image)[~grown], np.asarray(result)[~grown])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
@pytest.mark.parametrize("holes", [[(2, 3, 90, 80)], [(400, 470, 490, 560), (590, 900, 597, 907)]])
def test_a_large_photo_is_filled_as_an_array_is_and_as_its_part_is(
    tiny: InpaintPipeline, mode: str, holes: list[tuple[int, int, int, int]]
) -> None:
    """What windows do not see is not looked at, nor changed; and where the part lies makes no difference."""
    image, mask = picture(mode, 600, 910), mask_of(600, 910, *holes)
    filled = np.asarray(tiny(image, mask, harmonise=False))
    assert np.array_equal(filled, tiny(np.asarray(image), mask, harmonise=False))
    changed = (filled != np.asarray(image)).reshape(600, 910, -1).any(-1)
    assert changed[find_hole(mask)].mean() > 0.9 and not changed[~find_hole(mask)].any()
    wider = Image.new(mode, (1910, 1600), 0)
    wider.paste(image, (0, 0) if holes[0][0] < 100 else (1000, 1000))
    wide_mask = Image.new("L", wider.size)
    wide_mask.paste(mask, (0, 0) if holes[0][0] < 100 else (1000, 1000))
    again = np.asarray(tiny(wider, wide_mask, dilate=0, harmonise=False))
    part = again[:600, :910] if holes[0][0] < 100 else again[1000:, 1000:]
    assert np.array_equal(part, np.asarray(tiny(image, mask, dilate=0, harmonise=False)))


def test_values_are_rounded_not_truncated() -> None:
    painter = Painter((0.6 / 255, 254.6 / 255, 99.4 / 255))
    result = InpaintPipeline(painter, device="cpu")(
        picture("RGB", 60, 60), mask_of(60, 60, (20, 20, 40, 40)), harmonise=False
    )
    assert result.getpixel((30, 30)) == (1, 255, 99)


@pytest.mark.parametrize("size", [48, 150, 300])  # shown as it is, shrunk by a fraction, shrunk more
@pytest.mark.parametrize("thick", [True, False])
def test_what_lies_under_the_hole_is_never_read(size: int, thick: bool) -> None:
    hole = (size // 4, size // 4, size // 4 * 3, size // 4 * 3 if thick else size // 4 + 5)
    mask = mask_of(size, size, hole)
    image = picture("RGB", size, size)
    other = Image.composite(picture("RGB", size, size, seed=1), image, mask)
    pipeline = InpaintPipeline(MeanPainter(), device="cpu")
    assert np.array_equal(np.asarray(pipeline(image, mask)), np.asarray(pipeline(other, mask)))


def test_each_hole_is_seen_at_its_own_scale() -> None:
    painter = Painter(working_size=64)
    pipeline = InpaintPipeline(painter, device="cpu")
    image = picture("RGB", 800, 1000)
    for hole in (
        (400, 300, 404, 304),  # a speck: not at all
        (400, 300, 410, 310),  # other fine damage, at the picture's own scale
        (300, 300, 330, 350),  # a hole that the network can span: also
        (300, 300, 492, 492),  # three times as thick as the working size: half as thick for the network
    ):
        pipeline(image, mask_of(800, 1000, hole), dilate=0)
    sides = [image.shape[-1] for image, _ in painter.shown]
    assert sides == [96, 128, pytest.approx(64, abs=2)]
    fine, middle, thick = (mask[0, 0] for _, mask in painter.shown)
    assert (fine.sum(), middle.sum()) == (100, 30 * 50)
    assert thick.sum() == pytest.approx(32**2, rel=0.15)  # cells that it touches count


def test_scratches_that_run_into_a_large_hole_keep_their_scale() -> None:
    painter = Painter(working_size=64)
    image = Image.new("RGB", (1000, 800), (90, 90, 90))
    mask = mask_of(800, 1000, (300, 300, 500, 500), (400, 500, 404, 900))
    result = InpaintPipeline(painter, device="cpu")(image, mask, dilate=0, harmonise=False)
    assert np.all(np.asarray(result)[320:480, 320:480] == (51, 153, 102))
    windows, thick = painter.shown[:-1], painter.shown[-1]
    assert all(max(image.shape[-2:]) <= 128 for image, _ in windows)  # fine damage is never shrunk
    assert thick[1].sum() == pytest.approx(32**2, rel=0.15)  # the scratch is known by then


def test_a_hole_larger_than_a_window_is_filled_on_from_what_is_filled() -> None:
    painter = Painter(working_size=64)
    image, mask = picture("RGB", 100, 700), mask_of(100, 700, (40, 40, 60, 660))
    result = InpaintPipeline(painter, device="cpu")(image, mask, dilate=0, harmonise=False)
    assert np.all(np.asarray(result)[np.asarray(mask) > 0] == (51, 153, 102))
    later = painter.shown[-1][0][0]  # of the second wave: it sees fills beside its core
    assert (later - painter.colour[0]).abs().amax(0).lt(0.01).any()


def test_a_small_picture_is_mirrored_up() -> None:
    painter = Painter()
    image, mask = picture("RGB", 7, 90), mask_of(7, 90, (0, 1, 6, 7))
    assert InpaintPipeline(painter, device="cpu")(image, mask).size == (90, 7)
    shown, shown_mask = painter.shown[0]
    assert shown.shape == (1, 3, 32, 90)
    assert torch.equal(shown[:, :, 7:14], shown[:, :, :7].flip(2))
    assert torch.equal(shown_mask[:, :, 7:14], shown_mask[:, :, :7].flip(2))


def test_a_mirrored_up_picture_is_cut_back_where_it_was() -> None:
    class Rows(Painter):
        """Paints each row in its own number."""

        def forward(self, image: Tensor, mask: Tensor) -> Tensor:
            return (torch.arange(image.shape[-2]) / 255).view(-1, 1).expand_as(image)

    result = InpaintPipeline(Rows(), device="cpu")(
        picture("L", 28, 90), mask_of(28, 90, (2, 40, 26, 70)), harmonise=False
    )
    assert result.getpixel((45, 3)) == 3


def test_far_holes_of_one_size_run_together_within_the_budget() -> None:
    painter = Painter(working_size=64)
    holes = [(y, x, y + 20, x + 20) for y in range(50, 1000, 200) for x in range(50, 1000, 200)]
    image, mask = picture("RGB", 1000, 1000), mask_of(1000, 1000, *holes)
    result = InpaintPipeline(painter, device="cpu")(image, mask, harmonise=False)
    assert [tuple(image.shape) for image, _ in painter.shown] == [(7, 3, 96, 96)] * 3 + [(4, 3, 96, 96)]
    assert np.all(np.asarray(result)[np.asarray(mask) > 0] == (51, 153, 102))


def test_an_enlarged_fill_meets_the_known_pixels() -> None:
    class Ramp(Painter):
        """A perfect network for a horizontal ramp."""

        def forward(self, image: Tensor, mask: Tensor) -> Tensor:
            width = image.shape[-1]
            return ((torch.arange(width) + 0.5) / width).expand_as(image)

    ramp = np.tile((np.arange(400) + 0.5) / 400 * 255, (400, 1))
    image = Image.fromarray(np.rint(ramp).astype(np.uint8))
    result = InpaintPipeline(Ramp(), device="cpu")(image, mask_of(400, 400, (100, 100, 300, 300)))
    assert np.abs(np.asarray(result).astype(float) - ramp).max() <= 1.5


def test_an_enlarged_fill_blends_into_the_known_pixels() -> None:
    image, mask = Image.new("L", (400, 400), 100), mask_of(400, 400, (100, 100, 300, 300))
    pixels = np.asarray(InpaintPipeline(Painter((0.8, 0.8, 0.8)), device="cpu")(image, mask, harmonise=False))
    assert 100 < pixels[200, 100] < 204 == pixels[200, 200]


def test_colour_under_full_transparency_is_no_evidence() -> None:
    image = Image.new("RGBA", (40, 40), (200, 100, 50, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 40))
    result = InpaintPipeline(MeanPainter(), device="cpu")(image, mask_of(40, 40, (10, 10, 30, 30)))
    assert result.getpixel((25, 20)) == (200, 100, 50, 255)
    assert result.getpixel((15, 20)) == (200, 100, 50, 0)
    assert result.getpixel((5, 5)) == (0, 0, 0, 0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (70, 50)])
def test_the_real_network_fills_everything_even_without_a_known_pixel(
    tiny: InpaintPipeline, mode: str, shape: tuple[int, int]
) -> None:
    result = tiny(picture(mode, *shape), mask_of(*shape, (0, 0, *shape)))
    assert (result.mode, result.size) == (mode, shape[::-1])


def test_the_real_network_keeps_known_pixels_and_repeats_itself_across_threads(
    tiny: InpaintPipeline,
) -> None:
    image, mask = picture("RGB", 120, 170), mask_of(120, 170, (30, 30, 80, 90))
    hole = np.asarray(mask) > 0
    with ThreadPoolExecutor(3) as pool:
        results = [np.asarray(result) for result in pool.map(lambda _: tiny(image, mask), range(3))]
    assert np.array_equal(results[0][~hole], np.asarray(image)[~hole])
    assert all(np.array_equal(result, results[0]) for result in results)
    assert all(not parameter.requires_grad for parameter in tiny.model.parameters())


def test_refusals_say_what_was_got_and_what_to_do() -> None:
    pipeline = InpaintPipeline(Painter(), device="cpu")
    image, mask = picture("RGB", 20, 30), mask_of(20, 30, (1, 1, 2, 2))
    with pytest.raises(MaskError, match="mask is 30 x 21 pixels, the image 30 x 20"):
        pipeline(image, mask_of(21, 30, (1, 1, 2, 2)))
    with pytest.raises(MaskError, match="empty"):
        pipeline(image, mask_of(20, 30))
    with pytest.raises(MaskError, match="dilate -1"):
        pipeline(image, mask, dilate=-1)
    with pytest.raises(ImageError, match=r"mode CMYK.*read_image"):
        pipeline(image.convert("CMYK"), mask)


@pytest.mark.parametrize(
    "given",
    [
        lambda hole: hole,
        lambda hole: hole.astype(np.uint8),
        lambda hole: hole.astype(np.uint8) * 255,
        lambda hole: hole.astype(np.int64),
        lambda hole: hole.astype(np.float32),
        lambda hole: hole[..., None],
        lambda hole: np.stack([hole] * 3, axis=-1).astype(np.uint8) * 255,
        lambda hole: hole[::-1][::-1],
    ],
)
def test_a_mask_may_be_an_array_of_any_kind(given: Callable[[Any], Any]) -> None:
    pipeline = InpaintPipeline(MeanPainter(), device="cpu")
    image, mask = np.asarray(picture("RGB", 40, 50)), mask_of(40, 50, (5, 6, 17, 28))
    expected = pipeline(image, mask)
    assert not np.array_equal(expected, image)
    assert np.array_equal(pipeline(image, given(np.asarray(mask) > 0)), expected)


def test_an_array_of_bools_is_taken_at_its_word() -> None:
    pipeline, image = InpaintPipeline(Painter(), device="cpu"), np.asarray(picture("L", 20, 30))
    with pytest.raises(MaskError, match="empty"):
        pipeline(image, np.zeros((20, 30), np.bool_))
    with pytest.warns(MaskWarning, match="100%"):
        assert (pipeline(image, np.ones((20, 30), np.bool_)) != image).any()


def test_a_last_axis_of_one_channel_is_kept() -> None:
    image, mask = np.asarray(picture("L", 40, 50)), mask_of(40, 50, (5, 6, 17, 28))
    pipeline = InpaintPipeline(MeanPainter(), device="cpu")
    result = pipeline(image[..., None], mask)
    assert result.shape == (40, 50, 1)
    assert np.array_equal(result[..., 0], pipeline(image, mask)) and not np.array_equal(result[..., 0], image)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (torch.zeros(3, 20, 30), "got a Tensor as {}"),
        ([[0, 255]], "got a list as {}"),
        ("photo.jpg", "got a str as {}.*read_{}"),
        (None, "got a NoneType as {}"),
        (np.zeros((3, 20, 30), np.uint8), r"got {} of shape \(3, 20, 30\), expected \(H, W\) or \(H, W, C\)"),
        (np.zeros((1, 20, 30, 3), np.uint8), r"got {} of shape \(1, 20, 30, 3\)"),
        (np.zeros(30, np.uint8), r"got {} of shape \(30,\)"),
        (np.zeros((0, 30), np.uint8), r"got {} of shape \(0, 30\)"),
        (Image.new("L", (0, 0)), r"got {} of shape \(0, 0\)"),
    ],
)
def test_what_is_no_image_or_no_mask_is_refused_in_a_line(wrong: Any, told: str) -> None:
    pipeline = InpaintPipeline(Painter(), device="cpu")
    with pytest.raises(ImageError, match=told.format("image", "image")) as caught:
        pipeline(wrong, mask_of(20, 30, (1, 1, 2, 2)))
    assert "\n" not in str(caught.value)
    with pytest.raises(MaskError, match=told.format("mask", "mask")):
        pipeline(picture("RGB", 20, 30), wrong)


@pytest.mark.parametrize("dilate", [1.5, "4", [1]])
def test_a_dilation_is_a_whole_number(dilate: Any) -> None:
    with pytest.raises(MaskError, match=r"got dilate .* whole number"):
        InpaintPipeline(Painter(), device="cpu")(
            picture("L", 20, 30), mask_of(20, 30, (1, 1, 9, 9)), dilate=dilate
        )


def test_values_that_are_not_finite_never_become_pixels() -> None:
    pipeline = InpaintPipeline(Painter((float("nan"), 0, 0)), device="cpu")
    with pytest.raises(InpaintError, match="not finite"):
        pipeline(picture("RGB", 9, 9), mask_of(9, 9, (1, 1, 8, 8)))


class Greedy(Painter):
    """Has memory for so many pixels."""

    most = 0

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        if image[:, 0].numel() > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
        return super().forward(image, mask)


def test_running_out_of_memory_is_one_line() -> None:
    with pytest.raises(InpaintError, match=r"cpu ran out of memory.* use device cpu"):
        InpaintPipeline(Greedy(), device="cpu")(picture("RGB", 9, 9), mask_of(9, 9, (1, 1, 8, 8)))


def test_windows_halve_until_they_fit_into_memory() -> None:
    image, mask = picture("RGB", 500, 500), mask_of(500, 500, (100, 100, 200, 240), (400, 400, 408, 408))
    network = Greedy(working_size=256)
    network.most = 64 * 64
    result = np.asarray(InpaintPipeline(network, device="cpu")(image, mask, dilate=0, harmonise=False))
    hole = np.asarray(mask) > 0
    assert np.array_equal(result[~hole], np.asarray(image)[~hole])
    assert np.all(result[110:190, 110:230] == (51, 153, 102))
    assert max(image[:, 0].numel() for image, _ in network.shown) <= 64 * 64


def test_fine_damage_is_filled_alike_where_memory_runs_out_once() -> None:
    holes = [(200, left, 210, left + 10) for left in (100, 450, 800)]
    image, mask = picture("RGB", 400, 900), mask_of(400, 900, *holes)
    results, sizes = [], []
    for fails in (False, True):
        network = Painter(working_size=64)

        def run_out_once(image: Tensor, mask: Tensor, network: Painter = network) -> Tensor:
            sizes.append(len(image))
            if fails and len(sizes) == 2:  # noqa: B023 - called within the loop
                raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
            return network(image, mask)

        pipeline = InpaintPipeline(network, device="cpu").with_networks(lambda _, run=run_out_once: run)
        results.append(np.asarray(pipeline(image, mask, dilate=0)))
    assert sizes == [3, 3, 1, 2]  # whole, then failed, then in halves
    assert np.array_equal(*results) and not np.array_equal(results[0], np.asarray(image))


def test_from_pretrained_loads_a_path_and_refuses_a_prior_alone(tmp_path: Path) -> None:
    model = build_inpainter("lama-tiny")
    save_checkpoint(tmp_path / "whole.safetensors", model, {})
    save_checkpoint(tmp_path / "prior.safetensors", build_mae("mae-tiny"), {})
    pipeline = InpaintPipeline.from_pretrained(tmp_path / "whole.safetensors", device="cpu")
    assert isinstance(pipeline.model, Inpainter)
    assert pipeline.working_size == model.preset.working_size
    with pytest.raises(CheckpointError, match="MaskedAutoencoder, expected an inpainting network"):
        InpaintPipeline.from_pretrained(tmp_path / "prior.safetensors", device="cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_makes_no_visible_difference() -> None:
    torch.manual_seed(0)
    model = build_inpainter("acr-tiny")
    image, mask = picture("RGB", 100, 140), mask_of(100, 140, (30, 30, 70, 70))
    on_cpu = np.asarray(InpaintPipeline(model, device="cpu")(image, mask)).astype(int)
    on_cuda = np.asarray(InpaintPipeline(model, device="cuda")(image, mask)).astype(int)
    assert np.abs(on_cpu - on_cuda).max() <= 2
