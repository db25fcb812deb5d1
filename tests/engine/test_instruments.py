"""Instruments that producers need for themselves alone, on virtual time and on real threads."""

from __future__ import annotations

import logging
import threading
from typing import Any, Dict, List

import inside
import pytest
import rig
from inside import instruments_of, reserved, tidy_world
from rig import pace
from virtual import FOREVER, World, logged, verdicts

from ate_dispatcher import Completion, Dispatcher, Producer, Verdict
from ate_dispatcher.testing import ScriptedProducer, answers, computes, dies, raises

__all__ = ["pace", "tidy_world"]


def site(world: World, name: str, exclusive: Any, *script: Any, topic: Any = "t") -> Any:
    """A producer that answers its name after 100 ms, unless the script says otherwise."""
    made = ScriptedProducer(
        *(script or (answers(name, after_ms=100),)), name=name, exclusive=exclusive
    )
    world.dispatcher.register_result_producer(made, topic, start=True)
    return world.cast(made)


def starts(world: World, *sites: Any) -> List[float]:
    """When each of them was last asked, in ms."""
    return [round(each.asked[-1].at * 1000, 6) for each in sites]


def test_one_at_a_time_is_on_an_instrument(world: World) -> None:
    """First come, first served; the report shows the waiting apart from that in the mailbox."""
    sites = [site(world, name, "psu1") for name in "abc"]
    handle = world.send()
    assert handle.results() == ["a", "b", "c"]
    assert starts(world, *sites) == [0, 100, 200]
    members = handle.report().members
    assert [member.waited_ms for member in members] == [0, 0, 0]
    assert [member.instrument_ms for member in members] == pytest.approx([0, 100, 200])
    assert [member.ran_ms for member in members] == pytest.approx([100] * 3)
    assert [member.line_ms for member in members] == [None] * 3
    assert "instrument   200.000 ms  ran   100.000 ms" in str(handle.report())
    assert handle.report().to_dict()["members"][1]["instrument_ms"] == pytest.approx(100)


def test_different_instruments_are_used_at_the_same_time(world: World) -> None:
    """Who needs several has them all, or none: nobody waits for one with another in hand."""
    a = site(world, "a", "psu1")
    both = site(world, "both", ["psu1", "scope"])
    c = site(world, "c", "scope")
    d = site(world, "d", ("dmm",))
    handle = world.send()
    handle.wait()
    assert starts(world, a, both, c, d) == [0, 100, 200, 0]


def test_several_names_in_any_order_do_not_wait_for_each_other(world: World) -> None:
    """For ever, as they would if each took one and waited for the other."""
    sites = [site(world, "ab", ["a", "b"]), site(world, "ba", ["b", "a"]), site(world, "b", "b")]
    handles = [world.send(ttl=None) for _ in range(3)]
    for handle in handles:
        assert sorted(handle.results()) == ["ab", "b", "ba"]
    assert world.clock.now() == pytest.approx(0.9)
    assert [len(each.asked) for each in sites] == [3, 3, 3]


def test_who_names_none_waits_for_nobody(world: World) -> None:
    """And shows no time for it."""
    site(world, "a", "psu1")
    free = site(world, "free", ())
    handle = world.send()
    handle.wait()
    assert starts(world, free) == [0]
    assert handle.report().members[1].instrument_ms is None


def test_a_wait_that_outlives_the_deadline_is_skipped(world: World) -> None:
    """Not executed; and who has come after it gets the instrument as if it had not been there."""
    a, b = site(world, "a", "psu1"), site(world, "b", "psu1")
    c = site(world, "c", "psu1", topic="c")
    handle = world.send(ttl=50)
    other = world.send(topic="c")
    assert handle.results() == []
    assert verdicts(handle) == ["MISSING(RUNNING)", "SKIPPED(AT_INSTRUMENT)"]
    assert handle.report().members[1].instrument_ms == pytest.approx(50)
    assert other.results() == ["c"]
    assert starts(world, a, c) == [0, 100]
    assert b.asked == []
    assert verdicts(handle) == ["LATE", "SKIPPED(AT_INSTRUMENT)"]


