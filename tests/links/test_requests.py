"""Requests over several parts come to what they come to in one; on virtual time."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any, Callable, List

import pytest
from parts import Parts, parts
from virtual import bare_logger

from ate_dispatcher import (
    Completion,
    DispatcherError,
    First,
    Producer,
    Quorum,
    RemoteError,
    Standing,
    Verdict,
    current_request,
)
from ate_dispatcher.errors import BadType, BadValue
from ate_dispatcher.links import ValueType
from ate_dispatcher.testing import ScriptedProducer, computes

__all__ = ["bare_logger", "parts"]


def verdicts(handle: Any) -> List[Verdict]:
    return [each.verdict for each in handle.report().members]


def standings(handle: Any) -> List[Standing]:
    return [each.standing for each in handle.report().members]


def test_producers_of_every_part_answer(parts: Parts) -> None:
    """In the roster of the one who asks, which is in the order in which they came to be known."""
    parts.part("a")
    parts.part("b")
    parts.part("c")
    parts.producer("a", 30, "from a")
    parts.producer("b", 20, "from b")
    parts.producer("c", 10, "from c")
    for part in ("a", "b", "c"):
        handle = parts.ask(part)
        assert handle.results() == ["from c", "from b", "from a"]
        assert handle.completion is Completion.ALL_REPLIED
        assert verdicts(handle) == [Verdict.OK] * 3


def test_arguments_and_answers_come_as_they_are(parts: Parts) -> None:
    """Also what JSON does not have; the topic too."""
    parts.part("a")
    parts.part("b")
    asked = []

    def answer(topic: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append((topic, args, kwargs))
        return args

    parts.producer("b", 0, answer)
    values = (1, 2.5, "é\n", None, True, [1, (2, 3)], {"a": {1, 2}}, b"\x00", float("inf"), {1: 2})
    handle = parts.dispatchers["a"].send_request("volts", *values, ttl=1000, speed=3, unit=("V",))
    assert handle.results() == [values]
    assert asked == [("volts", values, {"speed": 3, "unit": ("V",)})]


def test_the_log_of_who_raises_says_who_has_asked(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """And on which topic: the number of the request means nothing to who reads it there."""
    for name in ("a", "b"):
        parts.part(name)
    parts.producer("b", 0, ValueError("no probe"), name="dmm")
    parts.ask("a").wait()
    parts.ask("a", ttl=50, members="open").wait()
    parts.ask("b").wait()
    parts.clock.settle()
    far, anybody, here = [each for each in caplog.records if each.levelname == "ERROR"]
    assert getattr(far, "asker", "") == "a"
    assert far.getMessage().endswith(" on 'volts', asked by 'a' as its request 1")
    assert getattr(anybody, "asker", None)
    assert " on 'volts', asked by " in anybody.getMessage()
    assert getattr(here, "asker", "") is None
    assert "asked by" not in here.getMessage()
    assert {getattr(each, "topic", "") for each in (far, anybody, here)} == {"volts"}


def test_an_error_there_is_a_value_here(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """With type, message and traceback text; the far side has logged it."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 0, ValueError("no probe"), name="dmm")
    handle = parts.ask("a")
    handle.wait()
    (reply,) = handle.replies
    error = reply.error
    assert isinstance(error, RemoteError)
    assert isinstance(error, DispatcherError)
    assert (error.kind, error.message, error.part) == ("ValueError", "no probe", "b")
    assert "answered" in error.traceback_text
    assert "ValueError: no probe" in error.traceback_text
    assert str(error) == "ValueError: no probe"
    assert verdicts(handle) == [Verdict.ERROR]
    assert (reply.producer.name, reply.producer.part) == ("dmm", "b")


