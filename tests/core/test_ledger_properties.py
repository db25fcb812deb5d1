"""The ledger against a model of it, written from the contract's table and in both directions.

The model is dicts and lists and no cleverness. It says what the ledger must answer to every fact,
and after every step what the sums must be, and that the books are in order. The machine around both
does what engines do: it keeps the mailboxes, and says who runs what since when. Now and then it
says what cannot be, which is refused and changes nothing.

Time is a grid of floats; ttls are a few steps on it and so are ticks: stamps meet deadlines often.
``test_mutants.py`` checks that all this bites.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from inside import NEVER, Options
from ledger_books import PLENTY, Books, absent, everything, kept, next_instant

from ate_dispatcher._core import open_requests
from ate_dispatcher._core.effects import (
    ACCEPTED,
    ALARM,
    ASK,
    DISCARDED,
    ENDED,
    FAILED,
    NOTED,
    REFUSED,
)
from ate_dispatcher._core.ledger import Ledger
from ate_dispatcher._core.member import Claim, Member, Start
from ate_dispatcher._core.outcomes import Completion, Standing, Verdict
from ate_dispatcher._core.records import BEGAN, ERROR, MEMBER, PREVIOUS, STAMP, VALUE, Close, Part
from ate_dispatcher._core.reporting import report_of
from ate_dispatcher._core.request import Request
from ate_dispatcher.policies import AllOf, AnyOf, First, Policy, Quorum, Stall, StopOnError, Until

TOLD = ACCEPTED | FAILED | ENDED | DISCARDED | NOTED | REFUSED
ABSENT, STARTED = 1 << 20, 1 << 21
"""What the ledger need not say, for it follows from the request: that members had not begun it at
its end, whose mailboxes or workers still hold it; that those at its start line run now."""
NOT_BEGUN = (Standing.QUEUED, Standing.NOT_STARTED)

T = TypeVar("T")
Fact = Callable[[Ledger, Request, float], int]
VERDICTS = (Ledger.declined, Ledger.withdrawn, Ledger.died)


def instant(step: int) -> float:
    """The same step is the same float, whatever sum led to it."""
    return 1000 + step / 10


class Someone:
    """A producer, of which the ledger and the report want no more than a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Answer(NamedTuple):
    """What a reply consisted of when it was accepted; *kind* tells parts and ends of streams."""

    who: int
    value: Any
    error: Optional[BaseException]
    began: int
    stamp: int
    kind: type = tuple


class Line:
    """The model's line on one member of one request; *stamp* is when its word was spoken."""

    def __init__(self) -> None:
        self.verdict: Optional[Verdict] = None
        self.outcome: Optional[Verdict] = None
        self.standing: Optional[Standing] = None
        self.began: Optional[int] = None
        self.stamp = 0
        #: When it came to a request that it could not begin at once; when it had its instrument,
        #: if it needs one; when it stood at the start line.
        self.came: Optional[int] = None
        self.taken: Optional[int] = None
        self.lined: Optional[int] = None

    @property
    def word(self) -> Optional[Verdict]:
        return self.outcome or self.verdict


class Case:
    """The model's request: the members by their numbers, a line on each, what was accepted."""

    def __init__(self, engine: int, roster: Sequence[int], sent: int, due: Optional[int]) -> None:
        self.engine = engine
        self.roster = roster
        self.sent = sent
        self.due = due
        self.lines = {who: Line() for who in roster}
        self.answers: List[Answer] = []
        self.completion: Optional[Completion] = None
        self.ended = 0
        self.watched = False
        self.policy: Optional[Policy] = None
        #: When the last reply came; which predicates agreed; how many times they are being asked.
        self.last: Optional[int] = None
        self.agreed: List[Policy] = []
        self.asking = 0
        #: When those at its start line go without the others, and whether anybody waits there.
        self.alarm: Optional[float] = None
        self.lines_up = False
        #: Whether it was seen that its line has started.
        self.started = False
        #: Whether it was kept although it stood among the arrivals.
        self.kept = False
        self.real: Any = None
        self.report_at_its_end: Any = None

    @property
    def open(self) -> bool:
        return self.completion is None

    @property
    def pending(self) -> int:
        return sum(line.verdict is None for line in self.lines.values())

    def overdue(self, now: int) -> bool:
        return self.due is not None and self.due < now

    def ended_by_time(self, now: int) -> Optional[Completion]:
        """Whatever comes first: the deadline, or that it was quiet for long enough before that."""
        until = now if self.due is None else min(now, self.due)
        if self.policy is not None and self.says(self.policy, until) is Completion.STALLED:
            return Completion.STALLED
        return Completion.DEADLINE if self.overdue(now) else None

    def says(self, policy: Policy, now: int) -> Optional[Completion]:
        """The model's reading of a policy: why it is over, IMPOSSIBLE, or not yet."""
        words = [line.verdict for line in self.lines.values()]
        gave = {answer.who for answer in self.answers if answer.kind is not Close}
        oks = sum(line.verdict is Verdict.OK for who, line in self.lines.items() if who in gave)
        left = words.count(None)
        over = left == 0 and self.asking == 0
        if isinstance(policy, AnyOf):
            said = [self.says(part, now) for part in policy.parts]
            yes = [one for one in said if one not in (None, Completion.IMPOSSIBLE)]
            return (yes or [None if None in said else Completion.IMPOSSIBLE])[0]
        if isinstance(policy, AllOf):
            said = [self.says(part, now) for part in policy.parts]
            for word in (Completion.IMPOSSIBLE, None):
                if word in said:
                    return word
            return ([one for one in said if one is not Completion.ALL_REPLIED] or said)[-1]
        if isinstance(policy, (First, Quorum)):
            enough = 1 if isinstance(policy, First) else policy.n
            if oks < enough:
                return Completion.IMPOSSIBLE if oks + left < enough else None
            return Completion.QUORUM
        if isinstance(policy, Until):
            if any(policy is one for one in self.agreed):
                return Completion.PREDICATE
            return Completion.IMPOSSIBLE if over else None
        if isinstance(policy, StopOnError) and Verdict.ERROR in words:
            return Completion.PREDICATE
        if isinstance(policy, Stall) and left:
            quiet = self.last is not None and self.last + policy.ms / 100 < now
            return Completion.STALLED if quiet else None
        return Completion.ALL_REPLIED if over else None


