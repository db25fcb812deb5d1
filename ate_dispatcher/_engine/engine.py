"""What the threads of one dispatcher share, and the protocols by which they may.

Four kinds of threads meet here. *Callers* only append: to the ledger's arrivals, to producers'
mailboxes, to the orders, to the gate. *Workers* (producers' threads) and the *control loop* (the
dispatcher's own thread) decide, inside the section: one lock around the ledgers, one per process,
in which no user code runs, nothing waits and nothing of a user's is let go of. *Listeners* and
*observers* read their mailboxes. Producers and listeners whose methods are coroutines do the same
on the thread of one event loop (``coroutines``, ``hearing``).

On a dispatcher that is connected, the thread of its link hands in what other machines answer, and
opens what they ask (``remote``).

The five ways
=============

**A request.** ``scatter.send`` reads the clock once, finds the roster, makes the request, appends
it to the arrivals and then to the mailbox of each member, and wakes those that are parked. It looks
at the gate before, and after at who is disabled and at when the control loop wakes. Where the gate
is not empty the request is held, and ``control`` hands it out in its turn.

**A reply.** ``serve.serve`` is the loop of a worker: the method has returned, it enters the
section, reads the clock (the stamp), tells the ledger, puts the value into the listeners' mailboxes
and takes the next message, all in one pass. ``gather.apply`` carries out inside what else the
ledger answered, ``gather.announce`` outside: who waits is woken, what is odd is said.

**A deadline.** ``control.ControlLoop`` sleeps until the next instant that the ledger knows, enters
the section, reads the clock and ends what is due, a bounded number of verdicts at a time; the same
two functions carry that out. What a hung member still has in its mailbox is buried there.

**A published value.** ``publish.publish`` finds the roster, makes the delivery and puts it into the
one mailbox, or appends one post for several. Whoever comes to the section next, a listener that was
woken, a producer or the control loop, puts it into the mailboxes; each listener's thread calls, and
notes its verdict in the delivery, without the section.

**A stop.** ``Dispatcher.stop`` sets the refusal, shuts the gate and orders STOP. ``stopping``
hands out what the gate holds, calls the producers' ``stop()``, whose STOP travels behind all that
was sent before; waits until nothing is open, and what was published is heard, or the drain is over;
ends the rest; calls the listeners' ``stop()``; closes the orders.

The protocols
=============

Each place that keeps one names it.

P1   Reader: put up a fresh attention token, look at ``items`` again, park. Putter: append, look at
     the token, unpark, use up *that* token. Between the look and the park a reader does nothing
     else: what may take long comes before. (``mailbox``, `KeyedMailbox.idles`)
P2   Death: attention = CLOSED, then empty; whoever appends and then sees CLOSED is responsible for
     what it put. (``mailbox``, ``sweep``, `Engine.post`)
P4   Control loop: publish ``wakeup``, raise attention, look at arrivals and orders again, park.
     Sender: arrivals first, then ``deadline < wakeup``.
P5   A request is among the arrivals before it is in any mailbox.
P6   A gate that holds anything holds everybody; a refusal is set before the gate is shut, and
     looked at after an append to it.
P7   Disable, then order the withdrawal; put, then look who is disabled. Who withdraws asks who is
     disabled after it has taken a message out, so what was sent after an enable is left alone.
P8   Fields of a request are replaced whole, ``completion`` last; a reader takes ``completion``
     before and after.
P9   Waiter: enlist, say ``awaited``, then look. Ender: completion, leave the section, then look at
     who waits; the ender removes.
P10  Read the version before the registrations. (``channel``, ``matched``, ``registry``)
P12  Orders given inside a section do not enter one.
P14  Nothing between the append and the puts may catch a signal handler's exception half way; what a
     send that failed has left behind is ended by the control loop, told by what needs no stack. No
     `while` with a condition stands in a `try` or a `with`, here or anywhere in the package: 3.13
     does not cover the jump at its end (https://github.com/python/cpython/issues/130279).
P15  No frame of ours holds a request or a payload while it parks or calls users: one ``del`` line,
     or one chain of ``= None``, per phase.
P16  Inside the section nothing of a user's is let go of: whoever holds it there drops it outside,
     or it goes to ``SECTION.left``. The control loop lets go of nothing: `process.release`. Nor is
     anybody's hook or callback called in there: `Observers.tell` only appends.
P17  Every pass of the section is bounded, by verdicts or by messages; time comes first, then a
     bounded number of orders; what may take long, log handlers too, goes to the observers.
P18  What was published leaves the posts only after it is in all mailboxes; whatever else goes to
     listeners, or is published, while there are posts, goes behind them. Publisher: append; if that
     is the oldest post, look for a reader that is parked, else order. Reader: put up the token,
     look at its items and at the posts, park; and it distributes before it does anything else. One
     in an event loop, which others may block, does not, and is passed over. Who distributes has the
     turn, and looks again after giving it back; after some passes the control loop has it.
     (``posts``, ``publish``, `process.see_to`, `Busy`)
P19  A place in a bounded mailbox is taken with what takes it, and given back with what leaves it,
     by one operation each: no lock, and nothing in between. What is lost is decided inside the
     section. A dispatcher that is dropped before its start gives back what its values have. Who
     waits for one of several alike enlists, looks, parks; who brings one wakes the first; one that
     was woken and does not take it wakes the next. (``room``, ``waiters``)

P20  What is on other machines is reached through a link (``link``), which has one thread. Whoever
     asks or ends a request, or registers somebody, only appends to its outbox, and wakes it (P1);
     so an ask stands behind the arrivals (P5), and the word of the end is looked at behind it, or
     has come before: then it is not sent. What comes is handed in on that thread, a few facts in
     each pass of the section (``remote``, P17). Who has asked from elsewhere is a guest: it is told
     inside, and only appends.

Gone: P3 (a flag in the attention field), P11 (two kinds of sections), P13 and P16 of old (orders of
fields and of effect bits).
"""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections import deque
from functools import partial
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Hashable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Set,
    Tuple,
)

