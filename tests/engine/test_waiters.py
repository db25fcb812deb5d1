"""Who waits for a request, by a thread or in an event loop, and what they leave and see inside."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, List

import inside
import pytest
from rig import PATIENCE, Answer, GatedOnce
from virtual import FOREVER, Stream, World, errors, stream, verdicts, world

from ate_dispatcher import Completion, Dispatcher, Verdict

__all__ = ["world"]


# -- the handle --------------------------------------------------------------------------------


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


def test_a_report_does_not_wait_for_a_fast_stream_to_pause(world: World) -> None:
    """It is a snapshot of the moment, however many values come meanwhile."""
    stream(world, *range(100))
    handle = world.send(ttl=None)
    world.clock.advance(250)
    names: List[str] = []

    member = handle.roster[0]

    def name() -> str:
        names.append("told")
        assert len(names) < 10
        inside.give_value(world.dispatcher, handle, 0, "more", world.clock.now())
        return "restless"

    member.producer.__class__ = type("Named", (Stream,), {"name": property(lambda _: name())})
    report = handle.report()
    member.producer.__class__ = Stream
    assert report.completion is None
    assert report.members[0].verdict is None
    assert len(handle.replies) > 2


# -- in an event loop (real time) --------------------------------------------------------------


class Choosing(GatedOnce):
    """Takes the arguments meant for it."""

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        return super().produce_dispatcher_output(topic, *kwargs[self.name])


async def awaited(handle: Any) -> Any:
    """A coroutine for what is only awaitable."""
    return await handle


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


def test_the_end_of_an_async_with_blocks_no_event_loop() -> None:
    """While it waits for who still runs, other coroutines go on; then all threads have ended."""

    async def main() -> None:
        loop, entered = asyncio.get_running_loop(), asyncio.Event()

        def serves(topic: Any, gate: Any) -> int:
            loop.call_soon_threadsafe(entered.set)
            assert gate.wait(PATIENCE)
            return 1

        gate = threading.Event()
        async with Dispatcher() as dispatcher:
            producer = Answer(serves)
            dispatcher.register_result_producer(producer, "t", start=True)
            handle = dispatcher.send_request("t", gate, ttl=None)
            await entered.wait()
            # Nobody but this loop opens it, and not before the end is waited for.
            opens = asyncio.ensure_future(asyncio.sleep(0.01))
            opens.add_done_callback(lambda _: gate.set())
        assert handle.results(PATIENCE) == [1]
        assert not dispatcher.is_alive()
        assert not producer.is_alive()

    asyncio.run(main())


def test_an_async_with_that_is_left_by_an_exception_ends_at_once() -> None:
    """As the plain one does, and the exception goes on."""

    async def main() -> None:
        async with Dispatcher() as dispatcher:
            handles.append(dispatcher.send_request("t", ttl=None))
            dispatchers.append(dispatcher)
            raise KeyError("x")

    handles: List[Any] = []
    dispatchers: List[Dispatcher] = []
    with pytest.raises(KeyError):
        asyncio.run(main())
    assert handles[0].done()
    assert not dispatchers[0].is_alive()
