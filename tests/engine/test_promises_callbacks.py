"""Done callbacks run one at a time, in the order of events, also when all has ended."""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable, Iterator, List, Tuple

import pytest
from rig import Answer, Gated, all_told, came, ended, only, over

from ate_dispatcher import Dispatcher, Verdict


class Callbacks:
    """Done callbacks that tell when they come and go; the first stays until it is let go."""

    def __init__(self) -> None:
        self.log: List[Tuple[str, str]] = []
        self.entered = threading.Event()
        self.gate = threading.Event()

    def __call__(self, name: str, *, stays: bool = False) -> Callable[[Any], None]:
        def call(_: Any) -> None:
            self.log.append((name, "comes"))
            if stays:
                self.entered.set()
                came(self.gate)
            self.log.append((name, "goes"))

        return call

    def came_in_order(self, *names: str) -> bool:
        return self.log == [(name, what) for name in names for what in ("comes", "goes")]


@pytest.fixture
def calls() -> Iterator[Callbacks]:
    """Callbacks whose gate is opened in the end."""
    made = Callbacks()
    yield made
    made.gate.set()


def test_a_late_callback_does_not_overtake_those_on_the_observers_thread(calls: Callbacks) -> None:
    """The dispatcher has ended, its observers have not: the callback waits behind theirs."""
    dispatcher, producer = Dispatcher(), Answer()
    dispatcher.start()
    dispatcher.register_result_producer(producer, "t", start=True)
    handle = dispatcher.send_request("t")
    ended(handle)
    handle.add_done_callback(calls("first", stays=True))
    handle.add_done_callback(calls("second"))
    came(calls.entered)
    dispatcher.stop()
    over(dispatcher, producer)
    handle.add_done_callback(calls("third"))
    assert calls.log == [("first", "comes")]
    calls.gate.set()
    all_told(dispatcher)
    assert calls.came_in_order("first", "second", "third")


def test_late_callbacks_of_two_threads_do_not_overlap(calls: Callbacks) -> None:
    """All has ended: who comes while another's callback runs leaves its own to that one."""
    dispatcher, producer = Dispatcher(), Answer()
    dispatcher.start()
    dispatcher.register_result_producer(producer, "t", start=True)
    handle = dispatcher.send_request("t")
    ended(handle)
    dispatcher.stop()
    over(dispatcher, producer)
    other = threading.Thread(
        target=lambda: handle.add_done_callback(calls("first", stays=True)), daemon=True
    )
    other.start()
    came(calls.entered)
    handle.add_done_callback(calls("second"))
    assert calls.log == [("first", "comes")]
    calls.gate.set()
    over(other)
    # It may be that the observers' thread was still there, and has called them.
    all_told(dispatcher)
    assert calls.came_in_order("first", "second")


def test_a_callback_may_add_another_after_the_end(calls: Callbacks) -> None:
    """It comes after the one that has added it, not in the middle of it."""
    dispatcher = Dispatcher()
    handle = dispatcher.send_request("nobody")
    dispatcher.start()
    dispatcher.stop()
    over(dispatcher)
    all_told(dispatcher)

    def first(handle: Any) -> None:
        calls.log.append(("first", "comes"))
        handle.add_done_callback(calls("second"))
        calls.log.append(("first", "goes"))

    handle.add_done_callback(first)
    assert calls.came_in_order("first", "second")


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="there what a thread has made is let go of by that thread, whenever it comes to it",
)
def test_a_hook_that_is_added_at_the_end_is_never_called(calls: Callbacks) -> None:
    """While another one is let go of, whose finalizer does not come back: nobody hears of what is
    late then, above all not in the middle of a producer's pass.
    """
    dispatcher, producer = Dispatcher(), Gated()
    heard: List[Any] = []

    class Lingering:
        def __call__(self, event: Any) -> None:
            """Nothing."""

        def __del__(self) -> None:
            calls.entered.set()
            came(calls.gate)

    dispatcher.start()
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.add_hook(Lingering())
    handle = dispatcher.send_request("t", ttl=None)
    came(producer.entered)
    dispatcher.stop(immediate=True)
    ended(handle)
    came(calls.entered)
    dispatcher.add_hook(heard.append)
    producer.gate.set()
    over(producer)
    calls.gate.set()
    over(dispatcher)
    all_told(dispatcher)
    assert only(handle).verdict is Verdict.SURPLUS
    assert heard == []
