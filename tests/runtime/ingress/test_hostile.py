"""Hostile input gets a protocol error, and no good request is lost among it."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from runtime.ingress.door import DoorOptions
from runtime.ingress.messages import message
from runtime.ingress.service import Limits
from runtime.reference.items import Item
from tests.runtime.ingress.doors import Opened, opened
from tests.runtime.processes import until
from tests.runtime.sample import make_items
from tests.runtime.test_reference import by_hand

LIMITS: Final = Limits(body=200_000, head_seconds=1.0, body_seconds=1.0, connections=200)
PATH: Final = "/v2/models/sample/infer"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(tmp_path_factory.mktemp("door"), DoorOptions(limits=LIMITS)) as found:
        yield found


def talk(port: int, data: bytes, seconds: float = 30.0) -> bytes:
    """Send `data`, and read until the other side closes, or has said nothing for `seconds`."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        connection.settimeout(seconds)
        answer = b""
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                answer += part
        except (TimeoutError, ConnectionError):
            pass
        return answer


def post(body: bytes, *headers: str, length: int | None = None, path: str = PATH) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    head.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def good(item: Item) -> dict[str, Any]:
    caption = item.values["caption"]
    data = [{"name": "caption", "datatype": "BYTES", "shape": [1], "data": [caption]}]
    photo = {"name": "photo", "datatype": "BYTES", "shape": [1], "data": [chr(item.values["photo"][0] % 90 + 35)]}  # type: ignore[operator]
    return {"inputs": [photo, *data]}


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def error(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"])


@pytest.mark.parametrize(
    ("body", "headers", "code", "says"),
    [
        (b"", [], 400, "not JSON"),
        (b"\xff\xfe{", [], 400, "not JSON"),
        (b"[" * 100_000, [], 400, "not JSON"),
        (b"[]", [], 400, "expected a JSON object"),
        (b'{"inputs": {}}', [], 400, "inputs"),
        (b'{"inputs": []}', [], 400, "needs the input"),
        (b'{"id": 7, "inputs": []}', [], 400, "id"),
        (b'{"parameters": [], "inputs": []}', [], 400, "parameters"),
        (b'{"inputs": [{"name": "nope"}]}', [], 400, "no input 'nope'"),
        (b'{"inputs": [{"name": ["photo"]}]}', [], 400, "no input"),
        (b'{"inputs": [{"name": "photo", "datatype": "FP32", "shape": [1]}]}', [], 400, "BYTES"),
        (b'{"inputs": [{"name": "photo", "datatype": "BYTES", "shape": [1, 1e9]}]}', [], 400, "shape"),
        (b'{"inputs": [{"name": "photo", "datatype": "BYTES", "shape": [1], "data": [[[["x"]]]]}]}', [], 400, "one"),
        (b'{"inputs": []}', ["Inference-Header-Content-Length: 99"], 400, "Content-Length"),
        (b'{"inputs": []}', ["Inference-Header-Content-Length: -1"], 400, "expected a number"),
        (b"x" * 300_000, [], 413, "larger than 200000"),
        (b'{"inputs": []}', ["Content-Encoding: gzip"], 400, ""),
    ],
)
def test_a_bad_body_gets_an_error_that_says_what_is_wrong(
    door: Opened, body: bytes, headers: list[str], code: int, says: str
) -> None:
    answer = talk(door.port, post(body, *headers))
    assert status(answer) == code, answer[:300]
    if says:
        assert says in error(answer)


def test_a_compressed_body_that_swells_is_cut_at_the_limit(door: Opened) -> None:
    import gzip

    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < LIMITS.body
    answer = talk(door.port, post(bomb, "Content-Encoding: gzip"))
    assert status(answer) == 413, answer[:300]


def test_who_sends_no_request_or_half_of_one_is_put_out(door: Opened) -> None:
    for start in (b"", b"POST /v2 HTT", b"GET /v2 HTTP/1.1\r\nHost: "):
        with socket.create_connection(("127.0.0.1", door.port), 10) as connection:
            connection.settimeout(10)
            connection.sendall(start)
            assert connection.recv(100) == b"", start


def test_who_sends_a_body_too_slowly_is_told_so(door: Opened) -> None:
    with socket.create_connection(("127.0.0.1", door.port), 10) as connection:
        connection.settimeout(10)
        connection.sendall(post(b"{", length=100))
        answer = connection.recv(65536)
    assert status(answer) == 408
    assert "did not come within 1 s" in error(answer)


def test_slow_senders_do_not_keep_good_requests_out(door: Opened) -> None:
    slow = [socket.create_connection(("127.0.0.1", door.port), 10) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(post(b"{", length=100))
        item = make_items(1)[0]
        assert status(talk(door.port, post(json.dumps(good(item)).encode()))) == 200
    finally:
        for connection in slow:
            connection.close()


def test_more_requests_than_have_room_are_refused_and_may_come_again(tmp_path: Path) -> None:
    with opened(tmp_path, DoorOptions(limits=Limits(body=1000, all_bodies=1000, body_seconds=60))) as small:
        body = post(json.dumps(good(make_items(1)[0])).encode())
        with socket.create_connection(("127.0.0.1", small.port), 60) as holder:
            holder.sendall(post(b"{", length=900))
            refused = b""

            def none_has_room() -> bool:
                nonlocal refused
                refused = talk(small.port, body)
                return status(refused) == 503

            assert until(none_has_room, 60)
            assert b"Retry-After: 1" in refused
            holder.sendall(b" " * 899)
            assert status(holder.recv(65536)) == 400
        assert status(talk(small.port, body)) == 200


def test_a_broken_message_gets_a_status_over_grpc(door: Opened) -> None:
    with grpc.insecure_channel(door.grpc) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for data in (b"\xff" * 20, b"\x0a\xff", b"x"):
            with pytest.raises(grpc.RpcError) as caught:
                infer(data, timeout=60)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as caught:
            infer(b"\0" * 300_000, timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/inference.GRPCInferenceService/ModelDestroy")(b"", timeout=60)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


# --- fuzzing


def mutated(rng: random.Random) -> bytes:
    """A request that was good, with something broken in it."""
    whole = good(make_items(1, seed=rng.randrange(100))[0])
    tensor = rng.choice(whole["inputs"])
    junk: list[Any] = [None, -1, 0, 1e308, 2**80, True, "", "\0", "é" * 50, [], [[]], {}, {"a": []}, [None] * 5]
    way = rng.randrange(6)
    if way == 0:
        tensor[rng.choice(["name", "datatype", "shape", "data", "parameters"])] = rng.choice(junk)
    elif way == 1:
        whole[rng.choice(["id", "inputs", "outputs", "parameters", "more"])] = rng.choice(junk)
    elif way == 2:
        tensor["parameters"] = {"binary_data_size": rng.choice([*junk, rng.randrange(100)])}
    body = json.dumps(whole).encode()
    headers = []
    if way == 3:
        cut = bytearray(body)
        for _ in range(rng.randrange(1, 8)):
            cut[rng.randrange(len(cut))] = rng.randrange(256)
        body = bytes(cut)
    elif way == 4:
        body = body[: rng.randrange(len(body))]
    elif way == 5:
        headers = [f"Inference-Header-Content-Length: {rng.choice([0, 1, 5, len(body), len(body) + 1, 'x', 10**11])}"]
    sent = bytearray(post(body, *headers))
    if rng.random() < 0.2:
        for _ in range(rng.randrange(1, 4)):
            sent[rng.randrange(len(sent))] = rng.randrange(256)
    return bytes(sent)


def broken_message(rng: random.Random) -> bytes:
    """A gRPC request that was good, with a few bytes changed, or noise."""
    item = make_items(1, seed=rng.randrange(100))[0]
    made = message("ModelInferRequest")(model_name="sample", id="f")
    for name in ("photo", "caption"):
        value = item.values[name]
        data = value.encode() if isinstance(value, str) else value
        assert isinstance(data, bytes)
        made.inputs.add(name=name, datatype="BYTES", shape=[1]).contents.bytes_contents.append(data[:40])
    changed = bytearray(made.SerializeToString())
    for _ in range(rng.randrange(1, 10)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed[: rng.randrange(len(changed))]) if rng.random() < 0.2 else bytes(changed)


def fuzz(door: Opened, count: int, seed: int) -> tuple[Counter[int], Counter[str]]:
    """`count` broken requests, half of them over each protocol: how often each status came."""
    rng = random.Random(seed)
    http: Counter[int] = Counter()
    calls: Counter[str] = Counter()
    with grpc.insecure_channel(door.grpc) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for turn in range(count):
            if turn % 2:
                http[status(talk(door.port, mutated(rng), 0.7))] += 1
                continue
            try:
                infer(broken_message(rng), timeout=10)
                calls["OK"] += 1
            except grpc.RpcError as found:
                calls[found.code().name] += 1
    return http, calls


def fuzz_together(door: Opened, count: int, threads: int = 8) -> tuple[Counter[int], Counter[str]]:
    """`fuzz` by several clients at a time."""
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda seed: fuzz(door, count // threads, seed), range(threads)))
    return sum((h for h, _ in found), Counter()), sum((c for _, c in found), Counter())


@pytest.mark.parametrize("count", [1_000, pytest.param(100_000, marks=pytest.mark.deep)])
def test_no_good_request_is_lost_among_fuzzed_ones(door: Opened, count: int) -> None:
    stop = threading.Event()
    seen: list[bool] = []

    def honest() -> None:
        with grpc.insecure_channel(door.grpc) as channel:
            infer = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                response_deserializer=message("ModelInferResponse").FromString,
            )
            for turn in range(10**9):
                if stop.is_set():
                    return
                item = make_items(1, seed=turn % 200)[0]
                asked = message("ModelInferRequest")(model_name="sample", id=str(turn))
                asked.inputs.add(name="photo", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
                    item.values["photo"]
                )
                asked.inputs.add(name="caption", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
                    item.values["caption"].encode()  # type: ignore[union-attr]
                )
                answer = infer(asked.SerializeToString(), timeout=60)
                verdict = int.from_bytes(answer.raw_output_contents[0], "little", signed=True)
                seen.append(answer.id == str(turn) and verdict == by_hand(item, "small")[0])

    friend = threading.Thread(target=honest)
    friend.start()
    try:
        http, calls = fuzz_together(door, count)
    finally:
        stop.set()
        friend.join(30)
    assert len(seen) > 20
    assert all(seen)
    assert set(http) <= {200, 400, 404, 405, 408, 413, 500, 0}, http
    assert http[400] > count / 10
    assert http[0] < count / 10  # the bytes were no HTTP at all, or said that more would come
    assert set(calls) <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL", "DEADLINE_EXCEEDED"}, calls
    assert calls["INVALID_ARGUMENT"] > count / 10
    assert door.door.window.seen().counts.get("answered", 0) >= len(seen)
