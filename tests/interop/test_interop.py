"""Programs in other languages are parts as well: Node.js, and a page in a browser.

They speak the wire as `ate_dispatcher.links` describes it, on a real server, and know nothing of
this package. Needed are node, npm and its registry; for the page a browser besides, that is
chromium on PATH or whatever CHROMIUM names.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional

import pytest
from nats_server import Server, free_port
from rig import PATIENCE, Answer, Recorder

from ate_dispatcher import (
    Connection,
    Dispatcher,
    Producer,
    RemoteError,
    TopicPattern,
    Verdict,
)

nats = pytest.importorskip("nats")

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

HERE = Path(__file__).resolve().parent
PACKAGES = ("@nats-io/transport-node@3", "@nats-io/nats-core@3")

_numbers = count()


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs, beside what npm has installed for them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("no node and npm on PATH")
    folder = tmp_path_factory.mktemp("interop")
    for path in HERE.glob("*"):
        if path.suffix in (".mjs", ".js", ".html"):
            shutil.copy(str(path), str(folder))
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
    try:
        done = subprocess.run(command, cwd=str(folder), capture_output=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("npm install takes too long: no registry?")
    if done.returncode:
        pytest.skip(f"npm cannot install: {done.stderr.decode(errors='replace')[-300:]}")
    return folder


@pytest.fixture(scope="module")
def websocket() -> int:
    """The port of the server's listener for pages."""
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, websocket: int) -> Iterator[Server]:
    """One for all."""
    config = f'websocket {{ listen: "127.0.0.1:{websocket}", no_tls: true }}'
    it = Server(tmp_path_factory.mktemp("nats"), config)
    yield it
    it.kill()


