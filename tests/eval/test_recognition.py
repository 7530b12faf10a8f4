"""The recognition check: what is measured, that it can tell and can fail to, one line for every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner, Result

from eval.__main__ import main
from eval.studies.recognition import classifiers
from eval.studies.recognition.classifiers import (
    FineTuning,
    fine_tune_candidates,
    majority_class,
    predict_by_fold,
)
from eval.studies.recognition.encoders import ImageEncoder, encode_images, load_candidates
from eval.studies.recognition.outcomes import Outcome, untrained_twin, values_of
from eval.studies.recognition.task import RecognitionTask, find_labelled, load_task
from inpaint.checkpoint import save_checkpoint
from inpaint.errors import InpaintError
from inpaint.models.presets import FCMAE_PRESETS, MAE_PRESETS, build_fcmae, build_inpainter, build_mae
from tests.eval.recognition_files import write_classes

CPU = torch.device("cpu")
SMALL = replace(MAE_PRESETS["mae-tiny"], image_size=32)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of networks with random weights, as if trained."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        save_checkpoint(folder / "mae.safetensors", build_mae(SMALL))
        save_checkpoint(folder / "acr.safetensors", build_inpainter("acr-tiny"))
        save_checkpoint(folder / "lama.safetensors", build_inpainter("lama-tiny"))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def task(photos: Path) -> RecognitionTask:
    return load_task(find_labelled(photos), 32, folds=3, seed=0, on_problem=pytest.fail)


def run(command: str, *words: object) -> Result:
    return CliRunner().invoke(main, [command, *map(str, words), "--device", "cpu"])


# -- encoders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_token", [False, True])
def test_a_transformers_features_are_the_mean_of_its_tokens(class_token):
    mae = build_mae(replace(SMALL, class_token=class_token)).eval()
    image = torch.rand(2, 3, 32, 32)
    tokens, _ = mae.encode(mae.normalise(image), torch.zeros(2, 64, dtype=torch.bool))
    expected = tokens[:, class_token:].mean(dim=1)
    assert tokens.shape[1] == 64 + class_token
    torch.testing.assert_close(ImageEncoder(mae)(image), expected)
    assert ImageEncoder(mae).width == expected.shape[1]


def test_a_convolutional_encoders_features_are_pooled_and_standardised():
    pytest.importorskip("timm")
    fcmae = build_fcmae(replace(FCMAE_PRESETS["fcmae-tiny"], image_size=32)).eval()
    image = torch.rand(2, 3, 32, 32)
    visible = torch.ones(2, 1, *fcmae.grid, dtype=torch.bool)
    pooled = fcmae.encoder(fcmae.normalise(image), visible)[-1].mean(dim=(2, 3))
    features = ImageEncoder(fcmae)(image)
    torch.testing.assert_close(features, F.layer_norm(pooled, pooled.shape[1:]))
    assert features.shape == (2, ImageEncoder(fcmae).width)
    assert features.mean(dim=1).abs().max() < 1e-5


def test_pictures_come_in_any_size():
    encoder = ImageEncoder(build_mae(SMALL)).eval()
    assert encoder(torch.rand(1, 3, 70, 40)).shape == (1, SMALL.width)


def test_candidates_of_checkpoints_and_their_untrained_twins(checkpoints):
    names = [str(checkpoints / f"{name}.safetensors") for name in ("mae", "acr")]
    mae, acr, twin, other = load_candidates(names, random=True)
    assert [c.name for c in (mae, acr, twin, other)] == ["mae", "acr", "random, as mae", "random, as acr"]
    assert (mae.size, acr.size) == (32, 64) and mae.architecture == twin.architecture != acr.architecture
    image = torch.rand(1, 3, 32, 32)
    same = [mae.build(0)(image), mae.build(1)(image)]
    random = [twin.build(seed)(image) for seed in (0, 0, 1)]
    assert torch.equal(*same) and torch.equal(random[0], random[1])
    assert not torch.equal(random[0], random[2]) and not torch.equal(same[0], random[0])


def test_networks_of_one_architecture_share_a_twin(checkpoints, tmp_path):
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, build_mae(SMALL))
    found = load_candidates([str(checkpoints / "mae.safetensors"), str(other)], random=True)
    assert [candidate.name for candidate in found] == ["mae", "other", "random, as mae and other"]


def test_another_size_has_the_same_weights(checkpoints):
    path = str(checkpoints / "mae.safetensors")
    (usual,), (larger,) = load_candidates([path]), load_candidates([path], size=48)
    assert larger.size == 48 and larger.architecture != usual.architecture
    assert larger.build(0)(torch.rand(1, 3, 48, 48)).shape == (1, SMALL.width)
    for key, tensor in usual.build(0).state_dict().items():
        assert torch.equal(tensor, larger.build(0).state_dict()[key])


# -- probe -----------------------------------------------------------------------------------------------


def test_colours_and_stripes_are_told_apart(task, checkpoints, tmp_path):
    (candidate,) = load_candidates([str(checkpoints / "mae.safetensors")])
    features = encode_images(task, candidate, 0, cache_dir=tmp_path, device=CPU)
    assert np.array_equal(predict_by_fold(features, task), task.labels)


def test_shuffled_classes_are_told_by_chance_alone():
    generator = np.random.default_rng(0)
    count = 240
    labels, features = generator.integers(0, 2, count), generator.normal(size=(count, 6)).astype(np.float32)
    task = RecognitionTask(None, ("a", "b"), labels, np.arange(count), np.arange(count) % 4)
    share = (predict_by_fold(features, task) == labels).mean()
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / count)
    learnable = features + labels[:, None]
    assert (predict_by_fold(learnable, task) == labels).mean() > 0.8


def test_the_majority_is_that_of_the_other_folds():
    labels, folds = np.array([0, 0, 0, 1, 1, 1, 1, 1]), np.array([0, 1, 2, 0, 0, 0, 1, 2])
    task = RecognitionTask(None, ("a", "b"), labels, np.arange(8), folds)
    # Without fold 0 both are two: the first one counts.
    outcome = majority_class(task, np.arange(8) > 0)
    assert outcome.predicted.tolist() == [[1, 1, 0, 0, 0, 1, 1]]


def test_an_interrupted_run_goes_on_and_gives_the_same(task, checkpoints, tmp_path, monkeypatch):
    (candidate,) = load_candidates([str(checkpoints / "mae.safetensors")])
    monkeypatch.setattr("eval.studies.recognition.encoders.IMAGES_AT_ONCE", 8)
    whole = encode_images(task, candidate, 0, cache_dir=tmp_path / "whole", device=CPU)
    seen: list[int] = []
    forward = ImageEncoder.forward

    def counted(self: ImageEncoder, image: torch.Tensor) -> torch.Tensor:
        seen.append(len(image))
        return forward(self, image)

    def stop(what: str, done: int, total: int) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    monkeypatch.setattr(ImageEncoder, "forward", counted)
    with pytest.raises(KeyboardInterrupt):
        encode_images(task, candidate, 0, cache_dir=tmp_path / "torn", device=CPU, on_progress=stop)
    assert sum(seen) == 16
    for _ in range(2):
        again = encode_images(task, candidate, 0, cache_dir=tmp_path / "torn", device=CPU)
        assert np.array_equal(again, whole) and sum(seen) == len(task)


# -- how sure --------------------------------------------------------------------------------------------


def accuracy_of(found: Outcome) -> tuple[float, float, float]:
    """The share recognised, and its interval."""
    value = values_of(found, 0)["accuracy"]
    assert value.low is not None and value.high is not None
    return value.value, value.low, value.high


def width_of(found: Outcome) -> float:
    _, low, high = accuracy_of(found)
    return high - low


def outcome(correct: np.ndarray, groups: np.ndarray | None = None, **more: object) -> Outcome:
    count = correct.shape[-1]
    labels = np.arange(count) % 2
    predicted = np.where(np.atleast_2d(correct), labels, 1 - labels)
    return Outcome(
        more.pop("name", "x"), more.pop("kind", "pre-trained"), predicted, labels,
        np.arange(count) if groups is None else groups, more.pop("architecture", "a"),
    )  # fmt: skip


def test_balanced_accuracy_counts_classes_equally():
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    found = Outcome("x", "baseline", np.zeros((1, 8), np.int64), labels, np.arange(8))
    assert found.measure().tolist() == [0.75, 0.5]
    assert found.resample(0)[:, 1] == pytest.approx(0.5, abs=0.5)


def test_an_interval_has_the_width_of_the_binomial_and_knows_groups():
    correct = np.random.default_rng(1).random(400) < 0.7
    alone = width_of(outcome(correct))
    assert accuracy_of(outcome(correct))[0] == correct.mean()
    deviation = np.sqrt(correct.mean() * (1 - correct.mean()) / 400)
    assert alone == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    # Four copies of each image are no more evidence than one.
    copies, groups = np.repeat(correct, 4), np.repeat(np.arange(400), 4)
    assert width_of(outcome(copies, groups)) == pytest.approx(alone, rel=0.1)
    assert width_of(outcome(copies)) == pytest.approx(alone / 2, rel=0.1)


def test_runs_that_differ_widen_an_interval():
    one = np.arange(200) % 4 > 0
    value, _, high = accuracy_of(outcome(np.stack([one, np.roll(one, 1), np.ones(200, bool)])))
    assert value == pytest.approx((0.75 + 0.75 + 1) / 3)
    assert high == pytest.approx(1, abs=0.02) and accuracy_of(outcome(one))[2] < 0.82


def test_differences_are_paired_and_of_one_architecture():
    correct = np.random.default_rng(1).random(300) < 0.6
    better = correct | (np.arange(300) % 30 == 0)
    rows = [
        outcome(correct, name="baseline", kind="baseline", architecture=""),
        outcome(better, name="mine"),
        outcome(correct, name="other", architecture="b"),
        outcome(correct, name="random", kind="random"),
    ]
    assert [untrained_twin(row, rows) for row in rows] == [None, rows[3], None, None]
    value = values_of(rows[1], 0, minus=rows[3])["accuracy"]
    assert value.low is not None and value.high is not None
    # Images both know cancel: far narrower than either share's own interval.
    assert value.value == pytest.approx((better & ~correct).mean()) and value.low >= 0 and value.high < 0.03
    same = values_of(outcome(correct, name="mine"), 0, minus=rows[3])
    assert all((v.value, v.low, v.high) == (0, 0, 0) for v in same.values())


# -- fine-tune -------------------------------------------------------------------------------------------


def test_fine_tuning_learns_what_can_be_learned_and_repeats(task, checkpoints):
    candidates = load_candidates([str(checkpoints / "mae.safetensors")], random=True)
    tuning = FineTuning(steps=40, batch_size=6, learning_rate=3e-3)
    majority, mine, random = fine_tune_candidates(
        task, candidates, settings=tuning, seeds=range(2), device=CPU
    )
    tested = task.folds == classifiers.HELD_OUT
    assert np.array_equal(mine.labels, task.labels[tested]) and mine.correct.shape == (2, tested.sum())
    assert mine.measure()[0] > 0.9 and random.measure()[0] > 0.9
    assert majority.measure()[0] <= 0.5
    for seed in (0, 1):
        again = classifiers.fine_tune(task, candidates[0], tuning, seed, CPU)
        assert np.array_equal(again == mine.labels, mine.correct[seed])


def test_a_convolutional_encoder_is_checked_alike(task, tmp_path):
    pytest.importorskip("timm")
    path = tmp_path / "fcmae.safetensors"
    save_checkpoint(path, build_fcmae(replace(FCMAE_PRESETS["fcmae-tiny"], image_size=32)))
    mine, twin = load_candidates([str(path)], random=True)
    for candidate in (mine, twin):
        features = encode_images(task, candidate, 0, cache_dir=tmp_path, device=CPU)
        assert (predict_by_fold(features, task) == task.labels).mean() > 0.9
        predicted = classifiers.fine_tune(task, candidate, FineTuning(40, 6, 3e-3), 0, CPU)
        assert (predicted == task.labels[task.folds == classifiers.HELD_OUT]).mean() > 0.9
    assert not torch.equal(*(c.build(0)(torch.rand(1, 3, 32, 32)) for c in (mine, twin)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_both_checks_tell_the_classes(task, checkpoints, tmp_path):
    (candidate,) = load_candidates([str(checkpoints / "mae.safetensors")])
    place = torch.device("cuda")
    there, here = (
        encode_images(task, candidate, 0, cache_dir=tmp_path / device.type, device=device)
        for device in (place, CPU)
    )
    np.testing.assert_allclose(there, here, atol=1e-2)
    predicted = classifiers.fine_tune(task, candidate, FineTuning(40, 6, 3e-3), 0, place)
    assert (predicted == task.labels[task.folds == classifiers.HELD_OUT]).mean() > 0.9


def test_a_fine_tune_that_runs_away_says_so(task, checkpoints):
    (candidate,) = load_candidates([str(checkpoints / "mae.safetensors")])
    with pytest.raises(InpaintError, match="mae ended with numbers that are not finite; expected a lower"):
        classifiers.fine_tune(task, candidate, FineTuning(6, 4, 1e30), 0, CPU)


# -- commands --------------------------------------------------------------------------------------------


def test_the_probe_from_the_command_line(photos, checkpoints, tmp_path):
    words = (
        "--data", photos, "--model", checkpoints / "mae.safetensors", "--random", "--seeds", 2, "--folds", 3,
        "--out", tmp_path / "r.md", "--out", tmp_path / "r.json",
    )  # fmt: skip
    result = run("linear-probe", *words)
    assert result.exit_code == 0, result.output
    assert result.stdout == (tmp_path / "r.md").read_text(encoding="utf-8")
    for told in ("| mae | 1 | 27 | **1.000**", "| random, as mae | 2 | 27 |", "mae minus random, as mae"):
        assert told in result.stdout, told
    assert "within sampling error in accuracy: +0.000 [+0.000, +0.000]" in result.stdout
    assert "--data DATA --folds 3 --model" in result.stdout and str(photos) not in result.stdout
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [score["values"]["accuracy"]["value"] for score in report["scores"]][-2:] == [1, 1]
    assert len(list((tmp_path / "r.cache").glob("features-*.sqlite"))) == 3
    again = run("linear-probe", *words[:-4], "--cache-dir", tmp_path / "elsewhere")
    assert again.stdout == result.stdout


def test_the_fine_tune_from_the_command_line(photos, checkpoints):
    words = (
        "--data", photos, "--model", checkpoints / "acr.safetensors", "--random", "--seeds", 1, "--folds", 3,
        "--size", 32, "--per-class", 6, "--steps", 2, "--batch-size", 3, "--learning-rate", 1e-3,
    )  # fmt: skip
    result = run("fine-tune", *words)
    assert result.exit_code == 0, result.output
    assert "2 steps of 3 images, learning rate 0.001" in result.stdout
    assert "| acr | 1 | 6 |" in result.stdout and "acr minus random, as acr" in result.stdout
    assert run("fine-tune", *words).stdout == result.stdout


def test_a_broken_photo_costs_a_line(checkpoints, tmp_path):
    write_classes(tmp_path / "photos", count=4)
    (tmp_path / "photos/red/broken.png").write_bytes(b"no image")
    result = run(
        "linear-probe",
        "--data",
        tmp_path / "photos",
        "--model",
        checkpoints / "mae.safetensors",
        "--folds",
        3,
    )
    assert result.exit_code == 0, result.output
    assert [line for line in result.stderr.splitlines() if "broken.png: cannot be read" in line]
    assert "N = 12 (green 4, red 4, striped 4)" in result.stdout and "1 could not be read" in result.stdout


def break_nothing(folder: Path) -> None:
    pass


def leave_one_class(folder: Path) -> None:
    for name in ("green", "striped"):
        for path in (folder / name).iterdir():
            path.unlink()
        (folder / name).rmdir()


def leave_two_greens(folder: Path) -> None:
    for path in sorted((folder / "green").iterdir())[2:]:
        path.unlink()


@pytest.mark.parametrize(
    ("change", "words", "told"),
    [
        (leave_one_class, [], "photos of one class only, 'red'; expected at least two"),
        (leave_two_greens, [], "class 'green' has 2 photos in 2 groups, expected some in each of 3 folds"),
        (
            break_nothing,
            ["--model", "CHECKPOINTS/lama.safetensors"],
            "holds an inpainter without a prior, expected a",
        ),
        (break_nothing, ["--model", "nowhere.safetensors"], "no file at nowhere.safetensors"),
        (break_nothing, ["--size", "30"], "got size 30, expected a multiple of 4"),
        (break_nothing, ["--out", "r.html"], "got report file r.html; expected a name ending in .md, .json"),
        (break_nothing, ["--group-column", "who"], "is a folder, whose sub-folders are the classes"),
    ],
)
def test_mistakes_cost_one_line(
    checkpoints: Path, tmp_path: Path, change: Callable[[Path], None], words: list[str], told: str
) -> None:
    change(write_classes(tmp_path / "photos", count=4))
    words = [word.replace("CHECKPOINTS", str(checkpoints)) for word in words]
    model = checkpoints / "mae.safetensors"
    result = run("linear-probe", "--data", tmp_path / "photos", "--model", model, "--folds", 3, *words)
    assert result.exit_code == 2 and result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and told in lines[0], result.stderr


def test_a_device_that_is_too_small_says_what_helps(photos, checkpoints, monkeypatch):
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nAnd so on")

    monkeypatch.setattr(ImageEncoder, "forward", fail)
    result = run("linear-probe", "--data", photos, "--model", checkpoints / "mae.safetensors", "--folds", 3)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(
        "error: out of memory on cpu; lower --size or --batch-size"
    )
