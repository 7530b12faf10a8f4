from pathlib import Path

import cv2
import numpy as np
import pytest

from inpaint.errors import InpaintError, MaskError
from inpaint.web.select import Rough, select_object


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("kind", ["box", "scribble"])
def test_a_rough_hint_becomes_the_object(kind: str, scale: int) -> None:
    random = np.random.default_rng(0)
    height, width = 240, 320
    truth = np.zeros((height, width), np.uint8)
    cv2.ellipse(truth, (150, 120), (60, 38), 20, 0, 360, 1, -1)
    pixels = np.where(truth[..., None] > 0, (200, 60, 50), (70, 110, 80)) + random.normal(
        0, 18, (height, width, 3)
    )
    pixels = cv2.resize(pixels.clip(0, 255).astype(np.uint8), None, fx=scale, fy=scale)
    truth = cv2.resize(truth, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST) > 0
    points = [(75, 60), (228, 182)] if kind == "box" else [(110, 110), (150, 120), (190, 132)]
    hint = Rough(kind=kind, points=[(x * scale, y * scale) for x, y in points], radius=6 * scale)
    found = select_object(pixels, hint)
    assert (found & truth).sum() / (found | truth).sum() > 0.93


def test_hints_that_mean_nothing_are_told(tmp_path: Path) -> None:
    grey = np.full((100, 100, 3), 128, np.uint8)
    with pytest.raises(MaskError, match="too small"):
        select_object(grey, Rough(kind="box", points=[(10, 10), (11, 11)]))
    with pytest.raises(MaskError, match="covers the whole photo"):
        select_object(grey, Rough(kind="box", points=[(-5, -5), (150, 150)]))
    with pytest.raises(MaskError, match="too small"):
        select_object(grey, Rough(kind="box", points=[(500, 500), (700, 700)]))
    with pytest.raises(MaskError, match="a network that is not here"):
        select_object(grey, Rough(kind="click", points=[(10, 10)]))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


@pytest.mark.parametrize(
    ("rough", "centre", "radius", "seen"),
    [
        ({"kind": "click", "points": [(500, 120)]}, (500, 120), 40, (300, 600)),
        ({"kind": "box", "points": [(360, 100), (300, 60)]}, (330, 80), 90, (160, 180)),
        (
            {"kind": "scribble", "points": [(200, 150), (230, 150), (260, 150)], "radius": 5},
            (230, 150),
            40,
            (150, 210),
        ),
    ],
)
def test_a_network_is_given_the_hint_in_its_own_coordinates(
    weights: Path, rough: dict, centre: tuple[int, int], radius: int, seen: tuple[int, int]
) -> None:
    """``seen`` is the part of the photo that the network is shown, ``(H, W)``."""
    found = select_object(np.zeros((300, 600, 3), np.uint8), Rough(**rough), weights)
    rows, columns = np.nonzero(found)
    assert abs(columns.mean() - centre[0]) < 1.5 and abs(rows.mean() - centre[1]) < 1.5
    across = (np.ptp(rows) + 1) / seen[0] * 1024, (np.ptp(columns) + 1) / seen[1] * 1024
    assert across == pytest.approx((2 * radius, 2 * radius), rel=0.15)


def test_weights_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "sam.onnx").write_bytes(b"no network")
    rough = Rough(kind="click", points=[(5, 5)])
    with pytest.raises(InpaintError, match=r"sam\.onnx is not a network that OpenCV can read"):
        select_object(np.zeros((50, 50, 3), np.uint8), rough, tmp_path / "sam.onnx")
