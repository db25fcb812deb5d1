"""The mailbox with several readers, against a model of it; then the keys that it keeps apart.

The model is the list of what was put and not given, and the set of keys that hands are busy with.
It says what a hand is given, in both directions; and after every step, that nobody sleeps beside
something to do. The hands are driven as a producer's threads would drive them, one at a time; their
bells only count. A sender may stop for a while between any two of its steps, as threads do.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Sequence, Set, TypeVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ate_dispatcher._core.member import Hand
from ate_dispatcher._core.records import IDLE, STOP
from ate_dispatcher._delivery.keyed_mailbox import Rack, key_of
from ate_dispatcher._delivery.mailbox import CALM, DEAD, SWEEP
from ate_dispatcher._delivery.ordering_keys import Key, Keys

T = TypeVar("T")


class CountingBell:
    """Two rings may be one; whoever parks would wake if there is any."""

    def __init__(self) -> None:
        self.rings = 0

    def ring(self, _: None) -> None:
        self.rings += 1


class Extra:
    """What a request has beyond the usual."""

    def __init__(self, key: Any) -> None:
        self.key = key


class Message:
    """All that the rack wants to know of a request."""

    desk = "some desk"

    def __init__(self, key: Any = None, number: int = 0) -> None:
        self.key = key
        self.extra = None if key is None else Extra(key)
        self.number = number
        self.completion: Any = None

    def __repr__(self) -> str:
        return f"<{self.number}{self.key or ''}>"


class Reader:
    """A hand, and what its thread is at."""

    def __init__(self) -> None:
        self.bell = CountingBell()
        nobody: Any = None
        self.hand = Hand(nobody, self.bell)
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
    def rung(self) -> bool:
        return self.bell.rings > 0


class Model:
    """No cleverness."""

    def __init__(self) -> None:
        #: In the order of putting. What has ended stays until the rack is emptied.
        self.waiting: List[Any] = []
        self.busy: Set[Any] = set()
        self.closed = False

    def open(self) -> List[Any]:
        return [message for message in self.waiting if message.completion is None]

    def may_begin(self, message: Message) -> bool:
        return message.completion is None and message.key not in self.busy

    def next(self) -> List[Any]:
        """What may be given now: one thing, mostly."""
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


ANYTHING = st.integers(0, 11)
"""Picks one of however many there are."""
KEY = st.sampled_from(["a", "b", None, "b", "a", "c"])
GO_ON = st.integers(0, 7)
DEEDS = st.sampled_from(["dies", "sends", "ends", "dies", "is rung", "is husked"])
WORK = st.lists(
    st.one_of(KEY, KEY, GO_ON, GO_ON, st.tuples(DEEDS, ANYTHING)), min_size=4, max_size=12
)
"""Keys of messages to put; choices of who goes on; what else may happen, to whom."""


class Hands(RuleBasedStateMachine):
    """A rack and its hands beside the model; most happens in :meth:`work`."""

    def __init__(self) -> None:
        super().__init__()
        self.rack = Rack()
        self.model = Model()
        self.readers: List[Reader] = []
        self.senders: List[Iterator[None]] = []
        self.closed_early = False
        self.count = 0
        #: The numbers of what was served of each key.
        self.served: Dict[Any, List[int]] = {}

    @initialize(readers=st.integers(2, 5), late=st.integers(0, 1))
    def begin(self, readers: int, late: int) -> None:
        self.readers = [Reader() for _ in range(readers)]
        self.rack.hang(self.readers[0].bell)
        for reader in self.readers[late:]:
            self.takes(reader)

    def those(self, fits: Callable[[Reader], Any]) -> List[Reader]:
        return [reader for reader in self.readers if fits(reader)]

    # -- what happens ---------------------------------------------------------------------------

    def takes(self, reader: Reader) -> None:
        before = self.rings()
        expected = self.model.next()
        got = self.rack.take(reader.hand)
        assert any(got is one for one in expected), (got, expected)
        reader.got = got
        if got is STOP:
            self.model.closed = reader.over = True
            # Whoever sleeps shall hear of it.
            assert all(each.rung for each in self.those(lambda r: r.parked))
        elif got is IDLE:
            # What has ended is not kept, unless it waits for a key.
            left = self.model.waiting
            end = left.index(STOP) if STOP in left else len(left)
            held_up = [each for each in left[:end] if each.key in self.model.busy]
            assert self.rack.backlog() <= len(held_up) + len(left[end:])
        else:
            assert self.rings() <= before + 1
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
        key = reader.got.key
        reader.got = None
        if key is not None:
            self.model.busy.remove(key)
            self.rack.done(key)

    def rings(self) -> int:
        return sum(reader.bell.rings for reader in self.readers)

    # -- hands and senders ----------------------------------------------------------------------

    @rule(work=WORK)
    def work(self, work: List[Any]) -> None:
        for what in work:
            self.sleepers_are_rung()
            if isinstance(what, tuple):
                self.does(*what)
            elif isinstance(what, int):
                self.one_goes_on(what)
            else:
                before = self.rings()
                self.rack.put(self.message(what))
                assert self.rings() <= before + 1
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
        return not reader.over and (not reader.parked or reader.rung)

    def goes_on(self, who: Any) -> None:
        """Who was rung wakes up, who serves is done, who is new begins, who sends goes on."""
        if not isinstance(who, Reader):
            if next(who, self) is self:
                self.senders.remove(who)
            return
        if who.serves:
            self.is_done(who)
        elif who.parked:
            who.bell.rings = 0
        self.takes(who)

    def does(self, what: str, choice: int) -> None:
        reader, ends = one_of(self.readers, choice), self.model.open()
        if what == "dies" and reader.serves:
            # In the middle of that; another one comes in its place.
            self.is_done(reader)
            reader.over = True
            self.rack.look_round()
            self.readers.append(Reader())
        elif what == "is rung" and reader.parked:
            # For something else, but it looks here too.
            self.takes(reader)
        elif what == "is rung" and reader.serves:
            # It has waited for that, and a ring of ours was lost.
            reader.bell.rings = 0
        elif what == "sends":
            # The message is appended, the rest comes later.
            self.senders.append(self.putting(self.message("abc"[choice % 3])))
            next(self.senders[-1])
        elif what == "ends" and ends and one_of(ends, choice) is not STOP:
            one_of(ends, choice).completion = "ended"
        elif what == "is husked" and not self.rack.alert:
            # Something has ended: with the next message the rack shall be swept.
            self.rack.alert = SWEEP

    def putting(self, message: Message) -> Iterator[None]:
        self.rack.items.append(message)
        yield
        alert: Any = self.rack.alert
        if alert.__class__ is list and alert:
            yield
            self.rack.ring(None)
            yield
            alert.clear()

    # -- the end --------------------------------------------------------------------------------

    @precondition(lambda self: self.count > 25)
    @rule()
    def is_stopped(self) -> None:
        self.model.waiting.append(STOP)
        self.rack.put(STOP)

    @precondition(lambda self: self.count > 50)
    @rule()
    def is_closed(self) -> None:
        """The producer's own thread has ended."""
        self.model.closed = self.closed_early = True
        self.rack.close()

    # -- others, inside the section -------------------------------------------------------------

    @precondition(lambda self: self.model.waiting)
    @rule(how=st.sampled_from(["as it was", "as it was", "swept", "withdrawn"]), choice=ANYTHING)
    def all_is_taken_out_and_put_back(self, how: str, choice: int) -> None:
        """Without what has ended, or what is withdrawn; then whoever looked meanwhile is woken."""
        count = self.rack.backlog()
        taken = self.rack.emptied()
        assert len(taken) == count
        assert self.rack.backlog() == 0
        # In the order of putting, and nothing that is open is missing.
        assert taken == [message for message in self.model.waiting if message in taken]
        assert [each for each in taken if is_open(each)] == list(
            filter(is_open, self.model.waiting)
        )
        if how == "swept":
            taken = [message for message in taken if is_open(message)]
        elif how == "withdrawn" and taken and one_of(taken, choice) is not STOP:
            taken.remove(one_of(taken, choice))
        self.rack.items.extendleft(reversed(taken))
        self.model.waiting = taken
        if how == "swept" and self.rack.alert is SWEEP:
            self.rack.alert = CALM
        if how != "as it was" and taken:
            self.rack.attend()

    # -- always ---------------------------------------------------------------------------------

    @invariant()
    def sleepers_are_rung(self) -> None:
        """If there is something to do for them, and no sender is about to ring."""
        sleeping = self.those(lambda r: r.parked)
        if sleeping and IDLE not in self.model.next() and not self.senders:
            assert any(reader.rung for reader in sleeping)

    @invariant()
    def each_key_is_with_one_hand(self) -> None:
        serving = {reader.got.key: reader.hand for reader in self.those(lambda r: r.serves)}
        for key in "abc":
            assert self.rack.busy_with(key) is serving.get(key)

    @invariant()
    def the_backlog_is_what_waits(self) -> None:
        waiting = self.model.waiting
        assert len(list(filter(is_open, waiting))) <= self.rack.backlog() <= len(waiting)

    def teardown(self) -> None:
        """In the end all is served that was put before a STOP, and everybody goes home."""
        self.is_stopped()
        while self.senders:
            self.goes_on(self.senders[0])
        while self.those(self.can_go_on):
            self.goes_on(self.those(self.can_go_on)[-1])
        assert self.those(lambda r: not r.over) == []
        if not self.closed_early:
            left = self.model.waiting
            assert [each for each in left[: left.index(STOP)] if is_open(each)] == []


