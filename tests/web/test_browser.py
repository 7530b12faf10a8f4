"""The Erase tab in a real browser: what a visitor does, sees, and what reaches the disk.

With INPAINT_SCREENSHOTS=docs/web the pictures of the documentation are made on the way.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageChops

from inpaint.fills.holes import default_dilation, find_hole
from inpaint.images import read_image
from tests.web.browser import (
    EXAMPLE,
    Fingers,
    choose,
    download,
    erase,
    keep_screenshot,
    paint,
    save_mask,
    seen,
    spot,
    use_telea,
)
from tests.web.conftest import noise

pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def changed_box(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of all that differs."""
    assert before.size == after.size
    box = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).getbbox()
    assert box is not None, "nothing was filled"
    return box


def write_photo(path: Path, width: int, height: int) -> Path:
    Image.open(EXAMPLE).resize((width, height)).save(path)
    return path


def elsewhere(one: np.ndarray, other: np.ndarray) -> int:
    """How many pixels two masks differ in, apart from their rims."""
    rim = cv2.morphologyEx(other.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8)) > 0
    return int(((one != other) & ~rim).sum())


def state(page: Any) -> Any:
    return page.evaluate("() => window.inpaint.erase.state")


def test_paint_erase_compare_download(page: Any, url: str, tmp_path: Path) -> None:
    photo = tmp_path / "holiday.png"
    Image.open(EXAMPLE).save(photo)
    choose(page, photo)
    paint(page, (0.55, 0.72), (0.75, 0.78))
    marked = save_mask(page, tmp_path)
    erase(page)
    assert state(page)["operations"] == []  # the marks are used up: the next object is one stroke
    result = download(page, tmp_path)
    assert result.name == "holiday-filled.png"
    before, after = np.asarray(Image.open(photo)), np.asarray(Image.open(result))
    differs = (before != after).any(axis=2)
    assert not differs[~marked].any() and differs[marked].mean() > 0.8
    # The photo after a slider's left half is as it was, the right half as it is.
    shown = seen(page)
    page.click("#slider")
    x, y = spot(page, 0.5, 0.75)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(*spot(page, 0.65, 0.75), steps=5)
    page.mouse.up()
    split = seen(page)
    box = page.locator("#stage").bounding_box()
    middle = round(spot(page, 0.65, 0.75)[0] - box["x"])
    rows = slice(*(round(spot(page, 0, share)[1] - box["y"]) for share in (0.66, 0.7)))
    assert np.abs(split[rows, middle + 20 :] - shown[rows, middle + 20 :]).max() <= 2
    rows = slice(*(round(spot(page, 0, share)[1] - box["y"]) for share in (0.7, 0.78)))
    assert np.abs(split[rows, : middle - 20] - shown[rows, : middle - 20]).max() > 5
    keep_screenshot(page, "erase")
    elsewhere = [seen for seen in page.requested if not seen.startswith((url, "data:", "blob:"))]
    assert elsewhere == [], "the page asks other servers for something"


def test_the_page_works_under_its_own_content_policy(visit: Any) -> None:
    page, told = visit(bypass_csp=False), []
    page.on("console", lambda message: told.append(message.text))
    page.click(".examples button")
    page.wait_for_selector("#dock", state="visible")
    page.wait_for_selector("#working", state="hidden")
    use_telea(page)
    paint(page)
    page.click("#run")
    page.wait_for_selector(".result:nth-child(2)")
    assert told == []


