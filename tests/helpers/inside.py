"""What tests know of the package's inside, in one file.

Whatever cannot be seen by public means is looked at, or changed, through one of these functions:
who rebuilds the inside has this file to adapt, and no test. Tests in ``contract`` do without it.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, Iterator, List

import pytest
from virtual import World

from ate_dispatcher import Dispatcher
from ate_dispatcher._core.durations import NEVER
from ate_dispatcher._delivery.sentinels import STOP
from ate_dispatcher._engine.engine import Phase
from ate_dispatcher._engine.options import Options
from ate_dispatcher._engine.process import LINES
from ate_dispatcher._engine.process import SECTION as THE_SECTION
from ate_dispatcher._time.clock import QueueParker, RealClock

__all__ = ["NEVER", "THE_SECTION", "Options"]

# -- one dispatcher ----------------------------------------------------------------------------


def engine_of(dispatcher: Dispatcher) -> Any:
    """What the threads of one dispatcher share."""
    return dispatcher._ate_engine


def is_watched(dispatcher: Dispatcher) -> bool:
    """Whether a link is told of its registrations."""
    return bool(engine_of(dispatcher).registry.watchers)


def reserved(dispatcher: Dispatcher) -> bool:
    """Whether an instrument is taken, waited for or reserved."""
    return bool(engine_of(dispatcher).instruments)


def start_lines(dispatcher: Dispatcher) -> List[Any]:
    """The start lines, of all dispatchers, that have not started."""
    return list(LINES)


def known_keys(dispatcher: Dispatcher) -> int:
    """How many ordering keys it remembers."""
    return len(engine_of(dispatcher).keys._known)


def waiting(dispatcher: Dispatcher) -> List[int]:
    """The numbers of the requests that it keeps waiters for, be it an empty list of them."""
    return list(engine_of(dispatcher).waiting)


def waiting_for(handle: Any, dispatcher: Dispatcher) -> List[Any]:
    """What those park on who wait for that request."""
    return [parker for parker, _ in engine_of(dispatcher).waiting.get(handle.id, {}).values()]


def is_draining(dispatcher: Dispatcher) -> bool:
    """Whether it waits for the last request to end, and then for nothing else."""
    return engine_of(dispatcher).describe().phase is Phase.DRAINING


def loop_of(dispatcher: Dispatcher) -> Any:
    """What the dispatcher's own thread does."""
    return dispatcher._ate_loop


def to_its_end(dispatcher: Dispatcher) -> None:
    """Wait for the end of one that was stopped before its start, and ends without its thread."""
    loop_of(dispatcher).run()


def before_each_round(dispatcher: Dispatcher, deed: Callable[[], Any]) -> None:
    """Have *deed* called by its loop, that has not started yet, before it takes orders."""
    loop = loop_of(dispatcher)
    usual = loop._some_orders
    loop._some_orders = lambda: (deed(), usual())[1]


def loop_is_parked(dispatcher: Dispatcher) -> bool:
    """Whether its loop sleeps until the next deadline, or is about to."""
    return bool(engine_of(dispatcher).describe().parked)


def loop_is_woken(dispatcher: Dispatcher, clock: Any) -> bool:
    """Whether its loop, parked in virtual time, has been told to go on."""
    return engine_of(dispatcher).orders.parker in clock._ready


def orders_given(dispatcher: Dispatcher) -> List[Any]:
    """A list that grows with each order that is given to its loop from now on."""
    given: List[Any] = []
    engine = engine_of(dispatcher)
    usual = engine.leave
    engine.leave = lambda *order: (given.append(order), usual(*order))[1]
    return given


# -- the section -------------------------------------------------------------------------------

SECTION = "__import__('ate_dispatcher._engine.process', fromlist=['SECTION']).SECTION"
"""The lock around the ledger, for code that runs in another interpreter."""


def is_occupied(dispatcher: Dispatcher) -> bool:
    """Whether a thread is in the section."""
    return bool(THE_SECTION.locked())


# -- what is registered, and the sums ----------------------------------------------------------

UNBALANCE = "dispatcher._ate_engine.ledger.sums._fan_out += 1"
"""Makes the sums of a dispatcher wrong, for code that runs in another interpreter."""


def registry_of(dispatcher: Dispatcher) -> Any:
    """Who is registered there, for what."""
    return engine_of(dispatcher).registry


def listeners_roster(dispatcher: Dispatcher, topic: Any) -> Any:
    """The snapshot of a topic's listeners that is used as long as nobody comes or goes."""
    return registry_of(dispatcher).find(topic).listeners.roster


