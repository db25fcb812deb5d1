"""When it is enough: policies through the dispatcher, on virtual time."""

from __future__ import annotations

import threading
from typing import Any, List

import pytest
from virtual import FOREVER, Attentive, World, errors, sums_add_up, verdicts, world

from ate_dispatcher import (
    All,
    Completion,
    First,
    IncompleteError,
    Quorum,
    Stall,
    StopOnError,
    Until,
    current_request,
)

__all__ = ["world"]


def ask(world: World, need: Any, *args: Any, ttl: Any = None) -> Any:
    """Send a request under a policy, by default without a deadline."""
    return world.dispatcher.options(need=need, ttl=ttl).send_request("t", *args)


def five(world: World) -> List[Any]:
    """Producers that answer 1 to 5 after 100 to 500 ms."""
    return [world.producer(100 * n, n) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("need", "values", "ms", "reason", "policy"),
    [
        (3, [1, 2, 3], 300, "QUORUM", "Quorum(3)"),
        ("first", [1], 100, "QUORUM", "First()"),
        ("all", [1, 2, 3, 4, 5], 500, "ALL_REPLIED", None),
        (None, [1, 2, 3, 4, 5], 500, "ALL_REPLIED", None),
        (All(), [1, 2, 3, 4, 5], 500, "ALL_REPLIED", None),
        (First(), [1], 100, "QUORUM", "First()"),
        (Stall(50), [1], 150, "STALLED", "Stall(50)"),
        (Stall(100), [1, 2, 3, 4, 5], 500, "ALL_REPLIED", None),
        (Quorum(3) | Stall(50), [1], 150, "STALLED", "Stall(50)"),
        (Quorum(3) | Stall(150), [1, 2, 3], 300, "QUORUM", "Quorum(3)"),
        (Quorum(2) & Stall(50), [1, 2], 250, "STALLED", "Quorum(2) & Stall(50)"),
        (Until(lambda replies: len(replies) == 2), [1, 2], 200, "PREDICATE", "Until(<lambda>)"),
        (StopOnError(), [1, 2, 3, 4, 5], 500, "ALL_REPLIED", None),
    ],
    ids=str,
)
def test_a_request_is_over_when_its_policy_says_so(
    world: World, need: Any, values: List[int], ms: float, reason: str, policy: Any
) -> None:
    """Not before, not later; the report names the part that said so."""
    five(world)
    handle = ask(world, need)
    assert handle.results() == values
    assert world.clock.now() == pytest.approx(ms / 1000)
    report = handle.report()
    assert (report.completion.name, report.policy) == (reason, policy)
    assert report.to_dict()["policy"] == policy
    assert (f"{reason} by {policy} after" if policy else f"{reason} after") in str(report)


def test_the_deadline_is_the_end_under_every_policy(world: World) -> None:
    """Before the first reply a stall does not count, and it never goes beyond the deadline."""
    world.producer(FOREVER)
    for need in (1, "first", Stall(10), Until(bool), StopOnError(), Stall(10) & Quorum(1)):
        before = world.clock.now()
        handle = ask(world, need, ttl=100)
        assert handle.results() == []
        assert handle.completion is Completion.DEADLINE
        assert world.clock.now() - before == pytest.approx(0.1)
    world.producer(1000, topic="late")
    world.producer(FOREVER, topic="late")
    handle = world.dispatcher.options(need=Stall(500), ttl=1200).send_request("late")
    handle.wait()
    assert handle.completion is Completion.DEADLINE


def test_the_keeper_wakes_up_for_a_quiet_that_it_did_not_know_of(world: World) -> None:
    """Although nothing has a deadline, or one that is far off."""
    world.producer(100, "quick")
    world.producer(FOREVER)
    world.send(topic="t", ttl=3600_000).cancel()
    handle = ask(world, Stall(50), ttl=3600_000)
    world.clock.settle()
    assert handle.results() == ["quick"]
    assert handle.completion is Completion.STALLED
    assert world.clock.now() < 1


