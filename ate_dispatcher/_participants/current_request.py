"""What a producer may ask about the request that it is serving."""

from __future__ import annotations

from typing import Any, Hashable, Optional, Union, overload

from .. import _log
from .._arguments import real
from .._core.durations import NEVER
from .._core.member import Member
from .._core.request import Request
from .._delivery.local_member import LocalWorker
from .._engine.engine import Engine
from .._engine.process import CURRENT_WORKER
from .._observing.translate import event_progressed
from ..errors import BadType, BadValue, DispatcherError

__all__ = ["CurrentRequest", "OfTheMoment", "current_request"]

_ROUNDING = 1e-6


class CurrentRequest:
    """What a producer may ask about the request it is serving. Valid on any thread."""

    __slots__ = ("_member", "_request", "_worker")

    def __init__(self, request: Request, worker: LocalWorker, member: Member) -> None:
        self._request = request
        self._worker = worker
        self._member = member

    @property
    def id(self) -> int:
        return self._request.id

    @property
    def topic(self) -> Hashable:
        return self._request.topic

    @property
    def remaining_ms(self) -> Optional[float]:
        """Milliseconds until the deadline, 0 when it has passed; None without one."""
        if self._request.deadline == NEVER:
            return None
        now: float = self._request.engine.clock.now()
        return max(0.0, (self._request.deadline - now) * 1000)

    @property
    def cancelled(self) -> bool:
        """Whether the request is over, for whatever reason: nobody wants the answer any more."""
        return self._request.is_over

    def progress(self, fraction: float, text: str = "") -> None:
        """Say how far the work is, from 0 to 1: seen in ``handle.progress`` and by hooks.

        Never blocks. Of no consequence when the request is over.
        """
        done = real("fraction", fraction, "a number from 0 to 1")
        # What comes of sums is no mistake.
        if not -_ROUNDING < done < 1 + _ROUNDING:
            raise BadValue(f"fraction must be from 0 to 1, not {fraction!r}")
        done = min(1.0, max(0.0, done))
        if not isinstance(text, str):
            raise BadType(f"text must be a str, not {text!r}")
        request = self._request
        if not request.is_over:
            engine: Engine = request.engine
            self._worker.progress = id(engine), request.id, done, text
            if request.guest is not None:
                request.guest.progressed(self._member, done, text)
            if engine.hooks:
                told = (request, self._member, engine.now(), done, text)
                engine.observers.tell(event_progressed, *told)


class OfTheMoment:
    """The attribute ``request`` of producers; any other of that name goes before it."""

    @overload
    def __get__(self, producer: None, kind: Any) -> OfTheMoment: ...

    @overload
    def __get__(self, producer: object, kind: Any) -> CurrentRequest: ...

    def __get__(self, producer: Any, kind: Any) -> Union[OfTheMoment, CurrentRequest]:
        if producer is None:
            return self
        found = current_request()
        if found is None or found._member.producer is not producer:
            raise DispatcherError(
                f"request of {_log.name_of(producer)}: it serves none on this thread"
            )
        return found


def current_request() -> Optional[CurrentRequest]:
    """The request that the calling thread is serving as a producer; None elsewhere.

    It goes with the context: what a producer's method runs in a copy of its context sees it, too.
    """
    worker = CURRENT_WORKER.get()
    running = None if worker is None else worker.running
    return (
        None
        if worker is None or running is None
        else CurrentRequest(running, worker, worker.member)
    )
