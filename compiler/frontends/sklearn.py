"""scikit-learn through skl2onnx; XGBoost and LightGBM as steps of its pipelines through onnxmltools."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from compiler.frontends import Arrays, Original, said
from compiler.frontends.inputs import INPUT, rows_of, some_rows
from compiler.frontends.labels import LABEL, integer_classes, relabel
from specs.errors import InputError, Issue

_OPSETS: Final = {"": 18, "ai.onnx.ml": 3}
_SCORES: Final = ("predict_proba", "decision_function", "transform", "score_samples")
"""What an output besides the prediction may be, the first that there is."""


def convert(value: Any, example: Any) -> Original:
    import sklearn

    name = type(value).__name__
    _check_fitted(value, name)
    features = getattr(value, "n_features_in_", None)
    rows = rows_of(example, None if features is None else int(features))
    if features is None and rows is None:
        hint = "return (model, example inputs)"
        raise InputError(Issue(f"{name} does not say how many features it takes", None, hint))
    width = int(features) if features is not None else int(rows.shape[1])  # type: ignore[union-attr]
    _register(sys.modules)
    classifier = hasattr(value, "classes_")
    columns = [str(column) for column in getattr(value, "feature_names_in_", ())]
    try:
        try:
            model = _to_onnx(value, {INPUT: width})
        except Exception:
            if not columns:
                raise
            # What chooses columns by their names is given each by itself.
            model = _together(_to_onnx(value, dict.fromkeys(columns, 1)))
    except Exception as error:  # skl2onnx has many kinds of its own, and lets those of numpy through
        raise InputError(Issue(f"{name} cannot be converted to ONNX: {said(error)}")) from error
    classes: tuple[str, ...] = ()
    if classifier:
        _, classes = integer_classes(value.classes_)
        model = relabel(model, value.classes_)
    batches = some_rows(model, width, rows)
    return Original(
        model=model,
        library=f"scikit-learn {sklearn.__version__}",
        answer=lambda inputs: dict(_answers(value, model, inputs)),
        inputs=[{INPUT: batch} for batch in batches],
        classes=classes,
    )


def _to_onnx(value: Any, widths: Mapping[str, int]) -> onnx.ModelProto:
    """`value` with float32 inputs [N, width] of these names."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    types = [(name, FloatTensorType([None, width])) for name, width in widths.items()]
    options = {id(value): {"zipmap": False}} if hasattr(value, "classes_") else None
    try:
        return to_onnx(value, initial_types=types, options=options, target_opset=_OPSETS)
    except NameError:  # so skl2onnx says that this classifier has no such option
        return to_onnx(value, initial_types=types, target_opset=_OPSETS)


def _together(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, which takes each column by itself, with one input of them all."""
    columns = [given.name for given in model.graph.input]  # names that are no identifiers were changed
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.input[:]
    copy.graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", len(columns)]))
    split = helper.make_node("Split", [INPUT], columns, name="columns", axis=1, num_outputs=len(columns))
    del copy.graph.node[:]
    copy.graph.node.extend([split, *model.graph.node])
    if all(opset.domain for opset in copy.opset_import):
        copy.opset_import.append(helper.make_opsetid("", _OPSETS[""]))
    return copy


def _check_fitted(value: Any, name: str) -> None:
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if isinstance(value, type) or not isinstance(value, BaseEstimator):
        raise InputError(Issue(f"expected a fitted estimator of scikit-learn, got {name}"))
    try:
        check_is_fitted(value)
    except NotFittedError as error:
        raise InputError(Issue(f"{name} is not fitted", None, "call fit before it is returned")) from error
    except TypeError as error:
        raise InputError(Issue(f"{name} is no estimator that can be fitted: {said(error)}")) from error


def _answers(value: Any, model: onnx.ModelProto, inputs: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    """The library's own values of the outputs, as far as it has a method for them."""
    x = _table(value, inputs[INPUT])
    names = [output.name for output in model.graph.output]
    predicts = hasattr(value, "predict")
    if predicts:
        yield names[0], _prediction(value, x)
    method = next((m for m in _SCORES if hasattr(value, m)), None)
    rest = names[1:] if predicts else names
    if rest and method is not None:
        yield rest[0], np.asarray(getattr(value, method)(x))


def _table(value: Any, x: np.ndarray) -> Any:
    """`x` as what `value` was fitted to: a table with named columns, where they had names."""
    columns = getattr(value, "feature_names_in_", None)
    if columns is None:
        return x
    import pandas

    return pandas.DataFrame(x, columns=columns)


def _prediction(value: Any, x: Any) -> np.ndarray:
    found = np.asarray(value.predict(x))
    if not hasattr(value, "classes_"):
        return found
    numbers, _ = integer_classes(value.classes_)
    index = {c: n for c, n in zip(np.asarray(value.classes_).tolist(), numbers, strict=True)}
    return np.asarray([index[c] for c in found.tolist()], np.int64)


def _register(loaded: Any) -> None:
    """Tell skl2onnx how to convert estimators of XGBoost and LightGBM, where the model's code imported them."""
    if "xgboost" in loaded:
        from compiler.frontends.xgboost import register

        register()
    if "lightgbm" in loaded:
        from compiler.frontends.lightgbm import register

        register()


def register(kind: type, alias: str, shapes: Callable[..., Any], converter: Callable[..., Any]) -> None:
    """Have skl2onnx convert estimators of `kind` in pipelines."""
    from skl2onnx import update_registered_converter

    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]} if "Classifier" in alias else None
    update_registered_converter(kind, alias, shapes, converter, options=options)


__all__ = ["LABEL", "convert", "register"]
