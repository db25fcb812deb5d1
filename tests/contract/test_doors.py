"""What cannot work is refused where it is handed in, and says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
import sys
import threading
import time
import traceback
from collections import abc
from decimal import Decimal
from fractions import Fraction
from typing import Any, AsyncIterator, Callable, Iterator, List
from unittest import mock

import pytest
from freezegun import freeze_time
from rig import PATIENCE, Answer, Gated, Recorder, ended, over, python, settle

from ate_dispatcher import Dispatcher, Producer, Quorum, ResultListener, Stall, Until
from ate_dispatcher.errors import (
    BadType,
    BadValue,
    DispatcherError,
    DispatcherStopped,
    RequestTimeout,
    VirtualTimeStuck,
)
from ate_dispatcher.testing import VirtualClock, computes


@pytest.fixture
def dispatcher() -> Any:
    """A started one."""
    with Dispatcher() as made:
        yield made


# -- async functions that nobody would await ---------------------------------------------------


async def asks(*_: Any) -> int:
    """A coroutine function."""
    return 1


async def streams(*_: Any) -> AsyncIterator[int]:
    """An asynchronous generator function."""
    yield 1


class Asks:
    """An object that is called like one."""

    async def __call__(self, *_: Any) -> int:
        return 1


ASYNC = [asks, streams, Asks(), functools.partial(asks, 1), functools.partial(Asks(), 1)]


@pytest.mark.parametrize("function", ASYNC, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize(
    "door",
    [
        lambda dispatcher, function: dispatcher.add_hook(function),
        lambda dispatcher, function: Dispatcher(hooks=[function]),
        lambda dispatcher, function: dispatcher.send_request("t").add_done_callback(function),
        lambda dispatcher, function: Until(function),
        lambda dispatcher, function: computes(function),
        lambda dispatcher, function: VirtualClock().thread(function),
    ],
    ids=["hook", "hooks", "callback", "predicate", "script", "thread"],
)
def test_async_functions_are_refused(
    dispatcher: Dispatcher, door: Callable[..., Any], function: Any
) -> None:
    """Their code would never run."""
    with pytest.raises(BadType, match="must not be async"):
        door(dispatcher, function)


def test_a_hook_is_told_at_once_whom_it_serves(dispatcher: Dispatcher) -> None:
    """Also nothing that could be awaited."""

    class Joining:
        async def joins(self, dispatcher: Dispatcher) -> None: ...

        def __call__(self, event: Any) -> None: ...

    with pytest.raises(BadType, match="joins of hook must not be async"):
        dispatcher.add_hook(Joining())


# -- participants that cannot serve ------------------------------------------------------------


def test_who_has_ended_is_refused(dispatcher: Dispatcher) -> None:
    """A second lot with the producers of the first, a notebook's cell run twice."""
    producer = Answer()
    dispatcher.register_result_producer(producer, "t", start=True)
    producer.stop()
    over(producer)
    for start in (True, False):
        with pytest.raises(BadValue, match=r"has ended.*make a new Answer"):
            dispatcher.register_result_producer(producer, "other", start=start)
    assert dispatcher.send_request("other").results() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_started", False),
        ("_started", threading.Event()),
        ("_stop", threading.Event()),
        ("_delete", None),
        ("_ident", "SN 123"),
        ("_initialized", 0),
        ("_bootstrap", print),
    ],
)
def test_names_that_threads_use_are_refused(dispatcher: Dispatcher, name: str, value: Any) -> None:
    """Before anything breaks, naming the attribute; also one that is set after the registration."""
    if not hasattr(threading.Thread(), name):
        pytest.skip("threads of this Python have no such attribute")
    producer = Answer()
    usual = {key: value for key, value in vars(producer).items() if key == name}
    dispatcher.register_result_producer(producer, "t")
    setattr(producer, name, value)
    for door in (
        producer.start,
        lambda: dispatcher.register_result_producer(producer, "other"),
    ):
        with pytest.raises(BadValue, match=f"{name} of Answer.* is a name that threading.Thread"):
            door()
    vars(producer).pop(name)
    vars(producer).update(usual)
    producer.start()
    assert dispatcher.send_request("t").wait(PATIENCE)


