"""No test sees the weights in this user's cache, or asks for any over the network, unless it says so."""

from __future__ import annotations

import hypothesis
import pytest

# A busy machine is no error: no property test has a time limit.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def no_weights_of_this_user(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INPAINT_CACHE", str(tmp_path_factory.getbasetemp() / "no-cache"))
    monkeypatch.setenv("INPAINT_OFFLINE", "1")
