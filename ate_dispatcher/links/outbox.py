"""What waits for a link's thread: what is to be said, and what listeners elsewhere are to hear."""

from __future__ import annotations

from typing import Any, Callable

from .._delivery.mailbox import Mailbox
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
    """A mailbox whose reader waits for more than it, in its transport: see `Mailbox.arm`."""

    __slots__ = ()

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self.hang(_Unparks(transport))
