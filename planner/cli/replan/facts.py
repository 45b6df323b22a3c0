"""Specs and profiles with records that were observed since."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.situation import Situation, load_facts, situation_of
from specs.application import Application
from specs.infrastructure import Infrastructure
from specs.load import Document
from specs.profile import Record, read_records


def facts_with(
    app: Document[Application], infra: Document[Infrastructure], profiles: Path, promoted: Sequence[Record]
) -> Situation:
    """As `load_facts` of `profiles`, with `promoted` among the records. Raises InputError as it does."""
    known = load_facts(app, infra, profiles)
    if not promoted:
        return known
    records = [*read_records(profiles), *promoted]
    facts = (known.behaviours, known.hops, known.digests)
    return situation_of(app, infra, records, *facts, profiles=str(profiles), found=known.found)
