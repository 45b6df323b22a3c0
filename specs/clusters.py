"""Clusters: which of Ray's clusters has the nodes of which sites, where there are several."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.base import Name, Spec


class Cluster(Spec):
    """The `address` of its head, HOST:PORT, and the `sites` whose members have their nodes there."""

    address: str
    sites: tuple[Name, ...] = Field(min_length=1)


class Clusters(Spec):
    """Ray's clusters by name, joined by our own channel: `--clusters` of `planner run` and `deploy`."""

    schema_: Literal["tierplan.clusters/v1"] = Field(alias="schema")
    clusters: dict[Name, Cluster] = Field(min_length=1)
