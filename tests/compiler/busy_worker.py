"""A child that says who it is, or works for ever."""

from __future__ import annotations

import os
from typing import Any

from compiler.child import serve


def handle(request: dict[str, Any]) -> dict[str, Any]:
    while request.get("work"):
        pass
    return {"pid": os.getpid()}


if __name__ == "__main__":
    serve(handle)
