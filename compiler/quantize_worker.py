"""The child that quantizes: simplifies the model, runs it on the samples, and writes it with eight bits."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import numpy_helper, version_converter

from compiler.batch_norm import fold_batch_norm
from compiler.buckets import in_buckets
from compiler.child import serve
from compiler.model import load_model, prepare
from compiler.quantizable import Quantizable, quantizable
from compiler.samples import Sample, load_samples
from compiler.schedules.short_sums import LARGEST, met
from specs.artefact import Buckets
from specs.errors import InputError, Issue, Place

_OPSET: Final = 17
"""Scales by channel need 13; 17 is what the newest of our importers' tests have."""
_OPSET_NEEDED: Final = 13
_STEPS: Final = 64
"""Of a weight either side of zero: seven bits."""
_LEAST: Final = 1.001
"""By which a range is widened: so that it ends, whatever rounding does."""
Array = np.ndarray[Any, Any]


def handle(request: dict[str, Any]) -> dict[str, Any]:
    name, file = str(request["name"]), Path(request["file"])
    buckets = None if request["buckets"] is None else Buckets.model_validate(request["buckets"])
    simple = simplified(load_model(Path(request["model"])), name, buckets)
    chosen = quantizable(simple.graph)
    if not chosen.products:
        why = f": {next(iter(chosen.floats.values()))}" if chosen.floats else ""
        message = f"{name}: no convolution and no product that could be computed with integers{why}"
        raise InputError(Issue(message, Place(name), "leave the variant out"))
    _quantize(simple, chosen, load_samples(Path(request["samples"])), file)
    model = onnx.load(str(file))
    keep_floats(model.graph, {*chosen.products, *chosen.between})
    onnx.save(model, str(file))
    load_model(file)  # read with the same care as any file
    return {"integers": list(chosen.products), "floats": dict(chosen.floats)}


def simplified(model: onnx.ModelProto, name: str, buckets: Buckets | None = None) -> onnx.ModelProto:
    """The model with static shapes but for a dimension with `buckets`, normalisations in its weights, a name for every
    node, and scales by channel allowed by its opset. Raises InputError where its opset cannot be raised."""
    found = prepare(model, {}, name) if buckets is None else in_buckets(model, buckets, name).open
    opset = next(o.version for o in found.opset_import if o.domain in ("", "ai.onnx"))
    folded = onnx.ModelProto()
    folded.CopyFrom(found)
    folded.graph.CopyFrom(fold_batch_norm(found.graph))
    if opset < _OPSET_NEEDED:
        try:
            folded = version_converter.convert_version(folded, _OPSET)
        except Exception as error:  # a RuntimeError of its C++ code, or what Python's adapters raise
            first = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
            message = f"{name}: opset {opset} cannot be raised to {_OPSET}: {first}"
            raise InputError(Issue(message, Place(name), f"export it with opset {_OPSET_NEEDED} or later")) from error
    taken: set[str] = set()
    for index, node in enumerate(folded.graph.node):
        node.name = node.name if node.name and node.name not in taken else f"{node.op_type}_{index}"
        taken.add(node.name)
    used = {value for node in folded.graph.node for value in node.input}
    kept = [tensor for tensor in folded.graph.initializer if tensor.name in used]
    del folded.graph.initializer[:]
    folded.graph.initializer.extend(kept)
    return folded


def _quantize(model: onnx.ModelProto, chosen: Quantizable, samples: Sequence[Sample], file: Path) -> None:
    """Write `model` with QuantizeLinear and DequantizeLinear around what was chosen.

    Weights are signed, symmetric, a scale for each output channel; activations are unsigned, a scale for each tensor,
    from the smallest and largest value seen. Weights use 7 of their 8 bits: then two products of them fit 16 bits, and
    every instruction set gives the same result. With 8 bits those of AVX2 would saturate, and the accuracy that was
    measured would not be that of another machine. Where four would not fit (`short_sums`), a channel's step is larger.
    """
    import onnxruntime
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(samples)

        def get_next(self) -> Sample | None:
            return next(self._left, None)

    onnxruntime.set_default_logger_severity(3)
    logging.disable(logging.WARNING)
    names = [*chosen.products, *chosen.between]
    kinds = sorted({node.op_type for node in model.graph.node if node.name in names})
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder, contextlib.chdir(folder):
        quantization.quantize_static(
            model,
            str(file),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=names,
            op_types_to_quantize=kinds,
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
                "MatMulConstBOnly": True,
                "TensorQuantOverrides": _ranges(model.graph, chosen.products),
            },
        )


def _ranges(graph: onnx.GraphProto, products: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """By name, weights of which some channel's range must be wider than its values are, and every channel's range."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    found: dict[str, list[dict[str, Any]]] = {}
    for node in graph.node:
        if node.name not in products or uses[node.input[1]] > 1:
            continue
        values = numpy_helper.to_array(tensors[node.input[1]]).astype(np.float32)
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        axis = 0 if node.op_type == "Conv" or transposed else 1
        narrow = np.abs(values).max(tuple(i for i in range(values.ndim) if i != axis))
        wide = fitting_ranges(np.moveaxis(values, axis, -1).reshape(values.shape[1 - axis], -1, values.shape[axis]))
        if (wide > narrow).any():
            found[node.input[1]] = [{"axis": axis, "rmin": -each, "rmax": each} for each in wide]
    return found


def fitting_ranges(weights: Array) -> Array:
    """float32 [K, ..., N] -> [N]: the smallest range of each of N channels, their largest magnitude or beyond, in which
    weights of 64 steps either side can be summed by fours along K in 16 bits."""
    ranges = np.abs(weights).max(tuple(range(weights.ndim - 1)))
    while True:
        steps = (ranges.astype(np.float64) / _STEPS).astype(np.float32)
        rounded = np.rint(weights / np.where(steps > 0, steps, np.float32(1))).astype(np.int32)
        sums = met(rounded.reshape(weights.shape[0], -1)).max((0, 1)).reshape(-1, weights.shape[-1]).max(0)
        if (sums <= LARGEST).all():
            return ranges
        grown = (ranges * np.maximum(sums / LARGEST, _LEAST)).astype(np.float32)
        grown = np.maximum(grown, np.nextafter(ranges, np.float32(np.inf)))  # the tiniest would be rounded back
        ranges = np.where(sums > LARGEST, grown, ranges)


def keep_floats(graph: onnx.GraphProto, quantized: Collection[str]) -> None:
    """Let nodes that are not `quantized` read what stood before rounding, where it is in float32 anyhow.

    The quantizer has every reader take the rounded values, residual sums and normalisations among them, which lose
    precision for nothing. What a quantized node wrote stays rounded: it only is there as bytes.
    """
    made = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.name in quantized or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for index, name in enumerate(node.input):
            after = made.get(name)
            rounded = made.get(after.input[0]) if after is not None and after.op_type == "DequantizeLinear" else None
            if rounded is None or rounded.op_type != "QuantizeLinear":
                continue
            source = made.get(rounded.input[0])
            if source is None or source.name not in quantized:
                node.input[index] = rounded.input[0]
    _drop_unread(graph)


def _drop_unread(graph: onnx.GraphProto) -> None:
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    del graph.node[:]
    graph.node.extend(kept[::-1])
    tensors = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(tensors)


if __name__ == "__main__":
    serve(handle)
