"""Nothing costs more the more of it there is: four times as many take four times the lines."""

from __future__ import annotations

import threading
from typing import Any, List

import inside
import pytest
from counting import Watch, grows_linearly, hang, watch
from rig import Answer, Gated, Recorder, ended, over
from virtual import FOREVER, World, looks_at_stacks, verdicts

from ate_dispatcher import Dispatcher

__all__ = ["watch"]

# -- growth ------------------------------------------------------------------------------------


def test_ends_in_the_middle_of_a_mailbox(watch: Watch) -> None:
    """Of each three one waits on, two have ended: half of it is cleared away, again and again."""

    def cost(n: int) -> int:
        world = World()
        (hung,) = hang(world, 1)
        world.producer(0)
        first = world.dispatcher.options(ttl=None, need=1)
        alone = world.dispatcher.options(ttl=None, only=hung)
        for _ in range(n):
            alone.send_request("t")
            first.send_request("t")
            first.send_request("t")
        lines = watch.counts(world.clock.settle)
        world.close()
        return lines

    grows_linearly(cost, 100)


def test_registering_one_by_one(watch: Watch) -> None:
    """Producers and listeners, on one topic, and off it again."""

    def cost(n: int) -> int:
        dispatcher = Dispatcher()
        producers = [Answer() for _ in range(n)]
        listeners = [Recorder() for _ in range(n)]

        def deed() -> None:
            for producer, listener in zip(producers, listeners):
                dispatcher.register_result_producer(producer, "t")
                dispatcher.register_result_listener(listener, "t")
            for producer, listener in zip(producers, listeners):
                dispatcher.deregister_result_producer(producer, "t")
                dispatcher.deregister_result_listener(listener, "t")

        return watch.counts(deed)

    grows_linearly(cost, 100)


def test_disabling_one_by_one(watch: Watch) -> None:
    """On one topic."""

    def cost(n: int) -> int:
        dispatcher = Dispatcher()
        producers = [Answer() for _ in range(n)]
        for producer in producers:
            dispatcher.register_result_producer(producer, "t")

        def deed() -> None:
            for producer in producers:
                dispatcher.disable(producer)
            for producer in producers:
                dispatcher.enable(producer)

        return watch.counts(deed)

    grows_linearly(cost, 100)


def test_disabling_with_many_topics_of_others(watch: Watch) -> None:
    """It takes the same however many there are."""

    def cost(n: int) -> int:
        dispatcher, producer, other = Dispatcher(), Answer(), Answer()
        dispatcher.register_result_producer(producer, "t")
        dispatcher.register_result_producer(other, *range(n))
        return watch.counts(lambda: (dispatcher.disable(producer), dispatcher.enable(producer)))

    assert cost(10) == cost(1000)


def test_late_replies_to_one_request(watch: Watch) -> None:
    """Of producers that were all in their methods at the end."""

    def cost(n: int) -> int:
        world = World()
        for _ in range(n):
            world.producer(200)
        handle = world.send(ttl=100)
        world.clock.advance(150)
        lines = watch.counts(lambda: world.clock.advance(100))
        assert set(verdicts(handle)) == {"LATE"}
        world.close()
        return lines

    grows_linearly(cost, 15)


def test_an_end_with_many_hung(watch: Watch) -> None:
    """With a look at where each of them is."""

    def cost(n: int) -> int:
        world = World(diagnose=True)
        for _ in range(n):
            world.producer(FOREVER)
        handle = world.send(ttl=100)
        world.clock.advance(50)
        lines = watch.counts(lambda: world.clock.advance(100))
        assert set(verdicts(handle)) == {"MISSING(RUNNING)"}
        world.close()
        return lines

    grows_linearly(cost, 15)


