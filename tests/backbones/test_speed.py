"""Timing with toys and with random weights: speed does not depend on them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("timm")
from inpaint.backbones.network import build_network
from inpaint.backbones.registry import BACKBONES, find_backbone
from inpaint.backbones.speed import SpeedTable, compare_order, measure_speeds, read_published_speeds

PUBLISHED_SPEEDS = CONVNEXT, TIMM = read_published_speeds()
TABLE = SpeedTable("a table", "a machine", {"a": 100.0, "b": 50.0, "c": 49.0, "d": 10.0})


class Diary(nn.Module):
    """Writes down that it was called."""

    def __init__(self, name: str, diary: list[str]) -> None:
        super().__init__()
        self.name, self.diary = name, diary

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        assert picture.shape == (2, 3, 224, 224)
        self.diary.append(self.name)
        return picture


def test_networks_take_turns() -> None:
    diary: list[str] = []
    speeds = measure_speeds([Diary(name, diary) for name in "abc"], batch=2, seconds=1e-6)
    assert "".join(diary) == "abc" + "abc" + "bca" + "cab"  # to warm up, then three rounds
    assert [speed.passes for speed in speeds] == [3, 3, 3]
    assert all(
        0 < speed.middle_half[0] <= speed.images_per_second <= speed.middle_half[1] for speed in speeds
    )


def test_order_against_a_table() -> None:
    order = compare_order({"d": 7.0, "a": 9.0, "b": 8.0, "c": 20.0, "e": 1.0}, TABLE)
    assert order.agree == [("a", "b"), ("a", "d"), ("b", "d"), ("c", "d")]
    assert order.disagree == [("a", "c")]
    assert order.too_close_to_call == [("b", "c")]  # 50 and 49
    assert compare_order({"a": 1.0, "e": 2.0}, TABLE).agree == []


def test_published_tables_speak_of_known_networks_and_larger_ones_are_slower() -> None:
    assert set().union(*(table.speeds for table in PUBLISHED_SPEEDS)) == {b.name for b in BACKBONES}
    for table in PUBLISHED_SPEEDS:
        families: dict[str, list[tuple[float, float]]] = {}
        for name, speed in table.speeds.items():
            backbone = find_backbone(name)
            families.setdefault(backbone.family, []).append((backbone.gigamacs, -speed))
        assert all(sorted(pairs) == sorted(pairs, key=lambda pair: pair[1]) for pairs in families.values())
    assert CONVNEXT.speeds["convnext_isotropic_small"] > CONVNEXT.speeds["deit_small_patch16_224"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "faster", "slower"),
    [
        (CONVNEXT, "convnext_tiny", "convnext_base"),
        (CONVNEXT, "convnext_isotropic_small", "convnext_isotropic_base"),
        (CONVNEXT, "swin_tiny_patch4_window7_224", "swin_base_patch4_window7_224"),
        (CONVNEXT, "deit_small_patch16_224", "deit_base_patch16_224"),
        (TIMM, "convnextv2_atto", "convnextv2_tiny"),
        (TIMM, "poolformer_s12", "poolformer_s36"),
    ],
)
def test_two_sizes_of_a_family_are_as_far_apart_as_published_to_see_it(
    table: SpeedTable, faster: str, slower: str
) -> None:
    """Published speeds differ by 2.6 to 3.3 times; in turns, a busy machine slows both alike."""
    networks = [build_network(find_backbone(name)) for name in (faster, slower)]
    medians = [speed.images_per_second for speed in measure_speeds(networks, seconds=2.0)]
    order = compare_order(dict(zip((faster, slower), medians, strict=True)), table)
    assert order.agree == [(faster, slower)], medians
