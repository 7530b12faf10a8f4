"""The Batch tab: several photos and one mask, or a zip of pairs; a zip with a report comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from inpaint.batch import BatchReport, JobResult
from inpaint.errors import ImageError, MaskError
from inpaint.web.bundles import fill_pictures, fill_zip
from inpaint.web.friendly import friendly
from inpaint.web.service import Service

_SHOWN = 12


def add_batch_tab(service: Service) -> None:
    """Put the tab's widgets into the page that is being built."""
    titles = [(choice.title, choice.key) for choice in service.fills.choices()]
    gr.Markdown(
        "Several photos with **one mask** (a watermark, a date stamp), or a **zip** with `images/` and "
        "`masks/`, or with `x.jpg` and `x_mask.png`. White in a mask is what goes."
    )
    with gr.Row():
        with gr.Column():
            pictures = gr.File(
                label="Photos", file_count="multiple", file_types=["image"], elem_id="batch-photos"
            )
            mask = gr.File(label="Their mask", file_types=["image"], elem_id="batch-mask")
        archive = gr.File(label="Or a zip of pairs", file_types=[".zip"], elem_id="batch-zip")
    with gr.Row():
        model = gr.Dropdown(titles, value=titles[0][1], label="Fill with")
        growth = gr.Slider(0, 40, value=0, step=1, label="Grow the marks (pixels)")
        start = gr.Button("Fill all", variant="primary", elem_id="batch-run")
    said = gr.Markdown(elem_id="batch-said")
    result = gr.File(label="Results and report", interactive=False, elem_id="batch-result")

    @friendly
    def run(
        files: list[str] | None,
        mask_file: str | None,
        zip_file: str | None,
        key: str,
        pixels: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio finds the bar by this default)
    ) -> tuple[str, str]:
        def show(done: int, total: int, last: JobResult) -> None:
            progress((done, total), desc=last.job.image.name, unit="photos")

        if zip_file and (files or mask_file):
            raise ImageError("got a zip and single files; remove one or the other")
        if zip_file:
            path, report = fill_zip(service, Path(zip_file), key, growth=int(pixels), on_result=show)
        elif not files:
            raise ImageError("choose photos and a mask, or a zip of pairs")
        elif not mask_file:
            raise MaskError("the mask is missing: choose one picture, white where something should go")
        else:
            paths = [Path(file) for file in files]
            path, report = fill_pictures(
                service, paths, Path(mask_file), key, growth=int(pixels), on_result=show
            )
        return str(path), _told(report)

    inputs: list[Any] = [pictures, mask, archive, model, growth]
    start.click(run, inputs, [result, said], concurrency_id="batch", api_visibility="private")


def _told(report: BatchReport) -> str:
    """How many were filled, and one line for each that was not."""
    wrong = [(result.job.image.name, result.reason) for result in report.results if result.status == "failed"]
    wrong += [(problem.path.name, problem.reason) for problem in report.problems]
    lines = [f"**{report.count('done')} filled**, {len(wrong)} not."]
    lines += [f"- `{name}`: {reason}" for name, reason in wrong[:_SHOWN]]
    if len(wrong) > _SHOWN:
        lines.append(f"- and {len(wrong) - _SHOWN} more, see report.csv")
    return "\n".join(lines)
