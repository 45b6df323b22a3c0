"""The packages that the runtime of a bundle takes, each at one version: those that are installed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Final

from specs.errors import EnvironmentFailed, InputError, Issue, Place

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from runtime.bundle import Bundle

OURS: Final = "tierplan"
ALWAYS: Final = ("run", "serve")
BY_BACKEND: Final[Mapping[str, str]] = {"tvm": "run-tvm", "onnxruntime": "run-onnx", "openvino": "openvino"}
"""Extras of tierplan that what runs asks for."""


def pinned(bundle: Bundle) -> list[str]:
    """``name==version`` of all that the bundle's stages and doors need, sorted.

    Raises InputError for a requirement of a function that is not installed here, or in another version than the bundle
    was compiled with; EnvironmentFailed where tierplan itself is not.
    """
    backends = {a.backend for a in bundle.plan.assignments}
    extras = (*ALWAYS, *(extra for backend, extra in BY_BACKEND.items() if backend in backends))
    found: dict[str, str] = {}
    try:
        _close([f"{OURS}[{','.join(extras)}]"], found)
    except PackageNotFoundError as error:
        raise EnvironmentFailed(f"{error.name} is not installed here: its version is not known") from error
    for name in dict.fromkeys(a.component for a in bundle.plan.assignments if a.backend == "python"):
        place = bundle.app.place("components", name, "requirements")
        try:
            _close(bundle.app.value.components[name].requirements, found)
        except PackageNotFoundError as error:
            hint = f"pip install {error.name}, in the version that the functions are profiled with"
            raise InputError(
                Issue(f"{name} requires {error.name}, which is not installed here", place, hint)
            ) from error
        except ValueError as error:
            message = f"{name}: {' '.join(str(error).split())}"
            raise InputError(Issue(message, place, "write it as pip takes it, such as pillow>=11")) from error
    _check_versions(bundle, found)
    return sorted(f"{name}=={version}" for name, version in found.items() if name != OURS)


def _close(texts: Iterable[str], found: dict[str, str]) -> None:
    """Adds what `texts` require, and what that requires.

    Raises PackageNotFoundError for what is not installed, ValueError for what is no requirement, or is installed in
    another version than one that it asks for.
    """
    from packaging.requirements import Requirement

    open_ = [Requirement(text) for text in texts]
    done: set[tuple[str, str]] = set()
    while open_:
        wanted = open_.pop()
        name = _canonical(wanted.name)
        installed = distribution(name)
        found[name] = installed.version
        if not wanted.specifier.contains(installed.version, prereleases=True):
            raise ValueError(f"expected {wanted}, found {name} {installed.version} installed here")
        for extra in ("", *wanted.extras):
            if (name, extra) not in done:
                done.add((name, extra))
                open_ += [r for r in map(Requirement, installed.requires or ()) if _applies(r, extra)]


def _applies(requirement: Requirement, extra: str) -> bool:
    """Whether it is asked for with `extra` ("" for none) here."""
    if requirement.marker is None:
        return not extra
    without = requirement.marker.evaluate({"extra": ""})
    return without if not extra else requirement.marker.evaluate({"extra": extra}) and not without


def _canonical(name: str) -> str:
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(name))


def _check_versions(bundle: Bundle, found: Mapping[str, str]) -> None:
    """Artefacts run with what compiled them: the manifest names it."""
    for name, version in bundle.manifest.versions.items():
        here = found.get(_canonical(name))
        if here is not None and here != version:
            message = f"the bundle was compiled with {name} {version}; here is {here}"
            raise InputError(Issue(message, Place(str(bundle.folder)), "compile it again, or install that version"))
