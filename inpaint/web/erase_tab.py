"""The Erase tab: choose a photo, paint, press one button, compare, download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from inpaint.errors import InpaintError
from inpaint.web.friendly import friendly
from inpaint.web.marks import (
    BRUSH,
    Holes,
    holes_from_file,
    holes_from_layers,
    layer_picture,
    layers_of,
    mask_picture,
    require_holes,
)
from inpaint.web.photos import Photo, make_preview, open_photo, save_result
from inpaint.web.service import Result, Service

AS_PHOTO, AS_PNG = "Same as the photo", "PNG (lossless)"
_MOST_GROWTH = 40


def add_erase_tab(service: Service, examples: list[Path]) -> tuple[gr.State, gr.State]:
    """Put the tab's widgets into the page that is being built.

    Returns:
        The state holding the current :class:`Photo`, and the one holding the last :class:`Result`, for the
        other tabs.
    """
    choices = service.fills.choices()
    titles = [(choice.title, choice.key) for choice in choices]
    about = {choice.key: choice.about for choice in choices}
    photo_state, result_state = gr.State(None), gr.State(None)

    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            chosen = gr.Image(
                label="Drop a photo here, paste one, or click to choose",
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard"],
                height=440,
                elem_id="photo",
            )
            if examples:
                gr.Examples(
                    [[str(path)] for path in examples], [chosen], cache_examples=False, label="Or try"
                )
            editor = gr.ImageEditor(
                label="Paint here",
                visible=False,
                type="numpy",
                image_mode="RGBA",
                format="png",
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(colors=["#{:02x}{:02x}{:02x}".format(*BRUSH)], color_mode="fixed"),
                eraser=gr.Eraser(),
                canvas_size=(800, 600),
                elem_id="editor",
            )
        with gr.Column(scale=1, min_width=260):
            erase = gr.Button("Erase", variant="primary", size="lg", elem_id="erase", interactive=False)
            model = gr.Dropdown(
                titles, value=titles[0][1], label="Fill with", info=choices[0].about, elem_id="model"
            )
            growth = gr.Slider(
                -_MOST_GROWTH, _MOST_GROWTH, value=4, step=1, label="Grow or shrink the marks (pixels)"
            )
            save_as = gr.Radio([AS_PHOTO, AS_PNG], value=AS_PHOTO, label="Download as")
            with gr.Accordion("Mask file", open=False):
                use_mask = gr.UploadButton("Use a mask file", file_types=["image"], elem_id="use-mask")
                keep_mask = gr.Button("Save what is painted as a mask", elem_id="keep-mask")
                mask_file = gr.File(
                    label="Mask, white = hole", interactive=False, visible=False, elem_id="mask-file"
                )
            gr.Markdown(
                "Keys: `Ctrl+Enter` erase, `Ctrl+Z` undo, `[` `]` brush size, `B` brush, `E` eraser",
                elem_id="keys",
            )
            other_photo = gr.Button("Another photo", visible=False, elem_id="other-photo")

    with gr.Column(visible=False, elem_id="result") as result_area:
        slider = gr.ImageSlider(
            label="Before and after", format="png", interactive=False, elem_id="slider", max_height=640
        )
        said = gr.Markdown()
        with gr.Row():
            download = gr.File(label="Full-size result", interactive=False, elem_id="download")
            with gr.Column():
                go_on = gr.Button("Go on editing from the result", elem_id="go-on")
                second_model = gr.Dropdown(titles, value=titles[-1][1], label="Same marks with another model")
                compare = gr.Button("Compare", elem_id="compare")
        versus = gr.ImageSlider(
            label="First model and second model",
            format="png",
            interactive=False,
            visible=False,
            max_height=640,
            elem_id="versus",
        )

    @friendly
    def choose(path: str | None) -> list[Any]:
        if path is None:
            return [None, None, *[gr.skip()] * 5]
        photo, preview = open_photo(path, service.limits)
        return [
            photo,
            None,
            gr.update(visible=False),
            gr.update(value=_blank(preview), visible=True),
            gr.update(interactive=True),
            gr.update(visible=True),
            gr.update(visible=False),
        ]

    @friendly
    def run(photo: Photo | None, drawn: Any, key: str, pixels: float, form: str) -> list[Any]:
        holes = _painted(photo, drawn)
        result = service.erase(photo, holes, key, growth=int(pixels), lossless=form == AS_PNG)  # type: ignore
        share = result.holes.mean()
        told = (
            f"{share:.1%} of {result.photo.width} x {result.photo.height} pixels filled by **{key}** in "
            f"{result.seconds:.1f} s on {service.fills.device}. "
        )
        if result.download.suffix in (".jpg", ".webp"):
            told += "Compressed like your photo; choose PNG to keep every other pixel exactly."
        else:
            told += "Every pixel outside the marks is unchanged."
        return [
            result,
            gr.update(visible=True),
            (result.before, result.after),
            told,
            str(result.download),
            gr.update(visible=False),
        ]

    @friendly
    def run_second(result: Result | None, photo: Photo | None, key: str) -> Any:
        if result is None or photo is None:
            raise InpaintError("erase something first, then compare")
        second = service.erase(photo, result.holes, key)
        return gr.update(
            value=(result.after, second.after), visible=True, label=f"{result.model} and {key}, same marks"
        )

    @friendly
    def load_mask(photo: Photo | None, path: str) -> Any:
        if photo is None:
            raise InpaintError("choose a photo first, then its mask")
        holes = require_holes(holes_from_file(path, photo, service.limits))
        return _editor_value(photo, holes)

    @friendly
    def save_mask(photo: Photo | None, drawn: Any) -> Any:
        holes = require_holes(_painted(photo, drawn))
        path = save_result(mask_picture(holes), photo, service.folder, lossless=True)  # type: ignore[arg-type]
        named = path.rename(path.with_name(path.name.replace("-filled", "-mask")))
        return gr.update(value=str(named), visible=True)

    @friendly
    def adopt(result: Result | None) -> list[Any]:
        if result is None:
            raise InpaintError("erase something first, then go on from the result")
        return [result.photo, gr.update(value=_blank(result.after))]

    @friendly
    def leave() -> list[Any]:
        return [
            gr.update(value=None, visible=True),
            gr.update(value=None, visible=False),
            gr.update(interactive=False),
            gr.update(visible=False),
            gr.update(visible=False),
        ]

    private: dict[str, Any] = {"api_visibility": "private"}
    model.change(lambda key: gr.update(info=about[key]), model, model, **private)
    chosen.change(
        choose,
        chosen,
        [photo_state, result_state, chosen, editor, erase, other_photo, result_area],
        **private,
    )
    erase.click(
        run,
        [photo_state, editor, model, growth, save_as],
        [result_state, result_area, slider, said, download, versus],
        concurrency_id="fill",
        **private,
    )
    compare.click(
        run_second, [result_state, photo_state, second_model], versus, concurrency_id="fill", **private
    )
    use_mask.upload(load_mask, [photo_state, use_mask], editor, **private)
    keep_mask.click(save_mask, [photo_state, editor], mask_file, **private)
    go_on.click(adopt, result_state, [photo_state, editor], **private)
    other_photo.click(leave, None, [chosen, editor, erase, other_photo, result_area], **private)
    return photo_state, result_state


def _painted(photo: Photo | None, drawn: Any) -> Holes:
    if photo is None:
        raise InpaintError("choose a photo first")
    return holes_from_layers(layers_of(drawn), photo)


def _blank(preview: Any) -> dict[str, Any]:
    return {"background": preview, "layers": [], "composite": None}


def _editor_value(photo: Photo, holes: Holes) -> dict[str, Any]:
    from inpaint.images import read_image

    preview = make_preview(read_image(photo.path), photo)
    return {"background": preview, "layers": [layer_picture(holes, photo)], "composite": None}
