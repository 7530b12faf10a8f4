"""From a model's name to a checked file on this machine.

``checkpoints/manifest.toml`` lists the models by name. Their files are looked for in the folder that the
environment variable INPAINT_CHECKPOINTS names, then beside the manifest; a model that lives on a Hugging
Face hub is fetched from there, unless INPAINT_OFFLINE is 1.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from inpaint.errors import WeightsError

FOLDER_VARIABLE = "INPAINT_CHECKPOINTS"
OFFLINE_VARIABLE = "INPAINT_OFFLINE"


@dataclass(frozen=True)
class ModelEntry:
    """One model of the manifest."""

    name: str
    file: str
    """File name, without folder."""
    sha256: str
    """64 lowercase hex digits."""
    size: int
    """Bytes."""
    licence: str
    summary: str
    """One line."""
    repo: str | None = None
    """Hugging Face repository, ``owner/name``; None if the file only ships with the code."""
    revision: str | None = None
    """Commit of the repository; a branch may move away from ``sha256``."""

    def path(self) -> Path | None:
        """Where the file lies on this machine, unchecked; None if it is not here."""
        return next((path for folder in weights_folders() if (path := folder / self.file).is_file()), None)


def list_models() -> list[ModelEntry]:
    """All models of the manifest, in its order.

    Raises:
        WeightsError: the manifest is missing or wrong.
    """
    path = _shipped_folder() / "manifest.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}; install the program again") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise WeightsError(f"{path} is not valid TOML: {error}") from error
    return [_read_entry(name, table, path) for name, table in tables.items()]


def locate(name_or_path: str | os.PathLike[str]) -> Path:
    """The checked weights file of a model.

    Args:
        name_or_path: a model's name in the manifest, or the path of any checkpoint. A file that exists wins,
            and is not checked against the manifest.

    Returns:
        Path of an existing file.

    Raises:
        WeightsError: the name is unknown, or its file is not here, cannot be fetched, or is not the one the
            manifest describes.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    name = os.fspath(name_or_path)
    if path.is_dir() or path.suffix == ".safetensors" or len(path.parts) != 1:
        found = "a folder" if path.is_dir() else "no file"
        raise WeightsError(f"got {found} at {name}, expected a checkpoint file or a model name")
    entries = {entry.name: entry for entry in list_models()}
    if name not in entries:
        raise WeightsError(
            f"unknown model {name!r}; known are {', '.join(entries) or 'none'}; or give a checkpoint's path"
        )
    entry = entries[name]
    return _checked(entry.path() or _fetch(entry), entry)


def _checked(path: Path, entry: ModelEntry) -> Path:
    """Return ``path`` if its content is the one the manifest describes."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    if size != entry.size:
        told = f"got {size} bytes, expected {entry.size}"
    elif digest != entry.sha256:
        told = f"got sha256 {digest[:12]}..., expected {entry.sha256[:12]}..."
    else:
        return path
    raise WeightsError(f"{path} is not the file of model {entry.name}: {told}; delete it and get it again")


def _fetch(entry: ModelEntry) -> Path:
    """Download the file of a model from its hub: resumable and atomic, into the hub's own cache."""
    missing = f"the weights of model {entry.name} ({entry.file}) are not on this machine"
    if entry.repo is None:
        looked = " or ".join(str(folder) for folder in weights_folders())
        raise WeightsError(f"{missing}; put the file into {looked}")
    if os.environ.get(OFFLINE_VARIABLE) == "1":
        raise WeightsError(f"{missing} and {OFFLINE_VARIABLE}=1 forbids fetching; unset it or add the file")
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise WeightsError(f"{missing}; to fetch them: pip install huggingface_hub") from error
    try:
        return Path(hub.hf_hub_download(entry.repo, entry.file, revision=entry.revision))
    except Exception as error:  # the hub's errors are many, and a network's more so
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(f"{missing} and could not be fetched from {entry.repo}: {reason[0]}") from error


def weights_folders() -> list[Path]:
    """Where weights files are looked for, in order."""
    named = os.environ.get(FOLDER_VARIABLE)
    return [*([Path(named).expanduser()] if named else []), _shipped_folder()]


def _shipped_folder() -> Path:
    """The folder of the manifest: inside an installed package, or beside it in a clone."""
    package = Path(__file__).resolve().parent
    inside = package / "checkpoints"
    return inside if inside.is_dir() else package.parent / "checkpoints"


def _read_entry(name: str, table: object, path: Path) -> ModelEntry:
    """One table of the manifest; unknown, missing and mistyped keys are errors."""
    types = {field.name: int if field.name == "size" else str for field in fields(ModelEntry)}
    del types["name"]
    if not isinstance(table, dict):
        raise WeightsError(f"{path}: {name} is not a table")
    wrong = [key for key, value in table.items() if not isinstance(value, types.get(key, type(None)))]
    wrong += [key for key in types if key not in table and key not in ("repo", "revision")]
    if wrong:
        raise WeightsError(f"{path}: model {name} has unknown, missing or mistyped keys: {', '.join(wrong)}")
    if Path(table["file"]).name != table["file"]:
        raise WeightsError(
            f"{path}: model {name} has file {table['file']!r}, expected a name without a folder"
        )
    return ModelEntry(name=name, **table)
