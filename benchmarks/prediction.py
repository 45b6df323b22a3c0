"""What is predicted beside what is simulated, by how busy the busiest queue is; and how fast the simulator is.

``python -m benchmarks.prediction`` writes benchmarks/results/prediction.json. The plan of each random world, and of the
example, is played at the rate at which its busiest queue has the load of the row; ours is the error of the prediction
(planner.prediction.latency: sums of distributions) relative to the simulation. Percentiles that the simulation knows to
no better than a third of the target are left out and counted.

Then a table, a line for each kind of placement (benchmarks.structures): the errors of sums, with half of the
simulation's interval beside, and those of what `--refine` would state, which is another simulation. The latter miss the
target by chance where intervals are wider than half of it: they are counted apart; refining plays more requests then.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks.about import about
from benchmarks.structures import structures
from planner.placement.demand import Demand
from planner.placement.layout import Layout, plan_layout
from planner.plan import solve
from planner.prediction.timings import Timings
from planner.simulation import Simulation
from planner.simulation.outcome import paths_of
from planner.simulation.precision import TOLERANCE
from planner.situation import Situation
from specs.errors import TierplanError
from specs.run_result import Slice
from tests.planner.blog import situation
from tests.planner.networks import Server, chain, exponential
from tests.planner.worlds import world

RESULT: Final = Path(__file__).parent / "results" / "prediction.json"
WORLDS: Final = 40
REQUESTS: Final = 200_000
LOADS: Final = (0.3, 0.5, 0.6, 0.7)
RUNS: Final = 3
MILLION: Final = 1_000_000


class Error(NamedTuple):
    """Of one predicted percentile of one path: (predicted - simulated) / simulated."""

    case: str
    load: float
    percentile: str
    error: float
    known: float
    """Half of the simulation's own interval, as a share."""


class Line(NamedTuple):
    """Of one placement: errors relative to a simulation, of sums and of another simulation.

    `known` is half of the former's interval, as a share.
    """

    case: str
    load: float
    percentile: str
    error: float
    corrected: float
    known: float


def main() -> int:
    """Measure, write the result, print a line a row."""
    errors = [e for name, given in _cases() for e in _errors(name, given)]
    rows = [row for load in LOADS for name in TOLERANCE for row in _rows(errors, load, name)]
    lines = list(_table())
    rows += [row for load in LOADS for row in _corrected(lines, load)] + [_speed()]
    for row in rows:
        print(row, file=sys.stderr)
    worst = sorted(errors, key=lambda e: -abs(e.error) / TOLERANCE[e.percentile])[:20]
    value = {**about("numpy", "numba"), "rows": rows, "worst": [e._asdict() for e in worst]}
    value["structures"] = [line._asdict() for line in lines]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(value, indent=1) + "\n", "utf-8")
    return 0


def _cases() -> Iterator[tuple[str, Situation]]:
    yield "blog_upload", situation()
    for seed in range(WORLDS):
        yield f"world {seed}", world(seed)


def _errors(name: str, given: Situation) -> Iterator[Error]:
    try:
        plan = solve(given, time_limit=10)
    except TierplanError:
        return
    if plan.status not in ("optimal", "feasible"):
        return
    layout = plan_layout(given, plan)
    busiest = max(q.load for q in Timings(layout, Demand(given)).queues.values())
    for load in LOADS:
        yield from _at(name, given, layout, load, load / busiest)


def _at(name: str, given: Situation, layout: Layout, load: float, multiplier: float) -> Iterator[Error]:
    infra = given.infra.value
    members = {site: infra.members(site) for site in infra.sites}
    demand = Demand(given, Slice(members=members, multiplier=multiplier, requests=REQUESTS, seed=1))
    for path in paths_of(layout, demand, Simulation(layout, demand, 1).run(REQUESTS)):
        for percentile in TOLERANCE:
            if path.predicted is None or percentile not in path.interval_ms:
                continue
            low, high = path.interval_ms[percentile]
            true = getattr(path.simulated, f"{percentile}_ms")
            error = getattr(path.predicted, f"{percentile}_ms") / true - 1
            yield Error(name, load, percentile, round(error, 4), round((high - low) / 2 / true, 4))


