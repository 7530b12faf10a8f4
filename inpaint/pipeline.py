"""One photo, end to end: picture and mask in, picture out, in the picture's own depth.

Each group of holes is cut out with its surroundings, filled at the size the network works best at, and
pasted back into the hole alone: pixels outside are never touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from inpaint.checkpoint import load_checkpoint
from inpaint.device import choose_device
from inpaint.errors import CheckpointError, ImageError, InpaintError, MaskError
from inpaint.framing import Box, hole_boxes, working_shape
from inpaint.images import hole_from_mask
from inpaint.images.depth import Pixels, ValueRange, find_range
from inpaint.models.inpainter import Inpainter
from inpaint.weights import locate

MODES = ("RGB", "RGBA", "L", "LA")
# Boxes of one size run together while their pixels fit into this many pictures of the working size.
MOST_TOGETHER = 16
# Smaller boxes (of small pictures) are mirrored up to this side: the network cannot halve less.
SMALLEST_SIDE = 64

BT601 = (0.299, 0.587, 0.114)  # grey of RGB

Holes = NDArray[np.bool_]
AnyImage = TypeVar("AnyImage", Image.Image, NDArray[Any])


class _Region(NamedTuple):
    """A box to fill and the size at which the network sees it."""

    box: Box
    shape: tuple[int, int]


class InpaintPipeline:
    """Fill holes in photos of any size with one network.

    Calls keep nothing between them, so one pipeline may serve several threads.

    Args:
        model: an :class:`inpaint.models.inpainter.Inpainter`, or any module that has its ``preset`` (with
            ``working_size``) and its call.
        device: where to run; see :func:`inpaint.device.choose_device`.
    """

    def __init__(self, model: nn.Module, *, device: str | torch.device = "auto") -> None:
        self.device = choose_device(device)
        self.model = model.eval().requires_grad_(False).to(self.device)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, *, device: str | torch.device = "auto"
    ) -> InpaintPipeline:
        """Load a shipped model by name, or any checkpoint by its path.

        Raises:
            WeightsError: the name is unknown or its file is not here.
            CheckpointError: the file is damaged, or holds no inpainting network.
            InpaintError: the device is not available.
        """
        chosen = choose_device(device)
        path = locate(name_or_path)
        model = load_checkpoint(path)
        if not isinstance(model, Inpainter):
            raise CheckpointError(
                f"{path} holds a {type(model).__name__}, expected a whole inpainting network; name another"
            )
        return cls(model, device=chosen)

    @property
    def working_size(self) -> int:
        """Side in pixels of the pictures the network was trained on."""
        return self.model.preset.working_size  # type: ignore[union-attr, return-value]

    @torch.inference_mode()
    def __call__(self, image: AnyImage, mask: Image.Image, *, dilate: int = 0) -> AnyImage:
        """Fill the holes of one picture.

        Args:
            image: a Pillow image in mode RGB, RGBA, L or LA; or an array of its own depth, ``(H, W)`` or
                ``(H, W, C)`` with C = 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha), integers or floats, whose
                range :func:`inpaint.images.depth.find_range` finds. Pixels in the holes are not read, nor is
                colour under full transparency.
            mask: the picture's size, any mode; white or opaque = hole, as in :mod:`inpaint.images`.
            dilate: grow the holes by this many pixels first.

        Returns:
            The same kind of image, of the same size, mode or type, and ``info``. Pixels outside the (grown)
            holes are bit-identical, and so is the whole alpha channel.

        Raises:
            ImageError: the picture's mode, channels or range of values are not supported.
            MaskError: the mask has another size or marks nothing, or ``dilate`` is negative.
            InpaintError: the device ran out of memory, or the network gave values that are not finite.
        """
        hole = read_hole(image, mask, dilate)
        pixels = np.array(image)
        unknown, values = hole | _transparent(pixels), find_range(pixels, hole)
        for regions in self._batches(hole):
            for region, fill in zip(regions, self._fill(pixels, unknown, regions, values), strict=True):
                _paste(pixels[region.box.slices], fill, hole[region.box.slices], values)
        if not isinstance(image, Image.Image):
            return pixels
        filled = Image.fromarray(pixels)
        filled.info = dict(image.info)
        return filled

    def require_prior(self) -> nn.Module:
        """The network's prior.

        Raises:
            InpaintError: it has none.
        """
        prior = getattr(self.model, "prior", None)
        if prior is None:
            name = self.model.preset.name  # type: ignore[union-attr]
            raise InpaintError(f"model {name} has no prior to show; choose one that has, such as acr-small")
        return prior

    def _batches(self, hole: Holes) -> Iterator[list[_Region]]:
        """Boxes of the same working shape together, within the memory budget."""
        by_shape: defaultdict[tuple[int, int], list[_Region]] = defaultdict(list)
        for box in hole_boxes(hole, smallest=self.working_size):
            shape = working_shape(hole[box.slices], self.working_size)
            by_shape[shape].append(_Region(box, shape))
        for (height, width), regions in by_shape.items():
            together = max(1, MOST_TOGETHER * self.working_size**2 // (height * width))
            for start in range(0, len(regions), together):
                yield regions[start : start + together]

    def _fill(
        self, pixels: Pixels, unknown: Holes, regions: list[_Region], values: ValueRange
    ) -> list[NDArray[np.float32]]:
        """Predict regions of one working shape; each comes back as RGB in [0, 1] at its box's size."""
        pairs = [
            _shrink(_to_rgb(pixels[box.slices], values), unknown[box.slices], shape) for box, shape in regions
        ]
        image = torch.stack([image for image, _ in pairs])
        mask = torch.stack([mask for _, mask in pairs])
        # Real pixels next to the hole make the enlarged fill meet them without a seam.
        filled = torch.where(mask > 0, self._predict(image, mask), image)
        return [_enlarge(one, region.box.shape) for one, region in zip(filled, regions, strict=True)]

    def _predict(self, image: Tensor, mask: Tensor) -> Tensor:
        """Run the network on ``(B, 3, H, W)`` and ``(B, 1, H, W)``, any size, on its device."""
        height, width = image.shape[-2:]
        image, mask = _mirror_up(image), _mirror_up(mask)
        try:
            prediction = self.model(image.to(self.device), mask.to(self.device)).float().cpu()
        except torch.OutOfMemoryError as error:
            raise InpaintError(
                f"{self.device} ran out of memory on {len(image)} x {height} x {width} pixels; use device cpu"
            ) from error
        if not torch.isfinite(prediction).all():
            raise InpaintError("the network gave values that are not finite; its checkpoint is unfit for use")
        return prediction[..., :height, :width]


