"""The timed workloads: how much, how soon, and at what cost for the caller.

Each takes a way to build a contestant and the seconds it may take, and returns figures by name. The
callbacks that count and time are the same functions for all contestants, called by each as directly
as it can. The caller waits on a bare `SimpleQueue`, the cheapest thing to wait on.
"""

from __future__ import annotations

import queue
import statistics
import time
from typing import Callable, Dict

from contestants import Contestant, Hear

Build = Callable[[], Contestant]
Figures = Dict[str, float]

PRODUCERS = 4
WINDOW = 64
WARM_UP = 100
PAUSE_S = 0.0001
clock = time.perf_counter


def ignore(topic: str, value: int) -> None:
    """The callback of a listener nobody looks at."""


def every(n: int, put: Callable[[None], None]) -> Hear:
    """A callback that lets the caller go on at every n-th result."""
    count = 0

    def hear(topic: str, value: int) -> None:
        nonlocal count
        count += 1
        if count == n:
            count = 0
            put(None)

    return hear


def throughput(build: Build, seconds: float) -> Figures:
    """Results/s at one listener of 2; 4 producers; 64 requests outstanding, always refilled."""
    permits: queue.SimpleQueue[None] = queue.SimpleQueue()
    contestant = build()
    contestant.start(PRODUCERS, [every(PRODUCERS, permits.put), ignore])
    get, send = permits.get, contestant.send
    for i in range(WINDOW):
        send(i)

    def keep_going(seconds: float) -> float:
        sent = 0
        begin = now = clock()
        while now < begin + seconds:
            for i in range(WINDOW):
                get()
                send(i)
            sent += WINDOW
            now = clock()
        return sent * PRODUCERS / (now - begin)

    keep_going(seconds / 4)
    rate = keep_going(seconds)
    for _ in range(WINDOW):
        get()
    contestant.close()
    return {"throughput": rate}


def latency(build: Build, seconds: float) -> Figures:
    """p50 of the us from just before a send to the callback; 1 producer, 1 listener, in turn."""
    return {"latency": until_last(build(), 1, seconds)}


def fanout(build: Build, seconds: float) -> Figures:
    """p50 of the us from just before a send to the last of 8, 64 or 256 producers' results."""
    return {f"fanout {n}": until_last(build(), n, seconds / 2) for n in (8, 64, 256)}


def until_last(contestant: Contestant, producers: int, seconds: float) -> float:
    """One request at a time; the listener takes the time when the last result is there.

    Before each send the caller pauses, so that all threads are parked. Otherwise the listener may
    still be busy with the request before, and on one CPU the very same relay has two speeds.
    """
    back: queue.SimpleQueue[float] = queue.SimpleQueue()
    put, count = back.put, 0

    def hear(topic: str, value: int) -> None:
        nonlocal count
        count += 1
        if count == producers:
            count = 0
            put(clock())

    contestant.start(producers, [hear])
    get, send = back.get, contestant.send
    samples: list[float] = []
    end = clock() + seconds
    while len(samples) < WARM_UP // 10 or clock() < end:
        time.sleep(PAUSE_S)
        begin = clock()
        send(1)
        samples.append(get() - begin)
    contestant.close()
    return median_us(samples)


def blocked(build: Build, seconds: float) -> Figures:
    """p50 of the us the caller spends in a send; 4 producers, 2 listeners.

    The next request is sent when both listeners have seen the four results of the one before, so
    queues are empty and threads parked: it is the send and the waking that is measured, no backlog.
    """
    done: queue.SimpleQueue[None] = queue.SimpleQueue()
    contestant = build()
    contestant.start(PRODUCERS, [every(PRODUCERS, done.put), every(PRODUCERS, done.put)])
    get, send = done.get, contestant.send
    samples: list[float] = []
    end = clock() + seconds
    while len(samples) < WARM_UP or clock() < end:
        begin = clock()
        send(1)
        samples.append(clock() - begin)
        get()
        get()
    contestant.close()
    return {"blocked": median_us(samples)}


def burst(build: Build, seconds: float) -> Figures:
    """50,000 sends in a row (--quick: fewer): sends/s, and results/s until the last is in."""
    sends = int(50_000 * min(1.0, seconds))
    over: queue.SimpleQueue[float] = queue.SimpleQueue()
    contestant = build()
    last = every(PRODUCERS * sends, lambda _: over.put(clock()))
    contestant.start(PRODUCERS, [last, ignore])
    send = contestant.send
    begin = clock()
    for i in range(sends):
        send(i)
    sent = clock()
    drained = over.get()
    contestant.close()
    return {
        "burst enqueue": sends / (sent - begin),
        "burst drain": PRODUCERS * sends / (drained - begin),
    }


def median_us(samples: list[float]) -> float:
    """The median in microseconds, without the first requests if there are enough others."""
    return statistics.median(samples[WARM_UP:] or samples) * 1e6