class Program:
    """A running program: each line that it prints is JSON."""

    def __init__(self, command: List[str], folder: Path) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=str(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._lines: queue.Queue[Any] = queue.Queue()
        self._errors: List[bytes] = []
        self._readers = [threading.Thread(target=each) for each in (self._read, self._read_errors)]
        for each in self._readers:
            each.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)

    def said(self) -> Any:
        """The next thing that it prints."""
        return self._lines.get(timeout=PATIENCE)

    def leave(self) -> List[Any]:
        """It says bye; what it has printed and nobody has looked at, and it may not complain."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.ended()

    def ended(self) -> List[Any]:
        """As `leave`, but by itself."""
        assert self._process.wait(PATIENCE) == 0, self._errors
        self._tidy()
        assert self._errors == []
        return list(self._lines.queue)

    def kill(self) -> None:
        """As a power cut does, if it has not ended."""
        self._process.kill()
        self._process.wait()
        self._tidy()

    def _tidy(self) -> None:
        for each in self._readers:
            each.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def is_running(self) -> bool:
        return self._process.poll() is None


def until(condition: Callable[[], Any]) -> Any:
    """Wait for what other machines bring about: nothing here is told of it."""
    end = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.005)


class Lab:
    """One namespace: a dispatcher of this process in it, as "python", and programs."""

    def __init__(self, server: Server, programs: Path) -> None:
        self.server = server
        self.namespace = f"interop{next(_numbers)}"
        self._folder = programs
        self._running: List[Program] = []
        self.dispatcher = Dispatcher()
        self.dispatcher.start()
        self.connection: Connection = self.dispatcher.connect(
            server.url, namespace=self.namespace, name="python"
        )

    def run(self, name: str, *arguments: str, part: Optional[str] = None) -> Program:
        """The program *name*; returns when it is a part."""
        part = part or name
        where = (self.server.url, self.namespace, part, *arguments)
        program = Program(["node", f"{name}.mjs", *where], self._folder)
        self._running.append(program)
        until(lambda: part in self.connection.parts or not program.is_running())
        return program

    def whoever(self, *arguments: str) -> Program:
        """One that is no part."""
        where = (self.server.url, self.namespace, *arguments)
        program = Program(["node", "whoever.mjs", *where], self._folder)
        self._running.append(program)
        return program

    def answerer(self, *arguments: str) -> Program:
        """Likewise; returns when it can be asked."""
        program = self.whoever("answer", *arguments)
        assert program.said() == "there"
        return program

    def producer(self, name: str, function: Callable[..., Any], topic: str = "volts") -> Producer:
        made = Answer(function, name=name)
        self.dispatcher.register_result_producer(made, topic, start=True)
        return made

    def ask(self, *args: Any, ttl: float = 10_000, **kwargs: Any) -> Any:
        handle = self.dispatcher.send_request("volts", *args, ttl=ttl, **kwargs)
        handle.wait()
        return handle

    def tidy(self) -> None:
        for each in self._running:
            each.kill()
        self.connection.disconnect(drain=0)
        assert self.connection.join(PATIENCE)
        self.dispatcher.stop(immediate=True)
        self.dispatcher.join()


@pytest.fixture
def lab(server: Server, programs: Path) -> Iterator[Lab]:
    """With nobody but us in it."""
    made = Lab(server, programs)
    yield made
    made.tidy()


def verdicts(handle: Any) -> List[Verdict]:
    """What became of each member."""
    return [each.verdict for each in handle.report().members]


def played(server: Server, play: Callable[[Any], Any]) -> Any:
    """What a program with nothing but nats-py does."""

    async def run() -> Any:
        client = await nats.connect(server.url)
        try:
            return await asyncio.wait_for(play(client), PATIENCE)
        finally:
            await client.close()

    return asyncio.run(run())


# -- a producer there ------------------------------------------------------------------------------


def test_a_producer_in_node_answers(lab: Lab) -> None:
    """With a value, among others; it is a producer with a name on a part."""
    meter = lab.run("producer")
    lab.producer("mine", lambda topic, rail, ms=0: "mine")
    handle = lab.ask("3V3", ms=20)
    assert {each.producer.name: each.value for each in handle.replies} == {
        "meter": {"rail": "3V3", "volts": 3.31},
        "mine": "mine",
    }
    assert verdicts(handle) == [Verdict.OK] * 2
    (line,) = [each for each in handle.report().members if each.part == "producer"]
    assert line.ran_ms is not None
    # Timers of Node may be a millisecond early.
    assert 15 <= line.ran_ms <= 1000
    assert meter.leave() == []


def test_an_error_in_node_is_a_value_here(lab: Lab) -> None:
    """With its type, message and stack."""
    lab.run("producer")
    handle = lab.ask("9V")
    (reply,) = handle.replies
    error = reply.error
    assert isinstance(error, RemoteError)
    assert (error.kind, error.message, error.part) == ("RangeError", "no rail 9V", "producer")
    assert "measure" in error.traceback_text
    assert verdicts(handle) == [Verdict.ERROR]


def test_what_is_late_in_node_is_late_and_what_has_not_begun_is_skipped(lab: Lab) -> None:
    """It does one thing after the other, as producers here do."""
    lab.run("producer")
    late = lab.dispatcher.send_request("volts", "5V", ms=300, ttl=100)
    queued = lab.dispatcher.send_request("volts", "5V", ttl=100)
    late.wait()
    queued.wait()
    assert verdicts(late) == verdicts(queued) == [Verdict.MISSING]
    until(lambda: verdicts(late) == [Verdict.LATE])
    until(lambda: verdicts(queued) == [Verdict.SKIPPED])
    (line,) = late.report().members
    assert line.late_ms == pytest.approx(200, abs=100)
    assert lab.ask("5V").results() == [{"rail": "5V", "volts": 5.02}]


def test_a_cancel_reaches_node(lab: Lab) -> None:
    """What it has not begun is cancelled; what was disabled meanwhile is withdrawn."""
    lab.run("producer")
    first = lab.dispatcher.send_request("volts", "5V", ms=300, ttl=10_000)
    cancelled = lab.dispatcher.send_request("volts", "5V", ttl=10_000)
    withdrawn = lab.dispatcher.send_request("volts", "5V", ttl=10_000)
    # Time to begin the first.
    assert not first.wait(0.1)
    cancelled.cancel()
    lab.dispatcher.disable("meter")
    assert first.results() == [{"rail": "5V", "volts": 5.02}]
    withdrawn.wait()
    assert verdicts(withdrawn) == [Verdict.WITHDRAWN]
    until(lambda: verdicts(cancelled) == [Verdict.CANCELLED])


def test_a_part_in_node_comes_and_goes(lab: Lab) -> None:
    """By its bye at once; by its death within moments: whoever owes an answer is GONE."""
    program = lab.run("producer")
    assert lab.connection.parts == ("producer",)
    program.leave()
    until(lambda: lab.connection.parts == ())
    assert lab.ask("5V").replies == ()
    program = lab.run("producer")
    handle = lab.dispatcher.send_request("volts", "5V", ms=60_000, ttl=60_000)
    assert not handle.wait(0.1)
    program.kill()
    handle.wait()
    assert verdicts(handle) == [Verdict.GONE]
    assert handle.report().elapsed_ms < 10_000
    lab.run("producer")
    assert lab.ask("5V").results() == [{"rail": "5V", "volts": 5.02}]


def test_a_part_in_node_leaves_while_it_is_asked(lab: Lab) -> None:
    """What it has not begun, or not ended, is gone, and no fault of it."""
    program = lab.run("producer")
    handles = [lab.dispatcher.send_request("volts", "5V", ms=1, ttl=60_000) for _ in range(500)]
    handles[0].wait()
    assert program.leave() == []
    for each in handles:
        each.wait()
    assert verdicts(handles[0]) == [Verdict.OK]
    assert verdicts(handles[-1]) == [Verdict.GONE]


def test_a_part_in_node_lives_on_beats(lab: Lab) -> None:
    """Longer than three of them without anything else to say, and through hostile frames."""
    program = lab.run("producer")
    lines = [
        b"",
        b"x",
        b"[",
        b'["ask"]',
        b'["ask",1,null,0,"volts",[1],[],null,{}]',
        b"[[[[[[",
        b"5",
    ]
    where = f"ate1.{lab.namespace}.p.producer.nobody"

    async def flood(client: Any) -> None:
        for line in lines:
            await client.publish(where, line)
        await client.flush()

    played(lab.server, flood)
    time.sleep(4)
    assert lab.connection.parts == ("producer",)
    assert lab.ask("5V").results() == [{"rail": "5V", "volts": 5.02}]
    program.kill()


# -- a caller there --------------------------------------------------------------------------------


def test_a_caller_in_node_asks_producers_here(lab: Lab) -> None:
    """One answers, one raises, one is not ready at the deadline; listeners here hear the result,
    and what is published then, in this order.
    """
    gate = threading.Event()

    def fail(topic: str, *args: Any) -> None:
        raise ValueError("no probe")

    lab.producer("good", lambda topic, rail, volts: {rail: volts, "there": [None, True, "é"]})
    lab.producer("bad", fail)
    lab.producer("slow", lambda *_: gate.wait(PATIENCE))
    with lab.dispatcher.subscribe(TopicPattern(">")) as stream:
        caller = lab.run("caller", "volts", "1000", '"5V"', "5.25")
        value = {"5V": 5.25, "there": [None, True, "é"]}
        came = {
            "python/good": {"value": value},
            "python/bad": {"type": "ValueError", "message": "no probe"},
            "python/slow": {"not": "missing"},
        }
        assert caller.said() == came
        assert caller.ended() == []
        heard = [stream.get(PATIENCE * 1000) for _ in range(2)]
        gate.set()
    assert [(each.topic, each.value) for each in heard if each] == [
        ("volts", value),
        ("site.log", came),
    ]
    assert [each.request is None for each in heard if each] == [False, True]
    until(lambda: lab.connection.parts == ())


def test_a_caller_in_node_asks_a_producer_in_node(lab: Lab) -> None:
    """And nobody here has to do with it, but those who listen."""
    meter = lab.run("producer")
    heard = Recorder()
    lab.dispatcher.register_result_listener(heard, "volts", start=True)
    caller = lab.run("caller", "volts", "1000", '"3V3"')
    value = {"rail": "3V3", "volts": 3.31}
    assert caller.said() == {"producer/meter": {"value": value}}
    assert heard.after(1) == [("volts", value)]
    assert caller.ended() == meter.leave() == []


def test_a_caller_in_node_sees_a_part_go(lab: Lab) -> None:
    """By its bye, or because nobody hears the probe: whoever owes an answer is gone."""
    gate = threading.Event()
    slow = lab.producer("slow", lambda *_: gate.wait(PATIENCE))
    caller = lab.run("caller", "volts", "60000")
    until(lambda: lab.connection.statistics()["guests"])
    lab.connection.disconnect(drain=0)
    assert caller.said() == {"python/slow": {"not": "gone"}}
    gate.set()
    assert slow.is_alive()


# -- a listener there ------------------------------------------------------------------------------


def test_a_listener_in_node_hears_results_and_published_values_in_order(lab: Lab) -> None:
    """On its topic and on its pattern, whatever else is said; none twice."""
    listener = lab.run("listener")
    lab.producer("echo", lambda topic, value: value)
    expected = []
    for number in range(300):
        lab.dispatcher.publish("site.a b.é", number)
        expected.append(["python", "site.a b.é", number, None])
        lab.dispatcher.publish("elsewhere", number)
        if number % 10 == 0:
            handle = lab.ask(number)
            expected.append(["python", "volts", number, handle.id])
    assert [listener.said() for _ in expected] == expected
    assert listener.leave() == []


def test_who_has_missed_a_value_asks_for_it(lab: Lab) -> None:
    """Node of a part with a gap, in the middle or at the end; what is lost is passed over."""
    listener = lab.run("listener")
    base, life = f"ate1.{lab.namespace}", "0a"

    async def gaps(client: Any) -> List[Any]:
        asked = await client.subscribe(f"{base}.p.forger.listener")

        async def say(*frame: Any, to: str = "p.listener.forger") -> None:
            await client.publish(f"{base}.{to}", json.dumps(frame).encode())

        async def again() -> Any:
            while True:
                frame = json.loads((await asked.next_msg(PATIENCE)).data)
                if frame[0] == "again":
                    return frame

        await say("here", "new", life, 1, 0, {}, {}, [], {"codecs": [], "version": "1"})
        for seq in (1, 4):
            await say("res", seq, "volts", seq, None, to="r.forger.volts")
        found = [await again()]
        await say("lost", 2, 2)
        await say("res", 3, "volts", 3, None)
        await say("beat", life, 1, 5, 0)
        while found[-1] != ["again", 5, 5]:
            found.append(await again())
        await say("res", 5, "volts", 5, None)
        await say("bye", life, to="all.forger")
        return found

    found = played(lab.server, gaps)
    assert found[0] == ["again", 2, 3]
    said = [listener.said() for _ in range(5)]
    assert said[1] == ["lost", "forger", 2, 2]
    assert [each[2] for each in said if each[0] == "forger"] == [1, 3, 4, 5]


# -- a sweep there ---------------------------------------------------------------------------------


def test_a_sweep_in_node_comes_value_by_value(lab: Lab) -> None:
    """Each is a reply as it is measured, and meanwhile it is seen how far it is."""
    program = lab.run("sweep")
    handle = lab.dispatcher.send_request("sweep", 0, 2, 5, ms=50, ttl=10_000)
    seen = [(each.value, handle.progress) for each in handle]
    assert [value for value, _ in seen] == [0, 0.5, 1, 1.5, 2]
    fractions = [part for _, progress in seen for _, part, _ in progress]
    assert set(fractions) & {0.2, 0.4, 0.6, 0.8}
    assert fractions == sorted(fractions)
    assert handle.progress == ()
    assert verdicts(handle) == [Verdict.OK]
    (line,) = handle.report().members
    assert line.ran_ms == pytest.approx(250, abs=150)
    assert program.leave() == []


def test_a_sweep_in_node_that_fails_keeps_what_it_had(lab: Lab) -> None:
    """The values before the error are replies all the same."""
    lab.run("sweep")
    handle = lab.dispatcher.send_request("sweep", 50, 70, 3, ttl=10_000)
    *values, last = list(handle)
    assert [each.value for each in values] == [50, 60]
    assert isinstance(last.error, RemoteError)
    assert (last.error.kind, last.error.message) == ("RangeError", "70 V is too much")
    assert verdicts(handle) == [Verdict.ERROR]


def test_a_cancel_stops_a_sweep_in_node(lab: Lab) -> None:
    """What came before stays; a step later it has come to its end, long before its last value."""
    lab.run("sweep")
    handle = lab.dispatcher.send_request("sweep", 0, 10, 1000, ms=20, ttl=60_000)
    other = lab.dispatcher.send_request("sweep", 0, 10, 20, ms=20, ttl=60_000)
    first = next(iter(handle))
    handle.cancel()
    handle.wait()
    assert first.value == 0
    assert verdicts(handle) == [Verdict.MISSING]
    until(lambda: verdicts(handle) == [Verdict.SURPLUS])
    (line,) = handle.report().members
    assert line.ran_ms is not None
    assert line.ran_ms < 5000
    assert len(other.results()) == 20


def test_a_sweep_in_node_ends_with_its_time(lab: Lab) -> None:
    """Nobody has to say so: it knows by its own clock."""
    lab.run("sweep")
    handle = lab.dispatcher.send_request("sweep", 0, 10, 1000, ms=20, ttl=200)
    handle.wait()
    assert 1 <= len(handle.replies) <= 10
    until(lambda: verdicts(handle) == [Verdict.LATE])
    (line,) = handle.report().members
    assert line.late_ms is not None
    assert line.late_ms < 5000


def test_a_sweep_in_node_goes_with_its_part(lab: Lab) -> None:
    """What it gave before stays; that it leaves in the middle is no fault."""
    program = lab.run("sweep")
    handle = lab.dispatcher.send_request("sweep", 0, 10, 1000, ms=1, ttl=60_000)
    next(iter(handle))
    assert program.leave() == []
    handle.wait()
    assert verdicts(handle) == [Verdict.GONE]
    assert handle.replies


def test_who_asks_a_sweep_in_node_and_leaves_stops_it(lab: Lab) -> None:
    """Nobody waits for the rest; also frames that make no sense end nothing."""
    program = lab.run("sweep")
    base = f"ate1.{lab.namespace}"

    async def ask_and_leave(client: Any) -> List[str]:
        found = await client.subscribe(f"{base}.p.forger.sweep")

        async def say(*frame: Any, to: str = "p.sweep.forger") -> None:
            await client.publish(f"{base}.{to}", json.dumps(frame).encode())

        async def heard(kind: str) -> Any:
            while True:
                frame = json.loads((await found.next_msg(PATIENCE)).data)
                if frame[0] == kind:
                    return frame

        await say("ask", 1, None, 0, "sweep", [1], [0, 1, 2], {})
        assert await heard("not") == ["not", 1, 1, "declined"]
        await say("here", "new", "0a", 1, 0, {}, {}, [], {"codecs": [], "version": "1"})
        for args, kwargs in (([0, 1, 2], None), (None, {}), (5, 5)):
            await say("ask", 2, None, 0, "sweep", [1], args, kwargs)
            assert (await heard("err"))[5] == "TypeError"
        await say("ask", 3, None, 0, "sweep", [1], [0, 1, 100_000], {"ms": 1})
        assert (await heard("part"))[1] == 3
        await say("bye", "0a", to="all.forger")
        return await heard("late")

    assert played(lab.server, ask_and_leave)[:3] == ["late", 3, 1]
    assert lab.dispatcher.send_request("sweep", 1, 1, 1, ttl=10_000).results() == [1]
    assert program.leave() == []


# -- whoever is there ------------------------------------------------------------------------------


def test_whoever_is_there_in_node_answers_without_being_a_part(lab: Lab) -> None:
    """Beside who is one; what it raises is an error, and nobody waits longer than is needed."""
    lab.producer("mine", lambda topic, rail: "mine")
    programs = [lab.answerer(name) for name in ("one", "two")]
    assert lab.connection.parts == ()
    ask = lab.dispatcher.options(members="open", need=3, ttl=10_000).send_request
    values = ask("volts", "5V").results()
    assert sorted(each["name"] for each in values if each != "mine") == ["one", "two"]
    assert {"name": "one", "rail": "5V", "volts": 5.02} in values
    handle = lab.dispatcher.options(members="open", ttl=300).send_request("volts", "9V")
    handle.wait()
    errors = [each.error for each in handle.replies if not each.ok]
    assert [each.message for each in errors if isinstance(each, RemoteError)] == ["no rail 9V"] * 2
    assert [each.leave() for each in programs] == [[], []]


def test_of_a_group_in_node_one_answers(lab: Lab) -> None:
    """The server chooses which, as with parts."""
    for name in ("one", "two"):
        lab.answerer(name, "meters")
    names = set()
    for _ in range(20):
        handle = lab.dispatcher.options(members="open", ttl=200, need="first")
        (value,) = handle.send_request("volts", "5V").results()
        names.add(value["name"])
    handle = lab.dispatcher.options(members="open", ttl=300).send_request("volts", "5V")
    assert len(handle.results()) == 1
    assert names == {"one", "two"}


def test_a_program_in_node_asks_whoever_is_there(lab: Lab) -> None:
    """Parts and others; each answer says whose it is, or that it is an error."""

    def fail(topic: str, *args: Any) -> None:
        raise ValueError("no probe")

    asks_nobody = lab.whoever("ask", "volts", "1000", '"5V"')
    assert asks_nobody.said() == []
    assert asks_nobody.ended() == []
    lab.producer("good", lambda topic, rail: {"at": rail})
    lab.producer("bad", fail)
    lab.answerer("one")
    asks = lab.whoever("ask", "volts", "500", '"5V"')
    came = asks.said()
    assert {"$reply": {"value": {"at": "5V"}, "producer": "good", "part": "python"}} in came
    assert {"name": "one", "rail": "5V", "volts": 5.02} in came
    (error,) = [each["$error"] for each in came if "$error" in each]
    assert (error["kind"], error["message"]) == ("ValueError", "no probe")
    assert "in fail" in error["traceback"]
    assert len(came) == 3
    assert asks.ended() == []


def test_two_programs_in_node_need_no_part(lab: Lab) -> None:
    """One asks the other; the dispatcher of this process has nothing on that topic."""
    lab.answerer("one")
    asks = lab.whoever("ask", "volts", "300", '"3V3"')
    assert asks.said() == [{"name": "one", "rail": "3V3", "volts": 3.31}]
    assert asks.ended() == []


# -- a page ----------------------------------------------------------------------------------------


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and does not tell of each."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def page(lab: Lab, programs: Path, websocket: int, tmp_path: Path) -> Iterator[str]:
    """The name of a part that is a page in a browser."""
    named = os.environ.get("CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = named or next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no browser: chromium is not on PATH, and CHROMIUM names none")
    files = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=os.fspath(programs)))
    serving = threading.Thread(target=files.serve_forever, args=(0.05,))
    serving.start()
    where = f"http://127.0.0.1:{files.server_address[1]}/page.html"
    query = f"ws=ws://127.0.0.1:{websocket}&namespace={lab.namespace}&name=page"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    with (tmp_path / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [
                browser,
                *options,
                f"--user-data-dir={tmp_path / 'profile'}",
                "--enable-logging=stderr",
                "--remote-debugging-port=0",
                f"{where}?{query}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: lab.connection.parts or process.poll() is not None)
        assert lab.connection.parts == ("page",), (tmp_path / "browser.log").read_text()
        yield "page"
    finally:
        process.terminate()
        process.wait(PATIENCE)
        files.shutdown()
        serving.join()
        files.server_close()


def test_a_page_follows_publishes_and_answers(lab: Lab, page: str) -> None:
    """Over the server's listener for WebSockets; values in order, both ways."""
    heard = Recorder()
    lab.dispatcher.register_result_listener(heard, "site.shown", start=True)
    lab.producer("echo", lambda topic, value: value)
    until(lambda: lab.dispatcher.publish("volts", "first").listeners)
    for number in range(100):
        lab.dispatcher.publish("volts", number)
    lab.ask("result")
    assert heard.after(102) == [("site.shown", number) for number in range(1, 103)]
    handle = lab.dispatcher.send_request("screen", ttl=10_000)
    (shows,) = handle.results()
    assert shows == [["python", each] for each in ("first", *range(100), "result")]
    (reply,) = handle.replies
    assert (reply.producer.name, reply.producer.part) == ("screen", "page")
