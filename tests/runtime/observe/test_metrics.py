"""Metrics, and the dashboard and alerts that ask for them: names, units, and what their buckets can tell."""

from __future__ import annotations

import json
import math
import re
import urllib.request
from pathlib import Path
from typing import Any

import grafana_foundation_sdk.models.dashboard as grafana
import promql_parser
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from runtime.client import Client
from runtime.observe import catalogue
from runtime.observe.alerts import alerts, alerts_text
from runtime.observe.dashboard import dashboard, dashboard_text
from runtime.observe.metrics import buckets
from runtime.observe.promql import quantile
from specs.plan import PathPrediction, Percentiles, Plan, StagePrediction
from tests.runtime.ingress.doors import opened
from tests.runtime.sample import copy_project, make_bundle, make_items, make_plan

DOCS = Path(__file__).parents[3] / "docs"
PARTS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def percentiles(p50: float, p95: float, p99: float) -> Percentiles:
    return Percentiles(p50_ms=p50, p95_ms=p95, p99_ms=p99, mean_ms=p50)


def promising_plan(project: Path) -> Plan:
    """The sample's plan with a prediction for its path, a stage and a transfer."""
    path: dict[str, Any] = {"flow": "upload@phones", "from": "upload", "to": "answer", "over": "all"}
    times = percentiles(20, 40, 50)
    stage = {"wait": percentiles(1, 2, 3), "service": percentiles(4, 5, 6), "share": 1.0}
    return make_plan(project).model_copy(
        update={
            "paths": (PathPrediction.model_validate({**path, "predicted": times, "limit_ms": {"p99": 90.0}}),),
            "stages": (
                StagePrediction.model_validate({"name": "vision", "kind": "stage", "site": "bases", **stage}),
                StagePrediction.model_validate(
                    {"name": "shrink -> vision", "kind": "transfer", "site": "phones -> bases", **stage}
                ),
            ),
        }
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[Family]:
    """What a door exports after some requests."""
    folder = tmp_path_factory.mktemp("told")
    project = copy_project(folder)
    with opened(folder, bundle=make_bundle(folder, promising_plan(project), project)) as door:
        client = Client(door.endpoints.http, "sample")
        for item in make_items(5):
            client.infer(item.values)
        with urllib.request.urlopen(f"{door.endpoints.http}/metrics", timeout=10) as found:
            text = found.read().decode()
    return list(text_string_to_metric_families(text))


def exported(family: Family) -> str:
    return family.name + ("_total" if family.type == "counter" else "")


def test_what_is_exported_is_what_the_catalogue_says(told: list[Family]) -> None:
    """Names, kinds, texts and labels, of every metric; nothing else, and nothing without a value."""
    mine = {m.name: m for m in catalogue.ALL}
    assert {exported(f) for f in told} == set(mine)
    for family in told:
        metric = mine[exported(family)]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.samples, metric.name
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                assert set(sample.labels) - {"le"} == set(metric.labels)


def test_names_follow_the_conventions_of_prometheus() -> None:
    """As `promtool check metrics` has them: base units, _total for counters alone, no reserved suffix or label."""
    for metric in catalogue.ALL:
        assert re.fullmatch(r"tierplan_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not re.search(r"(_sum|_count|_bucket)$|milli|micro|_ms\b|minutes|percent", metric.name)
        assert not re.search("counter|gauge|histogram", metric.name)
        assert metric.help.endswith(".") or "; " in metric.help or ": " in metric.help
        assert not {"le", "quantile", "job", "instance"} & set(metric.labels)
        if metric.kind == "histogram":
            assert metric.name.endswith("_seconds")


def asked_for(query: str) -> set[str]:
    """The metrics in a query, which Prometheus' grammar must accept."""
    plain = query.replace("$__rate_interval", "5m").replace("${percentile:text}", "p99").replace("$percentile", "0.99")
    return set(re.findall(r"\btierplan_\w+", promql_parser.parse(plain).prettify()))


def there() -> set[str]:
    return {f"{m.name}{part}" for m in catalogue.ALL for part in PARTS[m.kind]}


def test_dashboard_and_alerts_ask_only_for_metrics_that_there_are_and_use_them_all() -> None:
    panels = {m for p in dashboard()["panels"] for t in p["targets"] for m in asked_for(t["expr"])}
    rules = [rule for group in alerts()["groups"] for rule in group["rules"]]
    alarms = {m for rule in rules for m in asked_for(rule["expr"])}
    assert panels <= there()
    assert alarms <= there()
    for metric in catalogue.ALL:
        assert any(name.startswith(metric.name) for name in panels | alarms), metric.name


def test_a_query_for_a_label_that_a_metric_lacks_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="has no label stage"):
        quantile("0.5", catalogue.LATENCY, ("stage",), "5m")


def test_grafana_reads_the_dashboard() -> None:
    """By the types that Grafana generates from its own schema; nothing is lost on the way."""
    read = grafana.Dashboard.from_json(dashboard())
    assert read.panels is not None
    assert [p.title for p in read.panels] == [p["title"] for p in dashboard()["panels"]]
    again = json.loads(json.dumps(read.to_json(), default=lambda o: o.to_json()))
    for mine, theirs in zip(dashboard()["panels"], again["panels"], strict=True):
        assert theirs["gridPos"] == mine["gridPos"]
        assert theirs["fieldConfig"]["defaults"].items() >= {"unit": mine["fieldConfig"]["defaults"]["unit"]}.items()
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard()["panels"]]
    assert len(set(places)) == len(places)
    assert len({p["id"] for p in dashboard()["panels"]}) == len(places)


