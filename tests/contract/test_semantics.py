"""What requests, producers, listeners and observers can rely on; on virtual time throughout.

Each test is one claim of the contract. The fixture ``world`` checks at the end of every test that
the sums add up: nobody is judged twice, nobody is forgotten.
"""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import numbers
import pickle
import re
import sys
import threading
import weakref
from dataclasses import FrozenInstanceError
from decimal import Decimal
from fractions import Fraction
from typing import Any, Callable, List, Tuple

import inside
import pytest
from rig import all_told, observers
from virtual import (
    FOREVER,
    Attentive,
    Hearing,
    Payload,
    World,
    errors,
    gone,
    logged,
    sums_add_up,
    verdicts,
    world,
)

from ate_dispatcher import (
    Completion,
    Dispatcher,
    DispatcherError,
    DispatcherStopped,
    IncompleteError,
    Producer,
    Reply,
    RequestTimeout,
    ResultListener,
    Standing,
    Verdict,
    current_request,
    events,
)
from ate_dispatcher.testing import VirtualClock

__all__ = ["world"]


def just_after(instant: float) -> float:
    """The next float; math.nextafter is younger than Python 3.8."""
    return instant * (1 + 2.0**-52)


class Volts:
    """A number of somebody else's making, as numpy's scalars are to us."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __float__(self) -> float:
        return self._value

    def __ge__(self, other: Any) -> bool:
        return self._value >= other

    def __repr__(self) -> str:
        return f"Volts({self._value})"


numbers.Real.register(Volts)


def scalar(value: float) -> Any:
    """A numpy scalar where there is numpy."""
    try:
        import numpy  # noqa: ICN001
    except ImportError:
        return Volts(value)
    return numpy.float32(value)


# -- units -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ttl", [250, 250.0, Fraction(250), Fraction(500, 2), Volts(250.0), scalar(250.0)], ids=repr
)
def test_a_ttl_is_any_real_number_of_milliseconds(world: World, ttl: Any) -> None:
    """What counts is the value: the request ends 250 ms after the send, whatever its type."""
    world.producer(FOREVER)
    handle = world.send(ttl=ttl)
    assert handle.report().ttl_ms == 250
    assert handle.results() == []
    assert handle.completion is Completion.DEADLINE
    assert world.clock.now() == just_after(0.25)


@pytest.mark.parametrize("ttl", [None, float("inf"), 10**400, Fraction(10**400)], ids=str)
def test_what_no_clock_can_count_is_no_deadline(world: World, ttl: Any) -> None:
    """None, infinity and a number beyond all floats set no deadline."""
    world.producer(1e8)
    handle = world.send(ttl=ttl)
    assert handle.report().ttl_ms is None
    world.clock.advance(1e8 - 1)
    assert not handle.done()
    assert handle.results() == ["value"]


@pytest.mark.parametrize("ttl", [1e15, 10**15, 10**30, 1e300])
def test_a_ttl_may_have_any_size(world: World, ttl: Any) -> None:
    """A huge one is a deadline all the same; in time is in time."""
    world.producer(1000)
    handle = world.send(ttl=ttl)
    assert handle.report().ttl_ms == pytest.approx(float(ttl))
    assert handle.results() == ["value"]


@pytest.mark.parametrize("ttl", [1e12, 1e300, 10**400])
def test_a_real_wait_for_a_huge_ttl_is_clamped(ttl: Any) -> None:
    """No system call can wait for thirty years; ours ask for less, and still see to things."""
    with Dispatcher() as dispatcher:
        gate, producer = threading.Event(), GatedOnce()
        dispatcher.register_result_producer(producer, "t", start=True)
        handle = dispatcher.send_request("t", gate, ttl=ttl)
        assert not handle.wait(0)
        with pytest.raises(RequestTimeout):
            handle.results(timeout=Fraction(0))
        handle.cancel()
        assert handle.wait(1e300)
        gate.set()
    assert handle.completion is Completion.CANCELLED


@pytest.mark.parametrize(
    ("ttl", "kind"),
    [
        ("250", TypeError),
        (b"1", TypeError),
        (True, TypeError),
        (False, TypeError),
        (Decimal(5), TypeError),
        (1j, TypeError),
        ([1], TypeError),
        (object, TypeError),
        (-1, ValueError),
        (-0.001, ValueError),
        (Fraction(-1, 10**9), ValueError),
        (-(10**400), ValueError),
        (float("-inf"), ValueError),
        (float("nan"), ValueError),
        (Volts(-1.0), ValueError),
    ],
    ids=lambda ttl: str(ttl)[:12],
)
def test_what_is_no_duration_is_refused_at_the_call(world: World, ttl: Any, kind: Any) -> None:
    """The error names parameter and value, and the refused request leaves no trace."""
    world.producer()
    for call in (world.send, world.dispatcher.options):
        with pytest.raises(kind) as caught:
            call(ttl=ttl)
        assert "ttl" in str(caught.value)
        assert repr(ttl) in str(caught.value)
    with pytest.raises(kind) as caught:
        world.dispatcher.stop(drain=ttl)
    assert "drain" in str(caught.value)
    assert repr(ttl) in str(caught.value)
    assert world.dispatcher.statistics().requests == 0
    assert world.send().results() == ["value"]


@pytest.mark.parametrize("timeout", ["1", True, float("nan"), 1j], ids=str)
def test_what_is_no_timeout_is_refused_at_the_call(world: World, timeout: Any) -> None:
    """`timeout` is in seconds and named in the error; the request goes on."""
    world.producer(10)
    handle = world.send()
    for wait in (handle.wait, handle.results):
        with pytest.raises((TypeError, ValueError), match="timeout must be a number of seconds"):
            wait(timeout)
    assert handle.results(timeout=1) == ["value"]


def test_timeout_is_in_seconds_and_ttl_in_milliseconds(world: World) -> None:
    """A wait of 0.5 passes 500 of the request's 1000 ms."""
    world.producer(FOREVER)
    handle = world.send(ttl=1000)
    assert not handle.wait(0.5)
    assert (world.clock.now(), handle.done()) == (0.5, False)
    assert not handle.wait(-1)
    assert world.clock.now() == 0.5
    assert handle.wait(0.75)


def test_a_ttl_of_zero_asks_for_what_is_there_at_once(world: World) -> None:
    """An answer of the same instant is in time, one of the next is not."""
    world.producer(0, "prompt")
    world.producer(1e-6, "slow")
    handle = world.send(ttl=0)
    assert handle.results() == ["prompt"]
    assert handle.completion is Completion.DEADLINE


def test_the_default_ttl_is_five_seconds(world: World) -> None:
    """As in 0.1.0."""
    world.producer(5001)
    handle = world.dispatcher.send_request("t")
    assert handle.report().ttl_ms == 5000
    assert handle.results() == []


# -- cutoff ------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0.0, 1000.1, 1e7 + 1 / 3])
def test_exactly_at_the_deadline_is_in_time(start: float) -> None:
    """Also if the keeper wakes for that deadline."""
    world = World(at=start)
    world.producer(250)
    assert world.send(ttl=250).results() == ["value"]
    world.producer(FOREVER, topic="u")
    world.producer(250, topic="u")
    assert world.send(ttl=250, topic="u").results() == ["value"]
    world.close()


@pytest.mark.parametrize("error", [None, ValueError("late")])
@pytest.mark.parametrize("keeper_first", [True, False])
def test_one_step_of_a_float_after_the_deadline_is_late(
    world: World, keeper_first: bool, error: Any
) -> None:
    """The stamp decides, whether the expiry or the answer comes first at that instant."""
    late_ms = just_after(0.25) * 1000
    world.producer(late_ms, error or "value")
    assert late_ms / 1000 == just_after(0.25)
    if keeper_first:
        world.clock.settle()
    listener = world.listener(Attentive)
    handle = world.send(ttl=250)
    if keeper_first:
        world.clock.settle()
    assert handle.results() == []
    assert world.clock.now() == just_after(0.25)
    world.clock.advance(1)
    assert handle.completion is Completion.DEADLINE
    assert verdicts(handle) == ["LATE"]
    assert 0 < handle.report().members[0].late_ms < 1e-12  # type: ignore[operator]
    assert [report.completion for report in listener.heard] == [Completion.DEADLINE]


def test_results_come_in_the_order_of_arrival(world: World) -> None:
    """Not in that of the roster; elapsed_ms tells when."""
    for ms in (30, 10, 20):
        world.producer(ms, ms)
    handle = world.send()
    assert handle.results() == [10, 20, 30]
    assert [r.elapsed_ms for r in handle.replies] == pytest.approx([10, 20, 30])


def test_the_published_case_of_0_1_0(world: World) -> None:
    """Producers of 1000 and 500 ms: a ttl of 4000 takes both, one of 600 the faster one."""
    ears = [world.listener(), world.listener()]
    world.producer(1000, "slow")
    world.producer(500, "fast")
    assert world.send(ttl=4000).results() == ["fast", "slow"]
    world.clock.settle()
    assert [ear.heard for ear in ears] == [["fast", "slow"]] * 2
    assert world.send(ttl=600).results() == ["fast"]
    world.clock.advance(2000)
    assert [ear.heard for ear in ears] == [["fast", "slow", "fast"]] * 2


def test_it_ends_at_the_deadline_although_no_reply_comes(world: World) -> None:
    """And each at its own, in whatever order they were sent."""
    world.producer(FOREVER)
    ends: List[Tuple[int, float]] = []
    handles = [world.send(ttl=ttl) for ttl in (300, 100, 200, 100)]
    for handle in handles:
        handle.add_done_callback(lambda h: ends.append((h.id, world.clock.now())))
    world.clock.advance(1000)
    first, second, third, fourth = (handle.id for handle in handles)
    assert [number for number, _ in ends] == [second, fourth, third, first]
    assert [at for _, at in ends] == pytest.approx([0.1, 0.1, 0.2, 0.3])
    assert all(h.completion is Completion.DEADLINE for h in handles)


def test_a_deadline_is_counted_from_the_send(world: World) -> None:
    """Time in the mailbox is part of it: the third of three 40 ms jobs misses 100 ms."""
    producer = world.producer(40)
    handles = [world.send(n, ttl=100) for n in range(3)]
    assert [handle.results() for handle in handles] == [["value"], ["value"], []]
    world.clock.advance(100)
    assert verdicts(handles[2]) == ["LATE"]
    assert len(producer.asked) == 3


def test_a_slow_listener_and_a_burst_make_no_timely_reply_late(world: World) -> None:
    """Nothing queues between a producer and the ledger."""
    world.listener(ms=10_000)
    world.producer(0)
    handles = [world.send(ttl=1) for _ in range(50)]
    assert [handle.results() for handle in handles] == [["value"]] * 50
    assert world.clock.now() == 0


# -- roster ------------------------------------------------------------------------------------


def test_who_is_asked_is_fixed_at_the_send(world: World) -> None:
    """One who registers a moment later is asked by the next request only."""
    world.producer(10, "first")
    handle = world.send()
    world.producer(0, "second")
    assert handle.results() == ["first"]
    assert world.send().results() == ["second", "first"]


