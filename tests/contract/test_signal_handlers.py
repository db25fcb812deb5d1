"""Exceptions of signal handlers, and calls from them, at whichever moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any, List

import pytest
from rig import (
    PATIENCE,
    Answer,
    Floor,
    Gated,
    Recorder,
    came,
    each_moment,
    ended,
    gated,
    over,
    pace,
    python,
    settle,
    strike,
    struck,
    sums_add_up,
)

from ate_dispatcher import Completion, Dispatcher, DispatcherStopped, Statistics

__all__ = ["gated", "pace"]

pytestmark = pytest.mark.usefixtures("pace")


def test_an_exception_at_any_moment_of_a_send() -> None:
    """Whatever it cuts short is cancelled or served; later sends are served; the sums add up."""
    floor = Floor()
    floor.dispatcher.register_result_producer(Answer(lambda *_: "other"), "t", start=True)
    returned: List[Any] = []

    def then() -> None:
        handle = floor.dispatcher.send_request("t", "after", ttl=None)
        assert sorted(handle.results(PATIENCE)) == ["other", "value"]

    moments = each_moment(
        lambda: returned.append(floor.dispatcher.send_request("t", ttl=None)), then
    )
    assert moments > 8
    for handle in returned:
        assert sorted(handle.results(PATIENCE)) == ["other", "value"]
    settle(floor.dispatcher)
    sums_add_up(floor.dispatcher)
    floor.dispatcher.stop()
    floor.stopped()


def test_an_exception_at_any_moment_of_a_send_before_the_start() -> None:
    """The same while requests are only kept."""
    dispatcher = Dispatcher()
    dispatcher.register_result_producer(Answer(lambda *_: "value"), "t", start=True)
    returned: List[Any] = []
    each_moment(
        lambda: returned.append(dispatcher.send_request("t", ttl=None)),
        lambda: returned.append(dispatcher.send_request("t", ttl=None)),
    )
    with dispatcher:
        for handle in returned:
            assert handle.results(PATIENCE) == ["value"]
        settle(dispatcher)
        sums_add_up(dispatcher)


@pytest.mark.parametrize("side", ["producer", "listener"])
def test_an_exception_at_any_moment_of_a_registration(side: str) -> None:
    """The topic works on: a registration that is tried again holds, and so does its undoing."""
    floor = Floor()
    newcomer: Any = Answer(lambda *_: "new") if side == "producer" else Recorder()
    newcomer.start()
    register = getattr(floor.dispatcher, f"register_result_{side}")
    deregister = getattr(floor.dispatcher, f"deregister_result_{side}")

    def ask() -> List[Any]:
        heard = len(floor.listener.heard)
        handle = floor.dispatcher.send_request("t", ttl=None)
        values = sorted(handle.results(PATIENCE))
        floor.listener.after(heard + len(values))
        return values

    def then() -> None:
        assert "value" in ask()
        register(newcomer, "t")
        assert ask() == (["new", "value"] if side == "producer" else ["value"])
        deregister(newcomer, "t")
        assert ask() == ["value"]

    each_moment(lambda: register(newcomer, "t"), then)
    floor.dispatcher.stop()
    newcomer.stop()
    over(newcomer)
    floor.stopped()


@pytest.mark.parametrize("side", ["producer", "listener"])
def test_an_exception_at_any_moment_of_a_deregistration(side: str) -> None:
    """A deregistration that was cut short and is tried again holds."""
    floor = Floor(lambda topic, what: what)
    leaver: Any = Answer(lambda *_: "old") if side == "producer" else Recorder()
    leaver.start()
    register = getattr(floor.dispatcher, f"register_result_{side}")
    deregister = getattr(floor.dispatcher, f"deregister_result_{side}")
    register(leaver, "t")

    def ask(what: str) -> List[Any]:
        return sorted(floor.dispatcher.send_request("t", what, ttl=None).results(PATIENCE))

    def then() -> None:
        deregister(leaver, "t")
        assert ask("without") == ["without"]
        register(leaver, "t")
        assert ask("with") == (["old", "with"] if side == "producer" else ["with"])

    moments = each_moment(lambda: deregister(leaver, "t"), then)
    floor.dispatcher.stop()
    leaver.stop()
    over(leaver)
    floor.stopped()
    if side == "listener":
        assert leaver.heard == [("t", "with")] * (moments - 1)


def test_an_exception_at_any_moment_of_the_last_deregistration() -> None:
    """The same where the topic itself goes, and is then registered for anew."""
    producer = Answer(lambda *_: "value")
    with Dispatcher() as dispatcher:
        producer.start()
        dispatcher.register_result_producer(producer, "t")

        def then() -> None:
            dispatcher.deregister_result_producer(producer, "t")
            handle = dispatcher.send_request("t", ttl=None)
            assert handle.completion is Completion.NO_PRODUCERS
            dispatcher.register_result_producer(producer, "t")
            assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == ["value"]

        each_moment(lambda: dispatcher.deregister_result_producer(producer, "t"), then)


@pytest.mark.parametrize("way", ["wait", "results", "iterate"])
def test_an_exception_at_any_moment_of_a_wait(way: str) -> None:
    """The request goes on and can be waited for again."""
    gated = Gated()
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(gated, "t", start=True)
        handle = dispatcher.send_request("t", 1, ttl=None)
        came(gated.entered)
        waits = {
            "wait": lambda: handle.wait(0.001),
            "results": lambda: handle.results(0.001),
            "iterate": lambda: handle.cancelled,
        }
        if way == "iterate":
            # It has no timeout: the end comes while it waits.
            def iterate() -> None:
                again = dispatcher.send_request("u", ttl=1)
                assert list(again) == []

            dispatcher.register_result_producer(gated, "u")
            waits["iterate"] = iterate

        def wait() -> None:
            try:
                waits[way]()
            except TimeoutError:
                pass

        each_moment(wait, lambda: None)
        assert not handle.done()
        gated.gate.set()
        assert handle.results(PATIENCE) == [(1,)]
        settle(dispatcher)
        sums_add_up(dispatcher)
    over(gated)


CALLS = ["send", "register", "deregister", "cancel", "add_hook", "statistics", "add_done_callback"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("interrupted", ["send", "register", "deregister", "wait"])
def test_calls_from_a_handler_that_interrupts_a_call(interrupted: str, call: str) -> None:
    """At each moment of a call of ours another one may be made, and both do what they promise."""
    floor, newcomer, visitor = Floor(), Answer(lambda *_: "new"), Answer(lambda *_: "visitor")
    for thread in (newcomer, visitor):
        thread.start()
    dispatcher = floor.dispatcher
    open_one = dispatcher.send_request("t", ttl=None)
    served: List[Any] = []
    inner: Any = {
        "send": lambda: served.append(dispatcher.send_request("t", ttl=None)),
        "register": lambda: dispatcher.register_result_producer(visitor, "t"),
        "deregister": lambda: dispatcher.deregister_result_producer(newcomer, "t"),
        "cancel": lambda: dispatcher.send_request("t", ttl=None).cancel(),
        "add_hook": lambda: (dispatcher.add_hook(id), dispatcher.remove_hook(id)),
        "statistics": lambda: isinstance(dispatcher.statistics(), Statistics) or struck(),
        "add_done_callback": lambda: open_one.add_done_callback(id),
    }
    outer: Any = {
        "send": lambda: served.append(dispatcher.send_request("t", ttl=None)),
        "register": lambda: dispatcher.register_result_producer(newcomer, "t"),
        "deregister": lambda: dispatcher.deregister_result_producer(newcomer, "t"),
        "wait": lambda: dispatcher.send_request("t", ttl=None).results(PATIENCE),
    }
    at = 1
    while strike(outer[interrupted], at, inner[call]):
        at += 1
        values = dispatcher.send_request("t", ttl=None).results(PATIENCE)
        assert "value" in values
        if call == "register":
            assert "visitor" in values
            dispatcher.deregister_result_producer(visitor, "t")
            values.remove("visitor")
        if interrupted == "register" and call != "deregister":
            assert "new" in values
        if interrupted == "deregister":
            assert "new" not in values
        dispatcher.deregister_result_producer(newcomer, "t")
        if interrupted == "deregister":
            dispatcher.register_result_producer(newcomer, "t")
    ended(*served)
    assert all(handle.completion is Completion.ALL_REPLIED for handle in served)
    settle(dispatcher)
    sums_add_up(dispatcher)
    dispatcher.stop()
    for thread in (newcomer, visitor):
        thread.stop()
    over(newcomer, visitor)
    floor.stopped()


@pytest.mark.parametrize("done", [False, True], ids=["stop", "stop and wait for it"])
@pytest.mark.parametrize("started", [True, False], ids=["started", "not started"])
def test_a_stop_from_a_handler_that_interrupts_a_send(started: bool, done: bool) -> None:
    """At each moment: the send raises DispatcherStopped, or its handle ends; the sums add up also
    if the dispatcher has ended before the send goes on.
    """
    at, more = 1, True
    while more:
        dispatcher, producer = Dispatcher(), Answer()
        dispatcher.register_result_producer(producer, "t", start=True)
        if started:
            dispatcher.start()
        returned: List[Any] = []

        def send(dispatcher: Any = dispatcher, returned: Any = returned) -> None:
            returned.append(dispatcher.send_request("t", ttl=None))

        def stop(dispatcher: Any = dispatcher) -> None:
            dispatcher.stop(immediate=done)
            if started and done:
                over(dispatcher)

        try:
            more = strike(send, at, stop)
        except DispatcherStopped:
            pass
        if not more:
            dispatcher.stop()
        try:
            for handle in returned:
                assert handle.wait(5), f"struck at moment {at}"
        finally:
            if not started:
                dispatcher.start()
            producer.stop()
        over(dispatcher, producer)
        # What was never started is tidied up on a thread that nobody can join: look until it has.
        deadline = time.perf_counter() + (0 if started else PATIENCE)
        while dispatcher.statistics().open and time.perf_counter() < deadline:
            pass
        sums_add_up(dispatcher)
        at += 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")
def test_ctrl_c_in_a_storm_of_calls() -> None:
    """KeyboardInterrupts by the thousand during sends, registrations and waits: the dispatcher
    stays usable, and every send that returned is served.
    """
    done = python(
        """
        import signal, threading
        from ate_dispatcher import Completion, Dispatcher, Producer, ResultListener

        class Site(Producer):
            def produce_dispatcher_output(self, topic, *args, **kwargs):
                return args

        class Log(ResultListener):
            def process_dispatcher_result(self, topic, response):
                pass

        armed = False
        hits = 0

        def handler(*_):
            global armed, hits
            if armed:
                armed = False
                hits += 1
                raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, handler)
        dispatcher = Dispatcher()
        dispatcher.start()
        site, guest, log, ears = Site(), Site(), Log(), Log()
        for thread in (guest, ears):
            thread.start()
        dispatcher.register_result_producer(site, 't', start=True)
        dispatcher.register_result_listener(log, 't', start=True)
        kept = []

        def step(n):
            kept.append(dispatcher.send_request('t', n, ttl=None))
            dispatcher.register_result_producer(guest, 't')
            dispatcher.register_result_listener(ears, 't')
            dispatcher.register_result_producer(guest, 'u')
            if n % 4 == 0:
                kept[-1].wait(30)
            dispatcher.deregister_result_producer(guest, 't')
            dispatcher.deregister_result_listener(ears, 't')
            dispatcher.deregister_result_producer(guest, 'u')

        def storm():
            global armed, n
            armed = True
            while n < 3000:
                n += 1
                step(n)
            armed = False

        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0003)
        n = 0
        while n < 3000:
            # The handler disarms itself, so it can only raise where it is caught.
            try:
                storm()
            except KeyboardInterrupt:
                pass
        signal.setitimer(signal.ITIMER_REAL, 0)

        late = [handle.id for handle in kept if not handle.wait(20)]
        assert not late, f'never ended: {late[:5]} of {len(kept)}'
        odd = {handle.completion for handle in kept} - {Completion.ALL_REPLIED}
        assert not odd, odd
        dispatcher.deregister_result_producer(guest, 't')
        dispatcher.deregister_result_producer(guest, 'u')
        assert dispatcher.send_request('t', 7, ttl=None).results(20) == [(7,)], 'still asked'
        assert dispatcher.send_request('u').completion is Completion.NO_PRODUCERS
        seen = threading.Event()
        dispatcher.send_request('nobody').add_done_callback(lambda _: seen.set())
        assert seen.wait(20)
        # The last that was cut short may still be on its way through the guest.
        import time
        until = time.monotonic() + 20
        while dispatcher.statistics().open and time.monotonic() < until:
            time.sleep(0.001)
        sums = dispatcher.statistics()
        assert sums.open == 0, sums
        assert sums.fan_out == sum(sums.verdicts.values()), sums
        dispatcher.stop()
        dispatcher.join(20)
        assert not dispatcher.is_alive()
        print(len(kept), hits)
        """
    )
    assert done.returncode == 0, done.stderr
    kept, hits = map(int, done.stdout.split())
    assert kept > 500
    assert hits > 20


INTERRUPTED = """
import os, signal, threading, time
from ate_dispatcher import Dispatcher, Producer
from ate_dispatcher.testing import Wire

class Dmm(Producer):
    def produce_dispatcher_output(self, topic):
        return 1

with Dispatcher() as dispatcher:
    dmm = Dmm(name="dmm")
    dispatcher.register_result_producer(dmm, "volts", start=True)
    connection = dispatcher.connect(Wire().transport(), name="a")
    for each in (connection, dispatcher, dmm):
        interrupt = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        try:
            each.join()
        except KeyboardInterrupt:
            print("interrupted")
        began = time.monotonic()
        each.join(0.1)
        print(time.monotonic() - began >= 0.1, dispatcher.is_alive(), dmm.is_alive())
    connection.disconnect()
    print(connection.join(5))
print(dispatcher.is_alive(), dmm.is_alive())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signal interrupts a wait there")
def test_who_was_torn_from_a_join_waits_in_the_next_one() -> None:
    """Until Python 3.12 whoever is joined by `Thread.join` would be taken for ended, for good."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60
    )
    assert (done.stderr, done.stdout.split("\n")) == (
        "",
        [*["interrupted", "True True True"] * 3, "True", "False False", ""],
    )
