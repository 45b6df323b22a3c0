"""What makes a model one that can be run at all, beyond what ONNX's own checker looks at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import onnx
from onnx import helper, numpy_helper, shape_inference

from compiler.forest import read_forest
from specs.errors import InputError, Issue, Place

NEWEST_OPSETS: Final[dict[str, int]] = {
    domain: max(version for d, version in helper.OP_SET_ID_VERSION_MAP if d == domain)
    for domain in ("ai.onnx", "ai.onnx.ml")
}
"""By domain: the newest set of operators that the installed ONNX has released."""


def check_sound(model: onnx.ModelProto, file: str) -> None:
    """Raises InputError, naming `file`, for sets of operators that do not exist yet, a graph without operators, inputs
    or outputs, and decision trees that are none."""
    place = Place(file)
    for said in model.opset_import:
        newest = NEWEST_OPSETS.get(said.domain or "ai.onnx")
        if newest is not None and not 1 <= said.version <= newest:
            message = f"opset {said.version} of {said.domain or 'ai.onnx'}; expected 1 to {newest}"
            raise InputError(Issue(message, place, f"export the model with opset_version={newest} or less"))
    constants = {init.name for init in model.graph.initializer}
    for what, there in (
        ("operators", len(model.graph.node)),
        ("inputs", sum(value.name not in constants for value in model.graph.input)),
        ("outputs", len(model.graph.output)),
    ):
        if not there:
            raise InputError(
                Issue(f"the model has no {what}: there is nothing to run", place, "export the model again")
            )
    trees = [node for node in nodes(model.graph) if node.op_type in ("TreeEnsembleClassifier", "TreeEnsembleRegressor")]
    widths = _widths(model) if trees else {}
    for node in trees:
        _check_trees(node, widths.get(node.input[0]), place)


def _check_trees(node: onnx.NodeProto, width: int | None, place: Place) -> None:
    """`width` is the number of features that the trees are given, where it is known."""
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    attrs = {k: numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for k, v in attrs.items()}
    name = f" (node {node.name!r})" if node.name else ""
    kind, targets = "target", int(attrs.get("n_targets", 1))
    if node.op_type == "TreeEnsembleClassifier":
        kind, targets = "class", max(len(attrs.get(f"classlabels_{k}", ())) for k in ("int64s", "strings"))
    try:
        forest = read_forest(attrs, kind, targets)
    except InputError as error:
        raise InputError(*(Issue(f"{i.message}{name}", place, i.hint) for i in error.issues)) from error
    first, last = int(forest.feature.min()), int(forest.feature.max())
    if first < 0 or (width is not None and last >= width):
        message = f"invalid tree ensemble: it reads feature {first if first < 0 else last} of {width}{name}"
        raise InputError(Issue(message, place, "export the model again"))


def _widths(model: onnx.ModelProto) -> dict[str, int]:
    """The last dimension of each value whose last dimension is known."""
    graph = shape_inference.infer_shapes(model).graph
    widths: dict[str, int] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and dims[-1].dim_value > 0:
            widths[value.name] = dims[-1].dim_value
    return widths


def nodes(graph: Any, depth: int = 0) -> Iterator[Any]:
    """All nodes, those of inner graphs included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for sub in (attribute.g, *attribute.graphs):
                if depth < 16:
                    yield from nodes(sub, depth + 1)
