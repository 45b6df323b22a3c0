"""What the innermost loops of our templates are made of, for each instruction set: read from the code that LLVM writes.

`python -m benchmarks.registers` compiles a small model a template for each target (nothing runs, so that any machine
shows it for all) and prints, of the innermost loop with the most vector arithmetic: the widest registers, vector
multiply-adds (of a forest: comparisons), and how many times a vector or another register is kept on the stack.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler.importer import import_model
from compiler.lower import lower
from compiler.model import prepare
from compiler.schedules.machine import machine_of
from compiler.targets import find_target

TARGETS: Final = ("x86-64-v3", "x86-64-v4", "cortex-a76", "neoverse-n1", "neoverse-v1")
WIDEST: Final = {"x86-64-v2": "xmm", "x86-64-v3": "ymm", "x86-64-v4": "zmm"}
"""Vector registers by target; those of aarch64 are `v`."""

_LABEL = re.compile(r"^([.\w$]+):")
_JUMP = re.compile(r"^(?:j\w+|b|b\.\w+|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.L\w+)$")
_VECTOR = {"xmm": re.compile(r"%xmm\d"), "ymm": re.compile(r"%ymm\d"), "zmm": re.compile(r"%zmm\d")}
_V = re.compile(r"\bv\d+\.(?:4s|2d|8h|16b)")
_SAVED_V = re.compile(r"%[xyz]mm\d|\b[qdsv]\d+\b")
_MULTIPLY_ADD = re.compile(r"^(vfn?m(add|sub)\d+ps|mulps|fml[as]|vpdpbusd|v?pmaddubsw|usdot)\b")
_COMPARE = re.compile(r"^(v?cmp\w*ps|fcm\w+)\b")


@dataclass(frozen=True, slots=True)
class Loop:
    """An innermost loop: its vector instructions that do the work, all its instructions, and accesses to the stack."""

    function: str
    arithmetic: int
    instructions: int
    vectors_on_stack: int
    others_on_stack: int


def hot_loop(code: str, name: str, registers: str) -> Loop:
    """The innermost loop of functions whose name has `name` in it that has the most vector arithmetic.

    Raises ValueError where there is none.
    """
    work = _COMPARE if name == "forest" else _MULTIPLY_ADD
    found = [
        _measure(function, body, work, registers)
        for function, lines in _functions(code)
        if name in function
        for body in _innermost(lines)
    ]
    if not any(loop.arithmetic for loop in found):
        raise ValueError(f"no function {name!r} has an innermost loop with vectors in {registers}")
    return max(found, key=lambda loop: loop.arithmetic)


def _functions(code: str) -> Iterator[tuple[str, list[str]]]:
    """(name, its labels and instructions) of each function."""
    names = set(re.findall(r"^\s*\.type\s+([\w.$]+),[@%]function", code, re.MULTILINE))
    name, lines = "", list[str]()
    for raw in code.splitlines():
        line = re.split(r"\s(?:#|//)\s?", raw)[0].strip()
        if (label := _LABEL.match(line)) and label[1] in names:
            if name:
                yield name, lines
            name, lines = label[1], []
        elif name and line and (not line.startswith(".") or line.endswith(":")):
            lines.append(line)
    if name:
        yield name, lines


def _innermost(lines: Sequence[str]) -> Iterator[list[str]]:
    """The bodies of loops that hold no other: from a label to a jump back to it."""
    labels = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
    jumps = [(labels.get(jump[1], len(lines)), i) for i, line in enumerate(lines) if (jump := _JUMP.match(line))]
    loops = {(start, max(e for s, e in jumps if s == start)) for start, end in jumps if start <= end}
    for start, end in sorted(loops):
        if not any(start <= s and e <= end and (s, e) != (start, end) for s, e in loops):
            yield [line for line in lines[start : end + 1] if not line.endswith(":")]


def _measure(function: str, body: list[str], work: re.Pattern[str], registers: str) -> Loop:
    vector = _VECTOR.get(registers, _V)
    stack = [line for line in body if re.search(r"\(%rsp|\[sp\b", line)]
    return Loop(
        function=function,
        arithmetic=sum(1 for line in body if work.match(line) and vector.search(line)),
        instructions=len(body),
        vectors_on_stack=sum(1 for line in stack if _SAVED_V.search(line)),
        others_on_stack=sum(1 for line in stack if not _SAVED_V.search(line)),
    )


def assembly(model: onnx.ModelProto, target: Mapping[str, Any]) -> str:
    """The code of `model` for one thread of `target`, as LLVM writes it; without Winograd's algorithm."""
    prepared = prepare(model, {}, "registers")
    imported = import_model(prepared, "registers", machine_of(target, 1).widest)
    (code,) = lower(imported, target, 1, winograd=False).executable.mod.imports
    return str(code.inspect_source("asm"))


