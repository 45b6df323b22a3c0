"""Quantized models: products of bytes are exact, and are what the instructions of each target compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tvm import relax
from tvm.runtime.vm import VirtualMachine

from compiler.importer import import_model
from compiler.integers import PRODUCT, use_integers
from compiler.lower import lower
from compiler.model import prepare
from compiler.schedules.dot import groups_a_step
from compiler.schedules.machine import machine_of
from compiler.schedules.short_sums import fit
from tests.compiler.models import Array, model, ours

_SLOW = settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
_FITTING = 32
"""Any four weights up to this can be added in 16 bits, times any bytes."""
_SIZES = st.sampled_from([1, 2, 3, 5, 8, 17, 33, 64, 100])
Nodes = list[onnx.NodeProto]


def _as_it_says(proto: onnx.ModelProto, inputs: dict[str, Array]) -> list[Array]:
    """What the graph means, operator by operator in float32: ONNX Runtime without optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return list(session.run(None, inputs))


def _products(proto: onnx.ModelProto, widest: int) -> int:
    graph = use_integers(prepare(proto, {}, "test.onnx").graph, widest)
    return sum(node.op_type == PRODUCT for node in graph.node)


class _Quantized:
    """A model under construction, in which every value has a scale of its own."""

    def __init__(self, seed: int, signed: bool = False, widest: int = 64) -> None:
        self.rng = np.random.default_rng(seed)
        self.kind = np.int8 if signed else np.uint8
        self.widest = widest
        self.nodes: Nodes = []
        self.weights: dict[str, Array] = {}

    def rounded(self, value: str, step: float, zero: int) -> str:
        """`value` through QuantizeLinear and DequantizeLinear."""
        self.weights |= {
            f"{value}.step": np.array(step, np.float32),
            f"{value}.zero": np.array(zero - 128 if self.kind == np.int8 else zero, self.kind),
        }
        scale = [f"{value}.step", f"{value}.zero"]
        self.nodes += [
            helper.make_node("QuantizeLinear", [value, *scale], [f"{value}.q"]),
            helper.make_node("DequantizeLinear", [f"{value}.q", *scale], [f"{value}.r"]),
        ]
        return f"{value}.r"

    def weight(self, name: str, shape: tuple[int, ...], axis: int) -> str:
        """Signed bytes, the most extreme ones among them, with a step for each output channel."""
        drawn = self.rng.integers(-self.widest, self.widest + 1, shape).clip(-128, 127)
        drawn.reshape(-1)[:2] = min(self.widest, 127)
        steps = (self.rng.uniform(0.5, 2, shape[axis]) / 64).astype(np.float32)
        self.weights |= {f"{name}.q": drawn.astype(np.int8), f"{name}.step": steps}
        self.weights[f"{name}.zero"] = np.zeros(shape[axis], np.int8)
        inputs = [f"{name}.q", f"{name}.step", f"{name}.zero"]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
        return name

    def bias(self, name: str, channels: int) -> str:
        self.weights[name] = self.rng.standard_normal(channels).astype(np.float32)
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def proto(self, shape: tuple[int, ...], output: str, rank: int) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["y"]))
        return model(self.nodes, {"x": shape}, {"y": [None] * rank}, self.weights)


def _assert_within(proto: onnx.ModelProto, x: Array, step: float, **options: Any) -> None:
    """Equal to what the graph says up to one quantization step, and nearly everywhere to rounding in float32."""
    (found,), _ = ours(proto, {"x": x}, **options)
    (expected,) = _as_it_says(proto, {"x": x})
    assert found.shape == expected.shape
    gap = np.abs(found - expected)
    assert gap.max(initial=0) <= 1.001 * step + 1e-5 * np.abs(expected).max(initial=0)
    assert (gap > 1e-4 * np.abs(expected).max(initial=0) + 1e-6).mean() <= 0.01


@st.composite
def _convolutions(draw: st.DrawFn) -> dict[str, int]:
    kernel = draw(st.sampled_from([1, 3, 5]))
    dilation = draw(st.sampled_from([1, 1, 2]))
    return {
        "input": draw(st.sampled_from([1, 3, 4, 5, 16, 24, 33])),
        "output": draw(st.sampled_from([1, 7, 16, 20, 48])),
        "height": draw(st.integers(dilation * (kernel - 1) + 1, 15)),
        "width": draw(st.integers(dilation * (kernel - 1) + 1, 29)),
        "kernel": kernel,
        "stride": draw(st.integers(1, 3)),
        "pad": draw(st.integers(0, kernel - 1)),
        "dilation": dilation,
        "zero": draw(st.sampled_from([0, 1, 113, 255])),
        "seed": draw(st.integers(0, 2**16)),
    }


