"""Start the page on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio import themes

from inpaint.web.fills import Fills
from inpaint.web.page import asset, build_app
from inpaint.web.photos import Limits
from inpaint.web.service import Service

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def serve(
    *,
    host: str = "127.0.0.1",
    port: int | None = 7860,
    device: str = "auto",
    login: tuple[str, str] | None = None,
    limits: Limits | None = None,
    open_browser: bool = False,
    block: bool = True,
) -> tuple[gr.Blocks, Service, str]:
    """Build the page and serve it.

    Args:
        host: address to listen on; the default is reachable from this machine alone.
        port: None takes the first free one.
        device: where models run.
        login: name and password that visitors must give; None asks for none.
        limits: of uploads and of the queue.
        open_browser: show the page at once.
        block: wait until the server is stopped; else return with the server running.

    Returns:
        The page, the service behind it, and its address.
    """
    limits = limits or Limits()
    service = Service(Fills(device), limits)
    examples = sorted(EXAMPLES.glob("photo*.jpg"))
    app = build_app(service, examples)
    app.queue(max_size=limits.waiting, default_concurrency_limit=4)
    options: dict[str, Any] = {
        "allowed_paths": [str(service.folder), *map(str, examples)],
        "footer_links": ["api"],
        "run_history": False,
        "ssr_mode": False,
        "css": asset("page.css"),
        "head": f"<script>{asset('keys.js')}</script>",
        "theme": themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    }
    try:
        _, url, _ = app.launch(
            server_name=host,
            server_port=port,
            auth=login,
            max_file_size=limits.file_bytes,
            strict_cors=True,
            share=False,
            inbrowser=open_browser,
            prevent_thread_lock=True,
            quiet=True,
            **options,
        )
        if block:
            print(f"open {url} in your browser; stop with Ctrl+C")
            app.block_thread()
    finally:
        if block:
            service.close()
    return app, service, url
