"""The names of 0.1.0, its signatures, and the room for users' attributes, line by line."""

from __future__ import annotations

import importlib
import inspect
import itertools
import threading
from typing import Any, Dict, List

import pytest
from rig import PATIENCE, Answer, Recorder, ended, over, pace, silent

import ate_dispatcher
from ate_dispatcher import Dispatcher, Producer, ResultListener

__all__ = ["pace"]

pytestmark = pytest.mark.usefixtures("pace")


KINDS = [Dispatcher, Producer, ResultListener]


FREE_NAMES = [
    "id",
    "timeout",
    "topics",
    "topic",
    "parent",
    "result",
    "results",
    "responses",
    "reset",
    "clear",
    "value",
    "log",
]


PLUMBING = [
    "queue",
    "pending_responses",
    "evt_result_listeners",
    "evt_producers",
    "send_result",
    "submit_producer_message",
    "_listener_queue",
    "_producer_queue",
]


# -- names -------------------------------------------------------------------------------------


def test_the_import_line_of_old_still_works() -> None:
    """One line imports the three classes; ATEDispatcher is another name of Dispatcher."""
    names: Dict[str, Any] = {}
    exec("from ate_dispatcher import ATEDispatcher, Producer, ResultListener", names)
    assert names["ATEDispatcher"] is ate_dispatcher.Dispatcher
    assert names["Producer"] is Producer
    assert names["ResultListener"] is ResultListener


@pytest.mark.parametrize("name", ["ATEDispatcher", "Dispatcher", "Producer", "ResultListener"])
def test_the_module_of_old_holds_the_names(name: str) -> None:
    """ate_dispatcher.dispatcher can be imported and its names are those of the package."""
    module = importlib.import_module("ate_dispatcher.dispatcher")
    assert getattr(module, name) is getattr(ate_dispatcher, name)


def test_the_version_is_told_twice_alike() -> None:
    """VERSION_STR is a tuple of ints and __version__ the same with dots."""
    assert isinstance(ate_dispatcher.VERSION_STR, tuple)
    assert all(type(part) is int for part in ate_dispatcher.VERSION_STR)
    assert ate_dispatcher.__version__ == ".".join(map(str, ate_dispatcher.VERSION_STR))
    assert ate_dispatcher.VERSION_STR >= (1, 0, 0)


def test_importing_starts_nothing() -> None:
    """After the import, and after making one of each, the main thread is alone."""
    silent(
        """
        import threading
        import ate_dispatcher
        import ate_dispatcher.dispatcher
        made = [ate_dispatcher.Dispatcher(), ate_dispatcher.Producer(),
                ate_dispatcher.ResultListener()]
        import _thread
        assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
        assert _thread._count() == 0, _thread._count()
        """,
        "-X",
        "dev",
        "-W",
        "error",
    )


def test_nothing_of_the_old_plumbing_is_left() -> None:
    """What only the inside of 0.1.0 used is not there any more."""
    for kind in KINDS:
        assert not [name for name in PLUMBING if hasattr(kind(), name)]


# -- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["uuid", "reply_to", "kind", "timeout", "class", "", "args", "kwargs", "entry", "drain"],
)
def test_keywords_are_passed_on_whatever_their_name(name: str) -> None:
    """Every keyword but ttl reaches the producer, also with names of 0.1.0's own messages."""
    producer = Answer()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(producer, "t", start=True)
        handle = dispatcher.send_request("t", 1, ttl=None, **{name: 2})
        assert handle.results(PATIENCE) == [("t", (1,), {name: 2})]


@pytest.mark.parametrize("name", ["self", "topic"])
def test_self_and_topic_cannot_be_extra_keywords(name: str) -> None:
    """They are a TypeError at the call, and nothing is sent."""
    dispatcher = Dispatcher()
    with pytest.raises(TypeError):
        dispatcher.send_request("t", **{name: 1})
    assert dispatcher.statistics().requests == 0


def test_ttl_is_keyword_only_in_milliseconds_and_not_passed_on() -> None:
    """Its default is 5000; a positional number behind the topic is an argument."""
    producer = Answer()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(producer, "t", start=True)
        handle = dispatcher.send_request("t", 600)
        assert handle.results(PATIENCE) == [("t", (600,), {})]
        assert handle.report().ttl_ms == 5000
        handle = dispatcher.send_request("t", ttl=60000)
        assert handle.results(PATIENCE) == [("t", (), {})]
        assert handle.report().ttl_ms == 60000
    parameter = inspect.signature(Dispatcher.send_request).parameters["ttl"]
    assert parameter.kind is parameter.KEYWORD_ONLY
    assert parameter.default == 5000


def test_every_producer_gets_a_keyword_dict_of_its_own() -> None:
    """One that changes its kwargs changes nobody else's, nor the caller's."""

    def spoil(topic: str, **kwargs: Any) -> int:
        kwargs["key"].append(1)
        kwargs.clear()
        kwargs["spoilt"] = True
        return id(kwargs)

    producers = [Answer(spoil) for _ in range(4)]
    shared: List[int] = []
    given = {"key": shared}
    with Dispatcher() as dispatcher:
        for producer in producers:
            dispatcher.register_result_producer(producer, "t", start=True)
        ended(dispatcher.send_request("t", ttl=None, **given))
    assert given == {"key": [1, 1, 1, 1]}
    assert given["key"] is shared


