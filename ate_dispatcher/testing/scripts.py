"""Scripted participants: producers that do as told, listeners that remember what they hear.

On virtual and on real time alike: they wait through the clock of the dispatcher they serve.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    Dict,
    Hashable,
    List,
    NamedTuple,
    Optional,
    Tuple,
    Union,
)

from .._arguments import check_callable
from .._core.durations import NEVER, milliseconds, timeout_instant
from .._core.report import Reply, Report
from .._delivery.sentinels import Died
from .._participants.listener import ResultListener
from .._participants.producer import Exclusive, Producer
from .._time.clock import REAL, Clock
from ..errors import BadType, BadValue, RequestTimeout, VirtualTimeStuck

__all__ = [
    "Asked",
    "Heard",
    "Outcome",
    "RecordingListener",
    "ScriptedProducer",
    "answers",
    "computes",
    "dies",
    "hangs",
    "raises",
]


@dataclass(frozen=True)
class Outcome:
    """What a scripted producer does with one request; made by the functions below.

    After *after_ms* it calls *act* with the producer's own arguments: what that returns or raises
    is the answer. If it *hangs*, it first waits to be released.
    """

    after_ms: float
    act: Callable[..., Any]
    hangs: bool = False

    def __post_init__(self) -> None:
        _finite("after_ms", self.after_ms)


def answers(value: Any = None, *, after_ms: float = 0) -> Outcome:
    """Answer with *value*."""
    return Outcome(after_ms, lambda *_, **__: value)


def computes(function: Callable[..., Any], *, after_ms: float = 0) -> Outcome:
    """Answer with what ``function(topic, *args, **kwargs)`` returns, or raises."""
    check_callable("function", function)
    return Outcome(after_ms, function)


def raises(error: Union[BaseException, type], *, after_ms: float = 0) -> Outcome:
    """Raise *error*, an exception or a class of them."""
    if not isinstance(error, BaseException) and not (
        isinstance(error, type) and issubclass(error, BaseException)
    ):
        raise BadType(f"error must be an exception or its class, not {error!r}")

    def act(*_: Any, **__: Any) -> Any:
        # One that is raised a second time would carry both tracebacks.
        raise error.with_traceback(None) if isinstance(error, BaseException) else error

    return Outcome(after_ms, act)


def hangs(value: Any = None) -> Outcome:
    """Do not come back before :meth:`ScriptedProducer.release`; then answer with *value*."""
    return Outcome(0, lambda *_, **__: value, hangs=True)


def dies(*, after_ms: float = 0) -> Outcome:
    """Let the thread end in the middle of the request, without an answer, as if it were killed."""

    def act(*_: Any, **__: Any) -> Any:
        raise Died

    return Outcome(after_ms, act)


_MAKERS = (answers, computes, dies, hangs, raises)


class Asked(NamedTuple):
    """One request as it reached a producer: *at* is in seconds on its clock."""

    at: float
    topic: Hashable
    args: Tuple[Any, ...]
    kwargs: Dict[str, Any]


class ScriptedProducer(Producer):
    """A producer that goes through a script, one outcome for each request; the last one stays.

    >>> site = ScriptedProducer(raises(OSError), answers(5, after_ms=20))  # fails once, then slow

    Parameters
    ----------
    script: Outcome or object
        What is no :class:`Outcome` is a value to answer with at once. Without any it answers None.
    start_ms: float
        How long its thread takes to come up.
    name, daemon, exclusive, workers
        As for any producer.

    Attributes
    ----------
    asked: list of Asked
        What it was asked, in order.
    """

    def __init__(
        self,
        *script: Any,
        start_ms: float = 0,
        name: Optional[str] = None,
        daemon: bool = True,
        exclusive: Exclusive = (),
        workers: int = 1,
    ) -> None:
        super().__init__(name=name, daemon=daemon, exclusive=exclusive, workers=workers)
        self.asked: List[Asked] = []
        # Several workers may be at it at once.
        self._ate_numbers = itertools.count()
        self._ate_script = [_outcome(each) for each in script or (None,)]
        self._ate_start = _finite("start_ms", start_ms)
        #: Parkers of hangs not yet released: its own thread puts them in, anybody takes them out.
        self._ate_hanging: List[Any] = []
        self._ate_freed = False

    def run(self) -> None:
        """The thread's loop, *start_ms* after its start."""
        if self._ate_start:
            clock = self._ate_time()
            clock.parker().park_until(clock.now() + self._ate_start)
        try:
            super().run()
        except Died:
            # As if it had been killed: without a word.
            pass

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        """Do what the script says next."""
        clock = self._ate_time()
        outcome = self._ate_script[min(next(self._ate_numbers), len(self._ate_script) - 1)]
        parker = clock.parker()
        if outcome.hangs:
            # Whoever sees that it was asked may release it.
            self._ate_hanging.append(parker)
        self.asked.append(Asked(clock.now(), topic, args, kwargs))
        if outcome.hangs and not self._ate_freed:
            parker.park()
        elif outcome.after_ms:
            parker.park_until(clock.now() + outcome.after_ms / 1000)
        return outcome.act(topic, *args, **kwargs)

    def release(self, for_good: bool = False) -> None:
        """Let it go on if it hangs; *for_good*: it does not hang any more. From any thread."""
        if for_good:
            self._ate_freed = True
        while self._ate_hanging:
            try:
                parker = self._ate_hanging.pop()
            except IndexError:
                return
            parker.unpark(None)

    def _ate_time(self) -> Clock:
        return self._ate_clock or REAL


