"""``python -m eval validate``: the fixed validation protocol."""

from __future__ import annotations

from pathlib import Path

import click

from eval.commands.options import (
    MEASURES_OPTIONS,
    PATH,
    baselines_option,
    models_option,
    reports_option,
    save_option,
)
from eval.commands.progress import shown_progress
from inpaint.cli.options import device_option
from inpaint.errors import InpaintError


@click.command()
@click.option("--data", type=PATH, required=True, help="Training data folder.")
@models_option
@baselines_option
@reports_option
@click.option("--limit", type=click.IntRange(min=2), metavar="N", help="Only N images, evenly spread.")
@save_option
@device_option
def validate(
    data: Path,
    models: tuple[str, ...],
    baselines: bool,
    reports: tuple[Path, ...],
    limit: int | None,
    save: Path | None,
    device: str,
    weights: tuple[Path, ...],
    lpips: tuple[str, ...],
    fid: tuple[str, ...],
) -> None:
    """Run the fixed validation protocol (DATA/val with the published masks, 256 x 256).

    Feature networks are looked for in DATA/metrics and in every --weights.
    """
    from eval.protocol import validate_methods
    from eval.report.files import check_suffix, write_report
    from eval.report.markdown import to_markdown
    from eval.tasks.methods import baseline_methods, load_models
    from inpaint.device import choose_device

    if not models and not baselines:
        raise InpaintError("nothing to score; give --model NAME_OR_PATH or --baselines")
    for path in reports:
        check_suffix(path)
    place = choose_device(device)
    # All models are loaded before any is scored: a wrong name must not cost the minutes before it.
    rows = (baseline_methods() if baselines else []) + load_models(models, place)
    with shown_progress() as on_progress:
        report = validate_methods(
            data, rows, place, limit=limit, save=save, on_progress=on_progress, weights=weights, lpips=lpips,
            fid=fid,
        )  # fmt: skip
    for path in reports:
        write_report(report, path)
    click.echo(to_markdown(report), nl=False)


for option in reversed(MEASURES_OPTIONS):
    validate = option(validate)