def test_every_parameter_may_be_passed_by_its_old_name() -> None:
    """topic, producer, listener and response are still called so."""
    dispatcher, producer, listener = Dispatcher(), Answer(), Recorder()
    dispatcher.register_result_producer(producer=producer, topic="t")
    dispatcher.register_result_listener(listener=listener, topic="t")
    dispatcher.start()
    producer.start()
    listener.start()
    handle = dispatcher.send_request(topic="t", ttl=60000, keyword="b")
    assert handle.results(PATIENCE) == [("t", (), {"keyword": "b"})]
    dispatcher.deregister_result_producer(producer=producer, topic="t")
    dispatcher.deregister_result_listener(listener=listener, topic="t")
    assert dispatcher.send_request(topic="t").results(PATIENCE) == []
    for thread in (producer, listener, dispatcher):
        thread.stop()
    over(dispatcher, producer, listener)

    with pytest.raises(NotImplementedError):
        Producer().produce_dispatcher_output(topic="t")
    with pytest.raises(NotImplementedError):
        ResultListener().process_dispatcher_result(topic="t", response=1)


OLD_SIGNATURES = [
    (Dispatcher.register_result_producer, ["self", "producer", "topic"]),
    (Dispatcher.register_result_listener, ["self", "listener", "topic"]),
    (Dispatcher.deregister_result_producer, ["self", "producer", "topic"]),
    (Dispatcher.deregister_result_listener, ["self", "listener", "topic"]),
    (Dispatcher.send_request, ["self", "topic", "args", "ttl", "kwargs"]),
    (Producer.produce_dispatcher_output, ["self", "topic", "args", "kwargs"]),
    (ResultListener.process_dispatcher_result, ["self", "topic", "response"]),
]


@pytest.mark.parametrize(
    ("method", "names"), OLD_SIGNATURES, ids=[method.__qualname__ for method, _ in OLD_SIGNATURES]
)
def test_signatures_begin_like_the_old_ones(method: Any, names: List[str]) -> None:
    """New parameters come behind the old ones and are optional."""
    parameters = list(inspect.signature(method).parameters.values())
    assert [p.name for p in parameters][: len(names)] == names
    for parameter in parameters[len(names) :]:
        assert parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )


def test_stop_needs_no_argument() -> None:
    """stop(), start() and run() can be called with nothing, on all three."""
    for kind, method in itertools.product(KINDS, ("stop", "start", "run", "join")):
        inspect.signature(getattr(kind, method)).bind(None)


# -- room for the users' attributes ------------------------------------------------------------


DOCUMENTED = {
    Dispatcher: {
        "register_result_producer",
        "register_result_listener",
        "deregister_result_producer",
        "deregister_result_listener",
        "disable",
        "enable",
        "listener",
        "listeners",
        "producer",
        "producers",
        "publish",
        "send_request",
        "subscribe",
        "stop",
        "options",
        "connect",
        "add_hook",
        "remove_hook",
        "statistics",
    },
    Producer: {"stop", "produce_dispatcher_output", "on_start", "on_stop", "request"},
    ResultListener: {
        "stop",
        "process_dispatcher_result",
        "process_dispatcher_error",
        "process_dispatcher_completion",
        "process_dispatcher_reply",
        "on_start",
        "on_stop",
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_public_attribute_but_the_documented(kind: Any) -> None:
    """Beyond Thread's, a class and its objects have what is documented, and private prefixes."""
    plain = threading.Thread()
    subject = kind()
    added = set(dir(subject)) - set(dir(plain))
    public = {name for name in added if not name.startswith("_")}
    assert public == DOCUMENTED[kind]
    private = {name for name in added - public if not name.startswith("__")}
    assert all(name.startswith("_ate_") for name in private), private
    for name in FREE_NAMES:
        assert not hasattr(subject, name)

    subject.start()
    try:
        grown = set(dir(subject)) - set(dir(plain)) - added
        assert all(name.startswith("_ate_") for name in grown), grown
    finally:
        subject.stop()
        over(subject)


def test_users_attributes_do_not_disturb_us() -> None:
    """Subclasses with all those attributes, holding nonsense, work from start to end."""

    def burden(subject: Any) -> Any:
        for name in (*FREE_NAMES, *PLUMBING):
            setattr(subject, name, f"mine: {name}")
        return subject

    inside = ("entry", "desk", "mailbox", "bell", "member", "clock", "keeper", "ledger")
    nonsense = dict.fromkeys((*FREE_NAMES, *inside))
    dispatcher = burden(type("Burdened", (Dispatcher,), nonsense)())
    producer = burden(type("BurdenedProducer", (Answer,), nonsense)())
    listener = burden(type("BurdenedListener", (Recorder,), nonsense)())
    dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.register_result_listener(listener, "t", start=True)
    dispatcher.start()
    handle = dispatcher.send_request("t", ttl=60000)
    assert handle.results(PATIENCE) == [("t", (), {})]
    assert str(handle.report())
    listener.after(1)
    dispatcher.stop()
    over(dispatcher, producer, listener)
    for subject in (dispatcher, producer, listener):
        assert all(getattr(subject, name) == f"mine: {name}" for name in FREE_NAMES)
