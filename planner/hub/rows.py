"""The hub's rows: every way that models are known to run, from profiles and from the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from planner.hub.unit_cost import cost_per_1000, price_of, quantile
from specs.artefact import Artefact
from specs.behaviour import Behaviour
from specs.hub import HubRow
from specs.infrastructure import Infrastructure
from specs.profile import Record

SHORT: Final = 12
"""Characters of a digest that stand for it in tables."""


def hub_rows(
    records: Iterable[Record],
    artefacts: Mapping[str, tuple[Artefact, int]],
    names: Mapping[str, str],
    infra: Infrastructure | None,
    accuracy: Mapping[str, float],
) -> list[HubRow]:
    """A row for each record, and one for each artefact that no record speaks of.

    `artefacts` maps keys to artefacts and their bytes, `names` a source's digest to COMPONENT/VARIANT, `accuracy` those
    names to a share.
    """
    measured = [_measured(r, artefacts, names, infra, accuracy) for r in records]
    seen = {row_key for r in records if (row_key := r.artefact)}
    waiting = [
        HubRow(
            model=names.get(a.source, a.source[:SHORT]),
            segment=str(a.segment),
            target=_target(a),
            backend=a.backend,
            threads=a.threads,
            bytes=size,
            accuracy=accuracy.get(names.get(a.source, "")),
            fallback=a.fallback,
        )
        for key, (a, size) in artefacts.items()
        if key not in seen
    ]
    return sorted([*measured, *waiting], key=_order)


def _order(row: HubRow) -> tuple[str | int, ...]:
    return row.model, row.segment, row.hardware, row.target, row.backend, row.threads, row.batch


def _milliseconds(record: Record, probability: float) -> float | None:
    seconds = quantile(record, probability)
    return None if seconds is None else 1000 * seconds


def _measured(
    record: Record,
    artefacts: Mapping[str, tuple[Artefact, int]],
    names: Mapping[str, str],
    infra: Infrastructure | None,
    accuracy: Mapping[str, float],
) -> HubRow:
    name = names.get(record.source, record.source[:SHORT])
    artefact, size = artefacts.get(record.artefact, (None, None))
    hardware = infra.hardware.get(record.hardware) if infra is not None else None
    cost = cost_per_1000(record, hardware, price_of(infra, record.hardware)) if infra and hardware else None
    return HubRow(
        model=name,
        segment=record.segment,
        hardware=record.hardware,
        target=_target(artefact) if artefact else "",
        backend=record.backend,
        threads=record.threads,
        batch=record.batch,
        p50_ms=_milliseconds(record, 0.5),
        p99_ms=_milliseconds(record, 0.99),
        per_second=record.batch / record.latency.mean,
        cost_per_1000=cost,
        bytes=size,
        memory=record.memory,
        accuracy=accuracy.get(name),
        provenance=record.provenance,
        interval=record.interval if record.provenance == "estimated" else None,
        fallback=record.fallback,
    )


def _target(artefact: Artefact) -> str:
    target = artefact.target
    return str(target.get("arch") or target.get("mcpu") or target.get("mtriple") or target.get("kind", ""))


def best_accuracy(behaviours: Sequence[Behaviour], data: str | None = None) -> dict[str, float]:
    """COMPONENT/VARIANT -> the best accuracy of a combination that it is part of (the worst of its data sets)."""
    best: dict[str, float] = {}
    for behaviour in behaviours:
        values = [a.value for a in behaviour.accuracy if data is None or a.data == data]
        if values:
            for component, variant in behaviour.variants.items():
                key = f"{component}/{variant}"
                best[key] = max(best.get(key, 0.0), min(values))
    return best


def fresh(behaviours: Iterable[Behaviour], digests: Mapping[str, str]) -> list[Behaviour]:
    """Those measured with exactly these models, functions and data, without codecs."""
    return [b for b in behaviours if not b.encoded and b.is_of(digests)]
