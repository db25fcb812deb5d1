"""Makes events of what a request holds; on the observers' thread."""

from __future__ import annotations

from .. import events
from .._core.durations import NEVER
from .._core.member import Member
from .._core.records import BEGAN, ERROR, MEMBER, STAMP, Part, Record
from .._core.reporting import report_of
from .._core.request import Request, Unanswered

__all__ = [
    "event_completed",
    "event_discarded",
    "event_noted",
    "event_opened",
    "event_progressed",
    "event_replied",
    "event_skipped",
]


def event_opened(request: Request) -> events.Event:
    deadline = None if request.deadline == NEVER else request.deadline
    members = tuple(member.name for member in request.roster)
    numbers = tuple([member.number for member in request.roster])
    return events.RequestOpened(request.sent, request.id, request.topic, deadline, members, numbers)


def event_replied(request: Request, record: Record) -> events.Event:
    stamp, error, member = record[STAMP], record[ERROR], record[MEMBER]
    elapsed_ms, ran_ms = (stamp - request.sent) * 1000, (stamp - record[BEGAN]) * 1000
    if error is None:
        more = record.__class__ is Part
        return events.ReplyAccepted(
            *(stamp, request.id, request.topic, member.name, elapsed_ms, ran_ms, more),
            member.number,
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
        each.late * 1000,
        (each.answered[1] - request.sent) * 1000,
        (each.answered[1] - each.answered[0]) * 1000,
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
    return events.RequestCompleted(
        request.ended,
        request.id,
        request.topic,
        report.completion,
        report.elapsed_ms,
        tuple((member.producer, member.verdict) for member in report.members),
        report,
        tuple([member.number for member in request.roster]),
    )
