"""Tuned choices go through the verbs: profile measures them, plans name them, bundles hold them, and each says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from compiler.job import job
from compiler.store import Store
from compiler.tuning.records import as_tuned
from specs.choice import Choice
from specs.profile import read_records
from tests.cli.calling import planner
from tests.cli.conftest import APP
from tests.compiler.test_tuning import tuning_of

FILES = ("plan.yaml", "app.yaml", "--infra", "infra.yaml")


@pytest.mark.deep
def test_a_tuned_model_is_profiled_planned_and_shipped_as_such(project: Path) -> None:
    (project / "app.yaml").write_text(APP.replace("backends: [onnxruntime]", "backends: [tvm]"), "utf-8")
    asked, store = job(project / "judge.onnx", "tvm"), Store(project / ".tierplan" / "store")
    # Of a product with one row and two columns there is one tile, in two orders.
    choice = Choice(tile=(1, 1, 1), order="positions")
    tuning_of(asked, {"gemm data[1,4] other[4,2]": choice}, store)
    tuned = as_tuned(asked, store)
    assert tuned.key != asked.key
    for verb in (("profile", "app.yaml", *FILES[2:], "--budget", "0.05"), ("solve", "app.yaml", *FILES[2:])):
        done = planner(*verb, folder=project)
        assert done.code == 0, done.err
    of_model = [r for r in read_records(project / "profiles") if r.backend == "tvm"]
    assert {(r.artefact, r.tuned) for r in of_model} == {(tuned.key, True)}
    assert tuned.key in (project / "plan.yaml").read_text("utf-8")

    done = planner("compile", *FILES, folder=project)
    assert done.code == 0, done.err
    shipped = [json.loads(file.read_text("utf-8")) for file in (project / "bundle").rglob("artefact.json")]
    assert [each["tuned"] for each in shipped] == [{"gemm data[1,4] other[4,2]": choice.dump()}]

    shutil.rmtree(store.folder(tuned.key))
    done = planner("compile", *FILES, "--format", "json", "-o", "rebuilt", folder=project)
    assert done.code == 0, done.err
    assert json.loads(done.out)["compiled"] == 1  # of its record
    assert store.find(tuned.key) is not None

    done = planner("compile", *FILES, "--tune", "1s", "--format", "json", "-o", "again", folder=project)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["schema"] == "tierplan.tuned/v1"
    (row,) = result["rows"]
    assert row["rounds"] <= 1
    assert (project / "again").exists() == (row.get("ratio") is None) == ("bundle" in result)

    shutil.rmtree(store.root / "tuned")
    again = planner("compile", *FILES, folder=project)  # what was profiled is in the store, and the plan names it
    assert again.code == 0, again.err
    shutil.rmtree(store.root)
    refused = planner("compile", *FILES, folder=project)
    assert refused.code == 2
    assert "the compiler would now make another artefact than the one that was profiled" in refused.err
