"""Random isolated requests of any size, made from a seed: DAG scheduling as SAGA's heuristics know it.

Devices differ in speed alone and links in bandwidth alone, which is all that SAGA's networks can say. Costs are
multiples of `UNIT`, which every speed divides, so that all times are whole microseconds on both sides.

`python -m benchmarks.task_graphs FILE --steps 15 --seed 3` writes one as a Problem, for `planner solve --problem FILE`.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from typing import Final

from planner.problem import Problem
from planner.problem.file import write_problem
from planner.solver.scheduling import isolated_request

SPEEDS: Final = (1, 2, 3, 4, 6)
UNIT: Final = 12


@dataclass(frozen=True, slots=True)
class TaskGraph:
    """`costs` by step, `sizes` by edge; `speeds` by device, `rates` by pair of devices, either way."""

    costs: tuple[int, ...]
    sizes: dict[tuple[int, int], int]
    speeds: tuple[int, ...]
    rates: dict[tuple[int, int], int]

    def problem(self, name: str) -> Problem:
        """The same as a Problem."""
        devices = range(len(self.speeds))
        return isolated_request(
            {f"t{i}": {f"d{k}": cost // self.speeds[k] for k in devices} for i, cost in enumerate(self.costs)},
            {
                (f"t{a}", f"t{b}"): {
                    (f"d{p}", f"d{q}"): size // self.rates[min(p, q), max(p, q)]
                    for p in devices
                    for q in devices
                    if p != q
                }
                for (a, b), size in self.sizes.items()
            },
            name,
        )


def task_graph(steps: int, devices: int, ratio: float, seed: int) -> TaskGraph:
    """A random DAG with one first and one last step. A message takes about `ratio` times as long as a step."""
    draw = random.Random(f"{steps} {devices} {ratio} {seed}")
    speeds = tuple(draw.choice(SPEEDS) for _ in range(devices))
    rates = {(p, q): draw.choice(SPEEDS) for q in range(devices) for p in range(q)}
    costs = tuple(UNIT * draw.randint(200, 2000) for _ in range(steps))
    last = steps - 1
    edges = {(draw.randrange(max(0, i - steps // 2), i), i) for i in range(1, last)}
    edges |= {(draw.randrange(max(0, i - steps // 2), i), i) for i in range(2, last) if draw.random() < 0.6}
    edges |= {(i, last) for i in range(last) if not any(a == i for a, _ in edges)}
    sizes = {edge: UNIT * max(1, round(ratio * draw.randint(200, 2000))) for edge in sorted(edges)}
    return TaskGraph(costs, sizes, speeds, rates)


def main() -> None:
    words = argparse.ArgumentParser(description="Write a random isolated request as a Problem.")
    words.add_argument("file")
    words.add_argument("--steps", type=int, default=15)
    words.add_argument("--devices", type=int, default=4)
    words.add_argument("--ratio", type=float, default=0.3)
    words.add_argument("--seed", type=int, default=0)
    given = words.parse_args()
    graph = task_graph(given.steps, given.devices, given.ratio, given.seed)
    write_problem(graph.problem(f"{given.steps} steps on {given.devices} devices #{given.seed}"), given.file)


if __name__ == "__main__":
    main()
