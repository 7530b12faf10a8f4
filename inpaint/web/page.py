"""The whole page: tabs, looks, keys, and the one public endpoint."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr

from inpaint.web.backbones_tab import add_backbones_tab
from inpaint.web.batch_tab import add_batch_tab
from inpaint.web.erase_tab import AS_PHOTO, AS_PNG, add_erase_tab
from inpaint.web.friendly import friendly
from inpaint.web.inside_tab import add_inside_tab
from inpaint.web.service import Service

TITLE = "Inpaint"


def build_app(service: Service, examples: list[Path] | None = None) -> gr.Blocks:
    """Build the page.

    Args:
        service: what does the work.
        examples: photos to try, already on the server.

    Returns:
        Blocks to launch, see :func:`inpaint.web.server.serve`.
    """
    keep = service.limits.keep_seconds
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(keep // 4 or 1, keep)) as app:
        gr.Markdown(f"# {TITLE}\nPaint over what should go. Everything else stays as it is.", elem_id="title")
        with gr.Tab("Erase", id="erase"):
            photo, result = add_erase_tab(service, examples or [])
        with gr.Tab("Look inside", id="inside"):
            add_inside_tab(service, photo, result)
        with gr.Tab("Backbones", id="backbones"):
            add_backbones_tab(service, photo)
        with gr.Tab("Batch", id="batch"):
            add_batch_tab(service)
        _add_endpoint(service)
    return app


def _add_endpoint(service: Service) -> None:
    """The public endpoint ``/erase``: an image file and a mask file in, the result file out."""
    choices = [choice.key for choice in service.fills.choices()]

    @friendly
    def erase(image: str, mask: str, model: str, grow: float, download_as: str) -> str:
        """Fill the white parts of a mask in an image.

        Returns the result in the image's own format, or as PNG.
        """
        path = service.erase_files(
            Path(image), Path(mask), model, growth=int(grow), lossless=download_as == AS_PNG
        )
        return str(path)

    inputs: list[Any] = [
        gr.File(label="image", visible=False, type="filepath"),
        gr.File(label="mask", visible=False, type="filepath"),
        gr.Textbox(choices[0], label="model", visible=False),
        gr.Number(0, label="grow", visible=False, precision=0),
        gr.Radio([AS_PHOTO, AS_PNG], value=AS_PHOTO, label="download_as", visible=False),
    ]
    result = gr.File(label="result", visible=False)
    gr.Button(visible=False).click(erase, inputs, result, api_name="erase", concurrency_id="fill")


def asset(name: str) -> str:
    """The text of a file beside this module."""
    return resources.files("inpaint.web").joinpath(name).read_text(encoding="utf-8")
