"""How requests end: what the absent members get, of many a few at a time; pure.

An end in parts (`Ending`) begins where it is due, and goes on in later passes; meanwhile nothing
else can become of the request, whose completion is set behind the last verdict.
"""

from __future__ import annotations

from typing import List, Mapping, Optional, Tuple

from .effects import ALARM, ENDED, ENDING
from .member import Member
from .open_requests import OpenRequests
from .outcomes import Completion, Standing, Verdict
from .request import OVER, Ending, Request
from .statistics import Sums
from .verdicts import Witness, judge_early, judge_some

__all__ = ["BUDGET", "Ends", "overdue"]

BUDGET = 8
"""How many verdicts one pass may bring: about 100 us. The section is free between passes (P17)."""


def overdue(request: Request, now: float) -> Optional[Completion]:
    """What time alone has made of an open request until *now*; or its end, if that goes on."""
    extras = request.extras
    if extras is not None:
        if extras.ending is not None:
            return extras.ending.completion
        need = extras.need
        if need is not None:
            until = min(now, request.deadline)
            found = need.evaluate(request.left, extras.errors, until)
            if found is not None:
                return found
    return Completion.DEADLINE if request.deadline < now else None


class Ends:
    """The ends of the requests of one ledger. Every method inside the section, or alone."""

    def __init__(self, store: OpenRequests, sums: Sums) -> None:
        #: Tells where workers are in their code, for those that run at an end.
        self.witness: Witness = None
        self._store = store
        self._sums = sums

    def begin(
        self,
        request: Request,
        completion: Completion,
        now: float,
        verdicts: Mapping[Standing, Verdict],
    ) -> int:
        """*request*, stored no more, is over: ENDED; or ENDING, when there is more to do."""
        extras = request.extras
        if extras is not None:
            self._store.forget(extras.need, extras.line)
        if request.left:
            # Whoever comes to it from here on looks at that first.
            request.until = OVER
            ending = request.more().ending = Ending(request, completion, verdicts, now)
            judge_some(request, ending, BUDGET, self.witness)
            if request.left:
                self._store.endings.append(request)
                return ENDING
            ending.close()
        return self._complete(request, completion, now)

    def go_on(self, budget: int, told: List[Tuple[Request, int]]) -> int:
        """A part of the eldest end that has begun; what it has left of *budget*."""
        request = self._store.endings[0]
        ending = request.ending
        if ending is None:
            return 0
        budget, effects = judge_some(request, ending, budget, self.witness), ENDING
        if not request.left:
            self._store.endings.popleft()
            ending.close()
            effects = self._complete(request, ending.completion, ending.instant)
        told.append((request, effects))
        return budget

    def judge(self, request: Request, member: Member) -> None:
        """*member* is at *request*, whose end may go on: then it is judged before its turn."""
        ending = request.ending
        if ending is not None:
            judge_early(request, ending, member, self.witness)

    def settle(
        self, request: Request, member: Member, verdict: Verdict, standing: Optional[Standing]
    ) -> bool:
        """What a *member* elsewhere came to as *request* ended; False if that cannot be."""
        extras = request.extras
        each = None if extras is None else extras.unanswered.get(id(member))
        if each is None or each.outcome is not None or member.workers:
            return False
        if standing is not None:
            each.standing = standing
        if verdict is not Verdict.MISSING:
            self._sums.judge(each, verdict)
        return True

    def _complete(self, request: Request, completion: Completion, now: float) -> int:
        self._sums.add(request, completion)
        request.end(completion, now)
        return ENDED | ALARM if self._store.stale or self._store.left else ENDED
