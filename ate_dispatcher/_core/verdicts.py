"""Who has a verdict on a request, and which one the absent get at its end."""

from __future__ import annotations

from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple

from .member import Member, Worker
from .outcomes import NOT_BEGUN, Completion, Standing, Verdict
from .records import MEMBER, Part, newest_first
from .request import Request, Unanswered

__all__ = ["check", "is_judged", "is_run_by", "judge_absent", "lacks_answer_of"]


def is_run_by(request: Request, member: Member) -> bool:
    """Whether *member* is in it, while it is open."""
    return request.completion is None and any(
        worker.running is request for worker in member.workers
    )


def lacks_answer_of(request: Request, worker: Worker) -> bool:
    """Whether *worker* is in *request*, and its member has no other verdict on it."""
    extras = request.extras
    return worker.running is request and (
        extras is None
        or request.completion is not None
        or id(worker.member) not in extras.unanswered
    )


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


def judge_absent(
    request: Request,
    completion: Completion,
    verdicts: Mapping[Standing, Verdict],
    now: float,
    witness: Optional[Callable[[Sequence[Any]], List[Any]]],
) -> None:
    """Judge, and let those who run it have a stub in its place."""
    judged = request.judged()
    found = request.more().unanswered
    number = request.engine.number
    running: List[Tuple[Worker, Unanswered]] = []
    for member in request.roster:
        if id(member) in judged:
            continue
        worker = member.worker_at(request)
        standing = member.standing_of(worker, request)
        each = Unanswered(request, member, verdicts[standing], standing, now, worker)
        found[id(member)] = each
        if standing in NOT_BEGUN:
            if each.verdict is Verdict.MISSING:
                member.unjudged.setdefault(number, []).append(each)
        elif worker is not None and standing is Standing.RUNNING:
            running.append((worker, each))
    if running and witness is not None:
        places = witness([worker for worker, _ in running])
        for (_, each), where in zip(running, places):
            each.places = where
    for worker, each in running:
        worker.running = request.stub(worker, completion, each)


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