def is_open(message: Any) -> bool:
    """Whether it may not be forgotten."""
    return message is STOP or message.completion is None


def one_of(some: Sequence[T], choice: int) -> T:
    """Always one of them, so that no example is thrown away."""
    return some[choice % len(some)]


TestTheRackAgainstItsModel = Hands.TestCase
TestTheRackAgainstItsModel.settings = settings(
    max_examples=120,
    stateful_step_count=28,
    # To explain a failure takes longer than to find it, and longer than a test may take.
    phases=[phase for phase in settings().phases if phase is not Phase.explain],
)


# -- examples ----------------------------------------------------------------------------------


class Desk:
    """A rack with some hands; *items* are put into it."""

    def __init__(self, hands: int, *items: Any) -> None:
        self.rack = Rack()
        self.readers = [Reader() for _ in range(hands)]
        self.rack.hang(self.readers[0].bell)
        for item in items:
            self.rack.put(item)

    def take(self, number: int) -> Any:
        """What that hand gets; a ring that it had is used up."""
        self.readers[number].bell.rings = 0
        return self.rack.take(self.readers[number].hand)

    def done(self, message: Any, number: int) -> Any:
        """That hand is done with *message*, and gets the next."""
        self.rack.done(key_of(message))
        return self.take(number)

    def woken(self) -> List[int]:
        """Who was rung and has not taken anything since."""
        return [number for number, reader in enumerate(self.readers) if reader.rung]


