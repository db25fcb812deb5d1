"""Scenarios of changes of mind: cancelling, disabling, registering."""

from __future__ import annotations

from typing import Any, List

from ate_dispatcher import Completion, Dispatcher, DispatcherStopped, Handle, TopicPattern
from ate_dispatcher.errors import BadValue
from ate_dispatcher.policies import Until

from .adapter import Book
from .entries import scenario
from .lab import Busy, Echo, Lab, Recorder, claim, served
from .stage import Stage

# -- cancelling --------------------------------------------------------------------------------


@scenario()
def cancel(stage: Stage) -> None:
    """A cancel crosses the answer."""
    lab = Lab(stage, listeners=1)

    def sends() -> None:
        handle = lab.ask(1)
        claim(handle.wait(), handle)
        answered = handle.completion is Completion.ALL_REPLIED
        claim(answered or handle.completion is Completion.CANCELLED, handle)
        claim(len(handle.replies) == answered, handle.report())

    def cancels() -> None:
        for handle in lab.handles:
            handle.cancel()

    stage.play(sends=sends, cancels=cancels)
    lab.quiet()
    lab.end()


@scenario()
def cancel_before_another(stage: Stage) -> None:
    """A cancelled request is taken out in front of one that is not: that one is served."""
    lab = Lab(stage)
    stage.play(cancels=lambda: lab.ask(1).cancel(), sends=lambda: served(lab.ask(2), 2))
    lab.quiet()
    lab.end()


@scenario()
def cancel_behind(stage: Stage) -> None:
    """One of two that wait is cancelled while the producer comes back: the order is kept."""
    lab = Lab(stage, producers=0)
    busy = lab.busy(1, 2)
    stage.play(
        lets_go=busy.lets_go, cancels=lab.handles[2].cancel, sends=lambda: served(lab.ask(3), 3)
    )
    lab.quiet()
    claim(busy.order == sorted(busy.order), f"served in the order {busy.order}")
    lab.end()


@scenario(pairs=150, singles=400)
def two_cancels(stage: Stage) -> None:
    """Two orders for the control loop, the second as it goes to sleep."""
    lab = Lab(stage, producers=0)
    busy = lab.busy(1, 2)

    def cancels(handle: Handle) -> None:
        handle.cancel()
        claim(handle.wait(), handle)

    stage.play(one=lambda: cancels(lab.handles[1]), two=lambda: cancels(lab.handles[2]))
    busy.lets_go()
    stage.settle()
    lab.quiet()
    lab.end()


@scenario(pairs=150)
def cancel_and_cancel(stage: Stage) -> None:
    """The same, from one thread."""
    lab = Lab(stage, producers=0)
    busy = lab.busy(1, 2)

    def cancels() -> None:
        for handle in lab.handles[1:]:
            handle.cancel()
            claim(handle.wait(), handle)

    stage.play(cancels=cancels)
    busy.lets_go()
    stage.settle()
    lab.quiet()
    lab.end()


@scenario(focus="clear")
def predicate_and_cancel(stage: Stage) -> None:
    """Whoever asks a predicate has not begun the next; the one behind that is cancelled."""
    lab = Lab(stage, producers=0)
    busy = lab.joins(Busy(stage))
    lab.ask(0, need=Until(lambda replies: True))
    lab.ask(1)
    lab.ask(2)
    stage.settle()
    stage.play(
        lets_go=busy.lets_go,
        cancels=lab.handles[2].cancel,
        waits=lambda: served(lab.handles[1], 1),
    )
    lab.quiet()
    lab.end()


# -- disabling ---------------------------------------------------------------------------------


@scenario()
def disable(stage: Stage) -> None:
    """A send crosses a disable and an enable: it ends; what comes after them is served."""
    lab = Lab(stage)

    def switches() -> None:
        lab.dispatcher.disable(lab.producers[0])
        lab.dispatcher.enable(lab.producers[0])
        served(lab.ask(2), 2)

    stage.play(sends=lambda: claim(lab.ask(1).wait(), "no end"), switches=switches)
    lab.quiet()
    lab.end()


@scenario(focus="withdraw")
def disable_and_enable(stage: Stage) -> None:
    """What is sent after an enable is not withdrawn by the disable before it."""
    lab = Lab(stage)
    # The order to withdraw is carried out in the play.
    lab.dispatcher.disable(lab.producers[0])

    def enables() -> None:
        lab.dispatcher.enable(lab.producers[0])
        served(lab.ask(1), 1)

    stage.play(enables=enables)
    lab.quiet()
    lab.end()


