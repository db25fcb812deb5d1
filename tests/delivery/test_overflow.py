"""A bounded mailbox: who waits for a place in it is woken by whatever brings one, outside."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Any, Deque, List

import pytest

from ate_dispatcher._delivery.message import Message
from ate_dispatcher._delivery.overflow import (
    Bounded,
    BoundedKeyedMailbox,
    BoundedMailbox,
    Overflow,
)
from ate_dispatcher._delivery.stream_mailbox import StreamMailbox
from ate_dispatcher._delivery.waiters import Waiters, Wake


class Reader:
    """Whose mailbox it is."""


READER = Reader()


class Waiting:
    """Somebody who waits for a place; how often it was told to look again."""

    def __init__(self) -> None:
        self.woken = 0

    def unpark(self, _: Any) -> None:
        self.woken += 1


class Value(Message):
    """Has a place before it comes."""

    def takes_place(self, mailbox: Any) -> bool:
        return True


class GivenUp(Value):
    """Somebody gives it up between those two looks, and so finds no place to give back."""

    def is_pending(self, mailbox: Any) -> bool:
        return False


def leave(left: Deque[Any]) -> None:
    """As who leaves the section does."""
    for each in left:
        if isinstance(each, Wake):
            each()
    left.clear()


@pytest.fixture(params=[BoundedMailbox, BoundedKeyedMailbox, StreamMailbox])
def mailbox(request: pytest.FixtureRequest) -> Any:
    """One with a single place."""
    return request.param(1, Overflow.BLOCK, deque(), weakref.ref(READER))


def waits_at(mailbox: Bounded) -> Waiting:
    """One more that waits there."""
    waiting = Waiting()
    mailbox.room.waiting.enlist(waiting)
    return waiting


def test_what_was_given_up_on_its_way_has_its_place_given_to_who_waits(mailbox: Any) -> None:
    """To the first; and outside the section, since it may be a coroutine."""
    places: List[int] = []
    assert mailbox.reserve(id(mailbox), places)
    first, second = waits_at(mailbox), waits_at(mailbox)
    mailbox.accept(GivenUp())
    assert mailbox.reserve(id(mailbox), places)
    assert (first.woken, second.woken) == (0, 0)
    leave(mailbox._left)
    assert (first.woken, second.woken) == (1, 0)


def test_what_is_taken_inside_wakes_outside(mailbox: Any) -> None:
    """Several workers take what they hear inside the section."""
    mailbox.reserve(id(mailbox), [])
    mailbox.accept(Value())
    waiting = waits_at(mailbox)
    mailbox.take(object())
    assert waiting.woken == 0
    leave(mailbox._left)
    assert waiting.woken == 1


def test_a_place_that_was_owed_wakes_whom_it_is_owed_to(mailbox: Any) -> None:
    """A publisher has it for a moment, in which a producer looks that waits until all has one."""
    room = mailbox.room
    mailbox.reserve(id(mailbox), [])
    room.give()
    producer: List[Waiting] = []

    class Places(List[int]):
        def extend(self, items: Any) -> None:
            super().extend(items)
            # A result was taken beyond the bound, and its producer has looked in this moment.
            room.over.append(True)
            assert not room.has_settled()
            producer.append(waits_at(mailbox))

    assert not mailbox.reserve(id(mailbox), Places())
    assert room.has_settled()
    assert producer[0].woken == 1


def test_one_that_looks_in_vain_while_it_is_woken_is_woken_again() -> None:
    """It has enlisted anew before who has woken it is done."""
    waiters = Waiters(int)

    class Quick(Waiting):
        def unpark(self, _: Any) -> None:
            super().unpark(_)
            if self.woken == 1:
                waiters.forget(self)
                waiters.enlist(self)

    quick = Quick()
    waiters.enlist(quick)
    waiters.wake()
    assert len(waiters) == 1
    waiters.wake()
    assert (quick.woken, len(waiters)) == (2, 0)


# -- what a stream tells of its losses ---------------------------------------------------------


def stream(kind: Any = StreamMailbox, overflow: Overflow = Overflow.DROP_OLDEST) -> Any:
    """One with two places."""
    return kind(2, overflow, deque(), weakref.ref(READER))


def come(mailbox: Any, count: int) -> List[Message]:
    """So many that came, the first first."""
    made = [Message() for _ in range(count)]
    for each in made:
        mailbox.accept(each)
    return made


def read(mailbox: Any) -> Any:
    """The next, taken out."""
    taken: List[Any] = []
    return mailbox.next(taken)


def test_a_loss_behind_an_item_that_is_just_read_is_told_with_the_next() -> None:
    """Between its being taken out and the look at what was lost before."""
    mailbox = stream()
    first, _ = come(mailbox, 2)
    taken = read(mailbox)
    assert taken is first
    third, fourth = come(mailbox, 2)
    assert mailbox.lost_before(taken)[1] == 0
    assert read(mailbox) is third
    assert mailbox.lost_before(third)[1] == 1
    assert read(mailbox) is fourth
    assert mailbox.lost_before(fourth)[1] == 0


def test_a_reader_that_overtakes_who_drops_tells_of_that() -> None:
    """The oldest is out, and not written down; meanwhile the next is read on another thread."""
    found: List[Any] = []
    has_taken = threading.Event()

    class Slow(StreamMailbox):
        def drop_oldest(self) -> Any:
            oldest = super().drop_oldest()
            if not found:
                reader.start()
                assert has_taken.wait(30)
            return oldest

    def look() -> None:
        taken = read(mailbox)
        has_taken.set()
        found.append((taken, mailbox.lost_before(taken)[1]))

    reader = threading.Thread(target=look)
    mailbox = stream(Slow)
    made = come(mailbox, 3)
    reader.join(30)
    assert found == [(made[1], 1)]
    assert read(mailbox) is made[2]
    assert mailbox.lost_before(made[2])[1] == 0


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
def test_losses_of_a_stream_that_nobody_reads_take_no_memory(overflow: Overflow) -> None:
    """They are one run."""
    mailbox = stream(overflow=overflow)
    come(mailbox, 1000)
    assert mailbox.lost == 998
    assert len(mailbox._runs) + len(mailbox._numbers) <= 3


def test_what_was_given_up_tells_the_next_what_was_lost_before_it() -> None:
    """It neither came nor was lost."""
    mailbox = stream(overflow=Overflow.DROP_NEWEST)
    come(mailbox, 4)
    for _ in range(2):
        mailbox.lost_before(read(mailbox))
    mailbox.accept(GivenUp())
    come(mailbox, 1)
    assert mailbox.lost_before(read(mailbox))[1] == 2
    assert mailbox.lost == 2
