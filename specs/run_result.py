"""What a run measured, beside what was predicted for exactly that slice before its first request."""

from __future__ import annotations

from statistics import median
from typing import Final, Literal

from pydantic import Field

from specs.base import Spec
from specs.behaviour import Accuracy
from specs.plan import OfPath, PathPrediction, Percentiles, StagePrediction
from specs.profile import Distribution
from specs.quantities import Number

TELLING: Final = 20
"""Requests of a stage whose median says how fast its machine is."""
TELLING_MS: Final = 0.5
"""Shorter services say little: what is around them counts for more."""


class Slice(Spec):
    """Which part of the fleet a run stands for.

    `members` is how many of each class of sites take part; each of them asks `multiplier` times its peak rate. What the
    members left out would ask of shared queues and links is `background`: by site, requests a second at each member.
    """

    members: dict[str, int]
    multiplier: Number
    background: dict[str, Number] = Field(default_factory=dict)
    requests: int
    seed: int


class Prediction(Spec):
    """What the planner says of a slice."""

    schema_: Literal["tierplan.prediction/v1"] = Field(alias="schema", default="tierplan.prediction/v1")
    plan: str
    slice: Slice
    paths: tuple[PathPrediction, ...]
    stages: tuple[StagePrediction, ...]


class Requests(Spec):
    """From the client's own log. `lost` got no answer of any kind; `wrong` differs from the reference."""

    sent: int
    answered: int
    refused: int
    failed: int
    lost: int
    wrong: int = 0


class MeasuredPath(OfPath):
    n: int
    predicted: Percentiles
    measured: Percentiles
    limit_ms: dict[str, Number] = Field(default_factory=dict)


class MeasuredStage(Spec):
    """`service` is what was measured of a stage as a profile keeps it, where there were enough requests."""

    name: str
    kind: Literal["stage", "transfer"]
    site: str
    n: int
    wait_predicted: Percentiles
    wait_measured: Percentiles
    service_predicted: Percentiles
    service_measured: Percentiles
    service: Distribution | None = None


class MeasuredAccuracy(Accuracy):
    """Of the answers of a run; `planned` is what the plan says, `limit` what the user's constraints ask at least."""

    planned: Number | None = None
    limit: Number | None = None

    @property
    def verdict(self) -> Literal["kept", "not certain", "missed"]:
        """Whether the limit is kept, as far as so many answers can tell: the whole interval must say so."""
        if self.limit is None or self.low >= self.limit:
            return "kept"
        return "missed" if self.high < self.limit else "not certain"


class MeasuredShare(Spec):
    """Of the `n` requests to a sink that were sent, the share that was answered before it was given up.

    `low` to `high` is its 95 % interval; `limit` is what the constraint `name` asks at least.
    """

    name: str
    n: int
    value: Number
    low: Number
    high: Number
    limit: Number

    @property
    def verdict(self) -> Literal["kept", "not certain", "missed"]:
        """As `MeasuredAccuracy.verdict`."""
        if self.low >= self.limit:
            return "kept"
        return "missed" if self.high < self.limit else "not certain"


class RunResult(Spec):
    """What a run measured, beside what was predicted for it.

    `network` says what delays messages: links `emulated` below the application, `shaped` inside it, or only the
    machine's own (`none`); `shaping` says how, for processors as well. `host` names the machine as profiles do,
    `ended_at` says when; older files say neither, nor the network.
    """

    schema_: Literal["tierplan.run/v1"] = Field(alias="schema", default="tierplan.run/v1")
    plan: str
    prediction: str
    slice: Slice
    network: Literal["emulated", "shaped", "none", ""] = ""
    shaping: str
    requests: Requests
    throughput: Number
    accuracy: dict[str, Number] = Field(default_factory=dict)
    accuracies: tuple[MeasuredAccuracy, ...] = ()
    shares: tuple[MeasuredShare, ...] = ()
    paths: tuple[MeasuredPath, ...]
    stages: tuple[MeasuredStage, ...]
    seconds: Number
    host: str = ""
    ended_at: str = ""

    @property
    def pace(self) -> float | None:
        """How long services took in relation to their profiles: the median of measured to predicted p50 over stages.

        Of stages of at least `TELLING_MS` that served `TELLING` requests; None where there is none. One factor for
        stages of all kinds is more likely the machine's, or what else ran on it, than that of any profile.
        """
        ratios = [
            s.service_measured.p50_ms / s.service_predicted.p50_ms
            for s in self.stages
            if s.kind == "stage" and s.n >= TELLING and s.service_predicted.p50_ms >= TELLING_MS
        ]
        return median(ratios) if ratios else None
