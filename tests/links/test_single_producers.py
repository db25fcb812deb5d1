"""One producer of another part: what comes of it is what comes of one that is here.

Each script is played twice, on virtual time: on one dispatcher, and with the producer on another
part. A request of one producer from elsewhere has ways of its own through the engine, so all that
can happen to a producer is done to it. What differs is what the guide says, and said here.
"""

from __future__ import annotations

import collections
import contextlib
import random
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import pytest
from parts import Parts
from virtual import sums_add_up

from ate_dispatcher import (
    Completion,
    Handle,
    IncompleteError,
    Overflow,
    Producer,
    Quorum,
    RemoteError,
    ResultListener,
    SlowConsumer,
    Stall,
    Standing,
    StopOnError,
    Until,
    Verdict,
    current_request,
)
from ate_dispatcher.errors import BadValue
from ate_dispatcher.hooks import SetAside
from ate_dispatcher.policies import First
from ate_dispatcher.testing import RecordingListener, ScriptedProducer, answers, dies

FAR = "b/dmm"


class Told(NamedTuple):
    """What a handle tells; times are milliseconds since its send."""

    completion: Optional[str]
    elapsed: Optional[float]
    policy: Optional[str]
    missing: Tuple[str, ...]
    failed: Tuple[str, ...]
    #: The value or the error, when it came, and whether there was more.
    replies: List[Tuple[Any, Optional[float], bool]]
    #: The word on each, when it began, how long it ran, how late it was.
    members: List[Tuple[Any, ...]]

    @property
    def words(self) -> List[str]:
        return [each[0] for each in self.members]

    @property
    def values(self) -> List[Any]:
        return [each[0] for each in self.replies]


class Place:
    """Who asks and where the producers are: one dispatcher, or *far* from each other, two parts."""

    def __init__(self, far: bool) -> None:
        self.far = far
        self.parts = Parts()
        self.asker = self.home = self.parts.part("a", connect=far)
        if far:
            self.home = self.parts.part("b")
        self.clock = self.parts.clock
        self.began = 0.0
        #: What the producers have done, and when.
        self.log: List[Tuple[Any, ...]] = []
        self.events: List[str] = []
        self.asker.add_hook(lambda event: self.events.append(event.name.rsplit(".")[1]))

    def now(self) -> float:
        """In milliseconds since the cast was complete."""
        return round((self.clock.now() - self.began) * 1e3, 3)

    def done(self, *what: Any) -> None:
        self.log.append((self.now(), *what))

    def producer(self, made: Any, topic: Any = "volts") -> Any:
        self.home.register_result_producer(made, topic, start=True)
        self.advance(10)
        self.began = self.clock.now()
        return made

    def listener(self, made: Any, topic: Any = "volts", at_home: bool = False) -> Any:
        whose = self.home if at_home else self.asker
        whose.register_result_listener(made, topic, start=True)
        self.advance(10)
        self.began = self.clock.now()
        return made

    def ask(
        self, *args: Any, ttl: Optional[float] = 1000, topic: Any = "volts", **options: Any
    ) -> Handle:
        handle = self.asker.options(ttl=ttl, **options).send_request(topic, *args)
        self.clock.settle()
        return handle

    def advance(self, ms: float) -> None:
        self.clock.settle()
        self.clock.advance(ms)
        self.clock.settle()

    def switch(self, how: str) -> None:
        """``disable`` or ``enable`` the producer dmm, by who asks."""
        getattr(self.asker, how)(FAR if self.far else "dmm", by="asker")
        self.clock.settle()

    def told(self, handle: Handle) -> Told:
        report = handle.report()
        return Told(
            None if report.completion is None else report.completion.name,
            _rounded(report.elapsed_ms),
            report.policy,
            report.missing,
            report.failed,
            [
                (said(reply.error) or reply.value, _rounded(reply.elapsed_ms), reply.more)
                for reply in handle.replies
            ],
            [
                # Of one that waited for instruments elsewhere, that is in `waited_ms`.
                (
                    _word(each.word),
                    _rounded(each.began_ms),
                    _rounded(each.ran_ms),
                    _rounded(each.late_ms),
                )
                for each in report.members
            ],
        )

    def sums(self) -> Any:
        """The statistics of who asks, without what is zero."""
        for dispatcher in (self.asker, self.home):
            sums_add_up(dispatcher)
        sums = self.asker.statistics()
        verdicts = {each.name: count for each, count in sums.verdicts.items() if count}
        ends = {each.name: count for each, count in sums.completions.items() if count}
        return sums.requests, sums.open, sums.fan_out, sums.pending, sums.lost, verdicts, ends


def _word(word: str) -> str:
    # Of who is never asked, or has not begun when it ends in parts there, no more may be known.
    return word.replace("(away)", "(queued)")


def _rounded(ms: Optional[float]) -> Optional[float]:
    return None if ms is None else round(ms, 2)


