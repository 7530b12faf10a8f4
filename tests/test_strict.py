"""Reading tables into dataclasses: round trips, former names, kinds told apart, a line for each mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpaint.errors import ConfigError
from inpaint.strict import at_least, between, read_table


@dataclass(frozen=True)
class Round:
    radius: float = between(0, 10)


@dataclass(frozen=True)
class Square:
    side: int = at_least(1)
    turned: bool = False


@dataclass(frozen=True)
class Sheet:
    name: str
    shape: Round | Square | None = field(default=None, metadata={"formerly": "form"})
    sizes: tuple[int, ...] = ()
    colour: Literal["red", "blue"] = "red"
    shares: Mapping[str, float] = field(default_factory=dict)
    file: Path | None = None


def read(**table: Any) -> Sheet:
    return read_table(table, Sheet, Path("/here"))


@given(
    st.builds(
        Sheet,
        st.text(min_size=1),
        st.one_of(
            st.none(), st.builds(Round, st.floats(0, 10)), st.builds(Square, st.integers(1), st.booleans())
        ),
        st.lists(st.integers()).map(tuple),
        st.sampled_from(["red", "blue"]),
        st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_what_was_taken_apart_is_put_together_again(sheet: Sheet) -> None:
    assert read_table(asdict(sheet), Sheet, Path()) == sheet


def test_a_field_may_have_its_former_name_but_not_both() -> None:
    assert read(name="a", form={"radius": 1}) == Sheet("a", Round(1.0))
    with pytest.raises(ConfigError, match="unknown key form; did you mean shape"):
        read(name="a", form={"radius": 1}, shape={"radius": 1})


def test_paths_refer_to_the_folder_and_to_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(name="a", file="b.png").file == Path("/here/b.png")
    monkeypatch.setenv("SHEETS", "/there")
    assert read(name="a", file="${SHEETS}/b.png").file == Path("/there/b.png")
    monkeypatch.delenv("SHEETS")
    with pytest.raises(ConfigError, match="SHEETS is not set; run: export SHEETS=FOLDER"):
        read(name="a", file="${SHEETS}/b.png")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "name is missing, expected a string"),
        ({"name": ""}, "name is '', expected a string"),
        ({"name": "a", "colours": "red"}, "unknown key colours; did you mean colour?"),
        ({"name": "a", "colour": "green"}, "colour is 'green', expected one of 'red', 'blue'"),
        ({"name": "a", "shape": {"side": 0}}, "shape.side is 0, expected a whole number of at least 1"),
        ({"name": "a", "shape": {"radius": 11}}, "shape.radius is 11.0, expected a number from 0 to 10"),
        ({"name": "a", "shape": {"side": True}}, "shape.side is True, expected a whole number"),
        ({"name": "a", "shape": {"radius": 1, "side": 1}}, "expected the keys of Round or Square"),
        ({"name": "a", "sizes": [1, "2"]}, "sizes[1] is '2', expected a whole number"),
        ({"name": "a", "sizes": 3}, "sizes is 3, expected a list, each a whole number"),
        ({"name": "a", "shares": {"b": "c"}}, "shares.b is 'c', expected a number"),
        ({"name": "a", "shares": 3}, "shares is 3, expected a table"),
    ],
)
def test_a_mistake_costs_one_line(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_table(table, Sheet, Path())
    assert message in str(caught.value)
