"""The blog example's own specs with made-up facts, so that tests need no profile of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.situation import Situation, situation_of
from specs.behaviour import Accuracy, Behaviour, BranchPattern
from specs.digest import digest_bytes
from specs.emulation import METHOD
from specs.load import Document, load_application, load_infrastructure
from specs.profile import EmulatedBy, Record
from tests.planner.worlds import WHEN, hops, payload, record

FOLDER = Path(__file__).parents[2] / "examples" / "blog_upload"
# Seconds on the fastest class, at one thread.
WORK = {
    "shrink/default": 4e-3,
    "vision/small": 1.5e-3,
    "vision/large": 9e-3,
    "tokens/default": 0.3e-3,
    "language/default": 9e-3,
    "decide/default": 0.2e-3,
}
MEMORY = {"language/default": 1.8e8, "vision/large": 6e7}
SIZES = {
    "upload.photo": (4e5, 0.6),
    "upload.caption": (80, 0.3),
    "shrink.pixels": (12_400, 0.01),
    "vision.score": (140, 0.01),
    "vision.sure": (120, 0.01),
    "tokens.ids": (250, 0.01),
    "language.vector": (1700, 0.01),
    "decide.verdict": (130, 0.01),
    "vision@cut_a": (8200, 0.01),
}


def situation() -> Situation:
    """The example as it stands in examples/, with facts of a made-up host."""
    return situation_with(load_application(FOLDER / "app.yaml"), load_infrastructure(FOLDER / "infra.yaml"))


def situation_with(app: Document[Any], infra: Document[Any]) -> Situation:
    digests = {key: digest_bytes(key.encode()) for key in WORK} | {"data:held_out": "d0"}
    records: list[Record] = []
    for name, hardware in infra.value.hardware.items():
        cpu = hardware.emulate.cpu if hardware.emulate else 1.0
        by = EmulatedBy(host="test", method=METHOD, cpu=cpu) if hardware.emulate else None
        for key, seconds in WORK.items():
            segments = {"..": 1.0} | ({"..cut_a": 0.5, "cut_a..": 0.5} if key == "vision/large" else {})
            for segment, part in segments.items():
                for backend, speed in (
                    (("python", 1.0),) if key[:6] in ("shrink", "tokens") else (("tvm", 1.3), ("onnxruntime", 1.0))
                ):
                    for threads in (1, 2) if hardware.cores > 1 and backend != "python" else (1,):
                        mean = seconds * part * speed / cpu / (1.6 if threads == 2 else 1.0)
                        given = record(
                            digests[key],
                            name,
                            mean,
                            segment=segment,
                            threads=threads,
                            backend=backend,
                            memory=MEMORY.get(key, 4e7),
                            cv=0.25,
                        )
                        provenance = "emulated" if by else "measured"
                        records.append(given.model_copy(update={"emulated_by": by, "provenance": provenance}))
    return situation_of(app, infra, records, _behaviours(digests), hops(), digests)


def _behaviours(digests: Mapping[str, str]) -> list[Behaviour]:
    found = []
    everything = ("shrink", "vision", "tokens", "language", "decide")
    short = ("shrink", "vision", "decide")
    for vision, right, sure in (("small", 0.905, 0.5), ("large", 0.95, 0.65)):
        variants = {c: "default" for c in everything} | {"vision": vision}
        found.append(
            Behaviour(
                variants=variants,
                patterns=(
                    BranchPattern(source="upload", runs=everything, probability=1 - sure, count=500),
                    BranchPattern(source="upload", runs=short, probability=sure, count=500),
                ),
                payloads={key: payload(*size) for key, size in SIZES.items()},
                accuracy=(Accuracy(data="held_out", value=right, low=right - 0.02, high=right + 0.02, n=1000),),
                items=1000,
                inputs={f"{c}/{v}": digests[f"{c}/{v}"] for c, v in variants.items()} | {"data:held_out": "d0"},
                measured_at=WHEN,
            )
        )
    return found
