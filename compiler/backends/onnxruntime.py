"""ONNX Runtime: it takes the model as it is, cut and with static shapes, and optimises it when it loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from compiler.backends import Made, Request

PACKAGES = ("onnxruntime", "onnx")
CODE = ("model.py", "batching.py", "constants.py", "cut.py")


def available() -> bool:
    return True


def target() -> dict[str, Any]:
    return {"kind": "onnxruntime"}


def build(model: onnx.ModelProto, job: Request, folder: Path) -> Made:
    file = folder / "model.onnx"
    onnx.save(model, str(file))
    return Made((file,))
