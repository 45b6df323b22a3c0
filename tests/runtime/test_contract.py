"""What a Plan means when it runs: one discipline for planner, verifier and runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from planner.formulation import Formulation
from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.plan import solve, with_options
from planner.prediction.timings import Timings
from planner.situation import Situation
from planner.verification import Meaning, meaning_of
from runtime.fleet import Member
from runtime.hosting.shaping import Routes, Step
from runtime.topology import Edge, Flow, Hop, LinkUse, Queue, Topology, topology
from specs.artefact import Segment
from specs.errors import AnswerIsNo, InputError
from specs.load import load_application, load_infrastructure
from specs.plan import Plan
from specs.run_result import Slice
from tests.planner.test_example_plan import planned, recorded
from tests.planner.worlds import forked, serial, world
from tests.runtime.sample import assignment, copy_project, make_plan, make_slice

LTE_UP, LTE_DOWN = Hop("lte", "up"), Hop("lte", "down")
HAUL_UP, HAUL_DOWN = Hop("backhaul", "up"), Hop("backhaul", "down")
FLOW = "upload@phones"


def derive(project: Path, plan: Plan | None = None, part: Slice | None = None) -> Topology:
    app, infra = load_application(project / "app.yaml"), load_infrastructure(project / "infra.yaml")
    return topology(plan or make_plan(project), app.value, infra.value, part or make_slice())


def test_queues_are_one_a_stage_where_cores_are_shared_and_one_a_pool_where_time_is(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    top = derive(project, make_plan(project, decide={"replicas": 3}))
    assert set(top.queues) == {
        Queue("vision@bases", "bases", "rack", "cores", 1, ("vision@bases",)),
        Queue("decide@bases", "bases", "rack", "cores", 3, ("decide@bases",)),
        Queue("language@cloud", "cloud", "vm", "cores", 1, ("language@cloud",)),
        Queue("soc@phones", "phones", "soc", "time", 1, ("shrink@phones", "tokens@phones")),
    }


def test_edges_carry_the_values_taken_over_the_plans_route(tmp_path: Path) -> None:
    top = derive(copy_project(tmp_path))
    sure, score = ("vision.sure",), ("vision.score",)
    assert set(top.edges) == {
        _edge("upload", "shrink@phones", ("upload.photo",), always=True),
        _edge("upload", "tokens@phones", ("upload.caption",), always=True),
        _edge("shrink@phones", "vision@bases", ("shrink.pixels",), LTE_UP),
        _edge("vision@bases", "tokens@phones", sure, LTE_DOWN, always=True),
        _edge("vision@bases", "decide@bases", score),
        _edge("tokens@phones", "language@cloud", ("tokens.ids",), LTE_UP, HAUL_UP),
        _edge("language@cloud", "decide@bases", ("language.vector",), HAUL_DOWN),
        _edge("decide@bases", "answer", ("decide.verdict",), LTE_DOWN),
    }


def _edge(producer: str, consumer: str, values: tuple[str, ...], *hops: Hop, always: bool = False) -> Edge:
    p, _, p_site = producer.partition("@")
    c, _, c_site = consumer.partition("@")
    return Edge(FLOW, f"{p} -> {c}", producer, consumer, values, p_site or "phones", c_site or "phones", always, hops)


def test_links_have_the_rates_and_instances_of_the_infrastructure(tmp_path: Path) -> None:
    top = derive(copy_project(tmp_path))
    assert set(top.links) == {
        LinkUse("lte", "up", "phones", 1e6, "bases", 12.5e6, False, 0.005, 0.001),
        LinkUse("lte", "down", "phones", 3.75e6, "bases", 37.5e6, True, 0.005, 0.001),
        LinkUse("backhaul", "up", "bases", 125e6, "", 0.0, False, 0.003, 0.0),
        LinkUse("backhaul", "down", "bases", 125e6, "", 0.0, False, 0.003, 0.0),
    }


def test_no_more_opens_a_connection_than_the_links_hold_in_two_round_trips(tmp_path: Path) -> None:
    top = derive(copy_project(tmp_path))
    bytes_a_second, there_and_back = 1e6, 2 * 0.005  # of lte up
    assert top.sends_to(Member("phones", 0)) == {
        "bases-0": 2 * bytes_a_second * there_and_back,
        "cloud-0": 2 * bytes_a_second * (there_and_back + 2 * 0.003),
    }


def test_flows_run_at_the_peak_times_the_multiplier(tmp_path: Path) -> None:
    top = derive(copy_project(tmp_path), part=make_slice(multiplier=2.5))
    members = (Member("phones", 0), Member("phones", 1))
    assert top.flows == (Flow(FLOW, "upload", "phones", 50.0, "poisson", members),)


def test_each_member_is_served_by_its_own_ancestors(tmp_path: Path) -> None:
    top = derive(copy_project(tmp_path), part=make_slice(members={"phones": 4, "bases": 2}))
    assert [str(top.member[f"phones-{i}", "bases"]) for i in range(4)] == ["bases-0", "bases-0", "bases-1", "bases-1"]
    assert {str(top.member[f"phones-{i}", "cloud"]) for i in range(4)} == {"cloud-0"}
    assert {str(top.member[f"phones-{i}", "phones"]) for i in range(4)} == {f"phones-{i}" for i in range(4)}
    assert [str(m) for m in top.hosts] == ["bases-0", "bases-1", "cloud-0", *(f"phones-{i}" for i in range(4))]


def test_a_message_meets_its_own_link_and_what_it_shares_in_order(tmp_path: Path) -> None:
    top = derive(copy_project(tmp_path))
    routes = Routes(top)
    names = routes.names()

    def met(origin: str, start: str, end: str) -> list[str]:
        return [
            "delay" if step.capacity is None else " ".join(names[step.capacity])
            for step in routes.steps(origin, start, end)
        ]

    assert met("phones-1", "phones", "cloud") == [
        "own lte up phones-1",
        "shared lte up bases-0",
        "delay",
        "own backhaul up bases-0",
        "delay",
    ]
    assert met("phones-1", "bases", "phones") == ["shared lte down bases-0", "own lte down phones-1", "delay"]
    assert met("phones-1", "bases", "bases") == []
    assert routes.steps("phones-0", "bases", "cloud")[1] == Step(None, 0.0, 0.003, 0.0)


def test_segments_follow_one_another_with_their_cut_tensors(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    plan = make_plan(project)
    halves = (
        assignment("vision", "phones", "soc", segment=Segment(end=("cut_a", "cut_b")), variant="small"),
        assignment("vision", "bases", "rack", segment=Segment(begin=("cut_a", "cut_b")), variant="small"),
    )
    others = tuple(a for a in plan.assignments if a.component != "vision")
    top = derive(project, plan.model_copy(update={"assignments": (*others, *halves)}))
    first, second = "vision[..cut_a+cut_b]", "vision[cut_a+cut_b..]"
    edges = {(e.producer, e.consumer): e for e in top.edges if "vision" in e.name}
    assert set(edges) == {
        ("shrink@phones", f"{first}@phones"),
        (f"{first}@phones", f"{second}@bases"),
        (f"{second}@bases", "tokens@phones"),
        (f"{second}@bases", "decide@bases"),
    }
    crossing = edges[f"{first}@phones", f"{second}@bases"]
    assert crossing.values == ("vision@cut_a", "vision@cut_b")
    assert crossing.hops == (LTE_UP,)
    assert crossing.name == f"{first} -> {second}"


def test_a_plan_that_does_not_cover_the_application_once_is_refused(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    plan = make_plan(project)

    def refused(message: str, **update: object) -> None:
        with pytest.raises(InputError, match=message):
            derive(project, plan.model_copy(update=update))

    refused("does not cover decide exactly once", assignments=plan.assignments[:-1])
    refused("assigns decide@bases.* twice", assignments=(*plan.assignments, plan.assignments[-1]))
    half = assignment("vision", "bases", "rack", segment=Segment(end=("cut",)))
    others = [a for a in plan.assignments if a.component != "vision"]
    refused("does not cover vision exactly once", assignments=(*others, half))
    refused("no route between sites phones and bases", routes=())
    refused("nothing to run", status="unknown")
    batched = assignment("decide", "phones", "soc", batch=4)
    refused("a batch of 4 for decide, whose device shares", assignments=(*plan.assignments[:-1], batched))
    elsewhere = plan.assignments[-1].model_copy(update={"pool": "attic"})
    refused("pool attic at bases", assignments=(*plan.assignments[:-1], elsewhere))


def test_a_slice_of_more_members_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 members of phones, which has 4"):
        derive(copy_project(tmp_path), part=make_slice(members={"phones": 5}))


def test_a_site_of_many_members_that_nobody_belongs_to_is_refused(tmp_path: Path) -> None:
    project = copy_project(tmp_path, infra=("    tier: cloud\n", "    tier: cloud\n    count: 3\n"))
    with pytest.raises(InputError, match="not supported yet: requests from phones served at cloud"):
        derive(project)


def meant_by(top: Topology) -> Meaning:
    """What the runtime's topology says, in the verifier's terms."""
    named = {stage.id: stage.name for stage in top.stages}
    used = {hop for edge in top.edges for hop in edge.hops}
    own = {(u.link, str(u.direction), u.instances, u.rate) for u in top.links if Hop(u.link, u.direction) in used}
    shared = {
        (u.link, f"shared {u.direction}", u.shared_by, u.shared_rate)
        for u in top.links
        if u.shared_by and Hop(u.link, u.direction) in used
    }
    return Meaning(
        frozenset((q.site, q.pool, q.servers, tuple(sorted(named[s] for s in q.stages))) for q in top.queues),
        frozenset(
            (
                e.flow,
                e.name,
                tuple(sorted(e.values)),
                e.from_site,
                e.to_site,
                tuple((h.link, str(h.direction)) for h in e.hops),
            )
            for e in top.edges
        ),
        frozenset(own | shared),
        frozenset((s.name, s.site, s.batch, s.batch_wait_ms) for s in top.stages),
    )


def everyone(given: Situation) -> Slice:
    infra = given.infra.value
    return Slice(members={s: infra.members(s) for s in infra.sites}, multiplier=1.0, requests=1, seed=1)


def simulated(given: Situation, plan: Plan) -> set[tuple[str, str, str, str, tuple[tuple[str, str], ...]]]:
    """The transfers that the simulator plays."""
    return {
        (of.flow.name, leg.name, leg.start, leg.end, tuple((p.link, p.way) for p in leg.route))
        for of in plan_layout(given, plan).flows
        for leg in of.legs
    }


def cut_where_possible(given: Formulation) -> Formulation:
    """Without the options that run all segments of a model that may be cut."""
    return with_options(given, lambda step, o: step.tasks == 1 or o.first > 0 or o.last == 0)


def _branches_meet(given: Situation, plan: Plan) -> bool:
    layout = plan_layout(given, plan)
    timings = Timings(layout, Demand(given))
    return any(timings.meets(of, shape) for of in layout.flows for shape in of.pipeline.shapes)


def test_planner_verifier_and_runtime_mean_the_same_by_every_plan() -> None:
    """Stages, queues, routes, batches and links of the example's plan and of random worlds' plans."""
    worlds = [(recorded({}, {}), planned()), (world(221), solve(world(221)))]
    worlds += [(serial(seed), solve(serial(seed), proofs=False)) for seed in (8, 16)]
    for given in (forked(seed) for seed in (3, 16, 21, 46)):
        worlds.append((given, solve(given)))
    for seed in range(60):
        given = world(seed)
        try:
            plan = solve(given, restrict=cut_where_possible if seed % 2 else lambda problem: problem)
        except AnswerIsNo:  # a model that must be cut, and one pool to run its parts
            continue
        if plan.status in ("optimal", "feasible"):
            worlds.append((given, plan))
    seen = Counter[str]()
    for given, plan in worlds:
        top = topology(plan, given.app.value, given.infra.value, everyone(given))
        meant, verified = meant_by(top), meaning_of(given, plan)
        assert meant.queues == verified.queues
        assert meant.transfers == verified.transfers
        assert meant.links == verified.links
        assert meant.batches == verified.batches
        assert simulated(given, plan) == {(f, n, a, b, way) for f, n, _, a, b, way in verified.transfers}
        sharing = {q.sharing for q in top.queues}
        seen.update(
            {
                "cut models": bool(plan.cuts),
                "several flows": len(top.flows) > 1,
                "executors of several stages": any(len(q.stages) > 1 for q in top.queues),
                "several replicas": any(q.servers > 1 and q.sharing == "cores" for q in top.queues),
                "several devices that share their time": any(q.servers > 1 and q.sharing == "time" for q in top.queues),
                "both ways of sharing": len(sharing) > 1,
                "branches on one executor": _branches_meet(given, plan),
                "shared rates": any("shared" in direction for _, direction, _, _ in meant.links),
                "routes of several links": any(len(e.hops) > 1 for e in top.edges),
            }
        )
    assert len(worlds) >= 25
    assert all(seen[what] >= 2 for what in seen), seen
