"""What we tell another part of a request of its: answers, and words of who does not answer.

A guest is told inside the section, and only appends; all else is on the link's thread.
"""

from __future__ import annotations

import traceback
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Set, Tuple

from .. import _log
from .._core.effects import DISCARDED, ENDED, NOTED
from .._core.member import Member
from .._core.outcomes import Verdict
from .._core.records import BEGAN, ERROR, MEMBER, STAMP, VALUE, Close, Record
from .._core.records import Part as StreamPart
from .._core.request import Request, Unanswered
from .._delivery.local_member import LocalMember
from .._engine.handle import Handle
from .._engine.process import lost
from ..errors import BadType, BadValue
from . import frames
from .parts import Part
from .questions import error_text, value_text
from .shared import Shared

__all__ = ["Answers", "Anybody", "Guest"]

_LONGEST_MESSAGE = 1000

_NOBODY: FrozenSet[int] = frozenset()

_SAID = {Verdict.DECLINED: "declined", Verdict.WITHDRAWN: "withdrawn"}


class Guest:
    """One request of another part; what it tells goes to the link's outbox."""

    __slots__ = (
        *("_answers", "_off", "_seen", "among", "asker"),
        *("id", "instance", "is_given_up", "request"),
    )

    def __init__(self, answers: Answers, asker: str, number: int, instance: str = "") -> None:
        self._answers = answers
        self.asker: str = asker
        #: Which of that name.
        self.instance: str = instance
        self.id: int = number
        self.request: Optional[Handle] = None
        #: Those of its asker that are open, by their ids, while it is one of them.
        self.among: Optional[Dict[int, Guest]] = None
        #: Whether nobody waits any more for what it answers.
        self.is_given_up: bool = False
        #: Those who shall not begin it any more, by identity; replaced whole.
        self._off: FrozenSet[int] = _NOBODY
        self._seen: Optional[Record] = None

    def told(self, request: Request, effects: int, member: Optional[Member]) -> None:
        """As `_core.request.Guest`; the others likewise."""
        answers, newest = self._answers, request.chain
        over = request if effects & ENDED else None
        if newest is not None and newest is not self._seen:
            # Nearly every answer is the last.
            self._seen = newest if over is None else None
            answers.put((answers.answered, (self, newest, request.sent, over)))
            over = None
        if effects & (NOTED | DISCARDED):
            self._told_otherwise(request, effects, member)
        if over is not None:
            self._seen = None
            answers.shared.do(answers.ended, self, over)

    def _told_otherwise(self, request: Request, effects: int, member: Optional[Member]) -> None:
        """Of *member* without an answer in time."""
        do, answers, extras = self._answers.shared.do, self._answers, request.extras
        if member is not None and extras is not None:
            each = extras.unanswered[id(member)]
            do(answers.noted if effects & NOTED else answers.late, self, request.sent, each)

    def skipped(self, unanswered: Unanswered) -> None:
        """It will not be begun."""
        self._answers.shared.do(self._answers.skipped, self, unanswered)

    def lets_begin(self, member: Member) -> bool:
        """Whether *member* may."""
        return id(member) not in self._off

    def progressed(self, member: Member, fraction: float, text: str) -> None:
        """How far it is."""
        answers = self._answers
        answers.shared.do(answers.to, frames.prog(self.id, member.number, fraction, text), self)

    def withdraw(self, members: List[LocalMember]) -> None:
        """*members* shall not begin it, if they have not."""
        self._off = self._off.union([id(each) for each in members])


class Anybody(Guest):
    """A question to whoever there is: each answer is a message of its own, and nothing else is."""

    __slots__ = ()

    def told(self, request: Request, effects: int, member: Optional[Member]) -> None:
        """A value, or an error."""
        newest = request.chain
        if newest is not None and newest is not self._seen:
            self._seen = newest
            self._answers.shared.do(self._answers.answered_anybody, self, newest)
        if effects & ENDED:
            self._seen = None
            self._answers.shared.do(self._answers.anybody.discard, self)

    def skipped(self, unanswered: Unanswered) -> None:
        """Nobody counts."""

    def progressed(self, member: Member, fraction: float, text: str) -> None:
        """Nobody looks."""


