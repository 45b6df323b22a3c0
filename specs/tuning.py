"""What a search over schedules found: every trial, and the choices that were confirmed by model."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from specs.base import Spec
from specs.choice import Choice


class Trial(Spec):
    """A choice beside the one that was in use then: `ratio` is its time over the other's (median of `pairs` in
    alternation), `error` the standard error of the ratio's logarithm. `ratio` is None where it could not be built or
    computed something else; `reason` says which. `ended` counts how often the surroundings ended it (killed, out of
    memory or time), which says nothing of the choice."""

    choice: Choice
    ratio: Annotated[float, Field(gt=0)] | None = None
    error: Annotated[float, Field(ge=0)] = 0.0
    pairs: Annotated[int, Field(ge=0)] = 0
    taken: bool = False
    reason: str = ""
    ended: Annotated[int, Field(ge=0)] = 0


class TimedOn(Spec):
    """Where times hold: the CPU that took them, the target and threads compiled for, and the versions of all that
    compiles, our templates among them."""

    cpu: str
    target: dict[str, Any]
    threads: Annotated[int, Field(ge=1)]
    versions: dict[str, str]


class Trials(Spec):
    """All that was tried of one workload: an operator with its shapes. `choice` is the one in use after these."""

    schema_: Literal["tierplan.trials/v1"] = Field(alias="schema", default="tierplan.trials/v1")
    workload: str
    place: TimedOn
    choice: Choice | None = None
    trials: tuple[Trial, ...] = ()


class Tuning(Spec):
    """What compiling a model takes from tuning, confirmed on the whole model: `choices` by workload.

    `artefact` is the key of the artefact with analytic choices, `tuned` that of the one with these. `ratio` is the
    whole model's time over that of analytic choices, `error` the standard error of its logarithm; `before_ms` and
    `after_ms` are medians of the same runs, taken as `method` says.
    """

    schema_: Literal["tierplan.tuning/v1"] = Field(alias="schema", default="tierplan.tuning/v1")
    artefact: str
    tuned: str
    source: str
    place: TimedOn
    choices: dict[str, Choice]
    ratio: Annotated[float, Field(gt=0)]
    error: Annotated[float, Field(ge=0)]
    pairs: Annotated[int, Field(ge=1)]
    before_ms: float
    after_ms: float
    method: str
    measured_at: str


MAX_BYTES: Final = 4 << 20
"""Of a file of these."""
