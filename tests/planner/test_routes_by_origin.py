"""Between two sites, requests of different origins may have to take different links."""

from __future__ import annotations

from functools import cache

from planner import solve
from planner.placement.layout import plan_layout
from planner.situation import Situation
from planner.verification import verify
from planner.verification.meaning import meaning_of
from runtime.topology import Hop, topology
from specs.plan import Plan
from tests.planner.test_example_plan import recorded
from tests.runtime.test_contract import everyone, meant_by, simulated

OFFICE = """sites:
  office: {tier: edge, pools: {soc: {hardware: phone, devices: 1, owned: true}}}
  paris: {tier: paris, pools: {vm: {hardware: c2, devices: 0..20}}}
"""
LINKS = """links:
  direct: {between: [paris, frankfurt], delay: 90 ms, rate: 1 Gbit/s}
  metro: {between: [bases, paris], delay: 10 ms, rate: 100 Mbit/s}
  wan: {between: [office, frankfurt], delay: 5 ms, rate: 100 Mbit/s}
"""
APP = {
    "  language:\n": "  language:\n    at: {site: frankfurt}\n",
    "  vision:\n": "  vision:\n    at: {site: paris}\n",
    "<= 80 USD": "<= 800 USD",
    "p99: 500 ms": "p99: 5 s",
}


@cache
def office_and_phones() -> tuple[Situation, Plan]:
    """From Paris to Frankfurt a phone's requests pass its base station; the office has none of its own."""
    given = recorded(APP, {"sites:\n": OFFICE, "links:\n": LINKS})
    return given, solve(given)


def test_a_plan_lists_each_origins_own_route_and_verifies() -> None:
    given, plan = office_and_phones()
    ways = {
        origin: [hop.link for hop in route.hops]
        for route in plan.routes
        for origin in route.origins
        if (route.from_, route.to) == ("paris", "frankfurt")
    }
    assert ways == {"phones": ["metro", "backhaul"], "office": ["direct"]}
    assert not verify(given, plan).wrong


def test_runtime_simulator_and_verifier_send_each_origins_requests_the_same_way() -> None:
    given, plan = office_and_phones()
    top = topology(plan, given.app.value, given.infra.value, everyone(given))
    verified = meaning_of(given, plan)
    assert meant_by(top).transfers == verified.transfers
    assert simulated(given, plan) == {(f, n, a, b, way) for f, n, _, a, b, way in verified.transfers}
    assert top.hops["office", "paris", "frankfurt"] == (Hop("direct", "up"),)
    assert top.hops["phones", "paris", "frankfurt"] == (Hop("metro", "down"), Hop("backhaul", "up"))


def test_a_route_of_one_origin_does_not_stand_for_another() -> None:
    given, plan = office_and_phones()
    routes = tuple(
        route.model_copy(update={"origins": tuple(o for o in route.origins if o != "office")})
        for route in plan.routes
        if route.origins != ("office",)
    )
    wrong = {check.name for check in verify(given, plan.model_copy(update={"routes": routes})).wrong}
    assert "every message has a route" in wrong
    assert plan_layout(given, plan)
