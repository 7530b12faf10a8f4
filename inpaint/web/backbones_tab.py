"""The Backbones tab: what ConvNeXt V1 and V2, ViT and Swin see in the photo, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from inpaint.backbones.feature_maps import feature_sheet, look_at
from inpaint.backbones.network import count_backbone, load_backbone
from inpaint.backbones.registry import BACKBONES, find_backbone
from inpaint.backbones.roadmap import walk_road
from inpaint.backbones.roadmap_chart import draw_road
from inpaint.backbones.speed import measure_speeds
from inpaint.errors import InpaintError
from inpaint.web.friendly import friendly
from inpaint.web.photos import Photo, read_upload
from inpaint.web.service import Service

ROAD = "From ResNet-50 to ConvNeXt-T"


def add_backbones_tab(service: Service, photo_state: gr.State) -> None:
    """Put the tab's widgets into the page that is being built.

    Args:
        service: gives the limits.
        photo_state: the Erase tab's :class:`Photo`.
    """
    titles = [(f"{backbone.title}, {backbone.parameters:g} M", backbone.name) for backbone in BACKBONES]
    gr.Markdown(
        "The same photo through a classification network. Compare the channels of **ConvNeXt V1** and "
        "**V2**: where channels say the same, their distance falls towards 0; V2's global response "
        "normalisation (GRN) was made to cure that."
    )
    with gr.Row():
        with gr.Column():
            name = gr.Dropdown(titles, value="convnext_atto", label="Backbone", elem_id="backbone")
            fetch = gr.Checkbox(False, label="Fetch weights from timm's hub if they are not here")
        start = gr.Button("Look", variant="primary", elem_id="backbone-run")
    said = gr.Markdown(elem_id="backbone-said")
    guesses = gr.Label(label="Best guesses", num_top_classes=5, visible=False)
    gallery = gr.Gallery(
        label="First channels of each stage",
        columns=4,
        height="auto",
        format="png",
        interactive=False,
        elem_id="stages",
    )
    with gr.Accordion(ROAD, open=False, elem_id="road") as road:
        gr.Markdown(
            "Each step of the paper is a config; opening this builds and counts them all. The accuracies are "
            "printed ones (Liu et al. 2022, table 10). In a clone, `python -m eval roadmap` prints the table."
        )
        chart = gr.HTML("Building and counting 17 networks ...", elem_id="road-chart")

    @friendly
    def look(photo: Photo | None, key: str, may_fetch: bool) -> list[Any]:
        if photo is None:
            raise InpaintError("choose a photo on the Erase tab first")
        backbone = find_backbone(key)
        loaded = load_backbone(backbone, fetch=may_fetch)
        picture = read_upload(Path(photo.path), service.limits, photo.name)
        with service.computing:
            sight = look_at(loaded, picture)
            (speed,) = measure_speeds([loaded.network])
        parameters, gigamacs = count_backbone(backbone)
        stages = [
            (feature_sheet(stage), f"{len(stage)} channels of {stage.shape[-2]} x {stage.shape[-1]}")
            for stage in sight.stages
        ]
        cells = [
            ("parameters", f"{parameters:.1f} M"),
            ("MACs at 224", f"{gigamacs:.2f} G"),
            ("measured here, one photo at a time", f"{speed.median:.1f} images/s"),
            ("published top-1", f"{backbone.accuracy} % ({backbone.source})"),
            ("licence of the weights", backbone.licence),
            ("channel distance by stage", ", ".join(f"{value:.3f}" for value in sight.collapse)),
        ]
        origin = f"Weights: {loaded.weights}." if loaded.weights else f"**Random weights**: {loaded.missing}"
        table = ["| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in cells)]
        return [
            "\n".join([origin, "", *table]),
            gr.update(value=dict(sight.guesses), visible=bool(sight.guesses)),
            stages,
        ]

    def draw() -> str:
        with service.computing:
            return draw_road(walk_road("tiny"), ROAD)

    road.expand(draw, None, chart, api_visibility="private")
    start.click(look, [photo_state, name, fetch], [said, guesses, gallery], api_visibility="private")
