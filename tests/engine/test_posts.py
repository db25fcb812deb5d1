"""What was published and is on its way: parts, and whose turn it is."""

from __future__ import annotations

from typing import Any, List

import pytest
from rig import Recorder, over

from ate_dispatcher import Dispatcher
from ate_dispatcher._delivery.channel import Outlet
from ate_dispatcher._delivery.mailbox import Mailbox
from ate_dispatcher._delivery.posts import PUTS, Posts, posts_of
from ate_dispatcher._engine.process import SECTION, see_to
from ate_dispatcher._time.clock import REAL


class Origin:
    """Notes that it was given the turn."""

    def __init__(self) -> None:
        self.turns = 0

    def distribute(self) -> None:
        self.turns += 1


@pytest.fixture
def origin() -> Origin:
    """One."""
    return Origin()


def chain(boxes: List[Mailbox]) -> Any:
    """The outlets of *boxes*, in their order."""
    first = None
    for box in reversed(boxes):
        first = Outlet(box, {}, first)
    return first


def test_a_pass_is_bounded_and_goes_on_where_it_was(origin: Origin) -> None:
    """Also in the middle of a post; nobody gets anything twice, or out of order."""
    posts, boxes = Posts(), [Mailbox() for _ in range(PUTS - 10)]
    for number in range(3):
        posts.items.append([chain(boxes), (number,), origin])
    passes = 0
    while posts.items:
        passes += 1
        before = sum(len(box.items) for box in boxes)
        with SECTION:
            more = posts.distribute()
        assert sum(len(box.items) for box in boxes) - before <= PUTS
        assert more == bool(posts.items)
    assert passes == 3
    assert all([number for (number,) in box.items] == [0, 1, 2] for box in boxes)


def test_after_some_passes_the_origin_has_the_turn(origin: Origin) -> None:
    """So in a flood nobody else wants the section: who comes later leaves it alone."""
    posts, box = Posts(), Mailbox()
    for number in range(5 * PUTS):
        posts.items.append([chain([box]), (number,), origin])
    see_to(posts, passes=2)
    assert len(box.items) == 2 * PUTS
    assert (origin.turns, list(posts.turn), bool(posts)) == (1, [], False)
    see_to(posts)
    assert len(box.items) == 2 * PUTS
    posts.turn.append(True)
    see_to(posts, passes=3)
    assert [number for (number,) in box.items] == list(range(5 * PUTS))
    assert (origin.turns, list(posts.turn)) == (1, [True])


def test_what_goes_to_listeners_follows_the_posts(origin: Origin) -> None:
    """At once if they are few; behind them if they are many."""
    posts, box = Posts(), Mailbox()
    posts.items.append([chain([box]), ("few",), origin])
    with SECTION:
        posts.put([[chain([box]), ("result",), origin]])
    assert list(box.items) == [("few",), ("result",)]
    for number in range(PUTS + 1):
        posts.items.append([chain([box]), (number,), origin])
    with SECTION:
        posts.put([[chain([box]), ("result",), origin]])
    assert len(posts.items) == 2
    see_to(posts)
    assert list(box.items)[-2:] == [(PUTS,), ("result",)]


class Meddled(Mailbox):
    """Whenever something is put in, somebody posts one more to all."""

    __slots__ = ("boxes", "origin", "posts")

    @property
    def append(self) -> Any:
        return self.meddle

    def deliver(self, message: Any) -> None:
        self.meddle(message)

    def meddle(self, item: Any) -> None:
        self.items.append(item)
        if item == ("result",):
            self.posts.items.append([chain(self.boxes), ("meanwhile",), self.origin])


@pytest.mark.parametrize("before", [0, 2 * PUTS])
def test_what_comes_together_is_in_front_of_all_that_is_posted_meanwhile_or_behind(
    origin: Origin, before: int
) -> None:
    """For everybody alike, although some get it by messages of their own."""
    posts, box = Posts(), Meddled()
    boxes = [box, Mailbox(), Mailbox()]
    box.boxes, box.origin, box.posts = boxes, origin, posts
    for number in range(before):
        posts.items.append([chain(boxes), (number,), origin])
    with SECTION:
        posts.put([[chain([each]), ("result",), origin] for each in boxes])
    while posts.items:
        see_to(posts)
        posts.turn.extend([True] * (not posts.turn))
    assert list(box.items)[-2:] == [("result",), ("meanwhile",)]
    assert [list(each.items) for each in boxes] == [list(box.items)] * 3


def test_each_clock_has_its_own() -> None:
    """And those that have no room for them share one."""

    class Clock:
        pass

    class Slotted:
        __slots__ = ()

    one, other = Clock(), Clock()
    assert posts_of(one) is posts_of(one)
    assert posts_of(one) is not posts_of(other)
    assert posts_of(Slotted()) is posts_of(Slotted())


def test_a_stop_waits_for_what_is_in_nobodys_mailbox_yet() -> None:
    """Whoever has the turn may be slow about it."""
    posts = posts_of(REAL)
    dispatcher = Dispatcher()
    dispatcher.start()
    ears = [
        dispatcher.register_result_listener(ear, "t", start=True)
        for ear in (Recorder(), Recorder(maxsize=3))
    ]
    with dispatcher.subscribe("t", maxsize=3) as stream:
        assert posts.turn.pop()
        try:
            delivery = dispatcher.publish("t", 1)
            dispatcher.stop(drain=None)
            dispatcher.join(0.1)
            assert dispatcher.is_alive()
        finally:
            posts.turn.append(True)
            # Who has had it looks again.
            see_to(posts)
        assert [item.value for item in stream] == [1]
        over(dispatcher, *ears)
    assert delivery.report().complete
    assert [ear.heard for ear in ears] == [[("t", 1)]] * 2
