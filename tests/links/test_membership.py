"""Who is there, and that they are gone; on virtual time."""

from __future__ import annotations

import asyncio
import os
from enum import Enum
from typing import Any, List

import pytest
from parts import NAMESPACE, Parts, parts

from ate_dispatcher import (
    Completion,
    Connection,
    ConnectionFailed,
    Dispatcher,
    DispatcherError,
    DispatcherStopped,
    IncompleteError,
    Standing,
    TopicPattern,
    Verdict,
)
from ate_dispatcher.errors import BadType, BadValue
from ate_dispatcher.links import ValueType
from ate_dispatcher.testing import Timeline, Wire

__all__ = ["parts"]


class Slow(Enum):
    """What takes long to be written."""

    ONE = 1


def verdicts(handle: Any) -> List[Verdict]:
    return [each.verdict for each in handle.report().members]


def test_who_is_alone_is_connected_at_once(parts: Parts) -> None:
    """Nobody is there, which the transport says; with others it takes 50 ms after the last."""
    parts.part("a")
    assert parts.clock.now() == 0
    parts.part("b")
    assert 0.05 <= parts.clock.now() <= 0.06
    assert (parts.connections["a"].parts, parts.connections["b"].parts) == (("b",), ("a",))
    assert parts.connections["b"].is_connected
    assert parts.connections["b"].namespace == NAMESPACE
    assert parts.connections["b"].name == "b"


def test_a_silent_wire_keeps_nobody_longer_than_half_a_second(parts: Parts) -> None:
    """Whoever answers no more is not waited for."""
    parts.part("a")
    parts.wire.silence("a")
    parts.part("b")
    assert parts.clock.now() == pytest.approx(0.5, abs=0.01)


def test_registrations_are_seen_elsewhere_as_they_change(parts: Parts) -> None:
    """Within about a millisecond; by name and by pattern, both ways."""
    parts.part("a")
    parts.part("b")
    assert parts.ask("a").completion is Completion.NO_PRODUCERS
    far = parts.producer("b", 0, "far")
    assert parts.ask("a").results() == ["far"]
    parts.dispatchers["b"].deregister_result_producer(far, "volts")
    parts.clock.advance(1)
    assert parts.ask("a").completion is Completion.NO_PRODUCERS
    parts.dispatchers["b"].register_result_producer(far, TopicPattern("site.*.volts"))
    parts.clock.advance(1)
    assert parts.dispatchers["a"].send_request("site.7.volts", ttl=100).results() == ["far"]
    assert parts.dispatchers["a"].send_request("site.7", ttl=100).results() == []
    parts.dispatchers["b"].deregister_result_producer(far)
    parts.clock.advance(1)
    assert parts.dispatchers["a"].send_request("site.7.volts", ttl=100).results() == []


class Topic(str, Enum):
    """The usual way to name topics once."""

    VOLTS = "volts"


def test_a_text_of_a_class_of_its_own_names_the_same_topic(parts: Parts) -> None:
    """Whoever comes or goes by it is seen to elsewhere, where the text itself is known."""
    parts.part("a")
    site = parts.part("b")
    one = parts.producer("b", 0, "one", name="one")
    parts.producer("b", 0, "two", topic=Topic.VOLTS, name="two")
    assert [each.producer for each in parts.ask("a").report().members] == ["one", "two"]
    site.deregister_result_producer(one, Topic.VOLTS)
    parts.clock.advance(5)
    assert [each.producer for each in parts.ask("a").report().members] == ["two"]


def test_namespaces_do_not_see_each_other(parts: Parts) -> None:
    """On one wire."""
    parts.part("a")
    other = parts.part("x", connect=False)
    parts.connect("x", namespace="other")
    parts.producer("x", 0, "other")
    assert parts.connections["a"].parts == ()
    assert parts.ask("a").completion is Completion.NO_PRODUCERS
    assert other.send_request("volts", ttl=100).results() == ["other"]


