"""The caller's view of one request: it only shows what the ledger decided.

A handle *is* the ledger's request, with methods: one object for both.
"""

from __future__ import annotations

from typing import (
    Any,
    AsyncIterator,
    Callable,
    Dict,
    Generator,
    Iterator,
    List,
    Optional,
    Set,
    Tuple,
)

from typing_extensions import Literal

from .._core.completeness import called, incomplete, is_complete
from .._core.durations import timeout_instant
from .._core.records import ERROR, MEMBER, VALUE, Close, Part, Record, newest_first
from .._core.report import Progress, Reply, Report
from .._core.reporting import replies_between, report_of
from .._core.request import Request
from .._core.tables import Table, Tabular
from .._delivery.local_member import LocalWorker
from ..errors import BadValue, RequestTimeout
from .engine import Engine, Order
from .link import Elsewhere
from .waiting import in_its_loop, is_done, wait_for, wait_in_loop

__all__ = ["Handle"]

_OF_THE_REQUEST = ("completion", "id", "topic")
"""What a handle shows of the request that it is."""


class Handle(Request, Tabular):
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

    engine: Engine

    # -- looking, never blocking ---------------------------------------------------------------

    def done(self) -> bool:
        """Whether the request has ended.

        A test on virtual time that asks again and again without ever waiting gets VirtualTimeStuck:
        time passes only where it waits.
        """
        return is_done(self.engine, self)

    @property
    def replies(self) -> Tuple[Reply, ...]:
        """Every reply accepted so far, errors included, in the order of arrival."""
        return tuple(self._between(None, self.chain))

    @property
    def progress(self) -> Tuple[Progress, ...]:
        """What producers that are at it say of how far they are, in roster order."""
        found, mine = [], (id(self.engine), self.id)
        judged: Optional[Set[int]] = None
        for member in self.roster:
            for worker in member.workers:
                said = worker.progress if isinstance(worker, LocalWorker) else None
                if said is not None and said[:2] == mine and worker.running is self:
                    found.append(Progress(self.name_of(member), *said[2:]))
            away = None if self.extras is None else self.extras.away
            elsewhere = away.progress if isinstance(away, Elsewhere) else None
            far = None if elsewhere is None else elsewhere.get(id(member))
            if far is not None and self.completion is None:
                judged = self.judged() if judged is None else judged
                if id(member) not in judged:
                    found.append(Progress(self.name_of(member), *far))
        return tuple(found)

    @property
    def error(self) -> Optional[BaseException]:
        """What the predicate of an ``Until`` raised, if that ended the request."""
        return None if self.need is None else self.need.error

    def report(self) -> Report:
        """A frozen snapshot of now; after the end it shows late answers as they come in."""
        return report_of(self, self.engine.now())

    @property
    def missing(self) -> Tuple[Any, ...]:
        """The producers that have given no answer in time (yet), in roster order."""
        answered = {id(member) for member in self.answered()}
        return tuple(m.producer for m in self.roster if id(m) not in answered)

    # -- waiting -------------------------------------------------------------------------------

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Block until the request has ended, *timeout* seconds at most; whether it has."""
        deadline = timeout_instant(self.engine.now(), timeout)
        return self.completion is not None or wait_for(self.engine, self, deadline, None)

    def results(
        self, timeout: Optional[float] = None, require: Optional[Literal["all"]] = None
    ) -> List[Any]:
        """Block until the end; the values of the OK replies in the order of arrival.

        Parameters
        ----------
        timeout: float, optional
            Seconds to wait; None waits for the end, which comes at the ttl at the latest once the
            dispatcher is started. Before that nothing ends; a wait beyond the ttl says so in the
            log.
        require: "all", optional
            Insist on a value from every producer that was asked. The parts of a stream that has not
            come to its end are results, but no value in this sense. With ``members="open"``, where
            nobody knows who could answer: on a value from each producer of this machine and from
            everybody else who has answered, at least from one, and that what was needed has come.

        Raises
        ------
        RequestTimeout
            (a TimeoutError) The end did not come within *timeout*; the request goes on.
        IncompleteError
            With ``require="all"``: somebody did not answer, or raised; with ``members="open"`` also
            that ``need`` was not met, or the time cut short. It names them and carries the results
            that came.
        """
        if require not in (None, "all"):
            raise BadValue(f'require must be None or "all", not {require!r}')
        if not self.wait(timeout):
            raise RequestTimeout(f"request {self.id} is still open after {timeout} s")
        values, errors = [], []
        for record in newest_first(self.chain):
            if record[ERROR] is not None:
                errors.append(record[ERROR])
            elif record.__class__ is not Close:
                values.append(record[VALUE])
        values.reverse()
        if require == "all" and not is_complete(self):
            errors.reverse()
            cause = self.error or (errors[0] if errors else None)
            raise incomplete(self, self.report(), values, errors) from cause
        return values

    def by_producer(
        self, timeout: Optional[float] = None, require: Optional[Literal["all"]] = None
    ) -> Dict[str, Any]:
        """The same values, each under the name of its producer; who gave none is not there.

        In the order of the registrations; with ``members="open"`` whoever else has answered behind
        those. A producer that streams has a list. Where several on a topic have one name, and are
        on several machines, it is ``"part/name"``, as in reports.

        Raises
        ------
        RequestTimeout, IncompleteError
            As :meth:`results` does.
        BadValue
            Two of one machine, or two programs that have no part, have the same name; or, with
            ``members="open"``, one that streams elsewhere has given several values. ``replies``
            tells them apart.
        """
        self.results(timeout, require)
        values: Dict[int, Any] = {}
        asked = {id(member) for member in self.roster}
        for record in reversed(list(newest_first(self.chain))):
            key = id(record[MEMBER])
            if record.__class__ is Close:
                values.setdefault(key, [])
            elif record.__class__ is Part and key in asked:
                values.setdefault(key, []).append(record[VALUE])
            elif record[ERROR] is None:
                values[key] = record[VALUE]
        names: Dict[str, int] = {}
        for key, name in called(self).items():
            if names.setdefault(name, key) != key:
                what = "producers are called" if key in asked else "answers are of"
                raise BadValue(f"two {what} {name!r}: look at replies instead")
        return {name: values[key] for name, key in names.items() if key in values}

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
            wait_for(self.engine, self, float("inf"), (seen,))

    # -- asking for more -----------------------------------------------------------------------

    def cancel(self) -> None:
        """End the request as ``CANCELLED`` soon; does not wait, and is harmless after the end.

        Producers that have not begun will not; one that runs can see it in
        ``current_request().cancelled``, and its answer is discarded.
        """
        if self.completion is None:
            self.engine.post(Order.CANCEL, self)

    def add_done_callback(self, callback: Callable[[Handle], Any]) -> None:
        """Call ``callback(handle)`` once after the end, on the dispatcher's observer thread.

        Callbacks and hooks run one at a time in the order of events; one that raises is logged.
        Called soon also if the request has already ended; if the dispatcher has ended too, at once
        on the calling thread. Added where an asyncio event loop runs it is called in that loop,
        as a Future's is: so ``asyncio.wait`` takes handles.
        """
        self.engine.post(Order.CALL_WHEN_DONE, self, in_its_loop(callback))

    def remove_done_callback(self, callback: Callable[[Handle], Any]) -> int:
        """Do not call *callback* any more; how many times it was there, as far as it is known yet.

        One that was added just now may be called all the same.
        """
        removed = 0
        while True:
            # Each time: it is another's as soon as the request has ended.
            callbacks = None if self.extras is None else self.extras.callbacks
            if not callbacks:
                break
            try:
                callbacks.remove(callback)
            except ValueError:
                break
            removed += 1
        return removed

    # -- in an event loop ----------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, Report]:
        return self._ended().__await__()

    async def _ended(self) -> Report:
        while self.completion is None:
            await wait_in_loop(self.engine, self, None)
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
            await wait_in_loop(self.engine, self, (seen,))

    # -- inside --------------------------------------------------------------------------------

    def _table(self) -> Table:
        return self.report()._table()

    def _between(self, seen: Optional[Record], newest: Optional[Record]) -> List[Reply]:
        return replies_between(seen, newest, self.sent)

    def __dir__(self) -> List[str]:
        # What the ledger keeps in here is not for users.
        own = [name for name in vars(Handle) if name != "engine"]
        return sorted({*object.__dir__(self)} - {*dir(Request)} | {*own, *_OF_THE_REQUEST})

    def __copy__(self) -> Handle:
        return self

    def __deepcopy__(self, memo: Any) -> Handle:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("a Handle belongs to a live dispatcher; pickle report().to_dict() instead")

    def __repr__(self) -> str:
        state = self.completion.name if self.completion else f"open, {self.left} to come"
        return f"<Handle {self.id} on {self.topic!r}: {state}>"
