"""Corners of instruments, workers, start lines and circles, each seen to fail once.

On virtual time where it can be told in one order of events, else with a gate.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
import weakref
from typing import Any, List

import inside
import pytest
import rig
import seams
from rig import pace
from virtual import Attentive, World, logged, verdicts, world

from ate_dispatcher import Dispatcher, Producer, Until, current_request
from ate_dispatcher.testing import ScriptedProducer, answers, computes

__all__ = ["pace", "world"]


def site(world: World, name: str, *topics: str, ms: float = 10, **options: Any) -> Any:
    """A producer that answers its name after *ms*."""
    made = world.cast(ScriptedProducer(answers(name, after_ms=ms), name=name, **options))
    if topics:
        world.dispatcher.register_result_producer(made, *topics, start=True)
    return made


class Does(Producer):
    """Answers with what a function of no arguments returns, on its own thread."""

    def __init__(self, what: Any, **options: Any) -> None:
        super().__init__(**options)
        self.what = what

    def produce_dispatcher_output(self, topic: Any) -> Any:
        return self.what()


def does(world: World, what: Any, *topics: str, **options: Any) -> Any:
    """One that does that."""
    made = world.cast(Does(what, **options))
    world.dispatcher.register_result_producer(made, *topics, start=True)
    return made


def circles(world: World, caplog: pytest.LogCaptureFixture) -> List[str]:
    """What was said of circles."""
    world.clock.settle()
    return [r.getMessage() for r in logged(caplog, logging.WARNING) if "circle" in r.getMessage()]


# -- start lines -------------------------------------------------------------------------------


def test_start_lines_of_two_dispatchers_do_not_wait_for_each_other(world: World) -> None:
    """Who is to come to the first may need, for the second, what somebody at its line has."""
    second = world.second()
    a, z = site(world, "a", "L1"), site(world, "z", exclusive="psu")
    w = site(world, "w", "L1", "busy", ms=100, exclusive="psu")
    second.register_result_producer(z, "L2", start=True)
    second.register_result_producer(a, "L2")
    second.register_result_producer(w, "plain")
    handles = [world.dispatcher.send_request("busy", ttl=None)]
    world.clock.settle()
    handles.append(second.send_request("plain", ttl=None))
    handles.append(world.dispatcher.options(barrier=True, ttl=None).send_request("L1"))
    world.clock.settle()
    handles.append(second.options(barrier=True, ttl=None).send_request("L2"))
    world.clock.advance(1000)
    assert [handle.report().complete for handle in handles] == [True] * 4
    assert inside.start_lines(world.dispatcher) == []


def test_instruments_of_another_dispatcher_are_no_matter_for_a_line(world: World) -> None:
    """Unless one of the line's members serves that as well: the names are those of each."""
    second = world.second()
    site(world, "a", "L1", exclusive="psu")
    site(world, "late", "L1", "busy", ms=500)
    z = site(world, "z", exclusive="psu")
    second.register_result_producer(z, "L2", start=True)
    world.dispatcher.send_request("busy", ttl=None)
    first = world.dispatcher.options(barrier=True, ttl=None).send_request("L1")
    world.clock.settle()
    assert second.options(barrier=True, ttl=None).send_request("L2").results() == ["z"]
    assert world.clock.now() == pytest.approx(0.01)
    assert first.results() == ["a", "late"]


def test_a_producer_that_is_stopped_serves_barrier_requests_sent_before(world: World) -> None:
    """And what was sent behind them: they are on their way to its mailbox."""
    a = site(world, "a", "t")
    b = site(world, "b")
    second = world.second()
    second.register_result_producer(b, "t", start=True)
    world.clock.settle()
    handles = [
        world.dispatcher.options(barrier=True, ttl=None).send_request("t"),
        world.dispatcher.send_request("t", ttl=None),
    ]
    a.stop()
    b.stop()
    assert [handle.results() for handle in handles] == [["a"], ["a"]]
    for each in (a, b):
        each.join()
        assert not each.is_alive()


