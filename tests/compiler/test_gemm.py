"""Matrix products, with constant weights and between activations."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from compiler.schedules.gemm import pack
from compiler.schedules.machine import Machine
from compiler.schedules.tiles import Tile, best_tile
from tests.compiler.models import assert_same, model

_SLOW = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
_SIZES = st.sampled_from([1, 2, 5, 7, 16, 17, 31, 48, 100, 129])


@_SLOW
@given(
    rows=_SIZES, depth=_SIZES, columns=_SIZES, lead=st.sampled_from([(), (1,), (3,)]), threads=st.sampled_from([1, 2])
)
def test_product_by_constant_weights_equals_the_reference(
    rows: int, depth: int, columns: int, lead: tuple[int, ...], threads: int
) -> None:
    rng = np.random.default_rng(rows * depth + columns)
    weights = {
        "w": rng.standard_normal((depth, columns)).astype(np.float32),
        "b": rng.standard_normal(columns).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Tanh", ["a"], ["t"]),
        helper.make_node("Add", ["t", "a"], ["y"]),
    ]
    x = rng.standard_normal((*lead, rows, depth)).astype(np.float32)
    assert_same(model(nodes, {"x": x.shape}, {"y": (*lead, rows, columns)}, weights), {"x": x}, threads=threads)


@_SLOW
@given(rows=_SIZES, depth=_SIZES, columns=_SIZES, shared=st.booleans())
def test_product_of_two_activations_equals_the_reference(rows: int, depth: int, columns: int, shared: bool) -> None:
    rng = np.random.default_rng(rows * depth + columns)
    a = rng.standard_normal((1, 4, rows, depth)).astype(np.float32)
    b = rng.standard_normal((1, 1 if shared else 4, depth, columns)).astype(np.float32)
    proto = model(
        [helper.make_node("MatMul", ["a", "b"], ["y"])], {"a": a.shape, "b": b.shape}, {"y": (1, 4, rows, columns)}
    )
    assert_same(proto, {"a": a, "b": b})


@given(
    lanes=st.sampled_from([4, 8, 16]),
    vectors=st.integers(1, 64),
    rows=st.integers(1, 200),
    columns=st.integers(1, 200),
)
def test_a_tile_fits_the_registers_and_divides_the_output_channels(
    lanes: int, vectors: int, rows: int, columns: int
) -> None:
    machine = Machine(lanes=lanes, registers=32 if lanes == 16 else 16, threads=1, fused_load=lanes == 16)
    tile = best_tile(machine, vectors, rows, columns)
    assert vectors % tile.vectors == 0
    assert tile.vectors * tile.positions <= machine.accumulators
    assert tile.rows <= rows
    assert tile.columns <= columns


def test_packed_weights_hold_every_value_once_and_zeros_beyond() -> None:
    weight = np.arange(1, 3 * 21 + 1, dtype=np.float32).reshape(3, 21)
    packed = pack(weight, Machine(lanes=8, registers=16, threads=1), Tile(vectors=2, rows=1, columns=4))
    assert packed.shape == (2, 3, 16)
    unpacked = packed.transpose(1, 0, 2).reshape(3, 32)
    np.testing.assert_array_equal(unpacked[:, :21], weight)
    assert not unpacked[:, 21:].any()
