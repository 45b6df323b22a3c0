"""Functions with an environment or secrets: in a process of their own, which alone knows them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.running.run import execute
from runtime.stages.functions import call_function
from runtime.stages.isolated import IsolatedFunction, open_isolated
from runtime.stages.secrets import FOLDER, Secrets, take_secrets
from runtime.values import Value
from specs.emulation import Stopwatch
from specs.errors import EnvironmentFailed, InputError
from specs.load import load_application
from specs.tensors import parse_type
from tests.runtime.memory_limit import memory_limit
from tests.runtime.processes import alive, until
from tests.runtime.sample import copy_project, make_bundle, make_items, make_plan, make_prediction, make_slice

STEPS = """
import os
import sys
import time

import numpy as np

COUNT = []

def seen(x):
    COUNT.append(x)
    return {"y": f"{os.environ.get('MODE')} {os.environ.get('KEY')} {len(COUNT)} {os.getpid()}"}

def back(a, b, c, d):
    return {"a": a, "b": b, "c": c.reshape(-1), "d": d + 1, "e": [np.float32(0.5), 2], "f": 7}

def wrong(x):
    raise ValueError("the key is " + os.environ["KEY"])

def loud(x):
    print("printed", os.environ["KEY"])
    print("said", os.environ["KEY"], file=sys.stderr, flush=True)
    return {"y": "done"}

def dies(x):
    os._exit(3)

def greedy(x):
    return {"y": f"{len(bytearray(b'x') * int(x))} {os.getpid()}"}

def works(x):
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass
    return {"y": "done"}

def left_out(x):
    import gc
    return {"y": str(gc.get_freeze_count())}

def listed(x):
    return {"y": {1, 2}}
