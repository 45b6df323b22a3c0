"""The report: everything on one page, nothing fetched, every name escaped."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from planner.cli.report.context import stage_edges
from planner.cli.report.map import draw_map, link_ends
from planner.cli.report.page import Context, milliseconds, percent, render, size
from planner.cli.report.waterfall import draw_waterfall
from planner.units import units_of
from specs.application import Application
from specs.artefact import Segment
from specs.plan import Conflict, Relaxation, RelaxedLimit
from specs.yamlfile import parse_yaml
from tests.cli.samples import assignment, infeasible_plan, sample_plan, sample_run
from tests.specs.writing import APP, changed

HOSTILE = "<script>alert('x')</script>\"&"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CONTEXT = Context(
    tiers={"phones": "edge", "bases": "base_station", "frankfurt": "cloud"},
    members={"phones": 1200, "bases": 4, "frankfurt": 1},
    links={"lte": ("phones", "bases"), "backhaul": ("bases", "frankfurt")},
    emulation={"phone": 0.1, "micro": 0.25, "c2": 1.0},
)
CHAIN = (
    ("upload", "shrink"),
    ("shrink", "vision[..cut_a]"),
    ("vision[..cut_a]", "vision[cut_a..]"),
    ("upload", "tokens"),
    ("vision[cut_a..]", "tokens"),
    ("tokens", "language"),
    ("language", "decide"),
    ("vision[cut_a..]", "decide"),
    ("decide", "answer"),
)


def text_of(page: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page.split("<body>")[1]).split()))


def test_the_page_says_all_that_plan_and_run_say() -> None:
    plan = sample_plan()
    run = sample_run(plan)
    shown = text_of(render(plan, run, CONTEXT))
    for part in (
        "blog-upload optimal",
        "101.24 USD",
        "p99 latency 309 ms predicted, limit 600 ms",
        "p99 latency 334 ms measured over 300 requests",
        "300 of 300",
        "base_station · \u00d7 4",
        "vision[..cut_a]",
        "3 \u00d7 c2",
        "binding",
        "app.yaml:55",
        "frankfurt vm, 3 x c2",
        "Measured with vision large",
        "57.0 %",
        "emulated",
        "phone at 10.0 % of its speed",
        "links and slower CPUs shaped inside the application (no root)",
        plan.digest,
        run.prediction[:16],
        "gap 0 %",
    ):
        assert part in shown, part


def test_the_page_of_an_infeasible_plan_names_the_conflict() -> None:
    shown = text_of(render(infeasible_plan(), None))
    assert "infeasible" in shown
    assert "What cannot hold together" in shown
    assert "answer_time app.yaml:55" in shown
    assert "Where it runs" not in shown


def test_the_page_of_an_infeasible_plan_names_further_conflicts_and_what_would_be_enough() -> None:
    change = RelaxedLimit(name="budget", file="app.yaml", line=56, unit="", set="constraint.budget.cost=90 USD/month")
    further = ((Conflict(name="private", file="app.yaml", line=57),),)
    plan = infeasible_plan().model_copy(
        update={
            "further_conflicts": further,
            "relaxations": (Relaxation(changes=(change,), per_month=88.5, currency="USD"),),
        }
    )
    shown = text_of(render(plan, None))
    assert "but for what conflicts independently of them" in shown
    assert "Nor, independently of that: private app.yaml:57" in shown
    assert "Enough: --set 'constraint.budget.cost=90 USD/month' : a plan for 88.50 USD a month" in shown


def test_hostile_names_are_text() -> None:
    plan = sample_plan()
    first = plan.assignments[0].model_copy(update={"component": HOSTILE, "site": HOSTILE, "variant": HOSTILE})
    path = plan.paths[0].model_copy(update={"flow": f"{HOSTILE}@{HOSTILE}", "from_": HOSTILE})
    stages = (plan.stages[0].model_copy(update={"name": HOSTILE}), *plan.stages[1:])
    hostile = sample_plan(application=HOSTILE, assignments=(first, *plan.assignments[1:]), paths=(path,), stages=stages)
    page = render(hostile, sample_run(hostile), Context(tiers={HOSTILE: HOSTILE}, links={HOSTILE: (HOSTILE, "bases")}))
    assert "<script" not in page
    assert "alert(&#39;x&#39;)" in page


def test_the_page_asks_for_nothing() -> None:
    page = render(sample_plan(), sample_run(sample_plan()), CONTEXT)
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href|action|xlink:href)\s*=\s*["'](?!data:)""", page)
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page


