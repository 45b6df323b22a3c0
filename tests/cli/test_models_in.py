"""`model: module:function` in app.yaml and on the command line: from the function to a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.calling import planner
from tests.cli.conftest import judge

MAKE = """\
import onnx


def make_judge():
    return onnx.load_from_string(open("judge.onnx", "rb").read())


def fails():
    raise ValueError("the measurements are gone")
"""
ON = ("app.yaml", "--infra", "infra.yaml")


@pytest.fixture
def made(project: Path) -> Path:
    """The project with its model made by a function that reads a file."""
    (project / "make.py").write_text(MAKE)
    text = (project / "app.yaml").read_text()
    (project / "app.yaml").write_text(
        text.replace("model: judge.onnx", "model: make:make_judge\n    reads: [judge.onnx]")
    )
    return project


def change(folder: Path, old: str, new: str) -> None:
    text = (folder / "app.yaml").read_text()
    assert old in text
    (folder / "app.yaml").write_text(text.replace(old, new))


def test_a_function_that_returns_a_model_goes_all_the_way_to_a_bundle(made: Path) -> None:
    before = planner("validate", *ON, folder=made)
    assert (before.code, before.err) == (0, "")
    assert "1 model" in before.out  # nothing of the user's is run by it
    assert "not checked before planner profile converts them: the tensors of make:make_judge" in before.out
    profiled = planner("profile", *ON, "--budget", "0.05", "--format", "json", folder=made)
    assert profiled.code == 0, profiled.err
    assert "make:make_judge: made by the project with ONNX" in profiled.err
    conversion = json.loads(profiled.out)["conversions"]["judge/default"]
    assert list(conversion["reads"]) == ["judge.onnx"]
    after = planner("validate", *ON, folder=made).out
    assert "1 model," in after
    assert "not checked" not in after
    assert planner("solve", *ON, folder=made).code == 0
    compiled = planner("compile", "plan.yaml", *ON, folder=made)
    assert compiled.code == 0, compiled.err
    assert "(0 compiled now)" in compiled.out
    collected = json.loads(planner("hub", "gc", "--format", "json", folder=made).out)
    assert not any(name.startswith("converted/") for name in collected["removed"])
    assert not list((made / "bundle").rglob("make*"))  # it was needed to make the model, not to run it
    # What the function reads is a part of the model: another file, another model.
    (made / "judge.onnx").write_bytes(judge().SerializeToString() + b"")
    (made / "make.py").write_text(MAKE + "\n")
    stale = planner("compile", "plan.yaml", *ON, folder=made)
    assert stale.code == 2
    assert "judge/default changed since" in stale.err


def test_a_function_alone_is_profiled_where_it_stands(made: Path) -> None:
    called = planner("profile", "make:make_judge", "--budget", "0.02", "--format", "json", folder=made)
    assert called.code == 0, called.err
    result = json.loads(called.out)
    assert (result["model"], result["inputs"]) == ("make:make_judge", {"features": "f32[4]"})
    assert result["conversion"]["library"].startswith("ONNX ")
    crossed = planner("compile", "make:make_judge", "--target", "wasm32", "--format", "json", folder=made)
    assert crossed.code == 0, crossed.err
    assert json.loads(crossed.out)["model"] == "make:make_judge"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "\n    reads: [judge.onnx]",
            "",
            "reads judge.onnx, whose change would not be noticed (add reads: [judge.onnx]",
        ),
        ("make:make_judge", "make:fails", "make:fails: ValueError: the measurements are gone ("),
        ("make:make_judge", "make:make_juge", "make.py has no function 'make_juge' (did you mean 'make_judge'?)"),
        ("make:make_judge", "elsewhere:make_judge", "elsewhere.py is missing"),
        ("reads: [judge.onnx]", "reads: [../secret]", "'../secret' leaves the folder of the application"),
        ("reads: [judge.onnx]", "reads: [nothing.csv]", "'nothing.csv', which make:make_judge reads, is missing"),
        ("model: make:make_judge", "model: judge.onnx", "reads belongs to a model that is given as module:function"),
        (
            "make:make_judge\n    reads: [judge.onnx]",
            "judge.pkl",
            "judge.pkl: a file .pkl runs code where it is loaded",
        ),
    ],
)
def test_what_is_wrong_with_a_model_is_said_at_its_line(made: Path, old: str, new: str, expected: str) -> None:
    change(made, old, new)
    called = planner("profile", *ON, folder=made)
    assert (called.code, called.out) == (2, "")
    errors = [line for line in called.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: app.yaml:")
    assert expected in errors[0]


@pytest.mark.parametrize("word", ["model.pt2", "model.joblib"])
def test_a_file_that_would_run_code_is_refused_by_its_name(tmp_path: Path, word: str) -> None:
    called = planner("profile", word, folder=tmp_path)
    assert (called.code, called.out) == (2, "")
    assert f"error: {word}: a file .{word.split('.')[1]} runs code where it is loaded" in called.err
    assert "give module:function" in called.err


def test_what_is_no_model_says_which_are(tmp_path: Path) -> None:
    called = planner("profile", "model.csv", folder=tmp_path)
    assert called.code == 2
    assert "ONNX (.onnx), XGBoost (.json, .ubj), LightGBM (.txt), or module:function of the project" in called.err