class Busy:
    """The model's member: where it stands, what waits for it, what it runs since when."""

    def __init__(self, number: int, standing: Standing) -> None:
        self.number = number
        self.standing = standing
        self.mailbox: List[Case] = []
        self.buried = standing is Standing.DEAD
        self.running: Optional[Case] = None
        self.began = 0
        #: What it has come to and not begun.
        self.held: Optional[Case] = None
        self.needs = False
        #: What ended before it began and is MISSING, by engine, the oldest first.
        self.owed: Dict[int, List[Case]] = {0: [], 1: []}

    @property
    def at_line(self) -> bool:
        return self.held is not None and self.held.lines[self.number].lined is not None

    @property
    def idle(self) -> bool:
        return self.standing is Standing.QUEUED and self.running is None and self.held is None


ENGINE = st.sampled_from([0, 0, 0, 1])
"""All members serve both; the first is asked more often."""

STANDINGS = [Standing.QUEUED, Standing.QUEUED, Standing.NOT_STARTED, Standing.DEAD]
ANYTHING = st.integers(0, 11)
"""Picks one of however many there are."""
ROSTER = st.lists(ANYTHING, min_size=1, max_size=3)
TTL = st.sampled_from([1, 2, 0, 3, 5, None])
STEPS = st.sampled_from([0, 1, 0, 2])
RARELY = st.sampled_from([False, False, False, True])
EITHER, OTHER = Until(bool), Until(all)
DEEDS = [None, ValueError(), None, ValueError(), StopIteration(False), StopIteration(True)]
"""What busy workers come back with: a value, an error; a part of a stream, its end."""
NEEDS = [
    *(None, None, None, None),
    *(First(), Quorum(2), Quorum(3), StopOnError(), EITHER),
    *(Stall(100), Stall(200), Stall(0), Stall(300) | Stall(100), Quorum(1) & StopOnError()),
    *(Quorum(2) | Stall(100), Quorum(2) & Stall(100), Quorum(2) & StopOnError()),
    *(EITHER | Stall(200), EITHER & OTHER, EITHER | OTHER, Quorum(1) & EITHER),
    *(Quorum(3) | StopOnError() | Stall(200), (Quorum(2) | EITHER) & Stall(100)),
]
QUIET = [policy for policy in NEEDS if policy and "Stall" in str(policy)]
NEED = st.integers(0, len(NEEDS) - 1)
"""What few requests need."""


