"""The plans without each site that `planner deploy` keeps for failover, and their bundles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from planner.cli.output import Progress
from specs.errors import InputError, Issue, Place
from specs.plan import Plan

if TYPE_CHECKING:
    from planner.cli.loading import Loaded
    from runtime.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Alternatives:
    """By site that is gone; `write` puts a plan's bundle in a folder."""

    plans: Mapping[str, Plan] = field(default_factory=dict)
    write: Callable[[Plan, Path], object] | None = None


NONE: Final = Alternatives()


def find_alternatives(
    bundle: Bundle, app: Path, profiles: Path, store: Path, time_limit: float, progress: Progress
) -> Alternatives:
    """Solve again without each site that the bundle's plan uses, and say for which there is no plan.

    Raises InputError where the application or profiles are not those that the bundle was made from.
    """
    from planner.answers.alternatives import alternatives
    from planner.cli.loading import load_checked, load_situation_checked

    infra = Path(bundle.infra.file)
    situation = load_situation_checked(app, infra, profiles)
    if situation.app.digest != bundle.plan.inputs.app:
        raise InputError(Issue("not the application that the bundle was made from", Place(str(app)), "compile again"))
    plans: dict[str, Plan] = {}
    for site, plan in alternatives(situation, bundle.plan, time_limit):
        if plan is None:
            progress.say(f"without {site}: no plan keeps all constraints")
        else:
            plans[site] = plan
            per_month = f"{plan.cost.per_month:,.2f} {plan.cost.currency}/month" if plan.cost else ""
            progress.say(f"without {site}: a plan for {per_month} is kept")

    @cache
    def loaded() -> Loaded:
        return load_checked(app, infra, models=True, store=store)

    def write(plan: Plan, folder: Path) -> object:
        from planner.cli.assemble import assemble

        site = next(s for s, p in plans.items() if p is plan)
        return assemble(plan, loaded(), store, folder, lambda *_: Place(f"the plan without {site}"), progress.step)

    return Alternatives(plans, write)
