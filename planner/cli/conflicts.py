"""What is said where no plan keeps all constraints: every conflict, and what would be enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cli.output import number, table
from specs.errors import AnswerIsNo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from specs.plan import Conflict, Plan


def show_conflicts(plan: Plan, out: Console) -> None:
    """Nothing of a plan that has none."""
    if plan.conflict:
        out.print(table(["cannot hold together", "where"], [[c.name, f"{c.file}:{c.line}"] for c in plan.conflict]))
    for conflict in plan.further_conflicts:
        out.print(f"these cannot hold together either, whatever is done about the others: {_listed(conflict)}")
    for relaxation in plan.relaxations:
        said = " and ".join(f"--set '{c.set}'" for c in relaxation.changes)
        steps = ", ".join(f"{c.name} by {number(c.step)} {c.unit}" for c in relaxation.changes if c.step)
        price = relaxation.per_month
        money = "" if price is None else f": a plan for {price:,.2f} {relaxation.currency or ''}/month"
        mark = " (the cheapest change)" if relaxation.cheapest and len(plan.relaxations) > 1 else ""
        out.print(f"enough: {said}{money}{mark}" + (f" (tried in steps: {steps})" if steps else ""))


def no_plan(plan: Plan) -> AnswerIsNo:
    """The answer, which names all conflicts."""
    if len(plan.conflict) == 1 and not plan.further_conflicts:
        return AnswerIsNo(f"no plan keeps {_listed(plan.conflict)}")
    sets = "; nor can ".join(_listed(c) for c in (plan.conflict, *plan.further_conflicts))
    return AnswerIsNo(f"no plan keeps all constraints; these cannot hold together: {sets}")


def _listed(conflict: Iterable[Conflict]) -> str:
    return ", ".join(f"{c.name} ({c.file}:{c.line})" for c in conflict)
