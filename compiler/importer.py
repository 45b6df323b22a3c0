"""ONNX to Relax: TVM's importer, and the operators of ai.onnx.ml that it lacks."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import onnx
import tvm
from onnx import numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from compiler import integer_import, linear
from compiler.batch_norm import fold_batch_norm
from compiler.forest import Forest, read_forest
from compiler.integer_import import PREFERRED
from compiler.integers import use_integers
from compiler.schedules.bitvectors import bitvector_function, bitvector_tables, worthwhile
from compiler.schedules.classes import Ends, Post, classes_function
from compiler.schedules.forest import forest_function, forest_tables
from specs.errors import InputError, Issue, Place

_CACHE_LINE = 16
"""Values of four bytes."""


def import_model(model: onnx.ModelProto, file: str, widest: int = 0) -> tvm.IRModule:
    """A prepared model (static shapes) as a Relax module whose `main` takes the inputs in the model's order.

    Of a quantized model, integers compute the products whose weights are of magnitude up to `widest`.

    Raises InputError naming the operator that cannot be imported.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    importer = _Importer({}, None, file)
    said = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said):  # the importer prints; stdout is for results
            warnings.simplefilter("ignore")
            return importer.from_onnx(use_integers(fold_batch_norm(model.graph), widest), opset)
    except InputError:
        raise
    except Exception as error:
        what = f"{said.getvalue().strip().splitlines()[-1][:120]}: " if said.getvalue().strip() else ""
        first = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        raise InputError(
            Issue(f"TVM cannot import the model: {what}{first}", Place(file), "use backend onnxruntime")
        ) from error


class _Importer(onnx_frontend.ONNXGraphImporter):
    """TVM's importer with the converters of `_CONVERTERS`."""

    def __init__(self, shapes: Mapping[str, Any], dtype: Any, file: str) -> None:
        super().__init__(dict(shapes), dtype, keep_params_in_input=False, sanitize=True)
        self._file = file

    def _check_for_unsupported_ops(self, graph: onnx.GraphProto) -> None:
        known = {*onnx_frontend._get_convert_map(), *_CONVERTERS, "If", "Constant"}
        for node in graph.node:
            if node.op_type not in known:
                raise InputError(
                    Issue(
                        f"TVM has no operator {node.op_type} (node {node.name!r})",
                        Place(self._file),
                        "use backend onnxruntime",
                    )
                )

    def _parse_attr(self, attr_proto: Any) -> dict[str, Any]:
        return super()._parse_attr([a for a in attr_proto if not _is_empty_list(a)])

    def _convert_operator(self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int) -> Any:
        if op_name in _CONVERTERS:
            result = _CONVERTERS[op_name](self.bb, inputs, attrs)
            return self.bb.normalize(result)
        if op_name in PREFERRED and (preferred := PREFERRED[op_name](self.bb, inputs, attrs)) is not None:
            return self.bb.normalize(preferred)
        if op_name == "Clip" and (clipped := _clip(self.bb, list(inputs), attrs)) is not None:
            return self.bb.normalize(clipped)
        if op_name == "Gemm" and attrs.get("transB") and isinstance(inputs[1], tvm.ir.GenericConst):
            inputs = type(inputs)([inputs[0], _transposed(inputs[1]), *inputs[2:]])
            attrs = attrs | {"transB": 0}
        if op_name == "Conv" and (bias := _conv_bias(inputs)) is not None:
            result = super()._convert_operator(op_name, type(inputs)(inputs[:2]), attrs, opset)
            return self.bb.normalize(relax.op.add(self.bb.emit(result), bias))
        return super()._convert_operator(op_name, inputs, attrs, opset)


