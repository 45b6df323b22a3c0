"""Loading: every error of a file at once, each with its line, what was expected and the nearest word."""

from __future__ import annotations

import random
import string
from contextlib import suppress
from pathlib import Path

import pytest

from specs.application import LatencyObjective, PathConstraint
from specs.errors import InputError
from specs.infrastructure import Members
from specs.load import load_application, load_infrastructure
from tests.specs.writing import APP, INFRA, changed, lines, load, write

DATA = Path(__file__).parent / "data"


def app_issues(folder: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_application(write(folder, app=text)[0])
    return lines(caught.value.issues)


def infra_issues(folder: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_infrastructure(write(folder, infra=text)[1])
    return lines(caught.value.issues)


def test_all_that_the_example_of_the_grammar_uses_is_parsed() -> None:
    app = load_application(DATA / "app.yaml").value
    infra = load_infrastructure(DATA / "infra.yaml").value
    assert app.components["vision"].split == "allowed"
    assert app.components["tokens"].when is not None
    assert str(app.components["tokens"].when) == "not vision.sure"
    assert app.components["decide"].inputs["vector"].if_skipped == 0
    assert app.components["language"].variants["int8"].quantize == "fp32"
    assert app.objective == ("cost", LatencyObjective(latency="answer_time"))
    assert isinstance(app.constraints["answer_time"], PathConstraint)
    assert app.constraints["answer_time"].limits == {0.99: 0.9}
    assert infra.sites["phones"].count == Members(500, "bases")
    assert infra.members("phones") == 2000
    assert infra.links["lte"].direction("up").rate == pytest.approx(1e6)
    assert infra.links["atlantic"].direction("down").egress == pytest.approx(2e-11)


def test_the_files_of_the_tests_are_right(tmp_path: Path) -> None:
    app, infra = load(tmp_path)
    assert app.value.name == "small"
    assert app.folder == tmp_path
    assert infra.value.members("phones") == 20


def test_an_unknown_key_names_the_nearest_one(tmp_path: Path) -> None:
    found = app_issues(tmp_path, changed(APP, ("    function: steps:split", "    functoin: steps:split")))
    assert "app.yaml:11:5: unknown key 'functoin' (did you mean 'function'?)" in found


def test_all_errors_of_a_file_come_at_once_in_order(tmp_path: Path) -> None:
    broken = changed(
        APP,
        ("rate: 1/s", "rate: 1/sec"),
        ('"i64[16]"', '"i65[16]"'),
        ("p99: 200 ms", "p99: -200 ms"),
        ("cost,", "cots,"),
    )
    found = app_issues(tmp_path, broken)
    assert [line.split(":")[1] for line in found] == sorted((line.split(":")[1] for line in found), key=int)
    for line, text in ((6, "unknown unit '/sec'"), (13, "expected a type"), (28, "is negative"), (29, "'cots'")):
        assert any(found_line.startswith(f"app.yaml:{line}:") and text in found_line for found_line in found), (
            line,
            found,
        )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("rate: 1/s", "rate: -1/s", "negative"),
        ("rate: 1/s", "rate: {mean: 2/s, peak: 1/s}", "not below the mean"),
        ("rate: 1/s", "rate: 0", "above zero"),
        ("name: small", "name: 'a b'", "expected a name"),
        ("name: small\n", "", "'name' is missing"),
        ("inputs: {text: ask.text}", "inputs: {text: ask}", "expected component.output"),
        ("when: not split.short", "when: if split.short", "expected 'component.output' or 'not component.output'"),
        ("when: not split.short", "when: split.short and x", "expected 'component.output' or 'not component.output'"),
        ("function: steps:embed", "function: steps:embed\n    model: m.onnx", "exactly one of model, function"),
        ("p99: 200 ms", "p98: 200 ms", "unknown key 'p98'"),
        ("p99: 200 ms", "over: all", "at least one of p50, p95 and p99"),
        ("{from: ask, to: answer, p99: 200 ms}", "{speed: 7}", "not a constraint that is known"),
        ("{from: ask, to: answer, p99: 200 ms}", "5 ms", "got '5 ms' (as in {from: SOURCE, to: SINK, p99: 500 ms}"),
        (
            "at: {tier: edge}",
            "at: edge",
            "sources.ask.at: expected keys with values, got 'edge' (as in at: {tier: edge})",
        ),
        ("{type: string, size: 80 B}", "string", "got 'string' (known keys: size, type)"),
        ("objective: [cost,", "objective: [cots,", "got 'cots'; did you mean 'cost'?"),
        (
            "{latency: answer_time}]",
            "latency]",
            "expected cost, energy, accuracy, throughput or {latency: CONSTRAINT}, got 'latency'",
        ),
        ("when: not split.short", "when: !split.short", "is written: not component.output"),
        ('outputs: {vector: "f32[8]"}', "outputs: {vector: f32[8]}", "put a type with brackets in quotes"),
        ("tierplan.app/v1", "tierplan.app/v9", "'tierplan.app/v1'"),
        ("objective: [cost, {latency: answer_time}]", "objective: []", "objective"),
    ],
)
def test_a_wrong_value_says_what_was_expected(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = app_issues(tmp_path, changed(APP, (old, new)))
    assert any(expected in line for line in found), found
    assert all(line.startswith("app.yaml:") for line in found)


@pytest.mark.parametrize("wrong", ["[cots]", "cots", "[latency]"])
def test_a_wrong_objective_is_told_once(tmp_path: Path, wrong: str) -> None:
    found = app_issues(tmp_path, changed(APP, ("[cost, {latency: answer_time}]", wrong)))
    assert len(found) == 1, found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("count: 10 per bases", "count: ten", "expected a count such as 4"),
        ("devices: 0..2", "devices: 2..0", "expected a count"),
        ("emulate: {cpu: 0.2}", "emulate: {cpu: 0}", "expected a number above 0, got 0"),
        ("emulate: {cpu: 0.2}", "emulate: {cpu: 0.2}, device: here", "at most one of emulate and device"),
        ("rate: 10 Mbit/s", "rate: 0 Mbit/s", "above zero"),
        ("rate: 10 Mbit/s", "up: {rate: 1 Mbit/s}", "either rate, or both up and down"),
        ("[phones, bases]", "[phones, phones]", "two different sites"),
        ("[phones, bases]", "[phones]", "expected two sites such as [phones, bases], got a list of 1"),
        ("rate: 10 Mbit/s", "rate: 10 Mb/s", "did you mean 'Mbit/s'"),
        ("rate: 10 Mbit/s", "rate: 10 Mbps", "did you mean 'Mbit/s'"),
        ("hardware:", "currency: usd\nhardware:", "expected three capital letters such as USD, got 'usd'"),
        ("price: 0.1/h", "price: 0.1 EUR/h", "is in EUR; expected USD"),
        ("sharing: time", "sharing: tme", "did you mean 'time'"),
    ],
)
def test_a_wrong_infrastructure_says_what_was_expected(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = infra_issues(tmp_path, changed(INFRA, (old, new)))
    assert any(expected in line for line in found), found


def test_a_direction_may_be_a_rate_alone(tmp_path: Path) -> None:
    file = tmp_path / "infra.yaml"
    file.write_text(changed(INFRA, ("rate: 10 Mbit/s", "up: 5 Mbit/s, down: {rate: 20 Mbit/s}")))
    link = load_infrastructure(file).value.links["radio"]
    assert link.direction("up").rate * 8 == pytest.approx(5e6)
    assert link.direction("down").rate * 8 == pytest.approx(2e7)
    assert infra_issues(tmp_path, changed(INFRA, ("rate: 10 Mbit/s", "up: 0 Mbit/s, down: 1 Mbit/s")))


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert app_issues(tmp_path, "- 1\n- 2\n")
    assert app_issues(tmp_path, "just words\n")


@pytest.mark.parametrize("seed", range(150))
def test_a_damaged_application_is_right_or_an_input_error(tmp_path: Path, seed: int) -> None:
    """Never another exception: a part of the text is removed, doubled, or replaced by noise."""
    chance = random.Random(seed)
    text = APP
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(text))
        end = min(len(text), start + chance.randint(1, 30))
        noise = "".join(chance.choices(string.printable, k=chance.randint(0, 5)))
        text = text[:start] + chance.choice(["", noise, text[start:end] * 2]) + text[end:]
    with suppress(InputError):
        load_application(write(tmp_path, app=text)[0])


