"""Ends what a test was given, and tells what is not as it should be afterwards."""

from __future__ import annotations

import threading
from typing import Any, Dict, Iterable, List, Set, Tuple

from .._core.durations import NEVER
from .._core.report import shown
from .._delivery.sentinels import STOP
from .._engine.process import living_participants
from .._log import name_of
from .._observing.stacks import places_of
from .._participants.participant import Participant
from .._time.clock import REAL
from .._time.virtual_clock import VirtualClock
from ..dispatcher import Dispatcher
from ..errors import DispatcherError
from ..views.timeline import Timeline
from .scripts import ScriptedProducer

__all__ = ["closed", "ended", "left", "told", "workers"]

REAL_SECONDS = 3.0
"""What threads on real time get for their end, all together."""

_MOMENT = 0.5
"""Seconds for those that nobody stopped in time, and for hooks to hear what they were told."""


def workers() -> Set[Any]:
    """All producers, listeners and dispatchers whose threads live."""
    return set(living_participants())


def told(dispatcher: Dispatcher, timeline: Timeline) -> None:
    """Wait until *timeline*, a hook of it, has seen what has happened so far; not for long."""
    engine = dispatcher._ate_engine
    clock = engine.clock
    if engine.observers.ended:
        return
    if isinstance(clock, VirtualClock) and not clock.stopped:
        if not clock.stuck:
            parker = clock.parker()
            engine.observers.call(parker.unpark, None)
            try:
                # They have their turn before time goes by.
                parker.park_until(NEVER)
                return
            except DispatcherError:
                pass
        # Its thread does not get its turn any more.
        for event in engine.observers.untold():
            timeline(event)
    else:
        heard = threading.Event()
        engine.observers.call(lambda _: heard.set(), None)
        heard.wait(_MOMENT)


def closed(dispatcher: Dispatcher, scripted: Iterable[Any] = ()) -> List[str]:
    """Stop *dispatcher* with its participants; what was wrong with that.

    Blocks until all have ended, with a limit in real time. *scripted* producers are released, and
    those that are registered.
    """
    engine = dispatcher._ate_engine
    mine = [
        dispatcher,
        *dispatcher.producers(),
        *dispatcher.listeners(),
    ]
    dispatcher.stop()
    for each in (*scripted, *mine):
        if isinstance(each, ScriptedProducer):
            each.release(for_good=True)
    problems = _joined([thread for thread in mine if thread._ate_was_started()], engine.clock)
    statistics = dispatcher.statistics()
    if not dispatcher.is_alive() and (
        statistics.open or statistics.fan_out != sum(statistics.verdicts.values())
    ):
        problems.append(f"its sums do not add up: {statistics}")
    return problems


def ended(participants: Iterable[Any]) -> List[str]:
    """Stop what a test has been made, and wait for it; what was wrong with that."""
    cast = list(participants)
    for each in cast:
        each.stop()
        if isinstance(each, ScriptedProducer):
            each.release(for_good=True)
    return _all_joined(each for each in cast if each._ate_was_started())


def left(suspects: Set[Any]) -> List[str]:
    """Who of the *suspects* lives on; it is told to end."""
    problems: List[str] = []
    # Dispatchers first: at their end they stop the others.
    for kind in (Dispatcher, Participant):
        living = workers() & suspects
        problems += _all_joined(
            each for each in living if isinstance(each, kind) and _is_told_to_end(each)
        )
    leaks = sorted(workers() & suspects, key=name_of)
    for worker in leaks:
        problems.append(_leak(worker))
        worker.stop()
    limit = REAL.now() + _MOMENT
    for worker in leaks:
        # So that the next test does not meet it, if it can be helped.
        worker._ate_join_really(max(0.0, limit - REAL.now()))
    return problems


def _all_joined(participants: Iterable[Any]) -> List[str]:
    problems: List[str] = []
    by_clock: Dict[int, Tuple[Any, List[Any]]] = {}
    for each in participants:
        clock = each._ate_clock or REAL
        by_clock.setdefault(id(clock), (clock, []))[1].append(each)
    for clock, threads in by_clock.values():
        problems += _joined(threads, clock)
    return problems


def _joined(threads: List[Any], clock: Any) -> List[str]:
    problems: List[str] = []
    limit, patience = REAL.now() + REAL_SECONDS, 1.0
    if isinstance(clock, VirtualClock):
        # A test that has lost its patience has paid for it: who does not end is found later.
        if clock.stuck:
            clock.stop()
            limit = REAL.now() + _MOMENT
        try:
            # Longer and longer: some sleep till the end of days, others wake up all the time.
            while True:
                if REAL.now() >= limit or clock.stopped or not _alive(threads):
                    break
                for thread in _alive(threads):
                    thread.join(patience)
                patience *= 4
        except DispatcherError as error:
            problems.append(str(error))
        if _alive(threads) and not clock.stopped:
            # Nobody who waits for it gets any further, or some wait again and again.
            problems += [_leak(thread) for thread in _alive(threads) if not problems]
            clock.stop()
            limit = REAL.now() + _MOMENT
    for thread in threads:
        thread._ate_join_really(max(0.0, limit - REAL.now()))
    return problems


def _alive(threads: List[Any]) -> List[Any]:
    return [thread for thread in threads if thread.is_alive()]


def _is_told_to_end(worker: Any) -> bool:
    if isinstance(worker, Dispatcher):
        return worker._ate_engine.gate.refusal is not None
    return any(item is STOP for item in list(worker._ate_mailbox.items))


def _leak(worker: Any) -> str:
    kind = "dispatcher" if isinstance(worker, Dispatcher) else "thread"
    stack = shown(places_of(worker))
    where = f", in\n{stack}" if stack else "; was it stopped?"
    return f"the {kind} {name_of(worker)} lives on after the test{where}"