def said(error: Optional[BaseException]) -> Optional[Tuple[str, str]]:
    """Of which class it was where it was raised, and what it says."""
    if isinstance(error, RemoteError):
        return error.kind, error.message
    return None if error is None else (type(error).__name__, str(error))


Script = Callable[[Place], Any]


@pytest.fixture
def both() -> Callable[[Script], Any]:
    """Plays a script here and far, and sees to it that the same comes of both; gives what it is."""

    def plays(script: Script) -> Any:
        came = []
        for far in (False, True):
            place = Place(far)
            try:
                came.append((script(place), place.log, sorted(place.events), place.sums()))
            finally:
                place.parts.tidy()
        here, there = came
        assert there == here
        return here[0]

    return plays


# -- producers of all kinds ---------------------------------------------------------------------


class Meter(Producer):
    """One that says in its *place* what it does."""

    streams = False

    def __init__(self, place: Place, **options: Any) -> None:
        super().__init__(name="dmm", stream=self.streams, **options)
        self.place = place


class Works(Meter):
    """Takes *ms*, then answers with *n*, or raises it."""

    def produce_dispatcher_output(self, topic: Any, n: Any, ms: float = 0, fails: Any = 0) -> Any:
        self.place.done("begins", n)
        self.place.clock.sleep(ms / 1e3)
        request = current_request()
        self.place.done("ends", n, request is not None and request.cancelled)
        if fails:
            raise ValueError(n)
        return n


class Sweeps(Meter):
    """Answers with three values within *ms*; after them it may raise."""

    streams = True

    def produce_dispatcher_output(self, topic: Any, n: Any, ms: float = 0, fails: Any = 0) -> Any:
        self.place.done("begins", n)
        try:
            for step in range(3):
                self.place.clock.sleep(ms / 3e3)
                yield f"{n}.{step}"
            if fails:
                raise ValueError(n)
        finally:
            self.place.done("ends", n)


class Awaits(Meter):
    """As `Works`, in an event loop."""

    async def produce_dispatcher_output(
        self, topic: Any, n: Any, ms: float = 0, fails: Any = 0
    ) -> Any:
        self.place.done("begins", n)
        try:
            await self.place.clock.asleep(ms / 1e3)
        finally:
            self.place.done("ends", n)
        if fails:
            raise ValueError(n)
        return n


class AwaitingSweeps(Meter):
    """As `Sweeps`, in an event loop."""

    streams = True

    async def produce_dispatcher_output(
        self, topic: Any, n: Any, ms: float = 0, fails: Any = 0
    ) -> Any:
        self.place.done("begins", n)
        try:
            for step in range(3):
                await self.place.clock.asleep(ms / 3e3)
                yield f"{n}.{step}"
            if fails:
                raise ValueError(n)
        finally:
            self.place.done("ends", n)


KINDS = [Works, Sweeps, Awaits, AwaitingSweeps]
STREAMS = [Sweeps, AwaitingSweeps]
PLAIN = [Works, Awaits]

NEEDS = [None, None, None, First(), Quorum(1), Quorum(2), Stall(7.77), StopOnError()]


def some_script(seed: int) -> Script:
    """One of any number of them: producers, requests, cancels, switches, in any order.

    No two things that could be told apart happen in one instant.
    """
    draw = random.Random(seed)
    kind = draw.choice(KINDS)
    workers, exclusive = draw.choice([1, 1, 1, 3]), draw.choice([(), (), "psu"])
    # What was streamed until a predicate is asked, elsewhere, depends on the way there.
    needs = NEEDS if kind in STREAMS else [*NEEDS, Until(lambda replies: len(replies) > 1)]
    steps = [draw.random() for _ in range(draw.randint(3, 14))]
    choices = [
        (
            draw.choice([None, 0.0, 5.13, 20.37, 100.71, 1000.19]),
            draw.choice(needs),
            draw.choice([None, None, "x", "y"]),
            draw.choice([0, 0, 3.3, 10.2, 40.9]),
            draw.random() < 0.25,
            draw.choice([0.7, 2.31, 11.1, 50.3]),
            draw.randint(0, 9),
        )
        for _ in steps
    ]

    def script(place: Place) -> List[Told]:
        made = place.producer(kind(place, workers=workers, exclusive=exclusive))
        handles: List[Handle] = []
        # Who asks does not know one that is off at home.
        here = True
        for step, (ttl, need, key, ms, fails, pause, which) in zip(steps, choices):
            if step < 0.45:
                options = {"need": need} if need else {}
                call = len(handles), ms, fails
                handles.append(place.ask(*call, ttl=ttl, ordering_key=key, **options))
            elif step < 0.75:
                place.advance(pause)
            elif step < 0.85 and handles:
                handles[which % len(handles)].cancel()
            elif 0.85 <= step < 0.92 and here:
                place.switch("disable" if step < 0.89 else "enable")
            elif step >= 0.92:
                here = step >= 0.97
                (place.home.enable if here else place.home.disable)(made, by="home")
            place.clock.settle()
        place.advance(5_000)
        for handle in handles:
            handle.cancel()
        place.clock.settle()
        place.log.sort(key=str)
        if exclusive:
            # Who waits at an instrument elsewhere is known to be skipped only after the end.
            place.events[:] = [each for each in place.events if each != "request_skipped"]
        return [place.told(handle) for handle in handles]

    return script


