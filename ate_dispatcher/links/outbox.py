"""What waits for a link's thread: what is to be said, and what listeners elsewhere are to hear."""

from __future__ import annotations

from typing import Any, Callable

from .._delivery.mailbox import CALM, NO_GIL, Busy, Mailbox
from .transport import Transport

__all__ = ["Outbox"]


class _Unparks:
    """A transport, as what its thread parks on."""

    def __init__(self, transport: Transport) -> None:
        self.unpark: Callable[[Any], None] = transport.unpark

    def park(self) -> None:
        """It waits in the transport."""
        raise NotImplementedError

    def park_until(self, deadline: float) -> bool:
        """Likewise."""
        raise NotImplementedError


class Outbox(Mailbox):
    """A mailbox whose reader waits for more than it: it arms it before, and disarms it after."""

    __slots__ = ()

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self.hang(_Unparks(transport))

    def arm(self) -> bool:
        """Have the next put unpark the transport; False if something is in already (P1).

        Nobody counts on this reader to distribute: it has more to do (P18).
        """
        self.attention = Busy([True])
        if NO_GIL:
            self.items.rotate(0)
        if self.items:
            self.attention = CALM
            return False
        return True

    def disarm(self) -> None:
        """The reader is awake."""
        self.attention = CALM
