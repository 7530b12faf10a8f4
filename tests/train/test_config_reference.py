"""docs/CONFIG.md is what the dataclasses say, and says something of every key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from inpaint.cli import main
from inpaint.data.config import Augment
from inpaint.train.config import CONFIGS, LossWeights, Variant, config_reference

PAGE = Path(__file__).parents[2] / "docs" / "CONFIG.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == config_reference(), (
        "run: inpaint train --keys > docs/CONFIG.md"
    )


def test_every_key_is_documented() -> None:
    page = config_reference()
    for kind in (*CONFIGS.values(), Augment, LossWeights, Variant):
        for field in dataclasses.fields(kind):
            assert f"| `{field.name}` | " in page, f"{kind.__name__}.{field.name}"
    assert "| `precision` | one of 'auto', 'float32', 'bf16' | `\"float32\"` |" in page
    assert "| `batch_size` | a whole number of at least 1 | required |" in page


def test_the_command_prints_it(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--keys"])
    assert not ended.value.code and capsys.readouterr().out == config_reference()
