"""Parts in several processes, over a real server, in trouble.

The deterministic twin of each promise is on the wire within one process (`test_requests`,
`test_membership`, `test_results`, `test_troubles`): here it is seen that the server, its client and
processes keep to what that wire supposes of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import re
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest
from certificates import make_certificates, server_tls, tls
from far_parts import PATIENCE, ROOT, FarPart, eventually
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import engine_of
from nats_server import Server, free_port
from over_nats import (
    Asking,
    Hears,
    Here,
    all_answer,
    far_parts,
    heard_elsewhere,
    here,
    known,
    verdicts,
)
from servers import OVER_EACH_LOOP, settled
from test_hostile import frames, well_shaped

from ate_dispatcher import (
    Completion,
    ConnectionFailed,
    Dispatcher,
    DispatcherError,
    RemoteError,
    Verdict,
    guide,
)
from ate_dispatcher.errors import BadValue
from ate_dispatcher.links import ValueType

__all__ = ["far_parts", "here"]

pytest.importorskip("nats")


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that nobody troubles; each test has a namespace of its own there."""
    server = Server(tmp_path_factory.mktemp("shared"))
    yield server
    server.kill()


def tell(text: str) -> None:
    """A figure, for whoever runs it with ``-s``."""
    sys.stdout.write(f"\n{text}\n")


# -- connecting ------------------------------------------------------------------------------------


