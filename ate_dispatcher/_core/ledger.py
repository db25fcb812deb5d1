"""What is open, and what each stamped fact does to it.

Pure: no lock, no thread, no clock, no user code.

Theory of operation
===================

A **request** (``Request``) is open until it ends, once, with one :class:`Completion`. Each of its
**members** (``Member``, one per producer) gets one :class:`Verdict` in the end; a member's
**workers** begin requests and answer them, one at a time.

Facts go in, always with the instant at which they were stamped, in the order of their stamps:
``began``, ``replied``, ``streamed``, ``finished``, ``joined_in``, ``lined_up``, ``declined``,
``withdrawn``, ``died``, ``gone``, ``settled``, ``come_to``, ``cancelled``, ``agreed``, ``expired``,
``time_passed``, ``stopped``. Effects come out as bits of a small int, the data stay in the request:
who asks for a fact acts on the bits while nobody else can enter. That a request was opened is the
one fact that callers append themselves (to ``arrivals``, one atomic operation), because it may come
from a signal handler.

What a fact about one member does:

==================  ==================================  ===========================================
fact                the request is open                 the request has ended
==================  ==================================  ===========================================
began               it runs                             refused
replied             stamp <= deadline: OK or ERROR;     running member: SURPLUS if its stamp is
                    else it ends as DEADLINE first      within the deadline, else LATE
streamed            its value is accepted               nothing: it is told to end
finished            as replied, without a value         likewise
gone                GONE                                nothing: the end has judged it
declined            DECLINED                            nothing: the end has judged it
withdrawn           WITHDRAWN                           nothing: the end has judged it
died                MISSING(DEAD)                       nothing: the end has judged it
come to             it begins; if the deadline has      MISSING(QUEUED, NOT_STARTED): SKIPPED
                    passed it ends as DEADLINE first
lined_up            it waits at the start line; with    nothing: the end has judged it
                    the last of those without a
                    verdict they all begin
==================  ==================================  ===========================================

When the last member gets its verdict the request ends as ALL_REPLIED. Any other end judges the
members without a verdict by :data:`AT_THE_END`: of many a few at a time (``Ending``); whatever
comes in between finds the request ended, and its completion is set last. Who has come to the
request and waits for an instrument or at the start line has not begun: it is SKIPPED then, for
good.

A member **elsewhere** is AWAY until it answers, or its machine says more: it has no workers, so
it is its own for the moment in which its answer is brought. After the end it can be *settled*:
where it stood then, or that it will not begin.

An answer of a worker that is not in the request, a verdict on a member that has one: such a fact is
illegal, whoever brings it. It is refused at one place, counted, and changes nothing.

What has no business here: asking what time it is, knowing what a worker is, dropping what belongs
to a user, and any object of his other than to hand it on.
"""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from ..policies import Until
from .books import Books
from .effects import ACCEPTED, ENDED, FAILED
from .ends import BUDGET, overdue
from .member import Claim, Member, Worker
from .outcomes import AT_THE_END, WITHDRAWN_AT_ONCE, Completion, Standing, Verdict
from .records import Close, Part
from .request import OVER, Request, Unanswered
from .start_line import StartLine
from .verdicts import is_judged, is_run_by, lacks_answer_of

__all__ = ["Ledger"]

_ALL_REPLIED = Completion.ALL_REPLIED


