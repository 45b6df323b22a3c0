"""Encoded cuts: the plan's cut and codec are the best by trying each, for every link rate and limit on accuracy."""

from __future__ import annotations

from itertools import combinations, product
from math import ceil
from typing import Any, NamedTuple

import pytest

from compiler.splitting.cuts import Cut, find_cuts
from planner import solve, verify
from planner.formulation import formulate
from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.simulation import Conditions, Simulation
from planner.simulation.arrivals import Poisson, Recorded
from planner.simulation.tables import ANSWERED
from planner.situation import Situation, situation_of
from planner.solver import solve_problem
from specs.application import Application
from specs.behaviour import Accuracy, Behaviour, BranchPattern, PayloadSize
from specs.codec import encoded_name
from specs.cuts import FoundCut, FoundCuts
from specs.errors import InputError
from specs.infrastructure import Infrastructure
from specs.plan import Plan
from specs.profile import HopOverhead, Record
from tests.planner.brute import brute_force
from tests.planner.test_split import ANSWER, ANY, DELAY, HOP, SOURCE, Two, fixed, seconds, two
from tests.planner.worlds import WHEN, document


class Coded(NamedTuple):
    """A codec leaves `numerator`/4 of the bytes; either side takes `work` (as operators do); `accuracy` with it."""

    name: str
    numerator: int
    work: int
    accuracy: float


ZLIB, INT8 = Coded("zlib", 3, 100, 0.95), Coded("int8", 1, 300, 0.80)
PLAIN_ACCURACY = 0.95


class World(NamedTuple):
    given: Two
    cuts: tuple[Cut, ...]
    us_per_byte: int
    codecs: tuple[Coded, ...]
    least: float

    def bytes_of(self, cut: Cut, coded: Coded) -> int:
        return sum(ceil((t.size or 0) * coded.numerator / 4) for t in cut.tensors.values())

    def best(self) -> float:
        """By trying all: everything on the edge, everything at the server, each cut plain and with each codec."""
        g = self.given
        found = [g.edge * g.total, self._there(g.input_bytes()) + g.server * g.total + self._there(ANSWER)]
        for cut in self.cuts:
            before = round(cut.before * g.total)
            work = g.edge * before + g.server * (g.total - before) + self._there(ANSWER)
            found.append(work + self._there(cut.bytes))
            for coded in self.codecs:
                if coded.accuracy >= self.least:
                    size = self.bytes_of(cut, coded)
                    found.append(work + (g.edge + g.server) * coded.work + self._there(size))
        return min(found)

    def _there(self, size: int) -> int:
        return DELAY + HOP + size * self.us_per_byte

    def situation(self) -> Situation:
        g = self.given
        found = FoundCuts(
            source=SOURCE,
            cuts=tuple(FoundCut(tensors=dict(c.tensors), before=c.before) for c in self.cuts),
            method="given",
            host="test",
            measured_at=WHEN,
        )
        ends = [("", 0), *(("+".join(c.tensors), round(c.before * g.total)) for c in self.cuts), ("", g.total)]
        records = [self._record(f"{b}..{e}", last - first) for (b, first), (e, last) in combinations(ends, 2)]
        behaviours = [self._behaviour(None, None)]
        for cut in self.cuts:
            before = round(cut.before * g.total)
            for coded in self.codecs:
                wire = "+".join(self._wire(cut, coded))
                records.append(self._record(f"..{wire}", before + coded.work))
                records.append(self._record(f"{wire}..", g.total - before + coded.work))
                behaviours.append(self._behaviour(cut, coded))
        hops = [HopOverhead(channel="c", bytes=1, latency=fixed(HOP), host="test", measured_at=WHEN)]
        loaded = document(self._app(), Application, "app.yaml"), document(self._infra(), Infrastructure, "infra.yaml")
        both = [r for pair in records for r in pair]
        digests = {"m/default": SOURCE, "data:some": "d" * 64}
        return situation_of(*loaded, both, behaviours, hops, digests, found=[found])

    def _wire(self, cut: Cut, coded: Coded) -> tuple[str, ...]:
        return tuple(encoded_name(tensor, coded.name) for tensor in cut.tensors)

    def _record(self, segment: str, work: int) -> tuple[Record, Record]:
        def on(hardware: str, pace: int) -> Record:
            update = {"segment": segment, "hardware": hardware, "latency": fixed(pace * work)}
            return ANY.model_copy(update=update)

        return on("slow", self.given.edge), on("fast", self.given.server)

    def _behaviour(self, cut: Cut | None, coded: Coded | None) -> Behaviour:
        sizes = {"src.x": PayloadSize.constant(self.given.input_bytes()), "m.y": PayloadSize.constant(ANSWER)}
        accuracy = PLAIN_ACCURACY
        encoded = None
        if cut is not None and coded is not None:
            encoded = {"m": self._wire(cut, coded)}
            accuracy = coded.accuracy
            for tensor, kind in cut.tensors.items():
                size = ceil((kind.size or 0) * coded.numerator / 4)
                sizes[f"m@{encoded_name(tensor, coded.name)}"] = PayloadSize.constant(size)
        return Behaviour(
            variants={"m": "default"},
            encoded=encoded,
            patterns=(BranchPattern(source="src", runs=("m",), probability=1.0, count=1),),
            payloads=sizes,
            accuracy=(Accuracy(data="some", value=accuracy, low=0, high=1, n=100),),
            items=100,
            inputs={"m/default": SOURCE, "data:some": "d" * 64},
            measured_at=WHEN,
        )

    def _infra(self) -> dict[str, Any]:
        rate = f"{8 / self.us_per_byte} Mbit/s"
        return {
            "schema": "tierplan.infra/v1",
            "currency": "USD",
            "hardware": {"slow": {"cores": 1, "memory": "1 GB"}, "fast": {"cores": 1, "memory": "1 GB"}},
            "sites": {
                "phone": {"tier": "edge", "pools": {"soc": {"hardware": "slow", "devices": 1, "owned": True}}},
                "server": {"tier": "cloud", "pools": {"vm": {"hardware": "fast", "devices": "0..1"}}},
            },
            "links": {"air": {"between": ["phone", "server"], "delay": f"{DELAY / 1e3} ms", "rate": rate}},
        }

    def _app(self) -> dict[str, Any]:
        x = {"type": "bytes", "size": f"{self.given.input_bytes()} B"}
        return {
            "schema": "tierplan.app/v1",
            "name": "two",
            "sources": {"src": {"at": {"tier": "edge"}, "rate": "0.0001/h", "values": {"x": x}}},
            "components": {
                "m": {
                    "model": "m.onnx",
                    "split": {"codec": ["none", *(c.name for c in self.codecs)]},
                    "inputs": {"x": "src.x"},
                    "outputs": {"y": f"u8[{ANSWER}]"},
                }
            },
            "sinks": {"out": {"at": "origin", "inputs": {"y": "m.y"}}},
            "data": {"some": {"file": "some.jsonl", "label": "y"}},
            "constraints": {
                "time": {"from": "src", "to": "out", "p99": "1000 s"},
                "quality": {"accuracy": f">= {self.least}", "on": "some"},
            },
            "objective": [{"latency": "time"}],
        }


