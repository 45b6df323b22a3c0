"""What a component remembers outlives its process as far as its last checkpoint, and is at one place at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from runtime.hosting.opening import open_references
from runtime.stages.checkpoint import CheckpointFiles, read_checkpoint
from runtime.stages.functions import call_function
from runtime.stages.state import Kept, StateMaker, States, in_memory
from runtime.stages.work import open_function
from runtime.topology import topology
from specs.application import State
from specs.errors import EnvironmentFailed, InputError
from specs.load import load_application
from specs.tensors import parse_type
from tests.runtime.processes import until
from tests.runtime.remembering import counting_project
from tests.runtime.sample import make_bundle, make_items, make_plan, make_slice

HERE = frozenset({"bases-0"})
STATE = State.model_validate({"size": "100 B", "every": "1 h"})


class Numbers:
    """Remembers the numbers that it was given."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, **inputs: Any) -> dict[str, Any]:
        x = inputs["x"]
        self.seen.append(x)
        return {"y": sum(self.seen)}

    def save(self) -> bytes:
        return bytes(self.seen)

    def load(self, saved: bytes) -> None:
        self.seen = list(saved)


def files(folder: Path, owner: str, member: str = "bases-0", members: frozenset[str] = HERE) -> CheckpointFiles:
    return CheckpointFiles(folder, "numbers", member, members, owner, STATE.size)


def kept(folder: Path, owner: str = "one", make: Callable[[], Any] = Numbers) -> Kept:
    return Kept("numbers", STATE, make, files(folder, owner))


# --- files


@given(data=st.binary(max_size=100))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path, data: bytes) -> None:
    mine = files(tmp_path, "one")
    mine.write(data)
    found = read_checkpoint(mine.file, STATE.size)
    assert (found.data, found.head.owner, found.head.member) == (data, "one", "bases-0")
    assert mine.owned
    assert not files(tmp_path, "two").owned
    assert [file.name for file in tmp_path.iterdir()] == ["numbers@bases-0.checkpoint"]


def test_the_folder_of_checkpoints_is_the_user_s_alone(tmp_path: Path) -> None:
    files(tmp_path / "kept", "one").write(b"a secret")
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700


@given(at=st.integers(min_value=0), bit=st.integers(0, 7))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_a_damaged_checkpoint_nothing_is_believed(tmp_path: Path, at: int, bit: int) -> None:
    mine = files(tmp_path, "one")
    mine.write(b"remembered")
    whole = bytearray(mine.file.read_bytes())
    begin = whole.index(b"\n") + 1
    whole[begin + at % (len(whole) - begin)] ^= 1 << bit
    mine.file.write_bytes(whole)
    with pytest.raises(InputError, match=r"numbers@bases-0\.checkpoint.*damaged"):
        mine.find()
    mine.file.write_bytes(bytes(whole)[:-1])
    with pytest.raises(InputError, match="damaged"):
        mine.find()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "not a checkpoint"),
        (b"{}\n", "not a checkpoint"),
        (b'{"schema": "tierplan.checkpoint/v2"}\n', "another version"),
        (b"x" * 5000, "larger than"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_the_file(tmp_path: Path, text: bytes, expected: str) -> None:
    mine = files(tmp_path, "one")
    mine.file.write_bytes(text)
    with pytest.raises(InputError, match=expected) as caught:
        mine.find()
    assert str(mine.file) in str(caught.value)


def test_a_state_goes_to_the_only_other_member_and_leaves_nothing_behind(tmp_path: Path) -> None:
    files(tmp_path, "one").write(b"abc")
    there = files(tmp_path, "two", "cloud-0", frozenset({"cloud-0"}))
    found = there.find()
    assert found is not None
    assert found.data == b"abc"
    there.write(found.data)
    there.remove_others()
    assert [file.name for file in tmp_path.iterdir()] == ["numbers@cloud-0.checkpoint"]


def test_states_of_several_members_are_not_guessed_from(tmp_path: Path) -> None:
    for member in ("bases-0", "bases-1"):
        files(tmp_path, "one", member).write(b"abc")
    with pytest.raises(InputError, match="from which state to go on: numbers@bases-0"):
        files(tmp_path, "two", "cloud-0", frozenset({"cloud-0"})).find()


def test_a_deployment_of_fewer_members_leaves_what_the_others_remember(tmp_path: Path) -> None:
    for member in ("bases-0", "bases-1"):
        files(tmp_path, "one", member).write(b"abc")
    fewer = Kept("numbers", STATE, Numbers, files(tmp_path, "two"))
    fewer.take_over()
    assert read_checkpoint(files(tmp_path, "one", "bases-1").file, STATE.size).data == b"abc"
    assert fewer(x=1) == {"y": sum(b"abc") + 1}


def test_what_a_process_left_that_died_while_it_wrote_does_not_pile_up(tmp_path: Path) -> None:
    (tmp_path / "numbers@bases-0.checkpoint.7.part").write_bytes(b"half")
    kept(tmp_path).take_over()
    assert [file.name for file in tmp_path.iterdir()] == ["numbers@bases-0.checkpoint"]


def test_a_folder_that_cannot_be_made_is_told_and_ends_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFailed, match="cannot write"):
        files(tmp_path / "file" / "kept", "one").write(b"abc")


