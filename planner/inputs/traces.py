"""The traces that an application names as its arrivals, checked against the rates that it declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.inputs.envelope import poisson_rate
from specs.application import Application, Source, Trace
from specs.errors import InputError, Issue
from specs.infrastructure import Infrastructure
from specs.load import Document
from specs.recorded import Recording, read_trace, recording
from specs.selector import matching_sites

MOST: Final = 50_000_000
"""Bytes of a trace that an application names: it is read whenever something is decided."""
SAME: Final = 0.01
"""A declared mean may be so much below that of the trace, relative to it."""


def read_traces(app: Document[Application], infra: Document[Infrastructure]) -> dict[str, Recording]:
    """By source. Raises InputError, at the line that is wrong, for a trace that cannot be read, whose mean rate is
    above the declared one, or which gets denser than Poisson arrivals at the declared peak do
    (`planner.inputs.envelope`).
    """
    found: dict[str, Recording] = {}
    issues: list[Issue] = []
    for name, source in app.value.sources.items():
        if not isinstance(source.arrivals, Trace):
            continue
        place = app.place("sources", name, "arrivals", "trace")
        members = {site: infra.value.members(site) for site in matching_sites(source.at, infra.value)}
        file = (app.folder / source.arrivals.trace).resolve()
        if not file.is_relative_to(app.folder.resolve()):
            issues.append(Issue(f"{source.arrivals.trace!r} leaves the folder of the application", place))
            continue
        try:
            found[name] = recording(read_trace(file, members, MOST), members)
        except InputError as error:
            issues += [Issue(i.message, i.place or place, i.hint) for i in error.issues]
            continue
        rates = app.place("sources", name, "rate")
        issues += [Issue(text, rates, hint) for text, hint in _beyond(source, found[name], members, infra.value)]
    if issues:
        raise InputError(*issues)
    return found


def _beyond(
    source: Source, recorded: Recording, members: Mapping[str, int], infra: Infrastructure
) -> Iterator[tuple[str, str]]:
    """What the declared rates are too low for, and what would do."""
    mean = recorded.rate / sum(members.values())
    needed = max(streams / size for size, streams in _densest(recorded, members, infra))
    hint = f"declare rate: {{mean: {_up(max(mean, source.rate.mean))}/s, peak: {_up(max(needed, source.rate.peak))}/s}}"
    if source.rate.mean < mean * (1 - SAME):
        yield f"the trace has {mean:.4g} requests a second of each member on average, more than the mean declared", hint
    if source.rate.peak < needed:
        text = f"the trace gets as dense as Poisson arrivals of {needed:.4g} a second of each member"
        yield f"{text}, more than the peak declared, {source.rate.peak:.4g} a second", hint


def _densest(recorded: Recording, members: Mapping[str, int], infra: Infrastructure) -> Iterator[tuple[int, float]]:
    """(members that share a queue, the Poisson rate that is as dense as theirs): single ones, those that belong to one
    member of a site above, those of a site, and all.
    """
    yield sum(members.values()), poisson_rate([np.array([a.time for a in recorded.arrivals])], recorded.seconds)
    for site, count in members.items():
        mine = [(a.time, a.member) for a in recorded.arrivals if a.site == site]
        for size in dict.fromkeys((*_sizes(infra, site), count)):
            streams: dict[int, list[float]] = {}
            for time, member in mine:
                streams.setdefault(member // size, []).append(time)
            if streams:
                yield size, poisson_rate(_all(streams, -(-count // size)), recorded.seconds)


def _all(streams: Mapping[int, list[float]], count: int) -> list[NDArray[np.float64]]:
    empty = np.zeros(0)
    return [*(np.array(times) for times in streams.values()), *([empty] * (count - len(streams)))]


def _sizes(infra: Infrastructure, site: str) -> Iterator[int]:
    """How many members of `site` belong to one member of itself, of the class above, and so on."""
    size, here = 1, site
    yield size
    while (above := infra.sites[here].count.per) is not None:
        size *= infra.sites[here].count.count
        yield size
        here = above


def _up(rate: float) -> str:
    """Three digits, rounded up."""
    step = 10.0 ** (np.floor(np.log10(rate)) - 2)
    return f"{np.ceil(rate / step - 1e-9) * step:.4g}"
