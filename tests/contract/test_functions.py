"""Functions as producers and listeners: by a decorator, by a registration, by the constructor."""

from __future__ import annotations

import inspect
import threading
from typing import Any, Iterator, List, Tuple

import pytest
from rig import PATIENCE, Answer, Recorder, over, settle

from ate_dispatcher import Completion, Dispatcher, Producer, ResultListener
from ate_dispatcher.errors import BadType, BadValue


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    """On real time; stopped at the end."""
    with Dispatcher() as made:
        yield made


Heard = List[Tuple[Any, Any]]


@pytest.fixture
def heard() -> Heard:
    """What a listener that appends to it has heard."""
    return []


def test_a_decorated_function_answers_and_can_be_called(dispatcher: Dispatcher) -> None:
    """It is a producer with the function's name, documentation and signature."""

    @dispatcher.producer("volts", "amperes")
    def measure(topic: str, channel: int, scale: float = 1.0) -> Any:
        """Measure it."""
        return topic, channel * scale, threading.current_thread()

    assert isinstance(measure, Producer)
    for topic in ("volts", "amperes"):
        handle = dispatcher.send_request(topic, 3, scale=2.0)
        assert handle.results(PATIENCE) == [(topic, 6.0, measure)]
        assert handle.report().members[0].producer == "measure"
    assert measure("ohms", 1)[:2] == ("ohms", 1.0)
    assert measure("ohms", 1)[2] is threading.current_thread()
    assert measure.__doc__ == "Measure it."
    assert list(inspect.signature(measure).parameters) == ["topic", "channel", "scale"]
    assert dispatcher.producers() == [measure]


def test_a_decorated_function_hears(dispatcher: Dispatcher, heard: Heard) -> None:
    """On a thread of its own, with the options of a listener."""
    threads = []

    @dispatcher.listener("t", name="log")
    def listens(topic: str, value: Any) -> None:
        threads.append(threading.current_thread())
        heard.append((topic, value))

    dispatcher.register_result_producer(lambda topic, *args: sum(args), "t", start=True)
    dispatcher.send_request("t", 1, 2).results(PATIENCE)
    assert dispatcher.listeners() == [listens]
    assert isinstance(listens, ResultListener)
    listens("mine", 4)
    listens.stop()
    over(listens)
    assert sorted(heard, key=str) == [("mine", 4), ("t", 3)]
    assert set(threads) == {listens, threading.current_thread()}
    assert listens.name == "log"


def test_a_registration_gives_what_it_has_registered(dispatcher: Dispatcher, heard: Heard) -> None:
    """The participant itself; of a function a new one each time, started if that is asked for."""
    producer, listener = Answer(lambda *_: "mine"), Recorder()
    assert dispatcher.register_result_producer(producer, "t", start=True) is producer
    assert dispatcher.register_result_listener(listener, "t", start=True) is listener

    def answers(topic: str) -> str:
        return "function"

    one = dispatcher.register_result_producer(answers, "t", start=True)
    other = dispatcher.register_result_producer(answers, "t")
    log = dispatcher.register_result_listener(lambda topic, value: heard.append(value), "t")
    assert one is not other
    assert (one.is_alive(), other.is_alive(), log.is_alive()) == (True, False, False)
    other.start()
    log.start()
    results = dispatcher.send_request("t").results(PATIENCE)
    assert sorted(results) == ["function", "function", "mine"]
    assert [one.name, other.name] == ["answers", "answers"]
    log.stop()
    over(log)
    assert sorted(heard) == sorted(results)


def test_a_producer_is_made_of_a_function() -> None:
    """It takes all other options: here it streams."""

    def counts(topic: str, number: int) -> Iterator[int]:
        yield from range(number)

    with Dispatcher() as dispatcher:
        site = Producer(counts, stream=True, name="site 1")
        dispatcher.register_result_producer(site, "t", start=True)
        assert dispatcher.send_request("t", 3).results(PATIENCE) == [0, 1, 2]
        assert site.name == "site 1"


