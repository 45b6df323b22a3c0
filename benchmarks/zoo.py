"""The models that are timed: the light ones of the package onnx with drawn weights, MobileNetV2, MiniLM, the example's.

The light models come without weights (constants in their place). Drawn ones of the right spread keep activations alive
through the whole net, so that outputs can be compared; a classifier's are scaled to logits of spread one.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "blog_upload" / "models"
LIGHT = {
    **{name: name for name in ("resnet50", "squeezenet", "shufflenet", "densenet121", "inception_v1", "inception_v2")},
    **{"vgg19": "vgg19", "alexnet": "bvlc_alexnet", "zfnet": "zfnet512"},
}
TOKENS = (16, 64, 128)


def zoo(folder: Path) -> Iterator[tuple[str, Callable[[], Path]]]:
    """(name, what writes the model into `folder` and returns its file), for every model."""
    for name, stored in LIGHT.items():
        yield name, partial(_write, partial(light, stored), folder / f"{name}.onnx")
    yield "mobilenetv2", partial(_write, mobilenet_v2, folder / "mobilenetv2.onnx")
    for tokens in TOKENS:
        yield f"minilm_{tokens}", partial(_write, partial(minilm, tokens), folder / f"minilm_{tokens}.onnx")
    for file in sorted(EXAMPLE.glob("*.onnx")):
        if file.stem != "language":  # MiniLM at 16 tokens
            yield file.stem, partial(Path, file)


def _write(make: Callable[[], onnx.ModelProto], file: Path) -> Path:
    if not file.is_file():
        onnx.save(make(), str(file))
    return file


def light(name: str) -> onnx.ModelProto:
    """A light model of the package onnx with drawn weights."""
    found = importlib.util.find_spec("onnx")
    assert found is not None
    assert found.origin is not None
    data = Path(found.origin).parent / "backend" / "test" / "data" / "light"
    model = onnx.load(str(data / f"light_{name}.onnx"))
    graph = model.graph
    shapes = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    uses = {value: (node, at) for node in reversed(graph.node) for at, value in enumerate(node.input)}
    rng = np.random.default_rng(0)
    nodes, initializers = [], []
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            drawn = _draw(rng, *_role(uses, node.output[0]), [int(d) for d in shapes[node.input[0]]])
            initializers.append(numpy_helper.from_array(drawn, node.output[0]))
        else:
            nodes.append(node)
    made = {node.output[0] for node in graph.node if node.op_type == "ConstantOfShape"}
    read = {value for node in nodes for value in node.input}
    initializers += [i for i in graph.initializer if i.name in read and i.name not in made]
    inputs = [i for i in graph.input if i.name in read and i.name not in shapes]
    model = helper.make_model(
        helper.make_graph(nodes, name, inputs, list(graph.output), initializers),
        opset_imports=list(model.opset_import),
        ir_version=8,
    )
    return _calm(model)


def _role(uses: dict[str, Any], value: str) -> tuple[str, int]:
    """(operator, position) in which a constant serves; looked up through Unsqueeze and Reshape."""
    node, at = uses[value]
    while node.op_type in ("Unsqueeze", "Reshape"):
        node, at = uses[node.output[0]]
    return node.op_type, at


def _draw(rng: np.random.Generator, operator: str, at: int, shape: list[int]) -> np.ndarray[Any, Any]:
    normal = rng.standard_normal(shape, np.float32)
    if operator in ("Conv", "Gemm", "MatMul") and len(shape) > 1:
        return normal * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    around_one = (operator == "BatchNormalization" and at in (1, 4)) or operator == "Mul"
    return np.abs(1 + normal / 10) if around_one else normal / np.float32(10)


def _calm(model: onnx.ModelProto) -> onnx.ModelProto:
    """Scale the last layer with weights so that what it gives has a spread of one."""
    import onnxruntime

    weights = {i.name: i for i in model.graph.initializer}
    last = next(n for n in reversed(model.graph.node) if n.op_type in ("Conv", "Gemm", "MatMul"))
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(helper.make_empty_tensor_value_info(last.output[0]))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options)
    given = session.get_inputs()[0]
    sample = np.random.default_rng(1).standard_normal(given.shape).astype(np.float32)
    spread = float(session.run([last.output[0]], {given.name: sample})[0].std())
    reshaped = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Reshape"}
    for name in (reshaped.get(value, value) for value in last.input[1:]):
        scaled = numpy_helper.to_array(weights[name]) / np.float32(spread)
        weights[name].CopyFrom(numpy_helper.from_array(scaled, name))
    return model


def minilm(tokens: int) -> onnx.ModelProto:
    """The example's language model for captions of `tokens`."""
    spec = importlib.util.spec_from_file_location("make_language", EXAMPLE / "make_language.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    weights = module.load_file(module.package_folder() / "model" / "model.safetensors")
    built: onnx.ModelProto = module.build(weights, tokens)
    return built


def mobilenet_v2() -> onnx.ModelProto:
    """MobileNetV2 at width 1 (Sandler et al. 2018, table 2), batch normalisation already in the weights."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, np.ndarray[Any, Any]] = {}

    def convolve(value: str, into: int, out: int, kernel: int, stride: int, groups: int, active: bool) -> str:
        name = f"c{len(nodes)}"
        gain = 2 if active else 1
        shape = (out, into // groups, kernel, kernel)
        weights[f"{name}.w"] = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(gain / np.prod(shape[1:])))
        weights[f"{name}.b"] = rng.standard_normal(out, np.float32) / np.float32(10)
        inputs = [value, f"{name}.w", f"{name}.b"]
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", inputs, [name], strides=[stride] * 2, pads=pads, group=groups))
        if active:
            nodes.append(helper.make_node("Clip", [name, "zero", "six"], [f"{name}.r"]))
        return f"{name}.r" if active else name

    value, channels = convolve("x", 3, 32, 3, 2, 1, True), 32
    blocks = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expand, out, count, first in blocks:
        for i in range(count):
            wide, stride, before = channels * expand, first if i == 0 else 1, value
            value = value if expand == 1 else convolve(value, channels, wide, 1, 1, 1, True)
            value = convolve(value, wide, wide, 3, stride, wide, True)
            value = convolve(value, wide, out, 1, 1, 1, False)
            if stride == 1 and channels == out:
                nodes.append(helper.make_node("Add", [value, before], [f"{value}.a"]))
                value = f"{value}.a"
            channels = out
    value = convolve(value, 320, 1280, 1, 1, 1, True)
    weights |= {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)}
    weights["fc.w"] = rng.standard_normal((1000, 1280), np.float32) / np.float32(np.sqrt(1280))
    weights["fc.b"] = rng.standard_normal(1000, np.float32) / np.float32(10)
    nodes += [
        helper.make_node("GlobalAveragePool", [value], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "fc.w", "fc.b"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mobilenetv2",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1000])],
        [numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return _calm(model)


def work(model: onnx.ModelProto) -> tuple[int, int]:
    """(floating-point operations of convolutions and products, bytes of weights) of one run of a static model."""
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    values = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    shapes = {v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in values}
    shapes |= {i.name: list(i.dims) for i in model.graph.initializer}
    operations = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            weight = shapes[node.input[1]]
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            depth = weight[-2] if node.op_type == "MatMul" else weight[1 if transposed else 0]
            depth = int(np.prod(weight[1:])) if node.op_type == "Conv" else depth
            operations += 2 * depth * int(np.prod(shapes[node.output[0]]))
    gathered = {n.input[0] for n in model.graph.node if n.op_type == "Gather"}
    size = sum(4 * int(np.prod(i.dims)) for i in model.graph.initializer if i.name not in gathered)
    return operations, size
