"""The catalogue of hardware classes, cloud instances and prices that ships with the project (`use: catalog/NAME`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError, model_validator

from specs.base import Spec
from specs.digest import digest_value
from specs.errors import InputError, Issue, Place
from specs.infrastructure import Hardware, Infrastructure, Speed
from specs.nearest import near
from specs.quantities import Count, PowerRange, Price, Size
from specs.yamlfile import YamlFile, read_yaml

PREFIX: Final = "catalog/"
LIFE_HOURS: Final = 3 * 12 * 730
"""What is bought is paid over three years; its price an hour follows."""

_FILE: Final = Path(__file__).parent / "catalogue.yaml"

Kind = Literal["generic", "phone", "single_board", "edge_server", "cloud_cpu", "cloud_gpu"]
Month = Annotated[str, Field(pattern=r"^20\d\d-(0[1-9]|1[0-2])$")]


class Source(Spec):
    """A data sheet or price list, and who publishes it."""

    name: str
    by: str


class Entry(Spec):
    """One class or instance, as `source` had it in the month `as_of`.

    `target` names the compile target of its CPU, `gpu` that of its GPU. `speed` is the CPU's. `buy` is the price of
    one, `price` that of an hour of one; at most one of them is given.
    """

    kind: Kind
    title: str
    cores: Count
    memory: Size
    target: str
    speed: Speed
    gpu: str | None = None
    gpu_title: str = ""
    power: PowerRange | None = None
    buy: Annotated[float, Field(gt=0)] | None = None
    price: Price | None = None
    source: str
    as_of: Month

    @model_validator(mode="after")
    def _one_price(self) -> Entry:
        if self.buy is not None and self.price is not None:
            raise ValueError("expected at most one of buy and price")
        return self

    @property
    def per_hour(self) -> float | None:
        """Money an hour, rented or bought; None where the entry has no price."""
        return self.buy / LIFE_HOURS if self.buy is not None else self.price


class Catalogue(Spec):
    """Entries by name, each with a source. Prices are in `currency`."""

    schema_: Literal["tierplan.catalogue/v1"] = Field(alias="schema")
    currency: str
    sources: dict[str, Source]
    entries: dict[str, Entry]

    @model_validator(mode="after")
    def _sourced(self) -> Catalogue:
        unknown = {e.source for e in self.entries.values()} - set(self.sources)
        if unknown:
            raise ValueError(f"expected the sources {', '.join(sorted(unknown))}")
        return self


@cache
def catalogue() -> Catalogue:
    """The catalogue of this version, read once."""
    try:
        return Catalogue.model_validate(read_yaml(_FILE).value)
    except ValidationError as error:
        raise InputError(Issue(f"not a catalogue: {error.errors()[0]['msg']}", Place(str(_FILE)))) from error


def entry_of(hardware: Hardware) -> Entry | None:
    """The entry that a class takes its facts from, if it says so."""
    return catalogue().entries.get((hardware.use or "").removeprefix(PREFIX))


def resolve(infra: Infrastructure, read: YamlFile) -> Infrastructure:
    """`infra` with what the catalogue says of each class that uses it; what the file says itself wins.

    Raises InputError, at the line of `use`, for a name that is not in the catalogue, and where its price is needed but
    in another currency.
    """
    issues: list[Issue] = []
    hardware = dict(infra.hardware)
    for name, given in infra.hardware.items():
        if given.use is None:
            continue
        place = read.place("hardware", name, "use")
        entry = entry_of(given)
        if entry is None or not given.use.startswith(PREFIX):
            known = [PREFIX + other for other in catalogue().entries]
            hint = near(given.use, known) + "; planner hub --catalog lists all"
            issues.append(Issue(f"the catalogue has no {given.use!r}", place, hint))
            continue
        if entry.per_hour and "price" not in given.model_fields_set and infra.currency != catalogue().currency:
            message = f"the price of {given.use!r} is in {catalogue().currency}, not {infra.currency}"
            issues.append(Issue(message, place, "give price: here"))
        hardware[name] = _merged(given, entry)
    if issues:
        raise InputError(*issues)
    return infra.model_copy(update={"hardware": hardware})


def _merged(given: Hardware, entry: Entry) -> Hardware:
    facts = {
        "cores": entry.cores,
        "memory": entry.memory,
        "power": entry.power,
        "price": entry.per_hour,
        "speed": entry.speed,
    }
    taken = {k: v for k, v in facts.items() if k not in given.model_fields_set and v is not None}
    return given.model_copy(update=taken)


def digest_with_entries(file_digest: str, infra: Infrastructure) -> str:
    """What an infrastructure says, as a digest: that of its file, and of the entries it uses where it uses some."""
    entries = {h.use: entry.dump() for h in infra.hardware.values() if h.use and (entry := entry_of(h))}
    return digest_value({"file": file_digest, "entries": entries}) if entries else file_digest