def test_who_leaves_is_gone_at_once(parts: Parts) -> None:
    """By a stop, or by `disconnect`; what it owes is answered first, if there is time."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 20, "far")
    handle = parts.ask("a")
    parts.clock.advance(1)
    parts.connections["b"].disconnect()
    parts.clock.advance(5)
    assert parts.ask("a").completion is Completion.NO_PRODUCERS
    assert handle.results() == ["far"]
    assert parts.connections["b"].join(1)
    parts.clock.advance(1)
    assert parts.connections["a"].parts == ()
    parts.connect("b")
    assert parts.ask("a").results() == ["far"]
    late = parts.ask("a")
    parts.clock.advance(1)
    parts.dispatchers["b"].stop(immediate=True)
    parts.clock.advance(5)
    assert parts.connections["a"].parts == ()
    assert verdicts(late) == [Verdict.GONE]
    assert late.completion is Completion.ALL_REPLIED


def test_who_is_cut_off_is_gone(parts: Parts) -> None:
    """Nobody is there of its name any more: that is noticed by what owes an answer."""
    parts.part("a")
    parts.part("b")
    parts.producer("a", 0, "here")
    parts.producer("b", 10_000, "far")
    handle = parts.ask("a", ttl=5000)
    parts.clock.advance(2500)
    parts.wire.cut("b")
    parts.clock.advance(450)
    assert verdicts(handle) == [Verdict.OK, Verdict.GONE]
    assert handle.completion is Completion.ALL_REPLIED
    assert parts.connections["a"].parts == ()
    assert not parts.connections["b"].is_connected
    assert parts.ask("a").results() == ["here"]


@pytest.mark.parametrize("cancelled", [True, False])
def test_what_was_late_waits_for_the_word_that_it_is_over(parts: Parts, cancelled: bool) -> None:
    """Such as what a frozen machine finds in its sockets; it is begun if there is no such word."""
    parts.part("a")
    parts.part("b")
    far = parts.producer("b", 0, "far")
    assert parts.ask("a").results() == ["far"]
    parts.wire.delay(2000, "a", "b")
    handle = parts.ask("a", ttl=20_000)
    parts.clock.advance(1)
    # What is said from here on arrives with what was asked, not before.
    parts.wire.delay(10, "a", "b")
    parts.clock.advance(1000)
    if cancelled:
        handle.cancel()
    parts.clock.advance(3000)
    assert verdicts(handle) == [Verdict.CANCELLED if cancelled else Verdict.OK]
    assert len(far.asked) == (1 if cancelled else 2)
    assert parts.counted("b", "stale") == (1 if cancelled else 0)


def test_what_was_late_waits_no_longer_than_it_must(parts: Parts) -> None:
    """Also if one of two is not to begin it, and another request came behind it."""
    a = parts.part("a")
    parts.part("b")
    far, other = parts.producer("b", 0), parts.producer("b", 0)
    first = parts.ask("a")
    first.wait()
    members = [each.producer for each in first.replies]
    parts.wire.delay(2000, "a", "b")
    handles = [parts.ask("a", ttl=20_000)]
    parts.clock.advance(200)
    handles.append(parts.ask("a", ttl=20_000))
    parts.clock.advance(1)
    parts.wire.delay(10, "a", "b")
    parts.clock.advance(1880)
    a.disable(members[1])
    parts.clock.advance(200)
    assert (len(far.asked), len(other.asked)) == (2, 1)
    parts.clock.advance(3000)
    assert (len(far.asked), len(other.asked)) == (3, 1)
    both = [verdicts(each) for each in handles]
    assert both == [[Verdict.OK, Verdict.WITHDRAWN]] * 2


def test_who_is_silent_is_gone_after_three_beats(parts: Parts) -> None:
    """And no request hangs beyond its deadline meanwhile."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 0, "far")
    parts.clock.advance(3000)
    parts.wire.silence("b")
    handle = parts.ask("a", ttl=100)
    handle.wait()
    assert (verdicts(handle), handle.report().members[0].standing) == (
        [Verdict.MISSING],
        Standing.AWAY,
    )
    endless = parts.ask("a", ttl=None)
    parts.clock.advance(5000)
    assert verdicts(endless) == [Verdict.GONE]
    assert parts.connections["a"].parts == ()
    assert parts.counted("a", "gone") == 1
    parts.wire.heal("b")
    parts.clock.advance(2500)
    assert parts.connections["a"].parts == ("b",)
    assert parts.ask("a").results() == ["far"]


def test_who_is_late_itself_takes_nobody_for_gone(parts: Parts) -> None:
    """What the others have said meanwhile may still wait to be read."""

    def takes_long(thing: Enum) -> int:
        parts.clock.sleep(4.5)
        return 0

    parts.part("a", connect=False)
    parts.connect("a", types=[ValueType("slow", Slow, takes_long, lambda plain: Slow.ONE)])
    parts.part("b")
    parts.producer("b", 100, "far")
    parts.listener("b", "news")
    parts.clock.advance(3000)
    parts.dispatchers["a"].publish("news", Slow.ONE)
    parts.clock.advance(10_000)
    assert parts.counted("a", "gone") == 0
    assert parts.connections["a"].parts == ("b",)
    assert parts.ask("a").results() == ["far"]


