"""Who takes what may be skipped begins when it hears so: what hangs on that message alone is refused, not guessed."""

from __future__ import annotations

import pytest

from planner.formulation import formulation
from specs.errors import InputError
from tests.planner.dags import shaped
from tests.planner.laws import Lognormal

LAW = Lognormal(0.02, 0.3)
GATED = {"a": ["src"], "b": ["a"]}


@pytest.mark.parametrize(
    "after",
    [{"c": ["b"]}, {"c": ["b"], "d": ["c"]}, {"c": ["b", "src"]}],
    ids=["nothing else", "and another after it", "the source beside it"],
)
def test_what_waits_for_the_decision_alone_is_refused(after: dict[str, list[str]]) -> None:
    with pytest.raises(InputError, match=r"app\.yaml:.*where 'b' is skipped, 'c' waits for 'a' only \(let it take"):
        formulation(shaped(GATED | after, {"b": "a"}, LAW).situation)


@pytest.mark.parametrize(
    "after",
    [{"c": ["a", "b"]}, {"x": ["a"], "c": ["b", "x"]}],
    ids=["from who decides", "by way of another"],
)
def test_what_takes_something_that_comes_after_the_decision_is_planned(after: dict[str, list[str]]) -> None:
    assert formulation(shaped(GATED | after, {"b": "a"}, LAW).situation).problem.scenarios
