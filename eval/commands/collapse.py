"""``python -m eval collapse``: do the channels of convolutional encoders say the same?"""

from __future__ import annotations

from pathlib import Path

import click

from inpaint.cli.options import device_option


@click.command()
@click.option(
    "--model",
    "models",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Checkpoint of inpaint train fcmae, or of a network on top of one; repeatable.",
)
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Folder of images.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=64, show_default=True, help="So many, evenly spread."
)
@device_option
def collapse(models: tuple[Path, ...], images: Path, limit: int, device: str) -> None:
    """Print the mean cosine distance of channels in every block, after GELU and after GRN.

    Near 0 all channels of a block say the same; channels that have nothing in common are at 0.5. Images are
    seen whole.
    """
    from eval.report.markdown import table_to_markdown
    from eval.studies.collapse import collapse_table, load_encoder, measure_collapse
    from eval.tasks.files import list_pictures
    from eval.tasks.stream import image_tensor
    from inpaint.device import choose_device

    place = choose_device(device)
    encoders = [load_encoder(path, place) for path in models]
    files = list(list_pictures(images, "images").values())
    count = min(limit, len(files))
    chosen = [files[index * len(files) // count] for index in range(count)]
    stems = [path.stem for path in models]
    measured = {}
    for path, encoder in zip(models, encoders, strict=True):
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        pictures = (image_tensor([file.read()], place) for file in chosen)
        measured[name] = measure_collapse(encoder, pictures)
    click.echo(f"{count} of {len(files)} images\n\n{table_to_markdown(collapse_table(measured))}")
