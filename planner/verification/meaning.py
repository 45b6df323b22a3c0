"""What a plan means to the verifier; planner, simulator and runtime must mean the same (a contract test compares)."""

from __future__ import annotations

from dataclasses import dataclass

from planner.situation import Situation
from planner.verification.reading import Reading
from specs.plan import Plan


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a plan means to the verifier, by the names that predictions use; the runtime must mean the same.

    `queues`: (site, pool, servers, stages that draw from it). `transfers`: (flow, name, values, from, to, route as
    (link, direction)). `links`: (link, direction, site each member of which has one, bytes a second), shared rates with
    the direction ``shared up`` or ``shared down``. `batches`: (stage, site, batch, wait in ms).
    """

    queues: frozenset[tuple[str, str, int, tuple[str, ...]]]
    transfers: frozenset[tuple[str, str, tuple[str, ...], str, str, tuple[tuple[str, str], ...]]]
    links: frozenset[tuple[str, str, str, float]]
    batches: frozenset[tuple[str, str, int, float]]


def meaning_of(situation: Situation, plan: Plan) -> Meaning:
    """Of a plan that places something; its claims are not checked here."""
    reading = Reading(situation, plan)
    drawing: dict[str, list[int]] = {}
    for i in range(len(reading.plan.assignments)):
        drawing.setdefault(reading.queue_of(i), []).append(i)
    a = reading.plan.assignments
    passing = [(f, m) for f in reading.flows for m in reading.messages(f)]
    crossed = {entry for _, m in passing for entry in reading.crossed(m)}
    return Meaning(
        frozenset(
            (a[i[0]].site, a[i[0]].pool, a[i[0]].replicas, tuple(sorted(map(reading.called, i))))
            for queue, i in drawing.items()
        ),
        frozenset(
            (
                f.name,
                f"{reading.called(m.producer)} -> {reading.called(m.consumer)}",
                tuple(sorted(m.values)),
                m.start,
                m.end,
                tuple(reading.passed(m)),
            )
            for f, m in passing
        ),
        frozenset((name.partition(" ")[0], name.partition(" ")[2], site, rate) for name, rate, site in crossed),
        frozenset((reading.called(i), one.site, one.batch, one.batch_wait_ms) for i, one in enumerate(a)),
    )
