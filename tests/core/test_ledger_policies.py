"""What the pure ledger makes of policies; each test is one claim."""

from __future__ import annotations

from typing import Any, List, Optional

import pytest
from inside import NEVER, Options
from ledger_books import AFTER, BEFORE, DEADLINE, Books, begins, counted, member, verdicts

from ate_dispatcher._core.effects import ALARM, ASK, ENDED
from ate_dispatcher._core.member import Member
from ate_dispatcher._core.outcomes import Completion, Standing, Verdict
from ate_dispatcher._core.request import Request
from ate_dispatcher.policies import (
    All,
    AllOf,
    AnyOf,
    First,
    Policy,
    Quorum,
    Stall,
    StopOnError,
    Until,
    policy_of,
)

OK, ERROR, MISSING = Verdict.OK, Verdict.ERROR, Verdict.MISSING
A, B, C = (lambda replies: 1), (lambda replies: 2), (lambda replies: 3)


class Case:
    """One request to three members under *policy*."""

    def __init__(self, policy: Policy, n: int = 3, deadline: float = DEADLINE) -> None:
        self.books = Books()
        self.members: List[Member] = [member(name) for name in "abcdef"[:n]]
        self.request: Request = self.books.opened(*self.members, deadline=deadline)
        assert Options(policy).prepare(self.request) is None

    def says(self, who: int, at: float, error: Optional[BaseException] = None) -> int:
        """A member answers; the effects as they are."""
        each = self.members[who]
        if each.running is None:
            begins(self.request, each, min(at, self.request.deadline))
        effects = self.books.replied(each.running, each, "value", error, at)
        assert each.running is None
        self.books.check()
        return effects

    def agree(self, *yes: Until, at: float = 1.0, error: Optional[BaseException] = None) -> int:
        return self.books.agreed(self.request, list(yes), error, at)

    @property
    def end(self) -> Any:
        """Why, and which part of the policy said so."""
        need = self.request.need
        assert need is not None
        return self.request.completion, None if need.said is None else str(need.said)


def test_a_quorum_is_of_values() -> None:
    """Errors do not count; the rest of the members are missing then."""
    case = Case(Quorum(2), n=4)
    case.says(0, 1.0)
    case.says(1, 2.0, ValueError())
    assert case.request.completion is None
    assert case.says(2, 3.0) & ENDED
    assert case.end == (Completion.QUORUM, "Quorum(2)")
    assert verdicts(case.request) == [OK, ERROR, OK, MISSING]
    assert counted(case.books) == {OK: 2, ERROR: 1, MISSING: 1}


@pytest.mark.parametrize("how", ["error", "declined", "died"])
def test_a_quorum_that_is_out_of_reach_ends_at_once(how: str) -> None:
    """Whatever became of those who could have made it."""
    case = Case(Quorum(3), n=4)
    case.says(0, 1.0)
    for who in (1, 2):
        assert case.request.completion is None
        if how == "error":
            case.says(who, 2.0, ValueError())
        else:
            getattr(case.books, how)(case.request, case.members[who], 2.0)
    assert case.end == (Completion.IMPOSSIBLE, None)


def test_the_last_of_a_quorum_may_be_the_last_of_all() -> None:
    """Then the policy said yes, and that is the reason."""
    case = Case(Quorum(3))
    for who in range(3):
        case.says(who, 1.0)
    assert case.end == (Completion.QUORUM, "Quorum(3)")


def test_the_first_is_a_quorum_of_one() -> None:
    """An error is no answer to it."""
    case = Case(First())
    case.says(0, 1.0, ValueError())
    case.says(1, 2.0)
    assert case.end == (Completion.QUORUM, "First()")


def test_a_stall_counts_from_the_last_reply() -> None:
    """Each reply, an error too, begins it anew; before the first there is none."""
    case = Case(Stall(2000), n=4)
    assert case.books.expire(9.0) == []
    assert case.says(0, 9.0) & ALARM
    assert case.books.next_instant() == DEADLINE
    case = Case(Stall(2000), n=4)
    case.says(0, 1.0)
    case.books.gathered()
    assert case.books.next_instant() == 3.0
    case.says(1, 2.5, ValueError())
    assert case.books.expire(3.5) == [(case.request, 0)]
    assert case.books.next_instant() == 4.5
    assert case.books.expire(4.5) == []
    case.says(2, 4.5)
    assert case.books.expire(4.6) == [(case.request, 0)]
    ((_, effects),) = case.books.expire(6.6)
    assert effects & ENDED
    assert case.end == (Completion.STALLED, "Stall(2000)")
    assert case.request.ended == 6.6
    assert case.books.next_instant() == NEVER


