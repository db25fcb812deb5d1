"""Producers of one name on several parts are told apart wherever they are named; virtual time."""

from __future__ import annotations

import re
from typing import Any, Dict, List

import pytest
from parts import Parts, parts

from ate_dispatcher import IncompleteError, current_request
from ate_dispatcher.errors import BadValue
from ate_dispatcher.testing import Timeline, assert_accepted, assert_failed, assert_missing

__all__ = ["parts"]


def three_dmms(parts: Parts) -> None:
    """One on "a" that raises, one on "b" that answers, one on "c" that is slow; a "psu" there."""
    for name in ("a", "b", "c"):
        parts.part(name)
    parts.producer("a", 0, OSError("no probe"), name="dmm")
    parts.producer("b", 0, "of b", name="dmm")
    parts.producer("c", 5000, "of c", name="dmm")
    parts.producer("c", 0, "psu", name="psu")


def test_reports_say_which_of_one_name_is_meant(parts: Parts) -> None:
    """As ``part/name``, also the one of this part; who has a name of his own is called by that."""
    three_dmms(parts)
    handle = parts.ask("a")
    assert handle.by_producer() == {"b/dmm": "of b", "psu": "psu"}
    report = handle.report()
    assert (report.missing, report.failed) == (("c/dmm",), ("a/dmm",))
    assert [(each.producer, each.part, each.name) for each in report.members] == [
        ("dmm", None, "a/dmm"),
        ("dmm", "b", "b/dmm"),
        ("dmm", "c", "c/dmm"),
        ("psu", "c", "psu"),
    ]
    assert report.to_dict()["missing"] == ["c/dmm"]
    assert report.to_dict()["members"][0]["name"] == "a/dmm"
    with pytest.raises(IncompleteError, match=r"in time from: c/dmm; raised: a/dmm$") as caught:
        handle.results(require="all")
    assert caught.value.missing == ["c/dmm"]


def test_what_a_report_calls_somebody_is_what_one_may_ask_for(parts: Parts) -> None:
    """Nobody else is asked, and he is called the same in the next report, and when he is off."""
    three_dmms(parts)
    first = parts.ask("a")
    first.wait()
    left = (*first.report().missing, *first.report().failed)
    again = parts.ask("a", only=left)
    assert again.by_producer() == {}
    assert sorted((*again.report().missing, *again.report().failed)) == sorted(left)
    assert [each.part for each in again.report().members] == [None, "c"]
    for name in left:
        parts.dispatchers["a"].disable(name)
    assert parts.ask("a").report().off == ("a/dmm", "c/dmm")
    assert parts.ask("a", only=left).report().off == ("a/dmm", "c/dmm")
    assert parts.ask("a", without=["a/dmm"]).by_producer() == {"b/dmm": "of b", "psu": "psu"}
    parts.dispatchers["a"].enable("a/dmm")
    assert parts.ask("a", only="b/dmm").report().off == ()
    assert parts.ask("a").report().off == ("c/dmm",)


def test_claims_of_tests_take_the_names_of_reports(parts: Parts) -> None:
    """And say them."""
    three_dmms(parts)
    handle = parts.ask("a")
    assert_missing(handle, "c/dmm")
    assert_missing(handle, "dmm")
    assert_failed(handle, "a/dmm", OSError)
    assert_accepted(handle, by=["b/dmm", "psu"])
    with pytest.raises(AssertionError, match="b/dmm did not raise"):
        assert_failed(handle, "b/dmm")
    with pytest.raises(BadValue, match="d/dmm was not asked; a/dmm, b/dmm, c/dmm, psu was"):
        assert_failed(handle, "d/dmm")


def test_progress_says_whose_it_is(parts: Parts) -> None:
    """Of two that are at it."""

    def work(topic: Any) -> str:
        request = current_request()
        assert request is not None
        request.progress(0.5)
        parts.clock.sleep(1)
        return "done"

    for name in ("a", "b"):
        parts.part(name)
    for name in ("a", "b"):
        parts.producer(name, 0, work, name="dmm")
    handle = parts.ask("a", ttl=5000)
    parts.clock.advance(100)
    assert [each.producer for each in handle.progress] == ["a/dmm", "b/dmm"]
    handle.wait()


