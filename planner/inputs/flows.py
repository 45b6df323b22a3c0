"""Flows: the requests that enter at the members of one class of sites."""

from __future__ import annotations

from dataclasses import dataclass

from specs.application import Application
from specs.errors import InputError, Issue
from specs.graph import Graph
from specs.infrastructure import Infrastructure
from specs.load import Document
from specs.selector import matching_sites, sink_site


@dataclass(frozen=True, slots=True)
class Flow:
    """Requests of `source` that enter at the `members` of class `site`.

    `mean` and `peak` are requests a second of one member. `components` and `sinks` are those that they feed, in order.
    """

    source: str
    site: str
    members: int
    mean: float
    peak: float
    components: tuple[str, ...]
    sinks: tuple[str, ...]
    ends: tuple[str, ...]
    """The site of each of `sinks`."""

    @property
    def name(self) -> str:
        return f"{self.source}@{self.site}"

    def end(self, node: str) -> str:
        """The site of the source or of a sink."""
        return self.ends[self.sinks.index(node)] if node in self.sinks else self.site


def flows_of(app: Document[Application], infra: Document[Infrastructure], graph: Graph) -> tuple[Flow, ...]:
    """One flow for each source and each class of sites that it names.

    Raises InputError where a source names no site, or where two sources feed one component.
    """
    issues: list[Issue] = []
    flows: list[Flow] = []
    fed_by: dict[str, str] = {}
    for name, source in app.value.sources.items():
        below = graph.descendants([name])
        for node in below:
            if fed_by.setdefault(node, name) != name:
                kind = "components" if node in app.value.components else "sinks"
                message = f"not supported yet: {node!r} takes values of two sources, {fed_by[node]!r} and {name!r}"
                issues.append(Issue(message, app.place(kind, node)))
        sites = matching_sites(source.at, infra.value)
        if not sites:
            issues.append(
                Issue(f"no site matches {dict(source.at)} of source {name!r}", app.place("sources", name, "at"))
            )
        sinks = tuple(s for s in app.value.sinks if s in below)
        for sink, at in ((s, app.value.sinks[s].at) for s in sinks):
            if at != "origin" and not matching_sites(at, infra.value):
                issues.append(Issue(f"no site matches {at} of sink {sink!r}", app.place("sinks", sink, "at")))
        if issues:
            continue
        for site in sites:
            flows.append(
                Flow(
                    name,
                    site,
                    infra.value.members(site),
                    source.rate.mean,
                    source.rate.peak,
                    tuple(c for c in graph.order if c in below),
                    sinks,
                    tuple(sink_site(app.value.sinks[s], infra.value, site) for s in sinks),
                )
            )
    if issues:
        raise InputError(*issues)
    return tuple(flows)