from .. import _log
from .._core.durations import NEVER
from .._core.instruments import Instruments
from .._core.ledger import Ledger
from .._core.member import Member
from .._core.outcomes import ByIdentity, Completion, Verdict
from .._core.request import Request
from .._core.snapshots import copied
from .._delivery.channel import Channel, Disabled
from .._delivery.local_member import LocalMember
from .._delivery.mailbox import CLOSED, Mailbox
from .._delivery.ordering_keys import Keys
from .._delivery.posts import Posts, posts_of
from .._delivery.registry import Registry
from .._delivery.room import Reserved, give_all_back
from .._observing.observers import Observers
from .._observing.translate import event_lost, event_opened
from .._time.clock import REAL, Clock, spawn, spawn_raw
from .gate import Gate, removed
from .link import Link, unreached
from .process import LINES, see_to

__all__ = ["Engine", "Order", "Phase", "State"]


_MANY = 100
"""Of so many topics on which nobody is, it is said once; more are made on purpose."""


class Phase(ByIdentity):
    """How far a dispatcher is in its life; moved on by its control loop alone."""

    NEW = "new"
    """Not started: what is sent is held at the gate."""
    OPEN = "open"
    """It hands out, and gathers."""
    DRAINING = "draining"
    """It was stopped: nothing new is taken, what is open may come to its end."""
    HEARING = "hearing"
    """Nothing is open any more; the listeners hear what was published."""
    CLOSING = "closing"
    """The listeners are told to stop."""
    ENDED = "ended"
    """Nobody reads orders any more: who gives one carries out what is owed."""


class Order(ByIdentity):
    """What anybody may leave for the control loop to do; with what data."""

    KEEP = "keep"
    """*request*: it is open, and due before the loop would wake."""
    CANCEL = "cancel"
    """*request*: its caller does not want it any more."""
    ABANDON = "abandon"
    """*request*: its send was cut short by an exception, wherever that was."""
    NOBODY = "nobody"
    """*request*: it was over when it was sent."""
    HAND_OUT = "hand_out"
    """The gate holds something."""
    BURY = "bury"
    """*member*, *request*: it was put into a closed mailbox."""
    DECLINE = "decline"
    """*member*, *request*: there was no room for it in its mailbox."""
    SWEEP = "sweep"
    """*member*: half of its mailbox has ended. Or *member*'s unjudged wait to be judged."""
    WITHDRAW = "withdraw"
    """*member*: it was disabled; what it has not begun is to be taken from it. With *rounds* that
    are left of that; and whether it was disabled *elsewhere*, for what was asked from there."""
    CALL_WHEN_DONE = "call_when_done"
    """*request*, *callback*: to be called after its end."""
    OBSERVE = "observe"
    """There is something for observers."""
    DISTRIBUTE = "distribute"
    """*mailbox*, *turn*: something was published, and nobody of its listeners is there to see to
    it; or so much that this loop has the turn."""
    OVER = "over"
    """*delivery*: it is over, and who waits for it is to be told."""
    LAGGING = "lagging"
    """*waiting*: so much waits for observers, who do not keep up."""
    STOP = "stop"
    """*at_once*, *until*: end, and wait for what is open until then at most."""
    STOPPER_DONE = "stopper_done"
    """A participant's overridden ``stop()`` has returned; or *heard*: that one has heard all."""


