"""One request: what was asked, of whom, until when, and what came.

Plain objects with slots, with the start line and what is known of members without a reply. Written
by the ledger and, where it says so, by the engine, inside the section; anybody may read them, since
fields are replaced whole (P8).
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import (
    Any,
    Dict,
    Hashable,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
    cast,
)

from typing_extensions import Protocol, Self

from .member import HeldUp, Member, Spent, Worker
from .names import Names
from .outcomes import Completion, Standing, Verdict
from .policy_state import PolicyState
from .records import MEMBER, PREVIOUS, Part, Record, newest_first
from .snapshots import copied
from .start_line import StartLine

__all__ = [
    "EVALUATED",
    "OVER",
    "Away",
    "Ending",
    "Extras",
    "Guest",
    "Request",
    "Unanswered",
]

OVER = -math.inf
"""The ``until`` of what wants another look before it is begun or answered: it has ended, has a
start line that has not started, or is no request at all."""

EVALUATED = 1 << 40
"""So far below zero begins the count of a request whose policy is asked at each fact: one look at
the sign, which every reply takes anyway, tells it from all others."""

_FEW = 8
"""Among so many answers one is looked for without a set."""

_NO_ONE: Dict[Any, Any] = cast("Dict[Any, Any]", MappingProxyType({}))
"""To be read: whoever writes has one of its own first."""

Places = Sequence[Tuple[str, int, str]]


class Unanswered:
    """A member's verdict that is not a reply. What became of it afterwards is added once."""

    __slots__ = (
        *("answered", "began", "ending", "held_up_by", "id"),
        *("late", "member", "outcome", "places", "spent"),
        *("stamp", "standing", "topic", "verdict"),
    )

    def __init__(
        self,
        request: Request,
        member: Member,
        verdict: Verdict,
        standing: Optional[Standing],
        stamp: float,
        worker: Optional[Worker] = None,
    ) -> None:
        """*worker* of the member has come to the request, if any has."""
        # Not the request itself: this may wait long for its member's turn.
        self.id: int = request.id
        self.topic: Hashable = request.topic
        self.member: Member = member
        self.verdict: Verdict = verdict
        self.standing: Optional[Standing] = standing
        self.stamp: float = stamp
        self.began: Optional[float] = None
        #: What it had spent after its turn had come, if it had not begun.
        self.spent: Spent = (None, None)
        self.held_up_by: HeldUp = ()
        if worker is not None:
            if worker.claim is not None:
                self.spent = worker.claim.spent(stamp)
            if standing is Standing.RUNNING:
                self.began = worker.began
        if standing is Standing.QUEUED or standing is Standing.AT_INSTRUMENT:
            self.held_up_by = member.held_up_by(worker)
        #: The end that has judged it, if one has.
        self.ending: Optional[Ending] = None
        #: Where in its code a running one was at the end, if somebody wanted to know.
        self.places: Places = ()
        #: What became of a MISSING one afterwards: SKIPPED, SURPLUS or LATE.
        self.outcome: Optional[Verdict] = None
        #: When it began and answered, if it did so after the end; by how much too late.
        self.answered: Optional[Tuple[float, float]] = None
        self.late: float = 0.0


class Away(Protocol):
    """Those members of a request that are elsewhere, and the way to them."""

    def ask(self, request: Request) -> None:
        """Ask them. From anywhere; only appends."""
        ...

    def over(self, request: Request) -> None:
        """It has ended: who has not answered need not. Inside the section; only appends."""
        ...


class Guest(Protocol):
    """Who has asked from elsewhere, and is told what comes of it. Inside the section."""

    asker: str
    """The name of that part; of an open question where its answers go. Also outside."""
    id: int
    """Its number there; 0 for an open question."""

    def told(self, request: Request, effects: int, member: Optional[Member]) -> None:
        """The ledger has answered that to a fact about *request*, and *member* if it is of one."""
        ...

    def skipped(self, unanswered: Unanswered) -> None:
        """After the end: its member has not begun it, and will not."""
        ...

    def lets_begin(self, member: Member) -> bool:
        """Whether *member* may still begin it."""
        ...

    def progressed(self, member: Member, fraction: float, text: str) -> None:
        """*member* says how far it is. On its thread."""
        ...


class Ending:
    """The end of a request: what the absent members get, said in parts.

    One pass may bring a few verdicts only, however many members there are. Nothing else can become
    of the request meanwhile; a member that comes to it, or answers, is judged before its turn. The
    completion is set behind the last verdict.
    """

    __slots__ = (
        *("answers", "completion", "guest", "instant", "judged"),
        *("over", "roster", "told_behind", "verdicts"),
    )

    def __init__(
        self,
        request: Request,
        completion: Completion,
        verdicts: Mapping[Standing, Verdict],
        instant: float,
    ) -> None:
        self.completion: Completion = completion
        self.verdicts: Mapping[Standing, Verdict] = verdicts
        self.instant: float = instant
        self.guest: Optional[Guest] = request.more().guest
        #: What is still to be looked at: who has answered, then who is absent.
        self.answers: Iterator[Record] = newest_first(request.chain, request.more().answered_until)
        self.roster: Iterator[Member] = iter(request.roster)
        #: Who was judged since somebody has carried out what follows from it.
        self.judged: List[Unanswered] = []
        #: Whether its guest and hooks were told of it; and what is to be told them behind that.
        self.over: bool = False
        self.told_behind: List[Tuple[Any, ...]] = []

    def close(self) -> None:
        """The last verdict is said. A member that hangs keeps this: nobody else with it."""
        self.answers, self.roster = iter(()), iter(())


