import pytest

pytest.importorskip("timm")
from inpaint.backbones.network import count_backbone
from inpaint.backbones.registry import BACKBONES, Backbone, find_backbone
from inpaint.errors import WeightsError

IN_TIMM = [backbone for backbone in BACKBONES if backbone.tag]


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_published_figures_agree_with_the_network_within_two_percent(backbone: Backbone) -> None:
    parameters, gigamacs = count_backbone(backbone)
    assert parameters == pytest.approx(backbone.parameters, rel=0.02)
    assert gigamacs == pytest.approx(backbone.gigamacs, rel=0.02)


@pytest.mark.parametrize("backbone", IN_TIMM, ids=lambda backbone: backbone.name)
def test_timm_knows_the_weights(backbone: Backbone) -> None:
    import timm

    assert backbone.pretrained in timm.list_pretrained(f"{backbone.name}*")
    config = timm.get_pretrained_cfg(backbone.pretrained)
    assert config.license.lower() == backbone.licence.lower()
    assert config.hf_hub_id.removesuffix(backbone.pretrained) == "timm/"  # where its hub has them


def test_names_and_files() -> None:
    assert find_backbone("convnextv2_atto") is find_backbone("convnextv2_atto.fcmae_ft_in1k")
    assert find_backbone("convnextv2_atto").file == "convnextv2_atto.fcmae_ft_in1k.safetensors"
    assert find_backbone("convnext_isotropic_base").file == "convnext_iso_base_1k_224_ema.pth"
    assert len({backbone.name for backbone in BACKBONES}) == len(BACKBONES) == 25
    with pytest.raises(WeightsError, match="unknown backbone 'resnet9000'; known are convnext_atto, "):
        find_backbone("resnet9000")
