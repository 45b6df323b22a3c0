"""Orders the steps of one isolated request on serial devices: heterogeneous DAG scheduling, with a proof."""

from planner.solver.scheduling.given import isolated_request
from planner.solver.scheduling.schedule import Schedule
from planner.solver.scheduling.solve import solve_schedule
from planner.solver.scheduling.verify import wrong_in

__all__ = ["Schedule", "isolated_request", "solve_schedule", "wrong_in"]
