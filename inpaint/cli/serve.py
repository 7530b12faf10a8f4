"""``inpaint serve``: open the page on this machine."""

import webbrowser
from typing import Any

import click

from inpaint.cli.options import device_option
from inpaint.errors import require


@click.command(short_help="Open the web page on this machine.")
@click.option("--host", default="127.0.0.1", help="Listening address; 0.0.0.0 lets others in: use --login.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, help="0 takes a free one.")
@device_option
@click.option(
    "--login", metavar="NAME:PASSWORD", envvar="INPAINT_LOGIN", help="Ask visitors for it (or INPAINT_LOGIN)."
)
@click.option("--max-mb", type=click.IntRange(min=1), default=200, help="Largest upload.")
@click.option("--max-megapixels", type=click.IntRange(min=1), default=100, help="Largest photo.")
@click.option(
    *("--allow-host", "hosts"), metavar="NAME", multiple=True,
    help="Name under which visitors reach this server; IP addresses and localhost always work.",
)  # fmt: skip
@click.option("--allow-downloads", is_flag=True, help="Let visitors fetch published models by a click.")
@click.option("--open", "open_browser", is_flag=True, help="Show the page in the browser at once.")
def serve(login: str | None, max_mb: int, max_megapixels: int, open_browser: bool, **options: Any) -> None:
    """Open a web page on which photos can be painted over and filled.

    Nothing leaves this machine. Photos and results are deleted an hour after their last use, and when the
    server stops.
    """
    if login is not None and not all(login.partition(":")):
        raise click.BadParameter("expected NAME:PASSWORD, both of them", param_hint="--login")
    require("gradio", "the page", "app", "Gradio")
    from inpaint.web.photos import Limits
    from inpaint.web.server import serve as build_server

    name, _, password = (login or "").partition(":")
    limits = Limits(file_bytes=max_mb * 2**20, pixels=max_megapixels * 1_000_000)
    server = build_server(login=(name, password) if login else None, limits=limits, **options)
    click.echo(f"open {server.url} in your browser; stop with Ctrl+C")
    if open_browser:  # which takes longer to start than the server
        webbrowser.open(server.url)
    server.run()
