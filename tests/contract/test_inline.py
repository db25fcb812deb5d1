"""``Dispatcher(inline=True)``: the same, on the thread of the call, with no other thread."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Iterator, List, Tuple

import pytest
from rig import PATIENCE, Answer, Recorder, over

from ate_dispatcher import (
    Completion,
    Dispatcher,
    DispatcherError,
    DispatcherStopped,
    Overflow,
    Producer,
    ResultListener,
    Verdict,
)
from ate_dispatcher.errors import BadValue
from ate_dispatcher.testing import VirtualClock


def threads() -> List[threading.Thread]:
    """Those that are there, but for that of a test's timeout."""
    return [each for each in threading.enumerate() if not isinstance(each, threading.Timer)]


@pytest.fixture
def inline() -> Iterator[Dispatcher]:
    """Started; afterwards it has ended, and no thread was ever there."""
    before = threads()
    with Dispatcher(inline=True) as made:
        yield made
        assert threads() == before
    assert threads() == before
    statistics = made.statistics()
    assert statistics.open == statistics.pending == 0
    assert statistics.fan_out == sum(statistics.verdicts.values())


def listen(dispatcher: Dispatcher, log: List[Any], name: str, then: Any = None) -> ResultListener:
    """Writes what it hears into *log*, and does *then* with it."""

    def hear(topic: Any, value: Any) -> None:
        log.append((name, value))
        if then is not None:
            then(value)

    return dispatcher.register_result_listener(ResultListener(hear, name=name), "t", start=True)


def test_everything_is_done_when_the_call_returns(inline: Dispatcher) -> None:
    """Asked, answered and heard, in the order of the registrations."""
    log: List[Any] = []
    for name in ("a", "b"):
        inline.register_result_producer(
            Answer(lambda topic, number, name=name: (name, number)), "t", start=True
        )
    for name in ("x", "y"):
        listen(inline, log, name)
    handle = inline.send_request("t", 1)
    assert handle.done()
    assert handle.results() == [("a", 1), ("b", 1)]
    assert handle.report().complete
    assert log == [
        ("x", ("a", 1)),
        ("x", ("b", 1)),
        ("y", ("a", 1)),
        ("y", ("b", 1)),
    ]
    delivery = inline.publish("t", "value")
    assert delivery.done()
    assert delivery.report().complete
    assert log[4:] == [("x", "value"), ("y", "value")]


def test_all_is_on_the_thread_of_the_call(inline: Dispatcher) -> None:
    """Methods, set-up, hooks and done callbacks."""
    here: List[Tuple[str, int]] = []

    class Noting(Producer):
        def on_start(self) -> None:
            here.append(("start", threading.get_ident()))

        def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            here.append(("produce", threading.get_ident()))

        def on_stop(self) -> None:
            here.append(("stop", threading.get_ident()))

    noting = inline.register_result_producer(Noting(), "t", start=True)
    inline.add_hook(lambda event: here.append(("hook", threading.get_ident())))
    handle = inline.send_request("t")
    handle.add_done_callback(lambda _: here.append(("done", threading.get_ident())))
    noting.stop()
    assert not noting.is_alive()
    assert [what for what, _ in here if what != "hook"] == ["start", "produce", "done", "stop"]
    assert {thread for _, thread in here} == {threading.get_ident()}
    assert sum(what == "hook" for what, _ in here) == 3


def test_what_is_published_in_a_callback_is_heard_after_what_came_before(
    inline: Dispatcher,
) -> None:
    """Breadth first: no listener hears it before another has heard what it follows from."""
    log: List[Any] = []

    def again(value: int) -> None:
        if value < 3:
            inline.publish("t", value + 1)

    listen(inline, log, "x", again)
    listen(inline, log, "y")
    inline.publish("t", 1)
    assert log == [("x", 1), ("y", 1), ("x", 2), ("y", 2), ("x", 3), ("y", 3)]


def test_a_request_in_a_method_is_served_after_it(inline: Dispatcher) -> None:
    """And a wait for it there is refused, since it would wait for itself."""
    inner: List[Any] = []
    refused: List[str] = []

    def outer(topic: Any) -> str:
        inner.append(inline.send_request("inner"))
        try:
            inner[0].wait()
        except DispatcherError as error:
            refused.append(str(error))
        return "outer"

    inline.register_result_producer(outer, "outer", start=True)
    inline.register_result_producer(lambda topic: "inner", "inner", start=True)
    assert inline.send_request("outer").results() == ["outer"]
    assert inner[0].results() == ["inner"]
    assert "would wait for itself" in refused[0]


def test_deadlines_hold() -> None:
    """Who comes too late is late, and those after do not begin."""
    clock = VirtualClock()
    begun: List[Any] = []
    with Dispatcher(inline=True, clock=clock) as inline:
        inline.register_result_producer(lambda topic: clock.sleep(0.03), "t", start=True)
        inline.register_result_producer(lambda topic: begun.append(topic), "t", start=True)
        handle = inline.send_request("t", ttl=10)
    assert handle.completion is Completion.DEADLINE
    assert [member.verdict for member in handle.report().members] == [
        Verdict.LATE,
        Verdict.SKIPPED,
    ]
    assert begun == []


