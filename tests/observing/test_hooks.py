"""The hooks that come with the package, on virtual time."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any, List

import pytest
from inside import buckets
from virtual import FOREVER, World, logged, world

from ate_dispatcher import Completion, Dispatcher, Overflow, Producer, ResultListener, events
from ate_dispatcher.hooks import MailboxAdvice, SetAside, TtlAdvice

__all__ = ["world"]


def asked(world: World, ttl: Any = 100) -> Any:
    """A request, to its end, and all hooks told of it."""
    handle = world.send(ttl=ttl)
    handle.wait()
    world.clock.settle()
    return handle


# -- set aside ---------------------------------------------------------------------------------


def test_one_that_misses_too_often_in_a_row_is_set_aside(world: World) -> None:
    """An answer in between, an error too, begins the count anew."""
    times = [500, 10, 10, 500, 500, 10, FOREVER]
    flaky = world.producer(times, "flaky", name="flaky")
    world.producer(10, "good", name="good")
    hook = SetAside(after=2, probe_every=None)
    world.dispatcher.add_hook(hook)
    offs = []
    for _ in range(9):
        handle = asked(world)
        offs.append(handle.report().off)
        world.clock.advance(1000)
    assert offs == [(), (), (), (), (), ("flaky",), ("flaky",), ("flaky",), ("flaky",)]
    assert list(hook.aside) == ["flaky"]
    assert len(flaky.asked) == 5
    world.dispatcher.enable(flaky)
    assert asked(world).results() == ["flaky", "good"]
    assert hook.aside == {}


def test_one_that_is_set_aside_is_probed_back_in(world: World) -> None:
    """Now and then a request asks it; it is back when it has answered."""
    slow = world.producer([500, 500, 500, 10], "slow", name="slow")
    world.producer(10, "good", name="good")
    world.dispatcher.add_hook(SetAside(after=1, probe_every=5000))
    offs = []
    for _ in range(24):
        offs.append(asked(world).report().off == ("slow",))
        world.clock.advance(990 if offs[-1] else 900)
    out = [n for n, off in enumerate(offs) if not off]
    assert len(slow.asked) == len(out)
    assert out[0] == 0
    assert 4 <= out[1] - out[0] <= 8
    assert 4 <= out[2] - out[1] <= 8
    assert out[3:] == list(range(out[3], 24))


def test_who_was_not_needed_has_not_missed(world: World) -> None:
    """Others were quicker, or nobody wanted it any more."""
    world.producer(10, "quick")
    world.producer(30, "slow", name="slow")
    hook = SetAside(after=1)
    world.dispatcher.add_hook(hook)
    for _ in range(3):
        world.dispatcher.options(need="first").send_request("t").wait()
        world.clock.advance(100)
        handle = world.send(ttl=None)
        world.clock.advance(20)
        handle.cancel()
        handle.wait()
        world.clock.advance(100)
    assert hook.aside == {}


def test_one_that_answers_while_it_is_aside_is_back(world: World) -> None:
    """A request that it had begun before came to its end."""
    world.producer([200, 10], "site", name="site")
    hook = SetAside(after=1, probe_every=50)
    world.dispatcher.add_hook(hook)
    first = world.send(ttl=None)
    world.clock.advance(10)
    world.send(ttl=20).wait()
    world.clock.settle()
    assert list(hook.aside) == ["site"]
    first.wait()
    world.clock.settle()
    assert hook.aside == {}
    assert asked(world).results() == ["site"]


def test_it_serves_one_dispatcher(world: World) -> None:
    """And does not keep it."""
    hook = SetAside()
    world.dispatcher.add_hook(hook)
    world.dispatcher.add_hook(hook)
    with pytest.raises(ValueError, match="hook serves"):
        world.second().add_hook(hook)
    dropped = Dispatcher(hooks=[SetAside()])
    reference = weakref.ref(dropped)
    del dropped
    gc.collect()
    assert reference() is None


def test_what_was_cancelled_is_no_miss(world: World) -> None:
    """It could not have answered."""
    world.producer([FOREVER], "busy", name="busy")
    hook = SetAside(after=1)
    world.send(ttl=None)
    world.clock.settle()
    world.dispatcher.add_hook(hook)
    handle = world.send(ttl=None)
    world.clock.settle()
    handle.cancel()
    handle.wait()
    world.clock.settle()
    assert handle.completion is Completion.CANCELLED
    assert hook.aside == {}


@pytest.mark.parametrize(
    ("make", "error", "names"),
    [
        (lambda: SetAside(after=0), ValueError, "after must be at least 1"),
        (lambda: SetAside(after=1.5), TypeError, "after must be a number"),
        (lambda: SetAside(after=True), TypeError, "after must be a number"),
        (lambda: SetAside(probe_every=-1), ValueError, "probe_every"),
        (lambda: SetAside(probe_every="1"), TypeError, "probe_every"),
        (lambda: TtlAdvice(topics=0), ValueError, "topics must be at least 1"),
        (lambda: TtlAdvice(topics="1"), TypeError, "topics must be a number"),
        (lambda: MailboxAdvice(participants=0), ValueError, "participants must be at least 1"),
    ],
)
def test_nonsense_is_refused(make: Any, error: Any, names: str) -> None:
    """Naming the parameter."""
    with pytest.raises(error, match=names):
        make()


# -- ttl advice --------------------------------------------------------------------------------


def test_the_advice_is_what_would_have_kept_so_many(world: World) -> None:
    """Late answers teach as well as those in time; what never came is told apart."""
    world.producer([*range(1, 101), FOREVER], name="site")
    advice = TtlAdvice()
    world.dispatcher.add_hook(advice)
    assert advice.of("t") is None
    for _ in range(100):
        asked(world, ttl=90)
        world.clock.advance(100)
    asked(world, ttl=90)
    found = advice.of("t")
    assert found is not None
    assert (found.replies, found.late, found.missing) == (100, 10, 1)
    assert 95 <= found.p95 <= 95 * 1.023
    assert 99 <= found.p99 <= 100
    assert found.p100 == pytest.approx(100)
    assert str(found).startswith(
        "'t': 100 replies, 10 of them late, 1 missing; of those that came a ttl of 9"
    )
    assert advice.of("else") is None


def test_the_advice_takes_bounded_memory(world: World) -> None:
    """However many topics and however different the times."""
    advice = TtlAdvice(topics=2)
    world.dispatcher.add_hook(advice)
    for n in range(10):
        world.producer([10.0**k for k in range(-6, 9)], topic=n)
        for _ in range(15):
            world.send(topic=n, ttl=None).wait()
    world.clock.settle()
    assert [n for n in range(10) if advice.of(n)] == [0, 1]
    assert buckets(advice) <= 30


def test_a_stream_counts_when_it_has_come_to_its_end(world: World) -> None:
    """A ttl that keeps most of the values but no end would be a bad one."""

    class Stream(Producer):
        def produce_dispatcher_output(self, topic: Any) -> Any:
            for n in range(10):
                world.clock.sleep(0.01)
                yield n

    world.dispatcher.register_result_producer(world.cast(Stream(stream=True)), "t", start=True)
    advice = TtlAdvice()
    world.dispatcher.add_hook(advice)
    assert len(asked(world, ttl=None).results()) == 10
    found = advice.of("t")
    assert found is not None
    assert (found.replies, found.p95) == (1, pytest.approx(100))


def test_what_somebody_else_has_disabled_stays_off(world: World) -> None:
    """Whichever was first; nobody puts a site on that an operator has taken off the bench."""
    world.producer(10, "good", name="good")
    for operator_first in (False, True):
        site = world.producer([500, 10], "site", name="site")
        hook = SetAside(after=1, probe_every=1)
        world.dispatcher.add_hook(hook)
        first = world.send(ttl=100)
        world.clock.settle()
        if operator_first:
            world.dispatcher.disable(site)
        first.wait()
        world.clock.advance(500)
        assert list(hook.aside) == ["site"]
        world.dispatcher.disable(site)
        for _ in range(4):
            assert asked(world).report().off == ("site",)
            world.clock.advance(100)
        world.dispatcher.remove_hook(hook)
        world.dispatcher.enable(site)
        assert sorted(asked(world).results()) == ["good", "site"]
        world.dispatcher.deregister_result_producer(site, "t")


def test_it_says_whom_it_sets_aside(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Once, as a warning; a site that leaves production in silence would be missed."""
    world.producer([500, 500, 500, 10], name="site")
    world.dispatcher.add_hook(SetAside(after=2, probe_every=1))
    for _ in range(6):
        asked(world)
        world.clock.advance(1000)
    said = [record.getMessage() for record in logged(caplog, logging.WARNING)]
    assert said == ["site has missed 2 requests in a row and is set aside"]


