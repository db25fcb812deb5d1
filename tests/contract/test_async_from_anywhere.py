"""Coroutines and what comes at any moment: signal handlers, finalizers, forks, the exit; bounds."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import Any, Iterator, List

import pytest
from rig import (
    CAST,
    PATIENCE,
    came,
    each_moment,
    over,
    pace,
    python,
    silent,
    strike,
)
from virtual import World, world

from ate_dispatcher import (
    Dispatcher,
    Overflow,
    Producer,
    ResultListener,
    Verdict,
)

__all__ = ["pace", "world"]

STRICT = ("-X", "dev", "-W", "error")


async def answers(topic: str, value: Any = "value") -> Any:
    """After the others."""
    await asyncio.sleep(0)
    return value


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    """On real time; stopped at the end."""
    with Dispatcher() as made:
        yield made


# -- signal handlers and finalizers ------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_at_any_moment_of_a_send(dispatcher: Dispatcher, workers: int) -> None:
    """Whatever it cuts short is cancelled or served; later sends are served; the sums add up."""
    dispatcher.register_result_producer(Producer(answers, workers=workers), "t", start=True)
    returned: List[Any] = []

    def then() -> None:
        assert dispatcher.send_request("t", "after", ttl=None).results(PATIENCE) == ["after"]

    assert each_moment(lambda: returned.append(dispatcher.send_request("t", ttl=None)), then) > 8
    for handle in returned:
        assert handle.results(PATIENCE) == ["value"]


def test_an_exception_at_any_moment_of_a_publish(dispatcher: Dispatcher) -> None:
    """What was published is heard by all or none, and what comes later by all."""
    heard: List[Any] = []

    async def hears(topic: str, value: Any) -> None:
        heard.append(value)

    for _ in range(2):
        dispatcher.register_result_listener(ResultListener(hears), "t", start=True)

    def then() -> None:
        assert dispatcher.publish("t", "after").wait(PATIENCE)
        assert heard.count("after") == 2
        assert heard.count("struck") in (0, 2)
        heard.clear()

    assert each_moment(lambda: dispatcher.publish("t", "struck"), then) > 8


@pytest.mark.parametrize("idle", [pytest.param(True, marks=pytest.mark.thorough), False])
def test_an_exception_at_any_moment_of_a_beginning(dispatcher: Dispatcher, idle: bool) -> None:
    """Others begin afterwards, and it too if it is tried again; alone, and beside others."""
    if not idle:
        dispatcher.register_result_producer(answers, "beside", start=True)
    newcomer = Producer(answers)

    def begin() -> None:
        dispatcher.register_result_producer(newcomer, "t", start=True)

    def then() -> None:
        nonlocal newcomer
        other = dispatcher.register_result_producer(answers, "other", start=True)
        assert dispatcher.send_request("other", ttl=None).results(PATIENCE) == ["value"]
        begin()
        assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["value"]
        for each in (other, newcomer):
            dispatcher.deregister_result_producer(each)
            each.stop()
            over(each)
        newcomer = Producer(answers)

    assert each_moment(begin, then) > 20


def test_sends_within_sends_and_from_finalizers(dispatcher: Dispatcher) -> None:
    """None blocks, whatever it interrupts; all are served."""
    dispatcher.register_result_producer(answers, "t", start=True)
    handles: List[Any] = []

    def send() -> None:
        handles.append(dispatcher.send_request("t", ttl=None))

    at = 1
    while strike(send, at, send):
        at += 1

    class Final:
        def __del__(self) -> None:
            send()

    async def drops(topic: str) -> None:
        final: Any = Final()
        final.itself = final
        del final
        gc.collect()

    dispatcher.register_result_producer(drops, "drops", start=True)
    before = len(handles)
    assert dispatcher.send_request("drops", ttl=None).results(PATIENCE) == [None]
    assert len(handles) > before
    for handle in handles:
        assert handle.results(PATIENCE) == ["value"]


# -- the process -------------------------------------------------------------------------------


ASYNC = """
    import asyncio

    async def answers(topic, value):
        await asyncio.sleep(0)
        return value

    async def never(topic):
        await asyncio.Event().wait()
