"""Tuning: every choice computes the same, what was tried is kept whatever interrupts, what is slower is not taken."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from tvm.runtime.vm import VirtualMachine

from compiler.build import build
from compiler.host import host
from compiler.importer import import_model
from compiler.job import Job, job
from compiler.lower import lower, lower_blocked, to_blocks
from compiler.model import prepare
from compiler.schedules.apply import Anchor
from compiler.schedules.machine import machine_of
from compiler.store import Store
from compiler.targets import find_target, target_of
from compiler.tuning.race import LEAST_PAIRS, Ratio, Side, difference, race
from compiler.tuning.records import (
    FOLDER,
    as_tuned,
    place_of,
    plain,
    read_trials,
    read_tuning,
    write_trials,
    write_tuning,
)
from compiler.tuning.space import neighbours
from compiler.tuning.tune import ENDINGS, Tuned, tune
from planner.cli.profiling.model import profile_model
from runtime.executors import open_executor
from specs.artefact import Buckets
from specs.artefact_folder import read_artefact
from specs.choice import Choice
from specs.errors import InputError
from specs.tuning import Trial, Trials, Tuning
from tests.cli.calling import planner
from tests.compiler.models import Array, model, reference, save
from tests.runtime.processes import alive, children, until

SLOWEST = (1, 1, 1)
"""A tile of one vector: each multiply-add waits for the one before."""
SAMPLES = [{"x": np.random.default_rng(seed).standard_normal((1, 32, 20, 20), np.float32)} for seed in range(2)]


def quiet(_: str) -> None:
    pass


def small() -> onnx.ModelProto:
    """A convolution of 3x3 and a product: two operators with choices, of which the first has two algorithms."""
    rng = np.random.default_rng(2)
    weights = {"w": rng.standard_normal((48, 32, 3, 3), np.float32), "v": rng.standard_normal((48, 5), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["score"]),
    ]
    return model(nodes, {"x": (1, 32, 20, 20)}, {"score": (1, 5)}, weights)


def anchors_of(proto: onnx.ModelProto) -> Mapping[str, Anchor]:
    """By workload, the part of it that has choices."""
    target = host().target
    machine = machine_of(target, 1)
    mod = import_model(prepare(proto, {}, "test.onnx"), "test.onnx", machine.widest)
    return {a.workload: a for a in lower(mod, target, 1).anchors.values() if a.choice is not None}


@pytest.fixture(scope="module")
def heaviest() -> tuple[str, Choice]:
    """The convolution of `small`, and what is chosen for it analytically."""
    found = anchors_of(small())
    (workload,) = (w for w in found if w.startswith("conv2d"))
    choice = found[workload].choice
    assert choice is not None
    return workload, choice


@pytest.fixture
def asked(tmp_path: Path) -> Job:
    return job(save(small(), tmp_path / "small.onnx"), "tvm")


def search(asked: Job, store: Store, seconds: float = 0.1, said: list[str] | None = None) -> Tuned:
    return tune(asked, store, SAMPLES, seconds, quiet if said is None else said.append, quiet)


def tuning_of(asked: Job, choices: dict[str, Choice], store: Store) -> None:
    """Leave a record as a search does."""
    made = asked.model_copy(update={"tuned": choices})
    tuning = Tuning(
        artefact=asked.key,
        tuned=made.key,
        source=asked.source,
        place=place_of(asked),
        choices=choices,
        ratio=0.9,
        error=0.01,
        pairs=20,
        before_ms=1,
        after_ms=0.9,
        method="written by a test",
        measured_at="2026-01-01T00:00:00+00:00",
    )
    write_tuning(asked, store, tuning)


@st.composite
def _models(draw: st.DrawFn) -> tuple[onnx.ModelProto, dict[str, Array]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if draw(st.booleans()):
        ins, outs = draw(st.sampled_from([3, 16, 40])), draw(st.sampled_from([16, 32, 50]))
        kernel, groups = draw(st.sampled_from([1, 3])), 1
        if draw(st.booleans()):
            outs = groups = ins = 32
        weight = rng.standard_normal((outs, ins // groups, kernel, kernel)).astype(np.float32)
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[kernel // 2] * 4, group=groups),
            helper.make_node("Relu", ["c"], ["y"]),
        ]
        shape: tuple[int, ...] = (1, ins, draw(st.integers(4, 14)), draw(st.integers(4, 22)))
    else:
        depth = draw(st.integers(1, 40))
        weight = rng.standard_normal((depth, draw(st.integers(1, 70)))).astype(np.float32)
        nodes = [helper.make_node("MatMul", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
        shape = (1, draw(st.integers(1, 20)), depth)
    proto = model(nodes, {"x": shape}, {"y": [None] * len(shape)}, {"w": weight})
    return proto, {"x": rng.standard_normal(shape).astype(np.float32)}


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=_models(), data=st.data())
def test_every_choice_in_the_space_computes_what_the_reference_does(
    case: tuple[onnx.ModelProto, dict[str, Array]], data: st.DataObject
) -> None:
    proto, inputs = case
    (expected,) = reference(proto, inputs)
    target = host().target
    machine = machine_of(target, 1)
    blocked = to_blocks(import_model(prepare(proto, {}, "t"), "t", machine.widest), target, machine)
    lowered = lower_blocked(blocked, target, machine)
    (anchor,) = (a for a in lowered.anchors.values() if a.choice is not None)
    assert anchor.choice is not None
    assert anchor.space is not None
    others = list(neighbours(machine, anchor.space, anchor.choice))
    assert anchor.choice not in others
    for choice in data.draw(st.lists(st.sampled_from(others), min_size=1, max_size=4, unique_by=str)):
        tuned = lower_blocked(blocked, target, replace(machine, tuned={anchor.workload: choice}))
        (now,) = (a.choice for a in tuned.anchors.values() if a.choice is not None)
        assert now is not None
        assert (now.order, now.winograd) == (choice.order, choice.winograd)
        assert choice.tile in (None, now.tile)
        assert tuned.fallback == lowered.fallback
        result = VirtualMachine(tuned.executable, tvm.cpu())["main"](tvm.runtime.tensor(inputs["x"])).numpy()
        scale = max(float(np.abs(expected).max(initial=0)), 1e-3)
        np.testing.assert_allclose(result, expected, rtol=0, atol=2e-5 * scale)


def test_a_difference_counts_beyond_chance_alone() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        times = rng.lognormal(0, 0.1, (40, 2))
        times[rng.integers(0, 40, 4), rng.integers(0, 2, 4)] *= 10  # something else ran
        alike = Ratio.of([(float(a), float(b)) for a, b in times])
        faster = Ratio.of([(float(a), 0.8 * float(b)) for a, b in times])
        assert not alike.is_faster(0.02, 6)
        assert abs(alike.log) < 0.15
        assert faster.is_faster(0.02, 2)
    with pytest.raises(ValueError, match="at least one pair"):
        Ratio.of([(0.0, 1.0)])


def test_few_pairs_say_nothing_of_chance() -> None:
    pairs = [(1.0, 0.5)] * LEAST_PAIRS
    assert Ratio.of(pairs).is_faster(0.02, 4)
    assert not Ratio.of(pairs[1:]).is_faster(0.02, 4)


def test_a_race_of_slow_builds_ends_with_fewer_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.tuning.race.MOST", 0.03)
    sides = [Side(lambda: time.sleep(0.002), lambda: time.sleep(0.002), {}) for _ in range(2)]
    whole, parts = race((sides[0], sides[1]), [()], time.perf_counter, 60.0, 500)
    assert 1 <= whole.pairs < 500
    assert not parts


def test_outputs_that_are_not_alike_are_infinitely_apart() -> None:
    one = tvm.runtime.tensor(np.array([1.0, np.nan], np.float32))
    near = tvm.runtime.tensor(np.array([1.001, np.nan], np.float32))
    whole = tvm.runtime.tensor(np.array([1, 2], np.int64))
    assert difference(one, one) == 0
    assert difference(one, tvm.runtime.tensor(np.zeros(2, np.float32))) == np.inf  # a number where there was none
    assert difference(tvm.runtime.tensor(np.ones(1, np.float32)), tvm.runtime.tensor(np.zeros(2, np.float32))) == np.inf
    assert difference(one, near) == np.inf or difference(one, near) < 0.01
    assert difference(whole, tvm.runtime.tensor(np.array([1, 3], np.int64))) == np.inf


def test_what_was_tried_is_not_tried_again(asked: Job, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = search(asked, store)
    assert first.rounds == 1
    assert first.tried >= 1
    assert first.known == 0
    assert sum(o.share for o in first.operators) == pytest.approx(1)
    files = sorted((store.root / FOLDER / "workloads").iterdir())
    assert len(files) == first.tried
    second = search(asked, store)
    assert second.known == first.tried
    for file in files:
        trials = Trials.model_validate_json(file.read_bytes())
        choices = [str(trial.choice) for trial in trials.trials]
        assert len(set(choices)) == len(choices) <= 2
        assert trials.workload in {o.workload for o in first.operators}


def test_a_search_that_is_killed_goes_on_where_it_was(asked: Job, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "planner.cli.entry", "compile", "small.onnx", "--tune", "1h", "--store", "store"]
    store = Store(tmp_path / "store")
    trials = store.root / FOLDER / "workloads"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True) as running:
        try:
            assert until(lambda: running.poll() is not None or any(trials.glob("*.json")), 120)
            assert running.poll() is None, "it ended before it was killed"
            started = children(running.pid)
        finally:
            running.kill()
    assert started
    assert until(lambda: not alive(started), 60)
    known = [Trials.model_validate_json(file.read_bytes()) for file in trials.glob("*.json")]
    count = sum(len(each.trials) for each in known)
    assert count
    assert read_tuning(asked, store) is None  # nothing was confirmed
    again = search(asked, store)
    assert again.known == count
    for each in known:
        now = read_trials(each.workload, each.place, store)
        assert now.trials[: len(each.trials)] == each.trials


class _EnoughError(Exception):
    """Ends a search from within."""


def test_a_choice_that_was_killed_is_offered_again_but_not_forever(
    asked: Job, tmp_path: Path, heaviest: tuple[str, Choice]
) -> None:
    workload, analytic = heaviest
    store, place = Store(tmp_path / "store"), place_of(asked)
    hopeless = Trial(choice=Choice(winograd=not analytic.winograd), ratio=None, reason="killed", ended=ENDINGS)
    write_trials(Trials(workload=workload, place=place, trials=(hopeless,)), store)
    began, over = threading.Event(), threading.Event()

    def kill() -> None:
        began.wait()
        while not over.wait(0.02):
            for pid in children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def step(text: str) -> None:
        if "with choices take" in text:
            began.set()
        if "the child process ended with signal SIGKILL" in text:
            raise _EnoughError

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(_EnoughError):
            tune(asked, store, SAMPLES, 600, quiet, step)
    finally:
        began.set()
        over.set()
        killer.join()
    (lost,) = [(t.workload, trial) for t in _all_trials(store) for trial in t.trials if 0 < trial.ended < ENDINGS]
    assert lost[1].ratio is None
    search(asked, store)
    trials = read_trials(lost[0], place, store).trials
    assert [trial.ended for trial in trials if trial.choice == lost[1].choice] == [0]
    assert [t for t in read_trials(workload, place, store).trials if t.choice == hopeless.choice] == [hopeless]


def _all_trials(store: Store) -> list[Trials]:
    files = (store.root / FOLDER / "workloads").glob("*.json")
    return [Trials.model_validate_json(file.read_bytes()) for file in files]


def test_choices_that_are_no_faster_than_analytic_ones_are_nowhere_in_use(
    asked: Job, tmp_path: Path, heaviest: tuple[str, Choice], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of before was slow, and the search took what the analytic choice is."""
    workload, analytic = heaviest
    store = Store(tmp_path / "store")
    tuning_of(asked, {workload: Choice(tile=SLOWEST)}, store)
    write_trials(Trials(workload=workload, place=place_of(asked), choice=analytic), store)
    monkeypatch.setattr("compiler.tuning.tune.LEAST_WHOLE", 0.1)  # chance is smaller
    said: list[str] = []
    found = search(asked, store, said=said)
    assert found.tuning is None
    assert read_tuning(asked, store) is None
    assert any("the earlier record is removed" in each for each in said)
    assert all(trials.choice is None for trials in _all_trials(store))


