import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inpaint.errors import ImageError, InpaintError, MaskError, WeightsError
from inpaint.images import read_image
from inpaint.web.fills import TELEA, Fills
from inpaint.web.jobs import Job
from inpaint.web.masks import mask_image
from inpaint.web.photos import Limits
from inpaint.web.service import Service, describe_photo
from inpaint.web.workspace import PREFIX, GoneError, Photo, QuotaError, Workspace
from tests.web.conftest import noise


def a_hole(height: int = 90, width: int = 120, top: int = 30, left: int = 40) -> np.ndarray:
    holes = np.zeros((height, width), bool)
    holes[top : top + 30, left : left + 40] = True
    return holes


def opened(service: Service, path: Path) -> Photo:
    folder = service.workspace.new_path()
    copy = folder / path.name
    copy.write_bytes(path.read_bytes())
    return service.workspace.add(folder, copy, path.name)


def fill(
    service: Service, photo: Photo, holes: np.ndarray, model: str = TELEA, parent: str | None = None
) -> str:
    return service.fill(photo, holes, model, parent, "me", Job(photo.id, "me"))["id"]


@pytest.mark.parametrize("model", ["acr-small", TELEA])
def test_only_marked_pixels_change_in_a_chain_of_fills(
    service: Service, photo_file: Path, model: str
) -> None:
    photo = opened(service, photo_file)
    first = fill(service, photo, a_hole(), model)
    second = fill(service, photo, a_hole(top=5, left=70), model, first)
    other = fill(service, photo, a_hole(top=55, left=0), model, first)
    before = np.asarray(Image.open(photo_file))
    path = service.download(photo, second, lossless=True)
    after = np.asarray(Image.open(path))
    changed = a_hole() | a_hole(top=5, left=70)
    assert path.name == "holiday-filled.png"
    assert np.array_equal(before[~changed], after[~changed])
    assert (before[changed] != after[changed]).any(axis=1).mean() > 0.9
    once = np.asarray(Image.open(service.download(photo, first, lossless=True)))
    rest = a_hole() & ~a_hole(top=5, left=70)
    assert np.array_equal(once[rest], after[rest])
    assert np.array_equal(service.workspace.holes_of(photo, second), changed)
    with pytest.raises(ImageError, match="later results were made on this one"):
        service.workspace.forget(photo, first)
    service.workspace.forget(photo, other)
    with pytest.raises(GoneError):
        service.download(photo, other, lossless=True)
    assert [known["id"] for known in describe_photo(photo)["fills"]] == [first, second]


def test_a_patch_lies_where_it_was_filled(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (3000, 1500), (90, 90, 90)).save(path)
    photo = opened(service, path)
    holes = np.zeros((1500, 3000), bool)
    holes[700:900, 1000:1400] = True
    described = service.fill(photo, holes, TELEA, None, "me", Job("a", "me"))
    patch, box = described["patch"], described["box"]
    scale = 3000 / 2048
    for side, start in (("x", "left"), ("y", "top")):
        assert abs(patch[side] * scale - box[start]) <= 1
    assert box["left"] <= 1000 and box["right"] >= 1400 and box["top"] <= 700 and box["bottom"] >= 900
    assert patch["width"] < 1.1 * 400 / scale + 2


@pytest.mark.parametrize(
    ("name", "format_"), [("a.webp", "WEBP"), ("a.tif", "TIFF"), ("a.jpg", "JPEG"), ("a.gif", "GIF")]
)
def test_downloads_have_the_photos_own_format(
    service: Service, tmp_path: Path, name: str, format_: str
) -> None:
    noise(90, 120).convert("P" if name == "a.gif" else "RGB").save(tmp_path / name)
    photo = opened(service, tmp_path / name)
    key = fill(service, photo, a_hole())
    saved = Image.open(service.download(photo, key, lossless=False))
    assert (saved.format, saved.size) == (format_, (120, 90))
    assert Image.open(service.download(photo, key, lossless=True)).format == "PNG"


