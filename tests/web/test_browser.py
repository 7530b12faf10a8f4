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
from tests.web.conftest import noise, serving

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
    page.locator("[aria-label^=Keep]").first.click()
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


def test_the_model_is_chosen_by_keys(page: Any) -> None:
    choose(page, EXAMPLE)
    page.focus("#model")
    page.keyboard.press("Enter")
    focused = "document.activeElement.getAttribute('title').split('.')[0]"
    page.wait_for_function("document.activeElement.matches('#models [aria-checked=true]')")
    first = page.evaluate(focused)
    page.keyboard.press("ArrowUp")  # around the end
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == first
    page.keyboard.press("ArrowDown")
    second = page.evaluate(focused)
    assert second != first
    page.keyboard.press("Enter")
    page.wait_for_selector("#model-menu", state="hidden")
    assert page.evaluate("window.inpaint.erase.model") == second
    assert page.evaluate("document.activeElement.id") == "model"
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.matches('#models [aria-checked=true]')")
    assert page.evaluate(focused) == second


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


def test_strokes_painted_during_a_fill_are_marked_on_its_result(page: Any) -> None:
    choose(page, EXAMPLE)
    use_telea(page)
    held: list[Any] = []
    page.route("**/fills", lambda route: held.append(route), times=1)  # until it is let through
    paint(page, (0.2, 0.3), (0.3, 0.35))
    page.click("#run")
    paint(page, (0.6, 0.6), (0.7, 0.65))
    page.keyboard.press("i")  # would mark what is being filled
    (first, second) = state(page)["operations"]
    held.pop().continue_()
    page.wait_for_function("window.inpaint.erase.state.fill !== null")
    assert state(page)["operations"] == [second]
    assert page.evaluate("() => window.inpaint.erase.photo.fills[0].box.right") < 0.5 * 768
    for marks in ([], [first]):  # backwards: the stroke, then the fill
        page.keyboard.press("Control+z")
        page.wait_for_function(f"window.inpaint.erase.state.operations.length === {len(marks)}")
        assert state(page)["operations"] == marks
    page.evaluate("() => document.querySelector('#auto').click()")
    page.route("**/fills", lambda route: held.append(route), times=1)
    page.click("#run")
    paint(page, (0.6, 0.6), (0.7, 0.65))
    held.pop().continue_()
    # That one, and the next by itself.
    page.wait_for_function("document.querySelectorAll('.result').length === 4")
    page.wait_for_selector("#working", state="hidden")
    assert state(page)["operations"] == []
    assert page.evaluate("() => window.inpaint.erase.photo.fills[2].parent") == page.evaluate(
        "() => window.inpaint.erase.photo.fills[1].id"
    )


def test_keys_press_the_focused_button_and_are_shortcuts_after_a_click(page: Any) -> None:
    choose(page, EXAMPLE)
    use_telea(page)
    posts = []
    page.on("request", lambda request: request.method == "POST" and posts.append(request.url))
    paint(page)
    page.focus("#undo")
    page.keyboard.press("Enter")
    page.wait_for_function("window.inpaint.erase.state.operations.length === 0")
    page.focus("[data-tool=eraser]")
    page.keyboard.press("Space")
    assert page.evaluate("() => window.inpaint.erase.editor.tool") == "eraser"
    page.focus("#download")
    page.keyboard.press("Enter")
    assert page.is_visible("#download-menu") and posts == []
    page.keyboard.press("Escape")
    page.click("[data-tool=brush]")
    paint(page)
    page.keyboard.press("Enter")  # erases: a click on a tool leaves the keys alone
    page.wait_for_selector(".result:nth-child(2)")
    page.wait_for_selector("#working", state="hidden")
    assert len(posts) == 1
    comparing = "() => window.inpaint.erase.editor.comparing"
    for key in ("Enter", "Space"):
        page.focus("#compare")
        page.keyboard.down(key)
        assert page.evaluate(comparing)
        page.keyboard.up(key)
        assert not page.evaluate(comparing)


