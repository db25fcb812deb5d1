"""A dispatcher on virtual time with its cast: scripted producers, recording listeners, exact sums.

Nothing here sleeps. The test's thread waits through handles or the clock; time passes only then.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import weakref
from typing import Any, Callable, Iterator, List, Optional

import pytest

from ate_dispatcher import Dispatcher, Handle, Producer, ResultListener
from ate_dispatcher.testing import ScriptedProducer, VirtualClock, computes

FOREVER = 1e9
"""Milliseconds that nobody waits for in these tests, but the tidying up at their end."""


class Payload:
    """Something a weak reference can point at, and that nobody may look into."""

    def __repr__(self) -> str:
        raise AssertionError("a payload was formatted")

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("a payload was compared")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise AssertionError("a payload was asked for its truth")

    def __copy__(self) -> Any:
        raise AssertionError("a payload was copied")

    __deepcopy__ = __reduce_ex__ = __copy__  # type: ignore[assignment]


class Ours(BaseException):
    """Nothing that `except Exception` would catch."""


class Scripted(ScriptedProducer):
    """Takes *ms* of virtual time, then returns *answer*, or raises it, or what it returns.

    *ms* may be a list, one for each request; the last one stays. The answer may be changed.
    """

    def __init__(self, clock: VirtualClock, ms: Any, answer: Any, name: Optional[str]) -> None:
        times = ms if isinstance(ms, (list, tuple)) else [ms]
        super().__init__(*[computes(self._answered, after_ms=each) for each in times], name=name)
        self.clock = clock
        self.answer = answer

    def _answered(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        if callable(self.answer):
            return self.answer(topic, *args, **kwargs)
        return self.answer


class Hearing(ResultListener):
    """Remembers results with the instant; takes *ms* for each; raises *error* if there is one."""

    def __init__(
        self, clock: VirtualClock, ms: float, error: Optional[BaseException], name: Optional[str]
    ) -> None:
        super().__init__(name=name)
        self.clock = clock
        self.ms = ms
        self.error = error
        self.heard: List[Any] = []
        self.at: List[float] = []

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.heard.append(response)
        self.at.append(self.clock.now())
        if self.ms:
            self.clock.sleep(self.ms / 1000)
        if self.error is not None:
            raise self.error


class Attentive(Hearing):
    """Also remembers errors and completions, all in one list."""

    def process_dispatcher_error(self, topic: Any, reply: Any) -> None:
        self.heard.append(reply)

    def process_dispatcher_completion(self, topic: Any, report: Any) -> None:
        self.heard.append(report)


class World:
    """One clock, one started dispatcher, and whoever was made for it (weakly)."""

    def __init__(self, *, start: bool = True, at: float = 0.0, **options: Any) -> None:
        self.clock = VirtualClock(at)
        self.dispatcher = Dispatcher(clock=self.clock, **options)
        self.others: List[Dispatcher] = []
        self._cast: List[Any] = []
        if start:
            self.dispatcher.start()

    def producer(
        self,
        ms: Any = 0,
        answer: Any = "value",
        topic: Any = "t",
        *,
        name: Optional[str] = None,
        start: bool = True,
    ) -> Scripted:
        producer = Scripted(self.clock, ms, answer, name)
        self.dispatcher.register_result_producer(producer, topic, start=start)
        return self.cast(producer)

    def listener(
        self,
        kind: Callable[..., Any] = Hearing,
        topic: Any = "t",
        *,
        ms: float = 0,
        error: Optional[BaseException] = None,
        name: Optional[str] = None,
    ) -> Any:
        listener = kind(self.clock, ms, error, name)
        self.dispatcher.register_result_listener(listener, topic, start=True)
        return self.cast(listener)

    def cast(self, participant: Any) -> Any:
        self._cast.append(weakref.ref(participant))
        return participant

    def send(self, *args: Any, ttl: Any = 1000, topic: Any = "t", **kwargs: Any) -> Handle:
        return self.dispatcher.send_request(topic, *args, ttl=ttl, **kwargs)

    def second(self) -> Dispatcher:
        """Another dispatcher on the same clock."""
        self.others.append(Dispatcher(clock=self.clock))
        self.others[-1].start()
        return self.others[-1]

    def close(self) -> None:
        """Sums, then the end of everybody, then sums again."""
        self.clock.settle()
        for dispatcher in (self.dispatcher, *self.others):
            sums_add_up(dispatcher)
            dispatcher.stop(immediate=True)
            if dispatcher.ident is not None:
                dispatcher.join(FOREVER)
                assert not dispatcher.is_alive()
        for reference in self._cast:
            participant = reference()
            if participant is not None and participant.ident is not None:
                participant.stop()
                participant.join()
                assert not participant.is_alive()
        for dispatcher in (self.dispatcher, *self.others):
            sums_add_up(dispatcher, quiet=True)


class Stream(Producer):
    """Yields *values*, 100 ms apart; then ends, or raises."""

    def __init__(self, world: World, *values: Any, error: Any = None, **options: Any) -> None:
        super().__init__(**{"stream": True, **options})
        self.world = world
        self.values = values
        self.error = error
        self.closed: List[float] = []
        self.asked = 0

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        try:
            for value in self.values:
                self.world.clock.sleep(0.1)
                yield value
        except GeneratorExit:
            self.closed.append(self.world.clock.now())
            raise
        if self.error is not None:
            raise self.error


def stream(world: World, *values: Any, **options: Any) -> Any:
    """A registered and started one."""
    made = world.cast(Stream(world, *values, **options))
    world.dispatcher.register_result_producer(made, "t", start=True)
    return made


@pytest.fixture
def world() -> Iterator[World]:
    """A started dispatcher on virtual time; afterwards everybody is stopped and the sums hold."""
    made = World()
    yield made
    made.close()


@pytest.fixture
def bare_logger(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Leaves the package's logger with the given handlers, without pytest's, which keep records.

    To be called in the test: at its beginning pytest looks for loggers that do not propagate.
    """

    def bare(*handlers: logging.Handler) -> None:
        logger = logging.getLogger("ate_dispatcher")
        monkeypatch.setattr(logger, "propagate", False)
        monkeypatch.setattr(logger, "handlers", list(handlers))

    return bare


