"""What each verb answers with ``--format json``: versioned, with a JSON Schema by `planner schema`."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from specs.base import Spec
from specs.conversion import Conversion
from specs.deployment_status import DeploymentStatus
from specs.diff import DiffResult
from specs.emulation_status import EmulationStatus
from specs.errors import Issue
from specs.export import ExportResult
from specs.hub import ArchiveResult, CatalogueResult, CoverageResult, GcResult, HubResult
from specs.plan import Conflict, Relaxation
from specs.profile import Record
from specs.quantities import Money, Number
from specs.replan import ReplanResult


class Located(Spec):
    """One issue: where, what, and the way out. `line` and `column` count from 1; 0 is not known."""

    file: str = ""
    line: int = 0
    column: int = 0
    message: str
    hint: str = ""


def located(issue: Issue) -> Located:
    """`issue` as a value for programs."""
    place = issue.place
    if place is None:
        return Located(message=issue.message, hint=issue.hint)
    return Located(file=place.file, line=place.line, column=place.column, message=issue.message, hint=issue.hint)


class ErrorResult(Spec):
    """Any verb that ends without a result: its exit code, and every issue."""

    schema_: Literal["tierplan.error/v1"] = Field(alias="schema", default="tierplan.error/v1")
    exit_code: int
    issues: tuple[Located, ...]


class ValidateResult(Spec):
    """`planner validate`: whether the files are right, and every issue if not.

    `elsewhere` names the hardware that this machine neither is nor may stand for, `lent` that whose devices a tracker
    lends; `unconverted` are models whose inputs and outputs nobody knows before `planner profile`, and so not checked.
    """

    schema_: Literal["tierplan.validate/v1"] = Field(alias="schema", default="tierplan.validate/v1")
    ok: bool
    application: str = ""
    components: int = 0
    models: int = 0
    sites: int = 0
    constraints: int = 0
    elsewhere: tuple[str, ...] = ()
    lent: tuple[str, ...] = ()
    unconverted: tuple[str, ...] = ()
    issues: tuple[Located, ...] = ()


class InitResult(Spec):
    """`planner init`: the files written."""

    schema_: Literal["tierplan.init/v1"] = Field(alias="schema", default="tierplan.init/v1")
    folder: str
    files: tuple[str, ...]


class ProfileResult(Spec):
    """`planner profile APP`: what was measured and estimated now, and what stood already.

    `conversions` says how models of other libraries became ONNX, by COMPONENT/VARIANT.
    """

    schema_: Literal["tierplan.profiling/v1"] = Field(alias="schema", default="tierplan.profiling/v1")
    folder: str
    measured: int
    kept: int
    estimated: int = 0
    records: tuple[Record, ...]
    behaviours: int
    hops: int
    problems: tuple[str, ...] = ()
    conversions: dict[str, Conversion] = Field(default_factory=dict)
    seconds: Number


class ModelRow(Spec):
    """A model with one backend and number of threads. Milliseconds, bytes.

    `disturbed` says by what it was while it was measured. `device` is the key of one that a tracker lent and where that
    was; empty for this machine. No `compile_seconds` where it was cached, no `p99_ms` where there were too few runs for
    it.
    """

    backend: str
    threads: int
    p50_ms: Number
    p99_ms: Number | None = None
    per_second: Number
    spread_ms: Number
    memory: Number
    compile_seconds: Number | None = None
    fallback: tuple[str, ...] = ()
    tuned: bool = False
    disturbed: str = ""
    device: str = ""


class EstimateRow(Spec):
    """A model on one entry of the catalogue that was not measured, run in the fastest of the ways that were estimated.

    With 90 %, the median lies from `low_ms` to `high_ms`. `cost_per_1000` is in USD, of devices that are never idle.
    `fits`: in the device's memory.
    """

    name: str
    kind: str
    backend: str
    threads: int
    p50_ms: Number
    low_ms: Number
    high_ms: Number
    cost_per_1000: Number | None = None
    memory: Number
    fits: bool


class InterfaceChange(Spec):
    """An input or output that is new (`old` missing), gone (`new` missing), or of another type."""

    kind: Literal["input", "output"]
    name: str
    old: str | None = None
    new: str | None = None


class TimeChange(Spec):
    """Medians in milliseconds; `ratio` is new/old. `beyond_spread`: by more than both drifted while measuring."""

    backend: str
    threads: int
    old_ms: Number
    new_ms: Number
    ratio: Number
    beyond_spread: bool


class ModelComparison(Spec):
    """A model against its previous version `model`. `compatible`: what calls the old one can call the new one."""

    model: str
    old_bytes: int
    new_bytes: int
    interface: tuple[InterfaceChange, ...]
    compatible: bool
    times: tuple[TimeChange, ...]


class ModelLack(Spec):
    """A backend and number of threads that could not be measured, and why. `device` is the key of one that is lent."""

    backend: str
    threads: int
    reason: str
    device: str = ""


class ModelProfile(Spec):
    """`planner profile MODEL`: what the model costs on this machine, on random inputs, and elsewhere by estimate.

    `conversion` says how it became ONNX, where it was none.
    """

    schema_: Literal["tierplan.model-profile/v1"] = Field(alias="schema", default="tierplan.model-profile/v1")
    model: str
    host: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    data: Literal["random"] = "random"
    bytes: int
    rows: tuple[ModelRow, ...]
    against: ModelComparison | None = None
    lacking: tuple[ModelLack, ...] = ()
    estimates: tuple[EstimateRow, ...] = ()
    conversion: Conversion | None = None


class VerifyRow(Spec):
    """One claim of the plan, computed a second way.

    `rule` says what makes it true. Where it is ``at most`` or ``at least``, `claimed` is the limit; where it is
    ``holds``, both are 1 or 0. `note` says why figures may differ where that is by design.
    """

    subject: str
    name: str
    rule: Literal["holds", "equal", "at most", "at least", "close"]
    claimed: Number
    recomputed: Number
    ok: bool
    note: str = ""


class VerifyResult(Spec):
    """`planner verify`: every claim of the plan, computed without the solver's model."""

    schema_: Literal["tierplan.verify/v1"] = Field(alias="schema", default="tierplan.verify/v1")
    plan: str
    ok: bool
    checks: tuple[VerifyRow, ...]


