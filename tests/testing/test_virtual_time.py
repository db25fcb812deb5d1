"""Virtual time drives real threads: the same story every time, in no time."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import threading
import time
from typing import Any, Callable, List, Tuple

import pytest
from rig import HECTIC
from virtual import FOREVER, Scripted, World, verdicts

from ate_dispatcher import Completion, Dispatcher, Producer, ResultListener, Standing, Verdict
from ate_dispatcher.errors import ClockMismatch, DispatcherError, VirtualTimeStuck
from ate_dispatcher.testing import ClockStopped, ScriptedProducer, VirtualClock, answers, hangs


class Log(List[Any]):
    """What happened, with the instant and the thread that saw it."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def says(self, *what: Any) -> None:
        who = threading.current_thread()
        self.append((self._clock.now(), getattr(who, "part", "test"), *what))


class Ties(Producer):
    """Answers at once or at the same instants as everybody else."""

    def __init__(self, log: Log, part: str, ms: int) -> None:
        super().__init__()
        self.part = part
        self._log = log
        self._ms = ms

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        self._log.says("begins", *args)
        if self._ms:
            self._log._clock.sleep(self._ms / 1000)
        self._log.says("answers", *args)
        return (self.part, *args)


class Ear(ResultListener):
    """Writes down everything that it is told."""

    def __init__(self, log: Log, part: str) -> None:
        super().__init__()
        self.part = part
        self._log = log

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self._log.says("hears", *response)

    def process_dispatcher_completion(self, topic: Any, report: Any) -> None:
        found = [member.verdict.name for member in report.members]
        self._log.says("is told", report.id, report.completion.name, *found)


def a_scenario_of_ties() -> Log:
    """Three producers that are due at the same instants, one of them at a deadline."""
    clock = VirtualClock()
    log = Log(clock)
    dispatcher = Dispatcher(clock=clock)
    dispatcher.add_hook(lambda event: log.says("event", event.name, event.request, event.at))
    cast: List[Any] = [Ties(log, "a", 0), Ties(log, "b", 20), Ties(log, "c", 20)]
    for producer in cast:
        dispatcher.register_result_producer(producer, "t", start=True)
    for ear in (Ear(log, "x"), Ear(log, "y")):
        dispatcher.register_result_listener(ear, "t", start=True)
        cast.append(ear)
    dispatcher.start()
    handles = [dispatcher.send_request("t", n, ttl=20) for n in range(2)]
    for reply in handles[0]:
        log.says("sees", *reply.value)
    handles[1].wait()
    log.says("waited", *verdicts(handles[1]))
    clock.advance(10)
    last = dispatcher.send_request("t", 2, ttl=None)
    last.add_done_callback(lambda handle: log.says("done", handle.id))
    clock.advance(5)
    last.cancel()
    last.wait()
    dispatcher.stop()
    for thread in (dispatcher, *cast):
        thread.join()
    log.says("over", *map(str, verdicts(last)))
    return log


STORY = "f61b62cf83672bda5273669cbb83003f8fc16dc168c797b6548c9cf47af38555"
"""The digest of the log of `a_scenario_of_ties`: the same on every Python and platform."""


def digest(log: Log) -> str:
    """What tells one log from any other."""
    return hashlib.sha256(repr(list(log)).encode()).hexdigest()


@pytest.mark.thorough
def test_the_same_story_a_thousand_times() -> None:
    """Equal instants, immediate answers, expiry and a cancel: one log, 1,000 times of 1,000."""
    first = a_scenario_of_ties()
    assert len(first) > 40
    assert first[-1][1:] == (
        "test",
        "over",
        "OK",
        "CANCELLED(QUEUED)",
        "CANCELLED(QUEUED)",
    )
    assert digest(first) == STORY
    assert sum(a_scenario_of_ties() != first for _ in range(999)) == 0