def looks_at_stacks(monkeypatch: pytest.MonkeyPatch) -> List[threading.Thread]:
    """From now on: who has looked at the stacks of all threads, each time."""
    looks: List[threading.Thread] = []
    usual = sys._current_frames

    def look() -> Any:
        looks.append(threading.current_thread())
        return usual()

    monkeypatch.setattr(sys, "_current_frames", look)
    return looks


def sums_add_up(dispatcher: Dispatcher, quiet: bool = False) -> None:
    """Every pair of request and producer has one verdict or is pending; no end is unaccounted."""
    statistics = dispatcher.statistics()
    assert statistics.fan_out == sum(statistics.verdicts.values()) + statistics.pending, statistics
    assert statistics.requests == sum(statistics.completions.values()) + statistics.open, statistics
    assert all(count >= 0 for count in statistics.verdicts.values()), statistics
    if quiet:
        assert statistics.open == statistics.pending == 0, statistics


def verdicts(handle: Handle) -> List[str]:
    """The verdicts of now, in roster order, with the standing: ``MISSING(RUNNING)``."""
    found = []
    for member in handle.report().members:
        word = member.verdict.name if member.verdict else "open"
        found.append(f"{word}({member.standing.name})" if member.standing else word)
    return found


def queued_behind(world: World, ms: float = 500) -> Any:
    """A producer that is busy for so long, with a request of its own without deadline."""
    producer = world.producer([ms, 0])
    busy = world.send("busy", ttl=None)
    world.clock.settle()
    assert verdicts(busy) == ["open(RUNNING)"]
    return producer


def forgetful(world: World) -> Any:
    """A producer that remembers nothing, by its script."""
    producer = world.producer(0)

    def produce(*_: Any, **__: Any) -> Any:
        if isinstance(producer.answer, BaseException):
            raise producer.answer
        return producer.answer()

    producer.produce_dispatcher_output = produce  # type: ignore[method-assign]
    return producer


class Watched:
    """Makes payloads and knows them weakly."""

    def __init__(self) -> None:
        self.references: List[Any] = []

    def __call__(self, *_: Any, **__: Any) -> Payload:
        payload = Payload()
        self.references.append(weakref.ref(payload))
        return payload

    def all_gone(self) -> bool:
        return all(gone(reference) for reference in self.references)


def gone(reference: Callable[[], Any]) -> bool:
    """Whether the weakly referenced object is garbage."""
    if reference() is not None:
        gc.collect()
    return reference() is None


def errors(caplog: pytest.LogCaptureFixture) -> List[logging.LogRecord]:
    """What the package logged at ERROR."""
    return logged(caplog, logging.ERROR)


def logged(caplog: pytest.LogCaptureFixture, level: int) -> List[logging.LogRecord]:
    """What the package logged at *level*."""
    return [r for r in caplog.records if r.name == "ate_dispatcher" and r.levelno == level]
