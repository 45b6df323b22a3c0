"""XGBoost through onnxmltools: its boosters, its scikit-learn estimators, and its own files (.json, .ubj)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from compiler.frontends import Arrays, Original, said
from compiler.frontends.inputs import INPUT, rows_of, some_rows
from compiler.frontends.labels import LABEL
from specs.errors import InputError, Issue, Place

_OPSET = 15
"""The newest that onnxmltools takes for trees."""


def open_file(file: str) -> Any:
    import xgboost

    booster = xgboost.Booster()
    try:
        booster.load_model(file)
    except (xgboost.core.XGBoostError, ValueError) as error:
        hint = "write it with Booster.save_model"
        raise InputError(Issue(f"not a model of XGBoost: {said(error)}", Place(file), hint)) from error
    return booster


def convert(value: Any, example: Any) -> Original:
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = _booster(value)
    features = int(booster.num_features())
    rows = rows_of(example, features)
    learner = json.loads(booster.save_config())["learner"]
    objective, kind = str(learner["objective"]["name"]), str(learner["gradient_booster"]["name"])
    if kind != "gbtree":
        message = f"a booster of the kind {kind} cannot be converted to ONNX"
        raise InputError(Issue(message, None, "train it with booster gbtree"))
    classifies = objective.startswith(("binary:", "multi:"))
    estimator = xgboost.XGBClassifier() if classifies else xgboost.XGBRegressor()
    estimator.load_model(bytearray(booster.save_raw("ubj")))
    try:
        model = convert_xgboost(
            estimator, initial_types=[(INPUT, FloatTensorType([None, features]))], target_opset=_OPSET
        )
    except Exception as error:  # onnxmltools raises RuntimeError, KeyError, TypeError and others
        message = f"the model of XGBoost ({objective}) cannot be converted to ONNX: {said(error)}"
        raise InputError(Issue(message)) from error
    names = [output.name for output in model.graph.output]

    def answer(inputs: Arrays) -> dict[str, np.ndarray]:
        matrix = xgboost.DMatrix(inputs[INPUT])
        found = np.asarray(booster.predict(matrix, output_margin=objective == "multi:softmax"))
        if not classifies:
            return {names[0]: found}
        if found.ndim == 1:
            found = np.stack([1 - found, found], axis=1)
        return {LABEL: found.argmax(axis=1), names[1]: found}

    return Original(
        model=model,
        library=f"XGBoost {xgboost.__version__}",
        answer=answer,
        inputs=[{INPUT: batch} for batch in some_rows(model, features, rows)],
    )


def _booster(value: Any) -> Any:
    """The trees that `value` predicts with, whose features have no names. Raises InputError for what is not fitted."""
    import xgboost
    from sklearn.exceptions import NotFittedError

    if isinstance(value, xgboost.Booster):
        booster = value.copy()
    elif isinstance(value, xgboost.XGBModel):
        try:
            booster = value.get_booster()
        except NotFittedError as error:
            hint = "call fit before it is returned"
            raise InputError(Issue(f"{type(value).__name__} is not fitted", None, hint)) from error
        best = getattr(value, "best_iteration", None) if booster.attr("best_iteration") else None
        booster = booster.copy() if best is None else booster[: int(best) + 1]
        if value.missing is not None and not np.isnan(value.missing):
            message = f"{type(value).__name__} takes {value.missing:g} for a missing value, which ONNX cannot"
            raise InputError(Issue(message, None, "fit it with missing=nan"))
    else:
        raise InputError(Issue(f"expected a Booster or an estimator of XGBoost, got {type(value).__name__}"))
    booster.feature_names = None
    booster.feature_types = None
    return booster


def register() -> None:
    import xgboost
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    from compiler.frontends.sklearn import register as tell

    for kind in (xgboost.XGBClassifier, xgboost.XGBRFClassifier):
        tell(kind, f"XGBoost{kind.__name__}", calculate_linear_classifier_output_shapes, convert_xgboost)
    for kind in (xgboost.XGBRegressor, xgboost.XGBRFRegressor):
        tell(kind, f"XGBoost{kind.__name__}", calculate_linear_regressor_output_shapes, convert_xgboost)
