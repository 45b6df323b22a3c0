"""Measures behaviour: the reference pipeline on the application's data, for every combination of variants."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np

from runtime.reference.items import Item, ItemRef, read_items
from runtime.reference.pipeline import Memo, Outcome, Reference
from runtime.stages.codec import NotEncodable
from runtime.stages.work import Work
from runtime.values import Value, equal, size
from specs.application import Application
from specs.behaviour import Accuracy, Behaviour, BranchPattern, Combination, PayloadSize
from specs.digest import digest_file
from specs.errors import InputError, Issue, Place
from specs.graph import Graph
from specs.load import Document
from specs.quantization import digest_realisation
from specs.statistics import wilson

QUANTILES: Final = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)

AGREEING: Final = 0.01
"""Of a number, and beside: answers are alike that differ by no more."""

OpenWork = Callable[[str, str], Work]
"""(component, variant) -> its work, the model whole."""
Choice = tuple[str, tuple[str, ...]]
"""Of a component: its variant, and what crosses its encoded cut (nothing where it has none)."""
OpenChain = Callable[[str, str, tuple[str, ...]], Sequence[Work]]
"""(component, *its choice) -> its work, or the two parts of its model."""
LeftOut = Callable[[Mapping[str, Choice], NotEncodable], None]
"""(a choice of every component, why it cannot be had)."""


def measure_behaviour(
    app: Document[Application],
    open_work: OpenWork,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Behaviour]:
    """One Behaviour for each combination of variants. Raises as `measure_choices` does."""
    whole = [{c: (v, ()) for c, v in variants.items()} for variants in _combinations(app.value)]
    return measure_choices(app, whole, lambda component, variant, _: [open_work(component, variant)], on_progress)


def measure_choices(
    app: Document[Application],
    choices: Sequence[Mapping[str, Choice]],
    open_chain: OpenChain,
    on_progress: Callable[[int, int], None] | None = None,
    on_left_out: LeftOut | None = None,
) -> Iterator[Behaviour]:
    """One Behaviour for each of `choices` (of every component), from all items of all the application's data.

    Each item goes through all combinations at once, and a component runs once for each different way its inputs came
    about. Payloads are those of the requests in which the value exists. `on_progress` gets (items done, all);
    `on_left_out` gets a choice with a codec that some item's tensors cannot be encoded with, and why.

    Raises InputError where there is no data, or an item or function is wrong.
    """
    spec = app.value
    refs = {name: read_items(spec, name, app.folder) for name in spec.data}
    total = sum(map(len, refs.values()))
    if not total:
        raise InputError(Issue("the application names no data to measure its behaviour on", app.place("data")))
    chains: dict[tuple[str, Choice], Sequence[Work]] = {}

    def reference(choice: Mapping[str, Choice]) -> Reference:
        for c, one in choice.items():
            if (c, one) not in chains:
                chains[c, one] = open_chain(c, *one)
        works = {c: chains[c, one] for c, one in choice.items()}
        return Reference(spec, works, {c: str(one) for c, one in choice.items()})

    trials = [
        _Trial(c, reference(c), reference(_plain(c)) if any(wire for _, wire in c.values()) else None, _Tally())
        for c in choices
    ]
    silent = set(spec.sources) - {ref.source for items in refs.values() for ref in items}
    if silent:
        raise InputError(Issue(f"there is no data for the source {min(silent)!r}", app.place("data")))
    done = 0
    for data, items in refs.items():
        sink = _labelled_sink(app, data)
        for ref in items:
            trials = _taken(ref, data, sink, trials, on_left_out)
            done += 1
            if on_progress:
                on_progress(done, total)
    inputs = {f"data:{name}": digest_file(app.folder / dataset.file) for name, dataset in spec.data.items()}
    sources = {f"{c}/{v}": digest_realisation(app, c, v) for c, s in spec.components.items() for v in s.realisations}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for trial in trials:
        tally = trial.tally
        variants = {c: variant for c, (variant, _) in trial.choice.items()}
        encoded = {c: wire for c, (_, wire) in trial.choice.items() if wire}
        used = {key: sources[key] for key in (f"{c}/{v}" for c, v in variants.items())}
        made = tally.behaviour(variants, total, {**inputs, **used}, now)
        if encoded:
            agreement = tuple(_accuracy(data, agreeing) for data, agreeing in tally.agreeing.items())
            made = made.model_copy(update={"encoded": encoded, "agreement": agreement})
        dims = [name for name, component in spec.components.items() if component.dims]
        yield made.model_copy(update={"lengths": {name: tally.shares(name) for name in dims}}) if dims else made


def _combinations(app: Application) -> list[dict[str, str]]:
    names = list(app.components)
    choices = [list(app.components[name].realisations) for name in names]
    return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*choices)]


def combination_of(choice: Mapping[str, Choice]) -> Combination:
    """How a Behaviour of this choice calls it."""
    variants = tuple(sorted((c, variant) for c, (variant, _) in choice.items()))
    return variants, tuple(sorted((c, wire) for c, (_, wire) in choice.items() if wire))


class _Labelled(NamedTuple):
    """What a label is compared with: an input of a sink, for requests of the sources that feed it."""

    sink: str
    input: str
    sources: frozenset[str]


def _labelled_sink(app: Document[Application], data: str) -> _Labelled | None:
    """What the label of `data` is compared with: the input of that name."""
    label = app.value.data[data].label
    if label is None:
        return None
    graph = Graph(app.value)
    for name, sink in app.value.sinks.items():
        if label in sink.inputs:
            return _Labelled(name, label, frozenset(s for s in app.value.sources if name in graph.descendants([s])))
    hint = "call a sink's input like the label"
    raise InputError(Issue(f"no sink has an input {label!r}", app.place("data", data, "label"), hint))


@dataclass(frozen=True, slots=True)
class _Trial:
    """One choice: its pipeline, the same with nothing encoded where it encodes something, and what they did so far."""

    choice: Mapping[str, Choice]
    reference: Reference
    plain: Reference | None
    tally: _Tally


def _taken(
    ref: ItemRef, data: str, labelled: _Labelled | None, trials: Sequence[_Trial], on_left_out: LeftOut | None
) -> list[_Trial]:
    """Those of `trials` that one item went through. Raises InputError for what is wrong with the item."""
    item = ref.read()
    memo: Memo = {}
    kept: list[_Trial] = []
    for trial in trials:
        try:
            _take(item, ref, data, labelled, trial, memo)
            kept.append(trial)
        except InputError as error:
            if on_left_out is not None and isinstance(error, NotEncodable):
                on_left_out(trial.choice, error)
                continue
            where = f"with the values of {ref.file}:{ref.line}"
            raise InputError(*(Issue(i.message, i.place, i.hint or where) for i in error.issues)) from error
    return kept


def _take(item: Item, ref: ItemRef, data: str, labelled: _Labelled | None, trial: _Trial, memo: Memo) -> None:
    outcome = trial.reference.run(item, memo)
    if trial.plain is not None:
        trial.tally.agree(data, _agrees(outcome, trial.plain.run(item, memo)))
    right = None
    if labelled is not None and item.source in labelled.sources:
        answer = outcome.answers.get(labelled.sink, {}).get(labelled.input)
        if answer is not None and not comparable(answer, ref.label):
            what = f"the label of {labelled.input} is {ref.label!r:.40}: expected {_kind(answer)}, like the answer"
            raise InputError(Issue(what, Place(str(ref.file), ref.line, 1)))
        right = answer is not None and is_right(answer, ref.label)
    trial.tally.add(item.source, outcome, data, right)


def _plain(choice: Mapping[str, Choice]) -> dict[str, Choice]:
    """The same variants with nothing encoded."""
    return {c: (variant, ()) for c, (variant, _) in choice.items()}


def _agrees(one: Outcome, other: Outcome) -> bool:
    """Whether two outcomes of one item answer alike."""
    if one.answers.keys() != other.answers.keys():
        return False
    return all(
        equal(value, other.answers[sink][key], AGREEING)
        for sink, found in one.answers.items()
        for key, value in found.items()
    )


def comparable(answer: Value, label: Any) -> bool:
    """Whether `label` is of the kind and size of `answer`: if not, every answer would count as wrong."""
    if isinstance(answer, bytes | str):
        return isinstance(answer, str) and isinstance(label, str)
    try:
        array = np.asarray(label)
    except ValueError:  # rows of different lengths
        return False
    return array.dtype.kind in "biuf" and array.size == answer.size


def _kind(answer: Value) -> str:
    if isinstance(answer, str):
        return "a string"
    if isinstance(answer, bytes):
        return "nothing, since bytes cannot be compared"
    return "a number" if answer.size == 1 else f"{answer.size} numbers"


def is_right(answer: Value, label: Any) -> bool:
    """Whether an answer is what the data's label says."""
    if isinstance(answer, bytes):
        return False
    if isinstance(answer, str):
        return bool(answer == label)
    return bool(np.array_equal(answer.reshape(-1), np.asarray(label).reshape(-1)))


