"""When time is up: what a ttl may be, and who is in time; on virtual time."""

from __future__ import annotations

import numbers
import threading
from decimal import Decimal
from fractions import Fraction
from typing import Any, List, Tuple

import pytest
from rig import GatedOnce
from virtual import FOREVER, Attentive, World, verdicts, world

from ate_dispatcher import Completion, Dispatcher, RequestTimeout

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
        (Decimal(-5), ValueError),
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
