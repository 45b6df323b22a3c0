"""`split: allowed`: from a model with a large input on a narrow link to a cut that was found, measured and planned."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from planner.cli.profiling.profiler import HOP_SIZES
from runtime.bundle import open_bundle
from runtime.channel import CHANNEL
from runtime.hosting.opening import open_stage
from runtime.machine import host_name
from runtime.message import Message, decode, encode
from runtime.reference.items import read_items
from runtime.running.run import execute
from runtime.topology import topology
from specs.behaviour import Behaviour
from specs.errors import InputError
from specs.plan import read_plan
from specs.profile import Distribution, HopOverhead, json_line, read_jsonl
from specs.run_result import Slice
from tests.cli.calling import planner
from tests.runtime.sample import make_prediction

APP = """\
schema: tierplan.app/v1
name: split
sources:
  eye:
    at: {tier: edge}
    rate: 1/h
    values: {picture: {type: "u8[40000]"}}
components:
  look:
    model: look.onnx
    split: allowed
    inputs: {picture: eye.picture}
    outputs: {seen: "f32[4]"}
    backends: [onnxruntime]
sinks:
  answer: {at: origin, inputs: {seen: look.seen}}
data:
  some: {file: data.jsonl}
constraints:
  time: {from: eye, to: answer, p99: 5 s}
objective: [{latency: time}]
"""

INFRA = """\
schema: tierplan.infra/v1
hardware:
  slow: {cores: 1, memory: 1 GB, sharing: time, emulate: {cpu: 0.01}}
  fast: {cores: 1, memory: 4 GB, price: 0.1/h, emulate: {cpu: 1}}
sites:
  eyes: {tier: edge, pools: {soc: {hardware: slow, devices: 1, owned: true}}}
  cloud: {tier: cloud, pools: {vm: {hardware: fast, devices: 0..2}}}
links:
  thin: {between: [eyes, cloud], delay: 2 ms, rate: 2 Mbit/s}