# --- one that remembers


def test_it_goes_on_from_its_last_checkpoint_and_no_further(tmp_path: Path) -> None:
    first = kept(tmp_path)
    first.take_over()
    first(x=1)
    first(x=2)
    first.checkpoint()
    first(x=3)  # then its process dies
    second = kept(tmp_path)
    second.take_over()
    assert second(x=4) == {"y": 7}


def test_at_its_end_it_writes_what_has_changed(tmp_path: Path) -> None:
    first = kept(tmp_path)
    first.take_over()
    first(x=5)
    first.close()
    with pytest.raises(EnvironmentFailed, match="not here any more"):
        first(x=1)
    second = kept(tmp_path)
    second.take_over()
    assert second(x=1) == {"y": 6}


def test_calls_of_the_new_release_wait_until_the_old_one_has_handed_over(tmp_path: Path) -> None:
    old, new = kept(tmp_path, "old"), kept(tmp_path, "new")
    old.take_over()
    old(x=1)
    made: list[Any] = []
    waiting = threading.Thread(target=lambda: made.append(new(x=10)))
    waiting.start()
    assert old(x=2) == {"y": 3}
    old.hand_over()
    assert not made
    new.take_over()
    waiting.join(10)
    assert made == [{"y": 13}]
    again = kept(tmp_path, "old")  # of a process that was started again meanwhile
    assert not files(tmp_path, "old").owned
    again.hand_over()
    again.close()
    assert read_checkpoint(files(tmp_path, "new").file, 100).data == bytes([1, 2])


def test_one_that_cannot_be_saved_stays_where_it_is(tmp_path: Path) -> None:
    mine = kept(tmp_path)
    mine.take_over()
    for _ in range(101):
        mine(x=1)
    mine.checkpoint()
    assert "save() gives 101 bytes; state: {size: ...} allows 100" in mine.report().problem
    with pytest.raises(EnvironmentFailed, match="101 bytes"):
        mine.hand_over()
    assert mine(x=1) == {"y": 102}
    assert read_checkpoint(files(tmp_path, "one").file, 100).data == b""


class Odd(Numbers):
    """Its checkpoints are nothing that a file could hold, or that it would take."""

    def save(self) -> Any:
        return "text"

    def load(self, saved: bytes) -> None:
        raise ValueError(f"what is {saved!r}?")


