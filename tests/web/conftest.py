from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inpaint.web.fills import Fills
from inpaint.web.photos import Limits
from inpaint.web.service import Service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(Fills("cpu"), Limits(), tmp_path / "desk")
    yield made
    made.close()


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Image.Image:
    """A picture in which every pixel can be told from its neighbours."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(values.squeeze())


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    path = tmp_path / "holiday.png"
    noise(90, 120).save(path)
    return path