"""


def test_who_needs_no_event_loop_imports_none() -> None:
    """Programs without coroutines do not pay for it."""
    silent(
        CAST
        + """
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(Site(), 't', start=True)
        dispatcher.register_result_listener(Log(), 't', start=True)
        assert dispatcher.send_request('t', 1).results() == [(1,)]
    assert 'asyncio' not in sys.modules
    """
    )


@pytest.mark.parametrize("topic", ["t", "never"])
def test_a_forgotten_stop_is_silent(topic: str) -> None:
    """Whatever a coroutine is at."""
    done = python(
        CAST
        + ASYNC
        + f"""
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(answers, 't', start=True)
    dispatcher.register_result_producer(never, 'never', start=True)
    dispatcher.register_result_listener(Log(), 't', start=True)
    dispatcher.start()
    args, ttl = ([1], 30_000) if {topic!r} == 't' else ([], 100)
    print(dispatcher.send_request({topic!r}, *args, ttl=ttl).results())
    """,
        *STRICT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("[1]\n" if topic == "t" else "[]\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_none_of_their_lives() -> None:
    """There a new dispatcher works, with new ones; in the parent all goes on."""
    silent(
        CAST
        + ASYNC
        + """
    import os, warnings
    warnings.simplefilter('ignore', DeprecationWarning)

    def session(dispatcher):
        producer = dispatcher.register_result_producer(answers, 'new', start=True)
        assert dispatcher.send_request('new', 2).results(30) == [2]
        return producer

    dispatcher = Dispatcher()
    dispatcher.start()
    old = session(dispatcher)
    later = Producer(answers)
    later.start()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert not old.is_alive()
            old.join(1)
            with Dispatcher() as other:
                session(other)
                other.register_result_producer(later, 'later')
                assert other.send_request('later', 3).results(30) == [3]
            assert not later.is_alive()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
    assert dispatcher.send_request('new', 4).results(30) == [4]
    dispatcher.stop()
    dispatcher.join(30)
    old.join(30)
    assert not old.is_alive()
    """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_coroutine_may_fork() -> None:
    """The child's copy of it ends when it lets go."""
    silent(
        CAST
        + """
    import asyncio, os, warnings
    warnings.simplefilter('ignore', DeprecationWarning)

    async def forks(topic):
        pid = os.fork()
        if pid == 0:
            with Dispatcher() as other:
                other.register_result_producer(Site(), 't', start=True)
                found = other.send_request('t', 1).results(30)
            os._exit(found != [(1,)])
        return os.waitpid(pid, 0)[1]

    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(forks, 't', start=True)
        assert dispatcher.send_request('t', ttl=None).results(30) == [0]
    """
    )


# -- at the same time --------------------------------------------------------------------------


@pytest.mark.usefixtures("pace")
def test_many_begin_and_end_at_once() -> None:
    """Whoever is the last to end, or the first to begin: each has a loop, and all are served."""
    wrong: List[Any] = []

    def lives() -> None:
        for _ in range(15):
            with Dispatcher() as dispatcher:
                producers = [
                    dispatcher.register_result_producer(Producer(answers), "t", start=True)
                    for _ in range(3)
                ]
                found = dispatcher.send_request("t", 1, ttl=60_000).results(PATIENCE)
            if found != [1, 1, 1] or any(each.is_alive() for each in producers):
                wrong.append(found)

    threads = [threading.Thread(target=lives) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * PATIENCE)
    assert wrong == []


@pytest.mark.usefixtures("pace")
def test_nothing_is_lost_on_the_way_to_them(dispatcher: Dispatcher) -> None:
    """From several threads at once, to one worker and to several; in each sender's order."""
    orders: List[List[Any]] = [[], []]
    for order, workers in zip(orders, (1, 4)):

        async def notes(topic: str, sender: int, number: int, order: List[Any] = order) -> None:
            order.append((sender, number))
            if number % 3 == 0:
                await asyncio.sleep(0)

        dispatcher.register_result_producer(Producer(notes, workers=workers), "t", start=True)
    heard: List[Any] = []
    done = threading.Event()

    @dispatcher.listener("t")
    async def listens(topic: str, value: Any) -> None:
        heard.append(value)
        if len(heard) == 4 * 200 * 2:
            done.set()

    def sends(sender: int) -> None:
        for number in range(200):
            dispatcher.send_request("t", sender, number, ttl=None)

    threads = [threading.Thread(target=sends, args=(sender,)) for sender in range(4)]
    for thread in threads:
        thread.start()
    came(done)
    for order in orders:
        assert len(order) == 800
        for sender in range(4):
            assert [each for each in order if each[0] == sender] == [
                (sender, number) for number in range(200)
            ]


