"""Plans of worlds that may have none."""

from __future__ import annotations

from planner import solve
from planner.situation import Situation
from specs.errors import AnswerIsNo, InputError, NotKnown
from specs.plan import Plan


def planned(given: Situation) -> Plan | None:
    """None where nothing keeps the constraints, or it is not known."""
    try:
        plan = solve(given, proofs=False)
    except (AnswerIsNo, InputError, NotKnown):
        return None
    return plan if plan.assignments else None
