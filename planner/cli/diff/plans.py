"""What differs between two plans."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from specs.base import Spec
from specs.diff import (
    ConstraintChange,
    CostChange,
    Devices,
    DevicesChange,
    FigureChange,
    InputChange,
    Kept,
    MoneyChange,
    PathChange,
    Placement,
    PlacementChange,
    PlanDifference,
    Side,
)
from specs.plan import Assignment, ConstraintCheck, Cost, DevicesBought, Plan, comparable

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Spec | float | str)


def side_of(file: str, plan: Plan) -> Side:
    """What is said of `plan` as a whole."""
    return Side(
        file=file,
        plan=plan.digest,
        application=plan.application,
        status=plan.status,
        conflict=tuple(c.name for c in plan.conflict),
    )


def compare_plans(old: Plan, new: Plan) -> PlanDifference:
    """Everything that differs, as the files say it: to the six digits that they hold.

    Latency as it was simulated if it was for both plans, else by sums.
    """
    before, after = comparable(old, new)
    return PlanDifference(
        same=old.digest == new.digest,
        placements=tuple(_placements(old, new)),
        devices=tuple(_devices(old, new)),
        links=tuple(_links(old, new)),
        cost=_cost(old, new),
        energy=_figure("energy", "kWh/month", _per_month(old), _per_month(new)),
        paths=tuple(_paths(before, after)),
        accuracy=tuple(_accuracy(old, new)),
        constraints=tuple(_constraints(before, after)),
        inputs=tuple(_inputs(old, new)),
    )


def _changes(
    old: Iterable[T], new: Iterable[T], key: Callable[[T], K], value: Callable[[T], V]
) -> Iterator[tuple[K, V | None, V | None]]:
    """Values that differ between what stands under the same key, in the order of `old` and then of what is new."""
    before, after = {key(x): value(x) for x in old}, {key(x): value(x) for x in new}
    for k in dict.fromkeys((*before, *after)):
        was, now = before.get(k), after.get(k)
        if _written(was) != _written(now):
            yield k, was, now


def _written(value: Spec | float | str | None) -> object:
    """As in a file, which holds six digits: what is read of one and what was just computed compare alike."""
    return value.dump() if isinstance(value, Spec) else f"{value:.6g}" if isinstance(value, float) else value


def _figure(name: str, unit: str, old: float | None, new: float | None) -> FigureChange | None:
    return FigureChange(name=name, unit=unit, old=old, new=new) if _written(old) != _written(new) else None


def _placements(old: Plan, new: Plan) -> Iterator[PlacementChange]:
    def by_flow(plan: Plan) -> Iterator[tuple[Assignment, str]]:
        return ((a, flow) for a in plan.assignments for flow in a.flows)

    changes = _changes(
        by_flow(old), by_flow(new), lambda x: (x[0].component, x[0].segment, x[1]), lambda x: _placement(x[0])
    )
    for (component, segment, flow), was, now in changes:
        differ = [f for f in Placement.model_fields if was and now and getattr(was, f) != getattr(now, f)]
        yield PlacementChange(
            component=component,
            segment=segment,
            flow=flow,
            moved="site" in differ,
            differ=tuple(differ),
            old=was,
            new=now,
        )


def _placement(a: Assignment) -> Placement:
    return Placement.model_validate({name: getattr(a, name) for name in Placement.model_fields})


def _devices(old: Plan, new: Plan) -> Iterator[DevicesChange]:
    def told(d: DevicesBought) -> Devices:
        return Devices(hardware=d.hardware, bought=d.bought, load=d.load)

    for (site, pool), was, now in _changes(old.devices, new.devices, lambda d: (d.site, d.pool), told):
        yield DevicesChange(site=site, pool=pool, old=was, new=now)


def _links(old: Plan, new: Plan) -> Iterator[FigureChange]:
    changes = _changes(old.links, new.links, lambda x: f"{x.name} {x.direction}", lambda x: x.load)
    return (FigureChange(name=name, unit="of its rate", old=was, new=now) for name, was, now in changes)


def _cost(old: Plan, new: Plan) -> CostChange | None:
    before, after = old.cost, new.cost
    known = after or before
    if known is None:
        return None

    def change(name: str, value: Callable[[Cost], float]) -> MoneyChange:
        return MoneyChange(name=name, old=value(before) if before else None, new=value(after) if after else None)

    items = _changes(
        before.items if before else (), after.items if after else (), lambda i: i.name, lambda i: i.per_month
    )
    found = CostChange(
        currency=known.currency,
        per_month=change("per_month", lambda c: c.per_month),
        per_1000=change("per_1000", lambda c: c.per_1000),
        items=tuple(MoneyChange(name=name, old=was, new=now) for name, was, now in items),
    )
    alike = all(_written(c.old) == _written(c.new) for c in (found.per_month, found.per_1000))
    return None if alike and not found.items else found


def _per_month(plan: Plan) -> float | None:
    return plan.energy.per_month if plan.energy else None


def _paths(old: Plan, new: Plan) -> Iterator[PathChange]:
    changes = _changes(old.paths, new.paths, lambda p: p.key, lambda p: p)
    for (flow, start, to, over), was, now in changes:
        yield PathChange.model_validate(
            {
                "flow": flow,
                "from": start,
                "to": to,
                "over": over,
                "old": was.predicted if was else None,
                "new": now.predicted if now else None,
                "old_limit_ms": was.limit_ms if was else {},
                "new_limit_ms": now.limit_ms if now else {},
            }
        )


def _accuracy(old: Plan, new: Plan) -> Iterator[FigureChange]:
    """By data: the least of what the plan's combinations of variants reach."""

    def least(plan: Plan) -> dict[str, float]:
        found: dict[str, float] = {}
        for behaviour in plan.behaviour:
            for data, value in behaviour.accuracy.items():
                found[data] = min(value, found.get(data, value))
        return found

    changes = _changes(least(old).items(), least(new).items(), lambda x: x[0], lambda x: x[1])
    return (FigureChange(name=data, unit="share", old=was, new=now) for data, was, now in changes)


