"""The hub's verbs on a real application: the table, the catalogue, collecting, and an archive that may be hostile."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from compiler.convert import conversion_folder
from compiler.job import job
from compiler.quantize import quantization_folder
from compiler.store import Store
from compiler.tuning.records import as_tuned, place_of, read_trials, write_trials
from planner.cli import results
from planner.cli.hub.archive import export_archive, import_archive
from planner.cli.hub.collect import STALE_SECONDS, collect
from planner.cli.hub.query import select
from specs.catalogue import catalogue
from specs.choice import Choice
from specs.errors import InputError
from specs.hub import HubRow
from specs.profile import read_records
from specs.schema import MODELS, json_schema
from specs.tuning import Trials
from tests.cli.calling import Called, planner
from tests.compiler.models import save
from tests.compiler.test_tuning import small, tuning_of

ALL = MODELS | results.MODELS
STORE = Path(".tierplan/store")


def answer(called: Called, name: str) -> dict[str, Any]:
    assert called.code == 0, called.err
    value: dict[str, Any] = json.loads(called.out)
    assert value["schema"] == f"tierplan.{name}/v1"
    jsonschema.validate(value, json_schema(ALL[name]))
    return value


def rows(*columns: tuple[str, float | None]) -> list[HubRow]:
    return [HubRow(model=m, segment="..", backend="tvm", threads=1, p50_ms=p) for m, p in columns]


def test_the_table_says_what_each_way_costs_and_what_was_not_measured(solved: Path) -> None:
    called = planner("compile", "judge.onnx", "--target", "x86-64-v2", "-f", "json", folder=solved)
    (made,) = answer(called, "artefacts")["rows"]
    assert made["found"]
    arguments = ("--app", "app.yaml", "--infra", "infra.yaml", "--html", "hub.html", "-f", "json")
    value = answer(planner("hub", *arguments, folder=solved), "hub")
    known = {(r["model"], r.get("hardware"), r["backend"]): r for r in value["rows"]}
    server = known["judge/default", "server", "onnxruntime"]
    assert server["provenance"] == "emulated"
    assert server["cost_per_1000"] == pytest.approx(1000 * 0.1 / 3600 / server["per_second"], rel=1e-4)
    assert server["bytes"] == next((solved / STORE).glob("*/model.onnx")).stat().st_size
    assert "cost_per_1000" not in known["judge/default", "phone", "onnxruntime"]  # nothing is known of its price
    waiting = [r for r in value["rows"] if not r["provenance"]]
    assert [(r["target"], r["backend"], r.get("p50_ms")) for r in waiting if r["backend"] == "tvm"] == [
        ("x86-64-v2", "tvm", None)
    ]
    page = (solved / "hub.html").read_text("utf-8")
    assert "<td>judge</td>" in page
    assert "<script" not in page


def test_rows_are_filtered_and_sorted_as_asked_and_what_is_unknown_comes_last() -> None:
    found = rows(("a", 3.0), ("b", None), ("c", 1.0), ("d", 2.0))
    assert [r.model for r in select(found, HubRow, [], ["p50_ms"])] == ["c", "d", "a", "b"]
    assert [r.model for r in select(found, HubRow, [], ["-p50_ms"])] == ["a", "d", "c", "b"]
    assert [r.model for r in select(found, HubRow, ["p50_ms<=2", "model!=c"], [])] == ["d"]
    assert [r.model for r in select(found, HubRow, ["model~A"], [])] == ["a"]


@pytest.mark.parametrize(
    ("where", "sort", "expected"),
    [
        ("p50=3", "", r"unknown column 'p50' \(did you mean 'p50_ms'\?\)"),
        ("p50_ms<fast", "", "expected a number in 'p50_ms<fast'"),
        ("cheap", "", "not a condition: 'cheap'"),
        ("", "-speed", "unknown column 'speed'"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(where: str, sort: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        select(rows(("a", 3.0)), HubRow, [where] if where else [], [sort] if sort else [])


def test_the_catalogue_is_listed_filtered_and_sorted(tmp_path: Path) -> None:
    arguments = ("--catalog", "--where", "kind=cloud_gpu", "--sort", "-hourly", "-f", "json")
    value = answer(planner("hub", *arguments, folder=tmp_path), "catalogue-list")
    prices = [r["hourly"] for r in value["rows"]]
    assert prices == sorted(prices, reverse=True)
    assert {r["kind"] for r in value["rows"]} == {"cloud_gpu"}
    assert all(r["as_of"] and r["source_name"] for r in value["rows"])
    whole = answer(planner("hub", "--catalog", "-f", "json", folder=tmp_path), "catalogue-list")
    assert len(whole["rows"]) == len(catalogue().entries)


def test_collecting_removes_what_nothing_names_and_nothing_else(solved: Path) -> None:
    store = solved / STORE
    before = {p.name for p in store.iterdir()}
    assert collect(store, [solved / "profiles"], [], dry_run=False).kept == len(before) - _unnamed(solved, before)
    named = {p.name for p in store.iterdir()}
    (store / ("f" * 64)).mkdir()
    (store / "mine").mkdir()
    stale, fresh = store / ".making-old", store / ".making-new"
    for folder in (stale, fresh):
        folder.mkdir()
    past = time.time() - STALE_SECONDS - 1
    os.utime(stale, (past, past))
    asked = collect(store, [solved / "profiles"], [], dry_run=True)
    assert asked.removed == (".making-old", "f" * 64)
    assert stale.exists()
    value = answer(planner("hub", "gc", "-f", "json", folder=solved), "hub-gc")
    assert tuple(value["removed"]) == asked.removed
    assert {p.name for p in store.iterdir()} == named | {".making-new", "mine"}
    called = planner("compile", "plan.yaml", "app.yaml", "--infra", "infra.yaml", "-f", "json", folder=solved)
    assert answer(called, "compile")["compiled"] == 0


def test_collecting_removes_models_that_were_made_for_what_is_gone(solved: Path) -> None:
    store = Store((solved / STORE).absolute())
    (source,) = {r.source for r in read_records(solved / "profiles") if r.artefact}
    used = [conversion_folder(source, store), quantization_folder(source, store)]
    old = [conversion_folder("0" * 64, store), quantization_folder("0" * 64, store)]
    for folder in (*used, *old, store.root / "converted" / "mine"):
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"a model")
    value = answer(planner("hub", "gc", "-f", "json", folder=solved), "hub-gc")
    assert value["removed"] == sorted(f"{folder.parent.name}/{folder.name}" for folder in old)
    assert value["bytes"] == 14
    assert all(folder.exists() for folder in (*used, store.root / "converted" / "mine"))
    assert not any(folder.exists() for folder in old)
    (solved / "profiles" / "profiles.jsonl").write_text("")
    by_plan = answer(planner("hub", "gc", "--plan", "plan.yaml", "-f", "json", folder=solved), "hub-gc")
    assert not any("/" in name for name in by_plan["removed"])
    without = answer(planner("hub", "gc", "-f", "json", folder=solved), "hub-gc")
    assert {f"{folder.parent.name}/{folder.name}" for folder in used} <= set(without["removed"])


def _unnamed(folder: Path, keys: set[str]) -> int:
    text = (folder / "profiles" / "profiles.jsonl").read_text("utf-8")
    return sum(key not in text for key in keys)


def test_collecting_without_the_profiles_that_are_named_removes_nothing(solved: Path) -> None:
    before = sorted((solved / STORE).iterdir())
    called = planner("hub", "gc", "--profiles", "profile", folder=solved)
    assert called.code == 2
    assert "no profiles" in called.err
    assert sorted((solved / STORE).iterdir()) == before


def test_an_archive_carries_everything_to_another_folder_and_the_same_twice_adds_nothing(
    solved: Path, tmp_path: Path
) -> None:
    made = answer(planner("hub", "export", "hub.tar", "-f", "json", folder=solved), "hub-archive")
    again = export_archive(tmp_path / "again.tar", solved / "profiles", solved / STORE)
    assert again.sha256 == made["sha256"]
    other = tmp_path / "other"
    other.mkdir()
    arguments = ("hub", "import", solved / "hub.tar", "--sha256", made["sha256"], "-f", "json")
    value = answer(planner(*arguments, folder=other), "hub-archive")
    assert value["new_artefacts"] == made["artefacts"] > 0
    assert value["new_records"] == made["records"] > 0
    for file in (solved / "profiles").glob("*.jsonl"):
        assert (other / "profiles" / file.name).read_bytes() == file.read_bytes()
    value = answer(planner(*arguments, folder=other), "hub-archive")
    assert (value["new_artefacts"], value["new_records"]) == (0, 0)


def test_an_archive_carries_what_tuning_found(tmp_path: Path) -> None:
    asked, store = job(save(small(), tmp_path / "small.onnx"), "tvm"), Store(tmp_path / "store")
    workload = "conv2d data[1]"
    place = place_of(asked)
    tuning_of(asked, {workload: Choice(order="positions")}, store)
    write_trials(Trials(workload=workload, place=place, choice=Choice(order="positions")), store)
    made = export_archive(tmp_path / "hub.tar", tmp_path / "profiles", store.root)
    assert (made.artefacts, made.records, made.tuned) == (0, 0, 2)
    other = Store(tmp_path / "other")
    found = [import_archive(tmp_path / "hub.tar", tmp_path / "profiles", other.root).new_tuned for _ in range(2)]
    assert found == [2, 0]
    assert as_tuned(asked, other) == as_tuned(asked, store) != asked
    assert read_trials(workload, place, other) == read_trials(workload, place, store)
    own = Trials(workload=workload, place=place, choice=Choice())
    write_trials(own, other)
    assert import_archive(tmp_path / "hub.tar", tmp_path / "profiles", other.root).new_tuned == 0
    assert read_trials(workload, place, other) == own  # what was timed here stays


def test_a_record_of_tuning_that_is_none_or_another_is_neither_exported_nor_imported(tmp_path: Path) -> None:
    asked, store = job(save(small(), tmp_path / "small.onnx"), "tvm"), Store(tmp_path / "store")
    write_trials(Trials(workload="conv2d data[1]", place=place_of(asked)), store)
    (file,) = (store.root / "tuned" / "workloads").iterdir()
    for name, data, expected in (
        (f"tuned/workloads/{KEY}.json", file.read_bytes(), "not the record of tuning that it is named as"),
        (f"tuned/models/{file.name}", file.read_bytes(), "not a record of tuning"),
        (f"tuned/workloads/{file.name}", b"{}", "not a record of tuning"),
        (f"tuned/other/{file.name}", b"{}", "is no file of a hub's archive"),
    ):
        archive = hostile(tmp_path / "bad.tar", name, data)
        with pytest.raises(InputError, match=expected):
            import_archive(archive, tmp_path / "profiles", tmp_path / "in")
        assert list((tmp_path / "in").iterdir()) == []
    file.rename(file.with_name(f"{KEY}.json"))
    with pytest.raises(InputError, match="not the record of tuning that it is named as"):
        export_archive(tmp_path / "hub.tar", tmp_path / "profiles", store.root)


def hostile(archive: Path, name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(archive, "w") as tar:
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = len(data), kind, link
        tar.addfile(info, io.BytesIO(data))
    return archive


KEY = "0" * 64


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../../escaped", tarfile.REGTYPE, ""),
        ("/tmp/escaped", tarfile.REGTYPE, ""),
        (f"store/{KEY}/../../../escaped", tarfile.REGTYPE, ""),
        (f"store/{KEY}/.hidden", tarfile.REGTYPE, ""),
        ("profiles/../escaped.jsonl", tarfile.REGTYPE, ""),
        (f"store/{KEY}/model.so", tarfile.SYMTYPE, "/etc/passwd"),
        (f"store/{KEY}/model.so", tarfile.LNKTYPE, "../../escaped"),
        (f"store/{KEY}/model.so", tarfile.FIFOTYPE, ""),
        (f"store/{KEY}", tarfile.DIRTYPE, ""),
        ("else/file", tarfile.REGTYPE, ""),
    ],
)
def test_an_archive_that_would_leave_its_place_is_refused_and_changes_nothing(
    tmp_path: Path, name: str, kind: bytes, link: str
) -> None:
    data = b"x" if kind == tarfile.REGTYPE else b""
    archive = hostile(tmp_path / "bad.tar", name, data, kind, link)
    with pytest.raises(InputError, match="is no file of a hub's archive"):
        import_archive(archive, tmp_path / "in" / "profiles", tmp_path / "in" / "store")
    assert [p for p in (tmp_path / "in").rglob("*") if p.is_file()] == []
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        (f"store/{KEY}/artefact.json", b"{}", "not an artefact"),
        (f"store/{KEY}/model.so", b"code", "no artefact: cannot read artefact.json"),
        ("profiles/profiles.jsonl", b'{"schema": "x"}\n', r"profiles/profiles.jsonl: not a Record"),
    ],
)
def test_an_archive_with_something_else_inside_is_refused(
    tmp_path: Path, name: str, data: bytes, expected: str
) -> None:
    archive = hostile(tmp_path / "bad.tar", name, data)
    with pytest.raises(InputError, match=expected):
        import_archive(archive, tmp_path / "profiles", tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_an_artefact_that_was_changed_or_is_another_is_neither_exported_nor_imported(
    solved: Path, tmp_path: Path
) -> None:
    store = solved / STORE
    key = next(p.parent.name for p in store.glob("*/model.onnx"))
    other = solved / "other" / ("f" * 64)
    shutil.copytree(store / key, other)
    with tarfile.open(tmp_path / "renamed.tar", "w") as tar:
        for file in sorted(other.iterdir()):
            tar.add(file, f"store/{other.name}/{file.name}")
    with pytest.raises(InputError, match="it says to be"):
        import_archive(tmp_path / "renamed.tar", tmp_path / "profiles", tmp_path / "store")
    (store / key / "model.onnx").write_bytes(b"changed")
    with pytest.raises(InputError, match="the file was changed"):
        export_archive(tmp_path / "hub.tar", solved / "profiles", store)
    assert not (tmp_path / "hub.tar").exists()


def test_an_archive_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    """A sparse file of a terabyte takes a block."""
    archive = hostile(tmp_path / "bad.tar", f"store/{KEY}/model.so", b"x", tarfile.GNUTYPE_SPARSE)
    data = bytearray(archive.read_bytes())
    data[386:398], data[398:410] = b"00000000000\0", b"00000000001\0"  # one byte at 0,
    data[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")  # of a file of this many
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    archive.write_bytes(data)
    with pytest.raises(InputError, match="more bytes than it has itself"):
        import_archive(archive, tmp_path / "profiles", tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_nothing_to_export_and_nothing_to_import_are_the_users_errors(tmp_path: Path) -> None:
    called = planner("hub", "export", "hub.tar", folder=tmp_path)
    assert called.code == 2
    assert "nothing to export" in called.err
    called = planner("hub", "import", "hub.tar", folder=tmp_path)
    assert called.code == 2
    assert "cannot read hub.tar" in called.err
    assert list(tmp_path.iterdir()) == []


def test_another_archive_than_the_one_that_was_named_is_refused(tmp_path: Path) -> None:
    archive = hostile(tmp_path / "any.tar", "else/file")
    called = planner("hub", "import", archive, "--sha256", "0" * 64, folder=tmp_path)
    assert called.code == 2
    assert "expected an archive with sha256 0000" in called.err


def test_what_is_no_archive_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "no.tar").write_bytes(b"no archive" * 100)
    called = planner("hub", "import", "no.tar", folder=tmp_path)
    assert called.code == 2
    assert "not a hub's archive" in called.err