def test_a_photo_taken_sideways_is_upright_everywhere(service: Service, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(40, 100).save(tmp_path / "phone.jpg", exif=exif)
    photo = opened(service, tmp_path / "phone.jpg")
    assert (photo.height, photo.width) == (100, 40)
    key = fill(service, photo, a_hole(100, 40, left=0))
    for lossless in (False, True):
        assert read_image(service.download(photo, key, lossless=lossless)).size == (40, 100)


def test_two_files_as_the_api_takes_them(service: Service, photo_file: Path, tmp_path: Path) -> None:
    mask = tmp_path / "m.png"
    mask_image(a_hole()).save(mask)
    assert Image.open(service.erase_files(photo_file, mask, TELEA)).size == (120, 90)
    with pytest.raises(MaskError, match="nothing is marked"):
        service.erase_files(photo_file, mask, TELEA, grow_by=-30)
    Image.new("L", (5, 5), 255).save(mask)
    with pytest.raises(MaskError, match="the mask is 5 x 5 pixels"):
        service.erase_files(photo_file, mask, TELEA)


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "acr-small.safetensors/..", ""])
def test_a_model_is_one_of_the_list_and_never_a_path(service: Service, key: str) -> None:
    with pytest.raises(WeightsError, match="expected one of acr-small"):
        service.fills.pipeline(key)


def test_checkpoints_in_the_users_folder_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inpaint.checkpoint import save_checkpoint
    from inpaint.models.presets import build_inpainter, build_mae

    save_checkpoint(tmp_path / "mine.safetensors", build_inpainter("lama-tiny"))
    save_checkpoint(tmp_path / "a-prior.safetensors", build_mae("mae-tiny"))
    monkeypatch.setenv("INPAINT_CHECKPOINTS", str(tmp_path))
    fills = Fills("cpu")
    assert "mine.safetensors" in [choice.key for choice in fills.choices()]
    assert fills.pipeline("mine.safetensors").model.preset.name == "lama-tiny"  # type: ignore
    with pytest.raises(InpaintError, match="cannot fill; choose another"):
        fills.pipeline("a-prior.safetensors")


def test_a_quota_counts_what_a_visitor_stores(tmp_path: Path) -> None:
    workspace = Workspace(Limits(visitor_bytes=1000, keep_seconds=1), tmp_path)
    workspace.charge("me", 900)
    workspace.charge("you", 900)
    with pytest.raises(QuotaError, match="the most that is allowed"):
        workspace.charge("me", 200)
    time.sleep(1.1)
    workspace.charge("me", 900)
    workspace.close()


def test_the_timer_deletes_what_nobody_uses_and_what_dead_servers_left(
    tmp_path: Path, photo_file: Path
) -> None:
    dead = tmp_path / f"{PREFIX}dead"
    alive = tmp_path / f"{PREFIX}alive"
    for folder in (dead, alive):
        (folder / "photo").mkdir(parents=True)
    os.utime(dead, (0, time.time() - 3600))
    service = Service(Fills("cpu"), Limits(keep_seconds=1), tmp_path)
    assert not dead.exists() and alive.exists()
    photo = opened(service, photo_file)
    loose = service.workspace.new_path()
    (service.workspace.uploads / "upload").mkdir()
    deadline = time.monotonic() + 20
    while photo.folder.exists() or loose.exists() or any(service.workspace.uploads.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(GoneError):
        service.workspace.find(photo.id)
    service.close()
    assert not service.workspace.folder.exists()


@pytest.mark.slow
def test_a_terminated_server_leaves_nothing(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "inpaint", "serve", "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and "stop with Ctrl+C" in server.stdout.readline()
        assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 1
        server.terminate()
        server.wait(20)
    assert list(tmp_path.glob(f"{PREFIX}*")) == []


def test_settings_of_the_model_list_are_for_people(service: Service) -> None:
    for choice in map(asdict, service.fills.choices()):
        assert len(choice["about"]) < 90 and not {"photos,", "GPU"} & set(choice["about"].split())