def test_messages_without_keys_are_given_in_order() -> None:
    """To whoever comes, however many hands are busy."""
    items = [Message(number=number) for number in range(3)]
    desk = Desk(4, *items)
    assert [desk.take(number) for number in range(4)] == [*items, IDLE]


def test_a_message_waits_while_another_of_its_key_is_served() -> None:
    """Younger ones of other keys pass it; once its key is free it is the oldest again."""
    one, two, other, last = Message("a", 1), Message("a", 2), Message("b", 3), Message(None, 4)
    desk = Desk(3, one, two, other, last)
    assert [desk.take(0), desk.take(1)] == [one, other]
    assert desk.done(one, 0) is two
    assert desk.done(other, 1) is last


def test_the_oldest_of_several_shelves_comes_first() -> None:
    """Whichever key it has, and in whatever order the keys became free."""
    items = [Message(key, number) for number, key in enumerate("abbaba")]
    desk = Desk(3, *items)
    assert [desk.take(number) for number in range(3)] == [*items[:2], IDLE]
    for one in items[:2]:
        desk.rack.done(one.key)
    assert desk.take(0) is items[2]
    assert desk.done(items[2], 0) is items[3]
    assert [desk.take(1), desk.take(2)] == [items[4], IDLE]
    assert desk.done(items[3], 0) is items[5]


