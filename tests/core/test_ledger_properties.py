"""The ledger against a model of it, written from the contract's table and in both directions.

The model is dicts and lists and no cleverness. It says what the ledger must answer to every fact,
and after every step what the sums must be. The machine around both does what desks do: it keeps
the mailboxes, and says who runs what since when.

Time is a grid of floats; ttls are a few steps on it and so are ticks: stamps meet deadlines often.
``test_mutants.py`` checks that all this bites.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from inside import NEVER, Options

from ate_dispatcher._core import ledger as _ledger
from ate_dispatcher._core.effects import (
    ABSENT,
    ACCEPTED,
    ASK,
    DISCARDED,
    ENDED,
    FAILED,
    NOTED,
    ORDINARY,
    STARTED,
)
from ate_dispatcher._core.ledger import Ledger
from ate_dispatcher._core.member import Member, Start, Turn
from ate_dispatcher._core.outcomes import Completion, Standing, Verdict
from ate_dispatcher._core.records import BEGAN, ERROR, MEMBER, PREVIOUS, STAMP, VALUE, Close, Part
from ate_dispatcher._core.report import report_of
from ate_dispatcher._core.request import Entry
from ate_dispatcher._core.statistics import statistics_of
from ate_dispatcher.policies import AllOf, AnyOf, First, Policy, Quorum, Stall, StopOnError, Until

TOLD = ACCEPTED | FAILED | ENDED | ABSENT | DISCARDED | NOTED | STARTED
NOT_BEGUN = (Standing.QUEUED, Standing.NOT_STARTED)

T = TypeVar("T")


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


class Request:
    """The model's request: the members by their numbers, a line on each, what was accepted."""

    def __init__(self, desk: int, roster: Sequence[int], sent: int, due: Optional[int]) -> None:
        self.desk = desk
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
        self.entry: Any = None
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


class Worker:
    """The model's member: where it stands, what waits for it, what it runs since when."""

    def __init__(self, number: int, standing: Standing) -> None:
        self.number = number
        self.standing = standing
        self.mailbox: List[Request] = []
        self.buried = standing is Standing.DEAD
        self.running: Optional[Request] = None
        self.began = 0
        #: What it has come to and not begun.
        self.held: Optional[Request] = None
        self.needs = False
        #: What ended before it began and is MISSING, by desk.
        self.owed: Dict[int, List[Request]] = {0: [], 1: []}

    @property
    def at_line(self) -> bool:
        return self.held is not None and self.held.lines[self.number].lined is not None

    @property
    def idle(self) -> bool:
        return self.standing is Standing.QUEUED and self.running is None and self.held is None


HOME, AWAY = 0, 1
"""All members are at home at the first desk, and guests at the other."""

DESK = st.sampled_from([HOME, HOME, HOME, AWAY])
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


