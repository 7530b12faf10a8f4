"""``python -m eval``: score fills and models. Bad input costs one line and exit code 2."""

import sys
from typing import Any

import click

from eval.commands.options import ALIASES
from eval.commands.score import run, score, table, validate, weights
from eval.commands.studies import ablation, collapse, fine_tune, linear_probe, roadmap
from inpaint.errors import InpaintError


class _Commands(click.Group):
    """Tells every expected failure in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InpaintError as error:
            message = str(error)
        except ModuleNotFoundError as error:
            message = f"the package {error.name} is not installed; pip install -e '.[eval]'"
        click.echo(f"error: {message}", err=True)
        sys.exit(2)


@click.group(
    cls=_Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "show_default": True,
        "token_normalize_func": lambda name: ALIASES.get(name, name),
    },
)
def main() -> None:
    """Score fills and models on images whose truth is known."""


for command in (ablation, collapse, fine_tune, linear_probe, roadmap, run, score, table, validate, weights):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m eval")
