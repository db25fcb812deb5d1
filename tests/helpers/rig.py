"""What the tests share: small producers and listeners with gates, and ways to strike at a moment.

Nothing here sleeps in order to wait: whoever waits, waits for a gate, with :data:`PATIENCE` as the
time after which a thing counts as lost. It is long because the machine may be busy; a test that
passes never uses it up.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import gc
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import types
from pathlib import Path
from typing import Any, Callable, Collection, Dict, Iterator, List, Optional, Tuple

import pytest

import ate_dispatcher
from ate_dispatcher import Dispatcher, DispatcherStopped, Producer, ResultListener

PATIENCE = 30.0
"""Seconds."""

HECTIC = 1e-6
"""A switch interval at which threads take turns at nearly every chance they have."""

PACKAGE_PARENT = str(Path(ate_dispatcher.__file__).resolve().parent.parent)


@pytest.fixture(params=["ordinary", pytest.param("hectic", marks=pytest.mark.thorough)])
def pace(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test twice: as usual, and with threads that are switched all the time."""
    before = sys.getswitchinterval()
    if request.param == "hectic":
        sys.setswitchinterval(HECTIC)
    try:
        yield request.param
    finally:
        sys.setswitchinterval(before)


UNHURRIED = pytest.mark.parametrize("pace", ["ordinary"], indirect=True)
"""For what only waits in real time: once."""


class Answer(Producer):
    """Answers with what *function* returns; by default with the arguments it was given."""

    def __init__(self, function: Optional[Callable[..., Any]] = None, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        if self.function is None:
            return (topic, args, kwargs)
        return self.function(topic, *args, **kwargs)


class Gated(Producer):
    """Says that it has entered, then stays in its method until the gate is opened."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.asked: List[Tuple[Any, ...]] = []

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(args)
        self.entered.set()
        assert self.gate.wait(2 * PATIENCE), "nobody opened the gate"
        return args


class GatedOnce(Producer):
    """Waits for the gate it is given, then answers."""

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        gate, value = (*args, None)[:2]
        assert gate.wait(30)
        if isinstance(value, BaseException):
            raise value
        return value


class Recorder(ResultListener):
    """Remembers what it heard, as pairs of topic and response."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: List[Tuple[Any, Any]] = []
        self.news = threading.Condition()

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        with self.news:
            self.heard.append((topic, response))
            self.news.notify_all()

    def after(self, count: int) -> List[Tuple[Any, Any]]:
        """What it has heard once it has heard *count*."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.heard) >= count, PATIENCE), self.heard
            return list(self.heard)


class GatedListener(Recorder):
    """A recorder that stays in its callback until the gate is opened."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.entered = threading.Event()
        self.gate = threading.Event()

    def process_dispatcher_result(self, topic: Any, response: Any) -> None:
        self.entered.set()
        assert self.gate.wait(2 * PATIENCE), "nobody opened the gate"
        super().process_dispatcher_result(topic, response)


class Floor:
    """A started dispatcher with one producer and one listener, and a request on its way."""

    def __init__(self, produce: Callable[..., Any] = lambda *_: "value") -> None:
        self.dispatcher = Dispatcher()
        self.producer, self.listener = Answer(produce), Recorder()
        self.dispatcher.register_result_producer(self.producer, "t", start=True)
        self.dispatcher.register_result_listener(self.listener, "t", start=True)
        self.dispatcher.start()

    def stopped(self, *handles: Any) -> None:
        """Everything has ended, as it should after a stop."""
        ended(*handles)
        over(self.dispatcher, self.producer, self.listener)
        with pytest.raises(DispatcherStopped):
            self.dispatcher.send_request("t")
        sums_add_up(self.dispatcher)


def came(event: threading.Event) -> None:
    """Wait for *event*."""
    assert event.wait(PATIENCE), "it did not happen"


def over(*threads: threading.Thread) -> None:
    """Wait until *threads* have ended."""
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread.name} has not ended"


def all_over(but: Collection[threading.Thread]) -> None:
    """Wait until there is no thread *but* these, and dummies.

    A thread that another one is about to start is listed already, and cannot be joined yet.
    """
    end = time.monotonic() + PATIENCE
    while True:
        left = [
            thread
            for thread in set(threading.enumerate()).difference(but)
            if not isinstance(thread, threading._DummyThread)
        ]
        if not left:
            return
        assert time.monotonic() < end, f"{left} are left"
        time.sleep(0.001)


