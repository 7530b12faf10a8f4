"""What several commands share: options of inpainting, checks of an output before the work."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from inpaint.errors import ImageError


class _DeviceType(click.ParamType):
    name = "device"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
            self.fail(f"got {value!r}, expected auto, cpu, cuda, cuda:N or mps", param, ctx)
        return value


DEVICE = _DeviceType()
device_option = click.option(
    "--device",
    type=DEVICE,
    metavar="DEVICE",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:N or mps; auto takes CUDA, then MPS, then the CPU.",
)

accept_licence_option = click.option(
    "--accept-licence",
    is_flag=True,
    help="Accept a non-commercial licence of weights without being asked.",
)


def inpainting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a fill: model, licence, device, precision, mask, harmonise, strict."""
    options = [
        click.option(
            "--model",
            default="acr-small",
            show_default=True,
            help="A name from `inpaint models`, fetched if need be, or the path of a checkpoint.",
        ),
        accept_licence_option,
        device_option,
        click.option("--invert-mask", is_flag=True, help="Black is the hole, not white."),
        click.option(
            "--dilate",
            type=click.IntRange(min=0),
            default=None,
            metavar="N",
            help="Grow the holes by N pixels first; 0 takes the mask as it is. By default thick holes grow "
            "by up to 4 pixels, depending on the size of the image.",
        ),
        click.option(
            "--harmonise/--no-harmonise",
            default=True,
            show_default=True,
            help="Match colour at the rim and grain to the surroundings.",
        ),
        click.option("--strict", is_flag=True, help="An implausible mask is an error, not a warning."),
        click.option(
            "--precision",
            type=click.Choice(["float32", "bfloat16", "auto"]),
            default="float32",
            show_default=True,
            help="What the network computes in; auto takes bfloat16 where this machine is faster with it.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``quality`` and ``strip_metadata`` to a command."""
    quality = click.option(
        "--quality",
        type=click.IntRange(1, 100),
        metavar="N",
        help="Encode JPEG, WebP, AVIF and HEIC anew at this quality, 1 to 100. Without it a JPEG keeps its "
        "quality, and every block that the fill does not touch.",
    )
    strip = click.option(
        "--strip-metadata",
        is_flag=True,
        help="Leave out EXIF, XMP, text and comments; colours, resolution and orientation stay.",
    )
    return quality(strip(command))


def check_output(output: Path, inputs: Mapping[str, Path]) -> None:
    """Raise ImageError unless an image can be written to ``output`` without replacing one of ``inputs``.

    The inputs are files by what they are called in the message.
    """
    from inpaint.images import WRITABLE_FORMATS

    name = repr(str(output))
    if output.is_dir():
        raise ImageError(f"the output {name} is a folder, expected a file name: add one")
    if output.suffix.lower() not in WRITABLE_FORMATS:
        expected = " ".join(WRITABLE_FORMATS)
        raise ImageError(f"the output {name} has suffix {output.suffix!r}, expected one of {expected}")
    if not output.parent.is_dir():
        raise ImageError(f"the output folder {str(output.parent)!r} does not exist: make it first")
    if not os.access(output.parent, os.W_OK):
        raise ImageError(f"the output folder {str(output.parent)!r} may not be written to: choose another")
    for what, path in inputs.items():
        if _is_same_file(output, path):
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


def _is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, also through links, and also where it does not exist yet."""
    try:
        return one.samefile(other)
    except OSError:
        return one.resolve() == other.resolve()
