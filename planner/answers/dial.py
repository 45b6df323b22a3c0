"""What can be turned about a constraint, and by which `--set` a user would turn it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, floor, log10
from typing import Final

from planner.problem import Constraint
from planner.situation import Situation
from specs.application import (
    AccuracyConstraint,
    Component,
    CostConstraint,
    EnergyConstraint,
    MemoryConstraint,
    PathConstraint,
    ResidencyConstraint,
    Selector,
    ShareConstraint,
    ThroughputConstraint,
)
from specs.infrastructure import MOST_EXECUTORS
from specs.plan import Plan
from specs.quantities import HOURS_PER_MONTH
from specs.selector import matching_sites
from specs.state import stateful

FAR: Final = 100
"""A limit so many times as loose counts as none."""
MOST_MS: Final = 10_000.0
"""What a limit on a path is loosened to at least, however short it is."""
MORE_DEVICES: Final = 256
MOST_MONEY: Final = 9e8
"""The largest budget, or energy in kWh, a month that a Problem can hold."""

MOST_MEMORY: Final = 1e9
"""MB at a site."""


@dataclass(frozen=True)
class Dial:
    """A limit that can be loosened from `limit` to `far`, in steps of `step`; `text` says it as ``--set`` takes it.

    `best` (also a change) asks for the plan that is best in the dial's own terms, and `value` reads what a plan has.
    """

    unit: str
    limit: float
    step: float
    far: float
    text: Callable[[float], str]
    best: str = ""
    value: Callable[[Plan], float] = lambda _: 0.0

    def at(self, steps: int) -> float:
        """The value `steps` steps looser than the limit, on the grid of whole steps."""
        if self.far >= self.limit:
            return min(self.far, (floor(self.limit / self.step + 1e-9) + steps) * self.step)
        return max(self.far, (ceil(self.limit / self.step - 1e-9) - steps) * self.step)

    def for_values(self, value: float) -> Dial:
        """With steps that suit `value`: of about a hundredth of a path limit, a thousandth of a budget."""
        size = max(self.limit, value)
        return replace(self, step=nice(size / 100) if self.unit == "ms" else nice(max(size, 1.0) / 1000))

    def doublings(self) -> Iterator[float]:
        """Values ever looser, each twice or half the one before, the last one `far`; of a figure without bounds."""
        factor = 2.0 if self.far >= self.limit else 0.5
        value = self.limit * factor
        while min(self.limit, self.far) < value < max(self.limit, self.far):
            yield value
            value *= factor
        yield self.far

    def stepping_to(self, value: float) -> Dial:
        """With steps that suit what is needed, of which `value` is known to be enough."""
        return replace(self, step=nice(value / 200))

    @property
    def steps(self) -> int:
        """From the limit to `far`."""
        return ceil(abs(self.far - self.limit) / self.step - 1e-9)


@dataclass(frozen=True)
class Sites:
    """A constraint on sites, which can only be loosened by allowing more of them: the fewest more first, all last."""

    texts: tuple[str, ...]


def nice(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above `value`."""
    power = 10.0 ** floor(log10(value))
    return power * max(f for f in (1, 2, 5) if f * power <= value * (1 + 1e-9))


def figure(value: float) -> str:
    """As short as it can be said to ten digits, without an exponent where a file would not have one."""
    return f"{value:.10g}" if 1e-4 <= abs(value) < 1e10 or value == 0 else repr(value)


def dial_of(situation: Situation, constraint: Constraint) -> Dial | Sites:
    """How `constraint` can be loosened."""
    make: Mapping[str, Callable[[Situation, str], Dial | Sites]] = {
        "path": _path,
        "budget": _budget,
        "energy": _energy,
        "memory": _memory,
        "accuracy": _accuracy,
        "share": _share,
        "throughput": _throughput,
        "devices": _devices,
        "rate": _rate,
        "pin": _pin,
        "capability": _listed,
        "affinity": _listed,
        "separation": _listed,
        "residency": _residency,
    }
    return make[constraint.kind](situation, constraint.name)