def test_a_reply_that_comes_after_the_quiet_comes_after_the_end() -> None:
    """Although nobody had looked: the stamp decides, as it does at the deadline."""
    case = Case(Stall(1000))
    case.says(0, 1.0)
    effects = case.says(1, 2.5)
    assert effects & ENDED
    assert case.end == (Completion.STALLED, "Stall(1000)")
    assert verdicts(case.request) == [OK, Verdict.SURPLUS, MISSING]


def test_a_reply_exactly_at_the_end_of_the_quiet_is_in_time() -> None:
    """As one exactly at the deadline."""
    case = Case(Stall(1000))
    case.says(0, 1.0)
    case.says(1, 2.0)
    assert case.request.completion is None


def test_quiet_beyond_the_deadline_is_the_deadline() -> None:
    """Also when both have passed before anybody looked; what came first is the reason."""
    for last, completion in ((8.5, Completion.DEADLINE), (7.5, Completion.STALLED)):
        case = Case(Stall(2000))
        case.says(0, last)
        case.books.expire(30.0)
        assert case.request.completion is completion
    for fact in ("cancelled", "expired"):
        case = Case(Stall(2000))
        case.says(0, 7.5)
        case.books.gathered()
        getattr(case.books, fact)(case.request, 30.0)
        assert case.request.completion is Completion.STALLED


def test_quiet_beyond_the_deadline_is_the_deadline_although_a_shorter_quiet_is_due_too() -> None:
    """What the shorter is asked about says nothing of the longer, which would end after it."""
    case = Case((Quorum(3) & Stall(1000)) | Stall(9500), n=4)
    case.says(0, 1.0)
    case.books.expire(30.0)
    assert case.request.completion is Completion.DEADLINE


def test_of_two_stalls_the_shorter_comes_first() -> None:
    """Then, if something else was wanted too, the longer."""
    case = Case(Stall(3000) | Stall(1000))
    case.says(0, 1.0)
    assert case.says(1, 2.5) & ENDED
    case = Case((Stall(1000) & Quorum(3)) | Stall(3000), n=4)
    case.says(0, 1.0)
    assert case.books.expire(2.5) == [(case.request, 0)]
    assert case.books.next_instant() == 4.0
    case.books.expire(4.5)
    assert case.end == (Completion.STALLED, "Stall(3000)")


def test_a_nearer_quiet_is_not_hidden_by_a_farther_one() -> None:
    """Although that was known first."""
    case = Case((Quorum(2) & Stall(20)) | Stall(1500), n=3, deadline=NEVER)
    case.says(0, 1.0)
    case.books.gathered()
    assert case.books.expire(1.1) == [(case.request, 0)]
    assert case.books.next_instant() == 2.5
    assert case.says(1, 1.3) & ALARM
    assert case.books.next_instant() == pytest.approx(1.32)
    case.books.expire(1.4)
    assert case.end == (Completion.STALLED, "Quorum(2) & Stall(20)")


def test_all_have_replied_before_it_stalls() -> None:
    """Nothing is left to wait for."""
    for policy in (Stall(2000), StopOnError(), Stall(1) | StopOnError(), All() & Stall(5)):
        case = Case(policy)
        for who in range(3):
            case.says(who, 1.0)
        assert case.end == (Completion.ALL_REPLIED, None)


def test_the_first_error_stops() -> None:
    """Not before."""
    case = Case(StopOnError())
    case.says(0, 1.0)
    assert case.request.completion is None
    case.says(1, 2.0, ValueError())
    assert case.end == (Completion.PREDICATE, "StopOnError()")


def test_a_predicate_is_asked_after_each_reply_and_its_yes_is_a_fact() -> None:
    """Replies that come meanwhile are accepted; late answers to it change nothing."""
    until = Until(A)
    case = Case(until)
    assert case.says(0, 1.0) & ASK
    assert case.says(1, 1.5, ValueError()) & ASK
    assert case.agree() == 0
    assert case.request.completion is None
    assert case.agree(until) & ENDED
    assert case.end[0] is Completion.PREDICATE
    assert verdicts(case.request) == [OK, ERROR, MISSING]
    assert case.agree(until) == 0


