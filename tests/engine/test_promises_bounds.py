"""Nothing holds the section for long, however much there is of whatever it is.

Counted, not timed: the lines of the package that are executed in one pass of the section, and the
verdicts that it brings.
"""

from __future__ import annotations

from typing import Any, Iterator

import inside
import pytest
from counting import Watch, hang, watch
from rig import Answer
from virtual import FOREVER, World, verdicts

from ate_dispatcher import Completion, Until

__all__ = ["watch"]

pytestmark = pytest.mark.thorough


@pytest.fixture
def world(watch: Watch) -> Iterator[World]:
    """A dispatcher on virtual time, watched."""
    made = World()
    made.clock.settle()
    yield made
    made.close()


# -- passes (2, 9, and the cliffs) -------------------------------------------------------------


def test_many_deadlines_at_one_instant(watch: Watch, world: World) -> None:
    """16 hung members times 100 requests with one deadline."""
    hang(world, 16)
    for _ in range(100):
        world.send(ttl=100)
    watch.forget()
    world.clock.advance(200)
    assert world.dispatcher.statistics().completions[Completion.DEADLINE] == 100
    watch.passes_were_short()


def test_many_deadlines_of_producers_that_were_never_started(watch: Watch, world: World) -> None:
    """Nobody ever looks into their mailboxes."""
    for _ in range(16):
        world.producer(start=False)
    for _ in range(100):
        world.send(ttl=100)
    watch.forget()
    world.clock.advance(200)
    assert world.dispatcher.statistics().completions[Completion.DEADLINE] == 100
    watch.passes_were_short()


@pytest.mark.parametrize("barrier", [False, True])
@pytest.mark.parametrize("how", ["deadline", "cancel", "quorum", "stop"])
@pytest.mark.parametrize("start", [False, True])
def test_one_request_with_many_members(
    watch: Watch, world: World, start: bool, how: str, barrier: bool
) -> None:
    """Its end is said in parts; late answers and skips come behind it."""
    count = 300
    if start:
        hang(world, count - 1)
    for _ in range(0 if start else count - 1):
        world.producer(start=False)
    world.producer(50)
    need = 1 if how == "quorum" else None
    handle = world.dispatcher.options(ttl=1000, need=need, barrier=barrier and 10).send_request("t")
    world.clock.advance(20)
    watch.forget()
    if how == "cancel":
        handle.cancel()
    if how == "stop":
        world.dispatcher.stop(immediate=True)
    world.clock.advance(2000)
    assert handle.completion is not None
    assert len(handle.report().members) == count
    watch.passes_were_short()


@pytest.mark.parametrize("ttl", [None, FOREVER], ids=["without a ttl", "with one"])
@pytest.mark.parametrize("which", [0, -1], ids=["the oldest", "the newest"])
def test_a_cancel_among_many_arrivals(watch: Watch, world: World, ttl: Any, which: int) -> None:
    """They were sent while the dispatcher's thread had no chance to take them in."""
    hang(world, 1)
    handles = [world.send(ttl=ttl) for _ in range(1000)]
    handles[which].cancel()
    watch.forget()
    world.clock.settle()
    assert handles[which].completion is Completion.CANCELLED
    watch.passes_were_short()


def test_a_reply_that_overtakes_many_arrivals(watch: Watch, world: World) -> None:
    """It ends while thousands that were sent before it are open."""
    hang(world, 1)
    world.producer(0, topic="quick")
    for _ in range(1000):
        world.send(ttl=None)
    quick = world.send(topic="quick")
    watch.forget()
    quick.wait()
    world.clock.settle()
    watch.passes_were_short()


def test_quorums_against_a_hung_producer(watch: Watch, world: World) -> None:
    """Each ends in the mailbox of one who does not come to it, behind one that is open."""
    hang(world, 1)
    world.send(ttl=None)
    world.producer(0)
    first = world.dispatcher.options(ttl=None, need=1)
    handles = [first.send_request("t") for _ in range(2000)]
    watch.forget()
    world.clock.settle()
    assert all(each.completion is Completion.QUORUM for each in handles)
    watch.passes_were_short(2)


def test_quorums_against_a_hung_producer_that_has_others_waiting(
    watch: Watch, world: World
) -> None:
    """Half of its mailbox ends, here and there."""
    (hung,) = hang(world, 1)
    world.producer(0)
    first = world.dispatcher.options(ttl=None, need=1)
    alone = world.dispatcher.options(ttl=None, only=hung)
    handles = []
    for _ in range(200):
        alone.send_request("t")
        handles += [first.send_request("t"), first.send_request("t")]
    watch.forget()
    world.clock.settle()
    assert all(each.completion is Completion.QUORUM for each in handles)
    assert inside.backlog(hung) < 400
    watch.passes_were_short(2)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("keys", [0, 1, 1000])
