"""`arrivals: {trace: FILE}` through the command: refused, solved, and replayed."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.cli.calling import planner

FILES = ("app.yaml", "--infra", "infra.yaml")


def traced(folder: Path, peak: str) -> None:
    """The project with ten requests a second in its first half minute, and one in the others."""
    draw, at, times = random.Random(1), 0.0, []
    while at < 300:
        at += draw.expovariate(10 if at < 30 else 1)
        times.append(at)
    (folder / "day.csv").write_text("time\n" + "".join(f"{t:.3f}\n" for t in times), "utf-8")
    had = (folder / "app.yaml").read_text("utf-8")
    if "arrivals" in had:
        (folder / "app.yaml").write_text(had.replace("peak: 2/s", f"peak: {peak}"), "utf-8")
        return
    lines = (folder / "app.yaml").read_text("utf-8").splitlines()
    (at_,) = [i for i, line in enumerate(lines) if line.strip().startswith("rate:")]
    lines[at_] = f"    rate: {{mean: 2/s, peak: {peak}}}\n    arrivals: {{trace: day.csv}}"
    (folder / "app.yaml").write_text("\n".join(lines) + "\n", "utf-8")


def test_a_trace_is_checked_planned_for_and_replayed(solved: Path) -> None:
    traced(solved, "2/s")
    for verb in ("validate", "solve"):
        called = planner(verb, *FILES, folder=solved)
        assert called.code == 2
        assert "the trace gets as dense as Poisson arrivals of " in called.err
        assert called.err.startswith("error: app.yaml:")
    traced(solved, "12/s")
    assert planner("validate", *FILES, folder=solved).code == 0
    called = planner("solve", *FILES, folder=solved)
    assert called.code == 0, called.err
    called = planner("simulate", "plan.yaml", *FILES, "--duration", "300s", "--format", "json", folder=solved)
    assert called.code == 0, called.err
    value = json.loads(called.out)
    assert value["arrivals"] == {"ask": "trace day.csv"}
    recorded = (solved / "day.csv").read_text("utf-8").splitlines()[1:]
    counted = [t for t in recorded if float(t) - float(recorded[0]) >= 15]  # the first twentieth is not
    assert abs(value["requests"]["sent"] - len(counted)) <= 2
    with (solved / "day.csv").open("a", encoding="utf-8") as file:
        file.write("301.0\n")
    called = planner("simulate", "plan.yaml", *FILES, folder=solved)
    assert called.code == 2
    assert "trace:ask" in called.err or "trace" in called.err
