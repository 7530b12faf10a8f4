"""The published sizes, and presets that survive a file header."""

import json
from dataclasses import replace

import pytest
from torch import nn

from inpaint.errors import CheckpointError, ConfigError, WeightsError
from inpaint.models.presets import (
    FCMAE_PRESETS,
    INPAINTER_PRESETS,
    MAE_PRESETS,
    build_described,
    build_fcmae,
    build_inpainter,
    build_mae,
    describe_preset,
    vary_preset,
)


def millions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def test_the_base_network_has_the_published_size():
    model = build_inpainter("acr-base")
    assert millions(model.prior) == pytest.approx(111.65, abs=0.01)
    # The published adapter figure counts the alphas, the direction table and the fixed sinusoid table.
    assert millions(model.adapter) == pytest.approx(13.93, abs=0.01)
    assert millions(model.generator) == pytest.approx(27.05, abs=0.01)


@pytest.mark.parametrize(("name", "size"), [("lama", 27.05), ("big-lama", 50.98)])
def test_the_baselines_have_their_published_size(name, size):
    model = build_inpainter(name)
    assert model.prior is None and millions(model) == pytest.approx(size, abs=0.01)


def test_the_small_network_fits_its_budget():
    model = build_inpainter("acr-small")
    assert 8 <= millions(model) <= 11
    stored = sum(tensor.numel() * min(tensor.element_size(), 2) for tensor in model.state_dict().values())
    assert stored <= 22e6


@pytest.mark.parametrize(
    ("size", "published"), [("atto", 3.7), ("femto", 5.2), ("pico", 9.1), ("nano", 15.6)]
)
def test_convolutional_encoders_have_the_published_size(size, published):
    model = build_fcmae(f"fcmae-convnextv2-{size}")
    head = (model.preset.widths[-1] + 1) * 1000 + 2 * model.preset.widths[-1]  # published with the classifier
    assert millions(model.encoder) + head / 1e6 == pytest.approx(published, abs=0.06)


def test_the_small_network_with_a_convolutional_prior_differs_in_the_prior_alone():
    ours, theirs = INPAINTER_PRESETS["acr-small-convnext"], INPAINTER_PRESETS["acr-small"]
    assert replace(ours, name=theirs.name, prior=theirs.prior) == theirs
    model, other = build_inpainter(ours), build_inpainter(theirs)
    assert millions(model.adapter) == millions(other.adapter)
    assert 4 <= millions(model.prior) <= millions(other.prior)


def test_lama_small_is_the_generator_of_acr_small_alone():
    alone, whole = build_inpainter("lama-small"), build_inpainter("acr-small")
    assert alone.prior is None and alone.adapter is None
    shapes = {key: value.shape for key, value in whole.generator.state_dict().items()}
    ours = {key: value.shape for key, value in alone.generator.state_dict().items()}
    assert shapes.keys() - ours.keys() == {"transfer_before.alpha", "transfer_after.alpha"}
    assert ours.items() <= shapes.items()


