"""One photo, end to end: image and mask in, image out, in the image's own depth.

Every hole is filled at its own scale: fine damage in small windows, holes that the network can span in
larger ones, both at the image's own scale; thicker holes are shown smaller, with their surroundings, and
take their detail from there. Fills are pasted into the holes alone: pixels outside are never touched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from inpaint.checkpoint import load_checkpoint
from inpaint.convert.migan import Migan
from inpaint.device import choose_device, is_out_of_memory
from inpaint.errors import CheckpointError, InpaintError, MaskError, MaskWarning, note
from inpaint.fills.canvas import Bools, Canvas, Colours, shrink_hole, transparent_pixels
from inpaint.fills.detail import Enlarged, add_detail, add_texture
from inpaint.fills.gaussian import predict_gaussian
from inpaint.fills.harmonise import AROUND, add_grain, match_colours, remove_step
from inpaint.fills.holes import check_image, doubt_mask, faint_rim, find_hole
from inpaint.framing import CELL, Box, ThickHole, Window, hole_windows, surround, thick_holes, tight_box
from inpaint.images import mask_from_image
from inpaint.images.depth import ValueRange, find_range, to_array
from inpaint.inference import InferenceInpainter, Precision, choose_dtype
from inpaint.models.inpainter import Inpainter
from inpaint.refine import refine as refine_image
from inpaint.weights import locate

FINE = 16
"""Holes of at most so many pixels are fine damage: dust, scratches, thin text."""
NARROW = 5
"""Holes into which no larger square fits are filled without a network, which would not do better."""
FINE_MARGIN, FINE_SMALLEST, FINE_LARGEST = 40, 96, 320
"""Known surroundings of fine damage, and the smallest and largest window on it, in pixels."""
THICKEST = 0.5
"""How thick a hole may be where the network sees it, in working sizes: thicker ones are shown smaller."""
MARGIN, LARGEST = 0.5, 3.0
"""Known surroundings of other holes, and the largest window, in working sizes."""
OCTAVES = 2
"""Refined passes over a hole that is shown smaller, each at twice the size of the one before."""
# Windows of one shape run together while their pixels fit into this many images of the working size.
MOST_TOGETHER = 16
# Smaller windows (of small images) are mirrored up to this side: the network cannot halve less.
SMALLEST_SIDE = 32
_STRIP = 64  # rows of a photo

AnyImage = TypeVar("AnyImage", Image.Image, NDArray[Any])


class InpaintPipeline:
    """Fill holes in photos of any size with one network.

    Calls keep nothing between them, so one pipeline may serve several threads.

    Args:
        model: an :class:`inpaint.models.inpainter.Inpainter`, or any module that has its ``preset`` (with
            ``working_size``) and its call.
        device: where to run; see :func:`inpaint.device.choose_device`.
        precision: what the network computes in; see :func:`inpaint.inference.choose_dtype`.
    """

    def __init__(
        self, model: nn.Module, *, device: str | torch.device = "auto", precision: Precision = "float32"
    ) -> None:
        self.device = choose_device(device)
        self.model = model.eval().requires_grad_(False).to(self.device)
        dtype = choose_dtype(precision, self.device) if isinstance(model, Inpainter) else torch.float32
        self.precision = str(dtype).removeprefix("torch.")
        self.network: Any = self.model  # what computes
        self._generator: Any = None  # for fine damage; other modules than ours fill it alone
        if isinstance(model, Inpainter):
            self.network = InferenceInpainter(model, dtype, holes_only=True).to(self.device)
            self._generator = self.network.without_prior()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
    ) -> InpaintPipeline:
        """Load a model by name, fetched if it is not here, or any checkpoint by its path.

        Raises:
            WeightsError: the name is unknown, or its weights are not to be had; see `inpaint models`.
            CheckpointError: the file is damaged, or holds no inpainting network.
            InpaintError: the device is not available.
        """
        chosen = choose_device(device)
        path = locate(name_or_path)
        model = Migan(path) if path.suffix == ".onnx" else load_checkpoint(path)
        if not isinstance(model, Inpainter | Migan):
            raise CheckpointError(f"{path} holds a {type(model).__name__}, expected an inpainting network")
        return cls(model, device=chosen, precision=precision)

    @property
    def working_size(self) -> int:
        """Side in pixels of the images the network was trained on."""
        return self.model.preset.working_size  # type: ignore[union-attr, return-value]

    def __call__(
        self,
        image: AnyImage,
        mask: Image.Image | NDArray[Any],
        *,
        dilate: int | None = None,
        harmonise: bool = True,
        strict: bool = False,
        progress: Callable[[float], None] | None = None,
        refine: bool = False,
        mask_advice: str = "white must be the hole; invert the mask if white is what should stay",
    ) -> AnyImage:
        """Fill the holes of one image.

        Args:
            image: a Pillow image in mode RGB, RGBA, L or LA; or an array of its own depth, ``(H, W)`` or
                ``(H, W, C)`` with C = 1, 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha), integers or floats,
                whose range :func:`inpaint.images.depth.find_range` finds. Pixels in the holes are not read,
                nor is colour under full transparency.
            mask: the image's size; a Pillow image of any mode, or an array of its kind or of bools. White,
                opaque or True = hole, see :mod:`inpaint.images.masks`. Its soft rim belongs to the hole.
            dilate: grow the holes by this many pixels first; 0 takes the mask as it is, None grows thick
                holes by a little that follows the image's size, see :func:`inpaint.fills.holes.find_hole`.
            harmonise: colours, texture and grain of the surroundings, and no step of colour at the rim.
            strict: an implausible mask is an error, not a :class:`inpaint.errors.MaskWarning`.
            progress: told after each part which share of the hole is filled, 0 to 1.
            refine: fill holes that are shown smaller again in up to ``OCTAVES`` octaves, each guided by the
                one below, see :func:`inpaint.refine.refine`: about 40 times slower.
            mask_advice: what to do about an implausible mask, added to what is odd about it.

        Returns:
            The same kind of image, of the same size, mode or type, and ``info``. Pixels outside the holes, as
            :func:`inpaint.fills.holes.find_hole` gives them, are bit-identical, and so is all alpha.

        Raises:
            ImageError: the image's type, mode, channels or range of values are not supported.
            MaskError: the mask has another size or marks nothing, ``dilate`` is negative, or, with
                ``strict``, the mask is implausible.
            InpaintError: the device ran out of memory, the network gave values that are not finite, or it has
                no features to refine.
        """
        if refine and not isinstance(self.model, Inpainter):
            raise InpaintError("this model cannot be refined; choose another, such as acr-small")
        check_image(image, mask)
        coverage = to_array(mask_from_image(mask))
        hole = find_hole(coverage, dilate)
        if doubt := doubt_mask(image, coverage, hole):
            if strict:
                raise MaskError(f"{doubt}; {mask_advice}")
            note(f"{doubt}; {mask_advice}", MaskWarning)
        # What windows on the holes see: the rest of a large photo is not looked at.
        box = tight_box(hole)
        assert box is not None  # find_hole gives no empty one
        half = round(LARGEST * self.working_size / 2)
        seen = surround(box.grown(half, hole.shape), 2 * max(box.shape), hole.shape)
        filled = image.copy()
        if isinstance(filled, Image.Image):
            corners = seen.left, seen.top, seen.right, seen.bottom
            values, pixels = ValueRange(0, 255), to_array(filled, corners)
        else:
            flat = filled[..., 0] if filled.shape[2:] == (1,) else filled
            values, pixels = find_range(flat, hole), flat[seen.slices]
        hole = hole[seen.slices]
        unknown = faint_rim(coverage[seen.slices], hole)
        unknown |= hole
        if (hidden := transparent_pixels(pixels)) is not None:
            unknown |= hidden
        canvas = Canvas(pixels, unknown, values, harmonise=harmonise)
        canvas.tell(progress, int(np.count_nonzero(hole)) if progress else 1)
        size = self.working_size
        fine, middle, thick = hole.copy(), np.zeros(hole.shape, np.bool_), []
        for part in thick_holes(hole, FINE):
            fine[part.box.slices] &= ~part.mask
            if part.thickness > THICKEST * size:
                thick.append(part)
            else:
                middle[part.box.slices] |= part.mask
        self._fill_windows(
            canvas, fine, margin=FINE_MARGIN, largest=FINE_LARGEST, smallest=FINE_SMALLEST, fine=True
        )
        self._fill_windows(canvas, middle, smallest=size, near=size // 2)
        for part in thick:
            self._fill_thick(canvas, part, refine)
        if isinstance(filled, Image.Image):
            inner = box.within(seen)
            _paste_pixels(filled, pixels[inner], hole[inner], box)
        return filled

    def with_networks(self, wrap: Callable[[Any], Any]) -> InpaintPipeline:
        """This pipeline with its networks, calls of ``(image, mask)``, replaced by ``wrap(network)``."""
        other = copy.copy(self)
        other.network = wrap(self.network)
        other._generator = None if self._generator is None else wrap(self._generator)
        return other

    def _fill_windows(
        self,
        canvas: Canvas,
        hole: Bools,
        *,
        margin: int | None = None,
        largest: int | None = None,
        smallest: int = SMALLEST_SIDE,
        near: int = 2 * CELL,
        fine: bool = False,
    ) -> None:
        """Fill holes at the canvas's own scale, wave by wave, windows of one shape together.

        Where the device has too little memory for one window, its hole is filled in windows of half the side.
        Margin and largest window are those of the working size where they are not given.
        """
        if not hole.any():
            return
        margin = round(MARGIN * self.working_size) if margin is None else margin
        largest = round(LARGEST * self.working_size) if largest is None else largest
        windows = hole_windows(hole, margin=margin, largest=largest, smallest=smallest, near=near)
        for _, wave in groupby(windows, key=lambda window: (window.wave, window.box.shape)):
            # Groups may overlap: what an earlier window filled is not filled again.
            pending = [w for w in wave if (canvas.unknown[w.core.slices] & hole[w.core.slices]).any()]
            while pending:
                height, width = pending[0].box.shape
                count = max(1, MOST_TOGETHER * self.working_size**2 // (height * width))
                together, pending = pending[:count], pending[count:]
                self._fill_batch(canvas, hole, together, fine)

    def _fill_batch(self, canvas: Canvas, hole: Bools, windows: list[Window], fine: bool) -> None:
        """Fill the cores of windows of one shape."""
        model: Any = self.model
        images = np.stack([canvas.read(window.box) for window in windows])
        unknown = np.stack([canvas.unknown[window.box.slices] for window in windows])
        cores = np.stack([_core(canvas, hole, window) for window in windows])
        try:
            if fine:
                fills = self._predict_fine(images, unknown, cores)
            elif canvas.guide is not None:
                guides = np.stack([canvas.guide[window.box.slices] for window in windows])
                fills = self._predict(images, unknown, guides, network=partial(refine_image, model))
            else:
                fills = self._predict(images, unknown)
        except MemoryError:
            half = max(windows[0].box.shape) // 2 // CELL * CELL
            if len(windows) > 1:
                for part in (windows[: len(windows) // 2], windows[len(windows) // 2 :]):
                    self._fill_batch(canvas, hole, part, fine)
            elif half < SMALLEST_SIDE:
                raise InpaintError(f"{self.device} ran out of memory; use device cpu") from None
            else:
                core = np.zeros_like(hole)
                core[windows[0].core.slices] = hole[windows[0].core.slices]
                self._fill_windows(canvas, core, margin=half // 4, largest=half, fine=fine)
            return
        for window, fill in zip(windows, fills, strict=True):
            core = _core(canvas, hole, window)
            if canvas.harmonise and not fine:
                image, known = canvas.read(window.box), ~canvas.unknown[window.box.slices]
                match_colours(fill, image, known, core)
                add_texture(fill, image, ~known, core, 2 if canvas.grain else 4)  # 4 where shown smaller
                remove_step(fill, image, known, core)
                if canvas.grain:
                    add_grain(fill, image, known, core)
            canvas.write(window.box, fill, core)

    def _fill_thick(self, canvas: Canvas, part: ThickHole, refine: bool) -> None:
        """Fill a hole too thick for the network: shown smaller with its surroundings, then enlarged."""
        size = self.working_size
        box = surround(part.box, max(round(2 * max(part.box.shape)), size), canvas.unknown.shape)
        scale = THICKEST * size / part.thickness
        hole = np.zeros(box.shape, np.bool_)
        hole[part.box.within(box)] = part.mask
        octaves = [scale * 2**octave for octave in range(1 + OCTAVES * refine)]
        pixels, scales = None, [min(1, scale), *(min(1, octave) for octave in octaves[1:] if octave < 2)]
        for scale in scales:
            # Whole cells: the network pads to them, and what is mirrored there is no evidence.
            height, width = box.shape
            if scale < 1:
                height, width = (min(side, max(1, round(side * scale / CELL)) * CELL) for side in box.shape)
            shape = height, width
            image, unknown = canvas.shrink(box, shape)
            small = Canvas(image, unknown.copy(), ValueRange(0, 1), harmonise=canvas.harmonise, grain=False)
            whole = Box(0, 0, *shape)
            small.guide = None if pixels is None else Enlarged(pixels, whole).read(whole)
            small_hole = shrink_hole(hole, shape)
            if scale == scales[-1]:  # most of the time
                small.tell(canvas.part_of(int(np.count_nonzero(hole))), int(np.count_nonzero(small_hole)))
            self._fill_windows(small, small_hole)
            pixels = small.pixels
        # Real pixels next to the hole make the enlarged fill meet them without a seam.
        window = part.box.grown(AROUND, canvas.unknown.shape).cut(box)
        fill = add_detail(Enlarged(small.pixels, box), unknown, canvas, where=window)
        hole = np.zeros(window.shape, np.bool_)
        hole[part.box.within(window)] = part.mask
        if canvas.harmonise:
            add_grain(fill, canvas.read(window), ~canvas.unknown[window.slices], hole)
        canvas.write(window, fill, hole)

    def _predict_fine(self, images: Colours, unknown: Bools, holes: Bools) -> Colours:
        """Fills of fine damage: see :func:`predict_gaussian`, with the generator's texture where it is wide.

        The prior is left out: its tokens are larger than the holes.
        """
        square = np.ones((NARROW + 1, NARROW + 1), np.uint8)
        outside: dict[str, Any] = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
        wide = np.flatnonzero([cv2.erode(hole.view(np.uint8), square, **outside).any() for hole in holes])
        textures: dict[int, Colours] = {}
        if wide.size:
            found = self._predict(images[wide], unknown[wide], network=self._generator)
            textures = dict(zip(wide.tolist(), found, strict=True))
        return predict_gaussian(images, unknown, holes, textures)

    @torch.inference_mode()
    def _predict(self, images: Colours, unknown: Bools, *guides: Colours, network: Any = None) -> Colours:
        """Run the network on ``(B, H, W, 3)`` and ``(B, H, W)``, any size; every call goes through here.

        Raises:
            MemoryError: the device has too little memory.
            InpaintError: the network gave values that are not finite.
        """
        height, width = unknown.shape[1:]
        parts = (images, unknown[..., None].astype(np.float32), *guides)
        tensors = (_mirror_up(torch.from_numpy(part).permute(0, 3, 1, 2)) for part in parts)
        try:
            prediction = (network or self.network)(*(one.to(self.device) for one in tensors)).float().cpu()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError from error
        if not torch.isfinite(prediction).all():
            raise InpaintError("the network gave values that are not finite; its checkpoint is unfit for use")
        return prediction[..., :height, :width].permute(0, 2, 3, 1).contiguous().numpy()


def _paste_pixels(image: Image.Image, pixels: NDArray[np.uint8], hole: Bools, box: Box) -> None:
    for top in range(0, box.shape[0], _STRIP):
        if hole[top : top + _STRIP].any():
            image.paste(Image.fromarray(pixels[top : top + _STRIP]), (box.left, box.top + top))


def _core(canvas: Canvas, hole: Bools, window: Window) -> Bools:
    """The pixels of a window that are to be filled, ``(H, W)`` bool of its box."""
    core, inside = window.core, np.zeros(window.box.shape, np.bool_)
    inside[core.within(window.box)] = hole[core.slices] & canvas.unknown[core.slices]
    return inside


def _mirror_up(tensor: Tensor) -> Tensor:
    """Mirror right and bottom edges, as often as it takes, up to the smallest side the network can halve."""
    missing = [(0, max(0, SMALLEST_SIDE - side)) for side in tensor.shape[-2:]]
    return torch.from_numpy(np.pad(tensor.numpy(), [(0, 0), (0, 0), *missing], mode="symmetric"))