def test_all_have_replied_but_somebody_still_asks() -> None:
    """It ends when the last one has come back; in vain, if nobody agreed."""
    for agreed in (False, True):
        until = Until(A)
        case = Case(until, n=2)
        case.says(0, 1.0)
        case.says(1, 1.0)
        case.agree()
        assert case.request.completion is None
        case.agree(*[until] * agreed)
        expected = Completion.PREDICATE if agreed else Completion.IMPOSSIBLE
        assert case.request.completion is expected


def test_who_is_done_without_a_predicate_waits_for_it_all_the_same() -> None:
    """Its yes may be the better reason."""
    until = Until(A)
    case = Case(until | Stall(1000), n=1)
    case.says(0, 1.0)
    assert case.request.completion is None
    case.agree(until)
    assert case.request.completion is Completion.PREDICATE


def test_a_predicate_that_raises_ends_that_request() -> None:
    """With the error."""
    error = ValueError("mine")
    case = Case(Until(A))
    case.says(0, 1.0)
    assert case.agree(error=error) & ENDED
    assert case.end == (Completion.IMPOSSIBLE, None)
    assert case.request.need is not None
    assert case.request.need.error is error


def test_a_predicate_that_takes_too_long_has_lost() -> None:
    """The deadline has passed."""
    until = Until(A)
    case = Case(until)
    case.says(0, 1.0)
    case.agree(until, at=AFTER)
    assert case.request.completion is Completion.DEADLINE


def test_either_ends_with_whichever_says_yes() -> None:
    """Of two at once, the first in the order in which they were written gives the reason."""
    case = Case(Quorum(2) | Stall(1000) | StopOnError())
    case.says(0, 1.0, ValueError())
    assert case.end == (Completion.PREDICATE, "StopOnError()")
    for policy, reason in (
        (Quorum(1) | All(), Completion.QUORUM),
        (All() | Quorum(1), Completion.ALL_REPLIED),
    ):
        case = Case(policy, n=1)
        case.says(0, 1.0)
        assert case.request.completion is reason


def test_either_is_impossible_when_both_are() -> None:
    """One of them may go on alone."""
    case = Case(Quorum(3) | Quorum(2))
    case.says(0, 1.0, ValueError())
    assert case.request.completion is None
    case.says(1, 1.0, ValueError())
    assert case.request.completion is Completion.IMPOSSIBLE


def test_both_end_when_both_say_yes() -> None:
    """The last of them as they were written gives the reason, and all of it is the policy."""
    for policy, reason in (
        (Quorum(1) & StopOnError(), Completion.PREDICATE),
        (StopOnError() & Quorum(1), Completion.QUORUM),
    ):
        case = Case(policy)
        case.says(0, 1.0, ValueError())
        assert case.request.completion is None
        case.says(1, 1.0)
        assert case.end == (reason, str(policy))


def test_both_are_impossible_when_one_is() -> None:
    """At once."""
    case = Case(Quorum(3) & Stall(1000))
    case.says(0, 1.0, ValueError())
    assert case.request.completion is Completion.IMPOSSIBLE


def test_quiet_before_there_are_enough_is_not_forgotten() -> None:
    """It is looked at again when the next one has come."""
    case = Case(Quorum(2) & Stall(1000), n=3, deadline=NEVER)
    case.says(0, 1.0)
    assert case.books.expire(3.0) == [(case.request, 0)]
    assert case.books.next_instant() == NEVER
    assert case.says(1, 5.0) & ALARM
    assert case.books.next_instant() == 6.0
    case.books.expire(6.5)
    assert case.end == (Completion.STALLED, "Quorum(2) & Stall(1000)")


def test_what_cannot_be_had_is_over_at_the_send() -> None:
    """Nobody is asked, and the sums know of it."""
    books = Books()
    request = books.opened(member("a"), member("b", Standing.NOT_STARTED))
    books.arrivals.clear()
    over = Options(Quorum(3)).prepare(request)
    assert over is Completion.IMPOSSIBLE
    request.end(over, request.sent)
    assert (request.completion, request.ended) == (Completion.IMPOSSIBLE, request.sent)
    assert verdicts(request) == [Verdict.WITHDRAWN] * 2
    assert request.call is None
    books.nobody(request)
    assert counted(books) == {Verdict.WITHDRAWN: 2}


