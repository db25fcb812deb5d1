"""What the ledger's effects mean: inside the section, and after it.

Inside, nothing blocks, calls users or lets go of what is theirs (P16): values and messages go to
mailboxes.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Sequence

from .. import _log
from .._core.effects import (
    ACCEPTED,
    ALARM,
    ASK,
    DISCARDED,
    ENDED,
    ENDING,
    FAILED,
    NOTED,
    REFUSED,
)
from .._core.ends import BUDGET
from .._core.ledger import Ledger
from .._core.member import Claim, Member
from .._core.outcomes import HELD, NOT_BEGUN, Standing
from .._core.records import Close, newest_first
from .._core.reporting import replies_between, report_of
from .._core.request import Ending, Extras, Request, Unanswered
from .._core.start_line import StartLine
from .._delivery.channel import Outlet, Roster
from .._delivery.local_member import LocalMember
from .._delivery.mailbox import Mailbox
from .._observing.translate import (
    event_completed,
    event_discarded,
    event_noted,
    event_replied,
    event_skipped,
)
from .engine import Engine, Order
from .messages import (
    COMPLETION,
    ERROR,
    EndMessage,
    ErrorMessage,
    Hearer,
    ResultMessage,
)
from .process import LINES, SECTION, lost, release
from .waiting import wake

__all__ = [
    "announce",
    "apply",
    "engines_of",
    "failed",
    "forward",
    "forward_apart",
    "give_back",
    "parts_of",
    "skipped",
    "tell",
    "unpark_all",
    "without_our_frame",
]

_FEW = 4
"""So many of the missed are judged in passing."""

Fact = Callable[..., int]
"""A method of the ledger that takes a request, whoever it is about, and the instant."""


def tell(engine: Engine, fact: Fact, request: Request, *who: Member) -> int:
    """Tell the ledger a *fact* about *request*, now, and carry out what it answers."""
    with SECTION:
        effects = fact(engine.ledger, request, *who, engine.now())
        apply(engine, request, effects, who[0] if who else None)
    announce(engine, request, effects)
    return effects


# -- inside the section ------------------------------------------------------------------------


def apply(engine: Engine, request: Request, effects: int, member: Optional[Member] = None) -> None:
    """Carry out what the ledger answered, as far as it belongs inside the section."""
    extras, hooks = request.extras, engine.hooks
    if extras is not None and extras.guest is not None:
        extras.guest.told(request, effects, member)
    if effects & FAILED:
        _tell_listeners(request, ERROR, ErrorMessage)
    if hooks and member is not None:
        if effects & NOTED and extras is not None:
            engine.observers.tell(event_noted, request, extras.unanswered[id(member)])
        if effects & (ACCEPTED | FAILED):
            engine.observers.tell(event_replied, request, request.chain)
    ending = None if extras is None else extras.ending
    if effects & ENDING:
        # The control loop goes on with it.
        engine.orders.attend()
    if effects & ENDED:
        _tell_listeners(request, COMPLETION, EndMessage)
        if hooks:
            engine.observers.tell(event_completed, request)
        if ending is not None:
            told_behind, ending.told_behind, ending.over = ending.told_behind, [], True
            for what, *data in told_behind:
                what(*data)
        if extras is not None:
            _end_extras(engine, request, extras)
        if engine.gate.refusal is not None and not engine.ledger.open:
            # Whoever ends the last one: the control loop may wait for that.
            engine.orders.attend()
    elif extras is not None and extras.line is not None and extras.line.started:
        _line_is_gone(engine, extras.line)
    if ending is not None and ending.judged:
        _are_missed(engine, request, ending)
    if effects & ALARM:
        left = engine.ledger.open.left
        if left:
            SECTION.left.extend(left)
            left.clear()
        # The control loop sleeps until an instant that it knew before.
        need = request.need
        cell = None if need is None else need.cell
        if engine.ledger.open.stale or (cell is not None and cell[0] < engine.wakeup):
            engine.orders.attend()
    if effects & DISCARDED and hooks and extras is not None and member is not None:
        each = extras.unanswered[id(member)]
        _behind(each, engine.observers.tell, event_discarded, request, each)


def forward(request: Request, value: Any) -> None:
    """A value was taken: to whoever listens on its topic. The hot loop does the same in place."""
    heard = _heard(request)
    if heard.plain is not None or heard.apart:
        request.engine.posts.put(parts_of(request, heard, (request.topic, value)))


def _heard(request: Request) -> Roster:
    """Who listens on its topic; nearly always that is known."""
    side = request.channel.listeners
    heard: Roster = side.roster
    return heard if heard.version is side.version else request.channel.heard()


def parts_of(request: Request, roster: Roster, message: Any) -> List[List[Any]]:
    """The newest record, as those hear it who are plain, a *message*, and then the others."""
    engine = request.engine
    parts = _parts(engine, roster.apart, ResultMessage(request) if roster.apart else None)
    return [[roster.plain, message, engine], *parts]


def forward_apart(request: Request, apart: Sequence[Mailbox]) -> None:
    """The newest record, to those who hear it *apart* from the others; behind no posts."""
    message = ResultMessage(request)
    for mailbox in apart:
        mailbox.deliver(message)


def give_back(engine: Engine, claim: Claim) -> None:
    """*claim* is over: its worker, if it waits, need not, and its instruments are free."""
    waits, claim.standing = claim.waits, None
    if claim.names:
        unpark_all(engine.instruments.drop(claim))
    if waits:
        _unpark(claim)


def skipped(engine: Engine, member: Member, limit: int = BUDGET) -> int:
    """*member* has come to what ended before it began it, or never will: the oldest *limit*."""
    judged = engine.ledger.come_to(member, engine, limit)
    for each in judged:
        if each.ending is not None and each.ending.guest is not None:
            _behind(each, each.ending.guest.skipped, each)
    if engine.hooks:
        now = engine.now()
        for each in judged:
            _behind(each, engine.observers.tell, event_skipped, each, now)
    SECTION.left.extend(judged)
    return len(judged)


def unpark_all(claims: Any, here: Any = None) -> None:
    """They have their instruments now; the worker that is *here* sees that itself."""
    for claim in claims:
        if claim.worker is not here:
            _unpark(claim)


def _unpark(claim: Claim) -> None:
    worker: Any = claim.worker
    worker.unpark()


def _behind(each: Unanswered, tell: Callable[..., object], *told: Any) -> None:
    """*tell* behind the end that has judged *each*, which may still go on."""
    ending = each.ending
    if ending is None or ending.over:
        tell(*told)
    else:
        ending.told_behind.append((tell, *told))


def _end_extras(engine: Engine, request: Request, extras: Extras) -> None:
    if extras.callbacks:
        callbacks, extras.callbacks = extras.callbacks, None
        # Of a copy: one that is removed just now shall not make another one be passed over.
        for callback in tuple(callbacks):
            engine.observers.call(callback, request)
    if extras.line is not None:
        _line_is_gone(engine, extras.line)
    if extras.away is not None:
        extras.away.over(request)


def _are_missed(engine: Engine, request: Request, ending: Ending) -> None:
    """What follows from the verdicts that *ending* has brought since the last time."""
    judged, ending.judged = ending.judged, []
    # What was over at its send is in no mailbox.
    was_put = request.cell is not None
    for each in judged:
        member = each.member
        if each.standing in HELD:
            worker = member.worker_at(request)
            if worker is not None and worker.claim is not None:
                give_back(engine, worker.claim)
        elif each.standing in NOT_BEGUN and was_put and isinstance(member, LocalMember):
            out, sweep = member.mailbox.bury(request)
            SECTION.left.extend(out)
            if sweep:
                engine.leave(Order.SWEEP, member)
            # What it has missed before it will not begin either; so a hung one keeps little.
            older = len(member.unjudged.get(engine.number, ())) - 1
            if older > 0:
                skipped(engine, member, min(older, _FEW))
        elif each.standing is Standing.RUNNING and isinstance(member, LocalMember):
            member.interrupt(request)


def _line_is_gone(engine: Engine, line: StartLine) -> None:
    """It has started, or never will: who is present runs; what was reserved is there for others."""
    present, line.present = line.present, []
    for claim in present:
        _unpark(claim)
    members = LINES.get(line)
    if members is None:
        return
    unpark_all(engine.instruments.free(line))
    others = {id(other): other for member in members for other in engines_of(member)}
    others.pop(id(engine), None)
    for other in others.values():
        unpark_all(other.instruments.look_again(members))


def engines_of(member: Member) -> Any:
    """The dispatchers that *member* is registered with, as far as they live."""
    found = [reference() for reference in list(member.engines.values())]
    return [engine for engine in found if engine is not None]


def _tell_listeners(request: Request, callback: str, message: Callable[[Request], Any]) -> None:
    if request.channel is None:
        return
    listeners: Sequence[Hearer] = _heard(request).members
    if not listeners:
        return
    heeding = [each._ate_mailbox for each in listeners if each._ate_heeds(callback)]
    if heeding:
        request.engine.posts.put(_parts(request.engine, heeding, message(request)))


def _parts(engine: Engine, mailboxes: Sequence[Mailbox], message: Any) -> List[List[Any]]:
    return [[Outlet(mailbox, None, None), message, engine] for mailbox in mailboxes]


# -- after the section -------------------------------------------------------------------------


def announce(
    engine: Engine, request: Request, effects: int, let_go: Optional[List[Any]] = None
) -> None:
    """What a fact brings with it outside the section: wake who waits, say what is odd.

    What was asked is added to *let_go*, if the caller releases that of several together.

    The section was left in between, which orders this look at who waits after the ledger's last
    word on the request (P9).
    """
    if request.awaited:
        wake(engine, request)
    if effects & ENDED:
        # What was asked is let go now: mailboxes and workers may hold the request for long (P16).
        asked: List[Any] = []
        if request.chain is not None or request.kwargs or not _is_harmless(request.call):
            asked = [request.call, request.kwargs, request]
        request.call = request.kwargs = None
        if let_go is not None:
            let_go += asked
        elif asked:
            release(asked)
        extras = request.extras
        for each in () if extras is None else request.unanswered():
            member = each.member
            if each.standing is not Standing.NOT_STARTED or not isinstance(member, LocalMember):
                continue
            if not member.warned:
                member.warned = True
                name = _log.Later(_log.name_of, member.producer)
                lost("producer %s was asked but never started", name, producer=name)
    if effects & ASK:
        _ask(engine, request)
    if effects & REFUSED:
        lost(
            "refused: a second verdict, or none that can be, on request %d; it has %s",
            request.id,
            _log.Later(report_of, request, engine.now()),
            request=request.id,
            topic=request.topic,
        )


_HARMLESS = frozenset([bool, bytes, float, int, str, type(None)])


def _is_harmless(call: Any) -> bool:
    """Whether letting go of *call* sets nothing off."""
    return call is None or all(each.__class__ in _HARMLESS for each in call)


def _ask(engine: Engine, request: Request) -> None:
    """Ask the predicates of *request* about its replies so far; what they say is a fact."""
    need, error = request.need, None
    if need is None:
        return
    yes = []
    # Each reply is made once, however often one asks. Replaced whole: several may ask at once.
    seen, replies = need.shown
    newest = request.chain
    if any(record.__class__ is Close for record in newest_first(newest, seen)):
        # The end of a stream says of the part before it that it was the last.
        seen, replies = None, ()
    replies = (*replies, *replies_between(seen, newest, request.sent))
    need.shown = newest, replies
    try:
        yes = [until for until in need.untils if until.predicate(replies)]
    except BaseException as raised:
        error = without_our_frame(raised)
        what = f"the predicate of request {request.id} raised"
        _log.failed(what, error, request=request.id, topic=request.topic)

    def agreed(ledger: Ledger, request: Request, now: float) -> int:
        return ledger.agreed(request, yes, error, now)

    tell(engine, agreed, request)


def without_our_frame(error: BaseException) -> BaseException:
    """*error* without the frame that caught it, which would keep whatever comes next alive."""
    try:
        # Past what the error's class may have made of these.
        traceback = BaseException.__dict__["__traceback__"].__get__(error)
        BaseException.with_traceback(error, None if traceback is None else traceback.tb_next)
    except BaseException:
        pass
    return error


def failed(producer: Any, request: Request, error: BaseException) -> None:
    """Say that *producer* raised while it served *request*."""
    name, topic = _log.name_of(producer), request.topic
    what = f"{name} raised while it served request {request.id}"
    guest = request.guest
    asker = None if guest is None else guest.asker
    if guest is not None:
        # Of another machine a topic is text. Here the number alone says little.
        what += f" on {topic!r}, asked by {guest.asker[:100]!r}"
        if guest.id:
            what += f" as its request {guest.id}"
    _log.failed(what, error, request=request.id, topic=topic, producer=name, asker=asker)
