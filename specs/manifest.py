"""The Manifest of a bundle: every file with its digest, and which artefact serves which assignment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.artefact import Segment
from specs.base import Spec

MANIFEST_FILE = "manifest.json"


class BundledArtefact(Spec):
    """`folder` is relative to the bundle; for a function, `function` names it and `folder` is its project's.

    For a hosted API, `function` is its endpoint."""

    component: str
    segment: Segment
    variant: str
    backend: str
    threads: int
    batch: int = 1
    folder: str
    key: str = ""
    function: str = ""


class Manifest(Spec):
    """`files` maps every file of the bundle but the manifest itself to its sha256."""

    schema_: Literal["tierplan.bundle/v1"] = Field(alias="schema", default="tierplan.bundle/v1")
    application: str
    plan: str
    artefacts: tuple[BundledArtefact, ...]
    files: dict[str, str]
    versions: dict[str, str]
