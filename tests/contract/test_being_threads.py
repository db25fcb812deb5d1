"""All three are threads, as in 0.1.0: started, stopped, wrapped, named in any order."""

from __future__ import annotations

import functools
import itertools
import threading
from typing import Any, Callable, Dict, List
from unittest import mock

import pytest
from rig import PATIENCE, Answer, Recorder, ended, over, pace

import ate_dispatcher
from ate_dispatcher import Dispatcher, Producer, ResultListener

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")


KINDS = [Dispatcher, Producer, ResultListener]


@pytest.mark.parametrize("kind", KINDS)
def test_all_three_are_threads(kind: Any) -> None:
    """Each is a threading.Thread with start, stop and join."""
    assert issubclass(kind, threading.Thread)
    subject = kind()
    subject.start()
    assert subject.is_alive()
    subject.stop()
    subject.join(PATIENCE)
    assert not subject.is_alive()


@pytest.mark.parametrize("kind", KINDS)
def test_a_subclass_initialises_it_without_arguments(kind: Any) -> None:
    """super().__init__() is enough, also when more attributes and arguments are the user's."""

    class Mine(kind):  # type: ignore[misc]
        def __init__(self, number: int, *topics: str, timeout: float = 1) -> None:
            super().__init__()
            self.id = number
            self.topics = set(topics)
            self.timeout = timeout

    subject = Mine(3, "a", "b", timeout=5)
    subject.start()
    subject.stop()
    over(subject)
    assert (subject.id, subject.topics, subject.timeout) == (3, {"a", "b"}, 5)


def test_starting_and_registering_may_come_in_any_order() -> None:
    """Three starts, two registrations and a request, in every order that asks a registered one."""
    steps = ["start p", "start l", "start d", "register p", "register l"]
    for order in itertools.permutations(steps):
        dispatcher, producer, listener = Dispatcher(), Answer(), Recorder()
        deeds: Dict[str, Callable[[], Any]] = {
            "start p": producer.start,
            "start l": listener.start,
            "start d": dispatcher.start,
            "register p": functools.partial(dispatcher.register_result_producer, producer, "t"),
            "register l": functools.partial(dispatcher.register_result_listener, listener, "t"),
        }
        for step in order:
            deeds[step]()
        handle = dispatcher.send_request("t", 1, ttl=None)
        assert listener.after(1) == [("t", ("t", (1,), {}))], order
        ended(handle)
        dispatcher.stop()
        over(dispatcher, producer, listener)


@pytest.mark.parametrize("kind", KINDS)
def test_stopping_twice_is_harmless(kind: Any) -> None:
    """A second and third stop() changes nothing, while it runs and after it has ended."""
    subject = kind()
    subject.start()
    subject.stop()
    subject.stop()
    over(subject)
    subject.stop()
    assert not subject.is_alive()


@pytest.mark.parametrize("kind", KINDS)
def test_who_was_stopped_before_the_start_ends_at_once(kind: Any) -> None:
    """stop() before start() is harmless, twice too; a later start() then ends by itself."""
    subject = kind()
    subject.stop()
    subject.stop()
    assert not subject.is_alive()
    subject.start()
    over(subject)


def test_a_registered_one_that_was_stopped_before_the_start_ends_at_once() -> None:
    """The same for participants that a dispatcher knows already."""
    with Dispatcher() as dispatcher:
        producer, listener = Answer(), Recorder()
        dispatcher.register_result_producer(producer, "t")
        dispatcher.register_result_listener(listener, "t")
        for participant in (producer, listener):
            participant.stop()
            participant.start()
            over(participant)


def test_stopping_the_dispatcher_stops_whom_it_knows() -> None:
    """Dispatcher.stop() ends every producer and listener registered at that time, no others."""
    dispatcher = Dispatcher()
    producer, listener, left, stranger = Answer(), Recorder(), Answer(), Recorder()
    for thread in (dispatcher, producer, listener, left, stranger):
        thread.start()
    dispatcher.register_result_producer(producer, "t")
    dispatcher.register_result_producer(left, "t")
    dispatcher.register_result_listener(listener, "t")
    dispatcher.deregister_result_producer(left, "t")
    dispatcher.stop()
    over(dispatcher, producer, listener)
    assert left.is_alive()
    assert stranger.is_alive()
    left.stop()
    stranger.stop()
    over(left, stranger)


def test_stopping_the_dispatcher_before_its_start_stops_whom_it_knows() -> None:
    """Also a dispatcher that was never started stops the participants registered with it."""
    dispatcher, producer, listener = Dispatcher(), Answer(), Recorder()
    producer.start()
    listener.start()
    dispatcher.register_result_producer(producer, "t")
    dispatcher.register_result_listener(listener, "t")
    dispatcher.stop()
    try:
        producer.join(5)
        assert not producer.is_alive()
        over(listener)
    finally:
        producer.stop()
        listener.stop()


def test_participants_are_stopped_through_their_own_stop_once() -> None:
    """An overridden stop() is called once per participant, however many topics it is on."""

    def counting(kind: Any) -> Any:
        class Counting(kind):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.stops = 0

            def stop(self) -> None:
                self.stops += 1
                super().stop()

        return Counting()

    dispatcher, producer, listener = Dispatcher(), counting(Answer), counting(Recorder)
    replaced = Answer()
    replaced.stop = mock.Mock(side_effect=replaced.stop)  # type: ignore[method-assign]
    for topic in "abc":
        dispatcher.register_result_producer(producer, topic)
        dispatcher.register_result_producer(replaced, topic)
        dispatcher.register_result_listener(listener, topic)
    for thread in (dispatcher, producer, replaced, listener):
        thread.start()
    dispatcher.stop()
    dispatcher.stop()
    over(dispatcher, producer, replaced, listener)
    dispatcher.stop()
    assert (producer.stops, listener.stops, replaced.stop.call_count) == (1, 1, 1)


