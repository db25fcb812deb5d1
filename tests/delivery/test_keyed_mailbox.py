"""The mailbox with several readers, against a model of it; then the keys that it keeps apart.

The model is the list of what was put and not given, and the set of keys that workers are busy with.
It says what a worker is given, in both directions; and after every step, that nobody sleeps beside
something to do. The workers are driven as a producer's threads would drive them, one at a time;
their parkers only count. A sender may stop for a while between any two of its steps, as threads do.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Sequence, Set, TypeVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ate_dispatcher._delivery import keyed_mailbox
from ate_dispatcher._delivery.keyed_mailbox import KeyedMailbox
from ate_dispatcher._delivery.local_member import FurtherWorker
from ate_dispatcher._delivery.mailbox import CALM, CLOSED
from ate_dispatcher._delivery.ordering_keys import Key, Keys
from ate_dispatcher._delivery.sentinels import AGAIN, IDLE, STOP

T = TypeVar("T")


class CountingParker:
    """Two unparks may be one; whoever parks would wake if there is any."""

    def __init__(self) -> None:
        self.unparks = 0

    def unpark(self, _: None) -> None:
        self.unparks += 1


class Message:
    """All that the mailbox wants to know of a request."""

    def __init__(self, key: Any = None, number: int = 0) -> None:
        self.key = key
        self.shares = False
        self.number = number
        self.completion: Any = None

    @property
    def is_over(self) -> bool:
        return self.completion is not None

    def __repr__(self) -> str:
        return f"<{self.number}{self.key or ''}>"


class Reader:
    """A worker, and what its thread is at."""

    def __init__(self) -> None:
        self.parker = CountingParker()
        nobody: Any = None
        self.worker = FurtherWorker(nobody, self.parker)
        #: What it got last: before the first time, nothing.
        self.got: Any = None
        self.over = False

    @property
    def parked(self) -> bool:
        return self.got is IDLE and not self.over

    @property
    def serves(self) -> bool:
        return isinstance(self.got, Message) and not self.over

    @property
    def unparked(self) -> bool:
        return self.parker.unparks > 0


def taken(mailbox: KeyedMailbox, worker: Any) -> Any:
    """What *worker* gets; IDLE if it parks then."""
    while True:
        got = mailbox.take(worker)
        if got is not IDLE or mailbox.idles(worker):
            return got


class Model:
    """No cleverness."""

    def __init__(self) -> None:
        #: In the order of putting. What has ended stays until the mailbox is emptied.
        self.waiting: List[Any] = []
        self.busy: Set[Any] = set()
        self.closed = False

    def open(self) -> List[Any]:
        return [message for message in self.waiting if message.completion is None]

    def may_begin(self, message: Message) -> bool:
        return message.completion is None and message.key not in self.busy

    def next_open(self) -> List[Any]:
        """What may be begun now: one thing, mostly."""
        if self.closed:
            return [STOP]
        held_up = False
        for index, message in enumerate(self.waiting):
            if message is STOP:
                older = self.waiting[:index]
                if any(each.completion is None for each in older):
                    return [IDLE]
                # Nobody need notice at once what has ended behind somebody who is busy.
                return [STOP, IDLE] if held_up else [STOP]
            if self.may_begin(message):
                return [message]
            held_up = held_up or message.key in self.busy
        return [IDLE]

    def next(self) -> List[Any]:
        """What may be given now: also what has ended, to be passed by.

        It is given in its turn, as if it had no key; or, if it was looked at before it ended, when
        its key is free.
        """
        if self.closed:
            return [STOP]
        passed_by = []
        for message in self.waiting:
            if message is STOP or self.may_begin(message):
                break
            if message.completion is not None:
                passed_by.append(message)
                if message.key not in self.busy:
                    return passed_by
        return [*passed_by, *self.next_open()]


ANYTHING = st.integers(0, 11)
"""Picks one of however many there are."""
KEY = st.sampled_from(["a", "b", None, "b", "a", "c"])
GO_ON = st.integers(0, 7)
DEEDS = st.sampled_from(["dies", "sends", "ends", "dies", "is unparked", "is swept"])
WORK = st.lists(
    st.one_of(KEY, KEY, GO_ON, GO_ON, st.tuples(DEEDS, ANYTHING)), min_size=4, max_size=12
)
"""Keys of messages to put; choices of who goes on; what else may happen, to whom."""


class Workers(RuleBasedStateMachine):
    """A mailbox and its workers beside the model; most happens in :meth:`work`."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = KeyedMailbox()
        self.model = Model()
        self.readers: List[Reader] = []
        self.senders: List[Iterator[None]] = []
        self.count = 0
        #: The numbers of what was served of each key.
        self.served: Dict[Any, List[int]] = {}
        # So that it is soon tired of putting into lanes. Fails if it is renamed.
        self.usual_many = keyed_mailbox._MANY
        keyed_mailbox._MANY = 3

    @initialize(readers=st.integers(2, 5), late=st.integers(0, 1))
    def begin(self, readers: int, late: int) -> None:
        self.readers = [Reader() for _ in range(readers)]
        self.mailbox.hang(self.readers[0].parker)
        for reader in self.readers[late:]:
            self.takes(reader)

    def those(self, fits: Callable[[Reader], Any]) -> List[Reader]:
        return [reader for reader in self.readers if fits(reader)]

    # -- what happens ---------------------------------------------------------------------------

    def takes(self, reader: Reader) -> None:
        """It comes for the next, done with what it had; what has ended it passes by."""
        while True:
            self.is_done(reader)
            before = self.unparks()
            expected = self.model.next()
            got = taken(self.mailbox, reader.worker)
            if got is AGAIN:
                # It has put three into lanes, and others may come between.
                assert self.unparks() == before
                continue
            assert any(got is one for one in expected), (got, expected)
            if is_open(got) or got is IDLE:
                break
            assert self.unparks() <= before + 1
            self.model.waiting.remove(got)
        reader.got = got
        if got is STOP:
            if not self.model.closed:
                # All that was put before it is out.
                assert self.model.waiting.pop(0) is STOP
            self.model.closed = reader.over = True
            # Whoever sleeps shall hear of it.
            assert all(each.unparked for each in self.those(lambda r: r.parked))
        elif got is IDLE:
            # What has ended is not kept, unless it waits for a key.
            left = self.model.waiting
            end = left.index(STOP) if STOP in left else len(left)
            held_up = [each for each in left[:end] if each.key in self.model.busy]
            assert self.mailbox.backlog() <= len(held_up) + len(left[end:])
        else:
            assert self.unparks() <= before + 1
            self.is_given(got)

    def is_given(self, message: Message) -> None:
        assert message.completion is None
        self.model.waiting.remove(message)
        key = message.key
        if key is not None:
            assert key not in self.model.busy
            self.model.busy.add(key)
            served = self.served.setdefault(key, [])
            served.append(message.number)
            assert served == sorted(served)

    def is_done(self, reader: Reader) -> None:
        """Its key is free when it comes again, or is let go."""
        key = reader.got.key if reader.serves else None
        reader.got = None
        if key is not None:
            self.model.busy.remove(key)

    def unparks(self) -> int:
        return sum(reader.parker.unparks for reader in self.readers)

    # -- workers and senders ----------------------------------------------------------------------

    @rule(work=WORK)
    def work(self, work: List[Any]) -> None:
        for what in work:
            self.sleepers_are_unparked()
            if isinstance(what, tuple):
                self.does(*what)
            elif isinstance(what, int):
                self.one_goes_on(what)
            else:
                before = self.unparks()
                self.mailbox.put(self.message(what))
                assert self.unparks() <= before + 1
        while self.senders:
            self.goes_on(self.senders[0])

    def message(self, key: Any) -> Message:
        self.count += 1
        message = Message(key, self.count)
        self.model.waiting.append(message)
        return message

    def one_goes_on(self, choice: int) -> None:
        able = [*self.those(self.can_go_on), *self.senders]
        if able:
            self.goes_on(one_of(able, choice))

    def can_go_on(self, reader: Reader) -> bool:
        return not reader.over and (not reader.parked or reader.unparked)

    def goes_on(self, who: Any) -> None:
        """Who was unparked wakes up, who serves is done, who is new begins, who sends goes on."""
        if not isinstance(who, Reader):
            if next(who, self) is self:
                self.senders.remove(who)
            return
        if who.parked:
            who.parker.unparks = 0
        self.takes(who)

    def does(self, what: str, choice: int) -> None:
        reader, ends = one_of(self.readers, choice), self.model.open()
        if what == "dies" and reader.serves:
            # In the middle of that; another one comes in its place.
            self.is_done(reader)
            reader.over = True
            self.mailbox.let_go(reader.worker)
            self.readers.append(Reader())
        elif what == "is unparked" and reader.parked:
            # For something else, but it looks here too.
            self.takes(reader)
        elif what == "is unparked" and reader.serves:
            # It has waited for that, and a unpark of ours was lost.
            reader.parker.unparks = 0
        elif what == "sends":
            # The message is appended, the rest comes later.
            self.senders.append(self.putting(self.message("abc"[choice % 3])))
            next(self.senders[-1])
        elif what == "ends" and ends and one_of(ends, choice) is not STOP:
            message = one_of(ends, choice)
            message.completion = "ended"
            if choice % 2:
                self.come_out(self.mailbox.bury(message)[0])
        elif what == "is swept":
            # Perhaps without those of one key, who shall not be begun.
            key = "abcd"[choice % 4]
            self.come_out(self.mailbox.sweep(1 + choice, lambda item: item.key == key)[0], key)

    def come_out(self, out: List[Any], key: Any = None) -> None:
        """What has ended, or shall not be begun, and nothing else."""
        for message in out:
            assert message is not STOP
            assert message.completion is not None or message.key == key
            self.model.waiting.remove(message)

    def putting(self, message: Message) -> Iterator[None]:
        self.mailbox.items.append(message)
        yield
        attention: Any = self.mailbox.attention
        if attention.__class__ is list and attention:
            yield
            self.mailbox.unpark(None)
            yield
            attention.clear()

    # -- the end --------------------------------------------------------------------------------

    @precondition(lambda self: self.count > 25)
    @rule()
    def is_stopped(self) -> None:
        self.model.waiting.append(STOP)
        self.mailbox.put(STOP)

    @precondition(lambda self: self.count > 50)
    @rule()
    def is_closed(self) -> None:
        """The producer's own thread has ended."""
        self.model.closed = True
        self.mailbox.end()

    # -- others, inside the section -------------------------------------------------------------

    @precondition(lambda self: self.model.waiting)
    @rule(how=st.sampled_from(["as it was", "as it was", "swept", "withdrawn"]), choice=ANYTHING)
    def all_is_taken_out_and_put_back(self, how: str, choice: int) -> None:
        """Without what has ended, or what is withdrawn; then whoever looked meanwhile is woken."""
        count = self.mailbox.backlog()
        taken = self.mailbox.emptied()
        assert len(taken) == count
        assert self.mailbox.backlog() == 0
        # In the order of putting, and nothing that is open is missing.
        assert taken == [message for message in self.model.waiting if message in taken]
        assert [each for each in taken if is_open(each)] == list(
            filter(is_open, self.model.waiting)
        )
        if how == "swept":
            taken = [message for message in taken if is_open(message)]
        elif how == "withdrawn" and taken and one_of(taken, choice) is not STOP:
            taken.remove(one_of(taken, choice))
        self.mailbox.items.extendleft(reversed(taken))
        self.model.waiting = taken
        if how != "as it was" and taken:
            self.mailbox.attend()

    # -- always ---------------------------------------------------------------------------------

    @invariant()
    def sleepers_are_unparked(self) -> None:
        """If there is something to do for them, and no sender is about to unpark."""
        sleeping = self.those(lambda r: r.parked)
        if sleeping and IDLE not in self.model.next_open() and not self.senders:
            assert any(reader.unparked for reader in sleeping)

    @invariant()
    def each_key_is_with_one_worker(self) -> None:
        serving = {reader.got.key: reader.worker for reader in self.those(lambda r: r.serves)}
        for key in "abc":
            assert self.mailbox.busy_with(key) is serving.get(key)

    @invariant()
    def the_backlog_is_what_waits(self) -> None:
        waiting = self.model.waiting
        assert len(list(filter(is_open, waiting))) <= self.mailbox.backlog() <= len(waiting)

    def teardown(self) -> None:
        """In the end all is served that was put before a STOP, and everybody goes home."""
        try:
            self.all_go_home()
        finally:
            keyed_mailbox._MANY = self.usual_many

    def all_go_home(self) -> None:
        self.is_stopped()
        while self.senders:
            self.goes_on(self.senders[0])
        while self.those(self.can_go_on):
            self.goes_on(self.those(self.can_go_on)[-1])
        assert self.those(lambda r: not r.over) == []
        assert self.model.closed


