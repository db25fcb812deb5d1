"""Who is woken by what happens inside the section is woken outside; and who looks meanwhile."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from typing import Any, Callable, Iterator, List

import pytest
from rig import HECTIC
from virtual import World, world

from ate_dispatcher import ResultListener, events
from ate_dispatcher._delivery.keyed_mailbox import KeyedMailbox
from ate_dispatcher._delivery.message import Message
from ate_dispatcher._delivery.overflow import BoundedKeyedMailbox, Overflow
from ate_dispatcher._delivery.sentinels import IDLE
from ate_dispatcher._delivery.stream_mailbox import StreamMailbox
from ate_dispatcher._engine import high_water
from ate_dispatcher._engine.coroutine_parker import CoroutineParker
from ate_dispatcher._engine.process import SECTION
from ate_dispatcher._engine.waiting import LoopParker

__all__ = ["world"]


class Watching(asyncio.SelectorEventLoop):
    """Notes whether it is called from inside the section, where it may take long."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: List[bool] = []

    def call_soon_threadsafe(self, callback: Any, *args: Any, **context: Any) -> Any:
        self.inside.append(bool(SECTION.locked()))
        return super().call_soon_threadsafe(callback, *args, **context)


class Calls:
    """As our own event loop calls what coroutines wait for."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop

    def call(self, function: Callable[[], Any]) -> None:
        self.loop.call_soon_threadsafe(function)


@pytest.fixture
def loop() -> Iterator[Watching]:
    """An event loop that does not run."""
    made = Watching()
    yield made
    made.close()


@pytest.fixture(params=["a user's coroutine", "one of ours"])
def parker(request: pytest.FixtureRequest, loop: Watching) -> Any:
    """What it waits on."""
    if request.param == "one of ours":
        return CoroutineParker(Calls(loop))
    return LoopParker(loop)


def test_a_coroutine_that_reads_a_stream_is_woken_outside(loop: Watching, parker: Any) -> None:
    """By whoever has put something in, after it has left."""
    reader = Message()
    mailbox = StreamMailbox(None, Overflow.BLOCK, SECTION.left, weakref.ref(Reader()))
    mailbox.readers.enlist(parker)
    with SECTION:
        mailbox.accept(reader)
        assert loop.inside == []
    assert loop.inside == [False]


def test_a_coroutine_that_waits_for_room_is_woken_outside(loop: Watching, parker: Any) -> None:
    """By a worker that has taken something inside."""
    mailbox = BoundedKeyedMailbox(1, Overflow.BLOCK, SECTION.left, weakref.ref(Reader()))
    mailbox.deliver(Message())
    room = mailbox.room
    assert room is not None
    room.waiting.enlist(parker)
    with SECTION:
        assert mailbox.take(object()) is not IDLE
        assert loop.inside == []
    assert loop.inside == [False]


class Reader:
    """Whose mailbox it is."""


# -- the high-water mark -----------------------------------------------------------------------


class Keyed(Message):
    """Waits for the others of its key."""

    def __init__(self, key: int) -> None:
        self._key = key

    @property
    def key(self) -> Any:
        return self._key


def test_who_looks_how_much_waits_disturbs_nobody_who_sorts() -> None:
    """Workers put what waits for its key into lanes; the look is at about one moment."""
    mailbox, much = KeyedMailbox(), 2000
    for number in range(much):
        mailbox.put(Keyed(number % 50))
    taken: List[int] = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(HECTIC)

    def work() -> None:
        me = object()
        while sum(taken) < much:
            with SECTION:
                found = mailbox.take(me)
                if isinstance(found, Keyed):
                    taken.append(1)
        with SECTION:
            mailbox.let_go(me)

    workers = [threading.Thread(target=work) for _ in range(3)]
    try:
        for worker in workers:
            worker.start()
        seen = [mailbox.backlog() for _ in range(2000)]
        for worker in workers:
            worker.join(30)
    finally:
        sys.setswitchinterval(before)
    assert 0 <= min(seen) <= max(seen) <= 2 * much
    assert mailbox.backlog() == 0


def test_what_waits_in_lanes_counts_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one key, while one of two workers is busy with that."""
    monkeypatch.setattr(high_water, "_FIRST", 200)
    told: List[Any] = []
    world.dispatcher.add_hook(told.append)

    def hear(topic: Any, value: Any) -> None:
        world.clock.sleep(0 if value else 5)

    busy = ResultListener(hear, name="busy", workers=2)
    world.dispatcher.register_result_listener(world.cast(busy), "t", start=True)
    for number in range(201):
        world.dispatcher.publish("t", number, ordering_key="key")
        if not number:
            # The first is begun, and the first look is over.
            world.clock.settle()
    world.clock.advance(1001)
    world.send(topic="nobody", ttl=1)
    world.clock.advance(2)
    high = [each for each in told if isinstance(each, events.MailboxHigh)]
    assert [(each.participant, each.waiting) for each in high] == [("busy", 200)]
    world.clock.advance(5000)
