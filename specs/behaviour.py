"""Behaviour: what requests do, for each combination of variants, measured by the reference pipeline on the data."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from specs.base import Spec
from specs.moments import check_moments, check_quantiles
from specs.quantities import Number

Length = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]
"""A whole number, as JSON's keys are."""
STEP: Final = 2e-6
"""How steep a step in quantiles is."""


Combination = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, tuple[str, ...]], ...]]
"""Variants by component, and what crosses encoded cuts by component."""


class BranchPattern(Spec):
    """One way requests of `source` go: the components that run, and the share of them that go this way.

    `items` says of each that runs per item how many there are; with 0 it is passed by. None: none runs so.
    """

    source: str
    runs: tuple[str, ...]
    items: dict[str, Annotated[int, Field(ge=0)]] | None = None
    probability: Number = Field(ge=0, le=1)
    count: int = Field(ge=0)

    @property
    def name(self) -> str:
        """Such as ``detect+classify*3+count``."""
        items = self.items or {}
        return "+".join(f"{c}*{items[c]}" if c in items else c for c in self.runs)


class PayloadSize(Spec):
    """Bytes of one value on the wire: raw moments and quantiles ("0.5" -> bytes)."""

    mean: Number
    second: Number
    third: Number
    quantiles: dict[str, Number]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_moments(self.mean, self.second, self.third)
        check_quantiles(self.quantiles)
        return self

    @classmethod
    def constant(cls, size: float) -> Self:
        """Always the same."""
        return cls(mean=size, second=size**2, third=size**3, quantiles=dict.fromkeys(("0", "0.5", "1"), size))

    @classmethod
    def stack(cls, size: float, counts: Mapping[int, float]) -> Self:
        """Of so many entries of that size, each number of them with its probability."""
        mean, second, third = (sum(p * (n * size) ** k for n, p in counts.items()) for k in (1, 2, 3))
        ordered = sorted(counts)
        at = {"0": ordered[0] * size}
        reached = 0.0
        for n, after in pairwise(ordered):  # a step at each number; between points values are read as spread evenly
            reached += counts[n]
            for level, entries in ((reached, n), (reached + STEP, after)):
                at[f"{min(1.0, level):.6f}"] = entries * size
        return cls(mean=mean, second=second, third=third, quantiles=at | {"1": ordered[-1] * size})


class Accuracy(Spec):
    """Share of right (or agreeing) answers on `data`, with its 95 % Wilson interval over `n` items."""

    data: str
    value: Number = Field(ge=0, le=1)
    low: Number = Field(ge=0, le=1)
    high: Number = Field(ge=0, le=1)
    n: int = Field(ge=0)


class Behaviour(Spec):
    """For one combination of variants (component -> variant, components with one variant included).

    `encoded` names those components whose model is cut in two with encoded tensors between: what crosses, by its names
    on the wire (`specs.codec`). `agreement` is then the share of requests whose answers are those without a codec:
    numbers within 1 %, all else exactly.
    `inputs` are digests of all that decided it: models, functions, data. `payloads` is by value, ``source.value`` or
    ``component.output``. `lengths` says of each component with ``dims`` how long its inputs were: the share of its runs
    by length ("17"), nothing where it never ran.
    """

    schema_: Literal["tierplan.behaviour/v1"] = Field(alias="schema", default="tierplan.behaviour/v1")
    variants: dict[str, str]
    encoded: dict[str, tuple[str, ...]] | None = None
    patterns: tuple[BranchPattern, ...]
    payloads: dict[str, PayloadSize]
    lengths: dict[str, dict[Length, Annotated[Number, Field(gt=0, le=1)]]] | None = None
    accuracy: tuple[Accuracy, ...] = ()
    agreement: tuple[Accuracy, ...] | None = None
    items: int = Field(ge=0)
    inputs: dict[str, str]
    measured_at: str

    def wire(self, component: str) -> tuple[str, ...]:
        """What crosses the encoded cut of a component; nothing where it has none."""
        return (self.encoded or {}).get(component, ())

    def cut_size(self, component: str, size: float) -> PayloadSize:
        """Bytes that cross a cut of `component` in a request, where a tensor of `size` does in each of its runs."""
        counts: dict[int, float] = {}
        for pattern in (p for p in self.patterns if component in p.runs):
            n = (pattern.items or {}).get(component, 1)
            counts[n] = counts.get(n, 0.0) + pattern.probability
        if not counts or set(counts) == {1}:
            return PayloadSize.constant(size)
        return PayloadSize.stack(size, {n: p / sum(counts.values()) for n, p in counts.items()})

    def is_of(self, digests: Mapping[str, str]) -> bool:
        """Whether it was measured with exactly these models, functions and data."""
        return all(digests.get(key) == digest for key, digest in self.inputs.items())

    @property
    def combination(self) -> Combination:
        """What tells it from others: variants and encoded cuts, by component."""
        return tuple(sorted(self.variants.items())), tuple(sorted((self.encoded or {}).items()))

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """The patterns of a source are all that its requests do."""
        shares: dict[str, float] = {}
        for pattern in self.patterns:
            shares[pattern.source] = shares.get(pattern.source, 0.0) + pattern.probability
        for source, share in shares.items():
            if abs(share - 1) > 1e-3:
                raise ValueError(f"the probabilities of the patterns of {source!r} sum to {share:g}, not to 1")
        for component, found in (self.lengths or {}).items():
            if found and abs(sum(found.values()) - 1) > 1e-3:
                raise ValueError(f"the shares of the lengths of {component!r} sum to {sum(found.values()):g}, not to 1")
        return self
