"""Operators of ai.onnx.ml around trees: linear models, and what stands before and behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax

from specs.errors import InputError, Issue


def _linear_classifier(bb: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    """LinearClassifier -> (labels [N], scores [N, classes]).

    Of one row of coefficients and two labels, the score is that of the second class; the first has its complement.
    """
    if "classlabels_ints" not in attrs and "classlabels_int64s" not in attrs:
        raise InputError(Issue("classes of a linear model are strings", None, "export it with integer labels"))
    labels = np.asarray(attrs.get("classlabels_ints", attrs.get("classlabels_int64s")), np.int64)
    post = _word(attrs, "post_transform")
    scores = _affine(bb, inputs[0], attrs, "intercepts")
    rows = int(scores.ty.shape[1])
    if rows == 1 and len(labels) == 2:
        other = bb.emit(relax.op.negative(scores))
        scores = bb.emit(relax.op.concat([other, scores], axis=1))
        beyond = bb.emit(
            relax.op.greater(bb.emit(relax.op.take(scores, _const(np.array([1], np.int64)), axis=1)), _zero())
        )
        best = bb.emit(relax.op.reshape(bb.emit(relax.op.astype(beyond, "int64")), (int(scores.ty.shape[0]),)))
    elif rows == len(labels):
        best = bb.emit(relax.op.argmax(scores, axis=1, keepdims=False))
    else:
        raise InputError(Issue(f"a linear model has {rows} rows of coefficients for {len(labels)} classes", None))
    return relax.Tuple([bb.emit(relax.op.take(_const(labels), best, axis=0)), _transform(bb, scores, post)])


def _linear_regressor(bb: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    return _transform(bb, _affine(bb, inputs[0], attrs, "intercepts"), _word(attrs, "post_transform"))


def _affine(bb: Any, data: Any, attrs: Mapping[str, Any], intercepts: str) -> Any:
    """data [N, F] times the coefficients [rows, F], and the intercepts, in float32."""
    x = bb.emit(relax.op.astype(data, "float32"))
    if len(x.ty.shape) == 1:
        x = bb.emit(relax.op.reshape(x, (1, int(x.ty.shape[0]))))
    features = int(x.ty.shape[1])
    values = np.asarray(attrs["coefficients"], np.float32)
    if not values.size or values.size % features:
        raise InputError(Issue(f"a linear model has {values.size} coefficients for {features} features", None))
    product = bb.emit(relax.op.matmul(x, _const(values.reshape(-1, features).T)))
    base = np.asarray(attrs.get(intercepts, ()), np.float32)
    return product if not base.size else bb.emit(relax.op.add(product, _const(base.reshape(1, -1))))


def _normalizer(bb: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    """Normalizer: each row divided by its norm; a row of zeros stays."""
    x = bb.emit(relax.op.astype(inputs[0], "float32"))
    norm = _word(attrs, "norm", "MAX")
    if norm == "L2":
        size = bb.emit(relax.op.sqrt(bb.emit(relax.op.sum(bb.emit(relax.op.multiply(x, x)), axis=[-1], keepdims=True))))
    elif norm == "L1":
        size = bb.emit(relax.op.sum(bb.emit(relax.op.abs(x)), axis=[-1], keepdims=True))
    else:
        size = bb.emit(relax.op.max(x, axis=[-1], keepdims=True))
    empty = bb.emit(relax.op.equal(size, _zero()))
    return relax.op.divide(x, bb.emit(relax.op.where(empty, relax.const(1.0, "float32"), size)))


def _imputer(bb: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    """Imputer: what equals `replaced_value_float` (or is not a number) becomes the feature's value."""
    if "imputed_value_floats" not in attrs:
        raise InputError(Issue("Imputer of whole numbers is not supported", None, "use backend onnxruntime"))
    x = bb.emit(relax.op.astype(inputs[0], "float32"))
    values = _const(np.asarray(attrs["imputed_value_floats"], np.float32).reshape(1, -1))
    replaced = float(attrs.get("replaced_value_float", 0.0))
    missing = relax.op.isnan(x) if np.isnan(replaced) else relax.op.equal(x, relax.const(replaced, "float32"))
    return relax.op.where(bb.emit(missing), values, x)


def _feature_extractor(bb: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    """ArrayFeatureExtractor: columns of the last axis; a vector counts as one row."""
    data, index = inputs[0], bb.emit(relax.op.reshape(inputs[1], (-1,)))
    if len(data.ty.shape) == 1:
        data = bb.emit(relax.op.reshape(data, (1, int(data.ty.shape[0]))))
    return relax.op.take(data, index, axis=len(data.ty.shape) - 1)


def _one_hot(bb: Any, inputs: Any, attrs: dict[str, Any]) -> Any:
    """OneHotEncoder of whole numbers: one more axis, 1 where the value is that category, its fraction left out.

    Values of no category give zeros even where the model asks for an error (`zeros` 0), as ONNX Runtime raises.
    """
    if "cats_int64s" not in attrs:
        raise InputError(Issue("OneHotEncoder of text is not supported", None, "use backend onnxruntime"))
    data = inputs[0]
    if str(data.ty.dtype).startswith("float"):
        data = bb.emit(relax.op.trunc(data))
    whole = bb.emit(relax.op.astype(bb.emit(relax.op.expand_dims(data, -1)), "int64"))
    categories = _const(np.asarray(attrs["cats_int64s"], np.int64))
    return relax.op.astype(bb.emit(relax.op.equal(whole, categories)), "float32")


CONVERTERS: dict[str, Callable[[Any, Any, dict[str, Any]], Any]] = {
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "Imputer": _imputer,
    "ArrayFeatureExtractor": _feature_extractor,
    "OneHotEncoder": _one_hot,
}


def _transform(bb: Any, scores: Any, post: str) -> Any:
    if post == "LOGISTIC":
        return bb.emit(relax.op.sigmoid(scores))
    if post == "SOFTMAX":
        return bb.emit(relax.op.nn.softmax(scores, axis=-1))
    if post != "NONE":
        message = f"post transform {post} of a linear model is not supported"
        raise InputError(Issue(message, None, "use NONE, LOGISTIC or SOFTMAX"))
    return scores


def _word(attrs: Mapping[str, Any], name: str, default: str = "NONE") -> str:
    value = attrs.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _zero() -> Any:
    return relax.const(0.0, "float32")


def _const(values: Any) -> Any:
    array = np.ascontiguousarray(values)
    return relax.const(array, str(array.dtype))  # without its type, int64 would become int32
