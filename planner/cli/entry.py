"""Where the command starts: nothing is imported before an interruption can be told in one line."""

from __future__ import annotations

import sys
from typing import NoReturn


def run() -> NoReturn:
    try:
        from planner.cli.main import main

        code = main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    run()
