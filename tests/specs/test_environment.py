"""The environment and the secrets of functions, as app.yaml says them."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.errors import InputError
from specs.function_files import digest_function
from specs.support import unsupported
from tests.specs.writing import APP, changed, load

OWN = "function: steps:embed"


def test_a_function_may_have_both(tmp_path: Path) -> None:
    text = changed(APP, (OWN, OWN + "\n    environment: {MODE: fast}\n    secrets: [API_KEY]"))
    app, infra = load(tmp_path, app=text)
    assert unsupported(app, infra) == []
    embed = app.value.components["embed"]
    assert (embed.environment, embed.secrets, embed.has_environment) == ({"MODE": "fast"}, ["API_KEY"], True)
    assert not app.value.components["split"].has_environment


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("environment: {A-B: x}", "expected a variable's name of letters, digits and _, got 'A-B'"),
        ("secrets: ['../key']", "expected a variable's name"),
        ("environment: {LD_PRELOAD: x}", "expected another name than LD_PRELOAD: the process itself reads"),
        ("secrets: [PYTHONPATH]", "expected another name than PYTHONPATH"),
        ("environment: {A: x}\n    secrets: [A]", "the variable A is given twice"),
        ("secrets: [A, A]", "the variable A is given twice"),
        ('environment: {A: "x\\0"}', "zero byte"),
    ],
)
def test_what_no_process_can_be_given_is_refused_at_its_line(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path, app=changed(APP, (OWN, f"{OWN}\n    {more}")))
    assert all(i.place is not None and i.place.line in (14, 15, 16, 17, 18) for i in error.value.issues)


def test_models_have_no_environment(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="environment and secrets belong to functions"):
        load(tmp_path, app=changed(APP, (OWN, "model: m.onnx\n    environment: {A: x}")))


def test_another_environment_is_another_function_to_a_profile(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text("def f(): ...\n", "utf-8")
    plain = digest_function(tmp_path, "steps:f")
    assert digest_function(tmp_path, "steps:f", {}, []) == plain
    others = [
        digest_function(tmp_path, "steps:f", {"A": "x"}),
        digest_function(tmp_path, "steps:f", {"A": "y"}),
        digest_function(tmp_path, "steps:f", {}, ["A"]),
    ]
    assert len({plain, *others}) == 4
