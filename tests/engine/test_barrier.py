"""Requests whose producers begin together: start lines, on virtual time and on real threads."""

from __future__ import annotations

import threading
from typing import Any, List

import pytest
import rig
from inside import reserved, tidy_world
from rig import pace
from virtual import FOREVER, World, verdicts

from ate_dispatcher import Completion, Dispatcher, Stall
from ate_dispatcher.testing import ScriptedProducer, answers

__all__ = ["pace", "tidy_world"]


def site(world: World, name: str, ms: float = 100, **options: Any) -> Any:
    """A producer on the topics "t" and its own name, which answers its name after *ms*."""
    made = world.cast(ScriptedProducer(answers(name, after_ms=ms), name=name, **options))
    world.dispatcher.register_result_producer(made, "t", name, start=True)
    return made


def together(world: World, barrier: Any = True, **options: Any) -> Any:
    """A request with a start line, by default without a deadline."""
    options.setdefault("ttl", None)
    return world.dispatcher.options(barrier=barrier, **options).send_request("t")


def busy(world: World, name: str) -> Any:
    """Keep that one busy from now on."""
    handle = world.dispatcher.send_request(name, ttl=None)
    world.clock.settle()
    return handle


def last_start(*sites: Any) -> List[float]:
    """When each of them was asked last, in ms."""
    return [round(each.asked[-1].at * 1000, 6) for each in sites]


def test_all_begin_when_the_last_is_there(world: World) -> None:
    """The report says how long each has waited at the line, and how far apart they began."""
    a, b, c = site(world, "a", 10), site(world, "b", 100), site(world, "c", 250)
    busy(world, "b")
    busy(world, "c")
    handle = together(world)
    world.clock.advance(120)
    assert verdicts(handle) == ["open(AT_LINE)", "open(AT_LINE)", "open(QUEUED)"]
    assert [m.line_ms for m in handle.report().members] == pytest.approx([120, 20, None])
    assert handle.results() == ["a", "b", "c"]
    assert last_start(a, b, c) == [250, 250, 250]
    report = handle.report()
    assert [member.waited_ms for member in report.members] == pytest.approx([0, 100, 250])
    assert [member.line_ms for member in report.members] == pytest.approx([250, 150, 0])
    assert [member.began_ms for member in report.members] == pytest.approx([250] * 3)
    assert report.skew_ms == pytest.approx(0)
    assert "3 of 3 ok, skew 0.000 ms" in str(report)
    assert "line   250.000 ms  ran    10.000 ms" in str(report)
    assert report.to_dict()["skew_ms"] == pytest.approx(0)


def test_a_request_without_a_line_has_no_skew(world: World) -> None:
    """Nor has one where only one began from it."""
    site(world, "a")
    assert together(world).report().skew_ms is None
    site(world, "b")
    handle = world.send()
    handle.wait()
    assert handle.report().skew_ms is None
    assert handle.report().to_dict()["skew_ms"] is None
    assert "skew" not in str(handle.report())


def test_who_is_not_there_at_the_deadline_is_missing_and_the_others_are_skipped(
    world: World,
) -> None:
    """Nobody has begun; the next request finds all of them free."""
    a, b = site(world, "a"), site(world, "b", 500)
    held = busy(world, "b")
    handle = together(world, ttl=200)
    assert handle.results() == []
    assert handle.completion is Completion.DEADLINE
    assert verdicts(handle) == ["SKIPPED(AT_LINE)", "MISSING(QUEUED)"]
    assert world.dispatcher.options(only=a).send_request("t").results() == ["a"]
    assert held.results() == ["b"]
    world.clock.settle()
    assert verdicts(handle) == ["SKIPPED(AT_LINE)", "SKIPPED(QUEUED)"]
    assert (len(a.asked), len(b.asked)) == (1, 1)


def test_exactly_at_the_deadline_is_in_time(world: World) -> None:
    """As for every answer: there they begin."""
    site(world, "a", 0)
    site(world, "b", 200)
    busy(world, "b")
    handle = together(world, ttl=200)
    handle.wait()
    assert verdicts(handle) == ["OK", "MISSING(RUNNING)"]


