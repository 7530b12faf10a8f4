"""Training photos: sources, broken files, crops, order."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inpaint.errors import DataError
from inpaint.train.data import (
    PhotoSet,
    crop_and_resize,
    epoch_order,
    indices_at,
    load_photos,
    make_generator,
    random_boxes,
)


def write_photo(path: Path, seed: int, width: int = 20, height: int = 16) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, lossless=True)
    return path


def make_set(count: int = 5, size: int = 16) -> PhotoSet:
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(1))
    return PhotoSet(pixels.to(torch.uint8), tuple(map(str, range(count))))


def test_folder_list_and_tar_hold_the_same_photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [write_photo(folder / f"{i}.webp", i) for i in range(4)]
    listing = tmp_path / "list.txt"
    listing.write_text("# ours\n" + "\n".join(f"photos/{p.name}" for p in paths) + "\n\n")
    with tarfile.open(tmp_path / "photos-0.tar", "w") as shard:
        for path in paths[:2]:
            shard.add(path, arcname=path.name)
    with tarfile.open(tmp_path / "photos-1.tar", "w") as shard:
        for path in paths[2:]:
            shard.add(path, arcname=path.name)

    problems: list[str] = []
    from_folder = load_photos(folder, 16, on_problem=problems.append)
    from_list = load_photos([listing], 16, on_problem=problems.append)
    from_tars = load_photos(tmp_path / "photos-*.tar", 16, on_problem=problems.append)
    assert from_folder.photos.shape == (4, 3, 16, 16) and from_folder.photos.dtype == torch.uint8
    assert torch.equal(from_folder.photos, from_list.photos)
    assert torch.equal(from_folder.photos, from_tars.photos)
    assert from_tars.names[2] == "photos-1.tar/2.webp"
    assert not problems


def test_a_photo_is_cropped_at_its_centre(tmp_path):
    path = write_photo(tmp_path / "a.png", 3, width=20, height=16)
    loaded = load_photos(path, 16, on_problem=pytest.fail)
    expected = np.asarray(Image.open(path))[:, 2:18]
    assert np.array_equal(loaded.photos[0].permute(1, 2, 0).numpy(), expected)


def test_a_photo_of_another_size_is_resized(tmp_path):
    write_photo(tmp_path / "a.png", 3, width=50, height=40)
    assert load_photos(tmp_path, 8, on_problem=pytest.fail).photos.shape == (1, 3, 8, 8)


def test_broken_photos_cost_one_line_each(tmp_path):
    good = write_photo(tmp_path / "good.png", 0)
    (tmp_path / "broken.png").write_bytes(good.read_bytes()[:60])
    (tmp_path / "list.txt").write_text("good.png\nbroken.png\nmissing.png\ngood.png\n")
    problems: list[str] = []
    photos = load_photos(tmp_path / "list.txt", 16, on_problem=problems.append)
    assert len(photos) == 2 and photos.skipped == 2
    assert [Path(line.split(":")[0]).name for line in problems] == ["broken.png", "missing.png"]
    assert all("\n" not in line for line in problems)
    assert torch.equal(photos.photos[0], photos.photos[1])


def test_limit_keeps_the_first(tmp_path):
    for i in range(3):
        write_photo(tmp_path / f"{i}.png", i)
    assert len(load_photos(tmp_path, 16, limit=2, on_problem=pytest.fail)) == 2


def test_no_photo_at_all_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no readable photo"):
        load_photos(tmp_path, 16, on_problem=pytest.fail)
    with pytest.raises(DataError, match="does not exist"):
        load_photos(tmp_path / "nowhere", 16, on_problem=pytest.fail)
    with pytest.raises(DataError, match="no file matches"):
        load_photos(tmp_path / "photos-*.tar", 16, on_problem=pytest.fail)
    (tmp_path / "x.tar").write_bytes(io.BytesIO(b"not a tar").getvalue() * 100)
    with pytest.raises(DataError, match="not a readable tar"):
        load_photos(tmp_path / "x.tar", 16, on_problem=pytest.fail)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(3, 40), min_scale=st.floats(0.1, 1.0), seed=st.integers(0, 1000))
def test_crops_equal_the_library_resize_image_by_image(size, min_scale, seed):
    photos = make_set(4, 24).photos
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(4, 24, min_scale=min_scale, generator=generator)
    mirrored = torch.tensor([True, False, True, False])
    resized = crop_and_resize(photos, boxes, mirrored, size)
    for photo, box, mirror, result in zip(photos, boxes.tolist(), mirrored, resized, strict=True):
        top, left, height, width = box
        crop = photo[None, :, top : top + height, left : left + width].float() / 255
        expected = F.interpolate(crop, size=(size, size), mode="bilinear", antialias=True)[0]
        assert torch.allclose(result, expected.flip(-1) if mirror else expected, atol=2e-5)


@settings(max_examples=50, deadline=None)
@given(side=st.integers(2, 300), min_scale=st.floats(0.05, 1.0), seed=st.integers(0, 1000))
def test_boxes_stay_inside_and_keep_their_area(side, min_scale, seed):
    boxes = random_boxes(16, side, min_scale=min_scale, generator=torch.Generator().manual_seed(seed))
    top, left, height, width = boxes.unbind(1)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] >= 1).all()
    assert (top + height <= side).all() and (left + width <= side).all()
    rounding = 2.0 / side
    assert (height * width / side**2 >= min_scale - rounding).all()


def test_min_scale_one_is_the_whole_photo():
    photos = make_set()
    batch = photos.batch(torch.tensor([2, 2, 4]), size=16, generator=torch.Generator().manual_seed(0))
    whole = photos.photos[torch.tensor([2, 2, 4])].float() / 255
    for result, expected in zip(batch, whole, strict=True):
        assert torch.allclose(result, expected, atol=1e-6) or torch.allclose(
            result, expected.flip(-1), atol=1e-6
        )


def test_the_same_generator_state_gives_the_same_batch():
    photos, indices = make_set(), torch.tensor([0, 3])
    first, second, other = (
        photos.batch(indices, size=12, generator=make_generator(7, "crops", at), min_scale=0.3)
        for at in (32, 32, 64)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert first.shape == (2, 3, 12, 12) and first.min() >= 0 and first.max() <= 1


def test_both_mirrorings_appear():
    photos = make_set(1)
    batch = photos.batch(
        torch.zeros(64, dtype=torch.long), size=16, generator=torch.Generator().manual_seed(0)
    )
    straight = (batch - photos.photos[0] / 255).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert 16 < straight.sum() < 48


def test_a_bad_min_scale_is_told():
    with pytest.raises(DataError, match=r"min_scale is 0, expected"):
        make_set().batch(torch.tensor([0]), size=8, generator=torch.Generator(), min_scale=0)


@given(count=st.integers(1, 40), batch_size=st.integers(1, 60), seed=st.integers(0, 5))
def test_every_epoch_visits_every_photo_once_whatever_the_batch(count, batch_size, seed):
    seen = [
        indices_at(count, batch_size, seed=seed, images_seen=start)
        for start in range(0, 3 * count, batch_size)
    ]
    order = torch.cat(seen)[: 3 * count].reshape(3, count)
    for epoch in range(3):
        assert torch.equal(order[epoch], epoch_order(count, seed, epoch))
        assert torch.equal(order[epoch].sort().values, torch.arange(count))


def test_epochs_and_seeds_differ():
    assert not torch.equal(epoch_order(100, 0, 0), epoch_order(100, 0, 1))
    assert not torch.equal(epoch_order(100, 0, 0), epoch_order(100, 1, 0))
