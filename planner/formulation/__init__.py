"""From a Situation to the Problem: options, queues and tables. See docs/solver.md for what the numbers mean.

`build` walks through the scenarios; each other file makes one table: `names` (constraints), `pools`, `servers`,
`stations`, `options`, `edges`, `limits`, `accuracy`. `barred` and `pairings` rule places out. What cannot be said is
refused in `refusals`.
"""

from planner.formulation.build import Formulation, budgets_of, formulate, formulation, limited_sites
from planner.formulation.numbers import MICRO
from planner.formulation.stations import StationKey
from planner.path_limits import limit_name

__all__ = [
    "MICRO",
    "Formulation",
    "StationKey",
    "budgets_of",
    "formulate",
    "formulation",
    "limit_name",
    "limited_sites",
]
