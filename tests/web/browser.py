"""What the browser tests share: the browser, and what a visitor's hand does."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 90_000  # ms, on a busy machine
EXAMPLE = Path(__file__).parents[2] / "examples" / "photo.jpg"


def choose(page: Any, photo: Path) -> None:
    page.set_input_files("#photo-file", str(photo))
    page.wait_for_selector("#dock", state="visible")
    page.wait_for_function("window.inpaint.erase.opening === false")


def spot(page: Any, x: float, y: float) -> tuple[float, float]:
    """A place on the photo, in shares of its sides, as a place on the screen."""
    left, top, width, height = page.evaluate(
        """() => {
            const { editor } = window.inpaint.erase, box = editor.canvas.getBoundingClientRect();
            const { scale, x, y } = editor.view, { width, height } = editor.photo.preview;
            return [box.left + x, box.top + y, width * scale, height * scale];
        }"""
    )
    return left + x * width, top + y * height


def paint(page: Any, start: tuple[float, float] = (0.4, 0.4), end: tuple[float, float] = (0.5, 0.48)) -> None:
    """Draw one stroke; places are shares of the photo."""
    page.mouse.move(*spot(page, *start))
    page.mouse.down()
    page.mouse.move(*spot(page, *end), steps=8)
    page.mouse.up()


class Fingers:
    """Touches of a page; places are those of the screen."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._session = page.context.new_cdp_session(page)

    def send(self, kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    def draw(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With one finger, from here to there."""
        self.send("touchStart", start)
        for share in (0.25, 0.5, 0.75, 1):
            (x0, y0), (x1, y1) = start, end
            self.send("touchMove", (x0 + (x1 - x0) * share, y0 + (y1 - y0) * share))
        self.send("touchEnd")
        self._page.wait_for_timeout(500)  # Chromium makes no click of a tap that follows at once


def use_telea(page: Any) -> None:
    """Fill without a network: quick, for tests of all the rest."""
    page.click("#model")
    page.click("#models button:has-text('Without AI')")


def erase(page: Any) -> None:
    """Press Erase and wait for the result."""
    before = page.locator(".result").count()
    page.click("#run")
    page.wait_for_function(f"document.querySelectorAll('.result').length === {before + 1}")
    page.wait_for_selector("#working", state="hidden")


def download(page: Any, folder: Path, button: str = "#save-png") -> Path:
    page.click("#download")
    with page.expect_download() as started:
        page.click(button if page.is_visible(button) else "#save-same")  # a PNG is offered once
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def save_mask(page: Any, folder: Path) -> np.ndarray:
    """What the page gives as a mask file, ``(H, W)`` bool."""
    page.click("#mask")
    with page.expect_download() as started:
        page.click("#save-mask")
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return np.asarray(Image.open(path)) > 0


def seen(page: Any) -> np.ndarray:
    """The pixels of the stage as a visitor sees them, ``(H, W, 3)``."""
    import io

    page.mouse.move(2, 2)  # no cursor on the photo
    page.wait_for_timeout(120)
    shot = page.locator("#stage").screenshot(style="#hint { visibility: hidden }")
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def keep_screenshot(page: Any, name: str) -> None:
    folder = os.environ.get("INPAINT_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(300)
        page.screenshot(path=str(Path(folder) / f"{name}.jpg"), type="jpeg", quality=80)
