"""Moments of what was measured: services of profile records, and the overhead of a message."""

from __future__ import annotations

from itertools import pairwise

from planner.moments import Moments
from planner.situation import Situation
from specs.profile import Record


def moments(record: Record) -> Moments:
    """Of the service that a plan may count on."""
    service = record.service
    return Moments(service.mean, service.second, service.third)


def hop_moments(situation: Situation, size: float) -> Moments:
    """Overhead in seconds of a message of `size` bytes: measured sizes are interpolated, the ends hold beyond them."""
    hops = situation.hops
    of = [(h.bytes, Moments(h.latency.mean, h.latency.second, h.latency.third)) for h in hops]
    if size <= of[0][0]:
        return of[0][1]
    for (low, a), (high, b) in pairwise(of):
        if size <= high:
            t = (size - low) / (high - low)
            second = a.second + t * (b.second - a.second)
            return Moments(a.mean + t * (b.mean - a.mean), second, a.third + t * (b.third - a.third))
    return of[-1][1]
