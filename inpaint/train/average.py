"""One network from several that went on from the same one: the mean of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from inpaint.checkpoint import load_checkpoint, read_notes, save_checkpoint
from inpaint.errors import CheckpointError
from inpaint.models.presets import describe_preset


@torch.no_grad()
def average_checkpoints(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of the weights, and of BatchNorm's statistics, of networks of one architecture.

    Runs that begin with the same weights and end in different places, one sharp and one true, often have a
    mean that is better than either, and costs nothing more at use. Networks that began with different weights
    have no mean worth anything.

    Args:
        paths: two or more checkpoints.
        out: the file to write; it may be none of them. Its notes name them and tell the images that all runs
            together have seen.

    Raises:
        CheckpointError: a file cannot be read or written, or they hold different architectures.

    Source:
        Wang et al., *ESRGAN* (ECCV workshops 2018), section 3.4, network interpolation; Wortsman et al.,
        *Model soups* (ICML 2022).
    """
    if len(paths) < 2:
        raise CheckpointError(f"got {len(paths)} checkpoint, expected two or more to average")
    if any(out.exists() and out.samefile(path) for path in paths):
        raise CheckpointError(f"{out} is one of the checkpoints and would be replaced: choose another name")
    network = load_checkpoint(paths[0])
    description = describe_preset(network)
    sums: dict[str, Tensor] = {key: tensor.double() for key, tensor in network.state_dict().items()}
    for path in paths[1:]:
        other = load_checkpoint(path)
        if describe_preset(other) != description:
            raise CheckpointError(
                f"{path} holds another architecture than {paths[0]}, expected networks that went on from one"
            )
        for key, tensor in other.state_dict().items():
            sums[key] += tensor
    own = network.state_dict()
    network.load_state_dict({key: (total / len(paths)).to(own[key].dtype) for key, total in sums.items()})
    seen = [read_notes(path).get("images_seen") for path in paths]
    notes = {"mean_of": ", ".join(path.name for path in paths)}
    if all(seen):
        notes["images_seen"] = str(sum(int(number) for number in seen if number))
    save_checkpoint(out, network, notes)