def test_after_so_many_ms_it_starts_with_those_who_are_there(world: World) -> None:
    """Later ones begin when they come, and their answers count."""
    a, b, c = site(world, "a"), site(world, "b", 50), site(world, "c", 300)
    busy(world, "b")
    busy(world, "c")
    handle = together(world, barrier=200)
    assert handle.results() == ["b", "a", "c"]
    assert last_start(a, b, c) == [200, 200, 300]
    report = handle.report()
    assert [member.line_ms for member in report.members] == pytest.approx([200, 150, None])
    # Who looks whether they began together must see that one did not.
    assert report.skew_ms == pytest.approx(100)


def test_it_does_not_wait_so_long_if_all_are_there(world: World) -> None:
    """Nor beyond the deadline; nor for anybody, if nobody has come."""
    a, b = site(world, "a"), site(world, "b")
    together(world, barrier=200).wait()
    assert last_start(a, b) == [0, 0]
    busy(world, "b")
    handle = together(world, barrier=200, ttl=50)
    handle.wait()
    assert verdicts(handle) == ["SKIPPED(AT_LINE)", "MISSING(QUEUED)"]
    world.clock.advance(1000)
    for name in "ab":
        busy(world, name)
    before = world.clock.now() * 1000
    together(world, barrier=20).wait()
    assert last_start(a, b) == pytest.approx([before + 100, before + 100])


def test_barrier_requests_come_everywhere_in_one_order(world: World) -> None:
    """So two of them never wait for each other; and nothing overtakes them."""
    site(world, "a", 10)
    site(world, "b", 20)
    alone = world.dispatcher.options(ttl=None)
    handles = [together(world) if n % 3 else alone.send_request("a") for n in range(6)]
    for handle in handles:
        handle.wait()
        assert handle.report().complete
    assert [h.completion for h in handles] == [Completion.ALL_REPLIED] * 6
    ends = [handle.report().elapsed_ms for handle in handles]
    assert ends == sorted(ends)


def test_what_is_sent_later_comes_later(world: World) -> None:
    """Also if it is a plain request."""
    a = site(world, "a")
    sender = world.dispatcher.options(barrier=True, ttl=None)
    handles = []
    for n in range(6):
        send = sender.send_request if n % 2 else world.dispatcher.send_request
        handles.append(send("t", n))
    world.clock.advance(2000)
    assert [asked.args[0] for asked in a.asked] == list(range(6))


def test_who_has_a_verdict_is_not_waited_for(world: World) -> None:
    """One that is dead, one that is disabled while the others wait."""
    dead = site(world, "dead")
    dead.stop()
    dead.join()
    a, b, c = site(world, "a"), site(world, "b"), site(world, "c")
    busy(world, "c")
    handle = together(world)
    world.clock.advance(20)
    assert verdicts(handle)[0] == "DECLINED"
    world.dispatcher.disable(c)
    world.clock.settle()
    assert verdicts(handle)[3] == "WITHDRAWN"
    assert handle.results() == ["a", "b"]
    assert last_start(a, b) == [20, 20]


def test_who_waits_at_the_line_may_be_disabled(world: World) -> None:
    """It does not begin; the others go without it when they are there."""
    a, b, c = site(world, "a"), site(world, "b"), site(world, "c")
    busy(world, "c")
    handle = together(world)
    world.clock.advance(20)
    world.dispatcher.disable(a)
    world.clock.settle()
    assert verdicts(handle) == ["WITHDRAWN", "open(AT_LINE)", "open(QUEUED)"]
    assert handle.results() == ["b", "c"]
    assert (a.asked, last_start(b, c)) == ([], [100, 100])
    world.dispatcher.enable(a)
    assert world.dispatcher.options(only=a).send_request("t").results() == ["a"]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("cancel", ["CANCELLED(AT_LINE)", "CANCELLED(QUEUED)"]),
        ("stop", ["WITHDRAWN(AT_LINE)", "WITHDRAWN(QUEUED)"]),
        ("drain", ["SKIPPED(AT_LINE)", "MISSING(QUEUED)"]),
    ],
)
def test_whatever_ends_it_before_nobody_begins(world: World, how: str, expected: Any) -> None:
    """And everybody at the line is free again."""
    a, _ = site(world, "a"), site(world, "b", 500)
    busy(world, "b")
    handle = together(world)
    world.clock.settle()
    if how == "cancel":
        handle.cancel()
    else:
        world.dispatcher.stop(immediate=how == "stop", drain=20)
    world.clock.advance(30)
    assert verdicts(handle) == expected
    world.clock.advance(1000)
    assert a.asked == []


