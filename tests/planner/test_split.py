"""Splits: the best way to cut a model between two tiers, against two references that share no code with the planner.

DADS (Hu et al., INFOCOM 2019): the minimum cut over closed sets of operators of any width, as a flow network of its
own.
Neurosurgeon (Kang et al., ASPLOS 2017): every single-tensor cut tried.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import networkx
import pytest

from compiler.splitting.cuts import Cut, find_cuts
from compiler.splitting.operators import Operators, bits
from planner.formulation import formulate
from planner.situation import Situation, situation_of
from planner.solver import solve_problem
from specs.application import Application
from specs.behaviour import Behaviour, BranchPattern, PayloadSize
from specs.cuts import FoundCut, FoundCuts
from specs.infrastructure import Infrastructure
from specs.profile import Distribution, HopOverhead, Record
from specs.tensors import TensorType
from tests.compiler.test_splitting import random_operators
from tests.planner.worlds import WHEN, document, record

SOURCE = "5" * 64
DELAY = 1_000
HOP = 300
ANSWER = 400
"""Bytes, at a byte a microsecond."""


ANY = record(SOURCE, "any", 1e-3, memory=1e6)


@dataclass(frozen=True)
class Two:
    """One model on two tiers; times in us, all multiples of 100, so that two answers are equal or far apart.

    A byte takes a microsecond to the server and back. `work` is by operator.
    """

    operators: Operators
    work: tuple[int, ...]
    edge: int
    server: int

    @cached_property
    def total(self) -> int:
        return sum(self.work)

    def input_bytes(self) -> int:
        return sum(t.type.size or 0 for t in self.operators.tensors if t.producer < 0 and t.type is not None)

    def split(self, before: int, size: int) -> int:
        """Of a request whose first operators, `before` of the work, run on the edge and the rest on the server."""
        there = DELAY + HOP + size
        back = DELAY + HOP + ANSWER
        return self.edge * before + there + self.server * (self.total - before) + back

    @property
    def at_edge(self) -> int:
        return self.edge * self.total

    @property
    def at_server(self) -> int:
        return self.split(0, self.input_bytes())

    def dads(self) -> int:
        """The least time over all closed sets: everything on the edge, or a minimum cut with the outputs away."""
        graph: Any = networkx.DiGraph()
        for i, w in enumerate(self.work):
            graph.add_edge("edge", i, capacity=self.server * w)  # cut where i runs on the server
            graph.add_edge(i, "server", capacity=self.edge * w)
            graph.add_edges_from((i, j) for j in bits(self.operators.takes[i]))
        for t in self.operators.tensors:
            start = "edge" if t.producer < 0 else t.producer
            size = {} if t.type is None else {"capacity": t.type.size}
            graph.add_edge(start, t.name, **size)
            ends = ("server" if r == len(self.work) else r for r in bits(t.readers))
            graph.add_edges_from((t.name, end) for end in ends)
        value = int(networkx.minimum_cut_value(graph, "edge", "server"))
        return min(self.at_edge, value + 2 * DELAY + 2 * HOP + ANSWER)

    def neurosurgeon(self) -> int:
        """The least time over both ends and every closed set from which one tensor crosses."""
        found = [self.at_edge, self.at_server]
        for closed in range(1, self.operators.all):
            if all(not (closed >> i & 1) or not (takes & ~closed) for i, takes in enumerate(self.operators.takes)):
                crossing = self.operators.crossing(closed)
                if len(crossing) == 1 and crossing[0].type is not None:
                    before = sum(w for i, w in enumerate(self.work) if closed >> i & 1)
                    found.append(self.split(before, crossing[0].type.size or 0))
        return min(found)


def two(seed: int) -> Two:
    draw = random.Random(f"two {seed}")
    operators = random_operators(draw, draw.choice([4, 7, 10]))
    larger = draw.choice([1, 8, 30])  # what enters a model is often larger than what passes inside
    tensors = tuple(
        replace(t, type=TensorType("u8", (larger * (t.type.size or 0),))) if t.producer < 0 and t.type else t
        for t in operators.tensors
    )
    operators = replace(operators, tensors=tensors)
    work = tuple(100 * draw.randint(1, 30) for _ in operators.names)
    return Two(operators, work, draw.randint(2, 12), draw.randint(1, 3))


def fixed(us: float) -> Distribution:
    s = us * 1e-6
    return Distribution(mean=s, second=s * s, third=s**3, quantiles={"0.5": s, "1.0": s}, n=100, spread=0)


def situation(given: Two, cuts: tuple[Cut, ...], *, parts: bool = True) -> Situation:
    """`given` as specs and facts, with a record for the whole and, with `parts`, for each part between `cuts`."""
    infra = {
        "schema": "tierplan.infra/v1",
        "currency": "USD",
        "hardware": {"slow": {"cores": 1, "memory": "1 GB"}, "fast": {"cores": 1, "memory": "1 GB"}},
        "sites": {
            "phone": {"tier": "edge", "pools": {"soc": {"hardware": "slow", "devices": 1, "owned": True}}},
            "server": {"tier": "cloud", "pools": {"vm": {"hardware": "fast", "devices": "0..1"}}},
        },
        "links": {"air": {"between": ["phone", "server"], "delay": f"{DELAY / 1e3} ms", "rate": "8 Mbit/s"}},
    }
    app = {
        "schema": "tierplan.app/v1",
        "name": "two",
        "sources": {
            "src": {
                "at": {"tier": "edge"},
                "rate": "0.0001/h",
                "values": {"x": {"type": "bytes", "size": f"{given.input_bytes()} B"}},
            }
        },
        "components": {
            "m": {"model": "m.onnx", "split": "allowed", "inputs": {"x": "src.x"}, "outputs": {"y": f"u8[{ANSWER}]"}}
        },
        "sinks": {"out": {"at": "origin", "inputs": {"y": "m.y"}}},
        "constraints": {"time": {"from": "src", "to": "out", "p99": "1000 s"}},
        "objective": [{"latency": "time"}],
    }
    found = FoundCuts(
        source=SOURCE,
        cuts=tuple(FoundCut(tensors=dict(c.tensors), before=c.before) for c in cuts),
        method="given",
        host="test",
        measured_at=WHEN,
    )
    ends = [("", 0), *(("+".join(c.tensors), round(c.before * given.total)) for c in cuts), ("", given.total)]
    records: list[Record] = []
    for (begin, first), (end, last) in combinations(ends, 2):
        if parts or not (begin or end):
            for hardware, pace in (("slow", given.edge), ("fast", given.server)):
                change = {"segment": f"{begin}..{end}", "hardware": hardware, "latency": fixed(pace * (last - first))}
                records.append(ANY.model_copy(update=change))
    behaviour = Behaviour(
        variants={"m": "default"},
        patterns=(BranchPattern(source="src", runs=("m",), probability=1.0, count=1),),
        payloads={"src.x": PayloadSize.constant(given.input_bytes()), "m.y": PayloadSize.constant(ANSWER)},
        items=1,
        inputs={"m/default": SOURCE},
        measured_at=WHEN,
    )
    hops = [HopOverhead(channel="c", bytes=1, latency=fixed(HOP), host="test", measured_at=WHEN)]
    loaded = document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml")
    return situation_of(*loaded, records, [behaviour], hops, {"m/default": SOURCE}, found=[found])


def answered(given: Two, cuts: tuple[Cut, ...]) -> int:
    """The time of the planner's choice, by what it chose."""
    facts = situation(given, cuts)
    problem = formulate(facts)
    solution = solve_problem(problem)
    assert solution.status == "optimal"
    assert solution.choice is not None
    (step,) = problem.scenarios[0].steps
    chosen = sorted((step.options[o] for o in solution.choice.options[0][0]), key=lambda o: o.first)
    assert (chosen[0].first, chosen[-1].last) == (0, step.tasks - 1)
    if len(chosen) == 1:
        return given.at_edge if chosen[0].site == 0 else given.at_server
    # There is nothing to win by going back and forth: two parts, the first on the edge.
    assert [o.site for o in chosen] == [0, 1]
    used = facts.cuts("m", "default")[chosen[0].last]
    cut = next(c for c in cuts if tuple(c.tensors) == used)
    return given.split(round(cut.before * given.total), cut.bytes)


def seconds(given: Two) -> list[float]:
    return [w * 1e-6 for w in given.work]


def check(seeds: range) -> None:
    """The planner's answer is the reference's. At least a fifth of the answers are splits, and a fifth are not."""
    split = better = 0
    for seed in seeds:
        given = two(seed)
        every = find_cuts(given.operators, seconds(given), 64)
        best = given.dads()
        assert answered(given, every) == best, seed
        single = given.neurosurgeon()
        assert answered(given, find_cuts(given.operators, seconds(given), 64, width=1)) == single, seed
        split += best < min(given.at_edge, given.at_server)
        better += best < single
    assert len(seeds) / 5 < split < 4 * len(seeds) / 5, split
    assert better > len(seeds) / 50, better


def test_the_answer_is_the_minimum_cut_and_the_best_single_cut_on_random_models() -> None:
    check(range(100))


@pytest.mark.deep
def test_the_answer_is_the_minimum_cut_and_the_best_single_cut_on_500_random_models() -> None:
    check(range(100, 600))
