import pytest

pytest.importorskip("timm")
from inpaint.backbones.network import count_backbone, load_backbone, measure_speed
from inpaint.backbones.registry import BACKBONES, Backbone, find_backbone
from inpaint.errors import CheckpointError, WeightsError


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_published_figures_agree_with_the_network_within_two_percent(backbone: Backbone) -> None:
    parameters, gigaflops = count_backbone(backbone)
    assert parameters == pytest.approx(backbone.parameters, rel=0.02)
    assert gigaflops == pytest.approx(backbone.gigaflops, rel=0.02)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_timm_knows_the_weights(backbone: Backbone) -> None:
    import timm

    assert backbone.pretrained in timm.list_pretrained(f"{backbone.name}*")
    licence = timm.get_pretrained_cfg(backbone.pretrained).license
    assert licence.lower() == backbone.licence.lower()


def test_names() -> None:
    assert find_backbone("convnextv2_atto") is find_backbone("convnextv2_atto.fcmae_ft_in1k")
    with pytest.raises(WeightsError, match="unknown backbone 'resnet9000'; known are convnext_tiny, "):
        find_backbone("resnet9000")


def test_weights_from_a_file_and_without(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    backbone = find_backbone("convnextv2_atto")
    monkeypatch.setenv("INPAINT_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("INPAINT_OFFLINE", "1")
    without = load_backbone(backbone)
    assert without.weights is None
    assert "no trained weights of convnextv2_atto.fcmae_ft_in1k here: INPAINT_OFFLINE=1" in without.missing
    torch.manual_seed(7)
    made = timm.create_model(backbone.name)
    save_file(made.state_dict(), tmp_path / "convnextv2_atto.fcmae_ft_in1k.safetensors")
    loaded = load_backbone(backbone)
    assert loaded.weights == "convnextv2_atto.fcmae_ft_in1k.safetensors" and not loaded.missing
    for ours, theirs in zip(loaded.network.parameters(), made.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    save_file({"x": torch.zeros(3)}, tmp_path / "convnextv2_atto.fcmae_ft_in1k.safetensors")
    with pytest.raises(CheckpointError, match="does not fit convnextv2_atto"):
        load_backbone(backbone)
    assert measure_speed(without.network, seconds=0.01) > 0
