"""The Bundle: compiled artefacts, the Plan, the spec files and the functions' sources, with a digest for each file.

bundle/
  manifest.json            every other file with its sha256; which artefact serves which assignment
  plan.yaml app.yaml infra.yaml
  artefacts/KEY/...        one folder an artefact, named by its content address
  project/...              the Python files of the functions' packages
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from pydantic import ValidationError

from specs.application import Application, Variant
from specs.artefact import Segment
from specs.digest import digest_file
from specs.errors import InputError, Issue, Place
from specs.function_files import package_files
from specs.infrastructure import Infrastructure
from specs.input_file import read_input
from specs.kinds import another_kind
from specs.load import Document, load_application, load_infrastructure
from specs.manifest import MANIFEST_FILE, BundledArtefact, Manifest
from specs.output_file import whole_folder
from specs.plan import Assignment, Plan, read_plan, write_plan
from specs.plan_check import refuse_impossible
from specs.refusal import refusal

PLAN_FILE: Final = "plan.yaml"
APP_FILE: Final = "app.yaml"
INFRA_FILE: Final = "infra.yaml"
PROJECT: Final = "project"
ARTEFACTS: Final = "artefacts"
MAX_MANIFEST: Final = 10_000_000
MAX_NAME: Final = 1000
"""Characters of a file's path within a bundle."""
AGAIN: Final = "make the bundle again with `planner compile`"

ArtefactFolder = Callable[[Assignment], Path]
"""Where the artefact of an assignment lies; not asked for functions."""


