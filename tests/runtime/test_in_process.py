"""Whole runs with all hosts in this process: answers, gates, joins, queues and deadlines."""

from __future__ import annotations

import threading
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from runtime.bundle import Bundle
from runtime.running.run import Execution, Progress, execute
from runtime.values import Value
from specs.errors import InputError
from tests.runtime.processes import until
from tests.runtime.sample import (
    copy_project,
    make_bundle,
    make_items,
    make_plan,
    make_prediction,
    make_slice,
)
from tests.runtime.test_reference import by_hand


def go(bundle: Bundle, count: int = 60, photo_bytes: int = 2000, **changes: Any) -> Execution:
    options = {k: changes.pop(k) for k in ("deadline", "queue_limit", "shape", "on_progress") if k in changes}
    part = make_slice(requests=count, **changes)
    items = make_items(40, photo_bytes=photo_bytes)
    return execute(bundle, part, items, make_prediction(bundle, part), on="process", **options)


def least(done: Execution, edge: str) -> float:
    """Milliseconds that the quickest passage of `edge` took, without what it waited for others."""
    return 1e3 * min(t.seconds - t.wait for entry in done.log for t in entry.trace.transfers if t.edge == edge)


def test_every_answer_is_the_one_computed_by_hand_and_counts_add_up(tmp_path: Path) -> None:
    seen: list[Progress] = []
    items = make_items(40)
    done = go(make_bundle(tmp_path), 500, multiplier=5, shape=False, on_progress=seen.append)
    requests = done.result.requests
    assert (requests.sent, requests.answered, requests.wrong, requests.lost) == (500, 500, 0, 0)
    for entry in done.log:
        verdict: Value = entry.answers["answer"]["verdict"]
        assert verdict.tolist() == [by_hand(items[entry.item], "small")[0]]  # type: ignore[union-attr]
    assert [p.phase for p in seen[:2]] == ["starting", "warming up"]
    assert seen[-1].counts == {"answered": 500}


def test_a_request_reports_the_stages_of_its_branch_and_the_transfers_between_members(tmp_path: Path) -> None:
    done = go(make_bundle(tmp_path))
    items = make_items(40)
    untold: dict[bool, list[float]] = {True: [], False: []}
    for entry in done.log:
        sure = by_hand(items[entry.item], "small")[1]
        stages = {t.stage: t for t in entry.trace.stages}
        transfers = {t.edge: t for t in entry.trace.transfers}
        extra = set() if sure else {"tokens", "language"}
        assert set(stages) == {"shrink", "vision", "decide"} | extra
        extra = set() if sure else {"vision -> tokens", "tokens -> language", "language -> decide"}
        assert set(transfers) == {"shrink -> vision", "decide -> answer"} | extra
        assert stages["shrink"].member == entry.request.split("/")[1]
        assert stages["decide"].member == "bases-0"
        whole = sum(t.wait + t.service for t in stages.values()) + sum(t.seconds for t in transfers.values())
        assert whole <= entry.latency + 1e-6
        untold[sure].append(entry.latency - whole)
        assert transfers["shrink -> vision"].seconds >= 0.001
    # A busy machine makes requests start late, and not all; nothing but stages and transfers belongs to either branch.
    assert max(min(of) for of in untold.values()) < 0.02
    by_name = {(s.kind, s.name): s.n for s in done.result.stages}
    assert by_name["stage", "vision"] == 60
    assert by_name["transfer", "tokens -> language"] == by_name["stage", "language"]
    all_of_it, branch, to_vision = done.result.paths
    assert all_of_it.n == to_vision.n == 60
    assert branch.n == by_name["stage", "language"] < 60
    assert to_vision.measured.p50_ms < all_of_it.measured.p50_ms < branch.measured.p50_ms


