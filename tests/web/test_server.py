"""The page's endpoint on a running server, as a program would use it."""

import concurrent.futures
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inpaint.web.fills import TELEA
from inpaint.web.photos import Limits
from tests.web.conftest import noise

pytest.importorskip("gradio")
gradio_client = pytest.importorskip("gradio_client")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from inpaint.web.server import serve

    app, service, address = serve(port=None, device="cpu", limits=Limits(file_bytes=2**20), block=False)
    yield address
    app.close()
    service.close()


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    return gradio_client.Client(url, verbose=False)


def two_files(folder: Path, seed: int = 0, suffix: str = ".png") -> tuple[Path, Path]:
    image, mask = folder / f"photo-{seed}{suffix}", folder / f"mask-{seed}.png"
    noise(64, 96, seed=seed).save(image)
    holes = np.zeros((64, 96), np.uint8)
    holes[20:40, 30 + seed : 50 + seed] = 255
    Image.fromarray(holes).save(mask)
    return image, mask


def erase(
    client: Any,
    image: Path,
    mask: Path,
    model: str = TELEA,
    form: str = "Same as the photo",
) -> Path:
    file = gradio_client.handle_file
    return Path(client.predict(file(str(image)), file(str(mask)), model, 0, form, api_name="/erase"))


def test_image_and_mask_in_result_out(client: Any, tmp_path: Path) -> None:
    image, mask = two_files(tmp_path)
    result = erase(client, image, mask, "acr-small")
    known = np.asarray(Image.open(mask)) == 0
    assert result.name == "photo-0-filled.png"
    assert np.array_equal(np.asarray(Image.open(result))[known], np.asarray(Image.open(image))[known])
    image, mask = two_files(tmp_path, 1, ".jpg")
    assert erase(client, image, mask).suffix == ".jpg"
    assert erase(client, image, mask, form="PNG (lossless)").suffix == ".png"


def test_model_growth_and_format_need_not_be_named(client: Any, tmp_path: Path) -> None:
    image, mask = two_files(tmp_path)
    file = gradio_client.handle_file
    assert Path(client.predict(file(str(image)), file(str(mask)), api_name="/erase")).exists()


def test_a_rotated_photo_takes_an_upright_mask(client: Any, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path, mask = tmp_path / "turned.jpg", tmp_path / "mask.png"
    noise(40, 90).save(path, exif=exif)
    holes = Image.new("L", (40, 90))
    holes.paste(255, (10, 20, 20, 40))
    holes.save(mask)
    result = Image.open(erase(client, path, mask))
    assert result.size == (40, 90)
    assert result.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "0 bytes"), (b"GIF89a not really", "damaged|no picture"), (b"PK\x03\x04", "no picture")],
)
def test_a_hostile_upload_gets_a_message_and_the_server_lives_on(
    client: Any, tmp_path: Path, content: bytes, told: str
) -> None:
    image, mask = two_files(tmp_path)
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    with pytest.raises(Exception, match=told):
        erase(client, bad, mask)
    with pytest.raises(Exception, match="cannot read the mask"):
        erase(client, image, bad)
    with pytest.raises(Exception, match="choose one from the list"):
        erase(client, image, mask, "/etc/passwd")
    assert erase(client, image, mask).exists()


def test_an_upload_over_the_limit_is_turned_away(client: Any, tmp_path: Path) -> None:
    image, mask = two_files(tmp_path)
    noise(1000, 1000).save(tmp_path / "big.png")
    with pytest.raises(Exception, match=r"413|too large|exceed|limit"):
        erase(client, tmp_path / "big.png", mask)
    assert erase(client, image, mask).exists()


def test_twenty_clients_at_once_get_their_own_results(url: str, tmp_path: Path) -> None:
    def one(seed: int) -> bool:
        image, mask = two_files(tmp_path, seed)
        result = erase(gradio_client.Client(url, verbose=False), image, mask)
        known = np.asarray(Image.open(mask)) == 0
        return np.array_equal(np.asarray(Image.open(result))[known], np.asarray(Image.open(image))[known])

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(one, range(20))) == [True] * 20


def test_the_api_says_what_it_takes(url: str) -> None:
    with urllib.request.urlopen(f"{url}gradio_api/info") as answer:
        described = json.load(answer)
    assert list(described["named_endpoints"]) == ["/erase"]
    names = [entry["label"] for entry in described["named_endpoints"]["/erase"]["parameters"]]
    assert names == ["image", "mask", "model", "grow", "download_as"]
    with urllib.request.urlopen(f"{url}gradio_api/openapi.json") as answer:
        schema = json.load(answer)
    assert schema["openapi"].startswith("3.") and any("erase" in path for path in schema["paths"])


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../../../etc/passwd", "pyproject.toml", "inpaint/errors.py"]
)
def test_no_file_of_the_server_can_be_fetched(url: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}gradio_api/file={path}")
    assert caught.value.code in (403, 404)


def test_another_site_may_not_call(url: str) -> None:
    request = urllib.request.Request(f"{url}gradio_api/info", headers={"Origin": "http://evil.example"})
    try:
        with urllib.request.urlopen(request) as answer:
            allowed = answer.headers.get("Access-Control-Allow-Origin")
    except urllib.error.HTTPError as error:
        allowed = error.headers.get("Access-Control-Allow-Origin")
    assert allowed not in ("*", "http://evil.example")


def test_a_full_queue_says_so_and_empties(tmp_path: Path) -> None:
    from inpaint.web.server import serve

    app, service, address = serve(port=None, device="cpu", limits=Limits(waiting=2), block=False)
    try:
        image, mask = two_files(tmp_path)
        client = gradio_client.Client(address, verbose=False)
        file = gradio_client.handle_file
        with service.computing:  # as if somebody's fill took long
            jobs = [
                client.submit(file(str(image)), file(str(mask)), TELEA, api_name="/erase") for _ in range(12)
            ]
            concurrent.futures.wait([job.future for job in jobs], timeout=5)
        errors = [job.exception(timeout=60) for job in jobs]
        refused = [error for error in errors if error is not None]
        assert 0 < len(refused) < 12  # those in the queue were served
        assert all("Queue is full" in str(error) for error in refused)
    finally:
        app.close()
        service.close()


def test_without_timm_the_page_starts_and_says_what_to_install(tmp_path: Path) -> None:
    image, mask = two_files(tmp_path)
    program = f"""
import sys
sys.modules["timm"] = None  # as if it were not installed, before anything of ours is imported
import gradio_client
from inpaint.web.server import serve
app, service, address = serve(port=None, device="cpu", block=False)
client, file = gradio_client.Client(address, verbose=False), gradio_client.handle_file
for model in ("acr-small-convnext", "lama-small"):
    try:
        print(client.predict(file({str(image)!r}), file({str(mask)!r}), model, api_name="/erase"))
    except Exception as error:
        print(error)
app.close()
service.close()
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    refused, filled = told.stdout.splitlines()[:2]
    assert refused.endswith("need timm, which is not installed: pip install 'mae-acr-inpaint[backbones]'")
    assert filled.endswith("photo-0-filled.png")
    assert "Traceback" not in told.stderr


def test_a_login_is_asked_for(tmp_path: Path) -> None:
    from inpaint.web.server import serve

    app, service, address = serve(port=None, device="cpu", login=("ann", "secret"), block=False)
    try:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{address}gradio_api/info")
        assert caught.value.code == 401
        image, mask = two_files(tmp_path)
        client = gradio_client.Client(address, auth=("ann", "secret"), verbose=False)
        assert erase(client, image, mask).exists()
    finally:
        app.close()
        service.close()
