"""Components that keep state: where they can be, and what depends on what they remember."""

from __future__ import annotations

from specs.application import Application, Component
from specs.graph import Graph
from specs.infrastructure import Infrastructure
from specs.selector import capable, matching_sites


def stateful(app: Application) -> frozenset[str]:
    """The components that keep state."""
    return frozenset(name for name, component in app.components.items() if component.state is not None)


def varying_components(app: Application) -> frozenset[str]:
    """Components whose outputs depend on what was asked before: those that keep state, and all that they feed."""
    kept = stateful(app)
    return (kept | Graph(app).descendants(kept)) & app.components.keys()


def varying_inputs(app: Application) -> frozenset[tuple[str, str]]:
    """(sink, input) of the answers that depend on what was asked before."""
    varying = varying_components(app)
    return frozenset(
        (name, key) for name, sink in app.sinks.items() for key, ref in sink.inputs.items() if ref.producer in varying
    )


def several_places(component: Component, infra: Infrastructure) -> tuple[str, ...]:
    """The pools (``site.pool``) that a component with state may run in, where these are more than one; else nothing."""
    places = tuple(
        f"{site}.{pool}"
        for site in matching_sites(component.at or {}, infra)
        for pool, spec in infra.sites[site].pools.items()
        if spec.hardware in infra.hardware and spec.devices[1] > 0 and capable(component.requires, infra, site, pool)
    )
    return places if len(places) > 1 else ()