def test_what_cannot_travel_is_refused_at_the_call(parts: Parts) -> None:
    """Naming the argument; nothing is sent, and nobody asked."""
    parts.part("a")
    parts.part("b")
    asked = []
    parts.producer("a", 0, lambda *_: asked.append(1))
    parts.producer("b", 0, lambda *_: asked.append(1))
    for args, kwargs, place in (
        ((object(),), {}, r"args\[0\]"),
        ((1, [0, {"x": object()}]), {}, r"args\[1\]\[1\]\['x'\]"),
        ((), {"probe": object()}, r"kwargs\['probe'\]"),
    ):
        with pytest.raises(BadType, match=place):
            parts.dispatchers["a"].send_request("volts", *args, **kwargs)
    with pytest.raises(BadValue, match="bytes as text"):
        parts.ask("a", "x" * 2_000_000)
    parts.clock.advance(10)
    assert not asked
    assert parts.dispatchers["a"].statistics().requests == 0


def test_what_cannot_travel_reaches_who_is_here(parts: Parts) -> None:
    """Encoding happens only if somebody elsewhere is asked."""
    parts.part("a")
    parts.part("b")
    mine = parts.producer("a", 0, lambda topic, thing: thing)
    parts.producer("b", 0, "far")
    thing = object()
    assert parts.ask("a", thing, only=mine).results() == [thing]