def test_an_end_does_not_look_at_all_stacks_for_each_member(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But once in each pass: to read them takes the longer the more threads there are."""
    looks = looks_at_stacks(monkeypatch)
    world = World(diagnose=True)
    for _ in range(20):
        world.producer(FOREVER)
    handle = world.send(ttl=100)
    world.clock.advance(200)
    assert set(verdicts(handle)) == {"MISSING(RUNNING)"}
    # Others look, too: whoever waits for virtual time that gets on slowly.
    assert 1 <= looks.count(world.dispatcher) < 20 // 2
    world.close()


def test_topics_that_retire_while_a_request_is_open(watch: Watch) -> None:
    """Each keeps its topic, which nobody is registered for any more."""

    def cost(n: int) -> int:
        dispatcher, producer = Dispatcher(), Answer()
        handles: List[Any] = []

        def deed() -> None:
            for number in range(n):
                dispatcher.register_result_producer(producer, number)
                handles.append(dispatcher.send_request(number, ttl=None))
                dispatcher.deregister_result_producer(producer, number)
                dispatcher.send_request(-1 - number)

        lines = watch.counts(deed)
        dispatcher.stop()
        ended(*handles)
        return lines

    grows_linearly(cost, 100)


def test_waiters_and_callbacks_of_one_request(watch: Watch) -> None:
    """Waits that time out, and done callbacks."""

    def cost(n: int) -> int:
        world = World()
        world.producer(FOREVER)
        handle = world.send(ttl=None)
        called: List[Any] = []

        def deed() -> None:
            for _ in range(n):
                handle.add_done_callback(called.append)
                handle.wait(0)
            handle.cancel()
            world.clock.settle()

        lines = watch.counts(deed)
        assert len(called) == n
        world.close()
        return lines

    grows_linearly(cost, 100)


def test_threads_that_wait_for_one_request(watch: Watch) -> None:
    """They come and go at once."""

    def cost(n: int) -> int:
        dispatcher, producer = Dispatcher(), Gated()
        dispatcher.register_result_producer(producer, "t", start=True)
        dispatcher.start()
        handle = dispatcher.send_request("t", ttl=None)
        threads = [threading.Thread(target=handle.wait) for _ in range(n)]

        def deed() -> None:
            for thread in threads:
                thread.start()
            producer.gate.set()
            over(*threads)

        lines = watch.counts(deed)
        dispatcher.stop()
        over(dispatcher, producer)
        return lines

    grows_linearly(cost, 20)


def test_a_report_of_an_open_request(watch: Watch) -> None:
    """With many members, some of which have answered."""

    def cost(n: int) -> int:
        world = World()
        for number in range(n):
            world.producer(0 if number % 4 == 0 else FOREVER, start=number % 4 < 2)
        handle = world.send(ttl=None)
        world.clock.settle()
        lines = watch.counts(lambda: str(handle.report()))
        handle.cancel()
        world.close()
        return lines

    grows_linearly(cost, 30)


def test_members_that_decline_one_by_one(watch: Watch) -> None:
    """Each has ended when it is asked."""

    def cost(n: int) -> int:
        world = World()
        producers = [world.producer(0) for _ in range(n)]
        for producer in producers:
            producer.stop()
        world.clock.settle()
        handle = world.send(ttl=None)
        lines = watch.counts(world.clock.settle)
        assert set(verdicts(handle)) == {"DECLINED"}
        world.close()
        return lines

    grows_linearly(cost, 30)


def test_members_that_are_withdrawn_one_by_one(watch: Watch) -> None:
    """From a request that is open, and from the start line of another."""

    def cost(n: int) -> int:
        world = World()
        producers = [world.producer(FOREVER) for _ in range(n)]
        world.producer(start=False)
        handle = world.dispatcher.options(ttl=None, barrier=True).send_request("t")
        world.clock.settle()

        def deed() -> None:
            for producer in producers:
                world.dispatcher.disable(producer)
            world.clock.settle()

        lines = watch.counts(deed)
        assert set(verdicts(handle)[:-1]) == {"WITHDRAWN"}
        handle.cancel()
        world.close()
        return lines

    grows_linearly(cost, 15)


def test_options_that_name_many(watch: Watch) -> None:
    """Each by its name, or itself."""

    def cost(n: int) -> int:
        dispatcher = Dispatcher()
        producers = [Answer() for _ in range(n)]
        for producer in producers:
            dispatcher.register_result_producer(producer, "t")
        names = dispatcher.options(ttl=None, only=[producer.name for producer in producers])
        selves = dispatcher.options(ttl=None, without=producers[1:])

        def deed() -> None:
            names.send_request("t")
            selves.send_request("t")

        lines = watch.counts(deed)
        dispatcher.stop()
        inside.to_its_end(dispatcher)
        return lines

    grows_linearly(cost, 100)
