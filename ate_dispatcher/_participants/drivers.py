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
from .._delivery.mailbox import Mailbox
from .._delivery.posts import Posts
from .._delivery.sentinels import AGAIN, IDLE, STOP, Word
from .._engine.messages import tell_of
from .._engine.process import SECTION, see_to
from .._engine.published import Published
from .._engine.threads import work_together
from .._observing.stacks import LOOPS
from .._time.clock import Clock, Parker, this_thread

__all__ = ["Deliverer", "ListenerWorker", "hear_all"]

Call = Callable[[], None]


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
        self._calls: Tuple[_Call, ...] = ()
        #: The thread that has made the last call.
        self._thread: Optional[int] = None

    def deliver(self, listener: Any, worker: Any, item: Any) -> None:
        """Have *item* heard there, and wait for that. On the listener's thread."""
        parker = listener._ate_mailbox.parker if worker is listener else worker._parker
        call = _Call(self, listener, worker, item, parker)
        # Several workers may be at it; replaced whole.
        self._calls = (*(each for each in self._calls if not each.is_over), call)
        try:
            self._deliver(call)
        except BaseException as error:
            call.give_up()
            tell_of(listener, item, error)
        while not call.is_over:
            park = parker.park
            park()

    def on_their_way(self) -> List[Published]:
        """The published values that wait to be called."""
        left = [item for call in self._calls for item in copied(call.left)]
        return [item for item in left if isinstance(item, Published)]

    def waits_for_this_thread(self) -> bool:
        """Whether something waits to be called here, as far as one knows."""
        outstanding = any(not call.is_over for call in self._calls)
        return outstanding and self._thread == this_thread()

    def called_here(self) -> None:
        """The calling thread is the one."""
        self._thread = this_thread()


class _Call:
    """One callback on its way: called once, anywhere; what it raises is logged."""

    def __init__(
        self, deliverer: Deliverer, listener: Any, worker: Any, item: Any, parker: Parker
    ) -> None:
        self._deliverer = deliverer
        self._listener = listener
        self._worker = worker
        #: What is to be heard; empty from when it is.
        self.left: List[Any] = [item]
        self._parker = parker
        #: Who calls it, the first to come.
        self._caller: Dict[str, object] = {}
        self.is_over: bool = False

    def __call__(self) -> None:
        me = object()
        item: Any = None
        try:
            if self._caller.setdefault("", me) is me and self.left:
                self._deliverer.called_here()
                item = self.left.pop()
                if item.is_wanted(self._listener):
                    item.hear(self._worker)
        except Exception as error:
            tell_of(self._listener, item, error)
        finally:
            # Also if a signal handler has raised, on a thread that is not ours: that goes on there.
            item = None
            if self._caller.get("") is me:
                self.is_over = True
                self._parker.unpark(None)

    def give_up(self) -> None:
        """It will not be called."""
        me = object()
        if self._caller.setdefault("", me) is not me:
            # It was called before that was raised.
            return
        item = self.left.pop()
        if isinstance(item, Published):
            item.end_for(self._listener._ate_mailbox, Verdict.ERROR)
        self.is_over = True

    def __repr__(self) -> str:
        return f"<what {_log.name_of(self._listener)} hears next>"


LOOPS.add(_hear.__code__)
LOOPS.add(_Call.__call__.__code__)
