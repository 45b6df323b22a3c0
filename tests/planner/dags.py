"""Random applications that fork, join and skip, whose service times and sizes are known in full.

Faster hardware costs more than in proportion, a device is a core, and the edge's own is slow: what a placement costs
follows from how much time it may take.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from planner.situation import Situation, situation_of
from specs.application import Application
from specs.behaviour import Behaviour, BranchPattern
from specs.digest import digest_bytes
from specs.graph import Graph
from specs.infrastructure import Infrastructure
from specs.profile import Record
from tests.planner.laws import Bimodal, Law, Lognormal, measured, sized
from tests.planner.worlds import WHEN, document, hops

PACES: Final = {"small": 2.5, "slow": 1.6, "medium": 1.0, "fast": 0.6, "fastest": 0.35}
"""Time of a service beside that of `medium`."""
STEEPNESS: Final = 1.25
"""Of prices, where nothing else is asked for."""
PRICE: Final = 0.02
"""Of an hour of `medium`."""
MOST_PATHS: Final = 12
CVS: Final = (0.2, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Dag:
    """A situation, and the laws behind its profiles: of services by record, of sizes by value."""

    situation: Situation
    services: Mapping[str, Law]
    sizes: Mapping[str, Law]


def dag(seed: int, *, cv: float | None = None, quantiles: tuple[int, ...] = (), steepness: float = STEEPNESS) -> Dag:
    """World `seed` of 2 to 7 components, on an edge, its base station and a cloud.

    Services have the coefficient of variation `cv`, else each its own; `quantiles` are limited, else drawn. The price
    of a core grows as its speed to the power `steepness`.
    """
    draw = random.Random(f"dag {seed}")
    inputs, gates = _gated(draw)
    work = {c: Lognormal(draw.choice([4, 8, 15, 30]) * 1e-3, draw.choice(CVS)) for c in inputs}
    laws: dict[str, Law] = {c: _law(draw, law.mean, law.cv if cv is None else cv) for c, law in work.items()}
    level = quantiles or draw.choice([(99,), (95,), (99,), (95, 99)])
    room = draw.choice([1.6, 2.2, 3.0])
    limit = room * _longest(inputs, {c: law.mean for c, law in laws.items()}) + 0.012
    app = _application(draw, inputs, gates, {f"p{q}": f"{limit * 1e3 * (0.8 if q == 95 else 1):.3f} ms" for q in level})
    return _facts(draw, app, _infrastructure(draw, steepness), laws)


def shaped(inputs: Mapping[str, list[str]], gates: Mapping[str, str], law: Law) -> Dag:
    """Components that take from each other as `inputs` says, all of one law; `gates` says who lets whom run."""
    draw = random.Random("shaped")
    app = _application(draw, inputs, gates, {"p99": "1 s"})
    return _facts(draw, app, _infrastructure(draw, STEEPNESS), dict.fromkeys(inputs, law))


def _inputs(draw: random.Random) -> dict[str, list[str]]:
    """Of each component, who it takes from ("src" too): layers, with joins; few paths."""
    while True:
        n = draw.choice([2, 3, 3, 4, 4, 4, 5, 5, 6, 7])
        names = [f"c{i}" for i in range(n)]
        found: dict[str, list[str]] = {names[0]: ["src"]}
        for i in range(1, n):
            several = draw.choice([1, 1, 1, 2, 2, 3])
            near = names[max(0, i - 4) : i]
            found[names[i]] = sorted(draw.sample(near, min(several, len(near))))
            if draw.random() < 0.15:
                found[names[i]] = ["src"]
        leaves = [c for c in names if not any(c in of for of in found.values())]
        if len(leaves) > 1 and draw.random() < 0.6:
            found[names[-1]] = sorted({*found[names[-1]], *leaves} - {"src", names[-1]})
        if _paths(found) <= MOST_PATHS:
            return found


def _paths(inputs: Mapping[str, list[str]]) -> int:
    ways: dict[str, int] = {"src": 1}
    for c, of in inputs.items():
        ways[c] = sum(ways[x] for x in of)
    return sum(ways[c] for c in _leaves(inputs))


def _leaves(inputs: Mapping[str, list[str]]) -> list[str]:
    return [c for c in inputs if not any(c in of for of in inputs.values())]


def _longest(inputs: Mapping[str, list[str]], means: Mapping[str, float]) -> float:
    """Seconds of the longest path on `medium`."""
    ends: dict[str, float] = {"src": 0.0}
    for c, of in inputs.items():
        ends[c] = means[c] + max(ends[x] for x in of)
    return max(ends.values())


def _gated(draw: random.Random) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Inputs, and up to two components that run only where one that they take from is not sure.

    Who takes from such a component also takes from that one, so as to know whether to wait for it.
    """
    while True:
        inputs = _inputs(draw)
        able = [c for c, of in inputs.items() if of[0] != "src" and c not in _leaves(inputs)]
        chosen = draw.sample(able, min(len(able), draw.choice([0, 0, 1, 1, 2])))
        gates: dict[str, str] = {}
        for c in sorted(chosen):
            sure = [x for x in inputs[c] if x not in chosen]
            if sure:
                gates[c] = draw.choice(sure)
        more = {c: sorted({*of, *(gates[x] for x in of if x in gates)} - {c}) for c, of in inputs.items()}
        if _paths(more) <= MOST_PATHS:
            return more, gates


