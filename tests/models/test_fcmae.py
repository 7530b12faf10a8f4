"""The convolutional masked autoencoder: what it may not see, every kind of mask, and its attention."""

import dataclasses
import json
import sys

import pytest
import torch
from timm.layers.grn import GlobalResponseNorm as TimmResponseNorm
from timm.models.convnext import ConvNeXt
from torch import Tensor

from inpaint.errors import ConfigError, InpaintError, ShapeError
from inpaint.layers.convnext import GlobalResponseNorm, MaskedConvNeXt
from inpaint.models.fcmae import FullyConvolutionalAutoencoder
from inpaint.models.presets import FCMAE_PRESETS, build_described, build_fcmae, describe_preset
from inpaint.tokens import top_up

TINY = FCMAE_PRESETS["fcmae-tiny"]


def stirred(model):
    """Random weights where a new network has zeros, so that everything counts."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        scale = 0.5 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        parameter.data = torch.randn_like(parameter) * scale
    return model.eval()


@pytest.fixture
def model() -> FullyConvolutionalAutoencoder:
    return stirred(build_fcmae("fcmae-tiny"))


def hole(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (64, 64)) -> Tensor:
    mask = torch.zeros(1, 1, *size)
    mask[..., top:bottom, left:right] = 1
    return mask


# -- masked convolution ----------------------------------------------------------------------------------


@pytest.mark.parametrize("depths", [(1, 2, 1), (1, 1, 2, 1)])
@pytest.mark.parametrize("grn", [True, False])
@torch.no_grad()
def test_without_a_mask_it_is_timms_network(depths, grn):
    widths = (8, 12, 16, 20)[: len(depths)]
    ours = stirred(MaskedConvNeXt(depths, widths, GlobalResponseNorm if grn else None))
    theirs = ConvNeXt(
        depths=(*depths, 1)[:4], dims=(*widths, 20)[:4], use_grn=grn, ls_init_value=None, num_classes=0
    ).eval()
    fitting = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not fitting.unexpected_keys
    image, cells = torch.randn(2, 3, 64, 64), 64 // (4 * 2 ** (len(depths) - 1))
    stages = ours(image, torch.ones(2, 1, cells, cells, dtype=torch.bool))
    expected = theirs.forward_intermediates(image, indices=[*range(len(depths))], intermediates_only=True)
    for stage, other in zip(stages, expected, strict=True):
        assert torch.allclose(stage, other, atol=1e-4)


def test_response_norm_is_timms_where_all_is_visible_and_leaves_out_what_is_not():
    ours, theirs = stirred(GlobalResponseNorm(6)), TimmResponseNorm(6)
    theirs.load_state_dict(ours.state_dict())
    features = torch.randn(2, 4, 5, 6)
    assert torch.allclose(ours(features), theirs(features), atol=1e-6)
    visible = torch.rand(2, 4, 5) > 0.5
    normed = ours(features, visible[..., None])
    for image, place in enumerate(visible):
        alone = theirs(features[image][place][None, None])  # the visible positions in a row
        assert torch.allclose(normed[image][place], alone[0, 0], atol=1e-6)


AGGREGATIONS = {
    "l2": lambda seen: (seen**2).sum(0) ** 0.5,
    "l1": lambda seen: seen.abs().sum(0),
    "average": lambda seen: seen.mean(0),
}
NORMALISATIONS = {
    "divisive": lambda strength: strength / (strength.mean() + 1e-6),
    "standardised": lambda s: (s - s.mean()) / (s.var(correction=0) + 1e-6) ** 0.5,
    "none": lambda strength: strength,
}


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_variant_of_response_norm_by_its_formula(aggregation, normalisation):
    norm = stirred(GlobalResponseNorm(6, aggregation, normalisation)).double()
    features = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    visible = torch.rand(2, 4, 5) > 0.4
    for place, result in (
        (visible, norm(features, visible[..., None])),
        (torch.ones_like(visible), norm(features)),
    ):
        for index, there in enumerate(place):
            factor = NORMALISATIONS[normalisation](AGGREGATIONS[aggregation](features[index][there]))
            expected = features[index] * (1 + norm.weight * factor) + norm.bias
            assert torch.allclose(result[index], expected, atol=1e-9)
    nothing = features.requires_grad_()
    norm(nothing, torch.zeros(2, 4, 5, 1, dtype=torch.bool)).sum().backward()
    assert nothing.grad.isfinite().all()


@pytest.mark.parametrize(
    "change", [{"grn": False}, {"grn_aggregation": "l1"}, {"grn_normalisation": "standardised"}]
)
def test_a_preset_chooses_the_variant_of_every_block(change):
    model = build_fcmae(dataclasses.replace(TINY, **change))
    norms = [module for module in model.modules() if isinstance(module, GlobalResponseNorm)]
    assert len(norms) == (0 if "grn" in change else 4)
    wanted = (change.get("grn_aggregation", "l2"), change.get("grn_normalisation", "divisive"))
    assert all((norm.aggregation, norm.normalisation) == wanted for norm in norms)
    assert build_described(json.loads(json.dumps(describe_preset(model)))).preset == model.preset


def test_hidden_positions_stay_zero_and_nothing_of_them_is_read():
    encoder = stirred(MaskedConvNeXt((1, 1, 1), (8, 8, 16)))
    visible = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(1)) > 0.5
    image = torch.randn(2, 3, 64, 64)
    pixels = visible.repeat_interleave(16, 2).repeat_interleave(16, 3)
    poisoned = torch.where(pixels, image, float("nan"))
    for stage, other in zip(encoder(image, visible), encoder(poisoned, visible), strict=True):
        assert torch.equal(stage, other)
        rate = stage.shape[-1] // 4
        hidden = ~visible.repeat_interleave(rate, 2).repeat_interleave(rate, 3)
        assert (stage * hidden == 0).all() and (stage != 0).any()


def test_other_numbers_of_stages_are_refused():
    with pytest.raises(ConfigError, match="three or four"):
        MaskedConvNeXt((1, 1), (8, 8))
    with pytest.raises(ConfigError, match="three or four"):
        MaskedConvNeXt((1, 1, 1), (8, 8, 8, 8))


def test_without_timm_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InpaintError, match=r"pip install 'mae-acr-inpaint\[backbones\]'"):
        build_fcmae("fcmae-tiny")


# -- as an autoencoder and a prior -----------------------------------------------------------------------


def test_nothing_of_a_touched_patch_reaches_the_result(model):
    image, mask = torch.rand(1, 3, 64, 64), hole(10, 10, 20, 30)
    touched = hole(0, 0, 32, 32)
    poisoned = torch.where(touched > 0, float("nan"), image)
    before, after = model(image, mask), model(poisoned, mask)
    assert torch.equal(before.features, after.features) and torch.equal(before.attention, after.attention)
    assert torch.equal(model.reconstruct(image, mask), model.reconstruct(poisoned, mask))


def test_what_is_visible_does_reach_the_result(model):
    image, mask = torch.rand(1, 3, 64, 64), hole(0, 0, 16, 16)
    other = image.clone()
    other[..., 16:32, 0:16] = 0
    difference = (model(image, mask).features - model(other, mask).features).abs()
    assert difference[0, :, 0, 0].max() > 1e-3  # the hidden token beside it too


def test_different_masks_in_one_batch_equal_each_alone(model):
    image = torch.rand(4, 3, 64, 64)
    mask = torch.cat([hole(0, 0, 30, 30), hole(0, 0, 0, 0), hole(0, 0, 64, 64), hole(5, 5, 6, 64)])
    together = model(image, mask)
    for index in range(4):
        alone = model(image[index : index + 1], mask[index : index + 1])
        assert torch.allclose(together.features[index], alone.features[0], atol=1e-4)
        assert torch.allclose(together.attention[index], alone.attention[0], atol=1e-5)


def test_attention_is_a_softmax_of_similarity_over_tokens_with_known_pixels(model):
    mask = hole(0, 0, 40, 33)
    features, attention = model(torch.rand(1, 3, 64, 64), mask)
    assert attention is not None and attention.dtype == torch.float32
    full = (torch.nn.functional.avg_pool2d(mask, 16) == 1).flatten()
    assert torch.allclose(attention.sum(dim=-1), torch.ones(1, 16), atol=1e-5)
    assert (attention[0][:, full] == 0).all() and (attention[0][:, ~full] > 0).all()
    vectors = features[0].flatten(1).T
    similarity = torch.cosine_similarity(vectors[:, None], vectors[None], dim=-1)
    expected = (10 * similarity).masked_fill(full, float("-inf")).softmax(dim=-1)
    assert torch.allclose(attention[0], expected, atol=1e-5)


@pytest.fixture(params=["unet", "transformer"])
def other_decoder(request) -> FullyConvolutionalAutoencoder:
    return stirred(build_fcmae(dataclasses.replace(TINY, decoder=request.param, decoder_heads=2)))


def test_other_decoders_keep_every_promise(other_decoder):
    image, mask = torch.rand(2, 3, 64, 64), torch.cat([hole(10, 10, 20, 30), hole(0, 0, 64, 64)])
    touched = torch.cat([hole(0, 0, 32, 32), hole(0, 0, 64, 64)])
    poisoned = torch.where(touched > 0, float("nan"), image)
    before, after = other_decoder(image, mask), other_decoder(poisoned, mask)
    assert before.features.shape == (2, 16, 4, 4) and before.features.isfinite().all()
    assert torch.equal(before.features, after.features)
    assert torch.equal(other_decoder.reconstruct(image, mask), other_decoder.reconstruct(poisoned, mask))
    normalised = torch.randn(2, 3, 64, 64)
    hidden = top_up(torch.zeros(2, 16, dtype=torch.bool), 0.6, torch.rand(2, 16))
    prediction = other_decoder.predict_patches(normalised, hidden)
    assert prediction.shape == other_decoder.target_patches(normalised).shape
    prediction.square().mean().backward()
    for name, parameter in other_decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    described = json.loads(json.dumps(describe_preset(other_decoder)))
    assert build_described(described).preset == other_decoder.preset


def test_a_unet_puts_pixels_where_they_belong():
    model = stirred(build_fcmae(dataclasses.replace(TINY, decoder="unet")))
    hidden = torch.zeros(1, 16, dtype=torch.bool)
    hidden[0, 5] = True
    normalised = torch.randn(1, 3, 64, 64)
    patches = model.predict_patches(normalised, hidden)
    values = model.to_pixels(model.decode(normalised, hidden))
    assert model.tile_size == 4 and values.shape == (1, 48, 16, 16)
    # Row 1, column 2 of the 4 x 4 tiles of patch 6 = (1, 2): tile (5, 10), its first pixel, colour by colour.
    first = (1 * 4) * 16 * 3 + (2 * 4) * 3
    assert torch.allclose(patches[0, 6, first : first + 3], values[0, :3, 5, 10])


def test_a_transformer_decoder_reaches_across_the_picture_at_once():
    """One block of a transformer lets a far hidden token see a lone visible one; one of ConvNeXt does not."""
    reached = {}
    for kind in ("convnext", "transformer"):
        preset = dataclasses.replace(
            TINY, image_size=160, grn=False, decoder=kind, decoder_heads=2, attention="none"
        )
        model = stirred(build_fcmae(preset))
        hidden = torch.ones(1, 100, dtype=torch.bool)
        hidden[0, 0] = False
        normalised = torch.randn(1, 3, 160, 160, requires_grad=True)
        model.predict_patches(normalised, hidden)[0, 99].sum().backward()
        reached[kind] = bool(normalised.grad.abs().sum() > 0)
    assert reached == {"convnext": False, "transformer": True}


def test_attention_may_be_left_out():
    model = build_fcmae(dataclasses.replace(TINY, attention="none"))
    assert model(torch.rand(1, 3, 64, 64), hole(0, 0, 9, 9)).attention is None


def test_a_full_mask_gives_uniform_attention_and_one_hole_pixel_a_patch_no_nan(model):
    everything = model(torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64))
    assert torch.allclose(everything.attention, torch.full((1, 16, 16), 1 / 16))
    dots = torch.zeros(1, 1, 64, 64)
    dots[..., ::16, ::16] = 1  # touches every patch, fills none
    for value in (*everything, *model(torch.rand(1, 3, 64, 64), dots)):
        assert torch.isfinite(value).all()


def test_gradients_are_finite_where_an_image_shows_nothing(model):
    hidden = torch.tensor([[True] * 16, [False] * 8 + [True] * 8])
    model.predict_patches(torch.randn(2, 3, 64, 64), hidden).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (100, 37), (20, 300), (1, 1)])
def test_any_picture_size(model, size):
    image, mask = torch.rand(2, 3, *size), (torch.rand(2, 1, *size) > 0.7).float()
    features, attention = model(image, mask)
    assert features.shape == (2, 16, 4, 4) and attention.shape == (2, 16, 16)
    assert torch.isfinite(features).all()
    assert model.reconstruct(image, mask).shape == (2, 3, 64, 64)


def test_training_targets_and_every_weight_learns(model):
    normalised = torch.randn(2, 3, 64, 64)
    hidden = top_up(torch.zeros(2, 16, dtype=torch.bool), 0.6, torch.rand(2, 16))
    prediction = model.predict_patches(normalised, hidden)
    assert prediction.shape == model.target_patches(normalised).shape == (2, 16, 768)
    prediction.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_bf16_multiplies_in_bf16_and_attends_in_float32(model):
    image, mask = torch.rand(2, 3, 64, 64), hole(8, 8, 40, 40).expand(2, 1, 64, 64)
    types = []
    model.encoder.stages[0].blocks[0].conv_dw.register_forward_hook(lambda *a: types.append(a[-1].dtype))
    exact = model(image, mask)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = model(image, mask)
    assert types == [torch.float32, torch.bfloat16]
    assert coarse.features.dtype == coarse.attention.dtype == torch.float32
    assert torch.allclose(coarse.attention.sum(dim=-1), torch.ones(2, 16), atol=1e-5)
    error = (coarse.features - exact.features).norm() / exact.features.norm()
    assert 0 < error < 0.05


def test_unfit_shapes_are_refused(model):
    with pytest.raises(ShapeError, match="expected"):
        model(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 32))
