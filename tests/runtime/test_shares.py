"""What a run says of the share of requests that were answered, from the client's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.hosting.request import Entry, Status
from runtime.reference.pipeline import Outcome
from runtime.running.measured import shares
from specs.load import load_application
from tests.runtime.sample import copy_project

LIMIT = 'constraints:\n  most: {from: upload, to: answer, share: ">= 90 %"}\n'
OUTCOMES = {("upload@phones", item): Outcome({"answer": {}} if item else {}, (), {}) for item in (0, 1)}


def log(**counts: int) -> list[Entry]:
    """Entries of item 1, whose requests come to the sink, by status."""
    return [
        Entry(f"{status}/{i}", "upload@phones", 1, True, 0.0, 1.0, status=_status(status))
        for status, count in counts.items()
        for i in range(count)
    ]


def _status(text: str) -> Status:
    found: dict[str, Status] = {"answered": "answered", "failed": "failed", "refused": "refused", "lost": "lost"}
    return found[text]


@pytest.mark.parametrize(
    ("counts", "unheard", "value", "verdict"),
    [
        ({"answered": 400}, 0, 1.0, "kept"),
        ({"answered": 300, "failed": 60, "refused": 30, "lost": 10}, 0, 0.75, "missed"),
        ({"answered": 9, "failed": 1}, 0, 0.9, "not certain"),
        ({"answered": 300}, 100, 0.75, "missed"),  # of a host that died with its log
    ],
)
def test_whatever_was_not_answered_counts_against_the_share(
    tmp_path: Path, counts: dict[str, int], unheard: int, value: float, verdict: str
) -> None:
    project = copy_project(tmp_path)
    text = (project / "app.yaml").read_text("utf-8")
    (project / "app.yaml").write_text(
        text.replace("constraints:\n", LIMIT, 1) if "constraints:" in text else text + LIMIT
    )
    app = load_application(project / "app.yaml").value
    elsewhere = Entry("other", "upload@phones", 0, True, 0.0, 1.0, status="failed")  # never comes to the sink
    (found,) = shares([*log(**counts), elsewhere], OUTCOMES, app, unheard)
    assert (found.name, found.n, found.limit) == ("most", sum(counts.values()) + unheard, 0.9)
    assert found.value == pytest.approx(value)
    assert found.verdict == verdict
    assert found.low <= found.value <= found.high
