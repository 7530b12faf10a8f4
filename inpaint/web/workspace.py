"""All photos of a server until a timer deletes them, and what each visitor may store."""

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from inpaint.web.photos import GoneError, Limits, Photo, QuotaError

PREFIX = "inpaint-page-"
_BEAT_SECONDS = 20.0  # how often the timer looks
_DEAD_SECONDS = 300.0  # a folder of a server that did not beat so long is nobody's
_DECODED_BYTES = 2**30  # of photos in memory


class Workspace:
    """All photos of one server, in one temporary folder."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.uploads = self.folder / "api"
        self.uploads.mkdir()
        self._photos: dict[str, Photo] = {}
        self._stored: defaultdict[str, deque[tuple[float, int]]] = defaultdict(deque)
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self.tidy()
        threading.Thread(target=self._beat, name="tidy", daemon=True).start()

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """A folder for something new: deleted where that fails, or by the timer if it is not used."""
        folder = self.folder / secrets.token_urlsafe(16)
        folder.mkdir()
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def add(self, path: Path) -> Photo:
        """Take a file that was uploaded into a new folder as a photo."""
        photo = Photo(path, self.limits)
        with self._lock:
            self._photos[photo.id] = photo
        return self.find(photo.id)

    def find(self, key: str) -> Photo:
        """A photo by its id; it stays for another while."""
        with self._lock:
            photo = self._photos.get(key)
            if photo is None:
                raise GoneError("this photo is no longer on the server; open it again")
            photo.used = time.monotonic()
            self._free_memory()
            return photo

    def keep_photos(self, keys: Sequence[str]) -> None:
        """Let photos stay for another while."""
        with self._lock:
            for photo in filter(None, map(self._photos.get, keys)):
                photo.used = time.monotonic()

    def _free_memory(self) -> None:
        """Keep the photos used last decoded; the last one may be larger than all the room there is."""
        room = _DECODED_BYTES
        last, *others = sorted(self._photos.values(), key=lambda photo: -photo.used)
        for photo in (last, *others):
            room -= 0 if photo.decoded is None else photo.decoded.nbytes
            if room < 0 and photo is not last:
                photo.decoded = None

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
            self._stored = defaultdict(deque, {name: one for name, one in self._stored.items() if one})
            known = set(self._photos)
        for photo in old:
            shutil.rmtree(photo.folder, ignore_errors=True)
        for entry in [*self.folder.iterdir(), *self.uploads.iterdir()]:  # batches, files for the API
            if entry.name not in known and entry != self.uploads and _age(entry) > self.limits.keep_seconds:
                shutil.rmtree(entry, ignore_errors=True)
        os.utime(self.folder)  # a sign of life
        for sibling in self.folder.parent.glob(f"{PREFIX}*"):
            if sibling != self.folder and _age(sibling) > _DEAD_SECONDS:
                shutil.rmtree(sibling, ignore_errors=True)

    def close(self) -> None:
        """Delete everything."""
        self._closed.set()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _beat(self) -> None:
        while not self._closed.wait(min(_BEAT_SECONDS, max(0.2, self.limits.keep_seconds / 4))):
            with suppress(OSError):  # a neighbour deletes at the same time
                self.tidy()


def _age(path: Path) -> float:
    """Seconds since a file or folder was changed; 0 where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