@_SLOW
@given(
    case=_convolutions(), signed=st.booleans(), threads=st.sampled_from([1, 2]), widest=st.sampled_from([_FITTING, 64])
)
def test_a_convolution_of_bytes_equals_what_the_graph_says(
    case: dict[str, int], signed: bool, threads: int, widest: int
) -> None:
    """Any zero point, which is also what stands around the image; odd channels and tails among the shapes."""
    q = _Quantized(case["seed"], signed, widest)
    shape = (1, case["input"], case["height"], case["width"])
    x = q.rounded("x", 3 / 255, case["zero"])
    w = q.weight("w", (case["output"], case["input"], case["kernel"], case["kernel"]), 0)
    strides, pads, dilations = [case["stride"]] * 2, [case["pad"]] * 4, [case["dilation"]] * 2
    q.add("Conv", [x, w, q.bias("b", case["output"])], "c", strides=strides, pads=pads, dilations=dilations)
    q.add("Relu", ["c"], "r")
    proto = q.proto(shape, q.rounded("r", 0.25, 0), 4)
    assert _products(proto, 64) == 1
    _assert_within(proto, (q.rng.standard_normal(shape) * 2).astype(np.float32), 0.25, threads=threads)


@_SLOW
@given(
    rows=_SIZES,
    depth=_SIZES,
    columns=_SIZES,
    zero=st.sampled_from([0, 128, 255]),
    gemm=st.booleans(),
    threads=st.sampled_from([1, 2]),
    widest=st.sampled_from([_FITTING, 64]),
)
def test_a_matrix_product_of_bytes_equals_what_the_graph_says(
    rows: int, depth: int, columns: int, zero: int, gemm: bool, threads: int, widest: int
) -> None:
    q = _Quantized(rows * depth + columns, widest=widest)
    x = q.rounded("x", 3 / 255, zero)
    if gemm:
        q.add("Gemm", [x, q.weight("w", (columns, depth), 0), q.bias("b", columns)], "m", transB=1)
    else:
        q.add("MatMul", [x, q.weight("w", (depth, columns), 1)], "p")
        q.add("Add", ["p", q.bias("b", columns)], "m")
    proto = q.proto((rows, depth), q.add("Tanh", ["m"], "t"), 2)
    assert _products(proto, 64) == 1
    _assert_within(proto, q.rng.standard_normal((rows, depth)).astype(np.float32), 0.0, threads=threads)


def _residual(widest: int = 64) -> tuple[onnx.ModelProto, Array]:
    """A block of a residual net, with pooling: bytes between all of its layers."""
    q = _Quantized(7, widest=widest)
    x = q.rounded("x", 3 / 255, 100)
    q.add("Conv", [x, q.weight("w1", (20, 3, 3, 3), 0), q.bias("b1", 20)], "c1", pads=[1] * 4)
    first = q.rounded("c1", 0.05, 0)
    pooled = q.add("MaxPool", [first], "p", kernel_shape=[2, 2], strides=[2, 2])
    scale = ["c1.step", "c1.zero"]
    q.nodes.append(helper.make_node("QuantizeLinear", [pooled, *scale], ["p.q"]))
    q.nodes.append(helper.make_node("DequantizeLinear", ["p.q", *scale], ["p.r"]))
    q.add("Conv", ["p.r", q.weight("w2", (20, 20, 3, 3), 0), q.bias("b2", 20)], "c2", pads=[1] * 4)
    second = q.rounded("c2", 0.5, 120)
    q.add("Add", [second, "p.r"], "s")
    q.add("Relu", ["s"], "r")
    last = q.rounded("r", 0.4, 0)
    q.add("Conv", [last, q.weight("w3", (9, 20, 1, 1), 0)], "c3")
    q.add("GlobalAveragePool", ["c3"], "g")
    return q.proto((1, 3, 12, 14), "g", 4), q.rng.standard_normal((1, 3, 12, 14)).astype(np.float32)


@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3", "x86-64"])
def test_a_residual_block_equals_what_the_graph_says_for_each_instruction_set(cpu: str) -> None:
    """The last has no products of bytes that we use: it computes what the graph says in float32."""
    proto, x = _residual()
    target = {"kind": "llvm", "mcpu": cpu}
    assert _products(proto, machine_of(target, 1).widest) == (0 if cpu == "x86-64" else 3)
    (found,), fallback = ours(proto, {"x": x}, target=target)
    (expected,) = _as_it_says(proto, {"x": x})
    assert fallback == ()
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()


def _sums(data: Array, weights: Array, target: dict[str, Any]) -> Array:
    """What our code for `target` computes of bytes [M, K] * [K, N]: the sums themselves."""
    bb = relax.BlockBuilder()
    given = relax.Var("x", relax.TensorType(data.shape, "uint8"))
    with bb.function("main", [given]):
        with bb.dataflow():
            product = bb.emit(relax.op.matmul(given, relax.const(weights), out_dtype="int32"))
            result = bb.emit_output(product)
        bb.emit_func_output(result)
    lowered = lower(bb.get(), target, 1)
    assert lowered.fallback == ()
    found: Array = VirtualMachine(lowered.executable, tvm.cpu())["main"](tvm.runtime.tensor(data)).numpy()
    return found


