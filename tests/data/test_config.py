"""Which pictures and holes a run learns from: what is accepted, and the one line for what is not."""

from __future__ import annotations

import pytest

from inpaint.data.config import Augment
from inpaint.errors import ConfigError
from inpaint.train.config import RunConfig, config_from_table

SMALLEST = {
    "kind": "mae", "name": "try", "preset": "mae-tiny", "out": "runs/try", "photos": ["photos"],
    "batch_size": 2, "images": 100, "learning_rate": 1e-3,
}  # fmt: skip


def read(**changes) -> RunConfig:
    return config_from_table({**SMALLEST, **changes}, source="run.toml")


def test_by_default_photos_stay_in_memory_and_are_cropped():
    config = read()
    assert (config.keep, config.augment, config.masks) == ("memory", Augment(kind="crop"), "mixed")
    assert not config.augment.distorts and config.kept_size == 256
    assert read(size=512).kept_size == 512 and read(size=512, photo_size=300).kept_size == 300


def test_distortions_are_a_table():
    config = read(augment={"rotate": 10, "hue": 0.1})
    assert config.augment == Augment(rotate=10.0, hue=0.1)
    assert config.augment.distorts and Augment(hue=0.1).distorts and not Augment(kind="lama").distorts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": "ram"}, "keep is 'ram', expected one of 'memory', 'disk'"),
        ({"augment": {"kind": "lamb"}}, "augment.kind is 'lamb', expected one of 'crop', 'resize', 'lama'"),
        ({"augment": {"turn": 3}}, "unknown key augment.turn"),
        ({"augment": {"rotate": 181}}, "augment.rotate is 181.0, expected a number from 0 to 180"),
        ({"augment": {"hue": 0.6}}, "augment.hue is 0.6, expected a number from 0 to 0.5"),
        (
            {"augment": {"kind": "lama"}},
            "augment.kind is 'lama' with keep = 'memory', expected keep = 'disk'",
        ),
        (
            {"keep": "disk", "augment": {"kind": "lama", "zoom": 0.1}},
            "'lama' together with other distortions",
        ),
        ({"keep": "disk", "photo_size": 256}, "photo_size is 256 with keep = 'disk', expected none"),
        ({"workers": 2}, "workers is 2 with keep = 'memory', expected keep = 'disk'"),
        ({"keep": "disk", "workers": -1}, "workers is -1, expected a whole number of at least 0"),
        ({"masks": "stars"}, "masks is 'stars', expected one of 'mixed', 'train', 'thin'"),
        ({"masks": "objects"}, "masks is 'objects' without shapes, expected shapes = 'FOLDER or ZIP'"),
        (
            {"smallest_size": 256},
            r"smallest_size is 256, expected size \(256\) less a multiple of 16",
        ),
        (
            {"smallest_size": 250},
            r"smallest_size is 250, expected size \(256\) less a multiple of 16",
        ),
        ({"early_size": 128}, "early_size is 128, early_share 0.0, expected both or neither"),
        ({"early_share": 0.5}, "early_size is None, early_share 0.5, expected both or neither"),
        ({"size_rounds": 0}, "size_rounds is 0, expected a whole number of at least 1"),
    ],
)
def test_every_mistake_has_its_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(**change)
    assert str(caught.value).startswith("run.toml: ") and "\n" not in str(caught.value)


def test_a_stream_for_lama_may_be_shrunk_first():
    config = read(keep="disk", photo_size=512, workers=0, augment={"kind": "lama"})
    assert config.photo_size == 512 and config.workers == 0
