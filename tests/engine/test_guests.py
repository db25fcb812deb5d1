"""One producer of several dispatchers: at home at the first, a guest at the others."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any, Iterator, List, Tuple

import inside
import pytest
from rig import Answer, Gated, all_told, came, ended, gone, over, pace, settle, strike, sums_add_up

from ate_dispatcher import Completion, Dispatcher, Standing, Verdict

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")


class Token:
    """A payload that can be watched."""


@pytest.fixture
def pair() -> Iterator[Tuple[Dispatcher, Dispatcher]]:
    """Two started dispatchers; at the end both are stopped and their sums exact."""
    first, second = Dispatcher(), Dispatcher()
    for dispatcher in (first, second):
        dispatcher.start()
    yield first, second
    for dispatcher in (first, second):
        dispatcher.stop(immediate=True)
        over(dispatcher)
        sums_add_up(dispatcher)


def hung(first: Dispatcher, second: Dispatcher, at: Dispatcher) -> Gated:
    """A producer of both, at home at *first*, in the middle of a request of *at*."""
    producer = Gated()
    for dispatcher in (first, second):
        dispatcher.register_result_producer(producer, "t")
    producer.start()
    at.send_request("t", ttl=None)
    came(producer.entered)
    return producer


def released(producer: Gated) -> None:
    producer.gate.set()
    producer.stop()
    over(producer)


def test_the_end_of_its_home_changes_nothing_for_a_guest(
    pair: Tuple[Dispatcher, Dispatcher],
) -> None:
    """What ended in its mailbox is cleared away, and judged when it comes to it."""
    first, second = pair
    producer = hung(first, second, second)
    first.deregister_result_producer(producer, "t")
    first.stop()
    over(first)
    handles = [second.send_request("t", n, ttl=None) for n in range(200)]
    for handle in handles:
        handle.cancel()
    ended(*handles)
    settle(second)
    assert inside.backlog(producer) < len(handles) / 2
    missed = second.send_request("t", ttl=1)
    ended(missed)
    released(producer)
    settle(second)
    (member,) = missed.report().members
    assert member.verdict is Verdict.SKIPPED


def test_a_hung_guest_keeps_no_result_of_the_request_it_hangs_in(
    pair: Tuple[Dispatcher, Dispatcher],
) -> None:
    """Nor one of its own that it gave before, at home."""
    first, second = pair
    results: List[weakref.ref[Token]] = []

    def give(topic: Any, *args: Any) -> Any:
        results.append(weakref.ref(token := Token()))
        return token

    quick = Answer(give)
    second.register_result_producer(quick, "t", start=True)
    producer = Gated()
    for dispatcher in (first, second):
        dispatcher.register_result_producer(producer, "t")
    first.register_result_producer(producer, "own")
    producer.start()

    def own(topic: Any, *args: Any) -> Any:
        del producer.produce_dispatcher_output
        return give(topic)

    producer.produce_dispatcher_output = own  # type: ignore[method-assign]
    before = first.send_request("own", ttl=None)
    ended(before)
    del before
    handle = second.send_request("t", ttl=None)
    came(producer.entered)
    next(iter(handle))
    handle.cancel()
    ended(handle)
    del handle
    settle(second)
    assert len(results) == 2
    assert all(gone(reference) for reference in results)
    released(producer)
    quick.stop()
    over(quick)


def test_a_guest_that_dies_is_judged_by_everybody(pair: Tuple[Dispatcher, Dispatcher]) -> None:
    """What ended before it was begun is skipped, on whichever dispatcher."""
    first, second = pair
    producer = hung(first, second, first)
    handles = [dispatcher.send_request("t", ttl=1) for dispatcher in pair]
    ended(*handles)
    # Behind it nothing is served any more, as if its thread had been killed.
    inside.loses_what_waits(producer)
    producer.gate.set()
    over(producer)
    for handle in handles:
        (member,) = handle.report().members
        assert member.verdict is Verdict.SKIPPED


def test_a_hung_guest_rings_the_keeper_once_per_end(
    pair: Tuple[Dispatcher, Dispatcher],
) -> None:
    """Not again for each request that is sent behind the one that ended."""
    first, second = pair
    producer = hung(first, second, first)
    ended(second.send_request("t", ttl=1))
    settle(second)
    second.send_request("t", ttl=None)
    settle(second)
    calls = inside.orders_given(second)
    for _ in range(100):
        second.send_request("t", ttl=None)
    assert calls == []
    released(producer)


def test_two_dispatchers_may_register_a_producer_at_once() -> None:
    """At whichever moment the other one comes: all its requests are served by one loop."""
    at = 1
    while True:
        producer = Answer(lambda topic, n: n)
        first, second = Dispatcher(), Dispatcher()
        for dispatcher in (first, second):
            dispatcher.start()
        struck = strike(
            lambda first=first, producer=producer: first.register_result_producer(producer, "t"),
            at,
            lambda second=second, producer=producer: second.register_result_producer(producer, "t"),
        )
        producer.start()
        handles = [dispatcher.send_request("t", 1, ttl=None) for dispatcher in (first, second)]
        for handle in handles[: 1 + struck]:
            assert handle.results() == [1]
        for dispatcher in (first, second):
            dispatcher.stop()
            over(dispatcher)
        if not struck:
            assert at > 10
            return
        at += 1


def test_no_callback_is_called_in_anybodys_section(pair: Tuple[Dispatcher, Dispatcher]) -> None:
    """A done callback of an ended dispatcher waits for its own thread, whoever comes by."""
    first, second = pair
    producer = hung(first, second, first)
    old = first.send_request("nobody")
    ended(old)
    first.deregister_result_producer(producer, "t")
    first.stop(immediate=True)
    over(first)
    # Its observers have been told all there was.
    all_told(first)
    waiting = second.send_request("t", ttl=None)
    callers = []

    def between() -> None:
        # The callback has been handed over, and nobody has called it yet.
        waiting.cancel()
        ended(waiting)
        settle(second)
        callers.append(threading.current_thread())

    at = 1
    while strike(
        lambda: old.add_done_callback(lambda _: callers.append(threading.current_thread())),
        at,
        between,
    ):
        at += 1
        waiting = second.send_request("t", ttl=None)
    assert at > 5
    assert set(callers) == {threading.current_thread()}
    released(producer)


def test_an_ended_home_keeps_no_hook() -> None:
    """Its producers may live on for long, and know where they were at home."""

    class Hook:
        def __call__(self, event: Any) -> None:
            pass

    for started in (True, False):
        dispatcher, producer, hook = Dispatcher(), Answer(), Hook()
        dispatcher.add_hook(hook)
        reference = weakref.ref(hook)
        dispatcher.register_result_producer(producer, "t")
        if started:
            dispatcher.start()
            settle(dispatcher)
        dispatcher.stop()
        if started:
            over(dispatcher)
            all_told(dispatcher)
        else:
            inside.to_its_end(dispatcher)
        del dispatcher, hook
        gc.collect()
        assert gone(reference)


def test_what_is_served_at_home_and_as_a_guest_adds_up(
    pair: Tuple[Dispatcher, Dispatcher],
) -> None:
    """Replies, errors and misses of both, in turns."""

    def answer(topic: Any, n: int) -> int:
        if n % 3 == 0:
            raise ZeroDivisionError(n)
        return n

    producer = Answer(answer)
    for dispatcher in pair:
        dispatcher.register_result_producer(producer, "t")
    handles = [pair[n % 2].send_request("t", n, ttl=None) for n in range(60)]
    late = [dispatcher.send_request("t", 1, ttl=0) for dispatcher in pair]
    producer.start()
    ended(*handles, *late)
    assert [handle.results() for handle in handles] == [[n] if n % 3 else [] for n in range(60)]
    assert {handle.completion for handle in handles} == {Completion.ALL_REPLIED}
    producer.stop()
    over(producer)
    for handle in late:
        (member,) = handle.report().members
        assert member.verdict is Verdict.SKIPPED
        assert member.standing in (Standing.QUEUED, Standing.NOT_STARTED)
