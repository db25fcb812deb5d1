"""Virtual time is loud when it is stuck, and goes on behind whatever was cut short."""

from __future__ import annotations

import _thread
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List

import inside
import pytest
from rig import CAST, PATIENCE, python
from virtual import Attentive, Scripted, World

from ate_dispatcher import Dispatcher, Producer
from ate_dispatcher._time import virtual_watch
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
    gate = threading.Event()

    def blocks_for_real(topic: Any) -> None:
        # Only now: it may take its time until it is here.
        world.clock._patience = 0.1
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
    world.producer(start=False)
    handle = world.send(ttl=None)
    world.clock.settle()
    world.clock._patience = 0.1
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
    gate = threading.Event()

    def slow(topic: Any) -> str:
        world.clock._patience = 0.2
        assert gate.wait(30)
        return "slow"

    world.producer(0, "quick")
    world.producer(0, slow)
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
    monkeypatch.setattr("ate_dispatcher._time.virtual_watch._TURNS", 2000)
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


# -- real time under virtual time --------------------------------------------------------------


class Hands:
    """Real time as the clock's watch reads it: it passes by hand, and so much at each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 100.0
        self.at_each_look = 0.0
        self.looks = 0
        usual = virtual_watch.Vigil.in_vain

        def in_vain(vigil: virtual_watch.Vigil, clock: Any) -> Any:
            self.looks += 1
            self.at += self.at_each_look
            return usual(vigil, clock)

        monkeypatch.setattr(virtual_watch, "REAL", self)
        monkeypatch.setattr(virtual_watch, "_LOOK", 0.002)
        monkeypatch.setattr(virtual_watch.Vigil, "in_vain", in_vain)

    def now(self) -> float:
        return self.at

    def passes(self, seconds: float) -> None:
        self.at += seconds


def test_who_blocks_for_real_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, how long and how often; not who is quick, nor the test itself."""
    hands, world = Hands(monkeypatch), World()
    blocks = iter([0.3, 0.3, 0.4])
    world.producer(0, lambda topic: hands.passes(next(blocks)), name="site 1")
    world.producer(10, lambda topic: hands.passes(0.1), name="site 2")
    world.clock.advance(1)
    assert world.clock.notes() == []
    hands.passes(5)
    assert world.send().results() == [None, None]
    (note,) = world.clock.notes()
    assert note.startswith("site 1 blocked for 300 ms of real time")
    assert "use virtual_clock.sleep" in note
    assert [world.send().results() for _ in range(2)] == [[None, None]] * 2
    (note,) = world.clock.notes()
    assert note.startswith("site 1 blocked for 400 ms of real time (3 times; this was the longest)")
    world.close()


@pytest.mark.skipif(not virtual_watch.READABLE, reason="nobody can see where a thread is")
def test_a_note_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the user's that blocks, whatever of the library it blocks in."""
    hands, world = Hands(monkeypatch), World()
    gate = threading.Event()

    def measures(topic: Any) -> None:
        hands.passes(0.3)
        assert gate.wait(PATIENCE)

    def opens() -> None:
        watch = world.clock._watch
        until = time.monotonic() + PATIENCE
        while "measures" not in watch._place[1] and time.monotonic() < until:
            time.sleep(0)
        gate.set()

    world.producer(0, measures, name="site 1")
    opener = threading.Thread(target=opens)
    opener.start()
    world.send().wait()
    opener.join()
    line = measures.__code__.co_firstlineno + 2
    (note,) = world.clock.notes()
    assert f"of real time, at test_virtual_clock.py:{line} in measures" in note
    world.close()


