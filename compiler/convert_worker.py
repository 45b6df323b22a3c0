"""The child that converts: loads a model as its library does, makes ONNX of it, and compares the two."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import onnx

from compiler.child import serve
from compiler.soundness import nodes
from specs.digest import digest_file
from specs.errors import AnswerIsNo, EnvironmentFailed, InputError, Issue, Place, TierplanError
from specs.model_source import form_of

_MOST_READS: Final = 4096


def handle(request: dict[str, Any]) -> dict[str, Any]:
    from compiler.frontends import Original
    from compiler.model import load_model

    project, model = Path(request["project"]), str(request["model"])
    form = form_of(model)
    library: str | None = None if form == "factory" else form
    place = Place(request["place"])
    os.chdir(project)  # what the project's code reads, it names from there
    sys.path.append(str(project))  # modules beside it count as files that it reads
    sys.dont_write_bytecode = True
    read = Reads(project)
    try:
        value, example = (
            _made(request["load"], project, model, read, place)
            if form == "factory"
            else (_opened(form, project / model, place), None)
        )
        library = _library(value)
        original: Original = _frontend(value).convert(value, example)
        found = _compared(original)
    except ModuleNotFoundError as error:
        raise _missing(model, error, library) or InputError(Issue(f"{model}: {error}", place)) from error
    except AnswerIsNo as error:
        raise AnswerIsNo(f"{model}: {error}") from error
    except InputError as error:
        named = (
            Issue(i.message if i.place else f"{model}: {i.message}", i.place or place, i.hint) for i in error.issues
        )
        raise InputError(*named) from error
    kept, report = found
    file = Path(request["file"])
    _forget_the_making(kept, file.stem)
    onnx.save(kept, str(file))
    load_model(file)  # what a factory returned, or a converter made, is read with the same care as any file
    return report | {"library": original.library, "classes": original.classes, "reads": read.digests(model)}


def _forget_the_making(model: onnx.ModelProto, name: str) -> None:
    """What says where and when it was made, not what it computes: the same model shall give the same bytes."""
    model.ir_version = max(model.ir_version, 8)
    model.graph.name = name
    model.ClearField("doc_string")
    model.ClearField("metadata_props")
    model.graph.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    for part in (*nodes(model.graph), *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _compared(original: Any) -> tuple[onnx.ModelProto, dict[str, Any]]:
    from compiler.equal import compare, keep_outputs

    if original.answer is None:
        return original.model, {"notes": original.notes}
    equal = compare(original)
    report = {"difference": equal.difference, "items": equal.items, "edges": equal.edges}
    return keep_outputs(original.model, equal.outputs), report | {"notes": (*original.notes, *equal.notes)}


def _opened(form: str, file: Path, place: Place) -> Any:
    from compiler.frontends import named

    try:
        return named(form).open_file(str(file))
    except InputError as error:
        raise InputError(*(Issue(i.message, place, i.hint) for i in error.issues)) from error


def _missing(model: str, error: ModuleNotFoundError, library: str | None = None) -> EnvironmentFailed | None:
    from compiler.frontends import not_installed

    found = not_installed(error, library)
    return EnvironmentFailed(f"{model}: {found}") if found is not None else None


def _frontend(value: Any) -> Any:
    from compiler.frontends import frontend_of

    return frontend_of(value)


def _library(value: Any) -> str | None:
    from compiler.frontends import library_of

    return library_of(value)


def _made(load: str, project: Path, model: str, read: Reads, place: Place) -> tuple[Any, Any]:
    """(what the function returned, its example inputs or None). Raises InputError with the line where it failed."""
    module, name = load.split(":")
    loader: Callable[[Path, str], Callable[[], Any]] = getattr(importlib.import_module(module), name)
    with read.watched():
        try:
            factory = loader(project, model)
        except InputError as error:
            cause = error.__cause__
            if isinstance(cause, ModuleNotFoundError):
                raise _missing(model, cause) or error from error
            raise
        try:
            result = factory()
        except ModuleNotFoundError as error:
            raise _missing(model, error) or _raised(project, model, error, place) from error
        except (TierplanError, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:  # code of the user
            raise _raised(project, model, error, place) from error
    return result if isinstance(result, tuple) and len(result) == 2 else (result, None)


def _raised(project: Path, model: str, error: BaseException, place: Place) -> InputError:
    """`error`, at the last line of the project that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(project) and f.lineno]
    where = Place(own[-1].filename, own[-1].lineno or 0, 1) if own else place
    text = (str(error).strip().splitlines() or [""])[0][:300]
    hint = "it is called without arguments" if isinstance(error, TypeError) and not own else ""
    return InputError(Issue(f"{model}: {type(error).__name__}: {text}", where, hint))


class Reads:
    """Which files of the project its code opened for reading. What a library opens in C++ is not seen."""

    def __init__(self, project: Path) -> None:
        self._project = project.resolve()
        self._on = False
        self._read: set[Path] = set()
        self._written: set[Path] = set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        sys.addaudithook(self._hear)
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on or event != "open" or not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return
        mode, flags = arguments[1], arguments[2]
        path = Path(os.path.abspath(os.fsdecode(arguments[0])))
        if path.is_relative_to(self._project):
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) if mode is None else bool(set(mode) & set("wax+"))
            (self._written if writes else self._read).add(path)

    def digests(self, model: str) -> dict[str, str]:
        """Of every file of the project that was read, except those that it wrote itself and Python's own.

        Raises EnvironmentFailed where there are too many to say.
        """
        own = {f.resolve() for f in _package(self._project, model)}
        read = {_source(p) for p in self._read - self._written}
        found = [p for p in sorted(read) if p.is_file() and p.resolve() not in own]
        found = [p for p in found if not _is_installed(p)]
        if len(found) > _MOST_READS:
            raise EnvironmentFailed(f"{model} reads {len(found):,} files of the project; put them into one")
        return {p.relative_to(self._project).as_posix(): digest_file(p) for p in found}


def _source(path: Path) -> Path:
    """The module that Python compiled to `path`; any other file is itself."""
    if path.parent.name != "__pycache__":
        return path
    try:
        return Path(importlib.util.source_from_cache(str(path)))
    except ValueError:
        return path


def _is_installed(path: Path) -> bool:
    """Whether it is part of an installation that stands in the project."""
    return "site-packages" in path.parts or path.is_relative_to(sys.prefix)


def _package(project: Path, model: str) -> list[Path]:
    from specs.function_files import package_files

    return package_files(project, model) if form_of(model) == "factory" else []


if __name__ == "__main__":
    serve(handle)
