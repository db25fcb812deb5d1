"""Coroutines in the place of threads, at moments that are chosen."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Iterator, List

import pytest
from inside import mailbox_of
from rig import PATIENCE, came, over, settle

from ate_dispatcher import Dispatcher, Producer, ResultListener
from ate_dispatcher._delivery import mailbox as mailboxes
from ate_dispatcher._delivery.mailbox import CALM, Mailbox
from ate_dispatcher._delivery.sentinels import Died


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    """On real time, and open: what is sent goes straight to mailboxes. Stopped at the end."""
    with Dispatcher() as made:
        settle(made)
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
    token = mailboxes.Busy

    async def hears(topic: str, value: Any) -> None:
        heard.append(value)
        if value == "crossed":
            done.set()

    listener = ResultListener(hears)

    def crossed(full: List[bool]) -> Any:
        if heard and "crossed" not in heard:
            mailbox_of(listener).items.append(("t", "crossed"))
        return token(full)

    monkeypatch.setattr(mailboxes, "Busy", crossed)
    dispatcher.register_result_listener(listener, "t", start=True)
    dispatcher.publish("t", "first")
    came(done)
    assert heard == ["first", "crossed"]


# -- a worker that is killed -----------------------------------------------------------------------


class Mortal(Producer):
    """Dies of the requests that say so, or waits for a gate."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.log: List[Any] = []
        self.gate = opened()

    async def produce_dispatcher_output(self, topic: Any, what: Any) -> Any:
        await asyncio.sleep(0)
        if what == "die":
            raise Died
        if isinstance(what, threading.Event):
            await passes(what)
        self.log.append("answers")
        return what

    async def on_stop(self) -> None:
        self.log.append("on_stop")
        await passes(self.gate)


def opened() -> threading.Event:
    """A gate that is open."""
    gate = threading.Event()
    gate.set()
    return gate


async def passes(gate: threading.Event) -> None:
    """Wait for it, and block nobody."""
    while not gate.is_set():
        await asyncio.sleep(0.001)


def asked(dispatcher: Dispatcher, mortal: Mortal, *whats: Any, key: Any = None) -> List[Any]:
    """Its workers take these, the first the first, as soon as it is started, which it is then."""
    dispatcher.register_result_producer(mortal, "t")
    send = dispatcher.options(ttl=None, ordering_key=key).send_request
    plain = dispatcher.options(ttl=None).send_request
    handles = [(plain if isinstance(what, threading.Event) else send)("t", what) for what in whats]
    mortal.start()
    return handles


def words(handle: Any) -> List[str]:
    """The verdict of each, with the standing."""
    return [
        "-".join(each.name for each in (member.verdict, member.standing) if each is not None)
        for member in handle.report().members
    ]


def test_a_producer_that_is_killed_is_dead(dispatcher: Dispatcher) -> None:
    """What it was at, and what waits for it, is missing; what comes later is declined."""
    mortal = Mortal()
    handles = asked(dispatcher, mortal, "die", "after")
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
    (handle,) = asked(dispatcher, mortal, "die")
    assert handle.wait(PATIENCE)
    dispatcher.register_result_producer(Producer(answers, exclusive="psu"), "other", start=True)
    assert dispatcher.send_request("other", ttl=None).results(PATIENCE) == [1]


def test_without_its_first_worker_it_ends(dispatcher: Dispatcher) -> None:
    """The others begin nothing more, while it is still cleaning up."""
    mortal = Mortal(workers=2)
    mortal.gate.clear()
    (first,) = asked(dispatcher, mortal, "die")
    while mortal.log != ["on_stop"]:
        time.sleep(0.001)
    second = dispatcher.send_request("t", "late", ttl=None)
    # Somebody else has had a turn since.
    dispatcher.register_result_producer(answers, "other", start=True)
    assert dispatcher.send_request("other", ttl=None).results(PATIENCE) == [1]
    mortal.gate.set()
    over(mortal)
    for handle in (first, second):
        assert handle.wait(PATIENCE)
        assert words(handle) == ["MISSING-DEAD"]


def test_without_another_worker_it_goes_on(dispatcher: Dispatcher) -> None:
    """And ends when all that are left have."""
    gates = [threading.Event() for _ in range(2)]
    mortal = Mortal(workers=3)
    handles = asked(dispatcher, mortal, gates[0], "die", gates[1])
    assert handles[1].wait(PATIENCE)
    mortal.stop()
    for gate, handle in zip(gates, (handles[0], handles[2])):
        gate.set()
        assert handle.results(PATIENCE) == [gate]
    over(mortal)
    assert mortal.log == ["answers", "answers", "on_stop"]


def test_a_key_is_free_when_the_worker_that_had_it_was_killed(dispatcher: Dispatcher) -> None:
    """The others serve those that wait for it."""
    gate = threading.Event()
    mortal = Mortal(workers=2)
    busy, dies, after = asked(dispatcher, mortal, gate, "die", "after", key="key")
    assert dies.wait(PATIENCE)
    gate.set()
    assert after.results(PATIENCE) == ["after"]
    assert busy.results(PATIENCE) == [gate]
    assert words(dies) == ["MISSING-DEAD"]
    assert mortal.is_alive()
