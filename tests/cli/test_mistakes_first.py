"""A mistake in a user's function, wherever it stands in the pipeline, shows before models are compiled or measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.artefact_folder import read_description
from tests.cli.calling import planner

FIRST = "def measure(text):\n"
LAST = """\

def word(verdict):
    return {"said": "yes"}
"""


def backends(project: Path) -> list[str]:
    """Of all that was built."""
    return [read_description(folder).backend for folder in (project / ".tierplan" / "store").glob("[!.]*")]


def change(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, "utf-8")


@pytest.mark.parametrize(
    ("component", "old", "new", "said"),
    [
        ("measure", FIRST, f"{FIRST}    raise KeyError('size')\n", "steps.py:5:1: measure: KeyError: 'size'"),
        ("measure", "dtype=np.float32", "dtype=np.int64", "features: expected f32[4], got i64"),
        ("word", '"said"', '"sad"', "word: expected a dictionary with ['said'], got the keys ['sad']"),
        ("word", '"yes"', '["yes"]', "word: said: expected string"),
    ],
)
def test_a_mistake_in_a_function_shows_before_anything_is_compiled(
    project: Path, component: str, old: str, new: str, said: str
) -> None:
    word = "  word: {function: steps:word, inputs: {verdict: judge.verdict}, outputs: {said: string}}\nsinks:"
    app = (
        ("    backends: [onnxruntime]\n", ""),
        ("sinks:", word),
        ("verdict: judge.verdict}}\ndata", "said: word.said}}\ndata"),
    )
    change(project / "app.yaml", *app)
    steps = project / "steps.py"
    steps.write_text(steps.read_text("utf-8") + LAST, "utf-8")
    change(steps, (old, new))
    called = planner("profile", "app.yaml", "--infra", "infra.yaml", folder=project)
    assert (called.code, called.out) == (2, "")
    assert said in called.err
    assert component in called.err
    assert "steps.py:" in called.err
    assert backends(project) == ["onnxruntime"]  # the reference alone: TVM was not asked yet
    assert not (project / "profiles" / "profiles.jsonl").exists()
