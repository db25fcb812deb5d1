"""Who has which instrument, against a model of it, in both directions; then examples of each rule.

The model is a list of claims in the order of their coming, what is with whom, and what start lines
have reserved. Who may go follows from these by one sentence, and it is asked of all claims until it
says no to everyone. What is told to the claims is compared with that after every step, so nobody
has anything too early, too late, or twice.

Whether those rules can end in a deadlock is a question of what stands behind the claims: producers
with mailboxes, that serve one request after the other. So there is a test with some of these too.
"""

from __future__ import annotations

from collections import deque
from itertools import combinations
from typing import Any, Deque, Dict, FrozenSet, List, Sequence, Tuple, TypeVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ate_dispatcher._core.instruments import Instruments

T = TypeVar("T")

# Nothing but arithmetic: the same on every Python.
pytestmark = pytest.mark.thorough


class Claim:
    """All that the instruments want to know of a claim."""

    def __init__(self, names: Sequence[str], line: Any = None) -> None:
        self.names = tuple(names)
        self.line = line
        self.granted = False

    def __repr__(self) -> str:
        return f"<{'+'.join(self.names)}{' for a line' if self.line else ''}>"


class Needy:
    """And of a member of a request with a start line."""

    def __init__(self, names: Sequence[str], *engines: int) -> None:
        self.exclusive = tuple(names)
        self.engines = dict.fromkeys(engines or (0,))


class Line:
    """A start line: what its members need, those yet to come, and the claims of those who came."""

    def __init__(self, *members: Sequence[str]) -> None:
        self.started = False
        self.to_come = list(members)
        self.claims: List[Claim] = []

    @property
    def names(self) -> List[str]:
        return [name for names in self.to_come for name in names]


class Model:
    """No cleverness."""

    def __init__(self) -> None:
        self.waiting: List[Claim] = []
        self.whose: Dict[str, Claim] = {}
        self.reserved: Dict[Line, FrozenSet[str]] = {}

    def is_barred(self, claim: Claim) -> bool:
        if claim.line not in self.reserved:
            return False
        earlier = list(self.reserved)[: list(self.reserved).index(claim.line)]
        return any(name in self.reserved[line] for line in earlier for name in claim.names)

    def counts(self, claim: Claim) -> bool:
        """Whether it counts as waiting: others may not pass."""
        who = [self.whose[name] for name in claim.names if name in self.whose]
        at_a_line = [other for other in who if other.line and not other.line.started]
        return not at_a_line and not self.is_barred(claim)

    def before(self, claim: Claim) -> List[Claim]:
        """Who counts as waiting, came before it, and wants something that it wants."""
        index = self.waiting.index(claim)
        return [
            other
            for other in self.waiting[:index]
            if set(other.names) & set(claim.names) and self.counts(other)
        ]

    def may_go(self, claim: Claim) -> bool:
        if any(name in self.whose for name in claim.names):
            return False
        return self.counts(claim) and not self.before(claim)

    def goes_on(self) -> List[Claim]:
        """Who has got theirs by what was changed."""
        granted: List[Claim] = []
        able = True
        while able:
            able = False
            for claim in list(self.waiting):
                if self.may_go(claim):
                    self.waiting.remove(claim)
                    self.whose.update(dict.fromkeys(claim.names, claim))
                    granted.append(claim)
                    able = True
        return granted

    def drop(self, claim: Claim) -> None:
        if claim in self.waiting:
            self.waiting.remove(claim)
        self.whose = {name: other for name, other in self.whose.items() if other is not claim}

    def ahead_of(self, claim: Claim) -> List[Claim]:
        return [self.whose[name] for name in claim.names if name in self.whose] + self.before(claim)


ANYTHING = st.integers(0, 11)
"""Picks one of however many there are."""
NAMES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)
MEMBERS = st.lists(NAMES, min_size=1, max_size=3)


