"""Names of variables of the environment, and so of secrets."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator

_TAKEN: Final = ("PYTHON", "LD_", "RAY_", "TIERPLAN_")
"""How variables begin that Python, the loader, Ray and tierplan itself read."""


def _environment_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name):
        raise ValueError(f"expected a variable's name of letters, digits and _, got {name!r}")
    if name.startswith(_TAKEN):
        raise ValueError(f"expected another name than {name}: the process itself reads what begins so")
    return name


EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
