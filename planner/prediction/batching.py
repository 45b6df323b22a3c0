"""Waits of a queue whose servers take up to `batch` requests at once: M/G^[1..b]/c.

A batch leaves when a server is free and it is full or its oldest request has waited `patience`; a service is a full
batch's, however many are in it. All times are in seconds and rates in events a second; arrivals are taken as Poisson.

One server, no patience. With A arrivals in a service, what a departing batch leaves behind is a random walk, whose
generating function is known (Bailey, 1954; Bruneel and Kim, 1993) up to the roots z_k inside the unit circle of
z^b = A(z). What stands before the next batch (the number m, of those left, that it cannot take) has
M(z) = (z - 1)(b - a) / (z^b - A(z)) prod (z - z_k) / (1 - z_k), with a = E[A], and a departing batch leaves nobody with
probability (b - a) prod -z_k / (1 - z_k). Who waits does not depend on who comes later, so that the number waiting is
Poisson given a wait (Keilson and Servi, 1988): W*(s) = 1 - busy + busy M(1 - s / rate) R*(s), R the residual service.

Several servers are, while all are busy, one that is `servers` times as fast, as in Allen and Cunneen's formula; how
long some are idle follows from births and deaths. The next server to be free is the first of as many as there are, each
with a residual service of its own (Nozaki and Ross, 1978). Exact for one server and for exponential services; between,
within 3 % of wait and service together up to a utilisation of 70 %, where services vary by 10 % or more
(tests/planner/test_batching.py).
"""

from __future__ import annotations

import cmath
from dataclasses import dataclass
from functools import cached_property
from math import pi

from planner.moments import Moments
from planner.prediction.queueing import NO_WAIT, Wait, many_servers


def batch_wait(rate: float, service: Moments, servers: int, batch: int) -> Wait:
    """Of one queue for `servers` that take up to `batch` requests at once, without patience.

    Raises ValueError where the load of full batches reaches the servers.
    """
    if batch == 1:
        return many_servers(rate, service, servers)
    return BatchQueue(rate, service, servers, batch).wait


@dataclass(frozen=True)
class BatchQueue:
    """`rate` a second come to `servers` that each take up to `batch` at once for `service`, full or not.

    Raises ValueError where the load reaches the servers.
    """

    rate: float
    service: Moments
    servers: int
    batch: int

    def __post_init__(self) -> None:
        if self.load >= 1:
            raise ValueError(f"utilisation {self.load:.3g} is not below 1")

    @property
    def load(self) -> float:
        """Utilisation of each server if all batches are full."""
        return self.rate * self.service.mean / (self.servers * self.batch)

    @cached_property
    def fast(self) -> Moments:
        """The service of one server that is as fast as all together."""
        return self.service.scaled(1 / self.servers)

    @property
    def coming(self) -> float:
        """E[A], the arrivals in a service of the fast server."""
        return self.rate * self.fast.mean

    @cached_property
    def roots(self) -> tuple[complex, ...]:
        """Those of z^b = A(z) within the unit circle, but 1: a gamma service of the same mean and variance."""
        turns = [cmath.exp(2j * pi * k / self.batch) for k in range(1, self.batch // 2 + 1)]
        upper = [self._root(turn) for turn in turns]
        lower = [z.conjugate() for z in (upper[:-1] if self.batch % 2 == 0 else upper)]
        return (*upper, *lower)

    def _root(self, turn: complex) -> complex:
        """z = turn A(z)^(1/b), by Newton's method after a few steps of that iteration."""
        a, b = self.coming, self.batch
        spread = self.fast.variance / self.fast.mean**2

        def image(z: complex) -> tuple[complex, complex]:
            """The right side and its derivative."""
            if spread < 1e-9:
                value = turn * cmath.exp(-a * (1 - z) / b)
                return value, value * a / b
            base = 1 + a * spread * (1 - z)
            value = turn * cmath.exp(-cmath.log(base) / (spread * b))
            return value, value * a / (b * base)

        z = 0j
        for turn_number in range(60):
            value, slope = image(z)
            step = value - z if turn_number < 8 else (value - z) / (1 - slope)
            z += step
            if abs(step) < 1e-13:
                break
        return z

    @cached_property
    def left_nobody(self) -> float:
        """The probability that a departing batch leaves nobody behind, while all servers are busy."""
        product = complex(self.batch - self.coming)
        for z in self.roots:
            product *= -z / (1 - z)
        return min(1.0, max(0.0, product.real))

    @cached_property
    def all_busy(self) -> float:
        """The probability that a request finds all servers busy."""
        return 1 / (1 + self.left_nobody * self._until_busy() / self.fast.mean)

    def _until_busy(self) -> float:
        """Mean seconds from where one server of all is idle until all are busy: each request then begins a batch."""
        seconds = 1 / self.rate
        for busy in range(1, self.servers):
            seconds = 1 / self.rate + busy / (self.service.mean * self.rate) * seconds
        return seconds

    @cached_property
    def wait(self) -> Wait:
        """Without patience."""
        if self.rate <= 0 or self.service.mean <= 0:
            return NO_WAIT
        a, b, rate, fast = self.coming, self.batch, self.rate, self.fast
        inverse = [1 / (1 - z) for z in self.roots]
        once = sum(inverse).real if inverse else 0.0
        twice = ((sum(inverse) ** 2 - sum(i * i for i in inverse)) / 2).real if inverse else 0.0
        g1 = (b * (b - 1) - rate**2 * fast.second) / (2 * (b - a))
        g2 = (b * (b - 1) * (b - 2) - rate**3 * fast.third) / (6 * (b - a))
        standing = max(0.0, once - g1)  # E[m]
        pairs = max(0.0, 2 * (twice - g1 * once + g1 * g1 - g2))  # E[m (m - 1)]
        residual, residual2 = self._next_free()
        mean = standing / rate + residual
        second = pairs / rate**2 + 2 * standing / rate * residual + residual2
        return Wait(self.all_busy, self.all_busy * mean, self.all_busy * second)

    def _next_free(self) -> tuple[float, float]:
        """E[R] and E[R^2] of the time until the first of all busy servers is free.

        Between services that never vary, of which the residual is uniform, and exponential ones, by their variance.
        """
        c, service = self.servers, self.service
        if c == 1:
            return service.second / (2 * service.mean), service.third / (3 * service.mean)
        spread = service.variance / service.mean**2
        part, more = min(1.0, spread), max(1.0, (1 + spread) / 2)
        mean = 1 / (c + 1) + part * (1 / c - 1 / (c + 1))
        second = 2 / ((c + 1) * (c + 2)) + part * (2 / c**2 - 2 / ((c + 1) * (c + 2)))
        return mean * more * service.mean, second * (more * service.mean) ** 2
