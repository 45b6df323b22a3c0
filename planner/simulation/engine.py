"""The discrete-event loop, compiled by numba: what happens to each request, in the order in which it happens.

It does what `runtime/hosting/host.py` and `runtime/hosting/queues.py` do. A stage's item waits in its queue until a
server is free; a server goes on with the request that it has while the queue holds more of it, else it takes the oldest
item. A batch leaves when a server is free and it is full or its oldest item has waited long enough. A link is a server
too, reserved in event time. What comes past its deadline is dropped. A place that is lost loses what it holds.

Each kind of event has one function, called from one place: numba then compiles them all into one loop.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from planner.simulation.compiling import compiled, inlined
from planner.simulation.events import kind_of, push, remove_first, subject_of
from planner.simulation.tables import (
    ANSWERED,
    FAILED,
    NEXT,
    ORDER,
    PENDING,
    REFUSED,
    SIZE,
    SPARE_MESSAGES,
    SPARE_TASKS,
    UNSENT,
    Log,
    Network,
    Requests,
    State,
)

PASSES: Final = 0
"""A message is at the next step of its route."""
LEAVES: Final = 1
"""A task, or the batch that begins with it, is done: it hands over what it made."""
TAKES: Final = 2
"""An instance of a queue looks whether an idle server has something to do."""
LOSES: Final = 3
"""An instance of a queue loses what it holds."""

DONE: Final = 0
PAUSED: Final = 1
FULL: Final = 2
"""How `advance` ends: nothing is left, its events are used up, or there is too little room."""


@inlined
def _later(state: State, time: float, kind: int, subject: int) -> None:
    count = state.counters
    push(state.event_time, state.event_key, count[SIZE], time, count[ORDER], kind, subject)
    count[SIZE] += 1
    count[ORDER] += 1


@inlined
def _at_once(state: State, time: float, kind: int, subject: int) -> None:
    """Before anything else of that time: who passes a stage without items is at the next before servers look round."""
    push(state.event_time, state.event_key, state.counters[SIZE], time, 0, kind, subject)
    state.counters[SIZE] += 1


@inlined
def _free(state: State, task: int) -> None:
    state.spare_tasks[state.counters[SPARE_TASKS]] = task
    state.counters[SPARE_TASKS] += 1


@inlined
def _end(state: State, request: int, status: int) -> None:
    if state.status[request] == PENDING:
        state.status[request] = status


@inlined
def _member(net: Network, requests: Requests, request: int, count: int) -> int:
    """Which of `count` members serves a request's origin."""
    return int(requests.member[request]) * count // int(net.class_members[requests.kind[request]])


@inlined
def _instance(net: Network, requests: Requests, request: int, queue: int) -> int:
    """Where a request meets a queue: of a pool's devices at its member all its stages are at one, as good as drawn."""
    devices = int(net.queue_devices[queue])
    instance = int(net.queue_first[queue]) + _member(net, requests, request, net.queue_members[queue]) * devices
    if devices > 1:
        instance += int(_scrambled(request, queue) % np.uint64(devices))
    return instance


@compiled
def _scrambled(request: int, queue: int) -> np.uint64:
    """All bits of two numbers mixed (Stafford's variant 13 of the finaliser of MurmurHash3, as in SplitMix64)."""
    z = np.uint64(request + 1) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(queue + 1) * np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inlined
def _draw(net: Network, random: np.random.Generator, draw: int) -> float:
    first = net.draw_first[draw]
    return float(net.values[first + int(random.random() * (net.draw_first[draw + 1] - first))])


@compiled
def _pace(first: Any, times: Any, paces: Any, calendar: int, time: float) -> float:
    pace = 1.0
    for i in range(first[calendar], first[calendar + 1]):
        if times[i] > time:
            break
        pace = paces[i]
    return pace


@compiled
def _finish(first: Any, times: Any, paces: Any, calendar: int, start: float, work: float) -> float:
    """When `work` seconds at pace 1 are done."""
    time, pace = start, 1.0
    for i in range(first[calendar], first[calendar + 1]):
        then = times[i]
        if then > time:
            if (then - time) * pace >= work:
                return time + work / pace
            work -= (then - time) * pace
            time = then
        pace = paces[i]
    return time + work / pace if pace > 0 else np.inf


@compiled
def _lost_since(first: Any, times: Any, paces: Any, calendar: int, since: float, now: float) -> bool:
    """Whether a place was lost between two times at which it is there."""
    lost = False
    for i in range(first[calendar], first[calendar + 1]):
        lost = lost or (since < times[i] <= now and paces[i] == 0)
    return lost


