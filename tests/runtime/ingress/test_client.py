"""The small client, the OpenAPI document and the metrics."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import jsonschema
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.client import Client
from specs.errors import EnvironmentFailed, InputError
from tests.runtime.ingress.doors import Opened, opened
from tests.runtime.sample import make_items
from tests.runtime.test_reference import by_hand


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(tmp_path_factory.mktemp("door")) as found:
        yield found


def test_the_client_gets_answers_and_stage_times(door: Opened) -> None:
    client = Client(door.endpoints.http, "sample")
    for item in make_items(10):
        got = client.infer(item.values, stage_times=True)
        assert np.asarray(got.outputs["verdict"]).tolist() == [by_hand(item, "small")[0]]
        assert got.stage_times is not None
        assert got.stage_times["latency_ms"] > 0
    assert client.infer(make_items(1)[0].values).stage_times is None


def test_the_client_says_what_is_wrong_with_a_request_and_with_the_way(door: Opened) -> None:
    with pytest.raises(InputError, match="needs the input 'caption'"):
        Client(door.endpoints.http, "sample").infer({"photo": b"x"})
    with pytest.raises(InputError, match="no model 'other'"):
        Client(door.endpoints.http, "other").metadata()
    with pytest.raises(EnvironmentFailed, match="not a picture"):
        Client(door.endpoints.http, "sample").infer({"photo": b"!", "caption": ""})
    with pytest.raises(EnvironmentFailed, match="no answer from"):
        Client("http://127.0.0.1:9", "sample").metadata()
    with pytest.raises(InputError, match="http://"):
        Client("127.0.0.1:9", "sample")


def _get(door: Opened, path: str) -> bytes:
    with urllib.request.urlopen(door.endpoints.http + path, timeout=10) as found:
        data: bytes = found.read()
        return data


def test_the_openapi_document_describes_a_request_that_is_answered_and_refuses_another(door: Opened) -> None:
    document = json.loads(_get(door, "/openapi.json"))
    assert document["openapi"].startswith("3.1")
    post = document["paths"]["/v2/models/sample/infer"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    photo = {"name": "photo", "datatype": "BYTES", "shape": [1], "data": ["#"]}
    caption = {"name": "caption", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    body = {"inputs": [photo, caption]}
    jsonschema.validate(body, schema)
    for wrong in ({"inputs": [photo]}, {"inputs": [photo, {**caption, "shape": [2]}]}, {}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
    request = urllib.request.Request(
        door.endpoints.http + "/v2/models/sample/infer", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as found:
        answer = json.loads(found.read())
    jsonschema.validate(answer, post["responses"]["200"]["content"]["application/json"]["schema"])


def test_metrics_count_every_outcome_and_their_sums_are_true(door: Opened) -> None:
    client = Client(door.endpoints.http, "sample")

    def read() -> dict[tuple[str, str], float]:
        families = text_string_to_metric_families(_get(door, "/metrics").decode())
        found: dict[tuple[str, str], float] = {}
        for sample in (s for family in families for s in family.samples):
            key = sample.labels.get("outcome") or sample.labels.get("stage") or ""
            found[sample.name, key] = found.get((sample.name, key), 0) + sample.value
        return found

    before = read()
    total = 0.0
    for item in make_items(20):
        times = client.infer(item.values, stage_times=True).stage_times
        assert times is not None
        total += next(s["service_ms"] for s in times["stages"] if s["stage"] == "shrink") / 1e3
    with pytest.raises(InputError):
        client.infer({"photo": b"x"})
    after = read()

    def grew(name: str, key: str = "") -> float:
        return after[name, key] - before.get((name, key), 0.0)

    assert grew("tierplan_requests_total", "answered") == 20
    assert grew("tierplan_requests_total", "invalid") == 1
    assert grew("tierplan_request_duration_seconds_count") == 20
    assert grew("tierplan_stage_service_seconds_sum", "shrink") == pytest.approx(total, abs=1e-5)
    assert grew("tierplan_stage_busy_seconds_total", "shrink@phones") == pytest.approx(total, abs=1e-5)
    assert after["tierplan_requests_in_flight", ""] == 0
    assert after["tierplan_queue_length", ""] == 0
