"""MI-GAN's ONNX pipeline, by one of ours with the same inputs: what its mask says and what becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval.tasks.methods import fill_in_8_bits, load_models
from inpaint.convert.migan import Migan
from inpaint.errors import CheckpointError, InpaintError
from inpaint.pipeline import InpaintPipeline
from inpaint.weights import ModelEntry

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def pipeline(*names: str, colour: int = 77) -> bytes:
    """Keeps the image where the mask is 255, and paints the rest in one grey."""
    from onnx import TensorProto, helper

    image, mask = names or ("image", "mask")
    uint8 = TensorProto.UINT8
    nodes = [
        helper.make_node("Equal", [mask, "255"], ["known"]),
        helper.make_node("Where", ["known", image, "grey"], ["result"]),
    ]
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [
            helper.make_tensor_value_info(image, uint8, ["b", 3, "h", "w"]),
            helper.make_tensor_value_info(mask, uint8, ["b", 1, "h", "w"]),
        ],
        [helper.make_tensor_value_info("result", uint8, ["b", 3, "h", "w"])],
        [helper.make_tensor("255", uint8, [], [255]), helper.make_tensor("grey", uint8, [], [colour])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "migan_pipeline_v2.onnx"
    path.write_bytes(pipeline())
    return path


def test_holes_are_painted_and_known_pixels_given_as_known(file: Path) -> None:
    model = Migan(file)
    image = (torch.rand(2, 3, 20, 30) * 255).round() / 255
    mask = torch.zeros(2, 1, 20, 30)
    mask[0, :, 3:9, 4:8] = 1
    mask[1, :, 10:, :2] = 1
    expected = torch.where(mask > 0, 77 / 255, image)
    assert torch.allclose(model(image, mask), expected, atol=1e-6)


def test_pipeline_and_eval_run_it_by_name(
    publish: Callable[..., ModelEntry], know: Callable[..., None], tmp_path: Path
) -> None:
    know(publish("migan", {"migan_pipeline_v2.onnx": pipeline()}, kind="inpainter"))
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    mask = np.zeros((70, 90), np.uint8)
    mask[20:40, 30:60] = 255
    result = np.asarray(
        InpaintPipeline.from_pretrained("migan", device="cpu")(
            Image.fromarray(pixels), Image.fromarray(mask), dilate=0, harmonise=False
        )
    )
    assert (result[mask == 0] == pixels[mask == 0]).all()
    assert (result[mask > 0] == 77).all()
    (method,) = load_models(["migan"], torch.device("cpu"))
    filled = fill_in_8_bits(method, torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64))
    assert (filled * 255).round().unique().tolist() == [77]


def test_a_file_that_is_not_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="cannot be read as an ONNX network"):
        Migan(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(pipeline("x", "y"))
    with pytest.raises(CheckpointError, match="expected the inputs image and mask"):
        Migan(tmp_path / "a.onnx")


def test_without_onnx_runtime(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InpaintError, match=r"pip install 'mae-acr-inpaint\[onnx\]'"):
        Migan(file)
