"""Image models in blocks of channels: NCHW becomes NCHW[b]c from the first convolution until an operator needs NCHW.

Relax's own ConvertLayout fails on tuples; this pass walks the bindings once and keeps, beside each value, its blocked
form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import relax

from compiler.schedules.anchor import round_up
from compiler.schedules.machine import Machine

_ELEMENTWISE = {
    f"relax.{name}"
    for name in (
        *("nn.relu", "nn.leakyrelu", "nn.gelu", "nn.silu", "sigmoid", "tanh", "exp", "abs", "negative", "sqrt", "clip"),
        *("erf", "floor", "ceil", "round"),
    )
}
_BINARY = {f"relax.{name}" for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")}
_POOLS: dict[str, Callable[..., Any]] = {
    "relax.nn.max_pool2d": relax.op.nn.max_pool2d,
    "relax.nn.avg_pool2d": relax.op.nn.avg_pool2d,
}


def block_channels(mod: tvm.IRModule, machine: Machine) -> tvm.IRModule:
    """Rewrite `main` so that its convolutions with constant weights work on blocks of channels."""
    return _Blocking(machine).rewrite(mod)


class _Blocking:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._builder = relax.BlockBuilder()
        self._plain: dict[Any, Any] = {}
        """Old variable -> new expression in its own layout."""
        self._blocked: dict[Any, Any] = {}
        """Old variable -> new variable in blocks of channels."""

    def rewrite(self, mod: tvm.IRModule) -> tvm.IRModule:
        main = mod["main"]
        with self._builder.function("main", main.params, attrs=dict(main.attrs) if main.attrs else None):
            with self._builder.dataflow():
                for block in main.body.blocks:
                    for binding in block.bindings:
                        self._bind(binding.var, binding.value)
                result = self._builder.emit_output(self._use(main.body.body))
            self._builder.emit_func_output(result)
        new = self._builder.get()
        for gvar, function in mod.functions_items():
            if gvar.name_hint != "main":
                new.update_func(gvar, function)
        return new

    def _bind(self, var: Any, value: Any) -> None:
        if isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op):
            blocked = self._try_blocked(value)
            if blocked is not None:
                self._blocked[var] = self._builder.emit(blocked)
                return
        self._plain[var] = self._builder.emit(self._substitute(value))

    def _substitute(self, value: Any) -> Any:
        """`value` with its variables replaced by their new expressions."""
        if isinstance(value, relax.Call):
            return relax.Call(value.op, [self._use(a) for a in value.args], value.attrs, value.ty_args)
        if isinstance(value, relax.TupleGetItem):
            return relax.TupleGetItem(self._use(value.tuple_value), value.index)
        return self._use(value)

    def _use(self, expr: Any) -> Any:
        """`expr` in its own layout; a blocked value is unblocked once."""
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._use(field) for field in expr.fields])
        if not isinstance(expr, relax.Var):
            return expr
        if expr not in self._plain and expr in self._blocked:
            self._plain[expr] = self._builder.emit(self._unblock(self._blocked[expr], expr))
        return self._plain.get(expr, expr)

    def _unblock(self, value: Any, var: Any) -> Any:
        """[N, C/b, H, W, b] -> [N, C, H, W], without the channels that padding added."""
        batch, blocks, height, width, lanes = _shape(value)
        channels = _shape(var)[1]
        flat = relax.op.permute_dims(value, [0, 1, 4, 2, 3])
        full = self._builder.emit(relax.op.reshape(self._builder.emit(flat), (batch, blocks * lanes, height, width)))
        if channels == blocks * lanes:
            return full
        return relax.op.strided_slice(full, axes=[1], begin=[0], end=[channels])

    def _block(self, var: Any, lanes: int) -> Any:
        """`var` in blocks of `lanes` channels."""
        if isinstance(var, relax.Var) and var in self._blocked and _shape(self._blocked[var])[-1] == lanes:
            return self._blocked[var]
        batch, channels, height, width = _shape(var)
        if lanes == 1:
            return self._builder.emit(relax.op.reshape(self._use(var), (batch, channels, height, width, 1)))
        split = relax.op.reshape(self._use(var), (batch, channels // lanes, lanes, height, width))
        return self._builder.emit(relax.op.permute_dims(self._builder.emit(split), [0, 1, 3, 4, 2]))

    def _try_blocked(self, call: Any) -> Any | None:
        """The call on blocked values, or None where it must see its own layout."""
        name = call.op.name
        if name == "relax.nn.conv2d":
            return self._conv2d(call)
        if name in _ELEMENTWISE and call.args[0] in self._blocked:
            # Padded channels hold what the operator makes of zero; the next convolution's weights there are zero.
            return relax.Call(call.op, [self._blocked[call.args[0]], *call.args[1:]], call.attrs, call.ty_args)
        if name in _POOLS and call.args[0] in self._blocked:
            return self._pool(call)
        if name == "relax.nn.adaptive_avg_pool2d" and call.args[0] in self._blocked:
            size = call.attrs.output_size
            if size is None or [int(s) for s in size] != [1, 1]:
                return None
            return relax.op.mean(self._blocked[call.args[0]], axis=[2, 3], keepdims=True)
        if name == "relax.mean" and call.args[0] in self._blocked and call.attrs.keepdims:
            axes = sorted(int(a) % 4 for a in call.attrs.axis or ())
            if axes == [2, 3]:
                return relax.op.mean(self._blocked[call.args[0]], axis=[2, 3], keepdims=True)
        if name in _BINARY:
            return self._binary(call)
        if name == "relax.concat" and int(call.attrs.axis) == 1:
            return self._concat(call)
        return None

    def _conv2d(self, call: Any) -> Any | None:
        attrs, (data, weight) = call.attrs, call.args
        if not isinstance(weight, tvm.ir.GenericConst) or attrs.data_layout != "NCHW" or attrs.kernel_layout != "OIHW":
            return None
        if call.ty.dtype != "float32":
            return None
        lanes, groups = self._machine.lanes, int(attrs.groups)
        values = weight.value.numpy()
        out_channels, group_channels = values.shape[:2]
        in_channels = _shape(data)[1]
        depthwise = groups > 1 and groups == in_channels == out_channels and group_channels == 1
        if groups > 1 and not depthwise and (out_channels // groups % lanes or group_channels % lanes):
            return None
        inner = self._inner(data, in_channels, depthwise)
        if inner is None:
            return None
        packed = _pack_depthwise(values, lanes) if depthwise else _pack(values, inner, lanes)
        return relax.op.nn.conv2d(
            self._block(data, inner),
            relax.const(packed),
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            groups=packed.shape[0] * lanes if depthwise else groups,
            data_layout=f"NCHW{inner}c",
            kernel_layout=f"OIHW{packed.shape[4]}i{lanes}o",
            out_layout=f"NCHW{lanes}c",
            out_dtype="float32",
        )

    def _inner(self, data: Any, channels: int, depthwise: bool) -> int | None:
        """Input channels a block: as the data is already, else a vector, else 1, for which no value has to move."""
        if data in self._blocked:
            return _shape(self._blocked[data])[-1]
        lanes = self._machine.lanes
        if depthwise:
            return lanes if channels % lanes == 0 else None
        return lanes if channels % lanes == 0 else 1

    def _pool(self, call: Any) -> Any:
        attrs = call.attrs
        data = self._blocked[call.args[0]]
        layout = f"NCHW{_shape(data)[-1]}c"
        return _POOLS[call.op.name](
            data,
            pool_size=attrs.pool_size,
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            ceil_mode=attrs.ceil_mode,
            count_include_pad=attrs.count_include_pad,
            layout=layout,
            out_layout=layout,
        )

    def _binary(self, call: Any) -> Any | None:
        shapes = [_shape(arg) if isinstance(arg, relax.Var | tvm.ir.GenericConst) else None for arg in call.args]
        blocked = [isinstance(arg, relax.Var) and arg in self._blocked for arg in call.args]
        if not any(blocked) or None in shapes:
            return None
        guide = next(self._blocked[arg] for arg, is_blocked in zip(call.args, blocked, strict=True) if is_blocked)
        lanes, channels = _shape(guide)[-1], _shape(call)[1]
        if call.op.name == "relax.divide" and channels % lanes:
            return None  # 0 / 0 in padded channels would poison the next convolution
        arguments = []
        for arg, is_blocked in zip(call.args, blocked, strict=True):
            if is_blocked:
                if _shape(arg)[1] != channels:
                    return None
                arguments.append(self._blocked[arg])
            elif (
                isinstance(arg, tvm.ir.GenericConst)
                and (constant := _block_constant(arg.value.numpy(), channels, lanes)) is not None
            ):
                arguments.append(relax.const(constant))
            elif (
                isinstance(arg, relax.Var)
                and len(_shape(arg)) == 4
                and _shape(arg)[1] == channels
                and channels % lanes == 0
            ):
                arguments.append(self._block(arg, lanes))
            else:
                return None
        return relax.Call(call.op, arguments, call.attrs, call.ty_args)

    def _concat(self, call: Any) -> Any | None:
        fields = list(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else None
        if not fields or not all(f in self._blocked for f in fields):
            return None
        values = [self._blocked[f] for f in fields]
        if any(_shape(f)[1] != _shape(v)[1] * _shape(v)[-1] for f, v in zip(fields[:-1], values[:-1], strict=True)):
            return None  # a padded block in the middle would shift the channels after it
        return relax.op.concat(values, axis=1)


def _shape(expr: Any) -> list[int]:
    return [int(d) for d in expr.ty.shape]


def _pack(weight: np.ndarray, inner: int, lanes: int) -> np.ndarray:
    """[O, I, H, W] -> [O/o, I/i, H, W, i, o], zeros for channels beyond O and I."""
    out, depth, height, width = weight.shape
    full = np.zeros((round_up(out, lanes), round_up(depth, inner), height, width), weight.dtype)
    full[:out, :depth] = weight
    split = full.reshape(-1, lanes, full.shape[1] // inner, inner, height, width)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 5, 3, 1))


def _pack_depthwise(weight: np.ndarray, lanes: int) -> np.ndarray:
    """[C, 1, H, W] -> [C/o, 1, H, W, 1, o]."""
    channels, _, height, width = weight.shape
    full = np.zeros((round_up(channels, lanes), 1, height, width), weight.dtype)
    full[:channels] = weight
    split = full.reshape(-1, lanes, 1, 1, height, width)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 5, 3, 1))


def _block_constant(values: np.ndarray, channels: int, lanes: int) -> np.ndarray | None:
    """A constant that broadcasts over images, in blocks; None where it varies by position."""
    if values.size == 1:
        return values.reshape(())
    shape = (1,) * (4 - values.ndim) + values.shape if values.ndim <= 4 else values.shape
    if len(shape) != 4 or shape[0] != 1 or shape[2:] != (1, 1) or shape[1] != channels:
        return None
    full = np.zeros(round_up(channels, lanes), values.dtype)
    full[:channels] = values.reshape(-1)
    return full.reshape(1, -1, 1, 1, lanes)
