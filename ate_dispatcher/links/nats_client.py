"""One connection to a NATS server, by nats-py, from its making to its loss.

Another connection is another object: what waits to leave in a client would leave, stale, after it
has connected again. What nats-py does not see to, this does: what waits before a flush, a loss of
which it never tells, a server that is not heard for all that it says, a frozen one that takes
nothing more, messages on which its reading would end. All of it runs on one event loop.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Container, Deque, Dict, List, Mapping, Optional, Tuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error, StaleConnectionError

__all__ = ["Connection", "Handler", "Msg"]

Handler = Callable[[Msg], None]

Wanted = Mapping[str, Tuple[str, Handler]]
"""Subjects, each with its queue group or "", and whoever is handed what arrives."""

_LOOK = 0.1
"""Seconds between looks whether nats-py has closed without a word."""

_CLOSE, _ABORT = 1.0, 0.1
"""Seconds that nats-py has to close, where all has left, and where nothing will."""

_NEVER = 10**8
"""Seconds, where nats-py asks for some."""

_EAGER = 64 << 10
"""Bytes after which what is written leaves, while more is written."""

_FULL = 1 << 20
"""Bytes that wait in nats-py and in the socket before the link is asked for more, and at most, but
for one payload."""


class _Sink(asyncio.Future):  # type: ignore[type-arg]
    """The future of a subscription that is told of every message as it is read.

    nats-py would give each subscription a queue and a task: the order over several were lost.
    """

    def __init__(self, connection: Connection, handler: Handler) -> None:
        super().__init__()
        self._connection = connection
        self._handler = handler

    def set_result(self, result: Msg) -> None:
        held = self._connection.held
        if held is None:
            self._handler(result)
        else:
            held.append((self._handler, result))


class _Client(Client):
    """One that goes on reading after a message of which nats-py makes nothing, or a Handler."""

    def __init__(self, malformed: Callable[[Exception], None]) -> None:
        super().__init__()
        self._malformed = malformed
        #: Whether TLS has begun, and the server looks who we are.
        self.is_looked_at = False

    def _connect_command(self) -> bytes:
        """What says who we are: to nobody by whom it is not hidden, if it was to be."""
        assert self._current_server is not None
        scheme, options = self._current_server.uri.scheme, self.options
        is_wanted = options.get("tls") is not None or scheme in ("tls", "wss")
        is_on = self._server_info.get("tls_required") and scheme != "ws"
        if is_wanted and not (is_on or scheme == "wss" or options.get("tls_handshake_first")):
            raise Error("the server does without TLS, and was to be told nothing without it")
        self.is_looked_at = bool(self._server_info.get("tls_verify"))
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None and writer.get_extra_info("sslcontext") is not None:
            stream = writer.transport.get_protocol()
            if stream is not None:
                # Made before there was TLS: asyncio would complain of that at its end.
                vars(stream)["_over_ssl"] = True
        return super()._connect_command()

    async def _process_msg(self, *args: Any, **more: Any) -> None:
        try:
            await super()._process_msg(*args, **more)
        except Exception as error:
            self._malformed(error)


class Connection:
    """To one server.

    Parameters
    ----------
    reported:
        Called with what goes wrong while it is connected, but for its loss.
    malformed:
        Called for a message that cannot be read.

    Attributes
    ----------
    lost: asyncio.Future
        Why it was lost, as text, when it is.
    held: list or None
        What has arrived before `release`.
    """

    def __init__(
        self, reported: Callable[[Exception], None], malformed: Callable[[Exception], None]
    ) -> None:
        self._client = _Client(malformed)
        self._reported = reported
        self._connecting = True
        self._settled = False
        self.held: Optional[List[Tuple[Handler, Msg]]] = []
        self._refused: List[Exception] = []
        self._error: Optional[Exception] = None
        self._have: Dict[str, Tuple[str, Subscription]] = {}
        self._vital: Container[str] = ()
        self._watcher: Optional[asyncio.Task[None]] = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def max_payload(self) -> int:
        """Bytes of one payload, as the server said."""
        return self._client.max_payload

    async def open(
        self, server: str, options: Mapping[str, Any], wanted: Wanted, vital: Container[str]
    ) -> None:
        """Connect, and subscribe to what is wanted.

        Whatever goes wrong is raised, also that the server refuses what is vital of that; `close`
        is to be called all the same.
        """
        self._vital = vital
        rest = dict(options)
        pings = rest.pop("ping_interval"), rest.pop("max_outstanding_pings")
        await self._client.connect(
            [server],
            ping_interval=_NEVER,
            error_cb=self._failed,
            disconnected_cb=self._closed,
            closed_cb=self._closed,
            allow_reconnect=False,
            max_reconnect_attempts=-1,
            no_echo=True,
            # What waits is bounded here; nats-py would wait inside of a publish, perhaps for ever.
            pending_size=1 << 30,
            **rest,
        )
        if not self._client.is_connected:
            # A server that ends it while greetings are exchanged is taken for connected.
            raise self._error or ConnectionError("the server has ended the connection")
        self._connecting = False
        self._watcher = asyncio.get_running_loop().create_task(self._watch(*pings))
        await self.subscribe(wanted)
        await self.settle()
        if not self._settled:
            raise ConnectionError("the server has ended the connection")
        for error in self._refused:
            if self._is_vital(error):
                raise error
            self._reported(error)

    def why(self, error: Exception) -> str:
        """What has kept it from being opened, as text.

        A server that is shown no certificate, or another one, says so by an end, after a handshake
        that was none to it.
        """
        text = str(error) or type(error).__name__
        if self._client.is_looked_at and isinstance(error, OSError):
            text = f"{text}; the server wants to be shown a certificate that it trusts"
        return text

    def release(self) -> None:
        """Hand over what has arrived, and from now on at once what arrives."""
        held, self.held = self.held or [], None
        for handler, msg in held:
            handler(msg)

    def servers(self) -> List[str]:
        """The other servers of its cluster, as it has told."""
        return [url.geturl() for url in self._client.discovered_servers]

    async def subscribe(self, wanted: Wanted) -> None:
        """To these subjects, and to no others."""
        for subject in [each for each in self._have if each not in wanted]:
            await self._have.pop(subject)[1].unsubscribe()
        for subject, (queue, handler) in wanted.items():
            had, subscription = self._have.get(subject, (None, None))
            if had == queue:
                continue
            if subscription is not None:
                await subscription.unsubscribe()
            made = await self._client.subscribe(subject, queue=queue, future=_Sink(self, handler))
            self._have[subject] = (queue, made)

    def write(self, outgoing: Deque[Tuple[str, bytes, str]]) -> bool:
        """Write what leaves, without waiting; whether that is all, and more may come.

        Else the rest, and to wait, is for `publish`. That of nats-py is a coroutine that has
        another task write, in the loop's next turn. What that has been given, and not written,
        goes first, and what it would refuse goes there.
        """
        writer = self._writer()
        if writer is None or self._client.pending_data_size or self.lost.done():
            return False
        pieces: List[bytes] = []
        size = 0
        # Not more at once: TLS counts nothing of what it hands on, however much, as waiting.
        while outgoing and size < _FULL:
            subject, payload, reply = outgoing[0]
            head = f"PUB {subject} {reply} {len(payload)}"
            if head.count(" ") != 3 or not subject or not head.isprintable():
                break
            pieces += head.encode(), b"\r\n", payload, b"\r\n"
            size += len(payload)
            outgoing.popleft()
        writer.write(b"".join(pieces))
        return not outgoing and self._in_socket() <= _FULL

    async def publish(self, outgoing: Deque[Tuple[str, bytes, str]]) -> None:
        """Write all of it, subject, payload and reply-to; waits while the server takes nothing."""
        client = self._client
        while not self.lost.done():
            if client.pending_data_size + self._in_socket() > _FULL:
                await asyncio.sleep(0.001)
            elif outgoing:
                await client.publish(*outgoing.popleft())
                if client.pending_data_size > _EAGER:
                    await asyncio.sleep(0)
            else:
                break

    async def settle(self) -> None:
        """Until the server has all that was published and subscribed to, or it is lost.

        The ping of nats-py's flush overtakes what waits in the client: that first.
        """
        self._settled = False
        pause = 0.0
        while self._client.pending_data_size and not self.lost.done():
            await asyncio.sleep(pause)
            pause = 0.001
        flushing = asyncio.get_running_loop().create_task(self._client.flush(_NEVER))
        try:
            either: List[asyncio.Future[Any]] = [flushing, self.lost]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            self._settled = flushing.done() and flushing.exception() is None
        finally:
            flushing.cancel()

    def lose(self) -> None:
        """Be lost, if it is not: by nats-py's word, or by ours."""
        if not self.lost.done():
            error = self._error or self._client.last_error or Error("nats: connection closed")
            self.lost.set_result(str(error) or type(error).__name__)

    async def close(self) -> None:
        """Soon; what has not left by now does not."""
        if self._watcher is not None:
            self._watcher.cancel()
        settled = self._settled and not self.lost.done() and not self._client.is_closed
        if not settled:
            self._abort()
        try:
            # nats-py waits for a socket to be closed of which it will not hear, after a handshake
            # that failed.
            await asyncio.wait_for(self._client.close(), _CLOSE if settled else _ABORT)
        except Exception:
            # Nothing of it is of use to anybody now.
            pass
        self._abort()

    def _abort(self) -> None:
        """Have the socket closed with what waits in it: nats-py would wait for that to leave.

        Without this, a frozen server would keep the socket.
        """
        writer = self._writer()
        if writer is not None:
            writer.transport.abort()

    def _in_socket(self) -> int:
        """Bytes that have been written, and that the system has not taken."""
        writer = self._writer()
        try:
            return 0 if writer is None else writer.transport.get_write_buffer_size()
        except AttributeError:
            # Until 3.10, of TLS that is lost, before anybody is told.
            return 0

    def _writer(self) -> Optional[asyncio.StreamWriter]:
        """What nats-py writes to, if it is what it was; there is no public way."""
        transport = getattr(self._client, "_transport", None)
        writer: Optional[asyncio.StreamWriter] = getattr(transport, "_io_writer", None)
        return writer

    def _is_vital(self, error: Exception) -> bool:
        """Whether it says that the server refuses something without which there is no part."""
        # nats-py has made it all small letters.
        subjects = [each for each in self._have if f'"{each.lower()}"' in str(error)]
        return any(each in self._vital for each in subjects)

    async def _failed(self, error: Exception) -> None:
        if self._connecting:
            # Ends nats-py's own, endless trying.
            raise error
        is_refusal = "subscription" in str(error)
        if isinstance(error, (OSError, StaleConnectionError)):
            self._error = error
            self.lose()
        elif self.held is not None and is_refusal:
            self._refused.append(error)
        elif is_refusal and self._is_vital(error):
            # A server that was told to take something away does not give it back by itself.
            self._error = error
            self.lose()
        else:
            self._reported(error)

    async def _closed(self) -> None:
        self.lose()

    async def _watch(self, interval: float, most: int) -> None:
        """Lose a connection of which nats-py never tells that it is closed, and one half open.

        The server has *most* intervals to say anything. The pings of nats-py would take one for
        dead that has too much to say: their answers come behind all that.
        """
        client, now = self._client, asyncio.get_running_loop().time
        heard, unheard, due = -1, 0, now() + interval
        pinging: Optional[asyncio.Task[None]] = None
        while not client.is_closed:
            await asyncio.sleep(min(_LOOK, interval))
            if now() < due:
                continue
            due = now() + interval
            answered = pinging is None or pinging.done()
            if answered or heard != client.stats["in_msgs"]:
                heard, unheard = client.stats["in_msgs"], 0
            if unheard >= most:
                self._error = StaleConnectionError()
                break
            unheard += 1
            if answered:
                # One that is given up would end nats-py's reading when it is answered after all.
                pinging = asyncio.get_running_loop().create_task(client.flush(_NEVER))
        self.lose()
