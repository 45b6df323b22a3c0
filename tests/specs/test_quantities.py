"""Quantities: every unit has its factor, and what is no quantity says what was expected."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from specs.quantities import (
    AtLeastShare,
    AtMostPrice,
    Bandwidth,
    CountRange,
    Duration,
    EgressPrice,
    ElectricityPrice,
    Frequency,
    Money,
    PowerRange,
    Price,
    Share,
    Size,
    currency_of,
)

READ = [
    *((Duration, f"3 {u}", 3 * f) for u, f in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0))),
    *((Duration, f"3 {u}", 3 * f) for u, f in (("h", 3600.0), ("day", 86400.0))),
    *((Size, f"2 {u}", 2 * f) for u, f in (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12))),
    *((Size, f"2 {u}", 2 * f) for u, f in (("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30))),
    *((Bandwidth, f"8 {u}", f) for u, f in (("bit/s", 1.0), ("kbit/s", 1e3), ("Mbit/s", 1e6), ("Gbit/s", 1e9))),
    (Bandwidth, "8 MB/s", 8e6),
    *((Frequency, f"6{u}", 6 / f) for u, f in (("/s", 1.0), ("/min", 60.0), ("/h", 3600.0), ("/day", 86400.0))),
    (Frequency, "30 requests/s", 30.0),
    (Price, "0.09/h", 0.09),
    (Price, "73 USD/month", 0.1),
    (Price, "24 /day", 1.0),
    (Price, "8760 EUR/year", 1.0),
    (EgressPrice, "0.02/GB", 2e-11),
    (EgressPrice, "0.02 USD/MB", 2e-8),
    (ElectricityPrice, "0.25/kWh", 0.25),
    (ElectricityPrice, "250/MWh", 0.25),
    (Share, "99 %", 0.99),
    (Share, "0.92", 0.92),
    (AtLeastShare, ">= 99.9 %", 0.999),
    (AtLeastShare, 0.92, 0.92),
    (AtMostPrice, "<= 73 USD/month", 0.1),
    (Duration, 0, 0.0),
    (Duration, "1e3 ms", 1.0),
    (Duration, ".5s", 0.5),
]


@pytest.mark.parametrize(("kind", "text", "value"), READ)
def test_every_unit_has_its_factor(kind: Any, text: object, value: float) -> None:
    assert TypeAdapter(kind).validate_python(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Duration, "150 msec", "did you mean 'ms'"),
        (Size, "40 mb", "did you mean 'MB'"),
        (Bandwidth, "20 mbit/s", "did you mean 'Mbit/s'"),
        (Bandwidth, "8 Mbps", "unknown unit"),
        (Duration, "150", "got '150' without one"),
        (Duration, 150, "with a unit such as '150 ms'"),
        (Duration, "-3 ms", "negative"),
        (Duration, "1e999 s", "too large"),
        (Duration, "nan s", "expected a quantity"),
        (Duration, True, "expected a quantity"),
        (Duration, "9" * 300 + " s", "expected a quantity"),
        (Duration, None, "expected a quantity"),
        (Share, "120 %", "between 0 and 1"),
        (Share, True, "between 0 and 1"),
        (AtLeastShare, "<= 0.9", "expected '>='"),
        (AtMostPrice, ">= 90 USD/month", "expected '<='"),
        (CountRange, "20..0", "expected a count"),
        (CountRange, True, "expected a count"),
        (PowerRange, "9..4 W", "idle the smaller"),
    ],
)
def test_what_is_no_quantity_says_what_was_expected(kind: Any, text: object, expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(text)
    assert expected in str(caught.value)


def test_ranges_are_a_lower_and_an_upper_bound() -> None:
    assert TypeAdapter(CountRange).validate_python("0..20") == (0, 20)
    assert TypeAdapter(CountRange).validate_python(3) == (3, 3)
    assert TypeAdapter(PowerRange).validate_python("4..9 W") == (4.0, 9.0)
    assert TypeAdapter(PowerRange).validate_python("500 mW") == (0.5, 0.5)


def test_a_price_names_its_currency() -> None:
    assert currency_of("<= 90 USD/month") == "USD"
    assert currency_of("0.09/h") is None


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=5))
def test_no_cent_of_money_is_lost_in_a_file(items: list[float]) -> None:
    """So that what is paid for adds up to the total that stands below it."""
    money = TypeAdapter(Money)
    written = [money.dump_python(x, mode="json") for x in items]
    total = money.dump_python(sum(items), mode="json")
    assert total == pytest.approx(sum(written), abs=0.006 * (len(items) + 1), rel=1e-12)
    assert money.dump_python(901_236.834, mode="json") == 901_236.83
    assert money.dump_python(0.00894966321, mode="json") == 0.00894966


@given(st.text(max_size=60))
def test_any_text_is_a_finite_quantity_or_a_validation_error(text: str) -> None:
    kinds: tuple[Any, ...] = (
        Duration,
        Size,
        Bandwidth,
        Frequency,
        Price,
        Share,
        AtLeastShare,
        AtMostPrice,
        PowerRange,
        CountRange,
    )
    for kind in kinds:
        try:
            value = TypeAdapter(kind).validate_python(text)
        except ValidationError:
            continue
        assert all(math.isfinite(v) and v >= 0 for v in (value if isinstance(value, tuple) else (value,)))
