"""The caller's view of one request: it only shows what the ledger decided.

A handle *is* the ledger's entry, with methods: one object per request. Nothing is made for a waiter
until somebody waits: a waiter puts its bell into the desk's ``waiting``, by the request's id, and
then looks once more; whoever ends the request first says so and then looks for bells.
"""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    List,
    Optional,
    Tuple,
)

from .. import _log
from .._core.outcomes import Completion, Verdict
from .._core.records import ERROR, VALUE, Close, Part, Record
from .._core.report import Progress, Reply, Report, replies_between, report_of
from .._core.request import Entry
from .._observing.deadlocks import nested
from .._participants.participant import own_hand
from .._time.clock import timeout_deadline
from ..errors import BadType, BadValue, DispatcherError, IncompleteError, RequestTimeout

if TYPE_CHECKING:
    # Imported where an event loop is served: most programs have none.
    import asyncio

__all__ = ["Handle", "LoopBell"]


class Handle(Entry):
    """One request, as :meth:`Dispatcher.send_request` returns it.

    Every method may be called from any thread; those that wait say so. Iterating yields every
    accepted :class:`Reply` in the order of arrival until the request ends, whenever one looks:
    a slow reader loses nothing. ``await handle`` gives the report and never blocks the event loop;
    ``async for`` iterates likewise.

    Attributes
    ----------
    id: int
        Grows with every request of the dispatcher.
    topic: hashable
        As it was sent.
    completion: Completion or None
        Why it ended; None while it is open.
    """

    __slots__ = ()

    # -- looking, never blocking ---------------------------------------------------------------

    def done(self) -> bool:
        """Whether the request has ended."""
        return self.completion is not None

    @property
    def replies(self) -> Tuple[Reply, ...]:
        """Every reply accepted so far, errors included, in the order of arrival."""
        return tuple(self._between(None, self.chain))

    @property
    def progress(self) -> Tuple[Progress, ...]:
        """What producers that are at it say of how far they are, in roster order."""
        found, mine = [], (id(self.desk), self.id)
        for member in self.roster:
            for hand in member.hands:
                said = hand.progress
                if said is not None and said[:2] == mine and hand.running is self:
                    found.append(Progress(member.name, *said[2:]))
        return tuple(found)

    @property
    def error(self) -> Optional[BaseException]:
        """What the predicate of an ``Until`` raised, if that ended the request."""
        return None if self.extra is None or self.extra.need is None else self.extra.need.error

    def report(self) -> Report:
        """A frozen snapshot of now; after the end it shows late answers as they come in."""
        return report_of(self, self.desk.clock.now())

    @property
    def missing(self) -> Tuple[Any, ...]:
        """The producers that have given no answer in time (yet), in roster order."""
        answered = {id(member) for member in self.spoken()}
        return tuple(m.producer for m in self.roster if id(m) not in answered)

    # -- waiting -------------------------------------------------------------------------------

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Block until the request has ended, *timeout* seconds at most; whether it has."""
        deadline = timeout_deadline(self.desk.clock, timeout)
        return self.completion is not None or self._wait(deadline, None)

    def results(self, timeout: Optional[float] = None, require: Optional[str] = None) -> List[Any]:
        """Block until the end; the values of the OK replies in the order of arrival.

        Parameters
        ----------
        timeout: float, optional
            Seconds to wait; None waits for the end, which comes at the ttl at the latest once the
            dispatcher is started. Before that nothing ends; a wait beyond the ttl says so in the
            log.
        require: "all", optional
            Insist on a value from every producer that was asked.

        Raises
        ------
        RequestTimeout
            (a TimeoutError) The end did not come within *timeout*; the request goes on.
        IncompleteError
            With ``require="all"``: somebody did not answer, or raised. It names them and carries
            the results that came.
        """
        if require not in (None, "all"):
            raise BadValue(f'require must be None or "all", not {require!r}')
        if not self.wait(timeout):
            raise RequestTimeout(f"request {self.id} is still open after {timeout} s")
        values, errors, answered = [], [], 0
        record = self.chain
        while record is not None:
            if record[ERROR] is not None:
                errors.append(record[ERROR])
            else:
                answered += record.__class__ is not Part
                if record.__class__ is not Close:
                    values.append(record[VALUE])
            record = record[-1]
        values.reverse()
        errors.reverse()
        if require == "all" and answered != max(1, len(self.roster)):
            self._incomplete(values, errors)
        return values

    def __iter__(self) -> Iterator[Reply]:
        seen = None
        while True:
            # In this order: what was accepted before the end is in the chain when the end shows.
            ended = self.completion is not None
            newest = self.chain
            yield from self._between(seen, newest)
            seen = newest
            if ended:
                return
            self._wait(float("inf"), (seen,))

    # -- asking for more -----------------------------------------------------------------------

    def cancel(self) -> None:
        """End the request as ``CANCELLED`` soon; does not wait, and is harmless after the end.

        Producers that have not begun will not; one that runs can see it in
        ``current_request().cancelled``, and its answer is discarded.
        """
        if self.completion is None:
            self.desk.post("cancel", self)

    def add_done_callback(self, callback: Callable[[Handle], Any]) -> None:
        """Call ``callback(handle)`` once after the end, on the dispatcher's observer thread.

        Callbacks and hooks run one at a time in the order of events; one that raises is logged.
        Called soon also if the request has already ended; if the dispatcher has ended too, at once
        on the calling thread.
        """
        if not callable(callback):
            raise BadType(f"callback must be callable, not {callback!r}")
        self.desk.post("call_when_done", self, callback)

    # -- in an event loop ----------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, Report]:
        return self._ended().__await__()

    async def _ended(self) -> Report:
        while self.completion is None:
            await self._wait_in_loop(None)
        return self.report()

    async def __aiter__(self) -> AsyncIterator[Reply]:
        seen = None
        while True:
            ended = self.completion is not None
            newest = self.chain
            for reply in self._between(seen, newest):
                yield reply
            seen = newest
            if ended:
                return
            await self._wait_in_loop((seen,))

    # -- inside --------------------------------------------------------------------------------

    def _between(self, seen: Optional[Record], newest: Optional[Record]) -> List[Reply]:
        return replies_between(seen, newest, self.sent)

    def _moved(self, seen: Optional[Tuple[Any]]) -> bool:
        """Whether it has ended, or, for one who has *seen* some replies, has newer ones."""
        return self.completion is not None or (seen is not None and self.chain is not seen[0])

    def _wait(self, deadline: float, seen: Optional[Tuple[Any]]) -> bool:
        bell = self.desk.clock.bell()
        waiter = (bell, seen is not None)
        hand = own_hand()
        try:
            if hand is not None:
                # In the middle of another request: all may be waiting for each other.
                hand.awaits = self, seen is not None
                nested[id(hand)] = hand
                self.desk.post("look_for_circle", hand)
            while True:
                self._enlist(waiter)
                if self._moved(seen):
                    return True
                if self.deadline < deadline and not self.desk.begun:
                    # Nothing ends before the dispatcher is started: somebody may have forgotten.
                    if bell.wait(self.deadline):
                        continue
                    if not self.desk.begun:
                        _log.lost("request %d waits for its dispatcher to be started", self.id)
                if not bell.wait(deadline):
                    return self._moved(seen)
        finally:
            if hand is not None:
                nested.pop(id(hand), None)
                hand.awaits = None
            self._dismiss(waiter)

    async def _wait_in_loop(self, seen: Optional[Tuple[Any]]) -> None:
        import asyncio

        if not getattr(self.desk.clock, "moved_by_loops", True):
            raise DispatcherError(
                "a coroutine does not move virtual time: let it pass before, or test on real time"
            )
        bell = LoopBell(asyncio.get_running_loop())
        waiter = (bell, seen is not None)
        try:
            self._enlist(waiter)
            if not self._moved(seen):
                await bell.future
        finally:
            self._dismiss(waiter)

    def _enlist(self, waiter: Any) -> None:
        waiters = self.desk.waiting.setdefault(self.id, [])
        if waiter not in waiters:
            waiters.append(waiter)

    def _dismiss(self, waiter: Any) -> None:
        waiting = self.desk.waiting
        waiters = waiting.get(self.id)
        if waiters is not None:
            try:
                waiters.remove(waiter)
            except ValueError:
                pass
            if not waiters and self.completion is not None:
                # Whoever enlists in it now looks at the completion next.
                waiting.pop(self.id, None)

    def _incomplete(self, values: List[Any], errors: List[BaseException]) -> None:
        report = self.report()
        if not report.members:
            raise IncompleteError(f"nobody was registered for the topic of request {self.id}")
        silent = ", ".join(report.missing) or "nobody"
        raised = ", ".join(report.failed) or "nobody"
        completion: Optional[Completion] = self.completion
        raise IncompleteError(
            f"request {self.id} ended as {completion.name if completion else 'open'} with "
            f"{report.count(Verdict.OK)} of {len(self.roster)} results; "
            f"no answer in time from: {silent}; "
            f"raised: {raised}",
            values,
            report.missing,
            errors,
        ) from (self.error or (errors[0] if errors else None))

    def __copy__(self) -> Handle:
        return self

    def __deepcopy__(self, memo: Any) -> Handle:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("a Handle belongs to a live dispatcher; pickle report().to_dict() instead")

    def __repr__(self) -> str:
        state = self.completion.name if self.completion else f"open, {self.left} to come"
        return f"<Handle {self.id} on {self.topic!r}: {state}>"


class LoopBell:
    """A bell that wakes a coroutine: rung from any thread, heard in its event loop."""

    __slots__ = ("_loop", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def ring(self, _: None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._heard)
        except RuntimeError:
            # The loop was closed meanwhile: nobody waits there any more.
            pass

    def _heard(self) -> None:
        if not self.future.done():
            self.future.set_result(None)
