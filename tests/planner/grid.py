"""A larger world than those of `worlds`: many components in a DAG with branches, on many sites of three tiers."""

from __future__ import annotations

import random
from typing import Any

from planner.situation import Situation, situation_of
from specs.application import Application
from specs.behaviour import Accuracy, Behaviour, BranchPattern
from specs.digest import digest_bytes
from specs.infrastructure import Infrastructure
from specs.profile import Record
from tests.planner.worlds import WHEN, document, hops, payload, record

PACE = {"soc": 4.0, "micro": 2.0, "c2": 1.0, "gpu": 0.3}
"""Seconds on each class of hardware for one second of work."""


def grid(components: int = 20, sites: int = 17, seed: int = 0, limit_ms: float = 330, budget: float = 400) -> Situation:
    """`components` in a DAG, its source at one edge site; a cloud, one base station for each three edge sites."""
    draw = random.Random(seed)
    infra = document(_infrastructure(sites, draw), Infrastructure, "infra.yaml")
    app = document(_application(components, limit_ms, budget, draw), Application, "app.yaml")
    digests = {"data:held_out": "d0"}
    records: list[Record] = []
    for name, component in app.value.components.items():
        work = draw.choice([1.0, 2.0, 4.0, 8.0, 14.0]) * 1e-3
        for variant in component.realisations:
            source = digests[f"{name}/{variant}"] = digest_bytes(f"{name}/{variant}".encode())
            scale = 0.5 if variant == "small" else 1.0
            for hardware, pace in PACE.items():
                for threads in (1, 2) if hardware == "c2" else (1,):
                    mean = work * scale * pace / (1.6 if threads == 2 else 1.0) * draw.uniform(0.8, 1.2)
                    cv = draw.choice([0.1, 0.3, 0.6])
                    memory = draw.choice([3e7, 8e7, 2e8])
                    records.append(record(source, hardware, mean, threads=threads, cv=cv, memory=memory))
    behaviours = [_behaviour(app.value, digests, variant, draw) for variant in ("small", "large")]
    return situation_of(app, infra, records, behaviours, hops(), digests)


def _infrastructure(sites: int, draw: random.Random) -> dict[str, Any]:
    hardware = {
        "soc": {"cores": 2, "memory": "500 MB", "power": "1..3 W"},
        "micro": {"cores": 4, "memory": "4 GB", "price": "0.03/h"},
        "c2": {"cores": 4, "memory": "8 GB", "price": "0.08/h"},
        "gpu": {"cores": 4, "memory": "16 GB", "price": "0.5/h"},
    }
    bases = max(1, (sites - 1) // 4)
    places: dict[str, Any] = {}
    links: dict[str, Any] = {}
    for i in range(bases):
        price = f"{draw.uniform(0.02, 0.06):.3f}/h"
        rack = {"hardware": "micro", "devices": f"0..{draw.choice([1, 2, 3])}", "price": price}
        places[f"base{i}"] = {"tier": "base", "electricity": "0.2/kWh", "pools": {"rack": rack}}
        links[f"back{i}"] = {
            "between": [f"base{i}", "cloud"], "delay": f"{draw.uniform(8, 25):.1f} ms",
            "rate": "200 Mbit/s", "egress": "0.02/GB",
        }  # fmt: skip
    for i in range(sites - bases - 1):
        soc = {"hardware": "soc", "devices": 1, "owned": True}
        places[f"edge{i}"] = {"tier": "edge", "electricity": "0.3/kWh", "pools": {"soc": soc}}
        delay = {"mean": f"{draw.uniform(3, 9):.1f} ms", "jitter": "1 ms"}
        links[f"radio{i}"] = {"between": [f"edge{i}", f"base{i % bases}"], "delay": delay, "rate": "30 Mbit/s"}
    pools = {"vm": {"hardware": "c2", "devices": "0..8"}, "fast": {"hardware": "gpu", "devices": "0..2"}}
    places["cloud"] = {"tier": "cloud", "pools": pools}
    return {"schema": "tierplan.infra/v1", "hardware": hardware, "sites": places, "links": links}


def _application(n: int, limit_ms: float, budget: float, draw: random.Random) -> dict[str, Any]:
    """A chain with a side branch at every fourth component, which joins again two components on."""
    names = [f"c{i}" for i in range(n)]
    components: dict[str, Any] = {}
    for i, name in enumerate(names):
        inputs: dict[str, Any] = {"x": "src.photo" if i == 0 else f"{names[i - 1]}.out"}
        if i % 4 == 3:
            inputs["y"] = f"{names[i - 2]}.out"
        components[name] = {"model": f"{name}.onnx", "inputs": inputs, "outputs": {"out": "f32[8]"}}
    variable = names[n // 2]
    del components[variable]["model"]
    components[variable]["variants"] = {v: {"model": f"{variable}_{v}.onnx"} for v in ("small", "large")}
    return {
        "schema": "tierplan.app/v1",
        "name": "grid",
        "sources": {
            "src": {
                "at": {"site": "edge0"},
                "rate": {"mean": "3/s", "peak": "12/s"},
                "values": {"photo": {"type": "jpeg", "size": {"p50": "60 kB", "p99": "150 kB"}}},
            }
        },
        "components": components,
        "sinks": {"out": {"at": "origin", "inputs": {"y": f"{names[-1]}.out"}}},
        "data": {"held_out": {"file": "held_out.jsonl", "label": "y"}},
        "constraints": {
            "time": {"from": "src", "to": "out", "p99": f"{limit_ms} ms"},
            "budget": {"cost": f"<= {budget} USD/month"},
            "quality": {"accuracy": ">= 0.8", "on": "held_out"},
        },
        "objective": ["cost"],
    }


def _behaviour(app: Application, digests: dict[str, str], chosen: str, draw: random.Random) -> Behaviour:
    variants = {c: chosen if spec.variants else "default" for c, spec in app.components.items()}
    payloads = {"src.photo": payload(70e3, 0.4)}
    payloads |= {f"{c}.out": payload(draw.choice([300, 4000, 40_000]), 0.2) for c in variants}
    value = 0.9 if chosen == "large" else 0.84
    return Behaviour(
        variants=variants,
        patterns=(BranchPattern(source="src", runs=tuple(variants), probability=1.0, count=500),),
        payloads=payloads,
        accuracy=(Accuracy(data="held_out", value=value, low=value - 0.02, high=value + 0.02, n=1000),),
        items=1000,
        inputs={f"{c}/{v}": digests[f"{c}/{v}"] for c, v in variants.items()} | {"data:held_out": "d0"},
        measured_at=WHEN,
    )
