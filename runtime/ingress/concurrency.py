"""How many requests may be inside at once, learnt from how much of its deadline each of them used.

Queues are first come, first served: beyond capacity, whoever is served has waited nearly as long as the deadline, and
is answered too late. So the limit falls until requests are answered within `GOAL` of their deadline on average, and the
rest is refused at once. Time inside goes as the number inside (J. Little, 1961): it falls by what the time was too
long, and grows by one for as many good answers as it lets in (additive increase, D.-M. Chiu and R. Jain, 1989).
"""

from __future__ import annotations

from math import inf
from typing import Final

GOAL: Final = 0.5
"""Share of its deadline that a request may be inside."""
LEAST: Final = 2.0
"""Requests that are let in whatever happens, so that it is noticed when things are well again."""
FEWEST: Final = 8
"""Requests that must have ended before the limit is set anew: one that is late may be so by chance."""
ROOM: Final = 1.2
"""How many times the share of their deadline that requests use alone they may use among others."""
FORGET: Final = 0.1
"""Part of the way that this share follows a smaller one: an outage while few were inside is over some time."""


class Concurrency:
    """Between `LEAST` and `most` requests. Used by one thread; it looks at no clock.

    It is set anew each time that as many requests have ended as are inside: one that took long alone says little, and
    those that came under the limit before end first.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self.limit = self._most
        self._fastest = inf
        self._alone = 0.0
        self._shares: list[float] = []
        self._inside = 0

    def answered(self, seconds: float, deadline: float, inside: int) -> None:
        """A request was answered after `seconds`, of the `deadline` seconds that it had; `inside` are in, with it."""
        self._fastest = min(self._fastest, seconds)
        self._ended(seconds / deadline, deadline, inside)

    def late(self, deadline: float, inside: int) -> None:
        """A request had no answer within `deadline` seconds, or no queue had room for it; `inside` are in, with it."""
        self._ended(1.0, deadline, inside)

    def _ended(self, share: float, deadline: float, inside: int) -> None:
        """One that asks for less time than the fastest answer took says nothing of load."""
        if deadline * GOAL < self._fastest < inf:
            return
        self._shares.append(min(share, 1.0))
        self._inside = max(self._inside, inside)
        if len(self._shares) >= max(FEWEST, self._inside):
            self._set(sum(self._shares) / len(self._shares), self._inside)
            self._shares, self._inside = [], 0

    def _set(self, share: float, inside: int) -> None:
        """`inside` is how many there were at most while that `share` of deadlines was used.

        What is used while next to nobody is inside is no fault of load, and no smaller limit makes it less.
        """
        if inside <= LEAST:
            self._alone = share
        elif share < self._alone:
            self._alone += FORGET * (share - self._alone)
        goal = max(GOAL, ROOM * self._alone)
        if share > goal:
            self.limit = max(LEAST, min(self.limit, inside) * goal / share)
        elif inside >= int(self.limit):
            self.limit = min(self._most, self.limit + 1)
