"""Scenarios of beginnings and ends: starting and stopping, workers, instruments, start lines."""

from __future__ import annotations

from typing import Any, Callable, List

from ate_dispatcher import Completion, DispatcherStopped

from .entries import scenario
from .lab import Busy, Echo, Lab, claim, one_by_one, served
from .stage import Stage

# -- starting and stopping ---------------------------------------------------------------------


@scenario(focus="gate")
def send_and_start(stage: Stage) -> None:
    """Sends before and during the start: both are served, in order."""
    lab = Lab(stage, listeners=1, started=False)
    kept = lab.ask(0)
    stage.play(sends=lambda: served(lab.ask(1), 1), starts=lab.dispatcher.start)
    served(kept, 0)
    claim(lab.producers[0].order == [0, 1], f"served in the order {lab.producers[0].order}")
    lab.quiet()
    lab.end()


@scenario(focus="end")
def send_and_stop(stage: Stage) -> None:
    """A send crosses a stop: it is refused, or it ends."""
    lab = Lab(stage, listeners=1)

    def sends() -> None:
        handle = lab.ask_or_be_refused(1)
        claim(handle is None or handle.wait(), "no end")

    stage.play(sends=sends, stops=lab.dispatcher.stop)
    claim(stage.time == 0.0, f"draining took until {stage.time}")
    lab.ended()


@scenario(focus="end")
def stop_and_send(stage: Stage) -> None:
    """The same, and the stop comes first."""
    lab = Lab(stage, listeners=1)

    def sends() -> None:
        handle = lab.ask_or_be_refused(1)
        claim(handle is None or handle.wait(), "no end")

    stage.play(stops=lab.dispatcher.stop, sends=sends)
    claim(stage.time == 0.0, f"draining took until {stage.time}")
    lab.ended()


@scenario()
def stop_while_busy(stage: Stage) -> None:
    """The last answer comes as the control loop goes to sleep until it comes."""
    lab = Lab(stage, producers=0)
    busy = lab.busy()
    stage.play(stops=lab.dispatcher.stop, lets_go=busy.lets_go)
    claim(stage.time == 0.0, f"draining took until {stage.time}")
    lab.ended()


@scenario(focus="end")
def send_and_stop_at_once(stage: Stage) -> None:
    """The same, and nobody waits for what is open."""
    lab = Lab(stage)

    def sends() -> None:
        handle = lab.ask_or_be_refused(1)
        claim(handle is None or handle.wait(), "no end")

    stage.play(sends=sends, stops=lambda: lab.dispatcher.stop(immediate=True))
    claim(stage.time == 0.0, f"that took until {stage.time}")
    lab.ended()


@scenario(focus="end")
def send_and_early_stop(stage: Stage) -> None:
    """A send crosses the stop of what never was started."""
    lab = Lab(stage, started=False)

    def sends() -> None:
        handle = lab.ask_or_be_refused(1)
        claim(handle is None or handle.wait(), "no end")

    stage.play(sends=sends, stops=lab.dispatcher.stop)
    claim(stage.has_ended(lab.producers[0]), "the producer has not ended")
    lab.ended()


@scenario(pairs=0, focus="abandon", singles=0)
def refused_while_others_end(stage: Stage) -> None:
    """What a refused send leaves behind is ended, though others take it out of the arrivals."""
    lab = Lab(stage, producers=0)
    first, second = Busy(stage, "first"), Busy(stage, "second")
    for busy in (first, second):
        lab.dispatcher.register_result_producer(busy, busy.name, start=True)
        lab.producers.append(busy)

    def sends(busy: Busy, value: int, **options: Any) -> None:
        sender = lab.dispatcher.options(ttl=None, **options)
        try:
            lab.handles.append(sender.send_request(busy.name, value))
        except DispatcherStopped:
            lab.refused += 1

    sends(second, 0)
    stage.settle()
    # With these there are as many arrivals as the control loop gathers in a round.
    for value in range(63):
        sends(first, value)
    stage.settle()
    stage.play(
        is_refused=lambda: sends(first, 63, barrier=True),
        sends=lambda: sends(second, 1),
        stops=lambda: lab.dispatcher.stop(drain=None),
        lets_go=second.lets_go,
    )
    first.lets_go()
    stage.settle()
    lab.ended()


class _Crossing(str):
    """A topic that does something when it is looked up: in the middle of a send."""

    __slots__ = ("meets",)

    meets: Callable[[], None]

    __eq__ = str.__eq__

    def __hash__(self) -> int:
        self.meets()
        return str.__hash__(self)


@scenario(focus="end")
def stop_within_a_send(stage: Stage) -> None:
    """A send has looked whether it is refused, then all ends, or nearly: it is refused."""
    lab = Lab(stage, started=False)
    topic = _Crossing("t")

    def meets() -> None:
        if not stopped:
            stopped.append(True)
            lab.dispatcher.stop()
            stage.step_aside()

    stopped: List[bool] = []
    topic.meets = meets

    def sends() -> None:
        try:
            handle = lab.dispatcher.send_request(topic, 1, ttl=None)
        except DispatcherStopped:
            lab.refused += 1
        else:
            lab.handles.append(handle)
            claim(handle.wait(), "no end")

    stage.play(sends=sends)
    lab.ended()


@scenario()
def start_and_stop(stage: Stage) -> None:
    """A start and a stop at once, with something kept."""
    lab = Lab(stage, started=False)
    lab.ask(0)

    def starts() -> None:
        try:
            lab.dispatcher.start()
        except RuntimeError:
            # It had been stopped.
            pass

    stage.play(starts=starts, stops=lab.dispatcher.stop)
    claim(stage.time == 0.0, f"that took until {stage.time}")
    lab.ended()