def is_open(message: Any) -> bool:
    """Whether it may not be forgotten."""
    return message is STOP or message.completion is None


def one_of(some: Sequence[T], choice: int) -> T:
    """Always one of them, so that no example is thrown away."""
    return some[choice % len(some)]


TestTheMailboxAgainstItsModel = pytest.mark.thorough(Workers.TestCase)
TestTheMailboxAgainstItsModel.settings = settings(
    max_examples=120,
    stateful_step_count=28,
    # To explain a failure takes longer than to find it, and longer than a test may take.
    phases=[phase for phase in settings().phases if phase is not Phase.explain],
)


# -- examples ----------------------------------------------------------------------------------


class Site:
    """A mailbox with some workers; *items* are put into it."""

    def __init__(self, workers: int, *items: Any) -> None:
        self.mailbox = KeyedMailbox()
        self.readers = [Reader() for _ in range(workers)]
        self.passed_by: List[Any] = []
        self.mailbox.hang(self.readers[0].parker)
        for item in items:
            self.mailbox.put(item)

    def take(self, number: int) -> Any:
        """What that worker gets, done with what it had; an unpark that it had is used up.

        What has ended it passes by.
        """
        worker = self.readers[number].worker
        self.readers[number].parker.unparks = 0
        while True:
            got = taken(self.mailbox, worker)
            if got is IDLE or is_open(got):
                return got
            if got is AGAIN:
                continue
            assert got.key is None or self.mailbox.busy_with(got.key) is not worker
            self.passed_by.append(got)

    def let_go(self, number: int) -> None:
        """That worker has ended, in the middle of something perhaps."""
        self.mailbox.let_go(self.readers[number].worker)

    def woken(self) -> List[int]:
        """Who was unparked and has not taken anything since."""
        return [number for number, reader in enumerate(self.readers) if reader.unparked]