def _path(situation: Situation, name: str) -> Dial:
    constraint, _, q = name.rpartition(".")
    found = situation.app.value.constraints[constraint]
    assert isinstance(found, PathConstraint)
    ms = found.limits[int(q[1:]) / 100] * 1e3

    def value(plan: Plan) -> float:
        return next(c.value for c in plan.constraints if c.name == name)

    text = f"constraint.{name}="
    best = f"objective=[{{latency: {constraint}}}]"
    return Dial("ms", ms, nice(ms / 100), max(FAR * ms, MOST_MS), lambda v: f"{text}{figure(v)} ms", best, value)


def _budget(situation: Situation, name: str) -> Dial:
    found = situation.app.value.constraints[name]
    assert isinstance(found, CostConstraint)
    currency = situation.infra.value.currency
    month = found.cost * HOURS_PER_MONTH
    step = nice(max(month, 1.0) / 1000)

    def value(plan: Plan) -> float:
        assert plan.cost is not None
        return plan.cost.per_month

    unit = f"{currency}/month"
    text = f"constraint.{name}.cost="
    return Dial(unit, month, step, MOST_MONEY, lambda v: f"{text}{figure(v)} {unit}", "objective=[cost]", value)


def _energy(situation: Situation, name: str) -> Dial:
    found = situation.app.value.constraints[name]
    assert isinstance(found, EnergyConstraint)

    def value(plan: Plan) -> float:
        return plan.energy.per_month if plan.energy else 0.0

    unit, step = "kWh/month", nice(max(found.energy, 1.0) / 1000)

    def text(kwh: float) -> str:
        return f"constraint.{name}.energy={figure(kwh)} {unit}"

    return Dial(unit, found.energy, step, MOST_MONEY, text, "objective=[energy]", value)


def _memory(situation: Situation, name: str) -> Dial:
    found = situation.app.value.constraints[name]
    assert isinstance(found, MemoryConstraint)
    limit = found.memory / 1e6
    text = f"constraint.{name}.memory="
    step = nice(max(limit, 1.0) / 100)
    return Dial("MB", limit, step, MOST_MEMORY, lambda v: f"{text}{figure(v)} MB", value=_value_of(name))


def _value_of(name: str) -> Callable[[Plan], float]:
    """What a plan has of the constraint `name`; 0 where it does not say."""
    return lambda plan: next((c.value for c in plan.constraints if c.name == name), 0.0)


def _accuracy(situation: Situation, name: str) -> Dial:
    found = situation.app.value.constraints[name]
    assert isinstance(found, AccuracyConstraint)
    return Dial("share", found.accuracy, 0.0001, 0.0, lambda v: f"constraint.{name}.accuracy={figure(v)}")


def _share(situation: Situation, name: str) -> Dial:
    found = situation.app.value.constraints[name]
    assert isinstance(found, ShareConstraint)
    step = min(0.0001, nice((1 - found.share) / 10))
    return Dial("share", found.share, step, 0.0, lambda v: f"constraint.{name}.share={figure(v)}")


def _throughput(situation: Situation, name: str) -> Dial:
    """Down to the source's peak, which is to be carried anyway."""
    app = situation.app.value
    found = app.constraints[name]
    assert isinstance(found, ThroughputConstraint)
    peak = app.sources[app.source_of(found)].rate.peak
    text = f"constraint.{name}.throughput="
    limit = found.throughput
    step = nice(limit / 100)
    return Dial("/s", limit, step, min(limit, peak), lambda v: f"{text}{figure(v)}/s", value=_value_of(name))


