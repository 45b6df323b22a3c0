"""Requests flow into a deployment while something breaks; the client's own log says what became of each."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from runtime.client import Client
from runtime.reference.items import Item
from runtime.values import Value, equal
from specs.errors import EnvironmentFailed, InputError

Fate = Literal["answered", "wrong", "refused", "failed", "unreachable"]
WORKERS = 128
SLOW = 0.5
"""Seconds; the sample answers in hundredths of one."""


@dataclass(frozen=True, slots=True)
class Line:
    """Of the client's log; times in seconds since the first request. `said` is the reason of what was not answered."""

    number: int
    sent: float
    ended: float
    fate: Fate
    said: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """`broken_at` is when the fault was made."""

    lines: Sequence[Line]
    broken_at: float

    def counts(self) -> dict[str, int]:
        return dict(Counter(line.fate for line in self.lines))

    def recovery(self) -> float:
        """Seconds from the fault until the last request had ended that it failed or slowed; 0 where it did neither."""
        touched = [li for li in self.lines if li.fate != "answered" or li.ended - li.sent > SLOW]
        return max((line.ended - self.broken_at for line in touched), default=0.0)

    def slowest(self) -> float:
        """Seconds that the slowest answer took."""
        return max((line.ended - line.sent for line in self.lines if line.fate == "answered"), default=float("inf"))

    def silence(self) -> float:
        """The longest time from one answer to the next, in seconds, from the fault on."""
        return _silence(self.lines, self.broken_at)

    def said(self) -> set[str]:
        return {line.said for line in self.lines if line.said}


class Load:
    """Sends `items` in turn at `rate` a second from construction on, each answer compared with `expected`."""

    def __init__(
        self, url: str, model: str, items: Sequence[Item], expected: Sequence[Value], output: str, *, rate: float
    ) -> None:
        self._client = Client(url, model, timeout=30)
        self._client.metadata()
        self._items, self._expected, self._output, self._rate = items, expected, output, rate
        self._pool = ThreadPoolExecutor(WORKERS)
        self._lines: list[Line] = []
        self._stop = threading.Event()
        self._started = time.monotonic()
        self._broken = 0.0
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        number = 0
        while not self._stop.wait(max(0.0, self._started + number / self._rate - time.monotonic())):
            self._pool.submit(self._ask, number)
            number += 1

    def _ask(self, number: int) -> None:
        sent = time.monotonic() - self._started
        item, expected = self._items[number % len(self._items)], self._expected[number % len(self._items)]
        fate: Fate
        said = ""
        try:
            answer = self._client.infer(item.values).outputs[self._output]
            fate = "answered" if equal(answer, expected) else "wrong"
        except EnvironmentFailed as error:
            said = str(error)
            fate = "refused" if said.startswith("503") else "unreachable" if "no answer" in said else "failed"
        except InputError as error:
            fate, said = "failed", str(error)
        self._lines.append(Line(number, sent, time.monotonic() - self._started, fate, said))

    def breaks(self, fault: Callable[[], object]) -> None:
        """Make `fault` now."""
        self._broken = time.monotonic() - self._started
        fault()

    def silence(self, seconds: float) -> float:
        """As that of `Log`, of the latest `seconds`."""
        return _silence(list(self._lines), time.monotonic() - self._started - seconds)

    def end(self) -> Log:
        """Send no more, wait for what is under way: each request that was sent stands in the log once."""
        self._stop.set()
        self._thread.join()
        self._pool.shutdown(wait=True)
        return Log(sorted(self._lines, key=lambda line: line.number), self._broken)


def _silence(lines: Sequence[Line], since: float) -> float:
    ended = sorted(line.ended for line in lines if line.fate == "answered" and line.ended >= since)
    return max((after - before for before, after in itertools.pairwise(ended)), default=float("inf"))