class Engines(RuleBasedStateMachine):
    """Two ledgers that share their producers, beside the model of them."""

    needs: Sequence[Optional[Policy]] = [None]
    lines: Sequence[Optional[float]] = [None]
    """Of start lines: after how many steps they start without the others."""
    instruments: Sequence[bool] = [False]
    """Who needs any, in turns."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.ledgers = (Books(), Books())
        #: Those whose arrivals should be taken in, as they have said.
        self.alarmed: Set[int] = set()
        self.requests: List[Case] = []
        self.workers: List[Busy] = []
        self.members: List[Member] = []
        self.sent_to_nobody = [0, 0]
        # So that few requests suffice for it to renew its heap, and to leave what has ended among
        # the arrivals. Fails if it is renamed.
        self.usual_many = open_requests._MANY
        open_requests._MANY = 2

    def teardown(self) -> None:
        open_requests._MANY = self.usual_many

    @initialize(standings=st.lists(st.sampled_from(STANDINGS), min_size=3, max_size=4))
    def meet(self, standings: List[Standing]) -> None:
        for number, standing in enumerate(standings):
            self.workers.append(Busy(number, standing))
            needs = one_of(self.instruments, number)
            self.workers[-1].needs = needs
            self.members.append(Member(Someone(f"p{number}"), ("psu",) if needs else ()))
            self.members[-1].standing = standing

    def those(self, fits: Callable[[Busy], Any]) -> List[int]:
        return [who for who, worker in enumerate(self.workers) if fits(worker)]

    def open_at(self, engine: int) -> List[Case]:
        return [request for request in self.requests if request.open and request.engine == engine]

    def find(self, real: Request) -> Case:
        return next(request for request in self.requests if request.real is real)

    # -- the model's table ----------------------------------------------------------------------

    def judge(self, request: Case, who: int, verdict: Verdict) -> int:
        """A verdict while the request is open; which effects it has if it was the last."""
        line = request.lines[who]
        line.verdict, line.stamp = verdict, self.now
        if request.policy is not None:
            effects = self.evaluate(request)
        elif request.pending:
            effects = 0
        else:
            effects = self.end(request, Completion.ALL_REPLIED)
        return effects if effects & ENDED else effects | self.start_if_all_are_there(request)

    # -- start lines ----------------------------------------------------------------------------

    def start_if_all_are_there(self, request: Case) -> int:
        waited_for = [line for line in request.lines.values() if line.verdict is None]
        if request.lines_up and all(line.lined is not None for line in waited_for):
            return self.start(request)
        return 0

    def start(self, request: Case) -> int:
        """Whoever is at the line runs."""
        request.lines_up = False
        for who, line in request.lines.items():
            worker, member = self.workers[who], self.members[who]
            if worker.held is request and line.lined is not None:
                worker.held, worker.running, worker.began = None, request, self.now
                member.claim = None
        return STARTED

    def let_go(self, request: Case, who: int) -> None:
        if self.workers[who].held is request:
            self.workers[who].held = self.members[who].claim = None

    def comes(self, who: int, request: Case) -> None:
        """It cannot begin at once: it waits for an instrument, or at the start line."""
        worker, member = self.workers[who], self.members[who]
        worker.held, request.lines[who].came = request, self.now
        member.claim = Claim(request.real, member, instant(self.now))
        if worker.needs:
            self.check_report(request)
        else:
            self.goes_on(who)

    def goes_on(self, who: int) -> None:
        """It has what it needs: to the start line, or to work."""
        worker, member = self.workers[who], self.members[who]
        request, claim = worker.held, member.claim
        assert request is not None
        assert claim is not None
        line, ledger, now = request.lines[who], self.ledgers[request.engine], instant(self.now)
        claim.taken, line.taken = now, self.now
        was_open, expected = request.open, self.time_ends(request)
        if request.lines_up and request.open:
            line.lined = self.now
            expected = self.start_if_all_are_there(request)
            effects = ledger.lined_up(request.real, claim, now)
        elif request.lines_up:
            effects = ledger.lined_up(request.real, claim, now)
        else:
            effects = ledger.expired(request.real, now)
            if request.open:
                worker.held, worker.running, worker.began = None, request, self.now
                member.claim = None
                assert ledger.began(request.real, member, Start(now, claim.spent(now))) == 0
        assert was_open
        self.check(request, effects, expected)

    @precondition(lambda self: self.those(lambda w: w.held))
    @rule(choice=ANYTHING)
    def is_withdrawn_where_it_waits(self, choice: int) -> None:
        """Who has come to a request, and has not begun, shall not any more."""
        who = one_of(self.those(lambda w: w.held), choice)
        request = self.workers[who].held
        assert request is not None
        expected = self.time_ends(request)
        if request.open:
            # Not at the line any more, before anybody looks who is.
            self.workers[who].held = None
            expected = NOTED | self.judge(request, who, Verdict.WITHDRAWN)
        effects = self.ledgers[request.engine].withdrawn(
            request.real, self.members[who], instant(self.now)
        )
        self.members[who].claim = None
        self.check(request, effects, expected)

    def evaluate(self, request: Case) -> int:
        assert request.policy is not None
        completion = request.says(request.policy, self.now)
        return 0 if completion is None else self.end(request, completion)

    def time_ends(self, request: Case) -> int:
        """What time has ended is ended, before anything else is said of it."""
        completion = request.ended_by_time(self.now) if request.open else None
        return 0 if completion is None else self.end(request, completion)

    def end(self, request: Case, completion: Completion, at_once: bool = False) -> int:
        """The request ends; which effects that has."""
        effects = ENDED
        for who, line in request.lines.items():
            if line.verdict is not None:
                continue
            worker = self.workers[who]
            line.verdict, line.stamp = Verdict.MISSING, self.now
            if worker.running is request:
                line.standing, line.began = Standing.RUNNING, worker.began
            elif worker.held is request:
                at_line = line.lined is not None
                line.standing = Standing.AT_LINE if at_line else Standing.AT_INSTRUMENT
                effects |= ABSENT
                line.verdict = Verdict.SKIPPED
                if completion is Completion.CANCELLED:
                    line.verdict = Verdict.CANCELLED
                elif completion is Completion.STOPPED and at_once:
                    line.verdict = Verdict.WITHDRAWN
            else:
                line.standing = worker.standing
            if line.standing in NOT_BEGUN:
                effects |= ABSENT
                if completion is Completion.CANCELLED:
                    line.verdict = Verdict.CANCELLED
                elif completion is Completion.STOPPED and at_once:
                    line.verdict = Verdict.WITHDRAWN
                else:
                    worker.owed[request.engine].append(request)
        request.completion = completion
        request.ended = self.now
        request.lines_up = False
        return effects

    # -- comparing ------------------------------------------------------------------------------

    def check(self, request: Case, effects: int, expected: int) -> None:
        """The ledger answered as the model did, and the real says the same."""
        real, ledger = request.real, self.ledgers[request.engine]
        told = effects & TOLD
        if effects & ENDED and absent(real):
            told |= ABSENT
        line = None if real.extras is None else real.extras.line
        if line is not None and line.started and not request.started:
            request.started = True
            told |= STARTED
        assert told == expected
        if expected & ENDED:
            # What its engine does then.
            for who in request.roster:
                self.let_go(request, who)
        if expected & (ACCEPTED | FAILED):
            self.check_answers(request)
        if expected & NOTED:
            assert instant(self.now) in [each.stamp for each in real.unanswered()]
        if expected & ENDED:
            assert real.ended == instant(request.ended)
            words = {line.verdict for line in request.lines.values()}
            if request.watched or words != {Verdict.OK}:
                # That is what tells it from others.
                assert real.extras is not None
            # Somebody should take the arrivals in, or drop what came out of them.
            if not ledger.open.stale:
                self.alarmed.discard(request.engine)
            if effects & ALARM:
                ledger.open.left.clear()
                self.alarmed.add(request.engine)
            assert not ledger.open.left
            assert not ledger.open.stale or request.engine in self.alarmed
            request.report_at_its_end = report_of(real, instant(self.now), at_the_end=True)
        self.check_report(request)

    def check_answers(self, request: Case) -> None:
        record = request.real.chain
        for answer in reversed(request.answers):
            assert record[MEMBER] is self.members[answer.who]
            assert (record[VALUE], record[ERROR]) == (answer.value, answer.error)
            assert (record[BEGAN], record[STAMP]) == (instant(answer.began), instant(answer.stamp))
            assert record.__class__ is answer.kind
            record = record[PREVIOUS]
        assert record is None

    def check_report(self, request: Case) -> None:
        report = report_of(request.real, instant(self.now))
        assert report.completion is request.completion
        until = self.now if request.open else request.ended
        assert same(report.elapsed_ms, until - request.sent)
        assert len(report.members) == len(request.roster)
        for who, told in zip(request.roster, report.members):
            line, worker = request.lines[who], self.workers[who]
            began, until, standing, late = line.began, line.stamp, line.standing, None
            if line.verdict is None:
                until, standing = self.now, worker.standing
                if worker.running is request:
                    began, standing = worker.began, Standing.RUNNING
                elif worker.held is request:
                    at_line = line.lined is not None
                    standing = Standing.AT_LINE if at_line else Standing.AT_INSTRUMENT
            elif line.outcome in (Verdict.SURPLUS, Verdict.LATE):
                standing = None
                if line.outcome is Verdict.LATE:
                    assert request.due is not None
                    late = line.stamp - request.due
            assert told.producer == f"p{who}"
            assert told.verdict is line.word
            assert told.standing is standing
            begun, instrument, at_line = until if began is None else began, None, None
            came = begun if line.came is None else line.came
            if line.came is not None and worker.needs:
                instrument = (begun if line.taken is None else line.taken) - came
            if line.lined is not None:
                at_line = begun - line.lined
            assert same(told.waited_ms, came - request.sent)
            assert same(told.instrument_ms, instrument)
            assert same(told.line_ms, at_line)
            assert same(told.ran_ms, None if began is None else until - began)
            assert same(told.late_ms, late)

    # -- members --------------------------------------------------------------------------------

    def comes_by(self, who: int, engine: int) -> None:
        """What has ended before it began will not be executed: some of it at a time."""
        worker, ledger = self.workers[who], self.ledgers[engine]
        owed, worker.owed[engine] = worker.owed[engine], []
        limit = 1 + self.now % 3
        found = []
        while True:
            some = ledger.come_to(self.members[who], ledger, limit)
            assert len(some) <= limit
            found += some
            assert len(found) <= len(owed)
            if len(some) < limit:
                break
        assert [each.id for each in found] == [request.real.id for request in owed]
        assert {each.member for each in found} <= {self.members[who]}
        for request in owed:
            request.lines[who].outcome = Verdict.SKIPPED
            self.check_report(request)

    def take(self, who: int) -> None:
        """An idle worker goes through its mailbox until something may begin."""
        worker, member = self.workers[who], self.members[who]
        self.comes_by(who, 0)
        while worker.mailbox:
            request = worker.mailbox.pop(0)
            if request.engine:
                self.comes_by(who, 1)
            if not request.open:
                continue
            careful = worker.needs or request.lines_up
            if careful and request.ended_by_time(self.now) is None:
                self.comes(who, request)
                return
            if not careful and not request.overdue(self.now):
                worker.running, worker.began = request, self.now
                ledger = self.ledgers[request.engine]
                assert ledger.began(request.real, member, instant(self.now)) == 0
                self.check_report(request)
                return
            effects = self.ledgers[request.engine].expired(request.real, instant(self.now))
            self.check(request, effects, self.time_ends(request))
            self.comes_by(who, request.engine)

    def answer(self, who: int, error: Optional[BaseException]) -> None:
        """A busy worker comes back."""
        worker, member = self.workers[who], self.members[who]
        # After the end, what it runs may be less than the real.
        request, running = worker.running, member.running
        assert request is not None
        assert running is not None
        assert running.id == request.real.id
        value = None if error else (who, self.now)
        line, expected = request.lines[who], self.time_ends(request)
        asks = request.open and isinstance(request.policy, Policy) and untils(request.policy)
        if request.open:
            request.last = self.now
            request.asking += bool(asks)
            line.began = worker.began
            request.answers.append(Answer(who, value, error, worker.began, self.now))
            if error is None:
                expected = ACCEPTED | self.judge(request, who, Verdict.OK)
            else:
                expected = FAILED | self.judge(request, who, Verdict.ERROR)
        else:
            expected |= DISCARDED
            line.began, line.stamp = worker.began, self.now
            line.outcome = Verdict.LATE if request.overdue(self.now) else Verdict.SURPLUS
        effects = self.ledgers[request.engine].replied(
            running, member, value, error, instant(self.now)
        )
        worker.running = None
        assert member.running is None
        self.check(request, effects, expected)
        assert bool(effects & ASK) == bool(asks and request.open)

    def streams(self, who: int, ends: bool) -> None:
        """A busy worker yields a value, or comes to the end of its stream."""
        worker, member = self.workers[who], self.members[who]
        request, running = worker.running, member.running
        assert request is not None
        assert running is not None
        line, expected = request.lines[who], self.time_ends(request)
        asks = False
        if request.open:
            asks = bool(untils(request.policy))
            request.last = self.now
            request.asking += asks
            value = None if ends else (who, self.now)
            kind = Close if ends else Part
            request.answers.append(Answer(who, value, None, worker.began, self.now, kind))
            if ends:
                line.began = worker.began
                expected = self.judge(request, who, Verdict.OK)
            else:
                expected = ACCEPTED | (0 if request.policy is None else self.evaluate(request))
        elif ends:
            expected |= DISCARDED
            line.began, line.stamp = worker.began, self.now
            line.outcome = Verdict.LATE if request.overdue(self.now) else Verdict.SURPLUS
        ledger, now = self.ledgers[request.engine], instant(self.now)
        if ends:
            effects = ledger.finished(running, member, now)
            worker.running = None
            assert member.running is None
        else:
            effects = ledger.streamed(running, member, (who, self.now), now)
        self.check(request, effects, expected)
        assert bool(effects & ASK) == bool(asks and request.open)

    def thread_ends(self, who: int) -> None:
        """Only that: its mailbox is seen to a little later."""
        self.workers[who].standing = self.members[who].standing = Standing.DEAD

    def dies_in_it(self, who: int) -> None:
        """In the middle of a request, which will not be answered."""
        worker, member = self.workers[who], self.members[who]
        request, running = worker.running, member.running
        assert request is not None
        assert running is not None
        self.thread_ends(who)
        worker.running = None
        expected = self.time_ends(request)
        if request.open:
            request.lines[who].standing = Standing.DEAD
            expected = NOTED | self.judge(request, who, Verdict.MISSING)
        effects = self.ledgers[request.engine].died(running, member, instant(self.now))
        member.running = None
        self.check(request, effects, expected)

    def bury(self, who: int) -> None:
        """What waited when the thread ended finds it dead; what came later, nobody to ask."""
        worker, member = self.workers[who], self.members[who]
        left, worker.mailbox = worker.mailbox, []
        for request in left:
            expected = self.time_ends(request)
            if request.open and worker.buried:
                expected = NOTED | self.judge(request, who, Verdict.DECLINED)
            elif request.open:
                request.lines[who].standing = Standing.DEAD
                expected = NOTED | self.judge(request, who, Verdict.MISSING)
            ledger = self.ledgers[request.engine]
            fact = ledger.declined if worker.buried else ledger.died
            self.check(request, fact(request.real, member, instant(self.now)), expected)
        worker.buried = True
        self.comes_by(who, 0)

    @precondition(lambda self: self.those(lambda w: w.running or (w.idle and w.mailbox)))
    @rule(
        steps=STEPS,
        work=st.lists(st.tuples(ANYTHING, st.sampled_from(DEEDS)), min_size=1),
    )
    def work(self, steps: int, work: List[Tuple[int, Optional[BaseException]]]) -> None:
        """Some workers go on: who is busy answers, who is idle takes what is next."""
        for choice, error in work[:5]:
            able = self.those(lambda w: w.running or (w.idle and w.mailbox) or waits_first(w))
            if able:
                who = one_of(able, choice)
                if self.workers[who].held:
                    self.goes_on(who)
                    self.now += steps
                elif self.workers[who].running and isinstance(error, StopIteration):
                    self.streams(who, ends=bool(error.value))
                elif self.workers[who].running:
                    self.answer(who, error)
                else:
                    self.take(who)
                    self.now += steps

    @rule(choice=ANYTHING)
    def life_goes_on(self, choice: int) -> None:
        """Who has not started starts; of two that live one may end; who ended is buried."""
        whose_turn = self.those(lambda w: w.standing is not Standing.DEAD or w.mailbox)
        who = one_of(whose_turn or [0], choice)
        worker = self.workers[who]
        if worker.standing is Standing.NOT_STARTED:
            worker.standing = self.members[who].standing = Standing.QUEUED
        elif worker.standing is Standing.DEAD:
            self.bury(who)
        elif worker.idle and len(self.those(lambda w: w.idle)) > 1:
            self.thread_ends(who)
        elif worker.running and choice > 9 and len(self.those(lambda w: w.idle)) > 1:
            self.dies_in_it(who)

    @rule(choice=ANYTHING, engine=ENGINE)
    def is_swept(self, choice: int, engine: int) -> None:
        """What has ended is cleared out of a mailbox before the worker comes to it."""
        who = choice % len(self.workers)
        mailbox = self.workers[who].mailbox
        mailbox[:] = [request for request in mailbox if request.open]
        self.comes_by(who, engine)

    @precondition(lambda self: self.those(lambda w: w.mailbox and not w.buried))
    @rule(choice=ANYTHING, engine=ENGINE, often=RARELY)
    def is_withdrawn(self, choice: int, engine: int, often: bool) -> None:
        """What is open in a mailbox is taken out of it, for good."""
        if not often:
            return
        who = one_of(self.those(lambda w: w.mailbox and not w.buried), choice)
        mailbox = self.workers[who].mailbox
        taken = [request for request in mailbox if request.open and request.engine == engine]
        mailbox[:] = [request for request in mailbox if request not in taken]
        for request in taken:
            self.is_spared(who, request)

    def is_spared(self, who: int, request: Case) -> None:
        """It is in its mailbox no more."""
        expected = self.time_ends(request)
        if request.open:
            expected = NOTED | self.judge(request, who, Verdict.WITHDRAWN)
        effects = self.ledgers[request.engine].withdrawn(
            request.real, self.members[who], instant(self.now)
        )
        self.check(request, effects, expected)

    # -- requests -------------------------------------------------------------------------------

    @rule(
        engine=ENGINE,
        asked=st.lists(st.tuples(ROSTER, TTL, st.booleans(), NEED), min_size=1, max_size=4),
        line=ANYTHING,
    )
    def send(
        self, engine: int, asked: List[Tuple[List[int], Optional[int], bool, int]], line: int
    ) -> None:
        for number, (roster, ttl, watched, need) in enumerate(asked):
            policy, after = one_of(self.needs, need), one_of(self.lines, line + number)
            members = tuple(sorted({who % len(self.workers) for who in roster}))
            due = None if ttl is None else self.now + ttl
            if policy is not None and not self.possible(engine, policy, members, due):
                continue
            self.send_one(engine, members, due, policy, after)
            if watched and len(asked) > 2:
                self.have_watched(self.requests[-1])

    def possible(
        self, engine: int, policy: Policy, roster: Tuple[int, ...], due: Optional[int]
    ) -> bool:
        """Whether it can be met at all; if not it is over at the send, and says so."""
        hopeless = Case(engine, roster, self.now, due).says(policy, self.now)
        assert hopeless in (None, Completion.IMPOSSIBLE)
        real = self.make_request(engine, 0, roster, due)
        assert Options(policy).prepare(real) is hopeless
        assert real.completion is None
        return hopeless is None

    def send_one(
        self,
        engine: int,
        roster: Tuple[int, ...],
        due: Optional[int],
        policy: Optional[Policy] = None,
        after: Optional[float] = None,
    ) -> None:
        request = Case(engine, roster, self.now, due)
        request.real = self.make_request(engine, len(self.requests) + 1, roster, due)
        request.policy = policy
        if after is not None:
            request.lines_up, request.alarm = True, self.now + after
        options = Options(policy, after=None if after is None else after / 10)
        assert options.prepare(request.real) is None
        self.requests.append(request)
        self.ledgers[engine].arrivals.append(request.real)
        for who in roster:
            self.workers[who].mailbox.append(request)

    def make_request(
        self, engine: int, number: int, roster: Sequence[int], due: Optional[int]
    ) -> Request:
        members = tuple(self.members[who] for who in roster)
        deadline = NEVER if due is None else instant(due)
        sent = instant(self.now)
        ledger = self.ledgers[engine]
        return Request.of(ledger, number, "t", None, members, sent, deadline, ("t",), None)

    @precondition(lambda self: self.those(lambda w: w.idle and not w.mailbox))
    @rule(
        engine=ENGINE,
        roster=ROSTER,
        watched=st.booleans(),
        told=st.booleans(),
        need=NEED,
        error=st.sampled_from([None, None, KeyError()]),
    )
    def send_on_a_quiet_day(
        self,
        engine: int,
        roster: List[int],
        watched: bool,
        told: bool,
        need: int,
        error: Optional[BaseException],
    ) -> None:
        """Everybody has time, and a value, at once; or the first of them an error."""
        policy = one_of(self.needs, need)
        ready = self.those(lambda w: w.idle and not w.mailbox)
        members = tuple(sorted({one_of(ready, who) for who in roster}))
        if policy is not None and not self.possible(engine, policy, members, self.now):
            return
        self.send_one(engine, members, self.now, policy)
        if watched:
            self.have_watched(self.requests[-1])
        if told:
            self.is_told_of(self.requests[-1])
        for who in members:
            self.take(who)
            if self.workers[who].running:
                self.answer(who, error if who == members[0] else None)

    def have_watched(self, request: Case) -> None:
        """Somebody wants to be called when it is done."""
        request.real.more().calls(instant)
        request.watched = True

    @rule(engine=ENGINE)
    def sent_in_vain(self, engine: int) -> None:
        """One finds nobody."""
        ledger = self.ledgers[engine]
        assert ledger.nobody(self.make_request(engine, 0, (), None)) & TOLD == ENDED
        self.sent_to_nobody[engine] += 1

    @precondition(lambda self: self.requests)
    @rule(choice=ANYTHING)
    def cancel(self, choice: int) -> None:
        """What somebody is at, or one of the younger requests, open or not."""
        running = [worker.running for worker in self.workers if worker.running]
        request = one_of([*running, *self.requests[-9:]], choice)
        expected = self.time_ends(request)
        if request.open:
            expected = self.end(request, Completion.CANCELLED)
        ledger = self.ledgers[request.engine]
        if choice % 2 and request.real.completion is None and request.real.cell is None:
            # As a control loop does it that did not know it yet.
            request.kept = True
            ledger.open.keep(request.real)
        effects = ledger.cancelled(request.real, instant(self.now))
        self.check(request, effects, expected)

    @precondition(lambda self: any(request.real.cell is None for request in self.requests))
    @rule(choice=ANYTHING)
    def keep(self, choice: int) -> None:
        """Its sender has told of it, and so it is taken in where it stands."""
        request = one_of([r for r in self.requests if r.real.cell is None], choice)
        if request.open:
            self.is_told_of(request)

    def is_told_of(self, request: Case) -> None:
        request.kept = True
        self.ledgers[request.engine].open.keep(request.real)

    @precondition(lambda self: any(request.asking for request in self.requests))
    @rule(choice=ANYTHING, yes=st.lists(st.booleans(), min_size=2, max_size=2), raises=RARELY)
    def predicates_answer(self, choice: int, yes: List[bool], raises: bool) -> None:
        """Somebody comes back from asking them, perhaps long after; or one has raised."""
        request = one_of([request for request in self.requests if request.asking], choice)
        request.asking -= 1
        asked = untils(request.policy)
        agreed = [] if raises else [until for until, said in zip(asked, yes) if said]
        error = ValueError() if raises else None
        was_open, expected = request.open, self.time_ends(request)
        if request.open:
            request.agreed += agreed
            if raises:
                expected = self.end(request, Completion.IMPOSSIBLE)
            else:
                expected = self.evaluate(request)
        effects = self.ledgers[request.engine].agreed(
            request.real, agreed, error, instant(self.now)
        )
        if was_open:
            self.check(request, effects, expected)
        else:
            assert effects == 0

    # -- time and stop --------------------------------------------------------------------------

    @rule(steps=STEPS)
    def time_goes_by(self, steps: int) -> None:
        self.now += 1 + steps

    @rule(engine=ENGINE, steps=STEPS, budget=st.sampled_from([PLENTY, 1, 2, 5]))
    def expire(self, engine: int, steps: int, budget: int) -> None:
        """What is due ends, all of it and nothing else, in the order of instants."""
        self.now += steps
        self.expired(engine, budget)

    def expired(self, engine: int, budget: int) -> None:
        ledger = self.ledgers[engine]
        self.all_is_gathered(ledger)
        told, more = ledger.time_passed(instant(self.now), budget)
        # A request costs as many as it has members, and one.
        assert sum(1 + len(real.roster) for real, _ in told[:-1]) < budget
        plain: List[Tuple[int, int]] = []
        idle: List[int] = []
        for real, effects in told:
            request = self.find(real)
            assert request.open
            lined, expected = request.lines_up, self.time_ends(request)
            if lined and not expected and real.line is None:
                assert self.later(request.alarm)
                expected = self.start(request)
            elif not expected:
                # It had a reason to be looked at, and was not quiet.
                assert request.policy is not None
                idle.append(real.id)
            if not request.open and request.due is not None:
                assert all(due <= request.due for due, _ in plain)
            if request.policy is None and request.alarm is None:
                assert request.due is not None
                plain.append((request.due, real.id))
            self.check(request, effects, expected)
        assert plain == sorted(plain)
        # None is looked at twice in vain.
        assert len(set(idle)) == len(idle)
        if not more:
            for request in self.open_at(engine):
                assert request.ended_by_time(self.now) is None
                assert not (request.lines_up and self.later(request.alarm))

    def all_is_gathered(self, ledger: Ledger) -> None:
        while ledger.arrivals:
            assert all(real.completion for real in ledger.open.gather())
        ledger.open.gather()
        assert not ledger.open.stale

    def later(self, alarm: Optional[float]) -> bool:
        return alarm is not None and alarm < self.now

    @precondition(lambda self: sum(request.open for request in self.requests) > 4)
    @rule(engine=ENGINE, at_once=st.booleans(), budget=st.sampled_from([1, 5, PLENTY]))
    def stop(self, engine: int, at_once: bool, budget: int) -> None:
        """What was taken in ends, some of it at a time, in the order of sending."""
        ledger = self.ledgers[engine]
        if budget != 5:
            self.all_is_gathered(ledger)
        still_open = [r for r in self.open_at(engine) if r.real.cell is not None]
        told, more = ledger.stopped(instant(self.now), at_once, budget)
        costs = [1 + len(real.roster) for real, _ in told]
        assert more or sum(costs) < budget
        assert more or len(told) == len(still_open)
        assert not told or sum(costs) - max(costs) < budget
        assert [real.id for real, _ in told] == sorted({real.id for real, _ in told})
        for real, effects in told:
            request = self.find(real)
            assert request in still_open
            assert request.open
            self.check(request, effects, self.end(request, Completion.STOPPED, at_once))

    @rule(engine=ENGINE, limit=st.integers(1, 3), all_of_them=st.booleans())
    def gather(self, engine: int, limit: int, all_of_them: bool) -> None:
        """Once all are gathered, it is known which instant is next."""
        ledger, still_open = self.ledgers[engine], self.open_at(engine)
        if not all_of_them:
            before = list(ledger.arrivals)
            over = ledger.open.gather(limit)
            expected = [real for real in before[:limit] if real.completion is not None]
            assert [real for real in over if real in before] == expected
            # Those that the end of another has met among the arrivals come out as well.
            assert all(real.completion for real in over)
            assert list(ledger.arrivals) == before[limit:]
            return
        self.all_is_gathered(ledger)
        assert kept(ledger.open) == len(still_open)
        deadlines = [NEVER if r.due is None else instant(r.due) for r in still_open]
        first = next_instant(ledger.open)
        for request in still_open:
            alarm = request.alarm if request.lines_up else None
            if alarm not in (None, NEVER) and (request.due is None or alarm < request.due):
                assert first <= 1000 + alarm / 10 + 1e-9
        if any(r.policy is not None or r.lines_up for r in still_open):
            # Quiet may end one sooner: not later than it does, and never so that it is forgotten.
            assert first <= min(deadlines)
            for request in still_open:
                if request.ended_by_time(self.now) is None:
                    for later in range(self.now, self.now + 8):
                        if request.ended_by_time(later) is not None:
                            assert first < instant(later)
        else:
            assert first == min(deadlines, default=NEVER)
        assert kept(ledger.open) == len(still_open)

    # -- what cannot be -------------------------------------------------------------------------

    @precondition(lambda self: self.requests)
    @rule(
        choice=ANYTHING,
        who=ANYTHING,
        what=st.sampled_from(["answers", "is judged", "begins", "lines up", "agrees"]),
        how=ANYTHING,
    )
    def says_what_cannot_be(self, choice: int, who: int, what: str, how: int) -> None:
        """Somebody answers that is not in it, or gets a second verdict, and the like."""
        who %= len(self.workers)
        requests = [r for r in self.requests if r.lines_up] if what == "lines up" else []
        request = one_of(requests or self.requests[-9:], choice)
        fact = {
            "answers": self.answers,
            "is judged": self.is_judged,
            "begins": self.begins,
            "lines up": self.lines_up,
            "agrees": self.agrees,
        }[what](request, who, how)
        if fact is None:
            return
        ledger = self.ledgers[request.engine]
        known = [each.real for each in (request, *self.requests[-3:])]
        before, refused = everything(ledger, *known), ledger.refused
        assert fact(ledger, request.real, instant(self.now)) == REFUSED
        assert everything(ledger, *known) == before
        assert ledger.refused == refused + 1

    def is_timely(self, request: Case) -> bool:
        return request.open and request.ended_by_time(self.now) is None

    def is_spoken_for(self, request: Case, who: int) -> bool:
        """Whether it has a verdict, or is not asked at all."""
        return who not in request.lines or request.lines[who].verdict is not None

    def answers(self, request: Case, who: int, how: int) -> Optional[Fact]:
        """A second time, or without having begun, or while it is in another one."""
        if self.workers[who].running is request and request.open:
            return None
        member = self.members[who]
        facts: List[Fact] = [
            lambda ledger, real, now: ledger.replied(real, member, "again", None, now),
            lambda ledger, real, now: ledger.replied(real, member, None, ValueError(), now),
            lambda ledger, real, now: ledger.streamed(real, member, "again", now),
            lambda ledger, real, now: ledger.finished(real, member, now),
        ]
        return one_of(facts, how)

    def is_judged(self, request: Case, who: int, how: int) -> Optional[Fact]:
        """Although it has a verdict, or nobody waits for it, or it is at work."""
        member, fact = self.members[who], one_of(VERDICTS, how)
        at_work = self.workers[who].running is request and fact is not Ledger.died
        if not self.is_timely(request) or not (at_work or self.is_spoken_for(request, who)):
            return None
        return lambda ledger, real, now: fact(ledger, real, member, now)

    def begins(self, request: Case, who: int, how: int) -> Optional[Fact]:
        """What is over, or was answered."""
        if request.open and not self.is_spoken_for(request, who):
            return None
        return lambda ledger, real, now: ledger.began(real, self.members[who], now)

    def lines_up(self, request: Case, who: int, how: int) -> Optional[Fact]:
        """Once more, or where there is no line, or although it was withdrawn."""
        member = self.members[who]
        claim = Claim(request.real, member, instant(self.now))
        if not self.is_timely(request):
            return None
        if request.lines_up and not self.is_spoken_for(request, who):
            if self.workers[who].held is not request or not self.workers[who].at_line:
                return None
            assert member.claim is not None
            claim = member.claim
        return lambda ledger, real, now: ledger.lined_up(real, claim, now)

    def agrees(self, request: Case, who: int, how: int) -> Optional[Fact]:
        """Nobody was asked."""
        if not self.is_timely(request) or request.policy is not None:
            return None
        error = ValueError() if how % 2 else None
        return lambda ledger, real, now: ledger.agreed(real, [], error, now)

    # -- always ---------------------------------------------------------------------------------

    @rule()
    def look_back(self) -> None:
        """Nothing has changed but what is said to; the reports at the end never do."""
        for request in self.requests:
            self.check_report(request)
            self.check_answers(request)
            if not request.open:
                report = report_of(request.real, instant(self.now), at_the_end=True)
                assert report == request.report_at_its_end

    @invariant()
    def the_books_are_in_order(self) -> None:
        for ledger in self.ledgers:
            ledger.check()

    @invariant()
    def it_adds_up(self) -> None:
        for engine, ledger in enumerate(self.ledgers):
            requests = [request for request in self.requests if request.engine == engine]
            still_open = [request for request in requests if request.open]
            sums = ledger.sums.shown(ledger.open.all())
            assert sums.fan_out == sum(sums.verdicts.values()) + sums.pending
            assert sums.fan_out == sum(len(request.roster) for request in requests)
            assert sums.pending == sum(request.pending for request in still_open)
            words = Counter(line.word for request in requests for line in request.lines.values())
            assert sums.verdicts == {verdict: words[verdict] for verdict in Verdict}
            ends = Counter(request.completion for request in requests)
            ends[Completion.NO_PRODUCERS] += self.sent_to_nobody[engine]
            assert sums.completions == {completion: ends[completion] for completion in Completion}
            assert sums.requests == len(requests) + self.sent_to_nobody[engine]
            assert sums.open == len(still_open)
            left = sorted(real.id for real in ledger.open.all())
            assert left == [request.real.id for request in still_open]
            taken_in = [request for request in still_open if request.real.cell is not None]
            assert kept(ledger.open) == len(taken_in)
            arrived = [self.find(real) for real in ledger.arrivals]
            assert {id(r) for r in still_open} <= {id(r) for r in (*taken_in, *arrived)}
            # Who ends one and leaves it there says so.
            over = [request for request in arrived if not request.open and not request.kept]
            assert ledger.open.stale or not over
            for request in still_open:
                real = request.real
                assert (real.completion, real.left) == (None, request.pending)
                assert (real.line is not None) == request.lines_up


class NeedyEngines(Engines):
    """The same with requests under policies."""

    needs = NEEDS

    @precondition(lambda self: len(self.those(lambda w: w.idle and not w.mailbox)) > 1)
    @rule(
        engine=ENGINE,
        need=NEED,
        ttl=st.sampled_from([None, None, 5, 3]),
        waits=st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=2),
        then=st.lists(st.sampled_from(["answer", "look", "wait"]), min_size=2, max_size=2),
        error=st.sampled_from([None, None, KeyError()]),
    )
    def hear_one_and_wait(
        self,
        engine: int,
        need: int,
        ttl: Optional[int],
        waits: List[int],
        then: List[str],
        error: Optional[BaseException],
    ) -> None:
        """One of them answers; then for a while nobody does, or another one."""
        ready = self.those(lambda w: w.idle and not w.mailbox)
        policy, due = one_of(QUIET, need), None if ttl is None else self.now + ttl
        if not self.possible(engine, policy, tuple(ready), due):
            return
        self.send_one(engine, tuple(ready), due, policy)
        for who in ready:
            self.take(who)
            if waits_first(self.workers[who]):
                self.goes_on(who)
        self.answer(ready[0], error)
        for wait, what, who in zip(waits, then, ready[1:]):
            self.now += wait
            if what == "answer" and self.workers[who].running:
                self.answer(who, None)
            elif what == "look":
                self.expired(engine, PLENTY)


class LinedEngines(NeedyEngines):
    """And with start lines, and producers that wait for instruments."""

    lines = (None, NEVER, 1.5, NEVER, None, 0.5, 3.5)
    instruments = (False, True)

    @precondition(lambda self: len(self.those(lambda w: w.idle and not w.mailbox)) > 1)
    @rule(
        engine=ENGINE,
        need=NEED,
        ttl=st.sampled_from([None, None, 5, 3]),
        after=st.sampled_from([NEVER, NEVER, 1.5, 2.5]),
        missing=RARELY,
        steps=st.lists(st.sampled_from([0, 0, 1, 2]), min_size=4, max_size=4),
        then=st.sampled_from(
            ["answer", "answer", "withdraw", "cancel", "look", "stream", "spare", "spare"]
        ),
    )
    def meet_at_a_line(
        self,
        engine: int,
        need: int,
        ttl: Optional[int],
        after: float,
        missing: bool,
        steps: List[int],
        then: str,
    ) -> None:
        """Those who have time come to one line, one after the other, all but one perhaps."""
        ready = self.those(lambda w: w.idle and not w.mailbox)
        policy, due = one_of(self.needs, need), None if ttl is None else self.now + ttl
        if policy is not None and not self.possible(engine, policy, tuple(ready), due):
            return
        self.send_one(engine, tuple(ready), due, policy, after)
        request = self.requests[-1]
        # Perhaps the first of them shall not come at all, when all others are there.
        missing = missing or then == "spare"
        for who, wait in zip(ready[1:] if missing else ready, steps):
            self.take(who)
            if waits_first(self.workers[who]):
                self.goes_on(who)
            self.now += wait
            if after != NEVER and wait:
                self.expired(engine, PLENTY)
        if then == "withdraw" and self.workers[ready[-1]].held:
            self.is_withdrawn_where_it_waits(self.those(lambda w: w.held).index(ready[-1]))
        elif then == "look":
            self.expired(engine, PLENTY)
        elif then == "spare" and request.open:
            self.workers[ready[0]].mailbox.remove(request)
            self.is_spared(ready[0], request)
        elif then == "cancel" and request.open:
            effects = self.ledgers[engine].cancelled(request.real, instant(self.now))
            expected = self.time_ends(request)
            self.check(request, effects, expected or self.end(request, Completion.CANCELLED))
        for who in ready:
            if self.workers[who].running is request:
                if then == "stream":
                    self.streams(who, ends=False)
                self.answer(who, None)


def waits_first(worker: Busy) -> bool:
    """Whether it waits for an instrument."""
    return worker.held is not None and not worker.at_line


def untils(policy: Optional[Policy]) -> List[Until]:
    """The predicates in a policy."""
    return [] if policy is None else [leaf for leaf in policy.leaves() if isinstance(leaf, Until)]


def one_of(some: Sequence[T], choice: int) -> T:
    """Always one of them, so that no example is thrown away."""
    return some[choice % len(some)]


def same(milliseconds: Optional[float], steps: Optional[int]) -> bool:
    """Whether a time of the report is that many steps of the grid."""
    if milliseconds is None or steps is None:
        return milliseconds is None and steps is None
    return abs(milliseconds - steps * 100) < 1e-6


# Nothing but arithmetic: the same on every Python.
pytestmark = pytest.mark.thorough

TestPoliciesAgainstTheirModel = NeedyEngines.TestCase
TestTheLedgerAgainstItsModel = Engines.TestCase
TestStartLinesAgainstTheirModel = LinedEngines.TestCase
TestTheLedgerAgainstItsModel.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    # To explain a failure takes longer than to find it, and longer than a test may take.
    phases=[phase for phase in settings().phases if phase is not Phase.explain],
)
TestPoliciesAgainstTheirModel.settings = TestTheLedgerAgainstItsModel.settings
# Rare is who waits for an instrument and then at the line.
TestStartLinesAgainstTheirModel.settings = settings(
    TestTheLedgerAgainstItsModel.settings, max_examples=300
)
