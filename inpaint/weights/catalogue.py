"""The models that can be named, shipped and published, with addresses and checksums of their files."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from inpaint.errors import ConfigError, WeightsError
from inpaint.strict import at_least, read_table

FOLDER_VARIABLE = "INPAINT_CHECKPOINTS"
CATALOGUE = Path(__file__).with_name("catalogue.toml")

Kind = Literal["inpainter", "prior", "backbone", "network", "selector"]


@dataclass(frozen=True)
class PublishedFile:
    """A file as it is published; ``catalogue.toml`` says what the fields mean."""

    name: str
    sources: tuple[str, ...] = ()
    sha256: str = ""
    size: int = at_least(0, default=0)
    verified: bool = True
    note: str = ""

    @property
    def pinned(self) -> bool:
        """Whether the whole sum is public."""
        return len(self.sha256) == 64


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be named; ``catalogue.toml`` says what the fields mean."""

    name: str
    kind: Kind
    summary: str
    licence: str
    megabytes: float
    choices: tuple[tuple[str, ...], ...]
    non_commercial: bool = False
    convert: bool = False
    working_size: int = at_least(64, default=0)
    files: tuple[PublishedFile, ...] = ()
    """Those that ``choices`` name."""
    shipped: bool = False
    """Whether its file comes with this program."""
    title: str = ""
    advice: str = ""
    prior: bool | None = None
    needs: str = ""

    def options(self) -> list[list[PublishedFile]]:
        """The files of each choice."""
        by_name = {file.name: file for file in self.files}
        return [[by_name[name] for name in choice] for choice in self.choices]


@dataclass(frozen=True)
class _Catalogue:
    models: Mapping[str, ModelEntry]
    files: Mapping[str, PublishedFile]


def list_models(*kinds: Kind) -> list[ModelEntry]:
    """The models of some kinds, or of all, shipped ones first; WeightsError if a list of them is wrong."""
    entries = [*_read_catalogue(shipped_folder() / "manifest.toml"), *_read_catalogue(CATALOGUE)]
    return [entry for entry in entries if not kinds or entry.kind in kinds]


def find_model(name: str) -> ModelEntry:
    """Look a model up by name; the WeightsError for an unknown one names the closest."""
    entries = {entry.name: entry for entry in list_models()}
    if name in entries:
        return entries[name]
    close = difflib.get_close_matches(name, entries, n=1)
    known = f"did you mean {close[0]}?" if close else "`inpaint models` lists the known ones"
    raise WeightsError(f"unknown model {name!r}; {known}; or give a checkpoint's path")


def weights_folders() -> list[Path]:
    """Where people put checkpoints of their own, and where the shipped ones are, in this order."""
    named = os.environ.get(FOLDER_VARIABLE)
    return [*([Path(named).expanduser()] if named else []), shipped_folder()]


def shipped_folder() -> Path:
    """The folder of the manifest: inside an installed package, or beside it in a clone."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "checkpoints"
    return inside if inside.is_dir() else package.parent / "checkpoints"


def _read_catalogue(path: Path) -> list[ModelEntry]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        for rows in tables.values():
            for name, row in rows.items():
                row["name"] = name
        catalogue = read_table(tables, _Catalogue, path.parent)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}; install the program again") from error
    except (ValueError, ConfigError) as error:
        raise WeightsError(f"{path}: {error}") from error
    entries = []
    for entry in catalogue.models.values():
        named = dict.fromkeys(file for choice in entry.choices for file in choice)
        entries.append(replace(entry, files=tuple(catalogue.files[file] for file in named)))
    return entries