class Extras:
    """What few requests have: verdicts without a reply, errors, done callbacks, options.

    Each of its tables is made when there is something in it: what travels has extras, and every
    object less is one less for the collector of cycles to look at.
    """

    __slots__ = (
        *("answered", "answered_until", "away", "callbacks", "disabled"),
        *("ending", "errors", "guest", "key", "line"),
        *("names", "need", "tally", "unanswered", "unreached", "valued"),
    )

    def __init__(self) -> None:
        #: Who would have been asked, but was disabled.
        self.disabled: Tuple[Member, ...] = ()
        #: What members are called, if several on the topic have one name.
        self.names: Optional[Names] = None
        #: Why nobody elsewhere could be asked, if that was so when it was sent.
        self.unreached: Optional[str] = None
        self.need: Optional[PolicyState] = None
        self.line: Optional[StartLine] = None
        #: The ordering key, which may be compared by identity.
        self.key: Any = None
        #: By the identity of the member. It only grows, and only inside the section.
        self.unanswered: Dict[int, Unanswered] = _NO_ONE
        #: How many of them have which verdict.
        self.tally: Dict[Verdict, int] = _NO_ONE
        self.errors: int = 0
        #: Those who have answered, by identity, up to that record; see `Request.has_answered`.
        self.answered: Optional[Set[int]] = None
        self.answered_until: Optional[Record] = None
        #: Those whose stream has brought a value, by identity.
        self.valued: Optional[Set[int]] = None
        self.callbacks: Optional[List[Any]] = None
        #: Those of its members that are elsewhere, if any are; who has asked from elsewhere.
        self.away: Optional[Away] = None
        self.guest: Optional[Guest] = None
        #: Once its end has begun with members absent.
        self.ending: Optional[Ending] = None

    def calls(self, callback: Any) -> None:
        """At its end. Inside the section."""
        if self.callbacks is None:
            self.callbacks = []
        self.callbacks.append(callback)

    def are_all_ok(self) -> bool:
        """Whether who has come to a verdict is OK, and its end needs no other look."""
        return not (self.unanswered or self.errors or self.need)


