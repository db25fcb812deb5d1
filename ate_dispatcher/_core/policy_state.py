"""How far one request is towards what it needs: the state of its policy, pure."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..policies import All, AllOf, AnyOf, First, Policy, Quorum, Stall, StopOnError, Until
from .durations import NEVER
from .outcomes import Completion
from .records import Record
from .report import Reply

__all__ = ["PolicyState"]


_MANY = 1 << 30
"""In the place of nobody knows how many."""


class PolicyState:
    """What one request needs, and what it has. Changed by the ledger, inside the section.

    Each policy has three answers: yes, which is the reason of the end; no more, which is
    IMPOSSIBLE; not yet, which is None.
    """

    __slots__ = (
        "_yes",
        "asking",
        "cell",
        "error",
        "is_open",
        "last",
        "oks",
        "policy",
        "said",
        "shown",
        "stalls",
        "strangers",
        "untils",
    )

    def __init__(self, policy: Policy) -> None:
        self.policy: Policy = policy
        self.untils: Tuple[Until, ...] = tuple(p for p in policy.leaves() if isinstance(p, Until))
        #: In seconds.
        self.stalls: Tuple[float, ...] = tuple(
            sorted({p.ms / 1000 for p in policy.leaves() if isinstance(p, Stall)})
        )
        #: Members that are OK.
        self.oks: int = 0
        #: Whether anybody may answer, also who was not asked by name: then nobody knows how many
        #: are left.
        self.is_open: bool = False
        #: How many of them have raised.
        self.strangers: int = 0
        #: When the last reply came.
        self.last: Optional[float] = None
        #: How many are asking predicates at this moment.
        self.asking: int = 0
        #: What a predicate raised.
        self.error: Optional[BaseException] = None
        #: The part of the policy that said yes.
        self.said: Optional[Policy] = None
        #: The newest record that predicates were shown, and the replies up to it.
        self.shown: Tuple[Optional[Record], Tuple[Reply, ...]] = (None, ())
        self._yes: Dict[int, bool] = {}
        #: Where the next instant is kept at which quiet may end it, see `OpenRequests`.
        self.cell: Optional[List[Any]] = None

    def agreed(self, untils: List[Until]) -> None:
        """These predicates said yes, once for all."""
        self._yes.update((id(until), True) for until in untils)

    def evaluate(self, left: int, errors: int, now: float) -> Optional[Completion]:
        """Whether it is over, with *left* members without a verdict and *errors* of them errors."""
        errors += self.strangers
        if self.is_open and left:
            left = _MANY
        found = self._ask(self.policy, left, errors, now)
        if found not in (None, Completion.IMPOSSIBLE, Completion.ALL_REPLIED):
            self.said = self.policy
            for part in self.policy.parts if isinstance(self.policy, AnyOf) else ():
                if self._ask(part, left, errors, now) is found:
                    self.said = part
                    break
        return found

    @property
    def is_met(self) -> bool:
        """Whether it is content with what it has, if nobody else comes."""
        return self._ask(self.policy, 0, self.strangers, NEVER) not in (
            None,
            Completion.IMPOSSIBLE,
        )

    def next_stall(self, now: float) -> Optional[float]:
        """The next instant, not before *now*, at which quiet alone may change the answer."""
        if self.last is None:
            return None
        instants = [self.last + stall for stall in self.stalls if self.last + stall >= now]
        return min(instants) if instants else None

    def _ask(self, policy: Policy, left: int, errors: int, now: float) -> Optional[Completion]:
        over = not left and not self.asking
        if isinstance(policy, (Quorum, First)):
            n = policy.n if isinstance(policy, Quorum) else 1
            if self.oks >= n:
                return Completion.QUORUM
            return Completion.IMPOSSIBLE if self.oks + left < n else None
        if isinstance(policy, Until):
            if id(policy) in self._yes:
                return Completion.PREDICATE
            return Completion.IMPOSSIBLE if over else None
        if isinstance(policy, StopOnError) and errors:
            return Completion.PREDICATE
        if isinstance(policy, Stall) and left:
            quiet = self.last is not None and self.last + policy.ms / 1000 < now
            return Completion.STALLED if quiet else None
        if isinstance(policy, (All, Stall, StopOnError)):
            return Completion.ALL_REPLIED if over else None
        assert isinstance(policy, (AnyOf, AllOf))
        answers = [self._ask(part, left, errors, now) for part in policy.parts]
        if isinstance(policy, AnyOf):
            yes = [a for a in answers if a is not None and a is not Completion.IMPOSSIBLE]
            if yes:
                return yes[0]
            return None if None in answers else Completion.IMPOSSIBLE
        if Completion.IMPOSSIBLE in answers:
            return Completion.IMPOSSIBLE
        if None in answers:
            return None
        last = [a for a in answers if a is not Completion.ALL_REPLIED]
        return last[-1] if last else Completion.ALL_REPLIED
