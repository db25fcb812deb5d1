"""All that is known here of the package's inside: what it waits for, and what it may leave behind.

When the inside changes, this module follows, and no other: see :data:`TRACED` for where threads
meet, :func:`installed` for what they wait for and what a process has once, and the rest for looks
at what must be empty in the end.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Hashable, Iterator, List, Tuple

import ate_dispatcher
from ate_dispatcher import Dispatcher, Handle
from ate_dispatcher._core import ends
from ate_dispatcher._delivery import mailbox as mailboxes
from ate_dispatcher._delivery import posts
from ate_dispatcher._delivery.channel import Registration
from ate_dispatcher._delivery.registry import Registry
from ate_dispatcher._engine import process
from ate_dispatcher._participants import participant as participants
from ate_dispatcher._participants import producer as producers

from .points import Points
from .stage import Actor, Stage
from .standins import Lock, Parker

__all__ = [
    "Book",
    "Box",
    "asleep",
    "ends_in_parts",
    "installed",
    "left_behind",
    "package_points",
    "posts_in_parts",
]

PACKAGE = Path(ate_dispatcher.__file__).resolve().parent

TRACED = (
    "_core/ends.py",
    "_core/books.py",
    "_core/ledger.py",
    "_core/member.py",
    "_delivery",
    "_engine",
    "_observing/observers.py",
    "_participants",
    "dispatcher.py",
)
"""Files, and folders of files, in which what threads share is touched."""

_logger = logging.getLogger("ate_dispatcher")


FOCUS = {
    # P6, and what is left to do for whoever comes after the end.
    "end": ["send", "hold", "leave", "post", "post_mortem", "refuse", "_finish", "run"],
    # P2, for the last order of all.
    "last order": ["leave", "post", "_finish", "close"],
    # P6, where what is held is handed out
    "gate": ["send", "hold", "hand_out"],
    # P9
    "wait": ["announce", "wake", "wait_for", "_enlist", "_dismiss"],
    # P9, for the end of the control loop
    "run": ["start", "run", "_ate_run_aside"],
    # P7
    "withdraw": ["send", "crossed", "_withdraw", "sweep", "take_away", "disable", "enable"],
    # P1 and P2, where ended requests are taken out of a mailbox
    "clear": ["rest", "_cleared", "bury", "sweep", "ended", "_judge_left", "emptied"],
    # P8, where those at a start line are let go
    "line": ["_begins", "waits", "lined_up", "_start", "began"],
    # P14
    "abandon": ["hold", "_abandon", "release"],
    # P18
    "turn": ["see_to", "hand_out_value"],
    "chain": ["serve", "hand_out_value"],
    # P4
    "sleep": ["send", "leave", "_park", "_expire", "_some_orders"],
}
"""Functions in which one protocol happens, for scenarios that go deeper there."""


@functools.lru_cache(maxsize=None)
def package_points(focus: str = "") -> Points:
    """The visible operations of the package as it is imported; only those in *focus*."""
    files: List[Path] = []
    for name in TRACED:
        path = PACKAGE / name
        files += path.rglob("*.py") if path.is_dir() else [path]
    return Points(map(str, files), FOCUS[focus] if focus else ())


# -- what threads wait for ---------------------------------------------------------------------


class Clock:
    """The stage as the package's clock."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def now(self) -> float:
        return self._stage.time

    def parker(self) -> Parker:
        return Parker(self._stage)

    def adopt(self, parker: Parker, thread: threading.Thread, parked: Callable[[], bool]) -> Parker:
        return parker

    def expected(self, parker: Parker) -> None:
        parker.actor = self._stage.expect()

    def entered(self, parker: Parker) -> None:
        self._stage.enter(_actor(parker))

    def left(self, parker: Parker) -> None:
        self._stage.leave(_actor(parker))

    def join(self, thread: threading.Thread, parker: Parker, deadline: float) -> None:
        if parker.actor is not None and not parker.actor.done:
            self._stage.block(parker.actor, deadline)


def _actor(parker: Parker) -> Actor:
    assert parker.actor is not None
    return parker.actor