class Ledger(Books):
    """The books of one dispatcher. Every method is a fact or a question; see the module."""

    # -- facts about one member ----------------------------------------------------------------

    def began(self, request: Request, worker: Worker, instant: float) -> int:
        """*worker* begins *request*, which is open, at *instant*. The hot loop does it in place."""
        if request.is_over or is_judged(request, worker.member):
            return self._refuse()
        worker.running = request
        worker.began = instant
        return 0

    def replied(
        self,
        request: Request,
        worker: Worker,
        value: Any,
        error: Optional[BaseException],
        stamp: float,
    ) -> int:
        """The producer's method returned *value* or raised *error*, in *worker*."""
        if not lacks_answer_of(request, worker):
            return self._refuse()
        effects = 0
        if request.completion is None:
            if stamp <= request.until or overdue(request, stamp) is None:
                request.chain = (value, error, worker.member, worker.began, stamp, request.chain)
                request.pending -= 1
                if error is None:
                    effects = ACCEPTED
                else:
                    request.more().errors += 1
                    effects = FAILED
                if request.pending <= 0:
                    effects |= self.counted(request, error is None, stamp)
                worker.running = None
                return effects
            # It is still running as this ends.
            effects = self._time_ends(request, stamp, worker.member)
        worker.running = None
        return effects | self._discarded(request, worker, stamp)

    def counted(self, request: Request, ok: bool, stamp: float) -> int:
        """A reply was taken that is the last, or that a policy has to be asked about."""
        arrivals, extras = self.arrivals, request.extras
        if (
            request.cell is None
            and (extras is None or extras.are_all_ok())
            and arrivals
            and arrivals[0] is request
        ):
            # What nearly every request comes to, in short: all OK, nobody overtaken.
            arrivals.popleft()
            self.sums.all_ok += len(request.roster)
            self.sums.all_replied += 1
            request.ended = stamp
            request.until = OVER
            request.completion = _ALL_REPLIED
            return ENDED
        if request.pending:
            return self._heard(request, ok, stamp)
        return self._end(request, _ALL_REPLIED, stamp)

    def streamed(self, request: Request, worker: Worker, value: Any, stamp: float) -> int:
        """The generator in *worker* has yielded *value*, and goes on."""
        if not lacks_answer_of(request, worker):
            return self._refuse()
        if request.completion is not None:
            return 0
        if stamp > request.until and overdue(request, stamp) is not None:
            return self._time_ends(request, stamp, worker.member)
        request.chain = Part((value, None, worker.member, worker.began, stamp, request.chain))
        request.note_part(worker.member)
        return ACCEPTED | (self._heard(request, False, stamp) if request.pending < 0 else 0)

    def finished(self, request: Request, worker: Worker, stamp: float) -> int:
        """The generator in *worker* has come to its end: that is its answer."""
        if not lacks_answer_of(request, worker):
            return self._refuse()
        effects = 0
        if request.completion is None:
            effects = self._time_ends(request, stamp, worker.member)
        worker.running = None
        if request.is_over:
            return effects | self._discarded(request, worker, stamp)
        votes = request.pending < 0 and request.has_value_of(worker.member)
        request.chain = Close((None, None, worker.member, worker.began, stamp, request.chain))
        request.pending -= 1
        if request.pending < 0:
            return self._heard(request, votes, stamp)
        return 0 if request.pending else self._end(request, _ALL_REPLIED, stamp)

    def joined_in(
        self,
        request: Request,
        others: Member,
        worker: Worker,
        value: Any,
        error: Optional[BaseException],
        stamp: float,
    ) -> int:
        """One of the *others*, whoever may answer, has answered, as its *worker* says."""
        if request.is_over:
            # Nobody counts how many more could.
            return 0
        need = request.need
        if need is None or is_judged(request, others):
            return self._refuse()
        effects = self._time_ends(request, stamp)
        if effects:
            return effects
        request.chain = Part((value, error, worker.member, worker.began, stamp, request.chain))
        request.note_part(others, error is None)
        need.strangers += error is not None
        taken = ACCEPTED if error is None else FAILED
        return taken | self._heard(request, error is None, stamp)

    def lined_up(self, request: Request, claim: Claim, now: float) -> int:
        """Whoever has that *claim* has its instruments and stands at the start line."""
        if request.completion is not None:
            return 0
        effects = self._time_ends(request, now, claim.worker.member)
        if effects:
            return effects
        line = request.line
        if line is None or claim in line.present or is_judged(request, claim.worker.member):
            return self._refuse()
        claim.standing, claim.lined = Standing.AT_LINE, now
        line.present.append(claim)
        return self._start_when_complete(request, now)

    def declined(self, request: Request, member: Member, now: float) -> int:
        """*member* could not be asked."""
        if is_run_by(request, member):
            return self._refuse()
        return self._unanswered(request, member, Verdict.DECLINED, None, now)

    def withdrawn(self, request: Request, member: Member, now: float) -> int:
        """*member* shall not begin it any more, and has not."""
        if is_run_by(request, member):
            return self._refuse()
        line = request.line
        if line is not None:
            line.present = [claim for claim in line.present if claim.worker.member is not member]
        return self._unanswered(request, member, Verdict.WITHDRAWN, None, now)

    def gone(self, request: Request, member: Member, now: float) -> int:
        """*member* is elsewhere, and its machine has left."""
        return self._unanswered(request, member, Verdict.GONE, None, now)

    def settled(
        self, request: Request, member: Member, verdict: Verdict, standing: Optional[Standing]
    ) -> int:
        """What *member*, which is elsewhere, came to as *request* ended: first where it stood."""
        return 0 if self.ends.settle(request, member, verdict, standing) else self._refuse()

    def died(self, request: Request, member: Member, now: float) -> int:
        """*member* has ended while the request waited for it."""
        effects = self._unanswered(request, member, Verdict.MISSING, Standing.DEAD, now)
        for worker in member.workers:
            if worker.running is request:
                worker.running = None
        return effects

    def come_to(self, member: Member, engine: Any, limit: int = BUDGET) -> List[Unanswered]:
        """Whatever of *engine* ended before *member* began it will not be executed: *limit* of it.

        Nothing is left when it is fewer.
        """
        waiting = member.unjudged.get(engine.number, [])
        judged = waiting[:limit]
        del waiting[:limit]
        if not waiting:
            member.unjudged.pop(engine.number, None)
        for each in judged:
            self.sums.judge(each, Verdict.SKIPPED)
        return judged

    # -- facts about whole requests ------------------------------------------------------------

    def expired(self, request: Request, now: float, member: Optional[Member] = None) -> int:
        """Somebody, perhaps a *member* that was about to begin it, saw *request* at *now*.

        That may be after its deadline, before ``time_passed`` was told.
        """
        return 0 if request.completion is not None else self._time_ends(request, now, member)

    def cancelled(self, request: Request, now: float) -> int:
        """The caller does not want it any more."""
        if request.completion is not None:
            return 0
        return self._time_ends(request, now) or self._end(request, Completion.CANCELLED, now)

    def agreed(
        self, request: Request, yes: List[Until], error: Optional[BaseException], now: float
    ) -> int:
        """Predicates were asked about the replies: those in *yes* agreed; one raised."""
        if request.completion is not None:
            return 0
        if overdue(request, now) is not None:
            return self._time_ends(request, now)
        need = request.need
        if need is None:
            return self._refuse()
        need.asking -= 1
        need.agreed(yes)
        if error is not None:
            need.error = error
            return self._end(request, Completion.IMPOSSIBLE, now)
        return self._evaluated(request, need, now)

    def nobody(self, request: Request) -> int:
        """It was over when it was sent, having found no producer or too few."""
        self.sums.add(request, request.completion or Completion.NO_PRODUCERS)
        return ENDED

    def time_passed(
        self, now: float, budget: int = BUDGET
    ) -> Tuple[List[Tuple[Request, int]], bool]:
        """End what is due before *now*, in the order of instants, until *budget* verdicts are said.

        What has happened; and whether there is more. Ends that have begun go on when nothing is
        due: no deadline waits for them.
        """
        due: List[Tuple[Request, int]] = []
        while budget > 0:
            found = self.open.past(now)
            if found is None:
                if not self.open.endings:
                    return due, False
                budget = self.ends.go_on(budget, due)
                continue
            reason, request = found
            budget -= 1
            if request is None or request.is_over:
                continue
            budget -= len(request.roster)
            # First of all: it may be due for more than one reason.
            effects = self._time_ends(request, now)
            if not effects and reason.__class__ is StartLine:
                effects = self._start(request, now)
            elif not effects and request.need is not None:
                effects = self._evaluated(request, request.need, now)
            due.append((request, effects))
        return due, True

    def stopped(
        self, now: float, at_once: bool, budget: int = BUDGET
    ) -> Tuple[List[Tuple[Request, int]], bool]:
        """End what is gathered, likewise; *at_once* withdraws what has not begun."""
        found: List[Request] = []
        ended: List[Tuple[Request, int]] = []
        while budget > 0:
            if self.open.endings:
                budget = self.ends.go_on(budget, ended)
                continue
            any_left, request = self.open.take_any()
            if not any_left:
                break
            budget -= 1
            if request is not None:
                budget -= len(request.roster)
                found.append(request)
        found.sort(key=lambda request: request.id)
        verdicts = WITHDRAWN_AT_ONCE if at_once else AT_THE_END[Completion.STOPPED]
        ended += [(r, self.ends.begin(r, Completion.STOPPED, now, verdicts)) for r in found]
        return ended, budget <= 0
