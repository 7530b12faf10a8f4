"""Sample grids: every image in its place, and where a prior looks."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from inpaint.train.sample_grid import central_hole_tokens, draw_attention, write_sample_grid


def test_a_grid_shows_every_image_in_its_place_below_its_title(tmp_path):
    greys = torch.ones(2, 3, 8, 8) * torch.tensor([0.25, 1.0])[:, None, None, None]
    small = torch.tensor([[[[0.0, 1.0], [float("nan"), 2.0]]]]).expand(2, 1, 2, 2)
    returned = write_sample_grid(tmp_path / "grids" / "a.png", {"grey": greys, "small": small})
    pixels = np.asarray(Image.open(tmp_path / "grids" / "a.png"))
    assert np.array_equal(pixels, returned) and pixels.shape == (14 + 2 * 12 + 4, 2 * 12 + 4, 3)
    assert pixels[:14].min() < 128 and pixels[14:18].min() == 255
    assert [int(pixels[22 + 12 * row, 8, 0]) for row in range(2)] == [64, 255]
    assert [int(pixels[y, x, 1]) for y, x in ((19, 17), (19, 22), (24, 17), (24, 22))] == [0, 255, 0, 255]
    assert [path.name for path in (tmp_path / "grids").iterdir()] == ["a.png"]


def hole(top: int, left: int, height: int, width: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., top : top + height, left : left + width] = 1
    return mask


def test_the_hole_point_is_in_the_hole_and_near_its_centre():
    boxes = torch.cat([hole(8, 16, 8, 8), hole(0, 0, 32, 32)])
    assert central_hole_tokens(boxes, (4, 4))[0] == 1 * 4 + 2
    assert central_hole_tokens(boxes, (4, 4))[1] in (5, 6, 9, 10)
    # Of two holes the centre of mass lies between them: the point is in one of them all the same.
    apart = hole(0, 0, 8, 8) + hole(24, 24, 8, 8)
    assert central_hole_tokens(apart, (4, 4))[0] in (0, 15)


def test_the_heat_map_shines_where_the_point_looks():
    image = torch.full((1, 3, 32, 32), 0.5)
    attention = torch.full((1, 16, 16), 1e-4)
    attention[0, 6, 12] = 0.9  # the hole's token, row 1 and column 2, looks at row 3 and column 0
    attention[0, 5, 3] = 1.0  # another query's key must not show
    shown = draw_attention(image, hole(8, 16, 8, 8), attention, (4, 4))
    assert shown.shape == image.shape and 0 <= shown.min() and shown.max() <= 1
    brightness = shown.sum(1)[0]
    assert brightness[28, 4] > 2 and brightness[4, 28] < 1.6
    assert brightness[12, 18:23].max() > 2.5  # the ring
