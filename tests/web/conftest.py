from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.web.browser import BROWSER, PATIENCE, SWITCHES

if find_spec("gradio") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Any]:
    from inpaint.web.fills import Fills
    from inpaint.web.service import Service

    made = Service(Fills("cpu"), None, tmp_path)
    yield made
    made.close()


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Image.Image:
    """A picture in which every pixel can be told from its neighbours."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(values.squeeze())


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    path = tmp_path / "holiday.png"
    noise(90, 120).save(path)
    return path


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from inpaint.web.server import serve

    with serve(port=0, device="cpu") as server:
        yield server.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("no Chromium here: install the package chromium to run the browser tests")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=SWITCHES)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Any]:
    """Open the page in a window of some kind; whatever goes wrong in its scripts fails the test."""
    contexts, wrong = [], []

    def open_page(width: int = 1280, height: int = 900, address: str = url, **options: Any) -> Any:
        # Playwright's waiting needs eval, which the page's own policy forbids.
        options = {"viewport": {"width": width, "height": height}, "bypass_csp": True, **options}
        context = browser.new_context(accept_downloads=True, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.requested, page.sent = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def page(visit: Any) -> Any:
    return visit()
