"""A perceptual loss from our own masked autoencoder: what its frozen encoder makes of whole pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from inpaint.checkpoint import load_checkpoint
from inpaint.errors import CheckpointError, ShapeError
from inpaint.models.inpainter import Inpainter
from inpaint.models.mae import MaskedAutoencoder

_DEPTHS = 3  # taps: after a third, two thirds and all of the encoder's blocks


class MaeFeatures(nn.Module):
    """The encoder of a masked autoencoder that sees every token, frozen, in eval mode, in float32.

    Args:
        autoencoder: trained; its decoder is not used.

    Source: the idea of an MAE as a loss for restoration is that of arXiv 2303.16411; depths and distance are
        ours, the distance being that of `inpaint.train.perceptual.SqueezeNetFeatures`.
    """

    def __init__(self, autoencoder: MaskedAutoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder.float()
        blocks = len(autoencoder.encoder)
        self.depths = sorted({-(-blocks * third // _DEPTHS) for third in range(1, _DEPTHS + 1)})
        self.requires_grad_(False)
        self.train(False)

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Load the checkpoint that `inpaint train mae` wrote, or the prior of a whole inpainting network.

        Raises:
            CheckpointError: the file is missing, unreadable or holds another kind of network.
        """
        network = load_checkpoint(path)
        autoencoder = network.prior if isinstance(network, Inpainter) else network
        if not isinstance(autoencoder, MaskedAutoencoder):
            raise CheckpointError(
                f"{path} holds a {type(network).__name__} without one, expected a masked autoencoder: "
                "a checkpoint of inpaint train mae, or of a network with such a prior"
            )
        return cls(autoencoder)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, also inside a network that is put to training."""
        return super().train(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Give the tokens at up to three depths of the encoder.

        Args:
            image: (B, 3, H, W) RGB in [0, 1]; brought to the autoencoder's square, whatever its size.

        Returns:
            Float32 tensors (B, N, D), each token standardised over its channels; a class token comes first.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ShapeError(f"got {tuple(image.shape)}, expected a picture batch (B, 3, H, W)")
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

    def feature_distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare pictures by their tokens; differentiable in both.

        Tokens are scaled to unit length; squared differences are summed over channels and averaged over
        tokens and then over depths.

        Args:
            prediction: (B, 3, H, W) RGB in [0, 1].
            target: as `prediction`.

        Returns:
            (B,) float32 distances from 0, for equal pictures, to 4.
        """
        if prediction.shape != target.shape:
            raise ShapeError(
                f"got pictures of {tuple(prediction.shape)} and {tuple(target.shape)}, expected equal shapes"
            )
        # Standardised tokens have length sqrt(D): their mean over channels is the sum of unit vectors.
        pairs = zip(self(prediction), self(target), strict=True)
        return torch.stack([(a - b).square().mean((1, 2)) for a, b in pairs]).mean(0)
