"""A stop from callbacks, signal handlers, finalizers and many threads at once."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from typing import Any, List

import pytest
from rig import (
    PATIENCE,
    Answer,
    Floor,
    Gated,
    Recorder,
    came,
    ended,
    gated,
    over,
    pace,
    sums_add_up,
)

from ate_dispatcher import Completion, Dispatcher, DispatcherStopped

__all__ = ["gated", "pace"]

pytestmark = pytest.mark.usefixtures("pace")


MANNERS: List[Any] = [{}, {"immediate": True}, {"drain": 0}, {"drain": None}]


@pytest.mark.parametrize("manner", MANNERS, ids=str)
def test_stop_from_a_producers_callback(manner: Any) -> None:
    """The producer's own answer counts if the drain lets it."""
    floor = Floor(lambda *_: floor.dispatcher.stop(**manner))
    handle = floor.dispatcher.send_request("t", ttl=None)
    floor.stopped(handle)
    if not manner:
        assert handle.completion is Completion.ALL_REPLIED


@pytest.mark.parametrize("manner", MANNERS, ids=str)
def test_stop_from_a_listeners_callback(manner: Any) -> None:
    """A listener may stop the dispatcher, and thereby itself."""
    floor = Floor()
    process = floor.listener.process_dispatcher_result

    def hear(topic: Any, response: Any) -> None:
        floor.dispatcher.stop(**manner)
        process(topic, response)

    floor.listener.process_dispatcher_result = hear  # type: ignore[method-assign]
    handle = floor.dispatcher.send_request("t", ttl=None)
    floor.stopped(handle)
    assert floor.listener.heard == [("t", "value")]


@pytest.mark.parametrize("manner", MANNERS, ids=str)
def test_stop_from_a_hook(manner: Any) -> None:
    """At whichever event."""
    floor = Floor()
    floor.dispatcher.add_hook(lambda event: floor.dispatcher.stop(**manner))
    handle = floor.dispatcher.send_request("t", ttl=None)
    floor.stopped(handle)


@pytest.mark.parametrize("manner", MANNERS, ids=str)
def test_stop_from_a_done_callback(manner: Any) -> None:
    """The callback may also send, which is refused then."""
    floor, refused = Floor(), threading.Event()

    def done(handle: Any) -> None:
        floor.dispatcher.stop(**manner)
        try:
            floor.dispatcher.send_request("t")
        except DispatcherStopped:
            refused.set()

    handle = floor.dispatcher.send_request("t", ttl=None)
    handle.add_done_callback(done)
    floor.stopped(handle)
    came(refused)


