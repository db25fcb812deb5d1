"""The pure ledger, cell by cell of the table at its top; each test is one claim."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest
from inside import NEVER, Options
from ledger_books import (
    AFTER,
    BEFORE,
    DEADLINE,
    TOLD,
    Books,
    Payload,
    Someone,
    absent,
    begins,
    counted,
    fields,
    member,
    standings,
    unanswered,
    verdicts,
)

from ate_dispatcher._core.effects import (
    ACCEPTED,
    DISCARDED,
    ENDED,
    FAILED,
    NOTED,
    ORDINARY,
)
from ate_dispatcher._core.ends import BUDGET
from ate_dispatcher._core.ledger import Ledger
from ate_dispatcher._core.member import Claim, Member
from ate_dispatcher._core.outcomes import Completion, Standing, Verdict
from ate_dispatcher._core.records import VALUE
from ate_dispatcher._core.reporting import report_of
from ate_dispatcher._core.request import Request
from ate_dispatcher.policies import Quorum

QUEUED, NOT_STARTED = Standing.QUEUED, Standing.NOT_STARTED
RUNNING, DEAD = Standing.RUNNING, Standing.DEAD


@pytest.fixture
def books() -> Books:
    """Empty ones."""
    return Books()


# -- replied ---------------------------------------------------------------------------------------


def test_value_in_time(
    books: Books,
) -> None:
    """A value in time is accepted and the request stays open for the others."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    assert books.answers(request, a, BEFORE) == ACCEPTED
    assert request.completion is None
    assert request.chain is not None
    assert request.chain[VALUE] == "value"
    assert verdicts(request) == [Verdict.OK, None]
    assert counted(books) == {Verdict.OK: 1}


def test_exception_in_time(books: Books) -> None:
    """An exception in time is an answer."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    assert books.answers(request, a, BEFORE, ValueError()) == FAILED
    assert verdicts(request) == [Verdict.ERROR, None]
    assert report_of(request, 99.0).members[0].error == "ValueError"
    assert counted(books) == {Verdict.ERROR: 1}


def test_last_answer(books: Books) -> None:
    """The last answer ends the request as all replied."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    books.answers(request, a, 1.0)
    assert books.answers(request, b, 2.0) == ACCEPTED | ENDED
    assert (request.completion, request.ended) == (Completion.ALL_REPLIED, 2.0)
    assert verdicts(request) == [Verdict.OK, Verdict.OK]


def test_last_error(books: Books) -> None:
    """The last error ends the request as all replied."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    books.answers(request, a, 1.0)
    assert books.answers(request, b, 2.0, ValueError()) == FAILED | ENDED
    assert request.completion is Completion.ALL_REPLIED
    assert not report_of(request, 99.0).complete
    assert counted(books) == {Verdict.OK: 1, Verdict.ERROR: 1}


def test_answer_at_the_deadline(books: Books) -> None:
    """An answer stamped exactly at the deadline is in time."""
    a = member()
    request = books.opened(a)
    assert books.answers(request, a, DEADLINE) == ACCEPTED | ENDED
    assert request.completion is Completion.ALL_REPLIED


def test_answer_just_after_the_deadline(books: Books) -> None:
    """The least that a clock can tell is late."""
    a = member()
    request = books.opened(a)
    assert books.answers(request, a, DEADLINE * (1 + sys.float_info.epsilon)) == ENDED | DISCARDED
    assert (request.completion, verdicts(request)) == (Completion.DEADLINE, [Verdict.LATE])


def test_late_answer_to_an_open_request(books: Books) -> None:
    """A late answer to an open request ends it as deadline first."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    assert books.answers(request, a, AFTER) == ENDED | DISCARDED
    assert absent(request)
    assert (request.completion, request.ended) == (Completion.DEADLINE, AFTER)
    assert request.chain is None
    assert verdicts(request) == [Verdict.LATE, Verdict.MISSING]
    assert report_of(request, 99.0).members[0].late_ms == pytest.approx(1000)
    assert counted(books) == {Verdict.LATE: 1, Verdict.MISSING: 1}


@pytest.mark.parametrize("error", [None, ValueError()], ids=["value", "error"])
@pytest.mark.parametrize(
    ("stamp", "verdict"),
    [(BEFORE, Verdict.SURPLUS), (DEADLINE, Verdict.SURPLUS), (AFTER, Verdict.LATE)],
)
def test_answer_after_the_end(
    books: Books, error: Optional[BaseException], stamp: float, verdict: Verdict
) -> None:
    """An answer after the end is surplus up to the deadline and late beyond it."""
    a = member()
    request = books.opened(a)
    begins(request, a, 1.0)
    assert books.cancel(request, 2.0) & TOLD == ENDED
    assert not absent(request)
    assert verdicts(request) == [Verdict.MISSING]
    assert standings(request) == [RUNNING]
    assert books.answers(request, a, stamp, error) == DISCARDED
    assert verdicts(request) == [verdict]
    assert (request.completion, request.ended, request.chain) == (Completion.CANCELLED, 2.0, None)
    assert counted(books) == {verdict: 1}


