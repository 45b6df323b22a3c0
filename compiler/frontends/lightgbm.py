"""LightGBM through onnxmltools: its boosters, its scikit-learn estimators, and its own files (.txt)."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.frontends import Arrays, Original, said
from compiler.frontends.inputs import INPUT, rows_of, some_rows
from compiler.frontends.labels import LABEL, integer_classes, renumber
from specs.errors import InputError, Issue, Place

_OPSET = 15
"""The newest that onnxmltools takes for trees."""


def open_file(file: str) -> Any:
    import lightgbm

    with open(file, "rb") as stream:
        start = stream.read(64)
    if not start.startswith(b"tree"):  # its parser would take other text for a model without trees, or crash
        hint = "write it with Booster.save_model"
        raise InputError(Issue("not a model of LightGBM: it does not begin with 'tree'", Place(file), hint))
    try:
        return lightgbm.Booster(model_file=file)
    except (lightgbm.basic.LightGBMError, ValueError, KeyError) as error:
        hint = "write it with Booster.save_model"
        raise InputError(Issue(f"not a model of LightGBM: {said(error)}", Place(file), hint)) from error


def convert(value: Any, example: Any) -> Original:
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = _booster(value)
    features = int(booster.num_feature())
    rows = rows_of(example, features)
    try:
        model = convert_lightgbm(
            booster,
            initial_types=[(INPUT, FloatTensorType([None, features]))],
            target_opset=_OPSET,
            zipmap=False,
        )
    except Exception as error:  # onnxmltools raises RuntimeError, KeyError, NotImplementedError and others
        raise InputError(Issue(f"the model of LightGBM cannot be converted to ONNX: {said(error)}")) from error
    names = [output.name for output in model.graph.output]
    numbers, classes = integer_classes(getattr(value, "classes_", ()))
    if numbers:
        model = renumber(model, numbers)

    def answer(inputs: Arrays) -> dict[str, np.ndarray]:
        found = np.asarray(booster.predict(inputs[INPUT]))
        if LABEL not in names:
            return {names[0]: found}
        if found.ndim == 1:
            found = np.stack([1 - found, found], axis=1)
        best = found.argmax(axis=1)
        return {LABEL: np.asarray(numbers, np.int64)[best] if numbers else best, names[1]: found}

    return Original(
        model=model,
        library=f"LightGBM {lightgbm.__version__}",
        answer=answer,
        inputs=[{INPUT: batch} for batch in some_rows(model, features, rows)],
        classes=classes,
    )


def _booster(value: Any) -> Any:
    import lightgbm
    from sklearn.exceptions import NotFittedError

    if isinstance(value, lightgbm.Booster):
        return value
    if not isinstance(value, lightgbm.LGBMModel):
        raise InputError(Issue(f"expected a Booster or an estimator of LightGBM, got {type(value).__name__}"))
    try:
        return value.booster_
    except NotFittedError as error:
        hint = "call fit before it is returned"
        raise InputError(Issue(f"{type(value).__name__} is not fitted", None, hint)) from error


def register() -> None:
    import lightgbm
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    from compiler.frontends.sklearn import register as tell

    tell(lightgbm.LGBMClassifier, "LightGbmLGBMClassifier", calculate_linear_classifier_output_shapes, convert_lightgbm)
    tell(lightgbm.LGBMRegressor, "LightGbmLGBMRegressor", calculate_linear_regressor_output_shapes, convert_lightgbm)
