"""LPIPS and Inception against the packages they come from, called directly on the same weights and images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from eval.measures.networks import NETWORKS, find_file, load_network
from eval.measures.protocols import build_measures
from inpaint.errors import CheckpointError, ShapeError
from inpaint.features.frozen import FrozenNetwork
from inpaint.features.measures import (
    FID_DIMS,
    InceptionFeatures,
    Lpips,
    fid_input,
    mae_far_input,
    resize_8_bits,
)

PUBLISHED = ("lpips-alex", "lpips-vgg", "lpips-squeeze", "inception-fid", "inception-fid-768",
             "inception-torchvision")  # fmt: skip
REAL = os.environ.get("INPAINT_FEATURE_NETWORKS")
needs_real_files = pytest.mark.skipif(
    REAL is None, reason="INPAINT_FEATURE_NETWORKS does not name a folder of real feature networks"
)


def pictures(count: int, height: int = 64, width: int = 80, seed: int = 0) -> torch.Tensor:
    values = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return (values * 255).round() / 255


@pytest.fixture(scope="module")
def networks(random_weights: Path) -> dict[str, FrozenNetwork]:
    found = {key: find_file(NETWORKS[key], [random_weights]) for key in PUBLISHED}
    return {key: load_network(key, file, NETWORKS[key].dims) for key, file in found.items() if file}


def weights_of(folder: Path, key: str) -> dict[str, torch.Tensor]:
    path = folder / NETWORKS[key].files[0].name
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def lpips_of_the_package(net: str, folder: Path) -> torch.nn.Module:
    """The package's own network with the weights of a file, which both list in the order of the graph."""
    import lpips

    theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    order = sorted(
        ((key, value) for key, value in weights_of(folder, f"lpips-{net}").items()),
        key=lambda item: [int(part) if part.isdigit() else part for part in item[0].split(".")],
    )
    found = dict(order)
    with torch.no_grad():
        for name, parameter in theirs.net.named_parameters():
            parameter.copy_(found["features." + name.split(".", 1)[1]])
    return theirs.eval()


def fid_of_the_package(
    folder: Path, key: str, dims: int, monkeypatch: pytest.MonkeyPatch, images: list[Path]
) -> float:
    """pytorch-fid's distance between two folders, on the weights of a file."""
    from pytorch_fid import fid_score, inception

    state = weights_of(folder, key)
    with torch.device("meta"):
        shapes = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None).state_dict()
    whole = {name: state.get(name, torch.zeros(shape.shape)).float() for name, shape in shapes.items()}
    monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *args, **options: whole)
    return fid_score.calculate_fid_given_paths([str(path) for path in images], 4, "cpu", dims, num_workers=0)


@pytest.fixture
def two_folders(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / "composites", tmp_path / "originals"]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        for index, image in enumerate(pictures(9, 96, 96, seed=seed)):
            smooth = torch.nn.functional.avg_pool2d(image[None], 1 + 2 * seed, 1, seed)[0]
            pixels = (smooth * 255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return folders


def ours(folder: Path, two_folders: list[Path], dims: int, check_hash: bool) -> float:
    measures = build_measures("standard", weights=[folder], fid=[str(dims)], check_hash=check_hash)
    sets = []
    for each in two_folders:
        pixels = np.stack([np.array(Image.open(path)) for path in sorted(each.iterdir())])
        image = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
        sets.append({key: value.numpy() for key, value in measures.features(image).items()})
    return measures.of_sets(*sets)["fid" if dims == 2048 else f"fid_{dims}"].value


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_lpips_agrees_with_the_package(networks, random_weights: Path, net: str) -> None:
    theirs = lpips_of_the_package(net, random_weights)
    a, b = pictures(2), pictures(2, seed=1)
    with torch.inference_mode():
        found = networks[f"lpips-{net}"](a, b)
        torch.testing.assert_close(found, theirs(2 * a - 1, 2 * b - 1).flatten())
        assert networks[f"lpips-{net}"](a, a).tolist() == [0.0, 0.0]
    assert found.shape == (2,) and found.min() > 0


def test_fid_agrees_with_pytorch_fid(
    random_weights: Path, tmp_path: Path, two_folders, monkeypatch, empty_hub: Path
) -> None:
    key = "inception-fid-768"
    name = NETWORKS[key].files[0].name
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / name).symlink_to(random_weights / name)
    expected = fid_of_the_package(random_weights, key, 192, monkeypatch, two_folders)
    assert ours(tmp_path / "weights", two_folders, 192, False) == pytest.approx(expected, rel=1e-4)


@needs_real_files
@pytest.mark.parametrize("dims", [64, 192, 768])
def test_fid_on_the_real_file_agrees_with_pytorch_fid(dims: int, two_folders, monkeypatch, empty_hub) -> None:
    expected = fid_of_the_package(Path(str(REAL)), "inception-fid-768", dims, monkeypatch, two_folders)
    assert ours(Path(str(REAL)), two_folders, dims, True) == pytest.approx(expected, rel=1e-4)


