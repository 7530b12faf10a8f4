"""What the page and the API do, without HTTP: drawings in, fills and files out."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inpaint.errors import InpaintError
from inpaint.fills.holes import default_dilation, doubt_mask, find_hole
from inpaint.images import write_file
from inpaint.images.depth import Pixels
from inpaint.web.fills import Fills
from inpaint.web.jobs import Job, Jobs
from inpaint.web.masks import (
    Drawing,
    Holes,
    Placing,
    draw,
    grow,
    mask_image,
    place,
    read_masks_of,
    require_holes,
)
from inpaint.web.photos import Box, Limits, preview_size, read_upload, safe_name, suffix_of, view
from inpaint.web.select import SELECTOR, Rough, select_object
from inpaint.web.workspace import Fill, Photo, Workspace
from inpaint.weights import find_model, find_model_file


class Service:
    """Everything behind the page. One object serves all visitors; ``parent`` holds its temporary folder."""

    def __init__(
        self,
        fills: Fills,
        limits: Limits | None = None,
        parent: Path | None = None,
        *,
        allow_downloads: bool = False,
    ) -> None:
        self.fills = fills
        self.limits = limits or Limits()
        self.allow_downloads = allow_downloads
        self.workspace = Workspace(self.limits, parent)
        self.jobs = Jobs(self.limits)
        self.computing = threading.Lock()
        """Held while a network runs: two at once would each take twice as long, and twice the memory."""

    def fill(
        self, photo: Photo, holes: Holes, model: str, parent: str | None, visitor: str, job: Job
    ) -> dict[str, Any]:
        """Fill holes of a photo, or of an earlier fill of it; gives what :func:`describe_fill` does."""
        mask = mask_image(require_holes(holes))
        job.tell("Loading the model")
        pipeline = self.fills.pipeline(model)
        pixels = self.workspace.render(photo, parent)
        job.warning = _for_visitors(doubt_mask(pixels, mask, holes))
        with self.computing:
            job.tell("Filling")
            start = time.perf_counter()
            # The holes are grown already, as was shown.
            filled = pipeline(pixels, mask, dilate=0, progress=partial(job.tell, "Filling"))
            seconds = time.perf_counter() - start
        job.check()
        stored = self.workspace.keep(photo, filled, holes, parent, model, seconds)
        self.workspace.charge(visitor, (photo.folder / f"{stored.id}.npz").stat().st_size)
        return describe_fill(photo, stored)

    def fill_all(
        self,
        keys: Sequence[str],
        drawing: Drawing,
        drawn_on: Photo,
        placing: Placing,
        *,
        model: str,
        visitor: str,
        job: Job,
    ) -> dict[str, Any]:
        """Fill the same place in photos of any size; a photo that cannot be filled costs a line.

        The job's outcome grows: ``results`` holds the fill or the error of each photo that is done.
        """
        holes = draw(drawing, drawn_on.height, drawn_on.width, partial(self.workspace.layer, drawn_on))
        results: dict[str, Any] = {}
        for done, key in enumerate(keys):
            job.tell(f"{done} of {len(keys)} photos", done / len(keys))
            self.workspace.keep_photos(keys)  # those that wait long, too
            try:
                photo = self.workspace.find(key)
                placed = grow(place(holes, photo.height, photo.width, placing), drawing.grow)
                results[key] = {"fill": self.fill(photo, placed, model, None, visitor, Job(key, visitor))}
            except InpaintError as error:
                job.check()
                results[key] = {"error": str(error)}
            job.outcome = {"results": dict(results)}
        return job.outcome

    def holes(self, photo: Photo, drawing: Drawing) -> Holes:
        """What was drawn, at the photo's full size, grown as asked."""
        layer = partial(self.workspace.layer, photo)
        return grow(draw(drawing, photo.height, photo.width, layer), drawing.grow)

    def add_mask(self, photo: Photo, path: Path) -> dict[str, str]:
        """Take a mask file of the photo's size as a layer; its ``id``, and a ``warning`` if it is doubted."""
        mask = read_masks_of(path, (photo.width, photo.height), self.limits)[0]
        holes = find_hole(mask, 0)  # with its soft rim
        doubt = doubt_mask(self.workspace.render(photo, None), mask, holes)
        return {"id": self.workspace.add_layer(photo, holes), "warning": _for_visitors(doubt)}

    def select(self, photo: Photo, rough: Rough, fill: str | None) -> str:
        """Make a rough hint at an object a mask; gives the id of its layer."""
        pixels = self.workspace.render(photo, fill)
        shown = view(pixels, (0, 0, photo.height, photo.width), (photo.height, photo.width))
        weights = find_model_file(find_model(SELECTOR))
        found = select_object(np.asarray(shown.convert("RGB")), rough, weights)
        return self.workspace.add_layer(photo, found)

    def view(self, photo: Photo, fill: str | None, box: Box, size: tuple[int, int]) -> Image.Image:
        """A part of a photo or of a fill, see :func:`inpaint.web.photos.view`."""
        return view(self.workspace.render(photo, fill), box, size)

    def download(self, photo: Photo, fill: str | None, *, lossless: bool) -> tuple[Path, list[str]]:
        """The whole result in the photo's own format and with its metadata, or as PNG.

        With it, one line for each thing that could not be kept; only when the file is made, not again later.
        """
        folder = photo.folder / f"download-{fill or 'photo'}"
        folder.mkdir(exist_ok=True)
        path = folder / result_name(photo.name, ".png" if lossless else photo.suffix)
        if path.exists():
            return path, []
        file = read_upload(photo.path, self.limits, photo.name)
        holes = self.workspace.holes_of(photo, fill)
        if holes.any():  # of the first page or frame, the one that was shown
            others = [Image.new("L", (1, 1))] * (file.frames - 1)
            result = self.workspace.render(photo, fill)
            file.fill(lambda shown, _: like(shown, result), [mask_image(holes), *others])
        return path, write_file(file, path)

    def erase_files(
        self,
        image: Path,
        mask: Path,
        model: str,
        *,
        grow_by: int | None = None,
        lossless: bool = False,
        visitor: str = "",
    ) -> tuple[Path, list[str]]:
        """Fill an image file by a mask file of its size, as ``inpaint run`` does: the result, and notes."""
        name = safe_name(image.name)
        self.fills.require(model)
        file = read_upload(image, self.limits, name)
        masks = read_masks_of(mask, file.size, self.limits)
        if grow_by is not None and grow_by < 0:
            masks = [mask_image(grow(find_hole(one, 0), grow_by)) for one in masks]
        dilate = None if grow_by is None else max(0, grow_by)
        folder = self.workspace.new_path()
        path = folder / result_name(name, ".png" if lossless else suffix_of(file))

        def work(job: Job) -> dict[str, Any]:
            pipeline = self.fills.pipeline(model)
            with self.computing:
                file.fill(partial(pipeline, dilate=dilate), masks)
            notes = write_file(file, path)
            self.workspace.charge(visitor, path.stat().st_size)
            return {"notes": notes}

        job = self.jobs.submit(folder.name, visitor, work)
        job.over.wait()
        if job.state != "done":
            raise InpaintError(job.error or "the request was cancelled")
        return path, job.outcome["notes"]

    def close(self) -> None:
        """Stop what runs, and delete all that visitors left."""
        self.jobs.close()
        self.workspace.close()


