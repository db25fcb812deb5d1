"""Who is asked, and who hears: fixed at one moment each; on virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from virtual import World, world

from ate_dispatcher import Completion

__all__ = ["world"]


def test_who_is_asked_is_fixed_at_the_send(world: World) -> None:
    """One who registers a moment later is asked by the next request only."""
    world.producer(10, "first")
    handle = world.send()
    world.producer(0, "second")
    assert handle.results() == ["first"]
    assert world.send().results() == ["second", "first"]


def test_the_roster_has_the_order_of_registration(world: World) -> None:
    """Also after somebody left and came back: then he is last."""
    one, two, three = [world.producer(name=name) for name in ("one", "two", "three")]
    assert [m.producer for m in world.send().report().members] == ["one", "two", "three"]
    world.dispatcher.deregister_result_producer(one, "t")
    world.dispatcher.register_result_producer(one, "t")
    world.dispatcher.register_result_producer(two, "t")
    handle = world.send()
    assert handle.missing == (two, three, one)
    assert len(handle.results()) == 3


def test_a_deregistered_producer_still_answers_what_it_was_asked(world: World) -> None:
    """Running or queued; but nothing sent later."""
    producer = world.producer(10)
    handles = [world.send(), world.send()]
    assert not handles[0].wait(0.005)
    world.dispatcher.deregister_result_producer(producer, "t")
    later = world.send()
    assert later.completion is Completion.NO_PRODUCERS
    assert [handle.results() for handle in handles] == [["value"], ["value"]]


def test_who_hears_a_result_is_fixed_when_it_is_accepted(world: World) -> None:
    """A listener that came after the send hears it; one that left before does not."""
    world.producer(10)
    leaves, stays = world.listener(), world.listener()
    handle = world.send()
    comes = world.listener()
    world.dispatcher.deregister_result_listener(leaves, "t")
    assert handle.results() == ["value"]
    too_late = world.listener()
    world.clock.settle()
    assert [ear.heard for ear in (leaves, stays, comes, too_late)] == [
        [],
        ["value"],
        ["value"],
        [],
    ]


def test_a_listener_that_leaves_still_hears_what_was_accepted_before(world: World) -> None:
    """It is in its mailbox already."""
    world.producer(0)
    listener = world.listener(ms=100)
    for _ in range(3):
        assert world.send().results() == ["value"]
    world.dispatcher.deregister_result_listener(listener, "t")
    world.clock.advance(1000)
    assert listener.heard == ["value"] * 3


@pytest.mark.parametrize("topic", ["", ("a", 1), None, 7, frozenset("x"), b"t"], ids=repr)
def test_any_hashable_is_a_topic(world: World, topic: Any) -> None:
    """As in 0.1.0, though topics are meant to be strings."""
    listener = world.listener(topic=topic)
    world.producer(answer=lambda topic: topic, topic=topic)
    assert world.send(topic=topic).results() == [topic]
    world.clock.settle()
    assert listener.heard == [topic]


def test_an_unhashable_topic_is_refused_at_the_call(world: World) -> None:
    """Wherever a topic is named; and nobody is registered by half."""
    with pytest.raises(TypeError, match="topic must be hashable, not list"):
        world.send(topic=[])
    producer = world.producer()
    with pytest.raises(TypeError, match="topic must be hashable, not dict"):
        world.dispatcher.register_result_producer(producer, "u", {})  # type: ignore[arg-type]
    assert world.send(topic="u").completion is Completion.NO_PRODUCERS
