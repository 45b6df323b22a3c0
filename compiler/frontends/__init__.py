"""Models of other libraries as ONNX: one file a library, each with the names of `Frontend`.

Each is imported in the child that converts (`compiler.convert`), and imports its library there.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import numpy as np
import onnx

from specs.errors import EnvironmentFailed, InputError, Issue

Arrays = Mapping[str, np.ndarray]
"""A batch of values by name: inputs, or outputs."""
Answer = Callable[[Arrays], Mapping[str, np.ndarray]]
"""A library's own outputs for a batch of inputs."""


@dataclass(frozen=True, slots=True)
class Original:
    """A model as ONNX, and what its own library says.

    `answer` gives the library's outputs for a batch of inputs; `inputs` are the batches on which the two are compared.
    `classes` says which class each number of the output ``label`` stands for; it is empty where the numbers are the
    classes. `notes` are for the user.
    """

    model: onnx.ModelProto
    library: str
    answer: Answer | None
    inputs: Sequence[Arrays] = ()
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Frontend(Protocol):
    def convert(self, value: Any, example: Any) -> Original:
        """`value`, a model of this library, as ONNX; `example` is an example of its inputs, or None.

        Raises InputError for what is not fitted or cannot be converted.
        """
        ...


class FileFrontend(Frontend, Protocol):
    def open_file(self, file: str) -> Any:
        """The model in `file`. Raises InputError where it holds none."""
        ...


LIBRARIES: Final = {
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "torch": "PyTorch",
    "onnx": "ONNX",
    "sklearn": "scikit-learn",
}
"""By top-level package, which is also the extra that brings it. XGBoost and LightGBM derive from scikit-learn, so that
they come before it."""
_WHERE: Final = re.compile(r"^\[\d\d:\d\d:\d\d\] \S+: ")
_BROUGHT: Final = {"skl2onnx": "sklearn", "onnxscript": "torch", "onnx_ir": "torch"}
"""What an extra brings besides its library."""


def library_of(value: Any) -> str | None:
    """The key of `LIBRARIES` that `value` is a model of, if it is one."""
    packages = {kind.__module__.split(".")[0] for kind in type(value).__mro__}
    return next((name for name in LIBRARIES if name in packages), None)


def frontend_of(value: Any) -> Frontend:
    """The frontend for a model that a function returned. Raises InputError where it is no model that is known."""
    library = library_of(value)
    if library is None:
        expected = "an estimator of scikit-learn, a model of XGBoost or LightGBM, a module of PyTorch or an ONNX model"
        raise InputError(Issue(f"expected {expected}, got {type(value).__name__}"))
    return named(library)


def named(library: str) -> FileFrontend:
    """The frontend for `library`, a key of `LIBRARIES`."""
    return cast(FileFrontend, importlib.import_module(f"compiler.frontends.{library}"))


def not_installed(error: ModuleNotFoundError, library: str | None = None) -> EnvironmentFailed | None:
    """What to say of an import that failed for want of an extra; None where it is another module that is missing.

    `library` is what the import was for, where that is known.
    """
    missing = (error.name or "").split(".")[0]
    extra = library if missing == "onnxmltools" else _BROUGHT.get(missing, missing)
    if extra is None or extra not in LIBRARIES or extra == "onnx":
        return None
    what = LIBRARIES[extra] if missing == extra else f"{missing}, which converts models of {LIBRARIES[extra]},"
    return EnvironmentFailed(f"{what} is not installed here; pip install 'tierplan[{extra}]'")


def said(error: BaseException) -> str:
    """What an error of a library says, in one line, without the times, files and stack traces that XGBoost adds."""
    lines = (_WHERE.sub("", line.strip()) for line in str(error).splitlines())
    kept = [line for line in lines if line and not line.startswith(("Stack trace", "[bt]"))]
    return kept[0][:300] if kept else type(error).__name__
