"""``python -m eval``: score fills and models. Bad input costs one line and exit code 2."""

from __future__ import annotations

import sys
from typing import Any

import click

from eval.commands.ablation import ablation
from eval.commands.collapse import collapse
from eval.commands.recognition import fine_tune, linear_probe
from eval.commands.roadmap import roadmap
from eval.commands.run import run
from eval.commands.score import score
from eval.commands.table import table
from eval.commands.validate import validate
from eval.commands.weights import weights
from inpaint.errors import InpaintError


class _FriendlyGroup(click.Group):
    """Tell an error of ours in one line, without a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except InpaintError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)


@click.group(cls=_FriendlyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Score fills and models on pictures whose truth is known."""


main.add_command(ablation)
main.add_command(collapse)
main.add_command(fine_tune)
main.add_command(linear_probe)
main.add_command(roadmap)
main.add_command(run)
main.add_command(score)
main.add_command(table)
main.add_command(validate)
main.add_command(weights)

if __name__ == "__main__":
    main(prog_name="python -m eval")
