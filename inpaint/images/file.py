"""An image file as it is: every frame in its own mode, depth and orientation, and what it says beside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

import inpaint.images.modes as modes
from inpaint.errors import InpaintError, MaskError, collect_notes
from inpaint.images.masks import count_invisible, has_hole
from inpaint.images.metadata import Metadata
from inpaint.images.tiff import TiffPages


@dataclass
class ImageFile:
    """A file that was read, and the fills that shall go into it.

    Attributes:
        path: where it was read.
        format: as Pillow calls it (``PNG``, ``JPEG``, ``TIFF`` ...), or ``EXR`` or ``HDR``.
        data: the file's content.
        load: gives frame ``n`` as it lies in the file.
        frames: pages or frames, at least 1.
        orientations: EXIF orientation, 1 to 8, of each frame.
        metadata: for other formats; the same format keeps its own segments, chunks or tags.
        options: what an encoder must be told to write this kind again: timing, losslessness.
        notes: what is not kept, one line each.
        tiff: a TIFF's directories.
        filled: frames with their fill, as they shall lie in the file.
    """

    path: Path
    format: str
    data: bytes
    load: Callable[[int], modes.Native]
    frames: int = 1
    orientations: Sequence[int] = (1,)
    metadata: Metadata = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tiff: TiffPages | None = None
    filled: dict[int, modes.Native] = field(default_factory=dict)

    def native(self, frame: int = 0) -> modes.Native:
        """The frame with its fill, as it lies in the file."""
        return self.filled[frame] if frame in self.filled else self.load(frame)

    def upright(self, frame: int = 0) -> modes.Native:
        """The frame with its fill in its own mode, upright."""
        return modes.turn_upright(self.native(frame), self.orientations[frame])

    def image(self, frame: int = 0) -> Any:
        """What a pipeline takes: a Pillow image in mode RGB, RGBA, L or LA, or an array of its own depth."""
        return modes.to_view(self.upright(frame))

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` of the first frame, upright."""
        return modes.size_of(self.upright())

    def check_masks(self, masks: Sequence[Image.Image]) -> None:
        """Raise MaskError unless there is one mask for all frames, or one for each."""
        if len(masks) not in (1, self.frames):
            raise MaskError(
                f"got {len(masks)} pages in the mask and {self.frames} in the image, expected one mask for "
                "all, or one for each"
            )

    def fill(self, fill: Callable[[Any, Image.Image], Any], masks: Sequence[Image.Image]) -> None:
        """Fill the holes of every frame; doubts about a mask become notes.

        Args:
            fill: ``(image, mask) -> filled image``, such as :class:`inpaint.pipeline.InpaintPipeline`.
            masks: upright, 255 = hole: one for all frames or one each. A frame without hole is left alone.

        Raises:
            MaskError: another number of masks than frames; and what ``fill`` raises, as for no hole at all.
        """
        self.check_masks(masks)
        marked, invisible = [has_hole(mask) for mask in masks], 0
        for frame in range(self.frames):
            mask = masks[frame % len(masks)]
            if any(marked) and not marked[frame % len(masks)]:
                continue
            native, turn = self.load(frame), self.orientations[frame]
            shown = modes.to_view(modes.turn_upright(native, turn))
            try:
                with collect_notes(self.notes):
                    done = fill(shown, mask)
            except InpaintError as error:
                where = f"page or frame {frame + 1} of {self.frames}: " if self.frames > 1 else ""
                raise type(error)(f"{where}{error}") from error
            filled = modes.take_fill(native, modes.turn_back(shown, turn), modes.turn_back(done, turn))
            self.filled[frame] = filled
            invisible += count_invisible(filled, modes.turn_back(mask, turn))
        if invisible:
            self.notes.append(f"{invisible:,} filled pixels cannot be seen: alpha is kept, and it is 0 there")
