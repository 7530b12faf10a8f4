"""``python -m eval run``: inpaint and score in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from eval.commands.options import (
    RUN_OPTIONS,
    SET_OPTIONS,
    RunSettings,
    SetSettings,
    models_option,
    save_option,
    score_and_report,
    with_options,
)
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    import torch

    from eval.tasks.methods import Method
    from eval.tasks.pairs import Task


@click.command()
@with_options(SetSettings, SET_OPTIONS)
@with_options(RunSettings, RUN_OPTIONS)
@models_option
@save_option
def run(what: SetSettings, run: RunSettings, models: tuple[str, ...], save: Path | None) -> None:
    """Inpaint images with models, and score the results.

    An image and its mask have the same name, whatever their suffixes; subfolders are not searched. Models
    never see what lies under the hole. A run that was stopped resumes when the same command is given.
    """
    if not models and not what.baselines:
        raise InpaintError("nothing to score; give --model NAME_OR_PATH or --baselines")

    def find_methods(task: Task, device: torch.device) -> list[Method]:
        from eval.tasks.methods import load_models

        return load_models(models, device)

    score_and_report(what, run, find_methods, save)
