"""Profiles are data that may have been edited: a line that says what cannot be is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from specs.behaviour import Behaviour
from specs.errors import InputError
from specs.profile import Record, json_line, read_jsonl, read_records, winners
from tests.planner.worlds import record


def line(change: Callable[[dict[str, Any]], object] = lambda value: None) -> str:
    value = json.loads(json_line(record("a" * 64, "phone", 0.01)))
    change(value)
    return json.dumps(value) + "\n"


def latency(**more: Any) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["latency"].update(more)


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "not a number": (latency(mean=float("nan")), "latency.mean: expected a finite number"),
    "endless": (latency(second=float("inf")), "latency.second: expected a finite number"),
    "a negative time": (latency(mean=-0.01), "latency: expected moments of at least 0"),
    "a mean that its second moment does not allow": (latency(mean=1.0), "latency: nothing has the moments"),
    "a third moment that is none": (latency(third=0.0), "latency: nothing has the moments"),
    "a negative spread": (latency(spread=-1.0), "latency.spread: expected a number of at least 0"),
    "no quantiles": (latency(quantiles={}), "at least one quantile"),
    "a quantile of no probability": (latency(quantiles={"half": 1}), "expected quantiles by probability"),
    "quantiles that fall": (latency(quantiles={"0.5": 2, "0.9": 1}), "quantiles that rise"),
    "a negative quantile": (latency(quantiles={"0.5": -2}), "quantiles that rise from 0"),
    "no threads": (lambda v: v.update(threads=0), "threads: expected a number of at least 1"),
    "negative memory": (lambda v: v.update(memory=-1), "memory: expected a number of at least 0"),
    "a better provenance": (lambda v: v.update(provenance="emulated"), "expected emulated_by exactly where"),
    "another key": (lambda v: v.update(surprise=1), "unknown key 'surprise'"),
    "a missing key": (lambda v: v.pop("source"), "the key 'source' is missing"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_tampered_record_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    change, expected = TAMPERED[case]
    (tmp_path / "profiles.jsonl").write_text(line() + line(change))
    with pytest.raises(InputError) as error:
        read_records(tmp_path)
    (issue,) = error.value.issues
    assert issue.place is not None
    assert (issue.place.file, issue.place.line) == (str(tmp_path / "profiles.jsonl"), 2)
    assert issue.message.startswith("not a Record: ")
    assert expected in issue.message
    assert "profile again" in issue.hint


@pytest.mark.parametrize("keep", [1, 40, 400])
def test_a_line_that_was_cut_is_named(keep: int, tmp_path: Path) -> None:
    (tmp_path / "profiles.jsonl").write_text(line() + line()[:keep] + "\n" + line())
    with pytest.raises(InputError, match=r"profiles\.jsonl:2:1: not a Record: not JSON"):
        read_records(tmp_path)


def test_a_record_whose_words_hold_line_separators_is_one_line(tmp_path: Path) -> None:
    written = record("a" * 64, "phone", 0.01).model_copy(update={"host": "a\u2028b\x85c"})
    (tmp_path / "profiles.jsonl").write_text(json_line(written))
    assert read_records(tmp_path) == read_jsonl(tmp_path / "profiles.jsonl", Record)
    assert read_records(tmp_path)[0].host == written.host


def test_patterns_that_are_not_all_that_requests_do_are_refused(tmp_path: Path) -> None:
    pattern = {"source": "ask", "runs": ["judge"], "probability": 0.4, "count": 4}
    value = {"variants": {}, "patterns": [pattern], "payloads": {}, "items": 4, "inputs": {}, "measured_at": "now"}
    (tmp_path / "behaviour.jsonl").write_text(json.dumps(value) + "\n")
    with pytest.raises(InputError, match=r"the probabilities of the patterns of 'ask' sum to 0\.4, not to 1"):
        read_jsonl(tmp_path / "behaviour.jsonl", Behaviour)


def test_what_was_measured_wins_over_an_estimate_however_new_that_is() -> None:
    measured = record("a" * 64, "board", 0.01).model_copy(
        update={"provenance": "measured", "emulated_by": None, "measured_at": "2026-01-01"}
    )
    more = {"provenance": "estimated", "interval": (0.5, 3.0), "measured_at": "2027-01-01"}
    estimated = measured.model_copy(update=more)
    assert list(winners([measured, estimated]).values()) == [measured]
    assert list(winners([estimated]).values()) == [estimated]
    assert measured.service == measured.latency
    assert estimated.service.mean == pytest.approx(3 * estimated.latency.mean)
    assert estimated.service.variance == pytest.approx(9 * estimated.latency.variance, abs=1e-12)


def test_a_record_says_by_what_it_was_disturbed() -> None:
    calm = record("a" * 64, "board", 0.01)
    calm = calm.model_copy(update={"latency": calm.latency.model_copy(update={"spread": 0.0})})
    assert calm.disturbed == ""
    assert calm.model_copy(update={"others": 0.05}).disturbed == ""
    assert calm.model_copy(update={"others": 0.3}).disturbed == "others used 30% of the processors"
    drifted = calm.latency.model_copy(update={"spread": 0.2 * calm.latency.quantiles["0.5"]})
    assert calm.model_copy(update={"latency": drifted}).drift == pytest.approx(0.2)
    nothing = calm.latency.model_copy(update={"quantiles": {"0.99": 1.0}})
    assert calm.model_copy(update={"latency": nothing}).drift == 0.0
    both = calm.model_copy(update={"others": 0.3, "latency": drifted})
    assert both.disturbed == "others used 30% of the processors and medians drifted by ±20%"
    assert both.key == calm.key


def test_what_devices_of_two_keys_measured_does_not_hide_each_other() -> None:
    plain = record("a" * 64, "board", 0.01).model_copy(update={"provenance": "measured", "emulated_by": None})
    first, second = (
        plain.model_copy(update={"rpc": key, "measured_at": at}) for key, at in (("pi", "1"), ("jet", "2"))
    )
    again = first.model_copy(update={"measured_at": "3"})
    guess = plain.model_copy(update={"provenance": "estimated", "interval": (0.5, 3.0), "measured_at": "4"})
    assert set(r.rpc for r in winners([first, second]).values()) == {"pi", "jet"}
    assert [r.measured_at for r in winners([again, second, first]).values()] == ["3", "2"]
    assert list(winners([guess, first, second]).values()) == [first, second]
