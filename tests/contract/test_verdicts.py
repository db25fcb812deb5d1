"""What becomes of every pair of request and producer; on virtual time.

The fixture ``world`` checks at the end of every test that the sums add up: nobody is judged twice,
nobody is forgotten.
"""

from __future__ import annotations

from typing import Any

import pytest
from virtual import FOREVER, Attentive, World, queued_behind, sums_add_up, verdicts, world

from ate_dispatcher import Completion, DispatcherStopped, Verdict

__all__ = ["world"]


def test_while_it_is_open_a_member_without_answer_has_a_standing(world: World) -> None:
    """And no verdict yet; the report is a snapshot of now."""
    world.producer(10, "quick")
    world.producer(FOREVER)
    world.producer(start=False)
    busy = world.producer([100, 0], topic="u")
    world.send(topic="u", ttl=None)
    world.clock.settle()
    world.dispatcher.register_result_producer(busy, "t")
    handle = world.send(ttl=50)
    assert verdicts(handle) == ["open(QUEUED)", "open(QUEUED)", "open(NOT_STARTED)", "open(QUEUED)"]
    world.clock.advance(20)
    before = handle.report()
    assert verdicts(handle) == ["OK", "open(RUNNING)", "open(NOT_STARTED)", "open(QUEUED)"]
    waited = [member.waited_ms for member in before.members]
    ran = [member.ran_ms for member in before.members]
    assert waited == pytest.approx([0, 0, 20, 20])
    assert ran == [pytest.approx(10), pytest.approx(20), None, None]
    assert (before.completion, before.complete, before.elapsed_ms) == (None, False, 20)
    handle.wait()
    assert before.completion is None
    assert verdicts(handle)[1:] == ["MISSING(RUNNING)", "MISSING(NOT_STARTED)", "MISSING(QUEUED)"]


def test_ok_and_error_are_verdicts_of_an_answer_in_time(world: World) -> None:
    """An exception is an answer: the request is over, and not complete."""
    world.producer(10)
    world.producer(20, KeyError("k"))
    handle = world.send()
    assert handle.results() == ["value"]
    report = handle.report()
    assert verdicts(handle) == ["OK", "ERROR"]
    assert report.completion is Completion.ALL_REPLIED
    assert not report.complete
    assert report.members[1].error == "KeyError"


def test_all_ok_is_complete(world: World) -> None:
    """ALL_REPLIED at the instant of the last answer."""
    world.producer(10)
    world.producer(20)
    handle = world.send()
    handle.wait()
    assert handle.report().complete
    assert handle.report().elapsed_ms == 20
    assert world.clock.now() == 0.02


def test_queued_at_the_deadline_is_missing_then_skipped(world: World) -> None:
    """It is not executed when its turn comes."""
    producer = queued_behind(world)
    handle = world.send("wanted", ttl=100)
    handle.wait()
    assert verdicts(handle) == ["MISSING(QUEUED)"]
    world.clock.advance(1000)
    assert verdicts(handle) == ["SKIPPED(QUEUED)"]
    assert [asked.args for asked in producer.asked] == [("busy",)]
    counts = world.dispatcher.statistics().verdicts
    assert (counts[Verdict.OK], counts[Verdict.SKIPPED], counts[Verdict.MISSING]) == (1, 1, 0)


def test_queued_is_skipped_too_when_more_of_them_end(world: World) -> None:
    """So a hung producer does not keep what it has missed, however much that is."""
    queued_behind(world, FOREVER)
    first = world.send(ttl=100)
    first.wait()
    assert verdicts(first) == ["MISSING(QUEUED)"]
    second = world.send(ttl=100)
    second.wait()
    assert verdicts(first) == ["SKIPPED(QUEUED)"]
    assert verdicts(second) == ["MISSING(QUEUED)"]


def test_never_started_is_missing_then_skipped_when_started(world: World) -> None:
    """And the requests that are still open when it starts are served."""
    producer = world.producer(start=False)
    expired, wanted = world.send(1, ttl=100), world.send(2, ttl=10_000)
    expired.wait()
    assert verdicts(expired) == ["MISSING(NOT_STARTED)"]
    assert verdicts(wanted) == ["open(NOT_STARTED)"]
    producer.start()
    assert wanted.results() == ["value"]
    assert verdicts(expired) == ["SKIPPED(NOT_STARTED)"]
    assert [asked.args for asked in producer.asked] == [(2,)]


