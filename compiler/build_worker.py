"""The child that builds artefacts: one job a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compiler.child import serve
from compiler.job import Job
from compiler.store import Store


def handle(request: dict[str, Any]) -> dict[str, Any]:
    from compiler.make import make

    return {"folder": str(make(Job.model_validate(request["job"]), Store(Path(request["store"]))))}


if __name__ == "__main__":
    serve(handle)
