"""What is not built yet is refused with its line; what is built is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from specs.application import Anywhere, Application, Component, State
from specs.load import Document, load_application, load_infrastructure
from specs.support import unsupported
from specs.yamlfile import YamlFile
from tests.specs.writing import APP, INFRA, changed, lines, load

DATA = Path(__file__).parent / "data"


def test_the_files_of_the_tests_are_supported(tmp_path: Path) -> None:
    assert unsupported(*load(tmp_path)) == []


def test_the_example_of_the_grammar_is_supported() -> None:
    assert unsupported(load_application(DATA / "app.yaml"), load_infrastructure(DATA / "infra.yaml")) == []


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("dims: {T: [16, 64], S: [8]}", "buckets of several dimensions (T and S)"),
        ("dims: {T: [16, 64]}\n    split: allowed", "cutting a model that has dims"),
        ("dims: {T: [16, 64]}\n    batch: 4", "batches of a model that has dims"),
    ],
)
def test_what_dims_do_not_go_with_is_named(tmp_path: Path, more: str, expected: str) -> None:
    text = (DATA / "app.yaml").read_text("utf-8")
    line = next(line for line in text.splitlines() if "dims: {T:" in line)
    (tmp_path / "app.yaml").write_text(text.replace(line, f"    {more}"), "utf-8")
    (found,) = lines(unsupported(load_application(tmp_path / "app.yaml")))
    assert f"not supported yet: {expected}" in found


def test_codecs_are_refused_beside_a_component_that_keeps_state(tmp_path: Path) -> None:
    app = load_application(DATA / "app.yaml")
    name, split = next((n, c) for n, c in app.value.components.items() if c.split is not None)
    other = next(n for n in app.value.components if n != name)
    parts = dict(app.value.components)
    parts[name] = split.model_copy(update={"split": Anywhere(codec=["none", "zlib"])})
    assert not any("codecs beside" in line for line in lines(unsupported(with_components(app, parts))))
    parts[other] = parts[other].model_copy(update={"state": State.model_validate({"size": "1 MB"})})
    assert any(
        "codecs beside a component that keeps state" in t for t in lines(unsupported(with_components(app, parts)))
    )


def with_components(app: Document[Application], parts: dict[str, Component]) -> Document[Application]:
    return replace(app, value=app.value.model_copy(update={"components": parts}))


def test_codecs_and_batches_are_not_said_together(tmp_path: Path) -> None:
    text = (DATA / "app.yaml").read_text("utf-8")
    (tmp_path / "app.yaml").write_text(text.replace("split: allowed", "split: {codec: [int8]}\n    batch: 4"), "utf-8")
    assert any(
        "codecs of a model that runs in batches" in line
        for line in lines(unsupported(load_application(tmp_path / "app.yaml")))
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "function: steps:embed",
            "variants: {far: {api: {url: 'https://x', model: m, price: 1/call}}}",
            "16:16: not supported yet: a hosted API among variants",
        ),
        (
            "function: steps:embed",
            "function: steps:embed\n    per: ask.text",
            "24:7: not supported yet: a number in pl",
        ),
    ],
)
def test_each_part_of_an_application_that_is_not_built_is_named(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    found = lines(unsupported(*load(tmp_path, app=changed(APP, (old, new)))))
    assert len(found) == 1
    assert expected in found[0]
    assert found[0].startswith("app.yaml:")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "devices: 1,",
            "devices: 0..65,",
            "infra.yaml:9:36: not supported yet: more than 64 devices in a pool with sharing",
        ),
        (
            "10 per bases",
            "10",
            "infra.yaml:20:11: not supported yet: a link between 'phones' and 'bases', of which each has",
        ),
    ],
)
def test_each_part_of_an_infrastructure_that_is_not_built_is_named(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    found = lines(unsupported(*load(tmp_path, infra=changed(INFRA, (old, new)))))
    assert len(found) == 1
    assert expected in found[0]


def test_sinks_may_be_at_sites_of_one_of_which_each_request_has_a_member(tmp_path: Path) -> None:
    for at in ("tier: cloud", "site: bases"):
        assert unsupported(*load(tmp_path, app=changed(APP, ("{at: origin,", f"{{at: {{{at}}},")))) == []
    app = changed(APP, ("{at: origin,", "{at: {tier: base_station},"))
    alike = changed(INFRA, ("tier: cloud", "tier: base_station"))  # each phone belongs to one of the bases
    assert unsupported(*load(tmp_path, app=app, infra=alike)) == []
    away = changed(APP, ("{at: origin,", "{at: {tier: base_station},"), ("at: {tier: edge}", "at: {tier: cloud}"))
    (found,) = lines(unsupported(*load(tmp_path, app=away)))
    assert "a sink at 'bases', of which requests that enter at 'cloud' have no one member" in found


def test_a_sink_at_any_of_two_sites_is_refused_with_its_line(tmp_path: Path) -> None:
    """No phone belongs to Frankfurt more than to Virginia."""
    text = (DATA / "app.yaml").read_text("utf-8")
    assert text.count("at: origin") == 1
    (tmp_path / "app.yaml").write_text(text.replace("at: origin", "at: {tier: cloud}"), "utf-8")
    infra = load_infrastructure(DATA / "infra.yaml")
    (found,) = lines(unsupported(load_application(tmp_path / "app.yaml"), infra))
    assert "not supported yet: a sink at any of frankfurt, virginia, none of which requests that enter at" in found


def test_more_combinations_of_variants_than_can_be_run_are_refused() -> None:
    variants = {name: {"function": "f:g"} for name in ("a", "b")}
    app = Application.model_validate(
        {
            "schema": "tierplan.app/v1",
            "name": "many",
            "sources": {
                "s": {"at": {"tier": "edge"}, "rate": "1/s", "values": {"v": {"type": "jpeg", "size": "1 kB"}}}
            },
            "components": {
                f"c{i}": {"variants": variants, "inputs": {"x": "s.v"}, "outputs": {"y": "bool"}} for i in range(13)
            },
            "sinks": {"o": {"at": "origin", "inputs": {"a": "c0.y"}}},
        }
    )
    yaml = YamlFile({}, {}, "app.yaml")
    (issue,) = unsupported(Document(app, yaml, ""))
    assert "8,192 combinations of variants (at most 4,096)" in issue.message