def test_instruments_are_taken_before_the_line(world: World) -> None:
    """Who waits there has them already, and whoever else needs them waits for it."""
    a, b = site(world, "a", exclusive="psu1"), site(world, "b", 300)
    other = site(world, "other", exclusive="psu1")
    world.dispatcher.deregister_result_producer(other, "t")
    busy(world, "b")
    handle = together(world)
    world.clock.advance(50)
    waiting = busy(world, "other")
    assert verdicts(handle)[0] == "open(AT_LINE)"
    assert verdicts(waiting) == ["open(AT_INSTRUMENT)"]
    assert handle.results() == ["a", "b"]
    assert last_start(a, b) == [300, 300]
    assert waiting.results() == ["other"]
    assert last_start(other) == [400]
    busy(world, "other")
    handle = together(world)
    handle.wait()
    assert last_start(a, b) == [700, 700]
    (first, second) = handle.report().members
    assert (first.instrument_ms, first.line_ms) == pytest.approx((100, 0))
    assert (second.instrument_ms, second.line_ms) == (None, pytest.approx(100))


def test_start_lines_and_instruments_do_not_wait_for_each_other(world: World) -> None:
    """Who comes early to a later line leaves the instruments to those an earlier one waits for."""
    p1 = site(world, "p1", exclusive="psu1")
    p2 = site(world, "p2")
    p3 = site(world, "p3", exclusive="psu1")
    slow = site(world, "slow", 50, exclusive="psu1")
    world.dispatcher.deregister_result_producer(slow, "t")
    busy(world, "slow")
    # p3 needs the instrument for this, before it can come to the first line.
    third = world.dispatcher.send_request("p3", ttl=None)
    first = world.dispatcher.options(barrier=True, only=[p2, p3], ttl=None).send_request("t")
    second = world.dispatcher.options(barrier=True, only=[p1, p2], ttl=None).send_request("t")
    assert third.results() == ["p3"]
    assert first.results() == ["p2", "p3"]
    assert second.results() == ["p1", "p2"]
    assert world.clock.now() == pytest.approx(0.35)


@pytest.mark.parametrize("how", ["cancel", "deadline", "early"])
def test_what_a_start_line_keeps_others_from_is_free_when_it_is_gone(
    world: World, how: str
) -> None:
    """However that is."""
    p1 = site(world, "p1", exclusive="psu1")
    p2 = site(world, "p2", exclusive="psu1")
    p3 = site(world, "p3", 1000)
    busy(world, "p3")
    ttl = 200 if how == "deadline" else None
    barrier = 200 if how == "early" else True
    first = together(world, barrier, only=[p2, p3], ttl=ttl)
    busy(world, "p2")
    second = together(world, only=[p1], ttl=None)
    world.clock.advance(200)
    assert verdicts(second) == ["open(AT_INSTRUMENT)"]
    assert p1.asked == []
    if how == "cancel":
        first.cancel()
    world.clock.advance(1)
    assert second.results() == ["p1"]
    assert last_start(p1)[0] <= 400


def test_members_that_share_an_instrument_cannot_start_together(world: World) -> None:
    """A mistake at the call; nothing is sent."""
    site(world, "a", exclusive=["psu1", "scope"])
    site(world, "b", exclusive=["dmm", "scope"])
    with pytest.raises(ValueError, match="a and b both need 'scope' for themselves"):
        together(world)
    assert world.dispatcher.statistics().requests == 0
    assert together(world, without="b").results() == ["a"]


