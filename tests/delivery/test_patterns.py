"""Topic patterns: what is one, what it matches, who is registered by it; and what is left: nothing.

A pattern is compared with a naive matcher, in both directions. The registry is played against a
model of it, in which who is on a topic is found by asking every registration there is.
"""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any, Dict, Hashable, List, Optional, Sequence, Tuple

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ate_dispatcher._delivery import channel as channels
from ate_dispatcher._delivery import matched
from ate_dispatcher._delivery.channel import Channel, Registration
from ate_dispatcher._delivery.mailbox import Mailbox
from ate_dispatcher._delivery.patterns import Index, TopicPattern, tokens_of, would_match
from ate_dispatcher._delivery.registry import Registry
from ate_dispatcher.errors import BadType, BadValue

# -- what is a pattern -------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["*", ">", "site.*", "site.>", "*.*.>", "site.*.voltage", "a b.*"])
def test_a_pattern_shows_and_is_its_text(text: str) -> None:
    """Equal and hashable by it, but equal to no text; copies and pickles are equal."""
    pattern = TopicPattern(text)
    assert pattern.text == str(pattern) == text
    assert repr(pattern) == f"TopicPattern({text!r})"
    assert pattern == TopicPattern(text)
    assert hash(pattern) == hash(TopicPattern(text))
    assert pattern != text
    assert pattern != TopicPattern("other.*")
    for same in (copy.copy(pattern), copy.deepcopy(pattern), pickle.loads(pickle.dumps(pattern))):
        assert same == pattern
        assert same.matches(text)


def test_a_pattern_does_not_change() -> None:
    """Nor does it take the word of a text that is another at each look."""
    pattern = TopicPattern("site.*")
    with pytest.raises(AttributeError):
        pattern.text = "site.>"  # type: ignore[misc]

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise AssertionError("asked")

        __eq__ = __hash__ = __str__  # type: ignore[assignment]

    pattern = TopicPattern(Text("site.*"))
    assert type(pattern.text) is str
    assert pattern == TopicPattern("site.*")
    assert pattern.matches(Text("site.1"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a token of it is empty"),
        ("site..*", "a token of it is empty"),
        (".>", "a token of it is empty"),
        ("site.*.", "a token of it is empty"),
        ("site.>.voltage", "'>' stands for all that follows, so it is the last token"),
        (">.>", "'>' stands for all that follows, so it is the last token"),
        ("site*", r"'\*' stands for a whole token, not for a part as in 'site\*'"),
        ("site.*.v>", "'>' stands for a whole token, not for a part as in 'v>'"),
        ("site.**", r"'\*' stands for a whole token, not for a part as in '\*\*'"),
        ("site.1", "it has no wildcard, so use the text itself as a topic"),
    ],
)
def test_what_is_no_pattern_is_refused(text: str, why: str) -> None:
    """Naming it, and why."""
    with pytest.raises(BadValue, match=rf"^text of a TopicPattern must .*, not '.*': {why}$") as no:
        TopicPattern(text)
    assert repr(text) in str(no.value)


@pytest.mark.parametrize("text", [None, 1, b"site.*", ["site", "*"], TopicPattern("a.*")], ids=repr)
def test_only_text_is_a_pattern(text: Any) -> None:
    """Whatever else it is is shown."""
    with pytest.raises(BadType, match="text of a TopicPattern must be a str, not ") as no:
        TopicPattern(text)
    assert repr(text) in str(no.value)


# -- what it matches ---------------------------------------------------------------------------

MATCHES = [
    ("*", "a", True),
    ("*", "a.b", False),
    (">", "a", True),
    (">", "a.b.c", True),
    ("a.>", "a", False),
    ("a.>", "a.b.c", True),
    ("a.*", "a.b", True),
    ("a.*", "b.b", False),
    ("a.*", "A.b", False),
    ("*.>", "a", False),
    ("*.>", "a.b", True),
    ("a.*.c", "a.b.c", True),
    ("a.*.c", "a.b.d", False),
    ("a.*.c", "a.b.b.c", False),
    # A topic may read like a pattern.
    ("a.*", "a.*", True),
    ("a.*", "a.>", True),
    ("a.>", "a.*.b", True),
    # No topic with an empty token is matched.
    (">", "", False),
    (">", "a.", False),
    ("a.*", "a.", False),
    ("*.>", ".a", False),
]


