"""The Application: what the user wants to run. docs/spec.md explains the words.

The grammar is complete; what is parsed here but not built yet is refused, with its line, by `specs.support`.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from specs.api import Api
from specs.base import Name, Spec, TypeText
from specs.codec import Codec
from specs.deadline import deadline_of
from specs.environment_name import EnvironmentName
from specs.function_files import is_function_name
from specs.nearest import SIMILAR
from specs.quantities import (
    AtLeastRate,
    AtLeastShare,
    AtMostEnergy,
    AtMostPrice,
    AtMostSize,
    Duration,
    Frequency,
    Real,
    Share,
    Size,
    Whole,
)

Selector = Annotated[dict[str, str], Field(min_length=1)]
"""Matches sites: ``tier`` and ``site`` by name, anything else is a label; all must hold."""


def _rate(value: object) -> object:
    return value if isinstance(value, dict) else {"mean": value, "peak": value}


def _size(value: object) -> object:
    return value if isinstance(value, dict) else {"p50": value, "p99": value}


class Rate(Spec):
    """Requests a second of one member: the peak sizes, the mean is paid."""

    mean: Frequency
    peak: Frequency

    @model_validator(mode="after")
    def _ordered(self) -> Rate:
        if self.peak < self.mean or self.peak <= 0:
            raise ValueError("expected a peak above zero and not below the mean")
        return self


class SizeSpread(Spec):
    """Bytes of a value whose size varies, as two quantiles of a lognormal distribution."""

    p50: Size
    p99: Size

    @model_validator(mode="after")
    def _ordered(self) -> SizeSpread:
        if self.p99 < self.p50:
            raise ValueError("expected p99 not below p50")
        return self


class SourceValue(Spec):
    """One value that a request brings. `size` is what it has on the wire; needed for jpeg, string and the like."""

    type: TypeText
    size: Annotated[SizeSpread, BeforeValidator(_size, json_schema_input_type=SizeSpread | str)] | None = None


class Trace(Spec):
    trace: str


class Source(Spec):
    """Where requests enter. Every site that `at` matches starts one flow."""

    at: Selector
    rate: Annotated[Rate, BeforeValidator(_rate, json_schema_input_type=Rate | str)]
    arrivals: Literal["poisson", "constant"] | Trace = "poisson"
    values: Annotated[dict[Name, SourceValue], Field(min_length=1)]


def _reference(text: str) -> str:
    if not re.match(r"^[A-Za-z_][\w-]*\.[A-Za-z_][\w-]*$", text):
        raise ValueError(f"expected component.output, got {text!r}")
    return text


class Ref(Spec):
    """An input: the value ``component.output`` (or ``source.value``), and what stands for it when it was skipped."""

    from_: str = Field(alias="from")
    if_skipped: float | None = None

    @field_validator("from_")
    @classmethod
    def _form(cls, text: str) -> str:
        return _reference(text)

    @property
    def producer(self) -> str:
        return self.from_.split(".")[0]

    @property
    def output(self) -> str:
        return self.from_.split(".")[1]


def _ref(value: object) -> object:
    return {"from": value} if isinstance(value, str) else value


_Input = Annotated[Ref, BeforeValidator(_ref, json_schema_input_type=Ref | str)]
Inputs = Annotated[dict[Name, _Input], Field(min_length=1)]


class Gate(Spec):
    """``when: [not] component.output``: the component runs only for requests whose boolean output says so."""

    ref: Ref
    negated: bool

    def opens(self, value: bool) -> bool:
        """Whether the component runs when the gate's output is `value`."""
        return value is not self.negated

    def __str__(self) -> str:
        return f"{'not ' if self.negated else ''}{self.ref.from_}"


def _gate(value: object) -> object:
    if not isinstance(value, str):
        return value
    words = value.split()
    negated = words[:1] == ["not"]
    if len(words) != 1 + negated:
        raise ValueError(f"expected 'component.output' or 'not component.output', got {value!r}")
    return {"ref": {"from": words[-1]}, "negated": negated}


Reads = Annotated[
    list[str],
    Field(max_length=256, description="Files and folders that the function of `model: module:function` reads."),
]


def _reads_of_a_model(realisation: Variant | Component) -> None:
    if realisation.reads and (realisation.model is None or not is_function_name(realisation.model)):
        raise ValueError("reads belongs to a model that is given as module:function")


