"""What other parts have asked us, and what we tell them of it.

A guest is told inside the section, and only appends; all else is on the link's thread.
"""

from __future__ import annotations

import traceback
from typing import Any, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from .. import _log
from .._core.durations import NEVER
from .._core.effects import DISCARDED, ENDED, NOTED
from .._core.member import Member
from .._core.outcomes import Verdict
from .._core.records import BEGAN, ERROR, MEMBER, STAMP, VALUE, Close, Record
from .._core.records import Part as StreamPart
from .._core.request import Request, Unanswered
from .._delivery.channel import Channel
from .._delivery.local_member import LocalMember
from .._delivery.patterns import Index
from .._engine.engine import Engine
from .._engine.handle import Handle
from .._engine.remote import open_guest, withdraw_guest
from ..errors import BadType, BadValue
from . import frames
from .parts import Part
from .questions import error_text, question_of, value_text
from .shared import Shared
from .subjects import topic_of

__all__ = ["Guests"]

_LONGEST_MESSAGE = 1000

_LATE, _PAUSE = 1.0, 0.25
"""So many seconds late, and its asker may have taken this part for gone meanwhile; so many are
waited then for that word, which follows what was asked."""

_NOBODY: FrozenSet[int] = frozenset()

_SAID = {Verdict.DECLINED: "declined", Verdict.WITHDRAWN: "withdrawn"}


class _Guest:
    """One request of another part; what it tells goes to the link's outbox."""

    __slots__ = (
        *("_guests", "_off", "_seen", "asker", "id", "instance", "is_given_up", "members"),
        "request",
    )

    def __init__(self, guests: Guests, asker: str, number: int, instance: str = "") -> None:
        self._guests = guests
        self.asker: str = asker
        #: Which of that name.
        self.instance: str = instance
        self.id: int = number
        self.request: Optional[Handle] = None
        #: Who was asked; they may have left meanwhile.
        self.members: Sequence[LocalMember] = ()
        #: Whether nobody waits any more for what it answers.
        self.is_given_up: bool = False
        #: Those who shall not begin it any more, by identity; replaced whole.
        self._off: FrozenSet[int] = _NOBODY
        self._seen: Optional[Record] = None

    def told(self, request: Request, effects: int, member: Optional[Member]) -> None:
        do, guests = self._guests.shared.do, self._guests
        newest, extras = request.chain, request.extras
        over = request if effects & ENDED else None
        if newest is not None and newest is not self._seen:
            self._seen = newest
            # Nearly every answer is the last.
            do(guests.answered, self, newest, request.sent, over)
            over = None
        if member is not None and extras is not None and effects & (NOTED | DISCARDED):
            each = extras.unanswered[id(member)]
            do(guests.noted if effects & NOTED else guests.late, self, request.sent, each)
        if over is not None:
            do(guests.ended, self, over)
        if effects & ENDED:
            self._seen = None

    def skipped(self, unanswered: Unanswered) -> None:
        self._guests.shared.do(self._guests.skipped, self, unanswered)

    def lets_begin(self, member: Member) -> bool:
        return id(member) not in self._off

    def progressed(self, member: Member, fraction: float, text: str) -> None:
        guests = self._guests
        guests.shared.do(guests.to, self, frames.prog(self.id, member.number, fraction, text))

    def withdraw(self, members: List[LocalMember]) -> None:
        """*members* shall not begin it, if they have not."""
        self._off = self._off.union([id(each) for each in members])


class _Anybody(_Guest):
    """A question to whoever there is: each answer is a message of its own, and nothing else is."""

    __slots__ = ()

    def told(self, request: Request, effects: int, member: Optional[Member]) -> None:
        newest = request.chain
        if newest is not None and newest is not self._seen:
            self._seen = newest
            self._guests.shared.do(self._guests.answered_anybody, self, newest)
        if effects & ENDED:
            self._seen = None

    def skipped(self, unanswered: Unanswered) -> None:
        """Nobody counts."""

    def progressed(self, member: Member, fraction: float, text: str) -> None:
        """Nobody looks."""


class _Asked(NamedTuple):
    """What has come, as it was read; but for *until*, the instant of its deadline here."""

    asker: str
    number: int
    until: float
    topic: str
    keys: List[int]
    args: List[Any]
    kwargs: Dict[str, Any]
    options: Dict[str, Any]


