"""Differentiable augmentation of what discriminators see, for small data sets.

Source:
    Zhao et al., *Differentiable Augmentation for Data-Efficient GAN Training* (NeurIPS 2020): colours,
    translation and cut-out; the mask is transformed along with its image, as in GRIG.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_LARGEST_SHIFT = 1 / 8  # of the side
_CUT_OUT = 1 / 2  # of the side
_GREY = 0.5


class Augmentation(NamedTuple):
    """One random transform for each image of a batch.

    Attributes:
        colours: ``(B, 3)`` in [0, 1): brightness, saturation, contrast.
        shift: ``(B, 2)`` whole pixels, down and right.
        cut: ``(B, 2)`` row and column of the centre of the square that is cut out.
        size: ``(H, W)`` of the images.
    """

    colours: Tensor
    shift: Tensor
    cut: Tensor
    size: tuple[int, int]

    def image(self, image: Tensor) -> Tensor:
        """Transform images ``(B, 3, H, W)``, differentiably; what comes in from outside is grey."""
        brightness, saturation, contrast = (c[:, None, None, None] for c in self.colours.to(image).T)
        image = image + (brightness - 0.5) / 2
        grey = image.mean(dim=1, keepdim=True)
        image = grey + (image - grey) * 2 * saturation
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        image = mean + (image - mean) * (contrast + 0.5)
        return torch.where(self._kept(image), _moved(image, self.shift), _GREY)

    def mask(self, mask: Tensor) -> Tensor:
        """Transform masks ``(B, 1, H, W)`` alike; what comes in or is cut out is no hole."""
        return torch.where(self._kept(mask), _moved(mask, self.shift), 0.0)

    def _kept(self, image: Tensor) -> Tensor:
        """``(B, 1, H, W)`` bool: pixels that show some of the image."""
        height, width = self.size
        rows = torch.arange(height, device=image.device)[None, :, None]
        columns = torch.arange(width, device=image.device)[None, None, :]
        (down, right), (row, column) = (
            v.to(image.device)[:, :, None, None].unbind(1) for v in (self.shift, self.cut)
        )
        inside = (rows >= down) & (rows < height + down) & (columns >= right) & (columns < width + right)
        reach = _CUT_OUT / 2
        cut = ((rows - row).abs() < height * reach) & ((columns - column).abs() < width * reach)
        return (inside & ~cut)[:, None]


def sample_augmentation(image: Tensor) -> Augmentation:
    """Draw a transform for each image of a batch ``(B, C, H, W)``, from torch's global generator."""
    count, (height, width) = len(image), image.shape[-2:]
    sides = torch.tensor([height, width])
    shift = ((2 * torch.rand(count, 2) - 1) * _LARGEST_SHIFT * sides).round().long()
    cut = (torch.rand(count, 2) * sides).long()
    return Augmentation(torch.rand(count, 3), shift, cut, (height, width))


def _moved(image: Tensor, shift: Tensor) -> Tensor:
    """Move each image by whole pixels; what is moved out comes in at the other side."""
    return torch.stack(
        [torch.roll(one, tuple(by), (-2, -1)) for one, by in zip(image, shift.tolist(), strict=True)]
    )