def _clip(bb: Any, inputs: list[Any], attrs: Mapping[str, Any]) -> Any | None:
    """Clip between constants as maximum and minimum, which stay visible to layout and fusion; None otherwise.

    TVM's importer makes opaque calls of it, at which blocked layouts end.
    """
    data, *bounds = [*inputs, None, None][:3]
    if data.ty.dtype != "float32":
        return None
    bounds = [
        relax.const(float(attrs[name]), "float32") if bound is None and name in attrs else bound
        for bound, name in zip(bounds, ("min", "max"), strict=True)
    ]
    if any(bound is not None and not isinstance(bound, tvm.ir.GenericConst) for bound in bounds):
        return None
    for bound, operator in zip(bounds, (relax.op.maximum, relax.op.minimum), strict=True):
        data = data if bound is None else bb.emit(operator(data, bound))
    return data


def _transposed(constant: Any) -> Any:
    """A constant matrix the other way round; TVM would compile a function for it, and walk memory in long steps."""
    values = np.from_dlpack(constant.value)
    result = np.empty(values.shape[::-1], values.dtype)
    for row in range(0, len(values), _CACHE_LINE):
        result[:, row : row + _CACHE_LINE] = values[row : row + _CACHE_LINE].T
    return relax.const(result, constant.ty.dtype)


def _conv_bias(inputs: Any) -> Any | None:
    """A constant bias as [1, C, 1, ..], None without: TVM would compile a function to give it that shape."""
    weight, bias = inputs[1], inputs[2]
    if not isinstance(bias, tvm.ir.GenericConst):
        return None
    return relax.const(bias.value.numpy().reshape(1, -1, *[1] * (len(weight.ty.shape) - 2)), bias.ty.dtype)


def _is_empty_list(attribute: onnx.AttributeProto) -> bool:
    lists = (attribute.floats, attribute.ints, attribute.strings)
    kinds = (onnx.AttributeProto.FLOATS, onnx.AttributeProto.INTS, onnx.AttributeProto.STRINGS)
    return attribute.type in kinds and not any(len(values) for values in lists)


