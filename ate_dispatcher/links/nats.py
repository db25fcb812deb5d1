"""The transport over NATS: server, permissions, TLS and clusters are theirs, used as they are."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Optional, Sequence, Union

from .._time.clock import REAL, Clock
from ..errors import BadValue, DispatcherError
from .nats_options import Options, address_in, servers_of
from .nats_subjects import Subjects
from .nats_thread import USUAL_PAYLOAD, NatsThread
from .transport import Receiver

__all__ = ["ENVIRONMENT", "NatsTransport", "address_in", "transport_for"]

ENVIRONMENT = "ATE_DISPATCHER_NATS_URL, or ATE_DISPATCHER_NATS_HOST and ATE_DISPATCHER_NATS_PORT"
"""Where an address may stand."""

_HEADROOM = 1024
"""Bytes of a payload that nobody is to need: the next server may take a little less."""


class NatsTransport:
    """Carries messages over a NATS server; implements `links.transport.Transport`.

    All but `open`, `unpark`, `close` and `join` is for its own thread, which runs an event loop
    with nats-py. While more waits than the server takes, `Receiver.step` is not called.

    Parameters
    ----------
    servers:
        ``"nats://host:4222"``, or several, as a list or with commas. Without any that of the
        environment, else ``nats://127.0.0.1:4222``.
    connect_timeout:
        Milliseconds that one attempt to connect to one server may take.
    uvloop:
        Whether the thread runs uvloop, which has to be installed then. If not said it does where
        that can be imported, but not in a Python without GIL, to which uvloop would give one.
    options:
        Of nats-py's ``connect``, as they are there: ``user`` and ``password``, ``token``,
        ``nkeys_seed``, ``user_credentials``, ``tls``, ``tls_hostname``, ``dont_randomize`` ...
        Here ``ping_interval`` is 0.5 and ``max_outstanding_pings`` 3: a frozen server is a lost
        one within two seconds. Where their product is 3 or more, all others are taken for gone
        before it is. ``reconnect_time_wait`` is 0.1.

    Raises
    ------
    BadType, BadValue
        For an address or option that cannot be.
    DispatcherError
        If nats-py is not installed, or uvloop.
    """

    def __init__(
        self,
        servers: Union[str, Sequence[str], None] = None,
        *,
        connect_timeout: float = 2000,
        uvloop: Optional[bool] = None,
        **options: Any,
    ) -> None:
        self._options = Options(servers, connect_timeout, uvloop, options)
        self._thread: Optional[NatsThread] = None

    def __repr__(self) -> str:
        return f"<NatsTransport to {self}>"

    def __str__(self) -> str:
        return str(self._options)

    # -- from any thread ---------------------------------------------------------------------------

    def open(self, receiver: Receiver, clock: Clock, wait: bool) -> None:
        """Start the thread, and connect; with *wait* return when that is done.

        Blocks with *wait*, for the time to connect to each server at most.

        Raises
        ------
        ConnectionFailed
            With *wait* alone: why there is no connection, for each server. Else it goes on trying,
            and says why not as a warning.
        BadValue
            If *clock* is not the real one.
        """
        if clock is not REAL:
            raise BadValue(f"clock must be the real one for a transport over NATS, not {clock!r}")
        if self._thread is not None:
            raise DispatcherError(f"{self!r} was opened before")
        self._subjects = Subjects(receiver.namespace, receiver.part)
        self._thread = thread = NatsThread(self._options, receiver, self._subjects)
        thread.start(wait)
        if wait:
            thread.wait()

    def unpark(self, _: None = None) -> None:
        """Have `Receiver.step` called soon. From anywhere, also in the section; never blocks."""
        if self._thread is not None:
            self._thread.unpark()

    def close(self) -> None:
        """Let out what was sent, which takes a second at most; then end the thread.

        Returns at once, see `join`. From any thread, any number of times.
        """
        if self._thread is not None:
            self._thread.close()

    def join(self, deadline: float) -> None:
        """Wait until the thread has ended, or until *deadline*, an instant of the clock."""
        if self._thread is not None:
            self._thread.join(deadline)

    def forget(self) -> None:
        """In a forked child: nothing is woken any more; thread and connection are the parent's."""
        if self._thread is not None:
            self._thread.forget()

    # -- from the receiver's calls -----------------------------------------------------------------

    @property
    def largest(self) -> int:
        """Bytes of one payload, at most; known once it was connected. From any thread."""
        thread = self._thread
        return max(1, (USUAL_PAYLOAD if thread is None else thread.max_payload) - _HEADROOM)

    def send(self, part: str, payload: bytes) -> None:
        """To one part. Dropped while it is not connected, as all that is sent."""
        opened, subjects = self._opened, self._subjects
        opened.post(subjects.part(part), payload, subjects.notices + part)

    def send_all(self, payload: bytes) -> None:
        """To all parts but this one."""
        opened, subjects = self._opened, self._subjects
        opened.post(subjects.all, payload, subjects.nobody)

    def send_on(self, topic: str, payload: bytes) -> None:
        """To all other parts that `hear`; *topic* is the end of the subject."""
        self._opened.post(self._subjects.topic(topic), payload, "")

    def hear(self, on: bool) -> None:
        """Whether what others `send_on` any topic arrives here."""
        self._opened.arrivals.hear(on)
        self._opened.resubscribe()

    def offer(self, topics: FrozenSet[str], group: str) -> None:
        """On which topics this part is `asked`, from now on; *group* is a NATS queue group."""
        self._opened.arrivals.offer(topics, group)
        self._opened.resubscribe()

    def ask(self, topic: str, payload: bytes, number: int) -> None:
        """Ask whoever is on *topic*, parts or not; until `ask_no_more` with that *number*.

        An empty answer arrives as one space: b"" says that nobody will answer.
        """
        opened, subjects = self._opened, self._subjects
        opened.arrivals.expect(number)
        opened.post(f"{subjects.questions}{topic}", payload, subjects.inbox(number))

    def ask_no_more(self, number: int) -> None:
        """Nobody is `answered` for that number any more."""
        self._opened.arrivals.expect_no_more(number)

    def answer(self, reply: str, payload: bytes) -> None:
        """Answer what was `asked`; nothing if that wants no answer."""
        if reply:
            self._opened.service.answered(reply, REAL.now())
            self._opened.post(reply, payload, "")

    @property
    def _opened(self) -> NatsThread:
        if self._thread is None:
            raise DispatcherError(f"{self!r} is not open")
        return self._thread


def transport_for(address: Union[str, Sequence[str]], options: Dict[str, Any]) -> NatsTransport:
    """A transport to *address*, with those *options*."""
    return NatsTransport(servers_of(address, "address"), **options)
