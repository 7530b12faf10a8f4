"""What the server keeps of visitors until a timer deletes it: photos, their fills, mask layers."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inpaint.errors import ImageError, MaskError
from inpaint.images import write_image
from inpaint.images.depth import Pixels
from inpaint.web.masks import Holes, bounding_box
from inpaint.web.photos import Box, Limits, read_upload, safe_name, suffix_of

PREFIX = "inpaint-page-"
_BEAT_SECONDS = 20.0  # how often the timer looks
_DEAD_SECONDS = 300.0  # a folder of a server that did not beat so long is nobody's
_CACHE_BYTES = 2**30
_MOST_FILLS = 300


class QuotaError(ImageError):
    """A visitor stored too much."""


class GoneError(ImageError):
    """A photo or result is no longer, or never was, on the server."""


@dataclass(frozen=True)
class Fill:
    """One fill of a photo (``parent`` None) or of an earlier fill: what it changed, not the whole photo."""

    id: str
    parent: str | None
    model: str
    box: Box
    seconds: float
    share: float


@dataclass(eq=False)
class Photo:
    """One photo that somebody works on."""

    id: str
    folder: Path
    path: Path
    name: str
    height: int
    width: int
    suffix: str
    frames: int = 1
    used: float = field(default_factory=time.monotonic)
    fills: dict[str, Fill] = field(default_factory=dict)
    layers: set[str] = field(default_factory=set)
    files: dict[str, Path] = field(default_factory=dict)
    """What else the browser may get, by an id that cannot be guessed."""
    inspection: Any = None

    def fill(self, key: str) -> Fill:
        """Find a fill."""
        if key not in self.fills:
            raise GoneError("this result is no longer on the server; go on from another one")
        return self.fills[key]

    def chain(self, key: str | None) -> list[Fill]:
        """A fill and all it was made on, the oldest first."""
        found: list[Fill] = []
        while key is not None:
            found.append(self.fill(key))
            key = found[-1].parent
        return found[::-1]


class Workspace:
    """All photos of one server, in one temporary folder, which lies in ``parent`` or the system's."""

    def __init__(self, limits: Limits, parent: Path | None = None) -> None:
        self.limits = limits
        self._parent = Path(parent or tempfile.gettempdir())
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
        self.uploads = self.folder / "api"
        self.uploads.mkdir()
        self._photos: dict[str, Photo] = {}
        self._decoded: OrderedDict[str, Pixels] = OrderedDict()
        self._stored: defaultdict[str, deque[tuple[float, int]]] = defaultdict(deque)
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self.tidy()
        self._timer = threading.Thread(target=self._beat, name="tidy", daemon=True)
        self._timer.start()

    # -- photos --------------------------------------------------------------------------------------

    def new_path(self) -> Path:
        """A folder for something new; the timer deletes it if it is not used."""
        folder = self.folder / secrets.token_urlsafe(16)
        folder.mkdir()
        return folder

    def add(self, folder: Path, path: Path, name: str) -> Photo:
        """Take a file that was uploaded into ``folder`` as a photo."""
        name = safe_name(name)
        try:
            file = read_upload(path, self.limits, name)
            pixels = np.asarray(file.image())
        except ImageError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        height, width = pixels.shape[:2]
        photo = Photo(folder.name, folder, path, name, height, width, suffix_of(file), file.frames)
        with self._lock:
            self._photos[photo.id] = photo
            self._remember(photo.id, pixels)
        return photo

    def find(self, key: str) -> Photo:
        """A photo by its id; it stays for another while."""
        with self._lock:
            photo = self._photos.get(key)
            if photo is None:
                raise GoneError("this photo is no longer on the server; open it again")
            photo.used = time.monotonic()
            return photo

    def keep_photos(self, keys: Sequence[str]) -> None:
        """Let photos stay for another while."""
        with self._lock:
            for photo in filter(None, map(self._photos.get, keys)):
                photo.used = time.monotonic()

    def render(self, photo: Photo, fill: str | None) -> Pixels:
        """The photo, upright, with a fill and all it was made on."""
        pixels = self._decode(photo).copy()
        for step in photo.chain(fill):
            top, left, bottom, right = step.box
            part, holes = self.patch(photo, step)
            pixels[top:bottom, left:right][holes] = part[holes]
        return pixels

    def patch(self, photo: Photo, fill: Fill) -> tuple[Pixels, Holes]:
        """What a fill put into its box, and where."""
        with np.load(photo.folder / f"{fill.id}.npz", allow_pickle=False) as stored:
            part = stored["part"]
            count = part.shape[0] * part.shape[1]
            return part, np.unpackbits(stored["holes"], count=count).reshape(part.shape[:2]) > 0

    def holes_of(self, photo: Photo, fill: str | None) -> Holes:
        """Everything that differs from the photo as it came, ``(H, W)`` bool."""
        found = np.zeros((photo.height, photo.width), np.bool_)
        for step in photo.chain(fill):
            top, left, bottom, right = step.box
            found[top:bottom, left:right] |= self.patch(photo, step)[1]
        return found

    def keep(
        self, photo: Photo, result: Pixels, holes: Holes, parent: str | None, model: str, seconds: float
    ) -> Fill:
        """Store what a fill changed."""
        if len(photo.fills) >= _MOST_FILLS:
            raise QuotaError(f"this photo has {_MOST_FILLS} results; download it and open it again")
        box = bounding_box(holes)
        window = (slice(box[0], box[2]), slice(box[1], box[3]))
        fill = Fill(secrets.token_urlsafe(9), parent, model, box, seconds, float(holes.mean()))
        np.savez(photo.folder / f"{fill.id}.npz", part=result[window], holes=np.packbits(holes[window]))
        photo.fills[fill.id] = fill
        return fill

    def forget(self, photo: Photo, key: str) -> None:
        """Delete a fill that none other was made on."""
        if any(other.parent == key for other in photo.fills.values()):
            raise ImageError("later results were made on this one; remove those first")
        photo.fill(key)
        del photo.fills[key]
        (photo.folder / f"{key}.npz").unlink(missing_ok=True)

    def add_layer(self, photo: Photo, holes: Holes) -> str:
        """Store a mask beside its photo, and give its id."""
        key = secrets.token_urlsafe(9)
        Image.fromarray(holes).save(photo.folder / f"{key}.png")
        photo.layers.add(key)
        return key

    def layer(self, photo: Photo, key: str) -> Holes:
        """A mask that was stored."""
        if key not in photo.layers:
            raise MaskError("a part of the mask is no longer on the server; clear it and paint again")
        with Image.open(photo.folder / f"{key}.png") as stored:
            return np.asarray(stored) > 0

    def new_file(self, photo: Photo, suffix: str) -> tuple[str, Path]:
        """A place for a file that the browser may get, and its id."""
        key = secrets.token_urlsafe(9)
        photo.files[key] = photo.folder / f"{key}{suffix}"
        return key, photo.files[key]

    def add_image(self, photo: Photo, image: Image.Image) -> str:
        """Store an image for the browser, and give its id."""
        key, path = self.new_file(photo, ".png")
        write_image(image, path, fast=True)
        return key

    def _decode(self, photo: Photo) -> Pixels:
        with self._lock:
            found = self._decoded.get(photo.id)
        if found is None:
            found = np.asarray(read_upload(photo.path, self.limits, photo.name).image())
        with self._lock:
            self._remember(photo.id, found)
        return found

    def _remember(self, key: str, decoded: Pixels) -> None:
        """Keep the last few decoded photos; one may be larger than all the room there is."""
        self._decoded[key] = decoded
        self._decoded.move_to_end(key)
        while len(self._decoded) > 1 and sum(one.nbytes for one in self._decoded.values()) > _CACHE_BYTES:
            self._decoded.popitem(last=False)

    # -- quota and the timer -------------------------------------------------------------------------

    def charge(self, visitor: str, size: int) -> None:
        """Count what a visitor stores."""
        now = time.monotonic()
        with self._lock:
            stored = self._stored[visitor]
            while stored and now - stored[0][0] > self.limits.keep_seconds:
                stored.popleft()
            if sum(bytes_ for _, bytes_ in stored) + size > self.limits.visitor_bytes:
                most = self.limits.visitor_bytes / 2**20
                raise QuotaError(
                    f"you have stored {most:.0f} MB here, the most that is allowed; it is deleted after "
                    f"{self.limits.keep_seconds / 60:.0f} minutes, try again then"
                )
            if size:
                stored.append((now, size))

    def tidy(self) -> None:
        """Delete what was not used for long, and what servers that died left behind."""
        now = time.monotonic()
        with self._lock:
            old = [photo for photo in self._photos.values() if now - photo.used > self.limits.keep_seconds]
            for photo in old:
                del self._photos[photo.id]
                self._decoded.pop(photo.id, None)
            for visitor in [name for name, stored in self._stored.items() if not stored]:
                del self._stored[visitor]
            known = set(self._photos)
        for photo in old:
            shutil.rmtree(photo.folder, ignore_errors=True)
        for entry in [*self.folder.iterdir(), *self.uploads.iterdir()]:  # batches, files for the API
            if entry.name not in known and entry != self.uploads and _age(entry) > self.limits.keep_seconds:
                shutil.rmtree(entry, ignore_errors=True)
        os.utime(self.folder)  # a sign of life
        for sibling in self._parent.glob(f"{PREFIX}*"):
            if sibling != self.folder and _age(sibling) > _DEAD_SECONDS:
                shutil.rmtree(sibling, ignore_errors=True)

    def close(self) -> None:
        """Delete everything."""
        self._closed.set()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _beat(self) -> None:
        while not self._closed.wait(min(_BEAT_SECONDS, max(0.2, self.limits.keep_seconds / 4))):
            try:
                self.tidy()
            except OSError:  # a neighbour deletes at the same time
                continue


def _age(path: Path) -> float:
    """Seconds since a file or folder was changed; 0 where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