class _Lingers(Echo):
    """Its ``stop()`` lets all others go on first."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def stop(self) -> None:
        self._stage.step_aside()
        super().stop()


@scenario(focus="run")
def start_and_slow_stop(stage: Stage) -> None:
    """A start while a stop waits for a producer's own: the thread ends after that."""
    lab = Lab(stage, producers=0, started=False)
    lab.joins(_Lingers(stage))
    stage.settle()

    def starts() -> None:
        try:
            lab.dispatcher.start()
        except RuntimeError:
            # It had been stopped.
            pass

    stage.play(starts=starts, stops=lab.dispatcher.stop)
    lab.ended()


@scenario()
def stop_a_producer(stage: Stage) -> None:
    """A producer is stopped while it is asked: the request ends."""
    lab = Lab(stage)

    def sends() -> None:
        handle = lab.ask(1)
        claim(handle.wait() and handle.completion is Completion.ALL_REPLIED, handle)

    stage.play(sends=sends, stops=lambda: lab.producers[0].stop())
    lab.quiet()
    lab.end()


@scenario()
def stop_a_producer_and_cancel(stage: Stage) -> None:
    """A request is taken out of its mailbox while a producer ends; what is sent then ends too."""
    lab = Lab(stage, producers=0)
    busy = lab.busy(1, 2)
    busy.stop()
    busy.lets_go()
    stage.play(cancels=lab.handles[2].cancel, sends=lambda: claim(lab.ask(3).wait(), "no end"))
    lab.quiet()
    lab.end()


@scenario(focus="clear")
def cancel_behind_a_stop(stage: Stage) -> None:
    """A request that came after a stop is cancelled while the producer ends."""
    lab = Lab(stage, producers=0)
    busy = lab.busy()
    busy.stop()
    for value in (1, 2, 3):
        lab.ask(value)
    stage.settle()

    def sends() -> None:
        lab.handles[3].cancel()
        claim(lab.handles[3].wait(), "no end")
        claim(lab.ask(4).wait(), "no end")

    stage.play(lets_go=busy.lets_go, sends=sends)
    lab.quiet()
    lab.end()


# -- several workers, instruments, start lines -------------------------------------------------


@scenario()
def workers_with_a_key(stage: Stage) -> None:
    """Two workers of one producer, requests of one key from two senders."""
    lab = Lab(stage, workers=2)
    stage.play(
        one=lambda: served(lab.ask(1, ordering_key="k"), 1),
        two=lambda: served(lab.ask(2, ordering_key="k"), 2),
    )
    lab.quiet()
    lab.end()


@scenario()
def workers_without_a_key(stage: Stage) -> None:
    """The same without a key, one after the other."""
    lab = Lab(stage, workers=2)
    stage.play(sends=lambda: one_by_one(lab, 1, 2))
    lab.quiet()
    lab.end()


@scenario()
def workers_at_a_time(stage: Stage) -> None:
    """One works until the other has served what came behind it."""
    lab = Lab(stage, producers=0)
    busy = lab.joins(Busy(stage, workers=2))
    stage.settle()

    def second() -> None:
        one_by_one(lab, 1, 2)
        busy.lets_go()

    stage.play(first=lambda: served(lab.ask(0), 0), second=second)
    lab.quiet()
    lab.end()


@scenario()
def workers_of_which_one_is_busy(stage: Stage) -> None:
    """One is let go while the other serves what comes."""
    lab = Lab(stage, producers=0)
    busy = lab.busy(workers=2)
    stage.play(sends=lambda: one_by_one(lab, 1, 2), lets_go=busy.lets_go)
    lab.quiet()
    lab.end()


@scenario()
def workers_behind_a_key(stage: Stage) -> None:
    """Two of one key wait behind a busy worker, one without a key passes them."""
    lab = Lab(stage, producers=0)
    busy = lab.joins(Busy(stage, workers=2))
    for value in (0, 1, 2):
        lab.ask(value, ordering_key="k")
    stage.settle()
    stage.play(lets_go=busy.lets_go, sends=lambda: served(lab.ask(3), 3))
    lab.quiet()
    keyed = [value for value in busy.order if value != 3]
    claim(keyed == [0, 1, 2], f"served in the order {keyed}")
    lab.end()


@scenario()
def exclusive_alone(stage: Stage) -> None:
    """A producer with an instrument, two requests of one sender."""
    lab = Lab(stage, exclusive="psu")
    stage.play(sends=lambda: one_by_one(lab, 1, 2))
    lab.quiet()
    lab.end()


@scenario()
def exclusive_shared(stage: Stage) -> None:
    """Two producers need one instrument."""
    lab = Lab(stage, producers=2, exclusive="psu")
    stage.play(sends=lambda: served(lab.ask(1), 1, 1))
    lab.quiet()
    lab.end()


@scenario(focus="line")
def barrier(stage: Stage) -> None:
    """Two begin together."""
    lab = Lab(stage, producers=2)
    stage.play(sends=lambda: served(lab.ask(1, barrier=True), 1, 1))
    lab.quiet()
    lab.end()


@scenario()
def barrier_and_cancel(stage: Stage) -> None:
    """A start line is called off while some stand at it: nobody stays there."""
    lab = Lab(stage, producers=1)
    busy = lab.busy()
    handle = lab.ask(1, barrier=True)
    stage.settle()
    stage.play(lets_go=busy.lets_go, cancels=handle.cancel, waits=handle.wait)
    lab.quiet()
    served(lab.ask(2), 2, 2)
    lab.end()
