"""Every shipped config is read by the code it is for, says how to run it, and differs as it says."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from inpaint.models.presets import FCMAE_PRESETS, INPAINTER_PRESETS, MAE_PRESETS
from inpaint.train.config import RunConfig, read_config

FOLDER = Path(__file__).parent.parent / "configs"
CONFIGS = sorted(FOLDER.glob("**/*.toml"))
SHIPPED = list((FOLDER.parent / "checkpoints").glob("*.safetensors"))
ABLATION = sorted(FOLDER.glob("places2_ablation_*.toml"))
PRESETS = {"mae": MAE_PRESETS, "fcmae": FCMAE_PRESETS, "acr": INPAINTER_PRESETS}
HEADER = ("command", "hardware", "hours", "expected")


@pytest.fixture(autouse=True)
def data(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA", str(tmp_path))


def read(path: Path | str) -> Any:
    return read_config(FOLDER / path)


def differences(first: RunConfig, second: RunConfig) -> set[str]:
    names = (item.name for item in dataclasses.fields(first))
    return {name for name in names if getattr(first, name) != getattr(second, name)}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config(path):
    text, config = path.read_text(), read(path)
    assert config.preset in PRESETS[config.kind]
    name = path.relative_to(FOLDER)
    command = rf"# command   (DATA=FOLDER )?inpaint train configs/{name}( --minutes \d+)?\n"
    assert re.match(command, text), "the first line is the command that runs the config"
    for names in re.findall(r"^# after     (.*)$", text, flags=re.MULTILINE):
        assert all((FOLDER / other).exists() for other in names.split(", "))
    if "cpu" not in path.stem and path.parent == FOLDER:
        header = [line for line in text.splitlines() if line.startswith("#")]
        for word in HEADER:
            assert any(re.match(rf"# {word}\s+\S", line) for line in header), f"no line for {word}"


def test_every_run_has_its_own_folder():
    folders = [read(path).out.resolve() for path in CONFIGS]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_a_run_starts_from_is_what_another_run_writes(path):
    config = read(path)
    if config.kind != "acr":
        return
    written = {(c.out / f"{c.name}.safetensors").resolve(): c for c in map(read, CONFIGS)}
    for checkpoint in (config.prior_checkpoint, config.init_checkpoint):
        if checkpoint is not None:
            assert checkpoint.resolve() in written or checkpoint.resolve() in SHIPPED
    if config.prior_checkpoint is not None:
        prior = written[config.prior_checkpoint.resolve()]
        assert INPAINTER_PRESETS[config.preset].prior == (MAE_PRESETS | FCMAE_PRESETS)[prior.preset]


def test_the_published_schedules():
    mae = read("places2_mae.toml")
    epoch = 1_803_460
    assert (mae.images, mae.warmup_images, mae.batch_size) == (200 * epoch, 10 * epoch, 512)
    assert mae.learning_rate == pytest.approx(1.5e-4 * 512 / 256)
    acr, large = read("places2_acr.toml"), read("places2_acr_512.toml")
    assert acr.images == 850_000 * 32 and acr.milestones == (600_000 * 32, 700_000 * 32, 800_000 * 32)
    assert (acr.learning_rate, acr.discriminator_learning_rate, acr.betas) == (1e-3, 1e-4, (0.9, 0.999))
    assert large.images == 150_000 * 16 and large.milestones == (40_000 * 16, 80_000 * 16, 120_000 * 16)
    assert (large.learning_rate, large.discriminator_learning_rate) == (3e-4, 1e-4)
    assert (large.size, large.smallest_size, large.size_rounds) == (512, 256, 64)


@pytest.mark.parametrize(
    ("acr", "lama"),
    [("places2_acr", "places2_lama"), ("acr_small", "lama_small"), ("acr_small_convnext", "lama_small")],
)
def test_the_baseline_has_the_same_data_losses_and_steps(acr, lama):
    assert differences(read(f"{acr}.toml"), read(f"{lama}.toml")) == {
        "name",
        "preset",
        "out",
        "prior_checkpoint",
    }


@pytest.mark.parametrize("path", ABLATION, ids=lambda path: path.stem)
def test_a_row_of_the_ablation_differs_in_one_thing(path):
    assert len(ABLATION) == 7
    changed = differences(read(path), read("places2_acr.toml")) - {"name", "out"}
    assert changed in ({"variant"}, {"prior_checkpoint"}, set())
    assert (changed == set()) == (path.stem == "places2_ablation_mixed_prior")


def test_the_priors_of_the_ablation_differ_in_their_masks_alone():
    changed = differences(read("places2_mae.toml"), read("places2_mae_random.toml"))
    assert changed == {"name", "out", "mixed_masks"}


def test_both_priors_see_the_same_photos_holes_and_images():
    transformer, convolutional = read("mae_small.toml"), read("fcmae_small.toml")
    assert differences(transformer, convolutional) == {"kind", "name", "preset", "out"}
    plain = read("fcmae_small_no_grn.toml")
    assert differences(convolutional, plain) == {"name", "preset", "out"}
    small = FCMAE_PRESETS["fcmae-small"]
    assert FCMAE_PRESETS[plain.preset] == dataclasses.replace(small, grn=False)