@pytest.mark.parametrize("interval", [HECTIC, 1.0])
def test_the_same_story_on_a_busy_machine(interval: float) -> None:
    """While other threads burn CPU and threads are switched at every chance, or hardly ever."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    over = threading.Event()

    def burn() -> None:
        while not over.is_set():
            sum(range(100))

    burners = [threading.Thread(target=burn, daemon=True) for _ in range(2)]
    try:
        for burner in burners if interval < 1 else ():
            burner.start()
        assert {digest(a_scenario_of_ties()) for _ in range(20)} == {STORY}
    finally:
        over.set()
        sys.setswitchinterval(before)
        for burner in burners if interval < 1 else ():
            burner.join()


def test_a_long_scenario_is_short() -> None:
    """10 producers, 100 requests, 8,000 virtual seconds: some moments of real time at best."""

    def once() -> float:
        world = World()
        for n in range(10):
            world.producer(8000 * (n + 1))
        world.clock.settle()
        before = time.perf_counter()
        for _ in range(100):
            assert len(world.send(ttl=60_000).results()) == 7
            world.clock.sleep(20)
        taken = time.perf_counter() - before
        assert world.clock.now() == pytest.approx(8000)
        world.close()
        return taken

    assert any(once() < 5 for _ in range(5))


def test_time_does_not_move_while_the_tests_thread_runs() -> None:
    """However long that takes; it moves in calls that wait, and only as far as needed."""
    world = World()
    producer = world.producer(10)
    world.listener()
    handle = world.send(ttl=1000)
    until = time.perf_counter() + 0.05
    while time.perf_counter() < until:
        assert world.clock.now() == 0.0
        assert producer.asked == []
    assert not handle.done()
    assert handle.results() == ["value"]
    assert world.clock.now() == 0.01
    world.clock.settle()
    assert world.clock.now() == 0.01
    assert world.clock.advance_to_next()
    assert world.clock.now() == pytest.approx(1)
    world.close()


def test_the_published_cases_take_no_time() -> None:
    """1000 and 500 ms, ttl 4000 and 600: in a fraction of that in real time.

    The best of some runs, because the machine may be busy.
    """

    def once() -> float:
        world = World()
        ear = world.listener()
        world.producer(1000, "slow")
        world.producer(500, "fast")
        world.clock.settle()
        before = time.perf_counter()
        assert world.send(ttl=4000).results() == ["fast", "slow"]
        assert world.send(ttl=600).results() == ["fast"]
        assert ear.heard == ["fast", "slow", "fast"]
        taken = time.perf_counter() - before
        world.close()
        return taken

    assert any(once() < 0.4 for _ in range(20))


def test_a_century_takes_no_time_either() -> None:
    """Instants are jumped to, not waited for."""
    world = World()
    century = 100 * 365.25 * 86400 * 1000
    world.producer(century)
    handle = world.send(ttl=century + 1)
    assert handle.results() == ["value"]
    assert world.clock.now() == century / 1000
    world.close()


def test_advance_goes_from_instant_to_instant() -> None:
    """Everything due within happens, at its own time and in its order; nothing beyond."""
    world = World()
    seen: List[Tuple[str, float]] = []
    for ms in (30, 10, 20, 50):
        world.producer(ms, lambda topic, ms=ms: seen.append((ms, world.clock.now())))
    world.send(ttl=None)
    world.clock.advance(30)
    assert seen == [(10, 0.01), (20, 0.02), (30, 0.03)]
    assert world.clock.now() == 0.03
    world.clock.advance(19)
    assert len(seen) == 3
    world.clock.advance(1)
    assert seen[3:] == [(50, pytest.approx(0.05))]
    world.close()


def test_a_deadline_exactly_at_the_end_of_an_advance_has_not_passed() -> None:
    """It is in time still; the next step of a float is past it."""
    world = World()
    world.producer(FOREVER)
    handle = world.send(ttl=250)
    world.clock.advance(250)
    assert world.clock.now() == 0.25
    assert not handle.done()
    assert world.clock.advance_to_next()
    assert handle.completion is Completion.DEADLINE
    assert world.clock.now() == 0.25 * (1 + 2.0**-52)
    world.close()


def test_advance_to_next_tells_when_nobody_waits_any_more() -> None:
    """Then time stands still for good."""
    world = World()
    world.producer(10)
    world.send(ttl=None)
    assert world.clock.advance_to_next()
    assert world.clock.now() == 0.01
    assert not world.clock.advance_to_next()
    assert world.clock.now() == 0.01
    world.close()


@pytest.mark.parametrize("method", ["advance", "settle"])
def test_what_is_for_the_tests_thread_is_refused_elsewhere(method: str) -> None:
    """A participant that pushes time would push it under its own feet."""
    world = World()
    arguments = (1,) if method == "advance" else ()
    world.producer(0, lambda topic: getattr(world.clock, method)(*arguments))
    handle = world.send()
    handle.wait()
    (reply,) = handle.replies
    assert isinstance(reply.error, DispatcherError)
    world.close()


@pytest.mark.parametrize("bad", ["1", True, None, -1, float("nan"), float("inf")], ids=repr)
def test_a_nonsense_advance_is_refused(bad: Any) -> None:
    """Backwards, nowhere, for ever: TypeError or ValueError, naming it."""
    clock = VirtualClock()
    with pytest.raises((TypeError, ValueError), match="ms must be"):
        clock.advance(bad)
    assert clock.now() == 0


@pytest.mark.parametrize("parameter", ["start", "patience"])
@pytest.mark.parametrize("bad", ["1", True, None, float("nan")], ids=repr)
def test_a_nonsense_clock_is_refused(parameter: str, bad: Any) -> None:
    """At the constructor."""
    with pytest.raises((TypeError, ValueError), match=parameter):
        VirtualClock(**{parameter: bad})


@pytest.mark.parametrize("bad", ["1", True, None, -1, float("nan")], ids=repr)
def test_a_nonsense_sleep_is_refused(bad: Any) -> None:
    """TypeError or ValueError, naming it."""
    clock = VirtualClock()
    with pytest.raises((TypeError, ValueError), match="seconds"):
        clock.sleep(bad)
    assert clock.now() == 0


def test_a_participant_belongs_to_one_clock() -> None:
    """Registering it under a second one is refused, whichever came first, and changes nothing."""
    world = World()
    producer, listener = world.producer(), world.listener()
    for other in (Dispatcher(), Dispatcher(clock=VirtualClock())):
        with pytest.raises(ClockMismatch, match=producer.name):
            other.register_result_producer(producer, "t")
        with pytest.raises(ClockMismatch, match=listener.name):
            other.register_result_listener(listener, "t")
        assert other.send_request("t").completion is Completion.NO_PRODUCERS
    assert world.send().results() == ["value"]
    real, late = Dispatcher(), Scripted(world.clock, 0, "late", None)
    real.register_result_producer(late, "t")
    with pytest.raises(ValueError, match=late.name):
        world.dispatcher.register_result_producer(late, "t")
    world.close()


def test_two_dispatchers_of_one_clock_share_participants() -> None:
    """That is no mismatch."""
    world = World()
    producer = world.producer(10)
    second = world.second()
    second.register_result_producer(producer, "t")
    handles = [world.send(), second.send_request("t")]
    assert [handle.results() for handle in handles] == [["value"], ["value"]]
    assert world.clock.now() == 0.02
    world.close()


def test_one_that_starts_in_the_middle_takes_part_from_then_on() -> None:
    """The instant of its start is that of its first request."""
    world = World()
    producer = world.producer(10, start=False)
    handle = world.send(ttl=1000)
    world.clock.advance(500)
    assert handle.report().members[0].standing is Standing.NOT_STARTED
    producer.start()
    assert handle.results() == ["value"]
    member = handle.report().members[0]
    assert member.verdict is Verdict.OK
    assert member.waited_ms == pytest.approx(500)
    assert member.ran_ms == pytest.approx(10)
    world.close()


def test_a_clock_that_lacks_the_protocol_is_refused() -> None:
    """At the constructor, naming what is missing."""
    with pytest.raises(TypeError, match=r"clock must have the method now\(\)"):
        Dispatcher(clock=time)  # type: ignore[arg-type]


def test_a_stop_before_the_start_is_part_of_the_story() -> None:
    """What it does to what was kept happens in turn with everybody else."""
    logs = []
    for _ in range(20):
        clock = VirtualClock()
        log = Log(clock)
        dispatcher, other = Dispatcher(clock=clock), Dispatcher(clock=clock)
        other.start()
        producer, ear = Ties(log, "a", 0), Ear(log, "x")
        dispatcher.register_result_producer(producer, "t", start=True)
        dispatcher.register_result_listener(ear, "t", start=True)
        quick = Ties(log, "b", 0)
        other.register_result_producer(quick, "u", start=True)
        kept = dispatcher.send_request("t", 1)
        dispatcher.stop()
        log.says("sees", kept.completion)
        other.send_request("u", 2).wait()
        kept.wait()
        log.says("ended", kept.completion)
        producer.join()
        ear.join()
        other.stop()
        other.join()
        quick.join()
        logs.append(list(log))
    assert logs == [logs[0]] * len(logs)
    assert (0.0, "test", "sees", None) in logs[0]


# -- threads of the test's own -----------------------------------------------------------------


def test_equal_instants_come_in_the_order_of_registration() -> None:
    """Not in the order in which they began to wait."""
    world = World()
    order: List[str] = []

    def sleeps(name: str) -> Callable[..., None]:
        def answer(topic: Any, *until: float) -> None:
            world.clock.sleep(1 - world.clock.now())
            order.append(name)

        return answer

    for name in "abc":
        world.producer(0, sleeps(name), topic=name)
    handles = [world.send(topic=name, ttl=None) for name in "cba"]
    for handle in handles:
        handle.wait()
    assert order == ["a", "b", "c"]
    world.close()


def test_threads_of_the_test_take_part() -> None:
    """Each waits in virtual time, and they come in the order in which they were made."""
    world = World()
    world.producer(500)
    story: List[Any] = []

    def asks(name: str, pause: float) -> None:
        world.clock.sleep(pause)
        story.append((name, "asks", world.clock.now()))
        story.append((name, *world.send(ttl=None).results(), world.clock.now()))

    threads = [world.clock.thread(asks, name, 1.0, name=name) for name in "ab"]
    for thread in reversed(threads):
        thread.start()
    assert story == []
    assert not threads[0].join(0.5)  # type: ignore[func-returns-value]
    assert threads[0].is_alive()
    assert world.clock.now() == 0.5
    for thread in threads:
        thread.join()
        assert not thread.is_alive()
    assert story == [
        ("a", "asks", 1.0),
        ("b", "asks", 1.0),
        ("a", "value", 1.5),
        ("b", "value", 2.0),
    ]
    world.close()


def test_a_thread_of_the_test_is_a_thread() -> None:
    """Once; it can be joined after its start; what it is to do must be callable."""
    clock = VirtualClock()
    thread = clock.thread(lambda: None)
    with pytest.raises(RuntimeError):
        thread.join()
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError):
        thread.start()
    with pytest.raises(TypeError, match="target must be callable"):
        clock.thread(3)  # type: ignore[arg-type]


# -- the end of time ---------------------------------------------------------------------------


def test_a_stopped_clock_lets_nobody_wait_and_nobody_begin() -> None:
    """Each call says so; what is there already may still be read."""
    world = World()
    producer = world.producer(start=False)
    handle = world.send(ttl=None)
    world.clock.settle()
    world.clock.stop()
    world.clock.stop()
    for call in (
        lambda: world.clock.sleep(1),
        lambda: world.clock.sleep(0),
        lambda: world.clock.advance(1),
        lambda: world.clock.settle(),
        lambda: world.clock.advance_to_next(),
        lambda: handle.wait(),
        lambda: list(handle),
        lambda: producer.start(),
        lambda: world.clock.thread(lambda: None).start(),
        lambda: Dispatcher(clock=world.clock).start(),
        lambda: world.dispatcher.register_result_producer(Scripted(world.clock, 0, 0, ""), "t"),
    ):
        with pytest.raises(ClockStopped, match="clock was stopped"):
            call()
    assert world.clock.now() == 0
    assert handle.completion is None
    world.dispatcher.stop()
    world.dispatcher.join(30)
    assert not world.dispatcher.is_alive()
    assert handle.completion is Completion.STOPPED
    assert handle.wait()


def test_who_waits_when_the_clock_is_stopped_is_told() -> None:
    """A producer's sleep raises, so its thread comes back; the dispatcher's deadlines pass."""
    world = World()
    producer = world.producer(0, lambda topic: world.clock.sleep(1e9))
    hung = world.cast(ScriptedProducer(hangs()))
    world.dispatcher.register_result_producer(hung, "t", start=True)
    handle, later = world.send(ttl=1000), world.send(ttl=None)
    waiting = world.clock.thread(handle.wait)
    waiting.start()
    world.clock.advance(10)
    world.clock.stop()
    waiting.join()
    while not handle.done() or later.pending > 1:
        time.sleep(0)
    (report, _), (reply,) = handle.report().members, later.replies
    assert report.verdict in (Verdict.ERROR, Verdict.LATE)
    assert isinstance(reply.error, ClockStopped)
    world.dispatcher.stop(immediate=True)
    hung.release(for_good=True)
    for thread in (world.dispatcher, producer, hung):
        thread.join(30)
        assert not thread.is_alive()


def test_a_start_that_failed_leaves_the_clock_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own thread keeps its turn, and the next start is as good as a first."""

    def none_left(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    world = World()
    producer = world.producer(start=False)
    with monkeypatch.context() as patch:
        name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
        patch.setattr(threading, name, none_left)
        with pytest.raises(RuntimeError, match="can't start"):
            producer.start()
    producer.start()
    handle = world.send()
    assert producer.asked == []
    assert handle.results() == ["value"]
    producer.stop()
    producer.join()
    assert not producer.is_alive()
    world.close()


# -- threads that are not under the clock, and waits that are cut short ------------------------


def test_a_plain_thread_that_waits_too_is_not_in_the_way() -> None:
    """It may get the baton, and be gone with it."""
    world = World()
    world.producer(10, topic="a")
    world.producer(50, topic="b")
    first, second = world.send(topic="a"), world.send(topic="b")
    waits = threading.Thread(target=first.wait)
    waits.start()
    assert second.results() == ["value"]
    waits.join()
    world.close()


def test_a_coroutine_that_would_wait_for_ever_is_told() -> None:
    """It has the baton; what has ended may be awaited."""
    world = World()
    world.producer(10)
    handle = world.send()

    async def ask() -> Any:
        return await handle

    async def look() -> List[Any]:
        return [reply.value async for reply in handle]

    for coroutine in (ask, look):
        with pytest.raises(DispatcherError, match="coroutine does not move virtual time"):
            asyncio.run(coroutine())
    world.clock.advance(10)
    assert asyncio.run(ask()).complete
    assert asyncio.run(look()) == ["value"]
    world.close()


def test_a_sleep_on_a_foreign_clock_is_refused() -> None:
    """It would never end: that clock's time is somebody else's."""
    world, other = World(), VirtualClock()
    world.producer(0, lambda topic: other.sleep(1), name="stray")
    handle = world.send()
    handle.wait()
    (reply,) = handle.replies
    assert isinstance(reply.error, ClockMismatch)
    assert "stray" in str(reply.error)
    world.close()


def test_a_thread_of_the_test_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the clock as it was."""

    def none_left(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    clock = VirtualClock()
    thread = clock.thread(lambda: None)
    with monkeypatch.context() as patch:
        name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
        patch.setattr(threading, name, none_left)
        with pytest.raises(RuntimeError, match="can't start"):
            thread.start()
    clock.sleep(1)
    assert clock.now() == 1


def test_a_test_that_asks_for_ever_whether_it_is_done_is_told() -> None:
    """Time would not pass for it; who waits now and then may ask as often as it likes."""
    clock = VirtualClock()
    with Dispatcher(clock=clock) as dispatcher:
        site = ScriptedProducer(answers(1, after_ms=500))
        dispatcher.register_result_producer(site, "t", start=True)
        patient = dispatcher.send_request("t", ttl=1000)
        while not patient.done():
            clock.advance(1)
        assert clock.now() == pytest.approx(0.5, abs=0.002)
        handle = dispatcher.send_request("t", ttl=1000)

        def polls() -> None:
            while not handle.done():
                pass

        clock._patience = 0.2
        with pytest.raises(VirtualTimeStuck, match="virtual time has not moved"):
            polls()
        clock._patience = 10.0
        assert handle.results() == [1]
