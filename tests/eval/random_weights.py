"""The published weights files with random numbers in them: official names and keys, half precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from eval.weights import NETWORKS


def write_random_weights(folder: Path, seed: int = 0) -> None:
    """Write every file of ``eval.weights.NETWORKS``; to be read with ``check_hash=False``."""
    from torchvision import models

    graphs: Mapping[str, Callable[[], nn.Module]] = {
        "lpips-alex": models.alexnet,
        "lpips-vgg": models.vgg16,
        "inception-fid": lambda: models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False),
        "inception-torchvision": lambda: models.inception_v3(init_weights=False),
    }
    generator = torch.Generator().manual_seed(seed)
    for key, graph in graphs.items():
        with torch.device("meta"):
            shapes = graph().state_dict()
        state = {name: _random(name, tensor, generator) for name, tensor in shapes.items() if _used(name)}
        torch.save(state, folder / NETWORKS[key].file)


def _used(name: str) -> bool:
    """The classifiers of AlexNet and VGG are nine tenths of their files, and nobody asks them."""
    return not name.startswith("classifier.")


def _random(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers that keep activations alive through the depth of the network."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    values = torch.randn(like.shape, generator=generator)
    if values.ndim > 1:
        return (values * (2 / values[0].numel()) ** 0.5).half()
    if name.endswith(("running_var", "bn.weight")):
        return (1 + 0.1 * values).clamp_min(0.5).half()
    return (0.1 * values).half()