def test_a_stopped_producer_ends_although_its_dispatcher_does(world: World) -> None:
    """Both are stopped while something is to be handed out."""
    a = site(world, "a", "t")
    world.clock.settle()
    handle = world.dispatcher.options(barrier=True, ttl=None).send_request("t")
    a.stop()
    world.dispatcher.stop(immediate=True)
    world.dispatcher.join()
    a.join()
    assert not a.is_alive()
    assert handle.done()


# -- between the mailbox and the method --------------------------------------------------------


def test_who_rings_a_hand_and_is_held_does_not_forget_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has taken the message and parked again meanwhile."""
    rung, go = threading.Event(), threading.Event()

    def slowly(ring: Any) -> Any:
        def slow(self: Any) -> None:
            ring(self)
            if threading.current_thread().name == "putter":
                rung.set()
                rig.came(go)

        return slow

    for place in seams.WAKES:
        monkeypatch.setattr(*place, slowly(getattr(*place)))
    gate = threading.Event()
    with Dispatcher() as dispatcher:
        crew = rig.Answer(lambda _, what: gate.wait(rig.PATIENCE) if what else None, workers=2)
        dispatcher.register_result_producer(crew, "t", start=True)
        # Before it is open the dispatcher's own thread would ring.
        rig.settle(dispatcher)
        handles: List[Any] = []
        while inside.parked_workers(crew) < 2:
            time.sleep(0)
        putter = threading.Thread(
            target=lambda: handles.append(dispatcher.send_request("t", False, ttl=None)),
            name="putter",
        )
        putter.start()
        rig.came(rung)
        while inside.backlog(crew) or inside.parked_workers(crew) < 2:
            time.sleep(0)
        go.set()
        rig.over(putter)
        rig.ended(*handles)
        long = dispatcher.send_request("t", True, ttl=None)
        short = dispatcher.send_request("t", False, ttl=None)
        rig.ended(short)
        assert not long.done()
        gate.set()
        rig.ended(long)
        crew.stop()
        rig.over(crew)


@pytest.mark.usefixtures("pace")
def test_hands_that_are_rung_all_the_time_lose_no_wake_up() -> None:
    """Many senders, three hands, short work: everybody is served, and stop() ends them all."""
    with Dispatcher() as dispatcher:
        crew = rig.Answer(lambda topic: None, workers=3)
        dispatcher.register_result_producer(crew, "t", start=True)

        def send() -> None:
            for _ in range(150):
                dispatcher.send_request("t", ttl=None).wait(rig.PATIENCE)

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        rig.over(*threads)
        rig.sums_add_up(dispatcher)
        crew.stop()
        rig.over(crew)


# -- what is kept, and what is shown -----------------------------------------------------------


def test_what_was_said_of_progress_keeps_no_result(world: World) -> None:
    """Nor the request it was said of."""

    class Result:
        pass

    results: List[Any] = []

    def work() -> Any:
        request = current_request()
        assert request is not None
        request.progress(0.5)
        made = Result()
        results.append(weakref.ref(made))
        return made

    for options in ({}, {"exclusive": "psu1"}):
        does(world, work, "t", **options)
    world.send().wait()
    world.clock.settle()
    gc.collect()
    assert [result() for result in results] == [None, None]


def test_a_report_whose_clock_was_read_before_what_it_sees_has_no_negative_times(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something began in between."""
    runs = site(world, "runs", "t", ms=1000)
    held = does(world, lambda: None, "t", name="held", exclusive="psu1")
    other = does(world, lambda: world.clock.sleep(1), "other", name="other", exclusive="psu1")
    world.send(topic="other")
    handle = world.send(ttl=None)
    world.clock.advance(100)
    monkeypatch.setattr(world.clock, "now", lambda: -1.0)
    report = handle.report()
    monkeypatch.undo()
    assert [member.producer for member in report.members] == ["runs", "held"]
    for member in report.members:
        assert member.waited_ms == pytest.approx(0)
        assert (member.ran_ms or 0) >= 0
        assert (member.instrument_ms or 0) >= 0
    assert runs.is_alive()
    assert held.is_alive()
    assert other.is_alive()


# -- circles -----------------------------------------------------------------------------------