class Floor(RuleBasedStateMachine):
    """The instruments of one dispatcher beside the model of them."""

    def __init__(self) -> None:
        super().__init__()
        self.starts: Any = {}
        self.instruments = Instruments(0, self.starts)
        self.model = Model()
        self.claims: List[Claim] = []
        self.lines: List[Line] = []
        #: Those who were told that they have their instruments, and have not dropped them.
        self.told: List[Claim] = []

    def alive(self) -> List[Claim]:
        """Who waits or has anything."""
        return [claim for claim in self.claims if claim in self.model.waiting or claim in self.told]

    def waiting_lines(self) -> List[Line]:
        return list(self.model.reserved)

    # -- what happens ---------------------------------------------------------------------------

    def asks(self, claim: Claim) -> None:
        self.claims.append(claim)
        self.model.waiting.append(claim)
        self.are_told(self.instruments.ask(claim))

    def comes(self, line: Line, which: int) -> None:
        line.claims.append(Claim(line.to_come.pop(which % len(line.to_come)), line))
        self.asks(line.claims[-1])

    def drops(self, claim: Claim) -> None:
        if claim in self.told:
            self.told.remove(claim)
        self.model.drop(claim)
        self.are_told(self.instruments.drop(claim))

    def frees(self, line: Line) -> None:
        self.model.reserved.pop(line, None)
        self.are_told(self.instruments.free(line))

    def are_told(self, claims: List[Claim]) -> None:
        """Who has got theirs by that: all, and nobody else, each once."""
        assert len(claims) == len(set(claims))
        assert set(claims) == set(self.model.goes_on())
        assert not set(claims) & set(self.told)
        self.told += claims

    # -- the rules ------------------------------------------------------------------------------

    @precondition(lambda self: len(self.alive()) < 9)
    @rule(names=NAMES)
    def a_plain_one_asks(self, names: List[str]) -> None:
        self.asks(Claim(names))

    @precondition(lambda self: len(self.waiting_lines()) < 4)
    @rule(lines=st.lists(MEMBERS, min_size=1, max_size=3))
    def lines_are_drawn(self, lines: List[List[List[str]]]) -> None:
        for members in lines:
            self.is_drawn(members)

    def is_drawn(self, members: List[List[str]]) -> None:
        """For members that have nothing in common."""
        taken: List[str] = []
        apart: List[List[str]] = []
        for names in members:
            apart.append([name for name in names if name not in taken])
            taken += names
        line = Line(*[names for names in apart if names])
        self.lines.append(line)
        self.model.reserved[line] = frozenset(line.names)
        self.instruments.reserve(line, [Needy(line.names)])

    @precondition(lambda self: any(line.to_come for line in self.lines))
    @rule(choice=ANYTHING, which=ANYTHING)
    def one_comes_for_a_line(self, choice: int, which: int) -> None:
        """Which has started without it, perhaps."""
        self.comes(one_of([line for line in self.lines if line.to_come], choice), which)

    @precondition(lambda self: self.alive())
    @rule(choice=ANYTHING)
    def one_is_over(self, choice: int) -> None:
        """Whether it had its instruments, or waited for them, or was barred."""
        self.drops(one_of(self.alive(), choice))

    @precondition(lambda self: self.told)
    @rule(choice=ANYTHING)
    def one_is_done(self, choice: int) -> None:
        self.drops(one_of(self.told, choice))

    @precondition(lambda self: self.claims)
    @rule(choice=ANYTHING)
    def one_is_over_again_perhaps(self, choice: int) -> None:
        self.drops(one_of(self.claims[-8:], choice))

    @precondition(lambda self: self.waiting_lines())
    @rule(choice=ANYTHING)
    def a_line_starts(self, choice: int) -> None:
        """With whoever is there."""
        line = one_of(self.waiting_lines(), choice)
        line.started = True
        self.frees(line)

    @precondition(lambda self: self.waiting_lines())
    @rule(choice=ANYTHING)
    def a_line_is_given_up(self, choice: int) -> None:
        """Its request has ended before."""
        line = one_of(self.waiting_lines(), choice)
        line.to_come.clear()
        for claim in line.claims:
            self.drops(claim)
        self.frees(line)

    @precondition(lambda self: self.lines)
    @rule(choice=ANYTHING)
    def a_line_is_gone_again_perhaps(self, choice: int) -> None:
        line = one_of(self.lines[-5:], choice)
        if line not in self.waiting_lines():
            self.frees(line)

    # -- always ---------------------------------------------------------------------------------

    @invariant()
    def they_keep_the_promises(self) -> None:
        model, alive = self.model, self.alive()
        assert all(claim.granted == (claim in self.told) for claim in self.claims)
        for one, other in combinations(self.told, 2):
            assert not set(one.names) & set(other.names)
        assert not any(map(model.may_go, model.waiting))
        for claim in model.waiting:
            ahead = self.instruments.ahead_of(claim)
            assert len(ahead) == len(set(ahead))
            assert set(ahead) == set(model.ahead_of(claim))
            assert ahead or model.is_barred(claim)
        assert bool(self.instruments) == bool(alive)
        assert list(self.starts) == self.waiting_lines()

    def teardown(self) -> None:
        """All come whom lines wait for; who has what it needs goes on, if need be together."""
        for line in self.lines:
            while line.to_come:
                self.comes(line, -1)
        goes_on = True
        while goes_on:
            goes_on = False
            for line in self.waiting_lines():
                alive = [claim for claim in line.claims if claim in self.alive()]
                if all(claim in self.told for claim in alive):
                    line.started = goes_on = True
                    self.frees(line)
            for claim in [claim for claim in self.told if not claim.line or claim.line.started]:
                self.drops(claim)
                goes_on = True
        assert self.alive() == []
        assert not self.instruments
        assert not self.starts


