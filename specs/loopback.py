"""Addresses that can only be this machine: what goes there crosses no network."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether `host` is one; of names, `localhost` alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