def _law(draw: random.Random, mean: float, cv: float) -> Law:
    slow = draw.choice([0.03, 0.08, 0.2])
    return Bimodal(mean, cv, slow) if draw.random() < 0.4 else Lognormal(mean, cv)


def _application(
    draw: random.Random, inputs: Mapping[str, list[str]], gates: Mapping[str, str], limits: Mapping[str, str]
) -> dict[str, Any]:
    def taken(name: str) -> Any:
        if name == "src":
            return "src.photo"
        return {"from": f"{name}.out", "if_skipped": 0} if name in gates else f"{name}.out"

    components: dict[str, Any] = {
        c: {
            "model": f"{c}.onnx",
            "inputs": {f"x{i}": taken(name) for i, name in enumerate(of)},
            "outputs": {"out": "f32[8]", "sure": "bool"},
        }
        | ({"when": f"not {gates[c]}.sure"} if c in gates else {})
        for c, of in inputs.items()
    }
    peak = draw.choice([3, 8, 15, 25])
    return {
        "schema": "tierplan.app/v1",
        "name": "dag",
        "sources": {
            "src": {
                "at": {"tier": "edge"},
                "rate": {"mean": f"{peak / 4}/s", "peak": f"{peak}/s"},
                "values": {"photo": {"type": "jpeg", "size": {"p50": "10 kB", "p99": "30 kB"}}},
            }
        },
        "components": components,
        "sinks": {"out": {"at": "origin", "inputs": {f"y{i}": taken(c) for i, c in enumerate(_leaves(inputs))}}},
        "constraints": {"time": {"from": "src", "to": "out", **limits}},
        "objective": ["cost"],
    }


def _infrastructure(draw: random.Random, steepness: float) -> dict[str, Any]:
    hardware: dict[str, Any] = {
        name: {
            "cores": 2 if name == "small" else 1,
            "memory": "1 GB",
            "sharing": "cores",
            "price": f"{PRICE * pace**-steepness:.6f}/h",
        }
        for name, pace in PACES.items()
    }

    def pools(*names: str) -> dict[str, Any]:
        return {name: {"hardware": name, "devices": "0..20"} for name in names}

    return {
        "schema": "tierplan.infra/v1",
        "currency": "USD",
        "hardware": hardware,
        "sites": {
            "edge": {
                "tier": "edge",
                "count": draw.choice([1, 1, 3]),
                "pools": {"soc": {"hardware": "small", "devices": 1, "owned": True}},
            },
            "base": {"tier": "base", "pools": pools("slow", "medium", "fast")},
            "cloud": {"tier": "cloud", "pools": pools("medium", "fast", "fastest")},
        },
        "links": {
            "radio": {
                "between": ["edge", "base"],
                "delay": {"mean": "2 ms", "jitter": f"{draw.choice([0, 0.4])} ms"},
                "up": {"rate": f"{draw.choice([30, 100])} Mbit/s"},
                "down": {"rate": "200 Mbit/s"},
            },
            "back": {"between": ["base", "cloud"], "delay": {"mean": "4 ms", "jitter": "0.3 ms"}, "rate": "1 Gbit/s"},
        },
    }  # fmt: skip


def _facts(draw: random.Random, app: dict[str, Any], infra: dict[str, Any], laws: Mapping[str, Law]) -> Dag:
    read = document(app, Application, "app.yaml")
    digests = {f"{c}/default": digest_bytes(c.encode()) for c in laws}
    services: dict[str, Law] = {}
    records: list[Record] = []
    for (c, law), (hardware, pace) in product(laws.items(), PACES.items()):
        scaled = law.times(pace)
        made = Record(
            source=digests[f"{c}/default"],
            backend="onnxruntime",
            threads=1,
            hardware=hardware,
            provenance="measured",
            method="timer",
            host="test",
            latency=measured(scaled),
            memory=5e7,
            artefact=digest_bytes(f"{c} {hardware}".encode()),
            measured_at=WHEN,
        )
        records.append(made)
        services[made.digest] = scaled
    sizes: dict[str, Law] = {"src.photo": Lognormal(draw.choice([6e3, 2e4]), 0.4)}
    for c in laws:
        sizes[f"{c}.out"] = Lognormal(draw.choice([300, 3e3, 1e4]), 0.3)
        sizes[f"{c}.sure"] = Lognormal(40, 0.05)
    behaviour = Behaviour(
        variants=dict.fromkeys(laws, "default"),
        patterns=_patterns(draw, read.value),
        payloads={value: sized(law) for value, law in sizes.items()},
        items=1000,
        inputs=digests,
        measured_at=WHEN,
    )
    infrastructure = document(infra, Infrastructure, "infra.yaml")
    return Dag(situation_of(read, infrastructure, records, [behaviour], hops(), digests), services, sizes)


def _patterns(draw: random.Random, app: Application) -> tuple[BranchPattern, ...]:
    """One for each way the gates can be, of random probability."""
    gated = [c for c, spec in app.components.items() if spec.when]
    ways = list(product((True, False), repeat=len(gated)))
    weights = [draw.choice([1, 3, 9]) for _ in ways]
    found: dict[tuple[str, ...], float] = {}
    for way, weight in zip(ways, weights, strict=True):
        runs = tuple(Graph(app).runs(dict(zip(gated, way, strict=True))))
        found[runs] = found.get(runs, 0.0) + weight / sum(weights)
    return tuple(
        BranchPattern(source="src", runs=runs, probability=p, count=round(1000 * p)) for runs, p in found.items()
    )
