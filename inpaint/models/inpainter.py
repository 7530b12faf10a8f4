"""A whole inpainting network: any image and mask in, a prediction out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from inpaint.framing import pad_to_multiple
from inpaint.mask import binarize, check_pair
from inpaint.models.adapter import PriorAdapter
from inpaint.models.fcmae import FcmaePreset
from inpaint.models.generator import FourierGenerator, GeneratorPreset
from inpaint.models.mae import MaePreset
from inpaint.models.patch_autoencoder import PatchAutoencoder


@dataclass(frozen=True)
class InpainterPreset:
    """Hyper-parameters of a whole network, stored with its checkpoint."""

    name: str
    generator: GeneratorPreset
    prior: MaePreset | FcmaePreset | None = field(default=None, metadata={"formerly": "mae"})
    """The prior, a masked autoencoder of either kind; None for a generator alone (LaMa)."""
    prior_features: bool = True
    """Add the prior's features to the generator; False uses its attention alone."""
    working_size: int = 256
    """Side in pixels of the images it was trained on: where its results are best."""


class Inpainter(nn.Module):
    """Prior, adapter and generator behind one call.

    The prior is frozen; without one the generator runs alone. Without an adapter the prior's features are
    left out.
    """

    def __init__(
        self,
        preset: InpainterPreset,
        generator: FourierGenerator,
        prior: PatchAutoencoder | None = None,
        adapter: PriorAdapter | None = None,
    ) -> None:
        super().__init__()
        self.preset = preset
        self.generator = generator
        self.prior = prior
        self.adapter = adapter
        if prior is not None:
            prior.requires_grad_(False)

    def train(self, mode: bool = True) -> Inpainter:
        """Switch to training; the prior stays in evaluation mode, it is frozen."""
        super().train(mode)
        if self.prior is not None:
            self.prior.eval()
        return self

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Predict the whole image, ``(B, 3, H, W)``, known region included; clamped to [0, 1] in evaluation.

        Args:
            image: ``(B, 3, H, W)`` float RGB in [0, 1], any H and W. Hole pixels are not read.
            mask: ``(B, 1, H, W)``, 1 = hole, of each image; empty and full ones are allowed.

        Raises:
            ShapeError: if the two do not fit.
        """
        check_pair(image, mask)
        height, width = image.shape[-2:]
        mask = binarize(mask)
        image = torch.where(mask > 0, 0.0, image)
        # The lowest resolution must leave two cells to reflect; an adapter starts from half of it.
        multiple = 2 ** (self.preset.generator.downsamplings + 1)
        padded, padded_mask = pad_to_multiple(image, multiple), pad_to_multiple(mask, multiple)
        levels, attention = self.consult_prior(padded, padded_mask)  # see FourierGenerator.forward
        prediction = self.generator(padded, padded_mask, levels, attention)[..., :height, :width]
        return prediction if self.training else prediction.clamp(0, 1)

    def consult_prior(self, image: Tensor, mask: Tensor) -> tuple[list[Tensor] | None, Tensor | None]:
        """What the generator gets from the prior for a padded image: the adapter's levels, and attention."""
        if self.prior is None:
            return None, None
        with torch.no_grad():
            known = self.prior(image, mask)
        size = (image.shape[-2], image.shape[-1])
        levels = None if self.adapter is None else self.adapter(known.features, size)
        return levels, known.attention
