"""What a participant sets up and cleans up on its own thread; on virtual time."""

from __future__ import annotations

import threading
from typing import Any, List

import pytest
from rig import PATIENCE, Answer
from virtual import Hearing, Scripted, World, verdicts, world

from ate_dispatcher import Dispatcher, Producer, current_request
from ate_dispatcher.errors import DispatcherError

__all__ = ["world"]


class Rigged(Scripted):
    """Notes what is called of it, and where; raises *errors* by the name of the method."""

    def __init__(self, world: World, errors: Any = (), workers: int = 1) -> None:
        super().__init__(world.clock, 0, lambda topic, *_: self.noted("serves"), None)
        self.errors = dict(errors)
        self.calls: List[Any] = []

    def noted(self, what: str) -> str:
        self.calls.append((what, threading.current_thread()))
        if what in self.errors:
            raise self.errors[what]
        return what

    def on_start(self) -> None:
        self.noted("starts")

    def on_stop(self) -> None:
        self.noted("stops")


def test_a_producer_sets_up_and_cleans_up_on_its_own_thread(world: World) -> None:
    """Once, around all that it serves."""
    producer = Rigged(world)
    world.dispatcher.register_result_producer(producer, "t", start=True)
    world.cast(producer)
    assert [world.send().results() for _ in range(2)] == [["serves"], ["serves"]]
    producer.stop()
    producer.join()
    assert producer.calls == [(w, producer) for w in ("starts", "serves", "serves", "stops")]


def test_a_listener_likewise(world: World) -> None:
    """Also one that hears nothing."""
    calls: List[Any] = []

    class Ear(Hearing):
        def on_start(self) -> None:
            calls.append(("starts", threading.current_thread()))

        def on_stop(self) -> None:
            calls.append(("stops", threading.current_thread()))

    ear = world.listener(Ear)
    world.clock.settle()
    assert calls == [("starts", ear)]
    ear.stop()
    ear.join()
    assert calls == [("starts", ear), ("stops", ear)]


def test_a_producer_that_cannot_be_set_up_declines(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits for it and what comes later; and it says why."""
    producer = Rigged(world, {"starts": OSError("no such port")})
    world.dispatcher.register_result_producer(producer, "t")
    world.cast(producer)
    waits = world.send()
    producer.start()
    producer.join()
    later = world.send()
    assert later.wait()
    assert verdicts(waits) == verdicts(later) == ["DECLINED"]
    assert waits.wait()
    assert [what for what, _ in producer.calls] == ["starts"]
    (record,) = caplog.records
    assert "no such port" in str(record.exc_info)
    assert f"on_start of {producer.name} raised" in record.getMessage()
    assert vars(record)["producer"] == producer.name
    (line,) = later.report().members
    assert line.error == "OSError in on_start"
    assert "DECLINED" in str(line)
    assert str(line).endswith("OSError in on_start")


def test_a_listener_that_cannot_be_set_up_hears_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """And harms nobody."""

    class Deaf(Hearing):
        def on_start(self) -> None:
            raise OSError("no such file")

    deaf, other = world.listener(Deaf), world.listener()
    world.producer()
    assert world.send().results() == ["value"]
    world.clock.settle()
    assert (deaf.heard, other.heard) == ([], ["value"])
    assert not deaf.is_alive()
    assert f"on_start of {deaf.name} raised" in caplog.text


def test_what_cleaning_up_raises_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The thread ends all the same."""
    producer = Rigged(world, {"stops": ValueError("stuck")})
    world.dispatcher.register_result_producer(producer, "t", start=True)
    world.clock.settle()
    producer.stop()
    producer.join()
    assert f"on_stop of {producer.name} raised" in caplog.text


def test_several_workers_are_set_up_once() -> None:
    """By the producer's own thread, before any of them serves."""
    calls: List[Any] = []

    class Two(Answer):
        def on_start(self) -> None:
            calls.append(threading.current_thread())

    with Dispatcher() as dispatcher:
        producer = Two(lambda *_: len(calls), workers=2)
        dispatcher.register_result_producer(producer, "t", start=True)
        handles = [dispatcher.send_request("t", ttl=None) for _ in range(20)]
        assert [handle.results(PATIENCE) for handle in handles] == [[1]] * 20
    assert calls == [producer]


# -- the request of the moment -----------------------------------------------------------------


def test_a_producer_has_its_request_inside_the_method(world: World) -> None:
    """What `current_request` gives, and never None."""

    class Asks(Producer):
        def produce_dispatcher_output(self, topic: Any) -> Any:
            self.request.progress(0.5)
            found = current_request()
            assert found is not None
            return (self.request.id, found.id, self.request.remaining_ms)

    producer = Asks()
    world.dispatcher.register_result_producer(producer, "t", start=True)
    world.cast(producer)
    handle = world.send(ttl=1000)
    assert handle.results() == [(handle.id, handle.id, 1000)]


def test_elsewhere_it_has_none(world: World) -> None:
    """Not on other threads, and not another producer's."""
    first, second = Answer(lambda *_: second.request), Answer()
    with pytest.raises(DispatcherError, match=r"request of Answer-\d+: it serves none"):
        first.request  # noqa: B018
    world.dispatcher.register_result_producer(first, "t", start=True)
    world.cast(first)
    (reply,) = list(world.send())
    assert isinstance(reply.error, DispatcherError)


def test_an_attribute_of_that_name_is_the_users() -> None:
    """On the object or in the class."""

    class Own(Answer):
        request = "mine"  # type: ignore[assignment]

    plain: Any = Answer()
    plain.request = 7
    assert (plain.request, Own().request) == (7, "mine")


def test_attributes_of_these_names_that_are_no_methods_are_the_users(world: World) -> None:
    """As they were before there was anything to set up."""
    producer: Any = Answer(lambda *_: 1)
    producer.on_start, producer.on_stop = 5, None
    world.dispatcher.register_result_producer(producer, "t", start=True)
    world.cast(producer)
    assert world.send().results() == [1]
    producer.stop()
    producer.join()
