"""What `planner export` wrote."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from specs.base import Spec

EXPORT_FILE: Final = "export.json"
"""Of an exported folder: what is in it."""


class ExportedMember(Spec):
    """A container: the Ray node of one member of a site. `http` and `grpc` are the ports of its door, 0 without one."""

    member: str
    tier: str
    stages: tuple[str, ...] = ()
    head: bool = False
    http: int = 0
    grpc: int = 0


class ExportResult(Spec):
    """`planner export`: artefacts for containers; also written beside them. `files` are digests (sha256) by name.

    `bundle` is the digest of the bundle's manifest. `fill_in` is what is left to whoever runs it, `limits` what this
    version cannot do.
    """

    schema_: Literal["tierplan.export/v1"] = Field(alias="schema", default="tierplan.export/v1")
    to: Literal["compose", "kubernetes"]
    name: str
    application: str
    plan: str
    bundle: str
    image: str
    members: tuple[ExportedMember, ...]
    files: dict[str, str]
    fill_in: tuple[str, ...]
    limits: tuple[str, ...]