def test_a_shelf_of_what_has_ended_does_not_hide_another() -> None:
    """Nor what was never looked at."""
    items = [Message(key, number) for number, key in enumerate(["a", "b", "a", "b", None])]
    desk = Desk(2, *items[:4])
    assert [desk.take(0), desk.take(1)] == items[:2]
    assert desk.rack.take(Reader().hand) is IDLE
    items[2].completion = "ended"
    desk.rack.put(items[4])
    for one in items[:2]:
        desk.rack.done(one.key)
    assert [desk.take(0), desk.take(1)] == items[3:]


def test_it_is_known_who_is_busy_with_a_key() -> None:
    """Until that is done with it."""
    one = Message("a")
    desk = Desk(2, one, Message("a"))
    assert desk.rack.busy_with("a") is None
    assert [desk.take(1), desk.take(0)] == [one, IDLE]
    assert desk.rack.busy_with("a") is desk.readers[1].hand
    desk.rack.done("a")
    assert desk.rack.busy_with("a") is None
    desk.take(0)
    assert desk.rack.busy_with("a") is desk.readers[0].hand


def test_what_has_ended_is_not_given() -> None:
    """Neither from a shelf nor from what was never looked at; and it is not kept."""
    first, shelved, other, after = (Message("a", n) for n in range(4))
    plain = Message(None, 4)
    desk = Desk(2, first, shelved, other, after, plain)
    assert [desk.take(0), desk.take(1)] == [first, plain]
    for ended in (shelved, other):
        ended.completion = "ended"
    assert desk.rack.backlog() == 3
    assert desk.done(first, 0) is after
    assert desk.rack.backlog() == 0
    desk.rack.put(shelved)
    assert desk.done(after, 0) is IDLE
    assert desk.rack.backlog() == 0


def test_a_stop_comes_when_nothing_older_is_left() -> None:
    """What is on a shelf is older; what is being served does not hold it up."""
    one, two = Message("a", 1), Message("a", 2)
    desk = Desk(3, one, two, STOP)
    assert [desk.take(0), desk.take(1)] == [one, IDLE]
    assert desk.done(one, 0) is two
    assert desk.woken() == [1]
    assert desk.take(1) is STOP
    assert [desk.take(2), desk.done(two, 0)] == [STOP, STOP]


def test_all_who_sleep_hear_of_a_stop() -> None:
    """And who comes later; what is put behind it is not begun."""
    desk = Desk(4)
    for number in range(3):
        assert desk.take(number) is IDLE
    desk.rack.put(STOP)
    (first,) = desk.woken()
    desk.rack.put(Message())
    assert desk.take(first) is STOP
    assert sorted([first, *desk.woken()]) == [0, 1, 2]
    assert [desk.take(number) for number in range(4)] == [STOP] * 4
    assert desk.rack.backlog() == 2


def test_a_rack_that_is_closed_gives_nothing() -> None:
    """Its producer's thread has ended, without a STOP; an alert that says so stays."""
    desk = Desk(2)
    assert desk.take(1) is IDLE
    desk.rack.put(Message())
    desk.rack.alert = DEAD
    desk.rack.close()
    assert desk.rack.alert is DEAD
    assert [desk.take(0), desk.take(1)] == [STOP, STOP]


def test_one_ring_wakes_one_hand_and_that_the_next() -> None:
    """If there is more than it takes; nobody is woken who has nothing to do."""
    desk = Desk(3)
    for number in range(3):
        assert desk.take(number) is IDLE
    items = [Message(number=number) for number in range(2)]
    for item in items:
        desk.rack.put(item)
    assert sum(reader.bell.rings for reader in desk.readers) == 1
    for item in items:
        (woken,) = desk.woken()
        assert desk.take(woken) is item
    assert desk.woken() == []