@pytest.mark.parametrize(("text", "topic", "truth"), MATCHES)
def test_the_rules(text: str, topic: str, truth: bool) -> None:
    """One by one; the trie and the pattern say the same."""
    assert TopicPattern(text).matches(topic) is truth
    assert naive(text, topic) is truth
    assert bool(index_of(text).matching(tokens_of(topic))) is truth


@pytest.mark.parametrize("topic", [None, 1, b"a.b", ("a", "b"), TopicPattern("a.*")], ids=repr)
def test_only_text_is_matched(topic: Any) -> None:
    """Whatever reads or compares like it; and nobody's code is asked."""

    class Sly:
        __class__ = str  # type: ignore[assignment]

        def split(self, *_: Any) -> List[str]:
            raise AssertionError("asked")

    for each in (topic, Sly()):
        assert not TopicPattern(">").matches(each)
        assert not index_of(">").matching(tokens_of(each))


def test_a_topic_that_reads_like_a_pattern_is_told_apart() -> None:
    """For what the log says where somebody has forgotten to write TopicPattern."""
    assert would_match("site.*", "site.1")
    assert not would_match("site.*", "rack.1")
    assert not would_match("site.1", "site.1")
    assert not would_match(("site", "*"), "site.1")


def naive(text: str, topic: Hashable) -> bool:
    """As one would write it down."""
    if not isinstance(topic, str) or "" in topic.split("."):
        return False
    return agree(text.split("."), topic.split("."))


def agree(own: List[str], tokens: List[str]) -> bool:
    """The first of both, and then the rest."""
    if own == [">"]:
        return len(tokens) > 0
    if not own or not tokens:
        return own == tokens
    return (own[0] == "*" or own[0] == tokens[0]) and agree(own[1:], tokens[1:])


class Thing:
    """What is there for a pattern."""

    def __init__(self, text: str) -> None:
        self.topic = TopicPattern(text)


KEPT: List[Any] = []
"""Until the end of a test."""


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Any:
    """From one test to another."""
    yield
    KEPT.clear()


def index_of(*texts: str) -> Index[Any]:
    """All of them, which live until the end of the test."""
    table: Dict[Hashable, Any] = {}
    index: Index[Any] = Index(lambda: list(table.values()))
    for text in texts:
        thing = Thing(text)
        KEPT.append(thing)
        index.enter(table.setdefault(thing.topic, thing))
    return index


TOKEN = st.sampled_from(["a", "b", "c"])
TOPIC_TEXT = st.lists(
    st.one_of(TOKEN, st.sampled_from(["*", ">", ""])), min_size=1, max_size=5
).map(".".join)


@st.composite
def pattern_texts(draw: Any) -> str:
    """Any that is a pattern."""
    tokens = draw(st.lists(st.one_of(TOKEN, TOKEN, st.just("*")), max_size=4))
    if "*" not in tokens or draw(st.booleans()):
        tokens.append(draw(st.sampled_from(["*", ">"])))
    return ".".join(tokens)


@given(st.lists(pattern_texts(), unique=True, max_size=12), st.lists(TOPIC_TEXT, max_size=6))
@example(["*.*.*.*"], ["*.*.*.*"])
def test_the_trie_finds_what_matches_and_nothing_else(texts: List[str], topics: List[str]) -> None:
    """Each once, whatever else is in it."""
    index = index_of(*texts)
    for topic in topics:
        found = [thing.topic.text for thing in index.matching(tokens_of(topic))]
        assert sorted(found) == sorted(text for text in texts if naive(text, topic))
        for text in texts:
            assert TopicPattern(text).matches(topic) == naive(text, topic)


# -- the trie when patterns come and go --------------------------------------------------------


