"""Clears mailboxes of what has ended, and judges what a producer that is gone or disabled has left.

On any thread of ours, which is in no section when it comes. Every pass is bounded (P17).
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Tuple

from .._core.ends import BUDGET
from .._core.ledger import Ledger
from .._core.member import Member, Worker
from .._core.request import Request
from .._delivery.channel import is_disabled
from .._delivery.local_member import LocalMember
from .._delivery.mailbox import CLOSED
from .engine import Engine, Order
from .gather import announce, apply, engines_of, give_back, skipped, tell
from .link import RemoteMember
from .process import SECTION

__all__ = [
    "buried",
    "come_to",
    "decline",
    "declined",
    "died",
    "ended",
    "shall_not_begin",
    "sweep",
    "withdraw",
    "withdrawn",
]

_LOOKS = 64
"""How many messages are looked at in one pass that only takes out what has ended."""


def ended(member: LocalMember) -> None:
    """*member*'s thread is over: what it was at, and what waits for it, gets its verdict.

    One that could not be set up has declined.
    """
    died(member)
    with SECTION:
        member.mailbox.close()
    _judge_left(member, Ledger.died if member.failure is None else Ledger.declined)


def died(worker: Worker) -> None:
    """The thread of *worker* is over: what it was at gets its verdict."""
    request = worker.running
    if request is not None:
        tell(request.engine, Ledger.died, request, worker.member)
        worker.running = None


def buried(member: LocalMember) -> None:
    """Something was put into *member*'s mailbox after it was closed (P2)."""
    _judge_left(member, Ledger.declined)


def decline(member: LocalMember, request: Request) -> None:
    """There is no room for *request* in *member*'s mailbox. On the thread that sends it."""
    request.engine.post(Order.DECLINE, member, request)


def declined(member: LocalMember, request: Request) -> None:
    """*request* found no room. The control loop."""
    if request.completion is None:
        tell(request.engine, Ledger.declined, request, member)


def sweep(member: LocalMember, off: bool = False) -> bool:
    """Look through a part of *member*'s mailbox: whether the round goes on.

    What has ended comes out, and what it shall not begin because it is disabled, or *off* for some
    requests, is withdrawn.
    """

    def is_off(item: Request) -> bool:
        # Asked after it was taken out, so what was sent after an enable is left alone (P7).
        return shall_not_begin(item, member)

    told: List[Tuple[Request, int]] = []
    # A look takes less than a verdict.
    off = off or any(is_disabled(engine.disabled, member.producer) for engine in engines_of(member))
    with SECTION:
        out, more = member.mailbox.sweep(BUDGET if off else _LOOKS, is_off)
        for request in out:
            if request.completion is None:
                engine = request.engine
                effects = engine.ledger.withdrawn(request, member, engine.now())
                apply(engine, request, effects, member)
                told.append((request, effects))
        SECTION.left.extend(out)
        del out
    for request, effects in told:
        announce(request.engine, request, effects)
    come_to(member, 1)
    return more


def shall_not_begin(request: Request, member: Member) -> bool:
    """Whether *member* was disabled: here, or where *request* was sent."""
    guest = request.guest
    if guest is not None and not guest.lets_begin(member):
        return True
    return is_disabled(request.engine.disabled, member.producer)


def withdrawn(member: Member, request: Request) -> None:
    """*request* is in *member*'s mailbox no more, or was never put there."""
    tell(request.engine, Ledger.withdrawn, request, member)


def withdraw(engine: Engine, member: Member, rounds: Optional[int], elsewhere: bool) -> int:
    """*member* was disabled, here or *elsewhere*: what it has not begun is taken from it, in part.

    How many *rounds* through its mailbox are left. The control loop.
    """
    if not elsewhere and not is_disabled(engine.disabled, member.producer):
        # The last: or enabled again.
        return 0
    if isinstance(member, RemoteMember):
        member.link.withdraw(member)
    if not isinstance(member, LocalMember):
        return 0
    if rounds is None:
        _take_away(engine, member)
        # One that is under way has not looked at all for this reason.
        rounds = 2
    if not sweep(member, off=True):
        rounds -= 1
    return 0 if member.mailbox.attention is CLOSED else rounds


def _take_away(engine: Engine, member: LocalMember) -> None:
    """What *member*'s workers have come to, but not begun, is withdrawn too."""
    for worker in member.workers:
        request: Any = None
        effects = 0
        with SECTION:
            claim = worker.claim
            if claim is not None and claim.waits and shall_not_begin(claim.request, member):
                request = claim.request
                if request.engine is not engine:
                    continue
                effects = engine.ledger.withdrawn(request, member, engine.now())
                apply(engine, request, effects, member)
                give_back(engine, claim)
        if request is not None:
            announce(engine, request, effects)


def come_to(member: Member, passes: int = 1 << 62) -> None:
    """*member* has come to what ended before it began it, on whatever engine."""
    for number in list(member.unjudged):
        reference = member.engines.get(number)
        engine = None if reference is None else reference()
        if engine is None:
            # Nobody is left who could look at what it has asked.
            member.unjudged.pop(number, None)
            continue
        for _ in range(passes):
            with SECTION:
                count = skipped(engine, member)
            if count < BUDGET:
                break


def _judge_left(member: LocalMember, fact: Callable[..., int]) -> None:
    for request in member.mailbox.emptied():
        if request.completion is None:
            tell(request.engine, fact, request, member)
    come_to(member)
