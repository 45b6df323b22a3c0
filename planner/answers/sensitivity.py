"""How far each input may change before another plan is better, and what wrong profiles could cost.

"The plan stays" means that what runs where and how stays optimal; replicas and devices follow the load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final, Literal

from planner.answers.again import Again, TimeIsUp, vary
from planner.answers.dial import FAR, figure
from planner.answers.forced import as_planned
from planner.answers.relaxations import fewest_steps
from planner.formulation import limit_name
from planner.inputs.network import Way
from planner.observation import scaled
from planner.situation import Situation
from planner.units import units_of
from planner.verification.inputs import check_inputs
from specs.application import PathConstraint
from specs.errors import InputError, Issue
from specs.plan import Plan
from specs.profile import Record

STEP: Final = 0.05
"""Factors are 1.05, 1.05 squared, ..., `WIDEST`, and their inverses."""
WIDEST: Final = 4.0
"""The largest factor tried, and the inverse of the smallest."""
SAME: Final = 1e-6
WAYS: Final[tuple[Way, ...]] = ("up", "down")
Kind = Literal["rate", "price", "electricity", "power", "bandwidth", "egress", "delay", "service time"]


@dataclass(frozen=True)
class Input:
    """One number that the plan rests on. `scaled` is the situation with it multiplied by a factor."""

    name: str
    kind: Kind
    unit: str
    value: float
    scaled: Callable[[Situation, float], Situation]


@dataclass(frozen=True, slots=True)
class Range:
    """The plan stays optimal from `low` to `high`; None where it does as far as was tried (a factor of `WIDEST`)."""

    name: str
    kind: Kind
    unit: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Regret:
    """If profiles are off as `case` says: the first objective that the plan's placement and the best one then have.

    `regret` is the difference. Where the placement would have no plan it is None, and `missed` says by how much (ms)
    each path limit would be missed.
    """

    case: str
    planned: float | None
    best: float | None
    regret: float | None
    missed: dict[str, float]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """`complete` unless time ran out. `unit` is of the first objective, `step` and `off` are shares."""

    unit: str
    step: float
    off: float
    ranges: tuple[Range, ...]
    regrets: tuple[Regret, ...]
    complete: bool


def sensitivity(
    situation: Situation,
    plan: Plan,
    *,
    only: str = "*",
    step: float = STEP,
    off: float = 0.2,
    time_limit: float = 300.0,
    seed: int = 0,
) -> Sensitivity:
    """Of each input whose name matches `only`, the range in which `plan` stays optimal; and regrets for profiles that
    are wrong by a share `off`.

    Ranges are found by solving again at factors a `step` apart, outwards from 1; an optimum that was lost is not looked
    for further out. Raises InputError where the plan is older than its inputs, or its search ended early.
    """
    check_inputs(situation, plan)
    if plan.status != "optimal" and not plan.tightened:
        what = f"the plan is {plan.status}: its search ended early, so that a better one may be there already"
        raise InputError(Issue(what))
    ends = time.perf_counter() + time_limit
    ranges: list[Range] = []
    regrets: list[Regret] = []
    complete = True
    try:
        for case, wrong in _cases(situation, plan, off):
            regrets.append(_regret(case, wrong, plan, Again(wrong, ends, seed, corrected=plan.corrected)))
        for each in inputs_of(situation):
            if fnmatchcase(each.name, only):
                ranges.append(_range(situation, plan, each, step, ends, seed))
    except TimeIsUp:
        complete = False
    return Sensitivity(
        units_of(situation.app.value, situation.infra.value.currency)[0],
        step,
        off,
        tuple(ranges),
        tuple(regrets),
        complete,
    )


def inputs_of(situation: Situation) -> Iterator[Input]:
    """Rates of sources, prices, electricity, power, bandwidths, egress, delays, and service times by component. Named
    as ``--set`` names them.
    """
    app, infra = situation.app.value, situation.infra.value

    def said(name: str, kind: Kind, unit: str, value: float, text: Callable[[float], str]) -> Input:
        return Input(name, kind, unit, value, lambda s, f: vary(s, [f"{name}={text(f)}"]))

    for name, source in app.sources.items():
        mean, peak = source.rate.mean, source.rate.peak
        yield said(
            f"source.{name}.rate", "rate", "/s", peak,
            _both("mean", mean, "/s", "peak", peak),
        )  # fmt: skip
    for name, hardware in infra.hardware.items():
        if hardware.price > 0:
            yield said(f"hardware.{name}.price", "price", "/h", hardware.price, _plain(hardware.price, "/h"))
        if hardware.power is not None and hardware.power[1] > 0:
            yield said(f"hardware.{name}.power", "power", "W", hardware.power[1], _watts(*hardware.power))
    for site, spec in infra.sites.items():
        if spec.electricity > 0:
            price = spec.electricity
            yield said(f"site.{site}.electricity", "electricity", "/kWh", price, _plain(price, "/kWh"))
        for name, pool in spec.pools.items():
            if pool.price and not pool.owned:
                yield said(f"site.{site}.pools.{name}.price", "price", "/h", pool.price, _plain(pool.price, "/h"))
            if pool.power is not None and pool.power[1] > 0:
                yield said(f"site.{site}.pools.{name}.power", "power", "W", pool.power[1], _watts(*pool.power))
    for name, link in infra.links.items():
        ways = {"": link.rate} if link.rate is not None else {".up": link.up, ".down": link.down}
        for way, direction in ways.items():
            rate = direction if isinstance(direction, float) else direction.rate if direction else 0.0
            mbit = rate * 8 / 1e6
            yield said(f"link.{name}{way}.rate", "bandwidth", "Mbit/s", mbit, _plain(mbit, " Mbit/s"))
            if direction is not None and not isinstance(direction, float) and direction.shared:
                mbit = direction.shared.rate * 8 / 1e6
                yield said(f"link.{name}{way}.shared.rate", "bandwidth", "Mbit/s", mbit, _plain(mbit, " Mbit/s"))
        paid = {"": link.egress} if link.rate is not None else {f".{w}": link.direction(w).egress for w in WAYS}
        for way, egress in paid.items():
            if egress > 0:
                by_gb = egress * 1e9
                yield said(f"link.{name}{way}.egress", "egress", "/GB", by_gb, _plain(by_gb, "/GB"))
        if link.delay.mean > 0:
            ms, jitter = link.delay.mean * 1e3, link.delay.jitter * 1e3
            yield said(
                f"link.{name}.delay", "delay", "ms", ms,
                _delay(ms, jitter),
            )  # fmt: skip
    for name in app.components:
        yield Input(f"component.{name}", "service time", "x", 1.0, _slower_component(name))


def _watts(idle: float, busy: float) -> Callable[[float], str]:
    return lambda factor: f"{figure(idle * factor)}..{figure(busy * factor)} W"


def _plain(value: float, unit: str) -> Callable[[float], str]:
    return lambda factor: f"{figure(value * factor)}{unit}"


def _both(one: str, a: float, unit: str, other: str, b: float) -> Callable[[float], str]:
    return lambda factor: f"{{{one}: {figure(a * factor)}{unit}, {other}: {figure(b * factor)}{unit}}}"


def _delay(mean: float, jitter: float) -> Callable[[float], str]:
    return lambda factor: f"{{mean: {figure(mean * factor)} ms, jitter: {figure(jitter)} ms}}"


def _slower_component(name: str) -> Callable[[Situation, float], Situation]:
    return lambda situation, factor: slower(situation, factor, _of(situation, name))


def _on(hardware: str) -> Callable[[Record], bool]:
    return lambda record: record.hardware == hardware


def _of(situation: Situation, component: str) -> Callable[[Record], bool]:
    own = {d for key, d in situation.digests.items() if key.split("/")[0] == component}
    return lambda record: record.source in own


def slower(situation: Situation, factor: float, which: Callable[[Record], bool]) -> Situation:
    """`situation` with all service times of the records that `which` picks multiplied by `factor`."""
    return replace(situation, records=tuple(scaled(r, factor) if which(r) else r for r in situation.records))


def with_placement(again: Again, plan: Plan, changes: Sequence[str] = ()) -> Plan | None:
    """What the placement of `plan` gives, also where others now beat it in everything."""
    return replace(again, dominated=True).plan(changes, restrict=as_planned(plan))


def _stays(again: Again, plan: Plan) -> bool:
    """Whether the placement of `plan` is still as good as the best."""
    own = with_placement(again, plan)
    if own is None:
        return False
    best = again.plan(start={name: ms / 1e3 for name, ms in own.tightened.items()}, anew=True)
    if best is None:
        return True
    return own.objective[0] <= best.objective[0] + SAME * max(1.0, abs(best.objective[0]))


def _range(situation: Situation, plan: Plan, each: Input, step: float, ends: float, seed: int) -> Range:
    def bound(up: bool) -> float | None:
        factors = [1.0]
        while (more := factors[-1] * (1 + step)) <= WIDEST * (1 + 1e-9):
            factors.append(more)
        if factors[-1] < WIDEST * (1 - 1e-9):
            factors.append(WIDEST)
        if not up:
            factors = [1 / f for f in factors]

        def lost(steps: int) -> bool:
            scaled = each.scaled(situation, factors[steps])
            return not _stays(Again(scaled, ends, seed, corrected=plan.corrected), plan)

        steps = fewest_steps(lost, len(factors) - 1, 1)
        return None if steps is None else each.value * factors[steps - 1]

    return Range(each.name, each.kind, each.unit, each.value, bound(False), bound(True))


def _cases(situation: Situation, plan: Plan, off: float) -> Iterator[tuple[str, Situation]]:
    """Ways in which profiles can be wrong; in the last, the worst for sums, only what was chosen is slower."""
    used = {a.record for a in plan.assignments}
    percent = f"{100 * off:.0f} %"
    yield f"all {percent} slower", slower(situation, 1 + off, lambda _: True)
    yield f"all {percent} faster", slower(situation, 1 - off, lambda _: True)
    for name in dict.fromkeys(a.hardware for a in plan.assignments):
        yield f"{name} {percent} slower", slower(situation, 1 + off, _on(name))
    others = slower(situation, 1 - off, lambda r: r.digest not in used)
    yield (
        f"what was chosen {percent} slower, all else {percent} faster",
        slower(others, 1 + off, lambda r: r.digest in used),
    )


def _regret(case: str, wrong: Situation, plan: Plan, again: Again) -> Regret:
    own = with_placement(again, plan)
    best = again.plan(start={name: ms / 1e3 for name, ms in own.tightened.items()} if own else None, anew=True)
    planned = own.objective[0] if own else None
    reached = best.objective[0] if best else None
    regret = planned - reached if planned is not None and reached is not None else None
    return Regret(case, planned, reached, regret, {} if own else _missed(wrong, plan, again))


def _missed(wrong: Situation, plan: Plan, again: Again) -> dict[str, float]:
    """By how many ms the placement would miss each path limit; of a refined plan, predictions are off as they were."""
    limits = {
        limit_name(name, q): limit * 1e3
        for name, c in wrong.app.value.constraints.items()
        if isinstance(c, PathConstraint)
        for q, limit in c.limits.items()
    }
    far = [f"constraint.{name}={figure(FAR * ms)} ms" for name, ms in limits.items()]
    loose = with_placement(again, plan, far)
    off = {name: ms / 1e3 / again.corrected.get(name, ms / 1e3) for name, ms in limits.items()}
    values = {c.name: c.value * off.get(c.name, 1.0) for c in loose.constraints} if loose else {}
    return {name: values[name] - ms for name, ms in limits.items() if name in values and values[name] > ms}
