"""Where open requests wait for their time, against lists; renewal of the heap loses nothing.

The model is what was appended, what was kept, and the instant at which each reason is due: no heap,
no cells, no arrivals in two places. Deadlines come from a few instants, so many are due at once.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Sequence, Tuple, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from inside import NEVER
from ledger_books import kept, next_instant

from ate_dispatcher._core import open_requests
from ate_dispatcher._core.open_requests import OpenRequests
from ate_dispatcher._core.outcomes import Completion
from ate_dispatcher._core.request import Request
from ate_dispatcher._core.start_line import StartLine

T = TypeVar("T")


class Reason:
    """All that the store wants to know of why time alone may change a request."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.cell: Any = None


def made(number: int, deadline: float, after: Optional[float] = None) -> Request:
    """A request as its sender leaves it."""
    request = Request.of(None, number, "t", None, (), 0.0, deadline, None, None)
    if after is not None:
        request.lines_up(StartLine(after))
    return request


ANYTHING = st.integers(0, 40)
"""Picks one of however many there are."""
DEADLINE = st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0, 9.0, NEVER])
AFTER = st.sampled_from([None, None, None, 0.5, 2.0, NEVER])
INSTANT = st.sampled_from([0.5, 1.0, 1.5, 2.0, 4.0, 6.0])