def test_sites_stand_in_columns_by_their_distance() -> None:
    drawn = draw_map(sample_plan(), link_ends(sample_plan(), {}), {})
    assert [card.site for card in sorted(drawn.cards, key=lambda c: c.x)] == ["phones", "bases", "frankfurt"]
    assert [card.site for card in drawn.cards if card.origin] == ["phones"]
    assert {wire.name for wire in drawn.wires} == {"lte", "backhaul"}
    assert all(card.y >= 0 and card.y + card.height <= drawn.height for card in drawn.cards)
    assert all(box.y + 58 <= card.y + card.height for card in drawn.cards for box in card.boxes)


def test_what_stands_at_a_link_is_never_behind_a_site() -> None:
    """Two sites in one column too: their link goes round, and its label stands beside them, on the map."""
    joined = {"lte": ("phones", "bases"), "wifi": ("phones", "frankfurt"), "backhaul": ("bases", "frankfurt")}
    drawn = draw_map(sample_plan(), joined, {})
    beside = [wire for wire in drawn.wires if wire.beside]
    assert [wire.name for wire in beside] == ["backhaul"]
    for wire in drawn.wires:
        inside = [
            c.site for c in drawn.cards if c.x <= wire.label_x <= c.x + 252 and c.y <= wire.label_y <= c.y + c.height
        ]
        assert not inside, wire.name
        assert wire.label_x + (130 if wire.beside else 0) <= drawn.width


def test_the_load_of_what_links_share_stands_at_the_link() -> None:
    """A cell that is full is what is wrong, however idle each phone's own share of it is."""
    plan = sample_plan()
    own = next(load for load in plan.links if load.name == "lte")
    cell = own.model_copy(update={"name": "lte shared", "load": 0.954, "bytes_per_s": 11_900_000.0})
    plan = plan.model_copy(update={"links": (*plan.links, cell)})
    (wire,) = (w for w in draw_map(plan, {"lte": ("phones", "bases")}, {}).wires if w.name == "lte")
    assert wire.busiest == 0.954
    assert "95.4 % \u00b7 11.9 MB/s shared" in text_of(render(plan, None, CONTEXT))


def test_a_measured_accuracy_stands_in_the_headline_with_its_interval_and_limit() -> None:
    shown = text_of(render(sample_plan(), sample_run(sample_plan()), CONTEXT))
    expected = "accuracy 94.3 % measured on held_out, 91.1 % to 96.4 % at 95 %; planned 94.2 %; limit 94.0 %: too few"
    assert expected in shown
    assert "accuracy 94.2 % end to end on held_out, planned" in text_of(render(sample_plan(), None, CONTEXT))


def test_a_stage_begins_when_all_that_it_needs_is_there() -> None:
    plan = sample_plan()
    bars = {row.stage.name: row.predicted for row in draw_waterfall(plan, None, CHAIN).rows}
    assert bars["upload -> tokens"].start == 0
    assert bars["vision[..cut_a]"].start == pytest.approx(bars["shrink"].end)
    assert bars["vision[cut_a..]"].start == pytest.approx(bars["vision[..cut_a] -> vision[cut_a..]"].end)
    assert bars["tokens"].start == pytest.approx(max(bars["upload -> tokens"].end, bars["vision[cut_a..]"].end))
    assert bars["decide"].start == pytest.approx(bars["language -> decide"].end)


