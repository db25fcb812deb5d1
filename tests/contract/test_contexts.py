"""Context variables that go with a request; on virtual time."""

from __future__ import annotations

import contextvars
from typing import Any, Iterator, List

import pytest
from virtual import World, world

from ate_dispatcher import Producer, current_request
from ate_dispatcher.errors import BadType

__all__ = ["world"]

LOT: contextvars.ContextVar[str] = contextvars.ContextVar("lot", default="none")


def sent_in(lot: str, sender: Any, *args: Any, **kwargs: Any) -> Any:
    """Send where the variable has that value."""
    context = contextvars.copy_context()
    context.run(LOT.set, lot)
    return context.run(sender.send_request, "t", *args, **kwargs)


def test_the_senders_context_is_there_in_the_method(world: World) -> None:
    """Of each send its own, for every producer; without the option it is not."""
    for _ in range(2):
        world.producer(0, lambda topic, *args, **kwargs: (LOT.get(), args, kwargs))
    sender = world.dispatcher.options(context=True)
    first, second = sent_in("A", sender, 1, gain=2), sent_in("B", sender)
    plain = sent_in("C", world.dispatcher)
    assert first.results() == [("A", (1,), {"gain": 2})] * 2
    assert second.results() == [("B", (), {})] * 2
    assert plain.results() == [("none", (), {})] * 2


def test_what_a_method_sets_stays_with_it(world: World) -> None:
    """Neither the sender, nor another producer, nor its next request sees it."""

    def sets(topic: Any) -> str:
        before = LOT.get()
        LOT.set("mine")
        return before

    for _ in range(2):
        world.producer(0, sets)
    sender = world.dispatcher.options(context=True)
    assert [sent_in("A", sender).results() for _ in range(2)] == [["A", "A"]] * 2
    assert LOT.get() == "none"


def test_the_current_request_is_the_producers_own(world: World) -> None:
    """Although another one's context is there, perhaps that of a producer that asks."""
    seen: List[Any] = []

    def inner(topic: Any) -> Any:
        request = current_request()
        assert request is not None
        return request.id

    def outer(topic: Any) -> Any:
        handle = world.dispatcher.options(context=True).send_request("inner")
        seen.append((handle.id, handle.results()))
        return inner(topic)

    world.producer(0, inner, topic="inner")
    world.producer(0, outer)
    handle = world.send()
    assert handle.results() == [handle.id]
    assert seen == [(seen[0][0], [seen[0][0]])]


def test_streams_have_it_between_their_values(world: World) -> None:
    """And at their end, also when they are closed."""
    closed: List[str] = []

    class Streams(Producer):
        def produce_dispatcher_output(self, topic: Any) -> Iterator[str]:
            try:
                for _ in range(2):
                    yield LOT.get()
                    world.clock.sleep(0.1)
            finally:
                closed.append(LOT.get())

    streams = Streams(stream=True)
    world.dispatcher.register_result_producer(streams, "t", start=True)
    world.cast(streams)
    sender = world.dispatcher.options(context=True, ttl=150)
    assert sent_in("A", sender).results() == ["A", "A"]
    world.clock.advance(1000)
    assert closed == ["A"]


def test_the_option_is_true_or_false(world: World) -> None:
    """A context of one's own is none."""
    with pytest.raises(BadType, match="context must be True or False"):
        world.dispatcher.options(context=contextvars.copy_context())  # type: ignore[arg-type]
    assert repr(world.dispatcher.options(context=True)) == "<Sender with context=True>"


def test_a_generator_that_is_a_value_is_handed_on(world: World) -> None:
    """The object itself, as without a context."""
    value = (number for number in range(3))
    world.producer(0, lambda topic: value)
    (found,) = world.dispatcher.options(context=True).send_request("t").results()
    assert found is value