def one_of(some: Sequence[T], choice: int) -> T:
    """Always one of them, so that no example is thrown away."""
    return some[choice % len(some)]


TestInstrumentsAgainstTheirModel = Floor.TestCase
TestInstrumentsAgainstTheirModel.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    # To explain a failure takes longer than to find it, and longer than a test may take.
    phases=[phase for phase in settings().phases if phase is not Phase.explain],
)


# -- with mailboxes ----------------------------------------------------------------------------


class Site:
    """A producer: what it needs, whom it serves, its mailbox, and what its workers are at."""

    def __init__(self, names: Sequence[str], workers: int, engines: Sequence[int]) -> None:
        self.names = names
        self.member: Any = Needy(names, *engines)
        self.mailbox: Deque[Any] = deque()
        self.workers: List[Any] = [None] * workers


class Errand:
    """A request of a dispatcher to some sites; if they start together, who of them is there."""

    def __init__(self, engine: int, sites: List[Site], together: bool) -> None:
        self.engine = engine
        self.sites = sites
        self.together = together
        self.started = False
        self.there: List[Tuple[Site, int]] = []

    @property
    def line(self) -> Any:
        return self if self.together else None


class Works:
    """Sites that share instruments; only what may go on does, one step of one worker at a time."""

    def __init__(self, sites: List[Site]) -> None:
        self.sites = sites
        self.starts: Any = {}
        self.instruments = [Instruments(number, self.starts) for number in range(2)]
        #: What the control loop of each dispatcher has yet to look at.
        self.letters: List[Tuple[int, Any]] = []

    def send(self, to: List[int], engine: int, together: bool) -> None:
        """To the mailboxes of those, without any that share an instrument if they start together.

        What is for a line is reserved before it is handed out.
        """
        sites: List[Site] = []
        here = [site for site in self.sites if engine in site.member.engines]
        for site in (one_of(here, index) for index in to if here):
            others = {name for other in sites for name in other.names}
            if site not in sites and not (together and others & set(site.names)):
                sites.append(site)
        needy = [site.member for site in sites if site.names]
        errand: Any = Errand(engine, sites, together)
        if together and needy:
            self.instruments[engine].reserve(errand, needy)
        for site in sites:
            site.mailbox.append(errand)

    def goes_on(self, site: Site, worker: int) -> bool:
        """Take the next, if it is free; end what it is at, if that has begun."""
        if site.workers[worker] is None:
            if not site.mailbox:
                return False
            errand = site.mailbox.popleft()
            claim = Claim(site.names, errand.line)
            site.workers[worker] = errand, claim
            if site.names:
                self.instruments[errand.engine].ask(claim)
            else:
                claim.granted = True
            return True
        errand, claim = site.workers[worker]
        if not claim.granted:
            return False
        if errand.together and not errand.started:
            return self.stands_there(site, worker, errand)
        site.workers[worker] = None
        self.instruments[errand.engine].drop(claim)
        return True

    def stands_there(self, site: Site, worker: int, errand: Errand) -> bool:
        """Whether it has just come to the line; which starts with the last."""
        if (site, worker) in errand.there:
            return False
        errand.there.append((site, worker))
        if len(errand.there) == len(errand.sites):
            errand.started = True
            self.instruments[errand.engine].free(errand)
            self.letters.append((1 - errand.engine, [each.member for each in errand.sites]))
        return True

    def looks_again(self) -> bool:
        """A control loop comes to its oldest letter: in another dispatcher a line has started."""
        if not self.letters:
            return False
        engine, members = self.letters.pop(0)
        self.instruments[engine].look_again(members)
        return True


