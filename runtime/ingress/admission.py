"""Who may come in, and how much at a time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from runtime.hosting.request import LATE, Entry
from runtime.ingress.concurrency import Concurrency
from runtime.open_inference.protocol import Code, ProtocolError
from specs.errors import InputError, Issue, Place

MIN_TOKEN: Final = 16
MAX_TOKEN_FILE: Final = 100_000


class Tokens:
    """Bearer tokens, kept as digests. Without any, everybody may come in."""

    def __init__(self, tokens: tuple[str, ...] = ()) -> None:
        self._digests = tuple(_digest(token) for token in tokens)

    def check(self, authorization: str | None) -> None:
        """Raises ProtocolError where the header does not carry one of the tokens.

        The time does not tell how much of a token was right, nor which: digests are compared, and always with all.
        """
        if not self._digests:
            return
        scheme, _, token = (authorization or "").partition(" ")
        offered = _digest(token.strip())
        right = False
        for digest in self._digests:
            right |= hmac.compare_digest(digest, offered)
        if scheme.lower() != "bearer" or not right:
            raise ProtocolError(Code.unauthenticated, "expected a valid token: Authorization: Bearer TOKEN")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_tokens(file: str) -> Tokens:
    """The tokens in `file`, one a line; no file, no tokens.

    Raises InputError where it cannot be read, has none, has one of fewer than 16 characters, or others may read it.
    """
    if not file:
        return Tokens()
    place = Place(file)
    try:
        path = Path(file)
        if path.stat().st_mode & 0o077:
            raise InputError(Issue("others may read the file of tokens", place, f"chmod 600 {file}"))
        with path.open(encoding="ascii") as stream:
            lines = tuple(line.strip() for line in stream.read(MAX_TOKEN_FILE).splitlines() if line.strip())
    except OSError as error:
        raise InputError(Issue(f"cannot read the tokens: {error.strerror}", place)) from error
    except UnicodeDecodeError as error:
        raise InputError(Issue("expected tokens of ASCII characters", place)) from error
    if not lines or any(len(line) < MIN_TOKEN for line in lines):
        raise InputError(Issue(f"expected tokens of at least {MIN_TOKEN} characters, one a line", place))
    return Tokens(lines)


class Admission:
    """At most `requests` at a time, fewer where they are answered too late, and `data` bytes of bodies. Used by one
    thread.

    A request arrives until its body is there; only then it is inside. Those that arrive slowly use none of the places
    that are learnt from how long those inside take.
    """

    def __init__(self, requests: int, data: int) -> None:
        self._concurrency, self._most, self._data = Concurrency(requests), requests, data
        self.inside = 0
        self._here = 0
        self._held = 0

    @contextmanager
    def arrive(self, size: int) -> Iterator[None]:
        """From the beginning of a request of `size` bytes to its end. Raises ProtocolError where there is no room."""
        self._check_room()
        if self._here >= self._most or self._held + size > self._data:
            raise ProtocolError(Code.refused, f"{self._here} requests are here or on their way: try again later")
        self._here += 1
        self._held += size
        try:
            yield
        finally:
            self._here -= 1
            self._held -= size

    @contextmanager
    def enter(self) -> Iterator[None]:
        """For as long as a request that has arrived is inside. Raises ProtocolError where there is no room for it."""
        self._check_room()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def _check_room(self) -> None:
        if self.inside >= int(self._concurrency.limit):
            raise ProtocolError(Code.refused, f"{self.inside} requests are being served: try again later")

    def ended(self, entry: Entry) -> None:
        """Learn from what became of a request that is still inside. One that failed for another reason than time says
        nothing of load; nor does one that waited for a process that had died or was cut off.
        """
        if not entry.says_of_load:
            return
        deadline = entry.deadline - entry.started
        if entry.status == "answered":
            self._concurrency.answered(entry.latency, deadline, self.inside)
        elif entry.status in ("refused", "lost") or entry.reason.startswith(LATE):
            self.late(deadline)

    def given_up(self, entry: Entry | None, deadline: float) -> None:
        """Learn from a request whose client went away when its deadline had passed, as `ended` does."""
        if entry is None or entry.says_of_load:
            self.late(deadline)

    def late(self, deadline: float) -> None:
        """Learn that a request that is still inside was not answered within `deadline` seconds."""
        self._concurrency.late(deadline, self.inside)
