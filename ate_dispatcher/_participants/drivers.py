"""How a listener comes to hear: on its own thread, on several, or where the user wants it called.

The loop that most of them need, on one thread and without a detour, is `ResultListener.run`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from typing_extensions import Protocol

from .. import _log
from .._core.outcomes import Verdict
from .._core.snapshots import copied
from .._delivery.keyed_mailbox import KeyedMailbox
from .._delivery.mailbox import NO_GIL, Mailbox
from .._delivery.posts import Posts
from .._delivery.sentinels import AGAIN, IDLE, STOP, Word
from .._engine.messages import tell_of
from .._engine.process import SECTION, see_to
from .._engine.published import Published
from .._engine.threads import work_together
from .._observing.stacks import LOOPS
from .._time.clock import REAL, Clock, Parker, QueueParker, this_thread

__all__ = ["Deliverer", "ListenerWorker", "hear_all"]

Call = Callable[[], None]

_NOW_AND_THEN = 0.1
"""Seconds between two looks of one who has to."""


class Listening(Protocol):
    """A listener, as far as the loops know it."""

    _ate_mailbox: Mailbox
    _ate_posts: Posts
    _ate_workers: int
    _ate_helpers: Tuple[ListenerWorker, ...]
    _ate_deliverer: Optional[Deliverer]


class ListenerWorker:
    """One of a listener's workers, in the place of that for what it hears."""

    def __init__(self, listener: Listening, parker: Parker) -> None:
        self._listener = listener
        self._parker = parker
        #: The published value whose callback it is in.
        self._ate_hears: Optional[Published] = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)

    def unpark(self) -> None:
        """Let it look again for something to hear."""
        self._parker.unpark(None)

    def park(self, deadline: float) -> bool:
        """Wait for that. Its own thread only."""
        return self._parker.park_until(deadline)


def hear_all(listener: Listening, clock: Clock) -> None:
    """Hear with all of its workers until STOP. The thread of *listener*."""
    mailbox = listener._ate_mailbox
    assert isinstance(mailbox, KeyedMailbox)
    mine = ListenerWorker(listener, mailbox.parker)
    others = [ListenerWorker(listener, clock.parker()) for _ in range(listener._ate_workers - 1)]
    listener._ate_helpers = (mine, *others)
    own, *helping = [
        (partial(_hear, listener, worker, mailbox), worker._parker)
        for worker in listener._ate_helpers
    ]
    work_together(clock, _log.name_of(listener), mailbox, own[0], helping)


def _hear(listener: Listening, worker: ListenerWorker, mailbox: KeyedMailbox) -> None:
    """What each of the workers does."""
    posts = listener._ate_posts
    try:
        while True:
            if posts:
                # Before all else: others may wait for it (P18).
                see_to(posts)
            with SECTION:
                item = mailbox.take(worker)
            if item is STOP:
                break
            if item is IDLE:
                with SECTION:
                    idles = mailbox.idles(worker)
                # The token is up: what was posted after this look wakes a worker (P1, P18).
                if idles and not posts:
                    mailbox.rest(worker)
            elif item is not AGAIN:
                _hears(listener, worker, item)
            item = None
    finally:
        with SECTION:
            mailbox.let_go(worker)


def _hears(listener: Listening, worker: ListenerWorker, item: Any) -> None:
    if listener._ate_deliverer is None or item.__class__ is Word:
        try:
            item.hear(worker)
        except BaseException as error:
            tell_of(listener, item, error)
    else:
        listener._ate_deliverer.deliver(listener, worker, item)


