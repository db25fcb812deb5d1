"""Who speaks to a NATS server by hand, and who listens to a transport."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from importlib.util import find_spec
from typing import Any, Callable, Deque, FrozenSet, Iterator, List, Set, Tuple

import pytest
from nats_server import Server

from ate_dispatcher._core.durations import NEVER
from ate_dispatcher._time.clock import REAL
from ate_dispatcher.links.nats import NatsTransport

PATIENCE = 10.0
"""Seconds after which what should come does not."""


OVER_EACH_LOOP = [
    pytest.param({"uvloop": False}, id="asyncio"),
    pytest.param(
        {"uvloop": True},
        marks=[
            pytest.mark.thorough,
            pytest.mark.skipif(find_spec("uvloop") is None, reason="no uvloop"),
        ],
        id="uvloop",
    ),
]
"""Options of a transport, for tests of what hangs on how an event loop writes, wakes and closes."""


class Wire:
    """Whoever speaks the protocol of NATS by hand."""

    def __init__(self, server: Server, login: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        self._file = self._socket.makefile("rb")
        self._file.readline()
        self.say(f'CONNECT {{"headers":true,"no_responders":true,"verbose":false{login}}}'.encode())
        self.sync()

    def say(self, line: bytes) -> None:
        """One line, or more."""
        self._socket.sendall(line + b"\r\n")

    def sync(self) -> List[bytes]:
        """Until the server has read all of it; what it has said meanwhile."""
        self.say(b"PING")
        said = []
        while True:
            line = self._file.readline()
            if line in (b"", b"PONG\r\n"):
                return said
            said.append(line.rstrip())

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Scripted(threading.Thread):
    """A server by hand, for one connection or some, one at a time, to say things at moments that no
    real one can be made to hit: *script* is called with each line that comes, and gives the answer,
    behind which the connection ends, as one does, if it has an error.
    """

    def __init__(self, script: Callable[[bytes], bytes], times: int = 1) -> None:
        super().__init__(name="scripted")
        self._script = script
        self._times = times
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.url = f"nats://127.0.0.1:{self._socket.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        with self._socket:
            for _ in range(self._times):
                self._serve()

    def _serve(self) -> None:
        with self._socket.accept()[0] as accepted, accepted.makefile("rb") as lines:
            accepted.sendall(b'INFO {"max_payload": 1048576, "headers": true}\r\n')
            for line in lines:
                said = self._script(line)
                accepted.sendall(said)
                if b"-ERR" in said:
                    return


class Recorder:
    """A receiver that notes all it is told, and has done on its thread what it is asked to do."""

    def __init__(self, namespace: str, part: str) -> None:
        self.namespace = namespace
        self.part = part
        self.transport: Any = None
        self.told: List[Tuple[Any, ...]] = []
        self.steps = self.rung = self._synced = 0
        self.at = NEVER
        self.slow = 0.0
        """Seconds that it takes over all it receives."""
        self.says = b""
        """What it answers at once to whatever it is asked."""
        self.threads: Set[str] = set()
        self._do: Deque[Callable[[], Any]] = deque()
        self._news = threading.Condition()

    def connected(self) -> None:
        self._note("connected")

    def disconnected(self, why: str) -> None:
        self._note("disconnected", why)

    def received(self, sender: str, payload: bytes) -> None:
        self._note("received", sender, payload)
        if self.slow:
            time.sleep(self.slow)

    def unreachable(self, part: str) -> None:
        if part != "sync":
            self._note("unreachable", part)
            return
        with self._news:
            self._synced += 1
            self._news.notify_all()

    def asked(self, topic: str, payload: bytes, reply: str) -> None:
        self._note("asked", topic, payload, reply)
        if self.says:
            self.transport.answer(reply, self.says)

    def malformed(self) -> None:
        self._note("malformed")

    def answered(self, number: int, payload: bytes) -> None:
        self._note("answered", number, payload)

    def hand_in(self) -> None:
        pass

    def step(self) -> float:
        self.threads.add(threading.current_thread().name)
        with self._news:
            self.steps += 1
            if REAL.now() >= self.at:
                self.at = NEVER
                self.rung += 1
            self._news.notify_all()
        for _ in range(len(self._do)):
            self._do.popleft()()
        return self.at

    def _note(self, *what: Any) -> None:
        self.threads.add(threading.current_thread().name)
        with self._news:
            self.told.append(what)
            self._news.notify_all()

    # -- for the test, on its thread ---------------------------------------------------------------

    def do(self, *what: Callable[[], Any]) -> None:
        """On the transport's thread, at its next step."""
        self._do.extend(what)
        self.transport.unpark()

    def done(self, *what: Callable[[], Any]) -> None:
        """Return when that is done."""
        happened = threading.Event()
        self.do(*what, happened.set)
        assert happened.wait(PATIENCE)

    def rest(self) -> int:
        """Return when it is not stepped any more; how often it was."""
        while True:
            steps = self.steps
            threading.Event().wait(0.03)
            if self.steps == steps:
                return steps

    def sync(self, *what: Callable[[], Any]) -> None:
        """Return when the server has seen what came of that."""
        before = self._synced
        self.do(*what, lambda: self.transport.send("sync", b""))
        self.until(lambda: self._synced > before)

    def until(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait for what is seen after something was told, or after a step."""
        with self._news:
            assert self._news.wait_for(condition, patience), self.told[-20:]
            return condition()

    def wait(self, *what: Any, patience: float = PATIENCE) -> None:
        """Until that is told; ... stands for whatever there is at its place."""
        self.until(lambda: self.count(*what), patience)

    def count(self, *what: Any) -> int:
        """How often it was told that."""
        return sum(
            len(each) >= len(what) and all(w in (..., e) for w, e in zip(what, each))
            for each in list(self.told)
        )

    def payloads(self, *senders: str) -> List[bytes]:
        """What came of them."""
        return [each[2] for each in list(self.told) if each[0] == "received" and each[1] in senders]


Opened = Callable[..., Recorder]


def opening(**common: Any) -> Iterator[Opened]:
    """Parts that are closed in the end, and have left no thread; for a fixture.

    Each has what is *common* beside its own options.
    """
    made: List[Recorder] = []

    def opened(
        server: Any, part: str = "me", namespace: str = "lab", wait: bool = True, **options: Any
    ) -> Recorder:
        recorder = Recorder(namespace, part)
        recorder.transport = NatsTransport(getattr(server, "url", server), **common, **options)
        made.append(recorder)
        recorder.transport.open(recorder, REAL, wait)
        return recorder

    yield opened
    for each in made:
        each.transport.close()
    for each in made:
        each.transport.join(REAL.now() + PATIENCE)
    names = {f"{each.part}-nats" for each in made}
    assert [each.name for each in threading.enumerate() if each.name in names] == []
    assert all(each.threads <= {f"{each.part}-nats"} for each in made)


def topics(*names: str) -> FrozenSet[str]:
    """As a link hands them in."""
    return frozenset(names)


async def settled(client: Any) -> None:
    """Wait until the server has seen to all that *client* said, and has told it what is wrong.

    The ping of one flush of nats-py overtakes what waits to be written, which leaves meanwhile.
    """
    await client.flush()
    await client.flush()