# -- bounds ------------------------------------------------------------------------------------


class Hearing(ResultListener):
    """Takes 100 ms of virtual time for each result."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(**options)
        self.world = world
        self.heard: List[Any] = []

    async def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        await self.world.clock.asleep(0.1)
        self.heard.append(response)


def test_a_producer_awaits_room_with_a_listener(world: World) -> None:
    """After its result, which is taken; others go on meanwhile."""
    listener = Hearing(world, maxsize=1)
    world.dispatcher.register_result_listener(listener, "t", start=True)
    begun: List[Any] = []

    @world.dispatcher.producer("t")
    async def counts(topic: str, number: int) -> int:
        begun.append((number, round(world.clock.now(), 6)))
        return number

    @world.dispatcher.producer("other")
    async def others(topic: str) -> float:
        return world.clock.now()

    handles = [world.send(number, ttl=10_000) for number in range(5)]
    assert world.send(topic="other").results() == [0.0]
    assert [handle.results() for handle in handles] == [[number] for number in range(5)]
    world.clock.advance(1000)
    assert listener.heard == list(range(5))
    assert begun == [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.1), (4, 0.2)]


def test_a_stream_awaits_room_with_a_listener(world: World) -> None:
    """After each of its values."""
    begun: List[float] = []
    listener = Hearing(world, maxsize=1)
    world.dispatcher.register_result_listener(listener, "t", start=True)

    @world.dispatcher.producer("t", stream=True)
    async def counts(topic: str) -> Any:
        for number in range(5):
            begun.append(round(world.clock.now(), 6))
            yield number

    handle = world.send(ttl=10_000)
    assert handle.results() == list(range(5))
    world.clock.advance(1000)
    assert listener.heard == list(range(5))
    assert begun == [0.0, 0.0, 0.0, 0.1, 0.2]


def test_the_newest_are_heard_where_the_oldest_are_dropped(world: World) -> None:
    """By a listener without a thread, too."""
    listener = Hearing(world, maxsize=2, overflow=Overflow.DROP_OLDEST)
    world.dispatcher.register_result_listener(listener, "t", start=True)
    deliveries = []
    for number in range(6):
        deliveries.append(world.dispatcher.publish("t", number))
        world.clock.settle()
    world.clock.advance(1000)
    assert listener.heard == [0, 4, 5]
    verdicts = [each.report().listeners[0].verdict for each in deliveries]
    assert verdicts.count(Verdict.DECLINED) == 3


def test_who_wants_to_know_whose_it_is_is_told(world: World) -> None:
    """Within a bound as well."""
    told: List[Any] = []

    class Whose(Hearing):
        async def process_dispatcher_reply(self, topic: Any, reply: Any) -> None:
            await world.clock.asleep(0.1)
            told.append((reply.producer.name, reply.value))

    listener = Whose(world, maxsize=10)
    world.dispatcher.register_result_listener(listener, "t", start=True)
    world.producer(0, 1, name="a")
    world.send().wait()
    world.clock.advance(1000)
    assert (listener.heard, told) == ([1], [("a", 1)])


def test_a_full_producer_declines(world: World) -> None:
    """One that is no thread, too."""

    async def sleeps(topic: str) -> None:
        await world.clock.asleep(1)

    producer = Producer(sleeps, maxsize=1)
    world.dispatcher.register_result_producer(producer, "t", start=True)
    handles = []
    for _ in range(3):
        handles.append(world.send(ttl=None))
        world.clock.settle()
    for handle in handles:
        handle.wait()
    assert [each.report().members[0].verdict for each in handles] == [
        Verdict.OK,
        Verdict.OK,
        Verdict.DECLINED,
    ]