def test_a_worse_choice_that_an_earlier_search_took_is_put_back(
    asked: Job, tmp_path: Path, heaviest: tuple[str, Choice]
) -> None:
    """What a search took by chance: the records say that it is in use, and it is slower."""
    workload, _ = heaviest
    store = Store(tmp_path / "store")
    worse = Choice(tile=SLOWEST)
    planted = Trials(workload=workload, place=place_of(asked), choice=worse)
    write_trials(planted, store)
    said: list[str] = []
    found = search(asked, store, said=said)
    kept = read_tuning(asked, store)
    assert kept is None or kept.choices.get(workload) != worse
    assert read_trials(workload, place_of(asked), store).choice != worse
    assert found.tuning == kept


def test_what_an_earlier_search_took_is_put_back_where_the_whole_model_is_not_faster(
    asked: Job, tmp_path: Path, heaviest: tuple[str, Choice], monkeypatch: pytest.MonkeyPatch
) -> None:
    workload, analytic = heaviest
    store, slow = Store(tmp_path / "store"), Choice(tile=SLOWEST)
    tuning_of(asked, {workload: slow}, store)
    write_trials(Trials(workload=workload, place=place_of(asked), choice=analytic), store)
    monkeypatch.setattr("compiler.tuning.tune.LEAST_WHOLE", 100.0)  # no model is as much faster
    said: list[str] = []
    found = search(asked, store, said=said)
    assert found.whole is None
    assert any(f"{workload}: put back" in each for each in said)
    assert read_trials(workload, place_of(asked), store).choice == slow
    kept = read_tuning(asked, store)
    assert kept is not None
    assert kept.choices == {workload: slow}


