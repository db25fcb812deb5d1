"""What the caller holds: waiting, iterating, cancelling, callbacks; on virtual time."""

from __future__ import annotations

import threading
from typing import Any, List, Tuple

import pytest
from virtual import FOREVER, Stream, World, errors, world

from ate_dispatcher import Completion, IncompleteError, RequestTimeout
from ate_dispatcher.errors import BadValue

__all__ = ["world"]


def test_wait_tells_whether_the_end_came(world: World) -> None:
    """Within the timeout; again and again; and at once after the end."""
    world.producer(100)
    handle = world.send()
    assert handle.wait(0.05) is False
    assert handle.done() is False
    assert handle.completion is None
    assert handle.wait() is True
    assert handle.done() is True
    now = world.clock.now()
    assert handle.wait(100) is handle.wait() is True
    assert world.clock.now() == now


def test_results_raise_a_timeout_error_if_the_end_did_not_come(world: World) -> None:
    """The request is not touched by it."""
    world.producer(100)
    handle = world.send()
    with pytest.raises(TimeoutError) as caught:
        handle.results(timeout=0.05)
    assert isinstance(caught.value, RequestTimeout)
    assert handle.results(timeout=1) == ["value"]


def test_results_keep_quiet_about_errors_and_missing(world: World) -> None:
    """Unless all are required."""
    world.producer(10, 1)
    world.producer(5, ValueError("x"))
    world.producer(FOREVER)
    assert world.send().results() == [1]
    assert world.send(topic="nobody").results() == []


def test_requiring_all_raises_what_is_incomplete(world: World) -> None:
    """It names the missing and the raisers and carries what came; the first error is its cause."""
    world.producer(10, 1, name="good")
    problem, other = ValueError("x"), OSError("y")
    world.producer(20, other, name="second raiser")
    world.producer(5, problem, name="raiser")
    world.producer(FOREVER, name="hung")
    world.producer(start=False, name="asleep")
    handle = world.send()
    with pytest.raises(IncompleteError) as caught:
        handle.results(require="all")
    assert caught.value.results == [1]
    assert caught.value.missing == ["hung", "asleep"]
    assert caught.value.errors == [problem, other]
    assert caught.value.__cause__ is problem
    for name in ("raiser", "second raiser", "hung", "asleep"):
        assert name in str(caught.value)
    with pytest.raises(IncompleteError) as caught:
        world.send(topic="nobody").results(require="all")
    assert caught.value.results == []


def test_requiring_all_is_content_when_all_answered(world: World) -> None:
    """And anything else that is required is refused."""
    world.producer(10, None)
    world.producer(20, 2)
    handle = world.send()
    with pytest.raises(ValueError, match="require"):
        handle.results(require="most")
    assert handle.results(require="all") == [None, 2]


def test_iterating_yields_replies_as_they_arrive_until_the_end(world: World) -> None:
    """Errors included; time passes only in between."""
    world.producer(30, "c")
    world.producer(10, "a")
    world.producer(20, ValueError("b"))
    world.producer(FOREVER)
    replies = world.send(ttl=100)
    seen = [(reply.value, reply.ok, world.clock.now()) for reply in replies]
    assert [value for value, _, _ in seen] == ["a", None, "c"]
    assert [ok for _, ok, _ in seen] == [True, False, True]
    assert [at for _, _, at in seen] == pytest.approx([0.01, 0.02, 0.03])
    assert world.clock.now() == pytest.approx(0.1)


def test_a_slow_consumer_loses_nothing(world: World) -> None:
    """Nor does one that iterates twice, or after the end; the handle only shows."""
    for n in range(5):
        world.producer(n, n)
    handle = world.send(ttl=50)
    slow = []
    for reply in handle:
        slow.append(reply.value)
        world.clock.sleep(1)
    assert slow == [0, 1, 2, 3, 4]
    assert [reply.value for reply in handle] == slow
    assert [reply.value for reply in handle.replies] == slow


def test_iterating_over_nobody_is_over_at_once(world: World) -> None:
    """Also over a cancelled request."""
    assert list(world.send(topic="nobody")) == []
    world.producer(FOREVER)
    handle = world.send()
    handle.cancel()
    assert list(handle) == []
    assert world.clock.now() == 0


def test_cancel_ends_it_now_and_is_harmless_afterwards(world: World) -> None:
    """A cancel of what has ended changes nothing."""
    world.producer(10)
    handle, answered = world.send(), world.send()
    handle.cancel()
    handle.cancel()
    assert handle.wait()
    assert handle.completion is Completion.CANCELLED
    assert world.clock.now() == 0
    assert answered.results() == ["value"]
    answered.cancel()
    world.clock.settle()
    assert answered.completion is Completion.ALL_REPLIED
    assert world.dispatcher.statistics().completions[Completion.CANCELLED] == 1


def test_a_cancel_after_the_deadline_finds_it_expired() -> None:
    """Even if nobody has had the chance to close it."""
    world = World(start=False)
    world.producer(0)
    handle = world.send(ttl=100)
    world.clock.advance(200)
    handle.cancel()
    world.dispatcher.start()
    handle.wait()
    assert handle.completion is Completion.DEADLINE
    world.close()