@needs_real_files
def test_lpips_squeeze_on_the_real_file_is_the_published_one(empty_hub) -> None:
    """The example in torchmetrics' documentation, and the package called directly."""
    file = find_file(NETWORKS["lpips-squeeze"], [Path(str(REAL))])
    assert file is not None and file.check() == file.sha256
    network = load_network("lpips-squeeze", file)
    generator = torch.Generator().manual_seed(42)
    a, b = (torch.rand(10, 3, 100, 100, generator=generator) for _ in range(2))
    theirs = lpips_of_the_package("squeeze", Path(str(REAL)))
    with torch.inference_mode():
        torch.testing.assert_close(network(a, b), theirs(2 * a - 1, 2 * b - 1).flatten())
        torch.manual_seed(42)
        a, b = ((torch.rand(2, 3, 100, 100) * 2) - 1 for _ in range(2))
        assert [round(value, 4) for value in network((a + 1) / 2, (b + 1) / 2).tolist()] == [0.1024, 0.0938]


def test_every_block_of_fids_inception_agrees_with_pytorch_fid(
    networks, random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytorch_fid import inception

    whole = weights_of(random_weights, "inception-fid")
    monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *args, **options: whole)
    image = pictures(2)
    with torch.inference_mode():
        theirs = inception.InceptionV3([0, 1, 2, 3]).eval()(image)
        found = networks["inception-fid"](image)
    assert tuple(found) == FID_DIMS and found[2048].std(dim=0).max() > 1e-3
    for block, features in zip(theirs, found.values(), strict=True):
        torch.testing.assert_close(features, block.mean(dim=(2, 3)))


def test_a_network_cut_short_reads_the_whole_file_and_gives_the_same(networks, random_weights: Path) -> None:
    path = random_weights / NETWORKS["inception-fid"].files[0].name
    short = InceptionFeatures("fid", (192,)).load_weights(path)
    image = pictures(1)
    with torch.inference_mode():
        torch.testing.assert_close(short(image), {192: networks["inception-fid"](image)[192]})
    assert len(short.state_dict()) < len(networks["inception-fid"].state_dict()) / 4


def test_mae_fars_inception_is_torchvisions_on_its_own_input(networks, random_weights: Path) -> None:
    from torchvision.models import inception_v3

    theirs = inception_v3(init_weights=False, transform_input=True).eval()
    theirs.load_state_dict(weights_of(random_weights, "inception-torchvision"))
    pooled = []
    theirs.avgpool.register_forward_hook(lambda module, inputs, output: pooled.append(output.flatten(1)))
    image = pictures(1)
    with torch.inference_mode():
        found = networks["inception-torchvision"](image)[2048]
        theirs(resize_8_bits(image))
    torch.testing.assert_close(found, pooled[0])


def test_the_two_inputs_have_their_published_ranges() -> None:
    white, black = torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    torch.testing.assert_close(fid_input(white), torch.ones(1, 3, 299, 299))
    torch.testing.assert_close(fid_input(black), -torch.ones(1, 3, 299, 299))
    # (x - 0.5) / 0.5 after x = 0.229 x + 0.485: red from -0.03 to 0.428.
    assert mae_far_input(white)[0, 0].unique().tolist() == pytest.approx([0.428])
    assert mae_far_input(black)[0, 0].unique().tolist() == pytest.approx([-0.03])
    assert mae_far_input(white).shape == (1, 3, 299, 299)


def test_resizing_keeps_whole_255ths_and_images_of_the_right_size() -> None:
    image = pictures(1, 299, 299)
    torch.testing.assert_close(resize_8_bits(image), image, rtol=0, atol=1e-7)
    resized = resize_8_bits(pictures(2, 20, 30)) * 255
    torch.testing.assert_close(resized, resized.round(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("key", PUBLISHED)
def test_networks_are_frozen_and_see_each_image_alone(networks, key: str) -> None:
    network = networks[key]
    assert not any(module.training for module in network.train().modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    inputs = [pictures(2), pictures(2, seed=1)] if key.startswith("lpips") else [pictures(2)]
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        together = network(*inputs)
        alone = network(*(image[1:] for image in inputs))
        if isinstance(together, dict):
            together, alone = list(together.values())[-1], list(alone.values())[-1]
    assert together.dtype == torch.float32
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_full_precision_is_for_the_networks_only(networks) -> None:
    before = torch.backends.cudnn.allow_tf32
    seen = []
    network = networks["lpips-alex"]
    handle = network.network.register_forward_pre_hook(
        lambda *_: seen.append(torch.backends.cudnn.allow_tf32)
    )
    with torch.inference_mode():
        network(pictures(1), pictures(1))
    handle.remove()
    assert seen == [False] and torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize(("net", "smallest"), [("alex", 31), ("vgg", 16), ("squeeze", 17)])
def test_the_smallest_image_of_lpips(networks, net: str, smallest: int) -> None:
    image = pictures(1, smallest, 40)
    assert networks[f"lpips-{net}"](image, image).item() == 0
    with pytest.raises(ShapeError, match=rf"{smallest - 1}, 40.*at least {smallest} pixels"):
        networks[f"lpips-{net}"](image[..., 1:, :], image[..., 1:, :])


def test_lpips_gives_gradients_to_images_only(networks) -> None:
    image = pictures(1).requires_grad_(True)
    networks["lpips-squeeze"](image, pictures(1, seed=1)).sum().backward()
    assert image.grad is not None and image.grad.abs().max() > 0


def test_weights_of_another_network_are_refused(random_weights: Path) -> None:
    alex, vgg = (random_weights / NETWORKS[key].files[0].name for key in ("lpips-alex", "lpips-vgg"))
    with pytest.raises(CheckpointError, match=rf"{vgg.name}: not the weights of the backbone of LPIPS"):
        Lpips("alex").load_weights(vgg)
    with pytest.raises(CheckpointError, match=rf"{alex.name}: not the weights of Inception v3"):
        InceptionFeatures().load_weights(alex)
