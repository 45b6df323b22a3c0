"""Plans without a site: nothing runs there, all constraints are kept, and there is none only where none can be."""

from __future__ import annotations

from planner import solve, verify
from planner.answers.alternatives import alternatives, without_site
from tests.planner.planned import planned
from tests.planner.worlds import world


def test_the_plan_without_a_site_uses_others_and_holds_there_as_the_verifier_says() -> None:
    found = none = 0
    for seed in range(10):
        given = world(seed)
        plan = planned(given)
        if plan is None:
            continue
        for site, other in alternatives(given, plan, time_limit=20):
            assert any(a.site == site for a in plan.assignments)
            if other is None:
                none += 1
                assert solve(without_site(given, site), time_limit=20).status == "infeasible"
                continue
            found += 1
            assert site not in {a.site for a in other.assignments} | {d.site for d in other.devices}
            assert (other.inputs.app, other.inputs.infra) == (plan.inputs.app, plan.inputs.infra)
            assert not verify(without_site(given, site), other, 20_000).wrong
    assert found >= 3
    assert none >= 1
