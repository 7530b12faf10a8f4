"""Every feature network's weights file with random numbers in it: official names and keys, half precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from eval.measures.networks import NETWORKS
from inpaint.features.measures import MobileNetV2Features


def write_random_weights(folder: Path, *keys: str, seed: int = 0) -> None:
    """Write the files of some of ``eval.measures.networks.NETWORKS``, or of all; their hashes do not fit."""
    from torchvision import models

    def fid_inception() -> nn.Module:
        return models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False)

    graphs: Mapping[str, Callable[[], nn.Module]] = {
        "lpips-alex": models.alexnet,
        "lpips-vgg": models.vgg16,
        "lpips-squeeze": models.squeezenet1_1,
        "inception-fid": fid_inception,
        "inception-fid-768": fid_inception,
        "inception-torchvision": lambda: models.inception_v3(init_weights=False),
        "squeezenet-caffe": models.squeezenet1_1,
        "mobilenet-tensorflow": MobileNetV2Features,
    }
    for key in keys or graphs:
        generator = torch.Generator().manual_seed(seed)
        with torch.device("meta"):
            shapes = graphs[key]().state_dict()
        state = {
            name: _random(name, tensor, generator) for name, tensor in shapes.items() if _used(name, key)
        }
        path = folder / NETWORKS[key].files[0].name
        if path.suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save(state, path)


def _used(name: str, key: str) -> bool:
    """The classifiers are most of their files, and nobody asks them; the short FID file ends at 768."""
    return not name.startswith("classifier.") and not (
        key == "inception-fid-768" and name.startswith(("Mixed_7", "fc."))
    )


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
