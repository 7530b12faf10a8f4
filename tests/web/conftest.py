import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.web.browser import BROWSER, PATIENCE, SWITCHES

if find_spec("gradio") is None:
    collect_ignore_glob = ["test_*.py"]


@contextmanager
def serving(**options: Any) -> Iterator[Any]:
    """Serve the page in a thread until the end of the block."""
    from inpaint.web.server import serve

    server = serve(port=0, device="cpu", **options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server
    server.should_exit = True
    thread.join()


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from inpaint.web.fills import Fills
    from inpaint.web.service import Service

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Service(Fills("cpu"))
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


@pytest.fixture(scope="session")
def selector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with EfficientSAM's inputs and outputs: two discs around the mean of its points, of which the
    smaller one is trusted more, unless the points are corners of a box."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    side, node, five = 1024, helper.make_node, [1, 1, 1, 1, 1]
    along = np.arange(side, dtype=np.float32).reshape(1, 1, 1, 1, side)
    values = {
        "x": along, "y": along.swapaxes(3, 4), "five": np.array(five), "flat": np.array([1, 1, 1]),
        "radii": np.array([40.0**2, 90.0**2], np.float32).reshape(1, 1, 2, 1, 1),
        "zero": np.array([0]), "one": np.array([1]), "two": np.array([2]), "last": np.array([3]),
        "nothing": np.float32([0]), "some": np.float32([1]), "unit": np.full((1, 1, 1), 1.5, np.float32),
    }  # fmt: skip
    nodes = [
        # Points count where their label is not -1: weights of 0 and 1 to sum over.
        node("Add", ["batched_point_labels", "some"], ["label"]),
        node("Min", ["label", "some"], ["weight"]),
        node("Mul", ["batched_point_coords", "weight"], ["weighted"]),
        node("ReduceSum", ["weighted", "two"], ["sum"], keepdims=1),
        node("ReduceSum", ["weight", "two"], ["count"], keepdims=1),
        node("Div", ["sum", "count"], ["centre"]),
        node("Slice", ["centre", "zero", "one", "last"], ["cx"]),
        node("Slice", ["centre", "one", "two", "last"], ["cy"]),
        node("Reshape", ["cx", "five"], ["px"]), node("Reshape", ["cy", "five"], ["py"]),
        node("Sub", ["x", "px"], ["dx"]), node("Sub", ["y", "py"], ["dy"]),
        node("Mul", ["dx", "dx"], ["dx2"]), node("Mul", ["dy", "dy"], ["dy2"]),
        node("Add", ["dx2", "dy2"], ["d2"]), node("Sub", ["radii", "d2"], ["discs"]),
        node("ReduceMean", ["batched_images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        node("Mul", ["mean", "nothing"], ["none"]), node("Reshape", ["none", "five"], ["unused"]),
        node("Add", ["discs", "unused"], ["output_masks"]),
        node("ReduceMax", ["batched_point_labels"], ["kind"], axes=[2, 3], keepdims=1),
        node("Reshape", ["kind", "flat"], ["box"]),
        node("Concat", ["unit", "box"], ["trust"], axis=2), node("Identity", ["trust"], ["iou_predictions"]),
    ]  # fmt: skip
    made = [numpy_helper.from_array(value, name) for name, value in values.items()]
    inputs = {
        "batched_images": [1, 3, side, side],
        "batched_point_coords": [1, 1, 6, 2],
        "batched_point_labels": [1, 1, 6, 1],
    }
    outputs = {"output_masks": [1, 1, 2, side, side], "iou_predictions": [1, 1, 2]}
    described = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
        for shapes in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "stand-in", described[0], described[1], made)
    path = tmp_path_factory.mktemp("weights") / "sam.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as server:
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
        # Messages stay three times as long, for busy machines.
        context.add_init_script(
            "const wait = setTimeout; window.setTimeout = (act, ms = 0) => wait(act, ms < 5000 ? ms : 3 * ms)"
        )
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
