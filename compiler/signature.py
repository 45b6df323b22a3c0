"""Names and types of a model's inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
from onnx import helper, shape_inference

from compiler.model import load_model
from specs.artefact import ModelSignature
from specs.errors import InputError, Issue, Place
from specs.tensors import TensorType, from_numpy_name


def read_signature(path: Path) -> ModelSignature:
    """The signature of the model in `path`, without the batch dimension; a dimension without a size keeps its name.

    Raises InputError where the file is no valid model, or a value is no tensor with a leading batch dimension.
    """
    return signature_of(load_model(path), str(path))


def signature_of(model: onnx.ModelProto, file: str, batch: int = 1) -> ModelSignature:
    """The signature of a loaded model, which takes `batch` items at once; `file` is named in errors."""
    constants = {init.name for init in model.graph.initializer}
    known = {v.name: v for v in model.graph.output}
    if any(not _has_shape(v) for v in model.graph.output):
        inferred = shape_inference.infer_shapes(model, data_prop=True)
        known |= {v.name: v for v in inferred.graph.output if _has_shape(v)}
    return ModelSignature(
        inputs=_types((v for v in model.graph.input if v.name not in constants), "input", file, batch),
        outputs=_types((known[v.name] for v in model.graph.output), "output", file, batch),
    )


def check_static(signature: ModelSignature, file: str) -> None:
    """Raises InputError where an input or output has a dimension without a size."""
    for kind, values in (("input", signature.inputs), ("output", signature.outputs)):
        for name, type_ in values.items():
            if type_.size is None:
                hint = "export it with a fixed size for every dimension but the batch"
                raise InputError(Issue(f"{kind} {name!r} has no static shape: {type_}", Place(file), hint))


def _types(values: Iterable[Any], kind: str, file: str, batch: int) -> dict[str, TensorType]:
    return {value.name: _type(value, kind, file, batch) for value in values}


def _type(value: Any, kind: str, file: str, batch: int) -> TensorType:
    if not value.type.HasField("tensor_type"):
        hint = "export a classifier without ZipMap (zipmap=False)"
        raise InputError(Issue(f"{kind} {value.name!r} is no tensor", Place(file), hint))
    try:
        dtype = from_numpy_name(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name)
    except (KeyError, ValueError) as error:
        raise InputError(Issue(f"{kind} {value.name!r}: {error}", Place(file))) from error
    dims = list(value.type.tensor_type.shape.dim)
    if not _has_shape(value) or not dims:
        raise InputError(
            Issue(f"{kind} {value.name!r} has no leading batch dimension", Place(file), "export it as [N, ...]")
        )
    if dims[0].dim_value not in (0, 1, batch) or (batch > 1 and dims[0].dim_value != batch):
        message = (
            f"{kind} {value.name!r} has a leading dimension of {dims[0].dim_value}; expected a batch of 1 or a name"
        )
        raise InputError(Issue(message, Place(file), "export the model with batch 1 or a named batch dimension"))
    return TensorType(
        dtype, tuple(d.dim_value if d.dim_value > 0 else _name(d.dim_param, i) for i, d in enumerate(dims[1:], 1))
    )


def _name(text: str, axis: int) -> str:
    return text if text.isidentifier() else f"d{axis}"


def _has_shape(value: Any) -> bool:
    return bool(value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"))