"""


def look() -> onnx.ModelProto:
    """40,000 bytes become 1,600 by pooling, and those go through layers of 6 million weights."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> onnx.TensorProto:
        values = (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
        return numpy_helper.from_array(values, f"w{shape[0]}_{shape[1]}")

    def make(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(kind, inputs.split(), [output], **attributes)

    nodes = [
        make("Cast", "picture", "light", to=TensorProto.FLOAT),
        make("Reshape", "light square", "map"),
        make("AveragePool", "map", "coarse", kernel_shape=[10, 10], strides=[10, 10]),
        make("Reshape", "coarse flat", "vector"),
        make("MatMul", "vector w400_3000", "h1"),
        make("Relu", "h1", "h2"),
        make("MatMul", "h2 w3000_1600", "h3"),
        make("Relu", "h3", "h4"),
        make("MatMul", "h4 w1600_4", "seen"),
    ]
    constants = [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in SHAPES.items()]
    graph = helper.make_graph(
        nodes,
        "look",
        [helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, 40000])],
        [helper.make_tensor_value_info("seen", TensorProto.FLOAT, [1, 4])],
        [*constants, weights(400, 3000), weights(3000, 1600), weights(1600, 4)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


SHAPES = {"square": [1, 1, 200, 200], "flat": [1, 400]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The application, with hops that were measured before: two nodes of Ray are not needed here."""
    rng = np.random.default_rng(1)
    (tmp_path / "app.yaml").write_text(APP)
    (tmp_path / "infra.yaml").write_text(INFRA)
    onnx.save(look(), str(tmp_path / "look.onnx"))
    rows = [{"picture": rng.integers(0, 256, 40000).tolist()} for _ in range(3)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "profiles").mkdir()
    spread = Distribution(mean=1e-3, second=1e-6, third=1e-9, quantiles={"0.5": 1e-3, "0.99": 1e-3}, n=60, spread=0)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    hops = [HopOverhead(channel=CHANNEL, bytes=n, latency=spread, host=host_name(), measured_at=now) for n in HOP_SIZES]
    (tmp_path / "profiles" / "hops.jsonl").write_text("".join(map(json_line, hops)))
    return tmp_path


def test_a_cut_is_found_its_parts_are_measured_and_it_is_planned_verified_and_compiled(project: Path) -> None:
    on = ("app.yaml", "--infra", "infra.yaml")
    profiled = planner("profile", *on, "--budget", "0.05", "--format", "json", folder=project)
    assert profiled.code == 0, profiled.err
    assert "look/default may be cut at: " in profiled.err
    assert "the best plan rests on measurements of all its parts" in profiled.err
    assert {r["provenance"] for r in json.loads(profiled.out)["records"]} == {"emulated"}
    # Once more: nothing is left to find or to measure.
    again = planner("profile", *on, "--budget", "0.05", "--format", "json", folder=project)
    assert json.loads(again.out)["measured"] == 0, again.err
    solved = planner("solve", *on, folder=project)
    assert solved.code == 0, solved.err
    assert "without a cut: " in solved.out
    plan = read_plan(project / "plan.yaml")
    assert [a.site for a in plan.assignments] == ["eyes", "cloud"]
    assert [cut.bytes for cut in plan.cuts] == [1600]
    assert planner("verify", "plan.yaml", *on, folder=project).code == 0
    compiled = planner("compile", "plan.yaml", *on, folder=project)
    assert compiled.code == 0, compiled.err
    assert "2 artefacts (0 compiled now)" in compiled.out
    # Of parts that were disturbed, those in the best plan are measured again.
    file = project / "profiles" / "profiles.jsonl"
    records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    for record in records:
        record["latency"]["spread"] = 0.0
        record["others"] = 0.0 if record["segment"] == ".." else 0.4
    file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    told = planner("profile", *on, "--budget", "0.05", folder=project).out
    assert "--again measures them again, parts of models where a plan would use them" in told
    repeated = planner("profile", *on, "--budget", "0.05", "--again", "--format", "json", folder=project)
    assert json.loads(repeated.out)["measured"] >= 2, repeated.err
    assert {r["segment"] for r in json.loads(repeated.out)["records"] if r["others"] != 0.4} >= {
        str(a.segment) for a in plan.assignments
    }


def test_a_codec_is_planned_with_its_agreement_verified_compiled_and_run(project: Path) -> None:
    """On a link ten times as narrow, a quarter of the bytes is worth the time that encoding takes."""
    codecs = "split: {at: [coarse], codec: [none, int8, zlib]}"
    (project / "app.yaml").write_text(APP.replace("split: allowed", codecs), "utf-8")
    (project / "infra.yaml").write_text(INFRA.replace("2 Mbit/s", "100 kbit/s"), "utf-8")
    on = ("app.yaml", "--infra", "infra.yaml")
    profiled = planner("profile", *on, "--budget", "0.05", "--format", "json", folder=project)
    assert profiled.code == 0, profiled.err
    again = planner("profile", *on, "--budget", "0.05", "--format", "json", folder=project)
    value = json.loads(again.out)
    assert (value["measured"], value["behaviours"]) == (0, 0), again.err
    found = {b.wire("look"): b for b in read_jsonl(project / "profiles" / "behaviour.jsonl", Behaviour)}
    assert set(found) == {(), ("coarse~int8",), ("coarse~zlib",)}
    assert found["coarse~int8",].payloads["look@coarse~int8"].mean == 408
    assert 100 < found["coarse~zlib",].payloads["look@coarse~zlib"].mean < 1700
    assert [a.value for a in found["coarse~zlib",].agreement or ()] == [1.0]
    solved = planner("solve", *on, folder=project)
    assert solved.code == 0, solved.err
    assert "cut of look at coarse: 408 bytes by int8" in solved.out
    assert "of the answers on some, 100.0% are as without a codec" in solved.out
    assert "without a codec: " in solved.out
    plan = read_plan(project / "plan.yaml")
    assert [(cut.tensors, cut.codec, cut.bytes) for cut in plan.cuts] == [(("coarse",), "int8", 408)]
    assert planner("verify", "plan.yaml", *on, folder=project).code == 0
    compiled = planner("compile", "plan.yaml", *on, folder=project)
    assert compiled.code == 0, compiled.err
    assert "2 artefacts (0 compiled now)" in compiled.out
    answered, crossed = answers(project)
    assert crossed == [408, 408, 408]
    plain = onnxruntime.InferenceSession(project / "look.onnx")
    for row, seen in zip(pictures(project), answered, strict=True):
        (exact,) = plain.run(None, {"picture": np.array([row], np.uint8)})
        assert np.abs(seen - exact[0]).max() <= 0.01 * (1 + np.abs(exact).max())
        assert not np.array_equal(seen, exact[0])  # it was encoded indeed
    runs_right(project)


def test_a_codec_that_some_tensor_has_no_place_in_is_left_out_and_the_others_are_measured(project: Path) -> None:
    model = look()
    nodes = list(model.graph.node)
    at = next(i for i, node in enumerate(nodes) if node.output[0] == "coarse")
    nodes[at].output[0] = "means"
    nodes[at + 1 : at + 1] = [
        helper.make_node("Log", ["means"], ["deep"]),
        helper.make_node("Exp", ["deep"], ["coarse"]),
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(project / "look.onnx"))
    with (project / "data.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"picture": [0] * 40000}) + "\n")
    codecs = "split: {at: [deep], codec: [none, int8, zlib]}"
    (project / "app.yaml").write_text(APP.replace("split: allowed", codecs), "utf-8")
    on = ("app.yaml", "--infra", "infra.yaml")
    profiled = planner("profile", *on, "--budget", "0.05", folder=project)
    assert "left out: look cut at deep~int8: a tensor with values that are not finite" in profiled.err
    found = {b.wire("look") for b in read_jsonl(project / "profiles" / "behaviour.jsonl", Behaviour)}
    assert found == {(), ("deep~zlib",)}
    refused = planner("solve", *on, folder=project)
    assert refused.code == 2
    assert "look with tensors encoded by int8" in refused.err
    assert "if it leaves int8 out" in refused.err
    (project / "app.yaml").write_text(APP.replace("split: allowed", codecs.replace("int8, ", "")), "utf-8")
    assert planner("solve", *on, folder=project).code == 0


@pytest.mark.parametrize("split", ["{at: [coarse]}", pytest.param("allowed", marks=pytest.mark.deep)])
def test_a_model_that_runs_per_item_is_cut_from_the_spec_to_a_run(project: Path, split: str) -> None:
    """Requests have one to three pictures; what crosses is 1,600 bytes of each."""
    app = APP.replace("u8[40000]", "u8[n,40000]").replace("split: allowed", f"split: {split}\n    per: eye.picture")
    (project / "app.yaml").write_text(app, "utf-8")
    rows = pictures(project)
    lines = [json.dumps({"picture": rows[:n]}) + "\n" for n in (1, 2, 3)]
    (project / "data.jsonl").write_text("".join(lines), "utf-8")
    on = ("app.yaml", "--infra", "infra.yaml")
    profiled = planner("profile", *on, "--budget", "0.05", "--format", "json", folder=project)
    assert profiled.code == 0, profiled.err
    solved = planner("solve", *on, folder=project)
    assert solved.code == 0, solved.err
    plan = read_plan(project / "plan.yaml")
    assert [a.site for a in plan.assignments] == ["eyes", "cloud"]
    assert [cut.bytes for cut in plan.cuts] == [3200]
    verified = planner("verify", "plan.yaml", *on, folder=project)
    assert verified.code == 0, verified.out
    assert planner("compile", "plan.yaml", *on, folder=project).code == 0
    runs_right(project)


def runs_right(project: Path) -> None:
    """Six requests to the bundle are answered as the reference answers them."""
    bundle = open_bundle(project / "bundle")
    part = Slice(members={"eyes": 1}, multiplier=36_000, requests=6, seed=0)
    items = [ref.read() for ref in read_items(bundle.app.value, "some", project)]
    prediction = make_prediction(bundle, part).model_copy(update={"paths": ()})
    requests = execute(bundle, part, items, prediction, on="process", shape=False).result.requests
    assert (requests.sent, requests.answered, requests.wrong) == (6, 6, 0)


def pictures(project: Path) -> list[list[int]]:
    return [json.loads(line)["picture"] for line in (project / "data.jsonl").read_text().splitlines()]


def answers(project: Path) -> tuple[list[np.ndarray], list[int]]:
    """What the bundle's stages answer, each value packed and unpacked between sites, and the bytes of each message."""
    bundle = open_bundle(project / "bundle")
    top = topology(
        bundle.plan, bundle.app.value, bundle.infra.value, Slice(members={}, multiplier=1, requests=1, seed=0)
    )
    first, second = (open_stage(bundle, stage) for stage in sorted(top.stages, key=lambda s: not s.first))
    found: list[np.ndarray] = []
    sizes: list[int] = []
    for row in pictures(project):
        values = first.run({"picture": np.array(row, np.uint8)})
        message = Message("values", "r", "f", "o", "c", 0.0, values=values)
        sizes.append(message.payload)
        (answer,) = second.run(decode(encode(message)).values).values()
        assert isinstance(answer, np.ndarray)
        found.append(answer)
    for count in (0, 407, 409):
        with pytest.raises(InputError, match=r"not a f32\[.*\] encoded with int8"):
            second.run({"coarse~int8": np.zeros(count, np.uint8)})
    with pytest.raises(InputError, match=r"expected u8\[n\], got f32"):
        second.run({"coarse~int8": np.zeros(408, np.float32)})
    return found, sizes


def test_a_codec_that_takes_no_tensor_of_any_cut_is_refused(project: Path) -> None:
    text = APP.replace("split: allowed", "split: {at: [picture_again], codec: [int8]}")
    (project / "app.yaml").write_text(text, "utf-8")
    model = look()
    model.graph.node[0].input[0] = "picture_again"
    model.graph.node.insert(0, helper.make_node("Max", ["picture", "picture"], ["picture_again"]))
    onnx.save(model, str(project / "look.onnx"))
    called = planner("profile", "app.yaml", "--infra", "infra.yaml", "--budget", "0.05", folder=project)
    assert called.code == 2, called.err
    assert "app.yaml:11:34: no tensor at a cut of look is one that int8 takes" in called.err


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (
            "{codec: [fp61]}",
            "app.yaml:11:21: components.look.split.codec.0: expected 'none', 'fp16', 'int8' or 'zlib', got 'fp61'",
        ),
        ("{codec: []}", "expected a length of at least 1, got"),
        ("{codec: [int8, int8]}", "the codec int8 is given twice"),
        ("{at: [coarse~fp16]}", "name 'coarse', and say codec: [none, fp16]"),
        ("{codecs: [int8]}", "codecs"),
        ("anywhere", "expected 'allowed'"),
    ],
)
def test_a_codec_or_cut_that_there_is_not_is_refused_at_its_place(project: Path, split: str, said: str) -> None:
    (project / "app.yaml").write_text(APP.replace("split: allowed", f"split: {split}"), "utf-8")
    called = planner("validate", "app.yaml", "--infra", "infra.yaml", folder=project)
    assert (called.code, called.out) == (2, "")
    assert said in called.err


@pytest.mark.deep
def test_without_time_to_confirm_no_estimate_is_promised(project: Path) -> None:
    on = ("app.yaml", "--infra", "infra.yaml")
    profiled = planner("profile", *on, "--budget", "0.05", "--confirm", "0", folder=project)
    assert "estimated, so left out of plans: look/default[.." in profiled.err
    value = json.loads(planner("solve", *on, "--format", "json", folder=project).out)
    assert value["cuts"] == []
    assert {a["provenance"] for a in value["assignments"]} == {"emulated"}


@pytest.mark.parametrize(
    ("cuts", "column", "said"),
    [
        ("[coarse, h22]", 26, "the model of look has no tensor 'h22' between two operators (did you mean 'h2'?)"),
        ("[[coarse, picture]]", 27, "no tensor 'picture' between two operators"),
        ("[seen]", 18, "no tensor 'seen' between two operators"),
        ("[w3000_1600]", 18, "no tensor 'w3000_1600' between two operators"),
    ],
)
def test_a_cut_where_the_model_has_no_tensor_is_refused_at_its_place(
    project: Path, cuts: str, column: int, said: str
) -> None:
    app = project / "app.yaml"
    app.write_text(APP.replace("split: allowed", f"split: {{at: {cuts}}}"), "utf-8")
    called = planner("validate", "app.yaml", "--infra", "infra.yaml", folder=project)
    assert (called.code, called.out) == (2, "")
    assert f"app.yaml:11:{column}: the model of look has no tensor" in called.err
    assert said in called.err


def test_every_cut_that_a_model_has_is_valid(project: Path) -> None:
    app = project / "app.yaml"
    app.write_text(APP.replace("split: allowed", "split: {at: [coarse, [vector], h3]}"), "utf-8")
    called = planner("validate", "app.yaml", "--infra", "infra.yaml", folder=project)
    assert called.code == 0, called.err
