"""Classes of a converted classifier as whole numbers: text is no tensor that a site could send on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LABEL = "label"


def integer_classes(classes: Sequence[object]) -> tuple[list[int], tuple[str, ...]]:
    """(the number of each class, what the numbers stand for): whole numbers stand for themselves, and nothing is said;
    others are counted from 0."""
    kept = np.asarray(classes)
    if kept.dtype.kind in "iub" or (kept.dtype.kind == "f" and bool((kept == np.round(kept)).all())):
        return [int(c) for c in kept], ()
    return list(range(len(kept))), tuple(str(c) for c in kept)


def relabel(model: onnx.ModelProto, classes: Sequence[object]) -> onnx.ModelProto:
    """`model` with whole numbers wherever it names its `classes` as text."""
    numbers, _ = integer_classes(classes)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    words = [str(c).encode() for c in classes]
    for node in copy.graph.node:
        for attribute in [a for a in node.attribute if a.name == "classlabels_strings" and list(a.strings) == words]:
            node.attribute.remove(attribute)
            node.attribute.append(helper.make_attribute(_attribute(node), numbers))
    for constant in copy.graph.initializer:
        if constant.data_type == TensorProto.STRING and list(constant.string_data) == words:
            name, dims = constant.name, list(constant.dims)
            constant.CopyFrom(numpy_helper.from_array(np.asarray(numbers, np.int64).reshape(dims), name))
    for value in copy.graph.output:
        if value.type.tensor_type.elem_type == TensorProto.STRING:
            value.type.tensor_type.elem_type = TensorProto.INT64
    del copy.graph.value_info[:]
    return copy


def renumber(model: onnx.ModelProto, numbers: Sequence[int]) -> onnx.ModelProto:
    """`model`, which counts its classes from 0, with these `numbers` for them."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        for attribute in node.attribute:
            if attribute.name == _attribute(node) and list(attribute.ints) == list(range(len(numbers))):
                del attribute.ints[:]
                attribute.ints.extend(numbers)
    return copy


def _attribute(node: onnx.NodeProto) -> str:
    """Which one holds classes that are numbers."""
    return "classlabels_int64s" if node.op_type == "TreeEnsembleClassifier" else "classlabels_ints"
