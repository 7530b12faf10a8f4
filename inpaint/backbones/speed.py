"""How fast backbones are, side by side on one machine, and whether in the order that was published."""

import statistics
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from torch import nn

from inpaint.backbones.network import SIZE
from inpaint.strict import read_table

CLOSE = 1.1


@dataclass(frozen=True)
class SpeedTable:
    """Images a second as others have measured them, by network name; where it is printed, and on what."""

    source: str
    hardware: str
    speeds: Mapping[str, float]


def read_published_speeds() -> list[SpeedTable]:
    """The published tables of inference at 224 x 224 pixels; each is a protocol of its own."""
    data = tomllib.loads(Path(__file__).with_name("speeds.toml").read_text(encoding="utf-8"))
    return [read_table(table, SpeedTable, Path()) for table in data["tables"]]


@dataclass(frozen=True)
class Speed:
    """Images of 224 pixels a second: the median of all passes, and the bounds of their middle half."""

    images_per_second: float
    middle_half: tuple[float, float]
    passes: int


@dataclass(frozen=True)
class Order:
    """Measured speeds compared with one published table; a pair names the published faster network first."""

    agree: list[tuple[str, str]]
    disagree: list[tuple[str, str]]
    too_close_to_call: list[tuple[str, str]]  # published speeds within 10 %


@torch.inference_mode()
def measure_speeds(
    networks: Sequence[nn.Module], *, batch: int = 1, seconds: float = 1.0, device: torch.device | str = "cpu"
) -> list[Speed]:
    """Time networks in turn, one pass each, so that other load on the machine affects all of them alike.

    The networks are in evaluation mode on ``device``; each gets ``seconds`` on average, three passes at least
    after one to warm up.
    """
    device = torch.device(device)
    image = torch.zeros(batch, 3, SIZE, SIZE, device=device)
    for network in networks:
        _time_pass(network, image)
    times: list[list[float]] = [[] for _ in networks]
    order = list(range(len(networks)))
    begun = time.perf_counter()
    while len(times[0]) < 3 or time.perf_counter() - begun < seconds * len(networks):
        for index in order:
            times[index].append(_time_pass(networks[index], image))
        order = [*order[1:], order[0]]  # nobody always runs after the same neighbour
    speeds = []
    for each in times:
        quick, middle, slow = statistics.quantiles(each, n=4, method="inclusive")
        speeds.append(Speed(batch / middle, (batch / slow, batch / quick), len(each)))
    return speeds


def compare_order(speeds: Mapping[str, float], table: SpeedTable) -> Order:
    """Compare the order of measured speeds, by network name, with that of a published table."""
    order = Order([], [], [])
    known = sorted(speeds.keys() & table.speeds.keys(), key=lambda name: (-table.speeds[name], name))
    for faster, slower in combinations(known, 2):
        if table.speeds[faster] < CLOSE * table.speeds[slower]:
            order.too_close_to_call.append((faster, slower))
        elif speeds[faster] > speeds[slower]:
            order.agree.append((faster, slower))
        else:
            order.disagree.append((faster, slower))
    return order


def _time_pass(network: nn.Module, image: torch.Tensor) -> float:
    start = time.perf_counter()
    network(image)
    if image.device.type != "cpu":
        torch.accelerator.synchronize(image.device)
    return time.perf_counter() - start
