"""What a request came to, as values: a reply, and the report over all members."""

from __future__ import annotations

import os
import textwrap
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Dict, Hashable, NamedTuple, Optional, Sequence, Tuple, Type, TypeVar

from .. import _log
from .durations import in_ms
from .outcomes import ANSWERED, Completion, Standing, Verdict, word_of
from .records import ERROR, MEMBER, STAMP, VALUE, Record
from .tables import Table, Tabular

__all__ = [
    "MemberReport",
    "Place",
    "Progress",
    "Reply",
    "Report",
    "ending",
    "innermost",
    "made",
    "shown",
]

Place = Tuple[str, int, str]
"""Where in some code a thread is: file, line, function."""


class Progress(NamedTuple):
    """How far *producer* says it is with a request: *fraction* is from 0 to 1."""

    producer: str
    fraction: float
    text: str


class Reply:
    """One accepted answer: a value or an error, and who gave it when. Immutable.

    Attributes
    ----------
    producer: Producer or None
        The object that answered; its name is ``reply.producer.name``. None for a published value.
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
        put(self, "elapsed_ms", in_ms(record[STAMP] - sent))

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
                raise self.error.with_traceback(_as_given(self.error.__traceback__))
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
        whose = "" if self.producer is None else f" from {_log.name_of(self.producer)}"
        return f"<Reply {kind}{whose} after {self.elapsed_ms:.1f} ms>"


def _as_given(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    """*trace* without those who have raised it here before, and what they have locally."""
    given = trace
    while trace is not None:
        if trace.tb_frame.f_code is Reply.unwrap.__code__:
            given = trace.tb_next
        trace = trace.tb_next
    return given


T = TypeVar("T")


def made(kind: Type[T], **fields: Any) -> T:
    """A frozen dataclass with *fields*; those that are missing are the ones of the class.

    In a third of the time of its own ``__init__``, which assigns field by field in Python.
    """
    thing = object.__new__(kind)
    thing.__dict__.update(fields)
    return thing


@dataclass(frozen=True)
class MemberReport:
    """One line of a report. Times are milliseconds; None where there is nothing to tell.

    ``verdict`` is None while the request is open and the member has not answered; ``standing``
    says where a member without an answer stands, or stood at the end. ``waited_ms`` is the time in
    the mailbox, ``instrument_ms`` then the time until it had its instruments, ``line_ms`` then that
    at the start line, ``ran_ms`` the time in the producer's own code, ``late_ms`` by how much its
    answer missed the deadline. ``held_up_by`` tells what a member without an answer waits for, or
    waited for at the end: ``"site 1, which has psu1 for request 7"``, or in its mailbox
    ``"request 7"``. ``error`` is the name of the exception's class, and of one that has DECLINED
    because its set-up failed ``"OSError in on_start"``. With ``Dispatcher(diagnose=True)`` a member
    that still ran at the end has ``stack``, where in its code it was then, as in a traceback, and
    ``place``, the innermost line of that in short: ``"rig.py:12 in measure"``. One on another
    machine has ``part``, the name of that, and once it has answered ``network_ms``, the time on the
    way there and back. ``name`` is that of the producer, or ``"part/name"`` where several of the
    topic's have the same.
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
    network_ms: Optional[float] = None
    part: Optional[str] = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.producer)

    @property
    def began_ms(self) -> Optional[float]:
        """When it began, since the send; None if it did not."""
        if self.ran_ms is None or self.waited_ms is None:
            return None
        spent = (self.instrument_ms or 0.0) + (self.line_ms or 0.0) + (self.network_ms or 0.0)
        return self.waited_ms + spent

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
            "place": self.place,
            "began_ms": self.began_ms,
            "network_ms": self.network_ms,
            "part": self.part,
            "name": self.name,
        }

    @property
    def word(self) -> str:
        """The verdict, or that it is open, with the standing: ``"MISSING (running)"``."""
        return word_of(self.verdict, self.standing)

    def __str__(self) -> str:
        who = f"{self.producer} on {self.part}" if self.part else self.producer
        parts = [f"{who:<24} {self.word:<22}"]
        if self.waited_ms is not None:
            parts.append(f"waited {self.waited_ms:9.3f} ms")
        if self.instrument_ms is not None:
            parts.append(f"instrument {self.instrument_ms:9.3f} ms")
        if self.line_ms is not None:
            parts.append(f"line {self.line_ms:9.3f} ms")
        if self.ran_ms is not None:
            parts.append(f"ran {self.ran_ms:9.3f} ms")
        if self.network_ms is not None:
            parts.append(f"network {self.network_ms:9.3f} ms")
        if self.late_ms:
            parts.append(f"late by {self.late_ms:.3f} ms")
        if self.held_up_by:
            parts.append(f"held up by {self.held_up_by}")
        if self.error:
            parts.append(self.error)
        line = "  ".join(parts).rstrip()
        return f"{line}\n{textwrap.indent(self.stack, '  ')}" if self.stack else line