class CompileResult(Spec):
    """`planner compile`: the bundle written."""

    schema_: Literal["tierplan.compile/v1"] = Field(alias="schema", default="tierplan.compile/v1")
    bundle: str
    plan: str
    artefacts: int
    compiled: int
    files: int
    bytes: int


class TunedOperator(Spec):
    """An operator with its shapes: its `share` of the measured time before; `choice`, in words, and its time over that
    before where it was given another one."""

    workload: str
    share: Number
    choice: str | None = None
    ratio: Number | None = None


class TuningRow(Spec):
    """A search for better schedules of one artefact, called `name`; `problem` says why there was none.

    `ratio` is the model's time over that before the search, None where nothing was taken. `known` choices were tried
    before, `tried` now in `rounds`, `left` are yet to be tried. `noise` is by which share the model differs from
    itself.
    """

    name: str
    threads: int
    batch: int = 1
    problem: str = ""
    ratio: Number | None = None
    before_ms: Number | None = None
    after_ms: Number | None = None
    choices: int = 0
    rounds: int = 0
    tried: int = 0
    known: int = 0
    left: int = 0
    noise: Number = 0
    seconds: Number = 0
    operators: tuple[TunedOperator, ...] = ()


class TuningResult(Spec):
    """`planner compile PLAN --tune`: what was found; `bundle` is None where the plan's artefacts are others now."""

    schema_: Literal["tierplan.tuned/v1"] = Field(alias="schema", default="tierplan.tuned/v1")
    plan: str
    rows: tuple[TuningRow, ...]
    bundle: str | None


class CrossRow(Spec):
    """A model for one target: what the artefact was found to hold, or why there is none; `tuned` is the number of its
    operators whose schedules were found by measuring, `tuning` what was searched now."""

    target: str
    artefact: str = ""
    files: tuple[str, ...] = ()
    bytes: int = 0
    found: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    winograd: tuple[str, ...] = ()
    tuned: int = 0
    tuning: TuningRow | None = None
    problem: str = ""


class CrossResult(Spec):
    """`planner compile MODEL`: an artefact for each target."""

    schema_: Literal["tierplan.artefacts/v1"] = Field(alias="schema", default="tierplan.artefacts/v1")
    model: str
    threads: int
    rows: tuple[CrossRow, ...]


class ReportResult(Spec):
    """`planner report`: the page written."""

    schema_: Literal["tierplan.report/v1"] = Field(alias="schema", default="tierplan.report/v1")
    file: str
    plan: str
    run: bool
    bytes: int


class UndeployResult(Spec):
    """`planner undeploy`: whether there was anything to end."""

    schema_: Literal["tierplan.undeploy/v1"] = Field(alias="schema", default="tierplan.undeploy/v1")
    name: str
    was_deployed: bool


class EmulateDownResult(Spec):
    """`planner emulate down`: whether there was anything to end, and how many processes of it were ended."""

    schema_: Literal["tierplan.emulate-down/v1"] = Field(alias="schema", default="tierplan.emulate-down/v1")
    was_up: bool
    processes: int


