"""What `Dispatcher.connect` returns: a dispatcher as one part of one on several machines."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Any, Dict, Optional, Sequence, Tuple, Type, Union

from typing_extensions import Self

from .. import _log
from .._core.durations import milliseconds, timeout_instant
from .._engine.engine import Engine
from .._engine.inline import InlineEngine
from .._engine.link import Link
from .._time.running_loop import running_loop
from ..errors import BadType, BadValue, DispatcherError, DispatcherStopped
from .registrar import Registrar

__all__ = ["Connecting", "Connection"]

_LEAVES = 5.0
"""Seconds that the end of a ``with`` block waits for it to have left."""


class Connection:
    """One part's connection to the others; also as ``with dispatcher.connect(...) as connection:``.

    Made by :meth:`Dispatcher.connect`. Every method may be called from any thread; those that wait
    say so.
    """

    __slots__ = ("_engine", "_link")

    def __init__(self, engine: Engine, link: Link) -> None:
        self._engine = engine
        self._link = link

    @property
    def namespace(self) -> str:
        """What all parts of the logical dispatcher have in common."""
        return self._link.namespace

    @property
    def name(self) -> str:
        """What the others call this part."""
        return self._link.part

    @property
    def parts(self) -> Tuple[str, ...]:
        """The names of the other parts that are there, sorted."""
        return self._link.parts()

    @property
    def is_connected(self) -> bool:
        """Whether what is sent arrives."""
        return self._link.is_connected()

    @property
    def error(self) -> Optional[DispatcherError]:
        """Why nothing arrives, though nobody here wanted that; None while all is well.

        That the server cannot be reached, or refuses, as with a wrong password and ``wait=False``:
        then its text says that it goes on trying. Or why this part has left for good, for which
        :meth:`join` waits: its name was taken by another, while it was frozen or cut off, or before
        it could connect. Then the dispatcher may connect anew.
        """
        return self._link.error()

    def wait_for(self, *names: str, timeout: Optional[float] = None) -> bool:
        """Wait until parts of those *names* are there, *timeout* seconds at most; whether they are.

        Not for an event loop, which would stand still meanwhile: a warning in the log says so.

        Raises
        ------
        BadType, BadValue
            A name that is no text; a *timeout* that is no number, or negative.
        """
        for name in names:
            if not isinstance(name, str):
                raise BadType(f"names must be those of parts, not {name!r}")
        until = timeout_instant(self._engine.now(), timeout)
        if timeout != 0:
            _warn_in_a_loop("wait_for")
        return self._link.wait_for(names, until)

    def statistics(self) -> Dict[str, int]:
        """What came and went over its life, by name, and how much is open.

        ``malformed`` frames were ignored, ``duplicates`` came twice or too late, ``stale`` requests
        had no time left, ``gaps`` in what was heard were filled by what was ``sent_again``, or are
        ``lost``; ``gone`` counts parts, ``dropped`` frames that were for all while nothing could
        arrive, ``declined`` requests of who had more open here, or to who had more to take, than
        there is room for. ``asked`` are the open requests with members elsewhere, ``guests`` those
        of other parts here.
        """
        return self._link.describe()

    def disconnect(self, *, drain: Optional[float] = 2000) -> None:
        """Be no part any more. Returns at once; :meth:`join` waits.

        From now on nobody is asked on other machines, and nobody there asks this one. What is open
        has *drain* milliseconds to be answered, None without limit; then the others are GONE. Twice
        is harmless, and the shorter time counts.

        Raises
        ------
        BadType, BadValue
            *drain* is no number, negative or NaN.
        """
        until = self._engine.now() + milliseconds("drain", drain)
        if self._link in self._engine.links:
            self._engine.links.remove(self._link)
        self._link.leave(until)

    def join(self, timeout: Optional[float] = None) -> bool:
        """Wait until it has left, *timeout* seconds at most; whether it has.

        As it does by :meth:`disconnect`, by the dispatcher's end, or by itself, see :attr:`error`.
        """
        until = timeout_instant(self._engine.now(), timeout)
        if timeout != 0 and not self._link.is_over():
            _warn_in_a_loop("join of a connection")
        self._link.join_until(until)
        return self._link.is_over()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.disconnect(drain=2000 if kind is None else 0)
        self.join(_LEAVES)

    def __repr__(self) -> str:
        state, error = "connected" if self.is_connected else "not connected", self.error
        why = "" if error is None else f": {error}"
        return f"<Connection {self.namespace}/{self.name}, {state}{why}>"


def _warn_in_a_loop(called: str) -> None:
    """*called* is about to block, which an event loop that runs here must not."""
    if running_loop() is not None:
        _log.lost(
            "%s waits, and the event loop that runs here stands still meanwhile: call it on "
            "another thread, as by loop.run_in_executor%s",
            called,
            ", or with wait=False" if called == "connect" else "",
        )


class Connecting(Registrar):
    """A dispatcher, as far as it may be one of several on as many machines."""

    def connect(
        self,
        address: Union[str, Sequence[str], object, None] = None,
        *,
        namespace: Optional[str] = None,
        name: Optional[str] = None,
        wait: bool = True,
        types: Sequence[object] = (),
        group: str = "",
        **options: Any,
    ) -> Connection:
        """Be one part of a dispatcher on several machines.

        From now on requests reach the producers of all parts, and listeners hear the results and
        published values of all, on topics that are text. Waits until the server is reached and it
        is known who is there: after the last has said so for 50 ms, and no longer than half a
        second; not with ``wait=False``. An event loop would stand still meanwhile: a warning in the
        log says so.

        Parameters
        ----------
        address: str, sequence of str, or transport, optional
            Such as ``"nats://host:4222"``; several servers of one cluster; or an object that
            carries messages. By default what the environment says.
        namespace: str, optional
            Parts with the same belong together. By default ``ATE_DISPATCHER_NAMESPACE``, or
            ``"default"``.
        name: str, optional
            What the other parts call this one, which no other may be called; letters, digits, ``_``
            and ``-``. By default made of the machine's name and the process's number.
        wait: bool, optional
            False: connect in the background, and go on trying.
        types: sequence of ValueType, optional
            How values of your own types travel.
        group: str, optional
            Of the parts of one group one answers what was sent with ``members="open"``, whichever
            the server chooses.
        options
            Those of the transport, such as ``user`` and ``password``.

        Returns
        -------
        Connection
            To leave it, to look who is there, or for a ``with`` block.

        Raises
        ------
        BadType, BadValue
            Naming the parameter and the value.
        ConnectionFailed
            (a ConnectionError) The server cannot be reached, or refuses; or the name is taken.
        DispatcherError
            Something has to be installed first, or it is connected already.
        DispatcherStopped
            After :meth:`stop`.
        """
        return _connect(self._ate_engine, address, namespace, name, wait, types, group, options)

    def _ate_join_links(self, until: float) -> None:
        for link in list(self._ate_engine.links):
            link.join_until(until)


def _connect(
    engine: Engine,
    address: object,
    namespace: Optional[str],
    name: Optional[str],
    wait: bool,
    types: Sequence[object],
    group: str,
    options: Dict[str, Any],
) -> Connection:
    """See `Connecting.connect`."""
    if engine.gate.refusal is not None:
        raise DispatcherStopped(engine.gate.refusal)
    if wait is True:
        _warn_in_a_loop("connect")
    if isinstance(engine, InlineEngine):
        raise BadValue("connect: an inline dispatcher has no thread for it")
    for there in engine.links.copy():
        if there.is_over():
            # It has left by itself.
            with suppress(ValueError):
                engine.links.remove(there)
    try:
        engine.connects.pop()
    except IndexError:
        raise DispatcherError("connect: another call of it has not returned") from None
    try:
        if engine.links:
            there = engine.links[0]
            raise DispatcherError(
                f"connect: it is part {there.part!r} of {there.namespace!r} already"
            )
        # A top, which is found by its name as those of other packages are.
        opening = import_module(f"{__name__.split('.')[0]}.links.opening")
        link: Link = opening.open_link(
            engine, address, namespace, name, wait, types, group, options
        )
        engine.links.append(link)
    finally:
        engine.connects.append(True)
    if engine.gate.refusal is not None:
        # A stop came in between, and may not have seen it.
        link.stop()
        raise DispatcherStopped(engine.gate.refusal)
    return Connection(engine, link)