def size_of(index: Index[Any]) -> Tuple[int, int]:
    """How many patterns it knows, and how many nodes it has."""
    nodes, left = 0, [index._tries[0].top]
    while left:
        node = left.pop()
        nodes += 1
        left += [*node.children.values(), *node.wild.values()]
    return len(index._tries[0].known), nodes - 1


def test_what_is_gone_is_forgotten() -> None:
    """However many patterns come and go, the trie is never much larger than what is there."""
    table: Dict[Hashable, Any] = {}
    index: Index[Any] = Index(lambda: list(table.values()))
    stays = Thing("stays.*")
    index.enter(table.setdefault(stays.topic, stays))
    for number in range(200):
        some = [Thing(f"job{number}.{each}.>") for each in range(5)]
        for thing in some:
            index.enter(table.setdefault(thing.topic, thing))
        assert len(index.matching([f"job{number}", "3", "x"])) == 1
        for thing in some:
            del table[thing.topic]
            index.tidy(len(table))
        del some, thing
        assert size_of(index)[0] <= 2
        assert not index.matching([f"job{number}", "3", "x"])
        assert index.matching(["stays", "1"]) == [stays]
    table.clear()
    index.tidy(len(table))
    assert size_of(index) == (0, 0)


def test_who_comes_while_a_trie_is_made_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal handler may; and who leaves then leaves the rest to whoever is at it."""
    table: Dict[Hashable, Any] = {}
    index: Index[Any] = Index(lambda: list(table.values()))
    for each in [Thing(f"{name}.*") for name in "abcde"]:
        KEPT.append(each)
        index.enter(table.setdefault(each.topic, each))
    usual = type(index._tries[0]).enter
    late = Thing("late.*")

    def enter(trie: Any, thing: Any) -> None:
        usual(trie, thing)
        if late.topic not in table:
            index.enter(table.setdefault(late.topic, late))
            table.pop(TopicPattern("b.*"), None)
            index.tidy(len(table))

    for name in "acd":
        del table[TopicPattern(f"{name}.*")]
    monkeypatch.setattr(type(index._tries[0]), "enter", enter)
    index.tidy(len(table))
    monkeypatch.undo()
    assert late.topic in table
    assert index.matching(["late", "1"]) == [late]
    assert len(index._tries) == len(index._turn) == 1
    # There was one that had left, and is not found; the next looks after it.
    del KEPT[1]
    index.tidy(len(table))
    assert index.matching(["b", "1"]) == []


def test_a_trie_that_was_not_finished_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler may raise in the middle: the next makes it."""
    table: Dict[Hashable, Any] = {}
    index: Index[Any] = Index(lambda: list(table.values()))
    for each in [Thing(f"{name}.*") for name in "abc"]:
        KEPT.append(each)
        index.enter(table.setdefault(each.topic, each))
    del table[TopicPattern("a.*")]
    del table[TopicPattern("b.*")]

    def enter(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(index._tries[0]), "enter", enter)
    with pytest.raises(KeyboardInterrupt):
        index.tidy(len(table))
    monkeypatch.undo()
    assert index.matching(["c", "1"]) == [KEPT[2]]
    index.enter(table.setdefault(TopicPattern("a.*"), KEPT[0]))
    assert index.matching(["a", "1"]) == [KEPT[0]]
    del table[TopicPattern("a.*")]
    index.tidy(len(table))
    assert size_of(index) == (1, 2)
    assert index.matching(["c", "1"]) == [KEPT[2]]


# -- against a model ---------------------------------------------------------------------------

SIDES = ("producers", "listeners")
NAMES = ["a", "a.b", "a.c", "b.b", "a.b.c", "a.", "", "*.b"]
OTHERS: List[Hashable] = [("a", "b"), 1, b"a.b"]
TEXTS = ["*", ">", "a.*", "*.b", "a.>", "a.*.c", "*.*.*"]
PLACES: List[Hashable] = [*NAMES, *OTHERS, *map(TopicPattern, TEXTS), *map(TopicPattern, TEXTS)]
ANYTHING = st.integers(0, 11)