@pytest.mark.parametrize(("width", "height"), [(768, 512), (512, 382), (150, 200), (3000, 2250)])
def test_a_mask_file_is_right_at_every_size_after_a_touch_up(
    page: Any, tmp_path: Path, width: int, height: int
) -> None:
    choose(page, write_photo(tmp_path / "photo.png", width, height))
    given = np.zeros((height, width), np.uint8)
    given[height // 5 : height // 3, width // 3 : width // 2] = 255
    given[height - 7 : height - 4, 3:9] = 255  # small things stay, too
    Image.fromarray(given).save(tmp_path / "mask.png")
    page.set_input_files("#mask-file", str(tmp_path / "mask.png"))
    page.wait_for_function("window.inpaint.erase.state.operations.length === 1")
    page.click("[data-tool=eraser]")
    paint(page, (0.45, 0.3), (0.48, 0.3))
    page.click("[data-tool=brush]")
    paint(page, (0.7, 0.7), (0.8, 0.75))
    stroke = state(page)["operations"][-1]
    assert abs(stroke["points"][0][0] - 0.7 * width) < 0.006 * width + 2
    saved = save_mask(page, tmp_path)
    assert saved.shape == (height, width)
    expected = given > 0
    for operation in state(page)["operations"][1:]:
        line = np.zeros((height, width), np.uint8)
        points = np.rint(operation["points"]).astype(np.int32)
        cv2.polylines(line, [points[:, None]], False, 1, max(1, round(2 * operation["radius"])))
        expected = expected & (line == 0) if operation["erase"] else expected | (line > 0)
    grown = find_hole(Image.fromarray(expected.astype(np.uint8) * 255))
    assert elsewhere(saved, grown) <= 3, "a mark is where none was made, or the other way round"
    # And it is erased where it was shown.
    use_telea(page)
    erase(page)
    before, after = Image.open(tmp_path / "photo.png"), Image.open(download(page, tmp_path))
    assert not (np.asarray(before) != np.asarray(after)).any(axis=2)[~saved].any()


def test_two_changes_in_quick_succession_draw_the_later_layer(page: Any) -> None:
    marked = page.evaluate("""async () => {
        const { Drawing } = await import(new URL("static/drawing.js", document.baseURI));
        const loads = {};
        const load = (id) => new Promise((resolve) => (loads[id] = resolve));
        const preview = { width: 8, height: 8 };
        const drawing = new Drawing({ ...preview, preview, growth: {} }, load);
        drawing.updateGrown = () => {};
        const bitmap = document.createElement("canvas");
        bitmap.width = bitmap.height = 8;
        bitmap.getContext("2d").fillRect(0, 0, 8, 8);
        const first = drawing.show([{ kind: "layer", id: "a" }]);
        const second = drawing.show([{ kind: "layer", id: "b" }]);
        loads.a(bitmap);  // while b is still on its way
        await first;
        loads.b(bitmap);
        await second;
        return drawing.context.getImageData(4, 4, 1, 1).data[3];
    }""")
    assert marked > 0


@pytest.mark.parametrize("size", [(768, 512), (3000, 2250)])
def test_the_screen_shows_what_will_be_filled(page: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    choose(page, write_photo(tmp_path / "photo.png", *size))
    paint(page, (0.3, 0.3), (0.5, 0.5))
    growth = default_dilation(size)
    for grow in (None, 25, -12):
        if grow is not None:
            page.click("#mask")
            page.locator("#grow").fill(str(grow))
            page.keyboard.press("Escape")
        drawing = "window.inpaint.erase.editor.drawing"
        shown = page.evaluate(f"() => ({drawing}.grown ?? {drawing}.canvas).toDataURL()")
        picture = Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2])))
        shown = np.asarray(picture.getchannel("A")) // 128
        saved = save_mask(page, tmp_path)
        shown = cv2.resize(shown, saved.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        assert saved.any() and not elsewhere(shown, saved)
        if grow is None:  # what the page grows by itself is what the command line would
            drawn = page.evaluate("() => window.inpaint.erase.state.operations[0]")
            line = np.zeros(saved.shape, np.uint8)
            points = np.rint(drawn["points"]).astype(np.int32)
            cv2.polylines(line, [points[:, None]], False, 255, round(2 * drawn["radius"]))
            assert not elsewhere(saved, find_hole(Image.fromarray(line)))
            page.click("#mask")
            assert page.inner_text("#grow-value") == f"automatic, {growth} px"
            page.keyboard.press("Escape")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate("() => window.inpaint.erase.editor.drawing.grow") == -12
    page.click("#mask")
    page.click("#grow-auto")
    assert page.evaluate("() => window.inpaint.erase.editor.drawing.value.grow") is None


def test_clearing_strokes_keeps_the_photo_and_every_step_can_be_undone(page: Any) -> None:
    choose(page, EXAMPLE)
    use_telea(page)
    paint(page)
    paint(page, (0.6, 0.3), (0.7, 0.3))
    page.click("#mask")
    page.click("#clear")
    assert state(page)["operations"] == [] and page.is_visible("#dock")
    page.keyboard.press("Control+z")
    assert len(state(page)["operations"]) == 2
    erase(page)
    filled = seen(page)
    first = state(page)["fill"]
    page.keyboard.press("Control+z")  # the fill: its marks are back, to be touched up
    page.wait_for_function("window.inpaint.erase.state.fill === null")
    assert len(state(page)["operations"]) == 2
    page.keyboard.press("Control+Shift+z")
    page.wait_for_function(f"window.inpaint.erase.state.fill === '{first}'")
    assert np.abs(seen(page) - filled).max() == 0
    page.keyboard.press("i")
    assert state(page)["operations"][-1]["kind"] == "invert"


def test_the_first_erase_shows_its_progress_can_be_cancelled_and_is_not_queued_twice(page: Any) -> None:
    choose(page, EXAMPLE)
    paint(page, (0.1, 0.2), (0.9, 0.8))
    posts = []
    page.on("request", lambda request: request.method == "POST" and posts.append(request.url))
    page.evaluate("() => { const run = document.querySelector('#run'); run.click(); run.click(); }")
    page.wait_for_selector("#working", state="visible")
    assert page.is_disabled("#run")
    page.keyboard.press("Enter")
    page.wait_for_selector("#cancel", state="visible")
    page.click("#cancel")
    page.wait_for_selector("#working", state="hidden")
    assert len(posts) == 1
    assert state(page)["fill"] is None and len(state(page)["operations"]) == 1  # as before
    use_telea(page)
    erase(page)  # and the server takes the next


def test_the_result_is_where_one_painted_and_the_photo_fills_the_window(page: Any, tmp_path: Path) -> None:
    choose(page, write_photo(tmp_path / "portrait.jpg", 3000, 4000))  # 12 megapixels
    top, bottom = spot(page, 0, 0)[1], spot(page, 0, 1)[1]
    assert bottom - top > 0.8 * 900 - 50 and bottom <= 900
    before = seen(page)
    use_telea(page)
    paint(page, (0.45, 0.45), (0.6, 0.5))
    painted = seen(page)
    tint = np.abs(painted - before).sum(axis=2) > 30
    red = painted[tint].mean(axis=0) - before[tint].mean(axis=0)
    assert red[0] > 0 and painted[tint].std() > 3  # translucent: the photo shows through
    erase(page)
    after = seen(page)
    rows, columns = np.nonzero(tint)
    inside = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    assert (np.abs(after - before).sum(axis=2)[inside] > 6).any()
    assert not page.evaluate("document.documentElement.scrollHeight > innerHeight + 1")


def test_after_the_photo_only_strokes_travel(page: Any, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "large.jpg", 4000, 3000)
    choose(page, photo)
    sent = []
    page.on("request", lambda request: sent.append(len(request.post_data_buffer or b"")))
    use_telea(page)
    for x in (0.2, 0.5, 0.8):
        paint(page, (x, 0.4), (x + 0.05, 0.5))
        erase(page)
    assert 0 < sum(sent) < 10_000 < photo.stat().st_size


def test_results_are_kept_compared_continued_and_removed(page: Any, tmp_path: Path) -> None:
    choose(page, EXAMPLE)
    use_telea(page)
    page.click("#model")
    page.check("#auto")
    page.keyboard.press("Escape")
    paint(page, (0.2, 0.3), (0.3, 0.35))  # erased as the brush is lifted
    page.wait_for_function("document.querySelectorAll('.result').length === 2")
    first = seen(page)
    page.click("[aria-label='Go on from Photo']")
    page.wait_for_function("window.inpaint.erase.state.fill === null")
    paint(page, (0.6, 0.6), (0.7, 0.65))
    page.wait_for_function("document.querySelectorAll('.result').length === 3")
    second = seen(page)
    page.click("[aria-label='Compare with Result 1']")
    both = seen(page)
    middle = round(spot(page, 0.5, 0)[0] - page.locator("#stage").bounding_box()["x"])
    rows = slice(80, -120)
    assert np.abs(both[rows, : middle - 20] - first[rows, : middle - 20]).max() <= 2
    assert np.abs(both[rows, middle + 20 : -20] - second[rows, middle + 20 : -20]).max() <= 2
    assert np.abs(first[rows] - second[rows]).max() > 5
    page.locator("[aria-label=Keep]").first.click()
    assert page.locator("[aria-label='Remove Result 1']").count() == 0
    page.click("[aria-label='Go on from Result 1']")
    page.click("[aria-label='Remove Result 2']")
    page.wait_for_function("document.querySelectorAll('.result').length === 2")
    page.wait_for_function("window.inpaint.erase.state.fill !== null")
    after = Image.open(download(page, tmp_path))
    _, _, right, bottom = changed_box(read_image(EXAMPLE), after)
    assert right < 0.4 * 768 and bottom < 0.5 * 512


def test_the_same_marks_are_filled_with_another_model(page: Any) -> None:
    choose(page, EXAMPLE)
    use_telea(page)
    paint(page)
    erase(page)
    page.click("#model")
    page.click("#models button[title^='lama-small.']")
    page.click("#again")
    page.wait_for_function("document.querySelectorAll('.result').length === 3")
    fills = page.evaluate(
        "() => window.inpaint.erase.photo.fills.map(({ model, parent, box }) => [model, parent, box])"
    )
    (first, *same), (second, *others) = fills
    assert (first, second) == ("opencv-telea", "lama-small") and same == others and same[0] is None


def test_holding_a_key_shows_the_photo_as_it_was(page: Any) -> None:
    choose(page, EXAMPLE)
    before = seen(page)
    use_telea(page)
    paint(page)
    erase(page)
    page.wait_for_timeout(200)
    after = seen(page)
    page.keyboard.down("c")
    box = (slice(80, -120), slice(20, -20))
    assert np.abs(seen(page)[box] - before[box]).max() == 0
    page.keyboard.up("c")
    assert np.abs(seen(page)[box] - after[box]).max() == 0


def test_the_wheel_zooms_space_drags_and_keys_size_the_brush(page: Any) -> None:
    choose(page, EXAMPLE)
    view = "() => ({ ...window.inpaint.erase.editor.view, brush: window.inpaint.erase.editor.brush })"
    start = page.evaluate(view)
    x, y = spot(page, 0.3, 0.4)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    zoomed = page.evaluate(view)
    assert zoomed["scale"] > 1.4 * start["scale"]
    assert np.allclose(spot(page, 0.3, 0.4), (x, y), atol=1)  # the place under the pointer stays
    page.keyboard.down("Space")
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=3)
    page.mouse.up()
    page.keyboard.up("Space")
    assert np.allclose(spot(page, 0.3, 0.4), (x + 60, y + 30), atol=1)
    assert state(page)["operations"] == []
    page.keyboard.press("]")
    larger = page.evaluate(view)["brush"]
    assert larger == pytest.approx(1.25 * start["brush"])
    page.keyboard.down("Alt")
    page.mouse.wheel(0, 300)
    page.keyboard.up("Alt")
    assert page.evaluate(view)["brush"] < larger
    paint(page, (0.3, 0.4), (0.35, 0.4))  # strokes fall where they are painted at any zoom
    assert abs(state(page)["operations"][0]["points"][0][0] - 0.3 * 768) < 2
    page.keyboard.press("0")
    assert page.evaluate(view)["scale"] == pytest.approx(start["scale"])