@pytest.mark.parametrize("name", [*INPAINTER_PRESETS, *MAE_PRESETS, *FCMAE_PRESETS])
def test_every_preset_survives_a_header(name):
    if name.endswith(("base", "lama", "large", "huge")):
        pytest.skip("large; its preset class is covered by the others")
    build = {**dict.fromkeys(MAE_PRESETS, build_mae), **dict.fromkeys(FCMAE_PRESETS, build_fcmae)}
    model = build.get(name, build_inpainter)(name)
    again = build_described(json.loads(json.dumps(describe_preset(model))))
    assert again.preset == model.preset
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, "surprise"),
        ({"width": "wide"}, "width"),
        ({"width": True}, "width"),
        ({"padding": "circular"}, "padding"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(change, message):
    description = describe_preset(build_inpainter("lama-tiny"))
    description["preset"]["generator"].update(change)
    with pytest.raises(CheckpointError, match=message):
        build_described(description)


def test_a_header_from_before_a_key_existed_means_what_it_meant_then():
    description = describe_preset(build_inpainter("acr-tiny"))
    generator = description["preset"]["generator"]
    for key in ("attention", "alphas"):
        del generator[key]
    del description["preset"]["prior_features"]
    none = vary_preset("acr-tiny", attention="none")
    assert build_described(description).preset == none
    del description["preset"]["generator"]
    with pytest.raises(CheckpointError, match="generator is missing"):
        build_described(description)


def test_a_header_of_the_first_version_is_read_under_its_old_keys():
    text = json.dumps(describe_preset(build_inpainter("acr-tiny-convnext")))
    names = {"prior": "mae", "initial_fill": "start", "positional_encoding": "positions"}
    for new, old in (names | {"inverse_temperature": "sharpness"}).items():
        assert f'"{new}": ' in text
        text = text.replace(f'"{new}": ', f'"{old}": ')
    assert build_described(json.loads(text)).preset == INPAINTER_PRESETS["acr-tiny-convnext"]
    both = json.loads(text)
    both["preset"]["generator"]["initial_fill"] = "push_pull"
    with pytest.raises(CheckpointError, match=r"unknown key generator\.start; did you mean .*initial_fill"):
        build_described(both)


def test_a_header_tells_the_two_kinds_of_prior_apart():
    description = json.loads(json.dumps(describe_preset(build_inpainter("acr-tiny-convnext"))))
    assert build_described(description).preset.prior == FCMAE_PRESETS["fcmae-tiny"]
    prior = description["preset"]["prior"]
    for change, message in (
        ({"surprise": 1}, "expected the keys of MaePreset or FcmaePreset"),
        ({"heads": 2}, "expected the keys of MaePreset or FcmaePreset"),  # neither one nor the other
        ({"depths": 2}, "prior.depths is 2"),
        ({"depths": [1, "two", 1]}, r"prior.depths\[1\] is 'two'"),
        ({"attention": "sideways"}, "attention is 'sideways'"),
    ):
        description["preset"]["prior"] = prior | change
        with pytest.raises(CheckpointError, match=message):
            build_described(description)
    description["preset"]["prior"] = {"image_size": 64}  # could be either
    with pytest.raises(CheckpointError, match="MaePreset or FcmaePreset"):
        build_described(description)


def test_a_varied_preset_differs_in_what_was_asked_alone():
    base = INPAINTER_PRESETS["acr-tiny"]
    assert vary_preset("acr-tiny") == base
    varied = vary_preset(
        base, attention="contextual", alphas="one", positional_encoding=False, feature_layer=1
    )
    assert varied.generator == replace(
        base.generator, attention="contextual", alphas="one", positional_encoding=False
    )
    assert varied.prior == replace(base.prior, feature_layer=1) and varied.prior_features
    assert vary_preset(base, prior_features=False) == replace(base, prior_features=False)


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("lama-tiny", {"attention": "prior"}, "attention for preset lama-tiny, which has no prior"),
        ("lama-tiny", {"feature_layer": 1, "prior_features": True}, "feature_layer, prior_features"),
        ("acr-tiny", {"feature_layer": 3}, "decoder layers of preset acr-tiny: 1 to 2"),
        ("acr-tiny-convnext", {"feature_layer": 1}, "acr-tiny-convnext: none"),
        ("acr-tiny", {"prior_features": False, "attention": "none"}, "nothing of the prior"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(preset, changes, message):
    with pytest.raises(ConfigError, match=message):
        vary_preset(preset, **changes)


def test_a_prior_needs_three_down_samplings():
    base = INPAINTER_PRESETS["acr-tiny"]
    with pytest.raises(ConfigError, match="has a prior and 2 down-samplings, expected 3"):
        build_inpainter(replace(base, generator=replace(base.generator, downsamplings=2)))


def test_unknown_names_are_answered_with_the_known():
    with pytest.raises(WeightsError, match="acr-small"):
        build_inpainter("acr-smal")
    with pytest.raises(CheckpointError, match="expected one of fcmae, inpainter, mae"):
        build_described({"kind": "diffusion", "preset": {}})
    with pytest.raises(CheckpointError, match="Linear"):
        describe_preset(nn.Linear(1, 1))