def test_shaped_links_add_their_delay_and_their_bytes(tmp_path: Path) -> None:
    everything_in_the_cloud = dict.fromkeys(("shrink", "vision", "tokens", "language", "decide"), ("cloud", "vm"))
    project = copy_project(tmp_path)
    bundle = make_bundle(tmp_path, make_plan(project, everything_in_the_cloud), project)
    done = go(bundle, 40, photo_bytes=20_000, multiplier=0.4)
    # 20 kB at 1 MB/s, then at the shared 12.5 MB/s, then at 125 MB/s, and 5 + 3 ms of delay, with 1 ms of jitter.
    expected = 20 + 1.6 + 0.16 + 8
    assert least(done, "upload -> shrink") == pytest.approx(expected, rel=0.2)
    free = go(bundle, 20, photo_bytes=20_000, shape=False)
    assert least(free, "upload -> shrink") < 0.5 * expected


def test_a_slower_class_takes_longer_by_its_factor(tmp_path: Path) -> None:
    project = copy_project(
        tmp_path,
        infra=("phone: {cores: 1, sharing: time}", "phone: {cores: 1, sharing: time, emulate: {cpu: 0.25}}"),
        steps=(
            '    if photo[:1] == b"!":',
            "    end = time.thread_time() + 0.004\n    while time.thread_time() < end:\n        pass\n"
            '    if photo[:1] == b"!":',
        ),
    )
    done = go(make_bundle(tmp_path, make_plan(project), project), 20, multiplier=0.3)
    took = [t.service for entry in done.log for t in entry.trace.stages if t.stage == "shrink"]
    # A busy machine is slower with some of them; none is faster.
    assert 0.016 - 1e-4 <= min(took) <= 0.016 * 1.3


def test_a_function_that_raises_fails_its_request_with_the_reason(tmp_path: Path) -> None:
    project = copy_project(
        tmp_path,
        steps=(
            "    ids = [LETTERS",
            "    if CALLS.append(1) or len(CALLS) > 50:\n        raise KeyError('gone')\n    ids = [LETTERS",
        ),
    )
    steps = project / "pictures/steps.py"
    steps.write_text(steps.read_text("utf-8") + "\n\nCALLS = []\n", "utf-8")
    done = go(make_bundle(tmp_path, make_plan(project), project), 60, multiplier=5, shape=False)
    requests = done.result.requests
    assert requests.failed > 0
    assert requests.answered + requests.failed == requests.sent == 60
    assert all("failed: tokens at phones-" in reason and "KeyError: 'gone'" in reason for reason in done.reasons)


def test_a_full_queue_refuses_with_the_reason_and_later_requests_are_served(tmp_path: Path) -> None:
    project = copy_project(tmp_path, steps=("    if score[0] == 7:\n        time.sleep(0.5)", "    time.sleep(0.02)"))
    bundle = make_bundle(tmp_path, make_plan(project), project)
    done = go(bundle, 400, multiplier=4, queue_limit=4, shape=False)  # thrice what is served, for seconds
    requests = done.result.requests
    assert requests.refused > 0
    assert requests.answered > 4
    assert requests.answered + requests.refused == requests.sent
    assert "refused: the queue of decide at bases-0 is full (4 wait)" in done.reasons
    assert all(reason.startswith("refused: the queue of ") for reason in done.reasons)


def test_work_past_its_deadline_is_dropped_and_told(tmp_path: Path) -> None:
    project = copy_project(tmp_path, steps=("    if score[0] == 7:\n        time.sleep(0.5)", "    time.sleep(0.03)"))
    bundle = make_bundle(tmp_path, make_plan(project), project)
    done = go(bundle, 300, multiplier=2, deadline=0.3, shape=False)  # twice what is served, for seconds
    requests = done.result.requests
    assert requests.failed > 10
    assert requests.answered > 5
    assert requests.lost == 0
    assert all("the deadline passed while" in reason for reason in done.reasons)
    # A server that worked on what nobody waits for would have answered hardly anything in time.
    assert median(e.latency for e in done.log if e.status == "answered") < 0.4


def test_more_replicas_serve_side_by_side_and_a_time_shared_device_one_at_a_time(tmp_path: Path) -> None:
    project = copy_project(tmp_path, steps=("    if score[0] == 7:\n        time.sleep(0.5)", "    time.sleep(0.05)"))
    waits = []
    for replicas in (1, 4):
        folder = tmp_path / str(replicas)
        folder.mkdir()
        bundle = make_bundle(folder, make_plan(project, decide={"replicas": replicas}), project)
        done = go(bundle, 24, multiplier=1.0, shape=False)
        (decide,) = [s for s in done.result.stages if s.name == "decide"]
        waits.append(decide.wait_measured.p50_ms)  # a machine that pauses moves the mean
    assert waits[1] < waits[0] / 3


