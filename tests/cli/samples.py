"""A plan and a run of it as the verbs write them, for tests of what reads them."""

from __future__ import annotations

from typing import Any

from specs.artefact import Segment
from specs.plan import (
    Assignment,
    Conflict,
    ConstraintCheck,
    Cost,
    CostItem,
    CutOnWire,
    DevicesBought,
    Inputs,
    LinkLoad,
    PathPrediction,
    Percentiles,
    Plan,
    PlannedBehaviour,
    Route,
    StagePrediction,
)
from specs.run_result import MeasuredAccuracy, MeasuredPath, MeasuredStage, Requests, RunResult, Slice

FLOW = "upload@phones"


def route(start: str, end: str, link: str, direction: str) -> Route:
    hops = [{"link": link, "direction": direction}]
    return Route.model_validate({"from": start, "to": end, "origins": ["phones"], "hops": hops})


def ms(p50: float, factor: float = 1.0) -> Percentiles:
    """Percentiles with a plain tail around a median."""
    p50 *= factor
    return Percentiles(p50_ms=p50, p95_ms=1.35 * p50, p99_ms=1.7 * p50, mean_ms=1.06 * p50)


def assignment(component: str, site: str, **other: Any) -> Assignment:
    hardware = {"phones": "phone", "bases": "micro", "frankfurt": "c2"}[site]
    pool = {"phones": "soc", "bases": "rack", "frankfurt": "vm"}[site]
    fields: dict[str, Any] = {
        "segment": Segment(),
        "flows": (FLOW,),
        "members": 1200,
        "variant": "default",
        "backend": "tvm",
        "threads": 1,
        "replicas": 1,
        "artefact": "a1" * 32,
        "record": "b2" * 32,
        "provenance": "emulated",
    }
    return Assignment(component=component, site=site, pool=pool, hardware=hardware, **(fields | other))


STAGES = (
    # name, kind, site, wait, service, share
    ("shrink", "stage", "phones", 1.1, 62.0, 1.0),
    ("upload -> tokens", "transfer", "phones", 0.0, 14.0, 1.0),
    ("vision[..cut_a]", "stage", "phones", 0.9, 31.0, 1.0),
    ("vision[..cut_a] -> vision[cut_a..]", "transfer", "phones", 3.2, 29.0, 1.0),
    ("vision[cut_a..]", "stage", "bases", 1.8, 11.0, 1.0),
    ("tokens", "stage", "bases", 0.1, 0.6, 0.43),
    ("tokens -> language", "transfer", "bases", 0.1, 19.0, 0.43),
    ("language", "stage", "frankfurt", 4.1, 21.0, 0.43),
    ("language -> decide", "transfer", "frankfurt", 0.2, 19.5, 0.43),
    ("decide", "stage", "bases", 0.1, 0.3, 1.0),
    ("decide -> answer", "transfer", "bases", 0.1, 12.6, 1.0),
)


