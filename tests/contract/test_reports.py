"""What replies, reports and names say of a request; on virtual time."""

from __future__ import annotations

import copy
import json
import pickle
import re
import threading
from dataclasses import FrozenInstanceError
from typing import Any, List

import pytest
from virtual import FOREVER, Ours, Payload, World, looks_at_stacks, world

from ate_dispatcher import Reply
from ate_dispatcher.testing import VirtualClock

__all__ = ["world"]


def test_missing_names_who_has_not_answered(world: World) -> None:
    """The producers themselves, in roster order; a raiser has answered."""
    hung, ok = world.producer(FOREVER), world.producer(10)
    world.producer(20, ValueError("x"))
    handle = world.send(ttl=100)
    assert handle.missing == tuple(m.producer for m in handle.roster)
    world.clock.advance(15)
    assert ok not in handle.missing
    assert handle.report().missing == tuple(producer.name for producer in handle.missing)
    handle.wait()
    assert handle.missing == (hung,)
    assert handle.report().missing == (hung.name,)
    assert len(handle.report().failed) == 1


def test_replies_are_what_was_accepted_so_far(world: World) -> None:
    """In the order of arrival, at any time."""
    world.producer(20, "b")
    one = world.producer(10, "a")
    handle = world.send()
    assert handle.replies == ()
    world.clock.advance(10)
    (reply,) = handle.replies
    assert (reply.value, reply.producer, reply.ok, reply.error) == ("a", one, True, None)
    world.clock.advance(10)
    assert [reply.value for reply in handle.replies] == ["a", "b"]


def test_a_reply_is_a_value_or_an_error_and_does_not_change(world: World) -> None:
    """`unwrap` gives the one or raises the other."""
    problem = ValueError("x")
    world.producer(10, "a", name="good")
    world.producer(20, problem, name="bad")
    good, bad = world.send()
    assert good.unwrap() == "a"
    assert good.elapsed_ms == pytest.approx(10)
    assert (bad.ok, bad.value, bad.error) == (False, None, problem)
    with pytest.raises(ValueError, match="x") as caught:
        bad.unwrap()
    assert caught.value is problem
    for name in ("value", "anything"):
        with pytest.raises(AttributeError):
            setattr(good, name, 1)
    with pytest.raises(AttributeError):
        del good.value
    assert isinstance(good, Reply)
    assert "good" in repr(good)
    assert "ValueError from bad" in repr(bad)


def test_a_report_is_frozen(world: World) -> None:
    """A snapshot of then, whatever comes later."""
    world.producer(100)
    handle = world.send(ttl=10)
    handle.wait()
    report = handle.report()
    text = str(report)
    world.clock.advance(200)
    assert report != handle.report()
    assert str(report) == text
    with pytest.raises(FrozenInstanceError):
        report.id = 7  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        report.members[0].verdict = None  # type: ignore[misc]


def test_a_report_keeps_waiting_and_running_time_apart(world: World) -> None:
    """Per member, in milliseconds."""
    world.producer(30)
    first, second = world.send(), world.send()
    second.wait()
    member = second.report().members[0]
    assert (member.waited_ms, member.ran_ms) == (pytest.approx(30), pytest.approx(30))
    assert first.report().members[0].waited_ms == 0


def test_the_dict_of_a_report_is_json_without_payloads(world: World) -> None:
    """Names, verdicts and times; a topic that is no text as its repr."""
    world.producer(10, Payload(), ("a", 1), name="good")
    world.producer(20, ValueError("secret"), ("a", 1), name="bad")
    world.producer(FOREVER, Payload(), ("a", 1), name="hung")
    handle = world.send(Payload(), ttl=100, topic=("a", 1), key=Payload())
    handle.wait()
    data = handle.report().to_dict()
    assert json.loads(json.dumps(data)) == data
    assert "secret" not in json.dumps(data)
    assert (data["topic"], data["completion"], data["complete"]) == ("('a', 1)", "deadline", False)
    assert [m["verdict"] for m in data["members"]] == ["ok", "error", "missing"]
    assert [m["standing"] for m in data["members"]] == [None, None, "running"]
    assert [m["producer"] for m in data["members"]] == ["good", "bad", "hung"]
    assert data["members"][1]["error"] == "ValueError"
    assert set(data["members"][0]) == {
        "producer",
        "name",
        "verdict",
        "standing",
        "waited_ms",
        "instrument_ms",
        "line_ms",
        "held_up_by",
        "ran_ms",
        "late_ms",
        "error",
        "stack",
        "place",
        "began_ms",
        "network_ms",
        "part",
    }


