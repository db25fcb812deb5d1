"""How a thread or a coroutine waits for a request.

Nothing is made for a waiter until somebody waits. A waiter enlists with what it parks on, says so
on the request, and then looks once more; whoever ends the request says that first and then looks
for waiters, which it takes out (P9). What a wait that was cut short leaves behind costs nobody
anything, and goes with the request's end.
"""

from __future__ import annotations

import contextlib
from collections import abc
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Tuple

from typing_extensions import Protocol

from .. import _log
from .._arguments import check_callable
from .._core.durations import NEVER
from .._core.outcomes import Completion
from .._core.request import Request
from .._core.snapshots import copied
from .._delivery.local_member import LocalWorker
from .._observing.deadlocks import LOOKS, circle_of
from .._time.clock import REAL, spawn
from .._time.running_loop import running_loop
from ..errors import DispatcherError
from .engine import Engine
from .process import CURRENT_WORKER, nested

if TYPE_CHECKING:
    # Imported where an event loop is served: most programs have none.
    import asyncio

__all__ = [
    "A_WHILE",
    "Awaited",
    "Seen",
    "beside_the_loop",
    "finished",
    "in_its_loop",
    "is_done",
    "look_for_circle",
    "loop_parker",
    "own_worker",
    "wait_for",
    "wait_in_loop",
    "wake",
]

Seen = Optional[Tuple[Any]]
"""For one who waits for the end, None; for one who waits for any reply, the newest it has seen."""


class Awaited(Protocol):
    """What one may wait for: a request, or what was published."""

    @property
    def id(self) -> int: ...

    @property
    def chain(self) -> Any: ...

    @property
    def deadline(self) -> float: ...

    @property
    def completion(self) -> Optional[Completion]: ...

    @property
    def called(self) -> str: ...

    awaited: bool


A_WHILE = 1.0
"""So many seconds one waits for what was never started before that is said."""


def is_done(engine: Engine, request: Awaited) -> bool:
    """Whether it has ended; a clock whose time passes only in waits is told of a look in vain."""
    if request.completion is not None:
        return True
    looked = engine.looked
    if looked is not None:
        looked(request.id)
    return False


def in_its_loop(callback: Any) -> Any:
    """*callback*, a done callback, as it is to be called: in the event loop that runs here, if any.

    BadType if it is none.
    """
    check_callable("callback", callback)
    loop = running_loop()
    return callback if loop is None else InLoop(loop, callback)


def own_worker() -> Optional[LocalWorker]:
    """The worker that the calling thread is, if it is one."""
    worker = CURRENT_WORKER.get()
    return worker if isinstance(worker, LocalWorker) and worker.runs_here() else None


def awaiting_worker() -> Optional[LocalWorker]:
    """The worker whose task calls this, if one does; not what it has others do meanwhile."""
    worker = CURRENT_WORKER.get()
    return worker if isinstance(worker, LocalWorker) and worker.awaits_here() else None


def wait_for(engine: Engine, request: Awaited, deadline: float, seen: Seen) -> bool:
    """Block until *request* has ended, or moved beyond *seen*; or until *deadline*."""
    clock = engine.clock
    parker = clock.parker()
    waiter = (parker, seen is not None)
    # Listeners do not wait: there is no circle through what was published.
    worker = own_worker() if isinstance(request, Request) else None
    looks = iter(LOOKS if worker is not None else ())
    began = clock.now()
    look = began + next(looks, NEVER)
    told = False
    try:
        if worker is not None:
            # In the middle of another request: all may be waiting for each other.
            worker.awaits = request, seen is not None
            nested[id(worker)] = worker
        while True:
            _enlist(engine, request, waiter)
            if _moved(request, seen):
                return True
            until = min(deadline, look)
            if not told and engine.is_unstarted():
                until = min(until, request.deadline, began + A_WHILE)
            if parker.park_until(until):
                continue
            if until == look and until < deadline:
                look_for_circle(worker)
                look = began + next(looks, NEVER)
            elif until < deadline:
                # Nothing ends before the dispatcher is started: somebody may have forgotten.
                told = True
                if engine.is_unstarted():
                    _log.lost("%s waits for its dispatcher to be started", request.called)
            else:
                return _moved(request, seen)
    finally:
        if worker is not None:
            nested.pop(id(worker), None)
            worker.awaits = None
        _dismiss(engine, request, waiter)


