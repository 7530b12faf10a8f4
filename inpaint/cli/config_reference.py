"""The reference of all config keys, made from the dataclasses that read them: docs/CONFIG.md."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from typing import Any, get_type_hints

from inpaint.data.config import Augment, DataConfig
from inpaint.strict import describe_type
from inpaint.train.config import (
    AcrRunConfig,
    FcmaeRunConfig,
    LossWeights,
    MaeRunConfig,
    RunConfig,
    Variant,
    plain_value,
)

_HEADER = """# Config keys

Every key of the TOML files that `inpaint train` reads. A key without a default must be given, by the file
itself or by its `base`. Paths are relative to the file and may contain environment variables as `${DATA}`.
This page is generated: `inpaint train --keys > docs/CONFIG.md`.
"""
_SECTIONS: tuple[tuple[str, type[Any], str], ...] = (
    ("Every run", RunConfig, "All kinds have these keys, and those of the data."),
    ("Data", DataConfig, "See [DATA.md](DATA.md)."),
    ("`[augment]`", Augment, "A table of the data."),
    ('`kind = "mae"`', MaeRunConfig, "Pre-training of a prior made of transformer blocks."),
    (
        '`kind = "fcmae"`',
        FcmaeRunConfig,
        "Pre-training of a convolutional prior: the keys of `mae`, and these.",
    ),
    ('`kind = "acr"`', AcrRunConfig, "Training of an inpainter."),
    ("`[weights]`", LossWeights, "A table of `acr`: weights of the losses; 0 leaves a loss out."),
    (
        "`[variant]`",
        Variant,
        "A table of `acr`: changes to the preset; without a key the preset's choice holds.",
    ),
)


def config_reference() -> str:
    """All keys with type, default and meaning, as Markdown."""
    parts = [_HEADER]
    for title, kind, about in _SECTIONS:
        rows = [f"| `{name}` | {type_} | {default} | {text} |" for name, type_, default, text in _rows(kind)]
        table = ["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows]
        parts.append("\n".join([f"## {title}", "", about, "", *table]) + "\n")
    return "\n".join(parts)


def _rows(kind: type[Any]) -> list[tuple[str, str, str, str]]:
    """Name, type, default and meaning of the keys that a class adds to those of its bases, or changes."""
    hints, meanings = get_type_hints(kind), _meanings(kind)
    rows = []
    for item in dataclasses.fields(kind):
        if item.name not in meanings:
            continue
        default = "required"
        if dataclasses.is_dataclass(hints[item.name]):
            default = "see below"
        elif item.default is not dataclasses.MISSING:
            value = plain_value(item.default)
            default = "-" if value in (None, []) else f"`{json.dumps(value)}`"  # TOML writes these alike
        rows.append((item.name, describe_type(hints[item.name], item.metadata), default, meanings[item.name]))
    return rows


def _meanings(kind: type[Any]) -> dict[str, str]:
    """What the docstring of a class says of its own attributes."""
    text = inspect.getdoc(kind) or ""
    _, _, attributes = text.partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", attributes, flags=re.MULTILINE)
    return {name: " ".join(meaning.split()).rstrip(".") for name, meaning in found}
