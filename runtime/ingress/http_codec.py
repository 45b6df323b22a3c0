"""Requests and answers as HTTP bodies: a JSON object, and after it the raw data of tensors that are sent as binary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from runtime.ingress.times import stage_times
from runtime.open_inference.models import ServedModel
from runtime.open_inference.protocol import (
    MAX_JSON,
    Code,
    InferAnswer,
    InferRequest,
    Origin,
    ProtocolError,
    read_flag,
    read_timeout,
)
from runtime.open_inference.tensors import check_header, datatype, from_json, from_raw, shape_of, to_json, to_raw
from runtime.values import Value

MAX_TENSORS: Final = 1024
MAX_ID: Final = 256


def read_request(model: ServedModel, body: bytes, json_length: int | None, origin: Origin) -> InferRequest:
    """A request from its body, whose first `json_length` bytes are JSON (None for all). Raises ProtocolError."""
    length = len(body) if json_length is None else json_length
    if length > len(body):
        raise ProtocolError(Code.invalid, f"Inference-Header-Content-Length is {length}, the body {len(body)} bytes")
    head = _object(body[:length] if length < len(body) else body)
    parameters = _parameters(head)
    request_id = head.get("id", "")
    if not isinstance(request_id, str) or len(request_id) > MAX_ID:
        raise ProtocolError(Code.invalid, f"id: expected a string of at most {MAX_ID} characters")
    values = _values(model, _tensors(head, "inputs"), memoryview(body)[length:])
    outputs = _tensors(head, "outputs")
    every = read_flag(parameters, "binary_data_output")
    wanted = tuple(_name(output) for output in outputs)
    model.check_wanted(wanted)
    binary = frozenset(_name(o) for o in outputs if read_flag({"binary_data": every, **_parameters(o)}, "binary_data"))
    return InferRequest(
        model=model.name,
        id=request_id,
        values=values,
        origin=origin,
        wanted=wanted,
        binary=binary if outputs or not every else frozenset(model.output_by_name),
        timeout=read_timeout(parameters),
        stage_times=read_flag(parameters, "stage_times"),
    )


def _object(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_JSON:
        raise ProtocolError(Code.too_large, f"the JSON is larger than {MAX_JSON} bytes: send tensors as binary data")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ProtocolError(Code.invalid, f"the body is not JSON: {what:.200}") from error
    if not isinstance(found, dict):
        raise ProtocolError(Code.invalid, f"expected a JSON object, got {type(found).__name__}")
    return found


def _parameters(holder: Mapping[str, Any]) -> dict[str, Any]:
    found = holder.get("parameters", {})
    if not isinstance(found, dict):
        raise ProtocolError(Code.invalid, "parameters: expected an object")
    return found


def _tensors(head: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = head.get(key, [])
    if not isinstance(found, list) or len(found) > MAX_TENSORS or not all(isinstance(t, dict) for t in found):
        raise ProtocolError(Code.invalid, f"{key}: expected a list of at most {MAX_TENSORS} objects")
    return found


def _name(tensor: Mapping[str, Any]) -> str:
    name = tensor.get("name")
    if not isinstance(name, str):
        raise ProtocolError(Code.invalid, "an output has no name")
    return name


def _values(model: ServedModel, tensors: list[dict[str, Any]], raw: memoryview) -> dict[str, Value]:
    values: dict[str, Value] = {}
    at = 0
    for tensor in tensors:
        port = model.input(tensor.get("name"))
        if port.name in values:
            raise ProtocolError(Code.invalid, f"the input {port.name!r} is given twice")
        shape = tensor.get("shape")
        if not isinstance(shape, list):
            raise ProtocolError(Code.invalid, f"{port.name}: expected a shape, a list of sizes")
        dims = check_header(port, tensor.get("datatype"), shape)
        parameters = _parameters(tensor)
        size = parameters.get("binary_data_size")
        if size is None:
            values[port.name] = from_json(port, dims, tensor.get("data"), parameters.get("content_type"))
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(raw) - at:
            raise ProtocolError(Code.invalid, f"{port.name}: binary_data_size goes beyond the body")
        values[port.name] = from_raw(port, dims, raw[at : at + size])
        at += size
    if at != len(raw):
        raise ProtocolError(Code.invalid, f"{len(raw) - at} bytes after the last input belong to none")
    model.check_given(values)
    return values


def write_answer(model: ServedModel, request: InferRequest, answer: InferAnswer) -> tuple[bytes, int | None]:
    """(body, length of its JSON part or None where it is all JSON). Raises ProtocolError for what JSON cannot hold."""
    outputs, buffers = [], []
    for name, value in answer.outputs.items():
        head: dict[str, Any] = {
            "name": name,
            "datatype": datatype(model.output_by_name[name].type),
            "shape": shape_of(value),
        }
        if name in request.binary:
            raw = to_raw(value)
            buffers.append(raw)
            head["parameters"] = {"binary_data_size": len(raw)}
        else:
            head["data"], content_type = to_json(name, value)
            if content_type:
                head["parameters"] = {"content_type": content_type}
        outputs.append(head)
    whole: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if answer.id:
        whole["id"] = answer.id
    if request.stage_times:
        whole["parameters"] = {"request": answer.request, "stage_times": stage_times(answer)}
    whole["outputs"] = outputs
    text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return b"".join((text, *buffers)), len(text) if buffers else None
