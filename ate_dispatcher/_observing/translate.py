"""Makes events of what a request holds; on the observers' thread."""

from __future__ import annotations

from typing import Any, Hashable, Tuple

from .. import events
from .._core.durations import NEVER, in_ms
from .._core.member import Member
from .._core.records import BEGAN, ERROR, MEMBER, STAMP, Part, Record
from .._core.report import made
from .._core.reporting import report_of
from .._core.request import Request, Unanswered
from .._log import name_of
from .stacks import places_of

__all__ = [
    "event_completed",
    "event_discarded",
    "event_listener_failed",
    "event_lost",
    "event_mailbox_high",
    "event_noted",
    "event_opened",
    "event_progressed",
    "event_published",
    "event_replied",
    "event_skipped",
]


def event_opened(request: Request) -> events.Event:
    deadline = None if request.deadline == NEVER else request.deadline
    members = tuple(member.name for member in request.roster)
    numbers = tuple([member.number for member in request.roster])
    return made(
        events.RequestOpened,
        at=request.sent,
        request=request.id,
        topic=request.topic,
        deadline=deadline,
        members=members,
        numbers=numbers,
        parts=tuple([member.part or "" for member in request.roster]),
    )


def event_replied(request: Request, record: Record) -> events.Event:
    stamp, error, member = record[STAMP], record[ERROR], record[MEMBER]
    elapsed_ms, ran_ms = in_ms(stamp - request.sent), in_ms(stamp - record[BEGAN])
    if error is None:
        more = record.__class__ is Part
        return made(
            events.ReplyAccepted,
            at=stamp,
            request=request.id,
            topic=request.topic,
            producer=member.name,
            elapsed_ms=elapsed_ms,
            ran_ms=ran_ms,
            more=more,
            member=member.number,
        )
    return events.ProducerFailed(
        *(stamp, request.id, request.topic, member.name, elapsed_ms, ran_ms, error), member.number
    )


def event_discarded(request: Request, each: Unanswered) -> events.Event:
    assert each.answered is not None
    assert each.outcome is not None
    return events.ReplyDiscarded(
        each.answered[1],
        request.id,
        request.topic,
        each.member.name,
        each.outcome,
        in_ms(each.late),
        in_ms(each.answered[1] - request.sent),
        in_ms(each.answered[1] - each.answered[0]),
        each.member.number,
    )


def event_progressed(
    request: Request, member: Member, at: float, fraction: float, text: str
) -> events.Event:
    return events.RequestProgressed(
        at, request.id, request.topic, member.name, float(fraction), text, member.number
    )


def event_noted(request: Request, each: Unanswered) -> events.Event:
    return events.MemberDeclined(
        each.stamp,
        request.id,
        request.topic,
        each.member.name,
        each.verdict,
        each.standing,
        each.member.number,
    )


def event_skipped(each: Unanswered, at: float) -> events.Event:
    return events.RequestSkipped(at, each.id, each.topic, each.member.name, each.member.number)


def event_completed(request: Request) -> events.Event:
    report = report_of(request, request.ended, at_the_end=True)
    assert report.completion is not None
    return made(
        events.RequestCompleted,
        at=request.ended,
        request=request.id,
        topic=request.topic,
        completion=report.completion,
        elapsed_ms=report.elapsed_ms,
        verdicts=tuple([(member.producer, member.verdict) for member in report.members]),
        report=report,
        numbers=tuple([member.number for member in request.roster]),
    )


def event_published(
    number: int, topic: Hashable, listeners: Tuple[Any, ...], at: float
) -> events.Event:
    return events.ValuePublished(at, number, topic, tuple([name_of(each) for each in listeners]))


def event_lost(listener: Any, lost: int, size: int, at: float) -> events.Event:
    places = places_of(listener)
    where = "{}:{} in {}".format(*places[-1]) if places else ""
    return events.ValuesLost(at, 0, None, name_of(listener), lost, where, size)


def event_mailbox_high(participant: Any, waiting: int, at: float) -> events.Event:
    return events.MailboxHigh(at, 0, None, name_of(participant), waiting)


def event_listener_failed(
    number: int, topic: Hashable, listener: Any, error: BaseException, at: float
) -> events.Event:
    return events.ListenerFailed(at, number, topic, name_of(listener), error)