def test_how_late(books: Books) -> None:
    """A late answer says by how much and a surplus one is not late."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    begins(request, a, 1.0)
    begins(request, b, 1.0)
    books.cancel(request, 2.0)
    books.answers(request, a, 10.25)
    books.answers(request, b, DEADLINE)
    assert [line.late_ms for line in report_of(request, 99.0).members] == [250.0, None]
    assert [line.ran_ms for line in report_of(request, 99.0).members] == [9250.0, 9000.0]


def test_report_at_the_end(books: Books) -> None:
    """The report at the end does not show what came afterwards."""
    a = member()
    request = books.opened(a)
    begins(request, a, 1.0)
    books.cancel(request, 2.0)
    before = report_of(request, 3.0, at_the_end=True)
    books.answers(request, a, AFTER)
    assert report_of(request, 99.0, at_the_end=True) == before


def test_no_deadline(books: Books) -> None:
    """Without a deadline no answer is late."""
    a, b = member("a"), member("b")
    request = books.opened(a, b, deadline=NEVER)
    assert books.answers(request, a, 1e300) == ACCEPTED
    begins(request, b, 1e300)
    books.cancel(request, 1e300)
    assert books.answers(request, b, 1e301) == DISCARDED
    assert verdicts(request) == [Verdict.OK, Verdict.SURPLUS]
    assert books.expire(1e302) == []


def test_overtaken_request(books: Books) -> None:
    """A request that younger ones overtook is answered and counted like any other."""
    a = member()
    first, second = books.opened(a), books.opened(a)
    assert books.answers(second, a, BEFORE) == ACCEPTED | ENDED
    assert books.answers(first, a, DEADLINE) == ACCEPTED | ENDED
    assert counted(books) == {Verdict.OK: 2}


# -- declined, died --------------------------------------------------------------------------------


def test_declined(books: Books) -> None:
    """A member that could not be asked is declined."""
    a, b = member("a", DEAD), member("b")
    request = books.opened(a, b)
    assert books.declined(request, a, 1.0) & TOLD == NOTED
    assert verdicts(request) == [Verdict.DECLINED, None]
    assert unanswered(request).member is a
    assert counted(books) == {Verdict.DECLINED: 1}


def test_died(
    books: Books,
) -> None:
    """A member whose thread ended with the request waiting is missing and dead."""
    a, b = member("a", DEAD), member("b")
    request = books.opened(a, b)
    assert books.died(request, a, 1.0) & TOLD == NOTED
    assert verdicts(request) == [Verdict.MISSING, None]
    assert standings(request)[0] is DEAD
    assert counted(books) == {Verdict.MISSING: 1}


Fact = Callable[[Ledger, Request, Member, float], int]
UNANSWERED = pytest.mark.parametrize("fact", [Ledger.declined, Ledger.died])


@UNANSWERED
def test_last_member_unanswered(books: Books, fact: Fact) -> None:
    """The last member that will not answer ends the request as all replied."""
    a, b = member("a"), member("b", DEAD)
    request = books.opened(a, b)
    books.answers(request, a, 1.0)
    assert fact(books, request, b, 2.0) & TOLD == NOTED | ENDED
    assert (request.completion, request.ended) == (Completion.ALL_REPLIED, 2.0)
    assert not books.open_requests()


@UNANSWERED
def test_last_answer_beside_an_unanswered(books: Books, fact: Fact) -> None:
    """The last answer ends a request that others declined."""
    a, b = member("a"), member("b", DEAD)
    request = books.opened(a, b)
    fact(books, request, b, 2.0)
    begins(request, a, 2.5)
    effects = books.replied(request, a, "value", None, 3.0)
    assert effects & TOLD == ACCEPTED | ENDED
    assert request.completion is Completion.ALL_REPLIED
    assert sum(counted(books).values()) == 2
    assert counted(books)[Verdict.OK] == 1


@UNANSWERED
def test_unanswered_after_the_end(books: Books, fact: Fact) -> None:
    """That a member will not answer means nothing after the end."""
    a = member("a", DEAD)
    request = books.opened(a)
    books.cancel(request, 1.0)
    before = report_of(request, 1.0)
    assert fact(books, request, a, 2.0) == 0
    assert report_of(request, 2.0) == before
    assert counted(books) == {Verdict.MISSING: 1}


@UNANSWERED
def test_unanswered_at_and_after_the_deadline(books: Books, fact: Fact) -> None:
    """That a member will not answer ends a request after its deadline and not at it."""
    a, b = member("a", DEAD), member("b")
    request = books.opened(a, b)
    assert fact(books, request, a, DEADLINE) & TOLD == NOTED
    assert request.completion is None
    late = books.opened(a, b)
    assert fact(books, late, a, AFTER) & TOLD == ENDED
    assert absent(late)
    assert late.completion is Completion.DEADLINE
    assert (verdicts(late)[0], standings(late)[0]) == (Verdict.MISSING, DEAD)


# -- a member's turn -------------------------------------------------------------------------------


@pytest.mark.parametrize("standing", [QUEUED, NOT_STARTED])
def test_turn_after_the_end(books: Books, standing: Standing) -> None:
    """A member that had not begun is missing and skipped when its turn comes."""
    a = member("a", standing)
    request = books.opened(a)
    assert books.expire(AFTER) == [(request, ENDED)]
    assert absent(request)
    assert (verdicts(request), standings(request)) == ([Verdict.MISSING], [standing])
    assert counted(books) == {Verdict.MISSING: 1}
    (each,) = books.come_to(a, books)
    assert (each.id, each.outcome) == (request.id, Verdict.SKIPPED)
    assert verdicts(request) == [Verdict.SKIPPED]
    assert counted(books) == {Verdict.SKIPPED: 1}
    assert books.come_to(a, books) == []


def test_turn_after_the_deadline(
    books: Books,
) -> None:
    """A turn that comes after the deadline ends the request as deadline first."""
    a = member()
    request = books.opened(a)
    assert books.expired(request, AFTER) & TOLD == ENDED
    assert absent(request)
    assert request.completion is Completion.DEADLINE
    assert [each.id for each in books.come_to(a, books)] == [request.id]
    assert verdicts(request) == [Verdict.SKIPPED]


def test_turn_at_another_ledger(books: Books) -> None:
    """A turn settles nothing of another ledger."""
    a, other = member(), Books()
    request = books.opened(a)
    books.expire(AFTER)
    assert other.come_to(a, other) == []
    assert verdicts(request) == [Verdict.MISSING]
    assert len(books.come_to(a, books)) == 1


def test_no_producer_is_kept(books: Books) -> None:
    """A ledger keeps no producer of an ended request."""
    a = member()
    request, gone = books.opened(a), weakref.ref(a.producer)
    books.expire(AFTER)
    del a, request
    gc.collect()
    assert gone() is None


# -- whole requests --------------------------------------------------------------------------------


@pytest.mark.parametrize("standing", [QUEUED, NOT_STARTED])
def test_cancelled_before_it_began(books: Books, standing: Standing) -> None:
    """Who had not begun a cancelled request is cancelled for good."""
    a = member("a", standing)
    request = books.opened(a)
    assert books.cancel(request, 1.0) & TOLD == ENDED
    assert absent(request)
    assert (request.completion, request.ended) == (Completion.CANCELLED, 1.0)
    assert verdicts(request) == [Verdict.CANCELLED]
    assert books.come_to(a, books) == []
    assert verdicts(request) == [Verdict.CANCELLED]
    assert counted(books) == {Verdict.CANCELLED: 1}


@pytest.mark.parametrize(
    ("end", "not_begun"),
    [
        (lambda books, request: books.cancel(request, 1.0), Verdict.CANCELLED),
        (lambda books, request: books.expired(request, AFTER), Verdict.MISSING),
        (lambda books, request: stop(books, 1.0, False)[0][1], Verdict.MISSING),
        (lambda books, request: stop(books, 1.0, True)[0][1], Verdict.WITHDRAWN),
    ],
    ids=["cancel", "deadline", "stop", "stop at once"],
)
def test_each_end_and_each_standing(
    books: Books, end: Callable[[Books, Request], int], not_begun: Verdict
) -> None:
    """An end judges each member by where it stands."""
    members = [member(standing.name, standing) for standing in (QUEUED, NOT_STARTED, DEAD)]
    running, answered = member("running"), member("answered")
    request = books.opened(*members, running, answered)
    begins(request, running, 0.5)
    books.answers(request, answered, 0.5)
    assert end(books, request) & TOLD == ENDED
    assert absent(request)
    assert verdicts(request) == [
        not_begun, not_begun, Verdict.MISSING, Verdict.MISSING, Verdict.OK
    ]  # fmt: skip
    assert standings(request) == [QUEUED, NOT_STARTED, DEAD, RUNNING, None]
    assert sum(counted(books).values()) == 5
    # What is withdrawn or cancelled is final; who is running answers into the void.
    assert len(books.come_to(members[0], books)) == (not_begun is Verdict.MISSING)
    assert books.answers(request, running, DEADLINE) == DISCARDED
    assert verdicts(request)[3] is Verdict.SURPLUS
    assert sum(counted(books).values()) == 5


def test_running_another_request(books: Books) -> None:
    """A member that runs another request has not begun this one."""
    a = member()
    first, second = books.opened(a), books.opened(a)
    begins(first, a, 1.0)
    books.cancel(second, 2.0)
    books.cancel(first, 2.0)
    assert (verdicts(first), verdicts(second)) == ([Verdict.MISSING], [Verdict.CANCELLED])


def test_cancel_of_the_unknown(books: Books) -> None:
    """Cancelling what never came to be known is for the engine, which does not: it looks there."""
    a = member()
    known = books.opened(a)
    unknown = Request.of(books, 7, "t", None, (a,), 0.0, 1.0, ("t",), None)
    assert unknown.cell is None
    assert unknown not in books.arrivals
    books.gathered()
    assert known.cell is not None
    assert books.open_requests() == [known]
    assert counted(books) == {}


def test_cancel_among_the_arrivals(books: Books) -> None:
    """What is cancelled where it stands among the arrivals, or was kept before, is forgotten."""
    a = member()
    first, second, third = (books.opened(a) for _ in range(3))
    assert books.cancelled(second, 1.0) & TOLD == ENDED
    assert books.cancel(third, 1.0) & TOLD == ENDED
    assert books.open_requests() == [first]
    assert counted(books) == {Verdict.CANCELLED: 2}
    assert books.open.gather() == [third]
    assert counted(books) == {Verdict.CANCELLED: 2}
    assert [request for request, _ in books.expire(AFTER)] == [first]


def test_cancel_after_the_end(books: Books) -> None:
    """Cancelling twice or after the end does nothing."""
    a = member()
    request = books.opened(a)
    books.answers(request, a, 1.0)
    assert books.cancel(request, 2.0) == 0
    assert (request.completion, request.ended) == (Completion.ALL_REPLIED, 1.0)
    other = books.opened(a)
    books.cancel(other, 2.0)
    assert books.cancel(other, 3.0) == 0
    assert other.ended == 2.0


def test_cancel_at_and_after_the_deadline(
    books: Books,
) -> None:
    """Cancelling after the deadline ends as deadline and at it as cancelled."""
    a = member()
    at, after = books.opened(a), books.opened(a)
    books.cancel(at, DEADLINE)
    books.cancel(after, AFTER)
    assert at.completion is Completion.CANCELLED
    assert after.completion is Completion.DEADLINE
    assert verdicts(after) == [Verdict.MISSING]


def test_nobody(books: Books) -> None:
    """A request that found nobody is counted and has no members."""
    request = Request.of(books, 1, "t", None, (), 0.0, DEADLINE, None, None)
    request.end(Completion.NO_PRODUCERS, 0.0)
    assert books.nobody(request) & TOLD == ENDED
    sums = books.sums.shown(books.open.all())
    assert (sums.requests, sums.open, sums.fan_out) == (1, 0, 0)
    assert sums.completions[Completion.NO_PRODUCERS] == 1


def test_time_at_and_after_the_deadline(books: Books) -> None:
    """Time ends what was due before it and leaves what is due at it."""
    a = member()
    early, late = books.opened(a, deadline=5.0), books.opened(a, deadline=DEADLINE)
    assert books.expire(5.0) == []
    assert books.expire(DEADLINE) == [(early, ENDED)]
    assert absent(early)
    assert early.completion is Completion.DEADLINE
    assert early.ended == DEADLINE
    assert late.completion is None
    assert books.expire(AFTER) == [(late, ENDED)]
    assert absent(late)


def test_time_in_pieces(
    books: Books,
) -> None:
    """Time ends what is due in the order of deadlines and a few at a time."""
    a = member()
    opened = [books.opened(a, deadline=float(due)) for due in (3, 1, 5, 2, 4)]
    books.gathered()
    ended: List[Request] = []
    for expected in (2, 2, 1, 0):
        due, more = books.time_passed(100.0, budget=3)
        assert (len(due), more) == (expected, expected == 2)
        ended += [request for request, _ in due]
    assert ended == sorted(opened, key=lambda request: request.deadline)


def test_stop_in_pieces(books: Books) -> None:
    """A stop ends a few at a time and in the end all."""
    a = member()
    opened = [books.opened(a, deadline=due) for due in (3.0, NEVER, 5.0, 2.0, NEVER)]
    books.cancel(opened[2], 0.5)
    ended: List[Request] = []
    books.gathered()
    for expected in (3, 1, 0):
        some, more = books.stopped(1.0, False, budget=5)
        assert (len(some), more) == (expected, expected == 3)
        ended += [request for request, _ in some]
    assert sorted(request.id for request in ended) == [1, 2, 4, 5]
    assert {request.completion for request in ended} == {Completion.STOPPED}
    assert books.open_count() == 0


@pytest.mark.parametrize("size", [1, 5, 63, 64, 100])
@pytest.mark.parametrize("how", ["time", "stop"])
def test_a_budget_is_of_verdicts(books: Books, how: str, size: int) -> None:
    """A pass brings about so many, however many a request has; the last may bring it beyond."""
    members = [member() for _ in range(size)]
    for _ in range(40):
        books.opened(*members)
    books.gathered()
    before, ended, more = 0, 0, True
    while more:
        some, more = books.time_passed(AFTER) if how == "time" else books.stopped(1.0, False)
        said = sum(counted(books).values()) - before
        assert said < 2 * BUDGET
        assert not more or said >= BUDGET // 2
        before += said
        ended += sum(bool(effects & ENDED) for _, effects in some)
    assert ended == 40
    assert before == 40 * size


def test_what_is_over_counts_for_the_budget_too(books: Books) -> None:
    """A pass through places that are empty is bounded as well."""
    a = member()
    opened = [books.opened(a, deadline=1.0 + number) for number in range(100)]
    last = books.opened(a, deadline=200.0)
    far = [books.opened(a, deadline=1000.0) for number in range(200)]
    books.gathered()
    for request in opened:
        books.cancelled(request, 0.5)
    passes = [books.time_passed(500.0, budget=10)]
    while passes[-1][1]:
        passes.append(books.time_passed(500.0, budget=10))
    assert [request for some, _ in passes for request, _ in some] == [last]
    assert len(passes) > 5
    assert sorted(request.id for request in books.open_requests()) == [r.id for r in far]


def test_a_stop_goes_through_empty_places_in_pieces_too(books: Books) -> None:
    """However many requests have ended early behind the last that is open."""
    a = member()
    opened = [books.opened(a, deadline=10.0 + number) for number in range(1000)]
    books.gathered()
    for request in opened[501:]:
        books.cancelled(request, 1.0)
    ended, more = 0, True
    while more:
        before = books.stored()
        some, more = books.stopped(2.0, False)
        ended += len(some)
        assert before - books.stored() <= 2 * BUDGET
    assert ended == 501
    assert books.open_count() == 0


def stop(books: Ledger, now: float, at_once: bool) -> List[Tuple[Request, int]]:
    """All that is open ends, as the control loop does it."""
    while books.arrivals:
        books.open.gather()
    some, more = books.stopped(now, at_once)
    assert not more
    return some


def test_ordinary_ends(books: Books) -> None:
    """An end that leaves something to look at is no ordinary one."""
    a, b = member("a"), member("b")
    noted, wanted, plain = (books.opened(a, b) for _ in range(3))
    books.declined(noted, a, 1.0)
    assert books.answers(noted, b, 2.0) == ORDINARY
    assert noted.extras is not None
    wanted.more().calls(print)
    books.answers(wanted, a, 2.0)
    assert books.answers(wanted, b, 2.0) == ORDINARY
    assert wanted.extras is not None
    assert books.answers(plain, a, 2.0) == ACCEPTED
    assert books.answers(plain, b, 2.0) == ORDINARY
    # That is what tells it from the others.
    assert plain.extras is None
    assert counted(books) == {Verdict.OK: 5, Verdict.DECLINED: 1}


# -- streams ---------------------------------------------------------------------------------------


def test_parts_are_no_verdict(books: Books) -> None:
    """Who had yielded some values at the end is missing; what came is kept."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    begins(request, a, 0.5)
    for stamp in (1.0, 2.0):
        assert books.streamed(request, a, "part", stamp) == ACCEPTED
    assert verdicts(request) == [None, None]
    books.expire(AFTER)
    assert verdicts(request) == [Verdict.MISSING] * 2
    assert counted(books) == {Verdict.MISSING: 2}
    assert books.streamed(a.running or request, a, "part", AFTER) == 0
    assert books.finished(a.running or request, a, AFTER) & DISCARDED
    assert verdicts(request) == [Verdict.LATE, Verdict.MISSING]


