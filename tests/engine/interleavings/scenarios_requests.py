"""Scenarios of requests on their way: parts alone, sending and serving, waiting, time."""

from __future__ import annotations

from typing import Any, List, Tuple

from ate_dispatcher import Completion, Handle

from .adapter import Book, Box, ends_in_parts
from .entries import scenario
from .lab import Busy, Lab, claim, one_by_one, served
from .stage import Stage

# -- parts alone -------------------------------------------------------------------------------


@scenario(pairs=600)
def mailbox_of_one_reader(stage: Stage) -> None:
    """Two put, one of them twice: the reader gets all, each putter's in order."""
    box, got = Box(), []  # type: ignore[var-annotated]

    def reads() -> None:
        got.extend(box.take() for _ in range(3))

    def puts_twice() -> None:
        box.put(1)
        box.put(2)

    stage.play(reads=reads, puts_twice=puts_twice, puts_once=lambda: box.put(3))
    claim(sorted(got) == [1, 2, 3] and got.index(1) < got.index(2), got)


@scenario(pairs=600)
def registry_of_three(stage: Stage) -> None:
    """Two register, one leaves, one asks: the reading that is kept is the current one."""
    book = Book()
    for name in "abc":
        book.add(name)
        book.discard(name)
    book.add("c")
    stage.play(
        a_comes=lambda: book.add("a"),
        b_comes=lambda: book.add("b"),
        c_leaves=lambda: book.discard("c"),
        asks=book.asked,
    )
    kept, fresh = book.asked()
    claim(kept == fresh == ["a", "b"], f"{kept} are asked, {fresh} are registered")


# -- send, serve, gather -----------------------------------------------------------------------


@scenario()
def one_request(stage: Stage) -> None:
    """One sends and waits; a listener hears it too."""
    lab = Lab(stage, listeners=1)
    stage.play(sends=lambda: served(lab.ask(1), 1))
    lab.quiet()
    lab.end()


@scenario()
def two_senders(stage: Stage) -> None:
    """Two send and wait; two listeners hear both in one order."""
    lab = Lab(stage, listeners=2)
    stage.play(one=lambda: served(lab.ask(1), 1), two=lambda: served(lab.ask(2), 2))
    lab.quiet()
    lab.end()


@scenario()
def two_unwaited(stage: Stage) -> None:
    """Two send, and nobody waits."""
    lab = Lab(stage)
    stage.play(one=lambda: lab.ask(1), two=lambda: lab.ask(2))
    lab.quiet()
    for handle in lab.handles:
        claim(handle.completion is Completion.ALL_REPLIED, handle)
    lab.end()


@scenario(pairs=150)
def one_after_the_other(stage: Stage) -> None:
    """Two requests of one sender: in between the producer parks, or it does not."""
    lab = Lab(stage)
    stage.play(sends=lambda: one_by_one(lab, 1, 2))
    lab.quiet()
    lab.end()


def _send_as_they_park(stage: Stage, **options: Any) -> None:
    """One request is served, another one is sent as the producer goes to park."""
    lab = Lab(stage, **options)
    # It is served in the play.
    lab.ask(1)
    stage.play(sends=lambda: served(lab.ask(2), 2))
    lab.quiet()
    lab.end()


@scenario()
def send_as_it_parks(stage: Stage) -> None:
    """To a producer with a loop of its own."""
    _send_as_they_park(stage)


@scenario()
def send_as_workers_park(stage: Stage) -> None:
    """To one of two workers, while the other one is busy."""
    lab = Lab(stage, producers=0)
    busy = lab.busy(workers=2)
    lab.ask(1)
    stage.play(sends=lambda: served(lab.ask(2), 2))
    busy.lets_go()
    stage.settle()
    lab.quiet()
    lab.end()


@scenario()
def send_as_it_parks_with_an_instrument(stage: Stage) -> None:
    """To one that takes the long way each time."""
    _send_as_they_park(stage, exclusive="psu")


@scenario()
def report_as_it_ends(stage: Stage) -> None:
    """Whoever sees that a request is over sees all of its end."""
    lab = Lab(stage)
    handle = lab.ask(1)

    def looks() -> None:
        if handle.done():
            served(handle, 1)

    stage.play(looks=looks)
    lab.quiet()
    lab.end()


@scenario()
def first_of_two(stage: Stage) -> None:
    """One answer of two is enough: the other one is surplus, and still has its verdict."""
    lab = Lab(stage, producers=2, listeners=1)

    def sends() -> None:
        handle = lab.ask(1, need="first")
        claim(handle.wait() and handle.completion is Completion.QUORUM, handle)

    stage.play(sends=sends)
    lab.listeners.clear()
    lab.quiet()
    lab.end()


# -- waiting -----------------------------------------------------------------------------------


@scenario(focus="wait")
def waiters(stage: Stage) -> None:
    """One waits for the end, one iterates; both come late, or early."""
    lab = Lab(stage)
    seen: List[Any] = []

    def iterates() -> None:
        seen.extend([reply.value for reply in handle] for handle in lab.handles[:1])

    def waits() -> None:
        for handle in lab.handles[:1]:
            served(handle, 1)

    stage.play(sends=lambda: lab.ask(1), iterates=iterates, waits=waits)
    claim(seen in ([], [[(1,)]]), seen)
    lab.quiet()
    lab.end()


@scenario(pairs=900, focus="wait")
def impatient(stage: Stage) -> None:
    """One gives up waiting, another one does not: it is told of the end."""
    lab = Lab(stage, producers=0)
    busy = lab.busy()
    handle = lab.handles[0]
    stage.play(
        gives_up=lambda: handle.wait(0), waits=lambda: served(handle, 0), lets_go=busy.lets_go
    )
    lab.quiet()
    lab.end()


