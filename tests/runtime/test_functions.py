"""The user's functions: from their project alone, called and checked."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.stages.functions import call_function, load_function
from specs.errors import InputError
from specs.function_files import digest_function, package_files
from specs.tensors import parse_type


def project(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        file = folder / (name.replace("__", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return folder


def test_a_function_may_import_its_own_package_now_and_later(tmp_path: Path) -> None:
    home = project(
        tmp_path / "a",
        pack_a__steps="""
from pack_a.one import ONE

def f(x):
    from pack_a.two import TWO
    return {"y": x + ONE + TWO}
""",
        pack_a__one="ONE = 1",
        pack_a__two="TWO = 2",
    )
    found = load_function(home, "pack_a.steps:f")
    assert call_function(found, "f", {"x": np.array(1)}, {"y": parse_type("i64")}) == {"y": 4}
    assert not list(home.rglob("__pycache__"))


def test_two_projects_may_call_their_packages_alike(tmp_path: Path) -> None:
    one = project(tmp_path / "a", pack_b="def f():\n    return {'y': 1}")
    two = project(tmp_path / "b", pack_b="def f():\n    return {'y': 2}")
    first, second = load_function(one, "pack_b:f"), load_function(two, "pack_b:f")
    assert (first()["y"], second()["y"]) == (1, 2)


def test_other_files_of_the_project_are_not_importable(tmp_path: Path) -> None:
    home = project(tmp_path / "a", pack_c="import other_c", other_c="")
    with pytest.raises(InputError, match="cannot import: ModuleNotFoundError"):
        load_function(home, "pack_c:f")


@pytest.mark.parametrize("name", ["pack", "../pack:f", "pack:f:g", "pack/x:f", ":f", "pack:", ".pack:f", "pack.:f"])
def test_a_name_that_is_no_function_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="module:name"):
        load_function(tmp_path, name)


def test_a_link_that_leaves_the_project_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("def f(): pass", "utf-8")
    home = project(tmp_path / "a")
    (home / "pack_d.py").symlink_to(outside)
    with pytest.raises(InputError, match="leaves the project"):
        load_function(home, "pack_d:f")


def test_names_of_python_and_of_installed_packages_are_refused(tmp_path: Path) -> None:
    home = project(tmp_path / "a", json="def f(): pass", numpy="def f(): pass")
    with pytest.raises(InputError, match="Python itself"):
        load_function(home, "json:f")
    with pytest.raises(InputError, match="already imported"):
        load_function(home, "numpy:f")
    assert sys.modules["numpy"] is np


def test_what_is_missing_or_not_callable_is_named(tmp_path: Path) -> None:
    home = project(tmp_path / "a", pack_e="x = 1")
    with pytest.raises(InputError, match="no such module"):
        load_function(home, "pack_f:f")
    with pytest.raises(InputError, match="no function 'x'"):
        load_function(home, "pack_e:x")


@pytest.mark.parametrize("result", [None, 3, {}, {"y": 1, "z": 2}, {"y": "text"}, {"y": 0.5}])
def test_outputs_must_be_exactly_the_declared_ones(result: object) -> None:
    with pytest.raises(InputError, match=r"test_functions\.py:\d+:1: f: "):
        call_function(lambda: result, "f", {}, {"y": parse_type("i64")})


def test_what_a_function_raises_is_told_with_its_line(tmp_path: Path) -> None:
    home = project(tmp_path / "a", pack_h="def f(x):\n    y = [x]\n    return {'y': y[1]}\n")
    with pytest.raises(InputError, match=r"pack_h\.py:3:1: f: IndexError: list index out of range"):
        call_function(load_function(home, "pack_h:f"), "f", {"x": "a"}, {"y": parse_type("i64")})


def test_a_function_that_ends_the_process_is_told_with_its_line_too(tmp_path: Path) -> None:
    home = project(tmp_path / "a", pack_e="import sys\n\ndef f(x):\n    sys.exit(3)\n")
    with pytest.raises(InputError, match=r"pack_e\.py:4:1: f: SystemExit: 3"):
        call_function(load_function(home, "pack_e:f"), "f", {"x": "a"}, {"y": parse_type("i64")})


def test_a_change_of_what_a_function_may_import_changes_its_digest(tmp_path: Path) -> None:
    home = project(tmp_path / "a", pack_i__steps="def f(): ...\ndef g(): ...", pack_i__deep__more="", other="")
    before = digest_function(home, "pack_i.steps:f")
    assert before != digest_function(home, "pack_i.steps:g")
    (home / "other.py").write_text("x = 1", "utf-8")
    assert before == digest_function(home, "pack_i.steps:f")
    (home / "pack_i" / "deep" / "more.py").write_text("x = 1", "utf-8")
    assert before != digest_function(home, "pack_i.steps:f")


def test_a_bundle_carries_the_package_and_nothing_else(tmp_path: Path) -> None:
    home = project(tmp_path / "a", pack_g__steps="", pack_g__deep__more="", other="")
    (home / "pack_g" / "data.txt").write_text("x", "utf-8")
    files = [f.relative_to(home).as_posix() for f in package_files(home, "pack_g.steps:f")]
    assert files == ["pack_g/deep/more.py", "pack_g/steps.py"]