@pytest.mark.parametrize(
    ("how", "verdict"),
    [("cancel", "CANCELLED"), ("quorum", "SKIPPED"), ("disable", "WITHDRAWN"), ("stop", None)],
)
def test_whatever_ends_the_wait_it_does_not_begin(world: World, how: str, verdict: Any) -> None:
    """And the instrument goes to the next."""
    a, b = site(world, "a", "psu1"), site(world, "b", "psu1")
    c = site(world, "c", "psu1", topic="c")
    quick = ScriptedProducer(answers(1, after_ms=20), name="quick")
    world.dispatcher.register_result_producer(world.cast(quick), "t", start=True)
    need = "first" if how == "quorum" else None
    handle = world.dispatcher.options(need=need, ttl=None).send_request("t")
    other = world.dispatcher.send_request("c", ttl=None)
    world.clock.advance(10)
    assert verdicts(handle)[1] == "open(AT_INSTRUMENT)"
    if how == "cancel":
        handle.cancel()
    elif how == "disable":
        world.dispatcher.disable(b)
    elif how == "stop":
        world.dispatcher.stop(immediate=True)
    world.clock.advance(90)
    if verdict is None:
        assert verdicts(handle)[1] == "WITHDRAWN(AT_INSTRUMENT)"
        return
    assert verdicts(handle)[1].startswith(verdict)
    assert other.results() == ["c"]
    assert starts(world, a, c) == [0, 100]
    assert b.asked == []


def test_an_instrument_is_free_when_the_method_is_left_however_that_was(world: World) -> None:
    """By an error, by the end of the thread; late ones hold it until then."""
    site(world, "broken", "psu1", raises(OSError(), after_ms=10))
    site(world, "dies", "psu1", dies(after_ms=10))
    late = site(world, "late", "psu1", answers(1, after_ms=100))
    last = site(world, "last", "psu1", topic="last")
    handle = world.send(ttl=60)
    other = world.send(topic="last")
    assert other.results() == ["last"]
    assert verdicts(handle) == ["ERROR", "MISSING(DEAD)", "LATE"]
    assert starts(world, late, last) == [20, 120]


def test_a_stream_has_its_instrument_until_its_end(world: World) -> None:
    """Whether it comes to it or is closed."""

    class Stream(Producer):
        def produce_dispatcher_output(self, topic: Any) -> Any:
            for n in range(3):
                world.clock.sleep(0.1)
                yield n

    stream = world.cast(Stream(stream=True, exclusive="psu1"))
    world.dispatcher.register_result_producer(stream, "t", start=True)
    after = site(world, "after", "psu1", topic="after")
    for ttl, took in ((None, 300), (150, 200)):
        before = world.clock.now() * 1000
        handle = world.send(ttl=ttl)
        world.clock.settle()
        assert world.send(topic="after", ttl=None).results() == ["after"]
        assert starts(world, after) == [pytest.approx(before + took)]
        assert handle.done()


def test_each_dispatcher_has_its_own(world: World) -> None:
    """The names are those of one dispatcher, also for a producer that is a guest at another."""
    second = world.second()
    a, b = site(world, "a", "psu1"), site(world, "b", "psu1")
    c = ScriptedProducer(answers("c", after_ms=100), name="c", exclusive="psu1")
    second.register_result_producer(world.cast(c), "t", start=True)
    for each in (a, b):
        second.register_result_producer(each, "u")
    handles = [world.send(), second.send_request("t", ttl=1000)]
    world.clock.advance(250)
    assert [handle.results() for handle in handles] == [["a", "b"], ["c"]]
    assert starts(world, a, b, c) == [0, 100, 0]
    handle = second.send_request("u", ttl=1000)
    assert handle.results() == ["a", "b"]
    assert starts(world, a, b) == [250, 350]
    assert not reserved(second)


def test_a_policy_is_weighed_while_somebody_waits_for_an_instrument(world: World) -> None:
    """The answer that is enough frees the instrument for nobody of this request."""
    for name in "abc":
        site(world, name, "psu1")
    handle = world.dispatcher.options(need=2, ttl=None).send_request("t")
    assert handle.results() == ["a", "b"]
    assert handle.completion is Completion.QUORUM
    world.clock.settle()
    assert verdicts(handle) == ["OK", "OK", "SKIPPED(AT_INSTRUMENT)"]


@pytest.mark.parametrize("bad", [3, [3], {"a"}, b"psu1", ["psu1", None]], ids=repr)
def test_names_of_instruments_are_text(bad: Any) -> None:
    """One or several."""
    with pytest.raises(TypeError, match="exclusive must be a name or"):
        Producer(exclusive=bad)


def test_an_empty_name_is_a_mistake() -> None:
    """No names are none; a name twice is once."""
    for bad in ("", ["psu1", ""]):
        with pytest.raises(ValueError, match="exclusive must be names that are not empty"):
            Producer(exclusive=bad)
    assert instruments_of(Producer(exclusive=())) == ()
    assert instruments_of(Producer(exclusive=["b", "a", "b"])) == ("b", "a")


# -- circles -----------------------------------------------------------------------------------


