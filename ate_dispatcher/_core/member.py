"""A producer as the ledger sees it: its hands, and what each of them is at."""

from __future__ import annotations

import weakref
from typing import Any, Dict, List, Optional, Tuple

from typing_extensions import Self

from .. import _log
from .outcomes import Standing

__all__ = ["Hand", "HeldUp", "Member", "Spent", "Start", "Ticket", "Turn"]

HeldUp = Tuple[Tuple[str, Any, int], ...]
"""Instruments, the member that has each, and its request; or "", itself, and what it is at."""

Spent = Tuple[Optional[float], Optional[float]]
"""Seconds of waiting for instruments, and at the start line; None for what was not waited for."""


class Start(float):
    """The instant at which a member began, with what it had spent after its turn had come."""

    __slots__ = ("spent",)

    spent: Spent

    def __new__(cls, instant: float, spent: Spent) -> Self:
        """At *instant*."""
        start = super().__new__(cls, instant)
        start.spent = spent
        return start


class Turn:
    """What one hand goes through between the mailbox and the beginning: instruments, then the line.

    Changed inside the section of the request's dispatcher; its hand also reads it while it waits.
    """

    __slots__ = (
        "came",
        "entry",
        "granted",
        "hand",
        "instruments",
        "line",
        "lined",
        "names",
        "standing",
        "taken",
    )

    def __init__(self, entry: Any, hand: Hand, came: float) -> None:
        self.entry: Any = entry
        self.hand: Hand = hand
        self.names: Tuple[str, ...] = hand.member.exclusive
        #: Where it has asked for them.
        self.instruments: Any = None
        #: The start line of the request, if it has one.
        self.line: Any = None if entry.extra is None else entry.extra.line
        self.came: float = came
        #: When it had its instruments, and when it stood at the line.
        self.taken: Optional[float] = None
        self.lined: Optional[float] = None
        #: Whether it has its instruments; said by them.
        self.granted: bool = False
        #: AT_INSTRUMENT, AT_LINE, then RUNNING when it may begin; None if it shall not.
        self.standing: Optional[Standing] = Standing.AT_INSTRUMENT

    @property
    def waits(self) -> bool:
        return self.standing is Standing.AT_INSTRUMENT or self.standing is Standing.AT_LINE

    def spent(self, now: float) -> Spent:
        """What it has spent by *now*."""
        until = max(now, self.came) if self.taken is None else self.taken
        instrument = until - self.came if self.names else None
        return instrument, None if self.lined is None else max(now, self.lined) - self.lined


class Ticket:
    """A request whose turn has come and that takes the careful way.

    It is taken out of here once, so that while it runs no frame of ours holds it.
    """

    __slots__ = ("entry",)

    desk = None
    """What tells it from a request that may begin at once."""

    def __init__(self, entry: Any) -> None:
        self.entry: Any = entry

    def punch(self) -> Any:
        """The request; a second time there is none."""
        entry, self.entry = self.entry, None
        return entry


class Hand:
    """One thread of a producer that serves requests: what it is at, and since when.

    ``running`` is the entry it is in, set and cleared in the section of that entry's own
    dispatcher, so that ``running is entry`` can be asked there and changes nowhere else; ``turn``
    likewise, before that.
    """

    __slots__ = (
        "awaits",
        "began",
        "bell",
        "ident",
        "member",
        "named",
        "progress",
        "running",
        "turn",
    )

    def __init__(self, member: Member, bell: Any) -> None:
        self.member: Member = member
        #: Its thread's, once that runs.
        self.ident: Optional[int] = None
        #: What it parks on.
        self.bell: Any = bell
        self.running: Any = None
        self.began: float = 0.0
        self.turn: Optional[Turn] = None
        #: How far it said it is with which request, which is not kept for that; replaced whole by
        #: its own thread.
        self.progress: Optional[Tuple[int, int, float, str]] = None
        #: The request that it waits for in the middle of its own, and whether for any reply; and at
        #: what it was last found in a circle.
        self.awaits: Optional[Tuple[Any, bool]] = None
        self.named: Any = None

    @property
    def work(self) -> int:
        """The id of the request that it is at; 0 for none."""
        turn = self.turn
        entry = self.running or (None if turn is None else turn.entry)
        return 0 if entry is None else entry.id

    def runs(self, entry: Any) -> bool:
        """Whether it is in *entry*, or in the stub that has taken its place while it ends."""
        running = self.running
        return running is not None and running.id == entry.id and running.desk is entry.desk

    def ring(self) -> None:
        """Let it look again at what it waits for."""
        self.bell.ring(None)

    def park(self) -> None:
        """Wait for that. Its own thread only."""
        self.bell.park()