class Deliverer:
    """Has the callbacks of one listener called where its user wants it: by *deliver*."""

    def __init__(self, deliver: Callable[[Call], Any]) -> None:
        self._deliver = deliver
        self._sent: Tuple[_Sent, ...] = ()
        #: The thread that has made the last call.
        self._thread: Optional[int] = None

    def deliver(self, listener: Any, worker: Any, item: Any) -> None:
        """Have *item* heard there, and wait for that. On the listener's thread."""
        parker = listener._ate_mailbox.parker if worker is listener else worker._parker
        sent = _Sent(self, listener, worker, item, parker)
        # Several workers may be at it; replaced whole.
        self._sent = (*(each for each in self._sent if not each.is_over), sent)
        try:
            # Whoever has the call has it alone: nobody calls it any more when that lets go of it.
            self._deliver(_Call(sent))
        except BaseException as error:
            sent.give_up()
            tell_of(listener, item, error)
        # Without a GIL a thread lets go of what it has made itself, whoever had it last: when it
        # runs.
        looks = NO_GIL and isinstance(parker, QueueParker)
        while not sent.is_over:
            if looks:
                parker.park_until(REAL.now() + _NOW_AND_THEN)
            else:
                park = parker.park
                park()
        if not sent.was_heard:
            sent.settle(item)

    def on_their_way(self) -> List[Published]:
        """The published values that wait to be called."""
        left = [item for sent in self._sent for item in copied(sent.left)]
        return [item for item in left if isinstance(item, Published)]

    def waits_for_this_thread(self) -> bool:
        """Whether something waits to be called here, as far as one knows."""
        outstanding = any(not sent.is_over for sent in self._sent)
        return outstanding and self._thread == this_thread()

    def called_here(self) -> None:
        """The calling thread is the one."""
        self._thread = this_thread()


class _Sent:
    """What is on its way to be heard.

    Attributes: *left*, the item; empty from when it is heard. *is_over*, whether the listener may
    go on; *was_heard*, whether nothing has cut that short.
    """

    def __init__(
        self, deliverer: Deliverer, listener: Any, worker: Any, item: Any, parker: Parker
    ) -> None:
        self._deliverer = deliverer
        self._listener = listener
        self._worker = worker
        self.left: List[Any] = [item]
        self._parker = parker
        #: Who hears it, the first to come.
        self._caller: Dict[str, object] = {}
        self.is_over: bool = False
        self.was_heard: bool = False
        self._is_told: bool = False

    def is_mine(self, me: object) -> bool:
        """Whether nobody else was there before."""
        return self._caller.setdefault("", me) is me

    def hear(self) -> None:
        """Let the listener hear it; what that raises is logged."""
        item: Any = None
        try:
            try:
                self._deliverer.called_here()
                item = self.left.pop()
                if item.is_wanted(self._listener):
                    item.hear(self._worker)
            except Exception as error:
                tell_of(self._listener, item, error)
            self.was_heard = True
        finally:
            # Also if a signal handler has raised, on a thread that is not ours: that goes on there.
            item = None
            self.ends()

    def ends(self) -> None:
        """The listener goes on."""
        self.is_over = True
        self._parker.unpark(None)
        self._is_told = True

    def give_up(self) -> None:
        """It will not be called, unless it was before that was said."""
        if self.is_mine(object()):
            self.left.clear()
            self.is_over = self._is_told = True

    def dropped(self) -> None:
        """Nobody has the call any more, who could call it or go on with it. From anywhere."""
        if not self._is_told:
            self.ends()

    def settle(self, item: Any) -> None:
        """*item* was not heard, or not to the end: it has its verdict. On the listener's thread."""
        self._worker._ate_hears = None
        if self.left:
            self.left.clear()
            said = "listener %s: what deliver was to have called was dropped"
            _log.lost(said, _log.name_of(self._listener))
        if isinstance(item, Published):
            item.end_for(self._listener._ate_mailbox, Verdict.ERROR, running=True)
            # It may have a verdict that nobody has told of.
            item.ends_if_over()


class _Call:
    """One callback on its way: called once, anywhere."""

    def __init__(self, sent: _Sent) -> None:
        self._sent = sent

    def __call__(self) -> None:
        sent = self._sent
        if sent.is_mine(object()):
            sent.hear()

    def __del__(self) -> None:
        self._sent.dropped()

    def __repr__(self) -> str:
        return f"<what {_log.name_of(self._sent._listener)} hears next>"


LOOPS.add(_hear.__code__)
LOOPS.add(_Sent.hear.__code__)
LOOPS.add(_Call.__call__.__code__)
