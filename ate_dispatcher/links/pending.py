"""One request of ours, as far as members elsewhere have not answered it."""

from __future__ import annotations

from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

from .._core.outcomes import Standing, Verdict
from .._core.request import Request
from .._engine.link import RemoteMember

__all__ = ["OTHERS", "Packed", "Pending", "Said"]

OTHERS = ("", 0)
"""In the place of a part and a key: whoever there is."""


Said = Tuple[Verdict, Optional[Standing]]
"""What is said of a member without an answer, and where it stood."""


class Packed(NamedTuple):
    """What a request carries, as text."""

    args: str
    kwargs: str
    options: str


class Pending:
    """A request of ours with members elsewhere that have not answered, by part and key."""

    __slots__ = ("late", "left", "packed", "request", "said", "since")

    def __init__(
        self, request: Request, packed: Packed, members: Iterable[RemoteMember], now: float
    ) -> None:
        self.request: Request = request
        #: What it carries, until that was sent.
        self.packed: Optional[Packed] = packed
        self.left: Dict[Tuple[str, int], RemoteMember] = {(m.part, m.key): m for m in members}
        self.since: float = now
        #: What was said of members before it had ended here: clocks differ a little.
        self.said: Dict[RemoteMember, Said] = {}
        #: Likewise, of those who were late there.
        self.late: List[Tuple[str, int, int, float, float]] = []

    def parts(self) -> List[str]:
        """Those that owe an answer."""
        return list(dict.fromkeys(part for part, _ in self.left if part))

    def of(self, part: str) -> List[Tuple[str, int]]:
        """Those of it."""
        return [each for each in self.left if each[0] == part]