class Desks(RuleBasedStateMachine):
    """Two ledgers that share their producers, beside the model of them."""

    needs: Sequence[Optional[Policy]] = [None]
    lines: Sequence[Optional[float]] = [None]
    """Of start lines: after how many steps they start without the others."""
    instruments: Sequence[bool] = [False]
    """Who needs any, in turns."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.ledgers = (Ledger(), Ledger())
        self.requests: List[Request] = []
        self.workers: List[Worker] = []
        self.members: List[Member] = []
        self.sent_to_nobody = [0, 0]
        # So that few requests suffice for it to rebuild its heap. Fails if it is renamed.
        self.usual_many = _ledger._MANY
        _ledger._MANY = 1

    def teardown(self) -> None:
        _ledger._MANY = self.usual_many

    @initialize(standings=st.lists(st.sampled_from(STANDINGS), min_size=3, max_size=4))
    def meet(self, standings: List[Standing]) -> None:
        for number, standing in enumerate(standings):
            self.workers.append(Worker(number, standing))
            needs = one_of(self.instruments, number)
            self.workers[-1].needs = needs
            self.members.append(Member(Someone(f"p{number}"), None, ("psu",) if needs else ()))
            self.members[-1].standing = standing

    def those(self, fits: Callable[[Worker], Any]) -> List[int]:
        return [who for who, worker in enumerate(self.workers) if fits(worker)]

    def open_at(self, desk: int) -> List[Request]:
        return [request for request in self.requests if request.open and request.desk == desk]

    def find(self, entry: Entry) -> Request:
        return next(request for request in self.requests if request.entry is entry)

    # -- the model's table ----------------------------------------------------------------------

    def judge(self, request: Request, who: int, verdict: Verdict) -> int:
        """A verdict while the request is open; which effects it has if it was the last."""
        line = request.lines[who]
        line.verdict, line.stamp = verdict, self.now
        if request.policy is not None:
            effects = self.weigh(request)
        elif request.pending:
            effects = 0
        else:
            effects = self.end(request, Completion.ALL_REPLIED)
        return effects if effects & ENDED else effects | self.start_if_all_are_there(request)

    # -- start lines ----------------------------------------------------------------------------

    def start_if_all_are_there(self, request: Request) -> int:
        waited_for = [line for line in request.lines.values() if line.verdict is None]
        if request.lines_up and all(line.lined is not None for line in waited_for):
            return self.start(request)
        return 0

    def start(self, request: Request) -> int:
        """Whoever is at the line runs."""
        request.lines_up = False
        for who, line in request.lines.items():
            worker, member = self.workers[who], self.members[who]
            if worker.held is request and line.lined is not None:
                worker.held, worker.running, worker.began = None, request, self.now
                member.turn = None
        return STARTED

    def let_go(self, request: Request, who: int) -> None:
        if self.workers[who].held is request:
            self.workers[who].held = self.members[who].turn = None

    def comes(self, who: int, request: Request) -> None:
        """It cannot begin at once: it waits for an instrument, or at the start line."""
        worker, member = self.workers[who], self.members[who]
        worker.held, request.lines[who].came = request, self.now
        member.turn = Turn(request.entry, member, instant(self.now))
        if worker.needs:
            self.check_report(request)
        else:
            self.goes_on(who)

    def goes_on(self, who: int) -> None:
        """It has what it needs: to the start line, or to work."""
        worker, member = self.workers[who], self.members[who]
        request, turn = worker.held, member.turn
        assert request is not None
        assert turn is not None
        line, ledger, now = request.lines[who], self.ledgers[request.desk], instant(self.now)
        turn.taken, line.taken = now, self.now
        was_open, expected = request.open, self.time_ends(request)
        if request.lines_up and request.open:
            line.lined = self.now
            expected = self.start_if_all_are_there(request)
            effects = ledger.lined_up(request.entry, turn, now)
        elif request.lines_up:
            effects = ledger.lined_up(request.entry, turn, now)
        else:
            effects = ledger.expired(request.entry, now)
            if request.open:
                worker.held, worker.running, worker.began = None, request, self.now
                member.turn, member.running = None, request.entry
                member.began = Start(now, turn.spent(now))
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
        effects = self.ledgers[request.desk].withdrawn(
            request.entry, self.members[who], instant(self.now)
        )
        self.members[who].turn = None
        self.check(request, effects, expected)

    def weigh(self, request: Request) -> int:
        assert request.policy is not None
        completion = request.says(request.policy, self.now)
        return 0 if completion is None else self.end(request, completion)

    def time_ends(self, request: Request) -> int:
        """What time has ended is ended, before anything else is said of it."""
        completion = request.ended_by_time(self.now) if request.open else None
        return 0 if completion is None else self.end(request, completion)

    def end(self, request: Request, completion: Completion, at_once: bool = False) -> int:
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
                    worker.owed[request.desk].append(request)
        request.completion = completion
        request.ended = self.now
        request.lines_up = False
        return effects

    # -- comparing ------------------------------------------------------------------------------

    def check(self, request: Request, effects: int, expected: int) -> None:
        """The ledger answered as the model did, and the entry says the same."""
        assert effects & TOLD == expected
        entry = request.entry
        if expected & ENDED:
            # What its desk does then.
            for who in request.roster:
                self.let_go(request, who)
        if expected & (ACCEPTED | FAILED):
            self.check_answers(request)
        if expected & NOTED:
            assert entry.notes[-1].stamp == instant(self.now)
        if expected & ENDED:
            assert entry.ended == instant(request.ended)
            words = {line.verdict for line in request.lines.values()}
            if request.watched or words != {Verdict.OK}:
                assert effects > ORDINARY
            request.report_at_its_end = report_of(entry, instant(self.now), at_the_end=True)
        self.check_report(request)

    def check_answers(self, request: Request) -> None:
        record = request.entry.chain
        for answer in reversed(request.answers):
            assert record[MEMBER] is self.members[answer.who]
            assert (record[VALUE], record[ERROR]) == (answer.value, answer.error)
            assert (record[BEGAN], record[STAMP]) == (instant(answer.began), instant(answer.stamp))
            assert record.__class__ is answer.kind
            record = record[PREVIOUS]
        assert record is None

    def check_report(self, request: Request) -> None:
        report = report_of(request.entry, instant(self.now))
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

    def turn_comes(self, who: int, desk: int) -> None:
        worker = self.workers[who]
        owed, worker.owed[desk] = worker.owed[desk], []
        notes = self.ledgers[desk].its_turn(self.members[who], self.ledgers[desk])
        assert sorted(note.id for note in notes) == sorted(r.entry.id for r in owed)
        assert {note.member for note in notes} <= {self.members[who]}
        for request in owed:
            request.lines[who].outcome = Verdict.SKIPPED
            self.check_report(request)

    def take(self, who: int) -> None:
        """An idle worker goes through its mailbox until something may begin."""
        worker, member = self.workers[who], self.members[who]
        self.turn_comes(who, HOME)
        while worker.mailbox:
            request = worker.mailbox.pop(0)
            if request.desk == AWAY:
                self.turn_comes(who, AWAY)
            if not request.open:
                continue
            careful = worker.needs or request.lines_up
            if careful and request.ended_by_time(self.now) is None:
                self.comes(who, request)
                return
            if not careful and not request.overdue(self.now):
                worker.running, worker.began = request, self.now
                member.running, member.began = request.entry, instant(self.now)
                self.check_report(request)
                return
            effects = self.ledgers[request.desk].expired(request.entry, instant(self.now))
            self.check(request, effects, self.time_ends(request))
            self.turn_comes(who, request.desk)

    def answer(self, who: int, error: Optional[BaseException]) -> None:
        """A busy worker comes back."""
        worker, member = self.workers[who], self.members[who]
        # After the end, what it runs may be less than the entry.
        request, running = worker.running, member.running
        assert request is not None
        assert running is not None
        assert running.id == request.entry.id
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
        effects = self.ledgers[request.desk].replied(
            running, member, value, error, instant(self.now)
        )
        worker.running = member.running = None
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
                expected = ACCEPTED | (0 if request.policy is None else self.weigh(request))
        elif ends:
            expected |= DISCARDED
            line.began, line.stamp = worker.began, self.now
            line.outcome = Verdict.LATE if request.overdue(self.now) else Verdict.SURPLUS
        ledger, now = self.ledgers[request.desk], instant(self.now)
        if ends:
            effects = ledger.finished(running, member, now)
            worker.running = member.running = None
        else:
            effects = ledger.streamed(running, member, (who, self.now), now)
        self.check(request, effects, expected)
        assert bool(effects & ASK) == bool(asks and request.open)

    def thread_ends(self, who: int) -> None:
        """Only that: its mailbox is seen to a little later."""
        self.workers[who].standing = self.members[who].standing = Standing.DEAD

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
            ledger = self.ledgers[request.desk]
            fact = ledger.declined if worker.buried else ledger.died
            self.check(request, fact(request.entry, member, instant(self.now)), expected)
        worker.buried = True
        self.turn_comes(who, HOME)

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

    @rule(choice=ANYTHING, desk=DESK)
    def is_swept(self, choice: int, desk: int) -> None:
        """What has ended is cleared out of a mailbox before the worker comes to it."""
        who = choice % len(self.workers)
        mailbox = self.workers[who].mailbox
        mailbox[:] = [request for request in mailbox if request.open]
        self.turn_comes(who, desk)

    @precondition(lambda self: self.those(lambda w: w.mailbox and not w.buried))
    @rule(choice=ANYTHING, desk=DESK, often=RARELY)
    def is_withdrawn(self, choice: int, desk: int, often: bool) -> None:
        """What is open in a mailbox is taken out of it, for good."""
        if not often:
            return
        who = one_of(self.those(lambda w: w.mailbox and not w.buried), choice)
        mailbox = self.workers[who].mailbox
        taken = [request for request in mailbox if request.open and request.desk == desk]
        mailbox[:] = [request for request in mailbox if request not in taken]
        for request in taken:
            expected = self.time_ends(request)
            if request.open:
                expected = NOTED | self.judge(request, who, Verdict.WITHDRAWN)
            effects = self.ledgers[desk].withdrawn(
                request.entry, self.members[who], instant(self.now)
            )
            self.check(request, effects, expected)

    # -- requests -------------------------------------------------------------------------------

    @rule(
        desk=DESK,
        asked=st.lists(st.tuples(ROSTER, TTL, st.booleans(), NEED), min_size=1, max_size=4),
        line=ANYTHING,
    )
    def send(
        self, desk: int, asked: List[Tuple[List[int], Optional[int], bool, int]], line: int
    ) -> None:
        for number, (roster, ttl, watched, need) in enumerate(asked):
            policy, after = one_of(self.needs, need), one_of(self.lines, line + number)
            members = tuple(sorted({who % len(self.workers) for who in roster}))
            due = None if ttl is None else self.now + ttl
            if policy is not None and not self.possible(desk, policy, members, due):
                continue
            self.send_one(desk, members, due, policy, after)
            if watched and len(asked) > 2:
                self.have_watched(self.requests[-1])

    def possible(
        self, desk: int, policy: Policy, roster: Tuple[int, ...], due: Optional[int]
    ) -> bool:
        """Whether it can be met at all; if not it is over at the send, and says so."""
        hopeless = Request(desk, roster, self.now, due).says(policy, self.now)
        assert hopeless in (None, Completion.IMPOSSIBLE)
        entry = self.make_entry(desk, 0, roster, due)
        assert Options(policy).prepare(entry) == (hopeless is None)
        assert entry.completion is hopeless
        return hopeless is None

    def send_one(
        self,
        desk: int,
        roster: Tuple[int, ...],
        due: Optional[int],
        policy: Optional[Policy] = None,
        after: Optional[float] = None,
    ) -> None:
        request = Request(desk, roster, self.now, due)
        request.entry = self.make_entry(desk, len(self.requests) + 1, roster, due)
        request.policy = policy
        if after is not None:
            request.lines_up, request.alarm = True, self.now + after
        options = Options(policy, after=None if after is None else after / 10)
        assert options.prepare(request.entry)
        self.requests.append(request)
        self.ledgers[desk].nursery.append(request.entry)
        for who in roster:
            self.workers[who].mailbox.append(request)

    def make_entry(
        self, desk: int, number: int, roster: Sequence[int], due: Optional[int]
    ) -> Entry:
        members = tuple(self.members[who] for who in roster)
        deadline = NEVER if due is None else instant(due)
        sent = instant(self.now)
        return Entry(self.ledgers[desk], number, "t", None, members, sent, deadline, ("t",), None)

    @precondition(lambda self: self.those(lambda w: w.idle and not w.mailbox))
    @rule(
        desk=DESK,
        roster=ROSTER,
        watched=st.booleans(),
        need=NEED,
        error=st.sampled_from([None, None, KeyError()]),
    )
    def send_on_a_quiet_day(
        self,
        desk: int,
        roster: List[int],
        watched: bool,
        need: int,
        error: Optional[BaseException],
    ) -> None:
        """Everybody has time, and a value, at once; or the first of them an error."""
        policy = one_of(self.needs, need)
        ready = self.those(lambda w: w.idle and not w.mailbox)
        members = tuple(sorted({one_of(ready, who) for who in roster}))
        if policy is not None and not self.possible(desk, policy, members, self.now):
            return
        self.send_one(desk, members, self.now, policy)
        if watched:
            self.have_watched(self.requests[-1])
        for who in members:
            self.take(who)
            if self.workers[who].running:
                self.answer(who, error if who == members[0] else None)

    def have_watched(self, request: Request) -> None:
        """Somebody wants to be called when it is done."""
        request.entry.more().callbacks += (instant,)
        request.watched = True

    @rule(desk=DESK, due=st.sampled_from([-1, 1]))
    def odd_ones(self, desk: int, due: int) -> None:
        """One finds nobody; another is cancelled that was never opened."""
        ledger = self.ledgers[desk]
        assert ledger.nobody(self.make_entry(desk, 0, (), None)) & TOLD == ENDED
        self.sent_to_nobody[desk] += 1
        unknown = self.make_entry(desk, 0, (0,), self.now + due)
        assert ledger.cancelled(unknown, instant(self.now)) == 0
        assert unknown.completion is None

    @precondition(lambda self: self.requests)
    @rule(choice=ANYTHING)
    def cancel(self, choice: int) -> None:
        """What somebody is at, or one of the younger requests, open or not."""
        running = [worker.running for worker in self.workers if worker.running]
        request = one_of([*running, *self.requests[-9:]], choice)
        expected = self.time_ends(request)
        if request.open:
            expected = self.end(request, Completion.CANCELLED)
        effects = self.ledgers[request.desk].cancelled(request.entry, instant(self.now))
        self.check(request, effects, expected)

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
                expected = self.weigh(request)
        effects = self.ledgers[request.desk].answered(
            request.entry, agreed, error, instant(self.now)
        )
        if was_open:
            self.check(request, effects, expected)
        else:
            assert effects == 0

    # -- time and stop --------------------------------------------------------------------------

    @rule(steps=STEPS)
    def time_goes_by(self, steps: int) -> None:
        self.now += 1 + steps

    @rule(desk=DESK, steps=STEPS, limit=st.sampled_from([1000, 1, 2]))
    def expire(self, desk: int, steps: int, limit: int) -> None:
        """What is due ends, all of it and nothing else, in the order of deadlines."""
        self.now += steps
        self.expired(desk, limit)

    def expired(self, desk: int, limit: int) -> None:
        ledger = self.ledgers[desk]
        ledger.gather()
        due = sorted(r.due for r in self.open_at(desk) if r.due is not None and r.due < self.now)
        told = ledger.time_passed(instant(self.now), limit)
        assert [self.find(entry).due for entry, _ in told[: len(due)]] == due[:limit]
        for number, (entry, effects) in enumerate(told):
            request = self.find(entry)
            assert request.open
            expected = self.time_ends(request)
            if not expected and effects & STARTED:
                assert request.lines_up
                assert request.alarm is not None
                assert self.later(request.alarm)
                expected = self.start(request)
            # What is behind the deadlines may have been looked at in vain, for it was not quiet.
            assert expected or number >= len(due)
            self.check(request, effects, expected)
        # Those had a reason to be looked at, and none is looked at twice.
        idle = [self.find(entry) for entry, effects in told if not effects & (ENDED | STARTED)]
        assert all(request.policy is not None for request in idle)
        assert len({request.entry.id for request in idle}) == len(idle)
        if len(told) < limit:
            for request in self.open_at(desk):
                assert request.ended_by_time(self.now) is None
                assert not (request.lines_up and self.later(request.alarm))

    def later(self, alarm: Optional[float]) -> bool:
        return alarm is not None and alarm < self.now

    @precondition(lambda self: sum(request.open for request in self.requests) > 4)
    @rule(desk=DESK, at_once=st.booleans(), limit=st.sampled_from([1, 3, 1000]))
    def stop(self, desk: int, at_once: bool, limit: int) -> None:
        still_open = self.open_at(desk)
        told = self.ledgers[desk].stopped(instant(self.now), at_once, limit)
        assert len(told) == min(limit, len(still_open))
        for entry, effects in told:
            request = self.find(entry)
            assert request in still_open
            assert request.open
            self.check(request, effects, self.end(request, Completion.STOPPED, at_once))

    @rule(desk=DESK, limit=st.integers(1, 3), all_of_them=st.booleans())
    def gather(self, desk: int, limit: int, all_of_them: bool) -> None:
        """Once all are gathered, it is known which deadline is next."""
        if not all_of_them:
            self.ledgers[desk].gather(limit)
            return
        ledger, still_open = self.ledgers[desk], self.open_at(desk)
        ledger.gather()
        assert ledger.open_count() == len(still_open)
        deadlines = [NEVER if r.due is None else instant(r.due) for r in still_open]
        first = ledger.next_deadline()
        for request in still_open:
            if request.lines_up and request.alarm is not None and request.alarm != NEVER:
                assert first is not None
                if request.due is None or request.alarm < request.due:
                    assert first <= 1000 + request.alarm / 10 + 1e-9
        if any(r.policy is not None or r.lines_up for r in still_open):
            # Quiet may end one sooner: not later than it does, and never so that it is forgotten.
            assert first is not None
            assert first <= min(deadlines)
            for request in still_open:
                if request.ended_by_time(self.now) is None:
                    for later in range(self.now, self.now + 8):
                        if request.ended_by_time(later) is not None:
                            assert first < instant(later)
        else:
            assert first == min(deadlines, default=None)
        assert ledger.open_count() == len(still_open)

    # -- always ---------------------------------------------------------------------------------

    @rule()
    def look_back(self) -> None:
        """Nothing has changed but what is said to; the reports at the end never do."""
        for request in self.requests:
            self.check_report(request)
            self.check_answers(request)
            if not request.open:
                report = report_of(request.entry, instant(self.now), at_the_end=True)
                assert report == request.report_at_its_end

    @invariant()
    def it_adds_up(self) -> None:
        for desk, ledger in enumerate(self.ledgers):
            requests = [request for request in self.requests if request.desk == desk]
            still_open = [request for request in requests if request.open]
            sums = statistics_of(ledger)
            assert sums.fan_out == sum(sums.verdicts.values()) + sums.pending
            assert sums.fan_out == sum(len(request.roster) for request in requests)
            assert sums.pending == sum(request.pending for request in still_open)
            words = Counter(line.word for request in requests for line in request.lines.values())
            assert sums.verdicts == {verdict: words[verdict] for verdict in Verdict}
            ends = Counter(request.completion for request in requests)
            ends[Completion.NO_PRODUCERS] += self.sent_to_nobody[desk]
            assert sums.completions == {completion: ends[completion] for completion in Completion}
            assert sums.requests == len(requests) + self.sent_to_nobody[desk]
            assert sums.open == len(still_open)
            left = sorted(entry.id for entry in ledger.open_requests())
            assert left == [request.entry.id for request in still_open]
            assert ledger.open_count() == len(still_open) - len(ledger.nursery)
            for request in still_open:
                entry = request.entry
                assert (entry.completion, entry.left) == (None, request.pending)
                assert (entry.line is not None) == request.lines_up


class NeedyDesks(Desks):
    """The same with requests under policies."""

    needs = NEEDS

    @precondition(lambda self: len(self.those(lambda w: w.idle and not w.mailbox)) > 1)
    @rule(
        desk=DESK,
        need=NEED,
        ttl=st.sampled_from([None, None, 5, 3]),
        waits=st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=2),
        then=st.lists(st.sampled_from(["answer", "look", "wait"]), min_size=2, max_size=2),
        error=st.sampled_from([None, None, KeyError()]),
    )
    def hear_one_and_wait(
        self,
        desk: int,
        need: int,
        ttl: Optional[int],
        waits: List[int],
        then: List[str],
        error: Optional[BaseException],
    ) -> None:
        """One of them answers; then for a while nobody does, or another one."""
        ready = self.those(lambda w: w.idle and not w.mailbox)
        policy, due = one_of(QUIET, need), None if ttl is None else self.now + ttl
        if not self.possible(desk, policy, tuple(ready), due):
            return
        self.send_one(desk, tuple(ready), due, policy)
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
                self.expired(desk, 1000)


class LinedDesks(NeedyDesks):
    """And with start lines, and producers that wait for instruments."""

    lines = (None, NEVER, 1.5, NEVER, None, 0.5, 3.5)
    instruments = (False, True)

    @precondition(lambda self: len(self.those(lambda w: w.idle and not w.mailbox)) > 1)
    @rule(
        desk=DESK,
        need=NEED,
        ttl=st.sampled_from([None, None, 5, 3]),
        after=st.sampled_from([NEVER, NEVER, 1.5, 2.5]),
        missing=RARELY,
        steps=st.lists(st.sampled_from([0, 0, 1, 2]), min_size=4, max_size=4),
        then=st.sampled_from(["answer", "answer", "withdraw", "cancel", "look", "stream"]),
    )
    def meet_at_a_line(
        self,
        desk: int,
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
        if policy is not None and not self.possible(desk, policy, tuple(ready), due):
            return
        self.send_one(desk, tuple(ready), due, policy, after)
        request = self.requests[-1]
        for who, wait in zip(ready[1:] if missing else ready, steps):
            self.take(who)
            if waits_first(self.workers[who]):
                self.goes_on(who)
            self.now += wait
            if after != NEVER and wait:
                self.expired(desk, 1000)
        if then == "withdraw" and self.workers[ready[-1]].held:
            self.is_withdrawn_where_it_waits(self.those(lambda w: w.held).index(ready[-1]))
        elif then == "look":
            self.expired(desk, 1000)
        elif then == "cancel" and request.open:
            effects = self.ledgers[desk].cancelled(request.entry, instant(self.now))
            expected = self.time_ends(request)
            self.check(request, effects, expected or self.end(request, Completion.CANCELLED))
        for who in ready:
            if self.workers[who].running is request:
                if then == "stream":
                    self.streams(who, ends=False)
                self.answer(who, None)


def waits_first(worker: Worker) -> bool:
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

TestTheLedgerAgainstItsModel = Desks.TestCase
TestPoliciesAgainstTheirModel = NeedyDesks.TestCase
TestStartLinesAgainstTheirModel = LinedDesks.TestCase
TestTheLedgerAgainstItsModel.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    # To explain a failure takes longer than to find it, and longer than a test may take.
    phases=[phase for phase in settings().phases if phase is not Phase.explain],
)
TestPoliciesAgainstTheirModel.settings = TestTheLedgerAgainstItsModel.settings
TestStartLinesAgainstTheirModel.settings = TestTheLedgerAgainstItsModel.settings
