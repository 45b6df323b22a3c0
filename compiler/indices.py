"""How large whole numbers given to a model may be: what they are indices of."""

from __future__ import annotations

from typing import Final

import onnx
from onnx import shape_inference

KEEP_VALUES: Final = frozenset(
    {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand"}
)
"""Operators whose first input's values are those of the output."""
INDEXED: Final = frozenset({"Gather", "GatherElements"})
"""Operators whose second input are indices into the first, along `axis`, which is 0 where it is not said."""


def index_bounds(model: onnx.ModelProto) -> dict[str, int]:
    """For each input that is used as an index: how many entries there are, of the smallest table if several.

    Seen where the way from the input to the table only changes shapes and types, and the table's size is known.
    """
    inferred = shape_inference.infer_shapes(model)
    values = (*inferred.graph.input, *inferred.graph.value_info)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    shapes |= {init.name: list(init.dims) for init in model.graph.initializer}
    origin = {v.name: v.name for v in model.graph.input if v.name not in {i.name for i in model.graph.initializer}}
    found: dict[str, int] = {}
    for node in model.graph.node:  # in topological order, as the standard asks
        if node.op_type in KEEP_VALUES and node.input[0] in origin:
            origin[node.output[0]] = origin[node.input[0]]
        elif node.op_type in INDEXED and node.input[1] in origin:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            shape = shapes.get(node.input[0], [])
            if -len(shape) <= axis < len(shape) and shape[axis] > 0:
                name = origin[node.input[1]]
                found[name] = min(found.get(name, shape[axis]), shape[axis])
    return found
