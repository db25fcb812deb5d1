"""The pure ledger, cell by cell of the table at its top; each test is one claim."""

from __future__ import annotations

import gc
import weakref
from typing import Any, Callable, Dict, List, Optional

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
    begins,
    counted,
    member,
    standings,
    verdicts,
)

from ate_dispatcher._core.effects import (
    ABSENT,
    ACCEPTED,
    DISCARDED,
    ENDED,
    FAILED,
    NOTED,
    ORDINARY,
    STARTED,
)
from ate_dispatcher._core.ledger import Ledger
from ate_dispatcher._core.member import Member, Turn
from ate_dispatcher._core.outcomes import Completion, Standing, Verdict
from ate_dispatcher._core.records import VALUE
from ate_dispatcher._core.report import report_of
from ate_dispatcher._core.request import Entry
from ate_dispatcher._core.statistics import statistics_of
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
    entry = books.opened(a, b)
    assert books.answers(entry, a, BEFORE) == ACCEPTED
    assert entry.completion is None
    assert entry.chain is not None
    assert entry.chain[VALUE] == "value"
    assert verdicts(entry) == [Verdict.OK, None]
    assert counted(books) == {Verdict.OK: 1}


def test_exception_in_time(books: Books) -> None:
    """An exception in time is an answer."""
    a, b = member("a"), member("b")
    entry = books.opened(a, b)
    assert books.answers(entry, a, BEFORE, ValueError()) == FAILED
    assert verdicts(entry) == [Verdict.ERROR, None]
    assert report_of(entry, 99.0).members[0].error == "ValueError"
    assert counted(books) == {Verdict.ERROR: 1}


def test_last_answer(books: Books) -> None:
    """The last answer ends the request as all replied."""
    a, b = member("a"), member("b")
    entry = books.opened(a, b)
    books.answers(entry, a, 1.0)
    assert books.answers(entry, b, 2.0) == ACCEPTED | ENDED
    assert (entry.completion, entry.ended) == (Completion.ALL_REPLIED, 2.0)
    assert verdicts(entry) == [Verdict.OK, Verdict.OK]


def test_last_error(books: Books) -> None:
    """The last error ends the request as all replied."""
    a, b = member("a"), member("b")
    entry = books.opened(a, b)
    books.answers(entry, a, 1.0)
    assert books.answers(entry, b, 2.0, ValueError()) == FAILED | ENDED
    assert entry.completion is Completion.ALL_REPLIED
    assert not report_of(entry, 99.0).complete
    assert counted(books) == {Verdict.OK: 1, Verdict.ERROR: 1}


def test_answer_at_the_deadline(books: Books) -> None:
    """An answer stamped exactly at the deadline is in time."""
    a = member()
    entry = books.opened(a)
    assert books.answers(entry, a, DEADLINE) == ACCEPTED | ENDED
    assert entry.completion is Completion.ALL_REPLIED


def test_late_answer_to_an_open_request(books: Books) -> None:
    """A late answer to an open request ends it as deadline first."""
    a, b = member("a"), member("b")
    entry = books.opened(a, b)
    assert books.answers(entry, a, AFTER) == ENDED | DISCARDED | ABSENT
    assert (entry.completion, entry.ended) == (Completion.DEADLINE, AFTER)
    assert entry.chain is None
    assert verdicts(entry) == [Verdict.LATE, Verdict.MISSING]
    assert report_of(entry, 99.0).members[0].late_ms == pytest.approx(1000)
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
    entry = books.opened(a)
    begins(entry, a, 1.0)
    assert books.cancelled(entry, 2.0) & TOLD == ENDED
    assert verdicts(entry) == [Verdict.MISSING]
    assert standings(entry) == [RUNNING]
    assert books.answers(entry, a, stamp, error) == DISCARDED
    assert verdicts(entry) == [verdict]
    assert (entry.completion, entry.ended, entry.chain) == (Completion.CANCELLED, 2.0, None)
    assert counted(books) == {verdict: 1}


def test_how_late(books: Books) -> None:
    """A late answer says by how much and a surplus one is not late."""
    a, b = member("a"), member("b")
    entry = books.opened(a, b)
    begins(entry, a, 1.0)
    begins(entry, b, 1.0)
    books.cancelled(entry, 2.0)
    books.answers(entry, a, 10.25)
    books.answers(entry, b, DEADLINE)
    assert [line.late_ms for line in report_of(entry, 99.0).members] == [250.0, None]
    assert [line.ran_ms for line in report_of(entry, 99.0).members] == [9250.0, 9000.0]


