"""A hosted API is declared with its address, price and token; what does not go with it is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.check import check
from specs.errors import InputError
from specs.load import load_application
from specs.quantization import digest_realisation
from specs.support import unsupported
from tests.specs.writing import APP, INFRA, changed, lines, load

API = "{url: https://api.example.com/v1/, model: embed-2, token: KEY, price: 2 USD/1000 calls}"
HOSTED = ("function: steps:embed", f"api: {API}")


def hosted(folder: Path, *more: tuple[str, str], infra: str = INFRA) -> list[str]:
    app, there = load(folder, app=changed(APP, HOSTED, *more), infra=infra)
    return lines([*check(app, there), *unsupported(app, there)])


def test_it_stands_where_a_function_would(tmp_path: Path) -> None:
    assert hosted(tmp_path) == []
    component = load(tmp_path, app=changed(APP, HOSTED))[0].value.components["embed"]
    assert component.api is not None
    assert component.api.endpoint == "https://api.example.com/v1/v2/models/embed-2/infer"
    assert component.api.price == pytest.approx(0.002)
    assert component.secret_names == ("KEY",)
    assert not component.is_models


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("https://api", "ftp://api"), "expected https://HOST"),
        (("https://api", "https://me:word@api"), "without a user or password"),
        (("/v1/", "/v1?key=1"), "expected https://HOST"),
        (("example.com/v1/", "example.com:99999/"), "expected https://HOST"),
        (("https://api", "http://api"), "in the clear: expected https"),
        (("token: KEY", "token: PYTHONPATH"), "the process itself reads"),
        (("2 USD/1000 calls", "2"), "expected a quantity with a unit"),
        (("2 USD/1000 calls", "2 USD/month"), "unknown unit"),
        (("2 USD/1000 calls", "-1 USD/call"), "negative"),
        (("price: 2 USD/1000 calls", "timeout: 1 s"), "price"),
        (("token: KEY", "timeout: 0 s"), "a number above 0"),
        (("token: KEY", "latency: {p50: 2 s, p99: 1 s}"), "p99 not below p50"),
        (("token: KEY", "key: KEY"), "token"),
        (("    inputs: {ids: split.ids}", "    batch: 4\n    inputs: {ids: split.ids}"), "batch belongs to a model"),
        (("    inputs: {ids: split.ids}", "    secrets: [A]\n    inputs: {ids: split.ids}"), "belong to functions"),
        (("    inputs: {ids: split.ids}", "    state: 1 MB\n    inputs: {ids: split.ids}"), "state belongs to a func"),
        (("    inputs: {ids: split.ids}", "    function: a:b\n    inputs: {ids: split.ids}"), "exactly one of"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        load(tmp_path, app=changed(APP, HOSTED, change))
    assert "app.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("    inputs: {ids: split.ids}", "    split: allowed\n    inputs: {ids: split.ids}"), "is a hosted API; only"),
        (('    outputs: {vector: "f32[8]"}\n', ""), "the outputs of hosted API 'embed' are missing"),
        (("2 USD", "2 EUR"), "is in EUR, but prices are in USD"),
        (("    inputs: {ids: split.ids}", "    per: split.ids\n    inputs: {ids: split.ids}"), "that runs per item"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(tmp_path: Path, change: tuple[str, str], expected: str) -> None:
    found = hosted(tmp_path, change)
    assert any(expected in line for line in found), found


def test_among_variants_it_is_refused(tmp_path: Path) -> None:
    found = hosted(tmp_path, (f"api: {API}", "variants: {own: {function: steps:embed}, far: {api: " + API + "}}"))
    assert len(found) == 1
    assert "a hosted API among variants" in found[0]


def test_a_plain_address_without_a_token_and_loopback_with_one_are_taken(tmp_path: Path) -> None:
    assert hosted(tmp_path, ("https://api", "http://api"), ("token: KEY, ", "")) == []
    for host in ("127.0.0.1:8000", "localhost", "[::1]:80"):
        assert (
            hosted(tmp_path, (API, API.replace("https://api.example.com", f"'http://{host}").replace("/v1/", "/v1/'")))
            == []
        )


def test_its_price_makes_no_profile_old_and_its_address_does(tmp_path: Path) -> None:
    def digest(old: str, new: str) -> str:
        (tmp_path / "other.yaml").write_text(changed(APP, HOSTED, (old, new)), "utf-8")
        return digest_realisation(load_application(tmp_path / "other.yaml"), "embed", "default")

    same = digest("KEY", "KEY")
    assert digest("2 USD", "3 USD") == same
    assert digest("token: KEY", "token: OTHER") == same
    assert digest("embed-2", "embed-3") != same
    assert digest("token: KEY", "latency: {p50: 1 s, p99: 2 s}") != same