def ended(*handles: Any) -> None:
    """Wait until the requests have ended."""
    for handle in handles:
        assert handle.wait(PATIENCE), handle


def settle(dispatcher: Dispatcher) -> None:
    """Come back when the dispatcher has seen to whatever it was told before."""
    seen = threading.Event()
    dispatcher.send_request("nobody listens here").add_done_callback(lambda _: seen.set())
    came(seen)


def observers(dispatcher: Dispatcher) -> List[threading.Thread]:
    """The threads on which its hooks and done callbacks are called now: none or one."""
    name = f"{dispatcher.name}-observers"
    return [thread for thread in threading.enumerate() if thread.name == name]


def all_told(dispatcher: Dispatcher) -> None:
    """Wait until an ended dispatcher's hooks and done callbacks have been told everything."""
    over(*observers(dispatcher))


def sums_add_up(dispatcher: Dispatcher) -> None:
    """At a quiet moment nothing is open and every pair of request and producer has a verdict."""
    statistics = dispatcher.statistics()
    assert statistics.open == statistics.pending == 0, statistics
    assert statistics.fan_out == sum(statistics.verdicts.values()), statistics
    assert statistics.requests == sum(statistics.completions.values()), statistics


def only(handle: Any) -> Any:
    """The report's line on the only member."""
    (member,) = handle.report().members
    return member


def gone(reference: Callable[[], Any]) -> bool:
    """Whether the weakly referenced object is garbage."""
    for _ in range(3):
        if reference() is None:
            return True
        gc.collect()
    return reference() is None


@pytest.fixture
def gated() -> Iterator[Gated]:
    """A producer whose gate is opened at the end at the latest."""
    producer = Gated()
    yield producer
    producer.gate.set()
    producer.stop()
    if producer.ident is not None:
        over(producer)


def strike(action: Callable[[], Any], at: int, deed: Callable[[], Any]) -> bool:
    """Run *action*, and *deed* at the *at*-th moment of it inside the package.

    So a signal handler comes to run, except that here it is known when. The moments are those at
    which an interpreter looks for signals: at the entry of a function, behind a call, at a jump
    backwards; before 3.10 at nearly every instruction. False if *action* was over before; what
    *deed* raises comes out of *action*, or not, like any exception.
    """
    count = 0
    struck = False
    last: Dict[Any, int] = {}

    def moment(frame: Any, code: Any, here: int) -> None:
        nonlocal count, struck
        opcodes, there = _opcodes(code), last.get(frame, -1)
        last[frame] = here
        if struck or opcodes[here] in _NEVER:
            return
        back = opcodes[here] in _JUMPS if _LOOKS_BEFORE_JUMPS else here < there
        if there < 0 or back or "CALL" in opcodes[there] or _LOOKS_EVERYWHERE:
            count += 1
            if count == at:
                struck = True
                last.clear()
                deed()

    # What others have left is collected before or after: a finalizer of theirs is no part of it,
    # and what is raised in one is lost.
    collects = gc.isenabled()
    gc.disable()
    try:
        with _instructions(moment):
            action()
    finally:
        if collects:
            gc.enable()
    return struck


class Struck(BaseException):
    """What a signal handler raises: as KeyboardInterrupt, no `except Exception` stops it."""


def struck() -> None:
    """As a signal handler would."""
    raise Struck


def each_moment(action: Callable[[], Any], then: Callable[[], Any]) -> int:
    """Strike *action* at each moment it has in the package, *then* look; how many."""
    at = 0
    while True:
        at += 1
        try:
            if not strike(action, at, struck):
                return at
        except Struck:
            pass
        then()


