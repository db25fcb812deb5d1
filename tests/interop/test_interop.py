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
        """As a power cut does."""
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
            if each.is_running():
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
    handle = lab.ask("3V3", ms=1)
    assert {each.producer.name: each.value for each in handle.replies} == {
        "meter": {"rail": "3V3", "volts": 3.31},
        "mine": "mine",
    }
    assert verdicts(handle) == [Verdict.OK] * 2
    (line,) = [each for each in handle.report().members if each.part == "producer"]
    assert line.ran_ms is not None
    assert 0.5 <= line.ran_ms <= 1000
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