def test_a_report_reads_well(world: World) -> None:
    """The head says how it ended, then one line per member; open, late and endless ones too."""
    world.producer(10, name="quick")
    world.producer(350, name="slow")
    world.producer(5, ValueError("secret"), name="raiser")
    handle = world.send(ttl=100)
    assert str(handle.report()).startswith(
        f"request {handle.id} on 't': open after 0.0 ms (ttl 100 ms), 0 of 3 ok"
    )
    handle.wait()
    head, quick, slow, raiser = str(handle.report()).splitlines()
    assert head == (f"request {handle.id} on 't': DEADLINE after 100.0 ms (ttl 100 ms), 1 of 3 ok")
    assert " ".join(quick.split()) == "quick OK waited 0.000 ms ran 10.000 ms"
    assert " ".join(slow.split()) == "slow MISSING (running) waited 0.000 ms ran 100.000 ms"
    assert " ".join(raiser.split()) == "raiser ERROR waited 0.000 ms ran 5.000 ms ValueError"
    world.clock.advance(1000)
    slow = str(handle.report()).splitlines()[2]
    assert slow.split()[1] == "LATE"
    assert slow.endswith("late by 250.000 ms")
    assert "(no ttl)" in str(world.send(ttl=None).report())


def measure(clock: VirtualClock, seconds: float) -> None:
    """Where a producer is found."""
    clock.sleep(seconds)


@pytest.mark.parametrize("end", ["deadline", "cancel"])
def test_a_diagnosing_dispatcher_tells_where_a_producer_was_at_the_end(end: str) -> None:
    """Of those that had begun and not come back; as it was then, not as it is now."""
    world = World(diagnose=True)
    slow = world.producer(answer=lambda topic: measure(world.clock, 2), name="slow")
    world.producer(ms=1, name="quick")
    idle = world.producer(name="idle", start=False)
    events: List[Any] = []
    world.dispatcher.add_hook(events.append)
    handle = world.send()
    world.clock.advance(10)
    if end == "cancel":
        handle.cancel()
    handle.wait()
    for _ in range(2):
        found = handle.report()
        first, second, third = found.members
        assert second.stack is second.place is third.stack is third.place is None
        assert first.place is not None
        assert re.fullmatch(r"test_reports.py:\d+ in measure", first.place)
        assert first.stack is not None
        assert "clock.sleep(seconds)" in first.stack
        assert first.stack in "\n".join(line[4:] for line in str(found).splitlines())
        assert found.to_dict()["members"][0]["stack"] == first.stack
        world.clock.advance(5000)
    world.clock.settle()
    (completed,) = [event for event in events if event.name.endswith("request_completed")]
    assert completed.report.members[0].place == first.place
    assert first.stack not in repr(completed)
    slow.answer = None
    handle = world.send()
    handle.wait()
    assert handle.report().members[0].stack is None
    idle.start()
    world.close()


def test_without_diagnosis_nobody_looks_at_stacks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for, or it costs nothing."""
    looks = looks_at_stacks(monkeypatch)
    world.producer(FOREVER)
    handle = world.send()
    handle.wait()
    (member,) = handle.report().members
    assert (member.stack, member.place) == (None, None)
    # This one does, if virtual time gets on slowly.
    assert set(looks) <= {threading.current_thread()}


def test_a_copy_of_a_handle_or_reply_is_itself(world: World) -> None:
    """They show a live request: there is no second one. And they do not travel."""
    world.producer(1)
    handle = world.send()
    handle.wait()
    (reply,) = handle.replies
    for thing in (handle, reply):
        assert copy.copy(thing) is thing
        assert copy.deepcopy(thing) is thing
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(thing)


def test_unwrapping_an_error_makes_no_cycle(world: World) -> None:
    """The error's traceback does not hold the reply that holds the error."""
    world.producer(1, Ours("broken"))
    handle = world.send()
    handle.wait()
    (reply,) = handle.replies
    with pytest.raises(Ours):
        reply.unwrap()
    frames = []
    traceback = reply.error.__traceback__ if reply.error else None
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    assert len(frames) > 1
    inside = [frame for frame in frames if frame.f_code.co_name == "unwrap"]
    assert len(inside) == 1
    assert "self" not in inside[0].f_locals


def test_names_tell_who_it_was(world: World) -> None:
    """A producer is named by its name, by default class and number."""
    plain, named = world.producer(), world.producer(name="site 7")
    kind, _, number = plain.name.rpartition("-")
    assert kind == "Scripted"
    assert number.isdigit()
    assert [m.producer for m in world.send().report().members] == [plain.name, "site 7"]
    named.name = "site 8"
    assert world.send().report().members[1].producer == "site 8"


def test_the_repr_of_a_handle_shows_no_payload(world: World) -> None:
    """Only how it stands."""
    world.producer(10, Payload())
    world.producer(FOREVER, Payload())
    handle = world.send(Payload())
    assert repr(handle) == f"<Handle {handle.id} on 't': open, 2 to come>"
    handle.wait()
    assert repr(handle) == f"<Handle {handle.id} on 't': DEADLINE>"


def test_ids_grow(world: World) -> None:
    """With every request, answered or not."""
    world.producer()
    ids = [world.send(topic=topic).id for topic in ("t", "nobody", "t", "t")]
    assert ids == sorted(set(ids))