def test_messages_without_keys_are_given_in_order() -> None:
    """To whoever comes, however many workers are busy."""
    items = [Message(number=number) for number in range(3)]
    site = Site(4, *items)
    assert [site.take(number) for number in range(4)] == [*items, IDLE]


def test_a_message_waits_while_another_of_its_key_is_served() -> None:
    """Younger ones of other keys pass it; once its key is free it is the oldest again."""
    one, two, other, last = Message("a", 1), Message("a", 2), Message("b", 3), Message(None, 4)
    site = Site(3, one, two, other, last)
    assert [site.take(0), site.take(1)] == [one, other]
    assert site.take(0) is two
    assert site.take(1) is last


def test_the_oldest_of_several_lanes_comes_first() -> None:
    """Whichever key it has, and in whatever order the keys became free."""
    items = [Message(key, number) for number, key in enumerate("abbaba")]
    site = Site(3, *items)
    assert [site.take(number) for number in range(3)] == [*items[:2], IDLE]
    site.let_go(0)
    site.let_go(1)
    assert site.take(0) is items[2]
    assert site.take(0) is items[3]
    assert [site.take(1), site.take(2)] == [items[4], IDLE]
    assert site.take(0) is items[5]


def test_a_lane_of_what_has_ended_does_not_hide_another() -> None:
    """Nor what was never looked at."""
    items = [Message(key, number) for number, key in enumerate(["a", "b", "a", "b", None])]
    site = Site(2, *items[:4])
    assert [site.take(0), site.take(1)] == items[:2]
    assert taken(site.mailbox, Reader().worker) is IDLE
    items[2].completion = "ended"
    site.mailbox.put(items[4])
    site.let_go(0)
    site.let_go(1)
    assert [site.take(0), site.take(1)] == items[3:]
    assert site.passed_by == [items[2]]


