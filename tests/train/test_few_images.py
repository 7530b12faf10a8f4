"""The recipe for few images: hinge losses in closed form, projected discriminator, augmentation, noise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inpaint.features.perceptual import PYRAMIDS, MobileNetPyramid
from inpaint.models.discriminator import ProjectedDiscriminator
from inpaint.models.generator import FourierGenerator, GeneratorPreset
from inpaint.train.config import LossWeights, Variant, read_config
from inpaint.train.distributed import Processes
from inpaint.train.fit import fit
from inpaint.train.losses import discriminator_fake_loss, discriminator_real_loss, generator_adversarial_loss
from inpaint.train.monitor import Monitor
from inpaint.train.recipes.acr import AcrRecipe
from inpaint.train.recipes.adversary import sample_augmentation
from inpaint.train.state import load_latest_state
from tests.train.test_steps import make_batch
from tests.train.tiny_runs import BATCH, STEPS, acr_config, curve

ALONE = Processes(torch.device("cpu"))
LOGITS = torch.tensor([[-2.0, 0.5], [3.0, 0.0]]).view(1, 1, 2, 2)


@pytest.fixture
def few_images(photos, tmp_path, perceptual_weights, mobilenet_weights):
    def make(name: str = "run", **changes):
        settings = dict(
            weights=LossWeights(adversarial=1, projected=1, feature_matching=0, perceptual=1.5, l1_known=1,
                                l1_hole=8, r1=0),
            adversarial_loss="hinge", adversarial_at="hole_patches", adversarial_after_images=0,
            augment_discriminator=True, discriminator_input="composite", l1_hole_until_images=2 * BATCH,
            projected_weights=mobilenet_weights, projected_width=4, variant=Variant(hole_noise=0.2),
        )  # fmt: skip
        return acr_config(photos, tmp_path / name, perceptual_weights, **(settings | changes))

    return make


def test_hinge_losses_in_closed_form():
    assert discriminator_real_loss(LOGITS, form="hinge").item() == pytest.approx((3 + 0.5 + 0 + 1) / 4)
    assert discriminator_fake_loss(LOGITS, form="hinge").item() == pytest.approx((0 + 1.5 + 4 + 1) / 4)
    assert generator_adversarial_loss(LOGITS, form="hinge").item() == pytest.approx(-1.5 / 4)
    hole = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).view(1, 1, 2, 2)
    fake = discriminator_fake_loss(LOGITS, hole, form="hinge")
    known = discriminator_real_loss(LOGITS, 1 - hole, form="hinge")
    assert (fake + known).item() == pytest.approx((0 + 0.5 + 0 + 1) / 4)


def test_it_learns_logs_every_loss_and_resumes_exactly(few_images, monkeypatch):
    straight = few_images("straight")
    fit(straight)
    monkeypatch.setattr(Monitor, "due", lambda self, what: what == "save")

    def die(progress):
        if progress.images_seen == 3 * BATCH:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(few_images("resumed"), die)
    fit(few_images("resumed"))
    records = curve(straight.out)
    assert curve(few_images("resumed").out) == records and len(records) == STEPS
    assert {"projected_discriminator", "projected", "discriminator", "adversarial"} <= records[0].keys()
    state = load_latest_state(straight.out)
    assert state is not None and "projected_discriminator_optimizer" in state


def test_a_loss_of_weight_zero_is_not_computed_and_changes_nothing_else(few_images):
    """Feature matching of a vanishing weight, and none: the same losses and gradients."""
    passes, values, gradients = [], [], []
    for weight in (0.0, 1e-30):
        weights = LossWeights(adversarial=1, feature_matching=weight, perceptual=1.5, l1_hole=8, r1=0)
        recipe = AcrRecipe(few_images(weights=weights), ALONE)
        (patches,) = recipe.adversaries
        passes.append([])
        patches.discriminator.register_forward_hook(lambda *_, seen=passes[-1]: seen.append(1))
        values.append(recipe.step(make_batch()))
        trained = [*recipe.network.parameters(), *patches.discriminator.parameters()]
        gradients.append([p.grad for p in trained if p.grad is not None])
    assert [len(seen) for seen in passes] == [3, 4]  # real and fake for itself, fake for the generator
    assert values[1].pop("feature_matching") > 0
    assert values[0] == values[1] and len(gradients[0]) == len(gradients[1])
    assert all(torch.allclose(*pair, rtol=0, atol=1e-20) for pair in zip(*gradients, strict=True))


def test_without_adversarial_weight_there_is_no_patch_discriminator(few_images):
    weights = LossWeights(adversarial=0, perceptual=1.5)
    recipe = AcrRecipe(few_images(weights=weights), ALONE)
    assert recipe.adversaries == [] and "discriminator" not in recipe.stateful()
    assert not {"discriminator", "adversarial", "feature_matching", "r1"} & recipe.step(make_batch()).keys()


def test_l1_in_the_hole_ends(few_images):
    config = few_images()
    recipe = AcrRecipe(config, ALONE)
    image, mask = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    mask[..., :32] = 1
    wrong = torch.where(mask > 0, image + 0.1, image)  # wrong in the hole only
    before, after = (
        recipe.generator_losses([], wrong, image, mask, seen)["l1"].item()
        for seen in (2 * BATCH - 1, 2 * BATCH)
    )
    assert before == pytest.approx(8 * 0.1 / 2, rel=1e-4) and after == pytest.approx(0, abs=1e-6)


def test_hole_and_known_patches_weigh_alike_and_only_holes_reward(few_images):
    config = few_images(augment_discriminator=False)
    (patches, _) = AcrRecipe(config, ALONE).adversaries
    mask = torch.zeros(1, 1, 4, 4)
    mask[0, 0, 0, 0] = 1
    real, fake = torch.full((1, 1, 4, 4), -1.0), torch.full((1, 1, 4, 4), 2.0)
    # hole: relu(1 + 2) = 3; known patches of the fill: relu(1 - 2) = 0; real image: relu(1 + 1) = 2
    assert patches._loss(real, fake, mask).item() == pytest.approx(3 + (2 + 0) / 2)  # type: ignore


def test_augmentation_moves_image_and_mask_alike_and_passes_gradients():
    torch.manual_seed(0)
    mask = (torch.rand(16, 1, 32, 32) > 0.5).float()
    image = mask.expand(-1, 3, -1, -1).clone().requires_grad_(True)
    transform = sample_augmentation(image)
    shown, moved = transform.image(image), transform.mask(mask)
    # Colours are changed per image only: within an image, hole and known are still two levels.
    for one, its_mask, kept in zip(shown, moved, transform.kept, strict=True):
        inside = one[:, kept[0]].mean(0)
        hole = its_mask[0][kept[0]] > 0
        assert inside[hole].std() < 1e-5 and inside[~hole].std() < 1e-5
        assert (one[:, ~kept[0]] == 0.5).all() and (its_mask[0][~kept[0]] == 0).all()
    shown.square().sum().backward()
    assert image.grad is not None and image.grad.isfinite().all() and image.grad.abs().max() > 0
    other = sample_augmentation(image)
    assert not torch.equal(other.image(image), shown)


@pytest.mark.parametrize("side", [64, 96])
def test_the_projected_discriminator_sees_four_scales_and_learns_in_its_heads_only(side):
    torch.manual_seed(0)
    network = MobileNetPyramid()
    maps = network(torch.rand(2, 3, side, side))
    assert [m.shape[1] for m in maps] == list(MobileNetPyramid.channels)
    assert [m.shape[-1] for m in maps] == [side // 4, side // 8, side // 16, side // 32]
    discriminator = ProjectedDiscriminator(MobileNetPyramid.channels, width=4)
    before = {name: p.clone() for name, p in discriminator.named_parameters()}
    optimizer = torch.optim.Adam([p for p in discriminator.parameters() if p.requires_grad], 0.1)
    logits = discriminator(maps)
    assert {tuple(values.shape) for values in logits} == {(2, 1, side // 32, side // 32)}
    torch.stack([values.mean() for values in logits]).sum().backward()
    optimizer.step()
    changed = {name for name, p in discriminator.named_parameters() if not torch.equal(before[name], p)}
    assert changed and all(name.startswith("heads.") for name in changed)


def test_the_inception_pyramid_has_the_channels_it_says():
    pytest.importorskip("pytorch_fid")
    network = PYRAMIDS["inception"]()
    maps = network(torch.rand(1, 3, 96, 96))
    assert [m.shape[1] for m in maps] == list(network.channels)


def test_noise_is_new_in_training_the_same_at_use_and_in_the_hole_only():
    torch.manual_seed(0)
    generator = FourierGenerator(GeneratorPreset(width=4, blocks=1, hole_noise=0.5))
    image, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    inputs = []
    generator.stem.register_forward_hook(lambda _, args, __: inputs.append(args[0]))
    generator(image, mask)
    mask[..., 8:24, 8:24] = 1
    generator(image, mask)
    generator(image, mask)
    generator.eval()
    assert torch.equal(generator(image, mask), generator(image, mask))
    none, first, second, used, again = inputs
    assert torch.equal(none[:, :3], image)
    assert not torch.equal(first, second) and torch.equal(used, again)
    known = mask.expand(-1, 3, -1, -1) == 0
    assert torch.equal(first[:, :3][known], image[known])
    assert first[:, :3][~known].std().item() == pytest.approx(0.5, rel=0.15)


@pytest.mark.parametrize("name", ["lama_small", "acr_small"])
def test_the_shipped_configs_of_the_recipe_start_from_shipped_checkpoints(name, monkeypatch, tmp_path):
    monkeypatch.setenv("DATA", str(tmp_path))
    folder = Path(__file__).parents[2] / "configs"
    for suffix in ("", "_cpu"):
        config = read_config(folder / f"few_images_{name}{suffix}.toml")
        assert config.init_checkpoint is not None and config.init_checkpoint.exists()
