"""Assertions that read like the claim, and explain themselves with a report."""

from __future__ import annotations

from typing import Any, NoReturn, Optional, Union

from .._core.durations import NEVER
from .._core.outcomes import ANSWERED, Completion, Standing, Verdict
from .._core.report import MemberReport
from .._engine.delivery import Delivery
from .._engine.handle import Handle
from .._log import name_of, text_of
from .._time.clock import REAL
from .._time.virtual_clock import VirtualClock
from ..errors import BadType, BadValue

__all__ = [
    "assert_accepted",
    "assert_ended",
    "assert_failed",
    "assert_heard",
    "assert_late",
    "assert_missing",
]


_REAL_SECONDS = 5.0
"""How long a late answer is waited for in real time."""


def assert_accepted(handle: Handle, *values: Any, by: Any = None) -> None:
    """The request ended with exactly these *values*, in the order of arrival. Waits for the end.

    Without *values*: every producer that was asked answered with one. *by* is the producers, or
    their names, that gave them, in the same order; or a single one.

    Arrays, whose ``==`` gives an array, are equal if they have one shape and all their elements
    are; also inside of lists, tuples and dictionaries.
    """
    __tracebackhide__ = True
    found = _ended(handle).results()
    if values:
        if not _same(handle, found, list(values)):
            _fail(handle, f"accepted {found!r}, not {list(values)!r}")
    elif by is None and not handle.report().complete:
        _fail(handle, "not every producer answered in time with a value")
    if by is not None:
        wanted = list(by) if isinstance(by, (list, tuple)) else [by]
        gave = [reply.producer for reply in handle.replies if reply.ok]
        if len(gave) != len(wanted) or not all(
            _is_meant(handle, found, each) for found, each in zip(gave, wanted)
        ):
            names = [_called(handle, producer) for producer in gave]
            _fail(handle, f"accepted from {names}, not {[_name(each) for each in wanted]}")


def assert_missing(handle: Handle, *producers: Any) -> None:
    """Exactly these *producers* gave no answer in time; none at all without any. Waits for the end.

    Objects or names. One whose answer came too late is missing too.
    """
    __tracebackhide__ = True
    report = _ended(handle).report()
    found = [m.producer for m, line in zip(handle.roster, report.members) if _missed(line)]
    left = list(found)
    for producer in producers:
        same = [each for each in left if _is_meant(handle, each, producer)]
        if not same:
            break
        left.remove(same[0])
    else:
        if not left:
            return
    names = [line.name for line in report.members if _missed(line)]
    wanted = map(_name, producers)
    _fail(handle, f"missing are {sorted(names)}, not {sorted(wanted)}")


def assert_failed(handle: Handle, producer: Any, error: type = BaseException) -> None:
    """*producer* raised an *error* (or a subclass) in time. Waits for the end."""
    __tracebackhide__ = True
    _line(_ended(handle), producer)
    for reply in handle.replies:
        if _is_meant(handle, reply.producer, producer) and reply.error is not None:
            if not isinstance(reply.error, error):
                raised = type(reply.error).__name__
                _fail(handle, f"{_name(producer)} raised {raised}, not {error.__name__}")
            return
    _fail(handle, f"{_name(producer)} did not raise in time")


def assert_late(
    handle: Handle, producer: Any, by_ms: Optional[float] = None, tolerance_ms: float = 0.001
) -> None:
    """*producer* answered after the deadline, *by_ms* late, give or take *tolerance_ms*.

    Waits for the end, then for the answer: on virtual time until nothing is to come any more, with
    *by_ms* until it should have come; on real time for 5 seconds at most.

    Parameters
    ----------
    handle: Handle
        Of the request.
    producer: Producer or str
        Who, or its name.
    by_ms: float, optional
        Milliseconds between the deadline and the answer; any without it.
    tolerance_ms: float
        By so many milliseconds the lateness may differ from *by_ms*, either way. The microsecond of
        the default is for the rounding of virtual time; on real time take what the machine needs
        for a switch of threads and the inaccuracy of its sleep, 20 and more.

    Raises
    ------
    AssertionError
        It has not answered, or was in time, or late by another time; with the report.
    BadValue
        It was not asked.
    """
    __tracebackhide__ = True
    clock = _ended(handle).engine.clock
    limit = REAL.now() + _REAL_SECONDS
    until = NEVER if by_ms is None else handle.deadline + (by_ms + tolerance_ms) / 1000
    while _line(handle, producer).verdict is Verdict.MISSING:
        dead = _line(handle, producer).standing is Standing.DEAD
        if dead or clock.now() > until or REAL.now() > limit or not _waited(clock):
            _fail(handle, f"{_name(producer)} has not answered at all")
    line = _line(handle, producer)
    if line.verdict is not Verdict.LATE or line.late_ms is None:
        became = "it is open" if line.verdict is None else f"it was {line.verdict.name}"
        _fail(handle, f"{_name(producer)} was not late: {became}")
    if by_ms is not None and not abs(line.late_ms - by_ms) <= tolerance_ms:
        _fail(handle, f"{_name(producer)} was late by {line.late_ms:g} ms, not {by_ms:g} ms")


