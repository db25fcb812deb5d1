"""The callers: five ways to ask four processes and wait for the four answers.

Each asks as its users do, and waits for all answers: `lone` one question at a time, `busy` with 64
outstanding. What is asked, and answered, is the same small dict; each answer is counted.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Deque, Dict, List, Sequence, Tuple, Type

from link_responders import ALL, NAMESPACE
from workloads import PAUSE_S, PRODUCERS, WARM_UP, WINDOW, clock

VALUE = {"site": 7, "channel": "ch12", "volts": 3.3017, "in_range": True}
TTL_S = 30.0


class Caller:
    """`ask` asks once, all or the first alone, and raises if an answer is missing."""

    def __init__(self, url: str, places: Sequence[str]) -> None:
        self.url, self.places = url, places

    def ask(self, topic: str) -> None:
        raise NotImplementedError

    def lone(self, topic: str, seconds: float) -> List[float]:
        """Seconds of each; the caller pauses before, so that all are parked."""
        samples: List[float] = []
        end = clock() + seconds
        while len(samples) < WARM_UP or clock() < end:
            time.sleep(PAUSE_S)
            begin = clock()
            self.ask(topic)
            samples.append(clock() - begin)
        return samples

    def busy(self, seconds: float) -> float:
        """Results/s."""
        raise NotImplementedError

    def close(self) -> None:
        """It is the end of the process, too."""


def expect(answers: Sequence[Any], topic: str) -> None:
    """All have answered with what they were asked."""
    wanted = PRODUCERS if topic == ALL else 1
    if len(answers) != wanted or any(each != VALUE for each in answers):
        raise RuntimeError(f"{wanted} answers were expected: {answers}")


class Dispatching(Caller):
    """`ate_dispatcher`, connected: handles and their results."""

    def __init__(self, url: str, places: Sequence[str], namespace: str = NAMESPACE) -> None:
        super().__init__(url, places)
        self.dispatcher: Any = importlib.import_module("ate_dispatcher").Dispatcher()
        self.dispatcher.start()
        self.dispatcher.connect(url, namespace=namespace, name="caller", **self.options())

    def options(self) -> Dict[str, Any]:
        return {}

    def ask(self, topic: str) -> None:
        expect(self.dispatcher.send_request(topic, VALUE, ttl=TTL_S * 1000).results(), topic)

    def busy(self, seconds: float) -> float:
        send = self.dispatcher.send_request
        return window(lambda: send(ALL, VALUE, ttl=TTL_S * 1000), seconds)

    def close(self) -> None:
        self.dispatcher.stop()
        self.dispatcher.join()


class WithoutUvloop(Dispatching):
    """The same; the threads of all its links run the event loop of asyncio."""

    def __init__(self, url: str, places: Sequence[str]) -> None:
        super().__init__(url, places, f"{NAMESPACE}-asyncio")

    def options(self) -> Dict[str, Any]:
        return {"uvloop": False}


def window(send: Callable[[], Any], seconds: float) -> float:
    """Results/s of handles, of which 64 are outstanding and the oldest is waited for."""
    handles: Deque[Any] = deque([send() for _ in range(WINDOW)])

    def keep_going(seconds: float) -> float:
        asked, begin = 0, clock()
        now = begin
        while now < begin + seconds:
            expect(handles.popleft().results(), ALL)
            handles.append(send())
            asked += 1
            now = clock()
        return asked * PRODUCERS / (now - begin)

    keep_going(seconds / 4)
    rate = keep_going(seconds)
    for each in handles:
        each.results()
    return rate


class Looping(Caller):
    """A caller with an event loop of its own, in which everything runs."""

    def __init__(self, url: str, places: Sequence[str]) -> None:
        super().__init__(url, places)
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.connect())

    async def connect(self) -> None:
        self.client: Any = await importlib.import_module("nats").connect(self.url)

    async def ask_soon(self, topic: str) -> None:
        raise NotImplementedError

    def ask(self, topic: str) -> None:
        self.loop.run_until_complete(self.ask_soon(topic))

    def lone(self, topic: str, seconds: float) -> List[float]:
        return self.loop.run_until_complete(self.one_by_one(topic, seconds))

    async def one_by_one(self, topic: str, seconds: float) -> List[float]:
        samples: List[float] = []
        end = clock() + seconds
        while len(samples) < WARM_UP or clock() < end:
            await asyncio.sleep(PAUSE_S)
            begin = clock()
            await self.ask_soon(topic)
            samples.append(clock() - begin)
        return samples

    def busy(self, seconds: float) -> float:
        return self.loop.run_until_complete(self.side_by_side(seconds))

    async def side_by_side(self, seconds: float) -> float:
        counter = Counter()

        async def again_and_again() -> None:
            while counter.goes_on:
                await self.ask_soon(ALL)
                counter.asked += 1

        tasks = [asyncio.ensure_future(again_and_again()) for _ in range(WINDOW)]
        await asyncio.sleep(seconds / 4)
        counter.begin()
        await asyncio.sleep(seconds)
        rate = counter.rate()
        await asyncio.gather(*tasks)
        return rate


class Counter:
    """How many were asked, since when."""

    def __init__(self) -> None:
        self.goes_on, self.asked = True, 0
        self.begin()

    def begin(self) -> None:
        self.first, self.since = self.asked, clock()

    def rate(self) -> float:
        """Results/s; whoever asks ends."""
        self.goes_on = False
        return (self.asked - self.first) * PRODUCERS / (clock() - self.since)


class RequestMany(Looping):
    """`natsext.request_many`, which ends after as many answers as there are responders."""

    async def connect(self) -> None:
        await super().connect()
        self.many: Any = importlib.import_module("natsext").request_many

    async def ask_soon(self, topic: str) -> None:
        answers = self.many(
            self.client,
            f"{NAMESPACE}-bare.{topic}",
            json.dumps(VALUE).encode(),
            max_messages=PRODUCERS if topic == ALL else 1,
            timeout=TTL_S,
        )
        expect([json.loads(msg.data) async for msg in answers], topic)


class Inbox(Looping):
    """The floor: one wildcard subscription of nats-py for all answers; no deadline, no names."""

    async def connect(self) -> None:
        await super().connect()
        self.inbox = self.client.new_inbox()
        self.next = itertools.count(1).__next__
        self.waiting: Dict[str, Any] = {}
        await self.client.subscribe(f"{self.inbox}.*", cb=self.heard)

    async def heard(self, msg: Any) -> None:
        number = msg.subject.rpartition(".")[2]
        answers, wanted, done = self.waiting[number]
        answers.append(json.loads(msg.data))
        if len(answers) == wanted:
            del self.waiting[number]
            done.set_result(None)

    async def ask_soon(self, topic: str) -> None:
        number, done = str(self.next()), self.loop.create_future()
        answers: List[Any] = []
        self.waiting[number] = answers, PRODUCERS if topic == ALL else 1, done
        data = json.dumps(VALUE).encode()
        await self.client.publish(f"{NAMESPACE}-bare.{topic}", data, f"{self.inbox}.{number}")
        await done
        expect(answers, topic)


class Zerorpc(Caller):
    """A client of zerorpc for each server; greenlets, and calls that do not wait."""

    def __init__(self, url: str, places: Sequence[str]) -> None:
        super().__init__(url, places)
        library: Any = importlib.import_module("zerorpc")
        self.gevent: Any = importlib.import_module("gevent")
        self.clients = [library.Client(place, timeout=TTL_S) for place in places]

    def ask(self, topic: str) -> None:
        asked = self.clients if topic == ALL else self.clients[:1]
        answers = [each("echo", VALUE, **{"async": True}) for each in asked]
        expect([each.get() for each in answers], topic)

    def busy(self, seconds: float) -> float:
        counter = Counter()

        def again_and_again() -> None:
            while counter.goes_on:
                self.ask(ALL)
                counter.asked += 1

        greenlets = [self.gevent.spawn(again_and_again) for _ in range(WINDOW)]
        self.gevent.sleep(seconds / 4)
        counter.begin()
        self.gevent.sleep(seconds)
        rate = counter.rate()
        self.gevent.joinall(greenlets, raise_error=True)
        return rate


class Pyro5(Caller):
    """Proxies of Pyro5, which belong to one thread each: a pool of threads, and four in each."""

    def __init__(self, url: str, places: Sequence[str]) -> None:
        super().__init__(url, places)
        self.library: Any = importlib.import_module("Pyro5.api")
        self.mine = threading.local()
        self.pool = ThreadPoolExecutor(WINDOW)

    def call(self, which: int) -> Any:
        if not hasattr(self.mine, "proxies"):
            self.mine.proxies = [self.library.Proxy(place) for place in self.places]
        return self.mine.proxies[which].echo(VALUE)

    def send(self, topic: str) -> List[Any]:
        return [self.pool.submit(self.call, n) for n in range(PRODUCERS if topic == ALL else 1)]

    def ask(self, topic: str) -> None:
        expect([each.result() for each in self.send(topic)], topic)

    def busy(self, seconds: float) -> float:
        return window(lambda: Futures(self.send(ALL)), seconds)


class Futures:
    """Those of one question, as a handle."""

    def __init__(self, futures: List[Any]) -> None:
        self.futures = futures

    def results(self) -> List[Any]:
        return [each.result() for each in self.futures]


CALLERS: Dict[str, Type[Caller]] = {
    "ours": Dispatching,
    "ours, asyncio": WithoutUvloop,
    "natsext": RequestMany,
    "bare": Inbox,
    "zerorpc": Zerorpc,
    "pyro5": Pyro5,
}
RESPONDERS_OF: Dict[str, Tuple[str, ...]] = {
    "ours": ("ours", NAMESPACE),
    "ours, asyncio": ("ours", f"{NAMESPACE}-asyncio", "asyncio"),
    "natsext": ("bare",),
    "bare": ("bare",),
    "zerorpc": ("zerorpc",),
    "pyro5": ("pyro5",),
}
"""Whom each asks, as arguments of the process."""
