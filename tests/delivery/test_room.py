"""The places of a bounded mailbox: as many as it says, whatever meets."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Deque, List

import pytest
from rig import (
    Struck,
    strike,
    struck,
)

from ate_dispatcher._delivery.room import Room


def taken(room: Room, items: Deque[Any]) -> Any:
    """The first of *items*, taken out; None without any."""
    into: List[Any] = []
    room.take(items, into)
    return into[0] if into else None


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 1000])
def test_it_has_as_many_places_as_it_says(size: int) -> None:
    """Also when they were given back."""
    room, items = Room(size), deque()  # type: ignore[var-annotated]
    for _ in range(3):
        assert sum(room.admit(number, items) for number in range(size + 5)) == size
        assert [taken(room, items) for _ in range(size + 1)] == [*range(size), None]


def test_a_huge_bound_costs_nothing_before_it_is_met() -> None:
    """Tokens are made as they are needed."""
    room, items = Room(1 << 60), deque()  # type: ignore[var-annotated]
    assert all(room.admit(number, items) for number in range(1000))


def test_no_place_is_lost_to_a_signal_handler() -> None:
    """Wherever it raises: what is in has a place, and what is not has none."""
    at, more = 0, True
    while more:
        at += 1
        room, items = Room(2), deque()  # type: ignore[var-annotated]
        gone: List[Any] = []

        def work() -> None:
            room.admit("one", items)  # noqa: B023
            room.admit("two", items)  # noqa: B023
            room.admit("three", items)  # noqa: B023
            room.take(items, gone)  # noqa: B023
            room.admit("four", items)  # noqa: B023

        try:
            more = strike(work, at, struck)
        except Struck:
            pass
        left = 0
        while room.admit("more", items):
            left += 1
        assert len(items) == 2, (at, items, left)
    assert at > 5


def test_what_is_over_is_paid_for_first() -> None:
    """With the places that come back."""
    room, items = Room(1), deque(["a"])  # type: ignore[var-annotated]
    assert room.admit("b", items)
    room.over.append(True)
    assert not room.has_settled()
    assert not room.has_room()
    assert taken(room, items) == "a"
    assert room.has_settled()
    # There is a place, but it is owed.
    assert not room.has_room()
    room.settle()
    assert not room.over
    assert not room.admit("c", items)
    room.give(2)
    assert room.has_room()
    assert [room.admit(each, items) for each in "cde"] == [True, True, False]


def test_many_threads_find_as_many_places_as_there_are() -> None:
    """No more, no less, while readers give them back."""
    room = Room(50)
    items: Deque[int] = deque()
    admitted: Deque[int] = deque()
    gone: List[int] = []
    highest: List[int] = []
    go = threading.Barrier(8)

    def put() -> None:
        go.wait()
        for number in range(2000):
            if room.admit(number, items):
                admitted.append(number)
            highest.append(len(items))

    def take() -> None:
        go.wait()
        for _ in range(2000):
            room.take(items, gone)

    threads = [threading.Thread(target=put) for _ in range(4)]
    threads += [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert max(highest) <= 50
    assert len(admitted) == len(gone) + len(items)
    while items:
        taken(room, items)
    assert sum(room.admit(number, items) for number in range(100)) == 50
