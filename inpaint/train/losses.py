"""Losses as pure functions of tensors, each a scalar unless said otherwise.

Masks are (B, 1, H, W) with 1 = hole. Weights such as "adversarial x 10" belong to the run's config and are
applied by the recipe. Source: non-saturating loss with R1 as in LaMa (WACV 2022); hinge loss as in Projected
GANs (NeurIPS 2021) and GRIG (2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

AdversarialForm = Literal["non_saturating", "hinge"]
MaskScaling = Literal["nearest", "bilinear", "maxpool"]


def scale_mask(mask: Tensor, size: Sequence[int], how: MaskScaling = "nearest") -> Tensor:
    """Bring a pixel mask to the grid of the logits.

    Args:
        mask: (B, 1, H, W), 1 = hole.
        size: (h, w) of the logits.
        how: "nearest", "bilinear" (soft values) or "maxpool" (a cell with any hole pixel is hole).

    Returns:
        (B, 1, h, w).
    """
    size = list(size)
    if how == "maxpool":
        return F.adaptive_max_pool2d(mask, size)
    return F.interpolate(mask, size=size, mode=how)


def generator_adversarial_loss(
    fake_logits: Tensor, weights: Tensor | None = None, form: AdversarialForm = "non_saturating"
) -> Tensor:
    """Reward a generator whose patches look real: mean of softplus(-logits), or of -logits.

    Args:
        fake_logits: (B, 1, h, w), the discriminator's logits for the prediction.
        weights: (B, 1, h, w) factors per patch, or None for one. `1 + extra * scale_mask(mask, ...)` stresses
            holes, `scale_mask(mask, ...)` looks at holes only.
        form: "non_saturating" or "hinge".
    """
    losses = -fake_logits if form == "hinge" else F.softplus(-fake_logits)
    return _weighted_mean(losses, weights)


def discriminator_real_loss(
    real_logits: Tensor, weights: Tensor | None = None, form: AdversarialForm = "non_saturating"
) -> Tensor:
    """Teach that photos are real: mean of softplus(-logits) or relu(1 - logits), times `weights` if given."""
    return _weighted_mean(_cost_of_real(real_logits, form), weights)


def hole_weights(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Weights that turn a mean over patches into one over the patches in holes, (B, 1, h, w).

    The mean over each image's holes, then over images, so that the parts of a batch add up to the whole.

    Args:
        mask: (B, 1, H, W), 1 = hole.
        size: (h, w) of the logits.
    """
    hole = scale_mask(mask, size)
    return hole / hole.mean((2, 3), keepdim=True).clamp(min=1e-6)


def discriminator_fake_loss(
    fake_logits: Tensor,
    mask: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    known_is_real: bool = True,
    scaling: MaskScaling = "nearest",
    form: AdversarialForm = "non_saturating",
) -> Tensor:
    """Teach that inpainted patches are fake: mean of softplus(logits) or relu(1 + logits).

    Args:
        fake_logits: (B, 1, h, w).
        mask: (B, 1, H, W), 1 = hole, at any resolution; None calls every patch fake.
        weights: (B, 1, h, w) factors per patch, without a mask.
        known_is_real: with a mask, patches outside holes are taught as real; otherwise they count as zero.
        scaling: how the mask comes to the logits' grid.
        form: "non_saturating" or "hinge".
    """
    loss = _cost_of_real(-fake_logits, form)
    if mask is None:
        return _weighted_mean(loss, weights)
    hole = scale_mask(mask.to(loss.dtype), fake_logits.shape[2:], scaling)
    loss = hole * loss
    if known_is_real:
        loss = loss + (1 - hole) * _cost_of_real(fake_logits, form)
    return loss.mean()


def _cost_of_real(logits: Tensor, form: AdversarialForm) -> Tensor:
    """What a logit costs where "real" is right; with the sign turned, where "fake" is right."""
    return F.relu(1 - logits) if form == "hinge" else F.softplus(-logits)


def _weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    return losses.mean() if weights is None else (losses * weights).mean()