class Person:
    """A participant of which the registry wants to know nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, number: int) -> None:
        self.number = number
        self.mailbox = Mailbox()
        #: The topics whose channels it was told of, and is on.
        self.told: Dict[int, Hashable] = {}
        self.producer = self

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    def joins(self, channel: Any) -> None:
        self.told[id(channel)] = channel.topic

    @property
    def registration(self) -> Registration:
        return Registration(self, self, self.mailbox, self.number % 2 == 1, joins=self.joins)


class PatternRegister(RuleBasedStateMachine):
    """The registry beside a list of registrations."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.people = [Person(number) for number in range(5)]
        #: Side, place and participant, in the order of registration.
        self.model: List[Tuple[str, Hashable, Person]] = []
        self.off: Dict[int, Person] = {}
        #: What open requests refer to, some of one topic.
        self.held: List[Any] = []

    def teardown(self) -> None:
        """Everybody leaves, and every request is over: nothing is left of it."""
        registry = self.registry
        self.all_leave()
        self.invariants_hold()
        # Who has left is not kept by what is open.
        people = [weakref.ref(who) for who in self.people]
        self.people.clear()
        self.off.clear()
        gc.collect()
        assert all(each() is None for each in people)
        self.held.clear()
        assert registry.tables() == ({}, {}, {}, {})
        assert registry._living.all() == registry._living_patterns.all() == []
        assert registry._left.all() == []
        assert registry._matches._readings == {}
        assert size_of(registry._index) == (0, 0)
        assert registry.disabled == {}

    def all_leave(self) -> None:
        for side, place, who in list(self.model):
            self.is_discarded(side, place, who)

    # -- what happens ---------------------------------------------------------------------------

    @rule(side=st.sampled_from(SIDES), place=st.sampled_from(PLACES), choice=ANYTHING)
    def add(self, side: str, place: Hashable, choice: int) -> None:
        """Perhaps once more, which changes nothing."""
        who = self.people[choice % len(self.people)]
        self.registry.add(place, side, who.registration)
        if not any(each[:2] == (side, place) and each[2] is who for each in self.model):
            self.model.append((side, place, who))

    @precondition(lambda self: self.model)
    @rule(choice=st.integers(0, 100))
    def one_leaves(self, choice: int) -> None:
        self.is_discarded(*self.model[choice % len(self.model)])

    @rule(side=st.sampled_from(SIDES), place=st.sampled_from(PLACES), choice=ANYTHING)
    def discard(self, side: str, place: Hashable, choice: int) -> None:
        """Mostly for nothing."""
        self.is_discarded(side, place, self.people[choice % len(self.people)])

    def is_discarded(self, side: str, place: Hashable, who: Person) -> None:
        self.registry.discard(place, side, who)
        self.model = [
            each for each in self.model if each[:2] != (side, place) or each[2] is not who
        ]

    @rule(choice=ANYTHING)
    def one_leaves_everything(self, choice: int) -> None:
        who = self.people[choice % len(self.people)]
        for side in SIDES:
            there = [each[1] for each in self.model if each[0] == side and each[2] is who]
            found = self.registry.topics_of(who, side)
            assert sorted(map(repr, found)) == sorted(map(repr, there))
            for place in found:
                self.is_discarded(side, place, who)

    @rule(choice=ANYTHING, on=st.booleans())
    def switch(self, choice: int, on: bool) -> None:
        who = self.people[choice % len(self.people)]
        if on:
            self.registry.enable(who, "me")
            self.off.pop(id(who), None)
        else:
            self.registry.disable(who, "me")
            self.off[id(who)] = who

    @rule(topic=st.sampled_from([*NAMES, *OTHERS]))
    def ask(self, topic: Hashable) -> None:
        """A request refers to what is found for it."""
        found = self.registry.find(topic)
        if found is not None and len(self.held) < 8:
            self.held.append(found)

    @precondition(lambda self: self.held)
    @rule(choice=ANYTHING)
    def answer(self, choice: int) -> None:
        del self.held[choice % len(self.held)]

    # -- always ---------------------------------------------------------------------------------

    @invariant()
    def invariants_hold(self) -> None:
        registry = self.registry
        for topic in [*NAMES, *OTHERS]:
            found = registry.find(topic)
            if found is None:
                for side in SIDES:
                    assert self.on(side, topic) == []
            else:
                self.check(found)
        for each in self.held:
            self.check(each)
        for side in SIDES:
            there = {id(each[2]) for each in self.model if each[0] == side}
            found_there = registry.participants(side)
            assert {id(who) for who in found_there} == there
            assert len(found_there) == len(there)
        names = [each[1] for each in self.model if not isinstance(each[1], TopicPattern)]
        assert set(registry.channels) == set(names)

    def on(self, side: str, topic: Hashable) -> List[Person]:
        """Who is there, in order, once each."""
        found: List[Person] = []
        for each, place, who in self.model:
            if isinstance(place, TopicPattern):
                here = naive(place.text, topic)
            else:
                here = type(place) is type(topic) and place == topic
            if each == side and here and not any(who is other for other in found):
                found.append(who)
        return found

    def check(self, channel: Any) -> None:
        for name in SIDES:
            there = self.on(name, channel.topic)
            side = getattr(channel, name)
            # Those that are used without another look, too.
            rosters = [channel.asked() if name == "producers" else channel.heard()]
            if side.roster.version is side.version:
                rosters.append(side.roster)
            off = [who for who in there if name == "producers" and id(who) in self.off]
            on = [who for who in there if not any(who is each for each in off)]
            for roster in rosters:
                assert list(map(id, roster.members)) == list(map(id, on))
                assert list(map(id, roster.disabled)) == list(map(id, off))
            if name == "producers":
                assert all(who.told.get(id(channel)) == channel.topic for who in on)


