"""The mailbox with one reader, against a list: what ends in it is buried, and nothing is lost.

The model is the list of what was put and not taken. After every step the mailbox holds that and
nothing else, in that order, however much of it has been looked through. The reader is driven as its
thread would drive it; its parker only counts.
"""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ate_dispatcher._delivery import mailbox as _mailbox
from ate_dispatcher._delivery.keyed_mailbox import KeyedMailbox
from ate_dispatcher._delivery.local_member import FurtherWorker
from ate_dispatcher._delivery.mailbox import CALM, CLOSED, Mailbox
from ate_dispatcher._delivery.sentinels import IDLE, STOP, SWEPT

T = TypeVar("T")


class CountingParker:
    """Two unparks may be one; whoever parks would wake if there is any."""

    def __init__(self) -> None:
        self.unparks = 0
        self.parks = 0

    def unpark(self, _: None) -> None:
        self.unparks += 1

    def park(self) -> None:
        self.parks += 1

    def park_until(self, deadline: float) -> bool:
        raise AssertionError(deadline)


class Message:
    """All that a mailbox wants to know of a request."""

    key: Any = None
    shares = False

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.completion: Any = None
        #: Shall not be begun any more, although it is open.
        self.unwanted = False

    @property
    def is_over(self) -> bool:
        return self.completion is not None

    def __repr__(self) -> str:
        return f"<{self.number}{'!' if self.completion else ''}{'-' if self.unwanted else ''}>"


def held(mailbox: Mailbox) -> List[Any]:
    """All that is in, the oldest first."""
    beside, items = [*mailbox._looked, *mailbox._old], list(mailbox.items)
    # The mark stands in front exactly while something lies beside.
    assert [item is SWEPT for item in items] == [True] * bool(beside) + [False] * (
        len(items) - bool(beside)
    )
    return [*beside, *items[bool(beside) :]]


def is_over(item: Any) -> bool:
    """Whether it may be forgotten."""
    return item is not STOP and item.completion is not None


SHORT = 7
"""Fewer messages than that are few."""
ANYTHING = st.integers(0, 40)
"""Picks one of however many there are."""


