"""A model's time and memory on hardware that nobody measured, with the interval that goes with it; and as a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np

from compiler.estimate.calibration import calibration
from compiler.estimate.operators import Work
from compiler.estimate.terms import TERMS, Machine, terms
from specs.artefact import ModelBackend
from specs.catalogue import entry_of
from specs.errors import InputError, Issue
from specs.infrastructure import Hardware, Speed
from specs.profile import Distribution, Record

Family = Literal["x86", "other"]

ALLOWANCE: Final[Mapping[Family, float]] = {"x86": 1.35, "other": 2.0}
"""How many times wider, each way, the interval is on a CPU other than the calibrated one. Judged, not calibrated: no
other machine was at hand but one x86 server (docs/estimates.md)."""
CLOCK_ALLOWANCE: Final = 2.0
"""The same for Python functions, of which only the clock is compared."""
_POINTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """Median seconds; with 90 % the truth lies between the multiples `interval` of it. Bytes at the peak."""

    seconds: float
    interval: tuple[float, float]
    memory: float

    @property
    def low(self) -> float:
        return self.seconds * self.interval[0]

    @property
    def high(self) -> float:
        return self.seconds * self.interval[1]


@dataclass(frozen=True, slots=True)
class Place:
    """A class of hardware to estimate for: its name in the infrastructure, its figures, its CPU's family."""

    name: str
    speed: Speed
    family: Family
    cores: int


def place_of(name: str, hardware: Hardware) -> Place:
    """Raises InputError for a class of whose speed nothing is known."""
    entry = entry_of(hardware)
    if hardware.speed is None:
        message = f"hardware {name!r}: nothing is known of its speed"
        hint = "use: catalog/NAME (planner hub --catalog), or speed: {ghz: .., flops: .., gb_per_s: ..}"
        raise InputError(Issue(message, None, hint))
    return Place(name, hardware.speed, family_of(entry.target if entry else ""), int(hardware.cores))


def family_of(target: str) -> Family:
    return "x86" if target.startswith("x86") else "other"


def backends_for(target: str) -> tuple[ModelBackend, ...]:
    """Those that are calibrated and that exist for a target: ONNX Runtime is not published for all of them."""
    known = calibration().backends
    runs: tuple[ModelBackend, ...] = ("tvm", "onnxruntime")
    return tuple(b for b in runs if b in known and (b == "tvm" or not target.startswith(("armv7", "riscv", "wasm"))))


def estimate(work: Work, backend: str, threads: int, place: Place) -> Estimate:
    """Of a model on `threads` cores of `place`. Raises KeyError for a backend without a calibration."""
    of = calibration().backends[backend]
    factors = np.array([of.factors[name] for name in TERMS])
    seconds = float(factors @ terms(work.steps, Machine.of(place.speed, threads)))
    wider = ALLOWANCE[place.family]
    return Estimate(seconds, (of.interval[0] / wider, of.interval[1] * wider), memory_of(work, backend))


def memory_of(work: Work, backend: str) -> float:
    """Bytes at the peak: of what the model stores, and of its largest activations. Raises KeyError as `estimate`."""
    base, per_stored, per_activation = calibration().backends[backend].memory
    largest = max((o.activations for o in work.steps), default=0.0)
    return base + per_stored * work.stored + per_activation * largest


def distribution(seconds: float, tail: Mapping[str, float]) -> Distribution:
    """A service time of median `seconds` whose quantiles are multiples of it as in `tail`; of no runs at all."""
    points = sorted((float(p), x) for p, x in tail.items())
    levels = (np.arange(_POINTS) + 0.5) / _POINTS
    inner = seconds * np.interp(levels, [p for p, _ in points], [x for _, x in points])
    return Distribution(
        mean=float(inner.mean()),
        second=float((inner**2).mean()),
        third=float((inner**3).mean()),
        quantiles={f"{p:g}": seconds * x for p, x in points},
        n=0,
        spread=0.0,
    )


def record(source: str, segment: str, backend: str, threads: int, place: Place, of: Estimate) -> Record:
    """`of` as a profile states it."""
    known = calibration()
    low, high = of.interval
    method = (
        f"estimated from operators, calibrated on {known.models} models on {known.machine}; of the interval a factor "
        f"of {ALLOWANCE[place.family]:g} is judged, for another CPU"
    )
    return Record(
        source=source,
        segment=segment,
        backend=backend,
        threads=threads,
        hardware=place.name,
        provenance="estimated",
        method=method,
        host=known.machine,
        latency=distribution(of.seconds, known.tail),
        interval=(low, high),
        memory=of.memory,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def function_record(measured: Record, place: Place, hertz: float) -> Record:
    """A Python function measured here, at a clock of `hertz`, as it may run on `place`: by the ratio of the clocks."""
    ratio = hertz / (1e9 * place.speed.ghz)
    latency = measured.latency.times(ratio).model_copy(update={"n": 0})
    return measured.model_copy(
        update={
            "hardware": place.name,
            "emulated_by": None,
            "provenance": "estimated",
            "method": f"estimated from {measured.host}, by the ratio of the clocks; the interval is judged",
            "latency": latency,
            "interval": (1 / CLOCK_ALLOWANCE, CLOCK_ALLOWANCE),
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
