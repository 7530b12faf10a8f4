"""What each protocol measures: columns, agreement with direct calls, and what happens without weights."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.measures.networks import NETWORKS as FILES
from eval.measures.protocols import PROTOCOLS, Measures, build_measures, definitions_of
from inpaint import metrics
from inpaint.errors import CheckpointError, InpaintError, ShapeError
from inpaint.features.measures import MobileNetV2Features
from inpaint.features.perceptual import SqueezeNetFeatures
from tests.eval.frechet import frechet_distance

PIXELS = {
    "standard": ["psnr", "ssim", "l1", "hole_psnr", "hole_l1"],
    "mae-far": ["psnr", "ssim", "l1"],
    "lama": ["ssim"],
    "validation": ["psnr", "hole_psnr", "ssim"],
}
NETWORKS = {
    "standard": ["lpips_alex", "lpips_vgg", "fid", "p_ids", "u_ids"],
    "mae-far": ["lpips_alex", "fid"],
    "lama": ["lpips_vgg", "fid"],
}


def pictures(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Composites, originals and masks of 64 x 72 with a box as hole."""
    generator = torch.Generator().manual_seed(seed)
    target, noise = ((torch.rand(2, count, 3, 64, 72, generator=generator) * 255).round() / 255).unbind()
    mask = torch.zeros(count, 1, 64, 72)
    mask[..., 8:40, 10:50] = 1
    return torch.where(mask > 0, noise, target), target, mask


@pytest.fixture(scope="module", params=["standard", "mae-far", "lama"])
def measures(
    request: pytest.FixtureRequest, random_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Measures]:
    keys = ("lpips-alex", "lpips-vgg", "inception-fid", "inception-torchvision")
    folder = tmp_path_factory.mktemp("published")
    for file in (FILES[key].files[0].name for key in keys):
        (folder / file).symlink_to(random_weights / file)
    extras = {"lpips": ["alex", "vgg"], "fid": ["2048"]}  # without the columns that other files add
    own = {d.choice for d in PROTOCOLS[request.param]}
    chosen = {family: [choice for choice in choices if choice in own] for family, choices in extras.items()}
    return request.param, build_measures(request.param, weights=[folder], **chosen, check_hash=False)


def sets_of(measures: Measures, *images: torch.Tensor) -> list[dict[str, np.ndarray]]:
    return [{key: value.numpy() for key, value in measures.features(image).items()} for image in images]


@pytest.mark.parametrize("protocol", ["standard", "mae-far", "lama"])
def test_without_weights_pixels_are_measured_and_the_rest_is_told(
    protocol: str, empty_hub: Path, tmp_path: Path
) -> None:
    measures = build_measures(protocol, weights=[tmp_path])
    assert [column.key for column in measures.columns] == PIXELS[protocol]
    titles = {d.column.key: d.column.title for d in PROTOCOLS[protocol]}
    assert list(measures.unmeasured) == [titles[key] for key in NETWORKS[protocol]]
    for why in measures.unmeasured.values():
        assert ".pth is not in" in why and "eval weights --fetch" in why
    assert list(measures.per_image(*pictures(2))) == PIXELS[protocol]
    assert measures.feature_sizes == {} and measures.features(pictures(1)[0]) == {}
    assert measures.of_sets({}, {}) == {}
    assert "FID" not in measures.definition and "LPIPS" not in measures.definition