TestThePatternsAgainstTheirModel = pytest.mark.thorough(PatternRegister.TestCase)
TestThePatternsAgainstTheirModel.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    phases=[phase for phase in settings().phases if phase is not Phase.explain],
)


# -- examples ----------------------------------------------------------------------------------


def members(channel: Any, side: str = "producers") -> Sequence[Any]:
    """Who is asked there, or hears."""
    roster = channel.asked() if side == "producers" else channel.heard()
    return [each.number for each in roster.members]


def test_topics_that_only_patterns_match_leave_nothing_behind() -> None:
    """However many there are: one reading serves all that the same patterns match."""
    registry, who = Registry(), Person(1)
    registry.add(TopicPattern("site.*"), "producers", who.registration)
    registry.add(TopicPattern("site.>"), "listeners", Person(2).registration)
    for number in range(3_000):
        found: Any = registry.find(f"site.{number}")
        assert members(found) == [1]
    assert registry.channels == {}
    assert registry._living.all() == registry._left.all() == []
    assert len(registry._matches.read) == len(registry._matches._readings) == 1


def test_readings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each topic is matched by others, some are made again."""
    monkeypatch.setattr(matched, "_MANY", 3)
    registry = Registry()
    people = [Person(number) for number in range(10)]
    for who in people:
        registry.add(TopicPattern(f"{who.number}.*"), "producers", who.registration)
    for who in (*people, *people):
        assert members(registry.find(f"{who.number}.x")) == [who.number]
        assert len(registry._matches.read) <= 3
        assert len(registry._matches._readings) <= 3


def test_a_registration_by_name_crosses_the_look_for_a_matched_topic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The version is read before the look, so what was sent hears of who is there by name."""
    registry, one, two = Registry(), Person(1), Person(2)
    registry.add(TopicPattern("*"), "listeners", one.registration)
    usual = registry._left.find

    def find(topic: Hashable) -> Optional[Channel]:
        found = usual(topic)
        monkeypatch.undo()
        registry.add("t", "listeners", two.registration)
        return found

    monkeypatch.setattr(type(registry._living), "find", lambda self, topic: find(topic))
    found: Any = registry.find("t")
    assert type(found) is not Channel
    assert found.listeners.roster.version is not found.listeners.version
    assert members(found, "listeners") == [1, 2]
    assert found.listeners.roster.version is found.listeners.version


