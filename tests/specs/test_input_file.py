"""Inputs are regular files of bounded size: nothing else is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from specs.errors import InputError
from specs.input_file import open_input, read_input


def test_a_file_is_read_whole_up_to_the_bound(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    assert read_input(tmp_path / "f", 5) == b"12345"
    with pytest.raises(InputError, match="larger than 4 bytes"):
        read_input(tmp_path / "f", 4)


def test_a_pipe_that_nobody_writes_to_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        open_input(tmp_path / "pipe")


@pytest.mark.parametrize(("name", "expected"), [("/dev/zero", "not a regular file"), ("/", "Is a directory")])
def test_devices_and_folders_are_refused(name: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read_input(name, 10)


def test_a_missing_file_is_named_as_its_reader_calls_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^the list: cannot read the list: No such file"):
        open_input(tmp_path / "none", "the list")
