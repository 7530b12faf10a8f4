"""What the page and the API do, without HTTP: drawings in, fills and files out."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inpaint.errors import InpaintError
from inpaint.images import write_file
from inpaint.images.depth import Pixels
from inpaint.web.fills import Fills
from inpaint.web.jobs import Job, Jobs
from inpaint.web.masks import (
    Drawing,
    Holes,
    Rough,
    draw,
    grow,
    mask_image,
    read_mask_file,
    require_holes,
    select_object,
)
from inpaint.web.photos import Box, Limits, preview_size, read_upload, safe_name, suffix_of, view
from inpaint.web.workspace import Fill, Photo, Workspace


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
        holes = require_holes(holes)
        job.tell("Loading the model")
        pipeline = self.fills.pipeline(model)
        pixels = self.workspace.render(photo, parent)
        with self.computing:
            job.tell("Filling")
            start = time.perf_counter()
            filled = pipeline(pixels, mask_image(holes), dilate=0)  # grown already, as was shown
            seconds = time.perf_counter() - start
        job.check()
        stored = self.workspace.keep(photo, filled, holes, parent, model, seconds)
        self.workspace.charge(visitor, (photo.folder / f"{stored.id}.npz").stat().st_size)
        return describe_fill(photo, stored)

    def holes(self, photo: Photo, drawing: Drawing) -> Holes:
        """What was drawn, at the photo's full size."""
        return draw(drawing, photo.height, photo.width, lambda key: self.workspace.layer(photo, key))

    def select(self, photo: Photo, rough: Rough, fill: str | None) -> str:
        """Make a rough hint at an object a mask; gives the id of its layer."""
        pixels = self.workspace.render(photo, fill)
        shown = view(pixels, (0, 0, photo.height, photo.width), (photo.height, photo.width))
        return self.workspace.add_layer(photo, select_object(np.asarray(shown.convert("RGB")), rough))

    def view(self, photo: Photo, fill: str | None, box: Box, size: tuple[int, int]) -> Image.Image:
        """A part of a photo or of a fill, see :func:`inpaint.web.photos.view`."""
        return view(self.workspace.render(photo, fill), box, size)

    def download(self, photo: Photo, fill: str | None, *, lossless: bool) -> Path:
        """The whole result for its owner, in the photo's own format and with its metadata, or as PNG."""
        folder = photo.folder / f"download-{fill or 'photo'}"
        folder.mkdir(exist_ok=True)
        path = folder / result_name(photo.name, ".png" if lossless else photo.suffix)
        if not path.exists():
            file = read_upload(photo.path, self.limits, photo.name)
            holes = self.workspace.holes_of(photo, fill)
            if holes.any():  # of the first page or frame, the one that was shown
                others = [Image.new("L", (1, 1))] * (file.frames - 1)
                result = self.workspace.render(photo, fill)
                file.fill(lambda shown, _: like(shown, result), [mask_image(holes), *others])
            write_file(file, path)
        return path

    def erase_files(
        self,
        image: Path,
        mask: Path,
        model: str,
        *,
        grow_by: int = 0,
        lossless: bool = False,
        visitor: str = "",
    ) -> Path:
        """Fill the white parts of a mask file in an image file of its size; gives the result file."""
        name = safe_name(image.name)
        self.fills.require(model)
        file = read_upload(image, self.limits, name)
        width, height = file.size
        holes = require_holes(grow(read_mask_file(mask, height, width, self.limits), grow_by))
        folder = self.workspace.new_path()
        path = folder / result_name(name, ".png" if lossless else suffix_of(file))

        def work(job: Job) -> dict[str, Any]:
            pipeline = self.fills.pipeline(model)
            with self.computing:
                file.fill(partial(pipeline, dilate=0), [mask_image(holes)])
            write_file(file, path)
            self.workspace.charge(visitor, path.stat().st_size)
            return {}

        job = self.jobs.submit(folder.name, visitor, work)
        job.over.wait()
        if job.state != "done":
            raise InpaintError(job.error or "the request was cancelled")
        return path

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
