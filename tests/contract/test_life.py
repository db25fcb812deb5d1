"""From start to stop and beyond: DESIGN.md, section 2, "Life" and "Callable from anywhere"."""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import sys
import threading
import time
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator, List

import pytest
from rig import (
    PATIENCE,
    UNHURRIED,
    Answer,
    Gated,
    GatedListener,
    Recorder,
    came,
    ended,
    gone,
    over,
    pace,
    python,
    seconds_to_exit,
    settle,
    silent,
    strike,
    sums_add_up,
)

import ate_dispatcher
from ate_dispatcher import Completion, Dispatcher, DispatcherStopped, Standing, Statistics, Verdict

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")

STRICT = ("-X", "dev", "-W", "error")


def only(handle: Any) -> Any:
    """The report's line on the only member."""
    (member,) = handle.report().members
    return member


@pytest.fixture
def gated() -> Iterator[Gated]:
    """A producer whose gate is opened at the end at the latest."""
    producer = Gated()
    yield producer
    producer.gate.set()
    producer.stop()
    if producer.ident is not None:
        over(producer)


# -- before the start --------------------------------------------------------------------------


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


# -- the graceful stop -------------------------------------------------------------------------


def test_after_the_stop_nothing_new_is_taken() -> None:
    """send_request and both registrations raise DispatcherStopped, which says whose stop it was."""
    dispatcher = Dispatcher(name="rig-7")
    dispatcher.start()
    dispatcher.stop()
    sender = dispatcher.options(ttl=10)
    for deed in (
        lambda: dispatcher.send_request("t"),
        lambda: sender.send_request("t"),
        lambda: dispatcher.register_result_producer(Answer(), "t"),
        lambda: dispatcher.register_result_producer(Answer(), "t", start=True),
        lambda: dispatcher.register_result_listener(Recorder(), "t"),
    ):
        with pytest.raises(DispatcherStopped, match="rig-7"):
            deed()
    over(dispatcher)


def test_stop_returns_at_once_and_open_requests_run_to_their_end(gated: Gated) -> None:
    """While the drain lasts, replies are accepted and listeners hear them."""
    dispatcher, listener = Dispatcher(), Recorder()
    dispatcher.register_result_producer(gated, "t", start=True)
    dispatcher.register_result_listener(listener, "t", start=True)
    dispatcher.start()
    handles = [dispatcher.send_request("t", n, ttl=None) for n in range(5)]
    came(gated.entered)
    dispatcher.stop(drain=None)
    assert not handles[0].wait(0.02)
    assert dispatcher.is_alive()
    gated.gate.set()
    ended(*handles)
    assert [handle.completion for handle in handles] == [Completion.ALL_REPLIED] * 5
    over(dispatcher, gated, listener)
    assert listener.heard == [("t", (n,)) for n in range(5)]
    sums_add_up(dispatcher)


def test_the_default_drain_lets_a_prompt_answer_through(gated: Gated) -> None:
    """stop() alone is graceful."""
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(gated, "t", start=True)
    dispatcher.start()
    handle = dispatcher.send_request("t", ttl=None)
    came(gated.entered)
    dispatcher.stop()
    gated.gate.set()
    ended(handle)
    assert handle.completion is Completion.ALL_REPLIED
    over(dispatcher)


def test_the_drain_is_bounded(gated: Gated) -> None:
    """After *drain* milliseconds the rest ends as STOPPED, not before."""
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(gated, "t", start=True)
    dispatcher.start()
    running, queued = (dispatcher.send_request("t", n, ttl=None) for n in range(2))
    came(gated.entered)
    began = time.perf_counter()
    dispatcher.stop(drain=50)
    ended(running, queued)
    assert time.perf_counter() - began >= 0.05
    over(dispatcher)
    assert [only(h).standing for h in (running, queued)] == [Standing.RUNNING, Standing.QUEUED]
    assert [h.completion for h in (running, queued)] == [Completion.STOPPED] * 2
    gated.gate.set()
    over(gated)
    assert [only(h).verdict for h in (running, queued)] == [Verdict.SURPLUS, Verdict.SKIPPED]
    assert len(gated.asked) == 1
    sums_add_up(dispatcher)


def test_no_drain_ends_open_requests_now(gated: Gated) -> None:
    """drain=0 waits for nothing."""
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(gated, "t", start=True)
    dispatcher.start()
    handle = dispatcher.send_request("t", ttl=None)
    came(gated.entered)
    dispatcher.stop(drain=0)
    over(dispatcher)
    assert handle.completion is Completion.STOPPED
    assert only(handle).verdict is Verdict.MISSING


def test_deadlines_run_on_while_it_drains(gated: Gated) -> None:
    """drain=None waits until the deadlines, and no longer."""
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(gated, "t", start=True)
    dispatcher.start()
    handle = dispatcher.send_request("t", ttl=50)
    dispatcher.stop(drain=None)
    over(dispatcher)
    assert handle.completion is Completion.DEADLINE


