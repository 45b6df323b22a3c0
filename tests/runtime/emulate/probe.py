"""Runs inside a site, with the standard library alone: echoes, measures round trips, sends and receives."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from typing import Any

ECHO, STREAM, COUNT = 7001, 7002, 7003
SO_RCVBUFFORCE = 33
HEADERS = 52
"""Of IPv4 and TCP with time stamps."""
SEGMENT = 1448


def serve() -> None:
    """Echo datagrams, and tell who sent a stream how fast it came; for ever."""
    import threading

    threading.Thread(target=_echo, daemon=True).start()
    with socket.create_server(("", STREAM)) as server:
        print("ready", flush=True)
        while True:
            threading.Thread(target=_answer, args=server.accept()[:1], daemon=True).start()


def _answer(stream: socket.socket) -> None:
    with stream, contextlib.suppress(OSError):
        stream.sendall(json.dumps(_received(stream)).encode())


def _echo() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.bind(("", ECHO))
        while True:
            data, sender = echo.recvfrom(2000)
            with contextlib.suppress(OSError):
                echo.sendto(data, sender)


def _received(stream: socket.socket) -> float:
    """Bytes a second, headers included, once the first third is there: until then TCP looks for the rate.

    This process may be woken late, and then finds much at once. So of each half of the rest, the moment counts at which
    it was least late.
    """
    marks = [(time.perf_counter(), 0)]
    while data := stream.recv(1 << 18):
        marks.append((time.perf_counter(), marks[-1][1] + len(data)))
    whole, lasted = marks[-1][1], marks[-1][0] - marks[0][0]
    halves: list[list[tuple[float, int]]] = [[], []]
    for mark in marks:
        if mark[1] >= whole / 3:
            halves[mark[1] > whole * 2 / 3].append(mark)
    (start, before), (end, after) = (min(half, key=lambda m: m[0] - m[1] * lasted / whole) for half in halves)
    return (after - before) / (end - start) * (SEGMENT + HEADERS) / SEGMENT


def ping(to: str, times: int, wait: float) -> list[float]:
    """Seconds of each round trip that came back within `wait`."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.settimeout(wait)
        for number in range(times):
            sent = time.perf_counter()
            echo.sendto(b"%d" % number, (to, ECHO))
            with contextlib.suppress(TimeoutError):
                while echo.recv(2000) != b"%d" % number:
                    pass
                found.append(time.perf_counter() - sent)
    return found


def rate(to: str, size: int) -> float:
    """Bytes a second that come in of a stream of `size` bytes, headers included."""
    with socket.socket() as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        stream.connect((to, STREAM))
        stream.sendall(bytes(size))
        stream.shutdown(socket.SHUT_WR)
        return float(stream.recv(100))


def count(seconds: float) -> int:
    """How many datagrams come until none has for so long."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as counter:
        with contextlib.suppress(OSError):  # only root may
            counter.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
        counter.bind(("", COUNT))
        print("ready", flush=True)
        counter.settimeout(30)
        found = 0
        with contextlib.suppress(TimeoutError):
            while counter.recv(100):
                found += 1
                counter.settimeout(seconds)
        return found


def flood(to: str, times: int) -> int:
    """Send datagrams at 2,000 a second at most."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(times):
            sender.sendto(b"%d" % number, (to, COUNT))
            if number % 2:
                time.sleep(0.001)
    return times


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    arguments: list[Any] = [json.loads(text) for text in given]
    result = globals()[what](*arguments)
    if result is not None:
        print(json.dumps(result))
