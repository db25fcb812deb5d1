"""The ledger against a model of it, written from the contract's table and in both directions.

The model is dicts and lists and no cleverness. After every fact it says what the ledger must have
answered, and then what must be true of the sums; what nobody touched is compared at the end. The
machine around it does what the desks do: it keeps the mailboxes, and says who runs what.

Time is a grid of floats on which ttls are a few steps and ticks too, so stamps meet deadlines often.
``test_mutants.py`` checks that all this bites.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ate_dispatcher import _ledger
from ate_dispatcher._clock import NEVER
from ate_dispatcher._completion import Completion, Standing, Verdict
from ate_dispatcher._ledger import (
    ABSENT,
    ACCEPTED,
    DISCARDED,
    ENDED,
    FAILED,
    NOTED,
    ORDINARY,
    Entry,
    Ledger,
    Member,
)
from ate_dispatcher._messages import BEGAN, ERROR, MEMBER, PREVIOUS, STAMP, VALUE
from ate_dispatcher._report import report_of, statistics_of

TOLD = ACCEPTED | FAILED | ENDED | ABSENT | DISCARDED | NOTED


def instant(step: int) -> float:
    """A float that no sum of floats went into: the same step is the same instant."""
    return 1000 + step / 10


class Someone:
    """A producer, of which the ledger and the report want no more than a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Answer(NamedTuple):
    """What a reply consisted of, when it was accepted."""

    who: int
    value: Any
    error: Optional[BaseException]
    began: int
    stamp: int


class Line:
    """The model's line on one member of one request."""

    def __init__(self) -> None:
        self.verdict: Optional[Verdict] = None
        self.standing: Optional[Standing] = None
        self.outcome: Optional[Verdict] = None
        self.late = 0.0


class Request:
    """The model's request: its members by their numbers, their lines, and what was accepted."""

    def __init__(self, desk: int, roster: Tuple[int, ...], sent: int, due: Optional[int]) -> None:
        self.desk = desk
        self.roster = roster
        self.sent = sent
        self.due = due
        self.lines = {who: Line() for who in roster}
        self.answers: List[Answer] = []
        self.completion: Optional[Completion] = None
        self.ended = 0
        self.watched = False
        self.entry: Any = None
        self.at_the_end: Any = None

    @property
    def open(self) -> bool:
        return self.completion is None

    def overdue(self, now: int) -> bool:
        return self.due is not None and self.due < now

    def pending(self) -> int:
        return sum(line.verdict is None for line in self.lines.values())


