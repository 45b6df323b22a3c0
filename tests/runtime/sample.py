"""The sample application of the runtime's tests: real functions, a real plan, bundles and items made of them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.bundle import Bundle, write_bundle
from runtime.reference.items import Item
from runtime.topology import topology
from specs.artefact import WHOLE
from specs.load import load_application, load_infrastructure
from specs.plan import Assignment, DevicesBought, Inputs, PathPrediction, Percentiles, Plan, Route, StagePrediction
from specs.run_result import Prediction, Slice

PROJECT = Path(__file__).parent / "project"
PLACES = {
    "shrink": ("phones", "soc"),
    "vision": ("bases", "rack"),
    "tokens": ("phones", "soc"),
    "language": ("cloud", "vm"),
    "decide": ("bases", "rack"),
}
ZERO = Percentiles(p50_ms=0, p95_ms=0, p99_ms=0, mean_ms=0)


def copy_project(folder: Path, **edits: tuple[str, str]) -> Path:
    """The project in `folder`, with (old, new) text replaced in the files named by keyword (app, infra, steps)."""
    project = folder / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    files = {"app": "app.yaml", "infra": "infra.yaml", "steps": "pictures/steps.py"}
    for name, (old, new) in edits.items():
        file = project / files[name]
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new), "utf-8")
    return project


def assignment(component: str, site: str, pool: str, **changes: Any) -> Assignment:
    values: dict[str, Any] = {
        "component": component,
        "segment": WHOLE,
        "flows": ("upload@phones",),
        "members": 4,
        "site": site,
        "pool": pool,
        "hardware": "phone" if site == "phones" else "server",
        "variant": "small" if component == "vision" else "default",
        "backend": "python",
        "threads": 1,
        "replicas": 1,
        "artefact": "",
        "record": "",
        "provenance": "measured",
    }
    return Assignment.model_validate({**values, **changes})


def routes() -> tuple[Route, ...]:
    lte, backhaul = ("lte", "backhaul")
    ways: dict[tuple[str, str], list[tuple[str, str]]] = {
        ("phones", "bases"): [(lte, "up")],
        ("bases", "phones"): [(lte, "down")],
        ("bases", "cloud"): [(backhaul, "up")],
        ("cloud", "bases"): [(backhaul, "down")],
        ("phones", "cloud"): [(lte, "up"), (backhaul, "up")],
        ("cloud", "phones"): [(backhaul, "down"), (lte, "down")],
    }
    return tuple(
        Route.model_validate(
            {"from": a, "to": b, "origins": ["phones"], "hops": [{"link": x, "direction": way} for x, way in hops]}
        )
        for (a, b), hops in ways.items()
    )


def make_plan(project: Path, places: Mapping[str, tuple[str, str]] | None = None, **changes: Mapping[str, Any]) -> Plan:
    """A plan that puts each component where `places` says; `changes` are fields of an assignment by component."""
    app, infra = load_application(project / "app.yaml"), load_infrastructure(project / "infra.yaml")
    where = {**PLACES, **(places or {})}
    pools = {(site, pool): infra.value.sites[site].pools[pool] for site, pool in where.values()}
    return Plan.model_validate(
        {
            "application": "sample",
            "status": "feasible",
            "seconds": 0.0,
            "objective": [1.0],
            "bound": [1.0],
            "devices": tuple(
                DevicesBought(
                    site=site,
                    pool=pool,
                    hardware=spec.hardware,
                    sharing=infra.value.hardware[spec.hardware].sharing,
                    bought=spec.devices[1],
                    load=0.0,
                )
                for (site, pool), spec in pools.items()
            ),
            "assignments": tuple(assignment(c, *where[c], **dict(changes.get(c, {}))) for c in app.value.components),
            "routes": routes(),
            "inputs": Inputs(app=app.digest, infra=infra.digest, sources={}, records=(), behaviour=()),
        }
    )


def make_bundle(folder: Path, plan: Plan | None = None, project: Path | None = None) -> Bundle:
    source = project or copy_project(folder)
    app, infra = load_application(source / "app.yaml"), load_infrastructure(source / "infra.yaml")
    return write_bundle(folder / "bundle", plan or make_plan(source), app, infra, _no_artefact, {"python": "3.11"})


def _no_artefact(a: Assignment) -> Path:
    raise AssertionError(f"{a.component} is a function and has no artefact")


def make_items(count: int, *, photo_bytes: int = 2000, seed: int = 0) -> list[Item]:
    rng = random.Random(seed)
    return [
        Item(
            "upload",
            {
                "photo": bytes([rng.randrange(34, 256)]) + rng.randbytes(photo_bytes),
                "caption": "".join(rng.choices("abcdefgh ", k=rng.randrange(1, 9))),
            },
        )
        for _ in range(count)
    ]


def make_slice(**changes: Any) -> Slice:
    values: dict[str, Any] = {
        "members": {"phones": 2, "bases": 1, "cloud": 1},
        "multiplier": 1.0,
        "requests": 60,
        "seed": 1,
    }
    return Slice.model_validate({**values, **changes})


def make_prediction(bundle: Bundle, part: Slice) -> Prediction:
    """A prediction of zeros, which names everything that is to be measured."""
    top = topology(bundle.plan, bundle.app.value, bundle.infra.value, part)
    path = {"flow": "upload@phones", "from": "upload", "to": "answer", "predicted": ZERO, "limit_ms": {"p99": 900}}
    names = [("stage", s.name, s.site) for s in top.stages]
    names += [("transfer", e.name, f"{e.from_site} -> {e.to_site}") for e in top.edges if e.hops]
    return Prediction(
        plan=bundle.plan.digest,
        slice=part,
        paths=(
            PathPrediction.model_validate({**path, "over": "all"}),
            PathPrediction.model_validate({**path, "over": "tokens"}),
            PathPrediction.model_validate({**path, "over": "all", "to": "vision"}),
        ),
        stages=tuple(
            StagePrediction(name=n, kind=k, site=s, wait=ZERO, service=ZERO, share=1)  # type: ignore[arg-type]
            for k, n, s in names
        ),
    )