def test_a_method_that_threads_have_is_refused(dispatcher: Dispatcher) -> None:
    """A subclass cannot have one of its own by that name."""

    class Resetting(Answer):
        def _delete(self) -> None:
            """Not the thread's."""

    with pytest.raises(BadValue, match=r"_delete of Resetting.* is a name"):
        dispatcher.register_result_producer(Resetting(), "t")


def test_other_names_are_the_users(dispatcher: Dispatcher) -> None:
    """Also those of a thread that nothing reads."""

    class Site(Answer):
        def __init__(self) -> None:
            super().__init__()
            self._target = self._args = self._kwargs = self.state = self._mode = 1

    producer = Site()
    dispatcher.register_result_producer(producer, "t", start=True)
    assert dispatcher.send_request("t").report().members[0].producer == producer.name


def test_stop_takes_keywords_only(dispatcher: Dispatcher) -> None:
    """500 would have meant: at once."""
    with pytest.raises(TypeError):
        dispatcher.stop(500)  # type: ignore[call-arg]
    for wrong in (500, None, "no"):
        with pytest.raises(BadType, match="immediate must be True or False"):
            dispatcher.stop(immediate=wrong)  # type: ignore[arg-type]


# -- handles in event loops --------------------------------------------------------------------


def test_asyncio_waits_for_handles(dispatcher: Dispatcher) -> None:
    """As for futures: all of them, the first, those that come in time."""
    gate = threading.Event()
    slow = Answer(lambda *_: gate.wait(PATIENCE))
    dispatcher.register_result_producer(slow, "slow", start=True)
    dispatcher.register_result_producer(Answer(), "quick", start=True)

    async def waits() -> None:
        quick = dispatcher.send_request("quick", ttl=None)
        late = dispatcher.send_request("slow", ttl=None)
        both: Any = {quick, late}
        done, pending = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        assert (len(done), len(pending)) == (1, 1)
        assert quick.done()
        assert not late.done()
        if sys.version_info >= (3, 11):
            # Before that, what can be awaited is awaited by a task of its own.
            assert (done, pending) == ({quick}, {late})
        gate.set()
        await asyncio.wait(both, timeout=10)
        assert late.done()
        reports = await asyncio.gather(quick, late)
        assert [each.completion for each in reports] == [quick.completion, late.completion]
        for each in asyncio.as_completed([quick, late]):
            await each
        await asyncio.wait_for(late, 10)

    asyncio.run(waits())


def test_a_callback_that_is_added_in_a_loop_is_called_there(dispatcher: Dispatcher) -> None:
    """On the loop's thread, once; one that was removed is not."""
    gate = threading.Event()
    dispatcher.register_result_producer(Answer(lambda *_: gate.wait(PATIENCE)), "t", start=True)
    threads = []

    async def adds() -> None:
        called = asyncio.Event()

        def told(handle: Any) -> None:
            threads.append(threading.current_thread())
            called.set()

        def removed(handle: Any) -> None:
            threads.append(None)

        handle = dispatcher.send_request("t", ttl=None)
        handle.add_done_callback(removed)
        handle.add_done_callback(told)
        while not handle.remove_done_callback(removed):
            await asyncio.sleep(0.001)
        assert handle.remove_done_callback(removed) == 0
        gate.set()
        await asyncio.wait_for(called.wait(), PATIENCE)
        await asyncio.sleep(0)

    asyncio.run(adds())
    assert threads == [threading.main_thread()]


def test_a_callback_of_a_loop_that_is_closed_is_forgotten(dispatcher: Dispatcher) -> None:
    """It harms nobody."""
    gate = threading.Event()
    dispatcher.register_result_producer(Answer(lambda *_: gate.wait(PATIENCE)), "t", start=True)
    handle = dispatcher.send_request("t", ttl=None)

    async def adds() -> None:
        handle.add_done_callback(lambda _: None)

    asyncio.run(adds())
    gate.set()
    ended(handle)
    assert dispatcher.send_request("t").wait(PATIENCE)


