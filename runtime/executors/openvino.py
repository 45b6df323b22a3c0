"""Running a model in OpenVINO, for latency, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runtime.executors.buckets import PaddedExecutor
from runtime.executors.values import Arguments
from specs.artefact import Artefact, Buckets
from specs.artefact_folder import the_file
from specs.errors import EnvironmentFailed


class OpenVinoExecutor:
    """One compiled model with one stream of the artefact's number of threads, and one request."""

    def __init__(self, folder: Path, artefact: Artefact) -> None:
        file = the_file(folder, artefact, ".xml")
        try:
            import openvino
        except ImportError as error:
            message = f"the artefact needs OpenVINO, which cannot be imported: {error}; install tierplan[openvino]"
            raise EnvironmentFailed(message) from error
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": artefact.threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # several stages share a machine: none may pin its cores
        }
        try:
            core = openvino.Core()
            model = core.read_model(str(file))
            if model.is_dynamic():  # of a bucket: the file leaves the dimension open
                shapes = [(artefact.batch, *map(int, kind.shape)) for kind in artefact.inputs.values()]
                model.reshape({index: openvino.PartialShape(shape) for index, shape in enumerate(shapes)})
            compiled = core.compile_model(model, "CPU", options)
        except Exception as error:  # OpenVINO raises RuntimeError and others of its own
            raise EnvironmentFailed(f"cannot load {file}: {str(error).strip().splitlines()[-1]}") from error
        self._request = compiled.create_infer_request()
        self._arguments = Arguments(artefact)
        self._outputs = [(name, compiled.output(index)) for index, name in enumerate(artefact.outputs)]

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Arrays by name, with the batch dimension. Raises InputError for inputs of another type or shape.

        Outputs are copies: the request's own memory is written again by the next run.
        """
        feed = dict(enumerate(self._arguments(inputs)))
        found = self._request.infer(feed, share_inputs=True, share_outputs=True)
        return {name: np.array(found[output]) for name, output in self._outputs}


def open_buckets(folder: Path, artefact: Artefact, buckets: Buckets) -> PaddedExecutor:
    """The model compiled for each bucket, since a shape that it has not seen yet takes long."""
    by_size = {size: OpenVinoExecutor(folder, artefact.of_bucket(size)) for size in buckets.sizes}
    return PaddedExecutor(artefact, buckets, by_size)
