"""Refining a prediction by the fill of the octave below: slow, and off unless it is asked for."""

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaint.framing import pad_to_multiple
from inpaint.mask import binarize
from inpaint.models.inpainter import Inpainter

STEPS = 15
LEARNING_RATE = 0.002
"""Of Adam, on features; as published, like the number of steps."""


@torch.inference_mode(False)
def refine(model: Inpainter, image: Tensor, mask: Tensor, guide: Tensor) -> Tensor:
    """Predict an image whose hole, at half the size, looks like a coarser fill.

    The features that enter the Fourier blocks are changed, the weights are not: gradient descent on the L1
    distance of the halved prediction to the halved guide in the hole, and of the prediction to the known
    pixels, of which the network has its texture.

    Args:
        model: in evaluation mode.
        image: ``(B, 3, H, W)`` in [0, 1], as the result; hole pixels are not read.
        mask: ``(B, 1, H, W)``, 1 = hole.
        guide: ``(B, 3, H, W)``, the coarser fill, enlarged; read in the hole.

    Source:
        Kulshreshtha et al., "Feature Refinement to Improve High Resolution Image Inpainting" (2022).
    """
    height, width = image.shape[-2:]
    hole = binarize(mask)
    image, hole, guide = (
        pad_to_multiple(tensor, 2 ** (model.preset.generator.downsamplings + 1))
        for tensor in (torch.where(hole > 0, 0.0, image), hole, guide)
    )
    generator = model.generator
    inside = (F.avg_pool2d(hole, 2) == 1).float()
    target = F.avg_pool2d(guide, 2)
    with torch.no_grad():
        levels, attention = model.consult_prior(image, hole)
        filled, features = generator.front(image, hole, levels, attention)
    with torch.enable_grad():
        features = features.clone().requires_grad_()
        optimizer = torch.optim.Adam([features], lr=LEARNING_RATE)
        for _ in range(STEPS):
            prediction = generator.rear(filled, features, hole, attention)
            coarse = ((F.avg_pool2d(prediction, 2) - target).abs() * inside).sum((1, 2, 3))
            known = ((prediction - image).abs() * (1 - hole)).mean((1, 2, 3))
            optimizer.zero_grad()
            (coarse / (3 * inside.sum((1, 2, 3)) + 1) + known).sum().backward()
            optimizer.step()
    with torch.no_grad():
        prediction = generator.rear(filled, features, hole, attention)
    return prediction[..., :height, :width].clamp(0, 1)
