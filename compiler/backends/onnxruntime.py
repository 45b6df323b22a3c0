"""ONNX Runtime: it takes the model as it is, cut and with static shapes, and optimises it when it loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from compiler.backends import Made, Request
from compiler.buckets import Bucketed

PACKAGES = ("onnxruntime", "onnx")
CODE = ("model.py", "batching.py", "constants.py", "cut.py", "buckets.py")


def available() -> bool:
    return True


def target() -> dict[str, Any]:
    return {"kind": "onnxruntime"}


def build(model: onnx.ModelProto, job: Request, folder: Path) -> Made:
    file = folder / "model.onnx"
    onnx.save(model, str(file))
    return Made((file,))


def build_buckets(bucketed: Bucketed, job: Request, folder: Path) -> Made:
    """It takes any length, as it is: nothing is padded, and there is one model for all buckets."""
    return build(bucketed.open, job, folder)
