"""The reference of all config keys, made from the dataclasses that read them: docs/CONFIG.md."""

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, get_type_hints

from inpaint.data.config import Augment, DataConfig
from inpaint.strict import describe_type
from inpaint.train.config import AcrRunConfig, FcmaeRunConfig, LossWeights, MaeRunConfig, RunConfig, Variant

_HEADER = """# Config keys

Every key of the TOML files that `inpaint train` reads; [DATA.md](DATA.md) says more about those of the data.
A key without a default must be given, by the file itself or by its `base`. Paths are relative to the file and
may contain environment variables as `${DATA}`.
This page is generated: `inpaint train --keys > docs/CONFIG.md`.
"""
_TABLE_HEAD = ("| key | type | default | meaning |", "| --- | --- | --- | --- |")
_SECTIONS: dict[str, type[Any]] = {
    "Every run": RunConfig,
    "Data": DataConfig,
    "`[augment]`": Augment,
    '`kind = "mae"`': MaeRunConfig,
    '`kind = "fcmae"`': FcmaeRunConfig,
    '`kind = "acr"`': AcrRunConfig,
    "`[weights]`": LossWeights,
    "`[variant]`": Variant,
}


def config_reference() -> str:
    """All keys with type, default and meaning, as Markdown."""
    page = [_HEADER]
    for title, kind in _SECTIONS.items():
        about, _, meanings = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")
        page += [f"## {title}", "", " ".join(about.split()), "", *_TABLE_HEAD, *_rows(kind, meanings), ""]
    return "\n".join(page)


def _rows(kind: type[Any], meanings: str) -> Iterator[str]:
    """The keys that a class adds to those of its bases, or changes: those its docstring says something of."""
    hints, fields = get_type_hints(kind), {item.name: item for item in dataclasses.fields(kind)}
    for name, meaning in re.findall(r"^    (\w+): (.*(?:\n        .*)*)", meanings, flags=re.MULTILINE):
        item, default = fields[name], "required"
        if dataclasses.is_dataclass(hints[name]):
            default = "see below"
        elif item.default is not dataclasses.MISSING:  # TOML writes values as JSON does
            default = "-" if item.default in (None, ()) else f"`{json.dumps(item.default)}`"
        type_, text = describe_type(hints[name], item.metadata), " ".join(meaning.split()).rstrip(".")
        yield f"| `{name}` | {type_} | {default} | {text} |"
