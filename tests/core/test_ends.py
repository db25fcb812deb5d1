"""An end that is written down in parts is like one that comes at once."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_books import AFTER, Books, begins, counted, member

from ate_dispatcher import Quorum
from ate_dispatcher._core import ends
from ate_dispatcher._core.durations import NEVER
from ate_dispatcher._core.effects import ENDED, ENDING, REFUSED
from ate_dispatcher._core.ends import BUDGET
from ate_dispatcher._core.ledger import Ledger
from ate_dispatcher._core.member import Claim, Member
from ate_dispatcher._core.outcomes import Completion, Standing, Verdict
from ate_dispatcher._core.policy_state import PolicyState
from ate_dispatcher._core.reporting import report_of
from ate_dispatcher._core.request import Request
from ate_dispatcher._core.start_line import StartLine

HOW = ["deadline", "cancel", "stop", "stop at once"]


class Part:
    """One ledger whose one request has ended, in parts or not."""

    def __init__(self, roles: List[str], how: str, at_once: bool) -> None:
        self.books = Books()
        self.roles = roles
        #: When what comes in between comes: after an early end still within the deadline.
        self.late = 12.0 if how == "deadline" else 6.0
        self.members: List[Member] = []
        for number, role in enumerate(roles):
            standing = {"dead": Standing.DEAD, "new": Standing.NOT_STARTED}.get(role)
            self.members.append(member(f"m{number}", standing or Standing.QUEUED))
        self.request: Request = self.books.opened(*self.members)
        self.books.gathered()
        for each, role in zip(self.members, roles):
            if role in ("runs", "answered", "failed", "streams"):
                begins(self.request, each, 1.0)
            if role in ("answered", "failed"):
                error = ValueError() if role == "failed" else None
                self.books.replied(self.request, each, "value", error, 2.0)
            if role == "streams":
                self.books.streamed(self.request, each, "part", 2.0)
            if role == "declined":
                self.books.declined(self.request, each, 2.0)
        self.at_once = at_once
        self.limit = 1 << 40 if at_once else 1
        if self.request.completion is None:
            usual, ends.BUDGET = ends.BUDGET, self.limit
            try:
                self.end(how)
            finally:
                ends.BUDGET = usual
        if at_once:
            assert self.request.completion is not None

    def end(self, how: str) -> None:
        if how == "deadline":
            self.books.time_passed(AFTER, self.limit)
        elif how == "cancel":
            self.books.cancelled(self.request, 5.0)
        else:
            self.books.stopped(5.0, how == "stop at once", self.limit)

    def goes_on(self) -> int:
        """One more part; what it has answered."""
        if self.at_once:
            return 0
        told, _ = self.books.time_passed(0.0, 1)
        return told[0][1] if told else 0

    def comes(self, number: int, deed: str) -> int:
        """A late fact about one of the members."""
        each, books = self.members[number], self.books
        running: Any = each.running
        if running is None:
            # Who has answered has nothing of it in its mailbox any more.
            waits = deed == "takes" and self.roles[number] in ("queued", "dead", "new")
            return books.expired(self.request, self.late, each) if waits else 0
        if deed == "answers":
            return books.replied(running, each, "late", None, self.late)
        if deed == "streams":
            return books.streamed(running, each, "late", self.late)
        if deed == "finishes":
            return books.finished(running, each, self.late)
        return 0

    def shown(self) -> Tuple[Any, Dict[Verdict, int], Any]:
        unjudged = [
            [
                (each.id, each.verdict, each.outcome)
                for waiting in m.unjudged.values()
                for each in waiting
            ]
            for m in self.members
        ]
        return report_of(self.request, 99.0), counted(self.books), unjudged


ROLE = st.sampled_from(
    ["runs", "queued", "answered", "failed", "streams", "declined", "dead", "new"]
)
ROLES = st.lists(ROLE, min_size=1, max_size=12)
DEED = st.sampled_from(["go on", "answers", "streams", "finishes", "takes"])
DEEDS = st.lists(st.tuples(st.integers(0, 11), DEED), max_size=12)


def like_at_once(roles: List[str], how: str, deeds: List[Tuple[int, str]]) -> None:
    """The same verdicts, sums and reports, whatever members do while it goes on."""
    whole, parts = Part(roles, how, True), Part(roles, how, False)
    for number, deed in deeds:
        if deed == "go on":
            parts.goes_on()
            continue
        number %= len(roles)
        answers = [part.comes(number, deed) & ~(ENDED | ENDING) for part in (whole, parts)]
        assert answers[0] == answers[1]
        parts.books.check()
        if parts.request.completion is None:
            # It is open, to whoever looks: nothing of the end shows yet.
            assert bool(parts.books.open)
            assert report_of(parts.request, parts.late).completion is None
    passes = 0
    while parts.request.completion is None:
        effects = parts.goes_on()
        passes += 1
        assert effects == (ENDED if parts.request.completion else ENDING)
    assert passes <= 2 * len(roles) + 1
    assert not parts.books.open
    assert parts.shown() == whole.shown()


@given(ROLES, st.sampled_from(HOW), DEEDS)
def test_whatever_comes_in_between(
    roles: List[str], how: str, deeds: List[Tuple[int, str]]
) -> None:
    """Any roles, ends and late facts."""
    like_at_once(roles, how, deeds)


@pytest.mark.parametrize(
    ("role", "how", "deeds"),
    [
        ("queued", "cancel", ["takes", "takes"]),
        ("streams", "cancel", ["finishes"]),
        ("streams", "deadline", ["streams", "finishes"]),
        ("runs", "stop", ["answers", "answers"]),
    ],
)
def test_the_last_member_comes_before_its_turn(role: str, how: str, deeds: List[str]) -> None:
    """Once, or more often."""
    like_at_once([role] * 4, how, [(3, deed) for deed in deeds])


@pytest.mark.parametrize("answered", [0, 1000])
@pytest.mark.parametrize("how", HOW)
def test_a_part_is_small(how: str, answered: int) -> None:
    """So many verdicts, or looks at who has answered; then the completion, once, with the last."""
    books = Books()
    members = [member() for _ in range(answered + 100)]
    request = books.opened(*members)
    books.gathered()
    for each in members[:answered]:
        books.answers(request, each, 1.0)
    effects: List[int] = []
    deed: Callable[[], Any] = {
        "deadline": lambda: books.time_passed(AFTER)[0][0][1],
        "cancel": lambda: books.cancelled(request, 5.0),
        "stop": lambda: books.stopped(5.0, False)[0][0][1],
        "stop at once": lambda: books.stopped(5.0, True)[0][0][1],
    }[how]
    effects.append(deed())
    said = [len(request.unanswered())]
    while request.completion is None:
        effects.append(books.time_passed(0.0)[0][0][1])
        said.append(len(request.unanswered()))
    assert max(after - before for before, after in zip([0, *said], said)) <= BUDGET
    assert len(said) >= 100 // BUDGET + answered // 200
    assert effects == [*[ENDING] * (len(said) - 1), ENDED]
    assert books.time_passed(0.0) == ([], False)


def test_nothing_else_becomes_of_it() -> None:
    """While it goes on it cannot be begun, cancelled, or ended otherwise."""
    books = Books()
    members = [member() for _ in range(100)]
    request = books.opened(*members)
    books.gathered()
    assert books.cancelled(request, 5.0) == ENDING
    assert books.began(request, members[99], 6.0) == REFUSED
    for fact in (Ledger.cancelled, Ledger.expired):
        assert fact(books, request, 6.0) == ENDING
    assert books.declined(request, members[98], 6.0) == ENDING
    assert books.died(request, members[97], 6.0) == ENDING
    while request.completion is None:
        books.time_passed(AFTER)
    assert request.completion is Completion.CANCELLED
    assert request.ended == 5.0
    assert counted(books) == {Verdict.CANCELLED: 100}


def test_deadlines_go_before_ends_that_go_on() -> None:
    """However many parts there are to come."""
    books = Books()
    large = books.opened(*[member() for _ in range(100)])
    small = [books.opened(member(), deadline=10.5) for _ in range(3)]
    books.gathered()
    assert books.cancelled(large, 5.0) == ENDING
    told, more = books.time_passed(AFTER, 3 * 2)
    assert ([request for request, _ in told], more) == (small, True)
    while more:
        _, more = books.time_passed(AFTER)
    assert large.completion is Completion.CANCELLED


@pytest.mark.parametrize("fact", ["declined", "died", "withdrawn"])
def test_what_makes_a_policy_impossible_starts_no_line(fact: str) -> None:
    """Although those who are left stand there: the request is over, and stays so."""
    books = Books()
    members = [member(f"m{number}") for number in range(20)]
    request = books.opened(*members)
    request.needs(PolicyState(Quorum(20)))
    request.lines_up(StartLine(NEVER))
    books.gathered()
    for each in members[9:]:
        each.claim = Claim(request, each, 1.0)
        assert not books.lined_up(request, each.claim, 1.0) & ENDED
    assert getattr(books, fact)(request, members[0], 2.0) & ENDING
    assert request.is_over
    assert all(each.running is None for each in members)
    while request.completion is None:
        books.time_passed(3.0)
    assert request.completion is Completion.IMPOSSIBLE
    assert books.sums.shown(books.open.all()).requests == 1
