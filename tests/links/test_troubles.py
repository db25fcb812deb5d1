"""Events that meet on a link, and what must not grow; on virtual time."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any, List

import pytest
from inside import THE_SECTION, engine_of, is_watched
from parts import NAMESPACE, Parts, parts
from rig import PATIENCE
from test_hostile import Stranger, here

from ate_dispatcher import (
    Completion,
    ConnectionFailed,
    Dispatcher,
    DispatcherError,
    IncompleteError,
    Quorum,
    Standing,
    Verdict,
)
from ate_dispatcher.testing import Timeline, Wire

__all__ = ["parts"]


def verdicts(handle: Any) -> List[Verdict]:
    return [each.verdict for each in handle.report().members]


def test_two_of_one_name_do_not_shout_at_each_other(parts: Parts) -> None:
    """One was silent while the other took its name: when it is back, one of them leaves."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 0, "first")
    parts.clock.advance(1500)
    parts.wire.silence("b")
    first = parts.connections["b"]
    parts.part("b")
    parts.producer("b", 0, "second")
    parts.clock.advance(4000)
    before = parts.counted("a", "messages_in")
    parts.wire.heal("b")
    parts.clock.advance(3000)
    assert parts.counted("a", "messages_in") - before < 30
    both = [first, parts.connections["b"]]
    assert sorted(each.is_connected for each in both) == [False, True]
    assert len(parts.ask("a").results()) == 1


