"""The channel that the hosts of a deployed process share: who is let in, who is told, and where others are found."""

from __future__ import annotations

import itertools
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runtime.channel.zeromq import Secret
from runtime.deployment.exchange import ENDPOINT, KEY, Endpoint, Exchange, address_in, endpoint_in, make_key, read_key
from runtime.deployment.record import PORTS
from runtime.message import Message
from specs.errors import EnvironmentFailed
from tests.runtime.processes import until


def message(name: str, plan: str = "k/", seconds: float = 60.0) -> Message:
    return Message("values", name, "flow", "a", "stage", time.monotonic() + seconds, plan=plan)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str], Exchange]]:
    (tmp_path / PORTS).mkdir()
    make_key(tmp_path)
    made: list[Exchange] = []

    def open_(process: str) -> Exchange:
        made.append(Exchange(tmp_path, process, "127.0.0.1", encrypted=False))
        return made[-1]

    yield open_
    for exchange in made:
        exchange.close()


def test_the_key_is_for_its_user_alone_and_stays(tmp_path: Path) -> None:
    make_key(tmp_path)
    assert stat.S_IMODE((tmp_path / KEY).stat().st_mode) == 0o600
    first = read_key(tmp_path, encrypted=True)
    make_key(tmp_path)
    assert read_key(tmp_path, encrypted=True) == first
    assert first.private.decode() not in repr(first)
    with pytest.raises(EnvironmentFailed, match="key cannot be read"):
        read_key(tmp_path / "nowhere", encrypted=True)


def test_each_host_is_told_of_its_own_messages_and_the_channel_outlives_it(opened: Callable[[str], Exchange]) -> None:
    told: list[tuple[str, str]] = []
    came: list[str] = []
    a, b = opened("a"), opened("b")
    one = a.line("k/")(lambda _, msg, why: told.append(("one", msg.request)))
    other = a.line("k/cloud")(lambda _, msg, why: told.append(("other", msg.request)))
    a.start(lambda _: None)
    one.send("b", message("1"))
    other.send("b", message("2", "k/cloud"))
    assert until(lambda: sorted(told) == [("one", "1"), ("other", "2")], 60), "b does not listen yet"
    b.start(lambda m: came.append(m.request))
    one.close()
    other.send("b", message("3", "k/cloud"))
    assert until(lambda: came == ["3"], 60)
    one.send("c", message("4"))
    other.send("c", message("5", "k/cloud"))
    assert until(lambda: ("other", "5") in told, 60)
    assert ("one", "4") not in told


def test_who_has_another_key_is_not_let_in(opened: Callable[[str], Exchange], tmp_path: Path) -> None:
    came: list[str] = []
    told: list[str] = []
    b = opened("b")
    b.start(lambda m: came.append(m.request))
    other = Secret.new(encrypted=False)
    (tmp_path / KEY).write_bytes(other.public + b"\n" + other.private + b"\n")
    a = opened("a")
    a.start(lambda _: None)
    a.line("k/")(lambda _, msg, why: told.append(msg.request)).send("b", message("1", seconds=1.5))
    assert until(lambda: told == ["1"], 60)
    assert came == []


def test_what_a_process_cannot_take_is_told_to_its_origin(opened: Callable[[str], Exchange]) -> None:
    words: list[Message] = []
    a, b = opened("a"), opened("b")
    a.start(words.append)
    b.start(lambda m: b.turn_away(m, "not here"))
    a.line("k/")(lambda *_: None).send("b", message("1"))
    assert until(lambda: len(words) == 1, 60)
    assert (words[0].kind, words[0].request, words[0].consumer, words[0].reason) == ("unreached", "1", "b", "not here")


def test_where_a_process_listens_is_known_only_once_it_takes_messages(
    opened: Callable[[str], Exchange], tmp_path: Path
) -> None:
    file = tmp_path / PORTS / f"b{ENDPOINT}"
    b = opened("b")
    assert not file.exists()
    b.start(lambda _: None)
    assert file.read_text().startswith("tcp://127.0.0.1:")