def test_a_listener_is_made_of_a_function(dispatcher: Dispatcher, heard: Heard) -> None:
    """A bound method will do, and has its name."""

    class Screen:
        def shows(self, topic: str, value: Any) -> None:
            heard.append((topic, value))

    screen = ResultListener(Screen().shows)
    dispatcher.register_result_listener(screen, "t", start=True)
    dispatcher.register_result_producer(Producer(lambda topic: 5), "t", start=True)
    dispatcher.send_request("t").results(PATIENCE)
    screen.stop()
    over(screen)
    assert heard == [("t", 5)]
    assert screen.name == "shows"


def test_lambdas_have_names_of_their_class() -> None:
    """With a number, as all that have no name."""
    names = [Producer(lambda topic: 1).name for _ in range(2)]
    assert names[0] != names[1]
    assert all(name.startswith("Producer-") for name in names)


@pytest.mark.parametrize("topics", [(), ("t",), ("t", "u", "never")])
@pytest.mark.parametrize("side", ["producer", "listener"])
def test_deregistered_from_several_topics_or_from_all(
    dispatcher: Dispatcher, side: str, topics: Tuple[str, ...]
) -> None:
    """Without a topic from every one; silent where it was not registered."""
    participant: Any = Answer() if side == "producer" else Recorder()
    getattr(dispatcher, f"register_result_{side}")(participant, "t", "u", "v")
    for _ in range(2):
        getattr(dispatcher, f"deregister_result_{side}")(participant, *topics)
    left = {"t", "u", "v"} - set(topics) if topics else set()
    there = dispatcher.producers() if side == "producer" else dispatcher.listeners()
    assert there == ([participant] if left else [])
    if side == "producer":
        for topic in ("t", "u", "v"):
            handle = dispatcher.send_request(topic, ttl=0)
            assert (handle.completion is Completion.NO_PRODUCERS) == (topic not in left)


def test_what_a_function_raises_is_an_answer(dispatcher: Dispatcher) -> None:
    """As that of a method."""

    @dispatcher.producer("t")
    def fails(topic: str) -> None:
        raise KeyError("mine")

    handle = dispatcher.send_request("t")
    assert handle.results(PATIENCE) == []
    assert handle.report().failed == ("fails",)


@pytest.mark.parametrize("what", ["producer", "listener"])
def test_a_decorator_without_a_topic_is_refused(dispatcher: Dispatcher, what: str) -> None:
    """Else the function would be the topic."""
    with pytest.raises(BadType, match=rf'topic is missing: write @dispatcher.{what}\("topic"\)'):

        @getattr(dispatcher, what)
        def function(topic: str) -> None: ...


def test_what_cannot_be_called_is_refused_as_target() -> None:
    """At the call."""
    for kind in (Producer, ResultListener):
        with pytest.raises(BadType, match="target must be callable, not 'site 1'"):
            kind("site 1")  # type: ignore[abstract, arg-type]
    with pytest.raises(BadValue, match="workers"):
        Producer(lambda topic: 1, workers=0)


def test_a_class_is_no_function(dispatcher: Dispatcher) -> None:
    """Who forgets to call it wants an object of it registered."""
    with pytest.raises(BadType, match="producer must be a Producer"):
        dispatcher.register_result_producer(Answer, "t")
    with pytest.raises(BadType, match="listener must be a ResultListener"):
        dispatcher.register_result_listener(Recorder, "t")


def test_a_function_producer_is_no_listener(dispatcher: Dispatcher) -> None:
    """Although it can be called."""

    @dispatcher.producer("t")
    def site(topic: str) -> int:
        return 1

    with pytest.raises(BadType, match="listener must be a ResultListener"):
        dispatcher.register_result_listener(site, "t")


def test_a_function_is_not_deregistered_but_its_participant(dispatcher: Dispatcher) -> None:
    """It may have been registered twice."""

    def site(topic: str) -> int:
        return 1

    dispatcher.register_result_producer(site, "t")
    with pytest.raises(BadType, match="site is a function: deregister what its registration"):
        dispatcher.deregister_result_producer(site, "t")  # type: ignore[arg-type]


def test_a_generator_function_that_does_not_stream_is_told_of(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    """As a method is."""

    @dispatcher.producer("t")
    def counts(topic: str) -> Iterator[int]:
        yield 1

    settle(dispatcher)
    assert "counts is a generator, which is the value of its answers" in caplog.text