def reads_listeners(dispatcher: Dispatcher, topic: Any) -> Any:
    """That snapshot, made anew if somebody has come or gone."""
    return registry_of(dispatcher).find(topic).heard()


def put_back(dispatcher: Dispatcher, topic: Any, roster: Any) -> None:
    """Put an older snapshot of them back, as a registration does that was held for long."""
    registry_of(dispatcher).find(topic).listeners.roster = roster


def watch_sums(dispatcher: Dispatcher, kind: Callable[[Dict[Any, int]], Dict[Any, int]]) -> None:
    """Replace the dictionaries of its sums by such of a *kind*, made of what is in them."""
    sums = engine_of(dispatcher).ledger.sums
    sums._verdicts = kind(sums._verdicts)
    sums._completions = kind(sums._completions)


def give_value(dispatcher: Dispatcher, handle: Any, number: int, value: Any, at: float) -> None:
    """Write *value* down as one more of that member's stream, as its own thread would."""
    engine_of(dispatcher).ledger.streamed(handle, handle.roster[number], value, at)


# -- participants ------------------------------------------------------------------------------


def mailbox_of(participant: Any) -> Any:
    """The queue that its thread lives on; a dispatcher has one as well."""
    return participant._ate_mailbox


def backlog(participant: Any) -> int:
    """How many messages wait for it, with what has ended and was not cleared away."""
    return int(mailbox_of(participant).backlog())


def is_parked(participant: Any) -> bool:
    """Whether it sleeps, or is about to, with nothing to do."""
    mailbox = mailbox_of(participant)
    return bool(mailbox.parked() and not mailbox.items)


def parked_workers(producer: Any) -> int:
    """How many of several workers sleep, or are about to."""
    return len(mailbox_of(producer)._parked)


def put_items(participant: Any, items: Any) -> None:
    """Have its messages in *items*; nobody may have put any."""
    mailbox_of(participant).items = items


def parker_of(participant: Any) -> Any:
    """What its thread parks on."""
    return mailbox_of(participant).parker


def loses_what_waits(producer: Any) -> None:
    """Behind the request that it is in nothing is served any more, as if it had been killed."""
    items = mailbox_of(producer).items
    items.clear()
    items.append(STOP)


def whole_life(producer: Any) -> None:
    """Run its loop to the end, on this thread."""
    producer._ate_life()


def member_of(producer: Any) -> Any:
    """The producer as the ledger sees it."""
    return producer._ate_member


def instruments_of(producer: Any) -> Any:
    """The names of the instruments that it needs for itself, as they are kept."""
    return member_of(producer).exclusive


def needed_on_channels(producer: Any) -> Any:
    """What it needs on which channel, by identity."""
    return member_of(producer).exclusive_on


# -- real time, with gates ---------------------------------------------------------------------


class GatedParker:
    """What a thread parks on; who wakes it passes a gate before."""

    def __init__(self, clock: GatedClock, parker: Any) -> None:
        self._clock = clock
        self._parker = parker
        #: Its thread has looked for the last time: now only an unpark wakes it.
        self.parking = threading.Event()

    def park(self) -> None:
        self.parking.set()
        self._parker.park()

    def unpark(self, _: None) -> None:
        gate = self._clock.at_ring.get(self)
        if gate is not None:
            gate.here()
        self._parker.unpark(None)

    def park_until(self, deadline: float) -> bool:
        self.parking.set()
        return bool(self._parker.park_until(deadline))


class GatedClock(RealClock):
    """Real time, with gates: after the time was read, and before a parked thread is woken."""

    def __init__(self) -> None:
        self.at_now: Any = None
        self.at_ring: Dict[Any, Any] = {}

    def now(self) -> float:  # type: ignore[override]
        instant = time.perf_counter()
        gate = self.at_now
        if gate is not None:
            gate.here()
        return instant

    def parker(self) -> Any:  # type: ignore[override]
        return GatedParker(self, QueueParker())

    def adopt(self, parker: Any, thread: Any, parked: Any) -> Any:
        return GatedParker(self, parker)


# -- others ------------------------------------------------------------------------------------


def buckets(advice: Any) -> int:
    """How many places a `TtlAdvice` has for times, over all topics."""
    return sum(len(counts._buckets) for counts in advice._topics.values())


@pytest.fixture(name="world")
def tidy_world() -> Iterator[World]:
    """The `world` of `virtual`; at the end no instrument is reserved either."""
    made = World()
    yield made
    made.close()
    assert not reserved(made.dispatcher)
