"""PyTorch through torch.export and torch.onnx: a module with example inputs, or an exported program."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping, Sequence
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
    by_place, by_name = _example(value, example, name, program)
    module = value.module() if program else value.eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            exported = value if program else torch.export.export(value, by_place, by_name)
            made = torch.onnx.export(
                exported,
                by_place,
                kwargs=by_name,
                output_names=_output_names(module, by_place, by_name),
                dynamo=True,
                verbose=False,
            )
            model = made.model_proto
    except ModuleNotFoundError:
        raise
    except Exception as error:  # torch.export and torch.onnx each have a dozen kinds
        raise InputError(Issue(f"{name} cannot be exported to ONNX: {said(error)}")) from error
    names = [given.name for given in model.graph.input]
    places, words = names[: len(by_place)], names[len(by_place) :]
    if len(places) != len(by_place) or set(words) != set(by_name):
        message = f"{name} became a model with inputs {', '.join(names)}, which are not its example inputs"
        raise InputError(Issue(message, None, "give the inputs that it uses, each a tensor"))
    outputs = [given.name for given in model.graph.output]
    first = {key: tensor.numpy() for key, tensor in (*zip(places, by_place, strict=True), *by_name.items())}

    def answer(batch: Arrays) -> dict[str, np.ndarray]:
        given = {key: torch.from_numpy(np.array(value)) for key, value in batch.items()}
        with torch.no_grad():
            found = module(*(given[key] for key in places), **{key: given[key] for key in words})
        flat = torch.utils._pytree.tree_leaves(found)
        return {key: tensor.numpy() for key, tensor in zip(outputs, flat, strict=True)}

    return Original(
        model=model,
        library=f"PyTorch {torch.__version__}",
        answer=answer,
        inputs=[first, *_random(first)],
    )


def _output_names(module: Any, by_place: Sequence[Any], by_name: Mapping[str, Any]) -> list[str] | None:
    """The keys of what the module returns, where that is a mapping of tensors; else PyTorch chooses names."""
    import torch

    with torch.no_grad():
        found = module(*by_place, **by_name)
    named = isinstance(found, Mapping) and all(isinstance(value, torch.Tensor) for value in found.values())
    return [str(key) for key in found] if named else None


def _example(value: Any, example: Any, name: str, program: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example inputs by position and by name, each a tensor of one item. Raises InputError where there are none."""
    by_place: Sequence[Any] = ()
    by_name: Mapping[str, Any] = {}
    if example is None and program and value.example_inputs is not None:
        by_place, by_name = value.example_inputs
    elif isinstance(example, Mapping):
        by_name = example
    elif example is not None:
        by_place = example if isinstance(example, (tuple, list)) else (example,)
    if not by_place and not by_name:
        raise InputError(Issue(f"{name}: example inputs are missing", None, "return (module, example inputs)"))
    items = (_item(given, f"{name}: example input {index}", program) for index, given in enumerate(by_place))
    return tuple(items), {
        key: _item(given, f"{name}: example input {key!r}", program) for key, given in by_name.items()
    }


def _item(given: Any, what: str, program: bool) -> Any:
    """`given` as a tensor of one item. Raises InputError where it is none."""
    import torch

    try:
        tensor = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(Issue(f"{what} is no tensor: {said(error)}")) from error
    if not tensor.ndim or not len(tensor):
        message = f"{what} has shape {list(tensor.shape)}"
        raise InputError(Issue(message, None, "give it with a leading batch dimension: [1, ...]"))
    if program and len(tensor) != 1:
        message = f"{what} is a batch of {len(tensor)}; expected one of 1"
        raise InputError(Issue(message, None, "export the program with example inputs of shape [1, ...]"))
    return tensor[:1].detach().contiguous()


def _random(first: Arrays) -> list[dict[str, np.ndarray]]:
    """Floats of the example's mean and spread; of other inputs, values that occur in the example."""
    chances = [np.random.default_rng(seed) for seed in range(SAMPLES)]
    return [{name: _like(value, chance) for name, value in first.items()} for chance in chances]


def _like(value: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    if value.dtype.kind != "f":
        return chance.choice(value.reshape(-1), value.shape)
    spread = float(value.std()) or 1.0
    return (float(value.mean()) + spread * chance.standard_normal(value.shape)).astype(value.dtype)
