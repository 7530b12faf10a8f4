"""``python -m eval linear-probe`` and ``fine-tune``: what a pre-trained encoder is worth for recognition."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from eval.commands.options import device_option, work_folder, work_option
from eval.commands.progress import shown_progress
from inpaint.errors import InpaintError

if TYPE_CHECKING:
    from eval.recognition.encoders import Candidate
    from eval.recognition.outcomes import Outcome
    from eval.recognition.task import RecognitionTask

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class Settings:
    """Values of the options that both commands have."""

    data: Path
    classes: Path | None
    group_column: str | None
    per_class: int | None
    folds: int
    models: tuple[str, ...]
    random: bool
    size: int | None
    seeds: int
    seed: int
    reports: tuple[Path, ...]
    work: Path | None
    device: str

    @property
    def runs(self) -> range:
        """The seeds of the runs."""
        return range(self.seed, self.seed + self.seeds)


_OPTIONS = (
    click.option(
        "--data",
        type=_PATH,
        required=True,
        help="Folder with one sub-folder per class, or a CSV list file,class beside photos or .tar shards.",
    ),
    click.option(
        "--classes", type=_PATH, help="TOML that makes classes of a list's other columns: eval/contents.toml."
    ),
    click.option("--group-column", help="Of the list: rows that share its value are never split."),
    click.option(
        "--per-class",
        type=click.IntRange(min=3),
        metavar="N",
        help="No more photos of each class, drawn by seed.",
    ),
    click.option(
        "--folds", type=click.IntRange(min=3), default=5, show_default=True, help="Parts of the split."
    ),
    click.option(
        "--model",
        "models",
        multiple=True,
        required=True,
        help="Masked autoencoder, or inpainting network whose prior is one; name or checkpoint; repeatable.",
    ),
    click.option("--random", is_flag=True, help="Also the same networks untrained, and the difference."),
    click.option(
        "--size",
        type=click.IntRange(min=1),
        help="Side of the pictures; default: what a network was trained on.",
    ),
    click.option(
        "--seeds",
        type=click.IntRange(min=1),
        default=3,
        show_default=True,
        help="Runs of whatever is random.",
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of split and runs."
    ),
    click.option("--out", "reports", type=_PATH, multiple=True, help="Report: .md or .json; repeatable."),
    work_option,
    device_option,
)


def _check_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a check to a command, which gets them as its first argument, ``Settings``."""

    @functools.wraps(command)
    def with_settings(**values: Any) -> None:
        settings = Settings(**{field.name: values.pop(field.name) for field in fields(Settings)})
        command(settings, **values)

    with_options: Callable[..., None] = with_settings
    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options


@click.command("linear-probe")
@_check_options
def linear_probe(settings: Settings) -> None:
    """Tell the classes of photos by logistic regression on an encoder's frozen features.

    Every photo is tested once, by a probe that learned from the other folds. Features are kept: a run that
    was stopped goes on, and a new checkpoint beside old ones costs its own features only.
    """

    def check(task: RecognitionTask, candidates: list[Candidate], **place: Any) -> list[Outcome]:
        from eval.recognition.probe import probe_candidates

        return probe_candidates(task, candidates, seeds=settings.runs, **place)

    facts = {
        "How": "frozen features, standardised; multinomial logistic regression whose penalty the folds "
        "learned from choose; every photo tested once, by a probe of the other folds",
        "Runs": "a pre-trained encoder is frozen and probed once, a random one with every seed",
    }
    _check_and_report("Linear probe", settings, check, facts)


@click.command("fine-tune")
@_check_options
@click.option("--steps", type=click.IntRange(min=1), default=100, show_default=True, help="Of each run.")
@click.option("--batch-size", type=click.IntRange(min=2), default=16, show_default=True)
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), default=1e-3, show_default=True)
def fine_tune(settings: Settings, steps: int, batch_size: int, learning_rate: float) -> None:
    """Train the whole encoder on the classes of photos for a few steps, and test it on the first fold.

    Every encoder, pre-trained or random, gets the same steps, pictures and rates, once for each seed. A CUDA
    device multiplies in bfloat16. Finished runs are kept: a command that was stopped goes on.
    """

    def check(task: RecognitionTask, candidates: list[Candidate], **place: Any) -> list[Outcome]:
        from eval.recognition.fine_tuning import FineTuning, fine_tune_candidates

        tuning = FineTuning(steps, batch_size, learning_rate)
        return fine_tune_candidates(task, candidates, tuning, seeds=settings.runs, **place)

    facts = {
        "How": "the whole encoder and a linear layer on its standardised features, AdamW, "
        f"{steps} steps of {batch_size} pictures, learning rate {learning_rate:g} on a cosine; tested on the "
        "first fold, trained on the others",
        "Runs": "one for each seed: random weights, last layer, order and crops of the pictures",
    }
    _check_and_report("Fine-tune", settings, check, facts)


def _check_and_report(
    title: str, settings: Settings, check: Callable[..., list[Outcome]], facts: Mapping[str, str]
) -> None:
    """Load what the options name, measure, write the reports, print the Markdown."""
    if importlib.util.find_spec("sklearn") is None:
        raise InpaintError("the package scikit-learn is not installed; pip install -e '.[eval]'")
    import torch

    from eval.recognition.encoders import load_candidates
    from eval.recognition.labels import find_labelled
    from eval.recognition.report import SUFFIXES, make_report, to_markdown, write_report
    from eval.recognition.task import load_task
    from eval.report.files import check_suffix
    from eval.scoring import describe_device
    from inpaint.device import choose_device

    for path in settings.reports:
        check_suffix(path, SUFFIXES)
    device = choose_device(settings.device)
    candidates = load_candidates(settings.models, size=settings.size, random=settings.random)
    labelled = find_labelled(
        settings.data,
        classes=settings.classes,
        group_column=settings.group_column,
        per_class=settings.per_class,
        seed=settings.seed,
    )
    size = max(candidate.size for candidate in candidates)
    task = load_task(
        labelled,
        size,
        folds=settings.folds,
        seed=settings.seed,
        on_problem=lambda line: click.echo(line, err=True),
    )
    try:
        with work_folder(settings.work, settings.reports) as work, shown_progress() as on_progress:
            outcomes = check(task, candidates, work=work, device=device, on_progress=on_progress)
    except torch.OutOfMemoryError as error:
        raise InpaintError(
            f"out of memory on {device}; expected a smaller --size or --batch-size, or --device cpu"
        ) from error
    facts = {
        **facts,
        "Command": _command(),
        "Device": describe_device(device),
        "SHA-256 of models": ", ".join(
            f"{c.name} ({c.identity[:16]})" for c in candidates if c.kind == "pre-trained"
        ),
    }
    report = make_report(title, outcomes, task, seed=settings.seed, facts=facts)
    for path in settings.reports:
        write_report(report, path)
    click.echo(to_markdown(report), nl=False)


def _command() -> str:
    """What was typed, without this machine's folders."""
    context = click.get_current_context()
    words = [f"python -m eval {context.command.name} --data DATA"]
    for parameter in context.command.params:
        name = parameter.name or ""
        typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if typed and name not in ("data", "reports", "work"):
            value = context.params[name]
            values = value if parameter.multiple else (value,)
            words += [parameter.opts[0] if v is True else f"{parameter.opts[0]} {v}" for v in values]
    return " ".join(words)
