"""Observers: hooks and done callbacks, called in isolation, one at a time, in the order of events.

They live on one thread of their own, which exists only when there is something for it: whatever may
take long and must not keep a deadline waiting goes there, so also what the control loop has to log,
and what it lets go of that is a user's. Handing something over is one append; event objects are
made on that thread. Adding a hook goes the same way, so a hook sees exactly what happened after it
was added.

One at a time, always: who calls holds the *turn*, a token. That is the thread, until the dispatcher
has ended; from then on whoever hands something over, if nobody has the turn.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, List

from .. import _log
from .._delivery.mailbox import Mailbox
from .._delivery.sentinels import STOP
from .._time.clock import Clock

__all__ = ["Hook", "Observers"]

Hook = Callable[[Any], Any]

_HIGH = 10_000
"""From so many waiting on it is said that a hook cannot keep up; then at each doubling."""


class _Registration:
    """One hook, once added. Compared by identity."""

    __slots__ = ("hook",)

    def __init__(self, hook: Hook) -> None:
        self.hook = hook


class Observers:
    """The queue to the observers' thread, and what runs there.

    ``hooks`` is what :meth:`add` and :meth:`remove` left, each in a box of its own, so that adding
    one again is another registration; only whole list operations touch it. *lagging* is told how
    many wait when that is too many; it may be called inside the section.
    """

    def __init__(self, clock: Clock, lagging: Callable[[int], Any] = lambda waiting: None) -> None:
        self.mailbox: Mailbox = Mailbox()
        self._lagging = lagging
        self.mailbox.hang(clock.parker())
        self.hooks: List[_Registration] = []
        self._active: List[_Registration] = []
        self._turn: Deque[bool] = deque([True])
        self._ended = False
        self._high = _HIGH

    # -- from anywhere; never blocks while the dispatcher lives --------------------------------

    def add(self, hook: Hook) -> None:
        if self._ended:
            # Nothing happens any more.
            return
        registration = _Registration(hook)
        self.hooks.append(registration)
        self._put(self._changed, registration)
        if self._ended:
            # It was crossed by the end.
            self._drop(registration)

    def remove(self, hook: Hook) -> None:
        for registration in list(self.hooks):
            if registration.hook == hook:
                self._drop(registration)
                self._put(self._changed, registration)
                return

    def tell(self, make: Callable[..., Any], *data: Any) -> None:
        """Let the hooks have the event ``make(*data)``. Also inside the section."""
        # After the end there are no hooks, and nobody is served in here.
        if not self._ended:
            self._append(self._observe, make, data)

    def call(self, callback: Callable[[Any], Any], argument: Any) -> None:
        """Let *callback* be called after all that was told so far."""
        self._put(_call_back, callback, argument)

    def lost(self, message: str, *args: Any, **fields: Any) -> None:
        """Log a loss there: for those who must not be kept by a handler."""
        self.report(logging.WARNING, message, *args, **fields)

    def report(self, level: int, message: str, *args: Any, **fields: Any) -> None:
        """Likewise, at that *level*."""
        self._put(partial(_log.report, level, **fields), message, *args)

    def release(self, things: List[Any]) -> None:
        """Empty *things* there, where what that sets off keeps nobody."""
        self._put(_empty, things)

    def backlog(self) -> int:
        """How much waits."""
        return len(self.mailbox.items)

    def has_calls(self) -> bool:
        """Whether something waits that is to be called, and not only to be let go of."""
        try:
            return any(item is not STOP and item[0] is not _empty for item in self.mailbox.items)
        except RuntimeError:
            # It changed under the look.
            return True

    @property
    def ended(self) -> bool:
        """Whether the thread, or the dispatcher that has none, has ended."""
        return self._ended

    def untold(self) -> List[Any]:
        """The events that wait, taken out: for one who finds that the thread cannot go on."""
        found = [item for item in self.mailbox.emptied() if item is not STOP]
        return [item[1](*item[2]) for item in found if item[0] == self._observe]

    # -- the thread ----------------------------------------------------------------------------

    def serve(self) -> None:
        """Until STOP."""
        self._turn.pop()
        mailbox = self.mailbox
        try:
            while True:
                if self._serve_all():
                    break
                mailbox.park()
        finally:
            self._end()

    def close(self, served: bool) -> None:
        """The dispatcher has ended: let the thread, if there is one, end after all that was told.

        No hook is kept then. What is handed over later is done at once.
        """
        if served:
            self.mailbox.put(STOP)
        else:
            self._turn.pop()
            self._end()

    def forked(self) -> None:
        """In a forked child: what was told before is the parent's."""
        self.mailbox.emptied()
        self.hooks.clear()
        self._active.clear()
        self._turn = deque([True])
        self._ended = True

    def _put(self, *item: Any) -> None:
        self._append(*item)
        if self._ended:
            self.serve_now()

    def _append(self, *item: Any) -> None:
        self.mailbox.put(item)
        if len(self.mailbox.items) >= self._high:
            waiting = len(self.mailbox.items)
            self._high = 2 * waiting
            self._lagging(waiting)

    def serve_now(self) -> None:
        """Do what is left, if nobody has the turn; who has it, looks again after giving it back."""
        items = self.mailbox.items
        while items:
            try:
                self._turn.pop()
            except IndexError:
                return
            try:
                self._serve_all()
            finally:
                self._turn.append(True)

    def _serve_all(self) -> bool:
        """All that waits, up to STOP: whether that came."""
        items = self.mailbox.items
        while items:
            item = items.popleft()
            if item is STOP:
                return True
            do, *data = item
            item = None
            try:
                do(*data)
            except BaseException as error:
                _log.failed("telling observers failed", error)
            data = do = None
        return False

    def _observe(self, make: Callable[..., Any], data: Any) -> None:
        active = self._active
        if not active or self._ended:
            return
        event = make(*data)
        for registration in list(active):
            if registration not in self.hooks:
                active.remove(registration)
                continue
            try:
                registration.hook(event)
            except BaseException as error:
                active.remove(registration)
                self._drop(registration)
                _log.failed(f"hook {_log.name_of(registration.hook)} raised and was removed", error)

    def _changed(self, registration: _Registration) -> None:
        """One was added, or removed."""
        self._active = [each for each in (*self._active, registration) if each in self.hooks]

    def _end(self) -> None:
        # In this order: whoever adds one after that sees it; and they are let go of last.
        self._ended = True
        hooks = [*self.hooks, *self._active]
        self.hooks.clear()
        self._active.clear()
        self._turn.append(True)
        self.serve_now()
        del hooks

    def _drop(self, registration: _Registration) -> None:
        try:
            self.hooks.remove(registration)
        except ValueError:
            pass


def _call_back(callback: Callable[[Any], Any], argument: Any) -> None:
    """Call a done callback; what it raises is logged."""
    try:
        callback(argument)
    except BaseException as error:
        _log.failed(f"done callback {_log.name_of(callback)} raised", error)


def _empty(things: List[Any]) -> None:
    """Let go of *things*: whoever has handed them on may still have the list, but not them."""
    things.clear()
