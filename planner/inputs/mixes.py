"""Mixes: how many of a component's requests go to each bucket of its dimension, and service times that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from specs.application import Application
from specs.behaviour import Behaviour
from specs.mixture import remixed, rounded, shares_of
from specs.profile import Record

Mixes = dict[str, dict[int, float]]
"""By component that has buckets, the share of requests in each, by its size."""


def mixes_of(app: Application, behaviours: Iterable[Behaviour]) -> Mixes:
    """As declared, else as the lengths in the data are.

    Where variants before a component change lengths, no combination's mix has longer requests than this one.
    """
    found: Mixes = {}
    known = list(behaviours)
    for name, component in app.components.items():
        if component.dimension is not None:
            _, spec = component.dimension
            lengths = [b.lengths[name] for b in known if b.lengths and b.lengths.get(name)]
            declared = dict(zip(spec.buckets, spec.mix or (), strict=False))
            found[name] = rounded(declared) if declared else shares_of(lengths, spec.buckets)
    return found


def knows_lengths(behaviour: Behaviour, app: Application) -> bool:
    """Whether it was measured since the application's components had the dimensions that they have."""
    return {name for name, component in app.components.items() if component.dims} <= set(behaviour.lengths or ())


def with_mixes(records: Iterable[Record], app: Application, digests: Mapping[str, str], mixes: Mixes) -> list[Record]:
    """`records`, those of models with buckets once for each mix of a component that runs them.

    What was measured in other buckets than a component now has says nothing of it.
    """
    wanted: dict[str, list[Mapping[int, float]]] = {}
    for name, component in app.components.items():
        for variant in component.realisations:
            wanted.setdefault(digests[f"{name}/{variant}"], []).append(mixes.get(name, {}))
    found: list[Record] = []
    for record in records:
        fitting = [mix for mix in wanted[record.source] if list(mix) == list(record.shares)]
        if record.buckets is None:
            found += [record] if fitting else []
        else:
            mixed = (remixed(record, mix) for mix in fitting)
            found += {each.digest: each for each in mixed}.values()
    return found
