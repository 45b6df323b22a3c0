"""A hosted API: a model that somebody else runs, called over HTTP(S) and priced per call."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from specs.base import Spec
from specs.digest import digest_value
from specs.environment_name import EnvironmentName
from specs.loopback import is_loopback
from specs.quantities import CallPrice, Duration


class ApiLatency(Spec):
    """Seconds of a call, as two quantiles of a lognormal distribution."""

    p50: Annotated[Duration, Field(gt=0)]
    p99: Annotated[Duration, Field(gt=0)]

    @model_validator(mode="after")
    def _ordered(self) -> ApiLatency:
        if self.p99 < self.p50:
            raise ValueError("expected p99 not below p50")
        return self


class Api(Spec):
    """The model `model` at `url`, which speaks the Open Inference Protocol (JSON): each call costs `price`.

    `token` names the secret that is sent as a bearer token. A call is given up after `timeout`, or earlier with its
    request. Without a declared `latency` it is measured by calling.
    """

    url: str
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$")]
    price: Annotated[CallPrice, Field(le=1e6)]
    token: EnvironmentName | None = None
    timeout: Annotated[Duration, Field(gt=0, le=600)] = 10.0
    latency: ApiLatency | None = None

    @field_validator("url")
    @classmethod
    def _form(cls, text: str) -> str:
        _parts(text)
        return text.rstrip("/")

    @model_validator(mode="after")
    def _token_in_private(self) -> Api:
        parts = _parts(self.url)
        if self.token is not None and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError(f"the token would cross the network in the clear: expected https, got {self.url}")
        return self

    @property
    def endpoint(self) -> str:
        """Where it is called."""
        return f"{self.url}/v2/models/{self.model}/infer"

    @property
    def digest(self) -> str:
        """Of all on which its answers and times depend: neither its price nor what its token is called."""
        latency = None if self.latency is None else self.latency.dump()
        return digest_value({"api": self.endpoint, "timeout": self.timeout, "latency": latency})


_CHARACTERS: Final = re.compile(r"[\x21-\x7e]{1,2000}")


def _parts(text: str) -> SplitResult:
    """Raises ValueError for what is no address of an endpoint."""
    expected = "expected https://HOST[:PORT][/PATH]"
    if not _CHARACTERS.fullmatch(text):
        raise ValueError(f"{expected}, got {text!r:.80}")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(f"{expected}: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{expected} without a user or password: name a secret with token")
    if not usable or "?" in text or "#" in text:
        raise ValueError(f"{expected}, got {text!r:.80}")
    return parts
