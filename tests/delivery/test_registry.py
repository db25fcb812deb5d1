"""Who is registered for what, against a model of it; and what is left behind: nothing.

The model is a dict of lists, and for each producer the set of those who have disabled it. After
every step all rosters say what it says, whoever looks at them, and however they come by them.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any, Dict, Hashable, List, Optional, Sequence, TypeVar

import inside
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from virtual import World, world

from ate_dispatcher._delivery.channel import Channel, Registration, Roster, Side, is_disabled
from ate_dispatcher._delivery.mailbox import Mailbox
from ate_dispatcher._delivery.registry import Registry
from ate_dispatcher.testing import ScriptedProducer

__all__ = ["world"]


def test_topics_nobody_is_registered_for_leave_nothing_behind(world: World) -> None:
    """Neither asked for in vain nor deregistered again."""
    producer = world.producer(0)
    for n in range(100):
        world.send(topic=f"unknown {n}")
        world.dispatcher.register_result_producer(producer, f"for a while {n}")
        world.send(topic=f"for a while {n}")
        world.dispatcher.deregister_result_producer(producer, f"for a while {n}")
        world.dispatcher.deregister_result_producer(producer, f"never {n}")
    world.clock.advance(1)
    registry = inside.registry_of(world.dispatcher)
    assert list(registry.channels) == ["t"]
    # What stood for the channels goes with the next call.
    assert registry.find("unknown") is None
    assert len(registry._living.all()) == 1
    assert not registry._living._gone
    assert list(registry._where) == [id(producer)]


def test_a_disabled_producer_that_was_dropped_is_let_go(world: World) -> None:
    """Nobody keeps it, and another at its address is enabled."""
    site = ScriptedProducer()
    world.dispatcher.disable(site)
    world.clock.settle()
    reference = weakref.ref(site)
    del site
    gc.collect()
    assert reference() is None
    assert inside.registry_of(world.dispatcher).disabled == {}


# -- against a model -------------------------------------------------------------------------------

T = TypeVar("T")

SIDES = ("producers", "listeners")
ANYTHING = st.integers(0, 11)
"""Picks one of however many there are."""
TOPIC = st.sampled_from(["a", "b", 1, 1.0, ("c", 2), -1, -2])
"""Two of them are equal, and two have one hash."""
SIDE = st.sampled_from(["producers", "producers", "listeners"])
BY = st.sampled_from(["me", "you", 3])


class Member:
    """What stands for a producer in rosters, and refers to it."""

    def __init__(self, producer: Any) -> None:
        self.producer = producer


class Participant:
    """Of which the registry wants to know nothing: it may compare as it likes."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, number: int) -> None:
        self.number = number
        self.mailbox = Mailbox()

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    def __repr__(self) -> str:
        return f"<{self.number}>"

    @property
    def registration(self) -> Registration:
        return Registration(self, Member(self), self.mailbox, self.number % 2 == 1)


