"""The child that speaks with one device: TVM's client trusts what answers, so that it has a process to itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from compiler.child import serve
from compiler.numerics import compare
from compiler.remote.session import Session
from compiler.remote.tracker import Lease
from compiler.samples import load_samples
from specs.artefact import Executor
from specs.artefact_folder import read_artefact
from specs.errors import TierplanError
from specs.statistics import summarise

COMPARED: Final = 16
"""Samples: each goes over the network, and a board may take seconds for one."""
_session: list[Session] = []


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Load what takes time, connect with ``lease``, or measure. ``lost`` in an answer says why the device is gone."""
    if "prepare" in request:
        importlib.import_module("tvm.rpc")
        importlib.import_module("tvm.runtime.vm")
        return {}
    try:
        if "lease" in request:
            _session[:] = [Session(Lease(*request["lease"]))]
            return {}
        return _measure(request, _session[0])
    except TierplanError:
        raise
    except Exception as error:  # TVM raises many kinds, and one for a lost connection as for a wrong model
        if _session and _session[0].is_alive:
            raise
        text = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        return {"lost": text}


def _measure(request: dict[str, Any], session: Session) -> dict[str, Any]:
    folder = Path(request["folder"])
    artefact = read_artefact(folder)
    samples = load_samples(Path(request["samples"]))
    remote = session.open(folder, artefact)
    module, name = request["open"].split(":")
    opener: Callable[[Path, int], Executor] = getattr(importlib.import_module(module), name)
    reference = Path(request["reference"])
    theirs = opener(reference, read_artefact(reference).threads)
    absolute, relative, output = compare(remote, theirs, samples[:COMPARED], artefact.batch)
    found = {"relative": relative if np.isfinite(absolute) and np.isfinite(relative) else 1e300, "output": output}
    groups = load_samples(Path(request["groups"]))
    runs = remote.time(groups, request["budget"])
    return found | {"latency": summarise(runs).dump()}


if __name__ == "__main__":
    serve(handle)