def test_a_stop_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Where one participant's stop() raises the others are stopped all the same."""

    class BadProducer(Answer):
        def stop(self) -> None:
            raise SystemExit("not me")

    class BadListener(Recorder):
        def stop(self) -> None:
            raise ValueError("nor me")

    dispatcher = Dispatcher()
    producers, listeners = [BadProducer(), Answer()], [BadListener(), Recorder()]
    for producer in producers:
        dispatcher.register_result_producer(producer, "t", start=True)
    for listener in listeners:
        dispatcher.register_result_listener(listener, "t", start=True)
    dispatcher.start()
    handle = dispatcher.send_request("t", ttl=None)
    dispatcher.stop()
    over(dispatcher, producers[1], listeners[1])
    ended(handle)
    assert len(listeners[1].heard) == 2
    Producer.stop(producers[0])
    ResultListener.stop(listeners[0])
    over(producers[0], listeners[0])
    assert sorted(r.exc_info[0].__name__ for r in caplog.records if r.exc_info) == [
        "SystemExit",
        "ValueError",
    ]


def test_a_stop_that_never_returns_keeps_nobody() -> None:
    """Where one participant's stop() hangs, the dispatcher and the others end."""
    gate, entered = threading.Event(), []

    class Hanging(Answer):
        def stop(self) -> None:
            entered.append(1)
            gate.wait(2 * PATIENCE)
            super().stop()

    class HangingListener(Recorder):
        def stop(self) -> None:
            entered.append(1)
            gate.wait(2 * PATIENCE)
            super().stop()

    dispatcher, hanging, deaf = Dispatcher(), Hanging(), HangingListener()
    producer, listener = Answer(), Recorder()
    dispatcher.register_result_producer(hanging, "t", start=True)
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.register_result_listener(deaf, "t", start=True)
    dispatcher.register_result_listener(listener, "t", start=True)
    dispatcher.start()
    try:
        dispatcher.stop(drain=0)
        over(dispatcher, producer, listener)
        assert entered == [1, 1]
    finally:
        gate.set()
    over(hanging, deaf)


@pytest.mark.parametrize("base", [Dispatcher, Answer, Recorder])
def test_run_may_be_wrapped(base: Any) -> None:
    """A subclass sets up before super().run() and cleans up after it, on the thread itself."""
    story: List[Any] = []

    class Wrapped(base):  # type: ignore[misc]
        def run(self) -> None:
            story.append(("set up", threading.current_thread()))
            super().run()
            story.append(("cleaned up", threading.current_thread()))

    with Dispatcher() as other:
        subject = Wrapped()
        if isinstance(subject, Producer):
            other.register_result_producer(subject, "t", start=True)
            assert other.send_request("t", ttl=None).results(PATIENCE) == [("t", (), {})]
        elif isinstance(subject, ResultListener):
            other.register_result_listener(subject, "t", start=True)
        else:
            subject.start()
        assert subject.is_alive()
        subject.stop()
        over(subject)
    assert story == [("set up", subject), ("cleaned up", subject)]


def test_run_may_be_replaced_on_the_instance() -> None:
    """A run put on the object itself wraps the class's as well."""
    story: List[str] = []
    producer = Answer()
    inner = producer.run

    def run() -> None:
        story.append("set up")
        inner()
        story.append("cleaned up")

    producer.run = run  # type: ignore[method-assign]
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(producer, "t", start=True)
        assert len(dispatcher.send_request("t", ttl=None).results(PATIENCE)) == 1
    over(producer)
    assert story == ["set up", "cleaned up"]
    assert producer.run is run


@pytest.mark.parametrize("kind", KINDS)
def test_name_and_daemon_stay_the_users(kind: Any) -> None:
    """Both can be given and set as on any thread, before the start and (the name) after it."""
    assert kind(name="mine").name == "mine"
    assert kind(daemon=False).daemon is False
    subject = kind()
    subject.name = "other"
    subject.daemon = False
    subject.start()
    try:
        assert (subject.name, subject.daemon) == ("other", False)
        subject.name = "third"
        assert subject.name == "third"
        with pytest.raises(RuntimeError):
            subject.daemon = True
    finally:
        subject.stop()
        over(subject)


def test_a_second_start_is_refused() -> None:
    """start() twice is a RuntimeError, running or ended, and what runs goes on."""
    for kind in KINDS:
        subject = kind()
        subject.start()
        with pytest.raises(RuntimeError):
            subject.start()
        assert subject.is_alive()
        subject.stop()
        over(subject)
        with pytest.raises(RuntimeError):
            subject.start()


def test_refusals_after_the_stop_are_runtime_errors() -> None:
    """Sending and registering after stop() raise DispatcherStopped, which is a RuntimeError."""
    assert issubclass(ate_dispatcher.DispatcherStopped, RuntimeError)
    dispatcher = Dispatcher()
    dispatcher.start()
    dispatcher.stop()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            dispatcher.send_request("t")
        with pytest.raises(RuntimeError):
            dispatcher.register_result_producer(Answer(), "t")
        with pytest.raises(RuntimeError):
            dispatcher.register_result_listener(Recorder(), "t")
        over(dispatcher)
