"""Asking whoever there is, who is no member; on virtual time."""

from __future__ import annotations

import json
from typing import Any, List, Tuple

import pytest
from parts import Parts, parts

from ate_dispatcher import (
    Completion,
    DispatcherError,
    First,
    IncompleteError,
    Quorum,
    RemoteError,
    Report,
    Stall,
    Verdict,
)
from ate_dispatcher.errors import BadValue
from ate_dispatcher.testing import WireTransport

__all__ = ["parts"]


class Program:
    """Answers questions on a topic, and knows nothing of parts."""

    namespace = "lab"
    part = "program"

    def __init__(self, parts: Parts, answers: List[bytes], group: str = "") -> None:
        self.asked_for: List[Tuple[str, Any]] = []
        self._answers = answers
        self._group = group
        self.wire: WireTransport = parts.wire.transport()
        self.wire.open(self, parts.clock, True)
        parts.clock.settle()

    def connected(self) -> None:
        self.wire.offer(frozenset(["volts"]), self._group)

    def disconnected(self, why: str) -> None: ...

    def received(self, sender: str, payload: bytes) -> None: ...

    def unreachable(self, part: str) -> None: ...

    def malformed(self) -> None: ...

    def answered(self, number: int, payload: bytes) -> None: ...

    def asked(self, topic: str, payload: bytes, reply: str) -> None:
        self.asked_for.append((topic, json.loads(payload)))
        for each in self._answers:
            self.wire.answer(reply, each)

    def hand_in(self) -> None: ...

    def step(self) -> float:
        return float("inf")


def test_whoever_there_is_answers(parts: Parts) -> None:
    """Producers here, of other parts, and programs without the package; it ends at its ttl."""
    parts.part("a")
    parts.part("b")
    parts.producer("a", 1, "here", name="here")
    parts.producer("b", 2, "far", name="far")
    program = Program(parts, [b"42", b'{"$tuple":[1,2]}'])
    handle = parts.ask("a", 7, ttl=50, members="open")
    assert sorted(map(str, handle.results())) == ["(1, 2)", "42", "far", "here"]
    assert handle.completion is Completion.DEADLINE
    assert program.asked_for == [("volts", {"args": [7], "kwargs": {}, "ttl_ms": 50.0})]
    whose = [each.producer for each in handle.replies]
    assert {(each.name, getattr(each, "part", None)) for each in whose} == {
        ("here", None),
        ("far", "b"),
        ("somebody", ""),
    }
    assert [(m.producer, m.verdict) for m in handle.report().members] == [
        ("here", Verdict.OK),
        ("others", Verdict.OK),
    ]
    sums = parts.dispatchers["a"].statistics()
    assert sums.fan_out == sum(sums.verdicts.values()) == 2


def test_where_all_who_answer_raise_the_others_are_no_success(parts: Parts) -> None:
    """Their line is an ERROR, as no value came; OK as soon as somebody gave one."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 0, ValueError("no probe"), name="bad")

    def asked() -> Report:
        handle = parts.ask("a", ttl=50, members="open")
        handle.wait()
        return handle.report()

    report = asked()
    assert [(m.producer, m.verdict, m.standing) for m in report.members] == [
        ("others", Verdict.ERROR, None)
    ]
    assert (report.complete, report.missing, report.failed) == (False, (), ("others",))
    assert "0 of 1 ok" in str(report)
    sums = parts.dispatchers["a"].statistics()
    assert (sums.fan_out, sums.verdicts[Verdict.ERROR]) == (1, 1)
    parts.producer("b", 0, "far", name="far")
    assert asked().complete


def test_it_ends_when_it_has_enough(parts: Parts) -> None:
    """By a quorum, by the first, or when it is quiet: nobody knows how many could answer."""
    parts.part("a")
    Program(parts, [b"1", b"2", b"3"])
    for need, wanted, end in (
        (First(), [1], Completion.QUORUM),
        (Quorum(3), [1, 2, 3], Completion.QUORUM),
        (Stall(10), [1, 2, 3], Completion.STALLED),
        (Quorum(5), [1, 2, 3], Completion.DEADLINE),
    ):
        handle = parts.ask("a", ttl=100, members="open", need=need)
        assert handle.results() == wanted
        assert handle.completion is end


def test_answers_that_are_not_needed_any_more_are_no_fault(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is too late for what was enough is not counted, and not logged."""
    parts.part("a")
    Program(parts, [b"1", b"2"])
    for _ in range(5):
        assert parts.ask("a", ttl=100, members="open", need=1).results() == [1]
        parts.clock.advance(200)
    assert caplog.text == ""


def test_nobody_at_all_is_told_at_once(parts: Parts) -> None:
    """No need to wait for the ttl."""
    parts.part("a")
    handle = parts.ask("a", ttl=1000, members="open")
    handle.wait()
    assert handle.report().elapsed_ms < 5
    assert [each.verdict for each in handle.report().members] == [Verdict.DECLINED]
    assert handle.completion is Completion.ALL_REPLIED
    handle = parts.ask("a", ttl=1000, members="open", need=2)
    handle.wait()
    assert handle.completion is Completion.IMPOSSIBLE


