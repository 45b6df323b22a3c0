"""Reading ONNX files: what is wrong gives one clear error, what is right gives its signature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.model import load_model, prepare, source_digest
from compiler.signature import read_signature
from specs.digest import digest_file, digest_model
from specs.errors import InputError
from tests.compiler.forests import ensemble
from tests.compiler.models import cnn, model, save


def test_a_signature_leaves_the_batch_out_and_keeps_order_and_names(tmp_path: Path) -> None:
    file = save(cnn(np.random.default_rng(0)), tmp_path / "cnn.onnx")
    signature = read_signature(file)
    assert {k: str(v) for k, v in signature.inputs.items()} == {"pixels": "u8[3,32,32]"}
    assert {k: str(v) for k, v in signature.outputs.items()} == {"score": "f32[5]"}


def test_a_named_dimension_keeps_its_name_until_it_is_given_a_size(tmp_path: Path) -> None:
    proto = model([helper.make_node("Relu", ["ids"], ["y"])], {"ids": ["N", "T"]}, {"y": ["N", "T"]})
    file = save(proto, tmp_path / "m.onnx")
    assert str(read_signature(file).inputs["ids"]) == "f32[T]"
    with pytest.raises(InputError, match="dimension 'T' of input 'ids' has no size"):
        prepare(load_model(file), {}, str(file))
    fixed = prepare(load_model(file), {"T": 16}, str(file))
    assert [d.dim_value for d in fixed.graph.output[0].type.tensor_type.shape.dim] == [1, 16]


def _one_issue(error: pytest.ExceptionInfo[InputError], file: Path) -> str:
    (issue,) = error.value.issues
    assert issue.place is not None
    assert issue.place.file == str(file)
    assert "\n" not in issue.message
    return issue.message


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load_model(tmp_path / "no.onnx")
    assert "No such file" in _one_issue(error, tmp_path / "no.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07\x12\xff\xff\xff\xff\x0f", b"\x0a" * 4096])
def test_corrupt_bytes_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.onnx"
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_model(file)
    assert "ONNX model" in _one_issue(error, file)


def test_every_cut_off_copy_of_a_model_is_refused_or_read_but_never_crashes(tmp_path: Path) -> None:
    data = cnn(np.random.default_rng(0)).SerializeToString()
    file = tmp_path / "cut.onnx"
    for length in range(0, len(data) - 1, len(data) // 40):
        file.write_bytes(data[:length])
        with pytest.raises(InputError):
            load_model(file)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "sub/../../secret.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    folder = tmp_path / "models"
    folder.mkdir()
    file = _with_external(folder, location)
    with pytest.raises(InputError, match="outside the model's folder"):
        load_model(file)
    with pytest.raises(InputError, match="outside the model's folder"):
        source_digest(file)


def test_external_data_beside_the_model_is_read_and_part_of_its_digest(tmp_path: Path) -> None:
    data = tmp_path / "weights.bin"
    data.write_bytes(np.ones(4, np.float32).tobytes())
    file = _with_external(tmp_path, "weights.bin")
    assert load_model(file).graph.initializer[0].raw_data == data.read_bytes()
    before = source_digest(file)
    assert before == digest_model(file) != digest_file(file)
    data.write_bytes(np.zeros(4, np.float32).tobytes())
    assert source_digest(file) != before


def test_an_operator_of_another_domain_is_refused_by_name(tmp_path: Path) -> None:
    proto = model([helper.make_node("Magic", ["x"], ["y"], domain="com.example")], {"x": [1, 4]}, {"y": [1, 4]})
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    file = save(proto, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"operator Magic is of the domain 'com\.example'"):
        load_model(file)


def test_a_value_without_a_batch_dimension_is_refused(tmp_path: Path) -> None:
    proto = model([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], {"x": [1, 4]}, {"y": []})
    file = save(proto, tmp_path / "m.onnx")
    with pytest.raises(InputError, match="'y' has no leading batch dimension"):
        read_signature(file)


def test_a_larger_fixed_batch_is_refused(tmp_path: Path) -> None:
    file = save(model([helper.make_node("Relu", ["x"], ["y"])], {"x": [8, 4]}, {"y": [8, 4]}), tmp_path / "m.onnx")
    with pytest.raises(InputError, match="leading dimension of 8"):
        read_signature(file)


def _batch(proto: onnx.ModelProto, opset: int = 17) -> onnx.ModelProto:
    proto.opset_import[0].version = opset
    return proto


RELU = helper.make_node("Relu", ["x"], ["y"])
CANNOT_RUN = {
    "shapes that do not fit": (
        model(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            {"x": ["N", 4]},
            {"y": ["N", 2]},
            {"w": np.ones((5, 2), "f")},
        ),
        "Incompatible dimensions",
    ),
    "a set of operators to come": (_batch(model([RELU], {"x": [1, 4]}, {"y": [1, 4]}), 9999), "opset 9999 of ai.onnx"),
    "no operators": (model([], {"x": [1, 4]}, {"x": [1, 4]}), "the model has no operators"),
    "no inputs": (
        model([helper.make_node("Identity", ["w"], ["y"])], {}, {"y": [1, 4]}, {"w": np.ones((1, 4), "f")}),
        "the model has no inputs",
    ),
    "no outputs": (model([RELU], {"x": [1, 4]}, {}), "the model has no outputs"),
}


@pytest.mark.parametrize("case", CANNOT_RUN)
def test_a_model_that_cannot_run_is_one_clear_error(case: str, tmp_path: Path) -> None:
    proto, expected = CANNOT_RUN[case]
    file = save(proto, tmp_path / "m.onnx")
    with pytest.raises(InputError) as error:
        load_model(file)
    assert expected in _one_issue(error, file)


def _broken(name: str, value: int | bytes) -> onnx.ModelProto:
    """A forest in which the first entry of one column is another."""
    proto = ensemble(np.random.default_rng(0), 3, 2, 4)
    (attribute,) = (a for a in proto.graph.node[0].attribute if a.name == name)
    column = attribute.strings if isinstance(value, bytes) else attribute.ints
    column[0] = value
    return proto


BROKEN_TREES = {
    "a child that is not there": (_broken("nodes_truenodeids", 77), "a child that does not exist"),
    "a cycle": (_broken("nodes_truenodeids", 0), "a cycle"),
    "an unknown mode": (_broken("nodes_modes", b"BRANCH_WHAT"), "unknown branch mode"),
    "a target that is not there": (_broken("target_ids", 9), "target_ids are outside"),
    "a feature beyond the input": (_broken("nodes_featureids", 50), "reads feature 50 of 4"),
    "a negative feature": (_broken("nodes_featureids", -1), "reads feature -1"),
}


@pytest.mark.parametrize("case", BROKEN_TREES)
def test_trees_that_are_none_are_refused_where_the_model_is_read(case: str, tmp_path: Path) -> None:
    proto, expected = BROKEN_TREES[case]
    file = save(proto, tmp_path / "m.onnx")
    with pytest.raises(InputError) as error:
        load_model(file)
    assert expected in _one_issue(error, file)


def _with_external(folder: Path, location: str) -> Path:
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]})
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    proto.graph.initializer.append(tensor)
    file = folder / "m.onnx"
    file.write_bytes(proto.SerializeToString())
    return file


def test_shapes_in_external_data_are_read(tmp_path: Path) -> None:
    proto = model([helper.make_node("Reshape", ["x", "s"], ["y"])], {"x": [1, 4]}, {"y": [2, 2]})
    proto.graph.initializer.append(numpy_helper.from_array(np.array([2, 2], np.int64), "s"))
    file = tmp_path / "m.onnx"
    onnx.save(proto, str(file), save_as_external_data=True, location="all.bin", size_threshold=0)
    assert load_model(file).graph.node[0].op_type == "Reshape"


def test_external_data_that_is_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(2))
    with pytest.raises(InputError, match="invalid ONNX model"):
        load_model(_with_external(tmp_path, "weights.bin"))


def test_preparing_leaves_the_given_model_alone() -> None:
    proto = cnn(np.random.default_rng(0))
    before = proto.SerializeToString()
    prepare(proto, {}, "test.onnx")
    assert proto.SerializeToString() == before
    assert isinstance(proto, onnx.ModelProto)