def test_the_roster_has_the_order_of_registration(world: World) -> None:
    """Also after somebody left and came back: then he is last."""
    one, two, three = [world.producer(name=name) for name in ("one", "two", "three")]
    assert [m.producer for m in world.send().report().members] == ["one", "two", "three"]
    world.dispatcher.deregister_result_producer(one, "t")
    world.dispatcher.register_result_producer(one, "t")
    world.dispatcher.register_result_producer(two, "t")
    handle = world.send()
    assert handle.missing == (two, three, one)
    assert len(handle.results()) == 3


def test_a_deregistered_producer_still_answers_what_it_was_asked(world: World) -> None:
    """Running or queued; but nothing sent later."""
    producer = world.producer(10)
    handles = [world.send(), world.send()]
    assert not handles[0].wait(0.005)
    world.dispatcher.deregister_result_producer(producer, "t")
    later = world.send()
    assert later.completion is Completion.NO_PRODUCERS
    assert [handle.results() for handle in handles] == [["value"], ["value"]]


def test_who_hears_a_result_is_fixed_when_it_is_accepted(world: World) -> None:
    """A listener that came after the send hears it; one that left before does not."""
    world.producer(10)
    leaves, stays = world.listener(), world.listener()
    handle = world.send()
    comes = world.listener()
    world.dispatcher.deregister_result_listener(leaves, "t")
    assert handle.results() == ["value"]
    too_late = world.listener()
    world.clock.settle()
    assert [ear.heard for ear in (leaves, stays, comes, too_late)] == [
        [],
        ["value"],
        ["value"],
        [],
    ]


def test_a_listener_that_leaves_still_hears_what_was_accepted_before(world: World) -> None:
    """It is in its mailbox already."""
    world.producer(0)
    listener = world.listener(ms=100)
    for _ in range(3):
        assert world.send().results() == ["value"]
    world.dispatcher.deregister_result_listener(listener, "t")
    world.clock.advance(1000)
    assert listener.heard == ["value"] * 3


@pytest.mark.parametrize("topic", ["", ("a", 1), None, 7, frozenset("x"), b"t"], ids=repr)
def test_any_hashable_is_a_topic(world: World, topic: Any) -> None:
    """As in 0.1.0, though topics are meant to be strings."""
    listener = world.listener(topic=topic)
    world.producer(answer=lambda topic: topic, topic=topic)
    assert world.send(topic=topic).results() == [topic]
    world.clock.settle()
    assert listener.heard == [topic]


def test_an_unhashable_topic_is_refused_at_the_call(world: World) -> None:
    """Wherever a topic is named; and nobody is registered by half."""
    with pytest.raises(TypeError, match="topic must be hashable, not list"):
        world.send(topic=[])
    producer = world.producer()
    with pytest.raises(TypeError, match="topic must be hashable, not dict"):
        world.dispatcher.register_result_producer(producer, "u", {})  # type: ignore[arg-type]
    assert world.send(topic="u").completion is Completion.NO_PRODUCERS


def test_topics_nobody_is_registered_for_leave_nothing_behind(world: World) -> None:
    """Neither asked for in vain nor deregistered again."""
    producer = world.producer(0)
    for n in range(100):
        world.send(topic=f"unknown {n}")
        world.dispatcher.register_result_producer(producer, f"for a while {n}")
        world.send(topic=f"for a while {n}")
        world.dispatcher.deregister_result_producer(producer, f"for a while {n}")
        world.dispatcher.deregister_result_producer(producer, f"never {n}")
    world.clock.advance(1)
    registry = inside.registry_of(world.dispatcher)
    assert list(registry.channels) == ["t"]
    assert not registry._retired


# -- verdicts ----------------------------------------------------------------------------------


def test_while_it_is_open_a_member_without_answer_has_a_standing(world: World) -> None:
    """And no verdict yet; the report is a snapshot of now."""
    world.producer(10, "quick")
    world.producer(FOREVER)
    world.producer(start=False)
    busy = world.producer([100, 0], topic="u")
    world.send(topic="u", ttl=None)
    world.clock.settle()
    world.dispatcher.register_result_producer(busy, "t")
    handle = world.send(ttl=50)
    assert verdicts(handle) == ["open(QUEUED)", "open(QUEUED)", "open(NOT_STARTED)", "open(QUEUED)"]
    world.clock.advance(20)
    before = handle.report()
    assert verdicts(handle) == ["OK", "open(RUNNING)", "open(NOT_STARTED)", "open(QUEUED)"]
    waited = [member.waited_ms for member in before.members]
    ran = [member.ran_ms for member in before.members]
    assert waited == pytest.approx([0, 0, 20, 20])
    assert ran == [pytest.approx(10), pytest.approx(20), None, None]
    assert (before.completion, before.complete, before.elapsed_ms) == (None, False, 20)
    handle.wait()
    assert before.completion is None
    assert verdicts(handle)[1:] == ["MISSING(RUNNING)", "MISSING(NOT_STARTED)", "MISSING(QUEUED)"]


def test_ok_and_error_are_verdicts_of_an_answer_in_time(world: World) -> None:
    """An exception is an answer: the request is over, and not complete."""
    world.producer(10)
    world.producer(20, KeyError("k"))
    handle = world.send()
    assert handle.results() == ["value"]
    report = handle.report()
    assert verdicts(handle) == ["OK", "ERROR"]
    assert report.completion is Completion.ALL_REPLIED
    assert not report.complete
    assert report.members[1].error == "KeyError"


def test_all_ok_is_complete(world: World) -> None:
    """ALL_REPLIED at the instant of the last answer."""
    world.producer(10)
    world.producer(20)
    handle = world.send()
    handle.wait()
    assert handle.report().complete
    assert handle.report().elapsed_ms == 20
    assert world.clock.now() == 0.02


def queued_behind(world: World, ms: float = 500) -> Any:
    """A producer that is busy for so long, with a request of its own without deadline."""
    producer = world.producer([ms, 0])
    busy = world.send("busy", ttl=None)
    world.clock.settle()
    assert verdicts(busy) == ["open(RUNNING)"]
    return producer


def test_queued_at_the_deadline_is_missing_then_skipped(world: World) -> None:
    """It is not executed when its turn comes."""
    producer = queued_behind(world)
    handle = world.send("wanted", ttl=100)
    handle.wait()
    assert verdicts(handle) == ["MISSING(QUEUED)"]
    world.clock.advance(1000)
    assert verdicts(handle) == ["SKIPPED(QUEUED)"]
    assert [asked.args for asked in producer.asked] == [("busy",)]
    counts = world.dispatcher.statistics().verdicts
    assert (counts[Verdict.OK], counts[Verdict.SKIPPED], counts[Verdict.MISSING]) == (1, 1, 0)


def test_queued_is_skipped_too_when_the_mailbox_is_swept(world: World) -> None:
    """Which the next request that reaches a hung producer brings about."""
    queued_behind(world, FOREVER)
    first = world.send(ttl=100)
    first.wait()
    assert verdicts(first) == ["MISSING(QUEUED)"]
    second = world.send(ttl=100)
    world.clock.settle()
    assert verdicts(first) == ["SKIPPED(QUEUED)"]
    second.wait()
    assert verdicts(second) == ["MISSING(QUEUED)"]


def test_never_started_is_missing_then_skipped_when_started(world: World) -> None:
    """And the requests that are still open when it starts are served."""
    producer = world.producer(start=False)
    expired, wanted = world.send(1, ttl=100), world.send(2, ttl=10_000)
    expired.wait()
    assert verdicts(expired) == ["MISSING(NOT_STARTED)"]
    assert verdicts(wanted) == ["open(NOT_STARTED)"]
    producer.start()
    assert wanted.results() == ["value"]
    assert verdicts(expired) == ["SKIPPED(NOT_STARTED)"]
    assert [asked.args for asked in producer.asked] == [(2,)]


@pytest.mark.parametrize("answer", ["value", ValueError("too late")], ids=["value", "error"])
def test_running_at_the_deadline_is_missing_then_late(world: World, answer: Any) -> None:
    """By how much is in the report; nobody hears of the value."""
    listener = world.listener(Attentive)
    world.producer(350, answer)
    handle = world.send(ttl=100)
    handle.wait()
    assert verdicts(handle) == ["MISSING(RUNNING)"]
    at_the_end = handle.report().members[0]
    assert (at_the_end.waited_ms, at_the_end.ran_ms) == (0, pytest.approx(100))
    world.clock.advance(1000)
    member = handle.report().members[0]
    assert verdicts(handle) == ["LATE"]
    assert member.late_ms == pytest.approx(250)
    assert member.ran_ms == pytest.approx(350)
    assert handle.replies == ()
    assert len(listener.heard) == 1


@pytest.mark.parametrize("answer", ["value", ValueError("unwanted")], ids=["value", "error"])
@pytest.mark.parametrize(("ms", "afterwards"), [(50, "SURPLUS"), (100, "SURPLUS"), (350, "LATE")])
def test_running_at_a_cancel_is_missing_then_surplus_or_late(
    world: World, ms: float, afterwards: str, answer: Any
) -> None:
    """The deadline of the request still tells the two apart, to the very instant."""
    listener = world.listener()
    world.producer(ms, answer)
    handle = world.send(ttl=100)
    world.clock.advance(10)
    handle.cancel()
    assert handle.results() == []
    assert verdicts(handle) == ["MISSING(RUNNING)"]
    world.clock.advance(1000)
    assert verdicts(handle) == [afterwards]
    assert handle.completion is Completion.CANCELLED
    assert listener.heard == []


@pytest.mark.parametrize("started", [True, False])
def test_not_begun_at_a_cancel_is_cancelled_for_good(world: World, started: bool) -> None:
    """Its turn changes nothing any more, and it is not executed."""
    producer = queued_behind(world) if started else world.producer(start=False)
    handle = world.send("wanted")
    handle.cancel()
    handle.wait()
    assert verdicts(handle) == ["CANCELLED(QUEUED)" if started else "CANCELLED(NOT_STARTED)"]
    if not started:
        producer.start()
    world.clock.advance(1000)
    assert verdicts(handle) == ["CANCELLED(QUEUED)" if started else "CANCELLED(NOT_STARTED)"]
    assert ("wanted",) not in [asked.args for asked in producer.asked]


def test_an_ended_thread_declines_at_the_send(world: World) -> None:
    """At once, as does one that was stopped before it was started and then started."""
    ended = world.producer(0)
    ended.stop()
    ended.join()
    handle = world.send()
    assert handle.results() == []
    assert verdicts(handle) == ["DECLINED"]
    assert handle.completion is Completion.ALL_REPLIED
    assert not handle.report().complete
    assert handle.missing == (ended,)
    assert world.clock.now() == 0


def test_a_thread_that_dies_in_between_is_missing_as_dead(world: World) -> None:
    """Final: what waited behind its stop will never be executed."""
    producer = world.producer(10)
    served = world.send()
    world.clock.settle()
    producer.stop()
    waiting = world.send()
    assert waiting.results() == []
    assert served.results() == ["value"]
    assert verdicts(waiting) == ["MISSING(DEAD)"]
    assert waiting.completion is Completion.ALL_REPLIED
    assert waiting.report().elapsed_ms == pytest.approx(10)


