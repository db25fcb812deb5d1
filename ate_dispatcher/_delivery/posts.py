"""What was published and is on its way to several listeners; one queue for the whole process.

Who publishes may be in a signal handler, and so enters no section: it appends one post, a single
atomic operation, and wakes one reader. Whoever of ours comes to the section next *distributes*: a
listener that is about to park, a producer before it forwards its own result, a control loop. A post
leaves the queue only after it is in all mailboxes, so nothing that finds the queue empty overtakes
it; and what goes to listeners while it is not empty goes behind it. So all listeners of the
process hear in one order, with results.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, List, Optional

from .mailbox import CLOSED
from .registry import Outlet

__all__ = ["POSTS", "PUTS", "distribute", "follow", "post_of"]

Post = List[Any]
"""The outlet that is next, of a chain, and the message."""

POSTS: Deque[Post] = deque()
"""The oldest first. Appended to from anywhere, taken from inside the section."""

PUTS = 64
"""How many puts one pass of the section makes for others, at most."""


def post_of(outlet: Optional[Outlet], message: Any) -> Post:
    """For the mailboxes of that chain."""
    return [outlet, message]


def distribute() -> bool:
    """Put what was posted into the mailboxes, a bounded part of it (P17); whether more is left.

    Inside the section.
    """
    puts = PUTS
    while POSTS:
        post = POSTS[0]
        outlet, message = post
        while outlet is not None:
            if not puts:
                return True
            puts -= 1
            mailbox = outlet.mailbox
            mailbox.put(message)
            if mailbox.attention is CLOSED:
                message_missed(message, outlet)
            post[0] = outlet = outlet.next
        POSTS.popleft()
    return False


def message_missed(message: Any, outlet: Outlet) -> None:
    """*outlet*'s reader has ended: whoever put it there sees to that (P2)."""
    missed = getattr(message, "missed_by", None)
    if missed is not None:
        missed(outlet.mailbox)


def follow(outlet: Optional[Outlet], message: Any) -> bool:
    """Whether *message* has to go behind what was posted before; then it is among the posts.

    If not, nothing is posted any more. Inside the section.
    """
    if POSTS and distribute():
        POSTS.append(post_of(outlet, message))
        return True
    return False