class Asks(Producer):
    """Sends a request in the middle of its own, and waits for its end."""

    def __init__(self, ask: Any, **options: Any) -> None:
        super().__init__(**options)
        self.ask = ask

    def produce_dispatcher_output(self, topic: Any) -> Any:
        return self.ask().results()


def circles(caplog: pytest.LogCaptureFixture) -> List[str]:
    """What was said of them."""
    return [r.getMessage() for r in logged(caplog, logging.WARNING) if "circle" in r.getMessage()]


def asks(world: World, name: str, topic: str, **options: Any) -> Any:
    """A producer on *topic* that asks on another one, by default for 300 ms at most."""
    to = options.pop("to")
    made = world.cast(Asks(lambda: world.send(topic=to, ttl=300), name=name, **options))
    world.dispatcher.register_result_producer(made, topic, start=True)
    return made


def test_a_circle_through_a_nested_request_is_named(world: World, caplog: Any) -> None:
    """Once, while all in it wait; the deadline of the nested request ends it."""
    asks(world, "outer", "t", to="u", exclusive="psu1")
    inner = site(world, "inner", "psu1", topic="u")
    for _ in range(2):
        handle = world.send()
        assert handle.results() == [[]]
    assert inner.asked == []
    assert circles(caplog) == [
        f"in a circle, until a deadline or for ever: outer serves request {n} on 't' and waits "
        f"for request {n + 1} on 'u'; inner waits with request {n + 1} for psu1, which outer has"
        for n in (1, 3)
    ]


def test_a_longer_circle_is_named_as_well(world: World, caplog: Any) -> None:
    """Over three producers and an instrument."""
    asks(world, "a", "t", to="u", exclusive="psu1")
    asks(world, "b", "u", to="v")
    site(world, "c", "psu1", topic="v")
    world.send().wait()
    (said,) = circles(caplog)
    for part in (
        "a serves request 1 on 't'",
        "b serves request 2",
        "c waits with request 3 for psu1",
    ):
        assert part in said


def test_who_asks_itself_is_named(world: World, caplog: Any) -> None:
    """It cannot come to what it waits for."""
    asks(world, "a", "t", to="t")
    world.send().wait()
    world.clock.settle()
    assert "a serves request 1 on 't' and waits for request 2" in circles(caplog)[0]


def test_no_circle_is_seen_where_none_is(world: World, caplog: Any) -> None:
    """The inner one needs another instrument, or somebody else may bring what is needed."""
    asks(world, "a", "t", to="u", exclusive="psu1")
    site(world, "inner", "psu2", topic="u")
    assert world.send().results() == [["inner"]]
    first = world.dispatcher.options(need="first")
    quick = world.cast(Asks(lambda: first.send_request("w"), name="quick", exclusive="psu3"))
    world.dispatcher.register_result_producer(quick, "v", start=True)
    site(world, "blocked", "psu3", topic="w")
    site(world, "free", (), answers("free", after_ms=50), topic="w")
    assert world.send(topic="v").results() == [["free"]]
    assert circles(caplog) == []


def test_a_circle_through_an_ordering_key_is_named(world: World, caplog: Any) -> None:
    """Other workers are free, but not for that key."""
    sender = world.dispatcher.options(ordering_key="k", ttl=300)

    class Nested(Producer):
        def produce_dispatcher_output(self, topic: Any) -> Any:
            return "leaf" if topic == "leaf" else sender.send_request("leaf").results()

    nested = world.cast(Nested(name="nested", workers=3))
    world.dispatcher.register_result_producer(nested, "t", "leaf", start=True)
    assert sender.send_request("t").results() == [[]] or True
    world.clock.settle()
    (said,) = circles(caplog)
    assert "nested serves request 1 on 't' and waits for request 2 on 'leaf'" in said


def test_all_workers_may_be_in_a_circle(world: World, caplog: Any) -> None:
    """Only when the last of them waits, too."""

    class Nested(Producer):
        def produce_dispatcher_output(self, topic: Any, inner: bool = False) -> Any:
            return "leaf" if inner else world.send(True, ttl=300).results()

    nested = world.cast(Nested(name="nested", workers=2))
    world.dispatcher.register_result_producer(nested, "t", start=True)
    assert world.send(ttl=None).results() == [["leaf"]]
    assert circles(caplog) == []
    handles = [world.send(ttl=None) for _ in range(2)]
    assert [handle.results() for handle in handles] == [[[]], [[]]]
    assert circles(caplog) != []


