"""The page in windows of many sizes, and what it tells those who cannot see it, in a real browser."""

from typing import Any

import pytest

from tests.web.browser import EXAMPLE, choose, erase, paint, use_telea

pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

OUTSIDE = """() => [...document.querySelectorAll('.bar button, .toolbar button, .dock button, .dock input')]
    .filter((one) => one.offsetParent)
    .filter((one) => {
        const { left, top, right, bottom } = one.getBoundingClientRect();
        return left < 0 || top < 0 || right > innerWidth || bottom > innerHeight;
    })
    .map((one) => one.ariaLabel || one.textContent)"""
PHOTO = """() => {
    const { photo, view } = window.inpaint.erase.editor;
    return [photo.preview.width * view.scale, photo.preview.height * view.scale];
}"""


@pytest.mark.parametrize("touch", [False, True])
def test_every_tool_is_in_the_window_and_the_photo_has_most_of_it(visit: Any, touch: bool) -> None:
    page = visit(1280, 844, has_touch=touch, is_mobile=touch)
    choose(page, EXAMPLE)
    use_telea(page)  # of all names the longest
    paint(page)
    erase(page)
    for width, height in [
        (320, 568), (390, 844), (560, 900), (720, 900), (740, 1000), (768, 1024), (820, 1180), (880, 900),
        (881, 900), (1280, 844), (568, 320), (667, 375), (720, 450), (844, 390), (932, 430),
    ]:  # fmt: skip
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(150)
        page.locator(".result[aria-current=true]").scroll_into_view_if_needed()
        size = width, height
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width, size
        assert page.evaluate("document.body.scrollLeft || document.querySelector('#erase').scrollLeft") == 0
        assert page.evaluate(OUTSIDE) == [], size
        wide, high = page.evaluate(PHOTO)
        assert high > height / 2 or wide > 0.75 * width, size
        run = page.locator("#run").bounding_box()
        assert width > 880 or run["x"] + run["width"] > width - 20, size  # at the right, within reach


def test_the_page_can_be_used_by_ear_and_by_keys(page: Any) -> None:
    page.evaluate(
        """() => {
            window.said = [];
            const told = () => window.said.push(document.querySelector('#said').textContent);
            new MutationObserver(told).observe(document.querySelector('#said'), { childList: true });
        }"""
    )
    choose(page, EXAMPLE)
    use_telea(page)
    paint(page)
    erase(page)
    opening, opened, erasing, erased = page.evaluate("window.said")
    assert opening == "Opening" and erasing in ("Waiting", "Starting") and opened == erased == "Finished"
    live = "[...document.querySelectorAll('[role=status], [role=alert], [aria-live]')].map((one) => one.id)"
    assert page.evaluate(live) == ["hint", "toasts", "said"]  # no line that changes all the time
    assert page.evaluate("document.querySelectorAll('svg:has(> use):not([aria-hidden=true])').length") == 0
    page.get_by_role("button", name=f"Fill with {page.inner_text('#model')}", exact=True).click()
    page.get_by_role("dialog", name="Fill with", exact=True).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("group", name="Tool", exact=True).wait_for()
    page.focus("[data-tab=erase]")
    for key, name in (("ArrowRight", "batch"), ("ArrowLeft", "erase"), ("ArrowLeft", "backbones")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.tab") == name
        page.locator(f"#{name}[role=tabpanel]").wait_for()
        assert page.locator("[aria-selected=true]").get_attribute("aria-controls") == name
