"""One request of ours, as far as members elsewhere have not answered it."""

from __future__ import annotations

from typing import Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Tuple

from .._core.outcomes import Completion, Standing, Verdict
from .._core.request import Request
from .._engine.link import RemoteMember

__all__ = ["OTHERS", "Packed", "Pending"]

OTHERS = ("", 0)
"""In the place of a part and a key: whoever there is."""


class Packed(NamedTuple):
    """What a request carries, as text."""

    args: str
    kwargs: str
    options: str


class Pending:
    """A request of ours with members elsewhere that have not answered, by part and key."""

    __slots__ = ("late", "left", "off", "packed", "request", "said", "since")

    def __init__(
        self, request: Request, packed: Packed, members: Iterable[RemoteMember], now: float
    ) -> None:
        self.request: Request = request
        #: What it carries, until that was sent.
        self.packed: Optional[Packed] = packed
        self.left: Dict[Tuple[str, int], RemoteMember] = {(m.part, m.key): m for m in members}
        #: Who shall not begin it any more.
        self.off: FrozenSet[Tuple[str, int]] = frozenset()
        self.since: float = now
        #: What was said of members before it had ended here: clocks differ a little.
        self.said: Dict[RemoteMember, Tuple[Verdict, Optional[Standing]]] = {}
        #: Likewise, of those who were late there.
        self.late: List[Tuple[str, int, int, float, float]] = []

    def parts(self) -> List[str]:
        """Those that owe an answer."""
        return list(dict.fromkeys(part for part, _ in self.left if part))

    def takes_back(self) -> List[Tuple[str, Optional[List[int]]]]:
        """Which parts shall not begin what they were asked; with their keys, or None for all."""
        completion = self.request.completion
        if completion is None:
            return [(part, [key]) for part, key in self.off.intersection(self.left)]
        # At the deadline they know it by themselves.
        return [] if completion is Completion.DEADLINE else [(part, None) for part in self.parts()]