def test_a_class_is_no_hook(world: World) -> None:
    """Somebody has forgotten the parentheses."""
    with pytest.raises(TypeError, match="hook must be one SetAside, not the class"):
        world.dispatcher.add_hook(SetAside)


# -- mailbox advice ----------------------------------------------------------------------------


def lost_in(bursts: List[int], maxsize: int, overflow: Overflow, advice: Any = None) -> int:
    """How many a listener loses that takes 10 ms for each; so many come at once every 45 ms."""
    made = World()
    if advice is not None:
        made.dispatcher.add_hook(advice)

    def plot(topic: Any, value: Any) -> None:
        made.clock.sleep(0.01)

    slow = ResultListener(plot, name="plot", maxsize=maxsize, overflow=overflow)
    made.dispatcher.register_result_listener(made.cast(slow), "t", start=True)
    for burst in bursts:
        for _ in range(burst):
            made.dispatcher.publish("t", None)
            made.clock.settle()
        made.clock.advance(45)
    made.clock.advance(1000)
    made.close()
    return made.dispatcher.statistics().lost


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
@pytest.mark.parametrize("bursts", [[9, 1, 5, 4], [5, 5, 5, 4], [2, 2, 4], [12, 12, 0, 4]])
def test_with_what_it_suggests_nothing_is_lost(bursts: List[int], overflow: Overflow) -> None:
    """And with less than it says is needed something is: tried."""
    advice = MailboxAdvice()
    lost = lost_in(bursts, 2, overflow, advice)
    (found,) = advice.suggestions()
    assert (found.participant, found.maxsize, found.lost) == ("plot", 2, lost)
    assert lost_in(bursts, found.enough, overflow) == 0
    assert lost_in(bursts, found.at_least - 1, overflow) > 0
    assert found.at_least <= found.enough == 2 + lost
    assert str(found) == advice.report()
    assert f"{lost} lost with maxsize=2, episodes: {found.episodes};" in advice.report()