def test_report_at_the_end(books: Books) -> None:
    """The report at the end does not show what came afterwards."""
    a = member()
    entry = books.opened(a)
    begins(entry, a, 1.0)
    books.cancelled(entry, 2.0)
    before = report_of(entry, 3.0, at_the_end=True)
    books.answers(entry, a, AFTER)
    assert report_of(entry, 99.0, at_the_end=True) == before


def test_no_deadline(books: Books) -> None:
    """Without a deadline no answer is late."""
    a, b = member("a"), member("b")
    entry = books.opened(a, b, deadline=NEVER)
    assert books.answers(entry, a, 1e300) == ACCEPTED
    begins(entry, b, 1e300)
    books.cancelled(entry, 1e300)
    assert books.answers(entry, b, 1e301) == DISCARDED
    assert verdicts(entry) == [Verdict.OK, Verdict.SURPLUS]
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
    entry = books.opened(a, b)
    assert books.declined(entry, a, 1.0) & TOLD == NOTED
    assert verdicts(entry) == [Verdict.DECLINED, None]
    assert entry.notes[-1].member is a
    assert counted(books) == {Verdict.DECLINED: 1}


def test_died(
    books: Books,
) -> None:
    """A member whose thread ended with the request waiting is missing and dead."""
    a, b = member("a", DEAD), member("b")
    entry = books.opened(a, b)
    assert books.died(entry, a, 1.0) & TOLD == NOTED
    assert verdicts(entry) == [Verdict.MISSING, None]
    assert standings(entry)[0] is DEAD
    assert counted(books) == {Verdict.MISSING: 1}


Fact = Callable[[Ledger, Entry, Member, float], int]
UNANSWERED = pytest.mark.parametrize("fact", [Ledger.declined, Ledger.died])


@UNANSWERED
def test_last_member_unanswered(books: Books, fact: Fact) -> None:
    """The last member that will not answer ends the request as all replied."""
    a, b = member("a"), member("b", DEAD)
    entry = books.opened(a, b)
    books.answers(entry, a, 1.0)
    assert fact(books, entry, b, 2.0) & TOLD == NOTED | ENDED
    assert (entry.completion, entry.ended) == (Completion.ALL_REPLIED, 2.0)
    assert not books.open_requests()


@UNANSWERED
def test_last_answer_beside_an_unanswered(books: Books, fact: Fact) -> None:
    """The last answer ends a request that others declined."""
    a, b = member("a"), member("b", DEAD)
    entry = books.opened(a, b)
    fact(books, entry, b, 2.0)
    effects = books.replied(entry, a, "value", None, 3.0)
    assert effects & TOLD == ACCEPTED | ENDED
    assert entry.completion is Completion.ALL_REPLIED
    assert sum(counted(books).values()) == 2


@UNANSWERED
def test_unanswered_after_the_end(books: Books, fact: Fact) -> None:
    """That a member will not answer means nothing after the end."""
    a = member("a", DEAD)
    entry = books.opened(a)
    books.cancelled(entry, 1.0)
    before = report_of(entry, 1.0)
    assert fact(books, entry, a, 2.0) == 0
    assert report_of(entry, 2.0) == before
    assert counted(books) == {Verdict.MISSING: 1}


@UNANSWERED
def test_unanswered_at_and_after_the_deadline(books: Books, fact: Fact) -> None:
    """That a member will not answer ends a request after its deadline and not at it."""
    a, b = member("a", DEAD), member("b")
    entry = books.opened(a, b)
    assert fact(books, entry, a, DEADLINE) & TOLD == NOTED
    assert entry.completion is None
    late = books.opened(a, b)
    assert fact(books, late, a, AFTER) & TOLD == ENDED | ABSENT
    assert late.completion is Completion.DEADLINE
    assert (verdicts(late)[0], standings(late)[0]) == (Verdict.MISSING, DEAD)


# -- a member's turn -------------------------------------------------------------------------------


