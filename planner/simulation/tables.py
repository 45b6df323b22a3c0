"""What the compiled loop reads and writes: the network of queues as arrays, and the state of everything in it.

A *class* of requests is a flow in one branch pattern, or a kind of background; its *nodes* are the source (the first),
the stages that it runs and its sinks; *edges* are its messages, each with the *steps* of its route. A *place* is a
member of a class of sites. Queues and links are classes too, with one instance at each member of their site; a pool
that shares time has one for each device there.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int32]
Longs: TypeAlias = NDArray[np.int64]
Small: TypeAlias = NDArray[np.int8]
Floats: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]

PENDING: Final = 0
ANSWERED: Final = 1
REFUSED: Final = 2
FAILED: Final = 3
UNSENT: Final = 4

SIZE: Final = 0
ORDER: Final = 1
NEXT: Final = 2
SPARE_TASKS: Final = 3
SPARE_MESSAGES: Final = 4
COUNTERS: Final = 5
"""Places in `State.counters`: events in the heap, insertions so far, the next arrival, and free slots."""


class Network(NamedTuple):
    """Constant while it is played. `X_first` has one entry more than there are X, so that ranges can be read off."""

    class_node: Ints
    class_members: Ints
    class_sinks: Ints
    node_stage: Ints
    """-1: a source or a sink."""
    node_site: Ints
    node_need: Ints
    """How many messages it waits for."""
    node_items: Ints
    """How many items it is run for; 1 where it does not run per item."""
    node_column: Ints
    """Of `Log.waits`; -1: not kept."""
    node_end: Ints
    """Of `Log.ends`; -1: not kept."""
    node_edge: Ints
    edge_to: Ints
    edge_awaited: Ints
    """0: it loads its links, and nobody waits for it."""
    edge_sizes: Ints
    """The draw of its bytes; -1: it stays within a place."""
    edge_column: Ints
    edge_step: Ints
    step_link: Ints
    """-1: a delay."""
    step_rate: Floats
    step_mean: Floats
    step_deviation: Floats
    step_draw: Ints
    """Where a delay is drawn from equally likely values: which; else -1."""
    stage_queue: Ints
    stage_services: Ints
    stage_batch: Ints
    stage_patience: Floats
    """Seconds that the oldest item of a batch waits for more."""
    queue_first: Ints
    queue_members: Ints
    queue_devices: Ints
    """At each member: each has such an instance, to which an equal part of the requests comes."""
    queue_site: Ints
    queue_servers: Ints
    queue_mixed: Ints
    """1: of several stages, or of batches; the next item need not be the oldest."""
    link_first: Ints
    link_members: Ints
    site_first: Ints
    site_members: Ints
    draw_first: Ints
    values: Floats
    place_pace: Ints
    """The calendar of its speed; -1: always 1."""
    place_up: Ints
    """The calendar of whether it is there at all."""
    link_pace: Ints
    calendar_first: Ints
    calendar_time: Floats
    calendar_pace: Floats
    """From its time on; 1 before the first."""
    queue_limit: int
    keeps_joins: int
    """1: some place is lost on the way, so joins must know when they began."""
    most_items: int
    """Of any node."""
    horizon: float
    """Seconds; what is busy after it is not counted."""


class Requests(NamedTuple):
    """In the order in which they arrive. `row` is where they are logged; -1: not at all."""

    time: Floats
    deadline: Floats
    kind: Ints
    member: Ints
    row: Ints


class State(NamedTuple):
    """Of all that is under way. Tasks and messages are slots, which the spare lists give out."""

    counters: Longs
    event_time: Floats
    event_key: Longs
    missing: Small
    """Messages that a request's node still waits for."""
    began: Floats
    """When the first of them came."""
    items_left: Ints
    """Of a request's node, those not done; kept only where nodes run per item."""
    sinks_left: Small
    status: Small
    head: Ints
    tail: Ints
    waiting: Ints
    idle: Ints
    last: Ints
    """The request that a server of an instance has just done; -1: none."""
    epoch: Ints
    """How often an instance of a queue was lost."""
    queue_busy: Floats
    link_free: Floats
    link_busy: Floats
    task_request: Ints
    task_node: Ints
    task_ready: Floats
    task_next: Ints
    task_epoch: Ints
    spare_tasks: Ints
    message_request: Ints
    message_edge: Ints
    message_step: Ints
    message_size: Floats
    message_began: Floats
    message_waited: Floats
    spare_messages: Ints


