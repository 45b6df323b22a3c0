"""The model while it is built: what the functions that add constraints share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from planner.problem import Option, Problem, Server, Visit, visit_ns
from planner.solver.candidates import Candidate, Key
from planner.solver.groups import Group
from planner.solver.model import Model, Terms
from planner.solver.ways import Ways

Encoding = Literal["pair", "cond"]


@dataclass(frozen=True)
class Scope:
    """Which model of a Problem. Without `servers` (`packed`) named, all wait (are packed) exactly; else only those do,
    and the model is a relaxation. `encoding` is of messages with a table of transfers.
    """

    encoding: Encoding = "pair"
    servers: frozenset[int] | None = None
    packed: frozenset[int] | None = None

    def waits(self, server: int) -> bool:
        return self.servers is None or server in self.servers

    def packs(self, pool: int) -> bool:
        return self.packed is None or pool in self.packed


class Visitor(NamedTuple):
    """If `literal` is true, a server is visited by `flow` with this work and load."""

    literal: int
    work_ns: int
    load_ppb: int
    flow: int


class Crossing(NamedTuple):
    """If `literal` is true, a message takes this time beside the waits at `servers`: a whole transfer or a hop."""

    literal: int
    mean_us: int
    var_us2: int
    servers: tuple[int, ...]


@dataclass
class Draft:
    """`merged` are sites that stand for several. `picked` gives each candidate its variable. `present` is whether the
    group is taken.

    `crossing` and `edge_time` are by (group, edge), `sites` by (group, step, task), `step_of` by variable, `memory` (of
    all replicas) by pool.
    """

    problem: Problem
    relaxed: frozenset[int]
    scope: Scope
    groups: Sequence[Group]
    candidates: dict[Key, list[Candidate]]
    private: frozenset[int]
    ways: Ways
    merged: frozenset[int] = frozenset()
    model: Model = field(default_factory=Model)
    taken: dict[int, int] = field(default_factory=dict)
    present: dict[int, int] = field(default_factory=dict)
    picked: dict[Key, list[tuple[int, Candidate]]] = field(default_factory=dict)
    step_of: dict[int, tuple[int, int]] = field(default_factory=dict)
    sites: dict[tuple[int, int, int], dict[int, int]] = field(default_factory=dict)
    below: dict[tuple[int, int, int, int], dict[int, int]] = field(default_factory=dict)
    users: dict[int, list[tuple[int, Candidate, Option]]] = field(default_factory=dict)
    level: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    bought: dict[int, int] = field(default_factory=dict)
    visitors: dict[int, list[Visitor]] = field(default_factory=dict)
    server_levels: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    crossing: dict[tuple[int, int], list[Crossing]] = field(default_factory=dict)
    edge_time: dict[tuple[int, int], tuple[Terms, Terms]] = field(default_factory=dict)
    alone: dict[int, dict[int, tuple[int, int]]] = field(default_factory=dict)
    cost: Terms = field(default_factory=list)
    energy: Terms = field(default_factory=list)
    memory: dict[int, Terms] = field(default_factory=dict)

    def wait_alone(self, server: int, literal: int) -> tuple[int, int]:
        """The least wait and variance at `server` of what visits it if `literal` is true, were nothing else there."""
        if server not in self.alone:
            found: dict[int, tuple[int, int]] = {}
            for visitor in self.visitors[server]:
                work, load = found.get(visitor.literal, (0, 0))
                found[visitor.literal] = work + visitor.work_ns, load + visitor.load_ppb
            levels = self.problem.servers[server].levels
            n = max([1, *(self.problem.pools[pool].maximum for pool in self.problem.servers[server].pools)])
            self.alone[server] = {
                x: next(
                    (
                        (level.wait_us, level.wait_var)
                        for level in levels
                        if visit_ns(Visit(server, work, load), level.wait_us) <= 1000 * level.wait_us * n
                    ),
                    (0, 0),
                )
                for x, (work, load) in found.items()
            }
        return self.alone[server].get(literal, (0, 0))

    def executors(self, server: Server) -> int | None:
        """The variable that says how many executors a server stands for; None: one."""
        return next((self.bought[pool] for pool in server.pools if self.problem.pools[pool].maximum > 1), None)

    def picks(self, g: int, i: int) -> Iterator[tuple[int, Candidate, Option]]:
        """All candidates of a step, in all its forms."""
        for j, slot in enumerate(self.groups[g].slots[i]):
            for x, c in self.picked[g, i, j]:
                yield x, c, slot.step.options[c.option]
