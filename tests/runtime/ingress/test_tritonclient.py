"""The protocol's own client, unchanged, over HTTP and gRPC: every answer is the reference's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from runtime.ingress.grpc_server import in_time
from runtime.ingress.messages import _MESSAGES, message
from runtime.open_inference.protocol import InferRequest, Origin
from tests.runtime.ingress.doors import Opened, opened
from tests.runtime.sample import make_items
from tests.runtime.test_reference import by_hand

CLIENTS = {"http": tritonclient.http, "grpc": tritonclient.grpc}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(tmp_path_factory.mktemp("door")) as found:
        yield found


def connect(door: Opened, protocol: str) -> Any:
    return CLIENTS[protocol].InferenceServerClient(door.http if protocol == "http" else door.grpc)


def blob(protocol: str, name: str, data: bytes, **how: Any) -> Any:
    made = CLIENTS[protocol].InferInput(name, [1], "BYTES")
    made.set_data_from_numpy(np.array([data], dtype=object), **how)
    return made


def inputs(protocol: str, item: Any) -> list[Any]:
    return [
        blob(protocol, "photo", item.values["photo"]),
        blob(protocol, "caption", item.values["caption"].encode()),
    ]


@pytest.mark.parametrize("protocol", CLIENTS)
def test_answers_are_those_computed_by_hand_and_ids_come_back(door: Opened, protocol: str) -> None:
    with connect(door, protocol) as client:
        for number, item in enumerate(make_items(50)):
            got = client.infer("sample", inputs(protocol, item), request_id=f"r{number}")
            assert got.as_numpy("verdict").tolist() == [by_hand(item, "small")[0]]
            response = got.get_response()
            assert (response["id"] if protocol == "http" else response.id) == f"r{number}"


@pytest.mark.parametrize("protocol", CLIENTS)
def test_metadata_names_the_values_of_source_and_sink(door: Opened, protocol: str) -> None:
    with connect(door, protocol) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("sample")
        assert not client.is_model_ready("other")
        found = client.get_model_metadata("sample")
        server = client.get_server_metadata()
        if protocol == "grpc":
            found = json.loads(json.dumps(_plain(found)))
            server = {"extensions": list(server.extensions)}
    assert found["versions"] == [door.bundle.plan.digest[:16]]
    assert [(i["name"], i["datatype"]) for i in found["inputs"]] == [("photo", "BYTES"), ("caption", "BYTES")]
    assert [(o["name"], o["datatype"], list(map(int, o["shape"]))) for o in found["outputs"]] == [
        ("verdict", "INT64", [1])
    ]
    assert server["extensions"] == ["binary_tensor_data"]


def _plain(found: Any) -> dict[str, Any]:
    def tensors(many: Any) -> list[dict[str, Any]]:
        return [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in many]

    return {"versions": list(found.versions), "inputs": tensors(found.inputs), "outputs": tensors(found.outputs)}


def test_json_and_binary_tensors_give_the_same_answer(door: Opened) -> None:
    item = make_items(1)[0]
    photo, caption = b"#photo", item.values["caption"]
    assert isinstance(caption, str)
    expected = None
    with connect(door, "http") as client:
        for binary_in in (False, True):
            for binary_out in (False, True):
                given = [
                    blob("http", "photo", photo, binary_data=binary_in),
                    blob("http", "caption", caption.encode(), binary_data=binary_in),
                ]
                wanted = [tritonclient.http.InferRequestedOutput("verdict", binary_data=binary_out)]
                got = client.infer("sample", given, outputs=wanted).as_numpy("verdict").tolist()
                expected = expected or got
                assert got == expected
        compressed = client.infer("sample", given, request_compression_algorithm="gzip")
        assert compressed.as_numpy("verdict").tolist() == expected


@pytest.mark.parametrize("protocol", CLIENTS)
def test_stage_times_come_on_request_and_add_up(door: Opened, protocol: str) -> None:
    item = make_items(1)[0]
    with connect(door, protocol) as client:
        with_times = client.infer("sample", inputs(protocol, item), parameters={"stage_times": True}).get_response()
        without = client.infer("sample", inputs(protocol, item)).get_response()
    if protocol == "http":
        assert "parameters" not in without
        times = json.loads(with_times["parameters"]["stage_times"])
    else:
        assert not without.parameters
        times = json.loads(with_times.parameters["stage_times"].string_param)
    assert {"shrink", "vision", "decide"} <= {s["stage"] for s in times["stages"]}
    parts = sum(s["wait_ms"] + s["service_ms"] for s in times["stages"]) + sum(t["ms"] for t in times["transfers"])
    assert 0 < parts <= times["latency_ms"] * 1.05 + 1


@pytest.mark.parametrize("protocol", CLIENTS)
def test_what_is_wrong_is_said_in_the_protocols_words(door: Opened, protocol: str) -> None:
    item = make_items(1)[0]
    with connect(door, protocol) as client:
        with pytest.raises(InferenceServerException, match="needs the input 'caption'"):
            client.infer("sample", inputs(protocol, item)[:1])
        with pytest.raises(InferenceServerException, match="no model 'other'"):
            client.infer("other", inputs(protocol, item))
        with pytest.raises(InferenceServerException, match="has no input 'pixels'"):
            client.infer("sample", [blob(protocol, "pixels", b"x")])
        with pytest.raises(InferenceServerException, match="the deadline passed"):
            client.infer("sample", inputs(protocol, item), timeout=1)
        with pytest.raises(InferenceServerException, match=r"shrink at phones-0: .*ValueError: not a picture"):
            client.infer("sample", [blob(protocol, "photo", b"!"), blob(protocol, "caption", b"")])


@pytest.mark.parametrize(
    ("asked", "remaining", "timeout"),
    [(None, None, None), (None, 2.0, 2.0), (1.0, 2.0, 1.0), (3.0, 2.0, 2.0), (3.0, None, 3.0), (None, -1.0, 1e-3)],
)
def test_the_deadline_of_a_grpc_call_bounds_its_request(
    asked: float | None, remaining: float | None, timeout: float | None
) -> None:
    request = InferRequest("sample", "", {}, Origin("grpc"), timeout=asked)
    assert in_time(request, remaining).timeout == timeout


def test_our_messages_are_the_clients_field_by_field() -> None:
    def shape(descriptor: Any) -> list[tuple[Any, ...]]:
        return sorted(
            (
                f.name,
                f.number,
                f.type,
                f.is_repeated,
                f.message_type.full_name if f.message_type else "",
                f.containing_oneof.name if f.containing_oneof else "",
            )
            for f in descriptor.fields
        )

    for path in _MESSAGES:
        theirs = service_pb2.DESCRIPTOR.pool.FindMessageTypeByName(f"inference.{path}")
        assert shape(message(path).DESCRIPTOR) == shape(theirs), path
