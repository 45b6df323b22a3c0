"""Coverage against a reference that counts devices one by one, and each reason with the change that mends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.hub.coverage import Facts, coverage, judge, limit_of
from planner.hub.unit_cost import cost_per_1000, interval
from specs.application import Application
from specs.behaviour import Accuracy, Behaviour
from specs.infrastructure import Hardware, Infrastructure
from specs.profile import Distribution, Record
from specs.statistics import summarise

LIMIT = 0.1

APP = Application.model_validate(
    {
        "schema": "tierplan.app/v1",
        "name": "a",
        "sources": {"ask": {"at": {"tier": "edge"}, "rate": "1/s", "values": {"x": {"type": "f32[4]"}}}},
        "components": {
            "see": {
                "variants": {"large": {"model": "l.onnx"}, "small": {"model": "s.onnx"}},
                "inputs": {"x": "ask.x"},
                "outputs": {"y": "f32[4]"},
            },
            "aside": {"model": "a.onnx", "inputs": {"x": "ask.x"}, "outputs": {"z": "f32[4]"}},
        },
        "sinks": {"answer": {"at": "origin", "inputs": {"y": "see.y"}}},
        "constraints": {
            "fast": {"from": "ask", "to": "answer", "p99": "100 ms"},
            "slow": {"from": "ask", "to": "answer", "p50": "2 s"},
            "good": {"accuracy": ">= 0.9", "on": "held"},
        },
    }
)


def infrastructure(shares: Mapping[str, float], memory: str = "1 GB") -> Infrastructure:
    return Infrastructure.model_validate(
        {
            "schema": "tierplan.infra/v1",
            "hardware": {name: {"memory": memory} for name in shares} | {"server": {"cores": 2, "price": "0.36/h"}},
            "sites": {"s": {"tier": "edge", "pools": {"p": {"hardware": "server"}}}},
            "fleets": {"all": [{"hardware": name, "share": share} for name, share in shares.items()]},
        }
    )


def record(seconds: float, spread: float = 0.0, **other: Any) -> Record:
    latency = Distribution(
        mean=seconds,
        second=seconds**2,
        third=seconds**3,
        quantiles={"0.5": seconds, "0.99": seconds},
        n=100,
        spread=spread,
    )
    fields: dict[str, Any] = {
        "backend": "tvm",
        "threads": 1,
        "hardware": "h",
        "provenance": "measured",
        "memory": 1e6,
    } | other
    return Record(source="s", method="m", host="h", latency=latency, measured_at="2026-01-01", **fields)


def facts(
    infra: Infrastructure, records: Mapping[tuple[str, str], list[Record]], refused: str | None = None, **other: Any
) -> Facts:
    return Facts(other.get("app", APP), infra, records, other.get("behaviours", (GOOD,)), lambda *_: refused)


def behaviour(see: str, accuracy: float) -> Behaviour:
    found = Accuracy(data="held", value=accuracy, low=accuracy - 0.05, high=accuracy + 0.05, n=100)
    return Behaviour(
        variants={"see": see, "aside": "default"},
        patterns=(),
        payloads={},
        accuracy=(found,),
        items=100,
        inputs={},
        measured_at="2026-01-01",
    )


GOOD = behaviour("large", 0.95)


def test_the_tightest_limit_of_the_paths_through_a_component_holds() -> None:
    found = limit_of(APP, "see")
    assert found is not None
    assert (found.name, found.probability, found.seconds) == ("fast", 0.99, LIMIT)
    assert limit_of(APP, "aside") is None


@given(
    st.lists(
        st.tuples(st.integers(1, 20), st.floats(0.001, 0.3), st.floats(0, 0.1), st.booleans()), min_size=1, max_size=6
    )
)
def test_shares_are_those_of_counting_devices_one_by_one(parts: list[tuple[int, float, float, bool]]) -> None:
    total = sum(count for count, *_ in parts)
    shares = {f"h{i}": count / total for i, (count, *_) in enumerate(parts)}
    records = {
        ("see/large", f"h{i}"): [record(seconds, spread)]
        for i, (_, seconds, spread, known) in enumerate(parts)
        if known
    }
    rows = coverage(facts(infrastructure(shares), records), ["see"], ["large"])
    certain = possible = 0
    for count, seconds, spread, known in parts:
        low, high = interval(record(seconds, spread), 0.99) if known else (0.0, float("inf"))
        for _ in range(count):
            certain += high <= LIMIT
            possible += low <= LIMIT
    (row,) = rows
    assert row.certain == pytest.approx(certain / total, abs=1e-6)
    assert row.possible == pytest.approx(possible / total, abs=1e-6)
    assert sum(g.share for g in row.gaps) == pytest.approx(1 - row.certain, abs=1e-5)


def test_the_component_as_a_whole_takes_on_each_device_the_variant_that_fits() -> None:
    records = {
        ("see/large", "a"): [record(0.05)],
        ("see/small", "a"): [record(0.01)],
        ("see/large", "b"): [record(0.5)],
        ("see/small", "b"): [record(0.05)],
    }
    there = facts(infrastructure({"a": 0.6, "b": 0.4}), records, behaviours=(GOOD, behaviour("small", 0.9)))
    rows = coverage(there, ["see"])
    assert [(r.variant, r.certain) for r in rows] == [("large", 0.6), ("small", 1.0), ("", 1.0)]
    (gap,) = rows[0].gaps
    assert (gap.hardware, gap.change) == ("b", "use variant small there (accuracy 0.9, not 0.95)")
    assert gap.detail == "p99 of 500 ms, limit 100 ms: 5 times what is allowed"


def test_the_best_of_several_ways_to_run_counts() -> None:
    ways = [record(0.5), record(0.09, backend="onnxruntime"), record(0.02, memory=9e9)]
    found = judge(facts(infrastructure({"a": 1.0}), {("see/large", "a"): ways}), "see", "large", "a")
    assert (found.verdict, found.latency) == ("yes", (0.09, 0.09))


def test_memory_is_the_reason_where_no_way_to_run_fits_measured_there_or_elsewhere() -> None:
    infra = infrastructure({"a": 0.5, "b": 0.5}, memory="10 MB")
    there = facts(infra, {("see/large", "a"): [record(0.01, memory=12e6)]})
    for hardware in ("a", "b"):
        found = judge(there, "see", "large", hardware)
        assert (found.verdict, found.reason) == ("no", "memory")
        assert found.detail == "needs 12 MB, the device has 10 MB"


def test_an_operator_that_cannot_be_compiled_is_a_reason_and_other_hardware_the_change() -> None:
    records = {("see/large", "server"): [record(0.01)]}
    only_tvm = APP.components["see"].model_copy(update={"backends": ["tvm"]})
    app = APP.model_copy(update={"components": APP.components | {"see": only_tvm}})
    there = facts(infrastructure({"a": 1.0}), records, refused="TVM has no operator Odd", app=app)
    (row,) = coverage(there, ["see"], ["large"])
    (gap,) = row.gaps
    assert (gap.verdict, gap.reason, gap.detail) == ("no", "operator", "TVM has no operator Odd")
    assert gap.change == "run it on server: 0.0005 USD for 1,000 at full load, and the way there"


def test_a_variant_that_no_combination_makes_good_enough_fails_everywhere() -> None:
    records = {("see/small", "a"): [record(0.01)], ("see/large", "a"): [record(0.02)]}
    there = facts(infrastructure({"a": 1.0}), records, behaviours=[GOOD, behaviour("small", 0.8)])
    found = judge(there, "see", "small", "a")
    assert (found.verdict, found.reason) == ("no", "accuracy")
    assert judge(there, "see", "large", "a").verdict == "yes"


def test_an_accuracy_that_nobody_measured_is_never_certain() -> None:
    there = facts(infrastructure({"a": 1.0}), {("see/large", "a"): [record(0.02)]}, behaviours=[])
    found = judge(there, "see", "large", "a")
    assert (found.verdict, found.reason) == ("possible", "not measured")
    assert "accuracy" in found.detail


def test_an_operator_that_one_of_several_backends_lacks_leaves_it_possible() -> None:
    there = facts(infrastructure({"a": 1.0}), {}, refused="TVM has no operator Odd")
    found = judge(there, "see", "large", "a")
    assert (found.verdict, found.reason) == ("possible", "operator")


@given(st.integers(2, 300), st.floats(0.001, 0.3))
def test_a_sample_too_short_for_the_quantile_is_never_certain(n: int, seconds: float) -> None:
    sample = summarise([seconds] * n)
    short = record(seconds).model_copy(update={"latency": sample})
    found = judge(facts(infrastructure({"a": 1.0}), {("see/large", "a"): [short]}), "see", "large", "a")
    enough = n >= 100
    assert found.verdict == ("no" if seconds > LIMIT else "yes" if enough else "possible")
    if found.verdict == "no":
        assert found.detail.startswith("p99 of ")
        assert "times what is allowed" in found.detail


def test_an_estimate_counts_with_its_interval_and_without_one_proves_nothing() -> None:
    assert interval(record(0.1, provenance="estimated", interval=(0.5, 2.0)), 0.99) == (0.05, 0.2)
    assert interval(record(0.1, provenance="estimated"), 0.99) == (0.0, float("inf"))


def test_a_replica_pays_for_the_cores_it_reserves_or_for_the_device_while_it_runs() -> None:
    shared = Hardware.model_validate({"cores": 4, "price": "0.36/h"})
    single = Hardware.model_validate({"cores": 4, "price": "0.36/h", "sharing": "time"})
    assert cost_per_1000(record(0.1), shared, 0.36) == pytest.approx(1000 * 0.36 / 3600 * 0.1 / 4)
    assert cost_per_1000(record(0.1), single, 0.36) == pytest.approx(1000 * 0.36 / 3600 * 0.1)
    assert cost_per_1000(record(0.1), shared, 0.0) is None
