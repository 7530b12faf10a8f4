"""The Look inside tab: what the prior imagines, where it looks, what it changes; the autoencoder as a toy."""

from __future__ import annotations

from typing import Any

import gradio as gr

from inpaint.errors import InpaintError
from inpaint.web.friendly import friendly
from inpaint.web.inside import Insight, attention_picture, look_inside, reconstruct_hidden
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
    models = _models_with_a_prior(service)
    gr.Markdown("Erase something on the first tab, then look at how that fill came about.")
    with gr.Row():
        model = gr.Dropdown(models, value=models[0] if models else None, label="Model with a prior")
        look = gr.Button("Look inside the last fill", variant="primary", elem_id="look")
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
                    label="Where the prior looks from there",
                    format="png",
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    elem_id="heat",
                )
                heat_said = gr.Markdown()

    with gr.Accordion("Masked autoencoder: hide patches of the photo", open=False):
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

    @friendly
    def open_up(result: Result | None, photo: Photo | None, key: str | None) -> list[Any]:
        if result is None or photo is None or key is None:
            raise InpaintError("erase something on the first tab, then look inside")
        insight = look_inside(service.fills.pipeline(key), result.source, result.holes)
        return [
            insight,
            gr.update(visible=True),
            insight.reconstruction,
            insight.with_prior,
            insight.without_prior,
            _told(insight),
            insight.masked,
            None,
            "",
        ]

    @friendly
    def point(insight: Insight | None, event: gr.SelectData) -> tuple[Any, str]:
        if insight is None:
            raise InpaintError("press the button above first")
        return attention_picture(insight, int(event.index[0]), int(event.index[1]))

    @friendly
    def play(
        photo: Photo | None, result: Result | None, key: str | None, kind: Any, share: float, number: float
    ) -> tuple[Any, ...]:
        if photo is None or key is None:
            raise InpaintError("choose a photo on the first tab")
        holes = None if result is None else result.holes
        return reconstruct_hidden(service.fills.pipeline(key), photo, holes, kind, share, int(number))

    private: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "fill"}
    look.click(
        open_up,
        [result_state, photo_state, model],
        [insight_state, area, *pictures, said, masked, heat, heat_said],
        **private,
    )
    masked.select(point, insight_state, [heat, heat_said], **private)
    imagine.click(play, [photo_state, result_state, model, hiding, ratio, seed], toys, **private)


def _models_with_a_prior(service: Service) -> list[str]:
    """Keys of the models that can be looked into; of a damaged file the Erase tab tells."""
    found = []
    for choice in service.fills.choices():
        try:
            service.fills.pipeline(choice.key).require_prior()
        except InpaintError:
            continue
        found.append(choice.key)
    return found


def _told(insight: Insight) -> str:
    """The alphas as a table, and what leaving the prior out changes."""
    cells = [f"{value:+.3f}" for value in insight.alphas.values()]
    table = [
        "| " + " | ".join(insight.alphas) + " |",
        "|" + "---|" * len(cells),
        "| " + " | ".join(cells) + " |",
    ]
    change = (
        f"Leaving the prior out changes the hole by {insight.reach:.1f} of 255 levels on average. "
        "The alphas say how much of it each opening of the generator lets through; 0 is nothing."
    )
    return "\n".join([change, "", *table])