def world(seed: int, us_per_byte: int = 1, codecs: tuple[Coded, ...] = (ZLIB, INT8), least: float = 0.0) -> World:
    given = two(seed)
    f32 = find_cuts(given.operators, seconds(given), 8)
    return World(given, f32, us_per_byte, codecs, least)


def codec_of(plan: Plan) -> str | None:
    """Of the plan's cut; None where it cuts nothing."""
    return plan.cuts[0].codec if plan.cuts else None


def check(seeds: range, rates: tuple[int, ...] = (1, 8, 40)) -> None:
    """The planner's time is the best of all, with what accuracy forbids left out; each answer occurs."""
    seen: dict[str | None, int] = {}
    for seed in seeds:
        rate, least = rates[seed % len(rates)], (0.0, 0.9)[seed % 2]
        given = world(seed, rate, least=least)
        if not given.cuts:
            continue
        facts = given.situation()
        plan = solve(facts)
        assert plan.status == "optimal"
        assert plan.objective[0] == pytest.approx(given.best() * 1e-3, rel=5e-4, abs=0.005), seed
        codec = codec_of(plan)
        assert codec != "int8" or least < 0.8
        seen[codec] = seen.get(codec, 0) + 1
    assert {None, "none", "zlib", "int8"} <= set(seen), seen


def test_the_answer_is_the_best_of_all_cuts_and_codecs() -> None:
    check(range(30))


@pytest.mark.deep
def test_the_answer_is_the_best_of_all_cuts_and_codecs_of_many_more() -> None:
    check(range(30, 300))


