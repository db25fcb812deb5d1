"""Scripted participants, assertions, the timeline: on virtual time, and the same on real time."""

from __future__ import annotations

import threading
import time
from typing import Any, Iterator, List

import pytest
from rig import PATIENCE, only, over, settle

from ate_dispatcher import Completion, Dispatcher, RequestTimeout, Standing, Verdict
from ate_dispatcher.testing import (
    RecordingListener,
    Rig,
    ScriptedProducer,
    Timeline,
    VirtualClock,
    VirtualTimeStuck,
    answers,
    assert_accepted,
    assert_ended,
    assert_failed,
    assert_heard,
    assert_late,
    assert_missing,
    computes,
    dies,
    hangs,
    raises,
)


class Bench:
    """A started dispatcher with a cast of scripted participants."""

    def __init__(self, virtual: bool) -> None:
        self.clock: Any = VirtualClock() if virtual else None
        self.timeline = Timeline(last=3)
        self.dispatcher = Dispatcher(clock=self.clock, hooks=[self.timeline], diagnose=True)
        self.dispatcher.start()
        self.cast: List[Any] = []

    def site(self, *script: Any, name: Any = None, topic: Any = "t", **options: Any) -> Any:
        site = ScriptedProducer(*script, name=name, **options)
        self.dispatcher.register_result_producer(site, topic, start=True)
        self.cast.append(site)
        return site

    def ear(self, **options: Any) -> RecordingListener:
        ear = RecordingListener(**options)
        self.dispatcher.register_result_listener(ear, "t", start=True)
        self.cast.append(ear)
        return ear

    def ask(self, *args: Any, ttl: Any = 1000) -> Any:
        return self.dispatcher.send_request("t", *args, ttl=ttl)

    def begun(self, site: ScriptedProducer, count: int) -> None:
        """Until it has begun so many."""
        lost = time.monotonic() + PATIENCE
        while len(site.asked) < count:
            self.clock is None or self.clock.settle()
            assert time.monotonic() < lost
            time.sleep(0.001)

    def quiet(self) -> None:
        """Until everybody has heard what has happened."""
        if self.clock is None:
            settle(self.dispatcher)
        else:
            self.clock.settle()

    def close(self) -> None:
        for each in self.cast:
            if isinstance(each, ScriptedProducer):
                each.release(for_good=True)
        self.dispatcher.stop(immediate=True)
        for thread in (self.dispatcher, *self.cast):
            thread.join(PATIENCE if self.clock is None else None)
            assert not thread.is_alive()