class Heard(NamedTuple):
    """One result as it reached a listener: *at* is in seconds on its clock."""

    at: float
    topic: Hashable
    value: Any


class RecordingListener(ResultListener):
    """A listener that remembers everything.

    Parameters
    ----------
    takes_ms: float
        How long it is busy with each result, before it takes the next.
    name, daemon
        As for any listener.

    Attributes
    ----------
    heard: list of Heard
        The results, in the order of arrival, each with the instant *at* (seconds on its clock), the
        *topic* and the *value*.
    values: list
        The values of *heard*, a new list each time.
    errors: list of Reply
        What producers raised, in the order of arrival: ``errors[0].error``.
    reports: list of Report
        Those of the requests that ended, in that order.

    The lists grow on its own thread, and only while time passes; read them after a wait.
    """

    def __init__(
        self, *, takes_ms: float = 0, name: Optional[str] = None, daemon: bool = True
    ) -> None:
        super().__init__(name=name, daemon=daemon)
        self.heard: List[Heard] = []
        self.errors: List[Reply] = []
        self.reports: List[Report] = []
        self._ate_takes = _finite("takes_ms", takes_ms)
        self._ate_waiting: List[Any] = []

    @property
    def values(self) -> List[Any]:
        """The values it has heard, in the order of arrival."""
        return [heard.value for heard in self.heard]

    def wait_for(self, count: int, timeout: Optional[float] = None) -> List[Any]:
        """Block until it has heard *count* results, *timeout* seconds at most; their values.

        Raises
        ------
        RequestTimeout
            (a TimeoutError) Fewer came within *timeout*.
        VirtualTimeStuck
            On virtual time: fewer came, and nothing more can come, or a thread really blocks.
        """
        if isinstance(count, bool) or not isinstance(count, int):
            raise BadType(f"count must be an int, not {count!r}")
        clock = self._ate_clock or REAL
        deadline = timeout_instant(clock.now(), timeout)
        parker = clock.parker()
        self._ate_waiting.append(parker)
        try:
            while True:
                if len(self.heard) >= count:
                    break
                if not parker.park_until(deadline) and len(self.heard) < count:
                    raise RequestTimeout(
                        f"{self.name} heard {len(self.heard)} of {count} results in {timeout} s"
                    )
        except VirtualTimeStuck as error:
            heard = f"{self.name} heard {len(self.heard)} of {count} results"
            raise VirtualTimeStuck(f"{heard}: {error}") from None
        finally:
            self._ate_waiting.remove(parker)
        return self.values[:count]

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        """Remember it, and be busy with it."""
        clock = self._ate_clock or REAL
        self.heard.append(Heard(clock.now(), topic, response))
        for parker in list(self._ate_waiting):
            parker.unpark(None)
        if self._ate_takes:
            clock.parker().park_until(clock.now() + self._ate_takes)

    def process_dispatcher_error(self, topic: Any, reply: Reply) -> None:
        """Remember it."""
        self.errors.append(reply)

    def process_dispatcher_completion(self, topic: Any, report: Report) -> None:
        """Remember it."""
        self.reports.append(report)


def _outcome(each: Any) -> Outcome:
    """What is in a script; a plain value is answered at once."""
    if any(each is maker for maker in _MAKERS):
        raise BadType(f"script has {each.__name__} without its parentheses: {each.__name__}(...)")
    if isinstance(each, BaseException):
        raise BadType(f"script has {each!r}, which would be a value: write raises(...)")
    return each if isinstance(each, Outcome) else answers(each)


def _finite(name: str, value: Any) -> float:
    seconds = milliseconds(name, value)
    if seconds == NEVER:
        raise BadValue(f"{name} must be finite, not {value!r}; what never comes back hangs()")
    return seconds
