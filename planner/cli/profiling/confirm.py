"""Estimates become measurements where they matter: what the solver would choose is measured, until all it chooses is.

Of a model with k cuts there are k(k+1)/2 parts; few of them are ever in a good plan.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, get_args

from compiler.remote.place import for_device
from planner import solve
from planner.baseline import without_codecs
from planner.cli.devices import lent_classes
from planner.cli.profiling.targets import Target, Targets
from planner.interpolated import with_estimates
from planner.situation import Situation, load_facts
from specs.artefact import ModelBackend
from specs.codec import plain_segment
from specs.errors import NotKnown, TierplanError

if TYPE_CHECKING:
    from collections.abc import Collection

    from planner.cli.profiling.profiler import Measured, Outcome, Profiler

ROUNDS: Final = 16
SOLVING: Final = 20.0
"""Seconds for each search at most."""


def confirm(profiler: Profiler, measured: Measured, outcome: Outcome) -> None:
    """Measure the parts of split models that the best plan with estimates uses, solve again, until it rests on
    measurements alone, or time is up: then it is told what is still open, and plans leave it out. What was disturbed
    and is to be measured again is, once and while there is time."""
    end = time.monotonic() + profiler.confirming
    tried: set[str] = set()
    for number in range(1, ROUNDS + 1):
        profiler.step(f"which parts would be chosen? round {number}")
        late = time.monotonic() >= end
        try:
            situation = load_facts(profiler.app, profiler.infra, profiler.folder)
            known = with_estimates(situation)
            repeated = set() if late else {r.digest for r in known.records if profiler.is_repeated(r)}
            estimated, again = _liked(known, measured.targets, repeated)
        except TierplanError as error:
            profiler.problem(outcome, "cuts not confirmed", str(error))
            return
        liked = [t for t in (*estimated, *again) if t.name not in tried]
        if estimated and not liked:
            names = ", ".join(t.name for t in estimated)
            text = f"{names}: the best plan would use them, but they were not measured here"
            profiler.problem(outcome, "estimated, so left out of plans", text)
            return
        if not liked:
            profiler.say(f"the best plan rests on measurements of all its parts (round {number})")
            return
        if late:
            names = ", ".join(t.name for t in liked)
            text = f"{names}: {profiler.confirming:g} s were not enough; profile again to go on"
            profiler.problem(outcome, "estimated, so left out of plans", text)
            return
        tried |= {t.name for t in liked}
        profiler.measure_parts(liked, measured, outcome)
    profiler.problem(outcome, "cuts not confirmed", f"{ROUNDS} rounds were not enough; profile again to go on")


def _liked(situation: Situation, targets: Targets, repeated: Collection[str]) -> tuple[list[Target], list[Target]]:
    """Parts in the best plan whose costs are estimates, or measurements of what would now be compiled otherwise; with
    codecs also those in the best plan without one, which stands beside it. And the other parts in them whose record is
    `repeated`, by its digest.

    Raises NotKnown where the search ended without an answer.
    """
    plans = [solve(situation, time_limit=SOLVING, proofs=False)]
    if any(cut.codec != "none" for cut in plans[0].cuts):
        plans.append(solve(situation, time_limit=SOLVING, proofs=False, restrict=without_codecs))
    if any(plan.status == "unknown" for plan in plans):
        raise NotKnown(f"no plan within {SOLVING:g} s")
    estimated: dict[str, Target] = {}
    again: dict[str, Target] = {}
    lent = lent_classes(situation.infra)
    for a in (a for plan in plans for a in plan.assignments):
        if a.backend in get_args(ModelBackend) and (a.component, a.variant) in targets.found:
            backend: ModelBackend = a.backend  # type: ignore[assignment]
            plain = plain_segment(a.segment)
            job = targets.job(a.component, a.variant, backend, a.threads, plain, a.batch)
            if a.segment.is_whole:
                continue
            target = Target(a.component, a.variant, job, None if a.segment == plain else a.segment)
            if a.artefact != for_device(job, lent.get(a.hardware)).key:
                estimated.setdefault(target.name, target)
            elif a.record in repeated:
                again.setdefault(target.name, target)
    return list(estimated.values()), [t for name, t in again.items() if name not in estimated]
