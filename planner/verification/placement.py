"""Known names, whole coverage, records that say what is assigned, branch patterns; pins and residency."""

from __future__ import annotations

from planner.verification.claims import Claims
from planner.verification.reading import Reading
from specs.application import Component, ResidencyConstraint
from specs.behaviour import Behaviour
from specs.digest import digest_value
from specs.plan import Assignment, PlannedBehaviour
from specs.plan_check import chain_of, flows_in
from specs.profile import Record
from specs.selector import matching_sites


def check_placement(reading: Reading, claims: Claims) -> None:
    """Everything that the rest relies on: whole coverage, records that say what is assigned. Names are known here."""
    flows = set(flows_in(reading.app, reading.infra))
    for i, a in enumerate(reading.plan.assignments):
        _assignment(reading, claims, f"assignment {i} {a.component} at {a.site}", a, flows)
    claims.holds("every flow is served", flows == {f for a in reading.plan.assignments for f in a.flows})
    for name in sorted(flows):
        for component in reading.components(name.split("@")[0]):
            claims.holds(f"{component} is covered once for {name}", chain_of(reading.plan, name, component) is not None)
            variants = {a.variant for a in reading.plan.assignments if a.component == component and name in a.flows}
            claims.holds(f"{component} has one variant for {name}", len(variants) == 1)
    used = {a.record for a in reading.plan.assignments}
    claims.holds("the profile records named are those used", set(reading.plan.inputs.records) == used)


def _assignment(reading: Reading, claims: Claims, name: str, a: Assignment, flows: set[str]) -> None:
    pool = reading.infra.sites[a.site].pools[a.pool]
    hardware = reading.infra.hardware[pool.hardware]
    record = reading.records.get(a.record)
    says = record is not None and _says(reading, record, a)
    claims.holds(f"{name}: the profile record is of this model, segment, hardware, backend and threads", says)
    claims.holds(f"{name}: hardware is the pool's", a.hardware == pool.hardware)
    allowed = reading.app.components[a.component].batch
    most, longest = (allowed.max, allowed.wait * 1e3) if allowed and hardware.sharing == "cores" else (1, 0.0)
    claims.holds(f"{name}: batch is allowed", 1 <= a.batch <= most)
    claims.holds(f"{name}: wait for a batch", 0 <= a.batch_wait_ms <= (longest if a.batch > 1 else 0) * (1 + 1e-9))
    claims.holds(f"{name}: replicas", a.replicas >= 1)
    claims.holds(f"{name}: standby", a.standby == reading.app.components[a.component].standby)
    if reading.app.components[a.component].state is not None:
        once = sum(other.component == a.component for other in reading.plan.assignments) == 1
        claims.holds(f"{name}: what keeps state is there once, with one replica", once and a.replicas == 1)
    claims.holds(f"{name}: flows are known", set(a.flows) <= flows)
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
        spec = reading.app.components[a.component]
        if spec.requires:
            claims.holds(f"{a.component} has what it requires", _has(reading, a, spec.requires))
    for name, component in reading.app.components.items():
        if component.with_ or component.apart_from:
            _pairings(reading, claims, name, component)
    for name, c in reading.app.constraints.items():
        if isinstance(c, ResidencyConstraint):
            allowed = matching_sites(c.only_at, reading.infra)
            tainted = reading.tainted(c.value)
            sites = [a.site for a in reading.plan.assignments if a.component in tainted]
            sites += [reading.sink_site(f, s) for f in reading.flows for s in reading.app.sinks if s in tainted]
            claims.holds(f"{name} holds", all(site in allowed for site in sites))


def _has(reading: Reading, a: Assignment, required: list[str]) -> bool:
    labels = dict(reading.infra.sites[a.site].labels)
    labels.update(reading.infra.hardware[a.hardware].labels)
    said = {*labels, *(f"{key}={value}" for key, value in labels.items())}
    return {"=".join(part.strip() for part in word.split("=")) for word in required} <= said


def _pairings(reading: Reading, claims: Claims, name: str, component: Component) -> None:
    """Affinity is of each flow, separation of all that runs at a site."""
    for other in component.with_:
        for flow in (f for f in reading.flows if {name, other} <= set(f.chains)):
            at = {reading.plan.assignments[i].site for c in (name, other) for i in flow.chains[c]}
            claims.holds(f"{name} is with {other} for {flow.name}", len(at) == 1)
    for other in component.apart_from:
        here, there = ({a.site for a in reading.plan.assignments if a.component == c} for c in (name, other))
        claims.holds(f"{name} is apart from {other}", not here & there)


def check_behaviour(reading: Reading, claims: Claims) -> None:
    claimed = {_combination(b): b for b in reading.plan.behaviour}
    for flow in reading.flows:
        b = claimed.get(_combination(flow.behaviour))
        if not claims.holds(f"behaviour of {flow.name} is stated", b is not None):
            continue
        assert b is not None
        _behaviour(claims, flow.behaviour, b)
    used = {_combination(f.behaviour) for f in reading.flows}
    claims.holds("the behaviour stated is that of the flows", set(claimed) == used)
    digests = {digest_value(f.behaviour.dump()) for f in reading.flows}
    claims.holds("the behaviour named is the one used", set(reading.plan.inputs.behaviour) == digests)


def _combination(of: Behaviour | PlannedBehaviour) -> str:
    return str((sorted(of.variants.items()), sorted((of.encoded or {}).items())))


def _behaviour(claims: Claims, measured: Behaviour, claimed: PlannedBehaviour) -> None:
    found: dict[str, float] = {}
    for pattern in measured.patterns:
        found[pattern.name] = pattern.probability
    accuracy = {a.data: a.value for a in measured.accuracy}
    claims.holds("branch patterns are those measured", set(claimed.patterns) == set(found))
    claims.holds("accuracy is of the data measured", set(claimed.accuracy) == set(accuracy))
    claims.holds("branches and accuracy are said to be measured", claimed.source == "measured")
    agreement = None if measured.agreement is None else {a.data: a.value for a in measured.agreement}
    claims.holds("agreement of encoded cuts is the one measured", claimed.agreement == agreement)
    for name, value in found.items():
        claims.equal(f"probability of {name}", claimed.patterns.get(name, -1.0), value, 1e-5)
    for name, value in accuracy.items():
        claims.equal(f"accuracy on {name}", claimed.accuracy.get(name, -1.0), value, 1e-5)