def test_a_name_that_is_taken_is_left_also_in_the_background(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """With ``wait=False`` nobody is there to be told: it is logged, and the first one goes on."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 0, "far")
    parts.part("second", connect=False)
    second = parts.dispatchers["second"].connect(
        parts.wire.transport(), namespace=NAMESPACE, name="b", wait=False
    )
    parts.clock.advance(5000)
    assert not second.is_connected
    assert "is taken" in caplog.text
    assert parts.counted("a", "gone") == 0
    assert parts.ask("a").results() == ["far"]


def test_who_is_not_connected_does_not_blame_those_it_cannot_ask(parts: Parts) -> None:
    """The report of a request to known members says why they could not be asked as it was sent."""
    for name in ("a", "b"):
        parts.part(name)
    parts.producer("b", 0, "far", name="far")
    assert parts.ask("a").report().unreached is None
    parts.wire.cut("a")
    parts.clock.settle()
    handle = parts.ask("a", ttl=50)
    assert handle.results() == []
    assert verdicts(handle) == [Verdict.SKIPPED]
    assert handle.report().unreached == "cut off"
    parts.wire.heal("a")
    parts.clock.advance(50)
    assert parts.ask("a").results() == ["far"]


def test_what_waits_for_a_connection_is_not_more_than_there_is_room_for(parts: Parts) -> None:
    """Then the call says so; what is shorter may go on, and all that waited is answered."""
    for name in ("a", "b"):
        parts.part(name)
    parts.producer("b", 0, lambda topic, what: len(what), name="far")
    parts.wire.cut("a")
    parts.clock.settle()
    large, handles = "x" * 1_000_000, []

    def ask() -> None:
        for _ in range(100):
            handles.append(parts.ask("a", large, ttl=None))
            parts.clock.settle()

    with pytest.raises(ConnectionFailed, match=r"no room for one more of 10000\d\d bytes: cut off"):
        ask()
    assert 60 <= len(handles) <= 70
    handles.append(parts.ask("a", "short", ttl=None))
    parts.wire.heal("a")
    parts.clock.advance(1_000)
    assert [each.results() for each in handles] == [[1_000_000]] * (len(handles) - 1) + [[5]]
    assert parts.ask("a", large, ttl=1_000).results() == [1_000_000]


def test_a_request_to_nobody_says_that_the_connection_is_not_up(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """Its report, its error, its picture and the log, which says anew what is true of all parts."""
    timeline = Timeline()
    a = parts.part("a", hooks=[timeline])
    parts.wire.cut("a")
    parts.clock.settle()
    why = "not connected: cut off"
    for handle in (parts.ask("a"), parts.ask("a", members="open", ttl=50)):
        with pytest.raises(IncompleteError, match=why):
            handle.results(require="all")
        assert handle.report().unreached == handle.report().to_dict()["unreached"] == "cut off"
        assert str(handle.report()).splitlines()[0].endswith(f", {why}")
    a.publish("amps", 1)
    parts.clock.settle()
    assert str(timeline).count(f", {why}\n") == 2
    assert f"topic 'volts'; no producer is on any; {why}; said once" in caplog.text
    assert f"nobody listens on topic 'amps'; no listener is on any; {why}; said once" in caplog.text
    parts.wire.heal("a")
    parts.clock.settle()
    caplog.clear()
    handle = parts.ask("a")
    parts.clock.settle()
    assert handle.report().unreached is None
    assert "topic 'volts'; no producer is on any; said once" in caplog.text
    with pytest.raises(IncompleteError) as caught:
        handle.results(require="all")
    assert "connected" not in str(caught.value)


def test_who_has_left_by_itself_can_connect_again(parts: Parts) -> None:
    """By another name; the connection before is in nobody's way."""
    parts.part("a")
    parts.part("b")
    parts.part("second", connect=False)
    parts.dispatchers["second"].connect(
        parts.wire.transport(), namespace=NAMESPACE, name="b", wait=False
    )
    parts.clock.advance(1000)
    second = parts.dispatchers["second"]
    second.connect(parts.wire.transport(), namespace=NAMESPACE, name="c")
    parts.clock.advance(5)
    assert parts.connections["a"].parts == ("b", "c")


def test_a_connection_that_was_left_is_not_told_of_registrations(parts: Parts) -> None:
    """Neither one that failed, nor one that ended: nothing of them grows."""
    parts.part("a")
    second = parts.part("second", connect=False)
    for _ in range(3):
        with pytest.raises(DispatcherError, match="taken"):
            second.connect(parts.wire.transport(), namespace=NAMESPACE, name="a")
    for _ in range(3):
        connection = parts.connect("second")
        connection.disconnect()
        parts.clock.advance(10)
        assert connection.join(1)
    assert not is_watched(second)


def test_the_first_request_is_not_executed_after_its_end(parts: Parts) -> None:
    """Also if it is held up before anything else that tells the clocks apart has come."""
    parts.part("b")
    parts.part("a")
    far = parts.producer("b", 0, "far")
    parts.wire.delay(300, "a", "b")
    handle = parts.ask("a", ttl=100)
    parts.clock.advance(500)
    assert verdicts(handle) == [Verdict.SKIPPED]
    assert not far.asked


def test_clocks_that_jump_apart_come_together_again(parts: Parts) -> None:
    """A machine that was paused is late by its clock for good: not for ever is it late for us."""
    from ate_dispatcher.links.parts import Part

    part = Part("x", "i", 0.0)
    now = 0.0
    for _ in range(100):
        now += 1.0
        assert part.delayed(now - 0.01, now) < 0.01
    # It comes 2 s behind, always.
    lates = []
    for _ in range(300):
        now += 1.0
        lates.append(part.delayed(now - 2.01, now))
    assert lates[0] == pytest.approx(2, abs=0.05)
    assert lates[-1] < 0.1


def test_a_further_element_of_a_verdict_is_ignored(parts: Parts) -> None:
    """As those of frames are: what is newer may say more."""
    parts.part("a")
    stranger = Stranger(parts)
    stranger.say(here(topics={"mine": [7]}, names={"7": "x"}))
    parts.clock.advance(5)
    handle = parts.dispatchers["a"].send_request("mine", ttl=20)
    parts.clock.advance(30)
    stranger.say(json.dumps(["end", handle.id, [[7, "missing", "queued", "new"]]]).encode())
    parts.clock.advance(5)
    assert handle.report().members[0].standing.value == "queued"


def test_a_word_to_send_again_does_not_fill_the_memory(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often, and for however much, somebody says it has missed something."""
    parts.part("a")
    stranger = Stranger(parts)
    stranger.say(here(listened=["volts"]))
    parts.clock.advance(5)
    for number in range(100):
        parts.dispatchers["a"].publish("volts", [number, "x" * 50_000])
    parts.clock.advance(5)
    sizes: List[int] = []
    monkeypatch.setattr(stranger, "received", lambda _, payload: sizes.append(len(payload)))
    stranger.say(b"\n".join([b'["again",1,100]'] * 200))
    parts.clock.advance(20)
    assert 0 < sum(sizes) < 20_000_000


def test_what_is_missing_is_sent_once(parts: Parts) -> None:
    """A long gap is filled in pieces, each asked for when the one before has come."""
    parts.part("a")
    parts.part("b")
    heard = parts.listener("b")
    parts.wire.cut("b")
    parts.clock.settle()
    for number in range(3000):
        parts.dispatchers["a"].publish("volts", [number, "x" * 1000])
    parts.clock.advance(50)
    parts.wire.delay(70)
    parts.wire.heal("b")
    parts.clock.advance(5000)
    assert [each[0] for each in heard.heard] == list(range(3000))
    assert parts.counted("a", "sent_again") < 3300


def test_who_was_disabled_in_a_cut_is_not_asked_after_it(parts: Parts) -> None:
    """What has not left by then does not; the others are asked."""
    parts.part("a")
    parts.part("b")
    off = parts.producer("b", 0, "off", name="off")
    parts.producer("b", 0, "on", name="on")
    parts.clock.advance(3000)
    parts.wire.cut("a")
    parts.clock.settle()
    handle = parts.ask("a", ttl=5000)
    parts.clock.advance(10)
    parts.dispatchers["a"].disable("off")
    parts.clock.advance(50)
    parts.wire.heal("a")
    parts.clock.advance(500)
    assert sorted(verdicts(handle), key=str) == [Verdict.OK, Verdict.WITHDRAWN]
    assert not off.asked


@pytest.mark.parametrize("knows", [True, False], ids=["cut", "lost"])
def test_who_was_disabled_in_a_cut_is_told_after_it(parts: Parts, knows: bool) -> None:
    """It has the request, and has not begun: it does not, whether we knew of the cut or not."""
    parts.part("a")
    parts.part("b")
    far = parts.producer("b", 1000, name="far")
    other = parts.producer("b", 1000, name="other")
    first, second = parts.ask("a", 1, ttl=None), parts.ask("a", 2, ttl=None)
    parts.clock.advance(100)
    if knows:
        parts.wire.cut("a")
        parts.clock.settle()
    else:
        parts.wire.silence("a")
    parts.dispatchers["a"].disable("far")
    parts.clock.advance(100)
    if not knows:
        parts.wire.cut("a")
        parts.clock.settle()
    parts.wire.heal("a")
    parts.clock.advance(4000)
    assert [each.args for each in far.asked] == [(1,)]
    assert [each.args for each in other.asked] == [(1,), (2,)]
    assert verdicts(first) == [Verdict.OK, Verdict.OK]
    assert verdicts(second) == [Verdict.WITHDRAWN, Verdict.OK]


def test_who_was_cancelled_in_a_cut_is_told_after_it(parts: Parts) -> None:
    """It has the request, without an end, and would work at it for nobody."""
    parts.part("a")
    parts.part("b")
    busy = parts.producer("b", 1000, "far")
    parts.ask("a", ttl=None)
    second = parts.ask("a", ttl=None)
    parts.clock.advance(100)
    parts.wire.cut("a")
    parts.clock.settle()
    second.cancel()
    parts.clock.advance(100)
    parts.wire.heal("a")
    parts.clock.advance(3000)
    assert len(busy.asked) == 1
    assert parts.counted("b", "guests") == 0


def test_what_was_counted_is_read_from_anywhere() -> None:
    """While requests come and go, on real threads."""
    from test_threads import Adds

    wire = Wire()
    a, b = Dispatcher(name="a"), Dispatcher(name="b")
    a.start()
    b.start()
    b.register_result_producer(Adds(), "add", start=True)
    connection = a.connect(wire.transport(), namespace="n", name="a")
    b.connect(wire.transport(), namespace="n", name="b")
    wrong: List[Any] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                connection.statistics()
            except Exception as error:
                wrong.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        handles = [a.send_request("add", 1, 2, ttl=10_000) for _ in range(100)]
        for each in handles:
            each.wait()
    done.set()
    reader.join()
    for each in (a, b):
        each.stop(immediate=True)
        each.join(5)
    assert wrong == []


def test_a_part_that_dies_soon_after_our_connect_is_gone_at_once(parts: Parts) -> None:
    """Only of those who were not heard of since a reconnect is it unknown whether they are back."""
    parts.part("b")
    parts.producer("b", 10_000, "far")
    parts.part("a")
    handle = parts.ask("a", ttl=20_000)
    parts.clock.advance(10)
    parts.wire.cut("b")
    parts.clock.advance(450)
    assert verdicts(handle) == [Verdict.GONE]


def test_who_was_gone_for_a_moment_has_missed_nothing(parts: Parts) -> None:
    """It alone was cut off, and taken for gone; what both have said meanwhile is heard by both."""
    parts.part("a")
    parts.part("b")
    at_a, at_b = parts.listener("a", "up"), parts.listener("b", "down")
    parts.producer("b", 10_000, "far")
    parts.clock.advance(3000)
    parts.ask("a", ttl=60_000)
    parts.clock.advance(10)
    for number in range(3):
        parts.dispatchers["a"].publish("down", number)
        parts.dispatchers["b"].publish("up", number)
    parts.clock.advance(10)
    parts.wire.cut("b")
    parts.clock.advance(500)
    assert parts.connections["a"].parts == ()
    for number in range(3, 6):
        parts.dispatchers["a"].publish("down", number)
        parts.dispatchers["b"].publish("up", number)
    parts.clock.advance(10)
    parts.wire.heal("b")
    parts.clock.advance(2000)
    assert parts.connections["a"].parts == ("b",)
    for number in range(6, 9):
        parts.dispatchers["a"].publish("down", number)
        parts.dispatchers["b"].publish("up", number)
    parts.clock.advance(2000)
    assert at_a.heard == list(range(9))
    assert at_b.heard == list(range(9))


def test_what_is_kept_for_who_was_gone_is_let_go_of(parts: Parts) -> None:
    """After a while, and at once if it has said bye, or is another one of that name."""
    parts.part("a")
    parts.part("b")
    parts.listener("b", "down")
    parts.clock.advance(100)
    registry = engine_of(parts.dispatchers["a"]).registry
    parts.connections["b"].disconnect()
    parts.clock.advance(100)
    assert registry.find("down") is None
    parts.connect("b")
    parts.clock.advance(100)
    parts.wire.silence("b")
    parts.clock.advance(5000)
    assert parts.connections["a"].parts == ()
    assert registry.find("down") is not None
    parts.clock.advance(15_000)
    assert registry.find("down") is None


def test_what_comes_while_a_long_end_goes_on_is_late(parts: Parts) -> None:
    """Of many members a few are judged at a time: who answers behind its verdict is not refused."""
    parts.part("a")
    parts.part("b")
    for number in range(20):
        parts.producer("b", 10_000, name=f"p{number}")
    handle = parts.ask("a", ttl=50)
    parts.clock.advance(10)
    engine = engine_of(parts.dispatchers["a"])
    asks = parts.connections["a"]._link._session.asks
    with THE_SECTION:
        engine.ledger.cancelled(handle, engine.now())
    assert handle.completion is None
    assert handle.is_over
    keys = [each.key for each in handle.roster]
    for key in keys:
        asks.in_ans("b", handle.id, key, 0.0, 1.0, "late")
    asks.hand_in()
    parts.clock.advance(20)
    handle.wait()
    assert engine.ledger.refused == 0
    assert verdicts(handle) == [Verdict.SURPLUS] * 20


@pytest.mark.parametrize(
    ("why", "verdict", "standing"),
    [
        ("declined", Verdict.SKIPPED, Standing.AWAY),
        ("withdrawn", Verdict.SKIPPED, Standing.AWAY),
        ("died", Verdict.MISSING, Standing.DEAD),
    ],
)
def test_who_says_no_behind_the_deadline_is_known_to(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, why: str, verdict: Verdict, standing: Standing
) -> None:
    """Though nobody has seen to the end yet: it ends by its deadline, and what was said counts."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 10_000)
    handle = parts.ask("a", ttl=50)
    parts.clock.advance(10)
    engine = engine_of(parts.dispatchers["a"])
    asks = parts.connections["a"]._link._session.asks
    (member,) = handle.roster
    with monkeypatch.context() as late:
        late.setattr(engine, "now", lambda: handle.deadline + 0.001)
        asks.in_not("b", handle.id, member.key, why)
    parts.clock.advance(100)
    assert handle.completion is Completion.DEADLINE
    (found,) = handle.report().members
    assert (found.verdict, found.standing) == (verdict, standing)


def test_what_a_clock_that_is_ahead_says_of_the_end_counts_at_the_end(parts: Parts) -> None:
    """It has ended there a little early; who answers in time all the same has answered."""
    parts.part("a")
    stranger = Stranger(parts)
    stranger.say(here(topics={"mine": [7, 8, 9]}, names={"7": "x", "8": "y", "9": "z"}))
    parts.clock.advance(5)
    handle = parts.dispatchers["a"].send_request("mine", ttl=50)
    parts.clock.advance(10)
    ended = [[key, "missing", "running"] for key in (7, 8, 9)]
    stranger.say(json.dumps(["end", handle.id, ended]).encode())
    stranger.say(json.dumps(["late", handle.id, 7, 1, 2]).encode())
    stranger.say(json.dumps(["ans", handle.id, 8, 1, 2, "in time"]).encode())
    parts.clock.advance(100)
    assert verdicts(handle) == [Verdict.LATE, Verdict.OK, Verdict.MISSING]
    assert handle.report().members[2].standing.value == "running"
    assert engine_of(parts.dispatchers["a"]).ledger.refused == 0


def test_who_listens_to_nothing_asks_for_nothing(parts: Parts) -> None:
    """What others hear is not sent to it again; from when it listens it misses nothing."""
    for name in ("a", "b", "c"):
        parts.part(name)
    heard = parts.listener("c", "news").heard
    for number in range(100):
        parts.dispatchers["a"].publish("news", number)
        parts.clock.advance(50)
    assert heard == list(range(100))
    assert parts.counted("a", "sent_again") == 0
    late = parts.listener("b", "news").heard
    for number in range(100, 200):
        parts.dispatchers["a"].publish("news", number)
        parts.clock.advance(50)
    assert heard == list(range(200))
    assert late == list(range(100, 200))
    assert parts.counted("a", "sent_again") == 0
    assert parts.counted("b", "lost") == 0


def test_who_begins_to_listen_is_told_from_where_on_behind_what_was_said(parts: Parts) -> None:
    """In one go with answers to it, and with what others hear: it takes nothing for sent before."""
    for name in ("a", "b", "c"):
        parts.part(name)
    parts.listener("c", "news")
    link = parts.connections["a"]._link
    shared, membership = link._shared, link._session.membership
    results = link._session.results
    late = parts.listener("b", "news")
    del late.heard[:]

    def at_once() -> None:
        shared.to('["can",1,null]', "b")
        results.send("news", "first", None)
        shared.to_at_once(membership._beat(), "b")
        for source in parts.connections["b"]._link._session.results._sources.values():
            source.is_fresh = True

    shared.do(at_once)
    parts.clock.advance(5)
    assert late.heard == ["first"]


@pytest.mark.parametrize("trouble", ["off at home", "registered anew", "cut"])
def test_who_was_disabled_stays_so_however_often_it_is_away(parts: Parts, trouble: str) -> None:
    """Until who has disabled it enables it; a program that is started anew has other producers."""
    a, b = parts.part("a"), parts.part("b")
    far = parts.producer("b", 0, "far", name="dmm")
    a.disable("b/dmm")
    for _ in range(3):
        if trouble == "cut":
            parts.wire.cut("b")
            parts.clock.advance(5_000)
            parts.wire.heal("b")
            parts.clock.advance(3_000)
        elif trouble == "off at home":
            b.disable(far)
            parts.clock.advance(5)
            b.enable(far)
        else:
            b.deregister_result_producer(far)
            parts.clock.advance(5)
            b.register_result_producer(far, "volts")
        parts.clock.advance(5)
        handle = parts.ask("a")
        assert handle.completion is Completion.NO_PRODUCERS
        assert handle.report().off == ("dmm",)
    a.enable("b/dmm")
    assert parts.ask("a").results() == ["far"]
    a.disable("b/dmm")
    parts.connections["b"].disconnect()
    parts.clock.advance(100)
    parts.connect("b")
    assert parts.ask("a").results() == ["far"]


@pytest.mark.parametrize("why", ["bye", "anew"])
def test_what_was_said_before_counts_though_its_part_is_lost_behind_the_deadline(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """And before anybody has seen to the end: it has not begun, and had said so."""
    parts.part("a")
    stranger = Stranger(parts)
    stranger.say(here(topics={"mine": [7]}, names={"7": "x"}))
    parts.clock.advance(5)
    handle = parts.dispatchers["a"].send_request("mine", ttl=50)
    parts.clock.advance(10)
    stranger.say(json.dumps(["end", handle.id, [[7, "missing", "queued"]]]).encode())
    stranger.say(json.dumps(["skip", handle.id, 7]).encode())
    parts.clock.advance(10)
    engine = engine_of(parts.dispatchers["a"])
    asks = parts.connections["a"]._link._session.asks
    with monkeypatch.context() as late:
        late.setattr(engine, "now", lambda: handle.deadline + 0.001)
        asks.gone("stranger", why == "bye")
    parts.clock.advance(100)
    assert handle.completion is Completion.DEADLINE
    assert verdicts(handle) == [Verdict.SKIPPED]


def test_who_was_silent_for_long_is_still_known_to_have_skipped_what_had_ended(
    parts: Parts,
) -> None:
    """It was taken for gone meanwhile; of what was over before, its word counts when it comes."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 10_000)
    parts.ask("a", ttl=20_000)
    handle = parts.ask("a", ttl=50)
    parts.clock.advance(100)
    assert handle.report().members[0].standing is Standing.QUEUED
    parts.wire.silence("b")
    parts.clock.advance(5000)
    assert parts.connections["a"].parts == ()
    parts.wire.heal("b")
    parts.clock.advance(10_000)
    assert parts.connections["a"].parts == ("b",)
    assert verdicts(handle) == [Verdict.SKIPPED]


def test_that_nobody_else_is_there_is_no_reason_for_an_end_behind_the_deadline(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody has seen to that yet: it ends by its deadline, not for want of others."""
    parts.part("a")
    # One that does not answer, and is known to nobody by name.
    Stranger(parts).wire.offer(frozenset({"volts"}), "")
    handle = parts.ask("a", ttl=50, members="open", need=Quorum(2))
    parts.clock.advance(10)
    engine = engine_of(parts.dispatchers["a"])
    asks = parts.connections["a"]._link._session.asks
    with monkeypatch.context() as late:
        late.setattr(engine, "now", lambda: handle.deadline + 0.001)
        asks.joined_in(handle.id, b"")
    parts.clock.advance(100)
    assert handle.completion is Completion.DEADLINE


class _Holding(logging.Handler):
    """A handler that takes its time, until it is let go on."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.is_at_it = threading.Event()
        self.goes_on = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "part c is there" in record.getMessage():
            self.is_at_it.set()
            self.goes_on.wait(PATIENCE)


def test_no_log_handler_keeps_answers_waiting() -> None:
    """Who comes is logged on another thread than that of the link, which has answers to take."""
    wire, logger = Wire(), logging.getLogger("ate_dispatcher")
    handler, level = _Holding(), logger.level
    dispatchers = {name: Dispatcher() for name in "abc"}
    for each in dispatchers.values():
        each.start()
    a, b, c = dispatchers.values()
    b.producer("volts")(lambda topic: "far")
    a.connect(wire.transport(), namespace=NAMESPACE, name="a")
    b.connect(wire.transport(), namespace=NAMESPACE, name="b")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        c.connect(wire.transport(), namespace=NAMESPACE, name="c")
        assert handler.is_at_it.wait(PATIENCE)
        assert a.send_request("volts", ttl=PATIENCE * 500).results() == ["far"]
        assert not handler.goes_on.is_set()
    finally:
        handler.goes_on.set()
        logger.setLevel(level)
        logger.removeHandler(handler)
        for each in dispatchers.values():
            each.stop()
            each.join()
