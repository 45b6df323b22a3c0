"""Classes that keep state, for tests: one counts, one fails where it is told to, and the sample with one in it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.runtime.sample import copy_project

COUNTER: Final = '''class Counter:
    """How many were asked, and the sum of what came."""

    def __init__(self):
        self.seen = self.total = 0

    def __call__(self, verdict):
        self.seen += 1
        self.total += int(verdict[0])
        return {"count": np.array([self.seen, self.total], np.int64)}

    def save(self):
        return f"{self.seen} {self.total}".encode()

    def load(self, saved):
        self.seen, self.total = map(int, saved.decode().split())


'''
COMPONENT: Final = """  counter:
    function: pictures.steps:Counter
    state: {size: 1 kB, every: 300 ms}
    at: {site: SITE}
    inputs: {verdict: decide.verdict}
    outputs: {count: "i64[2]"}
sinks:
  answer: {at: origin, inputs: {verdict: decide.verdict, count: counter.count}}
"""


def counting_project(folder: Path, site: str) -> Path:
    """The sample in `folder`, with a component at `site` that counts the verdicts."""
    old = "sinks:\n  answer: {at: origin, inputs: {verdict: decide.verdict}}\n"
    app, steps = (old, COMPONENT.replace("SITE", site)), ("def decide(", COUNTER + "def decide(")
    return copy_project(folder, app=app, steps=steps)
