"""One step: its precision, its parts, what BatchNorm sees, and what compiling may not change."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inpaint.data.batches import Batch
from inpaint.models.fcmae import FullyConvolutionalAutoencoder
from inpaint.models.mae import MaskedAutoencoder
from inpaint.train.distributed import Processes
from inpaint.train.losses import scale_mask
from inpaint.train.recipes import acr as acr_module
from inpaint.train.recipes import adversary as adversary_module
from inpaint.train.recipes import build_recipe
from inpaint.train.recipes import prior as prior_module
from inpaint.train.recipes.acr import AcrRecipe
from inpaint.train.recipes.prior import PriorRecipe
from tests.train.tiny_runs import acr_config, fcmae_config, mae_config

ALONE = Processes(torch.device("cpu"))
NOWHERE = Path("nowhere")


def make_batch(count: int = 4, images_seen: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(3)
    mask = torch.zeros(count, 1, 64, 64)
    mask[..., 12:44, 20:40] = 1
    return Batch(torch.rand(count, 3, 64, 64, generator=generator), mask, images_seen, slice(0, count))


def twice(batch: Batch) -> Batch:
    """The same pictures again, so that either half has the statistics of the whole."""
    return Batch(
        batch.image.repeat(2, 1, 1, 1), batch.mask.repeat(2, 1, 1, 1), batch.images_seen, slice(0, 8)
    )


@pytest.fixture
def every_loss(perceptual_weights) -> Callable:
    """Make an ACR config with the discriminator from the first step on."""
    return functools.partial(
        acr_config, NOWHERE, NOWHERE, perceptual_weights, adversarial_after_images=0, learning_rate=1e-4
    )


# -- precision -------------------------------------------------------------------------------------------


def record_dtypes(monkeypatch, where, *names: str) -> dict[str, set[torch.dtype]]:
    """Monitor which types of floating-point tensors functions are given."""
    seen: dict[str, set[torch.dtype]] = {}

    def watch(name: str) -> None:
        function = getattr(where, name)

        def watched(*args, **kwargs):
            tensors = [a for arg in args for a in (arg if isinstance(arg, list) else [arg])]
            seen.setdefault(name, set()).update(
                a.dtype for a in tensors if isinstance(a, Tensor) and a.is_floating_point()
            )
            return function(*args, **kwargs)

        monkeypatch.setattr(where, name, watched)

    for name in names:
        watch(name)
    return seen


def watch_output(module: nn.Module, types: list[torch.dtype]) -> None:
    """Append the type of what a module gives, whenever it does."""

    def note(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        types.append(output.dtype)

    module.register_forward_hook(note)


def test_bf16_leaves_fft_r1_and_losses_in_float32(every_loss, monkeypatch):
    config = every_loss(precision="bf16")
    parts: Any = AcrRecipe(config, ALONE)
    outputs: dict[str, list[torch.dtype]] = {}
    convolutions = {
        "down": parts.network.generator.downs[0],
        "disc": parts.adversaries[0].discriminator.convs[1],
    }
    for name, module in convolutions.items():
        watch_output(module, outputs.setdefault(name, []))
    losses = record_dtypes(
        monkeypatch, adversary_module, "r1_of", "discriminator_real_loss", "discriminator_fake_loss",
        "generator_adversarial_loss", "feature_matching_loss",
    )  # fmt: skip
    l1 = record_dtypes(monkeypatch, acr_module, "weighted_l1")
    transforms = record_dtypes(monkeypatch, torch.fft, "rfft2")
    perceptual = record_dtypes(monkeypatch, next(parts.features.children())[0], "forward")  # type: ignore
    values = parts.step(make_batch())
    assert "r1" in values and len(losses) == 5 and len(l1) == 1
    for seen in (losses, l1, transforms, perceptual):
        assert all(types == {torch.float32} for types in seen.values()), seen
    # R1 penalises the very pass that judges the photos: it is in float32, the others in bf16.
    assert outputs["down"] == [torch.bfloat16]
    assert outputs["disc"] == [torch.float32, torch.bfloat16, torch.bfloat16, torch.bfloat16]
    for learner in (parts.network, parts.adversaries[0].discriminator, parts.ema.module):
        assert {parameter.dtype for parameter in learner.parameters()} == {torch.float32}


PRIORS = pytest.mark.parametrize("make_config", [mae_config, fcmae_config])


@PRIORS
def test_bf16_leaves_the_loss_of_an_autoencoder_in_float32(make_config, monkeypatch):
    config = make_config(NOWHERE, NOWHERE, precision="bf16")
    parts = PriorRecipe(config, ALONE)
    types = []
    parts.network.to_pixels.register_forward_hook(lambda _, __, output: types.append(output.dtype))
    losses = record_dtypes(monkeypatch, prior_module, "masked_patch_mse")
    values = parts.step(make_batch())
    assert types == [torch.bfloat16] and losses == {"masked_patch_mse": {torch.float32}}
    assert values["loss"].dtype == torch.float32


def test_a_convolutional_prior_takes_a_step_with_every_loss_in_bf16(every_loss):
    config = every_loss(precision="bf16", preset="acr-tiny-convnext")
    parts = AcrRecipe(config, ALONE)
    known = []
    parts.network.prior.register_forward_hook(lambda _, __, known_now: known.append(known_now))
    types = []
    assert isinstance(parts.network.prior, FullyConvolutionalAutoencoder)
    watch_output(parts.network.prior.decoder[0].get_submodule("conv_dw"), types)
    before = [p.clone() for p in parts.network.prior.parameters()]
    values = parts.step(make_batch())
    assert types == [torch.bfloat16] and known[0].attention.dtype == torch.float32
    assert {"l1", "perceptual", "adversarial", "feature_matching", "discriminator", "r1"} <= values.keys()
    assert all(value.isfinite() for value in values.values())
    assert all(map(torch.equal, before, parts.network.prior.parameters()))


def test_channels_last_changes_the_layout_and_nothing_else(every_loss):
    plain, turned = (AcrRecipe(every_loss(channels_last=turned), ALONE) for turned in (False, True))
    layout = torch.channels_last
    assert turned.network.generator.stem.weight.is_contiguous(memory_format=layout)
    layouts = []
    turned.network.generator.downs[0].register_forward_hook(
        lambda _, __, output: layouts.append(output.is_contiguous(memory_format=layout))
    )
    ours = plain.step(make_batch())
    theirs = turned.step(make_batch())
    assert layouts == [True]
    for name, value in ours.items():
        assert float(theirs[name]) == pytest.approx(float(value), rel=1e-4), name


# -- accumulation ----------------------------------------------------------------------------------------


@PRIORS
@pytest.mark.parametrize("pieces", [2, 4])
def test_an_autoencoder_learns_the_same_in_pieces(make_config, pieces):
    results = []
    for accumulate in (1, pieces):
        config = make_config(NOWHERE, NOWHERE, accumulate=accumulate)
        parts = PriorRecipe(config, ALONE)
        parts.network.requires_grad_(True)
        values = parts.step(make_batch())
        results.append((values, {name: p.grad for name, p in parts.network.named_parameters()}))
    (whole, gradients), (split, split_gradients) = results
    for name, value in whole.items():
        assert float(split[name]) == pytest.approx(float(value), rel=1e-6)
    for name, gradient in gradients.items():
        assert torch.allclose(split_gradients[name], gradient, rtol=1e-4, atol=1e-7), name


def test_acr_learns_the_same_in_pieces_up_to_statistics(every_loss):
    batch = twice(make_batch())
    results = []
    for accumulate in (1, 2):
        config = every_loss(accumulate=accumulate, batch_size=8)
        parts = AcrRecipe(config, ALONE)
        values = parts.step(batch)
        gradients = {
            f"{learner}.{name}": p.grad
            for learner, part in (("g", parts.network), ("d", parts.adversaries[0].discriminator))
            for name, p in part.named_parameters()
            if p.grad is not None
        }
        results.append((values, gradients))
    (whole, gradients), (split, split_gradients) = results
    assert {"r1", "adversarial", "feature_matching", "perceptual"} <= whole.keys() == split.keys()
    for name, value in whole.items():
        assert float(split[name]) == pytest.approx(float(value), rel=1e-5), name
    for name, gradient in gradients.items():
        assert torch.allclose(split_gradients[name], gradient, rtol=1e-3, atol=1e-6), name


def test_a_repeated_prediction_moves_running_statistics_once(every_loss):
    """Two equal pieces: the generator's statistics move twice, not four times, and momentum comes back."""
    config = every_loss(accumulate=2, batch_size=8)
    parts = AcrRecipe(config, ALONE)
    norm = parts.network.generator.stem_norm
    means = []
    norm.register_forward_hook(lambda _, __, ___: means.append(norm.running_mean.clone()))
    parts.step(twice(make_batch()))
    assert norm.momentum == 0.1 and len(means) == 4
    assert torch.equal(means[0], torch.zeros_like(means[0])) and torch.equal(means[0], means[1])
    assert torch.allclose(means[2] / 0.1, means[3] / 0.19, rtol=1e-4)


