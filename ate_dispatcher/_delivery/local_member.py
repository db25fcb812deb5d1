"""Members of this process: a mailbox for each, and what each of their workers parks on."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Hashable, Mapping, Optional, Tuple

from typing_extensions import Protocol

from .._core.member import Member, Worker
from .._time.clock import Parker, this_thread
from .mailbox import Mailbox
from .patterns import TopicPattern

__all__ = ["FurtherWorker", "LocalMember", "LocalWorker", "Progressed"]

Progressed = Tuple[int, int, float, str]
"""The identity of the engine, the id of the request, the fraction and the text."""


class Serves(Protocol):
    """What serves with coroutines, for a worker that is no thread."""

    @property
    def awaited(self) -> Any:
        """What it awaits of the producer's; None if it is in nothing of it. From anywhere."""
        ...

    def is_here(self) -> bool:
        """Whether the calling task is the one in which it serves."""
        ...

    def interrupt(self) -> None:
        """Nobody wants the answer any more to what it is at. From anywhere, also in the section."""
        ...


class LocalWorker:
    """What workers of this process have in common; the slots are those of the two classes."""

    if not TYPE_CHECKING:
        __slots__ = ()

    ident: Optional[int]
    """Its thread's, once that runs; None for one that is no thread."""
    progress: Optional[Progressed]
    """How far it said it is with which request, which is not kept for that; replaced whole by its
    own thread."""
    awaits: Optional[Tuple[Any, bool]]
    """The request that it waits for in the middle of its own, and whether for any reply."""
    named: Any
    """At what it was last found in a circle."""
    server: Optional[Serves]
    """Whose coroutines serve for it; None for a thread."""

    def _alone(self) -> None:
        self.ident = None
        self.progress = None
        self.awaits = None
        self.named = None
        self.server = None

    def own_parker(self) -> Parker:
        """What its thread parks on."""
        raise NotImplementedError

    def own_mailbox(self) -> Mailbox:
        """What it takes from."""
        raise NotImplementedError

    def unpark(self) -> None:
        """Let it look again at what it waits for."""
        self.own_parker().unpark(None)

    def park(self, deadline: float) -> bool:
        """Wait for that, or until *deadline* (False). Its own thread only."""
        return self.own_parker().park_until(deadline)

    def _ate_awaited(self) -> Any:
        return None if self.server is None else self.server.awaited

    def awaits_here(self) -> bool:
        """Whether the calling task is its own."""
        return self.server is not None and self.server.is_here()

    def runs_here(self) -> bool:
        """Whether the calling thread is its own."""
        return self.ident == this_thread()


class FurtherWorker(LocalWorker, Worker):
    """A further worker of a member: one thread, or coroutine, with what it parks on."""

    __slots__ = ("_local_member", "awaits", "ident", "named", "parker", "progress", "server")

    def __init__(self, member: LocalMember, parker: Parker) -> None:
        super().__init__(member)
        self._alone()
        self.parker: Parker = parker
        self._local_member = member

    def own_parker(self) -> Parker:
        return self.parker

    def own_mailbox(self) -> Mailbox:
        return self._local_member.mailbox


class LocalMember(LocalWorker, Member):
    """A producer's member; as a worker, the producer's own thread."""

    __slots__ = (
        "_on_topics",
        "awaits",
        "ident",
        "mailbox",
        "named",
        "progress",
        "server",
        "warned",
    )

    def __init__(
        self,
        producer: Any,
        mailbox: Mailbox,
        exclusive: Tuple[str, ...] = (),
        on_topics: Optional[Mapping[Hashable, Tuple[str, ...]]] = None,
    ) -> None:
        """With *on_topics* it needs of its instruments those of a request's topic."""
        super().__init__(producer, exclusive)
        self._alone()
        self._on_topics = on_topics
        if on_topics is not None:
            self.exclusive_on = {}
        self.mailbox: Mailbox = mailbox
        #: Whether it was said that it is asked and was never started.
        self.warned: bool = False

    def joins(self, channel: Any) -> None:
        """It is about to be asked on *channel*; not inside the section, since topics are users'."""
        needed, key = self.exclusive_on, id(channel)
        if self._on_topics is not None and needed is not None and key not in needed:
            some = [*self._on_topics.get(channel.topic, ())]
            for topic, names in self._on_topics.items():
                if isinstance(topic, TopicPattern) and topic.matches(channel.topic):
                    some += names
            # Straight into C when it dies, where no signal handler comes in between.
            needed[key] = tuple(dict.fromkeys(some)), weakref.ref(channel, partial(needed.pop, key))

    def own_mailbox(self) -> Mailbox:
        return self.mailbox

    def own_parker(self) -> Parker:
        # It came from the clock of its first dispatcher, after this was made.
        return self.mailbox.parker

    def interrupt(self, request: Any) -> None:
        """Nobody wants the answer to *request* any more, which it runs. Inside the section."""
        # All of its workers are of one kind.
        if self.server is not None:
            worker = self.worker_at(request)
            if isinstance(worker, LocalWorker) and worker.server is not None:
                worker.server.interrupt()
