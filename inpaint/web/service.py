"""What the page and its API do, without a page: photo and marks in, files to show and to download out."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from inpaint.images import read_image
from inpaint.web.fills import Fills
from inpaint.web.marks import Holes, grow, holes_from_file, mask_picture, require_holes
from inpaint.web.photos import Limits, Photo, continue_with, make_preview, open_photo, save_result


@dataclass(frozen=True, eq=False)  # the page tells results apart by their hash, which arrays do not have
class Result:
    """One finished fill.

    Attributes:
        source: what was filled.
        photo: the result as a photo to go on with, kept without loss.
        download: the file for its owner.
        before: preview of what was filled.
        after: preview of the result.
        holes: what was filled, grown as asked, to run another model on.
        model: key of the fill.
        seconds: that the fill took.
    """

    source: Photo
    photo: Photo
    download: Path
    before: Image.Image
    after: Image.Image
    holes: Holes
    model: str
    seconds: float


class Service:
    """Everything behind the page. One object serves all visitors; it keeps nothing of theirs but files.

    Args:
        fills: the models to offer.
        limits: of uploads.
        folder: for results; None makes a temporary one, removed by :meth:`close`.
    """

    def __init__(self, fills: Fills, limits: Limits | None = None, folder: Path | None = None) -> None:
        self.fills = fills
        self.limits = limits or Limits()
        self.folder = Path(tempfile.mkdtemp(prefix="inpaint-")) if folder is None else folder
        self.computing = threading.Lock()
        """Held while a network runs: two at once would each take twice as long, and twice the memory."""

    def erase(
        self, photo: Photo, holes: Holes, model: str, *, growth: int = 0, lossless: bool = False
    ) -> Result:
        """Fill the holes of a photo.

        Args:
            photo: what was opened before.
            holes: ``(H, W)`` bool of its full size.
            model: a key of ``fills.choices()``.
            growth: pixels by which the holes grow first, or shrink where it is negative.
            lossless: offer a PNG for download whatever the photo's format.

        Raises:
            InpaintError: nothing is marked, the photo is gone, the model is unknown or fails.
        """
        self.sweep()
        holes = require_holes(grow(holes, growth))
        pipeline = self.fills.pipeline(model)
        picture = read_image(photo.path)
        with self.computing:
            start = time.perf_counter()
            filled = pipeline(picture, mask_picture(holes), dilate=0)  # grown above, as asked
            seconds = time.perf_counter() - start
        return Result(
            photo,
            continue_with(filled, photo, self.folder),
            save_result(filled, photo, self.folder, lossless=lossless),
            make_preview(picture, photo),
            make_preview(filled, photo),
            holes,
            model,
            seconds,
        )

    def erase_files(
        self, image: Path, mask: Path, model: str, *, growth: int = 0, lossless: bool = False
    ) -> Path:
        """The same for two files, as the API takes them: the mask at the photo's full size.

        Returns:
            The result file.

        Raises:
            InpaintError: as :meth:`erase`, and where a file is no picture or too large.
        """
        photo, _ = open_photo(image, self.limits)
        holes = holes_from_file(mask, photo, self.limits)
        return self.erase(photo, holes, model, growth=growth, lossless=lossless).download

    def sweep(self) -> None:
        """Delete results older than the limits allow."""
        oldest = time.time() - self.limits.keep_seconds
        for entry in self.folder.glob("*"):
            try:
                if entry.stat().st_mtime < oldest:
                    shutil.rmtree(entry, ignore_errors=True)
            except FileNotFoundError:  # swept by a neighbour
                continue

    def close(self) -> None:
        """Delete all results."""
        shutil.rmtree(self.folder, ignore_errors=True)
