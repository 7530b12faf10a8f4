"""``python -m eval ablation``: train the rows of an ablation on an equal budget, and compare them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from eval.commands.options import reports_option
from eval.commands.progress import shown_progress
from inpaint.cli.options import DEVICE

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--data", type=_PATH, required=True, help="Training data folder; configs find it as ${DATA}.")
@click.option(
    "--configs", type=_PATH, default=Path("configs/ablation"), show_default=True, help="Folder of the rows."
)
@click.option("--rows", help="Only these, with commas between; the base is always scored beside them.")
@click.option(
    "--images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Budget of each row, in place of the configs'; such runs get folders of their own.",
)
@click.option("--limit", type=click.IntRange(min=2), metavar="N", help="Score only N images.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs at the same time, each with its share of the processor's cores.",
)
@reports_option
@click.option("--device", type=DEVICE, metavar="DEVICE", help="Without it training follows the configs.")
def ablation(
    data: Path,
    configs: Path,
    rows: str | None,
    images: int | None,
    limit: int | None,
    jobs: int,
    reports: tuple[Path, ...],
    device: str | None,
) -> None:
    """Train each row on an equal budget from one base, score all, and say what differs.

    What is trained already is only scored, and a run that was stopped goes on.
    """
    from eval.report.files import check_suffix
    from eval.studies.ablation import plan_ablation, score_ablation
    from eval.studies.ablation_report import to_markdown, write_ablation
    from eval.studies.ablation_training import train_ablation
    from inpaint.device import choose_device

    for path in reports:
        check_suffix(path)
    place = choose_device(device or "auto")
    os.environ["DATA"] = str(data.resolve())  # what the configs call the folder
    wanted = [row.strip() for row in rows.split(",")] if rows else []
    plan = plan_ablation(configs, wanted, images=images, device=device)
    options = {"configs": configs, "rows": rows, "images": images, "limit": limit}
    command = "python -m eval ablation --data DATA" + "".join(
        f" --{name} {value}" for name, value in options.items() if value is not None
    )
    with shown_progress() as on_progress:
        train_ablation(plan, on_progress, jobs=jobs)
    with shown_progress() as on_progress:
        result = score_ablation(plan, data, place, limit=limit, command=command, on_progress=on_progress)
    for path in reports:
        write_ablation(result, path)
    click.echo(to_markdown(result), nl=False)
