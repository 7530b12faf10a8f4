"""A perceptual loss from our own masked autoencoder: what its frozen encoder makes of whole images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from inpaint.features.frozen import TapNetwork, check_images

_DEPTHS = 3  # taps: after a third, two thirds and all of the encoder's blocks


class MaeFeatures(TapNetwork):
    """The encoder of a masked autoencoder that sees every token.

    Tokens are standardised over their channels. The distance scales them to unit length, sums squared
    differences over channels and averages over tokens and depths: from 0 to 4.

    Args:
        autoencoder: a trained ``inpaint.models.mae.MaskedAutoencoder``; its decoder is not used.

    Source: the idea of an MAE as a loss for restoration is that of arXiv 2303.16411; depths and distance are
        ours, the distance being that of `inpaint.features.squeezenet.SqueezeNetFeatures`.
    """

    weights = "a checkpoint of kind mae"

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder: Any = autoencoder
        blocks = len(self.autoencoder.encoder)
        self.depths = sorted({-(-blocks * third // _DEPTHS) for third in range(1, _DEPTHS + 1)})
        self.freeze()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Give the tokens at up to three depths of the encoder.

        Args:
            image: ``(B, 3, H, W)`` RGB in [0, 1]; brought to the autoencoder's square, whatever its size.

        Returns:
            Float32 tensors ``(B, N, D)``, each token standardised over its channels; a class token is first.
        """
        check_images(image)
        mae, side = self.autoencoder, self.autoencoder.preset.image_size
        with torch.autocast(image.device.type, enabled=False):
            image = image.float()
            if image.shape[-2:] != (side, side):
                image = F.interpolate(image, (side, side), mode="bilinear", antialias=True)
            tokens = mae.embed(mae.normalise(image)).flatten(2).transpose(1, 2) + mae.positions
            if mae.class_token is not None:
                tokens = torch.cat([mae.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
            taps = []
            for depth, block in enumerate(mae.encoder, start=1):
                tokens, _ = block(tokens)
                if depth in self.depths:
                    taps.append(F.layer_norm(tokens, tokens.shape[-1:]))
        return taps

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """The distance of one depth: standardised tokens have length sqrt(D), so a mean sums unit vectors."""
        return (first - second).square().mean((1, 2))