@dataclass(frozen=True)
class Report(Tabular):
    """A frozen snapshot of one request: names, verdicts and times, no payload.

    ``members`` are in the order of the roster. ``completion`` is None while the request is open;
    ``elapsed_ms`` runs until its end. ``ttl_ms`` is None without a deadline. ``policy`` is the part
    of the request's policy that ended it, as text, if one did, or all of it if it could not be met
    any more; ``off`` names the producers of the
    topic that were not asked because they were disabled; ``barrier`` tells whether they were to
    begin together; ``unreached`` is why nobody on other machines could be reached when it was sent,
    if this part was not connected, and some of its members are there, or nobody is here.
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
    unreached: Optional[str] = None

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
        """Names of the members that gave no answer in time (yet), as ``member.name``."""
        return tuple(m.name for m in self.members if m.verdict not in ANSWERED)

    @property
    def failed(self) -> Tuple[str, ...]:
        """Names of the members that raised, likewise."""
        return tuple(m.name for m in self.members if m.verdict is Verdict.ERROR)

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
            "missing": list(self.missing),
            "failed": list(self.failed),
            "barrier": self.barrier,
            "unreached": self.unreached,
            "ttl_ms": self.ttl_ms,
            "elapsed_ms": self.elapsed_ms,
            "skew_ms": self.skew_ms,
            "members": [member.to_dict() for member in self.members],
        }

    def _table(self) -> Table:
        columns = {
            "producer": [m.producer for m in self.members],
            "on": [m.part or "" for m in self.members],
            "verdict": [m.word for m in self.members],
            "waited ms": [_ms(m.waited_ms) for m in self.members],
            "instrument ms": [_ms(m.instrument_ms) for m in self.members],
            "line ms": [_ms(m.line_ms) for m in self.members],
            "ran ms": [_ms(m.ran_ms) for m in self.members],
            "network ms": [_ms(m.network_ms) for m in self.members],
            "late ms": [_ms(m.late_ms) for m in self.members],
            "held up by": [m.held_up_by or "" for m in self.members],
            "error": [m.error or "" for m in self.members],
            "place": [m.place or "" for m in self.members],
        }
        shown = {name: cells for name, cells in columns.items() if any(cells)}
        return Table(self._head(), tuple(shown), list(zip(*shown.values())))

    def __str__(self) -> str:
        return "\n".join([self._head(), *(textwrap.indent(str(m), "  ") for m in self.members)])

    def _head(self) -> str:
        ttl = "no ttl" if self.ttl_ms is None else f"ttl {self.ttl_ms:.12g} ms"
        end = ending(self)
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
        if self.unreached:
            head += f", not connected: {self.unreached}"
        return head


def ending(report: Report) -> str:
    """Why it has ended, as its head says it: not that all have replied if some never will."""
    if report.completion is None:
        return "open"
    silent = len(report.missing) if report.completion is Completion.ALL_REPLIED else 0
    name = report.completion.name
    return f"{name} (except {silent} who cannot)" if silent else name


def _ms(milliseconds: Optional[float]) -> str:
    return "" if milliseconds is None else f"{milliseconds:.3f}"


def shown(places: Sequence[Place]) -> Optional[str]:
    """As in a traceback, with the lines of source where they can be found; None for no place."""
    frames = [traceback.FrameSummary(*place) for place in places]
    return "".join(traceback.format_list(frames)).rstrip("\n") or None


def innermost(places: Sequence[Place]) -> Optional[str]:
    """The last of *places* in few words; None for no place."""
    if not places:
        return None
    file, line, function = places[-1]
    return f"{os.path.basename(file)}:{line} in {function}"
