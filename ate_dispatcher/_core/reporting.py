"""Makes reports and replies of what a request holds, on any thread and without any lock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence

from ..errors import RemoteError
from .durations import NEVER, in_ms
from .member import HeldUp, Member, Spent
from .outcomes import Completion, Standing, Verdict
from .records import BEGAN, ERROR, MEMBER, STAMP, Close, Part, Record, newest_first
from .report import MemberReport, Reply, Report, innermost, made, shown
from .request import Request, Unanswered

__all__ = ["replies_between", "report_of"]


def replies_between(seen: Optional[Record], newest: Optional[Record], sent: float) -> List[Reply]:
    """What came after *seen* up to *newest*, in the order of arrival."""
    found: List[Reply] = []
    closed: Dict[int, bool] = {}
    record = newest
    while record is not None and record is not seen:
        if record.__class__ is Close:
            closed[id(record[MEMBER])] = True
        else:
            more = record.__class__ is Part and not closed.pop(id(record[MEMBER]), False)
            found.append(Reply(record, sent, more))
        record = record[-1]
    found.reverse()
    return found


def report_of(request: Request, now: float, at_the_end: bool = False) -> Report:
    """The report on *request* as of *now*, or, if it has ended, as it stood at the end."""
    while True:
        # P8: the fields change one by one, so look until the end did not come while looking.
        completion, unanswered, chain = request.completion, request.unanswered(), request.chain
        if completion is None:
            unanswered = _early(unanswered)
        lines = _lines(request, chain, unanswered, now, at_the_end)
        # Replies alone do not count: a stream may bring them faster than anybody can look.
        if request.completion is completion:
            break
    extras, ttl = request.extras, request.deadline - request.sent
    if extras is not None and extras.names is not None:
        named = map(request.name_of, request.roster)
        lines = [replace(line, name=name) for line, name in zip(lines, named)]
    ended = request.ended if completion is not None else now
    return made(
        Report,
        id=request.id,
        topic=request.topic,
        completion=completion,
        ttl_ms=None if request.deadline == NEVER else in_ms(ttl),
        elapsed_ms=in_ms(ended - request.sent),
        members=tuple(lines),
        policy=_said(request) if completion is not None else None,
        off=() if extras is None else tuple(map(request.name_of, extras.disabled)),
        barrier=extras is not None and extras.line is not None,
        unreached=None if extras is None else extras.unreached,
    )


def _said(request: Request) -> Optional[str]:
    need = request.need
    if need is None or (need.said is None and request.completion is not Completion.IMPOSSIBLE):
        return None
    return str(need.said or need.policy)


def _early(unanswered: Sequence[Unanswered]) -> List[Unanswered]:
    """Without the verdicts of an end that is being written down at this moment."""
    return [each for each in unanswered if each.standing in (None, Standing.DEAD)]


def _lines(
    request: Request,
    chain: Optional[Record],
    unanswered: Sequence[Unanswered],
    now: float,
    at_the_end: bool,
) -> List[MemberReport]:
    found: Dict[int, MemberReport] = {}
    for record in newest_first(chain):
        if record.__class__ is not Part:
            found[id(record[MEMBER])] = _answered(record, request.sent)
    for each in unanswered:
        found[id(each.member)] = _missed(each, request.sent, at_the_end)
    return [found.get(id(m)) or _open(request, m, now, chain) for m in request.roster]


def _times(
    sent: float, until: float, began: Optional[float], spent: Spent = (None, None)
) -> Dict[str, Any]:
    """The times of a member, in milliseconds; *spent* is that of one that has not begun."""
    instrument, line = getattr(began, "spent", spent)
    network = getattr(began, "network", None)
    # Whoever looks may have read the clock before what he sees.
    until = max(until, sent if began is None else began)
    came = (until if began is None else began) - (instrument or 0.0) - (line or 0.0)
    came -= network or 0.0
    return {
        "waited_ms": in_ms(max(0.0, came - sent)),
        "instrument_ms": None if instrument is None else in_ms(instrument),
        "line_ms": None if line is None else in_ms(line),
        "network_ms": None if network is None else in_ms(network),
        "ran_ms": None if began is None else in_ms(until - began),
    }


def _answered(record: Record, sent: float) -> MemberReport:
    error, began = record[ERROR], record[BEGAN]
    if error is None and began.__class__ is float and began >= sent:
        # What most lines are.
        name = record[MEMBER].name
        return made(
            MemberReport,
            producer=name,
            name=name,
            verdict=Verdict.OK,
            waited_ms=in_ms(began - sent),
            ran_ms=in_ms(record[STAMP] - began),
        )
    return MemberReport(
        producer=record[MEMBER].name,
        verdict=Verdict.OK if error is None else Verdict.ERROR,
        error=None if error is None else _kind(error),
        part=record[MEMBER].part,
        **_times(sent, record[STAMP], began),
    )


def _kind(error: BaseException) -> str:
    """The name of its class; of one from another machine that of what was raised there."""
    # Not by isinstance, which asks the object.
    return error.kind if type(error) is RemoteError else type(error).__name__


def _missed(each: Unanswered, sent: float, at_the_end: bool) -> MemberReport:
    outcome = None if at_the_end else each.outcome
    began, stamp = each.began, each.stamp
    if outcome is not None and each.answered is not None:
        began, stamp = each.answered
    times = _times_there(_times(sent, stamp, began, each.spent), each.member, each.standing)
    return MemberReport(
        producer=each.member.name,
        verdict=outcome or each.verdict,
        standing=None if outcome in (Verdict.LATE, Verdict.SURPLUS) else each.standing,
        late_ms=in_ms(each.late) if outcome is Verdict.LATE else None,
        stack=shown(each.places),
        place=innermost(each.places),
        error=each.member.failure if each.verdict is Verdict.DECLINED else None,
        held_up_by=_told(each.held_up_by),
        part=each.member.part,
        **times,
    )


def _times_there(
    times: Dict[str, Any], member: Member, standing: Optional[Standing]
) -> Dict[str, Any]:
    """*times*, without how long it waited if its part has said that it runs, and not since when."""
    if member.part and standing is Standing.RUNNING and times["ran_ms"] is None:
        times["waited_ms"] = None
    return times


def _open(request: Request, member: Member, now: float, seen: Optional[Record]) -> MemberReport:
    """One that had no verdict among the replies *seen*, as far as that can be seen."""
    worker = member.worker_at(request)
    claim = None if worker is None else worker.claim
    began = None if worker is None else worker.began
    if worker is None or not worker.runs(request):
        began = None
    if began is None and claim is None:
        # It may have answered while we looked.
        for record in newest_first(request.chain, seen):
            if record[MEMBER] is member and record.__class__ is not Part:
                return _answered(record, request.sent)
    standing = member.standing_on(request) if began is None else Standing.RUNNING
    spent = (None, None) if claim is None or began is not None else claim.spent(now)
    times = _times_there(_times(request.sent, now, began, spent), member, standing)
    return MemberReport(
        producer=member.name,
        verdict=None,
        standing=standing,
        held_up_by=_told(_held_up(member, request)),
        part=member.part,
        **times,
    )


def _held_up(member: Member, request: Request) -> HeldUp:
    try:
        return member.held_up_by(member.worker_at(request))
    except (AttributeError, KeyError):
        # It went on while we looked, without any lock.
        return ()


def _told(held_up_by: HeldUp) -> Optional[str]:
    """In words; the names are asked for here, since they may be users' code."""
    own = [str(work) for name, _, work in held_up_by if not name]
    if own:
        return f"request{'s' if len(own) > 1 else ''} {', '.join(own)}"
    others = [f"{m.name}, which has {name} for request {work}" for name, m, work in held_up_by]
    return " and ".join(others) or None