# -- as published ----------------------------------------------------------------------------------------


def test_the_discriminator_counts_photos_once_with_r1_and_without(every_loss):
    """Real and fake for itself, fake and real for the generator: four updates in every step."""
    config = every_loss(r1_every=2)
    parts = AcrRecipe(config, ALONE)
    discriminator: Any = parts.adversaries[0].discriminator
    counted = discriminator.norms[1].num_batches_tracked
    with_penalty = parts.step(make_batch())
    assert "r1" in with_penalty and int(counted) == 4
    without = parts.step(make_batch(images_seen=4))
    assert "r1" not in without and int(counted) == 8


def test_the_number_of_visible_tokens_is_known_beforehand(monkeypatch):
    """Told or counted, the autoencoder does the same; in training it is told, and reads nothing back."""
    config = mae_config(NOWHERE, NOWHERE)
    parts = PriorRecipe(config, ALONE)
    batch = make_batch()
    hidden = prior_module.hide_tokens(
        batch, parts.network.preset.patch_size, seed=config.seed, ratio=config.mask_ratio, mixed=True
    )
    normalised = parts.network.normalise(batch.image)
    counted = parts.network.predict_patches(normalised, hidden)
    visible = int((~hidden).sum(1)[0])
    assert torch.equal(parts.network.predict_patches(normalised, hidden, visible=visible), counted)
    told = []
    assert isinstance(parts.network, MaskedAutoencoder)
    encode = parts.network.encode
    monkeypatch.setattr(parts.network, "encode", lambda n, h, v=None: told.append(v) or encode(n, h, v))
    parts.step(batch)
    assert told == [visible]