class Guests:
    """The requests of other parts that are open here, by whose they are and their ids there."""

    def __init__(self, shared: Shared) -> None:
        self.shared: Shared = shared
        self._engine: Engine = shared.engine
        #: Who is there, by name; kept up to date by who hears of that.
        self.parts: Dict[str, Part] = {}
        self._open: Dict[Tuple[str, int], _Guest] = {}
        #: Those that may be over where they were asked; each with when that is known here.
        self._doubted: Dict[Tuple[str, int], Tuple[float, _Asked]] = {}
        #: Who may be asked, by number; kept up to date by who says so to the others.
        self.members: Dict[int, LocalMember] = {}
        self._index: Index[Channel] = Index(list)
        #: For each topic one on which nobody listens: those who do hear it from who has asked.
        self._channels: Dict[str, Channel] = {}

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open) + len(self._doubted)

    # -- in ------------------------------------------------------------------------------------

    def ask(
        self,
        asker: Part,
        number: int,
        ttl_ms: Optional[float],
        sent: float,
        topic: str,
        keys: List[int],
        args: List[Any],
        kwargs: Dict[str, Any],
        options: Dict[str, Any],
    ) -> None:
        """*asker* has sent a request at *sent* of its clock, with *ttl_ms* left."""
        now = self.shared.now
        late = asker.delayed(sent, now)
        until = NEVER if ttl_ms is None else now + (ttl_ms / 1e3 - late)
        asked = _Asked(asker.name, number, until, topic, keys, args, kwargs, options)
        if late > _LATE and until > now:
            self._doubted[asker.name, number] = now + _PAUSE, asked
        else:
            self._begin(asked, now)

    def look(self, now: float) -> float:
        """Begin what is doubted no more; when to look again."""
        while self._doubted:
            key, (at, asked) = next(iter(self._doubted.items()))
            if at > now:
                return at
            del self._doubted[key]
            self._begin(asked, now)
        return NEVER

    def _skip(self, asker: str, number: int, keys: Iterable[int]) -> None:
        self.shared.count("stale")
        for key in keys:
            self.shared.to(asker, frames.skip(number, key))

    def _begin(self, asked: _Asked, now: float) -> None:
        asker, number, until, topic, keys, args, kwargs, options = asked
        shared = self.shared
        if until < now:
            self._skip(asker, number, keys)
            return
        members = [self.members[key] for key in keys if key in self.members]
        guest = _Guest(self, asker, number, self.parts[asker].instance)
        try:
            values, named = shared.codec.decode_call(args, kwargs)
            order = shared.codec.decode(options["key"]) if "key" in options else None
            hash(order)
        except (BadType, BadValue, TypeError) as error:
            # Perhaps a type that is not known here: who asks is told, and so is who looks here.
            shared.unreadable(asker, topic, error)
            for key in keys:
                told = type(error).__name__, f"on {shared.part}: {error}", ""
                shared.to(asker, frames.err(number, key, 0.0, 0.0, *told))
            return
        if members:
            channel, whom = self._channel(topic), tuple(members)
            guest.members = whom
            rest = open_guest(self._engine, guest, channel, whom, values, named, until, order)
            members = members if rest is not None else []
            guest.request = rest
            if rest is not None and rest.completion is None:
                self._open[asker, number] = guest
        if shared.codec.has_types:
            shared.let_go((values, named, order))
        if len(members) < len(keys):
            there = {each.number for each in members}
            for key in keys:
                if key not in there:
                    shared.to(asker, frames.not_(number, key, "declined"))

    def ask_anybody(self, subject: str, payload: bytes, reply: str) -> None:
        """Somebody asks whoever is on the topic of that *subject*."""
        try:
            topic = topic_of(subject)
            question = question_of(payload, self.shared.codec)
        except (BadType, BadValue):
            self.shared.count("malformed")
            return
        channel = self._engine.registry.find(topic)
        there = () if channel is None else channel.asked().members
        whom = tuple([each for each in there if isinstance(each, LocalMember)])
        if whom:
            guest = _Anybody(self, reply, 0)
            ttl_ms, now = question.ttl_ms, self.shared.now
            until = NEVER if ttl_ms is None else now + ttl_ms / 1e3
            whose = self._channel(topic)
            open_guest(self._engine, guest, whose, whom, *question[:2], until, None)

    def answered_anybody(self, guest: _Guest, record: Record) -> None:
        """A value or an error, for who has asked whoever there is."""
        shared, error = self.shared, record[ERROR]
        if record.__class__ is Close:
            return
        payload = b""
        if error is None:
            try:
                value = shared.codec.encode("the answer", record[VALUE])
                payload = value_text(value, record[MEMBER].name, shared.part)
            except (BadType, BadValue) as refused:
                error = refused
        if error is not None:
            payload = error_text(*_told(error), record[MEMBER].name, shared.part)
        if len(payload) <= shared.transport.largest:
            shared.transport.answer(guest.asker, payload)
        else:
            shared.count("dropped")

    def cancel(self, asker: str, number: int, keys: Optional[List[int]]) -> None:
        """Its caller does not want it any more; or not those producers, if they have not begun."""
        if (asker, number) in self._doubted:
            at, asked = self._doubted[asker, number]
            off = set(asked.keys if keys is None else keys)
            left = [key for key in asked.keys if key not in off]
            if left:
                # In its place: they are in the order in which they are begun.
                self._doubted[asker, number] = at, asked._replace(keys=left)
            else:
                del self._doubted[asker, number]
            if keys is None:
                self._skip(asker, number, asked.keys)
            for key in keys or ():
                # Their request goes on.
                self.shared.to(asker, frames.not_(number, key, "withdrawn"))
            return
        guest = self._open.get((asker, number))
        if guest is None or guest.request is None:
            return
        if keys is None:
            guest.request.cancel()
            return
        off = set(keys)
        members = [each for each in guest.members if each.number in off]
        guest.withdraw(members)
        withdraw_guest(self._engine, guest.request, members)

    def gone(self, asker: str) -> None:
        """Nobody waits any more for what it has asked."""
        for key in [each for each in self._doubted if each[0] == asker]:
            del self._doubted[key]
        for key in [each for each in self._open if each[0] == asker]:
            guest = self._open.pop(key)
            guest.is_given_up = True
            if guest.request is not None:
                guest.request.cancel()

    # -- out -----------------------------------------------------------------------------------

    def to(self, guest: _Guest, frame: str) -> None:
        """Say *frame* to who has asked; not to another one that has its name now, and its ids."""
        there = self.parts.get(guest.asker)
        if there is None or there.instance == guest.instance:
            self.shared.to(guest.asker, frame)

    def answered(self, guest: _Guest, record: Record, sent: float, over: Optional[Request]) -> None:
        """A value, an error, or the end of a stream; with that the request may be *over*."""
        shared, key = self.shared, record[MEMBER].number
        waited, ran = _times(sent, record[BEGAN], record[STAMP])
        error = record[ERROR]
        frame = ""
        if record.__class__ is Close:
            frame = frames.fin(guest.id, key, waited, ran)
        elif error is None:
            try:
                value = shared.codec.encode("the answer", record[VALUE])
            except (BadType, BadValue) as refused:
                error = refused
            else:
                write = frames.part if record.__class__ is StreamPart else frames.ans
                frame = write(guest.id, key, waited, ran, value)
                if not shared.fits(frame):
                    error = BadValue(
                        f"the answer is {len(frame)} bytes as text, and a message has room for "
                        f"{shared.transport.largest}"
                    )
        if error is not None:
            if error is not record[ERROR]:
                self._cannot_travel(guest, record, error)
            frame = frames.err(guest.id, key, waited, ran, *_told(error))
        if not guest.is_given_up:
            self.to(guest, frame)
        elif record.__class__ is not StreamPart:
            self.to(guest, frames.late(guest.id, key, waited, ran))
        if over is not None:
            self.ended(guest, over)

    def _cannot_travel(self, guest: _Guest, record: Record, error: Exception) -> None:
        topic = None if guest.request is None else guest.request.topic
        said = "an answer of %s does not reach part %s: %s"
        name = _log.name_of(record[MEMBER].producer)
        _log.lost(said, name, guest.asker, error, topic=topic)

    def noted(self, guest: _Guest, sent: float, each: Unanswered) -> None:
        """A verdict without an answer, before the end."""
        said = _SAID.get(each.verdict, "died")
        self.to(guest, frames.not_(guest.id, each.member.number, said))

    def late(self, guest: _Guest, sent: float, each: Unanswered) -> None:
        """An answer that came after the end."""
        if each.answered is not None:
            times = _times(sent, *each.answered)
            self.to(guest, frames.late(guest.id, each.member.number, *times))

    def skipped(self, guest: _Guest, each: Unanswered) -> None:
        """It will not be begun."""
        self.to(guest, frames.skip(guest.id, each.member.number))

    def ended(self, guest: _Guest, request: Request) -> None:
        """It is over here: where those stood who have not answered."""
        if self._open.get((guest.asker, guest.id)) is guest:
            del self._open[guest.asker, guest.id]
        # They know each other: without this nobody lets go of them before cycles are looked for.
        guest.request = None
        left = [
            (each.member.number, each.verdict.value, each.standing.value)
            for each in request.unanswered()
            if each.ending is not None and each.standing is not None
        ]
        if left:
            self.to(guest, frames.end(guest.id, left))

    def _channel(self, topic: str) -> Channel:
        channel = self._channels.get(topic)
        if channel is None:
            if len(self._channels) > 10_000:
                # They are no more than a saving.
                self._channels.clear()
            channel = self._channels[topic] = Channel(topic, {}, self._index)
        return channel


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
        _log.lost("the text of a %s could not be made: %s", kind, type(raised).__name__)
    return kind, message, trace