def test_a_key_is_never_suggested_for_itself(tmp_path: Path) -> None:
    """The tag of a constraint's kind may be a key as well."""
    quality = '  quality: {accuracy: ">= 0.5", on: some, p99: 3 s, accurcy: 1}'
    found = app_issues(tmp_path, changed(APP, ("constraints:", f"constraints:\n{quality}")))
    assert len(found) == 2
    assert "unknown key 'p99' (known keys: accuracy, on)" in found[0]
    assert "unknown key 'accurcy' (did you mean 'accuracy'?)" in found[1]


@pytest.mark.parametrize("word", ["true", "false"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("function: steps:embed", "function: steps:embed\n    standby: {}"),
        ("function: steps:embed", "model: embed.onnx\n    dims: {T: [{}]}"),
        ("function: steps:embed", "model: embed.onnx\n    batch: {}"),
        ("function: steps:embed", "model: embed.onnx\n    batch: {max: {}}"),
        ("function: steps:embed", "model: embed.onnx\n    batch: {max: 4, wait: {}}"),
        ("rate: 1/s", "rate: {}"),
        ("size: 80 B", "size: {}"),
        ("p99: 200 ms", "p99: {}"),
        ("constraints:", "constraints:\n  c: {cost: {}}"),
        ("constraints:", "constraints:\n  c: {energy: {}}"),
        ("constraints:", "constraints:\n  c: {memory: {}}"),
        ("constraints:", "constraints:\n  c: {throughput: {}}"),
        ("constraints:", "constraints:\n  c: {share: {}, from: ask, to: answer}"),
        ("constraints:", "constraints:\n  c: {accuracy: {}, on: d}"),
        ("cores: 1", "cores: {}"),
        ("cores: 1", "cores: 1, memory: {}"),
        ("cores: 1", "cores: 1, power: {}"),
        ("cores: 1", "cores: 1, power: [{}, {}]"),
        ("cores: 1", "cores: 1, speed: {ghz: {}, flops: 8, gb_per_s: 8}"),
        ("cores: 1", "cores: 1, speed: {ghz: 1, flops: {}, gb_per_s: 8}"),
        ("cores: 1", "cores: 1, speed: {ghz: 1, flops: 8, gb_per_s: {}}"),
        ("cpu: 0.2", "cpu: {}"),
        ("price: 0.1/h", "price: {}"),
        ("count: 2", "count: {}"),
        ("devices: 1,", "devices: {},"),
        ("devices: 1,", "devices: [{}, {}],"),
        ("devices: 1,", "devices: 1, price: {},"),
        ("delay: 5 ms", "delay: {}"),
        ("delay: 5 ms", "delay: {mean: {}}"),
        ("rate: 10 Mbit/s", "rate: {}"),
        ("rate: 10 Mbit/s", "rate: 10 Mbit/s, egress: {}"),
        ("rate: 10 Mbit/s", "rate: 10 Mbit/s, loss: {}"),
        ("tier: edge\n    count", "tier: edge\n    electricity: {}\n    count"),
    ],
)
def test_true_and_false_are_no_numbers(tmp_path: Path, old: str, new: str, word: str) -> None:
    new = new.replace("{}", word)
    found = (
        app_issues(tmp_path, changed(APP, (old, new)))
        if old in APP
        else infra_issues(tmp_path, changed(INFRA, (old, new)))
    )
    said = (word, word.capitalize())
    assert any("expected" in line and line.partition(" got ")[2].strip("([').,").startswith(said) for line in found), (
        found
    )
