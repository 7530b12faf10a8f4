"""Refinement by a coarser fill: it follows the guide, and touches the hole alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from inpaint.errors import InpaintError
from inpaint.models.presets import build_inpainter
from inpaint.pipeline import InpaintPipeline
from inpaint.refine import refine
from tests.test_pipeline import Painter, mask_of, picture


@pytest.mark.parametrize("name", ["acr-tiny", "lama-tiny"])
def test_the_halved_prediction_comes_closer_to_the_halved_guide(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpaint.refine.LEARNING_RATE", 0.1)  # features of random weights say little
    torch.manual_seed(0)
    model = build_inpainter(name).eval()
    model.generator.head.weight.data.mul_(20)  # random weights give a nearly grey image
    image, mask, guide = torch.rand(1, 3, 70, 90), torch.zeros(1, 1, 70, 90), torch.full((1, 3, 70, 90), 0.8)
    mask[..., 20:50, 30:60] = 1
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        plain = model(image, mask)
    refined = refine(model, image, mask, guide)

    def distance(prediction: torch.Tensor) -> float:
        return float((F.avg_pool2d(prediction - guide, 2)[..., 10:25, 15:30]).abs().mean())

    assert distance(refined) < distance(plain) - 1e-3
    assert refined.shape == image.shape
    assert torch.equal(refined, refine(model, torch.where(mask > 0, 0.9, image), mask, guide))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_thick_hole_is_refined_in_octaves_and_the_rest_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def remember(model: object, image: torch.Tensor, mask: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        shown.append(image.shape[-1])
        return refine(model, image, mask, guide)  # type: ignore[arg-type]

    monkeypatch.setattr("inpaint.pipeline.refine_image", remember)
    pipeline = InpaintPipeline(build_inpainter("lama-tiny"), device="cpu")
    image, mask = picture("RGB", 300, 300), mask_of(300, 300, (90, 90, 210, 210))
    filled = np.asarray(pipeline(image, mask, dilate=0, refine=True))
    hole = np.asarray(mask) > 0
    assert np.array_equal(filled[~hole], np.asarray(image)[~hole])
    assert len(set(shown)) == 2 and max(shown) <= 3 * 64
    assert not np.array_equal(filled, np.asarray(pipeline(image, mask, dilate=0)))


@pytest.mark.parametrize("width", [300, 900], ids=["one window", "several together"])
def test_refinement_goes_on_where_memory_runs_out(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = InpaintPipeline(build_inpainter("lama-tiny"), device="cpu")
    image, mask = picture("RGB", 300, width), mask_of(300, width, (90, 90, 210, width - 90))
    results, shown = [], []
    for fails in (False, True):
        shown.clear()

        def negative(_: object, image: torch.Tensor, mask: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
            shown.append(image.shape)
            if fails and len(shown) == 2:  # noqa: B023 - called within the loop
                raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
            return 1 - guide

        monkeypatch.setattr("inpaint.pipeline.refine_image", negative)
        results.append(np.asarray(pipeline(image, mask, dilate=0, harmonise=False, refine=True)))
    assert np.array_equal(*results)
    assert shown[2][0] < shown[1][0] or shown[2][-1] < shown[1][-1]  # fewer at once, or smaller ones


def test_images_are_refined_alike_alone_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpaint.refine.STEPS", 3)
    torch.manual_seed(0)
    model = build_inpainter("lama-tiny").eval()
    image, mask, guide = torch.rand(2, 3, 48, 64), torch.zeros(2, 1, 48, 64), torch.rand(2, 3, 48, 64)
    mask[0, :, 10:40, 10:50] = mask[1, :, 20:30, 20:30] = 1
    together = refine(model, image, mask, guide)
    alone = [refine(model, image[n : n + 1], mask[n : n + 1], guide[n : n + 1]) for n in range(2)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_what_is_no_network_of_ours_cannot_be_refined() -> None:
    with pytest.raises(InpaintError, match="cannot be refined"):
        InpaintPipeline(Painter(), device="cpu")(
            Image.new("RGB", (9, 9)), mask_of(9, 9, (2, 2, 5, 5)), refine=True
        )