def test_who_is_not_needed_any_more_is_not_asked(world: World) -> None:
    """Queued ones are skipped; who runs can see it, and its answer is surplus."""
    world.producer(10, "quick")
    slow = world.producer(100)
    handles = [ask(world, "first") for _ in range(3)]
    for handle in handles:
        assert handle.results() == ["quick"]
    world.clock.advance(1000)
    assert [verdicts(handle) for handle in handles] == [
        ["OK", "SURPLUS"],
        ["OK", "SKIPPED(QUEUED)"],
        ["OK", "SKIPPED(QUEUED)"],
    ]
    assert len(slow.asked) == 1


def test_what_cannot_be_had_ends_at_once(world: World) -> None:
    """At the send, when fewer are asked; else with the fact that makes it impossible."""
    sites = five(world)
    handle = ask(world, 6)
    assert handle.completion is Completion.IMPOSSIBLE
    assert verdicts(handle) == ["WITHDRAWN(QUEUED)"] * 5
    world.clock.advance(1000)
    assert [site.asked for site in sites] == [[]] * 5
    with pytest.raises(IncompleteError, match=r"ended as IMPOSSIBLE of Quorum\(6\) with 0 of 5"):
        handle.results(require="all")
    for site in sites[1:3]:
        site.answer = OSError()
    handle = ask(world, 4)
    assert handle.results() == [1]
    assert handle.completion is Completion.IMPOSSIBLE
    assert world.clock.now() == pytest.approx(1.3)


@pytest.mark.parametrize("need", [3, "first", Stall(10), Until(bool), StopOnError()], ids=str)
def test_nobody_is_nobody_under_every_policy(world: World, need: Any) -> None:
    """At once."""
    assert ask(world, need).completion is Completion.NO_PRODUCERS


def test_a_predicate_is_asked_where_the_reply_came_from(world: World) -> None:
    """On that producer's thread, with the replies so far, errors included; outside every lock."""
    first, second = world.producer(10, OSError("broken")), world.producer(20, 2)
    world.producer(0, "other", topic="other")
    asked: List[Any] = []

    def enough(replies: Any) -> bool:
        # Another producer's thread comes through the section.
        assert world.send(topic="other", ttl=None).results() == ["other"]
        world.dispatcher.statistics()
        nested = world.dispatcher.send_request("nobody")
        assert nested.completion is Completion.NO_PRODUCERS
        asked.append((threading.current_thread(), [reply.ok for reply in replies]))
        return False

    handle = ask(world, Until(enough))
    assert handle.results() == [2]
    assert handle.completion is Completion.IMPOSSIBLE
    assert asked == [(first, [False]), (second, [False, True])]


def test_replies_that_come_while_a_predicate_is_asked_are_accepted(world: World) -> None:
    """Its yes comes when it comes; if it takes too long, the deadline was first."""
    for n in (1, 2, 3):
        world.producer(10 * n, n)

    def slow(replies: Any) -> bool:
        if len(replies) == 1:
            world.clock.sleep(0.015)
        return len(replies) == 1

    handle = ask(world, Until(slow))
    assert handle.results() == [1, 2]
    assert (handle.completion, world.clock.now()) == (Completion.PREDICATE, 0.025)
    world.clock.advance(1000)
    handle = ask(world, Until(slow), ttl=20)
    assert handle.results() == [1, 2]
    assert handle.completion is Completion.DEADLINE


def test_a_predicate_that_raises_ends_that_request_alone(world: World, caplog: Any) -> None:
    """It is logged once, and kept on the handle; the producer goes on."""
    five(world)

    def breaks(replies: Any) -> bool:
        raise KeyError("mine")

    handle, other = ask(world, Until(breaks)), ask(world, 2)
    assert handle.results() == [1]
    assert handle.completion is Completion.IMPOSSIBLE
    assert isinstance(handle.error, KeyError)
    with pytest.raises(IncompleteError) as caught:
        handle.results(require="all")
    assert caught.value.__cause__ is handle.error
    assert other.results() == [1, 2]
    assert other.error is None
    assert ["predicate of request 1" in record.getMessage() for record in errors(caplog)] == [True]


