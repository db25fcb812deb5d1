"""Payloads are passed on by reference, never looked into, and not kept; on virtual time."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any, Callable

import pytest
from virtual import (
    FOREVER,
    Attentive,
    Ours,
    Payload,
    Watched,
    World,
    bare_logger,
    errors,
    forgetful,
    gone,
    queued_behind,
    verdicts,
    world,
)

from ate_dispatcher import Completion

__all__ = ["bare_logger", "world"]


def test_payloads_are_passed_by_reference_and_never_looked_into(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """No copy, no comparison, no formatting, whatever is logged or reported."""
    caplog.set_level(logging.DEBUG, "ate_dispatcher")
    payload, answer = Payload(), Payload()
    world.dispatcher.add_hook(lambda event: repr(event))
    producer = world.producer(10, answer)
    listener = world.listener(Attentive)
    handle = world.send(payload, key=payload)
    (result,) = handle.results()
    assert result is answer
    ((_, _, args, kwargs),) = producer.asked
    assert args[0] is payload
    assert kwargs["key"] is payload
    world.clock.settle()
    assert listener.heard[0] is answer
    assert str(handle.report())
    assert repr(handle.replies)
    assert not errors(caplog)


def test_each_producer_gets_its_own_keywords(world: World) -> None:
    """One that changes them changes nobody else's."""

    def takes(topic: str, **kwargs: Any) -> Any:
        kwargs.clear()
        return None

    first, second = world.producer(0, takes), world.producer(0, takes)
    world.send(a=1).wait()
    assert first.asked[0].kwargs == second.asked[0].kwargs == {"a": 1}


def test_an_idle_dispatcher_holds_no_argument_and_no_result(world: World) -> None:
    """After everything was answered and heard."""
    arguments, results = Watched(), Watched()
    forgetful(world).answer = results
    listener = world.listener()
    listener.process_dispatcher_result = lambda *_: None
    world.dispatcher.add_hook(lambda _: None)
    for _ in range(3):
        world.send(arguments(), key=arguments()).wait()
    world.send(arguments(), topic="nobody")
    world.clock.settle()
    assert len(results.references) == 3
    assert arguments.all_gone()
    assert results.all_gone()


def test_an_idle_dispatcher_holds_no_exception(
    world: World, bare_logger: Callable[..., None]
) -> None:
    """Nor what the exception's frames hold."""
    bare_logger(logging.NullHandler())
    producer = forgetful(world)
    problem = Ours("x")
    producer.answer = problem
    world.listener(Attentive).process_dispatcher_error = lambda *_: None
    arguments, reference = Watched(), weakref.ref(problem)
    world.send(arguments()).wait()
    world.clock.settle()
    producer.answer = None
    del problem
    assert gone(reference)
    assert arguments.all_gone()


def test_an_idle_dispatcher_holds_no_listeners_exception(
    world: World, bare_logger: Callable[..., None]
) -> None:
    """Nor the result at which it was raised."""
    bare_logger(logging.NullHandler())
    results = Watched()
    forgetful(world).answer = results

    def breaks(topic: Any, response: Any) -> None:
        raise Ours("y")

    world.listener().process_dispatcher_result = breaks
    world.send().wait()
    world.clock.settle()
    assert results.all_gone()


@pytest.mark.parametrize("end", ["deadline", "cancel"])
@pytest.mark.parametrize("started", [True, False], ids=["hung", "never started"])
def test_what_ended_in_a_mailbox_holds_no_payload(world: World, started: bool, end: str) -> None:
    """A hung or never started producer keeps no argument, and nobody else's results."""
    arguments, results = Watched(), Watched()
    if started:
        queued_behind(world, FOREVER)
    else:
        world.producer(start=False)
    forgetful(world).answer = results
    for _ in range(5):
        handle = world.send(arguments(), key=arguments(), ttl=100)
        world.clock.advance(1)
        if end == "cancel":
            handle.cancel()
        handle.wait()
    del handle
    world.clock.settle()
    assert len(results.references) == 5
    assert arguments.all_gone()
    assert results.all_gone()


def test_what_ended_behind_an_open_request_holds_no_payload(world: World) -> None:
    """It may stay in the mailbox for as long as the one before it, but as an empty husk."""
    arguments, results = Watched(), Watched()
    queued_behind(world, FOREVER)
    waits = [world.send(n, ttl=None) for n in range(5)]
    forgetful(world).answer = results
    world.send(arguments(), ttl=100).wait()
    world.clock.settle()
    assert not any(handle.done() for handle in waits)
    assert len(results.references) == 1
    assert arguments.all_gone()
    assert results.all_gone()