def test_what_save_and_load_do_wrong_is_said_with_the_component(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match=r"numbers: save\(\) gives str, expected bytes"):
        kept(tmp_path, make=Odd).take_over()
    files(tmp_path, "one").write(b"1")
    with pytest.raises(InputError, match=r"numbers: load\(\) does not take.*ValueError: what is b'1'"):
        kept(tmp_path, make=Odd).take_over()


def test_a_checkpoint_is_written_by_itself_when_it_is_due(tmp_path: Path) -> None:
    states = States(tmp_path, "bases-0", "one", moving=False)
    mine = states.open("numbers", State.model_validate({"size": "100 B", "every": "100 ms"}), Numbers, HERE)
    assert states.open("numbers", STATE, Numbers, HERE) is mine, "hosts of one process share it"
    mine(x=7)
    assert until(lambda: read_checkpoint(files(tmp_path, "one").file, 100).data == bytes([7]), 20)
    assert until(lambda: not states.report()[0].changed, 20)
    states.close()


def test_while_a_deployment_moves_only_the_owner_begins(tmp_path: Path) -> None:
    States(tmp_path, "bases-0", "old", moving=False).open("numbers", STATE, Numbers, HERE)
    old, new = (States(tmp_path, "bases-0", key, moving=True) for key in ("old", "new"))
    for states in (old, new):
        states.open("numbers", STATE, Numbers, HERE)
    assert [s.report()[0].in_force for s in (old, new)] == [True, False]
    old.hand_over()
    new.take_over()
    assert [s.report()[0].in_force for s in (old, new)] == [False, True]
    old.take_over()  # back, though the new one still has it: what it had written by then is what counts
    assert files(tmp_path, "old").owned
    for states in (old, new):
        states.close()


# --- any order of what may happen