def read_hole(image: AnyImage, mask: Image.Image, dilate: int = 0) -> Holes:
    """Check that picture and mask go together, and return the holes as ``(H, W)`` bool.

    Raises:
        ImageError: the picture's mode is not supported.
        MaskError: the mask has another size or marks nothing, or ``dilate`` is negative.
    """
    if isinstance(image, Image.Image):
        if image.mode not in MODES:
            raise ImageError(
                f"got a picture in mode {image.mode}, expected {', '.join(MODES)}; use inpaint.read_image"
            )
        width, height = image.size
    else:
        if image.ndim != 2 and (image.ndim != 3 or image.shape[2] not in (2, 3, 4)):
            raise ImageError(f"got an array of shape {image.shape}, expected (H, W) or (H, W, 2, 3 or 4)")
        height, width = image.shape[:2]
    if mask.size != (width, height):
        raise MaskError(
            f"the mask is {mask.width} x {mask.height} pixels, the picture {width} x {height}; "
            "give a mask of the picture's size"
        )
    if dilate < 0:
        raise MaskError(f"got dilate {dilate}, expected 0 or more pixels")
    hole = hole_from_mask(mask)
    if not hole.any():
        raise MaskError("the mask is empty: nothing is marked as a hole; paint white what should be filled")
    if dilate:
        # The square of inpaint.mask.dilate, side by side: quick at any radius and size.
        line = np.ones((1, 2 * min(dilate, max(hole.shape)) + 1), np.uint8)
        hole = cv2.dilate(cv2.dilate(hole.astype(np.uint8), line), line.T) > 0
    return hole


def _transparent(pixels: Pixels) -> Holes:
    """Where the picture has no visible colour: what lies there is often black or noise, not a part of it."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return np.zeros(pixels.shape[:2], np.bool_)
    return pixels[..., -1] == 0


def _to_rgb(pixels: Pixels, values: ValueRange) -> NDArray[np.float32]:
    """``(H, W)`` or ``(H, W, C)`` of any depth to ``(H, W, 3)`` in [0, 1]: grey repeated, no alpha."""
    grey = pixels if pixels.ndim == 2 else pixels[..., 0] if pixels.shape[2] == 2 else None
    return values.to_unit(pixels[..., :3] if grey is None else np.stack([grey] * 3, axis=-1))


def _shrink(image: NDArray[np.float32], unknown: Holes, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Picture ``(3, h, w)`` and mask ``(1, h, w)`` at ``shape``, which is at most the box's own.

    Area averages see only their own cell, and a cell that touches a hole is a hole: so no known cell carries
    colour from a hole.
    """
    mask = unknown.astype(np.float32)
    if image.shape[:2] != shape:
        size = shape[::-1]  # cv2 wants (W, H)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask > 0).float()[None]


def _enlarge(image: Tensor, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``(3, h, w)`` in [0, 1] to ``(H, W, 3)``, which may reach a little beyond [0, 1]."""
    pixels = image.float().permute(1, 2, 0).cpu().numpy()
    if pixels.shape[:2] != tuple(shape):
        pixels = cv2.resize(pixels, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(pixels, np.float32)


def _mirror_up(tensor: Tensor) -> Tensor:
    """Mirror right and bottom edges, as often as it takes, up to the smallest side the network can halve."""
    missing = [(0, max(0, SMALLEST_SIDE - side)) for side in tensor.shape[-2:]]
    return torch.from_numpy(np.pad(tensor.numpy(), [(0, 0), (0, 0), *missing], mode="symmetric"))


def _paste(pixels: Pixels, fill: NDArray[np.float32], hole: Holes, values: ValueRange) -> None:
    """Take the holes' colour from ``fill``, RGB in [0, 1], by selection and in place; alpha stays."""
    chosen = fill[hole].clip(0, 1)
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        pixels[..., :3][hole] = values.from_unit(chosen, pixels.dtype)
        return
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    grey[hole] = values.from_unit(chosen @ np.array(BT601, np.float32), pixels.dtype)