def test_a_cut_heals(parts: Parts) -> None:
    """Everybody is there again, and what is asked meanwhile waits for it, as long as it may."""
    parts.part("a")
    parts.part("b")
    far = parts.producer("b", 0, "far")
    parts.clock.advance(3000)
    parts.wire.cut("a")
    parts.clock.settle()
    over, kept = parts.ask("a", ttl=50), parts.ask("a", ttl=5000)
    parts.clock.advance(200)
    parts.wire.heal("a")
    parts.clock.advance(500)
    assert verdicts(over) == [Verdict.SKIPPED]
    assert verdicts(kept) == [Verdict.OK]
    assert len(far.asked) == 1
    assert parts.connections["b"].parts == ("a",)


def test_who_leaves_while_an_ask_is_on_its_way_is_gone(parts: Parts) -> None:
    """It was in the roster, and has left before it could be asked: the request does not hang."""
    held = parts.part("held", start=False)
    parts.part("b")
    parts.producer("b", 0, "far")
    handle = held.send_request("volts", ttl=None)
    assert len(handle.roster) == 1
    parts.connections["b"].disconnect(drain=0)
    parts.clock.advance(10)
    assert parts.connections["held"].parts == ()
    held.start()
    parts.clock.advance(10)
    assert verdicts(handle) == [Verdict.GONE]
    assert handle.completion is Completion.ALL_REPLIED


def test_a_restart_is_another_part_of_that_name(parts: Parts) -> None:
    """What the one before owed is GONE; the new one has what it says."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 10_000, "before")
    handle = parts.ask("a", ttl=20_000)
    parts.clock.advance(10)
    parts.wire.silence("b")
    parts.wire._named("b")[0].close()
    parts.clock.settle()
    parts.part("b")
    parts.producer("b", 0, "after")
    parts.clock.advance(5)
    assert verdicts(handle) == [Verdict.GONE]
    assert parts.ask("a").results() == ["after"]


def test_the_log_says_who_comes_and_why_somebody_is_gone(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """At INFO, a line each; not for who leaves itself, which has not lost the others."""

    def said(of: str = "part b") -> List[str]:
        # Each part by its own thread: there is no order between what two of them say.
        parts.clock.settle()
        lines = [each.getMessage() for each in caplog.records if each.levelname == "INFO"]
        caplog.clear()
        return [each for each in lines if each.startswith(of)]

    parts.part("a")
    caplog.set_level("INFO", "ate_dispatcher")
    parts.part("b")
    assert sorted(said("part")) == ["part a is there", "part b is there"]
    parts.wire.silence("b")
    parts.clock.advance(5000)
    assert "part b is gone: nothing was heard of it for 3 s" in said()
    parts.wire.heal("b")
    parts.clock.advance(2500)
    assert "part b is there" in said()
    parts.producer("b", 10_000, "far")
    parts.ask("a", ttl=20_000)
    parts.clock.advance(2500)
    parts.wire.cut("b")
    parts.clock.advance(450)
    assert "part b is gone: nobody of that name is there any more" in said()
    parts.wire.heal("b")
    parts.clock.advance(2500)
    assert "part b is there" in said()
    parts.wire.silence("b")
    parts.wire._named("b")[0].close()
    parts.part("b")
    assert said() == ["part b is gone: it was started anew", "part b is there"]
    parts.connections["b"].disconnect()
    parts.clock.advance(10)
    assert said() == ["part b is gone: it has left"]


def test_a_name_is_taken_once(parts: Parts) -> None:
    """The second one is refused at its connect, and told where the first one is, which goes on."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 0, "far")
    second = parts.part("second", connect=False)
    advice = "; choose another name=, or connect anew when that part has left"
    taken = f"'b' is taken by another part of 'lab'{advice}"
    with pytest.raises(ConnectionFailed, match=taken) as caught:
        second.connect(parts.wire.transport(), namespace=NAMESPACE, name="b")
    assert f"; that one is process {os.getpid()} on " in str(caught.value)
    parts.clock.advance(3000)
    assert parts.ask("a").results() == ["far"]
    assert parts.connections["a"].parts == ("b",)


