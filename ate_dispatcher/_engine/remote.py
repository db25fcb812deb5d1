"""What comes in from other machines: answers to our requests, requests of theirs, what they heard.

On the thread of the link, which is in no section when it comes (P20). Every pass is bounded (P17),
and what is let go of goes where it hurts nobody (P16).
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .._core.effects import ACCEPTED
from .._core.ends import BUDGET
from .._core.ledger import Ledger
from .._core.member import Member, Start, Worker
from .._core.outcomes import Standing, Verdict
from .._core.request import OVER, Guest, Request
from .._delivery.channel import Channel, Outlet
from .._delivery.local_member import LocalMember
from .._delivery.matched import SomeChannel
from .._observing.translate import event_opened, event_progressed, event_skipped
from ..errors import DispatcherStopped
from .engine import Engine, Order
from .gather import announce, apply, forward, tell
from .handle import Handle
from .link import Elsewhere, RemoteMember
from .messages import RemoteResult
from .process import SECTION, release, see_to
from .scatter import hand_out

__all__ = [
    "Answer",
    "Heard",
    "hand_in",
    "joined_in",
    "let_hear",
    "nobody_else",
    "open_guest",
    "part",
    "progressed",
    "settle",
    "stream_ended",
    "withdraw_guest",
]

Settled = Tuple[Verdict, Optional[Standing]]
"""MISSING, and where it stood then; or what it is for good."""


Fact = Callable[[Ledger, Request, Worker, Any, Optional[BaseException], float], int]
"""`Ledger.replied` of a last answer, or one of the following."""

Answer = Tuple[Fact, Request, RemoteMember, Any, Optional[BaseException], float, float]
"""What a member elsewhere has answered to a request: the fact, both, a value or an error.