def _model(
    nodes: list[onnx.NodeProto], shapes: Mapping[str, Sequence[int]], weights: Mapping[str, np.ndarray[Any, Any]]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "registers",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _weights(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _convolution(kernel: int, channels: int, size: int, groups: int = 1) -> onnx.ModelProto:
    """With bias and activation."""
    weights = {"w": _weights(channels, channels // groups, kernel, kernel), "b": _weights(channels)}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[kernel // 2] * 4, group=groups)]
    nodes.append(helper.make_node("Relu", ["c"], ["y"]))
    return _model(nodes, {"x": (1, channels, size, size)}, weights)


def _product(rows: int, depth: int, columns: int) -> onnx.ModelProto:
    weights = {"w": _weights(depth, columns), "b": _weights(columns)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
    return _model(nodes, {"x": (1, rows, depth)}, weights)


def _attention(tokens: int, heads: int, width: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    shapes = {"q": (1, heads, tokens, width), "k": (1, heads, width, tokens), "v": (1, heads, tokens, width)}
    return _model(nodes, shapes, {})


def _forest(trees: int, depth: int, rows: int) -> onnx.ModelProto:
    """Complete trees that compare random features with random thresholds."""
    rng = np.random.default_rng(0)
    inner, count = 2**depth - 1, 2 ** (depth + 1) - 1
    own = np.arange(count)
    columns: dict[str, Any] = {
        "nodes_treeids": np.repeat(np.arange(trees), count),
        "nodes_nodeids": np.tile(own, trees),
        "nodes_featureids": rng.integers(0, 8, trees * count),
        "nodes_values": rng.standard_normal(trees * count),
        "nodes_truenodeids": np.tile(np.where(own < inner, 2 * own + 1, 0), trees),
        "nodes_falsenodeids": np.tile(np.where(own < inner, 2 * own + 2, 0), trees),
        "target_treeids": np.repeat(np.arange(trees), count - inner),
        "target_nodeids": np.tile(own[inner:], trees),
        "target_ids": np.zeros(trees * (count - inner), int),
        "target_weights": rng.standard_normal(trees * (count - inner)),
    }
    modes = (["BRANCH_LEQ"] * inner + ["LEAF"] * (count - inner)) * trees
    attributes = {name: values.tolist() for name, values in columns.items()} | {"nodes_modes": modes, "n_targets": 1}
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    model = _model([node], {"x": (rows, 8)}, {})
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, (rows, 1)))
    return model


CASES: Final[dict[str, tuple[Callable[[], onnx.ModelProto], str]]] = {
    "convolution 3x3": (lambda: _convolution(3, 64, 28), "conv2d"),
    "convolution 1x1": (lambda: _convolution(1, 128, 28), "conv2d"),
    "depthwise 3x3": (lambda: _convolution(3, 64, 28, 64), "conv2d"),
    "depthwise 5x5": (lambda: _convolution(5, 64, 28, 64), "conv2d"),
    "product by weights": (lambda: _product(128, 384, 384), "gemm_packed"),
    "product of one row": (lambda: _product(1, 1024, 1024), "gemm_packed"),
    "attention": (lambda: _attention(128, 12, 32), "gemm_batched"),
    "forest": (lambda: _forest(16, 4, 64), "forest"),
}
"""What makes a model, and a part of the name of the function to look at."""


def measure(case: str, target: str) -> Loop:
    """The hot loop of `case` for `target`. Raises ValueError where it uses no vectors."""
    make, function = CASES[case]
    return hot_loop(assembly(make(), find_target(target).tvm), function, WIDEST.get(target, "v"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    arguments = parser.parse_args()
    print("| target | loop | registers | vector arithmetic | instructions | vectors on the stack | others |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for target in arguments.targets:
        for case in arguments.cases:
            loop = measure(case, target)
            counts = (loop.arithmetic, loop.instructions, loop.vectors_on_stack, loop.others_on_stack)
            print(f"| {target} | {case} | {WIDEST.get(target, 'v')} | {' | '.join(map(str, counts))} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
