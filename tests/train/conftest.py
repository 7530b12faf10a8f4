"""What the tests of the training loops learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from inpaint.features.perceptual import MobileNetPyramid, SqueezeNetFeatures


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Five small photos and a broken one."""
    folder = tmp_path_factory.mktemp("photos")
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    for index in range(5):
        picture = np.stack([np.roll(ramp, 9 * index)[None].repeat(64, 0)] * 3, axis=-1)
        Image.fromarray(picture).save(folder / f"{index}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="session")
def perceptual_weights(tmp_path_factory) -> Path:
    """Random weights of SqueezeNet in a file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("features") / "random.safetensors"
    save_file({key: value.half() for key, value in SqueezeNetFeatures().state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def mobilenet_weights(tmp_path_factory) -> Path:
    """Random weights of MobileNetV2 in a file, in half precision as the real one."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("features") / "mobilenet.safetensors"
    state = MobileNetPyramid().state_dict()
    save_file({k: v.half() for k, v in state.items() if "num_batches" not in k}, path)
    return path
