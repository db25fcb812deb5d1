"""The contestants: six ways from a caller over producers to listeners, behind one tiny interface.

A producer answers with what it was asked, so that nothing but the hand-over is measured. All
threads, the dispatcher's own too, inherit the CPU of the caller; `pin`, called first thing on each
producer's thread, may move that one.
"""

from __future__ import annotations

import importlib
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Callable, Dict, Sequence, Type

TOPIC = "bench"
TTL_MS = 60_000
JOIN_S = 30

Hear = Callable[[str, int], None]
Pin = Callable[[], None]


def produce(topic: str, i: int) -> int:
    """What every producer does."""
    return i


class Crew:
    """The threads of one contestant."""

    def __init__(self, pin: Pin) -> None:
        self.pin = pin
        self.threads: list[threading.Thread] = []

    def close(self) -> None:
        """Ends all threads; one that does not end is an error."""
        for thread in self.threads:
            thread.join(JOIN_S)
            if thread.is_alive():
                raise RuntimeError(f"{thread.name} did not end")

    def spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args)
        self.threads.append(thread)
        thread.start()


class Contestant(Crew):
    """`send(i)` asks all producers; each of `hears` gets every result, on a thread of its own."""

    def start(self, producers: int, hears: Sequence[Hear]) -> None:
        raise NotImplementedError

    def send(self, i: int) -> None:
        raise NotImplementedError


class Dispatching(Contestant):
    """The `ate_dispatcher` that is importable, through what 0.1.0 has too: this one and 0.1.0."""

    def start(self, producers: int, hears: Sequence[Hear]) -> None:
        library = importlib.import_module("ate_dispatcher")
        pin = self.pin

        def run(thread: Any) -> None:
            pin()
            library.Producer.run(thread)

        methods = {"run": run, "produce_dispatcher_output": staticmethod(produce)}
        asked = type("Asked", (library.Producer,), methods)
        self.dispatcher = library.ATEDispatcher()
        self.request = self.dispatcher.send_request
        self.threads.append(self.dispatcher)
        for _ in range(producers):
            self.threads.append(asked())
            self.dispatcher.register_result_producer(self.threads[-1], TOPIC)
        for hear in hears:
            method = {"process_dispatcher_result": staticmethod(hear)}
            self.threads.append(type("Listening", (library.ResultListener,), method)())
            self.dispatcher.register_result_listener(self.threads[-1], TOPIC)
        for thread in self.threads:
            thread.start()

    def send(self, i: int) -> None:
        self.request(TOPIC, i, ttl=TTL_MS)

    def close(self) -> None:
        self.dispatcher.stop()
        super().close()


class SimpleQueueRelay(Contestant):
    """The floor: the same threads and the two hops that are physically needed; no ttl, no ids."""

    mailbox: Callable[[], Any] = queue.SimpleQueue

    def start(self, producers: int, hears: Sequence[Hear]) -> None:
        asked = [self.mailbox() for _ in range(producers)]
        heard = [self.mailbox() for _ in hears]
        self.puts = [box.put for box in asked]
        self.ends = self.puts + [box.put for box in heard]
        for box in asked:
            self.spawn(self.serve, box.get, [box.put for box in heard])
        for box, hear in zip(heard, hears):
            self.spawn(self.listen, box.get, hear)

    def serve(self, get: Callable[[], Any], puts: list[Callable[[Any], None]]) -> None:
        self.pin()
        for topic, args in iter(get, None):
            answer = (topic, produce(topic, *args))
            for put in puts:
                put(answer)

    @staticmethod
    def listen(get: Callable[[], Any], hear: Hear) -> None:
        for topic, value in iter(get, None):
            hear(topic, value)

    def send(self, i: int) -> None:
        message = (TOPIC, (i,))
        for put in self.puts:
            put(message)

    def close(self) -> None:
        for put in self.ends:
            put(None)
        super().close()


class Asked:
    """A request of the honest floor: what nobody who keeps a deadline can do without."""

    __slots__ = ("args", "chain", "deadline", "done", "pending", "topic")

    def __init__(self, topic: Any, args: tuple[Any, ...], deadline: float, pending: int) -> None:
        self.topic = topic
        self.args = args
        self.deadline = deadline
        self.pending = pending
        self.chain: Any = None
        self.done = False


