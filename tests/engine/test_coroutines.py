"""Coroutines in the place of threads, at moments that are chosen."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Iterator, List

import pytest
from inside import mailbox_of
from rig import PATIENCE, came, over

from ate_dispatcher import Dispatcher, Producer, ResultListener, Verdict
from ate_dispatcher._delivery.mailbox import CALM, Mailbox
from ate_dispatcher._delivery.sentinels import Died
from ate_dispatcher._engine import hearing


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    """On real time; stopped at the end."""
    with Dispatcher() as made:
        yield made


async def answers(topic: str, value: Any = 1) -> Any:
    """At once."""
    return value


# -- P1: the last look before it parks -------------------------------------------------------------


def test_what_came_before_the_token_is_found(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever put it saw no attention, and so has woken nobody."""
    producer = dispatcher.register_result_producer(answers, "t", start=True)
    idles = Mailbox.idles
    handles: List[Any] = []

    def crossed(mailbox: Mailbox, worker: Any) -> bool:
        if mailbox is mailbox_of(producer) and not handles:
            token, mailbox.attention = mailbox.attention, CALM
            handles.append(dispatcher.send_request("t", "crossed", ttl=None))
            mailbox.attention = token
        return idles(mailbox, worker)

    assert dispatcher.send_request("t").results(PATIENCE) == [1]
    monkeypatch.setattr(Mailbox, "idles", crossed)
    assert dispatcher.send_request("t", 2).results(PATIENCE) == [2]
    while not handles:
        time.sleep(0.001)
    assert handles[0].results(PATIENCE) == ["crossed"]


def test_what_a_listener_has_not_been_woken_for_it_hears(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came between its last look and its token."""
    heard: List[Any] = []
    done = threading.Event()
    token = hearing.Busy

    async def hears(topic: str, value: Any) -> None:
        heard.append(value)
        if value == "crossed":
            done.set()

    listener = ResultListener(hears)

    def crossed(full: List[bool]) -> Any:
        if heard and "crossed" not in heard:
            mailbox_of(listener).items.append(("t", "crossed"))
        return token(full)

    monkeypatch.setattr(hearing, "Busy", crossed)
    dispatcher.register_result_listener(listener, "t", start=True)
    dispatcher.publish("t", "first")
    came(done)
    assert heard == ["first", "crossed"]


# -- a worker that is killed -----------------------------------------------------------------------


class Mortal(Producer):
    """Dies of the requests that say so."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.log: List[Any] = []

    async def produce_dispatcher_output(self, topic: Any, what: Any) -> Any:
        await asyncio.sleep(0)
        if what == "die":
            raise Died
        if isinstance(what, tuple):
            entered, gate = what
            entered.set()
            while not gate.is_set():
                await asyncio.sleep(0.001)
        return what

    async def on_stop(self) -> None:
        self.log.append("on_stop")


def words(handle: Any) -> List[str]:
    """The verdict of each, with the standing."""
    return [
        "-".join(each.name for each in (member.verdict, member.standing) if each is not None)
        for member in handle.report().members
    ]


def test_a_producer_that_is_killed_is_dead(dispatcher: Dispatcher) -> None:
    """What it was at, and what waits for it, is missing; what comes later is declined."""
    mortal = Mortal()
    dispatcher.register_result_producer(mortal, "t")
    handles = [dispatcher.send_request("t", what, ttl=None) for what in ("die", "after")]
    mortal.start()
    over(mortal)
    handles.append(dispatcher.send_request("t", "late", ttl=None))
    for handle in handles:
        assert handle.wait(PATIENCE)
    assert [words(handle) for handle in handles] == [
        ["MISSING-DEAD"],
        ["MISSING-DEAD"],
        ["DECLINED"],
    ]
    assert mortal.log == ["on_stop"]


def test_a_killed_one_has_its_instrument_no_more(dispatcher: Dispatcher) -> None:
    """Others get it."""
    mortal = Mortal(exclusive="psu")
    dispatcher.register_result_producer(mortal, "t", start=True)
    dispatcher.register_result_producer(Producer(answers, exclusive="psu"), "other", start=True)
    assert dispatcher.send_request("t", "die", ttl=None).wait(PATIENCE)
    assert dispatcher.send_request("other", ttl=None).results(PATIENCE) == [1]


def test_without_its_first_worker_it_ends(dispatcher: Dispatcher) -> None:
    """As a producer whose thread ends: the others begin nothing more, but come to their ends."""
    mortal = Mortal(workers=2)
    dispatcher.register_result_producer(mortal, "t")
    # One of the two is the first.
    handles = [dispatcher.send_request("t", "die", ttl=None) for _ in range(2)]
    mortal.start()
    over(mortal)
    for handle in handles:
        assert handle.wait(PATIENCE)
        assert words(handle) == ["MISSING-DEAD"]
    assert dispatcher.send_request("t", 1).report().members[0].verdict in (None, Verdict.DECLINED)


def test_a_key_is_free_when_the_worker_that_had_it_was_killed(dispatcher: Dispatcher) -> None:
    """The others serve those that wait for it; unless it was the first, without which all end."""
    send = dispatcher.options(ttl=None, ordering_key="key").send_request
    outlived = 0
    for _ in range(50):
        mortal = Mortal(workers=2)
        dispatcher.register_result_producer(mortal, "t", start=True)
        entered, gate = threading.Event(), threading.Event()
        busy = dispatcher.send_request("t", (entered, gate), ttl=None)
        came(entered)
        handles = [send("t", "die"), send("t", "after")]
        assert handles[0].wait(PATIENCE)
        gate.set()
        assert busy.wait(PATIENCE)
        assert handles[1].wait(PATIENCE)
        dispatcher.deregister_result_producer(mortal)
        outlived += handles[1].results() == ["after"]
        mortal.stop()
        over(mortal)
        if outlived:
            break
    assert outlived
