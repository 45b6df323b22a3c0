"""A test for each claim of docs/security.md about the ingress."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from runtime.client import Client
from runtime.ingress.admission import Tokens, read_tokens
from runtime.ingress.door import DoorOptions, check_exposure
from runtime.open_inference.protocol import ProtocolError
from specs.errors import EnvironmentFailed, InputError
from tests.runtime.ingress.doors import opened
from tests.runtime.sample import make_items
from tests.runtime.test_reference import by_hand

TOKEN = "a-token-of-some-length-1"


def token_file(folder: Path, text: str = f"another-token-long-enough\n{TOKEN}\n") -> str:
    file = folder / "tokens"
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


def certificate(folder: Path) -> tuple[str, str]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    kind = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command = ["openssl", "req", *kind.split(), *names, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return str(cert), str(key)


def test_nothing_but_loopback_is_listened_at_unless_asked_for(tmp_path: Path) -> None:
    before = _listening()
    with opened(tmp_path):
        new = _listening() - before
        assert len(new) >= 2
        assert {ip.removeprefix("::ffff:") for ip, _ in new} == {"127.0.0.1"}  # gRPC listens on both families
    assert not _listening() - before


def _listening() -> set[tuple[str, int]]:
    return {(c.laddr.ip, c.laddr.port) for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "192.168.0.1"])
def test_a_public_address_needs_tokens_and_tls_or_a_word(host: str) -> None:
    both: dict[str, Any] = {"token_file": "t", "tls_cert": "c", "tls_key": "k"}
    some: list[dict[str, Any]] = [{}, {"token_file": "t"}, {"tls_cert": "c", "tls_key": "k"}]
    for missing in some:
        with pytest.raises(InputError, match="others can reach"):
            check_exposure(DoorOptions(host=host, **missing))
    check_exposure(DoorOptions(host=host, **both))
    check_exposure(DoorOptions(host=host, insecure=True))


def test_only_health_answers_without_a_right_token(tmp_path: Path) -> None:
    with opened(tmp_path, DoorOptions(token_file=token_file(tmp_path))) as door:
        base = door.endpoints.http
        for path in ("/v2", "/v2/models/sample", "/metrics", "/openapi.json", "/v2/models/sample/infer", "/nowhere"):
            for header in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
                assert _status(base + path, header) == 401, path
        assert _status(base + "/v2", {"Authorization": f"Bearer {TOKEN}"}) == 200
        assert _status(base + "/v2/health/live") == _status(base + "/v2/health/ready") == 200
        with tritonclient.grpc.InferenceServerClient(door.grpc) as client:
            assert client.is_server_live()
            with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
                client.get_model_metadata("sample")
            with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
                client.infer("sample", [])
            good = {"authorization": f"Bearer {TOKEN}"}
            assert client.get_model_metadata("sample", headers=good).name == "sample"


def _status(url: str, headers: dict[str, str] | None = None) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_every_token_is_compared_in_constant_time_whichever_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    calls: list[int] = []
    real = hmac.compare_digest

    def counting(a: bytes, b: bytes) -> bool:
        calls.append(len(b))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    tokens = Tokens(("a" * 16, "b" * 16, "c" * 16))
    for offered in ("a" * 16, "c" * 16, "x", "", "b" * 10_000):
        calls.clear()
        try:
            tokens.check(f"Bearer {offered}")
        except ProtocolError:
            assert offered not in ("a" * 16, "c" * 16)
        assert calls == [32, 32, 32]


@pytest.mark.parametrize(("text", "mode"), [("short\n", 0o600), ("", 0o600), (f"{TOKEN}\n", 0o644), ("é" * 20, 0o600)])
def test_a_file_of_tokens_that_protects_nothing_is_refused(tmp_path: Path, text: str, mode: int) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(InputError):
        read_tokens(str(file))


def test_tokens_and_values_stand_in_no_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with opened(tmp_path, DoorOptions(token_file=token_file(tmp_path), log_file=str(log))) as door:
        client = Client(door.endpoints.http, "sample", token=TOKEN)
        client.infer({"photo": b"#secret-photo", "caption": "secret-caption"})
        _status(door.endpoints.http + "/v2", {"Authorization": "Bearer wrong-token-of-somebody"})
    text = log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["event"] for line in lines} == {"request", "error"}
    assert lines[0]["request"].startswith("phones-0/")
    assert not [word for word in (TOKEN, "secret", "somebody") if word in text]


def test_tls_speaks_to_both_protocols_and_to_nobody_in_the_clear(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    item = make_items(1)[0]
    with opened(tmp_path, DoorOptions(tls_cert=cert, tls_key=key)) as door:
        client = Client(door.endpoints.http, "sample", ca_file=cert)
        got = client.infer(item.values)
        assert np.asarray(got.outputs["verdict"]).tolist() == [by_hand(item, "small")[0]]
        with pytest.raises(EnvironmentFailed, match="CERTIFICATE_VERIFY_FAILED"):
            Client(door.endpoints.http, "sample").metadata()
        with pytest.raises(EnvironmentFailed):
            Client(f"http://{door.http}", "sample").metadata()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError, match=r"(?i)ssl|protocol|reset|closed"):
            urllib.request.urlopen(door.endpoints.http + "/v2", context=old, timeout=5)
        with tritonclient.grpc.InferenceServerClient(door.grpc, ssl=True, root_certificates=cert) as secure:
            assert secure.get_model_metadata("sample").name == "sample"
        with grpc.insecure_channel(door.grpc) as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=3)


def test_half_of_a_key_pair_or_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="both"):
        check_exposure(DoorOptions(tls_cert="c"))
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    with (
        pytest.raises(InputError, match="cannot use the certificate"),
        opened(tmp_path, DoorOptions(tls_cert=str(junk), tls_key=str(junk))),
    ):
        pass


def test_a_port_that_somebody_has_is_an_error_that_says_so(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        grpc_port = int(door.grpc.rpartition(":")[2])
        for taken in (DoorOptions(http_port=door.port), DoorOptions(grpc_port=grpc_port)):
            with (
                pytest.raises(EnvironmentFailed, match="cannot listen"),
                opened(tmp_path / "other", taken, bundle=door.bundle),
            ):
                pass