NEEDS: List[List[str]] = [[], ["a"], ["b"], ["a", "b"], ["b", "a"]]
"""Few instruments, so that many want the same, and some both."""
SITES = st.lists(
    st.builds(
        Site,
        st.sampled_from([*NEEDS, *NEEDS, ["c"], ["c", "a"], ["b", "c"]]),
        st.sampled_from([1, 1, 2]),
        st.sampled_from([(0,), (0, 1), (1,), (0, 1), (1, 0), (0, 1)]),
    ),
    min_size=2,
    max_size=6,
)
SEND = st.tuples(
    st.lists(ANYTHING, min_size=1, max_size=4), st.sampled_from([0, 0, 1]), st.booleans()
)
STEP = st.tuples(ANYTHING, st.integers(0, 1), st.just(None))
STEPS = st.lists(st.one_of(SEND, STEP, STEP), min_size=10, max_size=60)


@settings(max_examples=300)
@given(sites=SITES, steps=STEPS)
def test_nobody_waits_for_ever(sites: List[Site], steps: List[Any]) -> None:
    """Whoever sends what to whom, and whoever is slow: in the end all of it is served."""
    works = Works(sites)
    for what, which, together in steps:
        if isinstance(what, list):
            works.send(what, which, together)
        elif what == 11:
            works.looks_again()
        else:
            site = one_of(sites, what)
            works.goes_on(site, which % len(site.workers))
    workers = [(site, worker) for site in sites for worker in range(len(site.workers))]
    while works.looks_again() or any(works.goes_on(site, worker) for site, worker in workers):
        pass
    assert [site for site in sites if site.mailbox or any(site.workers)] == []
    assert not any(works.instruments)
    assert not works.starts


# -- examples ----------------------------------------------------------------------------------


def asked(instruments: Instruments, names: str, line: Any = None) -> Any:
    """A claim that has asked for them, one letter each."""
    claim: Any = Claim(names, line)
    assert instruments.ask(claim) == [claim] * claim.granted
    return claim


def drawn(instruments: Instruments, *members: str) -> Line:
    """A line whose members need those."""
    line = Line(*members)
    instruments.reserve(line, [Needy(line.names)])
    return line


def started(instruments: Instruments, line: Line) -> List[Any]:
    """It starts: who has theirs by that."""
    line.started = True
    return instruments.free(line)


def test_several_instruments_are_had_all_or_none() -> None:
    """Who waits for one of them does not have the other, and is not passed there either."""
    instruments = Instruments()
    holder = asked(instruments, "a")
    both, later = asked(instruments, "ab"), asked(instruments, "b")
    assert (holder.granted, both.granted, later.granted) == (True, False, False)
    assert instruments.drop(holder) == [both]
    assert (both.granted, later.granted) == (True, False)
    assert instruments.drop(both) == [later]


def test_two_that_want_the_same_in_other_orders_do_not_wait_for_each_other() -> None:
    """The first of them is ahead everywhere."""
    instruments = Instruments()
    holders = [asked(instruments, name) for name in "ab"]
    first, second = asked(instruments, "ab"), asked(instruments, "ba")
    assert instruments.drop(holders[1]) == []
    assert instruments.drop(holders[0]) == [first]
    assert instruments.drop(first) == [second]


def test_one_drop_may_let_several_go() -> None:
    """Each of them is told once, also who waited for both."""
    instruments = Instruments()
    holder = asked(instruments, "abc")
    one, two = asked(instruments, "a"), asked(instruments, "cb")
    assert instruments.drop(holder) == [one, two]
    assert (one.granted, two.granted) == (True, True)


