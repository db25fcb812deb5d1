"""What cannot be: it is refused, counted and told, and changes nothing; each test is one claim."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from inside import NEVER, Options
from ledger_books import (
    AFTER,
    DEADLINE,
    Books,
    begins,
    counted,
    everything,
    member,
    verdicts,
)

from ate_dispatcher._core.effects import ACCEPTED, REFUSED
from ate_dispatcher._core.ledger import Ledger
from ate_dispatcher._core.member import Claim, Member, Start, Worker
from ate_dispatcher._core.outcomes import Completion, Standing, Verdict
from ate_dispatcher._core.request import Request
from ate_dispatcher.policies import policy_of

Fact = Callable[..., int]

VERDICTS = [Ledger.declined, Ledger.withdrawn, Ledger.died]
"""The facts that bring a verdict which is not a reply."""

ANSWERS: Any = {
    "value": lambda books, request, who, at: books.replied(request, who, "again", None, at),
    "error": lambda books, request, who, at: books.replied(request, who, None, ValueError(), at),
    "end of a stream": lambda books, request, who, at: books.finished(request, who, at),
    "part of a stream": lambda books, request, who, at: books.streamed(request, who, "more", at),
}

answers = pytest.mark.parametrize("fact", ANSWERS.values(), ids=ANSWERS.keys())
facts = pytest.mark.parametrize("fact", VERDICTS, ids=lambda fact: fact.__name__)
policies = pytest.mark.parametrize("needs", [None, 3], ids=["plain", "under a policy"])


@pytest.fixture
def books() -> Books:
    """Empty ones."""
    return Books()


def refuses(books: Books, request: Request, fact: Fact, *arguments: Any) -> None:
    """It is refused, and nothing else happens."""
    before, refused = everything(books, request), books.refused
    assert fact(books, request, *arguments) == REFUSED
    assert everything(books, request) == before
    assert books.refused == refused + 1
    books.check()


# -- answers ---------------------------------------------------------------------------------------


@answers
@policies
def test_a_worker_answers_once(books: Books, fact: Fact, needs: Any) -> None:
    """The request of two is not ended by one of them that answers twice."""
    a, b, c = member("a"), member("b"), member("c")
    request = books.opened(a, b, c)
    if needs:
        assert Options(policy_of(needs)).prepare(request) is None
    books.answers(request, a, 1.0)
    refuses(books, request, fact, a, 2.0)
    refuses(books, request, fact, a, DEADLINE)
    assert verdicts(request) == [Verdict.OK, None, None]
    books.answers(request, b, 2.0)
    books.answers(request, c, 2.0)
    refuses(books, request, fact, a, 3.0)
    assert counted(books) == {Verdict.OK: 3}


@answers
def test_one_elsewhere_answers_once(books: Books, fact: Fact) -> None:
    """It has no thread here, and is at the request whenever its link says that it has answered."""
    a, b = member("a"), member("b")
    a.workers, a.standing = (), Standing.AWAY
    request = books.opened(a, b)
    request.more()
    a.running, a.began = request, Start(0.5, (None, None), 0.0)
    assert books.replied(request, a, "value", None, 1.0) == ACCEPTED
    a.running = request
    refuses(books, request, fact, a, 2.0)
    assert verdicts(request) == [Verdict.OK, None]


@answers
def test_who_never_began_has_no_answer(books: Books, fact: Fact) -> None:
    """Whether the request is open, or over, by whatever end."""
    a = member()
    request = books.opened(a, member())
    refuses(books, request, fact, a, 1.0)
    books.cancel(request, 2.0)
    refuses(books, request, fact, a, 3.0)
    assert verdicts(request) == [Verdict.CANCELLED] * 2


@answers
def test_who_is_in_another_request_has_no_answer_to_this_one(books: Books, fact: Fact) -> None:
    """It answers that, afterwards, as if nothing had been."""
    a = member()
    request, other = books.opened(a, member()), books.opened(a)
    begins(other, a, 1.0)
    refuses(books, request, fact, a, 2.0)
    assert a.running is other
    assert books.answers(other, a, 2.0) & ACCEPTED


@answers
def test_another_worker_of_the_member_has_no_answer(books: Books, fact: Fact) -> None:
    """But that one which is in it."""
    a = member()
    other = Worker(a)
    a.workers = (a, other)
    request = books.opened(a, member())
    begins(request, a, 1.0)
    refuses(books, request, fact, other, 2.0)
    assert books.answers(request, a, 2.0) & ACCEPTED


@answers
def test_who_answered_after_the_end_does_not_again(books: Books, fact: Fact) -> None:
    """Neither to the request, nor to what stood there in its place."""
    a = member()
    request = books.opened(a)
    begins(request, a, 1.0)
    books.cancel(request, 2.0)
    stub = a.running
    books.answers(request, a, 3.0)
    for each in (request, stub):
        refuses(books, each, fact, a, 4.0)
    assert counted(books) == {Verdict.SURPLUS: 1}


@answers
def test_who_was_put_to_it_once_more_has_answered_all_the_same(books: Books, fact: Fact) -> None:
    """The hot loop says without the ledger who is at what; after the end one answer counts."""
    a = member()
    request = books.opened(a)
    begins(request, a, 1.0)
    books.cancel(request, 2.0)
    stub = a.running
    books.answers(request, a, 3.0)
    a.running = stub
    assert fact(books, stub, a, 4.0) in (0, REFUSED)
    assert counted(books) == {Verdict.SURPLUS: 1}
    assert verdicts(request) == [Verdict.SURPLUS]
    assert stub.unanswered()[0].answered == (1.0, 3.0)


def test_who_has_answered_does_not_begin_it_again(books: Books) -> None:
    """A message that came twice: the second time there is nothing to do."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    books.answers(request, a, 1.0)
    refuses(books, request, Ledger.began, a, 2.0)
    assert request.completion is None


