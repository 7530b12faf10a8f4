"""A catalogue, a cache and a server of the test's own: nothing of this machine counts or leaves it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inpaint.weights import ModelEntry, PublishedFile, catalogue, store
from tests.weights.server import Server

ENVIRONMENT = ("INPAINT_CHECKPOINTS", "INPAINT_OFFLINE", "HF_HUB_OFFLINE", "HF_ENDPOINT")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache: a folder that is not there yet."""
    for name in (*ENVIRONMENT, *PROXIES, *(name.upper() for name in PROXIES)):
        monkeypatch.delenv(name, raising=False)
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("INPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "LOCK_POLL_SECONDS", 0.02)
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def publish(server: Server) -> Callable[..., ModelEntry]:
    """Serve files and make the entry of the model that needs them; it joins the catalogue by ``know``."""

    def make(name: str, contents: dict[str, bytes], **changes: object) -> ModelEntry:
        pinned = changes.pop("pinned", True)
        files = []
        for file, content in contents.items():
            server.files[file] = content
            digest = hashlib.sha256(content).hexdigest() if pinned else ""
            files.append(PublishedFile(file, (server.url(file),), digest, len(content) if pinned else 0))
        entry = ModelEntry(name, "network", "for tests", "MIT", 1.0, (tuple(contents),), files=tuple(files))
        return replace(entry, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def know(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the catalogue have these models alone."""

    read = catalogue._read_catalogue

    def replace_catalogue(*entries: ModelEntry) -> None:
        def read_or_replace(path: Path) -> list[ModelEntry]:
            return list(entries) if path == catalogue.CATALOGUE else read(path)

        monkeypatch.setattr(catalogue, "_read_catalogue", read_or_replace)

    return replace_catalogue
