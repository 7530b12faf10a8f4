"""What several commands share: options of inpainting, checks of an output before the work, the bar."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import click

from inpaint.errors import ImageError

PATH, FILE, DIR = (click.Path(path_type=Path) for _ in range(3))
FILE.name, DIR.name = "file", "dir"  # what the help calls them


class _DeviceType(click.ParamType):
    name = "device"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
            self.fail(f"got {value!r}, expected auto, cpu, cuda, cuda:N or mps", param, ctx)
        return value


def stack(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """One decorator of several, in the order of the help text."""
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


DEVICE = _DeviceType()
MASK_ADVICE = "if white marks what should stay, use --invert-mask"
device_option = click.option(
    "--device", type=DEVICE, default="auto",
    help="auto, cpu, cuda, cuda:N or mps; auto takes CUDA, then MPS, then the CPU.",
)  # fmt: skip
accept_licence_option = click.option(
    "--accept-licence", is_flag=True, help="Accept a non-commercial licence of weights without being asked."
)
inpainting_options = stack(
    click.option("--model", default="acr-small", help="Name from `inpaint models`, or path of a checkpoint."),
    accept_licence_option,
    device_option,
    click.option("--invert-mask", is_flag=True, help="Black is the hole, not white."),
    click.option(
        "--dilate", type=click.IntRange(min=0), metavar="N",
        help="Grow the holes by N pixels first; 0 takes the mask as it is. By default thick holes grow "
        "by up to 4 pixels, depending on the size of the image.",
    ),
    click.option("--harmonise/--no-harmonise", default=True, help="Match surrounding colour and texture."),
    click.option("--strict", is_flag=True, help="An implausible mask is an error, not a warning."),
    click.option(
        "--precision", type=click.Choice(["float32", "bfloat16", "auto"]), default="float32",
        help="What the network computes in; auto takes bfloat16 where this machine is faster with it.",
    ),
    click.option(
        "--quality", type=click.IntRange(1, 100), metavar="N",
        help="Encode JPEG, WebP, AVIF and HEIC anew at this quality, 1 to 100. Without it a JPEG keeps its "
        "quality, and every block that the fill does not touch.",
    ),
    click.option(
        "--strip-metadata", is_flag=True, help="Leave out EXIF, XMP and text, but not colours or orientation."
    ),
)  # fmt: skip


@contextmanager
def progress_bar(total: int, description: str = "") -> Iterator[Callable[..., None]]:
    """A bar on a terminal, nothing elsewhere: call it after each step, or with what is done by now."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task(description, total=total)
        yield lambda what=description, done=None: bars.update(
            bar, advance=1 if done is None else None, completed=done, description=what
        )


def say(line: str, *, err: bool = False) -> None:
    """Print one line, whatever is in the names of files in it."""
    click.echo(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], line), err=err)


def check_file(output: Path) -> None:
    """Raise ImageError unless ``output`` can be the name of a file to write."""
    if output.is_dir():
        raise ImageError(f"the output {str(output)!r} is a folder, expected a file name: add one")
    if not output.parent.is_dir():
        raise ImageError(f"the output folder {str(output.parent)!r} does not exist: make it first")
    if not os.access(output.parent, os.W_OK):
        raise ImageError(f"the output folder {str(output.parent)!r} may not be written to: choose another")


def check_output(output: Path, inputs: Mapping[str, Path]) -> None:
    """Raise ImageError unless an image can be written to ``output`` without replacing one of ``inputs``.

    The inputs are files by what they are called in the message.
    """
    from inpaint.images import WRITABLE_FORMATS

    name = repr(str(output))
    check_file(output)
    if output.suffix.lower() not in WRITABLE_FORMATS:
        expected = " ".join(WRITABLE_FORMATS)
        raise ImageError(f"the output {name} has suffix {output.suffix!r}, expected one of {expected}")
    for what, path in inputs.items():
        both = output.exists() and path.exists()
        if output.samefile(path) if both else output.resolve() == path.resolve():
            raise ImageError(f"the output {name} is {what} itself and would replace it: choose another name")


def plan_folder(folder: Path, names: Sequence[str], inputs: Mapping[str, Path], option: str) -> list[Path]:
    """The paths of images in a folder that may not be there yet, each checked as by :func:`check_output`."""
    paths = [folder / name for name in names]
    if folder.is_dir():
        for path in paths:
            check_output(path, inputs)
    elif folder.exists() or not os.access(folder.parent, os.W_OK):
        found = "is a file" if folder.exists() else "cannot be made"
        raise ImageError(f"the folder {str(folder)!r} for {option} {found}: choose another")
    return paths
