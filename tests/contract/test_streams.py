"""Producers that stream, on virtual time."""

from __future__ import annotations

import gc
import weakref
from typing import Any, List

import pytest
from virtual import FOREVER, Attentive, World, errors, stream, verdicts, world

from ate_dispatcher import Completion, Producer, Stall, Until

__all__ = ["world"]


def test_each_value_is_a_reply_of_its_own(world: World) -> None:
    """Stamped when it was yielded; listeners hear it then; the end is the one verdict."""
    stream(world, 1, 2, 3)
    ear = world.listener()
    handle = world.send()
    seen = [(reply.value, world.clock.now()) for reply in handle]
    assert seen == [(1, 0.1), (2, 0.2), (3, pytest.approx(0.3))]
    assert handle.results(require="all") == [1, 2, 3]
    assert [reply.more for reply in handle.replies] == [True, True, False]
    assert handle.completion is Completion.ALL_REPLIED
    assert verdicts(handle) == ["OK"]
    assert handle.missing == ()
    world.clock.settle()
    assert (ear.heard, ear.at) == ([1, 2, 3], [0.1, 0.2, pytest.approx(0.3)])


def test_while_it_streams_there_is_more(world: World) -> None:
    """The newest value may be the last; nobody knows yet."""
    site = stream(world, 1, 2)
    handle = world.send(ttl=None)
    world.clock.advance(150)
    assert [(reply.value, reply.more) for reply in handle.replies] == [(1, True)]
    assert verdicts(handle) == ["open(RUNNING)"]
    assert handle.missing == (site,)
    assert world.dispatcher.statistics().pending == 1


def test_several_streams_and_plain_answers_together(world: World) -> None:
    """In the order of arrival; it is over when the last of them is."""
    stream(world, "a", "b")
    stream(world, "c", name="short")
    world.producer(150, "plain")
    handle = world.send()
    assert handle.results() == ["a", "c", "plain", "b"]
    assert verdicts(handle) == ["OK"] * 3
    assert [reply.more for reply in handle.replies] == [True, False, False, False]


def test_a_stream_of_nothing_is_ok(world: World) -> None:
    """It has answered, with no value."""
    stream(world)
    handle = world.send()
    assert handle.results(require="all") == []
    assert verdicts(handle) == ["OK"]


def test_an_error_in_the_middle_is_the_verdict(world: World, caplog: Any) -> None:
    """What came before it stays."""
    stream(world, 1, 2, error=OSError("broken"))
    handle = world.send()
    assert handle.results() == [1, 2]
    assert verdicts(handle) == ["ERROR"]
    assert [reply.more for reply in handle.replies] == [True, True, False]
    assert len(errors(caplog)) == 1


def test_the_deadline_closes_it_between_two_values(world: World) -> None:
    """The value that came too late is not accepted; the thread goes on to the next request."""
    site = stream(world, 1, 2, 3)
    handle = world.send(ttl=250)
    assert handle.results() == [1, 2]
    assert verdicts(handle) == ["MISSING(RUNNING)"]
    world.clock.advance(1000)
    assert verdicts(handle) == ["LATE"]
    assert handle.report().members[0].late_ms == pytest.approx(50)
    assert site.closed == [pytest.approx(0.3)]
    assert world.send().results() == [1, 2, 3]


def test_a_cancel_closes_it_too(world: World) -> None:
    """At the next value."""
    site = stream(world, *range(10))
    handle = world.send(ttl=None)
    world.clock.advance(250)
    handle.cancel()
    assert handle.results() == [0, 1]
    world.clock.advance(1000)
    assert site.closed == [pytest.approx(0.3)]
    assert verdicts(handle) == ["SURPLUS"]


def test_policies_see_the_values_and_count_the_ends(world: World) -> None:
    """A vote is a member's, not a value's; quiet is between values."""
    stream(world, 1, 2)
    stream(world, 3, 4, 5, 6)
    handle = world.dispatcher.options(need=1, ttl=None).send_request("t")
    assert handle.results() == [1, 3, 2]
    assert handle.completion is Completion.QUORUM
    world.clock.advance(1000)
    until = Until(lambda replies: len(replies) == 3)
    handle = world.dispatcher.options(need=until, ttl=None).send_request("t")
    assert len(handle.results()) == 3
    assert handle.completion is Completion.PREDICATE
    world.clock.advance(1000)
    world.producer(FOREVER)
    handle = world.dispatcher.options(need=Stall(150), ttl=None).send_request("t")
    assert handle.results() == [1, 3, 2, 4, 5, 6]
    assert handle.completion is Completion.STALLED


def test_a_guest_may_stream(world: World) -> None:
    """At a dispatcher that is not its home."""
    second = world.second()
    site = stream(world, 1, 2)
    second.register_result_producer(site, "t")
    handles = [second.send_request("t"), world.send(), second.send_request("t")]
    assert [handle.results() for handle in handles] == [[1, 2]] * 3
    assert [verdicts(handle) for handle in handles] == [["OK"]] * 3


def test_hooks_and_listeners_hear_each_value(world: World) -> None:
    """And one end."""
    stream(world, 1, 2)
    ear = world.listener(Attentive)
    seen: List[Any] = []
    world.dispatcher.add_hook(seen.append)
    handle = world.send()
    handle.wait()
    world.clock.settle()
    assert ear.heard == [1, 2, handle.report()]
    assert [event.name.rsplit(".")[1] for event in seen] == [
        "request_opened",
        "reply_accepted",
        "reply_accepted",
        "request_completed",
    ]
    assert [event.more for event in seen[1:3]] == [True, True]


def test_without_it_a_generator_is_a_value_like_any_other(world: World) -> None:
    """And with it a plain value is one, too."""
    plain = stream(world, 1, stream=False)
    (value,) = world.send().results()
    assert next(value) == 1
    world.dispatcher.deregister_result_producer(plain, "t")

    class Plain(Producer):
        def produce_dispatcher_output(self, topic: Any) -> Any:
            return "plain"

    world.dispatcher.register_result_producer(world.cast(Plain(stream=True)), "t", start=True)
    handle = world.send()
    assert handle.results() == ["plain"]
    assert not handle.replies[0].more


def test_a_stream_keeps_no_value(world: World) -> None:
    """Neither while it waits for the next, nor afterwards."""

    class Value:
        pass

    references = []

    class Fresh(Producer):
        def produce_dispatcher_output(self, topic: Any) -> Any:
            for pause in (0.1, 0.1, 1e6):
                world.clock.sleep(pause)
                value = Value()
                references.append(weakref.ref(value))
                yield value
                del value

    world.dispatcher.register_result_producer(world.cast(Fresh(stream=True)), "t", start=True)
    world.send(ttl=500).wait()
    world.clock.settle()
    gc.collect()
    assert len(references) == 2
    assert [reference() for reference in references] == [None, None]


def test_a_stream_of_nothing_is_no_vote(world: World) -> None:
    """The first value is wanted, and it gave none."""
    stream(world)
    world.producer(100, 7)
    handle = world.dispatcher.options(need="first", ttl=None).send_request("t")
    assert handle.results() == [7]
    assert handle.completion is Completion.QUORUM