@contextlib.contextmanager
def _instructions(tell: Callable[[Any, Any, int], None]) -> Iterator[None]:
    """Within the block ``tell(frame, code, offset)`` comes before each instruction of the package
    on this thread.
    """
    if sys.version_info >= (3, 12):
        # There settrace tells of instructions only in code that it knew before it began.
        monitoring, tool, me = sys.monitoring, sys.monitoring.DEBUGGER_ID, threading.get_ident()

        def told(code: Any, offset: int) -> None:
            if threading.get_ident() == me:
                tell(sys._getframe(1), code, offset)

        monitoring.use_tool_id(tool, "rig")
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, told)
        for code in _codes():
            monitoring.set_local_events(tool, code, monitoring.events.INSTRUCTION)
        try:
            yield
        finally:
            for code in _codes():
                monitoring.set_local_events(tool, code, 0)
            monitoring.register_callback(tool, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(tool)
    else:

        def inside(frame: Any, event: str, arg: Any) -> Any:
            if event == "opcode":
                tell(frame, frame.f_code, frame.f_lasti)
            return inside

        def entering(frame: Any, event: str, arg: Any) -> Any:
            if not frame.f_globals.get("__name__", "").startswith("ate_dispatcher"):
                return None
            frame.f_trace_opcodes = True
            return inside

        before = sys.gettrace()
        sys.settrace(entering)
        try:
            yield
        finally:
            sys.settrace(before)


_LOOKS_EVERYWHERE = sys.version_info < (3, 10)
_LOOKS_BEFORE_JUMPS = sys.version_info >= (3, 13)
_JUMPS = ("JUMP_BACKWARD",)
"""There it looks while it is still at the jump backwards, so that what covers the jump counts."""

_NEVER = ("SETUP_FINALLY", "SETUP_WITH", "CALL", "PRECALL")
"""Before these no interpreter looks: so nothing comes between a call and the `try` behind it."""


@functools.lru_cache(maxsize=None)
def _codes() -> List[Any]:
    """All code of the package that can be run, for 3.12 and later."""
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == ate_dispatcher.__name__
    ]
    things = [thing for module in modules for thing in vars(module).values()]
    for thing in things:
        if isinstance(thing, type) and thing.__module__.startswith(ate_dispatcher.__name__):
            things += vars(thing).values()
        elif isinstance(thing, property):
            things.append(thing.fget)
        elif isinstance(thing, (classmethod, staticmethod)):
            things.append(thing.__func__)
    package = os.path.dirname(ate_dispatcher.__file__)
    found = [
        thing.__code__
        for thing in things
        if isinstance(thing, types.FunctionType) and thing.__code__.co_filename.startswith(package)
    ]
    for code in found:
        found += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return list(dict.fromkeys(found))


@functools.lru_cache(maxsize=None)
def _opcodes(code: Any) -> Dict[int, str]:
    """The name of the instruction at each offset."""
    return {instruction.offset: instruction.opname for instruction in dis.get_instructions(code)}


CAST = """
    import sys, threading, time
    from ate_dispatcher import Completion, Dispatcher, Producer, ResultListener

    class Site(Producer):
        def produce_dispatcher_output(self, topic, *args, **kwargs):
            return args

    class Log(ResultListener):
        def __init__(self):
            super().__init__()
            self.heard = []

        def process_dispatcher_result(self, topic, response):
            self.heard.append(response)
"""


def _at_this_pace(code: str) -> str:
    code = textwrap.dedent(code)
    if sys.getswitchinterval() < 1e-4:
        code = f"import sys; sys.setswitchinterval({HECTIC})\n{code}"
    return code


def python(code: str, *flags: str, timeout: float = 50) -> subprocess.CompletedProcess[str]:
    """Run *code* in a fresh interpreter, at the pace of this one."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", _at_this_pace(code)],
        env={**os.environ, "PYTHONPATH": PACKAGE_PARENT},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    # What asyncio says with -X dev of a machine that is busy.
    done.stderr = re.sub(r"(?m)^Executing <.*> took \d+\.\d+ seconds\n", "", done.stderr)
    return done


def seconds_to_exit(code: str, limit: float) -> float:
    """Run *code*, which must print one line as the last thing it does: how long its exit takes."""
    process = subprocess.Popen(
        [sys.executable, "-c", _at_this_pace(code)],
        env={**os.environ, "PYTHONPATH": PACKAGE_PARENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            began = time.perf_counter()
            _, errors = process.communicate(timeout=limit)
            took = time.perf_counter() - began
        finally:
            process.kill()
    assert (line, process.returncode) == ("the end\n", 0), errors
    assert "Traceback" not in errors
    return took


def silent(code: str, *flags: str) -> None:
    """Run *code* in a fresh interpreter: it must exit 0 and print nothing."""
    done = python(code, *flags)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