def test_a_hung_producer_keeps_nobody_elses_results(world: World) -> None:
    """Those of the very request in which it hangs, once that has ended."""
    results = Watched()
    world.producer(FOREVER)
    forgetful(world).answer = results
    world.send(ttl=100).wait()
    world.clock.settle()
    assert len(results.references) == 1
    assert results.all_gone()


def test_a_hung_producer_keeps_none_of_its_earlier_results(world: World) -> None:
    """Its thread went straight from one request to the next, without parking in between."""
    results = Watched()
    arguments = Watched()
    producer = forgetful(world)
    producer.answer = results

    def produce(topic: Any, hang: bool, argument: Any) -> Any:
        del argument
        if hang:
            world.clock.sleep(FOREVER)
        return results()

    producer.produce_dispatcher_output = produce
    handles = [world.send(hang, arguments(), ttl=100) for hang in (False, True)]
    for handle in handles:
        handle.wait()
    assert [handle.completion for handle in handles] == [
        Completion.ALL_REPLIED,
        Completion.DEADLINE,
    ]
    del handle, handles
    world.clock.settle()
    assert len(results.references) == 1
    assert results.all_gone()
    assert gone(arguments.references[0])


def test_what_ended_in_the_mailbox_of_a_shared_producer_is_skipped(world: World) -> None:
    """Its turn comes for a request of either dispatcher."""
    second = world.second()
    shared = queued_behind(world, 500)
    second.register_result_producer(shared, "t")
    handles = [second.send_request("t", ttl=100), world.send(ttl=100)]
    world.clock.advance(1000)
    assert [verdicts(handle) for handle in handles] == [["SKIPPED(QUEUED)"]] * 2
    assert len(shared.asked) == 1


@pytest.mark.parametrize("fate", ["served", "hung", "never started"])
def test_an_idle_dispatcher_holds_no_deregistered_producer(world: World, fate: str) -> None:
    """Once its requests have ended; and its user may drop it, if no thread of it runs."""
    producer = world.producer(FOREVER if fate == "hung" else 0, start=fate != "never started")
    listener = world.listener()
    world.send(ttl=100).wait()
    world.send(ttl=100).wait()
    for participant in (producer, listener):
        participant.stop()
    world.dispatcher.deregister_result_producer(producer, "t")
    world.dispatcher.deregister_result_listener(listener, "t")
    listener.join()
    references = [weakref.ref(listener)]
    if fate != "hung":
        references.append(weakref.ref(producer))
    if fate == "served":
        producer.join()
    del participant, listener
    held = [] if fate != "hung" else [producer]
    del producer
    world.clock.settle()
    assert all(gone(reference) for reference in references)
    del held


def test_a_hung_listener_keeps_only_what_it_has_not_heard(world: World) -> None:
    """The results before the one in which it hangs are gone, also those of the same request."""
    results = Watched()
    forgetful(world).answer = results
    forgetful(world).answer = results
    listener = world.listener()

    def hangs(topic: Any, response: Any) -> None:
        del response
        if len(listener.at) == 1:
            world.clock.sleep(FOREVER)
        listener.at.append(world.clock.now())

    listener.process_dispatcher_result = hangs
    world.send().wait()
    world.clock.settle()
    assert len(listener.at) == 1
    assert len(results.references) == 2
    assert gone(results.references[0])


def test_a_handle_keeps_its_results_and_only_it_does(world: World) -> None:
    """They live as long as the caller holds it."""
    results = Watched()
    forgetful(world).answer = results
    handle = world.send()
    handle.wait()
    world.clock.settle()
    assert not results.all_gone()
    assert handle.results()[0] is results.references[0]()
    del handle
    assert results.all_gone()


@pytest.mark.parametrize("how", ["cancel", "first"])
def test_a_burst_that_ended_is_not_kept_by_those_who_hang(world: World, how: str) -> None:
    """Behind one that is open, and with more members than one pass judges."""
    for _ in range(12):
        world.producer(FOREVER)
    quick = world.producer(0, lambda *_: Payload(), name="quick")
    world.dispatcher.options(ttl=None, without="quick").send_request("t")
    handles = [
        world.dispatcher.options(ttl=None, need=1 if how == "first" else None).send_request("t")
        for _ in range(200)
    ]
    for handle in reversed(handles):
        if how == "cancel":
            handle.cancel()
    world.clock.settle()
    assert all(handle.done() for handle in handles)
    references = [weakref.ref(reply.value) for handle in handles for reply in handle.replies]
    handles.clear()
    handle = None  # type: ignore[assignment]
    quick.stop()
    world.clock.settle()
    gc.collect()
    assert len([each for each in references if each() is not None]) < 10