def test_what_raises_is_an_error(parts: Parts) -> None:
    """Of a part, or of a program that says so; and what is no JSON."""
    parts.part("a")
    parts.part("b")
    parts.producer("b", 0, ValueError("no probe"), name="bad")
    Program(parts, [b'{"$error":{"kind":"Overrange","message":"too much"}}', b"nonsense"])
    handle = parts.ask("a", ttl=20, members="open")
    handle.wait()
    errors = [each.error for each in handle.replies]
    assert all(isinstance(each, RemoteError) for each in errors)
    assert sorted((getattr(each, "kind", ""), getattr(each, "part", "")) for each in errors) == [
        ("BadValue", ""),
        ("Overrange", ""),
        ("ValueError", "b"),
    ]
    assert sorted(each.producer.name for each in handle.replies) == ["bad", "somebody", "somebody"]


def test_all_is_everybody_of_this_machine_and_whoever_else_has_answered(parts: Parts) -> None:
    """Nobody knows how many could: at its ttl, or when it has what it needs, that is enough."""
    parts.part("a")
    parts.producer("a", 0, "here", name="here")
    program = Program(parts, [b"1", b"2"])
    for options, wanted in (
        ({}, {"here", 1, 2}),
        ({"need": Quorum(3)}, {"here", 1, 2}),
        ({"need": Stall(10)}, {"here", 1, 2}),
        ({"need": Quorum(3) | Stall(10)}, {"here", 1, 2}),
    ):
        handle = parts.ask("a", ttl=50, members="open", **options)
        assert set(handle.results(require="all")) == wanted
    assert len(program.asked_for) == 4
    program.wire.close()
    assert parts.ask("a", ttl=50, members="open").results(require="all") == ["here"]


def test_all_is_missed_by_whoever_raises_or_is_silent_here_and_by_what_was_needed(
    parts: Parts,
) -> None:
    """The error says which it is; also if nobody at all has answered, or it was cut short."""
    parts.part("a")
    parts.part("b")

    def missed(said: str, **options: Any) -> IncompleteError:
        handle = parts.ask("a", ttl=50, members="open", **options)
        with pytest.raises(IncompleteError, match=said) as caught:
            handle.results(require="all")
        assert caught.value.missing == list(handle.report().missing)
        return caught.value

    nobody = "0 of 0 results of this machine, 0 answers of others; no answer in time from: others"
    at_once = "^nobody has answered request 1, which ended as ALL_REPLIED [(]except 1 who cannot[)]"
    missed(f"{at_once} with {nobody}; raised: nobody$")
    parts.producer("b", 0, "far", name="far")
    assert parts.ask("a", ttl=50, members="open").results(require="all") == ["far"]
    missed(r"^request 3 .*1 answers of others; .*; raised: nobody; not met: Quorum\(2\)$", need=2)
    parts.producer("b", 0, ValueError("no probe"), name="bad")
    raised = missed("2 answers of others; no answer in time from: nobody; raised: bad$")
    assert len(raised.errors) == 1
    parts.dispatchers["b"].disable("bad")
    slow = parts.producer("a", 60, "slow", name="slow")
    found = missed("as DEADLINE with 0 of 1 results .*, 1 answers of others; .* from: slow; raised")
    assert (found.missing, found.results) == (["slow"], ["far"])
    missed("as QUORUM with 0 of 1 results", need=1)
    parts.dispatchers["a"].disable(slow)
    parts.dispatchers["b"].disable("far")
    lazy = parts.producer("b", 60, "lazy", name="lazy")
    missed("^nobody has answered request .* as DEADLINE with 0 of 0 results")
    parts.dispatchers["b"].disable(lazy)
    parts.dispatchers["b"].enable("far")
    parts.clock.advance(100)
    handle = parts.ask("a", ttl=50, members="open")
    parts.clock.advance(10)
    handle.cancel()
    with pytest.raises(IncompleteError, match=r"ended as CANCELLED with .* 1 answers of others"):
        handle.results(require="all")


def test_of_a_group_one_answers(parts: Parts) -> None:
    """Replicas: each question reaches one of them."""
    parts.part("a")
    for name in ("b", "c", "d"):
        parts.part(name, connect=False)
        parts.connect(name, group="workers")
        parts.producer(name, 0, name)
    assert len(parts.ask("a", ttl=20, members="open").results()) == 1
    assert len(parts.ask("a", ttl=20).results()) == 3


def test_results_are_heard_as_others(parts: Parts) -> None:
    """By listeners of the topic, here and elsewhere; once."""
    parts.part("a")
    parts.part("b")
    heard = [parts.listener(name).heard for name in ("a", "b")]
    parts.producer("b", 0, "far")
    parts.ask("a", ttl=20, members="open").wait()
    parts.clock.advance(5)
    assert heard == [["far"], ["far"]]


def test_it_says_what_it_needs(parts: Parts) -> None:
    """A connection; and nothing that names members."""
    alone = parts.part("alone", connect=False)
    with pytest.raises(DispatcherError, match="not connected"):
        alone.options(members="open").send_request("volts")
    for options in ({"only": "x"}, {"barrier": True}, {"without": "x"}):
        with pytest.raises(BadValue, match="members"):
            alone.options(members="open", **options)  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="members"):
        alone.options(members="all")  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="group"):
        alone.connect(parts.wire.transport(), group="a b")