@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3"])
@pytest.mark.parametrize("short", [True, False])
def test_sums_are_exact_at_the_edge_of_16_bits(cpu: str, short: bool) -> None:
    """Weights of one sign that sum up to 128 where four meet, or beyond: then they do not meet."""
    rng = np.random.default_rng(4)
    weights = np.zeros((40, 24), np.int8)
    weights[[0, 1]], weights[[10, 11, 14, 15]], weights[[18, 19]] = 64, 32, -64
    weights[[24, 25, 28, 29], 5] = [64, -64, 64, -64]
    weights[32:, 7] = rng.integers(-32, 33, 8)
    if not short:
        weights[[36, 37, 33]] = 64
    data = np.full((7, 40), 255, np.uint8)
    data[3], data[5] = rng.integers(0, 256, 40), 0
    target = {"kind": "llvm", "mcpu": cpu}
    assert fit(weights) == short
    assert groups_a_step(machine_of(target, 1), weights) == 1 + short
    np.testing.assert_array_equal(_sums(data, weights, target), data.astype(int) @ weights.astype(int))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(depth=st.integers(1, 33), columns=st.integers(1, 5), seed=st.integers(0, 2**16))
def test_weights_fit_exactly_where_no_four_that_meet_leave_16_bits(depth: int, columns: int, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(-64, 65, (depth, columns))
    full = np.zeros((-(-depth // 8) * 8, columns), int)
    full[:depth] = weights
    fours = [full[8 * step + np.array(four)] for step in range(len(full) // 8) for four in ((0, 1, 4, 5), (2, 3, 6, 7))]
    largest = max(max(255 * np.maximum(f, 0).sum(0).max(), 255 * np.maximum(-f, 0).sum(0).max()) for f in fours)
    assert fit(weights) == (largest <= 32767)


def test_weights_that_would_saturate_are_multiplied_in_float32() -> None:
    """Two products of 8 bits do not fit the 16 that AVX2 adds them in; VNNI adds them in 32."""
    proto, x = _residual(widest=127)
    avx2, vnni = (
        {"kind": "llvm", "mcpu": "x86-64-v3"},
        {"kind": "llvm", "mcpu": "x86-64-v4", "mattr": ["+avx512vnni"]},
    )
    assert _products(proto, machine_of(avx2, 1).widest) == 0
    assert _products(proto, machine_of(vnni, 1).widest) == 3
    (found,), _ = ours(proto, {"x": x}, target=avx2)
    (expected,) = _as_it_says(proto, {"x": x})
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("target", "instruction"),
    [
        ({"kind": "llvm", "mcpu": "x86-64-v3"}, "vpmaddubsw"),
        ({"kind": "llvm", "mcpu": "x86-64-v4"}, "vpmaddubsw"),
        ({"kind": "llvm", "mcpu": "x86-64-v4", "mattr": ["+avx512vnni"]}, "vpdpbusd"),
        ({"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "neoverse-v1"}, "usdot"),
    ],
)
def test_the_code_holds_the_instructions_for_bytes(target: dict[str, Any], instruction: str) -> None:
    proto, _ = _residual()
    machine = machine_of(target, 1)
    lowered = lower(import_model(prepare(proto, {}, "test.onnx"), "test.onnx", machine.widest), target, 1)
    assert lowered.fallback == ()
    code = "".join(module.inspect_source("asm") for module in _with_code(lowered.executable.mod))
    assert instruction in code.split()


def _with_code(module: Any) -> list[Any]:
    inner = [found for each in module.imports for found in _with_code(each)]
    return [*([module] if module.kind == "llvm" else []), *inner]


def test_operators_that_take_integers_equal_what_the_runtime_computes() -> None:
    """QLinearConv and QLinearMatMul, as other quantizers write them."""
    rng = np.random.default_rng(3)
    weights: dict[str, Array] = {
        "s": np.array(0.02, np.float32),
        "z": np.array(7, np.uint8),
        "w": rng.integers(-64, 65, (10, 3, 3, 3)).astype(np.int8),
        "ws": rng.uniform(0.01, 0.03, 10).astype(np.float32),
        "wz": np.zeros(10, np.int8),
        "b": rng.integers(-500, 500, 10).astype(np.int32),
        "ys": np.array(0.05, np.float32),
        "yz": np.array(30, np.uint8),
        "v": rng.integers(-64, 65, (12, 5)).astype(np.int8),
        "vs": np.array(0.02, np.float32),
        "vz": np.array(0, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "ys", "yz", "b"], ["c"], pads=[1] * 4),
        helper.make_node("QLinearMatMul", ["c", "ys", "yz", "v", "vs", "vz", "ys", "yz"], ["m"]),
    ]
    x = rng.standard_normal((1, 3, 6, 12)).astype(np.float32)
    proto = model(nodes, {"x": x.shape}, {"m": [1, 10, 6, 5]}, weights, {"m": TensorProto.UINT8})
    assert _products(proto, 64) == 2
    (found,), _ = ours(proto, {"x": x})
    (expected,) = _as_it_says(proto, {"x": x})
    assert found.dtype == np.uint8
    gap = np.abs(found.astype(int) - expected.astype(int))
    assert gap.max() <= 1
    assert (gap > 0).mean() < 0.01
