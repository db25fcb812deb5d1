"""Streams: what is published and what comes in, read where and when the user likes."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any, Dict, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import (
    PATIENCE,
    Recorder,
    Struck,
    came,
    over,
    strike,
    struck,
)
from virtual import World, world

from ate_dispatcher import (
    Dispatcher,
    DispatcherError,
    DispatcherStopped,
    Item,
    Overflow,
    SlowConsumer,
    Verdict,
    events,
)
from ate_dispatcher.errors import BadType, BadValue

__all__ = ["world"]


def values(items: Any) -> List[Any]:
    return [item.value for item in items]


# -- reading -----------------------------------------------------------------------------------


def test_a_stream_has_values_and_results_in_the_order_of_listeners(world: World) -> None:
    """With their topic, whose result it is, and when it came."""
    ear = world.listener()
    world.producer(5, lambda topic, number: number)
    with world.dispatcher.subscribe("t", "u") as stream:
        world.dispatcher.publish("t", "a")
        handle = world.send("b")
        world.clock.advance(10)
        world.dispatcher.publish("u", "c")
        found = [stream.get(), stream.get(), stream.get()]
    assert found == [
        Item("t", "a", None, 0.0, 0),
        Item("t", "b", handle.id, pytest.approx(0.005), 0),
        Item("u", "c", None, pytest.approx(0.01), 0),
    ]
    assert ear.heard == ["a", "b"]


def test_a_get_waits_as_long_as_it_says(world: World) -> None:
    """None when nothing came; at once with what is there."""
    world.producer(50, "late")
    with world.dispatcher.subscribe("t") as stream:
        assert stream.get(timeout=0) is None
        world.send()
        assert stream.get(timeout=0.02) is None
        assert world.clock.now() == pytest.approx(0.02)
        item = stream.get(timeout=1)
        assert item is not None
        assert item.value == "late"
        assert world.clock.now() == pytest.approx(0.05)


def test_it_takes_in_from_its_with_to_the_end_of_that(world: World) -> None:
    """Registered nowhere before and afterwards."""
    stream = world.dispatcher.subscribe("t")
    assert world.dispatcher.publish("t", "before").listeners == ()
    with stream:
        inside = world.dispatcher.publish("t", "inside")
        assert inside.listeners == (stream,)
        assert values([stream.get()]) == ["inside"]
        assert inside.wait(1)
        unread = world.dispatcher.publish("t", "unread")
        world.clock.settle()
    assert world.dispatcher.publish("t", "after").listeners == ()
    assert unread.done()
    assert [line.word for line in unread.report().listeners] == ["WITHDRAWN"]
    assert list(stream) == []


def test_it_ends_after_the_count(world: World) -> None:
    """And is registered nowhere from then on."""
    with world.dispatcher.subscribe("t", count=2) as stream:
        for number in range(3):
            world.dispatcher.publish("t", number)
        assert values(stream) == [0, 1]
        assert world.dispatcher.publish("t", 3).listeners == ()


def test_a_close_from_another_thread_ends_a_wait() -> None:
    """Whoever waits in it comes back."""
    with Dispatcher() as dispatcher, dispatcher.subscribe("t") as stream:
        found: List[Any] = []
        entered = threading.Event()

        def read() -> None:
            for item in stream:
                found.append(item.value)
                entered.set()
            found.append("end")

        reader = threading.Thread(target=read)
        reader.start()
        dispatcher.publish("t", 1)
        came(entered)
        stream.close()
        over(reader)
        assert found == [1, "end"]


def test_a_stop_ends_it_behind_what_it_has(world: World) -> None:
    """The stop waits for its reader, like for a listener."""
    with world.dispatcher.subscribe("t") as stream:
        deliveries = [world.dispatcher.publish("t", number) for number in range(3)]
        world.clock.settle()
        world.dispatcher.stop()
        assert values(stream) == [0, 1, 2]
        assert stream.get() is None
    world.dispatcher.join()
    assert all(each.report().complete for each in deliveries)


def test_what_nobody_reads_keeps_no_stop_longer_than_its_drain(world: World) -> None:
    """Then it is withdrawn."""
    with world.dispatcher.subscribe("t") as stream:
        delivery = world.dispatcher.publish("t", 1)
        world.dispatcher.stop(drain=50)
        world.dispatcher.join()
        assert world.clock.now() <= 0.2
        assert [line.word for line in delivery.report().listeners] == ["WITHDRAWN"]
        assert list(stream) == []


def test_a_loop_over_it_in_an_event_loop_lets_the_loop_go_on() -> None:
    """``async for``; several at once."""

    async def main() -> Dict[str, List[Any]]:
        found: Dict[str, List[Any]] = {"a": [], "b": []}
        async with Dispatcher() as dispatcher:
            ready = asyncio.Event()

            async def read(name: str) -> None:
                with dispatcher.subscribe("t", count=3) as stream:
                    ready.set()
                    async for item in stream:
                        found[name].append(item.value)

            tasks = [asyncio.ensure_future(read(name)) for name in found]
            await ready.wait()
            await asyncio.sleep(0)
            for number in range(3):
                dispatcher.publish("t", number)
                await asyncio.sleep(0)
            await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        return found

    assert asyncio.run(main()) == {"a": [0, 1, 2], "b": [0, 1, 2]}


def test_several_threads_may_read_one_stream() -> None:
    """Each item is had once; all of them come."""
    with Dispatcher() as dispatcher, dispatcher.subscribe("t", maxsize=50) as stream:
        found: List[Any] = []

        def read() -> None:
            found.extend(values(stream))

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        lost = 0
        for number in range(2000):
            dispatcher.publish("t", number)
        dispatcher.publish("t", "last").wait(PATIENCE)
        lost = stream.lost
        stream.close()
        over(*readers)
    assert len(set(found)) == len(found)
    assert len(found) + lost == 2001


# -- bounds ------------------------------------------------------------------------------------


def published(world: World, *values: Any, **options: Any) -> List[Any]:
    """Each, with time for what follows at once."""
    deliveries = []
    for value in values:
        deliveries.append(world.dispatcher.publish("t", value, **options))
        world.clock.settle()
    return deliveries


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(world: World) -> None:
    """On the next item, and in the sum."""
    with world.dispatcher.subscribe("t", maxsize=2) as stream:
        published(world, *range(5))
        first, second = stream.get(), stream.get()
        assert first is not None
        assert second is not None
        assert [(each.value, each.lost) for each in (first, second)] == [(3, 3), (4, 0)]
        published(world, 5)
        third = stream.get()
        assert third is not None
        assert (third.value, third.lost, stream.lost) == (5, 0, 3)
    assert world.dispatcher.statistics().lost == 3


def test_a_slow_reader_may_lose_the_newest(world: World) -> None:
    """The next that comes tells how many were lost before it."""
    with world.dispatcher.subscribe("t", maxsize=2, overflow=Overflow.DROP_NEWEST) as stream:
        published(world, *range(5))
        assert values([stream.get(), stream.get()]) == [0, 1]
        published(world, 5)
        item = stream.get()
        assert item is not None
        assert (item.value, item.lost) == (5, 3)


def test_a_slow_reader_may_be_disconnected(world: World) -> None:
    """After what it had; registered nowhere afterwards."""
    with world.dispatcher.subscribe("t", maxsize=2, overflow=Overflow.DISCONNECT) as stream:
        deliveries = published(world, *range(4))
        assert [each.report().listeners[0].word for each in deliveries[2:]] == ["DECLINED"] * 2
        assert values([stream.get(), stream.get()]) == [0, 1]
        with pytest.raises(SlowConsumer, match="stream on 't' was not read quickly enough: 2"):
            stream.get()
        with pytest.raises(SlowConsumer):
            next(stream)
        assert world.dispatcher.publish("t", 5).listeners == ()


def test_a_publisher_may_wait_for_a_reader(world: World) -> None:
    """BLOCK, with ``room_ms``."""
    with world.dispatcher.subscribe("t", maxsize=1, overflow=Overflow.BLOCK) as stream:
        published(world, 1)
        (refused,) = published(world, 2, room_ms=10)
        assert refused.report().listeners[0].verdict is Verdict.DECLINED
        assert values([stream.get()]) == [1]
        (taken,) = published(world, 3, room_ms=10)
        item = stream.get()
        assert item is not None
        assert (item.value, item.lost) == (3, 1)
        assert taken.wait(1)


def test_a_loss_is_an_event(world: World) -> None:
    """Naming the stream."""
    told: List[Any] = []
    world.dispatcher.add_hook(told.append)
    with world.dispatcher.subscribe("t", maxsize=1) as stream:
        published(world, 1, 2, 3)
        assert stream.lost == 2
    (lost,) = [each for each in told if isinstance(each, events.ValuesLost)]
    assert (lost.listener, lost.lost) == ("stream on 't'", 1)


_STEPS = st.lists(st.sampled_from(["publish", "send", "read", "read", "expire"]), max_size=30)


@settings(max_examples=15, deadline=None)
@given(_STEPS, st.sampled_from(list(Overflow)[:3]), st.integers(1, 3))
def test_what_is_lost_is_told_where_it_is_missing(
    steps: List[str], overflow: Overflow, size: int
) -> None:
    """On each item, the number of those between it and the one before: no more, no less."""
    world = World()
    try:
        ear = world.listener()
        world.producer(0, lambda topic, number: number)
        read: List[Item] = []
        with world.dispatcher.subscribe("t", maxsize=size, overflow=overflow) as stream:
            for number, step in enumerate(steps):
                if step == "publish":
                    published(world, number)
                elif step == "send":
                    world.send(number, ttl=20)
                    world.clock.settle()
                elif step == "read":
                    item = stream.get(timeout=0)
                    read += [] if item is None else [item]
                else:
                    world.clock.advance(30)
            while True:
                item = stream.get(timeout=0)
                if item is None:
                    break
                read.append(item)
        before = -1
        for item in read:
            place = ear.heard.index(item.value)
            assert item.lost == place - before - 1
            before = place
        told = sum(item.lost for item in read)
        assert told + (len(ear.heard) - before - 1) == stream.lost
        assert len(read) + stream.lost == len(ear.heard)
    finally:
        world.close()


def test_a_disconnected_stream_that_nobody_reads_stalls_nobody(world: World) -> None:
    """No producer waits for it."""
    world.producer(0, "value")
    with world.dispatcher.subscribe("t", maxsize=1, overflow=Overflow.DISCONNECT):
        for _ in range(4):
            assert world.send(ttl=1000).results() == ["value"]
        assert world.clock.now() == 0


def test_a_close_after_a_stop_ends_that(world: World) -> None:
    """Also with a drain without end: nobody reads the rest."""
    with world.dispatcher.subscribe("t") as stream:
        deliveries = published(world, *range(3))
        assert stream.get() is not None
        world.dispatcher.stop(drain=None)
        world.clock.settle()
    world.dispatcher.join()
    assert [each.report().listeners[0].word for each in deliveries] == [
        *["OK"],
        *["WITHDRAWN"] * 2,
    ]


def test_several_readers_of_a_count_read_exactly_that() -> None:
    """The first ones, and no verdict says that more were read."""
    with Dispatcher() as dispatcher:
        for _ in range(20):
            found: List[Any] = []
            with dispatcher.subscribe("t", count=5) as stream:
                readers = [
                    threading.Thread(target=lambda: found.extend(values(stream)))  # noqa: B023
                    for _ in range(4)
                ]
                for reader in readers:
                    reader.start()
                deliveries = [dispatcher.publish("t", number) for number in range(12)]
                over(*readers)
            assert all(each.wait(PATIENCE) for each in deliveries)
            heard = [
                number
                for number, each in enumerate(deliveries)
                if each.listeners and each.report().complete
            ]
            assert sorted(found) == heard == list(range(5))


def test_a_read_that_is_cut_short_leaves_nothing_open() -> None:
    """At whatever moment: the delivery is done, and a publisher that waits for room finds it."""
    at, more = 0, True
    with Dispatcher() as dispatcher:
        while more:
            at += 1
            block = Overflow.BLOCK
            with dispatcher.subscribe("t", maxsize=1, overflow=block) as stream:
                first = dispatcher.publish("t", 1)
                second: List[Any] = []

                def publish() -> None:
                    second.append(dispatcher.publish("t", 2, room_ms=None))  # noqa: B023

                publisher = threading.Thread(target=publish)
                publisher.start()
                try:
                    more = strike(lambda: stream.get(PATIENCE), at, struck)
                except Struck:
                    pass
                while True:
                    item = stream.get(PATIENCE)
                    assert item is not None, at
                    if item.value == 2:
                        break
                over(publisher)
                assert first.wait(PATIENCE), at
                assert second[0].wait(PATIENCE), at
    assert at > 20


@pytest.mark.parametrize("how", ["its exit", "a close"])
def test_an_end_that_is_cut_short_leaves_it_registered_nowhere(how: str) -> None:
    """At whatever moment a signal handler raises; nor any delivery open, nor anybody waiting."""
    streams: List[Any] = []
    deliveries: List[Any] = []
    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(Recorder(), "a", start=True)
        dispatcher.register_result_listener(Recorder(), "b", start=True)

        def enter() -> None:
            streams[:] = [dispatcher.subscribe("a", "b").__enter__()]
            deliveries[:] = [dispatcher.publish("a", number) for number in range(2)]

        def end() -> None:
            (streams[0].__exit__ if how == "its exit" else streams[0].close)(*leaves)

        def nowhere() -> bool:
            heard = [dispatcher.publish(topic, 0).listeners for topic in "ab"]
            return [len(each) for each in heard] == [1, 1]

        leaves = (None,) * 3 if how == "its exit" else ()
        at, more, left = 0, True, []
        while more:
            at += 1
            enter()
            try:
                more = strike(end, at, struck)
            except Struck:
                pass
            if not nowhere():
                left.append(at)
                # It may be ended once more.
                streams[0].close()
            assert nowhere(), at
            assert all(each.wait(PATIENCE) for each in deliveries), at
            assert list(streams[0]) == []
    assert at > 50
    # A handler that raises at the entry of a function comes before anything in there.
    assert left == [1] * (sys.version_info >= (3, 11))


# -- at the door -------------------------------------------------------------------------------


def test_a_stream_is_used_in_a_with() -> None:
    """Once; and says so."""
    with Dispatcher() as dispatcher:
        stream = dispatcher.subscribe("t")
        with pytest.raises(DispatcherError, match='before "with"'):
            stream.get()
        with pytest.raises(DispatcherError, match='before "with"'):
            next(iter(stream))
        with stream:
            pass
        with pytest.raises(DispatcherError, match="subscribe again"), stream:
            pass
        closed = dispatcher.subscribe("t")
        closed.close()
        with pytest.raises(DispatcherError, match="subscribe again"), closed:
            pass
        assert "stream on 't'" in repr(stream)


def test_arguments_are_looked_at_at_the_call() -> None:
    """Naming the parameter and the value."""
    with Dispatcher() as dispatcher:
        with pytest.raises(BadValue, match="maxsize must be at least 1, not 0"):
            dispatcher.subscribe("t", maxsize=0)
        with pytest.raises(BadValue, match="count must be at least 1, not 0"):
            dispatcher.subscribe("t", count=0)
        with pytest.raises(BadType, match="overflow must be an Overflow, not 'drop'"):
            dispatcher.subscribe("t", overflow="drop")  # type: ignore[arg-type]
        with pytest.raises(BadType, match="topic must be hashable"):
            dispatcher.subscribe([])
        with pytest.raises(BadType, match="topics must not be True"):
            dispatcher.subscribe("t", True)
        with dispatcher.subscribe("t") as stream, pytest.raises(BadType, match="timeout"):
            stream.get("1")  # type: ignore[arg-type]
        late = dispatcher.subscribe("t")
    with pytest.raises(DispatcherStopped), late:
        pass


def test_streams_are_no_listeners_of_the_list() -> None:
    """But have a line in the report, like everybody who was to hear it."""
    with Dispatcher() as dispatcher, dispatcher.subscribe("t") as stream:
        ear = dispatcher.register_result_listener(Recorder(), "t", start=True)
        assert dispatcher.listeners() == [ear]
        delivery = dispatcher.publish("t", 1)
        assert stream.get(PATIENCE) is not None
        assert delivery.wait(PATIENCE)
        lines = delivery.report().listeners
        assert [line.listener for line in lines] == ["stream on 't'", ear.name]
