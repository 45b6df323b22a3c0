"""What no test may hang on: the terminal and the shell that tests are started from, and how fast the machine is."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

SHAPING: Final = (
    *("COLUMNS", "LINES", "TERM_PROGRAM", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "TTY_COMPATIBLE"),
    *("TTY_INTERACTIVE", "TERMINAL_WIDTH", "_TYPER_FORCE_DISABLE_TERMINAL", "PYTHONWARNINGS", "RAY_ADDRESS"),
)
"""Variables that change what a command prints, or where it looks for a cluster."""
GIVEN: Final = ("TIERPLAN_AARCH64_TVM",)
"""Of ours, what a test is given by: where TVM's runtime for another machine is (docs/targets.md)."""


def forget_the_shell() -> None:
    """Before anything is imported that reads them, and for every command that a test starts."""
    for name in (*SHAPING, *(n for n in os.environ if n.startswith("TIERPLAN_") and n not in GIVEN)):
        os.environ.pop(name, None)


forget_the_shell()
settings.register_profile("unhurried", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
