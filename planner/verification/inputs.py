"""Whether a plan is older than what it was made from."""

from __future__ import annotations

from planner.situation import Situation
from specs.digest import digest_value
from specs.errors import InputError, Issue
from specs.plan import Plan


def check_inputs(situation: Situation, plan: Plan) -> None:
    claimed = plan.inputs
    if claimed.changes != situation.changes:
        said, now = (_said(each) for each in (claimed.changes, situation.changes))
        raise InputError(
            Issue(f"the plan was made with {said}; here there is {now}", None, "say the same --set, or solve again")
        )
    changed: list[str] = []
    if claimed.app != situation.app.digest:
        changed.append(situation.app.file)
    if claimed.infra != situation.infra.digest:
        changed.append(situation.infra.file)
    keys = sorted({*claimed.sources, *situation.digests})
    changed += [k for k in keys if claimed.sources.get(k) != situation.digests.get(k)]
    known = {r.digest for r in situation.records}
    changed += [f"profile record {d[:12]}" for d in claimed.records if d not in known]
    behaviours = {digest_value(b.dump()) for b in situation.behaviours}
    changed += [f"behaviour {d[:12]}" for d in claimed.behaviour if d not in behaviours]
    if changed:
        message = f"the plan is older than its inputs: {', '.join(changed)} changed since"
        raise InputError(Issue(message, situation.app.place(), "solve again"))


def _said(changes: tuple[str, ...]) -> str:
    return " ".join(f"--set '{change}'" for change in changes) or "no --set"
