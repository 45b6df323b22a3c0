"""The plans of `make bench-run`: what is edited is right, and what is pooled is counted as it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.run import edited
from benchmarks.running.cases import CASES, Case, merged
from benchmarks.running.pooled import interval
from specs.load import load_application, load_infrastructure

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_is_an_application_and_an_infrastructure_with_its_members(case: Case, tmp_path: Path) -> None:
    for name in ("app.yaml", "infra.yaml"):
        (tmp_path / name).write_bytes((EXAMPLES / case.application / name).read_bytes())
    app = load_application(edited(tmp_path, "app.yaml", case)).value
    infra = load_infrastructure(edited(tmp_path, "infra.yaml", case)).value
    assert all(1 <= count <= infra.members(site) for site, count in case.members.items())
    tiers = {site.tier for site in infra.sites.values()}
    assert {c.at["tier"] for c in app.components.values() if c.at} <= tiers


def test_three_plans_of_three_applications() -> None:
    assert len({case.name for case in CASES}) == 9
    assert len({case.application for case in CASES}) == len({case.kind for case in CASES}) == 3


def test_edits_leave_what_they_do_not_name() -> None:
    document = {"a": {"b": 1, "c": {"d": 2}}, "e": [3]}
    assert merged(document, {"a": {"c": {"d": 4}}}, {"e": 5}) == {"a": {"b": 1, "c": {"d": 4}}, "e": 5}
    assert document["a"] == {"b": 1, "c": {"d": 2}}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1e3), min_size=1, max_size=60), min_size=1, max_size=3))
def test_an_interval_lies_within_what_was_measured(runs: list[list[float]]) -> None:
    low, high = interval([np.array(run) for run in runs], 0.99)
    every = [value for run in runs for value in run]
    assert min(every) <= low <= high <= max(every)


def test_the_interval_of_a_median_holds_the_true_one_nineteen_times_of_twenty() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for seed in range(40):
        low, high = interval([rng.exponential(1.0, 200) for _ in range(3)], 0.5, seed)
        held += low <= np.log(2) <= high
    assert held >= 34