class Variant(Spec):
    """One way to realise a component: a model, a function, a hosted API, or another variant in int8.

    A model is a file, or ``module:function`` that returns one (`specs.model_source`); `reads` are the files of the
    project that this function reads, so that a change of them counts as one of the model. `quantize` names the variant
    to quantize; `calibrate` is a file of requests, such as those in `data`, which stand for it where it is left out.
    """

    model: str | None = None
    reads: Reads = Field(default_factory=list)
    function: str | None = None
    api: Api | None = None
    quantize: str | None = None
    calibrate: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Variant:
        given = [k for k in ("model", "function", "api", "quantize") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError("expected exactly one of model, function, api and quantize")
        if self.calibrate is not None and self.quantize is None:
            raise ValueError("calibrate belongs to a variant with quantize")
        _reads_of_a_model(self)
        return self

    @property
    def is_model(self) -> bool:
        """Whether it is run as a model: one that was handed in, or made of another by quantizing."""
        return self.function is None and self.api is None


CutTensors = str | Annotated[list[str], Field(min_length=1, max_length=16)]
"""The name of the tensor that crosses a cut, or of each where several do."""


PLAIN: Final[tuple[Codec, ...]] = ("none",)
"""Of what crosses where nothing else is said."""
Codecs = Annotated[
    list[Codec],
    Field(min_length=1, description="What may encode the tensors between two sites; without none, something must."),
]


class Anywhere(Spec):
    """The model may be split wherever a cut is found, as with `allowed`; `codec` says how tensors may cross."""

    codec: Codecs


class Cuts(Spec):
    """Where a model may be split, in order from its input: each cut what crosses it, or that for each variant."""

    at: Annotated[list[CutTensors | dict[str, CutTensors]], Field(min_length=1, max_length=64)]
    codec: Codecs = Field(default_factory=lambda: list(PLAIN))

    def tensors(self, variant: str) -> tuple[tuple[str, ...], ...]:
        """The tensors at each cut of `variant`; a cut that names other variants only does not apply to it."""
        named = ((cut.get(variant) if isinstance(cut, dict) else cut) for cut in self.at)
        return tuple((cut,) if isinstance(cut, str) else tuple(cut) for cut in named if cut is not None)


def _split_kind(value: Any) -> str:
    """Which form of `split` a value means to be."""
    if isinstance(value, Anywhere) or (isinstance(value, dict) and "codec" in value and "at" not in value):
        return "codec"
    return "at" if isinstance(value, dict | Cuts) else "allowed"


Split = Annotated[
    Annotated[Literal["allowed"], Tag("allowed")] | Annotated[Cuts, Tag("at")] | Annotated[Anywhere, Tag("codec")],
    Discriminator(_split_kind),
]


def _batch(value: object) -> object:
    return {"max": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Batch(Spec):
    """Requests that a model may take at once: at most `max`, of which the first waits at most `wait` for the others."""

    max: Annotated[Whole, Field(ge=2, le=64)]
    wait: Annotated[Duration, Field(ge=0, le=60)] = 0.0

    @property
    def sizes(self) -> tuple[int, ...]:
        """What is tried beside one request at a time: powers of two up to `max`, and `max`."""
        return tuple(sorted({2**k for k in range(1, 7) if 2**k <= self.max} | {self.max}))


def _dimension(value: object) -> object:
    return {"buckets": value} if isinstance(value, list) else value


MOST_BUCKETS: Final = 16
"""Of one dimension: each is compiled and measured."""


class Dimension(Spec):
    """Lengths that a named dimension of a model is compiled for; a request takes the smallest that holds it.

    `mix` is the share of requests in each bucket, in their order; without it, it is measured on the data. `pad` is what
    fills an input up to its bucket, by the input's name; 0 where it is not named.
    """

    buckets: Annotated[list[Annotated[Whole, Field(ge=1, le=1_000_000)]], Field(min_length=1, max_length=MOST_BUCKETS)]
    mix: Annotated[list[Share], Field(min_length=1)] | None = None
    pad: dict[Name, Real] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ordered(self) -> Dimension:
        if any(a >= b for a, b in pairwise(self.buckets)):
            raise ValueError("expected buckets that rise, as in [16, 64, 128]")
        if self.mix is not None:
            if len(self.mix) != len(self.buckets):
                raise ValueError(f"expected a share for each of {len(self.buckets)} buckets, got {len(self.mix)}")
            if abs(sum(self.mix) - 1) > 1e-3:
                raise ValueError(f"the shares of the mix sum to {sum(self.mix):g}, not to 1")
        return self


def _state(value: object) -> object:
    return value if isinstance(value, dict) else {"size": value}


MOST_STATE: Final = 256_000_000
"""Bytes of a checkpoint: it is written whole, each time."""


class State(Spec):
    """What a component remembers from one request to the next: bytes that its function gives and takes back.

    They are at most `size`. A checkpoint of what has changed is written after `every` so many seconds, and at the end.
    """

    size: Annotated[Size, Field(gt=0, le=MOST_STATE)]
    every: Annotated[Duration, Field(ge=0.1, le=86_400)] = 10.0


_Dimension = Annotated[Dimension, BeforeValidator(_dimension, json_schema_input_type=Dimension | list[int])]
Backend = Literal["tvm", "onnxruntime", "openvino", "python"]
DEFAULT_VARIANT = "default"


class Component(Spec):
    """One step: a model in one or more variants, a Python function, or a hosted API."""

    model: str | None = None
    reads: Reads = Field(default_factory=list)
    function: str | None = None
    api: Api | None = None
    variants: dict[Name, Variant] = Field(default_factory=dict)
    when: Annotated[Gate, BeforeValidator(_gate, json_schema_input_type=str)] | None = None
    per: Annotated[
        str | None, Field(description="component.output: runs once for each item of that value's first axis.")
    ] = None
    inputs: Inputs
    outputs: dict[Name, TypeText] = Field(default_factory=dict)
    requirements: list[str] = Field(default_factory=list)
    environment: Annotated[
        dict[EnvironmentName, str],
        Field(max_length=256, description="Variables that the function finds in its environment, and no other does."),
    ] = Field(default_factory=dict)
    secrets: Annotated[
        list[EnvironmentName],
        Field(max_length=64, description="Variables whose values whoever profiles, runs or deploys has in theirs."),
    ] = Field(default_factory=list)
    state: Annotated[
        Annotated[State, BeforeValidator(_state, json_schema_input_type=State | str)] | None,
        Field(description="The function is a class whose one object remembers: save() gives bytes, load() takes them."),
    ] = None
    split: Split | None = None
    dims: Annotated[
        dict[Name, _Dimension], Field(description="Buckets of the dimensions to which the model gives names only.")
    ] = Field(default_factory=dict)
    backends: list[Backend] | None = None
    batch: Annotated[Batch, BeforeValidator(_batch, json_schema_input_type=Batch | int)] | None = None
    at: Selector | None = None
    requires: list[str] = Field(default_factory=list)
    with_: list[str] = Field(default_factory=list, alias="with")
    apart_from: list[str] = Field(default_factory=list)
    standby: Annotated[
        Whole,
        Field(ge=0, le=16, description="Idle replicas, loaded, wherever it runs: they take over when others die."),
    ] = 0
    release: Annotated[
        bool, Field(description="What the component gives is no longer bound by an only_at of what it takes.")
    ] = False

    @model_validator(mode="after")
    def _one(self) -> Component:
        given = [k for k in ("model", "function", "api", "variants") if getattr(self, k)]
        if len(given) != 1:
            raise ValueError("expected exactly one of model, function, variants and api")
        _reads_of_a_model(self)
        if self.batch is not None and not self.is_models:
            raise ValueError("batch belongs to a model: a function or hosted API takes one request at a time")
        if self.dims and not self.is_models:
            raise ValueError("dims belongs to a model: a function or hosted API takes values of any length")
        self._environment_of_functions()
        self._state_of_a_function()
        return self

    def _state_of_a_function(self) -> None:
        if self.state is None:
            return
        if self.function is None:
            raise ValueError("state belongs to a function: a model remembers nothing, and variants would share nothing")
        if self.at is None:
            raise ValueError("a component that keeps state is pinned: say where with at, as in at: {tier: cloud}")
        if self.standby:
            raise ValueError("expected no standby beside state: it would remember something else")

    def _environment_of_functions(self) -> None:
        if self.has_environment and not all(v.function for v in self.realisations.values()):
            raise ValueError("environment and secrets belong to functions")
        twice = {*self.environment} & {*self.secrets} | {s for s in self.secrets if self.secrets.count(s) > 1}
        if twice:
            raise ValueError(f"the variable {min(twice)} is given twice in environment and secrets")
        if any("\0" in value for value in self.environment.values()):
            raise ValueError("expected no zero byte in the environment")

    @property
    def state_size(self) -> float | None:
        """Bytes of its state at most; None where it keeps none."""
        return self.state.size if self.state is not None else None

    @property
    def is_models(self) -> bool:
        """Whether all its variants are run as models."""
        return all(v.is_model for v in self.realisations.values())

    @property
    def secret_names(self) -> tuple[str, ...]:
        """Of its functions, and the token of a hosted API."""
        tokens = (v.api.token for v in self.realisations.values() if v.api is not None)
        return (*self.secrets, *dict.fromkeys(t for t in tokens if t is not None))

    @property
    def has_environment(self) -> bool:
        """Whether its functions have an environment of their own, and so a process."""
        return bool(self.environment or self.secrets)

    @field_validator("per")
    @classmethod
    def _per_form(cls, text: str | None) -> str | None:
        return text if text is None else _reference(text)

    @property
    def realisations(self) -> dict[str, Variant]:
        """Every variant by name; a component without variants has one, called ``default``."""
        only = Variant.model_construct(model=self.model, reads=self.reads, function=self.function, api=self.api)
        return self.variants or {DEFAULT_VARIANT: only}

    @property
    def dimension(self) -> tuple[str, Dimension] | None:
        """The named dimension of its models that has buckets, where there is one; `specs.support` refuses several."""
        return next(iter(self.dims.items()), None)

    @property
    def cut_anywhere(self) -> bool:
        """Whether its models may be cut where that is found to be worth it, not only where the user says."""
        return self.split == "allowed" or isinstance(self.split, Anywhere)

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """What may encode tensors at its models' cuts, in the user's order; ``none`` is one of them."""
        return tuple(self.split.codec) if isinstance(self.split, Cuts | Anywhere) else PLAIN

    @property
    def encodings(self) -> tuple[Codec, ...]:
        """Of its codecs, those that change what crosses."""
        return tuple(codec for codec in self.codecs if codec != "none")

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """How many requests may be run at once, from one on."""
        return (1, *(self.batch.sizes if self.batch else ()))


class Sink(Spec):
    """Where answers go: back to the site that asked (``origin``), or to the sites that match."""

    at: Literal["origin"] | Selector
    inputs: Inputs


class Dataset(Spec):
    """JSON lines: each a request's values by name (files by path), and its label.

    `source` says whose requests they are; without it, each is of the source whose values it names.
    """

    file: str
    label: str | None = None
    source: str | None = None


class OverBranch(Spec):
    """Only the requests in which component `when` ran: the name of a component, not of the value that gates it."""

    when: str


class PathConstraint(Spec):
    """A limit on percentiles of the time from a source to a sink (or to a component's end)."""

    from_: str = Field(alias="from")
    to: str
    p50: Duration | None = None
    p95: Duration | None = None
    p99: Duration | None = None
    over: Literal["all"] | OverBranch = "all"

    @model_validator(mode="after")
    def _some(self) -> PathConstraint:
        if not self.limits:
            raise ValueError("expected at least one of p50, p95 and p99")
        if any(limit <= 0 for limit in self.limits.values()):
            raise ValueError("expected a limit above zero")
        return self

    @property
    def limits(self) -> dict[float, float]:
        """Limits in seconds by quantile (0.5, 0.95, 0.99)."""
        named = {0.5: self.p50, 0.95: self.p95, 0.99: self.p99}
        return {q: limit for q, limit in named.items() if limit is not None}

    @property
    def about(self) -> str:
        """The requests that it is about: ``all``, or the component that they run."""
        return "all" if self.over == "all" else self.over.when


class ShareConstraint(Spec):
    """The share of the requests to a sink that must be answered before they are given up (`Application.deadline`)."""

    from_: str = Field(alias="from")
    to: str
    share: AtLeastShare

    @field_validator("share")
    @classmethod
    def _not_all(cls, share: float) -> float:
        if share >= 1:
            raise ValueError("expected less than 100 %: no time is certain to be kept by all requests")
        return share

    @property
    def path(self) -> PathConstraint:
        """The path that it speaks of, without limits."""
        return PathConstraint.model_construct(from_=self.from_, to=self.to, over="all")


class CostConstraint(Spec):
    cost: AtMostPrice


class AccuracyConstraint(Spec):
    accuracy: AtLeastShare
    on: str


class ResidencyConstraint(Spec):
    """`value` and all that is derived from it stays at sites that match.

    It covers every component that takes the value or something derived from it, what those gate, and the sinks that
    they lead to. A component with ``release: true`` is bound itself, but its outputs are free.
    """

    value: str
    only_at: Selector


class ThroughputConstraint(Spec):
    """The rate of one member of a source that no queue may stop: each is at most 90 % busy if all come so often.

    `from` may be left out where there is one source. Latency is promised for the source's peak all the same.
    """

    throughput: AtLeastRate
    from_: str | None = Field(default=None, alias="from")


class EnergyConstraint(Spec):
    """Electricity of all devices that the plan uses, owned ones too."""

    energy: AtMostEnergy


class MemoryConstraint(Spec):
    """Memory of all replicas at one member of a site, at each site that `at` matches (everywhere without it)."""

    memory: AtMostSize
    at: Selector | None = None


def _constraint_kind(value: Any) -> str | None:
    keys = set(value) if isinstance(value, dict) else {type(value).__name__}
    for key in ("share", "cost", "accuracy", "only_at", "throughput", "energy", "memory"):
        if key in keys:
            return key
    if keys & {"p50", "p95", "p99", "from", "to", "over"}:
        return "path"
    return _KINDS.get(next(iter(keys), ""))


_KINDS = {
    "PathConstraint": "path",
    "ShareConstraint": "share",
    "CostConstraint": "cost",
    "AccuracyConstraint": "accuracy",
    "ResidencyConstraint": "only_at",
    "ThroughputConstraint": "throughput",
    "EnergyConstraint": "energy",
    "MemoryConstraint": "memory",
}

Constraint = Annotated[
    Annotated[PathConstraint, Tag("path")]
    | Annotated[ShareConstraint, Tag("share")]
    | Annotated[CostConstraint, Tag("cost")]
    | Annotated[AccuracyConstraint, Tag("accuracy")]
    | Annotated[ResidencyConstraint, Tag("only_at")]
    | Annotated[ThroughputConstraint, Tag("throughput")]
    | Annotated[EnergyConstraint, Tag("energy")]
    | Annotated[MemoryConstraint, Tag("memory")],
    Discriminator(_constraint_kind),
]


class LatencyObjective(Spec):
    """The mean time over the path of the named path constraint."""

    latency: str


_WORDS: Final = ("cost", "energy", "accuracy", "throughput")


def _term(value: object) -> object:
    if not isinstance(value, str) or value in _WORDS:
        return value
    close = get_close_matches(value, _WORDS, n=1, cutoff=SIMILAR)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"expected cost, energy, accuracy, throughput or {{latency: CONSTRAINT}}, got {value!r}{meant}")


ObjectiveTerm = Annotated[
    Literal["cost", "energy", "accuracy", "throughput"] | LatencyObjective, BeforeValidator(_term)
]


def _objective(value: object) -> object:
    return value if isinstance(value, list) else [value]


class Application(Spec):
    """A DAG of components between sources and sinks, its constraints and its objective."""

    schema_: Literal["tierplan.app/v1"] = Field(alias="schema")
    name: Name
    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    components: Annotated[dict[Name, Component], Field(min_length=1)]
    sinks: Annotated[dict[Name, Sink], Field(min_length=1)]
    data: dict[Name, Dataset] = Field(default_factory=dict)
    constraints: dict[Name, Constraint] = Field(default_factory=dict)
    objective: Annotated[
        tuple[ObjectiveTerm, ...],
        BeforeValidator(_objective, json_schema_input_type=list[ObjectiveTerm] | ObjectiveTerm),
        Field(min_length=1),
    ] = ("cost",)

    @property
    def deadline(self) -> float:
        """Seconds after which a request is given up in runs and simulations, where it is not said otherwise."""
        paths = (c for c in self.constraints.values() if isinstance(c, PathConstraint))
        return deadline_of(limit for c in paths for limit in c.limits.values())

    def source_of(self, constraint: ThroughputConstraint) -> str:
        """The source whose rate is meant."""
        return constraint.from_ if constraint.from_ is not None else next(iter(self.sources))

    @property
    def has_traces(self) -> bool:
        """Whether requests of some source come as recorded."""
        return any(isinstance(source.arrivals, Trace) for source in self.sources.values())

    @property
    def asks_throughput(self) -> bool:
        """Whether a throughput is asked for, or as much as can be."""
        limited = any(isinstance(c, ThroughputConstraint) for c in self.constraints.values())
        return limited or "throughput" in self.objective

    @property
    def asks_energy(self) -> bool:
        """Whether energy is limited or an objective."""
        limited = any(isinstance(c, EnergyConstraint) for c in self.constraints.values())
        return limited or "energy" in self.objective