class Moves(RuleBasedStateMachine):
    """Two releases, between which a state moves back and forth while processes die: nothing that was acknowledged by a
    checkpoint or a hand-over is lost, nothing is counted twice, and never are both in force."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.home = tempfile.TemporaryDirectory()
        self.folder = Path(self.home.name)
        self.now, self.other = "a", "b"
        self.releases = {"a": kept(self.folder, "a")}
        self.releases["a"].take_over()
        self.seen: list[int] = []
        self.safe = 0
        self.moving = False

    @rule(x=st.integers(0, 9))
    def ask(self, x: int) -> None:
        if self.releases[self.now].report().in_force and len(self.seen) < 100:
            self.seen.append(x)
            assert self.releases[self.now](x=x) == {"y": sum(self.seen)}

    @rule()
    def save(self) -> None:
        self.releases[self.now].checkpoint()
        if self.releases[self.now].report().in_force:
            self.safe = len(self.seen)

    @precondition(lambda self: not self.moving)
    @rule()
    def begin(self) -> None:
        self.moving = True
        self.releases[self.other] = kept(self.folder, self.other)

    @precondition(lambda self: self.moving)
    @rule()
    def hand_over(self) -> None:
        if self.releases[self.now].report().in_force:
            self.safe = len(self.seen)
        self.releases[self.now].hand_over()

    @precondition(lambda self: self.moving and not self.releases[self.now].report().in_force)
    @rule()
    def go_on(self) -> None:
        self.releases[self.other].take_over()
        self.now, self.other = self.other, self.now

    @precondition(lambda self: self.moving)
    @rule()
    def finish_or_go_back(self) -> None:
        self.releases[self.other].hand_over()
        self.releases[self.now].take_over()
        self.releases.pop(self.other).close()
        self.moving = False

    @rule()
    def die(self) -> None:
        states = {owner: States(self.folder, "bases-0", owner, moving=self.moving) for owner in self.releases}
        self.releases = {owner: s.open("numbers", STATE, Numbers, HERE) for owner, s in states.items()}
        for each in states.values():
            each._stop.set()
        self.seen = self.seen[: self.safe]

    @invariant()
    def one_has_it(self) -> None:
        assert sum(each.report().in_force for each in self.releases.values()) <= 1

    def teardown(self) -> None:
        self.releases[self.now].take_over()
        if len(self.seen) < 100:
            assert self.releases[self.now](x=0) == {"y": sum(self.seen)}
        self.home.cleanup()


def moves(examples: int) -> None:
    run_state_machine_as_test(Moves, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None))


def test_in_any_order_of_moves_and_deaths_a_state_is_whole_and_at_one_place() -> None:
    moves(20)


@pytest.mark.deep
def test_in_many_more_orders_of_moves_and_deaths_a_state_is_whole_and_at_one_place() -> None:
    moves(500)


# --- as a component


def test_a_class_is_loaded_called_and_rehearsed_without_a_trace(tmp_path: Path) -> None:
    app = load_application(counting_project(tmp_path, "bases") / "app.yaml").value
    work = open_function(app, "counter", "default", tmp_path / "project", {"decide.verdict": parse_type("i64[1]")})
    ask = {"verdict": np.array([2], np.int64)}
    assert work.run(ask)["count"].tolist() == [1, 2]  # type: ignore[union-attr]
    work.rehearse(ask)
    assert work.run(ask)["count"].tolist() == [2, 4]  # type: ignore[union-attr]


def test_what_its_call_raises_has_the_line_of_the_class(tmp_path: Path) -> None:
    (tmp_path / "raising_state.py").write_text(
        "class C:\n    def __call__(self, x):\n        raise ValueError('no')\n"
        "    def save(self): return b''\n    def load(self, saved): pass\n",
        "utf-8",
    )
    made = in_memory("c", STATE, StateMaker(tmp_path, "raising_state:C"))
    with pytest.raises(InputError, match=r"raising_state.py:3:1: c: ValueError: no"):
        call_function(made, "c", {"x": "a"}, {"y": parse_type("string")})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def C(x): ...", "expected a class, not a function"),
        ("class C:\n    def __call__(self): ...\n    def save(self): ...", "the class has no load"),
        (
            "class C:\n    def __init__(self, x): ...\n    def __call__(self): ...\n"
            "    def save(self): ...\n    def load(self, s): ...",
            "made without arguments",
        ),
    ],
)
def test_what_cannot_keep_state_is_refused_when_it_is_opened(
    tmp_path: Path, text: str, expected: str, request: pytest.FixtureRequest
) -> None:
    name = f"state_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(text, "utf-8")
    with pytest.raises(InputError, match=expected):
        StateMaker(tmp_path, f"{name}:C")()


def test_a_plan_that_runs_it_twice_is_refused(tmp_path: Path) -> None:
    project = counting_project(tmp_path, "bases")
    plan = make_plan(project, {"counter": ("bases", "rack")}, counter={"replicas": 2})
    bundle = make_bundle(tmp_path, plan, project)
    with pytest.raises(InputError, match="runs counter more than once"):
        topology(bundle.plan, bundle.app.value, bundle.infra.value, make_slice())


def test_a_reference_counts_from_nothing(tmp_path: Path) -> None:
    project = counting_project(tmp_path, "bases")
    bundle = make_bundle(tmp_path, make_plan(project, {"counter": ("bases", "rack")}), project)
    top = topology(bundle.plan, bundle.app.value, bundle.infra.value, make_slice())
    for _ in range(2):
        reference = open_references(bundle, top)["upload@phones"]
        counts = [reference.run(item).answers["answer"]["count"] for item in make_items(3)]
        assert [int(count[0]) for count in counts] == [1, 2, 3]


def test_time_between_checkpoints_is_counted_from_the_last(tmp_path: Path) -> None:
    mine = Kept("numbers", State.model_validate({"size": "100 B", "every": "100 ms"}), Numbers, files(tmp_path, "one"))
    mine.take_over()
    assert not mine.due, "nothing has changed"
    mine(x=1)
    time.sleep(0.11)
    assert mine.due
    mine.checkpoint()
    assert not mine.due
