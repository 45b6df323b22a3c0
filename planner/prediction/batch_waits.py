"""The distribution of waits of `planner.prediction.batching`, on a grid of times."""

from __future__ import annotations

from typing import Final

import numpy as np

from planner.prediction.batching import BatchQueue
from planner.prediction.distribution import Grid, Reals, Transform

COARSE: Final = 256
"""Equally likely times that stand for a service where roots are sought."""
STEPS: Final = 6


def waiting_in_batches(grid: Grid, queue: BatchQueue, services: Reals) -> Transform:
    """Of a wait without patience (`planner.prediction.batching`); `services` are equally likely times of a service."""
    if queue.wait.mean <= 0:
        return np.ones(grid.size + 1, dtype=np.complex128)
    return (1 - queue.all_busy) + queue.all_busy * _standing(grid, queue, services) * _next_free(grid, queue, services)


def _standing(grid: Grid, queue: BatchQueue, services: Reals) -> Transform:
    """M(1 - s / rate): of the time that those took to come who stand before the batch that an arrival begins."""
    arriving = grid.transform(services / queue.servers)
    angles = np.arange(grid.size + 1) * (np.pi / grid.size)
    z = 1 - 1j * angles / (grid.step * queue.rate)
    product = np.full(grid.size + 1, queue.batch - queue.coming, dtype=np.complex128)
    power = z - arriving if queue.batch == 1 else z**queue.batch - arriving
    for root in _roots(queue, services):
        product *= (z - root) / (1 - root)
    standing: Transform = np.ones_like(z)
    standing[1:] = product[1:] * (z[1:] - 1) / power[1:]
    return standing


def _roots(queue: BatchQueue, services: Reals) -> Transform:
    """The roots of z^b = A(z) for these services, by Newton's method from those of gamma services.

    Where they were others than those of the power that divides, the quotient would not be of a distribution.
    """
    few = np.sort(np.resize(services, COARSE * max(1, len(services) // COARSE))).reshape(COARSE, -1).mean(axis=1)
    times = few * (float(services.mean()) / float(few.mean()) * queue.rate / queue.servers)
    z = np.array(queue.roots, dtype=np.complex128)
    for _ in range(STEPS):
        terms = np.exp(-np.outer(1 - z, times))
        value, slope = z**queue.batch - terms.mean(axis=1), queue.batch * z ** (queue.batch - 1)
        z = z - value / (slope - (terms * times).mean(axis=1))
    return z


def _next_free(grid: Grid, queue: BatchQueue, services: Reals) -> Transform:
    """Of the time until the first of all busy servers is free."""
    mass = grid.masses(grid.transform(services))
    longer = np.concatenate([np.cumsum(mass[::-1])[::-1][1:], [0.0]])
    still = np.concatenate([np.cumsum(longer[::-1])[::-1] / longer.sum(), [0.0]])  # residual services at cell edges
    cells = -np.diff(still**queue.servers)
    middle = cells / 2
    middle[1:] += cells[:-1] / 2
    middle[-1] += cells[-1] / 2
    return np.fft.rfft(middle, 2 * grid.size)
