"""Nothing between parts costs more the more of it there is."""

from __future__ import annotations

from counting import Watch, grows_linearly, watch
from parts import Parts

__all__ = ["watch"]


def test_who_leaves_when_all_is_answered(watch: Watch) -> None:
    """It waits for one answer after the other, and does not look at all that is open each time."""

    def cost(n: int) -> int:
        parts = Parts()
        parts.part("a")
        parts.part("b")
        parts.producer("b", 1)
        handles = [parts.ask("a", number, ttl=None) for number in range(n)]
        parts.connections["a"].disconnect(drain=1e7)
        lines = watch.counts(lambda: parts.clock.advance(n + 10))
        assert all(each.done() for each in handles)
        parts.tidy()
        return lines

    grows_linearly(cost, 400)


def test_who_asks_one_that_is_not_there(watch: Watch) -> None:
    """Of each request it hears so, and does not look at all that are open each time."""

    def cost(n: int) -> int:
        parts = Parts()
        parts.part("a")
        parts.part("b")
        parts.producer("b", 1)
        parts.clock.advance(3_000)
        parts.wire.cut("b")

        def asks() -> None:
            for number in range(n):
                parts.ask("a", number, ttl=None)
                parts.clock.settle()

        lines = watch.counts(asks)
        parts.tidy()
        return lines

    grows_linearly(cost, 100)