class Someones:
    """The model's member: where it stands, what waits for it, what it runs."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self.mailbox: List[Request] = []
        self.running: Optional[Request] = None
        self.began = 0
        #: What ended before it began and is MISSING, by desk.
        self.owed: Dict[int, List[Request]] = {0: [], 1: []}


HOME = 0
"""The desk where all members are at home; at the other they are guests."""


class Desks(RuleBasedStateMachine):
    """Two ledgers that share their producers, beside the model of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.ledgers = (Ledger(), Ledger())
        self.requests: List[Request] = []
        self.members: List[Someones] = []
        self.real: List[Member] = []
        self.nobodies = Counter[int]() if False else Counter()  # type: ignore[var-annotated]
        # So that few requests suffice for it to rebuild its heap. Loud if it is renamed.
        self.many = _ledger._MANY
        _ledger._MANY = 1

    @initialize(standings=st.lists(st.sampled_from(["alive", "alive", "new"]), min_size=3, max_size=4))
    def meet(self, standings: List[str]) -> None:
        for number, standing in enumerate(standings):
            stands = Standing.QUEUED if standing == "alive" else Standing.NOT_STARTED
            self.members.append(Someones(stands))
            self.real.append(Member(Someone(f"p{number}"), None))
            self.real[-1].standing = stands

    # -- what the machine may choose from -------------------------------------------------------

    def open_at(self, desk: int) -> List[Request]:
        return [request for request in self.requests if request.open and request.desk == desk]

    def pick(self, data: Any, some: List[Any]) -> Any:
        assume(some)
        return data.draw(st.sampled_from(some))

    def idle(self) -> List[int]:
        return [
            who
            for who, model in enumerate(self.members)
            if model.standing is Standing.QUEUED and model.running is None
        ]

    def busy(self) -> List[int]:
        return [who for who, model in enumerate(self.members) if model.running is not None]

    # -- the model's table ----------------------------------------------------------------------

    def ends(
        self, request: Request, completion: Completion, at_once: bool = False
    ) -> int:
        """The model ends *request*; which effects that must have."""
        effects = ENDED
        for who, line in request.lines.items():
            if line.verdict is not None:
                continue
            model = self.members[who]
            if model.running is request:
                line.standing = Standing.RUNNING
            else:
                line.standing = model.standing
            line.verdict = Verdict.MISSING
            if line.standing in (Standing.QUEUED, Standing.NOT_STARTED):
                effects |= ABSENT
                if completion is Completion.CANCELLED:
                    line.verdict = Verdict.CANCELLED
                elif completion is Completion.STOPPED and at_once:
                    line.verdict = Verdict.WITHDRAWN
                else:
                    model.owed[request.desk].append(request)
        request.completion = completion
        request.ended = self.now
        return effects

    def settled(self, request: Request) -> int:
        """After a verdict: the effects of the end, if it was the last."""
        if request.pending():
            return 0
        return self.ends(request, Completion.ALL_REPLIED)

    def check(self, request: Request, effects: int, expected: int) -> None:
        """The ledger answered as the model, and the entry says the same."""
        assert effects & TOLD == expected
        entry = request.entry
        assert entry.completion is request.completion
        if expected & ENDED:
            assert entry.ended == instant(request.ended)
            plain = request.completion is Completion.ALL_REPLIED and not request.watched
            if not plain or {line.verdict for line in request.lines.values()} != {Verdict.OK}:
                assert effects > ORDINARY
            request.at_the_end = report_of(entry, instant(self.now), at_the_end=True)
        if expected & (ACCEPTED | FAILED):
            self.check_answers(request)
        if expected & NOTED:
            who = self.real.index(entry.notes[-1].member)
            assert entry.notes[-1].verdict is request.lines[who].verdict
        self.check_report(request)

    def check_answers(self, request: Request) -> None:
        record = request.entry.chain
        for answer in reversed(request.answers):
            assert record[MEMBER] is self.real[answer.who]
            assert (record[VALUE], record[ERROR]) == (answer.value, answer.error)
            assert (record[BEGAN], record[STAMP]) == (instant(answer.began), instant(answer.stamp))
            record = record[PREVIOUS]
        assert record is None

    def check_report(self, request: Request) -> None:
        report = report_of(request.entry, instant(self.now))
        assert report.completion is request.completion
        assert [line.producer for line in report.members] == [f"p{who}" for who in request.roster]
        for who, told in zip(request.roster, report.members):
            line, model = request.lines[who], self.members[who]
            assert told.verdict is (line.outcome or line.verdict)
            if line.verdict is None:
                running = model.running is request
                assert told.standing is (Standing.RUNNING if running else model.standing)
            elif line.outcome in (Verdict.LATE, Verdict.SURPLUS):
                assert told.standing is None
            else:
                assert told.standing is line.standing
            if line.outcome is Verdict.LATE:
                assert told.late_ms is not None
                assert abs(told.late_ms - line.late) < 1e-6
            else:
                assert told.late_ms is None

    # -- facts ----------------------------------------------------------------------------------

    @rule(steps=st.sampled_from([1, 1, 1, 2, 5]))
    def time_goes_by(self, steps: int) -> None:
        self.now += steps

    @rule(
        data=st.data(),
        desk=st.sampled_from([HOME, HOME, HOME, 1]),
        ttl=st.sampled_from([0, 1, 1, 2, 2, 3, 5, None]),
    )
    def send(self, data: Any, desk: int, ttl: Optional[int]) -> None:
        numbers = list(range(len(self.members)))
        roster = tuple(
            data.draw(st.lists(st.sampled_from(numbers), min_size=1, max_size=3, unique=True))
        )
        request = Request(desk, roster, self.now, None if ttl is None else self.now + ttl)
        request.entry = Entry(
            None,
            len(self.requests) + 1,
            "t",
            None,
            tuple(self.real[who] for who in roster),
            instant(self.now),
            NEVER if request.due is None else instant(request.due),
            ("t",),
            None,
        )
        self.ledgers[desk].nursery.append(request.entry)
        self.requests.append(request)
        for who in roster:
            self.members[who].mailbox.append(request)

    @rule(desk=st.sampled_from([HOME, 1]))
    def send_to_nobody(self, desk: int) -> None:
        entry = Entry(None, 0, "t", None, (), 0.0, NEVER, None, None)
        assert self.ledgers[desk].nobody(entry) & TOLD == ENDED
        self.nobodies[desk] += 1

    @precondition(lambda self: any(self.members[who].mailbox for who in self.idle()))
    @rule(data=st.data())
    def take_the_next(self, data: Any) -> None:
        """A worker looks into its mailbox until something may begin."""
        who = self.pick(data, [who for who in self.idle() if self.members[who].mailbox])
        model, real = self.members[who], self.real[who]
        self.turn_comes(who, HOME)
        while model.mailbox:
            request = model.mailbox.pop(0)
            if request.desk != HOME:
                self.turn_comes(who, request.desk)
            if not request.open:
                continue
            if not request.overdue(self.now):
                model.running, model.began = request, self.now
                real.running, real.began = request.entry, instant(self.now)
                self.check_report(request)
                return
            effects = self.ledgers[request.desk].expired(request.entry, instant(self.now))
            self.check(request, effects, self.ends(request, Completion.DEADLINE))
            self.turn_comes(who, request.desk)

    @rule(data=st.data(), desk=st.sampled_from([HOME, 1]))
    def sweep(self, data: Any, desk: int) -> None:
        """The mailbox is cleared of what has ended."""
        who = self.pick(data, list(range(len(self.members))))
        self.turn_comes(who, desk)
        mailbox = self.members[who].mailbox
        mailbox[:] = [request for request in mailbox if request.open]

    def turn_comes(self, who: int, desk: int) -> None:
        owed, self.members[who].owed[desk] = self.members[who].owed[desk], []
        notes = self.ledgers[desk].its_turn(self.real[who])
        assert sorted(note.id for note in notes) == sorted(r.entry.id for r in owed)
        assert all(note.member is self.real[who] for note in notes)
        for request in owed:
            request.lines[who].outcome = Verdict.SKIPPED
            self.check_report(request)

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), fails=st.sampled_from([False, False, False, True]))
    def reply(self, data: Any, fails: bool) -> None:
        who = self.pick(data, self.busy())
        self.answers(who, fails)

    @precondition(lambda self: self.idle())
    @rule(data=st.data())
    def take_and_reply(self, data: Any) -> None:
        """As most do: in no time."""
        who = self.pick(data, self.idle())
        if self.members[who].mailbox:
            self.take_the_next.__wrapped__ if False else None  # pragma: no cover
        raise NotImplementedError
