"""The road's ends are the published networks, and every step between costs what the paper prints."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from inpaint.backbones.network import count_network
from inpaint.backbones.roadmap import (
    STEPS,
    Design,
    Road,
    Stop,
    build_design,
    draw_road,
    walk_road,
)

GAIN, LOSS, COST = "#3b82c4", "#c76f1e", "#6b7280"  # the chart's colours

ROADS: tuple[Road, ...] = ("tiny", "base")
STOPS = [(road, index) for road in ROADS for index in range(len(STEPS))]


def stop_of(road: Road, name: str) -> Stop:
    return next(stop for stop in walk_road(road) if stop.name == name)


@pytest.mark.parametrize(("road", "index"), STOPS, ids=lambda value: str(value))
def test_each_step_costs_what_is_printed(road: Road, index: int) -> None:
    stop = walk_road(road)[index]
    if not stop.doubt:
        assert abs(stop.excess) < 0.02


def test_the_one_step_that_does_not_agree() -> None:
    """Table 10 prints 4.46 for LayerNorm, and ours is 7 % below: 4.46 is what the next step comes to."""
    assert [(road, stop.name) for road in ROADS for stop in walk_road(road) if stop.doubt] == [
        ("tiny", "LayerNorm")
    ]
    ours, following = stop_of("tiny", "LayerNorm"), stop_of("tiny", "separate downsampling")
    assert ours.printed.gigamacs == 4.46 and ours.excess == pytest.approx(-0.07, abs=0.001)
    assert round(following.gigamacs, 2) == 4.46
    # The larger road has the same change, printed and counted without any cost.
    assert stop_of("base", "LayerNorm").printed.gigamacs == stop_of("base", "fewer norms").printed.gigamacs
    assert stop_of("base", "LayerNorm").gigamacs == stop_of("base", "fewer norms").gigamacs
    before = stop_of("tiny", "fewer norms")
    assert ours.gigamacs == before.gigamacs and round(ours.gigamacs, 2) == before.printed.gigamacs


@pytest.mark.parametrize(
    ("road", "index", "name"),
    [
        ("tiny", 0, "resnet50"),
        ("tiny", -1, "convnext_tiny"),
        ("base", 0, "resnet200"),
        ("base", -1, "convnext_base"),
    ],
)
def test_the_ends_are_as_large_and_as_costly_as_timms(road: Road, index: int, name: str) -> None:
    timm = pytest.importorskip("timm")
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        theirs = timm.create_model(name).eval()
        picture = torch.empty(1, 3, 224, 224)
    counter = FlopCounterMode(display=False)
    with counter:
        theirs(picture)
    stop = walk_road(road)[index]
    assert round(stop.parameters * 1e6) == sum(parameter.numel() for parameter in theirs.parameters())
    assert round(stop.gigamacs * 2e9) == counter.get_total_flops()


@pytest.mark.parametrize(("index", "name"), [(0, "resnet50"), (-1, "convnext_tiny")])
def test_the_ends_answer_as_timms_with_the_same_weights(index: int, name: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model(name).eval()
    for parameter in theirs.parameters():  # what starts as zero, one or 1e-6 would hide a mistake
        nn.init.normal_(parameter, std=0.05)
    ours = build_design(walk_road("tiny")[index].design).eval()
    weights = zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True)
    ours.load_state_dict({key: value.reshape(own.shape) for (key, own), value in weights})
    picture = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected, got = theirs(picture), ours(picture)
    assert expected.std() > 0
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


@pytest.mark.parametrize("index", range(len(STEPS)), ids=[step["name"] for step in STEPS])
@pytest.mark.parametrize("size", [(32, 32), (33, 70)])
def test_every_step_runs_and_learns_when_small(index: int, size: tuple[int, int]) -> None:
    design = replace(walk_road("tiny")[index].design, depths=(1, 2, 1, 1), width=4)
    torch.manual_seed(0)
    network = build_design(design, classes=5)
    answer = network(torch.randn(2, 3, *size))
    assert answer.shape == (2, 5) and answer.isfinite().all()
    answer.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def count_layers(design: Design, *kinds: type[nn.Module]) -> int:
    """Of one block that changes neither channels nor size."""
    network = build_design(replace(design, depths=(2,), width=4), classes=2)
    block = list(network[1].children())[1]
    return sum(isinstance(module, kinds) for module in block.modules())


def test_what_a_block_is_made_of() -> None:
    counts = {
        stop.name: (count_layers(stop.design, nn.ReLU, nn.GELU), count_layers(stop.design, nn.BatchNorm2d))
        for stop in walk_road("tiny")
    }
    assert counts["ResNet"] == counts["ReLU to GELU"] == (3, 3)
    assert counts["fewer activations"] == (1, 3)
    assert counts["fewer norms"] == (1, 1)
    assert counts["LayerNorm"] == counts["separate downsampling"] == (1, 0)


def test_a_step_says_only_what_it_changes() -> None:
    names = {field.name for field in fields(Design)}
    for road in ROADS:
        design = walk_road(road)[0].design
        for stop in walk_road(road)[1:]:
            differs = {name for name in names if getattr(stop.design, name) != getattr(design, name)}
            assert differs == set(stop.change), stop.name
            if stop.kept:
                design = stop.design
    assert {name for step in STEPS for name in step.get("change", {})} == names


def test_gains_are_over_the_last_step_that_was_kept() -> None:
    gains = {stop.name: stop.gain for stop in walk_road("tiny")}
    assert gains["ResNet"] is None
    assert (gains["depthwise"], gains["more width"]) == (-1.23, 2.22)
    assert (gains["kernel 5"], gains["kernel 7"], gains["kernel 11"]) == (0.43, 0.65, -0.10)
    assert (gains["ReLU to GELU"], gains["separate downsampling"]) == (0.05, 0.50)
    for road in ROADS:
        stops = walk_road(road)
        total = sum(stop.gain for stop in stops if stop.gain is not None and stop.kept)
        assert total == pytest.approx(stops[-1].printed.accuracy - stops[0].printed.accuracy)


def test_a_larger_depthwise_kernel_costs_its_area() -> None:
    """Closed form: ``channels x places x (side squared)`` for each block, and nothing else."""
    small, large = stop_of("tiny", "depthwise moved up"), stop_of("tiny", "kernel 7")
    depths, places = small.design.depths, (56, 28, 14, 7)
    added = 0
    for stage, depth in enumerate(depths):
        channels, area = 96 * 2**stage, places[stage] ** 2
        first = channels // 2 if stage else channels  # it comes before the channels grow
        added += (7**2 - 3**2) * area * (first + (depth - 1) * channels)
    assert large.gigamacs - small.gigamacs == pytest.approx(added / 1e9, rel=1e-9)
    assert count_network(lambda: build_design(replace(small.design, kernel=7)).eval()) == (
        large.parameters,
        large.gigamacs,
    )


def test_the_chart_draws_every_step_within_its_frame() -> None:
    stops = walk_road("tiny")
    root = ElementTree.fromstring(draw_road(stops, "the road"))
    space = "{http://www.w3.org/2000/svg}"
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert root.attrib["aria-label"] == "the road" and root.attrib["fill"] == "currentColor"
    texts = [text.text or "" for text in root.iter(f"{space}text")]
    for stop in stops:
        name = stop.name if stop.kept else f"{stop.name} (tried)"
        place = texts.index(name)
        assert texts[place + 1 : place + 3] == [f"{stop.printed.accuracy:.2f}", f"{stop.gigamacs:.2f}"]
    bars = [bar.attrib for bar in root.iter(f"{space}rect")]
    for bar in bars:
        assert 0 <= float(bar["x"]) and float(bar["x"]) + float(bar["width"]) <= width
        assert 0 <= float(bar["y"]) and float(bar["y"]) + float(bar["height"]) <= height
    of = {colour: [bar for bar in bars if bar["fill"] == colour] for colour in (GAIN, LOSS, COST)}
    losses = sum(stop.gain is not None and stop.gain < 0 for stop in stops)
    assert len(of[LOSS]) == losses + 1 and len(of[GAIN]) == len(stops) - losses + 1  # one each in the legend
    # Costs are drawn from zero: lengths are in the proportion of the counts.
    lengths = [float(bar["width"]) / stop.gigamacs for bar, stop in zip(of[COST], stops, strict=False)]
    assert max(lengths) - min(lengths) < 0.05
