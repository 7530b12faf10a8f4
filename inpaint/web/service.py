"""What the page and the API do, without HTTP: drawings in, fills and files out."""

import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import validate_call

from inpaint.errors import InpaintError
from inpaint.fills.holes import find_hole
from inpaint.images import write_file
from inpaint.web import masks
from inpaint.web.fills import Fills
from inpaint.web.jobs import Job, Jobs
from inpaint.web.masks import Drawing, Growth, Holes, Placing
from inpaint.web.photos import Limits, Photo, read_upload, result_name, suffix_of
from inpaint.web.workspace import Workspace

DownloadAs = Literal["same", "png"]


class Service:
    """Everything behind the page. One object serves all visitors."""

    def __init__(self, fills: Fills, limits: Limits | None = None, *, allow_downloads: bool = False) -> None:
        self.fills = fills
        self.limits = limits or Limits()
        self.allow_downloads = allow_downloads
        self.workspace = Workspace(self.limits)
        self.jobs = Jobs(self.limits)
        self.computing = threading.Lock()
        """Held while a network runs: two at once would each take twice as long, and twice the memory."""

    def fill(self, photo: Photo, holes: Holes, model: str, parent: str | None, job: Job) -> dict[str, Any]:
        """Fill holes of a photo, or of an earlier fill of it; gives what :meth:`Photo.describe_fill` does."""
        mask = masks.mask_image(masks.require_holes(holes))
        job.tell("Loading the model")
        pipeline = self.fills.pipeline(model)
        pixels = photo.render(parent)
        job.warning = masks.tell_doubt(pixels, mask, holes)
        with self.computing:
            job.tell("Filling")
            start = time.perf_counter()
            # The holes are grown already, as was shown.
            filled = pipeline(pixels, mask, dilate=0, progress=partial(job.tell, "Filling"))
            seconds = time.perf_counter() - start
        job.check()
        stored = photo.keep(filled, holes, parent, model, seconds)
        self.workspace.charge(job.visitor, (photo.folder / f"{stored.id}.npz").stat().st_size)
        return photo.describe_fill(stored)

    def fill_all(
        self, keys: Sequence[str], drawing: Drawing, drawn_on: Photo, placing: Placing, model: str, job: Job
    ) -> dict[str, Any]:
        """Fill the same place in photos of any size; a photo that cannot be filled costs a line.

        The job's outcome grows: ``results`` holds the fill or the error of each photo that is done.
        """
        holes = masks.draw(drawing, drawn_on.height, drawn_on.width, drawn_on.layer)
        results: dict[str, Any] = {}
        for done, key in enumerate(keys):
            job.tell(f"{done} of {len(keys)} photos", done / len(keys))
            self.workspace.keep_photos(keys)  # those that wait long, too
            try:
                photo = self.workspace.find(key)
                placed = masks.grow(masks.place(holes, photo.height, photo.width, placing), drawing.grow)
                results[key] = {"fill": self.fill(photo, placed, model, None, Job(key, job.visitor))}
            except InpaintError as error:
                job.check()
                results[key] = {"error": str(error)}
            job.outcome = {"results": dict(results)}
        return job.outcome

    @validate_call
    def erase_files(
        self,
        image: Path,
        mask: Path,
        model: str,
        folder: Path,
        *,
        grow: Growth | None = None,
        download_as: DownloadAs = "same",
        visitor: str = "",
    ) -> tuple[Path, list[str]]:
        """Fill an image file by a mask file, as ``inpaint run`` does: the result in ``folder``, and notes.

        Raises:
            ValidationError: a value is out of bounds.
            InpaintError: a file cannot be used, or the model is not here.
        """
        self.fills.require(model)
        file = read_upload(image, self.limits)
        pages = masks.read_masks_of(mask, file.size, self.limits.pixels)
        if grow is not None and grow < 0:
            pages = [masks.mask_image(masks.grow(find_hole(page, 0), grow)) for page in pages]
        dilate = None if grow is None else max(0, grow)
        path = folder / result_name(image.name, ".png" if download_as == "png" else suffix_of(file))

        def work(_: Job) -> dict[str, Any]:
            pipeline = self.fills.pipeline(model)
            with self.computing:
                file.fill(partial(pipeline, dilate=dilate), pages)
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
