"""Checkpoints: one safetensors file holding the weights and, in its header, the architecture.

Our own weights are stored in half precision, converted ones in float32; all are used in float32. A file is
read strictly: every tensor must be there, fit, and be finite. Foreign pickles are never read here.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from inpaint.atomic import atomic_write
from inpaint.errors import CheckpointError, few
from inpaint.models.inpainter import Inpainter
from inpaint.models.patch_autoencoder import PatchAutoencoder
from inpaint.models.presets import build_described, describe_preset

FORMAT = "inpaint-1"
Autoencoder = TypeVar("Autoencoder", bound=PatchAutoencoder)


def save_checkpoint(
    path: str | Path, model: nn.Module, notes: Mapping[str, str] | None = None, *, half: bool = True
) -> None:
    """Write a model's weights and preset to one file, atomically.

    Args:
        path: ends in ``.safetensors``.
        model: an Inpainter or a masked autoencoder.
        notes: free text for the header: what it was trained on, licence, images seen.
        half: store half precision; False keeps every bit of float32.

    Raises:
        CheckpointError: if the model is of another kind, a weight is not finite, or the file cannot be
            written.
    """
    header = {
        "format": FORMAT,
        "model": json.dumps(describe_preset(model)),
        "notes": json.dumps(dict(notes or {})),
    }
    tensors = {
        name: _to_half(name, tensor) if half else tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    write_tensors(path, tensors, header)


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file, atomically."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"got the output name {path.name}, expected one that ends in .safetensors")
    if not path.parent.is_dir():
        raise CheckpointError(f"the folder {path.parent} does not exist; create it first")
    try:
        with atomic_write(path) as file:
            file.write(save(dict(tensors), metadata=dict(header)))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


class _SkipInit(TorchFunctionMode):
    """Leave parameters uninitialised: random numbers take longer than the file that replaces them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        if func in (Tensor.uniform_, Tensor.normal_):  # some of those draw until a number fits, as 0 does
            return args[0].zero_()
        return func(*args, **(kwargs or {}))


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Inpainter | PatchAutoencoder:
    """Read a model from a file written by :func:`save_checkpoint`, in evaluation mode.

    Raises:
        CheckpointError: if the file is missing, not a checkpoint of ours, or does not fit its own preset.
        InpaintError: the network needs timm, which is not installed.
    """
    header, tensors = read_tensors(path)
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not a checkpoint of ours (format {header.get('format')!r}, expected {FORMAT!r}); "
            "bring foreign weights in with: inpaint convert FOREIGN OUT.safetensors"
        )
    try:
        description = json.loads(header["model"])
    except (KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} has no readable model description in its header") from error
    with _SkipInit():
        model = build_described(description)
    fit_state(model, tensors, str(path))
    return model.eval().to(device)


def load_autoencoder(
    path: str | Path, kind: type[Autoencoder] = PatchAutoencoder, device: str | torch.device = "cpu"
) -> Autoencoder:
    """Read a masked autoencoder from its own checkpoint, or from that of an inpainter whose prior it is.

    CheckpointError as for :func:`load_checkpoint`, or if the file holds no autoencoder of this kind.
    """
    model = load_checkpoint(path, device)
    found = model.prior if isinstance(model, Inpainter) else model
    if not isinstance(found, kind):
        holds = "an inpainter without a prior" if found is None else type(found).__name__
        wanted = "masked autoencoder" if kind is PatchAutoencoder else kind.__name__
        raise CheckpointError(f"{path} holds {holds}, expected a {wanted}, or an inpainter with one as prior")
    return found


def read_notes(path: str | Path) -> dict[str, str]:
    """The free-text notes a checkpoint carries."""
    header, _ = read_tensors(path, names=())
    return json.loads(header.get("notes", "{}"))


def read_tensors(
    path: str | Path, names: tuple[str, ...] | None = None
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a safetensors file; ``names`` limits which tensors are read."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            keys = file.keys() if names is None else names
            return dict(file.metadata() or {}), {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def fit_state(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load tensors into a model, strictly, and refuse weights that are not finite.

    CheckpointError names the first few keys that are missing, unknown, unfit or not finite.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    if told := describe_misfit(tensors, shapes):
        raise CheckpointError(f"{source} does not fit {type(model).__name__}: tensors {told}")
    model.load_state_dict(dict(tensors))


def describe_misfit(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], name_of: Callable[[str], str] = str
) -> str:
    """Which tensors a network of these shapes cannot take, named by ``name_of`` their keys; empty if none."""
    unfit = [
        f"{name_of(key)} {tuple(tensor.shape)} instead of {shapes[key]}"
        for key, tensor in tensors.items()
        if key in shapes and tuple(tensor.shape) != shapes[key]
    ]
    # NaN and infinity reach the extremes, which are found in a tenth of the time of isfinite().all().
    extremes = {key: tensor.aminmax() for key, tensor in tensors.items() if tensor.numel()}
    problems = {
        "unknown": [name_of(key) for key in tensors if key not in shapes],
        "missing": [name_of(key) for key in shapes if key not in tensors],
        "of another shape": unfit,
        "not finite": [name_of(key) for key, ends in extremes.items() if not all(map(torch.isfinite, ends))],
    }
    return "; ".join(f"{len(names)} {problem}: {few(names)}" for problem, names in problems.items() if names)


@torch.no_grad()
def average_checkpoints(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of the weights, and of BatchNorm's statistics, of networks of one architecture.

    The mean of networks that were fine-tuned from the same weights is often better than each of them. The
    mean of networks with different initial weights is useless. A path given n times has n parts in the mean.

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
    networks = {path: load_checkpoint(path) for path in paths}
    network, description = networks[paths[0]], describe_preset(networks[paths[0]])
    for path, other in networks.items():
        if describe_preset(other) != description:
            raise CheckpointError(
                f"{path} holds another architecture than {paths[0]}, expected networks that were "
                "trained from the same one"
            )
    states = {path: other.state_dict() for path, other in networks.items()}
    for key, tensor in network.state_dict().items():
        tensor.copy_(torch.stack([states[path][key].double() for path in paths]).mean(0))
    parts = Counter(paths)
    seen = [read_notes(path).get("images_seen") for path in parts]
    notes = {"mean_of": ", ".join(f"{n} x {path.name}" if n > 1 else path.name for path, n in parts.items())}
    if all(seen):
        notes["images_seen"] = str(sum(int(number) for number in seen if number))
    save_checkpoint(out, network, notes)


def _to_half(name: str, tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    if not torch.isfinite(half).all():
        raise CheckpointError(f"cannot store {name} in half precision: it holds {tensor.abs().max():.3g}")
    return half
