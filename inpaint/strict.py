"""Strict reading of TOML tables into dataclasses: a mistake is one line with key, got and expected.

Own code: cattrs or msgspec would check the types, but not ranges, former names and relative paths, nor tell
kinds apart by their keys or say what was expected.
"""

import dataclasses
import difflib
import functools
import os
import re
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from inpaint.errors import ConfigError


def at_least(low: float, *, formerly: str = "", **more: Any) -> Any:
    """Declare a dataclass field of numbers not below `low`; `more` goes to `dataclasses.field`."""
    return field(metadata={"low": low, "formerly": formerly}, **more)


def between(low: float, high: float, **more: Any) -> Any:
    """Declare a dataclass field of numbers from `low` to `high`; `more` goes to `dataclasses.field`."""
    return field(metadata={"low": low, "high": high}, **more)


def formerly(old: str, **more: Any) -> Any:
    """Declare a dataclass field that files of earlier versions call `old`; `more` goes to `field`."""
    return field(metadata={"formerly": old}, **more)


_type_hints = functools.cache(get_type_hints)


def read_table(table: Mapping[str, Any], kind: type[Any], folder: Path, prefix: str = "") -> Any:
    """Check a table and make the dataclass `kind` of it.

    Args:
        table: keys and values.
        kind: a dataclass whose fields are strings, numbers, booleans, paths, literals, tuples and mappings of
            those, `X | None`, dataclasses, or one of several dataclasses, told apart by their keys.
        folder: what relative paths refer to.
        prefix: of the keys in messages, for tables inside tables.

    Raises:
        ConfigError: a key is unknown or missing, or a value is impossible.
    """
    fields = {item.name: item for item in dataclasses.fields(kind)}
    hints = _type_hints(kind)
    table = dict(table)
    for name, item in fields.items():
        old = item.metadata.get("formerly")
        if old in table and name not in table:
            table[name] = table.pop(old)
    for key in sorted(table.keys() - fields.keys()):
        close = [name for name, item in fields.items() if item.metadata.get("formerly") == key]
        close += difflib.get_close_matches(key, fields, n=1)
        advice = f"did you mean {prefix}{close[0]}?" if close else f"known keys: {', '.join(fields)}"
        raise ConfigError(f"unknown key {prefix}{key}; {advice}")
    for name, item in fields.items():
        if name in table:
            table[name] = _read_value(table[name], hints[name], item.metadata, folder, prefix + name)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            expected = describe_type(hints[name], item.metadata)
            raise ConfigError(f"{prefix}{name} is missing, expected {expected}")
    return kind(**table)


def _read_value(value: Any, hint: Any, limits: Mapping[str, Any], folder: Path, key: str) -> Any:
    def read(part: Any, hint: Any, key: str) -> Any:
        return _read_value(part, hint, limits, folder, key)

    if get_origin(hint) in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        if value is None and len(options) < len(get_args(hint)):  # JSON has null; in TOML a key is left out
            return None
        hint = options[0] if len(options) == 1 else _choose(value, options, key)
    origin, kinds = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return read_table(value, hint, folder, f"{key}.")  # type: ignore[arg-type]
    if origin is Literal and value in kinds:
        return value
    if origin is Mapping and isinstance(value, Mapping):
        return {k: read(v, kinds[1], f"{key}.{k}") for k, v in value.items()}
    if origin is tuple:
        if hint == tuple[Path, ...] and isinstance(value, str):
            value = [value]  # one source needs no brackets
        if isinstance(value, list | tuple) and (kinds[-1] is Ellipsis or len(value) == len(kinds)):
            return tuple(read(v, kinds[0], f"{key}[{i}]") for i, v in enumerate(value))
    if hint is Path and isinstance(value, str) and value:
        return folder / Path(_expand(value, key)).expanduser()
    if hint is float and type(value) is int:
        value = float(value)
    low, high = limits.get("low", -sys.float_info.max), limits.get("high", sys.float_info.max)  # no infinity
    if type(value) is hint and (value if hint is str else low <= value <= high):
        return value
    raise ConfigError(f"{key} is {value!r}, expected {describe_type(hint, limits)}")


def _choose(value: Any, options: Sequence[Any], key: str) -> Any:
    """Tell by its keys which of several dataclasses a table is meant for."""

    def fits(option: Any) -> bool:
        items = dataclasses.fields(option)
        known = {item.name for item in items} | {item.metadata.get("formerly") for item in items}
        return isinstance(value, Mapping) and set(value) <= known

    fitting = [option for option in options if fits(option)]
    if len(fitting) != 1:
        keys = sorted(value) if isinstance(value, Mapping) else repr(value)
        kinds = " or ".join(option.__name__ for option in options)
        raise ConfigError(f"{key} is {keys}, expected the keys of {kinds}")
    return fitting[0]


def _expand(text: str, key: str) -> str:
    for name in re.findall(r"\$\{(\w+)\}", text):
        if not os.environ.get(name):
            raise ConfigError(f"{key} is {text!r} and {name} is not set; run: export {name}=FOLDER")
    return os.path.expandvars(text)


def describe_type(hint: Any, limits: Mapping[str, Any]) -> str:
    """Say in words what a field of this type and metadata takes."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(option for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        item = describe_type(kinds[0], limits)
        return f"a list, each {item}" if kinds[-1] is Ellipsis else f"a list of {len(kinds)}, each {item}"
    if dataclasses.is_dataclass(hint) or get_origin(hint) is Mapping:
        return "a table"
    words = {str: "a string", Path: "a path", int: "a whole number", float: "a number", bool: "true or false"}
    text = words.get(hint, str(hint))
    if "low" in limits and "high" in limits:
        return f"{text} from {limits['low']:g} to {limits['high']:g}"
    return f"{text} of at least {limits['low']:g}" if "low" in limits else text
