"""Models as a data scientist leaves them: what goes in is what comes out, by ONNX Runtime and by our own artefact."""

from __future__ import annotations

import json
import py_compile
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from compiler.backends import BACKENDS
from compiler.build import build
from compiler.child import Limits
from compiler.convert import hand_in, handed_in
from compiler.given import Given
from compiler.job import job
from compiler.signature import read_signature
from compiler.store import Store
from runtime.executors import open_executor
from runtime.stages.functions import load_function
from specs.errors import AnswerIsNo, EnvironmentFailed, InputError, NotKnown
from tests.compiler.trained import fitted

TRAINED = Path(__file__).parent / "trained"


def needs(*libraries: str) -> None:
    """Skip where a library, or what converts its models, is not installed."""
    converters = {"sklearn": "skl2onnx", "xgboost": "onnxmltools", "lightgbm": "onnxmltools", "torch": "onnxscript"}
    for library in libraries:
        for module in (library, converters.get(library, library)):
            if find_spec(module) is None:
                pytest.skip(f"{module} is not installed")


def given(function: str, store: Path) -> Given:
    return hand_in(TRAINED, f"fitted:{function}", Store(store), load_function)


def by_onnxruntime(model: Given, x: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(model.file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))


def by_artefact(model: Given, x: np.ndarray, store: Path) -> dict[str, np.ndarray]:
    """One row after the other, as at a site."""
    executor = open_executor(build(job(model, "tvm"), Store(store)), 1)
    (name,) = read_signature(model.file).inputs
    answers = [executor.run({name: row[None]}) for row in x]
    return {key: np.concatenate([a[key] for a in answers]) for key in answers[0]}


