"""Profiles: what a segment or function costs on a hardware class, with where the number comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from specs.base import Spec
from specs.cuts import CUTS_FILE
from specs.digest import digest_value
from specs.errors import InputError, Issue, Place
from specs.input_file import read_input
from specs.kinds import another_version
from specs.moments import check_moments, check_quantiles
from specs.quantities import Number
from specs.refusal import refusal

Provenance = Literal["measured", "emulated", "estimated", "declared"]
"""``measured`` on the hardware; ``emulated`` on one slowed to its speed; ``estimated`` from other models and hardware;
``declared`` by who wrote the application."""
MAX_RECORDS: Final = 200_000
MAX_BYTES: Final = 400_000_000
BEHAVIOUR_FILE: Final = "behaviour.jsonl"
HOPS_FILE: Final = "hops.jsonl"

MOST_OTHERS: Final = 0.1
"""Of the processors: where others used more, a measurement was disturbed."""
MOST_DRIFT: Final = 0.15
"""Of the median: where the machine drifted further, a measurement was disturbed."""

LINE_HINT: Final = "remove the line and profile again: what it held is measured anew"

T = TypeVar("T", bound=Spec)


class Distribution(Spec):
    """Of service times, in seconds.

    `second` and `third` are the raw moments E[x^2] and E[x^3], which queueing formulas need. `quantiles` maps
    probability (as text, such as "0.99") to seconds. `spread` is half the range of the medians of consecutive blocks of
    the sample, in seconds: how far the machine drifted while measuring.
    """

    mean: Number
    second: Number
    third: Number
    quantiles: dict[str, Number]
    n: int = Field(ge=0)
    spread: Number = Field(ge=0)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_moments(self.mean, self.second, self.third)
        check_quantiles(self.quantiles)
        return self

    @property
    def variance(self) -> float:
        return max(0.0, self.second - self.mean**2)

    def points(self) -> list[tuple[float, float]]:
        """(probability, seconds), by rising probability."""
        return sorted((float(p), x) for p, x in self.quantiles.items())

    def times(self, factor: float) -> Distribution:
        """The same with every time `factor` times as long."""
        return self.model_copy(
            update={
                "mean": self.mean * factor,
                "second": self.second * factor**2,
                "third": self.third * factor**3,
                "quantiles": {p: x * factor for p, x in self.quantiles.items()},
                "spread": self.spread * factor,
            }
        )


class EmulatedBy(Spec):
    """The host that stood for the hardware, and how it was slowed; part of the record's key."""

    host: str
    method: str
    cpu: float = Field(gt=0)


class BucketTimes(Spec):
    """Service times of inputs that one bucket holds, of `size` at most; `share` of all are such."""

    size: int = Field(ge=1)
    share: Number = Field(ge=0, le=1)
    latency: Distribution