def test_names_alone_stay_names(parts: Parts) -> None:
    """Whoever has a name of his own, on whatever part; and two of one part have one name."""
    parts.part("a")
    parts.part("b")
    parts.producer("a", 0, 1, name="one")
    parts.producer("b", 0, 2, name="two")
    assert parts.ask("a").by_producer() == {"one": 1, "two": 2}
    for _ in range(2):
        parts.producer("b", 0, 3, name="twin")
    handle = parts.ask("a")
    with pytest.raises(BadValue, match="two producers are called 'b/twin'"):
        handle.by_producer()
    parts.connections["b"].disconnect()
    parts.clock.advance(100)
    for _ in range(2):
        parts.producer("a", 0, OSError(), name="one")
    handle = parts.ask("a")
    handle.wait()
    assert handle.report().failed == ("one", "one")


def test_who_joins_in_has_his_value_by_name_too(parts: Parts) -> None:
    """Behind the members; two of one name are told apart, and nobody is lost."""
    for name in ("a", "b", "c"):
        parts.part(name)
    parts.producer("a", 0, 1, name="mine")
    parts.producer("b", 0, 2, name="dmm")
    parts.producer("c", 0, 3, name="dmm")
    parts.producer("c", 0, [4], name="psu")
    values: Dict[str, Any] = parts.ask("a", ttl=50, members="open").by_producer()
    assert values == {"mine": 1, "b/dmm": 2, "c/dmm": 3, "psu": [4]}
    assert next(iter(values)) == "mine"
    parts.producer("a", 0, 5, name="dmm")
    handle = parts.ask("a", ttl=50, members="open")
    assert sorted(handle.by_producer()) == ["a/dmm", "b/dmm", "c/dmm", "mine", "psu"]
    parts.producer("c", 0, 6, name="dmm")
    with pytest.raises(BadValue, match="two answers are of 'c/dmm'"):
        parts.ask("a", ttl=50, members="open").by_producer()


def test_who_asks_for_somebody_unknown_is_told_who_is_there(parts: Parts) -> None:
    """Ten of them at most."""
    three_dmms(parts)
    known = "there is 'dmm', 'b/dmm', 'c/dmm', 'c/psu'$"
    for options in ({"only": "scope"}, {"without": ["psu", "scope"]}):
        with pytest.raises(BadValue, match=f"'scope', who is not registered .*; {known}"):
            parts.ask("a", **options)
    names: List[str] = [f"n{number:02}" for number in range(10)]
    for name in names:
        parts.producer("c", 0, topic="many", name=name)
    sender = parts.dispatchers["a"].options(only="scope")
    for more, end in ((["x"], " and 1 more"), (["y", "z"], " and 3 more")):
        for name in more:
            parts.producer("c", 0, topic="many", name=name)
        with pytest.raises(BadValue, match=f"'c/n00', .*'c/n09'{end}$"):
            sender.send_request("many")
    with pytest.raises(BadValue, match=r"there is nobody$"):
        parts.dispatchers["a"].options(only="scope").send_request("none")


def test_what_a_failed_test_prints_says_on_which_part_somebody_is(parts: Parts) -> None:
    """In its picture, from the send on, and in the first line of an assertion."""
    timeline = Timeline()
    three_dmms(parts)
    parts.dispatchers["a"].add_hook(timeline)
    parts.part("a-part-with-a-long-name")
    parts.producer("a-part-with-a-long-name", 0, 1, name="psu2")
    handle = parts.ask("a")
    for _ in range(2):
        parts.clock.settle()
        lines = str(timeline).splitlines()[1:7]
        assert [line.split()[0] for line in lines] == [
            *("dmm", "b/dmm", "c/dmm", "c/psu", "a-part-with-a-long-name/psu2", "0")
        ]
        handle.wait()
    with pytest.raises(AssertionError, match=r"^missing are \['c/dmm'\], not \['b/dmm'\]"):
        assert_missing(handle, "b/dmm")
    with pytest.raises(AssertionError, match=r"^accepted from \['b/dmm', 'psu', 'psu2'\], not"):
        assert_accepted(handle, by="c/dmm")


def test_in_the_picture_an_answer_is_where_it_has_come(parts: Parts) -> None:
    """By the asker's clock, the time on the way included: else it had seemed to be early."""
    timeline = Timeline()
    parts.part("a", hooks=[timeline])
    parts.part("b")
    parts.producer("b", 20, "far", name="far")
    parts.producer("b", 20, OSError("no probe"), name="bad")
    parts.wire.delay(30)
    parts.ask("a", ttl=100).wait()
    parts.clock.settle()
    far, bad = str(timeline).splitlines()[1:3]
    assert far.endswith("| 80.0 ms, 60.0 on the way")
    assert bad.endswith("| 80.0 ms, 60.0 on the way, OSError")
    # Waited, then ran: the last quarter of what came of it.
    assert re.search(r" (\.{24,26})(={7,9})\*  +\| ", far)
