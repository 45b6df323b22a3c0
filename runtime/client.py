"""A small client of the ingress: JSON over HTTP, nothing but the standard library and numpy.

For all that the protocol has, use any client of the Open Inference Protocol, such as tritonclient.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from runtime.values import Value
from specs.errors import EnvironmentFailed, InputError, Issue

_NUMPY: Final = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}


@dataclass(frozen=True, slots=True)
class Answered:
    """Outputs by name (``bytes`` for what came in base64, ``str`` for text), and the stage times where asked for."""

    outputs: Mapping[str, Value]
    stage_times: Mapping[str, Any] | None = None


class Client:
    """Asks the model `model` at `url` (``http://host:port``). May be used by several threads."""

    def __init__(self, url: str, model: str, *, token: str = "", ca_file: str = "", timeout: float = 30.0) -> None:
        """`timeout` in seconds; `ca_file` holds the certificates to trust, where they are not the system's."""
        if not url.startswith(("http://", "https://")):
            raise InputError(Issue(f"expected http://HOST:PORT or https://HOST:PORT, got {url!r}"))
        self._base = f"{url.rstrip('/')}/v2/models/{model}"
        self._timeout = timeout
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._context = ssl.create_default_context(cafile=ca_file or None) if url.startswith("https") else None
        self._inputs: dict[str, str] = {}

    def metadata(self) -> dict[str, Any]:
        """What the model takes and gives. Errors as `infer` has them."""
        return self._call(self._base, None)

    def infer(
        self, values: Mapping[str, Value | list[Any] | float], *, stage_times: bool = False, request_id: str = ""
    ) -> Answered:
        """One request: `values` by input. Sent again under the same `request_id`, it is run once.

        Raises InputError where the ingress says that the request is wrong, EnvironmentFailed for all else that kept
        the answer away; both with what it said.
        """
        kinds = self._inputs = self._inputs or {t["name"]: t["datatype"] for t in self.metadata()["inputs"]}
        body = {
            "id": request_id,
            "parameters": {"stage_times": stage_times, "timeout": int(self._timeout * 1e6)},
            "inputs": [_tensor(name, kinds.get(name, ""), value) for name, value in values.items()],
        }
        answer = self._call(f"{self._base}/infer", body)
        times = answer.get("parameters", {}).get("stage_times")
        return Answered({o["name"]: _value(o) for o in answer["outputs"]}, json.loads(times) if times else None)

    def _call(self, url: str, body: object) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {**self._headers, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=self._timeout + 5, context=self._context) as response:
                found: dict[str, Any] = json.loads(response.read())
                return found
        except urllib.error.HTTPError as error:
            said = _said(error)
            if error.code in (400, 404, 413):
                raise InputError(Issue(said)) from error
            raise EnvironmentFailed(f"{error.code}: {said}") from error
        except (OSError, ValueError) as error:
            raise EnvironmentFailed(f"no answer from {url}: {error}") from error


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError, OSError):
        return str(error.reason)


def _tensor(name: str, kind: str, value: Value | list[Any] | float) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "datatype": kind}
    if isinstance(value, bytes):
        data = base64.b64encode(value).decode()
        return {**made, "shape": [1], "data": [data], "parameters": {"content_type": "base64"}}
    if isinstance(value, str):
        return {**made, "shape": [1], "data": [value]}
    array = np.asarray(value)
    return {**made, "shape": list(array.shape) or [1], "data": array.ravel().tolist()}


def _value(output: Mapping[str, Any]) -> Value:
    if output["datatype"] != "BYTES":
        return np.asarray(output["data"], _NUMPY[output["datatype"]]).reshape(output["shape"])
    text: str = output["data"][0]
    return base64.b64decode(text) if output.get("parameters", {}).get("content_type") == "base64" else text
