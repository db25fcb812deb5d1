"""Virtual time is loud when it is stuck, and goes on behind whatever was cut short."""

from __future__ import annotations

import _thread
import threading
import time
from typing import Any, Callable, List

import inside
import pytest
from rig import PATIENCE
from virtual import Attentive, Scripted, World

from ate_dispatcher import Dispatcher, Producer
from ate_dispatcher.testing import (
    ClockStopped,
    ScriptedProducer,
    VirtualClock,
    VirtualTimeStuck,
    hangs,
)


def really_blocks(call: Callable[[World, Any], Any]) -> str:
    """What the failure says when a producer blocks in real time."""
    world = World()
    world.clock._patience = 0.1
    gate = threading.Event()

    def blocks_for_real(topic: Any) -> None:
        assert gate.wait(30)

    world.producer(0, blocks_for_real, name="the culprit")
    world.producer(10, name="somebody else")
    handle = world.send(ttl=1000)
    with pytest.raises(VirtualTimeStuck) as caught:
        call(world, handle)
    gate.set()
    world.clock._patience = 2.0
    assert handle.results(timeout=30) == [None, "value"]
    world.close()
    return str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda world, handle: handle.wait(),
        lambda world, handle: handle.results(timeout=5),
        lambda world, handle: list(handle),
        lambda world, handle: world.clock.advance(100),
        lambda world, handle: world.clock.settle(),
    ],
    ids=["wait", "results", "iterate", "advance", "settle"],
)
def test_a_thread_that_really_blocks_fails_loudly(call: Callable[[World, Any], Any]) -> None:
    """After the clock's patience, naming the thread and where it is; and things can go on."""
    message = really_blocks(call)
    assert "the culprit runs and does not come back" in message
    assert "blocks_for_real" in message
    assert "somebody else runs" not in message


def test_waiting_for_what_cannot_come_fails_loudly() -> None:
    """Everybody is parked, nobody waits for an instant, and the request has no deadline."""
    world = World()
    world.clock._patience = 0.1
    world.producer(start=False)
    handle = world.send(ttl=None)
    with pytest.raises(VirtualTimeStuck, match="everybody is parked"):
        handle.wait()
    world.clock._patience = 10.0
    handle.cancel()
    assert handle.wait()
    world.close()


@pytest.mark.parametrize("settled", [True, False])
def test_who_was_started_before_registering_joins_virtual_time(settled: bool) -> None:
    """Whether it has come to its loop by then or not."""
    world = World()
    producer = world.cast(Scripted(world.clock, 1000, "value", None))
    listener = world.cast(Attentive(world.clock, 0, None, None))
    for worker in (producer, listener):
        worker.start()
        while settled and not inside.is_parked(worker):
            time.sleep(0)
    world.dispatcher.register_result_producer(producer, "t")
    world.dispatcher.register_result_listener(listener, "t")
    handle = world.send(ttl=1000)
    assert handle.results() == ["value"]
    assert world.clock.now() == 1
    world.clock.settle()
    assert listener.heard == ["value", handle.report()]
    world.close()


# -- threads that are not under the clock, and waits that are cut short ------------------------


def test_a_start_from_elsewhere_wakes_those_who_wait() -> None:
    """A participant is started by a plain thread while all are parked: it has its turn."""
    world = World()
    world.clock._patience = 5.0
    producer = world.producer(start=False)
    handle = world.send(ttl=None)
    world.clock.settle()
    starter = threading.Thread(target=lambda: (parked(world.clock), producer.start()))
    starter.start()
    assert handle.results() == ["value"]
    starter.join()
    world.close()


def parked(clock: VirtualClock) -> None:
    """Come back when nobody has the baton."""
    lost = time.monotonic() + 30
    while clock._holder is not None:
        assert time.monotonic() < lost
        time.sleep(0)


class Interrupted(Exception):
    """What a signal handler raises."""


@pytest.mark.parametrize("granted", [False, True])
def test_a_wait_that_was_cut_short_leaves_nothing_behind(granted: bool) -> None:
    """By an exception of a signal handler, before or after its time had come."""
    world = World()
    world.producer(2000)
    handle = world.send(ttl=None)
    usual = world.clock._wait_outside

    def interrupted(bell: Any) -> None:
        if granted:
            usual(bell)
            bell.gate.put(None)
        raise Interrupted

    world.clock._wait_outside = interrupted  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        handle.wait(timeout=1)
    del world.clock._wait_outside  # type: ignore[method-assign]
    assert handle.results() == ["value"]
    assert world.clock.now() == 2
    world.close()


