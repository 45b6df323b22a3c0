"""What lost packets cost a message on a TCP stream: one model for what is planned, simulated and run. docs/network.md.

A packet that is lost is sent again: after 1.5 round trips where later packets tell of it, after the retransmission
timeout where it is among the last (three duplicate acknowledgements are missing), and after doubled timeouts where it
is lost again. The window that losses leave bounds the rate (Padhye, Firoiu, Towsley and Kurose, SIGCOMM 1998, equation
30). Each packet is lost by itself. On the safe side of Linux, which probes for lost tails and reduces its window less.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final

SEGMENT: Final = 1448
"""Bytes of payload in a packet of 1,500."""
LEAST_TIMEOUT: Final = 0.2
"""Seconds beyond the round trip, as Linux has it."""
FAST: Final = 1.5
"""Round trips until a packet that later ones told of is sent again and there."""
TAIL: Final = 3
INITIAL_WINDOW: Final = 10
"""Packets that leave at once (RFC 6928), whatever was lost before."""
ACKNOWLEDGED: Final = 2
"""Packets by an acknowledgement."""
ROUNDS: Final = 6
"""A packet that is lost more often counts as lost so often."""


@dataclass(frozen=True, slots=True)
class Retransmission:
    """Over a route: the share of packets that is lost on it, the round trip (s), and its least rate (bytes/s)."""

    loss: float
    round_trip: float
    rate: float

    @property
    def timeout(self) -> float:
        return self.round_trip + LEAST_TIMEOUT

    def delays(self, size: float) -> tuple[tuple[float, float], ...]:
        """(seconds more than without loss, probability) of a message of `size` bytes; probabilities sum to 1."""
        n = max(1, ceil(size / SEGMENT))
        slower = max(0, n - INITIAL_WINDOW) * self._slower
        none, tail_kept = (1 - self.loss) ** n, (1 - self.loss) ** min(TAIL, n)
        at_most = [(1 - self.loss**rounds) ** n for rounds in range(1, ROUNDS)] + [1.0]
        once = at_most[1] - none
        of_tail = (1 - tail_kept) / (1 - none) if none < 1 else 0.0
        fast = FAST * self.round_trip
        found = [(slower, none), (slower + fast, once * (1 - of_tail)), (slower + self.timeout, once * of_tail)]
        for rounds in range(2, ROUNDS):
            found.append((slower + self.timeout * (2**rounds - 1), at_most[rounds] - at_most[rounds - 1]))
        return tuple((seconds, p) for seconds, p in found if p > 0)

    def drawn(self, size: float, uniform: float) -> float:
        """One of `delays`, by a number from 0 to 1."""
        for seconds, p in sorted(self.delays(size)):
            if uniform < p:
                return seconds
            uniform -= p
        return max(self.delays(size))[0]

    @property
    def _slower(self) -> float:
        """Seconds that a packet takes longer than the route's rate says, in a stream that loses its window."""
        window = self.round_trip * sqrt(2 * ACKNOWLEDGED * self.loss / 3)
        often = min(1.0, 3 * sqrt(3 * ACKNOWLEDGED * self.loss / 8))
        timeouts = self.timeout * often * self.loss * (1 + 32 * self.loss**2)
        return max(0.0, window + timeouts - SEGMENT / self.rate)
