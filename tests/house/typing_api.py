"""What users write, as type checkers see it: checked by mypy and pyright, never run."""
# The names tell the story.
# ruff: noqa: D101, D103

from __future__ import annotations

import asyncio
import threading
from fractions import Fraction
from typing import Any, Dict, Hashable, List, Mapping, Optional, Tuple, Type

from typing_extensions import assert_type

import ate_dispatcher
from ate_dispatcher import (
    All,
    ATEDispatcher,
    Clock,
    Completion,
    Connection,
    ConnectionFailed,
    CurrentRequest,
    Dispatcher,
    DispatcherError,
    DispatcherStopped,
    First,
    Handle,
    IncompleteError,
    MemberReport,
    Producer,
    Quorum,
    Reply,
    Report,
    RequestTimeout,
    ResultListener,
    Sender,
    Stall,
    Standing,
    Statistics,
    StopOnError,
    TopicPattern,
    Until,
    Verdict,
    current_request,
)
from ate_dispatcher.errors import BadType, BadValue, ClockMismatch
from ate_dispatcher.events import (
    Event,
    MemberDeclined,
    ProducerFailed,
    ReplyAccepted,
    ReplyDiscarded,
    RequestCompleted,
    RequestOpened,
    RequestSkipped,
)
from ate_dispatcher.hooks import Advice, MailboxAdvice, SetAside, Suggestion, TtlAdvice
from ate_dispatcher.policies import Policy
from ate_dispatcher.pytest_plugin import RecordingListenerFactory, ScriptedProducerFactory
from ate_dispatcher.testing import (
    Asked,
    Heard,
    RecordingListener,
    ScriptedProducer,
    Timeline,
    VirtualClock,
    VirtualTimeStuck,
    answers,
    assert_accepted,
    assert_ended,
    assert_failed,
    assert_late,
    assert_missing,
    computes,
    dies,
    hangs,
    raises,
)

# -- producers: any signature whose first parameter takes the topic


class AsIn010(Producer):
    """In the style of 0.1.0, with attributes of its own."""

    def __init__(self, _id: int, timeout: int, *topics: str) -> None:
        super().__init__()
        self.id = _id
        self.timeout = timeout / 1000
        self.topics = set(topics)

    def run(self) -> None:
        super().run()

    def stop(self) -> None:
        super().stop()

    def produce_dispatcher_output(self, topic: str, *args: Any, **kwargs: Any) -> Any:
        return {"id": self.id, "args": args, "kwargs": kwargs}


class TopicOnly(Producer):
    def produce_dispatcher_output(self, topic: str) -> None:
        return None


class Narrow(Producer):
    def produce_dispatcher_output(self, topic: str, x: int) -> float:
        return x / 2


class WithDefaults(Producer):
    def __init__(self) -> None:
        super().__init__(name="with-defaults", daemon=False)

    def produce_dispatcher_output(
        self, topic: str, x: int = 1, *, gain: float = 1.0
    ) -> Tuple[int, float]:
        return (x, gain)


class KeywordsOfOneType(Producer):
    def produce_dispatcher_output(self, topic: str, **settings: float) -> Mapping[str, float]:
        return settings


class OtherTopics(Producer):
    def produce_dispatcher_output(self, topic: Tuple[str, int], *values: int) -> int:
        return topic[1] + sum(values)


class AnotherName(Producer):
    def produce_dispatcher_output(self, _topic: str, x: int) -> int:
        return x


class Looks(Producer):
    def produce_dispatcher_output(self, topic: Hashable) -> bool:
        request = current_request()
        assert_type(request, Optional[CurrentRequest])
        assert request is not None
        assert_type(request.id, int)
        assert_type(request.topic, Hashable)
        assert_type(request.remaining_ms, Optional[float])
        return assert_type(request.cancelled, bool)


# -- listeners


class OldListener(ResultListener):
    def __init__(self) -> None:
        super().__init__()
        self.responses: Dict[str, List[Any]] = {}

    def process_dispatcher_result(self, topic: str, response: Any) -> None:
        self.responses.setdefault(topic, []).append(response)


class FullListener(ResultListener):
    def process_dispatcher_result(self, topic: str, response: float) -> None:
        pass

    def process_dispatcher_error(self, topic: str, reply: Reply) -> None:
        assert_type(reply.error, Optional[BaseException])

    def process_dispatcher_completion(self, topic: str, report: Report) -> None:
        assert_type(report.completion, Optional[Completion])


# -- the dispatcher


class OwnDispatcher(Dispatcher):
    def run(self) -> None:
        super().run()


def alias(dispatcher: ATEDispatcher) -> Dispatcher:
    return dispatcher


def module() -> Tuple[int, ...]:
    assert_type(ate_dispatcher.__version__, str)
    assert_type(ate_dispatcher.dispatcher.Dispatcher, Type[Dispatcher])
    return ate_dispatcher.VERSION_STR


