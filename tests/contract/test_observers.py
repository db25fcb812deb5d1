"""Hooks and done callbacks see everything and hold nobody up; on virtual time."""

from __future__ import annotations

import weakref
from dataclasses import FrozenInstanceError
from typing import Any, List, Tuple

import pytest
from rig import all_told, observers
from virtual import Ours, World, errors, gone, world

from ate_dispatcher import Completion, Verdict, events

__all__ = ["world"]


def short(event: Any) -> Tuple[Any, ...]:
    """The name without its prefix, and whom it is about."""
    prefix, _, name = event.name.partition(".")
    assert prefix == "ate_dispatcher"
    return (name, event.request, getattr(event, "producer", None))


def test_hooks_see_everything_in_order_under_stable_names(world: World) -> None:
    """One of each kind of event, with its data in fields."""
    seen: List[Any] = []
    world.dispatcher.add_hook(seen.append)
    world.producer(10, name="good")
    world.producer(20, ValueError("x"), name="bad")
    world.producer([350, 0], name="late")
    dead = world.producer(name="dead")
    dead.stop()
    dead.join()
    handle = world.send(ttl=100)
    handle.wait()
    world.clock.settle()
    assert [short(event) for event in seen] == [
        ("request_opened", handle.id, None),
        ("member_declined", handle.id, "dead"),
        ("reply_accepted", handle.id, "good"),
        ("producer_failed", handle.id, "bad"),
        ("request_completed", handle.id, None),
    ]
    second = world.send(ttl=100)
    world.clock.advance(1000)
    assert [short(event) for event in seen][5:] == [
        ("request_opened", second.id, None),
        ("member_declined", second.id, "dead"),
        ("reply_accepted", second.id, "good"),
        ("producer_failed", second.id, "bad"),
        ("request_completed", second.id, None),
        ("reply_discarded", handle.id, "late"),
        ("request_skipped", second.id, "late"),
    ]
    opened, declined, accepted, failed, completed = seen[:5]
    assert opened.members == ("good", "bad", "late", "dead")
    assert (opened.deadline, opened.at, opened.topic) == (0.1, 0.0, "t")
    assert (declined.verdict, declined.standing) == (Verdict.DECLINED, None)
    assert accepted.elapsed_ms == accepted.ran_ms == pytest.approx(10)
    assert isinstance(failed.error, ValueError)
    assert completed.completion is Completion.DEADLINE
    assert dict(completed.verdicts) == {
        "good": Verdict.OK,
        "bad": Verdict.ERROR,
        "late": Verdict.MISSING,
        "dead": Verdict.DECLINED,
    }
    discarded = seen[10]
    assert (discarded.verdict, discarded.late_ms) == (Verdict.LATE, pytest.approx(250))
    with pytest.raises(FrozenInstanceError):
        opened.at = 1.0
    assert [event.at for event in seen] == sorted(event.at for event in seen)


def test_the_names_of_events_are_fixed() -> None:
    """Programs compare them."""
    names = {
        kind.name
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
    }
    assert names == {
        "ate_dispatcher.request_opened",
        "ate_dispatcher.request_progressed",
        "ate_dispatcher.reply_accepted",
        "ate_dispatcher.producer_failed",
        "ate_dispatcher.reply_discarded",
        "ate_dispatcher.member_declined",
        "ate_dispatcher.request_skipped",
        "ate_dispatcher.value_published",
        "ate_dispatcher.listener_failed",
        "ate_dispatcher.mailbox_high",
        "ate_dispatcher.values_lost",
        "ate_dispatcher.request_completed",
    }


def test_a_request_to_nobody_is_opened_and_completed(world: World) -> None:
    """For the hooks as for the statistics."""
    seen: List[Any] = []
    world.dispatcher.add_hook(seen.append)
    world.send(topic="nobody")
    world.clock.settle()
    assert [short(event)[0] for event in seen] == ["request_opened", "request_completed"]


def test_hooks_given_to_the_constructor_see_what_was_sent_before_the_start() -> None:
    """They are there from the beginning."""
    seen: List[Any] = []
    world = World(start=False, hooks=[seen.append])
    world.producer()
    world.send()
    world.dispatcher.start()
    world.clock.advance(1)
    names = [short(event)[0] for event in seen]
    assert names == ["request_opened", "reply_accepted", "request_completed"]
    world.close()


