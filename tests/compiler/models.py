"""Small ONNX models made for the tests, and what they compute here and in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm.runtime.vm import VirtualMachine

from compiler.host import host
from compiler.importer import import_model
from compiler.lower import lower
from compiler.model import prepare
from compiler.schedules.machine import machine_of

Array = np.ndarray[Any, Any]


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str | None]],
    weights: Mapping[str, Array] | None = None,
    types: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model of float32 values, but for what `types` says."""
    kinds = types or {}

    def value(name: str, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)

    graph = helper.make_graph(
        list(nodes),
        "test",
        [value(name, list(shape)) for name, shape in inputs.items()],
        [value(*item) for item in outputs.items()],
        [numpy_helper.from_array(np.ascontiguousarray(w), name) for name, w in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def save(proto: onnx.ModelProto, file: Path) -> Path:
    onnx.save(proto, str(file))
    return file


def reference(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """What ONNX Runtime computes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return list(session.run(None, dict(inputs)))


def ours(
    proto: onnx.ModelProto, inputs: Mapping[str, Array], target: Mapping[str, Any] | None = None, threads: int = 1
) -> tuple[list[Array], tuple[str, ...]]:
    """What our lowering computes, in this process, and the functions that no template covered."""
    prepared = prepare(proto, {}, "test.onnx")
    described = target or host().target
    lowered = lower(import_model(prepared, "test.onnx", machine_of(described, threads).widest), described, threads)
    machine = VirtualMachine(lowered.executable, tvm.cpu())
    result = machine["main"](*(tvm.runtime.tensor(inputs[v.name]) for v in prepared.graph.input))
    tensors = [result] if hasattr(result, "numpy") else list(result)
    return [t.numpy() for t in tensors], lowered.fallback


def assert_same(proto: onnx.ModelProto, inputs: Mapping[str, Array], tolerance: float = 2e-5, **options: Any) -> None:
    """Both compute the same up to `tolerance` of each output's largest value; integers exactly."""
    found, _ = ours(proto, inputs, **options)
    for mine, theirs in zip(found, reference(proto, inputs), strict=True):
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        if theirs.dtype.kind == "f":
            scale = max(float(np.abs(theirs).max(initial=0)), 1e-3)
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * scale)
        else:
            np.testing.assert_array_equal(mine, theirs)


def cnn(rng: np.random.Generator, classes: int = 5) -> onnx.ModelProto:
    """A small image model of the usual operators, from u8 pixels to a classifier's softmax."""

    def w(*shape: int) -> Array:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    weights: dict[str, Array] = {
        "scale": np.array(1 / 255, np.float32),
        **{"w1": w(16, 3, 3, 3), "b1": w(16, 1)[:, 0], "w2": w(32, 16, 3, 3), "b2": w(32, 1)[:, 0]},
        **{"w3": w(32, 32, 1, 1), "w4": w(20, 32, 3, 3), "w5": w(classes, 52), "b5": w(classes, 1)[:, 0]},
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "scale"], ["x"]),
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p2", "w3"], ["c3"]),
        helper.make_node("Add", ["c3", "p2"], ["a3"]),
        helper.make_node("Conv", ["a3", "w4"], ["c4"], pads=[1] * 4),
        helper.make_node("Concat", ["a3", "c4"], ["k"], axis=1),
        helper.make_node("GlobalAveragePool", ["k"], ["g"]),
        helper.make_node("Flatten", ["g"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w5", "b5"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["score"]),
    ]
    types = {"pixels": TensorProto.UINT8}
    return model(nodes, {"pixels": ["N", 3, 32, 32]}, {"score": ["N", classes]}, weights, types)


def pixels(rng: np.random.Generator) -> dict[str, Array]:
    return {"pixels": rng.integers(0, 256, (1, 3, 32, 32), np.uint8)}