class Log(NamedTuple):
    """By row and column; NaN where a request did not come by. Seconds; `ends` since the request's start."""

    waits: Singles
    took: Singles
    ends: Singles


def fresh_state(network: Network, requests: Requests, first_events: list[tuple[float, int, int]]) -> State:
    """Nothing under way; `first_events` are (time, kind, subject) in the order of their times."""
    from planner.simulation.events import KIND_SHIFT, ORDER_SHIFT

    n = len(requests.time)
    nodes = int(np.diff(network.class_node).max(initial=1))
    queues, links = int(network.queue_first[-1]), int(network.link_first[-1])
    slots = 1024
    room = max(4 * slots, 2 * len(first_events))
    times, keys = np.zeros(room), np.zeros(room, np.int64)
    for order, (time, kind, subject) in enumerate(sorted(first_events)):
        times[order], keys[order] = time, (order << ORDER_SHIFT) | (kind << KIND_SHIFT) | subject
    counters = np.zeros(COUNTERS, np.int64)
    counters[SIZE] = counters[ORDER] = len(first_events)
    counters[SPARE_TASKS] = counters[SPARE_MESSAGES] = slots
    first, members = network.queue_first, network.queue_servers
    servers = np.repeat(members, np.diff(first)).astype(np.int32)
    slot = np.arange(slots, dtype=np.int32)
    return State(
        counters=counters,
        event_time=times,
        event_key=keys,
        missing=np.zeros((n, nodes), np.int8),
        began=np.zeros((n, nodes) if network.keeps_joins else (1, 1)),
        items_left=np.zeros((n, nodes) if network.most_items != 1 else (1, 1), np.int32),
        sinks_left=np.zeros(n, np.int8),
        status=np.zeros(n, np.int8),
        head=np.full(queues, -1, np.int32),
        tail=np.full(queues, -1, np.int32),
        waiting=np.zeros(queues, np.int32),
        idle=servers,
        last=np.full(queues, -1, np.int32),
        epoch=np.zeros(queues, np.int32),
        queue_busy=np.zeros(queues),
        link_free=np.zeros(links),
        link_busy=np.zeros(links),
        task_request=np.zeros(slots, np.int32),
        task_node=np.zeros(slots, np.int32),
        task_ready=np.zeros(slots),
        task_next=np.zeros(slots, np.int32),
        task_epoch=np.zeros(slots, np.int32),
        spare_tasks=slot.copy(),
        message_request=np.zeros(slots, np.int32),
        message_edge=np.zeros(slots, np.int32),
        message_step=np.zeros(slots, np.int32),
        message_size=np.zeros(slots),
        message_began=np.zeros(slots),
        message_waited=np.zeros(slots),
        spare_messages=slot.copy(),
    )


def grown(state: State) -> State:
    """With twice the room for events, tasks and messages."""
    slots = len(state.spare_tasks)
    longer = {
        name: np.concatenate([value, np.zeros_like(value)])
        for name, value in state._asdict().items()
        if name.startswith(("event_", "task_", "message_", "spare_"))
    }
    for name, counter in (("spare_tasks", SPARE_TASKS), ("spare_messages", SPARE_MESSAGES)):
        left = int(state.counters[counter])
        longer[name][left : left + slots] = np.arange(slots, 2 * slots, dtype=np.int32)
        state.counters[counter] = left + slots
    return state._replace(**longer)