def test_brute_force_over_the_problem_finds_the_same() -> None:
    tried = 0
    for seed in range(12):
        given = world(seed, 20)
        given = given._replace(cuts=given.cuts[:2])
        problem = formulate(given.situation())
        solution = solve_problem(problem)
        best = brute_force(problem)
        assert best is not None
        assert solution.objectives == best
        tried += len(problem.scenarios) > 1
    assert tried >= 6


def test_the_slower_the_link_the_fewer_the_bytes() -> None:
    given = world(16)
    found = [codec_of(solve(given._replace(us_per_byte=rate).situation())) for rate in (1, 8, 40)]
    assert found == ["none", "int8", None]  # at last, none cross: everything runs at the edge


def test_both_sides_of_an_encoded_cut_never_fit_at_one_site_and_always_at_two() -> None:
    problem = formulate(world(3).situation())
    encoded = [s for s in problem.scenarios if "~" in s.name]
    assert encoded
    for scenario in encoded:
        (step,) = scenario.steps
        assert step.tasks == 2
        before, after = ([o for o in step.options if (o.first, o.last) == (task, task)] for task in (0, 1))
        assert len(before) + len(after) == len(step.options)
        for one, other in product(before, after):
            shared = {v.server for v in one.visits} & {v.server for v in other.visits}
            full = [s for s in shared if problem.servers[s].max_load < 2]
            assert bool(full) == (one.site == other.site)


def test_a_simulation_of_the_plan_sees_the_encoded_bytes() -> None:
    """Fixed times and one request a minute: each takes what the plan says, which is less than it takes plain."""
    facts = world(3).situation()
    plan = solve(facts)
    assert codec_of(plan) == "int8"
    rows = tuple((60.0 * k, "phone", 0) for k in range(20))
    under = Conditions({"src": Recorded({"src": rows}, facts.flows, Poisson())}, (), None, 100.0, 0.0)
    played = Simulation(plan_layout(facts, plan), Demand(facts), 1, under).play(1200.0)
    flow = played.flows["src@phone"]
    assert set(flow.status) == {ANSWERED}
    assert flow.ends["out"] == pytest.approx(world(3).best() * 1e-6, rel=1e-3)


def test_an_edited_codec_is_no_longer_the_plan_and_the_true_one_verifies() -> None:
    facts = world(3).situation()
    plan = solve(facts)
    assert codec_of(plan) == "int8"
    assert not verify(facts, plan, 20_000).wrong
    (cut,) = plan.cuts
    for change in ({"codec": "none"}, {"codec": "zlib"}, {"bytes": 4 * cut.bytes}):
        edited = plan.model_copy(update={"cuts": (cut.model_copy(update=change),)})
        assert verify(facts, edited, 20_000).wrong, change


def test_behaviours_of_an_application_with_fewer_components_are_passed_over() -> None:
    given = next(w for w in map(world, range(20)) if w.cuts)
    facts = given._replace(codecs=(INT8,)).situation()
    app = given._replace(codecs=(INT8,))._app()
    app["components"]["new"] = {"function": "steps:new", "inputs": {"y": "m.y"}, "outputs": {"z": "u8[1]"}}
    app["sinks"]["out"]["inputs"] = {"y": "new.z"}
    now = []
    for b in facts.behaviours:
        payloads = b.payloads | {"new.z": PayloadSize.constant(1)}
        inputs, variants = b.inputs | {"new/default": "e" * 64}, b.variants | {"new": "default"}
        patterns = (BranchPattern(source="src", runs=("m", "new"), probability=1.0, count=1),)
        update = {"payloads": payloads, "inputs": inputs, "variants": variants, "patterns": patterns}
        now.append(b.model_copy(update=update))
    function = {"source": "e" * 64, "backend": "python", "artefact": ""}
    records = [*facts.records, *(r.model_copy(update=function) for r in facts.records if r.segment == "..")]
    parts = document(app, Application, "app.yaml"), facts.infra, records
    digests = {**facts.digests, "new/default": "e" * 64}
    again = situation_of(*parts, [*facts.behaviours, *now], facts.hops, digests, found=facts.found)
    assert again.behaviours == tuple(now)


def test_a_behaviour_without_the_codec_is_asked_for() -> None:
    given = next(w for w in map(world, range(20)) if w.cuts)
    facts = given._replace(codecs=(INT8,)).situation()
    app = document(given._app(), Application, "app.yaml")
    with pytest.raises(InputError, match="behaviour missing for m with tensors encoded by zlib"):
        situation_of(app, facts.infra, facts.records, facts.behaviours, facts.hops, facts.digests, found=facts.found)