def test_a_large_photo_stays_sharp_also_where_it_is_compared(page: Any, tmp_path: Path) -> None:
    choose(page, write_photo(tmp_path / "large.png", 3000, 2250))
    use_telea(page)
    page.mouse.move(*spot(page, 0.5, 0.5))
    for _ in range(4):
        page.mouse.wheel(0, -400)
    sharp = "window.inpaint.erase.editor.now.detail !== null"
    page.wait_for_function(sharp)
    inner = (slice(120, -150), slice(60, -160))
    original = seen(page)[inner]
    for place in (0.48, 0.52):  # the second fill goes on from the first
        paint(page, (place, 0.49), (place + 0.01, 0.52))
        assert page.evaluate(f"() => {sharp}")
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+Shift+z")
        assert page.evaluate(f"() => {sharp}")
        erase(page)
        page.wait_for_function(sharp)
    assert np.abs(seen(page)[inner] - original).max() > 5
    sharp_before = "window.inpaint.erase.editor.before.detail !== null"
    page.keyboard.down("c")
    page.wait_for_function(sharp_before)
    assert np.abs(seen(page)[inner] - original).max() == 0
    page.keyboard.up("c")
    page.click("#slider")
    page.wait_for_function(sharp_before)
    half = inner[0], slice(60, 500)
    assert np.abs(seen(page)[half] - original[:, : 500 - 60]).max() == 0


def test_tabs_keep_their_own_work_and_a_lost_photo_is_told(page: Any, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        noise(60, 80, seed=seed).save(tmp_path / f"{name}.png")
    name = "() => window.inpaint.erase.photo.name"
    choose(page, tmp_path / "a.png")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector("body[data-ready]")
    assert other.evaluate(name) == "a.png"  # a new tab goes on from what was saved last
    choose(other, tmp_path / "b.png")
    for tab, expected in ((page, "a.png"), (other, "b.png")):
        tab.reload()
        tab.wait_for_selector("body[data-ready]")
        assert tab.evaluate(name) == expected
        assert tab.title() == f"{expected} \N{EN DASH} Inpaint"
    other.close()
    page.route("**/api/photos/*", lambda route: route.fulfill(status=410, json={"error": "gone"}))
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert "no longer on the server" in page.inner_text(".toast") and page.is_visible("#start")


def test_a_photo_that_the_server_lost_is_uploaded_again(visit: Any, tmp_path: Path) -> None:
    with serving() as server:
        page = visit(address=server.url)
        photos = server.service.workspace._photos
        choose(page, EXAMPLE)
        use_telea(page)
        paint(page)
        photos.clear()  # as if it was started again
        erase(page)
        assert page.locator(".toast").count() == 0
        paint(page, (0.6, 0.6), (0.7, 0.65))
        photos.clear()
        page.click("#run")
        page.wait_for_selector(".toast.bad:has-text('It is open again, with the strokes you painted')")
        assert len(state(page)["operations"]) == 1 and state(page)["fill"] is None
        erase(page)


def test_erase_needs_marks_on_the_photo(page: Any) -> None:
    choose(page, EXAMPLE)
    beside = page.locator("#stage").bounding_box()
    x, y = beside["x"] + 2, spot(page, 0, 0.5)[1]
    page.evaluate("() => window.inpaint.erase.editor.setBrush(3)")
    page.keyboard.press("-")  # there is room beside the photo now
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 50, steps=3)
    page.mouse.up()
    assert state(page)["operations"] == [] and page.is_disabled("#undo")
    page.evaluate("() => window.inpaint.erase.editor.setBrush(20)")
    paint(page)
    assert page.is_enabled("#run")
    page.click("[data-tool=eraser]")
    paint(page)
    page.wait_for_selector("#run:disabled")
    assert len(state(page)["operations"]) == 2


