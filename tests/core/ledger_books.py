"""A ledger without threads, and how the tests of the core speak of it."""

from __future__ import annotations

import itertools
import math
from typing import Any, Dict, List, Optional, Tuple

from ate_dispatcher._core.effects import ACCEPTED, DISCARDED, ENDED, FAILED, NOTED, REFUSED
from ate_dispatcher._core.ledger import Ledger
from ate_dispatcher._core.member import Member
from ate_dispatcher._core.open_requests import OpenRequests
from ate_dispatcher._core.outcomes import HELD, NOT_BEGUN, Standing, Verdict
from ate_dispatcher._core.records import newest_first
from ate_dispatcher._core.reporting import report_of
from ate_dispatcher._core.request import Request, Unanswered

TOLD = ACCEPTED | FAILED | ENDED | DISCARDED | NOTED | REFUSED
"""The effects with a meaning of their own."""

DEADLINE = 10.0
BEFORE, AFTER = 9.0, 11.0
PLENTY = 1 << 40
"""A budget that ends nothing."""


class Someone:
    """What a member's producer is to the ledger: nothing. To the report: a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Payload:
    """Something a weak reference can point at."""


class WeakRequest(Request):
    """A request whose life can be watched."""

    __slots__ = ("__weakref__",)


_numbers = itertools.count(1)


class Books(Ledger):
    """A ledger with the bits of an engine that the facts need around them; its own engine."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = itertools.count(1)
        self.number = next(_numbers)

    def opened(self, *roster: Member, deadline: float = DEADLINE, sent: float = 0.0) -> WeakRequest:
        call, kwargs = ("t", Payload()), {"k": 1}
        number = next(self.ids)
        request = WeakRequest.of(self, number, "t", None, roster, sent, deadline, call, kwargs)
        self.arrivals.append(request)
        return request

    def answers(
        self, request: Request, member: Member, stamp: float, error: Optional[BaseException] = None
    ) -> int:
        """*member* has begun, if the test did not say so before, and answers now."""
        if member.running is None or member.running.id != request.id:
            begins(request, member, min(stamp, request.deadline))
        assert member.running is not None
        assert member.running.id == request.id
        # The worker answers to what it runs: after the end, that may be less than the request.
        effects = self.replied(member.running, member, None if error else "value", error, stamp)
        assert member.running is None
        return effects & TOLD

    def gathered(self) -> None:
        """All that has arrived is taken in."""
        while self.arrivals:
            self.open.gather()

    def cancel(self, request: Request, now: float) -> int:
        """As the control loop does it: what may still be among the arrivals is kept first."""
        if request.completion is None and request.cell is None:
            self.open.keep(request)
        return self.cancelled(request, now)

    def expire(self, now: float) -> List[Tuple[Request, int]]:
        """All that is due, as it was told, pass after pass."""
        self.gathered()
        found: List[Tuple[Request, int]] = []
        more = True
        while more:
            ended, more = self.time_passed(now)
            found += [(request, effects & TOLD) for request, effects in ended]
        return found

    def next_instant(self) -> float:
        return next_instant(self.open)

    def open_requests(self) -> List[Request]:
        return list(self.open.all())

    def open_count(self) -> int:
        """How many of those that were taken in are open."""
        return kept(self.open)

    def stored(self) -> int:
        """How many places for requests there are, full or empty."""
        store = self.open
        stores = (store.arrivals, store._heap, store._old, *store._pages.values())
        return sum(map(len, stores))


def member(name: str = "m", standing: Standing = Standing.QUEUED) -> Member:
    """A member whose thread lives, unless said otherwise."""
    made = Member(Someone(name))
    made.standing = standing
    return made


def begins(request: Request, member: Member, at: float) -> None:
    """A worker of *member* takes *request* out of the mailbox."""
    engine: Any = request.engine
    assert engine.began(request, member, at) == 0


def absent(request: Request) -> bool:
    """Whether members had not begun it at its end: their mailboxes, or workers, still hold it."""
    return any(each.standing in (*NOT_BEGUN, *HELD) for each in request.unanswered())


def unanswered(request: Request) -> Unanswered:
    """The newest of the verdicts without a reply."""
    return request.unanswered()[-1]


def verdicts(request: Request) -> List[Optional[Verdict]]:
    """In the order of the roster, as the report has them."""
    return [line.verdict for line in report_of(request, 99.0).members]


def standings(request: Request) -> List[Optional[Standing]]:
    """Likewise, where they stood."""
    return [line.standing for line in report_of(request, 99.0).members]


def counted(ledger: Ledger) -> Dict[Verdict, int]:
    """The verdicts of the sums that are not zero, after checking that the books are in order."""
    ledger.check()
    sums = ledger.sums.shown(ledger.open.all())
    assert sums.fan_out == sum(sums.verdicts.values()) + sums.pending
    assert sums.requests == sums.open + sum(sums.completions.values())
    return {verdict: count for verdict, count in sums.verdicts.items() if count}


def everything(ledger: Ledger, *requests: Request) -> List[Any]:
    """All that a fact may change: what is refused changes none of it."""
    store = ledger.open
    found: List[Any] = [ledger.sums.shown(store.all()), list(ledger.arrivals), store.stale]
    found += [sorted(request.id for request in store.all()), next_instant(store)]
    for request in requests:
        found += [getattr(request, name, None) for name in Request.__slots__]
        found += [list(newest_first(request.chain)), *map(fields, request.unanswered())]
        extras = request.extras
        if extras is not None:
            found += [extras.errors, list(extras.callbacks or ())]
            found += [*fields(extras.need), *fields(extras.line)]
        for member in request.roster:
            found += [member.standing, {k: list(v) for k, v in member.unjudged.items()}]
            for worker in member.workers:
                found += [worker.running, worker.began, *fields(worker.claim)]
    return found


def kept(store: OpenRequests) -> int:
    """How many requests it keeps beside the arrivals."""
    return store._timed + sum(map(len, store._pages.values()))


def fields(thing: Any) -> List[Any]:
    """What its slots hold; of None, nothing."""
    found = []
    for name in () if thing is None else type(thing).__slots__:
        value = getattr(thing, name, None)
        found.append(value.copy() if isinstance(value, (dict, list)) else value)
    return found


def next_instant(store: OpenRequests) -> float:
    """The next instant, come for again while there are empty cells before it."""
    while True:
        found = store.next_instant()
        if found != -math.inf:
            return found