def classes_and_chances(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    chances = (model[0] if isinstance(model, tuple) else model).predict_proba(x)
    return {"label": chances.argmax(axis=1), "probabilities": chances}


def numbers(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {"variable": np.asarray((model[0] if isinstance(model, tuple) else model).predict(x)).reshape(-1, 1)}


def margins(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {"label": model.predict(x), "probabilities": model.decision_function(x).reshape(-1, 1)}


def of_a_booster(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    import xgboost

    beyond = model.predict(xgboost.DMatrix(x, feature_names=model.feature_names))
    return {"label": (beyond > 0.5).astype(np.int64), "probabilities": np.stack([1 - beyond, beyond], axis=1)}


def of_odd_classes(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {"label": model.predict(x), "probabilities": model.predict_proba(x)}


Answer = Callable[[Any, np.ndarray], dict[str, np.ndarray]]
CASES: dict[str, tuple[str, Answer]] = {
    "forest_of_two": ("sklearn", classes_and_chances),
    "forest_of_words": ("sklearn", classes_and_chances),
    "forest_of_amounts": ("sklearn", numbers),
    "boosted_by_histogram": ("sklearn", classes_and_chances),
    "pipeline": ("sklearn", classes_and_chances),
    "network": ("sklearn", classes_and_chances),
    "line": ("sklearn", numbers),
    "margins": ("sklearn", margins),
    "xgboost_of_three": ("xgboost", classes_and_chances),
    "xgboost_of_amounts": ("xgboost", numbers),
    "xgboost_with_names": ("xgboost", of_a_booster),
    "xgboost_in_a_pipeline": ("xgboost", classes_and_chances),
    "lightgbm_of_words": ("lightgbm", classes_and_chances),
    "lightgbm_of_odd_classes": ("lightgbm", of_odd_classes),
    "lightgbm_of_amounts": ("lightgbm", numbers),
}


LONG = {
    *("boosted_by_histogram", "network", "line", "margins"),
    *("xgboost_of_amounts", "xgboost_with_names", "lightgbm_of_odd_classes", "lightgbm_of_amounts"),
}
"""Left to `make test-deep`."""


@pytest.mark.parametrize("function", [pytest.param(f, marks=[pytest.mark.deep] * (f in LONG)) for f in CASES])
def test_a_model_answers_as_its_own_library_does(function: str, tmp_path: Path) -> None:
    library, answer = CASES[function]
    needs(library)
    x = fitted.rows(40, seed=1)
    model = given(function, tmp_path)
    expected = answer(getattr(fitted, function)(), x)
    for found in (by_onnxruntime(model, x), by_artefact(model, x, tmp_path)):
        for name, value in expected.items():
            if name == "label":
                np.testing.assert_array_equal(found[name], value)
            else:
                np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)
    conversion = model.conversion
    assert conversion is not None
    assert conversion.difference is not None
    assert conversion.difference < 1e-5
    assert conversion.items >= 2048


def test_inputs_on_a_threshold_are_counted_and_do_not_refuse_a_model(tmp_path: Path) -> None:
    """XGBoost splits at values of the data; those that were scaled before lie on either side, as rounding decides."""
    needs("xgboost")
    conversion = given("xgboost_in_a_pipeline", tmp_path).conversion
    assert conversion is not None
    assert 0 < conversion.edges < 0.1 * conversion.items
    assert conversion.difference is not None
    assert conversion.difference < 1e-5


def test_a_pipeline_that_chooses_columns_by_name_takes_them_in_their_order(tmp_path: Path) -> None:
    needs("sklearn", "pandas")
    model = given("pipeline_by_names", tmp_path)
    pipeline, table = fitted.pipeline_by_names()
    assert {k: str(v) for k, v in read_signature(model.file).inputs.items()} == {"x": "f32[6]"}
    found = by_artefact(model, table.to_numpy(np.float32)[:20], tmp_path)
    np.testing.assert_allclose(found["probabilities"], pipeline.predict_proba(table[:20]), atol=1e-5)


def test_missing_values_go_where_the_library_sends_them(tmp_path: Path) -> None:
    needs("sklearn", "lightgbm")
    x = fitted.rows(40, seed=1)
    x[::3, 1] = np.nan
    for function, answer in (("boosted_by_histogram", classes_and_chances), ("lightgbm_of_amounts", numbers)):
        model = given(function, tmp_path)
        expected = answer(getattr(fitted, function)(), x)
        found = by_artefact(model, x, tmp_path)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)
        assert model.conversion is not None
        assert not model.conversion.notes


def test_classes_that_are_words_become_numbers_and_are_told(tmp_path: Path) -> None:
    needs("sklearn")
    model = given("forest_of_words", tmp_path)
    assert model.conversion is not None
    assert model.conversion.classes == ("cat", "dog", "eel")
    assert {k: str(v) for k, v in read_signature(model.file).outputs.items()} == {
        "label": "i64",
        "probabilities": "f32[3]",
    }


@pytest.mark.parametrize("function", ["picture_net", "picture_program"])
def test_a_module_of_pytorch_answers_as_it_does(function: str, tmp_path: Path) -> None:
    needs("torch")
    import torch

    model = given(function, tmp_path)
    signature = read_signature(model.file)
    assert {k: str(v) for k, v in signature.inputs.items()} == {"image": "f32[3,16,16]"}
    net, _ = fitted.picture_net()
    x = np.random.default_rng(1).standard_normal((4, 3, 16, 16)).astype(np.float32)
    with torch.no_grad():
        expected = net.eval()(torch.from_numpy(x)).numpy()
    (output,) = signature.outputs
    np.testing.assert_allclose(by_artefact(model, x, tmp_path)[output], expected, rtol=1e-4, atol=1e-5)
    assert model.conversion is not None
    assert model.conversion.difference is not None
    assert model.conversion.difference < 1e-5


def test_names_of_inputs_and_outputs_are_those_of_the_module(tmp_path: Path) -> None:
    needs("torch")
    signature = read_signature(given("word_net", tmp_path).file)
    assert {k: str(v) for k, v in signature.inputs.items()} == {"ids": "i64[12]", "mask": "f32[12]"}
    assert {k: str(v) for k, v in signature.outputs.items()} == {"vector": "f32[8]", "scores": "f32[4]"}


@pytest.mark.parametrize("ending", ["json", "ubj"])
def test_a_file_of_xgboost_is_taken_as_it_is(ending: str, tmp_path: Path) -> None:
    needs("xgboost")
    model = fitted.xgboost_of_three()
    model.save_model(tmp_path / f"model.{ending}")
    found = hand_in(tmp_path, f"model.{ending}", Store(tmp_path / "store"), load_function)
    x = fitted.rows(40, seed=1)
    np.testing.assert_allclose(by_onnxruntime(found, x)["probabilities"], model.predict_proba(x), atol=1e-5)


def test_a_file_of_lightgbm_is_taken_as_it_is(tmp_path: Path) -> None:
    needs("lightgbm")
    model = fitted.lightgbm_of_words().booster_
    model.save_model(tmp_path / "model.txt")
    found = hand_in(tmp_path, "model.txt", Store(tmp_path / "store"), load_function)
    x = fitted.rows(40, seed=1)
    np.testing.assert_allclose(by_onnxruntime(found, x)["probabilities"], model.predict(x), atol=1e-5)


def test_an_onnx_model_that_a_function_made_is_taken_and_compared_with_nothing(tmp_path: Path) -> None:
    found = given("an_onnx_model", tmp_path)
    assert found.conversion is not None
    assert found.conversion.difference is None
    x = np.array([[-1, 0, 2]], np.float32)
    np.testing.assert_array_equal(by_artefact(found, x, tmp_path)["y"], [[0, 0, 2]])


def test_what_onnx_would_say_otherwise_is_refused(tmp_path: Path) -> None:
    needs("lightgbm")
    with pytest.raises(
        AnswerIsNo,
        match=r"fitted:lightgbm_of_means: as ONNX, it answers [\d,]+ of 1,024 inputs otherwise than LightGBM",
    ):
        given("lightgbm_of_means", tmp_path)
    assert not list(tmp_path.rglob("*.onnx"))


@pytest.mark.parametrize(
    ("function", "libraries", "message"),
    [
        ("not_fitted", ("sklearn",), "RandomForestClassifier is not fitted .*call fit"),
        ("xgboost_not_fitted", ("xgboost",), "XGBClassifier is not fitted"),
        ("lightgbm_not_fitted", ("lightgbm",), "LGBMRegressor is not fitted"),
        ("xgboost_of_lines", ("xgboost",), "booster of the kind gblinear cannot be converted"),
        ("net_without_example", ("torch",), r"example inputs are missing \(return \(module, example inputs\)\)"),
        ("net_without_batch", ("torch",), r"output 'sum.*' has shape \[\] for 1 inputs .*leading batch dimension"),
        ("with_words_for_numbers", ("sklearn",), "example inputs are not numbers"),
        ("with_too_few_features", ("sklearn",), r"shape \[3, 2\]; expected rows of 6 numbers"),
        ("nothing", (), "expected an estimator of scikit-learn.* got NoneType"),
        ("fails", (), r"fitted.py:\d+:1: fitted:fails: KeyError: 'no such measurement'"),
        ("leaves", (), "fitted:leaves: SystemExit: 7"),
        ("asks", (), r"asks\(\) missing 1 required positional argument.*called without arguments"),
        ("lacks_a_library", (), "No module named 'catboost'"),
        ("absent", (), "fitted has no function 'absent'"),
    ],
)
def test_a_function_that_gives_no_model_is_one_clear_error(
    function: str, libraries: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    needs(*libraries)
    with pytest.raises(InputError, match=message) as error:
        given(function, tmp_path)
    (issue,) = error.value.issues
    assert issue.place is not None
    assert issue.place.file == str(TRAINED / "fitted.py")
    assert "\n" not in str(issue)


def test_a_function_that_crashes_or_hangs_ends_a_child_alone(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="SIGABRT"):
        given("crashes", tmp_path)
    with pytest.raises(NotKnown, match="no result within"):
        hand_in(TRAINED, "fitted:takes_long", Store(tmp_path), load_function, limits=Limits(seconds=5))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.json", b"{}"),
        ("model.json", b"[" * 300_000),
        ("model.json", b'{"learner": ' * 40_000),
        ("model.ubj", b""),
        ("model.ubj", b"\x00\xff" * 999),
        ("model.txt", b""),
        ("model.txt", b"tree\n"),
        ("model.txt", b"\x00\xff" * 999),
    ],
)
def test_a_hostile_file_is_one_clear_error(file: str, content: bytes, tmp_path: Path) -> None:
    needs("lightgbm" if file.endswith(".txt") else "xgboost")
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match="not a model") as error:
        hand_in(tmp_path, file, Store(tmp_path / "store"), load_function)
    assert "\n" not in str(error.value)


def test_no_change_of_a_file_does_worse_than_an_error(tmp_path: Path) -> None:
    """Files of which one number was changed, or that end early, are refused or read; nothing else happens."""
    needs("lightgbm")
    fitted.lightgbm_of_words().booster_.save_model(tmp_path / "good.txt")
    good = (tmp_path / "good.txt").read_text()
    for old, new in (
        ("left_child=", "left_child=99999"),
        ("split_feature=", "split_feature=-7"),
        ("num_leaves=", "num_leaves=9"),
    ):
        (tmp_path / "bad.txt").write_text(good.replace(old, new))
        with pytest.raises(InputError):
            hand_in(tmp_path, "bad.txt", Store(tmp_path / "store"), load_function)


@pytest.mark.parametrize("file", ["model.pkl", "model.joblib", "model.pt", "model.pth", "model.pt2", "model.keras"])
def test_a_file_that_would_run_code_is_not_even_opened(file: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"runs code where it is loaded.*module:function"):
        hand_in(tmp_path, file, Store(tmp_path / "store"), load_function)


@pytest.mark.parametrize(
    ("module", "file", "message"),
    [
        ("xgboost", "model.json", r"XGBoost is not installed here; pip install 'tierplan\[xgboost\]'"),
        ("onnxmltools", "model.json", r"onnxmltools, which converts models of XGBoost, .*\[xgboost\]"),
        ("lightgbm", "model.txt", r"LightGBM is not installed here; pip install 'tierplan\[lightgbm\]'"),
        ("sklearn", "made:forest", r"scikit-learn is not installed here; pip install 'tierplan\[sklearn\]'"),
        ("torch", "made:net", r"PyTorch is not installed here; pip install 'tierplan\[torch\]'"),
    ],
)
def test_a_missing_library_names_its_extra(
    module: str, file: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if module == "onnxmltools":
        needs("xgboost")
        fitted.xgboost_of_three().save_model(tmp_path / file)
    elif file.endswith((".json", ".txt")):
        (tmp_path / file).write_text("tree\n")
    (tmp_path / "made.py").write_text("def forest():\n    import sklearn\n\n\ndef net():\n    import torch\n")
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    # As if it were not installed: Python runs this at the start of the child.
    (blocked / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(blocked), prepend=":")
    with pytest.raises(EnvironmentFailed, match=message):
        hand_in(tmp_path, file, Store(tmp_path / "store"), load_function)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A function that reads a file: an ONNX model, so that no library is needed."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(TRAINED / "fitted.py", folder / "fitted.py")
    text = (folder / "fitted.py").read_text()
    text += '\n\ndef reads_a_file() -> Any:\n    open("kind.txt").read()\n    return an_onnx_model()\n'
    (folder / "fitted.py").write_text(text)
    (folder / "kind.txt").write_text("relu")
    return folder


def test_a_model_is_converted_once_until_its_sources_change(project: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = hand_in(project, "fitted:an_onnx_model", store, load_function)
    assert handed_in(project, "fitted:an_onnx_model", store) == first
    with (project / "fitted.py").open("a") as stream:
        stream.write("# another day\n")
    assert handed_in(project, "fitted:an_onnx_model", store) is None
    second = hand_in(project, "fitted:an_onnx_model", store, load_function)
    assert second.source != first.source
    assert second.content == first.content  # it is the same model after all
    assert job(second, "tvm").key != job(first, "tvm").key


def test_a_file_that_a_function_reads_must_be_named(project: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(InputError, match=r"reads kind.txt, whose change.*add reads: \[kind.txt\]"):
        hand_in(project, "fitted:reads_a_file", store, load_function)
    first = hand_in(project, "fitted:reads_a_file", store, load_function, ["kind.txt"])
    (project / "kind.txt").write_text("sigmoid")
    assert handed_in(project, "fitted:reads_a_file", store, ["kind.txt"]) is None
    assert hand_in(project, "fitted:reads_a_file", store, load_function, ["kind.txt"]).source != first.source


def test_a_module_beside_the_functions_own_counts_as_a_file_that_it_reads(project: Path, tmp_path: Path) -> None:
    """Compiled by Python or not; from whichever directory the command is called."""
    (project / "made.py").write_text("import shared\n\n\ndef make():\n    return shared.an_onnx_model()\n")
    (project / "fitted.py").rename(project / "shared.py")
    (project / "compiler.py").write_text("raise RuntimeError('ours comes first')\n")
    store = Store(tmp_path / "store")
    for compiled in (False, True):
        if compiled:
            py_compile.compile(str(project / "shared.py"))
        with pytest.raises(InputError, match=r"reads shared.py, whose change .*add reads: \[shared.py\]"):
            hand_in(project, "made:make", store, load_function)
        shutil.rmtree(store.root)
    found = hand_in(project, "made:make", store, load_function, ["shared.py"])
    assert found.conversion is not None
    assert list(found.conversion.reads) == ["shared.py"]


def test_a_model_alone_may_read_what_it_likes_and_changes_of_it_are_noticed(project: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = hand_in(project, "fitted:reads_a_file", store, load_function, None)
    assert first.conversion is not None
    assert list(first.conversion.reads) == ["kind.txt"]
    assert handed_in(project, "fitted:reads_a_file", store, None) == first
    (project / "kind.txt").write_text("sigmoid")
    assert handed_in(project, "fitted:reads_a_file", store, None) is None


def test_a_conversion_that_was_changed_in_the_store_is_made_again(project: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = hand_in(project, "fitted:an_onnx_model", store, load_function)
    first.file.write_bytes(b"something else")
    assert handed_in(project, "fitted:an_onnx_model", store) is None
    assert hand_in(project, "fitted:an_onnx_model", store, load_function) == first
    note = first.file.parent / "conversion.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"file": "../../elsewhere.onnx"}))
    assert handed_in(project, "fitted:an_onnx_model", store) is None


def test_the_bytes_of_a_conversion_do_not_depend_on_when_it_was_made(tmp_path: Path) -> None:
    needs("xgboost")
    first, second = (given("xgboost_of_three", tmp_path / name) for name in "ab")
    assert first.content == second.content
    for backend in BACKENDS:
        assert job(first, backend).key == job(second, backend).key