def test_who_waits_in_the_middle_may_leave() -> None:
    """Those behind it go, if it was all that they waited for."""
    instruments = Instruments()
    holder, middle = asked(instruments, "a"), asked(instruments, "ab")
    behind_a, behind_b = asked(instruments, "a"), asked(instruments, "b")
    assert instruments.drop(middle) == [behind_b]
    assert (behind_a.granted, behind_b.granted) == (False, True)
    assert instruments.drop(holder) == [behind_a]


def test_to_be_done_twice_is_harmless() -> None:
    """Nobody else loses anything by it, nor is told anything."""
    instruments = Instruments()
    first, second, third = (asked(instruments, "a") for _ in range(3))
    assert instruments.drop(first) == [second]
    assert instruments.drop(first) == []
    assert (first.granted, second.granted, third.granted) == (False, True, False)
    never: Any = Claim("ab")
    assert instruments.drop(never) == []


def test_a_claim_for_a_later_line_leaves_the_earlier_one_what_that_needs() -> None:
    """It has nothing meanwhile and does not count: a plain claim that comes later is served."""
    instruments = Instruments()
    drawn(instruments, "a")
    barred = asked(instruments, "ab", drawn(instruments, "ab"))
    assert not barred.granted
    plain = asked(instruments, "b")
    assert plain.granted
    assert asked(instruments, "a").granted
    assert instruments.drop(plain) == []


def test_a_claim_is_not_barred_by_its_own_line_nor_by_a_later_one() -> None:
    """Nor by an earlier one that needs something else."""
    instruments = Instruments()
    drawn(instruments, "c")
    own = drawn(instruments, "ab")
    drawn(instruments, "ab")
    assert asked(instruments, "ab", own).granted


def test_a_claim_without_a_line_that_waits_is_never_barred() -> None:
    """Nor is one whose line has started already."""
    instruments = Instruments()
    drawn(instruments, "ab")
    line = drawn(instruments, "ab")
    assert started(instruments, line) == []
    assert asked(instruments, "a").granted
    assert asked(instruments, "b", line).granted


def test_the_barred_keep_their_places() -> None:
    """When the line has started they are before those who came after them."""
    instruments = Instruments()
    first, second, third = (drawn(instruments, "abc") for _ in range(3))
    early, late = asked(instruments, "ab", second), asked(instruments, "b", second)
    plain, other = asked(instruments, "a"), asked(instruments, "c", second)
    later, last = asked(instruments, "a"), asked(instruments, "c", third)
    assert (plain.granted, later.granted) == (True, False)
    assert started(instruments, first) == [other]
    assert instruments.drop(plain) == [early]
    assert instruments.drop(early) == [late, later]
    assert started(instruments, second) == []
    assert instruments.drop(other) == [last]


def test_a_claim_may_be_barred_by_two_lines() -> None:
    """Until both have started; or its own has, which bars it from nothing any more."""
    for own_starts in (False, True):
        instruments = Instruments()
        lines = [drawn(instruments, "a") for _ in range(3)]
        claim = asked(instruments, "a", lines[2])
        if own_starts:
            assert started(instruments, lines[2]) == [claim]
        else:
            assert started(instruments, lines[1]) == []
            assert started(instruments, lines[0]) == [claim]


def test_a_barred_turn_may_leave() -> None:
    """It is not let in afterwards."""
    instruments = Instruments()
    first, second = drawn(instruments, "a"), drawn(instruments, "a")
    barred = asked(instruments, "a", second)
    assert instruments.drop(barred) == []
    assert started(instruments, first) == []
    assert not barred.granted
    assert started(instruments, second) == []
    assert not instruments


def test_who_wants_what_is_at_a_line_does_not_stand_in_the_way_of_the_others() -> None:
    """It wants something else too, which the line may be waiting for."""
    instruments = Instruments()
    line = drawn(instruments, "a", "b")
    busy, first = asked(instruments, "b"), asked(instruments, "a", line)
    both, second = asked(instruments, "ab"), asked(instruments, "b", line)
    assert instruments.drop(busy) == [second]
    assert first.granted
    assert started(instruments, line) == []
    assert instruments.drop(second) == []
    assert instruments.drop(first) == [both]


