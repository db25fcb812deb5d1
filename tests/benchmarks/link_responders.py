"""Who is asked, each in a process of its own: four of each kind, which echo what they are given.

`Process` starts one; `worker` in it answers to two names, what all four are asked and what the
first alone is asked. Ours and those behind bare nats-py speak to the server at a URL; zerorpc and
Pyro5 listen themselves, and say where.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Sequence

NAMESPACE = "bench"
ALL, ONE = "all", "one"
READY_S = 30
_ON_ITS_OWN = Path(__file__).with_name("link_worker.py")


class Process:
    """One responder; `place` is where it is to be asked, "" for one behind the server."""

    def __init__(self, paths: Sequence[Path], kind: str, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(_ON_ITS_OWN), "respond", kind, *args],
            env=with_paths(paths),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.place = ""

    def wait(self) -> None:
        """Until it answers; RuntimeError if it never will."""
        watch = threading.Timer(READY_S, self.process.kill)
        watch.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        watch.cancel()
        if not line.startswith("ready"):
            raise RuntimeError(f"a responder did not come up: {self.process.args!r}")
        self.place = line[len("ready") :].strip()

    def kill(self) -> None:
        """As a power cut does."""
        self.process.kill()

    def close(self) -> None:
        self.kill()
        self.process.wait()
        for each in (self.process.stdin, self.process.stdout):
            assert each is not None
            with contextlib.suppress(OSError):
                each.close()


def with_paths(paths: Sequence[Path]) -> Dict[str, str]:
    """The environment of a process that imports from *paths*."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def ours(
    ready: Callable[[str], None], url: str, number: str, namespace: str, loop: str = ""
) -> None:
    """Producers of one part; beside the echo one that hangs, and one that registers another."""
    library: Any = importlib.import_module("ate_dispatcher")
    dispatcher = library.Dispatcher()

    def echo(topic: str, value: Any) -> Any:
        return value

    dispatcher.producer(ALL, name=f"echo{number}")(echo)
    if number == "0":
        dispatcher.producer(ONE)(lambda topic, value: value)

    @dispatcher.producer("hang")  # type: ignore[untyped-decorator]
    def hang(topic: str) -> None:
        threading.Event().wait()

    @dispatcher.producer("register")  # type: ignore[untyped-decorator]
    def register(topic: str, wanted: str) -> float:
        begin = time.monotonic()
        dispatcher.producer(wanted, name=wanted)(echo)
        return begin

    given = {"uvloop": False} if loop else {}
    dispatcher.start()
    dispatcher.connect(url, namespace=namespace, name=f"part{number}", **given)
    ready("")
    dispatcher.join()


def bare(ready: Callable[[str], None], url: str, number: str) -> None:
    """Two subscriptions of nats-py, JSON read and written."""
    asyncio: Any = importlib.import_module("asyncio")
    json: Any = importlib.import_module("json")
    nats: Any = importlib.import_module("nats")

    async def live() -> None:
        client = await nats.connect(url)

        async def echo(msg: Any) -> None:
            await client.publish(msg.reply, json.dumps(json.loads(msg.data)).encode())

        for subject in (ALL, ONE) if number == "0" else (ALL,):
            await client.subscribe(f"{NAMESPACE}-bare.{subject}", cb=echo)
        await client.flush()
        ready("")
        await asyncio.Event().wait()

    asyncio.run(live())


def zerorpc(ready: Callable[[str], None], url: str, number: str) -> None:
    """A server of zerorpc."""
    library: Any = importlib.import_module("zerorpc")
    place = f"tcp://127.0.0.1:{free_port()}"

    class Echo:
        def echo(self, value: Any) -> Any:
            return value

    server = library.Server(Echo())
    server.bind(place)
    ready(place)
    server.run()


def pyro5(ready: Callable[[str], None], url: str, number: str) -> None:
    """A daemon of Pyro5, with a thread for each connection as it comes."""
    library: Any = importlib.import_module("Pyro5.api")

    class Echo:
        @library.expose  # type: ignore[untyped-decorator]
        def echo(self, value: Any) -> Any:
            return value

    daemon = library.Daemon(host="127.0.0.1")
    ready(str(daemon.register(Echo(), "echo")))
    daemon.requestLoop()


def free_port() -> int:
    """One that nobody listens on."""
    socket: Any = importlib.import_module("socket")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


RESPONDERS: Dict[str, Callable[..., None]] = {
    "ours": ours,
    "bare": bare,
    "zerorpc": zerorpc,
    "pyro5": pyro5,
}
