"""Downloads that break, lie, stall or meet a full disk: resumed, found out, or told in one line."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inpaint.errors import WeightsError
from inpaint.weights import FetchCancelled, ModelEntry, check_model, download, fetch, remove
from tests.weights.server import Server

Publish = Callable[..., ModelEntry]
CONTENT = bytes(range(256)) * 4096  # 1 MiB, four chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "READ_SECONDS", 0.25)
    monkeypatch.setattr(download, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.5)


@pytest.fixture
def entry(publish: Publish) -> ModelEntry:
    return publish("small", {"small.bin": CONTENT})


def at(entry: ModelEntry, *addresses: str) -> ModelEntry:
    """The same model, its file at other addresses."""
    (file,) = entry.files
    return replace(entry, files=(replace(file, sources=addresses),))


def leave_part(cache: Path, content: bytes, digest: str = DIGEST, tag: str | None = None) -> Path:
    """What an interrupted download leaves."""
    part = cache / "files" / f".small.bin.{digest[:12]}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content)
    if tag is not None:
        part.with_suffix(".tag").write_text(tag)
    return part


def test_it_is_fetched_once_checked_and_shown(entry: ModelEntry, server: Server, cache: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    path = fetch(entry, progress=lambda *numbers: seen.append(numbers))
    assert path == cache / "files" / "small.bin" and path.read_bytes() == CONTENT
    assert seen[-1] == ("small.bin", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
    assert fetch(entry) == path and len(server.asked) == 1
    assert [found.name for found in path.parent.iterdir()] == ["small.bin"]


@pytest.mark.parametrize("mode", ["moved/", "no-ranges/", "cut-once/", "cut/", "untagged/"])
def test_servers_that_give_it_in_the_end(entry: ModelEntry, server: Server, mode: str) -> None:
    # "cut" halves what is left each time: four requests leave a sixteenth, which the next call fetches.
    there = at(entry, server.url(f"{mode}small.bin"))
    if mode == "cut/":
        with pytest.raises(WeightsError, match=r"small\.bin: 127\.0\.0\.1"):
            fetch(there)
        assert [asked for _, asked in server.asked] == [
            None,
            *(f"bytes={n}-" for n in (524288, 786432, 917504)),
        ]
        there = at(entry, server.url("small.bin"))
    assert fetch(there).read_bytes() == CONTENT


def test_an_interrupted_download_goes_on(entry: ModelEntry, server: Server, cache: Path) -> None:
    leave_part(cache, CONTENT[:1000])
    assert fetch(entry).read_bytes() == CONTENT
    assert server.asked == [("/small.bin", "bytes=1000-")]


def test_a_download_that_was_stopped_goes_on(entry: ModelEntry, server: Server, cache: Path) -> None:
    seen: list[int] = []
    with pytest.raises(FetchCancelled, match=r"stopped; the next download of small\.bin goes on from here"):
        fetch(entry, progress=lambda _, done, __: seen.append(done), cancelled=lambda: len(seen) == 2)
    assert fetch(entry).read_bytes() == CONTENT
    assert server.asked[-1] == ("/small.bin", f"bytes={seen[-1]}-")


def test_a_whole_part_is_not_asked_for_again(entry: ModelEntry, server: Server, cache: Path) -> None:
    leave_part(cache, CONTENT)
    assert fetch(entry).read_bytes() == CONTENT and server.asked == []


@pytest.mark.parametrize("part", [b"?" * 1000, CONTENT[:1000], CONTENT + b"more"])
@pytest.mark.parametrize("mode", ["", "no-ranges/", "wrong-rest/"])
def test_a_damaged_beginning_or_rest_is_found_and_fetched_anew(
    entry: ModelEntry, server: Server, cache: Path, part: bytes, mode: str
) -> None:
    leave_part(cache, part)
    assert fetch(at(entry, server.url(f"{mode}small.bin"))).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("wrong/", r"gives another file: got sha256 [0-9a-f]{12}\.\.\., expected "),
        ("short/", "it offers 524288 bytes, expected 1048576"),
        ("cut/", "peer closed connection"),
        ("slow/", "timed out"),
        ("404/", "404 Not Found"),
        ("500/", "500 Internal Server Error"),
        ("page/", "it answers with a web page in place of the file"),
    ],
)
def test_a_server_that_does_not_give_it_is_told_and_the_next_address_tried(
    entry: ModelEntry, server: Server, cache: Path, mode: str, told: str
) -> None:
    bad = server.url(f"{mode}small.bin")
    with pytest.raises(WeightsError, match=told) as caught:
        fetch(at(entry, bad))
    message = str(caught.value)
    assert "\n" not in message and f"small.bin ({bad}, sha256 {DIGEST}) into {cache / 'files'};" in message
    assert not (cache / "files" / "small.bin").exists()
    assert fetch(at(entry, bad, server.url("small.bin"))).read_bytes() == CONTENT


def test_the_rest_may_come_from_another_address(entry: ModelEntry, server: Server) -> None:
    assert fetch(at(entry, server.url("cut/small.bin"), server.url("small.bin"))).read_bytes() == CONTENT
    assert server.asked[-1] == ("/small.bin", "bytes=983040-")


def test_a_host_that_cannot_be_reached_is_one_line(entry: ModelEntry, server: Server) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/small.bin"
        with pytest.raises(WeightsError, match=r"^cannot get small: small\.bin: 127\.0\.0\.1:\d+: .*refused"):
            fetch(at(entry, nobody))
        assert fetch(at(entry, nobody, server.url("small.bin"))).read_bytes() == CONTENT
    with pytest.raises(WeightsError, match="cannot get small"):
        remove(entry)
        fetch(at(entry, "no address"))


class TestDisk:
    def test_too_little_room_is_told_before(
        self, entry: ModelEntry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = namedtuple("usage", "free")
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(500_000))
        with pytest.raises(
            WeightsError, match=r"files has 0 MB free, 1 MB are needed; make room there, or name"
        ):
            fetch(entry)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_a_disk_that_fills_up_is_told(self, entry: ModelEntry, cache: Path) -> None:
        (cache / "files").mkdir(parents=True)
        (cache / "files" / f".small.bin.{DIGEST[:12]}.part").symlink_to("/dev/full")
        with pytest.raises(
            WeightsError, match=r"cannot write into .*cache \(No space left on device\); make room"
        ):
            fetch(entry)

    def test_a_cache_that_cannot_be_made_is_told(
        self, entry: ModelEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("INPAINT_CACHE", str(tmp_path / "file"))
        with pytest.raises(WeightsError, match=r"cannot write into .*file \(Not a directory\); .*_CACHE"):
            fetch(entry)


class TestWithoutAPublicSum:
    @pytest.fixture
    def entry(self, publish: Publish) -> ModelEntry:
        return publish("small", {"small.bin": CONTENT}, pinned=False)

    def test_the_first_download_is_recorded_and_later_ones_must_match(
        self, entry: ModelEntry, server: Server, cache: Path
    ) -> None:
        said: list[str] = []
        path = fetch(entry, say=said.append)
        assert said == [f"small.bin has no public sum; recorded for later downloads: sha256 {DIGEST}"]
        done = subprocess.run(
            ["sha256sum", "-c", cache / "pins" / "small.bin.sha256"], cwd=path.parent, capture_output=True
        )
        assert done.returncode == 0
        assert len(remove(entry)) == 1 and (cache / "pins" / "small.bin.sha256").exists()
        assert fetch(entry, say=said.append) == path and len(said) == 1
        path.write_bytes(b"changed")
        with pytest.raises(WeightsError, match=r"of small: got sha256 .* at the first download "):
            check_model(entry)
        path.unlink()
        server.files["small.bin"] = b"another"
        with pytest.raises(WeightsError, match=r"gives another file: got sha256 .*small\.bin\.sha256\)"):
            fetch(entry)

    @pytest.mark.parametrize("same", [True, False])
    def test_it_goes_on_only_if_the_server_has_the_same_file(
        self, entry: ModelEntry, server: Server, cache: Path, same: bool
    ) -> None:
        with pytest.raises(FetchCancelled):
            seen: list[int] = []
            fetch(entry, progress=lambda _, done, __: seen.append(done), cancelled=lambda: len(seen) == 2)
        if not same:
            server.files["small.bin"] = CONTENT[::-1]
        assert fetch(entry).read_bytes() == (CONTENT if same else CONTENT[::-1])
        assert server.asked[-1][1] == f"bytes={seen[-1]}-" and len(server.asked) == 2

    def test_without_a_tag_it_begins_anew(self, entry: ModelEntry, server: Server, cache: Path) -> None:
        address = server.url("untagged/small.bin")
        leave_part(cache, b"?" * 1000, hashlib.sha256(address.encode()).hexdigest(), tag="")
        assert fetch(at(entry, address)).read_bytes() == CONTENT
        assert server.asked == [("/untagged/small.bin", None)]

    def test_first_digits_are_compared(self, entry: ModelEntry, server: Server) -> None:
        (file,) = entry.files
        right = replace(entry, files=(replace(file, sha256=DIGEST[:8]),))
        assert fetch(right).read_bytes() == CONTENT
        remove(entry)
        with pytest.raises(WeightsError, match=r"expected 0000\.\.\."):
            fetch(replace(entry, files=(replace(file, sha256="0000"),)))


class TestByHand:
    @pytest.mark.parametrize("folder", ["cache", "named"])
    def test_a_file_put_there_is_checked_and_used(
        self, entry: ModelEntry, server: Server, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("INPAINT_CHECKPOINTS", str(tmp_path / "named"))
        monkeypatch.setenv("INPAINT_OFFLINE", "1")
        path = (tmp_path / "cache" / "files" if folder == "cache" else tmp_path / folder) / "small.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
        assert fetch(entry) == path and server.asked == []
        path.write_bytes(CONTENT[:-1] + b"?")
        with pytest.raises(WeightsError, match="is not the file of small: got sha256"):
            fetch(entry)
        assert path.exists()  # it is the user's

    def test_a_file_of_hugging_faces_cache_is_used(
        self, entry: ModelEntry, server: Server, tmp_path: Path
    ) -> None:
        there = at(entry, "https://huggingface.co/someone/small/resolve/main/model.bin")
        snapshot = tmp_path / "hub" / "models--someone--small" / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (tmp_path / "hub" / "models--someone--small" / "refs").mkdir()
        (tmp_path / "hub" / "models--someone--small" / "refs" / "main").write_text("0" * 40)
        (snapshot / "model.bin").write_bytes(CONTENT)
        assert fetch(there) == snapshot / "model.bin"
        (snapshot / "model.bin").write_bytes(b"?")
        with pytest.raises(WeightsError, match="is not the file of small"):
            fetch(there)


class TestEnvironment:
    @pytest.mark.parametrize("variable", ["INPAINT_OFFLINE", "HF_HUB_OFFLINE"])
    def test_offline_asks_nobody(
        self, entry: ModelEntry, server: Server, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "1")
        with pytest.raises(
            WeightsError, match=f"small is not here and {variable} forbids fetching. By hand: put"
        ):
            fetch(entry)
        assert server.asked == []
        monkeypatch.setenv(variable, "0")
        assert fetch(entry).exists()

    def test_a_proxy_is_used_and_a_broken_one_told(
        self, entry: ModelEntry, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", server.url(""))
        far = at(entry, "http://weights.invalid/small.bin")  # no such host: only the proxy can have answered
        assert fetch(far).read_bytes() == CONTENT
        remove(entry)
        for proxy in ("nonsense://x", "http://127.0.0.1:1"):
            monkeypatch.setenv("HTTP_PROXY", proxy)
            with pytest.raises(WeightsError, match=r"small\.bin: weights\.invalid"):
                fetch(far)

    def test_a_mirror_of_the_hub_is_asked(
        self, entry: ModelEntry, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
        server.files["resolve/main/small.bin"] = CONTENT
        fetch(at(entry, "https://huggingface.co/small.bin"))
        assert server.asked == [("/small.bin", None)]


class TestLicence:
    def test_non_commercial_weights_are_fetched_only_if_the_licence_is_accepted(
        self, entry: ModelEntry, server: Server
    ) -> None:
        bound = replace(entry, non_commercial=True, licence="CC BY-NC 4.0")
        with pytest.raises(
            WeightsError, match=r"under CC BY-NC 4\.0: for non-commercial use only; to accept: "
        ):
            fetch(bound)
        assert server.asked == []
        fetch(bound, accept_licence=True)
        assert fetch(bound).exists()  # whoever has the file has accepted


CHILD = """
import sys
from inpaint.weights import ModelEntry, PublishedFile, fetch
file = PublishedFile("small.bin", (sys.argv[1],), sys.argv[2], 1048576)
entry = ModelEntry("small", "network", "", "MIT", 1.0, (("small.bin",),), files=(file,))
print(fetch(entry, say=print, cancelled=lambda: False))
"""


def test_two_processes_fetch_once(entry: ModelEntry, server: Server, cache: Path) -> None:
    """The second one waits, says so, and takes what the first has fetched."""
    held, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        held.set()
        assert go_on.wait(60)

    first = threading.Thread(target=lambda: fetch(entry, progress=hold))
    first.start()
    assert held.wait(30)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, server.url("small.bin"), DIGEST],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "waiting for another process that gets small\n"
    go_on.set()
    assert child.stdout.readline().strip() == str(cache / "files" / "small.bin")
    first.join()
    assert child.wait() == 0 and len(server.asked) == 1
    with pytest.raises(FetchCancelled, match="stopped while another process gets small"):
        _wait_in_vain(entry)


def _wait_in_vain(entry: ModelEntry) -> None:
    held, go_on = threading.Event(), threading.Event()
    remove(entry)
    first = threading.Thread(
        target=lambda: fetch(entry, progress=lambda *_: (held.set(), go_on.wait(60)))  # type: ignore[func-returns-value]
    )
    first.start()
    assert held.wait(30)
    try:
        fetch(entry, cancelled=lambda: True)
    finally:
        go_on.set()
        first.join()
