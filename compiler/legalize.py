"""Relax operators to TE computations that our schedules know; what is not named here takes TVM's own legalisation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx, topi

from compiler.schedules import conv2d, gemm, integer_gemm, rows, winograd
from compiler.schedules.anchor import FUSE_WHAT_FOLLOWS, round_up
from compiler.schedules.machine import Machine
from specs.errors import TierplanError

_OPAQUE = 8
"""FuseOps' pattern kOpaque: nothing joins this function."""

Legalize = Callable[[Any, Any], Any]


def legalizations(machine: Machine, refused: list[TierplanError]) -> dict[str, Legalize]:
    """What to hand to relax.transform.LegalizeOps. An error of ours comes out of TVM as a RuntimeError with its text:
    itself it is left in `refused`."""
    return {name: partial(_keeping, refused, legalize) for name, legalize in _legalizations(machine).items()}


def _keeping(refused: list[TierplanError], legalize: Legalize, bb: Any, call: Any) -> Any:
    try:
        return legalize(bb, call)
    except TierplanError as error:
        refused.append(error)
        raise


def _legalizations(machine: Machine) -> dict[str, Legalize]:
    return {
        "relax.nn.conv2d": lambda bb, call: _conv2d(machine, bb, call),
        "relax.matmul": lambda bb, call: _matmul(machine, bb, call),
        "relax.nn.softmax": lambda bb, call: _softmax(machine, bb, call),
        "relax.nn.layer_norm": lambda bb, call: _layer_norm(machine, bb, call),
        "relax.mean": lambda bb, call: _reduce(machine, rows.row_mean, bb, call),
        "relax.sum": lambda bb, call: _reduce(machine, rows.row_sum, bb, call),
        "relax.max": lambda bb, call: _reduce(machine, rows.row_max, bb, call),
        "relax.exp": lambda bb, call: _unary(topi.fast_exp, bb, call),
        "relax.erf": lambda bb, call: _unary(topi.fast_erf, bb, call),
        "relax.tanh": lambda bb, call: _unary(topi.fast_tanh, bb, call),
        "relax.sigmoid": lambda bb, call: _unary(_sigmoid, bb, call),
        "relax.nn.silu": lambda bb, call: _unary(lambda x: topi.multiply(x, _sigmoid(x)), bb, call),
        "relax.nn.gelu": lambda bb, call: _unary(_gelu, bb, call),
        "relax.power": _power,
        "relax.round": lambda bb, call: bb.call_te(_round, call.args[0]),
    }


def _stock(bb: Any, call: Any) -> Any:
    return call.op.get_attr("FLegalize")(bb, call)


def _call(bb: Any, compute: Callable[..., Any], *args: Any, name: str) -> Any:
    return bb.call_te(compute, *args, primfunc_name_hint=name, primfunc_attrs={"op_pattern": FUSE_WHAT_FOLLOWS})


def _is_float(*exprs: Any) -> bool:
    return all(expr.ty.dtype == "float32" for expr in exprs)


def winograd_convolutions(mod: tvm.IRModule, machine: Machine) -> tuple[tuple[int, ...], int]:
    """Which of main's convolutions, counted in order, Winograd's algorithm will compute; and how many there are."""
    calls: list[Any] = []

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.Call) and str(getattr(expr.op, "name", "")) == "relax.nn.conv2d":
            calls.append(expr)

    relax.analysis.post_order_visit(mod["main"], visit)
    return tuple(
        i for i, call in enumerate(calls) if _is_blocked(call) and _winograd_pays(machine, conv2d.window_of(call), call)
    ), len(calls)


def _is_blocked(call: Any) -> bool:
    layout = str(call.attrs.out_layout)
    return layout.endswith("c") and layout != "NCHW"


def _winograd_pays(machine: Machine, window: conv2d.Window, call: Any) -> bool:
    if not _winograd_could(machine, window, call):
        return False
    data, weight = (tuple(int(d) for d in arg.ty.shape) for arg in call.args)
    choice = machine.tuned.get(conv2d.workload_of(window, data, weight))
    return winograd.pays(machine, window, data, weight) if choice is None else choice.winograd


def _winograd_could(machine: Machine, window: conv2d.Window, call: Any) -> bool:
    data, weight = (tuple(int(d) for d in arg.ty.shape) for arg in call.args)
    constant = isinstance(call.args[1], tvm.ir.GenericConst)
    return machine.winograd and constant and winograd.applies(machine, window, data, weight)


def _conv2d(machine: Machine, bb: Any, call: Any) -> Any:
    if not _is_blocked(call):
        return _stock(bb, call)
    window = conv2d.window_of(call)
    if _winograd_pays(machine, window, call):
        return _winograd(machine, window, bb, *call.args)
    also = _winograd_could(machine, window, call)
    return _call(
        bb,
        lambda d, w: conv2d.conv2d_blocked(machine, window, d, w, alternative=also),
        *call.args,
        name="conv2d_blocked",
    )


def _winograd(machine: Machine, window: conv2d.Window, bb: Any, data: Any, weight: Any) -> Any:
    batch, _, height, width, _ = (int(d) for d in data.ty.shape)
    transformed = winograd.transform_weight(np.from_dlpack(weight.value))
    alone = {"op_pattern": _OPAQUE}
    workload = conv2d.workload_of(window, *([int(d) for d in arg.ty.shape] for arg in (data, weight)))
    count = winograd.count_tiles(window, batch, height, width)
    tile, attrs = winograd.plan_of(machine, workload, transformed.shape[1], count)
    padded = round_up(count, tile.columns)
    tiles = bb.emit(
        bb.call_te(
            lambda d: winograd.input_transform(window, padded, workload, d),
            data,
            primfunc_name_hint="winograd_input",
            primfunc_attrs=alone,
        )
    )
    products = bb.emit(
        bb.call_te(
            lambda d, w: winograd.product(attrs, d, w),
            tiles,
            relax.const(transformed),
            primfunc_name_hint="winograd_product",
            primfunc_attrs=alone,
        )
    )
    image = (batch, height, width)
    return _call(bb, lambda d: winograd.output_transform(window, image, workload, d), products, name="winograd_output")