class Runs(Protocol):
    """What says how a part of a component is run: an assignment of a plan, a stage of a run, an entry of a manifest."""

    @property
    def component(self) -> str: ...
    @property
    def segment(self) -> Segment: ...
    @property
    def variant(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def batch(self) -> int: ...


def _way(of: Runs) -> tuple[str, str, str, str, int, int]:
    return of.component, str(of.segment), of.variant, of.backend, of.threads, of.batch


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in `folder`."""

    folder: Path
    manifest: Manifest
    plan: Plan
    app: Document[Application]
    infra: Document[Infrastructure]

    @property
    def project(self) -> Path:
        """Where the functions' sources lie."""
        return self.folder / PROJECT

    def artefact(self, of: Runs) -> BundledArtefact:
        """What serves an assignment or stage. Raises InputError where the bundle has nothing for it."""
        for found in self.manifest.artefacts:
            if _way(found) == _way(of):
                return found
        raise InputError(
            Issue(
                f"the bundle has no artefact for {of.component} {of.segment} ({of.variant}, {of.backend})",
                self._place(),
            )
        )

    def _place(self) -> Place:
        return Place(str(self.folder / MANIFEST_FILE))


def open_bundle(folder: str | Path) -> Bundle:
    """Verify and open the bundle in `folder`.

    Raises InputError for a file that is missing, extra, or not what its digest says (naming the file, the digest
    expected and the one found), a path that leaves the folder, and a plan that is not the one the manifest names.
    """
    root = Path(folder)
    manifest = _read_manifest(root)
    place = Place(str(root / MANIFEST_FILE))
    issues = [*_unsafe(manifest, place)]
    if not issues:
        issues = [*_tampered(root, manifest), *_extra(root, manifest)]
    if issues:
        raise InputError(*issues)
    missing = [name for name in (PLAN_FILE, APP_FILE, INFRA_FILE) if name not in manifest.files]
    if missing:
        raise InputError(Issue(f"the bundle has no {missing[0]}", place))
    plan = read_plan(root / PLAN_FILE)
    if plan.digest != manifest.plan:
        raise InputError(Issue(f"expected the plan {manifest.plan}, found {plan.digest}", place))
    bundle = Bundle(root, manifest, plan, load_application(root / APP_FILE), load_infrastructure(root / INFRA_FILE))
    for name, expected, found in (
        (APP_FILE, plan.inputs.app, bundle.app.digest),
        (INFRA_FILE, plan.inputs.infra, bundle.infra.digest),
    ):
        if expected != found:
            raise InputError(Issue(f"the plan was made from another file: {expected}, not {found}", Place(name)))
    refuse_impossible(plan, bundle.app.value, bundle.infra.value, str(root / PLAN_FILE))
    issues = [issue for a in plan.assignments for issue in _misplaced(bundle, a, place)]
    if manifest.application != bundle.app.value.name:
        issues.append(
            Issue(f"expected the application {bundle.app.value.name!r}, found {manifest.application!r}", place)
        )
    if issues:
        raise InputError(*issues)
    return bundle


def _misplaced(bundle: Bundle, a: Assignment, place: Place) -> list[Issue]:
    """What the manifest says of `a` that its plan and application do not. Raises InputError where it says nothing."""
    entry = bundle.artefact(a)
    component = bundle.app.value.components.get(a.component)
    real = component.realisations.get(a.variant) if component else None
    function = _called(real) if real else ""
    folder = PROJECT if function else f"{ARTEFACTS}/{a.artefact}" if a.artefact else entry.folder
    found = {"function": entry.function, "key": entry.key, "folder": entry.folder}
    expected = {"function": function, "key": "" if function else a.artefact, "folder": folder}
    return [
        Issue(f"{a.component}: expected the {key} {expected[key]!r}, found {found[key]!r}", place, AGAIN)
        for key in expected
        if expected[key] != found[key]
    ]


def _read_manifest(root: Path) -> Manifest:
    file = root / MANIFEST_FILE
    place = Place(str(file))
    try:
        data = read_input(file, MAX_MANIFEST, MANIFEST_FILE)
    except InputError as error:
        hint = "a bundle is made by `planner compile`"
        raise InputError(*(Issue(f"not a bundle: {i.message}", place, hint) for i in error.issues)) from error
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        try:
            other = another_kind(json.loads(data), "bundle", place)
        except (ValueError, RecursionError):
            other = None
        raise InputError(other or Issue(f"not a manifest: {refusal(error.errors()[0])}", place)) from error


def _unsafe(manifest: Manifest, place: Place) -> list[Issue]:
    """Paths that would leave the bundle, in whatever way they are written."""
    folders = [a.folder for a in manifest.artefacts]
    return [
        Issue(f"{name[:MAX_NAME]!r} leaves the bundle's folder, or is no path in it", place)
        for name in (*manifest.files, *folders)
        if len(name) > MAX_NAME
        or not name.isprintable()
        or PurePosixPath(name).is_absolute()
        or ".." in PurePosixPath(name).parts
        or "\\" in name
        or not name
    ]


def _tampered(root: Path, manifest: Manifest) -> list[Issue]:
    issues = []
    for name, expected in manifest.files.items():
        file = root / name
        if not _is_plain(root, file):
            issues.append(Issue(f"the file is missing or a link; expected sha256 {expected}", Place(str(file))))
        elif (found := digest_file(file)) != expected:
            message = f"the file was changed: expected sha256 {expected}, found {found}"
            issues.append(Issue(message, Place(str(file)), AGAIN))
    return issues


def _is_plain(root: Path, file: Path) -> bool:
    """Whether `file` is a regular file, and no folder on the way to it is a link."""
    inner = file
    while inner != root:
        if inner.is_symlink():
            return False
        inner = inner.parent
    return file.is_file()


def _extra(root: Path, manifest: Manifest) -> list[Issue]:
    issues = []
    for base, folders, files in os.walk(root):
        for name in (*files, *(f for f in folders if Path(base, f).is_symlink())):
            relative = Path(base, name).relative_to(root).as_posix()
            if relative not in manifest.files and relative != MANIFEST_FILE:
                issues.append(Issue("the file is not in the bundle's manifest", Place(str(Path(base, name)))))
    return issues


def write_bundle(
    folder: str | Path,
    plan: Plan,
    app: Document[Application],
    infra: Document[Infrastructure],
    artefact_folder: ArtefactFolder,
    versions: Mapping[str, str],
) -> Bundle:
    """Assemble the bundle of `plan` in `folder`, in one step: it is there whole or not at all.

    `app` and `infra` are the documents that the plan was made from; functions are taken from the application's folder.
    A bundle that is there already is replaced. The same inputs give the same bytes.

    Raises InputError where the plan has nothing to run or rests on other files, an artefact or function is missing, or
    `folder` holds something else; EnvironmentFailed where the disk or its rights do not allow it.
    """
    target = Path(folder)
    if plan.status not in ("optimal", "feasible"):
        raise InputError(Issue(f"the plan is {plan.status}: there is nothing to bundle"))
    _check_inputs(plan, app, infra)
    refuse_impossible(plan, app.value, infra.value)
    if target.exists() and not (target / MANIFEST_FILE).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(Issue("the folder is there and is no bundle", Place(str(target)), "name another with -o"))
    with whole_folder(target) as work:
        _fill(work, plan, app, infra, artefact_folder, versions)
        open_bundle(work)
    return open_bundle(target)


def _check_inputs(plan: Plan, app: Document[Application], infra: Document[Infrastructure]) -> None:
    for document, expected in ((app, plan.inputs.app), (infra, plan.inputs.infra)):
        if document.digest != expected:
            hint = "solve again"
            raise InputError(Issue("the file changed since the plan was made", Place(document.file), hint))


def _fill(
    work: Path,
    plan: Plan,
    app: Document[Application],
    infra: Document[Infrastructure],
    artefact_folder: ArtefactFolder,
    versions: Mapping[str, str],
) -> None:
    write_plan(plan, work / PLAN_FILE)
    shutil.copyfile(app.file, work / APP_FILE)
    shutil.copyfile(infra.file, work / INFRA_FILE)
    artefacts = [_take(work, a, app, artefact_folder) for a in plan.assignments]
    files = {path.relative_to(work).as_posix(): digest_file(path) for path in sorted(work.rglob("*")) if path.is_file()}
    manifest = Manifest(
        application=plan.application,
        plan=plan.digest,
        artefacts=tuple(artefacts),
        files=files,
        versions=dict(sorted(versions.items())),
    )
    text = json.dumps(manifest.dump(), indent=1, ensure_ascii=False) + "\n"
    (work / MANIFEST_FILE).write_text(text, "utf-8")


def _take(work: Path, a: Assignment, app: Document[Application], artefact_folder: ArtefactFolder) -> BundledArtefact:
    """Copy what `a` runs into the bundle."""
    realisation = app.value.components[a.component].realisations[a.variant]
    if realisation.api is not None:
        return _bundled(a, PROJECT, function=_called(realisation))
    if realisation.function is not None:
        for file in package_files(app.folder, realisation.function):
            _copy(file, work / PROJECT / file.relative_to(app.folder))
        return _bundled(a, PROJECT, function=realisation.function)
    source = artefact_folder(a)
    if not source.is_dir():
        raise InputError(Issue(f"no artefact for {a.component} ({a.variant}, {a.backend})", Place(str(source))))
    name = a.artefact or source.name
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise InputError(Issue(f"expected an artefact's content address, got {name!r}"))
    folder = f"{ARTEFACTS}/{name}"
    for file in sorted(source.rglob("*")):
        if file.is_file():
            _copy(file, work / folder / file.relative_to(source))
    return _bundled(a, folder, key=a.artefact)


def _called(realisation: Variant) -> str:
    """The function, or the endpoint of a hosted API; empty for a model."""
    return realisation.api.endpoint if realisation.api is not None else realisation.function or ""


def _bundled(a: Assignment, folder: str, key: str = "", function: str = "") -> BundledArtefact:
    return BundledArtefact(
        component=a.component,
        segment=a.segment,
        variant=a.variant,
        backend=a.backend,
        threads=a.threads,
        batch=a.batch,
        folder=folder,
        key=key,
        function=function,
    )


def _copy(source: Path, target: Path) -> None:
    """The bytes alone: no times, owners or modes."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
