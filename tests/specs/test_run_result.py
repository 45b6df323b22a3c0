"""What a run's result says beyond its figures."""

from __future__ import annotations

import pytest

from specs.run_result import RunResult
from tests.cli.samples import sample_plan, sample_run


def paced(factors: list[float], n: int = 100) -> RunResult:
    """A run whose stages took so many times their predicted service times."""
    run = sample_run(sample_plan())
    stage = next(s for s in run.stages if s.kind == "stage")
    stages = []
    for factor in factors:
        measured = stage.service_predicted.model_copy(update={"p50_ms": factor * stage.service_predicted.p50_ms})
        stages.append(stage.model_copy(update={"service_measured": measured, "n": n}))
    return run.model_copy(update={"stages": tuple(stages)})


def test_the_pace_is_the_median_of_measured_to_predicted_over_stages() -> None:
    assert paced([1.2, 1.3, 9.0]).pace == pytest.approx(1.3)


def test_few_requests_tell_no_pace() -> None:
    assert paced([1.2, 1.3], n=3).pace is None
