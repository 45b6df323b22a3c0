"""Running a model in ONNX Runtime, fully optimised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runtime.executors.buckets import OpenExecutor
from runtime.executors.values import Arguments
from specs.artefact import Artefact, Buckets
from specs.artefact_folder import the_file
from specs.errors import EnvironmentFailed


class OnnxExecutor:
    """One inference session with all graph optimisations and the artefact's number of threads."""

    def __init__(self, folder: Path, artefact: Artefact) -> None:
        file = the_file(folder, artefact, ".onnx")
        try:
            import onnxruntime
        except ImportError as error:
            message = (
                f"the artefact needs ONNX Runtime, which cannot be imported: {error}; install tierplan[onnxruntime]"
            )
            raise EnvironmentFailed(message) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = artefact.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class an error code, with no common public base
            raise EnvironmentFailed(f"cannot load {file}: {str(error).strip().splitlines()[0]}") from error
        self._arguments = Arguments(artefact)
        self._outputs = list(artefact.outputs)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Arrays by name, with the batch dimension. Raises InputError for inputs of another type or shape."""
        feed = dict(zip(self._arguments.names, self._arguments(inputs), strict=True))
        return dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))


def open_buckets(folder: Path, artefact: Artefact, buckets: Buckets) -> OpenExecutor:
    """One session for all lengths: nothing is filled up."""
    return OpenExecutor(artefact, buckets, OnnxExecutor(folder, artefact))
