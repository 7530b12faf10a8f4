"""Run configs: what is accepted, and the one line for everything that is not."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from inpaint.errors import ConfigError
from inpaint.train.config import (
    AcrRunConfig,
    Variant,
    config_from_table,
    plain_config,
    read_config,
)

SMALLEST = {
    "kind": "mae",
    "name": "try",
    "preset": "mae-tiny",
    "out": "runs/try",
    "photos": ["photos"],
    "batch_size": 2,
    "images": 100,
    "learning_rate": 1e-3,
}
ACR = {**SMALLEST, "kind": "acr", "preset": "acr-tiny", "weights": {"perceptual": 0}}


def test_the_smallest_config_has_the_published_defaults():
    mae: Any = config_from_table(SMALLEST)
    assert (mae.mask_ratio, mae.weight_decay, mae.betas) == (0.75, 0.05, (0.9, 0.95)) and mae.mixed_masks
    acr: Any = config_from_table({**ACR, "weights": {}, "perceptual_weights": "f.safetensors"})
    assert dataclasses.asdict(acr.weights) == {
        "adversarial": 10, "projected": 0, "feature_matching": 100, "perceptual": 30, "style": 0,
        "mobilenet": 0, "mobilenet_means": 0, "repetition": 0, "l1_known": 10, "l1_hole": 0, "r1": 0.001,
    }  # fmt: skip
    assert acr.ema_decay == 0.998 and acr.discriminator_input == "prediction"


def test_reading_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_DATA", "/data/photos")
    path = tmp_path / "configs" / "run.toml"
    path.parent.mkdir()
    path.write_text(
        """
        kind = "acr"
        name = "small"
        preset = "acr-small"
        out = "../runs/small"
        photos = "${SOME_DATA}/photos-*.tar"
        batch_size = 8
        images = 1000
        learning_rate = 1
        schedule = "milestones"
        milestones = [500, 800]
        prior_checkpoint = "/elsewhere/mae.safetensors"
        [weights]
        perceptual = 0
        l1_hole = 5
        """
    )
    config: Any = read_config(path)
    assert config.out == tmp_path / "configs" / "../runs/small"
    assert config.photos == (Path("/data/photos/photos-*.tar"),)
    assert config.prior_checkpoint == Path("/elsewhere/mae.safetensors")
    assert config.learning_rate == 1.0 and isinstance(config.learning_rate, float)
    assert config.milestones == (500, 800) and config.weights.l1_hole == 5


def test_a_base_is_what_a_config_does_not_say_itself(tmp_path):
    (tmp_path / "whole.toml").write_text(
        """
        kind = "acr"
        name = "whole"
        preset = "acr-tiny"
        out = "runs"
        photos = "photos"
        batch_size = 8
        images = 100
        learning_rate = 1e-3
        [weights]
        perceptual = 0
        l1_hole = 5
        """
    )
    (tmp_path / "row.toml").write_text('base = "whole.toml"\nname = "row"\n[weights]\nl1_known = 3\n')
    whole: Any
    whole, row = (read_config(tmp_path / f"{name}.toml") for name in ("whole", "row"))
    weights = dataclasses.replace(whole.weights, l1_known=3.0)
    assert row == dataclasses.replace(whole, name="row", weights=weights)

    (tmp_path / "last.toml").write_text('base = "row.toml"\nname = "last"\n')
    assert read_config(tmp_path / "last.toml") == dataclasses.replace(row, name="last")

    (tmp_path / "other.toml").write_text('base = "bad.toml"\n')
    for base, message in (
        ('"bad.toml"', r"bad\.toml: base is 'bad\.toml', which stands on bad\.toml itself"),
        ('"other.toml"', r"other\.toml: base is 'bad\.toml', which stands on other\.toml itself"),
        ('"none.toml"', r"none\.toml: cannot be read"),
        ('"../whole.toml"', "expected the name of a config in the same folder"),
        ("3", "expected the name of a config in the same folder"),
    ):
        (tmp_path / "bad.toml").write_text(f"base = {base}\n")
        with pytest.raises(ConfigError, match=message):
            read_config(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rat": 1}, r"unknown key learning_rat; did you mean learning_rate\?"),
        ({"zzz": 1}, "unknown key zzz; known keys: .*name, preset"),
        (
            {"weights": {"adverserial": 1}},
            r"unknown key weights.adverserial; did you mean weights.adversarial\?",
        ),
        ({"batch_size": "8"}, "batch_size is '8', expected a whole number of at least 1"),
        ({"batch_size": True}, "batch_size is True, expected a whole number"),
        ({"batch_size": 2.0}, "batch_size is 2.0, expected a whole number"),
        ({"batch_size": 0}, "batch_size is 0, expected a whole number of at least 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected a number"),
        ({"prior": 1}, "prior is 1, expected true or false"),
        ({"min_scale": 1.5}, "min_scale is 1.5, expected a number from 0.01 to 1"),
        ({"schedule": "linear"}, "schedule is 'linear', expected one of 'constant', 'cosine', 'milestones'"),
        ({"schedule": ["cosine"]}, r"schedule is \['cosine'\], expected one of"),
        ({"betas": [0.9]}, r"betas is \[0.9\], expected a list of 2, each a number"),
        ({"betas": [0.9, 1.5]}, r"betas\[1\] is 1.5, expected a number from 0 to"),
        ({"photos": []}, "photos is empty, expected at least one"),
        ({"photos": 3}, "photos is 3, expected a list, each a path"),
        ({"photos": ["${UNSET_ANYWHERE}/a"]}, "UNSET_ANYWHERE is not set; run: export UNSET_ANYWHERE=FOLDER"),
        ({"shapes": ""}, "shapes is '', expected a path"),
        ({"weights": 3}, "weights is 3, expected a table"),
        ({"device": "gpu"}, "device is 'gpu', expected auto, cpu"),
        ({"warmup_images": 101}, r"warmup_images is 101, expected at most images \(100\)"),
        ({"schedule": "milestones"}, r"milestones is \[\] with schedule 'milestones'"),
        ({"milestones": [5]}, r"milestones is \[5\] with schedule 'cosine'"),
        ({"schedule": "milestones", "milestones": [5, 5]}, "expected positive rising numbers"),
        ({"weights": {}}, "weights.perceptual is 30.0 without perceptual_weights"),
        (
            {"prior": False, "prior_checkpoint": "m.safetensors"},
            "prior_checkpoint is given with prior = false",
        ),
    ],
)
def test_every_mistake_has_its_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        config_from_table({**ACR, **change}, source="run.toml")
    assert str(caught.value).startswith("run.toml: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", sorted(SMALLEST))
def test_missing_keys_are_named(key):
    table = {name: value for name, value in SMALLEST.items() if name != key}
    with pytest.raises(ConfigError, match=f"{key} is missing, expected"):
        config_from_table(table)


@pytest.mark.parametrize(("preset", "kind"), [("mae-small", "mae"), ("fcmae-tiny", "fcmae"), ("lama", "acr")])
def test_a_config_without_a_kind_is_told_which_to_add(preset, kind):
    table = {key: value for key, value in SMALLEST.items() if key != "kind"}
    with pytest.raises(ConfigError, match=f'kind is missing, .*; add: kind = "{kind}"'):
        config_from_table(table | {"preset": preset})


def test_old_names_of_keys_are_read():
    old = {**ACR, "judged": "composite", "alpha_rate": 3.0, "variant": {"positions": False}}
    config = config_from_table(old)
    assert isinstance(config, AcrRunConfig)
    assert (config.discriminator_input, config.alpha_lr_multiplier) == ("composite", 3.0)
    assert config.variant.positional_encoding is False
    with pytest.raises(ConfigError, match=r"unknown key judged; did you mean discriminator_input\?"):
        config_from_table({**ACR, "judged": "composite", "discriminator_input": "composite"})


def test_keys_of_the_other_kind_are_refused():
    with pytest.raises(ConfigError, match="unknown key discriminator_width"):
        config_from_table({**SMALLEST, "discriminator_width": 8})


def test_unreadable_files(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        read_config(tmp_path / "bad.toml")


def test_configs_are_frozen_and_can_be_written_as_json():
    config = config_from_table(ACR)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.batch_size = 3  # type: ignore[misc]
    plain = json.loads(json.dumps(plain_config(config)))
    assert plain["photos"] == ["photos"] and plain["weights"]["r1"] == 0.001

    def filled(table):  # TOML has no null: what is None is left out
        return {k: filled(v) if isinstance(v, dict) else v for k, v in table.items() if v is not None}

    assert config_from_table(filled(plain)) == config


def test_a_variant_is_read_as_strictly_as_the_rest():
    config: Any = config_from_table({**ACR, "variant": {"attention": "none"}})
    variant = config.variant
    assert variant == Variant(attention="none") and variant.alphas is None
    for change, message in (
        ({"attention": "learned"}, "variant.attention is 'learned', expected one of 'prior'"),
        ({"alpha": "one"}, "unknown key variant.alpha; did you mean variant.alphas"),
        ({"feature_layer": 0}, "variant.feature_layer is 0"),
        ({"positional_encoding": "no"}, "variant.positional_encoding is 'no', expected true or false"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            config_from_table({**ACR, "variant": change})
