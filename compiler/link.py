"""From an executable of TVM's to the file that is shipped, with the linker of its target; missing tools are named."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

from compiler.targets import Target, Tool
from specs.errors import EnvironmentFailed

_HERE = {"x86_64": 62, "aarch64": 183}
_NO_BUILD_ID = "-Wl,--build-id=none"
"""Else the linker hashes all weights, which takes half of its time; artefacts have digests of their own."""


def missing(target: Target) -> tuple[Tool, ...]:
    """The tools that building for `target` needs and this machine has not."""
    wanted = [*target.tools] if target.linker is None or _native(target) else [target.linker, *target.tools]
    return tuple(tool for tool in wanted if shutil.which(tool.program) is None)


def require(target: Target) -> None:
    """Raises EnvironmentFailed that names what is missing."""
    lacking = [str(tool) for tool in missing(target)]
    if target.linker is not None and _native(target) and _native_compiler() is None:
        lacking.append("gcc (Debian package gcc)")
    if lacking:
        raise EnvironmentFailed(f"target {target.name} needs {', '.join(lacking)}")


def link(executable: Any, target: Target, folder: Path) -> Path:
    """Write `model.so`, or `model.o` where the target has no linker."""
    if target.linker is None:
        file = folder / "model.o"
        (code,) = executable.mod.imports
        code.write_to_file(str(file), "o")
        return file
    from tvm.support import cc

    file = folder / "model.so"
    program = _native_compiler() if _native(target) else target.linker.program
    options = [_NO_BUILD_ID, *target.link_options]
    executable.export_library(str(file), fcompile=cc.cross_compiler(program, options=options))
    return file


def _native(target: Target) -> bool:
    return target.elf is not None and target.elf.machine == _HERE.get(platform.machine())


def _native_compiler() -> str | None:
    return next((path for name in ("g++", "clang++", "gcc", "cc") if (path := shutil.which(name))), None)