def test_with_weights_every_column_has_its_value(measures: tuple[str, Measures]) -> None:
    protocol, measured = measures
    composite, target, mask = pictures(3)
    assert [column.key for column in measured.columns] == PIXELS[protocol] + NETWORKS[protocol]
    assert measured.unmeasured == {} and measured.feature_sizes == {"fid": 2048}
    values = measured.per_image(composite, target, mask)
    assert list(values) == [column.key for column in measured.columns if not column.of_set]
    assert all(
        v.shape == (3,) and v.dtype == torch.float64 and v.device.type == "cpu" for v in values.values()
    )
    fake, real = sets_of(measured, composite, target)
    assert fake["fid"].shape == (3, 2048) and fake["fid"].dtype == np.float32
    of_sets = measured.of_sets(fake, real)
    assert set(of_sets) == {column.key for column in measured.columns if column.of_set}
    fid = of_sets["fid"]
    assert fid.value == pytest.approx(
        frechet_distance(*(torch.from_numpy(side["fid"]) for side in (fake, real))).item(), rel=1e-6
    )
    assert fid.low is not None and fid.high is not None and 0 < fid.low < fid.value < fid.high
    assert all(definition.how in measured.definition for definition in PROTOCOLS[protocol])


def test_neither_batches_nor_order_matter(measures: tuple[str, Measures]) -> None:
    measured = measures[1]
    batch = pictures(3)
    order = [2, 0, 1]
    mixed_batch = [part[order] for part in batch]
    whole, whole_features = measured.per_image(*batch), measured.features(batch[0])
    for rows in (slice(0, 1), slice(1, 3)):
        part = [part[rows] for part in mixed_batch]
        for key, value in measured.per_image(*part).items():
            torch.testing.assert_close(value, whole[key][order][rows], rtol=1e-5, atol=1e-7)
        features = measured.features(part[0])["fid"]
        torch.testing.assert_close(features, whole_features["fid"][order][rows])
    fake, real = sets_of(measured, batch[0], batch[1])
    mixed = [{key: value[order] for key, value in side.items()} for side in (fake, real)]
    for key, value in measured.of_sets(fake, real).items():
        assert measured.of_sets(*mixed)[key].value == pytest.approx(value.value, abs=1e-9)
    assert measured.of_sets(fake, real) == measured.of_sets(fake, real)


def test_equal_pictures_have_the_best_values(measures: tuple[str, Measures]) -> None:
    measured = measures[1]
    _, target, mask = pictures(3)
    values = measured.per_image(target, target, mask)
    best = {"psnr": 71.0 if measures[0] == "mae-far" else math.inf, "hole_psnr": math.inf, "ssim": 1.0}
    for key, value in values.items():
        assert value.tolist() == pytest.approx([best.get(key, 0.0)] * 3)
    (features,) = sets_of(measured, target)
    for key, value in measured.of_sets(features, features).items():
        assert value.value == pytest.approx(0 if key == "fid" else 0.5, abs=1e-9)


def test_fewer_than_two_pictures_have_no_distribution(measures: tuple[str, Measures]) -> None:
    measured = measures[1]
    empty = {"fid": np.zeros((0, 2048), np.float32)}
    for features in (empty, sets_of(measured, pictures(1)[0])[0]):
        values = measured.of_sets(features, features)
        assert set(values) == {column.key for column in measured.columns if column.of_set}
        assert all(math.isnan(value.value) and value.low is None for value in values.values())
    with pytest.raises(ShapeError, match=r"\(0, 2048\) and \(1, 2048\)"):
        measured.of_sets(empty, sets_of(measured, pictures(1)[0])[0])