class State(NamedTuple):
    """What `Engine.describe` tells: numbers, at about one moment."""

    phase: Phase
    open: int
    """Requests that have not ended."""
    arrivals: int
    """Those of them that were not gathered, and ended ones before them."""
    orders: int
    """What the control loop has still to do."""
    held: int
    """What the gate holds."""
    waiting: int
    """Requests that somebody waits for, or has."""
    parked: bool
    """Whether the control loop sleeps."""
    reserved: int
    """Start lines of all dispatchers that reserve instruments."""
    told: int
    """What observers have still to be told."""
    backlog: Dict[str, int]
    """Messages in each producer's mailbox, by its name."""


class Engine:
    """One dispatcher's shared state; who may touch what is told in the module.

    Attributes: *clock*, *ledger*, *registry*, *observers*, *instruments*, *keys*; *orders*, the
    control loop's mailbox; *waiting*, the parkers of those who wait, by request; *gate*; *wakeup*,
    before which a deadline must be told; *phase*.
    """

    numbers: Iterator[int] = itertools.count(1)

    def __init__(self, clock: Clock) -> None:
        self.clock: Clock = clock
        self.now: Callable[[], float] = clock.now
        #: Told when somebody has looked in vain, by a clock whose time passes only in waits.
        self.looked: Optional[Callable[[Any], None]] = getattr(clock, "looked", None)
        self.ledger: Ledger = Ledger()
        self.arrivals: Deque[Request] = self.ledger.arrivals
        self.number: int = next(self.numbers)
        self.instruments: Instruments = Instruments(self.number, LINES)
        self.keys: Keys = Keys()
        self.registry: Registry = Registry()
        self.channels: Dict[Hashable, Channel] = self.registry.channels
        self.disabled: Disabled = self.registry.disabled
        self.observers: Observers = Observers(clock, partial(self.leave, Order.LAGGING))
        self.hooks: List[Any] = self.observers.hooks
        self.orders: Mailbox = Mailbox()
        self.orders.owner = self
        self.waiting: Dict[int, Dict[int, Tuple[Any, bool]]] = {}
        self.gate: Gate = Gate()
        #: What the values have that are held before the start; given back if that never comes.
        self.reserved: Deque[Reserved] = deque()
        #: The dispatcher, weakly.
        self.owner: Callable[[], Any] = lambda: None
        self.wakeup: float = -NEVER
        self.phase: Phase = Phase.NEW
        #: Whether its thread was started, or is about to be: somebody will hand out what is held.
        self.starts: bool = False
        self.next_id: Callable[[], int] = itertools.count(1).__next__
        #: Its next number is how many values were published.
        self.publishes: Iterator[int] = itertools.count()
        #: What listeners made of them, by the identity of who hears: each thread counts its own.
        self.tallies: Dict[int, Dict[Verdict, int]] = {}
        #: How many have which verdict by others than those threads: because they were given up, or
        #: are read by users' threads.
        self.apart: Dict[Verdict, Iterator[int]] = {each: itertools.count() for each in Verdict}
        #: How many of those have heard it after all, with what verdict in the place of MISSING.
        self.taken_up: Dict[Verdict, Iterator[int]] = {each: itertools.count() for each in Verdict}
        #: How many messages listeners with a bound have lost; changed inside the section.
        self.lost: int = 0
        #: What was published, by whom ever of this clock, and is on its way.
        self.posts: Posts = posts_of(clock)
        #: Deliveries that somebody waits for, by number.
        self.watched: Dict[int, Any] = {}
        #: What reaches other machines; at most one. Who connects takes the turn.
        self.links: List[Link] = []
        self.connects: Deque[bool] = deque([True])
        #: Whether this is a copy in a forked child.
        self.is_copy: bool = False
        #: Whether participants may still publish while it stops.
        self.takes_values: bool = True
        #: Hashes of topics, each with the side on which nobody was, as far as it was said.
        self.unheard: Set[int] = set()
        #: Whether it was said that a ttl may have been meant in seconds.
        self.doubted: bool = False
        #: The last ttl in milliseconds, by identity, and the same in seconds.
        self.seen_ttl: Tuple[Any, float] = (None, NEVER)

    # -- orders: from anywhere, also from a signal handler or a finalizer ----------------------

    def post(self, what: Order, *data: Any) -> None:
        """Leave an order. Never blocks. Not inside a section, see `leave`."""
        self.leave(what, *data)
        if self.orders.attention is CLOSED:
            self.post_mortem()

    def leave(self, what: Order, *data: Any) -> None:
        """The same from inside (P12): if the control loop has ended, so has every request."""
        orders = self.orders
        orders.items.append((what, data))
        if orders.attention.__class__ is list:
            orders.attend()

    def post_mortem(self) -> None:
        """The control loop has ended, and every request with it: what is still owed (P2).

        Callbacks, and tidying up. On whichever thread comes; taking an order out is atomic, so each
        is seen once.
        """
        items = self.orders.items
        for _ in range(len(items)):
            try:
                what, data = items.popleft()
            except IndexError:
                return
            if what is Order.CALL_WHEN_DONE:
                self.observers.call(data[1], data[0])
            elif what is Order.ABANDON:
                # A send that crossed the stop and was refused: nobody else has the request.
                self.forget(data[0])
            elif what is Order.BURY and data[0].mailbox.attention is CLOSED:
                # A send that crossed the stop, to a producer that has ended too, so that whoever
                # takes anything out is prepared for this.
                removed(data[0].mailbox.items, data[1])
            elif what is Order.HAND_OUT:
                # Perhaps the control loop has seen to it at its end: twice is harmless.
                self.gate.let_leave()
            elif what is Order.DISTRIBUTE:
                if data[1:]:
                    self.posts.turn.append(True)
                self.see_to_posts_apart()
            elif what is Order.OVER:
                data[0].over()
            elif what is Order.NOBODY:
                # No section may be entered here: statistics find it where it is.
                items.append((what, data))

    def see_to_posts_apart(self) -> None:
        """On a thread of its own: from where no section may be entered, or there is no time."""
        clock = self.clock
        # At the exit there is no new thread, and no need.
        with contextlib.suppress(RuntimeError):
            if clock is REAL:
                # A signal handler may be at it, which must not wait for a lock of `threading`.
                spawn_raw(see_to, self.posts)
            else:
                spawn(clock, partial(see_to, self.posts), "posts", clock.parker())

    # -- the gate (P6) -------------------------------------------------------------------------

    def hold(self, item: Any) -> None:
        """Keep a request, or a producer that leaves, until it is handed out in its turn."""
        gate = self.gate
        gate.hold(item)
        # The control loop takes this back before it looks: whoever comes later orders anew.
        if gate.ordered:
            return
        try:
            gate.ordered = True
            self.post(Order.HAND_OUT)
        except BaseException:
            # A signal handler raised: nobody else would order.
            self.orders.items.append((Order.HAND_OUT, ()))
            self.orders.unpark(None)
            raise

    def is_unstarted(self) -> bool:
        """Whether nobody has started it; one that was may take its time until it is open."""
        return self.phase is Phase.NEW and not self.starts

    def hands_out_first(self) -> bool:
        """Whether who is stopped now has to wait for what is held: somebody will hand it out."""
        alive = self.starts and self.phase is not Phase.ENDED
        return alive and self.gate.holds_anything()

    def broken(self, error: BaseException) -> None:
        """The books may be half changed: end, rather than go on with them. Inside the section."""
        self.gate.refuse(
            f"the dispatcher has ended after an internal error: {type(error).__name__}"
        )
        self.leave(Order.STOP, True, -NEVER)

    # -- what was over before it began ---------------------------------------------------------

    def over(self, request: Request, completion: Completion) -> None:
        """*request* ends at its send; that is told all the same."""
        request.end(completion, request.sent)
        if self.hooks:
            self.observers.tell(event_opened, request)
        self.post(Order.NOBODY, request)

    def over_meanwhile(self) -> List[Request]:
        """Those whose end the ledger has not been told yet."""
        return [data[0] for what, data in copied(self.orders.items) if what is Order.NOBODY]

    def nobody_on(self, topic: Hashable, side: str, said: str) -> None:
        """Nobody is on that *side* of *topic*: it is said once, with what reads most like it."""
        why = unreached(self.links)
        # When all are reached it is said anew.
        key = hash((topic, side, why is None))
        if len(self.unheard) < _MANY and key not in self.unheard:
            self.unheard.add(key)
            # The texts of topics are users' code.
            hint = _log.Later(self.registry.hint, topic, side)
            data: List[Any] = [_log.Later(_log.text_of, topic), hint]
            if why is not None:
                said += "; not connected: %s"
                data.append(why)
            self.observers.lost(f"{said}; said once", *data, topic=topic)

    def heard(self) -> Tuple[int, List[Dict[Verdict, int]]]:
        """How many values were published, and how often listeners came to which verdict."""
        apart = {each: _reached(count) for each, count in self.apart.items()}
        taken_up = {each: _reached(count) for each, count in self.taken_up.items()}
        apart[Verdict.MISSING] -= sum(taken_up.values())
        heard = [dict(each) for each in copied(self.tallies.values())]
        return _reached(self.publishes), [apart, taken_up, *heard]

    def loses(self, reader: Optional[object], lost: int, size: int) -> None:
        """A bounded mailbox has lost a message of this dispatcher. Inside the section.

        *reader*, if it is the first since that was empty; *lost* in all, with *size* places.
        """
        self.lost += 1
        if reader is None:
            return
        if self.hooks:
            self.observers.tell(event_lost, reader, lost, size, self.now())
        if lost == 1:
            self.observers.lost(
                "listener %s does not keep up with %d places in its mailbox: messages are lost; "
                "said once",
                _log.Later(_log.name_of, reader),
                size,
            )

    def distribute(self) -> None:
        """Let the control loop go on with what was posted, with the turn of the caller."""
        self.post(Order.DISTRIBUTE, None, True)

    def forget(self, request: Request) -> None:
        """*request*'s send did not return, and it may be held: nobody can want it."""
        self.gate.forget(request)
        if request.completion is None and self.phase is Phase.ENDED:
            request.end(Completion.CANCELLED, self.now())
            request.call = request.kwargs = None
            removed(self.arrivals, request)

    def crossed(self, request: Request) -> None:
        """A send may have crossed a disable, whose withdrawal came before the puts (P7)."""
        for member in request.roster:
            absence = self.disabled.get(id(member.producer))
            if absence is not None and absence.reasons:
                self.post(Order.WITHDRAW, member)

    def at_drop(self) -> List[Callable[[], Any]]:
        """What is to be done when nobody has the dispatcher any more, be it as a finalizer."""
        # A producer that is parked may know the engine, and so would keep everybody else.
        # Straight into C, where no signal handler comes in between.
        return [table.clear for table in self.registry.tables()]

    def reserves(self, what: Reserved) -> None:
        """A value has that before the start: given back if the dispatcher is dropped instead."""
        owner = self.owner()
        # Only where there is something to give back: this is no C, as `at_drop` is.
        if owner is not None and not self.reserved:
            weakref.finalize(owner, give_all_back, self.reserved).atexit = False
        self.reserved.append(what)

    # -- for tests and for people --------------------------------------------------------------

    def describe(self) -> State:
        """What is open, waiting, held, parked and reserved. From anywhere; never blocks."""
        participants = self.registry.participants("producers")
        members: List[Member] = [each._ate_member for each in participants]
        return State(
            phase=self.phase,
            open=sum(1 for _ in self.ledger.open.all()),
            arrivals=len(self.arrivals),
            orders=len(self.orders.items),
            held=len(self.gate),
            waiting=len(self.waiting),
            parked=self.orders.parked(),
            reserved=len(LINES),
            told=self.observers.backlog(),
            backlog={m.name: m.mailbox.backlog() for m in members if isinstance(m, LocalMember)},
        )

    # -- fork ----------------------------------------------------------------------------------

    def forked(self, why: str) -> None:
        """In a forked child, which has no control loop: what is open ends here."""
        self.gate.refusal = None
        self.gate.refuse(why)
        links, self.links = self.links, []
        for link in links:
            link.forked()
        self.is_copy, self.takes_values = True, False
        now, ledger = self.now(), self.ledger
        try:
            self._end_all(now)
        except Exception as error:
            # A thread that is not there may have been in the middle of it.
            _log.lost("what was open was lost in the fork: %r", error)
        for request in ledger.open.all():
            request.end(Completion.STOPPED, now)
        self.phase = Phase.ENDED
        self.orders.close()
        self.orders.items.clear()
        self.observers.forked()

    def _end_all(self, now: float) -> None:
        while self.ledger.arrivals:
            self.ledger.open.gather()
        while self.ledger.stopped(now, False)[1]:
            pass


def _reached(count: Iterator[int]) -> int:
    """How far *count* is, without taking a number; to copy one is deprecated."""
    return int(repr(count)[len("count(") : -1])
