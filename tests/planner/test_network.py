"""Members, routes and how many links there are."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import networkx as nx
import pytest

from planner.inputs.network import Network, Passage
from specs.errors import InputError
from specs.infrastructure import Infrastructure
from tests.planner.worlds import document


def network(links: dict[str, Any] | None = None) -> Network:
    sites = {
        "phones": {"tier": "edge", "count": "300 per bases"},
        "boxes": {"tier": "edge", "count": "1 per bases"},
        "bases": {"tier": "base", "count": 4},
        "regions": {"tier": "cloud", "count": 2},
        "cloud": {"tier": "cloud"},
    }
    given = links or {
        "lte": {"between": ["phones", "bases"], "delay": "10 ms", "rate": "1 MB/s"},
        "wire": {"between": ["boxes", "bases"], "delay": "1 ms", "rate": "1 MB/s"},
        "back": {"between": ["bases", "cloud"], "delay": "20 ms", "rate": "1 MB/s"},
        "slow": {"between": ["phones", "cloud"], "delay": "50 ms", "rate": "1 MB/s"},
    }
    value = {"schema": "tierplan.infra/v1", "hardware": {"h": {}}, "sites": sites, "links": given}
    return Network(document(value, Infrastructure, "infra.yaml"))


def test_a_request_uses_its_own_members_only() -> None:
    assert network().sites_of("phones") == ("phones", "boxes", "bases", "cloud")
    assert network().sites_of("cloud") == ("cloud",)
    assert network().sites_of("bases") == ("boxes", "bases", "cloud")


def test_routes_take_the_least_delay() -> None:
    routes = network().routes("phones")
    assert routes["phones", "cloud"] == (Passage("lte", "up"), Passage("back", "up"))
    assert routes["cloud", "phones"] == (Passage("back", "down"), Passage("lte", "down"))
    assert routes["boxes", "phones"] == (Passage("wire", "up"), Passage("lte", "down"))


def test_among_equal_delays_the_shorter_route_is_taken() -> None:
    links = {
        "a": {"between": ["phones", "bases"], "delay": "10 ms", "rate": "1 MB/s"},
        "b": {"between": ["bases", "cloud"], "delay": "10 ms", "rate": "1 MB/s"},
        "c": {"between": ["phones", "cloud"], "delay": "20 ms", "rate": "1 MB/s"},
    }
    assert network(links).routes("phones")["phones", "cloud"] == (Passage("c", "up"),)


def test_there_is_a_link_for_each_member_of_its_finer_end() -> None:
    assert network().instances("lte") == 1200
    assert network().instances("back") == 4


def test_no_route_names_both_sites() -> None:
    links = {"lte": {"between": ["phones", "bases"], "rate": "1 MB/s"}}
    with pytest.raises(InputError, match="no route between sites 'phones' and 'cloud'"):
        network(links).route("phones", "phones", "cloud")


@pytest.mark.parametrize("seed", range(20))
def test_routes_are_as_short_as_those_of_networkx(seed: int) -> None:
    draw = random.Random(seed)
    names = [f"s{i}" for i in range(7)]
    pairs = [pair for pair in combinations(names, 2) if draw.random() < 0.4]
    links = {
        f"l{i}": {"between": list(pair), "delay": f"{draw.randint(1, 20)} ms", "rate": "1 MB/s"}
        for i, pair in enumerate(pairs)
    }
    sites = {name: {"tier": "t"} for name in names}
    value = {"schema": "tierplan.infra/v1", "hardware": {"h": {}}, "sites": sites, "links": links}
    found = Network(document(value, Infrastructure, "infra.yaml"))
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(names)
    for link in found.infra.value.links.values():
        graph.add_edge(*link.between, weight=link.delay.mean)
    lengths = dict(nx.all_pairs_dijkstra_path_length(graph))
    routes = found.routes("s0")
    assert set(routes) == {(a, b) for a in names for b in names if a != b and b in lengths[a]}
    for (a, b), route in routes.items():
        assert sum(found.link(p).delay.mean for p in route) == pytest.approx(lengths[a][b])
