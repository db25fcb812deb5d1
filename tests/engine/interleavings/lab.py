"""A dispatcher on the stage with its participants, and what must hold of them when all is quiet.

Only the public interface is used; for looks at what is left inside see the adapter.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, List, Optional, Tuple

from ate_dispatcher import (
    Completion,
    Dispatcher,
    DispatcherStopped,
    Handle,
    Producer,
    ResultListener,
)

from . import adapter
from .stage import Stage
from .standins import Parker

__all__ = ["Busy", "Echo", "Lab", "Recorder", "Slow", "claim", "one_by_one", "served"]


def claim(truth: Any, otherwise: Any) -> None:
    """Fail, saying what is the case *otherwise*, unless it is the truth."""
    if not truth:
        raise AssertionError(str(otherwise))


def served(handle: Handle, *values: Any) -> None:
    """Wait for the end of *handle*: everybody who was asked has answered with these."""
    expected = [(value,) for value in values]
    claim(handle.results() == expected, f"not {expected}: {handle.report()}")
    claim(handle.completion is Completion.ALL_REPLIED, handle)


def one_by_one(lab: Lab, *values: Any) -> None:
    """Ask with each of *values*, and wait until one is served before the next."""
    for value in values:
        served(lab.ask(value), value)


class Echo(Producer):
    """Answers with its arguments, and keeps them in *order*."""

    def __init__(self, name: str = "p", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.order: List[Any] = []

    def produce_dispatcher_output(self, topic: Any, *args: Any) -> Any:
        self.order += args
        return args


class Busy(Echo):
    """With the request 0 it is busy until it is let go."""

    def __init__(self, stage: Stage, name: str = "busy", **options: Any) -> None:
        super().__init__(name, **options)
        self._parker = Parker(stage)

    def lets_go(self) -> None:
        self._parker.unpark()

    def produce_dispatcher_output(self, topic: Any, *args: Any) -> Any:
        self.order += args
        if args == (0,):
            self._parker.park()
        return args


class Slow(Echo):
    """Takes five seconds."""

    def __init__(self, stage: Stage, name: str = "slow", **options: Any) -> None:
        super().__init__(name, **options)
        self._stage = stage

    def produce_dispatcher_output(self, topic: Any, *args: Any) -> Any:
        self._stage.sleep(5.0)
        return args


class Recorder(ResultListener):
    """Keeps what it hears."""

    def __init__(self, name: str = "l") -> None:
        super().__init__(name=name)
        self.heard: List[Any] = []

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.heard += response


class Lab:
    """One dispatcher and who takes part, all parked, before the play begins."""

    def __init__(
        self,
        stage: Stage,
        producers: int = 1,
        listeners: int = 0,
        started: bool = True,
        **options: Any,
    ) -> None:
        self.stage = stage
        self.dispatcher = Dispatcher(clock=stage.clock, name="d")
        self.producers: List[Any] = []
        self.listeners: List[Recorder] = []
        #: All requests of the dispatcher, in the order in which they were sent.
        self.handles: List[Handle] = []
        #: How many sends were refused.
        self.refused = 0
        for number in range(1, producers + 1):
            self.joins(Echo(f"p{number}", **options))
        for number in range(1, listeners + 1):
            listener = Recorder(f"l{number}")
            self.listeners.append(listener)
            self.dispatcher.register_result_listener(listener, "t", start=True)
        if started:
            self.dispatcher.start()
        stage.settle()

    # -- who plays -----------------------------------------------------------------------------

    def joins(self, producer: Any) -> Any:
        """*producer* is registered and started."""
        self.producers.append(producer)
        self.dispatcher.register_result_producer(producer, "t", start=True)
        return producer

    def busy(self, *values: Any, **options: Any) -> Busy:
        """A producer joins that is busy with 0; *values* wait in its mailbox."""
        busy: Busy = self.joins(Busy(self.stage, **options))
        for value in (0, *values):
            self.ask(value)
            self.stage.settle()
        return busy

    def slow(self) -> Slow:
        """A producer joins that takes five seconds."""
        slow: Slow = self.joins(Slow(self.stage))
        self.stage.settle()
        return slow

    def ask(self, value: Any, ttl: Optional[float] = None, **options: Any) -> Handle:
        """Send a request that carries *value*; nobody but the deadline ends it."""
        try:
            if options:
                handle = self.dispatcher.options(ttl=ttl, **options).send_request("t", value)
            else:
                handle = self.dispatcher.send_request("t", value, ttl=ttl)
        except DispatcherStopped:
            self.refused += 1
            raise
        self.handles.append(handle)
        return handle

    def ask_or_be_refused(self, value: Any) -> Optional[Handle]:
        """The same; None if the dispatcher was stopped before."""
        try:
            return self.ask(value)
        except DispatcherStopped:
            return None

    # -- what must hold ------------------------------------------------------------------------

    def quiet(self, time: float = 0.0) -> None:
        """All is over, at that *time*, and nobody has forgotten anything."""
        claim(self.stage.time <= time, f"that took until {self.stage.time}: a wake-up was lost")
        for each in self._everybody():
            trouble = adapter.asleep(each)
            claim(not trouble, trouble)
        self._all_over()

    def end(self, seconds: float = 0.0) -> None:
        """Stop, give who is slow so many seconds, and see everybody end."""
        self.dispatcher.stop()
        if seconds:
            self.stage.sleep(seconds)
        self.stage.settle()
        self.ended()

    def ended(self) -> None:
        """It has been stopped: everybody has ended."""
        for each in self._everybody():
            claim(self.stage.has_ended(each), f"{each.name} has not ended")
        self._all_over()

    def _everybody(self) -> Tuple[Any, ...]:
        return (*self.producers, *self.listeners, self.dispatcher)

    def _all_over(self) -> None:
        for handle in self.handles:
            claim(handle.done(), f"{handle} is open")
        left = adapter.left_behind(self.dispatcher)
        claim(not left, f"left behind: {left}")
        self._sums_add_up()
        replies = [reply for handle in self.handles for reply in handle.replies]
        values = sorted(value for reply in replies if reply.ok for value in reply.unwrap())
        for listener in self.listeners:
            claim(
                sorted(listener.heard) == values,
                f"{listener.name} heard {listener.heard}, of {values}",
            )
            claim(
                listener.heard == self.listeners[0].heard,
                f"{listener.name} heard {listener.heard}, another {self.listeners[0].heard}",
            )

    def _sums_add_up(self) -> None:
        """One verdict for each who was asked; the dispatcher counts what the reports say."""
        sums = self.dispatcher.statistics()
        members = [member for handle in self.handles for member in handle.report().members]
        verdicts = Counter(member.verdict for member in members)
        claim(None not in verdicts, f"somebody has no verdict: {members}")
        claim(sums.open == sums.pending == 0, sums)
        claim(sums.fan_out == sum(sums.verdicts.values()), sums)
        claim(sums.requests == sum(sums.completions.values()), sums)
        # A send that was refused half way may count as a request that was called off.
        extra = sums.requests - len(self.handles)
        claim(0 <= extra <= self.refused, f"{len(self.handles)} were sent: {sums}")
        if not extra:
            counted = {verdict: count for verdict, count in sums.verdicts.items() if count}
            claim(counted == verdicts, f"{sums}, but by the reports {dict(verdicts)}")
