"""Producers and listeners whose methods are coroutines: many of them, on one thread."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import sys
import threading
import time
import weakref
from typing import Any, AsyncIterator, Callable, Iterator, List

import pytest
from rig import PATIENCE, Recorder, came, gone, over
from virtual import World, errors, logged, stream, verdicts, world

from ate_dispatcher import (
    Completion,
    Dispatcher,
    DispatcherStopped,
    Handle,
    Producer,
    ResultListener,
    Until,
    Verdict,
    current_request,
)
from ate_dispatcher.errors import BadType, BadValue, ClockStopped, DispatcherError
from ate_dispatcher.testing import VirtualClock

__all__ = ["world"]

READABLE = getattr(sys, "_is_gil_enabled", lambda: True)()

LOOP = "ate_dispatcher event loop"


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    """On real time; stopped at the end."""
    with Dispatcher() as made:
        yield made


def loops() -> List[threading.Thread]:
    """The threads of event loops that are there."""
    return [each for each in threading.enumerate() if each.name == LOOP]


class Slow(Producer):
    """Answers with the instant, so many seconds later."""

    def __init__(self, world: World, seconds: float = 1, **options: Any) -> None:
        super().__init__(**options)
        self.world = world
        self.seconds = seconds
        self.seen: List[Any] = []

    async def produce_dispatcher_output(self, topic: Any, *args: Any) -> Any:
        self.seen.append(("begins", *args, self.world.clock.now()))
        try:
            await self.world.clock.asleep(self.seconds)
        except asyncio.CancelledError:
            self.seen.append(("cancelled", *args, self.world.clock.now()))
            raise
        return self.world.clock.now()


def slow(world: World, seconds: float = 1, topic: str = "t", **options: Any) -> Any:
    """A registered and started one."""
    made = Slow(world, seconds, **options)
    return world.dispatcher.register_result_producer(made, topic, start=True)


class Hearing(ResultListener):
    """Takes so many seconds for each result, then remembers it with the instant."""

    def __init__(self, world: World, seconds: float = 1, **options: Any) -> None:
        super().__init__(**options)
        self.world = world
        self.seconds = seconds
        self.heard: List[Any] = []

    async def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        await self.world.clock.asleep(self.seconds)
        self.heard.append((response, self.world.clock.now()))


# -- answering ---------------------------------------------------------------------------------


def test_a_thousand_slow_instruments_need_one_thread(dispatcher: Dispatcher) -> None:
    """They answer in one's time, at once."""

    class Instrument(Producer):
        async def produce_dispatcher_output(self, topic: Any) -> threading.Thread:
            await asyncio.sleep(1)
            return threading.current_thread()

    before = threading.active_count()
    for _ in range(1000):
        dispatcher.register_result_producer(Instrument(), "t", start=True)
    began = time.perf_counter()
    threads = dispatcher.send_request("t", ttl=20_000).results()
    assert time.perf_counter() - began < 10
    assert len(threads) == 1000
    (thread,) = set(threads)
    assert thread.name == LOOP
    assert threading.active_count() == before + 1


def test_a_decorated_coroutine_function_answers(dispatcher: Dispatcher) -> None:
    """And can still be called, and awaited."""

    @dispatcher.producer("t")
    async def doubled(topic: str, number: int, *, more: int = 0) -> int:
        await asyncio.sleep(0)
        return 2 * number + more

    assert dispatcher.send_request("t", 3, more=1).results(PATIENCE) == [7]
    assert asyncio.run(doubled("t", 4)) == 8


@pytest.mark.parametrize("wrapped", [lambda f: f, functools.partial, Producer])
def test_coroutine_functions_are_registered(dispatcher: Dispatcher, wrapped: Any) -> None:
    """As they are, in a partial, given to the constructor."""

    async def answers(topic: str) -> str:
        return topic.upper()

    dispatcher.register_result_producer(wrapped(answers), "t", start=True)
    assert dispatcher.send_request("t").results(PATIENCE) == ["T"]


def test_a_producer_serves_its_requests_one_after_the_other(world: World) -> None:
    """In the order in which they were sent; others go on meanwhile."""
    first, other = slow(world, 1), slow(world, 2, "other")
    handles = [world.send(each, ttl=None) for each in "abc"]
    alone = world.send("d", topic="other", ttl=None)
    assert [handle.results() for handle in handles] == [[1.0], [2.0], [3.0]]
    assert alone.results() == [2.0]
    assert first.seen == [("begins", "a", 0.0), ("begins", "b", 1.0), ("begins", "c", 2.0)]
    assert other.seen == [("begins", "d", 0.0)]


def test_workers_serve_so_many_at_a_time(world: World) -> None:
    """Tasks of the same thread; with keys one after the other."""
    slow(world, 1, workers=3)
    handles = [world.send(ttl=None) for _ in range(7)]
    assert [handle.results() for handle in handles] == [[n] for n in (1, 1, 1, 2, 2, 2, 3)]
    keyed = world.dispatcher.options(ttl=None, ordering_key="key").send_request
    handles = [keyed("t") for _ in range(3)]
    assert [handle.results() for handle in handles] == [[4.0], [5.0], [6.0]]


