"""What goes to listeners, as far as their mailboxes know it."""

from __future__ import annotations

from typing import Any, Optional

from .._core.outcomes import Completion
from .mailbox import Mailbox

__all__ = ["Message"]


class Message:
    """A result, a report or a published value; but for the plain pairs that have no bound.

    All of it inside the section, except where it says so.
    """

    __slots__ = ()

    completion: Optional[Completion] = None
    """Whether it is over already, and needs no key."""
    shares: bool = False
    """Whether others of its key may be heard at the same time."""

    @property
    def key(self) -> Any:
        """What is heard after each other by a listener with several workers; None for nothing."""
        return None

    def is_wanted(self, listener: object) -> bool:
        """Whether *listener* is still registered for it. From anywhere."""
        return True

    def is_pending(self, mailbox: Mailbox) -> bool:
        """Whether it is still wanted there. From anywhere."""
        return True

    def takes_place(self, mailbox: Mailbox) -> bool:
        """Whether it had a place there before it came; only once."""
        return False

    def is_refused(self, mailbox: Mailbox) -> bool:
        """Whether there was no room for it when it was published."""
        return False

    def missed_by(self, mailbox: Mailbox) -> None:
        """The reader of *mailbox* will not have it."""

    def is_lost(self, reader: Optional[object], lost: int, size: int) -> None:
        """A mailbox of that *size* has had no room for it, as for *lost* until now.

        Its *reader* is named at the first since it was empty.
        """
