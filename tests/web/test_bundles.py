import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inpaint.errors import ImageError, MaskError
from inpaint.web.bundles import REPORT, fill_pictures, fill_zip
from inpaint.web.fills import TELEA, Fills
from inpaint.web.photos import Limits
from inpaint.web.service import Service
from tests.web.conftest import noise


def a_mask(height: int = 60, width: int = 80) -> Image.Image:
    mask = np.zeros((height, width), np.uint8)
    mask[20:30, 30:50] = 255
    return Image.fromarray(mask)


def png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def read_report(path: Path) -> dict[str, dict[str, str]]:
    with zipfile.ZipFile(path) as archive:
        text = archive.read(REPORT).decode()
    return {row["picture"]: row for row in csv.DictReader(io.StringIO(text))}


def test_several_pictures_with_one_mask(service: Service, tmp_path: Path) -> None:
    paths = []
    for index in range(3):
        paths.append(tmp_path / f"p{index}.png")
        noise(60, 80, seed=index).save(paths[-1])
    (tmp_path / "broken.png").write_bytes(b"broken")
    noise(5, 5).save(tmp_path / "other.png")
    a_mask().save(tmp_path / "mask.png")
    told = []
    result, report = fill_pictures(
        service,
        [*paths, tmp_path / "broken.png", tmp_path / "other.png"],
        tmp_path / "mask.png",
        TELEA,
        on_result=lambda done, total, last: told.append((done, total)),
    )
    assert told == [(index, 5) for index in range(1, 6)]
    assert report.count("done") == 3
    rows = read_report(result)
    assert {name: row["status"] for name, row in rows.items()} == {
        "p0.png": "done", "p1.png": "done", "p2.png": "done", "broken.png": "failed", "other.png": "failed",
    }  # fmt: skip
    assert "5 x 5" in rows["other.png"]["reason"]
    assert rows["broken.png"]["reason"].startswith("'broken.png' is not an image file")
    known = np.asarray(a_mask()) == 0
    with zipfile.ZipFile(result) as archive:
        filled = np.asarray(Image.open(io.BytesIO(archive.read("p1.png"))))
    assert np.array_equal(filled[known], np.asarray(Image.open(paths[1]))[known])


@pytest.mark.parametrize(
    "names",
    [("images/x.png", "masks/x.png"), ("x.png", "x_mask.png"), ("deep/Images/x.png", "deep/Mask/x.png")],
)
def test_a_zip_of_pairs(service: Service, tmp_path: Path, names: tuple[str, str]) -> None:
    content = {names[0]: png(noise(60, 80)), names[1]: png(a_mask()), "notes.txt": b"hello", ".DS_Store": b""}
    result, report = fill_zip(service, zipped(tmp_path / "a.zip", content), TELEA, growth=1)
    assert report.count("done") == 1 and not report.problems
    assert read_report(result)["x.png"]["status"] == "done"


def test_a_picture_without_a_mask_is_in_the_report(service: Service, tmp_path: Path) -> None:
    content = {"a.png": png(noise(60, 80)), "a_mask.png": png(a_mask()), "b.png": png(noise(60, 80))}
    result, _ = fill_zip(service, zipped(tmp_path / "a.zip", content), TELEA)
    assert read_report(result)["b.png"]["status"] == "left out"
    assert read_report(result)["b.png"]["reason"].startswith("no mask named b.* in 'masks'")


@pytest.mark.parametrize(
    "name", ["../evil.png", "/abs/evil.png", "a/../../evil.png", "C:\\evil.png", "..\\e.png"]
)
def test_a_path_that_leads_out_of_the_zip_is_refused(service: Service, tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "slip.zip", {name: png(noise(9, 9))})
    with pytest.raises(ImageError, match="leads out of it"):
        fill_zip(service, archive, TELEA)
    assert not list(tmp_path.rglob("evil.png")) and not list(tmp_path.parent.glob("evil.png"))


def test_a_zip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    service = Service(Fills("cpu"), Limits(file_bytes=2**20), tmp_path / "desk")
    archive = zipped(tmp_path / "bomb.zip", {"a.png": bytes(64 * 2**20)})
    assert archive.stat().st_size < 2**17
    with pytest.raises(ImageError, match="unpacks to more than 1 MB"):
        fill_zip(service, archive, TELEA)
    assert sum(file.stat().st_size for file in (tmp_path / "desk").rglob("*") if file.is_file()) < 2 * 2**20


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 broken"])
def test_what_is_no_zip_says_so(service: Service, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="zip cannot be read"):
        fill_zip(service, path, TELEA)


def test_messages_before_anything_is_filled(tmp_path: Path) -> None:
    service = Service(Fills("cpu"), Limits(files=2), tmp_path / "desk")
    noise(5, 5).save(tmp_path / "a.png")
    (tmp_path / "m.png").write_bytes(b"no")
    with pytest.raises(ImageError, match="got no pictures"):
        fill_pictures(service, [], tmp_path / "a.png", TELEA)
    with pytest.raises(ImageError, match="got 3 pictures, the limit is 2"):
        fill_pictures(service, [tmp_path / "a.png"] * 3, tmp_path / "a.png", TELEA)
    with pytest.raises(MaskError, match="cannot read the mask"):
        fill_pictures(service, [tmp_path / "a.png"], tmp_path / "m.png", TELEA)
    with pytest.raises(ImageError, match="holds no pictures"):
        fill_zip(service, zipped(tmp_path / "a.zip", {"a.txt": b""}), TELEA)
    names = {f"{index}.png": b"" for index in range(5)}
    with pytest.raises(ImageError, match="holds 5 pictures, the limit is 4"):
        fill_zip(service, zipped(tmp_path / "b.zip", names), TELEA)
