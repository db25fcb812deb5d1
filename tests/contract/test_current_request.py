"""What a producer knows of the request that it is in, and may say of it; on virtual time."""

from __future__ import annotations

from typing import Any, List

import pytest
from virtual import Attentive, World, verdicts, world

from ate_dispatcher import Completion, Producer, current_request

__all__ = ["world"]


# -- the handle --------------------------------------------------------------------------------


def test_a_producer_may_say_how_far_it_is(world: World) -> None:
    """The handle shows what was said last, until the producer is at something else."""
    said: List[Any] = []

    def work(topic: Any, *steps: Any) -> int:
        request = current_request()
        assert request is not None
        for step in steps:
            request.progress(*step)
            world.clock.sleep(0.1)
        return len(steps)

    world.producer(0, work, name="a")
    world.producer(1000, name="b")
    world.dispatcher.add_hook(said.append)
    handle = world.send((0.0,), (0.5, "half"), (1, "done"), ttl=None)
    later = world.send(ttl=None)
    assert handle.progress == ()
    world.clock.advance(50)
    assert handle.progress == (("a", 0.0, ""),)
    world.clock.advance(100)
    assert handle.progress == (("a", 0.5, "half"),)
    assert handle.progress[0].text == "half"
    assert later.progress == ()
    handle.wait()
    world.clock.settle()
    told = [event for event in said if event.name.endswith("progressed")]
    assert [(e.request, e.at, e.producer, e.fraction, e.text) for e in told] == [
        (1, 0.0, "a", 0.0, ""),
        (1, 0.1, "a", 0.5, "half"),
        (1, 0.2, "a", 1.0, "done"),
    ]


def test_progress_with_what_is_over_is_nobodys_news(world: World) -> None:
    """It does no harm."""
    seen: List[Any] = []

    def work(topic: Any) -> None:
        world.clock.sleep(1)
        request = current_request()
        assert request is not None
        assert request.cancelled
        request.progress(0.5)

    world.producer(0, work)
    world.dispatcher.add_hook(seen.append)
    handle = world.send(ttl=100)
    world.clock.advance(2000)
    assert verdicts(handle) == ["LATE"]
    assert handle.progress == ()
    assert not [event for event in seen if event.name.endswith("progressed")]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((-0.1,), "fraction must be from 0 to 1"),
        ((1.1,), "fraction must be from 0 to 1"),
        ((float("nan"),), "fraction must be from 0 to 1"),
        (("1",), "fraction must be a number"),
        ((True,), "fraction must be a number"),
        ((0.5, 3), "text must be a str"),
    ],
    ids=repr,
)
def test_nonsense_progress_is_refused_at_the_call(world: World, arguments: Any, names: str) -> None:
    """The producer's error, which says what is wrong."""
    world.producer(0, lambda topic: current_request().progress(*arguments))  # type: ignore[union-attr]
    handle = world.send()
    handle.wait()
    (reply,) = handle.replies
    assert isinstance(reply.error, (TypeError, ValueError))
    assert names in str(reply.error)


# -- work nobody wants -------------------------------------------------------------------------


def test_work_nobody_wants_is_not_begun(world: World) -> None:
    """Expired, cancelled or ended: of five queued requests the last is the next one executed."""
    producer = world.producer([200, 0])
    world.send(0, ttl=None)
    expired, cancelled = world.send(1, ttl=100), world.send(2, ttl=None)
    exactly, wanted = world.send(3, ttl=200), world.send(4, ttl=300)
    cancelled.cancel()
    world.clock.advance(1000)
    # At the very deadline it may still begin, and an answer at once is in time.
    assert [asked.args for asked in producer.asked] == [(0,), (3,), (4,)]
    assert [expired.completion, exactly.completion, wanted.completion] == [
        Completion.DEADLINE,
        Completion.ALL_REPLIED,
        Completion.ALL_REPLIED,
    ]


def test_the_current_request_is_known_to_its_producer(world: World) -> None:
    """Its id, topic, and how long somebody will wait; None elsewhere."""
    seen: List[Any] = []

    def looks(topic: str) -> None:
        request = current_request()
        assert request is not None
        seen.append((request.id, request.topic, request.remaining_ms, request.cancelled))
        world.clock.sleep(0.06)
        seen.append((request.remaining_ms, request.cancelled))
        world.clock.sleep(0.06)
        seen.append((request.remaining_ms, request.cancelled))

    world.producer(0, looks)
    elsewhere: List[Any] = []
    listener = world.listener(Attentive)
    listener.process_dispatcher_completion = lambda *_: elsewhere.append(current_request())
    world.dispatcher.add_hook(lambda _: elsewhere.append(current_request()))
    handle = world.send(ttl=100)
    assert current_request() is None
    world.clock.advance(200)
    assert seen == [
        (handle.id, "t", 100, False),
        (pytest.approx(40), False),
        (0, True),
    ]
    assert elsewhere == [None] * 4
    assert current_request() is None


def test_the_current_request_without_deadline_remains_for_ever(world: World) -> None:
    """`remaining_ms` is None then; a cancel shows."""
    seen: List[Any] = []

    def looks(topic: str) -> None:
        request = current_request()
        assert request is not None
        seen.append((request.remaining_ms, request.cancelled))
        world.clock.sleep(1)
        seen.append((request.remaining_ms, request.cancelled))

    world.producer(0, looks)
    handle = world.send(ttl=None)
    world.clock.advance(500)
    handle.cancel()
    world.clock.advance(1000)
    assert seen == [(None, False), (None, True)]


def test_between_two_requests_there_is_no_current_one(world: World) -> None:
    """A producer's thread that only waits, or ends, serves nobody."""
    seen: List[Any] = []

    class Wrapped(Producer):
        def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            request = current_request()
            seen.append(request is not None and request.id)

        def run(self) -> None:
            seen.append(current_request())
            super().run()
            seen.append(current_request())

    producer = world.cast(Wrapped())
    world.dispatcher.register_result_producer(producer, "t", start=True)
    handle = world.send()
    handle.wait()
    producer.stop()
    producer.join()
    assert seen == [None, handle.id, None]
