"""The patch discriminator: shapes, sizes, what a patch sees."""

from __future__ import annotations

import pytest
import torch

from inpaint.errors import ShapeError
from inpaint.models.discriminator import PatchDiscriminator


def test_published_size():
    network = PatchDiscriminator()
    assert sum(p.numel() for p in network.parameters()) == 6_962_369


@pytest.mark.parametrize(
    ("height", "width", "logits"), [(256, 256, (19, 19)), (128, 96, (11, 9)), (17, 32, (4, 5))]
)
def test_shapes(height, width, logits):
    network = PatchDiscriminator(4).eval()
    scores, activations = network(torch.rand(2, 3, height, width))
    assert scores.shape == (2, 1, *logits)
    assert [a.shape[1] for a in activations] == [4, 8, 16, 32, 64]
    assert activations[0].shape[2:] == (height // 2 + 1, width // 2 + 1)


def test_starts_undecided_and_with_lively_activations():
    torch.manual_seed(0)
    for width in (8, 64):
        scores, activations = PatchDiscriminator(width)(torch.rand(2, 3, 64, 64))
        assert scores.abs().max() < 3
        assert all(0.05 < a.std() < 5 for a in activations)


def test_a_logit_sees_a_patch_only():
    network = PatchDiscriminator(4).eval()
    image = torch.rand(1, 3, 256, 256)
    changed = image.clone()
    changed[..., :16, :16] = 0
    difference = (network(image)[0] - network(changed)[0]).abs()
    assert difference[0, 0, 0, 0] > 0 and difference[0, 0, 10:, 10:].max() == 0


def test_wrong_shapes_are_told():
    with pytest.raises(ShapeError, match="expected a batch of images"):
        PatchDiscriminator(4)(torch.zeros(1, 4, 32, 32))