@inlined
def _there(net: Network, place: int, now: float) -> bool:
    calendar = net.place_up[place]
    there = True
    if calendar >= 0:
        there = _pace(net.calendar_first, net.calendar_time, net.calendar_pace, calendar, now) > 0
    return there


@inlined
def _done_at(net: Network, calendar: int, start: float, work: float) -> float:
    done = start + work
    if calendar >= 0:
        done = _finish(net.calendar_first, net.calendar_time, net.calendar_pace, calendar, start, work)
    return done


@inlined
def _enter(net: Network, requests: Requests, state: State, request: int, now: float) -> None:
    """A request's source is as a stage that takes no time."""
    kind = requests.kind[request]
    source = net.class_node[kind]
    site = net.node_site[source]
    place = net.site_first[site] + _member(net, requests, request, net.site_members[site])
    if not _there(net, place, now):
        state.status[request] = UNSENT
    else:
        for node in range(source, net.class_node[kind + 1]):
            state.missing[request, node - source] = net.node_need[node]
        state.sinks_left[request] = net.class_sinks[kind]
        count = state.counters
        count[SPARE_TASKS] -= 1
        task = state.spare_tasks[count[SPARE_TASKS]]
        state.task_request[task] = request
        state.task_node[task] = source
        state.task_next[task] = -1
        _later(state, now, LEAVES, task)


@inlined
def _leave(
    net: Network, requests: Requests, state: State, log: Log, random: np.random.Generator, batch: int, now: float
) -> None:
    """Send what a batch made to those that take it, then let its server take what comes next."""
    count = state.counters
    stage = net.node_stage[state.task_node[batch]]
    if net.node_items[state.task_node[batch]] == 0:  # it was at no server
        stage = -1
    instance, lost = -1, False
    if stage >= 0:
        instance = _instance(net, requests, state.task_request[batch], net.stage_queue[stage])
        lost = state.task_epoch[batch] != state.epoch[instance]
        if not lost:
            state.idle[instance] += 1
            state.last[instance] = state.task_request[batch]
    task = batch
    while task >= 0:
        request, node = state.task_request[task], state.task_node[task]
        left = 0
        if net.node_items[node] > 1:
            at = node - net.class_node[requests.kind[request]]
            state.items_left[request, at] -= 1
            left = state.items_left[request, at]
        if lost:
            _end(state, request, FAILED)
        elif left == 0:
            row = requests.row[request]
            if row >= 0 and net.node_end[node] >= 0:
                log.ends[row, net.node_end[node]] = now - requests.time[request]
            for edge in range(net.node_edge[node], net.node_edge[node + 1]):
                count[SPARE_MESSAGES] -= 1
                message = state.spare_messages[count[SPARE_MESSAGES]]
                state.message_request[message] = request
                state.message_edge[message] = edge
                state.message_step[message] = net.edge_step[edge]
                if net.edge_sizes[edge] >= 0:
                    state.message_size[message] = _draw(net, random, net.edge_sizes[edge])
                state.message_began[message] = now
                state.message_waited[message] = 0.0
                if net.node_items[node] == 0:
                    _at_once(state, now, PASSES, message)
                else:
                    _later(state, now, PASSES, message)
        after = state.task_next[task]
        _free(state, task)
        task = after
    if instance >= 0 and not lost:
        _later(state, now, TAKES, instance)


@inlined
def _pass(
    net: Network, requests: Requests, state: State, log: Log, random: np.random.Generator, message: int, now: float
) -> None:
    """Take a message one step further, or deliver it."""
    request, edge, step = state.message_request[message], state.message_edge[message], state.message_step[message]
    due = np.inf
    if now > requests.deadline[request]:
        _end(state, request, FAILED)
    elif step == net.edge_step[edge + 1]:
        row, column = requests.row[request], net.edge_column[edge]
        if row >= 0 and column >= 0:
            log.waits[row, column] = state.message_waited[message]
            log.took[row, column] = now - state.message_began[message] - state.message_waited[message]
        _arrive(net, requests, state, log, request, edge, now)
    elif net.step_link[step] < 0:
        due = now + net.step_mean[step]
        if net.step_deviation[step] > 0:
            due = now + max(0.0, random.normal(net.step_mean[step], net.step_deviation[step]))
        if net.step_draw[step] >= 0:
            due = now + _draw(net, random, net.step_draw[step])
    else:
        link = net.step_link[step]
        instance = net.link_first[link] + _member(net, requests, request, net.link_members[link])
        begin = max(now, state.link_free[instance])
        due = _done_at(net, net.link_pace[instance], begin, state.message_size[message] / net.step_rate[step])
        state.link_free[instance] = due
        state.link_busy[instance] += min(due, net.horizon) - min(begin, net.horizon)
        state.message_waited[message] += begin - now
        if due == np.inf:
            _end(state, request, FAILED)
    if due < np.inf:
        state.message_step[message] = step + 1
        _later(state, due, PASSES, message)
    else:
        state.spare_messages[state.counters[SPARE_MESSAGES]] = message
        state.counters[SPARE_MESSAGES] += 1


