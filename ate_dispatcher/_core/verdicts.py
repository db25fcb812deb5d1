"""Who has a verdict on a request, and which one the absent get at its end."""

from __future__ import annotations

import itertools
from typing import Any, Callable, List, Optional, Sequence, Tuple

from .member import Member, Worker
from .outcomes import NOT_BEGUN, Standing, Verdict
from .records import MEMBER, Part, newest_first
from .request import Ending, Request, Unanswered

__all__ = [
    "Witness",
    "check",
    "is_judged",
    "is_run_by",
    "judge_early",
    "judge_some",
    "lacks_answer_of",
]

Witness = Optional[Callable[[Sequence[Any]], List[Any]]]
"""Tells where workers are in their code."""

_LOOKS = 16
"""So many looks at who needs no verdict take as long as one verdict."""


def is_run_by(request: Request, member: Member) -> bool:
    """Whether *member* is in it, while it is open."""
    return request.completion is None and any(
        worker.running is request for worker in member.workers
    )


def lacks_answer_of(request: Request, worker: Worker) -> bool:
    """Whether *worker* is in *request*, and its member has no other verdict on it."""
    extras = request.extras
    if worker.running is not request:
        return False
    if extras is None or request.completion is not None:
        return True
    if id(worker.member) in extras.unanswered:
        return False
    # One elsewhere may be said to have answered twice.
    return bool(worker.member.workers) or not request.has_answered(worker.member)


def is_judged(request: Request, member: Member) -> bool:
    """Whether *member* has a verdict on it already, or can have none, not being asked."""
    if member not in request.roster:
        return True
    extras = request.extras
    if extras is None:
        return any(
            record[MEMBER] is member and record.__class__ is not Part
            for record in newest_first(request.chain)
        )
    return id(member) in extras.unanswered or request.has_answered(member)


def judge_some(request: Request, ending: Ending, budget: int, witness: Witness) -> int:
    """Judge the absent, as far as *budget* goes: what is left of it, 0 for nothing."""
    extras, looks = request.more(), budget * _LOOKS
    if extras.answered is None:
        extras.answered = set()
    for record in itertools.islice(ending.answers, looks):
        looks -= 1
        if record.__class__ is not Part:
            extras.answered.add(id(record[MEMBER]))
    if not looks:
        return 0
    # Replies are not taken any more.
    extras.answered_until = request.chain
    absent: List[Member] = []
    for member in itertools.islice(ending.roster, looks):
        looks -= 1
        if id(member) not in extras.answered and id(member) not in extras.unanswered:
            absent.append(member)
            looks -= _LOOKS - 1
            if looks <= 0 or len(absent) == request.left:
                break
    _judge(request, ending, absent, witness)
    return max(0, looks // _LOOKS)


def judge_early(request: Request, ending: Ending, member: Member, witness: Witness) -> None:
    """*member*, which has not answered, has come to *request*, whose end goes on: judge it now."""
    if id(member) not in request.more().unanswered:
        _judge(request, ending, [member], witness)


def _judge(request: Request, ending: Ending, members: List[Member], witness: Witness) -> None:
    """What they get; and those that run it have a stub in its place."""
    number = request.engine.number
    running: List[Tuple[Worker, Unanswered]] = []
    for member in members:
        worker = member.worker_at(request)
        standing = member.standing_of(worker, request)
        verdict = ending.verdicts[standing]
        where: Optional[Standing] = standing
        if member.stands_for_many and request.has_value_of(member):
            verdict, where = Verdict.OK, None
        elif member.stands_for_many and request.need is not None and request.need.strangers:
            verdict, where = Verdict.ERROR, None
        each = Unanswered(request, member, verdict, where, ending.instant, worker)
        each.ending = ending
        request.misses(each)
        ending.judged.append(each)
        if standing in NOT_BEGUN:
            if verdict is Verdict.MISSING:
                member.unjudged.setdefault(number, []).append(each)
        elif worker is not None and standing is Standing.RUNNING:
            running.append((worker, each))
    if running and witness is not None:
        places = witness([worker for worker, _ in running])
        for (_, each), at in zip(running, places):
            each.places = at
    for worker, each in running:
        worker.running = request.stub(ending.completion, [each])


def check(request: Request) -> None:
    """Raise AssertionError if its books do not add up. It is open."""
    judged = request.judged()
    answered = [id(member) for member in request.answered()]
    roster = {id(member) for member in request.roster}
    assert len(set(answered)) == len(answered), f"request {request.id}: answered twice"
    assert judged <= roster, f"request {request.id}: a verdict on a stranger"
    assert request.left == len(roster) - len(judged), f"request {request.id}: left"
    assert request.until <= request.deadline, f"request {request.id}: until"
    for member in request.roster:
        for worker in member.workers:
            if worker.running is request:
                assert id(member) not in judged, f"request {request.id}: runs on"