class Request:
    """One request, from the send to the last answer that anybody gives.

    Written by the ledger alone, but for those who make it. Read by anybody: every field is replaced
    whole, and ``completion`` last of all (P8). The send fills the fields in place, see `of`.
    """

    __slots__ = (
        *("awaited", "call", "cell", "chain", "channel"),
        *("completion", "deadline", "ended", "engine", "extras"),
        *("id", "kwargs", "pending", "roster", "sent"),
        *("topic", "until"),
    )

    shares: bool = False
    """Nobody serves two of one ordering key at a time."""
    engine: Any
    """Whose request it is; nothing that is looked into here."""
    id: int
    topic: Hashable
    channel: Any
    roster: Tuple[Member, ...]
    sent: float
    deadline: float
    until: float
    """Until when it may be begun and answered without another look: the deadline, or an instant
    before it; OVER when it always takes one."""
    call: Optional[Tuple[Any, ...]]
    """The positional arguments of the producers' method, the topic first."""
    kwargs: Any
    """The keywords for that method, as a dict or what stands for one; None for none."""
    pending: int
    """Members without a verdict; see `left`."""
    chain: Optional[Record]
    completion: Optional[Completion]
    ended: float
    """When it ended; not there before."""
    cell: Optional[List[Any]]
    """Where it is kept, see `OpenRequests`; None while it is among the arrivals."""
    awaited: bool
    """Whether somebody waits for it, or has. Said by those who wait (P9)."""
    extras: Optional[Extras]

    @classmethod
    def of(
        cls,
        engine: Any,
        number: int,
        topic: Hashable,
        channel: Any,
        roster: Tuple[Member, ...],
        sent: float,
        deadline: float,
        call: Optional[Tuple[Any, ...]],
        kwargs: Any,
    ) -> Self:
        """An open request. The hot send does the same in place."""
        request = cls()
        request.engine = engine
        request.id = number
        request.topic = topic
        request.channel = channel
        request.roster = roster
        request.sent = sent
        request.deadline = request.until = deadline
        request.call = call
        request.kwargs = kwargs
        request.pending = len(roster)
        request.chain = request.completion = request.cell = request.extras = None
        request.awaited = False
        return request

    def end(self, completion: Completion, now: float) -> None:
        """It is over. What it carried is dropped by whoever asked for this, later (P16)."""
        self.ended = now
        self.until = OVER
        self.completion = completion

    def needs(self, need: PolicyState) -> None:
        """Put it under a policy. Before anybody else knows it."""
        self.more().need = need
        self.pending -= EVALUATED

    def lines_up(self, line: StartLine) -> None:
        """Give it a start line. Before anybody else knows it."""
        self.more().line = line
        self.until = OVER

    def is_for(self, guest: Guest) -> None:
        """It was asked from elsewhere, and each fact is told. Before anybody else knows it."""
        self.more().guest = guest
        if len(self.roster) > 1:
            # Also an answer that is not the last.
            self.until = OVER

    @property
    def called(self) -> str:
        """What it is called in the log."""
        return f"request {self.id}"

    @property
    def line(self) -> Optional[StartLine]:
        """The start line, while its members wait there for each other."""
        line = None if self.extras is None else self.extras.line
        return None if line is None or line.started else line

    @property
    def need(self) -> Optional[PolicyState]:
        """How far it is towards its policy, if it has one."""
        return None if self.extras is None else self.extras.need

    @property
    def is_over(self) -> bool:
        """Whether nothing more can become of it: it has ended, or its end has begun."""
        extras = self.extras
        return self.completion is not None or (extras is not None and extras.ending is not None)

    @property
    def ending(self) -> Optional[Ending]:
        """Its end, once that has begun."""
        return None if self.extras is None else self.extras.ending

    @property
    def guest(self) -> Optional[Guest]:
        """Who has asked it from elsewhere, if somebody has."""
        return None if self.extras is None else self.extras.guest

    @property
    def key(self) -> Any:
        """The ordering key, to be compared by identity; None for none."""
        return None if self.extras is None else self.extras.key

    def name_of(self, member: Member) -> str:
        """What *member*, who is on its topic, is called in reports on it."""
        names = None if self.extras is None else self.extras.names
        return member.name if names is None else names.of(member)

    def answered(self) -> List[Member]:
        """Those whose answer it has, a value or an error."""
        return [r[MEMBER] for r in newest_first(self.chain) if r.__class__ is not Part]

    def judged(self) -> Set[int]:
        """Those who have a verdict, by identity. On any thread: nothing is written."""
        judged = {id(member) for member in self.answered()}
        return judged.union([id(each.member) for each in self.unanswered()])

    def has_answered(self, member: Member) -> bool:
        """Whether *member* is among them; quick, however often it is asked. Inside the section."""
        extras = self.extras or self.more()
        if extras.answered is None and len(self.roster) <= _FEW:
            # None of a stream: no more than the roster.
            record = self.chain
            while record is not None:
                if record[MEMBER] is member:
                    return True
                record = record[PREVIOUS]
            return False
        return id(member) in self._count_answers(extras)

    def note_part(self, member: Member, is_value: bool = True) -> None:
        """The newest record is a part of *member*'s stream: the end need not look at it again."""
        extras = self.more()
        if is_value:
            if extras.valued is None:
                extras.valued = set()
            extras.valued.add(id(member))
        self._count_answers(extras)

    def has_value_of(self, member: Member) -> bool:
        """Whether *member*'s stream has given it a value so far."""
        return self.extras is not None and id(member) in (self.extras.valued or ())

    def misses(self, each: Unanswered) -> None:
        """A member has that verdict, and gives no answer. Inside the section."""
        extras = self.more()
        if extras.unanswered is _NO_ONE:
            extras.unanswered, extras.tally = {}, {}
        extras.unanswered[id(each.member)] = each
        extras.tally[each.verdict] = extras.tally.get(each.verdict, 0) + 1
        self.pending -= 1

    def _count_answers(self, extras: Extras) -> Set[int]:
        record, until, answered = self.chain, extras.answered_until, extras.answered
        if answered is None:
            answered = extras.answered = set()
        # As `newest_first`, in place.
        while record is not None and record is not until:
            if record.__class__ is not Part:
                answered.add(id(record[MEMBER]))
            record = record[PREVIOUS]
        extras.answered_until = self.chain
        return answered

    @property
    def left(self) -> int:
        """How many members have no verdict yet."""
        return self.pending if self.pending >= 0 else self.pending + EVALUATED

    def unanswered(self) -> List[Unanswered]:
        """Verdicts that are not replies, in the order in which they came. On any thread."""
        unanswered = None if self.extras is None else self.extras.unanswered
        return copied(unanswered.values()) if unanswered else []

    @property
    def errors(self) -> int:
        """How many of the accepted replies are errors."""
        return 0 if self.extras is None else self.extras.errors

    def stub(self, completion: Completion, unanswered: Iterable[Unanswered]) -> Request:
        """What those need of the ended request who are still at it: no reply, nobody else."""
        stub = Request.of(
            self.engine, self.id, self.topic, None, (), self.sent, self.deadline, None, None
        )
        extras = stub.more()
        extras.unanswered = {id(each.member): each for each in unanswered}
        extras.guest = None if self.extras is None else self.extras.guest
        stub.end(completion, self.sent)
        return stub

    def more(self) -> Extras:
        """What few requests have, made when the first has it. Inside the section."""
        if self.extras is None:
            self.extras = Extras()
        return self.extras
