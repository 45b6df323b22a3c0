"""Behaviour: what requests do, for each combination of variants, measured by the reference pipeline on the data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.base import Spec
from specs.quantities import Number


class BranchPattern(Spec):
    """One way requests of `source` go: the components that run, and the share of them that go this way."""

    source: str
    runs: tuple[str, ...]
    probability: Number
    count: int


class PayloadSize(Spec):
    """Bytes of one value on the wire: raw moments and quantiles ("0.5" -> bytes)."""

    mean: Number
    second: Number
    third: Number
    quantiles: dict[str, Number]


class Accuracy(Spec):
    """Share of right answers on `data`, with its 95 % Wilson interval over `n` items."""

    data: str
    value: Number
    low: Number
    high: Number
    n: int


class Behaviour(Spec):
    """For one combination of variants (component -> variant, components with one variant included).

    `inputs` are digests of all that decided it: models, functions, data. `payloads` is by value, ``source.value`` or
    ``component.output``.
    """

    schema_: Literal["tierplan.behaviour/v1"] = Field(alias="schema", default="tierplan.behaviour/v1")
    variants: dict[str, str]
    patterns: tuple[BranchPattern, ...]
    payloads: dict[str, PayloadSize]
    accuracy: tuple[Accuracy, ...] = ()
    items: int
    inputs: dict[str, str]
    measured_at: str
