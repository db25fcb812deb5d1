"""What became of one published value, as values: a line for each listener."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Hashable, List, Optional, Sequence, Tuple

from .outcomes import ANSWERED, Standing, Verdict, word_of
from .tables import Table, Tabular

__all__ = ["DeliveryReport", "ListenerReport"]


@dataclass(frozen=True)
class ListenerReport:
    """One line of it. ``verdict`` is None while the listener has not heard the value to its end.

    ``standing`` says where one stands that has none, or stood when it was given up; ``error`` is
    the name of the class of what its callback raised.
    """

    listener: str
    verdict: Optional[Verdict]
    standing: Optional[Standing] = None
    error: Optional[str] = None

    @property
    def word(self) -> str:
        """The verdict, or that it is open, with the standing: ``"open (running)"``."""
        return word_of(self.verdict, self.standing)

    def __str__(self) -> str:
        return f"{self.listener:<24} {self.word:<22} {self.error or ''}".rstrip()


@dataclass(frozen=True)
class DeliveryReport(Tabular):
    """A frozen snapshot of one published value: names and verdicts, no payload.

    ``listeners`` are in the order of registration; ``done`` when each of them has a verdict.
    """

    id: int
    topic: Hashable
    done: bool
    listeners: Tuple[ListenerReport, ...]

    @property
    def complete(self) -> bool:
        """Whether every listener has heard it without raising, and there was at least one."""
        return bool(self.listeners) and all(each.verdict is Verdict.OK for each in self.listeners)

    @property
    def missing(self) -> Tuple[str, ...]:
        """Names of those who have not heard it (yet)."""
        return tuple(each.listener for each in self.listeners if each.verdict not in ANSWERED)

    @property
    def failed(self) -> Tuple[str, ...]:
        """Names of those whose callback raised."""
        return tuple(each.listener for each in self.listeners if each.verdict is Verdict.ERROR)

    def count(self, verdict: Verdict) -> int:
        """How many listeners have that verdict."""
        return sum(each.verdict is verdict for each in self.listeners)

    def to_dict(self) -> Dict[str, Any]:
        """For JSON: enums as their values, the topic as text unless it is one."""
        return {
            "id": self.id,
            "topic": self.topic if isinstance(self.topic, str) else repr(self.topic),
            "done": self.done,
            "complete": self.complete,
            "listeners": [
                {
                    "listener": each.listener,
                    "verdict": each.verdict.value if each.verdict else None,
                    "standing": each.standing.value if each.standing else None,
                    "error": each.error,
                }
                for each in self.listeners
            ],
        }

    def _table(self) -> Table:
        rows: List[Sequence[str]] = [
            (each.listener, each.word, each.error or "") for each in self.listeners
        ]
        return Table(self._head(), ("listener", "verdict", "error"), rows)

    def __str__(self) -> str:
        return "\n".join([self._head(), *(f"  {each}" for each in self.listeners)])

    def _head(self) -> str:
        if not self.listeners:
            return f"value {self.id} on {self.topic!r}: nobody listened"
        heard = self.count(Verdict.OK)
        state = "done" if self.done else "open"
        return f"value {self.id} on {self.topic!r}: {state}, {heard} of {len(self.listeners)} ok"
