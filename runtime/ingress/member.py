"""The door in front of the hosts of one process: its models from a bundle, its figures from that bundle's host."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from runtime.bundle import Bundle
from runtime.hosting.host import Host
from runtime.hosting.opening import output_types
from runtime.ingress.admission import read_tokens
from runtime.ingress.door import Door, DoorOptions
from runtime.ingress.repeats import Repeats
from runtime.ingress.service import Entrance, Service
from runtime.observe.metrics import Metrics
from runtime.observe.request_log import RequestLog
from runtime.observe.requests import Listener, Listeners
from runtime.observe.spans import producers_of
from runtime.observe.tracing import Tracing
from runtime.observe.window import Window
from runtime.open_inference.models import served_models
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
        self._options, self._listener = options, listener
        self._repeats = Repeats(options.limits.requests)
        self._service, self.window = self._service_of(bundle, top, host, entrance)
        self._door = Door(self._service, options, version("tierplan"))
        self.endpoints = self._door.open()

    def _service_of(self, bundle: Bundle, top: Topology, host: Host, entrance: Entrance) -> tuple[Service, Window]:
        options, window = self._options, Window()
        metrics = Metrics(host.member, bundle.plan, top, host.loads)
        service = Service(
            member=host.name,
            models=served_models(
                bundle.app.value, output_types(bundle), top, host.member, bundle.plan.digest[:VERSION_DIGITS]
            ),
            entrance=entrance,
            limits=options.limits,
            tokens=read_tokens(options.token_file),
            metrics=metrics,
            listener=self._listener or Listeners((window, metrics, *_asked_for(bundle, top, host, options))),
            repeats=self._repeats,
        )
        return service, window

    @property
    def models(self) -> tuple[str, ...]:
        """That requests can ask for."""
        return tuple(self._service.models)

    @property
    def running(self) -> int:
        """How many requests with an id are running, those included whose clients went away."""
        return self._repeats.running

    def serve(self, bundle: Bundle, top: Topology, host: Host, entrance: Entrance) -> Service:
        """Give what comes from now on to another plan; its figures begin anew. Returns the service that was there: what
        it has let in is still under way; it is to be closed after that.
        """
        before = self._service
        self._service, self.window = self._service_of(bundle, top, host, entrance)
        self._door.serve(self._service)
        return before

    def close(self) -> None:
        self._door.close()
        self._service.close()


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