@contextlib.contextmanager
def installed(stage: Stage) -> Iterator[None]:
    """Let the package wait on *stage* only; a process of its own, as far as it can tell."""
    stage.clock = Clock(stage)
    lock = Lock(stage)
    changed: List[Tuple[Any, str, Any]] = [
        (mailboxes, "QueueParker", lambda: Parker(stage)),
        (participants, "REAL", stage.clock),
        (producers, "REAL", stage.clock),
        # One section; loops that have begun have those of their process.
        (process.SECTION, "enter", lock.acquire),
        (process.SECTION, "leave", lock.release),
        (process.SECTION, "locked", lock.locked),
    ]
    tables: List[Any] = [
        process.started,
        process.alive,
        process.LINES,
        process.nested,
    ]
    before = [getattr(owner, name) for owner, name, _ in changed]
    contents = [dict(table) for table in tables]
    handler, propagate = _Listening(stage), _logger.propagate
    try:
        for owner, name, value in changed:
            setattr(owner, name, value)
        for table in tables:
            table.clear()
        _logger.addHandler(handler)
        _logger.propagate = False
        yield
    finally:
        _logger.propagate = propagate
        _logger.removeHandler(handler)
        for (owner, name, _), value in zip(changed, before):
            setattr(owner, name, value)
        for table, content in zip(tables, contents):
            table.clear()
            table.update(content)


class _Listening(logging.Handler):
    """What the package logs as an error is one: no code of users raises here."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(logging.ERROR)
        self._stage = stage

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._stage.report(f"{record.getMessage()}: {error!r}")


# -- what is left ------------------------------------------------------------------------------


@contextlib.contextmanager
def ends_in_parts() -> Iterator[None]:
    """An end that begins judges one member, and leaves the others to the control loop."""
    usual = ends.BUDGET
    ends.BUDGET = 1
    try:
        yield
    finally:
        ends.BUDGET = usual


@contextlib.contextmanager
def posts_in_parts() -> Iterator[None]:
    """What is posted is put into one mailbox in a pass."""
    usual = posts.PUTS
    posts.PUTS = 1
    try:
        yield
    finally:
        posts.PUTS = usual


def asleep(participant: Any) -> str:
    """What is wrong with a thread that nobody will wake: it has messages, or does not wait."""
    box = participant._ate_mailbox
    if box.attention is mailboxes.CLOSED or participant.ident is None:
        return ""
    if box.backlog():
        return f"{participant.name} sleeps over {box.backlog()} messages"
    return "" if box.parked() else f"{participant.name} does not say that it is parked"


def left_behind(dispatcher: Dispatcher) -> str:
    """What *dispatcher* has kept, though all its requests are over."""
    engine: Any = dispatcher._ate_engine
    found = {
        "waiters": list(engine.waiting),
        "open requests": list(engine.ledger.open.all()),
        "held requests": [each for each in engine.gate.held if isinstance(each, Handle)],
        "arrivals": list(engine.arrivals) if engine.gate.refusal else [],
        "facts that cannot be": range(engine.ledger.refused),
        "posts": engine.posts.items,
    }
    return ", ".join(f"{len(left)} {what}" for what, left in found.items() if left)


# -- parts alone -------------------------------------------------------------------------------


class Box:
    """A mailbox without a dispatcher."""

    def __init__(self) -> None:
        self._mailbox = mailboxes.Mailbox()

    def put(self, item: Any) -> None:
        self._mailbox.put(item)

    def take(self) -> Any:
        """The next item; the reader only, waits for it."""
        while not self._mailbox.items:
            self._mailbox.park()
        return self._mailbox.items.popleft()


class Book:
    """A registry without a dispatcher, in which names are registered, for one topic mostly."""

    def __init__(self) -> None:
        self._registry = Registry()
        self._known: Dict[str, Registration] = {}

    def add(self, name: str, topic: Hashable = "t") -> None:
        registration = self._known.setdefault(
            name, Registration(SimpleNamespace(), name, mailboxes.Mailbox(), False)
        )
        self._registry.add(topic, "producers", registration)

    def discard(self, name: str, topic: Hashable = "t") -> None:
        self._registry.discard(topic, "producers", self._known[name].participant)

    def asked(self) -> List[List[str]]:
        """Who is asked by the reading that was stored last, and who is registered."""
        channel: Any = self._registry.find("t")
        if channel is None:
            return [[], []]
        there = sorted(each.member for each in channel.producers.registrations())
        return [sorted(channel.asked().members), there]

    def asked_on(self, topic: str) -> List[str]:
        """Who is asked on any topic, also if only by patterns."""
        channel: Any = self._registry.find(topic)
        return [] if channel is None else list(channel.asked().members)