def test_it_is_known_who_is_busy_with_a_key() -> None:
    """Until that is done with it."""
    one = Message("a")
    site = Site(2, one, Message("a"))
    assert site.mailbox.busy_with("a") is None
    assert [site.take(1), site.take(0)] == [one, IDLE]
    assert site.mailbox.busy_with("a") is site.readers[1].worker
    site.let_go(1)
    assert site.mailbox.busy_with("a") is None
    site.take(0)
    assert site.mailbox.busy_with("a") is site.readers[0].worker
    assert site.take(0) is IDLE
    assert site.mailbox.busy_with("a") is None


def test_what_has_ended_is_passed_by() -> None:
    """In a lane and where it was never looked at: it needs no key, and is not kept."""
    first, laned, other, after = (Message("a", n) for n in range(4))
    plain = Message(None, 4)
    site = Site(2, first, laned, other, after, plain)
    assert [site.take(0), site.take(1)] == [first, plain]
    for ended in (laned, other):
        ended.completion = "ended"
    assert site.mailbox.backlog() == 3
    assert site.take(0) is after
    assert site.passed_by == [laned, other]
    assert site.mailbox.backlog() == 0
    site.mailbox.put(laned)
    assert site.take(0) is IDLE
    assert site.mailbox.backlog() == 0


