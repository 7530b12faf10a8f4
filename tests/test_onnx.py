"""Networks exported to ONNX give in onnxruntime what they give here, at every size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from inpaint.checkpoint import load_checkpoint, save_checkpoint
from inpaint.cli import main
from inpaint.convert.onnx import export_onnx
from inpaint.errors import CheckpointError
from inpaint.models.presets import build_inpainter
from tests.test_inference import make_lively, sample_batch

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


@pytest.mark.parametrize(
    "name",
    [
        "lama-tiny",
        "acr-tiny",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("acr-small", "lama-small")),
    ],
)
def test_the_exported_network_gives_the_same(name: str, tmp_path: Path) -> None:
    model = make_lively(build_inpainter(name))
    save_checkpoint(tmp_path / "model.safetensors", model, {})
    model = load_checkpoint(tmp_path / "model.safetensors").eval()  # in files, weights have half precision
    result = CliRunner().invoke(
        main, ["export", str(tmp_path / "model.safetensors"), str(tmp_path / "m.onnx")]
    )
    assert result.exit_code == 0, result.output
    session = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for count, height, width in ((1, 64, 64), (3, 96, 144), (1, 48, 272), (2, 304, 32)):
        image, mask = sample_batch(count, height, width)
        with torch.inference_mode():
            expected = model(image, mask)
        (got,) = session.run(None, {"image": image.numpy(), "mask": mask.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), expected, atol=1e-3, rtol=0)


def test_what_cannot_be_exported_says_so(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    with pytest.raises(CheckpointError, match="convolutional prior"):
        export_onnx(build_inpainter("acr-tiny-convnext"), tmp_path / "m.onnx")
    result = CliRunner().invoke(main, ["export", "acr-small", str(tmp_path / "m.txt")])
    assert result.exit_code == 2 and "ends in .onnx" in result.output
    assert list(tmp_path.iterdir()) == []
