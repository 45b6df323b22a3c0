"""The user's Python functions: loaded from their own project folder only, called by keyword, outputs checked.

A function ``blog.images:shrink`` stands in ``blog/images.py`` (or ``blog.py`` for ``blog:shrink``) of the project. Its
top-level package may import itself and whatever is installed, but no other file of the project: a bundle carries only
that package.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from runtime.values import Value, conform
from specs.errors import InputError, Issue, Place, TierplanError
from specs.function_files import module_file, split_name
from specs.tensors import TensorType

Function = Callable[..., Any]

_LOCK: Final = threading.RLock()


class Raised(Exception):
    """What a function raised in a process of its own, in words, and where (`runtime.stages.isolated`)."""

    def __init__(self, what: str, place: Place | None) -> None:
        super().__init__(what)
        self.what, self.place = what, place


def load_function(project: Path, function: str) -> Function:
    """Import `function` from `project`. Raises InputError where it is missing, not callable or fails to import.

    A package of that name that another project brought is forgotten first. The package stays findable, so that imports
    inside its functions work too.
    """
    module, name = split_name(function)
    file = module_file(project, function)
    top = module.split(".")[0]
    if top in sys.stdlib_module_names:
        raise InputError(Issue(f"{function}: {top} is a module of Python itself", Place(str(file)), "rename it"))
    with _LOCK:
        _forget_others(top, project, file)
        if not any(isinstance(f, _ProjectFinder) and f.top == top for f in sys.meta_path):
            sys.meta_path.insert(0, _ProjectFinder(project, top))
        try:
            loaded = importlib.import_module(module)
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(Issue(f"{function}: cannot import: {reason}", Place(str(file)))) from error
    found = getattr(loaded, name, None)
    if not callable(found):
        raise InputError(Issue(f"{function}: {module} has no function {name!r}", Place(str(file))))
    function_found: Function = found
    return function_found


def _forget_others(top: str, project: Path, file: Path) -> None:
    """Drop modules of the same top-level name that another project brought.

    Raises InputError for a name that an installed package has taken.
    """
    home = project.resolve()
    stale = [f for f in sys.meta_path if isinstance(f, _ProjectFinder) and f.top == top and f.project != home]
    for finder in stale:
        sys.meta_path.remove(finder)
    loaded = sys.modules.get(top)
    origin = _origin(loaded) if loaded else None
    if origin is None or origin.is_relative_to(home):
        return
    if not any(origin.is_relative_to(finder.project) for finder in stale):
        hint = "rename the project's package"
        raise InputError(Issue(f"{top} is the name of a package that is already imported", Place(str(file)), hint))
    for name in [n for n in sys.modules if n == top or n.startswith(f"{top}.")]:
        del sys.modules[name]


def _origin(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", []))
    return Path(places[0]).resolve() if places else None


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Writes no bytecode: a bundle stays as it was signed off."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Nothing is written."""


class _ProjectFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of one top-level package of the project, by path."""

    def __init__(self, project: Path, top: str) -> None:
        self.project = project.resolve()
        self.top = top

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.split(".")[0] != self.top:
            return None
        base = self.project.joinpath(*fullname.split("."))
        if not base.resolve().is_relative_to(self.project):
            return None
        package = base / "__init__.py"
        if package.is_file():
            return importlib.util.spec_from_file_location(
                fullname, package, loader=_SourceLoader(fullname, str(package)), submodule_search_locations=[str(base)]
            )
        file = base.with_suffix(".py")
        if file.is_file():
            return importlib.util.spec_from_file_location(fullname, file, loader=_SourceLoader(fullname, str(file)))
        if base.is_dir():
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(base)]
            return spec
        return None


def call_function(
    function: Function, name: str, inputs: Mapping[str, Value], outputs: Mapping[str, TensorType]
) -> dict[str, Value]:
    """Call `function` with `inputs` by keyword and return its outputs in canonical form.

    Scalars are passed as numpy scalars. Raises InputError where what it returns is not a dictionary of exactly the
    declared `outputs`, and, with the line of its file, for whatever the function itself raises.
    """
    given = {k: v if isinstance(v, (bytes, str)) or v.ndim else v[()] for k, v in inputs.items()}
    try:
        result = function(**given)
    except Raised as error:
        raise InputError(Issue(f"{name}: {error.what}", error.place or _defined(function))) from None
    except TierplanError:  # of a process of its own, a hosted API, or a state that is not here
        raise
    except (Exception, SystemExit) as error:  # user code may raise anything
        raise InputError(Issue(f"{name}: {type(error).__name__}: {error}", _raised_at(error, function))) from error
    if not isinstance(result, Mapping) or set(result) != set(outputs):
        found = f"the keys {sorted(map(str, result))}" if isinstance(result, Mapping) else type(result).__name__
        raise InputError(
            Issue(f"{name}: expected a dictionary with {sorted(outputs)}, got {found}", _defined(function))
        )
    try:
        return {key: conform(result[key], kind, f"{name}: {key}") for key, kind in outputs.items()}
    except InputError as error:
        raise InputError(*(Issue(i.message, _defined(function), i.hint) for i in error.issues)) from error


def _raised_at(error: BaseException, function: Function) -> Place | None:
    """The last line of the function's own file that `error` came through."""
    own = _defined(function)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if own is not None and f.filename == own.file]
    return Place(own.file, lines[-1], 1) if own is not None and lines and lines[-1] else own


def _defined(function: Function) -> Place | None:
    place = getattr(function, "place", None)
    if isinstance(place, Place):
        return place
    code = getattr(inspect.unwrap(function), "__code__", None)
    return Place(code.co_filename, code.co_firstlineno, 1) if code is not None else None