@pytest.fixture(params=["virtual", "real"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """On either clock; closed at the end."""
    made = Bench(request.param == "virtual")
    yield made
    made.close()


@pytest.fixture
def virtual() -> Iterator[Bench]:
    """On virtual time."""
    made = Bench(virtual=True)
    yield made
    made.close()


# -- scripted producers ------------------------------------------------------------------------


def test_a_script_is_gone_through_and_its_last_outcome_stays(bench: Bench) -> None:
    """What is no outcome is a value to answer with."""
    site = bench.site(7, raises(OSError("broken")), computes(lambda topic, n: n + 1), name="site")
    assert_accepted(bench.ask(1), 7)
    assert_failed(bench.ask(2), site, OSError)
    assert_accepted(bench.ask(3), 4)
    assert_accepted(bench.ask(4), 5, by=["site"])
    assert [(asked.topic, asked.args, asked.kwargs) for asked in site.asked] == [
        ("t", (n,), {}) for n in (1, 2, 3, 4)
    ]


def test_without_a_script_the_answer_is_none(bench: Bench) -> None:
    """As of a method without a return."""
    bench.site()
    assert bench.ask().results() == [None]


def test_outcomes_take_their_time(virtual: Bench) -> None:
    """An answer, an error and a computation, each after so many ms."""
    site = virtual.site(
        answers(1, after_ms=20), raises(OSError, after_ms=300), computes(lambda _: 3, after_ms=4000)
    )
    for now in (0.02, 0.32, 4.32):
        virtual.ask(ttl=None).wait()
        assert virtual.clock.now() == pytest.approx(now)
    assert [round(asked.at, 6) for asked in site.asked] == [0, 0.02, 0.32]


def test_what_hangs_goes_on_when_it_is_released(bench: Bench) -> None:
    """Once, or for good; a release that comes first is not kept for later."""
    site = bench.site(hangs("at last"))
    site.release()
    handles = []
    for count, for_good in enumerate([False, True], 1):
        handles.append(bench.ask(ttl=None))
        # Only what has begun can hang.
        bench.begun(site, count)
        handles[-1].cancel()
        assert_missing(handles[-1], site)
        site.release(for_good=for_good)
    assert_accepted(bench.ask(ttl=None), "at last")
    bench.quiet()
    assert [only(each).verdict for each in handles] == [Verdict.SURPLUS] * 2


def test_who_sees_that_it_was_asked_may_release_it(bench: Bench) -> None:
    """At once, before it comes to hang."""
    site = bench.site(hangs("at last"))

    class Told(List[Any]):
        def append(self, asked: Any) -> None:
            super().append(asked)
            site.release()

    site.asked = Told()
    assert_accepted(bench.ask(ttl=5000), "at last")


def test_who_dies_leaves_everything_unanswered(bench: Bench, capfd: Any) -> None:
    """The request that it is in, those behind it, and what is sent later; without a word."""
    dying, quick = bench.site(hangs(), dies(), name="dying"), bench.site(1)
    handles = [bench.ask(ttl=None) for _ in range(3)]
    dying.release(for_good=True)
    for handle in handles[1:]:
        handle.wait()
        assert handle.completion is Completion.ALL_REPLIED
        line = handle.report().members[0]
        assert (line.verdict, line.standing) == (Verdict.MISSING, Standing.DEAD)
    assert sorted(handles[0].results(), key=str) == [1, None]
    dying.join(PATIENCE)
    assert not dying.is_alive()
    later = bench.ask(ttl=None)
    assert_missing(later, dying)
    assert later.report().members[0].verdict is Verdict.DECLINED
    assert quick.is_alive()
    bench.quiet()
    statistics = bench.dispatcher.statistics()
    assert statistics.fan_out == sum(statistics.verdicts.values()) == 8
    assert capfd.readouterr().err == ""


def test_one_that_dies_as_a_guest_leaves_nothing_open(virtual: Bench) -> None:
    """At the dispatcher that is not its home."""
    other = Dispatcher(clock=virtual.clock)
    other.start()
    site = virtual.site(dies(after_ms=5))
    other.register_result_producer(site, "t")
    handles = [other.send_request("t", ttl=None), virtual.ask(ttl=None)]
    for handle in handles:
        handle.wait()
        assert handle.report().members[0].standing is Standing.DEAD
    assert virtual.clock.now() == 0.005
    other.stop()
    other.join()


def test_one_that_is_slow_to_start_comes_late_to_its_first_request(virtual: Bench) -> None:
    """Then it is as quick as its script."""
    site = virtual.site(1, start_ms=500)
    handle = virtual.ask(ttl=400)
    assert_missing(handle, site)
    assert_accepted(virtual.ask(ttl=400), 1)
    assert virtual.clock.now() == 0.5


@pytest.mark.parametrize(
    ("make", "error", "names"),
    [
        (lambda: answers(after_ms=-1), ValueError, "after_ms"),
        (lambda: answers(after_ms="1"), TypeError, "after_ms"),  # type: ignore[arg-type]
        (lambda: answers(after_ms=float("inf")), ValueError, "after_ms"),
        (lambda: answers(after_ms=None), ValueError, "after_ms"),  # type: ignore[arg-type]
        (lambda: raises("OSError"), TypeError, "error"),  # type: ignore[arg-type]
        (lambda: raises(int), TypeError, "error"),
        (lambda: computes(3), TypeError, "function"),  # type: ignore[arg-type]
        (lambda: dies(after_ms=float("nan")), ValueError, "after_ms"),
        (lambda: ScriptedProducer(start_ms=-1), ValueError, "start_ms"),
        (lambda: RecordingListener(takes_ms=float("inf")), ValueError, "takes_ms"),
        (lambda: RecordingListener().wait_for("1"), TypeError, "count"),  # type: ignore[arg-type]
        (lambda: ScriptedProducer(hangs), TypeError, r"hangs\(\.\.\.\)"),
        (lambda: ScriptedProducer(OSError("x")), TypeError, "write raises"),
        (lambda: Timeline(0), ValueError, "last"),
        (lambda: Timeline("3"), TypeError, "last"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused_at_the_call(make: Any, error: Any, names: str) -> None:
    """Naming the parameter."""
    with pytest.raises(error, match=names):
        make()


# -- recording listeners -----------------------------------------------------------------------


def test_a_recording_listener_remembers_everything(bench: Bench) -> None:
    """Results, errors, reports, each with what belongs to it."""
    ear = bench.ear()
    bench.site(1)
    bench.site(raises(OSError("broken")), name="broken")
    handle = bench.ask()
    handle.wait()
    assert ear.wait_for(1) == [1]
    bench.ask().wait()
    assert ear.wait_for(2, timeout=PATIENCE) == [1, 1]
    bench.quiet()
    over_there = threading.Thread(target=lambda: None)
    over_there.start()
    over(over_there)
    while len(ear.reports) < 2:
        bench.ask(ttl=0).wait()
    assert [heard.topic for heard in ear.heard][:2] == ["t", "t"]
    assert ear.values[:2] == [1, 1]
    assert [type(reply.error) for reply in ear.errors[:2]] == [OSError, OSError]
    assert ear.reports[0].id == handle.id


def test_a_recording_listener_notes_the_instant(virtual: Bench) -> None:
    """Of the clock that it lives under; a slow one hears the next thing when it is done."""
    quick, slow = virtual.ear(), virtual.ear(takes_ms=500)
    virtual.site(answers(1, after_ms=100))
    virtual.site(answers(2, after_ms=200))
    virtual.ask().wait()
    assert slow.wait_for(2) == [1, 2]
    assert [(heard.at, heard.value) for heard in quick.heard] == [(0.1, 1), (0.2, 2)]
    assert [(heard.at, heard.value) for heard in slow.heard] == [(0.1, 1), (0.6, 2)]


def test_waiting_for_results_that_do_not_come_times_out(bench: Bench) -> None:
    """On either clock, saying how many came."""
    ear = bench.ear(name="ear")
    bench.site(1)
    bench.ask().wait()
    with pytest.raises(RequestTimeout, match=r"ear heard 1 of 2 results in 0\.05 s"):
        ear.wait_for(2, timeout=0.05)
    assert ear.wait_for(0, timeout=0) == []


# -- assertions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "explains"),
    [
        (lambda h: assert_accepted(h), "not every producer answered in time with a value"),
        (lambda h: assert_accepted(h, 1, 2), r"accepted \[1\], not \[1, 2\]"),
        (lambda h: assert_accepted(h, 1, by=["slow"]), r"accepted from \['quick'\], not \['slow'"),
        (lambda h: assert_missing(h), r"missing are \['hung', 'slow'\], not \[\]"),
        (lambda h: assert_missing(h, "slow"), r"missing are \['hung', 'slow'\], not \['slow'\]"),
        (lambda h: assert_failed(h, "quick"), "quick did not raise in time"),
        (lambda h: assert_failed(h, "broken", KeyError), "broken raised OSError, not KeyError"),
        (lambda h: assert_late(h, "quick"), "quick was not late"),
        (lambda h: assert_late(h, "hung"), "hung has not answered at all"),
        (lambda h: assert_late(h, "slow", by_ms=399), "slow was late by 400 ms, not 399 ms"),
        (lambda h: assert_ended(h, "ALL_REPLIED"), "it did not end as ALL_REPLIED"),
    ],
)
def test_a_claim_that_does_not_hold_is_explained(virtual: Bench, claim: Any, explains: str) -> None:
    """With what there was instead, and the report."""
    virtual.site(answers(1, after_ms=500), name="quick")
    virtual.site(answers(2, after_ms=1000), name="slow")
    virtual.site(raises(OSError), name="broken")
    virtual.site(hangs(), name="hung")
    handle = virtual.ask(ttl=600)
    with pytest.raises(AssertionError, match=explains) as caught:
        claim(handle)
    assert "request 1 on 't': DEADLINE after 600.0 ms (ttl 600 ms), 1 of 4 ok" in str(caught.value)
    assert_accepted(handle, 1, by=["quick"])
    assert_missing(handle, "slow", "hung")
    assert_failed(handle, "broken", OSError)
    assert_late(handle, "slow", by_ms=400)
    assert_ended(handle, Completion.DEADLINE)
    assert_ended(handle, "DEADLINE")


class Array:
    """As those of numpy: ``==`` gives an array, which is neither true nor false."""

    def __init__(self, *items: Any) -> None:
        self.items = items
        self.shape = (len(items),)

    def __eq__(self, other: object) -> Any:
        others = other.items if isinstance(other, Array) else [other] * len(self.items)
        return Array(*map(lambda a, b: a == b, self.items, others))

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def all(self) -> bool:
        return all(self.items)

    def __repr__(self) -> str:
        return f"Array{self.items}"


class Odd:
    """What cannot be compared at all."""

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError("odd")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Odd()"


@pytest.mark.parametrize(
    ("value", "same", "other"),
    [
        (Array(1, 2), Array(1, 2), Array(1, 3)),
        (Array(1, 1), Array(1, 1), 1),
        (Array(1, 2), Array(1, 2), Array(1, 2, 3)),
        (("left", Array(1, 2)), ("left", Array(1, 2)), ("left", Array(2, 2))),
        ([Array(1)], [Array(1)], [Array(1), Array(1)]),
        ({"volts": Array(1, 2)}, {"volts": Array(1, 2)}, {"amps": Array(1, 2)}),
        (2, 2.0, 3),
    ],
)
def test_arrays_are_compared_by_their_elements(
    virtual: Bench, value: Any, same: Any, other: Any
) -> None:
    """And by their shape, wherever they are; what differs is shown."""
    virtual.site(value)
    handle = virtual.ask()
    assert_accepted(handle, same)
    with pytest.raises(AssertionError, match=r"accepted \[.*\], not \[.*\]"):
        assert_accepted(handle, other)


def test_what_cannot_be_compared_is_told(virtual: Bench) -> None:
    """With what its comparison has raised; what is the very same need not be compared."""
    odd = Odd()
    virtual.site(odd)
    handle = virtual.ask()
    assert_accepted(handle, odd)
    says = r"Odd\(\) cannot be compared with 3: ArithmeticError\('odd'\)"
    with pytest.raises(AssertionError, match=says):
        assert_accepted(handle, 3)


def test_waiting_for_what_cannot_come_is_told(virtual: Bench) -> None:
    """How many results came, and that nothing is to come any more."""
    ear = virtual.ear(name="ear")
    virtual.site(answers(1, after_ms=500))
    virtual.ask()
    virtual.clock.settle()
    virtual.clock._patience = 0.2
    with pytest.raises(VirtualTimeStuck, match="ear heard 1 of 2 results: no progress"):
        ear.wait_for(2)
    virtual.clock._patience = 10


def test_everybody_answered_is_a_claim_too(virtual: Bench) -> None:
    """Without values: each producer that was asked gave one. With nobody asked it is false."""
    virtual.site(1)
    virtual.site(2)
    assert_accepted(virtual.ask())
    assert_missing(virtual.ask())
    with pytest.raises(AssertionError):
        assert_accepted(virtual.dispatcher.send_request("nobody"))


def test_late_on_real_time_is_waited_for() -> None:
    """For as long as *by_ms* says."""
    bench = Bench(virtual=False)
    site = bench.site(hangs(), name="site")
    # Long enough for it to begin on a busy machine.
    handle = bench.ask(ttl=200)
    with pytest.raises(AssertionError, match="site has not answered at all"):
        assert_late(handle, site, by_ms=1)
    threading.Timer(0.05, site.release, [True]).start()
    assert_late(handle, site)
    bench.close()


def test_late_is_not_waited_for_beyond_reason(virtual: Bench) -> None:
    """Although somebody waits for one instant after another; and the dead do not answer."""
    hung = virtual.site(hangs())
    dead = virtual.site(dies())
    over: List[int] = []

    def tick() -> None:
        while not over:
            virtual.clock.sleep(1)

    ticking = virtual.clock.thread(tick)
    ticking.start()
    handle = virtual.ask(ttl=100)
    for site in (hung, dead):
        with pytest.raises(AssertionError, match="has not answered at all"):
            assert_late(handle, site, by_ms=5000)
    assert virtual.clock.now() < 7
    over.append(1)
    ticking.join()


def test_objects_are_told_apart_by_identity(virtual: Bench) -> None:
    """Of two with one name each is meant by itself; the name means either."""
    first, second = virtual.site(hangs(), name="twin"), virtual.site(3, name="twin")
    third = virtual.site(raises(OSError, after_ms=1), name="twin")
    handle = virtual.ask(ttl=100)
    assert_accepted(handle, 3, by=second)
    assert_accepted(handle, 3, by=[second])
    assert_accepted(handle, 3, by="twin")
    assert_missing(handle, first)
    assert_missing(handle, "twin")
    assert_failed(handle, third, OSError)
    for wrong in (
        lambda: assert_accepted(handle, 3, by=first),
        lambda: assert_missing(handle, second),
        lambda: assert_missing(handle, first, second),
        lambda: assert_failed(handle, second),
        lambda: assert_late(handle, second),
    ):
        with pytest.raises(AssertionError):
            wrong()
    shown = [line for line in lines(virtual) if "twin" in line]
    assert [line.split()[-2:] for line in shown] == [
        ["was", "running"],
        ["0.0", "ms"],
        ["ms,", "OSError"],
    ]


@pytest.mark.parametrize(
    ("claim", "error", "names"),
    [
        (lambda h: assert_late(h, "nobody"), ValueError, "nobody was not asked; quick was"),
        (lambda h: assert_failed(h, "nobody"), ValueError, "nobody was not asked; quick was"),
        (lambda h: assert_ended(h, "DONE"), ValueError, "completion must be one of ALL_REPLIED"),
        (lambda _: assert_missing(7), TypeError, "handle must be what send_request returned"),
    ],
)
def test_a_claim_about_nothing_is_refused(
    virtual: Bench, claim: Any, error: Any, names: str
) -> None:
    """It is a mistake in the test, not a failure of what is tested."""
    virtual.site(1, name="quick")
    with pytest.raises(error, match=names):
        claim(virtual.ask())


# -- the timeline ------------------------------------------------------------------------------


def lines(bench: Bench) -> List[str]:
    """The timeline's lines once everything has been told."""
    bench.quiet()
    return [line.rstrip() for line in str(bench.timeline).splitlines()]


def test_a_timeline_of_nothing_says_so(virtual: Bench) -> None:
    """Rather than nothing."""
    assert lines(virtual) == ["no request was sent"]


EVERY_FATE = """
request 1 on t, ttl 600 ms: DEADLINE after 600.0 ms
  ok                   ===========*          |                      300.0 ms
  raised               =====x                |                      150.0 ms, OSError
  late                 ======================|====================! 1200.0 ms, late by 600.0 ms; was running
  hung                 ======================|====================> was running
  died                 ...-                  |                      died
  skipped              ......................|................-     skipped, never begun
  idle                 ......................|....................> missing, not started
                       0                                    1200 ms

. waits  : held up  = runs  * accepted  x raised  ! late  - skipped  > still at it  | deadline
"""  # noqa: E501


def test_a_timeline_shows_every_fate(virtual: Bench) -> None:
    """Each with its own mark, in lanes in the order of the roster."""
    virtual.site(answers(1, after_ms=300), name="ok")
    virtual.site(raises(OSError, after_ms=150), name="raised")
    virtual.site(answers(2, after_ms=1200), name="late")
    virtual.site(hangs(), name="hung")
    virtual.site(dies(after_ms=75), name="died")
    virtual.site(1, start_ms=1100, name="skipped")
    idle = ScriptedProducer(name="idle")
    virtual.dispatcher.register_result_producer(idle, "t")
    virtual.ask(ttl=600).wait()
    virtual.clock.advance(600)
    assert "\n".join(lines(virtual)) == EVERY_FATE.strip("\n")
    idle.start()
    virtual.cast.append(idle)
    virtual.clock.settle()
    assert "skipped, never begun" in next(line for line in lines(virtual) if "idle" in line)


def test_a_timeline_keeps_the_last_requests(virtual: Bench) -> None:
    """And says how many came before; a far deadline does not squeeze what happened."""
    virtual.site(answers(1, after_ms=10), name="site")
    for _ in range(5):
        virtual.ask(ttl=3600_000).wait()
    shown = lines(virtual)
    assert shown[0] == "(2 earlier requests)"
    assert [line[:9] for line in shown if line.startswith("request")] == [
        "request 3",
        "request 4",
        "request 5",
    ]
    assert shown.count("  site                 " + "=" * 43 + "* 10.0 ms") == 3
    assert "request 5 on t, ttl 3600000 ms: ALL_REPLIED after 10.0 ms" in shown


def test_a_timeline_shows_what_is_open_and_who_was_nobody(virtual: Bench) -> None:
    """At any moment."""
    virtual.site(hangs(), name="site")
    virtual.ask(ttl=None)
    virtual.dispatcher.send_request("else").wait()
    shown = lines(virtual)
    assert shown[0] == "request 1 on t, no ttl: still open"
    assert "request 2 on else, ttl 5000 ms: NO_PRODUCERS after 0.0 ms" in shown
    assert "  nobody was registered for it" in shown


def test_two_of_one_name_have_a_lane_each(virtual: Bench) -> None:
    """In the order in which they come to their ends."""
    for ms in (10, 20):
        virtual.site(answers(1, after_ms=ms), name="twin")
    virtual.ask().wait()
    assert [line.split()[-2:] for line in lines(virtual) if "twin" in line] == [
        ["10.0", "ms"],
        ["20.0", "ms"],
    ]


# -- published values ----------------------------------------------------------------------------


def test_who_has_heard_a_value() -> None:
    """By object or by name; waits for it, and explains itself."""
    rig = Rig()
    dispatcher = rig.dispatcher(clock=rig.virtual_clock())
    quick = rig.recording_listener(dispatcher, "t", name="quick")
    slow = rig.recording_listener(dispatcher, "t", name="slow", takes_ms=100)
    first, second = dispatcher.publish("t", 1), dispatcher.publish("t", 2, ttl=50)
    assert_heard(first)
    assert_heard(first, quick, "slow")
    assert_heard(second, quick)
    with pytest.raises(AssertionError, match=r"slow has not heard it\nvalue 2(.|\n)*SKIPPED"):
        assert_heard(second, slow)
    with pytest.raises(AssertionError, match="not every listener has heard it"):
        assert_heard(second)
    with pytest.raises(AssertionError, match="slow has heard it, too"):
        assert_heard(first, "quick")
    with pytest.raises(AssertionError, match="nobody listened"):
        assert_heard(dispatcher.publish("nobody", 1))
    with pytest.raises(TypeError, match="delivery must be what publish returned"):
        assert_heard(dispatcher.send_request("t"))  # type: ignore[arg-type]
    assert rig.end() == []


def test_the_timeline_shows_what_was_published() -> None:
    """In its place among the requests, with who was to hear it, and whose callback raised."""
    rig = Rig()
    clock = rig.virtual_clock()
    dispatcher = rig.dispatcher(clock=clock)
    rig.scripted_producer(dispatcher, "t", answers(1, after_ms=5), name="site")

    @dispatcher.listener("t", name="log")
    def log(topic: str, value: object) -> None:
        if value == "bad":
            raise KeyError(value)

    dispatcher.send_request("t").wait()
    dispatcher.publish("t", "bad")
    dispatcher.publish(("u", 1), "fine")
    dispatcher.send_request("t").wait()
    ((_, picture),) = rig.pictures()
    lines = picture.splitlines()
    assert "value 2 on t at 5 ms, for log" in lines
    assert "  log raised KeyError" in lines
    assert "value 3 on ('u', 1) at 5 ms, for nobody" in lines
    assert [line[:9] for line in lines if line[:5] in ("reque", "value")] == [
        "request 1",
        "value 2 o",
        "value 3 o",
        "request 4",
    ]
    log.stop()
    log.join()
    assert rig.end() == []
