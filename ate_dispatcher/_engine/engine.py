"""The desk of one dispatcher: where requests are handed out and answers handed in.

Three kinds of threads meet here. *Callers* only append: to the ledger's nursery, to producers'
mailboxes, to the keeper's inbox. *Producers' workers* and the *keeper* (the dispatcher's own
thread) decide, inside the section: one plain lock around the ledger, in which no user code runs and
nothing waits. Because callers never take it, nothing here can deadlock in a signal handler or a
finalizer, and no exception of a signal handler can strike while the ledger changes.

A worker's mailbox is emptied inside the section too, of the desk that is its *home* (the first it
was registered with), so the keeper can clear away what has ended. And what a worker does between
two calls of user code, hand in an answer and take the next request, is one pass through it.
"""

from __future__ import annotations

import _thread
import itertools
from collections import deque
from typing import Any, ClassVar, Deque, Dict, Hashable, List, Optional, Sequence, Tuple

from .._core.effects import ABSENT, ACCEPTED, ASK, ORDINARY
from .._core.instruments import Instruments
from .._core.ledger import Ledger
from .._core.member import Member, Ticket
from .._core.outcomes import Completion
from .._core.records import IDLE, SHUT, STOP, Died, Finished, Leaving
from .._core.request import Entry
from .._delivery.mailbox import CALM, DEAD, Mailbox
from .._delivery.ordering_keys import Keys
from .._delivery.registry import Channel, Registry, is_off, unhashable
from .._observing.observers import Observers, call_back, event_opened
from .._observing.stacks import LOOPS
from .._time.clock import NEVER, Clock, milliseconds
from ..errors import DispatcherStopped
from .gather import COMPLETION, act, after, failed, missed, without_our_frame
from .handle import Handle
from .hands import serve_hands
from .options import Options, send_with
from .streams import Streaming
from .sweep import come_to, ended
from .turns import finish_stream, take_turn

__all__ = ["Desk"]

_LARGE = 1e15
"""Milliseconds beyond which a ttl takes the careful way."""