@scenario(focus="withdraw")
def disable_while_busy(stage: Stage) -> None:
    """A send crosses a disable of a busy producer: it is withdrawn, or was never asked."""
    lab = Lab(stage, producers=0)
    busy = lab.busy()

    def sends() -> None:
        handle = lab.ask(1)
        claim(handle.results() == [], handle.report())

    stage.play(sends=sends, disables=lambda: lab.dispatcher.disable(busy))
    claim(stage.time == 0.0 and lab.handles[1].done(), lab.handles[1])
    busy.lets_go()
    stage.settle()
    lab.quiet()
    lab.end()


@scenario()
def disable_for_one_of_two(stage: Stage) -> None:
    """Two dispatchers share a busy producer, one disables it: the other's request is served."""
    lab = Lab(stage, producers=0)
    busy = lab.busy()
    other = _guest(stage, busy)
    theirs, ours = other.send_request("t", 1, ttl=None), lab.ask(2)
    stage.play(
        lets_go=busy.lets_go,
        disables=lambda: lab.dispatcher.disable(busy),
        waits=lambda: served(theirs, 1),
    )
    claim(ours.done(), ours)
    other.stop()
    stage.settle()
    lab.quiet()
    lab.end()


@scenario(focus="clear")
def predicate_and_disable(stage: Stage) -> None:
    """The producer asks a predicate, another dispatcher's request waits, when it is disabled."""
    lab = Lab(stage, producers=0)
    busy = lab.joins(Busy(stage))
    other = _guest(stage, busy)
    lab.ask(0, need=Until(lambda replies: True))
    lab.ask(1)
    theirs = other.send_request("t", 2, ttl=None)
    stage.settle()
    stage.play(
        lets_go=busy.lets_go,
        disables=lambda: lab.dispatcher.disable(busy),
        waits=lambda: served(theirs, 2),
    )
    other.stop()
    stage.settle()
    lab.quiet()
    lab.end()


def _guest(stage: Stage, producer: Any) -> Dispatcher:
    other = Dispatcher(clock=stage.clock, name="other")
    other.register_result_producer(producer, "t")
    other.start()
    stage.settle()
    return other


# -- registering -------------------------------------------------------------------------------


@scenario()
def register_and_send(stage: Stage) -> None:
    """One registers, one leaves, while one sends: whoever is asked answers."""
    lab = Lab(stage, producers=2)
    late = Echo("late")

    def sends() -> None:
        handle = lab.ask(1)
        served(handle, *[1] * len(handle.report().members))

    def comes() -> None:
        lab.dispatcher.register_result_producer(late, "t", start=True)

    def leaves() -> None:
        lab.dispatcher.deregister_result_producer(lab.producers[0], "t")

    stage.play(sends=sends, comes=comes, leaves=leaves)
    lab.producers.append(late)
    lab.quiet()
    asked = {member.producer for member in lab.ask(2).report().members}
    claim(asked == {"p2", "late"}, f"{asked} were asked")
    lab.producers.pop(0).stop()
    lab.end()


@scenario()
def register_then_send(stage: Stage) -> None:
    """Two register at once, and send then: they are asked."""
    lab = Lab(stage)
    late = [Echo("late1"), Echo("late2")]

    def comes(number: int) -> None:
        lab.dispatcher.register_result_producer(late[number], "t")
        late[number].start()
        report = lab.ask(number).report()
        asked = [member.producer for member in report.members]
        claim(late[number].name in asked, f"{late[number].name} is not among {asked}")

    stage.play(one=lambda: comes(0), two=lambda: comes(1))
    lab.producers += late
    asked = {member.producer for member in lab.ask(2).report().members}
    claim(asked == {"p1", "late1", "late2"}, f"{asked} were asked")
    stage.settle()
    lab.quiet()
    lab.end()


@scenario(pairs=600)
def the_only_one_changes(stage: Stage) -> None:
    """The only producer of a topic leaves as another one comes, and asks: it is asked."""
    lab = Lab(stage)
    early, late = lab.producers[0], Echo("late")

    def comes() -> None:
        lab.dispatcher.register_result_producer(late, "t", start=True)
        asked = [member.producer for member in lab.ask(1).report().members]
        claim(late.name in asked, f"only {asked} are asked")

    stage.play(leaves=lambda: lab.dispatcher.deregister_result_producer(early, "t"), comes=comes)
    lab.producers.append(late)
    lab.quiet()
    asked = [member.producer for member in lab.ask(2).report().members]
    claim(asked == ["late"], f"{asked} were asked")
    stage.settle()
    early.stop()
    lab.end()


@scenario(pairs=150)
def start_and_register(stage: Stage) -> None:
    """A producer is started while it is registered, and asked."""
    lab = Lab(stage, producers=0)
    late = Echo("late")

    def registers() -> None:
        lab.dispatcher.register_result_producer(late, "t")
        served(lab.ask(1), 1)

    stage.play(starts=late.start, registers=registers)
    lab.producers.append(late)
    lab.quiet()
    lab.end()


