"""The log of requests: what one switch lets through, and files that do not grow for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.hosting.request import Entry, Status
from runtime.message import StageTime, Trace
from runtime.observe import request_log
from runtime.observe.request_log import LogLevel, RequestLog
from runtime.observe.requests import Ended, TurnedAway


def ended(status: Status, reason: str = "") -> Ended:
    entry = Entry("phones-0/1", "upload@phones", -1, False, 1.0, 9.0, status, reason)
    entry.trace = Trace((StageTime("vision", "bases-0", 0.001, 0.004, 1.5),))
    carrier = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    return Ended("sample", "mine", "http", carrier, entry, 1.25)


def lines(folder: Path, level: LogLevel) -> list[dict[str, Any]]:
    log = RequestLog(str(folder / "log.jsonl"), "phones-0", level)
    log.ended(ended("answered"))
    log.ended(ended("failed", "x" * 10_000))
    log.turned_away(TurnedAway("grpc", "1.2.3.4", "invalid", "no such input"))
    log.close()
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_line_has_the_ids_that_others_know_the_request_by(tmp_path: Path) -> None:
    first, failed, error = lines(tmp_path, "requests")
    assert (first["request"], first["id"], first["member"]) == ("phones-0/1", "mine", "phones-0")
    assert first["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert (first["outcome"], first["latency_ms"], first["stages"]) == ("answered", 250.0, {"vision": 5.0})
    assert len(failed["reason"]) == 500
    assert (error["event"], error["outcome"], error["peer"]) == ("error", "invalid", "1.2.3.4")


def test_the_switch_keeps_what_was_not_answered(tmp_path: Path) -> None:
    assert [line["outcome"] for line in lines(tmp_path, "errors")] == ["failed", "invalid"]


def test_a_full_file_is_put_aside_and_few_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "MAX_FILE", 1000)
    log = RequestLog(str(tmp_path / "log.jsonl"), "phones-0", "requests")
    for _ in range(60):
        log.ended(ended("answered"))
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [f.name for f in files] == ["log.jsonl", "log.jsonl.1", "log.jsonl.2", "log.jsonl.3"]
    assert all(f.stat().st_size <= 1000 for f in files)
    assert all(json.loads(line)["outcome"] == "answered" for f in files for line in f.read_text().splitlines())


def test_a_log_is_gone_on_with_by_the_next_process(tmp_path: Path) -> None:
    assert len(lines(tmp_path, "requests")) == 3
    assert len(lines(tmp_path, "requests")) == 6


def test_a_full_disk_fails_no_request() -> None:
    log = RequestLog("/dev/full", "phones-0", "requests")
    for _ in range(100):
        log.ended(ended("answered"))