def test_what_it_raises_is_the_answer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Logged once with where that was, and it goes on."""

    @world.dispatcher.producer("t")
    async def divides(topic: str, by: int) -> float:
        await world.clock.asleep(1)
        return 1 / by

    handle = world.send(0, ttl=None)
    handle.wait()
    assert isinstance(handle.replies[0].error, ZeroDivisionError)
    assert verdicts(handle) == ["ERROR"]
    (record,) = errors(caplog)
    assert record.exc_info is not None
    assert "return 1 / by" in (record.exc_text or "")
    assert world.send(2, ttl=None).results() == [0.5]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(1), GeneratorExit()])
def test_whatever_it_raises_is_an_answer(world: World, error: BaseException) -> None:
    """Nobody has cancelled it, and it ends nobody's thread."""
    raises = [error]

    @world.dispatcher.producer("t")
    async def answers(topic: str) -> int:
        await world.clock.asleep(1)
        if raises:
            raise raises.pop()
        return 1

    handle = world.send(ttl=None)
    handle.wait()
    assert verdicts(handle) == ["ERROR"]
    assert handle.replies[0].error is error
    assert world.send(ttl=None).results() == [1]


def test_a_reply_exactly_at_the_deadline_is_in_time(world: World) -> None:
    """As of any producer: the stamp is taken straight after the coroutine has returned."""
    slow(world, 1)
    assert world.send(ttl=1000).results() == [1.0]
    assert world.send(ttl=999).results() == []


def test_a_request_that_is_over_is_not_begun(world: World) -> None:
    """Its coroutine is not even called."""
    producer = slow(world, 1)
    first, second = world.send("a", ttl=None), world.send("b", ttl=500)
    assert first.results() == [1.0]
    world.clock.settle()
    assert verdicts(second) == ["SKIPPED(QUEUED)"]
    assert [each[:2] for each in producer.seen] == [("begins", "a")]


def test_one_of_several_dispatchers_asks_it_too(world: World) -> None:
    """It serves all that have its clock."""
    producer = slow(world, 1)
    second = world.second()
    second.register_result_producer(producer, "t")
    handles = [world.send(ttl=None), second.send_request("t", ttl=None)]
    assert [handle.results() for handle in handles] == [[1.0], [2.0]]


def test_a_stand_in_for_its_method_may_be_plain(world: World) -> None:
    """It is looked up at every call, and what is no coroutine is the value."""
    producer = slow(world, 1)
    assert world.send(ttl=None).results() == [1.0]
    producer.produce_dispatcher_output = lambda topic: "plain"
    assert world.send(ttl=None).results() == ["plain"]
    del producer.produce_dispatcher_output
    assert world.send(ttl=None).results() == [2.0]


# -- the request in the coroutine --------------------------------------------------------------


def test_each_knows_its_request(world: World) -> None:
    """However many are in the middle of theirs."""
    seen = []

    class Asking(Producer):
        async def produce_dispatcher_output(self, topic: Any, number: int) -> Any:
            before = current_request()
            assert before is not None
            await world.clock.asleep(1)
            before.progress(0.5)
            await asyncio.create_task(self.helps(number))
            return before.id, self.request.id

        async def helps(self, number: int) -> None:
            inside = current_request()
            assert inside is not None
            seen.append((number, inside.id, inside.remaining_ms))

    world.dispatcher.register_result_producer(Asking(workers=2), "t", start=True)
    world.dispatcher.register_result_producer(Asking(), "t", start=True)
    handles = [world.send(number, ttl=2000) for number in (1, 2)]
    ids = [handle.id for handle in handles]
    assert [handle.results() for handle in handles] == [[(id_, id_)] * 2 for id_ in ids[:1]] + [
        [(ids[1], ids[1])] * 2
    ]
    assert {each[:2] for each in seen} == {(1, ids[0]), (2, ids[1])}
    assert current_request() is None


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")


def test_each_request_has_a_context_of_its_own(world: World) -> None:
    """Made of what its set-up has left; nothing goes from one to the next."""

    class Contextual(Producer):
        async def on_start(self) -> None:
            VARIABLE.set("start")

        async def produce_dispatcher_output(self, topic: Any, value: str) -> Any:
            before = VARIABLE.get()
            VARIABLE.set(value)
            await world.clock.asleep(1)
            return before, VARIABLE.get()

    VARIABLE.set("caller's")
    world.dispatcher.register_result_producer(Contextual(workers=2), "t", start=True)
    handles = [world.send(value, ttl=None) for value in "abc"]
    assert [handle.results() for handle in handles] == [[("start", value)] for value in "abc"]
    send = world.dispatcher.options(ttl=None, context=True).send_request
    assert send("t", "d").results() == [("caller's", "d")]
    assert VARIABLE.get() == "caller's"


def test_it_may_ask_others_and_await_the_report(world: World) -> None:
    """Virtual time passes meanwhile, since it is an event loop of the clock's."""
    slow(world, 1, "inner")

    @world.dispatcher.producer("t")
    async def asks(topic: str) -> Any:
        handle = world.send(topic="inner", ttl=5000)
        async for reply in handle:
            assert reply.ok
        return (await handle).complete, world.clock.now()

    assert world.send(ttl=None).results() == [(True, 1.0)]


