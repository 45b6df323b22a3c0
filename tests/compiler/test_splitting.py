"""Finding cuts: the best closed sets of a model's graph, and parts that compute together what the whole does."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from compiler.build import build
from compiler.cut import extract
from compiler.given import Given
from compiler.job import job
from compiler.model import prepare, source_digest
from compiler.splitting.cuts import find_cuts
from compiler.splitting.hull import hull
from compiler.splitting.operators import Operators, Tensor, operators_of, size_of
from compiler.splitting.timing import measured_cuts
from compiler.store import Store
from runtime.executors import open_executor
from specs.artefact import ModelBackend, Segment
from specs.tensors import TensorType
from tests.compiler.models import Array, cnn, model, pixels, save


def random_operators(draw: random.Random, most: int = 9) -> Operators:
    """A DAG of up to `most` operators with one or two outputs each; now and then a tensor that no message carries."""
    n = draw.randint(2, most)
    tensors: list[tuple[str, int, int]] = [("in0", -1, 0)] + ([("in1", -1, 0)] if draw.random() < 0.3 else [])
    takes: list[int] = []
    for i in range(n):
        near = range(max(0, len(tensors) - draw.choice([1, 2, 3, 99])), len(tensors))
        taken = draw.sample(near, min(len(near), draw.choice([1, 1, 2, 3])))
        for k in taken:
            tensors[k] = (tensors[k][0], tensors[k][1], tensors[k][2] | 1 << i)
        takes.append(sum({1 << tensors[k][1] for k in taken if tensors[k][1] >= 0}))
        tensors += [(f"t{i}_{k}", i, 0) for k in range(draw.choice([1, 1, 1, 2]))]
    live = {p for _, p, readers in tensors if readers}
    # Every operator is of use: the last tensor of one that none reads is an output of the model.
    last = {p: name for name, p, _ in tensors if p not in live}
    ends = [
        (name, p, readers or (1 << n if last.get(p) == name or draw.random() < 0.1 else 0))
        for name, p, readers in tensors
        if p >= 0 or readers
    ]
    made = [
        Tensor(name, p, r, None if p >= 0 and r != 1 << n and draw.random() < 0.1 else TensorType("u8", (size,)))
        for (name, p, r), size in zip(ends, (100 * draw.randint(1, 60) for _ in ends), strict=True)
    ]
    return Operators(tuple(f"t{i}_0" for i in range(n)), tuple(takes), tuple(made))


def closed_sets(operators: Operators) -> list[int]:
    return [
        s
        for s in range(operators.all + 1)
        if all(not (s >> i & 1) or not (takes & ~s) for i, takes in enumerate(operators.takes))
    ]


def test_the_hull_holds_the_best_closed_set_for_any_prices_of_work_and_bytes() -> None:
    wide = inner = 0
    for seed in range(150):
        draw = random.Random(seed)
        operators = random_operators(draw)
        work = [draw.choice([1, 50, 400, 3000]) for _ in operators.names]
        found = hull(operators, work)
        every = [(s, sum(w for i, w in enumerate(work) if s >> i & 1), size_of(operators.crossing(s)))
                 for s in closed_sets(operators)]  # fmt: skip
        for _ in range(12):
            price, per_byte = draw.uniform(-3, 3), draw.uniform(0.01, 3)
            best = min(price * w + per_byte * b for _, w, b in every if b is not None)
            assert min(price * p.work + per_byte * p.bytes for p in found) == pytest.approx(best)
        for a, b in pairwise(found):
            assert a.closed & ~b.closed == 0
            assert a.work < b.work
        inner += len(found) - 2
        wide += sum(len(operators.crossing(p.closed)) > 1 for p in found[1:-1])
    assert inner > 50
    assert wide > 20


def test_cuts_are_nested_in_order_few_and_those_of_the_hull_come_first() -> None:
    for seed in range(60):
        draw = random.Random(f"cuts {seed}")
        operators = random_operators(draw, 14)
        seconds = [draw.choice([1, 5, 40]) * 1e-6 for _ in operators.names]
        some, every = (find_cuts(operators, seconds, most) for most in (2, 50))
        assert len(some) <= 2
        for cuts in (some, every):
            assert all(a.before < b.before for a, b in pairwise(cuts))
            assert all(cut.bytes == sum(t.size or 0 for t in cut.tensors.values()) for cut in cuts)
        points = {p.bytes for p in hull(operators, [round(s * 1e9) for s in seconds])[1:-1]}
        assert points <= {cut.bytes for cut in every}


def test_a_tensor_that_two_read_on_the_other_side_crosses_once() -> None:
    x = TensorType("u8", (7,))
    operators = Operators(
        ("a", "b", "c"),
        (0, 0b001, 0b001),
        (
            Tensor("in", -1, 0b001, x),
            Tensor("a", 0, 0b110, x),
            Tensor("b", 1, 0b1000, x),
            Tensor("c", 2, 0b1000, x),
        ),
    )
    assert [t.name for t in operators.crossing(0b001)] == ["a"]
    assert [t.name for t in operators.crossing(0b011)] == ["a", "b"]
    assert [t.name for t in operators.crossing(0b000)] == ["in"]


def residual() -> onnx.ModelProto:
    """`x` and what is made early are read late, so that cuts are wide and parts hand on what they were given."""
    rng = np.random.default_rng(3)

    def w(*shape: int) -> Array:
        return (rng.standard_normal(shape) / 3).astype(np.float32)

    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["k"]),
        helper.make_node("Tanh", ["k"], ["m"]),
        helper.make_node("Add", ["m", "r"], ["s"]),
        helper.make_node("MatMul", ["s", "c"], ["y"]),
        helper.make_node("Softmax", ["y"], ["p"]),
        helper.make_node("ReduceMax", ["s"], ["q"], axes=[1], keepdims=1),
        helper.make_node("Add", ["y", "x"], ["z"]),
    ]
    outputs = {"p": [1, 8], "q": [1, 1], "z": [1, 8]}
    return model(nodes, {"x": [1, 8]}, outputs, {"a": w(8, 8), "b": w(8, 8), "c": w(8, 8)})


@pytest.mark.parametrize(
    ("backend", "cuts"),
    [
        ("onnxruntime", [("m", "r", "x")]),
        ("onnxruntime", [("r", "x"), ("y", "x", "q")]),
        ("tvm", [("r", "x"), ("y", "x", "q")]),
    ],
)
def test_parts_with_several_tensors_between_them_compose_bit_for_bit(
    backend: ModelBackend, cuts: list[tuple[str, ...]], tmp_path: Path
) -> None:
    """Also where a part hands on a tensor that it was given, and where an output is made before the last part."""
    file, store = save(residual(), tmp_path / "m.onnx"), Store(tmp_path / "store")
    x = np.random.default_rng(0).standard_normal((1, 8)).astype(np.float32)
    whole = open_executor(build(job(file, backend), store), 1).run({"x": x})
    values = {"x": x}
    for begin, end in pairwise([(), *cuts, ()]):
        part = job(file, backend, segment=Segment(begin=begin, end=end))
        values = open_executor(build(part, store), 1).run(values)
    assert set(values) == set(whole)
    for name, expected in whole.items():
        np.testing.assert_array_equal(values[name], expected)


def test_what_is_found_in_a_real_model_can_be_cut_out_and_composes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    prepared = prepare(cnn(rng), {}, "m.onnx")
    operators = operators_of(prepared, "m.onnx")
    x = pixels(rng)
    cuts = find_cuts(operators, [1e-5] * len(operators.names), 6)
    assert len(cuts) >= 3
    store, file = Store(tmp_path / "store"), save(cnn(np.random.default_rng(1)), tmp_path / "m.onnx")
    whole = open_executor(build(job(file, "onnxruntime"), store), 1).run(x)
    values = dict(x)
    for begin, end in pairwise([(), *(tuple(cut.tensors) for cut in cuts), ()]):
        assert extract(prepared, Segment(begin=begin, end=end), "m.onnx").graph.node
        part = job(file, "onnxruntime", segment=Segment(begin=begin, end=end))
        values = open_executor(build(part, store), 1).run(values)
    for name, expected in whole.items():
        np.testing.assert_array_equal(values[name], expected)


def test_the_share_of_work_before_a_cut_is_measured(tmp_path: Path) -> None:
    """Nearly all of it lies behind the first of these two layers."""
    rng = np.random.default_rng(2)
    weights = {"a": rng.standard_normal((2000, 8)).astype(np.float32)}
    weights |= {"b": rng.standard_normal((8, 4000)).astype(np.float32)}
    weights |= {"c": rng.standard_normal((4000, 2000)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", [i, w], [o]) for i, w, o in (("x", "a", "h"), ("h", "b", "k"), ("k", "c", "y"))]
    file = save(model(nodes, {"x": [1, 2000]}, {"y": [1, 2000]}, weights), tmp_path / "m.onnx")
    samples = [{"x": rng.standard_normal((1, 2000)).astype(np.float32)}]
    cuts = measured_cuts(Given("m.onnx", file, source_digest(file)), samples, 8)
    first = cuts[0]
    assert list(first.tensors) == ["h"]
    assert first.bytes == 32
    assert 0 < first.before < 0.3
