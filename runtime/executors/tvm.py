"""Running what TVM compiled, on its virtual machine."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from runtime.executors.buckets import PaddedExecutor
from runtime.executors.values import Arguments
from specs.artefact import Artefact, Buckets, entry_name
from specs.artefact_folder import the_file
from specs.errors import EnvironmentFailed
from specs.tvm_threads import set_threads


class TvmExecutor:
    """One virtual machine over a shared library; machines of one process share the library and its weights."""

    def __init__(self, folder: Path, artefact: Artefact, entry: str = "main") -> None:
        file = the_file(folder, artefact, ".so")
        self._arguments = Arguments(artefact)
        self._threads = artefact.threads
        self._outputs = tuple(artefact.outputs)
        self._library = _load(str(file.resolve()), artefact.key)
        from tvm.runtime import cpu, empty
        from tvm.runtime.vm import VirtualMachine

        self._main = VirtualMachine(self._library, cpu())[entry]
        self._tensors = [empty((artefact.batch, *map(int, t.shape)), t.numpy) for t in artefact.inputs.values()]
        self._views = [writable(tensor) for tensor in self._tensors]
        self._pool_of = threading.local()
        self._file = file
        self._counted = False

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Arrays by name, with the batch dimension. Raises InputError for inputs of another type or shape, and, on the
        first run, EnvironmentFailed for a library that does not give what artefact.json says.

        Inputs are copied into memory of the executor; outputs are views of memory that is theirs alone.
        """
        self._use_pool()
        for view, value in zip(self._views, self._arguments(inputs), strict=True):
            np.copyto(view, value)
        given = self._main(*self._tensors)
        if not self._counted:
            self._count(given)
        tensors = fields(given, len(self._outputs))
        return {name: self._own(tensor) for name, tensor in zip(self._outputs, tensors, strict=True)}

    def _count(self, given: Any) -> None:
        """Once: `fields` takes as many as it is told, and how many there are takes a while to ask."""
        found, expected = 1 if hasattr(given, "numpy") else len(given), len(self._outputs)
        if found != expected:
            raise EnvironmentFailed(f"{self._file} gives {found} outputs, artefact.json says {expected}; compile again")
        self._counted = True

    def _own(self, tensor: Any) -> np.ndarray[Any, Any]:
        """`tensor` as an array; copied where the model hands an input through, which the next run overwrites."""
        array = np.from_dlpack(tensor)
        if any(np.may_share_memory(array, view) for view in self._views):
            return array.copy()
        return array

    def _use_pool(self) -> None:
        """Give the calling thread a pool of the artefact's size; TVM keeps one a thread. One thread needs none."""
        if self._threads > 1 and not hasattr(self._pool_of, "ready"):
            _configure_pool(self._threads)
            self._pool_of.ready = True


def open_buckets(folder: Path, artefact: Artefact, buckets: Buckets) -> PaddedExecutor:
    """The library once, and a machine for each of its functions."""
    by_size = {n: TvmExecutor(folder, artefact.of_bucket(n), entry_name(n)) for n in buckets.sizes}
    return PaddedExecutor(artefact, buckets, by_size)


def fields(result: Any, count: int) -> list[Any]:
    """The `count` tensors that a function of the virtual machine gave; one is no array of them."""
    if hasattr(result, "numpy"):
        return [result]
    item = _item()
    return [item(result, i) for i in range(count)]


@cache
def _item() -> Callable[[Any, int], Any]:
    """What gives an array's element: iterating over one in Python, which asks for its length each time, takes four
    times as long, which of a forest's classifier is a quarter of a call."""
    from tvm_ffi import get_global_func

    item: Callable[[Any, int], Any] = get_global_func("ffi.ArrayGetItem")
    return item


def writable(tensor: Any) -> np.ndarray[Any, Any]:
    """A view of a tensor's memory to write to."""
    view = np.from_dlpack(tensor)
    if not view.flags.writeable:  # numpy takes what says nothing about it for read-only
        address, size = view.ctypes.data, view.nbytes
        buffer = (ctypes.c_char * size).from_address(address)
        view = np.frombuffer(memoryview(buffer), view.dtype).reshape(view.shape)
    return view


def _configure_pool(threads: int) -> None:
    """Give the calling thread a pool of `threads`, which share the cores that this process may use.

    TVM's other modes count big and little cores by their frequency, find one core in a virtual machine and so no
    second thread.
    """
    if getattr(_pools, "threads", 1) != threads:
        from tvm_ffi import get_global_func

        cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
        get_global_func("runtime.config_threadpool")(_SHARE_ALL_CORES, threads, cores)
        _pools.threads = threads


_SHARE_ALL_CORES = -3
"""TVM's ThreadGroup::kSpecifyThreadShareAllCore."""

_pools = threading.local()


@lru_cache(maxsize=256)
def _load(file: str, key: str) -> Any:
    """The library in `file`, once a process: its weights are shared by all machines. `key` tells contents apart."""
    set_threads()
    try:
        from tvm.runtime import load_module
    except ImportError as error:
        raise EnvironmentFailed(
            f"the artefact needs TVM, which cannot be imported: {error}; install tierplan[tvm]"
        ) from error
    try:
        return load_module(file)
    except Exception as error:  # TVM raises its own errors, the loader OSError
        raise EnvironmentFailed(f"cannot load {file}: {str(error).strip().splitlines()[0]}") from error
