"""What the time of a model is made of: a sum of terms, each the least time that a part of the work could take.

A term is work divided by what the hardware can do of it (its roofline); a backend's calibration says how many times as
long as that each takes with it. Nothing else is learned, so that a figure can be taken apart and looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

from compiler.estimate.operators import Kind, Operator
from specs.infrastructure import Speed

ARITHMETIC: Final = ("conv", "pointwise", "depthwise", "grouped", "dense", "product")
"""Kinds whose multiply-adds have a term of their own."""
_REST: Final = tuple(kind for kind in get_args(Kind) if kind not in ("forest", *ARITHMETIC))

TERMS: Final = (*ARITHMETIC, "reduce", "vector", "activations", "rearranged", "weights", "forest", "tables", "step",
                "light step", "call", "forked")  # fmt: skip
"""Names of the terms, in order. Of `forest` and the last four one unit is a cycle of one core."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What `threads` cores do: cycles a second of each, float32 operations and bytes of memory a second of all."""

    hertz: float
    flops: float
    bytes: float
    threads: int

    @staticmethod
    def of(speed: Speed, threads: int) -> Machine:
        """From a data sheet's figures."""
        hertz = 1e9 * speed.ghz
        return Machine(hertz, hertz * speed.flops * threads, 1e9 * speed.gb_per_s, threads)


def terms(operators: Sequence[Operator], machine: Machine) -> tuple[float, ...]:
    """Seconds by term, in the order of `TERMS`."""

    def flops(*kinds: str) -> float:
        return sum(o.flops for o in operators if o.kind in kinds) / machine.flops

    heavy = sum(o.kind in ARITHMETIC for o in operators)
    caches = machine.hertz * machine.threads
    return (
        *(flops(kind) for kind in ARITHMETIC),
        flops("reduce"),
        flops(*(kind for kind in _REST if kind != "reduce")) + sum(o.fused for o in operators) / machine.flops,
        sum(o.activations for o in operators) / caches,
        sum(o.activations for o in operators if o.kind in ("move", "lookup")) / caches,
        sum(o.weights for o in operators if o.kind != "forest") / machine.bytes,
        sum(o.flops for o in operators if o.kind == "forest") / machine.hertz,
        sum(o.weights for o in operators if o.kind == "forest") / machine.bytes,
        heavy / machine.hertz,
        (len(operators) - heavy) / machine.hertz,
        1 / machine.hertz,
        (len(operators) if machine.threads > 1 else 0) / machine.hertz,
    )