def test_policies_leave_nothing_behind() -> None:
    """What ended early is not kept for its quiet, however far off that is."""
    books = Books()
    for _ in range(1000):
        a, b = member("a"), member("b")
        request = books.opened(a, b, deadline=NEVER)
        assert Options(Quorum(2) | Stall(1e9)).prepare(request) is None
        books.answers(request, a, BEFORE)
        books.answers(request, b, BEFORE)
        assert request.completion is Completion.QUORUM
        books.check()
        assert books.stored() <= 128
    assert not books.open
    assert books.open_count() == 0
    assert books.next_instant() == NEVER


def test_overlapping_requests_leave_nothing_behind_either() -> None:
    """With one of them always open."""
    books = Books()
    last: Any = None
    for _ in range(2000):
        a, b = member("a"), member("b")
        request = books.opened(a, b, deadline=NEVER)
        assert Options(Quorum(2) | Stall(1e9)).prepare(request) is None
        books.answers(request, a, BEFORE)
        if last is not None:
            books.answers(*last, BEFORE)
        last = request, b
        assert books.stored() <= 200
    books.check()


# -- the words ---------------------------------------------------------------------------------


def test_policies_are_values() -> None:
    """Equal when they say the same; and they print as they are written."""
    assert Quorum(3) | Stall(50) == Quorum(3) | Stall(50.0)
    assert hash(Quorum(3) | First()) == hash(Quorum(3) | First())
    assert Quorum(3) | Stall(50) != Stall(50) | Quorum(3)
    assert Until(A) == Until(A) != Until(B)
    assert (First() | All()) | StopOnError() == First() | (All() | StopOnError())
    assert str((Quorum(3) | Stall(2.5)) & Until(all)) == "(Quorum(3) | Stall(2.5)) & Until(all)"
    assert str(First() & All() | StopOnError()) == "First() & All() | StopOnError()"
    with pytest.raises(AttributeError):
        Quorum(3).n = 4  # type: ignore[misc]


def test_short_forms() -> None:
    """A number is a quorum."""
    assert policy_of(3) == Quorum(3)
    assert policy_of("first") == First()
    assert policy_of("all") == policy_of(None) == policy_of(All()) == All()
    assert policy_of(Stall(5)) == Stall(5)


@pytest.mark.parametrize(
    ("make", "error", "names"),
    [
        (lambda: Quorum(0), ValueError, "n must be at least 1"),
        (lambda: Quorum(True), TypeError, "n must be a number"),
        (lambda: Quorum(2.0), TypeError, "n must be a number"),  # type: ignore[arg-type]
        (lambda: Stall(-1), ValueError, "ms must be at least 0"),
        (lambda: Stall(float("nan")), ValueError, "ms must be at least 0"),
        (lambda: Stall(float("inf")), ValueError, "finite"),
        (lambda: Stall("1"), TypeError, "ms must be a number"),  # type: ignore[arg-type]
        (lambda: Until(3), TypeError, "predicate must be callable"),  # type: ignore[arg-type]
        (lambda: First() | 3, TypeError, "combined with a policy"),  # type: ignore[operator]
        (lambda: First() & "first", TypeError, "combined with"),  # type: ignore[operator]
        (lambda: AnyOf(()), TypeError, "parts must be a tuple"),
        (lambda: AllOf((3,)), TypeError, "parts must be policies"),  # type: ignore[arg-type]
        (lambda: policy_of(type("Mine", (Policy,), {})()), TypeError, "need must be made of"),
        (lambda: policy_of(0), ValueError, "need must be at least 1"),
        (lambda: policy_of(True), TypeError, "need must be"),
        (lambda: policy_of("last"), ValueError, "need must be"),
        (lambda: policy_of(2.5), TypeError, "need must be"),
    ],
)
def test_nonsense_is_refused(make: Any, error: Any, names: str) -> None:
    """Where it is written, naming it."""
    with pytest.raises(error, match=names):
        make()