def test_those_that_await_each_other_in_a_circle_are_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """As threads that wait for each other; once."""

    @world.dispatcher.producer("t")
    async def outer(topic: str) -> Any:
        return await world.send(topic="inner", ttl=None)

    @world.dispatcher.producer("inner")
    async def inner(topic: str) -> Any:
        return await world.send(topic="t", ttl=None)

    handle = world.send(ttl=500)
    assert handle.results() == []
    (warning,) = logged(caplog, logging.WARNING)
    assert "in a circle" in warning.getMessage()
    assert "outer serves request 1 on 't' and waits for request 2" in warning.getMessage()
    assert "inner serves request 2 on 'inner' and waits for request 3" in warning.getMessage()


def test_who_awaits_one_of_several_waits_in_no_circle(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What its tasks wait for need not come."""

    @world.dispatcher.producer("t")
    async def outer(topic: str) -> Any:
        handle = world.send(topic="inner", ttl=None)
        quick = asyncio.ensure_future(world.clock.asleep(5))
        done, _ = await asyncio.wait(
            [asyncio.ensure_future(handle), quick], return_when=asyncio.FIRST_COMPLETED
        )
        return quick in done

    @world.dispatcher.producer("inner")
    async def inner(topic: str) -> Any:
        return await world.send(topic="t", ttl=20_000)

    assert world.send(ttl=10_000).results() == [True]
    assert logged(caplog, logging.WARNING) == []


# -- cancelled at the end ----------------------------------------------------------------------

ENDS: List[Any] = [
    (lambda world, handle: handle.wait(), "DEADLINE", "LATE"),
    (lambda world, handle: handle.cancel(), "CANCELLED", "SURPLUS"),
    (lambda world, handle: world.dispatcher.stop(immediate=True), "STOPPED", "SURPLUS"),
]


@pytest.mark.parametrize(("end", "reason", "verdict"), ENDS, ids=[each[1] for each in ENDS])
def test_the_end_of_the_request_cancels_its_coroutine(
    world: World,
    end: Callable[[World, Handle], Any],
    reason: str,
    verdict: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is missing as running, and then as one that has answered too late, or in vain."""
    producer = slow(world, 10)
    handle = world.send("a", ttl=1000)
    world.clock.advance(500)
    end(world, handle)
    handle.wait()
    at = world.clock.now()
    assert handle.completion is Completion[reason]
    assert handle.report().missing == (producer.name,)
    world.clock.settle()
    assert verdicts(handle) == [verdict]
    assert producer.seen == [("begins", "a", 0.0), ("cancelled", "a", at)]
    assert errors(caplog) == []


def test_the_end_by_a_quorum_cancels_the_others(world: World) -> None:
    """Those who were not needed, and not those of other requests."""
    quick, other = slow(world, 1), slow(world, 2)
    slower = slow(world, 10)
    second = slow(world, 3, "other")
    beside = world.send("beside", topic="other", ttl=None)
    handle = world.dispatcher.options(need=2, ttl=None).send_request("t", "a")
    assert handle.results() == [1.0, 2.0]
    world.clock.settle()
    assert slower.seen[1:] == [("cancelled", "a", 2.0)]
    assert len(quick.seen) == len(other.seen) == len(second.seen) == 1
    assert beside.results() == [3.0]


def test_the_next_request_begins_when_the_coroutine_has_cleaned_up(world: World) -> None:
    """Cancelled once, it may still await; whoever suppresses it goes on."""
    seen: List[Any] = []

    @world.dispatcher.producer("t")
    async def cleans(topic: str, what: str) -> str:
        try:
            await world.clock.asleep(10)
        except asyncio.CancelledError:
            await world.clock.asleep(2)
            seen.append((what, world.clock.now()))
        return what

    first, second = world.send("a", ttl=1000), world.send("b", ttl=20_000)
    assert first.results() == []
    assert second.results() == ["b"]
    assert world.clock.now() == pytest.approx(13.0)
    assert seen == [("a", pytest.approx(3.0))]
    assert verdicts(first) == ["LATE"]
    assert first.report().members[0].late_ms == pytest.approx(2000.0)


def test_a_queued_one_is_not_cancelled(world: World) -> None:
    """The end of one request is none of another's."""
    producer = slow(world, 2)
    first, second = world.send("a", ttl=None), world.send("b", ttl=1000)
    third = world.send("c", ttl=None)
    world.clock.advance(1500)
    assert verdicts(first) == ["open(RUNNING)"]
    assert second.done()
    assert third.results() == [4.0]
    assert [each[0] for each in producer.seen] == ["begins", "begins"]


def test_an_answer_in_the_moment_of_the_end_is_one_or_the_other(dispatcher: Dispatcher) -> None:
    """In real time, many times: the sums add up, and the producer is there afterwards."""

    @dispatcher.producer("t", workers=4)
    async def answers(topic: str) -> int:
        await asyncio.sleep(0.002)
        return 1

    handles = [dispatcher.send_request("t", ttl=2 + number % 3) for number in range(300)]
    for handle in handles:
        assert handle.wait(PATIENCE)
    assert dispatcher.send_request("t", ttl=20_000).results() == [1]
    statistics = dispatcher.statistics()
    assert statistics.fan_out == sum(statistics.verdicts.values()) == 301


def test_what_came_while_nothing_was_awaited_is_stamped(world: World) -> None:
    """A coroutine that awaits nothing is as good as a function."""

    @world.dispatcher.producer("t")
    async def at_once(topic: str) -> float:
        return world.clock.now()

    assert [world.send().results() for _ in range(3)] == [[0.0]] * 3


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("context", [False, True])
def test_a_diagnosing_dispatcher_tells_where_it_awaits(streams: bool, context: bool) -> None:
    """Not where the event loop is, which may be in another."""
    world = World(diagnose=True)

    async def measure() -> None:
        await world.clock.asleep(2)

    async def measures(topic: str) -> None:
        await measure()

    async def streaming(topic: str) -> AsyncIterator[int]:
        await measure()
        yield 1

    producer = Producer(streaming if streams else measures, stream=streams, workers=2)
    world.dispatcher.register_result_producer(producer, "t", start=True)
    busy = slow(world, 100, "busy")
    world.send(topic="busy", ttl=None)
    handles = [world.dispatcher.options(ttl=100, context=context).send_request("t")] * 2
    for handle in handles:
        handle.wait()
        (member,) = handle.report().members
        if READABLE:
            assert member.place is not None
            assert "test_async_participants.py" in member.place
            assert "in measure" in member.place
            assert member.stack is not None
            assert "await measure()" in member.stack
            assert "event_loop" not in member.stack
    busy.stop()
    world.close()


# -- streams -----------------------------------------------------------------------------------


def test_an_asynchronous_generator_streams(world: World) -> None:
    """Each value is a reply, its end the verdict."""

    @world.dispatcher.producer("t", stream=True)
    async def counts(topic: str, last: int) -> AsyncIterator[Any]:
        for number in range(last):
            await world.clock.asleep(1)
            request = current_request()
            assert request is not None
            yield number, request.id

    for send in (world.dispatcher.send_request, world.dispatcher.options(context=True)):
        send = getattr(send, "send_request", send)
        handle = send("t", 3)
        assert handle.results() == [(number, handle.id) for number in range(3)]
        assert verdicts(handle) == ["OK"]


def test_a_generator_that_nobody_wants_is_closed_before_the_next_request(world: World) -> None:
    """At its next value, where it awaits nothing; in the context of its request."""
    seen: List[Any] = []

    @world.dispatcher.producer("t", stream=True)
    async def counts(topic: str, name: str) -> AsyncIterator[int]:
        seen.append(("begins", name))
        try:
            for number in range(3):
                yield number
        finally:
            seen.append(("ends", name, VARIABLE.get()))

    VARIABLE.set("caller's")
    enough = Until(lambda replies: len(replies) == 1)
    send = world.dispatcher.options(need=enough, ttl=None, context=True).send_request
    first, second = send("t", "a"), send("t", "b")
    assert (first.results(), second.results()) == ([0], [0])
    world.clock.settle()
    assert seen == [
        ("begins", "a"),
        ("ends", "a", "caller's"),
        ("begins", "b"),
        ("ends", "b", "caller's"),
    ]


def test_the_end_of_the_request_ends_the_generator(world: World) -> None:
    """Where it awaits, or at its next value; it is closed."""
    seen: List[Any] = []

    @world.dispatcher.producer("t", stream=True)
    async def counts(topic: str) -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
                await world.clock.asleep(1)
        finally:
            seen.append(world.clock.now())

    handle = world.send(ttl=2500)
    assert handle.results() == [0, 1, 2]
    world.clock.settle()
    assert seen == [pytest.approx(2.5)]
    assert verdicts(handle) == ["LATE"]
    assert world.dispatcher.options(need=1).send_request("t").results()[:1] == [0]


# -- instruments and start lines ---------------------------------------------------------------


def test_an_instrument_is_awaited(world: World) -> None:
    """One after the other has it; who waits for it keeps nobody, threads share it with them."""
    producers = [slow(world, 1, exclusive="psu", name=name) for name in "ab"]
    world.dispatcher.register_result_producer(
        Producer(lambda topic: world.clock.sleep(1) or world.clock.now(), exclusive="psu"),
        "t",
        start=True,
    )
    slow(world, 1)
    handle = world.send(ttl=10_000)
    assert sorted(handle.results()) == [1.0, 1.0, 2.0, 3.0]
    assert [producer.seen for producer in producers] == [[("begins", 0.0)], [("begins", 1.0)]]
    assert [each.instrument_ms for each in handle.report().members] == [0.0, 1000.0, 2000.0, None]


def test_who_waits_for_an_instrument_in_vain_is_not_called(world: World) -> None:
    """The end of the request takes it out of the line."""
    first, second = (slow(world, 2, exclusive="psu") for _ in range(2))
    handle = world.send(ttl=1000)
    assert handle.results() == []
    world.clock.settle()
    assert verdicts(handle) == ["LATE", "SKIPPED(AT_INSTRUMENT)"]
    assert second.seen == []
    assert world.send(ttl=10_000).results() == [3.0, 5.0]
    assert len(first.seen) == 3


def test_a_start_line_is_awaited(world: World) -> None:
    """All begin together: coroutines and threads."""
    first, second = slow(world, 1), slow(world, 2)
    stream(world, 1)
    busy = world.dispatcher.options(only=second, ttl=None).send_request("t", "busy")
    handle = world.dispatcher.options(barrier=True).send_request("t", "a")
    handle.wait()
    assert busy.results() == [2.0]
    assert first.seen == [("begins", "a", 2.0)]
    assert second.seen[1:] == [("begins", "a", 2.0)]
    assert handle.report().skew_ms == 0.0
    assert handle.report().complete


# -- virtual time ------------------------------------------------------------------------------


def test_time_does_not_pass_while_a_coroutine_can_run(world: World) -> None:
    """However often it gives way to others."""
    instants = set()

    @world.dispatcher.producer("t")
    async def gives_way(topic: str) -> None:
        for _ in range(100):
            instants.add(world.clock.now())
            await asyncio.sleep(0)

    slow(world, 1)
    assert world.send(ttl=None).results()[1:] == [1.0]
    assert instants == {0.0}


@pytest.mark.parametrize("start", [0.0, 1e-3, 1.7e9])
def test_every_wait_of_asyncio_takes_virtual_time(start: float) -> None:
    """Sleeping and time limits, wherever the clock begins."""
    clock = VirtualClock(start)
    with Dispatcher(clock=clock) as dispatcher:

        @dispatcher.producer("t")
        async def waits(topic: str) -> List[float]:
            await asyncio.sleep(3600)
            instants = [clock.now() - start]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 7200)
            instants.append(clock.now() - start)
            await clock.asleep(200_000)
            return [*instants, clock.now() - start]

        began = time.perf_counter()
        (instants,) = dispatcher.send_request("t", ttl=None).results()
        assert time.perf_counter() - began < PATIENCE
    assert instants == pytest.approx([3600, 10_800, 210_800])