@pytest.mark.parametrize("bad", [0, -1, float("nan"), "yes", []], ids=repr)
def test_nonsense_is_refused_at_the_call(world: World, bad: Any) -> None:
    """Naming the option."""
    with pytest.raises((TypeError, ValueError), match="barrier must be"):
        world.dispatcher.options(barrier=bad)


@pytest.mark.parametrize("none", [None, False])
def test_no_barrier_is_none(world: World, none: Any) -> None:
    """And for ever is True."""
    a, b = site(world, "a"), site(world, "b")
    busy(world, "b")
    world.dispatcher.options(barrier=none).send_request("t").wait()
    assert last_start(a, b) == [0, 100]
    busy(world, "b")
    together(world, float("inf")).wait()
    assert last_start(a, b) == [300, 300]


def test_a_policy_is_weighed_at_a_start_line_too(world: World) -> None:
    """Impossible ends it at once; a quorum is reached after the start."""
    site(world, "a", 10)
    b, _ = site(world, "b", 20), site(world, "c", 300)
    busy(world, "c")
    handle = together(world, need=3)
    world.clock.settle()
    world.dispatcher.disable(b)
    world.clock.settle()
    assert handle.completion is Completion.IMPOSSIBLE
    assert verdicts(handle) == ["SKIPPED(AT_LINE)", "WITHDRAWN", "MISSING(QUEUED)"]
    world.dispatcher.enable(b)
    handle = together(world, need=2)
    assert handle.results() == ["a", "b"]
    handle = together(world, need=Stall(50))
    assert handle.results() == ["a", "b"]
    assert handle.completion is Completion.STALLED


def test_sent_before_the_start_it_starts_then(world: World) -> None:
    """Whoever was disabled meanwhile is not asked."""
    early = World(start=False)
    a, b, c = site(early, "a"), site(early, "b"), site(early, "c")
    handle = together(early)
    plain = early.send(ttl=None)
    early.dispatcher.disable(b)
    early.dispatcher.start()
    assert handle.results() == ["a", "c"]
    assert plain.results() == ["a", "c"]
    assert verdicts(handle) == verdicts(plain) == ["OK", "WITHDRAWN", "OK"]
    assert b.asked == []
    for each in (a, b, c):
        early.dispatcher.disable(each)
    assert together(early).completion is Completion.NO_PRODUCERS
    early.close()


def test_all_of_a_held_request_may_be_disabled_before_the_start(world: World) -> None:
    """Then it has ended, and keeps nothing."""
    early = World(start=False)
    a = site(early, "a", exclusive="psu1")
    handle = together(early)
    early.dispatcher.disable(a)
    early.dispatcher.start()
    early.clock.settle()
    assert verdicts(handle) == ["WITHDRAWN"]
    assert not reserved(early.dispatcher)
    early.close()


def test_guests_and_workers_start_together_too(world: World) -> None:
    """Over dispatchers that share them."""
    second = world.second()
    crew = world.cast(ScriptedProducer(answers("crew", after_ms=100), name="crew", workers=2))
    a = site(world, "a")
    world.dispatcher.register_result_producer(crew, "t", start=True)
    for each in (crew, a):
        second.register_result_producer(each, "u")
    handles = [
        together(world),
        second.options(barrier=True, ttl=None).send_request("u"),
        together(world),
    ]
    for handle in handles:
        assert sorted(handle.results()) == ["a", "crew"]
    assert [round(asked.at * 1000) for asked in a.asked] == [0, 100, 200]
    assert [round(asked.at * 1000) for asked in crew.asked] == [0, 100, 200]


def test_hooks_and_statistics_agree(world: World) -> None:
    """The verdict at the end is the last word on who has waited."""
    seen: List[Any] = []
    world.dispatcher.add_hook(seen.append)
    site(world, "a")
    site(world, "b", 500)
    busy(world, "b")
    together(world, ttl=100).wait()
    world.clock.advance(1000)
    (completed,) = [e for e in seen if e.name.endswith("completed") and e.topic == "t"]
    assert [(name, word.name) for name, word in completed.verdicts] == [
        ("a", "SKIPPED"),
        ("b", "MISSING"),
    ]
    skipped = [event.producer for event in seen if event.name.endswith("skipped")]
    assert skipped == ["b"]