def test_disabling_one_with_much_in_its_mailbox(
    watch: Watch, world: World, workers: int, keys: int
) -> None:
    """All of it is withdrawn, a part at a time."""
    hung = Answer(lambda *_: world.clock.sleep(FOREVER), workers=workers)
    world.dispatcher.register_result_producer(world.cast(hung), "t", start=True)
    world.clock.settle()
    senders = [
        world.dispatcher.options(ttl=None, ordering_key=f"key {key}" if keys else None)
        for key in range(keys or 1)
    ]
    # The first that is sent keeps its key busy; so the workers sort all others into lanes.
    begun = [senders[0].send_request("t") for _ in range(workers)]
    world.clock.settle()
    handles = [senders[n % len(senders)].send_request("t") for n in range(1000)]
    world.clock.settle()
    world.dispatcher.disable(hung)
    watch.forget()
    world.clock.settle()
    ended_ = [each.report().members[0].verdict for each in handles]
    assert sum(verdict is not None for verdict in ended_) >= 990
    assert begun[0].completion is None
    watch.passes_were_short()


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
def test_workers_that_sort_many_messages_of_one_key(watch: Watch, world: World, late: bool) -> None:
    """One worker has the key, the other looks for what it may begin: a part at a time."""
    hung = Answer(lambda *_: world.clock.sleep(FOREVER), workers=2)
    world.dispatcher.register_result_producer(world.cast(hung), "t", start=True)
    world.clock.settle()
    sender = world.dispatcher.options(ttl=None, ordering_key="key")
    begun = sender.send_request("t")
    if late:
        world.clock.settle()
    for _ in range(1000):
        sender.send_request("t")
    watch.forget()
    world.clock.settle()
    assert verdicts(begun) == ["open(RUNNING)"]
    watch.passes_were_short()


@pytest.mark.parametrize("keys", [1, 2000])
def test_lanes_in_which_all_has_ended(watch: Watch, world: World, keys: int) -> None:
    """Their requests expire while they wait for their keys."""
    hung = Answer(lambda *_: world.clock.sleep(1), workers=2)
    world.dispatcher.register_result_producer(world.cast(hung), "t", start=True)
    world.clock.settle()
    for number in range(2000):
        sender = world.dispatcher.options(ttl=100, ordering_key=f"key {number % keys}")
        sender.send_request("t")
    watch.forget()
    world.clock.advance(5000)
    watch.passes_were_short()


def test_a_stop_with_many_open(watch: Watch, world: World) -> None:
    """They end as STOPPED, a part at a time."""
    hang(world, 2)
    handles = [world.send(ttl=None) for _ in range(2000)]
    watch.forget()
    world.dispatcher.stop(immediate=True)
    world.clock.settle()
    assert all(each.completion is Completion.STOPPED for each in handles)
    watch.passes_were_short(2)


def test_the_end_of_a_drain_with_many_open(watch: Watch, world: World) -> None:
    """Likewise when the time for it is over."""
    hang(world, 2)
    handles = [world.send(ttl=None) for _ in range(2000)]
    watch.forget()
    world.dispatcher.stop(drain=100)
    world.clock.advance(200)
    assert all(each.completion is Completion.STOPPED for each in handles)
    watch.passes_were_short(2)


def test_a_producer_that_comes_back_to_much_that_has_ended(watch: Watch, world: World) -> None:
    """Each is SKIPPED, a part at a time."""
    world.producer([500, 0])
    world.send(ttl=None)
    world.clock.settle()
    handles = [world.send(ttl=100) for _ in range(1000)]
    watch.forget()
    world.clock.advance(1000)
    assert {each.report().members[0].verdict.name for each in handles} == {"SKIPPED"}
    watch.passes_were_short()


def test_a_producer_that_ends_with_much_in_its_mailbox(watch: Watch, world: World) -> None:
    """Each gets its verdict, a part at a time."""
    producer = world.producer(500)
    world.send(ttl=None)
    world.clock.settle()
    producer.stop()
    handles = [world.send(ttl=None) for _ in range(1000)]
    watch.forget()
    world.clock.advance(1000)
    assert all(each.completion is Completion.ALL_REPLIED for each in handles)
    watch.passes_were_short()


def test_many_barriers_that_wait_for_one_instrument(watch: Watch, world: World) -> None:
    """Each reserves it, in one order; who is done with one looks for who is next."""
    for name in ("a", "b"):
        producer = Answer(lambda *_: world.clock.sleep(0.001), exclusive=name)
        world.dispatcher.register_result_producer(world.cast(producer), "t", start=True)
    together = world.dispatcher.options(ttl=None, barrier=True)
    handles = [together.send_request("t") for _ in range(500)]
    watch.forget()
    world.clock.advance(2000)
    assert all(each.report().complete for each in handles)
    watch.passes_were_short(2)


def test_many_streams_under_a_policy(watch: Watch, world: World) -> None:
    """A member's end does not look through the values of all others."""

    def produce(*_: Any) -> Iterator[int]:
        yield from range(10)

    for _ in range(25):
        producer = Answer(produce, stream=True)
        world.dispatcher.register_result_producer(world.cast(producer), "t", start=True)
    watch.forget()
    handle = world.dispatcher.options(ttl=None, need=Until(lambda _: False)).send_request("t")
    handle.wait()
    assert handle.report().complete
    watch.passes_were_short()


@pytest.mark.parametrize("need", [None, 2])
def test_the_end_of_a_request_with_a_long_stream(watch: Watch, world: World, need: Any) -> None:
    """Its parts were counted as they came."""

    def produce(*_: Any) -> Iterator[int]:
        yield from range(3000)
        world.clock.sleep(FOREVER)

    def nothing(*_: Any) -> Iterator[int]:
        world.clock.sleep(1)
        yield from ()

    for each in (produce, nothing):
        producer = Answer(each, stream=True)
        world.dispatcher.register_result_producer(world.cast(producer), "t", start=True)
    handle = world.dispatcher.options(ttl=None, need=need).send_request("t")
    world.clock.settle()
    watch.forget()
    world.clock.advance(10)
    handle.cancel()
    world.clock.settle()
    assert handle.completion is Completion.CANCELLED
    assert len(handle.replies) == 3000
    watch.passes_were_short(2)
