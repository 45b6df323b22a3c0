"""The Infrastructure: tiers, sites, pools of devices, hardware classes and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from specs.base import Name, Spec
from specs.quantities import (
    Bandwidth,
    Count,
    CountRange,
    Duration,
    EgressPrice,
    ElectricityPrice,
    Fraction,
    PowerRange,
    Price,
    Real,
    Share,
    Size,
)


class Emulation(Spec):
    """This machine stands for the class, slowed to `cpu` of its speed (see `specs.emulation`)."""

    cpu: Fraction


class Speed(Spec):
    """What a class can do at most, as estimates take it: of one core, but for memory.

    `ghz` is the clock that all cores keep up, `flops` the float32 operations a cycle (a multiply-add is two), and
    `gb_per_s` what all cores together read from memory.
    """

    ghz: Annotated[Real, Field(gt=0, le=20)]
    flops: Annotated[Real, Field(gt=0, le=4096)]
    gb_per_s: Annotated[Real, Field(gt=0, le=100_000)]


class RpcDevice(Spec):
    """Devices that a tracker of TVM's RPC lends under the key `rpc`, measured there by `planner profile --tracker`.

    `target` is what models are compiled for; without it, what the class's entry in the catalogue says.
    """

    rpc: Name
    target: str | None = None


def _kind_of_device(value: object) -> str:
    return "a device by RPC" if isinstance(value, dict | RpcDevice) else "this machine"


Device = Annotated[
    Annotated[Literal["here"], Tag("this machine")] | Annotated[RpcDevice, Tag("a device by RPC")],
    Discriminator(_kind_of_device),
]


class Hardware(Spec):
    """A class of devices. `device: here` says that this very machine is one, so that its profiles are measured;
    `device: {rpc: KEY}` that a tracker lends some under that key.
    """

    use: str | None = None
    cores: Count = 1
    memory: Size | None = None
    sharing: Literal["cores", "time"] = "cores"
    price: Price = 0.0
    power: PowerRange | None = None
    speed: Speed | None = None
    emulate: Emulation | None = None
    device: Device | None = None
    labels: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_stand_in(self) -> Hardware:
        if self.emulate and self.device:
            raise ValueError("expected at most one of emulate and device")
        return self


class Pool(Spec):
    """The devices of one class at each member of a site. `price` and `power` replace those of the class."""

    hardware: str
    devices: CountRange = (1, 1)
    owned: bool = False
    price: Price | None = None
    power: PowerRange | None = None


@dataclass(frozen=True, slots=True)
class Members:
    """How many alike sites: `count` in all, or `count` for each member of site `per`."""

    count: int
    per: str | None = None


def _members(value: object) -> object:
    if isinstance(value, Members):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000_000:
        return Members(value)
    match = re.match(r"^\s*(\d{1,8})\s+per\s+([A-Za-z_][\w-]*)\s*$", value) if isinstance(value, str) else None
    if not match or int(match[1]) < 1:
        raise ValueError(f"expected a count such as 4, or '500 per SITE', got {value!r}")
    return Members(int(match[1]), match[2])


class Site(Spec):
    """A place on the network, or a class of alike places."""

    tier: Name
    count: Annotated[Members, BeforeValidator(_members, json_schema_input_type=int | str)] = Members(1)
    labels: dict[str, str] = Field(default_factory=dict)
    pools: dict[Name, Pool] = Field(default_factory=dict)
    electricity: ElectricityPrice = 0.0


def _two(value: object) -> object:
    if isinstance(value, list) and len(value) != 2:
        raise ValueError(f"expected two sites such as [phones, bases], got a list of {len(value)}")
    return value


class Delay(Spec):
    """Propagation, one way: its mean, and the standard deviation of what varies."""

    mean: Duration
    jitter: Duration = 0.0


def _delay(value: object) -> object:
    return value if isinstance(value, dict) else {"mean": value}


class SharedRate(Spec):
    """All that pass the same member of site `by` share `rate`."""

    by: str
    rate: Bandwidth


class Direction(Spec):
    """One direction of a link."""

    rate: Bandwidth
    shared: SharedRate | None = None
    egress: EgressPrice = 0.0

    @model_validator(mode="after")
    def _positive(self) -> Direction:
        if self.rate <= 0 or (self.shared and self.shared.rate <= 0):
            raise ValueError("expected a rate above zero")
        return self


MOST_EXECUTORS: Final = 64
"""Devices of a pool whose hardware shares its time, at a member of a site."""
MOST_LOSS: Final = 0.2
"""What timeouts of TCP are known to be like ends there (`specs.retransmission`)."""


def _direction(value: object) -> object:
    return {"rate": value} if isinstance(value, str) else value


EachWay = Annotated[Direction | None, BeforeValidator(_direction, json_schema_input_type=Direction | str | None)]


class Link(Spec):
    """Joins two sites. `up` is from the first to the second; `rate` and `egress` alone hold for both directions.

    `loss` is the share of packets that is lost, each by itself, in each direction.
    """

    between: Annotated[tuple[str, str], BeforeValidator(_two, json_schema_input_type=tuple[str, str])]
    delay: Annotated[Delay, BeforeValidator(_delay, json_schema_input_type=Delay | str)] = Delay(mean=0.0)
    rate: Bandwidth | None = None
    egress: EgressPrice = 0.0
    up: EachWay = None
    down: EachWay = None
    loss: Share = 0.0

    @model_validator(mode="after")
    def _rates(self) -> Link:
        if (self.rate is None) == (self.up is None) or (self.up is None) != (self.down is None):
            raise ValueError("expected either rate, or both up and down")
        if self.rate is not None and self.rate <= 0:
            raise ValueError("expected a rate above zero")
        if self.loss > MOST_LOSS:
            raise ValueError(f"expected a loss of at most {MOST_LOSS:.0%}: beyond it a stream hardly goes on")
        if self.between[0] == self.between[1]:
            raise ValueError("expected two different sites")
        return self

    def direction(self, way: Literal["up", "down"]) -> Direction:
        """The direction named; where only `rate` is given, both are alike."""
        given = self.up if way == "up" else self.down
        return given or Direction.model_construct(rate=self.rate, shared=None, egress=self.egress)

    def carrying(self, way: Literal["up", "down"]) -> Direction:
        """As `direction`, with what is left of its rates beside the packets that are sent again."""
        given, left = self.direction(way), 1 - self.loss
        if not self.loss or given.rate is None:
            return given
        shared = given.shared and SharedRate.model_construct(by=given.shared.by, rate=given.shared.rate * left)
        return Direction.model_construct(rate=given.rate * left, shared=shared, egress=given.egress)


def _currency(value: str) -> str:
    if not re.fullmatch("[A-Z]{3}", value):
        raise ValueError(f"expected three capital letters such as USD, got {value!r}")
    return value


class FleetShare(Spec):
    hardware: str
    share: Share


class Infrastructure(Spec):
    """Where applications can run, and what it costs."""

    schema_: Literal["tierplan.infra/v1"] = Field(alias="schema")
    currency: Annotated[str, AfterValidator(_currency), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"})] = (
        "USD"
    )
    hardware: Annotated[dict[Name, Hardware], Field(min_length=1)]
    sites: Annotated[dict[Name, Site], Field(min_length=1)]
    links: dict[Name, Link] = Field(default_factory=dict)
    fleets: dict[Name, list[FleetShare]] = Field(default_factory=dict)

    @property
    def hardware_in_use(self) -> set[str]:
        """Classes that sites or fleets name."""
        used = {pool.hardware for site in self.sites.values() for pool in site.pools.values()}
        return used | {part.hardware for fleet in self.fleets.values() for part in fleet}

    def members(self, site: str) -> int:
        """How many members the class `site` has in all. Raises KeyError for an unknown site."""
        count, seen = 1, set()
        while True:
            spec = self.sites[site]
            count *= spec.count.count
            if spec.count.per is None or site in seen:
                return count
            seen.add(site)
            site = spec.count.per
