"""What is open and what has ended, and what the facts about it have in common; see ``ledger``."""

from __future__ import annotations

from typing import Deque, Optional

from .effects import ALARM, ASK, DISCARDED, ENDING, NOTED, REFUSED
from .ends import Ends, overdue
from .member import Member, Start, Worker
from .open_requests import OpenRequests
from .outcomes import AT_IT, AT_THE_END, Completion, Standing, Verdict
from .policy_state import PolicyState
from .request import Request, Unanswered
from .statistics import Sums
from .verdicts import check, is_judged, is_run_by

__all__ = ["Books"]

_ALL_REPLIED = Completion.ALL_REPLIED


class Books:
    """What is written down, and by what rules."""

    def __init__(self) -> None:
        self.open: OpenRequests = OpenRequests()
        self.arrivals: Deque[Request] = self.open.arrivals
        self.sums: Sums = Sums()
        self.ends: Ends = Ends(self.open, self.sums)
        #: How many illegal facts there were.
        self.refused: int = 0

    def check(self) -> None:
        """Raise AssertionError if the books are not in order. Inside the section, or alone."""
        self.open.check()
        for request in self.open.all():
            check(request)
        self.sums.check(self.open.all())

    # -- inside --------------------------------------------------------------------------------

    def _refuse(self) -> int:
        """The one place for what cannot be."""
        self.refused += 1
        return REFUSED

    def _time_ends(self, request: Request, now: float, member: Optional[Member] = None) -> int:
        """End it if time has; else nothing. *member*, which is at it, is judged in any case."""
        completion = overdue(request, now)
        if completion is None:
            return 0
        effects = ENDING if request.ending is not None else self._end(request, completion, now)
        if member is not None:
            self.ends.judge(request, member)
        return effects

    def _end(self, request: Request, completion: Completion, now: float) -> int:
        self.open.release(request)
        return self.ends.begin(request, completion, now, AT_THE_END[completion])

    def _unanswered(
        self,
        request: Request,
        member: Member,
        verdict: Verdict,
        standing: Optional[Standing],
        now: float,
    ) -> int:
        if request.completion is not None:
            return 0
        effects = self._time_ends(request, now, member if is_run_by(request, member) else None)
        if effects:
            return effects
        if is_judged(request, member):
            return self._refuse()
        worker = member.worker_at(request)
        request.misses(Unanswered(request, member, verdict, standing, now, worker))
        if not request.pending:
            return NOTED | self._end(request, _ALL_REPLIED, now)
        effects = NOTED
        if request.pending < 0 and request.need is not None:
            effects |= self._evaluated(request, request.need, now)
        if request.line is None or request.is_over:
            return effects
        return effects | self._start_when_complete(request, now)

    def _start_when_complete(self, request: Request, now: float) -> int:
        present = request.line.present if request.line is not None else ()
        return self._start(request, now) if len(present) == request.left else 0

    def _start(self, request: Request, now: float) -> int:
        """Whoever is at the start line runs; who comes later finds it open."""
        line = request.line
        if line is None or request.is_over:
            return self._refuse()
        self.open.forget(line)
        line.started = True
        request.until = request.deadline
        judged = request.more().unanswered
        for claim in [each for each in line.present if id(each.worker.member) not in judged]:
            claim.worker.running, claim.worker.began = request, Start(now, claim.spent(now))
            # The last of all: its worker may happen to look.
            claim.standing = Standing.RUNNING
        return 0

    def _heard(self, request: Request, vote: bool, stamp: float) -> int:
        """A reply to a request under a policy, and perhaps a member's vote."""
        need = request.need
        if need is None:
            return self._refuse()
        need.oks += vote
        need.last = stamp
        # Before it is evaluated: while somebody asks, it is not over for want of others.
        need.asking += bool(need.untils)
        effects = self._evaluated(request, need, stamp)
        return effects | ASK if need.untils and not request.is_over else effects

    def _evaluated(self, request: Request, need: PolicyState, now: float) -> int:
        """What the policy of *request* says now."""
        completion = need.evaluate(request.left, request.errors, now)
        if completion is not None:
            return self._end(request, completion, now)
        stall = need.next_stall(now)
        if stall is None:
            if request.line is None:
                request.until = request.deadline
            return 0
        if request.line is None:
            request.until = min(request.deadline, stall)
        self.open.expect(need, stall, request)
        return ALARM

    def _discarded(self, request: Request, worker: Worker, stamp: float) -> int:
        extras = request.extras
        each = None if extras is None else extras.unanswered.get(id(worker.member))
        if each is None or each.outcome is not None or each.standing not in AT_IT:
            return self._refuse()
        each.answered = (worker.began, stamp)
        each.late = max(0.0, stamp - request.deadline)
        self.sums.judge(each, Verdict.LATE if each.late else Verdict.SURPLUS)
        return DISCARDED
