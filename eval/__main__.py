"""``python -m eval``: score fills and models. Bad input costs one line and exit code 2."""

import click

from eval.commands.score import run, score, table, validate, weights
from eval.commands.studies import ablation, collapse, fine_tune, linear_probe, roadmap
from inpaint.cli import Commands


class _Commands(Commands):
    installs = "pip install -e '.[eval]'"


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Score fills and models on images whose truth is known."""


for command in (ablation, collapse, fine_tune, linear_probe, roadmap, run, score, table, validate, weights):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m eval")
