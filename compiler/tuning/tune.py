"""The search: round by round, every operator's next choice at once, in the model itself; what wins is kept.

One build tries one choice of every operator that matters, so that a round costs one compilation however many operators
there are, and each is timed where it runs: fused with what follows it, between its neighbours.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from compiler.build import build
from compiler.child import Child, Limits
from compiler.host import host
from compiler.job import Job
from compiler.samples import Sample, in_groups, joined, save_samples
from compiler.store import Store
from compiler.tuning.race import Ratio
from compiler.tuning.records import (
    forget_tuning,
    is_timed_here,
    place_of,
    plain,
    read_trials,
    read_tuning,
    write_trials,
    write_tuning,
)
from specs.choice import Choice
from specs.errors import EnvironmentFailed, InputError, Issue, NotKnown, Place
from specs.tuning import Trial, Trials, Tuning

LEAST: Final = 0.02
"""By which share of its time an operator must become faster for a choice to be taken while searching."""
LEAST_WHOLE: Final = 0.003
"""The same of a whole model, at the end."""
ERRORS: Final = 4.0
"""Standard errors beyond which a difference is none of chance: some hundreds of choices are looked at."""
ERRORS_AT_LAST: Final = 2.5
"""The same of what is measured once more, at the end."""
SHARE: Final = 0.005
"""Operators that take less of the model's time are left as they are."""
RACE: Final = 0.2
"""Share of the time of a build for which its choices are timed, at least."""
AT_LAST: Final = 0.1
"""Share of the time that the last race takes."""
CONFIRMED: Final = 3
"""How often, at the end, operators may be put back and the rest be raced again."""
CONFIRMING: Final = 2.5
"""Rounds that confirming and building what was found take as long as."""
FEWEST: Final = 15
FEWEST_AT_LAST: Final = 25
"""Pairs of runs of a race."""
SAMPLES: Final = 4
ENDINGS: Final = 3
"""How often the surroundings may end a choice before it is no longer offered: what hangs LLVM would do so each time."""
REQUEST: Final = 600.0
"""Seconds in which a model must be built, or a race be over, which ends by itself after `race.MOST`."""
_WORKER: Final = "compiler.tuning.worker"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of the model after fusion, all its places together: its `share` of the measured time, the choice in
    use at the end, and its time over that before; both None where it stayed."""

    workload: str
    share: float
    choice: Choice | None = None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search did. `tuning` is the record that compiling takes now, None where all is analytic; `whole` the time
    of the model now over that before this search, as confirmed at the end, None where nothing was taken.

    `tried` choices in `rounds`; `known` were tried before. `left` have yet to be tried.
    """

    tuning: Tuning | None
    whole: Ratio | None
    operators: tuple[Operator, ...]
    rounds: int
    tried: int
    known: int
    left: int
    noise: float
    seconds: float


def refuse_tuning(job: Job) -> None:
    """Raises InputError for what cannot be timed on this machine, or has no single set of shapes."""
    if job.backend != "tvm":
        raise InputError(Issue(f"{job.backend} is not tuned: its schedules are its own", Place(job.model)))
    if job.buckets is not None:
        raise InputError(Issue("a model with dims is not tuned yet", Place(job.model), "leave --tune out"))
    if not is_timed_here(job):
        from compiler.targets import target_of

        here = target_of(host().target).name
        message = f"{target_of(job.target).name} cannot be tuned here: choices are timed, and this machine is {here}"
        raise InputError(Issue(message, Place(job.model), f"tune on such a machine, or for {here}"))


def tune(job: Job, store: Store, samples: Sequence[Sample], seconds: float, say: Say, step: Say) -> Tuned:
    """Search for about `seconds`, and leave in `store` what was found; `samples` are of one item each.

    What an earlier search tried is not tried again, also one that was interrupted: each round is on disk when it ends.
    `say` tells of gains, `step` how far it is.

    Raises InputError for what cannot be tuned (`refuse_tuning`) and for a model that is wrong, NotKnown where building
    it reached a limit, EnvironmentFailed for a missing tool or a crash.
    """
    refuse_tuning(job)
    asked = plain(job)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tierplan-")))
        save_samples(folder / "samples.npz", [joined(group) for group in in_groups(samples[:SAMPLES], asked.batch)])
        search = _Search(asked, store, folder, say, step, time.monotonic(), seconds)
        stack.callback(search.close)
        return search.run()