def test_a_stop_comes_when_nothing_older_is_left() -> None:
    """What is in a lane is older; what is being served does not hold it up."""
    one, two = Message("a", 1), Message("a", 2)
    site = Site(3, one, two, STOP)
    assert [site.take(0), site.take(1)] == [one, IDLE]
    assert site.take(0) is two
    assert site.woken() == [1]
    assert site.take(1) is STOP
    assert [site.take(2), site.take(0)] == [STOP, STOP]


def test_all_who_sleep_hear_of_a_stop() -> None:
    """And who comes later; what is put behind it is not begun."""
    site = Site(4)
    for number in range(3):
        assert site.take(number) is IDLE
    site.mailbox.put(STOP)
    (first,) = site.woken()
    site.mailbox.put(Message())
    assert site.take(first) is STOP
    assert sorted([first, *site.woken()]) == [0, 1, 2]
    assert [site.take(number) for number in range(4)] == [STOP] * 4
    assert site.mailbox.backlog() == 1


def test_a_mailbox_that_is_closed_gives_nothing() -> None:
    """Its producer's thread has ended, without a STOP; an attention that says so stays."""
    site = Site(2)
    assert site.take(1) is IDLE
    site.mailbox.put(Message())
    site.mailbox.close()
    site.mailbox.end()
    assert site.mailbox.attention is CLOSED
    assert [site.take(0), site.take(1)] == [STOP, STOP]


def test_one_unpark_wakes_one_worker_and_that_the_next() -> None:
    """If there is more than it takes; nobody is woken who has nothing to do."""
    site = Site(3)
    for number in range(3):
        assert site.take(number) is IDLE
    items = [Message(number=number) for number in range(2)]
    for item in items:
        site.mailbox.put(item)
    assert sum(reader.parker.unparks for reader in site.readers) == 1
    for item in items:
        (woken,) = site.woken()
        assert site.take(woken) is item
    assert site.woken() == []


def test_who_sleeps_is_woken_while_others_are_busy() -> None:
    """The attention is up again after each message that was taken; down when nobody sleeps."""
    site = Site(2)
    assert [site.take(0), site.take(1)] == [IDLE, IDLE]
    site.mailbox.put(Message())
    (first,) = site.woken()
    site.take(first)
    assert site.mailbox.parked()
    site.mailbox.put(Message())
    assert site.woken() == [1 - first]
    site.take(1 - first)
    assert site.mailbox.attention is CALM


def test_whoever_frees_a_key_without_taking_wakes_another_for_it() -> None:
    """Its thread ends in the middle of a message."""
    one, two = Message("a", 1), Message("a", 2)
    site = Site(2, one, two)
    assert [site.take(0), site.take(1)] == [one, IDLE]
    assert site.woken() == []
    site.let_go(0)
    assert site.woken() == [1]
    assert site.take(1) is two


def test_whoever_frees_a_key_and_takes_something_older_wakes_another_for_it() -> None:
    """Two keys were served by workers one of which has gone since."""
    items = [Message("a", 1), Message("b", 2), Message("a", 3), Message("b", 4)]
    site = Site(3, *items)
    assert [site.take(number) for number in range(3)] == [*items[:2], IDLE]
    site.let_go(1)
    assert site.woken() == [2]
    assert site.take(0) is items[2]
    assert site.woken() == [2]
    assert site.take(2) is items[3]


def test_whoever_comes_again_wakes_another_for_what_its_key_held_up() -> None:
    """Its key is free at that moment, and it takes something older itself."""
    items = [Message("a", 1), Message("b", 2), Message("a", 3), Message("b", 4), Message("a", 5)]
    site = Site(3, *items)
    assert [site.take(number) for number in range(3)] == [*items[:2], IDLE]
    site.let_go(0)
    assert site.woken() == [2]
    assert site.take(1) is items[2]
    assert site.take(2) is items[3]
    assert site.take(2) is IDLE
    assert site.take(1) is items[4]


