"""Discrete-event simulation of a placement: the discipline that is predicted and run, played request by request.

`build` turns a placement into a network of queues as arrays (`tables`), `arrivals` says when requests come, `faults`
what fails when; `engine` is the compiled loop over `events`, and `play` puts them together. Importing this costs
numba's import; the loop is compiled once for a machine and then kept beside it.
"""

from planner.simulation.play import Conditions, Played, Simulated, Simulation

__all__ = ["Conditions", "Played", "Simulated", "Simulation"]
