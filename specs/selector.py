"""Selectors: which sites a mapping such as ``{tier: edge, region: eu}`` means."""

from __future__ import annotations

from collections.abc import Mapping

from specs.infrastructure import Infrastructure


def matching_sites(selector: Mapping[str, str], infra: Infrastructure) -> tuple[str, ...]:
    """Sites, in the order of the file, at which all of `selector` holds: ``site``, ``tier``, else a label."""
    return tuple(name for name in infra.sites if all(_has(infra, name, key, word) for key, word in selector.items()))


def _has(infra: Infrastructure, name: str, key: str, word: str) -> bool:
    site = infra.sites[name]
    if key == "site":
        return name == word
    return site.tier == word if key == "tier" else site.labels.get(key) == word