def test_the_end_of_a_stream_is_its_verdict(books: Books) -> None:
    """At the deadline it is in time; parts behind it are not accepted, and end the request."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    begins(request, a, 0.5)
    books.streamed(request, a, "part", DEADLINE)
    assert books.finished(request, a, DEADLINE) & TOLD == 0
    assert verdicts(request) == [Verdict.OK, None]
    begins(request, b, 0.5)
    assert books.streamed(request, b, "part", AFTER) & ENDED
    assert request.completion is Completion.DEADLINE
    assert counted(books) == {Verdict.OK: 1, Verdict.MISSING: 1}


def test_a_part_is_no_vote(books: Books) -> None:
    """A quorum is of members that have come to their end."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    assert Options(Quorum(1)).prepare(request) is None
    begins(request, a, 0.5)
    assert books.streamed(request, a, "part", 1.0) & TOLD == ACCEPTED
    assert books.finished(request, a, 2.0) & ENDED
    assert request.completion is Completion.QUORUM


# -- what is open, and what it keeps ---------------------------------------------------------------


def test_who_overtakes_takes_nobody_away(books: Books) -> None:
    """A request that ends before an older one leaves that where it is."""
    a, b = member("a"), member("b")
    first, second = books.opened(a), books.opened(b)
    assert books.answers(second, b, 1.0) & ENDED
    assert books.open_requests() == [first]
    assert [request for request, _ in books.expire(AFTER)] == [first]