@pytest.mark.parametrize("standing", [QUEUED, NOT_STARTED])
def test_turn_after_the_end(books: Books, standing: Standing) -> None:
    """A member that had not begun is missing and skipped when its turn comes."""
    a = member("a", standing)
    entry = books.opened(a)
    assert books.expire(AFTER) == [(entry, ENDED | ABSENT)]
    assert (verdicts(entry), standings(entry)) == ([Verdict.MISSING], [standing])
    assert counted(books) == {Verdict.MISSING: 1}
    (note,) = books.its_turn(a, books)
    assert (note.id, note.outcome) == (entry.id, Verdict.SKIPPED)
    assert verdicts(entry) == [Verdict.SKIPPED]
    assert counted(books) == {Verdict.SKIPPED: 1}
    assert books.its_turn(a, books) == []


def test_turn_after_the_deadline(
    books: Books,
) -> None:
    """A turn that comes after the deadline ends the request as deadline first."""
    a = member()
    entry = books.opened(a)
    assert books.expired(entry, AFTER) & TOLD == ENDED | ABSENT
    assert entry.completion is Completion.DEADLINE
    assert [note.id for note in books.its_turn(a, books)] == [entry.id]
    assert verdicts(entry) == [Verdict.SKIPPED]


def test_turn_at_another_ledger(books: Books) -> None:
    """A turn settles nothing of another ledger."""
    a, other = member(), Books()
    entry = books.opened(a)
    books.expire(AFTER)
    assert other.its_turn(a, other) == []
    assert verdicts(entry) == [Verdict.MISSING]
    assert len(books.its_turn(a, books)) == 1


def test_no_producer_is_kept(books: Books) -> None:
    """A ledger keeps no producer of an ended request."""
    a = member()
    entry, gone = books.opened(a), weakref.ref(a.producer)
    books.expire(AFTER)
    del a, entry
    gc.collect()
    assert gone() is None


# -- whole requests --------------------------------------------------------------------------------


@pytest.mark.parametrize("standing", [QUEUED, NOT_STARTED])
def test_cancelled_before_it_began(books: Books, standing: Standing) -> None:
    """Who had not begun a cancelled request is cancelled for good."""
    a = member("a", standing)
    entry = books.opened(a)
    assert books.cancelled(entry, 1.0) & TOLD == ENDED | ABSENT
    assert (entry.completion, entry.ended) == (Completion.CANCELLED, 1.0)
    assert verdicts(entry) == [Verdict.CANCELLED]
    assert books.its_turn(a, books) == []
    assert verdicts(entry) == [Verdict.CANCELLED]
    assert counted(books) == {Verdict.CANCELLED: 1}


@pytest.mark.parametrize(
    ("end", "not_begun"),
    [
        (lambda books, entry: books.cancelled(entry, 1.0), Verdict.CANCELLED),
        (lambda books, entry: books.expired(entry, AFTER), Verdict.MISSING),
        (lambda books, entry: books.stopped(1.0, False)[0][1], Verdict.MISSING),
        (lambda books, entry: books.stopped(1.0, True)[0][1], Verdict.WITHDRAWN),
    ],
    ids=["cancel", "deadline", "stop", "stop at once"],
)
def test_each_end_and_each_standing(
    books: Books, end: Callable[[Ledger, Entry], int], not_begun: Verdict
) -> None:
    """An end judges each member by where it stands."""
    members = [member(standing.name, standing) for standing in (QUEUED, NOT_STARTED, DEAD)]
    running, answered = member("running"), member("answered")
    entry = books.opened(*members, running, answered)
    begins(entry, running, 0.5)
    books.answers(entry, answered, 0.5)
    assert end(books, entry) & TOLD == ENDED | ABSENT
    assert verdicts(entry) == [
        not_begun, not_begun, Verdict.MISSING, Verdict.MISSING, Verdict.OK
    ]  # fmt: skip
    assert standings(entry) == [QUEUED, NOT_STARTED, DEAD, RUNNING, None]
    assert sum(counted(books).values()) == 5
    # What is withdrawn or cancelled is final; who is running answers into the void.
    assert len(books.its_turn(members[0], books)) == (not_begun is Verdict.MISSING)
    assert books.answers(entry, running, DEADLINE) == DISCARDED
    assert verdicts(entry)[3] is Verdict.SURPLUS
    assert sum(counted(books).values()) == 5


def test_running_another_request(books: Books) -> None:
    """A member that runs another request has not begun this one."""
    a = member()
    first, second = books.opened(a), books.opened(a)
    begins(first, a, 1.0)
    books.cancelled(second, 2.0)
    books.cancelled(first, 2.0)
    assert (verdicts(first), verdicts(second)) == ([Verdict.MISSING], [Verdict.CANCELLED])


