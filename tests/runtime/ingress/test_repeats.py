"""A request that is sent again under the same id is run once; all else is another request."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from runtime.client import Client
from runtime.ingress.door import DoorOptions
from runtime.ingress.service import Limits
from runtime.values import Value
from specs.errors import EnvironmentFailed
from tests.runtime.ingress.doors import Opened, opened
from tests.runtime.processes import until
from tests.runtime.sample import copy_project, make_bundle, make_items
from tests.runtime.test_reference import by_hand

SLOW: Final[Mapping[str, Value]] = {"photo": bytes([7, 0, 0, 0, 0, 0, 0, 0]), "caption": "ab"}
"""It takes three seconds."""


@dataclass(frozen=True)
class World:
    door: Opened
    log: Path

    @property
    def client(self) -> Client:
        return Client(self.door.endpoints.http, "sample")

    def runs(self, request_id: str) -> int:
        """How often requests of that id were run, by the ingress's log."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return sum(line["event"] == "request" and line["id"] == request_id for line in lines)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    log = tmp_path / "log.jsonl"
    bundle = make_bundle(tmp_path, project=copy_project(tmp_path, steps=("time.sleep(0.5)", "time.sleep(3)")))
    with opened(tmp_path, DoorOptions(log_file=str(log), limits=Limits(requests=3)), bundle=bundle) as door:
        yield World(door, log)


def test_the_same_request_is_run_once_while_it_runs_and_after(world: World) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = [f.result() for f in [pool.submit(world.client.infer, SLOW, request_id="a") for _ in range(3)]]
    answers.append(world.client.infer(SLOW, request_id="a"))
    assert len({np.asarray(a.outputs["verdict"]).tobytes() for a in answers}) == 1
    assert world.runs("a") == 1


def test_other_values_under_the_same_id_have_their_own_answer(world: World) -> None:
    for item in make_items(20):
        got = world.client.infer(item.values, request_id="a")
        assert np.asarray(got.outputs["verdict"]).tolist() == [by_hand(item, "small")[0]]
    assert world.runs("a") == 20


def test_without_an_id_each_request_is_run(world: World) -> None:
    for _ in range(2):
        world.client.infer(make_items(1)[0].values)
    assert world.runs("") == 2


def test_what_failed_is_run_again(world: World) -> None:
    for _ in range(2):
        with pytest.raises(EnvironmentFailed, match="not a picture"):
            world.client.infer({"photo": b"!", "caption": ""}, request_id="a")
    assert world.runs("a") == 2


def test_who_joins_a_run_that_has_less_time_is_answered_all_the_same(world: World) -> None:
    hasty = Client(world.door.endpoints.http, "sample", timeout=1.5)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(hasty.infer, SLOW, request_id="a")
        assert until(lambda: bool(world.door.door.running), 60)
        assert np.asarray(world.client.infer(SLOW, request_id="a").outputs["verdict"]).shape == (1,)
        with pytest.raises(EnvironmentFailed, match="deadline"):
            first.result()


def go_away(world: World, request_id: str) -> None:
    """Ask, and close the connection before there is an answer."""
    tensors = [
        {"name": "photo", "datatype": "BYTES", "shape": [1], "data": ["BwAAAAAAAAA="],
         "parameters": {"content_type": "base64"}},
        {"name": "caption", "datatype": "BYTES", "shape": [1], "data": ["ab"]},
    ]  # fmt: skip
    body = json.dumps({"id": request_id, "inputs": tensors}).encode()
    head = f"POST /v2/models/sample/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", world.door.port)) as connection:
        connection.sendall(head.encode() + body)
        assert until(lambda: bool(world.door.door.running), 60)


def test_a_client_that_went_away_finds_its_answer_when_it_comes_back(world: World) -> None:
    go_away(world, "a")
    assert np.asarray(world.client.infer(SLOW, request_id="a").outputs["verdict"]).shape == (1,)
    assert world.runs("a") == 1


def test_clients_that_go_away_do_not_get_round_the_limit(world: World) -> None:
    for number in range(3):
        go_away(world, str(number))
        assert until(lambda number=number: world.door.door.running == number + 1, 60)  # type: ignore[misc]
    with pytest.raises(EnvironmentFailed, match="try again later"):
        world.client.infer(SLOW, request_id="more")
