"""Where the members of a request wait for each other, to begin together."""

from __future__ import annotations

import math
from typing import Any, List, Optional

from .member import Claim

__all__ = ["StartLine"]


class StartLine:
    """The members of a request wait there for each other, and begin together."""

    __slots__ = ("after", "cell", "present", "started")

    def __init__(self, after: float) -> None:
        #: So many seconds after the send those who are there need not wait for the others.
        self.after: float = after
        self.present: List[Claim] = []
        self.started: bool = False
        #: Where that instant is kept, see `OpenRequests`.
        self.cell: Optional[List[Any]] = None

    @property
    def endless(self) -> bool:
        """Whether it waits for all until the deadline."""
        return self.after == math.inf
