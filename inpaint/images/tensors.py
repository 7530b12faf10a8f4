"""Pillow images to tensors and back; apart, since reading and writing files needs no torch."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inpaint.errors import ShapeError
from inpaint.images.modes import to_plain


def image_to_tensor(image: Image.Image) -> Tensor:
    """Turn an image into ``(1, 3, H, W)`` float32 RGB in [0, 1]; grey is repeated, alpha is left out."""
    pixels = np.array(to_plain(image).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255).contiguous()


def tensor_to_image(tensor: Tensor) -> Image.Image:
    """Turn ``(1, 3, H, W)`` or ``(3, H, W)`` float in [0, 1] into an ``RGB`` image, clamped and rounded.

    ShapeError for any other shape.
    """
    single = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    if single.ndim != 3 or len(single) != 3:
        raise ShapeError(f"got {tuple(tensor.shape)}, expected (3, H, W) or (1, 3, H, W): pass one image")
    pixels = single.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().contiguous().numpy())
