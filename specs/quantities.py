"""Quantities with units, as people write them: ``150 ms``, ``40 MB``, ``1 Gbit/s``, ``12 USD/month``.

Each type below parses text into one canonical unit (a float), named in its docstring. A bare number is refused where a
unit is needed, except 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

HOURS_PER_MONTH: Final = 730.0


def _not_boolean(value: object) -> object:
    """Python, and pydantic with it, takes true for 1."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {str(value).lower()}")
    return value


Whole = Annotated[int, BeforeValidator(_not_boolean)]
"""A whole number, where true is none."""
Real = Annotated[float, BeforeValidator(_not_boolean)]
"""A number, where true is none."""

TIME: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}
SIZE: Final = {
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "KiB": 1024.0,
    "MiB": 1024.0**2,
    "GiB": 1024.0**3,
}
BANDWIDTH: Final = {
    **{f"{p}bit/s": f / 8 for p, f in (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9))},
    **{f"{unit}/s": factor for unit, factor in SIZE.items()},
}
FREQUENCY: Final = {f"/{unit}": 1.0 / seconds for unit, seconds in TIME.items() if seconds >= 1.0}
PRICE: Final = {"/h": 1.0, "/day": 1 / 24.0, "/month": 1 / HOURS_PER_MONTH, "/year": 1 / (12 * HOURS_PER_MONTH)}
EGRESS: Final = {f"/{unit}": 1.0 / size for unit, size in SIZE.items() if size >= 1e6}
CALLS: Final = {"/call": 1.0, "/1000 calls": 1e-3, "/1000000 calls": 1e-6}
ELECTRICITY: Final = {"/kWh": 1.0, "/MWh": 1e-3}
POWER: Final = {"mW": 1e-3, "W": 1.0, "kW": 1e3}
ENERGY: Final = {
    **{
        f"{unit}{per}": size / 1e3 * HOURS_PER_MONTH * often
        for unit, size in (("Wh", 1.0), ("kWh", 1e3), ("MWh", 1e6))
        for per, often in PRICE.items()
    },
    **{unit: watts / 1e3 * HOURS_PER_MONTH for unit, watts in POWER.items()},
}

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"
_QUANTITY = re.compile(rf"^\s*(?P<number>{_NUMBER})\s*(?P<unit>.*?)\s*$")
_BITS = re.compile(r"^([kKMG]?)(?:bps|b/s|bits?/s(?:ec)?|bits?)$")
"""Units of bandwidth that count bits, as many write them."""
_COUNTED = re.compile(r"^(requests?|req|items?)\s*(?=/)")


