"""Emulated links, measured inside the sites: round trips, rates, loss, and links that change while they run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.runtime.emulate.sites import Sites, figures

ROUND_TRIP_TOLERANCE = 1e-3
RATE_TOLERANCE = 0.03


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    folder = tmp_path_factory.mktemp("emulated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIERPLAN_EMULATION", str(folder / "state"))
        made = Sites(folder)
        made.up("--members", "phones=2")
        try:
            with made.running("bases", "serve"), made.running("cloud", "serve"), made.running("phones-0", "serve"):
                yield made
        finally:
            assert made.emulate("down").code == 0


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [("phones-0", "bases", 0.02), ("cloud", "bases-0", 0.03), ("phones-0", "cloud", 0.05), ("cloud", "phones-0", 0.05)],
)
def test_a_round_trip_takes_twice_the_delays_of_its_links(sites: Sites, start: str, end: str, expected: float) -> None:
    took = sites.ask(start, "ping", end, 40, 30.0)
    assert len(took) == 40
    assert expected <= min(took) <= expected + max(ROUND_TRIP_TOLERANCE, 0.02 * expected)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [("phones-0", "bases", 20e6), ("bases", "phones-0", 40e6), ("bases", "cloud", 200e6), ("phones-0", "cloud", 20e6)],
)
def test_a_stream_gets_the_rate_of_the_slowest_link(sites: Sites, start: str, end: str, expected: float) -> None:
    carries(sites, start, end, expected, int(expected / 8 * 1.2))


def carries(sites: Sites, start: str, end: str, expected: float, size: int) -> None:
    """No stream of `size` bytes gets more than the rate that is `expected`; one of a few gets it.

    A machine that is busy with something else slows some of them, and hastens none.
    """
    rates: list[float] = []
    while len(rates) < 8 and max(rates, default=0.0) < expected * (1 - RATE_TOLERANCE):
        rates.append(8 * sites.ask(start, "rate", end, size))
    assert max(rates) == pytest.approx(expected, rel=RATE_TOLERANCE), rates


def test_streams_that_share_a_rate_get_it_together(sites: Sites) -> None:
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(sites.ask, phone, "rate", "bases", 4_000_000) for phone in ("phones-0", "phones-1")]
        rates = [8 * one.result() for one in asked]
    assert 27e6 < sum(rates) < 36e6  # one may have the link for itself in the end, at 20
    assert max(rates) < 20.5e6


def test_packets_are_lost_as_often_as_declared(sites: Sites) -> None:
    times, share = 3000, 0.1
    before = figures(sites.set("radio", "--loss", "10%"), "radio", "up")
    try:
        with sites.running("bases", "count", 5.0) as counter:
            sites.ask("phones-0", "flood", "bases", times)
            assert counter.stdout is not None
            arrived = int(counter.stdout.readline())
        after = figures(sites.status(), "radio", "up")
    finally:
        sites.set("radio", "--loss", "0")
    assert abs(times - arrived - share * times) < 5 * math.sqrt(times * share * (1 - share))
    assert after["lost"] - before["lost"] == times - arrived
    assert after["dropped"] == before["dropped"]


def test_a_link_changes_while_it_runs(sites: Sites) -> None:
    set_ = figures(sites.set("link.radio", "--delay", "40ms", "--rate", "8Mbit/s", "--direction", "up"), "radio", "up")
    assert (set_["delay_ms"], set_["bytes_per_s"]) == (40, 1e6)
    try:
        took = sites.ask("phones-0", "ping", "bases", 60, 30.0)
        assert 0.05 <= min(took) <= 0.05 + ROUND_TRIP_TOLERANCE
        carries(sites, "phones-0", "bases", 8e6, 800_000)
    finally:
        sites.set("radio", "--delay", "10ms")
        sites.set("radio", "--rate", "20Mbit/s", "--direction", "up")
    assert min(sites.ask("phones-0", "ping", "bases", 20, 30.0)) <= 0.02 + ROUND_TRIP_TOLERANCE


def test_a_link_that_is_down_lets_nothing_pass_until_it_is_up(sites: Sites) -> None:
    assert not figures(sites.set("radio", "--down"), "radio", "down")["carries"]
    try:
        assert sites.ask("phones-0", "ping", "bases", 3, 0.2) == []
        assert len(sites.ask("cloud", "ping", "bases", 3, 30.0)) == 3
    finally:
        sites.set("radio", "--up")
    assert len(sites.ask("phones-0", "ping", "bases", 3, 30.0)) == 3


def test_jitter_spreads_round_trips_around_the_mean(sites: Sites) -> None:
    sites.set("trunk", "--delay", "15ms", "--jitter", "4ms")
    try:
        took = sites.ask("bases", "ping", "cloud", 300, 1.0)
    finally:
        sites.set("trunk", "--jitter", "0")
    assert statistics.median(took) == pytest.approx(0.03, abs=0.003)
    low, high = statistics.quantiles(took, n=20)[0], statistics.quantiles(took, n=20)[-1]
    assert 0.5 < (high - low) / (2 * 1.645 * 0.004 * math.sqrt(2)) < 1.6


def test_sites_have_no_other_network(sites: Sites) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"
    called = sites.emulate("exec", "phones-0", "--", "python3", "-c", code)
    assert "unreachable" in called.err
