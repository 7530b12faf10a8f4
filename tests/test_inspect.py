"""What the prior contributes: checked on priors whose answer is known, and on the shipped ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from inpaint import inspect
from inpaint.errors import InpaintError
from inpaint.models.presets import build_inpainter
from inpaint.pipeline import InpaintPipeline

PRIORS = ["acr-small", "acr-small-convnext"]


def noise(height: int, width: int, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, len(mode)), np.uint8)
    return Image.fromarray(values, mode)


def hole_of(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[box[0] : box[2], box[1] : box[3]] = True
    return hole


@pytest.fixture(scope="module", params=PRIORS)
def pipeline(request: pytest.FixtureRequest) -> InpaintPipeline:
    if request.param == "acr-small-convnext":
        pytest.importorskip("timm")
    return InpaintPipeline.from_pretrained(request.param, device="cpu")


def test_the_heat_map_is_bright_where_the_heat_is_and_nowhere_else() -> None:
    pixels = np.full((40, 60, 3), 90, np.uint8)
    heat = np.zeros((4, 6))
    heat[1, 4] = 1e-3  # scaled to its own largest value
    shown = inspect.overlay_heat(pixels, heat).astype(int).sum(axis=2)
    assert shown[15, 45] > 500 and np.all(shown[:, :30] == 270) and np.all(shown[30:] == 270)
    hole = hole_of(40, 60, (10, 40, 20, 50))
    covered = inspect.overlay_heat(pixels, heat + 1e-6, hole=hole)
    assert np.all(covered[hole] == 128)
    assert covered[15, 52].astype(int).sum() > shown[15, 5]  # rescaled: the hole's own heat does not count
    ringed = inspect.overlay_heat(pixels, np.zeros((4, 6)), token=(2, 1))
    rows, columns = np.nonzero((ringed != 90).any(axis=2))
    assert abs(rows.mean() - 25) < 1 and abs(columns.mean() - 15) < 1


@pytest.mark.parametrize("shape", [(1, 1), (90, 40), (1100, 700)])
def test_prior_images_have_the_size_of_the_image(shape: tuple[int, int]) -> None:
    prior = build_inpainter("acr-tiny").prior.eval()
    hole = hole_of(*shape, (0, 0, shape[0] // 3 + 1, shape[1] // 3 + 1))
    shown = inspect.prior_images(prior, noise(*shape, "RGBA"), hole, "cpu")
    assert [(image.mode, image.size) for image in shown] == [("RGB", shape[::-1])] * 2


def test_prior_images_show_where_the_holes_look() -> None:
    grid = (8, 8)

    class LooksRight(nn.Module):
        def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            attention = torch.zeros(1, *grid, *grid)
            attention[..., -1] = 1 / grid[0]
            attention[:, :, 0] = 0  # the known left column looks nowhere
            return torch.zeros(1, 4, *grid), attention.reshape(1, 64, 64)

        def reconstruct(self, image: Tensor, mask: Tensor) -> Tensor:
            return torch.full((1, 3, 64, 64), 0.5)

    hole = hole_of(160, 160, (60, 60, 100, 100))
    photo = Image.new("RGB", (160, 160), (40, 40, 40))
    reconstruction, attention = inspect.prior_images(LooksRight(), photo, hole, "cpu")
    assert attention is not None
    heat = np.asarray(attention).astype(int).sum(-1)
    assert heat[:, 155].min() > heat[:, 5].max() + 100
    assert np.all(np.asarray(attention)[60:100, 60:100] == 128)
    assert reconstruction.getpixel((80, 80)) == (128, 128, 128)


def test_one_fill_with_and_without_the_prior(pipeline: InpaintPipeline) -> None:
    photo, hole = noise(90, 120), hole_of(90, 120, (30, 40, 60, 80))
    found = inspect.inspect_fill(pipeline.model, photo, hole, "cpu")
    known = np.asarray(photo)[~hole]
    for image in (found.with_prior, found.without_prior, found.masked, found.original):
        assert image.size == (120, 90) and np.array_equal(np.asarray(image)[~hole], known)
    # The reconstruction keeps patches that the hole does not touch, and only them.
    grid = found.hole_tokens.shape
    rows, columns = np.arange(90) * grid[0] // 90, np.arange(120) * grid[1] // 120
    touched = found.hole_tokens[rows][:, columns]
    changed = (np.asarray(found.reconstruction) != np.asarray(photo)).any(axis=2)
    assert changed[touched].mean() > 0.95 and not changed[~touched].any()
    # The difference is that of the two fills, and its scale gives the levels back.
    apart = np.abs(np.asarray(found.with_prior).astype(float) - np.asarray(found.without_prior)).mean(axis=2)
    assert apart[hole].mean() == pytest.approx(found.mean_difference, abs=0.5)
    assert apart.max() == pytest.approx(found.difference_scale, abs=1)
    assert np.asarray(found.difference)[~hole].max() < 10  # the coldest colour
    assert len(found.gates) == 6
    assert found.is_similarity == (pipeline.model.preset.name == "acr-small-convnext")  # type: ignore


def test_attention_by_layer_averages_to_what_the_generator_is_given(pipeline: InpaintPipeline) -> None:
    photo, hole = noise(90, 120), hole_of(90, 120, (30, 40, 60, 80))
    found = inspect.inspect_fill(pipeline.model, photo, hole, "cpu")
    prior = inspect.require_prior(pipeline.model)
    layers = found.attention
    assert layers is not None and found.mean_difference > 0
    assert torch.allclose(layers.sum(dim=-1), torch.ones(layers.shape[:2]), atol=1e-4)
    assert len(layers) == (1 if found.is_similarity else len(prior.decoder))  # type: ignore[arg-type]
    image, mask = inspect._pair(photo, hole, (90, 120), "cpu")
    with torch.inference_mode():
        averaged = prior(image, mask).attention[0]
    assert torch.allclose(layers.mean(dim=0), averaged, atol=1e-6)
    middle = inspect.view_attention(found, 60, 45)
    assert middle.image.size == (120, 90) and middle.in_hole
    assert 0 < middle.known_share < 1 and 1 / layers.shape[-1] < middle.largest < 1
    assert not inspect.view_attention(found, 1, 1).in_hole
    inspect.view_attention(found, 10_000, -5, layer=0)  # a click on the frame counts as its edge
    with pytest.raises(InpaintError, match=f"got layer 99, expected 0 to {len(layers) - 1}"):
        inspect.view_attention(found, 1, 1, layer=99)


def test_the_masked_autoencoder_on_hidden_patches(pipeline: InpaintPipeline) -> None:
    prior = inspect.require_prior(pipeline.model)
    photo, hole = noise(90, 120), hole_of(90, 120, (30, 40, 60, 80))

    def hidden_share(kind: inspect.Hiding, ratio: float) -> float:
        shown = inspect.reconstruct_hidden(prior, photo, hole, "cpu", hiding=kind, ratio=ratio).masked
        cells = np.asarray(shown).reshape(16, 16, 16, 16, 3).transpose(0, 2, 1, 3, 4).reshape(256, -1)
        return float((np.ptp(cells, axis=1) == 0).mean())

    assert hidden_share("random", 0.75) == 0.75
    assert hidden_share("mixed", 0.5) == 0.5
    masked, predicted, together = inspect.reconstruct_hidden(prior, photo, hole, "cpu", hiding="hole")
    hidden = np.asarray(masked) != np.asarray(together)
    assert 0.1 < hidden.any(axis=2).mean() < 0.3
    assert np.array_equal(np.asarray(together)[hidden], np.asarray(predicted)[hidden])
    with pytest.raises(InpaintError, match="nothing is painted yet"):
        inspect.reconstruct_hidden(prior, photo, None, "cpu", hiding="hole")


def test_a_model_without_a_prior_says_so() -> None:
    with pytest.raises(InpaintError, match="model lama-tiny has no prior to show"):
        inspect.inspect_fill(build_inpainter("lama-tiny"), noise(9, 9), hole_of(9, 9, (2, 2, 3, 3)), "cpu")
