"""Distillation of a frozen network's features into a prior, in closed form."""

from __future__ import annotations

import pytest
import torch

from inpaint.models.presets import build_mae
from inpaint.train.recipes.prior import FeatureDistillation


def test_the_loss_compares_standardised_features_of_hidden_tokens_above_all(mobilenet_weights):
    torch.manual_seed(0)
    prior = build_mae("mae-tiny")  # 16 x 16 tokens
    distillation = FeatureDistillation(prior, mobilenet_weights)
    image = torch.rand(3, 3, 64, 64)
    hidden = torch.rand(3, 256) < 0.5
    prior.predict_patches(prior.normalise(image), hidden)
    targets = distillation._targets(image)
    assert [target.shape for target in targets] == [(3, 256, 96), (3, 256, 320)]
    assert max(target.abs().max() for target in targets) <= 5
    for head in distillation.heads:  # zero predictions: the loss is that of the targets themselves
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    weights = torch.where(hidden, 1.0, 0.25)
    expected = 0.0
    for target in targets:
        size = target.abs()
        smooth = torch.where(size < 1, size**2 / 2, size - 0.5).mean(2)
        expected += float((smooth * weights).sum() / hidden.sum())
    assert distillation.loss(image, hidden.float()).item() == pytest.approx(expected, rel=1e-5)