# -- real threads ------------------------------------------------------------------------------


@pytest.mark.usefixtures("pace")
def test_two_senders_never_block_each_other() -> None:
    """Barrier requests from many threads, over two dispatchers, to the same producers."""
    with Dispatcher() as first, Dispatcher() as second:
        producers = [rig.Answer(name=f"p{n}", workers=1 + n // 3) for n in range(4)]
        for dispatcher in (first, second):
            for producer in producers if dispatcher is first else reversed(producers):
                dispatcher.register_result_producer(producer, "t")
        for producer in producers:
            producer.start()
        handles: List[Any] = []

        def send(dispatcher: Dispatcher) -> None:
            sender = dispatcher.options(barrier=True, ttl=None)
            handles.extend([sender.send_request("t", n) for n in range(40)])

        threads = [threading.Thread(target=send, args=(each,)) for each in (first, second) * 2]
        for thread in threads:
            thread.start()
        rig.over(*threads)
        rig.ended(*handles)
        assert len(handles) == 160
        assert all(handle.report().complete for handle in handles)
        for dispatcher in (first, second):
            rig.sums_add_up(dispatcher)


def test_nobody_begins_before_the_last_is_there_on_real_threads() -> None:
    """And then everybody does."""
    with Dispatcher() as dispatcher:
        late = rig.Gated(name="late")
        others = [rig.Answer(name=f"p{n}") for n in range(3)]
        dispatcher.register_result_producer(late, "t", "late", start=True)
        for other in others:
            dispatcher.register_result_producer(other, "t", start=True)
        dispatcher.send_request("late")
        rig.came(late.entered)
        handle = dispatcher.options(barrier=True, ttl=None).send_request("t", 1)
        plain = dispatcher.options(without=late).send_request("t", 2)
        assert not plain.wait(0.05)
        assert verdicts(handle) == ["open(QUEUED)", *["open(AT_LINE)"] * 3]
        late.gate.set()
        rig.ended(handle, plain)
        report = handle.report()
        assert report.complete
        assert report.skew_ms is not None
        assert 0 <= report.skew_ms < 1000
        begun = [member.began_ms for member in report.members]
        assert report.skew_ms == pytest.approx(max(begun) - min(begun))


@pytest.mark.usefixtures("pace")
@pytest.mark.parametrize("how", ["deadline", "cancel", "early"])
def test_the_start_and_the_end_may_meet(how: str) -> None:
    """At the moment in which the last one comes to the line: all begin, or nobody does."""
    with Dispatcher() as dispatcher:
        late = rig.Gated(name="late", exclusive="psu1")
        other = rig.Answer(name="other")
        dispatcher.register_result_producer(late, "t", "late", start=True)
        dispatcher.register_result_producer(other, "t", start=True)
        for n in range(60):
            late.entered.clear()
            late.gate.clear()
            held = dispatcher.send_request("late", ttl=None)
            rig.came(late.entered)
            sender = dispatcher.options(
                barrier=1 + n % 2 if how == "early" else True,
                ttl=1 + n % 3 if how == "deadline" else None,
            )
            handle = sender.send_request("t", n)
            handle.wait(0.001)
            late.gate.set()
            if how == "cancel":
                handle.cancel()
            rig.ended(held, handle)
            began = [member.ran_ms is not None for member in handle.report().members]
            assert how == "early" or began in ([True] * 2, [False] * 2), handle.report()
            # It may still be in what was cancelled: not in the next round, behind a shut gate.
            rig.ended(dispatcher.send_request("late", ttl=None))
        rig.settle(dispatcher)
        assert dispatcher.send_request("t", ttl=None).results(FOREVER / 1e9)
        rig.sums_add_up(dispatcher)
        assert not reserved(dispatcher)