def test_a_process_is_asked_to_have_a_host_open_and_says_whether_it_has(opened: Callable[[str], Exchange]) -> None:
    a, b, c = opened("a"), opened("b"), opened("c")
    a.start(lambda _: None)
    b.start(lambda m: b.has_adopted(m, "" if m.plan == "k/cloud" else "no such plan"))
    c.start(c.has_adopted)
    a.adopt({"b", "c"}, "k/cloud")
    with pytest.raises(EnvironmentFailed, match="b cannot take part: no such plan"):
        a.adopt({"b", "c"}, "k/bases")
    with pytest.raises(EnvironmentFailed, match="d cannot take part: no host for d"):
        a.adopt({"b", "d"}, "k/cloud")
    b.close()
    with pytest.raises(EnvironmentFailed, match=r"b cannot take part|did not answer"):
        a.adopt({"b"}, "k/cloud", limit=5.0)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[str, Callable[[Message], None]], Exchange]]:
    """Starts a process with a copy of the folder, `tmp_path`/NAME, of its own. Of a, b and c each knows the others."""
    make_key(tmp_path)
    for name in "abc":
        (tmp_path / name / PORTS).mkdir(parents=True)
        (tmp_path / name / KEY).write_bytes((tmp_path / KEY).read_bytes())
    made: list[Exchange] = []

    def begun(name: str, deliver: Callable[[Message], None]) -> Exchange:
        made.append(Exchange(tmp_path / name, name, "127.0.0.1", encrypted=True))
        made[-1].start(deliver)
        return made[-1]

    ends = {name: begun(name, lambda _: None).endpoint.address for name in "abc"}
    for exchange in made:
        exchange.close()
    for name, other in itertools.permutations("abc", 2):  # as the command that deploys does
        (tmp_path / name / PORTS / f"{other}{ENDPOINT}").write_text(ends[other], "ascii")
    yield begun
    for exchange in made:
        exchange.close()


Begin = Callable[[str, Callable[[Message], None]], Exchange]


def test_a_process_with_a_copy_listens_at_the_port_that_it_had_or_tells_the_others(
    begin: Begin, tmp_path: Path
) -> None:
    came: list[str] = []
    before = address_in(tmp_path / "a", "b")
    assert before is not None
    a, b = begin("a", lambda _: None), begin("b", lambda _: None)
    assert b.endpoint.address == before
    b.close()
    with socket.create_server(("127.0.0.1", int(before.rpartition(":")[2]))):
        b = begin("b", lambda m: came.append(m.request))
        assert b.endpoint.address != before
        assert until(lambda: address_in(tmp_path / "a", "b") == b.endpoint.address, 60)
        a.line("k/")(lambda *_: None).send("b", message("1"))
        assert until(lambda: came == ["1"], 60)


def test_a_process_that_is_not_there_when_another_tells_its_new_port_is_told_again(
    begin: Begin, tmp_path: Path
) -> None:
    before = address_in(tmp_path / "a", "b")
    assert before is not None
    with socket.create_server(("127.0.0.1", int(before.rpartition(":")[2]))):
        b = begin("b", lambda _: None)
        assert until(lambda: b._untold == {"a", "c"}, 60), "the word is lost"
        begin("a", lambda _: None)
        assert until(lambda: address_in(tmp_path / "a", "b") == b.endpoint.address, 60)
    assert until(lambda: b._untold == {"c"}, 60)


def test_one_that_moved_and_died_before_all_knew_tells_them_when_it_is_there_again(
    begin: Begin, tmp_path: Path
) -> None:
    before = address_in(tmp_path / "a", "b")
    assert before is not None
    with socket.create_server(("127.0.0.1", int(before.rpartition(":")[2]))):
        moved = begin("b", lambda _: None)
        moved.close()
        b = begin("b", lambda _: None)
        assert b.endpoint == moved.endpoint
        begin("a", lambda _: None)
        assert until(lambda: address_in(tmp_path / "a", "b") == b.endpoint.address, 60)


def test_two_that_move_at_once_find_each_other_by_a_third_that_stays(begin: Begin, tmp_path: Path) -> None:
    before = {name: endpoint_in(tmp_path / "c", name) for name in "ab"}
    came: list[str] = []
    with ExitStack() as taken:
        for place in before.values():
            assert place is not None
            port = int(place.address.rpartition(":")[2])
            taken.enter_context(socket.create_server(("127.0.0.1", port)))
        a = begin("a", lambda m: came.append(m.request))
        begin("c", lambda _: None)
        b = begin("b", lambda m: came.append(m.request))
        assert (a.endpoint.moves, b.endpoint.moves) == (1, 1)
        for name, other, place in (("a", "b", b.endpoint), ("b", "a", a.endpoint)):
            assert until(lambda n=name, o=other, p=place: endpoint_in(tmp_path / n, o) == p, 60), name  # type: ignore[misc]
        a.line("k/")(lambda *_: None).send("b", message("to b"))
        b.line("k/")(lambda *_: None).send("a", message("to a"))
        assert until(lambda: sorted(came) == ["to a", "to b"], 60)


def test_an_old_word_does_not_take_the_place_of_a_newer_one(begin: Begin, tmp_path: Path) -> None:
    a = begin("a", lambda _: None)
    newer, older = Endpoint("tcp://127.0.0.1:2", 2), Endpoint("tcp://127.0.0.1:1", 1)
    for place in (newer, older):
        a._hear("c", "b", place)
    assert endpoint_in(tmp_path / "a", "b") == newer
