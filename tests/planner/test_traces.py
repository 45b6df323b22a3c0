"""Recorded arrivals: what they ask of the declared rates, and that simulator and runtime replay them alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.inputs.envelope import poisson_rate
from planner.inputs.traces import read_traces
from planner.placement.demand import Demand
from planner.prediction.latency import Latency
from planner.simulation import Simulation
from planner.simulation.arrivals import Replay
from runtime.fleet import Member
from runtime.running.arrivals import departures
from runtime.topology import Flow as RunningFlow
from specs.errors import InputError
from specs.recorded import Arrival, Recording, read_trace, recording
from tests.planner.networks import Server, chain, exponential
from tests.specs.writing import APP, changed, load

Times = NDArray[np.float64]
LONG = 20_000.0
"""Seconds of the made traces."""


def poisson(rate: float, seconds: float, seed: int) -> Times:
    random = np.random.default_rng(seed)
    return np.sort(random.uniform(0, seconds, random.poisson(rate * seconds)))


def day_and_night(seed: int) -> Times:
    every = poisson(2.0, LONG, seed)
    awake = (1 + np.sin(2 * np.pi * every / LONG)) / 2
    return every[np.random.default_rng(seed + 1).uniform(size=len(every)) < awake]


def bursts(seed: int) -> Times:
    random = np.random.default_rng(seed)
    parts, at = [], 0.0
    while at < LONG:
        for rate, mean in ((5.0, 10.0), (0.5, 50.0)):
            length = random.exponential(mean)
            parts.append(at + np.sort(random.uniform(0, length, random.poisson(rate * length))))
            at += length
    return np.concatenate(parts)


def clumps(seed: int) -> Times:
    """Some arrivals bring more, each within a third of a second or so."""
    random = np.random.default_rng(seed)
    return np.sort(
        np.concatenate([t + random.exponential(0.3, random.geometric(0.2)) for t in poisson(0.2, LONG, seed)])
    )


def rush(seed: int) -> Times:
    """The last tenth is six times as busy."""
    return np.concatenate([poisson(0.5, 0.9 * LONG, seed), 0.9 * LONG + poisson(3.0, 0.1 * LONG, seed + 1)])


def test_poisson_arrivals_ask_for_little_more_than_their_own_rate() -> None:
    found = [poisson_rate([poisson(1.0, 10_000.0, seed)], 10_000.0) for seed in range(20)]
    assert min(found) > 0.97
    assert np.median(found) < 1.15
    many = [poisson(0.5, 200.0, seed) for seed in range(100)]
    assert poisson_rate(many, 200.0) == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("made", [day_and_night, bursts, clumps, rush])
@pytest.mark.parametrize(("load", "cv"), [(0.5, 1.0), (0.8, 1.0), (0.8, 0.0)])
def test_a_queue_planned_for_the_rate_found_waits_no_longer_under_the_trace(
    made: Callable[[int], Times], load: float, cv: float
) -> None:
    """The simulator replays the trace; the prediction is that of solving, for Poisson arrivals at the rate found."""
    times = made(7)
    known = recording([Arrival(float(t), "here", 0) for t in times], {"here": 1})
    peak = poisson_rate([times - times[0]], known.seconds)
    assert peak > 1.3 * known.rate
    service = load / peak
    situation, layout = chain({"a": Server(exponential(service) if cv else [service])}, peak)
    predicted = Latency(layout, Demand(situation)).paths()[0].predicted
    played = Simulation(
        replace(layout, situation=replace(situation, recordings={"src": known})), Demand(situation), 1
    ).run(len(times))
    seconds = played.flows["src@here"].ends["end"] * 1e3
    assert len(seconds) == pytest.approx(0.95 * len(times), rel=0.15)
    # A burst that comes once may be some per cent beyond what a Poisson process has as often.
    for level, bound in ((0.95, predicted.p95_ms), (0.99, predicted.p99_ms)):
        assert float(np.quantile(seconds, level)) < 1.1 * bound
    assert float(seconds.mean()) < predicted.mean_ms


def test_simulator_and_runtime_replay_the_same_arrivals_at_each_member() -> None:
    rows = [Arrival(t, "", -1) for t in bursts(3)[:400].tolist()]
    known = recording(rows, {"here": 4})
    situation, _ = chain({"a": Server([0.01])}, 2.0, members=4)
    (flow,) = situation.flows
    for members, speed in ((4, 1.0), (2, 3.0)):
        random = np.random.default_rng(1)
        stream = Replay(known).stream(flow, 2.0 * members * speed, members, 500.0, random)
        running = RunningFlow(
            "src@here", "src", "here", 2.0 * speed, "trace", tuple(Member("here", i) for i in range(members))
        )
        found = departures([running], len(stream.times), {"src": 3}, 1, {"src": known}, speed)
        left = sorted((d.offset, int(m.split("-")[1])) for m, mine in found.items() for d in mine)
        assert len(left) > 400 * members / 8  # the trace begins anew
        assert np.allclose([t for t, _ in left], stream.times)
        assert [m for _, m in left] == stream.members.tolist()
        assert Replay(known).rate(flow, members, speed) == pytest.approx(len(left) / 500.0, rel=0.3)


def test_members_that_are_not_in_the_trace_send_nothing() -> None:
    known = recording([Arrival(0.0, "here", 3), Arrival(1.0, "here", 3)], {"here": 4})
    running = RunningFlow("src@here", "src", "here", 1.0, "trace", (Member("here", 0),))
    with pytest.raises(InputError, match="none of the members that take part is in the trace"):
        departures([running], 5, {"src": 3}, 1, {"src": known})
    with pytest.raises(InputError, match="come as a trace has them, which is not given"):
        departures([running], 5, {"src": 3}, 1)
    with pytest.raises(InputError, match="two moments"):
        recording([Arrival(1.0, "here", 0)] * 3, {"here": 1})


# --- as app.yaml names them

TRACED = ("rate: 1/s", "rate: {mean: MEAN/s, peak: PEAK/s}\n    arrivals: {trace: day.csv}")


def written(folder: Path, times: Times, mean: float, peak: float, more: str = "") -> dict[str, Recording]:
    (folder / "day.csv").write_text("time,site,member\n" + "".join(f"{t:.4f},{more or ','}\n" for t in times), "utf-8")
    text = changed(APP, TRACED, ("MEAN", f"{mean:g}"), ("PEAK", f"{peak:g}"))
    return read_traces(*load(folder, app=text))


def test_rates_that_cover_the_trace_are_taken(tmp_path: Path) -> None:
    times = day_and_night(1)
    found = written(tmp_path, times, 0.05, 0.2)["ask"]  # twenty phones
    assert found.rate == pytest.approx(len(times) / LONG, rel=0.01)
    assert {a.member for a in found.arrivals} == set(range(20))
    assert written(tmp_path, times, 0.05, 0.2)["ask"] == found


@pytest.mark.parametrize(
    ("mean", "peak", "more", "says"),
    [
        (0.03, 0.2, "", "0.0[45]\\d* requests a second of each member on average, more than the mean declared"),
        (
            0.05,
            0.06,
            "",
            "as dense as Poisson arrivals of 0.[01]\\d* a second of each member, more than the peak declared",
        ),
        (0.05, 0.2, "phones,3", "as dense as Poisson arrivals of [12]\\.\\d* a second of each member"),
        (0.05, 0.2, "phones,20", "expected a member from 0 to 19, got '20'"),
        (0.05, 0.2, "bases,0", "site 'bases' is not one of the source's: phones"),
    ],
)
def test_rates_that_do_not_are_refused_with_what_would_do(
    tmp_path: Path, mean: float, peak: float, more: str, says: str
) -> None:
    with pytest.raises(InputError, match=says) as error:
        written(tmp_path, day_and_night(1), mean, peak, more)
    if "expected a" not in says and "not one" not in says:
        (issue, *_) = error.value.issues
        assert issue.place is not None
        assert (issue.place.line, issue.place.column) == (6, 5)
        mean_, peak_ = (float(p.split("/s")[0]) for p in issue.hint.split("{mean: ")[1].split(", peak: "))
        assert written(tmp_path, day_and_night(1), mean_, peak_, more)


def test_what_is_no_trace_or_not_of_the_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "far.csv").write_text("time\n1\n2\n", "utf-8")
    (tmp_path / "nan.csv").write_text("time\n1\nnan\n", "utf-8")
    (tmp_path / "app").mkdir()
    away = changed(APP, ("rate: 1/s", "rate: 1/s\n    arrivals: {trace: ../far.csv}"))
    documents = load(tmp_path / "app", app=away)
    with pytest.raises(InputError, match=r"'\.\./far\.csv' leaves the folder"):
        read_traces(*documents)
    with pytest.raises(InputError, match="expected `time` in seconds or ISO 8601, got 'nan'"):
        read_trace(tmp_path / "nan.csv", {"here": 1})
    with pytest.raises(InputError, match="larger than 5 bytes"):
        read_trace(tmp_path / "far.csv", {"here": 1}, 5)
