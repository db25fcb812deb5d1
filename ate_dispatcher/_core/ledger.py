"""What is open, and what each stamped fact does to it.

Pure: no lock, no thread, no clock, no user code.

Theory of operation
===================

A **request** (``Entry``) is open until it ends, once, with one :class:`Completion`. Each of
its **members** (``Member``, one per producer) gets one :class:`Verdict` in the end.

Facts go in, always with the instant at which they were stamped, in the order of their stamps:
``replied``, ``streamed``, ``finished``, ``lined_up``, ``declined``, ``withdrawn``, ``died``,
``cancelled``, ``answered``, ``time_passed``, ``stopped``. Effects come out as bits of a small int,
the data stay in the entry: who asks for a fact acts on the bits while nobody else can enter.
``opened`` is the one fact that callers append themselves (to ``nursery``, one atomic operation),
because it may come from a signal handler.

What a fact about one member does:

==================  ==================================  ===========================================
fact                the request is open                 the request has ended
==================  ==================================  ===========================================
replied             stamp <= deadline: OK or ERROR;     running member: SURPLUS if its stamp is
                    else it ends as DEADLINE first      within the deadline, else LATE
streamed            its value is accepted               nothing: it is told to end
finished            as replied, without a value         likewise
declined            DECLINED                            nothing: the end has judged it
withdrawn           WITHDRAWN                           nothing: the end has judged it
died                MISSING(DEAD)                       nothing: the end has judged it
its turn comes      it begins; if the deadline has      MISSING(QUEUED, NOT_STARTED): SKIPPED
                    passed it ends as DEADLINE first
lined_up            it waits at the start line; with    nothing: the end has judged it
                    the last of those without a
                    verdict they all begin
==================  ==================================  ===========================================

When the last member gets its verdict the request ends as ALL_REPLIED. Any other end judges the
members without a verdict by :data:`AT_THE_END`. Who has come to the request and waits for an
instrument or at the start line has not begun: it is SKIPPED then, for good.

What has no business here: asking what time it is, knowing how many threads there are, and any
object that belongs to the user other than to hand it on.

Where an open request is kept: in the nursery, oldest first; one that ends while it is the oldest
leaves it again and was never anywhere else. Those it overtook move to a heap of deadlines, in cells
that are emptied when their request ends early; the heap is rebuilt when half of it is empty cells.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any, Callable, Deque, List, Mapping, Optional, Tuple

from ..policies import Until
from .effects import ABSENT, ACCEPTED, ALARM, ASK, DISCARDED, ENDED, FAILED, NOTED, SPECIAL, STARTED
from .member import Hand, Member, Start, Turn
from .open_requests import Alarms
from .outcomes import Completion, Standing, Verdict
from .records import Close, Part
from .request import Entry, Line, Note
from .sums import Sums
from .verdicts import AT_THE_END, HELD, NOT_BEGUN, WITHDRAWN_AT_ONCE

__all__ = ["Ledger"]

_MANY = 64
"""Below so many empty cells the heap is left alone."""


class Ledger:
    """The books of one dispatcher. Every method is a fact or a question; see the module."""

    def __init__(self) -> None:
        #: Tells where a producer's thread is, for the notes on those that run at an end.
        self.witness: Optional[Callable[[Any], Any]] = None
        self.nursery: Deque[Entry] = deque()
        self._heap: List[List[Any]] = []
        self._empty = 0
        self._alarms = Alarms()
        self.sums = Sums()

    # -- facts about one member ----------------------------------------------------------------

    def replied(
        self,
        entry: Entry,
        hand: Hand,
        value: Any,
        error: Optional[BaseException],
        stamp: float,
    ) -> int:
        """The producer's method returned *value* or raised *error*, in *hand*."""
        if entry.completion is None:
            if stamp <= entry.until or self._overdue(entry, stamp) is None:
                entry.chain = (value, error, hand.member, hand.began, stamp, entry.chain)
                entry.pending = pending = entry.pending - 1
                if error is None:
                    effects = ACCEPTED
                else:
                    entry.more().errors += 1
                    effects = FAILED
                if pending > 0:
                    return effects
                nursery = self.nursery
                if entry.extra is None and entry.cell is None and nursery[0] is entry:
                    # What nearly every request comes to, in short: all OK, nobody overtaken.
                    nursery.popleft()
                    self.sums.all_ok += len(entry.roster)
                    self.sums.all_replied += 1
                    entry.call = entry.kwargs = None
                    entry.ended = stamp
                    entry.completion = Completion.ALL_REPLIED
                    return ACCEPTED | ENDED
                if pending:
                    return effects | self._heard(entry, effects == ACCEPTED, stamp)
                return effects | self._end(entry, Completion.ALL_REPLIED, stamp)
            effects = self._time_ends(entry, stamp)
        else:
            effects = 0
        return effects | self._discarded(entry, hand, stamp)

    def streamed(self, entry: Entry, hand: Hand, value: Any, stamp: float) -> int:
        """The generator in *hand* has yielded *value*, and goes on."""
        if entry.completion is not None:
            return 0
        if self._overdue(entry, stamp) is not None:
            return self._time_ends(entry, stamp)
        entry.chain = Part((value, None, hand.member, hand.began, stamp, entry.chain))
        return ACCEPTED | (self._heard(entry, False, stamp) if entry.pending < 0 else 0)

    def finished(self, entry: Entry, hand: Hand, stamp: float) -> int:
        """The generator in *hand* has come to its end: that is its answer."""
        overdue = self._time_ends(entry, stamp) if entry.completion is None else 0
        if entry.completion is not None:
            return overdue | self._discarded(entry, hand, stamp)
        votes = entry.pending < 0 and entry.has_value_of(hand.member)
        entry.chain = Close((None, None, hand.member, hand.began, stamp, entry.chain))
        entry.pending -= 1
        if entry.pending < 0:
            return self._heard(entry, votes, stamp)
        return 0 if entry.pending else self._end(entry, Completion.ALL_REPLIED, stamp)

    def lined_up(self, entry: Entry, turn: Turn, now: float) -> int:
        """Whoever has that *turn* has its instruments and stands at the start line."""
        if entry.completion is not None:
            return 0
        overdue = self._time_ends(entry, now)
        if overdue:
            return overdue
        line = entry.line
        assert line is not None
        turn.standing, turn.lined = Standing.AT_LINE, now
        line.present.append(turn)
        return self._start_when_complete(entry, now)

    def declined(self, entry: Entry, member: Member, now: float) -> int:
        """*member* could not be asked."""
        return self._unanswered(entry, Note(entry, member, Verdict.DECLINED, None, now), now)

    def withdrawn(self, entry: Entry, member: Member, now: float) -> int:
        """*member* shall not begin it any more, and has not."""
        line = entry.line
        if line is not None:
            line.present = [turn for turn in line.present if turn.hand.member is not member]
        return self._unanswered(entry, Note(entry, member, Verdict.WITHDRAWN, None, now), now)

    def died(self, entry: Entry, member: Member, now: float) -> int:
        """*member*'s thread ended while the request waited in its mailbox."""
        return self._unanswered(
            entry, Note(entry, member, Verdict.MISSING, Standing.DEAD, now), now
        )

    def its_turn(self, member: Member, desk: Any) -> List[Note]:
        """Whatever of *desk* ended while *member* had not begun it: it will not be executed."""
        notes = member.absences.pop(desk, [])
        for note in notes:
            self.sums.judge(note, Verdict.SKIPPED)
        return notes

    # -- facts about whole requests ------------------------------------------------------------

    def expired(self, entry: Entry, now: float) -> int:
        """Somebody saw *entry* open after its deadline, before ``time_passed`` was told."""
        return self._time_ends(entry, now)

    def cancelled(self, entry: Entry, now: float) -> int:
        """The caller does not want it any more; what was never opened stays unknown."""
        if entry.completion is not None:
            return 0
        self.gather()
        if entry.cell is None:
            return 0
        return self._time_ends(entry, now) or self._end(entry, Completion.CANCELLED, now)

    def answered(
        self, entry: Entry, yes: List[Until], error: Optional[BaseException], now: float
    ) -> int:
        """Predicates were asked about the replies to *entry*: those in *yes* agreed; one raised."""
        if entry.completion is not None:
            return 0
        if self._overdue(entry, now) is not None:
            return self._time_ends(entry, now)
        need = entry.needed
        need.asking -= 1
        need.agreed(yes)
        if error is not None:
            need.error = error
            return self._end(entry, Completion.IMPOSSIBLE, now)
        return self._weighed(entry, now)

    def nobody(self, entry: Entry) -> int:
        """It was over when it was sent, having found no producer or too few."""
        self.sums.add(entry, entry.completion or Completion.NO_PRODUCERS)
        return ENDED

    def time_passed(self, now: float, limit: int = 256) -> List[Tuple[Entry, int]]:
        """End what is due before *now*, at most *limit* of them, in the order of deadlines."""
        heap = self._heap
        due: List[Tuple[Entry, int]] = []
        while heap and len(due) < limit and heap[0][0] < now:
            entry = heap[0][2]
            if entry is None:
                heapq.heappop(heap)
                self._empty -= 1
            else:
                due.append((entry, self._time_ends(entry, now)))
        while len(due) < limit:
            alarm = self._alarms.past(now)
            if alarm is None:
                break
            reason, entry = alarm
            react = self._start if reason.__class__ is Line else self._weighed
            due.append((entry, react(entry, now)))
        return due

    def stopped(self, now: float, at_once: bool, limit: int = 256) -> List[Tuple[Entry, int]]:
        """End what is open, at most *limit* of them; *at_once* withdraws what has not begun."""
        self.gather()
        heap = self._heap
        found: List[Entry] = []
        while heap and len(found) < limit:
            # From the end, where taking one away leaves a heap.
            entry = heap.pop()[2]
            if entry is None:
                self._empty -= 1
            else:
                entry.cell = None
                found.append(entry)
        found.sort(key=lambda entry: entry.id)
        judge = WITHDRAWN_AT_ONCE if at_once else None
        return [(entry, self._close(entry, Completion.STOPPED, now, judge)) for entry in found]

    def gather(self, limit: int = 1 << 62) -> bool:
        """Move the nursery into the heap, *limit* at most; whether some are left."""
        nursery = self.nursery
        for _ in range(min(limit, len(nursery))):
            entry = nursery.popleft()
            if entry.completion is None:
                self._keep(entry)
        return bool(nursery)

    # -- questions -----------------------------------------------------------------------------

    def next_deadline(self) -> Optional[float]:
        """The next instant at which time alone may end a gathered request; None without any."""
        heap = self._heap
        while heap and heap[0][2] is None:
            heapq.heappop(heap)
            self._empty -= 1
        alarm = self._alarms.next()
        deadline: Optional[float] = heap[0][0] if heap else None
        if alarm is None or deadline is None:
            return deadline if alarm is None else alarm
        return min(deadline, alarm)

    def open_requests(self) -> List[Entry]:
        """All that are open, in no order. Good on any thread, exact at a quiet moment."""
        young = self.nursery.copy()
        kept = [cell[2] for cell in self._heap[:]]
        return [e for e in (*young, *kept) if e is not None and e.completion is None]

    def open_count(self) -> int:
        """How many gathered requests are open."""
        return len(self._heap) - self._empty

    # -- inside --------------------------------------------------------------------------------

    def _keep(self, entry: Entry) -> None:
        entry.cell = [entry.deadline, entry.id, entry]
        heapq.heappush(self._heap, entry.cell)
        line = entry.line
        if line is not None and entry.sent + line.after < entry.deadline:
            self._alarms.expect(line, entry.sent + line.after, entry)

    def _release(self, entry: Entry) -> None:
        cell = entry.cell
        if cell is not None:
            cell[2] = entry.cell = None
            self._empty += 1
            if self._empty > _MANY and self._empty * 2 > len(self._heap):
                # In place: `time_passed` may be in the middle of it.
                self._heap[:] = [cell for cell in self._heap if cell[2] is not None]
                heapq.heapify(self._heap)
                self._empty = 0
            return
        nursery = self.nursery
        while nursery:
            eldest = nursery.popleft()
            if eldest is entry:
                return
            if eldest.completion is None:
                self._keep(eldest)

    def _overdue(self, entry: Entry, now: float) -> Optional[Completion]:
        """What time alone has made of an open request until *now*."""
        if entry.extra is not None and entry.extra.need is not None:
            until = min(now, entry.deadline)
            found = entry.extra.need.weigh(entry.left, entry.errors, until)
            if found is not None:
                return found
        return Completion.DEADLINE if entry.deadline < now else None

    def _time_ends(self, entry: Entry, now: float) -> int:
        """End it if time has; else nothing."""
        completion = self._overdue(entry, now)
        return 0 if completion is None else self._end(entry, completion, now)

    def _end(self, entry: Entry, completion: Completion, now: float) -> int:
        self._release(entry)
        return self._close(entry, completion, now)

    def _close(
        self,
        entry: Entry,
        completion: Completion,
        now: float,
        judge: Optional[Mapping[Standing, Verdict]] = None,
    ) -> int:
        effects = ENDED | SPECIAL
        if entry.left:
            effects |= self._judge_absent(entry, completion, judge or AT_THE_END[completion], now)
        if entry.extra is not None:
            self._alarms.forget(entry.extra.need, entry.extra.line)
        self.sums.add(entry, completion)
        # Mailboxes and workers may hold the entry for long; what was asked is let go now.
        entry.call = entry.kwargs = None
        entry.ended = now
        entry.completion = completion
        return effects

    def _judge_absent(
        self,
        entry: Entry,
        completion: Completion,
        judge: Mapping[Standing, Verdict],
        now: float,
    ) -> int:
        effects = 0
        notes = list(entry.notes)
        judged = entry.judged()
        for member in entry.roster:
            if id(member) in judged:
                continue
            standing = member.standing_on(entry)
            note = Note(entry, member, judge[standing], standing, now)
            notes.append(note)
            if standing is Standing.RUNNING and self.witness is not None:
                note.places = self.witness(member.hand_at(entry))
            if standing in NOT_BEGUN or standing in HELD:
                effects |= ABSENT
                if note.verdict is Verdict.MISSING:
                    member.absences.setdefault(entry.desk, []).append(note)
        entry.more().notes = notes
        for note in notes:
            for hand in note.member.hands:
                if hand.running is entry:
                    hand.running = entry.stub(completion)
        return effects

    def _unanswered(self, entry: Entry, note: Note, now: float) -> int:
        if entry.completion is not None:
            return 0
        overdue = self._time_ends(entry, now)
        if overdue:
            return overdue
        entry.more().notes = [*entry.notes, note]
        entry.pending -= 1
        if not entry.pending:
            return NOTED | self._end(entry, Completion.ALL_REPLIED, now)
        effects = NOTED if entry.pending > 0 else NOTED | self._weighed(entry, now)
        if entry.line is None or effects & ENDED:
            return effects
        return effects | self._start_when_complete(entry, now)

    def _start_when_complete(self, entry: Entry, now: float) -> int:
        present = entry.line.present if entry.line is not None else ()
        return self._start(entry, now) if len(present) == entry.left else 0

    def _start(self, entry: Entry, now: float) -> int:
        """Whoever is at the start line runs; who comes later finds it open."""
        line = entry.line
        assert line is not None
        self._alarms.forget(line)
        line.started = True
        entry.until = entry.deadline
        for turn in line.present:
            turn.hand.running, turn.hand.began = entry, Start(now, turn.spent(now))
            # The last of all: its hand may happen to look.
            turn.standing = Standing.RUNNING
        return STARTED

    def _heard(self, entry: Entry, vote: bool, stamp: float) -> int:
        """A reply to a request under a policy, and perhaps a member's vote."""
        need = entry.needed
        need.oks += vote
        need.last = stamp
        # Before it is weighed: while somebody asks, it is not over for want of others.
        need.asking += bool(need.untils)
        effects = self._weighed(entry, stamp)
        return effects | ASK if need.untils and not effects & ENDED else effects

    def _weighed(self, entry: Entry, now: float) -> int:
        """What the policy of *entry* says now."""
        need = entry.needed
        completion = need.weigh(entry.left, entry.errors, now)
        if completion is not None:
            return self._end(entry, completion, now)
        stall = need.next_stall(now)
        if stall is None:
            if entry.line is None:
                entry.until = entry.deadline
            return 0
        entry.until = min(entry.deadline, stall)
        self._alarms.expect(need, stall, entry)
        return ALARM

    def _discarded(self, entry: Entry, hand: Hand, stamp: float) -> int:
        for note in entry.notes:
            if note.member is hand.member and note.outcome is None:
                note.answered = (hand.began, stamp)
                note.late = max(0.0, stamp - entry.deadline)
                self.sums.judge(note, Verdict.LATE if note.late else Verdict.SURPLUS)
        return DISCARDED
