"""``python -m eval score``: score image files made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eval.commands.options import (
    RUN_OPTIONS,
    SET_OPTIONS,
    RunSettings,
    SetSettings,
    score_and_report,
    with_options,
)
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    from eval.tasks.methods import Method
    from eval.tasks.pairs import Task


@click.command()
@with_options(SetSettings, SET_OPTIONS)
@with_options(RunSettings, RUN_OPTIONS)
@click.option(
    "--pred",
    "predictions",
    multiple=True,
    metavar="NAME=DIR",
    help="A method's name in the table, and the folder of its predictions; repeatable.",
)
def score(what: SetSettings, run: RunSettings, predictions: tuple[str, ...]) -> None:
    """Score predictions on disk against the ground truth.

    An image, its mask and its predictions have the same name, whatever their suffixes; subfolders are not
    searched. Outside the hole every prediction is replaced by the ground truth before it is measured; the
    report says what it had changed there. A run that was stopped resumes when the same command is given.
    """
    if not predictions and not what.baselines:
        raise InpaintError("nothing to score; give --pred NAME=DIR or --baselines")
    folders = [name_and_folder(text) for text in predictions]
    score_and_report(what, run, lambda task, device: methods_of_files(folders, task, run.allow_missing))


def methods_of_files(folders: Sequence[tuple[str, Path]], task: Task, allow_missing: bool) -> list[Method]:
    """Rows of image files made elsewhere, from their names and folders."""
    from eval.tasks.methods import Method
    from eval.tasks.pairs import find_predictions

    methods = []
    for name, folder in folders:
        files = find_predictions(folder, task, allow_missing=allow_missing)
        methods.append(Method(name, "files", files, files.fingerprint))
    return methods


def name_and_folder(text: str) -> tuple[str, Path]:
    """What ``--pred`` names.

    Raises:
        InpaintError: it is not NAME=DIR.
    """
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise InpaintError(f"got --pred {text}; expected NAME=DIR, such as lama=results/lama")
    return name, Path(folder)