@facts
def test_who_has_a_verdict_does_not_begin_it(books: Books, fact: Fact) -> None:
    """Although the request is open, for others."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    fact(books, request, a, 1.0)
    refuses(books, request, Ledger.began, a, 2.0)


def test_what_is_over_is_not_begun(books: Books) -> None:
    """Whoever comes to it."""
    a = member()
    request = books.opened(a)
    books.cancel(request, 1.0)
    refuses(books, request, Ledger.began, a, 2.0)


def test_who_is_not_asked_does_not_begin_it(books: Books) -> None:
    """Nor can it be declined."""
    a = member()
    request = books.opened(a, member())
    refuses(books, request, Ledger.began, member("stranger"), 1.0)


# -- other verdicts --------------------------------------------------------------------------------


@facts
@pytest.mark.parametrize("first", VERDICTS, ids=lambda fact: fact.__name__)
@policies
def test_a_verdict_comes_once(books: Books, fact: Fact, first: Fact, needs: Any) -> None:
    """Whatever the first was, and whatever the second."""
    a, b, c = member("a"), member("b"), member("c")
    request = books.opened(a, b, c)
    if needs:
        assert Options(policy_of(2)).prepare(request) is None
    first(books, request, a, 1.0)
    refuses(books, request, fact, a, 2.0)
    refuses(books, request, fact, a, 3.0)
    assert sum(counted(books).values()) == 1
    assert request.completion is None


@facts
@policies
def test_who_has_answered_has_its_verdict(books: Books, fact: Fact, needs: Any) -> None:
    """It can neither die nor be withdrawn as far as that request is concerned."""
    a, b, c = member("a"), member("b"), member("c")
    request = books.opened(a, b, c)
    if needs:
        assert Options(policy_of(needs)).prepare(request) is None
    books.answers(request, a, 1.0)
    refuses(books, request, fact, a, 2.0)
    assert counted(books) == {Verdict.OK: 1}


@facts
def test_a_stranger_gets_no_verdict(books: Books, fact: Fact) -> None:
    """Nobody waits for it."""
    request = books.opened(member("a"), member("b"))
    refuses(books, request, fact, member("stranger"), 1.0)


@pytest.mark.parametrize("fact", [Ledger.declined, Ledger.withdrawn])
def test_who_is_in_it_is_neither_declined_nor_withdrawn(books: Books, fact: Fact) -> None:
    """It has begun; its answer would be a second verdict."""
    a = member()
    request = books.opened(a, member())
    begins(request, a, 1.0)
    refuses(books, request, fact, a, 2.0)
    assert books.answers(request, a, 3.0) & ACCEPTED


@answers
def test_who_died_in_it_does_not_answer(books: Books, fact: Fact) -> None:
    """Its thread is over, says whoever buries it; that was its verdict."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    begins(request, a, 1.0)
    books.died(request, a, 2.0)
    refuses(books, request, fact, a, 3.0)
    assert counted(books) == {Verdict.MISSING: 1}


