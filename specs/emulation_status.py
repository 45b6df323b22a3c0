"""What `planner emulate` says of the networks that it emulates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.base import Spec
from specs.quantities import Number


class EmulatedSite(Spec):
    """A member of a site: `address` and `names` hold in all of them; `process` is its first one."""

    member: str
    site: str
    tier: str
    address: str
    names: tuple[str, ...]
    process: int
    state: Literal["up", "dead"]


class EmulatedLink(Spec):
    """One direction between two members, as it is now, and what it has carried since the start.

    `lost` by its loss; `dropped` because too much waited or it was down. All with the same `shared` also share
    `shared_bytes_per_s`.
    """

    link: str
    direction: Literal["up", "down"]
    from_: str = Field(alias="from")
    to: str
    carries: bool
    delay_ms: Number
    jitter_ms: Number
    bytes_per_s: Number
    shared: str = ""
    shared_bytes_per_s: Number | None = None
    loss: Number
    packets: int
    bytes: int
    lost: int
    dropped: int


class EmulationStatus(Spec):
    """`planner emulate`: the sites and links that run.

    `unslowed` are the hardware classes slower than this machine, with their share of its speed: processors are not
    slowed. `late_mean_ms` and `late_most_ms` say how much later than due packets were delivered since a link was last
    set.
    """

    schema_: Literal["tierplan.emulation/v1"] = Field(alias="schema", default="tierplan.emulation/v1")
    infra: str
    digest: str
    mechanism: str
    user_namespace: bool
    emulator: int
    processors: Literal["not slowed"] = "not slowed"
    unslowed: dict[str, Number] = Field(default_factory=dict)
    sites: tuple[EmulatedSite, ...]
    links: tuple[EmulatedLink, ...]
    late_mean_ms: Number
    late_most_ms: Number