def test_who_sleeps_is_woken_while_others_are_busy() -> None:
    """The alert is up again after each message that was taken; down when nobody sleeps."""
    desk = Desk(2)
    assert [desk.take(0), desk.take(1)] == [IDLE, IDLE]
    desk.rack.put(Message())
    (first,) = desk.woken()
    desk.take(first)
    assert desk.rack.parked()
    desk.rack.put(Message())
    assert desk.woken() == [1 - first]
    desk.take(1 - first)
    assert desk.rack.alert is CALM


def test_whoever_frees_a_key_without_taking_wakes_another_for_it() -> None:
    """Its thread ends in the middle of a message."""
    one, two = Message("a", 1), Message("a", 2)
    desk = Desk(2, one, two)
    assert [desk.take(0), desk.take(1)] == [one, IDLE]
    desk.rack.look_round()
    assert desk.woken() == []
    desk.rack.done("a")
    desk.rack.look_round()
    assert desk.woken() == [1]
    assert desk.take(1) is two


def test_whoever_frees_a_key_and_takes_something_older_wakes_another_for_it() -> None:
    """Two keys were served by hands one of which has gone since."""
    items = [Message("a", 1), Message("b", 2), Message("a", 3), Message("b", 4)]
    desk = Desk(3, *items)
    assert [desk.take(number) for number in range(3)] == [*items[:2], IDLE]
    desk.rack.done("b")
    assert desk.done(items[0], 0) is items[2]
    assert desk.woken() == [2]
    assert desk.take(2) is items[3]


def test_all_can_be_taken_out_in_order_and_put_back() -> None:
    """From the shelves too; it is counted, and afterwards it is given as if nothing had been."""
    items = [Message(key, number) for number, key in enumerate(["a", "b", "b", "a", "a", "b"])]
    desk = Desk(3, *items)
    assert [desk.take(number) for number in range(3)] == [*items[:2], IDLE]
    desk.rack.put(Message(None, 6))
    assert desk.rack.backlog() == 5
    taken = desk.rack.emptied()
    assert [message.number for message in taken] == [2, 3, 4, 5, 6]
    assert desk.rack.backlog() == len(desk.rack.emptied()) == 0
    desk.rack.items.extendleft(reversed(taken))
    assert desk.take(2).number == 6
    assert desk.done(items[0], 0) is items[3]
    assert desk.done(items[1], 1) is items[2]


def test_a_ring_for_nobody_is_for_the_first_hand() -> None:
    """Which may be parked before there are others."""
    desk = Desk(2)
    desk.rack.ring(None)
    assert desk.woken() == [0]


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
    """The alert was up before that, and the hand counted as parked."""
    desk = Desk(2)
    items = desk.rack.items = Crossed()
    message = Message()
    items.then = lambda: desk.rack.put(message)
    assert desk.take(1) is IDLE
    assert desk.woken() == [1]
    assert desk.take(1) is message


def test_what_is_put_just_after_something_was_found_is_not_missed() -> None:
    """Although it rang the very hand that was looking."""
    first, second = Message(number=1), Message(number=2)
    desk = Desk(2)
    assert desk.take(0) is IDLE
    items = desk.rack.items = Crossed([first])
    items.then = lambda: desk.rack.put(second)
    assert desk.take(1) is first
    assert 0 in desk.woken()
    assert desk.take(0) is second


def test_a_hand_that_parks_anew_while_it_is_rung_is_rung_again() -> None:
    """By the next put: what is taken down after a ring is the alert that was seen before."""
    desk = Desk(2)
    reader = desk.readers[1]
    assert desk.take(1) is IDLE
    quick = reader.hand.bell = CountingBell()
    first, second, got = Message(number=1), Message(number=2), []

    def ring(_: None) -> None:
        got.append(desk.take(1))
        got.append(desk.take(1))
        reader.hand.bell = reader.bell

    quick.ring = ring  # type: ignore[method-assign]
    desk.rack.put(first)
    assert got == [first, IDLE]
    desk.rack.put(second)
    assert desk.woken() == [1]
    assert desk.take(1) is second


