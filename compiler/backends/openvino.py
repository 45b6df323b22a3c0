"""OpenVINO (an extra, x86 only): the model in its own format, all values float32 as they are in the model."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx

from compiler.backends import Made, Request
from compiler.buckets import Bucketed
from specs.errors import EnvironmentFailed, InputError, Issue, Place

PACKAGES = ("openvino", "onnx")
CODE = ("model.py", "batching.py", "constants.py", "cut.py", "buckets.py")


def available() -> bool:
    return platform.machine() == "x86_64" and find_spec("openvino") is not None


def target() -> dict[str, Any]:
    return {"kind": "openvino"}


def build(model: onnx.ModelProto, job: Request, folder: Path) -> Made:
    """Raises InputError for a model that OpenVINO cannot convert or compile, EnvironmentFailed where it is missing."""
    if not available():
        raise EnvironmentFailed("OpenVINO is not installed here; on x86, install tierplan[openvino]")
    import openvino

    source, file = folder / "model.onnx", folder / "model.xml"
    onnx.save(model, str(source))
    try:
        core = openvino.Core()
        converted = core.read_model(str(source))
        core.compile_model(converted, "CPU")  # what has no kernel fails here, not at the site
        openvino.save_model(converted, str(file), compress_to_fp16=False)
    except Exception as error:  # OpenVINO raises RuntimeError and others of its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        message = f"OpenVINO cannot take the model: {(lines or [type(error).__name__])[-1][:200]}"
        raise InputError(Issue(message, Place(job.model), "use backend tvm or onnxruntime")) from error
    finally:
        source.unlink(missing_ok=True)
    return Made((file, file.with_suffix(".bin")))


def build_buckets(bucketed: Bucketed, job: Request, folder: Path) -> Made:
    """One model whose dimension is open, which its executor compiles for each bucket: weights are on disk once."""
    return build(bucketed.open, job, folder)
