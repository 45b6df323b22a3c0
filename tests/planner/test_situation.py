"""Facts that do not belong to the specs are refused, each with one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner import load_situation
from planner.situation import Situation, situation_of
from specs.emulation import METHOD
from specs.errors import InputError
from specs.profile import EmulatedBy, Record, json_line
from tests.planner.blog import situation
from tests.planner.worlds import WHEN, hops, payload, record

APP: dict[str, Any] = {
    "schema": "tierplan.app/v1",
    "name": "tiny",
    "sources": {"src": {"at": {"tier": "edge"}, "rate": "1/s", "values": {"x": {"type": "f32[4]"}}}},
    "components": {
        "f": {"function": "steps:prepare", "inputs": {"x": "src.x"}, "outputs": {"y": "f32[4]"}},
        "m": {"model": "m.onnx", "inputs": {"y": "f.y"}, "outputs": {"z": "f32[1]"}},
    },
    "sinks": {"out": {"at": "origin", "inputs": {"z": "m.z"}}},
    "constraints": {"time": {"from": "src", "to": "out", "p99": "1 s"}},
}
INFRA: dict[str, Any] = {
    "schema": "tierplan.infra/v1",
    "hardware": {"chip": {"cores": 1}},
    "sites": {"edge": {"tier": "edge", "pools": {"soc": {"hardware": "chip"}}}},
}


def project(folder: Path) -> Path:
    """A tiny project with models, functions, profiles and behaviour."""
    (folder / "app.yaml").write_text(yaml.safe_dump(APP))
    (folder / "infra.yaml").write_text(yaml.safe_dump(INFRA))
    (folder / "m.onnx").write_bytes(b"model")
    (folder / "steps.py").write_text("def prepare(x): return {'y': x}\n")
    facts(folder)
    return folder


def facts(folder: Path, host: str = "here") -> None:
    from specs.digest import digest_file
    from specs.function_files import digest_function

    profiles = folder / "profiles"
    profiles.mkdir(exist_ok=True)
    digests = {"f/default": digest_function(folder, "steps:prepare"), "m/default": digest_file(folder / "m.onnx")}
    records = [record(d, "chip", 0.01, backend="python" if k[0] == "f" else "tvm") for k, d in digests.items()]
    given = [r.model_copy(update={"host": host}) for r in records]
    (profiles / "profiles.jsonl").write_text("".join(json_line(r) for r in given))
    sizes = {k: payload(100, 0.1).dump() for k in ("src.x", "f.y", "m.z")}
    behaviour = {
        "variants": {"f": "default", "m": "default"},
        "patterns": [{"source": "src", "runs": ["f", "m"], "probability": 1.0, "count": 5}],
        "payloads": sizes,
        "items": 5,
        "inputs": digests,
        "measured_at": WHEN,
    }
    (profiles / "behaviour.jsonl").write_text(json.dumps(behaviour) + "\n")
    (profiles / "hops.jsonl").write_text("".join(json_line(h) for h in hops()))


def load(folder: Path, **more: Any) -> Situation:
    return load_situation(folder / "app.yaml", folder / "infra.yaml", folder / "profiles", **more)


def test_a_whole_project_loads(tmp_path: Path) -> None:
    found = load(project(tmp_path))
    assert len(found.records) == 2
    assert [f.name for f in found.flows] == ["src@edge"]


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    (project(tmp_path) / "m.onnx").unlink()
    with pytest.raises(InputError, match=r"app\.yaml:\d+:\d+: model file 'm\.onnx' is missing"):
        load(tmp_path)


def test_a_missing_function_file_is_named(tmp_path: Path) -> None:
    (project(tmp_path) / "steps.py").unlink()
    with pytest.raises(InputError, match=r"function's file 'steps\.py' is missing"):
        load(tmp_path)


def test_a_model_outside_the_project_is_refused(tmp_path: Path) -> None:
    project(tmp_path)
    text = (tmp_path / "app.yaml").read_text().replace("m.onnx", "../m.onnx")
    (tmp_path / "app.yaml").write_text(text)
    with pytest.raises(InputError, match="leaves the folder"):
        load(tmp_path)


def test_a_missing_profile_says_which_command_makes_it(tmp_path: Path) -> None:
    folder = project(tmp_path)
    lines = (folder / "profiles" / "profiles.jsonl").read_text().splitlines(keepends=True)
    (folder / "profiles" / "profiles.jsonl").write_text(lines[0])
    with pytest.raises(
        InputError, match=r"profile missing: m/default on hardware 'chip', which says neither `emulate"
    ) as raised:
        load(folder)
    assert "(run: planner profile" in str(raised.value)


def test_no_profiles_at_all_says_which_command_makes_them(tmp_path: Path) -> None:
    folder = project(tmp_path)
    with pytest.raises(InputError, match="run: planner profile"):
        load_situation(folder / "app.yaml", folder / "infra.yaml", folder / "nothing")


def test_a_changed_model_makes_behaviour_stale(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "steps.py").write_text("def prepare(x): return {'y': x + 1}\n")
    with pytest.raises(InputError, match=r"behaviour of this application is stale: f/default changed"):
        load(folder)


def test_missing_behaviour_is_refused(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "profiles" / "behaviour.jsonl").unlink()
    with pytest.raises(InputError, match="behaviour missing"):
        load(folder)


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    folder = project(tmp_path)
    text = (folder / "app.yaml").read_text().replace("x: src.x", "x: m.z")
    (folder / "app.yaml").write_text(text)
    with pytest.raises(InputError, match="cycle"):
        load(folder)


def test_a_profile_that_is_not_json_names_file_and_line(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "profiles" / "profiles.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"profiles\.jsonl:1:1"):
        load(folder)


def again(change: Callable[[Record], Record], host: str | None = None) -> Situation:
    given = situation()
    return situation_of(
        given.app, given.infra, [change(r) for r in given.records], given.behaviours, given.hops, given.digests, host
    )


@pytest.mark.parametrize(
    ("by", "host", "expected"),
    [
        (EmulatedBy(host="test", method=METHOD, cpu=0.5), None, "was emulated at cpu 0.5"),
        (EmulatedBy(host="test", method="quota", cpu=0.1), None, "by quota"),
        (EmulatedBy(host="other", method=METHOD, cpu=0.1), "test", "on 'other'"),
        (None, None, f"expected emulated at cpu 0.1 by {METHOD}"),
    ],
    ids=["factor", "method", "host", "not emulated"],
)
def test_another_emulation_is_refused(by: EmulatedBy | None, host: str | None, expected: str) -> None:
    def change(r: Record) -> Record:
        return r.model_copy(update={"emulated_by": by}) if r.hardware == "phone" else r

    with pytest.raises(InputError, match=expected):
        again(change, host)


def test_emulated_profiles_of_two_hosts_do_not_mix() -> None:
    def change(r: Record) -> Record:
        by = EmulatedBy(host="other", method=METHOD, cpu=0.25)
        return r.model_copy(update={"emulated_by": by}) if r.hardware == "micro" else r

    with pytest.raises(InputError, match="emulated on different hosts: 'other' and 'test'"):
        again(change)


def test_records_of_other_models_are_left_out() -> None:
    given = situation()
    extra = record("unknown", "phone", 0.1)
    found = situation_of(given.app, given.infra, [*given.records, extra], given.behaviours, given.hops, given.digests)
    assert found == replace(given, records=found.records)
    assert extra not in found.records


def test_what_devices_of_another_key_measured_later_hides_nothing(tmp_path: Path) -> None:
    folder = project(tmp_path)
    lent = yaml.safe_dump(INFRA | {"hardware": {"chip": {"cores": 1, "device": {"rpc": "pi", "target": "cortex-a72"}}}})
    (folder / "infra.yaml").write_text(lent)
    file = folder / "profiles" / "profiles.jsonl"
    old = [Record.model_validate_json(text) for text in file.read_text().splitlines()]
    plain = {"provenance": "measured", "emulated_by": None}
    mine = [r.model_copy(update={**plain, "rpc": "pi", "measured_at": "2026-01-01"}) for r in old]
    others = [r.model_copy(update={**plain, "rpc": "jet", "measured_at": "2027-01-01"}) for r in old]
    guesses = [r.model_copy(update={**plain, "provenance": "estimated", "interval": (0.5, 2.0)}) for r in old]
    file.write_text("".join(map(json_line, [*guesses, *mine, *others])))
    assert [r.rpc for r in load(folder).records] == ["pi", "pi"]
    file.write_text("".join(map(json_line, [*guesses, *others])))
    assert [r.provenance for r in load(folder).records] == ["estimated", "estimated"]