"""
TEXT = {"y": parse_type("string")}
SECRET = "s3cr3t-of-the-tests"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "isolated_steps.py").write_text(STEPS, "utf-8")
    return folder


@pytest.fixture
def opened(home: Path) -> Iterator[list[IsolatedFunction]]:
    made: list[IsolatedFunction] = []
    yield made
    for function in made:
        function.close()


def start(home: Path, name: str, opened: list[IsolatedFunction], **environment: str) -> IsolatedFunction:
    secrets = Secrets({k: v for k, v in environment.items() if k == "KEY"})
    opened.append(IsolatedFunction(home, f"isolated_steps:{name}", environment, secrets))
    return opened[-1]


def test_each_function_sees_its_own_environment_and_keeps_what_it_remembers(
    home: Path, opened: list[IsolatedFunction]
) -> None:
    one, two = start(home, "seen", opened, MODE="fast", KEY=SECRET), start(home, "seen", opened, MODE="slow")
    said = [call_function(f, "seen", {"x": "a"}, TEXT)["y"] for f in (one, one, two)]
    texts = [str(text).split() for text in said]
    assert [t[:3] for t in texts] == [["fast", SECRET, "1"], ["fast", SECRET, "2"], ["slow", "None", "1"]]
    assert len({t[3] for t in texts} | {str(os.getpid())}) == 3
    assert "MODE" not in os.environ


def test_values_come_through_as_they_are(home: Path, opened: list[IsolatedFunction]) -> None:
    function = start(home, "back", opened, MODE="x")
    given: dict[str, Value] = {
        "a": b"\0\xff",
        "b": "größer",
        "c": np.arange(6, dtype=np.int64).reshape(2, 3),
        "d": np.asarray(1.5, np.float32),
    }
    kinds = {"a": "bytes", "b": "string", "c": "i64[6]", "d": "f32", "e": "f32[2]", "f": "i64"}
    found = call_function(function, "back", given, {k: parse_type(v) for k, v in kinds.items()})
    assert (found["a"], found["b"]) == (b"\0\xff", "größer")
    assert [np.asarray(found[k]).tolist() for k in "cdef"] == [[0, 1, 2, 3, 4, 5], 2.5, [0.5, 2.0], 7]


def test_what_it_raises_comes_with_its_line_and_without_its_secrets(home: Path, opened: list[IsolatedFunction]) -> None:
    function = start(home, "wrong", opened, KEY=SECRET)
    with pytest.raises(InputError, match=r"isolated_steps\.py:18:1: wrong: ValueError: the key is \*\*\*$"):
        call_function(function, "wrong", {"x": "a"}, TEXT)
    with pytest.raises(InputError, match="expected bytes, text, a number or an array, got set"):
        call_function(start(home, "listed", opened, MODE="x"), "listed", {"x": "a"}, TEXT)
    with pytest.raises(InputError, match="has no function 'nothing'"):
        start(home, "nothing", opened, MODE="x")


def test_what_it_prints_is_no_answer_and_shows_no_secret(
    home: Path, opened: list[IsolatedFunction], capfd: pytest.CaptureFixture[str]
) -> None:
    function = start(home, "loud", opened, KEY=SECRET)
    assert call_function(function, "loud", {"x": "a"}, TEXT) == {"y": "done"}
    said = ""

    def heard() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "said ***" in said

    assert until(heard, 60)
    assert SECRET not in said


def test_a_process_that_ends_fails_one_call_and_the_next_starts_another(
    home: Path, opened: list[IsolatedFunction]
) -> None:
    function = start(home, "dies", opened, MODE="x")
    for _ in range(2):
        with pytest.raises(EnvironmentFailed, match=r"the process of isolated_steps:dies ended with exit code 3"):
            call_function(function, "dies", {"x": "a"}, TEXT)


def test_a_process_that_the_kernel_kills_for_its_memory_fails_that_call_alone(
    home: Path, opened: list[IsolatedFunction]
) -> None:
    function = start(home, "greedy", opened)
    count, first = str(call_function(function, "greedy", {"x": "1000"}, TEXT)["y"]).split()
    assert count == "1000"
    with memory_limit([int(first)], 100_000_000), pytest.raises(EnvironmentFailed, match="ended with signal 9"):
        call_function(function, "greedy", {"x": "400000000"}, TEXT)
    assert not str(call_function(function, "greedy", {"x": "1000"}, TEXT)["y"]).endswith(f" {first}")


def test_a_process_ends_with_what_holds_it(home: Path) -> None:
    function = IsolatedFunction(home, "isolated_steps:seen", {"MODE": "x"})
    pid = function._process.pid
    assert alive({pid})
    del function
    assert until(lambda: not alive({pid}), 60)


def test_its_processor_time_counts_as_the_thread_s(home: Path, opened: list[IsolatedFunction]) -> None:
    function = start(home, "works", opened, MODE="x")
    watch = Stopwatch.start()
    call_function(function, "works", {"x": "a"}, TEXT)
    assert watch.read()[1] >= 0.02
    assert function.peak_memory() > 5_000_000


def test_a_search_for_garbage_leaves_out_what_a_process_has_imported(
    home: Path, opened: list[IsolatedFunction]
) -> None:
    function = start(home, "left_out", opened, MODE="x")
    assert int(str(call_function(function, "left_out", {"x": "a"}, TEXT)["y"])) > 1000


def test_without_an_environment_a_function_stays_in_this_process(home: Path) -> None:
    assert call_function(open_isolated(home, "isolated_steps:seen"), "f", {"x": "a"}, TEXT)["y"] != ""
    assert not isinstance(open_isolated(home, "isolated_steps:seen"), IsolatedFunction)


# --- where secrets come from

ASKING = ("function: pictures.steps:decide", "function: pictures.steps:decide\n    secrets: [KEY]")


def test_a_secret_is_taken_from_the_environment_or_a_folder_and_from_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = load_application(copy_project(tmp_path, app=ASKING) / "app.yaml")
    line = app.place("components", "decide", "secrets", 0).line
    with pytest.raises(InputError, match=rf"app\.yaml:{line}:\d+: the secret KEY of 'decide' is not given"):
        take_secrets(app)
    monkeypatch.setenv("KEY", "from-environment")
    assert take_secrets(app).values == {"KEY": "from-environment"}
    assert "KEY" not in os.environ
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "KEY").write_text("from-file\n", "utf-8")
    monkeypatch.setenv(FOLDER, str(tmp_path / "kept"))
    assert take_secrets(app).values == {"KEY": "from-file"}
    (tmp_path / "kept" / "KEY").write_text("x" * 70_000, "utf-8")
    with pytest.raises(InputError, match="KEY"):
        take_secrets(app)


def test_secrets_are_shown_by_nothing_that_prints_them() -> None:
    secrets = Secrets({"KEY": SECRET, "LONGER": SECRET + "-more"})
    assert SECRET not in f"{secrets} {secrets!r} {secrets.of(['KEY'])}"
    assert secrets.hide(f"a {SECRET}-more b {SECRET} c") == "a *** b *** c"
    assert pickle.loads(pickle.dumps(secrets)).values == secrets.values
    assert secrets.of(["KEY", "OTHER"]).values == {"KEY": SECRET}


def test_a_run_gives_a_secret_to_the_function_that_names_it_and_writes_it_nowhere(tmp_path: Path) -> None:
    checked = (
        "def decide(",
        "def decide(**given):\n    import os\n    assert os.environ['KEY'] and os.environ['MODE'] == 'x'\n"
        "    return _decide(**given)\n\n\ndef _decide(",
    )
    asking = (ASKING[0], ASKING[1] + "\n    environment: {MODE: x}")
    project = copy_project(tmp_path, app=asking, steps=checked)
    bundle = make_bundle(tmp_path, make_plan(project), project)
    part = make_slice(requests=20)
    prediction = make_prediction(bundle, part)
    done = execute(bundle, part, make_items(8), prediction, on="process", secrets=Secrets({"KEY": SECRET}))
    assert (done.result.requests.answered, done.result.requests.wrong) == (20, 0)
    assert SECRET not in done.result.model_dump_json()
    assert SECRET not in repr(done)
    written = [file for file in bundle.folder.rglob("*") if file.is_file()]
    assert not [file for file in written if SECRET.encode() in file.read_bytes()]
    with pytest.raises(InputError, match="decide: the secret KEY is not given"):
        execute(bundle, part, make_items(8), prediction, on="process")
