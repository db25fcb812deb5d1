"""The programs of the guide run as they stand there, but for the address of the server."""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from far_parts import ROOT, eventually
from nats_server import free_port
from over_nats import Here, far_parts, heard_elsewhere, here, known
from servers import settled

from ate_dispatcher import RemoteError, guide
from ate_dispatcher.errors import BadValue
from ate_dispatcher.links.values import Codec

__all__ = ["far_parts", "here"]

pytest.importorskip("nats")

CHAPTER = "several-machines"
ADDRESS = "nats://127.0.0.1:4222"


def block(language: str, name: str) -> str:
    """What stands in the guide below *name*."""
    below = rf"`[^`\n]*{re.escape(name)}`[:.]\n\n```{language}\n(.*?)```"
    found = re.search(below, guide.text(CHAPTER), re.DOTALL)
    assert found, name
    return found.group(1)


class Programs:
    """Those that a test has started; they end with it."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self._folder = folder
        self._namespace = namespace
        self._started: List[subprocess.Popen[str]] = []

    def start(self, name: str, url: str, *changes: str, **variables: str) -> subprocess.Popen[str]:
        """The one called *name*; *changes* are texts in it, each with what to have in its place."""
        text = block("py", name).replace(ADDRESS, url).replace("lab1", self._namespace)
        for old, new in zip(changes[::2], changes[1::2]):
            assert old in text
            text = text.replace(old, new)
        file = self._folder / name
        file.write_text(text, encoding="utf-8")
        made = subprocess.Popen(
            [sys.executable, "-u", "-W", "error", str(file)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(made)
        return made

    def close(self) -> None:
        for each in self._started:
            each.kill()
            each.communicate()


@pytest.fixture
def programs(tmp_path: Path, here: Here) -> Iterator[Programs]:
    """None yet; in the namespace of the test."""
    made = Programs(tmp_path, here.namespace)
    yield made
    made.close()


def said(program: subprocess.Popen[str]) -> str:
    """Its next line."""
    assert program.stdout is not None
    return program.stdout.readline()


def environment(url: str, here: Here) -> Any:
    """What the unit of the service sets, with the values of the test."""
    names = re.findall(r"^Environment=(\w+)=", block("ini", "site7.service"), re.MULTILINE)
    return dict(zip(names, (url, here.namespace)))


ASKED = 'print("asked"); sys.stdin.readline(); return {"site"'


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM")
def test_the_service_answers_what_it_was_asked_when_it_is_stopped(
    here: Here, programs: Programs
) -> None:
    """Nobody asks it any more meanwhile; it ends by itself, with status 0 and without a word."""
    server = here.server()
    a, connection = here.connect(server.url)
    service = programs.start(
        "service.py", "", 'return {"site"', ASKED, **environment(server.url, here)
    )
    assert said(service) == "site 7 is ready\n"
    known(a, "volts", 1)
    handle = a.send_request("volts", 2, ttl=20_000)
    assert said(service) == "asked\n"
    service.send_signal(signal.SIGTERM)
    known(a, "volts", 0)
    out, errors = service.communicate("\n", 20)
    assert handle.results() == [{"site": 7, "channel": 2, "volts": 3.3}]
    assert (service.returncode, out, errors) == (0, "", "")
    eventually(lambda: connection.parts == ())
    assert connection.statistics()["gone"] == 1


def test_a_service_that_cannot_work_ends_and_says_why(here: Here, programs: Programs) -> None:
    """Without a server, and with a name that another has."""
    server = here.server()
    nowhere = programs.start(
        "service.py", "", **environment(f"nats://127.0.0.1:{free_port()}", here)
    )
    _, errors = nowhere.communicate(timeout=20)
    assert nowhere.returncode == 1
    assert errors.startswith("no connection to nats://127.0.0.1:")
    here.connect(server.url, "site7")
    second = programs.start("service.py", "", **environment(server.url, here))
    _, errors = second.communicate(timeout=20)
    assert second.returncode == 1
    assert errors.startswith(f"name 'site7' is taken by another part of {here.namespace!r}; choose")
    assert errors.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGSTOP")
def test_a_service_whose_name_was_taken_ends_and_says_why(here: Here, programs: Programs) -> None:
    """It was frozen for so long that the others took it for gone."""
    server = here.server()
    _, connection = here.connect(server.url)
    service = programs.start("service.py", "", **environment(server.url, here))
    assert said(service) == "site 7 is ready\n"
    eventually(lambda: connection.parts == ("site7",))
    service.send_signal(signal.SIGSTOP)
    eventually(lambda: connection.parts == ())
    here.connect(server.url, "site7")
    service.send_signal(signal.SIGCONT)
    _, errors = service.communicate(timeout=20)
    assert service.returncode == 1
    last = errors.splitlines()[-1]
    assert last.startswith(f"name 'site7' is taken by another part of {here.namespace!r}; choose")


def test_arrays_of_numpy_come_as_they_were_or_are_refused_at_the_call() -> None:
    """With fields, without a dimension, in Fortran's order; never those that are pickled."""
    numpy = pytest.importorskip("numpy")
    found: Dict[str, Any] = {}
    exec(block("py", "arrays.py"), found)
    codec = Codec(found["TYPES"])
    fields = numpy.array([(1.5, [1, 2])], [("volts", "<f8"), ("at", "<i4", (2,))])
    days = numpy.array(["2024-02-29"], "M8[D]")
    for value in (fields, fields[0], numpy.eye(2, order="F"), numpy.array(3), days, fields[:0]):
        there = codec.decode(json.loads(codec.encode("value", value)))
        assert (type(there), there.dtype, there.shape) == (type(value), value.dtype, value.shape)
        assert (there == value).all()
    assert type(codec.decode(json.loads(codec.encode("value", numpy.float64(2))))) is numpy.float64
    with pytest.raises(BadValue, match=r"^args\[0\]\.\$array cannot be sent .* allow_pickle=False"):
        codec.encode("args[0]", numpy.array([object()]))


