"""From float32 to int8: what is quantized, with which precision, and that it is made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from compiler.build import build
from compiler.given import Given
from compiler.job import job
from compiler.model import load_model, source_digest
from compiler.numerics import is_quantized
from compiler.quantizable import quantizable
from compiler.quantize import quantize, quantized
from compiler.quantize_worker import fitting_ranges
from compiler.schedules.short_sums import fit
from compiler.store import Store
from specs.errors import InputError
from tests.compiler.models import Array, cnn, model, pixels, reference, save

RNG = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Given, Given, Store]:
    """(the image model of the tests, the same in int8, where it lies)."""
    folder = tmp_path_factory.mktemp("quantize")
    file = save(cnn(np.random.default_rng(RNG)), folder / "cnn.onnx")
    base = Given("cnn", file, source_digest(file))
    rng = np.random.default_rng(1)
    store = Store(folder / "store")
    return base, quantize("cnn/int8", base, "of the cnn", [pixels(rng) for _ in range(8)], store), store


def test_an_image_model_in_int8_answers_nearly_as_in_float32(made: tuple[Given, Given, Store]) -> None:
    base, small, _ = made
    assert small.quantization is not None
    assert len(small.quantization.integers) == 5  # four convolutions and the dense layer
    assert small.quantization.samples == 8
    for seed in range(3):
        x = pixels(np.random.default_rng(seed + 50))
        (before,), (after,) = (reference(load_model(g.file), x) for g in (base, small))
        assert 0 < np.abs(before - after).max() < 0.03


def test_weights_use_seven_bits_with_a_step_for_each_channel(made: tuple[Given, Given, Store]) -> None:
    """Then no instruction set saturates, and what was measured on one machine holds on all."""
    graph = load_model(made[1].file).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    undone = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants]
    found = [constants[n.input[0]] for n in undone]
    weights = [w for w in found if w.ndim > 1]
    assert len(weights) == 5
    assert all(w.dtype == np.int8 and 60 <= np.abs(w.astype(int)).max() <= 64 for w in weights)
    channels = sorted(w.shape[0] for w in weights if w.ndim == 4)
    steps = [
        constants[n.input[1]].size for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants
    ]
    assert set(channels) <= set(steps)
    assert all(fit(w.swapaxes(0, 1).reshape(w.shape[1], -1)) for w in weights)  # the dense one is transposed


@settings(max_examples=40, deadline=None, derandomize=True)
@given(depth=st.integers(1, 20), taps=st.integers(1, 4), channels=st.integers(1, 9), seed=st.integers(0, 2**16))
def test_ranges_are_as_narrow_as_sums_of_four_allow(depth: int, taps: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = (rng.uniform(-1, 1, (depth, taps, channels)) ** 3).astype(np.float32)
    weights[:, :, 0] = 0
    ranges = fitting_ranges(weights)
    largest = np.abs(weights).max((0, 1))
    steps = np.where(ranges > 0, ranges / 64, 1).astype(np.float32)
    rounded = np.rint(weights / steps).astype(int)
    assert fit(rounded.reshape(depth, -1))
    assert (ranges >= largest).all()
    for channel in np.flatnonzero(ranges > 1.01 * largest):  # a narrower one would not do
        narrower = np.rint(weights[:, :, channel] / (0.9 * steps[channel])).astype(int)
        assert not fit(narrower) or ranges[channel] < 1.12 * largest[channel]


def test_ranges_of_the_tiniest_weights_are_found_too() -> None:
    """Widened by a share of itself, a range of so few units in the last place would be rounded back."""
    tiny = (np.array([33] + [32] * 7).reshape(8, 1, 1) * 2.0**-149).astype(np.float32)
    (found,) = fitting_ranges(tiny)
    assert found > tiny.max()


def test_it_is_made_once_and_again_where_its_file_was_changed(made: tuple[Given, Given, Store]) -> None:
    base, small, store = made
    assert quantized("cnn/int8", "of the cnn", store) == small
    assert quantized("cnn/int8", "of another", store) is None
    first = small.file.read_bytes()
    small.file.write_bytes(first[:-1])
    assert quantized("cnn/int8", "of the cnn", store) is None
    rng = np.random.default_rng(1)
    again = quantize("cnn/int8", base, "of the cnn", [pixels(rng) for _ in range(8)], store)
    assert again.file.read_bytes() == first  # the same inputs give the same bytes


def test_an_artefact_of_it_is_compared_as_a_quantized_model(made: tuple[Given, Given, Store]) -> None:
    base, small, store = made
    assert is_quantized(build(job(small, "onnxruntime"), store))
    assert not is_quantized(build(job(base, "onnxruntime"), store))


def test_what_would_lose_most_stays_in_float32_and_is_named() -> None:
    rng = np.random.default_rng(2)
    weights: dict[str, Array] = {
        "w": rng.standard_normal((8, 8, 1, 1)).astype(np.float32),
        "d": rng.standard_normal((8, 1, 3, 3)).astype(np.float32),
        "m": rng.standard_normal((6, 6)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="pointwise"),
        helper.make_node("Conv", ["c", "d"], ["e"], name="depthwise", group=8, pads=[1] * 4),
        helper.make_node("MatMul", ["e", "m"], ["p"], name="dense"),
        helper.make_node("MatMul", ["p", "e"], ["y"], name="attention"),
    ]
    found = quantizable(model(nodes, {"x": [1, 8, 6, 6]}, {"y": [None] * 4}, weights).graph)
    assert found.products == ("pointwise", "dense")
    assert found.floats == {"depthwise": "groups of few channels", "attention": "a product of two activations"}


def test_sums_of_floats_read_what_stood_before_rounding(tmp_path: Path) -> None:
    """A residual sum beside a quantized product keeps float32: its other summand is not rounded for nothing."""
    rng = np.random.default_rng(3)
    weights: dict[str, Array] = {"w": rng.standard_normal((6, 6)).astype(np.float32)}
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"], name="t"),
        helper.make_node("MatMul", ["t", "w"], ["p"], name="dense"),
        helper.make_node("Add", ["p", "t"], ["y"], name="sum"),
    ]
    file = save(model(nodes, {"x": [1, 6]}, {"y": [1, 6]}, weights), tmp_path / "m.onnx")
    x = {"x": rng.standard_normal((1, 6)).astype(np.float32)}
    small = quantize("m/int8", Given("m", file, "m"), "m8", [x], Store(tmp_path / "store"))
    (add,) = [n for n in load_model(small.file).graph.node if n.op_type == "Add"]
    assert "t" in add.input


def test_a_model_without_products_is_refused(tmp_path: Path) -> None:
    file = save(model([helper.make_node("Tanh", ["x"], ["y"])], {"x": [1, 3]}, {"y": [1, 3]}), tmp_path / "m.onnx")
    with pytest.raises(InputError, match="no convolution and no product"):
        quantize("m/int8", Given("m", file, "m"), "m8", [{"x": np.ones((1, 3), np.float32)}], Store(tmp_path / "s"))
    with pytest.raises(InputError, match="at least one input"):
        quantize("m/int8", Given("m", file, "m"), "m8", [], Store(tmp_path / "s"))
    assert onnx.load(str(file)).graph.node