@pytest.mark.parametrize("answer", ["value", ValueError("too late")], ids=["value", "error"])
def test_running_at_the_deadline_is_missing_then_late(world: World, answer: Any) -> None:
    """By how much is in the report; nobody hears of the value."""
    listener = world.listener(Attentive)
    world.producer(350, answer)
    handle = world.send(ttl=100)
    handle.wait()
    assert verdicts(handle) == ["MISSING(RUNNING)"]
    at_the_end = handle.report().members[0]
    assert (at_the_end.waited_ms, at_the_end.ran_ms) == (0, pytest.approx(100))
    world.clock.advance(1000)
    member = handle.report().members[0]
    assert verdicts(handle) == ["LATE"]
    assert member.late_ms == pytest.approx(250)
    assert member.ran_ms == pytest.approx(350)
    assert handle.replies == ()
    assert len(listener.heard) == 1


@pytest.mark.parametrize("answer", ["value", ValueError("unwanted")], ids=["value", "error"])
@pytest.mark.parametrize(("ms", "afterwards"), [(50, "SURPLUS"), (100, "SURPLUS"), (350, "LATE")])
def test_running_at_a_cancel_is_missing_then_surplus_or_late(
    world: World, ms: float, afterwards: str, answer: Any
) -> None:
    """The deadline of the request still tells the two apart, to the very instant."""
    listener = world.listener()
    world.producer(ms, answer)
    handle = world.send(ttl=100)
    world.clock.advance(10)
    handle.cancel()
    assert handle.results() == []
    assert verdicts(handle) == ["MISSING(RUNNING)"]
    world.clock.advance(1000)
    assert verdicts(handle) == [afterwards]
    assert handle.completion is Completion.CANCELLED
    assert listener.heard == []


@pytest.mark.parametrize("started", [True, False])
def test_not_begun_at_a_cancel_is_cancelled_for_good(world: World, started: bool) -> None:
    """Its turn changes nothing any more, and it is not executed."""
    producer = queued_behind(world) if started else world.producer(start=False)
    handle = world.send("wanted")
    handle.cancel()
    handle.wait()
    assert verdicts(handle) == ["CANCELLED(QUEUED)" if started else "CANCELLED(NOT_STARTED)"]
    if not started:
        producer.start()
    world.clock.advance(1000)
    assert verdicts(handle) == ["CANCELLED(QUEUED)" if started else "CANCELLED(NOT_STARTED)"]
    assert ("wanted",) not in [asked.args for asked in producer.asked]


def test_an_ended_thread_declines_at_the_send(world: World) -> None:
    """At once, as does one that was stopped before it was started and then started."""
    ended = world.producer(0)
    ended.stop()
    ended.join()
    handle = world.send()
    assert handle.results() == []
    assert verdicts(handle) == ["DECLINED"]
    assert handle.completion is Completion.ALL_REPLIED
    assert not handle.report().complete
    assert handle.missing == (ended,)
    assert world.clock.now() == 0


def test_a_thread_that_dies_in_between_is_missing_as_dead(world: World) -> None:
    """Final: what waited behind its stop will never be executed."""
    producer = world.producer(10)
    served = world.send()
    world.clock.settle()
    producer.stop()
    waiting = world.send()
    assert waiting.results() == []
    assert served.results() == ["value"]
    assert verdicts(waiting) == ["MISSING(DEAD)"]
    assert waiting.completion is Completion.ALL_REPLIED
    assert waiting.report().elapsed_ms == pytest.approx(10)


def test_stopped_at_once_withdraws_what_had_not_begun(world: World) -> None:
    """Queued or never started; who runs is missing, and his answer surplus."""
    queued_behind(world, 50)
    world.producer(start=False)
    runs = world.producer([0, 100])
    world.clock.settle()
    world.send(ttl=None).cancel()
    world.clock.settle()
    handle = world.send(ttl=1000)
    world.clock.settle()
    assert verdicts(handle) == ["open(QUEUED)", "open(NOT_STARTED)", "open(RUNNING)"]
    world.dispatcher.stop(immediate=True)
    handle.wait()
    assert handle.completion is Completion.STOPPED
    expected = ["WITHDRAWN(QUEUED)", "WITHDRAWN(NOT_STARTED)"]
    assert verdicts(handle) == [*expected, "MISSING(RUNNING)"]
    world.clock.advance(500)
    assert verdicts(handle) == [*expected, "SURPLUS"]
    assert len(runs.asked) == 2