@pytest.mark.parametrize("first", [0, 20])
def test_whatever_is_done_comes_to_the_same(both: Callable[[Script], Any], first: int) -> None:
    """Cancels, switches, deadlines, policies, keys, instruments, with producers of all kinds."""
    for seed in range(first, first + 20):
        both(some_script(seed))


@pytest.mark.thorough
@pytest.mark.parametrize("first", range(1_000, 2_000, 100))
def test_whatever_is_done_comes_to_the_same_often(
    both: Callable[[Script], Any], first: int
) -> None:
    """The same with many more of them."""
    for seed in range(first, first + 100):
        both(some_script(seed))


def test_who_has_not_begun_is_known_to_be_skipped(both: Callable[[Script], Any]) -> None:
    """In reports, with where it stood, and by hooks: one event for each that will not begin."""

    def script(place: Place) -> Any:
        place.producer(Works(place))
        at_work, late, cancelled = place.ask(1, 50, ttl=20), place.ask(2, ttl=30), place.ask(3)
        place.advance(10)
        cancelled.cancel()
        place.advance(100)
        handles = at_work, late, cancelled
        words = [each.report().members[0].word for each in handles]
        return words, place.events.count("request_skipped")

    assert both(script) == (["LATE", "SKIPPED (queued)", "CANCELLED (queued)"], 1)


# -- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STREAMS)
def test_each_value_of_a_stream_is_there_as_it_comes(
    both: Callable[[Script], Any], kind: Any
) -> None:
    """For who asks and for who listens; whatever ends it: itself, an error, the time, a cancel."""

    def script(place: Place) -> Any:
        place.producer(kind(place))
        heard = place.listener(RecordingListener())
        whole, failing = place.ask(1, 30), place.ask(2, 30, 1)
        place.advance(100)
        short, cancelled = place.ask(3, 30, ttl=25), place.ask(4, 30)
        place.advance(52)
        cancelled.cancel()
        place.advance(100)
        met = place.ask(5, 30, need=First())
        place.advance(100)
        handles = [place.told(each) for each in (whole, failing, short, cancelled, met)]
        return handles, [(round(each.at - place.began, 4), each.value) for each in heard.heard]

    (whole, failing, short, cancelled, met), heard = both(script)
    assert whole.replies == [("1.0", 10, True), ("1.1", 20, True), ("1.2", 30, False)]
    assert failing.values == ["2.0", "2.1", "2.2", ("ValueError", "2")]
    assert (short.values, short.words) == (["3.0", "3.1"], ["LATE"])
    assert (cancelled.values, cancelled.words) == (["4.0", "4.1"], ["SURPLUS"])
    assert (met.values, met.completion) == (["5.0", "5.1", "5.2"], "QUORUM")
    assert len(heard) == 3 + 3 + 2 + 2 + 3
    assert heard[:2] == [(0.01, "1.0"), (0.02, "1.1")]


def test_a_stream_of_nothing_and_a_plain_value_of_one_that_streams(
    both: Callable[[Script], Any],
) -> None:
    """The first has answered with no value, the second with one."""

    class Either(Producer):
        def produce_dispatcher_output(self, topic: Any, *plain: Any) -> Any:
            return plain[0] if plain else (each for each in ())

    def script(place: Place) -> Any:
        place.producer(Either(name="dmm", stream=True))
        handles = [place.ask(), place.ask(7), place.ask(need=First())]
        place.advance(10)
        return [place.told(each) for each in handles]

    nothing, plain, wanted = both(script)
    assert (nothing.replies, nothing.words) == ([], ["OK"])
    assert (plain.values, plain.replies[0][2]) == ([7], False)
    assert wanted.completion == "IMPOSSIBLE"


# -- instruments --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_instrument_is_had_by_one_after_the_other(
    both: Callable[[Script], Any], kind: Any
) -> None:
    """Who gives up while waiting for it does not begin, and the next one has it."""

    def script(place: Place) -> Any:
        place.producer(kind(place, exclusive="psu", workers=4))
        place.producer(Works(place, exclusive="psu"), "ohms")
        other = place.ask("other", 50, topic="ohms")
        one, two, three, four = (
            place.ask(1, 10),
            place.ask(2, ttl=20),
            place.ask(3, need=Quorum(1)),
            place.ask(4, 10),
        )
        place.advance(30)
        three.cancel()
        place.advance(500)
        place.events[:] = [each for each in place.events if each != "request_skipped"]
        begun = [each[2] for each in place.log if each[1] == "begins"]
        return [place.told(each) for each in (other, one, two, three, four)], begun

    (other, one, two, three, four), begun = both(script)
    assert (other.words, one.words, four.words) == (["OK"], ["OK"], ["OK"])
    assert two.words == ["SKIPPED (at instrument)"]
    assert three.words == ["CANCELLED (at instrument)"]
    assert begun == ["other", 1, 4]