def test_after_a_stuck_wait_the_next_one_is_as_good_as_new() -> None:
    """What had been about to be told to the first is not in its way."""
    world = World()
    world.clock._patience = 0.2
    gate = threading.Event()
    world.producer(0, "quick")
    world.producer(0, lambda topic: gate.wait(30) and "slow")
    world.clock.settle()
    handle = world.send(ttl=None)
    with pytest.raises(VirtualTimeStuck):
        list(handle)
    assert world.clock.stuck
    gate.set()
    world.clock._patience = 10.0
    assert handle.results() == ["quick", "slow"]
    assert not world.clock.stuck
    world.close()


def test_threads_that_wake_each_other_for_ever_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time cannot go by, and nobody waits in vain for it."""
    monkeypatch.setattr("ate_dispatcher._time.virtual_clock._TURNS", 2000)
    world = World()
    world.clock._patience = 1.0
    world.producer()
    again = Attentive(world.clock, 0, None, None)
    on = [True]

    def ask(topic: Any, response: Any) -> None:
        if on:
            world.send(ttl=None)

    again.process_dispatcher_result = ask  # type: ignore[method-assign]
    world.dispatcher.register_result_listener(again, "t", start=True)
    world.send(ttl=None)
    with pytest.raises(VirtualTimeStuck, match="threads wake each other"):
        world.clock.advance(10)
    on.clear()
    world.clock.settle()
    again.stop()
    world.close()


def test_a_refused_adoption_changes_nothing() -> None:
    """Neither by a stopped clock, nor one that has lost patience with a thread."""
    stopped, world = VirtualClock(), World()
    dispatcher = Dispatcher(clock=stopped)
    stopped.stop()
    producer = ScriptedProducer(1)
    with pytest.raises(ClockStopped):
        dispatcher.register_result_producer(producer, "t")
    gate = threading.Event()

    class Late(ScriptedProducer):
        def run(self) -> None:
            gate.wait(30)
            super().run()

    late = Late(2)
    late.start()
    world.clock._patience = 0.1
    with pytest.raises(VirtualTimeStuck, match="does not come to its loop"):
        world.dispatcher.register_result_producer(late, "t")
    gate.set()
    world.clock._patience = 10.0
    for each in (producer, late):
        world.dispatcher.register_result_producer(world.cast(each), "t", start=True)
    assert sorted(world.send().results()) == [1, 2]
    world.close()


def test_a_join_with_a_timeout_leaves_nothing_and_keeps_to_it() -> None:
    """Also when the clock has been stopped."""
    world = World()
    hung = world.cast(ScriptedProducer(hangs()))
    world.dispatcher.register_result_producer(hung, "t", start=True)
    handle = world.send(ttl=None)
    for _ in range(10):
        hung.join(0.1)
    assert world.clock.now() == pytest.approx(1)
    assert inside.parker_of(hung).joiners == []
    world.clock.stop()
    before = time.monotonic()
    hung.join(0.1)
    assert time.monotonic() - before < 5
    hung.release(for_good=True)
    while not handle.done():
        time.sleep(0)
    world.dispatcher.stop()
    for thread in (world.dispatcher, hung):
        thread.join(30)
        assert not thread.is_alive()


def test_a_thread_that_has_ended_is_not_alive_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly the interpreter sees it off: the test goes on when it is over."""

    class Quick(Producer):
        def produce_dispatcher_output(self, topic: Any) -> None:
            pass

    # What a thread does last of all.
    usual: Any = vars(threading.Thread)["_delete"]

    def slowly(thread: threading.Thread) -> None:
        time.sleep(0.05)
        usual(thread)

    monkeypatch.setattr(threading.Thread, "_delete", slowly)
    clock = VirtualClock()
    dispatcher = Dispatcher(clock=clock)
    producer = Quick()
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.start()
    producer.stop()
    clock.advance(1)
    assert not producer.is_alive()
    dispatcher.stop()
    clock.settle()
    assert not dispatcher.is_alive()
    clock.stop()


def test_a_thread_that_nobody_manages_may_end_in_its_turn() -> None:
    """One that was started below `threading`: time goes on."""
    clock = VirtualClock(patience=1)
    slept: List[float] = []

    def sleeps() -> None:
        clock.sleep(1)
        slept.append(clock.now())

    _thread.start_new_thread(sleeps, ())
    until = time.monotonic() + PATIENCE
    while not slept and time.monotonic() < until:
        clock.sleep(5)
    assert slept
    clock.sleep(5)
    clock.stop()
