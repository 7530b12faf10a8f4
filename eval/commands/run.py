"""``python -m eval run``: inpaint and score in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from eval.commands.options import Settings, models_option, score_and_report, scoring_options
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    import torch

    from eval.methods import Method
    from eval.pairs import Task


@click.command()
@scoring_options
@models_option
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    help="Folder for the filled pictures as PNG, one folder a method.",
)
def run(settings: Settings, models: tuple[str, ...], save: Path | None) -> None:
    """Fill the holes with models, and score what they make.

    A picture and its mask have the same name, whatever their suffixes; subfolders are not searched. Models
    never see what lies under the hole. A run that was stopped goes on when the same command is given.
    """
    if not models and not settings.floors:
        raise InpaintError("nothing to score; give --model NAME_OR_PATH or --floors")

    def find_methods(task: Task, device: torch.device) -> list[Method]:
        from eval.methods import load_models

        return load_models(models, device)

    score_and_report(settings, find_methods, save)
