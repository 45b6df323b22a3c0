"""Recomputes a plan from the specs and the facts, sharing no code with what made it but a simulation that it names.

`reading` derives flows, messages and queues once more, `sampling` plays latency, and each other file checks one kind of
claim by plain sums.
"""

from __future__ import annotations

from typing import Final

from planner.situation import Situation
from planner.verification.capacity import check_cuts, check_devices, check_links, check_routes
from planner.verification.claims import Check, Claims, Report
from planner.verification.constraints import check_constraints, check_proof
from planner.verification.inputs import check_inputs
from planner.verification.latency import check_latency, check_shares
from planner.verification.meaning import Meaning, meaning_of
from planner.verification.mixes import check_mixes
from planner.verification.money import check_cost, check_energy
from planner.verification.placement import check_behaviour, check_pins_and_residency, check_placement
from planner.verification.reading import Reading
from planner.verification.refined import check_refined
from planner.verification.sampling import Sampling
from planner.verification.throughput import check_carried
from specs.errors import InputError, Issue
from specs.plan import Plan
from specs.plan_check import impossible

__all__ = ["Check", "Meaning", "Report", "meaning_of", "verify"]

SAMPLES: Final = 200_000


def verify(situation: Situation, plan: Plan, samples: int = SAMPLES) -> Report:
    """Check every claim of `plan`; latency with `samples` requests a flow.

    Raises InputError where the plan is older than its inputs, naming what changed, or places nothing.
    """
    check_inputs(situation, plan)
    if plan.status not in ("optimal", "feasible"):
        raise InputError(Issue(f"the plan is {plan.status}: it places nothing that could be verified"))
    reading, claims = Reading(situation, plan), Claims()
    with claims.about("placement"):
        for text in impossible(plan, situation.app.value, situation.infra.value):
            claims.holds(text, False)
        if claims.ok:
            check_placement(reading, claims)
    if claims.ok:
        with claims.about("branches and accuracy"):
            check_behaviour(reading, claims)
        with claims.about("routes and cuts"):
            check_routes(reading, claims)
    if claims.ok:
        with claims.about("buckets"):
            check_mixes(reading, claims)
        _numbers(reading, claims, samples)
    return Report(tuple(claims.checks))


def _numbers(reading: Reading, claims: Claims, samples: int) -> None:
    """What rests on a placement that holds and routes that arrive."""
    with claims.about("constraints"):
        check_pins_and_residency(reading, claims)
    with claims.about("devices and links"):
        check_devices(reading, claims)
        check_links(reading, claims)
    with claims.about("routes and cuts"):
        check_cuts(reading, claims)
    with claims.about("cost"):
        month = check_cost(reading, claims)
    with claims.about("energy"):
        kwh = check_energy(reading, claims)
    if all(load < 1 for load in reading.loads().values()):
        with claims.about("latency"):
            sampling = Sampling(reading, samples)
            check_latency(reading, sampling, claims)
            check_shares(reading, sampling, claims)
            check_refined(reading, claims)
    with claims.about("constraints"):
        check_constraints(reading, claims, month, kwh)
        check_carried(reading, claims)
    with claims.about("proof"):
        check_proof(reading, claims, month, kwh)
