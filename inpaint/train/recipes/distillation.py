"""A second target of a prior's pre-training: a frozen network's features, of hidden tokens above all.

Source:
    Predicting features of hidden patches is MaskFeat's idea (Wei et al., CVPR 2022); network, layers and
    weights are ours.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaint.features.perceptual import MobileNetPyramid
from inpaint.models.patch_autoencoder import PatchAutoencoder

_TAPS = {13: 96, 17: 320}  # blocks of MobileNetV2, 1/16 and 1/32 of the resolution: their channels
_VISIBLE = 0.25  # what a visible token counts, a hidden one being 1


class FeatureDistillation:
    """Predict MobileNetV2's features of every token from what the decoder of an autoencoder gives.

    The heads are needed in training only: the autoencoder's weights, keys and outputs stay what they are.

    Args:
        autoencoder: on the device it is trained on.
        weights: MobileNetV2 with torchvision's key names.

    Raises:
        CheckpointError: ``weights`` is something else.
    """

    def __init__(self, autoencoder: PatchAutoencoder, weights: Path) -> None:
        device = autoencoder.mean.device
        self._grid = autoencoder.grid
        self._network = MobileNetPyramid(tuple(_TAPS)).load_weights(weights).to(device)
        self._network.to(memory_format=torch.channels_last)
        self.heads = nn.ModuleList(nn.Linear(autoencoder.feature_channels, c) for c in _TAPS.values())
        self.heads.to(device)
        autoencoder.get_submodule("to_pixels").register_forward_pre_hook(self._keep_decoded)

    def loss(self, image: Tensor, hidden: Tensor) -> Tensor:
        """Compare what was decoded last with the features of ``image`` in [0, 1].

        Smooth L1 of features standardised by channel over the batch, mean over a token's channels, then over
        the tokens of ``hidden`` ``(B, N)``, 1 = hidden; the sum over both blocks.
        """
        weights, total = hidden + _VISIBLE * (1 - hidden), hidden.new_zeros(())
        for head, target in zip(self.heads, self._targets(image), strict=True):
            errors = F.smooth_l1_loss(head(self._decoded).float(), target, reduction="none").mean(2)
            total = total + (errors * weights).sum() / hidden.sum().clamp(min=1)
        return total

    @torch.no_grad()
    def _targets(self, image: Tensor) -> list[Tensor]:
        """Standardised features ``(B, N, C)`` of each block."""
        maps = self._network(image.contiguous(memory_format=torch.channels_last))
        maps = [F.interpolate(one.float(), self._grid, mode="bilinear") for one in maps]
        # Clamped: these features have heavy tails, which would rule the loss.
        return [F.batch_norm(one, None, None, training=True).clamp(-5, 5).flatten(2).mT for one in maps]

    def _keep_decoded(self, _: nn.Module, inputs: tuple[Tensor]) -> None:
        """Keep the decoder's output as tokens ``(B, N, E)``; a convolutional one is ``(B, E, h, w)``."""
        (decoded,) = inputs
        if decoded.ndim == 4:
            decoded = F.adaptive_avg_pool2d(decoded, self._grid).flatten(2).mT
        self._decoded = decoded