def test_who_has_gone_is_not_woken() -> None:
    """Another one is, who sleeps."""
    site = Site(3)
    assert [site.take(0), site.take(2)] == [IDLE, IDLE]
    site.let_go(2)
    site.mailbox.put(Message())
    assert site.woken() == [0]


def swept(mailbox: Any, limit: int, gone: Callable[[Any], bool]) -> Set[Any]:
    """What comes out in a round, a few at a time; which comes to its end."""
    found: List[Any] = []
    passes, more = mailbox.backlog() // limit + len(mailbox._lanes) + 4, True
    while more:
        out, more = mailbox.sweep(limit, gone)
        assert len(out) <= limit
        found += out
        passes -= 1
        assert passes >= 0
    assert len(set(found)) == len(found)
    return set(found)


@pytest.mark.parametrize("limit", [1, 2, 3, 64])
def test_a_round_goes_through_the_lanes_and_what_was_never_looked_at(limit: int) -> None:
    """And comes to its end, although the keys of the lanes are busy; so does the next."""
    items = [Message(key, number) for number, key in enumerate("ababababab")]
    site = Site(3, *items)
    assert [site.take(number) for number in range(3)] == [*items[:2], IDLE]
    more = [Message("a" if number % 2 else None, 10 + number) for number in range(10)]
    for item in more:
        site.mailbox.put(item)
    for which in (0, 1):
        ended = {item for item in [*items[2:], *more] if item.number % 3 == which}
        for item in ended:
            item.completion = "ended"
        assert swept(site.mailbox, limit, lambda item: False) == ended
    left = [item for item in [*items[2:], *more] if item.number % 3 == 2]
    assert site.mailbox.backlog() == len(left)
    assert site.mailbox.emptied() == left


def test_what_is_swept_comes_out_of_the_lanes_too() -> None:
    """What has ended, or shall not be begun; what is left keeps its order."""
    items = [Message(key, number) for number, key in enumerate("aaabab")]
    site = Site(3, *items)
    assert [site.take(0), site.take(1), site.take(2)] == [items[0], items[3], IDLE]
    items[1].completion = "ended"
    assert swept(site.mailbox, 1, lambda item: item is items[5]) == {items[1], items[5]}
    assert site.mailbox.backlog() == 2
    assert [site.take(0), site.take(1)] == [items[2], IDLE]
    assert site.take(0) is items[4]
    assert site.mailbox.backlog() == 0


def test_all_can_be_taken_out_in_order_and_put_back() -> None:
    """From the lanes too; it is counted, and afterwards it is given as if nothing had been."""
    items = [Message(key, number) for number, key in enumerate(["a", "b", "b", "a", "a", "b"])]
    site = Site(3, *items)
    assert [site.take(number) for number in range(3)] == [*items[:2], IDLE]
    site.mailbox.put(Message(None, 6))
    assert site.mailbox.backlog() == 5
    taken = site.mailbox.emptied()
    assert [message.number for message in taken] == [2, 3, 4, 5, 6]
    assert site.mailbox.backlog() == len(site.mailbox.emptied()) == 0
    site.mailbox.items.extendleft(reversed(taken))
    assert site.take(2).number == 6
    assert site.take(0) is items[3]
    assert site.take(1) is items[2]


def test_who_has_found_nothing_and_is_not_parked_yet_is_not_woken() -> None:
    """It may be at something that takes long: the unpark is for one who sleeps."""
    site = Site(2)
    assert site.take(0) is IDLE
    busy = site.readers[1].worker
    assert site.mailbox.take(busy) is IDLE
    message = Message()
    site.mailbox.put(message)
    assert site.woken() == [0]
    assert site.take(0) is message
    site.mailbox.put(Message(number=2))
    assert not site.mailbox.idles(busy)
    assert site.take(1).number == 2


def test_an_unpark_for_nobody_is_for_the_first_worker() -> None:
    """Which may be parked before there are others."""
    site = Site(2)
    site.mailbox.unpark(None)
    assert site.woken() == [0]


class Crossed(Deque[Any]):
    """A deque in which something happens just after it was looked at, whatever was found."""

    then: Optional[Callable[[], None]] = None

    def popleft(self) -> Any:
        try:
            return super().popleft()
        finally:
            then, self.then = self.then, None
            if then is not None:
                then()


def test_what_is_put_just_after_the_last_look_is_not_missed() -> None:
    """The attention was up before that, and the worker counted as parked."""
    site = Site(2)
    items = site.mailbox.items = Crossed()
    message = Message()
    items.then = lambda: site.mailbox.put(message)
    assert site.take(1) is message