class Desk:
    """One dispatcher's shared state; who may touch what is told in the module.

    Attributes: *clock*, *ledger*, *registry*, *observers*, *instruments*, *keys*; *inbox*, the
    keeper's mailbox; *waiting*, the bells of those who wait, by request; *gate*, empty while
    requests may pass straight to the producers; *wakeup*, when the keeper will wake by itself;
    *refusal*, why nothing new is taken; *draining*, whether the keeper waits for the last request
    to end; *begun*, whether the keeper runs or ran.
    """

    one_order = _thread.allocate_lock()
    """Held by whatever keeper hands out a request with a start line, so that those of all
    dispatchers come into all mailboxes in one order. Keepers wait for it, nobody else."""

    starts: ClassVar[Dict[Any, Any]] = {}
    """The start lines of all dispatchers that have not started, in that order."""
    numbers = itertools.count(1)

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.now = clock.now
        self.ledger = Ledger()
        self.number = next(self.numbers)
        self.instruments = Instruments(self.number, self.starts)
        self.keys = Keys()
        self.registry = Registry()
        self.channels = self.registry.channels
        self.off = self.registry.off
        self.observers = Observers(clock)
        self.hooks = self.observers.hooks
        self.inbox = Mailbox()
        self.inbox.reader = self
        self.waiting: Dict[int, List[Tuple[Any, bool]]] = {}
        self.gate: Deque[Any] = deque([SHUT])
        self.wakeup = NEVER
        self.refusal: Optional[str] = None
        self.draining = False
        self.begun = False
        self.lock = _thread.allocate_lock()
        self._nursery = self.ledger.nursery
        self.next_id = itertools.count(1).__next__

    def renew(self) -> None:
        """In a forked child: a thread that is not there may have been in the section."""
        for lock in (self.lock, self.one_order):
            if lock.locked():
                lock.release()
        self.starts.clear()

    # -- callers: append, never decide ---------------------------------------------------------

    def send(
        self,
        topic: Hashable,
        args: Tuple[Any, ...],
        kwargs: Dict[str, Any],
        ttl: Any,
    ) -> Handle:
        """Open a request and hand it to everybody registered for *topic*. Never blocks."""
        now = self.now()
        if self.refusal is not None:
            raise DispatcherStopped(self.refusal)
        if (ttl.__class__ is int or ttl.__class__ is float) and 0 <= ttl < _LARGE:
            deadline = now + ttl / 1000
        else:
            deadline = now + milliseconds("ttl", ttl)
        try:
            channel = self.channels.get(topic)
        except TypeError as error:
            raise unhashable(topic, error) from error
        if channel is None:
            channel = self.registry.find(topic)
            if channel is None:
                return self.nobody(topic, channel, now, deadline)
        roster = channel.producers.roster
        if roster.token is not channel.producers.token:
            roster = channel.producers.refresh()
            if roster.off:
                return send_with(self, topic, args, kwargs, ttl, Options())
        if not roster.members:
            return self.nobody(topic, channel, now, deadline)
        entry = Handle(
            self,
            self.next_id(),
            topic,
            channel,
            roster.members,
            now,
            deadline,
            (topic, *args),
            kwargs or None,
        )
        try:
            # No `try` in here: the instruction that begins one is covered by none.
            # Before the puts, so that the ledger knows the request when the first reply comes.
            self._nursery.append(entry)
            if self.hooks:
                self.observers.tell(event_opened, entry)
            if self.gate:
                self.hold(entry)
                return entry
            for append, mailbox in roster.puts:
                append(entry)
                alert: Any = mailbox.alert
                if alert:
                    if alert.__class__ is list:
                        # Mailbox.attend, in place: between parked threads this is all the time.
                        mailbox.ring(None)
                        alert.clear()
                    else:
                        self.post("sweep", mailbox.reader, entry)
            if self.off:
                self.crossed(entry)
            if deadline < self.wakeup and self.inbox.alert:
                self.post("wake_by", deadline)
        except BaseException:
            # A signal handler raised, so this send does not return: nobody can want the answer.
            self.post("cancel", entry)
            raise
        return entry

    def post(self, what: str, *data: Any) -> None:
        """Leave a message for the keeper. Never blocks. Not inside a section, see `leave`."""
        self.leave(what, *data)
        if self.inbox.alert is DEAD:
            self.post_mortem()

    def leave(self, what: str, *data: Any) -> None:
        """The same from inside a section: if the keeper has ended, so has every request."""
        inbox = self.inbox
        inbox.items.append((what, data))
        if inbox.alert.__class__ is list:
            inbox.attend()

    def post_mortem(self) -> None:
        """The keeper has ended, and every request with it: what is still owed.

        Callbacks, and tidying up. On whichever thread comes; taking a message out is atomic, so
        each is seen once.
        """
        items = self.inbox.items
        for _ in range(len(items)):
            try:
                what, data = items.popleft()
            except IndexError:
                return
            if what == "call_when_done":
                call_back(data[1], data[0])
            elif what == "cancel" and data[0].completion is None:
                # A send that crossed the stop and was refused: nobody else has the entry.
                data[0].ended, data[0].completion = self.now(), Completion.CANCELLED
                for kept in (self._nursery, self.gate):
                    if data[0] in kept:
                        kept.remove(data[0])
            elif what == "sweep" and data[0].mailbox.alert is DEAD:
                # A send that crossed the stop, to a producer that has ended too, so that whoever
                # takes anything out is prepared for this.
                try:
                    data[0].mailbox.items.remove(data[1])
                except ValueError:
                    pass
            elif what == "open_gate":
                # Perhaps the keeper has seen to it at its end: twice is harmless.
                for left in [each for each in self.gate.copy() if each.__class__ is Leaving]:
                    left.go()
            elif what == "nobody":
                # No section may be entered here: statistics find it where it is.
                items.append((what, data))

    def nobody(
        self,
        topic: Hashable,
        channel: Optional[Channel],
        now: float,
        deadline: float,
        off: Tuple[Member, ...] = (),
    ) -> Handle:
        """A request that nobody is asked."""
        if self.refusal is not None:
            # Stopped meanwhile, and so everybody is forgotten.
            raise DispatcherStopped(self.refusal)
        entry = Handle(self, self.next_id(), topic, channel, (), now, deadline, None, None)
        if off:
            entry.more().off = off
        entry.ended = now
        entry.completion = Completion.NO_PRODUCERS
        return self.over(entry)

    def over(self, entry: Handle) -> Handle:
        """What ended before anybody was asked is told all the same."""
        if self.hooks:
            self.observers.tell(event_opened, entry)
        self.post("nobody", entry)
        return entry

    def hold(self, entry: Handle) -> None:
        """Keep *entry* until the start; the keeper takes it from the gate then."""
        self.gate.append(entry)
        if self.refusal is not None:
            raise DispatcherStopped(self.refusal)
        self.post("open_gate")

    def hold_stop(self, leaving: Leaving) -> None:
        """Let a producer be stopped when what the gate holds has been handed out."""
        self.gate.append(leaving)
        self.post("open_gate")

    def crossed(self, entry: Entry) -> None:
        """A send may have crossed a disable, whose withdrawal came before the puts: once more.

        Either the sender sees here who is off, or the disable comes after it.
        """
        for member in entry.roster:
            if is_off(self.off, member.producer):
                self.post("withdraw", member)

    def scatter(self, entry: Entry, spared: Sequence[Member] = ()) -> None:
        """Hand a request that is not plain, or was held, to its roster but for those *spared*."""
        for member in entry.roster:
            if member in spared:
                continue
            mailbox = member.mailbox
            mailbox.items.append(entry)
            if mailbox.alert.__class__ is list:
                mailbox.attend()
            elif mailbox.alert:
                self.post("sweep", member, entry)

    # -- producers' workers --------------------------------------------------------------------

    def serve(self, producer: Any, member: Member) -> None:
        """The loop of *producer*'s thread, at its home desk, until its STOP.

        Unless there is more to it than one thread and nobody else's instruments.

        Written in one piece because it is the hot path: per request one pass through the section,
        in which the last answer is handed in and the next request is taken. The clock is read
        inside, straight after the method returned, so the order of stamps is the order in which
        the ledger hears of them; the next request begins at the same instant.
        """
        if producer._ate_workers > 1 or member.exclusive:
            serve_hands(self, producer, member)
            return
        acquire, release, now = self.lock.acquire, self.lock.release, self.now
        replied, waiting, hooks = self.ledger.replied, self.waiting, self.hooks
        if producer._ate_stream:
            producer = Streaming(producer, member)
        mailbox, items = member.mailbox, member.mailbox.items
        popleft, absences = items.popleft, member.absences
        entry: Any = IDLE
        following: Any
        result: Any
        value: Any = None
        error: Any = None
        call: Any = ()
        kwargs: Any = None
        while True:
            acquire()
            try:
                stamp = now()
                if entry is IDLE:
                    effects = 0
                else:
                    effects = replied(entry, member, value, error, stamp)
                    if effects & ACCEPTED:
                        result = (entry.topic, value)
                        side = entry.channel.listeners
                        ears = side.roster
                        if ears.token is not side.token:
                            ears = side.refresh()
                        for append, ear in ears.puts:
                            append(result)
                            alert = ear.alert
                            if alert:
                                if alert.__class__ is list:
                                    ear.ring(None)
                                    alert.clear()
                                else:
                                    ear.attend()
                        if effects != ACCEPTED:
                            if effects > ORDINARY or hooks or self.draining or ears.heeding:
                                act(self, entry, effects, member)
                            else:
                                for attributes in ears.attributes:
                                    if COMPLETION in attributes:
                                        act(self, entry, effects, member)
                                        break
                        elif hooks:
                            act(self, entry, effects, member)
                    else:
                        act(self, entry, effects, member)
                # Predicates are asked next, which may take long: then nothing has been begun.
                if items and not effects & ASK:
                    following = popleft()
                    if (
                        following.completion is None
                        and following.desk is self
                        and stamp <= following.until
                    ):
                        member.running = following
                        member.began = stamp
                        call, kwargs = following.call, following.kwargs
                    else:
                        following, call, kwargs = self._sift(member, following, stamp)
                else:
                    following = IDLE
                    member.running = None
                    mailbox.alert = [True]
            finally:
                release()
            if absences:
                come_to(member)
            if waiting or effects > ORDINARY:
                after(self, entry, effects)
                if error is not None:
                    failed(producer, entry, error)
                    error = None
            entry = following
            if entry.desk is not self:
                if entry is STOP:
                    return
                # Parked or on another way for long, perhaps: this frame keeps nobody's payload.
                result = ears = attributes = value = call = kwargs = None
                if entry is IDLE:
                    # The alert is up: who appended before that is seen here, later ones see it.
                    if not items:
                        mailbox.bell.park()
                    mailbox.alert = CALM
                else:
                    ticket, entry, following = entry, IDLE, IDLE
                    take_turn(producer, member, ticket)
                continue
            # The member alone refers to the request from here: if it ends while this runs, for
            # long perhaps, the ledger puts a stub there that holds nobody's results.
            entry = following = result = ears = attributes = value = None
            try:
                if kwargs:
                    value = producer.produce_dispatcher_output(*call, **kwargs)
                else:
                    value = producer.produce_dispatcher_output(*call)
            except Died:
                raise
            except Finished:
                finish_stream(self, member)
                entry = following = IDLE
                continue
            except BaseException as raised:
                value, error = None, without_our_frame(raised)
            entry = member.running

    def ended(self, member: Member) -> None:
        """*member*'s thread is over: what it was at, and what waits for it, gets its verdict."""
        ended(member)

    # -- inside the section --------------------------------------------------------------------

    def _sift(self, member: Member, entry: Any, now: float) -> Tuple[Any, Any, Any]:
        """The next message that *member* has to serve, from *entry* on, with its arguments.

        An open request, which has begun; the ticket of one that takes the careful way; STOP; or
        IDLE, after which the mailbox counts as parked: wait for its bell, then come again.
        """
        member.running = None
        mailbox = member.mailbox
        items = mailbox.items
        while True:
            if entry.completion is None:
                if entry.desk is not self or entry.line is not None:
                    return Ticket(entry), None, None
                effects = missed(self, entry, now)
                if entry.completion is None:
                    member.running = entry
                    member.began = now
                    return entry, entry.call, entry.kwargs
                if effects and (self.waiting or effects & ABSENT):
                    self.leave("after_section", entry, effects)
            elif entry is STOP:
                return STOP, None, None
            if not items:
                break
            entry = items.popleft()
        mailbox.alert = [True]
        return IDLE, None, None


LOOPS.update((Desk.serve.__code__, take_turn.__code__))
