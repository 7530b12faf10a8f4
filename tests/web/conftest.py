from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inpaint.web.fills import Fills
from inpaint.web.photos import Limits
from inpaint.web.service import Service
from tests.web.browser import BROWSER, PATIENCE, SWITCHES


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(Fills("cpu"), Limits(), tmp_path / "desk")
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
    pytest.importorskip("gradio")
    from inpaint.web.server import serve

    app, service, address = serve(port=None, device="cpu", block=False)
    yield address
    app.close()
    service.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("no Chromium here: install the package chromium to run the browser tests")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=SWITCHES)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    opened.requested = []
    opened.on("request", lambda request: opened.requested.append(request.url))
    opened.goto(url)
    opened.wait_for_selector("#photo")
    yield opened
    context.close()