def test_an_answer_that_cannot_travel_is_an_error(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """Which says so; the asker hears it at once, and who can repair it finds it in the log."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 0, lambda *_: object(), name="dmm")
    handle = parts.ask("a")
    handle.wait()
    assert "an answer of dmm does not reach part a: the answer" in caplog.text
    error = handle.replies[0].error
    assert isinstance(error, RemoteError)
    assert error.kind == "BadType"
    assert "the answer" in error.message


@pytest.mark.parametrize("answer", [object(), "x" * 2_000_000], ids=["object", "long"])
def test_an_answer_to_an_open_question_that_cannot_travel_is_an_error_too(
    parts: Parts, caplog: pytest.LogCaptureFixture, answer: object
) -> None:
    """Of no type that is known there, or too long for a message."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 0, lambda *_: answer, name="dmm")
    handle = parts.ask("a", ttl=100, members="open", need=1)
    parts.clock.advance(200)
    assert "an answer of dmm does not reach who has asked whoever there is" in caplog.text
    (reply,) = handle.replies
    assert isinstance(reply.error, RemoteError)
    assert "the answer" in reply.error.message


def test_the_ttl_passes_here_whatever_happens_there(parts: Parts) -> None:
    """Who is at it there is late, by this clock; who has not begun is skipped."""
    parts.part("a")
    parts.part("b")
    busy = parts.producer("b", 60, "slow", name="busy")
    first, second = parts.ask("a", ttl=50), parts.ask("a", ttl=50)
    first.wait()
    second.wait()
    assert parts.clock.now() == pytest.approx(first.sent + 0.05, abs=1e-3)
    assert (first.completion, second.completion) == (Completion.DEADLINE,) * 2
    parts.clock.settle()
    assert standings(first) == [Standing.RUNNING]
    assert standings(second) == [Standing.QUEUED]
    # How long it has waited there is known when it has come to its end.
    assert first.report().members[0].waited_ms is None
    parts.clock.advance(100)
    assert first.report().members[0].waited_ms == pytest.approx(0, abs=1)
    assert verdicts(first) == [Verdict.LATE]
    assert first.report().members[0].late_ms == pytest.approx(10, abs=1)
    assert verdicts(second) == [Verdict.SKIPPED]
    assert len(busy.asked) == 1
    sums = parts.dispatchers["a"].statistics()
    assert sums.verdicts[Verdict.LATE] == sums.verdicts[Verdict.SKIPPED] == 1


def test_what_waited_on_the_way_is_not_executed_after_its_end(parts: Parts) -> None:
    """The delay beyond the least that was seen counts; clocks are not compared."""
    parts.part("a")
    parts.part("b")
    far = parts.producer("b", 0, "far")
    assert parts.ask("a").results() == ["far"]
    parts.wire.delay(80, "a", "b")
    handle = parts.ask("a", ttl=50)
    handle.wait()
    assert (verdicts(handle), standings(handle)) == ([Verdict.MISSING], [Standing.AWAY])
    parts.clock.advance(100)
    assert verdicts(handle) == [Verdict.SKIPPED]
    assert len(far.asked) == 1
    assert parts.counted("b", "stale") == 1


def test_what_waited_for_the_connection_leaves_with_the_time_that_is_left(parts: Parts) -> None:
    """Who comes to it there knows when it ends, though it was asked long after it was sent."""
    parts.part("a")
    parts.part("b")
    busy = parts.producer("b", 300, "busy", name="busy")
    parts.clock.advance(3_000)
    parts.wire.cut("a")
    parts.clock.settle()
    begun, not_begun = parts.ask("a", 1, ttl=400), parts.ask("a", 2, ttl=400)
    parts.clock.advance(200)
    parts.wire.heal("a")
    parts.clock.advance(2_000)
    assert (verdicts(begun), verdicts(not_begun)) == ([Verdict.LATE], [Verdict.SKIPPED])
    assert [each.args for each in busy.asked] == [(1,)]


def test_a_report_keeps_the_network_apart(parts: Parts) -> None:
    """From the send to the stamp: waited and ran there, and the rest on the way."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 10, "far")
    parts.wire.delay(5)
    parts.ask("a")
    handle = parts.ask("a")
    handle.wait()
    (member,) = handle.report().members
    assert member.part == "b"
    assert member.network_ms == pytest.approx(10, abs=0.1)
    assert member.waited_ms == pytest.approx(10, abs=0.1)
    assert member.ran_ms == pytest.approx(10, abs=0.1)
    assert handle.report().elapsed_ms == pytest.approx(30, abs=0.1)


def test_who_has_enough_stops_the_others(parts: Parts) -> None:
    """A policy is met here; there it is not begun any more, or is surplus."""
    parts.part("a")
    parts.part("b")
    parts.producer("a", 10, "here")
    busy = parts.producer("b", 30, "far")
    parts.ask("b")
    handle = parts.ask("a", need=First())
    handle.wait()
    assert handle.completion is Completion.QUORUM
    assert verdicts(handle) == [Verdict.OK, Verdict.MISSING]
    parts.clock.advance(100)
    assert verdicts(handle) == [Verdict.OK, Verdict.SKIPPED]
    assert len(busy.asked) == 1
    handle = parts.ask("a", need=First())
    parts.clock.advance(100)
    assert verdicts(handle) == [Verdict.OK, Verdict.SURPLUS]
    assert parts.ask("a", need=Quorum(2)).results() == ["here", "far"]


def test_a_cancel_reaches_who_has_not_begun(parts: Parts) -> None:
    """They are CANCELLED, as in one process; who runs it sees that it is over."""
    parts.part("a")
    parts.part("b")
    seen = []

    def answer(topic: Any) -> str:
        request = current_request()
        assert request is not None
        parts.clock.sleep(0.05)
        seen.append(request.cancelled)
        return "far"

    parts.producer("b", 0, answer)
    first, second = parts.ask("a"), parts.ask("a")
    parts.clock.advance(10)
    first.cancel()
    second.cancel()
    parts.clock.advance(100)
    assert (verdicts(first), verdicts(second)) == ([Verdict.SURPLUS], [Verdict.CANCELLED])
    assert seen == [True]


def test_a_cancel_before_it_was_sent_is_one_all_the_same(parts: Parts) -> None:
    """Nobody has begun it: they are CANCELLED, not skipped."""
    parts.part("a")
    parts.part("b")
    far = parts.producer("b", 0, "far")
    parts.wire.cut("a")
    handle = parts.ask("a")
    handle.cancel()
    parts.clock.advance(5)
    assert verdicts(handle) == [Verdict.CANCELLED]
    parts.wire.heal("a")
    parts.clock.advance(100)
    assert not far.asked


def test_streams_come_part_by_part(parts: Parts) -> None:
    """Each value is a reply as it comes; the end is the answer."""
    parts.part("a")
    parts.part("b")

    class Sweep(Producer):
        def produce_dispatcher_output(self, topic: Any, *args: Any) -> Any:
            for each in args:
                parts.clock.sleep(0.01)
                yield each
            if not args:
                raise ValueError("nothing to sweep")

    sweep = Sweep(stream=True)
    parts.dispatchers["b"].register_result_producer(sweep, "volts", start=True)
    parts.clock.advance(5)
    handle = parts.ask("a", 1, 2, 3)
    times = [(each.value, round((parts.clock.now() - handle.sent) * 1000)) for each in handle]
    assert times == [(1, 10), (2, 20), (3, 30)]
    assert handle.completion is Completion.ALL_REPLIED
    assert verdicts(handle) == [Verdict.OK]
    failing = parts.ask("a")
    failing.wait()
    assert verdicts(failing) == [Verdict.ERROR]
    cut = parts.ask("a", *range(10), ttl=35)
    cut.wait()
    parts.clock.advance(200)
    assert [each.value for each in cut.replies] == [0, 1, 2]


def test_only_and_without_choose_by_name(parts: Parts) -> None:
    """Whoever has the name, on whatever part; a part before it says which."""
    parts.part("a")
    parts.part("b")
    parts.part("c")
    parts.producer("a", 0, "a", name="dmm")
    parts.producer("b", 0, "b", name="dmm")
    parts.producer("c", 0, "c", name="psu")
    assert sorted(parts.ask("a", only="dmm").results()) == ["a", "b"]
    assert parts.ask("a", only="psu").results() == ["c"]
    assert parts.ask("a", without="dmm").results() == ["c"]
    assert parts.ask("a", only="b/dmm").results() == ["b"]
    chosen = [each.producer for each in parts.ask("a").roster if each.part == "c"]
    assert parts.ask("a", only=chosen).results() == ["c"]
    with pytest.raises(BadValue, match="scope"):
        parts.ask("a", only="scope")


def test_progress_is_seen_elsewhere(parts: Parts) -> None:
    """In ``handle.progress``, while it is at it."""
    parts.part("a")
    parts.part("b")

    def answer(topic: Any) -> str:
        request = current_request()
        assert request is not None
        request.progress(0.5, "half way")
        parts.clock.sleep(0.05)
        return "done"

    parts.producer("b", 0, answer, name="slow")
    handle = parts.ask("a")
    parts.clock.advance(20)
    assert handle.progress == (("slow", 0.5, "half way"),)
    handle.wait()
    assert handle.progress == ()


@pytest.mark.parametrize("stream", [True, False])
def test_who_has_said_something_of_it_is_running_and_not_away(parts: Parts, stream: bool) -> None:
    """A value of several, or how far it is. Since when is not known: so it waits for no time."""
    parts.part("a")
    parts.part("b")

    class Sweep(Producer):
        def produce_dispatcher_output(self, topic: Any) -> Any:
            yield 1
            parts.clock.sleep(1)

    def told(topic: Any) -> None:
        request = current_request()
        assert request is not None
        request.progress(0.5)
        parts.clock.sleep(1)

    if stream:
        sweep = Sweep(name="busy", stream=True)
        parts.dispatchers["b"].register_result_producer(sweep, "volts", start=True)
    else:
        parts.producer("b", 0, told, name="busy")
    parts.producer("b", 1000, name="silent")
    handle = parts.ask("a", ttl=50)
    parts.clock.advance(20)
    assert [(m.producer, m.word) for m in handle.report().members] == [
        ("busy", "open (running)"),
        ("silent", "open (away)"),
    ]
    assert [m.waited_ms is None for m in handle.report().members] == [True, False]
    handle.cancel()
    handle.wait()
    assert [m.word for m in handle.report().members] == ["MISSING (running)", "MISSING (away)"]
    parts.clock.advance(3000)
    assert verdicts(handle) == [Verdict.LATE, Verdict.LATE]


def test_a_barrier_over_several_parts_is_refused_at_the_call(parts: Parts) -> None:
    """With who is elsewhere; among those of one part it works."""
    parts.part("a")
    parts.part("b")
    mine = parts.producer("a", 0, "here")
    parts.producer("b", 0, "far", name="dmm")
    with pytest.raises(BadValue, match="barrier: dmm is on b"):
        parts.ask("a", barrier=True)
    assert parts.ask("a", barrier=True, only=mine).results() == ["here"]


def test_an_ordering_key_is_kept_there(parts: Parts) -> None:
    """Requests of one key one after the other, of others meanwhile."""
    parts.part("a")
    parts.part("b")
    running: List[Any] = []
    most = []

    def answer(topic: Any, key: Any) -> Any:
        running.append(key)
        most.append((running.count(key), len(running)))
        parts.clock.sleep(0.01)
        running.remove(key)
        return key

    parts.producer("b", 0, answer, workers=3)
    handles = [parts.ask("a", key, ordering_key=key) for key in ("x", "x", "y", "x", "y")]
    for handle in handles:
        assert handle.wait(10)
    assert max(each for each, _ in most) == 1
    assert max(each for _, each in most) == 2
    with pytest.raises(BadType, match="ordering_key"):
        parts.ask("a", 1, ordering_key=frozenset([object()]))


def test_a_disabled_producer_is_not_asked_from_elsewhere(parts: Parts) -> None:
    """By its own part, or by the one that asks; what it has begun counts."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 20, "far", name="dmm")
    running, queued = parts.ask("a"), parts.ask("a")
    parts.clock.advance(5)
    parts.dispatchers["a"].disable("dmm")
    parts.clock.advance(50)
    assert (verdicts(running), verdicts(queued)) == ([Verdict.OK], [Verdict.WITHDRAWN])
    later = parts.ask("a")
    assert later.completion is Completion.NO_PRODUCERS
    assert later.report().off == ("dmm",)
    parts.dispatchers["a"].enable("b/dmm")
    assert parts.ask("a").results() == ["far"]
    parts.dispatchers["b"].disable("dmm")
    parts.clock.advance(5)
    assert parts.ask("a").completion is Completion.NO_PRODUCERS
    parts.dispatchers["b"].enable("dmm")
    parts.clock.advance(5)
    assert parts.ask("a").results() == ["far"]


def test_who_was_disabled_while_a_request_was_held_is_not_asked(parts: Parts) -> None:
    """As it is handed out; the others elsewhere are."""
    parts.part("b")
    off = parts.producer("b", 0, "off", name="off")
    parts.producer("b", 0, "on", name="on")
    late = parts.part("late", start=False)
    handle = parts.ask("late")
    late.disable("off")
    late.start()
    assert handle.results() == ["on"]
    assert verdicts(handle) == [Verdict.WITHDRAWN, Verdict.OK]
    parts.clock.advance(50)
    assert not off.asked


def test_instruments_are_of_their_part(parts: Parts) -> None:
    """Exclusive ones wait there for each other, also for who asks there."""
    parts.part("a")
    parts.part("b")
    for name in ("one", "two"):
        parts.producer("b", 20, name, name=name, exclusive="psu")
    handle = parts.ask("a")
    assert handle.results() == ["one", "two"]
    assert handle.report().elapsed_ms == pytest.approx(40, abs=0.1)


def test_requests_before_the_start_of_a_part_wait_there(parts: Parts) -> None:
    """As in one process: held until then, their deadline runs."""
    parts.part("a")
    late = parts.part("late", start=False)
    producer = ScriptedProducer(computes(lambda *_: "late"))
    late.register_result_producer(producer, "volts", start=True)
    parts.clock.advance(5)
    gone, kept = parts.ask("a", ttl=10), parts.ask("a", ttl=1000)
    parts.clock.advance(50)
    late.start()
    assert kept.results() == ["late"]
    assert verdicts(gone)[0] in (Verdict.SKIPPED, Verdict.MISSING)
    assert len(producer.asked) == 1


def test_a_second_copy_of_anything_changes_nothing(parts: Parts) -> None:
    """A request is executed once, an answer counted once."""
    parts.part("a")
    parts.part("b")
    far = parts.producer("b", 5, "far")
    parts.producer("b", 10, "other")
    parts.wire.repeat(1000)
    for _ in range(3):
        handle = parts.ask("a")
        assert handle.results() == ["far", "other"]
        assert verdicts(handle) == [Verdict.OK, Verdict.OK]
    parts.clock.advance(100)
    assert len(far.asked) == 3
    sums = parts.dispatchers["a"].statistics()
    assert (sums.fan_out, sums.verdicts[Verdict.OK]) == (6, 6)
    assert parts.counted("a", "duplicates") > 0


class Point:
    """A type of somebody's."""


POINT = ValueType("point", Point, lambda point: 0, lambda zero: Point())


def broken(topic: Any, point: Point) -> None:
    """Raise an error of its own each time: its traceback has what it was called with."""
    raise OSError


@pytest.mark.parametrize("ttl", [1000, 5, 0.5])
@pytest.mark.parametrize("answer", [0, None, broken])
def test_what_a_request_carried_is_let_go_of_at_its_end(
    parts: Parts, ttl: float, answer: Any, bare_logger: Callable[..., None]
) -> None:
    """On both machines, before cycles are looked for: answered, failed, late, skipped."""
    # Pytest's own handlers keep what is logged.
    bare_logger(logging.NullHandler())
    made: weakref.WeakSet[Point] = weakref.WeakSet()

    def make(zero: Any) -> Point:
        point = Point()
        made.add(point)
        return point

    types = [ValueType("point", Point, lambda point: 0, make)]
    for part in ("a", "b"):
        parts.part(part, connect=False)
        parts.connect(part, types=types)
    forgetful = parts.producer("b", 1, answer)
    gc.disable()
    try:
        for _ in range(3):
            handle = parts.ask("a", make(0), ttl=ttl)
            handle.wait()
            del handle
        parts.clock.advance(50)
        forgetful.asked.clear()
        assert len(made) == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("following", ["answer", "open answer", "result", "question"])
def test_an_answer_does_not_wait_for_what_users_make_of_what_follows(
    parts: Parts, following: str
) -> None:
    """Of what is read together each is in time, however long a type of users takes."""
    said: List[Any] = []

    def make(zero: Any) -> Point:
        said.append(plain.completion)
        return Point()

    types = [ValueType("point", Point, lambda point: 0, make)]
    for name in ("a", "b", "c"):
        parts.part(name, connect=False)
        parts.connect(name, types=types)
    parts.producer("b", 1, 5)
    a, c = parts.dispatchers["a"], parts.dispatchers["c"]
    if following == "result":
        parts.listener("a", "points")
    elif following == "question":
        parts.producer("a", 0, 5, topic="points")
    else:
        parts.producer("c", 1, lambda *_: Point(), topic="points")
    parts.clock.settle()
    parts.wire.delay(10, to="a")
    plain = a.send_request("volts", ttl=1000)
    if following == "result":
        parts.clock.advance(1)
        c.publish("points", Point())
    elif following == "question":
        parts.clock.advance(1)
        c.options(ttl=1000, members="open").send_request("points", Point())
    else:
        members = "open" if following == "open answer" else None
        a.options(ttl=1000, members=members).send_request("points")
    parts.clock.advance(50)
    assert said[:1] == [Completion.ALL_REPLIED]


def test_who_does_not_know_a_type_says_so(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """To who asks, as an error; and in its own log, once."""
    parts.part("a", connect=False)
    parts.connect("a", types=[POINT])
    parts.part("b")
    heard = parts.listener("b").heard
    parts.producer("b", 0, "far", topic="ohms")
    for _ in range(2):
        handle = parts.dispatchers["a"].send_request("ohms", Point(), ttl=100)
        handle.wait()
        (error,) = [each.error for each in handle.replies]
        assert isinstance(error, RemoteError)
        assert "on b: " in error.message
        assert "point" in error.message
        assert handle.report().members[0].error == "BadValue"
    parts.dispatchers["a"].publish("volts", Point())
    parts.clock.advance(5)
    assert heard == []
    assert parts.counted("b", "malformed") == 3
    assert caplog.text.count("'ohms' cannot be read") == 1
    assert caplog.text.count("'volts' cannot be read") == 1


@pytest.mark.parametrize("leaves", [False, True])
def test_who_is_disabled_begins_nothing_more_also_if_it_has_left(
    parts: Parts, leaves: bool
) -> None:
    """What it had been asked before it was deregistered is withdrawn, as in one process."""
    a = parts.part("a")
    b = parts.part("b")
    far = parts.producer("b", 1000, "far")
    endless = [parts.ask("a", ttl=None) for _ in range(3)]
    parts.clock.advance(1100)
    member = endless[0].replies[0].producer
    if leaves:
        b.deregister_result_producer(far, "volts")
        parts.clock.advance(10)
    a.disable(member)
    parts.clock.advance(5000)
    found = [each.report().members[0].verdict for each in endless]
    assert found == [Verdict.OK, Verdict.OK, Verdict.WITHDRAWN]
    assert len(far.asked) == 2


def test_who_was_disabled_there_as_it_ended_here_has_not_begun_it(parts: Parts) -> None:
    """The word that it was withdrawn comes after the end: then it is SKIPPED, as in one process."""
    for part in ("a", "b"):
        parts.part(part)
    busy = parts.producer("b", 100, 5)
    parts.ask("a")
    parts.clock.advance(5)
    parts.wire.delay(20, to="a")
    handle = parts.ask("a", ttl=20)
    parts.clock.advance(10)
    parts.dispatchers["b"].disable(busy)
    parts.clock.advance(500)
    assert handle.completion is Completion.DEADLINE
    assert verdicts(handle) == [Verdict.SKIPPED]


def late_one(parts: Parts) -> List[int]:
    """What part b begins, which part a asks: number 1 comes 1.5 s late, and nothing before it."""
    parts.part("a")
    parts.part("b")
    begun: List[int] = []
    parts.producer("b", 0, lambda topic, number: begun.append(number))
    parts.wire.delay(1_500, "a", "b")
    parts.ask("a", 1, ttl=None)
    parts.clock.settle()
    parts.wire.delay(0, "a", "b")
    return begun


def test_what_comes_behind_a_late_request_is_begun_behind_it(parts: Parts) -> None:
    """Though it is not late itself, and nobody doubts it."""
    begun = late_one(parts)
    parts.clock.advance(600)
    parts.ask("a", 2, ttl=None)
    parts.clock.advance(1_000)
    assert begun == []
    parts.ask("a", 3, ttl=None)
    parts.clock.advance(100)
    assert begun == []
    parts.clock.advance(60)
    assert begun == [1, 2, 3]
    parts.ask("a", 4, ttl=None)
    parts.clock.advance(1)
    assert begun == [1, 2, 3, 4]


def test_what_is_late_is_not_begun_for_who_is_gone_meanwhile(parts: Parts) -> None:
    """Nor what came behind it."""
    begun = late_one(parts)
    parts.ask("a", 2, ttl=None)
    parts.clock.advance(1_600)
    parts.connections["a"].disconnect(drain=0)
    parts.clock.advance(1_000)
    assert begun == []


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(50, Verdict.LATE), (70, Verdict.MISSING)], ids=["soon", "for long"]
)
def test_who_is_late_is_waited_for_a_minute(parts: Parts, seconds: int, verdict: Verdict) -> None:
    """For the report alone; nothing is kept for longer."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", seconds * 1_000)
    handle = parts.ask("a", ttl=100)
    parts.clock.advance(80_000)
    assert [each.verdict for each in handle.report().members] == [verdict]
