"""Small placements made by hand for the simulator: queues in a row, with service times that theory knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.placement.layout import Layout, layout_of
from planner.situation import Situation, situation_of
from specs.application import Application
from specs.artefact import WHOLE
from specs.behaviour import Behaviour, BranchPattern, PayloadSize
from specs.digest import digest_bytes
from specs.infrastructure import Infrastructure
from specs.plan import Assignment
from specs.profile import Distribution, HopOverhead, Record
from tests.planner.worlds import WHEN, document

LEVELS = 4096


@dataclass(frozen=True)
class Server:
    """One component: its service time as equally likely values, and how it is served."""

    values: Sequence[float]
    replicas: int = 1
    batch: int = 1
    batch_wait_ms: float = 0.0
    site: str = "here"


def exponential(mean: float) -> list[float]:
    """Equally likely values of an exponential distribution, each the mean of its part of it."""
    edges = np.arange(LEVELS + 1) / LEVELS
    left = 1 - edges
    part = np.where(left > 0, left * np.log(np.where(left > 0, left, 1)) - left, 0.0)  # of x dF, up to a sign
    return list(mean * LEVELS * (part[1:] - part[:-1]))


def distribution(values: Sequence[float]) -> Distribution:
    x = np.repeat(np.sort(np.asarray(values, float)), -(-LEVELS // len(values)) if len(set(values)) > 1 else 1)
    n = len(x)
    quantiles = {f"{(i + 0.5) / n:.9g}": float(v) for i, v in enumerate(x)} if n > 1 else {"0.5": float(x[0])}
    m1, m2, m3 = (float((x**k).mean()) for k in (1, 2, 3))
    return Distribution(mean=m1, second=m2, third=m3, quantiles=quantiles, n=n, spread=0.0)


def chain(
    servers: Mapping[str, Server],
    rate: float,
    *,
    members: int = 1,
    sharing: str = "cores",
    arrivals: str = "poisson",
    inputs: Mapping[str, Mapping[str, str]] | None = None,
    link: Mapping[str, Any] | None = None,
    payload: float = 0.0,
    skipped: float = 0.0,
    fan_out: tuple[str, Mapping[int, float]] | None = None,
) -> tuple[Situation, Layout]:
    """Components in a row (or as `inputs` says), each its own stage; `rate` requests a second of each member.

    Those whose site is "there" are over a link of `link` from the source, and messages have `payload` bytes. Where a
    share `skipped` of the requests leaves the last component out, nobody waits for what it makes. `fan_out` names a
    component that runs per item of what it takes, and how many items there are with which probability.
    """
    names = list(servers)
    given = inputs or {n: {"x": "src.v" if i == 0 else f"{names[i - 1]}.out"} for i, n in enumerate(names)}
    app: dict[str, Any] = {
        "schema": "tierplan.app/v1",
        "name": "row",
        "sources": {
            "src": {
                "at": {"tier": "near"},
                "rate": f"{rate}/s",
                "arrivals": arrivals,
                "values": {"v": {"type": "string", "size": "60 B"}},
            }
        },
        "components": {
            n: {"model": f"{n}.onnx", "inputs": given[n], "outputs": {"out": "f32[8]", "sure": "bool"}} for n in names
        },
        "sinks": {"end": {"at": "origin", "inputs": {"y": f"{names[-1]}.out"}}},
        "constraints": {"time": {"from": "src", "to": "end", "p99": "1 s"}},
        "objective": ["cost"],
    }
    if skipped:
        app["components"][names[-1]]["when"] = f"not {names[-2]}.sure"
        app["sinks"]["end"]["inputs"]["y"] = f"{names[-2]}.out"
    if fan_out:
        app["components"][fan_out[0]]["per"] = given[fan_out[0]]["x"]
    pools = {"box": {"hardware": "cpu", "devices": 1, "owned": True}}
    infra: dict[str, Any] = {
        "schema": "tierplan.infra/v1",
        "currency": "USD",
        "hardware": {"cpu": {"cores": 64, "memory": "64 GB", "sharing": sharing}},
        "sites": {
            "here": {"tier": "near", "count": members, "pools": pools},
            "there": {"tier": "far", "pools": pools},
        },
        "links": {"wire": {"between": ["here", "there"], "delay": "0 s", "rate": "1 Gbit/s"} | dict(link or {})},
    }
    records = [
        Record(
            source=digest_bytes(n.encode()),
            backend="onnxruntime",
            threads=1,
            hardware="cpu",
            provenance="measured",
            method="timer",
            host="test",
            latency=distribution(s.values),
            memory=1e6,
            artefact=digest_bytes(n.encode()),
            measured_at=WHEN,
        )
        for n, s in servers.items()
    ]
    size = PayloadSize(mean=payload, second=payload**2, third=payload**3, quantiles={"0.5": payload})
    behaviour = Behaviour(
        variants=dict.fromkeys(names, "default"),
        patterns=(
            *(
                BranchPattern(source="src", runs=tuple(names), items=items, probability=p * (1 - skipped), count=1)
                for items, p in ([({fan_out[0]: n}, p) for n, p in fan_out[1].items()] if fan_out else [(None, 1.0)])
            ),
            *((BranchPattern(source="src", runs=tuple(names[:-1]), probability=skipped, count=1),) if skipped else ()),
        ),
        payloads={"src.v": size} | {f"{n}.{o}": size for n in names for o in ("out", "sure")},
        items=1,
        inputs={f"{n}/default": digest_bytes(n.encode()) for n in names},
        measured_at=WHEN,
    )
    still = Distribution(mean=0.0, second=0.0, third=0.0, quantiles={}, n=1, spread=0.0)
    hops = [HopOverhead(channel="c", bytes=1, latency=still, host="test", measured_at=WHEN)]
    digests = {f"{n}/default": digest_bytes(n.encode()) for n in names}
    situation = situation_of(
        document(app, Application, "app.yaml"),
        document(infra, Infrastructure, "infra.yaml"),
        records,
        [behaviour],
        hops,
        digests,
    )
    assignments = [
        Assignment(
            component=n,
            segment=WHOLE,
            flows=("src@here",),
            members=members,
            site=s.site,
            pool="box",
            hardware="cpu",
            variant="default",
            backend="onnxruntime",
            threads=1,
            batch=s.batch,
            batch_wait_ms=s.batch_wait_ms,
            replicas=s.replicas,
            artefact=r.artefact,
            record=r.digest,
            provenance="measured",
        )
        for (n, s), r in zip(servers.items(), records, strict=True)
    ]
    return situation, layout_of(situation, assignments)
