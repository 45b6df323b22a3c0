"""A session with a device: an artefact uploaded, run there, and timed by the device's own clock."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compiler.remote.tracker import Lease
from specs.artefact import Artefact
from specs.artefact_folder import the_file
from specs.errors import EnvironmentFailed

_BIG_CORES = 1
"""TVM's ThreadGroup::kBig: on the fastest cores first."""
_CALL = 0.2
"""Seconds that one request to measure may take: between them inputs change, and what was lost is noticed."""


class Session:
    """With the device of a `lease`. What is uploaded lies in a folder that the device removes when this ends."""

    def __init__(self, lease: Lease) -> None:
        from tvm import rpc

        self._remote = rpc.connect(lease.address, lease.port, lease.matchkey)

    @property
    def is_alive(self) -> bool:
        try:
            self._remote.get_function("runtime.config_threadpool")
        except Exception:  # of TVM's, or of its library's, for a connection that ended
            return False
        return True

    def open(self, folder: Path, artefact: Artefact) -> RemoteExecutor:
        """The artefact in `folder`, uploaded and loaded.

        Raises EnvironmentFailed where the device's server has fewer threads, and TVM's errors.
        """
        if artefact.threads > 1:
            self._use_pool(artefact.threads)
        name = f"{artefact.key[:16]}.so"
        self._remote.upload(str(the_file(folder, artefact, ".so")), name)
        return RemoteExecutor(self._remote.load_module(name), self._remote.cpu(), artefact)

    def _use_pool(self, threads: int) -> None:
        """Give the device's server a pool of `threads`; RPC cannot pass it a list of cores, as is done here."""
        self._remote.get_function("runtime.config_threadpool")(_BIG_CORES, threads)
        have = int(self._remote.get_function("runtime.NumThreads")())
        if have != threads:
            hint = f"start its server with TVM_NUM_THREADS={threads}"
            raise EnvironmentFailed(f"the device runs {have} threads at once, not {threads} ({hint})")


class RemoteExecutor:
    """A virtual machine on the device (`specs.artefact.Executor`)."""

    def __init__(self, library: Any, device: Any, artefact: Artefact) -> None:
        from tvm.runtime.vm import VirtualMachine

        self._machine = VirtualMachine(library, device)
        self._device, self._artefact = device, artefact

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays by name, with the batch dimension; both ways over the network."""
        self._set(inputs)
        self._machine.invoke_stateful("main")
        made = self._machine.get_outputs("main")
        tensors = list(made) if isinstance(made, tuple) else [made]
        return {name: tensor.numpy() for name, tensor in zip(self._artefact.outputs, tensors, strict=True)}

    def time(self, samples: Sequence[Mapping[str, Any]], budget: Mapping[str, Any]) -> list[float]:
        """Seconds of single runs on the samples in turn, as the device's clock has them, by `compiler.measure.Budget`.

        Before each run the device writes as many bytes as the budget evicts and rests for its pause.
        """
        pause = float(budget["pause"])
        runs: list[float] = []
        self._set(samples[0])
        typical = statistics.median(self._runs(int(budget["warmup"]), budget)) + pause
        together = max(1, math.ceil(_CALL / typical / min(len(samples), 4)))
        for sample in itertools.cycle(samples):
            if len(samples) > 1:
                self._set(sample)
            runs += self._runs(min(together, int(budget["most"]) - len(runs)), budget)
            spent = sum(runs) + pause * len(runs)
            enough = spent >= budget["seconds"] and len(runs) >= budget["least"]
            if len(runs) >= budget["most"] or (
                len(runs) >= budget["fewest"] and (enough or spent >= budget["seconds_most"])
            ):
                break
        return runs

    def _runs(self, count: int, budget: Mapping[str, Any]) -> list[float]:
        """Seconds of `count` runs on the inputs that are set."""
        evaluate = self._machine.module.time_evaluator(
            "invoke_stateful",
            self._device,
            number=1,
            repeat=max(1, count),
            cooldown_interval_ms=math.ceil(1000 * budget["pause"]),
            cache_flush_bytes=int(budget["evict"]),
        )
        return [float(seconds) for seconds in evaluate("main").results]

    def _set(self, inputs: Mapping[str, Any]) -> None:
        from tvm.runtime import tensor

        arrays = [np.ascontiguousarray(inputs[name], kind.numpy) for name, kind in self._artefact.inputs.items()]
        self._machine.set_input("main", *(tensor(array, self._device) for array in arrays))
