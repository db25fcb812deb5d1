"""Options, what is logged, and requests without a deadline; on virtual time."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from rig import came, observers
from virtual import FOREVER, Payload, World, logged, world

from ate_dispatcher import (
    Completion,
    Dispatcher,
    DispatcherError,
    Producer,
    ResultListener,
    Verdict,
)
from ate_dispatcher.testing import VirtualClock

__all__ = ["world"]


def test_options_bind_the_ttl_and_leave_every_keyword_to_the_producers(world: World) -> None:
    """Even one called ttl; a sender may be used again and again."""
    producer = world.producer([10, 200])
    sender = world.dispatcher.options(ttl=100)
    assert sender.send_request("t", 1, ttl="theirs", topics=2).results() == ["value"]
    assert producer.asked == [(0, "t", (1,), {"ttl": "theirs", "topics": 2})]
    handle = sender.send_request("t")
    assert handle.results() == []
    assert handle.report().ttl_ms == 100
    assert world.dispatcher.options(ttl=None).send_request("t").report().ttl_ms is None


def test_debug_shows_the_traffic_if_it_is_on_before_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Names, verdicts and times; no payload."""
    caplog.set_level(logging.DEBUG, "ate_dispatcher")
    world = World()
    world.producer(10, Payload(), name="site 9")
    world.send(Payload(), key=Payload()).wait()
    world.clock.settle()
    lines = [record.getMessage() for record in logged(caplog, logging.DEBUG)]
    assert len(lines) == 3
    for line, kind in zip(lines, ["RequestOpened", "ReplyAccepted", "RequestCompleted"]):
        assert kind in line
        assert "site 9" in line
    world.close()


def test_without_debug_there_is_no_traffic_and_no_observer(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Free on the hot path."""
    world.producer(10)
    world.send().wait()
    world.clock.settle()
    assert not observers(world.dispatcher)
    assert not [r for r in caplog.records if r.name == "ate_dispatcher"]


def test_a_producer_that_was_asked_but_never_started_is_warned_of_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of them, by name."""
    world.producer(start=False, name="asleep")
    world.producer(start=False, name="absent")
    for _ in range(3):
        world.send(ttl=10).wait()
    world.clock.settle()
    messages = [record.getMessage() for record in logged(caplog, logging.WARNING)]
    assert messages == [
        "producer asleep was asked but never started",
        "producer absent was asked but never started",
    ]


def test_one_that_starts_in_time_is_not_warned_of(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The order of start, registration and send does not matter."""
    producer = world.producer(start=False)
    handle = world.send(ttl=100)
    world.clock.advance(50)
    producer.start()
    assert handle.results() == ["value"]
    assert not logged(caplog, logging.WARNING)


def test_a_request_without_deadline_waits_as_long_as_it_takes(world: World) -> None:
    """Between others that expire; and it ends by answer, cancel or stop alone."""
    world.producer([3e7, FOREVER])
    answered, cancelled, stopped = [world.send(ttl=None) for _ in range(3)]
    for _ in range(3):
        world.send(ttl=10, topic="nobody")
        world.send(ttl=10).wait()
    world.clock.advance(2e7)
    assert not answered.done()
    assert answered.results() == ["value"]
    world.clock.advance(1e7)
    assert not cancelled.done()
    cancelled.cancel()
    assert list(cancelled) == []
    world.dispatcher.stop(drain=100)
    stopped.wait()
    assert stopped.completion is Completion.STOPPED


class Hasty(Producer):
    """Answers at once."""

    def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
        return args


def test_a_wait_for_a_dispatcher_that_nobody_started_says_so(caplog: Any) -> None:
    """Nothing ends before the start; whoever waits beyond the ttl finds a line in the log."""
    dispatcher = Dispatcher(name="rig")
    dispatcher.register_result_producer(Hasty(), "t", start=True)
    handle = dispatcher.send_request("t", ttl=1)
    with caplog.at_level(logging.WARNING, logger="ate_dispatcher"):
        assert handle.wait(0.05) is False
    assert [record.getMessage() for record in caplog.records] == [
        f"request {handle.id} waits for its dispatcher to be started"
    ]
    with dispatcher:
        assert handle.results() == []
    assert handle.completion is Completion.DEADLINE


class SlowToOpen(Dispatcher):
    """Started, but its thread comes to its loop only when the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def run(self) -> None:
        came(self.gate)
        super().run()


def test_of_a_dispatcher_that_is_only_slow_to_start_that_is_not_said(caplog: Any) -> None:
    """Somebody did call its start(): nobody has forgotten anything."""
    dispatcher = SlowToOpen()
    dispatcher.register_result_producer(Hasty(), "t", start=True)
    with dispatcher:
        handle = dispatcher.send_request("t", ttl=1)
        assert handle.wait(0.05) is False
        dispatcher.gate.set()
        assert handle.results() == []
    assert handle.completion is Completion.DEADLINE
    assert logged(caplog, logging.WARNING) == []


@pytest.mark.parametrize("ms", [None, float("inf"), float("nan"), -1, "5", True])
def test_a_clock_is_not_advanced_by_what_is_no_duration(ms: Any) -> None:
    """Refused at the call, by name."""
    with pytest.raises(DispatcherError, match="ms must be"):
        VirtualClock().advance(ms)


def test_a_second_stop_of_an_ended_producer_takes_nobodys_request() -> None:
    """Whoever asks a producer that has ended is told so, whatever else reaches its mailbox."""
    with Dispatcher() as dispatcher:
        producer = Hasty()
        dispatcher.register_result_producer(producer, "t", start=True)
        producer.stop()
        producer.join(30)
        assert not producer.is_alive()
        for _ in range(50):
            handle = dispatcher.send_request("t", ttl=None)
            producer.stop()
            assert handle.wait(30)
            assert [line.verdict for line in handle.report().members] == [Verdict.DECLINED]


def test_nobody_is_a_producer_and_a_listener_at_once() -> None:
    """One thread serves one kind of message; the mixture is refused at the call."""

    class Both(Producer, ResultListener):
        def produce_dispatcher_output(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            return args

        def process_dispatcher_result(self, topic: Any, response: Any) -> None:
            pass

    with pytest.raises(DispatcherError, match="at once"):
        Dispatcher().register_result_producer(Both(), "t")


def test_records_tell_whom_and_what_they_are_about(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """As attributes, which every record of ours has; so a format string may name them."""
    world.producer(0, ValueError("x"), name="site")
    handle = world.send(topic="t")
    handle.wait()
    world.send(topic="tpyo")
    world.clock.settle()
    found = [
        (vars(record)["request"], vars(record)["topic"], vars(record)["producer"])
        for record in caplog.records
    ]
    assert found == [(handle.id, "t", "site"), (None, "tpyo", None)]
    formatter = logging.Formatter("%(request)s %(topic)s %(producer)s")
    assert formatter.format(caplog.records[1]) == "None tpyo None"


def test_a_program_that_sets_the_same_fields_loses_no_record(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own record factory, as frameworks do; its fields stay."""
    usual = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = usual(*args, **kwargs)
        record.request = "web"
        return record

    logging.setLogRecordFactory(factory)
    try:
        world.producer(0, ValueError("x"), name="site")
        world.send().wait()
        world.clock.settle()
    finally:
        logging.setLogRecordFactory(usual)
    (record,) = caplog.records
    assert record.getMessage() == "site raised while it served request 1"
    assert vars(record)["request"] == "web"
