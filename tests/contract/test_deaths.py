"""Threads that die are declined, and what they had not answered is judged."""

from __future__ import annotations

import functools
import threading
import weakref
from typing import Any, Callable, List

import pytest
from rig import (
    PATIENCE,
    Answer,
    Gated,
    Recorder,
    ended,
    gone,
    only,
    over,
    pace,
    settle,
    sums_add_up,
)

import ate_dispatcher
from ate_dispatcher import Completion, Dispatcher, DispatcherStopped, Standing, Verdict
from ate_dispatcher.errors import BadValue

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")


OBITUARIES: List[Any] = []


def mourned(test: Callable[..., None]) -> Callable[..., None]:
    """Let OBITUARIES have what threading.excepthook is told within the test.

    Not a fixture: pytest puts a hook of its own in place between the fixtures and the test.
    """

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        OBITUARIES.clear()
        before = threading.excepthook
        threading.excepthook = lambda args: OBITUARIES.append(args.exc_type)
        try:
            test(*args, **kwargs)
        finally:
            threading.excepthook = before

    return wrapper


class Stillborn(Answer):
    """A producer whose set-up fails."""

    def run(self) -> None:
        raise OSError("no such instrument")


@mourned
def test_a_producer_that_died_is_declined() -> None:
    """Whoever is asked after the thread has ended gets DECLINED at the send, and the others are
    served.
    """
    dead, living = Stillborn(), Answer(lambda topic: "alive")
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(dead, "t", start=True)
        dispatcher.register_result_producer(living, "t", start=True)
        over(dead)
        handle = dispatcher.send_request("t", ttl=None)
        assert handle.results(PATIENCE) == ["alive"]
        assert [m.verdict for m in handle.report().members] == [Verdict.DECLINED, Verdict.OK]
        assert handle.completion is Completion.ALL_REPLIED
    assert [OSError] == OBITUARIES
    sums_add_up(dispatcher)


@mourned
def test_a_producer_that_is_dead_is_declined() -> None:
    """It is registered, but its thread has ended; to register it then is refused."""
    dead = Stillborn()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(dead, "t")
        dead.start()
        over(dead)
        with pytest.raises(BadValue, match="has ended"):
            dispatcher.register_result_producer(dead, "other")
        handles = [dispatcher.send_request("t", ttl=None) for _ in range(5)]
        ended(*handles)
        assert [only(h).verdict for h in handles] == [Verdict.DECLINED] * 5
    sums_add_up(dispatcher)


@mourned
def test_a_producer_that_dies_with_requests_in_its_mailbox() -> None:
    """They are MISSING because it is dead, at once and not at their deadline."""
    dead = Stillborn()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(dead, "t")
        # What is kept until it is open would be handed to who is dead by then.
        settle(dispatcher)
        handles = [dispatcher.send_request("t", ttl=None) for _ in range(3)]
        dead.start()
        over(dead)
        ended(*handles)
        for handle in handles:
            assert only(handle).verdict is Verdict.MISSING
            assert only(handle).standing is Standing.DEAD
        settle(dispatcher)
        sums_add_up(dispatcher)
    assert [OSError] == OBITUARIES


@mourned
def test_a_producer_that_died_before_the_start_is_declined_by_what_was_kept() -> None:
    """The dispatcher comes to know of it when it scatters, and goes on."""
    dead, quick = Stillborn(), Answer(lambda topic, n: n)
    dispatcher = Dispatcher()
    for producer in (dead, quick):
        dispatcher.register_result_producer(producer, "t", start=True)
    over(dead)
    kept = [dispatcher.send_request("t", n, ttl=None) for n in range(2)]
    with dispatcher:
        for n, handle in enumerate(kept):
            assert handle.results() == [n]
            assert [m.verdict for m in handle.report().members] == [Verdict.DECLINED, Verdict.OK]
        settle(dispatcher)
        sums_add_up(dispatcher)


@mourned
def test_a_guest_dies_for_all_its_dispatchers() -> None:
    """Requests of every dispatcher it serves get their verdict."""
    dead = Stillborn()
    with Dispatcher() as first, Dispatcher() as second:
        first.register_result_producer(dead, "t")
        second.register_result_producer(dead, "t")
        for dispatcher in (first, second):
            # What is kept until they are open would be handed to who is dead by then.
            settle(dispatcher)
        handles = [d.send_request("t", ttl=None) for d in (first, second)]
        dead.start()
        over(dead)
        ended(*handles)
        assert [only(h).standing for h in handles] == [Standing.DEAD] * 2
        handles = [d.send_request("t", ttl=None) for d in (first, second)]
        ended(*handles)
        assert [only(h).verdict for h in handles] == [Verdict.DECLINED] * 2
        for dispatcher in (first, second):
            settle(dispatcher)
            sums_add_up(dispatcher)


@mourned
def test_a_listener_that_died_harms_nobody() -> None:
    """The others hear everything, and nothing piles up for it."""

    class Deaf(Recorder):
        def run(self) -> None:
            raise OSError("no such log")

    class Value:
        pass

    deaf, listener = Deaf(), ate_dispatcher.ResultListener()
    count = threading.Semaphore(0)
    listener.process_dispatcher_result = (  # type: ignore[method-assign]
        lambda topic, response: count.release()
    )
    references: List[Any] = []

    def produce(topic: str) -> Value:
        value = Value()
        references.append(weakref.ref(value))
        return value

    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(Answer(produce), "t", start=True)
        dispatcher.register_result_listener(deaf, "t", start=True)
        dispatcher.register_result_listener(listener, "t", start=True)
        over(deaf)
        for _ in range(20):
            ended(dispatcher.send_request("t", ttl=None))
        for _ in range(20):
            assert count.acquire(timeout=PATIENCE)
        settle(dispatcher)
        assert sum(not gone(reference) for reference in references) <= 1
    assert [OSError] == OBITUARIES


@mourned
def test_a_dispatcher_whose_run_fails_ends_what_was_sent() -> None:
    """It takes nothing new, its requests end, its participants are stopped."""

    class Broken(Dispatcher):
        def run(self) -> None:
            raise OSError("no such rig")

    dispatcher, producer, listener = Broken(), Gated(), Recorder()
    producer.gate.set()
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.register_result_listener(listener, "t", start=True)
    handle = dispatcher.send_request("t", ttl=None)
    dispatcher.start()
    over(dispatcher, producer, listener)
    ended(handle)
    # Whether a prompt producer gets to answer what was kept is left open.
    assert handle.completion in (Completion.STOPPED, Completion.ALL_REPLIED)
    with pytest.raises(DispatcherStopped):
        dispatcher.send_request("t")
    assert [OSError] == OBITUARIES
