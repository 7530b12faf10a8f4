"""Look inside and Backbones in a real browser."""

from pathlib import Path
from typing import Any

import pytest

from tests.web.browser import (
    EXAMPLE,
    choose,
    erase_and_look_inside,
    keep_screenshot,
    paint,
    pick,
    point_and_imagine,
)

pytest.importorskip("gradio")
pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_look_inside(page: Any, tmp_path: Path) -> None:
    choose(page, EXAMPLE)
    paint(page)
    erase_and_look_inside(page)
    page.click("#look")
    page.wait_for_selector("#points img", state="visible")
    point_and_imagine(page)
    page.wait_for_timeout(1500)
    keep_screenshot(page, "look-inside")


def test_look_inside_a_convolutional_prior_and_a_model_without_one(page: Any) -> None:
    pytest.importorskip("timm")
    choose(page, EXAMPLE)
    paint(page)
    pick(page, "#model", "acr-small-convnext")
    page.wait_for_selector("#model:has-text('a convolutional prior (FCMAE)')")
    erase_and_look_inside(page)
    assert page.input_value("#inside-model input") == "acr-small-convnext"  # that of the last fill
    page.click("#look")
    page.wait_for_selector("text=is a masked autoencoder made of convolutions (FCMAE)")
    for picture in ("#reconstruction", "#with-prior", "#without-prior", "#points"):
        page.wait_for_selector(f"{picture} img", state="visible")
    point_and_imagine(page)

    pick(page, "#inside-model", "lama-small")
    page.click("#look")
    page.wait_for_selector("#inside-problem:has-text('model lama-small has no prior to show')")
    assert not page.is_visible("#points")


def test_backbones_say_what_they_are_and_that_weights_are_missing(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))  # nothing was fetched before
    page.click("button[role=tab]:has-text('Backbones')")
    page.click("#backbone-run")
    page.wait_for_selector("text=choose a photo on the Erase tab first")
    page.click("button[role=tab]:has-text('Erase')")
    choose(page, EXAMPLE)
    page.click("button[role=tab]:has-text('Backbones')")
    page.click("#backbone-run")
    page.wait_for_selector("text=Random weights")
    page.wait_for_selector("#stages img", state="visible")
    said = page.inner_text("#backbone-said")
    assert "3.7 M" in said and "0.55 G" in said and "CC-BY-NC-4.0" in said
    page.wait_for_timeout(1500)
    keep_screenshot(page, "backbones")


def test_the_road_to_convnext_is_drawn_when_opened(page: Any) -> None:
    page.click("button[role=tab]:has-text('Backbones')")
    page.click("#road button")
    page.wait_for_selector("#road-chart svg[role=img]")
    texts = page.locator("#road-chart svg[role=img] text").all_text_contents()
    assert {"ResNet", "76.13", "separate downsampling", "81.97", "4.46"} <= set(texts)
