"""A segment of a model: what stands between named tensors. Parts composed compute what the whole does."""

from __future__ import annotations

import difflib

import onnx
from onnx import utils

from specs.artefact import Segment
from specs.errors import InputError, Issue, Place


def extract(model: onnx.ModelProto, segment: Segment, file: str) -> onnx.ModelProto:
    """The part of a prepared model (shapes inferred) after `segment.begin` up to `segment.end`.

    Raises InputError for a tensor that the model does not have, and where the part would need an input that is neither
    named in `begin` nor an input of the model.
    """
    if segment.is_whole:
        return model
    shapes = {v.name for v in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    for name in (*segment.begin, *segment.end):
        if name not in shapes:
            near = difflib.get_close_matches(name, sorted(shapes), 1)
            hint = f"did you mean {near[0]!r}?" if near else "name a tensor between two operators"
            raise InputError(Issue(f"the model has no tensor {name!r} with a known shape", Place(file), hint))
    ends = segment.end or tuple(v.name for v in model.graph.output)
    begins = _begins(model, segment, ends)
    try:
        part = utils.Extractor(model).extract_model(list(begins), list(ends))
    except Exception as error:  # onnx raises ValueError, KeyError or its own ValidationError
        raise InputError(Issue(f"cannot cut the model at {segment}: {error}", Place(file))) from error
    made = {o for node in part.graph.node for o in node.output} | {i.name for i in part.graph.initializer} | set(begins)
    missing = sorted({i for node in part.graph.node for i in node.input if i} - made)
    if missing or not part.graph.node:
        what = f"it also needs {missing[0]!r}" if missing else "nothing is between them"
        raise InputError(
            Issue(f"{segment} is not a closed part of the model: {what}", Place(file), "name every tensor cut")
        )
    return part


def _begins(model: onnx.ModelProto, segment: Segment, ends: tuple[str, ...]) -> tuple[str, ...]:
    """`segment.begin` and those of the model's own inputs that the part reads directly."""
    producers = {o: node for node in model.graph.node for o in node.output}
    constants = {i.name for i in model.graph.initializer}
    inputs = [v.name for v in model.graph.input if v.name not in constants]
    seen: set[str] = set()
    stack = list(ends)
    while stack:
        name = stack.pop()
        if name in seen or name in segment.begin:
            continue
        seen.add(name)
        if name in producers:
            stack += [i for i in producers[name].input if i]
    return (*segment.begin, *(name for name in inputs if name in seen and name not in segment.begin))
