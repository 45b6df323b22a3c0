"""Answers that go to another site than the one that asked: they end there, and the client's log hears of it."""

from __future__ import annotations

from pathlib import Path

from tests.runtime.sample import copy_project, make_bundle, make_items, make_plan
from tests.runtime.test_in_process import go
from tests.runtime.test_reference import by_hand

AT = ("answer: {at: origin,", "answer: {at: {tier: cloud},")


def test_a_run_ends_where_answers_go(tmp_path: Path) -> None:
    project = copy_project(tmp_path, app=AT)
    done = go(make_bundle(tmp_path, make_plan(project), project), 60)
    requests = done.result.requests
    assert (requests.sent, requests.answered, requests.wrong, requests.lost) == (60, 60, 0, 0)
    items = make_items(40)
    for entry in done.log:
        assert entry.answers["answer"]["verdict"].tolist() == [by_hand(items[entry.item], "small")[0]]  # type: ignore[union-attr]
        transfers = {t.edge: t for t in entry.trace.transfers}
        assert transfers["decide -> answer"].member == "cloud-0"
        ended = max(t.ended for t in entry.trace.stages if t.stage == "decide") + transfers["decide -> answer"].seconds
        assert entry.latency >= ended - entry.started - 1e-6  # when it was there
        assert entry.ends == {"answer": entry.latency}


def test_an_answer_is_sent_where_nothing_else_runs(tmp_path: Path) -> None:
    project = copy_project(tmp_path, app=AT)
    places = {"language": ("bases", "rack")}
    done = go(make_bundle(tmp_path, make_plan(project, places), project), 30)
    assert (done.result.requests.answered, done.result.requests.wrong) == (30, 0)
    (last,) = [s for s in done.result.stages if s.name == "decide -> answer"]
    assert (last.site, last.n) == ("bases -> cloud", 30)
    assert last.service_measured.p50_ms >= 3  # the delay of the backhaul, and not that of the way to the phone
