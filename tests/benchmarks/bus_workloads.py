"""The workloads of the bus: what a value costs, how long its publisher is held, who waits for whom.

Each takes a way to build a contestant and the seconds it may take, and returns figures by name. A
contestant may call one listener on several threads at a time, so what listens counts with a single
C call, as cheap for all. The publisher waits on a bare `SimpleQueue`.
"""

from __future__ import annotations

import itertools
import queue
import statistics
import time
from typing import Callable

from buses import Bus
from contestants import Hear
from workloads import PAUSE_S, WARM_UP, WINDOW, Figures, clock, median_us

Build = Callable[[], Bus]

FEW_AND_MANY = (1, 4, 16, 64)
SLOW_S = 0.020
BETWEEN_S = 0.010


def every(n: int, put: Callable[[None], None]) -> Hear:
    """What listens, and lets the publisher go on at every n-th value."""
    tick = itertools.count(1).__next__

    def hear(topic: str, value: int) -> None:
        if not tick() % n:
            put(None)

    return hear


def listeners(n: int) -> str:
    """So many, in words."""
    return "1 listener" if n == 1 else f"{n} listeners"


def cpu(build: Build, seconds: float) -> Figures:
    """us of CPU per value, and values/s, to 1 and to 4: in bursts of 64, and one at a time."""
    figures: Figures = {}
    for n in (1, 4):
        for burst, called in ((WINDOW, "bursts"), (1, "one at a time")):
            spent, rate = cost(build(), n, burst, seconds / 4)
            figures[f"bus CPU, {listeners(n)}, {called}"] = spent * 1e6
            figures[f"bus rate, {listeners(n)}, {called}"] = rate
    return figures


def cost(bus: Bus, n: int, burst: int, seconds: float) -> tuple[float, float]:
    """Seconds of CPU per value, and values/s; after each burst all listeners are waited for."""
    heard: queue.SimpleQueue[None] = queue.SimpleQueue()
    bus.start([every(burst, heard.put) for _ in range(n)])
    get, publish = heard.get, bus.publish

    def keep_going(seconds: float) -> tuple[float, float]:
        values, used, begin = 0, time.process_time(), clock()
        now = begin
        while now < begin + seconds:
            for i in range(burst):
                publish(i)
            for _ in range(n):
                get()
            values += burst
            now = clock()
        return (time.process_time() - used) / values, values / (now - begin)

    keep_going(seconds / 4)
    found = keep_going(seconds)
    bus.close()
    return found


def blocked(build: Build, seconds: float) -> Figures:
    """p50 of the us in a publish to 1, 4, 16 and 64, who are all parked."""
    return {f"bus blocked, {listeners(n)}": held(build(), n, seconds / 4) for n in FEW_AND_MANY}


def held(bus: Bus, n: int, seconds: float) -> float:
    """The next is published a little after all have heard the one before."""
    heard: queue.SimpleQueue[None] = queue.SimpleQueue()
    bus.start([every(1, heard.put) for _ in range(n)])
    get, publish = heard.get, bus.publish
    samples: list[float] = []
    end = clock() + seconds
    while len(samples) < WARM_UP or clock() < end:
        time.sleep(PAUSE_S)
        begin = clock()
        publish(1)
        samples.append(clock() - begin)
        for _ in range(n):
            get()
    bus.close()
    return median_us(samples)


def slow(build: Build, seconds: float) -> Figures:
    """ms from just before a publish to the callbacks of three others, beside one that takes 20 ms.

    It was registered first, and gets a value every 10 ms: it is always busy, and gets behind.
    """
    heard: queue.SimpleQueue[float] = queue.SimpleQueue()

    def dawdle(topic: str, value: int) -> None:
        time.sleep(SLOW_S)

    def hear(which: int) -> Hear:
        """Three functions: some contestants call one only once, however often it is added."""
        return lambda topic, value: heard.put(clock() - value)

    bus = build()
    bus.start([dawdle, *map(hear, range(3))])
    took: list[float] = []
    end = clock() + seconds
    while len(took) < WARM_UP // 4 or clock() < end:
        bus.publish(clock())  # type: ignore[arg-type]
        took += [heard.get() for _ in range(3)]
        time.sleep(BETWEEN_S)
    bus.close()
    return {
        "bus beside a slow one, median": statistics.median(took) * 1e3,
        "bus beside a slow one, longest": max(took) * 1e3,
    }
