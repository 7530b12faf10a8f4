"""What each protocol measures: columns, agreement with direct calls, and what happens without weights."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.definitions import PROTOCOLS
from eval.features import FeatureMeasures
from eval.measures import Measures, build_measures
from inpaint import metrics
from inpaint.errors import DataError, InpaintError, ShapeError
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
def measures(request: pytest.FixtureRequest, random_weights: Path) -> tuple[str, Measures]:
    return request.param, build_measures(request.param, weights=random_weights, check_hash=False)


def sets_of(measures: Measures, *images: torch.Tensor) -> list[dict[str, np.ndarray]]:
    return [{key: value.numpy() for key, value in measures.features(image).items()} for image in images]


@pytest.mark.parametrize("protocol", ["standard", "mae-far", "lama"])
def test_without_weights_pixels_are_measured_and_the_rest_is_told(
    protocol: str, empty_hub: Path, tmp_path: Path
) -> None:
    measures = build_measures(protocol, weights=tmp_path)
    assert [column.key for column in measures.columns] == PIXELS[protocol]
    titles = {d.column.key: d.column.title for d in PROTOCOLS[protocol]}
    assert [entry.title for entry in measures.unmeasured] == [titles[key] for key in NETWORKS[protocol]]
    assert all(".pth is not in" in e.why and "eval weights --fetch" in e.why for e in measures.unmeasured)
    assert list(measures.per_picture(*pictures(2))) == PIXELS[protocol]
    assert measures.feature_sizes == {} and measures.features(pictures(1)[0]) == {}
    assert measures.of_sets({}, {}) == {}
    assert "FID" not in measures.definition and "LPIPS" not in measures.definition


def test_with_weights_every_column_has_its_value(measures: tuple[str, Measures]) -> None:
    protocol, measured = measures
    composite, target, mask = pictures(3)
    assert [column.key for column in measured.columns] == PIXELS[protocol] + NETWORKS[protocol]
    assert measured.unmeasured == () and measured.feature_sizes == {"fid": 2048}
    values = measured.per_picture(composite, target, mask)
    assert list(values) == [column.key for column in measured.columns if not column.of_set]
    assert all(
        v.shape == (3,) and v.dtype == torch.float64 and v.device.type == "cpu" for v in values.values()
    )
    fake, real = sets_of(measured, composite, target)
    assert fake["fid"].shape == (3, 2048) and fake["fid"].dtype == np.float32
    of_sets = measured.of_sets(fake, real)
    assert set(of_sets) == {column.key for column in measured.columns if column.of_set}
    fid = of_sets["fid"]
    expected = frechet_distance(*(torch.from_numpy(side["fid"]) for side in (fake, real)))
    assert fid.value == pytest.approx(expected.item(), rel=1e-6)
    assert fid.low is not None and fid.high is not None and 0 < fid.low < fid.value < fid.high
    assert all(definition.how in measured.definition for definition in PROTOCOLS[protocol])


def test_neither_batches_nor_order_matter(measures: tuple[str, Measures]) -> None:
    measured = measures[1]
    batch = pictures(3)
    order = [2, 0, 1]
    mixed_batch = [part[order] for part in batch]
    whole, whole_features = measured.per_picture(*batch), measured.features(batch[0])
    for rows in (slice(0, 1), slice(1, 3)):
        part = [part[rows] for part in mixed_batch]
        for key, value in measured.per_picture(*part).items():
            torch.testing.assert_close(value, whole[key][order][rows], rtol=1e-5, atol=1e-7)
        features = measured.features(part[0])["fid"]
        torch.testing.assert_close(features, whole_features["fid"][order][rows])
    fake, real = sets_of(measured, batch[0], batch[1])
    mixed = [{key: value[order] for key, value in side.items()} for side in (fake, real)]
    for key, value in measured.of_sets(fake, real).items():
        assert measured.of_sets(*mixed)[key].value == pytest.approx(value.value, abs=1e-9)
    assert measured.of_sets(fake, real, seed=3) == measured.of_sets(fake, real, seed=3)


def test_equal_pictures_have_the_best_values(measures: tuple[str, Measures]) -> None:
    measured = measures[1]
    _, target, mask = pictures(3)
    values = measured.per_picture(target, target, mask)
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
    values = build_measures("standard").per_picture(composite, target, mask)
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


def test_the_validation_protocol_is_what_it_was(data: Path) -> None:
    measures = build_measures("validation", feature_networks=data / "metrics")
    assert [column.key for column in measures.columns] == ["psnr", "hole_psnr", "ssim", "sqd", "fmd"]
    assert measures.feature_sizes == {"fmd": 1280}
    composite, target, mask = pictures(3)
    values = measures.per_picture(composite, target, mask)
    networks = FeatureMeasures.from_folder(data / "metrics")
    assert torch.equal(values["psnr"], metrics.psnr_db(composite, target))
    assert torch.equal(values["hole_psnr"], metrics.hole_psnr_db(composite, target, mask))
    assert torch.equal(values["ssim"], metrics.ssim(composite, target))
    assert torch.equal(values["sqd"], networks.squeezenet_distance(composite, target).double())
    fake, real = sets_of(measures, composite, target)
    expected = frechet_distance(*map(networks.mobilenet_features, (composite, target))).item()
    assert measures.of_sets(fake, real)["fmd"].value == pytest.approx(expected, rel=1e-6)


def test_small_networks_add_columns_to_any_protocol(data: Path, empty_hub: Path) -> None:
    measures = build_measures("lama", feature_networks=data / "metrics")
    assert [column.key for column in measures.columns] == ["ssim", "sqd", "fmd"]
    assert [entry.title for entry in measures.unmeasured] == ["LPIPS VGG", "FID"]


def test_what_cannot_be_built_is_told() -> None:
    with pytest.raises(
        InpaintError, match="got protocol 'best'; expected standard, mae-far, lama, validation"
    ):
        build_measures("best")
    with pytest.raises(DataError, match="--feature-networks"):
        build_measures("validation")
    with pytest.raises(DataError, match="nowhere"):
        build_measures("standard", feature_networks=Path("nowhere"))