class HonestRelay(SimpleQueueRelay):
    """The floor, and the least that promises anything: one lock, a deadline, a record, a count."""

    def start(self, producers: int, hears: Sequence[Hear]) -> None:
        self.lock = threading.Lock()
        super().start(producers, hears)

    def serve(self, get: Callable[[], Any], puts: list[Callable[[Any], None]]) -> None:
        self.pin()
        enter, leave, now = self.lock.acquire, self.lock.release, time.perf_counter
        began = now()
        for asked in iter(get, None):
            value = produce(asked.topic, *asked.args)
            enter()
            stamp = now()
            if stamp <= asked.deadline:
                asked.chain = (value, None, self, began, stamp, asked.chain)
                asked.pending -= 1
                if not asked.pending:
                    asked.done = True
                answer = (asked.topic, value)
                for put in puts:
                    put(answer)
            leave()
            began = stamp

    def send(self, i: int) -> None:
        asked = Asked(TOPIC, (i,), time.perf_counter() + 60.0, len(self.puts))
        for put in self.puts:
            put(asked)


class QueueRelay(SimpleQueueRelay):
    """The same relay over `queue.Queue`."""

    mailbox = queue.Queue


class Gathering(Contestant):
    """Futures: the first listener gathers request after request and hands each value to the others.

    (Futures of older Pykkas can be waited for by one thread only.) A request that is slow holds up
    those behind it, which costs nothing here and is what such programs do.
    """

    def start(self, producers: int, hears: Sequence[Hear]) -> None:
        self.box: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.others: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in hears[1:]]
        self.hire(producers)
        self.spawn(self.gather, hears[0])
        for box, hear in zip(self.others, hears[1:]):
            self.spawn(SimpleQueueRelay.listen, box.get, hear)

    def gather(self, hear: Hear) -> None:
        for futures in iter(self.box.get, None):
            for value in self.values(futures):
                hear(TOPIC, value)
                for box in self.others:
                    box.put((TOPIC, value))
        for box in self.others:
            box.put(None)

    def send(self, i: int) -> None:
        self.box.put(self.ask(i))

    def close(self) -> None:
        self.box.put(None)
        super().close()
        self.dismiss()

    def hire(self, producers: int) -> None:
        raise NotImplementedError

    def ask(self, i: int) -> list[Any]:
        raise NotImplementedError

    def values(self, futures: list[Any]) -> Any:
        raise NotImplementedError

    def dismiss(self) -> None:
        raise NotImplementedError


class Futures(Gathering):
    """`concurrent.futures`: one single-thread executor per producer, `as_completed(timeout)`."""

    def hire(self, producers: int) -> None:
        self.executors = [ThreadPoolExecutor(1, initializer=self.pin) for _ in range(producers)]

    def ask(self, i: int) -> list[Any]:
        return [executor.submit(produce, TOPIC, i) for executor in self.executors]

    def values(self, futures: list[Any]) -> Any:
        return (future.result() for future in as_completed(futures, TTL_MS / 1000))

    def dismiss(self) -> None:
        for executor in self.executors:
            executor.shutdown()


class Pykka(Gathering):
    """Pykka: one actor per producer, `ask` and `get`."""

    def hire(self, producers: int) -> None:
        pin = self.pin

        def on_start(actor: Any) -> None:
            pin()

        def on_receive(actor: Any, message: Any) -> int:
            return produce(*message)

        methods = {"on_start": on_start, "on_receive": on_receive}
        actor = type("Asked", (importlib.import_module("pykka").ThreadingActor,), methods)
        self.actors = [actor.start() for _ in range(producers)]  # type: ignore[attr-defined]

    def ask(self, i: int) -> list[Any]:
        return [actor.ask((TOPIC, i), block=False) for actor in self.actors]

    def values(self, futures: list[Any]) -> Any:
        return (future.get(timeout=TTL_MS / 1000) for future in futures)

    def dismiss(self) -> None:
        for actor in self.actors:
            actor.stop(timeout=JOIN_S)


CONTESTANTS: Dict[str, Type[Contestant]] = {
    "ours": Dispatching,
    "0.1.0": Dispatching,
    "simplequeue": SimpleQueueRelay,
    "honest": HonestRelay,
    "queue": QueueRelay,
    "futures": Futures,
    "pykka": Pykka,
}
