"""Hosted APIs while profiling: how often they are called at most, what that costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import prod
from typing import Final

from compiler.measure import Budget
from compiler.splitting.cuts import MOST
from planner.cli.profiling.reality import ITEMS_TRIED
from runtime.reference.items import read_items
from runtime.stages.hosted import TRIES
from specs.api import Api
from specs.application import Application, Component, Cuts
from specs.errors import InputError, Issue
from specs.graph import Graph
from specs.infrastructure import Infrastructure
from specs.load import Document

CALL_BUDGET: Final = Budget(seconds=0.0, least=100, most=100, seconds_most=60.0, warmup=1)
"""For each hosted API whose latency is not declared: so many calls, whatever a call takes, but not beyond a minute."""


def hosted_apis(app: Application) -> dict[str, tuple[Component, Api]]:
    """The components that are hosted APIs."""
    return {name: (c, c.api) for name, c in app.components.items() if c.api is not None}


def measured_apis(app: Application) -> dict[str, Component]:
    """Those whose latency is measured by calling."""
    return {name: component for name, (component, api) in hosted_apis(app).items() if api.latency is None}


def most_calls(app: Document[Application]) -> dict[str, int]:
    """How often a profile calls each hosted API at most, by component.

    The reference pipeline runs all items of the data to see how requests behave, and up to `ITEMS_TRIED` for inputs to
    measure with, each with every combination of the variants that feed the API; with codecs at cuts before it, all
    items once more with each of those. A call that fails may be tried again, `TRIES` times in all.
    """
    spec = app.value
    graph = Graph(spec)
    items = sum(len(read_items(spec, name, app.folder)) for name in spec.data)
    runs = items + min(items, ITEMS_TRIED)
    any_coded = any(c.encodings for c in spec.components.values())
    found: dict[str, int] = {}
    for name, (_, api) in hosted_apis(spec).items():
        above = [c for c in spec.components if c != name and name in graph.descendants([c])]
        ways = prod(len(spec.components[c].realisations) for c in above)
        measured = CALL_BUDGET.warmup + CALL_BUDGET.most if api.latency is None else 0
        coded = items * prod(_ways(spec.components[c]) for c in above) if any_coded else 0
        found[name] = runs * ways + coded + measured
    return found


def _ways(component: Component) -> int:
    """In how many ways its outputs come about at most: by variant, whole or with each codec at each cut."""
    cuts = MOST if component.cut_anywhere else len(component.split.at) if isinstance(component.split, Cuts) else 0
    return len(component.realisations) * (1 + cuts * len(component.encodings))


def announce_calls(
    app: Document[Application], infra: Infrastructure, most_spend: float, say: Callable[[str], None]
) -> None:
    """Say how many calls there may be and what they cost. Raises InputError where that is more than `most_spend`, even
    if only because each were tried as often as it may be and charged each time.
    """
    total = 0.0
    hosted = hosted_apis(app.value)
    for name, calls in most_calls(app).items() if hosted else ():
        _, api = hosted[name]
        cost = calls * api.price
        total += TRIES * cost
        most = f"{TRIES * cost:.4g} if each fails first and is charged all the same"
        say(f"{name}: at most {calls:,} calls of {api.endpoint}, {cost:.4g} {infra.currency} ({most})")
    if total > most_spend:
        message = f"calls of hosted APIs may cost {total:.4g} {infra.currency}, more than {most_spend:.4g}"
        place = app.place("components", next(iter(hosted)), "api")
        raise InputError(Issue(message, place, f"allow it with --max-spend {math.ceil(total)}, or name less data"))
