"""Who takes part, and how the methods that users override are called, as in 0.1.0."""

from __future__ import annotations

import threading
from typing import Any, List
from unittest import mock

import pytest
from rig import PATIENCE, Answer, Recorder, came, ended, over, pace

import ate_dispatcher
from ate_dispatcher import Dispatcher, Producer, ResultListener

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")


# -- who takes part ----------------------------------------------------------------------------


def test_deregistering_what_is_not_registered_is_silent() -> None:
    """Unknown participants, unknown topics, twice, and all of it after stop() as well."""
    dispatcher, producer, listener = Dispatcher(), Answer(), Recorder()
    dispatcher.register_result_producer(producer, "t")
    dispatcher.register_result_listener(listener, "t")
    dispatcher.start()

    def deregister_all() -> None:
        for topic in ("t", "unknown", "t"):
            dispatcher.deregister_result_producer(Answer(), topic)
            dispatcher.deregister_result_listener(Recorder(), topic)
            dispatcher.deregister_result_producer(producer, topic)
            dispatcher.deregister_result_listener(listener, topic)

    deregister_all()
    deregister_all()
    assert dispatcher.send_request("t").report().members == ()
    dispatcher.stop()
    deregister_all()
    over(dispatcher)
    deregister_all()


def test_registering_twice_is_one_registration() -> None:
    """It is asked, and hears, once; and one deregistration undoes it."""
    producer, listener = Answer(), Recorder()
    with Dispatcher() as dispatcher:
        for _ in range(3):
            dispatcher.register_result_producer(producer, "t")
            dispatcher.register_result_listener(listener, "t")
        producer.start()
        listener.start()
        assert len(dispatcher.send_request("t", 1, ttl=None).results(PATIENCE)) == 1
        dispatcher.deregister_result_producer(producer, "t")
        assert dispatcher.send_request("t", 2, ttl=None).results(PATIENCE) == []
        dispatcher.register_result_producer(producer, "t")
        dispatcher.deregister_result_listener(listener, "t")
        assert len(dispatcher.send_request("t", 3, ttl=None).results(PATIENCE)) == 1
    listener.stop()
    over(listener)
    assert [response[1] for _, response in listener.heard] == [(1,)]


def test_identity_tells_participants_apart() -> None:
    """Objects that call themselves equal, or refuse to be hashed, are still as many as they are."""

    def peculiar(kind: Any) -> Any:
        class Peculiar(kind):  # type: ignore[misc]
            settled = False

            def __eq__(self, other: object) -> bool:
                return True

            def __hash__(self) -> int:
                # Thread itself hashes it when it is made and started.
                if self.settled:
                    raise TypeError("unhashable")
                return 1

            def __bool__(self) -> bool:
                return False

        return Peculiar

    producers = [peculiar(Answer)(lambda topic, n=n: n) for n in range(3)]
    listeners = [peculiar(Recorder)() for _ in range(3)]
    with Dispatcher() as dispatcher:
        for thread in (*producers, *listeners):
            thread.start()
            thread.settled = True
        for producer, listener in zip(producers, listeners):
            dispatcher.register_result_producer(producer, "t")
            dispatcher.register_result_producer(producer, "t")
            dispatcher.register_result_listener(listener, "t")
        assert sorted(dispatcher.send_request("t", ttl=None).results(PATIENCE)) == [0, 1, 2]
        dispatcher.deregister_result_producer(producers[1], "t")
        dispatcher.deregister_result_listener(listeners[2], "t")
        handle = dispatcher.send_request("t", ttl=None)
        assert sorted(handle.results(PATIENCE)) == [0, 2]
        assert [id(reply.producer) for reply in handle.replies] == [
            id(producers[reply.value]) for reply in handle.replies
        ]
    for thread in (*producers, *listeners):
        thread.settled = False
        thread.stop()
        over(thread)
    assert [len(listener.heard) for listener in listeners] == [5, 5, 3]


def test_one_producer_serves_many_topics() -> None:
    """It may be on as many topics as one likes, and leave them one by one."""
    producer, listener = Answer(), Recorder()
    topics = [f"topic{n}" for n in range(20)]
    with Dispatcher() as dispatcher:
        for topic in topics:
            dispatcher.register_result_producer(producer, topic)
            dispatcher.register_result_listener(listener, topic)
        producer.start()
        listener.start()
        for topic in topics:
            dispatcher.send_request(topic, ttl=None)
        assert [topic for topic, _ in listener.after(20)] == topics
        dispatcher.deregister_result_producer(producer, topics[0])
        assert dispatcher.send_request(topics[0], ttl=None).results(PATIENCE) == []
        assert len(dispatcher.send_request(topics[1], ttl=None).results(PATIENCE)) == 1


