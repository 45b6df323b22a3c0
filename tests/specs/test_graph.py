"""The application's graph, beside networkx."""

from __future__ import annotations

import networkx
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.application import Application
from specs.graph import Graph


def application(inputs: list[list[int]]) -> Application:
    """Components c0, c1, ... as declared, each with the inputs from those of these numbers."""
    components = {
        f"c{i}": {
            "function": "f:g",
            "inputs": {"x": "s.v", **{f"i{p}": f"c{p}.y" for p in taken}},
            "outputs": {"y": "bool"},
        }
        for i, taken in enumerate(inputs)
    }
    return Application.model_validate(
        {
            "schema": "tierplan.app/v1",
            "name": "graph",
            "sources": {
                "s": {"at": {"tier": "edge"}, "rate": "1/s", "values": {"v": {"type": "jpeg", "size": "1 kB"}}}
            },
            "components": components,
            "sinks": {"o": {"at": "origin", "inputs": {"a": "c0.y"}}},
        }
    )


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 9).flatmap(lambda n: st.lists(st.lists(st.integers(0, n - 1), max_size=3), min_size=n, max_size=n))
)
def test_the_order_is_the_first_topological_one_by_declaration_and_leaves_out_what_no_order_can_hold(
    inputs: list[list[int]],
) -> None:
    graph = Graph(application(inputs))
    reference: networkx.DiGraph[int] = networkx.DiGraph()
    reference.add_nodes_from(range(len(inputs)))
    reference.add_edges_from((p, i) for i, taken in enumerate(inputs) for p in taken)
    stuck = {
        n for part in networkx.strongly_connected_components(reference) if _feeds_itself(reference, part) for n in part
    }
    dead = stuck | {d for n in stuck for d in networkx.descendants(reference, n)}
    sound = reference.subgraph(set(reference) - dead)
    assert graph.order == tuple(f"c{i}" for i in networkx.lexicographical_topological_sort(sound))
    assert set(graph.on_cycle) == {f"c{i}" for i in dead}
    fed = {f"c{i}" for i in networkx.descendants(reference, 0)}
    assert {n for n in graph.descendants(["c0"]) if n != "o"} - dead_names(dead) == fed - dead_names(dead)


def dead_names(dead: set[int]) -> set[str]:
    return {f"c{i}" for i in dead}


def _feeds_itself(graph: networkx.DiGraph[int], part: set[int]) -> bool:
    return len(part) > 1 or any(graph.has_edge(n, n) for n in part)


def test_a_chain_of_thousands_of_components_has_its_order() -> None:
    n = 3000
    backwards = [[i + 1] if i + 1 < n else [] for i in range(n)]
    assert Graph(application(backwards)).order == tuple(f"c{i}" for i in reversed(range(n)))
