"""The server as programs, and attackers, meet it: on loopback, with bounded requests."""

import base64
import concurrent.futures
import http.client
import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from inpaint import __version__
from inpaint.web.fills import TELEA
from inpaint.web.photos import Limits
from tests.web.conftest import noise, serving

pytest.importorskip("gradio")
gradio_client = pytest.importorskip("gradio_client")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with serving(limits=Limits(file_bytes=2**20)) as made:
        yield made


@pytest.fixture(scope="module")
def client(server: Any) -> Any:
    return gradio_client.Client(server.url, verbose=False)


def two_files(folder: Path, seed: int = 0, suffix: str = ".png") -> tuple[Path, Path]:
    image, mask = folder / f"photo-{seed}{suffix}", folder / f"mask-{seed}.png"
    noise(64, 96, seed=seed).save(image)
    holes = np.zeros((64, 96), np.uint8)
    holes[20:40, 30 + seed : 50 + seed] = 255
    Image.fromarray(holes).save(mask)
    return image, mask


def erase(client: Any, image: Path, mask: Path, **options: Any) -> Path:
    file = gradio_client.handle_file
    options.setdefault("model", TELEA)
    return Path(client.predict(image=file(str(image)), mask=file(str(mask)), api_name="/erase", **options))


def ask(
    url: str, path: str = "", body: bytes | None = None, method: str | None = None, **headers: str
) -> tuple[int, str]:
    """Send one raw request; gives the status and the text."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method or ("GET" if body is None else "POST"), f"/{path}", body=body, headers=named)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors="replace")


def test_image_and_mask_in_result_out(client: Any, tmp_path: Path) -> None:
    image, mask = two_files(tmp_path)
    result = erase(client, image, mask, model="acr-small")
    known = np.asarray(Image.open(mask)) == 0
    assert result.name == "photo-0-filled.png"
    assert np.array_equal(np.asarray(Image.open(result))[known], np.asarray(Image.open(image))[known])
    image, mask = two_files(tmp_path, 1, ".jpg")
    assert erase(client, image, mask).suffix == ".jpg"
    assert erase(client, image, mask, download_as="png", grow=3).suffix == ".png"
    assert erase(client, image, mask, model="acr-small").exists()


def test_the_endpoint_is_typed_and_says_its_bounds(server: Any, client: Any, tmp_path: Path) -> None:
    told = client.view_api(return_format="dict")["named_endpoints"]
    assert list(told) == ["/erase"]
    types = {one["parameter_name"]: one["type"] for one in told["/erase"]["parameters"]}
    assert list(types) == ["image", "mask", "model", "grow", "download_as"]
    assert "acr-small" in types["model"]["enum"] and types["download_as"]["enum"] == ["same", "png"]
    form = json.loads(ask(server.url, "openapi.json")[1])
    assert form["info"]["version"] == __version__ and list(form["paths"]) == ["/api/erase"]
    fields = next(value for name, value in form["components"]["schemas"].items() if name.startswith("Body"))
    grow = fields["properties"]["grow"]
    whole = grow["anyOf"][0]
    assert (whole["minimum"], whole["maximum"]) == (-200, 200) and fields["properties"]["model"]["enum"]
    image, mask = two_files(tmp_path)
    for name, value, words in (
        ("grow", 100_000, "grow: got 100000; input should be less than or equal to 200"),
        ("grow", "many", "grow: got 'many'; input should be a valid integer"),
        ("model", "/etc/passwd", "got model '/etc/passwd', expected one of acr-small"),
        ("download_as", "exe", "download_as: got 'exe'; input should be 'same' or 'png'"),
    ):
        with pytest.raises(Exception, match=words):
            erase(client, image, mask, **{name: value})


def test_the_form_works_with_curl(server: Any, tmp_path: Path) -> None:
    image, mask = two_files(tmp_path, suffix=".jpg")
    call = ["curl", "--silent", "-F", f"image=@{image}", "-F", f"model={TELEA}"]
    result = tmp_path / "result.jpg"
    subprocess.run([*call, "-F", f"mask=@{mask}", "-o", result, f"{server.url}api/erase"], check=True)
    assert Image.open(result).size == (96, 64)
    for extra, told in (
        (
            ["-F", f"mask=@{mask}", "-F", "grow=5000"],
            "grow: got '5000'; input should be less than or equal to 200",
        ),
        ([], "mask is missing"),
    ):
        answer = subprocess.run([*call, *extra, f"{server.url}api/erase"], capture_output=True, text=True)
        assert json.loads(answer.stdout) == {"error": told}


@pytest.mark.parametrize("content", [b"", b"GIF89a not really", b"PK\x03\x04"])
def test_a_hostile_upload_gets_a_message_and_the_server_lives_on(
    client: Any, tmp_path: Path, content: bytes
) -> None:
    image, mask = two_files(tmp_path)
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    with pytest.raises(Exception, match=r"0 bytes|damaged|which cannot be read|cannot be decoded"):
        erase(client, bad, mask)
    with pytest.raises(Exception, match="cannot read the mask") as caught:
        erase(client, image, bad)
    assert "/" not in str(caught.value)  # no folder of the server
    assert erase(client, image, mask).exists()


UPLOADS = ["api/photos?name=x.png", "gradio_api/upload", "api/erase"]


@pytest.mark.parametrize("path", UPLOADS)
@pytest.mark.parametrize("origin", ["null", "http://evil.example", "http://localhost:1"])
def test_another_site_stores_nothing(server: Any, path: str, origin: str) -> None:
    before = len(list(server.service.workspace.folder.rglob("*")))
    assert ask(server.url, path, b"x" * 100, Origin=origin)[0] == 403
    assert ask(server.url, path, b"x" * 100, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
    assert len(list(server.service.workspace.folder.rglob("*"))) == before
    own = server.url.rstrip("/")
    assert ask(server.url, path, b"x" * 100, Origin=own)[0] != 403


def test_a_name_that_is_not_ours_is_not_answered(server: Any) -> None:
    port = urlsplit(server.url).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[", "a b"):
        assert ask(server.url, Host=host)[0] == 421
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "192.168.1.7", f"[::1]:{port}"):
        assert ask(server.url, Host=host)[0] == 200


def test_sizes_are_checked_before_anything_is_read(server: Any) -> None:
    def claim(path: str, length: str | None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port, timeout=20)
        connection.putrequest("POST", path)
        if length is not None:
            connection.putheader("Content-Length", length)
        connection.endheaders()
        return connection.getresponse().status

    assert claim("/api/photos?name=a", str(3 * 2**20)) == 413
    assert claim("/gradio_api/upload", str(3 * 2**20)) == 413
    assert claim("/api/photos/x/fills", str(9 * 2**20)) == 413
    assert claim("/api/photos?name=a", None) == 411


def test_a_visitor_has_a_quota(tmp_path: Path) -> None:
    with serving(limits=Limits(visitor_bytes=50_000)) as server:
        path = tmp_path / "a.png"
        noise(90, 120).save(path)
        statuses = [ask(server.url, "api/photos?name=a.png", path.read_bytes())[0] for _ in range(4)]
        assert statuses[0] == 200 and statuses[-1] == 429
        assert ask(server.url, "gradio_api/upload", b"x" * 20_000)[0] == 429


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd", "gradio_api/file=../../etc/passwd", "gradio_api/file=pyproject.toml",
        "static/../../errors.py", "static/%2e%2e/%2e%2e/errors.py", "static//etc/passwd", "api/examples/-1",
        "api/photos/..%2f..%2fetc/view", "api/photos/x/images/../../etc/passwd",
    ],
)  # fmt: skip
def test_no_file_of_the_server_can_be_fetched(server: Any, path: str) -> None:
    status, text = ask(server.url, path)
    assert status in (400, 403, 404, 410, 422) and "root:" not in text and "Traceback" not in text


def test_a_path_of_the_server_is_no_upload(server: Any) -> None:
    file = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [file, file, TELEA, 0, "same"]}).encode()
    status, text = ask(server.url, "gradio_api/call/erase", body, content_type="application/json")
    if status == 200:
        event = json.loads(text)["event_id"]
        status, text = ask(server.url, f"gradio_api/call/erase/{event}")
        assert "event: error" in text
    assert Path("/etc/hostname").read_text().strip() not in text and "Traceback" not in text


def test_a_name_of_an_upload_is_no_path(server: Any, tmp_path: Path) -> None:
    image, mask = two_files(tmp_path)
    files = {"image": ("../../../outside.png", image.read_bytes()), "mask": ("/etc/x", mask.read_bytes())}
    answer = httpx.post(f"{server.url}api/erase", files=files, data={"model": TELEA}, timeout=None)
    assert answer.status_code == 200
    assert 'filename="outside-filled.png' in answer.headers["content-disposition"]


@pytest.mark.parametrize("name", [".mask", "mask.upload", "mask-upload", "download-photo", "photo-filled"])
def test_a_photo_may_have_any_name(server: Any, tmp_path: Path, name: str) -> None:
    """No file of the server's own lies where a visitor's may."""
    image, mask = two_files(tmp_path)
    hole = np.asarray(Image.open(mask)) > 0
    files = {"image": (name, image.read_bytes()), "mask": (name, mask.read_bytes())}
    answer = httpx.post(f"{server.url}api/erase", files=files, data={"model": TELEA, "grow": 0}, timeout=None)
    result = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.array_equal(result[~hole], np.asarray(Image.open(image))[~hole])

    photo = json.loads(ask(server.url, f"api/photos?name={name}", image.read_bytes())[1])
    at = f"api/photos/{photo['id']}"
    assert ask(server.url, f"{at}/masks", mask.read_bytes())[0] == 200
    answer = httpx.get(f"{server.url}{at}/download", timeout=None)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), np.asarray(Image.open(image)))


def test_nothing_stays_of_what_the_form_was_sent(tmp_path: Path) -> None:
    image, mask = two_files(tmp_path)
    with serving() as server:
        before = set(server.service.workspace.folder.iterdir())
        for _ in range(3):
            files = {"image": image.read_bytes(), "mask": mask.read_bytes()}
            assert httpx.post(f"{server.url}api/erase", files=files, data={"model": TELEA}).status_code == 200
        deadline = time.monotonic() + 20  # it goes once the answer is on its way
        while set(server.service.workspace.folder.iterdir()) != before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert set(server.service.workspace.folder.iterdir()) == before


def test_nothing_stays_of_what_failed(server: Any, tmp_path: Path) -> None:
    image, mask = two_files(tmp_path)
    before = set(server.service.workspace.folder.iterdir())
    files = {"image": image.read_bytes(), "mask": image.read_bytes()}
    assert httpx.post(f"{server.url}api/erase", files=files, data={"model": "nothing"}).status_code == 400
    assert ask(server.url, "api/photos?name=a.png", b"no image")[0] == 400
    assert set(server.service.workspace.folder.iterdir()) == before
    assert mask.exists()


def test_a_stopped_server_answers_those_who_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image, mask = two_files(tmp_path)

    def post(_: int) -> int:
        files = {"image": image.read_bytes(), "mask": mask.read_bytes()}
        data = {"model": TELEA}
        return httpx.post(f"{server.url}api/erase", files=files, data=data, timeout=60).status_code

    with serving() as server, concurrent.futures.ThreadPoolExecutor(4) as callers:
        jobs = server.service.jobs
        blocker = jobs.submit("blocker", "me", _until_cancelled)
        answers = [callers.submit(post, n) for n in range(4)]
        deadline = time.monotonic() + 20
        while len(jobs._jobs) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        start = time.monotonic()
        server.should_exit = True
        assert [answer.result() for answer in answers] == [400] * 4
        assert time.monotonic() - start < 4 and blocker.state == "cancelled"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def _until_cancelled(job: Any) -> Any:
    while True:
        job.check()
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "api/erase", 404),
        ("PUT", "api/erase", 404),
        ("GET", "api/nothing", 404),
        ("DELETE", "api/photos/x", 404),
        ("GET", "static/nothing", 404),
    ],
)
def test_what_is_not_there_is_told_as_every_error_is(
    server: Any, method: str, path: str, status: int
) -> None:
    got, text = ask(server.url, path, method=method, content_length="0")
    assert (got, list(json.loads(text))) == (status, ["error"])


def test_a_request_that_is_no_form_is_told_what_was_expected(server: Any, tmp_path: Path) -> None:
    def post(path: str, body: bytes, kind: str) -> tuple[int, str]:
        status, text = ask(server.url, path, body, content_type=kind)
        return status, json.loads(text)["error"]

    form = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nphoto.jpg\r\n--x--\r\n'
    status, told = post("api/erase", form, "multipart/form-data; boundary=x")
    assert (status, told) == (422, "image: got 'photo.jpg', expected a file; with curl: -F image=@FILE")
    assert post("api/erase", b"{}", "multipart/form-data")[0] == 400
    assert "the request is not JSON: expecting" in post("api/zip", b"{bad", "application/json")[1]


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://a b", ":", "//", "http://"])
def test_an_origin_that_is_none_is_another_sites(server: Any, origin: str) -> None:
    status, text = ask(server.url, Origin=origin)
    assert status == 403 and "another site" in json.loads(text)["error"]


def test_who_hangs_up_leaves_no_traceback(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as line:
        line.sendall(
            f"POST /api/photos HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 9\r\n\r\n1".encode()
        )
        time.sleep(0.3)
    time.sleep(0.3)
    assert ask(server.url, "api/settings")[0] == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_values_of_the_page_have_bounds_and_errors_are_one_line(server: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise(40, 50).save(path)
    photo = json.loads(ask(server.url, "api/photos?name=../../a.png", path.read_bytes())[1])
    assert photo["name"] == "a.png" and (photo["width"], photo["height"]) == (50, 40)
    at = f"api/photos/{photo['id']}"

    def post(path: str, value: Any) -> tuple[int, str]:
        return ask(server.url, path, json.dumps(value).encode(), content_type="application/json")

    stroke = {"kind": "stroke", "points": [[5, 5]], "radius": 4}
    wrong = [
        (f"{at}/fills", {"drawing": {"operations": [stroke], "grow": 10**9}, "model": TELEA}),
        (f"{at}/fills", {"drawing": {"operations": [{**stroke, "radius": 1e300}]}, "model": TELEA}),
        (f"{at}/fills", {"drawing": {"operations": [stroke]}, "model": "../x"}),
        (f"{at}/fills", {"drawing": {"operations": [stroke]}, "model": TELEA, "parent": "nothing"}),
        (f"{at}/fills", {"drawing": {"operations": [stroke]}, "model": TELEA, "unknown": 1}),
        (f"{at}/select", {"kind": "box", "points": []}),
        (f"{at}/backbones", {"names": ["a"] * 9}),
        (f"{at}/inspect", {"model": "acr-small"}),
        ("api/photos/nobody/fills", {"drawing": {"operations": []}, "model": TELEA}),
        ("api/models/acr-small/fetch", {}),
        ("api/zip", {"results": [["a", "b"]]}),
        ("api/batches", {"photos": [], "drawing": {"operations": []}, "drawn_on": "a", "model": TELEA}),
        ("api/batches", {"photos": ["a"], "drawing": {"operations": []}, "drawn_on": "a", "model": TELEA}),
    ]
    for address, value in wrong:
        status, text = post(address, value)
        assert 400 <= status < 500, (address, status)
        told = json.loads(text)["error"]
        assert "\n" not in told and len(told) < 400 and "Traceback" not in told
    query = "left=0&top=0&right=50&bottom=40"
    assert ask(server.url, f"{at}/view?{query}&width=50&height=40")[0] == 200
    assert ask(server.url, f"{at}/view?{query}&width=50000&height=40000")[0] == 422
    assert ask(server.url, f"{at}/view?left=9&top=0&right=5&bottom=4&width=5&height=4")[0] == 400


def test_a_full_queue_says_so_and_empties(tmp_path: Path) -> None:
    with serving(limits=Limits(waiting=2)) as server:
        image, mask = two_files(tmp_path)
        client = gradio_client.Client(server.url, verbose=False)
        file = gradio_client.handle_file
        call = {"image": file(str(image)), "mask": file(str(mask)), "model": TELEA, "api_name": "/erase"}
        with server.service.computing:  # as if somebody's fill took long
            jobs = [client.submit(**call) for _ in range(12)]
            concurrent.futures.wait([job.future for job in jobs], timeout=5)
        errors = [job.exception(timeout=60) for job in jobs]
        refused = [str(error) for error in errors if error is not None]
        assert 0 < len(refused) < 12  # those in the queue were served
        assert all("Queue is full" in told or "the server is busy" in told for told in refused)


def test_without_timm_the_page_starts_and_says_what_to_install(tmp_path: Path) -> None:
    image, mask = two_files(tmp_path)
    program = f"""
