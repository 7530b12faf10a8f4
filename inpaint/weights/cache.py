"""Where weights lie on this machine, and whether they are what they should be.

The user's cache holds ``files/`` as published, fetched or put there by hand; ``models/``, converted, each
with its sum beside it; ``pins/``, sums of files without a public one, as they were at the first download.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from inpaint.atomic import atomic_write
from inpaint.errors import WeightsError
from inpaint.weights.catalogue import ModelEntry, PublishedFile, weights_folders

CACHE_VARIABLE = "INPAINT_CACHE"
_HUB_ADDRESS = re.compile(r"https://huggingface\.co/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def cache_folder(part: str = "") -> Path:
    """The user's cache, or a part of it; INPAINT_CACHE names another place for the whole."""
    import platformdirs

    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named).expanduser() if named else platformdirs.user_cache_path("inpaint", False)) / part


def offline_variable() -> str:
    """The environment variable that forbids the network; empty if none does."""
    on = ("1", "true", "yes", "on")
    names = ("INPAINT_OFFLINE", "HF_HUB_OFFLINE")
    return next((name for name in names if os.environ.get(name, "").lower() in on), "")


def find_file(file: PublishedFile) -> Path | None:
    """A published file on this machine, unchecked: in people's folders, this cache, or Hugging Face's."""
    for folder in (*weights_folders(), cache_folder("files")):
        if (path := folder / file.name).is_file():
            return path
    for source in file.sources:
        if match := _HUB_ADDRESS.fullmatch(source):
            try:
                from huggingface_hub import try_to_load_from_cache
            except ImportError:  # then nothing was ever fetched with it
                return None
            cached = try_to_load_from_cache(match[1], match[3], revision=match[2])
            if isinstance(cached, str):
                return Path(cached)
    return None


def find_model_file(entry: ModelEntry) -> Path | None:
    """The file of a model that is ready for use, unchecked; None if it has to be fetched or converted."""
    return found[0] if (found := _find_ready(entry)) else None


def check_model(entry: ModelEntry) -> Path | None:
    """The same file, if its content is that of the catalogue, or what was written after the conversion.

    Raises:
        WeightsError: it is another, or cannot be read.
    """
    if (found := _find_ready(entry)) is None:
        return None
    path, file = found
    same = file is not None or digest_of(path) == _read_sum(sum_path(path))
    wrong = compare_file(file, path)[1] if file else "" if same else "changed since its conversion"
    if wrong:
        raise WeightsError(f"{path} is not the file of {entry.name}: {wrong}; delete it and get it again")
    return path


def compare_file(file: PublishedFile, path: Path) -> tuple[str, str]:
    """The SHA-256 of ``path``, and how it differs from what is known of ``file``: empty if it does not.

    Raises:
        WeightsError: it cannot be read.
    """
    digest, size, first = digest_of(path), path.stat().st_size, _read_sum(pin_path(file))
    if file.size and size != file.size:
        return digest, f"got {size} bytes, expected {file.size}"
    if not digest.startswith(file.sha256):
        return digest, f"got sha256 {digest[:12]}..., expected {file.sha256[:12]}..."
    if not file.pinned and first and digest != first:
        return (
            digest,
            f"got sha256 {digest[:12]}..., at the first download {first[:12]}... ({pin_path(file)})",
        )
    return digest, ""


def model_path(entry: ModelEntry) -> Path:
    """Where a converted model is kept."""
    return cache_folder("models") / f"{entry.name}.safetensors"


def sum_path(path: Path) -> Path:
    """Where the sum of a converted model is kept."""
    return path.with_name(f"{path.name}.sha256")


def pin_path(file: PublishedFile) -> Path:
    """Where the sum of a file without a public one is kept."""
    return cache_folder("pins") / f"{file.name}.sha256"


def write_sum(path: Path, digest: str, name: str) -> None:
    """Write a sum as ``sha256sum -c`` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(f"{digest}  {name}\n".encode())


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, 64 hex digits.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error


def _find_ready(entry: ModelEntry) -> tuple[Path, PublishedFile | None] | None:
    if entry.convert:
        path = model_path(entry)
        return (path, None) if path.is_file() else None
    return next(((path, file) for (file,) in entry.options() if (path := find_file(file))), None)


def _read_sum(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        return ""
