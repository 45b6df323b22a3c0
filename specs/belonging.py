"""How classes of sites belong together: which member of another class a member has to go to."""

from __future__ import annotations

from collections.abc import Collection

from specs.infrastructure import Infrastructure


def parents(infra: Infrastructure, site: str) -> list[str]:
    """The classes that `site` belongs to (`count: N per PARENT`), the nearest first."""
    found: list[str] = []
    per = infra.sites[site].count.per
    while per is not None and per in infra.sites and per not in found:
        found.append(per)
        per = infra.sites[per].count.per
    return found


def settled(infra: Infrastructure, origin: str, site: str) -> bool:
    """Whether a member of `origin` has one member of `site`: its own, its parent's, or the only one."""
    above = [origin, *parents(infra, origin)]
    while site not in above:
        count = infra.sites[site].count
        if count.count != 1 or (count.per is not None and count.per not in infra.sites):
            return False
        if count.per is None:
            return True
        site = count.per
    return True


def own_of(infra: Infrastructure, origin: str, sites: Collection[str]) -> list[str]:
    """Those of `sites` to which what enters at `origin` may go: its own or the nearest that it belongs to, else all of
    which there is one member for it.
    """
    above = [site for site in (origin, *parents(infra, origin)) if site in sites]
    return above[:1] or [site for site in sites if settled(infra, origin, site)]
