"""Photos in memory: decoding, broken files, crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inpaint.data.sources import PhotoSet, index_photos, load_photos
from inpaint.errors import DataError
from tests.train.photo_files import write_photo, write_photos, write_shard


def make_set(count: int = 5, size: int = 16) -> PhotoSet:
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(1))
    return PhotoSet(pixels.to(torch.uint8), tuple(map(str, range(count))))


def test_a_photo_is_cropped_at_its_centre(tmp_path):
    path = write_photo(tmp_path / "a.png", 3, width=20, height=16)
    loaded = load_photos(index_photos(path), 16, on_problem=pytest.fail)
    assert loaded.photos.shape == (1, 3, 16, 16) and loaded.photos.dtype == torch.uint8
    expected = np.asarray(Image.open(path))[:, 2:18]
    assert np.array_equal(loaded.photos[0].permute(1, 2, 0).numpy(), expected)


def test_or_squeezed_into_the_square(tmp_path):
    path = write_photo(tmp_path / "a.png", 3, width=20, height=16)
    loaded = load_photos(index_photos(path), 16, squeeze=True, on_problem=pytest.fail)
    expected = np.asarray(Image.open(path).resize((16, 16), Image.Resampling.LANCZOS))
    assert np.array_equal(loaded.photos[0].permute(1, 2, 0).numpy(), expected)


def test_a_photo_of_another_size_is_resized(tmp_path):
    write_photo(tmp_path / "a.png", 3, width=50, height=40)
    photos = load_photos(index_photos(tmp_path), 8, on_problem=pytest.fail)
    assert photos.photos.shape == (1, 3, 8, 8)


def test_photos_of_a_shard_keep_order_and_names(tmp_path):
    paths = write_photos(tmp_path, 5, width=16, height=16)
    shard = write_shard(tmp_path / "a.tar", paths)
    from_files = load_photos(index_photos(paths), 16, on_problem=pytest.fail)
    from_shard = load_photos(index_photos(shard), 16, on_problem=pytest.fail)
    assert torch.equal(from_files.photos, from_shard.photos)
    assert from_shard.names == tuple(f"a.tar/{number}.png" for number in range(5))


def test_broken_photos_cost_one_line_each(tmp_path):
    good = write_photo(tmp_path / "good.png", 0)
    (tmp_path / "broken.png").write_bytes(good.read_bytes()[:60])
    (tmp_path / "list.txt").write_text("good.png\nbroken.png\nmissing.png\ngood.png\n")
    problems: list[str] = []
    photos = load_photos(index_photos(tmp_path / "list.txt"), 16, on_problem=problems.append)
    assert len(photos) == 2 and photos.skipped == 2
    assert [Path(line.split(":")[0]).name for line in problems] == ["broken.png", "missing.png"]
    assert all("\n" not in line for line in problems)
    assert torch.equal(photos.photos[0], photos.photos[1])


def test_no_readable_photo_is_an_error(tmp_path):
    (tmp_path / "list.txt").write_text("missing.png\n")
    with pytest.raises(DataError, match=r"no readable photo among 1, such as .*missing\.png"):
        load_photos(index_photos(tmp_path / "list.txt"), 16, on_problem=lambda line: None)


def test_more_photos_than_memory_are_refused_before_the_first_is_read(tmp_path, monkeypatch):
    write_photos(tmp_path, 3)
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 1000, "SC_PHYS_PAGES": 2}[name])
    with pytest.raises(DataError, match=r"3 photos at 16 x 16 take .* expected keep = 'disk'"):
        load_photos(index_photos(tmp_path), 16, on_problem=pytest.fail)


def test_whole_crops_are_the_photos():
    photos, indices = make_set(), torch.tensor([2, 2, 4])
    boxes, mirrored = np.tile([0, 0, 16, 16], (3, 1)), np.array([False, True, False])
    batch = photos.crop(indices, boxes, mirrored, size=16)
    whole = photos.photos[indices].float() / 255
    assert torch.allclose(batch[[0, 2]], whole[[0, 2]], atol=1e-6)
    assert torch.allclose(batch[1], whole[1].flip(-1), atol=1e-6)
    assert photos.crop(indices, boxes, mirrored, size=12).shape == (3, 3, 12, 12)


def test_a_set_that_would_fill_the_device_stays_where_it_is(monkeypatch):
    photos = make_set()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * photos.photos.nbytes - 1, 0))
    assert photos.to(torch.device("cuda")) is photos
    assert torch.equal(photos.to(torch.device("cpu")).photos, photos.photos)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_cuts_the_same_crops():
    photos, indices = make_set(), torch.tensor([0, 3])
    boxes, mirrored = np.array([[1, 2, 9, 12], [0, 0, 16, 16]]), np.array([True, False])
    here = photos.crop(indices, boxes, mirrored, size=12)
    there = photos.to(torch.device("cuda")).crop(indices, boxes, mirrored, size=12)
    assert there.device.type == "cuda" and torch.allclose(here, there.cpu(), atol=1e-3)
