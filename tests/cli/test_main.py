"""The frame of the command: help, streams, exit codes, one line an error, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from planner.cli.main import main
from planner.cli.results import MODELS
from specs.schema import json_schema
from tests.cli.calling import planner

VERBS = (
    "init",
    "validate",
    "profile",
    "solve",
    "verify",
    "diff",
    "replan",
    "compile",
    "export",
    "run",
    "report",
    "schema",
)
HEAVY = ("tvm", "ray", "ortools", "onnx", "onnxruntime", "networkx", "numpy", "pydantic")


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"Example: planner {verb}" in " ".join(capsys.readouterr().out.split())


def test_help_loads_no_heavy_library() -> None:
    code = f"import sys, planner.cli.main as m; m.main(['--help']); print([x for x in {HEAVY!r} if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["slove"], "slove"),
        (["solve", "--tiem-limit", "3"], "--tiem-limit"),
        (["solve", "a.yaml", "--time-limit", "soon"], "--time-limit"),
        (["solve", "a.yaml", "--infra", "i.yaml", "--gap", "7"], "--gap"),
        (["run"], "BUNDLE"),
        (["validate", "a.yaml", "--format", "xml"], "xml"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("error: ")
    assert expected in streams.err
    assert streams.err.count("\n") == 1


def test_no_arguments_show_the_help_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "Commands:" in streams.err


def test_a_traceback_is_shown_with_debug_alone(tmp_path: Path) -> None:
    plain = planner("validate", "no.yaml", folder=tmp_path)
    assert plain.code == 2
    assert plain.err == "error: no.yaml: cannot read no.yaml: No such file or directory\n"
    assert "Traceback" in planner("validate", "no.yaml", "--debug", folder=tmp_path).err


def test_a_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('schema: "\\e[31mred\\nnext"\n', "utf-8")
    called = planner("validate", "a.yaml", folder=tmp_path)
    assert called.code == 2
    assert "\x1b" not in called.err


def test_a_place_that_cannot_be_written_is_the_environment(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    called = planner("init", "file/inner", folder=tmp_path)
    assert called.code == 3
    assert called.err.startswith("error: ")
    assert "Traceback" not in called.err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("planner 0.")


@pytest.mark.parametrize("arguments", [["--help"], ["schema"], ["schema", "app"], ["schema", "nope", "-f", "json"]])
def test_a_reader_that_went_away_is_not_an_answer(arguments: list[str], tmp_path: Path) -> None:
    """The code is that of a process which SIGPIPE ended; 1 would mean that the answer is no."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "planner.cli.entry", *arguments]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    os.close(write)
    assert done.returncode == 141, done.stderr
    assert "Errno" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["validate", "no.yaml", "--infra", "no.yaml"], 2),
        (["solve", "no.yaml", "--infra", "no.yaml"], 2),
        (["verify", "no.yaml", "no.yaml", "--infra", "no.yaml"], 2),
        (["run", "nowhere"], 2),
        (["report", "no.yaml"], 2),
        (["slove"], 2),
        (["init", "file/inner"], 3),
    ],
)
def test_a_program_is_given_one_object_where_there_is_no_result(
    arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main([*arguments, "--format", "json"]) == code
    streams = capsys.readouterr()
    answer = json.loads(streams.out)
    name = "validate" if arguments[0] == "validate" else "error"
    assert answer["schema"] == f"tierplan.{name}/v1"
    jsonschema.validate(answer, json_schema(MODELS[name]))
    assert len(answer["issues"]) == len(streams.err.splitlines())
    assert all(issue["message"] in streams.err for issue in answer["issues"])


def test_a_second_file_is_answered_with_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "app.yaml", "infra.yaml"]) == 2
    assert "(see planner validate --help; the infrastructure goes with --infra)" in capsys.readouterr().err
    assert main(["undeploy"]) == 2
    assert "(see planner undeploy --help)" in capsys.readouterr().err