def test_what_is_put_just_after_something_was_found_is_not_missed() -> None:
    """Although it unparked the very worker that was looking."""
    first, second = Message(number=1), Message(number=2)
    site = Site(2)
    assert site.take(0) is IDLE
    items = site.mailbox.items = Crossed([first])
    items.then = lambda: site.mailbox.put(second)
    assert site.take(1) is first
    assert 0 in site.woken()
    assert site.take(0) is second


def test_a_worker_that_parks_anew_while_it_is_unparked_is_unparked_again() -> None:
    """By the next put: what is taken down after an unpark is the attention that was seen before."""
    site = Site(2)
    reader = site.readers[1]
    assert site.take(1) is IDLE
    quick = reader.worker.parker = CountingParker()
    first, second, got = Message(number=1), Message(number=2), []

    def unpark(_: None) -> None:
        got.append(site.take(1))
        got.append(site.take(1))
        reader.worker.parker = reader.parker

    quick.unpark = unpark  # type: ignore[method-assign]
    site.mailbox.put(first)
    assert got == [first, IDLE]
    site.mailbox.put(second)
    assert site.woken() == [1]
    assert site.take(1) is second


def test_a_worker_is_not_forgotten_if_the_unpark_is_cut_short() -> None:
    """The next put unparks it again."""
    site = Site(2)
    assert site.take(1) is IDLE
    parker = site.readers[1].parker

    def cut(_: None) -> None:
        raise KeyboardInterrupt

    site.readers[1].worker.parker = cracked = CountingParker()
    cracked.unpark = cut  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        site.mailbox.put(Message())
    site.readers[1].worker.parker = parker
    site.mailbox.put(Message())
    assert site.woken() == [1]


# -- keys --------------------------------------------------------------------------------------


class Part:
    """A user's key, which may be hashed and compared only while *door* is open."""

    door = False
    hashed = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        assert Part.door
        Part.hashed += 1
        return self.number % 2

    def __eq__(self, other: object) -> bool:
        assert Part.door
        return isinstance(other, Part) and self.number == other.number


def the(keys: Keys, number: int) -> Key:
    """With the door open."""
    Part.door = True
    try:
        return keys.intern(Part(number))
    finally:
        Part.door = False


def known(keys: Keys) -> List[Optional[Key]]:
    """What is in the table."""
    return [trace.reference() for trace in keys._known.values()]


def gone(reference: Callable[[], Any]) -> bool:
    """Whether the weakly referenced object is garbage."""
    if reference() is not None:
        gc.collect()
    return reference() is None


def test_equal_values_are_one_object() -> None:
    """While it lives."""
    keys = Keys()
    one = keys.intern(1)
    assert keys.intern(1.0) is keys.intern(True) is one
    assert keys.intern(("p", 1)) is not one
    part = the(keys, 5)
    assert the(keys, 5) is part
    assert part.value.number == 5
    assert repr(one) == "<ordering key 1>"


def test_unequal_values_are_two_although_their_hashes_are_equal() -> None:
    """As those of -1 and -2 are."""
    keys = Keys()
    assert hash(-1) == hash(-2)
    one, two = keys.intern(-1), keys.intern(-2)
    assert one is not two
    assert (keys.intern(-1), keys.intern(-2)) == (one, two)
    parts = [the(keys, number) for number in range(6)]
    assert len(set(parts)) == 6
    assert [the(keys, number) for number in range(6)] == parts


def test_what_is_unequal_to_itself_is_one_key_all_the_same() -> None:
    """As in a dict."""
    keys, nan = Keys(), float("nan")
    found = keys.intern(nan)
    assert keys.intern(nan) is found
    assert keys.intern(-nan) is not found


def test_each_table_has_its_own() -> None:
    """One for each dispatcher."""
    assert Keys().intern("a") is not Keys().intern("a")


def test_nothing_is_kept_when_the_last_user_is_gone() -> None:
    """The user's object is gone at once, and what stood for it in the table with the next call."""
    keys = Keys()
    user, message = the(keys, 1), Message(the(keys, 1))
    reference = weakref.ref(user.value)
    del user
    assert not gone(reference)
    del message
    assert gone(reference)
    stays = keys.intern("stays")
    assert known(keys) == [stays]
    assert not keys._gone


