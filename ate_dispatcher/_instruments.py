"""Who has which instrument, and who waits for it: first come, first served.

Pure: no lock, no thread, no clock. One for each dispatcher, changed inside its section.

A turn stands in one queue for each of its instruments, which it enters all at one moment, and has
them when it is the first in every one. So of two turns that want something in common the same one
is ahead everywhere, and they cannot wait for each other.

Who waits at a start line holds instruments meanwhile, for others whose mailboxes may still hold
requests that need them. Start lines are therefore in one order, that in which their requests were
handed out, and a turn for one of them is *barred* from what an earlier one will need that has not
started: it does not even queue for it.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Dict, FrozenSet, Iterable, List

from ._member import Turn

__all__ = ["Instruments"]


class Instruments:
    """The queues of one dispatcher; see the module."""

    def __init__(self) -> None:
        self._queues: Dict[str, Deque[Turn]] = {}
        #: What the start lines that have not started need, in their order.
        self._starts: Dict[Any, FrozenSet[str]] = {}
        self._barred: List[Turn] = []

    def ask(self, turn: Turn) -> bool:
        """Let *turn* have its instruments when it may; whether it has them at once."""
        if self._is_barred(turn):
            self._barred.append(turn)
            return False
        for name in turn.names:
            self._queues.setdefault(name, deque()).append(turn)
        turn.granted = self._is_first(turn)
        return turn.granted

    def drop(self, turn: Turn) -> List[Turn]:
        """*turn* is done with its instruments, or with waiting: who has theirs by that."""
        if turn in self._barred:
            self._barred.remove(turn)
            return []
        turn.granted = False
        next_ones: List[Turn] = []
        for name in turn.names:
            queue = self._queues.get(name)
            if queue is None or turn not in queue:
                continue
            first = queue[0] is turn
            queue.remove(turn)
            if not queue:
                del self._queues[name]
            elif first:
                next_ones.append(queue[0])
        return self._grant(next_ones)

    def reserve(self, line: Any, names: Iterable[str]) -> None:
        """The members of the request with that start line will need *names*."""
        self._starts[line] = frozenset(names)

    def free(self, line: Any) -> List[Turn]:
        """It has started, or will not: who has their instruments by that."""
        if self._starts.pop(line, None) is None:
            return []
        admitted = [turn for turn in self._barred if not self._is_barred(turn)]
        self._barred = [turn for turn in self._barred if turn not in admitted]
        return [turn for turn in admitted if self.ask(turn)]

    def ahead_of(self, turn: Turn) -> List[Turn]:
        """Those that *turn* waits for: who has what it needs, and who came before it."""
        found: List[Turn] = []
        for name in turn.names:
            for other in self._queues.get(name, ()):
                if other is turn:
                    break
                if other not in found:
                    found.append(other)
        return found

    def __bool__(self) -> bool:
        return bool(self._queues or self._barred or self._starts)

    def _is_first(self, turn: Turn) -> bool:
        return all(self._queues[name][0] is turn for name in turn.names)

    def _is_barred(self, turn: Turn) -> bool:
        if turn.line not in self._starts:
            return False
        for line, names in self._starts.items():
            if line is turn.line:
                break
            if not names.isdisjoint(turn.names):
                return True
        return False

    def _grant(self, turns: List[Turn]) -> List[Turn]:
        granted: List[Turn] = []
        for turn in turns:
            if not turn.granted and self._is_first(turn):
                turn.granted = True
                granted.append(turn)
        return granted