def test_a_stop_lets_requests_run_to_their_end_within_the_drain(world: World) -> None:
    """What ends within it ends as ever; the rest ends as STOPPED when the drain is over."""
    world.producer(300)
    world.producer(FOREVER, topic="u")
    served, hung, expired = world.send(), world.send(topic="u"), world.send(topic="u", ttl=100)
    world.clock.settle()
    world.dispatcher.stop(drain=500)
    with pytest.raises(DispatcherStopped):
        world.send()
    assert served.results() == ["value"]
    hung.wait()
    assert world.clock.now() == pytest.approx(0.5)
    assert (expired.completion, hung.completion) == (Completion.DEADLINE, Completion.STOPPED)
    assert verdicts(hung) == ["MISSING(RUNNING)"]


def test_a_drain_of_none_waits_for_the_deadlines(world: World) -> None:
    """And no longer."""
    world.producer(FOREVER)
    handle = world.send(ttl=60_000)
    world.dispatcher.stop(drain=None)
    world.dispatcher.join()
    assert handle.completion is Completion.DEADLINE
    assert world.clock.now() == pytest.approx(60)


def test_every_end_has_its_reason(world: World) -> None:
    """And the statistics count them."""
    world.producer(10)
    world.producer(FOREVER, topic="hung")
    answered, nobody = world.send(), world.send(topic="nobody")
    assert nobody.done()
    assert nobody.completion is Completion.NO_PRODUCERS
    expired, cancelled = world.send(topic="hung", ttl=50), world.send(topic="hung")
    stopped = world.send(topic="hung", ttl=None)
    cancelled.cancel()
    world.clock.advance(100)
    world.dispatcher.stop(immediate=True)
    world.dispatcher.join()
    for handle, reason in [
        (answered, Completion.ALL_REPLIED),
        (nobody, Completion.NO_PRODUCERS),
        (expired, Completion.DEADLINE),
        (cancelled, Completion.CANCELLED),
        (stopped, Completion.STOPPED),
    ]:
        assert handle.done()
        assert handle.completion is reason
        assert handle.report().completion is reason
        assert world.dispatcher.statistics().completions[reason] == 1
    assert world.dispatcher.statistics().requests == 5


def test_what_has_expired_before_the_start_ends_then_without_being_scattered() -> None:
    """The deadline of a kept request runs; what is still wanted is served, in order."""
    world = World(start=False)
    producer = world.producer(0, lambda topic, n: n)
    expired = world.send(1, ttl=100)
    wanted = [world.send(n, ttl=1000) for n in (2, 3)]
    world.clock.advance(200)
    assert not expired.done()
    world.dispatcher.start()
    assert [handle.results() for handle in wanted] == [[2], [3]]
    assert expired.completion is Completion.DEADLINE
    assert [asked.args for asked in producer.asked] == [(2,), (3,)]
    world.close()


def test_the_statistics_count_open_requests_too(world: World) -> None:
    """At any quiet moment, with what their members have so far."""
    world.producer(10)
    world.producer(20, ValueError("x"))
    world.producer(FOREVER)
    world.send(ttl=None)
    world.clock.advance(30)
    statistics = world.dispatcher.statistics()
    assert (statistics.requests, statistics.open) == (1, 1)
    assert (statistics.fan_out, statistics.pending) == (3, 1)
    assert statistics.verdicts[Verdict.OK] == statistics.verdicts[Verdict.ERROR] == 1
    sums_add_up(world.dispatcher)


def test_the_sums_add_up_at_every_instant_of_a_long_day(world: World) -> None:
    """Through answers, errors, expiry, cancels, queues, late answers and a death."""
    producers = [
        world.producer([n % 7 * 10 for n in range(k, k + 50)], answer)
        for k, answer in enumerate(["a", "b", ValueError("c"), "d"])
    ]
    world.producer(start=False)
    handles = []
    for n in range(40):
        handles.append(world.send(ttl=[None, 5, 35, 80, 1000][n % 5]))
        if n % 3 == 0:
            handles[n // 2].cancel()
        if n == 25:
            producers[0].stop()
        world.clock.advance(n % 4 * 6)
        sums_add_up(world.dispatcher)
        total = [v for h in handles for v in verdicts(h)]
        assert len(total) == world.dispatcher.statistics().fan_out
        pending = sum(v.startswith("open") for v in total)
        assert pending == world.dispatcher.statistics().pending
    while world.clock.advance_to_next():
        sums_add_up(world.dispatcher)
    for verdict in Verdict:
        total = [v.split("(")[0] for h in handles for v in verdicts(h)]
        count = world.dispatcher.statistics().verdicts[verdict]
        assert total.count(verdict.name) == count, verdict
