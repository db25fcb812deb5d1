"""The transport over NATS, on a real server: what arrives, in which order, and what fails how."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from itertools import count, groupby
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from certificates import make_certificates, server_tls, tls
from nats_server import Server, free_port
from servers import (
    OVER_EACH_LOOP,
    PATIENCE,
    Opened,
    Recorder,
    Scripted,
    Wire,
    opening,
    settled,
    topics,
)

from ate_dispatcher import Dispatcher
from ate_dispatcher._core.durations import NEVER
from ate_dispatcher._time.clock import REAL, RealClock
from ate_dispatcher.errors import BadType, BadValue, DispatcherError
from ate_dispatcher.links.nats import NatsTransport
from ate_dispatcher.links.nats_options import Options
from ate_dispatcher.links.nats_service import Service
from ate_dispatcher.links.transport import Receiver, Transport

# A part over a server is in the default run, by `test_over_nats`.
pytestmark = pytest.mark.thorough

nats = pytest.importorskip("nats")
from ate_dispatcher.links.nats_client import Connection  # noqa: E402

BOTH_LOOPS = pytest.mark.parametrize("opened", OVER_EACH_LOOP, indirect=True)

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

_numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: Any) -> Iterator[Server]:
    """One for all tests that leave it as it was."""
    it = Server(tmp_path_factory.mktemp("nats"))
    yield it
    it.kill()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Servers of the test's own, with a configuration."""
    made: List[Server] = []

    def start(config: str = "") -> Server:
        made.append(Server(tmp_path, config))
        return made[-1]

    yield start
    for each in made:
        each.kill()


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Opens parts; all are closed in the end, and no thread is left."""
    yield from opening(**getattr(request, "param", {}))


@pytest.fixture
def lab() -> str:
    """A namespace of the test's own."""
    return f"lab{next(_numbers)}"


def program(server: Server, play: Callable[[Any], Any], **options: Any) -> Any:
    """What a program with nothing but nats-py does."""

    async def run() -> Any:
        client = await nats.connect(server.url, **options)
        try:
            return await asyncio.wait_for(play(client), PATIENCE)
        finally:
            await client.close()

    return asyncio.run(run())


# -- what arrives ----------------------------------------------------------------------------------


def test_it_is_a_transport(server: Server) -> None:
    """By its type, with a receiver."""
    transport: Transport = NatsTransport(server.url)
    receiver: Receiver = Recorder("lab", "me")
    assert transport is not receiver
    assert repr(transport) == f"<NatsTransport to {server.url}>"
    assert transport.largest == (1 << 20) - 1024


@BOTH_LOOPS
def test_two_parts_hear_each_other(server: Server, opened: Opened, lab: str) -> None:
    """What is for one, for all, and on topics for those that hear; never what they said."""
    one, two = opened(server, "one", lab), opened(server, "two", lab)
    two.sync(partial(two.transport.hear, True))
    one.do(
        partial(one.transport.send, "two", b"for two"),
        partial(one.transport.send_all, b"for all"),
        partial(one.transport.send_on, "volts.dc", b"on topics"),
    )
    two.until(lambda: len(two.payloads("one")) == 3)
    assert two.payloads("one") == [b"for two", b"for all", b"on topics"]
    two.do(
        partial(two.transport.send_on, "volts", b"nobody hears"),
        partial(two.transport.send_all, b"all"),
        partial(two.transport.send, "one", b"\x00\xff" * 1000),
    )
    one.until(lambda: len(one.payloads("two")) == 2)
    assert one.payloads("two") == [b"all", b"\x00\xff" * 1000]
    assert one.payloads("one") == two.payloads("two") == []
    assert [each.told[0] for each in (one, two)] == [("connected",)] * 2


def test_namespaces_are_apart(server: Server, opened: Opened, lab: str) -> None:
    """Two parts of one name, in two of them."""
    here, there = opened(server, "one", lab), opened(server, "two", f"{lab}b")
    here.do(partial(here.transport.send_all, b"x"))
    here.wait("unreachable", "")
    here.do(partial(here.transport.send, "two", b"x"))
    here.wait("unreachable", "two")
    assert there.payloads("one") == []


def test_who_stops_to_hear_hears_no_more(server: Server, opened: Opened, lab: str) -> None:
    """And may begin again."""
    one, two = opened(server, "one", lab), opened(server, "two", lab)
    for number, on in enumerate([True, False, True]):
        two.sync(partial(two.transport.hear, on), partial(two.transport.send, "one", b"ready"))
        one.until(lambda number=number: len(one.payloads("two")) == number + 1)
        one.do(
            partial(one.transport.send_on, "a.b", b"%d" % number),
            partial(one.transport.send, "two", b"next"),
        )
        two.until(lambda number=number: two.payloads("one").count(b"next") == number + 1)
    assert two.payloads("one") == [b"0", b"next", b"next", b"2", b"next"]


@BOTH_LOOPS
def test_the_order_of_each_sender_is_kept_wherever_it_went(
    server: Server, opened: Opened, lab: str
) -> None:
    """10,000 messages of two senders, for one, for all and on topics by turns."""
    me = opened(server, "me", lab)
    me.sync(partial(me.transport.hear, True))
    senders = [opened(server, name, lab) for name in ("a", "b")]

    def send(it: Any, start: int) -> None:
        for number in range(start, start + 500):
            payload = b"%d" % number
            if number % 3 == 0:
                it.send("me", payload)
            elif number % 3 == 1:
                it.send_on(f"t.{number}", payload)
            else:
                it.send_all(payload)

    for start in range(0, 5000, 500):
        for each in senders:
            each.do(partial(send, each.transport, start))
    me.until(lambda: len(me.told) >= 10_001)
    expected = [b"%d" % number for number in range(5000)]
    for each in senders:
        assert me.payloads(each.part) == expected
    # Called once for many: the receiver has not been stepped for each.
    assert me.steps < 5000