def test_a_photo_is_pasted_or_dropped(page: Any, tmp_path: Path) -> None:
    noise(60, 80).save(tmp_path / "a.png")
    content = list((tmp_path / "a.png").read_bytes())
    script = """([content, kind]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(content)], `${kind}.png`, { type: 'image/png' }));
        const options = { bubbles: true, cancelable: true };
        const event = kind === 'paste'
            ? new ClipboardEvent('paste', { ...options, clipboardData: data })
            : new DragEvent('drop', { ...options, dataTransfer: data });
        document.querySelector('#stage canvas').dispatchEvent(event);
    }"""
    for kind in ("paste", "drop"):
        page.evaluate(script, [content, kind])
        page.wait_for_function(f"window.inpaint.erase.photo?.name === '{kind}.png'")


def test_reload_brings_the_work_back(page: Any) -> None:
    choose(page, EXAMPLE)
    use_telea(page)
    paint(page, (0.2, 0.3), (0.3, 0.35))
    erase(page)
    paint(page, (0.6, 0.6), (0.7, 0.65))
    before, history = seen(page), state(page)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert state(page) == history
    assert np.abs(seen(page) - before).max() == 0
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.wait_for_function("window.inpaint.erase.state.fill === null")


def test_a_rough_box_and_a_scribble_select_an_object(page: Any, tmp_path: Path) -> None:
    pixels = np.full((600, 900, 3), (70, 120, 90), np.uint8)
    cv2.ellipse(pixels, (450, 300), (150, 90), 15, 0, 360, (210, 70, 60), -1)
    pixels = np.clip(pixels + np.random.default_rng(0).normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "object.png")
    truth = np.zeros((600, 900), np.uint8)
    cv2.ellipse(truth, (450, 300), (150, 90), 15, 0, 360, 1, -1)
    choose(page, tmp_path / "object.png")
    page.evaluate("() => window.inpaint.erase.setGrow(0)")
    hints = {"box": ((0.29, 0.28), (0.71, 0.72)), "scribble": ((0.42, 0.46), (0.58, 0.54))}
    for tool, (start, end) in hints.items():
        page.click(f"[data-tool={tool}]")
        paint(page, start, end)
        page.wait_for_function("window.inpaint.erase.state.operations.length === 1")
        page.wait_for_selector("#working", state="hidden")
        found = save_mask(page, tmp_path)
        assert (found & (truth > 0)).sum() / (found | (truth > 0)).sum() > 0.93, tool
        page.keyboard.press("Delete")
    choose(page, EXAMPLE)  # a real one: the largest cloud
    page.click("[data-tool=box]")
    paint(page, (0.35, 0.36), (0.56, 0.49))
    page.wait_for_function("window.inpaint.erase.state.operations.length === 1")
    page.wait_for_selector("#working", state="hidden")
    keep_screenshot(page, "select")
    cloud = save_mask(page, tmp_path)
    assert 0.002 < cloud.mean() < 0.03


