"""Traces of requests, as an OTLP receiver gets them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

from runtime.client import Client
from runtime.ingress.door import DoorOptions
from runtime.observe.tracing import TraceOptions, check_tracing
from specs.errors import InputError
from tests.runtime.ingress.doors import opened
from tests.runtime.observe.receiver import Receiver, attributes, receiving
from tests.runtime.sample import copy_project, make_bundle, make_items

SERVER, ERROR = 2, 2
"""Of opentelemetry-proto: SpanKind and StatusCode."""
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def post(url: str, headers: dict[str, str], photo: str = "#") -> int:
    """The status of an answer."""
    inputs = [
        {"name": "photo", "datatype": "BYTES", "shape": [1], "data": [photo]},
        {"name": "caption", "datatype": "BYTES", "shape": [1], "data": ["a"]},
    ]
    body = json.dumps({"id": "mine", "inputs": inputs}).encode()
    request = urllib.request.Request(f"{url}/v2/models/sample/infer", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        return error.code


def root_of(spans: list[Any]) -> Any:
    (root,) = [s for s in spans if s.kind == SERVER]
    return root


def test_a_trace_has_the_times_that_the_client_was_told(tmp_path: Path) -> None:
    """A span for each stage and hop, under one for the request, each within it and as long as the answer said."""
    with receiving() as receiver:
        options = DoorOptions(trace=TraceOptions(receiver.endpoint, 1.0))
        with opened(tmp_path, options) as door:
            client = Client(door.endpoints.http, "sample")
            told = [client.infer(item.values, stage_times=True).stage_times for item in make_items(5)]
        traces = receiver.traces()
    assert len(traces) == 5
    in_turn = sorted(traces.values(), key=lambda spans: root_of(spans).start_time_unix_nano)
    for times, spans in zip(told, in_turn, strict=True):
        assert times is not None
        root = root_of(spans)
        assert root.name == "POST /v2/models/{model}/infer"
        assert attributes(root)["http.request.method"] == "POST"
        assert attributes(root)["tierplan.flow"] == "upload@phones"
        assert root.parent_span_id == b""
        below = [s for s in spans if s is not root]
        assert all(s.parent_span_id == root.span_id for s in below)
        assert all(root.start_time_unix_nano <= s.start_time_unix_nano for s in below)
        assert all(s.end_time_unix_nano <= root.end_time_unix_nano for s in below)
        stages = {attributes(s)["tierplan.stage"]: s for s in below if "tierplan.stage" in attributes(s)}
        hops = {attributes(s)["tierplan.edge"]: s for s in below if "tierplan.edge" in attributes(s)}
        assert set(stages) == {t["stage"] for t in times["stages"]}
        assert set(hops) == {t["edge"] for t in times["transfers"]}
        assert len(hops) >= 2
        for each in times["stages"]:
            span = stages[each["stage"]]
            assert _ms(span) == pytest.approx(each["wait_ms"] + each["service_ms"], abs=2e-3)
            assert attributes(span)["tierplan.member"] == each["member"]
            assert attributes(span)["tierplan.service.duration"] == pytest.approx(each["service_ms"] / 1e3, abs=1e-6)
        for each in times["transfers"]:
            assert _ms(hops[each["edge"]]) == pytest.approx(each["ms"], abs=2e-3)
            consumer = stages.get(each["edge"].partition(" -> ")[2])
            if consumer is not None:  # what brings a stage its input is there before the stage waits no more
                begin = consumer.end_time_unix_nano - attributes(consumer)["tierplan.service.duration"] * 1e9
                assert hops[each["edge"]].end_time_unix_nano <= begin + 2e3
    assert receiver.resources[0]["service.name"] == "sample"
    assert receiver.resources[0]["service.instance.id"] == "phones-0"


def _ms(span: Any) -> float:
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_trace_that_the_client_began_is_continued_as_it_chose(tmp_path: Path, protocol: str) -> None:
    """Whatever the share kept here: a sampled parent is kept, one that is not sampled is not; nonsense is no parent."""
    headers = [f"00-{TRACE}-{PARENT}-01", f"00-{'1' * 32}-{PARENT}-00", "00-nonsense", f"00-{'0' * 32}-{PARENT}-01"]
    with receiving() as receiver:
        with opened(tmp_path, DoorOptions(trace=TraceOptions(receiver.endpoint, 0.0))) as door:
            for header in headers:
                if protocol == "http":
                    assert post(door.endpoints.http, {"traceparent": header, "tracestate": "a=b"}) == 200
                else:
                    _ask_grpc(door.grpc, {"traceparent": header, "tracestate": "a=b"})
        traces = receiver.traces()
    assert set(traces) == {TRACE}
    root = root_of(traces[TRACE])
    assert root.parent_span_id.hex() == PARENT
    assert root.trace_state == "a=b"
    assert attributes(root)["tierplan.request.id"].startswith("phones-0/")
    if protocol == "http":
        assert attributes(root)["tierplan.client.request.id"] == "mine"
    else:
        assert attributes(root)["rpc.system.name"] == "grpc"


def _ask_grpc(address: str, headers: dict[str, str]) -> None:
    inputs = []
    for name, value in (("photo", b"#"), ("caption", b"a")):
        tensor = tritonclient.grpc.InferInput(name, [1], "BYTES")
        tensor.set_data_from_numpy(np.array([value], dtype=object))
        inputs.append(tensor)
    with tritonclient.grpc.InferenceServerClient(address) as client:
        assert client.infer("sample", inputs, headers=headers).as_numpy("verdict") is not None


def test_a_failed_request_has_a_span_that_says_why_and_those_of_how_far_it_came(tmp_path: Path) -> None:
    project = copy_project(tmp_path, steps=("time.sleep(0.5)", 'raise ValueError("no sevens")'))
    with receiving() as receiver:
        options = DoorOptions(trace=TraceOptions(receiver.endpoint, 1.0))
        with opened(tmp_path, options, bundle=make_bundle(tmp_path, project=project)) as door:
            assert post(door.endpoints.http, {}, photo="\7") == 500
        (spans,) = receiver.traces().values()
    root = root_of(spans)
    assert root.status.code == ERROR
    assert "no sevens" in root.status.message
    assert attributes(root)["error.type"] == "failed"
    assert {"shrink", "vision", "shrink -> vision"} <= {s.name for s in spans}
    assert "decide" not in {s.name for s in spans}


def test_about_the_share_asked_for_is_kept_and_whole(tmp_path: Path) -> None:
    with receiving() as receiver:
        with opened(tmp_path, DoorOptions(trace=TraceOptions(receiver.endpoint, 0.3))) as door:
            client = Client(door.endpoints.http, "sample")
            for item in make_items(1) * 200:
                client.infer(item.values)
        traces = receiver.traces()
    assert 30 <= len(traces) <= 90  # 60 on average; 6.5 is the standard deviation
    assert all(root_of(spans) for spans in traces.values())


def test_requests_are_answered_where_nobody_takes_the_traces(tmp_path: Path) -> None:
    with opened(tmp_path, DoorOptions(trace=TraceOptions("http://127.0.0.1:9", 1.0))) as door:
        assert post(door.endpoints.http, {}) == 200


@pytest.mark.parametrize(
    ("endpoint", "sample", "word"),
    [
        ("localhost:4318", 0.1, "expected http://HOST:PORT"),
        ("http://user:secret@host:4318", 0.1, "no password"),
        ("http://host:4318", 1.5, "between 0 and 1"),
        ("http://host:4318", -0.1, "between 0 and 1"),
    ],
)
def test_an_endpoint_or_share_that_is_none_is_refused(endpoint: str, sample: float, word: str) -> None:
    with pytest.raises(InputError, match=word):
        check_tracing(TraceOptions(endpoint, sample))


def test_resource_attributes_name_no_secret(tmp_path: Path) -> None:
    """What describes the process comes from the plan, not from the environment of the machine."""
    with receiving() as receiver:
        with opened(tmp_path, DoorOptions(trace=TraceOptions(receiver.endpoint, 1.0))) as door:
            assert post(door.endpoints.http, {}) == 200
        sent: Receiver = receiver
    allowed = {"service.name", "service.version", "service.instance.id"}
    assert {k for k in sent.resources[0] if not k.startswith("telemetry.sdk.")} == allowed
