"""Confirm the published models end to end: ``python benchmarks/published.py --data DATA``.

Fetches them by name, converts them, scores the fixed validation set, and prints the published figures
below. Needs the internet the first time, and DATA as ``python -m eval validate`` does.
"""

from __future__ import annotations

from pathlib import Path

import click

from eval.__main__ import main as evaluate
from eval.published import read_published
from inpaint.weights import find_model
from inpaint.weights.terminal import fetch_in_terminal

MODELS = ("big-lama", "lama-places", "migan")
NON_COMMERCIAL = ("acr-base-places2",)
METHODS = {"lama": "lama-places", "mae-far": "acr-base-places2"}
"""Rows of the published tables, by the model here that has their weights."""
TABLES = ("places2-256", "places2-512", "lama-places2-512-narrow", "lama-places2-512-wide")


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Training data folder.")
@click.option("--accept-licence", is_flag=True, help=f"Also {', '.join(NON_COMMERCIAL)}: CC BY-NC 4.0.")
@click.option("--model", "names", multiple=True, help=f"Instead of {', '.join(MODELS)}; may be repeated.")
@click.option("--limit", type=click.IntRange(min=2), help="Only so many photos, evenly spread.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the report of our scores here.")
@click.option("--device", default="auto", show_default=True)
def main(
    data: Path, accept_licence: bool, names: tuple[str, ...], limit: int | None, out: Path | None, device: str
) -> None:
    """Fetch, convert and score the published models, and print the published figures."""
    names = names or (*MODELS, *(NON_COMMERCIAL if accept_licence else ()))
    for name in names:
        path = fetch_in_terminal(name, kinds=("inpainter",), accept_licence=accept_licence)
        unverified = [file.name for file in find_model(name).files if not file.verified]
        click.echo(f"{name}: {path}" + (f" (unverified: {', '.join(unverified)})" if unverified else ""))
    words = ["validate", "--data", str(data), "--device", device]
    words += [word for name in names for word in ("--model", name)]
    words += ["--limit", str(limit)] if limit else []
    words += ["--out", str(out)] if out else []
    click.echo("\n## Scored here, on the fixed validation set\n")
    with evaluate.make_context("eval", words) as context:
        evaluate.invoke(context)
    click.echo(
        "\n## As published\n\nOther images, masks and definitions: ranks can be compared, numbers cannot."
    )
    for key in TABLES:
        table = read_published()[key]
        columns = [name for name in table.protocol.columns if any(name in row.scores for row in table.rows)]
        click.echo(f"\n{table.title} ({table.source})\n\n| method | {' | '.join(columns)} |")
        click.echo(f"| --- |{' --- |' * len(columns)}")
        for row in table.rows:
            scores = [str(row.scores.get(column, "")) for column in columns]
            ours = METHODS.get(row.method)
            label = f"{row.label} (here {ours})" if ours else row.label
            click.echo(f"| {label} | {' | '.join(scores)} |")


if __name__ == "__main__":
    main()
