"""Threads with a life cycle: what producers, listeners and dispatchers have in common.

Their plain attribute names belong to the users' subclasses; what is ours is called ``_ate_...``.
"""

from __future__ import annotations

import itertools
import threading
from threading import current_thread
from typing import Any, Dict, Iterator, Optional, Tuple

from typing_extensions import Protocol

from .. import _log
from .._core.durations import timeout_instant
from .._delivery.mailbox import CLOSED, Mailbox
from .._delivery.posts import Posts, posts_of
from .._delivery.sentinels import STOP
from .._engine.inline import InlineClock
from .._engine.process import SECTION, alive, release, remember
from .._time.clock import REAL, Clock, Parker
from ..errors import BadType, BadValue, ClockMismatch, DispatcherStopped
from .rigging import is_ours_itself

__all__ = ["Life", "Participant"]

_numbers: Dict[str, Iterator[int]] = {}


_FREE = {"_target", "_args", "_kwargs", "_name", "_daemonic"}
"""Attributes of a thread that nothing reads here, or that have a public way to be set."""

_METHODS = {
    name
    for name, value in vars(threading.Thread).items()
    if name.startswith("_") and not name.startswith("__") and callable(value)
}
"""What a thread calls of itself."""


def _telling_name(owner: object, target: Any) -> str:
    named = getattr(target, "__name__", None)
    if isinstance(named, str) and named != "<lambda>":
        return named
    kind = type(owner).__name__
    return f"{kind}-{next(_numbers.setdefault(kind, itertools.count(1)))}"


class Life(Protocol):
    """What a participant leads in the place of a thread."""

    @property
    def ident(self) -> Optional[int]: ...

    def begin(self, clock: Clock) -> None: ...

    def look(self) -> None: ...

    def wait(self, clock: Clock, deadline: float) -> None: ...

    def is_over(self) -> bool: ...

    def is_here(self) -> bool: ...

    def awaited(self) -> Any: ...

    def turn(self) -> None: ...

    def ends(self) -> None: ...


