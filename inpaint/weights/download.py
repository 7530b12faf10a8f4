"""One file over HTTP: resumable, bounded, cancellable.

Own code because no library does this: pooch knows no ranges, and huggingface_hub 2 deletes what it has of a
file when a download stops. The hub's files are plain HTTP, so one way serves all addresses.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from inpaint.errors import WeightsError
from inpaint.weights.catalogue import PublishedFile

if TYPE_CHECKING:  # it is loaded when something is fetched
    import httpx

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
RETRY_SECONDS = 1.0
ATTEMPTS = 4
"""At each address, while its connection breaks; each goes on where the last one stopped."""


class FetchCancelled(WeightsError):
    """The caller cancelled the download; what has arrived is kept, and the next one resumes from it."""


class SourceFailed(Exception):
    """One address does not serve the file; the next one may."""


@dataclass(frozen=True)
class Hooks:
    """What a download calls; see :func:`inpaint.weights.fetch`."""

    progress: Callable[[str, int, int], None]
    cancelled: Callable[[], bool]
    say: Callable[[str], None]


def download(file: PublishedFile, source: str, part: Path, hooks: Hooks) -> None:
    """Download ``source`` into ``part``, resuming after the bytes that are already there.

    Proxies and certificates are those of the environment (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE).

    Raises:
        SourceFailed: the address cannot be reached, refuses, breaks off, or serves something else.
        WeightsError: ``cancelled`` returned True, or the disk has too little room.
        OSError: the file cannot be written.
    """
    import httpx

    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")  # as huggingface_hub has it
    address = source.replace("https://huggingface.co", mirror, 1) if mirror else source
    headers = {"User-Agent": "mae-acr-inpaint", "Accept-Encoding": "identity"}
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    try:
        with httpx.Client(follow_redirects=True, timeout=timeout, headers=headers) as client:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return _request_rest(client, file, address, part, hooks)
                except (httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError):
                    if attempt == ATTEMPTS:
                        raise
                    time.sleep(attempt * RETRY_SECONDS)
    # Of a proxy's address, httpx complains with a ValueError or the ImportError of what it would need.
    except (SourceFailed, httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceFailed(f"{urlsplit(address).netloc}: {reason}") from error


def _request_rest(client: httpx.Client, file: PublishedFile, address: str, part: Path, hooks: Hooks) -> None:
    """One request: the rest of the file, or all if the server supports no ranges or has another file."""
    import httpx

    tag = part.with_suffix(".tag")
    start = part.stat().st_size if part.exists() else 0
    if file.size and start == file.size:
        return
    headers = {}
    if start and not file.pinned:  # then only the server can tell whether the rest belongs to what is here
        headers["If-Range"] = tag.read_text() if tag.exists() else ""
        start = start if headers["If-Range"] else 0
    if start:
        headers["Range"] = f"bytes={start}-"
    with client.stream("GET", address, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise httpx.RemoteProtocolError("the server has fewer bytes than are here")
        total = _check_answer(response, start, file)
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        done = start if resumed else 0
        if total - done > (free := shutil.disk_usage(part.parent).free):
            raise WeightsError(
                f"{part.parent} has {free / 1e6:.0f} MB free, {(total - done) / 1e6:.0f} MB are needed; "
                "make room there, or name another folder with INPAINT_CACHE"
            )
        if not resumed:
            strong = response.headers.get("ETag", "W/")
            tag.write_text(response.headers.get("Last-Modified", "") if strong.startswith("W/") else strong)
        with part.open("ab" if resumed else "wb") as out:
            for chunk in response.iter_bytes():
                if hooks.cancelled():
                    raise FetchCancelled(f"stopped; the next download of {file.name} goes on from here")
                done += out.write(chunk)
                if total and done > total:
                    raise SourceFailed(f"sends more than {total} bytes")
                hooks.progress(file.name, done, total)
        if done < total:
            raise httpx.RemoteProtocolError(f"the server broke off after {done} of {total} bytes")


def _check_answer(response: httpx.Response, start: int, file: PublishedFile) -> int:
    """The whole file's bytes, 0 if the server does not tell; refuses what is not the file."""
    if response.status_code not in (200, 206):
        raise SourceFailed(f"{response.status_code} {response.reason_phrase}".rstrip())
    if response.status_code == 200:
        start = 0
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise SourceFailed("it answers with another range than it was asked for")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise SourceFailed("it answers with a web page in place of the file")
    length = int(response.headers.get("Content-Length", 0))
    total = start + length if length else file.size
    if file.size and total != file.size:
        raise SourceFailed(f"it offers {total} bytes, expected {file.size}")
    return total
