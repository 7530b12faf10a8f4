"""What a newcomer gets: the shipped model fills the shipped photo through the README's command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from inpaint.checkpoint import load_checkpoint, read_notes
from inpaint.cli import main
from inpaint.models.inpainter import Inpainter
from inpaint.weights import locate

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_shipped_model_is_trained():
    model = load_checkpoint(locate("acr-small"))
    assert isinstance(model, Inpainter) and model.preset.name == "acr-small"
    assert model.generator.head.weight.abs().max() > 0  # zero before training
    assert model.adapter is not None and all(alpha.item() != 0 for alpha in model.adapter.alphas)
    assert int(read_notes(locate("acr-small"))["images_seen"]) > 0
    assert locate("acr-small").stat().st_size <= 22e6


def test_the_example_is_filled_and_nothing_else_is_touched(tmp_path):
    output, prior, filled = tmp_path / "out.png", tmp_path / "prior", tmp_path / "filled.png"
    photo, mask = EXAMPLES / "photo.jpg", EXAMPLES / "mask.png"
    arguments = [
        "run",
        str(photo),
        str(mask),
        "-o",
        str(output),
        "--device",
        "cpu",
        "--save-prior",
        str(prior),
        "--save-mask",
        str(filled),
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    before = np.asarray(Image.open(photo).convert("RGB")).astype(int)
    after = np.asarray(Image.open(output)).astype(int)
    hole = np.asarray(Image.open(filled)) > 0
    asked = np.asarray(Image.open(mask).convert("L")) > 127
    assert hole[asked].all() and hole.sum() < 1.3 * asked.sum()
    assert after.shape == before.shape
    assert (after[~hole] == before[~hole]).all()
    assert np.abs(after[hole] - before[hole]).mean() > 2
    assert len(list(prior.iterdir())) == 2
