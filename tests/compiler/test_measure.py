"""Measuring: what a profile says comes from real runs, under the class's emulation, and can be resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.host import host
from compiler.job import job
from compiler.make import make
from compiler.measure import ArtefactSubject, Budget, FunctionSubject, HardwareClass, classes, measure_all
from compiler.measure_worker import _warm
from compiler.samples import load_samples, save_samples
from compiler.store import Store
from runtime.executors import open_executor
from runtime.executors.tvm import TvmExecutor
from runtime.stages.functions import load_function
from runtime.stages.isolated import open_isolated
from runtime.stages.served import open_served_function, open_served_model
from specs.errors import EnvironmentFailed, InputError
from specs.infrastructure import Emulation, Hardware
from specs.statistics import summarise
from tests.compiler.models import cnn, pixels, save

BUDGET = Budget(seconds=0.05, least=15, warmup=2)
SLOW = HardwareClass("slow", cores=2, cpu=0.25)
HERE = HardwareClass("here", cores=2, cpu=None)


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> list[ArtefactSubject | FunctionSubject]:
    folder = tmp_path_factory.mktemp("measured")
    rng = np.random.default_rng(0)
    file = save(cnn(rng), folder / "cnn.onnx")
    store = Store(folder / "store")
    samples = [pixels(rng) for _ in range(2)]
    (folder / "work.py").write_text(
        "import time\n\ndef wait(text):\n    end = time.thread_time() + 0.002\n"
        "    while time.thread_time() < end:\n        pass\n    return {'size': len(text)}\n"
    )
    return [
        ArtefactSubject(make(job(file, "tvm"), store), samples),
        ArtefactSubject(make(job(file, "onnxruntime"), store), samples),
        FunctionSubject(folder, "work:wait", "f" * 64, [{"text": "hello"}]),
    ]


def test_every_subject_is_measured_on_every_class_and_slower_classes_take_longer(
    subjects: list[ArtefactSubject | FunctionSubject],
) -> None:
    outcomes = list(measure_all(subjects, [SLOW, HERE], open_executor, load_function, BUDGET))
    assert [o.error for o in outcomes] == [None] * 6
    records = {(o.subject.backend, o.hardware): o.record for o in outcomes if o.record}
    assert len(records) == 6
    for backend in ("tvm", "onnxruntime", "python"):
        slow, here = records[backend, "slow"], records[backend, "here"]
        assert slow.provenance == "emulated"
        assert slow.emulated_by is not None
        assert slow.emulated_by.cpu == 0.25
        assert here.provenance == "measured"
        assert here.emulated_by is None
        assert slow.latency.n >= BUDGET.fewest
        assert slow.latency.mean > here.latency.quantiles["0.5"]
        assert slow.memory == here.memory
    spin = records["python", "slow"].latency
    assert spin.quantiles["0.5"] >= 0.008 - 1e-4  # 2 ms of work at a quarter of the speed
    known = {r.key for r in records.values()}
    assert list(measure_all(subjects, [SLOW, HERE], open_executor, load_function, BUDGET, known)) == []


def test_of_what_keeps_state_memory_counts_the_state_and_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "kept_work.py").write_text(
        "import time\n\n\nclass Kept:\n    def __call__(self, text):\n        end = time.thread_time() + 0.002\n"
        "        while time.thread_time() < end:\n            pass\n        return {'size': len(text)}\n\n"
        "    def save(self):\n        return b''\n\n    def load(self, saved):\n        pass\n"
    )
    outputs, samples = {"size": "i64"}, [{"text": "hello"}]
    own = FunctionSubject(tmp_path, "kept_work:Kept", "f" * 64, samples, outputs=outputs, state=5e7)
    (outcome,) = measure_all([own], [HERE], open_served_model, open_served_function, BUDGET)
    assert outcome.error is None
    assert outcome.record is not None
    assert 1e8 <= outcome.record.memory < 1.5e8
    assert outcome.record.latency.quantiles["0.5"] >= 0.002


def test_memory_of_what_keeps_state_does_not_count_what_it_has_seen_besides(tmp_path: Path) -> None:
    (tmp_path / "grown_work.py").write_text(
        "class Grown:\n    def __init__(self):\n        self.kept = []\n\n    def __call__(self, text):\n"
        "        self.kept = [*self.kept, bytes(range(256)) * 10_000][-40:]\n        return {'size': len(text)}\n\n"
        "    def save(self):\n        return b''\n\n    def load(self, saved):\n        pass\n"
    )
    outputs, samples = {"size": "i64"}, [{"text": str(number)} for number in range(40)]
    own = FunctionSubject(tmp_path, "grown_work:Grown", "f" * 64, samples, outputs=outputs, state=1e8)
    (outcome,) = measure_all([own], [HERE], open_served_model, open_served_function, BUDGET)
    assert outcome.record is not None
    assert 2e8 <= outcome.record.memory < 2.5e8


def test_warming_up_ends_in_time_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    assert _warm(seen.append, iter([{"n": n} for n in range(5)]), 5) == 5
    monkeypatch.setattr("compiler.measure_worker.WARMING", -1.0)
    assert _warm(seen.append, iter([{"n": n} for n in range(5)]), 5) == 0
    assert [each["n"] for each in seen] == list(range(5))


def test_a_library_with_other_outputs_than_its_artefact_says_is_refused(
    subjects: list[ArtefactSubject | FunctionSubject],
) -> None:
    subject = subjects[0]
    assert isinstance(subject, ArtefactSubject)
    (kind,) = subject.artefact.outputs.values()
    for outputs in ({}, {"one": kind, "two": kind}):
        said = subject.artefact.model_copy(update={"outputs": outputs})
        with pytest.raises(EnvironmentFailed, match=f"gives 1 outputs, artefact.json says {len(outputs)}"):
            TvmExecutor(subject.folder, said).run(subject.samples[0])


def test_what_keeps_state_is_timed_when_it_has_seen_every_sample(tmp_path: Path) -> None:
    (tmp_path / "filled_work.py").write_text(
        "import time\n\n\nclass Filled:\n    def __init__(self):\n        self.seen = set()\n\n"
        "    def __call__(self, text):\n        self.seen.add(text)\n"
        "        end = time.thread_time() + (0.002 if len(self.seen) == 60 else 0)\n"
        "        while time.thread_time() < end:\n            pass\n        return {'size': len(text)}\n\n"
        "    def save(self):\n        return b''\n\n    def load(self, saved):\n        pass\n"
    )
    outputs, samples = {"size": "i64"}, [{"text": str(number)} for number in range(60)]
    own = FunctionSubject(tmp_path, "filled_work:Filled", "f" * 64, samples, outputs=outputs, state=5e7)
    (outcome,) = measure_all([own], [HERE], open_served_model, open_served_function, BUDGET)
    assert outcome.record is not None
    assert min(outcome.record.latency.quantiles.values()) >= 0.002


def test_a_function_with_an_environment_is_measured_in_its_own_process(tmp_path: Path) -> None:
    (tmp_path / "own_work.py").write_text(
        "import os\nimport time\n\nheld = bytearray(int(os.environ['HELD']))\n\n\ndef wait(text):\n"
        "    end = time.thread_time() + 0.002\n    while time.thread_time() < end:\n        pass\n"
        "    return {'size': len(text)}\n"
    )
    own = FunctionSubject(tmp_path, "own_work:wait", "f" * 64, [{"text": "hello"}], {"HELD": "50000000"}, ["HELD"])
    outcomes = list(measure_all([own], [SLOW, HERE], open_executor, open_isolated, BUDGET))
    assert [o.error for o in outcomes] == [None, None]
    slow, here = (o.record for o in outcomes)
    assert slow is not None
    assert here is not None
    assert here.memory > 50_000_000  # of its process
    assert slow.latency.quantiles["0.5"] >= 0.008 - 1e-4  # 2 ms of work there, at a quarter of the speed
    assert "50000000" not in repr(own)


def test_a_subject_that_fails_does_not_stop_the_others(subjects: list[ArtefactSubject | FunctionSubject]) -> None:
    wrong = ArtefactSubject(subjects[1].folder, [{"pixels": np.zeros((1, 2), np.uint8)}])  # type: ignore[union-attr]
    outcomes = list(measure_all([wrong, subjects[1]], [HERE], open_executor, load_function, BUDGET))
    assert isinstance(outcomes[0].error, InputError)
    assert outcomes[1].record is not None


def test_a_class_with_too_few_cores_is_left_out(subjects: list[ArtefactSubject | FunctionSubject]) -> None:
    none = HardwareClass("none", cores=0, cpu=None)
    assert list(measure_all(subjects, [none], open_executor, load_function, BUDGET)) == []


def test_classes_are_those_that_this_host_can_stand_for() -> None:
    hardware = {
        "phone": Hardware(cores=2, emulate=Emulation(cpu=0.15)),
        "own": Hardware(cores=4, device="here"),
        "elsewhere": Hardware(cores=8),
    }
    found = classes(hardware)
    assert [(c.name, c.cpu) for c in found] == [("phone", 0.15), ("own", None)]
    assert host().cores >= 1


@given(st.lists(st.floats(1e-6, 10), min_size=2, max_size=300))
def test_a_summary_has_the_samples_moments_and_rising_quantiles_within_its_range(times: list[float]) -> None:
    found = summarise(times)
    assert found.n == len(times)
    assert found.mean == pytest.approx(np.mean(times), rel=1e-5)
    assert found.second == pytest.approx(np.mean(np.square(times)), rel=1e-5)
    points = found.points()
    assert [x for _, x in points] == sorted(x for _, x in points)
    assert points[0][1] >= min(times) * (1 - 1e-5)
    assert points[-1][1] <= max(times) * (1 + 1e-5)
    assert "0.5" in found.quantiles
    assert ("0.99" in found.quantiles) >= (len(times) >= 101)


def test_samples_come_back_as_they_were(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.int64).reshape(1, 6)
    samples: list[dict[str, Any]] = [{"photo": b"\xff\xd8\x00", "text": "Grüße", "x": x}, {"x": np.float32(2)}]
    file = tmp_path / "samples.npz"
    save_samples(file, samples)
    first, second = load_samples(file)
    assert first["photo"] == b"\xff\xd8\x00"
    assert first["text"] == "Grüße"
    np.testing.assert_array_equal(first["x"], samples[0]["x"])
    assert second["x"] == 2
    with pytest.raises(InputError, match="expected an array"):
        save_samples(file, [{"x": object()}])