def test_without_the_application_stages_follow_one_another() -> None:
    rows = draw_waterfall(sample_plan(), sample_run(sample_plan())).rows
    for before, after in pairwise(rows):
        assert after.predicted.start == pytest.approx(before.predicted.end)
        assert before.measured is not None
        assert after.measured is not None
        assert after.measured.start == pytest.approx(before.measured.end)


def test_edges_of_stages_follow_the_segments_of_a_cut_model() -> None:
    app = Application.model_validate(parse_yaml(changed(APP, ("function: steps:embed", "model: m.onnx"))).value)
    plan = sample_plan(
        assignments=(
            assignment("embed", "bases", segment=Segment(begin=("mid",))),
            assignment("embed", "phones", segment=Segment(end=("mid",))),
            assignment("split", "phones"),
            assignment("decide", "phones"),
        )
    )
    edges = stage_edges(plan, app)
    assert ("split", "embed[..mid]") in edges
    assert ("embed[..mid]", "embed[mid..]") in edges
    assert ("embed[mid..]", "decide") in edges


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "0 ms"), (0.0123, "12.3 µs"), (1.5, "1.5 ms"), (12345.0, "12.3 s"), (334.4, "334 ms")]
)
def test_times_are_shown_in_the_unit_that_reads_best(value: float, expected: str) -> None:
    assert milliseconds(value) == expected


def test_shares_and_sizes_do_not_round_to_all_or_nothing() -> None:
    assert [percent(v) for v in (0.0, 1.0, 0.571, 0.99995)] == ["0 %", "100 %", "57.1 %", "99.995 %"]
    assert [size(v) for v in (12, 81_000, 5.7e6, 2e9)] == ["12 B", "81 kB", "5.7 MB", "2 GB"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed here")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_page_without_error_or_request(tmp_path: Path, scheme: str) -> None:
    """Rendered by a real browser that logs every request and every message of the console."""
    assert CHROMIUM is not None
    file = tmp_path / "report.html"
    file.write_text(render(sample_plan(), sample_run(sample_plan()), CONTEXT), "utf-8")
    picture, log = tmp_path / "page.png", tmp_path / "net.json"
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'user'}",
            f"--log-net-log={log}",
            f"--screenshot={picture}",
            "--window-size=1280,2600",
            *(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []),
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 50_000
    assert "CONSOLE" not in done.stderr, done.stderr
    # The page's policy forbids every request, and the browser reports a try on the console. What is left in its log of
    # the network are the browser's own requests to its maker.
    asked = re.findall(r'"url":"[a-z]+://([^/"]*)', log.read_text("utf-8"))
    makers = ("google.com", "googleapis.com", "gvt1.com", "gstatic.com")
    assert [host for host in asked if host and not host.partition(":")[0].endswith(makers)] == []


def test_what_keeps_state_is_named_and_not_said_to_equal_the_reference() -> None:
    plan = sample_plan()
    shown = text_of(render(plan, sample_run(plan), Context(remembers={"decide": 130e3})))
    assert shown.count("keeps state, up to 130 kB") == 1
    assert "each equal to the reference's answer, but for what depends on state" in shown
    assert "state" not in text_of(render(plan, sample_run(plan), CONTEXT))


def test_where_a_hosted_api_is_called_is_named() -> None:
    plan = sample_plan()
    shown = text_of(render(plan, None, Context(calls={"decide": "https://api.example.com/v2/models/m/infer"})))
    assert shown.count("calls https://api.example.com/v2/models/m/infer") == 1


def test_objectives_have_their_units_where_the_application_is_known() -> None:
    plan = sample_plan()
    page = render(plan, None, Context(units=("USD/month", "ms")))
    assert "Objective 101 USD/month, 171 ms; bound 101 USD/month, 171 ms" in page
    assert "Objective 101, 171; bound 101, 171" in render(plan, None)
    assert units_of(Application.model_validate(parse_yaml(APP).value), "EUR") == ("EUR/month", "ms")