def test_it_is_not_told_that_all_have_replied_where_some_are_gone(parts: Parts) -> None:
    """Nobody is left to wait for; what people read says how many have not."""
    timeline = Timeline()
    parts.part("a", hooks=[timeline])
    parts.part("b")
    parts.producer("b", 100, "slow", name="slow")
    parts.producer("a", 0, "here", name="here")
    handle = parts.ask("a")
    parts.clock.advance(10)
    parts.dispatchers["b"].stop(immediate=True)
    handle.wait()
    assert verdicts(handle) == [Verdict.GONE, Verdict.OK]
    assert handle.completion is Completion.ALL_REPLIED
    word = "ALL_REPLIED (except 1 who cannot)"
    assert f": {word} after" in str(handle.report())
    parts.clock.settle()
    assert f": {word} after" in str(timeline)
    with pytest.raises(IncompleteError) as caught:
        handle.results(require="all")
    assert f"ended as {word} with 1 of 2 results" in str(caught.value)
    whole = parts.ask("a")
    whole.wait()
    assert ": ALL_REPLIED after" in str(whole.report())


def test_a_part_that_has_left_for_good_says_why(parts: Parts) -> None:
    """Its name was another's before it, or was taken while it was cut off, which it says as well;
    None while all is well, and after a leave that was wanted.
    """
    parts.part("a")
    second = parts.part("second", connect=False)

    def connect_as(name: str, **options: bool) -> Connection:
        return second.connect(parts.wire.transport(), namespace=NAMESPACE, name=name, **options)

    late = connect_as("a", wait=False)
    assert late.join(5)
    assert isinstance(late.error, ConnectionFailed)
    assert "name 'a' is taken by another part of 'lab'" in str(late.error)
    parts.wire.cut("a")
    parts.clock.advance(5000)
    first = parts.connections["a"]
    assert str(first.error) == "cut off; it goes on trying"
    assert not first.join(0.1)
    heir = connect_as("a")
    parts.wire.heal("a")
    assert first.join(5)
    assert isinstance(first.error, ConnectionFailed)
    heir.disconnect()
    assert heir.join(5)
    assert heir.error is None
    last = connect_as("b")
    second.stop()
    second.join()
    assert last.join(5)
    assert last.error is None


def test_what_blocks_an_event_loop_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """``connect``, ``wait_for`` and ``join``; not on another thread, nor where they do not wait."""
    dispatcher, wire = Dispatcher(), Wire()

    def connect(**options: bool) -> Connection:
        return dispatcher.connect(wire.transport(), name="a", **options)

    async def quietly() -> None:
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(None, connect)
        assert not connection.wait_for("b", timeout=0)
        connection.disconnect(drain=0)
        await loop.run_in_executor(None, connection.join, 5)
        connection = connect(wait=False)
        connection.disconnect(drain=0)
        await loop.run_in_executor(None, connection.join, 5)

    async def loudly() -> None:
        connection = connect()
        assert "connect waits, and the event loop" in caplog.text
        assert ", or with wait=False" in caplog.text
        assert not connection.wait_for("b", timeout=0.01)
        assert "wait_for waits, and the event loop" in caplog.text
        connection.disconnect(drain=500)
        connection.join(0.001)

    with dispatcher:
        asyncio.run(quietly())
        assert caplog.text == ""
        asyncio.run(loudly())


def test_connect_says_what_is_wrong(parts: Parts) -> None:
    """At the call, naming parameter and value."""
    dispatcher = parts.part("a", connect=False)
    for wrong in ("", "a b", "a.b", "ü", "x" * 65):
        with pytest.raises(BadValue, match="name"):
            dispatcher.connect(parts.wire.transport(), name=wrong)
        with pytest.raises(BadValue, match="namespace"):
            dispatcher.connect(parts.wire.transport(), namespace=wrong or " ", name="a")
    with pytest.raises(BadValue, match="address must begin with"):
        dispatcher.connect("carrier-pigeon://coop")
    with pytest.raises(BadType, match="address"):
        dispatcher.connect(7)
    with pytest.raises(BadType, match="wait"):
        dispatcher.connect(parts.wire.transport(), wait=1)  # type: ignore[arg-type]
    with pytest.raises(BadType, match="colour"):
        dispatcher.connect(parts.wire.transport(), colour="red")
    parts.connect("a")
    with pytest.raises(DispatcherError, match="already"):
        dispatcher.connect(parts.wire.transport())
    with pytest.raises(BadValue, match="inline"):
        Dispatcher(inline=True).connect(parts.wire.transport())
    dispatcher.stop()
    with pytest.raises(DispatcherStopped):
        dispatcher.connect(parts.wire.transport())