def _rows(errors: list[Error], load: float, percentile: str) -> Iterator[dict[str, object]]:
    mine = [e for e in errors if (e.load, e.percentile) == (load, percentile)]
    target = TOLERANCE[percentile]
    told = np.array([abs(e.error) for e in mine if e.known <= target / 3])
    case = f"busiest queue at {load:.0%}"
    for metric, value in (("median", np.median(told)), ("95th percentile", np.quantile(told, 0.95))):
        yield {
            "case": case,
            "metric": f"error of the predicted {percentile}, {metric}, share",
            "ours": round(float(value), 4),
            "peer_name": "target",
            "peer": target,
            "ratio": round(float(value) / target, 3),
            "runs": len(told),
            "within_target": round(float((told <= target).mean()), 3),
            "not_told": len(mine) - len(told),
        }


def _table() -> Iterator[Line]:
    """Errors of each placement, printed as they are found."""
    for name, make in structures():
        for load in LOADS:
            given, layout = make(load)
            demand = Demand(given)
            path, other = (paths_of(layout, demand, Simulation(layout, demand, s).run(REQUESTS))[0] for s in (1, 2))
            found: list[Line] = []
            for percentile in TOLERANCE:
                if percentile not in path.interval_ms:
                    continue
                figure = f"{percentile}_ms"
                true = getattr(path.simulated, figure)
                low, high = path.interval_ms[percentile]
                sums, corrected = (getattr(p, figure) / true - 1 for p in (path.predicted, other.simulated))
                half = (high - low) / 2 / true
                found.append(Line(name, load, percentile, round(sums, 4), round(corrected, 4), round(half, 4)))
            said = (f"{e.percentile} {e.error:+7.1%} ±{e.known:5.1%}, refined {e.corrected:+6.1%}" for e in found)
            print(f"{name:46} {load:.0%}  {';  '.join(said)}", file=sys.stderr, flush=True)
            yield from found


def _corrected(lines: list[Line], load: float) -> Iterator[dict[str, object]]:
    """Sums, and what refining states, in all placements."""
    for percentile, target in TOLERANCE.items():
        mine = [e for e in lines if (e.load, e.percentile) == (load, percentile)]
        known = [e for e in mine if e.known <= target / 2]
        for what, errors in (
            ("predicted", [abs(e.error) for e in known]),
            ("refined", [abs(e.corrected) for e in known]),
        ):
            yield {
                "case": f"placements of one kind at {load:.0%}",
                "metric": f"share of {what} {percentile} within the target",
                "ours": round(float(np.mean([e <= target for e in errors])), 3) if errors else None,
                "peer_name": "target",
                "peer": 1.0,
                "ratio": None,
                "runs": len(errors),
                "worst": max(errors, default=None),
                "not_told": len(mine) - len(known),
            }


def _speed() -> dict[str, object]:
    """A million requests through six stages at 60 %, on one core, compilation apart."""
    given, layout = chain({f"s{i}": Server(exponential(0.012)) for i in range(6)}, 50.0)
    Simulation(layout, Demand(given), 1).run(1000)
    took: list[float] = []
    for run in range(RUNS):
        started = time.process_time()
        Simulation(layout, Demand(given), run).run(MILLION)
        took.append(time.process_time() - started)
    return {
        "case": "a million requests through six stages",
        "metric": "CPU seconds, median",
        "ours": round(float(np.median(took)), 2),
        "peer_name": "target",
        "peer": 60.0,
        "ratio": round(float(np.median(took)) / 60.0, 4),
        "runs": RUNS,
        "spread": round((max(took) - min(took)) / 2, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
