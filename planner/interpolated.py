"""Costs of parts of a model that were not measured yet, from the whole's and the share of its work in each part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from planner.situation import Situation
from specs.codec import plain_names
from specs.cuts import FoundCuts
from specs.profile import Record

METHOD: Final = "share of the operators' times, of the whole as measured"
SHORT: Final = 0.9
"""Estimates are that much shorter than the share says: what they miss narrowly is then measured, not passed over."""
LEAST: Final = 0.002
"""Of the whole's time: entering a part takes some."""


def with_estimates(situation: Situation) -> Situation:
    """`situation` with an estimate for each part between found cuts, and each way to run it, that has no record."""
    found = {f.source: f for f in situation.found}
    known = {_way(record) for record in situation.records}
    wires: dict[str, dict[tuple[str, ...], None]] = {source: {} for source in found}
    for behaviour in situation.behaviours:
        for component, wire in (behaviour.encoded or {}).items():
            wires.get(situation.digests[f"{component}/{behaviour.variants[component]}"], {})[wire] = None
    made = [
        part
        for whole in situation.records
        if whole.segment == ".." and whole.source in found
        for part in (*_parts(whole, found[whole.source]), *_encoded(whole, found[whole.source], wires[whole.source]))
        if _way(part) not in known
    ]
    return replace(situation, records=(*situation.records, *made))


def _way(record: Record) -> tuple[object, ...]:
    return record.source, record.segment, record.backend, record.threads, record.batch, record.hardware


def _parts(whole: Record, found: FoundCuts) -> Iterator[Record]:
    ends = [("", 0.0), *(("+".join(c.names), c.before) for c in found.cuts), ("", 1.0)]
    for i, (begin, before) in enumerate(ends):
        for end, until in ends[i + 1 :]:
            if begin or end:
                yield _part(whole, f"{begin}..{end}", until - before)


def _encoded(whole: Record, found: FoundCuts, wires: Iterable[tuple[str, ...]]) -> Iterator[Record]:
    """Both sides of each encoded cut, as if encoding took no time."""
    before = {cut.names: cut.before for cut in found.cuts}
    if whole.rpc is not None:  # lent devices run artefacts alone, and decode nothing
        return
    for wire in wires:
        name, share = "+".join(wire), before.get(plain_names(wire))
        if share is None:  # declared by another component with this model, and measured as declared cuts are
            continue
        yield _part(whole, f"..{name}", share)
        yield _part(whole, f"{name}..", 1 - share)


def _part(whole: Record, segment: str, share: float) -> Record:
    """An estimate of the segment with this share of the work."""
    return whole.model_copy(
        update={
            "segment": segment,
            "provenance": "estimated",
            "emulated_by": None,
            "method": METHOD,
            "latency": whole.latency.times(SHORT * max(LEAST, share)),
            "artefact": "",
        }
    )
