"""An ONNX file read with care: bounded, checked, its external data inside its own folder, its shapes resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import checker, external_data_helper, helper, shape_inference

from compiler.batching import STAND_IN, check_batchable, set_batch
from compiler.soundness import check_sound, nodes
from specs.digest import digest_model
from specs.errors import InputError, Issue, Place

MAX_BYTES = 2 << 30
"""Protobuf's own limit of a message."""

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_IR_VERSION = 8
"""The first in which initializers need not be inputs and that all our importers read."""


def load_model(path: Path) -> onnx.ModelProto:
    """Read and check a model. Raises InputError, with the file's name, where it is missing, corrupt, too large, uses
    operators of unknown domains, names data outside its folder, or holds no graph that could run (`check_sound`)."""
    place = Place(str(path))
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(
            Issue(f"cannot read the model: {error.strerror}", place, "give the path of an ONNX file")
        ) from error
    if not path.is_file() or size > MAX_BYTES:
        raise InputError(Issue("expected an ONNX file of at most 2 GiB", place, "store large weights as external data"))
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError and onnx's own errors have no common base
        raise InputError(Issue(f"not an ONNX model: {_first_line(error)}", place, "export the model again")) from error
    _check_external(model, path)
    whole = not any(map(_is_external, _tensors(model.graph)))
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
        # Of a model in memory it writes all weights first; of a file it does not look into external ones.
        checker.check_model(str(path) if whole else model, full_check=True)
    except Exception as error:  # the checker raises ValidationError, numpy ValueError, the file system OSError
        raise InputError(Issue(f"invalid ONNX model: {_first_line(error)}", place, "export the model again")) from error
    _check_domains(model, path)
    check_sound(model, str(path))
    return model


def source_digest(path: Path) -> str:
    """Digest of a model's bytes, those of its external data included."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise InputError(Issue(f"cannot read the model: {error.strerror}", Place(str(path)))) from error
    except Exception as error:
        raise InputError(Issue(f"not an ONNX model: {_first_line(error)}", Place(str(path)))) from error
    _check_external(model, path)
    return digest_model(path)


def inner_tensors(path: Path) -> tuple[str, ...]:
    """Names of the tensors at which a prepared model may be cut, in the graph's order: what its operators compute and
    others read. Weights are not read. Raises InputError where the file is no ONNX model.
    """
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:
        raise InputError(Issue(f"not an ONNX model: {_first_line(error)}", Place(str(path)))) from error
    used = {name for node in nodes(graph) for name in node.input}
    own = used | {value.name for value in graph.output}
    simple = [new for node in graph.node if node.op_type != "Constant" for new in _simplify(node, own)]
    read = {name for node in simple for name in node.input} | used
    return tuple(name for node in simple for name in node.output if name in read)


def prepare(model: onnx.ModelProto, dims: Mapping[str, int], file: str, batch: int = 1) -> onnx.ModelProto:
    """The same model with static shapes (`batch`, named dimensions from `dims`) in the form that backends like best.

    Initializers leave the inputs, Dropout becomes Identity, Sum becomes Add. Raises InputError where shapes do not fit,
    or the model cannot take several requests at once.
    """
    copy = _of_inputs(model)
    if batch > 1:
        of_many = _of_inputs(model)
        set_batch(of_many, STAND_IN)
        for value in of_many.graph.input:
            _fix_shape(value, dims, file)
        check_batchable(of_many, file)
        set_batch(copy, batch)
    for value in copy.graph.input:
        _fix_shape(value, dims, file)
    for value in (*copy.graph.output, *copy.graph.value_info):
        _forget_names(value)
    said = {value.name: value for value in model.graph.output}
    used = {name for node in nodes(copy.graph) for name in node.input} | {value.name for value in copy.graph.output}
    simple = [new for node in copy.graph.node for new in _simplify(node, used)]
    del copy.graph.node[:]
    copy.graph.node.extend(simple)
    try:
        light = _without_weights(copy)
        inferred = shape_inference.infer_shapes(light, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:
        raise InputError(
            Issue(f"shapes do not fit: {_first_line(error)}", Place(file), "export the model again")
        ) from error
    for field in _INFERRED:
        copy.graph.ClearField(field)
        getattr(copy.graph, field).extend(getattr(inferred.graph, field))
    for value in copy.graph.output:
        shape = value.type.tensor_type.shape.dim
        if not shape or any(d.dim_value <= 0 for d in shape):
            _believe(value, said[value.name], batch)
    return copy


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with nothing in its large initializers: inference looks into small ones, but would write and read all."""
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = model.graph.name
    for field in (*_INFERRED, "input", "sparse_initializer"):
        getattr(light.graph, field).extend(getattr(model.graph, field))
    for tensor in model.graph.initializer:
        if tensor.ByteSize() > _SMALL:
            stand_in = light.graph.initializer.add(name=tensor.name, data_type=tensor.data_type)
            stand_in.dims.extend(tensor.dims)
        else:
            light.graph.initializer.append(tensor)
    return light


