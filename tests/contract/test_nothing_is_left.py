"""Of hundreds of sessions nothing is left: no thread, no memory, nothing of the users."""

from __future__ import annotations

import gc
import logging
import threading
import time
import tracemalloc
import weakref
from typing import Any, List

import pytest
from rig import PATIENCE, Answer, Recorder, came, ended, gone, over, pace, settle

import ate_dispatcher
from ate_dispatcher import Dispatcher

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")


def session() -> None:
    """All that a dispatcher can have about it, once."""
    producer, listener, told = Answer(), Recorder(), threading.Event()
    with Dispatcher(hooks=[lambda event: None]) as dispatcher:
        dispatcher.register_result_producer(producer, "t", "u", start=True)
        dispatcher.register_result_listener(listener, "t", start=True)
        handle = dispatcher.send_request("t", bytes(100), ttl=None)
        handle.add_done_callback(lambda _: told.set())
        assert len(handle.results(PATIENCE)) == 1
        dispatcher.send_request("u", ttl=60000).cancel()
        came(told)
    over(dispatcher, producer, listener)


@pytest.mark.thorough
def test_hundreds_of_sessions_leave_no_thread_and_no_memory() -> None:
    """300 start/stop cycles: as many threads and objects, and as much memory, as before."""
    for _ in range(30):
        session()
    gc.collect()
    threads, objects = threading.active_count(), len(gc.get_objects())
    tracemalloc.start()
    try:
        for _ in range(30):
            session()
        gc.collect()
        memory = tracemalloc.get_traced_memory()[0]
        for _ in range(270):
            session()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - memory
    finally:
        tracemalloc.stop()
    # The observers' thread of the last one may be on its last few instructions.
    deadline = time.perf_counter() + PATIENCE
    while threading.active_count() > threads and time.perf_counter() < deadline:
        gc.collect()
    assert threading.active_count() <= threads
    assert len(gc.get_objects()) - objects < 150
    assert grown < 100_000


def test_a_thousand_topics_leave_nothing_behind() -> None:
    """Registered for and deregistered from, sent to or not, a topic is forgotten."""

    class Topic:
        pass

    producer, listener = Answer(), Recorder()
    with Dispatcher() as dispatcher:
        topics = [Topic() for _ in range(1000)]
        for topic in topics:
            dispatcher.register_result_producer(producer, topic)
            dispatcher.register_result_listener(listener, topic)
        producer.start()
        for topic in topics[:100]:
            ended(dispatcher.send_request(topic, ttl=None))
        strangers = [Topic() for _ in range(100)]
        for topic in strangers:
            dispatcher.send_request(topic)
        for topic in topics:
            dispatcher.deregister_result_producer(producer, topic)
            dispatcher.deregister_result_listener(listener, topic)
        listener.heard.clear()
        references = [weakref.ref(topic) for topic in (*topics, *strangers)]
        del topic, topics, strangers
        # The last request may stay in sight of the threads until the next one comes.
        dispatcher.register_result_producer(producer, "t")
        ended(dispatcher.send_request("t", ttl=None))
        settle(dispatcher)
        listener.start()
        listener.stop()
        over(listener)
        listener.heard.clear()
        left = [reference for reference in references if not gone(reference)]
        assert not left, len(left)
        producer.stop()
        over(producer)


def test_an_idle_dispatcher_holds_nothing_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments, results, exceptions and deregistered participants are let go."""

    class Thing:
        pass

    class Failure(Exception):
        pass

    # What is logged is kept by pytest.
    monkeypatch.setattr(logging.getLogger("ate_dispatcher"), "disabled", True)
    references: List[Any] = []

    def produce(topic: str, thing: Any, fail: bool = False) -> Any:
        if fail:
            failure = Failure()
            references.append(weakref.ref(failure))
            raise failure
        value = Thing()
        references.append(weakref.ref(value))
        return value

    listener = ate_dispatcher.ResultListener()
    heard = threading.Semaphore(0)
    listener.process_dispatcher_result = (  # type: ignore[method-assign]
        lambda topic, response: heard.release()
    )
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(Answer(produce), "t", start=True)
        dispatcher.register_result_listener(listener, "t", start=True)
        for fail in (False, True):
            thing = Thing()
            references.append(weakref.ref(thing))
            handle = dispatcher.send_request("t", thing, ttl=None, fail=fail)
            del thing
            ended(handle)
            del handle
        assert heard.acquire(timeout=PATIENCE)
        leaver = Answer()
        references.append(weakref.ref(leaver))
        dispatcher.register_result_producer(leaver, "leave", start=True)
        ended(dispatcher.send_request("leave", ttl=None))
        dispatcher.deregister_result_producer(leaver, "leave")
        leaver.stop()
        over(leaver)
        del leaver
        settle(dispatcher)
        # They go when the threads have parked, which nothing tells: so look until they have.
        deadline = time.perf_counter() + PATIENCE
        while not all(gone(reference) for reference in references):
            assert time.perf_counter() < deadline, [reference() for reference in references]