def test_listeners_and_hooks_hear_why(world: World) -> None:
    """The report of that moment says which policy it was."""
    five(world)
    ear = world.listener(Attentive)
    events: List[Any] = []
    world.dispatcher.add_hook(events.append)
    ask(world, 2).wait()
    ask(world, 6).wait()
    world.clock.settle()
    assert ear.heard[:2] == [1, 2]
    assert [(report.completion.name, report.policy) for report in ear.heard[2:]] == [
        ("QUORUM", "Quorum(2)"),
        ("IMPOSSIBLE", "Quorum(6)"),
    ]
    ends = [event for event in events if event.name.endswith("completed")]
    assert [event.completion.name for event in ends] == ["QUORUM", "IMPOSSIBLE"]
    assert [event.report.policy for event in ends] == ["Quorum(2)", "Quorum(6)"]


def test_open_requests_under_a_policy_add_up(world: World) -> None:
    """As all others do, and say how many are to come."""
    five(world)
    handle = ask(world, 4)
    world.clock.advance(250)
    assert repr(handle).endswith("open, 3 to come>")
    statistics = world.dispatcher.statistics()
    assert (statistics.open, statistics.pending) == (1, 3)
    sums_add_up(world.dispatcher)


def test_a_guest_votes_too(world: World) -> None:
    """A producer that is at home at another dispatcher."""
    second = world.second()
    shared = [world.producer(10 * n, n) for n in range(1, 4)]
    for site in shared:
        second.register_result_producer(site, "t")
    handle = second.options(need=2, ttl=None).send_request("t")
    assert handle.results() == [1, 2]
    asked: List[int] = []
    until = Until(lambda replies: asked.append(len(replies)))
    handle = second.options(need=until, ttl=None).send_request("t")
    assert handle.results() == [1, 2, 3]
    assert asked == [1, 2, 3]


@pytest.mark.parametrize(
    "need", [0, -1, 2.5, "last", True, object()], ids=["0", "-1", "2.5", "'last'", "True", "object"]
)
def test_a_nonsense_need_is_refused_at_the_call(world: World, need: Any) -> None:
    """Before anything is sent."""
    with pytest.raises((TypeError, ValueError), match="need must be"):
        world.dispatcher.options(need=need)


def test_what_was_over_at_the_send_counts_before_the_start() -> None:
    """As what it is, with the verdicts of those who were not asked."""
    world = World(start=False)
    five(world)
    ask(world, 6)
    world.dispatcher.send_request("nobody")
    for started in (False, True):
        if started:
            world.dispatcher.start()
            world.clock.settle()
        statistics = world.dispatcher.statistics()
        ends = {end.name: count for end, count in statistics.completions.items() if count}
        words = {word.name: count for word, count in statistics.verdicts.items() if count}
        assert ends == {"IMPOSSIBLE": 1, "NO_PRODUCERS": 1}
        assert (words, statistics.fan_out) == ({"WITHDRAWN": 5}, 5)
    world.close()


def test_nobody_begins_the_next_request_before_the_predicate_has_been_asked(world: World) -> None:
    """What has expired meanwhile is skipped, and what runs is what it is."""
    site = world.producer(0, "value")
    seen: List[Any] = []

    def slow(replies: Any) -> bool:
        seen.append(current_request())
        world.clock.sleep(0.2)
        return True

    handle = ask(world, Until(slow))
    later = world.send(ttl=100)
    third = world.send(ttl=None)
    assert handle.results() == ["value"]
    assert later.results() == []
    assert third.results() == ["value"]
    assert verdicts(later) == ["SKIPPED(QUEUED)"]
    assert seen == [None]
    assert len(site.asked) == 2
    assert third.report().members[0].ran_ms == pytest.approx(0)


def test_off_names_only_those_that_would_have_been_asked(world: World) -> None:
    """Not who was excluded anyway."""
    a, b = world.producer(1, name="a"), world.producer(1, name="b")
    world.dispatcher.disable(b)
    for options, off in (({"only": a}, ()), ({"without": "b"}, ()), ({"without": "a"}, ("b",))):
        handle = world.dispatcher.options(**options).send_request("t")
        handle.wait()
        assert handle.report().off == off


def test_no_predicate_is_asked_about_what_is_over(world: World) -> None:
    """Also where the end is that of many, and takes some time to be written down."""
    asked: List[Any] = []
    world.producer(10)
    for _ in range(20):
        world.producer(FOREVER)
    policy = First() | Until(lambda replies: asked.append(replies))  # type: ignore[func-returns-value]
    handle = world.dispatcher.options(need=policy, ttl=None).send_request("t")
    assert handle.results() == ["value"]
    assert asked == []
