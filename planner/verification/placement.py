"""Known names, whole coverage, records that say what is assigned, branch patterns; pins and residency."""

from __future__ import annotations

from planner.verification.claims import Claims
from planner.verification.reading import Reading
from specs.application import ResidencyConstraint
from specs.plan import Assignment
from specs.profile import Record
from specs.selector import matching_sites


def check_placement(reading: Reading, claims: Claims) -> None:
    """Everything that the rest relies on: known names, whole coverage, records that say what is assigned."""
    flows = {
        f"{s}@{site}" for s, source in reading.app.sources.items() for site in matching_sites(source.at, reading.infra)
    }
    for i, a in enumerate(reading.plan.assignments):
        _assignment(reading, claims, f"assignment {i} {a.component} at {a.site}", a, flows)
    if not claims.ok:
        return
    claims.holds("every flow is served", flows == {f for a in reading.plan.assignments for f in a.flows})
    for name in sorted(flows):
        for component in reading.components(name.split("@")[0]):
            chain = reading.chain(name, component)
            claims.holds(f"{component} is covered once for {name}", chain is not None)
            variants = {a.variant for a in reading.plan.assignments if a.component == component and name in a.flows}
            claims.holds(f"{component} has one variant for {name}", len(variants) == 1)


def _assignment(reading: Reading, claims: Claims, name: str, a: Assignment, flows: set[str]) -> None:
    site = reading.infra.sites.get(a.site)
    pool = site.pools.get(a.pool) if site else None
    component = reading.app.components.get(a.component)
    known = site is not None and pool is not None and component is not None and a.variant in component.realisations
    if not claims.holds(f"{name}: component, variant, site and pool are known", known):
        return
    assert pool is not None
    assert component is not None
    claims.holds(
        f"{name}: flows are known", bool(a.flows) and set(a.flows) <= flows and len(set(a.flows)) == len(a.flows)
    )
    hardware = reading.infra.hardware[pool.hardware]
    record = reading.records.get(a.record)
    says = record is not None and _says(reading, record, a)
    claims.holds(f"{name}: the profile record is of this model, segment, hardware, backend and threads", says)
    claims.holds(f"{name}: hardware is the pool's", a.hardware == pool.hardware)
    claims.holds(f"{name}: the record is among the inputs", a.record in reading.plan.inputs.records)
    claims.holds(f"{name}: backend is allowed", component.backends is None or a.backend in component.backends)
    claims.holds(f"{name}: batch is 1", a.batch == 1 and a.batch_wait_ms == 0)
    claims.holds(f"{name}: replicas", a.replicas >= 1 and (hardware.sharing == "cores" or a.replicas == 1))
    if set(a.flows) <= flows:
        total = sum(reading.members(f.split("@")[1]) for f in a.flows)
        claims.equal(f"{name}: members", a.members, total, 0.0)
        own = all(reading.one_member(f.split("@")[1], a.site) for f in a.flows)
        claims.holds(f"{name}: each member of its flows has one member of {a.site}", own)


def _says(reading: Reading, record: Record, a: Assignment) -> bool:
    own = (record.source, record.segment, record.hardware, record.backend, record.threads, record.batch)
    source = reading.situation.digests.get(f"{a.component}/{a.variant}")
    wanted = (source, str(a.segment), a.hardware, a.backend, a.threads, a.batch)
    return own == wanted and record.provenance == a.provenance and record.artefact == a.artefact


def check_pins_and_residency(reading: Reading, claims: Claims) -> None:
    for a in reading.plan.assignments:
        pin = reading.app.components[a.component].at
        if pin is not None:
            claims.holds(f"{a.component} is where `at` says", a.site in matching_sites(pin, reading.infra))
    for name, c in reading.app.constraints.items():
        if isinstance(c, ResidencyConstraint):
            allowed = matching_sites(c.only_at, reading.infra)
            tainted = reading.tainted(c.value)
            sites = [a.site for a in reading.plan.assignments if a.component in tainted]
            sites += [f.site for f in reading.flows if any(s in tainted for s in reading.app.sinks)]
            claims.holds(f"{name} holds", all(site in allowed for site in sites))


def check_behaviour(reading: Reading, claims: Claims) -> None:
    claimed = {str(sorted(b.variants.items())): b for b in reading.plan.behaviour}
    for flow in reading.flows:
        b = claimed.get(str(sorted(flow.behaviour.variants.items())))
        if not claims.holds(f"behaviour of {flow.name} is stated", b is not None):
            continue
        assert b is not None
        for pattern in flow.behaviour.patterns:
            name = "+".join(pattern.runs)
            claims.equal(f"probability of {name}", b.patterns.get(name, -1.0), pattern.probability, 1e-5)
        for accuracy in flow.behaviour.accuracy:
            claims.equal(f"accuracy on {accuracy.data}", b.accuracy.get(accuracy.data, -1.0), accuracy.value, 1e-5)
