"""What is known of our backends on a machine that was measured: the factors of the terms, and how far off they are.

`python -m benchmarks.estimates` makes the file that ships with the project; docs/estimates.md says how.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from compiler.estimate.terms import TERMS
from specs.base import Spec
from specs.errors import EnvironmentFailed
from specs.infrastructure import Speed
from specs.quantities import Number

FILE: Final = Path(__file__).parent / "calibration.json"
Factor = Annotated[float, Field(ge=0)]


class BackendCalibration(Spec):
    """Of one backend. `factors` are by term: how many times its least time a part of the work takes.

    With 90 %, the true time lies between the multiples `interval` of an estimate for a model that was not among those
    measured. Memory at the peak is `memory[0]` bytes and so many for each byte that the model stores and of the
    largest step's activations.
    """

    factors: dict[str, Factor]
    interval: tuple[Factor, Factor]
    memory: tuple[Factor, Factor, Factor]
    rows: int
    median_error: Number

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if tuple(self.factors) != TERMS:
            raise ValueError(f"expected factors of {', '.join(TERMS)}")
        return self


class Calibration(Spec):
    """`machine` was measured with `models` models; `speed` is what it can do at most.

    `tail` has quantiles of a service time as multiples of its median, by probability.
    """

    schema_: Literal["tierplan.calibration/v1"] = Field(alias="schema", default="tierplan.calibration/v1")
    machine: str
    speed: Speed
    models: int
    tail: dict[str, Number]
    versions: dict[str, str]
    backends: dict[str, BackendCalibration]


@cache
def calibration() -> Calibration:
    """That of this version, read once."""
    try:
        return Calibration.model_validate_json(FILE.read_text("utf-8"))
    except (OSError, ValidationError) as error:
        raise EnvironmentFailed(f"the calibration of estimates is unreadable ({FILE.name}): install again") from error
