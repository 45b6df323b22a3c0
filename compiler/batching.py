"""May a model take several requests at once? Its batch axis, the first of every input, must pass through everything.

A model that was exported for one request says 1 where it means the batch: so do the targets of its Reshape operators,
which are rewritten. Then shapes are inferred with a batch of `STAND_IN`, a prime that no model has for a size: each
value that depends on an input must have it as its first axis, in no other, and no operator may work along that axis.
Operators that would still mix rows (one that turns the batch round, say) are found by running: `planner profile`
compares each row with ONNX Runtime's answer to the request alone.
"""

from __future__ import annotations

from typing import Final

import onnx
from onnx import numpy_helper, shape_inference

from compiler.constants import constants_of
from specs.errors import InputError, Issue, Place

STAND_IN: Final = 8191
_HINT: Final = "leave batch out, or export it with a named first dimension, as in [N, ...]"
_SHAPES_ONLY: Final = ("Shape", "Size")
"""Operators whose result depends on an input's shape alone."""
_ROW_BY_ROW: Final = ("ai.onnx.ml",)
"""Domains whose operators take rows, and for which no shapes are inferred."""
_ALONG: Final = {
    "Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "LayerNormalization": -1, "LpNormalization": -1, "TopK": -1,
    "GatherElements": 0, "ScatterElements": 0, "Scatter": 0, "CumSum": None, "ReverseSequence": 0,
}  # fmt: skip
"""Operators that keep a shape and yet join what lies along an axis, with the axis where none is given."""
_UNKNOWN: Final = ("Loop", "Scan", "If", "NonMaxSuppression", "Unique", "NonZero", "Compress", "RNN", "LSTM", "GRU")
"""Operators of which shapes do not say that rows stay apart."""


def set_batch(model: onnx.ModelProto, batch: int) -> None:
    """Make a copy of a model, in place, one of `batch` items: its inputs, and the Reshape targets that say 1 first.

    Shapes that are said of other values are dropped: those of one item would contradict.
    """
    graph = model.graph
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_value <= 1:
            dims[0].dim_value = batch
    for value in (*graph.output, *graph.value_info):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    constants = constants_of(graph)
    for number, node in enumerate(graph.node):
        if node.op_type == "Reshape" and node.domain in ("", "ai.onnx") and node.input[0] not in constants:
            target = constants.get(node.input[1])
            told = numpy_helper.to_array(target).copy() if target is not None else None
            if told is not None and told.size and told.flat[0] == 1:
                told.flat[0] = batch
                name = f"{node.input[1]}__batch{number}"
                graph.initializer.append(numpy_helper.from_array(told, name))
                node.input[1] = name


def check_batchable(model: onnx.ModelProto, file: str) -> None:
    """Raises InputError, saying why, where a model's rows may not be independent (see the module).

    `model` is as `set_batch` leaves it for a batch of `STAND_IN`.
    """
    try:
        inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        raise _refused(file, f"its shapes do not fit several requests at once: {said}") from error
    known = {v.name: v for v in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)}
    depending = {value.name for value in model.graph.input}
    rows: set[str] = set()
    for node in inferred.graph.node:
        if node.op_type in _SHAPES_ONLY or not depending.intersection(node.input):
            continue
        depending.update(node.output)
        if node.domain in _ROW_BY_ROW:
            rows.update(node.output)
            continue
        if why := _mixes(node, known):
            raise _refused(file, f"{node.op_type} {node.name or node.output[0]!r} {why}")
        for name in (name for name in node.output if name and not rows.intersection(node.input)):
            if not _first_alone(known.get(name)):
                raise _refused(file, f"{node.op_type} gives {name!r} another first axis than the batch")
        rows.update(node.output if rows.intersection(node.input) else ())
    for value in model.graph.output:
        if value.name not in depending:
            raise _refused(file, f"output {value.name!r} depends on no input")


def _mixes(node: onnx.NodeProto, known: dict[str, onnx.ValueInfoProto]) -> str:
    """Why an operator may join rows; empty if it does not."""
    if node.op_type in _UNKNOWN:
        return "may join several requests"
    axes = {a.name: a.i for a in node.attribute if a.name in ("axis", "time_axis", "batch_axis")}
    if node.op_type in _ALONG:
        default = _ALONG[node.op_type]
        axis = axes.get("time_axis" if node.op_type == "ReverseSequence" else "axis", default)
        value = known.get(node.input[0])
        rank = len(value.type.tensor_type.shape.dim) if value is not None else 0
        if axis is None or not rank or axis % rank == 0:
            return "works along the batch"
    return ""


def _first_alone(value: onnx.ValueInfoProto | None) -> bool:
    """Whether the first axis is the batch, and no other holds it."""
    if value is None:
        return False
    first, *others = [d.dim_value for d in value.type.tensor_type.shape.dim] or [0]
    return first == STAND_IN and all(d > 0 and d % STAND_IN for d in others)


def _refused(file: str, why: str) -> InputError:
    return InputError(Issue(f"the model takes one request at a time: {why}", Place(file), _HINT))