@pytest.mark.deep
def test_a_better_choice_takes_the_place_of_a_worse_record(
    asked: Job, tmp_path: Path, heaviest: tuple[str, Choice]
) -> None:
    workload, analytic = heaviest
    store = Store(tmp_path / "store")
    tuning_of(asked, {workload: Choice(tile=SLOWEST)}, store)
    before = as_tuned(asked, store)
    found = search(asked, store, seconds=0.1)
    for _ in range(found.left):
        if found.whole is not None:
            break
        found = search(asked, store, seconds=0.1)
    assert found.whole is not None
    assert found.whole.ratio < 1
    now = as_tuned(asked, store)
    assert now.key != before.key
    assert now.tuned.get(workload, analytic).tile != SLOWEST
    if found.tuning is not None:
        assert found.tuning.tuned == now.key
        assert read_artefact(store.folder(now.key)).tuned == found.tuning.choices


def test_what_was_tuned_is_compiled_measured_and_says_so(
    asked: Job, tmp_path: Path, heaviest: tuple[str, Choice]
) -> None:
    workload, analytic = heaviest
    store = Store(tmp_path / "store")
    assert as_tuned(asked, store) == asked
    chosen = analytic.model_copy(update={"order": "positions"})
    tuning_of(asked, {workload: chosen}, store)
    tuned = as_tuned(asked, store)
    assert tuned.key != asked.key
    assert plain(tuned).key == asked.key
    made = {each.key: build(each, store) for each in (asked, tuned)}
    assert read_artefact(made[asked.key]).tuned is None
    assert json.loads((made[tuned.key] / "artefact.json").read_text())["tuned"] == {workload: chosen.dump()}
    ours, theirs = (open_executor(made[key], 1).run(SAMPLES[0])["score"] for key in (asked.key, tuned.key))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    profile = profile_model(Path(asked.model), store.root, 0.02, quiet, quiet)
    by_tvm = {row.threads: row.tuned for row in profile.rows if row.backend == "tvm"}
    assert by_tvm[1]
    assert not any(threads > 1 and is_tuned for threads, is_tuned in by_tvm.items())  # it was timed on one thread
    elsewhere = asked.model_copy(update={"target": find_target("cortex-a72").tvm})
    assert as_tuned(elsewhere, store) == elsewhere
    assert as_tuned(asked.model_copy(update={"batch": 4}), store).tuned == {}