def _devices(situation: Situation, name: str) -> Dial:
    """How many devices; how much memory the hardware has where each device has all stages and may lack room for them,
    or where there can only be one, since a component keeps state.
    """
    _, site, _, pool, _ = name.split(".")
    infra = situation.infra.value
    spec = infra.sites[site].pools[pool]
    hardware = infra.hardware[spec.hardware]
    low, high = spec.devices
    most = high + MORE_DEVICES
    if hardware.sharing == "time":
        most = high if stateful(situation.app.value) or _is_small(situation, spec.hardware) else MOST_EXECUTORS
    if most > high:
        return Dial("devices", high, 1, most, lambda v: f"site.{site}.pools.{pool}.devices={low}..{round(v)}")
    mb = (hardware.memory or 1e12) / 1e6
    return Dial("MB", mb, nice(mb / 100), FAR * mb, lambda v: f"hardware.{spec.hardware}.memory={figure(v)} MB")


def _is_small(situation: Situation, hardware: str) -> bool:
    """Whether a device may lack memory for all components, each as small as it can be there."""
    by_source: dict[str, float] = {}
    for record in situation.records:
        if record.hardware == hardware:
            by_source[record.source] = min(by_source.get(record.source, record.memory), record.memory)
    least: dict[str, float] = {}
    for key, digest in situation.digests.items():
        if digest in by_source:
            name = key.split("/")[0]
            least[name] = min(least.get(name, by_source[digest]), by_source[digest])
    memory = situation.infra.value.hardware[hardware].memory
    return memory is not None and sum(least.values()) > memory


def _rate(situation: Situation, name: str) -> Dial:
    """Of a link's direction, or of what its links share: `name` is such as ``links.lte.up.rate``."""
    _, link, *way, key = name.split(".")
    direction = situation.infra.value.links[link].direction("down" if way == ["down"] else "up")
    rate = direction.rate if key == "rate" or direction.shared is None else direction.shared.rate
    mbit = rate * 8 / 1e6
    path = ".".join(["link", link, *way, "rate" if key == "rate" else "shared.rate"])
    return Dial("Mbit/s", mbit, nice(mbit / 100), FAR * mbit, lambda v: f"{path}={figure(v)} Mbit/s")


def _pin(situation: Situation, name: str) -> Sites:
    _, component, _ = name.split(".")
    found: Component = situation.app.value.components[component]
    assert found.at is not None
    path = f"component.{component}.at"
    return Sites((*_wider(situation, path, found.at), f"{path}=null"))


def _listed(situation: Situation, name: str) -> Sites:
    """What `requires`, `with` or `apart_from` say: some of it, or nothing."""
    _, component, word = name.split(".")
    spec: Component = situation.app.value.components[component]
    said = {"requires": spec.requires, "with": spec.with_, "apart_from": spec.apart_from}[word]
    fewer = ([kept for kept in said if kept != left_out] for left_out in said)
    return Sites(
        tuple(f"component.{component}.{word}=[{', '.join(kept)}]" for kept in fewer)
        + (() if len(said) == 1 else (f"component.{component}.{word}=[]",))
    )


def _residency(situation: Situation, name: str) -> Sites:
    found = situation.app.value.constraints[name]
    assert isinstance(found, ResidencyConstraint)
    return Sites((*_wider(situation, f"constraint.{name}.only_at", found.only_at), f"constraint.{name}=null"))


def _wider(situation: Situation, path: str, now: Selector) -> tuple[str, ...]:
    """Selectors of one word that match more sites than `now`, these included; the fewest more first."""
    infra = situation.infra.value
    own = set(matching_sites(now, infra))
    words = {("tier", site.tier) for site in infra.sites.values()}
    words |= {("site", name) for name in infra.sites}
    words |= {pair for site in infra.sites.values() for pair in site.labels.items()}
    found = [(set(matching_sites({key: value}, infra)), key, value) for key, value in words]
    wider = sorted((len(sites), key, value) for sites, key, value in found if own < sites)
    return tuple(f"{path}={{{key}: {value}}}" for _, key, value in wider)
