"""What of a registration is left behind: nothing; on virtual time."""

from __future__ import annotations

import gc
import weakref

import inside
from virtual import World, world

from ate_dispatcher.testing import ScriptedProducer

__all__ = ["world"]


def test_topics_nobody_is_registered_for_leave_nothing_behind(world: World) -> None:
    """Neither asked for in vain nor deregistered again."""
    producer = world.producer(0)
    for n in range(100):
        world.send(topic=f"unknown {n}")
        world.dispatcher.register_result_producer(producer, f"for a while {n}")
        world.send(topic=f"for a while {n}")
        world.dispatcher.deregister_result_producer(producer, f"for a while {n}")
        world.dispatcher.deregister_result_producer(producer, f"never {n}")
    world.clock.advance(1)
    registry = inside.registry_of(world.dispatcher)
    assert list(registry.channels) == ["t"]
    assert not registry._retired


def test_a_disabled_producer_that_was_dropped_is_let_go(world: World) -> None:
    """Nobody keeps it, and another at its address is on."""
    site = ScriptedProducer()
    world.dispatcher.disable(site)
    world.clock.settle()
    reference = weakref.ref(site)
    del site
    gc.collect()
    assert reference() is None
    assert inside.registry_of(world.dispatcher).off == {}