@inlined
def _arrive(net: Network, requests: Requests, state: State, log: Log, request: int, edge: int, now: float) -> None:
    """Join a message with what arrived before, and let its consumer begin when that has all it needs."""
    node = net.edge_to[edge]
    at = node - net.class_node[requests.kind[request]]
    site = net.node_site[node]
    place = net.site_first[site] + _member(net, requests, request, net.site_members[site])
    held = _there(net, place, now)
    if held and net.edge_awaited[edge] and net.keeps_joins:
        if state.missing[request, at] == net.node_need[node]:
            state.began[request, at] = now
        elif net.place_up[place] >= 0:
            since = state.began[request, at]
            held = not _lost_since(
                net.calendar_first, net.calendar_time, net.calendar_pace, net.place_up[place], since, now
            )
    if not held:
        _end(state, request, FAILED)
    elif net.edge_awaited[edge]:
        state.missing[request, at] -= 1
        if state.missing[request, at] == 0:
            if net.node_stage[node] >= 0:
                _queue(net, requests, state, request, node, now)
            else:
                row = requests.row[request]
                if row >= 0 and net.node_end[node] >= 0:
                    log.ends[row, net.node_end[node]] = now - requests.time[request]
                state.sinks_left[request] -= 1
                if state.sinks_left[request] == 0:
                    _end(state, request, ANSWERED)


@inlined
def _queue(net: Network, requests: Requests, state: State, request: int, node: int, now: float) -> None:
    """Each item waits for a server, where there is room for all; without items it is the next node's turn at once."""
    stage = net.node_stage[node]
    instance = _instance(net, requests, request, net.stage_queue[stage])
    items = net.node_items[node]
    if items > 1:
        state.items_left[request, node - net.class_node[requests.kind[request]]] = items
    fits = items == 0 or state.waiting[instance] <= net.queue_limit - items
    if not fits:
        _end(state, request, REFUSED)
    for item in range(max(1, items) if fits else 0):
        count = state.counters
        count[SPARE_TASKS] -= 1
        task = state.spare_tasks[count[SPARE_TASKS]]
        state.task_request[task] = request
        state.task_node[task] = node
        state.task_ready[task] = now
        state.task_next[task] = -1
        if items == 0:
            _at_once(state, now, LEAVES, task)
            break
        if state.tail[instance] < 0:
            state.head[instance] = task
        else:
            state.task_next[state.tail[instance]] = task
        state.tail[instance] = task
        state.waiting[instance] += 1
        if item == 0 and state.idle[instance] > 0:
            _later(state, now, TAKES, instance)
        if net.stage_batch[stage] > 1 and net.stage_patience[stage] > 0:
            _later(state, now + net.stage_patience[stage], TAKES, instance)


@inlined
def _take(
    net: Network, requests: Requests, state: State, log: Log, random: np.random.Generator, instance: int, now: float
) -> None:
    """Idle servers take what comes next: more of the request that the last one had, else the oldest that is due."""
    last = state.last[instance]
    state.last[instance] = -1
    looking = True
    while looking and state.idle[instance] > 0 and state.head[instance] >= 0:
        first = state.head[instance]
        if net.queue_mixed[net.stage_queue[net.node_stage[state.task_node[first]]]]:
            first = _next(
                net.node_stage, net.stage_batch, net.stage_patience, state.task_request, state.task_node,
                state.task_ready, state.task_next, first, last, now,
            )  # fmt: skip
        last = -1
        if first < 0:
            looking = False
        else:
            batch = _taken(
                net.node_stage, net.stage_batch, state.task_node, state.task_next, state.head, state.tail,
                state.waiting, instance, first,
            )  # fmt: skip
            _start(net, requests, state, log, random, instance, batch, now)


@compiled
def _next(
    stages: Any,
    batches: Any,
    patience: Any,
    requests: Any,
    nodes: Any,
    ready: Any,
    nexts: Any,
    head: int,
    last: int,
    now: float,
) -> int:
    """The oldest item of the request `last` that is due, else the oldest of all that is; -1: none.

    An item is due when the batch that begins with it is full, or when it has waited long enough.
    """
    oldest = -1
    task = head
    while task >= 0:
        if oldest < 0 or requests[task] == last:
            stage = stages[nodes[task]]
            due = batches[stage] <= 1 or now >= ready[task] + patience[stage]
            found, other = 0, head
            while not due and other >= 0:
                found += stages[nodes[other]] == stage
                due = found == batches[stage]
                other = nexts[other]
            if due and (last < 0 or requests[task] == last):
                return task
            if due:
                oldest = task
        task = nexts[task]
    return oldest


