"""MI-GAN behind the call of our networks: a small, fast generator, run by ONNX Runtime.

Source: Sargsyan et al., "MI-GAN: A Simple Baseline for Image Inpainting on Mobile Devices" (ICCV 2023); the
authors' ``migan_pipeline_v2.onnx``, which crops, scales to 512 pixels and blends by itself.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from inpaint.errors import CheckpointError, require
from inpaint.mask import check_pair


class Migan(nn.Module):
    """The published ONNX pipeline, read from ``migan_pipeline_v2.onnx``.

    Raises:
        InpaintError: ONNX Runtime is not installed.
        CheckpointError: the file cannot be read, or does not take an image and a mask.
    """

    preset = SimpleNamespace(name="migan", working_size=512)

    def __init__(self, path: Path) -> None:
        super().__init__()
        onnxruntime = require("onnxruntime", "migan", "onnx", "ONNX Runtime")
        try:
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no common base class of its errors
            raise CheckpointError(f"{path} cannot be read as an ONNX network; get it again") from error
        if {given.name for given in self._session.get_inputs()} != {"image", "mask"}:
            raise CheckpointError(f"{path} is another network; expected the inputs image and mask")

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Predict as :meth:`inpaint.models.inpainter.Inpainter.forward` does, in 8 bits, on the CPU."""
        check_pair(image, mask)
        pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        known = np.where(mask.cpu().numpy() > 0, 0, 255).astype(np.uint8)  # theirs: 255 = known
        pairs = ({"image": pixels[i : i + 1], "mask": known[i : i + 1]} for i in range(len(pixels)))
        filled = [np.asarray(self._session.run(None, pair)[0]) for pair in pairs]
        return torch.from_numpy(np.concatenate(filled)).to(image) / 255
