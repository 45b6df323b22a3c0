"""Random applications of any size on a tree of edge, base and cloud, with facts: what answers about plans are timed on.

As benchmarks/instances.py, but specs and records from which the planner makes a Problem: a random DAG of components, of
which one has two variants, in two backends at each number of threads.
"""

from __future__ import annotations

import random
from typing import Any, Final

from benchmarks.instances import ACCELERATOR, BASE, CLOUD, EDGE, Shape, hardware
from planner.situation import Situation, situation_of
from specs.application import Application
from specs.behaviour import Accuracy, Behaviour, BranchPattern
from specs.digest import digest_bytes
from specs.infrastructure import Infrastructure
from specs.profile import Record
from specs.quantities import HOURS_PER_MONTH
from tests.planner.worlds import WHEN, document, hops, payload, record

BACKENDS: Final = {"onnxruntime": 1.0, "tvm": 0.75}
"""Factors of the time: a smaller one takes more memory, and is less even."""
BASES: Final = 4
RATE: Final = 40
"""Requests a second at the peak; half of it on average."""


def application(components: int, sites: int, seed: int, limit_ms: float) -> Situation:
    """An application of `components` on `sites`, whose p99 is at most `limit_ms` and whose cost is to be least.

    Requests enter at the last edge site, and answers leave there.
    """
    draw = random.Random(f"{components} {sites} {seed}")
    shape = Shape("tree", components, sites, by_use=False)
    infra = _infrastructure(draw, shape)
    app, twofold = _application(draw, shape, limit_ms)
    given = document(app, Application, "app.yaml")
    digests = {"data:held_out": "d0"} | {
        f"{name}/{variant}": digest_bytes(f"{name}/{variant}".encode())
        for name, component in given.value.components.items()
        for variant in component.realisations
    }
    records = _records(draw, shape, digests)
    behaviours = _behaviours(draw, list(app["components"]), twofold, digests)
    where = document(infra, Infrastructure, "infra.yaml")
    return situation_of(given, where, records, behaviours, hops(), digests)


def _infrastructure(draw: random.Random, shape: Shape) -> dict[str, Any]:
    classes = {
        name: {
            "cores": h.cores,
            "memory": f"{h.memory_mb} MB",
            "sharing": "time" if h.time else "cores",
            "price": f"{(0.0 if name == EDGE else h.price) / HOURS_PER_MONTH:.6f}/h",
            "power": f"0..{h.power:g} W",
        }
        for name, h in hardware(shape).items()
    }
    sites: dict[str, Any] = {"cloud": _site(CLOUD, hardware(shape)[CLOUD].devices)}
    links: dict[str, Any] = {}
    for b in range(BASES):
        kind = ACCELERATOR if b == 1 else BASE
        sites[f"base{b}"] = _site(kind, hardware(shape)[kind].devices)
        delay = f"{draw.randint(9, 16)} ms"
        links[f"back{b}"] = {
            "between": [f"base{b}", "cloud"], "delay": delay, "rate": "480 Mbit/s", "egress": "0.02/GB",
        }  # fmt: skip
    for e in range(shape.sites - 1 - BASES):
        sites[f"edge{e}"] = _site(EDGE, 1)
        links[f"radio{e}"] = {
            "between": [f"edge{e}", f"base{e % BASES}"], "delay": f"{draw.randint(2, 5)} ms", "rate": "64 Mbit/s",
        }  # fmt: skip
    return {"schema": "tierplan.infra/v1", "currency": "USD", "hardware": classes, "sites": sites, "links": links}


def _site(kind: str, devices: int) -> dict[str, Any]:
    return {
        "tier": kind,
        "electricity": "0.25/kWh",
        "pools": {"pool": {"hardware": kind, "devices": f"0..{devices}"}},
    }


def _application(draw: random.Random, shape: Shape, limit_ms: float) -> tuple[dict[str, Any], str]:
    """The application, and the name of the component that has two variants."""
    n = shape.components
    feeding = {i: {max(0, i - draw.choice([1, 1, 1, 1, 2, 4]))} for i in range(1, n)}
    leaves = [i for i in range(n - 1) if not any(i in of for of in feeding.values())]
    feeding[n - 1] |= set(leaves)
    components: dict[str, Any] = {}
    for i in range(n):
        inputs = {f"x{j}": f"c{j}.out" for j in sorted(feeding[i])} if i else {"x": "camera.image"}
        components[f"c{i}"] = {"model": f"c{i}.onnx", "inputs": inputs, "outputs": {"out": "f32[8]"}}
    twofold = f"c{draw.randrange(n)}"
    del components[twofold]["model"]
    components[twofold]["variants"] = {v: {"model": f"{twofold}_{v}.onnx"} for v in ("small", "large")}
    home = {"site": f"edge{shape.sites - 2 - BASES}"}
    image = {"type": "jpeg", "size": {"p50": "50 kB", "p99": "90 kB"}}
    rate = {"mean": f"{RATE / 2}/s", "peak": f"{RATE}/s"}
    return {
        "schema": "tierplan.app/v1",
        "name": f"random-{n}x{shape.sites}",
        "sources": {"camera": {"at": home, "rate": rate, "values": {"image": image}}},
        "components": components,
        "sinks": {"answer": {"at": "origin", "inputs": {"y": f"c{n - 1}.out"}}},
        "data": {"held_out": {"file": "held_out.jsonl", "label": "y"}},
        "constraints": {"time": {"from": "camera", "to": "answer", "p99": f"{limit_ms:g} ms"}},
        "objective": ["cost"],
    }, twofold


def _records(draw: random.Random, shape: Shape, digests: dict[str, str]) -> list[Record]:
    found: list[Record] = []
    for key, digest in digests.items():
        if key.startswith("data:"):
            continue
        work = draw.lognormvariate(-4.3, 0.7) * (0.7 if key.endswith("small") else 1.0)
        memory = draw.uniform(20e6, 160e6)
        for name, h in hardware(shape).items():
            for threads in h.threads:
                for backend, factor in BACKENDS.items():
                    mean = work * h.pace * factor / threads**0.75
                    size = memory / factor**2 * (1 + 0.1 * threads)
                    cv = 0.15 + 0.5 * (1.25 - factor) ** 2
                    found.append(record(digest, name, mean, threads=threads, backend=backend, memory=size, cv=cv))
    return found


def _behaviours(draw: random.Random, components: list[str], twofold: str, digests: dict[str, str]) -> list[Behaviour]:
    sizes = {"camera.image": payload(6e4, 0.3)}
    sizes |= {f"{name}.out": payload(draw.lognormvariate(8.5, 1.3), 0.2) for name in components}
    found = []
    for variant, right in (("small", 0.9), ("large", 0.95)):
        variants = {c: variant if c == twofold else "default" for c in components}
        found.append(
            Behaviour(
                variants=variants,
                patterns=(BranchPattern(source="camera", runs=tuple(components), probability=1.0, count=1000),),
                payloads=sizes,
                accuracy=(Accuracy(data="held_out", value=right, low=right - 0.02, high=right + 0.02, n=1000),),
                items=1000,
                inputs={f"{c}/{v}": digests[f"{c}/{v}"] for c, v in variants.items()} | {"data:held_out": "d0"},
                measured_at=WHEN,
            )
        )
    return found