def test_a_record_that_was_changed_into_nonsense_is_refused(
    asked: Job, tmp_path: Path, heaviest: tuple[str, Choice]
) -> None:
    store = Store(tmp_path / "store")
    tuning_of(asked, {heaviest[0]: Choice(tile=(7, 7, 7))}, store)
    for compiled in (lambda: build(as_tuned(asked, store), store), lambda: search(asked, store)):
        with pytest.raises(InputError, match=r"^a tuned tile of 7x7x7 does not fit") as unfit:
            compiled()
        assert "remove the folder `tuned`" in unfit.value.issues[0].hint
    (file,) = (store.root / FOLDER / "models").iterdir()
    file.write_text('{"schema": "tierplan.tuning/v1"}')
    with pytest.raises(InputError, match="not a record of tuning") as refused:
        as_tuned(asked, store)
    assert str(file) in str(refused.value)


def test_what_cannot_be_timed_here_is_refused(asked: Job, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"target": find_target("cortex-a72").tvm}, "cortex-a72 cannot be tuned here"),
        ({"target": find_target("cuda-sm90").tvm}, "cuda-sm90 cannot be tuned here"),
        ({"backend": "onnxruntime"}, "onnxruntime is not tuned"),
        ({"buckets": Buckets(name="T", sizes=(4, 8))}, "a model with dims is not tuned"),
    ]
    for update, text in cases:
        with pytest.raises(InputError, match=text):
            search(asked.model_copy(update=update), store)
    assert not store.root.exists()


