"""What listeners hear, in which order and on which thread; on virtual time."""

from __future__ import annotations

import threading
from typing import Any, List

import pytest
from virtual import FOREVER, Attentive, Hearing, Stream, World, verdicts, world

from ate_dispatcher import ResultListener, Standing, Verdict, events

__all__ = ["world"]


def test_all_listeners_hear_the_same_order(world: World) -> None:
    """That of arrival, though they came at different speeds."""
    for k in range(4):
        world.producer([(n * 7 + k * 5) % 11 for n in range(25)], lambda t, n, k=k: (k, n))
    ears = [world.listener(ms=ms) for ms in (0, 1, 5)]
    handles = [world.send(n, ttl=None) for n in range(20)]
    accepted = []
    world.dispatcher.add_hook(
        lambda e: accepted.append(e) if isinstance(e, events.ReplyAccepted) else None
    )
    for handle in handles:
        handle.wait()
    world.clock.advance(10_000)
    assert len(ears[0].heard) == 80
    assert ears[0].heard == ears[1].heard == ears[2].heard
    assert [k for k, _ in ears[0].heard] != sorted(k for k, _ in ears[0].heard)


def test_a_completion_comes_after_the_last_result(world: World) -> None:
    """With its errors in their place."""
    listener = world.listener(Attentive)
    world.producer(10, 1)
    world.producer(20, ValueError("x"))
    world.producer(30, 3)
    handle = world.send()
    handle.wait()
    world.clock.settle()
    one, error, three, report = listener.heard
    assert (one, three) == (1, 3)
    assert isinstance(error.error, ValueError)
    assert report == handle.report()


def test_a_completion_shows_the_report_as_it_stood_at_the_end(world: World) -> None:
    """However late the listener comes to it, and whatever came afterwards."""
    busy = world.listener(Attentive, ms=1000)
    world.producer(10)
    world.producer(150)
    queued = world.producer([300, 0], topic="u")
    world.send(topic="u", ttl=None)
    world.clock.settle()
    world.dispatcher.register_result_producer(queued, "t")
    handle = world.send(ttl=100)
    handle.wait()
    then = handle.report()
    world.clock.advance(5000)
    assert verdicts(handle) == ["OK", "LATE", "SKIPPED(QUEUED)"]
    _, report = busy.heard
    assert report == then
    assert [m.verdict for m in report.members] == [Verdict.OK, Verdict.MISSING, Verdict.MISSING]
    assert [m.standing for m in report.members] == [None, Standing.RUNNING, Standing.QUEUED]


def test_every_end_is_told_to_who_wants_completions(world: World) -> None:
    """Expired, cancelled, stopped, and nobody there."""
    listener = world.listener(Attentive)
    silent = world.listener(Attentive, "nobody")
    producer = world.producer(FOREVER)
    world.send(ttl=10)
    world.send(ttl=None).cancel()
    world.send(topic="nobody")
    world.clock.advance(20)
    world.send(ttl=None)
    world.dispatcher.stop(immediate=True)
    listener.join()
    assert [r.completion.name for r in listener.heard] == ["CANCELLED", "DEADLINE", "STOPPED"]
    assert [r.completion.name for r in silent.heard] == ["NO_PRODUCERS"]
    assert len(producer.asked) == 1


def test_callbacks_replaced_on_the_instance_later_are_used(world: World) -> None:
    """And not any more when they are taken off again."""
    listener = world.listener(Hearing)
    world.producer(10, "a")
    raiser = world.producer(20, ValueError("x"))
    world.send().wait()
    world.clock.settle()
    told: List[Any] = []
    listener.process_dispatcher_result = lambda topic, response: told.append(response)
    listener.process_dispatcher_error = lambda topic, reply: told.append(reply.producer)
    listener.process_dispatcher_completion = lambda topic, report: told.append(report.id)
    handle = world.send()
    handle.wait()
    world.clock.settle()
    assert listener.heard == ["a"]
    assert told == ["a", raiser, handle.id]
    del listener.process_dispatcher_error, listener.process_dispatcher_completion
    world.send().wait()
    world.clock.settle()
    assert told[3:] == ["a"]


def test_a_slow_listener_delays_nobody(world: World) -> None:
    """Neither the other listener, nor the producer, nor the end of the request."""
    slow, quick = world.listener(ms=10_000), world.listener()
    world.producer(10)
    for n in range(1, 6):
        assert world.send(ttl=10).results() == ["value"]
        world.clock.settle()
        assert len(quick.heard) == n
    assert quick.at == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])
    assert len(slow.heard) == 1
    world.clock.advance(60_000)
    assert len(slow.heard) == 5


def test_callbacks_run_on_the_thread_that_they_belong_to(world: World) -> None:
    """`current_thread()` is the object itself."""
    threads: List[Any] = []
    producer = world.producer(0, lambda topic: threads.append(threading.current_thread()))
    listener = world.listener()
    listener.process_dispatcher_result = lambda *_: threads.append(threading.current_thread())
    world.send().wait()
    world.clock.settle()
    assert threads == [producer, listener]


# -- whose a value is --------------------------------------------------------------------------


class Knowing(Hearing):
    """Wants to know whose a value is."""

    def process_dispatcher_reply(self, topic: Any, reply: Any) -> None:
        self.heard.append((topic, reply.producer.name, reply.value, reply.elapsed_ms, reply.more))


def test_a_listener_may_hear_whose_a_value_is(world: World) -> None:
    """Straight after the value, in the one order; errors go where they went."""
    knowing, plain = world.listener(Knowing), world.listener()
    world.producer(20, "b", name="b")
    world.producer(10, "a", name="a")
    world.producer(15, ValueError(), name="raises")
    world.send().wait()
    world.clock.settle()
    assert knowing.heard == ["a", ("t", "a", "a", 10, False), "b", ("t", "b", "b", 20, False)]
    assert plain.heard == ["a", "b"]


def test_who_wants_replies_need_not_want_values(world: World) -> None:
    """One of the two is enough."""
    heard: List[Any] = []

    class Only(ResultListener):
        def process_dispatcher_reply(self, topic: Any, reply: Any) -> None:
            heard.append(reply.value)

    only = Only()
    world.dispatcher.register_result_listener(only, "t", start=True)
    world.cast(only)
    world.producer()
    world.send().wait()
    world.clock.settle()
    assert heard == ["value"]


def test_whose_the_parts_of_a_stream_are(world: World) -> None:
    """Each says that there may be more."""
    knowing = world.listener(Knowing)
    stream = Stream(world, 1, 2, name="s")
    world.dispatcher.register_result_producer(stream, "t", start=True)
    world.cast(stream)
    world.send().wait()
    world.clock.settle()
    assert knowing.heard == [1, ("t", "s", 1, 100, True), 2, ("t", "s", 2, 200, True)]


def test_replies_to_listeners_under_options_too(world: World) -> None:
    """Where the careful way is taken."""
    knowing = world.listener(Knowing)
    world.producer(10, 1, name="a")
    world.dispatcher.options(need=1, ttl=100).send_request("t").wait()
    world.clock.settle()
    assert knowing.heard == [1, ("t", "a", 1, 10, False)]