class Register(RuleBasedStateMachine):
    """The registry beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.people = [Participant(number) for number in range(6)]
        self.model: Dict[Hashable, Dict[str, List[Participant]]] = {}
        self.reasons: Dict[int, set] = {}
        #: Channels that requests refer to, by topic.
        self.held: Dict[Hashable, Channel] = {}
        self.count = len(self.people)

    def teardown(self) -> None:
        """Everybody is deregistered, and every request gone: nothing is left of it."""
        self.all_are_discarded()
        registry = self.registry
        assert registry.channels == {}
        assert registry._where == {}
        self.held.clear()
        people = [weakref.ref(who) for who in self.people]
        self.people.clear()
        self.model.clear()
        assert all(map(gone, people))
        assert registry.disabled == {}
        assert registry.find("unknown") is None
        for living in (registry._living, registry._left):
            assert living.all() == []
            assert not any(living._buckets.values())
            assert not living._gone

    def all_are_discarded(self) -> None:
        for topic in list(self.model):
            for side in SIDES:
                for who in list(self.model.get(topic, {}).get(side, ())):
                    self.is_discarded(topic, side, who)
        assert self.model == {}

    # -- what happens ---------------------------------------------------------------------------

    @rule(topic=TOPIC, side=SIDE, choice=ANYTHING)
    def add(self, topic: Hashable, side: str, choice: int) -> None:
        """Perhaps once more, which changes nothing, or after all have gone."""
        who = one_of(self.people, choice)
        held = self.held.get(topic)
        self.registry.add(topic, side, who.registration)
        sides = self.model.setdefault(topic, {each: [] for each in SIDES})
        if not is_in(who, sides[side]):
            sides[side].append(who)
        # Whoever comes back is told of what was asked before.
        assert held is None or self.registry.find(topic) is held

    @rule(topic=TOPIC, side=SIDE, choice=ANYTHING)
    def discard(self, topic: Hashable, side: str, choice: int) -> None:
        """Perhaps once more, or for nothing."""
        self.is_discarded(topic, side, one_of(self.people, choice))

    def is_discarded(self, topic: Hashable, side: str, who: Participant) -> None:
        self.registry.discard(topic, side, who)
        sides = self.model.get(topic)
        if sides is not None:
            sides[side][:] = [each for each in sides[side] if each is not who]
            if not any(sides.values()):
                del self.model[topic]

    @precondition(lambda self: self.model)
    @rule(choice=ANYTHING)
    def one_of_them_goes(self, choice: int) -> None:
        """For good: nobody keeps it."""
        number = choice % len(self.people)
        who = self.people[number]
        for topic in list(self.model):
            for side in SIDES:
                self.is_discarded(topic, side, who)
        self.reasons.pop(id(who), None)
        reference = weakref.ref(who)
        key = id(who)
        del who
        self.people[number] = Participant(self.count)
        self.count += 1
        assert gone(reference)
        assert key not in self.registry.disabled or is_in_use(key, self.people)

    @rule(choice=ANYTHING, by=BY)
    def disable(self, choice: int, by: Hashable) -> None:
        who = one_of(self.people, choice)
        self.registry.disable(who, by)
        self.reasons.setdefault(id(who), set()).add(by)

    @rule(choice=ANYTHING, by=st.one_of(BY, BY, st.none()))
    def enable(self, choice: int, by: Optional[Hashable]) -> None:
        """One takes back its word; None speaks for all."""
        who = one_of(self.people, choice)
        self.registry.enable(who, by)
        if by is None:
            self.reasons.pop(id(who), None)
        else:
            self.reasons.setdefault(id(who), set()).discard(by)

    @precondition(lambda self: self.model)
    @rule(choice=ANYTHING)
    def ask(self, choice: int) -> None:
        """A request refers to a channel; while it does the topic is not forgotten."""
        topic = one_of(list(self.model), choice)
        channel = self.registry.find(topic)
        assert channel is not None
        self.held[topic] = channel
        assert channel.asked().made_for is channel.producers.version

    @precondition(lambda self: self.held)
    @rule(choice=ANYTHING)
    def answer(self, choice: int) -> None:
        del self.held[one_of(list(self.held), choice)]

    # -- always ---------------------------------------------------------------------------------

    @invariant()
    def it_knows_who_is_there(self) -> None:
        registry = self.registry
        assert list(registry.channels) == list(self.model)
        for topic in ("a", "b", 1, ("c", 2), -1, -2):
            channel = registry.find(topic)
            if topic in self.model or topic in self.held:
                assert channel is not None
                assert channel.topic == topic
            else:
                assert channel is None
        for side in SIDES:
            found: List[Participant] = []
            for sides in self.model.values():
                found += [who for who in sides[side] if not is_in(who, found)]
            assert list(map(id, registry.participants(side))) == list(map(id, found))
        producers = {id(who): who for sides in self.model.values() for who in sides["producers"]}
        assert registry._where.keys() == producers.keys()
        for key, who in producers.items():
            there = [t for t, sides in self.model.items() if is_in(who, sides["producers"])]
            channels = [registry.channels[topic] for topic in there]
            assert registry._where[key].keys() == {id(channel) for channel in channels}

    @invariant()
    def all_rosters_are_right(self) -> None:
        """Those that senders use without another look, too."""
        for topic, channel in {**self.held, **self.registry.channels}.items():
            sides = self.model.get(topic, {})
            for name in SIDES:
                side = getattr(channel, name)
                there = sides.get(name, [])
                if side.roster.version is side.version:
                    self.check(side.roster, there, name)
                self.check(side.current(), there, name)
                assert side.roster is side.current()
                assert side.roster.made_for is side.version
                assert side.roster.version in (None, side.version)
                assert bool(side) == bool(there)

    def check(self, roster: Roster, there: List[Participant], side: str) -> None:
        off = [who for who in there if side == "producers" and self.reasons.get(id(who))]
        on = [who for who in there if not is_in(who, off)]
        assert [id(member.producer) for member in roster.members] == list(map(id, on))
        assert [id(member.producer) for member in roster.disabled] == list(map(id, off))
        # Such a roster is no shortcut: each send looks twice.
        assert (roster.version is None) == bool(off)
        assert roster.size == len(on)
        assert roster.heeding == any(who.number % 2 for who in on)
        outlet = roster.first
        for who in on:
            assert outlet is not None
            assert outlet.mailbox is who.mailbox
            assert outlet.attributes is who.__dict__
            outlet.append("news")
            assert who.mailbox.items.pop() == "news"
            outlet = outlet.next
        assert outlet is None

    @invariant()
    def it_is_known_who_is_disabled(self) -> None:
        for who in self.people:
            assert is_disabled(self.registry.disabled, who) == bool(self.reasons.get(id(who)))


def gone(reference: Any) -> bool:
    """Whether the weakly referenced object is garbage."""
    if reference() is not None:
        gc.collect()
    return reference() is None


def is_in(who: Any, some: Sequence[Any]) -> bool:
    """By identity."""
    return any(each is who for each in some)


def is_in_use(key: int, people: Sequence[Any]) -> bool:
    """Whether one that came later has that address."""
    return any(id(each) == key for each in people)


def one_of(some: Sequence[T], choice: int) -> T:
    """Always one of them, so that no example is thrown away."""
    return some[choice % len(some)]


TestTheRegistryAgainstItsModel = pytest.mark.thorough(Register.TestCase)
TestTheRegistryAgainstItsModel.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    # To explain a failure takes longer than to find it, and longer than a test may take.
    phases=[phase for phase in settings().phases if phase is not Phase.explain],
)


# -- examples ----------------------------------------------------------------------------------


def test_a_change_makes_no_roster() -> None:
    """Who needs it makes it: so many registrations cost as much each as one."""
    side = Side({})
    people = [Participant(number) for number in range(100)]
    before = side.roster
    for who in people:
        side.add(who.registration)
    assert side.roster is before
    assert side.roster.version is not side.version
    assert side.current().size == 100
    assert side.current() is side.roster


def test_a_change_while_a_roster_is_made_is_seen() -> None:
    """The version is read before, and looked at once more: what is stored last is current."""
    side = Side({})
    first, second = Participant(1), Participant(2)
    side.add(first.registration)
    usual = side.registrations
    crossed = []

    class Crossed(Side):
        __slots__ = ()

        def registrations(self) -> List[Registration]:
            found = usual()
            if not crossed:
                crossed.append(True)
                side.add(second.registration)
            return found

    side.__class__ = Crossed
    assert side.current().size == 2
    assert side.roster.made_for is side.version


@pytest.mark.parametrize("topic", [[], {}, ("a", [])], ids=repr)
def test_what_cannot_be_hashed_is_no_topic(topic: Any) -> None:
    """Naming its type; nothing is left of it."""
    registry = Registry()
    with pytest.raises(TypeError, match=f"topic must be hashable, not {type(topic).__name__}"):
        registry.discard(topic, "producers", Participant(1))
    assert registry._where == registry.channels == {}


def test_topics_are_compared_only_where_their_hashes_are_equal() -> None:
    """Also with those that nobody is registered for any more."""

    class Topic:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            return self.number

        def __eq__(self, other: object) -> bool:
            assert isinstance(other, Topic)
            assert other.number == self.number
            return True

    registry, who = Registry(), Participant(1)
    held = []
    for number in (1, 2, 3):
        registry.add(Topic(number), "producers", who.registration)
        held.append(registry.find(Topic(number)))
        registry.discard(Topic(number), "producers", who)
    assert [registry.find(Topic(number)) for number in (1, 2, 3)] == held
    assert registry.find(Topic(4)) is None
