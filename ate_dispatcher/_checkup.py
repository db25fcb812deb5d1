"""Ends a dispatcher that a test was given, and tells what is not as it should be afterwards."""

from __future__ import annotations

import threading
from typing import Any, Iterable, List, Set

from . import _workers
from ._clock import REAL
from ._log import name_of
from ._messages import STOP
from ._stacks import places_of, shown
from ._virtual_clock import VirtualClock
from .dispatcher import Dispatcher
from .errors import DispatcherError

__all__ = ["closed", "told", "workers"]

REAL_SECONDS = 5.0
"""What threads on real time get for their end, all together."""

_MOMENT = 0.5
"""Seconds for those that nobody stopped in time, and for hooks to hear what they were told."""


def workers() -> Set[Any]:
    """All producers, listeners and dispatchers whose threads live."""
    found = (reference() for reference in list(_workers.alive.values()))
    return {worker for worker in found if worker is not None}


def told(dispatcher: Dispatcher) -> None:
    """Wait until hooks have seen what has happened so far; not for long."""
    desk = dispatcher._ate_desk
    heard = threading.Event()
    desk.observers.call(lambda _: heard.set(), None)
    clock = desk.clock
    if isinstance(clock, VirtualClock):
        try:
            clock.settle()
        except DispatcherError:
            # Stuck or stopped: then they know what they know.
            return
    heard.wait(_MOMENT)


def closed(dispatcher: Dispatcher, before: Set[Any], scripted: Iterable[Any] = ()) -> List[str]:
    """Stop *dispatcher* and what has been started since *before*; what was wrong with that.

    Blocks until all have ended, with a limit in real time. *scripted* producers are released.
    """
    desk = dispatcher._ate_desk
    mine = [
        dispatcher,
        *desk.registry.participants("producers"),
        *desk.registry.participants("listeners"),
    ]
    problems: List[str] = []
    dispatcher.stop()
    for producer in scripted:
        producer.release(for_good=True)
    _join([thread for thread in mine if thread.ident is not None], desk.clock, problems)
    others = [worker for worker in workers() - before if worker not in mine]
    _join([worker for worker in others if _is_told_to_end(worker)], desk.clock, problems)
    for worker in sorted(workers() - before, key=name_of):
        problems.append(_leak(worker))
        worker.stop()
    statistics = dispatcher.statistics()
    if not dispatcher.is_alive() and (
        statistics.open or statistics.fan_out != sum(statistics.verdicts.values())
    ):
        problems.append(f"its sums do not add up: {statistics}")
    return problems


def _join(threads: List[Any], clock: Any, problems: List[str]) -> None:
    if isinstance(clock, VirtualClock) and not clock.stuck:
        try:
            for thread in threads:
                thread.join()
        except DispatcherError as error:
            problems.append(str(error))
    if isinstance(clock, VirtualClock) and clock.stuck:
        # Nobody who waits for it gets any further.
        clock.stop()
        limit = REAL.now() + _MOMENT
    else:
        limit = REAL.now() + REAL_SECONDS
    for thread in threads:
        threading.Thread.join(thread, max(0.0, limit - REAL.now()))


def _is_told_to_end(worker: Any) -> bool:
    if isinstance(worker, Dispatcher):
        return worker._ate_desk.refusal is not None
    return any(item is STOP for item in list(worker._ate_mailbox.items))


def _leak(worker: Any) -> str:
    kind = "dispatcher" if isinstance(worker, Dispatcher) else "thread"
    stack = shown(places_of(worker))
    where = f", in\n{stack}" if stack else "; was it stopped?"
    return f"the {kind} {name_of(worker)} lives on after the test{where}"