def test_it_says_where_a_listener_is_slow() -> None:
    """As far as that was seen; and of many that are high how much has waited."""
    advice = MailboxAdvice(participants=3)
    assert (advice.suggestions(), advice.report()) == ([], "everybody has kept up")
    advice(events.MailboxHigh(0.0, 0, None, "grows", 10_000))
    advice(events.MailboxHigh(0.0, 0, None, "grows", 25_000))
    for number, where in enumerate(["a.py:1 in f", "a.py:2 in f", "a.py:2 in f", ""]):
        advice(events.ValuesLost(0.0, 0, None, "plot", 10 * number + 1, where, 5))
    advice(events.ValuesLost(0.0, 0, None, "other", 1, "", 5))
    advice(events.ValuesLost(0.0, 0, None, "one too many", 1, "", 5))
    plot, other, grows = advice.suggestions()
    assert (plot.participant, plot.episodes, plot.lost) == ("plot", 4, 31)
    assert (plot.at_least, plot.enough) == (15, 36)
    assert plot.where == ("a.py:2 in f", "a.py:1 in f")
    assert (other.at_least, other.enough) == (6, 6)
    assert (grows.maxsize, grows.at_least, grows.enough, grows.waiting) == (None, *[25_000] * 3)
    assert "faster at a.py:2 in f" in str(plot)
    assert "grows: 25000 have waited" in advice.report()
