"""Artefacts opened for running: `open_executor` checks their digests, then takes the executor of their backend."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

from specs.artefact import Executor, ModelBackend
from specs.artefact_folder import read_artefact

__all__ = ["open_executor"]

_EXECUTORS: Final[dict[ModelBackend, str]] = {
    "tvm": "TvmExecutor",
    "onnxruntime": "OnnxExecutor",
    "openvino": "OpenVinoExecutor",
}
"""One file a backend, named after it, loaded only where it is used."""


def open_executor(folder: Path, threads: int) -> Executor:
    """The artefact in `folder`, loaded; open one executor for each thread that runs it.

    Raises InputError where a file does not match its digest or `threads` is not what the artefact was compiled for, and
    EnvironmentFailed where the backend is not installed or cannot load the file.
    """
    artefact = read_artefact(folder, threads)
    module = importlib.import_module(f"runtime.executors.{artefact.backend}")
    if artefact.buckets is not None:
        bucketed: Executor = module.open_buckets(folder, artefact, artefact.buckets)
        return bucketed
    executor: Executor = getattr(module, _EXECUTORS[artefact.backend])(folder, artefact)
    return executor