def test_cancel_of_the_unknown(books: Books) -> None:
    """Cancelling what was never opened does nothing."""
    a = member()
    known, unknown = books.opened(a), Entry(None, 7, "t", None, (a,), 0.0, 1.0, ("t",), None)
    assert books.cancelled(unknown, 0.5) == 0
    assert books.cancelled(unknown, 5.0) == 0
    assert unknown.completion is None
    assert books.open_requests() == [known]
    assert counted(books) == {}


def test_cancel_after_the_end(books: Books) -> None:
    """Cancelling twice or after the end does nothing."""
    a = member()
    entry = books.opened(a)
    books.answers(entry, a, 1.0)
    assert books.cancelled(entry, 2.0) == 0
    assert (entry.completion, entry.ended) == (Completion.ALL_REPLIED, 1.0)
    other = books.opened(a)
    books.cancelled(other, 2.0)
    assert books.cancelled(other, 3.0) == 0
    assert other.ended == 2.0


def test_cancel_at_and_after_the_deadline(
    books: Books,
) -> None:
    """Cancelling after the deadline ends as deadline and at it as cancelled."""
    a = member()
    at, after = books.opened(a), books.opened(a)
    books.cancelled(at, DEADLINE)
    books.cancelled(after, AFTER)
    assert at.completion is Completion.CANCELLED
    assert after.completion is Completion.DEADLINE
    assert verdicts(after) == [Verdict.MISSING]


def test_nobody(books: Books) -> None:
    """A request that found nobody is counted and has no members."""
    entry = Entry(None, 1, "t", None, (), 0.0, DEADLINE, None, None)
    assert books.nobody(entry) & TOLD == ENDED
    sums = statistics_of(books)
    assert (sums.requests, sums.open, sums.fan_out) == (1, 0, 0)
    assert sums.completions[Completion.NO_PRODUCERS] == 1


def test_time_at_and_after_the_deadline(books: Books) -> None:
    """Time ends what was due before it and leaves what is due at it."""
    a = member()
    early, late = books.opened(a, deadline=5.0), books.opened(a, deadline=DEADLINE)
    assert books.expire(5.0) == []
    assert books.expire(DEADLINE) == [(early, ENDED | ABSENT)]
    assert early.completion is Completion.DEADLINE
    assert early.ended == DEADLINE
    assert late.completion is None
    assert books.expire(AFTER) == [(late, ENDED | ABSENT)]


def test_time_in_pieces(
    books: Books,
) -> None:
    """Time ends what is due in the order of deadlines and a few at a time."""
    a = member()
    opened = [books.opened(a, deadline=float(due)) for due in (3, 1, 5, 2, 4)]
    books.gather()
    ended: List[Entry] = []
    for expected in (2, 2, 1, 0):
        due = books.time_passed(100.0, 2)
        assert len(due) == expected
        ended += [entry for entry, _ in due]
    assert ended == sorted(opened, key=lambda entry: entry.deadline)


def test_stop_in_pieces(books: Books) -> None:
    """A stop ends a few at a time and in the end all."""
    a = member()
    opened = [books.opened(a, deadline=due) for due in (3.0, NEVER, 5.0, 2.0, NEVER)]
    books.cancelled(opened[2], 0.5)
    ended: List[Entry] = []
    for expected in (3, 1, 0):
        some = books.stopped(1.0, False, 3)
        assert len(some) == expected
        ended += [entry for entry, _ in some]
    assert sorted(entry.id for entry in ended) == [1, 2, 4, 5]
    assert {entry.completion for entry in ended} == {Completion.STOPPED}
    assert books.open_count() == 0


def test_ordinary_ends(books: Books) -> None:
    """An end that leaves something to look at is no ordinary one."""
    a, b = member("a"), member("b")
    noted, wanted, plain = (books.opened(a, b) for _ in range(3))
    books.declined(noted, a, 1.0)
    assert books.replied(noted, b, 1, None, 2.0) > ORDINARY
    wanted.more().callbacks += (print,)
    books.replied(wanted, a, 1, None, 2.0)
    assert books.replied(wanted, b, 1, None, 2.0) > ORDINARY
    assert books.replied(plain, a, 1, None, 2.0) == ACCEPTED
    assert books.replied(plain, b, 1, None, 2.0) == ORDINARY
    assert counted(books) == {Verdict.OK: 5, Verdict.DECLINED: 1}


# -- streams ---------------------------------------------------------------------------------------


