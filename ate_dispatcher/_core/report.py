"""What a request came to, as values: a reply, and the report over all members."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import (
    Any,
    Dict,
    Hashable,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from .. import _log
from .._observing.stacks import innermost, shown
from .._time.clock import NEVER
from .member import HeldUp, Member, Spent
from .outcomes import Completion, Standing, Verdict
from .records import BEGAN, ERROR, MEMBER, STAMP, VALUE, Close, Part, Record
from .request import Entry, Note

__all__ = [
    "MemberReport",
    "Progress",
    "Reply",
    "Report",
    "replies_between",
    "report_of",
]

_MISSED = frozenset(Verdict) - {Verdict.OK, Verdict.ERROR}


class Progress(NamedTuple):
    """How far *producer* says it is with a request: *fraction* is from 0 to 1."""

    producer: str
    fraction: float
    text: str


class Reply:
    """One accepted answer: a value or an error, and who gave it when. Immutable.

    Attributes
    ----------
    producer: Producer
        The object that answered; its name is ``reply.producer.name``.
    value: object
        What its method returned; None if it raised.
    error: BaseException or None
        What it raised.
    elapsed_ms: float
        From the entry of ``send_request`` to the stamp of the reply.
    more: bool
        Whether its producer streams and had not come to its end when one looked.
    """

    __slots__ = ("elapsed_ms", "error", "more", "producer", "value")

    producer: Any
    value: Any
    error: Optional[BaseException]
    elapsed_ms: float
    more: bool

    def __init__(self, record: Record, sent: float, more: bool = False) -> None:
        put = object.__setattr__
        put(self, "more", more)
        put(self, "producer", record[MEMBER].producer)
        put(self, "value", record[VALUE])
        put(self, "error", record[ERROR])
        put(self, "elapsed_ms", (record[STAMP] - sent) * 1000)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Reply does not change; cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Reply does not change; cannot delete {name!r}")

    @property
    def ok(self) -> bool:
        """Whether it is a value rather than an error."""
        return self.error is None

    def unwrap(self) -> Any:
        """The value; raises the error instead if there is one."""
        if self.error is not None:
            try:
                raise self.error
            finally:
                # The traceback holds this frame: without a cycle through it.
                del self
        return self.value

    def __copy__(self) -> Reply:
        return self

    def __deepcopy__(self, memo: Any) -> Reply:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("a Reply refers to a live producer; pickle its value instead")

    def __repr__(self) -> str:
        # Never the payload: it may be huge, or not printable.
        kind = "ok" if self.ok else type(self.error).__name__
        return f"<Reply {kind} from {_log.name_of(self.producer)} after {self.elapsed_ms:.1f} ms>"


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


@dataclass(frozen=True)
class MemberReport:
    """One line of a report. Times are milliseconds; None where there is nothing to tell.

    ``verdict`` is None while the request is open and the member has not answered; ``standing``
    says where a member without an answer stands, or stood at the end. ``waited_ms`` is the time in
    the mailbox, ``instrument_ms`` then the time until it had its instruments, ``line_ms`` then that
    at the start line, ``ran_ms`` the time in the producer's own code, ``late_ms`` by how much its
    answer missed the deadline. ``held_up_by`` tells what a member without an answer waits for, or
    waited for at the end: ``"site 1, which has psu1 for request 7"``, or in its mailbox
    ``"request 7"``. ``error`` is the name of the exception's class. With
    ``Dispatcher(diagnose=True)`` a member that still ran at the end has ``stack``, where in its
    code it was then, as in a traceback, and ``place``, the innermost line of that in short:
    ``"rig.py:12 in measure"``.
    """

    producer: str
    verdict: Optional[Verdict]
    standing: Optional[Standing] = None
    waited_ms: Optional[float] = None
    ran_ms: Optional[float] = None
    late_ms: Optional[float] = None
    error: Optional[str] = None
    stack: Optional[str] = None
    place: Optional[str] = None
    instrument_ms: Optional[float] = None
    line_ms: Optional[float] = None
    held_up_by: Optional[str] = None

    @property
    def began_ms(self) -> Optional[float]:
        """When it began, since the send; None if it did not."""
        if self.ran_ms is None or self.waited_ms is None:
            return None
        return self.waited_ms + (self.instrument_ms or 0.0) + (self.line_ms or 0.0)

    def to_dict(self) -> Dict[str, Any]:
        return {
            "producer": self.producer,
            "verdict": self.verdict.value if self.verdict else None,
            "standing": self.standing.value if self.standing else None,
            "waited_ms": self.waited_ms,
            "instrument_ms": self.instrument_ms,
            "line_ms": self.line_ms,
            "ran_ms": self.ran_ms,
            "late_ms": self.late_ms,
            "held_up_by": self.held_up_by,
            "error": self.error,
            "stack": self.stack,
        }

    def __str__(self) -> str:
        word = self.verdict.name if self.verdict else "open"
        if self.standing:
            word += f" ({self.standing.value.replace('_', ' ')})"
        parts = [f"{self.producer:<24} {word:<22}"]
        if self.waited_ms is not None:
            parts.append(f"waited {self.waited_ms:9.3f} ms")
        if self.instrument_ms is not None:
            parts.append(f"instrument {self.instrument_ms:9.3f} ms")
        if self.line_ms is not None:
            parts.append(f"line {self.line_ms:9.3f} ms")
        if self.ran_ms is not None:
            parts.append(f"ran {self.ran_ms:9.3f} ms")
        if self.late_ms:
            parts.append(f"late by {self.late_ms:.3f} ms")
        if self.held_up_by:
            parts.append(f"held up by {self.held_up_by}")
        if self.error:
            parts.append(self.error)
        line = "  ".join(parts).rstrip()
        return f"{line}\n{textwrap.indent(self.stack, '  ')}" if self.stack else line


@dataclass(frozen=True)
class Report:
    """A frozen snapshot of one request: names, verdicts and times, no payload.

    ``members`` are in the order of the roster. ``completion`` is None while the request is open;
    ``elapsed_ms`` runs until its end. ``ttl_ms`` is None without a deadline. ``policy`` is the part
    of the request's policy that ended it, as text, if one did, or all of it if it could not be met
    any more; ``off`` names the producers of the
    topic that were not asked because they were disabled; ``barrier`` tells whether they were to
    begin together.
    """

    id: int
    topic: Hashable
    completion: Optional[Completion]
    ttl_ms: Optional[float]
    elapsed_ms: float
    members: Tuple[MemberReport, ...]
    policy: Optional[str] = None
    off: Tuple[str, ...] = ()
    barrier: bool = False

    @property
    def skew_ms(self) -> Optional[float]:
        """With a barrier, how far apart members began, late ones included; None for fewer than two.

        A member that came after the start has no ``line_ms``.
        """
        starts = [m.began_ms for m in self.members] if self.barrier else []
        begun = [start for start in starts if start is not None]
        return max(begun) - min(begun) if len(begun) > 1 else None

    @property
    def complete(self) -> bool:
        """Whether every member answered in time with a value, and there was at least one."""
        return bool(self.members) and all(m.verdict is Verdict.OK for m in self.members)

    @property
    def missing(self) -> Tuple[str, ...]:
        """Names of the members that gave no answer in time."""
        return tuple(m.producer for m in self.members if m.verdict in _MISSED)

    @property
    def failed(self) -> Tuple[str, ...]:
        """Names of the members that raised."""
        return tuple(m.producer for m in self.members if m.verdict is Verdict.ERROR)

    def count(self, verdict: Verdict) -> int:
        """How many members have that verdict."""
        return sum(m.verdict is verdict for m in self.members)

    def to_dict(self) -> Dict[str, Any]:
        """For JSON: enums as their values, the topic as text unless it is one."""
        return {
            "id": self.id,
            "topic": self.topic if isinstance(self.topic, str) else repr(self.topic),
            "completion": self.completion.value if self.completion else None,
            "policy": self.policy,
            "off": list(self.off),
            "complete": self.complete,
            "ttl_ms": self.ttl_ms,
            "elapsed_ms": self.elapsed_ms,
            "skew_ms": self.skew_ms,
            "members": [member.to_dict() for member in self.members],
        }

    def __str__(self) -> str:
        ttl = "no ttl" if self.ttl_ms is None else f"ttl {self.ttl_ms:.12g} ms"
        end = self.completion.name if self.completion else "open"
        if self.policy:
            how = "of" if self.completion is Completion.IMPOSSIBLE else "by"
            end += f" {how} {self.policy}"
        ok = self.count(Verdict.OK)
        head = (
            f"request {self.id} on {self.topic!r}: {end} after {self.elapsed_ms:.1f} ms "
            f"({ttl}), {ok} of {len(self.members)} ok"
        )
        if self.skew_ms is not None:
            head += f", skew {self.skew_ms:.3f} ms"
        if self.off:
            head += f", off: {', '.join(self.off)}"
        return "\n".join([head, *(textwrap.indent(str(m), "  ") for m in self.members)])


def report_of(entry: Entry, now: float, at_the_end: bool = False) -> Report:
    """The report on *entry* as of *now*, or, if it has ended, as it stood at the end."""
    while True:
        # No lock: the fields change one by one, so look until nothing moved while looking.
        completion, notes, chain = entry.completion, entry.notes, entry.chain
        lines = _lines(entry, chain, notes if completion else _early(notes), now, at_the_end)
        # Replies alone do not count: a stream may bring them faster than anybody can look.
        if entry.completion is completion and entry.notes is notes:
            break
    ended = entry.ended if completion is not None else now
    return Report(
        id=entry.id,
        topic=entry.topic,
        completion=completion,
        # To the nanosecond: the noise of the subtraction is nobody's ttl.
        ttl_ms=None if entry.deadline == NEVER else round((entry.deadline - entry.sent) * 1e3, 6),
        elapsed_ms=(ended - entry.sent) * 1000,
        members=tuple(lines),
        policy=_said(entry) if completion is not None else None,
        off=() if entry.extra is None else tuple([member.name for member in entry.extra.off]),
        barrier=entry.extra is not None and entry.extra.line is not None,
    )


def _said(entry: Entry) -> Optional[str]:
    need = None if entry.extra is None else entry.extra.need
    if need is None or (need.said is None and entry.completion is not Completion.IMPOSSIBLE):
        return None
    return str(need.said or need.policy)


def _early(notes: Sequence[Note]) -> Sequence[Note]:
    """Without the verdicts of an end that is being written down at this moment."""
    return [note for note in notes if note.standing in (None, Standing.DEAD)]


def _lines(
    entry: Entry, replies: Optional[Record], notes: Sequence[Note], now: float, at_the_end: bool
) -> List[MemberReport]:
    by_member: Dict[int, MemberReport] = {}
    while replies is not None:
        if replies.__class__ is not Part:
            by_member[id(replies[MEMBER])] = _answered(replies, entry.sent)
        replies = replies[-1]
    for note in notes:
        by_member[id(note.member)] = _noted(note, entry.sent, at_the_end)
    return [by_member.get(id(member)) or _open(entry, member, now) for member in entry.roster]


def _times(
    sent: float, until: float, began: Optional[float], spent: Spent = (None, None)
) -> Dict[str, Any]:
    """The times of a member, in milliseconds; *spent* is that of one that has not begun."""
    instrument, line = getattr(began, "spent", spent)
    # Whoever looks may have read the clock before what he sees.
    until = max(until, sent if began is None else began)
    came = (until if began is None else began) - (instrument or 0.0) - (line or 0.0)
    return {
        "waited_ms": max(0.0, came - sent) * 1000,
        "instrument_ms": None if instrument is None else instrument * 1000,
        "line_ms": None if line is None else line * 1000,
        "ran_ms": None if began is None else (until - began) * 1000,
    }


def _answered(record: Record, sent: float) -> MemberReport:
    error = record[ERROR]
    return MemberReport(
        producer=record[MEMBER].name,
        verdict=Verdict.OK if error is None else Verdict.ERROR,
        error=None if error is None else type(error).__name__,
        **_times(sent, record[STAMP], record[BEGAN]),
    )


def _noted(note: Note, sent: float, at_the_end: bool) -> MemberReport:
    outcome = None if at_the_end else note.outcome
    began, stamp = note.began, note.stamp
    if outcome is not None and note.answered is not None:
        began, stamp = note.answered
    return MemberReport(
        producer=note.member.name,
        verdict=outcome or note.verdict,
        standing=None if outcome in (Verdict.LATE, Verdict.SURPLUS) else note.standing,
        late_ms=note.late * 1000 if outcome is Verdict.LATE else None,
        stack=shown(note.places),
        place=innermost(note.places),
        held_up_by=_told(note.held_up_by),
        **_times(sent, stamp, began, note.spent),
    )


def _open(entry: Entry, member: Member, now: float) -> MemberReport:
    """One without a verdict, as far as that can be seen without any lock."""
    hand = member.hand_at(entry)
    turn = None if hand is None else hand.turn
    began = None if hand is None else hand.began
    if hand is None or not hand.runs(entry):
        began = None
    if began is None and turn is None:
        # It may have answered while we looked.
        record = entry.chain
        while record is not None:
            if record[MEMBER] is member and record.__class__ is not Part:
                return _answered(record, entry.sent)
            record = record[-1]
    standing = member.standing_on(entry) if began is None else Standing.RUNNING
    spent = (None, None) if turn is None or began is not None else turn.spent(now)
    return MemberReport(
        producer=member.name,
        verdict=None,
        standing=standing,
        held_up_by=_told(_held_up(member, entry)),
        **_times(entry.sent, now, began, spent),
    )


def _held_up(member: Member, entry: Entry) -> HeldUp:
    try:
        return member.held_up_by(entry)
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
