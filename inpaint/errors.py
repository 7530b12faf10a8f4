"""The errors a caller can meet: one line for a person, of what was got, what was expected and what to do."""

import contextlib
import contextvars
import importlib
import types
import warnings
from collections import abc


class InpaintError(Exception):
    """Base of all errors this package raises on purpose."""


class ImageError(InpaintError):
    """An image cannot be read, written or used."""


class MaskError(InpaintError):
    """A mask cannot be used with its image."""


class MaskWarning(UserWarning):
    """A mask is implausible: it marks nearly everything, or looks like the photo."""


_collected: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("notes", default=None)


def note(line: str, warning: type[Warning] | None = None) -> None:
    """Tell in a line what is not kept or is doubtful: to :func:`collect_notes`, or as a Python warning."""
    if (notes := _collected.get()) is None:
        warnings.warn(line, warning, stacklevel=3)
    elif (told := f"warning: {line}" if warning else line) not in notes:
        notes.append(told)


@contextlib.contextmanager
def collect_notes(notes: list[str]) -> abc.Iterator[None]:
    """Append to ``notes`` what :func:`note` says; Python's own warnings are not for several threads."""
    token = _collected.set(notes)
    try:
        yield
    finally:
        _collected.reset(token)


def few(names: abc.Iterable[str]) -> str:
    """The first three names, and how many more there are, for a message."""
    told = list(names)
    return ", ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")


class ShapeError(InpaintError, ValueError):
    """A tensor does not have the shape a function asks for."""


class CheckpointError(InpaintError):
    """A weights file cannot be read or does not fit the network."""


class WeightsError(InpaintError):
    """A model name is unknown, or its weights are not on this machine."""


class ConfigError(InpaintError):
    """A run's configuration has an unknown key or an impossible value."""


class DataError(InpaintError):
    """Training or evaluation data is missing, empty or broken."""


def require(module: str, work: str, extra: str, name: str = "") -> types.ModuleType:
    """Import what only ``work`` needs; InpaintError says which extra brings it where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InpaintError(
            f"{work} needs {name or module}, which is not installed: pip install 'mae-acr-inpaint[{extra}]'"
        ) from None
