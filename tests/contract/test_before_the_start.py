"""What is sent before the start is kept, and scattered then."""

from __future__ import annotations

import threading

import pytest
from rig import (
    PATIENCE,
    Answer,
    Gated,
    Recorder,
    came,
    ended,
    gated,
    over,
    pace,
    settle,
    sums_add_up,
)

from ate_dispatcher import Completion, Dispatcher, DispatcherStopped

__all__ = ["gated", "pace"]

pytestmark = pytest.mark.usefixtures("pace")


def test_requests_sent_before_the_start_are_scattered_at_the_start_in_order() -> None:
    """Until then nobody is asked; then everybody is, in the order of sending."""
    dispatcher, producer, listener = Dispatcher(), Answer(lambda topic, n: n), Recorder()
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.register_result_listener(listener, "t", start=True)
    handles = [dispatcher.send_request("t", n, ttl=None) for n in range(100)]
    assert not any(handle.done() for handle in handles)
    with dispatcher:
        handles += [dispatcher.send_request("t", n, ttl=None) for n in range(100, 200)]
        ended(*handles)
        assert listener.after(200) == [("t", n) for n in range(200)]
        settle(dispatcher)
        sums_add_up(dispatcher)


def test_the_roster_of_a_kept_request_is_that_of_the_sending() -> None:
    """Who registers between the send and the start is not asked, who deregisters is."""
    dispatcher, early, late = Dispatcher(), Answer(lambda _: "early"), Answer(lambda _: "late")
    dispatcher.register_result_producer(early, "t", start=True)
    handle = dispatcher.send_request("t", ttl=None)
    dispatcher.register_result_producer(late, "t", start=True)
    dispatcher.deregister_result_producer(early, "t")
    dispatcher.start()
    assert handle.results(PATIENCE) == ["early"]
    assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["late"]
    dispatcher.stop()
    early.stop()
    over(dispatcher, early, late)


def test_what_expired_before_the_start_ends_then_without_being_scattered() -> None:
    """Its deadline runs from the sending; at the start it ends as DEADLINE."""
    dispatcher, producer = Dispatcher(), Gated()
    producer.gate.set()
    dispatcher.register_result_producer(producer, "t", start=True)
    expired = dispatcher.send_request("t", "expired", ttl=0)
    living = dispatcher.send_request("t", "living", ttl=None)
    with dispatcher:
        ended(expired, living)
        assert expired.completion is Completion.DEADLINE
        assert expired.results() == []
        assert living.results() == [("living",)]
    over(producer)
    assert producer.asked == [("living",)]
    sums_add_up(dispatcher)


def test_sending_to_nobody_before_the_start_ends_at_once() -> None:
    """NO_PRODUCERS needs no thread."""
    handle = Dispatcher().send_request("t")
    assert handle.completion is Completion.NO_PRODUCERS


def test_a_stop_before_the_start_ends_what_was_kept() -> None:
    """As STOPPED, so no handle hangs; a start afterwards ends at once and asks nobody."""
    dispatcher, producer = Dispatcher(), Gated()
    producer.gate.set()
    dispatcher.register_result_producer(producer, "t", start=True)
    handles = [dispatcher.send_request("t", ttl=None) for _ in range(50)]
    told = threading.Event()
    handles[0].add_done_callback(lambda _: told.set())
    dispatcher.stop()
    with pytest.raises(DispatcherStopped):
        dispatcher.send_request("t")
    ended(*handles)
    came(told)
    assert {handle.completion for handle in handles} == {Completion.STOPPED}
    dispatcher.start()
    over(dispatcher, producer)
    assert producer.asked == []
    sums_add_up(dispatcher)


def test_a_done_callback_comes_also_if_the_dispatcher_is_never_started() -> None:
    """For a request that found nobody, and a dispatcher that is then stopped."""
    dispatcher, told = Dispatcher(), threading.Event()
    dispatcher.send_request("t").add_done_callback(lambda _: told.set())
    dispatcher.stop()
    assert told.wait(5)


def test_a_wait_for_a_kept_request_ends_with_the_start(gated: Gated) -> None:
    """Somebody may wait for it already."""
    dispatcher, results = Dispatcher(), []
    gated.gate.set()
    dispatcher.register_result_producer(gated, "t", start=True)
    handle = dispatcher.send_request("t", 1, ttl=None)
    waiter = threading.Thread(target=lambda: results.append(handle.results(PATIENCE)))
    waiter.start()
    assert handle.wait(0) is False
    with dispatcher:
        over(waiter)
    assert results == [[(1,)]]
