"""What two small classification networks see: the feature measures of the fixed validation protocol.

They are not LPIPS and not FID, whose networks are others; their names say what they are. Both networks come
from files of the training data folder (``DATA/metrics``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn as nn
from torch import Tensor

from inpaint.errors import DataError
from inpaint.features.mobilenet import MobileNetV2Features
from inpaint.features.squeezenet import SqueezeNetFeatures

SQUEEZENET_FILE = "squeezenet1_1_caffe_fp16.safetensors"
MOBILENET_FILE = "mobilenet_v2_dequant_fp16.safetensors"


class FeatureMeasures(nn.Module):
    """Both networks of the protocol: ``squeezenet`` for sqd, ``mobilenet`` for fmd."""

    def __init__(self, squeezenet: SqueezeNetFeatures, mobilenet: MobileNetV2Features) -> None:
        super().__init__()
        self.squeezenet = squeezenet
        self.mobilenet = mobilenet

    @classmethod
    def from_folder(cls, folder: Path | str) -> Self:
        """Load both networks.

        Args:
            folder: ``DATA/metrics``.

        Raises:
            DataError: a file is missing.
            CheckpointError: a file is not what its name says.
        """
        paths = [Path(folder) / name for name in (SQUEEZENET_FILE, MOBILENET_FILE)]
        for path in paths:
            if not path.is_file():
                raise DataError(
                    f"got no feature network at {path}; expected the training data folder's metrics/"
                )
        return cls(SqueezeNetFeatures.from_file(paths[0]), MobileNetV2Features.from_file(paths[1]))

    @torch.inference_mode()
    def squeezenet_distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The sqd of each image: SqueezeNet feature distance, 0 for equal images.

        Args:
            prediction: ``(B, 3, H, W)`` in [0, 1].
            target: as ``prediction``.

        Returns:
            ``(B,)`` float32.
        """
        return self.squeezenet.feature_distance(prediction, target)

    @torch.inference_mode()
    def mobilenet_features(self, image: Tensor) -> Tensor:
        """What fmd, the Frechet distance on MobileNetV2 features, compares.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1].

        Returns:
            ``(B, 1280)`` float32.
        """
        return self.mobilenet(image)