def test_a_hook_sees_exactly_what_happened_after_it_was_added(world: World) -> None:
    """And nothing after it was removed; removing a stranger is silent."""
    world.producer(10)
    seen: List[Any] = []
    other: List[Any] = []
    world.dispatcher.add_hook(other.append)
    world.send().wait()
    hook = seen.append
    world.dispatcher.add_hook(hook)
    second = world.send()
    second.wait()
    world.clock.settle()
    world.dispatcher.remove_hook(hook)
    world.dispatcher.remove_hook(hook)
    world.dispatcher.remove_hook(print)
    world.send().wait()
    world.clock.settle()
    assert {event.request for event in seen} == {second.id}
    assert len(seen) == 3
    assert len(other) == 9


@pytest.mark.parametrize("before", [["remove"], ["add", "remove"]], ids="-".join)
def test_a_hook_that_was_removed_and_added_again_is_told_once(
    world: World, before: List[str]
) -> None:
    """However often it came and went: as often as it is registered, and no event in between."""
    world.producer(10)
    seen: List[Any] = []
    hook = seen.append
    world.dispatcher.add_hook(hook)
    for what in before:
        getattr(world.dispatcher, f"{what}_hook")(hook)
    if before == ["remove"]:
        world.dispatcher.add_hook(hook)
    world.send().wait()
    world.clock.settle()
    assert [short(event)[0] for event in seen] == [
        "request_opened",
        "reply_accepted",
        "request_completed",
    ]


def test_a_removed_hook_is_let_go(world: World) -> None:
    """Also when nothing happens any more."""

    class Hook:
        def __call__(self, event: Any) -> None:
            pass

    hook = Hook()
    reference = weakref.ref(hook)
    world.dispatcher.add_hook(hook)
    world.send()
    world.clock.settle()
    world.dispatcher.remove_hook(hook)
    del hook
    world.clock.settle()
    assert gone(reference)


def test_a_raising_hook_is_logged_once_and_removed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Others go on."""
    calls: List[Any] = []

    def breaks(event: Any) -> None:
        calls.append(event)
        raise Ours("hook")

    seen: List[Any] = []
    world.dispatcher.add_hook(breaks)
    world.dispatcher.add_hook(seen.append)
    world.producer(10)
    world.send().wait()
    world.send().wait()
    world.clock.settle()
    assert (len(calls), len(seen)) == (1, 6)
    (record,) = errors(caplog)
    assert "breaks" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is Ours
    with pytest.raises(TypeError, match="hook must be callable"):
        world.dispatcher.add_hook(7)  # type: ignore[arg-type]


def test_the_observers_thread_exists_only_when_somebody_observes(world: World) -> None:
    """A hook or a done callback, and then one thread for all of them."""
    world.producer(10)
    world.send().wait()
    world.clock.settle()
    assert not observers(world.dispatcher)
    world.send().add_done_callback(lambda _: None)
    world.dispatcher.add_hook(lambda _: None)
    world.dispatcher.add_hook(lambda _: None)
    world.clock.settle()
    assert len(observers(world.dispatcher)) == 1
    world.dispatcher.stop()
    world.dispatcher.join()
    world.clock.settle()
    all_told(world.dispatcher)
    assert not observers(world.dispatcher)


def test_a_slow_hook_delays_other_observers_only(world: World) -> None:
    """Requests, listeners and expiry go their way; the observers come after it, in order."""
    world.producer(10)
    listener = world.listener()
    order: List[Any] = []

    def slow(event: Any) -> None:
        world.clock.sleep(10)
        order.append(("slow", short(event)[0]))

    world.dispatcher.add_hook(slow)
    world.dispatcher.add_hook(lambda event: order.append(("quick", short(event)[0])))
    handle = world.send(ttl=10)
    handle.add_done_callback(lambda _: order.append(("done", "")))
    assert handle.results() == ["value"]
    assert world.clock.now() == 0.01
    world.clock.settle()
    assert listener.heard == ["value"]
    assert order == []
    world.clock.advance(60_000)
    assert order == [
        (who, what)
        for what in ("request_opened", "reply_accepted", "request_completed")
        for who in ("slow", "quick")
    ] + [("done", "")]


def test_hooks_may_use_the_dispatcher(world: World) -> None:
    """Send, wait for nothing, add and remove hooks, from the observers' thread."""
    world.producer(10)
    sent: List[Any] = []

    def once(event: Any) -> None:
        if isinstance(event, events.RequestCompleted):
            world.dispatcher.remove_hook(once)
            sent.append(world.send())

    world.dispatcher.add_hook(once)
    world.send()
    world.clock.advance(100)
    assert [handle.completion for handle in sent] == [Completion.ALL_REPLIED]
