"""Winograd's algorithm: equal to direct convolution, as exact as is promised, used where it pays and told of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from onnx import ModelProto, helper
from tvm.runtime.vm import VirtualMachine

from compiler.host import host
from compiler.importer import import_model
from compiler.job import job
from compiler.lower import lower
from compiler.make import make
from compiler.model import prepare
from compiler.schedules.conv2d import Window
from compiler.schedules.machine import Machine
from compiler.schedules.winograd import pays
from compiler.store import Store
from tests.compiler.models import Array, assert_same, model, ours, reference, save

_SLOW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def convolution(
    channels: tuple[int, int], size: tuple[int, int], pads: list[int], stride: int = 1, batch: int = 1, seed: int = 0
) -> tuple[ModelProto, dict[str, Array]]:
    """A 3x3 convolution with bias, a residual sum and a rectifier, and an input."""
    rng = np.random.default_rng(seed)
    ins, outs = channels
    weights = {
        "w": (rng.standard_normal((outs, ins, 3, 3)) / np.sqrt(9 * ins)).astype(np.float32),
        "b": rng.standard_normal(outs).astype(np.float32),
        "r": rng.standard_normal((outs, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="the_convolution", pads=pads, strides=[stride] * 2),
        helper.make_node("Add", ["c", "r"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    x = rng.standard_normal((batch, ins, *size)).astype(np.float32)
    return model(nodes, {"x": x.shape}, {"y": [None] * 4}, weights), {"x": x}


def computed(proto: ModelProto, inputs: dict[str, Array], winograd: bool) -> Array:
    prepared = prepare(proto, {}, "x.onnx")
    lowered = lower(import_model(prepared, "x.onnx"), host().target, 1, winograd=winograd)
    result: Array = VirtualMachine(lowered.executable, tvm.cpu())["main"](tvm.runtime.tensor(inputs["x"])).numpy()
    return result


def used(proto: ModelProto, **options: Any) -> tuple[int, ...]:
    target = options.pop("target", host().target)
    return lower(import_model(prepare(proto, {}, "x.onnx"), "x.onnx"), target, 1, **options).winograd.used


@st.composite
def _cases(draw: st.DrawFn) -> dict[str, Any]:
    pads = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    return {
        "channels": (draw(st.sampled_from([3, 16, 24, 40, 64])), draw(st.sampled_from([8, 20, 32, 48, 96]))),
        "size": (draw(st.integers(3, 30)), draw(st.integers(3, 30))),
        "pads": pads,
        "stride": draw(st.sampled_from([1, 1, 1, 2])),
        "batch": draw(st.sampled_from([1, 1, 3])),
        "seed": draw(st.integers(0, 2**16)),
    }


@_SLOW
@given(case=_cases(), threads=st.sampled_from([1, 2]))
def test_any_three_by_three_convolution_equals_the_reference(case: dict[str, Any], threads: int) -> None:
    proto, inputs = convolution(**case)
    assert_same(proto, inputs, threads=threads)


@pytest.mark.parametrize(
    ("cpu", "channels", "size", "pads", "batch"),
    [
        ("x86-64-v2", (16, 16), (20, 20), [1, 1, 1, 1], 1),
        ("x86-64-v3", (24, 40), (17, 30), [1, 1, 1, 1], 3),
        ("", (16, 16), (20, 20), [1, 1, 1, 1], 1),
        ("", (32, 48), (9, 14), [0, 2, 1, 0], 1),
        ("", (32, 40), (17, 30), [1, 1, 1, 1], 3),
        ("", (64, 32), (6, 6), [0, 0, 0, 0], 1),
    ],
)
def test_it_is_used_for_images_of_any_edge_and_equals_the_reference_for_each_instruction_set(
    cpu: str, channels: tuple[int, int], size: tuple[int, int], pads: list[int], batch: int
) -> None:
    proto, inputs = convolution(channels, size, pads, batch=batch)
    target = {"kind": "llvm", "mcpu": cpu} if cpu else host().target
    assert used(proto, target=target) == (0,)
    assert_same(proto, inputs, target=target)
    assert ours(proto, inputs, target)[1] == ()


@pytest.mark.parametrize("channels", [(16, 32), (64, 64), (256, 128), (512, 64)])
def test_its_error_against_doubles_is_as_small_as_promised(channels: tuple[int, int]) -> None:
    """Sixteen times that of ONNX Runtime; the points that are usual have seven times that of direct convolution."""
    proto, inputs = convolution(channels, (28, 28), [1, 1, 1, 1])
    assert used(proto) == (0,)
    weights = {i.name: np.frombuffer(i.raw_data, np.float32).reshape(i.dims) for i in proto.graph.initializer}
    padded = np.pad(inputs["x"].astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), axis=(2, 3))
    sums = np.einsum("nchwab,ocab->nohw", windows, weights["w"].astype(np.float64), optimize=True)
    exact = np.maximum(sums + weights["b"][:, None, None] + weights["r"], 0)
    found = (computed(proto, inputs, True), computed(proto, inputs, False), *reference(proto, inputs))
    winograd, direct, theirs = (float(np.sqrt(np.mean((y - exact) ** 2))) for y in found)
    assert winograd <= 16 * theirs
    assert winograd <= 3 * direct


def test_it_is_left_where_it_cannot_be_or_does_not_pay_and_where_it_is_not_wanted() -> None:
    same = [1, 1, 1, 1]
    assert used(convolution((64, 64), (28, 28), same, stride=2)[0]) == ()
    assert used(convolution((3, 64), (28, 28), same)[0]) == ()
    assert used(convolution((64, 64), (28, 28), same)[0], winograd=False) == ()
    one = Window((1, 1), (1, 1, 1, 1), (1, 1))
    board = Machine(lanes=8, registers=16, threads=1, cache=1 << 20)
    data, weight = (1, 32, 5, 5, 8), (32, 32, 3, 3, 8, 8)
    assert pays(Machine(lanes=8, registers=16, threads=1), one, data, weight)
    assert not pays(board, one, data, weight)  # four times the weights, which no cache of the board holds
    assert not pays(board, Window((1, 1), (1, 1, 1, 1), (2, 2)), data, weight)
    assert not pays(board, Window((1, 1), (1, 1, 1, 1), (1, 1), groups=2), data, weight)


def test_an_artefact_names_the_convolutions_that_it_computes(tmp_path: Any) -> None:
    from specs.artefact_folder import read_artefact

    file = save(convolution((16, 32), (20, 20), [1, 1, 1, 1])[0], tmp_path / "c.onnx")
    folder = make(job(file, "tvm", target=host().target), Store(tmp_path / "store"))
    assert read_artefact(folder).winograd == ("the_convolution",)