def _matmul(machine: Machine, bb: Any, call: Any) -> Any:
    data, other = call.args
    if data.ty.dtype == "uint8" and other.ty.dtype == "int8" and machine.dot is not None:
        return _integer_matmul(machine, bb, call)
    if not _is_float(data, other) or len(data.ty.shape) < 2 or len(other.ty.shape) < 2:
        return _stock(bb, call)
    if isinstance(other, tvm.ir.GenericConst) and len(other.ty.shape) == 2:
        columns = int(other.ty.shape[1])
        shapes = [[int(d) for d in arg.ty.shape] for arg in (data, other)]
        plan = gemm.gemm_plan(machine, *shapes, packed=True)
        packed = relax.const(gemm.pack(np.from_dlpack(other.value), machine, plan.tile))
        return _call(bb, lambda d, w: gemm.gemm_packed(plan, columns, d, w), data, packed, name="gemm_packed")
    return _call(bb, lambda a, b: gemm.gemm_batched(machine, a, b), data, other, name="gemm_batched")


def _integer_matmul(machine: Machine, bb: Any, call: Any) -> Any:
    data, other = call.args
    columns = int(other.ty.shape[1])
    tile = integer_gemm.gemm_tile(machine, int(data.ty.shape[-2]), columns)
    packed = relax.const(integer_gemm.pack(np.from_dlpack(other.value), machine, tile), "int8")
    return _call(bb, lambda d, w: integer_gemm.integer_gemm(tile, columns, d, w), data, packed, name="integer_gemm")


def _softmax(machine: Machine, bb: Any, call: Any) -> Any:
    if not _is_float(call) or int(call.attrs.axis) % len(call.ty.shape) != len(call.ty.shape) - 1:
        return _stock(bb, call)
    return _call(bb, lambda x: rows.softmax(machine, x), call.args[0], name="softmax")


def _layer_norm(machine: Machine, bb: Any, call: Any) -> Any:
    axes = [int(a) % len(call.ty.shape) for a in call.attrs.axes]
    if not _is_float(call) or axes != [len(call.ty.shape) - 1] or len(call.args) != 3:
        return _stock(bb, call)
    epsilon = float(call.attrs.epsilon)
    return _call(bb, lambda x, g, b: rows.layer_norm(machine, x, g, b, epsilon), *call.args, name="layer_norm")


def _reduce(machine: Machine, compute: Callable[..., Any], bb: Any, call: Any) -> Any:
    data, axes = call.args[0], call.attrs.axis
    rank = len(data.ty.shape)
    along = sorted(int(a) % rank for a in axes) if axes is not None else list(range(rank))
    lead = rank - len(along)
    if not _is_float(data) or along != list(range(lead, rank)) or not lead:
        return _stock(bb, call)
    shape = [int(d) for d in data.ty.shape]

    def build(x: Any) -> Any:
        rows_of_x = x if len(along) == 1 else topi.reshape(x, (*shape[:lead], int(np.prod(shape[lead:]))))
        result = compute(machine, rows_of_x)
        if not call.attrs.keepdims:
            return result
        return te.compute((*result.shape, *(1 for _ in along)), lambda *i: result(*i[:lead]), name="keep")

    return _call(bb, build, data, name="reduce_rows")


def _unary(compute: Callable[..., Any], bb: Any, call: Any) -> Any:
    return bb.call_te(compute, call.args[0]) if _is_float(call) else _stock(bb, call)


def _sigmoid(x: Any) -> Any:
    one = tirx.const(1.0, x.dtype)
    powers = topi.fast_exp(topi.negative(x))
    return te.compute(x.shape, lambda *i: one / (one + powers(*i)), name="sigmoid")


def _round(x: Any) -> Any:
    """Ties to even, as ONNX says, and as one instruction does; TVM's own takes them away from zero."""
    return te.compute(x.shape, lambda *i: tirx.nearbyint(x(*i)), name="round")


def _gelu(x: Any) -> Any:
    scaled = te.compute(x.shape, lambda *i: x(*i) * tirx.const(0.5**0.5, x.dtype), name="scaled")
    erf = topi.fast_erf(scaled)
    half, one = tirx.const(0.5, x.dtype), tirx.const(1.0, x.dtype)
    return te.compute(x.shape, lambda *i: half * x(*i) * (one + erf(*i)), name="gelu")


def _power(bb: Any, call: Any) -> Any:
    """The powers that normalisations are exported with, as products and roots: pow would be a call of libm a value.

    Roots keep what pow does with numbers below zero (not-a-number) and with zero.
    """
    data, exponent = call.args
    if _is_float(data, exponent) and isinstance(exponent, tvm.ir.GenericConst):
        values = exponent.value.numpy()
        power = _POWERS.get(float(values.reshape(-1)[0])) if values.size == 1 else None
        if power is not None and values.ndim <= len(data.ty.shape):
            return bb.call_te(lambda x: te.compute(x.shape, lambda *i: power(x(*i)), name="power"), data)
    return _stock(bb, call)


_POWERS: dict[float, Callable[[Any], Any]] = {
    0.5: tirx.sqrt,
    0.75: lambda x: tirx.sqrt(x) * tirx.sqrt(tirx.sqrt(x)),
    2.0: lambda x: x * x,
}
"""0.75 is what local response normalisation has (Krizhevsky et al. 2012)."""