And for how long it waited and ran, in seconds, as its machine says. No class of its own: there are
many of them.
"""


def part(
    ledger: Ledger,
    request: Request,
    worker: Worker,
    value: Any,
    error: Optional[BaseException],
    stamp: float,
) -> int:
    """That of one value of a stream."""
    return ledger.streamed(request, worker, value, stamp)


def stream_ended(
    ledger: Ledger,
    request: Request,
    worker: Worker,
    value: Any,
    error: Optional[BaseException],
    stamp: float,
) -> int:
    """That of its end."""
    return ledger.finished(request, worker, stamp)


def joined_in(
    ledger: Ledger,
    request: Request,
    worker: Worker,
    value: Any,
    error: Optional[BaseException],
    stamp: float,
) -> int:
    """That of an answer of one who was not asked by name."""
    member = worker.member
    assert isinstance(member, RemoteMember)
    return ledger.joined_in(request, member.link.others, worker, value, error, stamp)


def nobody_else(engine: Engine, request: Request, others: RemoteMember) -> None:
    """Nobody is there who was not asked by name."""

    def fact(ledger: Ledger, request: Request, member: Member, now: float) -> int:
        # Behind the deadline it is no reason for an end.
        effects = ledger.expired(request, now)
        if effects:
            return effects
        if request.need is not None:
            request.need.is_open = False
        return ledger.declined(request, member, now)

    if request.completion is None:
        tell(engine, fact, request, others)


def hand_in(engine: Engine, answers: Sequence[Answer]) -> None:
    """Hand *answers* in, in their order; the stamp is when the section is entered."""
    for first in range(0, len(answers), BUDGET):
        done: List[Tuple[Request, int]] = []
        with SECTION:
            stamp = engine.now()
            for fact, asked, member, value, error, waited, ran in answers[first : first + BUDGET]:
                extras = asked.extras
                request = asked
                if extras is None or extras.ending is not None:
                    request = _as_it_is_for(asked, member)
                member.running = request
                member.began = _began(request, stamp, waited, ran)
                effects = fact(engine.ledger, request, member, value, error, stamp)
                member.running = None
                if effects & ACCEPTED:
                    # As `forward`, in place, as long as nobody listens.
                    side = request.channel.listeners
                    heard = side.roster
                    if heard.plain is not None or heard.apart or heard.version is not side.version:
                        forward(request, value)
                if effects != ACCEPTED or engine.hooks:
                    apply(engine, request, effects, member)
                done.append((request, effects))
        let_go: List[Any] = []
        for request, effects in done:
            if effects != ACCEPTED or request.awaited:
                announce(engine, request, effects, let_go)
        if let_go:
            release(let_go)


def _as_it_is_for(request: Request, member: Member) -> Request:
    """What stands in its place for *member* if its end goes on, and has judged that already."""
    ending, extras = request.ending, request.extras
    if ending is None or extras is None or request.completion is not None:
        return request
    each = extras.unanswered.get(id(member))
    return request if each is None else request.stub(ending.completion, [each])


def _began(request: Request, stamp: float, waited: float, ran: float) -> Start:
    """When it began, with what it spent on the way: no clock is compared with another."""
    since = stamp - request.sent
    if since < 0.0:
        since = 0.0
    if not 0.0 <= ran <= since:
        ran = 0.0 if ran < 0.0 else since
    if not 0.0 <= waited <= since - ran:
        waited = 0.0 if waited < 0.0 else since - ran
    return Start(stamp - ran, (None, None), since - ran - waited)


def progressed(
    engine: Engine, request: Request, member: RemoteMember, fraction: float, text: str
) -> None:
    """*member* says how far it is with *request*, which is open."""
    away = None if request.extras is None else request.extras.away
    if isinstance(away, Elsewhere):
        progress = away.progress = away.progress or {}
        progress[id(member)] = fraction, text
        if engine.hooks:
            told = request, member, engine.now(), fraction, text
            engine.observers.tell(event_progressed, *told)


def settle(
    engine: Engine,
    request: Request,
    settled: Dict[RemoteMember, Settled],
) -> None:
    """Where members stood as *request* ended, or that they will not begin it."""
    rest = list(settled.items())
    while rest:
        with SECTION:
            now = engine.now()
            for member, (verdict, standing) in rest[:BUDGET]:
                effects = engine.ledger.settled(request, member, verdict, standing)
                if engine.hooks and verdict is Verdict.SKIPPED and not effects:
                    each = request.more().unanswered[id(member)]
                    engine.observers.tell(event_skipped, each, now)
        del rest[:BUDGET]


def open_guest(
    engine: Engine,
    guest: Guest,
    channel: Channel,
    members: Tuple[Member, ...],
    args: Sequence[Any],
    kwargs: Dict[str, Any],
    deadline: float,
    key: Any,
) -> Optional[Handle]:
    """Open a request that was sent elsewhere, until *deadline*, an instant here; None after a stop.

    *channel* is of its topic, with nobody on it.
    """
    if engine.gate.refusal is not None:
        return None
    now, number, topic = engine.now(), engine.next_id(), channel.topic
    call = (topic, *args)
    more = deadline, call, kwargs or None
    request = Handle.of(engine, number, topic, channel, members, now, *more)
    request.is_for(guest)
    if key is not None:
        request.more().key = engine.keys.intern(key)
    for member in members:
        if isinstance(member, LocalMember) and member.exclusive_on is not None:
            member.joins(channel)
    # As `scatter.send` (P4, P5).
    engine.arrivals.append(request)
    if engine.hooks:
        engine.observers.tell(event_opened, request)
    if engine.gate.held:
        try:
            engine.hold(request)
        except DispatcherStopped:
            # The stop came in between.
            engine.post(Order.ABANDON, request)
            return None
    else:
        hand_out(engine, request)
        if engine.disabled:
            engine.crossed(request)
    if request.deadline < engine.wakeup:
        engine.post(Order.KEEP, request)
    return request


def withdraw_guest(engine: Engine, request: Request, members: Sequence[LocalMember]) -> None:
    """Its guest does not let *members* begin it any more: what they have not begun is withdrawn."""
    with SECTION:
        # Whoever comes to it from here on looks.
        request.until = OVER
    for member in members:
        engine.post(Order.WITHDRAW, member, None, True)


class Heard(NamedTuple):
    """A result that was accepted elsewhere, or, without a *request*, a value published there."""

    channel: SomeChannel
    topic: str
    value: Any
    request: Optional[int]


def let_hear(engine: Engine, heard: Sequence[Heard], but: object) -> None:
    """Let those who listen here hear, in that order; but not the mailbox *but*.

    Behind what was posted before (P18).
    """
    posts = engine.posts
    for first in range(0, len(heard), BUDGET):
        see_to(posts)
        with SECTION:
            at = engine.now()
            for channel, topic, value, request in heard[first : first + BUDGET]:
                roster = channel.heard()
                message = RemoteResult(engine, channel, topic, value, request, at)
                apart = [each for each in roster.apart if each is not but]
                posts.put(
                    [
                        [roster.plain, (topic, value), engine],
                        *[[Outlet(each, None, None), message, engine] for each in apart],
                    ]
                )