class Record(Spec):
    """One measurement: of `source` (digest of a model or function) from `segment`, run one way on one class.

    `hardware` is the class's name in the infrastructure. `memory` is bytes at the peak. `artefact` is the content
    address of what ran ("" for functions), `tuned` where its schedules were found by measuring. `interval` is of an
    estimate: with 90 %, every quantile lies between these multiples of what is stated. `rpc` is the key under which a
    tracker lent the device that ran it. `others` is the share of the machine's processors that others used meanwhile,
    where it is known. Of a model with buckets, `buckets` are the times in each, by rising size, and
    `latency` is their mixture.
    """

    schema_: Literal["tierplan.profile/v1"] = Field(alias="schema", default="tierplan.profile/v1")
    source: str
    segment: str = ".."
    backend: str
    threads: int = Field(ge=1)
    batch: int = Field(ge=1, default=1)
    hardware: str
    emulated_by: EmulatedBy | None = None
    provenance: Provenance
    method: str
    host: str
    rpc: str | None = None
    latency: Distribution
    interval: tuple[Number, Number] | None = None
    buckets: tuple[BucketTimes, ...] | None = None
    memory: float = Field(ge=0)
    artefact: str = ""
    fallback: tuple[str, ...] = ()
    tuned: Literal[True] | None = None
    others: Number | None = Field(ge=0, le=1, default=None)
    measured_at: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.latency.quantiles:
            raise ValueError("expected at least one quantile of the latency")
        if (self.emulated_by is not None) != (self.provenance == "emulated"):
            raise ValueError("expected emulated_by exactly where the provenance is 'emulated'")
        if self.buckets is not None:
            self._of_buckets(self.buckets)
        return self

    def _of_buckets(self, buckets: tuple[BucketTimes, ...]) -> None:
        if not buckets or any(a.size >= b.size for a, b in pairwise(buckets)):
            raise ValueError("expected buckets of rising size")
        if abs(sum(b.share for b in buckets) - 1) > 1e-3:
            raise ValueError(f"the shares of the buckets sum to {sum(b.share for b in buckets):g}, not to 1")
        mean = sum(b.share * b.latency.mean for b in buckets)
        if abs(mean - self.latency.mean) > 1e-3 * max(mean, self.latency.mean):
            raise ValueError(f"the latency has the mean {self.latency.mean:g}, its buckets {mean:g}")

    @property
    def is_sampled(self) -> bool:
        """Whether its times are of runs; `latency.n` counts them."""
        return self.provenance in ("measured", "emulated")

    @property
    def drift(self) -> float:
        """How far the machine drifted while measuring, as a share of the median; 0 where that is not known."""
        median = self.latency.quantiles.get("0.5", 0.0)
        return self.latency.spread / median if median > 0 else 0.0

    @property
    def disturbed(self) -> str:
        """By what it was disturbed while it was measured, in words; empty where by nothing."""
        if not self.is_sampled:
            return ""
        found = [f"others used {self.others:.0%} of the processors"] if (self.others or 0) > MOST_OTHERS else []
        found += [f"medians drifted by ±{self.drift:.0%}"] if self.drift > MOST_DRIFT else []
        return " and ".join(found)

    @property
    def service(self) -> Distribution:
        """What a plan may count on: what was measured; of an estimate, the upper end of its interval."""
        if self.provenance == "estimated" and self.interval is not None:
            return self.latency.times(self.interval[1])
        return self.latency

    @property
    def shares(self) -> dict[int, float]:
        """Of inputs in each bucket, by its size; nothing where there are no buckets."""
        return {b.size: b.share for b in self.buckets or ()}

    def times(self, factor: float) -> Record:
        """The same with every time `factor` times as long."""
        of = None if self.buckets is None else tuple(_longer(b, factor) for b in self.buckets)
        return self.model_copy(update={"latency": self.latency.times(factor), "buckets": of})

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two records speak of the same thing; the newest measured one wins."""
        return (*self.way, self.rpc)

    @property
    def way(self) -> tuple[object, ...]:
        """The same, on whichever device of the class."""
        emulated = self.emulated_by.model_dump_json() if self.emulated_by else ""
        sizes = tuple(b.size for b in self.buckets or ())
        return (self.source, self.segment, self.backend, self.threads, self.batch, self.hardware, emulated, sizes)

    @property
    def digest(self) -> str:
        return digest_value(self.dump())


def _longer(bucket: BucketTimes, factor: float) -> BucketTimes:
    return bucket.model_copy(update={"latency": bucket.latency.times(factor)})


class HopOverhead(Spec):
    """What handing a message of `bytes` to another process costs beyond the link itself, in seconds."""

    schema_: Literal["tierplan.hop/v1"] = Field(alias="schema", default="tierplan.hop/v1")
    channel: str
    bytes: int = Field(ge=0)
    latency: Distribution
    host: str
    measured_at: str


_RANK = {"measured": 3, "emulated": 2, "declared": 1, "estimated": 0}


def winners(records: Iterable[Record]) -> dict[tuple[object, ...], Record]:
    """One record a key: measured before emulated before estimated, then the newest, then the last given. An estimate
    gives way to what was measured on any lent device of its class."""
    best: dict[tuple[object, ...], Record] = {}
    for record in records:
        other = best.get(record.key)
        if other is None or _order(record) >= _order(other):
            best[record.key] = record
    lent = {record.way for record in best.values() if record.rpc is not None}
    return {key: r for key, r in best.items() if r.provenance != "estimated" or r.way not in lent}


def _order(record: Record) -> tuple[int, str]:
    return _RANK[record.provenance], record.measured_at


def read_records(folder: str | Path) -> list[Record]:
    """All records of `folder`/*.jsonl (behaviour, cuts and hops apart), in order of file and line.

    Raises InputError, with file and line, for a line that is not a record.
    """
    records: list[Record] = []
    for file in sorted(Path(folder).glob("*.jsonl")):
        if file.name not in (BEHAVIOUR_FILE, CUTS_FILE, HOPS_FILE):
            records += read_jsonl(file, Record)
    return records


def read_jsonl(file: Path, model: type[T]) -> list[T]:
    """Each line of `file` as `model`. Raises InputError with file and line for the first bad one."""
    result: list[T] = []
    lines = read_input(file, MAX_BYTES).split(b"\n")
    if len(lines) > MAX_RECORDS:
        raise InputError(Issue(f"more than {MAX_RECORDS} lines", Place(str(file))))
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                result.append(model.model_validate_json(line))
            except ValidationError as error:
                place = Place(str(file), number, 1)
                message = f"not a {model.__name__}: {refusal(error.errors()[0])}"
                raise InputError(_foreign(line, model, place) or Issue(message, place, LINE_HINT)) from error
    return result


def _foreign(line: bytes, model: type[Spec], place: Place) -> Issue | None:
    """What to say of a line that another version of tierplan wrote; nothing of others."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    schema: str = model.model_fields["schema_"].default
    return another_version(value, schema, place, "remove the file and profile again")


def json_line(value: Spec) -> str:
    """One line of a .jsonl file."""
    return json.dumps(value.dump(), ensure_ascii=False) + "\n"