def test_real_waits_are_refused_on_virtual_time(world: World) -> None:
    """What would hold time up, or let it pass by."""

    @world.dispatcher.producer("t")
    async def reads(topic: str, how: Callable[[], Any]) -> Any:
        return await how()

    for how in (
        lambda: asyncio.get_running_loop().run_in_executor(None, print),
        lambda: asyncio.open_connection("localhost", 1),
        lambda: asyncio.create_subprocess_exec("true"),
    ):
        handle = world.send(how)
        handle.wait()
        with pytest.raises(DispatcherError, match="waits for something real"):
            handle.replies[0].unwrap()


def test_sleep_in_a_coroutine_is_refused(world: World) -> None:
    """It would keep all the others; asleep is for those of the clock."""

    @world.dispatcher.producer("t")
    async def sleeps(topic: str) -> None:
        world.clock.sleep(1)

    handle = world.send()
    handle.wait()
    with pytest.raises(DispatcherError, match=r"await virtual_clock\.asleep"):
        handle.replies[0].unwrap()
    with pytest.raises(DispatcherError, match="elsewhere call sleep"):
        asyncio.run(world.clock.asleep(1))
    with pytest.raises(BadValue, match="seconds must be at least 0 s, not -1"):
        asyncio.run(world.clock.asleep(-1))