def test_who_was_passed_because_of_a_line_is_not_passed_any_more() -> None:
    """When that has started it is before those who came later, and who comes now."""
    instruments = Instruments()
    line = drawn(instruments, "a")
    first = asked(instruments, "a", line)
    both, passes, waits = (asked(instruments, names) for names in ("ab", "b", "b"))
    assert (both.granted, passes.granted) == (False, True)
    started(instruments, line)
    assert instruments.drop(passes) == []
    assert not asked(instruments, "b").granted
    assert instruments.drop(first) == [both]
    assert not waits.granted


def test_who_goes_to_a_line_lets_others_pass_whom_it_holds_up() -> None:
    """By the same change, and whether they came before those others or not."""
    instruments = Instruments()
    line = drawn(instruments, "a", "d")
    holders = [asked(instruments, name) for name in "ac"]
    first = asked(instruments, "a", line)
    both, behind = asked(instruments, "ab"), asked(instruments, "b")
    assert not behind.granted
    assert instruments.drop(holders[0]) == [first, behind]
    assert not both.granted


def test_a_line_bars_wherever_its_members_serve() -> None:
    """Each dispatcher has its own instruments; a member of two may need them in the other first."""
    starts: Any = {}
    here, there = Instruments(0, starts), Instruments(1, starts)
    line, later = Line(), Line("a", "b")
    members: List[Any] = [Needy("a", 0), Needy("b", 0, 1)]
    here.reserve(line, members)
    there.reserve(later, [Needy(later.names, 1)])
    assert asked(there, "a", later).granted
    barred = asked(there, "b", later)
    assert not barred.granted
    plain = asked(there, "b")
    assert plain.granted
    assert list(starts) == [line, later]
    assert started(here, line) == []
    assert list(starts) == [later]
    assert there.look_again(members) == []
    assert there.drop(plain) == [barred]


def test_who_is_held_up_by_a_line_elsewhere_goes_when_that_is_looked_at() -> None:
    """Not before: its start is a change of the other instruments."""
    starts: Any = {}
    here, there = Instruments(0, starts), Instruments(1, starts)
    line, later = Line(), Line("a")
    member: Any = Needy("a", 0, 1)
    here.reserve(line, [member])
    there.reserve(later, [member])
    barred = asked(there, "a", later)
    assert started(here, line) == []
    assert not barred.granted
    assert there.look_again([member]) == [barred]
    assert there.look_again([member]) == []


def test_holders_are_those_who_have_what_one_wants() -> None:
    """By name; nobody else who is before it."""
    instruments = Instruments()
    one = asked(instruments, "ac")
    asked(instruments, "cb")
    last = asked(instruments, "bca")
    assert instruments.holders(last) == [("c", one), ("a", one)]


def test_who_is_ahead_is_who_has_it_and_who_came_before() -> None:
    """Each once; not those behind, nor who may be passed."""
    instruments = Instruments()
    one, two = asked(instruments, "ab"), asked(instruments, "b")
    three, four = asked(instruments, "ba"), asked(instruments, "c")
    assert instruments.ahead_of(two) == [one]
    assert instruments.ahead_of(three) == [one, two]
    drawn(instruments, "c")
    barred = asked(instruments, "bc", drawn(instruments, "bc"))
    assert instruments.ahead_of(barred) == [one, four, two, three]
    last = asked(instruments, "c")
    assert instruments.ahead_of(last) == [four]


def test_it_is_true_while_anything_is_kept() -> None:
    """Something had, somebody waiting; what is reserved is kept by all of them together."""
    starts: Any = {}
    instruments = Instruments(0, starts)
    assert not instruments
    claim = asked(instruments, "a")
    assert instruments
    instruments.drop(claim)
    assert not instruments
    first, second = drawn(instruments, "a"), drawn(instruments, "a")
    assert list(starts) == [first, second]
    claim = asked(instruments, "a", second)
    assert instruments
    started(instruments, first)
    started(instruments, second)
    assert instruments
    assert not starts
    instruments.drop(claim)
    assert not instruments


def test_what_was_never_reserved_is_freed_in_vain() -> None:
    """A line whose members need nothing."""
    assert Instruments().free(object()) == []
