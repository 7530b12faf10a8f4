"""The command line: ``inpaint run | batch | serve | masks | models | backbones | convert | export | train``.

A command ``NAME`` is the attribute ``NAME`` of the module ``inpaint.cli.NAME``, imported when it is called;
``export`` is in ``inpaint.cli.convert``.
Those modules import torch and the like inside their functions only, so that ``--help`` is immediate.
"""

import atexit
import gc
import io
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from inpaint import __version__
from inpaint.errors import InpaintError

COMMANDS = ("run", "batch", "serve", "masks", "models", "backbones", "convert", "export", "train")


class Commands(click.Group):
    """Tells every expected failure in one line."""

    installs = "pip install mae-acr-inpaint"  # what brings a package that is missing

    def invoke(self, ctx: click.Context) -> Any:  # noqa: D102
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # what that left undone only the command knows
            click.echo("\n" * sys.stderr.isatty() + ctx.meta.get("stopped", "stopped"), err=True)
            ctx.exit(130)

    def main(  # type: ignore[override]  # noqa: D102
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **options: Any
    ) -> NoReturn:
        options["standalone_mode"] = False
        # Threads that wait spin a little, then sleep, see docs/SPEED.md. Torch reads this when it is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # of GNU's OpenMP, which then ignores the policy
        # Huge pages are slow to get where memory is fragmented: a copy of 48 megapixels took 1 s, not 0.07.
        os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
        os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what is damaged is told in our own line
        # Without a last search for unused objects, 0.4 s with torch's; OpenImageIO would list what is left.
        atexit.register(lambda: (gc.unfreeze if "OpenImageIO" in sys.modules else gc.freeze)())
        for stream in (sys.stdout, sys.stderr):  # a file's name may have characters that the console lacks
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            code = super().main(args, prog_name, **options)
        except click.Abort:
            _fail("stopped", 130)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "inpaint"
            _fail(f"{error.format_message().rstrip('.')}; see: {command} --help", 2)
        except (click.ClickException, InpaintError) as error:
            _fail(str(error), 2)
        except ModuleNotFoundError as error:
            _fail(f"the package {error.name} is not installed; {self.installs}", 2)
        except OSError as error:
            _fail(_explain(error), 2)
        # Without standalone mode click returns the code of ctx.exit(), or what the command returned.
        sys.exit(code if isinstance(code, int) else 0)


class _LazyCommands(Commands):
    """Imports commands on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = {"export": "convert"}.get(cmd_name, cmd_name)
        return getattr(import_module(f"inpaint.cli.{module}"), cmd_name)


def _explain(error: OSError) -> str:
    """What could not be done with which file; what click or Rich could not write has no name."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    if error.filename is None and frame.f_globals["__name__"].startswith(("click.", "rich.")):
        return f"cannot write to standard output: {str(error.strerror).lower()}"
    return f"{error.strerror or error}: {error.filename or 'unknown file'}"


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(code)


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


@click.group(cls=_LazyCommands, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="inpaint", message="%(prog)s %(version)s")
def main() -> None:
    """Fill holes in photos with a masked-autoencoder prior and an attention-guided generator."""