@pytest.mark.parametrize("topic", ["named", "matched"])
def test_nobody_looks_for_ever_while_others_come_and_go(
    monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    """After some tries one goes with what it has read, which nobody else may use."""
    registry, who, passing = Registry(), Person(1), Person(2)
    registry.add(TopicPattern("*"), "producers", who.registration)
    registry.add("named", "producers", who.registration)
    looks = []

    usual = channels.in_order

    def in_order(sides: Any) -> Any:
        found = usual(sides)
        looks.append(len(found))
        for each in ("one", "other"):
            registry.add(TopicPattern(f"{each}.*"), "producers", passing.registration)
            registry.discard(TopicPattern(f"{each}.*"), "producers", passing)
        return found

    for module in (channels, matched):
        monkeypatch.setattr(module, "in_order", in_order)
    found: Any = registry.find(topic)
    assert members(found) == [1]
    assert len(looks) < 20
    monkeypatch.undo()
    assert found.producers.roster is channels.STALE
    reference = weakref.ref(who)
    for place in ("named", TopicPattern("*")):
        registry.discard(place, "producers", who)
    assert members(found) == []
    del who
    gc.collect()
    assert reference() is None


def test_a_name_that_is_gone_again_still_tells_what_was_sent() -> None:
    """It goes with that channel for good: who comes later, by name or by a pattern, is there."""
    registry, people = Registry(), [Person(number) for number in range(4)]
    registry.add(TopicPattern("*"), "listeners", people[0].registration)
    found: Any = registry.find("t")
    registry.add("t", "listeners", people[1].registration)
    assert members(found, "listeners") == [0, 1]
    registry.discard("t", "listeners", people[1])
    assert registry.channels == {}
    assert members(found, "listeners") == [0]
    registry.add("t", "listeners", people[2].registration)
    registry.add(TopicPattern(">"), "listeners", people[3].registration)
    assert members(found, "listeners") == [0, 2, 3]
    assert members(registry.find("t"), "listeners") == [0, 2, 3]


def test_a_deregistration_that_was_cut_short_may_be_tried_again() -> None:
    """The pattern is gone from the table already: what was read is put away all the same."""
    registry, who = Registry(), Person(1)
    registry.add(TopicPattern("*"), "producers", who.registration)
    registry.add("t", "listeners", Person(2).registration)
    assert members(registry.find("t")) == members(registry.find("u")) == [1]
    pattern = TopicPattern("*")
    registry._discard(pattern, registry._patterns[pattern], "producers", who)
    registry.discard(TopicPattern("*"), "producers", who)
    assert members(registry.find("t")) == []
    assert registry.find("u") is None
    reference = weakref.ref(who)
    del who
    gc.collect()
    assert reference() is None


def test_what_is_said_of_a_topic_without_anybody() -> None:
    """Patterns are named too; and who wrote one as a topic is told."""
    registry = Registry()
    registry.add(TopicPattern("site.*.volts"), "producers", Person(1).registration)
    assert registry.hint("site.1.volt", "producers") == ", but for TopicPattern('site.*.volts')"
    assert registry.hint("xyz", "producers") == "; producers are on TopicPattern('site.*.volts')"
    assert registry.hint("xyz", "listeners") == "; no listener is on any"
    registry.add("rack.*", "producers", Person(2).registration)
    said = ", but for 'rack.*', which is a topic; a pattern is TopicPattern('rack.*')"
    assert registry.hint("rack.7", "producers") == said


def test_a_pattern_is_no_topic_to_send_to() -> None:
    """Also where somebody is registered by it."""
    registry = Registry()
    for _ in range(2):
        with pytest.raises(BadType, match=r"topic must not be TopicPattern\('a\.\*'\): by a pat"):
            registry.find(TopicPattern("a.*"))
        registry.add(TopicPattern("a.*"), "producers", Person(1).registration)