@facts
def test_after_the_end_there_is_nothing_to_refuse(books: Books, fact: Fact) -> None:
    """Who brings such a fact could not know: the end has judged."""
    a = member()
    request = books.opened(a)
    books.cancel(request, 1.0)
    assert fact(books, request, a, AFTER) == 0
    assert books.refused == 0


# -- start lines, predicates -----------------------------------------------------------------------


def lined(books: Books, *roster: Member) -> Request:
    """A request with a start line, that waits for all."""
    request = books.opened(*roster)
    assert Options(after=NEVER).prepare(request) is None
    return request


def test_a_claim_stands_at_the_line_once(books: Books) -> None:
    """It is not taken for the one that is still to come."""
    a, b = member("a"), member("b")
    request = lined(books, a, b)
    a.claim = Claim(request, a, 1.0)
    assert books.lined_up(request, a.claim, 1.0) == 0
    refuses(books, request, Ledger.lined_up, a.claim, 2.0)
    assert a.claim.standing is Standing.AT_LINE
    assert a.claim.lined == 1.0
    assert a.running is b.running is None


def test_who_was_withdrawn_does_not_come_to_the_line(books: Books) -> None:
    """The others would start without one for whom they wait."""
    a, b, c = member("a"), member("b"), member("c")
    request = lined(books, a, b, c)
    for each in (a, b):
        each.claim = Claim(request, each, 1.0)
    assert a.claim is not None
    books.withdrawn(request, a, 1.0)
    assert books.lined_up(request, b.claim, 1.0) == 0  # type: ignore[arg-type]
    refuses(books, request, Ledger.lined_up, a.claim, 2.0)
    assert b.running is None


def test_without_a_line_nobody_stands_there(books: Books) -> None:
    """Nor at one that has started."""
    a, b = member("a"), member("b")
    plain, request = books.opened(a, b), lined(books, a, b)
    for each in (a, b):
        each.claim = Claim(request, each, 1.0)
        assert books.lined_up(request, each.claim, 1.0) == 0
    assert a.running is b.running is request
    refuses(books, request, Ledger.lined_up, a.claim, 2.0)
    refuses(books, plain, Ledger.lined_up, Claim(plain, a, 2.0), 2.0)


def test_who_was_not_asked_has_agreed_to_nothing(books: Books) -> None:
    """A request without a policy has no predicates."""
    request = books.opened(member())
    refuses(books, request, Ledger.agreed, [], None, 1.0)
    refuses(books, request, Ledger.agreed, [], ValueError(), 1.0)
    assert request.completion is None


def test_time_comes_first(books: Books) -> None:
    """What is over by time ends, whoever says so."""
    a, b = member("a"), member("b")
    request = books.opened(a, b)
    books.declined(request, a, 1.0)
    assert not books.declined(request, a, AFTER) & REFUSED
    assert request.completion is Completion.DEADLINE
    assert books.refused == 0
