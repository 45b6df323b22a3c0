"""Classes of hardware whose devices a tracker lends: `device: {rpc: KEY, target: TARGET}` in infra.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specs.catalogue import entry_of
from specs.errors import InputError, Issue
from specs.infrastructure import RpcDevice

if TYPE_CHECKING:
    from compiler.remote.place import RemoteClass
    from specs.infrastructure import Infrastructure
    from specs.load import Document


def lent_classes(infra: Document[Infrastructure]) -> dict[str, RemoteClass]:
    """By name. Raises InputError, at the line of each, for targets that are missing, unknown, or no CPU's."""
    lent = {name: spec for name, spec in infra.value.hardware.items() if isinstance(spec.device, RpcDevice)}
    if not lent:
        return {}
    from compiler.remote.place import remote_class

    found: dict[str, RemoteClass] = {}
    issues: list[Issue] = []
    for name, spec in lent.items():
        assert isinstance(spec.device, RpcDevice)
        entry = entry_of(spec)
        target = spec.device.target or (entry.target if entry else None)
        try:
            found[name] = remote_class(name, int(spec.cores), spec.device.rpc, target)
        except InputError as error:
            place = infra.place("hardware", name, "device", "target")
            issues += [Issue(issue.message, place, issue.hint) for issue in error.issues]
    if issues:
        raise InputError(*issues)
    return found
