"""What listeners find in their mailboxes, but for plain results and what was published."""

from __future__ import annotations

from typing import Any, Hashable, Optional

from typing_extensions import Protocol

from .. import _log
from .._core.delivery_report import ListenerReport
from .._core.outcomes import Standing, Verdict
from .._core.records import PREVIOUS, STAMP, VALUE, Part
from .._core.report import Reply, Report
from .._core.reporting import report_of
from .._core.request import Request
from .._delivery.mailbox import CLOSED, Mailbox
from .._delivery.matched import SomeChannel
from .._delivery.message import Message
from .engine import Engine

__all__ = [
    "COMPLETION",
    "ERROR",
    "NOBODY",
    "REPLY",
    "EndMessage",
    "EngineMessage",
    "ErrorMessage",
    "Hearer",
    "RemoteResult",
    "ResultMessage",
    "line_of",
    "tell_of",
]

COMPLETION = "process_dispatcher_completion"
ERROR = "process_dispatcher_error"
REPLY = "process_dispatcher_reply"


class _Nobody:
    """In the place of the member that a reply comes from."""

    producer = None


NOBODY = _Nobody()


class Hearer(Protocol):
    """A listener, or a stream."""

    @property
    def _ate_mailbox(self) -> Mailbox: ...

    _ate_failure: Optional[str]
    _ate_warned: bool

    def is_alive(self) -> bool: ...

    def _ate_was_started(self) -> bool: ...

    def process_dispatcher_result(self, topic: Any, response: Any) -> Any: ...

    def process_dispatcher_reply(self, topic: Any, reply: Reply) -> Any: ...

    def process_dispatcher_error(self, topic: Any, reply: Reply) -> Any: ...

    def process_dispatcher_completion(self, topic: Any, report: Report) -> Any: ...

    def _ate_heeds(self, callback: str) -> bool: ...


def line_of(
    listener: Hearer, waits: bool, verdict: Optional[Verdict], error: Optional[str]
) -> ListenerReport:
    """What the report on a published value says of *listener*; *waits* if it has not begun it."""
    standing = None
    if verdict is None or verdict is Verdict.MISSING:
        if not waits:
            standing = Standing.RUNNING
        elif not listener._ate_was_started():
            standing = Standing.NOT_STARTED
        else:
            standing = Standing.QUEUED
        if verdict is not None and not listener.is_alive():
            standing = Standing.DEAD
    if verdict is Verdict.DECLINED:
        mailbox = listener._ate_mailbox
        error = listener._ate_failure
        if error is None and mailbox.room is not None and mailbox.attention is not CLOSED:
            error = "its mailbox was full"
    return ListenerReport(_log.name_of(listener), verdict, standing, error)


def tell_of(listener: Any, item: Any, error: BaseException) -> None:
    """Log what *listener* raised when it heard *item*."""
    name = _log.name_of(listener)
    on = item[0] if item.__class__ is tuple else getattr(item, "topic", None)
    _log.failed(f"{name} raised while it processed a result", error, topic=on)


class EngineMessage(Message):
    """What one dispatcher has for listeners."""

    __slots__ = ("_channel", "engine")

    engine: Engine
    _channel: Optional[SomeChannel]

    def is_wanted(self, listener: object) -> bool:
        return self._channel is None or self._channel.reaches(listener)

    def is_lost(self, reader: Optional[object], lost: int, size: int) -> None:
        self.engine.loses(reader, lost, size)


class ErrorMessage(EngineMessage):
    """Tells a listener that a producer raised: the newest record of a request."""

    __slots__ = ("_more", "_record", "_sent", "request", "topic")

    def __init__(self, request: Request) -> None:
        self.engine = request.engine
        self._channel = request.channel
        self.request: int = request.id
        self.topic = request.topic
        self._sent = request.sent
        newest = request.chain
        self._more = newest.__class__ is Part
        # Without those before, which a listener that hangs would keep.
        self._record: Any = None if newest is None else (*newest[:PREVIOUS], None)

    @property
    def key(self) -> Any:
        # Behind the results before it.
        return self.engine.number, self.request

    def hear(self, listener: Hearer) -> Any:
        return listener.process_dispatcher_error(self.topic, self.reply())

    def reply(self) -> Reply:
        """As listeners are told."""
        return Reply(self._record, self._sent, self._more)


class ResultMessage(ErrorMessage):
    """Tells a listener of a value, and whose it is if it wants to know."""

    __slots__ = ()

    shares = True

    @property
    def value(self) -> Any:
        return self._record[VALUE]

    @property
    def stamp(self) -> float:
        return self._record[STAMP]  # type: ignore[no-any-return]

    def hear(self, listener: Hearer) -> None:
        try:
            listener.process_dispatcher_result(self.topic, self.value)
        finally:
            if listener._ate_heeds(REPLY):
                listener.process_dispatcher_reply(self.topic, self.reply())


class RemoteResult(ResultMessage):
    """A result that was accepted on another machine, or a value that was published there."""

    __slots__ = ()

    def __init__(
        self,
        engine: Engine,
        channel: SomeChannel,
        topic: Hashable,
        value: Any,
        request: Optional[int],
        at: float,
    ) -> None:
        self.engine = engine
        self._channel = channel
        self.topic = topic
        self._more = False
        #: Of the machine that it comes from; 0 for what was published.
        self.request = request or 0
        self._sent = at
        self._record = value, None, NOBODY, at, at, None

    @property
    def key(self) -> Any:
        # One after the other, as they came.
        return self.engine.number, 0


class EndMessage(EngineMessage):
    """Tells a listener that a request ended; the report is made on the listener's thread."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self.engine = request.engine
        self._channel = request.channel
        self._request = request

    @property
    def key(self) -> Any:
        return self.engine.number, self._request.id

    @property
    def topic(self) -> Hashable:
        return self._request.topic

    def hear(self, listener: Hearer) -> Any:
        report = report_of(self._request, self._request.ended, at_the_end=True)
        return listener.process_dispatcher_completion(self._request.topic, report)