def r1_of(real_logits: Tensor, real: Tensor) -> Tensor:
    """Squared norm of d(sum of logits)/d(image), per image, averaged over the batch; no factor 1/2.

    Args:
        real_logits: what the discriminator said about `real`.
        real: (B, 3, H, W), with `requires_grad` set before the forward pass.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()


def feature_matching_loss(
    fake_activations: Sequence[Tensor], real_activations: Sequence[Tensor], mask: Tensor | None = None
) -> Tensor:
    """Compare the discriminator's activations: mean squared error per level, then the mean of the levels.

    Args:
        fake_activations: levels (B, C, h, w) for the prediction.
        real_activations: the same for the photo; taken as a constant.
        mask: (B, 1, H, W), 1 = hole; if given, errors count by how known their place is (holes by zero).
    """
    levels = []
    for fake, real in zip(fake_activations, real_activations, strict=True):
        error = (fake - real.detach()).square()
        if mask is not None:
            error = error * (1 - scale_mask(mask.to(error.dtype), error.shape[2:], "bilinear"))
        levels.append(error.mean())
    return torch.stack(levels).mean()


def style_loss(activations: Sequence[Tensor], target_activations: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Compare textures in the hole: distance of Gram matrices, relative to the target's energy.

    Source: Gatys et al. (CVPR 2016), section 2.2; for holes Liu et al., *Partial Convolutions* (ECCV 2018).

    Args:
        activations: levels (B, C, h, w) of the composite; a position counts by its share of hole.
        target_activations: the same of the photo, without gradients.
        mask: (B, 1, H, W), 1 = hole.
    """
    levels = []
    for ours, theirs in zip(activations, target_activations, strict=True):
        weights = F.adaptive_avg_pool2d(mask, (ours.shape[2], ours.shape[3])).flatten(2)
        count = weights.sum(2, keepdim=True).clamp(min=4.0)
        ours, theirs = ours.flatten(2), theirs.flatten(2)
        gram = (ours * weights) @ ours.transpose(1, 2) / count
        target = (theirs * weights) @ theirs.transpose(1, 2) / count
        energy = target.diagonal(dim1=1, dim2=2).sum(1).clamp(min=1e-3)
        distance = (gram - target).square().sum((1, 2)).add(1e-12).sqrt()  # finite gradient where equal
        levels.append((distance / energy).mean())
    return torch.stack(levels).mean()


def block_losses(
    activations: Sequence[Tensor], target_activations: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Compare block outputs of a frozen network, levels (B, C, h, w), averaged over levels.

    Returns:
        Squared distance of the outputs, each position scaled to unit length over channels; and squared
        distance of their means over positions, relative to the target's.
    """
    distances, means = [], []
    for ours, theirs in zip(activations, target_activations, strict=True):
        units = F.normalize(ours, dim=1, eps=1e-3) - F.normalize(theirs, dim=1, eps=1e-3)
        distances.append(units.square().sum(1).mean())
        mean, target = ours.mean((2, 3)), theirs.mean((2, 3))
        means.append(((mean - target).square().sum(1) / target.square().sum(1).clamp(min=1e-3)).mean())
    return torch.stack(distances).mean(), torch.stack(means).mean()


def region_weights(mask: Tensor, *, known: float, hole: float) -> Tensor:
    """Give each pixel the weight of its region, (B, 1, H, W)."""
    return known * (1 - mask) + hole * mask


def weighted_l1(prediction: Tensor, target: Tensor, mask: Tensor, *, known: float, hole: float) -> Tensor:
    """Absolute error weighted by region, plain mean over all pixels: not divided by the weights' sum.

    Args:
        prediction: (B, 3, H, W), the raw output.
        target: (B, 3, H, W).
        mask: (B, 1, H, W), 1 = hole.
        known: weight of known pixels (10 in the published system).
        hole: weight of hole pixels (0 in the published system).
    """
    return ((prediction - target).abs() * region_weights(mask, known=known, hole=hole)).mean()


def masked_patch_mse(prediction: Tensor, target: Tensor, token_mask: Tensor) -> Tensor:
    """Squared error on hidden tokens only: mean over a token's values, then over hidden tokens.

    Args:
        prediction: (B, N, D) values per token.
        target: (B, N, D).
        token_mask: (B, N), 1 = hidden. Without any hidden token the loss is 0.
    """
    per_token = (prediction - target).square().mean(2)
    hidden = token_mask.to(per_token.dtype)
    return (per_token * hidden).sum() / hidden.sum().clamp(min=1)
