"""A small real application with a model, made, profiled, solved and compiled once for the tests of this folder."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.cli.calling import planner
from tests.cli.quiet import quieten

APP = """\
schema: tierplan.app/v1
name: tiny
sources:
  ask:
    at: {tier: edge}
    rate: {mean: 1/s, peak: 5/s}
    values:
      text: {type: string, size: {p50: 20 B, p99: 60 B}}
components:
  measure:
    function: steps:measure
    inputs: {text: ask.text}
    outputs: {features: "f32[4]"}
  judge:
    model: judge.onnx
    inputs: {features: measure.features}
    outputs: {verdict: "f32[2]"}
    backends: [onnxruntime]
sinks:
  answer: {at: origin, inputs: {verdict: judge.verdict}}
data:
  some: {file: data.jsonl}
constraints:
  answer_time: {from: ask, to: answer, p99: 500 ms}
  budget: {cost: "<= 100 USD/month"}
objective: [cost, {latency: answer_time}]
"""

INFRA = """\
schema: tierplan.infra/v1
hardware:
  phone: {cores: 1, memory: 512 MB, sharing: time, emulate: {cpu: 0.5}}
  server: {cores: 1, memory: 2 GB, price: 0.1/h, emulate: {cpu: 1}}
sites:
  phones:
    tier: edge
    count: 4
    pools: {soc: {hardware: phone, devices: 1, owned: true}}
  cloud:
    tier: cloud
    pools: {vm: {hardware: server, devices: 0..2}}
links:
  radio: {between: [phones, cloud], delay: {mean: 5 ms, jitter: 1 ms}, rate: 20 Mbit/s}
"""

STEPS = """\
import numpy as np


def measure(text):
    counts = [len(text), text.count(" "), text.count("!"), sum(c.isupper() for c in text)]
    return {"features": np.array(counts, dtype=np.float32)}
"""


def judge() -> onnx.ModelProto:
    """A dense layer with softmax."""
    weights = np.arange(8, dtype=np.float32).reshape(4, 2) / 10
    nodes = [
        helper.make_node("MatMul", ["features", "w"], ["sums"]),
        helper.make_node("Softmax", ["sums"], ["verdict"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "judge",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("verdict", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_project(folder: Path) -> None:
    """app.yaml, infra.yaml and all that they name."""
    (folder / "app.yaml").write_text(APP, "utf-8")
    (folder / "infra.yaml").write_text(INFRA, "utf-8")
    (folder / "steps.py").write_text(STEPS, "utf-8")
    words = ["hello there", "HELP NOW!", "what a day it is!", "ok", "Tell me about the weather in May", "no!"]
    (folder / "data.jsonl").write_text("".join(f'{{"text": "{w}"}}\n' for w in words), "utf-8")
    onnx.save(judge(), str(folder / "judge.onnx"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh project, with nothing made from it."""
    write_project(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def solved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project profiled, solved and compiled, by the command itself. Not to be changed: take `solved`.

    What it decides hangs on no noise of this machine: between profile and solve, times become constants.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _solve(tmp_path_factory.mktemp("tiny"))
    # The temporary folders of all workers have one parent: who comes first makes it, the others wait.
    folder = tmp_path_factory.getbasetemp().parent / "tiny"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "bundle").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _solve(folder)
    return folder


def _solve(folder: Path) -> Path:
    write_project(folder)
    for arguments in (
        ("profile", "app.yaml", "--infra", "infra.yaml", "--budget", "0.05"),
        ("solve", "app.yaml", "--infra", "infra.yaml"),
        ("compile", "plan.yaml", "app.yaml", "--infra", "infra.yaml"),
    ):
        called = planner(*arguments, folder=folder, timeout=300)
        assert called.code == 0, called.err
        if arguments[0] == "profile":
            quieten(folder)
    return folder


@pytest.fixture
def solved(solved_once: Path, tmp_path: Path) -> Path:
    """A copy of the solved project, to change at will."""
    folder = tmp_path / "tiny"
    shutil.copytree(solved_once, folder)
    return folder
