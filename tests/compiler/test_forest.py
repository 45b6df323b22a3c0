"""Decision forests: labels equal ONNX Runtime's to the bit, scores to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tvm
from tvm.runtime.vm import VirtualMachine

from compiler.forest import GROUP, read_forest
from compiler.host import host
from compiler.importer import import_model
from compiler.lower import lower
from compiler.model import prepare
from specs.errors import InputError
from tests.compiler.forests import MODES, ensemble, on_the_grid
from tests.compiler.models import reference

CASES: dict[str, dict[str, Any]] = {
    "three classes, softmax": {"classes": 3, "post": "SOFTMAX"},
    "three classes, weights for each": {"classes": 3, "dense": True, "positive": True},
    "three classes, base values": {"classes": 3, "post": "LOGISTIC", "base": (0.1, 0.2, -0.3)},
    "two classes, logistic": {"classes": 2, "post": "LOGISTIC", "only": 0},
    "two classes, logistic, base value": {"classes": 2, "post": "LOGISTIC", "only": 0, "base": (0.2,)},
    "two classes, logistic, second": {"classes": 2, "post": "LOGISTIC", "only": 1},
    "two classes, probabilities": {"classes": 2, "only": 0, "positive": True},
    "two classes, probabilities, second": {"classes": 2, "only": 1, "positive": True, "post": "SOFTMAX"},
    "two classes, raw": {"classes": 2, "only": 0},
    "regression": {"base": (0.5,)},
    "regression, three targets": {"targets": 3},
    **{f"{mode}, missing values": {"classes": 3, "modes": (mode,), "tracks": True} for mode in MODES},
    "all modes": {"classes": 3, "modes": MODES},
    "all modes, missing values": {"classes": 4, "modes": MODES, "tracks": True, "post": "SOFTMAX"},
    "a batch": {"classes": 3, "batch": 9},
}
BATCHED = ("three classes, weights for each", "regression", "all modes, missing values")
CASES |= {f"{name}, {batch} rows": CASES[name] | {"batch": batch} for name in BATCHED for batch in (16, 40, 100)}


@pytest.mark.parametrize("case", CASES)
def test_a_random_forest_equals_the_reference(case: str) -> None:
    rng = np.random.default_rng(len(case))
    options = CASES[case]
    proto = ensemble(rng, trees=int(rng.integers(1, 60)), depth=5, features=12, **options)
    main = _compiled(proto)
    for _ in range(25):
        x = on_the_grid(rng, 12, missing="missing" in case, batch=options.get("batch", 1))
        found, expected = main(x), reference(proto, {"x": x})
        for ours, theirs in zip(found, expected, strict=True):
            if theirs.dtype.kind == "i":
                np.testing.assert_array_equal(ours, theirs)
            else:
                np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("batch", [1, 9])
def test_places_that_do_not_fit_beside_a_feature_take_twice_the_width(batch: int) -> None:
    rng = np.random.default_rng(batch)
    features = 1 << 20
    proto = ensemble(rng, trees=70, depth=7, features=features, tracks=True, batch=batch)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.graph.node[0].attribute}
    assert read_forest(attributes, "target", 1).records().dtype == "float64"
    x = on_the_grid(rng, features, missing=True, batch=batch)
    np.testing.assert_allclose(_compiled(proto)(x)[0], reference(proto, {"x": x})[0], rtol=2e-6, atol=2e-6)


def test_two_classes_with_weights_for_both_are_refused() -> None:
    """ONNX Runtime and the specification disagree about their label."""
    proto = ensemble(np.random.default_rng(0), 3, 3, 4, classes=2, dense=True)
    with pytest.raises(InputError, match="read differently"):
        _compiled(proto)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes_truenodeids": [7, 0, 0]}, "child that does not exist"),
        ({"nodes_truenodeids": [0, 0, 0]}, "cycle"),
        ({"nodes_values": [0.5]}, "differ in length"),
        ({"nodes_nodeids": [0, 1, 1]}, "twice"),
        ({"nodes_modes": [b"BRANCH_XOR", b"LEAF", b"LEAF"]}, "unknown branch mode"),
        ({"target_ids": [0, 5]}, "outside"),
        ({"target_nodeids": [1, 9]}, "does not exist"),
        ({"nodes_treeids": [0, 0, 1]}, "child that does not exist"),
    ],
)
def test_attributes_that_describe_no_trees_are_refused(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_modes": [b"BRANCH_LEQ", b"LEAF", b"LEAF"],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [1.0, -1.0],
    }
    assert read_forest(good, "target", 1).trees == 1
    with pytest.raises(InputError, match=message):
        read_forest(good | change, "target", 1)


def test_a_feature_that_the_input_does_not_have_is_refused() -> None:
    """Reading it would leave the input's memory."""
    proto = ensemble(np.random.default_rng(0), 3, 3, 4)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
    with pytest.raises(InputError, match="reads feature"):
        import_model(proto, "test.onnx")


def test_tables_are_padded_to_whole_groups_of_trees() -> None:
    proto = ensemble(np.random.default_rng(0), GROUP + 1, 3, 4)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.graph.node[0].attribute}
    forest = read_forest(attributes, "target", 1)
    assert forest.trees == GROUP + 1
    assert len(forest.root) == 2 * GROUP
    assert forest.depth.tolist()[0] == 3
    assert not forest.weight[forest.root[-1]].any()


def _compiled(proto: onnx.ModelProto) -> Any:
    lowered = lower(import_model(prepare(proto, {}, "test.onnx"), "test.onnx"), host().target, 1)
    main = VirtualMachine(lowered.executable, tvm.cpu())["main"]

    def run(x: np.ndarray) -> list[np.ndarray]:
        result = main(tvm.runtime.tensor(x))
        return [t.numpy() for t in ([result] if hasattr(result, "numpy") else result)]

    return run