def test_alert_rules_have_the_form_of_a_rule_file() -> None:
    """The keys of Prometheus' rule file; templates use labels that the query keeps."""
    for group in alerts()["groups"]:
        assert set(group) == {"name", "rules"}
        for rule in group["rules"]:
            assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
            assert re.fullmatch(r"\d+m", rule["for"])
            assert rule["labels"]["severity"] in ("info", "warning", "critical")
            for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
                assert re.search(rf"by \([^)]*\b{label}\b", rule["expr"]) or label == "instance"
    assert len({g["name"] for g in alerts()["groups"]}) == 3


def test_the_files_in_docs_are_what_the_code_makes() -> None:
    """``python -m runtime.observe.dashboard`` writes them."""
    assert (DOCS / "grafana.json").read_text("utf-8") == dashboard_text()
    assert (DOCS / "alerts.yaml").read_text("utf-8") == alerts_text()
    assert yaml.safe_load(alerts_text()) == alerts()


def histogram_quantile(q: float, bounds: list[float], counts: list[float]) -> float:
    """As Prometheus interpolates: `counts` are cumulative, the last bound is infinite."""
    rank = q * counts[-1]
    place = next(i for i, count in enumerate(counts) if count >= rank)
    if bounds[place] == math.inf:
        return bounds[-2]
    low, before = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    return low + (bounds[place] - low) * (rank - before) / (counts[place] - before)


@settings(max_examples=200, deadline=None)
@given(
    seconds=st.lists(st.floats(1e-5, 20), min_size=1, max_size=60),
    promised=st.lists(st.floats(0.02, 9000), min_size=3, max_size=3).map(sorted),
    limit=st.floats(0.02, 9000),
    q=st.sampled_from([0.5, 0.95, 0.99]),
)
def test_an_alert_on_a_limit_does_not_depend_on_interpolation(
    seconds: list[float], promised: list[float], limit: float, q: float
) -> None:
    """The interpolated percentile is above a limit exactly where less than its share of requests is within it."""
    bounds = buckets([percentiles(*promised), {"p99": limit}])
    registry = CollectorRegistry()
    histogram = Histogram("h", "H.", buckets=bounds, registry=registry)
    for each in seconds:
        histogram.observe(each)
    samples = [s for f in registry.collect() for s in f.samples if s.name == "h_bucket"]
    interpolated = histogram_quantile(q, [float(s.labels["le"]) for s in samples], [s.value for s in samples])
    threshold = float(f"{limit / 1e3:.9g}")
    within = sum(each <= threshold for each in seconds)
    assert (interpolated > threshold) == (within < q * len(seconds))
