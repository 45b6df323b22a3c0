"""JSON Schemas accept what the loader accepts, and are schemas themselves."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from specs.errors import InputError
from specs.schema import MODELS, find, json_schema
from specs.yamlfile import parse_yaml, read_yaml
from tests.specs.writing import APP, INFRA, changed

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", list(MODELS))
def test_each_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(MODELS[name]))


def test_what_the_loader_accepts_the_schema_accepts() -> None:
    for name, value in (
        ("app", read_yaml(DATA / "app.yaml").value),
        ("infra", read_yaml(DATA / "infra.yaml").value),
        ("app", parse_yaml(APP).value),
        ("app", parse_yaml(changed(APP, ("objective: [cost, {latency: answer_time}]", "objective: cost"))).value),
        ("infra", parse_yaml(INFRA).value),
    ):
        errors = list(jsonschema.Draft202012Validator(json_schema(MODELS[name])).iter_errors(value))
        assert not errors, errors[0].json_path


def test_the_schema_refuses_unknown_keys() -> None:
    value = parse_yaml(changed(APP, ("function: steps:split", "functoin: steps:split"))).value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, json_schema(MODELS["app"]))


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'plan'"):
        find("plann", MODELS)