def test_one_that_comes_again_is_another_one() -> None:
    """Also before anything was cleared away."""
    keys = Keys()
    others = [the(keys, number) for number in (3, 5)]
    first = the(keys, 1)
    reference = weakref.ref(first)
    del first
    assert gone(reference)
    again = the(keys, 1)
    assert again.value.number == 1
    assert set(known(keys)) == {*others, again}


@pytest.mark.parametrize("value", [[], {}, ("a", []), {1}], ids=repr)
def test_what_cannot_be_hashed_is_refused(value: Any) -> None:
    """Naming the option and the type; nothing is left of it."""
    keys = Keys()
    with pytest.raises(
        TypeError, match=f"ordering_key must be hashable, not {type(value).__name__}"
    ):
        keys.intern(value)
    assert known(keys) == []


def test_what_comparing_raises_comes_out_and_leaves_nothing() -> None:
    """It is the user's error, in the user's call."""

    class Unequal:
        def __hash__(self) -> int:
            return hash("a")

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not comparable")

    keys = Keys()
    stays = keys.intern("a")
    with pytest.raises(RuntimeError, match="not comparable"):
        keys.intern(Unequal())
    assert known(keys) == [stays]
    assert keys.intern("a") is stays


def test_one_that_goes_while_it_is_compared_is_not_given() -> None:
    """There is one all the same, which nobody had before."""
    held: List[Key] = []

    class Last:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            held.clear()
            return True

    keys = Keys()
    held.append(keys.intern(Last()))
    reference = weakref.ref(held[0])
    found: Any = keys.intern(Last())
    assert isinstance(found, Key)
    assert gone(reference)
    assert found in known(keys)


def test_a_users_key_is_hashed_once_for_each_call_and_never_else() -> None:
    """Nor compared: neither in a mailbox, nor when it goes, nor when that is cleared away."""
    Part.hashed = 0
    keys = Keys()
    items = [Message(the(keys, number), number) for number in (1, 3, 1, 3, 5, 1)]
    assert Part.hashed == 6
    site = Site(4, *items)
    assert [site.take(0), site.take(1), site.take(2)] == [items[0], items[1], items[4]]
    assert site.take(0) is items[2]
    assert len({item.key for item in items}) == 3
    site.mailbox.emptied()
    site.let_go(1)
    reference = weakref.ref(items[1].key)
    items.clear()
    del site
    gc.collect()
    assert reference() is None
    stays = keys.intern("stays")
    assert known(keys) == [stays]
    assert Part.hashed == 6


@settings(max_examples=100)
@given(
    steps=st.lists(st.tuples(st.sampled_from([-1, -2, 1, 1.0, "a"]), st.booleans()), max_size=30)
)
def test_keys_against_a_list(steps: List[Any]) -> None:
    """The one that somebody holds, or another one if nobody does."""
    keys = Keys()
    held: List[Key] = []
    for value, drops in steps:
        found = keys.intern(value)
        assert found.value == value
        same = [key for key in held if key.value == value]
        assert same == [found] * len(same)
        expected = {*held, found}
        assert {key for key in known(keys) if key is not None} == expected
        held = [key for key in held if key.value != value] if drops else [*held, found]
        del found, same, expected


def test_those_that_share_a_key_wait_only_for_one_that_does_not() -> None:
    """And that for all of them; those behind it wait for it."""
    mailbox = KeyedMailbox()
    first, second, third = (Reader() for _ in range(3))
    messages = [Message("k", number) for number in range(5)]
    one, two, alone, four, five = messages
    for each in messages:
        each.shares = each is not alone
        mailbox.put(each)
    assert mailbox.take(first.worker) is one
    assert mailbox.take(second.worker) is two
    assert mailbox.take(third.worker) is IDLE
    mailbox.let_go(first.worker)
    assert mailbox.take(third.worker) is IDLE
    mailbox.let_go(second.worker)
    assert mailbox.take(first.worker) is alone
    assert mailbox.take(second.worker) is IDLE
    mailbox.let_go(first.worker)
    assert mailbox.take(second.worker) is four
    assert mailbox.take(third.worker) is five
    for each in (second, third):
        mailbox.let_go(each.worker)
    later = Message("k", 5)
    mailbox.put(later)
    assert mailbox.take(first.worker) is later
    behind = Message("k", 6)
    behind.shares = True
    mailbox.put(behind)
    assert mailbox.take(second.worker) is IDLE
