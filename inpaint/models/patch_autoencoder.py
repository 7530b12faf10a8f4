"""What every masked autoencoder of patches has in common, however it encodes and decodes.

Shapes: ``N`` tokens in a square grid, ``P = patch_size ** 2 * 3`` values of a patch. Images come in [0, 1]
and are normalised inside.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.features.frozen import IMAGENET_MEAN, IMAGENET_STD
from inpaint.mask import binarize, shrink_to_grid
from inpaint.tokens import normalise_patches, patchify, token_masks, unpatchify


class PriorFeatures(NamedTuple):
    """What a prior gives for a batch of masked images."""

    features: Tensor
    """``(B, C, h, w)``: one vector per token."""
    attention: Tensor | None
    """``(B, N, N)`` (queries, keys), ``N = h * w``, rows sum to one; None if the prior has none."""


class PatchAutoencoder(nn.Module, ABC):
    """Predict every patch of an image from those that are visible; also a prior.

    An image of any size is brought to a square of ``image_size`` pixels; ``feature_channels`` are those of
    the features it gives as a prior.
    """

    preset: Any

    def __init__(self, image_size: int, patch_size: int, feature_channels: int) -> None:
        super().__init__()
        side = image_size // patch_size
        self.image_size = image_size
        self.patch_size = patch_size
        self.grid = (side, side)
        self.feature_channels = feature_channels
        self.mean = nn.Buffer(torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    @abstractmethod
    def predict_patches(
        self, normalised: Tensor, hidden: Tensor, mask: Tensor | None = None, *, visible: int | None = None
    ) -> Tensor:
        """Predict every patch from the visible tokens: ``(B, N, P)`` in the units of the training target.

        Args:
            normalised: ``(B, 3, S, S)``, see :meth:`normalise`.
            hidden: ``(B, N)`` bool, True = not shown to the encoder.
            mask: ``(B, 1, S, S)``, 1 = hole, for networks that look into partly hidden patches.
            visible: tokens that every image shows, at least 1, where that is known: nothing has to be read
                back from the device then.
        """

    @abstractmethod
    def forward(self, image: Tensor, mask: Tensor) -> PriorFeatures:
        """Features and attention for a masked image of any size; hole pixels are never read.

        Attention goes to tokens that hold at least one known pixel; where an image has none it is uniform.
        """

    def normalise(self, image: Tensor) -> Tensor:
        """Bring ``[0, 1]`` colours to the global mean 0 and deviation 1 the network works in."""
        return (image - self.mean) / self.std

    def fit_square(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Bring an image of any size to the network's square; a pixel that the hole overlaps is a hole."""
        size = (self.image_size, self.image_size)
        if image.shape[-2:] == size:
            return image, binarize(mask)
        if image.shape[-2] < size[0] or image.shape[-1] < size[1]:
            image = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
        else:
            image = F.interpolate(image, size, mode="area")
        return image, shrink_to_grid(mask, size)

    @torch.no_grad()
    def reconstruct(self, image: Tensor, mask: Tensor) -> Tensor:
        """Predict every patch, the known ones too: ``(B, 3, S, S)`` in [0, 1]."""
        image, mask = self.fit_square(image, mask)
        hidden = token_masks(mask, self.patch_size).any
        return self.to_image(self.predict_patches(self.normalise(image), hidden, mask))

    def to_image(self, patches: Tensor) -> Tensor:
        """Predicted patches ``(B, N, P)`` as ``(B, 3, S, S)`` in [0, 1]."""
        image = unpatchify(patches, self.patch_size, self.grid)
        return (image * self.std + self.mean).clamp(0, 1)

    def target_patches(self, normalised: Tensor, *, per_patch: bool = False) -> Tensor:
        """The target of :meth:`predict_patches`; ``per_patch`` standardises each patch (not for a prior)."""
        patches = patchify(normalised, self.patch_size)
        return normalise_patches(patches) if per_patch else patches
