"""Finds producers that wait for each other in a circle, through a request sent in another.

A worker that serves a request may send another and wait for its end. If that needs, whatever lies
in between, something that only this worker can give, all in the circle wait until a deadline. Here
is who waits for whom; it is read without any lock, so it is good for a warning and for nothing
else. Whoever has waited for a while looks, on its own thread; so the last of a circle sees it.

What a worker waits for is a list of *clauses*: it goes on when in each of them one of the workers
does. Whoever waits for nothing goes on, then those whom these let go on, and so forth; who is left
waits in a circle, or for one.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set, Tuple

from .. import _log
from .._core.member import Member
from .._core.outcomes import Standing
from .._core.request import Request
from .._delivery.local_member import LocalMember

__all__ = ["LOOKS", "circle_of"]

LOOKS = (0.1, 1.0, 10.0)
"""After so many seconds of waiting it is looked for a circle, and never else."""

_MOST = 10_000
"""So many workers are looked at; a circle that is larger is not found."""

_TRIES = 10
"""How often it is tried to read what changes meanwhile."""

Clause = Tuple[str, List[Any]]
"""In words, what is waited for; and who can give it."""


def circle_of(worker: Any) -> Optional[str]:
    """The circle that *worker*, which waits, is in or waits for, in words.

    None for none, or if it was named before.
    """
    for _ in range(_TRIES):
        try:
            found = _circle(worker)
            return _named(found) if found else None
        except (AttributeError, RuntimeError):
            # Something changed while it was read; who waits in a circle does not change.
            continue
    return None


def _named(circle: List[Tuple[Any, str]]) -> Optional[str]:
    works = [(worker, (id(worker.awaits), worker.work)) for worker, _ in circle]
    if any(worker.named == work for worker, work in works):
        return None
    for worker, work in works:
        worker.named = work
    return "; ".join(f"{worker.member.name} {waits}" for worker, waits in circle)


def _circle(first: Any) -> List[Tuple[Any, str]]:
    """The workers of a circle that *first* waits in, or for, each with what it waits for."""
    waits: Dict[Any, List[Clause]] = {}
    new = [first]
    while new and len(waits) < _MOST:
        worker = new.pop()
        if worker not in waits:
            waits[worker] = _clauses(worker)
            for _, others in waits[worker]:
                new += others
    if new:
        return []
    stuck = _left(waits)
    steps: Dict[Any, str] = {}
    worker = first
    while worker in stuck and worker not in steps:
        # One of its clauses has nobody who goes on.
        words, others = next(c for c in waits[worker] if stuck.issuperset(c[1]))
        steps[worker] = words
        worker = others[0]
    if worker not in steps:
        return []
    path = list(steps.items())
    return path[[each for each, _ in path].index(worker) :]


def _left(waits: Dict[Any, List[Clause]]) -> Set[Any]:
    """Who does not go on."""
    stuck = set(waits)
    while True:
        free = {h for h in stuck if not any(stuck.issuperset(others) for _, others in waits[h])}
        if not free:
            return stuck
        stuck -= free


def _clauses(worker: Any) -> List[Clause]:
    """What *worker* waits for: nothing, if it works."""
    awaits, claim = worker.awaits, worker.claim
    if awaits is not None:
        request, any_reply = awaits
        running = worker.running
        serves = "" if running is None else f"serves {_told(running)} and "
        words = f"{serves}waits for {_told(request)}"
        servers = [_servers(member, request) for member in _pending(request)]
        if any_reply or request.need is not None:
            # One of them may be enough.
            return [(words, [each for some in servers for each in some])] if servers else []
        return [(words, some) for some in servers]
    if claim is None or claim.standing is None:
        return []
    if claim.standing is Standing.AT_INSTRUMENT:
        found = []
        for other in claim.request.engine.instruments.ahead_of(claim):
            shared = " and ".join(name for name in claim.names if name in other.names)
            words = f"waits with request {claim.request.id} for {shared}, which"
            found.append((f"{words} {other.worker.member.name} has", [other.worker]))
        return found
    if claim.standing is Standing.AT_LINE and claim.line.endless:
        words = f"waits at the start line of request {claim.request.id}"
        present = [other.worker.member for other in claim.line.present]
        absent = [member for member in _pending(claim.request) if member not in present]
        return [(words, _servers(member, claim.request)) for member in absent]
    return []


def _servers(member: Member, request: Request) -> List[Any]:
    """Which of *member*'s workers may give *request* its answer."""
    worker: Any = member.worker_at(request)
    if worker is None and request.key is not None and isinstance(member, LocalMember):
        worker = member.mailbox.busy_with(request.key)
    # If it has not come to it, any of its workers may be the one that does.
    return list(member.workers) if worker is None else [worker]


def _pending(request: Request) -> List[Member]:
    """Who has given it no answer yet."""
    if request.completion is not None:
        return []
    judged = request.judged()
    return [member for member in request.roster if id(member) not in judged]


def _told(request: Request) -> str:
    return f"request {request.id} on {_log.text_of(request.topic)}"