def test_a_stroke_on_a_large_photo_costs_its_own_box_and_looks_as_if_all_were_drawn(
    page: Any, tmp_path: Path
) -> None:
    choose(page, write_photo(tmp_path / "large.jpg", 6000, 4000))
    drawing = "window.inpaint.erase.editor.drawing"
    page.evaluate(
        """() => {
            const read = CanvasRenderingContext2D.prototype.getImageData;
            CanvasRenderingContext2D.prototype.getImageData = function (...box) {
                window.area = box[2] * box[3];
                return read.apply(this, box);
            };
        }"""
    )
    look = f"() => [{drawing}.canvas, {drawing}.grown].map((canvas) => canvas.toDataURL())"

    def shown() -> list[np.ndarray]:
        urls = [base64.b64decode(url.partition(",")[2]) for url in page.evaluate(look)]
        return [np.asarray(Image.open(io.BytesIO(url)).getchannel("A")).astype(int) for url in urls]

    page.evaluate("() => window.inpaint.erase.editor.setBrush(40)")
    paint(page, (0.1, 0.1), (0.3, 0.2))
    paint(page, (0.7, 0.7), (0.8, 0.8))
    assert page.evaluate("() => window.area") < 0.1 * 2048 * 1365
    page.keyboard.press("e")
    paint(page, (0.2, 0.1), (0.25, 0.2))
    page.keyboard.press("b")
    paint(page, (0.25, 0.15), (0.3, 0.3))
    page.keyboard.press("Control+z")
    page.wait_for_function("window.inpaint.erase.state.operations.length === 3")
    piecewise = shown()
    page.evaluate(f"() => {drawing}.redraw()")
    for one, other in zip(piecewise, shown(), strict=True):
        assert other.any() and (np.abs(one - other) > 60).sum() < 50  # a few pixels of the soft rim


DROP = """([content, name]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([new Uint8Array(content)], name, { type: 'image/png' }));
    const event = new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer });
    document.querySelector('#stage canvas').dispatchEvent(event);
}"""


def test_another_photo_can_be_left_again_and_a_mask_be_dropped(page: Any, tmp_path: Path) -> None:
    noise(60, 80).save(tmp_path / "new.png")
    choose(page, EXAMPLE)
    use_telea(page)
    paint(page, (0.2, 0.3), (0.3, 0.35))
    erase(page)
    mask = np.zeros((512, 768), np.uint8)
    mask[200:260, 400:500] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    page.evaluate(DROP, [list((tmp_path / "mask.png").read_bytes()), "mask.png"])
    page.wait_for_selector(".toast:has-text('Open it as a photo')")
    page.wait_for_function("window.inpaint.erase.state.operations.length === 1")
    page.click(".toast")
    before, history = seen(page), state(page)
    page.evaluate(DROP, [list((tmp_path / "new.png").read_bytes()), "new.png"])
    page.wait_for_selector(".toast:has-text('Opened new.png')")
    assert page.locator(".result").count() == 1
    page.click(".toast button:has-text('Back to photo.jpg')")
    page.wait_for_selector(".result:nth-child(2)")
    page.wait_for_function("window.inpaint.erase.state.operations.length === 1")
    assert state(page) == history and np.abs(seen(page) - before).max() == 0
    page.evaluate("import('./static/ui.js').then((ui) => ui.toast('About this photo', 'bad'))")
    page.wait_for_selector(".toast")
    page.evaluate("() => window.inpaint.erase.goTo(null)")
    page.keyboard.press("Delete")
    page.click("[aria-label='Remove Result 1']")
    page.wait_for_function("document.querySelectorAll('.result').length === 1")
    page.click(".toast button:has-text('Undo')")
    page.wait_for_function("document.querySelectorAll('.result').length === 2")
    page.click("[aria-label='Go on from Result 1']")
    page.wait_for_function("window.inpaint.erase.state.fill !== null")


def test_messages_are_seen_and_end_with_the_photo(page: Any, tmp_path: Path) -> None:
    noise(60, 80).save(tmp_path / "new.jpg")
    page.evaluate("import('./static/ui.js').then((ui) => ui.toast('About nothing', 'bad'))")
    page.wait_for_selector(".toast")
    choose(page, tmp_path / "new.jpg")
    assert page.locator(".toast").count() == 0
    page.click("#model")
    page.locator("#models button:has-text('not here')").first.click()
    assert page.is_hidden("#model-menu") and "not on this server" in page.inner_text(".toast")
    use_telea(page)
    paint(page)
    erase(page)
    paint(page, (0.6, 0.6), (0.7, 0.7))
    with page.expect_download():  # which may come when the message is gone
        page.keyboard.press("Control+s")
        page.wait_for_selector(".toast:has-text('Downloaded. What is marked now is not erased yet')")
    page.route("**/download?*", lambda route: route.fulfill(json={"notes": ["the JPEG is new"]}), times=1)
    with page.expect_download():
        page.keyboard.press("Control+s")
        page.wait_for_selector(".toast:has-text('in the file as it was. The JPEG is new.')")


