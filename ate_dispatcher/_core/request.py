"""The records of the ledger: a request, its start line, the notes on members without a reply.

Plain objects with slots. All but the constructors' arguments is written by the ledger and, where it
says so, by the desk, inside the section; anybody may read them, since fields are replaced whole.
"""

from __future__ import annotations

import math
from typing import Any, Dict, Hashable, List, Optional, Sequence, Set, Tuple

from .._observing.stacks import Place
from .member import HeldUp, Member, Spent, Turn
from .outcomes import Completion, Standing, Verdict
from .policy_state import Need
from .records import MEMBER, Part, Record

__all__ = ["Entry", "Extra", "Line", "Note"]


class Note:
    """A member's verdict that is not a reply. What became of it afterwards is added once."""

    __slots__ = (
        "answered",
        "began",
        "held_up_by",
        "id",
        "late",
        "member",
        "outcome",
        "places",
        "spent",
        "stamp",
        "standing",
        "topic",
        "verdict",
    )

    def __init__(
        self,
        entry: Entry,
        member: Member,
        verdict: Verdict,
        standing: Optional[Standing],
        stamp: float,
    ) -> None:
        # Not the entry itself: a note may wait long for its member's turn.
        self.id: int = entry.id
        self.topic: Hashable = entry.topic
        self.member: Member = member
        self.verdict: Verdict = verdict
        self.standing: Optional[Standing] = standing
        self.stamp: float = stamp
        hand = member.hand_at(entry)
        turn = None if hand is None else hand.turn
        self.began: Optional[float] = None
        #: What it had spent after its turn had come, if it had not begun.
        self.spent: Spent = (None, None) if turn is None else turn.spent(stamp)
        self.held_up_by: HeldUp = ()
        if standing is Standing.QUEUED or standing is Standing.AT_INSTRUMENT:
            self.held_up_by = member.held_up_by(entry)
        if standing is Standing.RUNNING and hand is not None:
            self.began = hand.began
        #: Where in its code a running one was at the end, if somebody wanted to know.
        self.places: Sequence[Place] = ()
        #: What became of a MISSING one afterwards: SKIPPED, SURPLUS or LATE.
        self.outcome: Optional[Verdict] = None
        #: When it began and answered, if it did so after the end; by how much too late.
        self.answered: Optional[Tuple[float, float]] = None
        self.late: float = 0.0


WEIGHED = 1 << 40
"""So far below zero begins the count of a request whose policy is to be weighed at each fact: one
look at the sign, which every reply takes anyway, tells it from all others."""


class Line:
    """A start line: the members of a request wait there for each other, and begin together."""

    __slots__ = ("after", "cell", "present", "started")

    def __init__(self, after: float) -> None:
        #: So many seconds after the send those who are there need not wait for the others.
        self.after: float = after
        self.present: List[Turn] = []
        self.started: bool = False
        #: Where that instant is kept, see `Alarms`.
        self.cell: Optional[List[Any]] = None

    @property
    def endless(self) -> bool:
        """Whether it waits for all until the deadline."""
        return self.after == math.inf


class Extra:
    """What few requests need: verdicts without a reply, errors, done callbacks, options."""

    __slots__ = ("callbacks", "errors", "key", "line", "need", "notes", "off")

    def __init__(self) -> None:
        #: Who would have been asked, but was off.
        self.off: Tuple[Member, ...] = ()
        self.need: Optional[Need] = None
        self.line: Optional[Line] = None
        #: The ordering key, which may be compared by identity.
        self.key: Any = None
        self.notes: Sequence[Note] = ()
        self.errors: int = 0
        self.callbacks: Tuple[Any, ...] = ()


class Entry:
    """One request: what was asked, of whom, until when, and what came.

    Written by the ledger alone, but for the constructor. Read by anybody: every field is replaced
    whole, and ``completion`` last of all.
    """

    __slots__ = (
        "call",
        "cell",
        "chain",
        "channel",
        "completion",
        "deadline",
        "desk",
        "ended",
        "extra",
        "id",
        "kwargs",
        "pending",
        "roster",
        "sent",
        "topic",
        "until",
    )

    ended: float
    """When it ended; not there before."""

    def __init__(
        self,
        desk: Any,
        number: int,
        topic: Hashable,
        channel: Any,
        roster: Tuple[Member, ...],
        sent: float,
        deadline: float,
        call: Optional[Tuple[Any, ...]],
        kwargs: Optional[Dict[str, Any]],
    ) -> None:
        self.desk: Any = desk
        self.id: int = number
        self.topic: Hashable = topic
        self.channel: Any = channel
        self.roster: Tuple[Member, ...] = roster
        self.sent: float = sent
        self.deadline: float = deadline
        #: Until when it may be begun and answered without another look: the deadline, or an
        #: instant before it; never while it has a start line.
        self.until: float = deadline
        #: The positional arguments of the producers' method, the topic first.
        self.call: Optional[Tuple[Any, ...]] = call
        self.kwargs: Optional[Dict[str, Any]] = kwargs
        #: Members without a verdict; see `left`.
        self.pending: int = len(roster)
        self.chain: Optional[Record] = None
        self.completion: Optional[Completion] = None
        self.cell: Optional[List[Any]] = None
        self.extra: Optional[Extra] = None

    def needs(self, need: Need) -> None:
        """Put it under a policy. Before anybody else knows it."""
        self.more().need = need
        self.pending -= WEIGHED

    def lines_up(self, line: Line) -> None:
        """Give it a start line. Before anybody else knows it."""
        self.more().line = line
        self.until = -math.inf

    @property
    def line(self) -> Optional[Line]:
        """The start line, while its members wait there for each other."""
        line = None if self.extra is None else self.extra.line
        return None if line is None or line.started else line

    @property
    def needed(self) -> Need:
        """What it needs; of one that is under a policy."""
        assert self.extra is not None
        assert self.extra.need is not None
        return self.extra.need

    def spoken(self) -> List[Member]:
        """Those whose answer it has, a value or an error."""
        found: List[Member] = []
        record = self.chain
        while record is not None:
            if record.__class__ is not Part:
                found.append(record[MEMBER])
            record = record[-1]
        return found

    def judged(self) -> Set[int]:
        """Those who have a verdict, by identity."""
        judged = {id(note.member) for note in self.notes}
        judged.update(id(member) for member in self.spoken())
        return judged

    def has_value_of(self, member: Member) -> bool:
        """Whether *member* has given it a value so far."""
        record = self.chain
        while record is not None and record[MEMBER] is not member:
            record = record[-1]
        return record is not None

    @property
    def left(self) -> int:
        """How many members have no verdict yet."""
        return self.pending if self.pending >= 0 else self.pending + WEIGHED

    @property
    def notes(self) -> Sequence[Note]:
        """Verdicts that are not replies; the list is replaced whole, never changed."""
        return () if self.extra is None else self.extra.notes

    @property
    def errors(self) -> int:
        """How many of the accepted replies are errors."""
        return 0 if self.extra is None else self.extra.errors

    def stub(self, completion: Completion) -> Entry:
        """What a member that is still at it needs of the ended request: all but the replies."""
        stub = Entry(self.desk, self.id, self.topic, None, (), self.sent, self.deadline, None, None)
        stub.ended, stub.completion = self.sent, completion
        # Not the policy, whose error may hold replies.
        stub.more().notes, stub.more().errors = self.notes, self.errors
        return stub

    def more(self) -> Extra:
        """What few requests need, made when the first needs it. Inside the section."""
        if self.extra is None:
            self.extra = Extra()
        return self.extra
