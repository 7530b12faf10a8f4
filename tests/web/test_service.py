import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inpaint.errors import InpaintError, MaskError, WeightsError
from inpaint.web.fills import TELEA, Fills
from inpaint.web.marks import mask_picture
from inpaint.web.photos import Limits, open_photo
from inpaint.web.service import Service


def a_hole(height: int, width: int) -> np.ndarray:
    holes = np.zeros((height, width), bool)
    holes[30:60, 40:80] = True
    return holes


@pytest.mark.parametrize("model", ["acr-small", TELEA])
def test_only_the_marked_pixels_change(service: Service, photo_file: Path, model: str) -> None:
    photo, _ = open_photo(photo_file)
    holes = a_hole(90, 120)
    result = service.erase(photo, holes, model, growth=2)
    before, after = np.asarray(Image.open(photo_file)), np.asarray(Image.open(result.download))
    assert result.download.name == "holiday-filled.png"
    assert result.holes.sum() > holes.sum()
    assert np.array_equal(before[~result.holes], after[~result.holes])
    assert (before[holes] != after[holes]).mean() > 0.5
    assert result.before.size == result.after.size == (120, 90)
    again = service.erase(result.photo, holes, model)
    assert np.array_equal(np.asarray(Image.open(again.download))[~holes], after[~holes])


def test_two_files_as_the_api_takes_them(service: Service, photo_file: Path, tmp_path: Path) -> None:
    mask = tmp_path / "m.png"
    mask_picture(a_hole(90, 120)).save(mask)
    result = service.erase_files(photo_file, mask, TELEA)
    assert Image.open(result).size == (120, 90)
    with pytest.raises(MaskError, match="the mask is 5 x 5 pixels"):
        Image.new("L", (5, 5), 255).save(mask)
        service.erase_files(photo_file, mask, TELEA)


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "acr-small.safetensors/..", ""])
def test_a_model_is_one_of_the_list_and_never_a_path(service: Service, key: str) -> None:
    with pytest.raises(WeightsError, match="choose one from the list"):
        service.fills.pipeline(key)


def test_checkpoints_in_the_users_folder_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inpaint.checkpoint import save_checkpoint
    from inpaint.models.presets import build_inpainter, build_mae

    save_checkpoint(tmp_path / "mine.safetensors", build_inpainter("lama-tiny"))
    save_checkpoint(tmp_path / "a-prior.safetensors", build_mae("mae-tiny"))
    monkeypatch.setenv("INPAINT_CHECKPOINTS", str(tmp_path))
    fills = Fills("cpu")
    keys = [choice.key for choice in fills.choices()]
    assert keys[0] == "acr-small" and keys[-1] == TELEA and "mine.safetensors" in keys
    assert fills.pipeline("mine.safetensors").model.preset.name == "lama-tiny"  # type: ignore
    with pytest.raises(InpaintError, match="cannot fill; choose another"):
        fills.pipeline("a-prior.safetensors")


def test_old_results_are_swept(tmp_path: Path) -> None:
    service = Service(Fills("cpu"), Limits(keep_seconds=60), tmp_path)
    for name, age in (("old", 100), ("new", 10)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    service.sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    service.close()
    assert not tmp_path.exists()


def test_without_timm_a_line_says_what_to_install(
    service: Service, photo_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    photo, _ = open_photo(photo_file)
    about = {choice.key: choice.about for choice in service.fills.choices()}
    install = "pip install 'mae-acr-inpaint[backbones]'"
    assert install in about["acr-small-convnext"]
    with pytest.raises(InpaintError) as caught:
        service.erase(photo, a_hole(90, 120), "acr-small-convnext")
    assert str(caught.value).endswith(f"need timm, which is not installed: {install}")
    service.erase(photo, a_hole(90, 120), "acr-small")