def _constraints(old: Plan, new: Plan) -> Iterator[ConstraintChange]:
    def kept(c: ConstraintCheck) -> Kept:
        return Kept(value=c.value, limit=c.limit, slack=c.slack, binding=c.binding)

    units = {c.name: c.unit for c in (*old.constraints, *new.constraints)}
    for name, was, now in _changes(old.constraints, new.constraints, lambda c: c.name, kept):
        yield ConstraintChange(name=name, unit=units[name], old=was, new=now)


def _inputs(old: Plan, new: Plan) -> Iterator[InputChange]:
    before, after = old.inputs, new.inputs
    yield from _digests("app", {"app": before.app}, {"app": after.app})
    yield from _digests("infra", {"infra": before.infra}, {"infra": after.infra})
    yield from _digests("source", before.sources, after.sources)
    records, others = _records(old), _records(new)
    both = records.keys() & others.keys()  # what runs otherwise rests on another record: that says nothing new
    yield from _digests("record", {k: d for k, d in records.items() if k in both}, {k: others[k] for k in both})
    yield from _digests(
        "behaviour", _others(before.behaviour, after.behaviour), _others(after.behaviour, before.behaviour)
    )
    yield from _digests("what-if", {c: c for c in before.changes}, {c: c for c in after.changes})


def _records(plan: Plan) -> dict[str, str]:
    """Digests of profile records by what rests on them."""
    return {f"{a.stage_name}/{a.variant} {a.backend}, {a.threads} on {a.hardware}": a.record for a in plan.assignments}


def _others(own: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Those of `own` that are not among `others`; they have no name and go by number."""
    return {str(number): digest for number, digest in enumerate((d for d in own if d not in others), 1)}


def _digests(kind: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[InputChange]:
    for name, was, now in _changes(old.items(), new.items(), lambda x: x[0], lambda x: x[1]):
        yield InputChange.model_validate({"kind": kind, "name": name, "old": was, "new": now})