def like(shown: Any, pixels: Pixels) -> Any:
    """Pixels as the kind of image that is shown: a Pillow image or an array."""
    return Image.fromarray(pixels) if isinstance(shown, Image.Image) else pixels


def result_name(name: str, suffix: str) -> str:
    """What a result is called."""
    return f"{Path(name).stem}-filled{suffix}"


def describe_photo(photo: Photo, job: Job | None = None) -> dict[str, Any]:
    """What the browser knows of a photo."""
    height, width = preview_size(photo.height, photo.width)
    return {
        "id": photo.id,
        "name": photo.name,
        "format": photo.suffix.lstrip("."),
        "width": photo.width,
        "height": photo.height,
        "frames": photo.frames,
        "growth": default_dilation((photo.height, photo.width)),
        "preview": {"width": width, "height": height},
        "fills": [describe_fill(photo, fill) for fill in photo.fills.values()],
        "job": job and job.id,
    }


def describe_fill(photo: Photo, fill: Fill) -> dict[str, Any]:
    """What the browser knows of a fill; ``patch`` is in pixels of the preview, ``box`` of the photo."""
    height, width = preview_size(photo.height, photo.width)
    top, left, bottom, right = fill.box
    x0, x1 = left * width // photo.width, -(-right * width // photo.width)
    y0, y1 = top * height // photo.height, -(-bottom * height // photo.height)
    scale_x, scale_y = photo.width / width, photo.height / height
    box = (round(x0 * scale_x), round(y0 * scale_y), round(x1 * scale_x), round(y1 * scale_y))
    return {
        "id": fill.id,
        "parent": fill.parent,
        "model": fill.model,
        "seconds": round(fill.seconds, 2),
        "share": fill.share,
        "patch": {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0},
        "box": dict(zip(("left", "top", "right", "bottom"), box, strict=True)),
    }


def _for_visitors(doubt: str | None) -> str:
    """A doubt about a mask, with what the page has in place of an option."""
    told = (doubt or "").replace("the image", "the photo")
    return told.replace("with --invert-mask", "and invert it").replace("use --invert-mask", "invert it")