def test_a_hand_is_not_forgotten_if_the_ring_is_cut_short() -> None:
    """The next put rings it again."""
    desk = Desk(2)
    assert desk.take(1) is IDLE
    bell = desk.readers[1].bell

    def cut(_: None) -> None:
        raise KeyboardInterrupt

    desk.readers[1].hand.bell = cracked = CountingBell()
    cracked.ring = cut  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        desk.rack.put(Message())
    desk.readers[1].hand.bell = bell
    desk.rack.put(Message())
    assert desk.woken() == [1]


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
        return keys.the(Part(number))
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
    one = keys.the(1)
    assert keys.the(1.0) is keys.the(True) is one
    assert keys.the(("p", 1)) is not one
    part = the(keys, 5)
    assert the(keys, 5) is part
    assert part.value.number == 5
    assert repr(one) == "<ordering key 1>"


def test_unequal_values_are_two_although_their_hashes_are_equal() -> None:
    """As those of -1 and -2 are."""
    keys = Keys()
    assert hash(-1) == hash(-2)
    one, two = keys.the(-1), keys.the(-2)
    assert one is not two
    assert (keys.the(-1), keys.the(-2)) == (one, two)
    parts = [the(keys, number) for number in range(6)]
    assert len(set(parts)) == 6
    assert [the(keys, number) for number in range(6)] == parts


def test_what_is_unequal_to_itself_is_one_key_all_the_same() -> None:
    """As in a dict."""
    keys, nan = Keys(), float("nan")
    found = keys.the(nan)
    assert keys.the(nan) is found
    assert keys.the(-nan) is not found


def test_each_table_has_its_own() -> None:
    """One for each dispatcher."""
    assert Keys().the("a") is not Keys().the("a")


def test_nothing_is_kept_when_the_last_user_is_gone() -> None:
    """The user's object is gone at once, and what stood for it in the table with the next call."""
    keys = Keys()
    user, message = the(keys, 1), Message(the(keys, 1))
    reference = weakref.ref(user.value)
    del user
    assert not gone(reference)
    del message
    assert gone(reference)
    stays = keys.the("stays")
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
        keys.the(value)
    assert known(keys) == []


def test_what_comparing_raises_comes_out_and_leaves_nothing() -> None:
    """It is the user's error, in the user's call."""

    class Unequal:
        def __hash__(self) -> int:
            return hash("a")

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not comparable")

    keys = Keys()
    stays = keys.the("a")
    with pytest.raises(RuntimeError, match="not comparable"):
        keys.the(Unequal())
    assert known(keys) == [stays]
    assert keys.the("a") is stays


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
    held.append(keys.the(Last()))
    reference = weakref.ref(held[0])
    found: Any = keys.the(Last())
    assert isinstance(found, Key)
    assert gone(reference)
    assert found in known(keys)


def test_a_users_key_is_hashed_once_for_each_call_and_never_else() -> None:
    """Nor compared: neither in a rack, nor when it goes, nor when that is cleared away."""
    Part.hashed = 0
    keys = Keys()
    items = [Message(the(keys, number), number) for number in (1, 3, 1, 3, 5, 1)]
    assert Part.hashed == 6
    desk = Desk(4, *items)
    assert [desk.take(0), desk.take(1), desk.take(2)] == [items[0], items[1], items[4]]
    assert desk.done(items[0], 0) is items[2]
    assert len({key_of(item) for item in items}) == 3
    desk.rack.emptied()
    desk.rack.done(key_of(items[1]))
    reference = weakref.ref(key_of(items[1]))
    items.clear()
    del desk
    gc.collect()
    assert reference() is None
    stays = keys.the("stays")
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
        found = keys.the(value)
        assert found.value == value
        same = [key for key in held if key.value == value]
        assert same == [found] * len(same)
        expected = {*held, found}
        assert {key for key in known(keys) if key is not None} == expected
        held = [key for key in held if key.value != value] if drops else [*held, found]
        del found, same, expected
