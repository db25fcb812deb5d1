"""A hook that remembers the last requests, and shows each as lanes of text over time."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Deque, List, Optional, Union

from .. import events
from .._core.durations import in_ms
from .._core.outcomes import ANSWERED, Standing, Verdict
from .._core.report import MemberReport, Report, ending
from ..errors import BadType, BadValue

__all__ = ["Timeline"]

_WIDTH = 44
_NAME = 20
LEGEND = (
    ". waits  : held up  = runs  * accepted  x raised  ! late  - skipped  > still at it  | deadline"
)


@dataclass
class _Lane:
    """One member: from the send on it waited, then it ran until it answered, if it did.

    Of the waiting, what came after *came_ms* was for an instrument or at the start line.
    """

    name: str
    part: str = ""
    came_ms: Optional[float] = None
    waited_ms: Optional[float] = None
    answered_ms: Optional[float] = None
    mark: str = ""
    note: str = ""

    @property
    def called(self) -> str:
        """With the part that it is on, if that is another."""
        return f"{self.part}/{self.name}" if self.part else self.name


@dataclass
class _Request:
    """What is known of one request. Times are ms since it was sent."""

    opened: events.RequestOpened
    lanes: List[_Lane] = field(default_factory=list)
    report: Optional[Report] = None

    @property
    def ttl_ms(self) -> Optional[float]:
        deadline = self.opened.deadline
        return None if deadline is None else in_ms(deadline - self.opened.at)

    def since_ms(self, event: events.Event) -> float:
        return (event.at - self.opened.at) * 1000


@dataclass
class _Value:
    """What is known of one published value."""

    opened: events.ValuePublished
    failed: List[str] = field(default_factory=list)


class Timeline:
    """The last requests of one dispatcher, for people: ``dispatcher.add_hook(timeline)``.

    ``str(timeline)`` is the picture: a lane for each producer, from the send to its answer, the
    deadline as a bar, what was late and by how much, and, with ``Dispatcher(diagnose=True)``, where
    a producer was that still ran at the end. A published value is a line with the instant and its
    listeners. It keeps names and times, no payload. Called on the
    observers' thread; read from any other, it may lack what was not told yet.

    Parameters
    ----------
    last: int
        How many requests it remembers.
    """

    def __init__(self, last: int = 10) -> None:
        if isinstance(last, bool) or not isinstance(last, int):
            raise BadType(f"last must be an int, not {last!r}")
        if last < 1:
            raise BadValue(f"last must be at least 1, not {last!r}")
        # The observers' thread alone changes it; a reader takes a copy.
        self._requests: Deque[Union[_Request, _Value]] = deque(maxlen=last)
        self._forgotten = 0

    def __call__(self, event: events.Event) -> None:
        """Take an event in."""
        if isinstance(event, events.ValuePublished):
            self._forgotten += len(self._requests) == self._requests.maxlen
            self._requests.append(_Value(event))
            return
        if isinstance(event, events.RequestOpened):
            self._forgotten += len(self._requests) == self._requests.maxlen
            parts = event.parts or itertools.repeat("")
            lanes = [_Lane(name, part) for name, part in zip(event.members, parts)]
            self._requests.append(_Request(event, lanes))
            return
        for request in reversed(self._requests):
            if request.opened.request == event.request:
                if isinstance(request, _Request):
                    _tell(request, event)
                elif isinstance(event, events.ListenerFailed):
                    request.failed.append(f"{event.listener} raised {type(event.error).__name__}")
                return

    def __len__(self) -> int:
        """How many requests it remembers."""
        return len(self._requests)

    def __str__(self) -> str:
        requests = self._requests.copy()
        if not requests:
            return "no request was sent"
        head = [f"({self._forgotten} earlier requests)"] if self._forgotten else []
        return "\n\n".join([*head, *map(_drawn, requests), LEGEND])


def _tell(request: _Request, event: events.Event) -> None:
    if isinstance(event, events.RequestCompleted):
        request.report = event.report
        for lane, member in zip(request.lanes, event.report.members):
            _judge(lane, member)
        return
    name = getattr(event, "producer", None)
    # Two producers may have the same name: then it is the first that has not come to its end.
    for lane in request.lanes:
        if lane.name == name and lane.mark in ("", ">"):
            break
    else:
        return
    at = request.since_ms(event)
    if isinstance(event, events.RequestSkipped):
        lane.mark, lane.note, lane.answered_ms = "-", "skipped, never begun", at
    elif isinstance(event, events.MemberDeclined):
        died = event.standing is Standing.DEAD
        lane.mark, lane.note = "-", "died" if died else event.verdict.name.lower()
        lane.answered_ms = at
    elif isinstance(event, (events.ReplyAccepted, events.ProducerFailed, events.ReplyDiscarded)):
        lane.waited_ms, lane.answered_ms = at - event.ran_ms, at
        if isinstance(event, events.ReplyAccepted):
            lane.mark, lane.note = "*", f"{at:.1f} ms"
        elif isinstance(event, events.ProducerFailed):
            lane.mark, lane.note = "x", f"{at:.1f} ms, {type(event.error).__name__}"
        elif event.verdict is Verdict.LATE:
            lane.mark = "!"
            lane.note = _joined(f"{at:.1f} ms, late by {event.late_ms:.1f} ms", lane.note)
        else:
            lane.mark = "!"
            lane.note = _joined(f"{at:.1f} ms, in time but after the end", lane.note)


def _joined(first: str, then: str) -> str:
    return f"{first}; {then}" if then else first


def _judge(lane: _Lane, member: MemberReport) -> None:
    """What the report at the end says of a member, whatever events of its name have said before."""
    # Whatever it waited for before it began is drawn as waiting.
    before = (member.waited_ms, member.instrument_ms, member.line_ms, member.network_ms)
    waited = sum(ms for ms in before if ms is not None)
    held = member.instrument_ms is not None or member.line_ms is not None
    lane.came_ms = member.waited_ms if held else None
    lane.waited_ms, lane.answered_ms = waited, None
    if member.verdict in ANSWERED:
        lane.answered_ms = waited + (member.ran_ms or 0.0)
        lane.mark = "*" if member.verdict is Verdict.OK else "x"
        way = "" if member.network_ms is None else f", {member.network_ms:.1f} on the way"
        error = f", {member.error}" if member.error else ""
        lane.note = f"{lane.answered_ms:.1f} ms{way}{error}"
    elif member.ran_ms is not None:
        lane.mark = ">"
        lane.note = f"was at {member.place}" if member.place else "was running"
    else:
        lane.mark, lane.waited_ms = ">", None
        word = member.verdict.name.lower() if member.verdict else "open"
        standing = member.standing.value.replace("_", " ") if member.standing else ""
        lane.note = ", ".join(filter(None, [word, standing]))
        if member.standing is Standing.DEAD or member.verdict not in (Verdict.MISSING, None):
            # For good: it does not begin any more.
            lane.mark, lane.answered_ms = "-", waited
            lane.waited_ms = waited
            lane.note = "died" if member.verdict is Verdict.MISSING else word
        if member.held_up_by:
            lane.note += f": held up by {member.held_up_by}"


def _drawn(request: Union[_Request, _Value]) -> str:
    if isinstance(request, _Value):
        return _said(request)
    opened, report, ttl = request.opened, request.report, request.ttl_ms
    topic = opened.topic if isinstance(opened.topic, str) else repr(opened.topic)
    limit = "no ttl" if ttl is None else f"ttl {ttl:.12g} ms"
    if report is None or report.completion is None:
        end = "still open"
    else:
        end = f"{ending(report)} after {report.elapsed_ms:.1f} ms"
    head = f"request {opened.request} on {topic}, {limit}: {end}"
    if report is not None and report.unreached:
        head += f", not connected: {report.unreached}"
    elapsed = report.elapsed_ms if report is not None else 0.0
    latest = max([elapsed, *(lane.answered_ms or 0.0 for lane in request.lanes)])
    # A deadline that is far off would leave no room for what happened.
    span = max(latest, ttl) if ttl and (ttl <= 2 * latest or not latest) else latest or 1.0
    width = max([_NAME, *(len(lane.called) for lane in request.lanes)])
    lines = [head]
    lines += [
        f"  {lane.called:<{width}} {_bar(lane, ttl, span)} {lane.note}".rstrip()
        for lane in request.lanes
    ]
    if not request.lanes:
        lines.append("  nobody was registered for it")
    else:
        scale = f"0 {f'{span:.6g} ms':>{_WIDTH - 2}}"
        lines.append(f"  {'':<{width}} {scale}")
    return "\n".join(lines)


def _said(value: _Value) -> str:
    published = value.opened
    topic = published.topic if isinstance(published.topic, str) else repr(published.topic)
    listeners = ", ".join(published.listeners) or "nobody"
    head = f"value {published.request} on {topic} at {published.at * 1000:.12g} ms, for {listeners}"
    return "\n".join([head, *(f"  {each}" for each in value.failed)])


def _bar(lane: _Lane, ttl: Optional[float], span: float) -> str:
    def column(ms: float) -> int:
        return min(_WIDTH - 1, max(0, round(ms / span * (_WIDTH - 1))))

    end = _WIDTH - 1 if lane.answered_ms is None else column(lane.answered_ms)
    begun = end if lane.waited_ms is None else min(column(lane.waited_ms), end)
    came = begun if lane.came_ms is None else min(column(lane.came_ms), begun)
    cells = [
        "." if at < came else ":" if at < begun else "=" if at <= end else " "
        for at in range(_WIDTH)
    ]
    if ttl is not None and ttl <= span:
        cells[column(ttl)] = "|"
    cells[end] = lane.mark or ">"
    return "".join(cells)