def test_a_turned_phone_photo(page: Any, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = tmp_path / "phone.jpg"
    Image.open(EXAMPLE).save(photo, exif=exif, quality=95)
    choose(page, photo)
    use_telea(page)
    paint(page)
    marked = save_mask(page, tmp_path)
    erase(page)
    result, upright = read_image(download(page, tmp_path)), read_image(photo)
    assert result.size == upright.size == (512, 768)
    assert not (np.asarray(result) != np.asarray(upright)).any(axis=2)[~marked].any()
    assert Image.open(download(page, tmp_path, "#save-same")).format == "JPEG"


def test_a_photo_of_48_megapixels_is_sharp_and_paintable(page: Any, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "huge.bmp", 8000, 6000)
    choose(page, photo)
    use_telea(page)
    page.mouse.move(*spot(page, 0.5, 0.5))
    for _ in range(6):
        page.mouse.wheel(0, -500)
    with page.expect_response(lambda answer: "/view?" in answer.url and "width=" in answer.url):
        page.wait_for_timeout(300)
    x, y = page.evaluate(
        "() => { const e = window.inpaint.erase.editor; return [e.size.width/2, e.size.height/2]; }"
    )
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + x + 60, box["y"] + y + 20, steps=4)
    page.mouse.up()
    radius = state(page)["operations"][0]["radius"]
    assert radius < 60  # of the photo's pixels: fine work where one zoomed in
    erase(page)
    path = download(page, tmp_path, "#save-same")
    assert path.name == "huge-filled.bmp"
    left, top, right, bottom = changed_box(Image.open(photo), Image.open(path))
    assert 5 < right - left < 600 and 5 < bottom - top < 600


