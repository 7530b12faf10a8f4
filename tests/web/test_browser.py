"""The real page in a real browser: what a visitor does, and what reaches the disk.

Screenshots of each tab go to the folder named by INPAINT_SCREENSHOTS, for the documentation.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from tests.web.browser import EXAMPLE, choose, keep_screenshot, paint
from tests.web.conftest import noise

pytest.importorskip("gradio")
pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def run_and_download(page: Any, folder: Path) -> Path:
    page.click("#erase")
    page.wait_for_selector("#slider img", state="visible")
    with page.expect_download() as started:
        page.click("#download a")
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def changed_box(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of all that differs."""
    assert before.size == after.size
    box = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).getbbox()
    assert box is not None, "nothing was filled"
    return box


def test_paint_run_compare_download(page: Any, url: str, tmp_path: Path) -> None:
    photo = tmp_path / "holiday.png"
    Image.open(EXAMPLE).save(photo)
    choose(page, photo)
    paint(page)
    result = run_and_download(page, tmp_path)
    assert result.name == "holiday-filled.png"
    before, after = Image.open(photo), Image.open(result)
    left, top, right, bottom = changed_box(before, after)
    assert (right - left) * (bottom - top) < 0.2 * before.width * before.height
    assert before.width * 0.2 < (left + right) / 2 < before.width * 0.8
    # The mask the page offers says which pixels were marked: all others are the same, bit by bit.
    page.click("text=Mask file")
    page.click("#keep-mask")
    with page.expect_download() as started:
        page.click("#mask-file a")
    started.value.save_as(tmp_path / "mask.png")
    marked = np.asarray(Image.open(tmp_path / "mask.png")) > 0
    import cv2

    grown = cv2.dilate(marked.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))) > 0
    differs = (np.asarray(before) != np.asarray(after)).any(axis=2)
    assert not differs[~grown].any() and differs[marked].mean() > 0.8

    page.locator("#slider").scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = page.locator("#slider").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen_before = page.locator("#slider").screenshot()
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 0.2 * box["width"], middle[1], steps=5)
    page.mouse.up()
    page.mouse.move(5, 5)
    page.wait_for_timeout(500)
    assert page.locator("#slider").screenshot() != seen_before
    keep_screenshot(page, "erase")

    page.click("#compare")
    page.wait_for_selector("#versus img", state="visible")
    page.click("#go-on")
    page.wait_for_timeout(2500)
    paint(page, (0.6, 0.3), (0.7, 0.35))
    page.click("#erase")
    page.wait_for_timeout(3000)
    elsewhere = [seen for seen in page.requested if not seen.startswith((url, "data:", "blob:"))]
    assert elsewhere == [], "the page asks other servers for something"


def test_an_example_and_a_mask_file(page: Any, tmp_path: Path) -> None:
    page.click("#photo-examples img, .gallery-item img, [data-testid=examples] img, .gallery img")
    page.wait_for_selector("#editor canvas")
    page.wait_for_timeout(2500)
    mask = Image.new("L", (768, 512))
    mask.paste(255, (300, 100, 400, 200))
    mask.save(tmp_path / "mask.png")
    page.click("text=Mask file")
    with page.expect_file_chooser() as chooser:
        page.click("#use-mask")
    chooser.value.set_files(str(tmp_path / "mask.png"))
    page.wait_for_timeout(3000)
    page.click("text=PNG (lossless)")
    after = Image.open(run_and_download(page, tmp_path))
    from inpaint.images import read_image

    left, top, right, bottom = changed_box(read_image(EXAMPLE), after)
    assert (left, top) >= (290, 90) and right <= 410 and bottom <= 210
    assert right - left > 90 and bottom - top > 90


def test_keys_undo_size_and_run(page: Any, tmp_path: Path) -> None:
    choose(page, EXAMPLE)
    paint(page)
    page.keyboard.press("Control+z")
    page.wait_for_timeout(500)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=nothing is marked yet")
    for _ in range(4):
        page.keyboard.press("]")
        page.wait_for_timeout(200)
    paint(page)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#slider img", state="visible")


def test_a_turned_phone_photo(page: Any, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = tmp_path / "phone.jpg"
    Image.open(EXAMPLE).save(photo, exif=exif, quality=95)
    choose(page, photo)
    page.click("text=PNG (lossless)")
    paint(page)
    result = Image.open(run_and_download(page, tmp_path))
    from inpaint.images import read_image

    upright = read_image(photo)
    assert result.size == upright.size == (512, 768)
    left, top, right, bottom = changed_box(upright, result)
    assert (right - left) * (bottom - top) < 0.3 * 512 * 768


def test_a_photo_of_48_megapixels(page: Any, tmp_path: Path) -> None:
    photo = tmp_path / "huge.bmp"
    Image.open(EXAMPLE).resize((8000, 6000)).save(photo)
    choose(page, photo)
    paint(page, (0.45, 0.45), (0.5, 0.5))
    path = run_and_download(page, tmp_path)
    assert path.name == "huge-filled.bmp"
    left, top, right, bottom = changed_box(Image.open(photo), Image.open(path))
    assert 100 < right - left < 3000 and 100 < bottom - top < 3000


def test_a_batch_with_one_mask(page: Any, tmp_path: Path) -> None:
    paths = []
    for index in range(3):
        paths.append(tmp_path / f"shot-{index}.png")
        noise(60, 80, seed=index).save(paths[-1])
    (tmp_path / "broken.png").write_bytes(b"broken")
    mask = Image.new("L", (80, 60))
    mask.paste(255, (30, 20, 50, 40))
    mask.save(tmp_path / "mask.png")
    page.click("button[role=tab]:has-text('Batch')")
    page.set_input_files(
        "#batch-photos input[type=file]", [str(path) for path in (*paths, tmp_path / "broken.png")]
    )
    page.set_input_files("#batch-mask input[type=file]", str(tmp_path / "mask.png"))
    page.wait_for_timeout(1500)
    page.click("#batch-run")
    page.wait_for_selector("text=3 filled")
    keep_screenshot(page, "batch")
    with page.expect_download() as started:
        page.click("#batch-result a")
    started.value.save_as(tmp_path / "filled.zip")
    import zipfile

    with zipfile.ZipFile(tmp_path / "filled.zip") as archive:
        assert sorted(archive.namelist()) == ["report.csv", "shot-0.png", "shot-1.png", "shot-2.png"]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_on_phone_and_desktop(browser: Any, url: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#photo")
    page.wait_for_timeout(1000)
    keep_screenshot(page, f"start-{scheme}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width + 1
    context.close()