def test_a_cancel_before_the_start_is_heeded() -> None:
    """The producer never sees it."""
    world = World(start=False)
    producer = world.producer(0)
    handle = world.send()
    handle.cancel()
    world.dispatcher.start()
    handle.wait()
    assert handle.completion is Completion.CANCELLED
    world.clock.advance(10)
    assert producer.asked == []
    world.close()


def test_done_callbacks_are_called_once_with_the_handle(world: World) -> None:
    """After the end, in the order they were added; also one that is added after the end."""
    world.producer(10)
    handle = world.send()
    calls: List[Tuple[str, Any, bool]] = []
    handle.add_done_callback(lambda h: calls.append(("first", h, h.done())))
    handle.add_done_callback(lambda h: calls.append(("second", h, h.done())))
    world.clock.advance(5)
    assert calls == []
    world.clock.advance(10)
    assert calls == [("first", handle, True), ("second", handle, True)]
    handle.add_done_callback(lambda h: calls.append(("third", h, h.done())))
    world.clock.settle()
    assert calls[2:] == [("third", handle, True)]
    world.clock.advance(10_000)
    assert len(calls) == 3


def test_done_callbacks_run_on_the_observers_thread(world: World) -> None:
    """Or, when the dispatcher has ended, at once on the calling thread."""
    world.producer(10)
    handle = world.send()
    threads: List[str] = []
    handle.add_done_callback(lambda _: threads.append(threading.current_thread().name))
    handle.wait()
    world.clock.settle()
    assert threads == [f"{world.dispatcher.name}-observers"]
    world.dispatcher.stop()
    world.dispatcher.join()
    handle.add_done_callback(lambda _: threads.append(threading.current_thread().name))
    assert threads[1:] == [threading.current_thread().name]


def test_a_done_callback_comes_for_every_kind_of_end(world: World) -> None:
    """Nobody registered, expired, cancelled, stopped."""
    world.producer(FOREVER)
    ends = []
    handles = [world.send(topic="nobody"), world.send(ttl=10), world.send(ttl=None), world.send()]
    for handle in handles:
        handle.add_done_callback(lambda h: ends.append(h.completion.name))
    handles[2].cancel()
    world.clock.advance(20)
    world.dispatcher.stop(immediate=True)
    world.dispatcher.join()
    world.clock.settle()
    assert ends == ["NO_PRODUCERS", "CANCELLED", "DEADLINE", "STOPPED"]


def test_a_raising_done_callback_is_logged_and_stops_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Also on the calling thread, after the dispatcher's end."""
    world.producer(10)
    handle = world.send()
    called: List[Any] = []

    def breaks(_: Any) -> None:
        raise SystemExit("callback")

    handle.add_done_callback(breaks)
    handle.add_done_callback(called.append)
    handle.wait()
    world.clock.settle()
    assert called == [handle]
    world.dispatcher.stop()
    world.dispatcher.join()
    handle.add_done_callback(breaks)
    records = errors(caplog)
    assert len(records) == 2
    assert all(record.exc_info and record.exc_info[0] is SystemExit for record in records)
    assert all("breaks" in record.getMessage() for record in records)
    with pytest.raises(TypeError, match="callback must be callable"):
        handle.add_done_callback(None)  # type: ignore[arg-type]


# -- whose a value is --------------------------------------------------------------------------


def test_values_by_the_names_of_their_producers(world: World) -> None:
    """In the order of the registrations; who gave no value is not there."""
    world.producer(30, 1, name="slow")
    world.producer(10, 2, name="quick")
    world.producer(5, ValueError("x"), name="raiser")
    world.producer(FOREVER, name="hung")
    handle = world.send()
    assert handle.by_producer() == {"slow": 1, "quick": 2}
    assert list(handle.by_producer()) == ["slow", "quick"]
    with pytest.raises(IncompleteError):
        handle.by_producer(require="all")


def test_values_by_producer_wait_for_the_end(world: World) -> None:
    """As results do."""
    world.producer(100, name="a")
    handle = world.send()
    with pytest.raises(RequestTimeout):
        handle.by_producer(timeout=0.05)
    assert handle.by_producer(timeout=1) == {"a": "value"}


def test_streams_by_producer_are_lists(world: World) -> None:
    """Also an empty one, and one that did not come to its end."""
    for name, values in (("none", ()), ("two", (1, 2)), ("endless", range(100))):
        stream = Stream(world, *values, name=name)
        world.dispatcher.register_result_producer(stream, "t", start=True)
        world.cast(stream)
    assert world.send(ttl=350).by_producer() == {"none": [], "two": [1, 2], "endless": [0, 1, 2]}


def test_two_of_one_name_cannot_be_told_apart(world: World) -> None:
    """Nothing is lost in silence."""
    world.producer(name="site")
    world.producer(name="site")
    with pytest.raises(BadValue, match="two producers are called 'site'"):
        world.send().by_producer()
