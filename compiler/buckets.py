"""A model with a named dimension, made one of static shapes for each of the sizes that it is compiled for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import shape_inference

from compiler.model import prepare
from compiler.signature import check_static, signature_of
from specs.artefact import Buckets, ModelSignature
from specs.errors import InputError, Issue, Place
from specs.tensors import TensorType


@dataclass(frozen=True)
class Bucketed:
    """`models` by size, prepared; `open` is the model with one batch and the dimension left open.

    In `signature` that dimension has its name wherever it is.
    """

    buckets: Buckets
    models: Mapping[int, onnx.ModelProto]
    open: onnx.ModelProto
    signature: ModelSignature


def in_buckets(model: onnx.ModelProto, buckets: Buckets, file: str) -> Bucketed:
    """Raises InputError where the model has no such dimension or another one without a size, its shapes do not fit, or
    an output is as long as something else that depends on the dimension (twice it, say)."""
    models = {size: prepare(model, {buckets.name: size}, file) for size in buckets.sizes}
    known = dict(models)
    if len(known) == 1:  # which axes follow the dimension is seen from two sizes
        (only,) = known
        other = only - 1 if only > 1 else 2
        known[other] = prepare(model, {buckets.name: other}, file)
    signatures = {size: signature_of(made, file) for size, made in known.items()}
    for signature in signatures.values():
        check_static(signature, file)
    first = next(iter(signatures.values()))
    signature = ModelSignature(
        inputs={
            key: _named(buckets, key, {n: s.inputs[key] for n, s in signatures.items()}, file) for key in first.inputs
        },
        outputs={
            key: _named(buckets, key, {n: s.outputs[key] for n, s in signatures.items()}, file) for key in first.outputs
        },
    )
    if not any(buckets.name in kind.shape for kind in signature.inputs.values()):
        raise InputError(
            Issue(f"no input has a dimension {buckets.name!r}", Place(file), "name one of the model's own")
        )
    return Bucketed(
        buckets, models, _opened(models[buckets.sizes[-1]], model, signature, buckets.name, file), signature
    )


def _named(buckets: Buckets, key: str, types: Mapping[int, TensorType], file: str) -> TensorType:
    """The type of a value whose types at some sizes of the dimension are known."""
    first = next(iter(types.values()))
    shape: list[int | str] = []
    for axis, size in enumerate(first.shape):
        found = {n: kind.shape[axis] for n, kind in types.items()}
        if all(found[n] == n for n in found):
            shape.append(buckets.name)
        elif len(set(found.values())) == 1:
            shape.append(size)
        else:
            said = ", ".join(f"{found[n]} at {n}" for n in sorted(found))
            message = f"{key!r} has an axis that is neither of a fixed size nor {buckets.name!r} itself: {said}"
            raise InputError(Issue(message, Place(file), "reduce it in the model, or export it with fixed sizes"))
    return TensorType(first.dtype, tuple(shape))


def _opened(
    static: onnx.ModelProto, model: onnx.ModelProto, signature: ModelSignature, name: str, file: str
) -> onnx.ModelProto:
    """`static` with the dimension's name in place of its size, at the model's ends; within, shapes follow from them."""
    copy = onnx.ModelProto()
    copy.CopyFrom(static)
    del copy.graph.value_info[:]
    for values, types in ((copy.graph.input, signature.inputs), (copy.graph.output, signature.outputs)):
        for value in values:
            dims = value.type.tensor_type.shape.dim
            offset = len(dims) - len(types[value.name].shape)
            for axis, size in enumerate(types[value.name].shape):
                if size == name:
                    dims[axis + offset].dim_param = name
    try:
        shape_inference.infer_shapes(copy, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(Issue(f"shapes do not fit: {said}", Place(file), "export the model again")) from error
    return copy
