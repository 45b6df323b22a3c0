"""A ledger's line is there whole or not at all, whatever stops its writing."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from planner.cli.ledger import Ledger
from specs.errors import EnvironmentFailed, InputError
from specs.output_file import write_whole
from specs.profile import Record, json_line, read_records
from tests.planner.worlds import record

ONE = Record.model_validate_json(json_line(record("a" * 64, "phone", 0.01)))  # with the digits that files keep


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: what is written beyond `size` bytes fails, and may have been written in part."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_does_not_fit_leaves_the_lines_before_it_as_they_were(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "profiles.jsonl")
    ledger.append(ONE)
    before = ledger.file.read_bytes()
    with files_of_at_most(len(before) + 100), pytest.raises(EnvironmentFailed, match=r"cannot write .*profiles\.jsonl"):
        ledger.append(ONE)
    assert ledger.file.read_bytes() == before
    ledger.append(ONE)
    assert read_records(tmp_path) == [ONE, ONE]


def test_what_a_crash_left_of_a_line_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "profiles.jsonl"
    file.write_text(json_line(ONE) + json_line(ONE)[:50])
    Ledger(file)
    assert read_records(tmp_path) == [ONE]


def test_what_is_no_regular_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "profiles.jsonl").mkdir()
    with pytest.raises(InputError, match="this is a folder"):
        Ledger(tmp_path / "profiles.jsonl")


def test_a_file_that_does_not_fit_is_not_replaced_and_is_named(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    write_whole(file, "before")
    with files_of_at_most(10), pytest.raises(EnvironmentFailed, match=r"cannot write .*plan\.yaml: File too large"):
        write_whole(file, "much more than fits")
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("plan.yaml", "before")]
