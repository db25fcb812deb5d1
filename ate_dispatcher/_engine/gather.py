"""What the ledger answers, carried out: inside the section, and after it.

Functions of a desk. Inside the section nothing here blocks or calls users: it appends to mailboxes.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .. import _log
from .._core.effects import ABSENT, ACCEPTED, ALARM, ASK, DISCARDED, ENDED, FAILED, NOTED, STARTED
from .._core.member import Member, Turn
from .._core.outcomes import Standing
from .._core.records import IDLE, Signal
from .._core.request import Entry, Line
from .._core.verdicts import HELD, NOT_BEGUN
from .._delivery.mailbox import CALM, DEAD, SWEEP
from .._observing.deadlocks import nested
from .._observing.observers import (
    event_completed,
    event_discarded,
    event_noted,
    event_replied,
    event_skipped,
)
from .._participants.participant import EndMessage, ErrorMessage

__all__ = [
    "COMPLETION",
    "act",
    "after",
    "failed",
    "forward",
    "goes_to",
    "husk",
    "its_turn",
    "let_go",
    "missed",
    "tidy",
    "without_our_frame",
]

COMPLETION = "process_dispatcher_completion"
ERROR = "process_dispatcher_error"

_SHORT = 64
"""Mailboxes below this length are cleared at once, longer ones when half of them has ended."""

_LONG = 4096
"""From here on the next request does not clear a mailbox of which less than half has ended."""


# -- inside the section ------------------------------------------------------------------------


def act(desk: Any, entry: Entry, effects: int, member: Optional[Member] = None) -> None:
    """Carry out what the ledger answered, as far as it belongs inside the section."""
    if effects & FAILED:
        _tell_listeners(desk, ERROR, entry, ErrorMessage, entry.chain)
    if desk.hooks:
        if effects & NOTED:
            # The end may have come with it, and notes on others.
            mine = [note for note in entry.notes if note.member is member]
            desk.observers.tell(event_noted, entry, (mine or entry.notes)[-1])
        if effects & (ACCEPTED | FAILED):
            desk.observers.tell(event_replied, entry, entry.chain)
    if effects & ENDED:
        _tell_listeners(desk, COMPLETION, entry, EndMessage)
        if desk.hooks:
            desk.observers.tell(event_completed, entry)
        if entry.extra is not None and entry.extra.callbacks:
            for callback in entry.extra.callbacks:
                desk.observers.call(callback, entry)
            entry.extra.callbacks = ()
        if effects & ABSENT:
            _husks(desk, entry)
        if entry.extra is not None and entry.extra.line is not None:
            _line_is_gone(desk, entry.extra.line)
        if desk.draining and not desk.ledger.open_count():
            desk.inbox.attend()
    if effects & STARTED and entry.extra is not None:
        line = entry.extra.line
        assert line is not None
        for turn in line.present:
            turn.hand.ring()
        _line_is_gone(desk, line)
    if effects & ALARM:
        # The keeper sleeps until an instant that it knew before.
        cell = entry.needed.cell
        if cell is not None and cell[0] < desk.wakeup:
            desk.leave("wake_by", cell[0])
    if effects & DISCARDED and desk.hooks:
        # Behind the end, which may have come with it.
        desk.observers.tell(event_discarded, entry, member)


def forward(entry: Entry, value: Any) -> None:
    """A value was taken: to whoever listens on its topic. The hot loop does the same in place."""
    for _, ear in entry.channel.listeners.current().puts:
        ear.put((entry.topic, value))


def missed(desk: Any, entry: Entry, now: float) -> int:
    """Somebody came to *entry* at *now*: it ends if time has ended it, and nobody has yet."""
    effects = 0
    if entry.completion is None:
        effects = desk.ledger.expired(entry, now)
        act(desk, entry, effects)
    return effects


def let_go(desk: Any, turn: Turn) -> None:
    """*turn* is over: its hand, if it waits, need not, and its instruments are free."""
    waits, turn.standing = turn.waits, None
    if turn.names:
        goes_to(desk.instruments.drop(turn))
    if waits:
        turn.hand.ring()


def _line_is_gone(desk: Any, line: Line) -> None:
    """It has started, or never will: what was reserved for it is there for others."""
    line.present = []
    members = desk.starts.get(line)
    if members is None:
        return
    goes_to(desk.instruments.free(line))
    others: Dict[int, Any] = {}
    for member in members:
        others.update(member.desks)
    for reference in others.values():
        # Two sections are never entered at once: its keeper looks.
        other = reference()
        if other is not None and other is not desk and other.instruments:
            other.leave("look_again", members)


def goes_to(turns: List[Turn], here: Any = None) -> None:
    """They have their instruments now; the hand that is *here* sees that itself."""
    for turn in turns:
        if turn.hand is not here:
            turn.hand.ring()


def its_turn(desk: Any, member: Member) -> None:
    """Tell the ledger that *member* has come to what ended before it began it."""
    for note in desk.ledger.its_turn(member, desk):
        if desk.hooks:
            desk.observers.tell(event_skipped, note, desk.now())


def _clear(member: Member) -> None:
    """Take all that has ended out of *member*'s mailbox. Inside its home's section."""
    items = member.mailbox.items
    taken = member.mailbox.emptied()
    # In front of what was appended meanwhile.
    items.extendleft(
        item for item in reversed(taken) if item.completion is None or item.__class__ is Signal
    )
    member.husks = 0
    if items:
        # The reader may have looked, and parked, while they were out; nobody rings for them again.
        member.mailbox.attend()


def husk(member: Member, entry: Entry) -> None:
    """*entry* has ended in *member*'s mailbox: take it out, or count it. Inside its home's section.

    One alone in a long mailbox waits for more, since finding it takes as long as finding all.
    """
    mailbox = member.mailbox
    items = mailbox.items
    if mailbox.alert is DEAD:
        return
    if not mailbox.alert:
        mailbox.alert = SWEEP
    if items and items[0] is entry:
        items.popleft()
        return
    member.husks += 1
    waiting = mailbox.backlog()
    if waiting < _SHORT or member.husks * 2 > waiting:
        _clear(member)


def tidy(member: Member) -> None:
    """The next request has come to *member*: whatever has ended before it goes, if that is quick.

    Inside its home's section.
    """
    mailbox = member.mailbox
    if mailbox.alert is SWEEP:
        mailbox.alert = CALM
    if member.husks:
        waiting = mailbox.backlog()
        if waiting < _LONG or member.husks * 2 > waiting:
            _clear(member)


def _tell_listeners(desk: Any, callback: str, entry: Entry, make: Any, *data: Any) -> None:
    if entry.channel is None:
        return
    for listener in entry.channel.listeners.current().members:
        if listener._ate_heeds(callback):
            listener._ate_mailbox.put(make(entry, *data))


def _husks(desk: Any, entry: Entry) -> None:
    """Take the ended *entry* out of the mailboxes, and hands, of those who had not begun it."""
    for note in entry.notes:
        member = note.member
        if note.standing in HELD:
            hand = member.hand_at(entry)
            if hand is not None and hand.turn is not None:
                let_go(desk, hand.turn)
        if note.standing not in NOT_BEGUN:
            continue
        if member.home is desk:
            husk(member, entry)
        else:
            # Two sections are never entered at once: our keeper goes there later.
            desk.leave("husk", member, entry)


# -- after the section -------------------------------------------------------------------------


def after(desk: Any, entry: Any, effects: int) -> None:
    """What a fact brings with it outside the section: wake who waits, say what is odd.

    The section's lock was released in between, which orders this look at ``waiting`` after
    the ledger's last word on the entry.
    """
    if entry is IDLE:
        return
    if desk.waiting:
        ended = entry.completion is not None
        bells = desk.waiting.pop(entry.id, ()) if ended else desk.waiting.get(entry.id, ())
        for bell, each in list(bells):
            if ended or each:
                bell.ring(None)
    if nested and entry.completion is None:
        # Somebody may wait for the rest of it, in vain from now on.
        for hand in nested.copy().values():
            awaits = hand.awaits
            if awaits is not None and awaits[0] is entry:
                desk.post("look_for_circle", hand)
    if effects & ASK:
        _ask(desk, entry)
    if effects & ABSENT:
        for note in entry.notes:
            if note.standing is Standing.NOT_STARTED and not note.member.warned:
                note.member.warned = True
                _log.lost("producer %s was asked but never started", note.member.name)


def _ask(desk: Any, entry: Any) -> None:
    """Ask the predicates of *entry* about its replies so far; what they say is a fact."""
    need, yes, error = entry.needed, [], None
    replies = entry.replies
    try:
        yes = [until for until in need.untils if until.predicate(replies)]
    except BaseException as raised:
        error = without_our_frame(raised)
        _log.failed(f"the predicate of request {entry.id} raised", error)
    with desk.lock:
        effects = desk.ledger.answered(entry, yes, error, desk.now())
        act(desk, entry, effects)
    after(desk, entry, effects)


def without_our_frame(error: BaseException) -> BaseException:
    """*error* without the frame that caught it, which would keep whatever comes next alive."""
    try:
        # Past what the error's class may have made of these.
        traceback = BaseException.__dict__["__traceback__"].__get__(error)
        BaseException.with_traceback(error, None if traceback is None else traceback.tb_next)
    except BaseException:
        pass
    return error


def failed(producer: Any, entry: Entry, error: BaseException) -> None:
    """Say that *producer* raised while it served *entry*."""
    name = _log.name_of(producer)
    _log.failed(f"{name} raised while it served request {entry.id}", error)
