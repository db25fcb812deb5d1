"""Sites that are off, and requests to some of a topic's producers only; on virtual time."""

from __future__ import annotations

from typing import Any, List

import pytest
from virtual import FOREVER, World, verdicts, world

from ate_dispatcher import Completion
from ate_dispatcher.testing import ScriptedProducer

__all__ = ["world"]


def three(world: World) -> List[Any]:
    """Sites called a, b, c, which answer with their names."""
    return [world.producer(10 * n, name, name=name) for n, name in enumerate("abc", 1)]


def test_who_is_off_is_not_asked(world: World) -> None:
    """On no topic, until it is on again; the report names it, and it stays registered."""
    _, b, _ = three(world)
    world.dispatcher.register_result_producer(b, "u")
    world.dispatcher.disable(b)
    world.dispatcher.disable(b)
    handle = world.send()
    assert handle.results() == ["a", "c"]
    assert handle.report().complete
    assert handle.report().off == ("b",)
    assert handle.report().to_dict()["off"] == ["b"]
    assert ", off: b" in str(handle.report()).splitlines()[0]
    nobody = world.send(topic="u")
    assert nobody.completion is Completion.NO_PRODUCERS
    assert nobody.report().off == ("b",)
    world.dispatcher.enable(b)
    world.dispatcher.enable(b)
    handle = world.send()
    assert handle.results() == ["a", "b", "c"]
    assert handle.report().off == ()
    assert world.send(topic="u").results() == ["b"]


def test_it_is_off_until_all_who_have_disabled_it_enable_it(world: World) -> None:
    """A program says by whom; a person who says nothing speaks for all."""
    site = world.producer(10, "site", name="site")
    for by in ("rig", "hook", "rig", None):
        world.dispatcher.disable(site, by=by)
    world.dispatcher.enable(site, by="rig")
    world.dispatcher.enable(site, by="nobody")
    world.dispatcher.enable(site, by="hook")
    assert world.send().report().off == ("site",)
    world.dispatcher.enable(site)
    assert world.send().results() == ["site"]
    world.dispatcher.disable(site, by="rig")
    world.dispatcher.enable(site, by="rig")
    assert world.send().results() == ["site"]
    with pytest.raises(TypeError, match="by must be text"):
        world.dispatcher.disable(site, by=3)  # type: ignore[arg-type]


def test_one_that_is_off_may_be_registered_and_deregistered(world: World) -> None:
    """It is off on what it is registered for later, too."""
    a, b, _ = three(world)
    new = world.cast(ScriptedProducer("new", name="new"))
    world.dispatcher.disable(new)
    world.dispatcher.register_result_producer(new, "t", start=True)
    assert world.send().report().off == ("new",)
    world.dispatcher.disable(b)
    world.dispatcher.deregister_result_producer(b, "t")
    assert world.send().report().off == ("new",)
    world.dispatcher.enable(new)
    assert world.send().results() == ["new", "a", "c"]
    world.clock.settle()
    assert len(a.asked) == 3


def test_what_waits_for_it_is_withdrawn_and_what_it_has_begun_counts(world: World) -> None:
    """The others go on; who was only waited for is not waited for any more."""
    busy = world.producer(100, "busy", name="busy")
    handles = [world.send() for _ in range(3)]
    world.clock.advance(10)
    world.dispatcher.disable(busy)
    world.clock.settle()
    assert [verdicts(handle) for handle in handles] == [["open(RUNNING)"], *[["WITHDRAWN"]] * 2]
    assert [handle.completion for handle in handles[1:]] == [Completion.ALL_REPLIED] * 2
    assert handles[0].results() == ["busy"]
    assert len(busy.asked) == 1
    world.dispatcher.enable(busy)
    assert world.send().results() == ["busy"]


def test_only_what_this_dispatcher_has_asked_is_withdrawn(world: World) -> None:
    """A site of two dispatchers that is off at one of them serves the other, wherever its home."""
    second = world.second()
    shared = world.producer(100, "value")
    second.register_result_producer(shared, "t")
    first = world.send(ttl=None)
    mine = [world.send(ttl=None) for _ in range(2)]
    theirs = [second.send_request("t", ttl=None) for _ in range(2)]
    world.clock.advance(10)
    second.disable(shared)
    world.clock.settle()
    assert [verdicts(handle) for handle in theirs] == [["WITHDRAWN"]] * 2
    assert [handle.results() for handle in (first, *mine)] == [["value"]] * 3
    again = [world.send(ttl=None) for _ in range(2)]
    world.clock.advance(10)
    world.dispatcher.disable(shared)
    world.clock.settle()
    assert [verdicts(handle) for handle in again] == [["open(RUNNING)"], ["WITHDRAWN"]]


