"""Observers: hooks and done callbacks, called in isolation, one at a time, in the order of events.

They live on one thread of their own, which exists only when there are any. Handing an event over is
one append of a factory and its data; the event object is made on the observers' thread. Adding a
hook goes the same way, so a hook sees exactly what happened after it was added.
"""

from __future__ import annotations

from typing import Any, Callable, List

from .. import _log, events
from .._core.member import Member
from .._core.records import BEGAN, ERROR, MEMBER, STAMP, STOP, Part, Record
from .._core.report import report_of
from .._core.request import Entry, Note
from .._delivery.mailbox import DEAD, Mailbox
from .._time.clock import NEVER, Clock

__all__ = ["Hook", "Observers", "call_back"]

Hook = Callable[[Any], Any]


class _Registration:
    """One hook, once added. Compared by identity."""

    __slots__ = ("hook",)

    def __init__(self, hook: Hook) -> None:
        self.hook = hook


class Observers:
    """The queue to the observers' thread, and what runs there.

    ``hooks`` is what :meth:`add` and :meth:`remove` left, each in a box of its own, so that adding
    one again is another registration; only whole list operations touch it.
    """

    def __init__(self, clock: Clock) -> None:
        self.mailbox = Mailbox()
        self.mailbox.hang(clock.bell())
        self.hooks: List[_Registration] = []

    def add(self, hook: Hook) -> None:
        registration = _Registration(hook)
        self.hooks.append(registration)
        self.mailbox.put((None, registration))
        if self.mailbox.alert is DEAD:
            # Nothing happens any more.
            self._drop(registration)

    def remove(self, hook: Hook) -> None:
        for registration in list(self.hooks):
            if registration.hook == hook:
                self._drop(registration)
                self.mailbox.put((None, registration))
                return

    def close(self, served: bool) -> None:
        """Let the thread, if there is one, end after all that was told; no hook is kept then."""
        if served:
            self.mailbox.put(STOP)
        else:
            self._end()

    def tell(self, make: Callable[..., Any], *data: Any) -> None:
        """Let the hooks have the event ``make(*data)``. Never blocks."""
        self.mailbox.put((make, data))

    def untold(self) -> List[Any]:
        """The events that wait for the thread, which cannot come: for somebody else to read."""
        waiting = [item for item in list(self.mailbox.items) if item is not STOP]
        return [item[0](*item[1]) for item in waiting if len(item) == 2 and item[0]]

    def call(self, callback: Callable[[Any], Any], argument: Any) -> None:
        """Let *callback* be called after all that was told so far. Never blocks."""
        self.mailbox.put((callback, argument, call_back))

    def serve(self) -> None:
        """The thread: until STOP."""
        mailbox, items = self.mailbox, self.mailbox.items
        active: List[_Registration] = []
        while True:
            while items:
                item = items.popleft()
                if item is STOP:
                    self._end()
                    return
                if len(item) == 3:
                    call_back(item[0], item[1])
                elif item[0] is None:
                    # One was added, or removed.
                    active = [each for each in (*active, item[1]) if each in self.hooks]
                else:
                    self._observe(active, item[0](*item[1]))
                item = None
            mailbox.park()

    def _observe(self, active: List[_Registration], event: Any) -> None:
        for registration in list(active):
            if registration not in self.hooks:
                active.remove(registration)
                continue
            try:
                registration.hook(event)
            except BaseException as error:
                active.remove(registration)
                self._drop(registration)
                _log.failed(f"hook {_log.name_of(registration.hook)} raised and was removed", error)

    def _end(self) -> None:
        self.mailbox.alert = DEAD
        self.mailbox.items.clear()
        self.hooks.clear()

    def _drop(self, registration: _Registration) -> None:
        try:
            self.hooks.remove(registration)
        except ValueError:
            pass


def call_back(callback: Callable[[Any], Any], argument: Any) -> None:
    """Call a done callback; what it raises is logged."""
    try:
        callback(argument)
    except BaseException as error:
        _log.failed(f"done callback {_log.name_of(callback)} raised", error)


# -- events, made on the observers' thread -----------------------------------------------------


def event_opened(entry: Entry) -> events.Event:
    deadline = None if entry.deadline == NEVER else entry.deadline
    members = tuple(member.name for member in entry.roster)
    return events.RequestOpened(entry.sent, entry.id, entry.topic, deadline, members)


def event_replied(entry: Entry, record: Record) -> events.Event:
    stamp, error, name = record[STAMP], record[ERROR], record[MEMBER].name
    elapsed_ms, ran_ms = (stamp - entry.sent) * 1000, (stamp - record[BEGAN]) * 1000
    if error is None:
        more = record.__class__ is Part
        return events.ReplyAccepted(stamp, entry.id, entry.topic, name, elapsed_ms, ran_ms, more)
    return events.ProducerFailed(stamp, entry.id, entry.topic, name, elapsed_ms, ran_ms, error)


def event_discarded(entry: Entry, member: Member) -> events.Event:
    note = next(n for n in entry.notes if n.member is member)
    assert note.answered is not None
    assert note.outcome is not None
    return events.ReplyDiscarded(
        note.answered[1],
        entry.id,
        entry.topic,
        member.name,
        note.outcome,
        note.late * 1000,
        (note.answered[1] - entry.sent) * 1000,
        (note.answered[1] - note.answered[0]) * 1000,
    )


def event_progressed(
    entry: Entry, member: Member, at: float, fraction: float, text: str
) -> events.Event:
    return events.RequestProgressed(at, entry.id, entry.topic, member.name, float(fraction), text)


def event_noted(entry: Entry, note: Note) -> events.Event:
    return events.MemberDeclined(
        note.stamp, entry.id, entry.topic, note.member.name, note.verdict, note.standing
    )


def event_skipped(note: Note, at: float) -> events.Event:
    return events.RequestSkipped(at, note.id, note.topic, note.member.name)


def event_completed(entry: Entry) -> events.Event:
    report = report_of(entry, entry.ended, at_the_end=True)
    assert report.completion is not None
    return events.RequestCompleted(
        entry.ended,
        entry.id,
        entry.topic,
        report.completion,
        report.elapsed_ms,
        tuple((member.producer, member.verdict) for member in report.members),
        report,
    )
