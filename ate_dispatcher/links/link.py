"""What the engine asks of a link, on whatever thread; nearly all of it is for the link's own."""

from __future__ import annotations

from typing import Any, Dict, Hashable, Optional, Sequence, Tuple

from .._core.durations import NEVER
from .._core.request import Request
from .._delivery.patterns import TopicPattern, text_of
from .._engine.engine import Engine
from .._engine.link import RemoteMember, Route
from ..errors import BadType, BadValue, ConnectionFailed, DispatcherError, DispatcherStopped
from .outlet import RemoteListeners
from .parts import RemoteProducer
from .pending import OTHERS, Packed
from .session import Session
from .shared import Shared, is_too_much
from .subjects import check_name, subject_of
from .transport import Transport
from .values import Codec, ValueType

__all__ = ["Link"]

_HEAD = 4096
"""So many bytes a message needs beside arguments: the names of members, options, addresses."""

_PATIENCE = 2.0
"""Seconds that who connects waits at most for others to say that they are there."""


class Link:
    """An `_engine.link.Link`: it hands everything on to its thread."""

    def __init__(
        self,
        engine: Engine,
        transport: Transport,
        namespace: str,
        part: str,
        types: Sequence[ValueType[Any]] = (),
        group: str = "",
    ) -> None:
        """Not connected yet; see `open`."""
        self.namespace: str = check_name("namespace", namespace)
        self.part: str = check_name("name", part)
        self._engine = engine
        self._transport = transport
        self._shared = Shared(engine, transport, Codec(types), part)
        group = group and check_name("group", group)
        self._session = Session(self._shared, self, namespace, f"link {namespace}/{part}", group)
        somebody = RemoteProducer("others", "")
        self.others: RemoteMember = RemoteMember(somebody, self, *OTHERS, stands_for_many=True)
        somebody._ate_member = self.others
        self._is_copy = False

    def open(self, wait: bool) -> None:
        """Connect. With *wait* return when it is known who is there, after 0.5 s at the latest."""
        engine, session = self._engine, self._session
        engine.registry.watchers.append(self.changed)
        session.is_opening = wait
        try:
            self._transport.open(session, engine.clock, wait)
            if wait:
                session.wait_until_ready(engine.now() + _PATIENCE)
            if wait and session.error is not None:
                raise session.error
        except BaseException:
            session.watch_no_more()
            self.leave(-NEVER)
            raise
        session.is_opening = False

    def parts(self) -> Tuple[str, ...]:
        """The names of the others; as `_engine.link.Link`, and so are the following."""
        # Not before what they have is known here, too.
        there = self._session.membership.parts.copy().values()
        return tuple(sorted([each.name for each in there if each.epoch >= 0]))

    def wait_for(self, names: Sequence[str], deadline: float) -> bool:
        """Until those are there."""
        return self._session.wait_until(lambda: set(self.parts()).issuperset(names), deadline)

    def is_connected(self) -> bool:
        """Whether what is sent arrives."""
        return self._shared.connected and not self._session.is_over

    def is_over(self) -> bool:
        """Whether it has left."""
        return self._session.is_over

    def error(self) -> Optional[DispatcherError]:
        """Why it has left, if nobody here wanted that; or why nothing arrives, while it tries."""
        if self._session.error is not None:
            return self._session.error
        trouble = self.trouble()
        return None if trouble is None else ConnectionFailed(f"{trouble}; it goes on trying")

    def trouble(self) -> Optional[str]:
        """Why nothing arrives just now."""
        session = self._session
        if session.error is not None:
            return str(session.error)
        return None if self._shared.connected or session.is_over else session.trouble

    def describe(self) -> Dict[str, int]:
        """What was counted."""
        return self._session.describe()

    def leave(self, until: float) -> None:
        """Leave when all is answered, or then."""
        self._shared.do(self._session.begin_to_leave, until)

    def pack(
        self, topic: Hashable, args: Tuple[Any, ...], kwargs: Dict[str, Any], key: Any
    ) -> Packed:
        """As `_engine.link.Link.pack`; the others likewise."""
        if topic.__class__ is not str:
            raise BadType(f"topic must be a str to reach other machines, not {topic!r}")
        subject_of(topic)
        codec = self._shared.codec
        packed = Packed(
            *codec.encode_call(args, kwargs),
            "{}" if key is None else f'{{"key":{codec.encode("ordering_key", key)}}}',
        )
        room = self._transport.largest - _HEAD
        size = len(packed.args) + len(packed.kwargs) + len(packed.options)
        if size > room:
            raise BadValue(
                f"the arguments are {size} bytes as text, and a message has room for {room}"
            )
        waiting = len(self._shared.outbox.items)
        if not self._shared.connected:
            waiting += len(self._session.asks)
        if is_too_much(waiting, size):
            trouble = self.trouble()
            why = f": {trouble}" if trouble else ""
            raise ConnectionFailed(
                f"{waiting} requests wait for {self._transport}, and there is no room for one more "
                f"of {size} bytes{why}"
            )
        return packed

    def ask(self, request: Request, packed: Any, route: Route) -> None:
        """Ask those on *route*."""
        if route.places:
            self._shared.do(self._session.asks.ask, request, packed, route)

    def over(self, request: Request) -> None:
        """It has ended."""
        self._shared.do(self._session.asks.over, request)

    def withdraw(self, member: RemoteMember) -> None:
        """It was disabled."""
        self._shared.do(self._session.asks.withdraw, member)

    def changed(self, found: Sequence[Tuple[Hashable, object]]) -> None:
        """Who is on a topic, or disabled, is not what it was: each topic, and who."""
        theirs = RemoteProducer, RemoteListeners
        ours = [each for each, who in found if not isinstance(who, theirs)]
        # One that equals a text, but is of a class of its own, may name the same channel.
        texts = [each if isinstance(each, TopicPattern) else text_of(each) for each in ours]
        topics = [each for each in texts if each is not None]
        if topics:
            self._shared.do(self._session.membership.changed, topics)

    def stop(self) -> None:
        """Leave, behind what is still to be said."""
        self._shared.do(self._session.leave)

    def join_until(self, deadline: float) -> None:
        """Wait until it has left."""
        if not self._is_copy:
            self._transport.join(deadline)

    def forked(self) -> None:
        """Here is a copy."""
        self._is_copy = True
        self._session.error = DispatcherStopped(f"part {self.part!r} is that of the parent process")
        self._session.is_over = True
        self._session.watch_no_more()
        # Nobody reads it: whoever puts something in takes it out again.
        self._shared.outbox.close()
