"""How long each operator of a model takes, in one pass: ONNX Runtime's profiler, in a child process with limits."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from compiler.child import Child, Limits
from compiler.given import Given
from compiler.samples import Sample, save_samples
from compiler.splitting.cuts import Cut
from specs.tensors import parse_type

_WORKER: Final = "compiler.splitting.timing_worker"
METHOD: Final = "operators timed one by one by ONNX Runtime's profiler, unfused, on one thread"


def measured_cuts(model: Given, samples: Sequence[Sample], most: int, limits: Limits | None = None) -> tuple[Cut, ...]:
    """The cuts of `model` worth trying, the work before each by the times of its operators on `samples`.

    Raises InputError for a model that cannot be read, NotKnown where a limit was reached, EnvironmentFailed for a
    crash.
    """
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        file = Path(folder) / "samples.npz"
        save_samples(file, samples)
        request = {"model": str(model.file), "name": model.name, "samples": str(file), "most": most}
        with Child(_WORKER, limits or Limits()) as child:
            answer = child.ask(request, f"timing the operators of {model.name}")
    return tuple(
        Cut({name: parse_type(text) for name, text in cut["tensors"].items()}, cut["bytes"], cut["before"])
        for cut in answer["cuts"]
    )
