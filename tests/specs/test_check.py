"""Cross references: each broken one is found, at its line, with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.artefact import ModelSignature
from specs.errors import InputError
from specs.tensors import parse_type
from tests.specs.writing import APP, INFRA, changed, problems


def signature(inputs: dict[str, str], outputs: dict[str, str]) -> ModelSignature:
    def types(named: dict[str, str]) -> dict[str, object]:
        return {name: parse_type(text) for name, text in named.items()}

    return ModelSignature.model_validate({"inputs": types(inputs), "outputs": types(outputs)})


def with_model(folder: Path, *changes: tuple[str, str]) -> str:
    """The application with `embed` as a model."""
    (folder / "embed.onnx").write_bytes(b"a test of names does not read it")
    return changed(APP, ("function: steps:embed", "model: embed.onnx"), *changes)


def test_files_that_are_right_have_no_problem(tmp_path: Path) -> None:
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "ids: split.ids",
            "ids: spilt.ids",
            "app.yaml:17:14: unknown source or component 'spilt' (did you mean 'split'?)",
        ),
        ("ids: split.ids", "ids: split.idz", "app.yaml:17:14: 'split' has no output 'idz' (did you mean 'ids'?)"),
        ("text: ask.text", "text: ask.txt", "app.yaml:12:14: 'ask' has no output 'txt' (did you mean 'text'?)"),
        ("not split.short", "not split.sort", "app.yaml:15:5: 'split' has no output 'sort' (did you mean 'short'?)"),
        ("not split.short", "split.ids", "app.yaml:15:5: a gate must be bool; split.ids is i64[16]"),
        ("{from: ask,", "{from: asc,", "app.yaml:28:17: unknown source 'asc' (did you mean 'ask'?)"),
        ("to: answer,", "to: anwser,", "app.yaml:28:28: unknown sink or component 'anwser' (did you mean 'answer'?)"),
        ("p99: 200 ms", "p99: 200 ms, over: {when: embedd}", "unknown component 'embedd' (did you mean 'embed'?)"),
        (
            "p99: 200 ms",
            "p99: 200 ms, over: {when: split.short}",
            "'split.short' is a value (write over: {when: embed})",
        ),
        ("p99: 200 ms", "p99: 200 ms, over: {when: not split.short}", "(write over: {when: embed})"),
        (
            "latency: answer_time",
            "latency: answer_tim",
            "unknown path constraint 'answer_tim' (did you mean 'answer_time'?)",
        ),
        (
            "function: steps:embed",
            "function: steps:embed\n    with: [splitt]",
            "unknown component 'splitt' (did you mean 'split'?)",
        ),
        (
            "function: steps:embed",
            "function: steps:embed\n    apart_from: [embed]",
            "'embed' is apart_from itself (name another component)",
        ),
        (
            "function: steps:embed",
            "function: steps:embed\n    requires: [gpu]",
            "no hardware and no site has 'gpu'",
        ),
        ("tier: edge", "tier: egde", "app.yaml:5:10: no site with tier 'egde' (did you mean 'edge'?)"),
        ("tier: edge", "planet: mars", "app.yaml:5:10: no site with planet 'mars' (no site has a label 'planet')"),
        (", size: 80 B", "", "app.yaml:8:7: ask.text is string: its size is missing (add size: {p50: ..., p99: ...})"),
        ("steps:embed", "steps:embedd", "steps.py has no function 'embedd' (did you mean 'embed'?)"),
        ("steps:embed", "stops:embed", "stops:embed: stops.py is missing"),
        ("steps:embed", "../steps:embed", "expected module:function, got '../steps:embed'"),
        ("function: steps:embed", "model: embed.onnx", "app.yaml:16:5: model file 'embed.onnx' is missing"),
        ("function: steps:embed", "model: ../embed.onnx", "'../embed.onnx' leaves the folder of the application"),
        ("function: steps:embed", "model: /etc/passwd", "'/etc/passwd' leaves the folder of the application"),
        (", if_skipped: 0", "", "'answer' gets no 'verdict' when 'decide' is skipped"),
        ("  answer: {at", "  embed: {at", "the name 'embed' is taken by one of the components"),
    ],
)
def test_a_broken_reference_is_named_at_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = problems(tmp_path, changed(APP, (old, new)))
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("10 per bases", "10 per base", "infra.yaml:8:5: unknown site 'base' (did you mean 'bases'?)"),
        ("{hardware: phone,", "{hardware: phones,", "unknown hardware 'phones' (did you mean 'phone'?)"),
        ("[phones, bases]", "[phones, bsaes]", "unknown site 'bsaes' (did you mean 'bases'?)"),
        ("count: 2", "count: 2 per phones", "sites are counted by each other: phones -> bases -> phones"),
        (
            "[bases, cloud], delay: 20 ms",
            "[phones, bases], delay: 20 ms",
            "no route between sites 'phones' and 'cloud'",
        ),
        (
            "rate: 10 Mbit/s",
            "up: {rate: 1 Mbit/s, shared: {by: cloud, rate: 9 Mbit/s}}, down: {rate: 1 Mbit/s}",
            "unknown end of this link 'cloud'",
        ),
    ],
)
def test_a_broken_infrastructure_is_named_at_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = problems(tmp_path, infra=changed(INFRA, (old, new)))
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(
    ("app", "infra"),
    [
        (("ask.text", "aks.text"), ("", "")),
        (("", ""), ("[bases, cloud], delay", "[bases, clowd], delay")),
        (("", ""), ("[phones, bases]", "[bases, cloud]")),
    ],
)
def test_one_mistake_is_told_once(tmp_path: Path, app: tuple[str, str], infra: tuple[str, str]) -> None:
    """What follows from it is not an error of its own."""
    assert len(problems(tmp_path, APP.replace(*app, 1), INFRA.replace(*infra, 1))) == 1


def test_a_misspelt_key_is_not_missing_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown key 'input'") as error:
        problems(tmp_path, APP.replace("inputs: {text: ask.text}", "input: {text: ask.text}"))
    assert len(error.value.issues) == 1


@pytest.mark.parametrize(("given", "fits"), [("9 EUR/month", False), ("9 USD/month", True), ("9/month", True)])
def test_a_budget_is_in_the_currency_of_the_prices(tmp_path: Path, given: str, fits: bool) -> None:
    app = changed(APP, ("objective:", f'  budget: {{cost: "<= {given}"}}\nobjective:'))
    expected = "app.yaml:29:12: '<= 9 EUR/month' is in EUR, but prices are in USD"
    assert problems(tmp_path, app) == ([] if fits else [expected])


def test_a_cycle_names_its_members_in_order(tmp_path: Path) -> None:
    app = changed(APP, ("inputs: {text: ask.text}", "inputs: {text: ask.text, again: decide.verdict}"))
    assert "app.yaml:10:3: components feed themselves: split -> decide -> split (expected a DAG)" in problems(
        tmp_path, app
    )


def test_a_component_that_feeds_itself_is_a_cycle(tmp_path: Path) -> None:
    app = changed(APP, ("inputs: {ids: split.ids}", "inputs: {ids: embed.vector}"))
    assert any("components feed themselves: embed -> embed" in line for line in problems(tmp_path, app))


def test_a_path_that_nothing_leads_along_is_refused(tmp_path: Path) -> None:
    more = "  other:\n    at: {tier: edge}\n    rate: 1/s\n    values: {x: {type: bool}}\ncomponents:\n"
    app = changed(APP, ("components:\n", more), ("{from: ask,", "{from: other,"))
    assert any("nothing leads from 'other' to 'answer'" in line for line in problems(tmp_path, app))


def test_data_must_exist_and_its_label_be_an_answer(tmp_path: Path) -> None:
    app = APP + "data: {held_out: {file: data.jsonl, label: verdikt}}\n"
    found = problems(tmp_path, app)
    assert any("data file 'data.jsonl' is missing" in line for line in found)
    assert any("unknown input of a sink 'verdikt' (did you mean 'verdict'?)" in line for line in found)


def test_residency_names_a_value_and_a_place(tmp_path: Path) -> None:
    found = problems(
        tmp_path, changed(APP, ("objective:", "  stay: {value: ask.txt, only_at: {region: uk}}\nobjective:"))
    )
    assert any("'ask' has no output 'txt'" in line for line in found)
    assert any("no site with region 'uk'" in line for line in found)


def test_a_shape_mismatch_names_both_types_and_both_lines(tmp_path: Path) -> None:
    signatures = {("embed", "default"): signature({"ids": "i64[32]"}, {"vector": "f32[8]"})}
    found = problems(tmp_path, with_model(tmp_path), signatures=signatures)
    expected = "split.ids is i64[16] (line 13), but input 'ids' of 'embed' takes i64[32], says model embed.onnx"
    assert found == [f"app.yaml:17:14: {expected}"]


def test_a_type_between_two_models_without_declared_outputs_is_checked(tmp_path: Path) -> None:
    app = with_model(
        tmp_path, ('    outputs: {vector: "f32[8]"}\n', ""), ("function: steps:decide", "model: embed.onnx")
    )
    signatures = {
        ("embed", "default"): signature({"ids": "i64[16]"}, {"vector": "f32[9]"}),
        ("decide", "default"): signature({"ids": "i64[16]", "vector": "f32[8]"}, {"verdict": "i64[1]"}),
    }
    found = problems(tmp_path, app, signatures=signatures)
    assert any("embed.vector is f32[9]" in line and "takes f32[8]" in line for line in found), found


UNDECLARED = ('    outputs: {vector: "f32[8]"}\n', "")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{from: embed.vector", "{from: embed.vektor", "'embed' has no output 'vektor', says model embed.onnx"),
        ("objective:", "  stay: {value: embed.vec, only_at: {tier: edge}}\nobjective:", "has no output 'vec'"),
        ("function: steps:decide", "function: steps:decide\n    when: embed.vectr", "has no output 'vectr'"),
        ("objective:", "  stay: {value: embed, only_at: {tier: edge}}\nobjective:", "expected source.value or"),
        (
            "function: steps:decide",
            "function: steps:decide\n    when: embed.vector",
            "a gate must be bool; embed.vector is f32[8], says model embed.onnx",
        ),
    ],
)
def test_what_is_read_of_a_model_without_declared_outputs_is_an_output_of_it(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    app = with_model(tmp_path, UNDECLARED, (old, new))
    signatures = {("embed", "default"): signature({"ids": "i64[16]"}, {"vector": "f32[8]"})}
    found = problems(tmp_path, app, signatures=signatures)
    assert len([line for line in found if expected in line]) == 1, found


@pytest.mark.parametrize("kind", ["bool", "bool[1]", "bool[B,1]"])
def test_a_gate_is_one_boolean_of_any_rank(tmp_path: Path, kind: str) -> None:
    gated = ("function: steps:decide", "function: steps:decide\n    when: embed.sure")
    app = with_model(tmp_path, UNDECLARED, gated, ("{from: embed.vector, if_skipped: 0}", "split.ids"))
    signatures = {("embed", "default"): signature({"ids": "i64[16]"}, {"sure": kind})}
    assert not [line for line in problems(tmp_path, app, signatures=signatures) if "gate" in line]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (signature({"idx": "i64[16]"}, {"vector": "f32[8]"}), "has no input 'ids' (did you mean 'idx'?)"),
        (
            signature({"ids": "i64[16]", "mask": "i64[16]"}, {"vector": "f32[8]"}),
            "input 'mask' of model embed.onnx is not",
        ),
        (signature({"ids": "i64[16]"}, {"vectors": "f32[8]"}), "has no output 'vector' (did you mean 'vectors'?)"),
        (
            signature({"ids": "i64[16]"}, {"vector": "f16[8]"}),
            "embed.vector is declared f32[8], but model embed.onnx gives f16[8]",
        ),
    ],
)
def test_a_model_must_agree_with_its_component(tmp_path: Path, given: ModelSignature, expected: str) -> None:
    found = problems(tmp_path, with_model(tmp_path), signatures={("embed", "default"): given})
    assert any(expected in line for line in found), found


def test_a_batch_that_is_declared_is_told_to_be_left_out(tmp_path: Path) -> None:
    app = with_model(tmp_path, ('"i64[16]"', '"i64[1,16]"'), ('"f32[8]"', '"f32[1,8]"'))
    signatures = {("embed", "default"): signature({"ids": "i64[16]"}, {"vector": "f32[8]"})}
    found = problems(tmp_path, app, signatures=signatures)
    hints = ["(the batch is left out: write i64[16])", "(the batch is left out: write f32[8])"]
    assert [any(line.endswith(hint) for line in found) for hint in hints] == [True, True], found


@pytest.mark.parametrize("written", ["steps.py:split", "steps.split"])
def test_a_function_named_otherwise_is_told_how(tmp_path: Path, written: str) -> None:
    (line,) = problems(tmp_path, changed(APP, ("function: steps:split", f"function: {written}")))
    assert line.endswith("(write steps:split)")


NAMED = {("embed", "default"): signature({"ids": "i64[T]"}, {"vector": "f32[8]"})}


def with_dims(folder: Path, dims: str, *changes: tuple[str, str]) -> str:
    """The application with a model whose component has `dims`."""
    text = with_model(folder, *changes)
    return changed(
        text,
        (
            "    inputs: {ids: split.ids}\n    outputs: {vec",
            f"    dims: {dims}\n    inputs: {{ids: split.ids}}\n    outputs: {{vec",
        ),
    )


def test_a_named_dimension_with_buckets_agrees_with_any_size_that_they_hold(tmp_path: Path) -> None:
    assert problems(tmp_path, with_dims(tmp_path, "{T: [4, 16]}"), signatures=NAMED) == []


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        ("{}", "dimension 'T' of input 'ids' of model embed.onnx has no size (add dims: {T: [16, 64, 128]})"),
        ("{t: [16]}", "no input of model embed.onnx has a dimension 't' (known: T)"),
        ("{T: [4, 8]}", "split.ids is i64[16], but the largest bucket of 'T' in 'embed' is 8 (add a bucket of 16)"),
        ("{T: {buckets: [16], pad: {idx: 1}}}", "'embed' has no input 'idx' to pad (did you mean 'ids'?)"),
    ],
)
def test_dims_must_be_those_of_the_model_and_hold_what_is_given(tmp_path: Path, dims: str, expected: str) -> None:
    found = problems(tmp_path, with_dims(tmp_path, dims), signatures=NAMED)
    assert any(expected in line for line in found), found
    assert all(line.startswith("app.yaml:") for line in found)


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        ("{T: [16, 4]}", "expected buckets that rise"),
        ("{T: []}", "expected a length of at least 1"),
        ("{T: [0]}", "expected a number of at least 1, got 0"),
        ("{T: {buckets: [4, 16], mix: [1]}}", "expected a share for each of 2 buckets, got 1"),
        ("{T: {buckets: [4, 16], mix: [50 %, 20 %]}}", "the shares of the mix sum to 0.7, not to 1"),
    ],
)
def test_buckets_and_their_mix_are_checked_where_they_stand(tmp_path: Path, dims: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as error:
        problems(tmp_path, with_dims(tmp_path, dims))
    assert "app.yaml:" in str(error.value)


def test_a_dimension_of_a_source_is_called_as_the_model_calls_it(tmp_path: Path) -> None:
    """Else nobody could tell at the door which lengths are held."""
    direct = [("text: {type: string, size: 80 B}", "text: {type: string, size: 80 B}\n      ids: {type: 'i64[L]'}")]
    text = changed(
        with_dims(tmp_path, "{T: [4, 16]}", *direct),
        ("{ids: split.ids}\n    outputs: {vec", "{ids: ask.ids}\n    outputs: {vec"),
    )
    found = problems(tmp_path, text, signatures=NAMED)
    assert any("ask.ids is i64[L]; 'embed' calls that dimension 'T' (write T for L" in line for line in found), found
    assert problems(tmp_path, text.replace("i64[L]", "i64[T]"), signatures=NAMED) == []


def test_all_problems_of_both_files_come_at_once(tmp_path: Path) -> None:
    app = changed(
        APP, ("ids: split.ids", "ids: spilt.ids"), ("tier: edge", "tier: egde"), ("steps:decide", "steps:decode")
    )
    found = problems(tmp_path, app, changed(INFRA, ("[phones, bases]", "[phones, bsaes]")))
    assert len(found) >= 4
    assert {line.split(":")[0] for line in found} == {"app.yaml", "infra.yaml"}


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("[accuracy, cost, accuracy]", "the objective accuracy is given twice"),
        ("[{latency: answer_time}, {latency: answer_time}]", "the objective latency of answer_time is given twice"),
    ],
)
def test_an_objective_that_is_given_twice_is_told_at_its_line(tmp_path: Path, objective: str, said: str) -> None:
    app = changed(APP, ("[cost, {latency: answer_time}]", objective))
    (problem,) = problems(tmp_path, app=app)
    line = next(i for i, text in enumerate(app.splitlines(), 1) if text.startswith("objective"))
    assert problem.startswith(f"app.yaml:{line}:")
    assert said in problem


def test_a_cut_names_a_variant_that_there_is(tmp_path: Path) -> None:
    (tmp_path / "embed.onnx").touch()
    variants = "variants: {small: {model: embed.onnx}}\n    split: {at: [{smal: t1}]}"
    found = problems(tmp_path, changed(with_model(tmp_path), ("model: embed.onnx", variants)))
    assert any("unknown variant of 'embed' 'smal' (did you mean 'small'?)" in line for line in found), found