def _waited(clock: Any) -> bool:
    """Let some time go by; False if nothing is to come."""
    if isinstance(clock, VirtualClock):
        return clock.advance_to_next()
    clock.parker().park_until(clock.now() + 0.002)
    return True


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


def assert_heard(delivery: Delivery, *listeners: Any) -> None:
    """Exactly these *listeners* have heard the published value, and none of them raised.

    Objects or names. Without any: all who were to hear it, and there was at least one. Waits until
    it is done.
    """
    __tracebackhide__ = True
    if not isinstance(delivery, Delivery):
        raise BadType(f"delivery must be what publish returned, not {delivery!r}")
    delivery.wait()
    report = delivery.report()
    pairs = zip(delivery.listeners, report.listeners)
    found = [listener for listener, line in pairs if line.verdict is Verdict.OK]
    left = list(found)
    for each in listeners:
        same = [listener for listener in left if _is(listener, each)]
        if not same:
            raise AssertionError(f"{_name(each)} has not heard it\n{report}")
        left.remove(same[0])
    if listeners and left:
        raise AssertionError(f"{', '.join(map(name_of, left))} has heard it, too\n{report}")
    if not listeners and not report.complete:
        raise AssertionError(f"not every listener has heard it\n{report}")


def _ended(handle: Handle) -> Handle:
    if not isinstance(handle, Handle):
        raise BadType(f"handle must be what send_request returned, not {handle!r}")
    handle.wait()
    return handle


def _same(handle: Handle, found: Any, wanted: Any) -> bool:
    """Whether they are equal, also if that is not for ``==`` alone to say."""
    __tracebackhide__ = True
    if type(found) is type(wanted) and isinstance(found, (list, tuple, dict)):
        if len(found) != len(wanted):
            return False
        if isinstance(found, dict):
            return all(k in wanted and _same(handle, found[k], wanted[k]) for k in found)
        return all(_same(handle, each, other) for each, other in zip(found, wanted))
    if found is wanted:
        return True
    try:
        equal = found == wanted
        if isinstance(equal, bool) or not callable(getattr(equal, "all", None)):
            return bool(equal)
        # One number is equal to each element of many, and would pass for all of them.
        return _shape(found) == _shape(wanted) and bool(equal.all())
    except Exception as error:
        _fail(handle, f"{text_of(found)} cannot be compared with {text_of(wanted)}: {error!r}")


def _shape(value: Any) -> Any:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return tuple(shape)
    return (len(value),) if isinstance(value, (list, tuple)) else ()


def _name(producer: Any) -> str:
    return producer if isinstance(producer, str) else name_of(producer)


def _is(found: Any, meant: Any) -> bool:
    """Whether *found* is meant: by itself, or by its name."""
    return name_of(found) == meant if isinstance(meant, str) else found is meant


def _called(handle: Handle, producer: Any) -> str:
    """What reports call it."""
    found = [handle.name_of(m) for m in handle.roster if m.producer is producer]
    return found[0] if found else name_of(producer)


def _is_meant(handle: Handle, found: Any, producer: Any) -> bool:
    """The same of who was asked, also by what reports call it."""
    return _is(found, producer) or (
        isinstance(producer, str) and _called(handle, found) == producer
    )


def _missed(line: MemberReport) -> bool:
    return line.verdict not in ANSWERED


def _line(handle: Handle, producer: Any) -> MemberReport:
    """That of *producer*; of several with its name the first that says something."""
    __tracebackhide__ = True
    members = handle.report().members
    there = zip(handle.roster, members)
    lines = [line for m, line in there if _is(m.producer, producer) or line.name == producer]
    if not lines:
        asked = ", ".join(member.name for member in members) or "nobody"
        raise BadValue(f"{_name(producer)} was not asked; {asked} was")
    late = [line for line in lines if line.verdict is Verdict.LATE]
    return (late or lines)[0]


def _fail(handle: Handle, what: str) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError(f"{what}\n{handle.report()}")