class _Tally:
    """What one combination of variants did so far."""

    def __init__(self) -> None:
        self.patterns: Counter[tuple[str, tuple[str, ...], tuple[tuple[str, int], ...]]] = Counter()
        self.sizes: dict[str, list[int]] = {}
        self.right: dict[str, list[bool]] = {}
        self.agreeing: dict[str, list[bool]] = {}
        self.lengths: dict[str, Counter[int]] = {}

    def shares(self, component: str) -> dict[str, float]:
        """The share of a component's runs by how long its inputs were; nothing where it never ran."""
        found = self.lengths.get(component, Counter[int]())
        return {str(length): count / found.total() for length, count in sorted(found.items())}

    def agree(self, data: str, agrees: bool) -> None:
        self.agreeing.setdefault(data, []).append(agrees)

    def add(self, source: str, outcome: Outcome, data: str, right: bool | None) -> None:
        self.patterns[source, outcome.runs, tuple(outcome.items.items())] += 1
        for component, length in outcome.lengths.items():
            self.lengths.setdefault(component, Counter())[length] += 1
        for key, value in outcome.values.items():
            self.sizes.setdefault(key, []).append(size(value))
        if right is not None:
            self.right.setdefault(data, []).append(right)

    def behaviour(self, variants: dict[str, str], items: int, inputs: dict[str, str], now: str) -> Behaviour:
        patterns = sorted(self.patterns.items(), key=lambda entry: (-entry[1], entry[0]))
        of = Counter[str]()
        for (source, *_), n in patterns:
            of[source] += n
        return Behaviour(
            variants=variants,
            patterns=tuple(
                BranchPattern(source=source, runs=runs, items=dict(items) or None, probability=n / of[source], count=n)
                for (source, runs, items), n in patterns
            ),
            payloads={key: _payload(sizes) for key, sizes in self.sizes.items()},
            accuracy=tuple(_accuracy(data, right) for data, right in self.right.items()),
            items=items,
            inputs=inputs,
            measured_at=now,
        )


def _payload(sizes: Sequence[int]) -> PayloadSize:
    array = np.asarray(sizes, dtype=float)
    quantiles = {f"{q:g}": float(np.quantile(array, q)) for q in QUANTILES}
    return PayloadSize(
        mean=float(array.mean()), second=float((array**2).mean()), third=float((array**3).mean()), quantiles=quantiles
    )


def _accuracy(data: str, right: Sequence[bool]) -> Accuracy:
    low, high = wilson(sum(right), len(right))
    return Accuracy(data=data, value=sum(right) / len(right), low=low, high=high, n=len(right))
