"""What is looked at in ours and in 0.1.0 only: memory, idleness, and whether the cutoff is right.

These drive the importable `ate_dispatcher` through what 0.1.0 has too. They leave their threads
where they are, some of them hung on purpose: the process ends right after.
"""

from __future__ import annotations

import gc
import importlib
import os
import queue
import sys
import threading
import time
import weakref
from typing import Any, Callable

from contestants import TOPIC
from workloads import WINDOW, Build, Figures, clock, ignore

HOUR_MS = 3_600_000
SETTLE_S = 0.3


def resident() -> float:
    """Bytes of this process in memory: now on Linux, at most elsewhere, unknown on Windows."""
    if sys.platform.startswith("linux"):
        with open("/proc/self/statm", encoding="ascii") as file:
            return float(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return used("ru_maxrss") * (1 if sys.platform == "darwin" else 1024)


def used(field: str) -> float:
    """What this process used up so far, where the system tells."""
    try:
        return float(getattr(importlib.import_module("resource").getrusage(0), field))
    except ImportError:
        return float("nan")


class Rig:
    """A dispatcher with an echo on one topic; on another one, if wanted, a producer that hangs."""

    def __init__(self) -> None:
        self.library: Any = importlib.import_module("ate_dispatcher")
        self.dispatcher = self.library.ATEDispatcher()
        self.send: Callable[..., Any] = self.dispatcher.send_request
        self.back: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.dispatcher.start()
        self.produce("echo", lambda topic, value=None: value)
        self.listen("echo", lambda topic, value: self.back.put(value))
        self.echo()

    def produce(self, topic: str, method: Callable[..., Any]) -> None:
        methods = {"produce_dispatcher_output": staticmethod(method)}
        producer = type("Asked", (self.library.Producer,), methods)()
        producer.start()
        self.dispatcher.register_result_producer(producer, topic)

    def listen(self, topic: str, method: Callable[..., None]) -> None:
        methods = {"process_dispatcher_result": staticmethod(method)}
        listener = type("Listening", (self.library.ResultListener,), methods)()
        listener.start()
        self.dispatcher.register_result_listener(listener, topic)

    def echo(self) -> None:
        """Returns when all that was sent before is with the producers."""
        self.send("echo", ttl=HOUR_MS)
        self.back.get()

    def hang(self) -> None:
        """A producer on TOPIC that begins a first request and never ends it."""
        begun = threading.Event()

        def never(topic: str, *args: Any) -> None:
            begun.set()
            threading.Event().wait()

        self.produce(TOPIC, never)
        self.send(TOPIC, ttl=HOUR_MS)
        begun.wait()

    def pile(self, requests: int, ttl: int, args: tuple[Any, ...] = ()) -> None:
        """Requests behind the one that hangs."""
        for i in range(requests):
            self.send(TOPIC, *args, ttl=ttl)
            if i % 1000 == 999:
                self.echo()
        self.echo()
        time.sleep(SETTLE_S)


def memory_open(build: Build, seconds: float) -> Figures:
    """Resident bytes per open request nobody answers, 100,000 of them (10,000 with --quick)."""
    return pile_up(100_000 if seconds >= 1 else 10_000)


def memory_million(build: Build, seconds: float) -> Figures:
    """The same with ten times as many."""
    return pile_up(1_000_000 if seconds >= 1 else 100_000)


def pile_up(requests: int) -> Figures:
    """What the process grows by, per request; all carry the same, that is no, arguments."""
    rig = Rig()
    rig.hang()
    rig.pile(1000, HOUR_MS)
    gc.collect()
    before = resident()
    rig.pile(requests, HOUR_MS)
    gc.collect()
    return {f"bytes per open request, {requests:,} open": (resident() - before) / requests}


class Payload:
    """An argument that can be seen to go."""


def memory_freed(build: Build, seconds: float) -> Figures:
    """What is left of expired requests in the mailbox of a hung producer.

    Arguments are watched by weak references; the rest is counted in memory blocks of the
    interpreter, which unlike resident bytes do not depend on how memory is cut up.
    """
    rig = Rig()
    rig.hang()
    payloads = [Payload() for _ in range(1000)]
    alive = weakref.WeakSet(payloads)
    for payload in payloads:
        rig.send(TOPIC, payload, ttl=200)
    del payloads, payload
    time.sleep(0.2 + SETTLE_S)
    gc.collect()
    figures: Figures = {"payloads of 1,000 alive 0.3 s after their ttl": len(alive)}
    rig.pile(1, 1)
    requests = 20_000

    def blocks() -> float:
        gc.collect()
        return sys.getallocatedblocks() / requests

    base = blocks()
    rig.pile(requests, 3000)
    figures["blocks per request while open"] = blocks() - base
    time.sleep(3)
    figures["blocks per request, expired, producer hung"] = blocks() - base
    rig.pile(1, 1)
    figures["blocks per request, after the next request"] = blocks() - base
    return figures


def memory_flat(build: Build, seconds: float) -> Figures:
    """KiB the process grows by over 1,000,000 requests that end early (50,000 with --quick).

    Half of them with nothing else open, half while an older request stays open.
    """
    rig = Rig()
    requests = 500_000 if seconds >= 1 else 25_000

    def answered(requests: int) -> None:
        for _ in range(WINDOW):
            rig.send("echo", ttl=HOUR_MS)
        for _ in range(requests - WINDOW):
            rig.back.get()
            rig.send("echo", ttl=HOUR_MS)
        for _ in range(WINDOW):
            rig.back.get()

    def growth() -> float:
        answered(requests // 10)
        gc.collect()
        before = resident()
        answered(requests)
        gc.collect()
        return (resident() - before) / 1024

    figures = {f"KiB grown over {requests:,} answered": growth()}
    rig.hang()
    figures[f"KiB grown over {requests:,} answered, an older one open"] = growth()
    return figures


def idle(build: Build, seconds: float) -> Figures:
    """CPU ms and wake-ups per second of 64 producers and 8 listeners with nothing to do."""
    contestant = build()
    contestant.start(64, [ignore] * 8)
    contestant.send(1)
    time.sleep(SETTLE_S)
    switches, cpu, begin = used("ru_nvcsw"), time.process_time(), clock()
    time.sleep(3 * seconds)
    took = clock() - begin
    cpu, switches = time.process_time() - cpu, used("ru_nvcsw") - switches
    return {
        "idle: CPU ms/s": cpu * 1000 / took,
        "idle: context switches/s": (switches - 1) / took,  # the sleep above is one
    }
