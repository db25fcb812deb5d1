"""The life of a participant without a thread: it has a turn when there is something for it."""

from __future__ import annotations

from typing import Any, Optional

from typing_extensions import Protocol

from .._delivery.mailbox import CLOSED, Mailbox
from .._delivery.sentinels import STOP
from .._engine.inline import InlineClock, InlineLoop, rest
from .._time.clock import Clock, this_thread
from .rigging import clean_up, set_up

__all__ = ["DispatcherLife", "InlineLife"]


class Lives(Protocol):
    """A participant with turns."""

    @property
    def _ate_mailbox(self) -> Mailbox: ...

    def on_start(self) -> Any: ...

    def run(self) -> Any: ...

    def on_stop(self) -> Any: ...

    def _ate_fails(self, failure: Optional[str]) -> None: ...

    def _ate_ends(self) -> None: ...


class _Inline:
    """What all of them have in common: whoever asks lets everybody have their turns."""

    def __init__(self, clock: InlineClock) -> None:
        self._turns = clock.turns
        #: Of the thread that has started it.
        self.ident: Optional[int] = None

    def is_here(self) -> bool:
        """Whether it has its turn on the calling thread."""
        return self._turns.are_given()

    def awaited(self) -> None:
        """It awaits nothing."""

    def look(self) -> None:
        """It was stopped."""
        self._turns.give()

    def wait(self, clock: Clock, deadline: float) -> None:
        """What there was is done."""
        self._turns.give()


class InlineLife(_Inline):
    """From its start to its end; all of it on the thread of the call."""

    def __init__(self, clock: InlineClock, participant: Lives) -> None:
        super().__init__(clock)
        self._participant = participant
        self._is_over = False

    def begin(self, clock: Clock) -> None:
        """Set it up; from now on it has turns."""
        self.ident = this_thread()
        failure = set_up(self._participant)
        if failure is not None:
            self._participant._ate_fails(failure)
            self.ends()
            self._participant._ate_ends()
            return
        rest(self._participant._ate_mailbox)
        self._turns.give()

    def turn(self) -> None:
        """Do what is in the mailbox; the end, if there is a STOP."""
        mailbox = self._participant._ate_mailbox
        if mailbox.attention is CLOSED:
            return
        is_last = any(item is STOP for item in mailbox.items)
        if not is_last:
            # Its loop comes back when it has done what is there.
            mailbox.items.append(STOP)
        try:
            self._participant.run()
        finally:
            if is_last:
                clean_up(self._participant)
                self.ends()
                self._participant._ate_ends()
            else:
                rest(mailbox)

    def ends(self) -> None:
        """It has no more turns."""
        self._is_over = True

    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._is_over


class DispatcherLife(_Inline):
    """That of the dispatcher itself, whose turn is the control loop's round."""

    def __init__(self, clock: InlineClock, loop: InlineLoop) -> None:
        super().__init__(clock)
        self._loop = loop

    def begin(self, clock: Clock) -> None:
        """Hand out what was held; from now on there are turns."""
        self.ident = this_thread()
        self._loop.open()

    def turn(self) -> None:
        """Those who give turns go round anyway."""

    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._loop.has_ended()

    def ends(self) -> None:
        """In a forked child: it is a copy."""
