import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from inpaint.errors import ImageError, InpaintError, WeightsError
from inpaint.fills.holes import find_hole
from inpaint.images import read_image
from inpaint.web.fills import TELEA, Fills
from inpaint.web.jobs import Job
from inpaint.web.masks import Drawing, mask_image
from inpaint.web.photos import GoneError, Limits, Photo, QuotaError
from inpaint.web.service import Service
from inpaint.web.workspace import PREFIX, Workspace
from tests.web.conftest import noise


def a_hole(height: int = 90, width: int = 120, top: int = 30, left: int = 40) -> np.ndarray:
    holes = np.zeros((height, width), bool)
    holes[top : top + 30, left : left + 40] = True
    return holes


def opened(service: Service, path: Path) -> Photo:
    with service.workspace.new_folder() as folder:
        copy = folder / path.name
        copy.write_bytes(path.read_bytes())
        return service.workspace.add(copy)


def fill(
    service: Service, photo: Photo, holes: np.ndarray, model: str = TELEA, parent: str | None = None
) -> str:
    return service.fill(photo, holes, model, parent, Job(photo.id, "me"))["id"]


@pytest.mark.parametrize("model", ["acr-small", TELEA])
def test_only_marked_pixels_change_in_a_chain_of_fills(
    service: Service, photo_file: Path, model: str
) -> None:
    photo = opened(service, photo_file)
    first = fill(service, photo, a_hole(), model)
    second = fill(service, photo, a_hole(top=5, left=70), model, first)
    other = fill(service, photo, a_hole(top=55, left=0), model, first)
    before = np.asarray(Image.open(photo_file))
    path = photo.download(second, lossless=True)[0]
    after = np.asarray(Image.open(path))
    changed = a_hole() | a_hole(top=5, left=70)
    assert path.name == "holiday-filled.png"
    assert np.array_equal(before[~changed], after[~changed])
    assert (before[changed] != after[changed]).any(axis=1).mean() > 0.9
    once = np.asarray(Image.open(photo.download(first, lossless=True)[0]))
    rest = a_hole() & ~a_hole(top=5, left=70)
    assert np.array_equal(once[rest], after[rest])
    with pytest.raises(ImageError, match="later results were made on this one"):
        photo.forget(first)
    photo.forget(other)
    with pytest.raises(GoneError):
        photo.download(other, lossless=True)
    assert [known["id"] for known in photo.describe()["fills"]] == [first, second]


def test_a_patch_lies_where_it_was_filled(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (3000, 1500), (90, 90, 90)).save(path)
    photo = opened(service, path)
    holes = np.zeros((1500, 3000), bool)
    holes[700:900, 1000:1400] = True
    described = service.fill(photo, holes, TELEA, None, Job("a", "me"))
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
    saved = Image.open(photo.download(key, lossless=False)[0])
    assert (saved.format, saved.size) == (format_, (120, 90))
    assert Image.open(photo.download(key, lossless=True)[0]).format == "PNG"


def test_page_and_api_fill_what_the_command_line_fills(service: Service, tmp_path: Path) -> None:
    noise(900, 1600).save(tmp_path / "a.png")
    soft = np.zeros((900, 1600), np.uint8)
    soft[300:500, 400:700] = soft[100, 100:1500] = 255  # what is thick grows, a scratch does not
    mask = Image.fromarray(cv2.GaussianBlur(soft, (0, 0), 1.2))
    mask.save(tmp_path / "m.png")
    shutil.copy(tmp_path / "m.png", tmp_path / "upload.png")
    for dilate, grow in ((None, None), (0, 0), (3, 3)):
        with Image.open(tmp_path / "a.png") as image:
            expected = find_hole(mask, dilate)
            filled = np.asarray(service.fills.pipeline(TELEA)(image, mask, dilate=dilate))
        photo = opened(service, tmp_path / "a.png")
        layer = photo.add_mask(tmp_path / "upload.png")
        assert layer["warning"] == ""
        operations = [{"kind": "layer", "id": layer["id"]}]
        holes = photo.holes(Drawing.model_validate({"operations": operations, "grow": grow}))
        assert np.array_equal(holes, expected)
        path, _ = service.erase_files(tmp_path / "a.png", tmp_path / "m.png", TELEA, tmp_path, grow=grow)
        assert np.array_equal(np.asarray(Image.open(path)), filled)
    assert photo.describe()["growth"] == 1 and not np.array_equal(find_hole(mask), find_hole(mask, 0))


