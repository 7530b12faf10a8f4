"""Losses as pure functions of tensors, each a scalar.

Masks are (B, 1, H, W) with 1 = hole, logits and their weights (B, 1, h, w). Weights such as "adversarial x
10" belong to the config and are applied by the recipe. Source: non-saturating loss with R1 as in LaMa (WACV
2022); hinge loss as in Projected GANs (NeurIPS 2021) and GRIG (2025).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

AdversarialForm = Literal["non_saturating", "hinge"]


def generator_adversarial_loss(
    fake_logits: Tensor, weights: Tensor | None = None, form: AdversarialForm = "non_saturating"
) -> Tensor:
    """Reward a generator whose patches look real: weighted mean of softplus(-logits), or of -logits."""
    return _weighted_mean(-fake_logits if form == "hinge" else F.softplus(-fake_logits), weights)


def discriminator_real_loss(
    logits: Tensor, weights: Tensor | None = None, form: AdversarialForm = "non_saturating"
) -> Tensor:
    """Teach that patches are real: weighted mean of softplus(-logits) or relu(1 - logits)."""
    return _weighted_mean(F.relu(1 - logits) if form == "hinge" else F.softplus(-logits), weights)


def discriminator_fake_loss(
    logits: Tensor, weights: Tensor | None = None, form: AdversarialForm = "non_saturating"
) -> Tensor:
    """Teach that patches are fake: weighted mean of softplus(logits) or relu(1 + logits)."""
    return discriminator_real_loss(-logits, weights, form)


def scale_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Bring a mask to the grid (h, w) of the logits, by the nearest pixel."""
    return F.interpolate(mask, size=list(size))


def hole_weights(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Weights that turn a mean over patches, on a grid (h, w), into one over the patches in holes.

    The mean over each image's holes, then over images, so that the parts of a batch add up to the whole.
    """
    hole = scale_mask(mask, size)
    return hole / hole.mean((2, 3), keepdim=True).clamp(min=1e-6)


def _weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    return losses.mean() if weights is None else (losses * weights).mean()


def r1_of(real_logits: Tensor, real: Tensor) -> Tensor:
    """Squared norm of d(sum of logits)/d(image), per image, averaged over the batch; no factor 1/2.

    ``real`` (B, 3, H, W) had `requires_grad` set before the forward pass that gave ``real_logits``.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()


def feature_matching_loss(fake_activations: Sequence[Tensor], real_activations: Sequence[Tensor]) -> Tensor:
    """Compare a discriminator's activations: mean squared error per level, then the mean of the levels.

    Those for the photo are taken as constants.
    """
    levels = [
        (fake - real.detach()).square().mean()
        for fake, real in zip(fake_activations, real_activations, strict=True)
    ]
    return torch.stack(levels).mean()


def style_loss(activations: Sequence[Tensor], targets: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Compare textures in the hole: distance of Gram matrices, relative to the target's energy.

    Activations are levels (B, C, h, w) of the composite, where a position counts by its share of hole, and of
    the photo, without gradients.

    Source: Gatys et al. (CVPR 2016), section 2.2; for holes Liu et al., *Partial Convolutions* (ECCV 2018).
    """
    levels = []
    for ours, theirs in zip(activations, targets, strict=True):
        weights = F.adaptive_avg_pool2d(mask, (ours.shape[2], ours.shape[3])).flatten(2)
        count = weights.sum(2, keepdim=True).clamp(min=4.0)
        ours, theirs = ours.flatten(2), theirs.flatten(2)
        gram = (ours * weights) @ ours.transpose(1, 2) / count
        target = (theirs * weights) @ theirs.transpose(1, 2) / count
        energy = target.diagonal(dim1=1, dim2=2).sum(1).clamp(min=1e-3)
        distance = (gram - target).square().sum((1, 2)).add(1e-12).sqrt()  # finite gradient where equal
        levels.append((distance / energy).mean())
    return torch.stack(levels).mean()


def repetition_loss(image: Tensor, target: Tensor, mask: Tensor, period: int) -> Tensor:
    """How much more the holes of images (B, 3, H, W) repeat themselves than the target does, from 0 to 1.

    A generator's lattice shows as the correlation of fine detail with itself a half, one or two strides, the
    ``period``, further on; of what is above the target's, and above zero, the root of the mean square over
    all such moves, so that one lattice counts as much as a little of everything.
    """
    ours, theirs = (
        torch.cat([self_correlations(one, mask, pixels) for pixels in (period // 2, period)])
        for one in (image, target)
    )
    excess = F.relu(ours - F.relu(theirs)).square().mean(0)
    return ((excess + 1e-6).sqrt() - 1e-3).mean()  # finite gradient where equal


def self_correlations(image: Tensor, mask: Tensor, period: int) -> Tensor:
    """Of the holes less their local means, ``(moves, B)``; zero where fewer than 256 of their pixels meet."""
    half = period // 2
    values, weights = (F.avg_pool2d(part, 2 * half + 1, 1, half) for part in (image * mask, mask))
    border, found = (2 * period, 2 * period, 0, 2 * period), []
    fine, mask = (F.pad(part, border) for part in ((image - values / weights.clamp(min=1e-6)) * mask, mask))
    for down, across in [(y, x) for y in range(3) for x in range(-2, 3) if y or x > 0]:
        moved, met = (part.roll((period * down, period * across), (2, 3)) for part in (fine, mask))
        met = met * mask
        energy = (fine.square() * met).sum((1, 2, 3)) * (moved.square() * met).sum((1, 2, 3))
        correlation = (fine * moved).sum((1, 2, 3)) / (energy + 1e-8).sqrt()
        found.append(torch.where(met.sum((1, 2, 3)) >= 256, correlation, 0.0))
    return torch.stack(found)


def block_losses(activations: Sequence[Tensor], targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Compare block outputs of a frozen network, levels (B, C, h, w), averaged over levels.

    Returns:
        Squared distance of the outputs, each position scaled to unit length over channels; and squared
        distance of their means over positions, relative to the target's.
    """
    distances, means = [], []
    for ours, theirs in zip(activations, targets, strict=True):
        units = F.normalize(ours, dim=1, eps=1e-3) - F.normalize(theirs, dim=1, eps=1e-3)
        distances.append(units.square().sum(1).mean())
        mean, target = ours.mean((2, 3)), theirs.mean((2, 3))
        means.append(((mean - target).square().sum(1) / target.square().sum(1).clamp(min=1e-3)).mean())
    return torch.stack(distances).mean(), torch.stack(means).mean()


def weighted_l1(prediction: Tensor, target: Tensor, mask: Tensor, *, known: float, hole: float) -> Tensor:
    """Absolute error of images (B, 3, H, W), weighted by region (10 and 0 in the published system).

    A plain mean over all pixels: not divided by the weights' sum.
    """
    return ((prediction - target).abs() * (known * (1 - mask) + hole * mask)).mean()


def masked_patch_mse(prediction: Tensor, target: Tensor, token_mask: Tensor) -> Tensor:
    """Squared error of patches (B, N, D): mean over the values of a hidden token, then over hidden tokens.

    ``token_mask`` is (B, N), 1 = hidden. Without any hidden token the loss is 0.
    """
    per_token = (prediction - target).square().mean(2)
    hidden = token_mask.to(per_token.dtype)
    return (per_token * hidden).sum() / hidden.sum().clamp(min=1)


def add_means(values: dict[str, Tensor], losses: Mapping[str, Tensor], pieces: int) -> None:
    """Add one piece's share to the means over all pieces of a batch."""
    for name, loss in losses.items():
        values[name] = values.get(name, 0) + loss.detach() / pieces
