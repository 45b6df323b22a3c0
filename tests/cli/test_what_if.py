"""`--set`: a plan of a what-if says so, is verified under the same what-if only, and is never shipped."""

from __future__ import annotations

from pathlib import Path

from specs.plan import read_plan
from tests.cli.calling import planner

FILES = ("app.yaml", "--infra", "infra.yaml")
WHAT_IF = ("--set", "link.radio.delay=80ms", "--set", "source.ask.rate.peak=8/s")


def test_a_what_if_is_solved_verified_and_not_shipped(solved: Path) -> None:
    called = planner("solve", *FILES, *WHAT_IF, "-o", "what.yaml", folder=solved)
    assert called.code == 0, called.err
    assert "what if: link.radio.delay=80ms" in called.out
    plain, other = read_plan(solved / "plan.yaml"), read_plan(solved / "what.yaml")
    assert other.inputs.changes == ("source.ask.rate.peak=8/s", "link.radio.delay=80ms")
    assert other.digest != plain.digest

    assert planner("verify", "what.yaml", *FILES, *WHAT_IF, folder=solved).code == 0
    called = planner("verify", "what.yaml", *FILES, folder=solved)
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert (
        "made with --set 'source.ask.rate.peak=8/s' --set 'link.radio.delay=80ms'; here there is no --set" in called.err
    )
    assert planner("verify", "plan.yaml", *FILES, *WHAT_IF, folder=solved).code == 2

    called = planner("compile", "what.yaml", *FILES, folder=solved)
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert "change the files and solve again" in called.err
    assert planner("report", "what.yaml", "--app", *FILES, folder=solved).code == 0


def test_a_what_if_that_names_nothing_is_refused(solved: Path) -> None:
    called = planner("solve", *FILES, "--set", "link.radoi.delay=80ms", folder=solved)
    assert called.code == 2
    assert "--set link.radoi.delay=80ms: links: unknown word 'radoi' (did you mean 'radio'?)" in called.err
