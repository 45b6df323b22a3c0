"""Takes requests through the host of this member: from values to outputs, with a deadline, counted and logged."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from runtime.hosting.request import LATE, Entry, OnEnd
from runtime.ingress.admission import Admission, Tokens
from runtime.ingress.repeats import Repeats
from runtime.observe.metrics import Metrics
from runtime.observe.requests import Ended, Listener, TurnedAway
from runtime.open_inference.models import ServedModel
from runtime.open_inference.protocol import Code, InferAnswer, InferRequest, ProtocolError
from runtime.values import Value

GRACE: Final = 0.1
"""Seconds for the word of a stage that the deadline passed there, which says more than that it passed."""


class Entrance(Protocol):
    """What the door needs of the host behind it."""

    def submit(self, request: str, flow: str, values: Mapping[str, Value], deadline: float, on_end: OnEnd) -> None: ...

    def give_up(self, request: str, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of one body and of all that are inside, requests at a time, connections, and seconds.

    `deadline` bounds a request from admission to answer, `body_seconds` how long it may take to come in.
    """

    body: int = 64_000_000
    all_bodies: int = 512_000_000
    requests: int = 256
    connections: int = 1024
    deadline: float = 30.0
    head_seconds: float = 10.0
    body_seconds: float = 30.0


class Service:
    """Used by the door's event loop alone."""

    def __init__(
        self,
        member: str,
        models: tuple[ServedModel, ...],
        entrance: Entrance,
        limits: Limits,
        tokens: Tokens,
        metrics: Metrics,
        listener: Listener,
        repeats: Repeats,
    ) -> None:
        self.member = member
        self.limits = limits
        self.tokens = tokens
        self.admission = Admission(limits.requests, limits.all_bodies)
        self.models: Mapping[str, ServedModel] = {model.name: model for model in models}
        self._entrance = entrance
        self.metrics = metrics
        self._listener = listener
        self._repeats = repeats
        self._numbers = itertools.count()
        self._start = secrets.token_hex(4)

    def model(self, name: str, version: str = "") -> ServedModel:
        """Raises ProtocolError where no such model is served here."""
        found = self.models.get(name)
        if found is None or version not in ("", found.version):
            known = ", ".join(f"{m.name} version {m.version}" for m in self.models.values()) or "none"
            what = f"{name!r:.80} version {version!r:.40}" if version else f"{name!r:.80}"
            raise ProtocolError(Code.not_found, f"no model {what} at {self.member}: it serves {known}")
        return found

    @contextmanager
    def counted(self, model: str, protocol: str) -> Iterator[None]:
        """Around everything that is done for one inference request: its outcome is counted, whatever it is."""
        outcome = "answered"
        try:
            yield
        except ProtocolError as error:
            outcome = error.code.outcome
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except BaseException:
            outcome = Code.failed.outcome
            raise
        finally:
            self._listener.counted(model if model in self.models else "", outcome, protocol)

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Raises ProtocolError where there is no answer, saying why."""
        return await self._repeats.once(request, lambda: self._run(request))

    async def _run(self, request: InferRequest) -> InferAnswer:
        model = self.models[request.model]
        name = f"{self.member}/{self._start}-{next(self._numbers)}"
        deadline = min(request.timeout or self.limits.deadline, self.limits.deadline)
        self._listener.entered()
        started = time.monotonic()
        ended: list[Entry] = []
        try:
            entry = await self._through(name, model.flow, request.values, deadline, ended)
        except asyncio.CancelledError:
            if time.monotonic() - started >= deadline:  # gRPC ends a call itself when its time is up
                self.admission.given_up(ended[0] if ended else None, deadline)
            raise
        finally:
            self._listener.left()
        self.admission.ended(entry)
        origin = request.origin
        self._listener.ended(Ended(model.name, request.id, origin.protocol, origin.carrier, entry, time.monotonic()))
        if entry.status != "answered":
            raise _error(entry)
        outputs = model.outputs_of(entry.answers)
        chosen = {n: outputs[n] for n in request.wanted if n in outputs} if request.wanted else outputs
        return InferAnswer(model.name, model.version, request.id, name, chosen, entry.latency, entry.trace)

    async def _through(
        self, name: str, flow: str, values: Mapping[str, Value], deadline: float, ends: list[Entry]
    ) -> Entry:
        """What became of the request; put into `ends` too, for whoever is cancelled meanwhile."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Entry] = loop.create_future()

        def settle(entry: Entry) -> None:
            if not ended.done():
                ended.set_result(entry)

        def on_end(entry: Entry) -> None:
            ends.append(entry)
            loop.call_soon_threadsafe(settle, entry)

        self._entrance.submit(name, flow, values, deadline, on_end)
        try:
            async with asyncio.timeout(deadline + GRACE):
                return await asyncio.shield(ended)
        except TimeoutError:
            self._entrance.give_up(name, LATE)
            return await ended
        except asyncio.CancelledError:
            self._entrance.give_up(name, "the client went away")
            raise

    def refused(self, error: ProtocolError, protocol: str, peer: str) -> None:
        """Tell of a request that did not come in."""
        self._listener.turned_away(TurnedAway(protocol, peer, error.code.outcome, str(error)))

    def close(self) -> None:
        """No more will come, and nothing is under way."""
        self._listener.close()


def _error(entry: Entry) -> ProtocolError:
    if entry.status == "refused":
        return ProtocolError(Code.refused, f"{entry.request}: {entry.reason}")
    code = Code.late if entry.reason.startswith(LATE) else Code.failed
    return ProtocolError(code, f"{entry.request}: {entry.reason}")