@scenario(focus="wait")
def gives_up_in_time(stage: Stage) -> None:
    """A wait with a timeout crosses the end: it says whether that came."""
    lab = Lab(stage, producers=0)
    busy = lab.busy()
    handle = lab.handles[0]
    said: List[Tuple[bool, bool]] = []

    def waits() -> None:
        said.append((handle.wait(1.0), handle.done()))

    stage.play(waits=waits, lets_go=busy.lets_go, time=lambda: stage.tick(1.5))
    claim(said in ([(True, True)], [(False, False)], [(False, True)]), said)
    lab.quiet(1.5)
    lab.end()


@scenario()
def callback(stage: Stage) -> None:
    """A done callback is added around the end: it is called once."""
    lab = Lab(stage)
    called: List[Handle] = []
    stage.play(sends=lambda: lab.ask(1).add_done_callback(called.append))
    claim(called == lab.handles, called)
    lab.quiet()
    lab.end()


@scenario(focus="end")
def callback_and_stop(stage: Stage) -> None:
    """One is added while the dispatcher ends."""
    lab = Lab(stage)
    called: List[Handle] = []
    lab.ask(1)
    stage.settle()
    stage.play(
        adds=lambda: lab.handles[0].add_done_callback(called.append), stops=lab.dispatcher.stop
    )
    claim(called == lab.handles, called)
    lab.ended()


@scenario(focus="last order")
def callback_and_early_stop(stage: Stage) -> None:
    """One is added while a dispatcher that was never started is stopped."""
    lab = Lab(stage, started=False)
    called: List[Handle] = []
    lab.ask(1)
    stage.play(
        adds=lambda: lab.handles[0].add_done_callback(called.append), stops=lab.dispatcher.stop
    )
    claim(called == lab.handles, called)


# -- time --------------------------------------------------------------------------------------


@scenario()
def deadline(stage: Stage) -> None:
    """A deadline passes around the answer: it is in time, or it is not there."""
    lab = Lab(stage)

    def sends() -> None:
        handle = lab.ask(1, ttl=1000)
        claim(handle.wait(), handle)
        if handle.completion is Completion.DEADLINE:
            claim(stage.time >= 1.0 and handle.replies == (), f"at {stage.time}: {handle.report()}")
        else:
            claim(handle.results() == [(1,)], handle.report())

    stage.play(sends=sends, time=lambda: stage.tick(2.0))
    lab.quiet(2.0)
    lab.end()


@scenario()
def two_deadlines(stage: Stage) -> None:
    """Two senders, the later one with the shorter deadline: each ends at its own."""
    lab = Lab(stage, producers=0)
    lab.slow()

    def sends(value: int, seconds: float) -> None:
        handle = lab.ask(value, ttl=seconds * 1000)
        claim(handle.wait() and handle.completion is Completion.DEADLINE, handle)
        claim(seconds <= stage.time < seconds + 0.1, f"{value} ended at {stage.time}")

    stage.play(long=lambda: sends(1, 3.0), short=lambda: sends(2, 1.0))
    lab.end(30.0)


@scenario(focus="sleep")
def deadline_while_it_goes_to_sleep(stage: Stage) -> None:
    """A short deadline comes as the control loop goes to sleep until a long one."""
    lab = Lab(stage, producers=0)
    lab.slow()
    lab.ask(1, ttl=3000)
    stage.settle()

    def sends() -> None:
        claim(lab.ask(2, ttl=1000).wait() and stage.time < 1.1, f"it ended at {stage.time}")

    stage.play(sends=sends, pokes=lambda: lab.handles[0].add_done_callback(lambda _: None))
    lab.end(30.0)


@scenario(focus="sleep", singles=400)
def deadline_after_another(stage: Stage) -> None:
    """One has passed, and the loop goes to sleep until a far one; one in between is sent."""
    lab = Lab(stage, producers=0)
    lab.slow()
    lab.ask(1, ttl=500)
    lab.ask(2, ttl=3000)
    stage.settle()

    def sends() -> None:
        claim(lab.ask(3, ttl=1000).wait() and stage.time < 1.7, f"it ended at {stage.time}")

    stage.play(sends=sends, time=lambda: stage.tick(0.6))
    lab.end(30.0)


# -- ends in parts -----------------------------------------------------------------------------


@scenario(pairs=150)
def an_end_in_parts(stage: Stage) -> None:
    """A request is called off while its three producers answer, each at its moment."""
    lab = Lab(stage)
    busy = [lab.joins(Busy(stage, name)) for name in ("b1", "b2", "b3")]
    handle = lab.ask(0)
    stage.settle()

    def let_go() -> None:
        for each in reversed(busy):
            each.lets_go()

    with ends_in_parts():
        stage.play(cancels=handle.cancel, let_go=let_go)
    lab.quiet()
    lab.end()


@scenario(pairs=150)
def the_first_of_many(stage: Stage) -> None:
    """The first answer ends the request; two others hang, so the control loop has to go on."""
    lab = Lab(stage)
    hung = [lab.joins(Busy(stage)), lab.joins(Busy(stage, "busy too"))]
    lab.ask(0)
    stage.settle()
    with ends_in_parts():
        stage.play(sends=lambda: lab.ask(1, need=1).results())
    for each in hung:
        each.lets_go()
    stage.settle()
    lab.quiet()
    lab.end()