@compiled
def _taken(
    stages: Any, batches: Any, nodes: Any, nexts: Any, heads: Any, tails: Any, waiting: Any, instance: int, first: int
) -> int:
    """Take `first` out of its queue, or as many of its stage as a batch holds, oldest first; they are chained."""
    stage = stages[nodes[first]]
    size = batches[stage]
    chain = end = before = -1
    taken = 0
    task = heads[instance]
    while taken < size and task >= 0:
        after = nexts[task]
        if task == first if size == 1 else stages[nodes[task]] == stage:
            if before < 0:
                heads[instance] = after
            else:
                nexts[before] = after
            if tails[instance] == task:
                tails[instance] = before
            nexts[task] = -1
            if chain < 0:
                chain = task
            else:
                nexts[end] = task
            end = task
            taken += 1
        else:
            before = task
        task = after
    waiting[instance] -= taken
    return chain


@inlined
def _start(
    net: Network,
    requests: Requests,
    state: State,
    log: Log,
    random: np.random.Generator,
    instance: int,
    batch: int,
    now: float,
) -> None:
    """Drop what is late; serve the rest of a batch."""
    kept = end = -1
    task = batch
    while task >= 0:
        after = state.task_next[task]
        if now > requests.deadline[state.task_request[task]]:
            _end(state, state.task_request[task], FAILED)
            _free(state, task)
        else:
            if kept < 0:
                kept = task
            else:
                state.task_next[end] = task
            state.task_next[task] = -1
            end = task
        task = after
    if kept >= 0:
        stage = net.node_stage[state.task_node[kept]]
        site = net.queue_site[net.stage_queue[stage]]
        place = net.site_first[site] + _member(net, requests, state.task_request[kept], net.site_members[site])
        done = _done_at(net, net.place_pace[place], now, _draw(net, random, net.stage_services[stage]))
        state.idle[instance] -= 1
        state.queue_busy[instance] += min(done, net.horizon) - min(now, net.horizon)
        state.task_epoch[kept] = state.epoch[instance]
        task = kept
        while task >= 0:
            row, column = requests.row[state.task_request[task]], net.node_column[state.task_node[task]]
            if row >= 0 and column >= 0:
                if np.isnan(log.waits[row, column]):  # of several items, that of the first
                    log.waits[row, column] = now - state.task_ready[task]
                log.took[row, column] = done - now
            task = state.task_next[task]
        _later(state, done, LEAVES, kept)


@inlined
def _lose(net: Network, state: State, instance: int) -> None:
    """All that waits and is served at an instance of a queue is gone; its servers come back idle."""
    task = state.head[instance]
    while task >= 0:
        after = state.task_next[task]
        _end(state, state.task_request[task], FAILED)
        _free(state, task)
        task = after
    state.head[instance] = -1
    state.tail[instance] = -1
    state.waiting[instance] = 0
    state.epoch[instance] += 1
    queue = 0
    while net.queue_first[queue + 1] <= instance:
        queue += 1
    state.idle[instance] = net.queue_servers[queue]


@compiled
def advance(
    net: Network, requests: Requests, state: State, log: Log, random: np.random.Generator, events: int, margin: int
) -> int:
    """Let at most `events` events happen. `margin`: the room that one event may need."""
    count = state.counters
    n = len(requests.time)
    ended = PAUSED
    for _ in range(events):
        room = len(state.event_time) - count[SIZE]
        if min(room, count[SPARE_TASKS], count[SPARE_MESSAGES]) <= margin:
            ended = FULL
            break
        arrival = requests.time[count[NEXT]] if count[NEXT] < n else np.inf
        if count[SIZE] == 0 or arrival < state.event_time[0]:
            if count[NEXT] == n:
                ended = DONE
                break
            _enter(net, requests, state, count[NEXT], arrival)
            count[NEXT] += 1
        else:
            now, key = state.event_time[0], state.event_key[0]
            remove_first(state.event_time, state.event_key, count[SIZE])
            count[SIZE] -= 1
            kind, subject = kind_of(key), subject_of(key)
            if kind == PASSES:
                _pass(net, requests, state, log, random, subject, now)
            elif kind == LEAVES:
                _leave(net, requests, state, log, random, subject, now)
            elif kind == TAKES:
                _take(net, requests, state, log, random, subject, now)
            else:
                _lose(net, state, subject)
    return ended
