"""Networks arranged for inference compute what the plain ones do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from inpaint import inference
from inpaint.checkpoint import load_checkpoint
from inpaint.errors import InpaintError
from inpaint.inference import InferenceInpainter, choose_dtype
from inpaint.models.inpainter import Inpainter
from inpaint.models.presets import INPAINTER_PRESETS, build_inpainter
from inpaint.pipeline import InpaintPipeline
from inpaint.weights import locate

TOLERANCE = 1e-4


def make_lively(model: Inpainter) -> Inpainter:
    """Random weights for which every part counts: gates open, BatchNorm's statistics those of images."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "alpha" in name:
            parameter.data.fill_(-0.7 if "transfer" in name else 0.6)
        if name == "generator.head.weight":
            parameter.data.normal_(0, 0.05)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    with torch.no_grad():
        model.train()(*sample_batch(2, 96, 96))
    return model.eval()


def sample_batch(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Images with different masks: the first has a box, the second is empty, the third full."""
    image = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(count, 1, height, width)
    mask[0, :, height // 4 : height // 2, width // 3 :] = 1
    mask[2:3] = 1
    return image, mask


def difference(model: Inpainter, *batch: Tensor) -> float:
    """Largest difference of the two forms, which must not be small because nothing happens."""
    with torch.inference_mode():
        expected, got = model(*batch), InferenceInpainter(model)(*batch)
    assert expected.std() > 0.02
    assert got.shape == expected.shape
    return float((got - expected).abs().max())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "acr-base")) for name in INPAINTER_PRESETS],
)
def test_every_preset_gives_the_same(name: str) -> None:
    pytest.importorskip("timm") if "convnext" in name else None
    model = make_lively(build_inpainter(name))
    assert difference(model, *sample_batch(1, 64, 96)) < TOLERANCE


@pytest.mark.parametrize("strip_values", [1, 2**12, 2**19])
@pytest.mark.parametrize("shape", [(64, 64), (77, 130), (176, 48), (16, 16), (5, 200)])
@pytest.mark.parametrize("name", ["acr-tiny", "lama-tiny"])
def test_sizes_strips_and_masks(
    name: str, shape: tuple[int, int], strip_values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "STRIP_VALUES", strip_values)
    assert difference(make_lively(build_inpainter(name)), *sample_batch(3, *shape)) < TOLERANCE


@pytest.mark.parametrize(
    "choices",
    [
        {"local_fourier": True},
        {"downsamplings": 1},
        {"downsamplings": 4},
        {"attention": "contextual"},
        {"initial_fill": "push_pull", "positional_encoding": True},
        {"padding": "zeros", "convolution_bias": True},
        {"hole_noise": 0.3},
    ],
)
def test_choices_of_the_generator(choices: dict[str, object]) -> None:
    preset = INPAINTER_PRESETS["lama-tiny"]
    changed = replace(preset, generator=replace(preset.generator, **choices))
    assert difference(make_lively(build_inpainter(changed)), *sample_batch(2, 64, 96)) < TOLERANCE


def test_a_prior_of_attention_alone() -> None:
    model = make_lively(build_inpainter(replace(INPAINTER_PRESETS["acr-tiny"], prior_features=False)))
    assert difference(model, *sample_batch(2, 64, 80)) < TOLERANCE


def test_each_image_of_a_batch_is_on_its_own() -> None:
    network = InferenceInpainter(make_lively(build_inpainter("acr-tiny")))
    image, mask = sample_batch(3, 64, 80)
    apart = torch.cat([network(image[i : i + 1], mask[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(image, mask), apart, atol=1e-5, rtol=0)


@pytest.mark.parametrize("downsamplings", [1, 3, 4])
@pytest.mark.parametrize("hole", [(0, 9, 0, 7), (40, 41, 60, 90), (5, 96, 100, 128), (33, 50, 120, 127)])
def test_holes_alone(hole: tuple[int, int, int, int], downsamplings: int) -> None:
    """The same in the holes and 3 pixels around them, at every border; far from them the image itself."""
    preset = INPAINTER_PRESETS["lama-tiny"]
    changed = replace(preset, generator=replace(preset.generator, downsamplings=downsamplings))
    model = make_lively(build_inpainter(changed))
    image, mask = sample_batch(2, 96, 128)
    mask = torch.zeros_like(mask)
    mask[1, :, hole[0] : hole[1], hole[2] : hole[3]] = 1
    whole, part = (
        InferenceInpainter(model)(image, mask),
        InferenceInpainter(model, holes_only=True)(image, mask),
    )
    near = F.max_pool2d(mask, 7, 1, 3).amax(0) > 0
    assert (whole - part)[:, :, near[0]].abs().max() < TOLERANCE
    far = F.max_pool2d(mask, 2 * 48 + 1, 1, 48).amax(0) == 0
    assert torch.equal(part[:, :, far[0]], image[:, :, far[0]]) and (far.any() or downsamplings == 4)


def test_holes_alone_without_a_hole() -> None:
    network = InferenceInpainter(make_lively(build_inpainter("acr-tiny")), holes_only=True)
    image, mask = sample_batch(1, 64, 64)
    assert torch.equal(network(image, 0 * mask)[..., 32:], image[..., 32:])


def test_colours_in_the_hole_are_not_read() -> None:
    network = InferenceInpainter(make_lively(build_inpainter("acr-tiny")))
    image, mask = sample_batch(1, 64, 64)
    assert torch.equal(network(image, mask), network(torch.where(mask > 0, 0.9, image), mask))


def test_without_the_prior_the_weights_are_shared() -> None:
    model = make_lively(build_inpainter("acr-tiny"))
    network = InferenceInpainter(model)
    alone = network.without_prior()
    batch = sample_batch(1, 64, 64)
    with torch.inference_mode():
        expected = Inpainter(model.preset, model.generator).eval()(*batch)
        assert (alone(*batch) - expected).abs().max() < TOLERANCE
        assert (network(*batch) - expected).abs().max() > 10 * TOLERANCE
    assert alone.generator is network.generator
    assert network.prior is not None


def test_bfloat16_is_close_in_the_hole() -> None:
    """On the shipped weights, 45 dB and more against float32."""
    model = load_checkpoint(locate("acr-small"))
    rows, columns = torch.meshgrid(torch.linspace(0, 9, 160), torch.linspace(0, 7, 192), indexing="ij")
    image = torch.stack([rows.sin(), columns.cos(), (rows + columns).sin()])[None] * 0.4 + 0.5
    mask = torch.zeros(1, 1, 160, 192)
    mask[..., 40:110, 60:140] = 1
    with torch.inference_mode():
        error = (InferenceInpainter(model, torch.bfloat16)(image, mask) - model(image, mask))[
            :, :, mask[0, 0] > 0
        ]
    assert 0 < error.square().mean() < 10**-4.5


def test_precision_is_chosen_by_what_the_machine_can() -> None:
    cpu = torch.device("cpu")
    assert choose_dtype("float32", cpu) == torch.float32
    assert choose_dtype("bfloat16", cpu) == torch.bfloat16
    assert choose_dtype("auto", cpu) in (torch.float32, torch.bfloat16)
    assert choose_dtype("auto", torch.device("mps")) == torch.float32
    with pytest.raises(InpaintError, match="got precision 'fp16', expected float32, bfloat16, auto"):
        choose_dtype("fp16", cpu)


def test_auto_follows_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    speedups = iter([3.0, 1.0])
    monkeypatch.setattr(inference, "bf16_speedup", lambda device: next(speedups))
    assert choose_dtype("auto", torch.device("cpu")) == torch.bfloat16
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_pipeline_runs_the_fast_form(precision: str) -> None:
    """What lies outside the hole is kept in any precision."""
    pipeline = InpaintPipeline(make_lively(build_inpainter("acr-tiny")), device="cpu", precision=precision)
    image = Image.effect_noise((90, 70), 60).convert("RGB")
    mask = Image.new("L", image.size)
    mask.paste(255, (30, 20, 55, 45))
    result = pipeline(image, mask, dilate=0)
    outside = mask.point(lambda value: 255 - value)
    black = Image.new("RGB", image.size)
    assert (
        Image.composite(result, black, outside).tobytes() == Image.composite(image, black, outside).tobytes()
    )
    assert result.tobytes() != image.tobytes()
