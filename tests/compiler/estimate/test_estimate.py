"""Estimates: how they follow the hardware, what their records say, and that intervals hold what they promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.calibrate import GUESS, Samples, conformal, fit, inside, left_out
from benchmarks.training import convolutional
from compiler.estimate.calibration import calibration
from compiler.estimate.estimate import ALLOWANCE, Place, backends_for, distribution, estimate, place_of, record
from compiler.estimate.operators import Operator, Work, work_of
from compiler.estimate.terms import TERMS, Machine, terms
from compiler.model import prepare
from specs.catalogue import catalogue
from specs.errors import InputError
from specs.infrastructure import Hardware, Speed

SPEED = Speed(ghz=2, flops=16, gb_per_s=10)
PLACE = Place("board", SPEED, "x86", 4)


@pytest.fixture(scope="module")
def work() -> Work:
    return work_of(prepare(convolutional(3), {}, "m"))


def test_the_calibration_that_ships_speaks_of_every_term_of_both_backends() -> None:
    known = calibration()
    assert set(known.backends) == {"tvm", "onnxruntime"}
    for backend in known.backends.values():
        assert tuple(backend.factors) == TERMS
        assert backend.interval[0] < 1 < backend.interval[1]


@pytest.mark.parametrize("backend", ["tvm", "onnxruntime"])
def test_hardware_that_is_twice_as_fast_in_everything_takes_half_the_time(backend: str, work: Work) -> None:
    faster = replace(PLACE, speed=Speed(ghz=4, flops=16, gb_per_s=20))
    slow, fast = (estimate(work, backend, 1, place) for place in (PLACE, faster))
    assert fast.seconds == pytest.approx(slow.seconds / 2)
    assert (fast.interval, fast.memory) == (slow.interval, slow.memory)


@pytest.mark.parametrize("figure", ["ghz", "flops", "gb_per_s"])
def test_no_better_figure_of_the_hardware_makes_anything_slower(figure: str, work: Work) -> None:
    better = SPEED.model_copy(update={figure: 2 * getattr(SPEED, figure)})
    assert estimate(work, "tvm", 1, replace(PLACE, speed=better)).seconds < estimate(work, "tvm", 1, PLACE).seconds


def test_the_interval_is_wider_the_farther_the_cpu_is_from_the_one_that_was_measured(
    work: Work,
) -> None:
    near, far = (estimate(work, "tvm", 1, replace(PLACE, family=family)) for family in ALLOWANCE)
    assert far.low < near.low < near.seconds < near.high < far.high
    own = calibration().backends["tvm"].interval
    assert near.interval[1] > own[1]
    assert near.interval[0] < own[0]


def test_terms_are_least_times_so_that_their_sum_with_factors_of_one_is_a_bound_by_flops_and_bytes() -> None:
    one = Operator("y", "dense", 2e6, 4e6, 100, 100)
    found = dict(zip(TERMS, terms([one], Machine.of(SPEED, 1)), strict=True))
    assert found["dense"] == pytest.approx(2e6 / (2e9 * 16))
    assert found["weights"] == pytest.approx(4e6 / 10e9)
    assert found["step"] == pytest.approx(1 / 2e9)
    assert found["forked"] == 0
    two = dict(zip(TERMS, terms([one], Machine.of(SPEED, 2)), strict=True))
    assert two["dense"] == found["dense"] / 2
    assert two["forked"] == found["step"]


@given(st.floats(1e-6, 100), st.floats(1, 3), st.floats(1, 5))
def test_a_record_is_one_that_could_be_of_a_service_time(seconds: float, p90: float, more: float) -> None:
    found = distribution(seconds, {"0.1": 0.9, "0.5": 1.0, "0.9": p90, "0.99": p90 * more})
    assert found.quantiles["0.5"] == pytest.approx(seconds)
    assert 0.9 * seconds <= found.mean <= p90 * more * seconds
    assert found.n == 0


def test_a_record_says_that_it_is_an_estimate_and_a_plan_counts_on_its_upper_end(work: Work) -> None:
    of = estimate(work, "tvm", 2, PLACE)
    said = record("digest", "..", "tvm", 2, PLACE, of)
    assert (said.provenance, said.hardware, said.threads, said.interval) == ("estimated", "board", 2, of.interval)
    assert said.latency.quantiles["0.5"] == pytest.approx(of.seconds)
    assert said.service.quantiles["0.5"] == pytest.approx(of.high)
    assert said.service.second == pytest.approx(said.latency.second * of.interval[1] ** 2)
    assert "judged" in said.method


def test_a_class_without_figures_is_refused_with_the_ways_out() -> None:
    with pytest.raises(InputError, match=r"hardware 'x': nothing is known of its speed \(use: catalog/NAME"):
        place_of("x", Hardware(cores=2))
    assert place_of("x", Hardware(cores=2, speed=SPEED)) == Place("x", SPEED, "other", 2)


def test_onnx_runtime_is_not_promised_where_it_is_not_published() -> None:
    for name, entry in catalogue().entries.items():
        found = backends_for(entry.target)
        assert ("onnxruntime" in found) == (not entry.target.startswith(("armv7", "riscv"))), name


def made(
    rng: np.random.Generator, models: int, noise: float
) -> tuple[Samples, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Rows whose times follow known factors, but for noise."""
    truth = np.array([GUESS[name] * rng.uniform(0.5, 2) for name in TERMS])
    terms_ = np.exp(rng.normal(-9, 2, (models, len(TERMS)))) / np.array([GUESS[name] for name in TERMS])
    seconds = terms_ @ truth * np.exp(rng.normal(0, noise, models))
    return Samples(terms_, seconds, np.arange(models).astype(str), np.full(models, "here")), truth


def test_a_fit_finds_the_factors_that_made_the_times() -> None:
    given_, truth = made(np.random.default_rng(0), 300, 0.0)
    assert fit(given_) == pytest.approx(truth, rel=0.05)


def test_what_is_left_out_has_no_part_in_its_own_estimate() -> None:
    given_, _ = made(np.random.default_rng(1), 40, 0.05)
    spoiled = Samples(given_.terms, given_.seconds.copy(), given_.models, given_.settings)
    spoiled.seconds[7] *= 3
    assert left_out(spoiled, spoiled.models)[7] - left_out(given_, given_.models)[7] == pytest.approx(np.log(3))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(30, 200))
def test_a_conformal_interval_holds_nine_tenths_of_what_is_drawn_alike(seed: int, n: int) -> None:
    """Over many draws at once, of any law: here a skewed one."""
    rng = np.random.default_rng(seed)
    held = []
    for _ in range(60):
        off = rng.exponential(0.3, n + 1) - 0.2
        low, high = np.log(conformal(off[:-1]))
        held.append(low <= off[-1] <= high)
    assert np.mean(held) >= 0.75  # 0.9 expected; less than 0.75 of 60 happens once in 10,000 times


def test_a_row_is_judged_by_the_interval_that_others_give() -> None:
    off = np.concatenate([np.zeros(50), [5.0]])
    assert list(np.flatnonzero(~inside(off, np.arange(51)))) == [50]
