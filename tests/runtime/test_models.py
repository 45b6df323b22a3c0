"""Stages that are models: compiled segments through the real executors, beside the function stages of the sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from runtime.bundle import Bundle, write_bundle
from runtime.reference.items import Item
from runtime.running.run import execute
from specs.artefact import ARTEFACT_FILE, Artefact, Segment
from specs.digest import digest_file, digest_value
from specs.load import load_application, load_infrastructure
from specs.plan import Assignment
from specs.tensors import parse_type
from tests.runtime.sample import assignment, copy_project, make_items, make_plan, make_prediction, make_slice

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WEIGHT = np.array([[1, 2], [3, 4], [5, 6], [7, 8], [1, 3], [5, 7], [2, 4], [6, 8]], np.float32)


def _save(file: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    helper = onnx.helper
    mapping: dict[Any, int] = {np.uint8: onnx.TensorProto.UINT8, np.float32: onnx.TensorProto.FLOAT}
    kinds = {**mapping, np.bool_: onnx.TensorProto.BOOL}
    weights = [
        onnx.numpy_helper.from_array(WEIGHT, "weight"),
        onnx.numpy_helper.from_array(np.array([30], np.float32), "limit"),
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "half",
        [helper.make_tensor_value_info(n, kinds[k], s) for n, (k, s) in inputs.items()],
        [helper.make_tensor_value_info(n, kinds[k], s) for n, (k, s) in outputs.items()],
        [w for w in weights if w.name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def make_artefact(store: Path, first: bool) -> tuple[Segment, str]:
    """The first or second half of a model that scores eight pixels: an ONNX Runtime artefact in `store`."""
    node = onnx.helper.make_node
    pixels, middle = (np.uint8, [1, 8]), (np.float32, [1, 8])
    score, sure = (np.float32, [1, 2]), (np.bool_, [1])
    segment = Segment(end=("middle",)) if first else Segment(begin=("middle",))
    work = store / "new"
    work.mkdir(parents=True)
    if first:
        _save(work / "model.onnx", [node("Cast", ["pixels"], ["middle"], to=1)], {"pixels": pixels}, {"middle": middle})
        types = {"pixels": "u8[8]"}, {"middle": "f32[8]"}
    else:
        nodes = [
            node("MatMul", ["middle", "weight"], ["score"]),
            node("ReduceMax", ["middle"], ["most"], axes=[1], keepdims=0),
            node("Mod", ["most", "limit"], ["rest"], fmod=1),
            node("Cast", ["rest"], ["sure"], to=9),
        ]
        _save(work / "model.onnx", nodes, {"middle": middle}, {"score": score, "sure": sure})
        types = {"middle": "f32[8]"}, {"score": "f32[2]", "sure": "bool"}
    inputs, outputs = ({n: parse_type(t) for n, t in side.items()} for side in types)
    key = digest_value({"segment": str(segment), "model": digest_file(work / "model.onnx")})
    artefact = Artefact(
        key=key,
        backend="onnxruntime",
        target={},
        threads=1,
        source="0" * 64,
        segment=segment,
        inputs=inputs,
        outputs=outputs,
        versions={},
        files={"model.onnx": digest_file(work / "model.onnx")},
    )
    (work / ARTEFACT_FILE).write_text(artefact.model_dump_json(by_alias=True), "utf-8")
    work.rename(store / key)
    return segment, key


@pytest.fixture
def split_bundle(tmp_path: Path) -> Bundle:
    """The sample with a vision model cut in two: its first half on the phone, its second at the base station."""
    project = copy_project(
        tmp_path,
        app=(
            '    variants:\n      small: {function: "pictures.steps:vision_small"}',
            "    split: {at: [{small: middle}]}\n    variants:\n      small: {model: vision.onnx}",
        ),
    )
    store = tmp_path / "store"
    halves = [make_artefact(store, first) for first in (True, False)]
    places = (("phones", "soc"), ("bases", "rack"))
    vision = [
        assignment("vision", *place, segment=segment, variant="small", backend="onnxruntime", artefact=key)
        for place, (segment, key) in zip(places, halves, strict=True)
    ]
    plan = make_plan(project)
    plan = plan.model_copy(update={"assignments": (*(a for a in plan.assignments if a.component != "vision"), *vision)})
    app, infra = load_application(project / "app.yaml"), load_infrastructure(project / "infra.yaml")

    def folder(a: Assignment) -> Path:
        return store / a.artefact

    return write_bundle(tmp_path / "bundle", plan, app, infra, folder, {})


def by_hand(item: Item) -> int:
    photo, caption = item.values["photo"], item.values["caption"]
    assert isinstance(photo, bytes)
    assert isinstance(caption, str)
    pixels = np.frombuffer(photo[:8], np.uint8).astype(np.float32)
    ids = (["abcdefghijklmnopqrstuvwxyz".find(x) + 1 for x in caption.lower()[:4]] + [0] * 4)[:4]
    vector = (0, 0) if pixels.max() % 30 != 0 else (sum(ids), 1)
    return int((pixels @ WEIGHT)[0] + 10 * vector[0] + vector[1]) % 3


@pytest.mark.parametrize("on", ["process", pytest.param("ray", marks=pytest.mark.deep)])
def test_a_split_model_answers_as_the_whole_does_and_its_cut_crosses_the_link(
    split_bundle: Bundle, on: Literal["ray", "process"]
) -> None:
    part = make_slice(requests=80, multiplier=2, members={"phones": 1, "bases": 1, "cloud": 1})
    items = make_items(80, seed=5)
    done = execute(split_bundle, part, items, make_prediction(split_bundle, part), on=on)
    assert done.result.requests.answered == 80
    assert done.result.requests.wrong == 0
    for entry in done.log:
        assert entry.answers["answer"]["verdict"].tolist() == [by_hand(items[entry.item])]  # type: ignore[union-attr]
    by_name = {s.name: s for s in done.result.stages}
    assert by_name["vision[..middle]"].n == by_name["vision[middle..]"].n == 80
    # 32 bytes at 1 MB/s and 12.5 MB/s are nothing; 5 ms of delay are not.
    assert by_name["vision[..middle] -> vision[middle..]"].service_measured.p50_ms > 4
    assert 0 < by_name["tokens"].n < 80


def test_every_host_refuses_a_model_that_was_changed(split_bundle: Bundle) -> None:
    from specs.errors import InputError

    (model, _) = sorted(split_bundle.folder.rglob("model.onnx"))
    model.write_bytes(model.read_bytes() + b"\0")
    part = make_slice(requests=1)
    with pytest.raises(InputError, match="changed"):
        execute(split_bundle, part, make_items(1), make_prediction(split_bundle, part), on="process")