def test_one_participant_serves_several_dispatchers_until_the_first_stops() -> None:
    """It answers and hears for all of them, and ends when the first of them stops."""
    producer, listener = Answer(lambda topic, n: n), Recorder()
    dispatchers = [Dispatcher() for _ in range(3)]
    for dispatcher in dispatchers:
        dispatcher.register_result_producer(producer, "t")
        dispatcher.register_result_listener(listener, "t")
        dispatcher.start()
    producer.start()
    listener.start()
    handles = [d.send_request("t", n, ttl=None) for n, d in enumerate(dispatchers * 5)]
    assert [handle.results(PATIENCE) for handle in handles] == [[n] for n in range(15)]
    assert sorted(listener.after(15)) == [("t", n) for n in range(15)]
    dispatchers[1].stop()
    over(dispatchers[1], producer, listener)
    for dispatcher in (dispatchers[0], dispatchers[2]):
        handle = dispatcher.send_request("t", 0, ttl=None)
        ended(handle)
        assert handle.report().count(ate_dispatcher.Verdict.DECLINED) == 1
        dispatcher.stop()
        over(dispatcher)


# -- callbacks ---------------------------------------------------------------------------------


def test_callbacks_are_looked_up_at_every_call() -> None:
    """A mock put on the instance is used from then on, and the method again when it is removed."""
    producer, listener = Answer(lambda topic: "method"), Recorder()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(producer, "t", start=True)
        dispatcher.register_result_listener(listener, "t", start=True)
        assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["method"]
        assert listener.after(1) == [("t", "method")]

        heard = threading.Event()
        produce = mock.Mock(return_value="mock")
        process = mock.Mock(side_effect=lambda *_: heard.set())
        with mock.patch.object(producer, "produce_dispatcher_output", produce), mock.patch.object(
            listener, "process_dispatcher_result", process
        ):
            handle = dispatcher.send_request("t", 1, ttl=None, key=2)
            assert handle.results(PATIENCE) == ["mock"]
            came(heard)
        produce.assert_called_once_with("t", 1, key=2)
        process.assert_called_once_with("t", "mock")

        assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["method"]
        assert listener.after(2) == [("t", "method")] * 2


def test_optional_callbacks_on_the_instance_are_used_too() -> None:
    """The error and completion callbacks may be mocks on the object, set after registering."""

    def fail(topic: str) -> None:
        raise KeyError("no")

    producer, listener = Answer(fail), Recorder()
    told, over_ = threading.Event(), threading.Event()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_listener(listener, "t", start=True)
        dispatcher.register_result_producer(producer, "t", start=True)
        on_error = mock.Mock(side_effect=lambda *_: told.set())
        on_end = mock.Mock(side_effect=lambda *_: over_.set())
        listener.process_dispatcher_error = on_error  # type: ignore[method-assign]
        listener.process_dispatcher_completion = on_end  # type: ignore[method-assign]
        dispatcher.send_request("t", ttl=None)
        came(told)
        came(over_)
    (topic, reply), _ = on_error.call_args
    assert (topic, reply.producer, type(reply.error)) == ("t", producer, KeyError)
    (topic, report), _ = on_end.call_args
    assert (topic, report.failed) == ("t", (producer.name,))


def test_a_mock_on_a_bare_instance_is_an_override() -> None:
    """No subclass is needed where the callback is put on the object before it registers."""
    producer, listener, heard = Producer(), ResultListener(), threading.Event()
    producer.produce_dispatcher_output = mock.Mock(return_value=7)  # type: ignore[method-assign]
    process = mock.Mock(side_effect=lambda *_: heard.set())
    listener.process_dispatcher_result = process  # type: ignore[method-assign]
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(producer, "t", start=True)
        dispatcher.register_result_listener(listener, "t", start=True)
        dispatcher.send_request("t", ttl=None)
        came(heard)
    process.assert_called_once_with("t", 7)


def test_callbacks_run_on_the_object_as_the_current_thread() -> None:
    """Within a callback threading.current_thread() is the participant itself."""
    seen: List[Any] = []

    class Looking(Recorder):
        def process_dispatcher_result(self, topic: str, response: Any) -> None:
            seen.append((self, threading.current_thread()))
            super().process_dispatcher_result(topic, response)

    producer, listener = Answer(lambda topic: threading.current_thread()), Looking()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(producer, "t", start=True)
        dispatcher.register_result_listener(listener, "t", start=True)
        assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == [producer]
        listener.after(1)
    assert seen == [(listener, listener)]


def test_override_points_are_called_positionally() -> None:
    """So a subclass may name the parameters as it likes, or make them positional-only."""
    heard = threading.Event()
    story: List[Any] = []

    class Site(Producer):
        def produce_dispatcher_output(self, what: str, /, *values: int, **more: int) -> Any:
            return what, values, more

    class Log(ResultListener):
        def process_dispatcher_result(self, where: str, answer: Any, /) -> None:
            story.append((where, answer))
            heard.set()

    site, log = Site(), Log()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(site, "t", start=True)
        dispatcher.register_result_listener(log, "t", start=True)
        dispatcher.send_request("t", 1, 2, ttl=None, what=3)
        came(heard)
    assert story == [("t", ("t", (1, 2), {"what": 3}))]
