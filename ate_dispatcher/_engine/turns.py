"""How a worker comes to what is next: past what is over, to its instruments and its start line.

What it takes, it takes inside the section; a request that needs instruments, or has a start line,
gets a claim there, and the worker waits for it outside.
"""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from .._core.durations import NEVER
from .._core.ends import BUDGET
from .._core.member import Claim, Start
from .._core.outcomes import Standing
from .._core.request import Request
from .._delivery.local_member import LocalMember
from .._delivery.sentinels import AGAIN, SWEPT, Sentinel
from .._observing.deadlocks import LOOKS
from .engine import Engine
from .gather import announce, apply, give_back, unpark_all
from .process import SECTION, nested
from .sweep import shall_not_begin
from .waiting import look_for_circle

__all__ = ["Later", "Taken", "begins", "comes_on", "has_begun", "take"]

Later = List[Tuple[Request, int]]
"""What brought effects on the way that are to be announced after the section."""

Taken = Tuple[Any, Optional[Tuple[Any, ...]], Any, Optional[Claim]]
"""A request with its arguments and perhaps a claim; or a sentinel, without arguments."""


def take(worker: Any, item: Any, later: Later) -> Taken:
    """From *item* on the first message that is not over; a bounded number of them is looked at."""
    member: LocalMember = worker.member
    worker.running = None
    for number in range(BUDGET):
        if item is SWEPT:
            member.mailbox.items.appendleft(SWEPT)
        elif item.__class__ is Sentinel:
            return item, None, None, None
        elif item.completion is None:
            found = _come_to(worker, item, later)
            if found is not None:
                return found
        # Whoever leaves the section lets go of what has ended (P16).
        SECTION.left.append(item)
        # Nothing is taken that is not looked at: it would have no place to go back to.
        if number < BUDGET - 1:
            item = member.mailbox.take(worker)
    return AGAIN, None, None, None


def _come_to(worker: Any, request: Any, later: Later) -> Optional[Taken]:
    """The turn of *request*, which was open, has come: it begins, or has a claim, or is over."""
    member, engine = worker.member, request.engine
    ledger, stamp = engine.ledger, engine.now()
    call, kwargs, claim = request.call, request.kwargs, None
    effects = ledger.expired(request, stamp, member)
    if not request.is_over and shall_not_begin(request, member):
        # Disabled since it left the mailbox: nobody else has seen it.
        effects = ledger.withdrawn(request, member, stamp)
        apply(engine, request, effects, member)
        later.append((request, effects))
        return None
    apply(engine, request, effects, member)
    if request.is_over:
        later.append((request, effects))
        return None
    if request.line is None and not member.needed_on(request.channel):
        ledger.began(request, worker, stamp)
    else:
        claim = worker.claim = Claim(request, worker, stamp)
        if claim.names:
            unpark_all(engine.instruments.ask(claim), worker)
        if claim.granted or not claim.names:
            effects = _goes_on(engine, claim, stamp)
            if effects:
                later.append((request, effects))
    return request, call, kwargs, claim


def _goes_on(engine: Engine, claim: Claim, now: float) -> int:
    """It has its instruments: to the start line, if there is one, or to work."""
    request, worker = claim.request, claim.worker
    claim.taken = now
    if claim.standing is None:
        # The end was quicker.
        return 0
    ledger = engine.ledger
    effects = ledger.expired(request, now, worker.member)
    if request.is_over:
        apply(engine, request, effects, worker.member)
        return effects
    if request.line is None:
        claim.standing = Standing.RUNNING
        return ledger.began(request, worker, Start(now, claim.spent(now)) if claim.names else now)
    effects = ledger.lined_up(request, claim, now)
    apply(engine, request, effects, worker.member)
    return effects


def begins(engine: Engine, worker: Any, claim: Claim) -> bool:
    """Wait until it may begin; False if it shall not. On the thread of *worker*."""
    looks = iter(LOOKS if nested else ())
    began = engine.now()
    look = began + next(looks, NEVER)
    while claim.waits:
        if not worker.park(look):
            look_for_circle(worker)
            look = began + next(looks, NEVER)
        comes_on(engine, claim)
    return has_begun(engine, worker, claim)


def comes_on(engine: Engine, claim: Claim) -> None:
    """Its worker was unparked: if it has its instruments, to the start line, or to work."""
    if claim.granted and claim.taken is None:
        request = claim.request
        with SECTION:
            effects = _goes_on(engine, claim, engine.now())
        announce(engine, request, effects)


def has_begun(engine: Engine, worker: Any, claim: Claim) -> bool:
    """What *worker* waited for is over; False if it shall not begin."""
    claim.request = worker.claim = None
    if claim.standing is None:
        if claim.granted:
            with SECTION:
                give_back(engine, claim)
        return False
    if claim.lined is not None:
        # Where it runs, since this is what a skew is measured by.
        now = engine.now()
        worker.began = Start(now, claim.spent(now))
    return True
