"""What Ray says by itself is in no command's answer."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.cluster.connection import _hush


def test_what_ray_has_to_say_of_a_node_that_died_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ray._private import worker

    def hear() -> str:
        """Ray's own listener hears of one death; what is on stdout then."""
        over = threading.Event()

        def poll() -> tuple[bytes, dict[str, Any]]:
            over.set()
            return b"", {"job_id": None, "error_message": "a node has died"}

        subscriber = SimpleNamespace(subscribe=lambda: None, poll=poll)
        job = SimpleNamespace(binary=lambda: b"")
        worker.listen_error_messages(SimpleNamespace(gcs_error_subscriber=subscriber, current_job_id=job), over)
        return capsys.readouterr().out

    monkeypatch.setattr(worker, "print_to_stdstream", lambda data, ignore_prefix: print(data["lines"]))
    assert hear() == "['a node has died']\n"
    _hush()
    assert hear() == ""
