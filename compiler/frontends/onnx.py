"""A function may return an ONNX model that it made itself, by any tool; there is nothing to compare it with."""

from __future__ import annotations

from typing import Any

import onnx

from compiler.frontends import Original
from specs.errors import InputError, Issue


def convert(value: Any, example: Any) -> Original:
    if not isinstance(value, onnx.ModelProto):
        raise InputError(Issue(f"expected a ModelProto of ONNX, got {type(value).__name__}"))
    return Original(model=value, library=f"ONNX {onnx.__version__}", answer=None)