def test_errors_are_answers(inline: Dispatcher, caplog: pytest.LogCaptureFixture) -> None:
    """As ever; and a listener that raises disturbs nobody."""
    log: List[Any] = []

    def bad(value: Any) -> None:
        raise ValueError(value)

    inline.register_result_producer(Answer(lambda topic: 1 / 0), "t", start=True)
    listen(inline, log, "x", bad)
    listen(inline, log, "y")
    handle = inline.send_request("t")
    assert [member.verdict for member in handle.report().members] == [Verdict.ERROR]
    delivery = inline.publish("t", 1)
    assert [line.word for line in delivery.report().listeners] == ["ERROR", "OK"]
    assert log == [("x", 1), ("y", 1)]
    assert "raised while it" in caplog.text


def test_what_is_sent_before_the_start_waits_for_it() -> None:
    """And who is not started has no turn."""
    dispatcher = Dispatcher(inline=True)
    log: List[Any] = []
    listen(dispatcher, log, "x")
    early = dispatcher.publish("t", "early")
    assert (early.done(), log) == (False, [])
    dispatcher.start()
    assert early.done()
    assert log == [("x", "early")]
    later = dispatcher.register_result_producer(Answer(lambda topic: "later"), "t")
    handle = dispatcher.send_request("t")
    assert not handle.done()
    later.start()
    assert handle.results() == ["later"]
    with pytest.raises(DispatcherStopped, match="started before"):
        later.start()
    dispatcher.stop()
    assert not dispatcher.is_alive()
    with pytest.raises(DispatcherStopped):
        dispatcher.publish("t", "late")


def test_a_wait_lets_time_pass(inline: Dispatcher) -> None:
    """For a request that nobody answers, until its deadline; for ever it is refused."""
    inline.register_result_producer(Answer(), "t")
    handle = inline.send_request("t", ttl=30)
    began = time.perf_counter()
    assert handle.wait(PATIENCE)
    assert time.perf_counter() - began > 0.02
    assert handle.completion is Completion.DEADLINE
    with pytest.raises(DispatcherError, match="for ever"):
        inline.send_request("t", ttl=None).wait()


def test_a_second_thread_at_a_time_is_refused(inline: Dispatcher) -> None:
    """One after the other is all right."""
    found: List[Any] = []

    def other() -> None:
        try:
            found.append(inline.publish("t", "other").done())
        except DispatcherError as error:
            found.append(str(error))

    def let_other(value: Any = None) -> None:
        thread = threading.Thread(target=other)
        thread.start()
        over(thread)

    log: List[Any] = []
    listen(inline, log, "x", lambda value: let_other() if value == "mine" else None)
    let_other()
    inline.publish("t", "mine")
    assert found[0] is True
    assert "one thread at a time" in found[1]
    assert log == [("x", "other"), ("x", "mine")]


def test_streams_have_what_is_there(inline: Dispatcher) -> None:
    """To wait for more is refused."""
    with inline.subscribe("t", maxsize=2, overflow=Overflow.DROP_OLDEST) as stream:
        for number in range(3):
            inline.publish("t", number)
        assert [(item.value, item.lost) for item in (next(stream), next(stream))] == [
            (1, 1),
            (2, 0),
        ]
        assert stream.get(timeout=0) is None
        with pytest.raises(DispatcherError, match="for ever"):
            next(stream)


def test_exclusive_and_policies_and_streams_of_producers_work(inline: Dispatcher) -> None:
    """As with threads, but for what begins together."""
    log: List[Any] = []
    listen(inline, log, "x")

    class Parts(Producer):
        def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            yield 1
            yield 2

    inline.register_result_producer(Parts(stream=True, exclusive="psu"), "t", start=True)
    inline.register_result_producer(Answer(lambda topic: 3, exclusive="psu"), "t", start=True)
    assert inline.options(need="first").send_request("t").completion is Completion.QUORUM
    assert inline.send_request("t").results() == [1, 2, 3]
    assert [value for _, value in log][-3:] == [1, 2, 3]


def test_what_needs_threads_is_refused_at_the_door(inline: Dispatcher) -> None:
    """With the reason."""
    with pytest.raises(BadValue, match="barrier"):
        inline.options(barrier=True)
    with pytest.raises(BadValue, match="cannot be with an inline dispatcher: it has 2 workers"):
        inline.register_result_producer(Answer(workers=2), "t")
    with pytest.raises(BadValue, match="cannot be with an inline dispatcher: it has 2 workers"):
        inline.register_result_listener(Recorder(workers=2), "t")
    with pytest.raises(BadValue, match="deliver"):
        inline.register_result_listener(Recorder(deliver=print), "t")

    async def answer(topic: Any) -> None:
        """Would be awaited."""

    with pytest.raises(BadValue, match="async def"):
        inline.register_result_producer(Producer(answer), "t")
    early = Answer()
    early.start()
    with pytest.raises(BadValue, match="has a thread"):
        inline.register_result_producer(early, "t")
    early.stop()
    over(early)


def test_an_event_loop_may_use_it() -> None:
    """Nothing is left to be awaited."""

    async def main() -> Any:
        async with Dispatcher(inline=True) as dispatcher:
            dispatcher.register_result_producer(lambda topic: "value", "t", start=True)
            report = await dispatcher.send_request("t")
            return report.complete

    assert asyncio.run(main())


def test_a_stop_in_a_callback_lets_what_came_before_be_heard() -> None:
    """Then it ends, and cleans up."""
    log: List[Any] = []
    dispatcher = Dispatcher(inline=True)
    dispatcher.start()
    listen(dispatcher, log, "x", lambda value: dispatcher.stop() if value == 1 else None)
    listen(dispatcher, log, "y")
    delivery = dispatcher.publish("t", 1)
    assert log == [("x", 1), ("y", 1)]
    assert delivery.report().complete
    assert not dispatcher.is_alive()
