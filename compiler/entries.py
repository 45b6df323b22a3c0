"""Several modules of one function each as one module with a function for each: what a library of buckets has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from specs.artefact import entry_name

__all__ = ["entry_name", "merge_entries"]


def merge_entries(modules: Mapping[str, tvm.IRModule]) -> tvm.IRModule:
    """The `main` of each module under its name, with the functions that it calls under names of their own."""
    functions: dict[tvm.ir.GlobalVar, Any] = {}
    for name, mod in modules.items():
        renamed = _Renamed(name)
        for gvar, function in mod.functions_items():
            own = renamed.of(gvar)
            named = function.with_attr("global_symbol", own.name_hint)
            functions[own] = named if isinstance(function, tirx.PrimFunc) else renamed.visit_expr(named)
    return tvm.IRModule(functions)


@mutator
class _Renamed(PyExprMutator):
    """Gives every function that is named in an expression its name in the merged module."""

    def __init__(self, entry: str) -> None:
        super().__init__()
        self._entry = entry
        self._known: dict[str, tvm.ir.GlobalVar] = {}

    def of(self, gvar: tvm.ir.GlobalVar) -> tvm.ir.GlobalVar:
        name = str(gvar.name_hint)
        if name not in self._known:
            own = tvm.ir.GlobalVar(self._entry if name == "main" else f"{self._entry}_{name}")
            relax.expr._update_type(own, gvar.ty)
            self._known[name] = own
        return self._known[name]

    def visit_global_var_(self, gvar: tvm.ir.GlobalVar) -> tvm.ir.GlobalVar:
        return self.of(gvar)