def test_an_instrument_is_of_its_machine_whoever_asks() -> None:
    """Who asks there and who asks from elsewhere wait for each other; that is time waited."""
    place = Place(far=True)
    place.producer(Works(place, exclusive="psu"))
    place.producer(Works(place, exclusive="psu"), "ohms")
    at_home = [place.home.send_request("ohms", "home", 20, ttl=1000)]
    place.clock.settle()
    far = place.ask("far", 20)
    at_home.append(place.home.send_request("ohms", "home again", 20, ttl=1000))
    place.advance(100)
    assert [each[2] for each in place.log if each[1] == "begins"] == ["home", "far", "home again"]
    (member,) = far.report().members
    assert (member.word, member.instrument_ms) == ("OK", None)
    assert member.waited_ms == pytest.approx(20)
    assert [each.results() for each in at_home] == [["home"], ["home again"]]
    place.parts.tidy()


# -- listeners that are full --------------------------------------------------------------------


def held_up(place: Place, gate: Any, at_home: bool = False, **options: Any) -> Any:
    """A listener that takes *gate* milliseconds for each, and remembers them."""
    heard: List[Any] = []

    def hear(topic: Any, value: Any) -> None:
        heard.append(value)
        place.clock.sleep(gate / 1e3)

    made = ResultListener(hear, name="slow", **options)
    place.listener(made, at_home=at_home)
    return heard


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at_home", [False, True])
def test_no_producer_waits_for_a_listener_of_another_part(kind: Any, at_home: bool) -> None:
    """Under BLOCK one that is asked from elsewhere goes on, and all it says is heard, in order."""
    begun, heard = [], []
    for far in (False, True):
        place = Place(far)
        place.producer(kind(place))
        heard.append(held_up(place, 100, at_home, maxsize=1, overflow=Overflow.BLOCK))
        handles = [place.ask(n, ttl=10_000) for n in range(6)]
        place.advance(50)
        begun.append(sum(each[1] == "begins" for each in place.log))
        place.advance(5_000)
        assert [place.told(each).words for each in handles] == [["OK"]] * 6
        assert place.sums()[4] == 0
        place.parts.tidy()
    # Here it waits for room, within a stream as well.
    assert begun[0] == (1 if kind in STREAMS else 2 if not far else begun[0])
    assert begun[1] == 6
    assert heard[0] == heard[1]
    assert len(heard[1]) == (18 if kind in STREAMS else 6)


def test_who_is_asked_at_home_waits_for_what_came_from_elsewhere() -> None:
    """What was taken beyond the bound has to be heard before there is room."""
    place = Place(far=True)
    place.producer(Works(place))
    heard = held_up(place, 100, at_home=True, maxsize=1, overflow=Overflow.BLOCK)
    for n in range(3):
        place.ask(n)
    handles = [place.home.send_request("volts", f"home {n}", ttl=10_000) for n in range(2)]
    place.advance(150)
    begun = [each[2] for each in place.log if each[1] == "begins"]
    assert begun == [0, 1, 2, "home 0"]
    place.advance(2_000)
    assert [each.results() for each in handles] == [["home 0"], ["home 1"]]
    assert heard == [0, 1, 2, "home 0", "home 1"]
    place.parts.tidy()


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
@pytest.mark.parametrize("kind", [*KINDS, None])
def test_listeners_of_other_policies_drop_what_comes_from_elsewhere(
    both: Callable[[Script], Any], kind: Any, overflow: Overflow
) -> None:
    """Results and published values: the same ones as here, and as many count as lost."""

    def script(place: Place) -> Any:
        if kind is not None:
            place.producer(kind(place))
        heard = held_up(place, 100, maxsize=2, overflow=overflow)
        for n in range(6):
            if kind is None:
                place.home.publish("volts", n)
                place.clock.settle()
            else:
                place.ask(n)
        place.advance(5_000)
        # A published value is of who publishes it.
        place.events.clear()
        return heard, place.asker.statistics().lost

    heard, lost = both(script)
    assert len(heard) == 3
    assert lost == (15 if kind in STREAMS else 3)
    if kind not in STREAMS:
        assert heard == ([0, 4, 5] if overflow is Overflow.DROP_OLDEST else [0, 1, 2])


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DISCONNECT])
def test_streams_drop_what_comes_from_elsewhere(
    both: Callable[[Script], Any], overflow: Overflow
) -> None:
    """Each item tells how many; under DISCONNECT it ends."""

    def script(place: Place) -> Any:
        place.producer(Works(place))
        with place.asker.subscribe("volts", maxsize=2, overflow=overflow) as stream:
            place.advance(10)
            for n in range(5):
                place.ask(n)
            place.advance(10)
            items: List[Any] = []
            try:
                for _ in range(5):
                    item = stream.get(0)
                    if item is not None:
                        items.append((item.value, item.lost))
            except SlowConsumer:
                items.append("slow")
        return items

    items = both(script)
    if overflow is Overflow.DISCONNECT:
        assert items == [(0, 0), (1, 0), "slow"]
    else:
        assert items == [(3, 3), (4, 0)]


