"""Requests and answers as protobuf messages. Data may stand in raw contents or in typed ones; answers use raw ones."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from runtime.ingress.http_codec import MAX_ID, MAX_TENSORS
from runtime.ingress.messages import message
from runtime.ingress.times import stage_times
from runtime.open_inference.models import Port, ServedModel
from runtime.open_inference.protocol import (
    Code,
    InferAnswer,
    InferRequest,
    Origin,
    Parameter,
    ProtocolError,
    read_flag,
    read_timeout,
)
from runtime.open_inference.tensors import check_header, datatype, from_numbers, from_raw, shape_of, to_raw
from runtime.values import Value

_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_KINDS: Final = {"bool_contents": np.bool_, "fp32_contents": np.float32, "fp64_contents": np.float64}


def parse(name: str, data: bytes) -> Any:
    """The message `name` from its bytes. Raises ProtocolError where they are none."""
    try:
        return message(name).FromString(data)
    except DecodeError as error:
        raise ProtocolError(Code.invalid, f"the body is not a {name}") from error


def read_request(model: ServedModel, found: Any, origin: Origin) -> InferRequest:
    """A request from its message. Raises ProtocolError."""
    if len(found.id) > MAX_ID:
        raise ProtocolError(Code.invalid, f"id: expected a string of at most {MAX_ID} characters")
    if len(found.inputs) > MAX_TENSORS or len(found.outputs) > MAX_TENSORS:
        raise ProtocolError(Code.invalid, f"expected at most {MAX_TENSORS} tensors")
    parameters = _parameters(found.parameters)
    values = _values(model, found)
    wanted = tuple(output.name for output in found.outputs)
    model.check_wanted(wanted)
    return InferRequest(
        model=model.name,
        id=found.id,
        values=values,
        origin=origin,
        wanted=wanted,
        timeout=read_timeout(parameters),
        stage_times=read_flag(parameters, "stage_times"),
    )


def _parameters(found: Any) -> dict[str, Parameter]:
    chosen = {name: (value, value.WhichOneof("parameter_choice")) for name, value in found.items()}
    return {name: getattr(value, kind) for name, (value, kind) in chosen.items() if kind is not None}


def _values(model: ServedModel, found: Any) -> dict[str, Value]:
    raw = found.raw_input_contents
    if raw and len(raw) != len(found.inputs):
        raise ProtocolError(Code.invalid, f"{len(found.inputs)} inputs, but {len(raw)} raw_input_contents")
    values: dict[str, Value] = {}
    for number, tensor in enumerate(found.inputs):
        port = model.input(tensor.name)
        if port.name in values:
            raise ProtocolError(Code.invalid, f"the input {port.name!r} is given twice")
        dims = check_header(port, tensor.datatype, tensor.shape)
        values[port.name] = from_raw(port, dims, raw[number]) if raw else _typed(port, dims, tensor.contents)
    model.check_given(values)
    return values


def _typed(port: Port, dims: tuple[int, ...], contents: Any) -> Value:
    field = _CONTENTS.get(datatype(port.type))
    if field is None:
        raise ProtocolError(Code.invalid, f"{port.name}: {datatype(port.type)} must come as raw_input_contents")
    data = getattr(contents, field)
    if port.type.is_blob:
        if len(data) != 1:
            raise ProtocolError(Code.invalid, f"{port.name}: expected one element, got {len(data)}")
        return from_raw(port, dims, len(data[0]).to_bytes(4, "little") + data[0])
    return from_numbers(port, dims, np.asarray(data, dtype=_KINDS.get(field, np.int64)))


def write_answer(model: ServedModel, request: InferRequest, answer: InferAnswer) -> Any:
    """The answer as its message."""
    made = message("ModelInferResponse")(model_name=model.name, model_version=model.version, id=answer.id)
    for name, value in answer.outputs.items():
        kind = datatype(model.output_by_name[name].type)
        made.outputs.add(name=name, datatype=kind, shape=shape_of(value))
        made.raw_output_contents.append(to_raw(value))
    if request.stage_times:
        made.parameters["request"].string_param = answer.request
        made.parameters["stage_times"].string_param = stage_times(answer)
    return made
