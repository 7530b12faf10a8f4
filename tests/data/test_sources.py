"""Where photos are: folders, lists, shards, and what is kept of shards."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inpaint.data import sources as photo_index
from inpaint.data.sources import decode_photo, index_photos
from inpaint.errors import DataError
from tests.train.photo_files import write_photo, write_photos, write_shard


def contents(index) -> list[bytes]:
    return [index.read(number) for number in range(len(index))]


def test_folder_list_and_shards_hold_the_same_photos(tmp_path):
    paths = write_photos(tmp_path / "photos", 4)
    (tmp_path / "photos" / "notes.csv").write_text("no photo")
    listing = tmp_path / "list.txt"
    listing.write_text("# ours\n" + "\n".join(f"photos/{path.name}" for path in paths) + "\n\n")
    write_shard(tmp_path / "photos-0.tar", paths[:2])
    write_shard(tmp_path / "photos-1.tar", [*paths[2:], tmp_path / "photos" / "notes.csv"])
    expected = [path.read_bytes() for path in paths]
    for source in (tmp_path / "photos", [listing], tmp_path / "photos-*.tar", paths):
        assert contents(index_photos(source)) == expected
    shards = index_photos(tmp_path / "photos-*.tar")
    assert shards.name(2) == "photos-1.tar/2.png"
    assert index_photos(listing).name(3) == str(paths[3])
    together = index_photos([tmp_path / "photos", tmp_path / "photos-1.tar"])
    assert contents(together) == expected + expected[2:] and together.name(5) == "photos-1.tar/3.png"


def test_folders_are_listed_with_their_subfolders_in_order(tmp_path):
    names = ["a/2.png", "a/10.png", "b.png", "a/b/ümlaut 1.png"]
    for number, name in enumerate(names):
        write_photo(tmp_path / name, number)
    index = index_photos(tmp_path)
    assert [index.name(number) for number in range(4)] == sorted(str(tmp_path / name) for name in names)


def test_linked_folders_are_searched_and_hidden_files_are_not(tmp_path):
    (photo,) = write_photos(tmp_path / "elsewhere", 1)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "class").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "set" / "._0.png").write_bytes(b"what macOS puts beside 0.png")
    index = index_photos(tmp_path / "set")
    assert contents(index) == [photo.read_bytes()]
    assert index.name(0) == str(tmp_path / "set" / "class" / "0.png")


def test_a_limit_keeps_the_first(tmp_path):
    paths = write_photos(tmp_path, 3)
    assert contents(index_photos(tmp_path, limit=2)) == [path.read_bytes() for path in paths[:2]]
    assert len(index_photos(tmp_path, limit=9)) == 3


def test_an_index_can_be_handed_to_another_process(tmp_path):
    write_shard(tmp_path / "a.tar", write_photos(tmp_path, 3))
    index = index_photos(tmp_path / "a.tar", limit=2)
    assert contents(pickle.loads(pickle.dumps(index))) == contents(index)


def test_what_a_shard_holds_is_kept_until_the_shard_changes(tmp_path, monkeypatch):
    paths, cache = write_photos(tmp_path / "photos", 4), tmp_path / "run" / "shards"
    first, second = write_shard(tmp_path / "0.tar", paths[:2]), write_shard(tmp_path / "1.tar", paths[2:3])
    scanned: list[str] = []
    scan = photo_index._scan
    monkeypatch.setattr(photo_index, "_scan", lambda path: scanned.append(path.name) or scan(path))
    assert len(index_photos([first, second], cache=cache)) == 3 and scanned == ["0.tar", "1.tar"]
    expected = [path.read_bytes() for path in paths]
    assert contents(index_photos([first, second], cache=cache)) == expected[:3] and len(scanned) == 2
    write_shard(second, paths[2:])
    assert contents(index_photos([first, second], cache=cache)) == expected and scanned[2:] == ["1.tar"]
    for kept in cache.iterdir():  # a disk that was full
        kept.write_bytes(kept.read_bytes()[:100])
    assert contents(index_photos([first, second], cache=cache)) == expected and len(scanned) == 5
    assert len(list(cache.iterdir())) == 2


def test_shards_of_one_name_in_two_folders_are_kept_apart(tmp_path):
    paths = write_photos(tmp_path / "photos", 2)
    for number, path in enumerate(paths):
        (tmp_path / str(number)).mkdir()
        write_shard(tmp_path / str(number) / "same.tar", [path])
    sources = [tmp_path / "0" / "same.tar", tmp_path / "1" / "same.tar"]
    for _ in range(2):
        assert contents(index_photos(sources, cache=tmp_path)) == [path.read_bytes() for path in paths]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "nowhere does not exist; expected a folder of images"),
        ("photos.tar.gz", r"photos\.tar\.gz is not a photo; expected .* an uncompressed \.tar"),
        ("run.toml", r"run\.toml is not a photo; expected a folder of images, a \.txt list"),
        ("photos-*.tar", r"no file matches .*photos-\*\.tar"),
        ("empty", r"no photo in .*empty; expected \.bmp, \.jpeg, \.jpg"),
        ("empty.tar", "no photo in .*empty.tar"),
        ("empty.txt", "no photo in .*empty.txt"),
        ("noise.tar", r"noise\.tar: not a readable plain tar"),
        ("packed.tar", r"packed\.tar: not a readable plain tar"),
        ("cut.tar", r"cut\.tar: not a readable plain tar .*data"),
        ("binary.txt", "binary.txt: cannot be read as a list of photos"),
    ],
)
def test_every_mistake_has_its_line(tmp_path, source, message):
    photo = write_photo(tmp_path / "a.png", 0, width=100, height=100)
    (tmp_path / "empty").mkdir()
    write_shard(tmp_path / "empty.tar", [])
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x81")
    (tmp_path / "noise.tar").write_bytes(b"not a tar" * 100)
    write_shard(tmp_path / "packed.tar", [photo], "w:gz")
    write_shard(tmp_path / "photos.tar.gz", [photo], "w:gz")
    (tmp_path / "run.toml").write_text("")
    whole = write_shard(tmp_path / "whole.tar", [photo, photo])
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:45_000])
    with pytest.raises(DataError, match=message) as caught:
        index_photos(tmp_path / source)
    assert "\n" not in str(caught.value)


def test_photos_are_read_upright_and_in_colour(tmp_path):
    grey = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    grey.save(tmp_path / "turned.png", exif=exif)
    photo = decode_photo(Path(tmp_path / "turned.png").read_bytes())
    assert photo.mode == "RGB" and photo.size == (2, 3)
    assert np.array_equal(np.asarray(photo)[..., 0], np.rot90(np.asarray(grey), -1))


def test_deep_and_transparent_photos_keep_their_shades(tmp_path):
    """Pillow alone cuts 16 bits at 255: such a photo would be white throughout."""
    deep = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    grey = np.asarray(decode_photo((tmp_path / "deep.png").read_bytes()))
    assert np.array_equal(grey[..., 1], np.arange(256).reshape(16, 16))
    Image.fromarray(np.full((4, 4, 4), 90, np.uint8)).save(tmp_path / "clear.png")
    assert np.asarray(decode_photo((tmp_path / "clear.png").read_bytes())).tolist() == [[[90] * 3] * 4] * 4
