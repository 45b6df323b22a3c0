"""A request's stage times as its answer carries them, on request."""

from __future__ import annotations

import json

from runtime.open_inference.protocol import InferAnswer


def stage_times(answer: InferAnswer) -> str:
    """A JSON text, for the protocol's parameters are plain values. All times in milliseconds.

    ``{"latency_ms", "stages": [{"stage", "member", "wait_ms", "service_ms"}], "transfers": [{"edge", "member",
    "ms", "wait_ms"}]}``, in the order in which they ended.
    """
    stages = [
        {"stage": t.stage, "member": t.member, "wait_ms": _ms(t.wait), "service_ms": _ms(t.service)}
        for t in answer.trace.stages
    ]
    transfers = [
        {"edge": t.edge, "member": t.member, "ms": _ms(t.seconds), "wait_ms": _ms(t.wait)}
        for t in answer.trace.transfers
    ]
    whole = {"latency_ms": _ms(answer.latency), "stages": stages, "transfers": transfers}
    return json.dumps(whole, separators=(",", ":"))


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 4)
