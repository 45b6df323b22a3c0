"""What of an infrastructure is emulated: members, what they belong to, who is joined to whom, and which way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.inputs.network import Network as Planned
from runtime.emulate.layout import network
from runtime.emulate.topology import Network, routes
from specs.errors import InputError
from specs.infrastructure import Infrastructure
from specs.load import Document, load_infrastructure

HEAD = "schema: tierplan.infra/v1\nhardware: {x: {}}\n"


def loaded(folder: Path, text: str) -> Document[Infrastructure]:
    file = folder / "infra.yaml"
    file.write_text(HEAD + text, "utf-8")
    return load_infrastructure(file)


def test_the_example_has_a_member_of_each_site_and_the_declared_links() -> None:
    net = network(load_infrastructure(Path("examples/blog_upload/infra.yaml")), {})
    assert [(h.names, h.address) for h in net.hosts] == [
        (("phones-0", "phones"), "10.77.0.1"),
        (("bases-0", "bases"), "10.77.0.2"),
        (("frankfurt-0", "frankfurt"), "10.77.0.3"),
    ]
    up = net.ways[0]
    assert (up.link, up.direction, up.start, up.end) == ("lte", "up", "phones-0", "bases-0")
    assert (up.rate, up.delay, up.jitter) == (20e6 / 8, 0.012, 0.003)
    assert (up.shared, up.shared_rate, up.shared_first) == ("lte up at bases-0", 100e6 / 8, False)
    assert net.ways[1].shared_first
    assert set(net.unslowed) == {"phone", "gateway", "micro", "c2"}
    assert Network.from_json(json.loads(json.dumps(net.to_json()))) == net


def test_members_come_with_what_they_belong_to_and_are_joined_to_it_alone(tmp_path: Path) -> None:
    infra = loaded(
        tmp_path,
        "sites: {a: {tier: e, count: 2 per b}, b: {tier: f, count: 9}, c: {tier: g}}\n"
        "links: {l: {between: [a, b], rate: 1 MB/s}, m: {between: [c, b], rate: 1 MB/s}}",
    )
    net = network(infra, {"a": 3})
    assert [h.name for h in net.hosts] == ["a-0", "a-1", "a-2", "b-0", "b-1", "c-0"]
    up = [(w.link, w.start, w.end) for w in net.ways if w.direction == "up"]
    assert up == [
        ("l", "a-0", "b-0"),
        ("l", "a-1", "b-0"),
        ("l", "a-2", "b-1"),
        ("m", "c-0", "b-0"),
        ("m", "c-0", "b-1"),
    ]
    assert net.hosts[3].names == ("b-0",)


def test_siblings_are_joined_where_they_belong_to_the_same(tmp_path: Path) -> None:
    infra = loaded(
        tmp_path,
        "sites: {a: {tier: e, count: 1 per b}, b: {tier: f, count: 9}, c: {tier: g, count: 1 per b}}\n"
        "links: {l: {between: [a, c], rate: 1 MB/s}}",
    )
    assert [(w.start, w.end) for w in network(infra, {"a": 2, "c": 2}).ways if w.direction == "up"] == [
        ("a-0", "c-0"),
        ("a-1", "c-1"),
    ]


def test_who_is_joined_to_whom_must_be_said(tmp_path: Path) -> None:
    infra = loaded(
        tmp_path,
        "sites: {a: {tier: e, count: 4}, b: {tier: f, count: 9}}\nlinks: {l: {between: [a, b], rate: 1 MB/s}}",
    )
    assert len(network(infra, {"a": 4}).ways) == 8
    with pytest.raises(InputError, match="who is joined by l"):
        network(infra, {"a": 2, "b": 2})


@pytest.mark.parametrize(
    ("members", "said"),
    [({"a": 5}, "has 4"), ({"z": 1}, "unknown site 'z'"), ({"many": 65}, "at most 64"), ({"many": 64}, "at most 64")],
)
def test_members_that_cannot_be_are_refused(tmp_path: Path, members: dict[str, int], said: str) -> None:
    infra = loaded(tmp_path, "sites: {a: {tier: e, count: 4}, many: {tier: f, count: 1000}}")
    with pytest.raises(InputError, match=said):
        network(infra, members)


def test_a_delay_of_minutes_is_refused(tmp_path: Path) -> None:
    infra = loaded(
        tmp_path, "sites: {a: {tier: e}, b: {tier: f}}\nlinks: {l: {between: [a, b], delay: 1 h, rate: 1 MB/s}}"
    )
    with pytest.raises(InputError, match="at most 60 s"):
        network(infra, {})


def test_routes_are_those_that_the_planner_takes(tmp_path: Path) -> None:
    infra = loaded(
        tmp_path,
        "sites: {a: {tier: e}, b: {tier: f}, c: {tier: g}, d: {tier: g}, alone: {tier: g}}\n"
        "links:\n"
        "  ab: {between: [a, b], delay: 5 ms, rate: 1 MB/s}\n"
        "  ba: {between: [b, a], delay: 5 ms, rate: 2 MB/s}\n"
        "  bc: {between: [b, c], delay: 5 ms, rate: 1 MB/s}\n"
        "  ac: {between: [a, c], delay: 11 ms, rate: 1 MB/s}\n"
        "  cd: {between: [c, d], delay: 5 ms, rate: 1 MB/s}\n"
        "  ad: {between: [a, d], delay: 15 ms, rate: 1 MB/s}\n",
    )
    net = network(infra, {})
    found = routes(net)
    planned = Planned(infra)
    sites = ["a", "b", "c", "d"]
    for start in sites:
        for end in sites:
            if start != end:
                taken = [(net.ways[i].link, net.ways[i].direction) for i in found[f"{start}-0", f"{end}-0"]]
                assert taken == [(p.link, p.way) for p in planned.route(start, start, end)]
    assert not any("alone-0" in pair for pair in found)
