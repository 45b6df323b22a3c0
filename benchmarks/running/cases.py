"""The nine plans that are run: what of an example's files is said otherwise, so that the planner makes each.

The planner chooses all else. Pins say which tier; rates of links and speeds of classes are such that what is busiest
can take some 20 requests a second at half of its capacity, which says nothing about how well it is predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Edits = Mapping[str, Any]
"""Merged into a document: mappings key by key, anything else as it is."""


@dataclass(frozen=True)
class Case:
    """One plan of an example, and which members of its sites take part in the runs."""

    application: str
    kind: str
    members: Mapping[str, int]
    app: Edits = field(default_factory=dict)
    infra: Edits = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.application}, {self.kind}"


def pinned(**tiers: str) -> Edits:
    """Components at tiers."""
    return {"components": {component: {"at": {"tier": tier}} for component, tier in tiers.items()}}


def limit(time: str) -> Edits:
    return {"constraints": {"answer_time": {"p99": time}}}


def budget(most: str) -> Edits:
    return {"constraints": {"budget": {"cost": f"<= {most}"}}}


def cpu(**shares: float) -> Edits:
    """Speeds of classes, as shares of this machine's."""
    return {"hardware": {name: {"emulate": {"cpu": share}} for name, share in shares.items()}}


def up(**rates: str) -> Edits:
    """Rates of links from the edge."""
    return {"links": {link: {"up": {"rate": rate}} for link, rate in rates.items()}}


def merged(*edits: Edits) -> dict[str, Any]:
    """All of them, later ones over earlier ones."""
    found: dict[str, Any] = {}
    for edit in edits:
        for key, value in edit.items():
            both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
            found[key] = merged(found[key], value) if both else value
    return found


EDGE: Final = "edge-heavy"
MIXED: Final = "split"
CLOUD: Final = "cloud-heavy"

CASES: Final = (
    Case("traffic", EDGE, {"cameras": 2}, pinned(decode="edge", find="edge", classify="edge", count="edge")),
    Case(
        "traffic",
        MIXED,
        {"cameras": 2},
        pinned(decode="edge", find="edge", classify="roadside", count="cloud"),
        cpu(cabinet=0.1),
    ),
    Case(
        "traffic",
        CLOUD,
        {"cameras": 2},
        pinned(decode="cloud", find="cloud", classify="cloud", count="cloud"),
        cpu(c2=0.1),
    ),
    Case(
        "voice_assistant",
        EDGE,
        {"watches": 2},
        merged(pinned(listen="edge", spotter="edge", decide="edge"), limit("600 ms")),
        cpu(wearable=0.2),
    ),
    Case("voice_assistant", MIXED, {"watches": 2}, pinned(listen="edge"), up(radio="2 Mbit/s")),
    Case(
        "voice_assistant",
        CLOUD,
        {"watches": 2},
        merged(pinned(listen="cloud", spotter="cloud", decide="cloud"), limit("600 ms")),
        merged(up(radio="20 Mbit/s"), cpu(c2=0.25)),
    ),
    Case(
        "blog_upload",
        EDGE,
        {"phones": 2},
        merged(
            pinned(shrink="edge", vision="edge", tokens="edge", language="base_station", decide="edge"),
            limit("1 s"),
            budget("1000 USD/month"),
        ),
        merged(cpu(phone=0.5), {"hardware": {"phone": {"memory": "400 MB"}}}),
    ),
    Case(
        "blog_upload",
        MIXED,
        {"phones": 2},
        merged(
            pinned(shrink="edge", vision="base_station", tokens="edge", language="cloud", decide="cloud"),
            limit("1 s"),
            budget("1000 USD/month"),
        ),
        cpu(phone=0.4, gateway=0.4),
    ),
    Case(
        "blog_upload",
        CLOUD,
        {"phones": 1},
        merged(
            pinned(shrink="cloud", vision="cloud", tokens="cloud", language="cloud", decide="cloud"),
            limit("1 s"),
            budget("1000 USD/month"),
        ),
        {"links": {"lte": {"up": {"rate": "150 Mbit/s", "shared": {"by": "bases", "rate": "400 Mbit/s"}}}}},
    ),
)
