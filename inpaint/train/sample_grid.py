"""Sample grids: what a run can do now, one row per image and one column per stage."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor, nn

from inpaint.atomic import atomic_write
from inpaint.inspect import overlay_heat
from inpaint.mask import composite
from inpaint.models.patch_autoencoder import PatchAutoencoder

_ROWS = 8  # images that are shown of a batch
_GAP = 4  # pixels between the images of a grid
_TOP = 14 + _GAP  # of the first row, below the titles


@torch.no_grad()
def columns_of(
    image: Tensor, mask: Tensor, prior: PatchAutoencoder | None, network: nn.Module | None = None
) -> dict[str, Tensor]:
    """The stages of inpainting a batch, by their titles: what prior and network, if any, make of it."""
    image, mask = image[:_ROWS], mask[:_ROWS]
    columns = {"input": torch.where(mask > 0, 0.5, image), "mask": mask}
    if prior is not None:
        columns["prior"] = prior.reconstruct(image, mask)
        attention = prior(image, mask).attention
        if attention is not None:
            columns["attention"] = draw_attention(image, mask, attention, prior.grid)
    if network is not None:
        columns["prediction"] = network(image, mask).clamp(0, 1)
    made = columns["prior" if network is None else "prediction"]
    return columns | {"composite": composite(made, image, mask), "target": image}


def draw_attention(image: Tensor, mask: Tensor, attention: Tensor, grid: tuple[int, int]) -> Tensor:
    """Show over each photo where a prior looks for one hole point: the token nearest the hole's centre.

    ``attention`` is ``(B, N, N)`` (queries, keys) of the prior, ``grid`` its tokens ``(h, w)``. Gives
    ``(B, 3, H, W)`` in [0, 1], see :func:`inpaint.inspect.overlay_heat`; a ring marks the point.
    """
    shown = []
    for one, row, point in zip(image, attention, central_hole_tokens(mask, grid).tolist(), strict=True):
        pixels = np.asarray(_to_image(one))
        heat = row[point].reshape(grid).float().cpu().numpy()
        overlay = overlay_heat(pixels, heat, token=(point // grid[1], point % grid[1]))
        shown.append(torch.from_numpy(overlay).permute(2, 0, 1).float().div(255))
    return torch.stack(shown).to(image.device)


def central_hole_tokens(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Find the token with hole pixels that lies nearest to the hole's centre of mass: ``(B,)`` numbers."""
    share = F.adaptive_avg_pool2d(mask, grid).flatten(1)
    rows, columns = torch.meshgrid(*(torch.arange(side, device=mask.device) for side in grid), indexing="ij")
    places = torch.stack([rows, columns], dim=-1).flatten(0, 1).float()
    centre = share @ places / share.sum(1, keepdim=True).clamp(min=1e-12)
    distance = torch.cdist(centre[:, None], places[None])[:, 0]
    return distance.masked_fill(share == 0, float("inf")).argmin(dim=1)


def write_sample_grid(path: Path, columns: Mapping[str, Tensor]) -> NDArray[np.uint8]:
    """Write batches of images as one PNG grid, atomically, and return it, ``(H, W, 3)``.

    Args:
        path: ends in `.png`; its folder is made if missing.
        columns: by their titles, ``(B, 3, h, w)`` or ``(B, 1, h, w)`` in [0, 1], of which every image gets a
            row; smaller images are enlarged, without smoothing.
    """
    height, width = (max(batch.shape[side] for batch in columns.values()) for side in (-2, -1))
    down, right = height + _GAP, width + _GAP
    rows = max(len(batch) for batch in columns.values())
    canvas = Image.new("RGB", (len(columns) * right + _GAP, _TOP + rows * down), "white")
    pen = ImageDraw.Draw(canvas)
    for column, (title, batch) in enumerate(columns.items()):
        left = _GAP + column * right
        pen.text((left, 1), title, fill="black")
        for row, image in enumerate(batch):
            shown = _to_image(image).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(shown, (left, _TOP + row * down))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        canvas.save(file, format="PNG")
    return np.asarray(canvas)


def _to_image(image: Tensor) -> Image.Image:
    values = image.detach().float().cpu().nan_to_num().clamp(0, 1)
    pixels = (values.expand(3, -1, -1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels))