def test_pixel_measures_agree_with_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    composite, target, mask = pictures(3)
    values = build_measures("standard").per_image(composite, target, mask)
    a, b = composite.double(), target.double()
    each = {"dim": (1, 2, 3), "reduction": "none", "data_range": 1.0}
    psnr = functional.peak_signal_noise_ratio(a, b, **each)
    _, everywhere = functional.structural_similarity_index_measure(
        a, b, reduction="none", data_range=1.0, return_full_image=True
    )
    torch.testing.assert_close(values["psnr"], psnr)
    # Theirs also counts places where the window hangs over the border, on mirrored pixels.
    ssim = everywhere[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
    torch.testing.assert_close(values["ssim"], ssim, rtol=0, atol=1e-9)


def test_the_validation_protocol_is_what_it_was(data: Path, empty_hub: Path) -> None:
    measures = build_measures("validation", weights=[data / "metrics"], check_hash=False)
    assert [column.key for column in measures.columns] == ["psnr", "hole_psnr", "ssim", "sqd", "fmd"]
    assert measures.feature_sizes == {"fmd": 1280}
    assert list(measures.unmeasured) == ["LPIPS (squeeze)", "FID-192", "FID-768"]
    composite, target, mask = pictures(3)
    values = measures.per_image(composite, target, mask)
    squeezenet, mobilenet = (
        network().load_weights(data / "metrics" / FILES[key].files[0].name)
        for network, key in (
            (SqueezeNetFeatures, "squeezenet-caffe"),
            (MobileNetV2Features, "mobilenet-tensorflow"),
        )
    )
    assert torch.equal(values["psnr"], metrics.psnr_db(composite, target))
    assert torch.equal(values["hole_psnr"], metrics.hole_psnr_db(composite, target, mask))
    assert torch.equal(values["ssim"], metrics.ssim(composite, target))
    assert torch.equal(values["sqd"], squeezenet.feature_distance(composite, target).double())  # type: ignore[operator]
    fake, real = sets_of(measures, composite, target)
    expected = frechet_distance(mobilenet(composite), mobilenet(target)).item()
    assert measures.of_sets(fake, real)["fmd"].value == pytest.approx(expected, rel=1e-6)


def keys_of(measures: Measures) -> list[str]:
    return [column.key for column in measures.columns]


def test_networks_that_are_here_add_columns_to_any_protocol(random_weights: Path, empty_hub: Path) -> None:
    measures = build_measures("lama", weights=[random_weights], check_hash=False)
    assert keys_of(measures) == [
        "ssim",
        "lpips_vgg",
        "fid",
        "lpips_squeeze",
        "fid_192",
        "fid_768",
        "sqd",
        "fmd",
    ]
    assert measures.unmeasured == {}
    # one network gives three of the columns, and sees each image once
    assert len(measures.networks) == 5 and "FID, FID-192, FID-768" in measures.files
    features = measures.features(pictures(1)[0])
    assert {key: value.shape[1] for key, value in features.items()} == measures.feature_sizes


def test_a_choice_of_lpips_and_fid_takes_the_place_of_the_protocols() -> None:
    def keys(protocol: str, **choice: list[str]) -> str:
        own, more = definitions_of(protocol, **choice)
        return " ".join(definition.column.key for definition in own + more)

    assert keys("lama", lpips=["alex"], fid=["64"]) == "ssim lpips_alex fid_64 sqd fmd"
    both = keys("validation", lpips=["vgg", "squeeze"], fid=["64", "2048"])
    assert both == "psnr hole_psnr ssim lpips_squeeze lpips_vgg fid_64 fid sqd fmd"
    assert "p_ids" not in keys("standard", fid=["768"]) and "p_ids" in keys("standard", fid=["2048"])
    assert keys("mae-far", fid=["2048"]) == "psnr ssim l1 lpips_alex fid lpips_squeeze sqd fmd"  # its own FID


def test_a_choice_without_weights_is_told(data: Path, empty_hub: Path) -> None:
    measures = build_measures("validation", weights=[data / "metrics"], lpips=["alex"], check_hash=False)
    assert "--fetch" in measures.unmeasured["LPIPS (alex)"]


def test_files_are_checked_and_named(data: Path, random_weights: Path, empty_hub: Path) -> None:
    with pytest.raises(CheckpointError, match=r"got a file with SHA-256 .*expected fd870fec25cc"):
        build_measures("validation", weights=[data / "metrics"])
    measures = build_measures("validation", weights=[data / "metrics"], check_hash=False)
    assert measures.files["sqd"] == "squeezenet1_1_caffe_fp16.safetensors (not checked)"


def test_what_cannot_be_built_is_told() -> None:
    with pytest.raises(
        InpaintError, match="got protocol 'best'; expected standard, mae-far, lama, validation"
    ):
        build_measures("best")