def life() -> None:
    dispatcher = Dispatcher(name="rig", daemon=True, clock=None, hooks=[print])
    dispatcher.start()
    dispatcher.register_result_producer(TopicOnly(), "topic")
    dispatcher.register_result_producer(TopicOnly(), "topic", ("other", 1), 2, start=True)
    dispatcher.register_result_producer(producer=Narrow(), topic="topic")
    dispatcher.register_result_listener(OldListener(), "topic", "other", start=True)
    dispatcher.register_result_listener(listener=FullListener(), topic="topic")
    dispatcher.deregister_result_producer(producer=Narrow(), topic="topic")
    dispatcher.deregister_result_listener(listener=FullListener(), topic="topic")
    dispatcher.stop()
    dispatcher.stop(immediate=True)
    dispatcher.stop(drain=None)
    dispatcher.join(timeout=1.5)
    assert_type(dispatcher.name, str)


def context() -> None:
    with Dispatcher() as dispatcher:
        assert_type(dispatcher, Dispatcher)
    with OwnDispatcher() as own:
        assert_type(own, OwnDispatcher)


def reachable_after_with() -> int:
    # An exception leaves the block: a checker must not think that it is swallowed.
    with Dispatcher() as dispatcher:
        return dispatcher.send_request("topic").id


def sending(dispatcher: Dispatcher) -> None:
    assert_type(dispatcher.send_request("topic"), Handle)
    dispatcher.send_request(topic="topic")
    dispatcher.send_request(
        ("topic", 1), 1, "two", ttl=250, uuid=3, reply_to=4, kind="x", timeout=5
    )
    dispatcher.send_request("topic", ttl=0.5)
    dispatcher.send_request("topic", ttl=None)
    dispatcher.send_request("topic", ttl=float("inf"))
    dispatcher.send_request("topic", ttl=float(Fraction(1, 3)))
    dispatcher.send_request("topic", ttl="soon")  # type: ignore[arg-type]
    dispatcher.send_request(["topic"])  # type: ignore[arg-type]
    dispatcher.send_request()  # type: ignore[call-arg]
    sender = dispatcher.options(ttl=100)
    assert_type(sender, Sender)
    assert_type(sender.send_request("topic", 1, ttl="passed on"), Handle)
    dispatcher.options(100)  # type: ignore[call-arg]
    dispatcher.register_result_producer(OldListener(), "topic")  # type: ignore[call-overload]
    dispatcher.register_result_listener(Narrow(), "topic")  # type: ignore[call-overload]


# -- functions


def functions(dispatcher: Dispatcher) -> None:
    pattern = TopicPattern("site.*.voltage")
    assert_type(pattern.matches("site.1.voltage"), bool)
    assert_type(pattern.text, str)
    TopicPattern(1)  # type: ignore[arg-type]
    pattern.text = "site.>"  # type: ignore[misc]

    @dispatcher.producer("volts", workers=2, exclusive={"volts": "psu1", pattern: ["psu1"]})
    def volts(topic: str, channel: int) -> float:
        return channel / 2

    @dispatcher.listener("volts", name="log")
    def log(topic: str, value: float) -> None: ...

    assert_type(volts("volts", 1), float)
    producer: Producer = volts
    listener: ResultListener = log
    volts("volts", "one")  # type: ignore[arg-type]
    dispatcher.producer("volts", worker=2)  # type: ignore[call-arg]
    assert_type(dispatcher.register_result_producer(Narrow(), "topic"), Narrow)
    assert_type(dispatcher.register_result_listener(OldListener(), "topic"), OldListener)
    named = dispatcher.register_result_listener(log.__wrapped__, "t", "u", start=True)
    dispatcher.deregister_result_listener(named, pattern)
    dispatcher.deregister_result_producer(producer, "volts", "amperes")
    Producer(volts.__wrapped__, stream=True)
    ResultListener(print, name="shows")
    assert_type(dispatcher.listeners(), List[ResultListener])
    assert_type(listener.name, str)


# -- the handle


def handle(handle: Handle) -> None:
    assert_type(handle.id, int)
    assert_type(handle.topic, Hashable)
    assert_type(handle.done(), bool)
    assert_type(handle.wait(), bool)
    assert_type(handle.wait(timeout=0.5), bool)
    assert_type(handle.completion, Optional[Completion])
    assert_type(handle.replies, Tuple[Reply, ...])
    # The producers themselves; their names are in the report.
    assert_type(handle.missing, Tuple[Any, ...])
    assert_type(handle.report(), Report)
    assert_type(handle.results(), List[Any])
    assert_type(handle.results(timeout=1, require="all"), List[Any])
    assert_type([reply for reply in handle], List[Reply])  # noqa: C416
    handle.cancel()
    handle.add_done_callback(done)
    handle.add_done_callback(lambda ended: ended.report())
    handle.add_done_callback(wrong_callback)  # type: ignore[arg-type]


