"""What `--again` measures once more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from planner.cli.profiling.calls import hosted_apis
from planner.observation import is_observed
from specs.application import Application
from specs.profile import Record


@dataclass(frozen=True)
class Again:
    """Of the application `app`. Devices that a tracker lends can be measured where one is known (`has_tracker`)."""

    app: Application
    has_tracker: bool

    def is_for(self, record: Record) -> bool:
        """Whether `record` was disturbed, and measuring it once more would tell better.

        Not what runs observed, of which others and drift are part; not hosted APIs, whose calls cost money.
        """
        if not record.disturbed or is_observed(record) or record.source in self._hosted:
            return False
        return record.rpc is None or self.has_tracker

    @cached_property
    def _hosted(self) -> Collection[str]:
        return {api.digest for _, api in hosted_apis(self.app).values()}
