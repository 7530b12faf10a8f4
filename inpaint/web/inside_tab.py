"""The Look inside tab: what the prior imagines, where it looks, what it changes; the autoencoder as a toy."""

from __future__ import annotations

from typing import Any

import gradio as gr

from inpaint.errors import InpaintError
from inpaint.images import read_image
from inpaint.inspect import Inspection, inspect_fill, reconstruct_hidden, require_autoencoder, view_attention
from inpaint.web.friendly import friendly
from inpaint.web.photos import Photo
from inpaint.web.service import Result, Service

_HIDINGS = [
    ("random patches", "random"),
    ("training mixture: a hole, topped up with random patches", "mixed"),
    ("what I painted", "drawn"),
]


def add_inside_tab(service: Service, photo_state: gr.State, result_state: gr.State) -> None:
    """Put the tab's widgets into the page that is being built.

    Args:
        service: what does the work.
        photo_state: the Erase tab's :class:`Photo`.
        result_state: the Erase tab's last :class:`Result`.
    """
    insight_state = gr.State(None)
    models = [(choice.title, choice.key) for choice in service.fills.choices()]
    gr.Markdown("Erase something on the first tab, then look at how that fill came about.")
    with gr.Row():
        model = gr.Dropdown(models, value=models[0][1], label="Model", elem_id="inside-model")
        look = gr.Button("Look inside the last fill", variant="primary", elem_id="look")
    problem = gr.Markdown(visible=False, elem_id="inside-problem")
    with gr.Column(visible=False) as area:
        with gr.Row():
            pictures = [
                gr.Image(
                    label=label,
                    format="png",
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    elem_id=name,
                )
                for label, name in (
                    ("What the prior imagines", "reconstruction"),
                    ("Fill with the prior", "with-prior"),
                    ("Same weights, prior left out", "without-prior"),
                )
            ]
        said = gr.Markdown()
        with gr.Row():
            masked = gr.Image(
                label="Click a point in the hole",
                format="png",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="points",
            )
            with gr.Column():
                heat = gr.Image(
                    label="Where the prior looks",
                    format="png",
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    elem_id="heat",
                )
                heat_said = gr.Markdown()
        alphas = gr.Markdown()

    with gr.Accordion("Masked autoencoder: hide patches", open=False):
        with gr.Row():
            hiding = gr.Radio(_HIDINGS, value="random", label="Hide")
            ratio = gr.Slider(0.1, 0.95, value=0.75, step=0.05, label="Share of patches hidden")
            seed = gr.Number(0, precision=0, label="Seed")
        imagine = gr.Button("Reconstruct", elem_id="imagine")
        with gr.Row():
            toys = [
                gr.Image(
                    label=label,
                    format="png",
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    elem_id=name,
                )
                for label, name in (
                    ("What is shown", "toy-shown"),
                    ("Reconstruction", "toy-reconstruction"),
                    ("Shown and reconstructed", "toy-together"),
                )
            ]

    def follow(result: Result | None) -> tuple[Any, Any, Any]:
        hidden = gr.update(visible=False)
        return gr.skip() if result is None else result.model, hidden, hidden

    def open_up(result: Result | None, key: str) -> list[Any]:
        try:
            if result is None:
                raise InpaintError("nothing is filled yet; erase something on the first tab first")
            pipeline = service.fills.pipeline(key)
            image = read_image(result.source.path)
            insight = inspect_fill(pipeline.model, image, result.holes, pipeline.device)
        except InpaintError as error:  # said in the pictures' place: to choose such a model is no accident
            told = gr.update(value=f"**Nothing to show**: {error}", visible=True)
            return [None, told, gr.update(visible=False), *[gr.skip()] * 8]
        return [
            insight,
            gr.update(visible=False),
            gr.update(visible=True),
            insight.reconstruction,
            insight.with_prior,
            insight.without_prior,
            _told(insight),
            insight.masked,
            None,
            "",
            _tell_alphas(insight),
        ]

    @friendly
    def point(insight: Inspection | None, event: gr.SelectData) -> tuple[Any, str]:
        if insight is None:
            raise InpaintError("press the button above first")
        view = view_attention(insight, int(event.index[0]), int(event.index[1]))
        return view.image, f"{view.known_share:.0%} of the attention goes to known parts of the photo."

    @friendly
    def play(
        photo: Photo | None, result: Result | None, key: str, kind: Any, share: float, number: float
    ) -> tuple[Any, ...]:
        if photo is None:
            raise InpaintError("choose a photo on the first tab")
        holes = None if result is None else result.holes
        pipeline = service.fills.pipeline(key)
        prior = require_autoencoder(pipeline.model)
        kind = "hole" if kind == "drawn" else kind
        image = read_image(photo.path)
        return reconstruct_hidden(
            prior, image, holes, pipeline.device, hiding=kind, ratio=share, seed=int(number)
        )

    private: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "fill"}
    result_state.change(follow, result_state, [model, problem, area], api_visibility="private")
    look.click(
        open_up,
        [result_state, model],
        [insight_state, problem, area, *pictures, said, masked, heat, heat_said, alphas],
        **private,
    )
    masked.select(point, insight_state, [heat, heat_said], **private)
    imagine.click(play, [photo_state, result_state, model, hiding, ratio, seed], toys, **private)


def _told(insight: Inspection) -> str:
    """What leaving the prior out changes."""
    return f"Leaving the prior out changes the hole by {insight.mean_difference:.1f} of 255 levels."


def _tell_alphas(insight: Inspection) -> str:
    """A row for each injection point: beside each other they would not fit on a phone."""
    rows = [f"| {title} | {value:+.3f} |" for title, value in insight.gates.items()]
    return "\n".join(["| injection point | alpha |", "|---|---|", *rows])