def test_what_goes_on_by_itself_is_no_circle(world: World, caplog: Any) -> None:
    """A start line that does not wait for all; a first reply that somebody else can give."""
    dispatcher = world.dispatcher
    site(world, "b", "line", "n")

    def behind_a_line() -> Any:
        dispatcher.options(barrier=50, ttl=None).send_request("line")
        world.clock.sleep(0.01)
        return dispatcher.send_request("n", ttl=None).results()

    does(world, behind_a_line, "t", "line", name="a")
    assert world.send().results() == [["b"]]

    def the_first() -> Any:
        handle = dispatcher.send_request("u", ttl=None)
        value = next(iter(handle)).value
        handle.cancel()
        return value

    does(world, the_first, "v", name="first", exclusive="psu1")
    site(world, "blocked", "u", exclusive="psu1")
    site(world, "free", "u", ms=50)
    assert world.send(topic="v").results() == ["free"]
    assert circles(world, caplog) == []


def test_a_circle_that_closes_when_another_gives_up_is_named(world: World, caplog: Any) -> None:
    """One of two could have answered first; then it fails."""

    def fails() -> None:
        raise ValueError("no contact")

    first = world.dispatcher.options(need="first", ttl=500)
    does(world, lambda: first.send_request("u").results(), "t", name="a", exclusive="psu1")
    site(world, "blocked", "u", exclusive="psu1")
    bad = world.cast(ScriptedProducer(computes(lambda _: fails(), after_ms=50), name="bad"))
    world.dispatcher.register_result_producer(bad, "u", start=True)
    world.send(ttl=None)
    world.clock.advance(40)
    assert circles(world, caplog) == []
    # Seen by who has waited for so long: not before.
    world.clock.advance(70)
    (said,) = circles(world, caplog)
    assert "blocked waits with request 2 for psu1, which a has" in said


def test_a_circle_that_closes_hand_by_hand_is_named(world: World, caplog: Any) -> None:
    """Of two workers the second is stuck later than the first."""
    asks = world.dispatcher.options(ttl=500)
    does(world, lambda: asks.send_request("u").results(), "t", name="a", exclusive="psu1")
    crew = world.cast(ScriptedProducer("x", name="crew", exclusive="psu1", workers=2))
    world.dispatcher.register_result_producer(crew, "u", "v", start=True)
    world.send(ttl=None)
    world.clock.settle()
    world.send(topic="v", ttl=400)
    world.clock.advance(110)
    assert "crew waits with request 2 for psu1, which a has" in circles(world, caplog)[0]


def test_a_predicate_that_waits_for_its_own_producer_is_named(world: World, caplog: Any) -> None:
    """It runs on the thread that would have to answer."""
    site(world, "s", "t", "u")

    def asks(_: Any) -> bool:
        return world.send(topic="u", ttl=300).wait()

    handle = world.dispatcher.options(need=Until(asks), ttl=None).send_request("t")
    assert handle.results() == ["s"]
    assert "s waits for request 2 on 'u'" in circles(world, caplog)[0]


@pytest.mark.usefixtures("pace")
def test_looking_for_circles_harms_nobody() -> None:
    """However quickly those that are looked at give up and go on."""
    with Dispatcher() as dispatcher:
        producers = [
            Does(lambda: dispatcher.send_request("u", ttl=50).wait(0.0001)) for _ in range(4)
        ]
        for n, producer in enumerate(producers):
            dispatcher.register_result_producer(producer, f"t{n}", "u", start=True)
        handles = [dispatcher.send_request(f"t{n % 4}", ttl=2000) for n in range(200)]
        rig.ended(*handles)
        assert dispatcher.is_alive()


# -- listeners, forks --------------------------------------------------------------------------


