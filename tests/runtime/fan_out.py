"""An application that fans out: each picture has 0 to 5 letters, each letter is classified, and kinds are counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from runtime.bundle import Bundle, write_bundle
from specs.artefact_folder import read_artefact
from specs.load import load_application, load_infrastructure
from tests.runtime.sample import assignment, copy_project, make_bundle, make_plan

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

BY_FUNCTION: Final = "    function: pictures.steps:classify\n"

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


def fan_out_project(folder: Path, model: str = "") -> Path:
    """With `model`, more lines of that component, letters are classified by one, classify.onnx."""
    project = copy_project(folder)
    app = APP.replace(BY_FUNCTION, "    model: classify.onnx\n" + model) if model else APP
    (project / "app.yaml").write_text(app, "utf-8")
    if model:
        save_classifier(project / "classify.onnx")
    steps = project / "pictures/steps.py"
    steps.write_text(steps.read_text("utf-8") + STEPS, "utf-8")
    return project


def fan_out_bundle(folder: Path, **changes: dict[str, object]) -> Bundle:
    project = fan_out_project(folder)
    return make_bundle(
        folder, make_plan(project, PLACES, classify={"replicas": 3, **changes.get("classify", {})}), project
    )


def save_classifier(file: Path) -> None:
    """What the function `classify` does, by way of a tensor ``sum``."""
    value, whole = helper.make_tensor_value_info, onnx.TensorProto.INT64
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["letter", "second"], ["number"], axis=1),
            helper.make_node("Add", ["number", "scale"], ["sum"]),
            helper.make_node("Mod", ["sum", "four"], ["kind"]),
        ],
        "classify",
        [value("letter", whole, ["N", 2]), value("scale", whole, ["N", 1])],
        [value("kind", whole, ["N", 1])],
        [
            numpy_helper.from_array(np.array([1], np.int64), "second"),
            numpy_helper.from_array(np.array(4, np.int64), "four"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))


def classified_by_models(project: Path, artefacts: Mapping[tuple[str, str], Path], **more: object) -> Bundle:
    """A bundle that classifies by the artefact at each (site, pool): the whole model's, or its segments'."""
    folders = {folder.name: folder for folder in artefacts.values()}
    stages = [
        assignment(
            "classify",
            *place,
            segment=read_artefact(folder).segment,
            backend="onnxruntime",
            artefact=folder.name,
            **more,  # type: ignore[arg-type]
        )
        for place, folder in artefacts.items()
    ]
    plan = make_plan(project, PLACES)
    others = (a for a in plan.assignments if a.component != "classify")
    plan = plan.model_copy(update={"assignments": (*others, *stages)})
    documents = load_application(project / "app.yaml"), load_infrastructure(project / "infra.yaml")
    return write_bundle(project.parent / "bundle", plan, *documents, lambda a: folders[a.artefact], {})


def by_hand(caption: str) -> tuple[list[int], list[int]]:
    """The kinds of all letters, and how often each kind was good."""
    letters = [(i, "abcdefghijklmnopqrstuvwxyz".find(c) + 1) for i, c in enumerate(caption[:9]) if i % 2 and c != " "]
    kinds = [(number + len(caption)) % 4 for _, number in letters]
    good = [kind for kind, (place, _) in zip(kinds, letters, strict=True) if (kind + place) % 2]
    return kinds, [good.count(kind) for kind in range(4)]