def test_an_address_may_stand_in_many_places(
    here: Here, shared_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the call, in a list of which some are down, in the environment; also as ``with``."""
    url, nobody = shared_server.url, f"nats://127.0.0.1:{free_port()}"
    for name in ("ATE_DISPATCHER_NATS_URL", "ATE_DISPATCHER_NATS_HOST", "ATE_DISPATCHER_NATS_PORT"):
        monkeypatch.delenv(name, raising=False)
    dispatcher = here.dispatcher()
    with pytest.raises(DispatcherError, match="ATE_DISPATCHER_NATS_URL"):
        dispatcher.connect()
    for address in (url, [nobody, url], f"{nobody},{url}"):
        with dispatcher.connect(address, namespace=here.namespace, name="a") as connection:
            assert connection.is_connected
        assert not connection.is_connected
    monkeypatch.setenv("ATE_DISPATCHER_NAMESPACE", here.namespace)
    monkeypatch.setenv("ATE_DISPATCHER_NATS_URL", url)
    with dispatcher.connect() as connection:
        assert connection.namespace == here.namespace
    monkeypatch.delenv("ATE_DISPATCHER_NATS_URL")
    monkeypatch.setenv("ATE_DISPATCHER_NATS_HOST", "127.0.0.1")
    monkeypatch.setenv("ATE_DISPATCHER_NATS_PORT", str(shared_server.port))
    with dispatcher.connect(name="a") as connection:
        assert connection.is_connected


def test_who_cannot_be_reached_is_an_error_at_the_connect(here: Here) -> None:
    """So is whoever does not want us; the dispatcher goes on, and may connect elsewhere."""
    dispatcher = here.dispatcher("mine")
    port = free_port()
    with pytest.raises(ConnectionFailed, match=f"no connection to nats://127.0.0.1:{port}"):
        dispatcher.connect(f"nats://127.0.0.1:{port}")
    closed = here.server('authorization {user: "lab", password: "secret"}')
    for login in ({}, {"user": "lab", "password": "wrong"}):
        with pytest.raises(ConnectionFailed, match=r"(?i)authorization") as caught:
            dispatcher.connect(closed.url, **login)
        assert "wrong" not in str(caught.value)
    with pytest.raises(BadValue, match="colour"):
        dispatcher.connect(closed.url, colour="red")
    with dispatcher.connect(closed.url, user="lab", password="secret") as connection:
        assert connection.is_connected
    assert dispatcher.send_request("volts", 1, ttl=1000).results() == [["mine", 1]]


def test_who_does_not_wait_is_connected_when_the_server_comes(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    """And meanwhile asks those who are here. The log that said it goes on trying says so."""
    caplog.set_level("INFO", "ate_dispatcher")
    server = here.server()
    server.kill()
    dispatcher, connection = here.connect(server.url, "a", "mine", wait=False)
    assert not connection.is_connected
    assert dispatcher.send_request("volts", 1, ttl=1000).results() == [["mine", 1]]
    eventually(lambda: "it goes on trying" in caplog.text)
    server.start()
    eventually(lambda: connection.is_connected)
    assert connection.error is None
    eventually(lambda: caplog.text.count(": connected, after") == 1)
    here.connect(server.url, "b", "theirs")
    known(dispatcher, "volts", 2)
    assert sorted(dispatcher.send_request("volts", ttl=1000).results()) == [["mine"], ["theirs"]]


class Holds(logging.Handler):
    """Takes its time over what is said of NATS, until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.is_at_it = threading.Event()
        self.goes_on = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("NATS"):
            self.is_at_it.set()
            self.goes_on.wait(PATIENCE)


def test_no_log_handler_keeps_a_connection_from_being_made(here: Here) -> None:
    """It may log over the same network, or ask who is there: that it tries is said elsewhere."""
    logger, handler = logging.getLogger("ate_dispatcher"), Holds()
    server = here.server()
    server.kill()
    logger.addHandler(handler)
    try:
        _, connection = here.connect(server.url, "a", "mine", wait=False)
        assert handler.is_at_it.wait(PATIENCE)
        server.start()
        eventually(lambda: connection.is_connected)
        assert not handler.goes_on.is_set()
    finally:
        handler.goes_on.set()
        logger.removeHandler(handler)


def test_a_connection_in_the_background_says_what_keeps_it_away(here: Here) -> None:
    """No server at first, then a wrong password: whoever asks is told, and that it goes on."""
    server = here.server('authorization {user: "lab", password: "secret"}')
    server.kill()
    _, connection = here.connect(server.url, wait=False, user="lab", password="wrong")

    def says(text: str) -> bool:
        return text in str(connection.error)

    assert says(f"no connection to {server.url}")
    eventually(lambda: not says(" yet"))
    assert repr(connection).endswith(f", not connected: {connection.error}>")
    server.start()
    eventually(lambda: says("Authorization"))
    assert isinstance(connection.error, ConnectionFailed)
    assert says("; it goes on trying")
    assert not says("wrong")
    connection.disconnect()
    assert connection.join(5)
    assert connection.error is None


def test_a_connection_that_is_lost_says_so_until_it_is_there_again(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    """Also in the log, which says when it is back."""
    caplog.set_level("INFO", "ate_dispatcher")
    server = here.server()
    _, connection = here.connect(server.url)
    server.kill()
    eventually(lambda: not connection.is_connected)
    assert server.url in str(connection.error)
    server.start()
    eventually(lambda: connection.is_connected)
    assert connection.error is None
    eventually(lambda: caplog.text.count("connected again, after") == 1)


def test_a_connect_that_is_interrupted_leaves_nothing(here: Here) -> None:
    """By Ctrl-C, while a server that greets nobody keeps it waiting."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        dispatcher = here.dispatcher()
        threads = set(threading.enumerate())
        timer = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
        # Whoever runs the tests in the background may have had it ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                dispatcher.connect(
                    f"nats://127.0.0.1:{silent.getsockname()[1]}", connect_timeout=60_000
                )
            timer.join()
        finally:
            signal.signal(signal.SIGINT, before)
        eventually(lambda: set(threading.enumerate()) <= threads, 3)
    with pytest.raises(DispatcherError, match="no connection"):
        dispatcher.connect(f"nats://127.0.0.1:{free_port()}")


# -- all of it, over three processes ---------------------------------------------------------------


def test_everything_goes_over_three_processes(here: Here, shared_server: Server) -> None:
    """Requests, streams, progress, cancel, disable, errors, listeners, published values."""
    a, connection = here.connect(shared_server.url, "a", "a")
    hears = Hears()
    a.register_result_listener(hears, "volts", start=True)
    b, c = here.far(shared_server.url, "b", "c")
    known(a, "volts", 3)
    assert connection.parts == ("b", "c")
    # Requests, from each of them, and results to whoever listens.
    c.do("dispatcher.register_result_listener(Hears(), 'volts', 'news', start=True)")
    eventually(lambda: engine_of(a).registry.find("news") is not None)
    handle = a.send_request("volts", 1, ttl=2000)
    assert sorted(handle.results()) == [["a", 1], ["b", 1], ["c", 1]]
    eventually(lambda: len(hears.heard) == 3)
    eventually(lambda: c.get("len(heard)") == 3)
    assert sorted(b.get("dispatcher.send_request('volts', 2, ttl=2000).results()")) == [
        ["a", 2],
        ["b", 2],
        ["c", 2],
    ]
    eventually(lambda: c.get("len(heard)") == 6)
    # Published values, in their order.
    for number in range(100):
        a.publish("news", number)
    eventually(lambda: c.get("len(heard)") == 106)
    assert c.get("heard[6:]") == list(range(100))
    # An error is a value, with its traceback.
    b.do(
        "@dispatcher.producer('fails')\n"
        "def fails(topic, *args):\n    raise ValueError('no probe')\n"
        "@dispatcher.producer('parts', stream=True)\n"
        "def parts(topic, *args):\n"
        "    current_request().progress(0.5, 'half way')\n"
        "    yield 1\n    event.wait(5)\n    yield 2\n"
        "event = threading.Event()"
    )
    known(a, "fails", 1)
    known(a, "parts", 1)
    handle = a.send_request("fails", ttl=2000)
    handle.wait()
    error = handle.replies[0].error
    assert isinstance(error, RemoteError)
    assert (error.kind, error.message, error.part) == ("ValueError", "no probe", "b")
    assert "in fails" in error.traceback_text
    # A stream, and how far it is.
    handle = a.send_request("parts", ttl=5000)
    values = iter(handle)
    first = next(values)
    assert first.value == 1, first.error
    eventually(lambda: handle.progress)
    (progress,) = handle.progress
    assert (progress.fraction, progress.text) == (0.5, "half way")
    b.do("event.set()")
    assert [each.value for each in values] == [2]
    assert handle.completion is Completion.ALL_REPLIED
    # Who is disabled here is not asked; who is disabled there neither.
    a.disable("b")
    assert sorted(a.send_request("volts", ttl=2000).results()) == [["a"], ["c"]]
    a.enable("b")
    b.do("dispatcher.disable('b')")
    known(a, "volts", 2)
    b.do("dispatcher.enable('b')")
    known(a, "volts", 3)
    # What is cancelled is not begun.
    b.do("dispatcher.register_result_producer(Works('slow', 300), 'slow', start=True)")
    known(a, "slow", 1)
    first, second = (a.send_request("slow", number, ttl=5000) for number in (10, 11))
    eventually(lambda: b.get("done[-1][1:] == [10]"))
    before = b.get("len(done)")
    second.cancel()
    assert first.results() == [["slow", 10]]
    eventually(lambda: verdicts(second) == [Verdict.CANCELLED])
    time.sleep(0.05)
    assert b.get("len(done)") == before
    assert connection.statistics()["malformed"] == 0


# -- trouble ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OVER_EACH_LOOP)
def test_a_server_that_dies_takes_nothing_with_it(here: Here, options: Dict[str, Any]) -> None:
    """Killed and started again under load.

    No request hangs, who is here answers each, and whoever listens elsewhere hears each value once,
    in order.
    """
    server = here.server()
    a, connection = here.connect(server.url, "a", "here", **options)
    (b,) = here.far(server.url, "b")
    b.do("dispatcher.register_result_listener(Hears(), 'news', start=True)")
    hears = Hears()
    a.register_result_listener(hears, "far news", start=True)
    known(a, "volts", 2)
    eventually(lambda: engine_of(a).registry.find("news") is not None)
    eventually(lambda: b.get("engine_of(dispatcher).registry.find('far news') is not None"))
    b.do(
        "def tell():\n"
        "    for number in range(1500):\n"
        "        dispatcher.publish('far news', number)\n"
        "        time.sleep(0.0004)\n"
        "telling = threading.Thread(target=tell)\n"
        "telling.start()"
    )
    asking = Asking(a, ttl=200)
    asking.start()
    published = 0
    until = time.monotonic() + 1.2
    kill_at = until - 0.9
    down = False
    while True:
        if time.monotonic() > until:
            break
        a.publish("news", published)
        published += 1
        time.sleep(0.0004)
        if not down and time.monotonic() > kill_at:
            down = True
            server.kill()
            threading.Timer(0.2, server.start).start()
    b.do("telling.join()")
    eventually(lambda: connection.is_connected)
    eventually(lambda: all_answer(a, 0, ttl=200))
    asking.end()
    eventually(lambda: b.get("len(heard)") >= published, 5)
    eventually(lambda: len(hears.heard) >= 1500, 5)
    assert b.get("heard") == list(range(published))
    assert hears.heard == list(range(1500))
    assert asking.longest < 0.2 + 2
    for handle in asking.handles:
        first = handle.report().members[0]
        assert first.verdict is Verdict.OK
    assert connection.statistics()["sent_again"] > 0
    far = [handle.report().members[1].verdict for handle in asking.handles]
    assert far[0] is far[-1] is Verdict.OK


@pytest.mark.parametrize("way", ["killed", pytest.param("frozen", marks=pytest.mark.thorough)])
def test_a_server_that_dies_loses_no_request(here: Here, way: str) -> None:
    """What was on its way is said again: all is answered, though nobody has set a ttl, and once.

    Frozen for longer than a ping is waited for: what it has read goes out when it is back, as well.
    """
    server = here.server()
    a, _ = here.connect(server.url)
    (b,) = here.far(server.url, "b")
    known(a, "volts", 1)
    handles = []
    for number in range(600):
        handles.append(a.send_request("volts", number, ttl=None))
        time.sleep(0.0005)
        if number == 300 and way == "killed":
            server.kill()
        elif number == 300:
            server.freeze()
            threading.Timer(2.8, server.thaw).start()
        elif number == 450 and way == "killed":
            server.start()
    for number, handle in enumerate(handles):
        assert handle.wait(PATIENCE), number
        assert handle.results() == [["b", number]]
    assert sorted(b.get("[number for _, number in done]")) == list(range(600))


def gone_after(
    here: Here, dispatcher: Dispatcher, url: str, strike: Callable[[FarPart], None]
) -> float:
    """How long it takes until a part that owes an answer is seen to be gone."""
    (far,) = here.far(url, "mortal", on="slow", ms=20_000)
    known(dispatcher, "slow", 1)
    handle = dispatcher.send_request("slow", ttl=20_000)
    eventually(lambda: far.get("len(done)"))
    time.sleep(random.random() * 0.2)
    began = time.monotonic()
    strike(far)
    handle.wait()
    assert verdicts(handle) == [Verdict.GONE]
    return time.monotonic() - began


def test_who_is_killed_is_gone_before_its_silence_tells(here: Here, shared_server: Server) -> None:
    """It owes an answer; three silent beats would take 3 s. Who is registered is known, too."""
    a, connection = here.connect(shared_server.url)
    assert gone_after(here, a, shared_server.url, FarPart.kill) < 2
    assert connection.parts == ()
    assert a.send_request("slow", ttl=1000).completion is Completion.NO_PRODUCERS


@pytest.mark.scale
def test_killed_parts_are_gone_within_400_ms(here: Here, shared_server: Server) -> None:
    """Fifteen of them; restarted under the same name each time."""
    a, _ = here.connect(shared_server.url)
    took = [gone_after(here, a, shared_server.url, FarPart.kill) * 1e3 for _ in range(15)]
    tell(
        f"SIGKILL to GONE: {min(took):.0f} / {statistics.median(took):.0f} / {max(took):.0f} ms"
        " (least, median, most of 15)"
    )
    assert statistics.median(took) < 400
    assert max(took) < 2000


def test_who_was_frozen_begins_nothing_that_is_over(here: Here, shared_server: Server) -> None:
    """What waits in its socket has no time left when it is read."""
    a, connection = here.connect(shared_server.url, "a", "here")
    (b,) = here.far(shared_server.url, "b")
    known(a, "volts", 2)
    assert all_answer(a, "before", ttl=1000)
    b.freeze()
    handles = [a.send_request("volts", "frozen", ttl=100) for _ in range(20)]
    for handle in handles:
        handle.wait()
        assert handle.completion is Completion.DEADLINE
        assert verdicts(handle) == [Verdict.OK, Verdict.MISSING]
    time.sleep(0.2)
    b.thaw()
    eventually(lambda: verdicts(handles[-1]) == [Verdict.OK, Verdict.SKIPPED])
    assert all_answer(a, "after", ttl=1000)
    assert [each[1] for each in b.get("done")] == ["before", "after"]
    assert connection.statistics()["gone"] == 0


def test_who_reads_slowly_is_not_cut_off_for_what_it_is_asked(here: Here) -> None:
    """A server closes the connection of whoever has too much waiting there: here 12 MB."""
    server = here.server("max_pending: 12000000")
    (far,) = here.far(server.url, "far")
    dispatcher, connection = here.connect(server.url)
    known(dispatcher, "volts", 1)
    assert dispatcher.send_request("volts", 0, ttl=5000).results() == [["far", 0]]
    far.freeze()
    large = "x" * 1_000_000
    handles = [dispatcher.send_request("volts", large, each, ttl=None) for each in range(40)]
    time.sleep(0.3)
    far.thaw()
    for number, handle in enumerate(handles):
        assert handle.results(timeout=20) == [["far", large, number]]
    assert [each[-1] for each in far.get("done")] == [0, *range(40)]
    assert connection.statistics()["gone"] == 0


@pytest.mark.thorough
def test_who_was_frozen_for_long_is_gone_and_comes_back(here: Here, shared_server: Server) -> None:
    """After three silent beats; what it had is begun by nobody, and it is asked again after."""
    a, connection = here.connect(shared_server.url, "a", "here")
    (b,) = here.far(shared_server.url, "b")
    known(a, "volts", 2)
    assert all_answer(a, "before", ttl=1000)
    b.freeze()
    endless = a.send_request("volts", "endless", ttl=None)
    short = [a.send_request("volts", "short", ttl=100) for _ in range(5)]
    endless.wait()
    assert verdicts(endless) == [Verdict.OK, Verdict.GONE]
    assert connection.parts == ()
    time.sleep(1)
    b.thaw()
    known(a, "volts", 2)
    assert all_answer(a, "after", ttl=1000)
    # Nor the endless one, of which it was told that it was given up.
    assert [each[1] for each in b.get("done")] == ["before", "after"]
    assert [verdicts(each)[1] for each in short] == [Verdict.MISSING] * 5


@pytest.mark.thorough
def test_a_frozen_namesake_leaves_when_it_is_back(here: Here, shared_server: Server) -> None:
    """Another one has its name by then; nobody shouts."""
    a, connection = here.connect(shared_server.url)
    (old,) = here.far(shared_server.url, "b")
    known(a, "volts", 1)
    old.freeze()
    (new,) = here.far(shared_server.url, "b", on="ohms")
    known(a, "ohms", 1)
    before = connection.statistics()["messages_in"]
    old.thaw()
    eventually(lambda: not old.get("connection.is_connected"))
    time.sleep(0.3)
    assert connection.statistics()["messages_in"] - before < 20
    assert a.send_request("ohms", ttl=1000).results() == [["b"]]
    assert new.get("connection.is_connected")
    assert connection.parts == ("b",)


@pytest.mark.thorough
def test_a_frozen_server_has_nothing_executed_after_its_end(here: Here) -> None:
    """For 1.5 s, with half a second for each request."""
    server = here.server()
    a, _ = here.connect(server.url, "a", "here")
    (b,) = here.far(server.url, "b")
    known(a, "volts", 2)
    asking = [Asking(a, ttl=500) for _ in range(7)]
    for each in asking:
        each.start()
    time.sleep(0.2)
    server.freeze()
    time.sleep(1.5)
    server.thaw()
    eventually(lambda: all_answer(a, "", 0, ttl=300))
    time.sleep(0.2)
    for each in asking:
        each.end()
        assert each.longest < 0.5 + 2
    every = {(each.name, n): h for each in asking for n, h in enumerate(each.handles)}
    assert all(verdicts(handle)[0] is Verdict.OK for handle in every.values())
    begun = [(at, every[name, n]) for at, name, n in b.get("done") if name]
    assert [at - h.deadline for at, h in begun if at > h.deadline + 0.02] == []
    assert len(begun) < len(every)


# -- too much --------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_what_a_frozen_server_does_not_take_is_not_made_ready_to_leave(here: Here) -> None:
    """However much waits in the outbox when it is looked into; later all of it is heard."""
    gate = threading.Event()

    def to_plain(_: Any) -> int:
        # Holds up the link's thread.
        assert gate.wait(PATIENCE)
        return -1

    gated = ValueType("gated", Here, to_plain, lambda plain: here)
    server = here.server()
    a, connection = here.connect(server.url, "a", ping_interval=60, types=[gated])
    b, _ = here.connect(server.url, "b", ping_interval=60, types=[gated])
    hears = Hears()
    b.register_result_listener(hears, "news", start=True)
    heard_elsewhere(a, "news")
    values = [f"{number} {'.' * 500_000}" for number in range(40)]
    server.freeze()
    try:
        said = connection.statistics()["frames_out"]
        a.publish("news", here)
        for each in values:
            a.publish("news", each)
        gate.set()
        eventually(lambda: connection.statistics()["frames_out"] > said)
        time.sleep(0.4)
        # The system takes some megabytes.
        assert connection.statistics()["frames_out"] - said < 20
    finally:
        gate.set()
        server.thaw()
    eventually(lambda: len(hears.heard) > len(values))
    assert hears.heard == [here, *values]


def test_what_is_too_large_is_refused_and_the_connection_stays(here: Here) -> None:
    """Arguments at the call, an answer as an error, a value as an error of its delivery."""
    server = here.server("max_payload: 65536")
    a, connection = here.connect(server.url, "a", "here")
    (b,) = here.far(server.url, "b")
    b.do(
        "@dispatcher.producer('large')\ndef large(topic, size):\n    return 'x' * size\n"
        "dispatcher.register_result_listener(Hears(), 'news', start=True)\n"
        "dispatcher.register_result_producer(Works('any'), TopicPattern('long.*'), start=True)"
    )
    known(a, "volts", 2)
    known(a, "large", 1)
    eventually(lambda: a.send_request("long.topic", ttl=2000).results() == [["any"]])
    eventually(lambda: engine_of(a).registry.find("news") is not None)
    with pytest.raises(BadValue, match=r"the arguments are \d+ bytes"):
        a.send_request("volts", "x" * 65_536)
    with pytest.raises(BadValue, match="topic"):
        a.send_request("long." + "t" * 1024, ttl=2000)
    handle = a.send_request("large", 65_536, ttl=2000)
    handle.wait()
    assert isinstance(handle.replies[0].error, RemoteError)
    assert "a message has room for" in handle.replies[0].error.message
    delivery = a.publish("news", "x" * 65_536)
    delivery.wait()
    assert [each.verdict for each in delivery.report().listeners] == [Verdict.ERROR]
    # What is nearly too large arrives.
    a.publish("news", "y" * 60_000)
    eventually(lambda: b.get("len(heard)") == 1)
    assert a.send_request("large", 60_000, ttl=2000).results() == ["x" * 60_000]
    assert all_answer(a, "z" * 55_000)
    assert connection.is_connected
    assert connection.statistics()["gone"] == 0


# -- the hostile -----------------------------------------------------------------------------------


async def _flood(url: str, namespace: str, seed: int, number: int, kinds: List[str]) -> None:
    import nats

    dice = random.Random(seed)
    client = await nats.connect(url)

    def anything(depth: int = 0) -> Any:
        made: List[Callable[[], Any]] = [
            lambda: None,
            lambda: dice.randrange(-2, 5),
            lambda: dice.randrange(1 << 53),
            lambda: 1e308 * dice.choice([1, -1, 10]),
            lambda: "".join(chr(dice.randrange(1, 0xD7FF)) for _ in range(dice.randrange(5))),
            lambda: dice.choice(["volts", "news", "b", "a", "*", ">", "", "\ud800"]),
            lambda: {"$bytes": 7},
            lambda: [anything(depth + 1) for _ in range(dice.randrange(4))],
            lambda: {str(anything(9)): anything(depth + 1) for _ in range(dice.randrange(3))},
        ]
        return dice.choice(made[: 7 if depth > 3 else 9])()

    def payload() -> bytes:
        how = dice.randrange(8)
        if how == 0:
            return dice.getrandbits(8 * 40).to_bytes(40, "big")
        if how == 1:
            return b"[" * dice.randrange(1, 60_000)
        if how == 2:
            return b"[1" + b"0" * dice.randrange(60_000) + b"]"
        frames = [[dice.choice(kinds), *(anything() for _ in range(dice.randrange(10)))]]
        text = b"\n".join(json.dumps(each).encode() for each in frames)
        return text[: dice.randrange(len(text))] if how == 3 else text

    senders = ["b", "c", "x", "x" * 64, "a", "%", "\u00e9", "x" * 65]
    ways = [
        *[f"ate1.{namespace}.p.a.{each}" for each in senders],
        *[f"ate1.{namespace}.all.{each}" for each in senders],
        *[f"ate1.{namespace}.r.{each}.volts" for each in senders],
        f"ate1.{namespace}.n.a.b",
        f"ate1.{namespace}.n.a.all.-",
        f"ate1.{namespace}.n.a.q.7",
        f"ate1.{namespace}.q.volts",
        *["$SRV.PING", "$SRV.INFO", "$SRV.STATS.a", f"$SRV.STATS.ate1-{namespace}"],
    ]
    for count in range(number):
        reply = dice.choice(["", "ate1.x", f"ate1.{namespace}.p.a.b", "$SYS.x", "_INBOX.x"])
        await client.publish(dice.choice(ways), payload(), reply=reply)
        if count % 100 == 99:
            await client.flush()
    await client.flush()
    await client.close()


@pytest.mark.parametrize("number", [1500, pytest.param(40_000, marks=pytest.mark.thorough)])
def test_a_flood_of_nonsense_stops_nobody(here: Here, shared_server: Server, number: int) -> None:
    """On every subject that a part listens on; it is counted, and nobody crashes or grows."""
    from ate_dispatcher.links.frame_reader import KINDS

    a, connection = here.connect(shared_server.url, "a", "here")
    a.register_result_listener(Hears(), "volts", start=True)
    (b,) = here.far(shared_server.url, "b")
    known(a, "volts", 2)
    flood = threading.Thread(
        target=asyncio.run,
        args=[_flood(shared_server.url, here.namespace, 7, number, sorted(KINDS))],
    )
    flood.start()
    asking = Asking(a, ttl=500)
    asking.start()
    flood.join(60)
    assert not flood.is_alive()
    asking.end()
    assert asking.longest < 0.5 + 2
    for handle in asking.handles:
        mine = next(each for each in handle.report().members if each.producer == "here")
        assert mine.verdict is Verdict.OK
    assert connection.is_connected
    assert connection.statistics()["malformed"] > number / 20
    eventually(lambda: all_answer(a, ttl=300))
    assert b.get("connection.is_connected")


async def _says(url: str, subjects: List[str], payloads: List[bytes]) -> None:
    """A stranger says all that on each of these."""
    import nats

    client = await nats.connect(url)
    for subject in subjects:
        for payload in payloads:
            await client.publish(subject, payload, reply=client.new_inbox())
    await settled(client)
    await client.close()


def test_whatever_frames_arrive_nobody_misses_anything(here: Here, shared_server: Server) -> None:
    """Well made or not: each request is answered, and each value heard once, in its order."""
    url = shared_server.url
    a, connection = here.connect(url, "a", "here")
    c, _ = here.connect(url, "c", "far")
    hears, published = Hears(), 0
    ways = [
        *("p.a.x", "all.x", "r.x.volts", "q.volts"),
        *("n.a.c", "n.a.all.-", "n.a.q.1"),
    ]
    subjects = [f"ate1.{here.namespace}.{way}" for way in ways]
    subjects += ["$SRV.PING", f"$SRV.STATS.ate1-{here.namespace}.a"]
    a.register_result_listener(hears, "news", start=True)
    heard_elsewhere(c, "news")
    known(a, "volts", 2)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.binary(max_size=40) | frames | well_shaped, min_size=1, max_size=30))
    def are_harmless(payloads: List[bytes]) -> None:
        nonlocal published
        c.publish("news", published)
        before = connection.statistics()["messages_in"]
        asyncio.run(_says(url, subjects, payloads))
        c.publish("news", published + 1)
        published += 2
        values = a.options(only=["here", "c/far"], ttl=10_000).send_request("volts", 1).results()
        assert sorted(values) == [["far", 1], ["here", 1]]
        assert connection.statistics()["messages_in"] > before

    are_harmless()
    eventually(lambda: len(hears.heard) >= published)
    assert hears.heard == list(range(published))
    assert connection.statistics()["malformed"] > 0


def test_what_the_transport_makes_nothing_of_is_counted_too(
    here: Here, shared_server: Server
) -> None:
    """A sender that no part can be, and an answer where nobody answers."""
    url, namespace = shared_server.url, here.namespace
    _, connection = here.connect(url, "a", "here")

    def say(*ways: str) -> None:
        subjects = [f"ate1.{namespace}.{way}" for way in ways]
        asyncio.run(_says(url, subjects, [b'["probe"]']))

    say("p.a.b!", "all.b!", "n.a.b")
    eventually(lambda: connection.statistics()["malformed"] >= 3)
    say("p.a.b")
    eventually(lambda: connection.statistics()["messages_in"] >= 1)
    assert connection.statistics()["malformed"] == 3


# -- permissions and TLS ---------------------------------------------------------------------------


def permitted(namespace: str, *parts: str) -> str:
    """The configuration of the guide for these parts; each password is the name, backwards."""
    found = re.search(r"```text\n(authorization .*?)```", guide.text("several-machines"), re.DOTALL)
    assert found is not None
    head, *user, tool, answers, asks, tail = found.group(1).strip().split("\n")
    users = [
        "\n".join(user)
        .replace("NAMESPACE", namespace)
        .replace("PASSWORD", part[::-1])
        .replace("PART", part)
        for part in parts
    ]
    others = [each.replace("NAMESPACE", namespace) for each in (tool, answers, asks)]
    return "\n".join([head, *users, *others, tail]).replace("SECRET", "loot")


async def _forge(url: str, namespace: str) -> List[str]:
    """What the server says to somebody with the login of the part c who speaks for others."""
    import nats

    said: List[str] = []

    async def failed(error: Exception) -> None:
        said.append(str(error).lower())

    client = await nats.connect(url, user="c", password="c"[::-1], error_cb=failed)
    here_is = '["here","changed","i",99,0,{"volts":[1]},{"1":"x"},[],{"codecs":[],"version":""}]'
    for subject in (
        f"ate1.{namespace}.p.a.b",
        f"ate1.{namespace}.all.b",
        f"ate1.{namespace}.r.b.volts",
        "ate1.other.p.a.c",
        f"ate1.{namespace}.n.a.b",
        "anything.else",
    ):
        await client.publish(subject, here_is.encode())
    for subject in (f"ate1.{namespace}.p.a.*", f"ate1.{namespace}.n.a.>", "ate1.other.all.*", ">"):
        await client.subscribe(subject)
    await client.publish(f"ate1.{namespace}.all.c", b'["bye","i"]')
    await settled(client)
    assert client.is_connected
    await client.close()
    return said


def test_nobody_speaks_for_another_where_the_server_says_so(here: Here) -> None:
    """Forged senders, other namespaces and others' inboxes are refused.

    All else works with the permissions of the guide, and the connections stay.
    """
    namespace = here.namespace
    server = here.server(permitted(namespace, "alpha", "beta", "c"))
    a, connection = here.connect(server.url, "alpha", "alpha", user="alpha", password="ahpla")
    b, other = here.connect(server.url, "beta", "beta", user="beta", password="ateb")
    hears = Hears()
    b.register_result_listener(hears, "volts", "news", start=True)
    known(a, "volts", 2)
    eventually(lambda: engine_of(a).registry.find("news") is not None)
    assert all_answer(a)
    assert all_answer(b)
    a.publish("news", 7)
    eventually(lambda: 7 in hears.heard)
    said = asyncio.run(_forge(server.url, namespace))
    assert sum("publish" in each for each in said) == 6
    assert sum("subscription" in each for each in said) == 4
    assert connection.parts == ("beta",)
    assert all_answer(a)
    assert all_answer(b)
    for each in (connection, other):
        assert each.is_connected
        assert each.statistics()["gone"] == each.statistics()["malformed"] == 0
    found = asyncio.run(_discover(server.url))
    assert found.count("refused") == 1
    assert len(found) == 3, found
    for values in asyncio.run(_whoever(server.url, namespace, a)):
        assert sorted(values) == [["alpha"], ["beta"], ["plain"]]
    # A part by another's login is none.
    with pytest.raises(ConnectionFailed, match=r"(?i)permissions violation"):
        here.connect(server.url, "beta2", user="alpha", password="ahpla")
    other.disconnect()
    eventually(lambda: connection.parts == ())


async def _whoever(url: str, namespace: str, a: Dispatcher) -> Tuple[List[Any], List[Any]]:
    """What two programs that are no parts have by their logins: the one asks, the other answers.

    The answers that the asker has got, and those that *a* has.
    """
    import nats

    async def answer(message: Any) -> None:
        await message.respond(b'["plain"]')

    subject = f"ate1.{namespace}.q.volts"
    plain = await nats.connect(url, user="plain", password="loot")
    await plain.subscribe(subject, cb=answer)
    await settled(plain)
    asker = await nats.connect(url, user="asker", password="loot")
    answers = await asker.subscribe(asker.new_inbox())
    await asker.publish(subject, b'{"args": []}', reply=answers.subject)
    heard = [json.loads((await answers.next_msg(PATIENCE)).data) for _ in range(3)]
    handle = a.options(members="open", need=3, ttl=1000 * PATIENCE).send_request("volts")
    await handle
    for client in (plain, asker):
        await client.close()
    values = [each["$reply"]["value"] if "$reply" in each else each for each in heard]
    return values, handle.results()


async def _discover(url: str) -> List[Any]:
    """The names of all parts, as ``nats micro list`` finds them; and what it may not do."""
    import nats

    found: List[Any] = []

    async def came(message: Any) -> None:
        found.append(json.loads(message.data)["metadata"])

    async def failed(error: Exception) -> None:
        found.append("refused")

    client = await nats.connect(url, user="tool", password="loot", error_cb=failed)
    inbox = client.new_inbox()
    await client.subscribe(inbox, cb=came)
    await client.publish("$SRV.PING", b"", reply=inbox)
    await client.publish("ate1.x.all.tool", b"")
    await settled(client)
    until = time.monotonic() + PATIENCE
    while len(found) < 3 and time.monotonic() < until:
        await asyncio.sleep(0.01)
    await client.close()
    return found


def test_tls_goes_both_ways(here: Here, tmp_path: Path) -> None:
    """Both show a certificate; a wrong one on either side is an error at the connect."""
    folder = make_certificates(tmp_path)
    server = here.server(server_tls(folder))
    a, connection = here.connect(server.url, "a", "here", tls=tls(folder, "ca", "client"))
    here.connect(server.url.replace("nats:", "tls:"), "b", "b", tls=tls(folder, "ca", "client"))
    known(a, "volts", 2)
    assert all_answer(a)
    for wrong in (tls(folder, "other", "client"), tls(folder, "ca", "stranger"), tls(folder, "ca")):
        with pytest.raises(ConnectionFailed, match="no connection to"):
            here.connect(server.url, "c", tls=wrong)
    server.kill()
    server.start()
    eventually(lambda: connection.is_connected)
    eventually(lambda: all_answer(a, ttl=300))


@pytest.mark.parametrize("client", ["stranger", ""], ids=["of a stranger", "none"])
def test_who_is_refused_for_its_certificate_is_told_what_the_server_wants(
    here: Here, tmp_path: Path, client: str
) -> None:
    """It says so after our handshake, by ending the connection: that alone would tell nothing."""
    folder = make_certificates(tmp_path)
    server = here.server(server_tls(folder))
    with pytest.raises(ConnectionFailed, match="a certificate that it trusts"):
        here.connect(server.url, tls=tls(folder, "ca", client))
    with pytest.raises(ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED") as caught:
        here.connect(server.url, tls=tls(folder, "other", client))
    assert "that it trusts" not in str(caught.value)


@pytest.mark.parametrize("uvloop", [False, None])
def test_the_end_of_a_connection_with_tls_is_no_line_in_the_log(
    here: Here, tmp_path: Path, caplog: pytest.LogCaptureFixture, uvloop: Optional[bool]
) -> None:
    """Neither ours nor, by asyncio's own logger, the server's."""
    folder = make_certificates(tmp_path)
    server = here.server(server_tls(folder))
    options = {"tls": tls(folder, "ca", "client"), "uvloop": uvloop}
    _, first = here.connect(server.url, "a", **options)
    _, second = here.connect(server.url, "b", **options)
    first.disconnect()
    assert first.join(PATIENCE)
    server.kill()
    eventually(lambda: not second.is_connected)
    assert [each for each in caplog.records if each.name == "asyncio"] == []


@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_where_tls_is_wanted_nothing_is_said_without(here: Here, scheme: str) -> None:
    """A server that does without, or somebody in its place, hears no password."""
    heard: List[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))
    host, port = listening.getsockname()

    def serve() -> None:
        end, _ = listening.accept()
        with end:
            end.sendall(b'INFO {"server_id":"x","version":"2.10.0","proto":1,"headers":true}\r\n')
            heard.append(end.recv(4096))

    serving = threading.Thread(target=serve)
    serving.start()
    options = {"tls": ssl.create_default_context()} if scheme == "nats" else {}
    with pytest.raises(ConnectionFailed, match="without TLS"):
        here.connect(f"{scheme}://{host}:{port}", user="u", password="SECRET", **options)
    serving.join(PATIENCE)
    listening.close()
    assert heard == [b""]


# -- ends ------------------------------------------------------------------------------------------


def program(code: str, *args: str) -> subprocess.Popen[str]:
    """A Python that runs *code* with *args*, and is strict about what is left open."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


CONNECTED = """
    import os, sys, time
    from ate_dispatcher import Dispatcher
    dispatcher = Dispatcher()
    dispatcher.start()

    @dispatcher.producer("slow")
    def slow(topic):
        time.sleep(float(sys.argv[3]))
        return "done"

    connection = dispatcher.connect(sys.argv[1], namespace=sys.argv[2], name="b")
    print("connected", flush=True)
"""


def test_who_ends_without_a_stop_says_bye(here: Here, shared_server: Server) -> None:
    """At the end of the interpreter: nobody has to find out."""
    a, connection = here.connect(shared_server.url)
    part = program(CONNECTED + "    input()\n", shared_server.url, here.namespace, "0")
    known(a, "slow", 1)
    assert a.send_request("slow", ttl=2000).results() == ["done"]
    said, errors = part.communicate("\n", 10)
    eventually(lambda: connection.parts == ())
    assert (part.returncode, said, errors) == (0, "connected\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_of_a_connected_process_is_no_part(here: Here, shared_server: Server) -> None:
    """Parent and child go on; the child is not connected, and can be another part."""
    a, connection = here.connect(shared_server.url)
    code = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    child = os.fork()
    if child == 0:
        assert not connection.is_connected
        connection.disconnect()
        assert connection.join(1)
        other = Dispatcher()
        other.start()
        with other.connect(sys.argv[1], namespace=sys.argv[2], name="child") as mine:
            assert mine.parts == ("a", "b"), mine.parts
            assert other.send_request("slow", ttl=2000).results() == ["done"]
        other.stop()
        other.join()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print("forked", flush=True)
    input()
    """
    part = program(CONNECTED + code, shared_server.url, here.namespace, "0")
    known(a, "slow", 1)
    assert part.stdout is not None
    assert [part.stdout.readline(), part.stdout.readline()] == ["connected\n", "forked\n"]
    assert connection.is_connected
    # The child has left before it ended; who reads that is another thread than this.
    eventually(lambda: connection.parts == ("b",), 1)
    assert a.send_request("slow", ttl=2000).results() == ["done"]
    _, errors = part.communicate("\n", 10)
    assert (part.returncode, errors) == (0, "")
    assert connection.statistics()["gone"] == 2


# -- scale -----------------------------------------------------------------------------------------


@pytest.mark.scale
@pytest.mark.timeout(180)
def test_a_thousand_producers_in_twenty_processes_all_answer(here: Here) -> None:
    """One request to all of them; and how that grows with the number of parts."""
    server = here.server()
    a, connection = here.connect(server.url)
    parts: List[FarPart] = []
    for number in (1, 5, 10, 20):
        more = here.far(server.url, *(f"p{each}" for each in range(len(parts), number)))
        parts += more
        began = time.monotonic()
        for part in more:
            part.send(
                "for each in range(49):\n"
                "    made = Works(f'{connection.name}-{each}')\n"
                "    dispatcher.register_result_producer(made, 'volts', start=True)"
            )
        for part in more:
            part.answer()
        registered = time.monotonic()
        known(a, "volts", 50 * number)
        seen = time.monotonic()
        took = []
        for _ in range(10):
            handle = a.send_request("volts", 1, ttl=20_000)
            handle.wait()
            report = handle.report()
            assert report.complete
            assert report.count(Verdict.OK) == 50 * number
            took.append(report.elapsed_ms)
        tell(
            f"{number} parts, {50 * number} producers: registered after "
            f"{(registered - began) * 1e3:.0f} ms, known {(seen - registered) * 1e3:.0f} ms later; "
            f"all have answered after {statistics.median(took):.1f} ms (p50 of 10; "
            f"{min(took):.1f} to {max(took):.1f})"
        )
    assert len(connection.parts) == 20
    began = time.monotonic()
    b, _ = here.connect(server.url, "late")
    tell(f"connect beside 20 parts: {(time.monotonic() - began) * 1e3:.0f} ms")
    known(b, "volts", 1000)
    assert connection.statistics()["gone"] == 0


@pytest.mark.thorough
def test_a_slow_consumer_has_missed_nothing(here: Here) -> None:
    """It is frozen until the server ends its connection; what it has missed is sent again."""
    server = here.server("max_pending: 2097152\nwrite_deadline: '500ms'")
    a, connection = here.connect(server.url)
    (b,) = here.far(server.url, "b")
    known(a, "volts", 1)
    b.do("dispatcher.register_result_listener(Hears(), 'news', start=True)")
    eventually(lambda: engine_of(a).registry.find("news") is not None)
    b.freeze()
    owed = a.send_request("volts", ttl=30_000)
    for number in range(2000):
        a.publish("news", [number, "x" * 6000])
    owed.wait()
    assert verdicts(owed) == [Verdict.GONE]
    b.thaw()
    eventually(lambda: b.get("len(heard)") == 2000)
    assert b.get("[each[0] for each in heard]") == list(range(2000))
    assert connection.is_connected
    assert connection.statistics()["sent_again"] < 2 * 2000


# -- the guide -------------------------------------------------------------------------------------


def test_the_two_programs_of_the_guide_meet(here: Here, tmp_path: Path) -> None:
    """A site in one process, who asks in another: as a newcomer types them, but for the port."""
    server = here.server()
    programs = re.findall(
        r"```py\n(from ate_dispatcher.*?)```", guide.text("several-machines"), re.DOTALL
    )
    names = ("site7.py", "ask.py")
    for name, text in zip(names, programs):
        (tmp_path / name).write_text(text.replace("nats://127.0.0.1:4222", server.url))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    site = subprocess.Popen(
        [sys.executable, str(tmp_path / names[0])],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert site.stdout is not None
        assert site.stdout.readline() == "site 7 is ready\n"
        asked = subprocess.run(
            [sys.executable, str(tmp_path / names[1])],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    finally:
        site.kill()
        site.wait()
        if site.stdout is not None:
            site.stdout.close()
    first, head, line = asked.stdout.splitlines()
    assert first == "[{'site': 7, 'channel': 2, 'volts': 3.3}]"
    assert "ALL_REPLIED" in head
    assert line.split()[:4] == ["dmm7", "on", "site7", "OK"]
    assert "network" in line
    assert asked.stderr == ""
