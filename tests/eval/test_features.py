"""The feature networks of the validation protocol: found in their folder, named where they are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eval.features import MOBILENET_FILE, FeatureMeasures
from inpaint.errors import DataError


def test_missing_networks_are_named(tmp_path: Path, data: Path) -> None:
    with pytest.raises(DataError, match=r"squeezenet.*metrics/"):
        FeatureMeasures.from_folder(tmp_path)
    for file in (data / "metrics").iterdir():
        if file.name != MOBILENET_FILE:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="mobilenet"):
        FeatureMeasures.from_folder(tmp_path)


def test_equal_pictures_have_no_distance(data: Path) -> None:
    networks = FeatureMeasures.from_folder(data / "metrics")
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert networks.squeezenet_distance(image, image).tolist() == [0.0, 0.0]
    assert networks.squeezenet_distance(image, image.flip(-1)).min() > 0
