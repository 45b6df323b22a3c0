"""Where the command starts: nothing is imported before an interruption can be told in one line."""

from __future__ import annotations

import gc
import sys
from typing import Final, NoReturn

YOUNG: Final = 200_000
"""So many new objects before Python looks for garbage: imports make many that stay, and looking at them again and
again takes a tenth of a short command's time."""


def run() -> NoReturn:
    gc.set_threshold(YOUNG, 20, 20)
    try:
        from planner.cli.main import main

        code = main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    gc.freeze()  # what is left goes with the process: looking for garbage in it takes a tenth of a second
    sys.exit(code)


if __name__ == "__main__":
    run()
