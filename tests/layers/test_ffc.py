"""Fourier units: what the transform itself promises."""

import pytest
import torch

from inpaint.layers.ffc import FourierResidualBlock, FourierUnit


def test_an_identity_in_the_frequency_domain_is_a_rectified_spectrum():
    unit = FourierUnit(1, 1).double().eval()
    torch.nn.init.eye_(unit.convolution.weight[:, :, 0, 0])
    torch.nn.init.constant_(unit.norm.running_var, 1 - 1e-5)
    impulse = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    impulse[..., 0, 0] = 1  # its spectrum is 1/6 everywhere, positive: the ReLU leaves it alone
    assert torch.allclose(unit(impulse), impulse, atol=1e-12)


@pytest.mark.parametrize("size", [(2, 2), (7, 5), (4, 9)])
def test_every_size_keeps_its_size(size):
    block = FourierResidualBlock(8)
    features = torch.rand(2, 8, *size)
    assert block(features).shape == features.shape


def test_a_change_in_one_corner_is_seen_in_the_other():
    torch.manual_seed(0)
    block = FourierResidualBlock(8).eval()
    features = torch.rand(1, 8, 32, 32)
    changed = features.clone()
    changed[..., 0, 0] += 5
    difference = (block(features) - block(changed)).abs()
    assert difference[..., 20:, 20:].max() > 1e-6


def test_the_transform_stays_in_single_precision_under_bf16():
    unit = FourierUnit(2, 2).eval()
    features = torch.rand(1, 2, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        low = unit(features.bfloat16())
    assert low.dtype == torch.float32
    assert torch.allclose(low, unit(features), atol=0.05)
