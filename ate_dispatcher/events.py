"""What hooks receive: frozen events with stable dotted names and the data in fields.

Every event has ``name``, ``at`` (seconds on the dispatcher's clock), ``request`` (its id) and
``topic``. Producers appear by name, and by a number, which names one and no other in this process:
two may have one name. Payloads do not appear.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Hashable, Optional, Tuple

from ._core.outcomes import Completion, Standing, Verdict
from ._core.report import Report

__all__ = [
    "Event",
    "ListenerFailed",
    "MailboxHigh",
    "MemberDeclined",
    "ProducerFailed",
    "ReplyAccepted",
    "ReplyDiscarded",
    "RequestCompleted",
    "RequestOpened",
    "RequestProgressed",
    "RequestSkipped",
    "ValuePublished",
    "ValuesLost",
]


@dataclass(frozen=True)
class Event:
    """What all events share."""

    name: ClassVar[str] = "ate_dispatcher.event"
    at: float
    request: int
    topic: Hashable


@dataclass(frozen=True)
class RequestOpened(Event):
    """``send_request`` was called; *members* are those it asks, *deadline* is on the same clock.

    *numbers* are those of the members, *parts* the other machines that they are on, or "".
    """

    name: ClassVar[str] = "ate_dispatcher.request_opened"
    deadline: Optional[float]
    members: Tuple[str, ...]
    numbers: Tuple[int, ...] = field(default=(), repr=False, compare=False)
    parts: Tuple[str, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class RequestProgressed(Event):
    """The producer says how far it is, from 0 to 1, and perhaps at what."""

    name: ClassVar[str] = "ate_dispatcher.request_progressed"
    producer: str
    fraction: float
    text: str
    member: int = field(default=0, repr=False, compare=False)


@dataclass(frozen=True)
class ReplyAccepted(Event):
    """A value came in time; *elapsed_ms* since the send, *ran_ms* in the producer's own code.

    *more* if a stream has yielded it, which goes on.
    """

    name: ClassVar[str] = "ate_dispatcher.reply_accepted"
    producer: str
    elapsed_ms: float
    ran_ms: float
    more: bool = False
    member: int = field(default=0, repr=False, compare=False)


@dataclass(frozen=True)
class ProducerFailed(Event):
    """The producer raised in time: *error* is its answer."""

    name: ClassVar[str] = "ate_dispatcher.producer_failed"
    producer: str
    elapsed_ms: float
    ran_ms: float
    error: BaseException
    member: int = field(default=0, repr=False, compare=False)


@dataclass(frozen=True)
class ReplyDiscarded(Event):
    """An answer came after the end: *verdict* is LATE, by *late_ms*, or SURPLUS.

    It came *elapsed_ms* after the send, and took *ran_ms* in the producer's own code.
    """

    name: ClassVar[str] = "ate_dispatcher.reply_discarded"
    producer: str
    verdict: Verdict
    late_ms: float
    elapsed_ms: float
    ran_ms: float
    member: int = field(default=0, repr=False, compare=False)


@dataclass(frozen=True)
class MemberDeclined(Event):
    """The producer could not be asked, or died before its turn (*standing* is DEAD)."""

    name: ClassVar[str] = "ate_dispatcher.member_declined"
    producer: str
    verdict: Verdict
    standing: Optional[Standing]
    member: int = field(default=0, repr=False, compare=False)


@dataclass(frozen=True)
class RequestSkipped(Event):
    """The producer's turn came after the end: it did not execute the request."""

    name: ClassVar[str] = "ate_dispatcher.request_skipped"
    producer: str
    member: int = field(default=0, repr=False, compare=False)


@dataclass(frozen=True)
class RequestCompleted(Event):
    """The request ended; *verdicts* pairs each member's name with its verdict at the end.

    *report* is the whole report as it stood then; *numbers* are those of the members.
    """

    name: ClassVar[str] = "ate_dispatcher.request_completed"
    completion: Completion
    elapsed_ms: float
    verdicts: Tuple[Tuple[str, Optional[Verdict]], ...]
    report: Report = field(repr=False)
    numbers: Tuple[int, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class ValuePublished(Event):
    """``publish`` was called; *request* is the value's id, *listeners* those who are to hear it."""

    name: ClassVar[str] = "ate_dispatcher.value_published"
    listeners: Tuple[str, ...]


@dataclass(frozen=True)
class ListenerFailed(Event):
    """The callback of *listener* raised *error* on a published value; *request* is its id."""

    name: ClassVar[str] = "ate_dispatcher.listener_failed"
    listener: str
    error: BaseException


@dataclass(frozen=True)
class ValuesLost(Event):
    """A *listener* with a bound does not keep up: results, reports or values were lost.

    Told at the first loss since its mailbox was empty. *lost* counts all that it has lost so far;
    *where* is the line of its callback at which it stood when this was told, or empty; *maxsize* is
    its bound. ``request`` is 0, ``topic`` None.
    """

    name: ClassVar[str] = "ate_dispatcher.values_lost"
    listener: str
    lost: int
    where: str = ""
    maxsize: int = 0


@dataclass(frozen=True)
class MailboxHigh(Event):
    """So much is *waiting* in the mailbox of a *participant*: 10,000, and later twice as much each.

    Looked at once a second while there are hooks. ``request`` is 0, ``topic`` None.
    """

    name: ClassVar[str] = "ate_dispatcher.mailbox_high"
    participant: str
    waiting: int
