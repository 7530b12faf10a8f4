"""The whole network's call contract: any size, any mask, hole pixels never read."""

import pytest
import torch

from inpaint.baselines import push_pull
from inpaint.errors import ShapeError
from inpaint.models.adapter import PriorAdapter
from inpaint.models.generator import FourierGenerator, GeneratorPreset, smooth
from inpaint.models.inpainter import Inpainter, InpainterPreset
from inpaint.models.presets import build_inpainter, vary_preset


@pytest.fixture(
    params=[
        "acr-tiny",
        "acr-tiny-convnext",
        "lama-tiny",
        "contextual",
        "attention alone",
        "four downs",
        "one down",
    ]
)
def model(request) -> Inpainter:
    torch.manual_seed(0)
    varied = {
        "contextual": vary_preset("acr-tiny", attention="contextual", positional_encoding=False),
        "attention alone": vary_preset("acr-tiny", prior_features=False),
        "four downs": InpainterPreset("four", GeneratorPreset(width=4, blocks=1, downsamplings=4)),
        "one down": InpainterPreset("one", GeneratorPreset(width=4, blocks=1, downsamplings=1)),
    }
    network = build_inpainter(varied.get(request.param, request.param))
    for name, parameter in network.named_parameters():
        if "alpha" in name:
            parameter.data.fill_(0.5)
    return network.eval()


@pytest.mark.parametrize("size", [(64, 64), (16, 80), (33, 47), (1, 1), (3, 130)])
@torch.no_grad()
def test_any_size_and_the_range(model, size):
    image, mask = torch.rand(2, 3, *size), (torch.rand(2, 1, *size) > 0.6).float()
    prediction = model(image, mask)
    assert prediction.shape == image.shape
    assert prediction.min() >= 0 and prediction.max() <= 1 and torch.isfinite(prediction).all()


@torch.no_grad()
def test_hole_pixels_are_never_read(model):
    image, mask = torch.rand(1, 3, 48, 64), torch.zeros(1, 1, 48, 64)
    mask[..., 10:30, 20:40] = 1
    other = torch.where(mask > 0, torch.rand_like(image), image)
    poisoned = torch.where(mask > 0, float("nan"), image)
    expected = model(image, mask)
    assert torch.allclose(model(other, mask), expected, atol=1e-6)
    assert torch.allclose(model(poisoned, mask), expected, atol=1e-6)


@torch.no_grad()
def test_empty_and_full_masks_beside_another_in_one_batch(model):
    image = torch.rand(3, 3, 64, 64)
    mask = torch.stack([torch.zeros(1, 64, 64), torch.ones(1, 64, 64), torch.zeros(1, 64, 64)])
    mask[2, :, 5:40, 5:20] = 1
    together = model(image, mask)
    assert torch.isfinite(together).all()
    for index in range(3):
        alone = model(image[index : index + 1], mask[index : index + 1])
        assert torch.allclose(together[index], alone[0], atol=1e-4)


@torch.no_grad()
def test_zero_alphas_make_the_prior_silent():
    torch.manual_seed(0)
    model = build_inpainter("acr-tiny").eval()
    image, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 8:24, 8:24] = 1
    alone = model.generator(torch.where(mask > 0, 0.0, image), mask)
    assert torch.allclose(model(image, mask), alone, atol=1e-6)


@torch.no_grad()
def test_each_variant_uses_what_it_says():
    torch.manual_seed(0)
    image, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 8:40, 8:40] = 1

    def moves(preset, change) -> bool:
        """Does another prior output change the prediction?"""
        model = build_inpainter(vary_preset("acr-tiny", alphas="one", **preset)).eval()
        before = model(image, mask)
        model.prior.register_forward_hook(lambda prior, asked, known: change(known))
        return not torch.equal(model(image, mask), before)

    def other_features(known):
        return known._replace(features=torch.zeros_like(known.features))

    def other_attention(known):
        return known._replace(attention=torch.eye(256)[None])

    for preset, by_features, by_attention in (
        ({"attention": "none"}, True, False),
        ({"attention": "contextual"}, True, False),
        ({"attention": "prior"}, True, True),
        ({"attention": "prior", "prior_features": False}, False, True),
    ):
        assert moves(preset, other_features) == by_features, preset
        assert moves(preset, other_attention) == by_attention, preset


def test_alphas_fixed_at_one_are_ones_and_are_not_trained():
    model = build_inpainter(vary_preset("acr-tiny", alphas="one"))
    alphas = {name: value for name, value in model.named_parameters() if "alpha" in name}
    assert len(alphas) == 6
    assert all(value.item() == 1 and not value.requires_grad for value in alphas.values())


def test_in_the_first_step_only_the_alphas_of_the_prior_branch_learn():
    torch.manual_seed(0)
    model = build_inpainter("acr-tiny").train()
    image, mask = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    mask[..., 8:40, 8:40] = 1
    (model(image, mask) - image).abs().mean().backward()
    adapter = dict(model.adapter.named_parameters())
    assert all(adapter[f"alphas.{level}"].grad.abs() > 0 for level in range(4))
    assert all(p.grad.abs().max() == 0 for name, p in adapter.items() if "alphas" not in name)
    assert all(p.grad is None and not p.requires_grad for p in model.prior.parameters())
    assert not model.prior.training


@torch.no_grad()
def test_starting_from_push_pull_begins_as_its_smooth_version():
    preset = GeneratorPreset(width=4, blocks=1, initial_fill="push_pull")
    generator = FourierGenerator(preset).eval()
    image, mask = torch.rand(2, 3, 32, 48), (torch.rand(2, 1, 32, 48) > 0.5).float()
    assert torch.equal(generator(image, mask), smooth(push_pull(image, mask)))
    flat = torch.full((1, 3, 16, 16), 0.3)
    assert torch.allclose(smooth(flat), flat)


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_the_adapter_lands_on_the_generators_levels(size):
    adapter = PriorAdapter(feature_channels=6, width=4)
    levels = adapter(torch.rand(2, 6, 16, 16), size)
    assert [tuple(level.shape) for level in levels] == [
        (2, 4 * 2**step, size[0] // 2**step, size[1] // 2**step) for step in range(4)
    ]
    placed = adapter.place(torch.rand(1, 6, 16, 16), (32, 64))
    assert placed[0, 6, :, 0].tolist() == [-0.5, 0.5]  # rows first
    assert placed[0, 7, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_unfit_shapes_are_refused(model):
    with pytest.raises(ShapeError, match="expected"):
        model(torch.zeros(1, 3, 64, 64), torch.zeros(2, 1, 64, 64))