# -- what tests patch --------------------------------------------------------------------------

FIRST_USE_IN_A_PATCH = """
import sys
from unittest import mock
import ate_dispatcher

with mock.patch.dict(sys.modules):
    dispatcher = ate_dispatcher.Dispatcher()

dispatcher.start()
ate_dispatcher._log.logger.disabled = True
assert dispatcher.options(need=ate_dispatcher.Quorum(1)).send_request("t").wait(5)
try:
    dispatcher.send_request("t").results(require="all")
except ate_dispatcher.IncompleteError:
    print("caught")
dispatcher.stop()
"""


def test_modules_that_are_patched_away_leave_one_copy_of_the_names() -> None:
    """``mock.patch.dict(sys.modules)`` forgets what was imported in it."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE_IN_A_PATCH], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("caught\n", "")


@contextlib.contextmanager
def sites(dispatcher: Dispatcher) -> Iterator[None]:
    """One that answers, one that hangs until the end."""
    hangs = Gated()
    dispatcher.register_result_producer(Answer(lambda *_: 1), "t", start=True)
    dispatcher.register_result_producer(hangs, "hung", start=True)
    yield
    hangs.gate.set()
    over(hangs)


def time_passes(dispatcher: Dispatcher) -> None:
    """Answers come, and deadlines pass, when they should."""
    assert dispatcher.send_request("t", ttl=None).results(timeout=PATIENCE) == [1]
    with pytest.raises(RequestTimeout):
        dispatcher.send_request("hung", ttl=None).results(timeout=0.05)
    hung = dispatcher.send_request("hung", ttl=50)
    assert hung.wait(PATIENCE)
    assert 50 <= hung.report().elapsed_ms < 1000 * PATIENCE


@pytest.mark.parametrize("started", ["before", "within"])
def test_a_frozen_date_freezes_nothing_of_ours(started: str) -> None:
    """Whether the dispatcher was started before or while time stood still."""
    dispatcher = Dispatcher()
    with contextlib.ExitStack() as stack:
        if started == "before":
            dispatcher.start()
            stack.enter_context(sites(dispatcher))
            stack.enter_context(freeze_time("2020-02-29"))
        else:
            stack.enter_context(freeze_time("2020-02-29"))
            dispatcher.start()
            stack.enter_context(sites(dispatcher))
        time_passes(dispatcher)
        dispatcher.stop(immediate=True)


def test_a_thread_that_blocks_is_reported_while_the_date_is_frozen() -> None:
    """A virtual clock has its patience in real time."""
    clock = VirtualClock(patience=0.2)
    gate = threading.Event()
    blocks = clock.thread(gate.wait, PATIENCE)
    with freeze_time("2020-02-29"):
        blocks.start()
        with pytest.raises(VirtualTimeStuck):
            clock.advance(1)
    gate.set()
    over(blocks)
    clock.stop()


@pytest.mark.parametrize(
    "name",
    [
        "time.perf_counter",
        "time.monotonic",
        "time.sleep",
        "time.time",
        "queue.SimpleQueue",
        "queue.Empty",
        "threading.current_thread",
        "threading.Thread",
        "threading.enumerate",
        "logging.getLogger",
    ],
)
def test_what_a_test_patches_is_not_ours(name: str) -> None:
    """A mock in the place of a function of the standard library changes nothing for us."""
    dispatcher = Dispatcher()
    with sites(dispatcher), mock.patch(name):
        dispatcher.start()
        time_passes(dispatcher)
        dispatcher.stop(immediate=True)
        dispatcher.join(PATIENCE)
    assert not dispatcher.is_alive()


# -- what was silent ---------------------------------------------------------------------------


def told(caplog: pytest.LogCaptureFixture, text: str) -> int:
    """How many warnings of ours have *text* in them."""
    return sum(text in each.getMessage() for each in caplog.records)


def soon_told(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    """Whether there is one before long."""
    until = time.monotonic() + PATIENCE
    while not told(caplog, text) and time.monotonic() < until:
        time.sleep(0.001)
    return told(caplog, text) == 1


def test_a_ttl_through_a_sender_that_has_none_is_refused(dispatcher: Dispatcher) -> None:
    """It was meant as an option; with a ttl among the options it is a keyword of the producers."""
    kept: List[Any] = []
    dispatcher.register_result_producer(Answer(lambda *_, **k: kept.append(k)), "t", start=True)
    with pytest.raises(BadValue, match=r"options\(ttl=50, need=1\)\.send_request"):
        dispatcher.options(need=1).send_request("t", ttl=50)
    for named in (5000, 5000.0, None):
        dispatcher.options(ttl=named).send_request("t", ttl=50).wait(PATIENCE)
    assert kept == [{"ttl": 50}] * 3


@pytest.mark.parametrize("policy", [Quorum(3), Until(bool), Quorum(1) | Stall(5)])
def test_a_policy_among_the_keywords_is_refused(dispatcher: Dispatcher, policy: Any) -> None:
    """No producer wants one."""
    for sender in (dispatcher, dispatcher.options(ttl=5)):
        with pytest.raises(BadValue, match=r"dispatcher\.options\(need=\.\.\.\)"):
            sender.send_request("t", need=policy)


KEYWORDS = """
from ate_dispatcher import Dispatcher

