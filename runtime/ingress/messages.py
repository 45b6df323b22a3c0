"""The protocol's protobuf messages, made from a table: no generated code, and a pool of descriptors of their own.

Names and numbers are those of ``inference.GRPCInferenceService`` of the Open Inference Protocol; a test compares them
with a client's.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE: Final = "inference"
SERVICE: Final = "inference.GRPCInferenceService"

_PARAMETERS: Final = "parameters map InferParameter"

_MESSAGES: Final[dict[str, tuple[str, ...]]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("live bool",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("ready bool",),
    "ModelReadyRequest": ("name string", "version string"),
    "ModelReadyResponse": ("ready bool",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("name string", "version string", "extensions repeated string"),
    "ModelMetadataRequest": ("name string", "version string"),
    "ModelMetadataResponse": (
        "name string",
        "versions repeated string",
        "platform string",
        "inputs repeated ModelMetadataResponse.TensorMetadata",
        "outputs repeated ModelMetadataResponse.TensorMetadata",
    ),
    "ModelMetadataResponse.TensorMetadata": ("name string", "datatype string", "shape repeated int64"),
    "InferParameter": (
        "bool_param oneof bool",
        "int64_param oneof int64",
        "string_param oneof string",
        "double_param oneof double",
        "uint64_param oneof uint64",
    ),
    "InferTensorContents": (
        "bool_contents repeated bool",
        "int_contents repeated int32",
        "int64_contents repeated int64",
        "uint_contents repeated uint32",
        "uint64_contents repeated uint64",
        "fp32_contents repeated float",
        "fp64_contents repeated double",
        "bytes_contents repeated bytes",
    ),
    "ModelInferRequest": (
        "model_name string",
        "model_version string",
        "id string",
        _PARAMETERS,
        "inputs repeated ModelInferRequest.InferInputTensor",
        "outputs repeated ModelInferRequest.InferRequestedOutputTensor",
        "raw_input_contents repeated bytes",
    ),
    "ModelInferRequest.InferInputTensor": (
        "name string",
        "datatype string",
        "shape repeated int64",
        _PARAMETERS,
        "contents InferTensorContents",
    ),
    "ModelInferRequest.InferRequestedOutputTensor": ("name string", _PARAMETERS),
    "ModelInferResponse": (
        "model_name string",
        "model_version string",
        "id string",
        _PARAMETERS,
        "outputs repeated ModelInferResponse.InferOutputTensor",
        "raw_output_contents repeated bytes",
    ),
    "ModelInferResponse.InferOutputTensor": (
        "name string",
        "datatype string",
        "shape repeated int64",
        _PARAMETERS,
        "contents InferTensorContents",
    ),
}
"""Fields in the order of their numbers, from 1: name, then perhaps repeated, map or oneof, then the type."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, fields in _MESSAGES.items():
        outer, _, name = path.rpartition(".")
        message = (made[outer].nested_type if outer else file.message_type).add(name=name)
        made[path] = message
        for number, words in enumerate(fields, 1):
            _add_field(message, path, number, words.split())
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, path: str, number: int, words: list[str]) -> None:
    name, kind = words[0], words[-1]
    how = words[1] if len(words) == 3 else ""
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if how in ("repeated", "map"):
        field.label = _Field.LABEL_REPEATED
    if how == "map":  # on the wire: a repeated message of key and value
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add_field(entry, path, 1, ["key", "string"])
        _add_field(entry, path, 2, ["value", kind])
        kind = f"{path}.{entry.name}"
    if how == "oneof":
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"


_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def message(name: str) -> Any:
    """The class of the message `name`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