def _classifier(bb: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    """TreeEnsembleClassifier -> (labels [N], scores [N, classes])."""
    if "classlabels_int64s" not in attrs:
        raise InputError(Issue("classes of a tree ensemble are strings", None, "export the model with integer labels"))
    labels = np.asarray(attrs["classlabels_int64s"], np.int64)
    forest = read_forest(_tensors(attrs), "class", len(labels))
    base = np.asarray(attrs.get("base_values", ()), np.float32)
    post = _post_transform(attrs)
    ends = _binary(attrs, base, post) if len(labels) == 2 else Ends(post)
    if len(labels) == 2 and ends.first is None:
        base = base[:0]
    sums = _sums(bb, inputs[0], forest)
    batch, classes = (int(d) for d in sums.ty.shape)
    added = np.broadcast_to(base, classes) if base.size else np.zeros(classes, np.float32)
    types = [relax.TensorType((batch,), "int64"), relax.TensorType((batch, classes), "float32")]
    function = bb.add_func(classes_function(batch, classes, ends), "classes")
    return bb.emit(relax.call_tir(function, [sums, _const(added), _const(labels)], types))


def _binary(attrs: Mapping[str, Any], base: np.ndarray, post: Post) -> Ends:
    """Two classes of which one has weights, with the labels and scores that ONNX Runtime gives.

    The second class is chosen beyond 0.5 where all weights are positive (probabilities), else beyond 0. Weights for
    class 0 are a score s of the second class all the same; the first then has sigmoid(-s) under LOGISTIC, else 1 - s
    or -s.
    """
    used = {int(i) for i in attrs.get("class_ids", ())}
    if len(used) != 1 or base.size > 1:
        what = "weights for both of its two classes" if base.size <= 1 else "two base values for two classes"
        message = f"a tree ensemble has {what}, which ONNX Runtime and the specification read differently"
        raise InputError(Issue(message, None, "use backend onnxruntime, or export it with weights for one class"))
    positive = bool((np.asarray(attrs["class_weights"]) >= 0).all())
    beyond = 0.5 if positive else 0.0
    if used == {1}:
        return Ends(post, beyond)
    if post == "LOGISTIC":
        return Ends(post, beyond, first=0.0)
    return Ends("NONE", beyond, first=1.0 if positive else 0.0)


def _regressor(bb: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    """TreeEnsembleRegressor -> [N, targets]."""
    forest = read_forest(_tensors(attrs), "target", int(attrs.get("n_targets", 1)))
    function = attrs.get("aggregate_function", b"SUM").decode()
    if function not in ("SUM", "AVERAGE"):
        raise InputError(
            Issue(f"aggregate function {function} of a tree ensemble is not supported", None, "use SUM or AVERAGE")
        )
    sums = _sums(bb, inputs[0], forest)
    if function == "AVERAGE":
        sums = bb.emit(relax.op.divide(sums, relax.const(float(forest.trees), "float32")))
    base = np.asarray(attrs.get("base_values", ()), np.float32)
    if base.size:
        sums = bb.emit(relax.op.add(sums, _const(base.reshape(1, -1))))
    return _transform(bb, sums, _post_transform(attrs))


def _scaler(bb: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    """Scaler -> (x - offset) * scale, in float32."""
    values = bb.emit(relax.op.astype(inputs[0], "float32"))
    if "offset" in attrs:
        values = bb.emit(relax.op.subtract(values, _const(np.asarray(attrs["offset"], np.float32))))
    return relax.op.multiply(values, _const(np.asarray(attrs.get("scale", (1.0,)), np.float32)))


_CONVERTERS: dict[str, Callable[[Any, Any, dict[str, Any]], Any]] = {
    "TreeEnsembleClassifier": _classifier,
    "TreeEnsembleRegressor": _regressor,
    "Scaler": _scaler,
    **linear.CONVERTERS,
    **integer_import.CONVERTERS,
}


def _sums(bb: Any, data: Any, forest: Forest) -> Any:
    """The call of the forest's loop on `data` [N, F]."""
    if len(data.ty.shape) == 1:
        data = bb.emit(relax.op.reshape(data, (1, int(data.ty.shape[0]))))
    batch, features = (int(d) for d in data.ty.shape)
    if not 0 <= int(forest.feature.min()) <= int(forest.feature.max()) < features:
        raise InputError(Issue(f"a tree ensemble reads feature {int(forest.feature.max())} of {features}", None))
    if (bits := worthwhile(forest, batch)) is not None:
        loop, tables, dtype = bitvector_function(bits, batch, features), bitvector_tables(bits), "float32"
    else:
        records = forest.records()
        loop = forest_function(forest, records, batch, features)
        tables, dtype = forest_tables(forest, records), records.dtype
    if data.ty.dtype != dtype:
        data = bb.emit(relax.op.astype(data, dtype))
    out = relax.TensorType((batch, forest.targets), "float32")
    return bb.emit(relax.call_tir(bb.add_func(loop, "forest"), [data, *(_const(t) for t in tables)], out))


def _transform(bb: Any, scores: Any, post: str) -> Any:
    if post == "LOGISTIC":
        return bb.emit(relax.op.sigmoid(scores))
    if post == "SOFTMAX":
        return bb.emit(relax.op.nn.softmax(scores, axis=-1))
    return scores


def _post_transform(attrs: Mapping[str, Any]) -> Post:
    said = attrs.get("post_transform", b"NONE").decode()
    post = next((known for known in get_args(Post) if said == known), None)
    if post is None:
        raise InputError(
            Issue(f"post transform {said} of a tree ensemble is not supported", None, "use NONE, LOGISTIC or SOFTMAX")
        )
    return post


def _tensors(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with their tensors as arrays."""
    return {k: numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for k, v in attrs.items()}


def _const(values: np.ndarray) -> Any:
    return relax.const(np.ascontiguousarray(values), str(values.dtype))  # without its type, int64 would become int32
