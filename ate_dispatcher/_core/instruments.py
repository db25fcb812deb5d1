"""Who has which instrument, and who waits for it: first come, first served.

Pure: no lock, no thread, no clock. One for each dispatcher, changed inside its section.

A claim gets all its instruments at one moment: when they are free, and nobody who came before it
waits for one of them. So nobody waits for one with another in hand, and nobody is passed over.

But for start lines. Who stands at one has its instruments, and waits for others, who may need some
themselves before they can come. Three rules keep all of them from waiting for each other:

* Lines are in one order, that in which their requests were handed out, by all dispatchers. A claim
  for one of them is *barred* from what a member of an earlier one that has not started may need
  before it can come: of the same dispatcher, or of another that the member serves as well.
* Who is barred, or wants what somebody at a line has, does not count as waiting: others pass.
* The members of one line have no instrument in common.

So what the first of the lines needs is with nobody at another line, and whoever is before its
members waits for nobody at a line either: they get theirs, that line starts, and so does the next.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional, Set, Tuple

from .member import Claim, Member

__all__ = ["Instruments"]

Starts = Dict[Any, List[Member]]
"""Start lines that have not started, in their order, with the members that need instruments, on
whatever topic: what they do before they come there counts, too."""


class Instruments:
    """Those of one dispatcher. What is returned is who has got theirs by a change.

    *number* is that of the dispatcher, *starts* what all of them share: changed by single atomic
    operations, in one order.
    """

    def __init__(self, number: int = 0, starts: Optional[Starts] = None) -> None:
        self._number = number
        self._starts: Starts = {} if starts is None else starts
        self._with: Dict[str, Claim] = {}
        #: In the order of coming; a dict for its quick removal.
        self._waiting: Dict[Claim, None] = {}

    def ask(self, claim: Claim) -> List[Claim]:
        """*claim* has come and wants its instruments."""
        claim.instruments = self
        self._waiting[claim] = None
        if any(name in self._with for name in claim.names):
            return []
        return self._grant(claim.names)

    def drop(self, claim: Claim) -> List[Claim]:
        """*claim* is done with its instruments, or with waiting; harmless twice."""
        claim.granted = False
        self._waiting.pop(claim, None)
        for name in claim.names:
            if self._with.get(name) is claim:
                del self._with[name]
        return self._grant(claim.names)

    def reserve(self, line: Any, members: List[Member]) -> None:
        """*members* of the request with that start line will need what is theirs."""
        self._starts[line] = members

    def free(self, line: Any) -> List[Claim]:
        """It has started, or will not."""
        return self.look_again(self._starts.pop(line, ()))

    def look_again(self, members: Iterable[Member]) -> List[Claim]:
        """What was reserved for *members* is not any more."""
        return self._grant([name for member in members for name in member.exclusive])

    def holders(self, claim: Claim) -> List[Tuple[str, Claim]]:
        """Which of the instruments that *claim* wants are with whom."""
        return [(name, self._with[name]) for name in claim.names if name in self._with]

    def ahead_of(self, claim: Claim) -> List[Claim]:
        """Those that *claim* waits for: who has what it needs, and who came before it for that."""
        wanted = set(claim.names)
        found = {each: None for name, each in self._with.items() if name in wanted}
        for other in self._waiting:
            if other is claim:
                break
            if not wanted.isdisjoint(other.names) and not self._is_held_up(other):
                found[other] = None
        return list(found)

    def __bool__(self) -> bool:
        return bool(self._with or self._waiting)

    def _grant(self, freed: Iterable[str]) -> List[Claim]:
        """Let those have theirs who may, now that *freed* have nobody."""
        granted: List[Claim] = []
        taken: Set[str] = set()
        left = set(freed)
        for claim in list(self._waiting):
            # What somebody at a line has holds up others, whom those behind them may then pass: as
            # long as there are lines, all are looked at.
            if not left and not self._starts:
                break
            if self._is_held_up(claim):
                continue
            names = claim.names
            if taken.isdisjoint(names) and not any(name in self._with for name in names):
                claim.granted = True
                del self._waiting[claim]
                self._with.update(dict.fromkeys(names, claim))
                granted.append(claim)
            taken.update(names)
            left.difference_update(names)
        return granted

    def _is_held_up(self, claim: Claim) -> bool:
        """Whether it waits for a start line."""
        for name in claim.names:
            other = self._with.get(name)
            if other is not None and _is_at_a_line(other):
                return True
        if claim.line not in self._starts:
            return False
        for line, members in list(self._starts.items()):
            if line is claim.line:
                break
            for member in members:
                here = self._number in member.engines
                if here and not set(member.exclusive).isdisjoint(claim.names):
                    return True
        return False


def _is_at_a_line(claim: Claim) -> bool:
    return claim.line is not None and not claim.line.started
