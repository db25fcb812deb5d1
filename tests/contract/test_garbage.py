"""What was stopped or never started is collected."""

from __future__ import annotations

import gc
import time
import weakref
from typing import Any, List

import pytest
from rig import PATIENCE, Answer, Recorder, ended, gone, over, pace, settle

from ate_dispatcher import Dispatcher, Producer, ResultListener

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")


def a_session(started: bool, stop: bool, open_request: bool) -> List[weakref.ref[Any]]:
    """Use one of each, in part, and leave only weak references to them."""
    dispatcher, producer, listener = Dispatcher(), Answer(), Recorder()
    dispatcher.add_hook(lambda event: None)
    dispatcher.register_result_producer(producer, "t")
    dispatcher.register_result_listener(listener, "t")
    if started:
        for thread in (dispatcher, producer, listener):
            thread.start()
        ended(dispatcher.send_request("t", ttl=None))
        listener.after(1)
    if open_request:
        dispatcher.send_request("t", ttl=None)
    if stop:
        dispatcher.stop()
        if started:
            over(dispatcher, producer, listener)
    return [weakref.ref(subject) for subject in (dispatcher, producer, listener)]


@pytest.mark.parametrize(
    ("started", "stop", "open_request"),
    [
        (True, True, False),
        (False, True, False),
        (False, False, False),
        (False, False, True),
        (False, True, True),
    ],
)
def test_what_was_stopped_or_never_started_is_collected(
    started: bool, stop: bool, open_request: bool
) -> None:
    """When the user drops them, dispatcher, producer and listener are garbage."""
    references = a_session(started, stop, open_request)
    # A thread that has just ended may still be on its last few instructions.
    deadline = time.perf_counter() + PATIENCE
    while not all(gone(reference) for reference in references):
        assert time.perf_counter() < deadline, [reference() for reference in references]


def test_a_single_object_that_was_never_started_is_collected() -> None:
    """Each of the three alone as well; without a cycle, so the moment it is dropped."""
    for kind in (Producer, ResultListener, Dispatcher):
        reference = weakref.ref(kind())
        gc.collect()
        assert reference() is None


def test_a_stopped_participant_is_collected_while_its_dispatcher_lives() -> None:
    """Deregistered, stopped and dropped, it is not kept by a dispatcher that goes on."""
    with Dispatcher() as dispatcher:
        producer, listener = Answer(), Recorder()
        dispatcher.register_result_producer(producer, "t", start=True)
        dispatcher.register_result_listener(listener, "t", start=True)
        ended(dispatcher.send_request("t", ttl=None))
        listener.after(1)
        dispatcher.deregister_result_producer(producer, "t")
        dispatcher.deregister_result_listener(listener, "t")
        producer.stop()
        listener.stop()
        over(producer, listener)
        references = [weakref.ref(producer), weakref.ref(listener)]
        del producer, listener
        settle(dispatcher)
        deadline = time.perf_counter() + PATIENCE
        while not all(gone(reference) for reference in references):
            assert time.perf_counter() < deadline
