"""A run's batches: the same from memory, workers and threads, in any order, for any number of processes."""

from __future__ import annotations

import functools
import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inpaint.data.batches import Batches, Prefetcher
from inpaint.data.config import Augment
from inpaint.data.randomness import draw_masks
from inpaint.errors import DataError
from inpaint.random_masks import read_shapes
from tests.train.photo_files import data_config, open_batches, same, write_photo, write_photos, write_shard

KINDS = {
    "memory": {},
    "memory, distorted": {"augment": Augment(rotate=20, zoom=0.2, perspective=0.1, brightness=0.2, hue=0.1)},
    "disk": {"keep": "disk"},
    "disk, lama": {"keep": "disk", "augment": Augment(kind="lama")},
    "disk, squeezed, sizes": {"keep": "disk", "augment": Augment(kind="resize"), "smallest_size": 16},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 6, width=48, height=40)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_batches_follow_from_the_images_seen(photos, tmp_path, kind):
    config = data_config(photos, tmp_path, **KINDS[kind])
    straight = open_batches(config)
    batches = [straight.batch_at(images_seen) for images_seen in range(0, 40, 4)]
    assert all(not same(*pair) for pair in itertools.combinations(batches[:5], 2))
    resumed = open_batches(config)
    for place in (3, 4, 9, 0, 1, 3, 3):  # a resumed run, and any jump
        assert same(resumed.batch_at(4 * place), batches[place])
    assert len({resumed.batch_at(seen).image.sum().item() for seen in (36, 40, 44)}) == 3  # beyond the run
    first = batches[0]
    assert first.image.shape == (4, 3, 32, 32) and first.mask.shape == (4, 1, 32, 32)
    assert first.image.dtype == first.mask.dtype == torch.float32
    assert first.image.min() >= 0 and 0.5 < first.image.max() <= 1
    assert set(first.mask.unique().tolist()) == {0, 1}


@pytest.mark.parametrize("kind", KINDS)
def test_processes_share_a_batch_without_changing_it(photos, tmp_path, kind):
    config = data_config(photos, tmp_path, **KINDS[kind])
    whole = open_batches(config)
    parts = [open_batches(config, slice(first, first + 2)) for first in (0, 2)]
    for images_seen in (0, 4, 20):
        expected = whole.batch_at(images_seen)
        shares = [part.batch_at(images_seen) for part in parts]
        assert torch.equal(torch.cat([share.image for share in shares]), expected.image)
        assert torch.equal(torch.cat([share.mask for share in shares]), expected.mask)
        assert [share.rows for share in shares] == [slice(0, 2), slice(2, 4)]


def test_another_seed_gives_other_batches(photos, tmp_path):
    first, other = (open_batches(data_config(photos, tmp_path, seed=seed)).batch_at(0) for seed in (0, 1))
    assert not torch.equal(first.image, other.image) and not torch.equal(first.mask, other.mask)


def test_photos_come_once_an_epoch_in_an_order_that_does_not_depend_on_the_batch(tmp_path):
    for number in range(6):  # told by their grey
        Image.fromarray(np.full((40, 40, 3), 40 * number, np.uint8)).save(tmp_path / f"{number}.png")
    orders = []
    for keep, batch_size in (("memory", 2), ("memory", 3), ("disk", 4)):
        batches = open_batches(data_config(tmp_path, tmp_path, keep=keep, batch_size=batch_size))
        greys = [batches.batch_at(seen).image.mean((1, 2, 3)) * 255 / 40 for seen in range(0, 12, batch_size)]
        orders.append(torch.cat(greys).round().int().tolist())
    assert orders[0] == orders[1] == orders[2]
    assert sorted(orders[0][:6]) == sorted(orders[0][6:]) == list(range(6))


def test_sizes_cycle_from_batch_to_batch(photos, tmp_path):
    config = data_config(photos, tmp_path, size=48, smallest_size=16, batch_size=1, photo_limit=6)
    batches = [open_batches(config).batch_at(images_seen) for images_seen in range(6)]
    sizes = [batch.image.shape[-1] for batch in batches]
    assert sizes == [48, 32, 16, 16, 16, 16]
    assert all(batch.mask.shape[-2:] == batch.image.shape[-2:] for batch in batches)


def test_masks_are_of_the_kind_asked_for_and_cut_from_the_shapes(photos, tmp_path):
    (tmp_path / "shapes").mkdir()
    Image.new("L", (20, 20), 255).save(tmp_path / "shapes" / "square.png")
    shapes = read_shapes(tmp_path / "shapes")
    for keep in ("memory", "disk"):
        config = data_config(
            photos, tmp_path, keep=keep, masks="objects", shapes=tmp_path / "shapes", batch_size=16
        )
        mask = open_batches(config).batch_at(0).mask
        assert torch.equal(
            mask, draw_masks("objects", 0, 16, 32, batch_size=16, seed=config.seed, shapes=shapes)
        )
        # A square's hole is convex: a row of one square has one run of hole, of four squares at most four.
        runs = (mask.diff(dim=3, prepend=torch.zeros(16, 1, 32, 1)) == 1).sum(dim=3)
        assert runs.max() <= 4 and 0 < mask.mean() < 0.75
    thick = open_batches(data_config(photos, tmp_path, masks="thick", batch_size=64)).batch_at(0).mask
    thin = open_batches(data_config(photos, tmp_path, masks="thin", batch_size=64)).batch_at(0).mask
    edges = [(mask.diff(dim=3).abs().sum() / mask.sum()).item() for mask in (thin, thick)]
    assert edges[0] > 1.5 * edges[1]


