"""A log with a line of JSON for each request: its id, what became of it, and its times. No values, no tokens."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from typing import Final, Literal, TextIO

from runtime.observe.requests import Ended, Listener, TurnedAway

LogLevel = Literal["off", "errors", "requests"]
"""Nothing; what was not answered; every request."""
MAX_FILE: Final = 20_000_000
KEPT: Final = 3
MAX_TEXT: Final = 500


class RequestLog(Listener):
    """Lines in `file`, which is put aside when it is full."""

    def __init__(self, file: str, member: str, level: LogLevel) -> None:
        self._member, self._level = member, level
        self._file = RotatingFileHandler(file, backupCount=KEPT)
        self._size = self._stream.tell()

    @property
    def _stream(self) -> TextIO:
        stream: TextIO | None = self._file.stream
        assert stream is not None  # opened with the handler, and again by each rollover
        return stream

    def ended(self, request: Ended) -> None:
        entry = request.entry
        if self._level == "requests" or entry.status != "answered":
            fields: dict[str, object] = {
                "request": entry.request,
                "id": request.client_id,
                "model": request.model,
                "outcome": entry.status,
                "reason": entry.reason,
                "sent_again": entry.attempts,
                "latency_ms": round((request.ended - entry.started) * 1e3, 3),
                "stages": {t.stage: round((t.wait + t.service) * 1e3, 3) for t in entry.trace.stages},
            }
            if traceparent := request.carrier.get("traceparent"):
                fields["traceparent"] = traceparent
            self._write("request", fields)

    def turned_away(self, request: TurnedAway) -> None:
        fields = {"protocol": request.protocol, "peer": request.peer}
        self._write("error", {**fields, "outcome": request.outcome, "reason": request.reason})

    def _write(self, event: str, fields: Mapping[str, object]) -> None:
        """One line. Texts are cut at 500 characters, for some of them come from clients."""
        line = {"time": round(time.time(), 6), "member": self._member, "event": event, **_short(fields)}
        text = json.dumps(line, ensure_ascii=True) + "\n"
        with contextlib.suppress(OSError):  # a full disk fails no request
            if self._size + len(text) > MAX_FILE:
                self._file.doRollover()
                self._size = 0
            self._stream.write(text)
            self._stream.flush()
            self._size += len(text)

    def close(self) -> None:
        self._file.close()


def _short(fields: Mapping[str, object]) -> dict[str, object]:
    return {key: value[:MAX_TEXT] if isinstance(value, str) else value for key, value in fields.items()}
