"""The graceful stop, `with` and `join`: what runs to its end, and how long that may take."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, List

import pytest
from rig import (
    PATIENCE,
    Answer,
    Gated,
    GatedListener,
    Recorder,
    came,
    ended,
    gated,
    only,
    over,
    pace,
    settle,
    sums_add_up,
)

from ate_dispatcher import Completion, Dispatcher, DispatcherStopped, Standing, Verdict

__all__ = ["gated", "pace"]

pytestmark = pytest.mark.usefixtures("pace")


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