_INFERRED: Final = ("node", "output", "value_info")
"""Fields of a graph in which inference writes; those of nodes have graphs of their own."""
_SMALL: Final = 1 << 16
"""Bytes; shapes and the like are smaller."""


def _of_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without initializers among its inputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = max(copy.ir_version, _IR_VERSION)
    constants = {init.name for init in copy.graph.initializer}
    inputs = [value for value in copy.graph.input if value.name not in constants]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    return copy


def _believe(value: onnx.ValueInfoProto, said: onnx.ValueInfoProto, batch: int) -> None:
    """Take the shape that the model says where none can be inferred (operators of ai.onnx.ml), of `batch` items."""
    dims = said.type.tensor_type.shape.dim
    if dims and all(d.dim_value > 0 for d in dims[1:]):
        value.type.tensor_type.shape.CopyFrom(said.type.tensor_type.shape)
        if dims[0].dim_value <= 1:
            value.type.tensor_type.shape.dim[0].dim_value = batch


def _fix_shape(value: onnx.ValueInfoProto, dims: Mapping[str, int], file: str) -> None:
    shape = value.type.tensor_type.shape.dim
    for axis, dim in enumerate(shape):
        if dim.dim_value > 0:
            continue
        name = dim.dim_param
        if name in dims:
            dim.dim_value = dims[name]
        elif axis == 0:
            dim.dim_value = 1
        else:
            what = f"dimension {name!r}" if name else f"axis {axis}"
            raise InputError(
                Issue(
                    f"{what} of input {value.name!r} has no size",
                    Place(file),
                    f"give one with dims: {{{name or 'T'}: [..]}}",
                )
            )


def _forget_names(value: onnx.ValueInfoProto) -> None:
    """Drop the shape of an inner value where it is not static, so that inference finds it anew."""
    if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
        dims = value.type.tensor_type.shape.dim
        if any(d.dim_value <= 0 for d in dims):
            value.type.tensor_type.ClearField("shape")


def _simplify(node: onnx.NodeProto, used: set[str]) -> Iterator[onnx.NodeProto]:
    """What stands for `node` in inference; `used` names every value that something reads."""
    if node.op_type == "Dropout" and not used.intersection(node.output[1:]):
        yield helper.make_node("Identity", [node.input[0]], [node.output[0]], name=node.name)
    elif node.op_type == "Sum" and node.domain in ("", "ai.onnx"):
        total = node.input[0]
        for i, other in enumerate(node.input[1:]):
            name = node.output[0] if i == len(node.input) - 2 else f"{node.output[0]}__sum{i}"
            yield helper.make_node("Add", [total, other], [name], name=f"{node.name}__{i}")
            total = name
        if len(node.input) == 1:
            yield helper.make_node("Identity", [total], [node.output[0]], name=node.name)
    else:
        yield node


def _check_domains(model: onnx.ModelProto, path: Path) -> None:
    strange = sorted({(n.domain, n.op_type) for n in nodes(model.graph) if n.domain not in _DOMAINS})
    if strange:
        domain, operator = strange[0]
        raise InputError(
            Issue(
                f"operator {operator} is of the domain {domain!r}; expected ai.onnx or ai.onnx.ml",
                Place(str(path)),
                "export the model with standard operators",
            )
        )


def _check_external(model: onnx.ModelProto, path: Path) -> None:
    root = path.parent.resolve()
    for tensor in _tensors(model.graph):
        if _is_external(tensor):
            location = _location(tensor)
            target = (root / location).resolve()
            if Path(location).is_absolute() or not target.is_relative_to(root):
                raise InputError(
                    Issue(
                        f"data of tensor {tensor.name!r} is outside the model's folder: {location!r}",
                        Place(str(path)),
                        "keep external data beside the model",
                    )
                )
            if not target.is_file():
                raise InputError(Issue(f"data of tensor {tensor.name!r} is missing: {location!r}", Place(str(path))))


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _location(tensor: onnx.TensorProto) -> str:
    return next((str(e.value) for e in tensor.external_data if e.key == "location"), "")


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in nodes(graph):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sub in (attribute.g, *attribute.graphs):
                yield from sub.initializer


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
