"""Who has so much waiting for it that somebody should know: looked at now and then, for hooks.

Nothing that puts or takes counts for this: the control loop looks, once a second while there are
hooks; on virtual time it does not wake for that.
"""

from __future__ import annotations

from typing import Dict

from .._core.durations import NEVER
from .._observing.translate import event_mailbox_high
from .._time.clock import REAL
from .engine import Engine

__all__ = ["HighWater"]

_FIRST = 10_000
"""So much is told of first, and then at each doubling."""

_EVERY = 1.0
"""Seconds between two looks."""


class HighWater:
    """What one control loop has told of its participants' mailboxes. Of its thread alone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: From how much on it is told of again, by the identity of the participant.
        self._marks: Dict[int, int] = {}
        self._looked = -NEVER

    def next_look(self) -> float:
        """When the loop wants to be awake for this at the latest."""
        engine = self._engine
        return self._looked + _EVERY if engine.hooks and engine.clock is REAL else NEVER

    def look(self) -> None:
        """Tell of those whose mailboxes are high, if it is time for that."""
        engine = self._engine
        if not engine.hooks:
            return
        now = engine.now()
        if now < self._looked + _EVERY:
            return
        self._looked = now
        marks: Dict[int, int] = {}
        registry = engine.registry
        for each in (*registry.participants("producers"), *registry.participants("listeners")):
            waiting = each._ate_mailbox.backlog()
            mark = self._marks.get(id(each), _FIRST)
            if waiting >= mark:
                engine.observers.tell(event_mailbox_high, each, waiting, now)
                mark = 2 * waiting
            if waiting * 2 >= _FIRST:
                marks[id(each)] = mark
        self._marks = marks
