"""``python -m eval validate``: the fixed validation protocol."""

from __future__ import annotations

from pathlib import Path

import click

from eval.commands.options import device_option, floors_option, models_option, reports_option
from eval.commands.progress import shown_progress
from inpaint.errors import InpaintError


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Training data folder.")
@models_option
@floors_option
@reports_option
@click.option(
    "--limit", type=click.IntRange(min=2), help="Only so many pictures, evenly spread: a quick look."
)
@click.option("--save", type=click.Path(path_type=Path), help="Folder for the composites as PNG.")
@device_option
def validate(
    data: Path,
    models: tuple[str, ...],
    floors: bool,
    reports: tuple[Path, ...],
    limit: int | None,
    save: Path | None,
    device: str,
) -> None:
    """Run the fixed validation protocol (DATA/val with the published masks, 256 x 256)."""
    from eval import methods
    from eval.protocol import validate_methods
    from eval.report import to_markdown, write_report
    from eval.report.files import check_suffix
    from inpaint.device import choose_device

    if not models and not floors:
        raise InpaintError("nothing to score; give --model NAME_OR_PATH or --floors")
    for path in reports:
        check_suffix(path)
    place = choose_device(device)
    # All models are loaded before any is scored: a wrong name must not cost the minutes before it.
    rows = (methods.floors() if floors else []) + methods.load_models(models, place)
    with shown_progress() as on_progress:
        report = validate_methods(data, rows, place, limit=limit, save=save, on_progress=on_progress)
    for path in reports:
        write_report(report, path)
    click.echo(to_markdown(report), nl=False)
