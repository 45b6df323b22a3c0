"""A log with a line of JSON for each request: its id, what became of it, and its times. No values, no tokens."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from typing import Final

MAX_FILE: Final = 20_000_000
KEPT: Final = 3
MAX_TEXT: Final = 500


class RequestLog:
    """Lines in `file`, which is put aside when it is full; with no file, nothing."""

    def __init__(self, file: str, member: str) -> None:
        self._member = member
        self._handler = RotatingFileHandler(file, maxBytes=MAX_FILE, backupCount=KEPT, delay=True) if file else None

    def write(self, event: str, **fields: object) -> None:
        """One line. Texts are cut at 500 characters, for some of them come from clients."""
        if self._handler is None:
            return
        line = {"time": round(time.time(), 6), "member": self._member, "event": event, **_short(fields)}
        record = logging.LogRecord("", logging.INFO, "", 0, json.dumps(line, ensure_ascii=True), None, None)
        self._handler.handle(record)

    def close(self) -> None:
        if self._handler is not None:
            self._handler.close()


def _short(fields: Mapping[str, object]) -> dict[str, object]:
    return {key: value[:MAX_TEXT] if isinstance(value, str) else value for key, value in fields.items()}
