"""A dispatcher as one part of a logical one: what `Dispatcher.connect` returns."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Dict, Hashable, Optional, Sequence, Tuple, Type

from typing_extensions import Self

from .._arguments import real
from .._core.durations import NEVER, milliseconds
from .._core.request import Request
from .._engine.engine import Engine
from .._engine.link import RemoteMember
from ..errors import BadType, BadValue, DispatcherError
from . import frames
from .asks import Packed
from .session import Session
from .shared import Shared
from .subjects import check_name, subject_of
from .transport import Transport
from .values import Codec, ValueType

__all__ = ["Link"]

_HEAD = 4096
"""So many bytes a message needs beside arguments: the names of members, options, addresses."""


class Link:
    """One part's connection to the others; also as ``with dispatcher.connect(...) as link:``.

    Every method may be called from any thread; those that wait say so.
    """

    def __init__(
        self,
        engine: Engine,
        transport: Transport,
        namespace: str,
        part: str,
        types: Sequence[ValueType[Any]] = (),
    ) -> None:
        """Not connected yet; see `open`."""
        self.namespace: str = check_name("namespace", namespace)
        self.part: str = check_name("name", part)
        self._engine = engine
        self._transport = transport
        self._shared = Shared(engine, transport, Codec(types), part)
        self._session = Session(self._shared, self, namespace, f"link {namespace}/{part}")
        self._is_copy = False

    # -- for users -----------------------------------------------------------------------------

    @property
    def parts(self) -> Tuple[str, ...]:
        """The names of the other parts that are there, sorted."""
        return tuple(sorted(self._session.membership.parts.copy()))

    @property
    def is_connected(self) -> bool:
        """Whether what is sent arrives."""
        return self._shared.connected and not self._session.is_over

    def statistics(self) -> Dict[str, int]:
        """What came and went over its life, by name; and how much is open.

        ``malformed`` frames were ignored, ``duplicates`` came twice or too late, ``stale`` requests
        had no time left, ``gaps`` in what listeners hear were filled by what was ``sent_again``, or
        are ``lost``; ``dropped`` frames were for others while nothing could arrive.
        """
        return self._session.describe()

    def disconnect(self, *, drain: Optional[float] = 2000) -> None:
        """Be no part any more; returns at once, `join` waits.

        Nobody is asked on other machines, and nobody there asks this one, from now on. What is open
        has *drain* milliseconds to be answered, None without limit; then others are GONE. Twice is
        harmless.

        Raises
        ------
        BadType, BadValue
            *drain* is no number, negative or NaN.
        """
        until = self._engine.now() + milliseconds("drain", drain)
        if self in self._engine.links:
            self._engine.links.remove(self)
        self._shared.do(self._session.begin_to_leave, until)

    def join(self, timeout: Optional[float] = None) -> bool:
        """Wait until it has left, *timeout* seconds at most; whether it has."""
        if timeout is not None:
            real("timeout", timeout, "a number of seconds")
        until = NEVER if timeout is None else self._engine.now() + timeout
        self.join_until(until)
        return self._session.is_over

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.disconnect(drain=2000 if kind is None else 0)
        self.join(5.0)

    def __repr__(self) -> str:
        state = "connected" if self.is_connected else "not connected"
        return f"<Link {self.namespace}/{self.part}, {state}>"

    # -- for `Dispatcher.connect` --------------------------------------------------------------

    def open(self, wait: bool) -> None:
        """Connect. With *wait* return when it is known who is there, after 0.5 s at the latest."""
        engine, session = self._engine, self._session
        engine.registry.watchers.append(self.changed)
        try:
            self._transport.open(session, engine.clock, wait)
            if wait:
                session.wait_until_ready(engine.now() + 2.0)
            if session.membership.is_taken:
                raise DispatcherError(
                    f"name {self.part!r} is taken by another part of {self.namespace!r}"
                )
        except BaseException:
            self.disconnect(drain=0)
            raise

    # -- for the engine ------------------------------------------------------------------------

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
        size, room = sum(map(len, packed)) + _HEAD, self._transport.largest
        if size > room:
            raise BadValue(
                f"the arguments are {size - _HEAD} bytes as text, and a message has room for "
                f"{room - _HEAD}"
            )
        return packed

    def ask(self, request: Request, packed: Any, members: Sequence[RemoteMember]) -> None:
        """Ask *members*."""
        if members:
            self._shared.do(self._session.asks.ask, request, packed, members)

    def over(self, request: Request) -> None:
        """It has ended."""
        self._shared.do(self._session.asks.over, request)

    def withdraw(self, member: RemoteMember) -> None:
        """It was disabled."""
        self._shared.do(self._session.asks.withdraw, member)

    def changed(self) -> None:
        """Who is registered is not what it was."""
        self._shared.do(self._session.membership.changed)

    def progressed(self, asker: str, number: int, key: int, fraction: float, text: str) -> None:
        """A producer says how far it is with what was asked from elsewhere."""
        self._shared.do(self._shared.to, asker, frames.prog(number, key, fraction, text))

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
        self._session.is_over = True
        # Nobody reads it: whoever puts something in takes it out again.
        self._shared.outbox.close()
