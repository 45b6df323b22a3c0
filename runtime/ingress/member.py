"""The door in front of one host: its models from the bundle, its figures from the host."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from runtime.bundle import Bundle
from runtime.host import Host
from runtime.ingress.admission import read_tokens
from runtime.ingress.door import Door, DoorOptions
from runtime.ingress.models import served_models
from runtime.ingress.service import Entrance, Service
from runtime.observe.metrics import Metrics
from runtime.observe.request_log import RequestLog
from runtime.observe.requests import Listener, Listeners
from runtime.observe.spans import producers_of
from runtime.observe.tracing import Tracing
from runtime.observe.window import Window
from runtime.opening import output_types
from runtime.topology import Topology

VERSION_DIGITS = 16
"""Of the plan's digest: what clients see as the model's version."""


class MemberDoor:
    """Open from construction to `close`."""

    def __init__(
        self,
        bundle: Bundle,
        top: Topology,
        host: Host,
        entrance: Entrance,
        options: DoorOptions,
        listener: Listener | None = None,
    ) -> None:
        """Requests go to `entrance`, which need not be `host` itself; the figures are of `host`. `listener` is told of
        requests instead of all those that `options` asks for.

        Raises InputError for unusable tokens or keys, EnvironmentFailed where the addresses cannot be had."""
        plan_version = bundle.plan.digest[:VERSION_DIGITS]
        self.window = Window()
        metrics = Metrics(host.member, bundle.plan, top, host.loads)
        self._listener = listener or Listeners((self.window, metrics, *_asked_for(bundle, top, host, options)))
        service = Service(
            member=host.name,
            models=served_models(bundle.app.value, output_types(bundle), top, host.member, plan_version),
            entrance=entrance,
            limits=options.limits,
            tokens=read_tokens(options.token_file),
            metrics=metrics,
            listener=self._listener,
        )
        self.models = tuple(service.models)
        self._door = Door(service, options, version("tierplan"))
        self.endpoints = self._door.open()

    def close(self) -> None:
        self._door.close()
        self._listener.close()


def _asked_for(bundle: Bundle, top: Topology, host: Host, options: DoorOptions) -> Iterator[Listener]:
    if options.log_file and options.log != "off":
        yield RequestLog(options.log_file, host.name, options.log)
    if options.trace.endpoint:
        resource = {
            "service.name": bundle.plan.application,
            "service.version": bundle.plan.digest[:VERSION_DIGITS],
            "service.instance.id": host.name,
        }
        yield Tracing(options.trace, resource, producers_of(top))
