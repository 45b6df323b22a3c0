"""Which clusters have which sites: every mistake is told at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.errors import InputError
from specs.load import load_clusters, load_infrastructure

INFRA = load_infrastructure(Path(__file__).parents[1] / "runtime" / "project" / "infra.yaml").value
HEAD = "schema: tierplan.clusters/v1\nclusters:\n"


def write(folder: Path, text: str) -> Path:
    file = folder / "clusters.yaml"
    file.write_text(HEAD + text, "utf-8")
    return file


def test_sites_are_in_the_cluster_that_names_them(tmp_path: Path) -> None:
    text = '  core: {address: "10.0.0.1:6379", sites: [cloud]}\n  city: {address: "h:1", sites: [bases, phones]}\n'
    found = load_clusters(write(tmp_path, text), INFRA).value.clusters
    assert {name: cluster.sites for name, cluster in found.items()} == {"core": ("cloud",), "city": ("bases", "phones")}
    assert found["core"].address == "10.0.0.1:6379"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  a: {address: h:1, sites: [cloud, bases, phone]}", "clusters.yaml:3:43: there is no site 'phone'"),
        ("  a: {address: h:1, sites: [cloud, bases]}", "clusters.yaml:2:1: no cluster has the site 'phones'"),
        (
            "  a: {address: h:1, sites: [cloud, bases, phones]}\n  b: {address: h:2, sites: [cloud]}",
            "clusters.yaml:4:29: the site 'cloud' is in the cluster a already",
        ),
        ("  a: {address: h:1, sites: []}", "clusters.yaml:3:21: clusters.a.sites"),
        ("  a: {adress: h:1, sites: [cloud]}", "clusters.yaml:3:7: unknown key 'adress'"),
    ],
)
def test_a_mistake_is_told_at_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_clusters(write(tmp_path, text), INFRA)
    assert said in str(caught.value)
