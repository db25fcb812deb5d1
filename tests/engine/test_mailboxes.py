"""What is in the mailboxes of an engine at work, and what wakes its loop; on virtual time."""

from __future__ import annotations

import inside
import pytest
from virtual import FOREVER, Watched, World, forgetful, queued_behind, world

from ate_dispatcher import Verdict

__all__ = ["world"]


# -- listeners ---------------------------------------------------------------------------------


def test_a_listener_that_overrides_neither_callback_is_sent_nothing_of_the_kind(
    world: World,
) -> None:
    """While it is busy nothing but results waits in its mailbox."""
    listener = world.listener(ms=1000)
    world.producer(10, "a")
    world.producer(20, ValueError("x"))
    handle = world.send()
    handle.wait()
    world.clock.settle()
    assert listener.heard == ["a"]
    assert inside.backlog(listener) == 0


# -- payloads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("started", [True, False], ids=["hung", "never started"])
def test_a_producer_shared_with_another_dispatcher_keeps_no_payload(
    world: World, started: bool
) -> None:
    """The second dispatcher's requests end in its mailbox like the first one's; the mailbox does
    not grow, and who was not begun is skipped.
    """
    arguments, results = Watched(), Watched()
    second = world.second()
    shared = queued_behind(world, FOREVER) if started else world.producer(start=False)
    quick = forgetful(world)
    quick.answer = results
    world.dispatcher.deregister_result_producer(quick, "t")
    second.register_result_producer(quick, "t")
    second.register_result_producer(shared, "t")
    for _ in range(20):
        second.send_request("t", arguments(), ttl=100).wait()
        world.clock.settle()
    assert arguments.all_gone()
    assert results.all_gone()
    assert inside.backlog(shared) <= 2
    counts = second.statistics().verdicts
    assert (counts[Verdict.OK], counts[Verdict.MISSING] + counts[Verdict.SKIPPED]) == (20, 20)
    assert counts[Verdict.MISSING] <= 1


# -- options, logging, deadlines ---------------------------------------------------------------


def test_a_sleeping_keeper_is_not_woken_by_what_can_wait(world: World) -> None:
    """Only a nearer deadline, or something to do, rings it."""
    world.producer(FOREVER)
    world.send(ttl=1000)
    world.clock.settle()
    assert inside.loop_is_parked(world.dispatcher)
    for _ in range(10):
        world.send(ttl=2000)
        world.send(ttl=None)
    assert not inside.loop_is_woken(world.dispatcher, world.clock)
    handle = world.send(ttl=500)
    assert inside.loop_is_woken(world.dispatcher, world.clock)
    handle.wait()
    assert world.clock.now() == pytest.approx(0.5)
