"""Where what is sent is held until the control loop hands it out (P6).

Before the start everything is held; afterwards what has a start line, and whatever is sent while
that waits to be handed out; after a stop nothing passes any more. A producer that is stopped stands
in line as well: its STOP travels behind what was sent before it.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Optional

from .._core.request import Request
from .._core.snapshots import copied
from .._delivery.sentinels import SHUT, Leaving
from ..errors import DispatcherStopped

__all__ = ["Gate", "removed"]


class Gate:
    """A line of requests, and of producers that leave; callers append, the control loop takes.

    Attributes: *held*, empty while requests may pass straight to the producers, with SHUT in it
    where nothing is handed out any more, or not yet; *refusal*, why nothing new is taken.
    """

    __slots__ = ("held", "ordered", "refusal")

    def __init__(self) -> None:
        self.held: Deque[Any] = deque([SHUT])
        self.refusal: Optional[str] = None
        #: Whether somebody has ordered that it be handed out, and nobody has looked since.
        self.ordered: bool = False

    # -- from anywhere -------------------------------------------------------------------------

    def hold(self, item: Any) -> None:
        """Keep *item*, behind all that is held; refused if it may have come too late (P6)."""
        self.held.append(item)
        if self.refusal is not None and item.__class__ is not Leaving:
            raise DispatcherStopped(self.refusal)

    def refuse(self, why: str) -> None:
        """Let nothing new pass; once."""
        if self.refusal is None:
            self.refusal = why
            self.held.append(SHUT)

    def forget(self, request: Request) -> None:
        """Take *request* out, if it is held."""
        removed(self.held, request)

    def let_leave(self) -> None:
        """Nothing is handed out in front of them any more: those who were stopped may go."""
        for each in copied(self.held):
            if each.__class__ is Leaving:
                removed(self.held, each)
                each.go()

    def holds_anything(self) -> bool:
        """Whether something waits to be handed out: behind what stood there from the beginning."""
        try:
            return self.held[0] is not SHUT or self.held[1] is not SHUT
        except IndexError:
            return False

    def __len__(self) -> int:
        return sum(each is not SHUT for each in copied(self.held))

    # -- the control loop ----------------------------------------------------------------------

    def open(self) -> None:
        """At the start: what stood there from the beginning goes; a stop may have shut it again."""
        self.held.popleft()

    def hand_out(self, pass_on: Callable[[Request], None], limit: int) -> bool:
        """*pass_on* the first *limit* of what is held, in order; whether there is more.

        While any is left, later requests queue behind.
        """
        self.ordered = False
        for _ in range(limit):
            try:
                first = self.held[0]
            except IndexError:
                return False
            if first is SHUT:
                # Behind a refusal there is nothing to hand out.
                self.let_leave()
                return False
            if first.__class__ is not Leaving and not first.is_over:
                pass_on(first)
            # Not without a look: a refused send may have taken its own away.
            removed(self.held, first)
            if first.__class__ is Leaving:
                first.go()
        return True

    def clear(self) -> None:
        """At the end: nobody is kept; whoever comes now still finds it shut."""
        self.let_leave()
        kept = len(self.held)
        self.held.append(SHUT)
        for _ in range(kept):
            left = self.held.popleft()
            if left.__class__ is Leaving:
                left.go()


def removed(queue: Deque[Any], item: Any) -> None:
    """Take *item* out of *queue*, if it is in; others may be at it too."""
    while True:
        try:
            queue.remove(item)
        except ValueError:
            return
        except IndexError:
            # It changed meanwhile.
            continue
        return