class Participant(threading.Thread):
    """A thread that serves a mailbox: what producers, listeners and dispatchers have in common.

    Parameters
    ----------
    name: str, optional
        By default the class's name and a number.
    daemon: bool, optional
        True by default: a forgotten ``stop()`` does not keep the interpreter alive.
    """

    #: What it leads in the place of a thread, once it was started, if it has none.
    _ate_threadless: Optional[Life] = None

    def __init__(
        self, *, name: Optional[str] = None, daemon: bool = True, target: Any = None
    ) -> None:
        """Keyword arguments only, all optional; see the class. Starts nothing.

        *target* is who works in its place, and may lend it a name.
        """
        super().__init__(name=name or _telling_name(self, target), daemon=daemon)
        #: What the thread needs of its own attributes, as it was made; gone once it is started.
        self._ate_thread = {
            name: value
            for name, value in self.__dict__.items()
            if name.startswith("_") and name not in _FREE
        }
        self._ate_mailbox = Mailbox()
        #: What was published under its clock.
        self._ate_posts = Posts()
        # Undecided until the first dispatcher; replaced once, by `_ate_join_clock`.
        self._ate_clock: Optional[Clock] = None
        # What its thread lives under and parks on, replaced as one: a registration may come while
        # the thread begins or ends.
        self._ate_place: Tuple[Clock, Parker] = (REAL, self._ate_mailbox.parker)

    def start(self) -> None:
        """Start the thread; a second time is a RuntimeError, as for any thread.

        One whose methods are ``async def`` has none: it begins on the event loop of its clock, as
        soon as it is registered.
        """
        self._ate_check_names()
        if self._ate_was_started():
            raise DispatcherStopped(
                f"{_log.name_of(self)} was started before, and a thread runs only once: "
                f"make a new {type(self).__name__}"
            )
        if isinstance(self._ate_clock, InlineClock):
            self._ate_start_life(self._ate_inline_life(self._ate_clock))
            return
        if self._ate_is_async():
            self._ate_check_async()
            self._ate_start_life(self._ate_new_life())
            return
        # Shadowed until the thread begins, so that its end is seen whatever the subclass's `run`
        # does: nothing else tells that a thread is over.
        own = self.__dict__.get("run")
        if getattr(own, "__func__", None) is not Participant._ate_life:
            self.__dict__["_ate_kept"] = {} if own is None else {"run": own}
        self.__dict__["run"] = self._ate_life
        clock, parker = self._ate_place
        usual: Dict[str, Any] = {}
        try:
            self._ate_begins()
            # From here on they change.
            usual = self.__dict__.pop("_ate_thread", {})
            clock.expected(parker)
            super().start()
        except BaseException:
            if self.ident is None:
                clock.left(parker)
                if usual:
                    self._ate_thread = usual
                self._ate_unshadow()
                self._ate_not_begun()
            raise

    def stop(self) -> None:
        """Finish what is queued, then end the thread. From anywhere; twice is harmless."""
        if self._ate_mailbox.attention is not CLOSED:
            self._ate_put_stop()
            if self._ate_threadless is not None:
                # It may not have begun, and then will not.
                self._ate_threadless.look()

    def join(self, timeout: Optional[float] = None) -> None:
        """Wait until the thread has ended, *timeout* seconds at most."""
        clock = self._ate_clock or REAL
        deadline = timeout_instant(clock.now(), timeout)
        if self._ate_threadless is None and clock is REAL:
            # For its errors.
            super().join(0)
        self._ate_join_until(deadline)

    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        life = self._ate_threadless
        return super().is_alive() if life is None else not life.is_over()

    @property
    def ident(self) -> Optional[int]:
        """The ident of its thread, or of that of the event loop that it lives on; None before."""
        life = self._ate_threadless
        return super().ident if life is None else life.ident

    def __repr__(self) -> str:
        life = self._ate_threadless
        if life is None:
            return super().__repr__()
        state = "stopped" if life.is_over() else "started"
        where = "inline" if isinstance(self._ate_clock, InlineClock) else "on an event loop"
        return f"<{type(self).__name__}({_log.name_of(self)}, {state} {where})>"

    # -- inside --------------------------------------------------------------------------------

    def _ate_awaited(self) -> Any:
        """What it awaits on its event loop, if it lives on one."""
        return None if self._ate_threadless is None else self._ate_threadless.awaited()

    def _ate_was_started(self) -> bool:
        return self._ate_threadless is not None or super().ident is not None

    def _ate_is_here(self) -> bool:
        """Whether the calling thread is its own, or that of the event loop that it lives on."""
        life = self._ate_threadless
        return current_thread() is self if life is None else life.is_here()

    def _ate_join_until(self, deadline: float) -> None:
        """Wait for its end, until *deadline* of its clock."""
        clock = self._ate_clock or REAL
        if self._ate_threadless is not None:
            self._ate_threadless.wait(clock, deadline)
        else:
            clock.join(self, self._ate_mailbox.parker, deadline)

    def _ate_join_really(self, seconds: float) -> None:
        """Wait so long in real time, whatever its clock."""
        if self._ate_threadless is not None:
            self._ate_threadless.wait(REAL, REAL.now() + seconds)
        else:
            threading.Thread.join(self, seconds)

    def _ate_is_async(self) -> bool:
        """Whether its methods are coroutines, and it needs no thread."""
        return False

    def _ate_inline_life(self, clock: InlineClock) -> Life:
        """What it leads where nothing has a thread."""
        raise NotImplementedError

    def _ate_why_not_inline(self) -> str:
        """What it has that needs threads, in a few words; empty for nothing."""
        if self._ate_is_async():
            return "its methods are async def"
        if self._ate_was_started():
            return "it was started before, and has a thread"
        return ""

    def _ate_start_life(self, life: Life) -> None:
        if self.__dict__.setdefault("_ate_threadless", life) is not life:
            raise DispatcherStopped(f"{_log.name_of(self)} was started before")
        try:
            self._ate_begins()
            if self._ate_clock is not None:
                life.begin(self._ate_clock)
        except BaseException:
            if life.ident is None:
                self.__dict__.pop("_ate_threadless", None)
                self._ate_not_begun()
            raise
        # A fork changes what belongs to a thread.
        self.__dict__.pop("_ate_thread", None)

    def _ate_check_async(self) -> None:
        """Refuse what needs a thread."""
        name = _log.name_of(self)
        if "run" in self.__dict__ or not is_ours_itself(self.run):
            raise BadType(
                f"run of {name} is overridden, and there is no thread that would run it, since its "
                "methods are async def: override on_start and on_stop"
            )
        if not self.daemon:
            raise BadValue(
                f"daemon of {name} must not be False: it has no thread, since its methods are "
                "async def; to keep the interpreter alive call dispatcher.join()"
            )

    def _ate_new_life(self) -> Life:
        """What it leads in the place of a thread."""
        raise NotImplementedError

    def _ate_fails(self, failure: Optional[str]) -> None:
        """What its set-up raised, in a few words; None if it did not."""

    def _ate_check_names(self) -> None:
        """Refuse attributes that take the place of what `threading.Thread` needs for itself."""
        own = self.__dict__
        thread = own.get("_ate_thread")
        if thread is None:
            # It was started.
            return
        taken = {name for name, value in thread.items() if own.get(name) is not value}
        taken.update(name for name in _METHODS if name in own)
        for kind in type(self).__mro__[: type(self).__mro__.index(Participant)]:
            taken.update(name for name in _METHODS if name in vars(kind))
        # Another thread may be starting it, which changes them: that takes these away before.
        if taken and own.get("_ate_thread") is thread:
            raise BadValue(
                f"{min(taken)} of {_log.name_of(self)} is a name that threading.Thread uses for "
                "itself: call the attribute something else"
            )

    def _ate_stops_at_once(self) -> bool:
        """Whether its ``stop()`` is ours, and so comes back."""
        return type(self).stop is Participant.stop and "stop" not in self.__dict__

    def _ate_put_stop(self) -> None:
        self._ate_mailbox.put(STOP)

    def _ate_unshadow(self) -> None:
        """Put the object's own ``run`` back, if it has one."""
        self.__dict__.pop("run", None)
        self.__dict__.update(self.__dict__.pop("_ate_kept", {}))

    def _ate_life(self) -> None:
        self._ate_unshadow()
        remember(alive, self)
        clock, parker = self._ate_place
        clock.entered(parker)
        try:
            self._ate_run()
        finally:
            self._ate_ends()
            alive.pop(id(self), None)
            # It may have come under another clock meanwhile.
            clock, parker = self._ate_place
            clock.left(parker)

    def _ate_run(self) -> None:
        """What its thread does between its beginning and its end."""
        self.run()

    def _ate_begins(self) -> None:
        """The thread is about to be started."""

    def _ate_not_begun(self) -> None:
        """It could not be started; it may be tried again."""

    def _ate_ends(self) -> None:
        """The thread is over; still on it."""
        with SECTION:
            self._ate_mailbox.close()
        release(self._ate_mailbox.emptied())

    def _ate_forked(self) -> None:
        """In a forked child, which has none of our threads, but perhaps the one that forked."""
        self._ate_mailbox.emptied()
        if current_thread() is self:
            # In the middle of its method: when that returns, the child's copy ends.
            self._ate_mailbox.items.append(STOP)
        else:
            self._ate_mailbox.close()
        if self._ate_threadless is not None:
            self._ate_threadless.ends()

    def _ate_join_clock(self, clock: Clock) -> None:
        """Belong to *clock* from now on; parked already or not, started or not."""
        if self._ate_clock is None:
            mailbox = self._ate_mailbox
            if self._ate_threadless is None:
                parker = clock.adopt(mailbox.parker, self, mailbox.parked)
                self._ate_place = clock, parker
                mailbox.hang(parker)
            self._ate_posts = posts_of(clock)
            self._ate_clock = clock
        elif self._ate_clock is not clock:
            raise ClockMismatch(f"{_log.name_of(self)} already belongs to another clock")
        # In this order: whoever starts it from now on sees the clock.
        if self._ate_threadless is not None and self._ate_threadless.ident is None:
            self._ate_threadless.begin(clock)
