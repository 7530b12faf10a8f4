"""What a fill may see, how its result is kept, and what methods may be called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from eval.tasks.methods import (
    BASELINES,
    Fill,
    Method,
    baseline_methods,
    check_names,
    fill_in_8_bits,
    load_models,
)
from inpaint.errors import DataError, InpaintError, WeightsError

CPU = torch.device("cpu")


def filled(fill: Fill, image: Tensor, mask: Tensor) -> Tensor:
    return fill_in_8_bits(Method("it", "model", fill), image, mask)


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    image = torch.randint(0, 256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., 2:5, :] = 1
    return image, mask


def test_a_fill_never_sees_the_answer(pair: tuple[Tensor, Tensor]) -> None:
    image, mask = pair
    seen = []

    def spy(image: Tensor, mask: Tensor) -> Tensor:
        seen.append(image)
        return torch.full_like(image, 0.2501)

    prediction = filled(spy, image, mask)
    hole = (mask > 0.5).expand_as(image)
    assert (seen[0][hole] == 0.5).all() and torch.equal(seen[0][~hole], image[~hole])
    assert (prediction == 64 / 255).all()  # 63.78: rounded, not cut; and not composited yet


def test_predictions_are_clamped(pair: tuple[Tensor, Tensor]) -> None:
    assert filled(lambda image, mask: image * 0 + 7, *pair).unique().tolist() == [1]


@pytest.mark.parametrize(
    ("fill", "told"),
    [
        (lambda image, mask: image / 0, "not finite"),
        (lambda image, mask: image[..., :4], r"\(2, 3, 8, 4\) of \(2, 3, 8, 8\)"),
    ],
)
def test_a_broken_fill_is_named(fill: Fill, told: str, pair: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InpaintError, match=f"it .*{told}"):
        filled(fill, *pair)


def test_the_mean_colour_baseline_is_cut_to_8_bits() -> None:
    image = torch.tensor([10.0, 13.0, 0.0]).view(1, 1, 1, 3).repeat(1, 3, 1, 1) / 255
    mask = torch.tensor([0.0, 0.0, 1.0]).view(1, 1, 1, 3)
    prediction = filled(BASELINES["mean colour"], image, mask)
    assert (prediction[..., 2] * 255).round().unique().tolist() == [11.0]  # of 11.5
    whole = torch.full((1, 3, 1, 3), 200 / 255)  # a mean that is whole is not cut below itself
    assert torch.equal(filled(BASELINES["mean colour"], whole, mask), whole)


def test_baselines_keep_the_known_region(pair: tuple[Tensor, Tensor]) -> None:
    image, mask = pair
    assert [baseline.kind for baseline in baseline_methods()] == ["baseline"] * 4
    for baseline in baseline_methods():
        known = (mask < 0.5).expand_as(image)
        assert torch.equal(fill_in_8_bits(baseline, image, mask)[known], image[known])


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a", "b", "a"], "two methods named 'a'"),
        (["a b", "A-b"], "two methods named"),  # they would share a folder
        (["..", "a"], "letters or digits"),
    ],
)
def test_names_must_tell_methods_apart(names: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        check_names([Method(name, "model", lambda image, mask: image) for name in names])
    check_names([Method(name, "model", lambda image, mask: image) for name in ("a", "b")])


def test_models_know_the_hash_of_their_file(tiny_checkpoint: Callable[[str], Path]) -> None:
    path = tiny_checkpoint("small")
    twin = tiny_checkpoint("deeper/small")
    (model,) = load_models([str(path)], CPU)
    assert (model.name, model.kind, len(model.identity)) == ("small", "model", 64)
    assert [model.name for model in load_models([str(path), str(twin)], CPU)] == [str(path), str(twin)]
    with pytest.raises(WeightsError, match="no-such-model"):
        load_models(["no-such-model"], CPU)
