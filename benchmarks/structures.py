"""Placements made by hand, one for each way in which requests wait: for `benchmarks.prediction`.

Each is given the load of its busiest queue, and returns what `tests.planner.networks.chain` makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from planner.placement.demand import Demand
from planner.placement.layout import Layout
from planner.prediction.timings import Timings
from planner.situation import Situation
from tests.planner.networks import LEVELS, Server, chain, exponential

Made = tuple[Situation, Layout]
Structure = Callable[[float], Made]

MEAN: Final = 0.01
"""Seconds of a service."""
FORK: Final = {"a": {"x": "src.v"}, "b": {"x": "src.v"}, "c": {"x": "a.out", "y": "b.out"}}
DIAMOND: Final = {"z": {"x": "src.v"}, "a": {"x": "z.out"}, "b": {"x": "z.out"}, "c": {"x": "a.out", "y": "b.out"}}


def lognormal(cv: float, mean: float = MEAN) -> list[float]:
    """Equally likely values."""
    s = sqrt(np.log(1 + cv * cv))
    z = np.array([NormalDist().inv_cdf((i + 0.5) / LEVELS) for i in range(LEVELS)])
    x = np.exp(s * z)
    return list(mean * x / x.mean())


def bimodal(mean: float = MEAN) -> list[float]:
    """One of ten takes eleven times as long: a coefficient of variation of 1.5."""
    return [mean / 2] * 9 + [mean * 5.5]


LAWS: Final[Mapping[str, Sequence[float]]] = {
    "fixed": [MEAN],
    "lognormal 0.5": lognormal(0.5),
    "exponential": exponential(MEAN),
    "bimodal 1.5": bimodal(),
}


def structures() -> Iterator[tuple[str, Structure]]:
    """By name."""
    for law, values in LAWS.items():
        for replicas in (1, 2, 4):
            yield f"one queue, {replicas} replicas, {law}", _loaded({"a": Server(values, replicas)})
        for replicas in (1, 4):
            row = {name: Server(values, replicas) for name in "abc"}
            yield f"three in a row, {replicas} replicas, {law}", _loaded(row)
        yield f"fused group of three, {law}", _loaded({n: Server(values) for n in "abc"}, sharing="time")
        yield (
            f"back at a shared executor, {law}",
            _loaded({"a": Server(values), "b": Server(values, site="there"), "c": Server(values)}, sharing="time"),
        )
        yield f"fork and join, {law}", _loaded({n: Server(values) for n in "abc"}, inputs=FORK)
        yield f"diamond, {law}", _loaded({n: Server(values) for n in "zabc"}, inputs=DIAMOND)
        yield f"branches meet at an executor, {law}", _loaded(
            {"a": Server(values, site="there"), "b": Server(values, site="there"), "c": Server([0.001])},
            inputs=FORK, sharing="time", link={"rate": None, "up": {"rate": "1 MB/s"}, "down": {"rate": "1 MB/s"}},
            payload=1000.0,
        )  # fmt: skip
        yield f"batches of 4, {law}", _loaded({"a": Server(values, batch=4)})
        yield f"batches of 4 that wait, {law}", _loaded({"a": Server(values, batch=4, batch_wait_ms=5.0)})
        yield (
            f"batches of 4, then one by one, {law}",
            _loaded({"a": Server(values, batch=4), "b": Server(list(np.asarray(values) / 4))}),
        )
        yield (
            f"items of a fan-out, {law}",
            _loaded(
                {"a": Server([0.001]), "b": Server(values, 2), "c": Server([0.001])}, fan_out=("b", {1: 0.5, 3: 0.5})
            ),
        )
        yield f"link, then a stage, {law}", _loaded(
            {"a": Server(values, site="there")},
            link={"rate": None, "up": {"rate": "1 MB/s"}, "down": {"rate": "1 MB/s"}}, payload=10_000.0,
        )  # fmt: skip
    yield "two messages over one link, joined", _loaded(
        {"a": Server([0.001], site="there"), "b": Server([0.001], site="there"), "c": Server([0.001], site="there")},
        inputs=FORK, link={"rate": None, "up": {"rate": "1 MB/s"}, "down": {"rate": "10 MB/s"}}, payload=10_000.0,
    )  # fmt: skip


def _loaded(servers: Mapping[str, Server], **more: Any) -> Structure:
    return partial(_at, servers, more)


def _at(servers: Mapping[str, Server], more: Mapping[str, Any], load: float) -> Made:
    given, layout = chain(servers, 1.0, **more)
    busiest = max(q.load for q in Timings(layout, Demand(given)).queues.values())
    return chain(servers, load / busiest, **more)