def test_masks_of_an_image_do_not_depend_on_who_draws_them():
    draw = functools.partial(draw_masks, "mixed", size=32, batch_size=6, seed=0, shapes=None)  # blocks of two
    together = draw(first=0, count=24)
    for first, count in ((0, 6), (5, 3), (23, 1)):
        assert torch.equal(draw(first=first, count=count), together[first : first + count])


# -- prefetched ------------------------------------------------------------------------------------------


def test_the_next_batches_are_made_while_the_last_is_in_use():
    made, started = [], threading.Event()

    def make(images_seen: int) -> int:
        made.append(images_seen)
        if images_seen == 8:
            started.set()
        return images_seen

    ahead = Prefetcher(step=4, end=12)
    assert ahead.batch_at(0, make) == 0
    assert started.wait(10), "8 was not made ahead"
    assert ahead.batch_at(4, make) == 4 and ahead.batch_at(8, make) == 8
    assert made == [0, 4, 8]  # each once, and none beyond the end
    assert ahead.batch_at(16, make) == 16  # unless it is asked for


def test_an_error_made_ahead_reaches_the_step_it_belongs_to():
    def make(images_seen: int) -> int:
        if images_seen == 4:
            raise DataError("gone")
        return images_seen

    ahead = Prefetcher(step=4, end=100)
    assert ahead.batch_at(0, make) == 0
    with pytest.raises(DataError, match="gone"):
        ahead.batch_at(4, make)
    assert ahead.batch_at(8, make) == 8


# -- told before the first step --------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["memory", "disk"])
def test_photos_that_are_enlarged_cost_a_line(photos, tmp_path, keep):
    problems: list[str] = []
    config = data_config(photos, tmp_path, keep=keep, size=64, photo_size=64 if keep == "memory" else None)
    open_batches(config, on_problem=problems.append)
    assert problems == ["photos of 40 pixels (short side) are enlarged to 64; lower size or photo_size"]


@pytest.mark.parametrize("keep", ["memory", "disk"])
def test_a_list_of_missing_files_is_told_at_once(tmp_path, keep):
    (tmp_path / "list.txt").write_text("".join(f"elsewhere/{number}.jpg\n" for number in range(500)))
    config = data_config(tmp_path / "list.txt", tmp_path, keep=keep)
    with pytest.raises(DataError, match=r"no readable photo among 32 tried of 500: .*in a \.txt list paths"):
        open_batches(config, on_problem=lambda line: None)


def test_an_unreadable_shard_or_missing_shapes_are_told(photos, tmp_path):
    (tmp_path / "bad.tar").write_bytes(b"not a tar" * 100)
    with pytest.raises(DataError, match=r"bad\.tar: not a readable"):
        open_batches(data_config(tmp_path / "bad.tar", tmp_path))
    with pytest.raises(DataError, match="cannot read object shapes"):
        open_batches(data_config(photos, tmp_path, shapes=tmp_path / "none.zip"))


def test_what_shards_hold_is_kept_beside_the_run(tmp_path):
    paths = write_photos(tmp_path / "photos", 4, width=40, height=40)
    shard = write_shard(tmp_path / "a.tar", paths)
    config = data_config(shard, tmp_path / "run", keep="disk")
    first = open_batches(config).batch_at(0)
    (kept,) = (tmp_path / "run" / "shards").iterdir()
    assert kept.suffix == ".npz" and same(open_batches(config).batch_at(0), first)
    from_files = open_batches(data_config(tmp_path / "photos", tmp_path, keep="disk")).batch_at(0)
    assert same(from_files, first)


def test_wide_photos_on_disk_are_cropped_from_everywhere(tmp_path):
    pixels = np.zeros((40, 400, 3), np.uint8)
    pixels[:] = np.linspace(0, 255, 400, dtype=np.uint8)[None, :, None]
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "wide.png")
    batches = open_batches(data_config(tmp_path / "photos", tmp_path, keep="disk", batch_size=40))
    greys = batches.batch_at(0).image.mean((1, 2, 3))
    assert greys.min() < 0.15 and greys.max() > 0.85


def test_lama_photos_are_shrunk_first(tmp_path):
    write_photo(tmp_path / "photos" / "a.png", 0, width=400, height=300)
    spread = []
    for photo_size in (None, 40):
        config = data_config(
            tmp_path / "photos", tmp_path, keep="disk", photo_size=photo_size, augment=Augment(kind="lama")
        )
        spread.append(open_batches(config).batch_at(0).image.std().item())
    assert spread[1] < 0.7 * spread[0]  # noise, averaged


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_made_beside_a_busy_network_are_whole(photos, tmp_path):
    config = data_config(photos, tmp_path)
    here = open_batches(config)
    there = Batches(config, torch.device("cuda"), print)
    busy = torch.randn(2048, 2048, device="cuda")
    for images_seen in range(0, 40, 4):
        for _ in range(20):
            busy = busy @ busy / 2048
        batch, expected = there.batch_at(images_seen), here.batch_at(images_seen)
        assert torch.allclose(batch.image.cpu(), expected.image, atol=1e-3)
        assert (batch.mask.cpu() != expected.mask).float().mean() < 0.03  # pixels on the edge of a stroke