def test_an_immediate_stop_lets_nobody_begin(gated: Gated) -> None:
    """What runs is MISSING, what waits is WITHDRAWN and never executed."""
    dispatcher, idle = Dispatcher(), Gated()
    idle.gate.set()
    dispatcher.register_result_producer(gated, "t", start=True)
    dispatcher.register_result_producer(idle, "never started")
    dispatcher.start()
    running, queued = (dispatcher.send_request("t", n, ttl=None) for n in range(2))
    kept = dispatcher.send_request("never started", ttl=None)
    came(gated.entered)
    dispatcher.stop(immediate=True)
    over(dispatcher)
    assert only(running).verdict is Verdict.MISSING
    assert only(running).standing is Standing.RUNNING
    assert only(queued).verdict is Verdict.WITHDRAWN
    assert only(kept).verdict is Verdict.WITHDRAWN
    gated.gate.set()
    over(gated)
    idle.start()
    over(idle)
    assert gated.asked == [(0,)]
    assert idle.asked == []
    assert only(running).verdict is Verdict.SURPLUS
    assert only(queued).verdict is Verdict.WITHDRAWN
    sums_add_up(dispatcher)


def test_a_second_stop_may_shorten_the_drain(gated: Gated) -> None:
    """The shorter drain counts, and immediate beats graceful; a longer one changes nothing."""
    for shorter in ({"drain": 0}, {"immediate": True}, {"drain": 1}):
        dispatcher, producer = Dispatcher(), Gated()
        dispatcher.register_result_producer(producer, "t", start=True)
        dispatcher.start()
        handle = dispatcher.send_request("t", ttl=None)
        came(producer.entered)
        dispatcher.stop(drain=None)
        dispatcher.stop(**shorter)
        dispatcher.stop(drain=None)
        over(dispatcher)
        assert handle.completion is Completion.STOPPED
        producer.gate.set()
        over(producer)


@pytest.mark.parametrize("drain", [-1, float("nan"), "1", True, [1]])
def test_a_bad_drain_is_refused_and_stops_nothing(drain: Any) -> None:
    """The error comes at the call and names the parameter."""
    with Dispatcher() as dispatcher:
        with pytest.raises((TypeError, ValueError), match="drain"):
            dispatcher.stop(drain=drain)
        assert dispatcher.send_request("t").done()
        assert dispatcher.is_alive()


@pytest.mark.parametrize("drain", [1e300, float("inf"), 10**400, 1e-300])
def test_a_drain_may_have_any_size(drain: Any) -> None:
    """Huge or tiny, with nothing open the stop is done at once."""
    dispatcher = Dispatcher()
    dispatcher.start()
    dispatcher.stop(drain=drain)
    over(dispatcher)


def test_the_stop_waits_for_no_callback(gated: Gated) -> None:
    """A producer that never returns and a listener that never returns keep nobody else."""
    dispatcher, deaf, listener = Dispatcher(), GatedListener(), Recorder()
    quick = Answer(lambda topic: "quick")
    dispatcher.register_result_producer(quick, "t", start=True)
    dispatcher.register_result_producer(gated, "t", start=True)
    dispatcher.register_result_listener(deaf, "t", start=True)
    dispatcher.register_result_listener(listener, "t", start=True)
    dispatcher.start()
    handle = dispatcher.send_request("t", ttl=None)
    came(gated.entered)
    came(deaf.entered)
    dispatcher.stop(drain=0)
    over(dispatcher, quick, listener)
    assert handle.completion is Completion.STOPPED
    assert listener.heard == [("t", "quick")]
    deaf.gate.set()
    over(deaf)
    assert deaf.heard == [("t", "quick")]


def test_listeners_finish_what_they_have_got_when_the_dispatcher_stops() -> None:
    """Results that wait for a slow listener are not lost by the stop."""
    dispatcher, producer, slow = Dispatcher(), Answer(lambda topic, n: n), GatedListener()
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.register_result_listener(slow, "t", start=True)
    dispatcher.start()
    ended(*[dispatcher.send_request("t", n, ttl=None) for n in range(100)])
    dispatcher.stop()
    over(dispatcher, producer)
    assert slow.heard == []
    slow.gate.set()
    over(slow)
    assert slow.heard == [("t", n) for n in range(100)]


def test_a_stop_that_hangs_costs_only_its_grace(gated: Gated) -> None:
    """With nothing open the rest ends, whatever the drain time; an override may never return."""
    dispatcher, log = Dispatcher(), Recorder()
    gate = threading.Event()

    class Hung(Answer):
        def stop(self) -> None:
            came(gate)
            super().stop()

    hung = Hung()
    dispatcher.register_result_producer(hung, "t", start=True)
    dispatcher.register_result_listener(log, "t", start=True)
    dispatcher.start()
    ended(dispatcher.send_request("t"))
    before = time.process_time()
    dispatcher.stop(drain=None)
    over(dispatcher, log)
    assert time.process_time() - before < 0.1
    assert hung.is_alive()
    gate.set()
    over(hung)