def test_the_command_tunes_for_this_machine_and_says_what_it_did(asked: Job, tmp_path: Path) -> None:
    done = planner("compile", "small.onnx", "--tune", "1s", "--store", "store", "--format", "json", folder=tmp_path)
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["rows"]
    assert row["tuning"]["rounds"] >= 1
    assert row["tuning"]["tried"] >= 1
    assert row["tuned"] == row["tuning"]["choices"]
    here = target_of(host().target).name
    for arguments, text in (
        (["--tune", "10x"], "--tune: unknown unit 'x' in '10x'"),
        (["--tune", "0s"], "--tune: expected a time above zero"),
        (["--tune", "8day"], "of at most a week, got '8day'"),
        (["--tune", "9h", "--target", "cortex-a72"], "cortex-a72 cannot be tuned here"),
        (["--tune", "9h", "--target", here, "--target", "cortex-a72"], "cortex-a72 cannot be tuned here"),
    ):
        refused = planner("compile", "small.onnx", *arguments, folder=tmp_path)
        assert (refused.code, refused.out) == (2, "")
        assert text in refused.err


@pytest.mark.deep
def test_an_interrupted_search_ends_with_130_and_leaves_no_child(asked: Job, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "planner.cli.entry", "compile", "small.onnx", "--tune", "1h", "--store", "store"]
    trials = tmp_path / "store" / FOLDER / "workloads"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        try:
            assert until(lambda: running.poll() is not None or any(trials.glob("*.json")), 120)
            assert running.poll() is None
            started = children(running.pid)
            running.send_signal(signal.SIGINT)
            assert running.wait(60) == 130
        finally:
            running.kill()
    assert started
    assert until(lambda: not alive(started), 60)
    assert not list(trials.glob("*.part"))
