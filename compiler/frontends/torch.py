"""PyTorch through torch.export and torch.onnx: a module with example inputs, or an exported program."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, Final

import numpy as np

from compiler.frontends import Arrays, Original, said
from specs.errors import InputError, Issue

SAMPLES: Final = 16
"""Random inputs, besides the example, on which the two are compared."""


def convert(value: Any, example: Any) -> Original:
    import torch

    program = isinstance(value, torch.export.ExportedProgram)
    if not program and not isinstance(value, torch.nn.Module):
        raise InputError(Issue(f"expected a module or an exported program of PyTorch, got {type(value).__name__}"))
    name = "the exported program" if program else type(value).__name__
    inputs = _example(value, example, name, program)
    module = value.module() if program else value.eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            exported = value if program else torch.export.export(value, inputs)
            model = torch.onnx.export(exported, inputs, dynamo=True, verbose=False).model_proto
    except ModuleNotFoundError:
        raise
    except Exception as error:  # torch.export and torch.onnx each have a dozen kinds
        raise InputError(Issue(f"{name} cannot be exported to ONNX: {said(error)}")) from error
    names = [given.name for given in model.graph.input]
    if len(names) != len(inputs):
        message = f"{name} uses {len(names)} of its {len(inputs)} example inputs"
        raise InputError(Issue(message, None, "give the inputs that it uses, each a tensor"))
    outputs = [given.name for given in model.graph.output]
    first = {key: tensor.numpy() for key, tensor in zip(names, inputs, strict=True)}

    def answer(batch: Arrays) -> dict[str, np.ndarray]:
        with torch.no_grad():
            found = module(*(torch.from_numpy(np.array(batch[key])) for key in names))
        flat = torch.utils._pytree.tree_leaves(found)
        return {key: tensor.numpy() for key, tensor in zip(outputs, flat, strict=True)}

    return Original(
        model=model,
        library=f"PyTorch {torch.__version__}",
        answer=answer,
        inputs=[first, *_random(first)],
    )


def _example(value: Any, example: Any, name: str, program: bool) -> tuple[Any, ...]:
    """The example inputs as a tuple of tensors of one item. Raises InputError where there are none."""
    import torch

    if example is None and program and value.example_inputs is not None:
        example, named = value.example_inputs
        if named:
            message = f"{name} takes inputs by keyword: {', '.join(named)}"
            raise InputError(Issue(message, None, "export it with inputs by position"))
    if example is None:
        raise InputError(Issue(f"{name}: example inputs are missing", None, "return (module, example inputs)"))
    given: Sequence[Any] = example if isinstance(example, (tuple, list)) else (example,)
    try:
        tensors = tuple(torch.as_tensor(item) for item in given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(Issue(f"{name}: the example inputs are no tensors: {said(error)}")) from error
    for index, tensor in enumerate(tensors):
        if not tensor.ndim or not len(tensor):
            message = f"{name}: example input {index} has shape {list(tensor.shape)}"
            raise InputError(Issue(message, None, "give it with a leading batch dimension: [1, ...]"))
        if program and len(tensor) != 1:
            message = f"{name} is for a batch of {len(tensor)}; expected one of 1"
            raise InputError(Issue(message, None, "export it with example inputs of shape [1, ...]"))
    return tuple(tensor[:1].detach().contiguous() for tensor in tensors)


def _random(first: Arrays) -> list[dict[str, np.ndarray]]:
    """Floats of the example's mean and spread; of other inputs, values that occur in the example."""
    chances = [np.random.default_rng(seed) for seed in range(SAMPLES)]
    return [{name: _like(value, chance) for name, value in first.items()} for chance in chances]


def _like(value: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    if value.dtype.kind != "f":
        return chance.choice(value.reshape(-1), value.shape)
    spread = float(value.std()) or 1.0
    return (float(value.mean()) + spread * chance.standard_normal(value.shape)).astype(value.dtype)