def test_keys_that_are_let_go_in_another_window_do_not_stick(page: Any) -> None:
    choose(page, EXAMPLE)
    use_telea(page)
    paint(page)
    erase(page)
    page.keyboard.down("Space")
    page.keyboard.down("c")
    held = "() => [window.inpaint.erase.editor.spaceHeld, window.inpaint.erase.editor.comparing]"
    assert page.evaluate(held) == [True, True]
    page.evaluate("() => window.dispatchEvent(new Event('blur'))")
    assert page.evaluate(held) == [False, False]


def test_the_brush_is_shown_while_it_is_sized_kept_over_a_reload_and_draws_straight_lines(page: Any) -> None:
    choose(page, EXAMPLE)
    before = seen(page)
    page.locator("#size").fill("60")
    after = seen(page)
    columns = np.nonzero(np.abs(after - before)[:-100].max(axis=(0, 2)) > 20)[0]
    brush = page.evaluate("() => window.inpaint.erase.editor.brush")
    middle = before.shape[1] / 2
    assert abs(columns.min() - (middle - brush)) < 4 and abs(columns.max() - (middle + brush)) < 4
    page.wait_for_timeout(1000)
    assert np.abs(seen(page) - before)[:-100].max() == 0
    page.evaluate("() => document.querySelector('#auto').click()")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate("() => window.inpaint.erase.editor.brush") == pytest.approx(brush)
    assert page.evaluate("() => document.querySelector('#auto').checked")
    page.evaluate("() => document.querySelector('#auto').click()")
    page.mouse.click(*spot(page, 0.2, 0.3))
    page.keyboard.down("Shift")
    page.mouse.click(*spot(page, 0.6, 0.5))
    page.keyboard.up("Shift")
    (start, end) = state(page)["operations"][1]["points"]
    assert np.allclose([start, end], [[0.2 * 768, 0.3 * 512], [0.6 * 768, 0.5 * 512]], atol=2)
    for _ in range(30):
        page.keyboard.press("]")
    assert page.input_value("#size") == "100"
    largest = page.evaluate("() => window.inpaint.erase.editor.brush")
    page.locator("#size").fill("100")
    assert page.evaluate("() => window.inpaint.erase.editor.brush") == pytest.approx(largest)


def test_the_photo_cannot_be_lost_out_of_sight(page: Any) -> None:
    choose(page, EXAMPLE)
    editor = "window.inpaint.erase.editor"
    fitted = page.evaluate(f"() => {editor}.view.scale")
    width, height = page.evaluate(f"() => [{editor}.size.width, {editor}.size.height]")
    box = page.locator("#stage").bounding_box()
    for dx, dy in ((9000, 9000), (-20000, -20000)):
        page.evaluate(f"() => {editor}.pan({dx}, {dy})")
        left, top = spot(page, 0, 0)
        right, bottom = spot(page, 1, 1)
        seen_width = min(right, box["x"] + width) - max(left, box["x"])
        seen_height = min(bottom, box["y"] + height) - max(top, box["y"])
        assert seen_width >= 63 and seen_height >= 63
    for _ in range(30):
        page.keyboard.press("-")
    assert page.evaluate(f"() => {editor}.view.scale") == pytest.approx(fitted / 2)


def test_a_visit_without_a_server_tries_again(page: Any) -> None:
    page.route("**/api/settings", lambda route: route.abort())
    page.reload()
    page.wait_for_selector(".toast.bad")
    page.evaluate("() => document.querySelector('.toast').click()")
    page.click("#choose")
    page.wait_for_selector(".toast.bad")  # still without
    page.unroute("**/api/settings")
    with page.expect_file_chooser():
        page.click("#choose")
    page.wait_for_selector("body[data-ready]")
