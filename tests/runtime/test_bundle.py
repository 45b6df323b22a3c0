"""Bundles: whole or not at all, and nothing in them that was not signed off."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.bundle import Bundle, open_bundle, write_bundle
from specs.errors import InputError
from specs.load import load_application, load_infrastructure
from specs.manifest import MANIFEST_FILE
from specs.plan import Assignment
from tests.runtime.sample import copy_project, make_bundle, make_plan


def _bytes(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _write(folder: Path, project: Path, **changes: object) -> Bundle:
    app, infra = load_application(project / "app.yaml"), load_infrastructure(project / "infra.yaml")
    plan = make_plan(project).model_copy(update=changes)

    def nothing(a: Assignment) -> Path:
        raise AssertionError(a)

    return write_bundle(folder, plan, app, infra, nothing, {"b": "2", "a": "1"})


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    one, two = _write(tmp_path / "one", project), _write(tmp_path / "two", project)
    assert _bytes(one.folder) == _bytes(two.folder)
    assert set(one.manifest.files) == {
        "app.yaml",
        "infra.yaml",
        "plan.yaml",
        "project/pictures/__init__.py",
        "project/pictures/letters.py",
        "project/pictures/steps.py",
    }
    assert one.manifest.plan == one.plan.digest
    assert {p.name for p in tmp_path.iterdir()} == {"project", "one", "two"}


def test_a_bundle_replaces_a_bundle_and_nothing_else(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    _write(tmp_path / "b", project)
    _write(tmp_path / "b", project)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine").write_text("x", "utf-8")
    with pytest.raises(InputError, match="is no bundle"):
        _write(tmp_path / "c", project)
    assert (tmp_path / "c" / "mine").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"project", "b", "c"}


def test_a_bundle_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    (project / "pictures" / "steps.py").unlink()
    with pytest.raises(InputError, match="no such module"):
        _write(tmp_path / "b", project)
    assert [p.name for p in tmp_path.iterdir()] == ["project"]


def test_a_plan_of_other_files_or_without_an_answer_is_refused(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    plan = make_plan(project)
    with pytest.raises(InputError, match="changed since the plan was made"):
        _write(tmp_path / "b", project, inputs=plan.inputs.model_copy(update={"app": "0" * 64}))
    with pytest.raises(InputError, match="nothing to bundle"):
        _write(tmp_path / "b", project, status="infeasible")


def _edit_manifest(edit: Callable[[dict[str, object]], object]) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        file = folder / MANIFEST_FILE
        manifest = json.loads(file.read_text("utf-8"))
        edit(manifest)
        file.write_text(json.dumps(manifest), "utf-8")

    return change


def _link(folder: Path) -> None:
    target = folder / "project" / "pictures"
    target.rename(folder.parent / "elsewhere")
    target.symlink_to(folder.parent / "elsewhere")


TAMPERINGS: list[tuple[Callable[[Path], object], str]] = [
    (
        lambda f: (f / "project/pictures/steps.py").write_text("x = 1"),
        "steps.py: the file was changed: expected sha256",
    ),
    (lambda f: (f / "plan.yaml").write_text("x: 1"), "plan.yaml: the file was changed"),
    (lambda f: (f / "app.yaml").unlink(), "app.yaml: the file is missing"),
    (lambda f: (f / "extra.py").write_text("x"), "extra.py: the file is not in the bundle's manifest"),
    (lambda f: (f / "project/other").symlink_to("/etc"), "other: the file is not in the bundle's manifest"),
    (_link, "is missing or a link"),
    (lambda f: (f / MANIFEST_FILE).unlink(), "not a bundle"),
    (lambda f: (f / MANIFEST_FILE).write_text("{"), "not a manifest"),
    (_edit_manifest(lambda m: m.update(plan="0" * 64)), "expected the plan"),
    (_edit_manifest(lambda m: m.update(more=1)), "not a manifest: unknown key 'more'"),
    (_edit_manifest(lambda m: m["files"].update({"../x": "0" * 64})), "leaves the bundle"),  # type: ignore[attr-defined]
    (_edit_manifest(lambda m: m["files"].update({"/etc/passwd": "0" * 64})), "leaves the bundle"),  # type: ignore[attr-defined]
    (_edit_manifest(lambda m: m["artefacts"][0].update(folder="../..")), "leaves the bundle"),  # type: ignore[index]
    (_edit_manifest(lambda m: m["files"].pop("infra.yaml")), "not in the bundle's manifest"),  # type: ignore[attr-defined]
    (_edit_manifest(lambda m: m["files"].update({"a" * 5000: "0" * 64})), "leaves the bundle"),  # type: ignore[attr-defined]
    (_edit_manifest(lambda m: m["files"].update({"a\0b": "0" * 64})), "leaves the bundle"),  # type: ignore[attr-defined]
    (_edit_manifest(lambda m: m["artefacts"][0].update(function="os:system")), "expected the function"),  # type: ignore[index]
    (_edit_manifest(lambda m: m["artefacts"][0].update(key="other")), "expected the key"),  # type: ignore[index]
    (_edit_manifest(lambda m: m.update(application="other")), "expected the application"),
    (lambda f: os.mkfifo(f / "pipe"), "pipe: the file is not in the bundle's manifest"),
    (_edit_manifest(lambda m: m["artefacts"].pop()), "no artefact for decide"),  # type: ignore[attr-defined]
]


@pytest.mark.parametrize(("tamper", "message"), TAMPERINGS)
def test_a_bundle_that_was_changed_is_refused(tmp_path: Path, tamper: Callable[[Path], object], message: str) -> None:
    bundle = make_bundle(tmp_path)
    tamper(bundle.folder)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        open_bundle(bundle.folder)