import sys
sys.modules["timm"] = None  # as if it were not installed, before anything of ours is imported
import gradio_client
from tests.web.conftest import serving
with serving() as server:
    client, file = gradio_client.Client(server.url, verbose=False), gradio_client.handle_file
    for model in ("acr-small-convnext", "lama-small"):
        try:
            print(client.predict(file({str(image)!r}), file({str(mask)!r}), model, api_name="/erase"))
        except Exception as error:
            print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    refused, filled = told.stdout.splitlines()[:2]
    assert "needs timm: pip install 'mae-acr-inpaint[backbones]'" in refused
    assert refused.endswith("expected one of acr-small, lama-small, opencv-telea")
    assert filled.endswith("photo-0-filled.png")
    assert "Traceback" not in told.stderr


def test_a_login_is_asked_for_everywhere(tmp_path: Path) -> None:
    with serving(login=("ann", "secret")) as server:
        for path in ("", "api/settings", "gradio_api/info", "static/main.js", "openapi.json"):
            assert ask(server.url, path)[0] == 401
        wrong = base64.b64encode(b"ann:guess").decode()
        assert ask(server.url, Authorization=f"Basic {wrong}")[0] == 401
        right = "Basic " + base64.b64encode(b"ann:secret").decode()
        assert ask(server.url, Authorization=right)[0] == 200
        image, mask = two_files(tmp_path)
        client = gradio_client.Client(server.url, headers={"Authorization": right}, verbose=False)
        assert erase(client, image, mask).exists()