def test_a_first_visit_is_guided_and_escape_closes_menus(visit: Any, tmp_path: Path) -> None:
    page = visit(1280, 844, color_scheme="dark")
    pages = [noise(60, 90, seed=seed) for seed in range(2)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    choose(page, tmp_path / "scan.tif")
    assert "2 pages or frames. The first is shown" in page.inner_text(".toast")
    assert page.inner_text("#hint") == "Paint over what should go, then press Erase"
    page.keyboard.press("r")
    assert page.inner_text("#hint") == "Draw a box around an object to select it"
    page.mouse.click(*spot(page, 0.5, 0.5))  # a click without the network for it
    assert "Draw a box around an object" in page.inner_text(".toast")
    page.keyboard.press("b")
    paint(page)
    assert page.is_hidden("#hint")
    for menu in ("mask", "model", "help", "download"):
        page.click(f"#{menu}")
        assert page.is_visible(f"#{menu}-menu")
        page.keyboard.press("Escape")
        assert page.is_hidden(f"#{menu}-menu")
        page.click(f"#{menu}")
        page.click(f"#{menu}")  # its own button closes it, too
        assert page.is_hidden(f"#{menu}-menu")
    page.set_input_files("#mask-file", str(tmp_path / "scan.tif"))
    page.wait_for_function("window.inpaint.erase.state.operations.length === 2")
    assert "the mask looks like the photo itself" in page.inner_text(".toast").lower()
    assert len(state(page)["operations"]) == 2


def test_the_whole_way_with_a_finger(visit: Any, tmp_path: Path) -> None:
    page = visit(390, 844, color_scheme="light", has_touch=True, is_mobile=True)
    assert page.is_hidden(".fine") and page.is_hidden("#help")  # nobody drops files or presses keys here
    choose(page, EXAMPLE)
    assert "Two fingers zoom" in page.inner_text("#hint")
    fingers = Fingers(page)
    before = seen(page)
    page.tap("#model")
    page.tap("#models button:has-text('Without AI')")
    fingers.draw(spot(page, 0.3, 0.4), spot(page, 0.5, 0.5))
    page.tap("#mask")
    page.locator("#grow").fill("10")
    page.touchscreen.tap(200, 300)  # beside the menu: it closes, and nothing is painted
    assert page.is_hidden("#mask-menu") and len(state(page)["operations"]) == 1
    page.tap("#run")
    page.wait_for_selector(".result:nth-child(2)")
    page.wait_for_selector("#working", state="hidden")
    after = seen(page)
    assert np.abs(after - before).max() > 20
    box = page.locator("#compare").bounding_box()
    fingers.send("touchStart", (box["x"] + 20, box["y"] + 20))
    assert np.abs(seen(page)[150:] - before[150:]).max() <= 2  # as it was, while the eye is held
    fingers.send("touchEnd")
    page.tap("#slider")
    fingers.draw(spot(page, 0.5, 0.5), spot(page, 0.1, 0.5))
    assert page.evaluate("() => window.inpaint.erase.editor.divider") == pytest.approx(0.1, abs=0.05)
    page.tap("#slider")
    page.tap("#undo")
    page.wait_for_function("window.inpaint.erase.state.fill === null")
    page.tap("#redo")
    page.wait_for_function("window.inpaint.erase.state.fill !== null")
    page.tap("#download")
    with page.expect_download() as started:
        page.tap("#save-same")
    assert started.value.suggested_filename == "photo-filled.jpg"


CONTRASTS = """() => {
    const pixel = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => (v <= 0.04 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const found = [];
    for (const one of document.querySelectorAll('body *')) {
        const text = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!text || !one.checkVisibility() || one.closest(':disabled, svg, option')) continue;
        pixel.fillStyle = '#fff';
        const layers = [];
        for (let at = one; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
        const colours = [...layers, getComputedStyle(one).color].map((colour, index, all) => {
            pixel.fillStyle = colour;
            pixel.fillRect(0, 0, 1, 1);
            return [...pixel.getImageData(0, 0, 1, 1).data];
        });
        const [low, high] = colours.slice(-2).map(light).sort((a, b) => a - b);
        const ratio = (high + 0.05) / (low + 0.05);
        if (ratio < 4.5) found.push([one.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(visit: Any, scheme: str) -> None:
    page = visit(1280, 844, color_scheme=scheme)
    assert page.evaluate(CONTRASTS) == []
    choose(page, EXAMPLE)
    paint(page)
    for menu in ("mask", "model", "help", "download"):
        page.click(f"#{menu}")
        assert page.evaluate(CONTRASTS) == [], menu
        page.keyboard.press("Escape")
    for kind in ("", "bad", "warning"):
        page.evaluate(f"import('./static/ui.js').then((ui) => ui.toast('Something happened', '{kind}'))")
        page.wait_for_selector(".toast")
        assert page.evaluate(CONTRASTS) == [], kind
    for tab in ("batch", "inspect", "backbones"):
        page.click(f"[data-tab={tab}]")
        assert page.evaluate(CONTRASTS) == [], tab


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_targets_are_large(visit: Any, width: int, scheme: str) -> None:
    phone = width == 390
    page = visit(width, 844, color_scheme=scheme, has_touch=phone, is_mobile=phone)
    choose(page, EXAMPLE)
    use_telea(page)
    paint(page, (0.3, 0.6), (0.5, 0.7))
    erase(page)
    if phone and scheme == "dark":
        keep_screenshot(page, "phone")
    for tab in ("erase", "batch", "inspect", "backbones"):
        page.click(f"[data-tab={tab}]")
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = page.evaluate(
            """() => [...document.querySelectorAll('button, select, summary, input[type=range]')]
                .filter((one) => one.offsetParent)
                .map((one) => [one.ariaLabel || one.textContent, one.offsetWidth, one.offsetHeight])"""
        )
        small = [
            size
            for size in sizes
            if min(size[2], size[1] if "range" not in size[0] else 99) < (44 if phone else 30)
        ]
        assert small == [], tab
    boxes = page.evaluate(
        """() => ['dock', 'strip'].map((id) => document.getElementById(id))
            .map((one) => [one.offsetTop, document.querySelector('#stage').offsetHeight])"""
    )
    assert not phone or all(top == 0 or top >= height for top, height in boxes)  # no toolbar over the photo


def test_fingers_paint_pinch_and_pan(visit: Any) -> None:
    page = visit(390, 844, has_touch=True, is_mobile=True)
    choose(page, EXAMPLE)
    fingers = Fingers(page)
    send = fingers.send
    fingers.draw(spot(page, 0.3, 0.4), spot(page, 0.5, 0.5))
    (stroke,) = state(page)["operations"]
    assert abs(stroke["points"][0][0] - 0.3 * 768) < 6 and abs(stroke["points"][-1][1] - 0.5 * 512) < 12
    scale = "() => window.inpaint.erase.editor.view.scale"
    before = page.evaluate(scale)
    x, y = spot(page, 0.5, 0.5)
    send("touchStart", (x - 30, y))
    send("touchStart", (x - 30, y), (x + 30, y))
    for apart in (40, 60, 80):
        send("touchMove", (x - apart, y), (x + apart, y))
    send("touchEnd", (x - 80, y))
    send("touchMove", (x - 20, y + 40))  # one finger left over paints nothing
    send("touchEnd")
    assert page.evaluate(scale) > 2 * before
    assert len(state(page)["operations"]) == 1
    assert json.dumps(state(page))  # and the state can be stored
