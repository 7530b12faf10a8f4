"""Winograd's form of a convolution gives what the direct one gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from inpaint.layers import winograd
from inpaint.layers.winograd import WinogradConvolution


@pytest.mark.parametrize("tiles", [1, 5, 512])
@pytest.mark.parametrize("size", [(2, 2), (4, 8), (7, 13), (18, 5)])
def test_the_same_as_direct_convolutions(
    size: tuple[int, int], tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two convolutions, the second of some channels only, at sizes that are no multiples of a tile."""
    monkeypatch.setattr(winograd, "TILES", tiles)
    torch.manual_seed(0)
    features = torch.randn(3, 6, *size).contiguous(memory_format=torch.channels_last)
    weights, bias = [torch.randn(4, 6, 3, 3), torch.randn(5, 2, 3, 3)], torch.randn(9)
    padded = F.pad(features, (1, 1, 1, 1), mode="reflect")
    direct = [F.conv2d(padded, weights[0], bias[:4]), F.conv2d(padded[:, :2], weights[1], bias[4:])]
    got = WinogradConvolution(weights, bias)(features)
    torch.testing.assert_close(got, torch.cat(direct, dim=1), atol=1e-4, rtol=0)


def test_rounding_errors_stay_small() -> None:
    """With as many channels as the large networks have: hundredths of what a whole fill may differ by."""
    torch.manual_seed(0)
    features, weight = torch.randn(1, 512, 16, 16), torch.randn(8, 512, 3, 3) / 4608**0.5
    exact = F.conv2d(F.pad(features, (1, 1, 1, 1), mode="reflect").double(), weight.double())
    error = WinogradConvolution([weight], torch.zeros(8))(features) - exact
    assert error.square().mean().sqrt() < 3e-6
