"""Artefacts opened for running: `open_executor` checks their digests, then takes the executor of their backend."""

from __future__ import annotations

from pathlib import Path

from specs.artefact import Executor
from specs.artefact_folder import read_artefact

__all__ = ["open_executor"]


def open_executor(folder: Path, threads: int) -> Executor:
    """The artefact in `folder`, loaded; open one executor for each thread that runs it.

    Raises InputError where a file does not match its digest or `threads` is not what the artefact was compiled for, and
    EnvironmentFailed where the backend is not installed or cannot load the file.
    """
    artefact = read_artefact(folder, threads)
    if artefact.backend == "tvm":
        from runtime.executors.tvm_vm import TvmExecutor  # heavy: only where it is used

        return TvmExecutor(folder, artefact)
    from runtime.executors.onnx_session import OnnxExecutor

    return OnnxExecutor(folder, artefact)
