"""Averages of weights: the moving average over a run, and the mean of several checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from inpaint.checkpoint import load_checkpoint, read_notes, save_checkpoint
from inpaint.errors import CheckpointError
from inpaint.models.presets import describe_preset


class Ema(AveragedModel):
    """Exponential moving average of a network's parameters; buffers are copied.

    The average is kept in float32 in a network of its own, `Ema.module`, in evaluation mode.

    Args:
        network: what is trained; it is copied.
        decay: fraction of the average that stays in each update, in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float = 0.998) -> None:
        super().__init__(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.n_averaged.fill_(1)  # the first update averages with the weights of the start, too
        self.eval().requires_grad_(False)


@torch.no_grad()
def average_checkpoints(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of the weights, and of BatchNorm's statistics, of networks of one architecture.

    The mean of networks that were fine-tuned from the same weights is often better than each of them. The
    mean of networks with different initial weights is useless.

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
                f"{path} holds another architecture than {paths[0]}, expected networks that were "
                "trained from the same one"
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