# -- ends of producers --------------------------------------------------------------------------


def test_a_thread_that_dies_at_work_leaves_nobody_waiting(both: Callable[[Script], Any]) -> None:
    """What it was at and what waits for it is MISSING at once; later nobody is asked."""

    def script(place: Place) -> Any:
        place.producer(ScriptedProducer(answers(1), dies(after_ms=10), name="dmm"))
        first, at_work = place.ask(), place.ask(ttl=None)
        waiting = [place.ask(ttl=None), place.ask(need=Quorum(1), ttl=None)]
        place.advance(50)
        later = place.ask(ttl=None)
        place.advance(10)
        return [place.told(each) for each in (first, at_work, *waiting, later)]

    first, at_work, waiting, needed, later = both(script)
    assert first.words == ["OK"]
    assert (at_work.completion, at_work.words) == ("ALL_REPLIED", ["MISSING (dead)"])
    assert (waiting.completion, waiting.words) == ("ALL_REPLIED", ["MISSING (dead)"])
    assert needed.completion == "IMPOSSIBLE"
    assert later.words == ["DECLINED"]


def test_a_thread_that_dies_after_the_end_is_late_for_nobody(
    both: Callable[[Script], Any],
) -> None:
    """What it was at stays MISSING; what it never came to is SKIPPED if that was over before."""

    def script(place: Place) -> Any:
        place.producer(ScriptedProducer(dies(after_ms=50), name="dmm"))
        handles = [place.ask(ttl=10), place.ask(ttl=20), place.ask(ttl=500)]
        place.advance(1_000)
        return [place.told(each).words for each in handles]

    words = [["MISSING (running)"], ["SKIPPED (queued)"], ["MISSING (dead)"]]
    assert both(script) == words


