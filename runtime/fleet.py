"""Members of site classes: who belongs to whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from specs.errors import InputError, Issue
from specs.infrastructure import Infrastructure


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """Member `index` of the class `site`. Its name is the value of the label ``site`` of its Ray node."""

    site: str
    index: int

    def __str__(self) -> str:
        return f"{self.site}-{self.index}"


def site_of(member: str) -> str:
    """The class that a member of this name belongs to."""
    return member.rpartition("-")[0]


def ancestors(infra: Infrastructure, member: Member) -> Iterator[Member]:
    """`member`, then what it belongs to, and so on: member i of a class ``N per P`` belongs to member i // N of P."""
    while True:
        yield member
        count = infra.sites[member.site].count
        if count.per is None:
            return
        member = Member(count.per, member.index // count.count)


def serving(infra: Infrastructure, origin: Member, site: str) -> Member:
    """The member of `site` that serves requests from `origin`: its own ancestor, that one's only one, or the only one.

    Raises InputError where several members of `site` would do: nothing says which.
    """
    above = {member.site: member for member in ancestors(infra, origin)}
    wanted = site
    while wanted not in above:
        count = infra.sites[wanted].count
        if count.count != 1:
            raise InputError(
                Issue(
                    f"not supported yet: requests from {origin.site} served at {site}, which has "
                    f"{infra.members(site)} members and none that {origin.site} belongs to",
                    hint=f"give {origin.site} a count 'N per {site}', or {site} a count of 1",
                )
            )
        if count.per is None:
            return Member(site, 0)
        wanted = count.per
    return Member(site, above[wanted].index)


def chosen(infra: Infrastructure, members: Mapping[str, int], site: str) -> tuple[Member, ...]:
    """The members of `site` that a slice takes part with: the first ones; 1 where the slice does not say.

    Raises InputError for more than there are.
    """
    wanted = members.get(site, 1)
    have = infra.members(site)
    if not 0 <= wanted <= have:
        raise InputError(Issue(f"the slice asks for {wanted} members of {site}, which has {have}"))
    return tuple(Member(site, index) for index in range(wanted))