@pytest.mark.thorough
def test_where_nothing_can_come_little_is_waited_for() -> None:
    """A tenth of the patience, if nobody is there who could bring something: nor a handler."""
    done = python(
        CAST
        + """
    import signal
    from ate_dispatcher.testing import VirtualClock, VirtualTimeStuck

    def waits(patience):
        with Dispatcher(clock=VirtualClock(patience=patience)) as dispatcher:
            dispatcher.register_result_producer(Site(), 't')
            handle, began = dispatcher.send_request('t', ttl=None), time.monotonic()
            try:
                handle.wait()
            except VirtualTimeStuck as error:
                assert 'everybody is parked and nobody waits for an instant' in str(error)
            handle.cancel()
            return time.monotonic() - began

    assert waits(20) < 15
    signal.signal(signal.SIGTERM, lambda *_: None)
    assert waits(0.5) >= 0.5
    """
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("in_a_pool", [False, True])
def test_who_could_bring_something_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, in_a_pool: bool
) -> None:
    """A thread beside virtual time that is younger than the clock, or of a pool and at work."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(int).result()
        hands, world = Hands(monkeypatch), World()
        producer = world.producer(start=False)

        def starts() -> None:
            until = time.monotonic() + PATIENCE
            while hands.looks < 12 and time.monotonic() < until:
                time.sleep(0)
            # It may take its time until it is there.
            hands.at_each_look = 0.0
            producer.start()

        handle = world.send(ttl=None)
        world.clock.settle()
        hands.looks, hands.at_each_look = 0, 0.25
        starter = threading.Thread(target=starts)
        over = pool.submit(starts).result if in_a_pool else starter.join
        if not in_a_pool:
            starter.start()
        assert handle.results() == ["value"]
        over()
        assert hands.looks >= 12
        world.close()


def test_who_waits_again_while_it_is_stuck_waits_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patience is spent once, not by each wait that follows."""
    hands, world = Hands(monkeypatch), World()
    gate = threading.Event()

    def blocks(topic: Any) -> bool:
        # Only now: a look that comes before sees that others get on.
        hands.looks, hands.at_each_look = 0, 0.25
        return gate.wait(PATIENCE)

    world.producer(0, blocks)
    handle = world.send(ttl=None)
    with pytest.raises(VirtualTimeStuck, match=r"no progress in 10\.0 s"):
        handle.wait()
    looks = hands.looks
    for call in (handle.wait, world.clock.settle, world.dispatcher.join):
        with pytest.raises(VirtualTimeStuck, match=r"no progress in 1\.0 s"):
            call()
    assert (looks, hands.looks) == (40, 52)
    gate.set()
    # Now it takes real time until it comes back, and no look costs any.
    monkeypatch.undo()
    parked(world.clock)
    assert handle.results() == [True]
    world.close()


def test_the_tests_own_thread_is_named_if_it_holds_time_up() -> None:
    """It waits for a thread of a pool, which waits for virtual time."""
    world = World()
    world.producer(10)
    handle = world.send()
    world.clock.settle()
    world.clock._patience = 0.2
    with ThreadPoolExecutor(thread_name_prefix="pool") as pool:
        future = pool.submit(handle.results)
        with pytest.raises(VirtualTimeStuck) as caught:
            future.result(PATIENCE)
    message = str(caught.value)
    assert f"{threading.current_thread().name} runs and does not come back:" in message
    assert "future.result(PATIENCE)" in message
    assert "pool_0" not in message
    assert handle.results() == ["value"]
    world.close()


def test_who_is_waited_for_in_a_pool_is_named() -> None:
    """The threads that are at work there, and none that idles."""
    world = World()
    gate = threading.Event()
    met = threading.Barrier(2)

    def measures_for_real() -> None:
        world.clock._patience = 0.2
        assert gate.wait(PATIENCE)

    with ThreadPoolExecutor(2, "pool") as pool:
        for _ in range(2):
            pool.submit(met.wait, PATIENCE)
        world.producer(0, lambda topic: pool.submit(measures_for_real).result(), name="site 1")
        with pytest.raises(VirtualTimeStuck) as caught:
            world.send(ttl=None).wait()
        gate.set()
    message = str(caught.value)
    assert "site 1 runs and does not come back:" in message
    assert len(re.findall(r"pool_[01] is at work beside virtual time:", message)) == 1
    assert "in measures_for_real" in message
    assert "MainThread" not in message
    world.clock._patience = 10.0
    world.close()


def test_one_who_only_looks_is_told_that_time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one patience and many looks. Who waits in between, and who lives there, may look."""
    hands, world = Hands(monkeypatch), World()

    def looks(often: int) -> None:
        for _ in range(often):
            world.clock.looked(1)

    world.producer(0, lambda topic: looks(5000))
    looks(5000)
    hands.passes(20)
    world.clock.advance(1)
    looks(5000)
    world.clock.advance(1)
    hands.passes(20)
    looks(999)
    assert world.send().results() == [None]
    looks(5000)
    hands.passes(10)
    says = "virtual time has not moved in 10.0 s and .* looks .*: call wait"
    with pytest.raises(VirtualTimeStuck, match=says):
        looks(1)
    world.close()


@pytest.mark.parametrize("bad", [None, -1, float("nan"), float("inf"), "5", True])
def test_an_advance_is_named_as_it_is_written(bad: Any) -> None:
    """With its unit, by position or by keyword; nonsense is refused by that name."""
    clock = VirtualClock()
    clock.advance(ms=500)
    clock.advance(500)
    assert clock.now() == 1
    with pytest.raises((TypeError, ValueError), match=r"^ms must be"):
        clock.advance(ms=bad)
    assert clock.now() == 1