class Store(RuleBasedStateMachine):
    """The store beside the lists."""

    def __init__(self) -> None:
        super().__init__()
        self.store = OpenRequests()
        self.count = 0
        self.arrived: List[Request] = []
        self.kept: List[Request] = []
        #: What has ended and was met among the arrivals by who released another.
        self.met: List[Request] = []
        self.reasons: List[Reason] = []
        #: When each reason is due: requests by their deadlines, start lines, others.
        self.due: Dict[Any, float] = {}
        self.whose: Dict[Any, Request] = {}
        #: The order in which others than deadlines were expected.
        self.order: List[Any] = []
        #: Whether what has ended was left among the arrivals, and nobody has looked since.
        self.left_behind = False
        # So that few cells are many. Fails if it is renamed.
        self.usual_many = open_requests._MANY
        open_requests._MANY = 3

    def teardown(self) -> None:
        """It can be emptied, and then there is nothing in it."""
        while self.arrived:
            self.gather(3, 1)
        while self.kept or self.due:
            self.take_any()
            for reason in list(self.due):
                if reason not in self.kept and self.whose[reason].completion is not None:
                    self.forget_reason(reason)
            if not self.kept:
                break
        open_requests._MANY = self.usual_many
        assert not self.store
        assert list(self.store.all()) == []
        assert kept(self.store) == 0
        self.store.check()

    # -- requests -------------------------------------------------------------------------------

    @rule(deadlines=st.lists(DEADLINE, min_size=1, max_size=12), after=AFTER)
    def arrive(self, deadlines: List[float], after: Optional[float]) -> None:
        for deadline in deadlines:
            self.count += 1
            request = made(self.count, deadline, after)
            self.arrived.append(request)
            self.store.arrivals.append(request)

    @precondition(lambda self: any(r.cell is None for r in self.arrived))
    @rule(choice=ANYTHING)
    def keep(self, choice: int) -> None:
        """Before its turn, where it stands among the arrivals."""
        request = one_of([r for r in self.arrived if r.cell is None], choice)
        self.store.keep(request)
        self.is_kept(request)

    def is_kept(self, request: Request) -> None:
        self.kept.append(request)
        self.due[request] = request.deadline
        self.whose[request] = request
        line = request.line
        if line is not None and line.after < request.deadline:
            self.is_expected(line, line.after, request)

    def is_expected(self, reason: Any, instant: float, request: Request) -> None:
        if reason in self.order:
            self.order.remove(reason)
        self.order.append(reason)
        self.due[reason], self.whose[reason] = instant, request

    @rule(limit=st.integers(1, 8), choice=ANYTHING)
    def gather(self, limit: int, choice: int) -> None:
        """The oldest are taken in; those that have ended come out."""
        limit = limit if choice % 4 else 100
        some, self.arrived = self.arrived[:limit], self.arrived[limit:]
        expected = [request for request in some if request.completion is not None]
        for request in some:
            if request.completion is None and request not in self.kept:
                self.is_kept(request)
        over = self.store.gather(limit)
        assert [request for request in over if request not in self.met] == expected
        # Those that a release met come out as well, once.
        assert len(set(over)) == len(over)
        self.met = [request for request in self.met if request not in over]
        if not self.arrived:
            self.left_behind = False

    @precondition(lambda self: self.open_ones())
    @rule(choices=st.lists(ANYTHING, min_size=1, max_size=12))
    def release(self, choices: List[int]) -> None:
        """Some end, wherever they are; with one that is among the arrivals those before it go in,
        or some of them.
        """
        for choice in choices:
            if self.open_ones():
                self.ends(one_of(self.open_ones(), choice))

    def ends(self, request: Request) -> None:
        among_arrivals = request.cell is None
        self.store.release(request)
        request.completion = Completion.CANCELLED
        self.store.forget(*self.reasons_of(request))
        assert request.cell is not None
        for reason in self.reasons_of(request):
            self.is_forgotten(reason)
        if not among_arrivals:
            self.kept.remove(request)
            del self.due[request]
            return
        at = self.arrived.index(request)
        looked, left = self.arrived[:3], self.arrived[3:]
        for each in looked[:at]:
            if each.completion is not None:
                self.met.append(each)
            elif each not in self.kept:
                self.is_kept(each)
        if at < 3:
            self.arrived = self.arrived[at + 1 :]
        else:
            self.arrived, self.left_behind = left, True

    def reasons_of(self, request: Request) -> List[Any]:
        return [r for r, whose in self.whose.items() if whose is request and r is not request]

    def is_forgotten(self, reason: Any) -> None:
        self.due.pop(reason, None)
        if reason in self.order:
            self.order.remove(reason)

    @rule()
    def take_any(self) -> None:
        """Any that was taken in, and every one of them at last; what else was due of it or of
        others on the way is for who closes them.
        """
        request = None
        for _ in range(len(self.store._heap) + len(self.store._old) + 1):
            any_left, request = self.store.take_any()
            if request is not None or not any_left:
                break
        if request is None:
            assert not any_left
            assert self.kept == []
            assert [r for r in self.due if r.cell is not None] == []
            self.due.clear()
            self.order.clear()
        else:
            self.kept.remove(request)
            request.completion = Completion.STOPPED
            self.store.forget(*self.reasons_of(request))
            del self.due[request]
            for reason in self.reasons_of(request):
                self.is_forgotten(reason)
        # Cells of others that were in its way are gone, for those will be closed next.
        for reason in [r for r in self.due if r.cell is None]:
            assert reason not in self.kept
            self.is_forgotten(reason)

    # -- reasons --------------------------------------------------------------------------------

    @precondition(lambda self: self.kept)
    @rule(expected=st.lists(st.tuples(ANYTHING, INSTANT, st.booleans()), min_size=1, max_size=6))
    def expect(self, expected: List[Tuple[int, float, bool]]) -> None:
        for choice, instant, again in expected:
            self.is_a_reason(one_of(self.kept, choice), choice, instant, again)

    def is_a_reason(self, request: Request, choice: int, instant: float, again: bool) -> None:
        """Unless that is expected sooner already."""
        mine = [r for r in self.reasons if r.request is request]
        if again and mine:
            reason = one_of(mine, choice)
        else:
            reason = Reason(request)
            self.reasons.append(reason)
        self.store.expect(reason, instant, request)
        if reason not in self.due or instant < self.due[reason]:
            self.is_expected(reason, instant, request)

    @precondition(lambda self: self.reasons)
    @rule(choices=st.lists(ANYTHING, min_size=1, max_size=12))
    def forget(self, choices: List[int]) -> None:
        """Also what is none any more, and None."""
        some = [one_of(self.reasons, choice) for choice in choices]
        self.store.forget(*some, None)
        for reason in some:
            self.is_forgotten(reason)

    def forget_reason(self, reason: Any) -> None:
        self.store.forget(reason)
        self.is_forgotten(reason)

    # -- time -----------------------------------------------------------------------------------

    def sooner(self, reason: Any) -> Tuple[float, int, int]:
        """Of what is due at one instant deadlines come first, in the order of sending."""
        if isinstance(reason, Request):
            return self.due[reason], 0, reason.id
        return self.due[reason], 1, self.order.index(reason)

    @rule(now=st.sampled_from([1.0, 1.5, 2.0, 2.5, 5.5, 100.0]), count=st.integers(1, 5))
    def time_passes(self, now: float, count: int) -> None:
        """What is due comes, each once, the earliest first; what is due at *now* stays."""
        for _ in range(count):
            found = self.store.past(now)
            while found is not None and found[1] is None:
                assert found[0] is None
                found = self.store.past(now)
            due = [reason for reason, instant in self.due.items() if instant < now]
            if not due:
                assert found is None
                return
            first = min(due, key=self.sooner)
            assert found is not None
            assert found[0] is first
            assert found[1] is self.whose[first]
            self.is_forgotten(first)
            if isinstance(first, Request):
                self.kept.remove(first)
                first.completion = Completion.DEADLINE
                self.store.forget(*self.reasons_of(first))
                for reason in self.reasons_of(first):
                    self.is_forgotten(reason)
            else:
                assert first.cell is None

    @rule()
    def look_at_the_clock(self) -> None:
        """The first instant of all; empty cells before it are no reason to stay away for longer."""
        expected = min(self.due.values(), default=NEVER)
        found = self.store.next_instant()
        assert found in (expected, -math.inf)
        assert next_instant(self.store) == expected

    # -- always ---------------------------------------------------------------------------------

    def open_ones(self) -> List[Request]:
        open_ones = [r for r in self.arrived if r.completion is None and r not in self.kept]
        return [*self.kept, *open_ones]

    @invariant()
    def it_is_in_order(self) -> None:
        self.store.check()

    @invariant()
    def it_has_what_is_open(self) -> None:
        found = [request.id for request in self.store.all()]
        assert sorted(found) == sorted(request.id for request in self.open_ones())
        assert kept(self.store) == len(self.kept)
        assert list(self.store.arrivals) == self.arrived
        assert bool(self.store) == bool(self.arrived or self.kept)
        assert self.store.stale or not self.left_behind

    @invariant()
    def it_does_not_grow(self) -> None:
        """Half of the cells may be empty, and while it is renewed there are a few more."""
        cells = len(self.store._heap) + len(self.store._old)
        assert cells <= 3 * len(self.due) + 2 * 3 + 12


def one_of(some: Sequence[T], choice: int) -> T:
    """Always one of them, so that no example is thrown away."""
    return some[choice % len(some)]


# Nothing but arithmetic: the same on every Python.
pytestmark = pytest.mark.thorough

TestTheStoreAgainstLists = Store.TestCase
TestTheStoreAgainstLists.settings = settings(
    max_examples=200,
    stateful_step_count=60,
    # To explain a failure takes longer than to find it, and longer than a test may take.
    phases=[phase for phase in settings().phases if phase is not Phase.explain],
)


def test_empty_places_before_the_next_instant_are_passed_by_in_pieces() -> None:
    """Whoever asks is told to come again; not that there is nothing."""
    store = OpenRequests()
    requests = [made(number, float(number), None) for number in range(200)]
    store.arrivals.extend(requests)
    store.gather(1000)
    for request in requests[:80]:
        request.completion = Completion.CANCELLED
        store.release(request)
    told = [store.next_instant()]
    while told[-1] == -math.inf:
        told.append(store.next_instant())
    assert told == [-math.inf, requests[80].deadline]
    store.check()