def test_stopped_at_once_withdraws_what_had_not_begun(world: World) -> None:
    """Queued or never started; who runs is missing, and his answer surplus."""
    queued_behind(world, 50)
    world.producer(start=False)
    runs = world.producer([0, 100])
    world.clock.settle()
    world.send(ttl=None).cancel()
    world.clock.settle()
    handle = world.send(ttl=1000)
    world.clock.settle()
    assert verdicts(handle) == ["open(QUEUED)", "open(NOT_STARTED)", "open(RUNNING)"]
    world.dispatcher.stop(immediate=True)
    handle.wait()
    assert handle.completion is Completion.STOPPED
    expected = ["WITHDRAWN(QUEUED)", "WITHDRAWN(NOT_STARTED)"]
    assert verdicts(handle) == [*expected, "MISSING(RUNNING)"]
    world.clock.advance(500)
    assert verdicts(handle) == [*expected, "SURPLUS"]
    assert len(runs.asked) == 2


def test_a_stop_lets_requests_run_to_their_end_within_the_drain(world: World) -> None:
    """What ends within it ends as ever; the rest ends as STOPPED when the drain is over."""
    world.producer(300)
    world.producer(FOREVER, topic="u")
    served, hung, expired = world.send(), world.send(topic="u"), world.send(topic="u", ttl=100)
    world.clock.settle()
    world.dispatcher.stop(drain=500)
    with pytest.raises(DispatcherStopped):
        world.send()
    assert served.results() == ["value"]
    hung.wait()
    assert world.clock.now() == pytest.approx(0.5)
    assert (expired.completion, hung.completion) == (Completion.DEADLINE, Completion.STOPPED)
    assert verdicts(hung) == ["MISSING(RUNNING)"]


def test_a_drain_of_none_waits_for_the_deadlines(world: World) -> None:
    """And no longer."""
    world.producer(FOREVER)
    handle = world.send(ttl=60_000)
    world.dispatcher.stop(drain=None)
    world.dispatcher.join()
    assert handle.completion is Completion.DEADLINE
    assert world.clock.now() == pytest.approx(60)


def test_every_end_has_its_reason(world: World) -> None:
    """And the statistics count them."""
    world.producer(10)
    world.producer(FOREVER, topic="hung")
    answered, nobody = world.send(), world.send(topic="nobody")
    assert nobody.done()
    assert nobody.completion is Completion.NO_PRODUCERS
    expired, cancelled = world.send(topic="hung", ttl=50), world.send(topic="hung")
    stopped = world.send(topic="hung", ttl=None)
    cancelled.cancel()
    world.clock.advance(100)
    world.dispatcher.stop(immediate=True)
    world.dispatcher.join()
    for handle, reason in [
        (answered, Completion.ALL_REPLIED),
        (nobody, Completion.NO_PRODUCERS),
        (expired, Completion.DEADLINE),
        (cancelled, Completion.CANCELLED),
        (stopped, Completion.STOPPED),
    ]:
        assert handle.done()
        assert handle.completion is reason
        assert handle.report().completion is reason
        assert world.dispatcher.statistics().completions[reason] == 1
    assert world.dispatcher.statistics().requests == 5


def test_what_has_expired_before_the_start_ends_then_without_being_scattered() -> None:
    """The deadline of a kept request runs; what is still wanted is served, in order."""
    world = World(start=False)
    producer = world.producer(0, lambda topic, n: n)
    expired = world.send(1, ttl=100)
    wanted = [world.send(n, ttl=1000) for n in (2, 3)]
    world.clock.advance(200)
    assert not expired.done()
    world.dispatcher.start()
    assert [handle.results() for handle in wanted] == [[2], [3]]
    assert expired.completion is Completion.DEADLINE
    assert [asked.args for asked in producer.asked] == [(2,), (3,)]
    world.close()


def test_the_statistics_count_open_requests_too(world: World) -> None:
    """At any quiet moment, with what their members have so far."""
    world.producer(10)
    world.producer(20, ValueError("x"))
    world.producer(FOREVER)
    world.send(ttl=None)
    world.clock.advance(30)
    statistics = world.dispatcher.statistics()
    assert (statistics.requests, statistics.open) == (1, 1)
    assert (statistics.fan_out, statistics.pending) == (3, 1)
    assert statistics.verdicts[Verdict.OK] == statistics.verdicts[Verdict.ERROR] == 1
    sums_add_up(world.dispatcher)


