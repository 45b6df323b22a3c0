"""The YAML reader: plain values with places, and hostile files refused at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.errors import InputError
from specs.yamlfile import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse_yaml, read_yaml


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "f.yaml")
    return str(caught.value)


def test_values_follow_yaml_1_2_and_know_their_places() -> None:
    read = parse_yaml("on: yes\nlist: [1, 2.5, ~, true, '7']\nmap:\n  key: text\n", "f.yaml")
    assert read.value == {"on": "yes", "list": [1, 2.5, None, True, "7"], "map": {"key": "text"}}
    assert str(read.place("map", "key")) == "f.yaml:4:3"
    assert str(read.place("list", 1)) == "f.yaml:2:11"
    assert str(read.place("map", "absent")) == "f.yaml:3:1"


def test_aliases_stand_for_what_they_name() -> None:
    assert parse_yaml("a: &x {k: 1}\nb: *x\n").value == {"a": {"k": 1}, "b": {"k": 1}}


def test_a_billion_laughs_stops_at_the_limit_of_values() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert f"more than {MAX_VALUES} values" in refusal("\n".join(lines))


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "- " * 5000 + "x", "[" * 5000 + "]" * 5000])
def test_deep_nesting_stops_at_the_limit_of_depth(text: str) -> None:
    assert f"nested deeper than {MAX_DEPTH} levels" in refusal(text)


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system [echo]", "a: !custom 1", "- !!binary aGk=", "!!set {a}"]
)
def test_tags_are_refused(text: str) -> None:
    assert "YAML tags are refused" in refusal(text)


def test_a_key_given_twice_is_refused_at_the_second() -> None:
    assert refusal("a: 1\nb: 2\na: 3\n") == "f.yaml:3:1: the key 'a' is given twice"
    assert "given twice" in refusal("1: a\n'1': b\n")


@pytest.mark.parametrize("text", ["a: *a", "a: &x [*x]", "*nothing"])
def test_aliases_to_nothing_or_themselves_are_refused(text: str) -> None:
    assert "alias" in refusal(text)


def test_numbers_too_long_to_be_meant_stay_text() -> None:
    long = "9" * 5000
    assert parse_yaml(f"n: {long}").value == {"n": long}
    assert parse_yaml("n: 1e999").value == {"n": "1e999"}
    assert parse_yaml("n: 1e999999").value == {"n": "1e999999"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("? [a, b]\n: c\n", "a key must be a word"),
        ("~: c\n", "a key must be a word"),
        ("a: [1, 2\n", "not valid YAML"),
        ("a:\n\t- b\n", "not valid YAML"),
        ("\x00", "not valid YAML"),
    ],
)
def test_what_is_not_one_plain_document_is_refused(text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"a" * (MAX_BYTES + 1))
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: \xe9\n")
    for file, expected in ((large, "larger than"), (latin, "not UTF-8"), (tmp_path / "no.yaml", "No such file")):
        with pytest.raises(InputError, match=expected):
            read_yaml(file)
    with pytest.raises(InputError, match="directory"):
        read_yaml(tmp_path)


YAMLISH = st.lists(
    st.sampled_from(
        [
            "a",
            ": ",
            "- ",
            "\n",
            "  ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "&x ",
            "*x",
            "!t ",
            "'",
            '"',
            "|",
            ">",
            "1e9",
            "~",
            "#",
            "? ",
            "---",
            "%",
            "\t",
            "é",
            "\x00",
        ]
    ),
    max_size=40,
).map("".join)


@given(st.one_of(st.text(max_size=200), YAMLISH))
@settings(max_examples=400, deadline=None)
def test_any_text_gives_a_value_or_an_input_error(text: str) -> None:
    with suppress(InputError):
        parse_yaml(text)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_a_value_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "f.yaml"
    file.write_bytes(data)
    with suppress(InputError):
        read_yaml(file)


@pytest.mark.deep
@given(st.one_of(st.text(), YAMLISH))
@settings(max_examples=50_000, deadline=None)
def test_any_text_gives_a_value_or_an_input_error_at_length(text: str) -> None:
    with suppress(InputError):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n\tb: 1\n", "there is a tab here; indent with spaces"),
        ("a:\n  b 1\n  c: 2\n", "without its colon"),
        ("a:\n    b: 1\n   c: 2\n", "indented otherwise"),
        ("a: [1, 2\n", "left open"),
    ],
)
def test_what_is_not_yaml_is_answered_with_what_most_likely_helps(text: str, expected: str) -> None:
    assert expected in refusal(text)
