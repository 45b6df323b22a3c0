"""Selectors: which sites a mapping such as ``{tier: edge, region: eu}`` means, and what a pool is capable of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from specs.application import Sink
from specs.belonging import own_of
from specs.errors import InputError, Issue
from specs.infrastructure import Infrastructure


def matching_sites(selector: Mapping[str, str], infra: Infrastructure) -> tuple[str, ...]:
    """Sites, in the order of the file, at which all of `selector` holds: ``site``, ``tier``, else a label."""
    return tuple(name for name in infra.sites if all(_has(infra, name, key, word) for key, word in selector.items()))


def sink_site(sink: Sink, infra: Infrastructure, origin: str) -> str:
    """Where answers to requests of `origin` go: the nearest of the sites that match to which it belongs, else the one
    of which there is a member for it.

    Raises InputError where there are none or several, as `specs.support` does with the place.
    """
    if sink.at == "origin":
        return origin
    own = own_of(infra, origin, matching_sites(sink.at, infra))
    if len(own) != 1:
        found = ", ".join(own) or "no site"
        raise InputError(Issue(f"answers to requests of {origin!r} may go to {found}, of those that match {sink.at}"))
    return own[0]


def _has(infra: Infrastructure, name: str, key: str, word: str) -> bool:
    site = infra.sites[name]
    if key == "site":
        return name == word
    return site.tier == word if key == "tier" else site.labels.get(key) == word


def capable(required: Sequence[str], infra: Infrastructure, site: str, pool: str) -> bool:
    """Whether a pool has every capability: each is a label, such as ``gpu`` or ``tee=sgx``, of its hardware or site."""
    hardware = infra.hardware[infra.sites[site].pools[pool].hardware]
    labels = {**infra.sites[site].labels, **hardware.labels}
    return all(key in labels and sign in ("", f"={labels[key]}") for key, sign in map(_capability, required))


def _capability(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    return key.strip(), f"={value.strip()}" if equals else ""
