"""LPIPS and Inception against the libraries they come from, on the same random weights and pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eval.weights import NETWORKS, load_network
from inpaint.errors import CheckpointError, ShapeError
from inpaint.features.frozen import FrozenNetwork
from inpaint.features.inception import fid_input, mae_far_input, resize_8_bits


def pictures(count: int, height: int = 64, width: int = 80, seed: int = 0) -> torch.Tensor:
    values = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return (values * 255).round() / 255


@pytest.fixture(scope="module")
def networks(random_weights: Path) -> dict[str, FrozenNetwork]:
    return {key: load_network(each, random_weights, check_hash=False) for key, each in NETWORKS.items()}


def weights_of(folder: Path, key: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / NETWORKS[key].file, weights_only=True)


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_lpips_agrees_with_the_package(networks, random_weights: Path, trunk: str) -> None:
    import lpips

    theirs = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    # Both list the convolutions in the order of the graph.
    for parameter, value in zip(
        theirs.net.parameters(), weights_of(random_weights, f"lpips-{trunk}").values(), strict=True
    ):
        parameter.data.copy_(value)
    a, b = pictures(2), pictures(2, seed=1)
    with torch.inference_mode():
        ours = networks[f"lpips-{trunk}"](a, b)
        torch.testing.assert_close(ours, theirs(2 * a - 1, 2 * b - 1).flatten())
        assert networks[f"lpips-{trunk}"](a, a).tolist() == [0.0, 0.0]
    assert ours.shape == (2,) and ours.min() > 0


def test_fids_inception_agrees_with_pytorch_fid(
    networks, random_weights: Path, empty_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytorch_fid.inception import InceptionV3

    empty_hub.mkdir(parents=True)
    name = NETWORKS["inception-fid"].file
    (empty_hub / name).symlink_to(random_weights / name)
    image = pictures(2)
    with torch.inference_mode():
        theirs = InceptionV3().eval()(image)[0].flatten(1)
        ours = networks["inception-fid"](image)[2048]
    assert ours.shape == (2, 2048) and ours.std(dim=0).max() > 1e-3
    torch.testing.assert_close(ours, theirs)


def test_mae_fars_inception_is_torchvisions_on_its_own_input(networks, random_weights: Path) -> None:
    from torchvision.models import inception_v3

    theirs = inception_v3(init_weights=False, transform_input=True).eval()
    theirs.load_state_dict(weights_of(random_weights, "inception-torchvision"))
    pooled = []
    theirs.avgpool.register_forward_hook(lambda module, inputs, output: pooled.append(output.flatten(1)))
    image = pictures(1)
    with torch.inference_mode():
        ours = networks["inception-torchvision"](image)[2048]
        theirs(resize_8_bits(image))
    torch.testing.assert_close(ours, pooled[0])


def test_the_two_inputs_have_their_published_ranges() -> None:
    white, black = torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    torch.testing.assert_close(fid_input(white), torch.ones(1, 3, 299, 299))
    torch.testing.assert_close(fid_input(black), -torch.ones(1, 3, 299, 299))
    # (x - 0.5) / 0.5 after x = 0.229 x + 0.485: red from -0.03 to 0.428.
    assert mae_far_input(white)[0, 0].unique().tolist() == pytest.approx([0.428])
    assert mae_far_input(black)[0, 0].unique().tolist() == pytest.approx([-0.03])
    assert mae_far_input(white).shape == (1, 3, 299, 299)


def test_resizing_keeps_whole_255ths_and_pictures_of_the_right_size() -> None:
    image = pictures(1, 299, 299)
    torch.testing.assert_close(resize_8_bits(image), image, rtol=0, atol=1e-7)
    resized = resize_8_bits(pictures(2, 20, 30)) * 255
    torch.testing.assert_close(resized, resized.round(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("key", NETWORKS)
def test_networks_are_frozen_and_see_each_picture_alone(networks, key: str) -> None:
    network = networks[key]
    assert not any(module.training for module in network.train().modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    inputs = [pictures(2), pictures(2, seed=1)] if key.startswith("lpips") else [pictures(2)]
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        together = network(*inputs)
        alone = network(*(image[1:] for image in inputs))
        if isinstance(together, dict):
            together, alone = together[2048], alone[2048]
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


@pytest.mark.parametrize(("key", "smallest"), [("lpips-alex", 31), ("lpips-vgg", 16)])
def test_the_smallest_picture_of_lpips(networks, key: str, smallest: int) -> None:
    image = pictures(1, smallest, 40)
    assert networks[key](image, image).item() == 0
    with pytest.raises(ShapeError, match=f"{smallest - 1}, 40.*at least {smallest} pixels"):
        networks[key](image[..., 1:, :], image[..., 1:, :])


def test_weights_of_another_network_are_refused(tmp_path: Path, random_weights: Path) -> None:
    for key, other, called in (
        ("lpips-alex", "lpips-vgg", "the backbone of LPIPS"),
        ("inception-torchvision", "lpips-alex", "Inception v3"),
    ):
        path = tmp_path / NETWORKS[key].file
        path.symlink_to(random_weights / NETWORKS[other].file)
        with pytest.raises(CheckpointError, match=f"{path.name}: not the weights of {called}"):
            load_network(NETWORKS[key], tmp_path, check_hash=False)