def test_the_sums_add_up_at_every_instant_of_a_long_day(world: World) -> None:
    """Through answers, errors, expiry, cancels, queues, late answers and a death."""
    producers = [
        world.producer([n % 7 * 10 for n in range(k, k + 50)], answer)
        for k, answer in enumerate(["a", "b", ValueError("c"), "d"])
    ]
    world.producer(start=False)
    handles = []
    for n in range(40):
        handles.append(world.send(ttl=[None, 5, 35, 80, 1000][n % 5]))
        if n % 3 == 0:
            handles[n // 2].cancel()
        if n == 25:
            producers[0].stop()
        world.clock.advance(n % 4 * 6)
        sums_add_up(world.dispatcher)
        total = [v for h in handles for v in verdicts(h)]
        assert len(total) == world.dispatcher.statistics().fan_out
        pending = sum(v.startswith("open") for v in total)
        assert pending == world.dispatcher.statistics().pending
    while world.clock.advance_to_next():
        sums_add_up(world.dispatcher)
    for verdict in Verdict:
        total = [v.split("(")[0] for h in handles for v in verdicts(h)]
        count = world.dispatcher.statistics().verdicts[verdict]
        assert total.count(verdict.name) == count, verdict


# -- the handle --------------------------------------------------------------------------------


def test_wait_tells_whether_the_end_came(world: World) -> None:
    """Within the timeout; again and again; and at once after the end."""
    world.producer(100)
    handle = world.send()
    assert handle.wait(0.05) is False
    assert handle.done() is False
    assert handle.completion is None
    assert handle.wait() is True
    assert handle.done() is True
    now = world.clock.now()
    assert handle.wait(100) is handle.wait() is True
    assert world.clock.now() == now


def test_results_raise_a_timeout_error_if_the_end_did_not_come(world: World) -> None:
    """The request is not touched by it."""
    world.producer(100)
    handle = world.send()
    with pytest.raises(TimeoutError) as caught:
        handle.results(timeout=0.05)
    assert isinstance(caught.value, RequestTimeout)
    assert handle.results(timeout=1) == ["value"]


def test_results_keep_quiet_about_errors_and_missing(world: World) -> None:
    """Unless all are required."""
    world.producer(10, 1)
    world.producer(5, ValueError("x"))
    world.producer(FOREVER)
    assert world.send().results() == [1]
    assert world.send(topic="nobody").results() == []


def test_requiring_all_raises_what_is_incomplete(world: World) -> None:
    """It names the missing and the raisers and carries what came; the first error is its cause."""
    world.producer(10, 1, name="good")
    problem, other = ValueError("x"), OSError("y")
    world.producer(20, other, name="second raiser")
    world.producer(5, problem, name="raiser")
    world.producer(FOREVER, name="hung")
    world.producer(start=False, name="asleep")
    handle = world.send()
    with pytest.raises(IncompleteError) as caught:
        handle.results(require="all")
    assert caught.value.results == [1]
    assert caught.value.missing == ["hung", "asleep"]
    assert caught.value.errors == [problem, other]
    assert caught.value.__cause__ is problem
    for name in ("raiser", "second raiser", "hung", "asleep"):
        assert name in str(caught.value)
    with pytest.raises(IncompleteError) as caught:
        world.send(topic="nobody").results(require="all")
    assert caught.value.results == []


def test_requiring_all_is_content_when_all_answered(world: World) -> None:
    """And anything else that is required is refused."""
    world.producer(10, None)
    world.producer(20, 2)
    handle = world.send()
    with pytest.raises(ValueError, match="require"):
        handle.results(require="most")
    assert handle.results(require="all") == [None, 2]


def test_iterating_yields_replies_as_they_arrive_until_the_end(world: World) -> None:
    """Errors included; time passes only in between."""
    world.producer(30, "c")
    world.producer(10, "a")
    world.producer(20, ValueError("b"))
    world.producer(FOREVER)
    replies = world.send(ttl=100)
    seen = [(reply.value, reply.ok, world.clock.now()) for reply in replies]
    assert [value for value, _, _ in seen] == ["a", None, "c"]
    assert [ok for _, ok, _ in seen] == [True, False, True]
    assert [at for _, _, at in seen] == pytest.approx([0.01, 0.02, 0.03])
    assert world.clock.now() == pytest.approx(0.1)


def test_a_slow_consumer_loses_nothing(world: World) -> None:
    """Nor does one that iterates twice, or after the end; the handle only shows."""
    for n in range(5):
        world.producer(n, n)
    handle = world.send(ttl=50)
    slow = []
    for reply in handle:
        slow.append(reply.value)
        world.clock.sleep(1)
    assert slow == [0, 1, 2, 3, 4]
    assert [reply.value for reply in handle] == slow
    assert [reply.value for reply in handle.replies] == slow


def test_iterating_over_nobody_is_over_at_once(world: World) -> None:
    """Also over a cancelled request."""
    assert list(world.send(topic="nobody")) == []
    world.producer(FOREVER)
    handle = world.send()
    handle.cancel()
    assert list(handle) == []
    assert world.clock.now() == 0


def test_a_waiter_leaves_nothing_behind(world: World) -> None:
    """Neither one that timed out, nor one that saw the end, nor an abandoned iteration."""
    world.producer(100)
    world.producer(200)
    handle = world.send()
    assert not handle.wait(0.01)
    for _ in handle:
        break
    handle.wait()
    assert not inside.waiting(world.dispatcher)


def test_cancel_ends_it_now_and_is_harmless_afterwards(world: World) -> None:
    """A cancel of what has ended changes nothing."""
    world.producer(10)
    handle, answered = world.send(), world.send()
    handle.cancel()
    handle.cancel()
    assert handle.wait()
    assert handle.completion is Completion.CANCELLED
    assert world.clock.now() == 0
    assert answered.results() == ["value"]
    answered.cancel()
    world.clock.settle()
    assert answered.completion is Completion.ALL_REPLIED
    assert world.dispatcher.statistics().completions[Completion.CANCELLED] == 1


def test_a_cancel_after_the_deadline_finds_it_expired() -> None:
    """Even if nobody has had the chance to close it."""
    world = World(start=False)
    world.producer(0)
    handle = world.send(ttl=100)
    world.clock.advance(200)
    handle.cancel()
    world.dispatcher.start()
    handle.wait()
    assert handle.completion is Completion.DEADLINE
    world.close()


def test_a_cancel_before_the_start_is_heeded() -> None:
    """The producer never sees it."""
    world = World(start=False)
    producer = world.producer(0)
    handle = world.send()
    handle.cancel()
    world.dispatcher.start()
    handle.wait()
    assert handle.completion is Completion.CANCELLED
    world.clock.advance(10)
    assert producer.asked == []
    world.close()


def test_done_callbacks_are_called_once_with_the_handle(world: World) -> None:
    """After the end, in the order they were added; also one that is added after the end."""
    world.producer(10)
    handle = world.send()
    calls: List[Tuple[str, Any, bool]] = []
    handle.add_done_callback(lambda h: calls.append(("first", h, h.done())))
    handle.add_done_callback(lambda h: calls.append(("second", h, h.done())))
    world.clock.advance(5)
    assert calls == []
    world.clock.advance(10)
    assert calls == [("first", handle, True), ("second", handle, True)]
    handle.add_done_callback(lambda h: calls.append(("third", h, h.done())))
    world.clock.settle()
    assert calls[2:] == [("third", handle, True)]
    world.clock.advance(10_000)
    assert len(calls) == 3


def test_done_callbacks_run_on_the_observers_thread(world: World) -> None:
    """Or, when the dispatcher has ended, at once on the calling thread."""
    world.producer(10)
    handle = world.send()
    threads: List[str] = []
    handle.add_done_callback(lambda _: threads.append(threading.current_thread().name))
    handle.wait()
    world.clock.settle()
    assert threads == [f"{world.dispatcher.name}-observers"]
    world.dispatcher.stop()
    world.dispatcher.join()
    handle.add_done_callback(lambda _: threads.append(threading.current_thread().name))
    assert threads[1:] == [threading.current_thread().name]


def test_a_done_callback_comes_for_every_kind_of_end(world: World) -> None:
    """Nobody registered, expired, cancelled, stopped."""
    world.producer(FOREVER)
    ends = []
    handles = [world.send(topic="nobody"), world.send(ttl=10), world.send(ttl=None), world.send()]
    for handle in handles:
        handle.add_done_callback(lambda h: ends.append(h.completion.name))
    handles[2].cancel()
    world.clock.advance(20)
    world.dispatcher.stop(immediate=True)
    world.dispatcher.join()
    world.clock.settle()
    assert ends == ["NO_PRODUCERS", "CANCELLED", "DEADLINE", "STOPPED"]


def test_a_raising_done_callback_is_logged_and_stops_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Also on the calling thread, after the dispatcher's end."""
    world.producer(10)
    handle = world.send()
    called: List[Any] = []

    def breaks(_: Any) -> None:
        raise SystemExit("callback")

    handle.add_done_callback(breaks)
    handle.add_done_callback(called.append)
    handle.wait()
    world.clock.settle()
    assert called == [handle]
    world.dispatcher.stop()
    world.dispatcher.join()
    handle.add_done_callback(breaks)
    records = errors(caplog)
    assert len(records) == 2
    assert all(record.exc_info and record.exc_info[0] is SystemExit for record in records)
    assert all("breaks" in record.getMessage() for record in records)
    with pytest.raises(TypeError, match="callback must be callable"):
        handle.add_done_callback(None)  # type: ignore[arg-type]


def test_missing_names_who_has_not_answered(world: World) -> None:
    """The producers themselves, in roster order; a raiser has answered."""
    hung, ok = world.producer(FOREVER), world.producer(10)
    world.producer(20, ValueError("x"))
    handle = world.send(ttl=100)
    assert handle.missing == tuple(m.producer for m in handle.roster)
    world.clock.advance(15)
    assert ok not in handle.missing
    handle.wait()
    assert handle.missing == (hung,)
    assert handle.report().missing == (hung.name,)
    assert len(handle.report().failed) == 1


def test_replies_are_what_was_accepted_so_far(world: World) -> None:
    """In the order of arrival, at any time."""
    world.producer(20, "b")
    one = world.producer(10, "a")
    handle = world.send()
    assert handle.replies == ()
    world.clock.advance(10)
    (reply,) = handle.replies
    assert (reply.value, reply.producer, reply.ok, reply.error) == ("a", one, True, None)
    world.clock.advance(10)
    assert [reply.value for reply in handle.replies] == ["a", "b"]


def test_a_reply_is_a_value_or_an_error_and_does_not_change(world: World) -> None:
    """`unwrap` gives the one or raises the other."""
    problem = ValueError("x")
    world.producer(10, "a", name="good")
    world.producer(20, problem, name="bad")
    good, bad = world.send()
    assert good.unwrap() == "a"
    assert good.elapsed_ms == pytest.approx(10)
    assert (bad.ok, bad.value, bad.error) == (False, None, problem)
    with pytest.raises(ValueError, match="x") as caught:
        bad.unwrap()
    assert caught.value is problem
    for name in ("value", "anything"):
        with pytest.raises(AttributeError):
            setattr(good, name, 1)
    with pytest.raises(AttributeError):
        del good.value
    assert isinstance(good, Reply)
    assert "good" in repr(good)
    assert "ValueError from bad" in repr(bad)


def test_a_report_is_frozen(world: World) -> None:
    """A snapshot of then, whatever comes later."""
    world.producer(100)
    handle = world.send(ttl=10)
    handle.wait()
    report = handle.report()
    text = str(report)
    world.clock.advance(200)
    assert report != handle.report()
    assert str(report) == text
    with pytest.raises(FrozenInstanceError):
        report.id = 7  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        report.members[0].verdict = None  # type: ignore[misc]


def test_a_report_keeps_waiting_and_running_time_apart(world: World) -> None:
    """Per member, in milliseconds."""
    world.producer(30)
    first, second = world.send(), world.send()
    second.wait()
    member = second.report().members[0]
    assert (member.waited_ms, member.ran_ms) == (pytest.approx(30), pytest.approx(30))
    assert first.report().members[0].waited_ms == 0


def test_the_dict_of_a_report_is_json_without_payloads(world: World) -> None:
    """Names, verdicts and times; a topic that is no text as its repr."""
    world.producer(10, Payload(), ("a", 1), name="good")
    world.producer(20, ValueError("secret"), ("a", 1), name="bad")
    world.producer(FOREVER, Payload(), ("a", 1), name="hung")
    handle = world.send(Payload(), ttl=100, topic=("a", 1), key=Payload())
    handle.wait()
    data = handle.report().to_dict()
    assert json.loads(json.dumps(data)) == data
    assert "secret" not in json.dumps(data)
    assert (data["topic"], data["completion"], data["complete"]) == ("('a', 1)", "deadline", False)
    assert [m["verdict"] for m in data["members"]] == ["ok", "error", "missing"]
    assert [m["standing"] for m in data["members"]] == [None, None, "running"]
    assert [m["producer"] for m in data["members"]] == ["good", "bad", "hung"]
    assert data["members"][1]["error"] == "ValueError"
    assert set(data["members"][0]) == {
        "producer",
        "verdict",
        "standing",
        "waited_ms",
        "instrument_ms",
        "line_ms",
        "held_up_by",
        "ran_ms",
        "late_ms",
        "error",
        "stack",
    }


def test_a_report_reads_well(world: World) -> None:
    """The head says how it ended, then one line per member; open, late and endless ones too."""
    world.producer(10, name="quick")
    world.producer(350, name="slow")
    world.producer(5, ValueError("secret"), name="raiser")
    handle = world.send(ttl=100)
    assert str(handle.report()).startswith(
        f"request {handle.id} on 't': open after 0.0 ms (ttl 100 ms), 0 of 3 ok"
    )
    handle.wait()
    head, quick, slow, raiser = str(handle.report()).splitlines()
    assert head == (f"request {handle.id} on 't': DEADLINE after 100.0 ms (ttl 100 ms), 1 of 3 ok")
    assert " ".join(quick.split()) == "quick OK waited 0.000 ms ran 10.000 ms"
    assert " ".join(slow.split()) == "slow MISSING (running) waited 0.000 ms ran 100.000 ms"
    assert " ".join(raiser.split()) == "raiser ERROR waited 0.000 ms ran 5.000 ms ValueError"
    world.clock.advance(1000)
    slow = str(handle.report()).splitlines()[2]
    assert slow.split()[1] == "LATE"
    assert slow.endswith("late by 250.000 ms")
    assert "(no ttl)" in str(world.send(ttl=None).report())


def measure(clock: VirtualClock, seconds: float) -> None:
    """Where a producer is found."""
    clock.sleep(seconds)


@pytest.mark.parametrize("end", ["deadline", "cancel"])
def test_a_diagnosing_dispatcher_tells_where_a_producer_was_at_the_end(end: str) -> None:
    """Of those that had begun and not come back; as it was then, not as it is now."""
    world = World(diagnose=True)
    slow = world.producer(answer=lambda topic: measure(world.clock, 2), name="slow")
    world.producer(ms=1, name="quick")
    idle = world.producer(name="idle", start=False)
    events: List[Any] = []
    world.dispatcher.add_hook(events.append)
    handle = world.send()
    world.clock.advance(10)
    if end == "cancel":
        handle.cancel()
    handle.wait()
    for _ in range(2):
        found = handle.report()
        first, second, third = found.members
        assert second.stack is second.place is third.stack is third.place is None
        assert first.place is not None
        assert re.fullmatch(r"test_semantics.py:\d+ in measure", first.place)
        assert first.stack is not None
        assert "clock.sleep(seconds)" in first.stack
        assert first.stack in "\n".join(line[4:] for line in str(found).splitlines())
        assert found.to_dict()["members"][0]["stack"] == first.stack
        world.clock.advance(5000)
    world.clock.settle()
    (completed,) = [event for event in events if event.name.endswith("request_completed")]
    assert completed.report.members[0].place == first.place
    assert first.stack not in repr(completed)
    slow.answer = None
    handle = world.send()
    handle.wait()
    assert handle.report().members[0].stack is None
    idle.start()
    world.close()


def test_without_diagnosis_nobody_looks_at_stacks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for, or it costs nothing."""
    monkeypatch.setattr(sys, "_current_frames", None)
    world.producer(FOREVER)
    handle = world.send()
    handle.wait()
    (member,) = handle.report().members
    assert (member.stack, member.place) == (None, None)


def test_a_producer_may_say_how_far_it_is(world: World) -> None:
    """The handle shows what was said last, until the producer is at something else."""
    said: List[Any] = []

    def work(topic: Any, *steps: Any) -> int:
        request = current_request()
        assert request is not None
        for step in steps:
            request.progress(*step)
            world.clock.sleep(0.1)
        return len(steps)

    world.producer(0, work, name="a")
    world.producer(1000, name="b")
    world.dispatcher.add_hook(said.append)
    handle = world.send((0.0,), (0.5, "half"), (1, "done"), ttl=None)
    later = world.send(ttl=None)
    assert handle.progress == ()
    world.clock.advance(50)
    assert handle.progress == (("a", 0.0, ""),)
    world.clock.advance(100)
    assert handle.progress == (("a", 0.5, "half"),)
    assert handle.progress[0].text == "half"
    assert later.progress == ()
    handle.wait()
    world.clock.settle()
    told = [event for event in said if event.name.endswith("progressed")]
    assert [(e.request, e.at, e.producer, e.fraction, e.text) for e in told] == [
        (1, 0.0, "a", 0.0, ""),
        (1, 0.1, "a", 0.5, "half"),
        (1, 0.2, "a", 1.0, "done"),
    ]


def test_progress_with_what_is_over_is_nobodys_news(world: World) -> None:
    """It does no harm."""
    seen: List[Any] = []

    def work(topic: Any) -> None:
        world.clock.sleep(1)
        request = current_request()
        assert request is not None
        assert request.cancelled
        request.progress(0.5)

    world.producer(0, work)
    world.dispatcher.add_hook(seen.append)
    handle = world.send(ttl=100)
    world.clock.advance(2000)
    assert verdicts(handle) == ["LATE"]
    assert handle.progress == ()
    assert not [event for event in seen if event.name.endswith("progressed")]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((-0.1,), "fraction must be from 0 to 1"),
        ((1.1,), "fraction must be from 0 to 1"),
        ((float("nan"),), "fraction must be from 0 to 1"),
        (("1",), "fraction must be a number"),
        ((True,), "fraction must be a number"),
        ((0.5, 3), "text must be a str"),
    ],
    ids=repr,
)
def test_nonsense_progress_is_refused_at_the_call(world: World, arguments: Any, names: str) -> None:
    """The producer's error, which says what is wrong."""
    world.producer(0, lambda topic: current_request().progress(*arguments))  # type: ignore[union-attr]
    handle = world.send()
    handle.wait()
    (reply,) = handle.replies
    assert isinstance(reply.error, (TypeError, ValueError))
    assert names in str(reply.error)


def test_a_copy_of_a_handle_or_reply_is_itself(world: World) -> None:
    """They show a live request: there is no second one. And they do not travel."""
    world.producer(1)
    handle = world.send()
    handle.wait()
    (reply,) = handle.replies
    for thing in (handle, reply):
        assert copy.copy(thing) is thing
        assert copy.deepcopy(thing) is thing
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(thing)


def test_unwrapping_an_error_makes_no_cycle(world: World) -> None:
    """The error's traceback does not hold the reply that holds the error."""
    world.producer(1, Ours("broken"))
    handle = world.send()
    handle.wait()
    (reply,) = handle.replies
    with pytest.raises(Ours):
        reply.unwrap()
    frames = []
    traceback = reply.error.__traceback__ if reply.error else None
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    assert len(frames) > 1
    inside = [frame for frame in frames if frame.f_code.co_name == "unwrap"]
    assert len(inside) == 1
    assert "self" not in inside[0].f_locals


def test_a_report_never_shows_the_verdicts_of_an_end_that_it_does_not_show(world: World) -> None:
    """While the end is being written down, the report is still that of an open request."""
    producer = world.producer(FOREVER)
    handle = world.send(ttl=100)
    reports = []

    class Watch(dict):  # type: ignore[type-arg]
        def __setitem__(self, key: Any, value: Any) -> None:
            reports.append(handle.report())
            super().__setitem__(key, value)

    inside.watch_sums(world.dispatcher, Watch)
    handle.wait()
    assert len(reports) > 1
    for report in reports:
        (member,) = report.members
        assert (report.completion, member.verdict) in [
            (None, None),
            (Completion.DEADLINE, Verdict.MISSING),
        ]
    assert verdicts(handle) == ["MISSING(RUNNING)"]
    assert producer.is_alive()


def test_names_tell_who_it_was(world: World) -> None:
    """A producer is named by its name, by default class and number."""
    plain, named = world.producer(), world.producer(name="site 7")
    kind, _, number = plain.name.rpartition("-")
    assert kind == "Scripted"
    assert number.isdigit()
    assert [m.producer for m in world.send().report().members] == [plain.name, "site 7"]
    named.name = "site 8"
    assert world.send().report().members[1].producer == "site 8"


def test_the_repr_of_a_handle_shows_no_payload(world: World) -> None:
    """Only how it stands."""
    world.producer(10, Payload())
    world.producer(FOREVER, Payload())
    handle = world.send(Payload())
    assert repr(handle) == f"<Handle {handle.id} on 't': open, 2 to come>"
    handle.wait()
    assert repr(handle) == f"<Handle {handle.id} on 't': DEADLINE>"


def test_ids_grow(world: World) -> None:
    """With every request, answered or not."""
    world.producer()
    ids = [world.send(topic=topic).id for topic in ("t", "nobody", "t", "t")]
    assert ids == sorted(set(ids))


# -- in an event loop (real time) --------------------------------------------------------------


class GatedOnce(Producer):
    """Waits for the gate it is given, then answers."""

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        gate, value = (*args, None)[:2]
        assert gate.wait(30)
        if isinstance(value, BaseException):
            raise value
        return value


class Choosing(GatedOnce):
    """Takes the arguments meant for it."""

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        return super().produce_dispatcher_output(topic, *kwargs[self.name])


def test_awaiting_gives_the_report_and_does_not_block_the_loop() -> None:
    """Only a task of the same loop lets the producer answer."""

    async def main() -> Any:
        with Dispatcher() as dispatcher:
            dispatcher.register_result_producer(GatedOnce(), "t", start=True)
            gate = threading.Event()
            handle = dispatcher.send_request("t", gate, 42, ttl=None)
            waiting = asyncio.ensure_future(awaited(handle))
            other = asyncio.ensure_future(awaited(handle))
            for _ in range(5):
                await asyncio.sleep(0)
            assert not waiting.done()
            gate.set()
            first, second = await asyncio.gather(waiting, other)
            assert first.completion is second.completion is Completion.ALL_REPLIED
            assert handle.results() == [42]
            assert (await handle).complete
            assert not inside.waiting(dispatcher)

    asyncio.run(main())


async def awaited(handle: Any) -> Any:
    """A coroutine for what is only awaitable."""
    return await handle


def test_iterating_asynchronously_yields_replies_as_they_arrive() -> None:
    """Each reply is seen before the next one may come."""

    async def main() -> None:
        with Dispatcher() as dispatcher:
            gates = {name: threading.Event() for name in "abc"}
            for name in "abc":
                producer = Choosing(name=name)
                dispatcher.register_result_producer(producer, "t", start=True)
            values: Any = {"a": 1, "b": ValueError("x"), "c": 3}
            script = {name: (gates[name], values[name]) for name in "abc"}
            handle = dispatcher.send_request("t", ttl=None, **script)
            gates["b"].set()
            following = {"b": "c", "c": "a"}
            seen = []
            async for reply in handle:
                seen.append(reply.producer.name)
                if reply.producer.name in following:
                    gates[following[reply.producer.name]].set()
            assert seen == ["b", "c", "a"]
            assert [reply.producer.name async for reply in handle] == seen
            assert not inside.waiting(dispatcher)

    asyncio.run(main())


def test_cancelling_the_task_that_awaits_touches_nobody_else() -> None:
    """The request goes on, and the waiter leaves nothing behind."""

    async def main() -> None:
        with Dispatcher() as dispatcher:
            dispatcher.register_result_producer(GatedOnce(), "t", start=True)
            gate = threading.Event()
            handle = dispatcher.send_request("t", gate, 42, ttl=None)
            given_up, patient = (asyncio.ensure_future(awaited(handle)) for _ in range(2))
            await asyncio.sleep(0)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            assert not handle.done()
            assert len(inside.waiting_for(handle, dispatcher)) == 1
            gate.set()
            assert (await patient).complete
            assert not inside.waiting(dispatcher)

    asyncio.run(main())


def test_an_end_after_the_loop_was_closed_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The loop of a task that awaited it is gone: the producer's thread does not care."""
    gate = threading.Event()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(GatedOnce(), "t", start=True)
        handle = dispatcher.send_request("t", gate, 42, ttl=None)
        loop = asyncio.new_event_loop()
        coroutine = awaited(handle)
        task = loop.create_task(coroutine)
        loop.run_until_complete(asyncio.sleep(0))
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        gate.set()
        assert handle.results(30) == [42]
        coroutine.close()
    assert not errors(caplog)


# -- errors as values --------------------------------------------------------------------------


class Ours(BaseException):
    """Nothing that `except Exception` would catch."""


THROWABLE = [ValueError("v"), Ours("o"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]


@pytest.mark.parametrize("problem", THROWABLE, ids=lambda e: type(e).__name__)
def test_whatever_a_producer_raises_is_its_answer(
    world: World, caplog: pytest.LogCaptureFixture, problem: BaseException
) -> None:
    """On the handle, with its traceback into the producer's code; the thread goes on; the log has
    it once, from the producer's thread.
    """
    listener = world.listener(Attentive)
    producer = world.producer(10, problem)
    handle = world.send()
    assert handle.results() == []
    assert [reply.error for reply in handle.replies] == [problem]
    assert handle.completion is Completion.ALL_REPLIED
    world.clock.settle()
    reply, report = listener.heard
    assert (reply.error, reply.producer, reply.ok) == (problem, producer, False)
    assert report.failed == (producer.name,)
    (record,) = errors(caplog)
    assert record.exc_info is not None
    assert record.exc_info[1] is problem
    assert record.threadName == producer.name
    assert producer.name in record.getMessage()
    traceback, functions = problem.__traceback__, []
    while traceback is not None:
        functions.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert functions[0] == "produce_dispatcher_output"
    producer.answer = "better now"
    assert world.send().results() == ["better now"]


@pytest.mark.parametrize("problem", THROWABLE, ids=lambda e: type(e).__name__)
def test_whatever_a_listener_raises_is_logged_once_and_it_goes_on(
    world: World, caplog: pytest.LogCaptureFixture, problem: BaseException
) -> None:
    """On its own thread; others are not touched."""
    world.producer(10)
    raising = world.listener(error=problem)
    other = world.listener()
    assert world.send().results() == ["value"]
    world.clock.settle()
    (record,) = errors(caplog)
    assert record.exc_info is not None
    assert record.exc_info[1] is problem
    assert record.threadName == raising.name
    assert raising.name in record.getMessage()
    raising.error = None
    assert world.send().results() == ["value"]
    world.clock.settle()
    assert raising.heard == other.heard == ["value", "value"]


@pytest.mark.parametrize("callback", ["error", "completion"])
def test_a_listener_that_raises_elsewhere_goes_on_too(
    world: World, caplog: pytest.LogCaptureFixture, callback: str
) -> None:
    """The callbacks for errors and completions are user code as well."""
    listener = world.listener(Attentive)

    def breaks(*_: Any) -> None:
        raise Ours(callback)

    setattr(listener, f"process_dispatcher_{callback}", breaks)
    world.producer(10, ValueError("x"))
    world.producer(20)
    world.send().wait()
    world.clock.settle()
    assert len(errors(caplog)) == 2
    assert "value" in listener.heard
    assert len(listener.heard) == 2


def test_a_late_error_is_logged_as_well(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Never silent, though nobody waits for it any more."""
    world.producer(100, ValueError("x"))
    world.send(ttl=10).wait()
    assert not errors(caplog)
    world.clock.advance(100)
    assert len(errors(caplog)) == 1


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


class Breaking(logging.Handler):
    """Raises what no handler should."""

    def emit(self, record: logging.LogRecord) -> None:
        raise Ours("handler")


def broken_reports(bare_logger: Callable[..., None], how: str, patch: pytest.MonkeyPatch) -> None:
    """See to it that nothing can be reported."""
    bare_logger(*([Breaking()] if how == "raising handler" else []))
    if how == "no stderr":
        patch.setattr(sys, "stderr", None)
    elif how == "closed stderr":
        closed = io.StringIO()
        closed.close()
        patch.setattr(sys, "stderr", closed)


@pytest.mark.parametrize("how", ["raising handler", "no stderr", "closed stderr"])
def test_a_report_that_fails_changes_nothing(
    world: World, bare_logger: Callable[..., None], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Errors of producers, listeners, hooks and callbacks are survived although none is told."""
    broken_reports(bare_logger, how, monkeypatch)
    raiser = world.producer(10, ValueError("x"))
    world.producer(start=False)
    listener = world.listener(error=Ours("y"))

    def breaks(_: Any) -> None:
        raise Ours("z")

    world.dispatcher.add_hook(breaks)
    handle = world.send(ttl=100)
    handle.add_done_callback(breaks)
    handle.wait()
    world.clock.settle()
    assert verdicts(handle) == ["ERROR", "MISSING(NOT_STARTED)"]
    raiser.answer = "fine"
    called: List[Any] = []
    second = world.send(ttl=100)
    second.add_done_callback(called.append)
    assert second.results() == ["fine"]
    world.clock.settle()
    assert listener.heard == ["fine"]
    assert called == [second]


def test_without_any_configuration_errors_are_seen_on_stderr(
    world: World, bare_logger: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No NullHandler swallows them."""
    bare_logger()
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    world.producer(10, ValueError("the cause"), name="site 3")
    world.send().wait()
    world.clock.settle()
    assert "site 3" in stderr.getvalue()
    assert "ValueError: the cause" in stderr.getvalue()


# -- listeners ---------------------------------------------------------------------------------


def test_all_listeners_hear_the_same_order(world: World) -> None:
    """That of arrival, though they came at different speeds."""
    for k in range(4):
        world.producer([(n * 7 + k * 5) % 11 for n in range(25)], lambda t, n, k=k: (k, n))
    ears = [world.listener(ms=ms) for ms in (0, 1, 5)]
    handles = [world.send(n, ttl=None) for n in range(20)]
    accepted = []
    world.dispatcher.add_hook(
        lambda e: accepted.append(e) if isinstance(e, events.ReplyAccepted) else None
    )
    for handle in handles:
        handle.wait()
    world.clock.advance(10_000)
    assert len(ears[0].heard) == 80
    assert ears[0].heard == ears[1].heard == ears[2].heard
    assert [k for k, _ in ears[0].heard] != sorted(k for k, _ in ears[0].heard)


def test_a_completion_comes_after_the_last_result(world: World) -> None:
    """With its errors in their place."""
    listener = world.listener(Attentive)
    world.producer(10, 1)
    world.producer(20, ValueError("x"))
    world.producer(30, 3)
    handle = world.send()
    handle.wait()
    world.clock.settle()
    one, error, three, report = listener.heard
    assert (one, three) == (1, 3)
    assert isinstance(error.error, ValueError)
    assert report == handle.report()


def test_a_completion_shows_the_report_as_it_stood_at_the_end(world: World) -> None:
    """However late the listener comes to it, and whatever came afterwards."""
    busy = world.listener(Attentive, ms=1000)
    world.producer(10)
    world.producer(150)
    queued = world.producer([300, 0], topic="u")
    world.send(topic="u", ttl=None)
    world.clock.settle()
    world.dispatcher.register_result_producer(queued, "t")
    handle = world.send(ttl=100)
    handle.wait()
    then = handle.report()
    world.clock.advance(5000)
    assert verdicts(handle) == ["OK", "LATE", "SKIPPED(QUEUED)"]
    _, report = busy.heard
    assert report == then
    assert [m.verdict for m in report.members] == [Verdict.OK, Verdict.MISSING, Verdict.MISSING]
    assert [m.standing for m in report.members] == [None, Standing.RUNNING, Standing.QUEUED]


def test_every_end_is_told_to_who_wants_completions(world: World) -> None:
    """Expired, cancelled, stopped, and nobody there."""
    listener = world.listener(Attentive)
    silent = world.listener(Attentive, "nobody")
    producer = world.producer(FOREVER)
    world.send(ttl=10)
    world.send(ttl=None).cancel()
    world.send(topic="nobody")
    world.clock.advance(20)
    world.send(ttl=None)
    world.dispatcher.stop(immediate=True)
    listener.join()
    assert [r.completion.name for r in listener.heard] == ["CANCELLED", "DEADLINE", "STOPPED"]
    assert [r.completion.name for r in silent.heard] == ["NO_PRODUCERS"]
    assert len(producer.asked) == 1


def test_a_listener_that_overrides_neither_callback_is_sent_nothing_of_the_kind(
    world: World,
) -> None:
    """While it is busy nothing but results waits in its mailbox."""
    listener = world.listener(ms=1000)
    world.producer(10, "a")
    world.producer(20, ValueError("x"))
    handle = world.send()
    handle.wait()
    world.clock.settle()
    assert listener.heard == ["a"]
    assert inside.backlog(listener) == 0


def test_callbacks_replaced_on_the_instance_later_are_used(world: World) -> None:
    """And not any more when they are taken off again."""
    listener = world.listener(Hearing)
    world.producer(10, "a")
    raiser = world.producer(20, ValueError("x"))
    world.send().wait()
    world.clock.settle()
    told: List[Any] = []
    listener.process_dispatcher_result = lambda topic, response: told.append(response)
    listener.process_dispatcher_error = lambda topic, reply: told.append(reply.producer)
    listener.process_dispatcher_completion = lambda topic, report: told.append(report.id)
    handle = world.send()
    handle.wait()
    world.clock.settle()
    assert listener.heard == ["a"]
    assert told == ["a", raiser, handle.id]
    del listener.process_dispatcher_error, listener.process_dispatcher_completion
    world.send().wait()
    world.clock.settle()
    assert told[3:] == ["a"]


def test_a_slow_listener_delays_nobody(world: World) -> None:
    """Neither the other listener, nor the producer, nor the end of the request."""
    slow, quick = world.listener(ms=10_000), world.listener()
    world.producer(10)
    for n in range(1, 6):
        assert world.send(ttl=10).results() == ["value"]
        world.clock.settle()
        assert len(quick.heard) == n
    assert quick.at == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])
    assert len(slow.heard) == 1
    world.clock.advance(60_000)
    assert len(slow.heard) == 5


def test_callbacks_run_on_the_thread_that_they_belong_to(world: World) -> None:
    """`current_thread()` is the object itself."""
    threads: List[Any] = []
    producer = world.producer(0, lambda topic: threads.append(threading.current_thread()))
    listener = world.listener()
    listener.process_dispatcher_result = lambda *_: threads.append(threading.current_thread())
    world.send().wait()
    world.clock.settle()
    assert threads == [producer, listener]


# -- observers ---------------------------------------------------------------------------------


def short(event: Any) -> Tuple[Any, ...]:
    """The name without its prefix, and whom it is about."""
    prefix, _, name = event.name.partition(".")
    assert prefix == "ate_dispatcher"
    return (name, event.request, getattr(event, "producer", None))


def test_hooks_see_everything_in_order_under_stable_names(world: World) -> None:
    """One of each kind of event, with its data in fields."""
    seen: List[Any] = []
    world.dispatcher.add_hook(seen.append)
    world.producer(10, name="good")
    world.producer(20, ValueError("x"), name="bad")
    world.producer([350, 0], name="late")
    dead = world.producer(name="dead")
    dead.stop()
    dead.join()
    handle = world.send(ttl=100)
    handle.wait()
    world.clock.settle()
    assert [short(event) for event in seen] == [
        ("request_opened", handle.id, None),
        ("member_declined", handle.id, "dead"),
        ("reply_accepted", handle.id, "good"),
        ("producer_failed", handle.id, "bad"),
        ("request_completed", handle.id, None),
    ]
    second = world.send(ttl=100)
    world.clock.advance(1000)
    assert [short(event) for event in seen][5:] == [
        ("request_opened", second.id, None),
        ("member_declined", second.id, "dead"),
        ("reply_accepted", second.id, "good"),
        ("producer_failed", second.id, "bad"),
        ("request_completed", second.id, None),
        ("reply_discarded", handle.id, "late"),
        ("request_skipped", second.id, "late"),
    ]
    opened, declined, accepted, failed, completed = seen[:5]
    assert opened.members == ("good", "bad", "late", "dead")
    assert (opened.deadline, opened.at, opened.topic) == (0.1, 0.0, "t")
    assert (declined.verdict, declined.standing) == (Verdict.DECLINED, None)
    assert accepted.elapsed_ms == accepted.ran_ms == pytest.approx(10)
    assert isinstance(failed.error, ValueError)
    assert completed.completion is Completion.DEADLINE
    assert dict(completed.verdicts) == {
        "good": Verdict.OK,
        "bad": Verdict.ERROR,
        "late": Verdict.MISSING,
        "dead": Verdict.DECLINED,
    }
    discarded = seen[10]
    assert (discarded.verdict, discarded.late_ms) == (Verdict.LATE, pytest.approx(250))
    with pytest.raises(FrozenInstanceError):
        opened.at = 1.0
    assert [event.at for event in seen] == sorted(event.at for event in seen)


def test_the_names_of_events_are_fixed() -> None:
    """Programs compare them."""
    names = {
        kind.name
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
    }
    assert names == {
        "ate_dispatcher.request_opened",
        "ate_dispatcher.request_progressed",
        "ate_dispatcher.reply_accepted",
        "ate_dispatcher.producer_failed",
        "ate_dispatcher.reply_discarded",
        "ate_dispatcher.member_declined",
        "ate_dispatcher.request_skipped",
        "ate_dispatcher.request_completed",
    }


def test_a_request_to_nobody_is_opened_and_completed(world: World) -> None:
    """For the hooks as for the statistics."""
    seen: List[Any] = []
    world.dispatcher.add_hook(seen.append)
    world.send(topic="nobody")
    world.clock.settle()
    assert [short(event)[0] for event in seen] == ["request_opened", "request_completed"]


def test_hooks_given_to_the_constructor_see_what_was_sent_before_the_start() -> None:
    """They are there from the beginning."""
    seen: List[Any] = []
    world = World(start=False, hooks=[seen.append])
    world.producer()
    world.send()
    world.dispatcher.start()
    world.clock.advance(1)
    names = [short(event)[0] for event in seen]
    assert names == ["request_opened", "reply_accepted", "request_completed"]
    world.close()


def test_a_hook_sees_exactly_what_happened_after_it_was_added(world: World) -> None:
    """And nothing after it was removed; removing a stranger is silent."""
    world.producer(10)
    seen: List[Any] = []
    other: List[Any] = []
    world.dispatcher.add_hook(other.append)
    world.send().wait()
    hook = seen.append
    world.dispatcher.add_hook(hook)
    second = world.send()
    second.wait()
    world.clock.settle()
    world.dispatcher.remove_hook(hook)
    world.dispatcher.remove_hook(hook)
    world.dispatcher.remove_hook(print)
    world.send().wait()
    world.clock.settle()
    assert {event.request for event in seen} == {second.id}
    assert len(seen) == 3
    assert len(other) == 9


@pytest.mark.parametrize("before", [["remove"], ["add", "remove"]], ids="-".join)
def test_a_hook_that_was_removed_and_added_again_is_told_once(
    world: World, before: List[str]
) -> None:
    """However often it came and went: as often as it is registered, and no event in between."""
    world.producer(10)
    seen: List[Any] = []
    hook = seen.append
    world.dispatcher.add_hook(hook)
    for what in before:
        getattr(world.dispatcher, f"{what}_hook")(hook)
    if before == ["remove"]:
        world.dispatcher.add_hook(hook)
    world.send().wait()
    world.clock.settle()
    assert [short(event)[0] for event in seen] == [
        "request_opened",
        "reply_accepted",
        "request_completed",
    ]


def test_a_removed_hook_is_let_go(world: World) -> None:
    """Also when nothing happens any more."""

    class Hook:
        def __call__(self, event: Any) -> None:
            pass

    hook = Hook()
    reference = weakref.ref(hook)
    world.dispatcher.add_hook(hook)
    world.send()
    world.clock.settle()
    world.dispatcher.remove_hook(hook)
    del hook
    world.clock.settle()
    assert gone(reference)


def test_a_raising_hook_is_logged_once_and_removed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Others go on."""
    calls: List[Any] = []

    def breaks(event: Any) -> None:
        calls.append(event)
        raise Ours("hook")

    seen: List[Any] = []
    world.dispatcher.add_hook(breaks)
    world.dispatcher.add_hook(seen.append)
    world.producer(10)
    world.send().wait()
    world.send().wait()
    world.clock.settle()
    assert (len(calls), len(seen)) == (1, 6)
    (record,) = errors(caplog)
    assert "breaks" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is Ours
    with pytest.raises(TypeError, match="hook must be callable"):
        world.dispatcher.add_hook(7)  # type: ignore[arg-type]


def test_the_observers_thread_exists_only_when_somebody_observes(world: World) -> None:
    """A hook or a done callback, and then one thread for all of them."""
    world.producer(10)
    world.send().wait()
    world.clock.settle()
    assert not observers(world.dispatcher)
    world.send().add_done_callback(lambda _: None)
    world.dispatcher.add_hook(lambda _: None)
    world.dispatcher.add_hook(lambda _: None)
    world.clock.settle()
    assert len(observers(world.dispatcher)) == 1
    world.dispatcher.stop()
    world.dispatcher.join()
    world.clock.settle()
    all_told(world.dispatcher)
    assert not observers(world.dispatcher)


def test_a_slow_hook_delays_other_observers_only(world: World) -> None:
    """Requests, listeners and expiry go their way; the observers come after it, in order."""
    world.producer(10)
    listener = world.listener()
    order: List[Any] = []

    def slow(event: Any) -> None:
        world.clock.sleep(10)
        order.append(("slow", short(event)[0]))

    world.dispatcher.add_hook(slow)
    world.dispatcher.add_hook(lambda event: order.append(("quick", short(event)[0])))
    handle = world.send(ttl=10)
    handle.add_done_callback(lambda _: order.append(("done", "")))
    assert handle.results() == ["value"]
    assert world.clock.now() == 0.01
    world.clock.settle()
    assert listener.heard == ["value"]
    assert order == []
    world.clock.advance(60_000)
    assert order == [
        (who, what)
        for what in ("request_opened", "reply_accepted", "request_completed")
        for who in ("slow", "quick")
    ] + [("done", "")]


def test_hooks_may_use_the_dispatcher(world: World) -> None:
    """Send, wait for nothing, add and remove hooks, from the observers' thread."""
    world.producer(10)
    sent: List[Any] = []

    def once(event: Any) -> None:
        if isinstance(event, events.RequestCompleted):
            world.dispatcher.remove_hook(once)
            sent.append(world.send())

    world.dispatcher.add_hook(once)
    world.send()
    world.clock.advance(100)
    assert [handle.completion for handle in sent] == [Completion.ALL_REPLIED]


# -- work nobody wants -------------------------------------------------------------------------


def test_work_nobody_wants_is_not_begun(world: World) -> None:
    """Expired, cancelled or ended: of five queued requests the last is the next one executed."""
    producer = world.producer([200, 0])
    world.send(0, ttl=None)
    expired, cancelled = world.send(1, ttl=100), world.send(2, ttl=None)
    exactly, wanted = world.send(3, ttl=200), world.send(4, ttl=300)
    cancelled.cancel()
    world.clock.advance(1000)
    # At the very deadline it may still begin, and an answer at once is in time.
    assert [asked.args for asked in producer.asked] == [(0,), (3,), (4,)]
    assert [expired.completion, exactly.completion, wanted.completion] == [
        Completion.DEADLINE,
        Completion.ALL_REPLIED,
        Completion.ALL_REPLIED,
    ]


def test_the_current_request_is_known_to_its_producer(world: World) -> None:
    """Its id, topic, and how long somebody will wait; None elsewhere."""
    seen: List[Any] = []

    def looks(topic: str) -> None:
        request = current_request()
        assert request is not None
        seen.append((request.id, request.topic, request.remaining_ms, request.cancelled))
        world.clock.sleep(0.06)
        seen.append((request.remaining_ms, request.cancelled))
        world.clock.sleep(0.06)
        seen.append((request.remaining_ms, request.cancelled))

    world.producer(0, looks)
    elsewhere: List[Any] = []
    listener = world.listener(Attentive)
    listener.process_dispatcher_completion = lambda *_: elsewhere.append(current_request())
    world.dispatcher.add_hook(lambda _: elsewhere.append(current_request()))
    handle = world.send(ttl=100)
    assert current_request() is None
    world.clock.advance(200)
    assert seen == [
        (handle.id, "t", 100, False),
        (pytest.approx(40), False),
        (0, True),
    ]
    assert elsewhere == [None] * 4
    assert current_request() is None


def test_the_current_request_without_deadline_remains_for_ever(world: World) -> None:
    """`remaining_ms` is None then; a cancel shows."""
    seen: List[Any] = []

    def looks(topic: str) -> None:
        request = current_request()
        assert request is not None
        seen.append((request.remaining_ms, request.cancelled))
        world.clock.sleep(1)
        seen.append((request.remaining_ms, request.cancelled))

    world.producer(0, looks)
    handle = world.send(ttl=None)
    world.clock.advance(500)
    handle.cancel()
    world.clock.advance(1000)
    assert seen == [(None, False), (None, True)]


def test_between_two_requests_there_is_no_current_one(world: World) -> None:
    """A producer's thread that only waits, or ends, serves nobody."""
    seen: List[Any] = []

    class Wrapped(Producer):
        def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            request = current_request()
            seen.append(request is not None and request.id)

        def run(self) -> None:
            seen.append(current_request())
            super().run()
            seen.append(current_request())

    producer = world.cast(Wrapped())
    world.dispatcher.register_result_producer(producer, "t", start=True)
    handle = world.send()
    handle.wait()
    producer.stop()
    producer.join()
    assert seen == [None, handle.id, None]


# -- payloads ----------------------------------------------------------------------------------


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


def test_payloads_are_passed_by_reference_and_never_looked_into(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """No copy, no comparison, no formatting, whatever is logged or reported."""
    caplog.set_level(logging.DEBUG, "ate_dispatcher")
    payload, answer = Payload(), Payload()
    world.dispatcher.add_hook(lambda event: repr(event))
    producer = world.producer(10, answer)
    listener = world.listener(Attentive)
    handle = world.send(payload, key=payload)
    (result,) = handle.results()
    assert result is answer
    ((_, _, args, kwargs),) = producer.asked
    assert args[0] is payload
    assert kwargs["key"] is payload
    world.clock.settle()
    assert listener.heard[0] is answer
    assert str(handle.report())
    assert repr(handle.replies)
    assert not errors(caplog)


def test_each_producer_gets_its_own_keywords(world: World) -> None:
    """One that changes them changes nobody else's."""

    def takes(topic: str, **kwargs: Any) -> Any:
        kwargs.clear()
        return None

    first, second = world.producer(0, takes), world.producer(0, takes)
    world.send(a=1).wait()
    assert first.asked[0].kwargs == second.asked[0].kwargs == {"a": 1}


def forgetful(world: World) -> Any:
    """A producer that remembers nothing, by its script."""
    producer = world.producer(0)

    def produce(*_: Any, **__: Any) -> Any:
        if isinstance(producer.answer, BaseException):
            raise producer.answer
        return producer.answer()

    producer.produce_dispatcher_output = produce  # type: ignore[method-assign]
    return producer


def test_an_idle_dispatcher_holds_no_argument_and_no_result(world: World) -> None:
    """After everything was answered and heard."""
    arguments, results = Watched(), Watched()
    forgetful(world).answer = results
    listener = world.listener()
    listener.process_dispatcher_result = lambda *_: None
    world.dispatcher.add_hook(lambda _: None)
    for _ in range(3):
        world.send(arguments(), key=arguments()).wait()
    world.send(arguments(), topic="nobody")
    world.clock.settle()
    assert len(results.references) == 3
    assert arguments.all_gone()
    assert results.all_gone()


def test_an_idle_dispatcher_holds_no_exception(
    world: World, bare_logger: Callable[..., None]
) -> None:
    """Nor what the exception's frames hold."""
    bare_logger(logging.NullHandler())
    producer = forgetful(world)
    problem = Ours("x")
    producer.answer = problem
    world.listener(Attentive).process_dispatcher_error = lambda *_: None
    arguments, reference = Watched(), weakref.ref(problem)
    world.send(arguments()).wait()
    world.clock.settle()
    producer.answer = None
    del problem
    assert gone(reference)
    assert arguments.all_gone()


def test_an_idle_dispatcher_holds_no_listeners_exception(
    world: World, bare_logger: Callable[..., None]
) -> None:
    """Nor the result at which it was raised."""
    bare_logger(logging.NullHandler())
    results = Watched()
    forgetful(world).answer = results

    def breaks(topic: Any, response: Any) -> None:
        raise Ours("y")

    world.listener().process_dispatcher_result = breaks
    world.send().wait()
    world.clock.settle()
    assert results.all_gone()


@pytest.mark.parametrize("end", ["deadline", "cancel"])
@pytest.mark.parametrize("started", [True, False], ids=["hung", "never started"])
def test_what_ended_in_a_mailbox_holds_no_payload(world: World, started: bool, end: str) -> None:
    """A hung or never started producer keeps no argument, and nobody else's results."""
    arguments, results = Watched(), Watched()
    if started:
        queued_behind(world, FOREVER)
    else:
        world.producer(start=False)
    forgetful(world).answer = results
    for _ in range(5):
        handle = world.send(arguments(), key=arguments(), ttl=100)
        world.clock.advance(1)
        if end == "cancel":
            handle.cancel()
        handle.wait()
    del handle
    world.clock.settle()
    assert len(results.references) == 5
    assert arguments.all_gone()
    assert results.all_gone()


def test_what_ended_behind_an_open_request_holds_no_payload(world: World) -> None:
    """It may stay in the mailbox for as long as the one before it, but as an empty husk."""
    arguments, results = Watched(), Watched()
    queued_behind(world, FOREVER)
    waits = [world.send(n, ttl=None) for n in range(5)]
    forgetful(world).answer = results
    world.send(arguments(), ttl=100).wait()
    world.clock.settle()
    assert not any(handle.done() for handle in waits)
    assert len(results.references) == 1
    assert arguments.all_gone()
    assert results.all_gone()


def test_a_hung_producer_keeps_nobody_elses_results(world: World) -> None:
    """Those of the very request in which it hangs, once that has ended."""
    results = Watched()
    world.producer(FOREVER)
    forgetful(world).answer = results
    world.send(ttl=100).wait()
    world.clock.settle()
    assert len(results.references) == 1
    assert results.all_gone()


def test_a_hung_producer_keeps_none_of_its_earlier_results(world: World) -> None:
    """Its thread went straight from one request to the next, without parking in between."""
    results = Watched()
    arguments = Watched()
    producer = forgetful(world)
    producer.answer = results

    def produce(topic: Any, hang: bool, argument: Any) -> Any:
        del argument
        if hang:
            world.clock.sleep(FOREVER)
        return results()

    producer.produce_dispatcher_output = produce
    handles = [world.send(hang, arguments(), ttl=100) for hang in (False, True)]
    for handle in handles:
        handle.wait()
    assert [handle.completion for handle in handles] == [
        Completion.ALL_REPLIED,
        Completion.DEADLINE,
    ]
    del handle, handles
    world.clock.settle()
    assert len(results.references) == 1
    assert results.all_gone()
    assert gone(arguments.references[0])


@pytest.mark.parametrize("started", [True, False], ids=["hung", "never started"])
def test_a_producer_shared_with_another_dispatcher_keeps_no_payload(
    world: World, started: bool
) -> None:
    """The second dispatcher's requests end in its mailbox like the first one's; the mailbox does
    not grow, and who was not begun is skipped.
    """
    arguments, results = Watched(), Watched()
    second = world.second()
    shared = queued_behind(world, FOREVER) if started else world.producer(start=False)
    quick = forgetful(world)
    quick.answer = results
    world.dispatcher.deregister_result_producer(quick, "t")
    second.register_result_producer(quick, "t")
    second.register_result_producer(shared, "t")
    for _ in range(20):
        second.send_request("t", arguments(), ttl=100).wait()
        world.clock.settle()
    assert arguments.all_gone()
    assert results.all_gone()
    assert inside.backlog(shared) <= 2
    counts = second.statistics().verdicts
    assert (counts[Verdict.OK], counts[Verdict.MISSING] + counts[Verdict.SKIPPED]) == (20, 20)
    assert counts[Verdict.MISSING] <= 1


def test_what_ended_in_the_mailbox_of_a_shared_producer_is_skipped(world: World) -> None:
    """Its turn comes for a request of either dispatcher."""
    second = world.second()
    shared = queued_behind(world, 500)
    second.register_result_producer(shared, "t")
    handles = [second.send_request("t", ttl=100), world.send(ttl=100)]
    world.clock.advance(1000)
    assert [verdicts(handle) for handle in handles] == [["SKIPPED(QUEUED)"]] * 2
    assert len(shared.asked) == 1


@pytest.mark.parametrize("fate", ["served", "hung", "never started"])
def test_an_idle_dispatcher_holds_no_deregistered_producer(world: World, fate: str) -> None:
    """Once its requests have ended; and its user may drop it, if no thread of it runs."""
    producer = world.producer(FOREVER if fate == "hung" else 0, start=fate != "never started")
    listener = world.listener()
    world.send(ttl=100).wait()
    world.send(ttl=100).wait()
    for participant in (producer, listener):
        participant.stop()
    world.dispatcher.deregister_result_producer(producer, "t")
    world.dispatcher.deregister_result_listener(listener, "t")
    listener.join()
    references = [weakref.ref(listener)]
    if fate != "hung":
        references.append(weakref.ref(producer))
    if fate == "served":
        producer.join()
    del participant, listener
    held = [] if fate != "hung" else [producer]
    del producer
    world.clock.settle()
    assert all(gone(reference) for reference in references)
    del held


def test_a_hung_listener_keeps_only_what_it_has_not_heard(world: World) -> None:
    """The results before the one in which it hangs are gone, also those of the same request."""
    results = Watched()
    forgetful(world).answer = results
    forgetful(world).answer = results
    listener = world.listener()

    def hangs(topic: Any, response: Any) -> None:
        del response
        if len(listener.at) == 1:
            world.clock.sleep(FOREVER)
        listener.at.append(world.clock.now())

    listener.process_dispatcher_result = hangs
    world.send().wait()
    world.clock.settle()
    assert len(listener.at) == 1
    assert len(results.references) == 2
    assert gone(results.references[0])


def test_a_handle_keeps_its_results_and_only_it_does(world: World) -> None:
    """They live as long as the caller holds it."""
    results = Watched()
    forgetful(world).answer = results
    handle = world.send()
    handle.wait()
    world.clock.settle()
    assert not results.all_gone()
    assert handle.results()[0] is results.references[0]()
    del handle
    assert results.all_gone()


# -- options, logging, deadlines ---------------------------------------------------------------


def test_options_bind_the_ttl_and_leave_every_keyword_to_the_producers(world: World) -> None:
    """Even one called ttl; a sender may be used again and again."""
    producer = world.producer([10, 200])
    sender = world.dispatcher.options(ttl=100)
    assert sender.send_request("t", 1, ttl="theirs", topics=2).results() == ["value"]
    assert producer.asked == [(0, "t", (1,), {"ttl": "theirs", "topics": 2})]
    handle = sender.send_request("t")
    assert handle.results() == []
    assert handle.report().ttl_ms == 100
    assert world.dispatcher.options(ttl=None).send_request("t").report().ttl_ms is None


def test_debug_shows_the_traffic_if_it_is_on_before_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Names, verdicts and times; no payload."""
    caplog.set_level(logging.DEBUG, "ate_dispatcher")
    world = World()
    world.producer(10, Payload(), name="site 9")
    world.send(Payload(), key=Payload()).wait()
    world.clock.settle()
    lines = [record.getMessage() for record in logged(caplog, logging.DEBUG)]
    assert len(lines) == 3
    for line, kind in zip(lines, ["RequestOpened", "ReplyAccepted", "RequestCompleted"]):
        assert kind in line
        assert "site 9" in line
    world.close()


def test_without_debug_there_is_no_traffic_and_no_observer(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Free on the hot path."""
    world.producer(10)
    world.send().wait()
    world.clock.settle()
    assert not observers(world.dispatcher)
    assert not [r for r in caplog.records if r.name == "ate_dispatcher"]


def test_a_producer_that_was_asked_but_never_started_is_warned_of_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of them, by name."""
    world.producer(start=False, name="asleep")
    world.producer(start=False, name="absent")
    for _ in range(3):
        world.send(ttl=10).wait()
    world.clock.settle()
    messages = [record.getMessage() for record in logged(caplog, logging.WARNING)]
    assert messages == [
        "producer asleep was asked but never started",
        "producer absent was asked but never started",
    ]


def test_one_that_starts_in_time_is_not_warned_of(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The order of start, registration and send does not matter."""
    producer = world.producer(start=False)
    handle = world.send(ttl=100)
    world.clock.advance(50)
    producer.start()
    assert handle.results() == ["value"]
    assert not logged(caplog, logging.WARNING)


def test_a_request_without_deadline_waits_as_long_as_it_takes(world: World) -> None:
    """Between others that expire; and it ends by answer, cancel or stop alone."""
    world.producer([3e7, FOREVER])
    answered, cancelled, stopped = [world.send(ttl=None) for _ in range(3)]
    for _ in range(3):
        world.send(ttl=10, topic="nobody")
        world.send(ttl=10).wait()
    world.clock.advance(2e7)
    assert not answered.done()
    assert answered.results() == ["value"]
    world.clock.advance(1e7)
    assert not cancelled.done()
    cancelled.cancel()
    assert list(cancelled) == []
    world.dispatcher.stop(drain=100)
    stopped.wait()
    assert stopped.completion is Completion.STOPPED


def test_a_sleeping_keeper_is_not_woken_by_what_can_wait(world: World) -> None:
    """Only a nearer deadline, or something to do, rings it."""
    world.producer(FOREVER)
    world.send(ttl=1000)
    world.clock.settle()
    assert inside.loop_is_parked(world.dispatcher)
    for _ in range(10):
        world.send(ttl=2000)
        world.send(ttl=None)
    assert not inside.loop_is_woken(world.dispatcher, world.clock)
    handle = world.send(ttl=500)
    assert inside.loop_is_woken(world.dispatcher, world.clock)
    handle.wait()
    assert world.clock.now() == pytest.approx(0.5)


class Hasty(Producer):
    """Answers at once."""

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        return args


def test_a_wait_for_a_dispatcher_that_nobody_started_says_so(caplog: Any) -> None:
    """Nothing ends before the start; whoever waits beyond the ttl finds a line in the log."""
    dispatcher = Dispatcher(name="rig")
    dispatcher.register_result_producer(Hasty(), "t", start=True)
    handle = dispatcher.send_request("t", ttl=1)
    with caplog.at_level(logging.WARNING, logger="ate_dispatcher"):
        assert handle.wait(0.05) is False
    assert [record.getMessage() for record in caplog.records] == [
        f"request {handle.id} waits for its dispatcher to be started"
    ]
    with dispatcher:
        assert handle.results() == []
    assert handle.completion is Completion.DEADLINE


@pytest.mark.parametrize("ms", [None, float("inf"), float("nan"), -1, "5", True])
def test_a_clock_is_not_advanced_by_what_is_no_duration(ms: Any) -> None:
    """Refused at the call, by name."""
    with pytest.raises(DispatcherError, match="ms must be"):
        VirtualClock().advance(ms)


def test_a_second_stop_of_an_ended_producer_takes_nobodys_request() -> None:
    """Whoever asks a producer that has ended is told so, whatever else reaches its mailbox."""
    with Dispatcher() as dispatcher:
        producer = Hasty()
        dispatcher.register_result_producer(producer, "t", start=True)
        producer.stop()
        producer.join(30)
        assert not producer.is_alive()
        for _ in range(50):
            handle = dispatcher.send_request("t", ttl=None)
            producer.stop()
            assert handle.wait(30)
            assert [line.verdict for line in handle.report().members] == [Verdict.DECLINED]


def test_nobody_is_a_producer_and_a_listener_at_once() -> None:
    """One thread serves one kind of message; the mixture is refused at the call."""

    class Both(Producer, ResultListener):
        def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            return args

        def process_dispatcher_result(self, topic: Any, response: Any) -> None:
            pass

    with pytest.raises(DispatcherError, match="at once"):
        Dispatcher().register_result_producer(Both(), "t")