def test_parts_are_no_verdict(books: Books) -> None:
    """Who had yielded some values at the end is missing; what came is kept."""
    a, b = member("a"), member("b")
    entry = books.opened(a, b)
    begins(entry, a, 0.5)
    for stamp in (1.0, 2.0):
        assert books.streamed(entry, a, "part", stamp) == ACCEPTED
    assert verdicts(entry) == [None, None]
    books.expire(AFTER)
    assert verdicts(entry) == [Verdict.MISSING] * 2
    assert counted(books) == {Verdict.MISSING: 2}
    assert books.streamed(a.running or entry, a, "part", AFTER) == 0
    assert books.finished(a.running or entry, a, AFTER) & DISCARDED
    assert verdicts(entry) == [Verdict.LATE, Verdict.MISSING]


def test_the_end_of_a_stream_is_its_verdict(books: Books) -> None:
    """At the deadline it is in time; parts behind it are not accepted, and end the request."""
    a, b = member("a"), member("b")
    entry = books.opened(a, b)
    begins(entry, a, 0.5)
    books.streamed(entry, a, "part", DEADLINE)
    assert books.finished(entry, a, DEADLINE) & TOLD == 0
    assert verdicts(entry) == [Verdict.OK, None]
    begins(entry, b, 0.5)
    assert books.streamed(entry, b, "part", AFTER) & ENDED
    assert entry.completion is Completion.DEADLINE
    assert counted(books) == {Verdict.OK: 1, Verdict.MISSING: 1}


def test_a_part_is_no_vote(books: Books) -> None:
    """A quorum is of members that have come to their end."""
    a, b = member("a"), member("b")
    entry = books.opened(a, b)
    Options(Quorum(1)).prepare(entry)
    begins(entry, a, 0.5)
    assert books.streamed(entry, a, "part", 1.0) & TOLD == ACCEPTED
    assert books.finished(entry, a, 2.0) & ENDED
    assert entry.completion is Completion.QUORUM


# -- what is open, and what it keeps ---------------------------------------------------------------


def test_who_overtakes_takes_nobody_away(books: Books) -> None:
    """A request that ends before an older one leaves that where it is."""
    a, b = member("a"), member("b")
    first, second = books.opened(a), books.opened(b)
    assert books.answers(second, b, 1.0) & ENDED
    assert books.open_requests() == [first]
    assert [entry for entry, _ in books.expire(AFTER)] == [first]


def test_next_deadline(books: Books) -> None:
    """The next deadline is the earliest of what is open."""
    a = member()
    assert books.next_deadline() is None
    early = books.opened(a, deadline=3.0)
    books.opened(a, deadline=4.0)
    books.gather()
    assert books.next_deadline() == 3.0
    books.cancelled(early, 1.0)
    assert books.next_deadline() == 4.0
    books.stopped(1.0, True)
    assert books.next_deadline() is None


def test_gather_in_pieces(books: Books) -> None:
    """Gathering goes in pieces and says whether some are left."""
    a = member()
    for _ in range(5):
        books.opened(a)
    assert books.gather(2)
    assert books.open_count() == 2
    assert books.gather(2)
    assert not books.gather(2)
    assert books.open_count() == 5


