"""State is declared for a class that is pinned to one pool; what does not go with it is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.application import Component
from specs.check import check
from specs.errors import InputError
from specs.function_files import digest_function
from specs.state import varying_components, varying_inputs
from specs.support import unsupported
from tests.specs.writing import APP, INFRA, STEPS, changed, lines, load

CLASS = """

class Gallery:
    def __call__(self, ids, vector): ...
    def save(self): ...
    def load(self, saved): ...
"""
KEPT = ("function: steps:decide", "function: steps:Gallery\n    state: 1 MB\n    at: {site: cloud}")


def kept(folder: Path, *more: tuple[str, str], infra: str = INFRA, steps: str = STEPS + CLASS) -> list[str]:
    app, there = load(folder, app=changed(APP, KEPT, *more), infra=infra)
    (folder / "steps.py").write_text(steps, "utf-8")
    return lines([*check(app, there), *unsupported(app, there)])


def test_a_pinned_class_may_keep_state(tmp_path: Path) -> None:
    assert kept(tmp_path) == []
    app, _ = load(tmp_path, app=changed(APP, KEPT))
    state = app.value.components["decide"].state
    assert state is not None
    assert (state.size, state.every) == (1e6, 10.0)


def test_what_depends_on_it_is_known(tmp_path: Path) -> None:
    app, _ = load(tmp_path, app=changed(APP, KEPT))
    assert varying_components(app.value) == {"decide"}
    assert varying_inputs(app.value) == {("answer", "verdict")}
    first = ("function: steps:split", "function: steps:Gallery\n    state: 1 MB\n    at: {site: cloud}")
    assert varying_components(load(tmp_path, app=changed(APP, first))[0].value) == {"split", "embed", "decide"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("state: 1 MB", "state: 1"), "expected a quantity with a unit"),
        (("state: 1 MB", "state: {size: 1 GB}"), r"at most 2.56e\+08"),
        (("state: 1 MB", "state: {size: 1 MB, every: 1 ms}"), "at least 0.1"),
        (("    at: {site: cloud}\n", ""), "pinned: say where with at"),
        (("state: 1 MB", "state: 1 MB\n    standby: 1"), "no standby beside state"),
        (("function: steps:Gallery", "model: m.onnx"), "state belongs to a function"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        load(tmp_path, app=changed(APP, KEPT, change))
    assert "app.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("at: {site: cloud}", "at: {region: eu}\n    secrets: [KEY]"), "state of a function with environment"),
        (("inputs:\n      ids: split.ids", "per: split.ids\n    inputs:\n      ids: split.ids"), "that runs per item"),
        (("at: {site: cloud}", "at: {tier: base_station}"), ""),
    ],
)
def test_what_is_not_built_is_named(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    app, infra = load(tmp_path, app=changed(APP, KEPT, change))
    found = lines(unsupported(app, infra))
    assert (len(found) == 1 and expected in found[0] and "not supported yet" in found[0]) if expected else not found


def test_it_is_in_one_pool_of_one_class_of_sites(tmp_path: Path) -> None:
    (found,) = kept(tmp_path, ("at: {site: cloud}", "at: {region: eu}"), infra=changed(INFRA, ("us}", "eu}")))
    assert "state in several pools or classes of sites (bases.rack, cloud.vm)" in found
    assert "requires: [LABEL]" in found


def test_it_is_not_on_several_devices_that_share_their_time(tmp_path: Path) -> None:
    """Each would have a state of its own."""
    shared = changed(INFRA, ("{cores: 2,", "{cores: 2, sharing: time,"))
    (found,) = kept(tmp_path, infra=shared)
    assert "not supported yet: state in cloud.vm, of whose devices each would have its own" in found
    assert kept(tmp_path, infra=shared.replace("devices: 0..9", "devices: 1")) == []


def test_gates_and_labels_that_depend_on_it_are_refused(tmp_path: Path) -> None:
    first = ("function: steps:split", "function: steps:Gallery\n    state: 1 MB\n    at: {site: cloud}")
    app, infra = load(tmp_path, app=changed(APP, first))
    assert "a gate that depends on state" in lines(unsupported(app, infra))[0]
    data = ("constraints:", "data: {d: {file: d.jsonl, label: verdict}}\nconstraints:")
    app, infra = load(tmp_path, app=changed(APP, KEPT, data))
    (found,) = lines(unsupported(app, infra))
    assert "accuracy of what depends on state" in found


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (STEPS, "steps.py has no class 'Gallery'"),
        (STEPS + CLASS.replace("Gallery", "Galery"), "did you mean 'Galery'"),
        (STEPS + CLASS.replace("def load", "def lod"), "'Gallery' in steps.py, which keeps state, has no load"),
        (STEPS + "def Gallery(): ...", "has no class 'Gallery'"),
    ],
)
def test_the_class_is_looked_for_without_running_it(tmp_path: Path, steps: str, expected: str) -> None:
    (found,) = kept(tmp_path, steps=steps)
    assert expected in found
    assert found.startswith("app.yaml:")


def test_another_size_is_another_function_to_a_profile(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(CLASS, "utf-8")
    found = {digest_function(tmp_path, "steps:Gallery", state=size) for size in (None, 1e6, 2e6)}
    assert len(found) == 3
    assert digest_function(tmp_path, "steps:Gallery") in found


def test_how_often_is_no_matter_of_the_profile() -> None:
    values = {"function": "a:B", "inputs": {"x": "s.x"}, "at": {"tier": "cloud"}}
    sizes = {
        Component.model_validate({**values, "state": {"size": "1 kB", "every": every}}).state_size
        for every in ("1 s", "2 s")
    }
    assert sizes == {1000.0}