for name in ("only", "barrier", "only", "mode"):
    Dispatcher().send_request("t", **{name: 1})
"""


def test_keywords_that_are_options_elsewhere_are_told_of_once() -> None:
    """They go to the producers all the same."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            KEYWORDS,
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 2, lines
    assert "only= in send_request goes to the producers" in lines[0]
    assert "dispatcher.options(barrier=...)" in lines[1]


def test_a_topic_that_nobody_is_on_is_told_of_once(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    """With the one that reads alike; not if somebody is registered and off."""
    producer = Answer()
    dispatcher.register_result_producer(producer, "typo", start=True)
    for _ in range(3):
        assert dispatcher.send_request("tpyo").results() == []
    assert soon_told(caplog, "nobody is registered for topic 'tpyo', but for 'typo'")
    dispatcher.send_request(17).wait()
    assert soon_told(caplog, "nobody is registered for topic 17; producers are on 'typo'")
    dispatcher.disable(producer)
    dispatcher.send_request("typo").wait()
    dispatcher.stop()
    dispatcher.join(PATIENCE)
    assert told(caplog, "nobody is registered") == 2


def test_a_tuple_of_texts_as_a_topic_is_told_of(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be meant."""
    producer = Answer(lambda *_: 1)
    dispatcher.register_result_producer(producer, ("a", "b"), ("site", 3), start=True)
    assert told(caplog, "the tuple ('a', 'b') is registered as one topic") == 1
    assert told(caplog, "register_...(participant, 'a', 'b')") == 1
    dispatcher.register_result_producer(producer, ("a", "b"))
    assert told(caplog, "the tuple") == 1
    assert dispatcher.send_request(("a", "b")).results() == [1]


def test_a_callback_that_is_misspelt_is_told_of(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    """A listener would wait for it in vain."""

    class Hearing(ResultListener):
        def process_dispatcher_result(self, topic: Any, result: Any) -> None:
            pass

        def process_dispatcher_errors(self, topic: Any, reply: Any) -> None:
            pass

        def process_lot(self) -> None:
            pass

    for _ in range(2):
        dispatcher.register_result_listener(Hearing(), "t")
    assert told(caplog, "process_dispatcher_errors is never called; process_dispatcher_e") == 1
    assert told(caplog, "is never called") == 1


@pytest.mark.parametrize("side", ["producer", "listener"])
@pytest.mark.parametrize(
    ("name", "meant"),
    [("onStart", "on_start"), ("on_started", "on_start"), ("on_sop", "on_stop"), ("on_step", "")],
)
def test_a_set_up_that_is_misspelt_is_told_of(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture, side: str, name: str, meant: str
) -> None:
    """Nothing would be opened, or switched off."""
    base: Any = Answer if side == "producer" else Recorder
    kind = type("Site", (base,), {name: lambda self: None})
    getattr(dispatcher, f"register_result_{side}")(kind(), "t")
    assert told(caplog, f"Site.{name} is never called; {meant} would be") == bool(meant)
    assert told(caplog, "is never called") == bool(meant)


def test_a_ttl_in_seconds_is_told_of(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a millisecond is hardly what half a second was meant to be; once is enough."""
    dispatcher.register_result_producer(Answer(), "t", start=True)
    for ttl in (0, 1, 0.5, 0.25, 0.5):
        dispatcher.send_request("t", ttl=ttl).wait(PATIENCE)
    dispatcher.options(ttl=0.5).send_request("t").wait(PATIENCE)
    settle(dispatcher)
    assert told(caplog, "ttl=0.5 is less than a millisecond") == 1
    assert told(caplog, "less than a millisecond") == 1


def test_who_is_left_behind_by_a_with_block_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """It hangs in its method."""
    clock = VirtualClock()
    with Dispatcher(clock=clock) as dispatcher:
        hung = Answer(lambda *_: clock.sleep(1e6), name="psu")
        dispatcher.register_result_producer(hung, "t", start=True)
        dispatcher.register_result_producer(Answer(), "t", start=True)
        dispatcher.send_request("t", ttl=100)
    assert told(caplog, "2 s after the end of the with block these have not ended: psu") == 1
    clock.stop()


# -- by name, and to the nanosecond ------------------------------------------------------------


def test_producers_are_disabled_and_enabled_by_name(dispatcher: Dispatcher) -> None:
    """As reports name them; one that is not there is refused, with those that are."""
    for name in ("site 1", "site 2", "site 2"):
        producer = Answer(lambda *_, name=name: name, name=name)
        dispatcher.register_result_producer(producer, "t", start=True)
    dispatcher.disable("site 2")
    assert dispatcher.send_request("t").results() == ["site 1"]
    assert dispatcher.send_request("t").report().off == ("site 2", "site 2")
    dispatcher.enable("site 2")
    assert len(dispatcher.send_request("t").results()) == 3
    for switch in (dispatcher.disable, dispatcher.enable):
        with pytest.raises(
            BadValue, match="'site 3' is not registered; there is 'site 1', 'site 2'"
        ):
            switch("site 3")
        with pytest.raises(BadType, match="a Producer or the name of one, not 3"):
            switch(3)  # type: ignore[arg-type]


def test_times_of_reports_are_what_a_test_has_written() -> None:
    """Not a billionth of a millisecond beside it."""
    clock = VirtualClock()
    dispatcher = Dispatcher(clock=clock)
    dispatcher.start()
    times = iter(range(301, 350))
    producer = Answer(lambda *_: clock.sleep(next(times) / 1000))
    dispatcher.register_result_producer(producer, "t", start=True)
    for late in range(1, 50):
        handle = dispatcher.send_request("t", ttl=300)
        clock.advance(400)
        (line,) = handle.report().members
        assert (line.late_ms, line.ran_ms) == (late, 300 + late)
    dispatcher.stop()
    clock.settle()
    clock.stop()


def test_a_listener_that_was_never_started_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """At the stop, once, if it had anything to hear."""
    with Dispatcher() as dispatcher:
        dispatcher.register_result_producer(Answer(lambda *_: 1), "t", start=True)
        deaf, idle = Recorder(name="deaf"), Recorder(name="idle")
        dispatcher.register_result_listener(deaf, "t")
        dispatcher.register_result_listener(idle, "other")
        for _ in range(3):
            dispatcher.send_request("t", ttl=None).wait(PATIENCE)
    assert soon_told(
        caplog, "listener deaf has not been started: 3 results and reports wait for it"
    )
    assert told(caplog, "has not been started") == 1


# -- numbers of any library ----------------------------------------------------------------------


class Whole:
    """A whole number as other libraries have them: an index, and nothing of Python's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"Whole({self.value})"


class Real:
    """A real number likewise."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return f"Real({self.value})"


@pytest.mark.parametrize("number", [Decimal("0.25"), Fraction(1, 4), Real(0.25)], ids=repr)
def test_a_duration_is_any_real_number(dispatcher: Dispatcher, number: Any) -> None:
    """At every door."""
    dispatcher.register_result_producer(Answer(lambda *_: 1), "t", start=True)
    handle = dispatcher.send_request("t", ttl=number)
    assert handle.wait(PATIENCE)
    assert handle.report().ttl_ms == 0.25
    assert dispatcher.options(ttl=number, need=Stall(number)).send_request("t").wait(Real(PATIENCE))
    assert dispatcher.options(ttl=number, barrier=number).send_request("t").wait(PATIENCE)


def test_a_number_of_things_is_any_whole_number(dispatcher: Dispatcher) -> None:
    """Stored as one of Python's, so that reports show it as such."""
    assert str(Quorum(Whole(2))) == "Quorum(2)"  # type: ignore[arg-type]
    dispatcher.register_result_producer(Answer(lambda *_: 1, workers=Whole(2)), "t", start=True)
    sender = dispatcher.options(need=Whole(1))  # type: ignore[arg-type]
    report = asyncio.run(awaited(sender.send_request("t")))
    assert report.policy == "Quorum(1)"


async def awaited(handle: Any) -> Any:
    """What it gives."""
    return await handle


@pytest.mark.parametrize("wrong", [True, 1.5, "2", Whole(0), Whole(-1), None, Real(2.0)], ids=repr)
def test_what_is_no_number_of_things_is_refused(wrong: Any) -> None:
    """Naming what was meant."""
    with pytest.raises((BadType, BadValue), match="n must be"):
        Quorum(wrong)
    with pytest.raises((BadType, BadValue), match="workers must be"):
        Answer(workers=wrong)


# -- smaller kinds ---------------------------------------------------------------------------------


class LikeCython(abc.Generator):  # type: ignore[type-arg]
    """A generator that is none of Python's own."""

    def __init__(self) -> None:
        self.values = [1, 2]

    def send(self, value: Any) -> Any:
        return self.throw(StopIteration) if not self.values else self.values.pop(0)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        raise kind


def test_any_generator_streams(dispatcher: Dispatcher) -> None:
    """Whatever made it."""
    site = Answer(lambda *_: LikeCython(), stream=True)
    dispatcher.register_result_producer(site, "t", start=True)
    assert dispatcher.send_request("t", ttl=None).results(PATIENCE) == [1, 2]


def test_an_error_that_is_raised_again_and_again_does_not_grow(dispatcher: Dispatcher) -> None:
    """It has the producer's frames, and those of whoever raises it now."""

    def broken(*_: Any) -> None:
        raise OSError("no contact")

    dispatcher.register_result_producer(Answer(broken), "t", start=True)
    (reply,) = list(dispatcher.send_request("t", ttl=None))

    def frames() -> List[str]:
        with pytest.raises(OSError, match="no contact") as caught:
            reply.unwrap()
        return [each.name for each in traceback.extract_tb(caught.value.__traceback__)]

    first = frames()
    assert first[:2] == ["frames", "unwrap"]
    assert first[-1] == "broken"
    assert [frames() for _ in range(3)] == [first] * 3


def test_a_clock_that_lacks_a_method_is_refused_at_once() -> None:
    """Not when it is started."""

    class Half:
        now = parker = adopt = staticmethod(time.monotonic)

    half: Any = Half()
    with pytest.raises(BadType, match=r"clock must have the method \w+\(\), .*Half"):
        Dispatcher(clock=half)


def test_every_keyword_goes_through_a_sender(dispatcher: Dispatcher) -> None:
    """Also those that its own parameters are called by."""

    class Site(Producer):
        def produce_dispatcher_output(self, _: Any, /, **kwargs: Any) -> Any:
            return kwargs

    dispatcher.register_result_producer(Site(), "t", start=True)
    sender = dispatcher.options(ttl=None)
    handle = sender.send_request("t", topic=1, ttl=2)
    assert handle.results(PATIENCE) == [{"topic": 1, "ttl": 2}]


def test_waiting_in_no_event_loop_says_what_is_needed(dispatcher: Dispatcher) -> None:
    """As under trio, which has another kind of loop."""
    dispatcher.register_result_producer(Answer(lambda *_: time.sleep(0.1)), "t", start=True)
    with pytest.raises(DispatcherError, match=r"await trio.to_thread.run_sync\(handle.wait\)"):
        dispatcher.send_request("t").__await__().send(None)


def test_a_topic_that_options_leave_nobody_on_is_not_taken_for_a_mistake(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    """It has producers; whoever sends wants none of them."""
    dispatcher.register_result_producer(Answer(), "t", start=True)
    assert dispatcher.options(only=()).send_request("t").results(PATIENCE) == []
    dispatcher.stop()
    dispatcher.join()
    assert caplog.records == []


def test_what_is_easily_meant_otherwise_at_a_registration(
    dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    """A generator that does not stream; True and a list among the topics."""

    class Yields(Producer):
        def produce_dispatcher_output(self, topic: Any) -> Iterator[int]:
            yield 1

    dispatcher.register_result_producer(Yields(stream=True), "t")
    assert caplog.records == []
    for _ in range(2):
        dispatcher.register_result_producer(Yields(), "t")
    assert told(caplog, "made with stream=True each value that it yields is one") == 1
    with pytest.raises(BadType, match="to start producers write start=True"):
        dispatcher.register_result_producer(Answer(), "t", True)
    with pytest.raises(BadType, match="several topics are arguments of their own"):
        dispatcher.register_result_producer(Answer(), ["a", "b"])  # type: ignore[arg-type]


# -- what was forgotten, or is over --------------------------------------------------------------


def test_a_dispatcher_that_was_never_started_is_named_at_the_exit() -> None:
    """With how much it has kept in vain; one that has kept nothing, or was stopped, is not."""
    done = python(
        """
        from ate_dispatcher import Dispatcher, Producer
        forgotten, idle, stopped = Dispatcher(name="rig"), Dispatcher(), Dispatcher()
        for dispatcher in (forgotten, stopped):
            dispatcher.register_result_producer(Producer(lambda topic: 1), "t", start=True)
            dispatcher.register_result_listener(lambda topic, value: 1, "t", start=True)
            dispatcher.send_request("t", ttl=None)
            dispatcher.publish("t", 1)
        stopped.stop()
        """
    )
    assert done.returncode == 0
    assert done.stderr.count("was never started") == 1
    assert "rig was never started: 2 requests and values were kept for that" in done.stderr


def test_a_request_without_a_ttl_says_that_nobody_has_started_its_dispatcher(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As one with a ttl does at that."""
    clock = VirtualClock()
    dispatcher = Dispatcher(clock=clock)
    dispatcher.register_result_producer(Answer(), "t")
    handle = dispatcher.send_request("t", ttl=None)
    with pytest.raises(RequestTimeout):
        handle.results(timeout=5)
    assert told(caplog, "request 1 waits for its dispatcher to be started") == 1
    dispatcher.stop()
    clock.stop()


def test_what_was_stopped_says_what_to_do() -> None:
    """A with block, a start: make a new one."""
    dispatcher = Dispatcher(name="rig")
    with dispatcher:
        pass
    with pytest.raises(DispatcherStopped, match="rig was stopped; make a new dispatcher"):
        dispatcher.__enter__()
    with pytest.raises(RuntimeError, match=r"rig was started before, .*make a new Dispatcher"):
        dispatcher.start()
    site = Answer(name="site")
    site.start()
    with pytest.raises(RuntimeError, match=r"site was started before, .*make a new Answer"):
        site.start()
    site.stop()
    over(site)