def test_next_instant(books: Books) -> None:
    """The next instant is the earliest deadline of what is open."""
    a = member()
    assert books.next_instant() == NEVER
    early = books.opened(a, deadline=3.0)
    books.opened(a, deadline=4.0)
    books.gathered()
    assert books.next_instant() == 3.0
    books.cancel(early, 1.0)
    assert books.next_instant() == 4.0
    stop(books, 1.0, True)
    assert books.next_instant() == NEVER


def test_gather_in_pieces(books: Books) -> None:
    """Gathering goes in pieces; what has ended meanwhile comes out, to be dropped elsewhere."""
    a = member()
    opened = [books.opened(a) for _ in range(6)]
    books.open.keep(opened[4])
    books.cancelled(opened[4], 1.0)
    assert books.open.gather(2) == []
    assert (books.open_count(), len(books.arrivals)) == (2, 4)
    assert books.open.gather(3) == [opened[4]]
    assert books.open.gather(2) == []
    assert not books.arrivals
    assert books.open_count() == 5


ENDS: Dict[str, Callable[[Books, Request], int]] = {
    "reply": lambda books, request: books.answers(request, request.roster[0], 1.0),
    "error": lambda books, request: books.answers(request, request.roster[0], 1.0, ValueError()),
    "cancel": lambda books, request: books.cancelled(request, 1.0),
    "expiry": lambda books, request: books.expired(request, AFTER),
    "death": lambda books, request: books.died(request, request.roster[0], 1.0),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("gathered", [False, True], ids=["young", "gathered"])
@pytest.mark.parametrize("which", [0, 1, 2], ids=["eldest", "between", "youngest"])
def test_ended_early_and_forgotten(
    books: Books, end: Callable[[Books, Request], int], gathered: bool, which: int
) -> None:
    """Nothing stays in the ledger for a request that ended early."""
    a = member("a", DEAD)
    others = [books.opened(a) for _ in range(3)]
    if gathered:
        books.gathered()
    request = others.pop(which)
    assert request.call is not None
    assert end(books, request) & ENDED
    watched = weakref.ref(request)
    del request
    gc.collect()
    assert watched() is None
    assert sorted(request.id for request in books.open_requests()) == [e.id for e in others]


def test_nothing_of_a_user_is_let_go(books: Books) -> None:
    """What was asked stays when the request ends: whoever asked for the fact drops it, outside."""
    a = member()
    plain, cancelled = books.opened(a), books.opened(a)
    asked = [(request.call, request.kwargs) for request in (plain, cancelled)]
    books.answers(plain, a, 1.0)
    books.cancel(cancelled, 1.0)
    assert [(request.call, request.kwargs) for request in (plain, cancelled)] == asked
    assert all(call and kwargs for call, kwargs in asked)


def test_what_has_ended_among_the_arrivals_is_not_dropped_by_a_fact(books: Books) -> None:
    """With what is a user's in it; who gathers gets it, and drops it outside."""
    dropped: List[str] = []
    a, b = member("a"), member("b")
    request, second, payload = books.opened(a, b), books.opened(a), Payload()
    begins(request, a, 0.5)
    books.replied(request, a, payload, None, 1.0)
    books.cancel(request, 2.0)
    begins(second, a, 2.0)
    watch = weakref.finalize(payload, dropped.append, "inside")
    del request, payload
    books.replied(second, a, None, None, 3.0)
    assert dropped == []
    assert watch.alive
    # Whoever gathers finds all of it.
    over = [*books.open.gather(), *books.open.left]
    books.open.left.clear()
    assert len(over) == 1
    del over
    gc.collect()
    assert not watch.alive


def test_a_hung_member_keeps_nothing(books: Books) -> None:
    """A member that is still at a request which has ended keeps neither it nor what came."""
    hung, b = member("hung"), member("b")
    request, value = books.opened(hung, b), Payload()
    begins(request, hung, 1.0)
    begins(request, b, 1.0)
    books.replied(request, b, value, None, 2.0)
    books.expire(AFTER)
    watched: List[Any] = [weakref.ref(request), weakref.ref(value)]
    del request, value
    gc.collect()
    assert [reference() for reference in watched] == [None, None]
    running = hung.running
    assert running is not None
    assert books.replied(running, hung, None, None, AFTER) & TOLD == DISCARDED
    assert counted(books) == {Verdict.OK: 1, Verdict.LATE: 1}


@pytest.mark.parametrize("gathering", [0, 7, 1000], ids=["never", "often", "rarely"])
def test_no_growth(books: Books, gathering: int) -> None:
    """Requests that end out of order do not make the ledger grow."""
    a, window, most = member(), 100, 0
    still_open: List[Request] = []
    for number in range(34_000):
        # The deadlines are far away and in no order, the ends in another one.
        still_open.append(books.opened(a, deadline=1e6 + number * 7919 % 1000))
        if len(still_open) > window:
            place = number * 31 % window
            request, still_open[place] = still_open[place], still_open[-1]
            still_open.pop()
            books.answers(request, a, 1.0)
        if gathering and number % gathering == 0:
            books.gathered()
            assert books.next_instant() == min(request.deadline for request in still_open)
        most = max(most, books.stored())
    # As many empty places as full ones, and some that are not worth a rebuild.
    assert most <= 2 * (window + 1) + 70 + gathering
    assert sorted(e.id for e in books.open_requests()) == sorted(e.id for e in still_open)
    books.gathered()
    assert books.open_count() == window
    assert counted(books) == {Verdict.OK: 34_000 - window}


def test_in_order_among_the_arrivals(books: Books) -> None:
    """Requests that end in order are never anywhere but among the arrivals."""
    a = member()
    for number in range(1000):
        books.opened(a, deadline=float(number))
        if number >= 10:
            books.answers(books.arrivals[0], a, 1e-9)
            assert (len(books.arrivals), books.stored()) == (10, 10)


def test_order_after_a_rebuild(books: Books) -> None:
    """Deadlines are kept in order, although most of those before them ended early."""
    a = member()
    opened = [books.opened(a, deadline=float(number * 7919 % 400)) for number in range(400)]
    books.gathered()
    opened.sort(key=lambda request: request.deadline)
    for request in opened[:300]:
        books.answers(request, a, -1.0)
    passes = 0
    while books.stored() >= 300:
        # Each pass is short, and what is moved by it stays in order.
        assert books.next_instant() == opened[300].deadline
        assert books.open.gather() == []
        books.check()
        passes += 1
    assert 1 <= passes < 25
    assert books.next_instant() == opened[300].deadline
    assert [request for request, _ in books.expire(1e3)] == opened[300:]


EARLY = pytest.mark.parametrize("early", [False, True], ids=["the later ones", "the earlier ones"])


@EARLY
@pytest.mark.parametrize("ended_before", [0, 50, 99, 100, 101, 150, 199, 200])
def test_open_count_after_expiry(books: Books, ended_before: int, early: bool) -> None:
    """The count of open requests is right after expiry, whichever ended before."""
    a = member()
    opened = [books.opened(a, deadline=1.0 + number) for number in range(200)]
    last = books.opened(a, deadline=NEVER)
    books.gathered()
    for request in opened[:ended_before] if early else opened[200 - ended_before :]:
        books.answers(request, a, 0.5)
    left = 200 - ended_before
    while left:
        left -= len(books.time_passed(1e3, budget=128)[0])
        assert books.open_count() == len(books.open_requests()) == left + 1
    assert books.expire(1e3) == []
    assert books.next_instant() == NEVER
    books.cancel(last, 1.0)
    assert books.next_instant() == NEVER
    assert (books.open_count(), books.stored()) == (0, 0)


@EARLY
@pytest.mark.parametrize("ended_before", [0, 1000, 2000, 2001, 3000])
def test_open_count_after_a_piece_of_a_stop(books: Books, ended_before: int, early: bool) -> None:
    """The count of open requests is right after a piece of a stop."""
    a = member()
    opened = [books.opened(a, deadline=DEADLINE + number) for number in range(4000)]
    books.gathered()
    for request in opened[:ended_before] if early else opened[4000 - ended_before :]:
        books.answers(request, a, 1.0)
    left = 4000 - ended_before
    while left:
        left -= len(books.stopped(1.0, False, budget=512)[0])
        assert books.open_count() == len(books.open_requests()) == left
    more = True
    while more:
        some, more = books.stopped(1.0, False)
        assert some == []
    assert books.stored() == 0


# -- start lines -------------------------------------------------------------------------------


def lined(books: Books, after: float, *roster: Member) -> Request:
    """A request with a start line."""
    request = books.opened(*roster)
    assert Options(after=after).prepare(request) is None
    return request


def started(request: Request) -> bool:
    """Whether those who are at its start line run; what was reserved for it is free then."""
    assert request.extras is not None
    assert request.extras.line is not None
    return request.extras.line.started


def comes(books: Books, request: Request, each: Member, at: float) -> int:
    """It has what it needs, and stands at the line."""
    each.claim = Claim(request, each, at)
    return books.lined_up(request, each.claim, at)


def test_they_start_when_the_last_is_at_the_line(books: Books) -> None:
    """All at that instant; nobody runs before."""
    a, b = member("a"), member("b")
    request = lined(books, NEVER, a, b)
    assert comes(books, request, a, 1.0) == 0
    assert not started(request)
    assert (a.running, a.standing_on(request)) == (None, Standing.AT_LINE)
    assert comes(books, request, b, 3.0) == 0
    assert started(request)
    assert (a.running, b.running, a.began, b.began) == (request, request, 3.0, 3.0)
    assert request.until == DEADLINE


def test_who_comes_to_the_line_after_the_deadline_ends_the_request(books: Books) -> None:
    """Although nobody had looked; the others have waited in vain."""
    a, b = member("a"), member("b")
    request = lined(books, NEVER, a, b)
    comes(books, request, a, DEADLINE)
    assert comes(books, request, b, AFTER) & TOLD == ENDED
    assert absent(request)
    assert (a.running, b.running) == (None, None)
    assert verdicts(request) == [Verdict.SKIPPED, Verdict.SKIPPED]
    assert comes(books, request, b, AFTER) == 0


def test_exactly_when_the_line_stops_waiting_one_may_still_come(books: Books) -> None:
    """They go without the others after that instant."""
    a, b, c = member("a"), member("b"), member("c")
    request = lined(books, 2.0, a, b, c)
    comes(books, request, a, 1.0)
    books.gathered()
    assert books.next_instant() == 2.0
    assert books.expire(2.0) == []
    comes(books, request, b, 2.0)
    assert books.expire(2.5) == [(request, 0)]
    assert started(request)
    assert (a.running, b.running, c.running) == (request, request, None)
    assert books.next_instant() == DEADLINE


def test_a_line_that_has_started_waits_for_nothing(books: Books) -> None:
    """The instant until which it would have waited passes without a word."""
    a = member("a")
    request = lined(books, 2.0, a)
    books.gathered()
    comes(books, request, a, 1.0)
    assert started(request)
    assert books.next_instant() == DEADLINE
    assert books.expire(2.5) == []
    assert books.refused == 0


def test_a_line_does_not_start_after_the_deadline(books: Books) -> None:
    """Although it would have before, and nobody had looked: whoever stands there has not begun."""
    a, b = member("a"), member("b")
    request = lined(books, 2.0, a, b)
    comes(books, request, a, 1.0)
    assert [told & ENDED for _, told in books.expire(AFTER)][-1]
    assert (request.completion, request.ended) == (Completion.DEADLINE, AFTER)
    assert not started(request)
    assert (a.running, standings(request)) == (None, [Standing.AT_LINE, QUEUED])
    assert verdicts(request) == [Verdict.SKIPPED, Verdict.MISSING]


def test_a_line_beyond_the_deadline_is_the_deadline(books: Books) -> None:
    """It is not kept for anything else."""
    request = lined(books, 2 * DEADLINE, member("a"))
    books.gathered()
    assert books.next_instant() == DEADLINE
    assert books.expire(AFTER) == [(request, ENDED)]
    assert absent(request)


def test_a_report_does_not_take_the_next_request_for_this_one(books: Books) -> None:
    """The producer has answered, and gone on, while somebody looked."""

    class Quick(Member):
        """It answers in the middle of the first look, and begins the next."""

        def worker_at(self, request: Any) -> Any:
            found = super().worker_at(request)
            if request is first and first.chain is None:
                books.answers(first, self, 3.0)
                begins(second, self, 3.0)
            return found

    quick = Quick(Someone("quick"))
    quick.standing = QUEUED
    other = member("other")
    first, second = books.opened(quick, other), books.opened(quick)
    begins(first, quick, 1.0)
    told = report_of(first, 2.0).members[0]
    assert (told.verdict, told.waited_ms, told.ran_ms) == (Verdict.OK, 1000, 2000)
    assert report_of(second, 4.0).members[0].ran_ms == 1000


def test_a_look_at_who_is_judged_from_any_thread_writes_nothing(books: Books) -> None:
    """What is counted of answers is the section's."""
    members = [member(str(n)) for n in range(12)]
    request = books.opened(*members)
    books.declined(request, members[0], 1.0)
    books.answers(request, members[1], 2.0)
    kept = fields(request.extras)
    assert request.judged() == {id(members[0]), id(members[1])}
    assert fields(request.extras) == kept
    assert request.has_answered(members[1])
    assert not request.has_answered(members[2])


def test_whoever_of_a_few_has_answered_is_known_to_have(books: Books) -> None:
    """The first of them as well as the last; nobody else."""
    a, b, c = (member(name) for name in "abc")
    request = books.opened(a, b, c)
    request.more()
    books.answers(request, a, 1.0)
    books.answers(request, b, 2.0)
    assert [request.has_answered(each) for each in (a, b, c)] == [True, True, False]
