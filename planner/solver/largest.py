"""The site with most to buy, which stands for the cloud: a Problem knows no tiers."""

from __future__ import annotations

from planner.problem import Problem


def largest(problem: Problem) -> int:
    """The site with most cores to buy; among equal ones the first."""
    pool_site: dict[int, int] = {}
    for scenario in problem.scenarios:
        for step in scenario.steps:
            for option in step.options:
                pool_site[problem.stations[option.station].pool] = option.site
    cores: dict[int, int] = {}
    for pool, site in sorted(pool_site.items()):
        cores[site] = cores.get(site, 0) + problem.pools[pool].cores * problem.pools[pool].maximum
    return max(cores, key=lambda site: (cores[site], -site), default=0)