class Member(Hand):
    """A producer in rosters; as a hand, its own thread, which is its first and often only one."""

    __slots__ = (
        "_homes",
        "absences",
        "desks",
        "exclusive",
        "hands",
        "home",
        "husks",
        "mailbox",
        "producer",
        "standing",
        "warned",
    )

    def __init__(self, producer: Any, mailbox: Any, exclusive: Tuple[str, ...] = ()) -> None:
        super().__init__(self, None)
        self.producer: Any = producer
        self.mailbox: Any = mailbox
        #: The instruments that it needs for itself alone.
        self.exclusive: Tuple[str, ...] = exclusive
        #: All that serve its requests; replaced whole, once, by its own thread.
        self.hands: Tuple[Hand, ...] = (self,)
        #: The desk in whose section its worker takes messages out; the first that it joined.
        self.home: Any = None
        self._homes: Dict[str, Any] = {}
        #: The desks it was registered with, weakly, by their numbers.
        self.desks: Dict[int, Any] = {}
        #: How many ended requests its mailbox still holds, at most.
        self.husks: int = 0
        #: NOT_STARTED, then QUEUED while its thread lives, then DEAD.
        self.standing: Standing = Standing.NOT_STARTED
        #: Notes on what ended before it began, by the desk of the request: here and not there,
        #: so that no dispatcher keeps a producer that was deregistered.
        self.absences: Dict[Any, List[Any]] = {}
        self.warned: bool = False

    @property
    def name(self) -> str:
        return _log.name_of(self.producer)

    def ring(self) -> None:
        # It came from the clock of its first dispatcher, after this was made.
        self.mailbox.bell.ring(None)

    def park(self) -> None:
        self.mailbox.bell.park()

    def settle_at(self, desk: Any) -> None:
        """Be at home at *desk*, unless somewhere already. One atomic operation decides."""
        self.home = self._homes.setdefault("home", desk)

    def serves(self, desk: Any) -> None:
        """It is registered with *desk*, perhaps again."""
        self.desks[desk.number] = weakref.ref(desk)

    def hand_at(self, entry: Any) -> Optional[Hand]:
        """Which of its hands has come to *entry*."""
        for hand in self.hands:
            turn = hand.turn
            if hand.runs(entry) or (turn is not None and turn.entry is entry):
                return hand
        return None

    def held_up_by(self, entry: Any) -> HeldUp:
        """What keeps it from beginning *entry*: its own work, or who has its instruments."""
        hand = self.hand_at(entry)
        if hand is None:
            at = [("", self, each.work) for each in self.hands]
            return tuple(at) if all(work for _, _, work in at) else ()
        turn = hand.turn
        if turn is None or turn.granted or turn.instruments is None:
            return ()
        return tuple(
            (name, other.hand.member, other.hand.work)
            for name, other in turn.instruments.holders(turn)
        )

    def standing_on(self, entry: Any) -> Standing:
        hand = self.hand_at(entry)
        if hand is None:
            return self.standing
        turn = hand.turn
        if turn is None or hand.runs(entry):
            return Standing.RUNNING
        return turn.standing or self.standing
