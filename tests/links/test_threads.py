"""Links between real threads: forks, signal handlers, stops that cross what comes."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Any, Callable, Iterator, List, Set, Tuple

import pytest
from far_parts import eventually
from inside import engine_of
from virtual import bare_logger

from ate_dispatcher import (
    Connection,
    ConnectionFailed,
    Dispatcher,
    DispatcherStopped,
    Producer,
    ResultListener,
    Verdict,
)
from ate_dispatcher.links import ValueType
from ate_dispatcher.testing import Wire

__all__ = ["bare_logger"]

Pair = Tuple[Dispatcher, Dispatcher, Connection, Connection]


class Adds(Producer):
    """Answers with the sum."""

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        return sum(args)


class Collects(ResultListener):
    """Says when it has heard *wanted*, but for None."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.heard: List[Any] = []
        self.wanted = wanted
        self.done = threading.Event()

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        if response is not None:
            self.heard.append(response)
        if len(self.heard) == self.wanted:
            self.done.set()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two parts, a and b, on real time; b adds, with three producers."""
    wire = Wire()
    a, b = Dispatcher(name="a"), Dispatcher(name="b")
    a.start()
    b.start()
    for _ in range(3):
        b.register_result_producer(Adds(), "add", start=True)
    at_a = a.connect(wire.transport(), namespace="n", name="a")
    at_b = b.connect(wire.transport(), namespace="n", name="b")
    yield a, b, at_a, at_b
    for each in (a, b):
        each.stop(immediate=True)
    for each in (a, b):
        each.join(5)


def test_many_threads_ask_at_once(pair: Pair) -> None:
    """Every request is answered by all, whoever sends it from where."""
    a, b, at_a, _ = pair
    wrong: List[Any] = []

    def ask(dispatcher: Dispatcher, number: int) -> None:
        for each in range(100):
            found = dispatcher.send_request("add", number, each, ttl=20_000).results()
            if found != [number + each] * 3:
                wrong.append((number, each, found))

    threads = [threading.Thread(target=ask, args=(a if n % 2 else b, n)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    sums = a.statistics()
    assert (sums.requests, sums.verdicts[Verdict.OK]) == (300, 900)
    assert at_a.statistics()["asked"] == 0


def test_many_publish_and_all_is_heard_in_order(pair: Pair) -> None:
    """Of each publisher, on the other machine."""
    a, b, _, _ = pair
    listener = b.register_result_listener(Collects(2_000), "log", start=True)
    for _ in range(2_000):
        if a.publish("log", None).listeners:
            break
        threading.Event().wait(0.001)

    def publish(number: int) -> None:
        for each in range(500):
            a.publish("log", (number, each))

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert listener.done.wait(20)
    for number in range(4):
        assert [each for who, each in listener.heard if who == number] == list(range(500))


@pytest.mark.parametrize("immediate", [False, True])
def test_a_stop_of_either_side_ends_every_request(pair: Pair, immediate: bool) -> None:
    """Whatever crosses it: nothing hangs, and every member has a verdict."""
    a, b, _, _ = pair
    handles = [a.send_request("add", each, ttl=None) for each in range(200)]
    b.stop(immediate=immediate)
    for handle in handles:
        assert handle.wait(10)
    assert all(sum(map(handle.report().count, Verdict)) == 3 for handle in handles)
    more = [a.send_request("add", each, ttl=200) for each in range(50)]
    a.stop(immediate=immediate)
    for handle in more:
        assert handle.wait(10)
    a.join(10)
    b.join(10)
    assert not a.is_alive()
    assert not b.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_says_nothing_on_the_link(pair: Pair) -> None:
    """Its copy takes nothing, and its end does not say bye for the parent."""
    a, _, at_a, at_b = pair
    handle = a.send_request("add", 1, ttl=5000)
    child = os.fork()
    if child == 0:
        try:
            refused = False
            try:
                a.send_request("add", 1)
            except RuntimeError:
                refused = True
            at_a.disconnect()
            at_a.join(1)
            refused = refused and isinstance(at_a.error, DispatcherStopped)
            os._exit(0 if refused and not at_a.is_connected else 1)
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert handle.results() == [1, 1, 1]
    assert at_b.parts == ("a",)
    assert a.send_request("add", 2, ttl=5000).results() == [2, 2, 2]


def test_who_has_left_may_come_again(pair: Pair) -> None:
    """Its thread has ended; the next connection is a new one."""
    a, b, _, at_b = pair
    before = threading.active_count()
    at_b.disconnect(drain=1000)
    assert at_b.join(5)
    assert threading.active_count() == before - 1
    assert a.send_request("add", 1, ttl=50).wait(5)
    with b.connect(Wire().transport(), namespace="n", name="b") as elsewhere:
        assert elsewhere.parts == ()
    assert b.send_request("add", 1, ttl=5000).results() == [1, 1, 1]


def test_a_taken_name_is_told_to_who_connects_alone(caplog: pytest.LogCaptureFixture) -> None:
    """However soon that is known: here before it begins to wait for it."""
    wire = Wire()
    transport = wire.transport()
    usual = transport.open

    def slow(receiver: Any, clock: Any, wait: bool) -> None:
        usual(receiver, clock, wait)
        eventually(lambda: receiver.is_over)

    transport.open = slow  # type: ignore[method-assign]
    with Dispatcher() as first, Dispatcher() as second:
        first.connect(wire.transport(), namespace="n", name="a")
        with pytest.raises(ConnectionFailed, match="is taken"):
            second.connect(transport, namespace="n", name="a")
    assert "the link is left" not in caplog.text


def test_nothing_of_an_ended_request_is_kept(pair: Pair) -> None:
    """What it held is let go of by the observers' thread, which nobody but the link asks for."""
    a = pair[0]
    for number in range(50):
        assert a.send_request("add", number, ttl=20_000).results() == [number] * 3
    eventually(lambda: engine_of(a).observers.backlog() == 0, 2.0)


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="there what a thread has made is let go of by that thread, whenever it comes to it",
)
@pytest.mark.parametrize("kind", ["asked", "answered", "raised", "published", "refused"])
def test_finalizers_keep_no_link(kind: str, bare_logger: Callable[..., None]) -> None:
    """What users' types have travelled in is let go of on another thread than the link's."""
    bare_logger(logging.NullHandler())
    begun: List[None] = []
    ends: List[str] = []
    makers: Set[str] = set()

    class Thing:
        def __init__(self) -> None:
            begun.append(None)

        def __del__(self) -> None:
            ends.append(threading.current_thread().name)

    class Unknown(Thing):
        """Nothing that could travel."""

    def make(zero: Any) -> Thing:
        makers.add(threading.current_thread().name)
        return Thing()

    def answer(topic: str, thing: Any) -> Any:
        if kind == "raised":
            raise OSError
        return thing if kind == "asked" else Thing()

    heard = Collects(400)
    types = [ValueType("thing", Thing, lambda thing: 0, make)]
    wire, a, b = Wire(), Dispatcher(name="a"), Dispatcher(name="b")
    with a, b:
        b.producer("t")(answer)
        b.register_result_listener(heard, "said", start=True)
        links = [
            each.connect(wire.transport(), namespace="n", name=each.name, types=types)
            for each in (a, b)
        ]
        eventually(lambda: a.send_request("t", Thing(), ttl=1000).report().members)
        for _ in range(20):
            if kind in ("published", "refused"):
                for _ in range(20):
                    a.publish("said", Thing() if kind == "published" else Unknown())
            else:
                handles = [a.send_request("t", Thing(), ttl=1000) for _ in range(20)]
                for handle in handles:
                    assert handle.wait(5)
                del handle, handles
        if kind == "published":
            assert heard.done.wait(10)
            heard.heard.clear()
        eventually(lambda: len(ends) == len(begun))
        assert all(each.is_connected for each in links)
    assert len(ends) > 400
    assert makers
    assert makers.isdisjoint(ends), sorted(set(ends))


def test_a_link_does_not_wake_itself() -> None:
    """It looks what waits after all that has come: a request that ends there says so to it."""
    wire, wakers = Wire(), set()
    transport = wire.transport()
    with Dispatcher() as a, Dispatcher() as b:
        b.register_result_producer(Adds(), "add", start=True)
        at_b = b.connect(wire.transport(), namespace="n", name="b")
        unpark = transport.unpark

        def noted(permit: None = None) -> None:
            wakers.add(threading.current_thread().name)
            unpark(permit)

        transport.unpark = noted  # type: ignore[method-assign]
        at_a = a.connect(transport, namespace="n", name="a")
        wakers.clear()
        for number in range(20):
            assert a.send_request("add", number, ttl=20_000).results() == [number]
        found = set(wakers)
        at_a.disconnect()
        at_b.disconnect()
    assert threading.current_thread().name in found
    assert "wire-a" not in found
