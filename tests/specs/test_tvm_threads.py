"""What TVM's threads are told, unless the user says otherwise."""

from __future__ import annotations

import os

import pytest

from specs.tvm_threads import THREADS, set_threads


def test_what_the_environment_says_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVM_BIND_THREADS", "1")
    monkeypatch.setenv("TVM_THREAD_POOL_SPIN_COUNT", "")  # put back afterwards
    monkeypatch.delenv("TVM_THREAD_POOL_SPIN_COUNT")
    set_threads()
    assert os.environ["TVM_BIND_THREADS"] == "1"
    assert os.environ["TVM_THREAD_POOL_SPIN_COUNT"] == THREADS["TVM_THREAD_POOL_SPIN_COUNT"]