def test_a_crowd_at_an_instrument_is_looked_through_quickly(world: World) -> None:
    """Each of them waits for all that came before it, and somebody asks in the middle of it all."""
    asks(world, "outer", "t", to="u")
    for n in range(40):
        site(world, f"s{n}", "psu1", answers(n, after_ms=1), topic="u")
    assert len(world.send().results()[0]) == 40


def test_a_topic_that_cannot_be_shown_is_named_all_the_same(world: World, caplog: Any) -> None:
    """What its class makes of it harms nobody."""

    class Topic:
        def __repr__(self) -> str:
            raise ValueError("not for your eyes")

    topic = Topic()
    asks(world, "a", topic, to=topic)  # type: ignore[arg-type]
    assert world.send(topic=topic).results() == [[]]
    assert "Topic at 0x" in circles(caplog)[0]
    assert world.send(topic="nobody").completion is Completion.NO_PRODUCERS


def test_the_report_names_who_has_the_instrument(world: World) -> None:
    """And what a producer is at, that has not come to a request."""
    a = site(world, "a", ["psu1", "scope"], answers(1, after_ms=500))
    site(world, "b", ["scope", "psu1"])
    first, second = world.send(ttl=100), world.send(ttl=200)
    world.clock.advance(50)
    told = "a, which has scope for request 1 and a, which has psu1 for request 1"
    assert [m.held_up_by for m in first.report().members] == [None, told]
    assert [m.held_up_by for m in second.report().members] == ["request 1", "request 1"]
    for handle in (first, second):
        handle.wait()
    assert first.report().members[1].held_up_by == told
    assert first.report().to_dict()["members"][1]["held_up_by"] == told
    assert [m.held_up_by for m in second.report().members] == ["request 1", told]
    assert "held up by request 1" in str(second.report())
    world.clock.advance(1000)
    assert second.report().members[0].verdict is Verdict.SKIPPED
    assert len(a.asked) == 1


# -- real threads ------------------------------------------------------------------------------


@pytest.mark.usefixtures("pace")
def test_never_two_at_once_on_real_threads() -> None:
    """However many there are, and whatever they name."""
    inside: Dict[str, int] = {}
    seen: List[str] = []
    guard = threading.Lock()
    names = ("a", "b", "c")

    class Site(Producer):
        def produce_dispatcher_output(self, topic: Any) -> Any:
            mine = instruments_of(self)
            with guard:
                for name in mine:
                    inside[name] = inside.get(name, 0) + 1
                    if inside[name] > 1:
                        seen.append(name)
            with guard:
                for name in mine:
                    inside[name] -= 1
            return mine

    with Dispatcher() as dispatcher:
        for n in range(9):
            wanted = [names[n % 3], names[(n * 2 + 1) % 3]] if n % 2 else [names[n % 3]]
            site = Site(exclusive=wanted, workers=1 + n % 2)
            dispatcher.register_result_producer(site, "t", start=True)
        handles = [dispatcher.send_request("t", ttl=None) for _ in range(60)]
        rig.ended(*handles)
        assert all(handle.report().complete for handle in handles)
        rig.sums_add_up(dispatcher)
        assert not reserved(dispatcher)
    assert seen == []
    assert set(inside.values()) == {0}


@pytest.mark.usefixtures("pace")
@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_the_wait_and_its_end_may_meet(how: str) -> None:
    """The instrument becomes free at the moment in which the request ends: one of the two wins."""
    with Dispatcher() as dispatcher:
        holder = rig.Gated(exclusive="psu1")
        waiter = rig.Answer(exclusive="psu1")
        dispatcher.register_result_producer(holder, "hold", start=True)
        dispatcher.register_result_producer(waiter, "t", start=True)
        for n in range(60):
            holder.entered.clear()
            holder.gate.clear()
            held = dispatcher.send_request("hold", ttl=None)
            rig.came(holder.entered)
            handle = dispatcher.send_request("t", ttl=1 + n % 3 if how == "deadline" else None)
            if how == "cancel":
                handle.cancel()
            else:
                handle.wait(0.001)
            holder.gate.set()
            rig.ended(held, handle)
        assert dispatcher.send_request("t").results() == [("t", (), {})]
        rig.settle(dispatcher)
        rig.sums_add_up(dispatcher)
        assert not reserved(dispatcher)


def test_scripts_and_computed_answers_take_instruments_too(world: World) -> None:
    """As every producer."""
    made = site(world, "c", "psu1", computes(lambda topic: topic.upper()))
    assert made.name == "c"
    assert world.send().results() == ["T"]
    assert world.send(ttl=FOREVER).results() == ["T"]


# -- some topics only ------------------------------------------------------------------------------