@dataclass
class _Search:
    """`present` are choices in use, by workload; `before` those with which it began. `built` says by name with which
    choices a build was made; the child has those in `inside`. `ended` are the choices, with their workloads, that the
    surroundings ended in this search: a later one tries them again."""

    job: Job
    store: Store
    folder: Path
    say: Say
    step: Say
    began: float
    seconds: float
    before: dict[str, Choice] = field(default_factory=dict)
    present: dict[str, Choice] = field(default_factory=dict)
    trials: dict[str, Trials] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    child: Child | None = None
    built: dict[str, dict[str, Choice]] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)
    tolerance: float = 0.0
    ended: list[tuple[str, Choice]] = field(default_factory=list)
    known: int = 0
    tried: int = 0
    rounds: int = 0
    round_seconds: float = 0.0

    def run(self) -> Tuned:
        earlier = read_tuning(self.job, self.store)
        self.before = dict(earlier.choices) if earlier is not None else {}
        found = self._build("present", self.before)
        noise = self._weigh(found)
        # What an interrupted search, or one of another model, took of these operators is where this one begins.
        self.present = self.before | {w: t.choice for w, t in self.trials.items() if t.choice is not None}
        if self.present != self.before:
            found = self._build("present", self.present)
        while self._time_left() and (wanted := self._next(found)):
            started = time.monotonic()
            if self._round(wanted):
                found = self._build("present", self.present)
            self.round_seconds = max(self.round_seconds, time.monotonic() - started)
        whole, parts = self._confirm()
        if whole is not None:
            self._publish(whole)
        return Tuned(
            tuning=read_tuning(self.job, self.store),
            whole=whole,
            operators=self._operators(parts),
            rounds=self.rounds,
            tried=self.tried,
            known=self.known,
            left=sum(len(self._untried(found, workload)) for workload in self.trials),
            noise=noise,
            seconds=time.monotonic() - self.began,
        )

    def close(self) -> None:
        if self.child is not None:
            self.child.close()

    def _weigh(self, found: Mapping[str, Any]) -> float:
        """Each operator's share of the time, from the model raced against itself; returns how far chance makes the two
        differ, as a share."""
        raced = self._race("present", "present", FEWEST)
        total = sum(ratio.first for ratio in raced.parts.values())
        parts = {workload: ratio.first / total for workload, ratio in raced.parts.items()}
        self.shares = dict(sorted(parts.items(), key=lambda item: -item[1]))
        place = place_of(self.job)
        for workload, share in self.shares.items():
            if share >= SHARE and workload in found["workloads"]:
                self.trials[workload] = read_trials(workload, place, self.store)
                self.known += len(self.trials[workload].trials)
        covered = sum(self.shares[workload] for workload in self.trials)
        few = f"{len(self.trials)} operators with choices take {covered:.0%} of the time"
        self.step(f"{few}; {self.known} choices were tried before")
        return abs(raced.whole.log) + raced.whole.error

    def _time_left(self) -> bool:
        """Whether another round, and confirming what was found, fit into the time; the first always does."""
        spent = time.monotonic() - self.began
        confirming = CONFIRMING if self.present != self.before else 0.0
        last = self._seconds_at_last if confirming else 0.0
        return not self.rounds or spent + last + (1 + confirming) * self.round_seconds < self.seconds

    def _next(self, found: Mapping[str, Any]) -> dict[str, Choice]:
        """The next choice of every operator that has one left."""
        left = {w: [c for c in self._untried(found, w) if (w, c) not in self.ended] for w in self.trials}
        return {workload: choices[0] for workload, choices in left.items() if choices}

    def _untried(self, found: Mapping[str, Any], workload: str) -> list[Choice]:
        trials = self.trials[workload].trials
        tried = [t.choice for t in trials if not 0 < t.ended < ENDINGS]
        others = found["workloads"].get(workload, {}).get("others", ())
        return [c for c in map(Choice.model_validate, others) if c not in tried]

    def _round(self, wanted: Mapping[str, Choice]) -> bool:
        """Try the next choice of each operator at once; whether any was taken."""
        self.rounds += 1
        try:
            found = self._build("next", {**self.present, **wanted})
            raced = self._race("present", "next", FEWEST)
            if raced.difference is None or raced.difference > self.tolerance:
                return self._lost(wanted, f"outputs differ by {raced.difference}")
            hopeful = any(ratio.is_faster(LEAST, ERRORS) for w, ratio in raced.parts.items() if w in wanted)
            # Of hundreds of choices, some look faster by chance; twice, hardly one.
            again = self._race("present", "next", FEWEST) if hopeful else raced
        except InputError as error:
            return self._lost(wanted, str(error))
        except (NotKnown, EnvironmentFailed) as error:
            return self._lost(wanted, str(error), ended=True)
        taken = 0
        for workload, choice in wanted.items():
            ratio = raced.parts.get(workload)
            better = all(
                part is not None and part.is_faster(LEAST, ERRORS) for part in (ratio, again.parts.get(workload))
            )
            taken += better
            if better and ratio is not None:
                explicit = Choice.model_validate(found["workloads"][workload]["present"])
                self.present[workload] = explicit
                self.say(f"{workload}: {explicit}: {ratio.ratio:.2f} of its time")
            self._note(workload, choice, ratio, better)
        self.step(f"round {self.rounds}: {len(wanted)} choices, {taken} taken")
        return taken > 0

    def _note(
        self,
        workload: str,
        choice: Choice,
        ratio: Ratio | None,
        taken: bool,
        reason: str = "",
        *,
        ended: bool = False,
    ) -> None:
        """On disk before the next round begins."""
        self.tried += 1
        old = self.trials[workload]
        before = next((t.ended for t in old.trials if t.choice == choice), 0)
        if ended:
            self.ended.append((workload, choice))
        trial = Trial(
            choice=choice,
            ratio=ratio.ratio if ratio is not None else None,
            error=ratio.error if ratio is not None else 0.0,
            pairs=ratio.pairs if ratio is not None else 0,
            taken=taken,
            reason=reason,
            ended=before + 1 if ended else 0,
        )
        others = (t for t in old.trials if t.choice != choice)
        update = {"trials": (*others, trial), "choice": self.present.get(workload)}
        self.trials[workload] = old.model_copy(update=update)
        write_trials(self.trials[workload], self.store)

    def _lost(self, wanted: Mapping[str, Choice], reason: str, *, ended: bool = False) -> bool:
        """One of these choices cannot be built, or computes something else, or was `ended` by the surroundings. Which
        one is found by trying them alone. Whether any other was taken.
        """
        if len(wanted) == 1:
            ((workload, choice),) = wanted.items()
            self._note(workload, choice, None, False, reason[:300], ended=ended)
            self.step(f"round {self.rounds}: {workload}: {choice}: {reason}")
            return False
        names, taken = list(wanted), False
        for half in (names[: len(names) // 2], names[len(names) // 2 :]):
            if self._time_left() and self._round({name: wanted[name] for name in half}):
                self._build("present", self.present)
                taken = True
        return taken

    def _confirm(self) -> tuple[Ratio | None, dict[str, Ratio]]:
        """Race what was found against what was before, with fresh measurements: chance made some of the gains.

        Operators that are not faster now are put back, and all are where the whole model is not faster.
        """
        if self.present == self.before:
            return None, {}
        self.step("confirming on the whole model")
        self._build("before", self.before)
        for _ in range(CONFIRMED):
            self._build("present", self.present)
            raced = self._race("before", "present", FEWEST_AT_LAST, self._seconds_at_last)
            sound = raced.difference is not None and raced.difference <= self.tolerance
            back = [w for w in self._changed if not _holds(raced.parts.get(w))] if sound else self._changed
            if not back:
                break
            self._put_back({w: _told(raced.parts.get(w)) if sound else "outputs differ" for w in back})
            if self.present == self.before:
                return None, {}
        else:  # what is left now was never raced as a whole
            self._put_back(dict.fromkeys(self._changed, "each time it was measured, something else was not faster"))
            return None, {}
        if not raced.whole.is_faster(LEAST_WHOLE, ERRORS_AT_LAST):
            self._put_back(dict.fromkeys(self._changed, f"the whole model, {_told(raced.whole)}"))
            return None, {}
        return raced.whole, raced.parts

    @property
    def _changed(self) -> list[str]:
        return [w for w in self.present if self.present[w] != self.before.get(w)]

    def _put_back(self, why: Mapping[str, str]) -> None:
        for workload, reason in why.items():
            self.say(f"{workload}: put back: {reason}")
            self.present.pop(workload)
            if workload in self.before:
                self.present[workload] = self.before[workload]
            known = self.trials.get(workload) or read_trials(workload, place_of(self.job), self.store)
            if known.trials or workload in self.trials:
                now = known.model_copy(update={"choice": self.present.get(workload)})
                write_trials(now, self.store)
                if workload in self.trials:
                    self.trials[workload] = now

    def _publish(self, whole: Ratio) -> None:
        """Build the artefact with these choices, as compiling will, and write the record that makes it do so.

        Where an earlier record was improved, and analytic choices do as well, there is none from then on.
        """
        if self.before:
            self._build("before", {})
            whole = self._race("before", "present", FEWEST_AT_LAST, self._seconds_at_last).whole
        if not whole.is_faster(LEAST_WHOLE, ERRORS_AT_LAST):
            why = "analytic choices do as well"
            self.say(f"{why}: the earlier record is removed")
            forget_tuning(self.job, self.store)
            self.before = {}
            self._put_back(dict.fromkeys(list(self.present), why))
            return
        made = self.job.model_copy(update={"tuned": dict(sorted(self.present.items()))})
        build(made, self.store)
        tuning = Tuning(
            artefact=self.job.key,
            tuned=made.key,
            source=self.job.source,
            place=place_of(self.job),
            choices=made.tuned,
            ratio=whole.ratio,
            error=whole.error,
            pairs=whole.pairs,
            before_ms=1000 * whole.first,
            after_ms=1000 * whole.second,
            method=_METHODS[self.job.threads > 1],
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write_tuning(self.job, self.store, tuning)

    def _operators(self, parts: Mapping[str, Ratio]) -> tuple[Operator, ...]:
        """The largest share first."""
        changed = parts.keys() & self._changed
        return tuple(
            Operator(w, share, self.present[w], parts[w].ratio) if w in changed else Operator(w, share)
            for w, share in self.shares.items()
        )

    def _build(self, name: str, choices: Mapping[str, Choice]) -> dict[str, Any]:
        """Build in the child; what it has to choose from comes back."""
        request = {"do": "build", "name": name, "choices": {w: c.dump() for w, c in choices.items()}}
        answer = self._ask(request, f"compiling {Path(self.job.model).name}")
        self.built[name] = dict(choices)
        self.inside.add(name)
        return answer

    @property
    def _seconds_at_last(self) -> float:
        """A whole model gains a few per cent, of which chance must be less than a third."""
        return min(60.0, max(2.0, AT_LAST * self.seconds))

    def _race(self, first: str, second: str, fewest: int, seconds: float | None = None) -> _Raced:
        if self.child is None or not self.child.alive:
            self.inside.clear()
        for name in dict.fromkeys((first, second)):
            if name not in self.inside:
                self._build(name, self.built[name])
        for_long = min(8.0, max(1.0, RACE * self.round_seconds)) if seconds is None else seconds
        request = {"do": "race", "first": first, "second": second, "fewest": fewest, "seconds": for_long}
        answer = self._ask(request, f"timing {Path(self.job.model).name}")
        parts = {workload: Ratio(**ratio) for workload, ratio in answer["parts"].items()}
        return _Raced(Ratio(**answer["whole"]), parts, answer["difference"])

    def _ask(self, request: dict[str, Any], what: str) -> dict[str, Any]:
        if self.child is None or not self.child.alive:
            self.close()
            self.child, self.inside = Child(_WORKER, Limits(seconds=REQUEST)), set()
            samples, workspace = str(self.folder / "samples.npz"), tempfile.mkdtemp(dir=self.folder)
            opened = {"do": "open", "job": self.job.model_dump(mode="json"), "samples": samples, "folder": workspace}
            self.tolerance = float(self.child.ask(opened, what)["tolerance"])
        return self.child.ask(request, what)


_METHODS: Final = (
    "processor time of the thread, both in alternation in one process, back to back",
    "wall clock, both in alternation in one process, back to back",
)


@dataclass(frozen=True, slots=True)
class _Raced:
    """`difference` of the outputs is None where it is infinite."""

    whole: Ratio
    parts: dict[str, Ratio]
    difference: float | None


def _told(ratio: Ratio | None) -> str:
    if ratio is None:
        return "not measured again"
    return f"when measured again, {ratio.ratio:.2f} of its time, give or take {ratio.error:.1%} ({ratio.pairs} pairs)"


def _holds(ratio: Ratio | None) -> bool:
    return ratio is not None and ratio.is_faster(LEAST / 2, ERRORS_AT_LAST)
