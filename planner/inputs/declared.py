"""Times that nobody measured, since the application declares them: of calls of hosted APIs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Final

from specs.api import ApiLatency
from specs.application import Application
from specs.infrastructure import Infrastructure
from specs.profile import Distribution, Record

MEMORY: Final = 20e6
"""Bytes of who calls: a request and an answer of at most 8 MB each, and what reads them."""
_PROBABILITIES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


def declared_records(app: Application, infra: Infrastructure) -> Iterator[Record]:
    """Of each declared latency, on every class in use: what it is called from makes no difference to it."""
    for component in app.components.values():
        if component.api is not None and component.api.latency is not None:
            for hardware in sorted(infra.hardware_in_use):
                yield Record(
                    source=component.api.digest,
                    backend="python",
                    threads=1,
                    hardware=hardware,
                    provenance="declared",
                    method="declared in the application: a lognormal distribution",
                    host="",
                    latency=_lognormal(component.api.latency),
                    memory=MEMORY,
                    measured_at="",
                )


def _lognormal(latency: ApiLatency) -> Distribution:
    """E[x^k] = m^k exp(k^2 s^2 / 2) of a lognormal with the median m and the deviation s of its logarithm."""
    normal = NormalDist()
    deviation = math.log(latency.p99 / latency.p50) / normal.inv_cdf(0.99)
    first, second, third = (latency.p50**k * math.exp(k * k * deviation**2 / 2) for k in (1, 2, 3))
    quantiles = {f"{p:g}": latency.p50 * math.exp(deviation * normal.inv_cdf(p)) for p in _PROBABILITIES}
    return Distribution(mean=first, second=second, third=third, quantiles=quantiles, n=0, spread=0)
