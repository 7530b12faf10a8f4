"""What the page adds to a fill: a photo of 12 megapixels in Chromium, beside the API of the same server.

    PYTHONPATH=. python benchmarks/page.py --rounds 4

Prints for each round the seconds from choosing the photo to a canvas that takes strokes, from pressing Erase
to the result on the screen, and of ``/api/erase`` with the same mask. The first round loads the model.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import httpx
from PIL import Image
from playwright.sync_api import sync_playwright

from tests.web.browser import BROWSER, EXAMPLE, SWITCHES, choose, paint, save_mask


def measure(page: Any, photo: Path, folder: Path, api: str, model: str) -> tuple[float, float, float]:
    """Seconds to a paintable canvas, from Erase to the result, and of the API."""
    started = time.perf_counter()
    choose(page, photo)
    paintable = time.perf_counter() - started
    paint(page, (0.42, 0.42), (0.52, 0.5))
    Image.fromarray(save_mask(page, folder)).save(folder / "mask.png")
    page.keyboard.press("Escape")
    results = page.locator(".result").count()
    started = time.perf_counter()
    page.click("#run")
    page.wait_for_function(f"document.querySelectorAll('.result').length === {results + 1}")
    page.wait_for_selector("#working", state="hidden")
    result = time.perf_counter() - started
    mask = (folder / "mask.png").read_bytes()
    files = {"image": ("photo.jpg", photo.read_bytes()), "mask": ("mask.png", mask)}
    started = time.perf_counter()
    httpx.post(api, files=files, data={"model": model}, timeout=300).raise_for_status()
    return paintable, result, time.perf_counter() - started


@click.command()
@click.option("--rounds", default=4, show_default=True)
@click.option("--model", default="acr-small", show_default=True, help="The page's default, for the API.")
@click.option("--port", default=7871, show_default=True)
def main(rounds: int, model: str, port: int) -> None:
    """Time a fill on the page and by the API."""
    server = [sys.executable, "-m", "inpaint", "serve", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        photo = folder / "photo.jpg"
        Image.open(EXAMPLE).resize((4000, 3000), Image.Resampling.BICUBIC).save(photo, quality=92)
        process = subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            browser = playwright.chromium.launch(executable_path=BROWSER, args=SWITCHES)
            for number in range(rounds):
                context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
                page = context.new_page()
                page.set_default_timeout(120_000)
                for _ in range(120):  # the server imports torch first
                    try:
                        page.goto(url)
                        break
                    except Exception:  # refused
                        time.sleep(0.5)
                page.wait_for_function("window.inpaint?.erase")
                paintable, result, api = measure(page, photo, folder, f"{url}/api/erase", model)
                click.echo(
                    f"round {number}: paintable after {paintable:.2f} s, result after {result:.2f} s, "
                    f"API {api:.2f} s, ratio {result / api:.2f}"
                )
                context.close()
            browser.close()
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