def test_the_end_of_time_ends_their_waits() -> None:
    """A coroutine that would sleep again is told."""
    clock = VirtualClock()
    ended = threading.Event()

    async def sleeps(topic: str) -> None:
        try:
            while True:
                await asyncio.sleep(1)
        except ClockStopped:
            ended.set()

    dispatcher = Dispatcher(clock=clock)
    dispatcher.start()
    producer = dispatcher.register_result_producer(sleeps, "t", start=True)
    dispatcher.send_request("t", ttl=None)
    clock.advance(2500)
    clock.stop()
    came(ended)
    dispatcher.stop(immediate=True)
    over(dispatcher, producer)


# -- listeners ---------------------------------------------------------------------------------


def test_a_listener_hears_one_after_the_other_and_others_meanwhile(world: World) -> None:
    """In order; however long one takes, no other waits for it."""
    world.producer(0, lambda topic, number: number)
    listeners = [Hearing(world, seconds) for seconds in (1, 2)]
    for listener in listeners:
        world.dispatcher.register_result_listener(listener, "t", start=True)
    for number in range(3):
        world.send(number).wait()
    world.dispatcher.publish("t", "published")
    world.clock.advance(10_000)
    assert listeners[0].heard == [(0, 1.0), (1, 2.0), (2, 3.0), ("published", 4.0)]
    assert listeners[1].heard == [(0, 2.0), (1, 4.0), (2, 6.0), ("published", 8.0)]


def test_all_callbacks_of_a_listener_are_awaited(world: World) -> None:
    """Those that are coroutines; the others are called in between."""
    told: List[Any] = []

    class All(ResultListener):
        async def process_dispatcher_result(self, topic: Any, response: Any) -> None:
            await world.clock.asleep(1)
            told.append(response)

        async def process_dispatcher_reply(self, topic: Any, reply: Any) -> None:
            await world.clock.asleep(1)
            told.append(reply.value)

        async def process_dispatcher_error(self, topic: Any, reply: Any) -> None:
            await world.clock.asleep(1)
            told.append(type(reply.error))

        def process_dispatcher_completion(self, topic: Any, report: Any) -> None:
            told.append(report.completion)

    world.producer(0, 1)
    world.producer(0, ZeroDivisionError())
    world.dispatcher.register_result_listener(All(), "t", start=True)
    world.send().wait()
    delivery = world.dispatcher.publish("t", 2)
    assert delivery.wait(10)
    assert told == [1, 1, ZeroDivisionError, Completion.ALL_REPLIED, 2, 2]
    assert world.clock.now() == 5.0