def test_the_unit_of_the_service_is_one(tmp_path: Path) -> None:
    """It starts the program, which finds the address where it looks, and is left to end by itself;
    systemd takes it, where there is one.
    """
    text = block("ini", "site7.service")
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert unit["Service"]["ExecStart"].endswith("/service.py")
    assert int(unit["Service"]["TimeoutStopSec"]) > 4
    assert "KillSignal" not in unit["Service"]
    names = re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)
    assert names == ["ATE_DISPATCHER_NATS_URL", "ATE_DISPATCHER_NAMESPACE"]
    analyze = shutil.which("systemd-analyze")
    if analyze:
        file = tmp_path / "site7.service"
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE)
        file.write_text(text.replace("User=rig\n", ""), encoding="utf-8")
        done = subprocess.run([analyze, "verify", str(file)], capture_output=True, text=True)
        mine = [line for line in done.stderr.splitlines() if "site7.service" in line]
        assert mine == [], done.stderr


def test_a_program_without_the_package_answers_open_questions(
    here: Here, programs: Programs
) -> None:
    """With a value or an error, and by the name that it gives itself."""
    server = here.server()
    a, _ = here.connect(server.url, "a", "here")
    plain = programs.start("plain.py", server.url)
    assert said(plain) == "plain is ready\n"
    sender = a.options(members="open", ttl=10_000, need=2)
    # The server may come to its subscription a moment later than to its ping.
    eventually(lambda: len(sender.send_request("volts", 2).results()) == 2)
    values = sender.send_request("volts", 2).by_producer(require="all")
    assert values == {"here": ["here", 2], "dmm": {"channel": 2, "volts": 1.1}}
    handle = a.options(members="open", ttl=10_000).send_request("volts")
    error = next(each.error for each in handle if each.error is not None)
    handle.cancel()
    assert isinstance(error, RemoteError)
    assert (error.kind, error.part) == ("TypeError", "plain")


def test_handlers_of_nats_and_those_here_do_the_same(here: Here, programs: Programs) -> None:
    """Each answers, and prints what it hears."""
    server = here.server()
    plain = programs.start("handlers.py", server.url)
    assert said(plain) == "ready\n"
    value = {"channel": 2, "volts": 3.3}

    async def ask() -> None:
        import nats

        client = await nats.connect(server.url)
        while True:
            try:
                answer = await client.request(f"{here.namespace}.volts", b"[2]", timeout=20)
            except nats.errors.NoRespondersError:
                # The server has not come to its subscription yet.
                continue
            break
        assert json.loads(answer.data) == value
        await client.publish(f"{here.namespace}.log", b'["heard"]')
        await settled(client)
        await client.close()

    asyncio.run(ask())
    assert said(plain) == "heard\n"
    ours = programs.start("decorated.py", server.url)
    assert said(ours) == "ready\n"
    a, _ = here.connect(server.url)
    known(a, "volts", 1)
    assert a.send_request("volts", 2, ttl=20_000).results() == [value]
    heard_elsewhere(a, "log")
    a.publish("log", "heard")
    assert said(ours) == "heard\n"


def test_an_event_loop_connects(here: Here, programs: Programs) -> None:
    """And asks; or says that nobody came."""
    server = here.server()
    site, _ = here.connect(server.url, "site7", "dmm7")
    loop = programs.start("loop.py", server.url)
    assert loop.communicate(timeout=20) == ("[['dmm7', 2]]\n", "")
    assert loop.returncode == 0
    site.stop()
    site.join()
    alone = programs.start("loop.py", server.url, "timeout=5", "timeout=0.1")
    assert alone.communicate(timeout=20) == ("", "site 7 is not there\n")


def test_who_reads_slowly_counts_what_it_has_lost(here: Here, programs: Programs) -> None:
    """By a stream and into a queue: what was seen and what was lost is all that was published."""
    server = here.server()
    a, _ = here.connect(server.url)
    reader = programs.start(
        "reader.py",
        server.url,
        "        seen = lost = 0\n",
        "        input()\n        seen = lost = 0\n",
    )
    assert said(reader) == "reader is ready\n"
    heard_elsewhere(a, "trace")
    for number in range(5000):
        a.publish("trace", number)
    a.publish("trace", "end")
    assert reader.stdin is not None
    sums = []
    out, errors = reader.communicate("\n", 30)
    for line in out.splitlines():
        seen, lost = map(int, re.findall(r"\d+", line))
        assert lost > 0
        sums.append(seen + lost)
    assert sums == [5001, 5001]
    assert errors.count("keep up") == 2, errors