def done(handle: Handle) -> None:
    assert_type(handle.completion, Optional[Completion])


def wrong_callback(report: Report) -> None: ...


def reply(reply: Reply) -> None:
    assert_type(reply.ok, bool)
    assert_type(reply.producer, Any)
    assert_type(reply.value, Any)
    assert_type(reply.error, Optional[BaseException])
    assert_type(reply.elapsed_ms, float)
    assert_type(reply.unwrap(), Any)


def report(report: Report) -> None:
    assert_type(report.id, int)
    assert_type(report.topic, Hashable)
    assert_type(report.ttl_ms, Optional[float])
    assert_type(report.elapsed_ms, float)
    assert_type(report.complete, bool)
    assert_type(report.missing, Tuple[str, ...])
    assert_type(report.failed, Tuple[str, ...])
    assert_type(report.count(Verdict.OK), int)
    assert_type(report.to_dict(), Dict[str, Any])
    assert_type(report.members, Tuple[MemberReport, ...])
    for member in report.members:
        assert_type(member.producer, str)
        assert_type(member.verdict, Optional[Verdict])
        assert_type(member.standing, Optional[Standing])
        assert_type(member.waited_ms, Optional[float])
        assert_type(member.ran_ms, Optional[float])
        assert_type(member.late_ms, Optional[float])
        assert_type(member.error, Optional[str])
        assert_type(member.to_dict(), Dict[str, Any])


def statistics(dispatcher: Dispatcher) -> None:
    sums = dispatcher.statistics()
    assert_type(sums, Statistics)
    assert_type(sums.requests, int)
    assert_type(sums.open, int)
    assert_type(sums.fan_out, int)
    assert_type(sums.pending, int)
    assert_type(sums.verdicts[Verdict.LATE], int)
    assert_type(sums.completions[Completion.DEADLINE], int)


# -- in an event loop


async def in_a_loop(dispatcher: Dispatcher) -> Report:
    handle = dispatcher.send_request("topic")
    async for reply in handle:
        assert_type(reply, Reply)
    assert_type(await handle, Report)
    both = await asyncio.gather(handle, dispatcher.send_request("other"))
    assert_type(both[0], Report)
    return await asyncio.wait_for(handle, timeout=1)


def from_outside(dispatcher: Dispatcher) -> None:
    assert_type(asyncio.run(in_a_loop(dispatcher)), Report)


# -- hooks


def any_event(event: Event) -> None:
    assert_type(event.name, str)
    assert_type(event.at, float)
    assert_type(event.request, int)
    assert_type(event.topic, Hashable)
    if isinstance(event, RequestOpened):
        assert_type(event.deadline, Optional[float])
        assert_type(event.members, Tuple[str, ...])
    elif isinstance(event, ReplyAccepted):
        assert_type(event.producer, str)
        assert_type(event.elapsed_ms, float)
        assert_type(event.ran_ms, float)
    elif isinstance(event, ProducerFailed):
        assert_type(event.error, BaseException)
    elif isinstance(event, ReplyDiscarded):
        assert_type(event.verdict, Verdict)
        assert_type(event.late_ms, float)
    elif isinstance(event, MemberDeclined):
        assert_type(event.standing, Optional[Standing])
    elif isinstance(event, RequestSkipped):
        assert_type(event.producer, str)
    elif isinstance(event, RequestCompleted):
        assert_type(event.completion, Completion)
        assert_type(event.verdicts, Tuple[Tuple[str, Optional[Verdict]], ...])


class CountingHook:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, event: Event) -> int:
        self.count += 1
        return self.count


def hooks(seen: List[Event]) -> None:
    counter = CountingHook()
    dispatcher = Dispatcher(hooks=[any_event, counter, seen.append])
    dispatcher.add_hook(counter)
    dispatcher.remove_hook(counter)
    dispatcher.add_hook("no hook")  # type: ignore[arg-type]


# -- errors


def errors(handle: Handle) -> None:
    try:
        handle.results(timeout=1, require="all")
    except IncompleteError as error:
        assert_type(error.results, List[Any])
        assert_type(error.missing, List[str])
        assert_type(error.errors, List[BaseException])


def timed_out(error: RequestTimeout) -> TimeoutError:
    return error


def left(connection: Connection) -> None:
    assert_type(connection.error, Optional[DispatcherError])
    assert_type(connection.join(1), bool)


def not_connected(error: ConnectionFailed) -> ConnectionError:
    return error


def roots() -> List[Type[DispatcherError]]:
    return [DispatcherStopped, IncompleteError, RequestTimeout, VirtualTimeStuck, ClockMismatch]