def test_an_instrument_may_be_needed_for_some_topics_only(world: World) -> None:
    """On others its producers wait for nobody; who needs it on all waits as ever."""
    a = site(world, "a", {"ramp": "psu1", "other": ["dmm", "psu1"]}, topic="ramp")
    b = site(world, "b", {"ramp": ("psu1",)}, topic="ramp")
    always = site(world, "always", "psu1", topic="ramp")
    for each in (a, b, always):
        world.dispatcher.register_result_producer(each, "read")
    ramps = world.send(topic="ramp")
    assert ramps.results() == ["a", "b", "always"]
    assert starts(world, a, b, always) == [0, 100, 200]
    reads = world.send(topic="read")
    reads.wait()
    assert starts(world, a, b, always) == [300, 300, 300]
    assert [line.instrument_ms for line in reads.report().members] == [None, None, 0]


def test_what_a_topic_needs_goes_with_the_request(world: World) -> None:
    """Also when its producer was deregistered meanwhile, and registered again."""
    a = site(world, "a", {"ramp": "psu1"}, topic="ramp")
    b = site(world, "b", "psu1", topic="ramp")
    first = world.send(topic="ramp")
    for each in (a, b):
        world.dispatcher.deregister_result_producer(each, "ramp")
    world.dispatcher.register_result_producer(a, "ramp")
    second = world.send(topic="ramp")
    assert (first.results(), second.results()) == (["a", "b"], ["a"])
    assert world.clock.now() == pytest.approx(0.3)


def test_barriers_look_at_what_the_topic_needs(world: World) -> None:
    """Who shares an instrument on another topic can begin together."""
    needs = {"ramp": "psu1"}
    sites = [site(world, name, needs, topic="ramp") for name in "ab"]
    for each in sites:
        world.dispatcher.register_result_producer(each, "read")
    together = world.dispatcher.options(barrier=True)
    with pytest.raises(ValueError, match="a and b both need 'psu1'"):
        together.send_request("ramp")
    report = together.send_request("read")
    assert sorted(report.results()) == ["a", "b"]
    assert report.report().skew_ms == 0


def test_topics_are_asked_for_what_they_need_by_callers(world: World) -> None:
    """They are objects of users', which may take long to compare: nobody who serves does it."""
    seen: List[Any] = []

    class Topic:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            seen.append(threading.current_thread())
            return isinstance(other, Topic)

    a = site(world, "a", {Topic(): "psu1"}, topic=Topic())
    b = site(world, "b", {Topic(): "psu1"}, topic=Topic())
    assert world.send(topic=Topic()).results() == ["a", "b"]
    assert starts(world, a, b) == [0, 100]
    assert set(seen) == {threading.current_thread()}


def test_channels_that_are_gone_leave_nothing_with_a_producer(world: World) -> None:
    """However many topics it has served."""
    a = site(world, "a", dict.fromkeys(range(50), "psu1"), topic=0)
    for number in range(1, 50):
        world.dispatcher.register_result_producer(a, number)
        world.send(topic=number).wait()
        world.dispatcher.deregister_result_producer(a, number)
    world.clock.settle()
    assert len(inside.needed_on_channels(a)) < 10


@pytest.mark.parametrize("bad", [{"t": 3}, {"t": [b"x"]}, {"t": {"u": "psu1"}}], ids=repr)
def test_what_topics_need_is_text(bad: Any) -> None:
    """One name or several for each."""
    with pytest.raises(TypeError, match="exclusive must be a name or"):
        rig.Answer(exclusive=bad)


def test_a_topic_may_need_nothing() -> None:
    """As if it were not there; an empty name is none."""
    rig.Answer(exclusive={"t": None, "u": ()})
    with pytest.raises(ValueError, match="exclusive must be names that are not empty"):
        rig.Answer(exclusive={"t": [""]})


def test_what_a_member_needs_before_it_comes_to_its_line_is_reserved_too(world: World) -> None:
    """Though on another topic; else the lines of two requests would wait for each other."""
    m = site(world, "m", {"a": "psu1", "b": "psu2"}, topic="r")
    y = site(world, "y", (), topic="b")
    site(world, "x", "psu1", topic="c")
    for each, topics in ((m, "ab"), (y, "c")):
        for topic in topics:
            world.dispatcher.register_result_producer(each, topic)
    together = world.dispatcher.options(barrier=True, ttl=5000)
    world.send(topic="r", ttl=None)
    world.clock.advance(1)
    handles = [
        world.send(topic="a", ttl=None),
        together.send_request("b"),
        together.send_request("c"),
    ]
    world.clock.advance(4000)
    assert [handle.completion for handle in handles] == [Completion.ALL_REPLIED] * 3