def test_a_quorum_counts_on_those_that_are_on(world: World) -> None:
    """With too few of them it is impossible, at once, also when one goes off in the middle."""
    _, b, c = three(world)
    world.dispatcher.disable(b)
    assert world.dispatcher.options(need=3).send_request("t").completion is Completion.IMPOSSIBLE
    world.dispatcher.enable(b)
    c.answer = lambda topic: world.clock.sleep(1)
    for _ in range(2):
        handle = world.dispatcher.options(need=3, ttl=None).send_request("t")
        world.clock.advance(100)
    world.dispatcher.disable(c)
    world.clock.settle()
    assert handle.completion is Completion.IMPOSSIBLE
    assert verdicts(handle) == ["OK", "OK", "WITHDRAWN"]


@pytest.mark.parametrize("started", [True, False])
def test_it_may_be_disabled_before_the_start(started: bool) -> None:
    """Of the dispatcher or of its own."""
    world = World(start=False)
    site = world.producer(10, "value", start=started)
    world.dispatcher.disable(site)
    handle = world.send()
    assert handle.completion is Completion.NO_PRODUCERS
    world.dispatcher.start()
    world.dispatcher.enable(site)
    if not started:
        site.start()
    assert world.send().results() == ["value"]
    world.close()


def test_hooks_hear_who_was_withdrawn(world: World) -> None:
    """Also when that ends the request, with others still at it."""
    seen: List[Any] = []
    a, b = world.producer(1000, name="a"), world.producer(1000, name="b")
    for site in (a, b):
        world.dispatcher.register_result_producer(site, f"only {site.name}")
    world.dispatcher.send_request("only a", ttl=None)
    handle = world.dispatcher.options(need=2, ttl=None).send_request("t")
    world.clock.advance(10)
    world.dispatcher.add_hook(seen.append)
    world.dispatcher.disable(a)
    world.clock.settle()
    assert handle.completion is Completion.IMPOSSIBLE
    assert verdicts(handle) == ["WITHDRAWN", "MISSING(RUNNING)"]
    declined = [event for event in seen if event.name.endswith("declined")]
    assert [(event.producer, event.verdict.name) for event in declined] == [("a", "WITHDRAWN")]


# -- only, without -----------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_some_of_the_producers_may_be_asked(world: World, named: bool) -> None:
    """By name or by themselves; one, or several; in the order of registration."""
    a, b, c = ["a", "b", "c"] if named else three(world)
    if named:
        three(world)
    for options, expected in (
        ({"only": a}, ["a"]),
        ({"only": [c, a]}, ["a", "c"]),
        ({"without": b}, ["a", "c"]),
        ({"without": [a, b]}, ["c"]),
        ({"only": (a, b), "without": [b]}, ["a"]),
        ({"only": [a, b], "need": 1}, ["a"]),
        ({"without": []}, ["a", "b", "c"]),
        ({"only": []}, []),
        ({"only": a, "without": a}, []),
    ):
        handle = world.dispatcher.options(**options).send_request("t")
        assert handle.results() == expected
        world.clock.settle()
        expected_end = "NO_PRODUCERS" if not expected else handle.completion.name
        assert handle.completion.name == expected_end


def test_one_that_is_off_is_not_asked_although_it_is_named(world: World) -> None:
    """It is known, and off."""
    a, b, _ = three(world)
    world.dispatcher.disable(a)
    handle = world.dispatcher.options(only=[a, b]).send_request("t")
    assert handle.results() == ["b"]
    assert handle.report().off == ("a",)


def test_who_is_not_registered_for_the_topic_is_a_mistake(world: World) -> None:
    """At the send: producers come and go. Nothing is sent."""
    three(world)
    stranger = ScriptedProducer(name="stranger")
    for options, names in (
        ({"only": "d"}, "only has 'd', who .* for this topic; there is 'a', 'b', 'c'$"),
        ({"without": ["a", "d"]}, "without has 'd'"),
        ({"only": stranger}, "only has 'stranger'"),
    ):
        sender = world.dispatcher.options(**options)
        with pytest.raises(ValueError, match=names):
            sender.send_request("t")
    assert world.dispatcher.statistics().requests == 0


@pytest.mark.parametrize("option", ["only", "without"])
@pytest.mark.parametrize("bad", [3, [3], {"a"}, object()], ids=["3", "[3]", "{'a'}", "object"])
def test_nonsense_is_refused_at_the_call(world: World, option: str, bad: Any) -> None:
    """Naming the option."""
    with pytest.raises(TypeError, match=f"{option} must be producers"):
        world.dispatcher.options(**{option: bad})
    with pytest.raises(TypeError, match="producer must be a Producer"):
        world.dispatcher.disable(bad)


def test_options_hold_for_every_send(world: World) -> None:
    """Like those of a plain send: kept before the start, refused after the stop, no deadline."""
    site = world.producer(FOREVER)
    sender = world.dispatcher.options(only=[site], ttl=250)
    handle = sender.send_request("t", 1, ttl="theirs")
    assert handle.results() == []
    assert world.clock.now() == pytest.approx(0.25)
    assert site.asked[0].kwargs == {"ttl": "theirs"}
    with pytest.raises(TypeError, match="topic must be hashable"):
        sender.send_request([])  # type: ignore[arg-type]
    world.dispatcher.stop(immediate=True)
    with pytest.raises(RuntimeError, match="was stopped"):
        sender.send_request("t")