def test_a_stop_without_a_start_when_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As at the exit of the interpreter, from Python 3.12 on: it is done on the spot."""

    def none_left(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    dispatcher, producer = Dispatcher(), Answer()
    dispatcher.register_result_producer(producer, "t", start=True)
    handle = dispatcher.send_request("t", ttl=None)
    with monkeypatch.context() as patch:
        patch.setattr("_thread.start_new_thread", none_left)
        dispatcher.stop()
    over(producer)
    assert handle.completion is Completion.STOPPED


def test_a_start_that_failed_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then the producer counts as not started."""

    def none_left(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    producer = Answer(lambda topic: 1)
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(producer, "t")
        with monkeypatch.context() as patch:
            name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
            patch.setattr(threading, name, none_left)
            with pytest.raises(RuntimeError):
                producer.start()
        missed = dispatcher.send_request("t", ttl=1)
        ended(missed)
        assert only(missed).standing is Standing.NOT_STARTED
        producer.start()
        assert dispatcher.send_request("t", ttl=None).results() == [1]


def test_a_diagnosing_dispatcher_tells_where_a_producer_hung(gated: Gated) -> None:
    """On real time: its own code and what that waits in, as it was at the deadline."""
    with Dispatcher(diagnose=True) as dispatcher:
        dispatcher.register_result_producer(gated, "t", start=True)
        handle = dispatcher.send_request("t", ttl=None)
        came(gated.entered)
        missed = dispatcher.send_request("t", ttl=1)
        ended(missed)
        handle.cancel()
        ended(handle)
        gated.gate.set()
        stack = only(handle).stack
        assert "in produce_dispatcher_output\n" in stack
        assert "self.gate.wait(" in stack
        assert "_desk.py" not in stack
        assert only(missed).stack is None


class Nameless(Answer):
    """Its name cannot be told once it has been lost."""

    lost = False

    @property
    def name(self) -> str:  # type: ignore[override]
        if self.lost:
            raise LookupError("the name is lost")
        return "nameless"

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError


def test_a_name_that_cannot_be_told_ends_no_thread() -> None:
    """Not the keeper's, the producer's, the listener's or the observers'."""

    class Deaf(Recorder):
        lost = False
        name = Nameless.name  # type: ignore[assignment]

        def process_dispatcher_result(self, topic: Any, response: Any) -> None:
            super().process_dispatcher_result(topic, response)
            raise ZeroDivisionError

    class Hook:
        def __call__(self, event: Any) -> None:
            raise ZeroDivisionError

        def __getattr__(self, name: str) -> Any:
            raise LookupError(name)

    dispatcher, producer, unstarted = Dispatcher(), Nameless(), Nameless()
    quick, listener = Answer(), Deaf()
    events: List[Any] = []
    dispatcher.add_hook(Hook())
    dispatcher.add_hook(events.append)
    with dispatcher:
        for each in (producer, quick):
            dispatcher.register_result_producer(each, "t", start=True)
        dispatcher.register_result_producer(unstarted, "t")
        dispatcher.register_result_listener(listener, "t", start=True)
        for each in (producer, unstarted, listener):
            each.lost = True
        for _ in range(2):
            handle = dispatcher.send_request("t", ttl=1)
            ended(handle)
            assert len(str(handle.report()).splitlines()) == 4
        handle = dispatcher.send_request("t", ttl=None)
        listener.after(1)
        handle.cancel()
        settle(dispatcher)
        for each in (producer, unstarted, listener):
            each.lost = False
    assert len([event for event in events if "at 0x" in str(event)]) > 5


def test_a_stopped_producer_finishes_what_is_queued(gated: Gated) -> None:
    """Producer.stop() ends its thread behind the last request it was sent; later ones find it
    DECLINED.
    """
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(gated, "t", start=True)
        handles = [dispatcher.send_request("t", n, ttl=None) for n in range(4)]
        came(gated.entered)
        gated.stop()
        assert gated.is_alive()
        gated.gate.set()
        over(gated)
        assert [handle.results(PATIENCE) for handle in handles] == [[(n,)] for n in range(4)]
        late = dispatcher.send_request("t", ttl=None)
        ended(late)
        assert only(late).verdict is Verdict.DECLINED
        assert late.completion is Completion.ALL_REPLIED
        assert not late.report().complete


def test_what_is_sent_behind_a_producers_stop_does_not_hang(gated: Gated) -> None:
    """A request that reached the mailbox of a producer that was told to stop gets a verdict."""
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(gated, "t", start=True)
        first = dispatcher.send_request("t", ttl=None)
        came(gated.entered)
        gated.stop()
        behind = dispatcher.send_request("t", ttl=None)
        gated.gate.set()
        ended(first, behind)
        assert only(first).verdict is Verdict.OK
        assert only(behind).verdict in (Verdict.DECLINED, Verdict.MISSING)
        if only(behind).verdict is Verdict.MISSING:
            assert only(behind).standing is Standing.DEAD
        over(gated)
    sums_add_up(dispatcher)


def test_a_stopped_listener_finishes_what_is_queued() -> None:
    """ResultListener.stop() ends its thread behind the last result; the others hear on."""
    slow, listener, producer = GatedListener(), Recorder(), Answer(lambda topic, n: n)
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(producer, "t", start=True)
        dispatcher.register_result_listener(slow, "t", start=True)
        dispatcher.register_result_listener(listener, "t", start=True)
        ended(*[dispatcher.send_request("t", n, ttl=None) for n in range(3)])
        listener.after(3)
        slow.stop()
        ended(dispatcher.send_request("t", 3, ttl=None))
        slow.gate.set()
        over(slow)
        assert slow.heard == [("t", n) for n in range(3)]
        ended(dispatcher.send_request("t", 4, ttl=None))
        assert listener.after(5) == [("t", n) for n in range(5)]


# -- with, join --------------------------------------------------------------------------------


def test_with_starts_stops_and_joins_everybody() -> None:
    """Behind the block all threads have ended and every result has been heard."""
    producer, listener = Answer(lambda topic, n: n), Recorder()
    with Dispatcher() as dispatcher:
        assert dispatcher.is_alive()
        dispatcher.register_result_producer(producer, "t", start=True)
        dispatcher.register_result_listener(listener, "t", start=True)
        handles = [dispatcher.send_request("t", n, ttl=None) for n in range(200)]
    assert [thread.is_alive() for thread in (dispatcher, producer, listener)] == [False] * 3
    assert [handle.results(0) for handle in handles] == [[n] for n in range(200)]
    assert listener.heard == [("t", n) for n in range(200)]
    with pytest.raises(DispatcherStopped):
        dispatcher.send_request("t")


def test_with_takes_a_started_dispatcher_and_unstarted_participants() -> None:
    """It starts only what was not, and does not stumble over who was never started."""
    dispatcher = Dispatcher()
    dispatcher.start()
    dispatcher.register_result_producer(Answer(), "t")
    dispatcher.register_result_listener(Recorder(), "t")
    with dispatcher as same:
        assert same is dispatcher
        assert dispatcher.send_request("u").done()
    assert not dispatcher.is_alive()


def test_with_may_be_left_from_within_a_stopped_dispatcher() -> None:
    """stop() inside the block is fine."""
    with Dispatcher() as dispatcher:
        dispatcher.stop()
    assert not dispatcher.is_alive()


def test_an_exception_leaves_with_at_once(gated: Gated) -> None:
    """Nothing is drained, and the exception goes on."""

    class Oops(Exception):
        pass

    handles: List[Any] = []

    def block() -> None:
        with Dispatcher() as dispatcher:
            dispatcher.register_result_producer(gated, "t", start=True)
            handles.extend(dispatcher.send_request("t", n, ttl=None) for n in range(2))
            came(gated.entered)
            raise Oops

    with pytest.raises(Oops):
        block()
    assert [handle.completion for handle in handles] == [Completion.STOPPED] * 2
    assert only(handles[1]).verdict is Verdict.WITHDRAWN


def test_join_waits_as_long_as_it_is_told() -> None:
    """join(timeout) comes back while the dispatcher runs; join() when it has ended."""
    dispatcher = Dispatcher()
    with pytest.raises(RuntimeError):
        dispatcher.join()
    dispatcher.start()
    dispatcher.join(0)
    dispatcher.join(0.01)
    dispatcher.join(timeout=0.01)
    assert dispatcher.is_alive()
    dispatcher.stop()
    dispatcher.join(PATIENCE)
    dispatcher.join()
    assert not dispatcher.is_alive()


# -- stop from anywhere ------------------------------------------------------------------------


class Floor:
    """A started dispatcher with one producer and one listener, and a request on its way."""

    def __init__(self, produce: Callable[..., Any] = lambda *_: "value") -> None:
        self.dispatcher = Dispatcher()
        self.producer, self.listener = Answer(produce), Recorder()
        self.dispatcher.register_result_producer(self.producer, "t", start=True)
        self.dispatcher.register_result_listener(self.listener, "t", start=True)
        self.dispatcher.start()

    def stopped(self, *handles: Any) -> None:
        """Everything has ended, as it should after a stop."""
        ended(*handles)
        over(self.dispatcher, self.producer, self.listener)
        with pytest.raises(DispatcherStopped):
            self.dispatcher.send_request("t")
        sums_add_up(self.dispatcher)


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

    handles = [floor.dispatcher.send_request("busy", Argument(), ttl=5) for _ in range(20)]
    came(gated.entered)
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


# -- threads that die --------------------------------------------------------------------------


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


@pytest.mark.parametrize("registered", ["before", "after"])
@mourned
def test_a_producer_that_died_before_it_was_registered_is_declined(registered: str) -> None:
    """Dead is dead, whether it had been known or not."""
    dead = Stillborn()
    with Dispatcher() as dispatcher:
        if registered == "before":
            dispatcher.register_result_producer(dead, "t")
        dead.start()
        over(dead)
        if registered == "after":
            dispatcher.register_result_producer(dead, "t")
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


# -- exceptions and calls out of signal handlers -----------------------------------------------


class Struck(BaseException):
    """What the handler raises: as KeyboardInterrupt, no `except Exception` stops it."""


def struck() -> None:
    raise Struck


def each_moment(action: Callable[[], Any], then: Callable[[], Any]) -> int:
    """Strike *action* at each bytecode it executes in the package, *then* look; how many."""
    at = 0
    while True:
        at += 1
        try:
            if not strike(action, at, struck):
                return at
        except Struck:
            pass
        then()


def test_an_exception_at_any_moment_of_a_send() -> None:
    """Whatever it cuts short is cancelled or served; later sends are served; the sums add up."""
    floor = Floor()
    floor.dispatcher.register_result_producer(Answer(lambda *_: "other"), "t", start=True)
    returned: List[Any] = []

    def then() -> None:
        handle = floor.dispatcher.send_request("t", "after", ttl=None)
        assert sorted(handle.results(PATIENCE)) == ["other", "value"]

    moments = each_moment(
        lambda: returned.append(floor.dispatcher.send_request("t", ttl=None)), then
    )
    assert moments > 8
    for handle in returned:
        assert sorted(handle.results(PATIENCE)) == ["other", "value"]
    settle(floor.dispatcher)
    sums_add_up(floor.dispatcher)
    floor.dispatcher.stop()
    floor.stopped()


def test_an_exception_at_any_moment_of_a_send_before_the_start() -> None:
    """The same while requests are only kept."""
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(Answer(lambda *_: "value"), "t", start=True)
    returned: List[Any] = []
    each_moment(
        lambda: returned.append(dispatcher.send_request("t", ttl=None)),
        lambda: returned.append(dispatcher.send_request("t", ttl=None)),
    )
    with dispatcher:
        for handle in returned:
            assert handle.results(PATIENCE) == ["value"]
        settle(dispatcher)
        sums_add_up(dispatcher)


@pytest.mark.parametrize("side", ["producer", "listener"])
def test_an_exception_at_any_moment_of_a_registration(side: str) -> None:
    """The topic works on: a registration that is tried again holds, and so does its undoing."""
    floor = Floor()
    newcomer: Any = Answer(lambda *_: "new") if side == "producer" else Recorder()
    newcomer.start()
    register = getattr(floor.dispatcher, f"register_result_{side}")
    deregister = getattr(floor.dispatcher, f"deregister_result_{side}")

    def ask() -> List[Any]:
        heard = len(floor.listener.heard)
        handle = floor.dispatcher.send_request("t", ttl=None)
        values = sorted(handle.results(PATIENCE))
        floor.listener.after(heard + len(values))
        return values

    def then() -> None:
        assert "value" in ask()
        register(newcomer, "t")
        assert ask() == (["new", "value"] if side == "producer" else ["value"])
        deregister(newcomer, "t")
        assert ask() == ["value"]

    each_moment(lambda: register(newcomer, "t"), then)
    floor.dispatcher.stop()
    newcomer.stop()
    over(newcomer)
    floor.stopped()


@pytest.mark.parametrize("side", ["producer", "listener"])
def test_an_exception_at_any_moment_of_a_deregistration(side: str) -> None:
    """A deregistration that was cut short and is tried again holds."""
    floor = Floor(lambda topic, what: what)
    leaver: Any = Answer(lambda *_: "old") if side == "producer" else Recorder()
    leaver.start()
    register = getattr(floor.dispatcher, f"register_result_{side}")
    deregister = getattr(floor.dispatcher, f"deregister_result_{side}")
    register(leaver, "t")

    def ask(what: str) -> List[Any]:
        return sorted(floor.dispatcher.send_request("t", what, ttl=None).results(PATIENCE))

    def then() -> None:
        deregister(leaver, "t")
        assert ask("without") == ["without"]
        register(leaver, "t")
        assert ask("with") == (["old", "with"] if side == "producer" else ["with"])

    moments = each_moment(lambda: deregister(leaver, "t"), then)
    floor.dispatcher.stop()
    leaver.stop()
    over(leaver)
    floor.stopped()
    if side == "listener":
        assert leaver.heard == [("t", "with")] * (moments - 1)


def test_an_exception_at_any_moment_of_the_last_deregistration() -> None:
    """The same where the topic itself goes, and is then registered for anew."""
    producer = Answer(lambda *_: "value")
    with Dispatcher() as dispatcher:
        producer.start()
        dispatcher.register_result_producer(producer, "t")

        def then() -> None:
            dispatcher.deregister_result_producer(producer, "t")
            handle = dispatcher.send_request("t", ttl=None)
            assert handle.completion is Completion.NO_PRODUCERS
            dispatcher.register_result_producer(producer, "t")
            assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["value"]

        each_moment(lambda: dispatcher.deregister_result_producer(producer, "t"), then)


@pytest.mark.parametrize("way", ["wait", "results", "iterate"])
def test_an_exception_at_any_moment_of_a_wait(way: str) -> None:
    """The request goes on and can be waited for again."""
    gated = Gated()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(gated, "t", start=True)
        handle = dispatcher.send_request("t", 1, ttl=None)
        came(gated.entered)
        waits = {
            "wait": lambda: handle.wait(0.001),
            "results": lambda: handle.results(0.001),
            "iterate": lambda: handle.cancelled,
        }
        if way == "iterate":
            # It has no timeout: the end comes while it waits.
            def iterate() -> None:
                again = dispatcher.send_request("u", ttl=1)
                assert list(again) == []

            dispatcher.register_result_producer(gated, "u")
            waits["iterate"] = iterate

        def wait() -> None:
            try:
                waits[way]()
            except TimeoutError:
                pass

        each_moment(wait, lambda: None)
        assert not handle.done()
        gated.gate.set()
        assert handle.results(PATIENCE) == [(1,)]
        settle(dispatcher)
        sums_add_up(dispatcher)
    over(gated)


CALLS = ["send", "register", "deregister", "cancel", "add_hook", "statistics", "add_done_callback"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("interrupted", ["send", "register", "deregister", "wait"])
def test_calls_from_a_handler_that_interrupts_a_call(interrupted: str, call: str) -> None:
    """At each moment of a call of ours another one may be made, and both do what they promise."""
    floor, newcomer, visitor = Floor(), Answer(lambda *_: "new"), Answer(lambda *_: "visitor")
    for thread in (newcomer, visitor):
        thread.start()
    dispatcher = floor.dispatcher
    open_one = dispatcher.send_request("t", ttl=None)
    served: List[Any] = []
    inner: Any = {
        "send": lambda: served.append(dispatcher.send_request("t", ttl=None)),
        "register": lambda: dispatcher.register_result_producer(visitor, "t"),
        "deregister": lambda: dispatcher.deregister_result_producer(newcomer, "t"),
        "cancel": lambda: dispatcher.send_request("t", ttl=None).cancel(),
        "add_hook": lambda: (dispatcher.add_hook(id), dispatcher.remove_hook(id)),
        "statistics": lambda: isinstance(dispatcher.statistics(), Statistics) or struck(),
        "add_done_callback": lambda: open_one.add_done_callback(id),
    }
    outer: Any = {
        "send": lambda: served.append(dispatcher.send_request("t", ttl=None)),
        "register": lambda: dispatcher.register_result_producer(newcomer, "t"),
        "deregister": lambda: dispatcher.deregister_result_producer(newcomer, "t"),
        "wait": lambda: dispatcher.send_request("t", ttl=None).results(PATIENCE),
    }
    at = 1
    while strike(outer[interrupted], at, inner[call]):
        at += 1
        values = dispatcher.send_request("t", ttl=None).results(PATIENCE)
        assert "value" in values
        if call == "register":
            assert "visitor" in values
            dispatcher.deregister_result_producer(visitor, "t")
            values.remove("visitor")
        if interrupted == "register" and call != "deregister":
            assert "new" in values
        if interrupted == "deregister":
            assert "new" not in values
        dispatcher.deregister_result_producer(newcomer, "t")
        if interrupted == "deregister":
            dispatcher.register_result_producer(newcomer, "t")
    ended(*served)
    assert all(handle.completion is Completion.ALL_REPLIED for handle in served)
    settle(dispatcher)
    sums_add_up(dispatcher)
    dispatcher.stop()
    for thread in (newcomer, visitor):
        thread.stop()
    over(newcomer, visitor)
    floor.stopped()


@pytest.mark.parametrize("done", [False, True], ids=["stop", "stop and wait for it"])
@pytest.mark.parametrize("started", [True, False], ids=["started", "not started"])
def test_a_stop_from_a_handler_that_interrupts_a_send(started: bool, done: bool) -> None:
    """At each moment: the send raises DispatcherStopped, or its handle ends; the sums add up also
    if the dispatcher has ended before the send goes on.
    """
    at, more = 1, True
    while more:
        dispatcher, producer = Dispatcher(), Answer()
        dispatcher.register_result_producer(producer, "t", start=True)
        if started:
            dispatcher.start()
        returned: List[Any] = []

        def send(dispatcher: Any = dispatcher, returned: Any = returned) -> None:
            returned.append(dispatcher.send_request("t", ttl=None))

        def stop(dispatcher: Any = dispatcher) -> None:
            dispatcher.stop(immediate=done)
            if started and done:
                over(dispatcher)

        try:
            more = strike(send, at, stop)
        except DispatcherStopped:
            pass
        if not more:
            dispatcher.stop()
        try:
            for handle in returned:
                assert handle.wait(5), f"struck at moment {at}"
        finally:
            if not started:
                dispatcher.start()
            producer.stop()
        over(dispatcher, producer)
        # What was never started is tidied up on a thread that nobody can join: look until it has.
        deadline = time.perf_counter() + (0 if started else PATIENCE)
        while dispatcher.statistics().open and time.perf_counter() < deadline:
            pass
        sums_add_up(dispatcher)
        at += 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")
def test_ctrl_c_in_a_storm_of_calls() -> None:
    """KeyboardInterrupts by the thousand during sends, registrations and waits: the dispatcher
    stays usable, and every send that returned is served.
    """
    done = python(
        """
        import signal, threading
        from ate_dispatcher import Completion, Dispatcher, Producer, ResultListener

        class Site(Producer):
            def produce_dispatcher_output(self, topic, *args, **kwargs):
                return args

        class Log(ResultListener):
            def process_dispatcher_result(self, topic, response):
                pass

        armed = False
        hits = 0

        def handler(*_):
            global armed, hits
            if armed:
                armed = False
                hits += 1
                raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, handler)
        dispatcher = Dispatcher()
        dispatcher.start()
        site, guest, log, ears = Site(), Site(), Log(), Log()
        for thread in (guest, ears):
            thread.start()
        dispatcher.register_result_producer(site, 't', start=True)
        dispatcher.register_result_listener(log, 't', start=True)
        kept = []

        def step(n):
            kept.append(dispatcher.send_request('t', n, ttl=None))
            dispatcher.register_result_producer(guest, 't')
            dispatcher.register_result_listener(ears, 't')
            dispatcher.register_result_producer(guest, 'u')
            if n % 4 == 0:
                kept[-1].wait(30)
            dispatcher.deregister_result_producer(guest, 't')
            dispatcher.deregister_result_listener(ears, 't')
            dispatcher.deregister_result_producer(guest, 'u')

        def storm():
            global armed, n
            armed = True
            while n < 3000:
                n += 1
                step(n)
            armed = False

        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0003)
        n = 0
        while n < 3000:
            # The handler disarms itself, so it can only raise where it is caught.
            try:
                storm()
            except KeyboardInterrupt:
                pass
        signal.setitimer(signal.ITIMER_REAL, 0)

        late = [handle.id for handle in kept if not handle.wait(20)]
        assert not late, f'never ended: {late[:5]} of {len(kept)}'
        odd = {handle.completion for handle in kept} - {Completion.ALL_REPLIED}
        assert not odd, odd
        dispatcher.deregister_result_producer(guest, 't')
        dispatcher.deregister_result_producer(guest, 'u')
        assert dispatcher.send_request('t', 7, ttl=None).results(20) == [(7,)], 'still asked'
        assert dispatcher.send_request('u').completion is Completion.NO_PRODUCERS
        seen = threading.Event()
        dispatcher.send_request('nobody').add_done_callback(lambda _: seen.set())
        assert seen.wait(20)
        sums = dispatcher.statistics()
        assert sums.open == 0, sums
        assert sums.fan_out == sum(sums.verdicts.values()), sums
        dispatcher.stop()
        dispatcher.join(20)
        assert not dispatcher.is_alive()
        print(len(kept), hits)
        """
    )
    assert done.returncode == 0, done.stderr
    kept, hits = map(int, done.stdout.split())
    assert kept > 500
    assert hits > 20


# -- the end of the interpreter ----------------------------------------------------------------

CAST = """
    import sys, threading, time
    from ate_dispatcher import Completion, Dispatcher, Producer, ResultListener

    class Site(Producer):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            return args

    class Log(ResultListener):
        def __init__(self):
            super().__init__()
            self.heard = []

        def process_dispatcher_result(self, topic, response):
            self.heard.append(response)
"""


def test_a_forgotten_stop_loses_no_result() -> None:
    """What a listener takes within the time at the exit, it gets, although nobody waited."""
    done = python(
        CAST
        + """
    import atexit

    class Slow(Log):
        def process_dispatcher_result(self, topic, response):
            started.wait(30)
            super().process_dispatcher_result(topic, response)
            if len(self.heard) == 50:
                sys.stdout.write('all heard')
                sys.stdout.flush()

    started = threading.Event()
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(Site(), 't', start=True)
    dispatcher.register_result_listener(Slow(), 't', start=True)
    dispatcher.start()
    for n in range(50):
        dispatcher.send_request('t', n)
    atexit.register(started.set)
    """,
        *STRICT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "all heard", "")


def test_a_forgotten_stop_lets_the_interpreter_go_at_once_when_nothing_is_open() -> None:
    """Idle dispatchers and participants cost no time at the exit, however many there are."""
    took = seconds_to_exit(
        CAST
        + """
    kept = []
    for n in range(20):
        dispatcher = Dispatcher()
        dispatcher.register_result_producer(Site(), 't', start=True)
        dispatcher.register_result_listener(Log(), 't', start=True)
        dispatcher.add_hook(lambda event: None)
        dispatcher.start()
        assert dispatcher.send_request('t', 1, ttl=None).results(30) == [(1,)]
        kept.append(dispatcher)
    print('the end', flush=True)
    """,
        limit=PATIENCE,
    )
    assert took < 1.9


def test_overridden_stops_are_called_at_the_exit() -> None:
    """Participants that close an instrument in stop() do so for a forgotten stop too."""
    done = python(
        CAST
        + """
    class Instrument(Site):
        def stop(self):
            sys.stdout.write('closed')
            sys.stdout.flush()
            super().stop()

    dispatcher = Dispatcher()
    dispatcher.register_result_producer(Instrument(), 't', start=True)
    dispatcher.start()
    """,
        *STRICT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed", "")


HUNG = {
    "producer": """
    class Hung(Site):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            entered.set()
            threading.Event().wait()

    hung, log = Hung(), Log()
    """,
    "listener": """
    class Hung(Log):
        def process_dispatcher_result(self, topic, response):
            entered.set()
            threading.Event().wait()

    hung, log = Site(), Hung()
    """,
    "hook": """
    hung, log = Site(), Log()
    dispatcher.add_hook(lambda event: entered.set() or threading.Event().wait())
    """,
    "stop": """
    class Hung(Site):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            entered.set()

        def stop(self):
            threading.Event().wait()

    hung, log = Hung(), Log()
    """,
}


@UNHURRIED
def test_nobody_who_hangs_hangs_the_interpreter() -> None:
    """A producer, listener, hook or stop() that never returns: the exit comes within the drain
    time and the listeners' time, 5 seconds with all that is around it.
    """

    def exit_with(who: str) -> float:
        return seconds_to_exit(
            CAST
            + """
    entered = threading.Event()
    dispatcher = Dispatcher()
    dispatcher.start()
    """
            + HUNG[who]
            + """
    dispatcher.register_result_producer(hung, 't', start=True)
    dispatcher.register_result_listener(log, 't', start=True)
    dispatcher.send_request('t', ttl=None)
    assert entered.wait(30)
    print('the end', flush=True)
    """,
            limit=PATIENCE,
        )

    with ThreadPoolExecutor(len(HUNG)) as pool:
        took = dict(zip(HUNG, pool.map(exit_with, HUNG)))
    assert max(took.values()) < 5, took


def test_a_dispatcher_that_is_joined_keeps_a_program_alive() -> None:
    """What shall live on after its main thread's work calls join(): until somebody stops it."""
    done = python(
        CAST
        + """
    class Quit(Site):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            dispatcher.stop()

    dispatcher = Dispatcher()
    dispatcher.register_result_producer(Quit(), 't', start=True)
    dispatcher.start()
    threading.Thread(target=lambda: dispatcher.send_request('t')).start()
    dispatcher.join()
    print('stopped')
    """,
        *STRICT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")


# -- fork --------------------------------------------------------------------------------------

FORKED = """
    import os, warnings
    warnings.simplefilter('ignore', DeprecationWarning)

    def in_child(check):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                check()
                status = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status

    class Hung(Site):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            entered.set()
            gate.wait(60)
            return args

    entered, gate = threading.Event(), threading.Event()
    dispatcher = Dispatcher(name='original')
    site, hung, log = Site(), Hung(), Log()
    dispatcher.register_result_producer(site, 't', start=True)
    dispatcher.register_result_producer(hung, 'hung', start=True)
    dispatcher.register_result_listener(log, 't', start=True)
    dispatcher.start()
    assert dispatcher.send_request('t', 1, ttl=None).results(30) == [(1,)]
    handles = [dispatcher.send_request('hung', n, ttl=None) for n in range(3)]
    entered.wait(30)
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
def test_a_forked_childs_copy_is_stopped_and_says_so() -> None:
    """It refuses, its open handles have ended, its methods do not hang; the parent's go on."""
    silent(
        CAST
        + FORKED
        + """
    def check():
        from ate_dispatcher import DispatcherStopped
        for deed in (lambda: dispatcher.send_request('t'),
                     lambda: dispatcher.register_result_producer(Site(), 't'),
                     lambda: dispatcher.register_result_listener(Log(), 't')):
            try:
                deed()
            except DispatcherStopped as refusal:
                assert 'fork' in str(refusal) and 'original' in str(refusal), refusal
            else:
                raise AssertionError('not refused')
        for handle in handles:
            assert handle.wait(10)
            assert handle.completion is Completion.STOPPED
            assert handle.results(10) == []
            assert list(handle) == []
            str(handle.report())
            handle.cancel()
        dispatcher.deregister_result_producer(site, 't')
        dispatcher.deregister_result_listener(log, 't')
        dispatcher.stop()
        dispatcher.stop(immediate=True)
        dispatcher.join(10)
        assert not dispatcher.is_alive()
        assert dispatcher.statistics().open == 0

    in_child(check)
    gate.set()
    assert [handle.results(30) for handle in handles] == [[(0,)], [(1,)], [(2,)]]
    assert dispatcher.send_request('t', 2, ttl=None).results(30) == [(2,)]
    dispatcher.stop()
    dispatcher.join(30)
    assert not dispatcher.is_alive()
    """
    )


@needs_fork
def test_a_new_dispatcher_works_in_a_forked_child() -> None:
    """With new participants, through a whole session, and the child exits by itself."""
    silent(
        CAST
        + FORKED
        + """
    def check():
        log = Log()
        with Dispatcher() as new:
            new.register_result_producer(Site(), 't', start=True)
            new.register_result_listener(log, 't', start=True)
            assert new.send_request('t', 5, ttl=None).results(30) == [(5,)]
        assert log.heard == [(5,)], log.heard

    in_child(check)

    # Through the ordinary end of the interpreter as well.
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        gate.set()
    else:
        new = Dispatcher()
        new.register_result_producer(Site(), 't', start=True)
        new.start()
        assert new.send_request('t', 6, ttl=None).results(30) == [(6,)]
    """
    )


@needs_fork
def test_a_participant_copied_by_a_fork_has_no_thread() -> None:
    """Registered with a new dispatcher in the child it is DECLINED, as any whose thread ended."""
    silent(
        CAST
        + FORKED
        + """
    def check():
        from ate_dispatcher import Verdict
        with Dispatcher() as new:
            new.register_result_producer(site, 't')
            new.register_result_producer(Site(), 't', start=True)
            handle = new.send_request('t', 5, ttl=None)
            assert handle.wait(5), str(handle.report())
            verdicts = [member.verdict for member in handle.report().members]
            assert verdicts == [Verdict.DECLINED, Verdict.OK], verdicts

    in_child(check)
    gate.set()
    """
    )


@needs_fork
def test_a_done_callback_in_a_forked_child_is_called() -> None:
    """For a handle whose dispatcher is a stopped copy it comes at once."""
    silent(
        CAST
        + FORKED
        + """
    def check():
        called = threading.Event()
        handles[0].add_done_callback(lambda handle: called.set())
        assert called.wait(5)

    in_child(check)
    gate.set()
    """
    )


# -- nothing is left ---------------------------------------------------------------------------


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
