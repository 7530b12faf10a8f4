"""``inpaint.__all__`` is exactly the public surface: every name resolves, nothing else does."""

from __future__ import annotations

import ast
from importlib import metadata
from pathlib import Path

import pytest

import inpaint
from inpaint import errors


def test_all_is_sorted_and_complete() -> None:
    assert inpaint.__all__ == sorted(inpaint.__all__)
    error_names = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert set(inpaint.__all__) == error_names | {
        "InpaintPipeline",
        "__version__",
        "load_checkpoint",
        "read_image",
        "read_mask",
        "write_image",
    }


@pytest.mark.parametrize("name", inpaint.__all__)
def test_every_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(inpaint, name)
    assert value is getattr(inpaint, name)
    if name != "__version__":
        assert value.__doc__, f"{name} has no docstring"
        assert value.__name__ == name


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(str(inpaint.__file__)).with_name("py.typed").is_file()  # PEP 561: else its types are ignored


def test_the_type_checker_sees_the_same_names() -> None:
    tree = ast.parse(Path(str(inpaint.__file__)).read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in guard.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(inpaint.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Inpainting'"):
        inpaint.Inpainting  # noqa: B018


def test_dir_lists_the_public_names() -> None:
    assert set(inpaint.__all__) <= set(dir(inpaint))


def test_every_error_is_an_inpaint_error() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    assert all(issubclass(kind, errors.InpaintError | UserWarning) for kind in kinds)


def test_the_installed_version_is_the_one_in_the_code() -> None:
    assert metadata.version("mae-acr-inpaint") == inpaint.__version__