def test_listeners_hear_what_comes_the_careful_way(world: World) -> None:
    """In the order of arrival, errors and ends as well."""
    ear = world.listener(Attentive)
    site(world, "a", "t", exclusive="psu1")
    does(world, lambda: 1 / 0, "t", name="broken", exclusive="psu1")
    site(world, "b", "t", workers=2)
    handle = world.dispatcher.options(barrier=True, without=["broken"]).send_request("t")
    handle.wait()
    world.send().wait()
    world.clock.settle()
    assert ear.heard[:2] == ["a", "b"]
    assert ear.heard[2] == handle.report()
    raised = [heard.error for heard in ear.heard[3:6] if hasattr(heard, "error")]
    assert [type(error) for error in raised] == [ZeroDivisionError]
    assert [heard for heard in ear.heard[3:6] if heard in ("a", "b")] == ["a", "b"]
    assert len(ear.heard) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("helper", [False, True])
def test_a_fork_in_a_method_of_one_of_several_workers_ends_the_childs_copy(helper: bool) -> None:
    """Whoever forks, and whatever waits on a shelf; the method knows its request to its end."""
    code = f"""
import os, signal, threading, warnings
from ate_dispatcher import Dispatcher, Producer, current_request
warnings.simplefilter("ignore", DeprecationWarning)
inside, gate, pids = threading.Event(), threading.Event(), []
go = {{name: threading.Event() for name in ("crew", "crew/2", "crew/3")}}
began = threading.Semaphore(0)

class Crew(Producer):
    def produce_dispatcher_output(self, topic, what):
        if what == "start":
            began.release()
            go[threading.current_thread().name].wait(20)
        elif what == "hold":
            inside.set()
            gate.wait(20)
        elif what == "fork":
            pids.append(os.fork())
            if pids[0] == 0:
                signal.alarm(20)
                assert current_request().topic == "t"
            else:
                gate.wait(20)

dispatcher = Dispatcher()
dispatcher.start()
crew = Crew(name="crew", workers=3)
dispatcher.register_result_producer(crew, "t", start=True)
keyed = dispatcher.options(ordering_key="k", ttl=None)
for _ in range(3):
    dispatcher.send_request("t", "start", ttl=None)
for _ in range(3):
    assert began.acquire(timeout=20)
# One takes what it is held in; the next puts on a shelf what waits for that, and forks.
for what in ("hold", "shelved", "shelved"):
    keyed.send_request("t", what)
dispatcher.send_request("t", "fork", ttl=None)
go["crew/2"].set()
inside.wait(20)
go["crew/3" if {helper} else "crew"].set()
while not pids:
    inside.wait(0)
_, status = os.waitpid(pids[0], 0)
for event in (gate, *go.values()):
    event.set()
dispatcher.stop()
crew.join(20)
print("the end", status, crew.is_alive(), flush=True)
os._exit(0)
"""
    done = rig.python(code)
    assert (done.stdout, done.stderr) == ("the end 0 False\n", "")


@pytest.mark.parametrize("second", [False, True])
def test_several_that_are_stopped_behind_one_gate_all_end(world: World, second: bool) -> None:
    """Two producers, one of them twice; the dispatcher goes on with its deadlines."""
    a, b = site(world, "a", "t"), site(world, "b", "t")
    other = world.second()
    if second:
        for each in (a, b):
            other.register_result_producer(each, "t")
    world.clock.settle()
    handles = [world.dispatcher.options(barrier=True, ttl=None).send_request("t")]
    if second:
        handles.append(other.options(barrier=True, ttl=None).send_request("t"))
    for each in (a, b, a):
        each.stop()
    for handle in handles:
        assert handle.results() == ["a", "b"]
    for each in (a, b):
        each.join()
        assert not each.is_alive()
    handle = world.send()
    handle.wait()
    assert verdicts(handle) == ["DECLINED", "DECLINED"]


@pytest.mark.usefixtures("pace")
def test_several_that_are_stopped_behind_one_gate_all_end_on_real_threads() -> None:
    """At once, in any order."""
    with Dispatcher() as dispatcher:
        producers = [rig.Answer() for _ in range(4)]
        for producer in producers:
            dispatcher.register_result_producer(producer, "t", start=True)
        handle = dispatcher.options(barrier=True, ttl=None).send_request("t")
        for producer in (*producers, *producers):
            producer.stop()
        rig.ended(handle)
        rig.over(*producers)
        late = dispatcher.send_request("t", ttl=20)
        rig.ended(late)