def test_a_transport_is_for_one_connection(parts: Parts) -> None:
    """A second one is refused."""
    transport = parts.wire.transport()
    one, two = parts.part("a", connect=False), parts.part("b", connect=False)
    one.connect(transport, name="a")
    with pytest.raises(DispatcherError, match="one connection"):
        two.connect(transport, name="b")


def test_the_environment_has_the_namespace(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is given; and the name is made of the machine's and the process's."""
    monkeypatch.setenv("ATE_DISPATCHER_NAMESPACE", "lab9")
    dispatcher = parts.part("a", connect=False)
    with dispatcher.connect(parts.wire.transport()) as connection:
        assert connection.namespace == "lab9"
        assert connection.name
        assert "lab9" in repr(connection)
    assert not connection.is_connected


def test_who_is_disconnected_twice_is_disconnected(parts: Parts) -> None:
    """Also behind the end of its dispatcher."""
    parts.part("a")
    connection = parts.connections["a"]
    connection.disconnect()
    connection.disconnect(drain=0)
    assert connection.join(1)
    parts.dispatchers["a"].stop()
    parts.dispatchers["a"].join()
    connection.disconnect()
    assert connection.join(1)
    with pytest.raises(BadValue, match="drain"):
        connection.disconnect(drain=-1)


def test_remote_producers_are_none_of_ours(parts: Parts) -> None:
    """They are not in `producers()`, and a stop here does not stop them."""
    parts.part("a")
    parts.part("b")
    far = parts.producer("b", 0, "far")
    assert parts.dispatchers["a"].producers() == []
    assert parts.dispatchers["a"].listeners() == []
    parts.dispatchers["a"].stop()
    parts.dispatchers["a"].join()
    assert far.is_alive()
    assert parts.dispatchers["b"].send_request("volts", ttl=100).results() == ["far"]


def test_wires_are_of_one_clock() -> None:
    """Another one is refused."""
    wire = Wire()
    from ate_dispatcher.testing import VirtualClock

    first = Dispatcher(clock=VirtualClock())
    first.connect(wire.transport(), name="a")
    second = Dispatcher()
    with pytest.raises(BadValue, match="clock"):
        second.connect(wire.transport(), name="b")
    first.stop()


def test_two_connects_do_not_come_together(parts: Parts) -> None:
    """The second is refused while the first has not returned."""
    dispatcher = parts.part("a", connect=False)
    refused: List[str] = []
    first = parts.wire.transport()
    opens = first.open

    def open_slowly(*args: Any) -> None:
        try:
            dispatcher.connect(parts.wire.transport(), namespace=NAMESPACE, name="second")
        except DispatcherError as error:
            refused.append(str(error))
        opens(*args)

    first.open = open_slowly  # type: ignore[method-assign]
    connection = dispatcher.connect(first, namespace=NAMESPACE, name="a")
    assert len(refused) == 1
    assert "another call" in refused[0]
    assert connection.is_connected


def test_one_may_wait_for_parts(parts: Parts) -> None:
    """Until they are there, or for so many seconds."""
    parts.part("a")
    parts.part("b", connect=False)
    began = parts.clock.now()
    assert not parts.connections["a"].wait_for("b", timeout=0.5)
    assert parts.clock.now() == pytest.approx(began + 0.5)

    def connect_late() -> None:
        parts.clock.sleep(2)
        transport = parts.wire.transport()
        parts.dispatchers["b"].connect(transport, namespace=NAMESPACE, name="b")

    late = parts.clock.thread(connect_late)
    late.start()
    assert parts.connections["a"].wait_for("b", timeout=10)
    assert parts.clock.now() < began + 3
    late.join()
    with pytest.raises(BadType, match="names"):
        parts.connections["a"].wait_for(7)  # type: ignore[arg-type]
    parts.connections["a"].disconnect(drain=0)
    assert not parts.connections["a"].wait_for("c", timeout=10)


@pytest.mark.parametrize(
    "topic", ["x" * 2000, TopicPattern("x" * 2000 + ".*")], ids=["name", "pattern"]
)
def test_a_topic_that_is_too_long_keeps_nothing_else_from_being_known(
    parts: Parts, topic: Any
) -> None:
    """Nobody can ask on it from elsewhere; its part stays, with all other topics."""
    parts.part("a")
    parts.part("b")
    parts.producer("a", 0, "long", topic=topic)
    parts.producer("a", 0, "far")
    parts.clock.advance(5000)
    assert parts.connections["b"].parts == ("a",)
    assert parts.ask("b").results() == ["far"]
