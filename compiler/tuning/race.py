"""Two builds of one model timed in alternation, as wholes and workload by workload, and their outputs compared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import numpy as np

WARMUP: Final = 2
"""Runs of each side that are not counted."""
MOST: Final = 120.0
"""Seconds after which a race ends with fewer pairs than were asked for: models of seconds a run would take hours."""
LEAST_PAIRS: Final = 5
"""With fewer, the deviations' median says nothing of chance."""
_ORDERS: Final = ((1, 0, 1), (0, 1, 0))
"""Of the sides in a pair; the last run of each counts."""
REST: Final = "all else"
"""What functions of no workload compute."""
_OWN: Final = "vm.builtin."
"""Functions of the virtual machine, which compute nothing."""
_SIGMA: Final = 1.4826
"""Standard deviations of a normal distribution in its median absolute deviation."""
_MEDIAN: Final = 1.2533
"""Standard errors of a median in that of a mean, of normal values."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of `pairs` of times (first, second) in seconds: the medians, and the median of log(second / first) with its
    standard error, from the deviations' median, which a few disturbed runs do not move."""

    first: float
    second: float
    log: float
    error: float
    pairs: int

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> Ratio:
        """Raises ValueError where there is no pair of positive times."""
        logs = [math.log(b / a) for a, b in pairs if a > 0 and b > 0]
        if not logs:
            raise ValueError("expected at least one pair of positive times")
        middle = median(logs)
        spread = _SIGMA * median(abs(value - middle) for value in logs)
        firsts, seconds = zip(*pairs, strict=True)
        error = _MEDIAN * spread / math.sqrt(len(logs))
        return cls(median(firsts), median(seconds), middle, error, len(logs))

    @property
    def ratio(self) -> float:
        return math.exp(self.log)

    def is_faster(self, least: float, errors: float) -> bool:
        """Whether the second took less time than the first by more than the share `least` and by so many errors; with
        fewer than `LEAST_PAIRS`, nobody knows."""
        return self.pairs >= LEAST_PAIRS and self.log < -max(least, errors * self.error)


@dataclass
class Side:
    """One build: `run` takes the tensors of a request; `workloads` names what its functions compute."""

    run: Callable[..., Any]
    watched: Callable[..., Any]
    workloads: Mapping[str, str]
    spent: dict[str, float] = field(default_factory=dict)


def open_side(library: Any, workloads: Mapping[str, str], clock: Callable[[], float]) -> Side:
    """A loaded library, opened twice: once as it will run, once with its functions timed."""
    import tvm
    from tvm.runtime.vm import VirtualMachine

    side = Side(VirtualMachine(library, tvm.cpu())["main"], lambda *_: None, workloads)
    machine = VirtualMachine(library, tvm.cpu())
    began = 0.0

    def instrument(_function: Any, name: str, before: bool, _result: Any, *_arguments: Any) -> None:
        nonlocal began
        if before:
            began = clock()
            return
        if not name.startswith(_OWN):
            workload = workloads.get(name, REST)
            side.spent[workload] = side.spent.get(workload, 0.0) + clock() - began

    machine.set_instrument(instrument)
    side.watched = machine["main"]
    return side


def race(
    sides: tuple[Side, Side], requests: Sequence[Sequence[Any]], clock: Callable[[], float], seconds: float, fewest: int
) -> tuple[Ratio, dict[str, Ratio]]:
    """The whole model's ratio, and each workload's that both sides have; `requests` in turn, for about `seconds` and at
    least `fewest` pairs of each kind; with fewer, but one, where those take longer than `MOST`.

    Each run follows one of the other side, of which the first is not counted: who comes after something else finds
    other caches, which made one build differ from itself by a tenth. Who is counted first alternates.
    """
    whole: list[tuple[float, float]] = []
    parts: dict[str, list[tuple[float, float]]] = {}
    for side in sides:
        for turn in range(WARMUP):
            side.run(*requests[turn % len(requests)])
            side.watched(*requests[turn % len(requests)])
    began, turn, spent_seconds = time.monotonic(), 0, 0.0
    while not turn or (spent_seconds < MOST and (turn < fewest or spent_seconds < seconds)):
        request = requests[turn % len(requests)]
        order = _ORDERS[turn % 2]
        times = [0.0, 0.0]
        for at in order:
            start = clock()
            sides[at].run(*request)
            times[at] = clock() - start
        whole.append((times[0], times[1]))
        spent: tuple[dict[str, float], dict[str, float]] = ({}, {})
        for at in order:
            sides[at].spent.clear()
            sides[at].watched(*request)
            spent[at].clear()
            spent[at].update(sides[at].spent)
        for workload in spent[0].keys() & spent[1].keys():
            parts.setdefault(workload, []).append((spent[0][workload], spent[1][workload]))
        turn += 1
        spent_seconds = time.monotonic() - began
    return Ratio.of(whole), {workload: Ratio.of(pairs) for workload, pairs in sorted(parts.items())}


def difference(first: Any, second: Any) -> float:
    """The largest difference of two results, as a share of each output's largest value; infinite where they are not
    alike, and for whole numbers that are not equal."""
    worst = 0.0
    for mine, other in zip(_arrays(first), _arrays(second), strict=True):
        if mine.shape != other.shape or mine.dtype != other.dtype:
            return math.inf
        if mine.dtype.kind != "f":
            worst = max(worst, 0.0 if np.array_equal(mine, other) else math.inf)
            continue
        same = (mine == other) | (np.isnan(mine) & np.isnan(other))
        gap = np.where(same, 0.0, np.abs(mine.astype(np.float64) - other.astype(np.float64)))
        scale = max(float(np.max(np.abs(mine), where=np.isfinite(mine), initial=0.0)), 1e-6)
        found = float(np.max(gap, initial=0.0)) / scale
        worst = max(worst, found if math.isfinite(found) else math.inf)
    return worst


def _arrays(result: Any) -> list[Any]:
    return [tensor.numpy() for tensor in ([result] if hasattr(result, "numpy") else list(result))]
