"""Batch, Inspect and Backbones in a real browser."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inpaint.checkpoint import save_checkpoint
from inpaint.models.presets import build_inpainter
from inpaint.weights import ModelEntry, PublishedFile, catalogue
from tests.web.browser import EXAMPLE, choose, erase, keep_screenshot, paint, save_mask, spot
from tests.web.conftest import serving
from tests.weights.server import Server as WeightsServer

pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def draw_on_first(page: Any, files: list[Path]) -> None:
    page.click("[data-tab=batch]")
    page.set_input_files("#batch-files", [str(path) for path in files])
    page.wait_for_selector(".batch-stage", state="visible")
    page.wait_for_function("window.inpaint.batch.editor.photo && window.inpaint.batch.work.offsetParent")
    canvas, before = page.locator(".batch-stage canvas"), None
    while (box := canvas.bounding_box()) != before:  # it moves while the list of photos grows
        before = box
        page.wait_for_timeout(200)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 10, steps=4)
    page.mouse.up()
    page.wait_for_function("window.inpaint.batch.operations.length === 1")


def test_one_mask_for_photos_of_other_sizes(page: Any, tmp_path: Path) -> None:
    files = []
    for index, (width, height) in enumerate([(320, 240), (640, 480), (200, 300)]):
        files.append(tmp_path / f"shot-{index}.png")
        Image.open(EXAMPLE).resize((width, height)).save(files[-1])
    (tmp_path / "broken.png").write_bytes(b"broken")
    draw_on_first(page, [*files, tmp_path / "broken.png"])
    page.locator("#batch select").nth(1).select_option("opencv-telea")
    page.click("#batch-run")
    page.wait_for_selector("text=3 filled, 1 not")
    assert "broken.png" in page.inner_text(".batch-list .bad")
    assert page.locator(".batch-list figure[data-state=done] img").count() == 3
    keep_screenshot(page, "batch")
    with page.expect_download() as started:
        page.click("#batch-zip")
    started.value.save_as(tmp_path / "filled.zip")
    with zipfile.ZipFile(tmp_path / "filled.zip") as archive:
        assert sorted(archive.namelist()) == [f"shot-{index}-filled.png" for index in range(3)]
        for index, file in enumerate(files):
            with archive.open(f"shot-{index}-filled.png") as filled:
                before, after = np.asarray(Image.open(file)), np.asarray(Image.open(filled))
            rows, columns = np.nonzero((before != after).any(axis=2))
            height, width = before.shape[:2]
            assert 0.5 * width < columns.mean() < 0.65 * width and 0.4 * height < rows.mean() < 0.65 * height


def copies(folder: Path, count: int) -> list[Path]:
    """The example photo under several names."""
    files = [folder / f"shot-{index}.png" for index in range(count)]
    for file in files:
        Image.open(EXAMPLE).save(file)
    return files


def test_marks_of_a_batch_are_changed_by_keys_and_the_wheel_is_the_pages(page: Any, tmp_path: Path) -> None:
    draw_on_first(page, copies(tmp_path, 2))
    page.set_viewport_size({"width": 1280, "height": 500})
    marks = "window.inpaint.batch.operations.length"
    page.keyboard.press("Control+z")
    assert page.evaluate(marks) == 0 and page.is_disabled("#batch-run")
    page.keyboard.press("Control+Shift+z")
    assert page.evaluate(marks) == 1 and page.is_enabled("#batch-run")
    page.click("#batch >> text=Clear")
    page.keyboard.press("Control+z")  # not only strokes come back
    assert page.evaluate(marks) == 1
    brush = page.evaluate("window.inpaint.batch.editor.brush")
    page.keyboard.press("]")
    assert page.evaluate("window.inpaint.batch.editor.brush") == pytest.approx(1.25 * brush)
    page.wait_for_timeout(300)  # the stage has its new size
    view = page.evaluate("window.inpaint.batch.editor.view")
    page.locator(".batch-stage").hover()
    scrolled = page.evaluate("document.querySelector('#batch').scrollTop")
    page.mouse.wheel(0, 50)
    page.wait_for_function(f"document.querySelector('#batch').scrollTop > {scrolled}")
    assert page.evaluate("window.inpaint.batch.editor.view") == view and page.is_hidden("#batch >> text=Fit")
    page.locator(".batch-stage").hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function(f"window.inpaint.batch.editor.view.scale > {view['scale']}")
    page.click("#batch >> text=Fit")
    assert page.evaluate("window.inpaint.batch.editor.view") == view and page.is_hidden("#batch >> text=Fit")
    page.locator("#batch select").nth(1).select_option("opencv-telea")
    page.click("#batch h1")  # away from the list
    page.keyboard.press("Enter")
    page.wait_for_selector("text=2 filled")


def test_every_tab_of_the_browser_has_its_own_batch(page: Any, tmp_path: Path) -> None:
    other = page.context.new_page()
    for one, count in ((page, 1), (other, 2)):
        one.goto(page.url)
        one.wait_for_selector("body[data-ready]")
        draw_on_first(one, copies(tmp_path, count))
        one.locator("#batch select").nth(1).select_option("opencv-telea")
        one.click("#batch-run")
        one.wait_for_selector(f"text={count} filled")
    page.reload()
    page.click("[data-tab=batch]")
    page.wait_for_selector("#batch-told:text('1 filled')")


def test_clicks_before_the_page_is_ready_count(page: Any, tmp_path: Path) -> None:
    held: list[Any] = []
    page.route("**/api/settings", lambda route: held.append(route))
    page.reload()
    page.wait_for_function("document.querySelector('[role=tablist]')")
    page.click("#choose")
    page.click("[data-tab=batch]")
    assert page.is_visible("#batch") and page.is_hidden("#erase") and page.inner_text("#batch") == ""
    with page.expect_file_chooser() as chosen:
        held.pop().continue_()
    page.wait_for_selector("#batch h1")
    chosen.value.set_files(EXAMPLE)
    page.wait_for_function("window.inpaint.erase.opening === false")
    page.click("[data-tab=erase]")
    paint(page, (0.2, 0.2), (0.25, 0.25))
    page.wait_for_function("window.inpaint.erase.state.operations.length === 1")
    rows, columns = np.nonzero(save_mask(page, tmp_path))
    assert abs(columns.mean() - 0.225 * 768) < 12 and abs(rows.mean() - 0.225 * 512) < 12


def test_a_batch_of_before_does_not_replace_photos_chosen_meanwhile(page: Any, tmp_path: Path) -> None:
    draw_on_first(page, copies(tmp_path, 2))
    page.locator("#batch select").nth(1).select_option("opencv-telea")
    page.click("#batch-run")
    page.wait_for_selector("#batch-told:text('2 filled')")
    held: list[Any] = []
    asked = [
        f"**/api/photos/{name}"
        for name in page.evaluate("window.inpaint.batch.results.map(({ photo }) => photo.id)")
    ]
    for path in asked:
        page.route(path, lambda route: held.append(route))
    page.reload()
    page.wait_for_selector("body[data-ready]")
    draw_on_first(page, copies(tmp_path, 3))
    assert len(held) == len(asked)
    for route in held:
        route.continue_()
    page.wait_for_timeout(500)
    assert page.locator(".batch-list figure").count() == 3
    assert page.evaluate("window.inpaint.batch.operations.length") == 1


def test_a_batch_can_be_cancelled(page: Any, tmp_path: Path) -> None:
    draw_on_first(page, copies(tmp_path, 6))
    page.click("#batch-run")
    page.wait_for_selector(".batch-list figure[data-state=done]")
    page.click("#batch-cancel")
    page.wait_for_selector("text=then cancelled")
    done = page.locator(".batch-list figure[data-state=done]").count()
    assert 0 < done < 6 and page.is_visible("#batch-zip")


def test_a_batch_goes_on_without_its_page_and_is_found_again(page: Any, tmp_path: Path) -> None:
    draw_on_first(page, copies(tmp_path, 4))
    page.click("#batch-run")
    page.wait_for_selector("text=you may close this page")
    page.goto("about:blank")
    page.go_back()
    page.wait_for_selector("body[data-ready]")
    page.click("[data-tab=batch]")
    page.wait_for_selector("text=4 filled")
    assert page.locator(".batch-list figure[data-state=done] img").count() == 4
    page.reload()  # and once more, when it is over
    page.wait_for_selector("body[data-ready]")
    page.click("[data-tab=batch]")
    page.wait_for_selector("text=4 filled")
    with page.expect_download() as started:
        page.click("#batch-zip")
    started.value.save_as(tmp_path / "filled.zip")
    with zipfile.ZipFile(tmp_path / "filled.zip") as archive:
        assert len(archive.namelist()) == 4 and archive.testzip() is None


def test_a_model_and_the_selecting_network_are_fetched_by_a_click(
    visit: Any, selector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "published.safetensors", build_inpainter("lama-tiny"))
    for name in ("INPAINT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INPAINT_CACHE", str(tmp_path / "cache"))
    with WeightsServer() as weights:
        entries = []
        for name, kind, title, path in (
            ("published", "inpainter", "", tmp_path / "published.safetensors"),
            ("efficientsam-ti", "selector", "Selecting by a click", selector),
        ):
            content = weights.files[path.name] = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            file = PublishedFile(path.name, (weights.url(path.name),), digest, len(content))
            choices = ((path.name,),)
            entries.append(ModelEntry(name, kind, name, "MIT", 5, choices, files=(file,), title=title))
        read = catalogue._read_catalogue
        monkeypatch.setattr(
            catalogue, "_read_catalogue", lambda path: entries if path == catalogue.CATALOGUE else read(path)
        )
        with serving(allow_downloads=True) as server:
            page = visit(1280, 844, address=server.url, color_scheme="dark")
            choose(page, EXAMPLE)
            page.click("#model")
            page.click("#models button[title^='published.']")
            page.wait_for_selector("text=published is ready")
            paint(page)
            erase(page)
            assert page.evaluate("() => window.inpaint.erase.photo.fills[0].model") == "published"
            page.click("#mask")
            page.click("#fetch-selector")
            page.wait_for_selector("text=Selecting by a click is ready")
            page.click("[data-tool=box]")
            assert page.inner_text("#hint").endswith("or click on it")
            page.mouse.click(*spot(page, 0.3, 0.6))
            page.wait_for_function("window.inpaint.erase.state.operations.length === 1")
            rows, columns = np.nonzero(save_mask(page, tmp_path))
            assert abs(columns.mean() - 0.3 * 768) < 3 and abs(rows.mean() - 0.6 * 512) < 3
            page.click("#mask")
            assert page.is_hidden("#fetch-selector")
    assert [name for name, _ in weights.asked] == ["/published.safetensors", f"/{selector.name}"]


@pytest.mark.parametrize("model", ["acr-small", "acr-small-convnext"])
def test_inspect(page: Any, model: str) -> None:
    if model == "acr-small-convnext":
        pytest.importorskip("timm")
    page.click("[data-tab=inspect]")
    assert "Open a photo on the Erase tab first" in page.inner_text("#inspect-notice")
    page.click("[data-tab=erase]")
    choose(page, EXAMPLE)
    page.click("#model")
    page.locator(f"#models button[title^='{model}.']").click()
    paint(page, (0.6, 0.6), (0.75, 0.7))
    erase(page)
    page.click("[data-tab=inspect]")
    page.wait_for_selector("#points", state="visible")  # it starts by itself
    assert page.input_value("#inspect-model") == model  # that of the fill
    for name in ("masked", "reconstruction", "original", "with_prior", "without_prior", "difference"):
        page.wait_for_function(f"document.getElementById('see-{name}').naturalWidth > 100")
    assert "of 255 levels" in page.inner_text(".scale-ends")
    box = page.locator("#points").bounding_box()
    page.locator("#points").click(position={"x": 0.67 * box["width"], "y": 0.65 * box["height"]})
    page.wait_for_selector("#heat", state="visible")
    word = "similarity" if "convnext" in model else "attention"
    assert word in page.inner_text("#heat-told") and "in the hole" in page.inner_text("#heat-told")
    if model == "acr-small":
        averaged = page.get_attribute("#heat", "src")
        page.select_option("#layer", "2")
        page.wait_for_function(f"!document.getElementById('heat').src.endsWith('{averaged}')")
        keep_screenshot(page, "inspect")
    else:
        assert "attention" not in page.inner_text("#inspect-found .panel:last-child").lower()
    page.click("#hide")
    page.wait_for_function("document.querySelectorAll('#patches img').length === 9")
    assert [text for text in page.locator("#patches h2").all_inner_texts()] == [
        "50 % hidden", "75 % hidden", "90 % hidden",
    ]  # fmt: skip
    page.click("[data-tab=erase]")
    choose(page, EXAMPLE)  # what was found out about the last photo is gone with it
    page.click("[data-tab=inspect]")
    assert page.locator("#inspect-found *, #patches *").count() == 0


def test_backbones_side_by_side(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))  # nothing was fetched before
    choose(page, EXAMPLE)
    page.click("[data-tab=backbones]")
    for index, name in enumerate(("convnextv2_atto", "convnextv2_femto")):
        page.select_option(f"#backbone-{index}", name)
    page.click("#backbone-run")
    page.wait_for_function("document.querySelectorAll('#backbone-columns img').length === 8")
    told = page.inner_text("#backbone-columns")
    assert (
        told.count("Random weights:") == 2 and "3.7 M" in told and "0.55 G" in told and "CC-BY-NC-4.0" in told
    )
    assert told.count("random weights 0.") == 8
    assert "Run inpaint models download convnextv2_atto.fcmae_ft_in1k, or put" in told
    keep_screenshot(page, "backbones")
    page.click("[data-tab=erase]")
    page.click("[data-tab=backbones]")
    assert page.locator("#backbone-columns img").count() == 8
    page.click("[data-tab=erase]")
    choose(page, EXAMPLE)  # another photo: they are not about it
    page.click("[data-tab=backbones]")
    assert page.locator("#backbone-columns *").count() == 0


def test_the_road_to_convnext_is_drawn_when_opened(page: Any) -> None:
    pytest.importorskip("timm")
    page.click("[data-tab=backbones]")
    page.click("#road summary")
    page.wait_for_selector("#road-chart svg[role=img]")
    texts = page.locator("#road-chart svg[role=img] text").all_text_contents()
    assert {"ResNet", "76.13", "separate downsampling", "81.97", "4.46"} <= set(texts)
    box = page.locator("#road-chart svg[role=img]").bounding_box()
    assert box["width"] > 400 and box["height"] > 400
