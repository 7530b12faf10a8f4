"""What the browser tests share: the browser, and what a visitor's hand does."""

import os
import shutil
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# The editor draws with WebGL: without a graphics card that needs SwiftShader. The rest keeps Chromium quiet.
SWITCHES = [
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 120_000  # ms: WebGL in software, on a busy machine
EXAMPLE = Path(__file__).parents[2] / "examples" / "photo.jpg"


def choose(page: Any, photo: Path) -> None:
    page.set_input_files("#photo input[type=file]", str(photo))
    page.wait_for_selector("#editor canvas")
    page.wait_for_timeout(2500)  # the editor fades the picture in, and takes no stroke before


def paint(page: Any, start: tuple[float, float] = (0.4, 0.4), end: tuple[float, float] = (0.55, 0.5)) -> None:
    """Draw one stroke; places are shares of the canvas."""
    box = page.locator("#editor canvas").first.bounding_box()
    spots = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*spots[0])
    page.mouse.down()
    page.mouse.move(*spots[1], steps=12)
    page.mouse.up()
    page.wait_for_timeout(500)


def erase_and_look_inside(page: Any) -> None:
    """Erase what is painted over, wait for the fill, and go to the tab that explains it."""
    page.click("#erase")
    page.wait_for_selector("#slider img", state="visible")
    page.click("button[role=tab]:has-text('Look inside')")


def point_and_imagine(page: Any) -> None:
    """Ask where the prior looks from a point, and what it imagines where patches are hidden."""
    page.wait_for_timeout(1000)
    page.locator("#points img").click()
    page.wait_for_selector("#heat img", state="visible")
    page.wait_for_selector("text=of the attention goes to")
    page.click("text=Masked autoencoder: hide patches")
    page.click("#imagine")
    page.wait_for_selector("#toy-together img", state="visible")


def pick(page: Any, dropdown: str, title: str) -> None:
    """Choose from a list by what it says."""
    page.click(f"{dropdown} input")
    page.get_by_role("option", name=title, exact=True).click()


def keep_screenshot(page: Any, name: str) -> None:
    folder = os.environ.get("INPAINT_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.jpg"), type="jpeg", quality=72, full_page=True)
