"""The thread of a transport over NATS: its event loop, its connection, its calls of the link."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from random import random
from threading import Thread
from typing import TYPE_CHECKING, Any, Deque, Dict, List, Optional, Set, Tuple

from .. import _log
from .._core.durations import NEVER
from .._engine.process import lost, report
from .._time.clock import REAL, spawn
from ..errors import ConnectionFailed
from .nats_arrivals import Arrivals
from .nats_options import Options, shown
from .nats_service import Service
from .nats_subjects import LONGEST_SUBJECT, Subjects
from .transport import Receiver

if TYPE_CHECKING:
    from .nats_client import Connection

__all__ = ["USUAL_PAYLOAD", "NatsThread"]

USUAL_PAYLOAD = 1 << 20
"""Bytes of one payload that a server takes if it says nothing else."""

_FIRST_WAIT = 0.02
"""Seconds between the first two attempts; twice as many each time, up to what users say."""

_SHORT = 1.0
"""Seconds after which a connection was one: who ends it sooner is not asked again at once."""

_LAST = 1.0
"""Seconds that what was sent has to leave at the end."""


class NatsThread:
    """All but `start`, `wait`, `unpark`, `close` and `join` is for itself.

    Attributes
    ----------
    max_payload: int
        Bytes that the server takes, or the last one took.
    """

    def __init__(self, options: Options, receiver: Receiver, subjects: Subjects) -> None:
        self.max_payload: int = USUAL_PAYLOAD
        self._options = options
        self._receiver = receiver
        self.service: Service = Service(receiver.namespace, receiver.part, f"{subjects.to_us}*")
        self.arrivals: Arrivals = Arrivals(receiver, subjects, self.service, self)
        self._connection: Optional[Connection] = None
        self._outgoing: Deque[Tuple[str, bytes, str]] = deque()
        self._changed = self._stirred = False
        self._letting_out: Optional[asyncio.Task[None]] = None
        self._told: Set[str] = set()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._timer_at = self._due = NEVER
        # What other threads share with it; each is replaced whole. A fresh attention is put up
        # before it looks for what waits; whoever has it look uses up that one, afterwards.
        self._attention: List[bool] = []
        self._closing = False
        self._outcomes: List[Optional[ConnectionFailed]] = []
        self._opener = REAL.parker()
        self._ending: Optional[asyncio.Event] = None
        self._parker = REAL.parker()
        self._loop = options.new_loop()
        self._thread: Optional[Thread] = None

    # -- from any thread ---------------------------------------------------------------------------

    def start(self, waited: bool) -> None:
        """Begin to connect; with *waited* once. RuntimeError if there can be no thread."""
        self._waited = waited
        name = f"{self._receiver.part}-nats"
        try:
            self._thread = spawn(REAL, self._run, name, self._parker)
        except RuntimeError:
            self._loop.close()
            raise

    def wait(self) -> None:
        """Until it is connected; ConnectionFailed, and its end, if no server will have it."""
        try:
            while True:
                if self._outcomes:
                    break
                self._opener.park_until(NEVER)
        except BaseException:
            self.close()
            raise
        error = self._outcomes[0]
        if error is not None:
            self.close()
            self.join(REAL.now() + 2 * _LAST)
            raise error

    def unpark(self) -> None:
        """Have the receiver's step called soon."""
        attention = self._attention
        if attention:
            try:
                self._loop.call_soon_threadsafe(self._attend)
            except RuntimeError:
                # It has ended.
                pass
            attention.clear()

    def close(self) -> None:
        """Let out what was sent, then end."""
        self._closing = True
        self.arrivals.receiver = None
        self.unpark()

    def join(self, deadline: float) -> None:
        """Wait until it has ended, or until that instant."""
        if self._thread is not None:
            REAL.join(self._thread, self._parker, deadline)

    def forget(self) -> None:
        """In a forked child: there is no such thread."""
        self._attention = []

    # -- what leaves -------------------------------------------------------------------------------

    def post(self, subject: str, payload: bytes, reply: str) -> None:
        """Leave by that subject, if it is connected and the server takes it.

        From a call of the receiver, or followed by `stir`.
        """
        if self._connection is None:
            return
        if len(payload) > self.max_payload:
            message = "%d bytes for %.60s are dropped: the server takes %d"
            self.lost("payload", message, len(payload), subject, self.max_payload)
        elif len(subject if subject.isascii() else subject.encode()) + len(reply) > LONGEST_SUBJECT:
            message = "nothing is sent on %.60s..., a subject of %d characters"
            self.lost("subject", message, subject, len(subject))
        else:
            self._outgoing.append((subject, payload, reply))

    def resubscribe(self) -> None:
        """Before anything else leaves: what is wanted of arrivals has changed. Likewise."""
        self._changed = True

    def stir(self) -> None:
        """Look what waits, when what has come was read."""
        if not self._stirred:
            self._stirred = True
            self._loop.call_soon(self._turn)

    def lost(self, kind: str, message: str, *args: Any) -> None:
        """Say so, once per kind and connection."""
        if kind not in self._told:
            self._told.add(kind)
            part = self._receiver.part
            lost(f"NATS, part %s: {message} (told once)", part, *args)
            # A step has that written.
            self.stir()

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        loop = self._loop
        loop.set_exception_handler(_unheard)
        try:
            loop.run_until_complete(self._live())
            rest = asyncio.all_tasks(loop)
            for each in rest:
                each.cancel()
            if rest:
                loop.run_until_complete(asyncio.wait(rest, timeout=_LAST))
        finally:
            loop.close()
            # Whatever it was: nobody waits for ever.
            self._tell_opener(ConnectionFailed("the thread of the connection has ended"))

    async def _live(self) -> None:
        # Here: until 3.9 an event belongs to the loop that runs where it is made.
        self._ending = ending = asyncio.Event()
        connecting = self._loop.create_task(self._connect())
        self._attend()
        await ending.wait()
        while self._letting_out is not None:
            await asyncio.wait([self._letting_out])
        await self._let_out()
        if self._connection is not None:
            await self._connection.settle()
        connecting.cancel()
        await asyncio.wait([connecting])
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self) -> None:
        """Call the receiver, and let out what it sends; not while more waits than can leave."""
        self._stirred = False
        if self._closing:
            if self._ending is not None:
                self._ending.set()
        elif self._letting_out is not None:
            self._receiver.hand_in()
        else:
            self._step()
            if (self._outgoing or self._changed) and not self._write():
                self._letting_out = task = self._loop.create_task(self._let_out())
                task.add_done_callback(self._has_let_out)

    def _write(self) -> bool:
        """Let it out without waiting, if that can be."""
        connection = self._connection
        return connection is not None and not self._changed and connection.write(self._outgoing)

    def _has_let_out(self, _: object) -> None:
        self._letting_out = None
        self._turn()

    def _attend(self) -> None:
        self._attention = [True]
        if not self._stirred:
            self._turn()
        if self._closing:
            self._loop.call_later(_LAST, self._give_up)

    def _give_up(self) -> None:
        if self._connection is not None:
            self.lost("last", "the last messages, perhaps: the server does not take them")
            self._connection.lose()

    def _step(self) -> None:
        try:
            at = self._receiver.step()
        except Exception as error:
            _log.failed("a link failed", error)
            return
        self._due = at
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._arm(at)

    def _arm(self, at: float) -> None:
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - REAL.now()), self._ring)

    def _ring(self) -> None:
        # The instant may have moved since: later ones need no timer of their own.
        self._timer, self._timer_at = None, NEVER
        if self._due <= REAL.now():
            if not self._stirred:
                self._turn()
        elif self._due < NEVER:
            self._arm(self._due)

    async def _let_out(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            if self._changed:
                self._changed = False
                await connection.subscribe(self.arrivals.wanted())
            await connection.publish(self._outgoing)
        except Exception as error:
            # One message is dropped; what is behind it is not.
            self.stir()
            if not connection.lost.done():
                self._reported(error)

    async def _connect(self) -> None:
        """Be connected, again and again.

        That it is cancelled may be swallowed on the way, by `asyncio.wait_for` before 3.12 as by
        nats-py: it looks itself whether this is the end.
        """
        wait, pause, again, lost_at = _FIRST_WAIT, _FIRST_WAIT, "", NEVER
        while not self._closing:
            try:
                connection = await self._one_of_all()
            except ConnectionFailed as error:
                if self._tell_opener(error):
                    return
                self._receiver.disconnected(str(error))
                self.lost(f"connect {error}", "%s; it goes on trying", error)
                lost_at = min(lost_at, REAL.now())
                wait = await self._pause(wait)
                continue
            wait, since = _FIRST_WAIT, REAL.now()
            self._connection = connection
            self.max_payload = connection.max_payload
            if self._closing:
                return
            if lost_at < NEVER:
                said = f"NATS, part %s: connected{again}, after %.1f s"
                report(logging.INFO, said, self._receiver.part, REAL.now() - lost_at)
            self._receiver.connected()
            connection.release()
            self.stir()
            self._tell_opener(None)
            why = await asyncio.shield(connection.lost)
            self._connection, again, lost_at = None, " again", REAL.now()
            self._told.clear()
            self._outgoing.clear()
            if not self._closing:
                self._receiver.disconnected(f"the connection to {self._options} is lost: {why}")
                self.stir()
            await connection.close()
            pause = _FIRST_WAIT if lost_at > since + _SHORT else await self._pause(pause)

    async def _pause(self, wait: float) -> float:
        """Before the next attempt; how long the pause after that one may be."""
        await asyncio.sleep(min(wait, self._options.reconnect_wait) * (1 + random()))
        return 2 * wait

    def _tell_opener(self, error: Optional[ConnectionFailed]) -> bool:
        """How the first attempt has ended; and whether that is the end, as somebody waits."""
        if self._outcomes:
            return False
        self._outcomes.append(error)
        self._opener.unpark(None)
        return self._waited and error is not None

    async def _one_of_all(self) -> Connection:
        """A connection to one of the servers, set up; ConnectionFailed if none will have us."""
        from .nats_client import Connection

        reasons: List[str] = []
        cause: Optional[Exception] = None
        for server in self._options.servers():
            connection = Connection(self._reported, self.arrivals.malformed)
            try:
                options = self._options.of(server, self._receiver.part)
                wanted = self.arrivals.wanted()
                opening = connection.open(server, options, wanted, self.arrivals.vital)
                await asyncio.wait_for(opening, self._options.timeout)
                self._options.discovered(connection.servers(), server)
                return connection
            except asyncio.TimeoutError as error:
                cause, reason = error, f"no answer within {self._options.timeout * 1000:g} ms"
            except Exception as error:
                cause, reason = error, connection.why(error)
            except BaseException:
                await connection.close()
                raise
            await connection.close()
            if self._closing:
                break
            reasons.append(f"no connection to {shown(server)}: {reason}")
        raise ConnectionFailed("; ".join(reasons)) from cause

    # -- what went wrong ---------------------------------------------------------------------------

    def _reported(self, error: Exception) -> None:
        """The server or nats-py says so, while it is connected."""
        text = str(error) or type(error).__name__
        kind = text if "subscription" in text else text.partition('"')[0]
        self.lost(kind, "the server or its client says: %s", text)


def _unheard(_: Any, context: Dict[str, Any]) -> None:
    """What went wrong in a task of nats-py that nobody awaits: the loss that follows is told."""
    _log.report(logging.DEBUG, "NATS: %s", context.get("message"), error=context.get("exception"))
