"""A producer as the ledger sees it: its workers, and what each of them is at.

Plain objects: who drives them, a thread, a coroutine or a test, is nobody's business here.
"""

from __future__ import annotations

import itertools
from typing import Any, Dict, List, Optional, Tuple

from typing_extensions import Self

from .. import _log
from .outcomes import Standing

__all__ = ["Claim", "HeldUp", "Member", "Spent", "Start", "Worker"]

HeldUp = Tuple[Tuple[str, Any, int], ...]
"""Instruments, the member that has each, and its request; or "", itself, and what it is at."""

Spent = Tuple[Optional[float], Optional[float]]
"""Seconds of waiting for instruments, and at the start line; None for what was not waited for."""

_numbers = itertools.count(1)


class Start(float):
    """The instant at which a member began, with what it had spent after its turn had come.

    And, of one elsewhere, the seconds on the way there and back.
    """

    __slots__ = ("network", "spent")

    spent: Spent
    network: Optional[float]

    def __new__(cls, instant: float, spent: Spent, network: Optional[float] = None) -> Self:
        """At *instant*."""
        start = float.__new__(cls, instant)
        start.spent = spent
        start.network = network
        return start


class Claim:
    """What a worker waits for between the mailbox and the beginning: instruments, then the line.

    Changed inside the section; its worker also reads it while it waits.
    """

    __slots__ = (
        "came",
        "granted",
        "instruments",
        "line",
        "lined",
        "names",
        "request",
        "standing",
        "taken",
        "worker",
    )

    def __init__(self, request: Any, worker: Worker, came: float) -> None:
        self.request: Any = request
        self.worker: Worker = worker
        self.names: Tuple[str, ...] = worker.member.needed_on(request.channel)
        #: Where it has asked for them.
        self.instruments: Any = None
        #: The start line of the request, if it has one.
        self.line: Any = None if request.extras is None else request.extras.line
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


class Worker:
    """What serves requests for a member, one at a time: what it is at, and since when.

    ``running`` is the request it is in, ``claim`` what it waits for before that; both are set and
    cleared inside the section.
    """

    __slots__ = ("began", "claim", "member", "running")

    def __init__(self, member: Member) -> None:
        self.member: Member = member
        self.running: Any = None
        self.began: float = 0.0
        self.claim: Optional[Claim] = None

    @property
    def work(self) -> int:
        """The id of the request that it is at; 0 for none."""
        claim = self.claim
        request = self.running or (None if claim is None else claim.request)
        return 0 if request is None else int(request.id)

    def runs(self, request: Any) -> bool:
        """Whether it is in *request*, or in the stub that has taken its place while it ends."""
        running = self.running
        return running is not None and (
            running is request or (running.id == request.id and running.engine is request.engine)
        )

    def claims(self, request: Any) -> bool:
        """Whether it has come to *request*, and not begun it."""
        claim = self.claim
        return claim is not None and claim.request is request


class Member(Worker):
    """A producer in rosters; as a worker, the first of its own and often the only one."""

    __slots__ = (
        "engines",
        "exclusive",
        "exclusive_on",
        "failure",
        "number",
        "producer",
        "standing",
        "unjudged",
        "workers",
    )

    def __init__(self, producer: Any, exclusive: Tuple[str, ...] = ()) -> None:
        super().__init__(self)
        #: What tells it from all others: names are no identities.
        self.number: int = next(_numbers)
        self.producer: Any = producer
        #: The instruments that it needs for itself alone, on any topic.
        self.exclusive: Tuple[str, ...] = exclusive
        #: Which of them it needs on which channel, by identity, with a reference to that; None
        #: where it needs all of them on all.
        self.exclusive_on: Optional[Dict[int, Tuple[Tuple[str, ...], Any]]] = None
        #: All that serve its requests; replaced whole.
        self.workers: Tuple[Worker, ...] = (self,)
        #: Who may ask it, by number.
        self.engines: Dict[int, Any] = {}
        #: NOT_STARTED, then QUEUED while it serves, then DEAD.
        self.standing: Standing = Standing.NOT_STARTED
        #: What its set-up raised, in a few words; then it serves nothing, and declines.
        self.failure: Optional[str] = None
        #: Who was not answered by it, and may still be, by the number of the request's engine: so
        #: no dispatcher keeps a producer that was deregistered, and no producer a dispatcher.
        self.unjudged: Dict[int, List[Any]] = {}

    stands_for_many: bool = False
    """Whether it is nobody, but stands for all who may answer without being asked by name."""

    @property
    def part(self) -> Optional[str]:
        """On which part of a dispatcher on several machines it is; None for this one."""
        return None

    @property
    def asked_by(self) -> Optional[str]:
        """What this part is called there, if it is on another."""
        return None

    @property
    def name(self) -> str:
        return _log.name_of(self.producer)

    def needed_on(self, channel: Any) -> Tuple[str, ...]:
        """The instruments that it needs for a request on *channel*."""
        if self.exclusive_on is None:
            return self.exclusive
        return self.exclusive_on.get(id(channel), ((), None))[0]

    def worker_at(self, request: Any) -> Optional[Worker]:
        """Which of its workers has come to *request*."""
        for worker in self.workers:
            if worker.runs(request) or worker.claims(request):
                return worker
        return None

    def held_up_by(self, worker: Optional[Worker]) -> HeldUp:
        """What keeps it from beginning what its *worker*, if any, has come to.

        Its own work, or who has its instruments.
        """
        if worker is None:
            works = [each.work for each in self.workers]
            return tuple([("", self, work) for work in works]) if all(works) else ()
        claim = worker.claim
        if claim is None or claim.granted or claim.instruments is None:
            return ()
        return tuple(
            [
                (name, other.worker.member, other.worker.work)
                for name, other in claim.instruments.holders(claim)
            ]
        )

    def standing_on(self, request: Any) -> Standing:
        return self.standing_of(self.worker_at(request), request)

    def standing_of(self, worker: Optional[Worker], request: Any) -> Standing:
        """Where it stands on *request* with its *worker*, which has come to it, if any has."""
        if worker is None:
            return self.standing
        claim = worker.claim
        if claim is None or worker.runs(request):
            return Standing.RUNNING
        return claim.standing or self.standing