@pytest.mark.parametrize("devices", [1, 2])
def test_each_device_that_shares_its_time_runs_one_thing_at_a_time(tmp_path: Path, devices: int) -> None:
    """Far more requests come than are served: the stages at a phone overlap as its devices do, and no further."""
    project = copy_project(
        tmp_path,
        infra=("soc: {hardware: phone,", f"soc: {{hardware: phone, devices: {devices},"),
        steps=('    if photo[:1] == b"!":', '    time.sleep(0.01)\n    if photo[:1] == b"!":'),
    )
    plan = make_plan(project, shrink={"replicas": devices}, tokens={"replicas": devices})
    done = go(make_bundle(tmp_path, plan, project), 80, multiplier=20, shape=False)
    assert done.result.requests.answered == 80
    assert done.result.requests.wrong == 0
    runs = [t for entry in done.log for t in entry.trace.stages if t.member == "phones-0"]
    began = sorted((t.ended - t.service, t.ended) for t in runs)
    most = max(sum(start <= at < end for start, end in began) for at, _ in began)
    assert most == devices


def test_members_left_out_load_what_they_share(tmp_path: Path) -> None:
    project = copy_project(tmp_path, steps=("    if score[0] == 7:\n        time.sleep(0.5)", "    time.sleep(0.02)"))
    bundle = make_bundle(tmp_path, make_plan(project), project)
    waits = []
    for background in ({}, {"bases": 24.0}):
        done = go(bundle, 50, multiplier=0.2, background=background)
        assert done.result.requests.answered == 50
        assert done.result.requests.wrong == 0
        (decide,) = [s for s in done.result.stages if s.name == "decide"]
        waits.append(decide.wait_measured.p50_ms)
    # With the chosen members' own 8/s it is 0.64 busy for 20 ms each: M/D/1 waits 18 ms on average. A machine that
    # pauses moves the mean of 50, not the median, and a slow one adds to what little of a service is no sleep.
    assert waits[0] + 2 < waits[1] < 200


def test_members_left_out_load_links_that_they_share(tmp_path: Path) -> None:
    project = copy_project(tmp_path, infra=("rate: 100 Mbit/s", "rate: 1 Mbit/s"))
    bundle = make_bundle(tmp_path, make_plan(project, {"shrink": ("bases", "rack")}), project)
    queued = []
    for background in ({}, {"bases": 30.0}):
        done = go(bundle, 50, multiplier=0.3, background=background)
        (upload,) = [s for s in done.result.stages if s.name == "upload -> shrink"]
        queued.append(upload.wait_measured.p50_ms)
    # With the chosen members' own 12/s, 2 kB at 125 kB/s is 0.67 busy with 16 ms each: M/D/1 waits 16 ms on average.
    assert queued[0] + 2 < queued[1] < 90


def test_a_run_leaves_no_thread(tmp_path: Path) -> None:
    before = {t.ident for t in threading.enumerate()}
    go(make_bundle(tmp_path), 10)
    assert until(lambda: {t.ident for t in threading.enumerate()} <= before, 60)


def test_what_does_not_fit_together_is_refused_before_anything_runs(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    part = make_slice()
    good = make_prediction(bundle, part)

    def refused(message: str, **changes: Any) -> None:
        given = {"part": part, "items": make_items(3), "prediction": good, **changes}
        with pytest.raises(InputError, match=message):
            execute(bundle, given["part"], given["items"], given["prediction"], on="process")

    refused("prediction is of plan", prediction=good.model_copy(update={"plan": "0"}))
    refused("another slice", part=make_slice(seed=2))
    refused("no item for source upload", items=[])
    refused("says nothing of stage 'shrink'", prediction=good.model_copy(update={"stages": good.stages[1:]}))
    nothing = make_slice(requests=0)
    refused("at least one request", part=nothing, prediction=make_prediction(bundle, nothing))