class Answers:
    """To the requests that are open here, by whose they are and their ids there."""

    def __init__(self, shared: Shared) -> None:
        self.shared: Shared = shared
        #: `Shared.do`, for what is many: one call, and what it is called with.
        self.put: Callable[[Any], None] = shared.outbox.put
        #: Who is there, by name; kept up to date by who hears of that.
        self.parts: Dict[str, Part] = {}
        #: The open questions of whoever asks whoever there is.
        self.anybody: Set[Anybody] = set()

    def to(self, frame: str, guest: Guest) -> None:
        """Say *frame* to who has asked; not to another one that has its name now, and its ids."""
        there = self.parts.get(guest.asker)
        if there is None or there.instance == guest.instance:
            self.shared.to(frame, guest.asker)

    def answered(self, guest: Guest, record: Record, sent: float, over: Optional[Request]) -> None:
        """A value, an error, or the end of a stream; with that the request may be *over*."""
        shared, key, began = self.shared, record[MEMBER].number, record[BEGAN]
        # As `_times`, in place.
        waited, ran = (began - sent) * 1e3, (record[STAMP] - began) * 1e3
        waited, ran = waited if waited > 0.0 else 0.0, ran if ran > 0.0 else 0.0
        frame = ""
        if record.__class__ is Close:
            frame = frames.fin(guest.id, key, waited, ran)
        else:
            value, error = self._text_of(record)
            if error is None:
                write = frames.part if record.__class__ is StreamPart else frames.ans
                frame = write(guest.id, key, waited, ran, value)
                if not shared.fits(frame):
                    error = self._too_long(len(frame))
            if error is not None:
                if error is not record[ERROR]:
                    topic = None if guest.request is None else guest.request.topic
                    _cannot_travel(record, f"part {guest.asker}", error, topic)
                frame = frames.err(guest.id, key, waited, ran, *_told(error))
        if not guest.is_given_up:
            # It is open, so whoever has its asker's name is its asker.
            shared.to(frame, guest.asker)
        elif record.__class__ is not StreamPart:
            self.to(frames.late(guest.id, key, waited, ran), guest)
        if over is not None:
            self.ended(guest, over)

    def answered_anybody(self, guest: Guest, record: Record) -> None:
        """A value or an error, for who has asked whoever there is."""
        if record.__class__ is Close:
            return
        shared, whose = self.shared, (record[MEMBER].name, self.shared.part)
        value, error = self._text_of(record)
        payload = value_text(value, *whose) if error is None else b""
        if len(payload) > shared.largest:
            error = self._too_long(len(payload))
        if error is not None:
            if error is not record[ERROR]:
                _cannot_travel(record, "who has asked whoever there is", error, None)
            payload = error_text(*_told(error), *whose)
        shared.transport.answer(guest.asker, payload)

    def _text_of(self, record: Record) -> Tuple[str, Optional[BaseException]]:
        """That of its value, or why there is none."""
        error = record[ERROR]
        if error is None:
            try:
                return self.shared.codec.encode("the answer", record[VALUE]), None
            except (BadType, BadValue) as refused:
                error = refused
        return "", error

    def _too_long(self, size: int) -> BadValue:
        room = self.shared.largest
        return BadValue(f"the answer is {size} bytes as text, and a message has room for {room}")

    def noted(self, guest: Guest, sent: float, each: Unanswered) -> None:
        """A verdict without an answer, before the end."""
        said = _SAID.get(each.verdict, "died")
        self.to(frames.not_(guest.id, each.member.number, said), guest)

    def late(self, guest: Guest, sent: float, each: Unanswered) -> None:
        """An answer that came after the end."""
        if each.answered is not None:
            times = _times(sent, *each.answered)
            self.to(frames.late(guest.id, each.member.number, *times), guest)

    def skipped(self, guest: Guest, each: Unanswered) -> None:
        """It will not be begun."""
        self.to(frames.skip(guest.id, each.member.number), guest)

    def ended(self, guest: Guest, request: Request) -> None:
        """It is over here: where those stood who have not answered."""
        among, guest.among = guest.among, None
        if among is not None and among.get(guest.id) is guest:
            del among[guest.id]
        # They know each other: without this nobody lets go of them before cycles are looked for.
        guest.request = None
        left = [
            (each.member.number, each.verdict.value, each.standing.value)
            for each in request.unanswered()
            if each.ending is not None and each.standing is not None
        ]
        if left:
            self.to(frames.end(guest.id, left), guest)


def _cannot_travel(record: Record, whom: str, error: BaseException, topic: object) -> None:
    """Said where the answer is, too."""
    said = "an answer of %s does not reach %s: %s"
    lost(said, _log.name_of(record[MEMBER].producer), whom, error, topic=topic)


def _times(sent: float, began: float, stamp: float) -> Tuple[float, float]:
    """How long it waited, and ran, in milliseconds."""
    return max(0.0, (began - sent) * 1e3), max(0.0, (stamp - began) * 1e3)


def _told(error: BaseException) -> Tuple[str, str, str]:
    """Kind, message and traceback of *error* as text; its own code may raise."""
    kind, message, trace = type(error).__name__, "", ""
    try:
        message = str(error)[:_LONGEST_MESSAGE]
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        trace = "".join(lines)[-frames.LONGEST_TRACE // 2 :]
    except BaseException as raised:
        lost("the text of a %s could not be made: %s", kind, type(raised).__name__)
    return kind, message, trace