@BOTH_LOOPS
def test_who_is_not_there_is_told_within_milliseconds(
    server: Server, opened: Opened, lab: str
) -> None:
    """By the server, for one part and for all; and not for those who are there."""
    me = opened(server, "me", lab)
    took = []
    for number in range(5):
        started = time.perf_counter()
        me.do(partial(me.transport.send, "nobody", b"x"))
        me.until(lambda number=number: me.count("unreachable", "nobody") == number + 1)
        took.append(time.perf_counter() - started)
    assert min(took) < 0.02
    me.do(partial(me.transport.send_all, b"x"))
    me.wait("unreachable", "")
    other = opened(server, "other", lab)
    me.do(partial(me.transport.send_all, b"y"), partial(me.transport.send, "other", b"z"))
    other.wait("received", "me", b"z")
    me.done()
    assert me.count("unreachable", "") == 1
    assert me.count("unreachable", "other") == 0


def test_it_is_stepped_when_unparked(server: Server, opened: Opened, lab: str) -> None:
    """By anybody, at any time, and not again and again."""
    me = opened(server, "me", lab)
    me.done()
    steps = me.steps
    threads = [threading.Thread(target=me.transport.unpark) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    me.until(lambda: me.steps > steps)
    # When nothing waits any more, nothing is called.
    assert me.rest() <= steps + 21


@BOTH_LOOPS
def test_an_instant_that_moves_has_its_step_in_time(
    server: Server, opened: Opened, lab: str
) -> None:
    """Nearer, then farther, then nearer."""
    me = opened(server, "me", lab)
    for number, soon in enumerate((0.02, 0.03)):
        me.at = REAL.now() + 30
        me.done()
        me.at = due = REAL.now() + soon
        me.done()
        me.until(lambda number=number: me.rung == number + 1)
        assert due <= REAL.now() < due + 5
    me.at = REAL.now() + 0.01
    me.done()
    me.at = due = REAL.now() + 0.05
    me.done()
    me.until(lambda: me.rung == 3)
    assert REAL.now() >= due


def test_nothing_is_told_before_it_is_connected(opened: Opened) -> None:
    """Though others send at that moment; what they send is kept for so long."""

    def script(line: bytes) -> bytes:
        if line.startswith(b"SUB ate1.lab.all.* "):
            return b"MSG ate1.lab.all.a %s 1\r\nx\r\n" % line.split()[-1]
        return b"PONG\r\n" if line.startswith(b"PING") else b""

    server = Scripted(script)
    me = opened(server)
    me.wait("received", "a", b"x")
    assert me.told[0] == ("connected",)
    me.transport.close()
    server.join()


@BOTH_LOOPS
def test_any_number_of_unparks_is_one_call_of_the_loop(
    server: Server, opened: Opened, lab: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it has not come to that."""
    calls = []

    class Loop(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *arguments: Any, **more: Any) -> Any:
            calls.append(arguments)
            return super().call_soon_threadsafe(*arguments, **more)

    monkeypatch.setattr(asyncio, "new_event_loop", Loop)
    me = opened(server, "me", lab)
    entered, late = threading.Event(), threading.Event()
    me.do(entered.set, partial(late.wait, PATIENCE))
    assert entered.wait(PATIENCE)
    before = len(calls)
    for _ in range(1000):
        me.transport.unpark()
    late.set()
    assert len(calls) - before <= 1
    me.done()


# -- open membership -------------------------------------------------------------------------------


def test_whoever_listens_answers_what_is_asked(server: Server, opened: Opened, lab: str) -> None:
    """A part, and a program of a few lines; until nobody waits for it any more."""
    me, other = opened(server, "me", lab), opened(server, "other", lab)
    other.sync(partial(other.transport.offer, topics("volts.dc"), ""))

    async def answers(client: Any) -> None:
        found = await client.subscribe(f"ate1.{lab}.q.volts.*")
        await settled(client)
        await asyncio.get_running_loop().run_in_executor(None, asking)
        request = await found.next_msg(PATIENCE)
        assert request.data == b'{"channel": 3}'
        await request.respond(b"5.02")
        await request.respond(b"")
        await client.flush()

    def asking() -> None:
        me.do(partial(me.transport.ask, "volts.dc", b'{"channel": 3}', 7))
        other.wait("asked", "volts.dc", b'{"channel": 3}', ...)

    program(server, answers)
    reply = other.told[-1][3]
    other.do(partial(other.transport.answer, reply, b"4.98"))
    me.wait("answered", 7, b"4.98")
    me.wait("answered", 7, b"5.02")
    me.wait("answered", 7, b" ")
    me.done(partial(me.transport.ask_no_more, 7))
    other.do(
        partial(other.transport.answer, reply, b"late"),
        partial(other.transport.send, "me", b"x"),
    )
    me.wait("received", "other", b"x")
    assert me.count("answered") == 3


def test_a_question_that_nobody_hears_is_answered_so(
    server: Server, opened: Opened, lab: str
) -> None:
    """At once."""
    me = opened(server, "me", lab)
    me.do(partial(me.transport.ask, "volts", b"{}", 3))
    me.wait("answered", 3, b"")


def test_one_of_a_group_is_asked(server: Server, opened: Opened, lab: str) -> None:
    """Whatever number of questions: each by one, and more than one has some."""
    me = opened(server, "me", lab)
    workers = [opened(server, f"w{number}", lab) for number in range(3)]
    for each in workers:
        each.says = each.part.encode()
        each.sync(
            partial(each.transport.offer, topics("job"), "workers"),
            partial(each.transport.send, "me", b"ready"),
        )
        me.wait("received", each.part, b"ready")
    for number in range(60):
        me.do(partial(me.transport.ask, "job", b"{}", number))
    me.until(lambda: me.count("answered") == 60)
    assert sorted(each[1] for each in me.told if each[0] == "answered") == list(range(60))
    assert sum(each.count("asked") for each in workers) == 60
    assert sum(each.count("asked") > 0 for each in workers) >= 2


def test_a_program_asks_a_part(server: Server, opened: Opened, lab: str) -> None:
    """By the request of nats-py; what is no longer offered, nobody answers."""
    me = opened(server, "me", lab)
    me.sync(partial(me.transport.offer, topics("volts", "amps"), ""))

    async def asks(client: Any) -> bytes:
        request = asyncio.ensure_future(client.request(f"ate1.{lab}.q.amps", b"[1]", PATIENCE))
        await asyncio.get_running_loop().run_in_executor(None, answering)
        return bytes((await request).data)

    def answering() -> None:
        me.wait("asked", "amps", b"[1]", ...)
        me.do(partial(me.transport.answer, me.told[-1][3], b"[2]"))

    assert program(server, asks) == b"[2]"
    me.sync(partial(me.transport.offer, topics("volts"), ""))

    async def asks_in_vain(client: Any) -> None:
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request(f"ate1.{lab}.q.amps", b"", PATIENCE)

    program(server, asks_in_vain)


def test_an_answer_is_not_made_to_speak_for_the_part(
    server: Server, opened: Opened, lab: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks names where the answer goes: not to other parts, nor to the server."""
    me = opened(server, "me", lab)
    me.sync(partial(me.transport.offer, topics("volts"), ""))
    wire = Wire(server)
    for reply in (f"ate1.{lab}.all.me", f"ate1.{lab}.p.x.me", "$SYS.REQ", f"ate1.{lab}.n.x.me"):
        wire.say(f"PUB ate1.{lab}.q.volts {reply} 2\r\n{{}}".encode())
    wire.say(f"PUB ate1.{lab}.q.volts 4\r\nlast".encode())
    wire.sync()
    wire.close()
    me.wait("asked", "volts", b"last", "")
    assert me.count("asked") == 1
    # Nothing is to be answered.
    me.done(partial(me.transport.answer, "", b"x"))
    assert len([each for each in caplog.records if "its answer is to go" in each.message]) == 1


# -- tools for NATS services -----------------------------------------------------------------------


def test_parts_answer_as_services(server: Server, opened: Opened, lab: str) -> None:
    """PING, INFO and STATS, to all, to those of a namespace, to one."""
    me, other = opened(server, "me", lab), opened(server, "other", lab)
    me.sync(partial(me.transport.offer, topics("volts.dc"), "workers"))
    other.do(
        partial(other.transport.send, "me", b"x"),
        partial(other.transport.ask, "volts.dc", b"{}", 1),
    )
    me.wait("received", "other", b"x")
    me.wait("asked", "volts.dc", ...)
    me.done(partial(me.transport.answer, me.told[-1][3], b"1"))
    other.wait("answered", 1, b"1")

    async def looks(client: Any) -> Dict[str, List[Any]]:
        inbox = client.new_inbox()
        found = await client.subscribe(inbox)
        said: Dict[str, List[Any]] = {}
        service = f"ate1-{lab}"
        for what, number in (
            (f"PING.{service}", 2),
            ("PING", 2),
            (f"INFO.{service}.me", 1),
            (f"STATS.{service}.me", 1),
        ):
            await client.publish(f"$SRV.{what}", b"", reply=inbox)
            said[what] = []
            while len(said[what]) < number:
                answer = json.loads((await found.next_msg(PATIENCE)).data)
                if answer["name"] == service:
                    said[what].append(answer)
        await client.publish(f"$SRV.NONE.{service}", b"", reply=inbox)
        return said

    said = program(server, looks)
    for pings in (said["PING"], said[f"PING.ate1-{lab}"]):
        assert sorted(each["id"] for each in pings) == ["me", "other"]
        assert {each["type"] for each in pings} == {"io.nats.micro.v1.ping_response"}
        assert {each["metadata"]["namespace"] for each in pings} == {lab}
    (info,) = said[f"INFO.ate1-{lab}.me"]
    assert info["type"] == "io.nats.micro.v1.info_response"
    own, volts = info["endpoints"]
    assert own["subject"] == f"ate1.{lab}.p.me.*"
    assert volts == {
        "name": "volts_dc",
        "subject": f"ate1.{lab}.q.volts.dc",
        "queue_group": "workers",
        "metadata": {},
    }
    (stats,) = said[f"STATS.ate1-{lab}.me"]
    assert stats["type"] == "io.nats.micro.v1.stats_response"
    assert [each["num_requests"] for each in stats["endpoints"]] == [1, 1]
    assert stats["endpoints"][1]["processing_time"] > 0
    assert stats["endpoints"][1]["average_processing_time"] > 0


def test_a_flood_of_short_questions_has_no_flood_of_long_answers(
    server: Server, opened: Opened, lab: str
) -> None:
    """Some of them in a moment, and made once; who asks later is answered anew."""
    me = opened(server, "me", lab)
    me.sync(partial(me.transport.offer, topics(*[f"t{number}" for number in range(1_000)]), ""))
    asks = f"$SRV.STATS.ate1-{lab}.me"

    def last(inbox: str) -> None:
        me.wait("received", "flooding", b"behind")
        me.done(partial(me.transport.answer, inbox, b"last"))

    async def floods(client: Any) -> List[Any]:
        inbox = client.new_inbox()
        found = await client.subscribe(inbox, pending_bytes_limit=-1)
        for _ in range(2_000):
            await client.publish(asks, b"", reply=inbox)
        await client.publish(f"ate1.{lab}.p.me.flooding", b"behind")
        await client.flush()
        await asyncio.get_running_loop().run_in_executor(None, last, inbox)
        flood: List[bytes] = []
        while b"last" not in flood:
            flood.append((await found.next_msg(PATIENCE)).data)
        number, different = len(flood), len(set(flood))
        while flood[-1] == b"last":
            with suppress(asyncio.TimeoutError):
                await client.publish(asks, b"", reply=inbox)
                flood.append((await found.next_msg(0.1)).data)
        return [number, different, json.loads(flood[-1])["id"]]

    number, different, later = program(server, floods)
    assert 2 <= number <= 200
    assert different <= 11
    assert later == "me"


def test_who_is_never_answered_keeps_nobody_from_being_counted() -> None:
    """However many they are: those who come later, and are answered, are."""
    service = Service("lab", "me", "s")
    service.offer({"volts": "q.volts"}, "")
    for number in range(10_001):
        service.asked("volts", f"nobody.{number}", 1.0)
    service.asked("volts", "somebody", 2.0)
    service.answered("somebody", 3.0)
    stats = json.loads(service.answer("STATS") or b"")
    assert stats["endpoints"][1]["processing_time"] == 1e9


# -- what is too large, and what is no message -----------------------------------------------------


def test_what_is_too_large_is_dropped_and_the_connection_stays(
    own: Callable[..., Server], opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    """Payloads beyond what the server takes, subjects beyond its line; each told once."""
    server = own("max_payload: 4096")
    me, other = opened(server, "me"), opened(server, "other")
    other.sync(partial(other.transport.hear, True))
    assert me.transport.largest == 4096 - 1024
    largest = b"x" * me.transport.largest
    for _ in range(2):
        me.do(
            partial(me.transport.send, "other", b"y" * 4097),
            partial(me.transport.send_on, "t" * 3000, b"long"),
            partial(me.transport.send_on, "t" * 4000, b"too long"),
            partial(me.transport.send_on, "ü" * 2500, b"too long in bytes"),
        )
    me.do(partial(me.transport.send, "other", largest))
    other.wait("received", "me", largest)
    assert other.payloads("me") == [b"long", b"long", largest]
    assert me.count("disconnected") == 0
    told = [each.getMessage() for each in caplog.records]
    assert len([each for each in told if "4097 bytes" in each]) == 1
    assert len([each for each in told if "nothing is sent on" in each]) == 1


def test_messages_of_which_nothing_can_be_made_change_nothing(
    server: Server, opened: Opened, lab: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is counted, the first is told; nobody is cut off by them."""
    me = opened(server, "me", lab)
    me.sync(partial(me.transport.hear, True))
    wire = Wire(server)
    here = f"ate1.{lab}".encode()
    hostile = [
        b"PUB " + here + b".r.a.\xff 1\r\nx",
        b"PUB " + here + b".r.\xff\xfe.a 1\r\nx",
        b"PUB " + here + b".p.me.\xff 1\r\nx",
        b"PUB " + here + b".all." + b"n" * 65 + b" 1\r\nx",
        b"PUB " + here + b".p.me.a/b 1\r\nx",
        b"HPUB " + here + b".p.me.a 8 9\r\nNATS/1.0x",
        b"HPUB " + here + b".p.me.a 18 19\r\nNATS/1.0 \xff\xff\xff\r\n\r\n\r\nx",
    ]
    for each in hostile:
        wire.say(each)
    harmless = [
        b"PUB " + here + b".n.me.a 0\r\n",
        b"PUB " + here + b".n.me.q.17 1\r\nx",
        b"PUB " + here + b".n.me.q.x 1\r\nx",
        b"PUB " + here + b".n.me.q.\xc2\xb2 1\r\nx",
        b"PUB " + here + b".n.me.a.b.c 1\r\nx",
        b"PUB $SRV.PING 0\r\n",
        b"PUB " + here + b".p.me.a 0\r\n",
        b"PUB " + here + b".r.a 1\r\nz",
    ]
    for each in harmless:
        wire.say(each)
    wire.say(b"PUB " + here + b".p.me.a 4\r\nlast")
    wire.sync()
    wire.close()
    me.wait("received", "a", b"last", patience=1.0)
    told = [each for each in me.told if each not in (("connected",), ("malformed",))]
    assert told == [("received", "a", b""), ("received", "a", b"z"), ("received", "a", b"last")]
    # Of the harmless those to which nobody has put a question that they could answer.
    assert me.told.count(("malformed",)) == len(hostile) + 4
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "nothing can be made of it" in warnings[0].getMessage()

    async def looks(client: Any) -> Any:
        answer = await client.request(f"$SRV.STATS.ate1-{lab}.me", b"", PATIENCE)
        return json.loads(answer.data)

    assert program(server, looks)["endpoints"][0]["num_errors"] == len(hostile) + 4


# -- who may do what -------------------------------------------------------------------------------

PERMISSIONS = """
authorization: { users: [
  { user: one, password: pass1, permissions: {
      publish: ["ate1.lab.p.*.one", "ate1.lab.all.one", "ate1.lab.r.one.>"],
      subscribe: ["ate1.lab.p.one.*", "ate1.lab.n.one.>", "ate1.lab.all.*", "ate1.lab.r.>",
                  "$SRV.>"] } },
  { user: two, password: pass2, permissions: {
      publish: ["ate1.lab.p.*.two", "ate1.lab.all.two", "ate1.lab.r.two.>"],
      subscribe: ["ate1.lab.p.two.*", "ate1.lab.n.two.>", "ate1.lab.all.*"] } } ] }
"""
"""Each part has the subjects of its name; the second hears nothing on topics, and is no service."""


def test_permissions_of_the_server_keep_parts_apart(
    own: Callable[..., Server], opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    """A forged sender, a foreign namespace, a foreign inbox: refused, and the connection stays."""
    server = own(PERMISSIONS)
    one = opened(server, "one", user="one", password="pass1")
    two = opened(server, "two", user="two", password="pass2")
    one.sync(partial(one.transport.hear, True))
    two.sync(partial(two.transport.hear, True))
    wire = Wire(server, ',"user":"two","pass":"pass2"')
    for subject in (
        "ate1.lab.p.one.other",
        "ate1.lab.all.one",
        "ate1.lab.r.other.t",
        "ate1.lab2.p.one.two",
        "ate1.lab.n.one.two",
        "ate1.lab.n.one.q.1",
    ):
        wire.say(f"PUB {subject} 6\r\nforged".encode())
    for number, subject in enumerate(["ate1.lab.p.one.*", "ate1.lab.n.one.>", "ate1.*.all.*"]):
        wire.say(f"SUB {subject} {number}".encode())
    wire.say(b"PUB ate1.lab.p.one.two 4\r\ntrue")
    refused = wire.sync()
    wire.close()
    assert len([each for each in refused if b"Permissions Violation" in each]) == 9
    one.wait("received", "two", b"true")
    two.do(
        partial(two.transport.send_on, "t", b"on a topic"),
        partial(two.transport.ask, "volts", b"{}", 1),
        partial(two.transport.send, "one", b"for one"),
    )
    one.wait("received", "two", b"for one")
    one.do(
        partial(one.transport.send_on, "t", b"unheard"), partial(one.transport.send, "two", b"x")
    )
    two.wait("received", "one", b"x")
    assert one.payloads("two") == [b"true", b"on a topic", b"for one"]
    assert one.payloads("other", "one") == []
    assert two.payloads("one") == [b"x"]
    assert one.count("disconnected") == two.count("disconnected") == 0
    told = [each.getMessage() for each in caplog.records]
    assert len([each for each in told if "permissions violation for publish" in each]) == 1
    # On topics, and as a service.
    assert len([each for each in told if "permissions violation for subscription" in each]) == 4


def test_who_may_not_be_a_part_of_that_name_learns_it_at_the_door(
    own: Callable[..., Server], opened: Opened
) -> None:
    """Another's inbox is none to begin with."""
    server = own(PERMISSIONS)
    with pytest.raises(DispatcherError, match="permissions violation for subscription"):
        opened(server, "two", user="one", password="pass1")


def test_who_may_not_be_a_part_any_more_is_none_until_it_may(
    own: Callable[..., Server], opened: Opened
) -> None:
    """By the word of a server that keeps the connection, and would not give back what it took."""
    server = own(PERMISSIONS)
    one = opened(server, "one", user="one", password="pass1")
    two = opened(server, "two", user="two", password="pass2")
    server.reload(PERMISSIONS.replace('"ate1.lab.p.two.*"', '"nothing"'))
    two.wait("disconnected", ...)
    assert "ate1.lab.p.two.*" in two.told[-1][1]
    assert one.count("disconnected") == 0
    server.reload(PERMISSIONS)
    two.until(lambda: two.count("connected") == 2)
    one.do(partial(one.transport.send, "two", b"x"))
    two.wait("received", "one", b"x")


@pytest.mark.parametrize(
    "options", [{}, {"user": "one", "password": "wrong"}, {"token": "one"}], ids=str
)
def test_wrong_credentials_are_told(
    own: Callable[..., Server], opened: Opened, options: Dict[str, str]
) -> None:
    """With the reason and the address, at once; passwords are not in it."""
    server = own(PERMISSIONS)
    url = server.url.replace("//", "//one:secret@") if not options else server.url
    with pytest.raises(DispatcherError, match="Authorization Violation") as caught:
        opened(url, **options)
    assert server.url in str(caught.value)
    assert "secret" not in str(caught.value)


def test_credentials_may_stand_in_the_address_or_be_a_key(
    own: Callable[..., Server], opened: Opened
) -> None:
    """As nats-py knows them."""
    server = own(PERMISSIONS)
    opened(server.url.replace("//", "//one:pass1@"), "one")
    opened(server, "two", user=lambda: "two", password=lambda: "pass2")


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: Any) -> Path:
    """A folder of them."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@BOTH_LOOPS
def test_tls_both_ways(own: Callable[..., Server], opened: Opened, certificates: Path) -> None:
    """The server believes who has a certificate, and parts believe the server."""
    server = own(server_tls(certificates))
    one = opened(server, "one", tls=tls(certificates, "ca", "client"))
    two = opened(f"tls://localhost:{server.port}", "two", tls=tls(certificates, "ca", "client"))
    one.do(partial(one.transport.send, "two", b"x" * 500_000))
    two.wait("received", "one", b"x" * 500_000)
    started = time.perf_counter()
    with pytest.raises(DispatcherError, match="certificate verify failed"):
        opened(server, "three", tls=tls(certificates, "other", "client"))
    # Of nats-py's end, which does not come then, no second is waited for.
    assert time.perf_counter() - started < 0.9
    with pytest.raises(DispatcherError, match="certificate verify failed"):
        opened(server, "four")
    with pytest.raises(DispatcherError, match=f"no connection to nats://127.0.0.1:{server.port}"):
        opened(server, "five", tls=tls(certificates, "ca"))


# -- who cannot be reached -------------------------------------------------------------------------


def test_an_unreachable_server_is_told(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    """At once if it refuses; with every address; to who waits alone, and it tries no more."""
    ports = free_port(), free_port()
    started = time.perf_counter()
    with pytest.raises(DispatcherError) as caught:
        opened([f"nats://127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"])
    assert time.perf_counter() - started < 1.5
    for port in ports:
        assert f"no connection to nats://127.0.0.1:{port}: " in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert "goes on trying" not in caplog.text


def test_a_silent_server_is_given_the_time_to_connect(opened: Opened) -> None:
    """And no more than that."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.perf_counter()
        with pytest.raises(DispatcherError, match="no answer within 200 ms"):
            opened(f"nats://127.0.0.1:{silent.getsockname()[1]}", connect_timeout=200)
        assert 0.2 <= time.perf_counter() - started < 1.5


def test_a_server_that_says_something_else_is_told(opened: Opened) -> None:
    """It is none, or ends the connection after its greeting."""
    greeting = b'INFO {"max_payload": 1048576, "headers": true}\r\n'
    for says in (b"SSH-2.0-OpenSSH\r\n", b"", greeting, greeting + b"PO"):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()

            def answer(listening: socket.socket = other, says: bytes = says) -> None:
                with listening.accept()[0] as accepted:
                    accepted.sendall(says)
                    if says.startswith(greeting):
                        accepted.recv(10_000)

            thread = threading.Thread(target=answer)
            thread.start()
            with pytest.raises(DispatcherError, match=r"no connection to nats://127\.0\.0\.1:"):
                opened(f"nats://127.0.0.1:{other.getsockname()[1]}", connect_timeout=1000)
            thread.join()


def test_a_server_that_is_late_with_its_answer_is_none(opened: Opened) -> None:
    """nats-py takes that for a connection, on which it sends nothing."""
    said: List[bytes] = []

    def script(line: bytes) -> bytes:
        said.append(line)
        if line.startswith(b"PING"):
            return b"PONG\r\n" if len(said) > 2 else b"INFO {}\r\nPONG\r\n"
        return b""

    server = Scripted(script)
    with pytest.raises(DispatcherError, match="the server has ended the connection"):
        opened(server)
    server.join()


def test_who_ends_each_connection_at_once_is_not_overrun(opened: Opened) -> None:
    """As who cannot be reached: there is a pause, and it is longer each time, up to a limit."""
    pings = count(1)

    def script(line: bytes) -> bytes:
        if not line.startswith(b"PING"):
            return b""
        return b"PONG\r\n" if next(pings) % 2 else b"PONG\r\n-ERR 'not you'\r\n"

    server = Scripted(script, times=10)
    began = REAL.now()
    me = opened(server, wait=False)
    server.join()
    assert REAL.now() - began > 0.02 + 0.04 + 0.08 + 6 * 0.1
    assert me.count("connected") >= 8


@BOTH_LOOPS
def test_without_waiting_it_goes_on_trying(
    own: Callable[..., Server], opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    """Says once why not; what is sent meanwhile is dropped; connected when there is a server."""
    server = own()
    server.kill()
    me = opened(server, wait=False)
    deadline = time.monotonic() + PATIENCE
    me.done(partial(me.transport.hear, True))
    while "goes on trying" not in caplog.text and time.monotonic() < deadline:
        me.done(partial(me.transport.send_all, b"stale"))
    me.done(partial(me.transport.offer, topics("volts"), ""))
    assert server.url in caplog.text
    assert me.told
    for kind, why in me.told:
        assert kind == "disconnected"
        assert why.startswith(f"no connection to {server.url}: ")
    server.start()
    me.wait("connected")
    other = opened(server, "other")
    other.do(
        partial(other.transport.send_on, "t", b"heard"),
        partial(other.transport.ask, "volts", b"{}", 1),
    )
    me.wait("asked", "volts", ...)
    assert me.payloads("other") == [b"heard"]
    assert me.count("unreachable") == 0
    # While it starts it may refuse for another reason.
    told = [each.getMessage() for each in caplog.records if "goes on trying" in each.getMessage()]
    assert len(told) == len(set(told))
    server.kill()
    me.wait("disconnected", ...)
    while caplog.text.count("(told once)") < 3 and time.monotonic() < deadline:
        me.done()
    assert caplog.text.count("goes on trying") == 3


def test_it_may_be_closed_before_it_is_connected(opened: Opened) -> None:
    """Between attempts, and in the middle of one."""
    me = opened(f"nats://127.0.0.1:{free_port()}", wait=False)
    me.done()
    me.transport.close()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        me = opened(f"nats://127.0.0.1:{silent.getsockname()[1]}", wait=False)
        silent.accept()[0].close()
        started = time.perf_counter()
        me.transport.close()
        me.transport.join(REAL.now() + PATIENCE)
        assert time.perf_counter() - started < 1.5
    never = NatsTransport("nats://127.0.0.1:1")
    never.close()
    never.unpark()
    never.join(NEVER)


# -- a server that goes and comes ------------------------------------------------------------------


@BOTH_LOOPS
@POSIX
def test_a_killed_server_that_comes_again(own: Callable[..., Server], opened: Opened) -> None:
    """Disconnected, connected; nothing of before or between arrives, all of after does."""
    server = own()
    me, other = opened(server, "me"), opened(server, "other")
    for each in (me, other):
        each.sync(partial(each.transport.hear, True))
    other.do(partial(other.transport.send, "me", b"before"))
    me.wait("received", "other", b"before")
    server.kill()
    for each in (me, other):
        each.wait("disconnected", ...)
        for _ in range(100):
            each.do(
                partial(each.transport.send_all, b"stale"),
                partial(each.transport.send_on, "t", b"stale"),
            )
        each.done()
    server.start()
    for each in (me, other):
        each.until(lambda each=each: each.count("connected") == 2)
        each.done(
            partial(each.transport.send_all, b"all"), partial(each.transport.send_on, "t", b"t")
        )
    for one, two in ((me, other), (other, me)):
        two.do(partial(two.transport.send, one.part, b"last"))
        one.wait("received", two.part, b"last")
        assert b"stale" not in one.payloads(two.part)
    # Of attempts in vain it tells as well.
    told = [what for what, _ in groupby(me.told, lambda each: each[0])]
    assert told[:4] == ["connected", "received", "disconnected", "connected"]


@POSIX
def test_a_server_killed_under_load_leaves_nothing_stale(
    own: Callable[..., Server], opened: Opened
) -> None:
    """What has not left when it dies, never leaves."""
    server = own()
    me, other = opened(server, "me"), opened(server, "other")
    epoch = [0]
    stop = threading.Event()

    def send() -> None:
        for _ in range(200):
            other.transport.send("me", b"%d" % epoch[0] + b"." * 1000)
        if not stop.is_set():
            other.do(send)

    other.do(send)
    me.wait("received", "other", ...)
    server.kill()
    me.wait("disconnected", ...)
    other.wait("disconnected", ...)
    other.done(lambda: epoch.__setitem__(0, 1))
    server.start()
    me.until(lambda: me.count("connected") == 2)
    me.until(lambda: me.payloads("other")[-1].startswith(b"1"))
    stop.set()
    other.done()
    connected = [number for number, each in enumerate(me.told) if each == ("connected",)][-1]
    assert all(each[2].startswith(b"1") for each in me.told[connected:] if each[0] == "received")


@BOTH_LOOPS
@POSIX
@pytest.mark.parametrize("ping", [0.1, pytest.param(0.5, marks=pytest.mark.thorough)])
def test_a_frozen_server_is_a_lost_one(
    own: Callable[..., Server], opened: Opened, ping: float
) -> None:
    """After four pings; what could not leave does not leave when it goes on."""
    server = own()
    me, other = (opened(server, each, ping_interval=ping) for each in ("me", "other"))
    server.freeze()
    try:
        started = time.perf_counter()
        me.done(*[partial(me.transport.send, "other", b"." * 500_000)] * 80)
        for each in (me, other):
            lost = f"the connection to {server.url} is lost: nats: stale connection"
            each.wait("disconnected", lost)
        # And what a busy machine takes.
        assert time.perf_counter() - started < 4 * ping + 3
        me.done()
    finally:
        server.thaw()
    for each in (me, other):
        each.until(lambda each=each: each.count("connected") == 2)
        each.sync()
    me.done(partial(me.transport.send, "other", b"fresh"))
    other.wait("received", "me", b"fresh")
    # The system has taken some, and the server reads them when it goes on.
    assert len(other.payloads("me")) < 40


@BOTH_LOOPS
@POSIX
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("number", [1, 40], ids=["bit by bit", "all at once"])
def test_while_a_server_takes_nothing_the_link_is_asked_for_nothing(
    own: Callable[..., Server], opened: Opened, certificates: Path, number: int, secure: bool
) -> None:
    """However little or much it says in one step; later all of it arrives."""
    server = own(server_tls(certificates) if secure else "")
    options = {"tls": tls(certificates, "ca", "client")} if secure else {}
    me, other = (opened(server, each, ping_interval=60, **options) for each in ("me", "other"))
    payloads = [b"%d" % each + b"." * 500_000 for each in range(40)]
    waiting = list(payloads)
    asked_for_all = threading.Event()

    def say() -> None:
        if not waiting:
            asked_for_all.set()
            return
        for each in waiting[:number]:
            me.transport.send("other", each)
        del waiting[:number]
        me.do(say)

    server.freeze()
    try:
        me.do(say)
        assert not asked_for_all.wait(0.5)
    finally:
        server.thaw()
    assert asked_for_all.wait(PATIENCE)
    other.until(lambda: len(other.payloads("me")) == len(payloads))
    assert other.payloads("me") == payloads


@BOTH_LOOPS
@POSIX
def test_the_end_does_not_wait_for_a_frozen_server(
    own: Callable[..., Server], opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    """But a second for what was sent, and a little for the connection."""
    server = own()
    me = opened(server)
    server.freeze()
    try:
        me.done(*[partial(me.transport.send, "x", b"." * 500_000)] * 20)
        started = time.perf_counter()
        me.transport.close()
        me.transport.join(REAL.now() + PATIENCE)
        assert time.perf_counter() - started < 1.8
        assert "the last messages" in caplog.text
    finally:
        server.thaw()


def test_the_next_of_several_servers_is_taken(own: Callable[..., Server], opened: Opened) -> None:
    """When one is not there, and when one has gone."""
    first, second = own("max_payload: 100000"), own()
    urls = f"nats://127.0.0.1:{free_port()}, {first.url}, {second.url}"
    me = opened(urls, dont_randomize=True)
    assert me.transport.largest == 100_000 - 1024
    first.kill()
    me.until(lambda: me.count("connected") == 2)
    assert me.transport.largest == (1 << 20) - 1024


def test_other_servers_of_a_cluster_are_known(
    own: Callable[..., Server], opened: Opened, certificates: Path
) -> None:
    """Without being named; they are believed by the name of the one that told their numbers."""
    route = free_port()
    secure = f"""tls {{ cert_file: "{certificates}/named.pem", key_file: "{certificates}/named.key",
                       timeout: 5 }}"""
    first = own(f'{secure}\ncluster {{ name: c, listen: "127.0.0.1:{route}" }}')
    second = own(
        f'{secure}\ncluster {{ name: c, listen: "127.0.0.1:{free_port()}", '
        f'routes: ["nats://127.0.0.1:{route}"] }}'
    )
    deadline = time.monotonic() + PATIENCE
    while True:
        with socket.create_connection(("127.0.0.1", first.port)) as greeted:
            if str(second.port).encode() in greeted.recv(4096):
                break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    me = opened(f"tls://localhost:{first.port}", tls=tls(certificates, "ca"))
    first.kill()
    me.until(lambda: me.count("connected") == 2)


@POSIX
def test_who_reads_too_slowly_is_cut_off_and_comes_again(
    own: Callable[..., Server], opened: Opened
) -> None:
    """By the server, which keeps little for anybody; the link is told."""
    server = own("max_payload: 200000\nmax_pending: 1000000\nwrite_deadline: 1s")
    me, other = opened(server, "me"), opened(server, "other")
    late = threading.Event()
    me.do(partial(late.wait, PATIENCE))
    try:
        for _ in range(40):
            other.done(*[partial(other.transport.send, "me", b"." * 100_000)] * 5)
            other.done()
        server_cut_off = time.monotonic() + 0.3
        while time.monotonic() < server_cut_off:
            other.done(partial(other.transport.send, "me", b"."))
    finally:
        late.set()
    me.until(lambda: me.count("connected") == 2)
    assert me.count("disconnected") == 1
    assert other.count("disconnected") == 0


def test_a_server_that_has_much_to_say_is_not_taken_for_dead(
    server: Server, opened: Opened, lab: str
) -> None:
    """What answers to our pings comes behind all that."""
    me = opened(server, "me", lab, ping_interval=0.05)
    me.slow = 0.001
    wire = Wire(server)
    for _ in range(600):
        wire.say(f"PUB ate1.{lab}.p.me.a 4000\r\n{'.' * 4000}".encode())
    wire.say(f"PUB ate1.{lab}.p.me.a 4\r\nlast".encode())
    wire.sync()
    wire.close()
    me.wait("received", "a", b"last")
    assert me.count("disconnected") == 0
    assert len(me.payloads("a")) == 601


def test_what_the_client_refuses_holds_up_nothing(
    server: Server, opened: Opened, lab: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once; what is behind it leaves."""
    me, other = opened(server, "me", lab), opened(server, "other", lab)
    for _ in range(2):
        me.done(
            partial(me.transport.send_on, "with space", b"x"),
            partial(me.transport.send_on, "line\r\nPING", b"x"),
            partial(me.transport.send, "other", b"behind"),
        )
    other.until(lambda: len(other.payloads("me")) == 2)
    assert caplog.text.count("invalid subject") == 1
    assert me.count("disconnected") == 0


def test_where_nats_py_keeps_its_writer_to_itself_it_writes(
    server: Server, opened: Opened, lab: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All the same, and in order: there is no public way around its own."""
    monkeypatch.setattr(Connection, "_writer", lambda self: None)
    me, other = opened(server, "me", lab), opened(server, "other", lab)
    said = [b"%d" % each for each in range(100)]
    for each in said:
        me.do(partial(me.transport.send, "other", each))
    other.wait("received", "me", said[-1])
    assert other.payloads("me") == said


@pytest.mark.thorough
def test_an_event_loop_that_is_late_is_no_loss(server: Server, opened: Opened, lab: str) -> None:
    """However often it should have asked the server meanwhile."""
    me, other = opened(server, "me", lab), opened(server, "other", lab)
    late = threading.Event()
    me.do(partial(late.wait, 3.0))
    other.do(partial(other.transport.send, "me", b"waits"))
    me.wait("received", "other", b"waits")
    assert not late.wait(1.2)
    me.done()
    assert me.count("disconnected") == 0


# -- the end ---------------------------------------------------------------------------------------


@BOTH_LOOPS
def test_what_was_sent_before_the_end_arrives(server: Server, opened: Opened, lab: str) -> None:
    """All of it, wherever `close` was called, whoever speaks to it then; it may be called again."""
    other = opened(server, "other", lab)
    flood = opened(server, "flood", lab)
    told: List[int] = []
    for number in range(2):
        me = opened(server, f"me{number}", lab)
        send = [
            partial(me.transport.send, "other", b"%d" % each + b"." * 1000) for each in range(3000)
        ]
        flood.do(*[partial(flood.transport.send, me.part, b"." * 50_000)] * 20)
        if number % 2:
            me.do(*send, me.transport.close, lambda me=me: told.append(len(me.told)))
        else:
            me.done(*send, lambda: told.append(0))
            me.transport.close()
        me.transport.join(REAL.now() + PATIENCE)
        me.transport.close()
        me.transport.unpark()
        other.until(lambda me=me: len(other.payloads(me.part)) == 3000)
        told[-1] = told[-1] or len(me.told)
        other.do(partial(other.transport.send, me.part, b"late"))
        other.wait("unreachable", me.part)
        assert len(me.told) == told[-1]


def test_it_is_opened_once_and_under_the_real_clock(
    server: Server, opened: Opened, lab: str
) -> None:
    """Said at the call."""
    me = opened(server, "me", lab)
    with pytest.raises(DispatcherError, match="was opened before"):
        me.transport.open(me, REAL, True)
    fresh = NatsTransport(server.url)
    with pytest.raises(BadValue, match="clock must be the real one"):
        fresh.open(Recorder(lab, "x"), RealClock(), True)
    with pytest.raises(DispatcherError, match="not open"):
        fresh.send("x", b"")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_wakes_nobody(server: Server, opened: Opened, lab: str) -> None:
    """Once it has been told to forget; the parent's goes on."""
    me = opened(server, "me", lab)
    steps = me.rest()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            me.transport.forget()
            me.transport.unpark()
            me.transport.close()
            me.transport.join(REAL.now() + 1)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert me.rest() == steps
    me.done()


# -- what it is made with --------------------------------------------------------------------------


def test_the_environment_says_where_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an address, or by host and port, if nothing else is said."""
    for name in ("URL", "HOST", "PORT"):
        monkeypatch.delenv(f"ATE_DISPATCHER_NATS_{name}", raising=False)
    assert "nats://127.0.0.1:4222" in repr(NatsTransport())
    monkeypatch.setenv("ATE_DISPATCHER_NATS_PORT", "4223")
    assert "nats://127.0.0.1:4223" in repr(NatsTransport())
    monkeypatch.setenv("ATE_DISPATCHER_NATS_HOST", "rig")
    assert "nats://rig:4223" in repr(NatsTransport())
    monkeypatch.setenv("ATE_DISPATCHER_NATS_URL", "tls://one:secret@a:1,b")
    assert repr(NatsTransport()) == "<NatsTransport to tls://a:1, nats://b:4222>"
    assert "//c:5" in repr(NatsTransport("c:5"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"servers": 5}, BadType, "servers must be"),
        ({"servers": [5]}, BadType, "servers must be like nats://host:4222, not 5"),
        ({"servers": []}, BadValue, "at least one"),
        ({"servers": "http://a"}, BadValue, "http://a"),
        ({"servers": "nats://a:x"}, BadValue, "nats://a:x"),
        ({"connect_timeout": 0}, BadValue, "connect_timeout must be more than 0 ms, not 0"),
        ({"connect_timeout": None}, BadValue, "connect_timeout"),
        ({"connect_timeout": "2"}, BadType, "connect_timeout"),
        ({"uvloop": 1}, BadType, "uvloop must be True or False, or None, not 1"),
        ({"no_such": 1}, BadValue, "no_such is no option of nats-py$"),
        (
            {"pasword": "x"},
            BadValue,
            "pasword is no option of nats-py; is it password that you mean",
        ),
        ({"no_echo": False}, BadValue, "no_echo is the transport's own"),
        ({"reconnect_time_wait": "1"}, BadType, "reconnect_time_wait"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_the_call(
    arguments: Dict[str, Any], error: Any, message: str
) -> None:
    """With the name and what was given."""
    with pytest.raises(error, match=message):
        NatsTransport(**arguments)


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("nats://lab:SECRET@host:70000", {}),
        (["nats://host", "lab:SECRET@host:x"], {}),
        ("http://lab:SECRET@host", {}),
        ("lab:SECRET@host", {}),
        ("nats://lab:SECRET@host", {"pasword": "SECRET"}),
        ("nats://lab:SECRET@host", {"connect_timeout": None}),
    ],
    ids=str,
)
def test_what_refuses_an_address_or_an_option_tells_no_password(
    address: Any, options: Dict[str, Any]
) -> None:
    """Neither one in the address, nor one by a name that was misspelt: errors go into logs."""
    with pytest.raises((BadType, BadValue)) as caught:
        Dispatcher().connect(address, **options)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["nats://h:70000", "nats://h:x"])
def test_an_address_that_cannot_be_is_called_so(wrong: str) -> None:
    """And not by what the transport calls it."""
    with pytest.raises(BadValue, match=f"address must be like nats://host:4222, not '{wrong}'"):
        Dispatcher().connect(wrong)


def test_uvloop_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless something else was said, or there is no GIL, which it would bring back."""

    def loop_of(**options: Any) -> str:
        given = {"servers": None, "connect_timeout": 2000, "uvloop": None, "more": {}, **options}
        loop = Options(**given).new_loop()
        loop.close()
        return type(loop).__module__.partition(".")[0]

    quick = "asyncio" if find_spec("uvloop") is None else "uvloop"
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    assert (loop_of(), loop_of(uvloop=False)) == (quick, "asyncio")
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False)
    assert loop_of() == "asyncio"
    monkeypatch.delattr(sys, "_is_gil_enabled")
    assert loop_of() == quick
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_of() == "asyncio"
    with pytest.raises(DispatcherError, match='pip install "uvloop"'):
        loop_of(uvloop=True)


def test_a_missing_library_is_named_with_what_brings_it() -> None:
    """Nothing is imported before it is needed."""
    code = """
import sys
from ate_dispatcher import Dispatcher, DispatcherError
for missing, brings in (("nats", "ate-dispatcher[nats]"), ("uvloop", 'pip install "uvloop"')):
    sys.modules[missing] = None
    try:
        Dispatcher().connect("nats://127.0.0.1:1", name="a", uvloop=True)
    except DispatcherError as error:
        assert f"{missing} cannot be imported" in str(error), error
        assert brings in str(error), error
    else:
        raise SystemExit(f"connected without {missing}")
    del sys.modules[missing]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    code = "import sys, ate_dispatcher.links.nats; sys.exit('nats' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
