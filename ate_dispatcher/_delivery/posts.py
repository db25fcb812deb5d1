"""What was published and is on its way to several listeners; one queue for all of one clock.

Who publishes may be in a signal handler, and so enters no section: it appends one post, a single
atomic operation, and wakes one reader. Whoever of ours comes first takes the *turn*, and
distributes inside the section: a listener before it does anything else, a control loop; a producer
does without a turn before it forwards its own result. A post leaves the queue only after it is in
all mailboxes, so nothing that finds the queue empty overtakes it; and what goes to listeners while
it is not empty goes behind it. So all listeners hear in one order, with results.

A listener may serve several dispatchers, but they have one clock; and one that its virtual clock
does not let run keeps nobody of another.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, List

from typing_extensions import Protocol

__all__ = ["PUTS", "Posts", "posts_of"]

PUTS = 64
"""How many puts one pass of the section makes for others, at most."""


class Origin(Protocol):
    """Where a post comes from."""

    def distribute(self) -> None:
        """Go on with what was posted: with the turn."""
        ...


class Posts:
    """The queue. Each post has the outlet that is next, of a chain, the message, and its origin.

    Attributes: *items*, the oldest first, appended to from anywhere, taken from inside the section;
    *turn*, empty while somebody is at it, who looks at the items again after giving it back.
    """

    __slots__ = ("items", "turn")

    def __init__(self) -> None:
        self.items: Deque[List[Any]] = deque()
        self.turn: Deque[bool] = deque([True])

    def __bool__(self) -> bool:
        """Whether somebody is wanted who distributes."""
        return bool(self.items and self.turn)

    def forked(self) -> None:
        """In a forked child: what was posted is the parent's, and so is the turn."""
        self.items.clear()
        self.turn.clear()
        self.turn.append(True)

    def is_oldest(self, post: List[Any]) -> bool:
        """Whether nothing older is on its way, whose sender has seen to it that it goes on."""
        try:
            return self.items[0] is post
        except IndexError:
            return False

    def distribute(self) -> bool:
        """Put what was posted into the mailboxes, a bounded part (P17); whether more is left.

        Inside the section.
        """
        puts, items = PUTS, self.items
        while items:
            post = items[0]
            outlet, message, _ = post
            while outlet is not None:
                if not puts:
                    return True
                puts -= 1
                # As `Mailbox.deliver`.
                append = outlet.append
                append(message)
                if outlet.mailbox.attention:
                    outlet.mailbox.attend()
                post[0] = outlet = outlet.next
            items.popleft()
        return False

    def go_first(self) -> bool:
        """Whether there are more of them than can be put in now: who comes goes behind them.

        Asked once for all that comes together: of what others post meanwhile all of it is in front,
        or all behind. Inside the section.
        """
        return bool(self.items) and self.distribute()

    def put(self, parts: List[List[Any]]) -> None:
        """Put *parts* into the mailboxes, which are like posts, behind what was posted before.

        Nothing comes between them. Inside the section.
        """
        if self.go_first():
            # One operation.
            self.items.extend(parts)
            return
        for outlet, message, _ in parts:
            while outlet is not None:
                outlet.mailbox.deliver(message)
                outlet = outlet.next


_OTHERS = Posts()


def posts_of(clock: Any) -> Posts:
    """Those of *clock*; one for all clocks that have no room for theirs."""
    try:
        posts: Posts = vars(clock).setdefault("_ate_posts", Posts())
        return posts
    except TypeError:
        return _OTHERS