def parse_quantity(text: object, units: Mapping[str, float], example: str) -> float:
    """`text` in the canonical unit of `units` (unit -> factor).

    Raises ValueError for what is not a number with a known unit (naming the nearest one), not finite, or negative.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        if text == 0:
            return 0.0
        raise ValueError(f"expected a quantity with a unit such as {example!r}, got the bare number {text}")
    match = _QUANTITY.match(text) if isinstance(text, str) and len(text) < 200 else None
    if not match:
        raise ValueError(f"expected a quantity such as {example!r}, got {text!r}")
    unit = _COUNTED.sub("", match["unit"])
    if not unit and unit not in units:
        raise ValueError(f"expected a quantity with a unit such as {example!r}, got {text!r} without one")
    if unit not in units:
        meaning = _BITS.sub(r"\1bit/s", unit)  # whoever counts bits means no bytes
        near = [known for known in units if known.lower() == meaning.lower()] or get_close_matches(
            meaning, units, n=1, cutoff=0.5
        )
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown unit {unit!r} in {text!r}; expected one of {', '.join(units)}{meant}")
    value = float(match["number"]) * units[unit]
    if not math.isfinite(value) or value > 1e18:
        raise ValueError(f"{text!r} is too large")
    if value < 0:
        raise ValueError(f"{text!r} is negative; expected zero or more")
    return value


def _without_currency(text: object) -> object:
    """`12 USD/month` -> `12 /month`. The infrastructure names the one currency; loading checks that they agree."""
    return re.sub(rf"^(\s*{_NUMBER})\s*[A-Z]{{3}}\s*(?=/)", r"\1 ", text) if isinstance(text, str) else text


def currency_of(text: object) -> str | None:
    """The currency that a price names, if it names one."""
    match = re.match(rf"^\s*(?:[<>]=?)?\s*{_NUMBER}\s*([A-Z]{{3}})\b", text) if isinstance(text, str) else None
    return match[1] if match else None


def _quantity(units: Mapping[str, float], example: str, clean: Callable[[object], object] = lambda x: x) -> Any:
    schema = {"type": ["string", "number"], "examples": [example]}

    def parse(value: object) -> float:
        return parse_quantity(clean(value), units, example)

    return BeforeValidator(parse), WithJsonSchema(schema, mode="validation")


Duration = Annotated[float, *_quantity(TIME, "150 ms")]
"""Seconds."""
Size = Annotated[float, *_quantity(SIZE, "40 MB")]
"""Bytes."""
Bandwidth = Annotated[float, *_quantity(BANDWIDTH, "8 Mbit/s")]
"""Bytes a second."""
Frequency = Annotated[float, *_quantity(FREQUENCY, "6/h")]
"""Events a second."""
Price = Annotated[float, *_quantity(PRICE, "0.09/h", _without_currency)]
"""Money an hour."""
EgressPrice = Annotated[float, *_quantity(EGRESS, "0.02/GB", _without_currency)]
"""Money a byte."""
CallPrice = Annotated[float, *_quantity(CALLS, "2 USD/1000 calls", _without_currency)]
"""Money a call."""
ElectricityPrice = Annotated[float, *_quantity(ELECTRICITY, "0.25/kWh", _without_currency)]
"""Money a kWh."""


def parse_share(value: object) -> float:
    """A share from 0 to 1, of a number or of text such as `92 %`. Raises ValueError for anything else."""
    if isinstance(value, str) and value.strip().endswith("%"):
        value = float(parse_quantity(value, {"%": 0.01}, "99.9 %"))
    if isinstance(value, str):
        value = float(parse_quantity(value, {"": 1.0}, "0.92"))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"expected a share between 0 and 1 such as 0.92 or '92 %', got {value!r}")
    return float(value)


def _bound(sign: str, parse: Callable[[object], float], example: str) -> Any:
    """A limit such as `>= 0.92`. The sign may be left out; the wrong one is an error."""

    def read(value: object) -> float:
        if isinstance(value, str) and value.strip()[:1] in "<>" and value.strip():
            text = value.strip()
            if not text.startswith(sign):
                raise ValueError(f"expected {sign!r} before the limit, as in {example!r}, got {value!r}")
            value = text[len(sign) :].strip()
        return parse(value)

    return BeforeValidator(read), WithJsonSchema({"type": ["string", "number"], "examples": [example]})


Share = Annotated[
    float, BeforeValidator(parse_share), WithJsonSchema({"type": ["string", "number"], "examples": ["99 %"]})
]
"""A number from 0 to 1."""
AtLeastShare = Annotated[float, *_bound(">=", parse_share, ">= 0.92")]
"""The lower limit of a share, from 0 to 1."""
AtLeastRate = Annotated[float, *_bound(">=", lambda v: parse_quantity(v, FREQUENCY, "20/s"), ">= 20/s")]
"""The lower limit of a rate, in events a second."""
AtMostPrice = Annotated[
    float,
    *_bound("<=", lambda v: parse_quantity(_without_currency(v), PRICE, "90 USD/month"), "<= 90 USD/month"),
]
"""The upper limit of a cost, in money an hour."""
AtMostSize = Annotated[float, *_bound("<=", lambda v: parse_quantity(v, SIZE, "2 GB"), "<= 2 GB")]
"""The upper limit of a size, in bytes."""
AtMostEnergy = Annotated[float, *_bound("<=", lambda v: parse_quantity(v, ENERGY, "20 kWh/month"), "<= 20 kWh/month")]
"""The upper limit of electrical energy, in kWh a month; a power is that power on average."""


def _range(value: object) -> tuple[int, int]:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        low, high = map(_not_boolean, value)
        if isinstance(low, int) and isinstance(high, int) and 0 <= low <= high:
            return low, high
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000:
        return value, value
    match = re.match(r"^\s*(\d{1,7})\s*\.\.\s*(\d{1,7})\s*$", value) if isinstance(value, str) else None
    if not match or int(match[1]) > int(match[2]):
        raise ValueError(f"expected a count such as 2 or a range such as 0..20, got {value!r}")
    return int(match[1]), int(match[2])


CountRange = Annotated[
    tuple[int, int], BeforeValidator(_range), WithJsonSchema({"type": ["string", "integer"], "examples": ["0..20"]})
]
"""How few and how many."""


def _power(value: object) -> tuple[float, float]:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        idle, busy = (float(str(_not_boolean(watts))) for watts in value)
        if 0 <= idle <= busy <= 1e18:
            return idle, busy
    match = re.match(r"^\s*([\d.]+)\s*\.\.\s*([\d.]+\s*[a-zA-Z]+)\s*$", value) if isinstance(value, str) else None
    if not match:
        watts = parse_quantity(value, POWER, "4..9 W")
        return watts, watts
    unit = re.sub(r"[\d.\s]", "", match[2])
    idle, busy = (parse_quantity(t, POWER, "4..9 W") for t in (f"{match[1]} {unit}", match[2]))
    if idle > busy:
        raise ValueError(f"expected idle..busy with idle the smaller, got {value!r}")
    return idle, busy


PowerRange = Annotated[
    tuple[float, float], BeforeValidator(_power), WithJsonSchema({"type": "string", "examples": ["4..9 W"]})
]
"""Watts when idle and when busy."""

Fraction = Annotated[Real, Field(gt=0, le=1)]
Count = Annotated[Whole, Field(ge=1, le=1_000_000)]
Rounded = PlainSerializer(lambda x: float(f"{x:.6g}"), return_type=float, when_used="json")
"""Six significant digits in files, so that they read and diff well."""
Number = Annotated[float, Field(allow_inf_nan=False), Rounded]
ToTheCent = PlainSerializer(
    lambda x: round(x, 2) if abs(x) >= 1e4 else float(f"{x:.6g}"), return_type=float, when_used="json"
)
Money = Annotated[float, Field(allow_inf_nan=False), ToTheCent]
"""As `Number`, but no cent is lost of large sums, so that items add up to their total."""