@scenario()
def register_and_stop(stage: Stage) -> None:
    """A registration crosses a stop: it is refused, or the producer is stopped too."""
    lab = Lab(stage, producers=0)
    late = Echo("late")
    refused: List[bool] = []

    def registers() -> None:
        try:
            lab.dispatcher.register_result_producer(late, "t", start=True)
        except DispatcherStopped:
            refused.append(True)

    stage.play(registers=registers, stops=lab.dispatcher.stop)
    claim(refused or stage.has_ended(late), "registered, and not stopped")
    lab.ended()


@scenario()
def register_what_ends(stage: Stage) -> None:
    """A producer that nobody knows ends while it is registered, and asked: the request ends."""
    lab = Lab(stage, producers=0)
    late = Echo("late")
    late.start()
    stage.settle()
    # It comes to its end in the play.
    late.stop()

    def registers() -> None:
        try:
            lab.dispatcher.register_result_producer(late, "t")
        except BadValue:
            # Its end was seen.
            return
        claim(lab.ask(1).wait(), "no end")

    stage.play(registers=registers)
    lab.producers.append(late)
    lab.quiet()
    lab.end()


# -- registering by patterns -------------------------------------------------------------------


@scenario()
def register_by_pattern_then_send(stage: Stage) -> None:
    """One registers by a pattern, one by name, and each sends then: it is asked."""
    lab = Lab(stage, producers=0)
    late = [Echo("late1"), Echo("late2")]

    def comes(number: int, topic: Any) -> None:
        lab.dispatcher.register_result_producer(late[number], topic)
        late[number].start()
        asked = [member.producer for member in lab.ask(number).report().members]
        claim(late[number].name in asked, f"{late[number].name} is not among {asked}")

    stage.play(one=lambda: comes(0, TopicPattern("*")), two=lambda: comes(1, "t"))
    lab.producers += late
    asked = {member.producer for member in lab.ask(2).report().members}
    claim(asked == {"late1", "late2"}, f"{asked} were asked")
    stage.settle()
    lab.quiet()
    lab.end()


@scenario(pairs=600)
def a_matched_topic_gets_a_name(stage: Stage) -> None:
    """A send that only a pattern matches crosses a registration by name: that hears the answer."""
    lab = Lab(stage, producers=0)
    busy = Busy(stage)
    lab.dispatcher.register_result_producer(busy, TopicPattern(">"), start=True)
    lab.producers.append(busy)
    lab.ask(0)
    stage.settle()
    late = Recorder("late")

    def comes() -> None:
        lab.dispatcher.register_result_listener(late, "t", start=True)

    stage.play(sends=lambda: lab.ask(1), comes=comes)
    lab.listeners.append(late)
    busy.lets_go()
    stage.settle()
    claim(late.heard == [0, 1], f"{late.heard} was heard")
    lab.quiet()
    lab.end()


@scenario()
def a_pattern_leaves_as_one_sends(stage: Stage) -> None:
    """Who leaves is not asked any more, also where another pattern matches."""
    lab = Lab(stage, producers=0)
    stays, leaves = Echo("stays"), Echo("leaves")
    for each, text in ((leaves, ">"), (stays, "*")):
        lab.dispatcher.register_result_producer(each, TopicPattern(text), start=True)
    lab.producers += [stays, leaves]

    def sends() -> None:
        handle = lab.ask(1)
        served(handle, *[1] * len(handle.report().members))

    def goes() -> None:
        lab.dispatcher.deregister_result_producer(leaves, TopicPattern(">"))
        asked = [member.producer for member in lab.ask(2).report().members]
        claim(asked == ["stays"], f"{asked} were asked")

    stage.play(sends=sends, goes=goes)
    stage.settle()
    lab.quiet()
    lab.producers.remove(leaves)
    leaves.stop()
    lab.end()


@scenario(pairs=600)
def patterns_come_and_leave(stage: Stage) -> None:
    """While those that are gone are forgotten, one comes, and is found."""
    book = Book()
    for name in "abc":
        book.add(name, TopicPattern(f"{name}.*"))
    book.discard("a", TopicPattern("a.*"))

    def leaves() -> None:
        book.discard("b", TopicPattern("b.*"))

    def comes() -> None:
        book.add("d", TopicPattern("d.*"))
        claim(book.asked_on("d.x") == ["d"], "d is not found")

    stage.play(leaves=leaves, comes=comes)
    found = [book.asked_on(f"{name}.x") for name in "abcd"]
    claim(found == [[], [], ["c"], ["d"]], f"found are {found}")
