"""`planner profile MODEL.onnx`: a table of what was measured, and of what was not and why."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from compiler.child import Limits
from planner.cli.profile import SHOWN_OF_KIND, fastest_of_kinds
from planner.cli.profiling.model import profile_model
from planner.cli.results import EstimateRow
from tests.cli.calling import planner
from tests.cli.conftest import judge


def ignore(_: str) -> None:
    pass


def relu(file: Path, *shape: int) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())


def test_a_backend_whose_check_takes_too_long_is_named_and_the_others_stay(tmp_path: Path) -> None:
    onnx.save(judge(), str(tmp_path / "judge.onnx"))
    told: list[str] = []
    result = profile_model(
        tmp_path / "judge.onnx", tmp_path / "store", 0.02, told.append, ignore, checking=Limits(seconds=0.01)
    )
    assert {row.backend for row in result.rows} == {"onnxruntime"}
    lacking = {lack.backend: lack.reason for lack in result.lacking}
    assert "tvm" in lacking
    assert all(reason.startswith("left out: ") and "no result within 0.01 s" in reason for reason in lacking.values())
    assert len(told) == len(result.lacking)


def test_of_the_catalogue_the_fastest_of_each_kind_are_shown_and_those_that_it_fits_on_first() -> None:
    rows = [estimate(f"{kind}-{n}", kind, fits=n != 1) for n in range(SHOWN_OF_KIND + 2) for kind in ("phone", "cloud")]
    shown = [row.name for row in fastest_of_kinds(rows)]
    assert shown == [f"{kind}-{n}" for n in (0, 2, 3) for kind in ("phone", "cloud")]
    assert fastest_of_kinds(rows[:4]) == rows[:4]


def estimate(name: str, kind: str, fits: bool) -> EstimateRow:
    return EstimateRow(
        name=name, kind=kind, backend="tvm", threads=1, p50_ms=1.0, low_ms=0.5, high_ms=2.0, memory=1e6, fits=fits
    )


def test_a_model_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    called = planner("profile", "none.onnx", folder=tmp_path)
    assert (called.code, called.out) == (2, "")
    assert called.err.startswith("error: none.onnx: cannot read the model: No such file or directory")


def test_a_store_that_cannot_be_written_is_the_environments_fault(tmp_path: Path) -> None:
    onnx.save(judge(), str(tmp_path / "judge.onnx"))
    (tmp_path / ".tierplan").write_text("not a folder")
    called = planner("profile", "judge.onnx", folder=tmp_path)
    assert (called.code, called.out) == (3, "")
    assert "cannot write to .tierplan/store" in called.err
    assert "Traceback" not in called.err


def test_inputs_too_large_to_be_made_are_one_clear_error(tmp_path: Path) -> None:
    relu(tmp_path / "giant.onnx", 2**40, 2**20)
    called = planner("profile", "giant.onnx", folder=tmp_path)
    assert (called.code, called.out) == (2, "")
    assert called.err.startswith("error: giant.onnx: input 'x' is too large: f32[1099511627776,1048576]; expected")
    assert len(called.err.splitlines()) == 1


@pytest.mark.deep
def test_whole_numbers_that_are_indices_stay_within_their_table(tmp_path: Path) -> None:
    """Of 7 rows, reached through a cast: any day of the week is, and 100 is not."""
    days = helper.make_tensor("days", TensorProto.FLOAT, [7, 2], [0.5] * 14)
    nodes = [
        helper.make_node("Cast", ["day"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["days", "index"], ["y"]),
    ]
    given = helper.make_tensor_value_info("day", TensorProto.INT32, [1, 30])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 30, 2])
    graph = helper.make_graph(nodes, "days", [given], [made], [days])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "days.onnx"))
    result = profile_model(tmp_path / "days.onnx", tmp_path / "store", 0.02, ignore, ignore)
    assert "onnxruntime" in {row.backend for row in result.rows}
    assert not result.lacking