async def wait_in_loop(engine: Engine, request: Awaited, seen: Seen) -> None:
    """The same in an event loop, which goes on meanwhile; perhaps for nothing: look again."""
    parker = loop_parker(engine)
    waiter = (parker, seen is not None)
    worker = awaiting_worker() if isinstance(request, Request) else None
    try:
        if worker is not None:
            worker.awaits = request, seen is not None
            nested[id(worker)] = worker
            parker.look_later(worker)
        _enlist(engine, request, waiter)
        if not _moved(request, seen):
            await parker.future
    finally:
        if worker is not None:
            nested.pop(id(worker), None)
            worker.awaits = None
        parker.look_no_more()
        _dismiss(engine, request, waiter)


def loop_parker(engine: Engine) -> LoopParker:
    """What the coroutine that calls this may wait on."""
    loop = running_loop()
    if loop is None:
        raise DispatcherError(
            "no asyncio event loop runs here, which waiting for a handle needs; elsewhere, under "
            "trio for example, wait on a thread: await trio.to_thread.run_sync(handle.wait)"
        )
    moved = getattr(engine.clock, "moved_by_loops", True)
    if not moved and getattr(loop, "clock", None) is not engine.clock:
        raise DispatcherError(
            "a coroutine does not move virtual time: let it pass before, or test on real time"
        )
    return LoopParker(loop)


def wake(engine: Engine, request: Awaited) -> None:
    """Wake who waits for *request*. Outside the section, by whoever has changed it there (P9)."""
    ended = request.completion is not None
    waiting = engine.waiting
    waiters = waiting.pop(request.id, None) if ended else waiting.get(request.id)
    if waiters is None:
        return
    for parker, each in copied(waiters.values()):
        if ended or each:
            parker.unpark(None)


def look_for_circle(worker: Any) -> None:
    """Say so if *worker*, which has waited for a while, is in a circle. On its own thread."""
    found = circle_of(worker) if nested else None
    if found is not None:
        _log.lost("in a circle, until a deadline or for ever: %s", found)


def _moved(request: Awaited, seen: Seen) -> bool:
    """Whether it has ended, or, for one who has *seen* some replies, has newer ones."""
    return request.completion is not None or (seen is not None and request.chain is not seen[0])


def _enlist(engine: Engine, request: Awaited, waiter: Tuple[Any, bool]) -> None:
    engine.waiting.setdefault(request.id, {})[id(waiter)] = waiter
    request.awaited = True


def _dismiss(engine: Engine, request: Awaited, waiter: Tuple[Any, bool]) -> None:
    waiters = engine.waiting.get(request.id)
    if waiters is not None:
        waiters.pop(id(waiter), None)
        # In this order: whoever enlists in it after the end looks at that next.
        if request.completion is not None and not waiters:
            engine.waiting.pop(request.id, None)


async def finished(value: Any) -> Any:
    """*value*, or what it comes to, if it is a coroutine."""
    return await value if isinstance(value, abc.Coroutine) else value


async def beside_the_loop(function: Callable[[], Any]) -> None:
    """Call *function*, which blocks, on a thread of its own; the event loop goes on meanwhile.

    Not in the loop's executor: whoever has all of its threads may wait for what this does.
    """
    import asyncio

    parker = LoopParker(asyncio.get_running_loop())
    failed: List[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            failed.append(error)
        parker.unpark(None)

    spawn(REAL, call, "beside the event loop", REAL.parker())
    await parker.future
    if failed:
        raise failed[0]


class InLoop:
    """A callback that is called in its event loop. Equal to the callback itself, to be found."""

    __slots__ = ("_callback", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[Any], Any]) -> None:
        self._loop = loop
        self._callback = callback

    def __call__(self, argument: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._callback, argument)
        except RuntimeError:
            # The loop was closed meanwhile: nobody waits there any more.
            pass

    def __eq__(self, other: object) -> bool:
        return self._callback == (other._callback if isinstance(other, InLoop) else other)

    __hash__ = None  # type: ignore[assignment]


class LoopParker:
    """What wakes a coroutine: unparked from any thread, heard in its event loop."""

    __slots__ = ("_loop", "_timers", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: List[asyncio.TimerHandle] = []
        self.future: asyncio.Future[None] = loop.create_future()

    def unpark(self, _: None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._heard)
        except RuntimeError:
            # The loop was closed meanwhile: nobody waits there any more.
            pass

    def look_later(self, worker: LocalWorker) -> None:
        """As one that blocks does, while it waits."""
        # Virtual time may have come to its end.
        with contextlib.suppress(DispatcherError):
            for seconds in LOOKS:
                self._timers.append(self._loop.call_later(seconds, look_for_circle, worker))

    def look_no_more(self) -> None:
        """It has waited."""
        while self._timers:
            self._timers.pop().cancel()

    def _heard(self) -> None:
        if not self.future.done():
            self.future.set_result(None)
