"""What both transports have in common: a request, an answer, and the errors that the protocol knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from runtime.message import Trace
from runtime.values import Value
from specs.errors import TierplanError

Parameter = str | int | float | bool
EXTENSIONS = ("binary_tensor_data",)
MAX_JSON: Final = 8_000_000
"""Bytes of the JSON part. Small lists take twenty times their text in memory, so large tensors must come as binary."""


class Code(Enum):
    """Why a request got no answer: (word in metrics, HTTP status, name of the gRPC status)."""

    invalid = ("invalid", 400, "INVALID_ARGUMENT")
    unauthenticated = ("unauthenticated", 401, "UNAUTHENTICATED")
    not_found = ("not_found", 404, "NOT_FOUND")
    slow = ("slow", 408, "DEADLINE_EXCEEDED")
    too_large = ("too_large", 413, "RESOURCE_EXHAUSTED")
    failed = ("failed", 500, "INTERNAL")
    refused = ("refused", 503, "UNAVAILABLE")
    late = ("late", 504, "DEADLINE_EXCEEDED")

    @property
    def outcome(self) -> str:
        return self.value[0]

    @property
    def http(self) -> int:
        return self.value[1]

    @property
    def grpc(self) -> str:
        return self.value[2]


class ProtocolError(TierplanError):
    """A request that gets an error for an answer. Its message goes to the client."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Origin:
    """How a request came: over http or grpc, and with which headers of a W3C trace context, if any."""

    protocol: Literal["http", "grpc"]
    carrier: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request whose values agree with the model. `wanted` are the outputs asked for; empty for all of them.

    `timeout` in seconds, None without one. `binary` are the outputs to be written as binary data, where the transport
    knows a difference.
    """

    model: str
    id: str
    values: Mapping[str, Value]
    origin: Origin
    wanted: tuple[str, ...] = ()
    binary: frozenset[str] = frozenset()
    timeout: float | None = None
    stage_times: bool = False


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """Outputs by name (a skipped one is absent), and how long the request took (seconds), in all and by stage."""

    model: str
    version: str
    id: str
    request: str
    outputs: Mapping[str, Value]
    latency: float
    trace: Trace = field(default_factory=Trace)


def read_timeout(parameters: Mapping[str, object]) -> float | None:
    """The parameter ``timeout`` (microseconds, as Triton has it) in seconds. Raises ProtocolError for another kind."""
    value = parameters.get("timeout")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ProtocolError(Code.invalid, f"timeout: expected a whole number of microseconds, got {value!r:.40}")
    return value / 1e6


def read_flag(parameters: Mapping[str, object], name: str) -> bool:
    """A parameter that is true or false; false where it is not given. Raises ProtocolError for another kind."""
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise ProtocolError(Code.invalid, f"{name}: expected true or false, got {value!r:.40}")
    return value