def test_a_thread_that_dies_with_an_instrument_gives_it_back(
    both: Callable[[Script], Any],
) -> None:
    """To who waits for it."""

    def script(place: Place) -> Any:
        place.producer(ScriptedProducer(dies(after_ms=20), name="dmm", exclusive="psu"))
        place.producer(Works(place, exclusive="psu"), "ohms")
        dying = place.ask(ttl=None)
        waiting = place.ask("next", topic="ohms")
        place.advance(100)
        return place.told(dying), place.told(waiting)

    dying, waiting = both(script)
    assert dying.words == ["MISSING (dead)"]
    assert waiting.members == [("OK", 20, 0, None)]


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_registered_no_more_answers_what_it_was_asked(
    both: Callable[[Script], Any], kind: Any
) -> None:
    """What it is at, and what waits for it; nobody asks it any more."""

    def script(place: Place) -> Any:
        made = place.producer(kind(place))
        at_work, waiting, short = place.ask(1, 30), place.ask(2, 30), place.ask(3, ttl=40)
        place.advance(10)
        place.home.deregister_result_producer(made, "volts")
        place.advance(5)
        later = place.ask(4)
        place.advance(200)
        place.home.register_result_producer(made, "volts")
        place.advance(5)
        again = place.ask(5)
        place.advance(10)
        return [place.told(each) for each in (at_work, waiting, short, later, again)]

    at_work, waiting, short, later, again = both(script)
    assert (at_work.words, waiting.words, short.words) == (["OK"], ["OK"], ["SKIPPED (queued)"])
    assert later.completion == "NO_PRODUCERS"
    assert again.words == ["OK"]


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_stopped_finishes_what_waits(both: Callable[[Script], Any], kind: Any) -> None:
    """By a word to itself: what comes behind that is declined, not left open."""

    def script(place: Place) -> Any:
        made = place.producer(kind(place))
        handles = [place.ask(1, 30), place.ask(2, 30)]
        place.advance(10)
        made.stop()
        place.advance(5)
        handles.append(place.ask(3, ttl=None))
        place.advance(200)
        handles.append(place.ask(4, ttl=None))
        place.advance(10)
        return [place.told(each) for each in handles]

    one, two, behind, later = both(script)
    assert (one.words, two.words) == (["OK"], ["OK"])
    assert None not in (behind.completion, later.completion)
    assert later.words in (["DECLINED"], [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("drain", [0, 45, 1_000, None])
def test_a_part_that_stops_answers_what_it_can(kind: Any, drain: Optional[float]) -> None:
    """Within its drain, as one that asks itself; who waits elsewhere then knows that it is gone."""
    words, values = [], []
    for far in (False, True):
        place = Place(far)
        place.producer(kind(place))
        handles = [place.ask(n, 30, ttl=5_000) for n in range(3)]
        place.advance(10)
        place.home.stop(drain=drain)
        place.advance(6_000)
        assert all(each.done() for each in handles)
        told = [place.told(each) for each in handles]
        words.append([each.words for each in told])
        values.append([each.values for each in told])
        sums_add_up(place.asker, quiet=True)
        place.parts.tidy()
    here, there = words
    assert values[0] == values[1]
    answered = sum(each == ["OK"] for each in here)
    assert answered == {0: 0, 45: 1}.get(drain or 0, 3) if drain is not None else answered == 3
    assert there[:answered] == here[:answered]
    assert all(each == ["GONE"] for each in there[answered:]), there


# -- on and off ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by_home", [False, True])
def test_who_is_disabled_finishes_what_it_is_at(
    both: Callable[[Script], Any], kind: Any, by_home: bool
) -> None:
    """What waits for it is withdrawn, one that counts on it is over; enabled it is asked anew."""

    def script(place: Place) -> Any:
        made = place.producer(kind(place))

        def switch(how: str) -> None:
            if by_home:
                getattr(place.home, how)(made)
            else:
                place.switch(how)

        at_work, waiting, counting = place.ask(1, 30), place.ask(2), place.ask(3, need=1)
        place.advance(10)
        switch("disable")
        place.advance(5)
        later = place.ask(4)
        switch("enable")
        place.advance(5)
        again = place.ask(5)
        place.advance(100)
        return [place.told(each) for each in (at_work, waiting, counting, later, again)]

    at_work, waiting, counting, later, again = both(script)
    assert (at_work.completion, at_work.words) == ("ALL_REPLIED", ["OK"])
    assert (waiting.completion, waiting.words) == ("ALL_REPLIED", ["WITHDRAWN"])
    assert (counting.completion, counting.words) == ("IMPOSSIBLE", ["WITHDRAWN"])
    assert (later.completion, again.words) == ("NO_PRODUCERS", ["OK"])


@pytest.mark.parametrize("kind", KINDS)
def test_who_was_enabled_before_it_came_to_that_is_withdrawn_or_asked(
    both: Callable[[Script], Any], kind: Any
) -> None:
    """What had to be withdrawn stays so; what is asked behind it is answered."""

    def script(place: Place) -> Any:
        place.producer(kind(place))
        handles = [place.ask(1, 30), place.ask(2, 5), place.ask(3, 5)]
        for how in ("disable", "enable") * 3:
            place.advance(1)
            place.switch(how)
        handles.append(place.ask(4, 5))
        place.advance(100)
        return [place.told(each).words for each in handles]

    assert both(script) == [["OK"], ["WITHDRAWN"], ["WITHDRAWN"], ["OK"]]


def test_who_misses_too_often_is_set_aside_and_probed(both: Callable[[Script], Any]) -> None:
    """By the hook, which says so: once in a while it is asked all the same, and comes back."""

    def script(place: Place) -> Any:
        aside = SetAside(after=2, probe_every=1_000)
        place.asker.add_hook(aside)
        place.producer(ScriptedProducer(*[answers(n, after_ms=50) for n in range(3)], answers(3)))
        seen = []
        for pause in (100, 100, 100, 1_000, 100, 100, 1_000, 100, 100):
            handle = place.ask(ttl=20)
            place.advance(pause)
            seen.append((place.told(handle).words, len(aside.aside)))
        return seen

    late, off, back = ["LATE"], [], ["OK"]
    words = [each for each, _ in both(script)]
    assert words == [late, late, off, off, off, late, off, off, back]


# -- what else a request may have ---------------------------------------------------------------


@pytest.mark.parametrize("kind", PLAIN)
def test_many_that_end_at_once_are_each_what_they_are(
    both: Callable[[Script], Any], kind: Any
) -> None:
    """Read together, and handed in together: values, errors, policies, callbacks, listeners."""

    def script(place: Place) -> Any:
        place.producer(kind(place))
        heard = place.listener(RecordingListener())
        called: List[int] = []
        gate = place.ask("gate", 10)
        handles = []
        for n in range(150):
            options = {"need": [First(), StopOnError(), Quorum(2), Stall(5)][n % 4]}
            handle = place.asker.options(ttl=500, **(options if n % 3 == 0 else {})).send_request(
                "volts", n, 0, n % 7 == 0
            )
            handle.add_done_callback(lambda handle, n=n: called.append(n))
            handles.append(handle)
        place.advance(100)
        told = [place.told(each) for each in (gate, *handles)]
        errors = [said(each.error) for each in heard.errors]
        ends = [report.completion.name for report in heard.reports if report.completion]
        return told, heard.values, errors, ends, called

    told, values, errors, ends, called = both(script)
    assert values == ["gate", *[n for n in range(150) if n % 7 and (n % 3 or n % 4 != 2)]]
    assert len(errors) == sum(n % 7 == 0 and (n % 3 > 0 or n % 4 != 2) for n in range(150))
    assert sorted(called) == list(range(150))
    assert len(ends) == 151
    assert {each.completion for each in told} >= {"ALL_REPLIED", "QUORUM", "IMPOSSIBLE"}


@pytest.mark.parametrize("kind", KINDS)
def test_keys_keep_their_order(both: Callable[[Script], Any], kind: Any) -> None:
    """One key, one after the other; others meanwhile; one that was cancelled holds up nobody."""

    def script(place: Place) -> Any:
        place.producer(kind(place, workers=3))
        keys = "xxyxzy"
        handles = [place.ask(n, 12, ordering_key=key) for n, key in enumerate(keys)]
        place.advance(5)
        handles[1].cancel()
        place.advance(200)
        place.log.sort(key=str)
        return [place.told(each) for each in handles]

    told = both(script)
    assert [each.words for each in told] == [["OK"], ["CANCELLED (queued)"], *[["OK"]] * 4]
    begun = [each.members[0][1] for each in told]
    assert (begun[0], begun[2], begun[4]) == (0, 0, 0)
    assert begun[3] == begun[5] == pytest.approx(12)


def test_progress_is_told_while_it_is_made(both: Callable[[Script], Any]) -> None:
    """And not afterwards."""

    class Slow(Producer):
        def produce_dispatcher_output(self, topic: Any, place_of: Any) -> Any:
            request = current_request()
            assert request is not None
            for step in range(3):
                request.progress(step / 2, f"step {step}")
                clocks[place_of].sleep(0.01)
            return "done"

    clocks = {}

    def script(place: Place) -> Any:
        clocks[place.far] = place.clock
        place.producer(Slow(name="dmm"))
        handle, waiting = place.ask(place.far), place.ask(place.far)
        seen = []
        for _ in range(4):
            place.advance(5)
            seen.append((handle.progress, waiting.progress))
            place.advance(5)
        place.advance(50)
        return seen, handle.progress, waiting.progress, place.told(handle)

    seen, *after, told = both(script)
    assert [first for first, _ in seen] == [
        (("dmm", 0.0, "step 0"),),
        (("dmm", 0.5, "step 1"),),
        (("dmm", 1.0, "step 2"),),
        (),
    ]
    assert after == [(), ()]
    assert told.words == ["OK"]


@pytest.mark.parametrize("kind", PLAIN)
def test_a_producer_that_has_no_room_declines(both: Callable[[Script], Any], kind: Any) -> None:
    """At once, while what waits for it is answered."""

    def script(place: Place) -> Any:
        place.producer(kind(place, maxsize=2))
        handles = [place.ask(n, 20) for n in range(5)]
        place.advance(1)
        early = [place.told(each).completion for each in handles]
        place.advance(100)
        return early, [place.told(each) for each in handles]

    early, told = both(script)
    assert early == [None, None, None, "ALL_REPLIED", "ALL_REPLIED"]
    assert [each.words for each in told] == [["OK"]] * 3 + [["DECLINED"]] * 2


def test_results_that_must_be_complete_say_who_is_missing(both: Callable[[Script], Any]) -> None:
    """An error, a deadline, a cancel, and whoever has answered."""

    def script(place: Place) -> Any:
        place.producer(Works(place))
        handles = [place.ask(1), place.ask(2, 0, 1), place.ask(3, 50, ttl=20), place.ask(4)]
        handles[3].cancel()
        place.advance(100)
        came: List[Any] = []
        for handle in handles:
            try:
                came.append(handle.results(require="all"))
            except IncompleteError as error:
                came.append(str(error).replace("b/", ""))
            came.append(handle.by_producer())
        return came

    came = both(script)
    assert came[:2] == [[1], {"dmm": 1}]
    assert all("dmm" in each for each in came[2::2])


def test_two_that_ask_one_producer_have_each_their_own() -> None:
    """Their numbers may be the same; one that leaves takes what it has asked with it."""
    place = Place(far=True)
    third = place.parts.part("c")
    place.producer(Works(place))
    mine = [place.ask(f"a{n}", 10) for n in range(4)]
    theirs = [third.send_request("volts", f"c{n}", 10, ttl=1000) for n in range(4)]
    place.advance(45)
    third.stop(immediate=True)
    place.advance(200)
    at_home = place.home.send_request("volts", "b", ttl=1000)
    place.advance(10)
    assert [each.results() for each in mine] == [[f"a{n}"] for n in range(4)]
    assert at_home.results() == ["b"]
    assert [each.completion for each in theirs] == [Completion.STOPPED] * 4
    begun = [each[2] for each in place.log if each[1] == "begins"]
    assert begun == ["a0", "a1", "a2", "a3", "c0", "b"]
    for dispatcher in (place.asker, third, place.home):
        sums_add_up(dispatcher, quiet=True)
    place.parts.tidy()


@pytest.mark.parametrize("ttl", [0, 20])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_many_that_end_at_one_instant_are_all_known_to_be_skipped(ttl: float, order: str) -> None:
    """Whichever part is the first to see that it has come: the end is told before what follows."""
    parts = Parts()
    for name in order:
        parts.part(name)
    parts.producer("b", 50, 5)
    busy = parts.ask("a")
    parts.clock.settle()
    handles = [parts.ask("a", ttl=ttl) for _ in range(20)]
    parts.clock.advance(1_000)
    words = {each.word for handle in handles for each in handle.report().members}
    assert words == {"SKIPPED (queued)"}
    assert busy.results() == [5]
    assert parts.connections["a"].statistics()["asked"] == 0
    assert parts.counted("a", "duplicates") == 0
    parts.tidy()


# -- what reports say, and what was done ----------------------------------------------------------

BEGUN = (Verdict.OK, Verdict.ERROR, Verdict.LATE, Verdict.SURPLUS)

TROUBLES = ["none", "delay", "repeat", "cut", "silence"]


def troubled(seed: int) -> None:
    """Three parts ask one producer, in any order, while the wire is troubled; what is said holds.

    Each request has ended, nobody has executed one twice, and each verdict is what was done.
    """
    draw, place = random.Random(seed), Place(far=True)
    third, wire = place.parts.part("c"), place.parts.wire
    options: Any = {"workers": draw.choice([1, 1, 3]), "exclusive": draw.choice([(), "psu"])}
    made = place.producer(draw.choice(KINDS)(place, **options))
    trouble = draw.choice(TROUBLES)
    handles: List[Handle] = []

    def asks() -> None:
        who = draw.choice([place.asker, place.asker, third, place.home])
        ttl, need = draw.choice([0.0, 5.13, 20.37, 100.71]), draw.choice(NEEDS)
        sender = who.options(ttl=ttl, need=need) if need else who.options(ttl=ttl)
        for _ in range(draw.choice([1, 1, 5])):
            call = len(handles), draw.choice([0, 0, 3.3, 10.2]), draw.random() < 0.2
            handles.append(sender.send_request("volts", *call))

    def switches() -> None:
        for how in draw.choice([["disable"], ["enable"], ["disable", "enable"]]):
            if draw.random() < 0.5:
                getattr(place.home, how)(made)
            else:
                with contextlib.suppress(BadValue):
                    getattr(place.asker, how)(FAR)

    def troubles() -> None:
        if trouble == "delay":
            wire.delay(draw.choice([0, 1.1, 7.3, 30.7]), draw.choice("abc"), draw.choice("abc"))
        elif trouble == "repeat":
            wire.repeat(draw.randint(1, 3))
        elif trouble != "none":
            getattr(wire, draw.choice([trouble, "heal"]))(draw.choice("ab"))

    for _ in range(draw.randint(8, 30)):
        step = draw.random()
        if step < 0.5:
            asks()
        elif step < 0.7:
            place.advance(draw.choice([0.7, 2.3, 11.1, 50.3]))
        elif step < 0.8 and handles:
            draw.choice(handles).cancel()
        elif step < 0.9:
            switches()
        else:
            troubles()
    for name in "abc":
        wire.heal(name)
    # So long what has ended is remembered.
    place.advance(70_000)
    begun = collections.Counter(each[2] for each in place.log if each[1] == "begins")
    for number, handle in enumerate(handles):
        assert handle.done()
        for member in handle.report().members:
            case = seed, number, member.word, begun[number]
            assert begun[number] == (member.verdict in BEGUN) or (
                # Nobody knows what became of it.
                begun[number] < 2
                and (member.verdict is Verdict.GONE or member.standing is Standing.AWAY)
                and trouble in ("cut", "silence")
            ), case
    for dispatcher in (place.asker, place.home, third):
        sums_add_up(dispatcher, quiet=True)
    for connection in place.parts.connections.values():
        counts = connection.statistics()
        assert (counts["asked"], counts["guests"]) == (0, 0), seed
    place.parts.tidy()


def test_each_verdict_is_what_was_done() -> None:
    """Whoever asks, and whatever becomes of the way there; MISSING for ever is none of them."""
    for seed in range(8):
        troubled(seed)


@pytest.mark.thorough
@pytest.mark.parametrize("first", range(1_000, 1_400, 40))
def test_each_verdict_is_what_was_done_often(first: int) -> None:
    """The same with many more of them."""
    for seed in range(first, first + 40):
        troubled(seed)