def test_what_a_listener_raises_is_logged_and_its_verdict(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """And it hears on."""
    heard: List[Any] = []

    @world.dispatcher.listener("t")
    async def listens(topic: str, value: Any) -> None:
        await world.clock.asleep(1)
        if value == "bad":
            raise ZeroDivisionError
        heard.append(value)

    deliveries = [world.dispatcher.publish("t", value) for value in ("bad", "good")]
    assert deliveries[1].wait(10)
    assert [each.report().listeners[0].verdict for each in deliveries] == [
        Verdict.ERROR,
        Verdict.OK,
    ]
    assert heard == ["good"]
    assert len(errors(caplog)) == 1


def test_a_value_too_late_for_a_listener_is_skipped(world: World) -> None:
    """As for any other."""
    listener = Hearing(world, 2)
    world.dispatcher.register_result_listener(listener, "t", start=True)
    first = world.dispatcher.publish("t", 1)
    second = world.dispatcher.publish("t", 2, ttl=1000)
    assert first.wait(10)
    assert second.wait(10)
    assert second.report().listeners[0].verdict is Verdict.SKIPPED
    assert listener.heard == [(1, 2.0)]


def test_one_with_much_to_hear_keeps_no_other(dispatcher: Dispatcher) -> None:
    """Although its coroutine awaits nothing, others have their turn in between."""
    heard: List[int] = []
    before: List[int] = []
    done = threading.Event()

    @dispatcher.producer("ask")
    async def looks(topic: str) -> None:
        before.append(len(heard))

    class Hears(ResultListener):
        async def on_start(self) -> None:
            await asyncio.sleep(0)
            dispatcher.send_request("ask", ttl=None)

        async def process_dispatcher_result(self, topic: Any, response: int) -> None:
            heard.append(response)
            if len(heard) == 10_000:
                done.set()

    listener = Hears()
    dispatcher.register_result_listener(listener, "t")
    for number in range(10_000):
        dispatcher.publish("t", number)
    listener.start()
    came(done)
    assert heard == list(range(10_000))
    assert before
    assert before[0] < 10_000


def test_a_blocked_loop_keeps_no_listener_with_a_thread(dispatcher: Dispatcher) -> None:
    """Nobody counts on it to pass on what was published."""
    blocked, gate = threading.Event(), threading.Event()

    @dispatcher.listener("t")
    async def first(topic: str, value: Any) -> None:
        """Registered first, and parked."""

    recorder = Recorder()
    dispatcher.register_result_listener(recorder, "t", start=True)

    @dispatcher.producer("block")
    async def blocks(topic: str) -> None:
        blocked.set()
        assert gate.wait(PATIENCE)

    assert dispatcher.publish("t", 0).wait(PATIENCE)
    handle = dispatcher.send_request("block", ttl=None)
    came(blocked)
    try:
        for number in range(1, 4):
            dispatcher.publish("t", number)
            recorder.after(number + 1)
    finally:
        gate.set()
    assert handle.wait(PATIENCE)


def test_a_listener_may_publish_while_the_dispatcher_stops(world: World) -> None:
    """From its coroutine, as others from their threads."""
    heard: List[Any] = []

    @world.dispatcher.listener("t")
    async def passes_on(topic: str, value: Any) -> None:
        await world.clock.asleep(1)
        world.dispatcher.publish("other", value + 1)

    @world.dispatcher.listener("other")
    async def listens(topic: str, value: Any) -> None:
        heard.append(value)

    world.dispatcher.publish("t", 1)
    world.dispatcher.stop()
    world.dispatcher.join()
    assert heard == [2]


# -- life --------------------------------------------------------------------------------------


class Living(Producer):
    """Says what happens to it."""

    def __init__(self, log: List[Any]) -> None:
        super().__init__()
        self.log = log

    async def on_start(self) -> None:
        await asyncio.sleep(0)
        self.log.append("on_start")

    async def on_stop(self) -> None:
        await asyncio.sleep(0)
        self.log.append("on_stop")

    async def produce_dispatcher_output(self, topic: Any) -> str:
        self.log.append("request")
        return "value"


def test_its_life_is_that_of_a_thread_as_far_as_one_sees(dispatcher: Dispatcher) -> None:
    """Start, stop, join, is_alive, ident."""
    log: List[Any] = []
    producer = Living(log)
    assert isinstance(producer, threading.Thread)
    assert not producer.is_alive()
    assert producer.ident is None
    with pytest.raises(RuntimeError, match="before it is started"):
        producer.join()
    dispatcher.register_result_producer(producer, "t")
    handle = dispatcher.send_request("t")
    producer.start()
    (loop,) = loops()
    assert producer.ident == loop.ident
    assert producer.is_alive()
    with pytest.raises(DispatcherStopped, match="was started before"):
        producer.start()
    assert handle.results() == ["value"]
    producer.join(0.01)
    assert producer.is_alive()
    assert repr(producer) == f"<Living({producer.name}, started on an event loop)>"
    producer.stop()
    producer.stop()
    over(producer)
    assert "stopped" in repr(producer)
    assert log == ["on_start", "request", "on_stop"]
    assert loops() == []
    assert dispatcher.send_request("t").report().members[0].verdict in (None, Verdict.DECLINED)
    with pytest.raises(DispatcherStopped):
        producer.start()
    with pytest.raises(BadValue, match="has ended"):
        dispatcher.register_result_producer(producer, "t")


def test_started_before_it_is_registered_it_begins_then(world: World) -> None:
    """It is alive in between; what it belongs to is not known before."""
    log: List[Any] = []
    producer = Living(log)
    producer.start()
    assert producer.is_alive()
    assert log == []
    world.dispatcher.register_result_producer(producer, "t")
    assert world.send().results() == ["value"]
    assert log == ["on_start", "request"]


def test_stopped_before_it_begins_it_ends(dispatcher: Dispatcher) -> None:
    """Whether it was registered in between or not; nothing is set up for that."""
    log: List[Any] = []
    never, later, stopped = Living(log), Living(log), Living(log)
    never.start()
    waiting = threading.Thread(target=never.join, daemon=True)
    waiting.start()
    never.stop()
    over(waiting, never)
    with pytest.raises(BadValue, match="has ended"):
        dispatcher.register_result_producer(never, "t")
    stopped.stop()
    stopped.start()
    over(stopped)
    dispatcher.register_result_producer(later, "t")
    later.stop()
    later.start()
    over(later)
    assert log == []


def test_a_failed_set_up_declines(dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture) -> None:
    """As for a thread."""

    class Failing(Living):
        async def on_start(self) -> None:
            raise ZeroDivisionError

    log: List[Any] = []
    producer = Failing(log)
    dispatcher.register_result_producer(producer, "t")
    handle = dispatcher.send_request("t", ttl=None)
    producer.start()
    assert handle.wait(PATIENCE)
    assert verdicts(handle) == ["DECLINED"]
    over(producer)
    assert log == []
    assert len(errors(caplog)) == 1


def test_stop_finishes_what_is_queued(world: World) -> None:
    """And then its loop's thread is no more."""
    producer = slow(world, 1)
    handles = [world.send(ttl=None) for _ in range(3)]
    producer.stop()
    producer.join()
    assert [handle.results() for handle in handles] == [[1.0], [2.0], [3.0]]
    assert not producer.is_alive()


def test_the_end_of_a_with_block_leaves_nothing() -> None:
    """Neither coroutines that ran, nor their tasks, nor a thread."""
    seen: List[str] = []

    async def for_ever(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(name)

    tasks: List[Any] = []

    async def runs(topic: str) -> None:
        tasks.append(asyncio.ensure_future(for_ever("its task")))
        await for_ever("the coroutine")

    for _ in range(3):
        with Dispatcher() as dispatcher:
            producer = dispatcher.register_result_producer(runs, "t", start=True)
            handle = dispatcher.send_request("t", ttl=None)
            while not tasks:
                time.sleep(0.001)
            dispatcher.stop(immediate=True)
        assert handle.completion is Completion.STOPPED
        assert not producer.is_alive()
        assert tasks.pop().cancelled()
        assert loops() == []
    assert sorted(set(seen)) == ["its task", "the coroutine"]


def test_one_that_suppresses_everything_keeps_only_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The dispatcher ends, and others do."""
    gate: List[Any] = []

    async def stubborn(topic: str) -> None:
        gate.append((asyncio.get_running_loop(), asyncio.Event()))
        while not gate[0][1].is_set():
            try:
                await gate[0][1].wait()
            except asyncio.CancelledError:
                continue

    async def answers(topic: str) -> int:
        return 1

    dispatcher = Dispatcher()
    dispatcher.start()
    hanging = dispatcher.register_result_producer(stubborn, "t", start=True)
    other = dispatcher.register_result_producer(answers, "u", start=True)
    handle = dispatcher.send_request("t", ttl=None)
    assert dispatcher.send_request("u").results() == [1]
    while not gate:
        time.sleep(0.001)
    dispatcher.stop(immediate=True)
    over(dispatcher, other)
    assert hanging.is_alive()
    loop, event = gate[0]
    loop.call_soon_threadsafe(event.set)
    over(hanging)
    assert verdicts(handle) == ["SURPLUS"]
    assert errors(caplog) == []


def test_joining_in_the_loop_is_refused(dispatcher: Dispatcher) -> None:
    """It would wait for itself."""

    class Joining(Producer):
        async def produce_dispatcher_output(self, topic: Any) -> None:
            self.join()

    dispatcher.register_result_producer(Joining(), "t", start=True)
    handle = dispatcher.send_request("t")
    assert handle.wait(PATIENCE)
    with pytest.raises(DispatcherError, match="would wait for ever"):
        handle.replies[0].unwrap()


def test_a_coroutine_may_stop_everything(dispatcher: Dispatcher) -> None:
    """Its own producer and the dispatcher, from inside."""

    @dispatcher.producer("t")
    async def stops(topic: str) -> str:
        dispatcher.stop()
        stops.stop()
        await asyncio.sleep(0)
        return "done"

    assert dispatcher.send_request("t").results(PATIENCE) == ["done"]
    over(dispatcher, stops)


def test_nobody_is_kept_when_it_is_over() -> None:
    """Neither the producer nor what it was asked."""

    class Argument:
        pass

    async def answers(topic: str, argument: Any) -> Any:
        await asyncio.sleep(0)
        return argument

    with Dispatcher() as dispatcher:
        producer = dispatcher.register_result_producer(answers, "t", start=True)
        argument = Argument()
        handle = dispatcher.send_request("t", argument)
        assert handle.results(PATIENCE) == [argument]
        kept = [weakref.ref(argument), weakref.ref(producer)]
        del argument, handle
        # It has come to its next request, and lets go of that one.
        assert dispatcher.send_request("t", None).results(PATIENCE) == [None]
        assert gone(kept[0])
        del producer
    del dispatcher
    assert gone(kept[1])


@pytest.mark.parametrize("later", [False, True])
def test_one_may_begin_while_the_last_one_ends(dispatcher: Dispatcher, later: bool) -> None:
    """Neither is forgotten: not the thread's end, nor the new beginning."""
    new = Producer(asks)

    def begin() -> None:
        dispatcher.register_result_producer(new, "new", start=True)

    async def begins_at_its_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            begin()

    leftover: List[Any] = []

    class Last(Producer):
        async def produce_dispatcher_output(self, topic: Any) -> None: ...

        async def on_stop(self) -> None:
            loop = asyncio.get_running_loop()
            if later:
                # Left over, it is cancelled when the loop has come to its end.
                leftover.append(asyncio.ensure_future(begins_at_its_end()))
                await asyncio.sleep(0)
                return
            end = loop.create_future()

            def goes_on() -> None:
                # It goes on, and ends, just before.
                end.set_result(None)
                loop.call_soon(begin)

            loop.call_soon(goes_on)
            await end

    last = dispatcher.register_result_producer(Last(), "t", start=True)
    # It has begun.
    assert dispatcher.send_request("t").results(PATIENCE) == [None]
    last.stop()
    over(last)
    while new.ident is None:
        time.sleep(0.001)
    assert dispatcher.send_request("new").results(PATIENCE) == [1]
    new.stop()
    over(new)
    assert loops() == []


def test_a_thousand_lives_leave_no_thread() -> None:
    """However short they are."""
    before = threading.active_count()

    async def answers(topic: str) -> int:
        return 1

    with Dispatcher() as dispatcher:
        for _ in range(200):
            producer = dispatcher.register_result_producer(answers, "t", start=True)
            producer.stop()
        assert dispatcher.send_request("t").wait(PATIENCE)
    assert threading.active_count() == before


# -- refused at the door -----------------------------------------------------------------------


async def asks(*_: Any) -> int:
    """A coroutine function."""
    return 1


async def yields(*_: Any) -> AsyncIterator[int]:
    """An asynchronous generator function."""
    yield 1


def test_asynchronous_generators_that_nobody_iterates_are_refused(dispatcher: Dispatcher) -> None:
    """Of producers that do not stream, and of listeners."""

    class Yielding(Producer):
        produce_dispatcher_output = yields

    class Hears(ResultListener):
        process_dispatcher_result = yields  # type: ignore[assignment]

    with pytest.raises(BadType, match=r"asynchronous generator unless it is made with stream=True"):
        Producer(yields)
    with pytest.raises(BadType, match=r"produce_dispatcher_output of producer .*stream=True"):
        dispatcher.register_result_producer(Yielding(), "t")
    with pytest.raises(BadType, match="target must not be an asynchronous generator"):
        ResultListener(yields)
    with pytest.raises(BadType, match="process_dispatcher_result of listener"):
        dispatcher.register_result_listener(Hears(), "t")


@pytest.mark.parametrize("method", ["on_start", "on_stop"])
def test_an_async_set_up_for_a_thread_is_refused(dispatcher: Dispatcher, method: str) -> None:
    """Nobody would await it there."""

    class Plain(Producer):
        def produce_dispatcher_output(self, topic: Any) -> None: ...

    setattr(Plain, method, asks)
    with pytest.raises(BadType, match=f"{method} of producer .* must not be async"):
        dispatcher.register_result_producer(Plain(), "t")


def test_what_needs_a_thread_is_refused(dispatcher: Dispatcher) -> None:
    """Where it is registered, and where it is started."""

    class Wraps(Producer):
        async def produce_dispatcher_output(self, topic: Any) -> None: ...

        def run(self) -> None:
            super().run()

    for door in (lambda each: dispatcher.register_result_producer(each, "t"), Producer.start):
        with pytest.raises(BadType, match=r"run of Wraps-\d+ is overridden"):
            door(Wraps())
        with pytest.raises(BadValue, match="daemon of asks must not be False"):
            door(Producer(asks, daemon=False))
    assert loops() == []
