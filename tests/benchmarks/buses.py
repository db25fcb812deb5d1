"""Contestants of the bus: eight ways from one publisher to listeners, behind one tiny interface.

Each calls the very functions that listen, as directly as it can. `pin`, called first thing on each
thread that calls them, may move that one to another CPU. pyee, blinker, PyPubSub and psygnal call
on the thread of the publisher, so there is nothing to pin. (psygnal's queued connections are left
out: whoever is called must poll for them.)
"""

from __future__ import annotations

import importlib
import itertools
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Sequence, Type

from contestants import TOPIC, Crew, Hear


class Bus(Crew):
    """`publish(i)` lets each of `hears` hear it."""

    def start(self, hears: Sequence[Hear]) -> None:
        raise NotImplementedError

    def publish(self, i: int) -> None:
        raise NotImplementedError


class Dispatching(Bus):
    """`ate_dispatcher`: every publish gives a Delivery, which nobody looks at."""

    def start(self, hears: Sequence[Hear]) -> None:
        library = importlib.import_module("ate_dispatcher")
        pin = self.pin
        self.dispatcher = library.Dispatcher()
        self.deliver = self.dispatcher.publish
        self.dispatcher.start()
        self.threads.append(self.dispatcher)
        for hear in hears:
            methods = {
                "on_start": lambda listener: pin(),
                "process_dispatcher_result": staticmethod(hear),
            }
            self.threads.append(type("Listening", (library.ResultListener,), methods)())
            self.dispatcher.register_result_listener(self.threads[-1], TOPIC, start=True)

    def publish(self, i: int) -> None:
        self.deliver(TOPIC, i)

    def close(self) -> None:
        self.dispatcher.stop()
        super().close()


class SimpleQueues(Bus):
    """The floor: a `SimpleQueue` and a thread for each listener; no verdicts, no order, no ids."""

    def start(self, hears: Sequence[Hear]) -> None:
        boxes: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in hears]
        self.puts = [box.put for box in boxes]
        for box, hear in zip(boxes, hears):
            self.spawn(self.listen, box.get, hear)

    def listen(self, get: Callable[[], Any], hear: Hear) -> None:
        self.pin()
        for topic, value in iter(get, None):
            hear(topic, value)

    def publish(self, i: int) -> None:
        message = (TOPIC, i)
        for put in self.puts:
            put(message)

    def close(self) -> None:
        for put in self.puts:
            put(None)
        super().close()


class Value:
    """A delivery of the honest floor: what nobody who gives a verdict to each can do without."""

    __slots__ = ("deadline", "done", "number", "pending", "topic", "value", "verdicts")

    def __init__(self, number: int, topic: Any, value: Any, deadline: float, pending: int) -> None:
        self.number = number
        self.topic = topic
        self.value = value
        self.deadline = deadline
        self.pending = pending
        self.verdicts: Dict[int, bool] = {}
        self.done = False


class Honest(SimpleQueues):
    """The floor, and the least that promises anything: an id, a deadline, a verdict each, an end.

    No order: that would cost more.
    """

    def start(self, hears: Sequence[Hear]) -> None:
        self.next = itertools.count(1).__next__
        super().start(hears)

    def listen(self, get: Callable[[], Any], hear: Hear) -> None:
        self.pin()
        me, now = threading.get_ident(), time.perf_counter
        for value in iter(get, None):
            if now() <= value.deadline:
                hear(value.topic, value.value)
                value.verdicts[me] = True
            else:
                value.verdicts[me] = False
            if len(value.verdicts) == value.pending:
                value.done = True
                value.value = None

    def publish(self, i: int) -> None:
        value = Value(self.next(), TOPIC, i, time.perf_counter() + 60.0, len(self.puts))
        for put in self.puts:
            put(value)


class Geeteventbus(Bus):
    """geeteventbus as it comes: eight executors, any of which calls all subscribers in turn."""

    def start(self, hears: Sequence[Hear]) -> None:
        library = importlib.import_module("geeteventbus.eventbus")
        pin = self.pin

        def run(bus: Any) -> None:
            pin()
            library.eventbus.__call__(bus)

        self.bus = type("Bus", (library.eventbus,), {"__call__": run})()
        self.event = library.event
        for hear in hears:

            def process(self: Any, event: Any, hear: Hear = hear) -> None:
                hear(event.get_topic(), event.get_data())

            subscriber = type("Subscriber", (library.subscriber,), {"process": process})
            self.bus.register_consumer(subscriber(), TOPIC)

    def publish(self, i: int) -> None:
        self.bus.post(self.event(TOPIC, i))

    def close(self) -> None:
        self.bus.shutdown()


class Pyee(Bus):
    """pyee's `EventEmitter`: on the thread of the publisher."""

    def start(self, hears: Sequence[Hear]) -> None:
        self.join(importlib.import_module("pyee").EventEmitter(), hears)

    def join(self, emitter: Any, hears: Sequence[Hear]) -> None:
        self.emit = emitter.emit
        for hear in hears:
            emitter.add_listener(TOPIC, hear)

    def publish(self, i: int) -> None:
        self.emit(TOPIC, TOPIC, i)


class PyeeExecutor(Pyee):
    """pyee's `ExecutorEventEmitter`, with as many threads as it has by default."""

    def start(self, hears: Sequence[Hear]) -> None:
        self.executor = ThreadPoolExecutor(initializer=self.pin)
        library = importlib.import_module("pyee.executor")
        self.join(library.ExecutorEventEmitter(self.executor), hears)

    def close(self) -> None:
        self.executor.shutdown()


class Blinker(Bus):
    """A signal of blinker: on the thread of the publisher."""

    def start(self, hears: Sequence[Hear]) -> None:
        signal = importlib.import_module("blinker").Signal()
        self.send = signal.send
        for hear in hears:
            signal.connect(hear, weak=False)

    def publish(self, i: int) -> None:
        self.send(TOPIC, value=i)


class PyPubSub(Bus):
    """A topic of PyPubSub: on the thread of the publisher."""

    def start(self, hears: Sequence[Hear]) -> None:
        pub = importlib.import_module("pubsub.pub")
        self.send = pub.sendMessage
        self.hears = hears  # it holds them weakly
        for hear in hears:
            pub.subscribe(hear, TOPIC)

    def publish(self, i: int) -> None:
        self.send(TOPIC, topic=TOPIC, value=i)


class Psygnal(Bus):
    """A signal of psygnal, compiled: on the thread of the publisher."""

    def start(self, hears: Sequence[Hear]) -> None:
        library = importlib.import_module("psygnal")
        owner = type("Owner", (), {"published": library.Signal(str, int)})()
        self.emit = owner.published.emit
        self.owner, self.hears = owner, hears
        for hear in hears:
            owner.published.connect(hear)

    def publish(self, i: int) -> None:
        self.emit(TOPIC, i)


BUSES: Dict[str, Type[Bus]] = {
    "ours": Dispatching,
    "simplequeue": SimpleQueues,
    "honest": Honest,
    "geeteventbus": Geeteventbus,
    "pyee-executor": PyeeExecutor,
    "pyee": Pyee,
    "blinker": Blinker,
    "pypubsub": PyPubSub,
    "psygnal": Psygnal,
}
THREADED = ("geeteventbus", "pyee-executor")
