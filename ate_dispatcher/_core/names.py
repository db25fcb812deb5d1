"""What producers are called where several have one name: one on another part by that, too."""

from __future__ import annotations

from collections import Counter
from typing import FrozenSet, Iterable, List, Optional

from .member import Member

__all__ = ["Names", "listed", "may_be_called"]

_FEW = 10
"""So many names at most are listed."""


class Names:
    """Those that more than one has, of a topic's producers on several parts."""

    __slots__ = ("_own", "_twice")

    def __init__(self, own: str, twice: FrozenSet[str]) -> None:
        self._own = own
        self._twice = twice

    @classmethod
    def among(cls, members: Iterable[Member]) -> Optional[Names]:
        """Of *members*; None if each has its own, or all are of this machine."""
        there = list(members)
        own = next((each.asked_by for each in there if each.asked_by is not None), None)
        if own is None:
            return None
        counted = Counter(each.name for each in there)
        twice = frozenset(name for name, number in counted.items() if number > 1)
        return cls(own, twice) if twice else None

    def of(self, member: Member) -> str:
        """Its name; as ``part/name`` if others have the same."""
        name = member.name
        return may_be_called(member, self._own)[-1] if name in self._twice else name


def may_be_called(member: Member, own: Optional[str]) -> List[str]:
    """Its name, and ``part/name``; *own* is the name of this part, if it has one."""
    name, part = member.name, own if member.part is None else member.part
    return [name, f"{part}/{name}"] if part else [name]


def listed(names: Iterable[str]) -> str:
    """For a message: who is there, and of many a few."""
    there = [repr(name) for name in dict.fromkeys(names)]
    rest = len(there) - _FEW
    shown = ", ".join(there[:_FEW]) or "nobody"
    return f"{shown} and {rest} more" if rest > 0 else shown
