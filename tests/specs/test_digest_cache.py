"""A remembered digest is the file's own, whatever happened to the file since."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from specs.digest import digest_file
from specs.digest_cache import LARGE, SETTLED, remembered


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A large file that settled a while ago, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "weights"
    file.write_bytes(b"\1" * LARGE)
    time.sleep(SETTLED + 0.1)
    return file


def test_a_large_file_is_read_once(large: Path) -> None:
    reads: list[Path] = []

    def counted(file: Path) -> str:
        reads.append(file)
        return digest_file(file)

    assert remembered(large, counted) == remembered(large, counted) == digest_file(large)
    assert reads == [large]


def test_a_change_that_keeps_size_and_modification_time_is_seen(large: Path) -> None:
    before, was = remembered(large, digest_file), os.stat(large)
    with large.open("r+b") as stream:
        stream.write(b"\2")
    os.utime(large, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert remembered(large, digest_file) == digest_file(large) != before


def test_a_file_that_has_just_changed_is_not_remembered(large: Path) -> None:
    large.write_bytes(b"\3" * LARGE)
    remembered(large, digest_file)
    assert not list(large.parent.glob("cache/**/*.json"))


def test_what_stands_in_the_cache_is_not_trusted_blindly(large: Path) -> None:
    remembered(large, digest_file)
    (note,) = large.parent.glob("cache/**/*.json")
    for text in ("", "[]", '{"state": [], "sha256": "0"}', "\x00"):
        note.write_text(text, "utf-8")
        assert remembered(large, digest_file) == digest_file(large)


def test_a_cache_that_cannot_be_written_costs_only_time(large: Path) -> None:
    (large.parent / "cache").write_text("a file where the folder should be", "utf-8")
    assert remembered(large, digest_file) == digest_file(large)