def test_a_doubtful_mask_is_told(service: Service, tmp_path: Path) -> None:
    with Image.open("examples/photo.jpg") as example:
        example.convert("RGB").save(tmp_path / "a.png")
    photo = opened(service, tmp_path / "a.png")
    assert "the mask looks like the photo itself" in photo.add_mask(tmp_path / "a.png")["warning"]
    job, holes = Job(photo.id, "me"), np.ones((photo.height, photo.width), bool)
    holes[: photo.height // 10] = False
    service.fill(photo, holes, TELEA, None, job)
    assert job.warning == (
        "the mask marks 90% of the photo as hole, so nearly everything is replaced; if its white is what "
        "should stay, invert it"
    )


def test_a_fill_tells_how_far_it_is_and_stops_within_a_network(service: Service, photo_file: Path) -> None:
    class Told(Job):
        def tell(self, note: str, fraction: float | None = None) -> None:
            super().tell(note, fraction)
            told.append(fraction)

    photo, holes, told = opened(service, photo_file), a_hole(), []
    holes[3:6, 3:6] = holes[80:82, 5:9] = True
    service.fill(photo, holes, "lama-small", None, Told(photo.id, "me"))
    shares = [share for share in told if share is not None]
    assert len(shares) > 1 and shares == sorted(shares) and shares[-1] == 1 and 0 < shares[0] < 0.1
    calls = []

    def count(*_: object) -> None:
        calls.append(1)
        if len(calls) == 20:
            job.cancelled = True

    for module in service.fills.pipeline("lama-small").network.modules():
        module.register_forward_pre_hook(count)
    more = (photo, holes, "lama-small", None)
    job = service.jobs.submit(photo.id, "me", lambda job: service.fill(*more, job))
    assert job.over.wait(60) and job.state == "cancelled" and len(calls) < 30


def test_a_batch_keeps_its_photos_and_tells_of_those_that_fail(
    service: Service, photo_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [opened(service, photo_file) for _ in range(4)]
    fill = service.fill

    def fill_slowly(*given: Any) -> dict[str, Any]:
        for photo in photos:
            photo.used -= 0.6 * service.limits.keep_seconds
        service.workspace.tidy()
        return fill(*given)

    monkeypatch.setattr(service, "fill", fill_slowly)
    keys = [*(photo.id for photo in photos), "nobody"]
    stroke = {"kind": "stroke", "points": [(60, 45)], "radius": 12}
    drawing, job = Drawing.model_validate({"operations": [stroke]}), Job("batch", "me")
    found = service.fill_all(keys, drawing, photos[0], "scale", TELEA, job)["results"]
    assert all("fill" in found[photo.id] for photo in photos)
    assert "no longer on the server" in found["nobody"]["error"]


def test_other_pages_of_a_file_are_kept(service: Service, tmp_path: Path) -> None:
    pages = [noise(90, 120, seed=seed) for seed in range(3)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    photo = opened(service, tmp_path / "scan.tif")
    assert photo.describe()["frames"] == 3
    path, notes = photo.download(fill(service, photo, a_hole()), lossless=False)
    with Image.open(path) as saved:
        assert saved.n_frames == 3 and notes == []  # type: ignore
        for number, page in enumerate(pages):
            saved.seek(number)
            assert np.array_equal(np.asarray(saved), np.asarray(page)) == (number > 0)
    with Image.open(photo.download(None, lossless=True)[0]) as saved:
        assert saved.format == "PNG" and saved.n_frames == 3  # type: ignore


def test_a_photo_taken_sideways_is_upright_everywhere(service: Service, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(40, 100).save(tmp_path / "phone.jpg", exif=exif)
    photo = opened(service, tmp_path / "phone.jpg")
    assert (photo.height, photo.width) == (100, 40)
    key = fill(service, photo, a_hole(100, 40, left=0))
    for lossless in (False, True):
        assert read_image(photo.download(key, lossless=lossless)[0]).size == (40, 100)


def test_two_files_as_the_api_takes_them(service: Service, photo_file: Path, tmp_path: Path) -> None:
    mask = tmp_path / "m.png"
    mask_image(a_hole()).save(mask)
    assert Image.open(service.erase_files(photo_file, mask, TELEA, tmp_path)[0]).size == (120, 90)
    with pytest.raises(InpaintError, match="the mask is empty"):
        service.erase_files(photo_file, mask, TELEA, tmp_path, grow=-30)
    Image.new("L", (5, 5), 255).save(mask)
    with pytest.raises(InpaintError, match="the mask is 5 x 5 pixels"):
        service.erase_files(photo_file, mask, TELEA, tmp_path)


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


def test_a_model_whose_package_is_missing_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    fills, needs = Fills("cpu"), {"acr-small-convnext": "timm", "migan": "onnxruntime"}
    monkeypatch.setattr("inpaint.web.fills.find_spec", lambda name: name)
    offered = [choice.key for choice in fills.choices()]
    assert {*needs} <= {*offered}
    monkeypatch.setattr("inpaint.web.fills.find_spec", lambda name: None)
    assert [choice.key for choice in fills.choices()] == [key for key in offered if key not in needs]


def test_a_quota_counts_what_a_visitor_stores() -> None:
    workspace = Workspace(Limits(visitor_bytes=1000, keep_seconds=1))
    workspace.charge("me", 900)
    workspace.charge("you", 900)
    with pytest.raises(QuotaError, match="the most that is allowed"):
        workspace.charge("me", 200)
    time.sleep(1.1)
    workspace.charge("me", 900)
    workspace.close()


def test_the_timer_deletes_what_nobody_uses_and_what_dead_servers_left(
    tmp_path: Path, photo_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / f"{PREFIX}dead"
    alive = tmp_path / f"{PREFIX}alive"
    for folder in (dead, alive):
        (folder / "photo").mkdir(parents=True)
    os.utime(dead, (0, time.time() - 3600))
    service = Service(Fills("cpu"), Limits(keep_seconds=1))
    assert not dead.exists() and alive.exists()
    photo = opened(service, photo_file)
    with service.workspace.new_folder() as loose:
        pass
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