def sample_plan(**changes: Any) -> Plan:
    """An optimal plan over three tiers with a model cut in two; `changes` replace fields."""
    stages = tuple(
        StagePrediction.model_validate(
            {"name": n, "kind": k, "site": s, "wait": ms(w), "service": ms(t), "share": share}
        )
        for n, k, s, w, t, share in STAGES
    )
    plan = Plan(
        application="blog-upload",
        status="optimal",
        objective=[101.24, 171.3],
        bound=[101.24, 171.3],
        gap=0.0,
        seconds=0.41,
        assignments=(
            assignment("shrink", "phones", backend="python", artefact=""),
            assignment("vision", "phones", variant="large", segment=Segment(end=("cut_a",))),
            assignment("vision", "bases", variant="large", segment=Segment(begin=("cut_a",)), replicas=2),
            assignment("tokens", "bases", backend="python", artefact=""),
            assignment("language", "frankfurt", backend="onnxruntime", threads=2, replicas=3),
            assignment("decide", "bases"),
        ),
        cuts=(CutOnWire(component="vision", tensors=("cut_a",), bytes=16384),),
        devices=(
            DevicesBought(site="phones", pool="soc", hardware="phone", sharing="time", bought=1, load=0.02),
            DevicesBought(site="bases", pool="rack", hardware="micro", sharing="cores", bought=1, load=0.37),
            DevicesBought(site="frankfurt", pool="vm", hardware="c2", sharing="cores", bought=3, load=0.71),
        ),
        links=(
            LinkLoad(name="lte", direction="up", load=0.46, bytes_per_s=5.7e6),
            LinkLoad(name="lte", direction="down", load=0.01, bytes_per_s=900),
            LinkLoad(name="backhaul", direction="up", load=0.03, bytes_per_s=81e3),
            LinkLoad(name="backhaul", direction="down", load=0.05, bytes_per_s=119e3),
        ),
        routes=(
            route("phones", "bases", "lte", "up"),
            route("bases", "frankfurt", "backhaul", "up"),
            route("frankfurt", "bases", "backhaul", "down"),
            route("bases", "phones", "lte", "down"),
        ),
        paths=(
            PathPrediction.model_validate(
                {"flow": FLOW, "from": "upload", "to": "answer", "over": "all", "predicted": ms(182)}
                | {"limit_ms": {"p99": 600}}
            ),
        ),
        stages=stages,
        cost=Cost(
            currency="USD",
            per_hour=0.1387,
            per_month=101.24,
            per_1000=0.0096,
            items=(
                CostItem(name="frankfurt vm, 3 x c2", per_month=65.7),
                CostItem(name="bases rack, 4 x micro", per_month=29.2),
                CostItem(name="egress backhaul up", per_month=4.1),
                CostItem(name="electricity bases", per_month=2.24),
            ),
        ),
        constraints=(
            check("answer_time", 55, "ms", 309.4, 600, 290.6),
            check("budget", 56, "USD/month", 101.24, 150, 48.76),
            check("quality", 57, "", 0.9417, 0.94, 0.0017, binding=True),
        ),
        behaviour=(
            PlannedBehaviour(
                variants={"shrink": "default", "vision": "large", "language": "default"},
                patterns={"shrink, vision, decide": 0.57, "shrink, vision, tokens, language, decide": 0.43},
                accuracy={"held_out": 0.9417},
                source="measured",
            ),
        ),
        inputs=Inputs(
            app="c3" * 32,
            infra="d4" * 32,
            sources={"vision/large": "e5" * 32, "language/default": "f6" * 32},
            records=("b2" * 32,),
            behaviour=("a7" * 32,),
        ),
    )
    return plan.model_copy(update=changes)


def check(
    name: str, line: int, unit: str, value: float, limit: float, slack: float, binding: bool = False
) -> ConstraintCheck:
    return ConstraintCheck(
        name=name, file="app.yaml", line=line, unit=unit, value=value, limit=limit, slack=slack, binding=binding
    )


def infeasible_plan() -> Plan:
    """What is written when no plan exists."""
    conflict = (
        Conflict(name="answer_time", file="app.yaml", line=55),
        Conflict(name="budget", file="app.yaml", line=56),
    )
    empty: dict[str, Any] = dict.fromkeys(
        ("assignments", "cuts", "devices", "links", "routes", "paths", "stages", "constraints", "behaviour"), ()
    )
    return sample_plan(status="infeasible", objective=[], bound=[], gap=None, cost=None, conflict=conflict, **empty)


def sample_run(plan: Plan) -> RunResult:
    """300 requests from two phones, a little slower than predicted."""
    path = plan.paths[0]
    stages = tuple(
        MeasuredStage(
            name=s.name,
            kind=s.kind,
            site=s.site,
            n=round(300 * s.share),
            wait_predicted=s.wait,
            wait_measured=ms(s.wait.p50_ms, 1.2),
            service_predicted=s.service,
            service_measured=ms(s.service.p50_ms, 1.06),
        )
        for s in plan.stages
    )
    return RunResult(
        plan=plan.digest,
        prediction="ab" * 32,
        slice=Slice(members={"phones": 2}, multiplier=150, background={"bases": 1.5}, requests=300, seed=0),
        shaping="links and slower CPUs shaped inside the application (no root)",
        requests=Requests(sent=300, answered=300, refused=0, failed=0, lost=0),
        throughput=4.9,
        accuracy={"held_out": 0.9433},
        accuracies=(
            MeasuredAccuracy(data="held_out", value=0.9433, low=0.911, high=0.964, n=300, planned=0.9417, limit=0.94),
        ),
        paths=(
            MeasuredPath.model_validate(
                path.dump() | {"n": 300, "predicted": path.predicted, "measured": ms(path.predicted.p50_ms, 1.08)}
            ),
        ),
        stages=stages,
        seconds=61.2,
    )
