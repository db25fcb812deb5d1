"""Assertions on a request that read like the claim, and explain themselves with its report."""

from __future__ import annotations

from typing import Any, List, NoReturn, Optional, Sequence, Union

from ._completion import Completion, Verdict
from ._handle import Handle
from ._log import name_of
from ._report import MemberReport, Report
from ._virtual_clock import VirtualClock
from .errors import BadType, BadValue

__all__ = ["assert_accepted", "assert_ended", "assert_failed", "assert_late", "assert_missing"]


def assert_accepted(handle: Handle, *values: Any, by: Optional[Sequence[Any]] = None) -> None:
    """The request ended with exactly these *values*, in the order of arrival. Waits for the end.

    Without *values*: every producer that was asked answered with one. *by* names the producers, or
    is the objects, that gave them, in the same order.
    """
    __tracebackhide__ = True
    found = _ended(handle).results()
    if values:
        if found != list(values):
            _fail(handle, f"accepted {found!r}, not {list(values)!r}")
    elif by is None and not handle.report().complete:
        _fail(handle, "not every producer answered in time with a value")
    if by is not None:
        names = [name_of(reply.producer) for reply in handle.replies if reply.ok]
        if names != [_name(producer) for producer in by]:
            _fail(handle, f"accepted from {names}, not {[_name(producer) for producer in by]}")


def assert_missing(handle: Handle, *producers: Any) -> None:
    """Exactly these *producers* gave no answer in time; none at all without any. Waits for the end.

    Objects or names. One whose answer came too late is missing too.
    """
    __tracebackhide__ = True
    found = sorted(_ended(handle).report().missing)
    expected = sorted(_name(producer) for producer in producers)
    if found != expected:
        _fail(handle, f"missing are {found}, not {expected}")


def assert_failed(handle: Handle, producer: Any, error: type = BaseException) -> None:
    """*producer* raised an *error* (or a subclass) in time. Waits for the end."""
    __tracebackhide__ = True
    _line(_ended(handle).report(), producer)
    for reply in handle.replies:
        if name_of(reply.producer) == _name(producer) and reply.error is not None:
            if not isinstance(reply.error, error):
                raised = type(reply.error).__name__
                _fail(handle, f"{_name(producer)} raised {raised}, not {error.__name__}")
            return
    _fail(handle, f"{_name(producer)} did not raise in time")


def assert_late(
    handle: Handle, producer: Any, by_ms: Optional[float] = None, tolerance_ms: float = 0.001
) -> None:
    """*producer* answered after the deadline, *by_ms* late, give or take *tolerance_ms*.

    Waits for the end; on virtual time also for the answer, if it is to come at some instant. On
    real time it has to be there: wait for it first.
    """
    __tracebackhide__ = True
    clock = _ended(handle).desk.clock
    while _line(handle.report(), producer).verdict is Verdict.MISSING:
        if not isinstance(clock, VirtualClock) or not clock.advance_to_next():
            _fail(handle, f"{_name(producer)} has not answered at all")
    line = _line(handle.report(), producer)
    if line.verdict is not Verdict.LATE or line.late_ms is None:
        _fail(handle, f"{_name(producer)} was not late")
    if by_ms is not None and not abs(line.late_ms - by_ms) <= tolerance_ms:
        _fail(handle, f"{_name(producer)} was late by {line.late_ms:g} ms, not {by_ms:g} ms")


def assert_ended(handle: Handle, completion: Union[Completion, str]) -> None:
    """The request ended for that reason, a :class:`Completion` or its name. Waits for the end."""
    __tracebackhide__ = True
    if isinstance(completion, str):
        if completion not in Completion.__members__:
            names = ", ".join(Completion.__members__)
            raise BadValue(f"completion must be one of {names}, not {completion!r}")
        completion = Completion[completion]
    if _ended(handle).completion is not completion:
        _fail(handle, f"it did not end as {completion.name}")


def _ended(handle: Handle) -> Handle:
    if not isinstance(handle, Handle):
        raise BadType(f"handle must be what send_request returned, not {handle!r}")
    handle.wait()
    return handle


def _name(producer: Any) -> str:
    return producer if isinstance(producer, str) else name_of(producer)


def _line(report: Report, producer: Any) -> MemberReport:
    __tracebackhide__ = True
    lines: List[MemberReport] = [m for m in report.members if m.producer == _name(producer)]
    if not lines:
        asked = ", ".join(member.producer for member in report.members) or "nobody"
        raise BadValue(f"{_name(producer)} was not asked; {asked} was")
    return lines[0]


def _fail(handle: Handle, what: str) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError(f"{what}\n{handle.report()}")