def runtime_errors() -> List[Type[RuntimeError]]:
    return [DispatcherStopped, VirtualTimeStuck]


def type_errors() -> List[Type[TypeError]]:
    return [BadType]


def value_errors() -> List[Type[ValueError]]:
    return [BadValue, ClockMismatch]


# -- time under test


def virtual() -> None:
    clock = VirtualClock(start=5.0, patience=1.0)
    as_protocol: Clock = clock
    assert_type(clock.now(), float)
    clock.sleep(1.5)
    clock.advance(250)
    clock.settle()
    assert_type(clock.advance_to_next(), bool)
    with Dispatcher(clock=as_protocol) as dispatcher:
        dispatcher.send_request("topic").wait()
    Dispatcher(clock=clock)
    Dispatcher(clock=1)  # type: ignore[arg-type]


def threads_of_a_test(clock: VirtualClock) -> None:
    assert_type(clock.thread(print, 1, name="asks"), threading.Thread)
    clock.stop()


def scripted(dispatcher: Dispatcher) -> None:
    site = ScriptedProducer(
        7,
        answers(7, after_ms=20),
        raises(OSError),
        raises(OSError("no contact"), after_ms=2.5),
        computes(len),
        hangs(),
        dies(after_ms=1),
        start_ms=5,
        name="site",
    )
    as_producer: Producer = site
    dispatcher.register_result_producer(as_producer, "topic", start=True)
    assert_type(site.asked, List[Asked])
    site.release()
    site.release(for_good=True)
    raises("OSError")  # type: ignore[arg-type]
    answers(7, after_ms="1")  # type: ignore[arg-type]


def recorded(listener: RecordingListener) -> None:
    assert_type(listener.heard, List[Heard])
    assert_type(listener.heard[0].at, float)
    assert_type(listener.values, List[Any])
    assert_type(listener.errors, List[Reply])
    assert_type(listener.reports, List[Report])
    assert_type(listener.wait_for(3, timeout=1), List[Any])


def claims(handle: Handle, site: ScriptedProducer) -> None:
    assert_accepted(handle, 1, 2, by=[site, "other"])
    assert_missing(handle, site, "other")
    assert_late(handle, site, by_ms=400, tolerance_ms=1)
    assert_failed(handle, site, OSError)
    assert_ended(handle, Completion.DEADLINE)
    assert_ended(handle, "DEADLINE")


def pictures() -> None:
    timeline = Timeline(last=3)
    Dispatcher(hooks=[timeline], diagnose=True)
    assert_type(str(timeline), str)


def fixtures(
    dispatcher: Dispatcher,
    scripted_producer: ScriptedProducerFactory,
    recording_listener: RecordingListenerFactory,
) -> None:
    assert_type(scripted_producer(dispatcher, "topic", 1, answers(2), name="a"), ScriptedProducer)
    assert_type(recording_listener(dispatcher, "topic", takes_ms=5), RecordingListener)


def places(report: MemberReport) -> None:
    assert_type(report.stack, Optional[str])
    assert_type(report.place, Optional[str])


def policies(dispatcher: Dispatcher, report: Report, handle: Handle) -> None:
    either = Quorum(3) | Stall(50) | First()
    both = (either & StopOnError()) & All()
    as_policy: Policy = both
    assert_type(dispatcher.options(need=as_policy), Sender)
    dispatcher.options(need=3, ttl=None)
    dispatcher.options(need="first")
    dispatcher.options(need=Until(lambda replies: len(replies) > 2))
    Quorum("3")  # type: ignore[arg-type]
    Until(3)  # type: ignore[arg-type]
    assert_type(report.policy, Optional[str])
    assert_type(handle.error, Optional[BaseException])


def progress(handle: Handle, request: CurrentRequest) -> None:
    request.progress(0.5, "half")
    request.progress("0.5")  # type: ignore[arg-type]
    assert_type(handle.progress[0].fraction, float)
    assert_type(handle.progress[0].producer, str)


def sites(dispatcher: Dispatcher, site: Producer) -> None:
    dispatcher.disable(site)
    dispatcher.enable(site)
    assert_type(dispatcher.producers(), List[Producer])
    dispatcher.options(only=[site, "other"], without="other")
    dispatcher.options(barrier=True, ordering_key=("part", 1))
    dispatcher.options(barrier=200.5)
    dispatcher.disable(3)  # type: ignore[arg-type]


def ready_hooks(dispatcher: Dispatcher) -> None:
    advice = TtlAdvice(topics=10)
    dispatcher.add_hook(advice)
    dispatcher.add_hook(SetAside(after=2, probe_every=None))
    assert_type(advice.of("topic"), Optional[Advice])
    mailboxes = MailboxAdvice(participants=10)
    dispatcher.add_hook(mailboxes)
    assert_type(mailboxes.suggestions(), List[Suggestion])
    assert_type(mailboxes.report(), str)