@pytest.mark.parametrize("manner", MANNERS, ids=str)
def test_stop_from_a_signal_handler(manner: Any) -> None:
    """Also while the main thread waits for a request."""
    floor = Floor(lambda *_: signal.raise_signal(signal.SIGINT) or "value")
    handle = None
    before = signal.signal(signal.SIGINT, lambda *_: floor.dispatcher.stop(**manner))
    try:
        handle = floor.dispatcher.send_request("t", ttl=None)
        ended(handle)
        # The handler runs on the main thread, here at the latest.
        deadline = time.perf_counter() + PATIENCE
        while floor.producer.is_alive() and time.perf_counter() < deadline:
            floor.producer.join(0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    floor.stopped(handle)


@pytest.mark.parametrize("manner", MANNERS, ids=str)
def test_stop_from_a_finalizer(manner: Any) -> None:
    """From __del__ of an argument that the dispatcher itself lets go, on whichever thread."""
    floor = Floor(lambda *_: "value")

    class Argument:
        def __del__(self) -> None:
            floor.dispatcher.stop(**manner)

    handle = floor.dispatcher.send_request("t", Argument(), ttl=None)
    floor.stopped(handle)


@pytest.mark.parametrize("manner", MANNERS, ids=str)
def test_stop_from_a_weakref_callback(manner: Any) -> None:
    """From the callback that tells of a result's end, dropped by whoever had it last."""
    floor = Floor(lambda *_: {1, 2, 3})
    references: List[Any] = []
    process = floor.listener.process_dispatcher_result

    def hear(topic: Any, response: Any) -> None:
        references.append(weakref.ref(response, lambda _: floor.dispatcher.stop(**manner)))
        process(topic, "heard")

    floor.listener.process_dispatcher_result = hear  # type: ignore[method-assign]
    handle = floor.dispatcher.send_request("t", ttl=None)
    ended(handle)
    floor.listener.after(1)
    del handle
    over(floor.dispatcher)
    floor.stopped()


def test_a_finalizer_may_call_whatever_does_not_wait() -> None:
    """Arguments that are let go at the deadline, inside the dispatcher, call it back."""
    floor, called = Floor(), threading.Semaphore(0)
    gated = Gated()
    floor.dispatcher.register_result_producer(gated, "busy", start=True)
    spare_producer, spare_listener = Answer(), Recorder()

    class Argument:
        def __init__(self, again: bool = True) -> None:
            self.again = again

        def __del__(self) -> None:
            dispatcher = floor.dispatcher
            dispatcher.register_result_producer(spare_producer, "spare")
            dispatcher.register_result_listener(spare_listener, "spare")
            dispatcher.deregister_result_listener(spare_listener, "spare")
            dispatcher.deregister_result_producer(spare_producer, "spare")
            if self.again:
                later = dispatcher.send_request("t", Argument(False), ttl=None)
                later.add_done_callback(lambda _: called.release())
                later.cancel()
                later.done()
                assert later.report().id == later.id
            assert dispatcher.statistics().requests > 0
            dispatcher.add_hook(print)
            dispatcher.remove_hook(print)
            called.release()

    handles = [floor.dispatcher.send_request("busy", Argument(), ttl=None)]
    # Whatever takes longer than 5 ms to come to its turn is skipped.
    came(gated.entered)
    handles += [floor.dispatcher.send_request("busy", Argument(), ttl=5) for _ in range(20)]
    # Nor does the handle keep it as an answer.
    handles[0].cancel()
    ended(*handles)
    gated.asked.clear()
    gated.gate.set()
    for _ in range(3 * len(handles)):
        assert called.acquire(timeout=PATIENCE)
    floor.dispatcher.stop()
    floor.stopped()
    over(gated)


def test_stop_from_many_threads_at_once() -> None:
    """Whoever comes first and however, there is one stop."""
    for _ in range(30):
        floor = Floor()
        handles = [floor.dispatcher.send_request("t", n, ttl=None) for n in range(5)]
        together = threading.Barrier(len(MANNERS))

        def stop(manner: Any, floor: Floor = floor, together: Any = together) -> None:
            together.wait(PATIENCE)
            floor.dispatcher.stop(**manner)

        threads = [threading.Thread(target=stop, args=(manner,)) for manner in MANNERS]
        for thread in threads:
            thread.start()
        over(*threads)
        floor.stopped(*handles)


def test_start_against_stop() -> None:
    """A start and a stop at the same moment end what was kept, and the thread."""
    for _ in range(100):
        dispatcher, producer = Dispatcher(), Answer()
        dispatcher.register_result_producer(producer, "t", start=True)
        handles = [dispatcher.send_request("t", ttl=None) for _ in range(3)]
        together = threading.Barrier(2)

        def stop(dispatcher: Any = dispatcher, together: Any = together) -> None:
            together.wait(PATIENCE)
            dispatcher.stop()

        stopper = threading.Thread(target=stop)
        stopper.start()
        together.wait(PATIENCE)
        dispatcher.start()
        over(stopper)
        ended(*handles)
        over(dispatcher, producer)
        sums_add_up(dispatcher)


@pytest.mark.parametrize("manner", [{}, {"drain": None}], ids=str)
def test_a_stop_right_behind_the_start_serves_what_was_kept(manner: Any) -> None:
    """The start came first, so the requests are scattered, also if the thread itself was slow to
    begin and finds the stop there already.
    """
    gate = threading.Event()

    class Slow(Dispatcher):
        def run(self) -> None:
            gate.wait(PATIENCE)
            super().run()

    dispatcher, producer, idle = Slow(), Answer(lambda topic, n: n), Answer()
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.register_result_producer(idle, "u", start=True)
    handles = [dispatcher.send_request("t", n, ttl=None) for n in range(3)]
    dispatcher.start()
    handles += [dispatcher.send_request("t", n, ttl=None) for n in range(3, 6)]
    dispatcher.stop(**manner)
    gate.set()
    try:
        for n, handle in enumerate(handles):
            assert handle.wait(5), handle
            assert handle.results() == [n]
    finally:
        dispatcher.stop(immediate=True)
    over(dispatcher, producer, idle)
    sums_add_up(dispatcher)


def test_sending_against_stop() -> None:
    """Every send that returned has ended after the stop, whoever was faster."""
    for manner in MANNERS * 8:
        floor = Floor()
        handles: List[Any] = []
        together = threading.Barrier(3)

        def send(floor: Floor = floor, handles: Any = handles, together: Any = together) -> None:
            together.wait(PATIENCE)
            try:
                while True:
                    handles.append(floor.dispatcher.send_request("t", ttl=None))
            except DispatcherStopped:
                pass

        senders = [threading.Thread(target=send) for _ in range(2)]
        for sender in senders:
            sender.start()
        together.wait(PATIENCE)
        floor.dispatcher.stop(**manner)
        over(*senders)
        floor.stopped(*handles)
