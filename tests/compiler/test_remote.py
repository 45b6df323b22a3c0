"""Devices by RPC: real trackers and servers; a lost device is replaced and told; a hostile tracker is refused."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from compiler.host import host
from compiler.job import job
from compiler.make import make
from compiler.measure import Budget
from compiler.remote.measure import RemoteSubject, measure_remotely
from compiler.remote.place import RemoteClass, remote_class
from compiler.remote.tracker import Tracker, tracker_at
from compiler.store import Store
from runtime.executors import open_executor
from specs.errors import AnswerIsNo, EnvironmentFailed, InputError, NotKnown
from specs.loopback import is_loopback
from tests.compiler.lending import lending
from tests.compiler.models import model, save

pytest.importorskip("tornado")  # what a tracker runs on
PI = RemoteClass("board", 2, "pi", "x86-64-v2")
BUDGET = Budget(seconds=0.05, least=101, fewest=101, seconds_most=0.05, pause=0.001, evict=1_000_000)


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> list[RemoteSubject]:
    """Four artefacts for another level of this machine's architecture, at one and two threads."""
    folder = tmp_path_factory.mktemp("remote")
    store, made = Store(folder / "store"), []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        weights = {"w": rng.standard_normal((64, 64), np.float32)}
        dense = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 64)}, {"y": (1, 64)}, weights)
        file = save(dense, folder / f"dense{seed}.onnx")
        reference = make(job(file, "onnxruntime"), store)
        for threads in (1, 2):
            ours = make(job(file, "tvm", threads, target=PI.described), store)
            made.append(
                RemoteSubject(
                    PI, ours, reference, [{"x": rng.standard_normal((1, 64), np.float32)} for _ in range(2)], 1e6
                )
            )
    return made


@pytest.mark.deep
def test_two_devices_share_the_work_and_a_killed_one_is_replaced_and_told(subjects: list[RemoteSubject]) -> None:
    said: list[str] = []
    with lending("pi", 2) as lent:
        outcomes = measure_remotely(subjects, lent.tracker, open_executor, BUDGET, said.append, patience=5)
        first = next(outcomes)
        assert first.record is not None
        lost = int(first.record.host.rpartition(":")[2])
        lent.kill(lost)
        rest = list(outcomes)
    assert [outcome.error for outcome in rest] == [None] * 3
    records = [first.record, *(o.record for o in rest if o.record)]
    assert {r.artefact for r in records} == {s.artefact.key for s in subjects}
    assert any(f"127.0.0.1:{lost}" in text and text.startswith("lost device") for text in said), said
    assert {r.host for r in records} > {f"127.0.0.1:{lost}"}  # the other one went on
    for record in records:
        assert (record.provenance, record.rpc, record.hardware) == ("measured", "pi", "board")
        assert record.latency.n >= 101
        assert "0.99" in record.latency.quantiles
        assert 0 < record.latency.quantiles["0.5"] < 1


@pytest.mark.deep
@pytest.mark.skipif(host().level == "x86-64-v4", reason="this machine has the instructions that devices must lack")
def test_what_devices_die_of_takes_two_of_them_and_no_more(subjects: list[RemoteSubject], tmp_path: Path) -> None:
    wide = RemoteClass("board", 1, "pi", "x86-64-v4")
    weights = {"w": np.ones((64, 64), np.float32)}
    dense = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 64)}, {"y": (1, 64)}, weights)
    described = job(save(dense, tmp_path / "dense.onnx"), "tvm", target=wide.described)
    folder = make(described, Store(tmp_path / "store"))
    deadly = replace(subjects[0], place=wide, folder=folder)
    said: list[str] = []
    with lending("pi", 3) as lent:
        (found,) = measure_remotely([deadly], lent.tracker, open_executor, BUDGET, said.append, patience=5)
        (left,) = measure_remotely(subjects[:1], lent.tracker, open_executor, BUDGET, said.append, patience=5)
    assert isinstance(found.error, EnvironmentFailed)
    assert "instructions of its target" in str(found.error)
    assert sum(text.startswith("lost device") for text in said) == 1  # the second loss is the outcome
    assert left.record is not None


def test_what_computes_something_else_is_refused_and_a_key_without_devices_named(subjects: list[RemoteSubject]) -> None:
    wrong = replace(subjects[0], reference=subjects[2].reference)
    nobody = replace(subjects[0], place=replace(PI, key="phone"))
    many = replace(subjects[1], place=PI)
    with lending("pi", 1, threads=1) as lent:
        found = list(measure_remotely([wrong, nobody, many], lent.tracker, open_executor, BUDGET, patience=5))
    errors = {id(o.subject): o.error for o in found}
    assert isinstance(errors[id(wrong)], AnswerIsNo)
    assert "differs from ONNX Runtime" in str(errors[id(wrong)])
    assert isinstance(errors[id(nobody)], EnvironmentFailed)
    assert "no device 'phone'" in str(errors[id(nobody)])
    assert "TVM_NUM_THREADS=2" in str(errors[id(many)])


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[Tracker]:
    """A listener that greets as a tracker does and then says what `answer` makes of each message."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(connection.recv(4))
                    size = struct.unpack("<i", connection.recv(4))[0]
                    connection.sendall(answer(connection.recv(size)))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield Tracker("127.0.0.1", listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def framed(value: object) -> bytes:
    data = json.dumps(value).encode()
    return struct.pack("<i", len(data)) + data


def test_a_tracker_leads_to_no_other_machine_unless_it_may() -> None:
    with answering(lambda _: framed([0, ["192.0.2.7", 9090, "pi:0.5"]])) as tracker:
        with pytest.raises(EnvironmentFailed, match="another machine"):
            tracker.request("pi", 5, lambda: True)
        assert str(replace(tracker, anywhere=True).request("pi", 5, lambda: True)) == "192.0.2.7:9090"


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
            max_leaves=8,
        ).map(framed),
        st.just(struct.pack("<i", 2**31 - 1)),
        st.just(framed([0, ["127.0.0.1", float("inf"), "pi:0.5"]])),
    )
)
def test_whatever_answers_as_a_tracker_ends_in_one_error_or_an_answer(said: bytes) -> None:
    with answering(lambda _: said) as tracker:
        with suppress(EnvironmentFailed, NotKnown):
            assert all(isinstance(key, str) for key in tracker.devices())
        with suppress(EnvironmentFailed, NotKnown):
            assert is_loopback(tracker.request("pi", 5, lambda: True).address)


def test_another_machine_as_tracker_needs_a_word() -> None:
    with pytest.raises(InputError, match="neither passwords nor encryption"):
        tracker_at("192.0.2.7:9190", False)
    assert tracker_at("192.0.2.7:9190", True) == Tracker("192.0.2.7", 9190, True)
    assert tracker_at("[::1]:9190", False).address == "::1"
    for text in ("9190", "host", "127.0.0.1:0", "127.0.0.1:x", ":9190"):
        with pytest.raises(InputError, match="HOST:PORT"):
            tracker_at(text, False)


def test_only_libraries_for_cpus_are_lent_for(tmp_path: Path) -> None:
    assert remote_class("board", 4, "pi", "cortex-a72").described["mcpu"] == "cortex-a72"
    for target in (None, "cuda-sm87", "wasm32", "cortex-a7"):
        with pytest.raises(InputError):
            remote_class("board", 4, "pi", target)