# -- compiled --------------------------------------------------------------------------------------------


def assert_compiling_changes_nothing(config, compiled_config) -> None:
    plain, compiled = build_recipe(config, ALONE), build_recipe(compiled_config, ALONE)
    for images_seen in (0, 4):
        ours = plain.step(make_batch(images_seen=images_seen))
        theirs = compiled.step(make_batch(images_seen=images_seen))
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert float(theirs[name]) == pytest.approx(float(value), rel=1e-3), name
    for name, part in compiled.stateful().items():  # a compiled run goes on from a plain one's state
        state = plain.stateful()[name].state_dict()
        assert part.state_dict().keys() == state.keys()
        part.load_state_dict(state)


@pytest.mark.slow
def test_a_compiled_autoencoder():
    configs = (mae_config(NOWHERE, NOWHERE, compile=c, learning_rate=1e-4) for c in (False, True))
    assert_compiling_changes_nothing(*configs)


@pytest.mark.slow
def test_a_compiled_convolutional_autoencoder():
    configs = (fcmae_config(NOWHERE, NOWHERE, compile=c, learning_rate=1e-4) for c in (False, True))
    assert_compiling_changes_nothing(*configs)


@pytest.mark.slow
def test_a_compiled_acr_with_every_loss(every_loss, monkeypatch):
    """Traced with all its gradients, but without the minute of code generation; R1 stays uncompiled."""
    compiled = []

    def compile_quickly(module: nn.Module) -> None:
        compiled.append(type(module).__name__)
        module._compiled_call_impl = torch.compile(module._call_impl, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", compile_quickly)
    configs = (every_loss(compile=c) for c in (False, True))
    assert_compiling_changes_nothing(*configs)
    assert sorted(compiled) == ["FourierResidualBlock", "PatchDiscriminator"]


def test_the_alphas_have_a_rate_of_their_own(perceptual_weights):
    moved = []
    for alpha_lr_multiplier in (1.0, 10.0):
        config = acr_config(NOWHERE, NOWHERE, perceptual_weights, alpha_lr_multiplier=alpha_lr_multiplier)
        parts = AcrRecipe(config, ALONE)
        alpha, weight = parts.network.generator.transfer_after.alpha, parts.network.generator.head.weight
        before = weight.clone()
        parts.step(make_batch())
        moved.append((alpha.abs().item(), (weight - before).abs().max().item()))
    (slow, same), (fast, also) = moved
    assert slow > 0 and fast == pytest.approx(10 * slow) and same == also


# -- where is judged -----------------------------------------------------------------------------------------


def test_judged_in_holes_alone_the_rest_changes_nothing(every_loss):
    """A discriminator that is sure of known places and undecided in holes."""
    batch = make_batch()
    values = {}
    for places in ("everywhere", "holes"):
        config = every_loss(adversarial_at=places)
        parts = AcrRecipe(config, ALONE)
        logits = 30 * (1 - scale_mask(batch.mask, (16, 16)))
        parts.adversaries[0].discriminator.forward = lambda image, logits=logits: (logits, [torch.zeros(1)])
        values[places] = parts.generator_losses(
            parts.adversaries, batch.image.clone().requires_grad_(), batch.image, batch.mask
        )["adversarial"].item()
    assert values["holes"] == pytest.approx(math.log(2))
    assert values["everywhere"] < 0.2 * math.log(2)