class Reading(RuleBasedStateMachine):
    """A mailbox beside the list."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox()
        self.parker = CountingParker()
        self.mailbox.hang(self.parker)
        self.waiting: List[Any] = []
        self.count = 0
        #: What was ended, and buried, and is still in.
        self.buried: List[Any] = []
        #: How many were told to sweep, and have not come to the end of it.
        self.sweeping = 0
        #: What has to be out at the end of the round.
        self.round: Optional[List[Any]] = None
        self.idle = False
        # So that few messages are many. Fails if it is renamed.
        self.usual_short = _mailbox._SHORT
        _mailbox._SHORT = SHORT

    def teardown(self) -> None:
        """In the end all of it is there."""
        _mailbox._SHORT = self.usual_short
        self.mailbox.close()
        assert self.mailbox.emptied() == self.waiting
        assert self.mailbox.backlog() == 0
        assert self.mailbox.emptied() == []

    # -- putters and the reader -----------------------------------------------------------------

    @rule(count=st.integers(1, 7))
    def put(self, count: int) -> None:
        for _ in range(count):
            self.count += 1
            self.puts(Message(self.count))

    @precondition(lambda self: self.count > 30 and STOP not in self.waiting)
    @rule()
    def put_a_stop(self) -> None:
        """What comes behind it is kept all the same."""
        self.puts(STOP)

    def puts(self, item: Any) -> None:
        self.waiting.append(item)
        self.mailbox.put(item)

    @rule(count=st.integers(1, 4), in_passing=st.booleans())
    def take(self, count: int, in_passing: bool) -> None:
        """The oldest, ended or not; without anything the reader parks."""
        for _ in range(count):
            self.parker.unparks = 0
            self.idle = False
            self.mailbox.attention = CALM
            got = self.taken(in_passing)
            if not self.waiting:
                assert got is IDLE
                assert self.mailbox.parked()
                self.idle = True
                return
            assert got is self.waiting.pop(0)
            assert not self.mailbox.parked()
            if got in self.buried:
                self.buried.remove(got)

    def taken(self, in_passing: bool) -> Any:
        """In passing as the loop of a worker does it: straight from the queue."""
        if in_passing and self.mailbox.items:
            item = self.mailbox.items.popleft()
            if item is not SWEPT:
                return item
            self.mailbox.items.appendleft(SWEPT)
        return self.mailbox.take(None)

    # -- what ends ------------------------------------------------------------------------------

    @precondition(lambda self: any(not is_over(item) for item in self.waiting))
    @rule(choices=st.lists(ANYTHING, min_size=1, max_size=6), buried=st.booleans())
    def end(self, choices: List[int], buried: bool) -> None:
        """Some end; whoever ends them buries them, mostly."""
        for choice in choices:
            alive = [item for item in self.waiting if item is not STOP and not is_over(item)]
            if not alive:
                return
            message = one_of(alive, choice)
            message.completion = "ended"
            if buried:
                self.bury(message)

    def bury(self, message: Message) -> None:
        length = len(self.waiting)
        out, sweep = self.mailbox.bury(message)
        self.buried.append(message)
        is_first = self.waiting[0] is message
        self.come_out(out)
        if is_first:
            assert message in out
        elif length < SHORT:
            # From a short one it is taken wherever it is.
            assert out == [message]
        self.sweeping += sweep
        assert not sweep or length >= SHORT
        if length >= SHORT and out == [] and len(self.buried) * 2 > length:
            assert self.sweeping

    @precondition(lambda self: self.waiting)
    @rule(choices=st.lists(ANYTHING, min_size=1, max_size=3))
    def shall_not_be_begun(self, choices: List[int]) -> None:
        for choice in choices:
            message = one_of(self.waiting, choice)
            if message is not STOP:
                message.unwanted = True

    @rule(limit=st.integers(1, 6))
    def sweep(self, limit: int) -> None:
        """A part of a round."""
        asked: List[Any] = []

        def unwanted(item: Any) -> bool:
            assert item is not STOP
            assert item.completion is None
            asked.append(item)
            return bool(item.unwanted)

        if self.round is None:
            self.round = [i for i in self.waiting if is_over(i) or (i is not STOP and i.unwanted)]
        out, more = self.mailbox.sweep(limit, unwanted)
        assert len(out) + len([item for item in asked if not item.unwanted]) <= limit
        assert len(set(asked)) == len(asked)
        self.come_out(out)
        # Whoever sweeps goes on until there is no more.
        self.sweeping = max(0, self.sweeping - 1) + more
        if not more:
            assert [item for item in self.round if item in self.waiting] == []
            self.round = None

    @rule(limit=st.integers(1, 6))
    def sweep_to_the_end(self, limit: int) -> None:
        """Nobody else is at it: so many passes and no more."""
        passes = (len(self.waiting) + 1) // limit + 2
        self.round = self.round or []
        while self.round is not None:
            self.sweep(limit)
            passes -= 1
        assert passes >= 0

    def come_out(self, out: Sequence[Any]) -> None:
        """What has ended, or is unwanted, each once, in the order of putting."""
        assert out == [item for item in self.waiting if item in out]
        for message in out:
            assert message is not STOP
            assert message.completion is not None or message.unwanted
            self.waiting.remove(message)
        self.buried = [message for message in self.buried if message in self.waiting]

    # -- always ---------------------------------------------------------------------------------

    @invariant()
    def it_holds_what_waits(self) -> None:
        assert held(self.mailbox) == self.waiting

    @invariant()
    def the_backlog_is_what_waits(self) -> None:
        assert self.mailbox.backlog() == len(self.waiting)

    @invariant()
    def a_sleeper_is_unparked(self) -> None:
        """If there is anything, and as long as there is nothing it sleeps."""
        if self.idle and self.waiting:
            assert self.parker.unparks


def one_of(some: Sequence[T], choice: int) -> T:
    """Always one of them, so that no example is thrown away."""
    return some[choice % len(some)]


TestTheMailboxAgainstAList = pytest.mark.thorough(Reading.TestCase)
TestTheMailboxAgainstAList.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    # To explain a failure takes longer than to find it, and longer than a test may take.
    phases=[phase for phase in settings().phases if phase is not Phase.explain],
)


# -- examples ----------------------------------------------------------------------------------


def filled(count: int, mailbox: Optional[Mailbox] = None) -> Any:
    """A mailbox with so many messages, and those."""
    mailbox = mailbox or Mailbox()
    messages = [Message(number) for number in range(count)]
    for message in messages:
        mailbox.put(message)
    return mailbox, messages


def test_what_is_at_the_front_leaves_at_once() -> None:
    """However long it is, and although the round has not come there, or is over."""
    mailbox, messages = filled(200)
    assert mailbox.sweep() == ([], True)
    for message in messages[:150]:
        message.completion = "ended"
        assert mailbox.bury(message) == ([message], False)
    assert held(mailbox) == messages[150:]


@pytest.mark.parametrize("count", [2, 63, 64, 65, 300])
def test_it_is_swept_when_half_of_it_has_ended(count: int) -> None:
    """Not before; and a short one at once, without anybody who sweeps."""
    mailbox, messages = filled(count)
    for number, message in enumerate(messages[1:], 1):
        message.completion = "ended"
        out, sweep = mailbox.bury(message)
        if count < 64:
            assert (out, sweep) == ([message], False)
        else:
            assert (out, sweep) == ([], number * 2 > count)
        if sweep:
            break
    passes = 0
    while sweep:
        out, sweep = mailbox.sweep()
        assert len(out) <= 64
        passes += 1
    assert held(mailbox) == [message for message in messages if message.completion is None]
    assert passes == (0 if count < 64 else -(-count // 64))


def test_what_comes_meanwhile_is_not_looked_through() -> None:
    """So that the round comes to its end, however quickly they come."""
    mailbox, messages = filled(100)
    more, passes = True, 0
    while more:
        _, more = mailbox.sweep(10)
        for _ in range(20):
            mailbox.put(Message())
        passes += 1
    assert passes == 10
    assert held(mailbox)[:100] == messages


def goes_round(mailbox: Mailbox) -> None:
    """It is looked through, and nothing comes out."""
    more = True
    while more:
        out, more = mailbox.sweep(64)
        assert out == []


@pytest.mark.parametrize("swept", [False, True])
def test_what_comes_behind_a_stop_stays_behind_it(swept: bool) -> None:
    """Although the stop has to wait for a lane, and there is a round meanwhile."""
    mailbox = KeyedMailbox()
    nobody: Any = None
    first, second = (FurtherWorker(nobody, CountingParker()) for _ in range(2))
    mailbox.hang(first.parker)
    one, two, behind = (Message(number) for number in range(3))
    one.key = two.key = "a"
    for item in (one, two, STOP, behind):
        mailbox.put(item)
    assert mailbox.take(first) is one
    if swept:
        goes_round(mailbox)
    assert mailbox.take(second) is IDLE
    if swept:
        goes_round(mailbox)
    assert mailbox.take(first) is two
    assert [mailbox.take(second), mailbox.take(first)] == [STOP, STOP]
    assert behind in held(mailbox)


@pytest.mark.parametrize("kind", [Mailbox, KeyedMailbox])
def test_what_is_put_into_a_closed_one(kind: Any) -> None:
    """Is for its owner; where there is none it is not kept. Nobody sweeps it, nor is it buried."""
    mailbox, messages = filled(3, kind())
    mailbox.close()
    assert mailbox.emptied() == messages
    mailbox.put(Message())
    assert held(mailbox) == []
    mailbox.owner = object()
    last = Message()
    mailbox.put(last)
    assert held(mailbox) == [last]
    assert mailbox.attention is CLOSED
    last.completion = "ended"
    assert mailbox.bury(last) == mailbox.sweep() == ([], False)
    assert mailbox.emptied() == [last]


def test_one_unpark_is_enough() -> None:
    """Those after it append, and that is all; the next time the reader parks there is one again."""
    mailbox, parker = Mailbox(), CountingParker()
    mailbox.hang(parker)
    for times in (1, 2):
        assert mailbox.take(None) is IDLE
        for _ in range(3):
            mailbox.put(Message())
        assert parker.unparks == times
        assert mailbox.attention == []
        mailbox.rest(None)
        assert mailbox.attention is CALM
        assert parker.parks == 0
        assert [mailbox.take(None) is not IDLE for _ in range(3)] == [True] * 3
    assert mailbox.take(None) is IDLE
    mailbox.rest(None)
    assert parker.parks == 1


def test_who_looked_while_messages_were_out_is_unparked() -> None:
    """They lie beside for a moment, while they are looked through."""
    mailbox, parker = Mailbox(), CountingParker()
    mailbox.hang(parker)
    mailbox.items.append(Message())
    # It has looked, found nothing, and is about to park.
    mailbox.attention = [True]
    assert mailbox.sweep() == ([], False)
    assert parker.unparks == 1