ENDS: Dict[str, Callable[[Ledger, Entry], int]] = {
    "reply": lambda books, entry: books.replied(entry, entry.roster[0], "value", None, 1.0),
    "error": lambda books, entry: books.replied(entry, entry.roster[0], None, ValueError(), 1.0),
    "cancel": lambda books, entry: books.cancelled(entry, 1.0),
    "expiry": lambda books, entry: books.expired(entry, AFTER),
    "death": lambda books, entry: books.died(entry, entry.roster[0], 1.0),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("gathered", [False, True], ids=["young", "gathered"])
@pytest.mark.parametrize("which", [0, 1, 2], ids=["eldest", "between", "youngest"])
def test_ended_early_and_forgotten(
    books: Books, end: Callable[[Ledger, Entry], int], gathered: bool, which: int
) -> None:
    """Nothing stays in the ledger for a request that ended early."""
    a = member("a", DEAD)
    others = [books.opened(a) for _ in range(3)]
    if gathered:
        books.gather()
    entry = others.pop(which)
    assert entry.call is not None
    assert end(books, entry) & ENDED
    watched = weakref.ref(entry)
    del entry
    gc.collect()
    assert watched() is None
    assert sorted(entry.id for entry in books.open_requests()) == [e.id for e in others]


def test_payloads_are_let_go(
    books: Books,
) -> None:
    """What was asked is let go when the request ends although its entry stays."""
    a = member()
    plain, cancelled = books.opened(a), books.opened(a)
    payloads = []
    for entry in (plain, cancelled):
        assert entry.call is not None
        payloads.append(weakref.ref(entry.call[1]))
    books.answers(plain, a, 1.0)
    books.cancelled(cancelled, 1.0)
    gc.collect()
    assert [payload() for payload in payloads] == [None, None]
    assert (plain.kwargs, cancelled.kwargs) == (None, None)


def test_a_hung_member_keeps_nothing(books: Books) -> None:
    """A member that is still at a request which has ended keeps neither it nor what came."""
    hung, b = member("hung"), member("b")
    entry, value = books.opened(hung, b), Payload()
    begins(entry, hung, 1.0)
    books.replied(entry, b, value, None, 2.0)
    books.expire(AFTER)
    watched: List[Any] = [weakref.ref(entry), weakref.ref(value)]
    del entry, value
    gc.collect()
    assert [reference() for reference in watched] == [None, None]
    running = hung.running
    assert running is not None
    assert books.replied(running, hung, None, None, AFTER) & TOLD == DISCARDED
    assert counted(books) == {Verdict.OK: 1, Verdict.LATE: 1}


def stored(books: Books) -> int:
    """How many places for requests the ledger has, full or empty."""
    return len(books.nursery) + len(books._heap)


@pytest.mark.parametrize("gathering", [0, 7, 1000], ids=["never", "often", "rarely"])
def test_no_growth(books: Books, gathering: int) -> None:
    """Requests that end out of order do not make the ledger grow."""
    a, window, most = member(), 100, 0
    still_open: List[Entry] = []
    for number in range(34_000):
        # The deadlines are far away and in no order, the ends in another one.
        still_open.append(books.opened(a, deadline=1e6 + number * 7919 % 1000))
        if len(still_open) > window:
            place = number * 31 % window
            entry, still_open[place] = still_open[place], still_open[-1]
            still_open.pop()
            books.replied(entry, a, None, None, 1.0)
        if gathering and number % gathering == 0:
            books.gather()
            assert books.next_deadline() == min(entry.deadline for entry in still_open)
        most = max(most, stored(books))
    # As many empty places as full ones, and some that are not worth a rebuild.
    assert most <= 2 * (window + 1) + 70 + gathering
    assert sorted(e.id for e in books.open_requests()) == sorted(e.id for e in still_open)
    books.gather()
    assert books.open_count() == window
    assert counted(books) == {Verdict.OK: 34_000 - window}


def test_in_order_in_the_nursery(books: Books) -> None:
    """Requests that end in order are never anywhere but in the nursery."""
    a = member()
    for number in range(1000):
        books.opened(a, deadline=float(number))
        if number >= 10:
            books.replied(books.nursery[0], a, None, None, 1e-9)
            assert (len(books.nursery), stored(books)) == (10, 10)


def test_order_after_a_rebuild(books: Books) -> None:
    """Deadlines are kept in order, although most of those before them ended early."""
    a = member()
    opened = [books.opened(a, deadline=float(number * 7919 % 400)) for number in range(400)]
    books.gather()
    opened.sort(key=lambda entry: entry.deadline)
    for entry in opened[:300]:
        books.replied(entry, a, None, None, -1.0)
    assert stored(books) < 300
    assert books.next_deadline() == opened[300].deadline
    assert [entry for entry, _ in books.time_passed(1e3)] == opened[300:]


EARLY = pytest.mark.parametrize("early", [False, True], ids=["the later ones", "the earlier ones"])


@EARLY
@pytest.mark.parametrize("ended_before", [0, 50, 99, 100, 101, 150, 199, 200])
def test_open_count_after_expiry(books: Books, ended_before: int, early: bool) -> None:
    """The count of open requests is right after expiry, whichever ended before."""
    a = member()
    opened = [books.opened(a, deadline=1.0 + number) for number in range(200)]
    last = books.opened(a, deadline=NEVER)
    books.gather()
    for entry in opened[:ended_before] if early else opened[200 - ended_before :]:
        books.replied(entry, a, None, None, 0.5)
    left = 200 - ended_before
    while left:
        left -= len(books.time_passed(1e3, 64))
        assert books.open_count() == len(books.open_requests()) == left + 1
    assert books.time_passed(1e3) == []
    assert books.next_deadline() == NEVER
    books.cancelled(last, 1.0)
    assert books.next_deadline() is None
    assert (books.open_count(), stored(books)) == (0, 0)


@EARLY
@pytest.mark.parametrize("ended_before", [0, 1000, 2000, 2001, 3000])
def test_open_count_after_a_piece_of_a_stop(books: Books, ended_before: int, early: bool) -> None:
    """The count of open requests is right after a piece of a stop."""
    a = member()
    opened = [books.opened(a, deadline=DEADLINE + number) for number in range(4000)]
    books.gather()
    for entry in opened[:ended_before] if early else opened[4000 - ended_before :]:
        books.replied(entry, a, None, None, 1.0)
    left = 4000 - ended_before
    while left:
        left -= len(books.stopped(1.0, False, 256))
        assert books.open_count() == len(books.open_requests()) == left
    assert (books.stopped(1.0, False), stored(books)) == ([], 0)


# -- start lines -------------------------------------------------------------------------------


def lined(books: Books, after: float, *roster: Member) -> Entry:
    """A request with a start line."""
    entry = books.opened(*roster)
    assert Options(after=after).prepare(entry)
    return entry


def comes(books: Books, entry: Entry, each: Member, at: float) -> int:
    """It has what it needs, and stands at the line."""
    each.turn = Turn(entry, each, at)
    return books.lined_up(entry, each.turn, at)


def test_they_start_when_the_last_is_at_the_line(books: Books) -> None:
    """All at that instant; nobody runs before."""
    a, b = member("a"), member("b")
    entry = lined(books, NEVER, a, b)
    assert comes(books, entry, a, 1.0) == 0
    assert (a.running, a.standing_on(entry)) == (None, Standing.AT_LINE)
    assert comes(books, entry, b, 3.0) == STARTED
    assert (a.running, b.running, a.began, b.began) == (entry, entry, 3.0, 3.0)
    assert entry.until == DEADLINE


def test_who_comes_to_the_line_after_the_deadline_ends_the_request(books: Books) -> None:
    """Although nobody had looked; the others have waited in vain."""
    a, b = member("a"), member("b")
    entry = lined(books, NEVER, a, b)
    comes(books, entry, a, DEADLINE)
    assert comes(books, entry, b, AFTER) & TOLD == ENDED | ABSENT
    assert (a.running, b.running) == (None, None)
    assert verdicts(entry) == [Verdict.SKIPPED, Verdict.SKIPPED]
    assert comes(books, entry, b, AFTER) == 0


def test_exactly_when_the_line_stops_waiting_one_may_still_come(books: Books) -> None:
    """They go without the others after that instant."""
    a, b, c = member("a"), member("b"), member("c")
    entry = lined(books, 2.0, a, b, c)
    comes(books, entry, a, 1.0)
    books.gather()
    assert books.next_deadline() == 2.0
    assert books.expire(2.0) == []
    comes(books, entry, b, 2.0)
    assert books.time_passed(2.5) == [(entry, STARTED)]
    assert (a.running, b.running, c.running) == (entry, entry, None)
    assert books.next_deadline() == DEADLINE


def test_a_line_beyond_the_deadline_is_the_deadline(books: Books) -> None:
    """It is not kept for anything else."""
    entry = lined(books, 2 * DEADLINE, member("a"))
    books.gather()
    assert books.next_deadline() == DEADLINE
    assert books.expire(AFTER) == [(entry, ENDED | ABSENT)]


def test_a_report_does_not_take_the_next_request_for_this_one(books: Books) -> None:
    """The producer has answered, and gone on, while somebody looked."""

    class Quick(Member):
        """It answers in the middle of the first look, and begins the next."""

        def hand_at(self, entry: Any) -> Any:
            found = super().hand_at(entry)
            if entry is first and first.chain is None:
                books.answers(first, self, 3.0)
                begins(second, self, 3.0)
            return found

    quick = Quick(Someone("quick"), None)
    quick.standing = QUEUED
    other = member("other")
    first, second = books.opened(quick, other), books.opened(quick)
    begins(first, quick, 1.0)
    told = report_of(first, 2.0).members[0]
    assert (told.verdict, told.waited_ms, told.ran_ms) == (Verdict.OK, 1000, 2000)
    assert report_of(second, 4.0).members[0].ran_ms == 1000
