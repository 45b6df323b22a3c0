"""An application that fans out: each picture has 0 to 5 letters, each letter is classified, and kinds are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from runtime.bundle import Bundle
from tests.runtime.sample import copy_project, make_bundle, make_plan

APP: Final = """\
schema: tierplan.app/v1
name: sample
sources:
  upload:
    at: {tier: edge}
    rate: {mean: 1/s, peak: 20/s}
    values:
      photo: {type: bytes, size: {p50: 20 kB, p99: 40 kB}}
      caption: {type: string, size: {p50: 20 B, p99: 40 B}}
components:
  find:
    function: pictures.steps:find
    inputs: {caption: upload.caption}
    outputs: {letters: "i64[n,2]", scale: "i64[1]"}
  classify:
    per: find.letters
    function: pictures.steps:classify
    inputs: {letter: find.letters, scale: find.scale}
    outputs: {kind: "i64[1]"}
  check:
    per: classify.kind
    function: pictures.steps:check
    inputs: {kind: classify.kind, letter: find.letters}
    outputs: {good: bool}
  count:
    function: pictures.steps:count
    inputs: {kinds: classify.kind, good: check.good}
    outputs: {total: "i64[4]"}
sinks:
  answer: {at: origin, inputs: {total: count.total, kinds: classify.kind}}
constraints:
  time: {from: upload, to: answer, p99: 900 ms}
"""

STEPS: Final = '''

def find(caption: str) -> dict[str, Any]:
    """Every other letter is an item: its place and its number."""
    found = [(i, LETTERS.find(c) + 1) for i, c in enumerate(caption[:9]) if i % 2 and c != " "]
    return {"letters": np.array(found, np.int64).reshape(-1, 2), "scale": np.array([len(caption)], np.int64)}


def classify(letter: NDArray[np.int64], scale: NDArray[np.int64]) -> dict[str, Any]:
    """Later letters are done sooner, so that items end in another order than they begin."""
    time.sleep(0.003 if letter[0] < 4 else 0)
    return {"kind": (letter[1:] + scale) % 4}


def check(kind: NDArray[np.int64], letter: NDArray[np.int64]) -> dict[str, Any]:
    return {"good": bool((kind[0] + letter[0]) % 2)}


def count(kinds: NDArray[np.int64], good: NDArray[np.bool_]) -> dict[str, Any]:
    return {"total": np.bincount(kinds[good, 0], minlength=4)}
'''

PLACES: Final = {
    "find": ("phones", "soc"),
    "classify": ("bases", "rack"),
    "check": ("cloud", "vm"),
    "count": ("phones", "soc"),
}


def fan_out_project(folder: Path) -> Path:
    project = copy_project(folder)
    (project / "app.yaml").write_text(APP, "utf-8")
    steps = project / "pictures/steps.py"
    steps.write_text(steps.read_text("utf-8") + STEPS, "utf-8")
    return project


def fan_out_bundle(folder: Path, **changes: dict[str, object]) -> Bundle:
    project = fan_out_project(folder)
    return make_bundle(
        folder, make_plan(project, PLACES, classify={"replicas": 3, **changes.get("classify", {})}), project
    )


def by_hand(caption: str) -> tuple[list[int], list[int]]:
    """The kinds of all letters, and how often each kind was good."""
    letters = [(i, "abcdefghijklmnopqrstuvwxyz".find(c) + 1) for i, c in enumerate(caption[:9]) if i % 2 and c != " "]
    kinds = [(number + len(caption)) % 4 for _, number in letters]
    good = [kind for kind, (place, _) in zip(kinds, letters, strict=True) if (kind + place) % 2]
    return kinds, [good.count(kind) for kind in range(4)]