class ExplainCandidate(Spec):
    """One way for a component. `prices` is what choosing it adds to each objective; none where it has no plan.

    `forbidden_by` names the constraints that cannot hold with it; none where it has no option at all, and then
    `no_way_for` the flows whose messages find no route to it.
    """

    component: str
    kind: Literal["site", "variant", "backend", "split"]
    choice: str
    status: Literal["chosen", "possible", "infeasible", "unknown"]
    prices: tuple[Number, ...] = ()
    forbidden_by: tuple[str, ...] = ()
    no_way_for: tuple[str, ...] = ()


class ExplainGain(Spec):
    """How much looser a limit must be (in its unit) before the first objective changes, and by how much."""

    by: Number
    difference: Number


class ExplainWorth(Spec):
    """What changing a limit by `step` does to the first objective; no `tighter` where that leaves no plan."""

    name: str
    unit: str
    limit: Number
    step: Number
    binding: bool
    looser: Number
    tighter: Number | None = None
    next_gain: ExplainGain | None = None


class ExplainPart(Spec):
    """A stage or transfer on the critical path of a constraint: mean ms, and its part of the path's mean."""

    constraint: str
    flow: str
    name: str
    kind: str
    site: str
    wait_ms: Number
    service_ms: Number
    part: Number


class ExplainResult(Spec):
    """`planner explain`: what was rejected and why, what limits are worth, and the critical path.

    Where there is no plan: every conflict that is independent of the others, and what would be enough.
    """

    schema_: Literal["tierplan.explain/v1"] = Field(alias="schema", default="tierplan.explain/v1")
    plan: str
    objectives: tuple[str, ...]
    candidates: tuple[ExplainCandidate, ...]
    constraints: tuple[ExplainWorth, ...]
    critical_path: tuple[ExplainPart, ...]
    complete: bool
    conflicts: tuple[tuple[Conflict, ...], ...] = ()
    relaxations: tuple[Relaxation, ...] = ()


class ParetoPoint(Spec):
    """A plan that no other beats on all axes. `changes` make it: `planner solve --set` for each.

    `devices` says how many of each pool there are at each member of its site.
    """

    latency_ms: Number
    per_month: Money
    accuracy: Number | None = None
    keeps_limits: bool
    places: dict[str, str]
    devices: dict[str, int] = Field(default_factory=dict)
    changes: tuple[str, ...]


class ParetoResult(Spec):
    """`planner pareto`: the front, complete to `step_ms` of latency where `complete`."""

    schema_: Literal["tierplan.pareto/v1"] = Field(alias="schema", default="tierplan.pareto/v1")
    application: str
    axes: tuple[str, ...]
    latency: str
    currency: str
    step_ms: Number | None = None
    complete: bool
    points: tuple[ParetoPoint, ...]


class SensitivityRange(Spec):
    """The plan stays optimal from `low` to `high`; absent where it does as far as was tried (a factor of 4)."""

    name: str
    kind: Literal["rate", "price", "electricity", "power", "bandwidth", "egress", "delay", "service time"]
    unit: str
    value: Number
    low: Number | None = None
    high: Number | None = None


class SensitivityRegret(Spec):
    """If profiles are off: the first objective of the plan's placement and of the best, and the difference.

    `missed` says by how many ms path limits are missed where the placement has no plan.
    """

    case: str
    planned: Number | None = None
    best: Number | None = None
    regret: Number | None = None
    missed: dict[str, Number] = Field(default_factory=dict)


class SensitivityResult(Spec):
    """`planner sensitivity`: how far inputs may change before another plan is better, and what wrong profiles cost."""

    schema_: Literal["tierplan.sensitivity/v1"] = Field(alias="schema", default="tierplan.sensitivity/v1")
    plan: str
    objective: str
    step: Number
    off: Number
    ranges: tuple[SensitivityRange, ...]
    regrets: tuple[SensitivityRegret, ...]
    worst_regret: Number | None = None
    complete: bool


MODELS: Final[dict[str, type[Spec]]] = {
    "error": ErrorResult,
    "validate": ValidateResult,
    "init": InitResult,
    "profiling": ProfileResult,
    "model-profile": ModelProfile,
    "verify": VerifyResult,
    "diff": DiffResult,
    "replan": ReplanResult,
    "export": ExportResult,
    "compile": CompileResult,
    "artefacts": CrossResult,
    "hub": HubResult,
    "catalogue-list": CatalogueResult,
    "hub-gc": GcResult,
    "hub-archive": ArchiveResult,
    "coverage": CoverageResult,
    "report": ReportResult,
    "status": DeploymentStatus,
    "undeploy": UndeployResult,
    "emulation": EmulationStatus,
    "emulate-down": EmulateDownResult,
    "explain": ExplainResult,
    "pareto": ParetoResult,
    "sensitivity": SensitivityResult,
}
