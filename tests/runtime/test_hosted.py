"""A hosted API is called as declared, within its time; all else that comes back is a failure that names it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.stages.hosted import MAX_ANSWER, HostedModel
from runtime.stages.time_left import working_until
from runtime.stages.work import FunctionWork
from specs.errors import EnvironmentFailed, InputError
from specs.tensors import parse_type
from tests.runtime.hosting import Answer, Hosting, doubled, hosting, outputs


def make_certificate(file: Path) -> None:
    """Self-signed, for 127.0.0.1, with its key in the same file."""
    kind = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", f"{file}.crt"]
    subprocess.run(["openssl", "req", *kind.split(), *names], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())


Y = {"y": parse_type("f32[2]")}
X = np.asarray([1.0, 2.5], np.float32)
TOKEN = "s3cret-token-of-tests"


def model(of: Hosting, timeout: float = 5.0, token: str = "", kind: str = "f32[2]") -> HostedModel:
    return HostedModel(f"{of.url}/v2/models/m/infer", timeout, {"y": parse_type(kind)}, token)


def test_it_answers_over_one_connection_with_the_token() -> None:
    with hosting() as server:
        called = model(server, token=TOKEN)
        for _ in range(3):
            assert called(x=X)["y"].tolist() == [2.0, 5.0]  # type: ignore[union-attr]
        assert len(set(server.peers)) == 1
        assert {(s["path"], s["Authorization"]) for s in server.seen} == {("/v2/models/m/infer", f"Bearer {TOKEN}")}
        called.close()


def test_without_a_token_none_is_sent() -> None:
    with hosting() as server:
        model(server)(x=X)
        assert "Authorization" not in server.seen[0]


@given(arrays(np.int64, st.integers(1, 5), elements=st.integers(-(2**53), 2**53)))
@settings(max_examples=25, deadline=None)
def test_integers_come_back_as_they_went(values: Any) -> None:
    with hosting(lambda r: (200, outputs(y={k: r["inputs"][0][k] for k in ("datatype", "shape", "data")}))) as server:
        called = model(server, kind="i64[N]")
        assert np.array_equal(np.asarray(called(x=values)["y"]), values)
        called.close()


@pytest.mark.parametrize(("value", "kind"), [(b"\x00\xff", "bytes"), ("größer", "string")])
def test_blobs_come_back_as_they_went(value: bytes | str, kind: str) -> None:
    with hosting(lambda r: (200, json.dumps({"outputs": [{**r["inputs"][0], "name": "y"}]}).encode())) as server:
        assert model(server, kind=kind)(x=value) == {"y": value}


def failing(answer: Callable[[dict[str, Any]], Answer], timeout: float = 60.0, **state: Any) -> tuple[str, Hosting]:
    """What the failure says, and the server that made it."""
    with hosting(answer) as server:
        for name, value in state.items():
            setattr(server, name, value)
        with pytest.raises(EnvironmentFailed) as caught:
            model(server, timeout=timeout, token=TOKEN)(x=X)
        assert f"{server.url}/v2/models/m/infer: " in str(caught.value)
        assert TOKEN not in str(caught.value)
        return str(caught.value), server


GOOD = {"datatype": "FP32", "shape": [2], "data": [1, 2]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list of outputs"),
        (b'{"outputs": [3]}', "no list of outputs"),
        (outputs(), "expected the outputs ['y'], got []"),
        (outputs(y=GOOD, z=GOOD), "got ['y', 'z']"),
        (b'{"outputs": [%s, %s]}' % ((json.dumps({"name": "y", **GOOD}).encode(),) * 2), "got ['y', 'y']"),
        (outputs(y=GOOD | {"datatype": "FP64"}), "expected datatype FP32, got 'FP64'"),
        (outputs(y=GOOD | {"shape": [3], "data": [1, 2, 3]}), "expected shape [2]"),
        (outputs(y=GOOD | {"shape": "2"}), "expected a shape"),
        (outputs(y=GOOD | {"data": [1]}), "expected 2 elements"),
        (outputs(y=GOOD | {"data": ["a", "b"]}), "expected numbers"),
        (outputs(y=GOOD | {"data": [1e300, 1]}), "does not fit"),
        (outputs(y=GOOD | {"parameters": 1}), "expected a shape and parameters"),
        (b"{" + b" " * MAX_ANSWER + b"}", "more than 8,000,000 bytes"),
    ],
)
def test_another_answer_than_declared_is_refused(body: bytes, expected: str) -> None:
    said, server = failing(lambda _: (200, body))
    assert expected in said
    assert len(server.seen) == 1


def test_an_error_is_told_without_the_token_that_it_repeats() -> None:
    said, server = failing(lambda _: (401, json.dumps({"error": f"bad token {TOKEN}\n\x1b[31m"}).encode()))
    assert "answered 401: bad token ***\\n\\x1b[31m" in said
    assert len(server.seen) == 1


@pytest.mark.parametrize("token", ["two words", "a\nb", "ü", "x\r\nHost: other"])
def test_a_token_that_no_header_can_carry_is_refused_unsaid(token: str) -> None:
    with pytest.raises(InputError, match="the token for http://localhost/m cannot be sent") as caught:
        HostedModel("http://localhost/m", 1.0, Y, token)
    assert token not in str(caught.value)


def test_not_even_a_part_of_the_token_is_told() -> None:
    said, _ = failing(lambda _: (200, outputs(y=GOOD | {"datatype": 30 * "x" + TOKEN})))
    assert "s3cret" not in said


def test_nothing_is_followed_to_another_address() -> None:
    assert "answered 302" in failing(lambda _: (302, b""))[0]


def test_a_5xx_is_tried_once_more() -> None:
    said, server = failing(lambda _: (503, b"busy"))
    assert "answered 503" in said
    assert len(server.seen) == 2
    answers = iter([(500, b""), doubled(server.asked[0])])
    with hosting(lambda _: next(answers)) as other:
        assert model(other)(x=X)["y"].tolist() == [2.0, 5.0]  # type: ignore[union-attr]
        assert len(other.seen) == 2


@pytest.mark.parametrize("slow", [{"pause": 30.0}, {"drip": 1.0}])
def test_a_slow_answer_is_given_up_and_not_asked_for_again(slow: dict[str, float]) -> None:
    began = time.monotonic()
    said, server = failing(doubled, timeout=2.0, **slow)
    assert "no answer in time" in said
    assert len(server.seen) <= 1
    assert time.monotonic() - began >= 2.0


def test_the_deadline_of_the_request_comes_before_the_timeout() -> None:
    with hosting() as server:
        server.pause = 30.0
        called = model(server, timeout=1000.0)
        with working_until(time.monotonic() + 2), pytest.raises(EnvironmentFailed, match="no answer in time"):
            called(x=X)
        with working_until(time.monotonic() - 1), pytest.raises(EnvironmentFailed, match="no answer in time"):
            called(x=X)
        assert len(server.seen) <= 1
        server.pause = 0.0
        assert called(x=X)["y"].tolist() == [2.0, 5.0]  # type: ignore[union-attr]


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    with hosting() as server:
        server.close_after = True
        called = model(server)
        for _ in range(3):
            assert called(x=X)["y"].tolist() == [2.0, 5.0]  # type: ignore[union-attr]
        assert len(set(server.peers)) == 3


def test_nobody_there_is_said() -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        called = HostedModel(f"{url}/v2/models/m/infer", 1.0, Y)
        with pytest.raises(EnvironmentFailed, match=f"{url}/v2/models/m/infer: .*refused"):
            called(x=X)
        with pytest.raises(EnvironmentFailed, match="refused"):
            called.connect()


def test_a_number_that_json_does_not_have_is_not_sent() -> None:
    with hosting() as server:
        with pytest.raises(InputError, match="x holds a number that JSON does not have"):
            model(server)(x=np.asarray([np.nan, 1], np.float32))
        assert server.seen == []


def test_rehearsing_connects_and_calls_nothing() -> None:
    with hosting() as server:
        called = model(server)
        work = FunctionWork("m", called, Y, {})
        work.rehearse({"x": X})
        assert server.seen == []
        assert work.run({"x": X})["y"].tolist() == [2.0, 5.0]  # type: ignore[union-attr]
        work.close()


def test_a_certificate_that_nobody_trusts_gets_neither_token_nor_values(tmp_path: Path) -> None:
    certificate = tmp_path / "self-signed.pem"
    make_certificate(certificate)
    with hosting(certificate=certificate) as server:
        with pytest.raises(EnvironmentFailed, match="certificate verify failed"):
            model(server, token=TOKEN)(x=X)
        assert server.seen == []


def test_a_certificate_that_is_trusted_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = tmp_path / "self-signed.pem"
    make_certificate(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with hosting(certificate=certificate) as server:
        called = model(server, token=TOKEN)
        assert called(x=X)["y"].tolist() == [2.0, 5.0]  # type: ignore[union-attr]
        assert called(x=X)["y"].tolist() == [2.0, 5.0]  # type: ignore[union-attr]
        assert len(set(server.peers)) == 1
        called.close()
